//! What one session sees of a mailbox: its own numbering of the shared table, and what changed since it last looked.

use super::flags::{Flags, Keywords, Marks};
use super::inbox::{Inner, Mailbox, PATIENCE};
use super::lock::Patience;
use super::marking::{Change, Marked};
use super::numbering::Numbering;
use super::read::Block;
use super::table::{Counts, NO_ZONE, Row, UNKNOWN};
use super::wake::{Bell, Seat};
use super::{Identity, MailboxError, Summary, Uid};
use crate::sys::{File, Lock, Open};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What one session sees. It may be shared by the threads of one session, no further.
#[derive(Debug)]
pub struct View {
    pub(super) mailbox: Arc<Mailbox>,
    validity: u32,
    seat: Arc<Seat>,
    told: Mutex<Told>,
    pub(super) block: Mutex<Block>,
}

/// What the session was told.
#[derive(Debug)]
pub(super) struct Told {
    numbering: Numbering,
    /// Marks up to this modseq.
    modseq: u64,
    /// The modseq of the first of the expunges that it was not told of.
    waits: Option<u64>,
    /// The table this is about ([`Inner::generation`]).
    generation: u64,
    /// Messages that this session was the first to be told of, ascending.
    recent: Vec<u32>,
}

/// What a session is told when it looks.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Tell {
    /// Messages are gone.
    pub gone: bool,
    /// Others came.
    pub new: bool,
    /// Marks changed.
    pub marks: bool,
}

impl Tell {
    /// Everything.
    pub const ALL: Tell = Tell { gone: true, new: true, marks: true };
    /// Nothing.
    pub const NONE: Tell = Tell { gone: false, new: false, marks: false };
}

/// What changed since a session last looked, in the order in which it is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Number and UID of messages that are gone, the last first: each number is right once those before it were told.
    pub gone: Vec<(u32, Uid)>,
    /// How many messages there are now, if some came.
    pub exists: Option<u32>,
    /// Number and UID of messages the session knew, whose marks changed.
    pub marked: Vec<(u32, Uid)>,
}

/// A message that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Its number in this session.
    pub number: u32,
    /// Its UID.
    pub uid: Uid,
    /// None: it is gone, and the session was not told yet.
    pub summary: Option<Summary>,
}

/// POP3's exclusive access: other programs and deliveries go on, other POP3 sessions wait.
#[derive(Debug)]
pub struct Lease {
    /// Holds the lock; closing it gives the lease back.
    _file: Arc<dyn File>,
}

impl Mailbox {
    /// Takes the lease on this mailbox, or says who is [`MailboxError::InUse`]. It ends when the lease is dropped.
    pub fn lease(self: &Arc<Self>) -> Result<Lease, MailboxError> {
        self.shared.disk.make_dir(&self.places.state, 0o700)?;
        let file = self.shared.disk.open(&self.places.beside("lease"), Open::Create(0o600))?;
        if !file.try_lock(Lock::Exclusive)? {
            return Err(MailboxError::InUse);
        }
        Ok(Lease { _file: file })
    }

    /// The messages that are there now. An account that never got mail has an empty mailbox.
    pub fn view(self: &Arc<Self>) -> Result<View, MailboxError> {
        let mut inner = self.enter();
        self.wait_for_writers();
        self.finish_intents(&mut inner)?;
        drop(self.look(&mut inner)?);
        let modseq = inner.modseq;
        let seat = self.seats.take(modseq);
        let numbering = Numbering { top: inner.table.as_ref().map_or(0, |loaded| loaded.table.top), gone: Vec::new() };
        let told = Mutex::new(Told { numbering, modseq, waits: None, generation: inner.generation, recent: Vec::new() });
        Ok(View { validity: inner.validity(), seat, told, block: Mutex::default(), mailbox: self.clone() })
    }

    /// Some programs that write hold a dotlock only. They are waited for a little; to read beside them does no harm.
    fn wait_for_writers(&self) {
        let mut patience = Patience::new(&*self.shared.clock, PATIENCE / 4);
        let (disk, clock, spot) = (&*self.disk, &*self.shared.clock, self.spot());
        while disk.stat(&spot.dotlock).is_ok() && !self.keys.locker.remove_stale(disk, clock, &spot.dotlock) {
            if patience.wait().is_err() {
                return;
            }
        }
    }
}

impl View {
    /// UIDVALIDITY (RFC 3501 §2.3.1.1).
    pub fn uid_validity(&self) -> u32 {
        self.validity
    }

