//! What one session sees of a mailbox, and messages in wire form.
//!
//! Blocks of the file are read under a shared lock, and only while the file is the one the table describes; else the
//! table is brought up to date first, and the message found again by UID and content. What was read stays true of the
//! message it was read for, so many small messages are served from one block.

use super::inbox::{Mailbox, Stamp};
use super::scan::closed;
use super::secret::{Key, visible};
use super::table::{Loaded, Place};
use super::{MailboxError, Summary, Uid};
use crate::mail::mboxrd::ToWire;
use crate::sys::{File, Lock, Open};
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes read from the file at a time.
const BLOCK: usize = 256 << 10;
/// Bytes of a message that are made ready at a time.
const PIECE: usize = 64 << 10;
/// So often a message is looked for again, while the file changes under us, before we give up.
const TRIES: usize = 20;

/// What one session sees: the messages that were there when it looked.
#[derive(Debug)]
pub struct View {
    mailbox: Arc<Mailbox>,
    validity: u32,
    /// As it was when the view was taken.
    loaded: Loaded,
    current: Mutex<Current>,
}

/// Where the messages are now.
#[derive(Debug)]
struct Current {
    loaded: Loaded,
    /// A part of the file `loaded` describes, from this offset on.
    block: Vec<u8>,
    at: u64,
}

/// POP3's exclusive access: other programs and deliveries go on, other POP3 sessions wait.
#[derive(Debug)]
pub struct Lease {
    /// Holds the lock; closing it gives the lease back.
    _file: Arc<dyn File>,
}

impl Current {
    /// Is this range of the file in the block?
    fn covers(&self, from: u64, length: u64) -> bool {
        from >= self.at && from + length <= self.at + self.block.len() as u64
    }
}

impl Mailbox {
    /// Takes the lease on this mailbox, or says who is [`MailboxError::InUse`]. It ends when the lease is dropped.
    pub fn lease(self: &Arc<Self>) -> Result<Lease, MailboxError> {
        self.shared.disk.make_dir(&self.places.state, 0o700)?;
        let file = self.shared.disk.open(&self.places.beside("lease"), Open::Create(0o600))?;
        if !file.try_lock(Lock::Exclusive)? {
            return Err(MailboxError::InUse);
        }
        Ok(Lease { _file: file })
    }

    /// The messages that are there now, in UID order. An account that never got mail has an empty mailbox.
    pub fn view(self: &Arc<Self>) -> Result<View, MailboxError> {
        let mut inner = self.enter();
        self.wait_for_writers();
        self.finish_intents(&mut inner)?;
        let loaded = match self.lock_for_reading(&mut inner)? {
            Some(reading) => self.refresh(&mut inner, &*reading.file, reading.stat.into())?,
            None => {
                self.sync_state(&mut inner)?;
                Loaded::default()
            }
        };
        let current = Current { loaded: loaded.clone(), block: Vec::new(), at: 0 };
        Ok(View { validity: inner.validity(), loaded, current: Mutex::new(current), mailbox: self.clone() })
    }

    /// Some programs that write hold a dotlock only. They are waited for a little; to read beside them does no harm.
    fn wait_for_writers(&self) {
        let mut patience = super::lock::Patience::new(&*self.shared.clock, super::inbox::PATIENCE / 4);
        let (disk, clock, spot) = (&*self.disk, &*self.shared.clock, self.spot());
        while disk.stat(&spot.dotlock).is_ok() && !self.keys.locker.remove_stale(disk, clock, &spot.dotlock) {
            if patience.wait().is_err() {
                return;
            }
        }
    }
}

impl View {
    /// UIDVALIDITY (RFC 3501 §2.3.1.1).
    pub fn uid_validity(&self) -> u32 {
        self.validity
    }

    /// In UID order.
    pub fn messages(&self) -> &[Summary] {
        &self.loaded.table.summaries
    }

    /// The message in wire form (CRLF, unquoted, without state fields): as many bytes as its summary says, or an error of
    /// the stream, after which the caller closes the connection. Never bytes of another message.
    pub fn read(&self, uid: Uid) -> Result<Box<dyn Read + '_>, MailboxError> {
        let place = self.loaded.table.find(uid.0).ok_or(MailboxError::Gone)?;
        self.current().loaded.table.find(uid.0).ok_or(MailboxError::Gone)?;
        Ok(Box::new(Stream {
            view: self,
            uid: uid.0,
            key: place.key,
            left: place.wire,
            stage: Stage::Header,
            to_wire: ToWire::default(),
            out: Vec::new(),
            sent: 0,
        }))
    }

    /// Gives buffers back, before a long wait.
    pub fn rest(&self) {
        self.current().block = Vec::new();
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a block from what `from` says of the message. Returns the place for which it was read.
    fn load(&self, current: &mut Current, uid: u32, key: Key, from: impl Fn(&Place) -> u64) -> Result<Place, MailboxError> {
        for _ in 0..TRIES {
            let mut inner = self.mailbox.inner();
            let reading = self.mailbox.lock_for_reading(&mut inner)?.ok_or(MailboxError::Gone)?;
            let now = Stamp::from(reading.stat);
            if now != current.loaded.stamp {
                current.block.clear();
                current.loaded = self.mailbox.refresh(&mut inner, &*reading.file, now)?;
            }
            let place = current.loaded.table.find(uid).filter(|place| place.key == key).ok_or(MailboxError::Gone)?;
            let at = from(place);
            current.block.resize(BLOCK, 0);
            let read = reading.file.read_at(&mut current.block, at)?;
            current.block.truncate(read);
            current.at = at;
            // Programs that lock in another way than we do may have written meanwhile.
            if Stamp::from(reading.file.stat()?) == now {
                return Ok(place.clone());
            }
            current.block.clear();
        }
        Err(MailboxError::Busy)
    }
}

