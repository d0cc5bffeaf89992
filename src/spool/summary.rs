//! Logs are replaced by summaries of what they say: that of a closed segment, so that the next start reads it instead of the
//! segment; that of any segment when it has grown long.
//!
//! The summary of a segment full of mail that waits has tens of megabytes, so it is made while others write on:
//!
//! 1. Under the locks all lines are made durable, and it is noted what is live in the segment and where its log ends.
//! 2. Without them the summary is written to `NNNNNNNN.log.new` and synced.
//! 3. Under them all lines are made durable again; what came to the log since 1 is copied behind the summary and synced, and
//!    the new log takes the place of the old one.
//!
//! Records that were committed since 1 lie behind the `end` of the summary. A line may tell what the summary knows already: it
//! says what is true from then on. Nothing is recycled meanwhile, for only one thread keeps house.

use super::journal::{Journal, lock};
use super::keep::REST;
use super::log::{self, Item, Line, What};
use super::logfile::LogFile;
use super::replay::Live;
use super::writer::Writer;
use super::{SpoolError, SpoolId};
use std::io;
use std::iter::once;

/// A log is shortened when it is longer.
const LONG_LOG: u64 = 8 << 20;
/// A new log is synced in such steps, so that no other sync has to wait for all of it.
const STEP: usize = 1 << 20;
/// Bytes of a live line, about.
const LIVE_LINE: u64 = 160;

/// What a summary is made of.
struct Snapshot {
    /// Where the log ended.
    from: u64,
    summary: Item,
    live: Vec<(SpoolId, Live)>,
}

impl Journal {
    /// Shortens the first log that needs it.
    pub(super) fn shorten_logs(&self) -> Result<(), SpoolError> {
        let mut result = Ok(());
        for number in self.logs_to_shorten() {
            match self.shorten_log(number) {
                Ok(()) => return result,
                // One that can't be written must not keep the others long for ever.
                Err(error) => result = Err(error),
            }
        }
        result
    }

    fn logs_to_shorten(&self) -> Vec<u64> {
        let writer = lock(&self.writer);
        let mut table = lock(&self.table);
        let wanted = table.segments.iter_mut().filter_map(|(&number, facts)| {
            let open = writer.is_open(number);
            facts.age = if open { 0 } else { facts.age.saturating_add(1) };
            let long = writer.log_end(number) > LONG_LOG.max(2 * facts.rewritten);
            let wanted = long || (!open && !facts.summarised && facts.live > 0 && facts.age >= REST);
            (wanted && !facts.stuck).then_some(number)
        });
        wanted.collect()
    }

    fn shorten_log(&self, number: u64) -> Result<(), SpoolError> {
        let Some((snapshot, mut new)) = self.begin_summary(number) else { return Ok(()) };
        if self.has_room_for(&snapshot)? {
            self.write_summary(&snapshot, &mut new)?;
            self.end_summary(number, &snapshot, new)?;
        }
        Ok(())
    }

    fn begin_summary(&self, number: u64) -> Option<(Snapshot, LogFile)> {
        let mut writer = lock(&self.writer);
        if !self.settle_up(&mut writer) {
            return None;
        }
        let end = writer.active.as_ref().filter(|active| active.number == number).map_or(0, |active| active.tail);
        let new = writer.successor(number)?;
        Some((self.snapshot(&writer, number, end, !writer.is_open(number)), new))
    }

    fn end_summary(&self, number: u64, snapshot: &Snapshot, new: LogFile) -> io::Result<()> {
        let mut writer = lock(&self.writer);
        if !self.settle_up(&mut writer) {
            new.discard(&*self.disk);
            return Ok(());
        }
        self.install(&mut writer, number, snapshot, new)
    }

    /// The same, of a segment to which nothing is written any more, while nobody else writes. All lines must be durable.
    pub(super) fn conclude_log(&self, writer: &mut Writer, number: u64) -> io::Result<()> {
        let Some(mut new) = writer.successor(number) else { return Ok(()) };
        let snapshot = self.snapshot(writer, number, 0, true);
        self.write_summary(&snapshot, &mut new)?;
        self.install(writer, number, &snapshot, new)
    }

    fn snapshot(&self, writer: &Writer, number: u64, end: u64, closed: bool) -> Snapshot {
        let table = lock(&self.table);
        let mut live: Vec<(SpoolId, Live)> = table.in_segment(number).map(|(id, live)| (id, live.clone())).collect();
        drop(table);
        live.sort_unstable_by_key(|(id, live)| (live.place.offset, *id));
        live.dedup_by_key(|(id, _)| *id);
        Snapshot { from: writer.log_end(number), summary: Item::Summary { end, closed, count: live.len() }, live }
    }

    /// A long summary must not take what little room is left for mail.
    fn has_room_for(&self, snapshot: &Snapshot) -> io::Result<bool> {
        let marks: u64 = snapshot.live.iter().map(|(_, live)| live.waiting.len() as u64 * log::LINE).sum();
        let most = marks + 2 * LIVE_LINE * snapshot.live.len() as u64;
        Ok(self.disk.free(&self.options.dir)? >= self.options.min_free.saturating_add(most))
    }

