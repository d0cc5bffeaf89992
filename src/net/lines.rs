//! Lines that end in CRLF and in nothing else.
//!
//! A bare CR, a bare LF or a NUL makes a line malformed, but never ends it: what one program takes for two commands must not
//! be one for another (SMTP smuggling). So the next line always begins where every strict reader lets it begin.

use super::Line;
use memchr::{memchr, memchr2};

/// Does a line whose first word this is come from a browser, perhaps driven by an attacker's page? Verbs of HTTP, and the field
/// that comes next.
pub fn is_of_http(word: &[u8]) -> bool {
    ["GET", "POST", "PUT", "HEAD", "CONNECT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PRI", "HOST:"]
        .iter()
        .any(|verb| word.eq_ignore_ascii_case(verb.as_bytes()))
}

/// Finds the end of one line in input that comes in pieces. Pure.
#[derive(Debug)]
pub(super) struct LineScan {
    limit: usize,
    /// Bytes taken so far.
    seen: u64,
    malformed: bool,
    /// The last byte taken was a CR.
    after_cr: bool,
}

impl LineScan {
    /// For a line of at most `limit` bytes with its CRLF.
    pub(super) fn new(limit: usize) -> LineScan {
        LineScan { limit, seen: 0, malformed: false, after_cr: false }
    }

    /// Bytes taken so far.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes the next piece of input, up to the end of the line; what belongs to the line is added to `line`, at most
    /// `limit` bytes in all. Gives the number of bytes taken and, at the end, what kind of line it is; its CRLF is then gone.
    pub(super) fn push(&mut self, input: &[u8], line: &mut Vec<u8>) -> (usize, Option<Line>) {
        let mut used = 0;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            let lf = memchr(b'\n', rest);
            let piece = rest.get(..lf.map_or(rest.len(), |at| at + 1)).unwrap_or(rest);
            used += piece.len();
            if self.take(piece, line) {
                return (used, Some(self.judge(line)));
            }
        }
        (used, None)
    }

    /// Takes a piece that holds at most one LF, as its last byte. True if that ends the line.
    fn take(&mut self, piece: &[u8], line: &mut Vec<u8>) -> bool {
        self.seen += piece.len() as u64;
        let room = self.limit.saturating_sub(line.len()).min(piece.len());
        line.extend_from_slice(piece.get(..room).unwrap_or_default());
        let (text, ends) = match piece {
            [text @ .., b'\r', b'\n'] => (text, true),
            [b'\n'] => (&[] as &[u8], self.after_cr),
            [text @ .., b'\r'] => (text, false),
            // A bare LF is found below.
            text => (text, false),
        };
        let cr_was_bare = self.after_cr && piece.first() != Some(&b'\n');
        let bare_lf = !ends && piece.last() == Some(&b'\n');
        self.malformed |= cr_was_bare || bare_lf || memchr2(b'\r', 0, text).is_some();
        self.after_cr = piece.last() == Some(&b'\r');
        ends
    }

    fn judge(&self, line: &mut Vec<u8>) -> Line {
        if self.malformed {
            return Line::Malformed;
        }
        if self.seen > self.limit as u64 {
            return Line::TooLong;
        }
        line.truncate(line.len().saturating_sub(2));
        Line::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every line of a conversation, fed in the pieces given.
    fn lines(limit: usize, pieces: &[&[u8]]) -> Vec<(Line, Vec<u8>)> {
        let mut found = Vec::new();
        let mut scan = LineScan::new(limit);
        let mut line = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (used, end) = scan.push(rest, &mut line);
                assert!(used > 0);
                rest = &rest[used..];
                assert!(line.len() <= limit);
                if let Some(end) = end {
                    let text = if end == Line::Whole { line.clone() } else { Vec::new() };
                    found.push((end, text));
                    scan = LineScan::new(limit);
                    line.clear();
                }
            }
        }
        found
    }

    const TALK: &[u8] =
        b"EHLO x\r\n\r\nA\rB\r\nA\nB\r\nA\n\r\nA\r\r\n\0\r\n\r\r\n\n\r\nexactly ten\r\nfar too long a line\r\ntoo long\rand bad\r\n\n.\r\nQUIT\r\n";

    #[test]
    fn only_crlf_ends_a_line() {
        use Line::{Malformed, TooLong, Whole};
        let found = lines(13, &[TALK]);
        let kinds: Vec<&Line> = found.iter().map(|(kind, _)| kind).collect();
        assert_eq!(
            kinds,
            [
                &Whole, &Whole, &Malformed, &Malformed, &Malformed, &Malformed, &Malformed, &Malformed, &Malformed, &Whole,
                &TooLong, &Malformed, &Malformed, &Whole
            ]
        );
        assert_eq!(found[0].1, b"EHLO x");
        assert_eq!(found[1].1, b"");
        assert_eq!(found[9].1, b"exactly ten");
        assert_eq!(found[13].1, b"QUIT");
    }

    #[test]
    fn pieces_make_no_difference() {
        let whole = lines(13, &[TALK]);
        let bytes: Vec<&[u8]> = TALK.chunks(1).collect();
        assert_eq!(lines(13, &bytes), whole);
        for at in 0..TALK.len() {
            let (a, b) = TALK.split_at(at);
            assert_eq!(lines(13, &[a, b]), whole, "split at {at}");
        }
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut scan = LineScan::new(100);
        let mut line = Vec::new();
        for _ in 0..1000 {
            assert_eq!(scan.push(&[b'a'; 1000], &mut line), (1000, None));
        }
        assert_eq!((scan.seen(), line.len()), (1_000_000, 100));
    }

    proptest! {
        /// Ends and faults are where a plain search finds them.
        #[test]
        fn the_end_is_the_first_crlf(text in prop::collection::vec(prop_oneof![4 => Just(b'\r'), 4 => Just(b'\n'), 1 => Just(0u8), 4 => Just(b'a')], 0..30), size in 1usize..5) {
            let mut expected = Vec::new();
            let mut rest = &text[..];
            while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
                let (line, after) = rest.split_at(at);
                expected.push(match line {
                    line if line.iter().any(|byte| b"\r\n\0".contains(byte)) => (Line::Malformed, Vec::new()),
                    line if line.len() > 4 => (Line::TooLong, Vec::new()),
                    line => (Line::Whole, line.to_vec()),
                });
                rest = &after[2..];
            }
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            prop_assert_eq!(lines(6, &pieces), expected);
        }
    }
}
