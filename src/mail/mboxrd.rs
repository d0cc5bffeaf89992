//! mboxrd quoting: every line that matches `^>*From ` has one more `>` on disk than on the wire. So a line that begins
//! `From ` is always the start of a message, and what was sent comes back byte for byte.

use memchr::memmem::Finder;
use std::sync::LazyLock;

const FROM: &[u8] = b"From ";
static FIND_FROM: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(FROM));

/// A line's beginning that may still turn out to be `>*From `: so many `>`, then so many bytes of `From `.
#[derive(Copy, Clone, Debug, Default)]
struct Beginning {
    quotes: usize,
    matched: usize,
}

/// What the next bytes made of a [`Beginning`].
enum Verdict {
    /// Not known yet; all input is used up.
    Open,
    /// A `>*From ` line.
    From,
    /// Any other line.
    Other,
}

impl Beginning {
    /// Goes on with `input`; what it used is cut from its front.
    fn take(&mut self, input: &mut &[u8]) -> Verdict {
        while let Some((&byte, rest)) = input.split_first() {
            match byte {
                b'>' if self.matched == 0 => self.quotes += 1,
                _ if FROM.get(self.matched) == Some(&byte) => self.matched += 1,
                _ => return Verdict::Other,
            }
            *input = rest;
            if self.matched == FROM.len() {
                return Verdict::From;
            }
        }
        Verdict::Open
    }

    fn put(self, quotes: usize, out: &mut Vec<u8>) {
        out.resize(out.len() + quotes, b'>');
        out.extend_from_slice(FROM.get(..self.matched).unwrap_or_default());
    }
}

/// Adds quotes to a message that comes in pieces.
#[derive(Debug)]
pub struct Quoter {
    /// Of the current line, while it is undecided.
    beginning: Option<Beginning>,
}

impl Default for Quoter {
    fn default() -> Self {
        Quoter { beginning: Some(Beginning::default()) }
    }
}

impl Quoter {
    /// Takes the next piece (LF line ends) and appends what is certain to `out`; a line's undecided beginning is kept for the next call.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        if let Some(mut beginning) = self.beginning.take() {
            match beginning.take(&mut input) {
                Verdict::Open => return self.beginning = Some(beginning),
                Verdict::From => beginning.put(beginning.quotes + 1, out),
                Verdict::Other => beginning.put(beginning.quotes, out),
            }
        }
        while let Some(at) = FIND_FROM.find(input) {
            let (line, rest) = input.split_at(at);
            let unquoted = line.iter().rposition(|&byte| byte != b'>').map_or(0, |last| last + 1);
            let (before, quotes) = line.split_at(unquoted);
            out.extend_from_slice(before);
            if before.last() == Some(&b'\n') {
                out.push(b'>');
            }
            out.extend_from_slice(quotes);
            out.extend_from_slice(FROM);
            input = rest.get(FROM.len()..).unwrap_or_default();
        }
        if let Some(end) = memchr::memrchr(b'\n', input) {
            let (lines, mut tail) = input.split_at(end + 1);
            let mut beginning = Beginning::default();
            if let Verdict::Open = beginning.take(&mut tail) {
                self.beginning = Some(beginning);
                input = lines;
            }
        }
        out.extend_from_slice(input);
    }

    /// Ends the message: what was kept goes out, and a missing last LF is added.
    pub fn finish(self, out: &mut Vec<u8>) {
        match self.beginning {
            Some(Beginning { quotes: 0, matched: 0 }) => {}
            Some(beginning) => {
                beginning.put(beginning.quotes, out);
                out.push(b'\n');
            }
            // In the middle of a line.
            None => out.push(b'\n'),
        }
    }
}

/// Disk form to wire form, in pieces: takes one `>` from each `^>+From ` line and ends lines with CRLF (one that already does, stays).
#[derive(Clone, Debug)]
pub struct ToWire {
    beginning: Option<Beginning>,
    /// The last byte was a CR.
    after_cr: bool,
}

impl Default for ToWire {
    fn default() -> Self {
        ToWire { beginning: Some(Beginning::default()), after_cr: false }
    }
}

impl ToWire {
    /// Takes the next piece and appends what is certain to `out`.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        // Lines are 32 bytes long or more, most of them.
        out.reserve(input.len() + input.len() / 32);
        loop {
            if let Some(mut beginning) = self.beginning.take() {
                match beginning.take(&mut input) {
                    Verdict::Open => return self.beginning = Some(beginning),
                    Verdict::From => beginning.put(beginning.quotes.saturating_sub(1), out),
                    Verdict::Other => beginning.put(beginning.quotes, out),
                }
            }
            input = self.push_lines(input, out);
            if input.is_empty() {
                return;
            }
        }
    }

    /// Takes the rest of a line and all that follow, up to one of whose beginning it is not certain what becomes of it.
    fn push_lines<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', input) {
            let cr = end.checked_sub(1).map_or(self.after_cr, |before| input.get(before) == Some(&b'\r'));
            if !cr {
                out.extend_from_slice(input.get(from..end).unwrap_or_default());
                out.push(b'\r');
                from = end;
            }
            let (line, rest) = input.split_at(end + 1);
            if matches!(rest.first(), None | Some(b'>')) {
                out.extend_from_slice(line.get(from..).unwrap_or_default());
                (self.beginning, self.after_cr) = (Some(Beginning::default()), false);
                return rest;
            }
        }
        out.extend_from_slice(input.get(from..).unwrap_or_default());
        self.after_cr = input.last().map_or(self.after_cr, |last| *last == b'\r');
        &[]
    }

    /// Ends the message: what was kept goes out.
    pub fn finish(self, out: &mut Vec<u8>) {
        if let Some(beginning) = self.beginning {
            beginning.put(beginning.quotes, out);
        }
    }
}

