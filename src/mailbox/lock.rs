//! Locks between programs: an OFD lock on the file and a dotlock beside it. Others take them in either order, so both are
//! tried without waiting; if one fails, both are given back and tried again a little later.
//!
//! A dotlock is a second name of one file of this daemon's in the same directory, `.lock-HOST-MARK`: a name is made and taken
//! away much faster than a file, and on a shared file system `link` is the one that cannot succeed twice (open(2), O_EXCL).
//!
//! A dotlock holds `pid:host:mark`. One with our mark is from an earlier life of this daemon (the mark is made of the name of
//! its journal, and the journal's lock keeps a second one away) and is removed at once; any other when it is older than five
//! minutes and its process is gone from this host, or, where it names no process (procmail), after twenty. Where a power cut
//! took the text, or a part of it, it is ours if it is another name of the file of our earlier life.
//!
//! Beside these locks, for the moment of a write, there is c-client's for a whole session ([`is_remembered`]): meanwhile mail is
//! appended and nothing else is written. What is to be removed and what was flagged is known from the state log, and reaches
//! the file afterwards.

use super::MailboxError;
use crate::host::Host;
use crate::host::asuser::SESSION_LOCKS;
use crate::sys::{Clock, Disk, File, Lock, Open, Stat};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const STALE: Duration = Duration::from_secs(5 * 60);
const STALE_UNNAMED: Duration = Duration::from_secs(20 * 60);
const LONGEST_PAUSE: Duration = Duration::from_millis(40);

/// Others take a dotlock for left over by its age: the original is not allowed to grow older than this.
const FRESH: Duration = Duration::from_secs(60);

/// So many originals are kept open; there may be one in every directory of every user.
const MOST_ORIGINALS: usize = 256;

/// A file whose names are our dotlocks in its directory.
#[derive(Debug)]
struct Original {
    file: Arc<dyn File>,
    /// When it was last written, by the clock's `elapsed`.
    written: Duration,
    /// What an earlier life had left in its place.
    earlier: Option<Stat>,
}

/// Who we are, in dotlocks.
#[derive(Debug)]
pub struct Locker {
    host: String,
    mark: u64,
    text: Vec<u8>,
    /// Opens what we may not.
    broker: Option<Arc<dyn Host>>,
    /// By the path of each.
    originals: Mutex<HashMap<PathBuf, Original>>,
}

/// A locked mailbox file. Dropping it gives the locks back.
#[derive(Debug)]
pub struct Guard<'a> {
    disk: &'a dyn Disk,
    /// The file.
    pub file: Arc<dyn File>,
    dotlock: Option<PathBuf>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(path) = &self.dotlock {
            if let Err(error) = self.disk.remove(path) {
                log::warn!("event=dotlock-left path={} error={error}", path.display());
            }
        }
        let _ = self.file.unlock();
    }
}

/// The name of a mailbox's dotlock.
pub fn dotlock(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}

/// Has a program of c-client's (alpine, UW's servers) a session on this file? It locks `/tmp/.DEVICE.INODE` by `flock` as long
/// as that lasts, remembers where every message and the end of every header stands, and writes the mailbox anew by that: if it
/// comes upon anything but more mail, it stops with half of it written. One made by anybody but the mailbox's owner says nothing.
pub fn is_remembered(disk: &dyn Disk, host: &dyn Host, mailbox: &Stat) -> bool {
    let (device, inode) = mailbox.file;
    let path = Path::new(SESSION_LOCKS).join(format!(".{device:x}.{inode:x}"));
    // Mostly there is none, which need not be asked for elsewhere.
    let is_there = disk.stat(&path).is_ok_and(|stat| stat.uid == mailbox.uid);
    let open = || host.open_dotlock(&path, Open::Read)?.map_or_else(|| disk.open(&path, Open::Read), Ok);
    let Some(session) = is_there.then(open).and_then(Result::ok) else { return false };
    session.stat().is_ok_and(|stat| stat.is_regular() && stat.uid == mailbox.uid) && session.is_flocked().unwrap_or(false)
}

/// How long to go on trying.
#[derive(Debug)]
pub struct Patience<'a> {
    clock: &'a dyn Clock,
    until: Duration,
    pause: Duration,
}

