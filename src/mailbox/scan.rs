//! Finds the messages of an mbox file, in one pass over blocks, at the speed of a byte search. No I/O.
//!
//! A message begins at a `From ` line that parses as one, at the start of the file or after an empty line. The empty line
//! before the next `From ` line belongs to neither body. `Content-Length` is not looked at: our own bodies are quoted, and
//! programs that write it quote or are misread by everybody else too.

use super::flags::Filed;
use super::mbox::{self, Base, Mark};
use super::secret::{ENDS, Hasher, Key, Secret, visible};
use super::table::{NO_ZONE, UNKNOWN};
use crate::mail::header;
use crate::spool::SpoolId;
use crate::sys::{File, Time};
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::io;
use std::sync::LazyLock;

/// A header that goes on for longer ends here, in the middle.
pub const LONGEST_HEADER: usize = 1 << 20;
/// Bytes that are asked for at a time: what is looked at several times should not leave the processor's own cache.
pub const BLOCK: usize = 128 << 10;
/// An unfinished line is kept for the next block up to this length.
const LONGEST_KEPT: usize = 64 << 10;

static FROM: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"From "));

/// What a message is to our users.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Mail.
    Alive,
    /// Removed; its room is not given back yet.
    Dead,
    /// c-client's pseudo-message with the mailbox's own data.
    Internal,
}

/// One message of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Of the `From ` line in the file.
    pub offset: u64,
    /// Bytes from there to the next message, or the end.
    pub length: u64,
    /// Bytes of the `From ` line with its end.
    pub from: u32,
    /// Bytes of the header without the empty line.
    pub header: u32,
    /// Bytes of the empty line: 0 if there is none.
    pub blank: u8,
    /// Bytes of the body, without the empty line that separates it from the next message.
    pub body: u64,
    /// Bytes in wire form, without state fields.
    pub wire: u64,
    /// The content in short.
    pub key: Key,
    /// What our own field says.
    pub mark: Option<Mark>,
    /// What `X-UID` says.
    pub uid: Option<u32>,
    /// Mail or not.
    pub kind: Kind,
    /// What `Status` and `X-Status` say.
    pub filed: Filed,
    /// What `X-Keywords` says, if it says anything.
    pub keywords: Option<Box<[u8]>>,
    /// The header ends with so many bytes of nothing but state fields.
    pub room: u16,
    /// Internal date: ours, else that of the `From ` line.
    pub date: Time,
    /// When it came here, and the internal date's zone, where that is known ([`table::Row`](super::table::Row)).
    pub saved: Time,
    pub zone: i16,
}

impl Message {
    /// Where the header begins in the file.
    pub fn header_at(&self) -> u64 {
        self.offset + u64::from(self.from)
    }

    /// Where the body begins in the file.
    pub fn body_at(&self) -> u64 {
        self.header_at() + u64::from(self.header) + u64::from(self.blank)
    }

    /// Bytes between the body and the next message.
    pub fn gap(&self) -> u8 {
        u8::try_from(self.end().saturating_sub(self.body_at() + self.body)).unwrap_or(0)
    }

    /// Is it this copy, and as it was delivered?
    pub fn is_copy(&self, id: SpoolId, recipient: u32, key: Key) -> bool {
        let name = self.mark.map(|mark| (mark.id, mark.recipient));
        self.kind == Kind::Alive && self.key == key && name == Some((id, recipient))
    }

    /// Where the next message begins.
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// In file order.
    pub messages: Vec<Message>,
    /// From the first message, if the scan began at the start of the file; and where the line stands, if it is as we write it.
    pub base: Option<(Base, Option<u64>)>,
    /// The words of the base line: UIDVALIDITY, last UID, keywords.
    pub listed: Option<Box<[u8]>>,
    /// What was given does not begin with a `From ` line: nothing was looked at.
    pub alien: bool,
}

/// A scan in the making: fill [`Scanner::room`], say how much with [`Scanner::filled`], and in the end [`Scanner::finish`].
pub struct Scanner<'a> {
    secret: &'a Secret,
    buffer: Vec<u8>,
    /// What is not worked off is `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Of `buffer[start]` in the file.
    at: u64,
    message: Option<Body>,
    scan: Scan,
}

