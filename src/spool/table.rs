//! The journal in memory: what still has to be served, what the segments hold, what waits to be written.
//! No I/O here; one short lock guards all of it.

use super::commit::Ticket;
use super::log::{self, Item, Line, What};
use super::pace::Pace;
use super::replay::{Live, Scan, State};
use super::text::{Mark, Texts};
use super::{Outcome, SpoolId, Status};
use crate::sys::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

/// What memory knows of a segment.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub generation: u64,
    /// Messages that were put in it; some are settled, or were moved. See [`Table::in_segment`].
    pub ids: Vec<SpoolId>,
    /// Messages in it that still have to be served.
    pub live: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of its log that are promised.
    pub reserved: u64,
    /// Bytes of its log for which there is room too, and that may be promised without another look.
    pub spare: u64,
    /// Its log begins with a summary that says all.
    pub summarised: bool,
    /// Something in it can't be read; it is left alone.
    pub stuck: bool,
    /// How often housekeeping saw it closed.
    pub age: u32,
    /// Bytes of its log when that was rewritten last.
    pub rewritten: u64,
}

impl From<&Scan> for Facts {
    fn from(scan: &Scan) -> Facts {
        Facts { generation: scan.generation, summarised: scan.summarised, stuck: scan.stuck, ..Facts::default() }
    }
}

/// A record that waits to be written.
#[derive(Debug)]
pub(super) struct RecordJob {
    pub id: SpoolId,
    /// What it becomes; the place is filled in by the writer.
    pub live: Live,
    pub fields: String,
    /// Of message and fields.
    pub crc: u32,
    /// What follows the header.
    pub message: Arc<Vec<u8>>,
    pub settles: Vec<Line>,
    /// It replaces the record in this segment.
    pub copy_of: Option<u64>,
    /// It came from this host's journal and is not to be served yet.
    pub hidden: Option<String>,
    pub ticket: Ticket,
}

/// Lines that wait to be written to one log.
#[derive(Debug, Default)]
pub(super) struct LineJob {
    pub bytes: Vec<u8>,
    /// What becomes true once they are durable.
    pub apply: Vec<Line>,
    /// Promised room that they use up.
    pub release: u64,
    /// Who waits until they are durable.
    pub ticket: Option<Ticket>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub entries: HashMap<SpoolId, Live>,
    /// What these share.
    pub texts: Texts,
    /// Of the entries, those that are not to be served yet, and from whose journal they come.
    pub hidden: HashMap<SpoolId, String>,
    pub segments: BTreeMap<u64, Facts>,
    pub queue: Vec<RecordJob>,
    /// By segment.
    pub lines: BTreeMap<u64, Vec<LineJob>>,
    /// Files of settled messages, to be removed.
    pub trash: Vec<SpoolId>,
    /// Somebody writes.
    pub leading: bool,
    pub pace: Pace,
    /// A leader that waits until so many records are there.
    pub gathering: Option<(Thread, usize)>,
}

impl Facts {
    fn add(&mut self, id: SpoolId, live: &Live) {
        self.ids.push(id);
        self.live += 1;
        self.bytes += live.bytes();
    }
}

impl Live {
    /// Bytes in the segment.
    pub fn bytes(&self) -> u64 {
        u64::from(self.place.header) + if self.place.own { 0 } else { self.place.size } + 1
    }
}

impl Table {
    /// What replay found. The lines that logs lack are put in the queue; the adopted are hidden if their host is one of `hidden`.
    pub fn of(state: State, hidden: &[&str]) -> Table {
        let mut table = Table { texts: state.texts, ..Table::default() };
        table.segments = state.segments.iter().map(|(&number, scan)| (number, Facts::from(scan))).collect();
        table.hidden = state.adopted.into_iter().filter(|(_, host)| hidden.contains(&host.as_str())).collect();
        table.entries = state.entries;
        for (id, live) in &table.entries {
            table.segments.entry(live.segment).or_default().add(*id, live);
        }
        state.owed.iter().for_each(|(number, item)| table.owe(*number, item));
        table
    }

    /// Puts a record in the queue.
    pub fn push(&mut self, job: RecordJob, now: Duration) {
        self.pace.arrived(now);
        self.queue.push(job);
        if let Some((leader, target)) = &self.gathering {
            if self.queue.len() >= *target {
                leader.unpark();
            }
        }
    }

    pub fn insert(&mut self, id: SpoolId, live: Live) {
        self.segments.entry(live.segment).or_default().add(id, &live);
        self.entries.insert(id, live);
    }

    /// What is live in a segment, in no order: with a million entries, nobody should have to look at all of them.
    pub fn in_segment(&self, number: u64) -> impl Iterator<Item = (SpoolId, &Live)> {
        let ids = self.segments.get(&number).into_iter().flat_map(|facts| &facts.ids);
        ids.filter_map(move |id| self.entries.get_key_value(id).filter(|(_, live)| live.segment == number))
            .map(|(id, live)| (*id, live))
    }

