//! Takes the room of dead messages back, in small steps: messages move down into it, and what is left over becomes one dead
//! message behind them, until it stands at the end and is cut off. After every step the file is a valid mbox, the locks are
//! let go of, and deliveries and readers go on.
//!
//! A step: what moves is saved in a redo file ([`redo`]), durably; the messages are moved, the rest is made dead, the file is
//! synced, and the redo file is void. Whoever locks the mailbox next and finds it open finishes the step first ([`finish`]).
//!
//! mailx and its kin read a mailbox, let go of it, and write it back hours later; so a file in the mail directory is compacted
//! only when it may be made shorter ([`watch`](super::watch)), or by command; any other folder when a tenth of it is dead.

mod finish;
mod front;
mod layout;
mod patch;
mod plan;
mod redo;

pub(super) use self::front::{is_bare, opening};
pub(super) use self::patch::Patch;
pub(super) use self::plan::Stretch;
use self::plan::{Kind, Limits, Move, Next, plan};
use self::redo::{Image, PIECE, Part, Redo, Saved};
use super::expunge::clear;
use super::inbox::{Inner, Mailbox, Stamp, Try};
use super::mbox::{self, Base};
use super::state::Fact;
use super::table::Row;
use super::{MailboxError, scan};
use crate::sys::{File, Open};
use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};

/// Bytes that move in one step.
pub(super) const STEP: u64 = 16 << 20;
/// Bytes of the file that are looked at before the next step is planned.
const LOOK: u64 = 64 << 20;
/// The `From ` line of a dead message that no mail stood for.
const FROM: &[u8] = b"From - Thu Jan  1 00:00:00 1970\n";
/// The smallest dead message we make, and the smallest with a base line.
const SMALLEST: u64 = 63;
const FRONT: u64 = SMALLEST + mbox::BASE_LINE as u64;
/// The beginning of a dead message, up to its first NUL, is not longer.
const LONGEST_HEAD: usize = mbox::LONGEST_FROM + 1024;
/// So much of a mailbox, as a fraction, has to be dead before it is worth the work.
const WORTH: u64 = 10;

/// What a step came to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes of messages moved.
    Moved(u64),
    /// So many bytes of the dead were cut off.
    Cut(u64),
    /// There is nothing to do.
    Done,
    /// Not now: somebody has the file, or something has to be made durable first.
    NotNow,
}

/// Why a step is taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There is time for it.
    Idle,
    /// An operator wants it.
    Command,
}

impl Mailbox {
    /// A step, if there is enough to be gained, and nobody is in the way. False: not now.
    pub(super) fn tidy(&self) -> bool {
        let mut inner = self.inner();
        if !inner.has_dead || !inner.is_settled() {
            return false;
        }
        if !inner.compacting && !inner.is_worth_compacting() {
            inner.has_dead = false;
            return false;
        }
        let step = self.compact_step(&mut inner, STEP, Reason::Idle);
        self.rest(&mut inner);
        match step {
            Ok(Step::Moved(_) | Step::Cut(_)) => return true,
            Ok(Step::Done) => inner.has_dead = false,
            Ok(Step::NotNow) => {}
            Err(error) => {
                // Not again until something else happens to the mailbox.
                inner.has_dead = false;
                log::warn!("event=compaction-failed path={} error={error}", self.spot().path.display());
            }
        }
        false
    }

    /// A step that an operator asked for. A mailbox with nobody alive is emptied.
    pub(super) fn compact_by_command(&self) -> Result<Step, MailboxError> {
        let mut inner = self.inner();
        if !self.exists()? {
            return Ok(Step::Done);
        }
        drop(self.look(&mut inner)?);
        if inner.doubt.open {
            inner.distrust();
            drop(self.look(&mut inner)?);
        }
        let size = inner.table.as_ref().map_or(0, |loaded| loaded.covered);
        let step = if inner.hollow && size > 0 {
            self.empty(&mut inner, Reason::Command)?;
            if inner.hollow { Step::NotNow } else { Step::Cut(size) }
        } else {
            self.compact_step(&mut inner, STEP, Reason::Command)?
        };
        self.rest(&mut inner);
        Ok(step)
    }

