//! The state log of a folder: what must outlive the mbox file's own words. ([`factlog`](super::factlog) keeps it.)

mod text;

pub use text::hex;

use super::factlog::{self, FactLog};
use super::flags::{Keywords, Marks};
use super::secret::Key;
use super::uidmap::UidMap;
use super::uidset::UidSet;
use crate::spool::SpoolId;
use crate::sys::Time;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// So many UIDs are reserved at a time.
pub const STRIDE: u32 = 1_000;
/// A line that raises the ceiling has at least this many bytes.
const SHORTEST_RAISE: usize = 18;
/// What may come twice from the journal comes within this time.
const KEEP_GONE: i64 = 7 * 86_400;
/// Expunges that are remembered, for clients that come back (RFC 7162 §3.2.5) and for sessions that were not told yet.
pub const HISTORY: usize = 10_000;
/// Keys in one line.
const KEYS: usize = 100;

/// An expunge that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The message.
    pub uid: u32,
    /// Its content.
    pub key: Key,
    /// Where it stood, and how long it was.
    pub offset: u64,
    /// Bytes from its `From ` line to the next.
    pub length: u64,
    /// The bytes after the `From ` line that the dead header replaces; none if it has no room.
    pub old: Vec<u8>,
    /// What the `From ` line, and what follows those bytes, is known by ([`remains`](super::remains)); none as long as another
    /// program has the file locked, and nothing is overwritten.
    pub tags: Vec<u64>,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// UIDVALIDITY (of a folder), or the last one given (to a user).
    Validity(u32),
    /// UIDs up to this one may have been given.
    Ceiling(u32),
    /// A clean end: the next UID, and when that was. Void as soon as anything follows.
    Next(u32, Time),
    /// UIDs of messages that don't carry them themselves: the first, and the keys of it and those that follow it.
    Rows(u32, Vec<Key>),
    /// The messages of these rows are gone.
    Lost(UidSet),
    /// A message is to be removed.
    Intent(Intent),
    /// These are removed.
    Done(UidSet),
    /// A copy that was delivered and removed since: not to be delivered again.
    Gone(SpoolId, u32, Time),
    /// The file ended here, all of it durable; and the crc32c of the last bytes before.
    Durable(u64, u32),
    /// Mod-sequences up to this one may have been given.
    Modseq(u64),
    /// Messages that went away at this mod-sequence.
    Expunged(u64, UidSet),
    /// What went away up to this mod-sequence is not remembered.
    Floor(u64),
    /// The next keyword.
    Keyword(String),
    /// Messages have the first marks; the file says the second.
    Marks(UidSet, Marks, Marks),
    /// The file has the marks of these, durably, and so has the index.
    Filed(UidSet),
    /// Some session was told of all messages below this UID: they are not recent any more.
    Told(u32),
    /// Messages are moved within the file: whoever knows where they stood knows it no more.
    Moved,
    /// Since then these are on their way to another folder: nobody else may move them.
    Leaving(Time, UidSet),
    /// They stay after all.
    Staying(UidSet),
}

/// All facts, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// UIDVALIDITY; zero: none yet.
    pub validity: u32,
    /// UIDs up to this one may have been given.
    pub ceiling: u32,
    /// The next UID, after a clean end, and when that was.
    pub next: Option<(u32, Time)>,
    /// [`Sum::rows`] and [`Sum::marks`] are in the log only: the index has what they say.
    pub partial: bool,
    /// UIDs of messages that don't carry them.
    pub rows: UidMap,
    /// Mod-sequences up to this one may have been given.
    pub modseq: u64,
    /// What went away and when, the oldest first.
    pub expunged: VecDeque<(u64, u32)>,
    /// Of what went away up to this mod-sequence not all is remembered.
    pub floor: u64,
    /// Of the folder.
    pub keywords: Keywords,
    /// Marks that the file or the index may not have, and what the file said when they were noted.
    pub marks: BTreeMap<u32, (Marks, Marks)>,
    /// Messages below this UID are not recent.
    pub told: u32,
    /// What is to be removed, by UID.
    pub intents: BTreeMap<u32, Intent>,
    /// What is on its way to another folder, and since when.
    pub leaving: BTreeMap<u32, Time>,
    /// What was removed and may not come again.
    pub gone: HashSet<(SpoolId, u32)>,
    gone_at: Vec<(SpoolId, u32, Time)>,
    /// Where the durable part of the file ended.
    pub durable: Option<(u64, u32)>,
}

impl factlog::Sum for Sum {
    type Fact = Fact;

