//! What messages are made of, for FETCH, SEARCH, SORT and lists of messages: from the cache, or else found out by reading the
//! message, and kept. Of many messages no lock is taken for each one, and none is held while the caller works with what it got.
//! Where the header tells what is wanted, no more is read; where many messages must be read whole, all processors do it.

use super::cache::{self, Block, Cache, Frame, Slot};
use super::headers::Shelf;
use super::read::Stream;
use super::table::Row;
use super::view::View;
use super::{Mailbox, MailboxError, Uid};
use crate::mail::structure::{self, Record, Scanner, Structure};
use crate::sys::File;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, MutexGuard};
use std::thread;

/// Messages that are looked up at a time.
const BATCH: usize = 1024;
/// Bytes of the cache that are read at a time, where records are wanted that stand one behind the other.
const AHEAD: usize = 256 << 10;
/// So far apart they may stand.
const NEAR: u64 = 16 << 10;
/// Bytes of messages that are worth a thread, and threads that take them apart.
const SHARE: u64 = 4 << 20;
/// A message of which only the header is wanted costs as much as so many bytes.
const LEAST: u64 = 8 << 10;
const THREADS: usize = 8;
/// Of address space, for each.
const STACK: usize = 512 << 10;

/// How much of each message is looked at.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Depth {
    Header,
    Whole,
}

/// The structures of some messages, one after the other. To be dropped soon: what is found out is kept then at the latest.
#[derive(Debug)]
pub struct Structures<'a> {
    view: &'a View,
    /// Not looked up yet.
    uids: &'a [Uid],
    batch: VecDeque<Wanted>,
    /// Of the table they were looked up in.
    epoch: u64,
    cache: Option<Arc<dyn File>>,
    block: Block,
    /// Found out, and to be kept.
    frame: Frame,
    /// Where the cache ended when these were looked up.
    since: u64,
    depth: Depth,
    /// Threads that take messages apart.
    threads: usize,
    /// Messages that were taken apart ahead of their turn.
    ready: VecDeque<Apart>,
}

/// A message as the table has it, and its record.
type Apart = (Row, Result<Vec<u8>, MailboxError>);

/// A message that is wanted: what the table says of it, if it is there, and where the cache may have it.
#[derive(Debug)]
struct Wanted {
    uid: Uid,
    row: Option<Row>,
    slot: Option<Slot>,
}

/// Where the bytes of a record are.
enum Found {
    /// In the block of the cache.
    Cached(Range<usize>),
    /// In the frame.
    Fresh(Range<usize>),
}

impl View {
    /// What these messages are made of, in the order in which they are asked for; that of their UIDs is the fastest.
    pub fn structures<'a>(&'a self, uids: &'a [Uid]) -> Structures<'a> {
        self.looked_at(uids, Depth::Whole)
    }

    /// What their headers say, in the same way: of each record nothing else is sure to be there.
    pub fn heads<'a>(&'a self, uids: &'a [Uid]) -> Structures<'a> {
        self.looked_at(uids, Depth::Header)
    }

    fn looked_at<'a>(&'a self, uids: &'a [Uid], depth: Depth) -> Structures<'a> {
        let (batch, block, frame, ready) = Default::default();
        let threads = match uids {
            [] | [_] => 1,
            _ => thread::available_parallelism().map_or(1, usize::from).min(THREADS),
        };
        Structures { view: self, uids, batch, epoch: 0, cache: None, block, frame, since: 0, depth, threads, ready }
    }

    /// What one message is made of. With this, [`View::read_part`] reads any part of it.
    pub fn structure(&self, uid: Uid) -> Result<Structure, MailboxError> {
        let uids = [uid];
        let mut structures = self.structures(&uids);
        let (_, record) = structures.next().ok_or(MailboxError::Gone)?;
        record?.structure().ok_or_else(unreadable)
    }
}

fn unreadable() -> MailboxError {
    io::Error::from(ErrorKind::InvalidData).into()
}

