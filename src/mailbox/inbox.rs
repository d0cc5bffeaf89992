//! One mailbox: its file, its state log, its locks. Here is what every act on a mailbox begins with.

use super::MailboxError;
use super::cache::Cache;
use super::compact::Stretch;
use super::doubt::Doubt;
use super::flags::Marks;
use super::lock::{Guard, Patience};
use super::places::{Places, Spot};
use super::refresh::Loaded;
use super::scan::Scan;
use super::state::{Fact, Log, STRIDE};
use super::store::{Keys, Shared};
use super::table::Table;
use super::tree::User;
use super::uidset::UidSet;
use super::wake::Seats;
use super::watch::{self, Watch};
use crate::host::Account;
use crate::mailbox::secret::Key;
use crate::spool::{Outcome, SpoolId, Status};
use crate::sys::{Disk, File, Open, Stat, Time};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How long an act waits for another program's lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// After one act waited in vain, others try once only for this long.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// An unused mailbox is kept in memory for this long.
const IDLE: Duration = Duration::from_secs(600);
/// So much of mod-sequences is reserved at a time: a minute's.
const MODSEQ_STRIDE: u64 = 60_000_000;

/// One mailbox, shared by all its sessions and the deliveries.
#[derive(Debug)]
pub struct Mailbox {
    pub(super) account: Account,
    pub(super) user: Arc<User>,
    /// Where the file lies. (The state is on the shared one.)
    pub(super) disk: Arc<dyn Disk>,
    pub(super) places: Places,
    pub(super) shared: Arc<Shared>,
    pub(super) keys: Keys,
    pub(super) inner: Mutex<Inner>,
    /// Who looks at it. Its lock is taken after that of `inner`, never before.
    pub(super) seats: Seats,
    /// What its messages are made of. No other lock is taken while this one is held, nor this one under another.
    pub(super) cache: Mutex<Cache>,
    pub(super) moving: Mutex<()>,
}

/// Which file this is, and which state of it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub file: (u64, u64),
    pub size: u64,
    pub mtime: i128,
    pub ctime: i128,
}

impl From<Stat> for Stamp {
    fn from(stat: Stat) -> Stamp {
        Stamp { file: stat.file, size: stat.size, mtime: stat.mtime, ctime: stat.ctime }
    }
}

/// An open file, and which one it is.
pub(super) type Opened<Which = (u64, u64)> = (Arc<dyn File>, Which);

/// What came of a try to lock.
#[derive(Debug)]
pub(super) enum Try<'a> {
    Locked(Guard<'a>, Stat),
    /// Another program has it.
    Busy,
    /// The path means another file meanwhile, or none.
    Replaced,
}

/// A copy in the file that is not settled yet.
#[derive(Clone, Debug)]
pub(super) struct Dirty {
    pub id: SpoolId,
    pub recipient: u32,
    pub key: Key,
    /// Where it was put.
    pub offset: u64,
    pub length: u64,
    /// Of all the bytes after its reserved block.
    pub check: u32,
}