    /// No message will get a lower UID (RFC 3501 §2.3.1.1).
    pub fn uid_next(&self) -> u32 {
        self.mailbox.inner().next
    }

    /// The keywords of the folder.
    pub fn keywords(&self) -> Keywords {
        self.mailbox.inner().log.as_ref().map(|log| log.sum.keywords.clone()).unwrap_or_default()
    }

    /// How many messages the session knows of.
    pub fn count(&self) -> Result<u32, MailboxError> {
        self.with(|told, inner| told.numbering.count(inner.rows()) as u32)
    }

    /// The number of the first message without `\\Seen` (RFC 3501 §6.3.1).
    pub fn first_unseen(&self) -> Result<Option<u32>, MailboxError> {
        self.with(|told, inner| {
            let mut known = told.numbering.numbered(inner.rows());
            known.find(|(_, row)| !row.marks.flags.has(Flags::SEEN)).map(|(number, _)| number)
        })
    }

    /// The messages with all of these flags that the session knows of and that are there; of these ranges of UIDs, which ascend.
    pub fn flagged(&self, flags: Flags, ranges: &[RangeInclusive<u32>]) -> Result<Vec<Uid>, MailboxError> {
        self.with(|told, inner| {
            let mut found = Vec::new();
            for range in ranges {
                let rows = inner.rows().rows.get(inner.rows().below(*range.start())..).unwrap_or_default();
                let rows = rows.iter().take_while(|row| row.uid <= *range.end() && row.uid < told.numbering.top);
                found.extend(rows.filter(|row| row.marks.flags.has(flags)).map(|row| Uid(row.uid)));
            }
            found
        })
    }

    /// Messages, unseen ones and so on of the whole mailbox, known to the session or not.
    pub fn counts(&self) -> Counts {
        self.mailbox.inner().rows().counts()
    }

    /// The number of a message (RFC 3501 §2.3.1.2).
    pub fn number(&self, uid: Uid) -> Result<Option<u32>, MailboxError> {
        self.with(|told, inner| told.numbering.number(inner.rows(), uid.0))
    }

    /// The UID of the message of that number.
    pub fn uid(&self, number: u32) -> Result<Option<Uid>, MailboxError> {
        self.with(|told, inner| told.numbering.uid(inner.rows(), number).map(Uid))
    }

    /// The messages the session knows of and that are still there, in UID order.
    pub fn messages(&self) -> Result<Vec<Summary>, MailboxError> {
        self.with(|told, inner| {
            let known = inner.rows().rows.iter().take_while(|row| row.uid < told.numbering.top);
            known.map(Summary::from).collect()
        })
    }

    /// One message; none if it is gone, or the session was not told of it.
    pub fn message(&self, uid: Uid) -> Result<Option<Summary>, MailboxError> {
        self.with(|told, inner| inner.rows().find(uid.0).filter(|row| row.uid < told.numbering.top).map(Summary::from))
    }

    /// Many messages; none for each that is gone, or that the session was not told of.
    pub fn summaries(&self, uids: &[Uid]) -> Result<Vec<Option<Summary>>, MailboxError> {
        self.with(|told, inner| {
            let table = inner.rows();
            let mut next = 0;
            let found = uids.iter().map(|uid| {
                let at = table.at_or_near(next, uid.0)?;
                next = at + 1;
                table.rows.get(at).filter(|row| row.uid < told.numbering.top).map(Summary::from)
            });
            found.collect()
        })
    }