impl<'a> Patience<'a> {
    /// For so long from now on.
    pub fn new(clock: &'a dyn Clock, span: Duration) -> Patience<'a> {
        Patience { clock, until: clock.elapsed() + span, pause: Duration::from_millis(1) }
    }

    /// Waits a little, longer each time, never as long as another does; [`MailboxError::Busy`] when it is enough.
    pub fn wait(&mut self) -> Result<(), MailboxError> {
        let left = self.until.saturating_sub(self.clock.elapsed());
        if left.is_zero() {
            return Err(MailboxError::Busy);
        }
        let mut random = [0; 1];
        let _ = getrandom::fill(&mut random);
        let [jitter] = random;
        let pause = self.pause * (128 + u32::from(jitter)) / 256;
        let _ = self.clock.after(pause.min(left)).recv();
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

impl Locker {
    /// `mark` is this daemon's own, in every life of it.
    pub fn new(mark: u64) -> Locker {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        let text = format!("{}:{host}:{mark:016x}\n", std::process::id()).into_bytes();
        Locker { host, mark, text, broker: None, originals: Mutex::default() }
    }

    /// Where this process opens no file, the host opens dotlocks.
    pub fn with_broker(self, broker: Arc<dyn Host>) -> Locker {
        Locker { broker: Some(broker), ..self }
    }

    fn open(&self, disk: &dyn Disk, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        match self.broker.as_ref().map(|broker| broker.open_dotlock(path, how)).transpose()?.flatten() {
            Some(file) => Ok(file),
            None => disk.open(path, how),
        }
    }

    /// Tries once to lock for writing. None: another program has the mailbox.
    pub fn try_write<'a>(
        &self,
        disk: &'a dyn Disk,
        clock: &dyn Clock,
        file: Arc<dyn File>,
        dotlock: &Path,
    ) -> Result<Option<Guard<'a>>, MailboxError> {
        if !file.try_lock(Lock::Exclusive)? {
            return Ok(None);
        }
        let mut guard = Guard { disk, file, dotlock: None };
        let made = match self.make(disk, clock, dotlock) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !self.remove_stale(disk, clock, dotlock) {
                    return Ok(None);
                }
                self.make(disk, clock, dotlock)
            }
            other => other,
        };
        match made {
            Ok(()) => guard.dotlock = Some(dotlock.to_owned()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            // Who can't write there has only the lock on the file, and so have all others of our rights.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                log::warn!("event=no-dotlock path={} error={error}", dotlock.display());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Some(guard))
    }

    /// The file whose names are the dotlocks in this one's directory.
    pub fn original(&self, beside: &Path) -> PathBuf {
        beside.with_file_name(format!(".lock-{}-{:016x}", self.host, self.mark))
    }

    /// Takes it away, where nobody will need it soon.
    pub fn forget(&self, disk: &dyn Disk, original: &Path) {
        lock(&self.originals).remove(original);
        let _ = disk.remove(original);
    }

    /// Gives the original the name of this dotlock.
    fn make(&self, disk: &dyn Disk, clock: &dyn Clock, dotlock: &Path) -> io::Result<()> {
        let original = self.original(dotlock);
        self.refresh(disk, clock, &original)?;
        match disk.link(&original, dotlock) {
            // Somebody tidied up.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                lock(&self.originals).remove(&original);
                self.refresh(disk, clock, &original)?;
                disk.link(&original, dotlock)
            }
            other => other,
        }
    }

    /// Makes the original, or touches it if that was not done of late. What lies at its path is never written to: it may be
    /// another name of somebody's mailbox.
    fn refresh(&self, disk: &dyn Disk, clock: &dyn Clock, original: &Path) -> io::Result<()> {
        let mut originals = lock(&self.originals);
        let now = clock.elapsed();
        if let Some(Original { file, written, .. }) = originals.get_mut(original) {
            if now.saturating_sub(*written) > FRESH {
                file.write_at(&[IoSlice::new(&self.text)], 0)?;
                *written = now;
            }
            return Ok(());
        }
        let earlier = disk.stat(original).ok();
        match disk.remove(original) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.open(disk, original, Open::CreateNew(0o644))?;
        file.write_at(&[IoSlice::new(&self.text)], 0)?;
        if originals.len() >= MOST_ORIGINALS {
            // Its names stay what they are; the next dotlock there is one of a new file.
            let oldest = originals.iter().min_by_key(|(_, original)| original.written).map(|(path, _)| path.clone());
            oldest.and_then(|path| originals.remove(&path));
        }
        originals.insert(original.to_owned(), Original { file, written: now, earlier });
        Ok(())
    }

    /// Removes a dotlock that nobody holds any more. False: it is held.
    pub fn remove_stale(&self, disk: &dyn Disk, clock: &dyn Clock, path: &Path) -> bool {
        let Ok(file) = self.open(disk, path, Open::Read) else { return false };
        let Ok(stat) = file.stat() else { return false };
        let mut text = [0; 128];
        let read = file.read_at(&mut text, 0).unwrap_or(0);
        let text = text.get(..read).unwrap_or_default();
        let age = Duration::from_nanos((i128::from(clock.now().0) * 1000 - stat.mtime).clamp(0, i128::from(u64::MAX)) as u64);
        // A power cut may leave some of it.
        let torn = text.is_empty() || text.contains(&0);
        let text = if torn { b"" } else { text };
        if !(self.is_stale(text, age) || (torn && self.had_name(path, &stat))) {
            return false;
        }
        // Has another taken it meanwhile?
        if disk.stat(path).is_ok_and(|now| now.file == stat.file) {
            log::warn!("event=stale-dotlock path={} age={}", path.display(), age.as_secs());
            return disk.remove(path).is_ok();
        }
        false
    }

