//! A search, ready to be carried out on messages. What a key says of a message may not be known yet: then what is cheap to know
//! decides first, and the header, and the body, are read only if they must be. Pure.

use crate::imapd::grammar::Set;
use crate::imapd::grammar::search::{Key, Relation, Step, Which};
use crate::mail::mailboxes::{self, Entry};
use crate::mail::sent::Sent;
use crate::mail::{casemap, date, header, words};
use crate::mailbox::{Flags, Keywords, Summary};
use crate::sys::Time;
use charset::Charset;
use jiff::civil::Date;
use memchr::memmem::Finder;
use std::ops::RangeInclusive;

/// What keys mean depends on.
#[derive(Debug)]
pub struct Context<'a> {
    /// Of the texts; none: UTF-8.
    pub charset: Option<&'a [u8]>,
    pub keywords: &'a Keywords,
    pub now: Time,
    /// What `*` is among the numbers, and among the UIDs.
    pub count: u32,
    pub last_uid: u32,
    /// `$`, as UIDs, ascending.
    pub saved: &'a [RangeInclusive<u32>],
}

/// A text that is looked for.
#[derive(Debug)]
pub struct Needle(Finder<'static>);

impl Needle {
    fn new(text: &str) -> Needle {
        Needle(Finder::new(&casemap::key(text)).into_owned())
    }

    /// Is it in a text of which this is the key?
    pub fn is_in(&self, key: &[u8]) -> bool {
        self.0.find(key).is_some()
    }

    /// Is it ASCII, and does it stand on one line?
    fn is_plain(&self) -> bool {
        self.0.needle().iter().all(|byte| byte.is_ascii() && !matches!(byte, b'\r' | b'\n'))
    }

    /// Bytes of its key.
    pub fn len(&self) -> usize {
        self.0.needle().len()
    }
}

/// A key, in terms of what is compared.
#[derive(Debug)]
enum Test {
    Always(bool),
    Numbers(Vec<RangeInclusive<u32>>),
    Uids(Vec<RangeInclusive<u32>>),
    Flags(Flags, bool),
    Keywords(u64, bool),
    Recent,
    Day { saved: bool, relation: Relation, day: Date },
    Larger(u64),
    Smaller(u64),
    NotAfter(Time),
    NotBefore(Time),
    ModSeq(u64),
    EmailId(String),
    Sent(Relation, Date),
    Field(String, Needle),
    Addresses(String, Needle),
    Body(Needle),
    Text(Needle),
}

/// What is done with the tests.
#[derive(Copy, Clone, Debug)]
enum Act {
    Test,
    Not,
    Or,
    And(usize),
}

/// What a message is searched for.
#[derive(Debug)]
pub struct Program {
    tests: Vec<Test>,
    acts: Vec<Act>,
}

/// What is known of one message.
#[derive(Debug, Default)]
pub struct Known {
    /// By test; none: nothing yet.
    answers: Vec<Option<bool>>,
    stack: Vec<Option<bool>>,
}

/// Nobody knows this charset.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BadCharset;

impl Program {
    /// From what was read.
    pub fn new(steps: &[Step], context: &Context<'_>) -> Result<Program, BadCharset> {
        if let Some(label) = context.charset {
            Charset::for_label(label).ok_or(BadCharset)?;
        }
        let mut program = Program { tests: Vec::new(), acts: Vec::with_capacity(steps.len()) };
        for step in steps {
            program.acts.push(match step {
                Step::Key(key) => {
                    program.tests.push(test(key, context));
                    Act::Test
                }
                Step::Not => Act::Not,
                Step::Or => Act::Or,
                Step::And(count) => Act::And(*count),
            });
        }
        Ok(program)
    }

    /// Begins with a message: what is known without reading it.
    pub fn begin(&self, number: u32, message: &Summary, is_recent: impl Fn() -> bool, known: &mut Known) {
        known.answers.clear();
        known.answers.extend(self.tests.iter().map(|test| {
            Some(match test {
                Test::Always(answer) => *answer,
                Test::Numbers(ranges) => is_in(ranges, number),
                Test::Uids(ranges) => is_in(ranges, message.uid.0),
                Test::Flags(flags, set) => message.marks.flags.has(*flags) == *set,
                Test::Keywords(bits, set) => (message.marks.keywords & bits != 0) == *set,
                Test::Recent => is_recent(),
                Test::Day { saved, relation, day } => match (saved, message.saved) {
                    (true, Some(time)) => lies(date::day(time, None), *relation, *day),
                    // Nobody saw it come (RFC 8514 §4).
                    _ => lies(date::day(message.date, message.zone), *relation, *day),
                },
                Test::Larger(size) => message.size > *size,
                Test::Smaller(size) => message.size < *size,
                Test::NotAfter(time) => message.date <= *time,
                Test::NotBefore(time) => message.date >= *time,
                Test::ModSeq(modseq) => message.modseq >= *modseq,
                Test::EmailId(_) | Test::Sent(..) | Test::Field(..) | Test::Addresses(..) | Test::Body(_) | Test::Text(_) => {
                    return None;
                }
            })
        }));
    }

    /// Is a message's EMAILID asked for?
    pub fn wants_email_id(&self) -> bool {
        self.tests.iter().any(|test| matches!(test, Test::EmailId(_)))
    }

    /// Must bodies be read, if what else is known does not decide?
    pub fn wants_body(&self) -> bool {
        self.tests.iter().any(|test| matches!(test, Test::Body(_) | Test::Text(_)))
    }

    /// Takes the EMAILID in.
    pub fn see_email_id(&self, id: &str, known: &mut Known) {
        for (test, answer) in self.tests.iter().zip(&mut known.answers) {
            if let Test::EmailId(own) = test {
                *answer = Some(own == id);
            }
        }
    }

    /// Takes the header in.
    pub fn see_header(&self, bytes: &[u8], known: &mut Known) {
        let mut sent = None;
        let (mut text, mut value) = (Vec::new(), Vec::new());
        for (test, answer) in self.tests.iter().zip(&mut known.answers).filter(|(_, answer)| answer.is_none()) {
            match test {
                Test::Sent(relation, day) => {
                    let own = *sent.get_or_insert_with(|| sent_day(bytes));
                    *answer = Some(own.is_some_and(|own| lies(own, *relation, *day)));
                }
                Test::Field(name, needle) | Test::Addresses(name, needle) => {
                    let found = header::fields(bytes).filter(|field| field.is(bytes, name)).any(|field| {
                        let field = bytes.get(field.value).unwrap_or_default();
                        value.clear();
                        push_value(field, &mut value);
                        if !needle.is_in(&value) && matches!(test, Test::Addresses(..)) {
                            value.clear();
                            push_addresses(field, &mut value);
                        }
                        needle.is_in(&value)
                    });
                    *answer = Some(found);
                }
                Test::Text(needle) => {
                    if text.is_empty() {
                        push_header(bytes, &mut text);
                    }
                    *answer = needle.is_in(&text).then_some(true);
                }
                _ => {}
            }
        }
    }

    /// Takes the header of a part in.
    pub fn see_part_header(&self, bytes: &[u8], known: &mut Known) {
        let mut text = Vec::new();
        push_header(bytes, &mut text);
        for (test, answer) in self.tests.iter().zip(&mut known.answers).filter(|(_, answer)| answer.is_none()) {
            if let Test::Text(needle) = test {
                *answer = needle.is_in(&text).then_some(true);
            }
        }
    }

    /// Takes a piece of a text in, as its key.
    pub fn see_text(&self, key: &[u8], known: &mut Known) {
        for (test, answer) in self.tests.iter().zip(&mut known.answers).filter(|(_, answer)| answer.is_none()) {
            if let Test::Text(needle) | Test::Body(needle) = test {
                *answer = needle.is_in(key).then_some(true);
            }
        }
    }

    /// All was seen: what was not found is not there.
    pub fn see_end(&self, known: &mut Known) {
        known.answers.iter_mut().for_each(|answer| *answer = Some(answer.unwrap_or(false)));
    }

    /// The texts that are looked for in bodies, in the order of their keys, if each of them is ASCII and on one line.
    pub fn plain_needles(&self) -> Option<Vec<&Needle>> {
        let needles = self.tests.iter().filter_map(|test| match test {
            Test::Body(needle) | Test::Text(needle) => Some(needle),
            _ => None,
        });
        let needles: Vec<&Needle> = needles.collect();
        (!needles.is_empty() && needles.iter().all(|needle| needle.is_plain())).then_some(needles)
    }

    /// Takes in which of these texts may be in the body, and that no other is. The header was seen, and there are no parts.
    pub fn see_body(&self, found: &[bool], known: &mut Known) {
        self.rule_out(found, known, |test| matches!(test, Test::Body(_) | Test::Text(_)));
    }

    /// The same of a message of which headers are still to be seen.
    pub fn see_body_alone(&self, found: &[bool], known: &mut Known) {
        self.rule_out(found, known, |test| matches!(test, Test::Body(_)));
    }

    fn rule_out(&self, found: &[bool], known: &mut Known, which: fn(&Test) -> bool) {
        let texts = self.tests.iter().zip(&mut known.answers);
        let texts = texts.filter(|(test, _)| matches!(test, Test::Body(_) | Test::Text(_)));
        for ((_, answer), _) in texts.zip(found).filter(|((test, _), found)| which(test) && !**found) {
            *answer = Some(answer.unwrap_or(false));
        }
    }

    /// Does what is not known yet take the header?
    pub fn wants_header(&self, known: &Known) -> bool {
        let header = |test: &Test| matches!(test, Test::Sent(..) | Test::Field(..) | Test::Addresses(..) | Test::Text(_));
        self.tests.iter().zip(&known.answers).any(|(test, answer)| header(test) && answer.is_none())
    }

    /// Is a text still looked for in headers of parts?
    pub fn wants_part_headers(&self, known: &Known) -> bool {
        self.tests.iter().zip(&known.answers).any(|(test, answer)| matches!(test, Test::Text(_)) && answer.is_none())
    }

    /// Bytes of the longest text that is looked for.
    pub fn longest(&self) -> usize {
        let texts = self.tests.iter().filter_map(|test| match test {
            Test::Body(needle) | Test::Text(needle) => Some(needle.len()),
            _ => None,
        });
        texts.max().unwrap_or(0)
    }

    /// Does the message fit? None: not known yet.
    pub fn decide(&self, known: &mut Known) -> Option<bool> {
        let Known { answers, stack } = known;
        stack.clear();
        let mut answers = answers.iter();
        for act in &self.acts {
            let result = match act {
                Act::Test => answers.next().copied().flatten(),
                Act::Not => stack.pop().flatten().map(|answer| !answer),
                Act::Or => match (stack.pop().flatten(), stack.pop().flatten()) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                },
                Act::And(count) => {
                    let from = stack.len().saturating_sub(*count);
                    let those = stack.get(from..).unwrap_or_default();
                    let known = if those.contains(&None) { None } else { Some(true) };
                    let all = if those.contains(&Some(false)) { Some(false) } else { known };
                    stack.truncate(from);
                    all
                }
            };
            stack.push(result);
        }
        stack.pop().flatten()
    }
}

