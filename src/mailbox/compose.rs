//! One copy of a spooled message as it will stand in the file: everything that can be made ready before the file is locked.

use super::flags::{Keywords, Marks};
use super::mbox::{self, Base, Mark};
use super::secret::{ENDS, Key, Secret, visible};
use super::table::NO_ZONE;
use super::{Arrival, Copy, MailboxError};
use crate::mail::header;
use crate::spool::Message;
use crate::sys::File;
use std::io::{self, ErrorKind, IoSlice};

/// Bytes of a big message that are copied at a time.
const PIECE: usize = 256 << 10;
/// The header of a message is looked for in so many bytes first.
const FIRST_LOOK: usize = 16 << 10;

/// A copy, but for what depends on its place: UID, base line, separator.
#[derive(Debug)]
pub struct Letter<'a> {
    pub copy: &'a Copy<'a>,
    /// `From ` line, Return-Path, Delivered-To.
    prefix: Vec<u8>,
    /// The message's front: its header, and of a small message the rest too.
    front: std::borrow::Cow<'a, [u8]>,
    /// Bytes of the header in it, without the empty line.
    header: usize,
    /// An empty line has to be added after the header, a line end after the body.
    unended: bool,
    unclosed: bool,
    /// The content in short.
    pub key: Key,
}

impl<'a> Letter<'a> {
    /// Reads the header, and both ends of the body.
    pub fn new(copy: &'a Copy<'a>, secret: &Secret) -> Result<Letter<'a>, MailboxError> {
        let front = match copy.message {
            Message::Memory(bytes) => std::borrow::Cow::Borrowed(bytes.as_slice()),
            Message::File { .. } | Message::Spliced { .. } => std::borrow::Cow::Owned(front_of(copy.message)?),
        };
        let header = header::end(&front);
        let (prefix, from) = match copy.arrival {
            Arrival::Delivered { return_path, delivered_to, time } => mbox::prefix(return_path, delivered_to, time),
            Arrival::Filed(filing) => {
                let line = mbox::from_line(front.get(..header).unwrap_or_default(), filing.date);
                let length = line.len();
                (line, length)
            }
        };
        let mut hasher = secret.hasher();
        hasher.header(prefix.get(from..).unwrap_or_default());
        let own = front.get(..header).unwrap_or_default();
        hasher.header(&super::scan::closed(own));
        let own_last = own.last().copied();
        let length = copy.message.len();
        let blank = blank(front.get(header..).unwrap_or_default());
        let body = length.saturating_sub((header + blank) as u64);
        let mut letter = Letter { copy, prefix, front, header, unended: blank == 0, unclosed: false, key: Key::default() };
        let tail = letter.read(length.saturating_sub(body.min(ENDS as u64)), ENDS)?;
        let last = if body > 0 { tail.last().copied() } else { own_last };
        letter.unclosed = last.is_some_and(|last| last != b'\n');
        let (head, tail, body) = if letter.unclosed && body > 0 {
            let mut head = letter.read((header + blank) as u64, ENDS)?;
            let mut tail = tail;
            head.push(b'\n');
            tail.push(b'\n');
            head.truncate(ENDS);
            (head, tail.split_off(tail.len().saturating_sub(ENDS)), body + 1)
        } else {
            (letter.read((header + blank) as u64, ENDS)?, tail, body)
        };
        letter.key = hasher.finish(body, &head, &tail);
        Ok(letter)
    }

    fn read(&self, from: u64, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let read = self.copy.message.read_at(&mut bytes, from)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Bytes of the whole record, `From ` line to final empty line.
    pub fn len(&self) -> u64 {
        let opening: usize = self.opening().iter().map(|part| part.len()).sum();
        let added = opening + mbox::BLOCK + usize::from(self.unended) + self.closing().len();
        added as u64 + self.copy.message.len().saturating_sub(self.header as u64)
    }

    /// Bytes of the `From ` line.
    pub fn from(&self) -> u16 {
        memchr::memchr(b'\n', &self.prefix).map_or(0, |end| end as u16 + 1)
    }

    /// The record's beginning, up to its reserved block.
    fn opening(&self) -> Vec<&[u8]> {
        let mut parts: Vec<&[u8]> = vec![&self.prefix];
        visible(self.front.get(..self.header).unwrap_or_default(), |part| parts.push(part));
        if parts.last().is_some_and(|part| part.last().is_some_and(|last| *last != b'\n')) {
            parts.push(b"\n");
        }
        parts
    }

    fn is_bodiless(&self) -> bool {
        self.copy.message.len() <= (self.header + blank(self.front.get(self.header..).unwrap_or_default())) as u64
    }

    /// What ends the record.
    fn closing(&self) -> &'static [u8] {
        if self.unclosed && !self.is_bodiless() { b"\n\n" } else { b"\n" }
    }

    /// The reserved block, and the bits of the keywords that have a place in it.
    pub fn block(&self, base: Option<Base>, uid: u32, seal: u64, marks: Marks, keywords: &Keywords) -> (Vec<u8>, u64) {
        let (time, saved) = match self.copy.arrival {
            Arrival::Delivered { time, .. } => (time, None),
            Arrival::Filed(filing) => (filing.date, Some((filing.saved, filing.zone.unwrap_or(NO_ZONE)))),
        };
        let mark = Mark { uid, time, id: self.copy.id, recipient: self.copy.recipient, seal, saved };
        // Its longest form fits; a test says so.
        mbox::block(mbox::BLOCK, base, &mark, marks, keywords).unwrap_or_default()
    }

    /// Writes the record at an offset, after `separator`; a small one in a single call. Returns the crc32c of all that
    /// stands after the block.
    pub fn write(&self, file: &dyn File, offset: u64, separator: &[u8], block: &[u8]) -> io::Result<u32> {
        let mut parts = vec![IoSlice::new(separator)];
        parts.extend(self.opening().into_iter().map(IoSlice::new));
        parts.push(IoSlice::new(block));
        let empty: &[u8] = if self.unended { b"\n" } else { b"" };
        let rest = self.front.get(self.header..).unwrap_or_default();
        let mut check = crc32c::crc32c_append(crc32c::crc32c(empty), rest);
        parts.push(IoSlice::new(empty));
        parts.push(IoSlice::new(rest));
        let mut done = self.front.len() as u64;
        if done == self.copy.message.len() {
            parts.push(IoSlice::new(self.closing()));
            file.write_at(&parts, offset)?;
            return Ok(crc32c::crc32c_append(check, self.closing()));
        }
        file.write_at(&parts, offset)?;
        let mut at = offset + parts.iter().map(|part| part.len() as u64).sum::<u64>();
        let mut piece = vec![0; PIECE];
        while done < self.copy.message.len() {
            let read = self.copy.message.read_at(&mut piece, done)?;
            let bytes = piece.get(..read).filter(|bytes| !bytes.is_empty()).ok_or(ErrorKind::UnexpectedEof)?;
            file.write_at(&[IoSlice::new(bytes)], at)?;
            check = crc32c::crc32c_append(check, bytes);
            (done, at) = (done + read as u64, at + read as u64);
        }
        file.write_at(&[IoSlice::new(self.closing())], at)?;
        Ok(crc32c::crc32c_append(check, self.closing()))
    }

    /// Is the body at this place of a file, byte for byte? (`length` as a scan found it.)
    pub fn has_body(&self, file: &dyn File, at: u64, length: u64) -> io::Result<bool> {
        let front = (self.header + blank(self.front.get(self.header..).unwrap_or_default())) as u64;
        let own = self.copy.message.len() - front;
        if length != own + u64::from(self.unclosed && own > 0) {
            return Ok(false);
        }
        let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
        let mut done = 0;
        while done < own {
            let read = self.copy.message.read_at(&mut ours, front + done)?;
            let there = file.read_at(theirs.get_mut(..read).unwrap_or_default(), at + done)?;
            if read == 0 || there != read || ours.get(..read) != theirs.get(..read) {
                return Ok(false);
            }
            done += read as u64;
        }
        Ok(true)
    }

    /// Could what stands in a file from `at` to `end` be this record, cut short or with NULs where the disk lost something?
    /// Tells how many bytes were saved; what stands in the reserved block does not matter.
    pub fn resembles(&self, file: &dyn File, at: u64, end: u64) -> io::Result<Option<u64>> {
        let mut place = Torn { file, at, end, saved: 0, piece: Vec::new() };
        for part in self.opening() {
            if !place.fits(part)? {
                return Ok(None);
            }
        }
        place.at += mbox::BLOCK as u64;
        let rest = self.front.get(self.header..).unwrap_or_default();
        let fits = (!self.unended || place.fits(b"\n")?) && place.fits(rest)?;
        let mut done = self.front.len() as u64;
        let mut piece = vec![0; PIECE];
        while fits && done < self.copy.message.len() && place.at < end {
            let read = self.copy.message.read_at(&mut piece, done)?;
            if read == 0 || !place.fits(piece.get(..read).unwrap_or_default())? {
                return Ok(None);
            }
            done += read as u64;
        }
        Ok((fits && place.fits(self.closing())?).then_some(place.saved))
    }
}

