//! Dot-stuffing (RFC 5321 §4.5.2, RFC 1939 §3): how a message of many lines is sent so that a line with a single dot ends it.
//!
//! Two codecs on bytes, both fed in pieces of any size, and the writer that puts the second one on a connection. Reading is
//! strict: only CRLF ends a line and only CRLF.CRLF ends the message. A bare CR, a bare LF or a NUL is noted, and reading
//! goes on to the real end, so that nothing of a message can be taken for commands (SMTP smuggling).

use super::{Connection, NetError};
use memchr::{memchr_iter, memchr3};
use std::io::{self, Write};

/// Wire form to lines ended by LF.
#[derive(Debug)]
pub(super) struct Unstuff {
    state: State,
    size: u64,
    malformed: bool,
}

/// What the bytes so far end with.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// A CRLF, or nothing at all: the CRLF of the command line was before.
    LineStart,
    /// A dot that begins a line.
    Dot,
    /// A dot that begins a line, and CR.
    DotCr,
    /// Something within a line.
    Text,
    /// A CR within a line.
    Cr,
}

/// What [`Unstuff::push`] did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes of the block that belong to the message and its end.
    pub(super) used: usize,
    /// Bytes at the front of the block that now hold the decoded text.
    pub(super) kept: usize,
    /// The final dot has been read.
    pub(super) end: bool,
}

impl Unstuff {
    /// At the beginning of a message.
    pub(super) fn new() -> Unstuff {
        Unstuff { state: State::LineStart, size: 0, malformed: false }
    }

    /// Bytes of the message so far in wire form, without the dots that stuffing added and without its end: what SIZE
    /// counts (RFC 1870 §3).
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Was there a bare CR, a bare LF or a NUL? What was decoded since is worth nothing.
    pub(super) fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Decodes the next block in place, up to the end of the message if it holds it.
    pub(super) fn push(&mut self, block: &mut [u8]) -> Step {
        let mut from = 0;
        let mut to = 0;
        // Bytes that SIZE does not count.
        let mut uncounted = 0;
        let mut end = false;
        while !end && from < block.len() {
            let byte = block[from];
            match (&self.state, byte) {
                (State::LineStart, b'.') => {
                    self.state = State::Dot;
                    uncounted += 1;
                    from += 1;
                }
                (State::Dot, b'\r') => {
                    self.state = State::DotCr;
                    uncounted += 1;
                    from += 1;
                }
                (State::DotCr, b'\n') => {
                    end = true;
                    uncounted += 1;
                    from += 1;
                }
                (State::DotCr, _) => {
                    self.malformed = true;
                    self.state = State::Cr;
                }
                (State::Cr, b'\n') => {
                    block[to] = b'\n';
                    to += 1;
                    from += 1;
                    self.state = State::LineStart;
                }
                (State::Cr, b'\r') => {
                    self.malformed = true;
                    from += 1;
                }
                (State::Cr, _) => {
                    self.malformed = true;
                    self.state = State::Text;
                }
                (State::LineStart | State::Dot | State::Text, _) => {
                    let run = self.run(&block[from..]);
                    if from != to {
                        block.copy_within(from..from + run, to);
                    }
                    to += run;
                    from += run;
                    // What stopped the run; the CR is not copied.
                    if from < block.len() {
                        self.malformed |= block[from] != b'\r';
                        self.state = if block[from] == b'\r' { State::Cr } else { State::Text };
                        from += 1;
                    }
                }
            }
        }
        self.size += (from - uncounted) as u64;
        Step { used: from, kept: to, end }
    }

    /// How many bytes from here on are plain text.
    fn run(&mut self, rest: &[u8]) -> usize {
        self.state = State::Text;
        memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len())
    }
}

/// Lines to wire form: doubles the dots that begin lines. A bare LF becomes CRLF, so that no reader can find another end.
#[derive(Debug)]
pub(super) struct Stuff {
    last: u8,
}

impl Stuff {
    /// At the beginning of a message.
    pub(super) fn new() -> Stuff {
        Stuff { last: b'\n' }
    }

