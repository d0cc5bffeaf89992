//! The form of an outcome log: lines of text, each behind a checksum that is seeded by the generation of its segment.
//! Functions on bytes, no I/O.
//!
//! ```abnf
//! log     = head *( line / damage ) *NUL          ; zeros are room made beforehand
//! line    = crc SP item LF                        ; crc: 8 hex digits, CRC-32C of generation (8 bytes, big-endian) and item
//! head    = crc SP "log" SP version SP generation LF
//! item    = "summary" SP end SP ( "open" / "closed" ) SP count  ; records that begin before `end` are settled, but for so many "live" ones
//!         / "live" SP id SP offset SP header SP size SP ( "here" / "file" ) SP time SP list [ SP domain *( "," domain ) ]
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
use std::sync::Arc;

/// Version 1 knew no `all`, version 2 no domains; both are read.
const VERSION: u32 = 3;

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
    Live { id: SpoolId, place: Place, time: Time, waiting: Vec<u32>, domains: Option<Arc<str>> },
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
            Item::Live { id, place: Place { offset, header, size, own }, time, waiting, domains } => {
                let kind = if *own { "file" } else { "here" };
                let _ = write!(text, "live {id} {offset} {header} {size} {kind} {} ", time.0);
                put_list(waiting.iter().copied(), &mut text);
                let _ = domains.as_ref().map_or(Ok(()), |domains| write!(text, " {domains}"));
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
                domains: word().map(Arc::from),
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
    let mut again = Again::default();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', text).chain([text.len()]) {
        let line = text.get(start..end).unwrap_or_default();
        start = end + 1;
        // Zeros before a line: room that was never used because a write before it was lost.
        let line = line.get(line.iter().position(|&byte| byte != 0).unwrap_or(line.len())..).unwrap_or_default();
        if line.is_empty() || again.is(line) {
            continue;
        }
        match parse_line(line, generation) {
            Some(item) => {
                again.saw(item.as_ref());
                found.items.extend(item);
            }
            None => {
                again.saw(None);
                found.bad += 1;
            }
        }
    }
    found
}

/// Finds out when the first copy of a summary is whole, so that the second need not be read.
#[derive(Debug, Default)]
struct Again {
    /// Live lines that are still to come, each right behind the other.
    left: Option<usize>,
}

impl Again {
    /// Is this a line of the second copy?
    fn is(&self, line: &[u8]) -> bool {
        self.left == Some(0) && line.get(9..).is_some_and(|text| text.starts_with(b"live "))
    }

    fn saw(&mut self, item: Option<&Item>) {
        self.left = match (item, self.left) {
            (_, Some(0)) => Some(0),
            (Some(Item::Summary { count, .. }), None) => Some(*count),
            (Some(Item::Live { .. }), Some(left)) => Some(left - 1),
            // One is lost: the second copy has it.
            _ => None,
        };
    }
}

/// What a line says; nothing if it is the head.
fn parse_line(line: &[u8], generation: u64) -> Option<Option<Item>> {
    let (crc, text) = line.split_at_checked(8)?;
    let text = text.strip_prefix(b" ")?;
    if u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()? != checksum(generation, text) {
        return None;
    }
    if text.starts_with(b"log ") {
        return Some(None);
    }
    Item::parse(std::str::from_utf8(text).ok()?).map(Some)
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
            Item::Summary { end: 9000, closed: true, count: 2 },
            Item::Live { id: id(1), place: place.clone(), time: Time(-5), waiting: vec![0, 1, 2, 9], domains: None },
            Item::Live { id: id(9), place, time: Time(-5), waiting: vec![0], domains: Some("a.test,[192.0.2.1]".into()) },
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
        put_line(5, &format!("log {} {:016x}", VERSION + 1, 5), &mut bytes);
        assert_eq!(parse_head(&bytes), Head::Newer(VERSION + 1));
        bytes[0] ^= 1;
        assert_eq!(parse_head(&bytes), Head::Bad);
    }

    #[test]
    fn an_older_format_is_read() {
        let mut bytes = Vec::new();
        put_line(5, &format!("log 2 {:016x}", 5), &mut bytes);
        put_line(5, &format!("live {} 512 300 4096 here -5 0-2", id(1)), &mut bytes);
        let place = Place { offset: 512, header: 300, size: 4096, own: false };
        let live = Item::Live { id: id(1), place, time: Time(-5), waiting: vec![0, 1, 2], domains: None };
        assert_eq!((parse_head(&bytes), parse(&bytes, 5).items), (Head::Ours(5), vec![live]));
    }

    /// A summary as it is written: twice. Which of its live lines are found when these lines are spoiled?
    fn found_without(spoiled: &[usize]) -> Vec<u64> {
        let place = Place { offset: 512, header: 300, size: 4096, own: false };
        let live = |n| Item::Live { id: id(n), place: place.clone(), time: Time(0), waiting: vec![0], domains: None };
        let summary = Item::Summary { end: 9000, closed: true, count: 3 };
        let copy = [vec![summary], (1..4).map(live).collect()].concat();
        let mut bytes = head(5);
        for (at, item) in copy.iter().chain(&copy).enumerate() {
            let start = bytes.len();
            item.put(5, &mut bytes);
            bytes[start] ^= u8::from(spoiled.contains(&at));
        }
        let lives = parse(&bytes, 5).items.into_iter();
        lives.filter_map(|item| if let Item::Live { id, .. } = item { Some(id.counter) } else { None }).collect()
    }

    #[test]
    fn the_second_copy_of_a_summary_is_read_when_the_first_has_a_gap() {
        assert_eq!(found_without(&[]), [1, 2, 3]);
        assert_eq!(found_without(&[5, 7]), [1, 2, 3]);
        assert_eq!(found_without(&[2]), [1, 3, 1, 2, 3]);
        assert_eq!(found_without(&[3]), [1, 2, 1, 2, 3]);
        assert_eq!(found_without(&[3, 4]), [1, 2, 1, 2, 3]);
        assert_eq!(found_without(&[0]), [1, 2, 3, 1, 2, 3]);
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
