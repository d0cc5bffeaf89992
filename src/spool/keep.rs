//! Housekeeping: the next segment is made ready, empty ones are recycled or removed, the rest of nearly empty ones is copied
//! forward, logs are shortened (see `summary`).
//!
//! One rule guards all of it: before anything disappears from disk (a segment, a line of a log) every line that is owed to
//! any log must be durable. For what disappears may be the only place that tells something another file needs.

use super::commit::Ticket;
use super::files::{NEXT, missing_is_fine};
use super::journal::{Journal, Verify, lock};
use super::logfile::fill;
use super::replay::Live;
use super::segment::{self, HEAD, Record};
use super::table::{Facts, RecordJob};
use super::writer::{Active, FIRST, Writer, log_path, segment_path};
use super::{Message, SpoolError, SpoolId};
use crate::sys::{File, Open};
use std::io;
use std::sync::Arc;

/// A segment is left alone until housekeeping saw it closed that often: most of its mail will be settled by then.
pub(super) const REST: u32 = 60;
/// Bytes copied forward in one go, and in one call.
const COPY_BATCH: u64 = 1 << 20;
const COPY_MOST: u64 = 8 << 20;
/// A segment is synced in such steps while it is filled, so that no other sync has to wait for all of it.
const FILL_STEP: u64 = 4 << 20;

impl Journal {
    /// Called about every second by the keeper: prepares space ahead, recycles segments, rewrites logs, copies the rest of nearly empty segments forward.
    pub fn housekeep(&self) {
        let Ok(_keeping) = self.keeping.try_lock() else { return };
        self.settle_up(&mut lock(&self.writer));
        self.empty_trash();
        let report = |step, result: Result<(), SpoolError>| {
            if let Err(error) = result {
                log::warn!("spool housekeeping={step} error={error}");
            }
        };
        report("prepare", self.prepare_next());
        report("discard", self.discard_empty());
        report("shorten", self.shorten_logs());
        report("forward", self.copy_forward());
    }

    /// Before the daemon ends: says in the logs all that the next start must know, so that it need not read the segments.
    /// Not needed for safety.
    pub fn close(&self) {
        let _keeping = lock(&self.keeping);
        let mut writer = lock(&self.writer);
        if !self.settle_up(&mut writer) {
            return;
        }
        // Who writes afterwards begins a new segment.
        (writer.active, writer.next) = (None, None);
        let unsaid: Vec<u64> =
            lock(&self.table).segments.iter().filter(|(_, f)| !f.summarised && !f.stuck).map(|(&n, _)| n).collect();
        for number in unsaid {
            if let Err(error) = self.conclude_log(&mut writer, number) {
                log::warn!("spool log={number:08} error={error}");
            }
        }
    }

    /// Writes and syncs all that waits or is owed. True if every log now is as it should be, so that something may disappear.
    /// That stays true as long as the writer is held, and nothing else is written.
    pub(super) fn settle_up(&self, writer: &mut Writer) -> bool {
        // The second round is for what the first one found to be owed.
        for _ in 0..2 {
            if !lock(&self.table).lines.is_empty() || !writer.unsynced_logs().is_empty() {
                self.round(writer, true);
            }
        }
        lock(&self.table).lines.is_empty() && writer.unsynced_logs().is_empty()
    }

    /// The first segment of this run: a recycled one, or a small new one. With a full disk none; then nothing is accepted until there is room.
    pub(super) fn start(&self) -> Result<(), SpoolError> {
        let mut writer = lock(&self.writer);
        let empty = if self.settle_up(&mut writer) { self.empty_segments(&writer).pop() } else { None };
        let begun = match empty {
            Some(number) => self.recycle(&mut writer, number),
            None => writer.begin(FIRST.min(self.options.segment_size)),
        };
        match begun.map_err(SpoolError::from) {
            Ok(active) => writer.active = Some(active),
            Err(SpoolError::Full) => log::error!("spool full: nothing is accepted"),
            Err(error) => return Err(error),
        }
        writer.introduce(&mut lock(&self.table));
        Ok(())
    }