/// A message of which the header is known.
struct Body {
    message: Message,
    hasher: Hasher,
    count: Count,
    head: Vec<u8>,
    tail: Vec<u8>,
    length: u64,
    /// The header is that of a dead message: so many NULs begin the body.
    nuls: Option<u64>,
    /// The next byte begins a line, and the line before is empty.
    after_blank: bool,
}

/// Counts what changes a length on its way to the wire.
#[derive(Clone, Debug)]
struct Count {
    lf: u64,
    crlf: u64,
    quoted: u64,
    last: u8,
    /// The current line has nothing but `>` so far.
    quotes: bool,
}

impl Default for Count {
    fn default() -> Self {
        Count { lf: 0, crlf: 0, quoted: 0, last: b'\n', quotes: false }
    }
}

impl Count {
    fn take(&mut self, bytes: &[u8]) {
        self.lf += memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.crlf += u64::from(self.last == b'\r' && bytes.first() == Some(&b'\n'));
        self.crlf += memchr::memchr_iter(b'\r', bytes).filter(|at| bytes.get(at + 1) == Some(&b'\n')).count() as u64;
        let Some(&last) = bytes.last() else { return };
        let line = memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        let started = line > 0 || self.last == b'\n' || self.quotes;
        self.quotes = started && line < bytes.len() && bytes.get(line..).unwrap_or_default().iter().all(|byte| *byte == b'>');
        self.last = last;
    }

    /// Looks at a `From ` found at `at` in `bytes`, before these are taken.
    fn look(&mut self, bytes: &[u8], at: usize) {
        let before = bytes.get(..at).unwrap_or_default();
        let line = before.iter().rposition(|byte| *byte != b'>').map_or(0, |last| last + 1);
        let at_start = match line {
            0 => self.last == b'\n' || self.quotes,
            _ => before.get(line - 1) == Some(&b'\n'),
        };
        let quoted = line < at || (line == 0 && self.quotes);
        self.quoted += u64::from(at_start && quoted);
    }

    fn wire(&self, length: u64) -> u64 {
        let end = match self.last {
            b'\n' => 0,
            b'\r' => 1,
            _ => 2,
        };
        length + self.lf - self.crlf - self.quoted + end
    }
}

/// Where the first message at or behind an offset begins, as a scan from the start would find it too.
pub fn next_message(file: &dyn File, from: u64, to: u64) -> io::Result<Option<u64>> {
    // A `From ` line that is cut by a piece's end is found in the next.
    const OVERLAP: usize = mbox::LONGEST_FROM + 8;
    let mut piece = vec![0; 64 << 10];
    let mut at = from.saturating_sub(3);
    loop {
        let most = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX).min(piece.len());
        let read = file.read_at(piece.get_mut(..most).unwrap_or_default(), at)?;
        let bytes = piece.get(..read).unwrap_or_default();
        for found in FROM.find_iter(bytes) {
            let before = bytes.get(..found).unwrap_or_default();
            let begins = before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n");
            if begins && at + found as u64 >= from && mbox::is_from_line(line_at(bytes, found)) {
                return Ok(Some(at + found as u64));
            }
        }
        if read < piece.len() {
            return Ok(None);
        }
        at += (read - OVERLAP) as u64;
    }
}

