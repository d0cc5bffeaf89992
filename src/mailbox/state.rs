//! The state log of a folder, and that of a user: what must outlive the mbox file's own words.
//!
//! A log is a text file: a line with its version, then one line for each fact, each with the crc32c of the rest of the
//! line before it. It is appended to, synced before anything that depends on it is shown, and rewritten to its sum under
//! another name now and then. A line that is broken at the end was never depended on. If lines are broken before others
//! that are whole, the UID ceiling is raised by what the lost ones may have raised it.

use super::secret::Key;
use crate::spool::SpoolId;
use crate::sys::{Disk, File, Open, Time};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const VERSION: &str = "pillarbox-state 1\n";
const FAMILY: &[u8] = b"pillarbox-state ";
/// So many UIDs are reserved at a time.
pub const STRIDE: u32 = 1_000;
/// A log is rewritten when it is bigger than this, and four times its sum.
const COMPACT_OVER: usize = 64 << 10;
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

impl Sum {
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

    /// The facts that give this sum.
    fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![Fact::Validity(self.validity), Fact::Ceiling(self.ceiling)];
        facts.extend(self.rows.iter().map(|(uid, key)| Fact::Row(*uid, *key)));
        facts.extend(self.intents.values().cloned().map(Fact::Intent));
        facts.extend(self.gone_at.iter().map(|(id, recipient, time)| Fact::Gone(*id, *recipient, *time)));
        facts.extend(self.durable.map(|(size, check)| Fact::Durable(size, check)));
        facts.extend(self.next.map(Fact::Next));
        facts
    }

    fn forget_gone(&mut self, now: Time) {
        self.gone_at.retain(|(_, _, time)| (now.seconds() - time.seconds()).abs() < KEEP_GONE);
        self.gone = self.gone_at.iter().map(|(id, recipient, _)| (*id, *recipient)).collect();
    }
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    file: Option<Arc<dyn File>>,
    size: u64,
    /// What it says. Change it through [`Log::put`] only.
    pub sum: Sum,
    /// Lines that are not in the file yet.
    waiting: String,
    /// Something is in the file that may not be durable; or the name is not.
    unsynced: bool,
    name_unsynced: bool,
}

impl Log {
    /// Reads a log; one that is not there is empty.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, name: &str) -> io::Result<Log> {
        let path = dir.join(name);
        let mut log = Log {
            disk,
            dir: dir.to_owned(),
            path,
            file: None,
            size: 0,
            sum: Sum::default(),
            waiting: String::new(),
            unsynced: false,
            name_unsynced: false,
        };
        match log.disk.open(&log.path, Open::Write) {
            Ok(file) => log.load(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(log)
    }

    fn load(&mut self, file: &Arc<dyn File>) -> io::Result<()> {
        let size = usize::try_from(file.stat()?.size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; size];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        if bytes.starts_with(FAMILY) && bytes.contains(&b'\n') && !bytes.starts_with(VERSION.as_bytes()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: of another version", self.path.display())));
        }
        let parsed = parse(&bytes);
        if parsed.broken > 0 {
            log::warn!("event=state-mended path={} bytes={}", self.path.display(), parsed.broken);
        }
        let whole = parsed.broken == 0 && parsed.end == bytes.len();
        self.sum = parsed.sum;
        self.size = parsed.end as u64;
        // What was read may not be durable, and neither its name.
        (self.unsynced, self.name_unsynced) = (true, true);
        if !whole {
            // Nothing is appended after a torn line.
            return self.rewrite();
        }
        Ok(())
    }

    /// Takes a fact up. It is durable after [`Log::sync`].
    pub fn put(&mut self, fact: Fact) {
        print(&fact, &mut self.waiting);
        self.sum.take(fact);
    }

    /// Hands what waits to the file, not durable yet.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            self.disk.make_dir(&self.dir, 0o700)?;
            let file = self.disk.open(&self.path, Open::Create(0o600))?;
            if self.size == 0 {
                file.set_len(0)?;
                self.waiting.insert_str(0, VERSION);
                self.name_unsynced = true;
            }
            self.file = Some(file);
        }
        let Some(file) = &self.file else { return Ok(()) };
        // After an error the same is written again at the same place.
        file.write_at(&[IoSlice::new(self.waiting.as_bytes())], self.size)?;
        self.size += self.waiting.len() as u64;
        self.waiting.clear();
        self.unsynced = true;
        Ok(())
    }

    /// Makes all that was put durable. After an error the whole log is written anew.
    pub fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        if self.unsynced {
            let file = match &self.file {
                Some(file) => file.clone(),
                None => self.disk.open(&self.path, Open::Write)?,
            };
            if let Err(error) = file.sync() {
                log::error!("event=sync-failed path={} error={error}", self.path.display());
                return self.rewrite();
            }
            self.unsynced = false;
        }
        if self.name_unsynced {
            self.sync_names()?;
        }
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir)?;
        if let Some(above) = self.dir.parent() {
            self.disk.sync_dir(above)?;
        }
        self.name_unsynced = false;
        Ok(())
    }

    /// Closes the file until it is needed again; rewrites a log that has grown too long.
    pub fn rest(&mut self, now: Time) -> io::Result<()> {
        self.flush()?;
        if self.size as usize > COMPACT_OVER {
            self.sum.forget_gone(now);
            if self.size as usize > 4 * text(&self.sum).len() {
                self.rewrite()?;
            }
        }
        self.file = None;
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let text = text(&self.sum);
        let fresh = self.path.with_extension("new");
        let file = self.disk.open(&fresh, Open::Create(0o600))?;
        file.set_len(0)?;
        file.write_at(&[IoSlice::new(text.as_bytes())], 0)?;
        file.sync()?;
        self.disk.rename(&fresh, &self.path)?;
        self.file = Some(file);
        self.size = text.len() as u64;
        self.waiting.clear();
        self.unsynced = false;
        self.sync_names()
    }
}

