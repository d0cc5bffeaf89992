//! Looks for everything about a mailbox that is not as it should be, and tells what will be done about it. Nothing is changed,
//! but for what every look at a mailbox mends: a step of compaction that was cut short, a torn end of the state log.
//! [`repair`](super::repair) mends the rest.

mod tree;

use super::deliver::end_of;
use super::factlog;
use super::handover::adopt;
use super::inbox::{Inner, Mailbox, PATIENCE, Stamp};
use super::index::Kept;
use super::lock::Patience;
use super::scan::{Kind, Message, Scan};
use super::state::Sum;
use super::table::Row;
use super::{MailboxError, recover};
use crate::sys::{Disk, File, Lock, Open, Stat};
use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Another daemon writes to a log for a moment: so often, after a pause each, it is tried to read it.
const TRIES: usize = 200;
const PAUSE: Duration = Duration::from_millis(1);

const REFUSED: &str = "it is refused until somebody mends it; mail waits in the queue";
const REBUILD: &str = "\"pillarboxctl mailbox rebuild\" mends it";

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where in the mailbox file, if it is there.
    pub offset: Option<u64>,
    /// What it is.
    pub what: String,
    /// What comes of it.
    pub then: &'static str,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, offset: impl Into<Option<u64>>, what: impl Into<String>, then: &'static str) {
        self.0.push(Finding { offset: offset.into(), what: what.into(), then });
    }
}