    /// Adds the wire form of the next piece to `out`.
    pub(super) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if self.last == b'\n' && input.first() == Some(&b'.') {
            out.push(b'.');
        }
        let mut run = 0;
        let mut before = self.last;
        for at in memchr_iter(b'\n', input) {
            if let Some(previous) = at.checked_sub(1) {
                before = input[previous];
            }
            if before != b'\r' {
                out.extend_from_slice(&input[run..at]);
                out.push(b'\r');
                run = at;
            }
            if input.get(at + 1) == Some(&b'.') {
                out.extend_from_slice(&input[run..=at]);
                out.push(b'.');
                run = at + 1;
            }
        }
        out.extend_from_slice(&input[run..]);
        self.last = input.last().copied().unwrap_or(self.last);
    }

    /// Ends the message: a missing last CRLF, then the line with the dot.
    pub(super) fn finish(self, out: &mut Vec<u8>) {
        let end: &[u8] = match self.last {
            b'\n' => b".\r\n",
            b'\r' => b"\n.\r\n",
            _ => b"\r\n.\r\n",
        };
        out.extend_from_slice(end);
    }
}

/// Sends a message of many lines: wire form in (CRLF), dot-stuffed on the wire; [`DotWriter::finish`] ends it. Dropped
/// without that, the message has no end: the connection is of no more use.
#[derive(Debug)]
pub struct DotWriter<'a> {
    connection: &'a mut Connection,
    stuff: Stuff,
}

impl<'a> DotWriter<'a> {
    pub(super) fn new(connection: &'a mut Connection) -> DotWriter<'a> {
        DotWriter { connection, stuff: Stuff::new() }
    }

    /// Adds the CRLF of the last line if it is missing, and the final dot line. It is queued: the next read, or
    /// [`Connection::flush`], sends it.
    pub fn finish(self) -> Result<(), NetError> {
        let mut end = Vec::new();
        self.stuff.finish(&mut end);
        self.connection.put(&end)
    }
}

impl Write for DotWriter<'_> {
    /// Takes all of it, at any border between pieces.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.chunks(super::BLOCK) {
            self.stuff.push(piece, self.connection.output());
            self.connection.relieve()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.connection.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All pieces decoded: text, size, malformed, and what was left over after the end (None: no end).
    type Decoded = (Vec<u8>, u64, bool, Option<Vec<u8>>);

    fn decode(pieces: &[&[u8]]) -> Decoded {
        let mut unstuff = Unstuff::new();
        let mut text = Vec::new();
        let mut rest = None;
        for piece in pieces {
            let mut block = piece.to_vec();
            if let Some(rest) = &mut rest {
                Vec::extend_from_slice(rest, &block);
                continue;
            }
            let step = unstuff.push(&mut block);
            text.extend_from_slice(&block[..step.kept]);
            if step.end {
                rest = Some(block[step.used..].to_vec());
            } else {
                assert_eq!(step.used, block.len());
            }
        }
        if unstuff.is_malformed() {
            text.clear();
        }
        (text, unstuff.size(), unstuff.is_malformed(), rest)
    }

    fn stuffed(pieces: &[&[u8]]) -> Vec<u8> {
        let mut stuff = Stuff::new();
        let mut out = Vec::new();
        for piece in pieces {
            stuff.push(piece, &mut out);
        }
        stuff.finish(&mut out);
        out
    }