    /// One step: at most `most` bytes move, if it is more than one message.
    pub(super) fn compact_step(&self, inner: &mut Inner, most: u64, reason: Reason) -> Result<Step, MailboxError> {
        if !inner.is_settled() || !self.exists()? {
            return Ok(Step::NotNow);
        }
        let Try::Locked(guard, stat) = self.try_lock_to_change(inner)? else { return Ok(Step::NotNow) };
        let file = &*guard.file;
        self.refresh(inner, Some(file), stat.into())?;
        if !inner.is_settled() || !(reason == Reason::Command || self.may_compact(&stat)) {
            return Ok(Step::NotNow);
        }
        if stat.size == 0 {
            return Ok(Step::Done);
        }
        let before = inner.is_as_known(stat.into());
        if !before.1 || !super::deliver::separator(file, stat.size)?.is_empty() {
            // The next delivery adds the empty line that is missing.
            return Ok(Step::NotNow);
        }
        let patch = self.front(inner, file)?;
        let limits = Limits { most, dead: SMALLEST, front: if patch.is_some() { 0 } else { FRONT } };
        loop {
            let stretches = inner.stretches();
            match plan(&stretches, limits) {
                Next::Look(range) => {
                    // All that one step may come upon: a pass for each of them would cost more than to move.
                    let near = range.start..range.end.max(range.start + LOOK);
                    let unknown = stretches.into_iter().filter(|part| part.kind == Kind::Unknown && near.contains(&part.offset));
                    inner.note_looked(self.look_at(file, &unknown.collect::<Vec<_>>())?);
                }
                Next::Move(step) => {
                    self.take_step(inner, file, &step, &stretches, patch)?;
                    inner.moved(&step);
                    self.stepped(inner, file, before)?;
                    return Ok(Step::Moved(step.bytes()));
                }
                Next::Cut(size) => {
                    let mut redo = Redo { window: size..stat.size, cut: true, ..Redo::default() };
                    for dead in stretches.iter().filter(|stretch| stretch.offset >= size) {
                        redo.old.extend(dead_parts(file, dead.offset, dead.length)?);
                    }
                    redo.new.push(Part::Nuls(stat.size - size));
                    self.carry_out(inner, file, &redo, &[])?;
                    inner.cut(size);
                    self.stepped(inner, file, before)?;
                    return Ok(Step::Cut(stat.size - size));
                }
                Next::Nothing => {
                    if std::mem::take(&mut inner.compacting) {
                        let _ = self.shared.disk.remove(&self.places.beside("redo"));
                    }
                    return Ok(Step::Done);
                }
            }
        }
    }

    /// The rule for files whose other readers we don't know.
    fn may_compact(&self, stat: &crate::sys::Stat) -> bool {
        !self.is_spooled() || self.may_shorten(stat)
    }

    /// After a step that worked: what we know of the file.
    fn stepped(&self, inner: &mut Inner, file: &dyn File, before: (bool, bool)) -> Result<(), MailboxError> {
        let now = Stamp::from(file.stat()?);
        inner.has_become(before, now);
        if let Some(loaded) = &mut inner.table {
            loaded.covered = now.size;
            let last = loaded.table.rows.iter().chain(&loaded.table.doomed).max_by_key(|row| row.offset);
            loaded.table.last = last.map(|row| (row.offset, row.key));
        }
        inner.index_behind = true;
        self.note_durable(inner, file, Some(now));
        inner.log.as_mut().map_or(Ok(()), super::state::Log::flush)?;
        Ok(())
    }