    /// The messages of these ranges of numbers, or of UIDs, that the session knows of, in their order. Those that are gone
    /// have no summary.
    pub fn select(&self, ranges: &[RangeInclusive<u32>], by_uid: bool) -> Result<Vec<Selected>, MailboxError> {
        self.with(|told, inner| {
            let (table, numbering) = (inner.rows(), &told.numbering);
            let count = numbering.count(table) as u32;
            // As many as it takes: to double the room again and again would cost more than to fill it.
            let most = |range: &RangeInclusive<u32>| (u64::from(*range.end()) + 1).saturating_sub(u64::from(*range.start()));
            let most = ranges.iter().map(most).fold(0, u64::saturating_add).min(u64::from(count));
            let mut selected = Vec::with_capacity(most as usize);
            let alive = |number, row: &Row| Selected { number, uid: Uid(row.uid), summary: Some(row.into()) };
            for range in ranges {
                let (first, last) = (*range.start(), *range.end());
                if by_uid {
                    let start = table.below(first);
                    let rows = table.rows.get(start..).unwrap_or_default().iter();
                    let mut rows = rows.take_while(|row| row.uid <= last && row.uid < numbering.top).peekable();
                    let mut gone = numbering.gone.iter().copied().filter(|uid| range.contains(uid)).peekable();
                    // Both ascend, and together they have a number each, without a gap.
                    let before = |uid: u32| table.below(uid) + numbering.gone.partition_point(|gone| *gone < uid);
                    let mut number = before(first) as u32;
                    loop {
                        number += 1;
                        match (rows.peek(), gone.peek()) {
                            (Some(row), uid) if uid.is_none_or(|uid| row.uid < *uid) => selected.push(alive(number, row)),
                            (_, Some(uid)) => {
                                selected.push(Selected { number, uid: Uid(*uid), summary: None });
                                gone.next();
                                continue;
                            }
                            _ => break,
                        }
                        rows.next();
                    }
                } else if numbering.gone.is_empty() {
                    let rows = table.rows.get(first.saturating_sub(1) as usize..last.min(count) as usize).unwrap_or_default();
                    selected.extend((first..).zip(rows).map(|(number, row)| alive(number, row)));
                } else {
                    for number in first..=last.min(count) {
                        let Some(uid) = numbering.uid(table, number) else { break };
                        let summary = table.find(uid).map(Summary::from);
                        selected.push(Selected { number, uid: Uid(uid), summary });
                    }
                }
            }
            selected
        })
    }

    /// The highest UID that the session knows of; zero if there is none.
    pub fn last_uid(&self) -> Result<u32, MailboxError> {
        self.with(|told, inner| {
            let table = inner.rows();
            let last = table.below(told.numbering.top).checked_sub(1).and_then(|at| table.rows.get(at)).map_or(0, |row| row.uid);
            last.max(told.numbering.gone.last().copied().unwrap_or(0))
        })
    }

    /// How many messages are recent to this session.
    pub fn recent(&self) -> usize {
        let inner = self.mailbox.inner();
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.recent.iter().filter(|uid| inner.rows().at(**uid).is_some()).count()
    }

    /// How many messages no session was told of yet (RFC 3501 §6.3.10, RECENT).
    pub fn unclaimed(&self) -> usize {
        let inner = self.mailbox.inner();
        let from = inner.log.as_ref().map_or(0, |log| log.sum.told);
        let table = inner.rows();
        let fresh = table.rows.get(table.below(from)..).unwrap_or_default();
        fresh.iter().filter(|row| !row.marks.flags.has(Flags::OLD)).count()
    }

    /// The greatest mod-sequence in the mailbox (RFC 7162 §3.1.2); never zero.
    pub fn highest_modseq(&self) -> u64 {
        self.mailbox.inner().modseq.max(1)
    }