impl<'a> Scanner<'a> {
    /// For a file from offset `at` on, where a message begins.
    pub fn new(secret: &'a Secret, at: u64) -> Scanner<'a> {
        Scanner { secret, buffer: Vec::new(), start: 0, end: 0, at, message: None, scan: Scan::default() }
    }

    /// Where the next bytes of the file go.
    pub fn room(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() < self.end + BLOCK {
            self.buffer.resize(self.end + BLOCK, 0);
        }
        self.buffer.get_mut(self.end..self.end + BLOCK).unwrap_or_default()
    }

    /// So many bytes are there.
    pub fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer.len());
        self.work(false);
        if self.scan.alien {
            // Else what anybody put there would be in memory, all of it.
            self.start = self.end;
        }
    }

    /// Is it no mailbox? Then there is nothing more to look at.
    pub fn is_alien(&self) -> bool {
        self.scan.alien
    }

    /// The file ends here.
    pub fn finish(mut self) -> Scan {
        self.work(true);
        if let Some(body) = self.message.take() {
            self.close(body);
        }
        self.scan
    }

    fn work(&mut self, last: bool) {
        while !self.scan.alien {
            let more = match self.message.take() {
                None => self.header(last),
                Some(body) => self.body(body, last),
            };
            if !more {
                return;
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn used(&mut self, bytes: usize) {
        self.start += bytes;
        self.at += bytes as u64;
    }

    /// At a `From ` line. False: more bytes are needed.
    fn header(&mut self, last: bool) -> bool {
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        let from = memchr::memchr(b'\n', rest).map(|end| end + 1);
        let Some(from) = from.or((last || rest.len() > mbox::LONGEST_FROM).then_some(rest.len())) else { return false };
        let line = rest.get(..from).unwrap_or_default();
        let Some(date) = mbox::date_of(line.strip_suffix(b"\n").unwrap_or(line)) else {
            self.scan.alien = !rest.is_empty();
            return false;
        };
        let after = rest.get(from..).unwrap_or_default();
        let most = after.get(..LONGEST_HEADER).unwrap_or(after);
        let mut end = header::end(most);
        let blank = most.get(end..).map_or(0, |line| if line.starts_with(b"\n") { 1 } else { 2.min(line.len()) });
        if blank == 0 {
            if most.len() == LONGEST_HEADER {
                end = memchr::memrchr(b'\n', most).map_or(end, |end| end + 1);
            } else if !last {
                return false;
            }
        }
        let bytes = closed(after.get(..end).unwrap_or_default());
        let state = mbox::state(&bytes);
        if self.at == 0 {
            let place = |at: usize| (from + at) as u64;
            self.scan.base = state.base.map(|base| (base, state.base_at.map(place)));
            self.scan.listed = state.listed.and_then(|(from, to)| bytes.get(from..to)).map(Box::from);
        }
        let (mut hasher, mut wire) = (self.secret.hasher(), 0);
        visible(&bytes, |part| {
            hasher.piece(part);
            wire += shown(part);
        });
        let message = Message {
            offset: self.at,
            length: 0,
            from: u32::try_from(from).unwrap_or(u32::MAX),
            header: u32::try_from(end).unwrap_or(u32::MAX),
            blank: blank as u8,
            body: 0,
            wire,
            key: Key::default(),
            mark: state.mark,
            uid: state.uid,
            kind: if self.at == 0 && state.internal { Kind::Internal } else { Kind::Alive },
            filed: state.filed,
            keywords: state.keywords.and_then(|(from, to)| bytes.get(from..to)).map(Box::from),
            room: u16::try_from(state.room).unwrap_or(0),
            date: state.mark.map_or(date, |mark| mark.time),
            saved: state.mark.map_or(UNKNOWN, |mark| mark.saved.map_or(mark.time, |(saved, _)| saved)),
            zone: state.mark.and_then(|mark| mark.saved).map_or(NO_ZONE, |(_, zone)| zone),
        };
        self.message = Some(Body {
            message,
            hasher,
            count: Count::default(),
            head: Vec::with_capacity(ENDS),
            tail: Vec::with_capacity(2 * ENDS),
            length: 0,
            nuls: mbox::is_dead_header(&bytes).then_some(0),
            after_blank: blank > 0,
        });
        self.used(from + end + blank);
        true
    }

    /// In a body. False: more bytes are needed.
    fn body(&mut self, mut body: Body, last: bool) -> bool {
        let rest = self.rest();
        let lines = memchr::memrchr(b'\n', rest).map_or(0, |end| end + 1);
        let usable = if last || rest.len() - lines > LONGEST_KEPT { rest.len() } else { lines };
        let bytes = rest.get(..usable).unwrap_or_default();
        let mut next = None;
        for at in FROM.find_iter(bytes) {
            if body.begins_after(bytes, at) && mbox::is_from_line(line_at(bytes, at)) {
                next = Some(at);
                break;
            }
            body.count.look(bytes, at);
        }
        let used = next.unwrap_or(usable);
        body.take(bytes.get(..used).unwrap_or_default());
        self.used(used);
        match next {
            Some(_) => self.close(body),
            None => self.message = Some(body),
        }
        next.is_some()
    }

    fn close(&mut self, body: Body) {
        let message = body.finish(self.at);
        self.scan.messages.push(message);
    }
}

impl Body {
    /// Does a line begin at `at`, after an empty one?
    fn begins_after(&self, bytes: &[u8], at: usize) -> bool {
        match bytes.get(..at).unwrap_or_default() {
            [] => self.after_blank,
            b"\n" | b"\r\n" => self.count.last == b'\n',
            before => before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n"),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.after_blank = self.begins_after(bytes, bytes.len());
        if let Some(nuls) = &mut self.nuls {
            if *nuls == self.length {
                *nuls += bytes.iter().take_while(|byte| **byte == 0).count() as u64;
            }
        }
        self.count.take(bytes);
        self.length += bytes.len() as u64;
        let missing = ENDS.saturating_sub(self.head.len());
        self.head.extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        // Two bytes more than count: the separator.
        let keep = ENDS + 2;
        if bytes.len() >= keep {
            self.tail.clear();
        } else if let Some(over) = (self.tail.len() + bytes.len()).checked_sub(keep) {
            self.tail.drain(..over.min(self.tail.len()));
        }
        self.tail.extend_from_slice(bytes.get(bytes.len().saturating_sub(keep)..).unwrap_or_default());
    }

    fn finish(mut self, end: u64) -> Message {
        let mut message = self.message;
        message.length = end - message.offset;
        if self.nuls.is_some_and(|nuls| self.length - nuls <= 2 && self.tail.iter().all(|byte| matches!(byte, 0 | b'\n'))) {
            message.kind = Kind::Dead;
        }
        let separator = separator(&self.tail, self.length);
        self.tail.truncate(self.tail.len() - separator);
        self.count.lf -= u64::from(separator > 0);
        self.count.crlf -= u64::from(separator > 1);
        message.body = self.length - separator as u64;
        self.count.last = self.tail.last().copied().unwrap_or(b'\n');
        let headless = message.blank == 0 && message.body > 0;
        message.wire += if headless { 0 } else { 2 } + self.count.wire(message.body);
        let closed = u64::from(self.count.last != b'\n');
        (message.key, message.body) = (key(self.hasher, message.body + closed, self.head, self.tail), message.body);
        message
    }
}

/// Of a body that ends in a line end, or would if it were complete: `tail` holds at least the last [`ENDS`] bytes.
fn key(hasher: Hasher, length: u64, mut head: Vec<u8>, mut tail: Vec<u8>) -> Key {
    if tail.last().is_some_and(|last| *last != b'\n') {
        tail.push(b'\n');
        head.push(b'\n');
    }
    head.truncate(usize::try_from(length).unwrap_or(usize::MAX).min(ENDS));
    hasher.finish(length, &head, tail.get(tail.len().saturating_sub(ENDS)..).unwrap_or_default())
}

/// Bytes at the end of a body that only separate it from what follows: one empty line.
fn separator(tail: &[u8], length: u64) -> usize {
    match tail {
        [.., b'\n', b'\n'] => 1,
        [.., b'\n', b'\r', b'\n'] => 2,
        b"\n" if length == 1 => 1,
        b"\r\n" if length == 2 => 2,
        _ => 0,
    }
}

/// A header that ends in a line end, added where the file breaks off.
pub fn closed(header: &[u8]) -> Cow<'_, [u8]> {
    match header.last() {
        Some(b'\n') | None => Cow::Borrowed(header),
        Some(_) => Cow::Owned([header, b"\n"].concat()),
    }
}

/// Bytes of a piece of a header in wire form.
fn shown(piece: &[u8]) -> u64 {
    let mut count = Count::default();
    FROM.find_iter(piece).for_each(|at| count.look(piece, at));
    count.take(piece);
    count.wire(piece.len() as u64)
}

fn line_at(bytes: &[u8], at: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or_default();
    let rest = rest.get(..mbox::LONGEST_FROM + 2).unwrap_or(rest);
    rest.get(..memchr::memchr(b'\n', rest).unwrap_or(rest.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_mailbox_is_not_held_in_memory() {
        let disk = crate::sys::sim::SimDisk::default();
        let secret = Secret::load(&disk, std::path::Path::new("/s")).unwrap();
        let mut scanner = Scanner::new(&secret, 0);
        for _ in 0..20 {
            let room = scanner.room();
            room.fill(b'x');
            scanner.filled(BLOCK);
        }
        assert!(scanner.is_alien() && scanner.buffer.len() <= 2 * BLOCK);
        assert!(scanner.finish().alien);
    }
}
