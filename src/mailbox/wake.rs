//! Who looks at a mailbox, how far each has come, and how those who wait are woken: by us at once, by other programs'
//! writes through inotify, or where that does not reach, by a look at the file every second.
//!
//! A session that waits has one bell, whatever it waits for: its mailbox, mailboxes it has not opened, its user's folders.

use super::inbox::Mailbox;
use super::tree::User;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;

/// Between two looks at awaited files.
const TICK: u16 = 1_000;

/// What a session waits with: it rings when there may be something to look at.
#[derive(Debug)]
pub struct Bell(EventFd);

impl Bell {
    /// One that has not rung.
    pub fn new() -> io::Result<Arc<Bell>> {
        Ok(Arc::new(Bell(EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?)))
    }

    /// Readable from the next ring on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// That it rang was heard: call it before looking.
    pub fn quiet(&self) {
        let _ = self.0.read();
    }

    fn ring(&self) {
        let _ = self.0.write(1);
    }
}

/// One session's place before a mailbox.
#[derive(Debug)]
pub(super) struct Seat {
    /// It knows of all expunges up to this modseq; of who reads no messages that is the greatest there can be.
    position: AtomicU64,
    /// There when it first waits.
    bell: OnceLock<Arc<Bell>>,
    /// Something happened that was not looked at.
    news: AtomicBool,
}

impl Seat {
    fn new(position: u64) -> Arc<Seat> {
        Arc::new(Seat { position: AtomicU64::new(position), bell: OnceLock::new(), news: AtomicBool::new(true) })
    }

    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    pub fn advance(&self, modseq: u64) {
        self.position.store(modseq, Ordering::Relaxed);
    }

    /// From now on this bell rings, a session's only one; at once, for something may have happened before it was there.
    pub fn wait_with(&self, bell: &Arc<Bell>) {
        if self.bell.set(bell.clone()).is_ok() {
            bell.ring();
        }
    }

    /// Was there a ring since this was asked last? The first look is free.
    pub fn has_news(&self) -> bool {
        self.news.swap(false, Ordering::SeqCst)
    }

    /// It could not be looked at: to be asked again.
    pub fn keep_news(&self) {
        self.news.store(true, Ordering::SeqCst);
    }

    fn ring(&self) {
        self.news.store(true, Ordering::SeqCst);
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }
}

/// All seats before one mailbox.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<Vec<Weak<Seat>>>);

impl Seats {
    /// A seat for who knows of all up to `modseq`.
    pub fn take(&self, modseq: u64) -> Arc<Seat> {
        let seat = Seat::new(modseq);
        let mut seats = self.seats();
        seats.retain(|seat| seat.strong_count() > 0);
        seats.push(Arc::downgrade(&seat));
        seat
    }

    /// A seat for who only wants to know that something happened.
    pub fn watch(&self, bell: &Arc<Bell>) -> Arc<Seat> {
        let seat = self.take(u64::MAX);
        seat.wait_with(bell);
        seat
    }

    /// Wakes everybody who waits.
    pub fn ring(&self) {
        self.seats().iter().filter_map(Weak::upgrade).for_each(|seat| seat.ring());
    }

    /// Nobody?
    pub fn is_empty(&self) -> bool {
        self.seats().iter().all(|seat| seat.strong_count() == 0)
    }

    /// Does nobody know of any message?
    pub fn are_unread(&self) -> bool {
        self.known_to_all() == u64::MAX
    }

    /// Everybody knows of the expunges up to here.
    pub fn known_to_all(&self) -> u64 {
        self.seats().iter().filter_map(Weak::upgrade).map(|seat| seat.position()).min().unwrap_or(u64::MAX)
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Weak<Seat>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mailboxes whose files are awaited, by directory and name, and users whose folders are. One thread, started with the first.
#[derive(Debug, Default)]
pub(super) struct Waker {
    state: Mutex<Option<Arc<Awaited>>>,
}

#[derive(Debug)]
struct Awaited {
    inotify: Option<Inotify>,
    /// Ends the thread, or makes it look anew at whom to wait for.
    nudge: EventFd,
    directories: Mutex<HashMap<PathBuf, Directory>>,
}

#[derive(Debug)]
struct Directory {
    watch: Option<WatchDescriptor>,
    names: HashMap<OsString, Vec<Weak<Mailbox>>>,
    /// Whose folders may appear here under other names.
    users: Vec<Weak<User>>,
}

impl Directory {
    /// Everybody who waits for anything here has to look.
    fn ring_all(&self) {
        self.names.values().flatten().filter_map(Weak::upgrade).for_each(|mailbox| mailbox.file_changed());
        self.ring_users();
    }

    fn ring_users(&self) {
        self.users.iter().filter_map(Weak::upgrade).for_each(|user| user.seats.ring());
    }

    /// Something happened to a file.
    fn ring_for(&self, name: &OsStr, mask: AddWatchFlags) {
        match self.names.get(name) {
            Some(waiting) => waiting.iter().filter_map(Weak::upgrade).for_each(|mailbox| mailbox.file_changed()),
            None if mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO) && !is_lock(name) => self.ring_users(),
            None => {}
        }
    }
}

impl Waker {
    /// From now on the mailbox rings when its file changes.
    pub fn await_file(&self, mailbox: &Arc<Mailbox>) {
        if let Some(awaited) = self.awaited() {
            awaited.add(mailbox);
        }
    }

