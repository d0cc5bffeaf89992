//! Group commit. Whoever needs something written puts it in the queue; if nobody is writing he becomes the leader, writes all
//! that waits, syncs once, and wakes those he wrote for. Who came meanwhile finds the lead free and does the same.
//!
//! Locks: the writer's before the table's, never the other way. The writer's is held through a whole round, the table's for moments.

use super::SpoolError;
use super::journal::{Journal, lock};
use super::table::{LineJob, RecordJob, Table};
use super::writer::Writer;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::Instant;

/// Where a waiter learns what became of the things it put in the queue.
#[derive(Debug)]
struct Slot {
    waiter: Thread,
    /// Parts that are not decided, and what the worst of the others came to.
    state: Mutex<(usize, Result<(), SpoolError>)>,
}

/// A part of what somebody waits for. It is answered once; dropped without answer it says that nobody knows.
#[derive(Debug)]
pub(super) struct Ticket {
    slot: Arc<Slot>,
    answered: bool,
}

impl Ticket {
    /// For the calling thread.
    pub fn new() -> Ticket {
        Ticket { slot: Arc::new(Slot { waiter: thread::current(), state: Mutex::new((1, Ok(()))) }), answered: false }
    }

    /// A further part of the same.
    pub fn another(&self) -> Ticket {
        lock(&self.slot.state).0 += 1;
        Ticket { slot: self.slot.clone(), answered: false }
    }

    pub fn answer(mut self, result: &Result<(), SpoolError>) {
        self.tell(result);
    }

    fn tell(&mut self, result: &Result<(), SpoolError>) {
        if std::mem::replace(&mut self.answered, true) {
            return;
        }
        let mut state = lock(&self.slot.state);
        state.0 -= 1;
        if let Err(error) = result {
            state.1 = Err(again(error));
        }
        if state.0 == 0 {
            drop(state);
            self.slot.waiter.unpark();
        }
    }

    /// The waiter's end.
    pub fn watch(&self) -> Watch {
        Watch(self.slot.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tell(&Err(SpoolError::Uncertain));
    }
}

/// The waiter's end of its tickets.
#[derive(Debug)]
pub(super) struct Watch(Arc<Slot>);

impl Watch {
    fn result(&self) -> Option<Result<(), SpoolError>> {
        let mut state = lock(&self.0.state);
        (state.0 == 0).then(|| std::mem::replace(&mut state.1, Ok(())))
    }

