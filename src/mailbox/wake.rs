//! Who looks at a mailbox, how far each has come, and how those who wait are woken: by us at once, by other programs'
//! writes through inotify, or where that does not reach, by a look at the file every second.

use super::inbox::Mailbox;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;

/// Between two looks at awaited files.
const TICK: u16 = 1_000;

/// One session's place before a mailbox.
#[derive(Debug)]
pub(super) struct Seat {
    /// It knows of all expunges up to this modseq.
    position: AtomicU64,
    /// Made when it first waits.
    bell: OnceLock<EventFd>,
}

impl Seat {
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    pub fn advance(&self, modseq: u64) {
        self.position.store(modseq, Ordering::Relaxed);
    }

    /// Readable from the next [`Seats::ring`] on.
    pub fn watch(&self) -> io::Result<BorrowedFd<'_>> {
        if self.bell.get().is_none() {
            // The first look is free: something may have happened before there was a bell.
            let bell = EventFd::from_value_and_flags(1, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
            let _ = self.bell.set(bell);
        }
        self.bell.get().map(AsFd::as_fd).ok_or(io::ErrorKind::NotFound.into())
    }

    /// What rang was heard.
    pub fn quiet(&self) {
        if let Some(bell) = self.bell.get() {
            let _ = bell.read();
        }
    }
}

/// All seats before one mailbox.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<Vec<Weak<Seat>>>);

impl Seats {
    /// A seat for who knows of all up to `modseq`.
    pub fn take(&self, modseq: u64) -> Arc<Seat> {
        let seat = Arc::new(Seat { position: AtomicU64::new(modseq), bell: OnceLock::new() });
        let mut seats = self.seats();
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push(Arc::downgrade(&seat));
        seat
    }

    /// Wakes everybody who waits.
    pub fn ring(&self) {
        for seat in self.seats().iter().filter_map(Weak::upgrade) {
            if let Some(bell) = seat.bell.get() {
                let _ = bell.write(1);
            }
        }
    }

    /// Nobody?
    pub fn is_empty(&self) -> bool {
        self.seats().iter().all(|seat| seat.strong_count() == 0)
    }

    /// Everybody knows of the expunges up to here.
    pub fn known_to_all(&self) -> u64 {
        self.seats().iter().filter_map(Weak::upgrade).map(|seat| seat.position()).min().unwrap_or(u64::MAX)
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Weak<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mailboxes whose files are awaited, by directory and name. One thread, started with the first.
#[derive(Debug, Default)]
pub(super) struct Waker {
    state: Mutex<Option<Arc<Awaited>>>,
}

#[derive(Debug)]
struct Awaited {
    inotify: Option<Inotify>,
    /// Ends the thread, or makes it look anew at whom to wait for.
    nudge: EventFd,
    mailboxes: Mutex<HashMap<PathBuf, Directory>>,
}

#[derive(Debug)]
struct Directory {
    watch: Option<nix::sys::inotify::WatchDescriptor>,
    names: HashMap<OsString, Vec<Weak<Mailbox>>>,
}

impl Waker {
    /// From now on the mailbox rings when its file changes.
    pub fn await_file(&self, mailbox: &Arc<Mailbox>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let awaited = match &*state {
            Some(awaited) => awaited.clone(),
            None => match Awaited::start() {
                Ok(awaited) => state.insert(awaited).clone(),
                Err(error) => return log::error!("event=not-watched path={} error={error}", mailbox.spot().path.display()),
            },
        };
        drop(state);
        awaited.add(mailbox);
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        if let Some(awaited) = self.state.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let nudge = awaited.nudge.write(1);
            drop((nudge, awaited));
        }
    }
}

impl Awaited {
    fn start() -> io::Result<Arc<Awaited>> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok();
        let nudge = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let awaited = Arc::new(Awaited { inotify, nudge, mailboxes: Mutex::default() });
        let watching = Arc::downgrade(&awaited);
        thread::Builder::new().name("mail-watch".to_owned()).spawn(move || {
            while let Some(awaited) = watching.upgrade() {
                awaited.wait();
            }
        })?;
        Ok(awaited)
    }

    fn add(&self, mailbox: &Arc<Mailbox>) {
        let spot = mailbox.spot();
        let (dir, name) = (&spot.dir, spot.path.file_name().unwrap_or_default());
        let mut mailboxes = self.mailboxes();
        let directory = mailboxes.entry(dir.to_owned()).or_insert_with(|| Directory {
            watch: self.inotify.as_ref().and_then(|inotify| watch(inotify, dir)),
            names: HashMap::new(),
        });
        let waiting = directory.names.entry(name.to_owned()).or_default();
        waiting.retain(|waiting| waiting.strong_count() > 0);
        if !waiting.iter().any(|waiting| waiting.as_ptr() == Arc::as_ptr(mailbox)) {
            waiting.push(Arc::downgrade(mailbox));
            let unwatched = directory.watch.is_none();
            drop(mailboxes);
            if unwatched {
                let _ = self.nudge.write(1);
            }
        }
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<PathBuf, Directory>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until something happens, and rings for it.
    fn wait(&self) {
        let blind = self.forget() > 0;
        let mut fds = vec![PollFd::new(self.nudge.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.inotify.as_ref().map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN)));
        let _ = poll(&mut fds, if blind { PollTimeout::from(TICK) } else { PollTimeout::NONE });
        let _ = self.nudge.read();
        let mut all = false;
        if let Some(inotify) = &self.inotify {
            while let Ok(events) = inotify.read_events() {
                let mailboxes = self.mailboxes();
                for event in events {
                    all |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                    let directory = mailboxes.values().find(|directory| directory.watch == Some(event.wd));
                    let waiting = event.name.and_then(|name| directory?.names.get(&name));
                    waiting.into_iter().flatten().filter_map(Weak::upgrade).for_each(|mailbox| mailbox.file_changed());
                }
            }
        }
        for directory in self.mailboxes().values().filter(|directory| all || directory.watch.is_none()) {
            directory.names.values().flatten().filter_map(Weak::upgrade).for_each(|mailbox| mailbox.file_changed());
        }
    }

    /// Lets go of who waits no more. Tells how many wait where nothing rings.
    fn forget(&self) -> usize {
        let mut blind = 0;
        self.mailboxes().retain(|_, directory| {
            directory.names.retain(|_, waiting| {
                waiting.retain(|mailbox| mailbox.upgrade().is_some_and(|mailbox| !mailbox.seats.is_empty()));
                !waiting.is_empty()
            });
            blind += usize::from(directory.watch.is_none()) * directory.names.len();
            let keep = !directory.names.is_empty();
            if let (false, Some(inotify), Some(watch)) = (keep, &self.inotify, directory.watch) {
                let _ = inotify.rm_watch(watch);
            }
            keep
        });
        blind
    }
}

fn watch(inotify: &Inotify, dir: &Path) -> Option<nix::sys::inotify::WatchDescriptor> {
    let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_CREATE;
    let watched = inotify.add_watch(dir, changes | AddWatchFlags::IN_ONLYDIR);
    watched.map_err(|error| log::info!("event=not-watched path={} error={error}", dir.display())).ok()
}
