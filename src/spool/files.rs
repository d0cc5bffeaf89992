//! The files of a journal directory: which there are, what they say, and the lock on all of them.

use super::log;
use super::logfile::LogFile;
use super::replay::{self, Replay, State};
use super::segment::HEAD;
use super::writer::{log_path, segment_path};
use super::{SpoolError, SpoolId};
use crate::sys::{Clock, Disk, File, Lock, Open};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The name of the lock file.
const LOCK: &str = "lock";
/// A segment that is being filled with zeros.
pub(super) const NEXT: &str = "next.mbox";

/// What is written only to see that it can be.
pub(super) const TRIAL: &str = "trial";

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub segments: BTreeSet<u64>,
    pub logs: BTreeSet<u64>,
    pub messages: Vec<SpoolId>,
    /// Left over from something that was not finished.
    pub scraps: Vec<String>,
    /// Adoptions under way: host, and whether all is copied.
    pub adoptions: Vec<(String, bool)>,
}

/// Who only looks whether a journal is owned holds its lock for a moment: so often it is tried, with such pauses.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Takes the lock of a journal; it is held as long as the file.
pub(super) fn take_lock(disk: &dyn Disk, clock: &dyn Clock, dir: &Path) -> Result<Arc<dyn File>, SpoolError> {
    let file = disk.open(&dir.join(LOCK), Open::Create(0o600))?;
    for _ in 0..TRIES {
        if file.try_lock(Lock::Exclusive)? {
            return Ok(file);
        }
        let _ = clock.after(PAUSE).recv();
    }
    if file.try_lock(Lock::Exclusive)? { Ok(file) } else { Err(SpoolError::Locked) }
}

/// Is this the directory of a journal that holds something, and that nobody holds?
pub(super) fn is_unowned(disk: &dyn Disk, dir: &Path) -> bool {
    let free = |file: Arc<dyn File>| file.try_lock(Lock::Exclusive).unwrap_or(false);
    let filled = |listing: Listing| !listing.segments.is_empty() || !listing.logs.is_empty() || !listing.messages.is_empty();
    list(disk, dir).is_ok_and(filled) && disk.open(&dir.join(LOCK), Open::Write).is_ok_and(free)
}

/// Does a daemon hold the journal in this directory?
pub(super) fn is_owned(disk: &dyn Disk, dir: &Path) -> bool {
    disk.open(&dir.join(LOCK), Open::Write).is_ok_and(|file| !file.try_lock(Lock::Exclusive).unwrap_or(true))
}

/// For removing what may be gone already.
pub(super) fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(super) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for name in disk.list(dir)? {
        let Some(name) = name.to_str() else { continue };
        let number = |end: &str| {
            let digits =
                name.strip_suffix(end).filter(|digits| digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse::<u64>().ok().filter(|number| format!("{number:08}") == digits)
        };
        if let Some(number) = number(".mbox") {
            listing.segments.insert(number);
        } else if let Some(number) = number(".log") {
            listing.logs.insert(number);
        } else if let Some(id) = name.strip_suffix(".msg").and_then(|id| id.parse().ok()) {
            listing.messages.push(id);
        } else if let Some(host) = name.strip_suffix(".adopting") {
            listing.adoptions.push((host.to_owned(), false));
        } else if let Some(host) = name.strip_suffix(".adopted") {
            listing.adoptions.push((host.to_owned(), true));
        } else if name == NEXT || name == TRIAL || name.ends_with(".log.new") {
            listing.scraps.push(name.to_owned());
        }
    }
    Ok(listing)
}

/// A file from an offset to its end.
pub(super) fn contents(file: &dyn File, from: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.stat()?.size.saturating_sub(from)).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, from)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Everything the files say.
#[derive(Debug)]
pub(super) struct Loaded {
    pub state: State,
    pub logs: BTreeMap<u64, LogFile>,
}

/// Replays a journal, one segment in memory at a time. What was only written is synced first, so that nothing is built on
/// what a power cut may still take away.
pub(super) fn load(disk: &dyn Disk, dir: &Path, listing: &Listing) -> Result<Loaded, SpoolError> {
    let mut replay = Replay::default();
    let mut sizes = BTreeMap::new();
    for &number in &listing.segments {
        let segment = disk.open(&segment_path(dir, number), Open::Write)?;
        let mut log = Vec::new();
        if listing.logs.contains(&number) {
            let file = disk.open(&log_path(dir, number), Open::Write)?;
            file.sync()?;
            log = contents(&*file, 0)?;
        }
        sizes.insert(number, log.len() as u64);
        let mut head = vec![0; HEAD as usize];
        let read = segment.read_at(&mut head, 0)?;
        head.truncate(read);
        let study = replay::study(number, &head, &log)?;
        let records = match study.from {
            Some(from) => {
                segment.sync()?;
                contents(&*segment, from)?
            }
            None => Vec::new(),
        };
        replay.add(number, study, &records);
    }
    disk.sync_dir(dir)?;
    let state = replay.finish();
    let logs = state.segments.iter().map(|(&number, scan)| {
        let path = log_path(dir, number);
        let file = match scan.log_end {
            Some(end) => {
                LogFile::found(path, scan.generation, end, scan.ragged, sizes.get(&number).copied().unwrap_or(0).max(end))
            }
            None => LogFile::fresh(path, scan.generation),
        };
        (number, file)
    });
    let logs = logs.collect();
    Ok(Loaded { state, logs })
}

/// Bytes a log must be prepared to take for so many recipients.
pub(super) fn outcome_room(recipients: usize) -> u64 {
    recipients as u64 * log::LINE
}
