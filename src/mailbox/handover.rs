//! How the numbering of a mailbox goes on: from a life of the daemon to the next, from UW or Dovecot to us, and beside another
//! daemon on the same files. The state log is where all of them meet.
//!
//! Mail and state may both come from a backup, and then nothing there knows which UIDs were given since. So a life begins behind
//! all that could have been, if a mailbox gets no more than a message a second: as many UIDs are passed over as seconds went by
//! since the log last told the time (by a mod-sequence). If the log was changed or put there later than it tells (nobody can set
//! `st_ctim`), it is taken for a restored one, and [`BURST`] more are passed over: users copy whole mailboxes in seconds. A log
//! that may be an old one goes on behind the age of the mailbox in seconds, too: an older one may have been put back before. Only
//! soon after a clean end with a log that was not touched since, numbering goes on exactly (RFC 9051 §2.3.1.1). Later than that,
//! the whole disk may have gone back to what it was then, as a snapshot of a machine does, times and all. Neither an inode nor
//! its device is asked: file systems give the same inode again at once, and devices are numbered anew at each start.

use super::MailboxError;
use super::checkpoint::first_state;
use super::inbox::{Inner, Mailbox, Stamp};
use super::refresh::Loaded;
use super::scan::Scan;
use super::state::{Fact, Log};
use crate::sys::{File, Time};

/// A newer UIDVALIDITY than the clock's is not believed of others beyond this, in seconds.
const CLOCK_SLACK: i64 = 86_400;
/// A log was written when it says, or up to so many seconds later.
const WRITING: i64 = 5;
/// Mod-sequences are reserved ahead of the time, in seconds.
const MODSEQS_AHEAD: i64 = 60;
/// A restart takes no longer than so many seconds, and nobody goes back to a snapshot within them.
const RESTART: i64 = 600;
/// So many messages may have come at once since a backup.
const BURST: u32 = 100_000;

impl Mailbox {
    /// Reads the state log, when that was not done yet, and takes up a mailbox never seen before. The file is locked.
    pub(super) fn ready(&self, inner: &mut Inner, file: Option<&dyn File>, size: u64) -> Result<(), MailboxError> {
        if inner.log.is_some() {
            return self.heed_others(inner);
        }
        let mut log = self.open_log()?;
        if log.sum.validity == 0 {
            inner.spare = self.take_up(&mut log, file, size)?;
        }
        let known = log.sum.next.map_or_else(|| log.sum.ceiling.saturating_add(1), |(next, _)| next);
        let (next, strange) = self.next_after(&log, known);
        inner.next = next;
        if let Some(base) = file.map(first_state).transpose()?.and_then(|(_, state)| state.base) {
            // The state may be an older one that was put back: what the file says was given is not given again.
            if base.validity == log.sum.validity && base.last < u32::MAX / 2 {
                inner.next = inner.next.max(base.last + 1);
            }
        }
        if next > known {
            // The log is about to tell a later time. A copy of it from then must tell also what was passed over.
            log.put(Fact::Ceiling(inner.next.saturating_sub(1)));
        }
        inner.modseq = inner.modseq.max(log.sum.modseq);
        inner.unproven = log.sum.intents.keys().copied().collect();
        inner.log = Some(log);
        if strange {
            // Nor does it know what went away since (RFC 7162 §3.2.5.1).
            let modseq = inner.give_modseq(self.shared.clock.now())?;
            inner.log.iter_mut().for_each(|log| log.put(Fact::Floor(modseq)));
        }
        if self.shared.has_peers() { self.greet(inner) } else { Ok(()) }
    }

    /// Lets another daemon know of us, before we look at anything: from then on it tells what it does to the file. It answers
    /// with the same fact, which says nothing new.
    fn greet(&self, inner: &mut Inner) -> Result<(), MailboxError> {
        inner.others = true;
        let Some(log) = inner.log.as_mut() else { return Ok(()) };
        log.put(Fact::Ceiling(log.sum.ceiling));
        Ok(log.flush()?)
    }

