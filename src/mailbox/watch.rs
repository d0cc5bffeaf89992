//! Who opens the files in the mail directory beside us (inotify)?
//!
//! A program such as mailx reads a mailbox, lets go of it, and writes it back hours later; if the file shrank and grew
//! meanwhile, it destroys the new mail. So a file is made shorter only when no other program has opened it within the hour,
//! or since we saw it empty. What we open ourselves is told apart by emptying the queue before and after, under a mutex.

use crate::sys::Stat;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Nobody comes back to a mailbox after that long.
const LONG: Duration = Duration::from_secs(3600);
/// Where nothing tells who opens a file, it has to lie untouched that long.
const LONG_UNSEEN: Duration = Duration::from_secs(86_400);
/// Files that were opened longer ago than [`LONG`] are forgotten when there are more than this.
const MOST_NAMES: usize = 10_000;

/// What is known of one file name.
#[derive(Copy, Clone, Debug, Default)]
struct Known {
    /// When another program last opened it.
    opened: Option<Duration>,
    /// We saw it empty, and no other program has opened it since.
    clean: bool,
}

/// A watch on one directory. Times are those of the clock's `elapsed`.
#[derive(Debug)]
pub struct Watch {
    inotify: Option<Inotify>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// From when on nothing was missed.
    since: Duration,
    names: HashMap<OsString, Known>,
}

impl Watch {
    /// Watches a directory. Where that is not possible, everybody is suspected of everything.
    pub fn new(dir: &Path, now: Duration) -> Watch {
        // Equal events in a row come as one; closings keep openings apart, and mean nothing else here.
        let flags = AddWatchFlags::IN_OPEN | AddWatchFlags::IN_CLOSE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        let watched = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
            .and_then(|inotify| inotify.add_watch(dir, flags).map(|_| inotify));
        let inotify = watched.map_err(|error| log::info!("event=not-watched path={} error={error}", dir.display())).ok();
        Watch { inotify, state: Mutex::new(State { since: now, names: HashMap::new() }) }
    }

    /// Does something of ours that opens the file of this name once.
    pub fn own<T>(&self, name: &OsStr, now: Duration, open: impl FnOnce() -> T) -> T {
        let mut state = self.state();
        self.drain(&mut state, now, None);
        let result = open();
        self.drain(&mut state, now, Some(name));
        result
    }

    /// We hold this file locked, and it is empty.
    pub fn is_empty(&self, name: &OsStr, now: Duration) {
        if self.inotify.is_some() {
            let mut state = self.state();
            self.drain(&mut state, now, None);
            state.names.entry(name.to_owned()).or_default().clean = true;
        }
    }

    /// May this file, which is locked and as `stat` says, be made shorter? `wall` is the time of day in nanoseconds.
    pub fn is_safe(&self, name: &OsStr, stat: &Stat, now: Duration, wall: i128) -> bool {
        if self.inotify.is_none() {
            return lies_long(stat, wall);
        }
        let mut state = self.state();
        self.drain(&mut state, now, None);
        let known = state.names.get(name).copied().unwrap_or_default();
        let last = known.opened.unwrap_or(state.since).max(state.since);
        known.clean || now.saturating_sub(last) > LONG
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what happened. One opening of `own` is ours.
    fn drain(&self, state: &mut State, now: Duration, own: Option<&OsStr>) {
        let Some(inotify) = &self.inotify else { return };
        let mut ours = own;
        loop {
            let events = match inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => break,
                Err(_) => return state.lose(now),
            };
            for event in events {
                if event.mask.intersects(AddWatchFlags::IN_Q_OVERFLOW | AddWatchFlags::IN_IGNORED) {
                    state.lose(now);
                }
                let Some(name) = event.name else { continue };
                if event.mask.intersects(AddWatchFlags::IN_CLOSE) {
                    continue;
                }
                if event.mask.contains(AddWatchFlags::IN_OPEN) && ours == Some(name.as_os_str()) {
                    ours = None;
                } else {
                    state.names.insert(name, Known { opened: Some(now), clean: false });
                }
            }
        }
        if state.names.len() > MOST_NAMES {
            state.names.retain(|_, known| known.opened.is_some_and(|opened| now.saturating_sub(opened) < LONG));
        }
    }
}

impl State {
    /// Something was missed: all begins anew.
    fn lose(&mut self, now: Duration) {
        self.since = now;
        self.names.clear();
    }
}

/// Has this file, of which nothing tells who opens it, been left alone long enough? `wall` is the time of day in nanoseconds.
pub fn lies_long(stat: &Stat, wall: i128) -> bool {
    wall - stat.mtime.max(stat.ctime) > LONG_UNSEEN.as_nanos() as i128
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Disk, Open, RealDisk};
    use std::fs;

    #[test]
    fn what_others_open_is_told_from_what_we_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alice");
        let (name, minute) = (OsStr::new("alice"), Duration::from_secs(60));
        let watch = Watch::new(dir.path(), Duration::ZERO);
        let file = watch.own(name, minute, || RealDisk.open(&path, Open::Create(0o600))).unwrap();
        let stat = file.stat().unwrap();
        let safe = |now| watch.is_safe(name, &stat, now, 0);
        assert!(!safe(minute));
        watch.is_empty(name, minute);
        assert!(safe(minute));
        watch.own(name, minute, || RealDisk.open(&path, Open::Write)).unwrap();
        assert!(safe(minute));
        fs::read(&path).unwrap();
        assert!(!safe(2 * minute));
        assert!(safe(LONG + 3 * minute));
        // Another one comes in between.
        watch.is_empty(name, LONG);
        watch.own(name, minute, || (fs::read(&path).unwrap(), RealDisk.open(&path, Open::Write).unwrap()));
        assert!(!safe(minute));
    }

    #[test]
    fn unwatched_files_have_to_lie_for_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alice");
        fs::write(&path, b"").unwrap();
        let stat = RealDisk.stat(&path).unwrap();
        let watch = Watch::new(Path::new("/nonexistent/directory"), Duration::ZERO);
        let day = LONG_UNSEEN.as_nanos() as i128;
        assert!(!watch.is_safe(OsStr::new("alice"), &stat, Duration::MAX, stat.mtime + day / 2));
        assert!(watch.is_safe(OsStr::new("alice"), &stat, Duration::ZERO, stat.ctime + 2 * day));
    }
}
