//! Removes messages: the intent is durable first, then the message is overwritten in the room it has. From the intent on it
//! is not shown any more, whatever happens; what a crash or another program's lock left undone is done later.

use super::compact::Reason;
use super::inbox::{Inner, Mailbox, Stamp, Try};
use super::lock::Guard;
use super::mbox::{self, Base, Dead};
use super::remains;
use super::secret::Key;
use super::state::{Fact, Intent, Log};
use super::table::Row;
use super::uidset::UidSet;
use super::{Identity, MailboxError, Uid};
use crate::spool::SpoolId;
use crate::sys::{File, Stat};
use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// From so many bytes on, room is given back to the file system instead of written over.
const WORTH_PUNCHING: u64 = 64 << 10;
const ZEROS: usize = 64 << 10;

impl Mailbox {
    /// Removes messages for good. Those that are gone already are fine. When this returns, they will not be shown again,
    /// not even after a power cut; where another program holds the lock they are overwritten later.
    pub fn expunge(&self, uids: &[Uid]) -> Result<(), MailboxError> {
        self.expunge_those(uids.len(), |inner, _| Ok(uids.iter().filter_map(|uid| inner.rows().find(uid.0)).copied().collect()))
    }

    /// The same, for these messages and no others, whatever UIDs they have meanwhile: after a power cut a copy that was not
    /// durable yet is made again, under another one.
    pub fn expunge_known(&self, messages: &[Identity]) -> Result<(), MailboxError> {
        self.expunge_those(messages.len(), |inner, file| {
            let mut found = Vec::with_capacity(messages.len());
            for message in messages {
                let key = Key(message.key);
                if let Some(row) = inner.rows().find(message.uid.0).filter(|row| row.key == key) {
                    found.push(*row);
                    continue;
                }
                for row in inner.rows().rows.iter().filter(|row| row.key == key && message.copy.is_some()) {
                    if self.copy_at(inner, file, row)? == message.copy {
                        found.push(*row);
                        break;
                    }
                }
            }
            Ok(found)
        })
    }

    /// Are these all there, under these UIDs?
    pub fn has_all(&self, messages: &[Identity]) -> Result<bool, MailboxError> {
        let mut inner = self.enter();
        if self.look(&mut inner)?.is_none() {
            return Ok(messages.is_empty());
        }
        let rows = inner.rows();
        Ok(messages.iter().all(|message| rows.find(message.uid.0).is_some_and(|row| row.key == Key(message.key))))
    }

    /// What a message is known by, whatever becomes of its UID.
    pub(super) fn identity(&self, uid: Uid) -> Result<Option<Identity>, MailboxError> {
        let mut inner = self.enter();
        let Some(reading) = self.look(&mut inner)? else { return Ok(None) };
        let Some(row) = inner.rows().find(uid.0) else { return Ok(None) };
        Ok(Some(Identity { uid, key: row.key.0, copy: self.copy_at(&inner, &*reading.file, row)? }))
    }

    fn expunge_those(&self, count: usize, find: impl Fn(&Inner, &dyn File) -> io::Result<Vec<Row>>) -> Result<(), MailboxError> {
        let mut inner = self.enter();
        if count == 0 || !self.exists()? {
            return Ok(());
        }
        let locked = match self.lock(&mut inner) {
            Ok(locked) => Some(locked),
            Err(MailboxError::Busy) if inner.table.is_some() => None,
            Err(error) => return Err(error),
        };
        match (&locked, &inner.table) {
            (Some((guard, stat)), _) => self.refresh(&mut inner, Some(&*guard.file), (*stat).into())?,
            (None, Some(_)) => {}
            (None, None) => return Err(MailboxError::Busy),
        }
        let file = match &inner.file {
            Some((file, _)) => file.clone(),
            None => self.open_known(&mut inner)?,
        };
        let mut doomed = find(&inner, &*file)?;
        if let Some((guard, stat)) = &locked {
            if !self.vouch(&mut inner, &*guard.file, &doomed)? {
                self.refresh(&mut inner, Some(&*guard.file), (*stat).into())?;
                doomed = find(&inner, &*file)?;
            }
        }
        if doomed.is_empty() {
            return Ok(());
        }
        let now = self.shared.clock.now();
        let base = self.base(&inner);
        let modseq = inner.give_modseq(now)?;
        for row in &doomed {
            let mut intent = remains::intent(&*file, &self.keys.secret, row, base)?;
            if locked.is_none() {
                // Who has the lock may have put another message there, which must not be known for this one.
                intent.tags.clear();
            }
            let copy = self.copy_at(&inner, &*file, row)?.or_else(|| inner.unsettled(&row.key));
            let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
            log.put(Fact::Intent(intent));
            if let Some((id, recipient)) = copy {
                log.put(Fact::Gone(id, recipient, now));
            }
        }
        self.tell_lost(&mut inner, doomed.iter().map(|row| row.uid), modseq);
        if let Some(loaded) = &mut inner.table {
            loaded.table.doom(&doomed);
        }
        self.user.sizes.forget(self.places.id);
        inner.index_behind = true;
        inner.log.as_mut().map_or(Ok(()), Log::sync)?;
        match locked {
            Some((guard, stat)) if !self.is_remembered(&stat) => self.bury(&mut inner, &guard, &doomed),
            _ => Ok(()),
        }
    }