impl Structures<'_> {
    /// Leaves the other processors to others.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.threads = 1;
        self
    }

    /// Passes over those before this one, which were not asked for: [`Structures::next`] tells of it.
    pub fn skip_to(&mut self, uid: Uid) {
        while self.batch.front().is_some_and(|wanted| wanted.uid != uid) {
            self.batch.pop_front();
        }
        if self.batch.is_empty() {
            let before = self.uids.iter().take_while(|own| **own != uid).count();
            self.uids = self.uids.get(before..).unwrap_or_default();
        }
    }

    /// The next message and its record, or why there is none: [`MailboxError::Gone`] if it was expunged. None: that was all.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<(Uid, Result<Record<'_>, MailboxError>)> {
        if self.frame.is_full() {
            self.keep();
        }
        if self.batch.is_empty() {
            self.look_up();
        }
        let wanted = self.batch.pop_front()?;
        let bytes = match self.find(&wanted) {
            Ok(Found::Cached(range)) => self.block.bytes().get(range),
            Ok(Found::Fresh(range)) => self.frame.bytes().get(range),
            Err(error) => return Some((wanted.uid, Err(error))),
        };
        Some((wanted.uid, bytes.and_then(Record::open).ok_or_else(unreadable)))
    }

    /// Looks the next messages up, in the table and then in the cache.
    fn look_up(&mut self) {
        let (uids, rest) = self.uids.split_at(self.uids.len().min(BATCH));
        self.uids = rest;
        if uids.is_empty() {
            return;
        }
        let mailbox = &self.view.mailbox;
        let inner = mailbox.inner();
        self.epoch = inner.table.as_ref().map_or(0, |loaded| loaded.epoch);
        let rows: Vec<Option<Row>> = uids.iter().map(|uid| inner.rows().find(uid.0).copied()).collect();
        drop(inner);
        let mut cache = mailbox.cache();
        if let Err(error) = cache.look(&*mailbox.shared.disk, &mailbox.places.cache) {
            log::warn!("event=cache-failed path={} error={error}", mailbox.places.cache.display());
        }
        let wanted = |(uid, row): (&Uid, Option<Row>)| Wanted { uid: *uid, row, slot: cache.find(uid.0) };
        self.batch.extend(uids.iter().zip(rows).map(wanted));
        let (before, now) = (self.cache.take(), cache.file());
        if before.zip(now.as_ref()).is_none_or(|(before, now)| !Arc::ptr_eq(&before, now)) {
            self.block = Block::default();
        }
        (self.cache, self.since) = (now, cache.end());
    }

    fn find(&mut self, wanted: &Wanted) -> Result<Found, MailboxError> {
        let row = wanted.row.ok_or(MailboxError::Gone)?;
        if let Some(range) = wanted.slot.and_then(|slot| self.in_cache(slot, &row)) {
            return Ok(Found::Cached(range));
        }
        let is_it = |ready: &Apart| (ready.0.uid, ready.0.key) == (row.uid, row.key);
        while self.ready.front().is_some_and(|ready| !is_it(ready)) {
            self.ready.pop_front();
        }
        if self.ready.is_empty() {
            self.take_apart(row);
        }
        let (row, record) = self.ready.pop_front().ok_or(MailboxError::Gone)?;
        Ok(Found::Fresh(self.frame.push(&row, &record?)))
    }

    /// Takes a message and those behind it apart that the cache does not have, a share on each thread.
    fn take_apart(&mut self, first: Row) {
        let lacking = self.batch.iter().filter(|wanted| lacks(self.cache.as_deref(), wanted, self.depth));
        let lacking = lacking.filter_map(|wanted| wanted.row);
        let mut shares: Vec<Vec<Row>> = Vec::new();
        let mut bytes = SHARE;
        // Whoever is alone may not want the others after all.
        let most = if self.threads == 1 && self.depth == Depth::Whole { 1 } else { usize::MAX };
        for row in [first].into_iter().chain(lacking).take(most) {
            if bytes >= SHARE {
                if shares.len() == self.threads {
                    break;
                }
                shares.push(Vec::new());
                bytes = 0;
            }
            bytes += if self.depth == Depth::Whole { row.wire } else { LEAST };
            shares.iter_mut().last().into_iter().for_each(|share| share.push(row));
        }
        let (view, epoch, depth) = (self.view, self.epoch, self.depth);
        let Some((own, others)) = shares.split_first() else { return };
        thread::scope(|scope| {
            // Each with a view of its own, so that nobody takes the block of the file from it that it reads.
            let helper = |share: &'_ Vec<Row>| {
                let share = share.clone();
                let mailbox = view.mailbox().clone();
                let serve = move || mailbox.view().map_or_else(|_| Vec::new(), |own| apart(&own, &share, epoch, depth));
                thread::Builder::new().name("structures".into()).stack_size(STACK).spawn_scoped(scope, serve).ok()
            };
            let helpers: Vec<_> = others.iter().map(helper).collect();
            self.ready.extend(apart(view, own, epoch, depth));
            for (helper, share) in helpers.into_iter().zip(others) {
                let done = helper.and_then(|helper| helper.join().ok()).unwrap_or_default();
                // Those that could not be helped with come in their turn.
                if done.len() == share.len() {
                    self.ready.extend(done);
                } else {
                    break;
                }
            }
        });
    }

    /// Reads an entry of the cache. None: it is no record of this message.
    fn in_cache(&mut self, slot: Slot, row: &Row) -> Option<Range<usize>> {
        let next = self.batch.front().and_then(|wanted| wanted.slot);
        let end = slot.at + u64::from(slot.length);
        let ahead = if next.is_some_and(|next| (end..end + NEAR).contains(&next.at)) { AHEAD } else { 0 };
        let range = self.block.read(&**self.cache.as_ref()?, slot.at, slot.length as usize, ahead).ok()??;
        let record = cache::record_for(self.block.bytes().get(range.clone())?, row)?;
        Record::open(record).filter(|record| record.is_whole || self.depth == Depth::Header)?;
        Some(range.end - record.len()..range.end)
    }

    /// Puts what was found out into the cache.
    fn keep(&mut self) {
        self.view.mailbox.keep(&self.frame, self.since);
        self.frame.clear();
    }
}