    /// Writes the new log and syncs it. The summary stands there twice, so that one bad sector does not lose it; then the marks.
    fn write_summary(&self, snapshot: &Snapshot, new: &mut LogFile) -> io::Result<()> {
        let (Snapshot { summary, live, .. }, generation) = (snapshot, new.generation);
        let entry = |(id, live): &(SpoolId, Live)| Item::Live {
            id: *id,
            place: live.place.clone(),
            time: live.time,
            waiting: live.waiting.iter().map(|mark| mark.index).collect(),
            domains: live.domains.clone(),
        };
        let copy = || once(summary.clone()).chain(live.iter().map(entry));
        let marks = live.iter().flat_map(|(id, live)| {
            live.waiting.iter().filter(|mark| !mark.is_fresh(live.time)).map(|mark| {
                let what = What::Waiting(mark.clone());
                Item::Out(Line { id: *id, recipients: vec![mark.index], time: live.time, what })
            })
        });
        let mut lines = Vec::new();
        let mut write = |lines: &mut Vec<u8>| {
            new.push(lines);
            lines.clear();
            new.sync(&*self.disk)
        };
        let written = copy().chain(copy()).chain(marks).try_for_each(|item| {
            item.put(generation, &mut lines);
            if lines.len() >= STEP { write(&mut lines) } else { Ok(()) }
        });
        let written = written.and_then(|()| write(&mut lines));
        if written.is_err() {
            new.discard(&*self.disk);
        }
        written
    }

    /// The new log takes the place of the old one. All lines must be durable.
    fn install(&self, writer: &mut Writer, number: u64, snapshot: &Snapshot, new: LogFile) -> io::Result<()> {
        let reserved = {
            let mut table = lock(&self.table);
            if !table.segments.contains_key(&number) {
                new.discard(&*self.disk);
                return Ok(());
            }
            table.end_spare(number)
        };
        let length = new.end();
        writer.replace_log(number, new, snapshot.from, reserved)?;
        if let Some(facts) = lock(&self.table).segments.get_mut(&number) {
            facts.summarised = matches!(snapshot.summary, Item::Summary { closed: true, .. });
            facts.rewritten = length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::super::{Outcome, Status};
    use super::*;
    use crate::sys::Time;
    use crate::sys::sim::SimDisk;

    #[test]
    fn what_comes_while_a_summary_is_written_holds() {
        let disk = SimDisk::default();
        let journal = open(&disk);
        let [a, b, c] = [3, 1, 1].map(|recipients| put(&journal, recipients, b"x").unwrap().id);
        let until = Time::from_seconds(1_800_000_500);
        let (snapshot, mut new) = journal.begin_summary(1).unwrap();
        journal.settle(&delivered(b, &[0])).unwrap();
        journal.settle(&[outcome(a, &[0], Status::Deferred { until })]).unwrap();
        let with: Vec<Outcome> = delivered(a, &[1]);
        let late = put_with(&journal, 1, b"late", with).unwrap().id;
        journal.write_summary(&snapshot, &mut new).unwrap();
        journal.settle(&[outcome(c, &[0], Status::Held)]).unwrap();
        journal.end_summary(1, &snapshot, new).unwrap();
        let check = |all: &[(SpoolId, &[u32])]| {
            for seed in 0..10 {
                let journal = open(&disk.after_power_cut(seed));
                let left = waiting(&journal).into_iter().map(|(id, (left, _))| (id, left));
                assert_eq!(left.collect::<Vec<_>>(), all.iter().map(|(id, left)| (*id, left.to_vec())).collect::<Vec<_>>());
                assert_eq!(journal.waiting(a).unwrap().waiting[0].tries, 1);
                assert!(journal.waiting(c).unwrap().waiting[0].held);
            }
        };
        check(&[(a, &[0, 2]), (c, &[0]), (late, &[0])]);
        // What comes later goes to the new log.
        journal.settle(&delivered(a, &[2])).unwrap();
        journal.settle(&delivered(late, &[0])).unwrap();
        check(&[(a, &[0]), (c, &[0])]);
        assert_eq!(names(&disk), ["00000001.log", "00000001.mbox", "lock"]);
    }

    #[test]
    fn a_summary_is_not_begun_without_room_for_mail_beside_it() {
        let disk = SimDisk::default();
        let journal = open(&disk);
        let id = put(&journal, 1, b"x").unwrap().id;
        let free = |bytes| disk.set_capacity(Some(bytes));
        let (snapshot, _) = journal.begin_summary(1).unwrap();
        free(0);
        assert!(!journal.has_room_for(&snapshot).unwrap());
        journal.shorten_log(1).unwrap();
        assert_eq!(waiting(&open(&disk.after_power_cut(1))).into_keys().collect::<Vec<_>>(), [id]);
        free(1 << 30);
        assert!(journal.has_room_for(&snapshot).unwrap());
    }
}
