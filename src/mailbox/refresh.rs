//! Brings the table of a mailbox up to date with its file: after an append only the new part is looked at, after any
//! other change the whole file.
//!
//! Where others wrote, a file that has grown may have been changed in place too, and nothing tells. So a small one is looked at
//! whole; of a big one the new part is shown at once, and the rest is looked at again in idle time ([`doubt`](super::doubt)).
//! Till then the index is not written, so that the next life knows as little as this one.

use super::MailboxError;
use super::inbox::{Inner, Mailbox, Stamp};
use super::lock::Patience;
use super::mbox::Mark;
use super::reconcile::{Before, reconcile};
use super::scan::{Message, Scan};
use super::secret::Key;
use super::state::{Fact, Intent, Log, Sum};
use super::table::{Known, Row, Table};
use super::uidset::UidSet;
use crate::sys::{File, Lock, Stat};
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::sync::Arc;

/// A file up to this size is looked at whole when others wrote to it. (The files of tests are smaller than most.)
const SMALL: u64 = if cfg!(test) { 4 << 10 } else { 4 << 20 };
/// So many messages make it worth to look for memory that can be given back.
pub(super) const MANY: usize = 10_000;
/// Others may change a file again each time before we have looked.
const MOST_LOOKS: usize = 100;

/// A table and the file it describes.
#[derive(Clone, Debug, Default)]
pub(super) struct Loaded {
    pub table: Table,
    /// The file, as we know it to be.
    pub stamp: Stamp,
    /// The table covers so much of it.
    pub covered: u64,
    /// Counts the looks after which messages may stand elsewhere.
    pub epoch: u64,
}

impl Loaded {
    /// What is in the file is not what the table says, wherever that is.
    pub fn distrust(&mut self) {
        self.stamp = Stamp::default();
    }
}

