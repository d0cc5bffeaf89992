//! The index of a mailbox: its table on disk ([`form`]), so that to open a mailbox is not to read it. A cache, private to the
//! daemon: what does not fit, or is damaged, is not used.
//!
//! It is written when the file is durable and nobody looks at the mailbox, and now and then while somebody does. An index that
//! is older than its file still saves the work: only what came since is looked at. That is wrong after a change in the middle, so
//! before we make the first one, the index is marked as stale, durably: then the whole file is looked at, and the index tells what
//! the numbers and marks were before.

mod form;

use super::inbox::{Inner, Mailbox, Stamp};
use super::refresh::{Loaded, MANY};
use super::state::{Log, Sum};
use super::table::{Row, Table};
use crate::sys::Open;
use form::{Contents, Head, STALE, read, read_facts, write};
use std::io::{self, IoSlice};
use std::time::Duration;

/// While somebody looks at a mailbox, its index is written this often at the most.
const PAUSE: Duration = Duration::from_secs(60);

/// What is on the disk, for who looks after it.
#[derive(Debug)]
pub(super) enum Kept {
    Nothing,
    /// It is not whole, or of another mailbox.
    Damaged,
    /// All messages that it knows, and in which state of the file.
    Table(Stamp, Vec<Row>),
}

impl Mailbox {
    /// Looks at the index on the disk.
    pub(super) fn kept_index(&self, validity: u32) -> io::Result<Kept> {
        let file = match self.shared.disk.open(&self.places.index, Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::Nothing),
            file => file?,
        };
        let whole = read(&*file, validity)?.filter(|_| matches!(read_facts(&*file), Ok(Some(_))));
        let table = |(head, rows, doomed): Contents| Kept::Table(head.stamp, [rows, doomed].concat());
        Ok(whole.map_or(Kept::Damaged, table))
    }

    /// Opens the state log; what it says is taken from the index, if that goes with it.
    pub(super) fn open_log(&self) -> io::Result<Log> {
        let disk = &self.shared.disk;
        let facts = disk.open(&self.places.index, Open::Read).and_then(|file| read_facts(&*file));
        if let Ok(Some((extent, sum))) = facts {
            let (state, base) = (&self.places.state, &self.places.base);
            if let Ok(Some(log)) = Log::resume(disk.clone(), state, base, extent, sum) {
                return Ok(log);
            }
        }
        Log::open(disk.clone(), &self.places.state, &self.places.base)
    }

    /// Takes the table from the index, if there is a good one. It is brought up to date by the next look.
    pub(super) fn load_index(&self, inner: &mut Inner) {
        let Some(log) = inner.log.as_ref() else { return };
        let found = self.shared.disk.open(&self.places.index, Open::Read).and_then(|file| read(&*file, log.sum.validity));
        let (head, rows, doomed) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return log::info!("event=index-unusable path={}", self.places.index.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return log::warn!("event=index-failed path={} error={error}", self.places.index.display()),
        };
        let Head { top, stamp, last, buried, internal, modseq, .. } = head;
        let mut table = Table { rows, top, last, doomed, buried, internal };
        inner.modseq = inner.modseq.max(modseq);
        // Some came back since under other numbers.
        let stamp = if catch_up(&mut table, &log.sum, inner.modseq) { stamp } else { Stamp::default() };
        inner.next = inner.next.max(top);
        inner.unfiled |= table.rows.iter().any(|row| row.pending);
        inner.table = Some(Loaded { table, stamp, covered: stamp.size, epoch: 1 });
        inner.note_hollow();
    }

    /// Writes the index, if it is behind and this is the time. The file is durable.
    pub(super) fn try_to_save_index(&self, inner: &mut Inner) {
        if let Err(error) = self.save_index(inner) {
            log::warn!("event=index-failed path={} error={error}", self.places.index.display());
        }
    }

    fn save_index(&self, inner: &mut Inner) -> io::Result<()> {
        let now = self.shared.clock.elapsed();
        let early = inner.index_saved.is_some_and(|saved| now.saturating_sub(saved) < PAUSE);
        let (Some(loaded), false) = (&inner.table, early && !self.seats.are_unread()) else { return Ok(()) };
        // Of what nobody has looked at yet there is nothing to tell.
        if !inner.index_behind
            || inner.doubt.open
            || inner.unsynced.is_some()
            || loaded.covered != loaded.stamp.size
            || loaded.stamp == Stamp::default()
        {
            return Ok(());
        }
        if let Some((file, _)) = &inner.file {
            // Other programs don't sync what they write. What the index describes has to outlive what the index outlives.
            file.sync()?;
        }
        if let Some(dir) = self.places.index.parent() {
            self.shared.disk.make_dir(dir, 0o700)?;
        }
        // It tells what the file says, and so must the state log, which counts for more.
        let filed = std::mem::take(&mut inner.freshly_filed);
        let extent = self.in_turn(inner, |inner| {
            self.note_filed(inner, &filed);
            let top = inner.rows().top;
            if inner.log.as_ref().is_some_and(|log| log.sum.goes_beyond(top)) {
                // Another daemon told of messages that we have not seen: what it told would be left to nobody.
                return Ok(None);
            }
            self.forget_indexed(inner);
            Ok(inner.log.as_mut().map(Log::extent).transpose()?)
        });
        let extent = extent.map_err(io::Error::other)?;
        let (Some(extent), Some(loaded), Some(log)) = (extent, &inner.table, inner.log.as_mut()) else { return Ok(()) };
        if !write(&*self.shared.disk, &self.places.index, loaded, extent, &log.sum, inner.modseq)? {
            return Ok(());
        }
        let was_whole = !log.sum.partial;
        log.sum.shorten();
        inner.indexed = std::mem::take(&mut inner.noted);
        if was_whole && loaded.table.rows.len() > MANY {
            // What the index has of single messages was a lot of small pieces, which the allocator would keep.
            crate::sys::unix::trim_memory();
        }
        (inner.index_behind, inner.index_stale, inner.index_saved) = (false, false, Some(now));
        Ok(())
    }

    /// The file is about to be changed elsewhere than at its end.
    pub(super) fn index_goes_stale(&self, inner: &mut Inner) -> io::Result<()> {
        inner.index_behind = true;
        // Another daemon may have written a fresh one meanwhile.
        if inner.index_stale && !inner.others {
            return Ok(());
        }
        match self.shared.disk.open(&self.places.index, Open::Write) {
            Ok(file) => {
                file.write_at(&[IoSlice::new(&[1])], STALE)?;
                file.sync()?;
                // Else a power cut may bring back the one before, which is not marked.
                self.places.index.parent().map_or(Ok(()), |dir| self.shared.disk.sync_dir(dir))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        inner.index_stale = true;
        Ok(())
    }
}

/// The state log may know more than the index; what that changes gets `modseq`. False: messages went away since, and the file
/// has to be looked at.
fn catch_up(table: &mut Table, sum: &Sum, modseq: u64) -> bool {
    let intended = |row: &Row| sum.intents.get(&row.uid).is_some_and(|intent| intent.key == row.key);
    table.doomed.retain(intended);
    if !sum.intents.is_empty() {
        let doomed: Vec<Row> = table.rows.iter().filter(|row| intended(row)).copied().collect();
        table.doom(&doomed);
    }
    for (uid, (marks, filed)) in &sum.marks {
        let at = table.at(*uid);
        if let Some(row) = at.and_then(|at| table.rows.get_mut(at)) {
            if row.marks != *marks {
                row.modseq = modseq;
            }
            (row.marks, row.filed) = (*marks, *filed);
            row.pending = row.room > 0 && !row.is_filed();
        }
    }
    let complete = sum.expunged.iter().all(|(_, uid)| table.at(*uid).is_none());
    if !complete {
        let gone = sum.expunged_uids();
        table.rows.retain(|row| !gone.contains(&row.uid));
    }
    complete
}