fn text(sum: &Sum) -> String {
    let mut text = String::from(VERSION);
    sum.facts().iter().for_each(|fact| print(fact, &mut text));
    text
}

fn print(fact: &Fact, out: &mut String) {
    let line = match fact {
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
    };
    let _ = writeln!(out, "{:08x} {line}", crc32c::crc32c(line.as_bytes()));
}

struct Parsed {
    sum: Sum,
    /// Bytes up to the last whole line.
    end: usize,
    /// Bytes of broken lines before whole ones, or of a broken version line.
    broken: usize,
}

fn parse(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed { sum: Sum::default(), end: 0, broken: 0 };
    let (mut at, mut bad) = (0, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        let fact = fact(line);
        if fact.is_none() && !(at == line.len() && line == VERSION.as_bytes()) {
            bad += line.len();
            continue;
        }
        parsed.broken += std::mem::take(&mut bad);
        parsed.end = at;
        fact.into_iter().for_each(|fact| parsed.sum.take(fact));
    }
    if parsed.broken > 0 {
        let lost = u32::try_from(1 + parsed.broken / SHORTEST_RAISE).unwrap_or(u32::MAX);
        parsed.sum.next = None;
        parsed.sum.ceiling = parsed.sum.ceiling.saturating_add(lost.saturating_mul(STRIDE));
    }
    parsed
}

fn fact(line: &[u8]) -> Option<Fact> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (check, line) = (line.get(..8)?, line.get(8..)?.strip_prefix(' ')?);
    if u32::from_str_radix(check, 16).ok()? != crc32c::crc32c(line.as_bytes()) {
        return None;
    }
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
    use crate::sys::sim::SimDisk;

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
            let mut line = String::new();
            print(&fact_in, &mut line);
            assert_eq!(fact(line.as_bytes()), Some(fact_in));
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
    fn a_torn_end_is_forgotten_and_a_hole_raises_the_ceiling() {
        let mut text = String::from(VERSION);
        print(&Fact::Validity(5), &mut text);
        print(&Fact::Ceiling(1_000), &mut text);
        let whole = text.len();
        print(&Fact::Ceiling(2_000), &mut text);
        let torn = parse(&text.as_bytes()[..text.len() - 3]);
        assert_eq!((torn.sum.ceiling, torn.end, torn.broken), (1_000, whole, 0));
        let mut bytes = text.into_bytes();
        bytes[whole - 5] = 0;
        let holed = parse(&bytes);
        assert!(holed.broken > 0 && holed.sum.ceiling >= 3_000);
        assert_eq!(holed.sum.validity, 5);
    }

    #[test]
    fn a_failed_sync_writes_it_all_again() {
        let disk = SimDisk::default();
        let dir = Path::new("/s/u");
        let mut log = Log::open(Arc::new(disk.clone()), dir, "INBOX").unwrap();
        log.put(Fact::Ceiling(1_000));
        log.sync().unwrap();
        log.put(Fact::Ceiling(2_000));
        disk.fail_at(disk.operations() + 2, io::ErrorKind::Other);
        log.sync().unwrap();
        let again = Log::open(Arc::new(disk.after_power_cut(3)), dir, "INBOX").unwrap();
        assert_eq!(again.sum.ceiling, 2_000);
    }
}
