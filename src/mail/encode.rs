//! Content transfer encodings (RFC 2045 §6), written in pieces of any size. What comes out has 7 bits, CRLF line ends and
//! lines of 76 characters at most, and [`super::transfer`] makes of it what went in, to the byte.

use base64::engine::Engine;
use base64::engine::general_purpose::STANDARD;

/// Characters of a line, without the `=` of a soft line break (RFC 2045 §6.7, rule 5).
const WIDTH: usize = 75;
/// Bytes that make a line of base64 (RFC 2045 §6.8).
const GROUP: usize = 57;

/// Encodes a body that comes in pieces.
#[derive(Debug)]
pub enum Encoder {
    /// See [`QuotedPrintable`].
    QuotedPrintable(QuotedPrintable),
    /// See [`Base64`].
    Base64(Base64),
}

impl Encoder {
    /// Appends what `piece` is encoded as.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match self {
            Encoder::QuotedPrintable(encoder) => encoder.push(piece, out),
            Encoder::Base64(encoder) => encoder.push(piece, out),
        }
    }

    /// After the last piece: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Encoder::QuotedPrintable(encoder) => encoder.finish(out),
            Encoder::Base64(encoder) => encoder.finish(out),
        }
    }
}

/// RFC 2045 §6.7. CRLF stays a line's end; a CR or LF alone is encoded.
#[derive(Debug, Default)]
pub struct QuotedPrintable {
    /// A blank or a CR: what follows tells what it is.
    held: Option<u8>,
    column: usize,
}

impl QuotedPrintable {
    /// Appends what `piece` is encoded as.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() + piece.len() / 4);
        for &byte in piece {
            match (self.held.take(), byte) {
                (Some(b'\r'), b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.column = 0;
                    continue;
                }
                // It may be the last of its line, where blanks get lost (rule 3).
                (Some(held), _) if held == b'\r' || byte == b'\r' => self.escape(held, out),
                (Some(held), _) => self.plain(held, out),
                (None, _) => {}
            }
            match byte {
                b' ' | b'\t' | b'\r' => self.held = Some(byte),
                _ if is_plain(byte) => self.plain(byte, out),
                _ => self.escape(byte, out),
            }
        }
    }

    /// After the last piece: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(held) = self.held.take() {
            self.escape(held, out);
        }
    }

    fn plain(&mut self, byte: u8, out: &mut Vec<u8>) {
        // No line that begins with hyphens is a boundary line, whatever the text was broken at.
        if byte == b'-' && matches!(self.column, 0 | WIDTH) {
            return self.escape(byte, out);
        }
        self.room(1, out);
        out.push(byte);
    }

    fn escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.room(3, out);
        out.extend_from_slice(&escaped(byte));
    }

    fn room(&mut self, width: usize, out: &mut Vec<u8>) {
        if self.column + width > WIDTH {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        self.column += width;
    }
}

/// Text with LF line ends as quoted-printable, which has them too.
pub fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let (mut encoder, mut out) = (QuotedPrintable::default(), Vec::new());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        encoder.push(line.strip_suffix(b"\n").unwrap_or(line), &mut out);
        encoder.push(b"\r\n", &mut out);
    }
    encoder.finish(&mut out);
    out.retain(|byte| *byte != b'\r');
    out
}

/// Does quoted-printable keep this byte, blanks aside?
pub fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'='
}

/// `=` and two digits.
pub fn escaped(byte: u8) -> [u8; 3] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// RFC 2045 §6.8, each line ended by CRLF.
#[derive(Debug, Default)]
pub struct Base64 {
    /// What makes no line yet.
    held: Vec<u8>,
}

impl Base64 {
    /// Appends what `piece` is encoded as.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(piece);
        let whole = self.held.len() - self.held.len() % GROUP;
        for line in self.held.drain(..whole).as_slice().chunks(GROUP) {
            encode_line(line, out);
        }
    }

    /// After the last piece: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.held.is_empty() {
            encode_line(&self.held, out);
            self.held.clear();
        }
    }
}

fn encode_line(line: &[u8], out: &mut Vec<u8>) {
    let mut text = [0; GROUP.div_ceil(3) * 4];
    // There is room for a line.
    let length = STANDARD.encode_slice(line, &mut text).unwrap_or_default();
    out.extend_from_slice(text.get(..length).unwrap_or_default());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::transfer::{Decoder, Encoding};
    use proptest::prelude::*;

    fn encoded(mut encoder: Encoder, bytes: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        bytes.chunks(size).for_each(|piece| encoder.push(piece, &mut out));
        encoder.finish(&mut out);
        out
    }

    fn quoted(text: &str) -> String {
        String::from_utf8(encoded(Encoder::QuotedPrintable(QuotedPrintable::default()), text.as_bytes(), 7)).unwrap()
    }

    #[test]
    fn quoted_printable_keeps_what_can_be_read() {
        assert_eq!(quoted("Grüße, 1 = 1\r\n"), "Gr=C3=BC=C3=9Fe, 1 =3D 1\r\n");
        assert_eq!(quoted("blank \r\ntab\t\r\n\r\nend "), "blank=20\r\ntab=09\r\n\r\nend=20");
        assert_eq!(quoted("a\rb\nc\r\r\n\0"), "a=0Db=0Ac=0D\r\n=00");
        assert_eq!(quoted("-- \r\n--b"), "=2D-=20\r\n=2D-b");
        assert_eq!(quoted(&"x".repeat(76)), format!("{}=\r\nx", "x".repeat(75)));
        assert_eq!(quoted(&format!("{}--b", "x".repeat(75))), format!("{}=\r\n=2D-b", "x".repeat(75)));
        assert_eq!(quoted(&"ü".repeat(13)), format!("{}=\r\n=BC", "=C3=BC".repeat(12) + "=C3"));
    }

    #[test]
    fn base64_has_whole_lines() {
        let lines = encoded(Encoder::Base64(Base64::default()), &[0xff; 60], 100);
        assert_eq!(lines, ["/".repeat(76), "////".to_owned(), String::new()].join("\r\n").into_bytes());
        assert_eq!(encoded(Encoder::Base64(Base64::default()), b"", 1), b"");
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(
            pieces in proptest::collection::vec(prop_oneof![
                Just(b"\r\n".to_vec()), Just(b"=".to_vec()), Just(b"-".to_vec()), Just(b" ".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..90), "[ -~]{0,90}".prop_map(String::into_bytes),
            ], 0..20),
            size in 1_usize..100,
        ) {
            let bytes = pieces.concat();
            for (encoder, encoding) in [
                (Encoder::QuotedPrintable(QuotedPrintable::default()), Encoding::QuotedPrintable),
                (Encoder::Base64(Base64::default()), Encoding::Base64),
            ] {
                let text = encoded(encoder, &bytes, size);
                prop_assert!(text.is_ascii());
                prop_assert!(text.split(|byte| *byte == b'\n').all(|line| line.len() <= 77 && !line.starts_with(b"-")));
                let (mut decoder, mut out) = (Decoder::new(encoding), Vec::new());
                decoder.push(&text, &mut out);
                decoder.finish(&mut out);
                prop_assert_eq!(&out, &bytes);
            }
        }
    }
}
