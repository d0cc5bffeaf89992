//! Tells a message that was half overwritten when the machine stopped from any other that may stand in its place by then.
//!
//! An intent keeps the bytes that the dead header replaces, and of all that follows a keyed hash for each sector: after a power
//! cut a disk has a sector as it was, or as it was written. So every byte found there is one that we write, or is known for one
//! of this message. Only where a write was stopped within a sector are there some that can't be known: in one sector, which must
//! begin as we write it, with a NUL.
//!
//! Of a big message only the front is known in this way, and the last sector. Its front is dead, durably, before the rest is
//! touched ([`expunge`](super::expunge)): until then the last sector must be known, and after that nothing else begins like that.
//!
//! When in doubt, it is another message, and is shown.

use super::expunge::dead;
use super::mbox::{self, Base, Dead};
use super::secret::Secret;
use super::state::Intent;
use super::table::Row;
use crate::sys::File;
use std::io;
use std::ops::Range;

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;
/// So much of a big message is its front.
const FRONT: u64 = 64 << 10;

/// Where the front of a message ends: a big one's before its end.
pub fn front_end(place: &Row) -> u64 {
    let end = place.offset + place.length;
    if place.length <= FRONT + SECTOR { end } else { (place.offset + FRONT) / SECTOR * SECTOR }
}

/// What is to be remembered of a message before it is overwritten.
pub fn intent(file: &dyn File, secret: &Secret, row: &Row, base: Base) -> io::Result<Intent> {
    let Row { uid, key, offset, length, .. } = *row;
    let mut intent = Intent { uid, key, offset, length, old: Vec::new(), tags: Vec::new() };
    let Some(dead) = dead(row, base) else { return Ok(intent) };
    let header = row.header_at()..row.header_at() + dead.header.len() as u64;
    intent.old = read(file, &header)?;
    let cells = cells(row, header.end);
    for (at, cell) in std::iter::once(offset..header.start).chain(cells).enumerate() {
        intent.tags.push(secret.tag(at, &read(file, &cell)?));
    }
    Ok(intent)
}

/// The message of an intent, if it was half overwritten and nothing else can stand there.
pub fn find(file: &dyn File, secret: &Secret, intent: &Intent, base: Base) -> io::Result<Option<Row>> {
    let first = read(file, &(intent.offset..intent.offset.saturating_add(mbox::LONGEST_FROM as u64)))?;
    let from = memchr::memchr(b'\n', &first).map_or(0, |end| end + 1);
    let line = first.get(..from).unwrap_or_default();
    let Intent { uid, key, offset, length, .. } = *intent;
    let fits = from > 0 && length > from as u64 && intent.tags.first() == Some(&secret.tag(0, line));
    let place = Row { uid, key, offset, length, from: from as u16, ..Row::default() };
    let Some(dead) = fits.then(|| dead(&place, base)).flatten() else { return Ok(None) };
    let header = place.header_at()..place.header_at() + dead.header.len() as u64;
    let (found, cells) = (read(file, &header)?, cells(&place, header.end));
    let sizes = (found.len(), intent.old.len(), intent.tags.len());
    if sizes != (dead.header.len(), dead.header.len(), cells.len() + 1) {
        return Ok(None);
    }
    // The base line's number may have gone up since.
    let digits = if offset == 0 && found.len() > mbox::BASE_LINE { mbox::BASE_LAST..mbox::BASE_LINE - 1 } else { 0..0 };
    let is_new = |(at, (now, new)): (usize, (&u8, &u8))| now == new || (digits.contains(&at) && now.is_ascii_digit());
    let new: Vec<bool> = found.iter().zip(&dead.header).enumerate().map(is_new).collect();
    if !new.iter().zip(&found).zip(&intent.old).all(|((new, now), old)| *new || now == old) {
        return Ok(None);
    }
    let is_big = front_end(&place) < offset + length;
    let mut states = Vec::with_capacity(cells.len());
    for ((at, cell), tag) in cells.iter().enumerate().zip(intent.tags.iter().skip(1)) {
        let bytes = read(file, cell)?;
        states.push(match bytes.len() as u64 == cell.end - cell.start {
            true if bytes == new_bytes(&dead, header.start, cell) && !(is_big && at + 1 == cells.len()) => State::New,
            true if secret.tag(at + 1, &bytes) == *tag => State::Old,
            true if may_be_mixed(&bytes, if at + 1 == cells.len() { dead.end } else { b"" }) => State::Mixed,
            // The end was lost. (A longer one that is dead goes on.)
            true if at + 1 == cells.len() && bytes.iter().all(|byte| *byte == 0) && !goes_on(file, cell.end)? => State::Mixed,
            _ => State::Alien,
        });
    }
    // Of the header, so much is in one sector with what follows.
    let near = new.iter().rev().take((header.end % SECTOR) as usize).all(|new| *new);
    Ok(are_remains(&new, near, &states, is_big).then_some(place))
}

/// How a cell is found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    /// As it was.
    Old,
    /// As it is to be.
    New,
    /// It begins as it is to be, but does not end so.
    Mixed,
    /// In no way that we know.
    Alien,
}

/// Does something else than the next message stand there?
fn goes_on(file: &dyn File, at: u64) -> io::Result<bool> {
    let next = read(file, &(at..at + 5))?;
    Ok(!next.is_empty() && next != b"From ")
}

/// Could a write be stuck in this cell? In the room of the message nothing else begins or ends, be it a dead one.
fn may_be_mixed(bytes: &[u8], end: &[u8]) -> bool {
    let begins = bytes.first() == Some(&0) && bytes.ends_with(end);
    begins && bytes.iter().any(|byte| *byte != 0) && memchr::memmem::find(bytes, b"\nFrom ").is_none()
}

fn are_remains(header: &[bool], near: bool, cells: &[State], is_big: bool) -> bool {
    let is_new = |state: &State| *state == State::New;
    let front = match cells.split_last() {
        Some((_, front)) if is_big && header.iter().all(|new| *new) && front.iter().all(is_new) => return true,
        Some((last, front)) if is_big && *last == State::Old => front,
        Some(_) if is_big => return false,
        _ => cells,
    };
    let mixed: Vec<usize> = (0..front.len()).filter(|at| front.get(*at) == Some(&State::Mixed)).collect();
    !front.contains(&State::Alien) && (mixed.is_empty() || mixed.len() == 1 && (near || mixed != [0]))
}

/// What stands behind the dead header, sector by sector.
fn cells(place: &Row, from: u64) -> Vec<Range<u64>> {
    let (front, end) = (front_end(place), place.offset + place.length);
    let mut cells = Vec::new();
    let mut at = from;
    while at < front {
        let next = ((at / SECTOR + 1) * SECTOR).min(front);
        cells.push(at..next);
        at = next;
    }
    if front < end {
        cells.push(((end - 1) / SECTOR * SECTOR).max(front)..end);
    }
    cells
}

/// What will stand in a cell.
fn new_bytes(dead: &Dead, header_at: u64, cell: &Range<u64>) -> Vec<u8> {
    let end = header_at + dead.nuls.end;
    (cell.start..cell.end).map(|at| at.checked_sub(end).and_then(|at| dead.end.get(at as usize)).copied().unwrap_or(0)).collect()
}

fn read(file: &dyn File, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0)];
    let read = file.read_at(&mut bytes, range.start)?;
    bytes.truncate(read);
    Ok(bytes)
}