fn blank(rest: &[u8]) -> usize {
    match rest {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    }
}

/// The beginning of a message, up to and with the empty line after its header (or all of it).
fn front_of(message: &Message) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let want = if bytes.is_empty() { FIRST_LOOK } else { 2 * bytes.len() };
        let done = bytes.len();
        bytes.resize(want, 0);
        let read = message.read_at(bytes.get_mut(done..).unwrap_or_default(), done as u64)?;
        bytes.truncate(done + read);
        if header::end(&bytes) < bytes.len() || bytes.len() as u64 >= message.len() || read == 0 {
            return Ok(bytes);
        }
    }
}

/// A comparison with what a crash left of a record.
struct Torn<'a> {
    file: &'a dyn File,
    at: u64,
    end: u64,
    saved: u64,
    piece: Vec<u8>,
}

impl Torn<'_> {
    /// Are the next bytes these, but for NULs and a missing end?
    fn fits(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..left).unwrap_or(bytes);
        self.piece.resize(bytes.len(), 0);
        self.file.read_exact_at(&mut self.piece, self.at)?;
        self.at += bytes.len() as u64;
        let mut fits = true;
        for (there, own) in self.piece.iter().zip(bytes) {
            fits &= *there == *own || *there == 0;
            self.saved += u64::from(*there == *own);
        }
        Ok(fits)
    }
}