    fn take(&mut self, fact: Fact) {
        self.next = None;
        match fact {
            Fact::Rows(..) | Fact::Marks(..) if self.partial => {}
            Fact::Validity(validity) => self.validity = validity,
            Fact::Ceiling(ceiling) => self.ceiling = self.ceiling.max(ceiling),
            Fact::Next(next, ended) => self.next = Some((next, ended)),
            Fact::Rows(first, keys) => (first..).zip(keys).for_each(|(uid, key)| self.rows.put(uid, key)),
            Fact::Lost(uids) => {
                self.rows.remove(|uid| uids.has(uid));
                uids.iter().for_each(|uid| {
                    self.marks.remove(&uid);
                });
            }
            Fact::Intent(intent) => drop(self.intents.insert(intent.uid, intent)),
            Fact::Done(uids) => {
                self.rows.remove(|uid| uids.has(uid));
                uids.iter().for_each(|uid| drop(self.intents.remove(&uid)));
            }
            Fact::Gone(id, recipient, time) => {
                if self.gone.insert((id, recipient)) {
                    self.gone_at.push((id, recipient, time));
                }
            }
            Fact::Durable(size, check) => self.durable = Some((size, check)),
            Fact::Modseq(modseq) => self.modseq = self.modseq.max(modseq),
            Fact::Expunged(modseq, uids) => {
                for uid in uids.iter() {
                    self.expunged.push_back((modseq, uid));
                    self.marks.remove(&uid);
                    self.leaving.remove(&uid);
                }
            }
            Fact::Floor(modseq) => self.floor = self.floor.max(modseq),
            Fact::Keyword(name) => drop(self.keywords.bit(&name).or_else(|| self.keywords.add(&name))),
            Fact::Marks(uids, marks, filed) => self.marks.extend(uids.iter().map(|uid| (uid, (marks, filed)))),
            Fact::Filed(uids) => uids.iter().for_each(|uid| {
                self.marks.remove(&uid);
            }),
            Fact::Told(uid) => self.told = self.told.max(uid),
            Fact::Moved => {}
            Fact::Leaving(since, uids) => self.leaving.extend(uids.iter().map(|uid| (uid, since))),
            Fact::Staying(uids) => self.leaving.retain(|uid, _| !uids.has(*uid)),
        }
    }

    fn facts(&self) -> Vec<Fact> {
        // A clean end comes last.
        let mut facts = runs(self.rows.iter());
        let mut alike: BTreeMap<[u64; 4], Vec<u32>> = BTreeMap::new();
        self.marks.iter().for_each(|(uid, (marks, filed))| alike.entry(text::numbers(marks, filed)).or_default().push(*uid));
        facts.extend(alike.into_iter().map(|(marks, uids)| {
            let (marks, filed) = text::marks_of(marks);
            Fact::Marks(uids.into_iter().collect(), marks, filed)
        }));
        facts.extend(self.brief());
        facts
    }

    fn is_partial(&self) -> bool {
        self.partial
    }

    fn unsaid() -> Vec<Fact> {
        vec![Fact::Moved]
    }

    fn lacks(&self, known: &Sum) -> Vec<Fact> {
        if self.validity == known.validity {
            return Vec::new();
        }
        let mut facts = vec![Fact::Validity(known.validity), Fact::Ceiling(known.ceiling)];
        facts.extend([Fact::Modseq(known.modseq), Fact::Floor(known.floor), Fact::Told(known.told)]);
        facts.extend(known.keywords.names().iter().cloned().map(Fact::Keyword));
        facts
    }

    fn print(fact: &Fact) -> String {
        text::print(fact)
    }

    fn parse(line: &str) -> Option<Fact> {
        text::parse(line)
    }

    /// The UID ceiling is raised by what the lost lines may have raised it.
    fn lost(&mut self, bytes: usize) {
        let lost = u32::try_from(1 + bytes / SHORTEST_RAISE).unwrap_or(u32::MAX);
        self.next = None;
        self.ceiling = self.ceiling.saturating_add(lost.saturating_mul(STRIDE));
    }

    fn forget(&mut self, now: Time) {
        self.gone_at.retain(|(_, _, time)| is_kept(*time, now));
        self.gone = self.gone_at.iter().map(|(id, recipient, _)| (*id, *recipient)).collect();
        self.leaving.retain(|_, since| is_kept(*since, now));
    }
}

/// Is what the journal of that time may bring still to be expected?
fn is_kept(time: Time, now: Time) -> bool {
    (now.seconds() - time.seconds()).abs() < KEEP_GONE
}

impl Sum {
    /// Is this message on its way to another folder? Who began it may have stopped, and ends it after its restart.
    pub fn is_leaving(&self, uid: u32, now: Time) -> bool {
        self.leaving.get(&uid).is_some_and(|since| is_kept(*since, now))
    }

