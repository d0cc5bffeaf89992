//! The text of a part, decoded and made ready to be compared in windows of a bounded size, that overlap as far as what is looked
//! for is long. Pure.

use crate::mail::structure::Part;
use crate::mail::transfer::{Decoder, Encoding};
use crate::mail::{casemap, words};

/// Bytes that are looked through at a time, up to a line end.
const WINDOW: usize = 128 << 10;
/// If there is no line end: up to here.
const LONGEST_LINE: usize = 8 << 20;

/// Windows on a text; to be used for one part after the other.
#[derive(Debug)]
pub struct Windows {
    decoder: Decoder,
    encoding: Encoding,
    charset: Vec<u8>,
    /// What looks like ASCII is that.
    is_ascii_based: bool,
    /// A line end is one byte.
    has_lines: bool,
    /// Decoded, and not looked through.
    decoded: Vec<u8>,
    /// What is compared: the end of the window before, and the window.
    key: Vec<u8>,
    overlap: usize,
}

impl Windows {
    /// That overlap by so many bytes.
    pub fn new(overlap: usize) -> Windows {
        Windows {
            decoder: Decoder::Identity,
            encoding: Encoding::Identity,
            charset: Vec::new(),
            is_ascii_based: true,
            has_lines: true,
            decoded: Vec::new(),
            key: Vec::new(),
            overlap,
        }
    }

    /// Begins with a part; false if that is no text.
    pub fn begin(&mut self, part: &Part) -> bool {
        self.decoded.clear();
        self.key.clear();
        self.encoding = part.transfer_encoding();
        self.decoder = Decoder::new(self.encoding);
        self.charset = part.charset();
        let encoding = encoding_rs::Encoding::for_label(&self.charset);
        self.is_ascii_based = words::is_ascii_based(&self.charset);
        self.has_lines = !encoding.is_some_and(|own| own == encoding_rs::UTF_16LE || own == encoding_rs::UTF_16BE);
        part.is_text()
    }

    /// Goes on with the part's body; `see` gets the keys of windows, and tells whether to go on.
    pub fn push(&mut self, piece: &[u8], is_last: bool, see: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let mut decoded = std::mem::take(&mut self.decoded);
        let (done, goes_on);
        if self.encoding == Encoding::Identity && decoded.is_empty() {
            (done, goes_on) = self.look(piece, is_last, see);
            decoded.extend_from_slice(piece.get(done..).unwrap_or_default());
        } else {
            self.decoder.push(piece, &mut decoded);
            if is_last {
                self.decoder.finish(&mut decoded);
            }
            (done, goes_on) = self.look(&decoded, is_last, see);
            decoded.drain(..done);
        }
        self.decoded = decoded;
        goes_on
    }

    /// Looks through what makes windows; tells how many bytes these are.
    fn look(&mut self, bytes: &[u8], is_last: bool, see: &mut dyn FnMut(&[u8]) -> bool) -> (usize, bool) {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let end = match self.end(rest) {
                Some(end) => end,
                None if is_last => rest.len(),
                None => break,
            };
            self.add(rest.get(..end).unwrap_or_default());
            done += end;
            if !see(&self.key) {
                return (done, false);
            }
        }
        (done, true)
    }

    /// Where a window can end; none: not yet.
    fn end(&self, bytes: &[u8]) -> Option<usize> {
        let (window, after) = bytes.split_at_checked(WINDOW)?;
        let lines = if self.has_lines { Some(b'\n') } else { None };
        let in_window = lines.and_then(|end| memchr::memrchr(end, window));
        let line_end = in_window.or_else(|| Some(window.len() + memchr::memchr(lines?, after)?));
        match line_end {
            Some(end) if end < LONGEST_LINE => Some(end + 1),
            // Between two characters, if it can be.
            _ => bytes.get(..LONGEST_LINE).map(|long| long.iter().rposition(u8::is_ascii).map_or(long.len(), |at| at + 1)),
        }
    }

    fn add(&mut self, window: &[u8]) {
        self.key.drain(..self.key.len().saturating_sub(self.overlap));
        match std::str::from_utf8(window) {
            Ok(text) if self.is_ascii_based && text.is_ascii() => casemap::push(text, &mut self.key),
            _ => casemap::push(&words::from_charset(&self.charset, window), &mut self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::structure::Structure;
    use memchr::memmem;
    use proptest::prelude::*;

    /// Is it found, when the part comes in pieces of this size?
    fn finds(message: &str, needle: &str, size: usize) -> bool {
        let message = message.replace('\n', "\r\n");
        let structure = Structure::of(message.as_bytes());
        let part = &structure.parts[0];
        let body = &message.as_bytes()[part.body.start as usize..];
        let needle = casemap::key(needle);
        let mut windows = Windows::new(needle.len() - 1);
        assert!(windows.begin(part));
        let (mut found, mut left) = (false, body.len());
        for piece in body.chunks(size) {
            left -= piece.len();
            windows.push(piece, left == 0, &mut |key| {
                found |= memmem::find(key, &needle).is_some();
                true
            });
        }
        found
    }

    #[test]
    fn text_is_found_whatever_it_is_written_in() {
        for (message, needle) in [
            ("\nHello World\n", "hello world"),
            ("Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n\nZ3LD\nvG4=\n", "GRÜN"),
            ("Content-Transfer-Encoding: quoted-printable\nContent-Type: text/html; charset=iso-8859-1\n\ngr=FC=\nn\n", "grün"),
            ("Content-Type: text/plain; charset=utf-7\n\ngr+APw-n\n", "grün"),
            (
                "Content-Type: text/plain; charset=iso-2022-jp\nContent-Transfer-Encoding: quoted-printable\n\n=1B$BF|K\\=1B(B\n",
                "日本",
            ),
            ("Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: base64\n\nZwByAPwAbgA=\n", "grün"),
            ("Content-Type: text/plain; charset=nonsense\n\ngrün\n", "GRÜN"),
        ] {
            for size in [1, 3, 1000] {
                assert!(finds(message, needle, size), "{message} {size}");
            }
            assert!(!finds(message, "not there", 7));
        }
    }

    #[test]
    fn what_lies_across_windows_is_found() {
        for fill in ["x", "ab cd\n", "ü"] {
            for before in [WINDOW - 8, WINDOW - 3, WINDOW, 3 * WINDOW - 5] {
                let text = fill.repeat(before / fill.len());
                let message = format!("Content-Type: text/plain; charset=utf-8\n\n{text}Nadel{text}\n");
                assert!(finds(&message, "nadel", usize::MAX) && finds(&message, "nadel", 60_000), "{fill:?} {before}");
                assert!(!finds(&message, "nagel", usize::MAX));
            }
        }
        let long = format!("\n{}needle{}\n", "x".repeat(LONGEST_LINE - 3), "y".repeat(WINDOW));
        assert!(finds(&long, "NEEDLE", 1 << 20));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[aü\n =]{0,60}", needle in "[aü]{1,3}", size in 1..20_usize) {
            let message = format!("Content-Type: text/plain; charset=utf-8\n\n{text}");
            prop_assert_eq!(finds(&message, &needle, size), casemap::key(&text).windows(casemap::key(&needle).len()).any(|w| w == casemap::key(&needle)));
        }
    }
}
