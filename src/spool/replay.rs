//! What the files of a journal mean: a pure function from their contents to what still has to be served.
//!
//! * A recipient waits if the record in the highest segment that holds the message lists it, and no log line and no record
//!   anywhere settles it. Settled is settled, in whatever order it is read.
//! * Marks (tries, due time …) are those of the record, as changed by the lines of its log, in order.
//! * What one file knows and another one needs, should the first be recycled, is *owed*: the journal writes it there.

use super::log::{self, Item, Line, Place, What};
use super::segment::{self, Found};
use super::text::Mark;
use super::{SpoolError, SpoolId};
use crate::sys::Time;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

/// A message that still has to be served, as memory holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Live {
    pub time: Time,
    pub segment: u64,
    pub place: Place,
    /// Outcome lines for which there is room in the log.
    pub reserved: u32,
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

/// A message of which something was read.
#[derive(Debug, Default)]
struct Known {
    live: Option<Live>,
    /// The segments of its older records.
    superseded: Vec<u64>,
    /// Recipients that are settled, and in whose log that stands; None: in a record.
    settled: Vec<(Option<u64>, u32)>,
    adopted: Option<String>,
}

/// A replay under way: segments are added in ascending order.
#[derive(Debug, Default)]
pub(super) struct Replay {
    known: HashMap<SpoolId, Known>,
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
            if let Item::Out(line) = item {
                self.outcome(&line, Some(number));
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
        let mut seen = HashSet::new();
        for item in &log.items {
            let Item::Live { id, place, time, waiting } = item else { continue };
            if seen.insert(*id) && !moved.contains(id) {
                let waiting = waiting.iter().map(|&index| Mark::fresh(index, *time)).collect();
                self.record(*id, Live { time: *time, segment: number, place: place.clone(), reserved: 0, waiting });
            }
        }
        seen.len() < count
    }

