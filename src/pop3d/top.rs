//! What `TOP` shows of a message: its header, the blank line, and so many lines of the body (RFC 1939 §7). Pure.

use memchr::memchr_iter;

/// What has been seen of a line whose end has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Nothing,
    /// A CR, which makes a blank line with an LF.
    Cr,
    Text,
}

impl Line {
    fn and(self, more: &[u8]) -> Line {
        match (self, more) {
            (line, []) => line,
            (Line::Nothing, [b'\r']) => Line::Cr,
            _ => Line::Text,
        }
    }
}

/// Finds where to stop in a message that comes in pieces of any size.
#[derive(Debug)]
pub(super) struct Top {
    /// Lines of the body still wanted.
    lines: u64,
    in_body: bool,
    line: Line,
    over: bool,
}

impl Top {
    /// At the beginning of a message.
    pub(super) fn new(lines: u64) -> Top {
        Top { lines, in_body: false, line: Line::Nothing, over: false }
    }

    /// All that is to be shown has been seen.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// How many bytes at the front of the next piece are to be shown.
    pub(super) fn push(&mut self, piece: &[u8]) -> usize {
        let mut shown = 0;
        for lf in memchr_iter(b'\n', piece) {
            if self.over {
                return shown;
            }
            let blank = self.line.and(piece.get(shown..lf).unwrap_or_default()) != Line::Text;
            self.line = Line::Nothing;
            shown = lf + 1;
            if self.in_body {
                self.lines -= 1;
            }
            self.in_body |= blank;
            self.over = self.in_body && self.lines == 0;
        }
        if self.over {
            return shown;
        }
        self.line = self.line.and(piece.get(shown..).unwrap_or_default());
        piece.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(lines: u64, pieces: &[&[u8]]) -> Vec<u8> {
        let mut top = Top::new(lines);
        let mut shown = Vec::new();
        for piece in pieces {
            let count = top.push(piece);
            shown.extend_from_slice(&piece[..count]);
        }
        shown
    }

    const MESSAGE: &[u8] = b"A: b\r\nC: d\r\n\r\none\r\n\r\nthree\r\nfour";

    #[test]
    fn header_and_lines() {
        let table: [(u64, &[u8]); 6] = [
            (0, b"A: b\r\nC: d\r\n\r\n"),
            (1, b"A: b\r\nC: d\r\n\r\none\r\n"),
            (2, b"A: b\r\nC: d\r\n\r\none\r\n\r\n"),
            (3, b"A: b\r\nC: d\r\n\r\none\r\n\r\nthree\r\n"),
            (4, MESSAGE),
            (u64::MAX, MESSAGE),
        ];
        for (lines, expected) in table {
            assert_eq!(shown(lines, &[MESSAGE]).escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
        assert_eq!(shown(0, &[b"\r\nbody\r\n"]), b"\r\n");
        assert_eq!(shown(1, &[b"\r\nbody\r\nmore\r\n"]), b"\r\nbody\r\n");
        assert_eq!(shown(5, &[b"A: header only\r\n"]), b"A: header only\r\n");
        assert_eq!(shown(0, &[b""]), b"");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(message in "([a:\r]|\r\n){0,30}", lines in 0..5_u64, at in 0..30_usize) {
            let message = message.as_bytes();
            let whole = shown(lines, &[message]);
            prop_assert!(message.starts_with(&whole));
            let bytes: Vec<&[u8]> = message.chunks(1).collect();
            prop_assert_eq!(&shown(lines, &bytes), &whole);
            let (a, b) = message.split_at(at.min(message.len()));
            prop_assert_eq!(&shown(lines, &[a, b]), &whole);
        }
    }
}
