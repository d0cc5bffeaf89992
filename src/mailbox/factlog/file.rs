//! The file of a log: how it is locked, read, appended to, and put in the place of another.

use super::text::{VERSION, fact, is_of_another_version, parse, text_of};
use super::{COMPACT_OVER, FactLog, Sum};
use crate::mailbox::fresh;
use crate::sys::{File, Lock, Open, Stat};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Another daemon has the lock for the moment of a write: so often, after a pause each, it is tried again.
pub(super) const TRIES: usize = 2_000;
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// How far a log is known.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Known {
    /// Which file it was when it was last looked at. An inode may be given again at once: two logs can have the same.
    pub id: Option<(u64, u64)>,
    /// Bytes of whole lines.
    pub size: u64,
    pub ctime: i128,
    /// Bytes and checksum of the last of these lines.
    last: Option<(usize, u32)>,
}

impl Known {
    /// All of this file, but what is in it.
    pub fn until(stat: &Stat) -> Known {
        Known { id: Some(stat.file), size: stat.size, ctime: stat.ctime, last: None }
    }

    /// These lines follow.
    fn add(&mut self, lines: &[u8]) {
        self.size += lines.len() as u64;
        let last = lines.split_inclusive(|byte| *byte == b'\n').next_back();
        self.last = last.map(|line| (line.len(), crc32c::crc32c(line))).or(self.last);
    }
}

