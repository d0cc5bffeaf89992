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

mod file;
mod text;

pub use text::{broken_bytes, sum_of, text_of};

use crate::sys::{Disk, File, Open, Time};
use file::Known;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log is rewritten when it is bigger than this, and four times its sum.
const COMPACT_OVER: u64 = 64 << 10;

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
    /// What a log that was rewritten does not tell any more, and may have told before to who has not heard it.
    fn unsaid() -> Vec<Self::Fact> {
        Vec::new()
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
    /// When it was last changed: an inode may be given again, and a backup put back that is as long.
    pub ctime: i128,
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
    known: Known,
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
        let mut log = FactLog::new(disk, dir, name);
        match log.disk.stat(&log.path) {
            Ok(_) => log.reload()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(log)
    }

    /// As [`FactLog::open`], when the sum of a log of this extent, which was durable, is known. None: it is another one by now.
    pub fn resume(disk: Arc<dyn Disk>, dir: &Path, name: &str, extent: Extent, sum: S) -> io::Result<Option<FactLog<S>>> {
        let log = FactLog::new(disk, dir, name);
        let stat = log.disk.stat(&log.path)?;
        if (stat.file, stat.size, stat.ctime) != (extent.file, extent.size, extent.ctime) || !stat.is_regular() {
            return Ok(None);
        }
        let known = Known::until(&stat);
        Ok(Some(FactLog { known, least: extent.least, sum, ..log }))
    }

    fn new(disk: Arc<dyn Disk>, dir: &Path, name: &str) -> FactLog<S> {
        FactLog {
            disk,
            dir: dir.to_owned(),
            path: dir.join(name),
            file: None,
            held: false,
            known: Known::default(),
            foreign: Vec::new(),
            least: 0,
            sum: S::default(),
            waiting: String::new(),
            unsynced: false,
            name_unsynced: false,
        }
    }

    /// What [`FactLog::resume`] wants to know. All of the log is durable by then.
    pub fn extent(&mut self) -> io::Result<Extent> {
        self.sync()?;
        let Known { id, size, ctime, .. } = self.known;
        Ok(Extent { file: id.unwrap_or_default(), size, ctime, least: self.least })
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
    pub fn foreign(&self) -> &[S::Fact] {
        &self.foreign
    }

    /// The same; they are told by this.
    pub fn take_foreign(&mut self) -> Vec<S::Fact> {
        std::mem::take(&mut self.foreign)
    }

    /// Takes a fact up. It is durable after [`FactLog::sync`].
    pub fn put(&mut self, fact: S::Fact) {
        text::print::<S>(&fact, &mut self.waiting);
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

    /// Closes the file until it is needed again; rewrites a log that has grown too long.
    pub fn rest(&mut self, now: Time) -> io::Result<()> {
        self.flush()?;
        if self.known.size > (4 * self.least).max(COMPACT_OVER) {
            self.complete()?;
            self.sum.forget(now);
            self.least = text_of::<S>(&self.sum.facts()).len() as u64;
            if self.known.size > (4 * self.least).max(COMPACT_OVER) {
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
}

#[cfg(test)]
mod tests {
    use super::file::{PAUSE, TRIES};
    use super::text::{VERSION, parse, print};
    use super::*;
    use crate::sys::sim::SimDisk;
    use std::io::IoSlice;

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

    /// As it is where a log is rewritten twice: the second one has the inode of the one before the first.
    #[test]
    fn another_log_of_the_same_inode_is_taken_up_and_not_cut() {
        let disk = SimDisk::default();
        let mut one = open(disk.clone());
        (0..10).for_each(|_| one.put(1));
        one.flush().unwrap();
        for (facts, sum) in [(vec![100; 20], 2_000), (vec![20_000; 20], 400_000)] {
            let text = text_of::<Total>(&facts);
            let file = disk.open(Path::new("/s/u/log"), Open::Write).unwrap();
            file.set_len(0).unwrap();
            file.write_at(&[IoSlice::new(text.as_bytes())], 0).unwrap();
            one.put(3);
            one.flush().unwrap();
            assert_eq!((one.sum.0, open(disk.clone()).sum.0), (sum + 3, sum + 3));
        }
    }

    #[test]
    fn another_log_of_the_same_inode_and_size_is_read() {
        let disk = SimDisk::default();
        let mut log = open(disk.clone());
        log.put(5);
        let extent = log.extent().unwrap();
        let resumed =
            || FactLog::resume(Arc::new(disk.clone()), Path::new("/s/u"), "log", extent, Total(5)).unwrap().map(|log| log.sum);
        assert_eq!(resumed(), Some(Total(5)));
        let file = disk.open(Path::new("/s/u/log"), Open::Write).unwrap();
        file.write_at(&[IoSlice::new(text_of::<Total>(&[7]).as_bytes())], 0).unwrap();
        assert_eq!((file.stat().unwrap().size, resumed()), (extent.size, None));
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