impl Mailbox {
    /// Everything about this mailbox that is not as it should be. Nothing found: it is in order.
    pub fn inspect(&self) -> Result<Vec<Finding>, MailboxError> {
        let mut found = Findings::default();
        let mut inner = self.enter();
        self.inspect_beside(&inner, &mut found)?;
        let stateless = inner.log.is_none() && is_missing(&*self.shared.disk, &self.places.state.join(&self.places.base))?;
        let stat = match self.disk.stat(&self.spot().path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found.0),
            Err(error) => return Err(error.into()),
        };
        if self.inspect_file(&stat, &mut found) {
            return Ok(found.0);
        }
        let Some(reading) = self.lock_for_reading(&mut inner)? else { return Ok(found.0) };
        let (file, size) = (&*reading.file, reading.stat.size);
        let scan = match self.scan(file, 0, size) {
            Ok(scan) => scan,
            Err(MailboxError::Refused(_)) => {
                let first = recover::first_message(file, size)?;
                found.add(0, format!("the first {first} bytes are in no message: a From line is missing"), REFUSED);
                return Ok(found.0);
            }
            Err(error) => return Err(error),
        };
        if stateless {
            inspect_numbers(&scan, &mut found);
        }
        // The index and the table are compared with the file before they are brought up to it.
        self.ready(&mut inner, Some(file), size)?;
        self.inspect_tables(&inner, reading.stat.into(), &scan, &mut found)?;
        self.refresh(&mut inner, Some(file), reading.stat.into())?;
        self.inspect_messages(&inner, file, &scan, &mut found)?;
        self.inspect_base_line(&inner, file, &scan, &mut found)?;
        inspect_end(file, size, &mut found)?;
        for row in &inner.rows().doomed {
            let what = format!("UID {} is to be removed, and still there", row.uid);
            found.add(row.offset, what, "it is not shown; it is overwritten as soon as it can be");
        }
        Ok(found.0)
    }

    /// Files beside the mailbox and its state.
    fn inspect_beside(&self, inner: &Inner, found: &mut Findings) -> io::Result<()> {
        let spot = self.spot();
        if self.is_spooled() && self.shared.is_mail_open_to_all() {
            let what = format!("anybody can replace the mailboxes in {}", spot.dir.display());
            found.add(None, what, "nothing; the directory's mode should be 2775, or 1777");
        }
        if self.is_held() {
            let what = format!("{} is there: another program writes, or died while it did", spot.dotlock.display());
            found.add(None, what, "it is waited for, and removed when it is stale");
        }
        if !inner.orphans.is_empty() {
            let what = "another file was put in its place while mail in the old one was not durable";
            found.add(None, what, "what is missing is put into the new one");
        }
        if self.has_open_step()? {
            found.add(None, "a step of compaction was cut short", "it is finished now");
        } else if !inner.compacting && !is_missing(&*self.shared.disk, &self.places.beside("redo"))? {
            let what = format!("{} is left over from a step of compaction", self.places.beside("redo").display());
            found.add(None, what, "nothing hangs on it; it is removed when the mailbox is written to");
        }
        let unfinished = self.unfinished()?;
        for path in unfinished {
            found.add(None, format!("{} was not finished", path.display()), "it is written anew when it is needed");
        }
        for path in self.damaged()? {
            match path.to_string_lossy().ends_with("-redo") {
                true => {
                    let what = format!("{} holds messages that were on the move when another program came", path.display());
                    found.add(None, what, "\"pillarboxctl mailbox rebuild\" puts back what is missing");
                }
                false => {
                    let what = format!("{} holds what could not be read", path.display());
                    found.add(None, what, "look whether there is mail in it; \"pillarboxctl mailbox rebuild\" puts it aside");
                }
            }
        }
        let (holes, torn) = self.broken_state()?;
        if holes > 0 {
            found.add(
                None,
                format!("{holes} bytes of the state log can't be read"),
                "UIDs go on far above those that were given",
            );
        }
        if torn > 0 {
            found.add(None, format!("the state log ends in {torn} bytes that are torn"), "nothing depended on them");
        }
        Ok(())
    }

    /// Has another program the dotlock, and keeps it? (Those of this daemon wait for the mutex, which is held.)
    fn is_held(&self) -> bool {
        let mut patience = Patience::new(&*self.shared.clock, PATIENCE / 4);
        while self.disk.stat(&self.spot().dotlock).is_ok() {
            if patience.wait().is_err() {
                return true;
            }
        }
        false
    }

    /// New states and indexes that were not put in their places.
    pub(super) fn unfinished(&self) -> io::Result<Vec<std::path::PathBuf>> {
        let mut there = Vec::new();
        for path in [self.places.beside("new"), self.places.index.with_extension("new")] {
            if !is_missing(&*self.shared.disk, &path)? {
                there.push(path);
            }
        }
        Ok(there)
    }

    /// What crashes left and nobody could read.
    pub(super) fn damaged(&self) -> io::Result<Vec<std::path::PathBuf>> {
        let names = match self.shared.disk.list(&self.places.state) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.sort_unstable();
        let prefix = format!("{}.damaged-", self.places.base);
        Ok(names.iter().filter(|name| name.starts_with(&prefix)).map(|name| self.places.state.join(name)).collect())
    }

    /// Bytes of the state log that can't be read: in its middle, and at its end.
    pub(super) fn broken_state(&self) -> io::Result<(usize, usize)> {
        broken_log::<Sum>(&*self.shared.disk, &self.places.state.join(&self.places.base))
    }

    /// What the file itself is. True: nobody may read it.
    fn inspect_file(&self, stat: &Stat, found: &mut Findings) -> bool {
        if !stat.is_regular() {
            found.add(None, "the mailbox is a link or no regular file", REFUSED);
        }
        if stat.links > 1 {
            found.add(None, format!("the mailbox has {} names", stat.links), REFUSED);
        }
        if stat.uid != self.account.uid {
            let what = format!("the mailbox belongs to the uid {}, not to {}", stat.uid, self.account.uid);
            found.add(None, what, REFUSED);
        }
        if stat.mode & 0o007 != 0 {
            let what = format!("everybody has rights to the mailbox: its mode is {:04o}", stat.mode & 0o7777);
            found.add(None, what, "nothing; the mode is its owner's");
        }
        !stat.is_regular() || stat.links > 1 || stat.uid != self.account.uid
    }

    /// The index on the disk and the table in memory, as far as they say that they are of this very file.
    fn inspect_tables(&self, inner: &Inner, now: Stamp, scan: &Scan, found: &mut Findings) -> Result<(), MailboxError> {
        match self.kept_index(inner.validity())? {
            Kept::Damaged => {
                let what = format!("the index {} can't be used", self.places.index.display());
                found.add(None, what, "it is made anew");
            }
            Kept::Table(stamp, rows) if stamp == now => self.compare(inner, "index", Some(&rows), scan, found),
            Kept::Nothing | Kept::Table(..) => {}
        }
        self.compare(inner, "table in memory", self.table_of(inner, now).as_deref(), scan, found);
        Ok(())
    }

    /// Are they wrong, the index and the table in memory?
    pub(super) fn wrong_tables(&self, inner: &Inner, now: Stamp, scan: &Scan) -> Result<(bool, bool), MailboxError> {
        let [mut index, mut memory] = [Findings::default(), Findings::default()];
        self.compare(inner, "", self.table_of(inner, now).as_deref(), scan, &mut memory);
        match self.kept_index(inner.validity())? {
            Kept::Damaged => return Ok((true, !memory.0.is_empty())),
            Kept::Table(stamp, rows) if stamp == now => self.compare(inner, "", Some(&rows), scan, &mut index),
            Kept::Nothing | Kept::Table(..) => {}
        }
        Ok((!index.0.is_empty(), !memory.0.is_empty()))
    }

    fn table_of(&self, inner: &Inner, now: Stamp) -> Option<Vec<Row>> {
        let loaded = inner.table.as_ref().filter(|loaded| loaded.stamp == now && loaded.covered == now.size)?;
        Some([loaded.table.rows.as_slice(), &loaded.table.doomed].concat())
    }

    fn compare(&self, inner: &Inner, name: &str, rows: Option<&[Row]>, scan: &Scan, found: &mut Findings) {
        let Some(rows) = rows else { return };
        let mut rows: HashMap<u64, &Row> = rows.iter().map(|row| (row.offset, row)).collect();
        for message in scan.messages.iter().filter(|message| message.kind == Kind::Alive) {
            match rows.remove(&message.offset) {
                None => found.add(message.offset, format!("the {name} lacks the message here"), REBUILD),
                Some(row) if (row.length, row.key) != (message.length, message.key) => {
                    found.add(message.offset, format!("the {name} has UID {} where another message stands", row.uid), REBUILD);
                }
                Some(row) if row.room > 0 && self.claim(inner, message) != Some(row.uid) => {
                    found.add(message.offset, format!("the {name} has UID {} for a message of another", row.uid), REBUILD);
                }
                Some(_) => {}
            }
        }
        let mut left: Vec<&Row> = rows.into_values().collect();
        left.sort_unstable_by_key(|row| row.offset);
        for row in left {
            found.add(row.offset, format!("the {name} has UID {} at a place where it is not", row.uid), REBUILD);
        }
    }

    /// The UID that a message says it has, if its seal is good.
    pub(super) fn claim(&self, inner: &Inner, message: &Message) -> Option<u32> {
        let mark = message.mark.filter(|mark| mark.uid > 0)?;
        let seal = self.keys.secret.seal(&self.places.label, inner.validity(), mark.uid, &message.key);
        Some(mark.uid).filter(|_| seal == mark.seal)
    }

    fn inspect_messages(&self, inner: &Inner, file: &dyn File, scan: &Scan, found: &mut Findings) -> Result<(), MailboxError> {
        let rows: HashMap<u64, u32> = inner.rows().rows.iter().map(|row| (row.offset, row.uid)).collect();
        let given: HashSet<u32> = rows.values().copied().collect();
        for message in scan.messages.iter().filter(|message| message.kind == Kind::Alive) {
            let said = message.mark.map_or(0, |mark| mark.uid);
            match (self.claim(inner, message), rows.get(&message.offset)) {
                (_, None) => {}
                (Some(uid), Some(own)) if uid == *own => {}
                (None, _) if said == 0 => {}
                (None, _) => {
                    let what = format!("the seal of UID {said} is not of this message here");
                    found.add(message.offset, what, "it is known by its content, or gets the next UID");
                }
                (Some(uid), _) if given.contains(&uid) => {
                    found.add(message.offset, format!("UID {uid} is there twice"), "this one gets the next UID");
                }
                (Some(uid), Some(own)) => {
                    let what = format!("a message that went away as UID {uid} came back");
                    let then = if uid < *own { "it has a new UID now" } else { "it has another UID now" };
                    found.add(message.offset, what, then);
                }
            }
            if let Some(offset) = first_nul(file, message)? {
                found.add(offset, "there are NULs in a message", "nothing; \"pillarboxctl mailbox rebuild\" makes them visible");
            }
        }
        Ok(())
    }

    fn inspect_base_line(&self, inner: &Inner, file: &dyn File, scan: &Scan, found: &mut Findings) -> io::Result<()> {
        let Some(first) = scan.messages.first() else { return Ok(()) };
        let validity = inner.validity();
        match scan.base {
            // c-client's own data are c-client's.
            Some(_) if first.kind == Kind::Internal => {}
            Some((base, _)) if base.validity != validity => {
                let what = format!("the base line tells UIDVALIDITY {}, the state {validity}", base.validity);
                found.add(first.offset, what, "the state counts");
            }
            Some((base, Some(_))) if base.last < greatest(inner) && inner.is_settled() => {
                let what = format!("the base line tells {} as the last UID, but {} was given", base.last, greatest(inner));
                found.add(first.offset, what, "it is brought up to date with the next change");
            }
            Some(_) => {}
            None if self.missing_base_line(inner, file)?.is_some() => {
                found.add(first.offset, "there is no base line (X-IMAPbase)", "it is written with the next change");
            }
            None => {}
        }
        Ok(())
    }
}