impl<S: Sum> FactLog<S> {
    /// The same; the file may be locked already.
    pub(super) fn take_in(&mut self, locked: Option<&Arc<dyn File>>) -> io::Result<()> {
        let stat = match self.disk.stat(&self.path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let Known { id, size, ctime, .. } = self.known;
        if (Some(stat.file), stat.size, stat.ctime) == (id, size, ctime) {
            return Ok(());
        }
        let Some(news) = self.read_on(&stat)? else {
            let waiting = std::mem::take(&mut self.waiting);
            let loaded = match locked {
                Some(file) => self.load(&**file),
                None => self.reload(),
            };
            if let Err(error) = loaded {
                self.waiting = waiting;
                return Err(error);
            }
            for fact in waiting.split_inclusive('\n').filter_map(|line| fact::<S>(line.as_bytes())) {
                self.put(fact);
            }
            self.foreign = S::unsaid();
            self.foreign.extend(self.sum.facts());
            return Ok(());
        };
        self.known.ctime = stat.ctime;
        for line in news.split_inclusive(|byte| *byte == b'\n') {
            // A line that can't be read is what a failed write left behind. It ends here: it is written over.
            let Some(fact) = fact::<S>(line) else { break };
            self.known.add(line);
            self.sum.take(fact.clone());
            self.foreign.push(fact);
            self.unsynced = true;
        }
        Ok(())
    }

    /// What follows what is known. None: this is another log.
    fn read_on(&self, stat: &Stat) -> io::Result<Option<Vec<u8>>> {
        let Known { id, size, last, .. } = self.known;
        if Some(stat.file) != id || stat.size < size {
            return Ok(None);
        }
        let Some((length, check)) = last else { return Ok((stat.size == size).then(Vec::new)) };
        let from = size - length as u64;
        let mut bytes = vec![0; usize::try_from(stat.size - from).map_err(|_| io::ErrorKind::FileTooLarge)?];
        let read = self.disk.open(&self.path, Open::Read)?.read_at(&mut bytes, from)?;
        bytes.truncate(read);
        let news = bytes.split_off(length.min(read));
        Ok((bytes.len() == length && crc32c::crc32c(&bytes) == check).then_some(news))
    }

    /// Reads the whole log, while nobody writes to it.
    pub(super) fn reload(&mut self) -> io::Result<()> {
        self.file = self.file.take().filter(|_| self.held);
        let file = self.lock()?;
        let result = self.load(&*file);
        self.unlock(&*file);
        result
    }

    fn unlock(&self, file: &dyn File) {
        if !self.held {
            let _ = file.unlock();
        }
    }

    /// Opens the file, if it is not open, and locks it. The path means this file as long as it is locked.
    fn lock(&mut self) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.file.as_ref().filter(|_| self.held) {
            return Ok(file.clone());
        }
        for _ in 0..TRIES {
            match self.try_to_lock() {
                Ok(Some(file)) => return Ok(file),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.known.id.is_some() => {
                    log::error!("event=state-gone path={}", self.path.display());
                    self.disk.make_dir(&self.dir, 0o700)?;
                    // What waits may be more than a partial sum has.
                    let waiting = self.waiting.clone();
                    match self.replace() {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                        replaced => replaced?,
                    }
                    self.waiting = waiting;
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn try_to_lock(&mut self) -> io::Result<Option<Arc<dyn File>>> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.disk.open(&self.path, Open::Write)?,
        };
        if !file.try_lock(Lock::Exclusive)? {
            thread::sleep(PAUSE);
            return Ok(None);
        }
        let is_at_path = self.disk.stat(&self.path)?.file == file.stat()?.file;
        self.file = Some(file).filter(|_| is_at_path);
        Ok(self.file.clone())
    }

    pub(super) fn load(&mut self, file: &dyn File) -> io::Result<()> {
        let size = usize::try_from(file.stat()?.size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; size];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        if is_of_another_version(&bytes) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: of another version", self.path.display())));
        }
        let parsed = parse::<S>(&bytes);
        if parsed.broken > 0 {
            log::warn!("event=state-mended path={} bytes={}", self.path.display(), parsed.broken);
        }
        let whole = parsed.broken == 0 && parsed.end == bytes.len();
        self.sum = parsed.sum;
        let stat = file.stat()?;
        self.known = Known { id: Some(stat.file), ctime: stat.ctime, ..Known::default() };
        self.known.add(bytes.get(..parsed.end).unwrap_or_default());
        // What was read may not be durable, and neither its name.
        (self.unsynced, self.name_unsynced) = (true, true);
        if !whole {
            // Nothing is appended after a torn line.
            return self.replace();
        }
        Ok(())
    }

    pub(super) fn make(&self) -> io::Result<()> {
        if self.known.id.is_none() {
            self.disk.make_dir(&self.dir, 0o700)?;
            self.disk.open(&self.path, Open::Create(0o600))?;
        }
        Ok(())
    }

    /// Locks the file, takes in what is new, and does something.
    pub(super) fn while_locked(&mut self, act: impl Fn(&mut Self, &dyn File) -> io::Result<()>) -> io::Result<()> {
        loop {
            let file = self.lock()?;
            let id = file.stat()?.file;
            self.known.id = self.known.id.or(Some(id));
            let result = match self.take_in(Some(&file)) {
                // It was torn, and another file stands in its place by now, which nobody has locked.
                Ok(()) if self.known.id != Some(id) => None,
                Ok(()) => Some(act(self, &*file)),
                Err(error) => Some(Err(error)),
            };
            self.unlock(&*file);
            if let Some(result) = result {
                return result;
            }
        }
    }

    /// Writes what waits to the locked file.
    pub(super) fn append(&mut self, file: &dyn File) -> io::Result<()> {
        if self.known.size == 0 {
            file.set_len(0)?;
            file.write_at(&[IoSlice::new(VERSION.as_bytes())], 0)?;
            self.known.add(VERSION.as_bytes());
            self.name_unsynced = true;
        }
        if file.stat()?.size > self.known.size {
            file.set_len(self.known.size)?;
        }
        // After an error the same is written again at the same place.
        file.write_at(&[IoSlice::new(self.waiting.as_bytes())], self.known.size)?;
        self.known.add(self.waiting.as_bytes());
        self.known.ctime = file.stat()?.ctime;
        self.forget_waiting();
        self.unsynced = true;
        Ok(())
    }

    /// What waited was written. A first look at a big mailbox had some MiB to tell; nothing will be as long so soon.
    fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.waiting.shrink_to(COMPACT_OVER as usize);
    }

    pub(super) fn sync_names(&mut self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir)?;
        if let Some(above) = self.dir.parent() {
            self.disk.sync_dir(above)?;
        }
        self.name_unsynced = false;
        Ok(())
    }

    /// Puts another file in the place of the locked one, or where there is none.
    pub(super) fn replace(&mut self) -> io::Result<()> {
        let text = text_of::<S>(&self.sum.facts());
        let Some((file, name)) = fresh::begin(&*self.disk, &self.path)? else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        file.write_at(&[IoSlice::new(text.as_bytes())], 0)?;
        file.sync()?;
        self.disk.rename(&name, &self.path)?;
        let stat = file.stat()?;
        self.known = Known { id: Some(stat.file), ctime: stat.ctime, ..Known::default() };
        self.known.add(text.as_bytes());
        self.unlock(&*file);
        self.file = Some(file);
        self.least = text.len() as u64;
        self.forget_waiting();
        self.unsynced = false;
        self.sync_names()
    }
}