/// Wire form to lines that end in LF, in pieces, so that [`ToWire`] makes the same of it again. CRLF and a bare LF become LF;
/// other CRs stay, and where one stands before a line's end, that stays CRLF on disk: so the one before it keeps its meaning.
#[derive(Clone, Debug, Default)]
pub struct FromWire {
    /// So many CRs were the last bytes.
    crs: usize,
    /// Something else stands on the line before them.
    begun: bool,
}

impl FromWire {
    /// Takes the next piece and appends what is certain to `out`.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            let crs = input.iter().take_while(|byte| **byte == b'\r').count();
            self.crs += crs;
            input = input.get(crs..).unwrap_or_default();
            match input.first() {
                None => return,
                Some(b'\n') => {
                    // Of one CR and LF only the LF is left.
                    out.resize(out.len() + if self.crs > 1 { self.crs } else { 0 }, b'\r');
                    out.push(b'\n');
                    (self.crs, self.begun) = (0, false);
                    input = input.get(1..).unwrap_or_default();
                }
                Some(_) => {
                    out.resize(out.len() + std::mem::take(&mut self.crs), b'\r');
                    let (text, rest) = input.split_at(memchr::memchr2(b'\r', b'\n', input).unwrap_or(input.len()));
                    out.extend_from_slice(text);
                    self.begun = true;
                    input = rest;
                }
            }
        }
    }

    /// Ends the message: a missing last line end is added.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.crs > 0 {
            out.resize(out.len() + self.crs + 1, b'\r');
        }
        if self.crs > 0 || self.begun {
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quote(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut quoter, mut out) = (Quoter::default(), Vec::new());
        pieces.iter().for_each(|piece| quoter.push(piece, &mut out));
        quoter.finish(&mut out);
        out
    }

    fn wire(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut to_wire, mut out) = (ToWire::default(), Vec::new());
        pieces.iter().for_each(|piece| to_wire.push(piece, &mut out));
        to_wire.finish(&mut out);
        out
    }

    /// The definition, one line at a time.
    fn slowly(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in message.split_inclusive(|&b| b == b'\n') {
            let unquoted = line.iter().position(|&b| b != b'>').unwrap_or(line.len());
            if line[unquoted..].starts_with(FROM) {
                out.push(b'>');
            }
            out.extend_from_slice(line);
        }
        if out.last().is_some_and(|&b| b != b'\n') {
            out.push(b'\n');
        }
        out
    }

    #[test]
    fn only_from_lines_are_quoted() {
        assert_eq!(
            quote(&[b"From me\n>From you\n From us\nxFrom \nFrom\n>>F\n"]),
            b">From me\n>>From you\n From us\nxFrom \nFrom\n>>F\n"
        );
        assert_eq!(quote(&[b""]), b"");
        assert_eq!(quote(&[b"\n"]), b"\n");
        assert_eq!(quote(&[b">"]), b">\n");
        assert_eq!(quote(&[b"a\n>>", b">From"]), b"a\n>>>From\n");
    }

    fn from_wire(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut from_wire, mut out) = (FromWire::default(), Vec::new());
        pieces.iter().for_each(|piece| from_wire.push(piece, &mut out));
        from_wire.finish(&mut out);
        out
    }

    proptest! {
        #[test]
        fn what_a_client_sent_comes_back_but_for_line_ends(text in "[\r\n\r\nax>]{0,30}(\r\nFrom x|\r|\n)?[\r\na]{0,9}", cut in 0usize..40) {
            let bytes = text.as_bytes();
            let (one, other) = bytes.split_at(cut.min(bytes.len()));
            let disk = from_wire(&[one, other]);
            prop_assert_eq!(&disk, &from_wire(&[bytes]));
            let mut sent = Vec::new();
            for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                let line = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
                sent.extend_from_slice(line);
                sent.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(wire(&[&quote(&[&disk])]), sent);
        }
    }

    #[test]
    fn a_cr_before_lf_is_not_doubled() {
        assert_eq!(wire(&[b"a\nb\r", b"\nc\r\n>From x"]), b"a\r\nb\r\nc\r\nFrom x");
        assert_eq!(wire(&[b"a\r", b"b\n", b"\n"]), b"a\rb\r\n\r\n");
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_and_comes_back(text in "([>From \nx]|From |\n>|\nFrom ){0,40}", cut in 0usize..200, cut2 in 0usize..200) {
            let bytes = text.as_bytes();
            let a = cut.min(bytes.len());
            let b = cut2.clamp(a, bytes.len().max(a));
            let quoted = quote(&[&bytes[..a], &bytes[a..b], &bytes[b..]]);
            prop_assert_eq!(&quoted, &slowly(bytes));
            let (c, d) = (cut.min(quoted.len()), cut2.clamp(cut.min(quoted.len()), quoted.len().max(cut)));
            let back = wire(&[&quoted[..c], &quoted[c..d.min(quoted.len())], &quoted[d.min(quoted.len())..]]);
            let mut lf: Vec<u8> = Vec::new();
            back.split_inclusive(|&b| b == b'\n').for_each(|line| lf.extend(line.strip_suffix(b"\r\n").map(|l| [l, b"\n"].concat()).unwrap_or(line.to_vec())));
            let mut sent = bytes.to_vec();
            if sent.last().is_some_and(|&b| b != b'\n') { sent.push(b'\n'); }
            prop_assert_eq!(lf, sent);
        }
    }
}
