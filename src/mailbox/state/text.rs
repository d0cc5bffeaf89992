//! The facts of a folder in words: the lines of its state log. Pure.

use super::{Fact, Intent};
use crate::mailbox::flags::{Flags, Marks};
use crate::sys::Time;
use std::fmt::Write;

/// What tells which marks are alike.
pub fn numbers(marks: &Marks, filed: &Marks) -> [u64; 4] {
    [u64::from(marks.flags.0), marks.keywords, u64::from(filed.flags.0), filed.keywords]
}

/// The marks that have these [`numbers`].
pub fn marks_of([flags, keywords, filed, filed_keywords]: [u64; 4]) -> (Marks, Marks) {
    let marks = |flags: u64, keywords| Marks { flags: Flags(flags as u8), keywords };
    (marks(flags, keywords), marks(filed, filed_keywords))
}

/// A fact in words.
pub fn print(fact: &Fact) -> String {
    match fact {
        Fact::Validity(validity) => format!("validity {validity}"),
        Fact::Ceiling(ceiling) => format!("ceiling {ceiling}"),
        Fact::Next(next, ended) => format!("next {next} {}", ended.0),
        Fact::Rows(first, keys) => {
            let mut line = format!("rows {first}");
            keys.iter().for_each(|key| {
                line.push(' ');
                key.push_hex(&mut line);
            });
            line
        }
        Fact::Lost(uids) => format!("lost {uids}"),
        Fact::Intent(i) => {
            let mut line = format!("intent {} {} {} {} ", i.uid, i.key, i.offset, i.length);
            for byte in &i.old {
                let _ = write!(line, "{byte:02x}");
            }
            line.push(' ');
            for tag in &i.tags {
                let _ = write!(line, "{tag:016x}");
            }
            line
        }
        Fact::Done(uids) => format!("done {uids}"),
        Fact::Gone(id, recipient, time) => format!("gone {id} {recipient} {}", time.0),
        Fact::Durable(size, check) => format!("durable {size} {check:08x}"),
        Fact::Modseq(modseq) => format!("modseq {modseq}"),
        Fact::Expunged(modseq, uids) => format!("expunged {modseq} {uids}"),
        Fact::Floor(modseq) => format!("floor {modseq}"),
        Fact::Keyword(name) => format!("keyword {name}"),
        Fact::Marks(uids, marks, filed) => {
            let [flags, keywords, filed, filed_keywords] = numbers(marks, filed);
            format!("marks {uids} {flags} {keywords:x} {filed} {filed_keywords:x}")
        }
        Fact::Filed(uids) => format!("filed {uids}"),
        Fact::Told(uid) => format!("told {uid}"),
        Fact::Moved => "moved".to_owned(),
        Fact::Leaving(since, uids) => format!("leaving {} {uids}", since.0),
        Fact::Staying(uids) => format!("staying {uids}"),
    }
}

/// The fact that [`print`] put into these words.
pub fn parse(line: &str) -> Option<Fact> {
    let mut words = line.split(' ');
    let verb = words.next()?;
    let mut word = || words.next();
    let number = |word: Option<&str>| word?.parse::<u32>().ok();
    Some(match verb {
        "validity" => Fact::Validity(number(word())?),
        "ceiling" => Fact::Ceiling(number(word())?),
        "next" => Fact::Next(number(word())?, Time(word()?.parse().ok()?)),
        "rows" => Fact::Rows(number(word())?, words.map(|word| word.parse().ok()).collect::<Option<_>>()?),
        "lost" => Fact::Lost(word()?.parse().ok()?),
        "intent" => Fact::Intent(Intent {
            uid: number(word())?,
            key: word()?.parse().ok()?,
            offset: word()?.parse().ok()?,
            length: word()?.parse().ok()?,
            old: hex(word()?)?,
            tags: tags(word()?)?,
        }),
        "done" => Fact::Done(word()?.parse().ok()?),
        "gone" => Fact::Gone(word()?.parse().ok()?, number(word())?, Time(word()?.parse().ok()?)),
        "durable" => Fact::Durable(word()?.parse().ok()?, u32::from_str_radix(word()?, 16).ok()?),
        "modseq" => Fact::Modseq(word()?.parse().ok()?),
        "expunged" => Fact::Expunged(word()?.parse().ok()?, word()?.parse().ok()?),
        "floor" => Fact::Floor(word()?.parse().ok()?),
        "keyword" => Fact::Keyword(word()?.to_owned()),
        "marks" => {
            let uids = word()?.parse().ok()?;
            let flags = |word: Option<&str>| number(word).filter(|flags| *flags < 64).map(u64::from);
            let bits = |word: Option<&str>| u64::from_str_radix(word?, 16).ok();
            let (marks, filed) = marks_of([flags(word())?, bits(word())?, flags(word())?, bits(word())?]);
            Fact::Marks(uids, marks, filed)
        }
        "filed" => Fact::Filed(word()?.parse().ok()?),
        "moved" => Fact::Moved,
        "leaving" => Fact::Leaving(Time(word()?.parse().ok()?), word()?.parse().ok()?),
        "staying" => Fact::Staying(word()?.parse().ok()?),
        "told" => Fact::Told(number(word())?),
        _ => return None,
    })
}

fn tags(text: &str) -> Option<Vec<u64>> {
    (0..text.len()).step_by(16).map(|at| u64::from_str_radix(text.get(at..at + 16)?, 16).ok()).collect()
}

/// The bytes of hexadecimal digits.
pub fn hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