/// Has the cache nothing of a message, or too little?
fn lacks(cache: Option<&dyn File>, wanted: &Wanted, depth: Depth) -> bool {
    let Some((slot, file)) = wanted.slot.zip(cache) else { return true };
    let mut start = [0; 2];
    let read = file.read_at(&mut start, slot.at + cache::ENTRY_HEAD as u64);
    !matches!(read, Ok(2)) || !structure::tells(start, depth == Depth::Whole)
}

/// Reads messages, as far as they are wanted, and takes them apart.
fn apart(view: &View, rows: &[Row], epoch: u64, depth: Depth) -> Vec<Apart> {
    let mut shelf = Shelf::default();
    let name = |row: &Row| (row.uid, Some(row.key));
    let mut one = |at: usize, row: Row| {
        let mut scanner = Scanner::new().into_global();
        if depth == Depth::Header {
            let next = rows.get(at + 1..).unwrap_or_default().iter().map(name);
            if let Some(header) = shelf.header(view, name(&row), next)? {
                scanner.push(header);
                return Ok((row, structure::encode_head(&scanner.finish())));
            }
        }
        let row = Stream::new(view, row, epoch).pieces(|piece| scanner.push(piece))?;
        Ok((row, structure::encode(&scanner.finish())))
    };
    let each = rows.iter().enumerate().map(|(at, row)| match one(at, *row) {
        Ok((row, record)) => (row, Ok(record)),
        Err(error) => (*row, Err(error)),
    });
    each.collect()
}

impl Drop for Structures<'_> {
    fn drop(&mut self) {
        self.keep();
    }
}

impl Mailbox {
    /// A thread that panicked while it held the cache may have left anything.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(|poisoned| {
            self.cache.clear_poison();
            let mut cache = poisoned.into_inner();
            *cache = Cache::default();
            cache
        })
    }

    /// Adds to the cache. If that can't be, it is made again some day.
    fn keep(&self, frame: &Frame, since: u64) {
        if frame.is_empty() || self.places.is_deleted() {
            return;
        }
        let (disk, path) = (&*self.shared.disk, self.places.cache.as_path());
        let alive = self.inner().table.as_ref().map(|loaded| loaded.table.rows.len());
        let mut cache = self.cache();
        let mut done = cache.add(disk, path, frame, since);
        let is_wasteful = alive.is_some_and(|alive| cache.is_wasteful(alive));
        drop(cache);
        if is_wasteful && done.is_ok() {
            let alive: Vec<u32> = self.inner().rows().rows.iter().map(|row| row.uid).collect();
            done = self.cache().shorten(disk, path, &alive);
        }
        if let Err(error) = done {
            log::warn!("event=cache-failed path={} error={error}", path.display());
        }
    }
}
