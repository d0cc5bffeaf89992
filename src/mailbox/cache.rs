//! What messages are made of ([`structure`](crate::mail::structure)), on disk, so that no message is taken apart twice. A cache,
//! private to the daemon and never truth: it may be deleted at any time, and what does not fit, or is damaged, is made anew.
//!
//! `<spool>/index/u/<base>.cache` is a head and then frames. A frame is what was added at one time: a directory, so that to
//! know where the records are is not to read them, and one entry for each message. Numbers are little-endian.
//!
//! ```text
//! file       8 bytes that tell the format, frames
//! frame      "\nPBF", count, bytes of all entries, crc32c of these and the directory; directory; entries   each number 4 bytes
//! directory  for each entry its UID and its length, 4 bytes each
//! entry      crc32c of what follows, UID, bytes of the record, each 4 bytes; bytes in wire form, 8; key, 16; the record
//! ```
//!
//! A record is used for a message only if UID, key and size are that message's. (If another program changes the middle of a
//! body and keeps its length, that is the same message to us, here as everywhere.) It is read without a lock; its checksum
//! tells whether the bytes are still what they were.
//!
//! Who adds a frame has the file locked, and cuts off first what is no frame: a write that was torn, by a crash or a full disk.
//! Nothing is synced. Who can't have the lock at once does without: the record is made again some day. When less than half of
//! the file is about messages that are there, the rest is written to another file that is given its name; another daemon goes
//! on reading the old one, and sees at its next look that it was replaced.

use super::secret::Key;
use super::table::Row;
use crate::sys::{Disk, File, Lock, Open};
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"PBXSTR\x01\n";
const FRAME: &[u8; 4] = b"\nPBF";
/// Bytes of a frame before its directory.
const FRAME_HEAD: usize = 16;
/// Bytes of an entry in a directory.
const NAME: usize = 8;
/// Bytes of an entry before its record.
pub(super) const ENTRY_HEAD: usize = 36;
/// Bytes of a frame, more or less, at which it is written.
const ENOUGH: usize = 1 << 20;
/// Bytes that are read at a time in search of frames.
const BLOCK: usize = 64 << 10;
/// A smaller file is left as it is.
const SMALL: u64 = 256 << 10;
/// So often a file that is replaced meanwhile is opened again.
const TRIES: usize = 3;

/// Entries that are to be added together.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// UID and length of each.
    names: Vec<(u32, u32)>,
    entries: Vec<u8>,
}

impl Frame {
    /// Adds the record of a message; tells where in [`Frame::bytes`] it is.
    pub fn push(&mut self, row: &Row, record: &[u8]) -> Range<usize> {
        let start = self.entries.len();
        self.entries.extend_from_slice(&[0; 4]);
        for bytes in [&row.uid.to_le_bytes()[..], &(record.len() as u32).to_le_bytes(), &row.wire.to_le_bytes(), &row.key.0] {
            self.entries.extend_from_slice(bytes);
        }
        self.entries.extend_from_slice(record);
        let check = crc32c::crc32c(self.entries.get(start + 4..).unwrap_or_default());
        if let Some(place) = self.entries.get_mut(start..start + 4) {
            place.copy_from_slice(&check.to_le_bytes());
        }
        self.names.push((row.uid, (ENTRY_HEAD + record.len()) as u32));
        start + ENTRY_HEAD..self.entries.len()
    }

    fn push_entry(&mut self, uid: u32, entry: &[u8]) {
        self.names.push((uid, entry.len() as u32));
        self.entries.extend_from_slice(entry);
    }

    /// The entries so far.
    pub fn bytes(&self) -> &[u8] {
        &self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Should it be written now?
    pub fn is_full(&self) -> bool {
        self.entries.len() >= ENOUGH
    }

    pub fn clear(&mut self) {
        self.names.clear();
        self.entries.clear();
    }

    fn head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(FRAME_HEAD + NAME * self.names.len());
        head.extend_from_slice(FRAME);
        head.extend_from_slice(&(self.names.len() as u32).to_le_bytes());
        head.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        let mut directory = Vec::with_capacity(NAME * self.names.len());
        for (uid, length) in &self.names {
            directory.extend_from_slice(&uid.to_le_bytes());
            directory.extend_from_slice(&length.to_le_bytes());
        }
        let check = crc32c::crc32c_append(crc32c::crc32c(&head), &directory);
        head.extend_from_slice(&check.to_le_bytes());
        head.extend_from_slice(&directory);
        head
    }

    /// Writes it at an offset; tells where the first entry is.
    fn write(&self, file: &dyn File, at: u64) -> io::Result<u64> {
        let head = self.head();
        file.write_at(&[IoSlice::new(&head), IoSlice::new(&self.entries)], at)?;
        Ok(at + head.len() as u64)
    }

    fn slots(&self, first: u64) -> impl Iterator<Item = Slot> + '_ {
        slots(first, self.names.iter().copied())
    }
}

/// Where an entry is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub uid: u32,
    pub length: u32,
    pub at: u64,
}