    /// What stands in these parts of the file, which no mail of ours has.
    fn look_at(&self, file: &dyn File, parts: &[Stretch]) -> Result<Vec<Stretch>, MailboxError> {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Ok(Vec::new()) };
        let messages = match self.scan(file, first.offset, last.end()) {
            Err(MailboxError::Refused(_)) => Vec::new(),
            scan => scan?.messages,
        };
        let mut found = Vec::with_capacity(parts.len());
        for part in parts {
            let from = messages.partition_point(|message| message.offset < part.offset);
            let inside = messages.iter().skip(from).take_while(|message| message.end() <= part.end());
            let kind = |kind| if kind == scan::Kind::Dead { Kind::Dead } else { Kind::Stays };
            let before = found.len();
            found.extend(inside.map(|m| Stretch { kind: kind(m.kind), offset: m.offset, length: m.length }));
            let all: u64 = found.iter().skip(before).map(|stretch| stretch.length).sum();
            if all != part.length {
                found.truncate(before);
                found.push(Stretch { kind: Kind::Stays, ..*part });
            }
        }
        Ok(found)
    }

    /// The reserved block with a base line for the message that will be the first of the file, and where that block stands
    /// now. None: it has no room for one.
    fn front(&self, inner: &Inner, file: &dyn File) -> io::Result<Option<(u64, Vec<u8>)>> {
        let Some(row) = inner.rows().rows.iter().min_by_key(|row| row.offset).filter(|row| row.room > 0) else { return Ok(None) };
        let Some(log) = inner.log.as_ref() else { return Ok(None) };
        let mut header = vec![0; row.header as usize];
        file.read_exact_at(&mut header, row.header_at())?;
        let (start, state) = (header.len() - usize::from(row.room).min(header.len()), mbox::state(&header));
        let Some(mark) = state.mark.filter(|mark| mark.uid == row.uid && state.room == usize::from(row.room)) else {
            return Ok(None);
        };
        let base = self.base(inner);
        let Some((block, written)) = mbox::block(state.room, Some(base), &mark, row.marks, &log.sum.keywords) else {
            return Ok(None);
        };
        header.truncate(start);
        header.extend_from_slice(&block);
        let state = mbox::state(&header);
        let fine = written == row.filed.keywords && row.marks.flags == row.filed.flags;
        let good = fine && !state.internal && state.base == Some(base) && state.base_at.is_some();
        Ok(good.then(|| (row.room_at(), block)))
    }

    /// Saves what moves, and moves it. After an error the redo file tells whoever comes next what to do.
    fn take_step(
        &self,
        inner: &mut Inner,
        file: &dyn File,
        step: &Move,
        stretches: &[Stretch],
        patch: Option<(u64, Vec<u8>)>,
    ) -> Result<(), MailboxError> {
        let redo = self.draw_up(inner, file, step, stretches, patch)?;
        self.carry_out(inner, file, &redo, &step.alive)
    }

    fn carry_out(&self, inner: &mut Inner, file: &dyn File, redo: &Redo, alive: &[Stretch]) -> Result<(), MailboxError> {
        // An intent that was carried out must not come back and find another message in the place.
        // And another daemon must not go by what it knew.
        inner.log.iter_mut().for_each(|log| log.put(Fact::Moved));
        inner.log.as_mut().map_or(Ok(()), super::state::Log::sync)?;
        self.index_goes_stale(inner)?;
        // Else a power cut could leave a window that is neither the old nor the new one.
        file.sync()?;
        let (disk, path) = (&*self.shared.disk, self.places.beside("redo"));
        disk.make_dir(&self.places.state, 0o700)?;
        inner.compacting = true;
        let saved = disk.open(&path, Open::Create(0o600))?;
        // If this fails, the redo file may be good or not.
        let result = redo.write(&*saved, file, alive.iter().map(|stretch| stretch.offset..stretch.offset + stretch.length));
        let result = result.and_then(|()| disk.sync_dir(&self.places.state)).and_then(|()| {
            // What is appended later must never lie over what was there before: a cut, too, is synced at once.
            if redo.cut {
                file.set_len(redo.window.start)?
            } else {
                apply(file, &*saved, redo)?
            }
            file.sync()?;
            Redo::make_void(&*saved)
        });
        result.map_err(|error| {
            inner.compacting = false;
            inner.distrust();
            error.into()
        })
    }

    fn draw_up(
        &self,
        inner: &Inner,
        file: &dyn File,
        step: &Move,
        stretches: &[Stretch],
        patch: Option<(u64, Vec<u8>)>,
    ) -> Result<Redo, MailboxError> {
        let mut redo = Redo { window: step.window.clone(), ..Redo::default() };
        let all = &inner.rows().rows;
        let rows: HashMap<u64, &Row> =
            all.iter().filter(|row| step.window.contains(&{ row.offset })).map(|row| (row.offset, row)).collect();
        let mut copies: HashMap<_, u64> = rows.values().map(|row| (row.key, 0)).collect();
        for row in all {
            copies.get_mut(&row.key).into_iter().for_each(|count| *count += 1);
        }
        if step.keep > 0 {
            redo.new.extend(filler(step.keep, Some(self.base(inner)))?);
        }
        let mut from = 0;
        for stretch in stretches.iter().filter(|stretch| step.window.contains(&stretch.offset)) {
            let Stretch { kind, offset, length } = *stretch;
            if kind == Kind::Dead {
                redo.old.extend(dead_parts(file, offset, length)?);
                continue;
            }
            let row = rows.get(&offset).filter(|row| row.length == length).ok_or(MailboxError::Gone)?;
            let mut begin = vec![0; usize::from(row.from).max(1)];
            file.read_exact_at(&mut begin, offset)?;
            if !mbox::is_from_line(begin.strip_suffix(b"\n").unwrap_or(&begin)) {
                return Err(MailboxError::Gone);
            }
            redo.old.push(Part::Data(from, length));
            let patch =
                patch.as_ref().filter(|(at, _)| step.window.start + step.keep == 0 && (offset..offset + length).contains(at));
            match patch {
                Some((at, block)) => {
                    let (before, patched) = (at - offset, block.len() as u64);
                    redo.new.extend([Part::Data(from, before), Part::Bytes(block.clone())]);
                    redo.new.push(Part::Data(from + before + patched, length - before - patched));
                }
                None => redo.new.push(Part::Data(from, length)),
            }
            redo.messages.push(Saved { from, length, key: row.key, copies: copies.get(&row.key).copied().unwrap_or(1) });
            from += length;
        }
        let gap = step.gap();
        redo.new.extend(filler(gap.end - gap.start, None)?);
        Ok(redo)
    }
}

