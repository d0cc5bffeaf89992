//! Headers of messages in wire form, without their bodies: of many messages they are read under one lock, and together where
//! they stand near each other in the file.

use super::cache::Block;
use super::inbox::Stamp;
use super::scan::closed;
use super::secret::{Key, visible};
use super::table::Row;
use super::view::View;
use super::{MailboxError, Uid};
use crate::mail::mboxrd::ToWire;
use crate::sys::File;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;

/// Messages whose headers are read under one lock.
const BATCH: usize = 64;
/// Bytes of headers at which that ends, whatever is left.
const ENOUGH: usize = 256 << 10;
/// So many bytes between two headers are read with them.
const NEAR: u64 = 8 << 10;
/// Bytes that are read at a time then.
const AHEAD: usize = 32 << 10;
/// So often messages are looked for again, while the file changes under us, before we give up.
const TRIES: usize = 20;

/// The headers of some messages, one after the other.
#[derive(Debug)]
pub struct Headers<'a> {
    view: &'a View,
    uids: &'a [Uid],
    shelf: Shelf,
}

impl View {
    /// The headers of these messages, in the order in which they are asked for; that of their UIDs is the fastest.
    pub fn headers<'a>(&'a self, uids: &'a [Uid]) -> Headers<'a> {
        Headers { view: self, uids, shelf: Shelf::default() }
    }
}

impl Headers<'_> {
    /// Passes over those before this one, which were not asked for: [`Headers::next`] tells of it.
    pub fn skip_to(&mut self, uid: Uid) {
        let before = self.uids.iter().take_while(|own| **own != uid).count();
        self.uids = self.uids.get(before..).unwrap_or_default();
    }

    /// The next message and its header with the empty line that ends it; no header if that line is missing, so that the text has
    /// to be asked. [`MailboxError::Gone`] if it was expunged. None: that was all.
    #[allow(clippy::should_implement_trait)]
    #[allow(clippy::type_complexity)]
    pub fn next(&mut self) -> Option<(Uid, Result<Option<&[u8]>, MailboxError>)> {
        let (uid, rest) = self.uids.split_first()?;
        self.uids = rest;
        Some((*uid, self.shelf.header(self.view, (uid.0, None), rest.iter().map(|uid| (uid.0, None)))))
    }
}

/// A message by its UID, and by its content where that is known.
pub(super) type Name = (u32, Option<Key>);

/// Headers that were read ahead.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// In wire form, one behind the other.
    wire: Vec<u8>,
    found: VecDeque<(u32, Key, Option<Range<usize>>)>,
    /// Of the file; good as long as that is locked.
    block: Block,
}

impl Shelf {
    /// The header of a message. If it has to be read, some of those that come `next` are read with it.
    pub fn header(&mut self, view: &View, name: Name, next: impl Iterator<Item = Name>) -> Result<Option<&[u8]>, MailboxError> {
        let is_it = |found: &(u32, Key, Option<Range<usize>>)| found.0 == name.0 && name.1.is_none_or(|key| key == found.1);
        while self.found.front().is_some_and(|found| !is_it(found)) {
            self.found.pop_front();
        }
        if self.found.is_empty() {
            let names: Vec<Name> = [name].into_iter().chain(next.take(BATCH - 1)).collect();
            self.load(view, &names)?;
        }
        let found = self.found.pop_front().filter(|found| is_it(found));
        let (_, _, range) = found.ok_or(MailboxError::Gone)?;
        Ok(range.and_then(|range| self.wire.get(range)))
    }

    /// Reads headers under one lock, of the file as the table describes it.
    fn load(&mut self, view: &View, names: &[Name]) -> Result<(), MailboxError> {
        let mailbox = &view.mailbox;
        for _ in 0..TRIES {
            let mut inner = mailbox.inner();
            let reading = mailbox.look(&mut inner)?.ok_or(MailboxError::Gone)?;
            let loaded = inner.table.as_ref().ok_or(MailboxError::Gone)?;
            let there = |(uid, key): &Name| loaded.table.find(*uid).filter(|row| key.is_none_or(|key| key == row.key));
            let rows: Vec<Row> = names.iter().filter_map(there).copied().collect();
            let stamp = loaded.stamp;
            if !mailbox.vouch(&mut inner, &*reading.file, &rows)? {
                continue;
            }
            let whole = self.take(&*reading.file, &rows)?;
            // Programs that lock in another way than we do may have written meanwhile.
            if Stamp::from(reading.file.stat()?) == stamp {
                return if whole { Ok(()) } else { Err(MailboxError::Gone) };
            }
        }
        self.found.clear();
        Err(MailboxError::Busy)
    }

    /// False: the file ends before.
    fn take(&mut self, file: &dyn File, rows: &[Row]) -> io::Result<bool> {
        self.found.clear();
        self.wire.clear();
        self.block.clear();
        for (at, row) in rows.iter().enumerate() {
            if self.wire.len() >= ENOUGH {
                break;
            }
            let range = if row.blank > 0 || row.body() == 0 {
                let next = rows.get(at + 1).map_or(0, |next| next.header_at());
                let end = row.header_at() + u64::from(row.header);
                let ahead = if (end..end + NEAR).contains(&next) { AHEAD } else { 0 };
                let read = self.block.read(file, row.header_at(), row.header as usize, ahead)?;
                let Some(header) = read.and_then(|range| self.block.bytes().get(range)) else { return Ok(false) };
                Some(push(header, &mut self.wire))
            } else {
                None
            };
            self.found.push_back((row.uid, row.key, range));
        }
        Ok(true)
    }
}

/// Adds a header in wire form, and the empty line; tells where it is.
fn push(header: &[u8], wire: &mut Vec<u8>) -> Range<usize> {
    let start = wire.len();
    let mut to_wire = ToWire::default();
    visible(&closed(header), |part| to_wire.push(part, wire));
    to_wire.push(b"\n", wire);
    start..wire.len()
}
