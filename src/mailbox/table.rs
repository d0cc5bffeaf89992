//! Where each message of a mailbox stands: the outcome of a scan, kept while the file is as it was, and shared by all
//! sessions. After an append only the new part is looked at, after any other change the whole file.

use super::inbox::{Inner, Mailbox, Stamp};
use super::lock::Patience;
use super::mbox::Mark;
use super::reconcile::{Before, reconcile};
use super::scan::{Kind, Message, Scan};
use super::secret::Key;
use super::state::{Fact, Intent};
use super::{MailboxError, Summary, Uid};
use crate::spool::SpoolId;
use crate::sys::{File, Lock, Stat};
use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::sync::Arc;

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub uid: u32,
    pub offset: u64,
    pub length: u64,
    pub from: u32,
    pub header: u32,
    pub blank: u8,
    pub body: u64,
    pub wire: u64,
    pub key: Key,
    /// Where it came from, if it is one of ours.
    pub id: Option<(SpoolId, u32)>,
}

impl Place {
    /// Where the header begins in the file.
    pub fn header_at(&self) -> u64 {
        self.offset + u64::from(self.from)
    }

    /// Where the body begins in the file.
    pub fn body_at(&self) -> u64 {
        self.header_at() + u64::from(self.header) + u64::from(self.blank)
    }
}

/// All messages that are mail, in UID order.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub places: Vec<Place>,
    /// The same, as sessions see them.
    pub summaries: Vec<Summary>,
    /// The last message of the file, mail or not.
    last: Option<(u64, Key)>,
    /// Mail that is to be removed, and not shown.
    pub doomed: Vec<Place>,
    /// There are dead messages in the file.
    pub buried: bool,
    /// There is c-client's pseudo-message.
    internal: bool,
}

/// A table and the file it describes.
#[derive(Clone, Debug, Default)]
pub(super) struct Loaded {
    pub table: Arc<Table>,
    /// The file, as we know it to be.
    pub stamp: Stamp,
    /// The table covers so much of it.
    pub covered: u64,
}

impl Table {
    /// The message of that UID.
    pub fn find(&self, uid: u32) -> Option<&Place> {
        let at = self.places.binary_search_by_key(&uid, |place| place.uid).ok()?;
        self.places.get(at)
    }

    /// Takes in what a scan found. Messages with an intent open are doomed.
    fn add(&mut self, scan: Scan, uids: &[Option<u32>], intents: &BTreeMap<u32, Intent>) {
        self.last = scan.messages.last().map(|message| (message.offset, message.key)).or(self.last);
        for (message, uid) in scan.messages.into_iter().zip(uids) {
            match uid {
                Some(uid) if intents.get(uid).is_some_and(|intent| intent.key == message.key) => {
                    self.doomed.push(place(*uid, message));
                }
                Some(uid) => self.places.push(place(*uid, message)),
                None => {
                    self.buried |= message.kind == Kind::Dead;
                    self.internal |= message.kind == Kind::Internal;
                }
            }
        }
        self.sort();
    }

    /// Nothing but the dead?
    pub fn is_hollow(&self) -> bool {
        self.buried && !self.internal && self.places.is_empty() && self.doomed.is_empty()
    }

    fn sort(&mut self) {
        if !self.places.is_sorted_by_key(|place| place.uid) {
            self.places.sort_unstable_by_key(|place| place.uid);
        }
        self.summaries = self.places.iter().map(|place| Summary { uid: Uid(place.uid), size: place.wire }).collect();
    }

    /// These are not shown any more.
    pub fn doom(&mut self, doomed: &[Place]) {
        let uids: HashSet<u32> = doomed.iter().map(|place| place.uid).collect();
        self.places.retain(|place| !uids.contains(&place.uid));
        self.doomed.extend_from_slice(doomed);
        self.sort();
    }

    /// If the last message of the file is among these, another is the last we know.
    pub fn forget_last(&mut self, gone: &[Place]) {
        if self.last.is_some_and(|(offset, _)| gone.iter().any(|place| place.offset == offset)) {
            let last = self.places.iter().max_by_key(|place| place.offset);
            self.last = last.map(|place| (place.offset, place.key));
        }
    }
}

