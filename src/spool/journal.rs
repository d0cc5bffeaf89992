//! SEAM: the room's owner replaces every body; signatures are what others build on.
#![allow(missing_docs, clippy::todo)]
use super::{Entry, Outcome, SpoolError, SpoolId, Unsettled};
use crate::mail::Envelope;
use crate::sys::{Clock, Disk};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// What the journal needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// `<spool>/journal/<host>`.
    pub dir: PathBuf,
    /// Bytes of a segment (64 MiB).
    pub segment_size: u64,
    /// Below that many free bytes nothing is accepted.
    pub min_free: u64,
}

/// The journal of one daemon. Shared by all threads through an `Arc`.
#[derive(Debug)]
pub struct Journal {}

/// A message on its way into the journal. Dropped without commit it leaves nothing behind.
#[derive(Debug)]
pub struct Draft {}

impl Journal {
    /// Locks the directory (making it if needed), replays what is there, begins a new segment.
    /// Also tells what still has to be served, in order of arrival.
    pub fn open(
        _disk: Arc<dyn Disk>,
        _clock: Arc<dyn Clock>,
        _options: Options,
    ) -> Result<(Arc<Journal>, Vec<Unsettled>), SpoolError> {
        todo!()
    }
    /// Is there room to accept mail? (Asked at MAIL.)
    pub fn has_room(&self) -> bool {
        todo!()
    }
    /// Begins a message. Its id is known from here on (for the Received field).
    pub fn begin(self: &Arc<Self>, _envelope: Envelope) -> Result<Draft, SpoolError> {
        todo!()
    }
    /// Appends outcomes. Returns when those that settle are durable (one sync, shared); `Deferred`, `Held` and `Warned` are written and not waited for.
    pub fn settle(&self, _outcomes: &[Outcome]) -> Result<(), SpoolError> {
        todo!()
    }
    /// Makes sure that one outcome for each unsettled recipient of this message can be written even if the disk fills up.
    pub fn reserve(&self, _id: SpoolId) -> Result<(), SpoolError> {
        todo!()
    }
    /// Reads a message that is not settled yet.
    pub fn read(&self, _id: SpoolId) -> Result<Entry, SpoolError> {
        todo!()
    }
    /// What still has to be served of one message; None when all is settled.
    pub fn waiting(&self, _id: SpoolId) -> Option<Unsettled> {
        todo!()
    }
    /// Everything that still has to be served, in order of arrival.
    pub fn unsettled(&self) -> Vec<Unsettled> {
        todo!()
    }
    /// Called about every second by the keeper: prepares space ahead, recycles segments, rewrites logs, copies the rest of nearly empty segments forward.
    pub fn housekeep(&self) {
        todo!()
    }
}

impl Write for Draft {
    /// Takes the message with LF line ends, unquoted; quoting is the journal's business.
    fn write(&mut self, _buf: &[u8]) -> io::Result<usize> {
        todo!()
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Draft {
    pub fn id(&self) -> SpoolId {
        todo!()
    }
    /// The commit: when this returns Ok the message survives a power cut, and so do the outcomes that come with it (`X-Spool-Settles`), all or nothing, in one sync.
    pub fn commit(self, _settles: Vec<Outcome>) -> Result<Entry, SpoolError> {
        todo!()
    }
}
