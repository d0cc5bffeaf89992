//! Small parts of which the journal's lines are made: escaped text, lists of recipients, marks.

use crate::sys::Time;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

/// Characters of an outcome's text that are kept, once escaped.
pub(super) const TEXT: usize = 512;
/// No list names more recipients than this; SMTP limits lie far below.
pub(super) const MOST: u32 = 1 << 20;

/// A recipient that waits, as memory holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    pub index: u32,
    pub tries: u32,
    pub due: Time,
    pub held: bool,
    pub warned: bool,
    /// Of the last outcome; several recipients share one.
    pub text: Option<Arc<str>>,
}

impl Mark {
    /// Of a recipient that was never tried.
    pub fn fresh(index: u32, due: Time) -> Mark {
        Mark { index, tries: 0, due, held: false, warned: false, text: None }
    }

    /// Never tried, of a message of this time?
    pub fn is_fresh(&self, time: Time) -> bool {
        *self == Mark::fresh(self.index, time)
    }

    /// Apart from whose it is, the same?
    pub fn agrees(&self, other: &Mark) -> bool {
        *self == Mark { index: self.index, ..other.clone() }
    }

    /// `due tries flags text`, the text last because it holds spaces.
    pub fn put(&self, out: &mut String) {
        let flags = match (self.held, self.warned) {
            (false, false) => "-",
            (true, false) => "h",
            (false, true) => "w",
            (true, true) => "hw",
        };
        let _ = write!(out, "{} {} {flags} ", self.due.0, self.tries);
        escape(self.text.as_deref().unwrap_or_default(), TEXT, out);
    }

    /// What [`Mark::put`] wrote.
    pub fn parse(index: u32, text: &str) -> Option<Mark> {
        let mut words = text.splitn(4, ' ');
        let due = Time(words.next()?.parse().ok()?);
        let tries = words.next()?.parse().ok()?;
        let (held, warned) = match words.next()? {
            "-" => (false, false),
            "h" => (true, false),
            "w" => (false, true),
            "hw" => (true, true),
            _ => return None,
        };
        let text = unescape(words.next()?)?;
        Some(Mark { index, tries, due, held, warned, text: (!text.is_empty()).then(|| text.into()) })
    }
}

/// Texts of which many entries have the same, in memory once.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Texts {
    known: HashSet<Arc<str>>,
    /// When there are so many, those that nobody has any more are let go.
    most: usize,
}

impl Texts {
    const FEWEST: usize = 1024;

    /// The text, shared with all who have the same.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        if self.known.len() >= self.most {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.most = (2 * self.known.len()).max(Self::FEWEST);
        }
        let new: Arc<str> = text.into();
        self.known.insert(new.clone());
        new
    }
}

/// Adds `text` with control characters and `%` as `%XX`, cut where the escaped form would pass `limit` bytes.
pub(super) fn escape(text: &str, limit: usize, out: &mut String) {
    let end = out.len() + limit;
    for char in text.chars() {
        let plain = !char.is_control() && char != '%';
        if out.len() + if plain { char.len_utf8() } else { 3 * char.len_utf8() } > end {
            return;
        }
        if plain {
            out.push(char);
        } else {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// What [`escape`] wrote.
pub(super) fn unescape(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut parts = text.split('%');
    let mut out = parts.next()?.as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        out.extend_from_slice(part.as_bytes().get(2..)?);
    }
    String::from_utf8(out).ok()
}

/// Adds ascending numbers as `0-3,7`; nothing at all is `-`.
pub(super) fn put_list(numbers: impl IntoIterator<Item = u32>, out: &mut String) {
    let mut numbers = numbers.into_iter().peekable();
    if numbers.peek().is_none() {
        out.push('-');
    }
    let mut comma = "";
    while let Some(first) = numbers.next() {
        let mut last = first;
        while let Some(next) = numbers.next_if(|&next| last.checked_add(1) == Some(next)) {
            last = next;
        }
        let _ = if first == last { write!(out, "{comma}{first}") } else { write!(out, "{comma}{first}-{last}") };
        comma = ",";
    }
}

/// What [`put_list`] wrote: numbers in ascending order.
pub(super) fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    if text == "-" {
        return Some(numbers);
    }
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST || first > last || numbers.last().is_some_and(|&before| before >= first) {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_cut_at_a_whole_character() {
        let mut out = String::new();
        escape("aä\nb", 6, &mut out);
        assert_eq!(out, "aä%0A");
        assert_eq!(unescape("a%0"), None);
        assert_eq!(unescape("a%zz"), None);
        assert_eq!(unescape("%ff"), None);
    }

    #[test]
    fn equal_texts_are_one_as_long_as_somebody_has_them() {
        let mut texts = Texts::default();
        let kept = texts.share("kept");
        for number in 0..5 * Texts::FEWEST {
            texts.share(&number.to_string());
        }
        assert!(texts.known.len() <= Texts::FEWEST, "{}", texts.known.len());
        assert!(Arc::ptr_eq(&kept, &texts.share("kept")));
    }

    #[test]
    fn lists_that_are_not_ours_are_refused() {
        for text in ["", ",", "3-1", "1,1", "2,1", "0-4294967295", "1-", "-1", "x"] {
            assert_eq!(parse_list(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(text in "\\PC{0,40}[\n\r%\0 ]{0,3}\\PC{0,9}", numbers in proptest::collection::btree_set(0u32..60, 0..40),
            due in any::<i64>(), tries in any::<u32>(), held: bool, warned: bool) {
            let mut out = String::new();
            escape(&text, TEXT, &mut out);
            prop_assert!(!out.contains('\n') && out.len() <= TEXT);
            prop_assert_eq!(unescape(&out), Some(text.clone()));
            let mut out = String::new();
            put_list(numbers.iter().copied(), &mut out);
            prop_assert_eq!(parse_list(&out), Some(numbers.into_iter().collect()));
            let mark = Mark { index: 3, tries, due: Time(due), held, warned, text: (!text.is_empty()).then(|| text.into()) };
            let mut out = String::new();
            mark.put(&mut out);
            prop_assert_eq!(Mark::parse(3, &out), Some(mark));
        }

        #[test]
        fn no_input_is_too_odd(text in "\\PC{0,60}") {
            let _ = (unescape(&text), parse_list(&text), Mark::parse(0, &text));
        }
    }
}