    fn remove(&mut self, id: SpoolId) -> Option<Live> {
        let live = self.entries.remove(&id)?;
        if let Some(facts) = self.segments.get_mut(&live.segment) {
            facts.live = facts.live.saturating_sub(1);
            facts.bytes = facts.bytes.saturating_sub(live.bytes());
            facts.reserved = facts.reserved.saturating_sub(u64::from(live.reserved) * log::LINE);
        }
        Some(live)
    }

    /// Promises room for one outcome for each waiting recipient of a message, out of what is spare. False: there is too little.
    /// None: there is no such message.
    pub fn reserve(&mut self, id: SpoolId) -> Option<bool> {
        let live = self.entries.get_mut(&id)?;
        let Some(facts) = self.segments.get_mut(&live.segment) else { return Some(false) };
        let count = u32::try_from(live.waiting.len()).unwrap_or(u32::MAX).saturating_sub(live.reserved);
        let bytes = u64::from(count) * log::LINE;
        let Some(spare) = facts.spare.checked_sub(bytes) else { return Some(false) };
        facts.spare = spare;
        facts.reserved += bytes;
        live.reserved += count;
        Some(true)
    }

    /// Bytes of a segment's log that are promised, or may be. From here on no more is promised without another look.
    pub fn end_spare(&mut self, number: u64) -> u64 {
        self.segments.get_mut(&number).map_or(0, |facts| {
            facts.spare = 0;
            facts.reserved
        })
    }

    /// Puts a line in the queue for which nobody waits.
    pub fn owe(&mut self, number: u64, item: &Item) {
        let Some(facts) = self.segments.get(&number) else { return };
        let jobs = self.lines.entry(number).or_default();
        if jobs.last().is_none_or(|job| job.ticket.is_some()) {
            jobs.push(LineJob::default());
        }
        if let Some(job) = jobs.last_mut() {
            item.put(facts.generation, &mut job.bytes);
        }
    }

    /// Puts outcomes in the queue. Marks hold at once, what settles holds when it is durable; then `ticket` is told, and also
    /// when it is durable that something is held or released. Recipients that don't wait are left out. True if there is something to wait for.
    pub fn enqueue(&mut self, outcomes: &[Outcome], ticket: &Ticket) -> bool {
        let mut jobs: BTreeMap<u64, LineJob> = BTreeMap::new();
        let mut urgent = BTreeSet::new();
        for outcome in outcomes {
            let (settled, marks) = self.lines_of(outcome);
            let Some(live) = self.entries.get_mut(&outcome.id) else { continue };
            let Some(facts) = self.segments.get_mut(&live.segment) else { continue };
            let job = jobs.entry(live.segment).or_default();
            for line in settled.iter().chain(&marks) {
                Item::Out(line.clone()).put(facts.generation, &mut job.bytes);
                let used = live.reserved.min(u32::try_from(line.recipients.len()).unwrap_or(u32::MAX));
                live.reserved -= used;
                facts.reserved = facts.reserved.saturating_sub(u64::from(used) * log::LINE);
                job.release += u64::from(used) * log::LINE;
            }
            let held = |line: &Line| matches!(&line.what, What::Waiting(mark) if mark.held);
            let was = |line: &Line| {
                live.waiting.iter().any(|mark| mark.held != held(line) && line.recipients.binary_search(&mark.index).is_ok())
            };
            if settled.is_some() || marks.iter().any(was) {
                urgent.insert(live.segment);
            }
            job.apply.extend(settled);
            marks.iter().for_each(|line| self.mark(line));
        }
        let mut waits = false;
        for (number, mut job) in jobs.into_iter().filter(|(_, job)| !job.bytes.is_empty()) {
            job.ticket = urgent.contains(&number).then(|| ticket.another());
            waits |= job.ticket.is_some();
            self.lines.entry(number).or_default().push(job);
        }
        waits
    }

    /// Puts outcomes that settle in the queue: those whose messages lie in one segment hold together or not at all.
    /// True if there is something to wait for.
    pub fn enqueue_together(&mut self, outcomes: &[Outcome], ticket: &Ticket) -> bool {
        let mut jobs: BTreeMap<u64, Vec<Line>> = BTreeMap::new();
        for line in outcomes.iter().filter_map(|outcome| self.lines_of(outcome).0) {
            let Some(live) = self.entries.get(&line.id) else { continue };
            jobs.entry(live.segment).or_default().push(line);
        }
        let waits = !jobs.is_empty();
        for (number, apply) in jobs {
            let Some(facts) = self.segments.get(&number) else { continue };
            let mut bytes = Vec::new();
            Item::All(apply.clone()).put(facts.generation, &mut bytes);
            self.lines.entry(number).or_default().push(LineJob { bytes, apply, release: 0, ticket: Some(ticket.another()) });
        }
        waits
    }

