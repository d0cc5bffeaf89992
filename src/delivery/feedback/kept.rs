//! What was counted in one day (UTC), in a file of its own, `<spool>/dmarc/<host>/<day>`, named by the number of the day since 1970.
//!
//! ```text
//! pillarbox-dmarc 1
//! 3 {"domain":"example.org", ...}
//! sending example.org 5c8a11f0b9d3e6a7-2f
//! sent example.org
//! ```
//!
//! A line is added for each message: so many more of this row; and the file is replaced by one without repetitions when it has grown
//! by that. A line that a crash has cut is passed over. Once the day is over only other lines are added; the last one of a domain counts:
//!
//! | its last line | what holds | what a start does |
//! |---|---|---|
//! | none, or `unsent` | its report was not committed: it is sent when it is due | nothing |
//! | `sending`, and the journal has that letter | the report is in the queue, and nobody has begun to deliver it | adds `sent` |
//! | `sending`, and the journal has not | it was not committed | adds `unsent` |
//! | `sent` | its report was in the queue, or nobody wants one | nothing |
//!
//! Each is synced, `sending` before the letter is committed, `sent` before it is first delivered. So a report is sent once. The file
//! is removed when all domains have `sent`, or after some days.

use crate::spool::SpoolId;
use crate::sys::table;
use crate::trust::aggregate::Row;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const HEAD: &str = "pillarbox-dmarc 1";

/// Bytes of different rows in a day.
const MOST: usize = 8 << 20;

/// Bytes of those of one organization: who has many names must not take the room of others.
const MOST_OF_ONE: usize = 1 << 20;

/// Bytes that repetitions may take in the file, beside as much as the rows.
const SLACK: usize = 256 << 10;

/// The day that is being counted.
#[derive(Debug)]
pub(super) struct Counting {
    path: PathBuf,
    file: Option<File>,
    /// By rows, as they are written.
    counts: HashMap<String, u64>,
    /// Bytes of these by organizations.
    of_one: HashMap<String, usize>,
    bytes: usize,
    /// Of the file.
    written: usize,
    is_unsynced: bool,
    /// Messages for which there was no room.
    pub(super) uncounted: u64,
}

impl Counting {
    /// With what the file has, if there is one.
    pub(super) fn open(path: PathBuf, organization: impl Fn(&Row) -> String) -> Counting {
        let mut counting = Counting {
            path,
            file: None,
            counts: HashMap::new(),
            of_one: HashMap::new(),
            bytes: 0,
            written: 0,
            is_unsynced: false,
            uncounted: 0,
        };
        let text = table::load(&counting.path, HEAD);
        for (count, key) in whole_lines(&text).filter_map(counted) {
            if let Ok(row) = serde_json::from_str(key) {
                counting.count(&organization(&row), key, count);
            }
        }
        counting
    }

    /// Counts so many messages more. False: there is no room for another row.
    pub(super) fn count(&mut self, organization: &str, key: &str, more: u64) -> bool {
        if let Some(count) = self.counts.get_mut(key) {
            *count = count.saturating_add(more);
            return true;
        }
        let of_one = self.of_one.get(organization).copied().unwrap_or(0);
        if self.bytes + key.len() > MOST || of_one + key.len() > MOST_OF_ONE {
            self.uncounted = self.uncounted.saturating_add(more);
            return false;
        }
        self.of_one.insert(organization.to_owned(), of_one + key.len());
        self.bytes += key.len();
        self.counts.insert(key.to_owned(), more);
        true
    }

