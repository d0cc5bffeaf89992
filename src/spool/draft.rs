//! A message on its way into the journal: in memory while it is small, in a file of its own from then on.
//!
//! What is known only when all of it was read may still go to its front ([`Draft::put_before`]): until the commit nobody knows of
//! the file, so what stands in it can be moved on to make room.

use super::commit::Ticket;
use super::domains;
use super::journal::{Journal, lock};
use super::log::{Place, What};
use super::replay::Live;
use super::segment::{self, Group, OwnFile, Record};
use super::table::{RecordJob, next_mark};
use super::text::Mark;
use super::writer::own_path;
use super::{Entry, Message, Outcome, SpoolError, SpoolId, Status};
use crate::mail::Envelope;
use crate::mail::mboxrd::Quoter;
use crate::sys::{File, Open, Time};
use std::collections::HashSet;
use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A message that is longer goes to a file of its own.
const MOST_IN_MEMORY: usize = 256 << 10;
/// Bytes gathered before they are written to that file.
const BLOCK: usize = 128 << 10;

/// A message on its way into the journal. Dropped without commit it leaves nothing behind.
#[derive(Debug)]
pub struct Draft {
    journal: Arc<Journal>,
    id: SpoolId,
    time: Time,
    envelope: Arc<Envelope>,
    quoter: Quoter,
    buffer: Vec<u8>,
    /// What is to stand before the rest, quoted.
    front: Vec<u8>,
    own: Option<(Arc<dyn File>, OwnFile)>,
    /// Longer, it goes to that file.
    most: usize,
    /// A write failed; there will be no commit.
    failed: Option<io::ErrorKind>,
    /// The file must stay.
    keep: bool,
    /// It still counts as one that may be committed soon.
    open: bool,
}

impl Draft {
    pub(super) fn new(journal: Arc<Journal>, id: SpoolId, envelope: Envelope) -> Draft {
        journal.drafts.fetch_add(1, Ordering::Relaxed);
        let time = journal.clock.now();
        let (quoter, buffer) = (Quoter::default(), Vec::new());
        Draft {
            journal,
            id,
            time,
            envelope: Arc::new(envelope),
            quoter,
            buffer,
            front: Vec::new(),
            own: None,
            most: MOST_IN_MEMORY,
            failed: None,
            keep: false,
            open: true,
        }
    }

    /// What the message will be called.
    pub fn id(&self) -> SpoolId {
        self.id
    }

    /// From so many bytes on it goes to a file of its own, if that is less than usual: for one of many that are written at once.
    pub fn keep_at_most(&mut self, bytes: usize) {
        self.most = self.most.min(bytes);
    }

    /// Puts whole lines, with LF line ends, before all that is written.
    pub fn put_before(&mut self, lines: &[u8]) {
        let mut front = Vec::new();
        let mut quoter = Quoter::default();
        quoter.push(lines, &mut front);
        quoter.finish(&mut front);
        self.front.splice(0..0, front);
    }

    /// Makes room in memory for what is written next.
    pub fn reserve(&mut self, bytes: usize) {
        self.buffer.reserve(bytes);
    }

    /// Bytes that are in memory.
    pub fn in_memory(&self) -> usize {
        self.buffer.len()
    }

    /// The commit: when this returns Ok the message survives a power cut, and so do the outcomes that come with it
    /// (`X-Spool-Settles`: those of other messages that settle, and `Warned`; and all marks of this message itself), all or
    /// nothing, in one sync. `Deferred` and `Held` of other messages are no part of that act: they follow it, hold in memory
    /// from then on, and reach the log as soon as it can be written.
    /// After `Uncertain` nobody knows; after any other error nothing is kept.
    pub fn commit(mut self, settles: Vec<Outcome>) -> Result<Entry, SpoolError> {
        let message = self.close()?;
        if self.own.is_some() {
            self.journal.disk.sync_dir(&self.journal.options.dir)?;
        }
        let (own, others): (Vec<Outcome>, Vec<Outcome>) = settles.into_iter().partition(|outcome| outcome.id == self.id);
        let (with, after): (Vec<Outcome>, Vec<Outcome>) =
            others.into_iter().partition(|outcome| !matches!(outcome.status, Status::Deferred { .. } | Status::Held));
        let ticket = Ticket::new();
        let watch = ticket.watch();
        let job = self.job(message.clone(), &own, &with, None, ticket);
        let now = self.journal.clock.elapsed();
        lock(&self.journal.table).push(job, now);
        let result = self.journal.wait(&watch);
        self.keep = matches!(result, Ok(()) | Err(SpoolError::Uncertain));
        result?;
        if !after.is_empty() {
            // The message is taken, whatever becomes of these: an error here would have it sent twice.
            if let Err(error) = self.journal.settle(&after) {
                log::error!("spool id={} marks={} error={error}", self.id, after.len());
            }
        }
        Ok(self.entry(message))
    }