    /// The lines that tell an outcome: at most one that settles; marks as they will be, equal ones together.
    pub fn lines_of(&self, outcome: &Outcome) -> (Option<Line>, Vec<Line>) {
        let Some(live) = self.entries.get(&outcome.id) else { return (None, Vec::new()) };
        let (id, time) = (outcome.id, outcome.time);
        let mut wanted = outcome.recipients.clone();
        wanted.sort_unstable();
        let waiting = live.waiting.iter().filter(|mark| wanted.binary_search(&mark.index).is_ok());
        if let Some(word) = log::settled_word(&outcome.status) {
            let recipients: Vec<u32> = waiting.map(|mark| mark.index).collect();
            let what = What::Settled(word, outcome.text.clone());
            return ((!recipients.is_empty()).then_some(Line { id, recipients, time, what }), Vec::new());
        }
        let text: Option<Arc<str>> = (!outcome.text.is_empty()).then(|| outcome.text.as_str().into());
        let mut lines: Vec<Line> = Vec::new();
        for mark in waiting {
            let new = next_mark(mark, &outcome.status, text.as_ref());
            match lines.iter_mut().find(|line| matches!(&line.what, What::Waiting(other) if other.agrees(&new))) {
                Some(line) => line.recipients.push(new.index),
                None => lines.push(Line { id, recipients: vec![new.index], time, what: What::Waiting(new) }),
            }
        }
        (None, lines)
    }

    fn mark(&mut self, line: &Line) {
        let (Some(live), What::Waiting(new)) = (self.entries.get_mut(&line.id), &line.what) else { return };
        let new = Mark { text: new.text.as_ref().map(|text| self.texts.share(text)), ..new.clone() };
        for mark in live.waiting.iter_mut().filter(|mark| line.recipients.binary_search(&mark.index).is_ok()) {
            *mark = Mark { index: mark.index, ..new.clone() };
        }
    }

    /// An outcome is durable: in the log of segment `written`, or in a record (None). Other logs that need it are owed it.
    pub fn apply(&mut self, line: Line, written: Option<u64>) {
        let Some(live) = self.entries.get_mut(&line.id) else { return };
        match &line.what {
            What::Settled(..) => live.waiting.retain(|mark| line.recipients.binary_search(&mark.index).is_err()),
            What::Waiting(_) => self.mark(&line),
        }
        let Some(live) = self.entries.get(&line.id) else { return };
        let (segment, own, over) = (live.segment, live.place.own, live.waiting.is_empty());
        if over {
            self.remove(line.id);
            self.trash.extend(own.then_some(line.id));
        }
        if written != Some(segment) {
            self.owe(segment, &Item::Out(line));
        }
    }

    /// Records are durable.
    pub fn committed(&mut self, jobs: Vec<RecordJob>) -> Vec<Ticket> {
        let mut tickets = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job.copy_of {
                None => {
                    self.hidden.extend(job.hidden.map(|host| (job.id, host)));
                    self.insert(job.id, job.live);
                }
                Some(from) => self.moved(job.id, job.live, from),
            }
            job.settles.into_iter().for_each(|line| self.apply(line, None));
            tickets.push(job.ticket);
        }
        tickets
    }

    /// A copy is durable. What happened to the message since it was made is owed to the log of the copy.
    fn moved(&mut self, id: SpoolId, copy: Live, from: u64) {
        let now = self.remove(id);
        let left: &[Mark] = now.as_ref().map_or(&[], |live| &live.waiting);
        let gone = copy.waiting.iter().map(|mark| mark.index).filter(|index| left.iter().all(|mark| mark.index != *index));
        let recipients: Vec<u32> = gone.collect();
        let mut lines = Vec::new();
        if !recipients.is_empty() {
            lines.push(Line {
                id,
                recipients,
                time: copy.time,
                what: What::Settled("delivered", "while it was moved".to_owned()),
            });
        }
        for mark in left.iter().filter(|mark| !copy.waiting.contains(mark)) {
            lines.push(Line { id, recipients: vec![mark.index], time: copy.time, what: What::Waiting(mark.clone()) });
        }
        lines.into_iter().for_each(|line| self.owe(copy.segment, &Item::Out(line)));
        self.owe(from, &Item::Moved(id));
        if let Some(now) = now {
            self.insert(id, Live { waiting: now.waiting, ..copy });
        }
    }
}

/// The marks after an outcome that does not settle.
pub(super) fn next_mark(mark: &Mark, status: &Status, text: Option<&Arc<str>>) -> Mark {
    let text = text.cloned().or_else(|| mark.text.clone());
    match status {
        // A release is no try.
        Status::Deferred { until } if mark.held => Mark { due: *until, held: false, text, ..mark.clone() },
        Status::Deferred { until } => Mark { due: *until, tries: mark.tries.saturating_add(1), text, ..mark.clone() },
        Status::Held => Mark { held: true, text, ..mark.clone() },
        Status::Warned => Mark { warned: true, ..mark.clone() },
        Status::Delivered | Status::Failed | Status::Expired | Status::Removed => mark.clone(),
    }
}

/// The time of arrival decides the order; ids only between equals.
pub(super) fn by_arrival(id: SpoolId, time: Time) -> (Time, u64, u64) {
    (time, id.generation, id.counter)
}
