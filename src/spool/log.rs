//! The form of an outcome log: lines of text, each behind a checksum that is seeded by the generation of its segment.
//! Functions on bytes, no I/O.
//!
//! ```abnf
//! log     = head *( line / damage ) *NUL          ; zeros are room made beforehand
//! line    = crc SP item LF                        ; crc: 8 hex digits, CRC-32C of generation (8 bytes, big-endian) and item
//! head    = crc SP "log" SP version SP generation LF
//! item    = "summary" SP end SP ( "open" / "closed" ) SP count  ; records that begin before `end` are settled, but for so many "live" ones
//!         / "live" SP id SP offset SP header SP size SP ( "here" / "file" ) SP time SP list
//!         / "void" SP offset                      ; records at or behind this place were never accepted
//!         / "moved" SP id                         ; the record here does not count, a later segment has it
//!         / "out" SP outcome
//!         / "all" SP outcome *( HTAB outcome )     ; all of these or, the line being torn, none
//! outcome = id SP list SP time SP ( "delivered" / "failed" / "expired" / "removed" ) SP text
//!         / id SP list SP time SP "waiting" SP due SP tries SP flags SP text   ; what is true from then on
//! ```

use super::text::{Mark, TEXT, escape, parse_list, put_list, unescape};
use super::{SpoolId, Status};
use crate::sys::Time;
use std::fmt::Write;

/// Version 1 knew no `all`, and is read.
const VERSION: u32 = 2;

/// No line about one recipient is longer.
pub(super) const LINE: u64 = TEXT as u64 + 200;
/// Enough for a void line.
pub(super) const VOID_LINE: u64 = 64;

/// An outcome as it is written: told so that saying it twice changes nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    pub id: SpoolId,
    pub recipients: Vec<u32>,
    pub time: Time,
    pub what: What,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum What {
    /// Done with: word and text, for those who read logs.
    Settled(&'static str, String),
    /// Still waiting, with these marks (the index in them means nothing).
    Waiting(Mark),
}

/// Where a record lies, and what a summary tells of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    /// Of the record, in its segment.
    pub offset: u64,
    /// Bytes of the record before the message.
    pub header: u32,
    /// Bytes of the message.
    pub size: u64,
    /// The message lies in a file of its own.
    pub own: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Item {
    Summary { end: u64, closed: bool, count: usize },
    Live { id: SpoolId, place: Place, time: Time, waiting: Vec<u32> },
    Void(u64),
    Moved(SpoolId),
    Out(Line),
    All(Vec<Line>),
}

/// The word for an outcome that settles.
pub(super) fn settled_word(status: &Status) -> Option<&'static str> {
    match status {
        Status::Delivered => Some("delivered"),
        Status::Failed => Some("failed"),
        Status::Expired => Some("expired"),
        Status::Removed => Some("removed"),
        Status::Deferred { .. } | Status::Warned | Status::Held => None,
    }
}

impl Line {
    /// The outcome, without checksum and line end.
    pub fn put(&self, out: &mut String) {
        let _ = write!(out, "{} ", self.id);
        put_list(self.recipients.iter().copied(), out);
        let _ = write!(out, " {} ", self.time.0);
        match &self.what {
            What::Settled(word, text) => {
                let _ = write!(out, "{word} ");
                escape(text, TEXT, out);
            }
            What::Waiting(mark) => {
                out.push_str("waiting ");
                mark.put(out);
            }
        }
    }

    /// What [`Line::put`] wrote.
    pub fn parse(text: &str) -> Option<Line> {
        let mut words = text.splitn(5, ' ');
        let id = words.next()?.parse().ok()?;
        let recipients = parse_list(words.next()?)?;
        let time = Time(words.next()?.parse().ok()?);
        let (word, rest) = (words.next()?, words.next()?);
        let what = match ["delivered", "failed", "expired", "removed"].iter().find(|known| **known == word) {
            Some(known) => What::Settled(known, unescape(rest)?),
            None if word == "waiting" => What::Waiting(Mark::parse(0, rest)?),
            None => return None,
        };
        Some(Line { id, recipients, time, what })
    }
}