    /// The next UID, behind all that may have been given that this log does not know of, and whether it may be an old one.
    fn next_after(&self, log: &Log, known: u32) -> (u32, bool) {
        let told = Time(i64::try_from(log.sum.modseq).unwrap_or(i64::MAX)).seconds();
        let now = self.shared.clock.now().seconds();
        // In what would take up half of all UIDs, the clock is not to be believed.
        let since = |then: i64| u32::try_from(now.saturating_sub(then).max(0)).ok().filter(|since| *since < u32::MAX / 2);
        let Some(passed) = since(told).filter(|_| told > 0) else { return (known, false) };
        let written =
            log.sum.next.map_or(told.saturating_add(MODSEQS_AHEAD), |(_, ended)| ended.seconds().saturating_add(WRITING));
        // A time that is still to come tells nothing.
        let late = written..=now.saturating_add(MODSEQS_AHEAD);
        let is_late = log.changed().is_ok_and(|changed| late.contains(&changed.seconds()));
        let strange = is_late || i64::from(passed) > RESTART;
        let next = if strange || log.sum.next.is_none() { known.saturating_add(passed) } else { known };
        // An older one may have been put back before this one, from which more was passed over.
        let age = since(log.sum.validity.into()).filter(|_| strange).unwrap_or(0);
        (next.max(age).saturating_add(if is_late { BURST } else { 0 }), strange)
    }

    /// Does something that hangs on what another daemon told last: meanwhile it can't tell more. What is put is in the log then,
    /// not durable yet. Marks are changed like this, and keywords numbered: of these the last word counts, and the order.
    pub(super) fn in_turn<T>(
        &self,
        inner: &mut Inner,
        act: impl FnOnce(&mut Inner) -> Result<T, MailboxError>,
    ) -> Result<T, MailboxError> {
        let log = inner.log.as_mut().ok_or(MailboxError::Gone)?;
        if log.is_held() {
            return act(inner);
        }
        log.hold()?;
        let result = self.heed_others(inner).and_then(|()| act(inner));
        let told = inner.log.as_mut().map_or(Ok(()), Log::release);
        result.and_then(|value| told.map(|()| value).map_err(MailboxError::from))
    }

    /// Another daemon may keep the same mailbox, with this state log between us: takes in what it told.
    pub(super) fn heed_others(&self, inner: &mut Inner) -> Result<(), MailboxError> {
        let Some(log) = inner.log.as_mut() else { return Ok(()) };
        log.catch_up()?;
        if log.foreign().is_empty() {
            return Ok(());
        }
        if !inner.others {
            self.greet(inner)?;
        }
        let Some(log) = inner.log.as_mut() else { return Ok(()) };
        let table = inner.table.as_ref().map(|loaded| &loaded.table);
        let is_strange = |uid| table.is_none_or(|table| table.at(uid).is_none());
        let is_of_none = |fact: &Fact| match fact {
            Fact::Rows(..) => true,
            Fact::Marks(uids, ..) => uids.iter().any(is_strange),
            _ => false,
        };
        if log.foreign().iter().any(is_of_none) {
            // A sum that leaves single messages to the index would leave these to nobody.
            log.complete()?;
        }
        let facts = log.take_foreign();
        // Ours go on above all that the other one may have given.
        inner.modseq = inner.modseq.max(log.sum.modseq);
        let modseq = inner.give_modseq(self.shared.clock.now())?;
        for fact in facts {
            match fact {
                Fact::Moved => inner.table.iter_mut().for_each(Loaded::distrust),
                // What came since must not hide that the file was changed in the middle.
                Fact::Intent(intent) if inner.rows().at(intent.uid).is_some() => {
                    inner.table.iter_mut().for_each(Loaded::distrust);
                }
                Fact::Expunged(_, uids) => {
                    if uids.iter().any(|uid| inner.rows().at(uid).is_some()) {
                        inner.table.iter_mut().for_each(Loaded::distrust);
                    }
                    inner.next = uids.iter().last().map_or(inner.next, |uid| inner.next.max(uid + 1));
                }
                Fact::Rows(first, keys) => inner.next = inner.next.max(first + keys.len() as u32),
                Fact::Told(top) => inner.grow_old(0, top),
                Fact::Marks(uids, marks, filed) => {
                    let rows = inner.table.iter_mut().flat_map(|loaded| &mut loaded.table.rows);
                    for row in rows.filter(|row| uids.has(row.uid)) {
                        if row.marks != marks {
                            row.modseq = modseq;
                        }
                        (row.marks, row.filed) = (marks, filed);
                        row.pending = row.room > 0 && !row.is_filed();
                        // The other one may have no time to write them.
                        inner.unfiled |= row.pending;
                    }
                }
                _ => {}
            }
        }
        self.seats.ring();
        Ok(())
    }