fn slots(first: u64, names: impl Iterator<Item = (u32, u32)>) -> impl Iterator<Item = Slot> {
    names.scan(first, |at, (uid, length)| {
        let slot = Slot { uid, length, at: *at };
        *at += u64::from(length);
        Some(slot)
    })
}

/// The record in an entry, if that is whole and about this message as it is.
pub(super) fn record_for<'a>(entry: &'a [u8], row: &Row) -> Option<&'a [u8]> {
    let (uid, wire, key, record) = taken_apart(entry)?;
    ((uid, wire, key) == (row.uid, row.wire, row.key)).then_some(record)
}

/// UID, size, key and record of an entry that is whole.
fn taken_apart(entry: &[u8]) -> Option<(u32, u64, Key, &[u8])> {
    let (check, rest) = entry.split_first_chunk::<4>()?;
    let (uid, after) = rest.split_first_chunk::<4>()?;
    let (length, after) = after.split_first_chunk::<4>()?;
    let (wire, after) = after.split_first_chunk::<8>()?;
    let (key, record) = after.split_first_chunk::<16>()?;
    let whole = u32::from_le_bytes(*length) as usize == record.len() && crc32c::crc32c(rest) == u32::from_le_bytes(*check);
    whole.then(|| (u32::from_le_bytes(*uid), u64::from_le_bytes(*wire), Key(*key), record))
}

/// A cache, as far as it was looked at.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// The file, and which it is.
    file: Option<(Arc<dyn File>, (u64, u64))>,
    /// Frames end here. Zero: there is no head.
    end: u64,
    /// The latest entry of each message, by UID.
    slots: Vec<Slot>,
    /// How many entries there are, those that others replaced among them.
    entries: usize,
}