impl Item {
    /// Adds the item as a whole line.
    pub fn put(&self, generation: u64, out: &mut Vec<u8>) {
        let mut text = String::with_capacity(128);
        match self {
            Item::Summary { end, closed, count } => {
                let _ = write!(text, "summary {end} {} {count}", if *closed { "closed" } else { "open" });
            }
            Item::Live { id, place: Place { offset, header, size, own }, time, waiting } => {
                let kind = if *own { "file" } else { "here" };
                let _ = write!(text, "live {id} {offset} {header} {size} {kind} {} ", time.0);
                put_list(waiting.iter().copied(), &mut text);
            }
            Item::Void(offset) => text = format!("void {offset}"),
            Item::Moved(id) => text = format!("moved {id}"),
            Item::Out(line) => {
                text.push_str("out ");
                line.put(&mut text);
            }
            Item::All(lines) => {
                for (at, line) in lines.iter().enumerate() {
                    text.push_str(if at == 0 { "all " } else { "\t" });
                    line.put(&mut text);
                }
            }
        }
        put_line(generation, &text, out);
    }

    /// An item without its checksum.
    pub fn parse(text: &str) -> Option<Item> {
        let (kind, rest) = text.split_once(' ')?;
        let mut words = rest.split(' ');
        let mut word = || words.next();
        Some(match kind {
            "out" => Item::Out(Line::parse(rest)?),
            "all" => Item::All(rest.split('\t').map(Line::parse).collect::<Option<_>>()?),
            "void" => Item::Void(rest.parse().ok()?),
            "moved" => Item::Moved(rest.parse().ok()?),
            "summary" => Item::Summary {
                end: word()?.parse().ok()?,
                closed: match word()? {
                    "closed" => true,
                    "open" => false,
                    _ => return None,
                },
                count: word()?.parse().ok()?,
            },
            "live" => Item::Live {
                id: word()?.parse().ok()?,
                place: Place {
                    offset: word()?.parse().ok()?,
                    header: word()?.parse().ok()?,
                    size: word()?.parse().ok()?,
                    own: match word()? {
                        "file" => true,
                        "here" => false,
                        _ => return None,
                    },
                },
                time: Time(word()?.parse().ok()?),
                waiting: parse_list(word()?)?,
            },
            _ => return None,
        })
    }
}

fn put_line(generation: u64, text: &str, out: &mut Vec<u8>) {
    let crc = checksum(generation, text.as_bytes());
    out.extend_from_slice(format!("{crc:08x} {text}\n").as_bytes());
}

fn checksum(generation: u64, text: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&generation.to_be_bytes()), text)
}

/// The first line of a log.
pub(super) fn head(generation: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_line(generation, &format!("log {VERSION} {generation:016x}"), &mut out);
    out
}

/// What the first line of a log tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Head {
    /// Of this format, for the segment of this generation.
    Ours(u64),
    /// Of a format that is newer than this program.
    Newer(u32),
    /// None that holds.
    Bad,
}

/// Reads the first line.
pub(super) fn parse_head(log: &[u8]) -> Head {
    let parse = || {
        let line = log.get(..memchr::memchr(b'\n', log)?)?;
        let text = std::str::from_utf8(line).ok()?;
        let (crc, text) = text.split_once(' ')?;
        let (version, generation) = text.strip_prefix("log ")?.split_once(' ')?;
        let generation = u64::from_str_radix(generation, 16).ok()?;
        let sound = u32::from_str_radix(crc, 16).ok()? == checksum(generation, text.as_bytes());
        sound.then_some((version.parse::<u32>().ok()?, generation))
    };
    match parse() {
        Some((1..=VERSION, generation)) => Head::Ours(generation),
        Some((version, _)) if version > VERSION => Head::Newer(version),
        _ => Head::Bad,
    }
}

/// All of a log that holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Log {
    pub items: Vec<Item>,
    /// Where the next line goes: behind everything that is not zero.
    pub end: u64,
    /// What stands before `end` is no whole line.
    pub ragged: bool,
    /// Lines that did not hold.
    pub bad: usize,
}

/// Reads a log whose segment has this generation. A line that does not hold is passed over.
pub(super) fn parse(log: &[u8], generation: u64) -> Log {
    let zeros = log.rchunks(512).take_while(|chunk| [0; 512].starts_with(chunk)).count() * 512;
    let rest = log.get(..log.len().saturating_sub(zeros)).unwrap_or_default();
    let end = rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let text = log.get(..end).unwrap_or_default();
    let mut found = Log { end: end as u64, ragged: text.last().is_some_and(|&byte| byte != b'\n'), ..Log::default() };
    for line in text.split(|&byte| byte == b'\n') {
        // Zeros before a line: room that was never used because a write before it was lost.
        let line = line.get(line.iter().position(|&byte| byte != 0).unwrap_or(line.len())..).unwrap_or_default();
        if line.is_empty() || parse_head(&[line, b"\n"].concat()) != Head::Bad {
            continue;
        }
        match parse_line(line, generation) {
            Some(item) => found.items.push(item),
            None => found.bad += 1,
        }
    }
    found
}

