//! What the handlers hand to the loop.

use super::reply::Reply;
use super::top::Top;
use super::transaction::Maildrop;
use std::io::{self, ErrorKind, Read, Write};

/// Bytes read of a message at a time.
const BLOCK: usize = 64 * 1024;

/// Bytes read of a message at a time if little of it is wanted.
const TOP_BLOCK: usize = 8 * 1024;

/// What is to be done about a line.
#[derive(Debug)]
pub(super) enum Outcome<'a> {
    /// Say this.
    Reply(Reply),
    /// Say this and close: the client is not to have another try.
    Close(Reply),
    /// Ask on, in base64 (RFC 5034 §4).
    Challenge(String),
    /// Say this, then these lines, each with its CRLF, then the dot.
    Lines(Reply, String),
    /// Say this, then the message, then the dot.
    Message(Reply, Message<'a>),
    /// Encrypt.
    Stls,
    /// The password was right and the maildrop is ours.
    LoggedIn(Reply, Box<Maildrop>),
    /// The client is done: update, and say goodbye.
    Quit,
}

impl From<Reply> for Outcome<'_> {
    fn from(reply: Reply) -> Self {
        Outcome::Reply(reply)
    }
}

/// A message on its way, its first block already read: whoever can't read anything must not say `+OK`.
pub(super) struct Message<'a> {
    source: Box<dyn Read + 'a>,
    block: Vec<u8>,
    /// Bytes of the block that are the message's.
    filled: usize,
    /// Bytes that must still come.
    missing: u64,
    top: Option<Top>,
}

/// Why a message did not get through.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It can't be read.
    Source(io::Error),
    /// It can't be sent.
    Sink(io::Error),
}

impl<'a> Message<'a> {
    /// Reads the first block of a message of `size` bytes, of which only the top is wanted if `top` says so.
    pub(super) fn begin(source: Box<dyn Read + 'a>, size: u64, top: Option<Top>) -> io::Result<Message<'a>> {
        let most = if top.is_some() { TOP_BLOCK } else { BLOCK };
        // One byte more than a small message has, so that its end is seen at once.
        let room = usize::try_from(size).map_or(most, |size| size.saturating_add(1).min(most));
        let mut message = Message { source, block: vec![0; room], filled: 0, missing: size, top };
        message.fill()?;
        Ok(message)
    }

    /// Is all of it wanted?
    pub(super) fn is_whole(&self) -> bool {
        self.top.is_none()
    }

    /// Reads until the block is full or the message over. One that is shorter than it was is not sent as if it were whole.
    fn fill(&mut self) -> io::Result<()> {
        self.filled = 0;
        while let Some(room) = self.block.get_mut(self.filled..).filter(|room| !room.is_empty()) {
            match self.source.read(room) {
                Ok(0) if self.missing > 0 => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => break,
                Ok(read) => {
                    self.filled += read;
                    self.missing = self.missing.saturating_sub(read as u64);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes what is wanted of the message; gives its bytes.
    pub(super) fn send(&mut self, sink: &mut dyn Write) -> Result<u64, Trouble> {
        let mut sent = 0;
        loop {
            let block = self.block.get(..self.filled).unwrap_or_default();
            let wanted = self.top.as_mut().map_or(block.len(), |top| top.push(block));
            sink.write_all(block.get(..wanted).unwrap_or_default()).map_err(Trouble::Sink)?;
            sent += wanted as u64;
            if self.filled < self.block.len() || self.top.as_ref().is_some_and(Top::is_over) {
                return Ok(sent);
            }
            self.fill().map_err(Trouble::Source)?;
        }
    }
}

impl std::fmt::Debug for Message<'_> {
    /// Never shows the text.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Message").field("top", &self.top).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `text` in pieces of `step` bytes, then fails if it is to.
    struct Pieces<'a> {
        text: &'a [u8],
        step: usize,
        fails: bool,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.text.is_empty() && self.fails {
                return Err(io::Error::other("gone"));
            }
            let count = self.step.min(buffer.len()).min(self.text.len());
            let (now, rest) = self.text.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.text = rest;
            Ok(count)
        }
    }

    fn send(text: &[u8], step: usize, top: Option<u64>) -> Vec<u8> {
        let source = Box::new(Pieces { text, step, fails: false });
        let mut message = Message::begin(source, text.len() as u64, top.map(Top::new)).unwrap();
        let mut sink = Vec::new();
        assert_eq!(message.send(&mut sink).unwrap(), sink.len() as u64);
        sink
    }

    #[test]
    fn every_length_around_a_block() {
        for length in [0, 1, 7, TOP_BLOCK - 1, TOP_BLOCK, BLOCK - 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 5] {
            let text: Vec<u8> = (0..length).map(|at| b"a\r\n:"[at % 4]).collect();
            for step in [1000, BLOCK, usize::MAX] {
                assert_eq!(send(&text, step, None), text, "{length} by {step}");
                assert_eq!(send(&text, step, Some(u64::MAX)), text, "{length} by {step}");
            }
        }
    }

    #[test]
    fn top_stops_reading() {
        let text = [b"A: b\r\n\r\n".as_slice(), &b"line\r\n".repeat(100_000)].concat();
        assert_eq!(send(&text, 50, Some(2)), b"A: b\r\n\r\nline\r\nline\r\n");
        assert_eq!(send(&text, 50, Some(50_000)), &text[..8 + 6 * 50_000]);
        assert_eq!(send(&text, 50, Some(u64::MAX)), text);
        // What fails behind the part that is wanted is not even read.
        let mut message =
            Message::begin(Box::new(Pieces { text: &text, step: BLOCK, fails: true }), text.len() as u64, Some(Top::new(1)))
                .unwrap();
        assert_eq!(message.send(&mut Vec::new()).unwrap(), 14);
    }

    #[test]
    fn a_small_message_that_fails_never_begins() {
        let text = b"A: b\r\n\r\nhalf";
        assert!(Message::begin(Box::new(Pieces { text, step: 3, fails: true }), 100, None).is_err());
        let text = vec![b'a'; BLOCK + 1];
        let source = Box::new(Pieces { text: &text, step: 5000, fails: true });
        let mut message = Message::begin(source, 2 * BLOCK as u64, None).unwrap();
        assert!(matches!(message.send(&mut Vec::new()), Err(Trouble::Source(_))));
    }

    #[test]
    fn a_message_that_shrank_is_not_sent_as_if_it_were_whole() {
        for top in [None, Some(9)] {
            assert!(Message::begin(Box::new(&b"A: b\r\n\r\n"[..]), 9, top.map(Top::new)).is_err());
            let text = vec![b'a'; BLOCK];
            let mut message = Message::begin(Box::new(&text[..]), BLOCK as u64 + 1, top.map(Top::new)).unwrap();
            assert!(matches!(message.send(&mut Vec::new()), Err(Trouble::Source(_))));
        }
        let mut message = Message::begin(Box::new(&b"0123456789"[..]), 3, None).unwrap();
        assert_eq!(message.send(&mut Vec::new()).unwrap(), 10);
    }
}