/// What the mutex guards.
#[derive(Debug, Default)]
pub(super) struct Inner {
    pub log: Option<Log>,
    /// The next UID to give.
    pub next: u32,
    /// Open from the first write to the next checkpoint.
    pub file: Option<Opened>,
    /// The file as we left it, ending in an empty line.
    pub known: Option<Stamp>,
    /// Appended since the last checkpoint.
    pub dirty: Vec<Dirty>,
    /// Files that are no longer at the path, with the unsettled copies in them.
    pub orphans: Vec<(Arc<dyn File>, Vec<Dirty>)>,
    /// They could not be put into the file that is at the path now, and that was told.
    pub unmended: bool,
    /// Something was written since the last sync, from here on.
    pub unsynced: Option<u64>,
    /// The file that was synced since it was opened: what an earlier life wrote there is on the disk.
    pub synced: Option<(u64, u64)>,
    /// The file whose name is durable.
    pub named: Option<(u64, u64)>,
    /// Another daemon gives UIDs here too: the next one is told by the file and the state log, not by us alone.
    pub others: bool,
    /// The greatest mod-sequence given (RFC 7162 §3.1).
    pub modseq: u64,
    /// Where the messages stand, when somebody asked lately.
    pub table: Option<Loaded>,
    pub doubt: Doubt,
    /// Counts the tables that were lost: views of an earlier one are void.
    pub generation: u64,
    /// A scan of the file as the stamp says, made for another reason.
    pub spare: Option<(Stamp, Scan)>,
    /// The index on disk is not what the table says.
    pub index_behind: bool,
    /// It is marked as stale, or there is none.
    pub index_stale: bool,
    /// When it was last written, by the clock's `elapsed`.
    pub index_saved: Option<Duration>,
    /// Marks were changed that the file has room for and does not have.
    pub unfiled: bool,
    /// Marks that were written into the file since the last checkpoint.
    pub freshly_filed: Vec<(u32, Marks)>,
    /// Those of which the state log tells that they are durably there, since the index was last written.
    pub noted: Vec<(u32, Marks)>,
    /// The same, from before that: the index has them too.
    pub indexed: Vec<(u32, Marks)>,
    /// Everything in the file is dead: it could be emptied.
    pub hollow: bool,
    /// There may be enough of the dead to take their room back.
    pub has_dead: bool,
    /// That was begun, and is not over.
    pub compacting: bool,
    /// What stands between the messages, as far as that was looked at, for this epoch of the table.
    pub looked: (u64, Vec<Stretch>),
    /// Intents that are over since the last checkpoint: the message was overwritten, or others had taken it away.
    pub buried: BTreeSet<u32>,
    /// Intents of an earlier life, as long as nobody looked what became of the message.
    pub unproven: BTreeSet<u32>,
    /// When another program's lock was waited for in vain.
    pub busy: Option<Duration>,
    pub used: Duration,
}

impl Inner {
    /// Notes that the file was written to from this offset on.
    pub fn wrote(&mut self, offset: u64) {
        self.unsynced = Some(self.unsynced.map_or(offset, |before| before.min(offset)));
    }

    /// The next UID, reserved in the log first.
    pub fn give_uid(&mut self) -> io::Result<u32> {
        let uid = self.next;
        let log = self.log.as_mut().ok_or(ErrorKind::NotFound)?;
        if uid > log.sum.ceiling {
            log.put(Fact::Ceiling(uid.checked_add(STRIDE - 1).ok_or(ErrorKind::QuotaExceeded)?));
            log.flush()?;
        } else if log.sum.next.is_some() {
            // From here on the clean end is history.
            log.put(Fact::Ceiling(log.sum.ceiling));
            log.flush()?;
        }
        self.next = uid.checked_add(1).ok_or(ErrorKind::QuotaExceeded)?;
        Ok(uid)
    }

    /// The next mod-sequence (RFC 7162 §3.1): the time in microseconds, if that is greater than all before.
    pub fn give_modseq(&mut self, now: Time) -> Result<u64, MailboxError> {
        let log = self.log.as_mut().ok_or(MailboxError::Gone)?;
        self.modseq = self.modseq.saturating_add(1).max(u64::try_from(now.0).unwrap_or(0)).min(i64::MAX as u64);
        if self.modseq > log.sum.modseq {
            log.put(Fact::Modseq(self.modseq.saturating_add(MODSEQ_STRIDE)));
        }
        Ok(self.modseq)
    }

    /// The table; an empty one if there is none.
    pub fn rows(&self) -> &Table {
        static NONE: Table = Table::EMPTY;
        self.table.as_ref().map_or(&NONE, |loaded| &loaded.table)
    }

    /// The mailbox is no more. Only the copies that count as delivered are kept.
    pub fn dissolve(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.extend(std::mem::take(&mut self.orphans).into_iter().flat_map(|(_, copies)| copies));
        *self = Inner { dirty, generation: self.generation + 1, used: self.used, ..Inner::default() };
    }

    /// What is in the file is not what the table says.
    pub fn distrust(&mut self) {
        self.known = None;
        self.table.iter_mut().for_each(Loaded::distrust);
    }

    /// Is the file as we left it?
    pub fn is_as_known(&self, now: Stamp) -> (bool, bool) {
        (self.known == Some(now), self.table.as_ref().is_some_and(|loaded| loaded.stamp == now))
    }

    /// We changed the file under the locks; what was true of it before ([`Inner::is_as_known`]) is true of it now.
    pub fn has_become(&mut self, (known, loaded): (bool, bool), now: Stamp) {
        self.known = known.then_some(now);
        if let Some(table) = self.table.as_mut().filter(|_| loaded) {
            table.stamp = now;
        }
    }

    pub fn validity(&self) -> u32 {
        self.log.as_ref().map_or(0, |log| log.sum.validity)
    }
}

