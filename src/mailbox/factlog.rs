//! A log of facts: a text file with a line for its version, then one line for each fact, each with the crc32c of the rest
//! of the line before it.
//!
//! A line of another version is `pillarbox-state N`, a blank, and the crc32c of these words; any other first line is damaged, and
//! counts as lost.
//!
//! It is appended to, synced before anything that depends on it is shown, and rewritten to its sum under another name now
//! and then. A line that is broken at the end was never depended on. If lines are broken before others that are whole, the
//! sum is told how many bytes were lost, and makes up for what they may have said.
//!
//! Another daemon may keep the same log, on a shared file system. Who writes holds a lock on the file, and takes in first what
//! the other wrote; who rewrote it has put another file in its place. Facts that hang on what the other wrote (the last word
//! counts, or the order does) are put while the log is held ([`FactLog::hold`]).
//!
//! If somebody takes the file away under a daemon, it is written anew from what is in memory.

use crate::sys::{Disk, File, Lock, Open, Time};
use std::fmt::{Debug, Write};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const VERSION: &str = "pillarbox-state 1\n";
const FAMILY: &str = "pillarbox-state ";
/// A log is rewritten when it is bigger than this, and four times its sum.
const COMPACT_OVER: u64 = 64 << 10;
/// Another daemon has the lock for the moment of a write: so often, after a pause each, it is tried again.
const TRIES: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(1);

/// What the facts of a log add up to.
pub trait Sum: Default + Debug {
    /// One fact: one line.
    type Fact: Clone + Debug;
    /// Adds a fact.
    fn take(&mut self, fact: Self::Fact);
    /// The facts that give this sum, in order.
    fn facts(&self) -> Vec<Self::Fact>;
    /// A fact in words, without a line's end.
    fn print(fact: &Self::Fact) -> String;
    /// The fact that [`Sum::print`] put into these words. None: they are not from us.
    fn parse(line: &str) -> Option<Self::Fact>;
    /// So many bytes of facts can't be read; after this, what they may have said does no harm.
    fn lost(&mut self, bytes: usize);
    /// The log is about to be rewritten: what is too old to matter may go.
    fn forget(&mut self, now: Time);
    /// Some facts are in the log only: it has to be read before it can be rewritten.
    fn is_partial(&self) -> bool {
        false
    }
    /// What another sum of the same log knows that was lost from this one. (Of a partial sum, which came from elsewhere.)
    fn lacks(&self, _known: &Self) -> Vec<Self::Fact> {
        Vec::new()
    }
}

/// Which log this is and how far it goes: for who keeps a sum elsewhere.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    pub file: (u64, u64),
    pub size: u64,
    /// Bytes that a rewritten log would have, when that was last known.
    pub least: u64,
}

/// An open log.
#[derive(Debug)]
pub struct FactLog<S: Sum> {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    file: Option<Arc<dyn File>>,
    /// It stays locked.
    held: bool,
    /// Which file it was when it was last looked at.
    id: Option<(u64, u64)>,
    size: u64,
    /// What another daemon wrote, and nobody asked for yet.
    foreign: Vec<S::Fact>,
    /// Bytes of the sum, when that was last known.
    least: u64,
    /// What it says. Change it through [`FactLog::put`] only.
    pub sum: S,
    /// Lines that are not in the file yet.
    waiting: String,
    /// Something is in the file that may not be durable; or the name is not.
    unsynced: bool,
    name_unsynced: bool,
}

impl<S: Sum> FactLog<S> {
    /// Reads a log; one that is not there is empty.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, name: &str) -> io::Result<FactLog<S>> {
        let path = dir.join(name);
        let mut log = FactLog {
            disk,
            dir: dir.to_owned(),
            path,
            file: None,
            held: false,
            id: None,
            size: 0,
            foreign: Vec::new(),
            least: 0,
            sum: S::default(),
            waiting: String::new(),
            unsynced: false,
            name_unsynced: false,
        };
        match log.disk.stat(&log.path) {
            Ok(_) => log.reload()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(log)
    }