fn test(key: &Key, context: &Context<'_>) -> Test {
    let text = |bytes: &[u8]| match context.charset {
        Some(label) => words::from_charset(label, bytes),
        None => words::raw(bytes),
    };
    // Everything has nothing in it.
    let looked_for = |bytes: &[u8], test: fn(Needle) -> Test| match text(bytes) {
        text if text.is_empty() => Test::Always(true),
        text => test(Needle::new(&text)),
    };
    let ago = |seconds: u32| Time(context.now.0.saturating_sub(i64::from(seconds) * 1_000_000));
    match key {
        Key::All => Test::Always(true),
        Key::Numbers(Set::Saved) | Key::Uids(Set::Saved) => Test::Uids(context.saved.to_vec()),
        Key::Numbers(set) => Test::Numbers(set.ranges(context.count)),
        Key::Uids(set) => Test::Uids(set.ranges(context.last_uid)),
        Key::Flags(flags, set) => Test::Flags(*flags, *set),
        Key::Keyword(name, set) => Test::Keywords(context.keywords.bit(name).unwrap_or(0), *set),
        Key::Recent => Test::Recent,
        Key::Day(Which::Sent, relation, day) => Test::Sent(*relation, *day),
        Key::Day(which, relation, day) => Test::Day { saved: *which == Which::Saved, relation: *relation, day: *day },
        Key::Larger(size) => Test::Larger(*size),
        Key::Smaller(size) => Test::Smaller(*size),
        Key::Older(seconds) => Test::NotAfter(ago(*seconds)),
        Key::Younger(seconds) => Test::NotBefore(ago(*seconds)),
        // No field has such a name, and no other stands for it.
        Key::Header(name, bytes) => match std::str::from_utf8(name) {
            Ok(name) if !name.is_empty() => Test::Field(name.to_owned(), Needle::new(&text(bytes))),
            _ => Test::Always(false),
        },
        Key::Addresses(name, bytes) => Test::Addresses(name.clone(), Needle::new(&text(bytes))),
        Key::Body(bytes) => looked_for(bytes, Test::Body),
        Key::Text(bytes) => looked_for(bytes, Test::Text),
        Key::ModSeq(modseq) => Test::ModSeq(*modseq),
        Key::EmailId(id) => Test::EmailId(id.clone()),
        // We put none together (RFC 8474 §5.2).
        Key::ThreadId(_) => Test::Always(false),
    }
}