    /// Opens the file that the table describes, which another program has locked.
    fn open_known(&self, inner: &mut Inner) -> Result<Arc<dyn File>, MailboxError> {
        let (file, id) = self.opened(inner, false)?.ok_or(MailboxError::Gone)?;
        match &inner.table {
            Some(loaded) if loaded.stamp.file == id => Ok(file),
            _ => Err(MailboxError::Busy),
        }
    }

    /// Does what intents say that are not done: after a crash, or after another program held the lock.
    pub(super) fn finish_intents(&self, inner: &mut Inner) -> Result<(), MailboxError> {
        if inner.log.is_none() {
            match self.lock_for_reading(inner)? {
                Some(reading) => self.ready(inner, Some(&*reading.file), reading.stat.size)?,
                None => return self.ready(inner, None, 0),
            }
        }
        if !inner.has_pending_intents() {
            return Ok(());
        }
        if !self.exists()? {
            return self.settle_intents(inner, None);
        }
        let (guard, stat) = match self.lock(inner) {
            Err(MailboxError::Busy) => return Ok(()),
            other => other?,
        };
        self.refresh(inner, Some(&*guard.file), stat.into())?;
        if self.is_remembered(&stat) {
            return Ok(());
        }
        if !self.vouch(inner, &*guard.file, &inner.rows().doomed.clone())? {
            self.refresh(inner, Some(&*guard.file), stat.into())?;
        }
        self.renew_intents(inner, &*guard.file)?;
        self.bury_remains(inner, &guard, true)?;
        let doomed = inner.rows().doomed.clone();
        self.bury(inner, &guard, &doomed)
    }

    /// Overwrites what a crash left half overwritten in the place it had. `all`: and what nobody else can be in that place.
    pub(super) fn bury_remains(&self, inner: &mut Inner, guard: &Guard<'_>, all: bool) -> Result<(), MailboxError> {
        let places: HashSet<u32> = inner.rows().doomed.iter().map(|place| place.uid).collect();
        let mut half = Vec::new();
        for intent in inner.open_intents().iter().filter(|intent| !places.contains(&intent.uid)) {
            let Some(place) = self.remains_of(inner, &*guard.file, intent)? else { continue };
            // One that is whole may be mail again: that is told when messages are numbered.
            if all || !self.is_whole(&*guard.file, intent)? {
                half.push(place);
            }
        }
        if half.is_empty() {
            return Ok(());
        }
        inner.distrust();
        self.bury(inner, guard, &half)
    }

    /// What a crash left of a message that was to be removed, if that is not mail again.
    fn remains_of(&self, inner: &Inner, file: &dyn File, intent: &Intent) -> io::Result<Option<Row>> {
        if inner.rows().rows.iter().any(|row| row.offset == intent.offset && row.key == intent.key) {
            return Ok(None);
        }
        remains::find(file, &self.keys.secret, intent, self.base(inner))
    }

    fn is_whole(&self, file: &dyn File, intent: &Intent) -> Result<bool, MailboxError> {
        match self.scan(file, intent.offset, intent.offset + intent.length) {
            Err(MailboxError::Refused(_)) => Ok(false),
            scan => Ok(scan?.messages.first().is_some_and(|found| (found.length, found.key) == (intent.length, intent.key))),
        }
    }

    /// Others may have moved what is to be removed, or changed its marks. After a kill it is known by where it stands.
    fn renew_intents(&self, inner: &mut Inner, file: &dyn File) -> Result<(), MailboxError> {
        let (base, doomed) = (self.base(inner), inner.rows().doomed.clone());
        let Some(log) = inner.log.as_mut() else { return Ok(()) };
        let mut changed = false;
        for place in &doomed {
            let now = remains::intent(file, &self.keys.secret, place, base)?;
            if log.sum.intents.get(&place.uid).is_some_and(|intent| *intent != now) {
                log.put(Fact::Intent(now));
                changed = true;
            }
        }
        if changed { Ok(log.sync()?) } else { Ok(()) }
    }

