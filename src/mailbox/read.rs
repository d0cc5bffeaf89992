//! Messages in wire form: CRLF, unquoted, without state fields.
//!
//! Blocks of the file are read under a shared lock, and only while the file is the one the table describes; else the
//! table is brought up to date first, and the message found again by UID and content. What was read stays true of the
//! message it was read for, so many small messages are served from one block.

use super::inbox::Stamp;
use super::scan::closed;
use super::secret::visible;
use super::table::Row;
use super::view::View;
use super::{MailboxError, Uid};
use crate::mail::mboxrd::ToWire;
use crate::mail::structure::Outline;
use std::io::{self, BufRead, ErrorKind, Read};
use std::ops::Range;
use std::sync::{MutexGuard, PoisonError};

/// Bytes read from the file at a time.
const BLOCK: usize = 256 << 10;
/// Bytes of a message that are made ready at a time.
const PIECE: usize = 64 << 10;
/// Of the bytes that were made ready so much room is kept for the next message.
const MOST_SPARE: usize = 4 * PIECE;
/// So often a message is looked for again, while the file changes under us, before we give up.
const TRIES: usize = 20;

/// A part of the file, and where the last partial read of a message got to.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Those behind `filled` are of no account.
    bytes: Vec<u8>,
    filled: usize,
    at: u64,
    /// Of the table it was read for.
    epoch: u64,
    /// All that the table says of places was true when it was read; else only of the message it was read for.
    sure: bool,
    /// Counts the blocks that were read.
    serial: u64,
    bookmark: Option<(Row, Pace)>,
    /// For the pieces of the next message.
    spare: Vec<u8>,
}

impl Block {
    /// Is this range of the file in the block?
    fn covers(&self, from: u64, length: u64) -> bool {
        from >= self.at && from + length <= self.at + self.filled as u64
    }
}

/// How far a message is made ready.
#[derive(Clone, Debug)]
struct Pace {
    /// Bytes in wire form before this point.
    wire: u64,
    stage: Stage,
    to_wire: ToWire,
}

#[derive(Copy, Clone, Debug)]
enum Stage {
    Header,
    /// So much of the body is done; its last byte.
    Body(u64, u8),
    End,
}

/// One message, or a part of it, on its way.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    view: &'a View,
    row: Row,
    /// Of the table the row is from.
    epoch: u64,
    /// The last block that was read for this message.
    serial: u64,
    pace: Pace,
    /// Before the piece in `out`.
    before: Pace,
    /// Bytes to be left out, and then to be sent.
    skip: u64,
    left: u64,
    out: Vec<u8>,
    sent: usize,
    /// Bytes that are read at a time.
    ahead: usize,
}

impl View {
    /// The message in wire form: as many bytes as its summary says, or an error of the stream, after which the caller
    /// closes the connection. Never bytes of another message.
    pub fn read(&self, uid: Uid) -> Result<Box<dyn BufRead + '_>, MailboxError> {
        self.read_part(uid, 0..u64::MAX)
    }

    /// A range of the message's bytes in wire form; what lies behind its end is left out. Parts that are asked for in
    /// order do not begin from the start again.
    pub fn read_part(&self, uid: Uid, range: Range<u64>) -> Result<Box<dyn BufRead + '_>, MailboxError> {
        let (row, epoch) = self.row(uid)?;
        let (from, to) = (range.start.min(row.wire), range.end.min(row.wire));
        let mut stream = Stream::new(self, row, epoch);
        let bookmark = self.block().bookmark.clone();
        if let Some((marked, pace)) = bookmark {
            if (marked.uid, marked.key) == (row.uid, row.key) && pace.wire <= from {
                (stream.before, stream.pace) = (pace.clone(), pace);
            }
        }
        (stream.skip, stream.left) = (from - stream.pace.wire, to.saturating_sub(from));
        Ok(Box::new(stream))
    }

    /// Hands out the body of a message as it stands in the file, at least up to where its text ends: lines end in LF there, and `From `
    /// lines are quoted. `each` tells whether to go on.
    pub fn raw_body(&self, uid: Uid, outline: &Outline, mut each: impl FnMut(&[u8]) -> bool) -> Result<(), MailboxError> {
        let (row, epoch) = self.row(uid)?;
        let mut stream = Stream::new(self, row, epoch);
        let wanted = raw_end(&row, outline);
        if wanted < row.body() {
            // What lies behind it is not wanted either.
            stream.ahead = BLOCK.min(usize::try_from(wanted).unwrap_or(BLOCK));
        }
        let mut block = self.block();
        let mut done = 0;
        while done < wanted {
            let range = stream.fetch(&mut block, |row| row.body_at() + done, (wanted - done).min(PIECE as u64))?;
            let piece = block.bytes.get(range).filter(|piece| !piece.is_empty()).ok_or(MailboxError::Gone)?;
            done += piece.len() as u64;
            if !each(piece) {
                break;
            }
        }
        Ok(())
    }

    fn row(&self, uid: Uid) -> Result<(Row, u64), MailboxError> {
        let found =
            self.with(|_, inner| inner.table.as_ref().and_then(|loaded| Some((*loaded.table.find(uid.0)?, loaded.epoch))))?;
        found.ok_or(MailboxError::Gone)
    }

    fn block(&self) -> MutexGuard<'_, Block> {
        self.block.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where in a body, as it stands in the file, the text certainly has ended. A line is a byte longer on the wire, or as long;