    /// All facts but those of single messages, which the index has.
    pub fn brief(&self) -> Vec<Fact> {
        let mut facts = vec![Fact::Validity(self.validity), Fact::Ceiling(self.ceiling)];
        facts.extend([Fact::Modseq(self.modseq), Fact::Floor(self.floor), Fact::Told(self.told)]);
        facts.extend(self.keywords.names().iter().cloned().map(Fact::Keyword));
        let moments: Vec<(u64, u32)> = self.expunged.iter().copied().collect();
        let at_once =
            |moment: &[(u64, u32)]| Some(Fact::Expunged(moment.first()?.0, moment.iter().map(|(_, uid)| *uid).collect()));
        facts.extend(moments.chunk_by(|(one, _), (other, _)| one == other).filter_map(at_once));
        facts.extend(self.intents.values().cloned().map(Fact::Intent));
        facts.extend(self.gone_at.iter().map(|(id, recipient, time)| Fact::Gone(*id, *recipient, *time)));
        let since: HashSet<Time> = self.leaving.values().copied().collect();
        facts.extend(since.into_iter().map(|since| {
            let then = self.leaving.iter().filter(|(_, other)| **other == since);
            Fact::Leaving(since, then.map(|(uid, _)| *uid).collect())
        }));
        facts.extend(self.durable.map(|(size, check)| Fact::Durable(size, check)));
        facts.extend(self.next.map(|(next, ended)| Fact::Next(next, ended)));
        facts
    }

    /// Does it tell anything of messages from this UID on?
    pub fn goes_beyond(&self, uid: u32) -> bool {
        self.rows.last().is_some_and(|last| last >= uid) || self.marks.range(uid..).next().is_some()
    }

    /// The index has what is told of single messages.
    pub fn shorten(&mut self) {
        (self.rows, self.marks, self.partial) = (UidMap::default(), BTreeMap::new(), true);
    }

    /// What went away, as far as it is remembered.
    pub fn expunged_uids(&self) -> HashSet<u32> {
        self.expunged.iter().map(|(_, uid)| *uid).collect()
    }

    /// Forgets the oldest expunges, if there are more than [`HISTORY`], but none that somebody was not told of yet.
    pub fn shorten_history(&mut self, known_to_all: u64) {
        while self.expunged.len() > HISTORY {
            let Some((modseq, _)) = self.expunged.front().copied().filter(|(modseq, _)| *modseq <= known_to_all) else { return };
            self.expunged.pop_front();
            self.floor = self.floor.max(modseq);
        }
    }
}

/// Rows whose UIDs follow each other, together.
fn runs(rows: impl IntoIterator<Item = (u32, Key)>) -> Vec<Fact> {
    let mut runs: Vec<Fact> = Vec::new();
    for (uid, key) in rows {
        match runs.last_mut() {
            Some(Fact::Rows(first, keys)) if keys.len() < KEYS && *first + keys.len() as u32 == uid => keys.push(key),
            _ => runs.push(Fact::Rows(uid, vec![key])),
        }
    }
    runs
}

/// The log of a folder.
pub type Log = FactLog<Sum>;

impl Log {
    /// Puts rows, in as few facts as it takes.
    pub fn put_rows(&mut self, rows: &[(u32, Key)]) {
        runs(rows.iter().copied()).into_iter().for_each(|fact| self.put(fact));
    }

    /// Puts the marks of messages, and what the file says of them, in as few facts as it takes.
    pub fn put_marks(&mut self, all: impl Iterator<Item = (u32, Marks, Marks)>) {
        let mut alike: HashMap<(Marks, Marks), Vec<u32>> = HashMap::new();
        all.for_each(|(uid, marks, filed)| alike.entry((marks, filed)).or_default().push(uid));
        alike.into_iter().for_each(|((marks, filed), uids)| self.put(Fact::Marks(uids.into_iter().collect(), marks, filed)));
    }

    /// The bit of a keyword, which becomes one of the folder's if it can.
    pub fn add_keyword(&mut self, name: &str) -> Option<u64> {
        if self.sum.keywords.bit(name).is_none() && self.sum.keywords.clone().add(name).is_some() {
            self.put(Fact::Keyword(name.to_owned()));
        }
        self.sum.keywords.bit(name)
    }

    /// Takes up the keywords that a base line lists, after its two numbers, as far as there is room. Gives their bits.
    pub fn list_keywords(&mut self, words: &[u8]) -> u64 {
        let names = words.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(2);
        self.add_keywords(names.filter_map(|name| std::str::from_utf8(name).ok()))
    }

