//! Canonical forms (RFC 6376 §3.4): what of a message counts when it is signed. Lines end in LF here, and in CRLF in what comes
//! out. Pure.

use ring::digest::{Context, SHA256};

/// How much a message may change on its way.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Default)]
pub(super) enum Canon {
    /// Not at all, but for empty lines at its end.
    #[default]
    Simple,
    /// In its blanks.
    Relaxed,
}

impl Canon {
    /// By its name.
    pub(super) fn named(name: &str) -> Option<Canon> {
        match name {
            "simple" => Some(Canon::Simple),
            "relaxed" => Some(Canon::Relaxed),
            _ => None,
        }
    }
}

/// Appends a field in its canonical form, without the last line end (§3.4.1, §3.4.2). `colon` is the offset of its colon.
pub(super) fn field(canon: Canon, field: &[u8], colon: usize, out: &mut Vec<u8>) {
    let field = field.strip_suffix(b"\n").unwrap_or(field);
    let field = field.strip_suffix(b"\r").unwrap_or(field);
    if canon == Canon::Simple {
        for (number, line) in field.split(|&byte| byte == b'\n').enumerate() {
            if number > 0 {
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        }
        return;
    }
    let (name, value) = field.split_at_checked(colon).unwrap_or((field, b""));
    out.extend(name.trim_ascii().to_ascii_lowercase());
    out.push(b':');
    let words = value.get(1..).unwrap_or_default().split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    for (number, word) in words.filter(|word| !word.is_empty()).enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// The hash of a body that comes in pieces, in its canonical form (§3.4.3, §3.4.4).
#[derive(Clone, Debug)]
pub(super) struct BodyHash {
    pub(super) canon: Canon,
    /// Bytes of the canonical form that are hashed, if not all (`l=`).
    pub(super) limit: Option<u64>,
    hash: Hash,
    /// Empty lines that count only if something follows.
    empty: u64,
    /// The line that has begun is not empty.
    in_line: bool,
    /// Blanks in it that count only if something follows in the line.
    blank: bool,
    scratch: Vec<u8>,
}

/// What is hashed so far, and how much there was.
#[derive(Clone)]
struct Hash {
    context: Context,
    left: u64,
    total: u64,
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Hash({} bytes)", self.total)
    }
}

/// What comes of it.
#[derive(Debug)]
pub(super) struct Hashed {
    pub(super) digest: Vec<u8>,
    /// Bytes of the whole canonical form.
    pub(super) total: u64,
}

impl BodyHash {
    pub(super) fn new(canon: Canon, limit: Option<u64>) -> BodyHash {
        let hash = Hash { context: Context::new(&SHA256), left: limit.unwrap_or(u64::MAX), total: 0 };
        BodyHash { canon, limit, hash, empty: 0, in_line: false, blank: false, scratch: Vec::new() }
    }

    /// A piece of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            self.text(line);
            self.end_line();
            rest = after.get(1..).unwrap_or_default();
        }
        self.text(rest);
        self.spill();
    }

    pub(super) fn finish(mut self) -> Hashed {
        if self.in_line {
            self.end_line();
        }
        self.spill();
        // Nothing at all is an empty line to one, nothing to the other.
        if self.hash.total == 0 && self.canon == Canon::Simple {
            self.hash.update(b"\r\n");
        }
        Hashed { digest: self.hash.context.finish().as_ref().to_vec(), total: self.hash.total }
    }

    /// A piece of a line.
    fn text(&mut self, text: &[u8]) {
        if self.canon == Canon::Simple {
            if !text.is_empty() {
                self.begin_text();
                self.scratch.extend_from_slice(text);
            }
            return;
        }
        let mut rest = text;
        while let Some(&first) = rest.first() {
            if matches!(first, b' ' | b'\t') {
                self.blank = true;
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let end = memchr::memchr2(b' ', b'\t', rest).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            self.begin_text();
            if std::mem::take(&mut self.blank) {
                self.scratch.push(b' ');
            }
            self.scratch.extend_from_slice(word);
            rest = after;
        }
    }

    /// Something counts, so the empty lines before it do.
    fn begin_text(&mut self) {
        self.in_line = true;
        for _ in 0..std::mem::take(&mut self.empty) {
            self.scratch.extend_from_slice(b"\r\n");
            if self.scratch.len() > SCRATCH {
                self.spill();
            }
        }
    }

    fn end_line(&mut self) {
        self.blank = false;
        if std::mem::take(&mut self.in_line) {
            self.scratch.extend_from_slice(b"\r\n");
        } else {
            self.empty += 1;
        }
    }

    fn spill(&mut self) {
        self.hash.update(&self.scratch);
        self.scratch.clear();
    }
}

/// Bytes that are gathered.
const SCRATCH: usize = 64 << 10;

impl Hash {
    fn update(&mut self, bytes: &[u8]) {
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.context.update(bytes.get(..take).unwrap_or_default());
        self.left -= take as u64;
        self.total += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::digest::digest;

    /// Some body, at any cut, is hashed as this canonical form.
    fn check(canon: Canon, body: &str, expected: &str) {
        for cut in 0..=body.len() {
            let mut hash = BodyHash::new(canon, None);
            let (one, other) = body.as_bytes().split_at(cut);
            hash.push(one);
            hash.push(other);
            let hashed = hash.finish();
            assert_eq!(hashed.total, expected.len() as u64, "{body:?} {canon:?} cut at {cut}");
            assert_eq!(hashed.digest, digest(&SHA256, expected.as_bytes()).as_ref(), "{body:?} {canon:?} cut at {cut}");
        }
    }

    /// The last two are the example of RFC 6376 §3.4.5.
    #[test]
    fn bodies() {
        use Canon::{Relaxed, Simple};
        for (body, simple, relaxed) in [
            ("", "\r\n", ""),
            ("\n\n\n", "\r\n", ""),
            (" \n\t\n", " \r\n\t\r\n", ""),
            ("a", "a\r\n", "a\r\n"),
            ("a\n\n\n", "a\r\n", "a\r\n"),
            ("a\n\n\nb", "a\r\n\r\n\r\nb\r\n", "a\r\n\r\n\r\nb\r\n"),
            ("\n\na\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n"),
            ("a\n \n", "a\r\n \r\n", "a\r\n"),
            (" C \nD \t E\n\n\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"),
        ] {
            check(Simple, body, simple);
            check(Relaxed, body, relaxed);
        }
    }

    #[test]
    fn a_length_cuts_the_canonical_form() {
        let mut hash = BodyHash::new(Canon::Relaxed, Some(5));
        hash.push(b"a  b\ncd\n");
        let Hashed { digest: own, total } = hash.finish();
        assert_eq!((own.as_slice(), total), (digest(&SHA256, b"a b\r\n").as_ref(), 9));
    }

    /// The example of RFC 6376 §3.4.5.
    #[test]
    fn fields() {
        let canonical = |canon, text: &str| {
            let mut out = Vec::new();
            field(canon, text.as_bytes(), text.find(':').unwrap(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(canonical(Canon::Relaxed, "A: X\n"), "a:X");
        assert_eq!(canonical(Canon::Relaxed, "B : Y\t\n\tZ  \n"), "b:Y Z");
        assert_eq!(canonical(Canon::Simple, "B : Y\t\n\tZ  \n"), "B : Y\t\r\n\tZ  ");
        assert_eq!(canonical(Canon::Simple, "A: X"), "A: X");
        assert_eq!(canonical(Canon::Relaxed, "SUBJect:\n \n"), "subject:");
    }
}
