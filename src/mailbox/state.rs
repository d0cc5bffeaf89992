//! The state log of a folder: what must outlive the mbox file's own words. ([`factlog`](super::factlog) keeps it.)

use super::factlog::{self, FactLog};
use super::secret::Key;
use crate::spool::SpoolId;
use crate::sys::Time;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

/// So many UIDs are reserved at a time.
pub const STRIDE: u32 = 1_000;
/// A line that raises the ceiling has at least this many bytes.
const SHORTEST_RAISE: usize = 18;
/// What may come twice from the journal comes within this time.
const KEEP_GONE: i64 = 7 * 86_400;

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
    /// The bytes after the `From ` line that the dead header replaces.
    pub old: Vec<u8>,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// UIDVALIDITY (of a folder), or the last one given (to a user).
    Validity(u32),
    /// UIDs up to this one may have been given.
    Ceiling(u32),
    /// A clean end: the next UID. Void as soon as anything follows.
    Next(u32),
    /// The UID of a message that does not carry it itself.
    Row(u32, Key),
    /// That row's message is gone.
    Lost(u32),
    /// A message is to be removed.
    Intent(Intent),
    /// It is removed.
    Done(u32),
    /// A copy that was delivered and removed since: not to be delivered again.
    Gone(SpoolId, u32, Time),
    /// The file ended here, all of it durable; and the crc32c of the last bytes before.
    Durable(u64, u32),
}

/// All facts, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// UIDVALIDITY; zero: none yet.
    pub validity: u32,
    /// UIDs up to this one may have been given.
    pub ceiling: u32,
    /// The next UID, after a clean end.
    pub next: Option<u32>,
    /// UIDs of messages that don't carry them.
    pub rows: BTreeMap<u32, Key>,
    /// What is to be removed, by UID.
    pub intents: BTreeMap<u32, Intent>,
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
            Fact::Validity(validity) => self.validity = validity,
            Fact::Ceiling(ceiling) => self.ceiling = self.ceiling.max(ceiling),
            Fact::Next(next) => self.next = Some(next),
            Fact::Row(uid, key) => drop(self.rows.insert(uid, key)),
            Fact::Lost(uid) => drop(self.rows.remove(&uid)),
            Fact::Intent(intent) => drop(self.intents.insert(intent.uid, intent)),
            Fact::Done(uid) => {
                self.intents.remove(&uid);
                self.rows.remove(&uid);
            }
            Fact::Gone(id, recipient, time) => {
                if self.gone.insert((id, recipient)) {
                    self.gone_at.push((id, recipient, time));
                }
            }
            Fact::Durable(size, check) => self.durable = Some((size, check)),
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![Fact::Validity(self.validity), Fact::Ceiling(self.ceiling)];
        facts.extend(self.rows.iter().map(|(uid, key)| Fact::Row(*uid, *key)));
        facts.extend(self.intents.values().cloned().map(Fact::Intent));
        facts.extend(self.gone_at.iter().map(|(id, recipient, time)| Fact::Gone(*id, *recipient, *time)));
        facts.extend(self.durable.map(|(size, check)| Fact::Durable(size, check)));
        facts.extend(self.next.map(Fact::Next));
        facts
    }

    fn print(fact: &Fact) -> String {
        print(fact)
    }

    fn parse(line: &str) -> Option<Fact> {
        parse(line)
    }

    /// The UID ceiling is raised by what the lost lines may have raised it.
    fn lost(&mut self, bytes: usize) {
        let lost = u32::try_from(1 + bytes / SHORTEST_RAISE).unwrap_or(u32::MAX);
        self.next = None;
        self.ceiling = self.ceiling.saturating_add(lost.saturating_mul(STRIDE));
    }

    fn forget(&mut self, now: Time) {
        self.gone_at.retain(|(_, _, time)| (now.seconds() - time.seconds()).abs() < KEEP_GONE);
        self.gone = self.gone_at.iter().map(|(id, recipient, _)| (*id, *recipient)).collect();
    }
}

/// The log of a folder.
pub type Log = FactLog<Sum>;

