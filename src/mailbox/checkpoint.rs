//! Makes what was appended durable. Until the sync has worked, nothing is settled, and the journal keeps every message.

use super::MailboxError;
use super::compact::Reason;
use super::inbox::{Dirty, Inner, Mailbox, Stamp, Try};
use super::mbox::{self, Base};
use super::state::Fact;
use crate::sys::File;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// The base line is looked for in so many bytes.
const FRONT: usize = 16 << 10;
/// Bytes before the durable end that are remembered by their checksum.
pub(super) const LANDMARK: u64 = 64;

impl Mailbox {
    /// Syncs the file, and returns the copies that became durable by that, to be settled.
    pub(super) fn make_durable(&self) -> Vec<Dirty> {
        let mut inner = self.inner();
        if self.places.is_deleted() {
            inner.dissolve();
            return std::mem::take(&mut inner.dirty);
        }
        let mut durable = self.mend_orphans(&mut inner);
        if inner.has_pending_intents() {
            if let Err(error) = self.finish_intents(&mut inner) {
                log::warn!("event=expunge-delayed path={} error={error}", self.spot().path.display());
            }
        }
        self.look_once_more(&mut inner);
        self.write_back(&mut inner);
        if inner.hollow {
            if let Err(error) = self.empty(&mut inner, Reason::Idle) {
                log::warn!("event=truncate-failed path={} error={error}", self.spot().path.display());
            }
        }
        if inner.unsynced.is_none() && inner.dirty.is_empty() && inner.buried.is_empty() {
            self.rest(&mut inner);
            return durable;
        }
        if inner.file.is_none() {
            // It was replaced or taken away, and nobody looked since.
            match self.opened(&mut inner, false) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let buried = std::mem::take(&mut inner.buried);
                    inner.done(buried.into_iter());
                }
                Err(error) => log::warn!("event=sync-delayed path={} error={error}", self.spot().path.display()),
            }
        }
        let lacks_base_line = self.tell_last_uid(&mut inner);
        let Some((file, id)) = inner.file.clone() else { return durable };
        let (known, from, buried) = (inner.known, inner.unsynced.take(), std::mem::take(&mut inner.buried));
        let filed = std::mem::take(&mut inner.freshly_filed);
        let copies = std::mem::take(&mut inner.dirty);
        let named = inner.named == Some(id);
        // Deliveries and readers go on while the disk works.
        drop(inner);
        let synced = self.sync(&*file, named, from);
        let mut inner = self.inner();
        match synced.and_then(|()| self.is_still(id)) {
            Ok(true) => {
                (inner.named, inner.synced) = (Some(id), Some(id));
                durable.extend(copies);
                inner.done(buried.into_iter());
                self.note_filed(&mut inner, &filed);
                self.note_durable(&mut inner, &*file, known);
                if let Err(error) = if lacks_base_line { self.heal_base_line(&mut inner) } else { Ok(()) } {
                    log::warn!("event=base-line-delayed path={} error={error}", self.spot().path.display());
                }
            }
            Ok(false) => {
                inner.orphans.push((file, copies));
                inner.file = inner.file.take().filter(|(_, open)| *open != id);
                durable.extend(self.mend_orphans(&mut inner));
            }
            Err(error) => {
                log::error!("event=sync-failed path={} copies={} error={error}", self.spot().path.display(), copies.len());
                inner.dirty.splice(0..0, copies);
                inner.buried.extend(buried);
                inner.freshly_filed.splice(0..0, filed);
                from.into_iter().for_each(|from| inner.wrote(from));
            }
        }
        durable
    }

    /// After [`Mailbox::make_durable`]: the ledger was told of these copies, or could not be.
    pub(super) fn settled(&self, copies: Vec<Dirty>, told: bool) {
        let mut inner = self.inner();
        if !told {
            inner.dirty.splice(0..0, copies);
            return;
        }
        self.rest(&mut inner);
    }

    /// Gives back what an idle mailbox does not need.
    pub(super) fn rest(&self, inner: &mut Inner) {
        if inner.dirty.is_empty() && inner.unsynced.is_none() {
            self.try_to_save_index(inner);
            inner.file = None;
        }
        inner.spare = None;
        if self.is_unused(inner) && self.seats.are_unread() && !inner.unfiled && !inner.index_behind {
            inner.table = None;
        }
        if let Some(log) = inner.log.as_mut() {
            log.sum.shorten_history(self.seats.known_to_all());
        }
        if let Some(Err(error)) = inner.log.as_mut().map(|log| log.rest(self.shared.clock.now())) {
            log::warn!("event=state-failed path={} error={error}", self.spot().path.display());
        }
    }

    fn sync(&self, file: &dyn File, named: bool, from: Option<u64>) -> io::Result<()> {
        if let Err(error) = file.sync() {
            // The pages count as clean now, whatever reached the disk: the same bytes are written and synced again.
            log::error!("event=sync-failed path={} error={error}", self.spot().path.display());
            from.map_or(Ok(()), |from| write_again(file, from))?;
            file.sync()?;
        }
        if named { Ok(()) } else { self.disk.sync_dir(&self.spot().dir) }
    }

    /// Does the path still mean this file?
    fn is_still(&self, id: (u64, u64)) -> io::Result<bool> {
        match self.disk.stat(&self.spot().path) {
            Ok(stat) => Ok(stat.file == id),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Notes where the durable part ends: after a power cut, what stands there and later is looked at with care.
    pub(super) fn note_durable(&self, inner: &mut Inner, file: &dyn File, known: Option<Stamp>) {
        let unchanged = |stamp: &Stamp| file.stat().is_ok_and(|now| Stamp::from(now) == *stamp);
        let Some(stamp) = known.filter(unchanged) else { return };
        let from = stamp.size.saturating_sub(LANDMARK);
        let mut last = vec![0; (stamp.size - from) as usize];
        if let (Ok(()), Some(log)) = (file.read_exact_at(&mut last, from), inner.log.as_mut()) {
            log.put(Fact::Durable(stamp.size, crc32c::crc32c(&last)));
        }
    }

    /// Brings the last UID in the base line up to date, for other programs. It may fail; nothing of ours hangs on it.
    /// True: there is none, and the first message is one of ours.
    fn tell_last_uid(&self, inner: &mut Inner) -> bool {
        let Ok(Try::Locked(guard, stat)) = self.try_lock_to_change(inner) else { return false };
        let before = inner.is_as_known(stat.into());
        let Ok((from, state)) = first_state(&*guard.file) else { return false };
        let Some((base, at)) = state.base.zip(state.base_at) else { return state.base.is_none() && state.mark.is_some() };
        let at = from + at as u64;
        let last = inner.next.saturating_sub(1);
        if base.validity != inner.validity() || base.last >= last {
            return false;
        }
        let digits = format!("{last:010}");
        if guard.file.write_at(&[IoSlice::new(digits.as_bytes())], at + mbox::BASE_LAST as u64).is_ok() {
            inner.wrote(at);
            if let Ok(stat) = guard.file.stat() {
                inner.has_become(before, stat.into());
            }
        }
        false
    }

    /// The path means another file than the one copies were appended to: those that are not in the new one are put there.
    /// Those that others had taken out of the old one before are in neither, and have been delivered all the same.
    fn mend_orphans(&self, inner: &mut Inner) -> Vec<Dirty> {
        let mut durable = Vec::new();
        for (old, copies) in std::mem::take(&mut inner.orphans) {
            match self.mend(inner, &old, &copies) {
                Ok(()) => {
                    inner.unmended = false;
                    durable.extend(copies);
                }
                Err(error) => {
                    // It is tried every few seconds, and told once.
                    if !std::mem::replace(&mut inner.unmended, true) {
                        let path = self.spot();
                        log::error!("event=mend-failed path={} copies={} error={error}", path.path.display(), copies.len());
                    }
                    inner.orphans.push((old, copies));
                }
            }
        }
        durable
    }

    fn mend(&self, inner: &mut Inner, old: &Arc<dyn File>, copies: &[Dirty]) -> Result<(), MailboxError> {
        let (guard, stat) = self.lock(inner)?;
        let file = &*guard.file;
        self.ready(inner, Some(file), stat.size)?;
        let scan = self.scan(file, 0, stat.size)?;
        let mut size = stat.size;
        inner.known = None;
        for copy in copies {
            if scan.messages.iter().any(|message| message.is_copy(copy.id, copy.recipient, copy.key)) || inner.was_removed(copy) {
                continue;
            }
            let Some(bytes) = self.copy_in(&**old, copy)? else {
                log::warn!("event=copy-taken path={} id={}", self.spot().path.display(), copy.id);
                continue;
            };
            let separator = if size == 0 { b"".as_slice() } else { super::deliver::separator(file, size)? };
            file.write_at(&[IoSlice::new(separator), IoSlice::new(&bytes)], size)?;
            inner.wrote(size);
            size += (separator.len() + bytes.len()) as u64;
            log::info!("event=copy-restored path={} id={}", self.spot().path.display(), copy.id);
        }
        file.sync()?;
        self.disk.sync_dir(&self.spot().dir)?;
        Ok(())
    }

    /// The copy's bytes in the file that was replaced; others may have moved it there before.
    fn copy_in(&self, old: &dyn File, copy: &Dirty) -> Result<Option<Vec<u8>>, MailboxError> {
        let read = |offset, length| {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            old.read_exact_at(&mut bytes, offset).map(|()| bytes)
        };
        let size = old.stat()?.size;
        let found = |from, to| match self.scan(old, from, to) {
            Err(MailboxError::Refused(_)) => Ok::<_, MailboxError>(None),
            scan => Ok(scan?.messages.into_iter().find(|message| message.is_copy(copy.id, copy.recipient, copy.key))),
        };
        if let Some(end) = copy.offset.checked_add(copy.length).filter(|end| *end <= size) {
            // Others may have written there; then it is not where it was, or it is and something else has its room.
            let alone = found(copy.offset, end)?.filter(|message| (message.offset, message.end()) == (copy.offset, end));
            let bytes = if alone.is_some() { read(copy.offset, copy.length)? } else { Vec::new() };
            if copy.is(&bytes) {
                return Ok(Some(bytes));
            }
        }
        Ok(found(0, size)?.map(|message| read(message.offset, message.length)).transpose()?)
    }
}

impl Dirty {
    /// Are these the bytes that were appended?
    fn is(&self, bytes: &[u8]) -> bool {
        let header = memchr::memmem::find(bytes, b"\n\n").map_or(bytes.len(), |end| end + 1);
        let (header, rest) = bytes.split_at(header);
        let ours = mbox::state(header).mark.is_some_and(|mark| (mark.id, mark.recipient) == (self.id, self.recipient));
        ours && crc32c::crc32c(rest) == self.check
    }
}

impl Inner {
    /// Did a user of ours remove this copy?
    fn was_removed(&self, copy: &Dirty) -> bool {
        self.log.as_ref().is_some_and(|log| log.sum.gone.contains(&(copy.id, copy.recipient)))
    }
}

/// Writes what is in the file from `from` on once more.
fn write_again(file: &dyn File, from: u64) -> io::Result<()> {
    let mut piece = vec![0; 256 << 10];
    let mut at = from;
    loop {
        let read = file.read_at(&mut piece, at)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        file.write_at(&[IoSlice::new(bytes)], at)?;
        at += read as u64;
    }
}

/// Where the base line of a file stands, if it is as we write it.
pub(super) fn base_line(file: &dyn File) -> io::Result<Option<(u64, Base)>> {
    let (from, state) = first_state(file)?;
    Ok(state.base.zip(state.base_at).map(|(base, at)| (from + at as u64, base)))
}

/// Where the first message's header begins, and what its state fields say.
pub(super) fn first_state(file: &dyn File) -> io::Result<(u64, mbox::State)> {
    let mut front = vec![0; FRONT];
    let read = file.read_at(&mut front, 0)?;
    front.truncate(read);
    let from = memchr::memchr(b'\n', &front).map_or(read, |end| end + 1);
    Ok((from as u64, mbox::state(front.get(from..).unwrap_or_default())))
}