fn place(uid: u32, m: Message) -> Place {
    let id = m.mark.map(|mark| (mark.id, mark.recipient));
    let Message { offset, length, from, header, blank, body, wire, key, .. } = m;
    Place { uid, offset, length, from, header, blank, body, wire, key, id }
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
                    self.forget_file(inner);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            self.check(&stat)?;
            if inner.file.as_ref().is_some_and(|(_, id)| *id != stat.file) {
                self.forget_file(inner);
            }
            let Some((file, id)) = inner.file.clone().map_or_else(|| self.open(false), |open| Ok(Some(open)))? else { continue };
            inner.file = Some((file.clone(), id));
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

    /// The table for the locked file as it is now. What it shows is durable in the state first.
    pub(super) fn refresh(&self, inner: &mut Inner, file: &dyn File, now: Stamp) -> Result<Loaded, MailboxError> {
        self.ready(inner, Some(file), now.size)?;
        let old = inner.table.take();
        if let Some(loaded) = old.clone().filter(|old| old.stamp == now && old.covered == now.size) {
            self.sync_state(inner)?;
            inner.table = Some(loaded.clone());
            return Ok(loaded);
        }
        let grown = match &old {
            Some(old) if old.stamp == now || (old.stamp.file == now.file && old.stamp.size < now.size) => {
                self.look_at_tail(inner, old, file, now)?
            }
            _ => None,
        };
        let table = match grown {
            Some(table) => table,
            None => {
                let mut scan = self.scan(file, 0, now.size)?;
                let seen: Vec<(u32, Key)> =
                    old.iter().flat_map(|old| &old.table.places).map(|place| (place.uid, place.key)).collect();
                let mut table = Table::default();
                let uids = self.number(inner, &mut scan, &seen, true)?;
                table.add(scan, &uids, inner.intents());
                table
            }
        };
        self.sync_state(inner)?;
        let loaded = Loaded { table: Arc::new(table), stamp: now, covered: now.size };
        inner.table = Some(loaded.clone());
        inner.note_hollow();
        Ok(loaded)
    }

    /// Only the end of the file is new, if the last message we know is still there.
    fn look_at_tail(&self, inner: &mut Inner, old: &Loaded, file: &dyn File, now: Stamp) -> Result<Option<Table>, MailboxError> {
        let Some((offset, key)) = old.table.last else { return Ok(None) };
        let Ok(mut scan) = self.scan(file, offset, now.size) else { return Ok(None) };
        if scan.messages.first().is_none_or(|first| first.key != key) {
            return Ok(None);
        }
        let first = scan.messages.remove(0);
        let mut table = Table::clone(&old.table);
        // An empty line may have been added to it.
        table.places.iter_mut().filter(|place| place.offset == first.offset).for_each(|place| place.length = first.length);
        let seen: Vec<(u32, Key)> = table.places.iter().map(|place| (place.uid, place.key)).collect();
        let uids = self.number(inner, &mut scan, &seen, false)?;
        table.add(scan, &uids, inner.intents());
        Ok(Some(table))
    }

    /// Numbers messages. `whole`: these are all there are; else those in `seen` are there too.
    fn number(
        &self,
        inner: &mut Inner,
        scan: &mut Scan,
        seen: &[(u32, Key)],
        whole: bool,
    ) -> Result<Vec<Option<u32>>, MailboxError> {
        let next = inner.next;
        let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
        let validity = log.sum.validity;
        // A field with a bad seal may come from anywhere.
        for message in &mut scan.messages {
            let good = |mark: &Mark| mark.seal == self.keys.secret.seal(&self.places.label, validity, mark.uid, &message.key);
            message.mark = message.mark.filter(|mark| mark.uid > 0 && good(mark));
        }
        let free = |uid: &u32| whole || seen.binary_search_by_key(uid, |(uid, _)| *uid).is_err();
        let sealed = |message: &Message| message.mark.map(|mark| mark.uid).filter(free);
        let none = BTreeMap::new();
        let before = match whole {
            true => Before { seen, rows: &log.sum.rows, next },
            false => Before { seen: &[], rows: &none, next },
        };
        let changes = reconcile(before, &scan.messages, sealed);
        for (uid, key) in &changes.rows {
            log.put(Fact::Row(*uid, *key));
        }
        for uid in changes.lost.iter().filter(|uid| !log.sum.intents.contains_key(uid)).copied().collect::<Vec<_>>() {
            log.put(Fact::Lost(uid));
        }
        let last = changes.next.saturating_sub(1);
        if last > log.sum.ceiling {
            log.put(Fact::Ceiling(last.saturating_add(super::state::STRIDE)));
        }
        inner.next = changes.next;
        Ok(changes.uids)
    }

    /// Makes durable what is about to be shown.
    pub(super) fn sync_state(&self, inner: &mut Inner) -> Result<(), MailboxError> {
        // A clean end that is noted there is history once a UID was shown after it.
        let next = inner.next;
        let Some(log) = inner.log.as_mut() else { return Ok(()) };
        if log.sum.next.is_some_and(|noted| noted != next) {
            log.put(Fact::Ceiling(log.sum.ceiling));
        }
        log.sync().map_err(MailboxError::from)
    }
}