    /// From now on the user's seats ring when something new appears in one of these directories.
    pub fn await_names(&self, user: &Arc<User>, dirs: &[PathBuf]) {
        if let Some(awaited) = self.awaited() {
            dirs.iter().for_each(|dir| awaited.add_user(user, dir));
        }
    }

    fn awaited(&self) -> Option<Arc<Awaited>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_none() {
            match Awaited::start() {
                Ok(awaited) => *state = Some(awaited),
                Err(error) => log::error!("event=not-watched error={error}"),
            }
        }
        state.clone()
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
        let awaited = Arc::new(Awaited { inotify, nudge, directories: Mutex::default() });
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
        let name = spot.path.file_name().unwrap_or_default();
        self.add_to(&spot.dir, |directory| {
            let waiting = directory.names.entry(name.to_owned()).or_default();
            waiting.retain(|waiting| waiting.strong_count() > 0);
            let known = waiting.iter().any(|waiting| waiting.as_ptr() == Arc::as_ptr(mailbox));
            if !known {
                waiting.push(Arc::downgrade(mailbox));
            }
            !known
        });
    }

    fn add_user(&self, user: &Arc<User>, dir: &Path) {
        self.add_to(dir, |directory| {
            let known = directory.users.iter().any(|waiting| waiting.as_ptr() == Arc::as_ptr(user));
            if !known {
                directory.users.push(Arc::downgrade(user));
            }
            !known
        });
    }

    /// Adds something to a directory; `add` tells whether it was new there.
    fn add_to(&self, dir: &Path, add: impl FnOnce(&mut Directory) -> bool) {
        let mut directories = self.directories();
        let directory = directories.entry(dir.to_owned()).or_insert_with(|| Directory {
            watch: self.inotify.as_ref().and_then(|inotify| watch(inotify, dir)),
            names: HashMap::new(),
            users: Vec::new(),
        });
        let look_every_second = add(directory) && directory.watch.is_none();
        drop(directories);
        if look_every_second {
            let _ = self.nudge.write(1);
        }
    }

    fn directories(&self) -> MutexGuard<'_, HashMap<PathBuf, Directory>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
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
                let mut directories = self.directories();
                for event in events {
                    all |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                    let found = directories.iter().find(|(_, directory)| directory.watch == Some(event.wd));
                    let Some((path, directory)) = found else { continue };
                    if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                        // It is gone. Who looks anew waits for the one that may come in its place.
                        let path = path.clone();
                        directories.remove(&path).iter().for_each(Directory::ring_all);
                    } else if let Some(name) = &event.name {
                        directory.ring_for(name, event.mask);
                    }
                }
            }
        }
        self.directories().values().filter(|directory| all || directory.watch.is_none()).for_each(Directory::ring_all);
    }

    /// Lets go of who waits no more. Tells how many wait where nothing rings.
    fn forget(&self) -> usize {
        let mut blind = 0;
        self.directories().retain(|_, directory| {
            directory.names.retain(|_, waiting| {
                waiting.retain(|mailbox| mailbox.upgrade().is_some_and(|mailbox| !mailbox.seats.is_empty()));
                !waiting.is_empty()
            });
            directory.users.retain(|user| user.upgrade().is_some_and(|user| !user.seats.is_empty()));
            blind += usize::from(directory.watch.is_none()) * (directory.names.len() + directory.users.len());
            let keep = !directory.names.is_empty() || !directory.users.is_empty();
            if let (false, Some(inotify), Some(watch)) = (keep, &self.inotify, directory.watch) {
                let _ = inotify.rm_watch(watch);
            }
            keep
        });
        blind
    }
}

/// Locks, and what is made to become one, come and go all the time.
fn is_lock(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().ends_with(b".lock")
}

fn watch(inotify: &Inotify, dir: &Path) -> Option<WatchDescriptor> {
    let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_CREATE;
    let watched = inotify.add_watch(dir, changes | AddWatchFlags::IN_ONLYDIR);
    watched.map_err(|error| log::info!("event=not-watched path={} error={error}", dir.display())).ok()
}
