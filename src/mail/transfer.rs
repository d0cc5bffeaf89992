//! Content transfer encodings (RFC 2045 §6), read in pieces of any size. What is no valid code is stepped over or kept as
//! it is: broken mail is shown as far as it can be.

/// How a body is encoded.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 7bit, 8bit, binary, or a name nobody knows: as it is.
    Identity,
    /// base64.
    Base64,
    /// quoted-printable.
    QuotedPrintable,
}

impl Encoding {
    /// By its name in `Content-Transfer-Encoding`.
    pub fn named(name: &[u8]) -> Encoding {
        match name {
            name if name.eq_ignore_ascii_case(b"base64") => Encoding::Base64,
            name if name.eq_ignore_ascii_case(b"quoted-printable") => Encoding::QuotedPrintable,
            _ => Encoding::Identity,
        }
    }
}

/// Decodes a body that comes in pieces.
#[derive(Debug)]
pub enum Decoder {
    /// Passes everything on.
    Identity,
    /// See [`Base64`].
    Base64(Base64),
    /// See [`QuotedPrintable`].
    QuotedPrintable(QuotedPrintable),
}

impl Decoder {
    /// For a body in this encoding.
    pub fn new(encoding: Encoding) -> Decoder {
        match encoding {
            Encoding::Identity => Decoder::Identity,
            Encoding::Base64 => Decoder::Base64(Base64::default()),
            Encoding::QuotedPrintable => Decoder::QuotedPrintable(QuotedPrintable::default()),
        }
    }

    /// Appends what `piece` decodes to.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match self {
            Decoder::Identity => out.extend_from_slice(piece),
            Decoder::Base64(decoder) => decoder.push(piece, out),
            Decoder::QuotedPrintable(decoder) => decoder.push(piece, out),
        }
    }

    /// After the last piece: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Decoder::QuotedPrintable(decoder) = self {
            decoder.finish(out);
        }
    }
}

/// No digit of base64.
const NONE: u8 = 0xff;
/// The padding.
const PAD: u8 = 0xfe;

const DIGITS: [u8; 256] = {
    let mut digits = [NONE; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut at = 0;
    while at < alphabet.len() {
        digits[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    digits[b'=' as usize] = PAD;
    digits
};

/// RFC 2045 §6.8: other characters are ignored. Padding ends a run of digits, and another may follow: some programs
/// encode in pieces.
#[derive(Debug, Default)]
pub struct Base64 {
    bits: u32,
    digits: u8,
}

impl Base64 {
    /// Appends what `piece` decodes to.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() / 4 * 3 + 3);
        for &byte in piece {
            match DIGITS[usize::from(byte)] {
                NONE => {}
                PAD => *self = Base64::default(),
                digit => self.digit(digit, out),
            }
        }
    }

    /// Each byte goes out with the digit that completes it, so nothing waits for an end that may be missing.
    fn digit(&mut self, digit: u8, out: &mut Vec<u8>) {
        self.bits = (self.bits << 6) | u32::from(digit);
        self.digits = (self.digits + 1) % 4;
        match self.digits {
            2 => out.push((self.bits >> 4) as u8),
            3 => out.push((self.bits >> 2) as u8),
            0 => out.push(self.bits as u8),
            _ => {}
        }
    }
}

/// RFC 2045 §6.7. `=` without two digits or a line end behind it is kept.
#[derive(Debug, Default)]
pub struct QuotedPrintable {
    /// `=` and up to one byte more, or blanks that may be a line's last.
    held: Vec<u8>,
}

/// Blanks held back at most; more than that are text.
const BLANKS: usize = 1024;

impl QuotedPrintable {
    /// Appends what `piece` decodes to.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            if !self.held.is_empty() {
                rest = after;
                self.held_and(byte, out);
                continue;
            }
            let run = rest.iter().position(|byte| matches!(byte, b'=' | b' ' | b'\t')).unwrap_or(rest.len());
            let (run, after) = rest.split_at(run);
            out.extend_from_slice(run);
            rest = after;
            if let Some((&byte, after)) = rest.split_first() {
                self.held.push(byte);
                rest = after;
            }
        }
    }

    /// What was held, and the byte after it.
    fn held_and(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.held.as_slice(), byte) {
            // A soft line break, its blanks and its line end.
            ([b'=', ..], b'\n') => self.held.clear(),
            ([b'='], _) if byte.is_ascii_hexdigit() => self.held.push(byte),
            ([b'=', blanks @ ..], b' ' | b'\t' | b'\r')
                if blanks.len() < BLANKS && blanks.iter().all(u8::is_ascii_whitespace) =>
            {
                self.held.push(byte);
            }
            (&[b'=', high], low) if hex(high, low).is_some() => {
                out.extend(hex(high, low));
                self.held.clear();
            }
            ([b'=', ..], _) => self.release_and(byte, out),
            // Blanks at a line's end were put there on the way.
            (_, b' ' | b'\t') if self.held.len() < BLANKS => self.held.push(byte),
            (_, b'\r' | b'\n') => {
                self.held.clear();
                out.push(byte);
            }
            _ => self.release_and(byte, out),
        }
    }

    /// What was held is text after all; the byte may begin something again.
    fn release_and(&mut self, byte: u8, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        if matches!(byte, b'=' | b' ' | b'\t') {
            self.held.push(byte);
        } else {
            out.push(byte);
        }
    }

    /// After the last piece: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.held.first() == Some(&b'=') && self.held.len() > 1 && !self.held.iter().skip(1).all(u8::is_ascii_whitespace) {
            out.append(&mut self.held);
        }
        self.held.clear();
    }
}

/// The byte of two hexadecimal digits.
pub fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: Encoding, text: &str, size: usize) -> String {
        let (mut decoder, mut out) = (Decoder::new(encoding), Vec::new());
        text.as_bytes().chunks(size).for_each(|piece| decoder.push(piece, &mut out));
        decoder.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn base64_is_read_in_any_pieces_and_over_junk() {
        for size in [1, 2, 3, 5, 100] {
            let read = |text| decoded(Encoding::Base64, text, size);
            assert_eq!(read("aGVs\r\nbG8gd29y\r\nbGQ=\r\n"), "hello world");
            assert_eq!(read("a!G*V s-bG8"), "hello");
            assert_eq!(read("aGVsbG8=aGVsbG8="), "hellohello");
            assert_eq!(read("===="), "");
            assert_eq!(read("a"), "");
        }
    }

    #[test]
    fn quoted_printable_is_read_in_any_pieces_and_over_junk() {
        for size in [1, 2, 3, 5, 100] {
            let read = |text| decoded(Encoding::QuotedPrintable, text, size);
            assert_eq!(read("a=3Db=c3=bc\r\n"), "a=bü\r\n");
            assert_eq!(read("soft =\r\nbreak=  \r\n s=\n."), "soft break s.");
            assert_eq!(read("blanks at the end \t \r\nx  y"), "blanks at the end\r\nx  y");
            assert_eq!(read("= x =3 =G1 =3=3D =="), "= x =3 =G1 =3= =");
            assert_eq!(read("the end="), "the end");
            assert_eq!(read("cut=4"), "cut=4");
        }
    }
}