fn parse_line(line: &[u8], generation: u64) -> Option<Item> {
    let (crc, text) = line.split_at_checked(8)?;
    let text = text.strip_prefix(b" ")?;
    if u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()? != checksum(generation, text) {
        return None;
    }
    Item::parse(std::str::from_utf8(text).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(counter: u64) -> SpoolId {
        SpoolId { generation: 0xfeed, counter }
    }

    fn samples() -> Vec<Item> {
        let mark = Mark { tries: 3, warned: true, text: Some("450 \n%no".into()), ..Mark::fresh(0, Time(77)) };
        let place = Place { offset: 512, header: 300, size: 4096, own: false };
        vec![
            Item::Summary { end: 9000, closed: true, count: 1 },
            Item::Live { id: id(1), place, time: Time(-5), waiting: vec![0, 1, 2, 9] },
            Item::Void(4711),
            Item::Moved(id(7)),
            Item::Out(Line { id: id(2), recipients: vec![4], time: Time(9), what: What::Settled("failed", "550 no".into()) }),
            Item::Out(Line { id: id(3), recipients: vec![0, 1], time: Time(9), what: What::Waiting(mark) }),
            Item::All(
                [4, 5]
                    .map(|n| Line {
                        id: id(n),
                        recipients: vec![0],
                        time: Time(9),
                        what: What::Settled("removed", "a\tb".into()),
                    })
                    .to_vec(),
            ),
        ]
    }

    fn whole() -> Vec<u8> {
        let mut bytes = head(5);
        samples().iter().for_each(|item| item.put(5, &mut bytes));
        bytes.resize(bytes.len() + 100, 0);
        bytes
    }

    #[test]
    fn items_come_back() {
        let found = parse(&whole(), 5);
        assert_eq!((found.items, found.bad, found.ragged), (samples(), 0, false));
        assert_eq!(found.end, whole().len() as u64 - 100);
        assert_eq!(parse_head(&whole()), Head::Ours(5));
    }

    #[test]
    fn lines_of_another_generation_do_not_count() {
        assert_eq!(parse(&whole(), 6).items, []);
    }

    #[test]
    fn the_longest_line_fits_where_room_was_reserved() {
        let id = SpoolId { generation: u64::MAX, counter: u64::MAX };
        let mark = Mark {
            index: 0,
            tries: u32::MAX,
            due: Time(i64::MIN),
            held: true,
            warned: true,
            text: Some("\n".repeat(999).into()),
        };
        let mut out = Vec::new();
        Item::Out(Line { id, recipients: vec![(1 << 20) - 1], time: Time(i64::MIN), what: What::Waiting(mark) })
            .put(u64::MAX, &mut out);
        assert!(out.len() as u64 <= LINE, "{}", out.len());
        let mut out = vec![];
        Item::Void(u64::MAX).put(u64::MAX, &mut out);
        assert!(out.len() as u64 <= VOID_LINE);
    }

    #[test]
    fn zeros_and_rags_between_lines_cost_only_themselves() {
        let mut bytes = head(5);
        Item::Void(1).put(5, &mut bytes);
        bytes.extend_from_slice(&[0; 600]);
        Item::Void(2).put(5, &mut bytes);
        bytes.extend_from_slice(b"0000 torn\0\0\n");
        Item::Void(3).put(5, &mut bytes);
        bytes.extend_from_slice(b"abc");
        let found = parse(&bytes, 5);
        assert_eq!(found.items, [Item::Void(1), Item::Void(2), Item::Void(3)]);
        assert!(found.ragged);
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut bytes = Vec::new();
        put_line(5, &format!("log 3 {:016x}", 5), &mut bytes);
        assert_eq!(parse_head(&bytes), Head::Newer(3));
        bytes[0] ^= 1;
        assert_eq!(parse_head(&bytes), Head::Bad);
    }

    proptest! {
        #[test]
        fn one_flipped_bit_costs_one_line(at in 0usize..1000, bit in 0u8..8) {
            let mut bytes = whole();
            let at = at % (bytes.len() - 100);
            bytes[at] ^= 1 << bit;
            let found = parse(&bytes, 5).items;
            let expected = samples();
            prop_assert!(found.iter().all(|item| expected.contains(item)));
            // A flipped line end spoils the lines on both sides of it.
            prop_assert!(found.len() >= expected.len() - 2);
        }

        #[test]
        fn no_input_is_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "(out|all|live|void|moved|summary|log)( [0-9a-f-]{1,17}){0,9}") {
            parse(&bytes, 1);
            parse_head(&bytes);
            Item::parse(&text);
        }
    }
}