/// Is it in one of these ranges, which ascend?
fn is_in(ranges: &[RangeInclusive<u32>], number: u32) -> bool {
    let at = ranges.partition_point(|range| *range.end() < number);
    ranges.get(at).is_some_and(|range| range.contains(&number))
}

fn lies(own: Date, relation: Relation, day: Date) -> bool {
    match relation {
        Relation::Before => own < day,
        Relation::On => own == day,
        Relation::Since => own >= day,
    }
}

/// The day in the `Date` field, as the sender's clock showed it (RFC 9051 §6.4.4).
fn sent_day(bytes: &[u8]) -> Option<Date> {
    let field = header::fields(bytes).find(|field| field.is(bytes, "date"))?;
    Sent::parse(bytes.get(field.value)?).map(Sent::day)
}

/// The key of a header's text.
fn push_header(bytes: &[u8], key: &mut Vec<u8>) {
    for field in header::fields(bytes) {
        let start = key.len();
        key.extend_from_slice(bytes.get(field.name).unwrap_or_default());
        key.get_mut(start..).unwrap_or_default().make_ascii_uppercase();
        key.push(b':');
        push_value(bytes.get(field.value).unwrap_or_default(), key);
        key.push(b'\n');
    }
}

/// Adds the addresses of a list as `name <local@domain>`, one a line, if comments, quotes or blanks make them something else in
/// the text of the field (RFC 9051 §6.4.4: what is looked for is in the envelope).
fn push_addresses(value: &[u8], key: &mut Vec<u8>) {
    let blank = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
    let apart = |at: usize| blank(value.get(at + 1)) || at > 0 && blank(value.get(at - 1));
    if memchr::memchr3(b'(', b'"', b'\\', value).is_none() && !memchr::memchr2_iter(b'@', b'.', value).any(apart) {
        return;
    }
    for entry in mailboxes::parse(value) {
        let Entry::Mailbox(mailbox) = entry else { continue };
        let name = mailbox.name.unwrap_or_default();
        push_value(&[&name[..], b" <", &mailbox.local, b"@", &mailbox.domain, b">"].concat(), key);
        key.push(b'\n');
    }
}

