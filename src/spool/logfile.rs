//! An outcome log on disk. It is made longer in steps, with zeros, so that a line goes where there already are blocks.
//!
//! What was written since the last good sync stays in memory: after a failed write or sync it is written again at the same
//! place, since nobody knows what of it the disk has.

use super::log::{self, Item};
use crate::sys::{Disk, File, Open};
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

/// By how much a log grows at least.
const STEP: u64 = 64 << 10;
pub(super) const ZEROS: &[u8] = &[0; 64 << 10];

#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    pub generation: u64,
    /// Open while it is in use.
    file: Option<Arc<dyn File>>,
    /// It must be made anew: there is none, or one of an earlier generation.
    fresh: bool,
    /// Its name may not be durable.
    new_name: bool,
    /// Everything before is durable.
    synced: u64,
    /// What comes behind that, …
    unsynced: Vec<u8>,
    /// … of which so much was written.
    written: usize,
    /// Where the zeros end.
    room: u64,
}

impl LogFile {
    /// A log that is to be made.
    pub fn fresh(path: PathBuf, generation: u64) -> LogFile {
        let unsynced = log::head(generation);
        LogFile { path, generation, file: None, fresh: true, new_name: true, synced: 0, unsynced, written: 0, room: 0 }
    }

    /// A log that is there, with lines up to `end` and zeros up to `size`.
    pub fn found(path: PathBuf, generation: u64, end: u64, ragged: bool, size: u64) -> LogFile {
        let unsynced = if ragged { b"\n".to_vec() } else { Vec::new() };
        LogFile { path, generation, file: None, fresh: false, new_name: false, synced: end, unsynced, written: 0, room: size }
    }

    /// Where the next line goes.
    pub fn end(&self) -> u64 {
        self.synced + self.unsynced.len() as u64
    }

    /// Is there something that may not be durable?
    pub fn is_dirty(&self) -> bool {
        !self.unsynced.is_empty() || self.new_name
    }

    pub fn push(&mut self, lines: &[u8]) {
        self.unsynced.extend_from_slice(lines);
    }

    pub fn void(&mut self, offset: u64) {
        Item::Void(offset).put(self.generation, &mut self.unsynced);
    }

    /// Sees to it that so many more bytes fit, now and when the disk is full.
    pub fn make_room(&mut self, disk: &dyn Disk, bytes: u64) -> io::Result<()> {
        let wanted = self.end() + bytes + log::VOID_LINE;
        if wanted <= self.room {
            return Ok(());
        }
        let file = self.file(disk)?;
        let step = wanted.next_multiple_of(STEP);
        if fill(&*file, self.room, step).is_ok() {
            self.room = step;
        } else {
            fill(&*file, self.room, wanted)?;
            self.room = wanted;
        }
        Ok(())
    }

    /// Writes what was pushed.
    pub fn flush(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let rest = self.unsynced.get(self.written..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        let at = self.synced + self.written as u64;
        let file = self.file(disk)?;
        let result = file.write_at(&[IoSlice::new(self.unsynced.get(self.written..).unwrap_or_default())], at);
        match &result {
            Ok(()) => {
                self.written = self.unsynced.len();
                self.room = self.room.max(self.end());
            }
            Err(_) => self.written = 0,
        }
        result
    }

    /// Makes all that was pushed durable.
    pub fn sync(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if !self.is_dirty() {
            return Ok(());
        }
        self.flush(disk)?;
        let synced = self.file(disk)?.sync().and_then(|()| match self.path.parent().filter(|_| self.new_name) {
            Some(dir) => disk.sync_dir(dir),
            None => Ok(()),
        });
        if synced.is_err() {
            self.written = 0;
            return synced;
        }
        self.new_name = false;
        self.synced = self.end();
        self.unsynced = Vec::new();
        self.written = 0;
        Ok(())
    }

    /// A log that is to take the place of this one, empty so far, under another name.
    pub fn successor(&self) -> LogFile {
        let path = self.path.with_extension("log.new");
        LogFile { new_name: false, ..LogFile::fresh(path, self.generation) }
    }

    /// Everything here is durable: the successor gets what was written from `from` on, room for `reserved` bytes, and the name,
    /// in one act.
    pub fn give_way(&mut self, disk: &dyn Disk, mut new: LogFile, from: u64, reserved: u64) -> io::Result<()> {
        let mut prepare = || {
            let length = self.end().saturating_sub(from);
            let mut late = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?];
            self.file(disk)?.read_exact_at(&mut late, from)?;
            new.push(&late);
            new.make_room(disk, reserved)?;
            new.sync(disk)?;
            disk.rename(&new.path, &self.path)
        };
        if let Err(error) = prepare() {
            new.discard(disk);
            return Err(error);
        }
        // From here on this is the log. While its name is not durable, no sync of it counts.
        *self = LogFile { path: std::mem::take(&mut self.path), new_name: true, ..new };
        self.sync(disk)
    }

    /// Removes one that did not become the log.
    pub fn discard(&self, disk: &dyn Disk) {
        let _ = disk.remove(&self.path);
    }

    /// Closes the file; it is opened again when it is needed.
    pub fn rest(&mut self) {
        if !self.is_dirty() {
            self.file = None;
        }
    }

    fn file(&mut self, disk: &dyn Disk) -> io::Result<Arc<dyn File>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let file = disk.open(&self.path, if self.fresh { Open::Create(0o600) } else { Open::Write })?;
        if self.fresh {
            file.set_len(0)?;
            self.fresh = false;
        }
        Ok(self.file.insert(file).clone())
    }
}

/// Writes zeros from `from` to `to`.
pub(super) fn fill(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let left = usize::try_from(to - at).unwrap_or(usize::MAX).min(16 * ZEROS.len());
        let (whole, rest) = (left / ZEROS.len(), left % ZEROS.len());
        let mut parts = vec![IoSlice::new(ZEROS); whole];
        parts.push(IoSlice::new(ZEROS.get(..rest).unwrap_or_default()));
        file.write_at(&parts, at)?;
        at += left as u64;
    }
    Ok(())
}