/// The greatest UID that the file itself tells of.
pub(super) fn greatest(inner: &Inner) -> u32 {
    inner.rows().rows.iter().rev().find(|row| row.room > 0).map_or(0, |row| row.uid)
}

/// A mailbox without state: had it one?
fn inspect_numbers(scan: &Scan, found: &mut Findings) {
    let ours = scan.messages.iter().filter(|message| message.mark.is_some()).count();
    if ours > 0 {
        let what = format!("there is no state log, and {ours} messages had their UIDs from one");
        found.add(None, what, "they get new ones, under a new UIDVALIDITY");
    } else if scan.base.is_some() && adopt(scan).is_none() {
        let what = "the UIDs that another server wrote are not in ascending order";
        found.add(0, what, "all messages get new ones, under a new UIDVALIDITY");
    }
}

fn inspect_end(file: &dyn File, size: u64, found: &mut Findings) -> io::Result<()> {
    let mut last = [0; 3];
    let read = file.read_at(&mut last, size.saturating_sub(3))?;
    match end_of(last.get(..read).unwrap_or_default()) {
        b"" => {}
        _ if size == 0 => {}
        b"\n" => found.add(size, "the file does not end in an empty line", "the next delivery adds it"),
        _ => found.add(size, "the file ends in the middle of a line", "the next delivery ends it"),
    }
    Ok(())
}