/// The key of a value on one line. Where it was folded may be a tab; nobody looks for one.
fn push_value(value: &[u8], key: &mut Vec<u8>) {
    let start = key.len();
    if value.is_ascii() && memchr::memmem::find(value, b"=?").is_none() {
        // Nothing is encoded: as it stands, but in one line.
        value.split(|byte| matches!(byte, b'\r' | b'\n' | 0)).for_each(|line| key.extend_from_slice(line));
        key.get_mut(start..).unwrap_or_default().make_ascii_uppercase();
    } else {
        casemap::push(&words::decode(value), key);
    }
    key.get_mut(start..).unwrap_or_default().iter_mut().filter(|byte| **byte == b'\t').for_each(|byte| *byte = b' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_one_line_of_decoded_text() {
        for (value, expected) in [
            (" a\r\n\tb", " A B"),
            (" =?utf-8?q?gr=C3=BC?=\r\n =?utf-8?q?n?=", " GRU\u{308}N"),
            ("a\r\n =? b", "A =? B"),
            ("\u{e9}", "E\u{301}"),
        ] {
            let mut key = Vec::new();
            push_value(value.as_bytes(), &mut key);
            assert_eq!(String::from_utf8(key).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_not_known_decides_only_what_depends_on_it() {
        let keywords = Keywords::default();
        let context = Context { charset: None, keywords: &keywords, now: Time(0), count: 9, last_uid: 9, saved: &[] };
        let decided = |steps: &[Step]| {
            let program = Program::new(steps, &context).unwrap();
            let mut known = Known::default();
            program.begin(1, &Summary::default(), || false, &mut known);
            program.decide(&mut known)
        };
        let (yes, no, open) = (Step::Key(Key::All), Step::Key(Key::Recent), Step::Key(Key::Body(b"x".to_vec())));
        for (steps, expected) in [
            (vec![yes.clone(), open.clone(), Step::And(2)], None),
            (vec![no.clone(), open.clone(), Step::And(2)], Some(false)),
            (vec![open.clone(), no.clone(), Step::Or], None),
            (vec![open.clone(), yes.clone(), Step::Or], Some(true)),
            (vec![open.clone(), Step::Not, no.clone(), Step::And(2)], Some(false)),
            (vec![open, Step::Not], None),
            (vec![no, Step::Not, yes, Step::And(2)], Some(true)),
        ] {
            assert_eq!(decided(&steps), expected, "{steps:?}");
        }
        let unknown = Context { charset: Some(b"x-nobody"), ..context };
        assert_eq!(Program::new(&[Step::Key(Key::All)], &unknown).err(), Some(BadCharset));
    }
}