/// How far a message is sent.
#[derive(Debug)]
enum Stage {
    Header,
    /// So much of the body is done; its last byte.
    Body(u64, u8),
    End,
}

/// One message on its way.
#[derive(Debug)]
struct Stream<'a> {
    view: &'a View,
    uid: u32,
    key: Key,
    /// Of the announced size.
    left: u64,
    stage: Stage,
    to_wire: ToWire,
    out: Vec<u8>,
    sent: usize,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.sent == self.out.len() {
            if matches!(self.stage, Stage::End) {
                return Ok(0);
            }
            self.out.clear();
            self.sent = 0;
            self.step().map_err(io::Error::other)?;
            self.left = self.left.checked_sub(self.out.len() as u64).ok_or(ErrorKind::InvalidData)?;
            if matches!(self.stage, Stage::End) && self.left > 0 {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        let rest = self.out.get(self.sent..).unwrap_or_default();
        let most = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..most), rest.get(..most)) {
            to.copy_from_slice(from);
        }
        self.sent += most;
        Ok(most)
    }
}

impl Stream<'_> {
    fn step(&mut self) -> Result<(), MailboxError> {
        let view = self.view;
        let mut current = view.current();
        match self.stage {
            Stage::Header => self.header(&mut current),
            Stage::Body(done, last) => self.body(&mut current, done, last),
            Stage::End => Ok(()),
        }
    }

    /// The message's place, if its part `from..` is at least partly in the block; else a block is read.
    fn fetch(
        &self,
        current: &mut Current,
        from: impl Fn(&Place) -> u64,
        most: u64,
    ) -> Result<(Place, Range<usize>), MailboxError> {
        let place = current.loaded.table.find(self.uid).filter(|place| place.key == self.key).cloned();
        let covered = place.as_ref().is_some_and(|place| current.covers(from(place), most));
        let place = match place {
            Some(place) if covered => place,
            _ => self.view.load(current, self.uid, self.key, &from)?,
        };
        let start = usize::try_from(from(&place) - current.at).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(most).unwrap_or(usize::MAX)).min(current.block.len());
        Ok((place, start.min(end)..end))
    }

    fn header(&mut self, current: &mut Current) -> Result<(), MailboxError> {
        let mut bytes = Vec::new();
        let mut before = None;
        loop {
            let done = bytes.len() as u64;
            let most = current
                .loaded
                .table
                .find(self.uid)
                .map_or(1, |place| u64::from(place.header) - done.min(u64::from(place.header)));
            let (place, more) = self.fetch(current, |place| place.header_at() + done, most)?;
            if before.as_ref().is_some_and(|before| *before != place) {
                // It was moved while we read: from the start.
                (bytes, before) = (Vec::new(), None);
                continue;
            }
            let more = current.block.get(more).unwrap_or_default();
            bytes.extend_from_slice(more);
            bytes.truncate(place.header as usize);
            if bytes.len() == place.header as usize {
                visible(&closed(&bytes), |part| self.to_wire.push(part, &mut self.out));
                if place.blank > 0 || place.body == 0 {
                    self.to_wire.push(b"\n", &mut self.out);
                }
                self.stage = Stage::Body(0, b'\n');
                return self.body(current, 0, b'\n');
            }
            if more.is_empty() {
                return Err(MailboxError::Gone);
            }
            before = Some(place);
        }
    }

    fn body(&mut self, current: &mut Current, done: u64, last: u8) -> Result<(), MailboxError> {
        let body = current.loaded.table.find(self.uid).map_or(0, |place| place.body);
        let mut done = done;
        let mut last = last;
        if done < body {
            let most = (body - done).min(PIECE as u64);
            let (place, range) = self.fetch(current, |place| place.body_at() + done, most)?;
            let bytes = current.block.get(range).unwrap_or_default();
            let bytes =
                bytes.get(..usize::try_from(place.body - done).unwrap_or(usize::MAX).min(bytes.len())).unwrap_or_default();
            last = *bytes.last().ok_or(MailboxError::Gone)?;
            self.to_wire.push(bytes, &mut self.out);
            done += bytes.len() as u64;
        }
        self.stage = Stage::Body(done, last);
        if done >= body {
            if last != b'\n' {
                self.to_wire.push(b"\n", &mut self.out);
            }
            std::mem::take(&mut self.to_wire).finish(&mut self.out);
            self.stage = Stage::End;
        }
        Ok(())
    }
}