    /// Closed segments in which nothing is live.
    fn empty_segments(&self, writer: &Writer) -> Vec<u64> {
        let table = lock(&self.table);
        let empty = |(number, facts): &(&u64, &Facts)| facts.live == 0 && !facts.stuck && !writer.is_open(**number);
        table.segments.iter().filter(empty).map(|(&number, _)| number).collect()
    }

    /// Makes an empty segment the next one, under a new number. All lines must be durable.
    fn recycle(&self, writer: &mut Writer, number: u64) -> io::Result<Active> {
        let (dir, old) = (&self.options.dir, segment_path(&self.options.dir, number));
        let file = self.disk.open(&old, Open::Write)?;
        let filled = file.stat()?.size.max(HEAD);
        let generation = writer.write_head(&file)?;
        file.sync()?;
        // From here on it is empty, whatever its log says.
        let new = writer.last + 1;
        self.disk.rename(&old, &segment_path(dir, new))?;
        self.forget(writer, number);
        let active = writer.enter(Active { number: new, generation, file, tail: HEAD, filled })?;
        missing_is_fine(self.disk.remove(&log_path(dir, number)))?;
        Ok(active)
    }

    fn forget(&self, writer: &mut Writer, number: u64) {
        writer.forget(number);
        lock(&self.table).segments.remove(&number);
    }

    /// When the active segment is half full, makes the next one ready: a recycled one, or a new one, filled while others write on.
    fn prepare_next(&self) -> Result<(), SpoolError> {
        {
            let mut writer = lock(&self.writer);
            let low = writer.active.as_ref().is_none_or(|active| active.tail > active.filled / 2);
            if writer.next.is_some() || !low {
                return Ok(());
            }
            let clean = self.settle_up(&mut writer);
            for number in self.empty_segments(&writer) {
                let size = self.disk.stat(&segment_path(&self.options.dir, number)).map_or(0, |stat| stat.size);
                if clean && size >= self.options.segment_size {
                    writer.next = Some(self.recycle(&mut writer, number)?);
                    writer.introduce(&mut lock(&self.table));
                    return Ok(());
                }
            }
        }
        if self.disk.free(&self.options.dir)? < self.options.min_free.saturating_add(self.options.segment_size) {
            return Ok(());
        }
        let path = self.options.dir.join(NEXT);
        let made = self.fill_next();
        if made.is_err() {
            let _ = self.disk.remove(&path);
        }
        let (file, generation) = made?;
        let mut writer = lock(&self.writer);
        let number = writer.last + 1;
        self.disk.rename(&path, &segment_path(&self.options.dir, number))?;
        let next = writer.enter(Active { number, generation, file, tail: HEAD, filled: self.options.segment_size.max(HEAD) })?;
        writer.next = Some(next);
        writer.introduce(&mut lock(&self.table));
        Ok(())
    }

    fn fill_next(&self) -> io::Result<(Arc<dyn File>, u64)> {
        let file = self.disk.open(&self.options.dir.join(NEXT), Open::Create(0o600))?;
        file.set_len(0)?;
        let generation = lock(&self.writer).write_head(&file)?;
        let mut at = HEAD;
        while at < self.options.segment_size {
            let to = (at + FILL_STEP).min(self.options.segment_size);
            fill(&*file, at, to)?;
            file.sync()?;
            at = to;
        }
        Ok((file, generation))
    }

    /// Removes empty segments, but for one that may soon be recycled.
    fn discard_empty(&self) -> Result<(), SpoolError> {
        let mut writer = lock(&self.writer);
        let mut empty = self.empty_segments(&writer);
        if writer.next.is_none() {
            empty.pop();
        }
        if empty.is_empty() || !self.settle_up(&mut writer) {
            return Ok(());
        }
        for number in empty {
            // First the records, then the log that says they are settled.
            missing_is_fine(self.disk.remove(&segment_path(&self.options.dir, number)))?;
            self.disk.sync_dir(&self.options.dir)?;
            self.forget(&mut writer, number);
            missing_is_fine(self.disk.remove(&log_path(&self.options.dir, number)))?;
        }
        Ok(())
    }

