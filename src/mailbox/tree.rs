//! One user's folders on the disk: the locks around them, their table, and their files.
//!
//! Who changes the tree holds the tree's lock all the time, and the log's for the moment of reading or writing a fact; both keep
//! other processes away, too. The order is: tree, mailbox, log. A mailbox asks the log where its file is whenever it opens it, so
//! it needs no tree for that. Before all of these comes a turn ([`User::in_turn`]).

use super::MailboxError;
use super::factlog::FactLog;
use super::inbox::{Inner, Mailbox, PATIENCE, Stamp};
use super::lock::{Patience, dotlock};
use super::name::FolderName;
use super::places::Places;
use super::store::{Keys, Shared};
use super::usage::Sizes;
use super::user::{Deletion, Fact, Folder, MailboxId, Sum};
use super::wake::Seats;
use crate::host::Account;
use crate::sys::{Disk, File, Lock, Open};
use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// So many folders a user may have, and so many subscriptions.
pub(super) const MOST_FOLDERS: usize = 20_000;

/// The log of a user.
pub(super) type Log = FactLog<Sum>;

/// See the module.
#[derive(Debug)]
pub(super) struct User {
    pub account: Account,
    pub shared: Arc<Shared>,
    /// The directory of the folders.
    pub root: PathBuf,
    /// What is below it.
    pub disk: Arc<dyn Disk>,
    /// The directory of what is kept about them.
    pub state: PathBuf,
    tree: Mutex<()>,
    /// As it was when the file was last seen.
    log: Mutex<Option<(Option<Stamp>, Log)>>,
    /// Folders that somebody has open.
    open: Mutex<HashMap<MailboxId, Weak<Mailbox>>>,
    /// Who wants to know of changes.
    pub seats: Seats,
    /// What mailboxes held when they were last looked at for that.
    pub sizes: Sizes,
    turn: Mutex<()>,
}

/// Nobody else changes the tree.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub user: &'a Arc<User>,
    _file: Arc<dyn File>,
    _mutex: MutexGuard<'a, ()>,
}

impl User {
    pub fn new(account: &Account, shared: &Arc<Shared>) -> User {
        let root = shared.spool.join("folders").join(&account.name);
        User {
            account: account.clone(),
            shared: shared.clone(),
            disk: shared.disk.beneath(&root),
            root,
            state: shared.spool.join("state").join(&account.name),
            tree: Mutex::default(),
            log: Mutex::default(),
            open: Mutex::default(),
            seats: Seats::default(),
            sizes: Sizes::default(),
            turn: Mutex::default(),
        }
    }

