//! The journal: what has been committed here is never lost, and what was settled never comes back.
//!
//! # The files
//!
//! `<spool>/journal/<host>/` belongs to one daemon, which holds a lock on `lock`. All other files have one of these states:
//!
//! | file | what it is | what a start does about it |
//! |---|---|---|
//! | `NNNNNNNN.mbox`, no sound head, no log | a segment that was being begun | recycles it |
//! | `NNNNNNNN.mbox`, a head, no log or one of another generation | begun or recycled, nothing in it yet | recycles it |
//! | `NNNNNNNN.mbox` and its log | a segment with records; what of them is live, the log tells | replays it; never appends to it |
//! | `NNNNNNNN.mbox`, the head lost | the log knows the generation too | replays it |
//! | `NNNNNNNN.mbox` with records, head and log lost | damage no crash explains | leaves it alone, reports it |
//! | `NNNNNNNN.log` with a summary | the records before its `end` need not be read | reads the rest, or none if it says `closed` |
//! | `NNNNNNNN.log` without its segment | the end of a removal | removes it |
//! | `NNNNNNNN.log.new` | a log that was being rewritten; the old one is whole | removes it |
//! | `next.mbox` | a segment that was being filled with zeros | removes it |
//! | `<id>.msg`, named by a live record | a big message | serves it |
//! | `<id>.msg` otherwise | a draft that was never committed, or a message that is settled | removes it, unless records are damaged |
//! | `trial` | what is written to see that it can be | removes it |
//! | `<host>.adopting`, `<host>.adopted` | another journal is being taken over (see `adopt`) | goes on with it |
//!
//! # The acts
//!
//! * **Commit.** A record is written behind the last one, among zeros, and synced together with those of other sessions. A big
//!   message's own file, and the directory, are synced before. Replay takes a record if its tag has the segment's generation and its
//!   checksum holds: a torn one does not count, those behind it do. The outcomes it carries hold with it.
//! * **Commit of a group.** Its records are written and synced in one act, into one segment; each tells how many there are.
//!   What a crash leaves of it is one of these:
//!
//!   | in the segment | what a start does |
//!   |---|---|
//!   | no member, or some, or some torn | none counts, nor the outcomes they carry; their files are removed |
//!   | all members | all count, each as any other record from then on |
//!   | members at or behind a `void` line | none counts: the line stands before the first of them |
//!   | all members, and an `all` line that settles them | none waits. (A group is taken back by such a line; torn, it is none.) |
//!   | members that were copied forward or adopted | each copy counts by itself: it was made when all counted |
//!   | members before the `end` of a summary | those that it lists as live: `end` never lies within a group |
//! * **Settle.** A line is written to the log of the segment that holds the record, among zeros, and synced.
//!   A line says what is true from then on, so it may be there twice.
//! * **A failed write or sync of records**: nobody knows what the disk has. A `void` line in the log takes back everything from that place on,
//!   durably, before the error is told; the segment gets no more records. If that fails too, the answer is [`SpoolError::Uncertain`].
//!   Want of room is found before anything is written: records only go where blocks are.
//! * **A failed write or sync of a log**: the same bytes are written again at the same place before anything else.
//! * **Recycling.** A segment with nothing live gets a head with a new generation, synced: now it is empty, whatever follows the head.
//!   Then it gets a new name and a new log. **Removing**: the segment first, then its log.
//! * **Copying forward.** Records that are live in a segment of which most is settled are committed anew, with their marks, in the active one.
//!   Replay takes the record in the highest segment.
//! * **Rewriting a log.** A summary of what is live, and what the log was told meanwhile, in a new file, synced and renamed over
//!   the old one.
//! * Before the last three, every line that any log is *owed* is made durable: what a record or another log told about messages of this segment.
//!   So the order in which files disappear never matters.
//!
//! The generation of a segment is drawn at random and told to nobody, so no bytes that a peer sent can pass for a record. Ids have a random
//! half of their own, drawn at each start.

mod adopt;
mod commit;
mod domains;
mod draft;
mod files;
mod glance;
pub mod journal;
mod keep;
mod log;
mod logfile;
mod pace;
mod place;
mod replay;
mod segment;
mod summary;
mod table;
mod text;
mod writer;

pub use glance::Glance;
pub use journal::{Draft, Journal, Options};

use crate::mail::Envelope;
use crate::sys::{File, Time};
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

/// Names a message for good: a random number, drawn when the journal was opened, and a counter.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct SpoolId {
    /// The same for all messages between two starts.
    pub generation: u64,
    /// Counts them.
    pub counter: u64,
}

impl fmt::Display for SpoolId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}-{:x}", self.generation, self.counter)
    }
}

impl FromStr for SpoolId {
    type Err = ();
    fn from_str(text: &str) -> Result<SpoolId, ()> {
        let (generation, counter) = text.split_once('-').ok_or(())?;
        if generation.len() != 16 || counter.is_empty() || counter.starts_with('+') || generation.starts_with('+') {
            return Err(());
        }
        let hex = |digits| u64::from_str_radix(digits, 16).map_err(|_| ());
        Ok(SpoolId { generation: hex(generation)?, counter: hex(counter)? })
    }
}

/// A message as it lies on disk: LF line ends, mboxrd-quoted, ending in LF. In memory if small, else in a file.
#[derive(Clone, Debug)]
pub enum Message {
    /// The whole of it.
    Memory(Arc<Vec<u8>>),
    /// A range of a file.
    File {
        /// The segment, or a file of its own.
        file: Arc<dyn File>,
        /// Where it begins.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// Another one with something put into it. No record holds such a one.
    Spliced {
        /// The other one.
        rest: Box<Message>,
        /// Where it is put.
        at: u64,
        /// What is.
        text: Arc<[u8]>,
    },
}

impl Message {
    /// With this put into it at an offset, in disk form.
    pub fn spliced(self, at: u64, text: &[u8]) -> Message {
        Message::Spliced { rest: Box::new(self), at, text: text.into() }
    }