    fn records(&mut self, number: u64, generation: u64, bytes: &[u8], scan: &mut Scan, moved: &HashSet<SpoolId>) {
        let (base, mut at) = (scan.end, 0);
        while let Some(start) = segment::find(bytes, at, Some(generation)) {
            let Some(found) = segment::parse(bytes.get(start..).unwrap_or_default(), generation) else {
                at = start + 1;
                continue;
            };
            // Something that is no record lay between two that are.
            self.state.damaged |= base + start as u64 != scan.end;
            at = start + found.total();
            scan.end = base + at as u64;
            self.found(number, base + start as u64, found, moved);
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
        let live = Live { time: record.time, segment: number, place, reserved: 0, waiting: record.waiting };
        self.record(record.id, live);
        self.known.entry(record.id).or_default().adopted = record.adopted;
    }

    fn record(&mut self, id: SpoolId, live: Live) {
        let known = self.known.entry(id).or_default();
        if let Some(older) = known.live.replace(live) {
            known.superseded.push(older.segment);
        }
    }

    fn outcome(&mut self, line: &Line, source: Option<u64>) {
        let known = self.known.entry(line.id).or_default();
        match &line.what {
            What::Settled(..) => known.settled.extend(line.recipients.iter().map(|&recipient| (source, recipient))),
            What::Waiting(mark) => {
                for to in known.live.iter_mut().flat_map(|live| &mut live.waiting) {
                    if line.recipients.binary_search(&to.index).is_err() {
                        continue;
                    }
                    match source {
                        Some(_) => *to = Mark { index: to.index, ..mark.clone() },
                        // The log has, or had, what came after this.
                        None => to.warned |= mark.warned,
                    }
                }
            }
        }
    }

    /// All segments were added.
    pub fn finish(mut self) -> State {
        let mut state = std::mem::take(&mut self.state);
        for (id, known) in self.known {
            let Some(mut live) = known.live else { continue };
            state
                .owed
                .extend(known.superseded.iter().filter(|&&older| older != live.segment).map(|&older| (older, Item::Moved(id))));
            let settled: HashSet<u32> = known.settled.iter().map(|&(_, recipient)| recipient).collect();
            let here = Some(live.segment);
            let told: HashSet<u32> =
                known.settled.iter().filter(|(source, _)| *source == here).map(|&(_, recipient)| recipient).collect();
            let (gone, left): (Vec<Mark>, Vec<Mark>) = live.waiting.drain(..).partition(|mark| settled.contains(&mark.index));
            let recipients: Vec<u32> = gone.iter().map(|mark| mark.index).filter(|index| !told.contains(index)).collect();
            if !recipients.is_empty() {
                let what = What::Settled("delivered", "told elsewhere".to_owned());
                state.owed.push((live.segment, Item::Out(Line { id, recipients, time: live.time, what })));
            }
            live.waiting = left;
            if !live.waiting.is_empty() {
                if let Some(host) = known.adopted {
                    state.adopted.insert(id, host);
                }
                state.entries.insert(id, live);
            }
        }
        state.owed.sort_by(|a, b| (a.0, format!("{:?}", a.1)).cmp(&(b.0, format!("{:?}", b.1))));
        state
    }
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
mod tests {
    use super::*;
    use crate::spool::segment::tests::{envelope, written};
    use proptest::prelude::*;
    use segment::Record;
    use std::sync::Arc;

    fn id(counter: u64) -> SpoolId {
        SpoolId { generation: 9, counter }
    }

    fn record(counter: u64, recipients: u32) -> Record {
        Record {
            id: id(counter),
            time: Time(counter as i64),
            envelope: Arc::new(envelope(recipients as usize)),
            waiting: (0..recipients).map(|index| Mark::fresh(index, Time(counter as i64))).collect(),
            settles: Vec::new(),
            adopted: None,
            file: None,
        }
    }

    fn settled(counter: u64, recipients: &[u32]) -> Line {
        Line { id: id(counter), recipients: recipients.to_vec(), time: Time(0), what: What::Settled("delivered", String::new()) }
    }

    fn image(number: u64, generation: u64, records: &[Record], items: &[Item]) -> Image {
        let mut segment = segment::head(generation, Time(0));
        records.iter().for_each(|record| segment.extend(written(record, generation, b"Subject: x\n\nFrom\n")));
        segment.extend([0; 100]);
        let mut log = log::head(generation);
        items.iter().for_each(|item| item.put(generation, &mut log));
        Image { number, segment, log }
    }

    fn left(images: &[Image]) -> Vec<(u64, Vec<u32>)> {
        let state = replay(images).unwrap();
        let indices = |live: &Live| live.waiting.iter().map(|mark| mark.index).collect();
        let mut left: Vec<_> = state.entries.iter().map(|(id, live)| (id.counter, indices(live))).collect();
        left.sort();
        left
    }

    #[test]
    fn what_is_not_settled_waits() {
        let items = [Item::Out(settled(1, &[0])), Item::Out(settled(2, &[0, 1]))];
        let images = [image(1, 5, &[record(1, 3), record(2, 2), record(3, 1)], &items)];
        assert_eq!(left(&images), [(1, vec![1, 2]), (3, vec![0])]);
        assert_eq!(replay(&images).unwrap(), replay(&images).unwrap());
    }

    #[test]
    fn a_record_settles_others_wherever_they_lie() {
        let bounce = Record { settles: vec![settled(1, &[0])], ..record(7, 1) };
        let copy = record(1, 2);
        for copy_in in [1, 3] {
            let mut images = [image(1, 5, &[], &[]), image(2, 6, std::slice::from_ref(&bounce), &[]), image(3, 7, &[], &[])];
            images[copy_in - 1] = image(copy_in as u64, 8, std::slice::from_ref(&copy), &[]);
            assert_eq!(left(&images), [(1, vec![1]), (7, vec![0])]);
            assert_eq!(replay(&images).unwrap().owed.len(), 1);
        }
    }

    #[test]
    fn the_highest_segment_wins_but_settled_is_settled() {
        let mut copy = record(1, 3);
        copy.waiting.remove(0);
        copy.waiting[0].tries = 4;
        let old = image(1, 5, &[record(1, 3)], &[Item::Out(settled(1, &[2]))]);
        let new = image(2, 6, &[copy], &[]);
        let state = replay(&[old.clone(), new.clone()]).unwrap();
        let live = &state.entries[&id(1)];
        assert_eq!((live.segment, live.waiting.len(), live.waiting[0].tries), (2, 1, 4));
        assert_eq!(state.owed.len(), 2, "{:?}", state.owed);
        // Once what is owed is written, the old segment may go.
        let items: Vec<Item> = state.owed.iter().filter(|(to, _)| *to == 2).map(|(_, item)| item.clone()).collect();
        let mut paid = new;
        items.iter().for_each(|item| item.put(6, &mut paid.log));
        assert_eq!(left(&[paid]), [(1, vec![1])]);
        // A record that was moved does not count, even when its copy is gone again.
        assert_eq!(left(&[image(1, 5, &[record(1, 3)], &[Item::Moved(id(1))])]), []);
    }

    #[test]
    fn a_torn_record_hides_none_behind_it() {
        let mut whole = image(1, 5, &[record(1, 1), record(2, 1), record(3, 1)], &[]);
        let at = segment::find(&whole.segment, 513, Some(5)).unwrap();
        whole.segment[at + 40] ^= 1;
        assert_eq!(left(std::slice::from_ref(&whole)), [(1, vec![0]), (3, vec![0])]);
        assert!(replay(&[whole.clone()]).unwrap().damaged);
        whole.segment[..512].fill(0);
        assert_eq!(left(std::slice::from_ref(&whole)).len(), 2, "the log knows the generation too");
        whole.log.clear();
        let state = replay(&[whole]).unwrap();
        assert!(state.entries.is_empty() && state.segments[&1].stuck);
    }

    #[test]
    fn stale_records_and_stale_logs_do_not_count() {
        let old = image(1, 5, &[record(1, 1), record(2, 1)], &[Item::Out(settled(3, &[0]))]);
        let mut recycled = image(1, 6, &[record(3, 1)], &[]);
        recycled.segment.truncate(recycled.segment.len() - 100);
        let behind = recycled.segment.len();
        recycled.segment.extend_from_slice(&old.segment[behind..]);
        recycled.log = old.log;
        let state = replay(std::slice::from_ref(&recycled)).unwrap();
        assert_eq!(left(&[recycled]), [(3, vec![0])]);
        assert_eq!(state.segments[&1].log_end, None);
    }

    #[test]
    fn void_records_were_never_accepted() {
        let mut one = image(1, 5, &[record(1, 1)], &[]);
        let end = one.segment.len() as u64 - 100;
        let bounce = Record { settles: vec![settled(1, &[0])], ..record(2, 1) };
        one.segment = image(1, 5, &[record(1, 1), bounce], &[]).segment;
        assert_eq!(left(std::slice::from_ref(&one)), [(2, vec![0])]);
        Item::Void(end).put(5, &mut one.log);
        assert_eq!(left(&[one]), [(1, vec![0])]);
    }

    #[test]
    fn a_summary_stands_for_the_records_before_its_end() {
        let mut one = image(1, 5, &[record(1, 1), record(2, 2)], &[]);
        let end = one.segment.len() as u64 - 100;
        one.segment = image(1, 5, &[record(1, 1), record(2, 2), record(3, 1)], &[]).segment;
        let place = Place { offset: 700, header: 10, size: 9, own: false };
        let live = Item::Live { id: id(2), place, time: Time(2), waiting: vec![1] };
        let mut closed = one.clone();
        Item::Summary { end, closed: false, count: 1 }.put(5, &mut one.log);
        live.put(5, &mut one.log);
        assert_eq!(left(std::slice::from_ref(&one)), [(2, vec![1]), (3, vec![0])]);
        Item::Summary { end, closed: true, count: 2 }.put(5, &mut closed.log);
        live.put(5, &mut closed.log);
        assert_eq!(left(std::slice::from_ref(&closed)), [(2, vec![1])]);
        assert!(replay(&[closed]).unwrap().segments[&1].stuck, "a live line is lost");
    }

    #[test]
    fn a_format_from_the_future_is_refused() {
        let fields = "X-Spool-Segment: 2\n";
        let segment = segment::seal(5, Time(0), fields, segment::checksum(&[], fields));
        let error = replay(&[Image { number: 3, segment, log: Vec::new() }]).unwrap_err();
        assert!(error.to_string().contains("00000003 has format 2"), "{error}");
    }

    proptest! {
        #[test]
        fn no_damage_makes_anything_up(at in 0usize..4000, with in proptest::collection::vec(any::<u8>(), 1..600), cut in 0usize..4000) {
            let items = [Item::Out(settled(1, &[0])), Item::Out(settled(2, &[1]))];
            let whole = image(1, 5, &[record(1, 2), record(2, 2), record(3, 2), record(4, 1)], &items);
            let mut spoiled = whole.clone();
            let at = at % whole.segment.len();
            let end = (at + with.len()).min(whole.segment.len());
            spoiled.segment[at..end].copy_from_slice(&with[..end - at]);
            let sound = |state: &State| state.entries.keys().all(|id| id.generation == 9 && (1..5).contains(&id.counter));
            prop_assert!(sound(&replay(&[spoiled]).unwrap()));
            let mut torn = whole.clone();
            torn.segment.truncate(cut);
            torn.log.truncate(cut / 8);
            prop_assert!(sound(&replay(&[torn]).unwrap()));
            let mut log_spoiled = whole;
            let at = at % log_spoiled.log.len();
            let end = (at + with.len()).min(log_spoiled.log.len());
            log_spoiled.log[at..end].copy_from_slice(&with[..end - at]);
            let state = replay(&[log_spoiled]).unwrap();
            prop_assert!(sound(&state) && state.entries.len() == 4);
        }
    }
}