    /// The bits of keywords, as far as they can be the folder's.
    pub fn add_keywords<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> u64 {
        names.filter_map(|name| self.add_keyword(name)).fold(0, |all, bit| all | bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::factlog::Sum as _;
    use crate::mailbox::flags::Flags;
    use crate::sys::sim::SimDisk;
    use std::path::Path;
    use std::sync::Arc;

    fn set(uids: &[u32]) -> UidSet {
        uids.iter().copied().collect()
    }

    fn marks(flags: Flags) -> Marks {
        Marks { flags, keywords: 1 }
    }

    fn some() -> Vec<Fact> {
        let id = SpoolId { generation: 7, counter: 8 };
        vec![
            Fact::Validity(1_762_000_000),
            Fact::Ceiling(1_000),
            Fact::Rows(12, vec![Key([3; 16])]),
            Fact::Rows(13, vec![Key([4; 16]), Key([5; 16])]),
            Fact::Lost(set(&[13])),
            Fact::Intent(Intent {
                uid: 12,
                key: Key([3; 16]),
                offset: 5,
                length: 9,
                old: b"abc\n".to_vec(),
                tags: vec![1, u64::MAX],
            }),
            Fact::Gone(id, 3, Time(55)),
            Fact::Durable(99, 0xabc),
            Fact::Modseq(77),
            Fact::Expunged(70, set(&[1, 2])),
            Fact::Expunged(71, set(&[9])),
            Fact::Floor(5),
            Fact::Keyword("Work".into()),
            Fact::Marks(set(&[12, 14]), marks(Flags::SEEN), marks(Flags::NONE)),
            Fact::Filed(set(&[14])),
            Fact::Told(12),
            Fact::Moved,
            Fact::Leaving(Time(55), set(&[12, 14, 15])),
            Fact::Staying(set(&[14])),
            Fact::Next(14, Time(56)),
        ]
    }

    #[test]
    fn facts_come_back_and_sum_up() {
        for fact_in in some() {
            assert_eq!(text::parse(&text::print(&fact_in)), Some(fact_in));
        }
        let disk = SimDisk::default();
        let dir = Path::new("/s/u");
        let mut log = Log::open(Arc::new(disk.clone()), dir, "INBOX").unwrap();
        some().into_iter().for_each(|fact| log.put(fact));
        log.sync().unwrap();
        let sum = log.sum.clone();
        assert_eq!((sum.next, sum.rows.len(), sum.intents.len(), sum.durable), (Some((14, Time(56))), 2, 1, Some((99, 0xabc))));
        assert_eq!((sum.modseq, sum.floor, sum.told, sum.expunged.len(), sum.marks.len()), (77, 5, 12, 3, 1));
        assert_eq!(
            (sum.keywords.names(), sum.leaving.keys().copied().collect::<Vec<_>>()),
            (&["Work".to_owned()][..], vec![12, 15])
        );
        for seed in 0..20 {
            let again = Log::open(Arc::new(disk.after_power_cut(seed)), dir, "INBOX").unwrap();
            assert_eq!(again.sum, sum);
        }
        let mut again = Log::open(Arc::new(disk.clone()), dir, "INBOX").unwrap();
        again.put(Fact::Done(set(&[12])));
        again.rewrite().unwrap();
        let again = Log::open(Arc::new(disk), dir, "INBOX").unwrap();
        assert_eq!((again.sum.next, again.sum.rows.len(), again.sum.intents.len()), (None, 1, 0));
        assert_eq!(again.sum.gone, sum.gone);
    }

    #[test]
    fn a_hole_raises_the_ceiling() {
        let mut sum = Sum { validity: 5, ceiling: 2_000, next: Some((3, Time(4))), ..Sum::default() };
        sum.lost(SHORTEST_RAISE);
        assert_eq!((sum.validity, sum.ceiling, sum.next), (5, 4_000, None));
    }

    #[test]
    fn the_history_of_expunges_is_bounded_and_tells_where_it_begins() {
        let mut sum = Sum::default();
        let gone = |sum: &mut Sum, uids: std::ops::Range<u32>| {
            uids.for_each(|uid| sum.take(Fact::Expunged(u64::from(uid), set(&[uid]))))
        };
        gone(&mut sum, 1..HISTORY as u32 + 8);
        // Somebody was told of the first three only.
        sum.shorten_history(3);
        assert_eq!((sum.expunged.len(), sum.expunged.front(), sum.floor), (HISTORY + 4, Some(&(4, 4)), 3));
        sum.shorten_history(u64::MAX);
        assert_eq!((sum.expunged.len(), sum.expunged.front(), sum.floor), (HISTORY, Some(&(8, 8)), 7));
    }
}
