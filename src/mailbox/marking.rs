//! Changes marks: in the table and the state log at once, seen by all sessions; in the file at once if it is a few, else in
//! one pass within a second. Only the reserved blocks are written, in place, after each was looked at.
//!
//! After a kill they are what was asked for last. After a power cut the log may be older than the file, and a message has any
//! mixture of what it had and what was asked for since: to make that exact, each change would have to wait for a disk sync
//! before other programs see it.

use super::flags::{Flags, Marks};
use super::inbox::{Inner, Mailbox, Try};
use super::lock::Guard;
use super::mbox;
use super::refresh::Loaded;
use super::state::Fact;
use super::table::Row;
use super::uidset::UidSet;
use super::{MailboxError, Uid};
use std::collections::HashMap;
use std::io::{self, IoSlice};

/// So many changes are written into the file before the session is answered.
const AT_ONCE: usize = 32;

/// How to change marks.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Set these, leave the others.
    Add,
    /// Clear these, leave the others.
    Remove,
    /// These and no others.
    Replace,
}

impl Change {
    fn apply(self, before: Marks, marks: Marks) -> Marks {
        let flags = marks.flags & Flags::ALL;
        match self {
            Change::Add => Marks { flags: before.flags | flags, keywords: before.keywords | marks.keywords },
            Change::Remove => Marks { flags: before.flags & !flags, keywords: before.keywords & !marks.keywords },
            Change::Replace => Marks { flags: (before.flags & !Flags::ALL) | flags, keywords: marks.keywords },
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marked {
    /// Their marks are as asked for.
    pub done: Vec<Uid>,
    /// Of these, those that had been changed after the modseq that is known.
    pub news: Vec<Uid>,
    /// They were changed after the given modseq, and left alone (RFC 7162 §3.1.3).
    pub modified: Vec<Uid>,
    /// The modseq of those whose marks are others now.
    pub modseq: u64,
}

impl Mailbox {
    /// Changes the marks of messages; those that are gone are passed over. With `unchanged_since`, those whose modseq is greater
    /// stay as they are. Bits of keywords come from [`Mailbox::keyword`].
    pub fn mark(&self, uids: &[Uid], change: Change, marks: Marks, unchanged_since: Option<u64>) -> Result<Marked, MailboxError> {
        self.mark_knowing(u64::MAX, uids, change, marks, unchanged_since)
    }

    /// The same for one who knows of marks up to the modseq `known`.
    pub(super) fn mark_knowing(
        &self,
        known: u64,
        uids: &[Uid],
        change: Change,
        marks: Marks,
        unchanged_since: Option<u64>,
    ) -> Result<Marked, MailboxError> {
        let mut inner = self.enter();
        let reading = match self.look(&mut inner) {
            // What we know of it will do; the file is brought up to it later.
            Err(MailboxError::Busy) if inner.table.is_some() => None,
            other => other?,
        };
        let act = |inner: &mut Inner| self.mark_in_turn(inner, known, uids, change, marks, unchanged_since);
        let (marked, waiting) = self.in_turn(&mut inner, act)?;
        // Until now the file is what was seen of it.
        drop(reading);
        if waiting > AT_ONCE || (waiting > 0 && !self.file_marks(&mut inner)?) {
            self.shared.stir();
        }
        Ok(marked)
    }

    /// Gives also how many of the messages the file is behind with.
    fn mark_in_turn(
        &self,
        inner: &mut Inner,
        known: u64,
        uids: &[Uid],
        change: Change,
        marks: Marks,
        unchanged_since: Option<u64>,
    ) -> Result<(Marked, usize), MailboxError> {
        let modseq = inner.give_modseq(self.shared.clock.now())?;
        let mut marked = Marked { modseq, ..Marked::default() };
        let mut facts: HashMap<(Marks, Marks), Vec<u32>> = HashMap::new();
        // Most are like the one before.
        let (mut alike, mut run) = (<(Marks, Marks)>::default(), Vec::new());
        let mut next = 0;
        let Some(loaded) = inner.table.as_mut() else { return Ok((marked, 0)) };
        let mut waiting = 0;
        for uid in uids {
            let Some(at) = loaded.table.at_or_near(next, uid.0) else { continue };
            next = at + 1;
            let Some(row) = loaded.table.rows.get_mut(at) else { continue };
            if unchanged_since.is_some_and(|since| row.modseq > since) {
                marked.modified.push(*uid);
                continue;
            }
            marked.done.push(*uid);
            if row.modseq > known {
                marked.news.push(*uid);
            }
            let now = change.apply(row.marks, marks);
            if now != row.marks {
                (row.marks, row.modseq) = (now, modseq);
                row.pending = row.room > 0;
                waiting += usize::from(row.pending);
                if alike != (now, row.filed) {
                    note_alike(&mut facts, alike, &mut run);
                    alike = (now, row.filed);
                }
                run.push(uid.0);
            }
        }
        note_alike(&mut facts, alike, &mut run);
        if facts.is_empty() {
            return Ok((marked, 0));
        }
        inner.index_behind = true;
        inner.unfiled |= waiting > 0;
        let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
        for ((marks, filed), uids) in facts {
            log.put(Fact::Marks(uids.into_iter().collect(), marks, filed));
        }
        // Not synced: a power cut may cost a flag, a crash of ours must not.
        log.flush()?;
        self.seats.ring();
        Ok((marked, waiting))
    }

    /// Something that is no mark was changed: HIGHESTMODSEQ is greater than before (RFC 7162 §3.2).
    pub fn raise_modseq(&self) -> Result<(), MailboxError> {
        self.mark(&[], Change::Add, Marks::default(), None).map(drop)
    }

    /// The bit of a keyword, which becomes one of the folder's if it is not yet. None: it can't (there are 64, or this is no keyword).
    pub fn keyword(&self, name: &str) -> Result<Option<u64>, MailboxError> {
        let mut inner = self.enter();
        drop(self.look(&mut inner)?);
        let known = inner.log.as_ref().and_then(|log| log.sum.keywords.bit(name));
        if known.is_some() {
            return Ok(known);
        }
        self.in_turn(&mut inner, |inner| {
            let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
            let bit = log.add_keyword(name);
            log.sync()?;
            Ok(bit)
        })
    }

    /// No message below this UID is recent any more. Other programs see that (`O`) when the file is written to anyway.
    pub(super) fn make_old(&self, inner: &mut Inner, top: u32) -> Result<(), MailboxError> {
        let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
        let from = log.sum.told;
        log.put(Fact::Told(top));
        log.flush()?;
        inner.grow_old(from, top);
        Ok(())
    }

    /// Brings the file up to the marks of the table, if it can be locked now. False: not yet.
    pub(super) fn file_marks(&self, inner: &mut Inner) -> Result<bool, MailboxError> {
        if !inner.unfiled || !self.exists()? {
            return Ok(true);
        }
        let Try::Locked(guard, stat) = self.try_lock_to_change(inner)? else { return Ok(false) };
        self.refresh(inner, Some(&*guard.file), stat.into())?;
        self.in_turn(inner, |inner| self.file_in_turn(inner, &guard))
    }

    /// Who marks while he can't lock the file goes by what the log tells of it. So what is written is told before anybody else
    /// can tell something.
    fn file_in_turn(&self, inner: &mut Inner, guard: &Guard<'_>) -> Result<bool, MailboxError> {
        let before = inner.is_as_known(guard.file.stat()?.into());
        let Some(mut loaded) = inner.table.take_if(|_| before.1) else { return Ok(inner.table.is_none()) };
        let (mut written, mut result) = (Vec::new(), Ok(true));
        for row in loaded.table.rows.iter_mut().filter(|row| row.pending) {
            result = self.file_one(inner, guard, row);
            if !matches!(result, Ok(true)) {
                break;
            }
            written.push((row.uid, row.marks, row.filed));
        }
        inner.unfiled = !matches!(result, Ok(true));
        inner.table = Some(loaded);
        inner.has_become(before, guard.file.stat()?.into());
        if let Ok(false) = result {
            inner.table.iter_mut().for_each(Loaded::distrust);
        }
        if let Some(log) = inner.log.as_mut().filter(|_| inner.others) {
            log.put_marks(written.into_iter());
        }
        result.map_err(MailboxError::from)
    }

    /// Brings the file up to the marks now, not within a second. Where another program has it locked, that follows.
    pub fn write_marks(&self) {
        self.write_back(&mut self.enter());
    }

    /// As [`Mailbox::file_marks`], when nobody waits for it.
    pub(super) fn write_back(&self, inner: &mut Inner) {
        match self.file_marks(inner) {
            Ok(true) => {}
            Ok(false) => self.shared.stir(),
            Err(error) => log::warn!("event=marks-delayed path={} error={error}", self.spot().path.display()),
        }
    }

    /// Writes one message's reserved block, if what stands there is one, of this message. False: others changed it, and their word
    /// has to be heard first.
    fn file_one(&self, inner: &mut Inner, guard: &Guard<'_>, row: &mut Row) -> io::Result<bool> {
        let mut block = vec![0; usize::from(row.room)];
        guard.file.read_exact_at(&mut block, row.room_at())?;
        let state = mbox::state(&block);
        let Some(log) = inner.log.as_ref() else { return Ok(true) };
        let mark = state.mark.filter(|mark| mark.uid == row.uid && state.room == block.len());
        let Some(mark) = mark else {
            if inner.doubt.open {
                return Ok(false);
            }
            log::error!("event=no-block path={} uid={}", self.spot().path.display(), row.uid);
            row.pending = false;
            return Ok(true);
        };
        if inner.doubt.open && state.filed.marks.flags != row.filed.flags {
            return Ok(false);
        }
        // The base line stays as it is: another act brings it up to date.
        let fresh = mbox::block(block.len(), state.base, &mark, row.marks, &log.sum.keywords);
        let Some((fresh, keywords)) = fresh else {
            row.pending = false;
            return Ok(true);
        };
        if fresh != block {
            self.index_goes_stale(inner)?;
            inner.wrote(row.room_at());
            guard.file.write_at(&[IoSlice::new(&fresh)], row.room_at())?;
        }
        (row.filed, row.pending) = (Marks { flags: row.marks.flags, keywords }, false);
        inner.freshly_filed.push((row.uid, row.filed));
        Ok(true)
    }

    /// The file with these marks is durable: what others change in it from here on is told by that.
    pub(super) fn note_filed(&self, inner: &mut Inner, filed: &[(u32, Marks)]) {
        if filed.is_empty() {
            return;
        }
        let noted = self.in_turn(inner, |inner| {
            let noted: Vec<(u32, Marks)> = filed.iter().filter(|(uid, marks)| inner.has_filed(*uid, *marks)).copied().collect();
            let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
            log.put_marks(noted.iter().map(|(uid, marks)| (*uid, *marks, *marks)));
            Ok(noted)
        });
        match noted {
            Ok(noted) => inner.noted.extend(noted),
            Err(error) => log::warn!("event=state-failed path={} error={error}", self.spot().path.display()),
        }
    }

    /// The index is about to be written. Of marks that the last one has too, the state log need not tell any more; were it only
    /// this one, a kill could leave the last one with older marks, and nobody who knows better. Another daemon may have an older
    /// table in memory, and hears of them from the log only, which may be rewritten before it does.
    pub(super) fn forget_indexed(&self, inner: &mut Inner) {
        let indexed = std::mem::take(&mut inner.indexed);
        let over: UidSet = indexed.iter().filter(|(uid, marks)| inner.has_filed(*uid, *marks)).map(|(uid, _)| *uid).collect();
        if let Some(log) = inner.log.as_mut().filter(|_| !over.is_empty() && !inner.others) {
            log.put(Fact::Filed(over));
        }
    }
}

/// Notes messages whose marks, and what the file says of them, are the same.
fn note_alike(facts: &mut HashMap<(Marks, Marks), Vec<u32>>, alike: (Marks, Marks), run: &mut Vec<u32>) {
    if !run.is_empty() {
        facts.entry(alike).or_default().append(run);
    }
}

impl Inner {
    /// Messages from the first UID up to the second are not recent any more.
    pub fn grow_old(&mut self, from: u32, top: u32) {
        let Some(loaded) = self.table.as_mut() else { return };
        let first = loaded.table.below(from);
        for row in loaded.table.rows.iter_mut().skip(first).take_while(|row| row.uid < top) {
            row.marks.flags = row.marks.flags | Flags::OLD;
            row.pending |= row.room > 0 && !row.is_filed();
            self.unfiled |= row.pending;
        }
    }

    /// Does the message still have these marks, as the file says?
    fn has_filed(&self, uid: u32, marks: Marks) -> bool {
        self.rows().find(uid).is_some_and(|row| row.filed == marks && row.is_filed())
    }
}