    /// After a look: what is neither there any more nor half overwritten was taken away by others. If it comes back, it is mail.
    pub(super) fn settle_intents(&self, inner: &mut Inner, file: Option<&dyn File>) -> Result<(), MailboxError> {
        let doomed: HashSet<u32> = inner.rows().doomed.iter().map(|row| row.uid).collect();
        let (mut over, mut back) = (Vec::new(), Vec::new());
        for intent in inner.open_intents().iter().filter(|intent| !doomed.contains(&intent.uid)) {
            if file.map(|file| self.remains_of(inner, file, intent)).transpose()?.flatten().is_none() {
                let again = inner.rows().rows.iter().any(|row| row.uid > intent.uid && row.key == intent.key);
                if again { back.push(intent.uid) } else { over.push(intent.uid) }
            }
        }
        if !back.is_empty() {
            // The next life must not take it for what was to be removed.
            inner.done(back.into_iter());
            inner.log.as_mut().map_or(Ok(()), Log::sync)?;
        }
        inner.unproven.clear();
        file.map_or(Ok(()), |file| self.renew_intents(inner, file))?;
        if over.is_empty() {
            return Ok(());
        }
        if file.is_none() {
            inner.done(over.into_iter());
            return Ok(());
        }
        // As durable as that the others took it.
        inner.buried.extend(over);
        inner.wrote(inner.table.as_ref().map_or(0, |loaded| loaded.covered));
        Ok(())
    }

    /// Which copy a message says it is, under whatever UID it has by now, if its seal vouches for that.
    fn copy_at(&self, inner: &Inner, file: &dyn File, row: &Row) -> io::Result<Option<(SpoolId, u32)>> {
        let fields = match row.room {
            0 => read_at(file, row.header_at(), row.header as usize)?,
            room => read_at(file, row.room_at(), usize::from(room))?,
        };
        let seal = |uid| self.keys.secret.seal(&self.places.label, inner.validity(), uid, &row.key);
        let mark = mbox::state(&fields).mark.filter(|mark| mark.seal == seal(mark.uid));
        Ok(mark.map(|mark| (mark.id, mark.recipient)))
    }