    /// One message more, in the file, too.
    pub(super) fn add(&mut self, organization: &str, key: &str) -> io::Result<()> {
        if !self.count(organization, key, 1) {
            return Ok(());
        }
        // It has all that came before, and this.
        if self.file.is_none() || self.written > 2 * self.bytes + SLACK {
            return self.rewrite();
        }
        let line = format!("1 {key}\n");
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(line.as_bytes()));
        if written.is_err() {
            // Half a line may be there: the next one is in a new file.
            self.file = None;
        }
        self.written += line.len();
        self.is_unsynced = true;
        written
    }

    fn rewrite(&mut self) -> io::Result<()> {
        self.file = None;
        let mut lines = String::with_capacity(self.bytes + self.counts.len() * 8);
        // Writing to a String does not fail.
        self.counts.iter().for_each(|(key, count)| _ = writeln!(lines, "{count} {key}"));
        table::save(&self.path, HEAD, &lines)?;
        self.file = Some(File::options().append(true).open(&self.path)?);
        (self.written, self.is_unsynced) = (lines.len(), false);
        Ok(())
    }

    /// Makes what was added durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match &self.file {
            Some(file) if std::mem::take(&mut self.is_unsynced) => file.sync_data(),
            Some(_) | None => Ok(()),
        }
    }
}

/// A day that is over.
#[derive(Debug)]
pub(super) struct Past {
    file: File,
    /// Of domains whose reports were not sent: what was counted.
    pub(super) unsent: BTreeMap<String, Vec<(Row, u64)>>,
}

impl Past {
    /// What the file has.
    pub(super) fn open(path: &Path) -> io::Result<Past> {
        let text = table::load(path, HEAD);
        let notes = notes(&text);
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for (count, key) in whole_lines(&text).filter_map(counted) {
            let all = counts.entry(key).or_default();
            *all = all.saturating_add(count);
        }
        let mut unsent: BTreeMap<String, Vec<(Row, u64)>> = BTreeMap::new();
        for (key, count) in counts {
            let Ok(row) = serde_json::from_str::<Row>(key) else { continue };
            if matches!(notes.get(row.domain.as_str()), None | Some(Note::Unsent)) {
                unsent.entry(row.domain.clone()).or_default().push((row, count));
            }
        }
        // The same order each time, and what is frequent first.
        unsent.values_mut().for_each(|rows| rows.sort_by_cached_key(|(row, count)| (u64::MAX - count, row.ip, row.from.clone())));
        let mut file = File::options().append(true).open(path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        Ok(Past { file, unsent })
    }

    /// The report of a domain is going to be committed as this letter.
    pub(super) fn sending(&mut self, domain: &str, id: SpoolId) -> io::Result<()> {
        self.note(&format!("sending {domain} {id}\n"))
    }

    /// It is committed, or nobody wants it.
    pub(super) fn sent(&mut self, domain: &str) -> io::Result<()> {
        self.note(&format!("sent {domain}\n"))
    }

    /// It is not, after all.
    pub(super) fn unsent(&mut self, domain: &str) -> io::Result<()> {
        self.note(&format!("unsent {domain}\n"))
    }

    fn note(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()
    }
}

/// After a crash, before anything is delivered: notes which letters were committed.
pub(super) fn settle(path: &Path, is_committed: impl Fn(SpoolId) -> bool) -> io::Result<()> {
    let text = table::load(path, HEAD);
    for (domain, note) in notes(&text) {
        match note {
            Note::Sending(id) if is_committed(id) => Past::open(path)?.sent(domain)?,
            Note::Sending(_) => Past::open(path)?.unsent(domain)?,
            Note::Sent | Note::Unsent => {}
        }
    }
    Ok(())
}

/// What was noted of a domain.
enum Note {
    Sending(SpoolId),
    Sent,
    Unsent,
}

/// The last note of each.
fn notes(text: &str) -> HashMap<&str, Note> {
    let note = |line| match str::split(line, ' ').collect::<Vec<_>>().as_slice() {
        ["sending", domain, id] => Some((*domain, Note::Sending(id.parse().ok()?))),
        ["sent", domain] => Some((*domain, Note::Sent)),
        ["unsent", domain] => Some((*domain, Note::Unsent)),
        _ => None,
    };
    whole_lines(text).filter_map(note).collect()
}

/// The days that there are files of.
pub(super) fn days(dir: &Path) -> Vec<i64> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

/// A line of the first kind.
fn counted(line: &str) -> Option<(u64, &str)> {
    let (count, key) = line.split_once(' ')?;
    Some((count.parse().ok()?, key))
}