/// A file locked for reading. Dropping it gives the lock back.
#[derive(Debug)]
pub(super) struct Reading {
    pub file: Arc<dyn File>,
    pub stat: Stat,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Mailbox {
    /// Locks the file for reading. None: there is no file.
    pub(super) fn lock_for_reading(&self, inner: &mut Inner) -> Result<Option<Reading>, MailboxError> {
        let mut patience = Patience::new(&*self.shared.clock, super::inbox::PATIENCE);
        for _ in 0..100 {
            let stat = match self.disk.stat(&self.spot().path) {
                Ok(stat) => stat,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    if self.relocate()? {
                        continue;
                    }
                    self.forget_file(inner);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            self.check(&stat)?;
            if self.has_open_step()? {
                // To lock for writing is to finish it.
                drop(self.lock(inner)?);
                continue;
            }
            if inner.file.as_ref().is_some_and(|(_, id)| *id != stat.file) {
                self.forget_file(inner);
            }
            let Some((file, _)) = self.opened(inner, false)? else { continue };
            if !file.try_lock(Lock::Shared)? {
                patience.wait()?;
                continue;
            }
            let reading = Reading { stat: file.stat()?, file };
            if reading.stat.file == stat.file && reading.stat.links == 1 {
                return Ok(Some(reading));
            }
        }
        Err(MailboxError::Busy)
    }

    /// Locks the file for reading and brings the table up to date. What others have changed is looked at as a writer: some
    /// (c-client) lock it by dotlock and `flock` alone, and would write meanwhile.
    pub(super) fn look(&self, inner: &mut Inner) -> Result<Option<Reading>, MailboxError> {
        for _ in 0..MOST_LOOKS {
            let reading = self.lock_for_reading(inner)?;
            let Some(Reading { file, stat }) = &reading else {
                self.refresh(inner, None, Stamp::default())?;
                return Ok(None);
            };
            let now = Stamp::from(*stat);
            self.recall(inner, Some(&**file), now)?;
            if inner.table.as_ref().is_some_and(|known| known.stamp == now) {
                self.renew(inner, Some(&**file), now)?;
                return Ok(reading);
            }
            drop(reading);
            let (guard, stat) = self.lock(inner)?;
            self.refresh(inner, Some(&*guard.file), stat.into())?;
        }
        Err(MailboxError::Busy)
    }

    /// What we knew of it last, if that is not in memory.
    fn recall(&self, inner: &mut Inner, file: Option<&dyn File>, now: Stamp) -> Result<(), MailboxError> {
        self.ready(inner, file, now.size)?;
        if inner.table.is_none() {
            // Epochs are counted anew.
            inner.looked = Default::default();
            self.load_index(inner);
        }
        Ok(())
    }

    /// Makes [`Inner::table`] the one of the locked file as it is now; no file is an empty one. What it shows is durable in
    /// the state when this returns.
    pub(super) fn refresh(&self, inner: &mut Inner, file: Option<&dyn File>, now: Stamp) -> Result<(), MailboxError> {
        self.recall(inner, file, now)?;
        self.renew(inner, file, now)
    }

    fn renew(&self, inner: &mut Inner, file: Option<&dyn File>, now: Stamp) -> Result<(), MailboxError> {
        let epoch = inner.table.as_ref().map(|loaded| loaded.epoch);
        self.catch_up(inner, file, now)?;
        if inner.table.as_ref().map(|loaded| loaded.epoch) != epoch || !inner.unproven.is_empty() {
            self.settle_intents(inner, file)?;
        }
        Ok(())
    }

    fn catch_up(&self, inner: &mut Inner, file: Option<&dyn File>, now: Stamp) -> Result<(), MailboxError> {
        let Some(file) = file else { return self.look_at_all(inner, Scan::default(), now) };
        match &inner.table {
            Some(old) if old.stamp == now && old.covered == now.size => return self.sync_state(inner),
            Some(old) if old.stamp == now || (old.stamp.file == now.file && old.stamp.size < now.size) => {
                let (ours, covered) = (old.stamp == now, old.covered);
                if ours && self.look_behind(inner, file, covered, now)? {
                    return self.sync_state(inner);
                }
                if now.size > SMALL && self.look_at_tail(inner, file, now)? {
                    inner.doubt.begin();
                    return self.sync_state(inner);
                }
            }
            _ => {}
        }
        let scan = match inner.spare.take().filter(|(stamp, _)| *stamp == now) {
            Some((_, scan)) => scan,
            None => self.scan(file, 0, now.size)?,
        };
        let many = scan.messages.len() > MANY;
        self.look_at_all(inner, scan, now)?;
        if many {
            // The scan of a big mailbox takes as much memory as its table; the allocator would keep it.
            crate::sys::unix::trim_memory();
        }
        Ok(())
    }

    /// Nobody but us wrote since: what is new begins where the table ends.
    fn look_behind(&self, inner: &mut Inner, file: &dyn File, covered: u64, now: Stamp) -> Result<bool, MailboxError> {
        let Ok(scan) = self.scan(file, covered, now.size) else { return Ok(false) };
        if covered == 0 && scan.base.is_none() {
            return Ok(false);
        }
        self.in_turn(inner, |inner| self.take_in(inner, scan, now, false))?;
        Ok(true)
    }

    /// Only the end of the file is new, if the last message we know is still there.
    fn look_at_tail(&self, inner: &mut Inner, file: &dyn File, now: Stamp) -> Result<bool, MailboxError> {
        let Some((offset, key)) = inner.table.as_ref().and_then(|old| old.table.last) else { return Ok(false) };
        let Ok(mut scan) = self.scan(file, offset, now.size) else { return Ok(false) };
        if scan.messages.first().is_none_or(|first| first.key != key) {
            return Ok(false);
        }
        let first = scan.messages.remove(0);
        if let Some(last) = inner.table.as_mut().and_then(|old| old.table.standing_at(offset)) {
            if !last.stands_as(&first) {
                // It was written anew in its place, and so may others before it.
                return Ok(false);
            }
            last.reach(&first);
        }
        self.in_turn(inner, |inner| self.take_in(inner, scan, now, false))?;
        Ok(true)
    }

    fn look_at_all(&self, inner: &mut Inner, scan: Scan, now: Stamp) -> Result<(), MailboxError> {
        if inner.table.as_ref().is_some_and(|old| old.stamp == now && old.covered == now.size) {
            return self.sync_state(inner);
        }
        inner.log.as_mut().map_or(Ok(()), Log::complete)?;
        // What is found here was perhaps put in the middle. The next life must not look for it at the end alone.
        self.index_goes_stale(inner)?;
        self.in_turn(inner, |inner| self.take_in(inner, scan, now, true))?;
        inner.doubt.end();
        self.sync_state(inner)
    }

    /// Numbers what was found and puts it into the table.
    fn take_in(&self, inner: &mut Inner, mut scan: Scan, now: Stamp, whole: bool) -> Result<(), MailboxError> {
        let named = self.number(inner, &mut scan, whole)?;
        let modseq = inner.give_modseq(self.shared.clock.now())?;
        let mut loaded = inner.table.take().unwrap_or_default();
        let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
        let listed = log.list_keywords(scan.listed.as_deref().unwrap_or_default());
        let known = Known { intents: &log.sum.intents, marks: &log.sum.marks, keywords: &log.sum.keywords, listed };
        let difference = loaded.table.take(&scan, &named, whole, &known, modseq);
        inner.unfiled |= loaded.table.rows.iter().rev().take(scan.messages.len()).any(|row| row.pending);
        (loaded.stamp, loaded.covered) = (now, now.size);
        loaded.epoch += u64::from(whole);
        inner.table = Some(loaded);
        inner.note_hollow();
        inner.index_behind = true;
        if let Some(log) = inner.log.as_mut() {
            // Else the next life would compare the file with what it said before others changed it.
            log.put_marks(difference.noted.into_iter());
        }
        self.tell_lost(inner, difference.gone, modseq);
        if difference.news {
            self.seats.ring();
        }
        Ok(())
    }

    /// Numbers messages: all there are, or those that came behind what the table has. Tells the UID of each, and whether the
    /// file itself says so.
    fn number(&self, inner: &mut Inner, scan: &mut Scan, whole: bool) -> Result<Vec<Option<(u32, bool)>>, MailboxError> {
        let next = inner.next;
        let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
        let validity = log.sum.validity;
        // A field with a bad seal may come from anywhere.
        for message in &mut scan.messages {
            let good = |mark: &Mark| mark.seal == self.keys.secret.seal(&self.places.label, validity, mark.uid, &message.key);
            message.mark = message.mark.filter(|mark| mark.uid > 0 && good(mark));
        }
        let old = inner.table.as_ref().map(|loaded| &loaded.table);
        // A message that went away does not come back under its number: sessions were told that it is gone.
        let expunged = OnceCell::new();
        let sum = &log.sum;
        let is_gone = |uid: u32| sum.intents.contains_key(&uid) || expunged.get_or_init(|| sum.expunged_uids()).contains(&uid);
        // One that is to be removed still has it. In an earlier life it may have been removed, and brought back since: if it
        // is not where it was, it counts as mail.
        let (buried, unproven) = (&inner.buried, &inner.unproven);
        let stands = |intent: &Intent, message: &Message| {
            let place = |row: &Row| row.uid == intent.uid && row.offset == message.offset;
            intent.key == message.key
                && (!unproven.contains(&intent.uid)
                    || intent.offset == message.offset
                    || old.is_some_and(|old| old.doomed.iter().any(place)))
        };
        let is_open = |message: &Message, uid: u32| {
            !buried.contains(&uid) && sum.intents.get(&uid).is_some_and(|intent| stands(intent, message))
        };
        let over = if whole { over(sum, &scan.messages, is_open) } else { HashSet::new() };
        // An old index may have been made before a message came that is gone by now. If others put that back, it has its own
        // UID still, which never named another; that it is there again, a new mod-sequence tells.
        let free = |message: &Message, uid: u32| match old {
            Some(old) if uid >= old.top => !is_gone(uid) || is_open(message, uid),
            Some(old) if whole => old.find(uid).is_some_and(|row| row.key == message.key) || is_open(message, uid),
            Some(_) => false,
            None => !is_gone(uid) || is_open(message, uid),
        };
        let sealed = |message: &Message| message.mark.map(|mark| mark.uid).filter(|uid| free(message, *uid));
        let is_doomed = |uid: u32| !buried.contains(&uid) && !unproven.contains(&uid);
        let seen = old.filter(|_| whole).map_or_else(Vec::new, |old| old.stood(is_doomed));
        // What an old index does not know yet, the log may.
        let some = match old.filter(|_| !whole) {
            Some(old) => Some(sum.rows.since(old.top)),
            None if over.is_empty() => None,
            None => Some(sum.rows.without(|uid| over.contains(&uid))),
        };
        let rows = some.as_ref().unwrap_or(&sum.rows);
        let changes = reconcile(Before { seen: &seen, rows, next }, &scan.messages, sealed);
        let carries =
            |(message, uid): (&Message, &Option<u32>)| uid.map(|uid| (uid, message.mark.is_some_and(|mark| mark.uid == uid)));
        let named = scan.messages.iter().zip(&changes.uids).map(carries).collect();
        let fresh: HashSet<Key> = changes.rows.iter().map(|(_, key)| *key).collect();
        let back = sum.intents.values().filter(|intent| buried.contains(&intent.uid) && fresh.contains(&intent.key));
        let back: UidSet = back.map(|intent| intent.uid).collect();
        let lost = changes.lost.iter().filter(|uid| whole && !log.sum.intents.contains_key(uid));
        let lost: UidSet = lost.copied().collect();
        if !back.is_empty() {
            // The next life must not take it for what was to be removed.
            log.put(Fact::Done(back));
        }
        log.put_rows(&changes.rows);
        if !lost.is_empty() {
            log.put(Fact::Lost(lost));
        }
        let last = changes.next.saturating_sub(1);
        if last > log.sum.ceiling {
            log.put(Fact::Ceiling(last.saturating_add(super::state::STRIDE)));
        }
        inner.next = changes.next;
        Ok(named)
    }

    /// Makes durable what is about to be shown.
    pub(super) fn sync_state(&self, inner: &mut Inner) -> Result<(), MailboxError> {
        // A clean end that is noted there is history once a UID was shown after it.
        let next = inner.next;
        let Some(log) = inner.log.as_mut() else { return Ok(()) };
        if log.sum.next.is_some_and(|(noted, _)| noted != next) {
            log.put(Fact::Ceiling(log.sum.ceiling));
        }
        log.sync().map_err(MailboxError::from)
    }
}

/// What was to be removed, and is not among these messages any more.
fn over(sum: &Sum, messages: &[Message], is_open: impl Fn(&Message, u32) -> bool) -> HashSet<u32> {
    let mut by_key: HashMap<Key, Vec<u32>> = HashMap::new();
    sum.intents.values().for_each(|intent| by_key.entry(intent.key).or_default().push(intent.uid));
    let mut over: HashSet<u32> = sum.intents.keys().copied().collect();
    for message in messages {
        let uids = by_key.get(&message.key).into_iter().flatten();
        uids.filter(|uid| is_open(message, **uid)).for_each(|uid| {
            over.remove(uid);
        });
    }
    over
}