    /// Is this dotlock a name of the file that our earlier life had for them? (Its inode may be another's by now.)
    fn had_name(&self, path: &Path, stat: &Stat) -> bool {
        let originals = lock(&self.originals);
        let earlier = originals.get(&self.original(path)).and_then(|original| original.earlier);
        earlier.is_some_and(|earlier| (earlier.file, earlier.mtime, earlier.size) == (stat.file, stat.mtime, stat.size))
    }

    fn is_stale(&self, text: &[u8], age: Duration) -> bool {
        let text = String::from_utf8_lossy(text);
        let mut parts = text.trim().split(':');
        let pid = parts.next().and_then(|pid| pid.trim().parse::<i32>().ok()).filter(|pid| *pid > 0);
        let host = parts.next();
        let here = host.is_none_or(|host| host == self.host);
        let ours = parts.next().is_some_and(|mark| mark == format!("{:016x}", self.mark));
        match pid {
            _ if ours && here => true,
            Some(pid) => here && age > STALE && kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH),
            None => age > STALE_UNNAMED,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::manual::ManualClock;

    #[test]
    fn few_files_are_kept_open_for_many_directories() {
        let (disk, clock) = (crate::sys::sim::SimDisk::default(), crate::sys::SystemClock::default());
        let locker = Locker::new(7);
        for n in 0..2 * MOST_ORIGINALS {
            let path = PathBuf::from(format!("/{n}/box"));
            disk.make_dir(path.parent().unwrap(), 0o700).unwrap();
            let file = disk.open(&path, Open::Create(0o600)).unwrap();
            let guard = locker.try_write(&disk, &clock, file, &dotlock(&path)).unwrap().unwrap();
            assert!(disk.stat(&dotlock(&path)).is_ok());
            drop(guard);
            assert!(disk.stat(&dotlock(&path)).is_err());
        }
        assert_eq!(lock(&locker.originals).len(), MOST_ORIGINALS);
        let again = disk.open(Path::new("/0/box"), Open::Write).unwrap();
        assert!(locker.try_write(&disk, &clock, again, Path::new("/0/box.lock")).unwrap().is_some());
    }

    #[test]
    fn our_dotlock_is_known_when_a_power_cut_took_its_text() {
        let (disk, clock) = (crate::sys::sim::SimDisk::default(), ManualClock::at(crate::sys::Time::default()));
        let dir = Path::new("/mail");
        disk.make_dir(dir, 0o700).unwrap();
        let boxes = ["/mail/a", "/mail/b"].map(Path::new);
        let open = |disk: &dyn Disk, path: &Path| disk.open(path, Open::Create(0o600)).unwrap();
        let locker = Locker::new(7);
        let _held = boxes.map(|path| locker.try_write(&disk, &clock, open(&disk, path), &dotlock(path)).unwrap().unwrap());
        disk.sync_dir(dir).unwrap();
        // The names are durable, and the text is not.
        let cut = (0..100).map(|seed| disk.after_power_cut(seed)).find(|cut| {
            let size = cut.stat(&dotlock(boxes[0])).map(|stat| stat.size);
            size.is_ok_and(|size| size == 0)
        });
        let cut = cut.unwrap();
        // Or a part of it is. (We are alive.)
        let part = cut.after_kill();
        let text = format!("{}:\0\0", std::process::id());
        part.open(&dotlock(boxes[0]), Open::Write).unwrap().write_at(&[IoSlice::new(text.as_bytes())], 0).unwrap();
        let first = open(&part, boxes[0]);
        assert!(Locker::new(7).try_write(&part, &clock, first, &dotlock(boxes[0])).unwrap().is_some());
        // Another program's, just as empty.
        cut.open(Path::new("/mail/c.lock"), Open::CreateNew(0o600)).unwrap();
        let locker = Locker::new(7);
        for path in boxes {
            assert!(locker.try_write(&cut, &clock, open(&cut, path), &dotlock(path)).unwrap().is_some(), "{path:?}");
        }
        let other = Path::new("/mail/c");
        assert!(locker.try_write(&cut, &clock, open(&cut, other), &dotlock(other)).unwrap().is_none());
    }

    #[test]
    fn a_dotlock_is_stale_when_nobody_can_hold_it() {
        let locker = Locker::new(7);
        let (young, old, older) = (Duration::from_secs(10), STALE * 2, STALE_UNNAMED * 2);
        let gone = i32::MAX;
        let alive = std::process::id();
        let host = &locker.host;
        assert!(locker.is_stale(format!("{alive}:{host}:{:016x}\n", 7).as_bytes(), young));
        assert!(!locker.is_stale(format!("{alive}:{host}:{:016x}\n", 8).as_bytes(), older));
        assert!(!locker.is_stale(format!("{gone}\n").as_bytes(), young));
        assert!(locker.is_stale(format!("{gone}\n").as_bytes(), old));
        assert!(!locker.is_stale(format!("{gone}:elsewhere.example").as_bytes(), older));
        assert!(!locker.is_stale(format!("{alive}").as_bytes(), older));
        assert!(!locker.is_stale(b"0", old));
        assert!(locker.is_stale(b"", older));
    }
}