    /// A mailbox without state. UW's and Dovecot's numbers are taken over if they hold together; if there are messages of
    /// ours, then the state was lost, and new numbers begin.
    fn take_up(&self, log: &mut Log, file: Option<&dyn File>, size: u64) -> Result<Option<(Stamp, Scan)>, MailboxError> {
        let stamp = file.map(|file| file.stat()).transpose()?.map(Stamp::from);
        let found = match file.map(|file| self.scan(file, 0, size)) {
            Some(Err(error)) if !matches!(error, MailboxError::Refused(_)) => return Err(error),
            found => found.and_then(Result::ok),
        };
        let spare = stamp.filter(|_| found.is_some());
        let scan = found.unwrap_or_default();
        let latest = self.shared.clock.now().seconds() + CLOCK_SLACK;
        let adopted = adopt(&scan).filter(|(validity, _)| i64::from(*validity) <= latest);
        // The user's log may be lost, too, and the clock set back.
        let old = scan.base.map(|(base, _)| base.validity).filter(|old| i64::from(*old) <= latest);
        let validity = self.user.give_validity(self.places.id, adopted.map(|(validity, _)| validity), old)?;
        let adopted = adopted.filter(|(found, _)| *found == validity);
        log::info!(
            "event=mailbox-new path={} uidvalidity={validity} adopted={} messages={}",
            self.spot().path.display(),
            adopted.is_some(),
            scan.messages.len()
        );
        log.put(Fact::Validity(validity));
        // It tells the time from the beginning, though nobody may look for long: see `unknown_to`.
        log.put(Fact::Modseq(u64::try_from(self.shared.clock.now().seconds()).unwrap_or(0).saturating_mul(1_000_000)));
        if let Some((_, last)) = adopted {
            let rows = scan.messages.iter().filter_map(|message| Some((message.uid.filter(|uid| *uid > 0)?, message.key)));
            log.put_rows(&rows.collect::<Vec<_>>());
            log.put(Fact::Ceiling(last));
            log.put(Fact::Next(last + 1, self.shared.clock.now()));
        }
        Ok(spare.map(|stamp| (stamp, scan)))
    }

    /// A clean end: numbering goes on exactly here. (If this is lost, it goes on at the ceiling.)
    pub(super) fn end(&self) {
        let mut inner = self.inner();
        if let Err(error) = self.heed_others(&mut inner) {
            log::warn!("event=state-failed path={} error={error}", self.spot().path.display());
            return;
        }
        // Where another daemon goes on, there is no end.
        let (next, others) = (inner.next, inner.others);
        if let Some(log) = inner.log.as_mut().filter(|log| !others && log.sum.next.is_none_or(|(noted, _)| noted != next)) {
            log.put(Fact::Next(next, self.shared.clock.now()));
            if let Err(error) = log.flush() {
                log::warn!("event=state-failed path={} error={error}", self.spot().path.display());
            }
            inner.index_behind = true;
        }
        // Now the index has all that the log has.
        inner.index_saved = None;
        self.try_to_save_index(&mut inner);
    }
}

/// UIDVALIDITY and last UID of a mailbox that UW or Dovecot numbered: every number in order, none above the last.
pub(super) fn adopt(scan: &Scan) -> Option<(u32, u32)> {
    let (base, _) = scan.base.filter(|(base, _)| base.validity > 0 && base.last < u32::MAX / 2)?;
    let mut before = 0;
    for message in scan.messages.iter().filter(|message| message.mark.is_some() || message.uid.is_some()) {
        let uid = message.uid.filter(|uid| message.mark.is_none() && *uid > before && *uid <= base.last)?;
        before = uid;
    }
    Some((base.validity, base.last))
}