    pub(super) fn exists(&self) -> Result<bool, MailboxError> {
        match self.disk.stat(&self.spot().path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.relocate()? {
                true => self.exists(),
                false => Ok(false),
            },
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn base(&self, inner: &Inner) -> Base {
        Base { validity: inner.validity(), last: inner.next.saturating_sub(1) }
    }

    /// Overwrites messages of the locked file, which the table describes. One without enough room for the dead form stays, unseen by us.
    fn bury(&self, inner: &mut Inner, guard: &Guard<'_>, doomed: &[Row]) -> Result<(), MailboxError> {
        let stat = guard.file.stat()?;
        let unchanged = inner.is_as_known(stat.into());
        let base = self.base(inner);
        let is_unsynced = inner.unsynced.is_some_and(|from| doomed.iter().any(|place| place.offset + place.length > from));
        if !doomed.is_empty() && (is_unsynced || inner.synced != Some(stat.file)) {
            // After a power cut more than two layers could not be told apart. An earlier life may have left one in memory only.
            guard.file.sync()?;
            inner.synced = Some(stat.file);
        }
        if !doomed.is_empty() {
            self.index_goes_stale(inner)?;
            inner.buries();
        }
        let some: Vec<(&Row, Dead)> = doomed.iter().filter_map(|place| Some((place, dead(place, base)?))).collect();
        some.iter().for_each(|(place, _)| inner.wrote(place.offset));
        if let Err(error) = overwrite(&*guard.file, &some) {
            inner.distrust();
            return Err(error.into());
        }
        inner.buried.extend(some.iter().map(|(place, _)| place.uid));
        let after = Stamp::from(guard.file.stat()?);
        inner.has_become(unchanged, after);
        if let Some(loaded) = &mut inner.table {
            loaded.table.doomed.retain(|row| !inner.buried.contains(&row.uid));
            loaded.table.forget_last(doomed);
            loaded.table.buried |= !doomed.is_empty();
        }
        inner.note_hollow();
        Ok(())
    }

    /// Takes the room of the dead back when nobody is alive, and no other program may remember what was there.
    /// A command is obeyed at once.
    pub(super) fn empty(&self, inner: &mut Inner, reason: Reason) -> Result<(), MailboxError> {
        let may = |stat: &Stat| reason == Reason::Command || self.may_shorten(stat);
        match self.disk.stat(&self.spot().path) {
            Ok(stat) if may(&stat) => {}
            _ => return Ok(()),
        }
        let Try::Locked(guard, stat) = self.try_lock_to_change(inner)? else { return Ok(()) };
        self.refresh(inner, Some(&*guard.file), stat.into())?;
        if !inner.hollow || inner.doubt.open || !inner.orphans.is_empty() || !may(&stat) {
            return Ok(());
        }
        log::info!("event=mailbox-emptied path={} bytes={}", self.spot().path.display(), stat.size);
        self.index_goes_stale(inner)?;
        guard.file.set_len(0)?;
        inner.hollow = false;
        inner.distrust();
        inner.known = Some(guard.file.stat()?.into());
        inner.wrote(0);
        if let Some(log) = inner.log.as_mut() {
            log.put(Fact::Durable(0, crc32c::crc32c(b"")));
        }
        // At once: what is appended later must never lie over what was there before.
        guard.file.sync()?;
        self.saw_empty();
        Ok(())
    }
}

impl Inner {
    /// Is there anything but the dead?
    pub(super) fn note_hollow(&mut self) {
        self.hollow = self.table.as_ref().is_some_and(|loaded| loaded.table.is_hollow());
        self.has_dead |= self.table.as_ref().is_some_and(|loaded| loaded.table.buried);
    }

    /// Intents that are not over.
    pub(super) fn open_intents(&self) -> Vec<Intent> {
        let intents = self.log.iter().flat_map(|log| log.sum.intents.values());
        intents.filter(|intent| !self.buried.contains(&intent.uid)).cloned().collect()
    }

    /// Is there one that can be carried out?
    pub(super) fn has_pending_intents(&self) -> bool {
        let intents = self.log.iter().flat_map(|log| log.sum.intents.values());
        intents.into_iter().any(|intent| !self.buried.contains(&intent.uid) && !intent.old.is_empty())
    }

    /// A copy of this content that is not settled yet, nor removed: who has the file locked may have moved it.
    fn unsettled(&self, key: &Key) -> Option<(SpoolId, u32)> {
        let log = self.log.as_ref()?;
        let copies = self.dirty.iter().chain(self.orphans.iter().flat_map(|(_, copies)| copies));
        let mut names = copies.filter(|copy| copy.key == *key).map(|copy| (copy.id, copy.recipient));
        names.find(|name| !log.sum.gone.contains(name))
    }

    /// These are dead, and durably so.
    pub(super) fn done(&mut self, uids: impl Iterator<Item = u32>) {
        let uids: UidSet = uids.collect();
        if let Some(log) = self.log.as_mut().filter(|_| !uids.is_empty()) {
            log.put(Fact::Done(uids));
        }
    }
}

/// The dead form in a message's place. The first of a file keeps the base line for those that follow.
pub(super) fn dead(place: &Row, base: Base) -> Option<Dead> {
    mbox::dead(place.length - u64::from(place.from), (place.offset == 0).then_some(base))
}

fn read_at(file: &dyn File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, at)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Makes one message dead.
pub(super) fn overwrite_with_dead(file: &dyn File, place: &Row, base: Base) -> io::Result<()> {
    dead(place, base).map_or(Ok(()), |dead| overwrite(file, &[(place, dead)]))
}

/// Makes messages dead. The fronts of big ones are durably dead before the rest is touched.
fn overwrite(file: &dyn File, places: &[(&Row, Dead)]) -> io::Result<()> {
    let mut big = Vec::new();
    for (place, dead) in places {
        let nuls = dead.nuls.start + place.header_at()..dead.nuls.end + place.header_at();
        let front = remains::front_end(place).min(nuls.end);
        let zeros = vec![0; usize::try_from(front.saturating_sub(nuls.start)).unwrap_or(0)];
        let end: &[u8] = if front < nuls.end { b"" } else { dead.end };
        file.write_at(&[IoSlice::new(&dead.header), IoSlice::new(&zeros), IoSlice::new(end)], place.header_at())?;
        big.extend((front < nuls.end).then_some((front..nuls.end, dead.end)));
    }
    if !big.is_empty() {
        file.sync()?;
    }
    for (rest, end) in big {
        clear(file, rest.start, rest.end - rest.start)?;
        file.write_at(&[IoSlice::new(end)], rest.end)?;
    }
    Ok(())
}

/// Makes a range NULs, a hole where that is worth it and possible.
pub(super) fn clear(file: &dyn File, from: u64, length: u64) -> io::Result<()> {
    if length >= WORTH_PUNCHING && file.punch(from, length).is_ok() {
        return Ok(());
    }
    let zeros = vec![0; ZEROS];
    let mut done = 0;
    while done < length {
        let most = usize::try_from(length - done).unwrap_or(ZEROS).min(ZEROS);
        file.write_at(&[IoSlice::new(zeros.get(..most).unwrap_or_default())], from + done)?;
        done += most as u64;
    }
    Ok(())
}
