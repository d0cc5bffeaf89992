//! The journal's hand: the segment that is written to, the logs, and where the next bytes go. Only the leader uses it, and
//! housekeeping between two rounds.

use super::log::LINE;
use super::logfile::{LogFile, fill};
use super::segment::{self, HEAD};
use super::table::{Facts, RecordJob, Table};
use super::{SpoolError, SpoolId};
use crate::sys::{Clock, Disk, File, Open};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeros in a segment that is begun in a hurry: at start, or because the next one is not ready.
pub(super) const FIRST: u64 = 4 << 20;
/// By how much such a segment grows.
const AHEAD: u64 = 1 << 20;

/// A segment that is, or will be, written to.
#[derive(Debug)]
pub(super) struct Active {
    pub number: u64,
    pub generation: u64,
    pub file: Arc<dyn File>,
    /// Where the next record goes.
    pub tail: u64,
    /// So far there are blocks, written before.
    pub filled: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    size: u64,
    pub active: Option<Active>,
    /// Ready to take over, its name and head and log durable.
    pub next: Option<Active>,
    /// The highest number in use.
    pub last: u64,
    logs: BTreeMap<u64, LogFile>,
}

/// `NNNNNNNN.mbox`
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.mbox"))
}

/// `NNNNNNNN.log`
pub(super) fn log_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

/// `<id>.msg`
pub(super) fn own_path(dir: &Path, id: SpoolId) -> PathBuf {
    dir.join(format!("{id}.msg"))
}

/// A number nobody can guess.
pub(super) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes))
}