    /// As [`FactLog::open`], when the sum of a log of this extent, which was durable, is known. None: it is another one by now.
    pub fn resume(disk: Arc<dyn Disk>, dir: &Path, name: &str, extent: Extent, sum: S) -> io::Result<Option<FactLog<S>>> {
        let path = dir.join(name);
        let stat = disk.stat(&path)?;
        if (stat.file, stat.size) != (extent.file, extent.size) || !stat.is_regular() {
            return Ok(None);
        }
        let Extent { size, least, .. } = extent;
        let log = FactLog {
            disk,
            dir: dir.to_owned(),
            path,
            file: None,
            held: false,
            id: Some(extent.file),
            size,
            foreign: Vec::new(),
            least,
            sum,
            waiting: String::new(),
            unsynced: false,
            name_unsynced: false,
        };
        Ok(Some(log))
    }

    /// What [`FactLog::resume`] wants to know. All of the log is durable by then.
    pub fn extent(&mut self) -> io::Result<Extent> {
        self.sync()?;
        Ok(Extent { file: self.id.unwrap_or_default(), size: self.size, least: self.least })
    }

    /// Reads the facts that are in the log only. What another daemon wrote since is still to be told ([`FactLog::take_foreign`]).
    pub fn complete(&mut self) -> io::Result<()> {
        if !self.sum.is_partial() {
            return Ok(());
        }
        self.flush()?;
        self.while_locked(|log, file| {
            let (unsynced, name_unsynced) = (log.unsynced, log.name_unsynced);
            let known = std::mem::take(&mut log.sum);
            if let Err(error) = log.load(file) {
                log.sum = known;
                return Err(error);
            }
            (log.unsynced, log.name_unsynced) = (unsynced, name_unsynced);
            log.sum.lacks(&known).into_iter().for_each(|fact| log.put(fact));
            Ok(())
        })?;
        self.flush()
    }

