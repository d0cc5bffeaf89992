//! Mailboxes: mbox files that other programs open beside us. (DESIGN §5; the on-disk states are to be told here in prose.)
#![allow(missing_docs, clippy::todo)]

mod checkpoint;
mod compose;
mod deliver;
mod expunge;
mod inbox;
mod lock;
mod mbox;
mod reconcile;
mod recover;
mod scan;
mod secret;
mod state;
mod store;
mod table;
mod view;

pub use inbox::Mailbox;
pub use store::Store;
pub use view::{Lease, View};

use crate::mail::{Address, ReversePath};
use crate::spool::{Message, Outcome, SpoolError, SpoolId};
use crate::sys::Time;
use std::fmt;

use std::io;

/// A message's number within a mailbox, ascending, never reused (RFC 3501 §2.3.1.1).
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct Uid(pub u32);

/// Who must be told when a delivered copy is durable in its mailbox: the journal.
pub trait Ledger: Send + Sync + fmt::Debug {
    fn settle(&self, outcomes: &[Outcome]) -> Result<(), SpoolError>;
}

impl Ledger for crate::spool::Journal {
    fn settle(&self, outcomes: &[Outcome]) -> Result<(), SpoolError> {
        crate::spool::Journal::settle(self, outcomes)
    }
}

/// Why a mailbox can't. All of these are temporary for mail that wants in.
#[derive(Debug)]
pub enum MailboxError {
    /// Another program holds the lock.
    Busy,
    /// Another session holds the lease.
    InUse,
    /// No room on the disk, or the owner's quota is used up.
    Full,
    /// What is at the path is not a mailbox we touch (link, FIFO, foreign owner, does not begin with `From `); the text says which.
    Refused(&'static str),
    /// The message went away meanwhile.
    Gone,
    Io(io::Error),
}

impl fmt::Display for MailboxError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MailboxError::Busy => out.write_str("mailbox locked by another program"),
            MailboxError::InUse => out.write_str("mailbox in use by another session"),
            MailboxError::Full => out.write_str("no room for the mailbox"),
            MailboxError::Refused(why) => out.write_str(why),
            MailboxError::Gone => out.write_str("message is gone"),
            MailboxError::Io(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for MailboxError {}

/// One copy of a spooled message, for one mailbox.
#[derive(Debug)]
pub struct Copy<'a> {
    pub id: SpoolId,
    /// Index into the envelope's recipients.
    pub recipient: u32,
    pub return_path: &'a ReversePath,
    pub delivered_to: &'a Address,
    pub time: Time,
    /// Disk form; mailboxes and journal quote alike, so it is appended as it stands, less forged state fields.
    pub message: &'a Message,
}

/// One message of a view.
#[derive(Clone, Debug)]
pub struct Summary {
    pub uid: Uid,
    /// Bytes in wire form (RFC822.SIZE).
    pub size: u64,
}

#[cfg(test)]
mod tests;