fn is_missing(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.stat(path) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Bytes of a log that can't be read: in its middle, and at its end. None of one that is not there.
fn broken_log<S: factlog::Sum>(disk: &dyn Disk, path: &Path) -> io::Result<(usize, usize)> {
    if is_missing(disk, path)? {
        return Ok((0, 0));
    }
    let log = disk.open(path, Open::Read)?;
    let locked = (0..TRIES).any(|tried| {
        if tried > 0 {
            thread::sleep(PAUSE);
        }
        log.try_lock(Lock::Shared).unwrap_or(false)
    });
    if !locked {
        return Err(ErrorKind::WouldBlock.into());
    }
    let mut bytes = vec![0; usize::try_from(log.stat()?.size).map_err(|_| ErrorKind::FileTooLarge)?];
    let read = log.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    if bytes.is_empty() { Ok((0, 0)) } else { Ok(factlog::broken_bytes::<S>(&bytes)) }
}

/// Where the first NUL of a message stands.
pub(super) fn first_nul(file: &dyn File, message: &Message) -> io::Result<Option<u64>> {
    let (mut at, mut first) = (message.offset, None);
    recover::pieces(file, message.offset, message.end(), |bytes| {
        first = memchr::memchr(0, bytes).map(|nul| at + nul as u64);
        at += bytes.len() as u64;
        first.is_none()
    })?;
    Ok(first)
}