impl Mailbox {
    /// Names the folder for good; INBOX is `INBOX`.
    pub fn folder(&self) -> &str {
        &self.places.base
    }

    /// The mutex, for an act of a session or a delivery.
    pub(super) fn enter(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner();
        inner.used = self.shared.clock.elapsed();
        inner
    }

    /// The mutex. A thread that panicked while it held it may have left anything: what can be read again is forgotten.
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| {
            self.inner.clear_poison();
            let mut inner = poisoned.into_inner();
            let generation = inner.generation + 1;
            let kept = (std::mem::take(&mut inner.dirty), std::mem::take(&mut inner.orphans), inner.unsynced, inner.file.take());
            *inner = Inner { generation, modseq: inner.modseq, used: inner.used, ..Inner::default() };
            (inner.dirty, inner.orphans, inner.unsynced, inner.file) = kept;
            self.seats.ring();
            inner
        })
    }

    /// Locks the file for writing and checks what it is; made if it is not there.
    pub(super) fn lock<'a>(&'a self, inner: &mut Inner) -> Result<(Guard<'a>, Stat), MailboxError> {
        let now = self.shared.clock.elapsed();
        let span = match inner.busy {
            Some(busy) if now.saturating_sub(busy) < IMPATIENCE => Duration::ZERO,
            _ => PATIENCE,
        };
        let mut patience = Patience::new(&*self.shared.clock, span);
        let mut replaced = 0;
        loop {
            match self.try_lock(inner)? {
                Try::Locked(guard, stat) => {
                    inner.busy = None;
                    return Ok((guard, stat));
                }
                Try::Replaced if replaced < 3 => {
                    replaced += 1;
                    continue;
                }
                Try::Replaced | Try::Busy => {}
            }
            if let Err(busy) = patience.wait() {
                inner.busy = Some(self.shared.clock.elapsed());
                return Err(busy);
            }
        }
    }

    /// One try.
    pub(super) fn try_lock<'a>(&'a self, inner: &mut Inner) -> Result<Try<'a>, MailboxError> {
        let (file, id) = self.opened(inner, true)?.ok_or(MailboxError::Gone)?;
        let (disk, spot) = (&*self.disk, self.spot());
        let Some(guard) = self.keys.locker.try_write(disk, &*self.shared.clock, file.clone(), &spot.dotlock)? else {
            return Ok(Try::Busy);
        };
        let stat = match disk.stat(&spot.path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.forget_file(inner);
                return Ok(Try::Replaced);
            }
            Err(error) => return Err(error.into()),
        };
        self.check(&stat)?;
        if stat.file != id {
            self.forget_file(inner);
            return Ok(Try::Replaced);
        }
        let stat = if self.finish_step(inner, &guard)? { guard.file.stat()? } else { stat };
        Ok(Try::Locked(guard, stat))
    }

    /// The same, for who changes what is there: not while a program stands nothing but more mail.
    pub(super) fn try_lock_to_change<'a>(&'a self, inner: &mut Inner) -> Result<Try<'a>, MailboxError> {
        match self.try_lock(inner)? {
            Try::Locked(_, stat) if self.is_remembered(&stat) => Ok(Try::Busy),
            tried => Ok(tried),
        }
    }

    /// The path means another file: what is unsettled in the old one is kept there until the checkpoint.
    pub(super) fn forget_file(&self, inner: &mut Inner) {
        if let Some((file, _)) = inner.file.take() {
            if !inner.dirty.is_empty() {
                log::warn!("event=mailbox-replaced path={}", self.spot().path.display());
                inner.orphans.push((file, std::mem::take(&mut inner.dirty)));
            }
        }
        inner.known = None;
        inner.unsynced = None;
    }

    /// The file, and which one it is; opened if it is not open yet, made if there is none and `make` says so.
    pub(super) fn opened(&self, inner: &mut Inner, make: bool) -> Result<Option<Opened>, MailboxError> {
        if inner.file.is_none() {
            let Some((file, stat)) = self.open(make)? else { return Ok(None) };
            if inner.is_as_known(stat.into()) == (false, false) {
                // It may be another one with the inode of the one before.
                (inner.named, inner.synced) = (None, None);
            }
            inner.file = Some((file, stat.file));
        }
        Ok(inner.file.clone())
    }

    fn open(&self, make: bool) -> Result<Option<Opened<Stat>>, MailboxError> {
        self.relocate()?;
        let spot = self.spot();
        let open = |how| {
            let open = || self.shared.host.open_mailbox(&self.account, &self.places.root, &spot.path, how);
            match self.watch() {
                Some((watch, name)) => watch.own(&name, self.shared.clock.elapsed(), open),
                None => open(),
            }
        };
        let file = match open(Open::Write) {
            Err(error) if error.kind() == ErrorKind::NotFound && make => open(Open::Create(0o600)),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other,
        };
        let file = file.map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => MailboxError::Refused("mailbox is a symbolic link"),
            Some(libc::EISDIR) => MailboxError::Refused("mailbox is a directory"),
            Some(libc::ENOTDIR) => MailboxError::Refused("mailbox is below something that is no directory"),
            Some(libc::ENXIO) => MailboxError::Refused("mailbox is not a regular file"),
            _ => error.into(),
        })?;
        let stat = file.stat()?;
        self.check(&stat)?;
        Ok(Some((file, stat)))
    }

    /// Where the file is now.
    pub(super) fn spot(&self) -> Arc<Spot> {
        self.places.spot()
    }

    /// Who tells when others open it, and under what name; the mail directory is watched only.
    fn watch(&self) -> Option<(&Watch, OsString)> {
        let spot = self.spot();
        let name = spot.path.file_name().filter(|_| spot.dir == self.shared.mail)?;
        Some((self.shared.watch(), name.to_owned()))
    }

    /// Does it lie in the mail directory, where every mail program looks?
    pub(super) fn is_spooled(&self) -> bool {
        self.watch().is_some()
    }

    /// We hold the file locked, and it is empty.
    pub(super) fn saw_empty(&self) {
        if let Some((watch, name)) = self.watch() {
            watch.is_empty(&name, self.shared.clock.elapsed());
        }
    }

    /// Has a program it open that stands nothing but more mail?
    pub(super) fn is_remembered(&self, stat: &Stat) -> bool {
        super::lock::is_remembered(&*self.shared.disk, &*self.shared.host, stat)
    }

    /// May the file be made shorter, or could another program remember what was there?
    pub(super) fn may_shorten(&self, stat: &Stat) -> bool {
        let wall = i128::from(self.shared.clock.now().0) * 1000;
        match self.watch() {
            Some((watch, name)) => watch.is_safe(&name, stat, self.shared.clock.elapsed(), wall),
            None => watch::lies_long(stat, wall),
        }
    }

    /// Is this a file we touch?
    pub(super) fn check(&self, stat: &Stat) -> Result<(), MailboxError> {
        let refuse = |why| {
            log::error!("event=mailbox-refused path={} why={why:?}", self.spot().path.display());
            Err(MailboxError::Refused(why))
        };
        match stat {
            stat if stat.mode & libc::S_IFMT == libc::S_IFLNK => refuse("mailbox is a symbolic link"),
            stat if !stat.is_regular() => refuse("mailbox is not a regular file"),
            stat if stat.links > 1 => refuse("mailbox has more than one name"),
            stat if stat.uid != self.account.uid => refuse("mailbox belongs to another user"),
            _ => Ok(()),
        }
    }

    /// These are not there any more: every session will be told.
    pub(super) fn tell_lost(&self, inner: &mut Inner, gone: impl IntoIterator<Item = u32>, modseq: u64) {
        let gone: UidSet = gone.into_iter().collect();
        if let Some(log) = inner.log.as_mut().filter(|_| !gone.is_empty()) {
            log.put(Fact::Expunged(modseq, gone));
            self.seats.ring();
        }
    }

    /// The file was changed, by whomever.
    pub(super) fn file_changed(&self) {
        self.seats.ring();
    }

    pub(super) fn outcome(&self, copy: &Dirty) -> Outcome {
        Outcome {
            id: copy.id,
            recipients: vec![copy.recipient],
            status: Status::Delivered,
            time: self.shared.clock.now(),
            text: format!("in the mailbox of {}", self.account.name),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        let Ok(inner) = self.inner.try_lock() else { return false };
        self.is_unused(&inner)
            && self.seats.is_empty()
            && !inner.unfiled
            && inner.dirty.is_empty()
            && inner.orphans.is_empty()
            && inner.file.is_none()
    }

    /// Has nobody come for a while?
    pub(super) fn is_unused(&self, inner: &Inner) -> bool {
        self.shared.clock.elapsed().saturating_sub(inner.used) > IDLE
    }
}