    /// Waits until nobody else changes the tree, and does what was left undone.
    pub fn tree(self: &Arc<Self>) -> Result<Tree<'_>, MailboxError> {
        let mutex = lock(&self.tree);
        let tree = Tree { user: self, _file: self.hold("tree.lock")?, _mutex: mutex };
        tree.finish()?;
        Ok(tree)
    }

    /// Reads or writes the log. What is written is durable if `act` syncs it; after an error it is read anew.
    pub fn log<T>(&self, act: impl FnOnce(&mut Log) -> Result<T, MailboxError>) -> Result<T, MailboxError> {
        let mut kept = lock(&self.log);
        let _held = self.hold("user.lock")?;
        let stamp = self.stamp()?;
        let mut log = match kept.take() {
            Some((seen, log)) if seen == stamp => log,
            _ => {
                let mut log = Log::open(self.shared.disk.clone(), &self.state, "user")?;
                // What is shown must last.
                log.sync()?;
                log
            }
        };
        let result = act(&mut log)?;
        log.rest(self.shared.clock.now())?;
        let now = self.stamp()?;
        *kept = Some((now, log));
        if now != stamp {
            self.seats.ring();
        }
        Ok(result)
    }

    /// Does something while nobody else does such a thing. It may take any lock; who waits for this holds none but that of a MOVE.
    pub fn in_turn<T>(&self, act: impl FnOnce() -> T) -> Result<T, MailboxError> {
        let _turn = lock(&self.turn);
        let _held = self.hold("quota.lock")?;
        Ok(act())
    }

    /// Looks at the files of the log as they are, while nobody writes them.
    pub fn unmended<T>(&self, look: impl FnOnce() -> io::Result<T>) -> Result<T, MailboxError> {
        let _kept = lock(&self.log);
        let _held = self.hold("user.lock")?;
        Ok(look()?)
    }

    fn stamp(&self) -> io::Result<Option<Stamp>> {
        match self.shared.disk.stat(&self.state.join("user")) {
            Ok(stat) => Ok(Some(stat.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Locks a file that is there for nothing else, until it is dropped.
    fn hold(&self, name: &str) -> Result<Arc<dyn File>, MailboxError> {
        let (disk, path) = (&*self.shared.disk, self.state.join(name));
        let file = match disk.open(&path, Open::Create(0o600)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                disk.make_dir(&self.state, 0o700)?;
                disk.open(&path, Open::Create(0o600))?
            }
            other => other?,
        };
        let mut patience = Patience::new(&*self.shared.clock, PATIENCE);
        while !file.try_lock(Lock::Exclusive)? {
            patience.wait()?;
        }
        Ok(file)
    }

    /// Gives a folder that has none a UIDVALIDITY: the one `found` in the file, unless other content may have been shown under
    /// it and the same name; else one greater than all before, and than `old`. It is durable, and not given again.
    pub fn give_validity(&self, id: Option<MailboxId>, found: Option<u32>, old: Option<u32>) -> Result<u32, MailboxError> {
        let now = u32::try_from(self.shared.clock.now().seconds()).unwrap_or(u32::MAX);
        self.log(|log| {
            let name = id.map_or_else(|| Some(FolderName::inbox()), |id| log.sum.name_of(id).cloned());
            let retired = name.as_ref().map_or(0, |name| log.sum.retired(name));
            let last = log.sum.validity.max(old.unwrap_or(0));
            let fresh = last.checked_add(1).ok_or_else(|| io::Error::from(ErrorKind::QuotaExceeded))?.max(now);
            let validity = found.filter(|found| *found > retired).unwrap_or(fresh);
            log.put(Fact::Validity(validity));
            // If its state is lost, another file may be there by then.
            name.into_iter().for_each(|name| log.put(Fact::Retired(validity, Some(name))));
            log.sync()?;
            Ok(validity)
        })
    }

    /// Where the file of a folder is. None: there is no such folder any more.
    pub fn path_of(&self, id: MailboxId) -> Result<Option<PathBuf>, MailboxError> {
        let found = self.log(|log| {
            let Some(name) = log.sum.name_of(id) else { return Ok(None) };
            let old = log.sum.moves.iter().find_map(|(from, to)| name.moved(to, from).ok().filter(|old| old != name));
            Ok(Some((name.clone(), old)))
        })?;
        let Some((name, old)) = found else { return Ok(None) };
        if let Some(old) = old {
            // It is being renamed with those around it, and its turn may be yet to come.
            self.move_files(&[(self.path(&old), self.path(&name))])?;
        }
        Ok(Some(self.path(&name)))
    }

    pub fn path(&self, name: &FolderName) -> PathBuf {
        self.root.join(name.file())
    }

    /// Moves files, whatever of it was done before. What another program put in the new place stays, and so does the file then.
    fn move_files(&self, moves: &[(PathBuf, PathBuf)]) -> io::Result<()> {
        let disk = &*self.disk;
        for dir in parents(moves.iter().map(|(_, new)| new)) {
            match self.shared.host.make_folders(&self.account, &self.root, dir) {
                Err(error) if is_obstacle(&error) => log::error!("event=folder-obstructed path={} error={error}", dir.display()),
                other => other?,
            }
        }
        let mut moved = Vec::new();
        for (old, new) in moves {
            // A file that we may not read, as a user's own programs make them, gets no second name from us (proc_sys_fs(5),
            // protected_hardlinks).
            let named = disk.link(old, new).or_else(|error| match error.raw_os_error() {
                Some(libc::EPERM) => disk.rename_new(old, new),
                _ => Err(error),
            });
            match named {
                Ok(()) => moved.push((old, new)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if is_obstacle(&error) => match (disk.stat(old), disk.stat(new)) {
                    (Ok(before), Ok(after)) if before.file == after.file => moved.push((old, new)),
                    _ => log::error!("event=folder-obstructed path={} stays={} error={error}", new.display(), old.display()),
                },
                Err(error) => return Err(error),
            }
        }
        // The new names are durable before the old ones go.
        parents(moved.iter().map(|(_, new)| *new)).into_iter().try_for_each(|dir| disk.sync_dir(dir))?;
        for (old, new) in &moved {
            match (disk.stat(old), disk.stat(new)) {
                (Ok(before), Ok(after)) if before.file == after.file => disk.remove(old)?,
                _ => {}
            }
        }
        parents(moved.iter().map(|(old, _)| *old)).into_iter().try_for_each(|dir| disk.sync_dir(dir))
    }

    /// The mailbox of a folder, if somebody has it open.
    fn opened(&self, id: MailboxId) -> Option<Arc<Mailbox>> {
        lock(&self.open).get(&id).and_then(Weak::upgrade)
    }
}

impl Tree<'_> {
    /// The mailbox of a folder, shared by all who have it open.
    pub fn mailbox(&self, id: MailboxId, name: &FolderName) -> Result<Arc<Mailbox>, MailboxError> {
        let user = self.user;
        if let Some(mailbox) = user.opened(id) {
            return Ok(mailbox);
        }
        let keys = user.shared.keys()?;
        let places = Places::of_folder(&user.shared.spool, &user.account.name, id, &user.root, user.path(name));
        let mailbox = Arc::new(Mailbox::new(user.clone(), user.disk.clone(), places, keys));
        let mut open = lock(&user.open);
        open.retain(|_, mailbox| mailbox.strong_count() > 0);
        open.insert(id, Arc::downgrade(&mailbox));
        drop(open);
        Ok(mailbox)
    }

    /// Does what the log says is to be done and not done.
    fn finish(&self) -> Result<(), MailboxError> {
        let (deletions, moves) = self.user.log(|log| Ok((log.sum.deletions.clone(), log.sum.moves.clone())))?;
        for (from, to) in moves {
            self.follow(&from, &to)?;
        }
        deletions.iter().try_for_each(|(id, deletion)| self.remove(*id, deletion))
    }

    /// Moves the files of what was renamed.
    pub fn follow(&self, from: &FolderName, to: &FolderName) -> Result<(), MailboxError> {
        let user = self.user;
        let now: Vec<(FolderName, MailboxId)> =
            user.log(|log| Ok(log.sum.at_or_below(to).map(|(name, folder)| (name.clone(), folder.id)).collect()))?;
        let (mut closed, mut left) = (Vec::new(), BTreeSet::new());
        for (new, id) in &now {
            let Ok(old) = new.moved(to, from) else { continue };
            let paths = (user.path(&old), user.path(new));
            left.extend([user.root.join(old.dir()), paths.0.parent().unwrap_or(&user.root).to_owned()]);
            let Some(mailbox) = user.opened(*id) else {
                closed.push(paths);
                continue;
            };
            let inner = mailbox.inner();
            user.move_files(std::slice::from_ref(&paths))?;
            mailbox.places.move_to(paths.1);
            drop(inner);
            mailbox.is_elsewhere();
        }
        user.move_files(&closed)?;
        user.log(|log| {
            log.put(Fact::Moved(from.clone(), to.clone()));
            Ok(log.flush()?)
        })?;
        left.iter().rev().for_each(|dir| self.tidy(dir));
        Ok(())
    }

    /// Removes the file and the state of a folder that is no more.
    pub fn remove(&self, id: MailboxId, deletion: &Deletion) -> Result<(), MailboxError> {
        let (user, path) = (self.user, self.user.path(&deletion.name));
        match user.disk.stat(&path) {
            Ok(stat) if stat.file.1 == deletion.inode => {
                user.disk.remove(&path)?;
                user.disk.sync_dir(path.parent().unwrap_or(&user.root))?;
            }
            // Another program has put something there since.
            Ok(_) => log::warn!("event=folder-file-stays path={}", path.display()),
            Err(error) if error.kind() == ErrorKind::NotFound || is_obstacle(&error) => {}
            Err(error) => return Err(error.into()),
        }
        for file in Places::of_folder(&user.shared.spool, &user.account.name, id, &user.root, path.clone()).kept() {
            match user.shared.disk.remove(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        user.log(|log| {
            log.put(Fact::Deleted(id));
            Ok(log.flush()?)
        })
    }

    /// Folders that other programs made. Hidden files, locks, and names that we would not write so, are nothing.
    pub fn strangers(&self) -> Result<Vec<FolderName>, MailboxError> {
        let user = self.user;
        let known: BTreeSet<FolderName> = user.log(|log| Ok(log.sum.folders.keys().cloned().collect()))?;
        let mut room = MOST_FOLDERS.saturating_sub(known.len());
        let mut found = Vec::new();
        self.walk(|folder, path| {
            if known.contains(&folder) || folder.is_inbox() || room == 0 {
                return;
            }
            if user.disk.stat(path).is_ok_and(|stat| stat.is_regular() && stat.uid == user.account.uid) {
                found.push(folder);
                room -= 1;
            }
        })?;
        Ok(found)
    }

    /// Where folders are, or could be.
    pub fn directories(&self) -> Result<Vec<PathBuf>, MailboxError> {
        self.walk(|_, _| {})
    }

    /// Shows all names that could be a folder's file. Tells the directories.
    fn walk(&self, mut see: impl FnMut(FolderName, &Path)) -> Result<Vec<PathBuf>, MailboxError> {
        let user = self.user;
        let (mut seen, mut dirs) = (Vec::new(), vec![user.root.clone()]);
        while let Some(dir) = dirs.pop() {
            let names = match user.disk.list(&dir) {
                Err(error) if error.kind() == ErrorKind::NotFound || is_obstacle(&error) => continue,
                names => names?,
            };
            for name in names {
                let path = dir.join(name);
                let Ok(short) = path.strip_prefix(&user.root) else { continue };
                match FolderName::of_file(short) {
                    Some(folder) => see(folder, &path),
                    None => dirs.extend(FolderName::of_dir(short).map(|_| path)),
                }
            }
            seen.push(dir);
        }
        Ok(seen)
    }

    /// Takes them up.
    pub fn adopt(&self) -> Result<(), MailboxError> {
        let (user, found) = (self.user, self.strangers()?);
        if found.is_empty() {
            return Ok(());
        }
        log::info!("event=folders-adopted user={} folders={}", user.account.name, found.len());
        user.log(|log| {
            for name in found {
                log.put(Fact::Folder(name, Folder { id: MailboxId::new()?, special: None }));
            }
            Ok(log.sync()?)
        })
    }

    /// Is something at the path of this folder's file?
    pub fn is_taken(&self, name: &FolderName) -> Result<bool, MailboxError> {
        match self.user.disk.stat(&self.user.path(name)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(refused(error)),
        }
    }

    /// Makes the directory for this folder's file.
    pub fn make_room(&self, name: &FolderName) -> Result<(), MailboxError> {
        let (user, path) = (self.user, self.user.path(name));
        let dir = path.parent().unwrap_or(&user.root);
        user.shared.host.make_folders(&user.account, &user.root, dir).map_err(refused)
    }

    /// Makes the file of a folder.
    pub fn make_file(&self, name: &FolderName) -> Result<(), MailboxError> {
        let (user, path) = (self.user, self.user.path(name));
        user.shared.host.open_mailbox(&user.account, &user.root, &path, Open::Create(0o600)).map_err(refused)?;
        Ok(user.disk.sync_dir(path.parent().unwrap_or(&user.root))?)
    }

    /// Waits until no program holds the dotlock of this folder's file.
    pub fn wait_for(&self, name: &FolderName, patience: &mut Patience<'_>) -> Result<(), MailboxError> {
        let (disk, clock) = (&*self.user.disk, &*self.user.shared.clock);
        let dotlock = dotlock(&self.user.path(name));
        let locker = self.user.shared.keys()?.locker;
        while disk.stat(&dotlock).is_ok() && !locker.remove_stale(disk, clock, &dotlock) {
            patience.wait()?;
        }
        Ok(())
    }

    /// Takes a directory away in which nothing is left, and those above it. To fail is fine.
    pub fn tidy(&self, dir: &Path) {
        let (user, mut dir) = (self.user, dir.to_owned());
        let Ok(Keys { locker, .. }) = user.shared.keys() else { return };
        while dir != user.root && dir.starts_with(&user.root) {
            let original = locker.original(&dir.join("x"));
            let Ok(names) = user.disk.list(&dir) else { return };
            if names.iter().any(|name| Some(name.as_os_str()) != original.file_name()) {
                return;
            }
            locker.forget(&*user.disk, &original);
            if user.disk.remove_dir(&dir).is_err() {
                return;
            }
            dir.pop();
        }
    }
}

impl Mailbox {
    /// The mailbox of this user in these places; nothing is opened yet.
    pub(super) fn new(user: Arc<User>, disk: Arc<dyn Disk>, places: Places, keys: Keys) -> Mailbox {
        Mailbox {
            account: user.account.clone(),
            shared: user.shared.clone(),
            user,
            disk,
            places,
            keys,
            inner: Mutex::new(Inner::default()),
            seats: Seats::default(),
            cache: Mutex::default(),
            moving: Mutex::default(),
        }
    }

    /// Looks where the file of a folder is now; true if that is another place than before. INBOX is never moved.
    pub(super) fn relocate(&self) -> Result<bool, MailboxError> {
        let Some(id) = self.places.id else { return Ok(false) };
        let path = if self.places.is_deleted() { None } else { self.user.path_of(id)? };
        let Some(path) = path else {
            self.places.delete();
            return Err(MailboxError::Gone);
        };
        let moved = path != self.spot().path;
        if moved {
            self.places.move_to(path);
        }
        Ok(moved)
    }

    /// Who waits for this mailbox waits at its new place.
    fn is_elsewhere(self: &Arc<Self>) {
        if !self.seats.is_empty() {
            self.shared.waker().await_file(self);
            self.seats.ring();
        }
    }
}

/// Something of the user's is in the way.
fn is_obstacle(error: &io::Error) -> bool {
    let kinds = [ErrorKind::NotADirectory, ErrorKind::IsADirectory, ErrorKind::AlreadyExists, ErrorKind::PermissionDenied];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(libc::ELOOP)
}

fn refused(error: io::Error) -> MailboxError {
    if is_obstacle(&error) { MailboxError::Refused("something is in the folder's place") } else { error.into() }
}

/// The directories of these paths, each once.
fn parents<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> BTreeSet<&'a Path> {
    paths.filter_map(|path| path.parent()).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