    /// Commits messages of one journal together: all survive a power cut from then on, and so do the outcomes of others that come
    /// with them, or none is kept, as with [`Draft::commit`]. All outcomes of others settle.
    pub fn commit_all(mut drafts: Vec<Draft>, settles: &[Outcome]) -> Result<Vec<Entry>, SpoolError> {
        let Some(first) = drafts.first() else { return Ok(Vec::new()) };
        let (journal, id) = (first.journal.clone(), first.id);
        let messages = drafts.iter_mut().map(Draft::close).collect::<Result<Vec<_>, _>>()?;
        if drafts.iter().any(|draft| draft.own.is_some()) {
            journal.disk.sync_dir(&journal.options.dir)?;
        }
        let count = u32::try_from(drafts.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let ticket = Ticket::new();
        let watch = ticket.watch();
        let mut jobs = Vec::with_capacity(drafts.len());
        let ids: HashSet<SpoolId> = drafts.iter().map(|draft| draft.id).collect();
        let (own, settles): (Vec<Outcome>, Vec<Outcome>) = settles.iter().cloned().partition(|outcome| ids.contains(&outcome.id));
        for ((index, draft), message) in (0..).zip(&mut drafts).zip(&messages) {
            let group = (count > 1).then_some(Group { id, index, count });
            let settles = if index == 0 { settles.as_slice() } else { &[] };
            let own: Vec<Outcome> = own.iter().filter(|outcome| outcome.id == draft.id).cloned().collect();
            jobs.push(draft.job(message.clone(), &own, settles, group, ticket.another()));
        }
        let now = journal.clock.elapsed();
        let mut table = lock(&journal.table);
        // Under one lock, so that one round takes all of them.
        jobs.into_iter().for_each(|job| table.push(job, now));
        drop(table);
        ticket.answer(&Ok(()));
        let result = journal.wait(&watch);
        drafts.iter_mut().for_each(|draft| draft.keep = matches!(result, Ok(()) | Err(SpoolError::Uncertain)));
        result?;
        Ok(drafts.iter().zip(messages).map(|(draft, message)| draft.entry(message)).collect())
    }

    /// The message is complete. Gives what of it goes into the record; a file of its own is synced, but not its name.
    fn close(&mut self) -> Result<Arc<Vec<u8>>, SpoolError> {
        if let Some(kind) = self.failed {
            return Err(io::Error::from(kind).into());
        }
        std::mem::take(&mut self.quoter).finish(&mut self.buffer);
        let front = std::mem::take(&mut self.front);
        if self.own.is_some() {
            self.spill()?;
            self.move_behind(&front)?;
        } else {
            self.buffer.splice(0..0, front);
        }
        if let Some((file, _)) = &self.own {
            file.sync()?;
        }
        Ok(Arc::new(std::mem::take(&mut self.buffer)))
    }

    fn entry(&self, inline: Arc<Vec<u8>>) -> Entry {
        let message = match &self.own {
            Some((file, own)) => Message::File { file: file.clone(), offset: 0, length: own.length },
            None => Message::Memory(inline),
        };
        Entry { id: self.id, time: self.time, envelope: self.envelope.clone(), message }
    }

    /// The record, for the queue.
    fn job(
        &mut self,
        message: Arc<Vec<u8>>,
        own: &[Outcome],
        settles: &[Outcome],
        group: Option<Group>,
        ticket: Ticket,
    ) -> RecordJob {
        self.no_longer_open();
        let file = self.own.as_ref().map(|(_, own)| *own);
        let count = u32::try_from(self.envelope.recipients.len()).unwrap_or(u32::MAX);
        let mut waiting: Vec<Mark> = (0..count).map(|index| Mark::fresh(index, self.time)).collect();
        for outcome in own {
            let text = (!outcome.text.is_empty()).then(|| outcome.text.as_str().into());
            for mark in waiting.iter_mut().filter(|mark| outcome.recipients.contains(&mark.index)) {
                *mark = next_mark(mark, &outcome.status, text.as_ref());
            }
        }
        let domains = domains::of(&self.envelope, &waiting);
        let (settles, domains) = {
            let mut table = lock(&self.journal.table);
            let lines = settles
                .iter()
                .map(|outcome| table.lines_of(outcome))
                .flat_map(|(settled, marks)| settled.into_iter().chain(marks))
                .filter(|line| {
                    matches!(&line.what, What::Settled(..)) || matches!(&line.what, What::Waiting(mark) if mark.warned)
                })
                .collect();
            (lines, domains.map(|domains| table.texts.share(&domains)))
        };
        let record = Record {
            id: self.id,
            time: self.time,
            envelope: self.envelope.clone(),
            waiting: waiting.clone(),
            settles,
            group,
            adopted: None,
            file,
        };
        let fields = record.fields(message.len() as u64);
        let place =
            Place { offset: 0, header: 0, size: file.map_or(message.len() as u64, |file| file.length), own: file.is_some() };
        let live = Live { time: self.time, segment: 0, place, reserved: 0, domains, waiting };
        let crc = segment::checksum(&message, &fields);
        RecordJob { id: self.id, live, fields, crc, message, settles: record.settles, copy_of: None, hidden: None, ticket }
    }

    fn no_longer_open(&mut self) {
        if std::mem::take(&mut self.open) {
            self.journal.drafts.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Moves what is in memory to the file.
    fn spill(&mut self) -> io::Result<()> {
        let (file, own) = match &mut self.own {
            Some(own) => own,
            None => {
                let path = own_path(&self.journal.options.dir, self.id);
                let file = self.journal.disk.open(&path, Open::CreateNew(0o600))?;
                self.own.insert((file, OwnFile { length: 0, crc: 0 }))
            }
        };
        file.write_at(&[IoSlice::new(&self.buffer)], own.length)?;
        own.crc = crc32c::crc32c_append(own.crc, &self.buffer);
        own.length += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Moves what is in the file on, from its end to its beginning, and writes this before it.
    fn move_behind(&mut self, front: &[u8]) -> io::Result<()> {
        let Some((file, own)) = self.own.as_mut().filter(|_| !front.is_empty()) else { return Ok(()) };
        let mut block = vec![0; BLOCK];
        let mut end = own.length;
        while end > 0 {
            let start = end.saturating_sub(BLOCK as u64);
            block.truncate(usize::try_from(end - start).unwrap_or(BLOCK));
            if file.read_at(&mut block, start)? < block.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.write_at(&[IoSlice::new(&block)], start + front.len() as u64)?;
            block.resize(BLOCK, 0);
            end = start;
        }
        file.write_at(&[IoSlice::new(front)], 0)?;
        let length = usize::try_from(own.length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        own.crc = crc32c::crc32c_combine(crc32c::crc32c(front), own.crc, length);
        own.length += front.len() as u64;
        Ok(())
    }
}

impl Write for Draft {
    /// Takes the message with LF line ends, unquoted; quoting is the journal's business.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(kind) = self.failed {
            return Err(kind.into());
        }
        self.quoter.push(bytes, &mut self.buffer);
        if self.buffer.len() > if self.own.is_some() { BLOCK } else { self.most } {
            if let Err(error) = self.spill() {
                self.failed = Some(error.kind());
                return Err(error);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.no_longer_open();
        if self.own.is_some() && !self.keep {
            // What can't be removed now is an orphan at the next start.
            let _ = self.journal.disk.remove(&own_path(&self.journal.options.dir, self.id));
        }
    }
}
