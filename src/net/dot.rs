//! Dot-stuffing (RFC 5321 §4.5.2, RFC 1939 §3): how a message of many lines is sent so that a line with a single dot ends it.
//!
//! Two codecs on bytes, both fed in pieces of any size, and the writer that puts the second one on a connection. Reading is
//! strict: only CRLF ends a line and only CRLF.CRLF ends the message. A bare CR, a bare LF or a NUL is noted, and reading
//! goes on to the real end, so that nothing of a message can be taken for commands (SMTP smuggling).

#[cfg(test)]
mod tests;

use super::{Connection, Dots, NetError};
use memchr::{memchr_iter, memchr3};
use std::io::{self, BufRead, Write};

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

    /// What a message came to that was read to its end; `failed`: why the sink took no more of it.
    pub(super) fn verdict(&self, limit: u64, failed: Option<io::Error>) -> Dots {
        match failed {
            _ if self.malformed => Dots::Malformed,
            _ if self.size > limit => Dots::TooBig,
            Some(error) => Dots::Sink(error),
            None => Dots::Whole,
        }
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

/// As [`Connection::read_dots`], from what is no connection. An error, too, if that ends before the message does.
pub fn read_dots(input: &mut impl BufRead, limit: u64, sink: &mut dyn Write) -> io::Result<Dots> {
    let mut unstuff = Unstuff::new();
    let mut failed = None;
    loop {
        let mut block = input.fill_buf()?.to_vec();
        if block.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let step = unstuff.push(&mut block);
        if !unstuff.is_malformed() && unstuff.size() <= limit && failed.is_none() {
            failed = sink.write_all(block.get(..step.kept).unwrap_or_default()).err();
        }
        input.consume(step.used);
        if step.end {
            return Ok(unstuff.verdict(limit, failed));
        }
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

    /// Has the peer said something already, before the message has its end?
    pub fn is_interrupted(&mut self) -> bool {
        self.connection.input_pending()
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