impl Writer {
    pub fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: PathBuf,
        size: u64,
        logs: BTreeMap<u64, LogFile>,
        last: u64,
    ) -> Writer {
        Writer { disk, clock, dir, size, active: None, next: None, last, logs }
    }

    /// Appends records and syncs them, all or none. Fills in where they lie.
    pub fn append(&mut self, jobs: &mut [RecordJob]) -> Result<(), SpoolError> {
        let total = jobs.iter().map(|job| (job.fields.len() + job.message.len()) as u64 + 256).sum();
        self.make_room(total)?;
        let Some(active) = &mut self.active else { return Err(io::Error::other("no segment").into()) };
        let mut at = active.tail;
        let mut headers = Vec::with_capacity(jobs.len());
        for job in &mut *jobs {
            let header = segment::seal(active.generation, job.live.time, &job.fields, job.crc);
            job.live.segment = active.number;
            job.live.place.offset = at;
            job.live.place.header = u32::try_from(header.len()).unwrap_or(u32::MAX);
            at += (header.len() + job.message.len() + 1) as u64;
            headers.push(header);
        }
        let parts: Vec<IoSlice<'_>> = headers
            .iter()
            .zip(&*jobs)
            .flat_map(|(header, job)| [IoSlice::new(header), IoSlice::new(&job.message), IoSlice::new(b"\n")])
            .collect();
        match active.file.write_at(&parts, active.tail).and_then(|()| active.file.sync()) {
            Ok(()) => {
                active.tail = at;
                Ok(())
            }
            Err(error) => Err(self.poison(error)),
        }
    }

    /// What the last write left on disk is not known. Its records are declared void in the log, durably, and the segment is
    /// not written to again.
    fn poison(&mut self, error: io::Error) -> SpoolError {
        let Some(active) = self.active.take() else { return error.into() };
        log::error!("spool segment={:08} poisoned error={error}", active.number);
        let Some(log) = self.logs.get_mut(&active.number) else { return SpoolError::Uncertain };
        log.void(active.tail);
        match log.sync(&*self.disk) {
            Ok(()) => error.into(),
            Err(second) => {
                log::error!("spool segment={:08} void line failed error={second}", active.number);
                SpoolError::Uncertain
            }
        }
    }

    /// Sees to it that the active segment has blocks for so many bytes more. An error has changed nothing.
    fn make_room(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let full = |active: &Active, to: u64| active.tail > HEAD && active.tail + bytes > to;
        if self.active.as_ref().is_none_or(|active| full(active, active.filled)) {
            if let Some(next) = self.next.take() {
                self.active = Some(next);
            }
        }
        if self.active.as_ref().is_none_or(|active| full(active, self.size)) {
            self.active = Some(self.begin(FIRST.min(self.size))?);
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        let wanted = active.tail + bytes;
        if wanted > active.filled {
            let ahead = wanted + AHEAD.min(self.size / 4);
            if fill(&*active.file, active.filled, ahead).is_ok() {
                active.filled = ahead;
            } else {
                fill(&*active.file, active.filled, wanted)?;
                active.filled = wanted;
            }
        }
        Ok(())
    }

    /// Begins a segment with so many bytes of zeros: file, log and their names are durable afterwards.
    pub fn begin(&mut self, size: u64) -> io::Result<Active> {
        let number = self.last + 1;
        let path = segment_path(&self.dir, number);
        let begun = self.disk.open(&path, Open::Create(0o600)).and_then(|file| {
            file.set_len(0)?;
            self.write_head(&file).and_then(|generation| {
                fill(&*file, HEAD, size)?;
                file.sync()?;
                self.enter(Active { number, generation, file, tail: HEAD, filled: size.max(HEAD) })
            })
        });
        if begun.is_err() {
            let _ = self.disk.remove(&path);
            let _ = self.disk.remove(&log_path(&self.dir, number));
        }
        begun
    }

    /// Gives a file a new generation: whatever it held is no record any more. Not synced.
    pub fn write_head(&self, file: &Arc<dyn File>) -> io::Result<u64> {
        let generation = random()?;
        file.write_at(&[IoSlice::new(&segment::head(generation, self.clock.now()))], 0)?;
        Ok(generation)
    }

    /// Makes the log of a segment whose file is ready, and all names durable.
    pub fn enter(&mut self, active: Active) -> io::Result<Active> {
        let mut log = LogFile::fresh(log_path(&self.dir, active.number), active.generation);
        log.make_room(&*self.disk, LINE)?;
        log.sync(&*self.disk)?;
        self.last = active.number;
        self.logs.insert(active.number, log);
        Ok(active)
    }

    /// Tells the table of segments it does not know yet.
    pub fn introduce(&self, table: &mut Table) {
        for active in self.active.iter().chain(&self.next) {
            table.segments.entry(active.number).or_insert_with(|| Facts { generation: active.generation, ..Facts::default() });
        }
    }

    /// Is this segment written to, or going to be?
    pub fn is_open(&self, number: u64) -> bool {
        self.active.iter().chain(&self.next).any(|active| active.number == number)
    }

    /// Sees to it that so many more bytes fit into a log.
    pub fn log_room(&mut self, number: u64, bytes: u64) -> io::Result<()> {
        self.logs.get_mut(&number).map_or(Ok(()), |log| log.make_room(&*self.disk, bytes))
    }

    pub fn push_lines(&mut self, number: u64, lines: &[u8]) {
        if let Some(log) = self.logs.get_mut(&number) {
            log.push(lines);
        }
    }

    pub fn flush_log(&mut self, number: u64) -> io::Result<()> {
        self.logs.get_mut(&number).map_or(Ok(()), |log| log.flush(&*self.disk))
    }

    pub fn sync_log(&mut self, number: u64) -> io::Result<()> {
        let open = self.is_open(number);
        let Some(log) = self.logs.get_mut(&number) else { return Ok(()) };
        log.sync(&*self.disk)?;
        if !open {
            log.rest();
        }
        Ok(())
    }

    /// Logs with something that may not be durable.
    pub fn unsynced_logs(&self) -> BTreeSet<u64> {
        self.logs.iter().filter(|(_, log)| log.is_dirty()).map(|(&number, _)| number).collect()
    }

    /// Bytes of a log.
    pub fn log_end(&self, number: u64) -> u64 {
        self.logs.get(&number).map_or(0, LogFile::end)
    }

    /// An empty log that is to take the place of this one.
    pub fn successor(&self, number: u64) -> Option<LogFile> {
        self.logs.get(&number).map(LogFile::successor)
    }

    /// Replaces a log by its successor, and what came to it from `from` on.
    pub fn replace_log(&mut self, number: u64, new: LogFile, from: u64, reserved: u64) -> io::Result<()> {
        self.logs.get_mut(&number).map_or(Ok(()), |log| log.give_way(&*self.disk, new, from, reserved))
    }

    /// The segment is gone.
    pub fn forget(&mut self, number: u64) {
        self.logs.remove(&number);
    }
}
