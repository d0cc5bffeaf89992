//! What the files of a journal mean: a pure function from their contents to what still has to be served.
//!
//! * A recipient waits if the record in the highest segment that holds the message lists it, and no log line and no record
//!   anywhere settles it. Settled is settled, in whatever order it is read.
//! * Records of a group count if all of them are there, else none does, nor do the outcomes they carry.
//! * Marks (tries, due time …) are those of the record, as changed by the lines of its log, in order.
//! * What one file knows and another one needs, should the first be recycled, is *owed*: the journal writes it there.

use super::domains;
use super::log::{self, Item, Line, Place, What};
use super::segment::{self, Found};
use super::text::{Mark, Texts};
use super::{SpoolError, SpoolId};
use crate::sys::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;

/// A message that still has to be served, as memory holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Live {
    pub time: Time,
    pub segment: u64,
    pub place: Place,
    /// Outcome lines for which there is room in the log.
    pub reserved: u32,
    /// Where those who wait are; see [`domains`].
    pub domains: Option<Arc<str>>,
    /// Never empty; in order of index.
    pub waiting: Vec<Mark>,
}

/// What replay found out about a segment and its log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Scan {
    pub generation: u64,
    /// Where the next line of the log goes; None: the log is missing, or of an earlier generation.
    pub log_end: Option<u64>,
    /// A line end must go first.
    pub ragged: bool,
    /// The log begins with a summary that says all.
    pub summarised: bool,
    /// Records from here on were never accepted.
    pub void: Option<u64>,
    /// Where the last record ends.
    pub end: u64,
    /// Something in it can't be read any more, so it must not be recycled.
    pub stuck: bool,
}

/// What still has to be served, and how the files stand.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct State {
    pub entries: HashMap<SpoolId, Live>,
    pub segments: BTreeMap<u64, Scan>,
    /// Lines that the logs of these segments should have and don't.
    pub owed: Vec<(u64, Item)>,
    /// Of the entries, those that came from the journals of these hosts.
    pub adopted: HashMap<SpoolId, String>,
    /// What their texts share.
    pub texts: Texts,
    /// Something in the midst of the records does not hold; or a segment as a whole.
    pub damaged: bool,
}

/// Head and log of a segment: enough to know what of the segment must be read.
#[derive(Debug)]
pub(super) struct Study {
    generation: Option<u64>,
    log: log::Log,
    log_fits: bool,
    /// From where on the records must be read; None: not at all.
    pub from: Option<u64>,
}

/// Looks at the first bytes of a segment and at all of its log (empty if there is none).
/// An error if either is of a format newer than this program.
pub(super) fn study(number: u64, head: &[u8], log: &[u8]) -> Result<Study, SpoolError> {
    let newer = |what, version| {
        let text = format!("{what} {number:08} has format {version}, which this version of the program does not know");
        SpoolError::Io(io::Error::new(io::ErrorKind::Unsupported, text))
    };
    let log_head = match log::parse_head(log) {
        log::Head::Newer(version) => return Err(newer("journal log", version)),
        log::Head::Ours(generation) => Some(generation),
        log::Head::Bad => None,
    };
    let generation = match segment::parse_head(head) {
        segment::Head::Newer(version) => return Err(newer("journal segment", version)),
        segment::Head::Ours(generation) => Some(generation),
        segment::Head::Bad => log_head,
    };
    let Some(known) = generation else {
        return Ok(Study { generation, log: log::Log::default(), log_fits: false, from: Some(0) });
    };
    if log_head.is_some_and(|other| other != known) || log.is_empty() {
        return Ok(Study { generation, log: log::Log::default(), log_fits: false, from: Some(segment::HEAD) });
    }
    let log = log::parse(log, known);
    let from = log.items.iter().find_map(|item| match item {
        Item::Summary { closed: true, .. } => Some(None),
        Item::Summary { end, .. } => Some(Some(*end)),
        _ => None,
    });
    Ok(Study { generation, log, log_fits: true, from: from.unwrap_or(Some(segment::HEAD)) })
}

/// What was read of a message beside its latest record and its marks: nothing, of most.
#[derive(Debug, Default)]
struct Notes {
    /// The segments of its older records.
    superseded: Vec<u64>,
    /// Recipients that are settled, and in whose log that stands; None: in a record.
    settled: Vec<(Option<u64>, u32)>,
    /// Recipients of whose warning only a record tells.
    warned: BTreeSet<u32>,
    adopted: Option<String>,
}