/// Takes steps one after the other; the redo file is removed when they are over, unless others are under way.
fn carry_on(
    mailbox: &Mailbox,
    inner: &mut Inner,
    steps: impl FnOnce(&mut Inner) -> Result<(), MailboxError>,
) -> Result<(), MailboxError> {
    let was_compacting = inner.compacting;
    steps(inner)?;
    if !was_compacting && std::mem::take(&mut inner.compacting) {
        let _ = mailbox.shared.disk.remove(&mailbox.places.beside("redo"));
    }
    Ok(())
}

/// A dead message of that length.
fn filler(length: u64, base: Option<Base>) -> io::Result<Vec<Part>> {
    let dead = length.checked_sub(FROM.len() as u64).and_then(|room| mbox::dead(room, base)).ok_or(ErrorKind::InvalidData)?;
    let mut parts = vec![Part::Bytes([FROM, &dead.header].concat())];
    parts.extend(Some(Part::Nuls(dead.nuls.end - dead.nuls.start)).filter(|part| part.len() > 0));
    parts.extend(Some(Part::Bytes(dead.end.to_vec())).filter(|part| part.len() > 0));
    Ok(parts)
}

/// The parts of a dead message as it stands.
fn dead_parts(file: &dyn File, offset: u64, length: u64) -> io::Result<Vec<Part>> {
    let mut head = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(LONGEST_HEAD)];
    file.read_exact_at(&mut head, offset)?;
    if let Some(nul) = memchr::memchr(0, &head) {
        head.truncate(nul);
    } else if (head.len() as u64) < length {
        return Err(ErrorKind::InvalidData.into());
    }
    let rest = length - head.len() as u64;
    let mut tail = vec![0; rest.min(2) as usize];
    file.read_exact_at(&mut tail, offset + length - rest.min(2))?;
    tail.drain(..tail.iter().take_while(|byte| **byte == 0).count());
    let nuls = rest - tail.len() as u64;
    let parts = [Part::Bytes(head), Part::Nuls(nuls), Part::Bytes(tail)];
    Ok(parts.into_iter().filter(|part| part.len() > 0).collect())
}

/// Makes the new window of the old one.
fn apply(file: &dyn File, saved: &dyn File, redo: &Redo) -> io::Result<()> {
    let mut at = redo.window.start;
    let mut piece = vec![0; PIECE];
    for part in &redo.new {
        match part {
            Part::Bytes(bytes) => file.write_at(&[IoSlice::new(bytes)], at)?,
            Part::Nuls(length) => {
                // What is NULs at either end stays: most of a big gap is a hole. What is between is cleared at once, since to
                // make a hole is work for the file system, and to fill it again more so.
                let (mut from, mut changed) = (redo.window.start, None);
                for old in &redo.old {
                    let (first, last) = (from.max(at), (from + old.len()).min(at + length));
                    if first < last && !matches!(old, Part::Nuls(_)) {
                        changed = Some(changed.map_or(first, |(begin, _)| begin)).zip(Some(last));
                    }
                    from += old.len();
                }
                if let Some((first, last)) = changed {
                    clear(file, first, last - first)?;
                }
            }
            Part::Data(_, length) => {
                let mut image = Image::new(saved, std::slice::from_ref(part));
                let mut done = 0;
                while done < *length {
                    let most = usize::try_from(length - done).unwrap_or(PIECE).min(PIECE);
                    let room = piece.get_mut(..most).unwrap_or_default();
                    image.fill(room)?;
                    file.write_at(&[IoSlice::new(room)], at + done)?;
                    done += most as u64;
                }
            }
        }
        at += part.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