/// A locked file. Dropping it gives the lock back.
struct Locked(Arc<dyn File>);

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Cache {
    /// Takes in what came since. The file at the path may be another one, or none, by now.
    pub fn look(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        let size = match disk.stat(path) {
            Ok(stat) if self.file.as_ref().is_some_and(|(_, id)| *id == stat.file) => stat.size,
            Ok(_) => {
                *self = Cache::default();
                let file = disk.open(path, Open::Write)?;
                let stat = file.stat()?;
                self.file = Some((file, stat.file));
                stat.size
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                *self = Cache::default();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let Some((file, _)) = self.file.clone() else { return Ok(()) };
        if size < self.end {
            (self.end, self.slots, self.entries) = (0, Vec::new(), 0);
        }
        self.take_frames(&*file, size)
    }

    /// How far it was looked at.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Where the entry of a message may be, and in which file.
    pub fn find(&self, uid: u32) -> Option<Slot> {
        let at = self.slots.binary_search_by_key(&uid, |slot| slot.uid).ok()?;
        self.slots.get(at).copied()
    }

    pub fn file(&self) -> Option<Arc<dyn File>> {
        self.file.as_ref().map(|(file, _)| file.clone())
    }

    /// Adds entries, unless others have come for the same messages since it ended at `since`. Without the lock nothing is done.
    pub fn add(&mut self, disk: &dyn Disk, path: &Path, frame: &Frame, since: u64) -> io::Result<()> {
        let Some(locked) = self.open(disk, path)? else { return Ok(()) };
        let file = &*locked.0;
        let came = |uid: &u32| since > 0 && self.find(*uid).is_some_and(|slot| slot.at >= since);
        if frame.names.iter().all(|(uid, _)| came(uid)) {
            return Ok(());
        }
        if self.end == 0 {
            file.set_len(0)?;
            file.write_at(&[IoSlice::new(MAGIC)], 0)?;
            self.end = MAGIC.len() as u64;
        } else if file.stat()?.size > self.end {
            file.set_len(self.end)?;
        }
        let first = match frame.write(file, self.end) {
            Ok(first) => first,
            Err(error) => {
                let _ = file.set_len(self.end);
                return Err(error);
            }
        };
        self.end = first + frame.entries.len() as u64;
        self.enter(frame.slots(first));
        Ok(())
    }

    /// Is less than half of it about messages that are there, of which there are so many?
    pub fn is_wasteful(&self, alive: usize) -> bool {
        self.end > SMALL && self.entries / 2 > alive
    }

    /// Writes the file anew, with what is about messages that are `alive` (UIDs, ascending).
    pub fn shorten(&mut self, disk: &dyn Disk, path: &Path, alive: &[u32]) -> io::Result<()> {
        let Some(locked) = self.open(disk, path)? else { return Ok(()) };
        let file = &*locked.0;
        let wanted: Vec<Slot> = self.slots.iter().filter(|slot| alive.binary_search(&slot.uid).is_ok()).copied().collect();
        let fresh = path.with_extension("cache.new");
        let new = disk.open(&fresh, Open::Create(0o600))?;
        new.set_len(0)?;
        new.write_at(&[IoSlice::new(MAGIC)], 0)?;
        let mut end = MAGIC.len() as u64;
        let (mut frame, mut entry, mut rest) = (Frame::default(), Vec::new(), wanted.as_slice());
        while let Some((slot, after)) = rest.split_first() {
            rest = after;
            entry.resize(slot.length as usize, 0);
            let read = file.read_at(&mut entry, slot.at)?;
            if read == entry.len() && taken_apart(&entry).is_some_and(|(uid, ..)| uid == slot.uid) {
                frame.push_entry(slot.uid, &entry);
            }
            if frame.is_full() || rest.is_empty() {
                end = frame.write(&*new, end)? + frame.entries.len() as u64;
                frame.clear();
            }
        }
        disk.rename(&fresh, path)?;
        log::info!("event=cache-shortened path={} bytes={end} messages={}", path.display(), wanted.len());
        self.look(disk, path)
    }

    /// The file at the path, made if there is none, and locked; looked at to its end. None: another daemon has it.
    fn open(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<Option<Locked>> {
        for _ in 0..TRIES {
            if self.file.is_none() {
                if let Some(dir) = path.parent() {
                    disk.make_dir(dir, 0o700)?;
                }
                let file = disk.open(path, Open::Create(0o600))?;
                let id = file.stat()?.file;
                *self = Cache { file: Some((file, id)), ..Cache::default() };
            }
            let Some((file, id)) = self.file.clone() else { return Ok(None) };
            if !file.try_lock(Lock::Exclusive)? {
                return Ok(None);
            }
            let locked = Locked(file);
            self.look(disk, path)?;
            if self.file.as_ref().is_some_and(|(_, now)| *now == id) {
                return Ok(Some(locked));
            }
        }
        Ok(None)
    }

    /// Notes where these are; later ones replace earlier ones.
    fn enter(&mut self, slots: impl Iterator<Item = Slot>) {
        let mut ordered = true;
        for slot in slots {
            ordered &= self.slots.last().is_none_or(|last| last.uid < slot.uid);
            self.slots.push(slot);
            self.entries += 1;
        }
        if !ordered {
            // Stable: of one message the latest comes last, and that one stays.
            self.slots.sort_by_key(|slot| slot.uid);
            self.slots.dedup_by(|later, slot| {
                let same = later.uid == slot.uid;
                if same {
                    *slot = *later;
                }
                same
            });
        }
    }

    /// Reads directories from `end` up to the first that is none.
    fn take_frames(&mut self, file: &dyn File, size: u64) -> io::Result<()> {
        let mut block = Block::default();
        if self.end == 0 && size > 0 {
            if block.get(file, 0, MAGIC.len())? != Some(MAGIC) {
                return Ok(());
            }
            self.end = MAGIC.len() as u64;
        }
        while self.end < size {
            let Some((names, bytes)) = directory(file, &mut block, self.end, size)? else { return Ok(()) };
            let first = self.end + (FRAME_HEAD + NAME * names.len()) as u64;
            self.enter(slots(first, names.into_iter()));
            self.end = first + u64::from(bytes);
        }
        Ok(())
    }
}

/// What a frame has, and how many bytes; none if there is no whole frame.
#[allow(clippy::type_complexity)]
fn directory(file: &dyn File, block: &mut Block, at: u64, size: u64) -> io::Result<Option<(Vec<(u32, u32)>, u32)>> {
    let number = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        u32::from_le_bytes(bytes)
    };
    let Some(head) = block.get(file, at, FRAME_HEAD)?.filter(|head| head.starts_with(FRAME)) else { return Ok(None) };
    let (count, bytes, check) = (number(head, 4), number(head, 8), number(head, 12));
    let sum = crc32c::crc32c(head.get(..12).unwrap_or_default());
    let length = u64::from(count) * NAME as u64;
    let first = at + FRAME_HEAD as u64 + length;
    if first + u64::from(bytes) > size {
        return Ok(None);
    }
    let Some(directory) = block.get(file, at + FRAME_HEAD as u64, length as usize)? else { return Ok(None) };
    let names: Vec<(u32, u32)> = directory.chunks_exact(NAME).map(|name| (number(name, 0), number(name, 4))).collect();
    let fits = names.iter().map(|(_, length)| u64::from(*length)).sum::<u64>() == u64::from(bytes);
    Ok((fits && crc32c::crc32c_append(sum, directory) == check).then_some((names, bytes)))
}

/// A part of a file.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    at: u64,
}

impl Block {
    /// Where in [`Block::bytes`] these bytes of the file are; none if it ends before. If they have to be read, so many more
    /// are read ahead.
    pub fn read(&mut self, file: &dyn File, at: u64, length: usize, ahead: usize) -> io::Result<Option<Range<usize>>> {
        if let Some(range) = self.range(at, length) {
            return Ok(Some(range));
        }
        self.bytes.resize(length.max(ahead), 0);
        let read = file.read_at(&mut self.bytes, at);
        self.bytes.truncate(*read.as_ref().unwrap_or(&0));
        self.at = at;
        read.map(|_| self.range(at, length))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was read.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    fn range(&self, at: u64, length: usize) -> Option<Range<usize>> {
        let start = usize::try_from(at.checked_sub(self.at)?).ok()?;
        let end = start.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        Some(start..end)
    }

    /// These bytes of the file.
    fn get(&mut self, file: &dyn File, at: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let range = self.read(file, at, length, BLOCK)?;
        Ok(range.and_then(|range| self.bytes.get(range)))
    }
}