/// A replay under way: segments are added in ascending order.
#[derive(Debug, Default)]
pub(super) struct Replay {
    notes: HashMap<SpoolId, Notes>,
    /// Its entries are as the latest records have them, until the notes are taken into account.
    state: State,
}

impl Replay {
    /// Adds a segment. `records` are its bytes from [`Study::from`] on.
    pub fn add(&mut self, number: u64, study: Study, records: &[u8]) {
        let Some(generation) = study.generation else {
            // Never begun, or its head and its log are both lost.
            let stuck = segment::find(records, 0, None).is_some();
            self.state.damaged |= stuck;
            self.state.segments.insert(number, Scan { stuck, ..Scan::default() });
            return;
        };
        let void = study.log.items.iter().filter_map(|item| if let Item::Void(at) = item { Some(*at) } else { None }).min();
        let moved: HashSet<SpoolId> =
            study.log.items.iter().filter_map(|item| if let Item::Moved(id) = item { Some(*id) } else { None }).collect();
        let mut scan = Scan {
            generation,
            log_end: study.log_fits.then_some(study.log.end),
            ragged: study.log.ragged,
            summarised: study.from.is_none(),
            void,
            end: study.from.unwrap_or(segment::HEAD),
            stuck: self.summary(number, &study.log, &moved),
        };
        if let Some(from) = study.from {
            let most = void.map_or(records.len() as u64, |void| void.saturating_sub(from)).min(records.len() as u64);
            let records = records.get(..most as usize).unwrap_or_default();
            self.records(number, generation, records, &mut scan, &moved);
        }
        for item in study.log.items {
            match item {
                Item::Out(line) => self.outcome(&line, Some(number)),
                Item::All(lines) => lines.iter().for_each(|line| self.outcome(line, Some(number))),
                _ => {}
            }
        }
        self.state.damaged |= scan.stuck;
        self.state.segments.insert(number, scan);
    }

    /// The live records that a summary lists. True if some of its lines are lost.
    fn summary(&mut self, number: u64, log: &log::Log, moved: &HashSet<SpoolId>) -> bool {
        let Some(count) =
            log.items.iter().find_map(|item| if let Item::Summary { count, .. } = item { Some(*count) } else { None })
        else {
            return false;
        };
        let mut seen = HashSet::with_capacity(count.min(log.items.len()));
        self.state.entries.reserve(count.min(log.items.len()));
        for item in &log.items {
            let Item::Live { id, place, time, waiting, domains } = item else { continue };
            if seen.insert(*id) && !moved.contains(id) {
                let waiting = waiting.iter().map(|&index| Mark::fresh(index, *time)).collect();
                let domains = domains.as_ref().map(|domains| self.state.texts.share(domains));
                let (time, place) = (*time, place.clone());
                self.record(*id, Live { time, segment: number, place, reserved: 0, domains, waiting });
            }
        }
        seen.len() < count
    }

    fn records(&mut self, number: u64, generation: u64, bytes: &[u8], scan: &mut Scan, moved: &HashSet<SpoolId>) {
        let (base, mut at) = (scan.end, 0);
        let mut groups: BTreeMap<SpoolId, Vec<(u64, Found)>> = BTreeMap::new();
        while let Some(start) = segment::find(bytes, at, Some(generation)) {
            let Some(found) = segment::parse(bytes.get(start..).unwrap_or_default(), generation) else {
                at = start + 1;
                continue;
            };
            // Something that is no record lay between two that are.
            self.state.damaged |= base + start as u64 != scan.end;
            at = start + found.total();
            scan.end = base + at as u64;
            match found.record.group {
                None => self.found(number, base + start as u64, found, moved),
                Some(group) => groups.entry(group.id).or_default().push((base + start as u64, found)),
            }
        }
        for (id, members) in groups {
            if !is_whole(&members) {
                ::log::info!("spool segment={number:08} group={id} members={} torn, so it was never accepted", members.len());
                continue;
            }
            members.into_iter().for_each(|(offset, found)| self.found(number, offset, found, moved));
        }
    }

    fn found(&mut self, number: u64, offset: u64, found: Found, moved: &HashSet<SpoolId>) {
        let Found { record, header, length } = found;
        record.settles.iter().for_each(|line| self.outcome(line, None));
        if moved.contains(&record.id) {
            return;
        }
        let size = record.file.map_or(length as u64, |file| file.length);
        let header = u32::try_from(header).unwrap_or(u32::MAX);
        let place = Place { offset, header, size, own: record.file.is_some() };
        let domains = domains::of(&record.envelope, &record.waiting).map(|domains| self.state.texts.share(&domains));
        let mut waiting = record.waiting;
        waiting.shrink_to_fit();
        self.record(record.id, Live { time: record.time, segment: number, place, reserved: 0, domains, waiting });
        match record.adopted {
            adopted @ Some(_) => self.notes.entry(record.id).or_default().adopted = adopted,
            None => self.notes.get_mut(&record.id).into_iter().for_each(|notes| notes.adopted = None),
        }
    }