    fn wake(&self) {
        self.0.waiter.unpark();
    }
}

/// The same error once more.
pub(super) fn again(error: &SpoolError) -> SpoolError {
    match error {
        SpoolError::Full => SpoolError::Full,
        SpoolError::Unknown(id) => SpoolError::Unknown(*id),
        SpoolError::Locked => SpoolError::Locked,
        SpoolError::Io(error) => SpoolError::Io(io::Error::new(error.kind(), error.to_string())),
        SpoolError::Uncertain => SpoolError::Uncertain,
    }
}

/// The lead; dropped, also by a panic, it is free again, and one who waits is woken to take it.
struct Lead<'a>(&'a Journal);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut table = lock(&self.0.table);
        table.leading = false;
        let next = table.queue.first().map(|job| job.ticket.watch());
        let next = next.or_else(|| table.lines.values().flatten().find_map(|job| job.ticket.as_ref()).map(Ticket::watch));
        drop(table);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Journal {
    /// Waits until all parts are decided; leads when nobody does.
    pub(super) fn wait(&self, watch: &Watch) -> Result<(), SpoolError> {
        loop {
            if let Some(result) = watch.result() {
                return result;
            }
            match self.take_lead() {
                Some(lead) => self.lead(&lead),
                None => thread::park(),
            }
        }
    }

    fn take_lead(&self) -> Option<Lead<'_>> {
        let taken = std::mem::replace(&mut lock(&self.table).leading, true);
        // Lazily: a lead that is made and dropped frees what another holds.
        (!taken).then(|| Lead(self))
    }

    /// Writes what waits without anybody waiting for it, unless somebody is at it who will.
    pub(super) fn write_on(&self) {
        if let Some(lead) = self.take_lead() {
            self.lead(&lead);
        }
    }

    fn lead(&self, _lead: &Lead<'_>) {
        self.gather();
        let mut writer = lock(&self.writer);
        self.round(&mut writer, false);
        // Lines for which nobody waits, so nobody would come for them.
        let orphans = |table: &Table| {
            table.queue.is_empty() && !table.lines.is_empty() && table.lines.values().flatten().all(|job| job.ticket.is_none())
        };
        if orphans(&lock(&self.table)) {
            self.round(&mut writer, false);
        }
        drop(writer);
        self.empty_trash();
    }

    /// Waits a little for company if there is reason to expect some.
    fn gather(&self) {
        let start = Instant::now();
        let plan = {
            let table = lock(&self.table);
            let here = table.queue.len();
            if here == 0 { None } else { table.pace.patience(here, self.drafts.load(Ordering::Relaxed)) }
        };
        let Some((target, most)) = plan else { return };
        lock(&self.table).gathering = Some((thread::current(), target));
        while let Some(left) = most.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            if lock(&self.table).queue.len() >= target {
                break;
            }
            thread::park_timeout(left);
        }
        lock(&self.table).gathering = None;
    }

    /// Writes all that waits: records, one sync, then outcomes, one sync for each log somebody waits for (or for every log).
    pub(super) fn round(&self, writer: &mut Writer, sync_all: bool) {
        let (records, lines) = {
            let mut table = lock(&self.table);
            (std::mem::take(&mut table.queue), std::mem::take(&mut table.lines))
        };
        self.round_of_records(writer, records);
        let mut touched: BTreeSet<u64> = if sync_all { writer.unsynced_logs() } else { BTreeSet::new() };
        let mut waiting: BTreeMap<u64, Vec<LineJob>> = BTreeMap::new();
        for (number, jobs) in lines {
            let kept = self.write_lines(writer, number, jobs);
            if sync_all || kept.iter().any(|job| job.ticket.is_some()) {
                touched.insert(number);
            }
            waiting.insert(number, kept);
        }
        for number in touched {
            let result = writer.sync_log(number).map_err(SpoolError::from);
            if let Err(error) = &result {
                log::error!("spool log={number:08} error={error}");
            }
            self.lines_done(number, waiting.remove(&number).unwrap_or_default(), &result);
        }
    }

    fn round_of_records(&self, writer: &mut Writer, mut records: Vec<RecordJob>) {
        if records.is_empty() {
            return;
        }
        let before = self.clock.elapsed();
        let result = writer.append(&mut records);
        let took = self.clock.elapsed().saturating_sub(before);
        let mut table = lock(&self.table);
        writer.introduce(&mut table);
        let tickets = match &result {
            Ok(()) => {
                table.pace.synced(took, records.len());
                table.committed(records)
            }
            Err(error) => {
                log::error!("spool records={} error={error}", records.len());
                records.into_iter().map(|job| job.ticket).collect()
            }
        };
        drop(table);
        tickets.into_iter().for_each(|ticket| ticket.answer(&result));
    }

    /// Writes lines to a log; those for which there is no room are answered, or put back.
    /// Returned are the jobs that were written and still have somebody waiting.
    fn write_lines(&self, writer: &mut Writer, number: u64, jobs: Vec<LineJob>) -> Vec<LineJob> {
        let promised = lock(&self.table).segments.get(&number).map_or(0, |facts| facts.reserved + facts.spare);
        let wanted: u64 = jobs.iter().map(|job| job.bytes.len() as u64).sum();
        let roomy = match writer.log_room(number, wanted + promised) {
            Ok(()) => Ok(()),
            Err(_) => {
                let promised = lock(&self.table).end_spare(number);
                writer.log_room(number, wanted + promised)
            }
        };
        let mut kept = Vec::with_capacity(jobs.len());
        for job in jobs {
            match &roomy {
                // What has a promise fits all the same.
                Err(error) if job.release < job.bytes.len() as u64 => {
                    let error = SpoolError::from(io::Error::new(error.kind(), error.to_string()));
                    self.no_room(number, job, error);
                }
                _ => {
                    writer.push_lines(number, &job.bytes);
                    kept.push(job);
                }
            }
        }
        if let Err(error) = writer.flush_log(number) {
            // The bytes stay with the writer, who tries again before anything else goes to this log.
            self.lines_done(number, std::mem::take(&mut kept), &Err(error.into()));
        }
        kept
    }

    fn no_room(&self, number: u64, job: LineJob, error: SpoolError) {
        let LineJob { bytes, apply, release, ticket } = job;
        // Marks hold in memory already, so they must come to stand in the log too.
        if apply.is_empty() {
            lock(&self.table).lines.entry(number).or_default().push(LineJob { bytes, apply, release, ticket: None });
        }
        if let Some(ticket) = ticket {
            ticket.answer(&Err(error));
        }
    }

    fn lines_done(&self, number: u64, jobs: Vec<LineJob>, result: &Result<(), SpoolError>) {
        let mut tickets = Vec::new();
        let mut table = lock(&self.table);
        for job in jobs {
            if result.is_ok() {
                job.apply.into_iter().for_each(|line| table.apply(line, Some(number)));
            }
            tickets.extend(job.ticket);
        }
        drop(table);
        tickets.into_iter().for_each(|ticket| ticket.answer(result));
    }

    /// Removes the files of messages that are settled.
    pub(super) fn empty_trash(&self) {
        let trash = std::mem::take(&mut lock(&self.table).trash);
        for id in trash {
            // What can't be removed now is an orphan at the next start.
            let _ = self.disk.remove(&super::writer::own_path(&self.options.dir, id));
        }
    }
}