    /// When the file was last changed, or put there (POSIX `st_ctim`).
    pub fn changed(&self) -> io::Result<Time> {
        let nanos = self.disk.stat(&self.path)?.ctime;
        Ok(Time(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX)))
    }

    /// Takes in what another daemon wrote since; [`FactLog::take_foreign`] tells it.
    pub fn catch_up(&mut self) -> io::Result<()> {
        self.take_in(None)
    }

    /// The same; the file may be locked already.
    fn take_in(&mut self, locked: Option<&Arc<dyn File>>) -> io::Result<()> {
        let stat = match self.disk.stat(&self.path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if (Some(stat.file), stat.size) == (self.id, self.size) {
            return Ok(());
        }
        if Some(stat.file) != self.id || stat.size < self.size || self.size == 0 {
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
            self.foreign = self.sum.facts();
            return Ok(());
        }
        let file = self.disk.open(&self.path, Open::Read)?;
        let mut bytes = vec![0; usize::try_from(stat.size - self.size).map_err(|_| io::ErrorKind::FileTooLarge)?];
        let read = file.read_at(&mut bytes, self.size)?;
        let whole = memchr::memrchr(b'\n', bytes.get(..read).unwrap_or_default()).map_or(0, |end| end + 1);
        for line in bytes.get(..whole).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            // A line that can't be read is what a failed write left behind. It ends here: it is written over.
            let Some(fact) = fact::<S>(line) else { break };
            self.size += line.len() as u64;
            self.sum.take(fact.clone());
            self.foreign.push(fact);
            self.unsynced = true;
        }
        Ok(())
    }

    /// Is it held?
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// From here on nobody else writes to the log, until [`FactLog::release`]; what others wrote before is taken in.
    pub fn hold(&mut self) -> io::Result<()> {
        self.make()?;
        self.while_locked(|log, _| {
            log.held = true;
            Ok(())
        })
    }

    /// Writes what was put, and lets others write again.
    pub fn release(&mut self) -> io::Result<()> {
        let result = self.flush();
        if std::mem::take(&mut self.held) {
            let _ = self.file.as_ref().map(|file| file.unlock());
        }
        result
    }

    /// The facts that another daemon wrote, as far as they were taken in and not told yet.
    pub fn take_foreign(&mut self) -> Vec<S::Fact> {
        std::mem::take(&mut self.foreign)
    }

    /// Reads the whole log, while nobody writes to it.
    fn reload(&mut self) -> io::Result<()> {
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
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.id.is_some() => {
                    log::error!("event=state-gone path={}", self.path.display());
                    self.disk.make_dir(&self.dir, 0o700)?;
                    // What waits may be more than a partial sum has.
                    let waiting = self.waiting.clone();
                    self.replace()?;
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

    fn load(&mut self, file: &dyn File) -> io::Result<()> {
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
        self.size = parsed.end as u64;
        self.id = Some(file.stat()?.file);
        // What was read may not be durable, and neither its name.
        (self.unsynced, self.name_unsynced) = (true, true);
        if !whole {
            // Nothing is appended after a torn line.
            return self.replace();
        }
        Ok(())
    }

    /// Takes a fact up. It is durable after [`FactLog::sync`].
    pub fn put(&mut self, fact: S::Fact) {
        print::<S>(&fact, &mut self.waiting);
        self.sum.take(fact);
    }

    /// Hands what waits to the file, not durable yet.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.make()?;
        self.while_locked(|log, file| log.append(file))
    }

    fn make(&self) -> io::Result<()> {
        if self.id.is_none() {
            self.disk.make_dir(&self.dir, 0o700)?;
            self.disk.open(&self.path, Open::Create(0o600))?;
        }
        Ok(())
    }

    /// Locks the file, takes in what is new, and does something.
    fn while_locked(&mut self, act: impl Fn(&mut Self, &dyn File) -> io::Result<()>) -> io::Result<()> {
        loop {
            let file = self.lock()?;
            let id = file.stat()?.file;
            self.id = self.id.or(Some(id));
            let result = match self.take_in(Some(&file)) {
                // It was torn, and another file stands in its place by now, which nobody has locked.
                Ok(()) if self.id != Some(id) => None,
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
    fn append(&mut self, file: &dyn File) -> io::Result<()> {
        if self.size == 0 {
            file.set_len(0)?;
            file.write_at(&[IoSlice::new(VERSION.as_bytes())], 0)?;
            (self.size, self.name_unsynced) = (VERSION.len() as u64, true);
        }
        if file.stat()?.size > self.size {
            file.set_len(self.size)?;
        }
        // After an error the same is written again at the same place.
        file.write_at(&[IoSlice::new(self.waiting.as_bytes())], self.size)?;
        self.size += self.waiting.len() as u64;
        self.forget_waiting();
        self.unsynced = true;
        Ok(())
    }

    /// What waited was written. A first look at a big mailbox had some MiB to tell; nothing will be as long so soon.
    fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.waiting.shrink_to(COMPACT_OVER as usize);
    }

    /// Makes all that was put durable. After an error the whole log is written anew.
    pub fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        if self.unsynced {
            let file = match &self.file {
                Some(file) => file.clone(),
                None => self.disk.open(&self.path, Open::Write)?,
            };
            if let Err(error) = file.sync() {
                log::error!("event=sync-failed path={} error={error}", self.path.display());
                return self.rewrite();
            }
            self.unsynced = false;
        }
        if self.name_unsynced {
            self.sync_names()?;
        }
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir)?;
        if let Some(above) = self.dir.parent() {
            self.disk.sync_dir(above)?;
        }
        self.name_unsynced = false;
        Ok(())
    }

    /// Closes the file until it is needed again; rewrites a log that has grown too long.
    pub fn rest(&mut self, now: Time) -> io::Result<()> {
        self.flush()?;
        if self.size > (4 * self.least).max(COMPACT_OVER) {
            self.complete()?;
            self.sum.forget(now);
            self.least = text(&self.sum).len() as u64;
            if self.size > (4 * self.least).max(COMPACT_OVER) {
                self.rewrite()?;
            }
        }
        self.file = self.file.take().filter(|_| self.held);
        Ok(())
    }

    pub(super) fn rewrite(&mut self) -> io::Result<()> {
        self.complete()?;
        self.while_locked(|log, _| log.replace())
    }

    /// Puts another file in the place of the locked one.
    fn replace(&mut self) -> io::Result<()> {
        let text = text(&self.sum);
        let fresh = self.path.with_extension("new");
        let file = self.disk.open(&fresh, Open::Create(0o600))?;
        file.set_len(0)?;
        file.write_at(&[IoSlice::new(text.as_bytes())], 0)?;
        file.sync()?;
        if self.held && !file.try_lock(Lock::Exclusive)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.disk.rename(&fresh, &self.path)?;
        self.id = Some(file.stat()?.file);
        self.file = Some(file);
        (self.size, self.least) = (text.len() as u64, text.len() as u64);
        self.forget_waiting();
        self.unsynced = false;
        self.sync_names()
    }
}