/// a quoted one may be as many shorter as there are bytes that this does not explain.
fn raw_end(row: &Row, outline: &Outline) -> u64 {
    let on_wire = row.wire.saturating_sub(outline.body);
    let unquoted = row.body().saturating_add(outline.lines).saturating_sub(on_wire);
    outline.text_end.saturating_sub(outline.body).saturating_add(unquoted).min(row.body())
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Stream<'_> {
    /// The rest of the piece at hand, as far as it is wanted.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.sent == self.out.len() && self.left > 0 {
            self.next_piece().map_err(|error| match error {
                MailboxError::Io(error) => error,
                other => io::Error::other(other),
            })?;
        }
        let rest = self.out.get(self.sent..).unwrap_or_default();
        let most = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        Ok(rest.get(..most).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.sent += count;
        self.left = self.left.saturating_sub(count as u64);
        if self.left == 0 {
            // What is left of the last piece is not wanted.
            self.sent = self.out.len();
            self.view.block().bookmark = Some((self.row, self.before.clone()));
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if self.out.capacity() <= MOST_SPARE {
            self.view.block().spare = std::mem::take(&mut self.out);
        }
    }
}

impl<'a> Stream<'a> {
    /// All of a message, from its row in the table of that epoch.
    pub fn new(view: &'a View, row: Row, epoch: u64) -> Stream<'a> {
        let pace = Pace { wire: 0, stage: Stage::Header, to_wire: ToWire::default() };
        let (before, mut out) = (pace.clone(), std::mem::take(&mut view.block().spare));
        out.clear();
        Stream { view, row, epoch, serial: 0, before, pace, skip: 0, left: row.wire, out, sent: 0, ahead: BLOCK }
    }

    /// Hands out the message in pieces as they are made ready; tells what the table says of it in the end.
    pub fn pieces(mut self, mut each: impl FnMut(&[u8])) -> Result<Row, MailboxError> {
        while !matches!(self.pace.stage, Stage::End) {
            self.next_piece()?;
            each(&self.out);
        }
        Ok(self.row)
    }

    fn next_piece(&mut self) -> Result<(), MailboxError> {
        if matches!(self.pace.stage, Stage::End) {
            return Err(io::Error::from(ErrorKind::InvalidData).into());
        }
        self.out.clear();
        self.before = self.pace.clone();
        self.step()?;
        self.pace.wire += self.out.len() as u64;
        let over = self.pace.wire > self.row.wire;
        let short = matches!(self.pace.stage, Stage::End) && self.pace.wire < self.row.wire;
        if over || short {
            return Err(io::Error::from(ErrorKind::InvalidData).into());
        }
        let skip = self.skip.min(self.out.len() as u64);
        self.skip -= skip;
        self.sent = skip as usize;
        Ok(())
    }

    fn step(&mut self) -> Result<(), MailboxError> {
        let view = self.view;
        let mut block = view.block();
        match self.pace.stage {
            Stage::Header => self.header(&mut block),
            Stage::Body(done, last) => self.body(&mut block, done, last),
            Stage::End => Ok(()),
        }
    }

    /// Where in the block the file's bytes from `from` on are, at most so many; a block is read if they are not in it.
    fn fetch(&mut self, block: &mut Block, from: impl Fn(&Row) -> u64, most: u64) -> Result<Range<usize>, MailboxError> {
        let vouched = block.sure || block.serial == self.serial;
        if !vouched || block.epoch != self.epoch || block.filled == 0 || !block.covers(from(&self.row), most) {
            self.load(block, &from)?;
        }
        let start = usize::try_from(from(&self.row) - block.at).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(most).unwrap_or(usize::MAX)).min(block.filled);
        Ok(start.min(end)..end)
    }