    /// Bytes on disk.
    pub fn len(&self) -> u64 {
        match self {
            Message::Memory(bytes) => bytes.len() as u64,
            Message::File { length, .. } => *length,
            Message::Spliced { rest, text, .. } => rest.len() + text.len() as u64,
        }
    }

    /// Nothing at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At most so many bytes at an offset, none at its end. What is not in memory is read into the room.
    pub fn piece<'a>(&'a self, offset: u64, most: usize, room: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        if let Message::Memory(bytes) = self {
            let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
            return Ok(rest.get(..most).unwrap_or(rest));
        }
        room.resize(usize::try_from(self.len().saturating_sub(offset)).unwrap_or(most).min(most), 0);
        let read = self.read_at(room, offset)?;
        Ok(room.get(..read).unwrap_or_default())
    }

    /// Reads at an offset; fewer bytes than asked for only at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Message::Memory(bytes) => Ok(copy_at(bytes, buffer, offset)),
            Message::File { file, offset: start, length } => {
                let left = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
                let most = left.min(buffer.len());
                file.read_at(buffer.get_mut(..most).unwrap_or_default(), start + offset)
            }
            Message::Spliced { rest, at, text } => {
                let (end, mut done) = (at + text.len() as u64, 0);
                while done < buffer.len() {
                    let (here, to) = (offset + done as u64, buffer.get_mut(done..).unwrap_or_default());
                    let read = if here < *at {
                        let most = usize::try_from(at - here).unwrap_or(usize::MAX).min(to.len());
                        rest.read_at(to.get_mut(..most).unwrap_or_default(), here)?
                    } else if here < end {
                        copy_at(text, to, here - at)
                    } else {
                        rest.read_at(to, here - text.len() as u64)?
                    };
                    if read == 0 {
                        break;
                    }
                    done += read;
                }
                Ok(done)
            }
        }
    }
}

/// Reads bytes of memory as a file is read.
fn copy_at(bytes: &[u8], buffer: &mut [u8], offset: u64) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let most = rest.len().min(buffer.len());
    if let (Some(to), Some(from)) = (buffer.get_mut(..most), rest.get(..most)) {
        to.copy_from_slice(from);
    }
    most
}

/// A committed message.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub id: SpoolId,
    /// When it was taken.
    pub time: Time,
    /// Sender and recipients.
    pub envelope: Arc<Envelope>,
    /// What was sent.
    pub message: Message,
}

impl Entry {
    /// From when it may be delivered (RFC 4865); its age counts from then.
    pub fn begins(&self) -> Time {
        self.envelope.begins(self.time)
    }
}

/// What became of a recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Status {
    /// In a mailbox here (checkpointed), or taken by another host. Settles.
    Delivered,
    /// Refused for good; the sender was told, or must not be. Settles.
    Failed,
    /// Given up for age. Settles.
    Expired,
    /// Taken out by an operator. Settles.
    Removed,
    /// To be tried again.
    Deferred {
        /// Not before.
        until: Time,
    },
    /// The sender was told of the delay; else as it was.
    Warned,
    /// Not tried until released (by `Deferred`).
    Held,
}

/// One line of the outcome log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Of which message.
    pub id: SpoolId,
    /// Indices into the envelope's recipients, ascending.
    pub recipients: Vec<u32>,
    /// What became of them.
    pub status: Status,
    /// When.
    pub time: Time,
    /// The remote reply, or our reason; one line.
    pub text: String,
}

/// A recipient that still has to be served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// Index into the envelope's recipients.
    pub index: u32,
    /// Not to be tried before; the time of arrival if never tried.
    pub due: Time,
    /// How often it was deferred.
    pub tries: u32,
    /// Until released.
    pub held: bool,
    /// The sender knows of the delay.
    pub warned: bool,
    /// The text of the last outcome, empty if never tried.
    pub text: String,
}

/// A message with recipients that still have to be served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsettled {
    /// Its name.
    pub id: SpoolId,
    /// When it was taken.
    pub time: Time,
    /// Bytes.
    pub size: u64,
    /// The domains of at least those who wait, as of [`Domain::key`](crate::mail::Domain::key) and parted by commas. None: only
    /// the message itself tells where it goes.
    pub domains: Option<Arc<str>>,
    /// Who waits; ascending, never empty.
    pub waiting: Vec<Waiting>,
}

impl Unsettled {
    /// Was there a try for any who waits?
    pub fn is_tried(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.tries > 0)
    }
}

/// Why the journal can't.
#[derive(Debug)]
pub enum SpoolError {
    /// The disk is full, or below the floor of free space.
    Full,
    /// Nothing by that id.
    Unknown(SpoolId),
    /// Another daemon has it.
    Locked,
    /// A file operation failed.
    Io(io::Error),
    /// A failed sync could not be taken back: whether the message is kept is not known. Close without a reply.
    Uncertain,
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> SpoolError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SpoolError::Full,
            _ => SpoolError::Io(error),
        }
    }
}

impl fmt::Display for SpoolError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpoolError::Full => out.write_str("disk full"),
            SpoolError::Unknown(id) => write!(out, "no message {id}"),
            SpoolError::Locked => out.write_str("spool in use by another daemon"),
            SpoolError::Io(error) => error.fmt(out),
            SpoolError::Uncertain => out.write_str("disk failed at commit"),
        }
    }
}

impl std::error::Error for SpoolError {}

#[cfg(test)]
mod tests;