fn text<S: Sum>(sum: &S) -> String {
    text_of::<S>(&sum.facts())
}

/// A log of these facts.
pub fn text_of<S: Sum>(facts: &[S::Fact]) -> String {
    let mut text = String::from(VERSION);
    facts.iter().for_each(|fact| print::<S>(fact, &mut text));
    text
}

fn print<S: Sum>(fact: &S::Fact, out: &mut String) {
    let line = S::print(fact);
    let _ = writeln!(out, "{:08x} {line}", crc32c::crc32c(line.as_bytes()));
}

/// The sum of a log; none if anything in it is broken.
pub fn sum_of<S: Sum>(text: &[u8]) -> Option<S> {
    let parsed = parse::<S>(text);
    (parsed.broken == 0 && parsed.end == text.len() && !text.is_empty()).then_some(parsed.sum)
}

struct Parsed<S> {
    sum: S,
    /// Bytes up to the last whole line.
    end: usize,
    /// Bytes of broken lines before whole ones, or of a broken version line.
    broken: usize,
}

fn parse<S: Sum>(bytes: &[u8]) -> Parsed<S> {
    let mut parsed = Parsed { sum: S::default(), end: 0, broken: 0 };
    let (mut at, mut bad) = (0, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        let fact = fact::<S>(line);
        if fact.is_none() && !(at == line.len() && line == VERSION.as_bytes()) {
            bad += line.len();
            continue;
        }
        parsed.broken += std::mem::take(&mut bad);
        parsed.end = at;
        fact.into_iter().for_each(|fact| parsed.sum.take(fact));
    }
    if parsed.broken > 0 {
        parsed.sum.lost(parsed.broken);
    }
    parsed
}

/// Bytes of broken lines before whole ones, and of broken ones at the end.
pub fn broken_bytes<S: Sum>(bytes: &[u8]) -> (usize, usize) {
    let parsed = parse::<S>(bytes);
    (parsed.broken, bytes.len() - parsed.end)
}

/// Does a log begin as one of a later version says it does?
fn is_of_another_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
    let Some((words, check)) = line.and_then(|line| line.rsplit_once(' ')) else { return false };
    let number = words.strip_prefix(FAMILY).and_then(|number| number.parse::<u32>().ok());
    number.is_some() && u32::from_str_radix(check, 16) == Ok(crc32c::crc32c(words.as_bytes()))
}