    /// Reads a block from what `from` says of the message, after that was found again.
    fn load(&mut self, block: &mut Block, from: impl Fn(&Row) -> u64) -> Result<(), MailboxError> {
        let mailbox = &self.view.mailbox;
        block.filled = 0;
        for _ in 0..TRIES {
            let mut inner = mailbox.inner();
            let reading = mailbox.look(&mut inner)?.ok_or(MailboxError::Gone)?;
            let loaded = inner.table.as_ref().ok_or(MailboxError::Gone)?;
            let row = loaded.table.find(self.row.uid).filter(|row| row.key == self.row.key);
            self.row = *row.ok_or(MailboxError::Gone)?;
            (self.epoch, block.epoch) = (loaded.epoch, loaded.epoch);
            let stamp = loaded.stamp;
            if !mailbox.vouch(&mut inner, &*reading.file, &[self.row])? {
                continue;
            }
            (block.at, block.sure, block.serial) = (from(&self.row), !inner.doubt.open, block.serial + 1);
            self.serial = block.serial;
            // Others that stand in the same block would not have been looked at.
            let end = self.row.offset + self.row.length;
            let most = if inner.doubt.open { end.saturating_sub(block.at) } else { u64::MAX };
            let wanted = self.ahead.min(usize::try_from(most).unwrap_or(usize::MAX));
            block.bytes.resize(block.bytes.len().max(wanted), 0);
            let read = reading.file.read_at(block.bytes.get_mut(..wanted).unwrap_or_default(), block.at)?;
            // Programs that lock in another way than we do may have written meanwhile.
            if Stamp::from(reading.file.stat()?) == stamp {
                block.filled = read;
                return Ok(());
            }
        }
        Err(MailboxError::Busy)
    }

    fn header(&mut self, block: &mut Block) -> Result<(), MailboxError> {
        let mut bytes = Vec::new();
        let mut epoch = None;
        loop {
            let done = bytes.len() as u64;
            let most = u64::from(self.row.header) - done.min(u64::from(self.row.header));
            let more = self.fetch(block, |row| row.header_at() + done, most)?;
            if epoch.is_some_and(|epoch| epoch != self.epoch) {
                // It was moved while we read, and its state fields may be others: from the start.
                (bytes, epoch) = (Vec::new(), None);
                continue;
            }
            epoch = Some(self.epoch);
            let more = block.bytes.get(more).unwrap_or_default();
            bytes.extend_from_slice(more);
            bytes.truncate(self.row.header as usize);
            if bytes.len() == self.row.header as usize {
                break;
            }
            if more.is_empty() {
                return Err(MailboxError::Gone);
            }
        }
        visible(&closed(&bytes), |part| self.pace.to_wire.push(part, &mut self.out));
        if self.row.blank > 0 || self.row.body() == 0 {
            self.pace.to_wire.push(b"\n", &mut self.out);
        }
        self.pace.stage = Stage::Body(0, b'\n');
        self.body(block, 0, b'\n')
    }

    fn body(&mut self, block: &mut Block, done: u64, last: u8) -> Result<(), MailboxError> {
        let (mut done, mut last) = (done, last);
        if done < self.row.body() {
            let most = (self.row.body() - done).min(PIECE as u64);
            let range = self.fetch(block, |row| row.body_at() + done, most)?;
            let bytes = block.bytes.get(range).unwrap_or_default();
            let left = usize::try_from(self.row.body() - done).unwrap_or(usize::MAX);
            let bytes = bytes.get(..left.min(bytes.len())).unwrap_or_default();
            last = *bytes.last().ok_or(MailboxError::Gone)?;
            self.pace.to_wire.push(bytes, &mut self.out);
            done += bytes.len() as u64;
        }
        self.pace.stage = Stage::Body(done, last);
        if done >= self.row.body() {
            if last != b'\n' {
                self.pace.to_wire.push(b"\n", &mut self.out);
            }
            std::mem::take(&mut self.pace.to_wire).finish(&mut self.out);
            self.pace.stage = Stage::End;
        }
        Ok(())
    }
}