    /// The mod-sequence of the first of the expunges that are known and wait until the session may be told (RFC 7162 §3.2).
    pub fn waiting_modseq(&self) -> Option<u64> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).waits
    }

    /// UIDs that were expunged after this mod-sequence, ascending. None: that was too long ago to be remembered, and any UID
    /// below the next that is not there may be one (RFC 7162 §3.2.5.1).
    pub fn vanished_since(&self, modseq: u64) -> Option<Vec<u32>> {
        let inner = self.mailbox.inner();
        let sum = &inner.log.as_ref()?.sum;
        if modseq < sum.floor {
            return None;
        }
        let mut uids: Vec<u32> = sum.expunged.iter().rev().take_while(|(when, _)| *when > modseq).map(|(_, uid)| *uid).collect();
        uids.sort_unstable();
        uids.dedup();
        Some(uids)
    }

    /// What a message is known by beyond its UID; none if it is gone.
    pub fn identity(&self, uid: Uid) -> Result<Option<Identity>, MailboxError> {
        self.mailbox.identity(uid)
    }

    /// The mailbox.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Looks what changed. Without `tell_gone` the session's numbers stay as they are; expunges wait until it is told (RFC 3501 §7.4.1).
    pub fn sync(&self, tell_gone: bool) -> Result<Changes, MailboxError> {
        self.sync_some(Tell { gone: tell_gone, ..Tell::ALL })
    }

    /// The same, but only what is to be told; the rest waits until it is.
    pub fn sync_some(&self, tell: Tell) -> Result<Changes, MailboxError> {
        let mut inner = self.mailbox.enter();
        drop(self.mailbox.look(&mut inner)?);
        let mut told = self.absorb(&inner)?;
        let table = inner.rows();
        let mut changes = Changes::default();
        if tell.gone {
            changes.gone = told.numbering.tell_gone(table).into_iter().map(|(number, uid)| (number, Uid(uid))).collect();
            told.waits = None;
        }
        // They are told after the others went.
        if tell.marks && told.modseq < inner.modseq {
            let changed = told.numbering.numbered(table).filter(|(_, row)| row.modseq > told.modseq);
            changes.marked.extend(changed.map(|(number, row)| (number, Uid(row.uid))));
        }
        if tell.new && table.top > told.numbering.top {
            let before = told.numbering.count(table);
            told.numbering.top = table.top;
            let now = told.numbering.count(table);
            changes.exists = (now > before).then_some(now as u32);
        }
        if tell.marks {
            told.modseq = inner.modseq;
        }
        Ok(changes)
    }

    /// Changes marks, as [`Mailbox::mark`] does, and tells in the same look which of them others had changed since this session
    /// was last told.
    pub fn mark(&self, uids: &[Uid], change: Change, marks: Marks, unchanged_since: Option<u64>) -> Result<Marked, MailboxError> {
        let known = self.told.lock().unwrap_or_else(PoisonError::into_inner).modseq;
        self.mailbox.mark_knowing(known, uids, change, marks, unchanged_since)
    }

    /// From now on this session, and no other, has the messages it knows of and nobody was told of before as recent (RFC 3501 §2.3.2).
    pub fn claim_recent(&self) -> Result<(), MailboxError> {
        let mut inner = self.mailbox.enter();
        let mut told = self.absorb(&inner)?;
        let Some(from) = inner.log.as_ref().filter(|_| inner.table.is_some()).map(|log| log.sum.told) else { return Ok(()) };
        let to = told.numbering.top;
        if from >= to {
            return Ok(());
        }
        told.note_recent(&inner);
        drop(told);
        self.mailbox.make_old(&mut inner, to)
    }

    /// The same, but the next session has them as recent, too (RFC 3501 §6.3.2).
    pub fn borrow_recent(&self) -> Result<(), MailboxError> {
        let inner = self.mailbox.enter();
        self.absorb(&inner)?.note_recent(&inner);
        Ok(())
    }

    /// Was this session the first to be told of it?
    pub fn is_recent(&self, uid: Uid) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.recent.binary_search(&uid.0).is_ok()
    }

    /// The bell rings when there may be something to [`View::sync`]; it is always the same one.
    pub fn watch(&self, bell: &Arc<Bell>) {
        self.mailbox.shared.waker().await_file(&self.mailbox);
        self.seat.wait_with(bell);
    }

    /// Gives buffers back, before a long wait.
    pub fn rest(&self) {
        *self.block.lock().unwrap_or_else(PoisonError::into_inner) = Block::default();
    }

    /// Looks at the table, after what is gone was noted.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Told, &Inner) -> T) -> Result<T, MailboxError> {
        let inner = self.mailbox.inner();
        let told = self.absorb(&inner)?;
        Ok(look(&told, &inner))
    }

    /// Takes in what was expunged since. The numbers hold for the table from then on, as long as `inner` is held.
    fn absorb(&self, inner: &Inner) -> Result<MutexGuard<'_, Told>, MailboxError> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.generation != inner.generation {
            return Err(MailboxError::Gone);
        }
        let since = self.seat.position();
        let expunged = inner.log.iter().flat_map(|log| log.sum.expunged.iter().rev());
        for (modseq, uid) in expunged.take_while(|(modseq, _)| *modseq > since) {
            if told.numbering.lose(*uid) {
                told.waits = Some(told.waits.map_or(*modseq, |waits| waits.min(*modseq)));
            }
        }
        self.seat.advance(inner.modseq);
        Ok(told)
    }
}

impl Told {
    /// The messages the session knows of, and no session that could say so was told of, are recent to it.
    fn note_recent(&mut self, inner: &Inner) {
        let from = inner.log.as_ref().map_or(0, |log| log.sum.told).max(self.recent.last().map_or(0, |uid| uid + 1));
        let rows = inner.rows().rows.get(inner.rows().below(from)..).unwrap_or_default();
        let fresh = rows.iter().take_while(|row| row.uid < self.numbering.top);
        self.recent.extend(fresh.filter(|row| !row.marks.flags.has(Flags::OLD)).map(|row| row.uid));
    }
}

impl From<&Row> for Summary {
    fn from(row: &Row) -> Summary {
        let Row { uid, wire, marks, modseq, date, saved, zone, .. } = *row;
        let (zone, saved) = (Some(zone).filter(|zone| *zone != NO_ZONE), Some(saved).filter(|saved| *saved != UNKNOWN));
        Summary { uid: Uid(uid), size: wire, marks, modseq, date, zone, saved }
    }
}