fn fact<S: Sum>(line: &[u8]) -> Option<S::Fact> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (check, line) = (line.get(..8)?, line.get(8..)?.strip_prefix(' ')?);
    if u32::from_str_radix(check, 16).ok()? != crc32c::crc32c(line.as_bytes()) {
        return None;
    }
    S::parse(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sim::SimDisk;

    /// Facts are numbers, and lost ones count as a hundred each.
    #[derive(Debug, Default, PartialEq)]
    struct Total(u64);

    impl Sum for Total {
        type Fact = u64;
        fn take(&mut self, fact: u64) {
            self.0 += fact;
        }
        fn facts(&self) -> Vec<u64> {
            vec![self.0]
        }
        fn print(fact: &u64) -> String {
            format!("add {fact}")
        }
        fn parse(line: &str) -> Option<u64> {
            line.strip_prefix("add ")?.parse().ok()
        }
        fn lost(&mut self, _bytes: usize) {
            self.0 += 100;
        }
        fn forget(&mut self, _now: Time) {}
    }

    fn open(disk: SimDisk) -> FactLog<Total> {
        FactLog::open(Arc::new(disk), Path::new("/s/u"), "log").unwrap()
    }

    #[test]
    fn a_torn_end_is_forgotten_and_a_hole_is_told() {
        let mut text = String::from(VERSION);
        print::<Total>(&5, &mut text);
        let first = text.len();
        print::<Total>(&6, &mut text);
        let torn = parse::<Total>(&text.as_bytes()[..text.len() - 3]);
        assert_eq!((torn.sum.0, torn.end, torn.broken), (5, first, 0));
        let mut bytes = text.into_bytes();
        bytes[first - 5] = 0;
        let holed = parse::<Total>(&bytes);
        assert_eq!((holed.sum.0, holed.end), (106, bytes.len()));
        assert_eq!(holed.broken, first - VERSION.len());
    }

    #[test]
    fn another_version_is_refused_and_a_damaged_one_is_mended() {
        let with = |first: &str| {
            let disk = SimDisk::default();
            let mut text = format!("{first}\n");
            print::<Total>(&5, &mut text);
            disk.make_dir(Path::new("/s/u"), 0o700).unwrap();
            let file = disk.open(Path::new("/s/u/log"), Open::Create(0o600)).unwrap();
            file.write_at(&[IoSlice::new(text.as_bytes())], 0).unwrap();
            FactLog::<Total>::open(Arc::new(disk), Path::new("/s/u"), "log").map(|log| log.sum)
        };
        let later = format!("pillarbox-state 2 {:08x}", crc32c::crc32c(b"pillarbox-state 2"));
        assert_eq!(with(&later).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(with("pillarbox-state 1").unwrap(), Total(5));
        for damaged in ["pillarbox-state 2", "pillarbox-state 3 00000000", "qillarbox-state 1", ""] {
            assert_eq!(with(damaged).unwrap(), Total(105), "{damaged}");
        }
    }

    #[test]
    fn a_log_that_another_daemon_rewrote_is_taken_up_at_once() {
        for torn in [false, true] {
            let disk = SimDisk::default();
            let mut one = open(disk.clone());
            one.put(1);
            one.flush().unwrap();
            let mut two = open(disk.clone());
            one.put(2);
            one.rewrite().unwrap();
            if torn {
                let file = disk.open(Path::new("/s/u/log"), Open::Write).unwrap();
                file.write_at(&[IoSlice::new(b"0123")], file.stat().unwrap().size).unwrap();
            }
            two.put(5);
            let begun = std::time::Instant::now();
            two.flush().unwrap();
            assert!(begun.elapsed() < PAUSE * TRIES as u32 / 2, "it waited for itself");
            one.put(7);
            two.rewrite().unwrap();
            one.flush().unwrap();
            assert_eq!((one.sum.0, open(disk).sum.0), (15, 15), "torn: {torn}");
        }
    }

    #[test]
    fn what_is_synced_is_there_after_a_power_cut_and_a_failed_sync() {
        let disk = SimDisk::default();
        let mut log = open(disk.clone());
        log.put(1_000);
        log.sync().unwrap();
        log.put(2_000);
        disk.fail_at(disk.operations() + 2, io::ErrorKind::Other);
        log.sync().unwrap();
        assert!((0..20).all(|seed| open(disk.after_power_cut(seed)).sum == Total(3_000)));
    }

    #[test]
    fn a_long_log_is_rewritten_to_its_sum() {
        let disk = SimDisk::default();
        let mut log = open(disk.clone());
        let facts = COMPACT_OVER / 10;
        (0..facts).for_each(|_| log.put(1));
        log.rest(Time(0)).unwrap();
        assert!(disk.stat(Path::new("/s/u/log")).unwrap().size < 100);
        log.put(1);
        log.sync().unwrap();
        assert_eq!(open(disk.after_power_cut(1)).sum, Total(facts + 1));
    }
}