fn print(fact: &Fact) -> String {
    match fact {
        Fact::Validity(validity) => format!("validity {validity}"),
        Fact::Ceiling(ceiling) => format!("ceiling {ceiling}"),
        Fact::Next(next) => format!("next {next}"),
        Fact::Row(uid, key) => format!("row {uid} {key}"),
        Fact::Lost(uid) => format!("lost {uid}"),
        Fact::Intent(i) => {
            let old = i.old.iter().fold(String::new(), |mut old, byte| {
                let _ = write!(old, "{byte:02x}");
                old
            });
            format!("intent {} {} {} {} {old}", i.uid, i.key, i.offset, i.length)
        }
        Fact::Done(uid) => format!("done {uid}"),
        Fact::Gone(id, recipient, time) => format!("gone {id} {recipient} {}", time.0),
        Fact::Durable(size, check) => format!("durable {size} {check:08x}"),
    }
}

fn parse(line: &str) -> Option<Fact> {
    let mut words = line.split(' ');
    let verb = words.next()?;
    let mut word = || words.next();
    let number = |word: Option<&str>| word?.parse::<u32>().ok();
    Some(match verb {
        "validity" => Fact::Validity(number(word())?),
        "ceiling" => Fact::Ceiling(number(word())?),
        "next" => Fact::Next(number(word())?),
        "row" => Fact::Row(number(word())?, word()?.parse().ok()?),
        "lost" => Fact::Lost(number(word())?),
        "intent" => Fact::Intent(Intent {
            uid: number(word())?,
            key: word()?.parse().ok()?,
            offset: word()?.parse().ok()?,
            length: word()?.parse().ok()?,
            old: hex(word()?)?,
        }),
        "done" => Fact::Done(number(word())?),
        "gone" => Fact::Gone(word()?.parse().ok()?, number(word())?, Time(word()?.parse().ok()?)),
        "durable" => Fact::Durable(word()?.parse().ok()?, u32::from_str_radix(word()?, 16).ok()?),
        _ => return None,
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::factlog::Sum as _;
    use crate::sys::sim::SimDisk;
    use std::path::Path;
    use std::sync::Arc;

    fn some() -> Vec<Fact> {
        let id = SpoolId { generation: 7, counter: 8 };
        vec![
            Fact::Validity(1_762_000_000),
            Fact::Ceiling(1_000),
            Fact::Row(12, Key([3; 16])),
            Fact::Row(13, Key([4; 16])),
            Fact::Lost(13),
            Fact::Intent(Intent { uid: 12, key: Key([3; 16]), offset: 5, length: 9, old: b"abc\n".to_vec() }),
            Fact::Gone(id, 3, Time(55)),
            Fact::Durable(99, 0xabc),
            Fact::Next(14),
        ]
    }

    #[test]
    fn facts_come_back_and_sum_up() {
        for fact_in in some() {
            assert_eq!(parse(&print(&fact_in)), Some(fact_in));
        }
        let disk = SimDisk::default();
        let dir = Path::new("/s/u");
        let mut log = Log::open(Arc::new(disk.clone()), dir, "INBOX").unwrap();
        some().into_iter().for_each(|fact| log.put(fact));
        log.sync().unwrap();
        let sum = log.sum.clone();
        assert_eq!((sum.next, sum.rows.len(), sum.intents.len(), sum.durable), (Some(14), 1, 1, Some((99, 0xabc))));
        for seed in 0..20 {
            let again = Log::open(Arc::new(disk.after_power_cut(seed)), dir, "INBOX").unwrap();
            assert_eq!(again.sum, sum);
        }
        let mut again = Log::open(Arc::new(disk.clone()), dir, "INBOX").unwrap();
        again.put(Fact::Done(12));
        again.rewrite().unwrap();
        let again = Log::open(Arc::new(disk), dir, "INBOX").unwrap();
        assert_eq!((again.sum.next, again.sum.rows.len(), again.sum.intents.len()), (None, 0, 0));
        assert_eq!(again.sum.gone, sum.gone);
    }

    #[test]
    fn a_hole_raises_the_ceiling() {
        let mut sum = Sum { validity: 5, ceiling: 2_000, next: Some(3), ..Sum::default() };
        sum.lost(SHORTEST_RAISE);
        assert_eq!((sum.validity, sum.ceiling, sum.next), (5, 4_000, None));
    }
}