    /// Copies what is live in a segment, of which less than a quarter is, to the active one.
    fn copy_forward(&self) -> Result<(), SpoolError> {
        let candidates: Vec<(u64, u64)> = {
            let writer = lock(&self.writer);
            let table = lock(&self.table);
            let fit = table
                .segments
                .iter()
                .filter(|(number, facts)| facts.live > 0 && !facts.stuck && facts.age >= REST && !writer.is_open(**number));
            fit.map(|(&number, facts)| (number, facts.bytes)).collect()
        };
        let mut result = Ok(());
        for (number, live) in candidates {
            let size = self.disk.stat(&segment_path(&self.options.dir, number)).map(|stat| stat.size);
            match size.map(|size| live < size / 4) {
                Ok(true) => match self.copy_segment(number) {
                    // All that is in it is being delivered.
                    Ok(0) => {}
                    Ok(_) => return result,
                    // Damaged, it is left alone from now on; without room, the next would fare no better.
                    Err(error @ SpoolError::Io(_)) => result = Err(error),
                    Err(error) => return Err(error),
                },
                Ok(false) => {}
                Err(error) => result = Err(error.into()),
            }
        }
        result
    }

    /// Copies what is live in a segment and not being delivered, up to a bound. Tells how many messages that were.
    pub(super) fn copy_segment(&self, number: u64) -> Result<usize, SpoolError> {
        let table = lock(&self.table);
        // One for which room is promised is being delivered; it can wait.
        let idle = table.in_segment(number).filter(|(_, live)| live.reserved == 0);
        let mut ids: Vec<(u64, SpoolId)> = idle.map(|(id, live)| (live.place.offset, id)).collect();
        drop(table);
        ids.sort_unstable();
        let (mut batch, mut bytes, mut all, mut count) = (Vec::new(), 0, 0, 0);
        for (_, id) in ids {
            match self.fetch(id, Verify::Message) {
                Ok((live, record, message)) if live.segment == number => {
                    bytes += live.bytes();
                    all += live.bytes();
                    count += 1;
                    batch.push((live, record, message));
                }
                Ok(_) | Err(SpoolError::Unknown(_)) => {}
                Err(error) => {
                    if let Some(facts) = lock(&self.table).segments.get_mut(&number) {
                        facts.stuck = true;
                    }
                    return Err(error);
                }
            }
            if bytes >= COPY_BATCH {
                bytes = 0;
                self.copy_records(std::mem::take(&mut batch), Some(number))?;
            }
            if all >= COPY_MOST {
                break;
            }
        }
        self.copy_records(batch, Some(number))?;
        Ok(count)
    }

    /// Commits copies of records, with their marks as they are now. `from` is the segment they replace; None: they come from another journal.
    pub(super) fn copy_records(&self, batch: Vec<(Live, Record, Message)>, from: Option<u64>) -> Result<(), SpoolError> {
        if batch.is_empty() {
            return Ok(());
        }
        let ticket = Ticket::new();
        let watch = ticket.watch();
        let now = self.clock.elapsed();
        for (live, record, message) in batch {
            let message = match message {
                Message::Memory(bytes) => bytes,
                // It lies in a file of its own; what comes from a journal is not spliced.
                Message::File { .. } | Message::Spliced { .. } => Arc::new(Vec::new()),
            };
            let record = Record { waiting: live.waiting.clone(), settles: Vec::new(), group: None, ..record };
            let fields = record.fields(message.len() as u64);
            let crc = segment::checksum(&message, &fields);
            let ticket = ticket.another();
            let (id, hidden) = (record.id, record.adopted.filter(|_| from.is_none()));
            let job = RecordJob { id, live, fields, crc, message, settles: Vec::new(), copy_of: from, hidden, ticket };
            lock(&self.table).push(job, now);
        }
        ticket.answer(&Ok(()));
        self.wait(&watch)
    }
}
