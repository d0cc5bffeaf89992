//! Sets of messages (RFC 9051 §9 `sequence-set`). Pure.

use super::cursor::{Bad, Cursor, Parsed};
use crate::mailbox::Uid;
use std::fmt::Write;
use std::ops::RangeInclusive;

/// So many ranges in one set.
const MOST: usize = 10_000;

/// Which messages, by number or by UID.
///
/// ```abnf
/// sequence-set = (seq-number / seq-range) ["," sequence-set] / "$"
/// seq-range    = seq-number ":" seq-number
/// seq-number   = nz-number / "*"
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    /// Ranges as written; zero stands for `*`.
    Ranges(Vec<(u32, u32)>),
    /// `$`: the result of the last search (RFC 5182).
    Saved,
}

impl Set {
    /// Reads one.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Set> {
        if cursor.eat(b'$') {
            return Ok(Set::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let first = seq_number(cursor)?;
            let last = if cursor.eat(b':') { seq_number(cursor)? } else { first };
            ranges.push((first, last));
            if ranges.len() > MOST {
                return Err(Bad("a set has too many ranges"));
            }
            if !cursor.eat(b',') {
                return Ok(Set::Ranges(ranges));
            }
        }
    }

    /// Reads a set of one number.
    pub fn parse_one(cursor: &mut Cursor<'_>) -> Parsed<Set> {
        seq_number(cursor).map(|number| Set::Ranges(vec![(number, number)]))
    }

    /// Is `*` or a number beyond `highest` in it? Then it can't name messages by number (RFC 9051 §9).
    pub fn is_beyond(&self, highest: u32) -> bool {
        let beyond = |number: u32| number > highest || (number == 0 && highest == 0);
        matches!(self, Set::Ranges(ranges) if ranges.iter().any(|(first, last)| beyond(*first) || beyond(*last)))
    }

    /// Ascending ranges that don't touch, where `highest` is what `*` means. (`5:*` has the last message even if that is 3.)
    pub fn ranges(&self, highest: u32) -> Vec<RangeInclusive<u32>> {
        let Set::Ranges(ranges) = self else { return Vec::new() };
        let real = |number: u32| if number == 0 { highest } else { number };
        let ends = ranges.iter().map(|(first, last)| (real(*first), real(*last)));
        let mut ends: Vec<(u32, u32)> = ends.map(|(first, last)| (first.min(last), first.max(last))).collect();
        ends.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ends.len());
        for (first, last) in ends {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        merged.into_iter().map(|(first, last)| first..=last).collect()
    }
}

/// `seq-number = nz-number / "*"`
fn seq_number(cursor: &mut Cursor<'_>) -> Parsed<u32> {
    if cursor.eat(b'*') { Ok(0) } else { cursor.nz_number() }
}

/// Ascending ranges as a set, in its shortest form.
pub fn show(ranges: impl IntoIterator<Item = RangeInclusive<u32>>) -> String {
    let mut out = String::new();
    let mut close = |range: Option<(u32, u32)>| {
        let Some((first, last)) = range else { return };
        let comma = if out.is_empty() { "" } else { "," };
        let _ = if first == last { write!(out, "{comma}{first}") } else { write!(out, "{comma}{first}:{last}") };
    };
    let mut open: Option<(u32, u32)> = None;
    for range in ranges {
        match open {
            Some((first, last)) if last.checked_add(1) == Some(*range.start()) => open = Some((first, *range.end())),
            _ => {
                close(open);
                open = Some((*range.start(), *range.end()));
            }
        }
    }
    close(open);
    out
}

/// Ascending UIDs as a set.
pub fn show_uids<'a>(uids: impl IntoIterator<Item = &'a Uid>) -> String {
    show(uids.into_iter().map(|uid| uid.0..=uid.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Set {
        Set::parse(&mut Cursor::new(text.as_bytes())).unwrap()
    }

    #[test]
    fn ranges_are_merged_and_star_is_the_last() {
        assert_eq!(set("5,1:3,2,4").ranges(9), [1..=5]);
        assert_eq!(set("*:7,1").ranges(9), [1..=1, 7..=9]);
        assert_eq!(set("20:*").ranges(9), [9..=20]);
        assert!(set("1:*").is_beyond(0) && set("4").is_beyond(3) && !set("1:3,*").is_beyond(3));
        for bad in ["", "0", "1:", "1,,2", ":3", "a"] {
            assert!(Set::parse(&mut Cursor::new(bad.as_bytes())).is_err(), "{bad}");
        }
    }

    #[test]
    fn shown_in_short() {
        assert_eq!(show([1..=2, 3..=3, 5..=5, 7..=8]), "1:3,5,7:8");
        assert_eq!((show([]), show_uids(&[Uid(u32::MAX)])), (String::new(), "4294967295".into()));
    }
}