    /// In every way to cut it in two, and byte by byte, it decodes alike.
    fn decode_all_ways(wire: &[u8]) -> Decoded {
        let whole = decode(&[wire]);
        for at in 0..wire.len() {
            let (a, b) = wire.split_at(at);
            assert_eq!(decode(&[a, b]), whole, "split at {at} of {wire:?}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(decode(&bytes), whole, "{wire:?} by bytes");
        whole
    }

    #[test]
    fn good_messages() {
        for (wire, text, size) in [
            (&b".\r\nQUIT\r\n"[..], &b""[..], 0),
            (b"a\r\n.\r\nQUIT\r\n", b"a\n", 3),
            (b"\r\n.\r\nQUIT\r\n", b"\n", 2),
            (b"..\r\n.\r\nQUIT\r\n", b".\n", 3),
            (b".a\r\n..b\r\n...\r\n.\r\nQUIT\r\n", b"a\n.b\n..\n", 11),
            (b"a\r\n\r\n\r\nb.\r\n.\r\nQUIT\r\n", b"a\n\n\nb.\n", 11),
            (b"\xff\x80\x01\r\n.\r\nQUIT\r\n", b"\xff\x80\x01\n", 5),
        ] {
            assert_eq!(decode_all_ways(wire), (text.to_vec(), size, false, Some(b"QUIT\r\n".to_vec())), "{wire:?}");
        }
    }

    /// Each of these ends a message for some reader. Here it must not, and the message is refused.
    #[test]
    fn smuggled_ends() {
        let crs_and_lfs: [&[u8]; 6] = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n"];
        for before in crs_and_lfs {
            for after in crs_and_lfs {
                let strict = before.ends_with(b"\r\n") && after == b"\r\n";
                if strict {
                    continue;
                }
                let wire = [b"text", before, b".", after, b"MAIL FROM:<a@b>\r\nx\r\n.\r\nQUIT\r\n"].concat();
                let (_, _, malformed, rest) = decode_all_ways(&wire);
                assert!(malformed, "{wire:?}");
                assert_eq!(rest.as_deref(), Some(&b"QUIT\r\n"[..]), "{wire:?}");
            }
        }
        for bare in [
            &b"a\rb\r\n"[..],
            b"a\nb\r\n",
            b"a\0b\r\n",
            b"\r\r\n",
            b"\n\r\n",
            b"\n",
            b".\r.\r\n",
            b".\r\r\n",
            b".\n",
            b"\0",
            b".\0",
        ] {
            let (_, _, malformed, rest) = decode_all_ways(&[bare, b"\r\n.\r\nQUIT\r\n"].concat());
            assert!(malformed, "{bare:?}");
            assert_eq!(rest.as_deref(), Some(&b"QUIT\r\n"[..]), "{bare:?}");
        }
    }

    #[test]
    fn size_is_not_counted_before_it_is_sure() {
        let mut unstuff = Unstuff::new();
        unstuff.push(&mut b"abc\r\n.\r".to_vec());
        assert_eq!(unstuff.size(), 5);
        assert!(unstuff.push(&mut b"\n".to_vec()).end);
        assert_eq!(unstuff.size(), 5);
    }

    #[test]
    fn stuffing() {
        for (text, wire) in [
            (&b""[..], &b".\r\n"[..]),
            (b".", b"..\r\n.\r\n"),
            (b".\r\n..\r\na.\r\n", b"..\r\n...\r\na.\r\n.\r\n"),
            (b"no end", b"no end\r\n.\r\n"),
            (b"half an end\r", b"half an end\r\n.\r\n"),
            (b"a\n.\nb\n\n", b"a\r\n..\r\nb\r\n\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(&[text]), wire, "{text:?}");
        }
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let byte =
            prop_oneof![4 => Just(b'.'), 8 => any::<u8>()].prop_map(|b| if matches!(b, 0 | b'\r' | b'\n') { b'x' } else { b });
        prop::collection::vec(byte, 0..12)
    }

    proptest! {
        #[test]
        fn stuffed_then_unstuffed_is_the_same(lines in prop::collection::vec(line(), 0..12), cuts in prop::collection::vec(1usize..20, 1..8)) {
            let text: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
            let crlf: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect();
            let mut pieces: Vec<&[u8]> = Vec::new();
            let mut rest = &crlf[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (a, b) = rest.split_at((*cut).min(rest.len()));
                pieces.push(a);
                rest = b;
            }
            let wire = stuffed(&pieces);
            prop_assert_eq!(&wire, &stuffed(&[&crlf]));
            prop_assert_eq!(decode_all_ways(&wire), (text, crlf.len() as u64, false, Some(Vec::new())));
        }

        /// Whatever is put in, what goes out has one end, at its end, and no bare LF.
        #[test]
        fn nothing_ends_a_stuffed_message_early(text in prop::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a')], 0..24)) {
            let wire = stuffed(&[&text]);
            prop_assert_eq!(decode(&[&wire]).3, Some(Vec::new()));
            prop_assert!(wire.iter().enumerate().all(|(at, byte)| *byte != b'\n' || (at > 0 && wire[at - 1] == b'\r')));
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            prop_assert_eq!(stuffed(&bytes), wire);
        }

        #[test]
        fn any_bytes_decode_alike_in_any_pieces(wire in prop::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(0u8), Just(b'a')], 0..24)) {
            decode_all_ways(&wire);
        }
    }
}