    fn record(&mut self, id: SpoolId, live: Live) {
        if let Some(older) = self.state.entries.insert(id, live) {
            self.notes.entry(id).or_default().superseded.push(older.segment);
        }
    }

    fn outcome(&mut self, line: &Line, source: Option<u64>) {
        match &line.what {
            What::Settled(..) => {
                let settled = &mut self.notes.entry(line.id).or_default().settled;
                settled.extend(line.recipients.iter().map(|&recipient| (source, recipient)));
            }
            What::Waiting(mark) => {
                let Some(live) = self.state.entries.get_mut(&line.id) else { return };
                let mark = Mark { text: mark.text.as_ref().map(|text| self.state.texts.share(text)), ..mark.clone() };
                for to in &mut live.waiting {
                    if line.recipients.binary_search(&to.index).is_err() {
                        continue;
                    }
                    // Who was warned stays warned, in whatever order it is read.
                    let (index, before) = (to.index, to.warned);
                    match source {
                        Some(_) => *to = Mark { index, warned: before || mark.warned, ..mark.clone() },
                        // The log has, or had, what came after this.
                        None => to.warned |= mark.warned,
                    }
                    match source {
                        Some(_) if mark.warned => {
                            let _ = self.notes.get_mut(&line.id).is_some_and(|notes| notes.warned.remove(&index));
                        }
                        None if to.warned && !before => drop(self.notes.entry(line.id).or_default().warned.insert(index)),
                        _ => {}
                    }
                }
            }
        }
    }

    /// All segments were added.
    pub fn finish(mut self) -> State {
        let mut state = std::mem::take(&mut self.state);
        for (id, notes) in self.notes {
            let Some(live) = state.entries.get_mut(&id) else { continue };
            state
                .owed
                .extend(notes.superseded.iter().filter(|&&older| older != live.segment).map(|&older| (older, Item::Moved(id))));
            let settled: HashSet<u32> = notes.settled.iter().map(|&(_, recipient)| recipient).collect();
            let here = Some(live.segment);
            let told: HashSet<u32> =
                notes.settled.iter().filter(|(source, _)| *source == here).map(|&(_, recipient)| recipient).collect();
            let (gone, left): (Vec<Mark>, Vec<Mark>) = live.waiting.drain(..).partition(|mark| settled.contains(&mark.index));
            let recipients: Vec<u32> = gone.iter().map(|mark| mark.index).filter(|index| !told.contains(index)).collect();
            if !recipients.is_empty() {
                let what = What::Settled("delivered", "told elsewhere".to_owned());
                state.owed.push((live.segment, Item::Out(Line { id, recipients, time: live.time, what })));
            }
            live.waiting = left;
            for mark in live.waiting.iter().filter(|mark| notes.warned.contains(&mark.index)) {
                let what = What::Waiting(mark.clone());
                state.owed.push((live.segment, Item::Out(Line { id, recipients: vec![mark.index], time: live.time, what })));
            }
            if let Some(host) = notes.adopted.filter(|_| !live.waiting.is_empty()) {
                state.adopted.insert(id, host);
            }
        }
        state.entries.retain(|_, live| !live.waiting.is_empty());
        state.owed.sort_by_cached_key(|(number, item)| (*number, format!("{item:?}")));
        state
    }
}

/// Are all members of a group there? They lie in one segment, for they are written in one act.
fn is_whole(members: &[(u64, Found)]) -> bool {
    let groups = || members.iter().filter_map(|(_, found)| found.record.group);
    let there: HashSet<u32> = groups().map(|group| group.index).collect();
    groups().all(|group| there.len() as u64 == u64::from(group.count))
}

/// A segment and its log, whole.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub number: u64,
    pub segment: Vec<u8>,
    pub log: Vec<u8>,
}

/// All at once.
#[cfg(test)]
pub(super) fn replay(images: &[Image]) -> Result<State, SpoolError> {
    let mut replay = Replay::default();
    for image in images {
        let study = study(image.number, &image.segment, &image.log)?;
        let from = study.from.unwrap_or(u64::MAX) as usize;
        replay.add(image.number, study, image.segment.get(from..).unwrap_or_default());
    }
    Ok(replay.finish())
}

#[cfg(test)]
mod tests;
