//! Mailboxes: mbox files that other programs open beside us. (DESIGN §5)
//!
//! # What lies on the disk
//!
//! | file | what | truth? |
//! |---|---|---|
//! | `<mail>/u` | the mail of `u`, mboxrd; ours ends its header with a block of state fields ([`mbox`]) | yes |
//! | `<mail>/u.lock` | a dotlock, for the moment of a write ([`lock`]) | |
//! | `<spool>/state/u/INBOX` | the state log: UIDVALIDITY, UID ceiling, UIDs and marks of messages that don't carry them, keywords, what was and what is to be removed ([`state`]) | yes |
//! | `<spool>/index/u/INBOX.idx` | the table of all messages; may be deleted at any time ([`index`]) | no |
//! | `<spool>/index/u/INBOX.cache` | what messages are made of, ready to send; may be deleted at any time ([`cache`]) | no |
//! | `<spool>/folders/u/A/B.mbox` | the mail of `u`'s folder `A/B`; [`name`] tells how names are written | yes |
//! | `<spool>/state/u/<id>` | the state log of the folder with that mailbox id; so `<id>.lease`, `<id>.idx` and so on | yes |
//! | `<spool>/state/u/user` | the log of `u`: folders and their ids, subscriptions, annotations, the last UIDVALIDITY ([`user`]) | yes |
//! | `<spool>/state/u/user.lock`, `tree.lock` | locked while that log, or the tree of folders, is used; empty | |
//! | `<spool>/state/u/quota.lock` | locked while something is put into a folder that must fit into a quota; empty | |
//! | `<spool>/state/u/INBOX.lease` | locked while a POP3 session has the mailbox; empty | |
//! | `<spool>/state/u/INBOX.moving` | locked while messages are moved from here to another folder; empty | |
//! | `<spool>/state/u/INBOX.redo` | while messages are moved: what stood where ([`compact`]) | while it is open |
//! | `<spool>/state/u/INBOX.damaged-…` | what a power cut left that nobody can read; for a person | |
//! | `<spool>/state/u/INBOX.saved-…` | the same, and what a rebuild changed, as it was; nobody asks for it ([`repair`]) | |
//! | `INBOX.new` in both directories | a state log or index that was not finished | |
//! | `<spool>/secret` | the key of content keys and seals ([`secret`]) | yes |
//!
//! # The states a mailbox can be in, and what is done about each
//!
//! * **Absent or empty.** It is made, or begun, by the next delivery, whose message carries the base line.
//! * **In order**: every message begins with a `From ` line after an empty line. UIDs: a seal, a row of the state log, or the
//!   next number ([`reconcile`]).
//! * **No empty line at the end** (another program left it so): the next delivery adds what is missing.
//! * **Not beginning with `From `, a link, a FIFO, another's**: refused, logged, not touched. The first an operator can have
//!   mended ([`repair`]), as all that [`check`] finds.
//! * **Without a base line**, because another program took the first message: the next one gets it ([`compact`]).
//! * **Appended to, not synced.** The journal has every message until the next [`Store::checkpoint`] has synced the file. If
//!   the machine stops before, [`Mailbox::recover`] looks for the copies: whole ones count, torn ones are completed in their
//!   place, and where the disk left NULs that are nobody's, these become a dead message or are cut off ([`recover`]).
//! * **An append failed** (disk full): it is cut off again under the lock; after a crash in that moment, as above.
//! * **An intent is open.** A message is to be removed, the intent is durable, the message is there, half overwritten ([`remains`]),
//!   or dead. It is not shown in any of these cases, and overwritten as soon as the file can be locked ([`expunge`]). Once it was
//!   overwritten, or seen to be gone, it is mail again if others bring it back; so it is if it stands elsewhere after a crash.
//! * **Dead messages.** Their room is kept, for other programs may remember where things stood. When nothing else is left, and
//!   nobody can remember, the file is emptied ([`watch`]); and where they are a tenth of it, it is compacted ([`compact`]).
//! * **Half compacted.** Messages were on the move: whoever locks the mailbox next finishes that step, or, where another
//!   program was faster, puts back what is missing ([`compact`]).
//! * **Replaced by another file** while copies were not settled: those that are not in the new one are put there.
//! * **Changed by others** in any other way: after growth the new part is scanned first, else all of it ([`refresh`], [`doubt`]). What they say of
//!   flags counts, what they only lost does not ([`flags`]).
//! * **Marks are not in the file yet**: they are in the state log, and reach the file within a second ([`marking`]); those of
//!   messages without room for them stay in the log.
//! * **The index is older than the file, stale, damaged or gone**: what it can't know is looked at again ([`index`]).
//! * **A c-client program has it open** (alpine): mail is appended, and nothing else is written until that ends ([`lock`]).
//! * **Another daemon keeps it too**, on a shared file system: the state log is where they meet ([`handover`], [`factlog`]).
//! * **The state log is torn at its end**: the torn line was never depended on. **Holed**: UIDs go on far above. **Lost**: a new
//!   UIDVALIDITY. **Older than the file** (a backup): its base line and seals raise the next UID. (Older together with the file,
//!   and without the index: nobody can know what was shown since. Who puts both back takes the state log away instead.)
//! * **A folder's file is not there**: the folder is empty, and keeps its id and numbers. **A file is there that is in no
//!   table**: another program made a folder, and it is taken up ([`tree`]).
//! * **A folder was deleted or renamed** and its files have not followed: they do before anything else is done to the tree.
//!
//! # Who sees what
//!
//! All sessions of a mailbox share one [`table`], in UID order; a [`View`] is one session's numbering of it, up to the last message
//! it was told of ([`numbering`]). Who waits is woken by whatever changes the mailbox ([`wake`]), and need not have opened it
//! ([`lookout`]). Messages are [`read`] in blocks,
//! each under a lock and only while the file is the one the table describes. What they are made of is found out once
//! ([`structures`]).
//!
//! What a client was shown under a pair of UIDVALIDITY and UID never becomes another content: numbers are reserved in the state
//! log, synced before they are shown, and a number in the file counts only with a seal over its content.

mod cache;
mod check;
mod checkpoint;
mod compact;
mod compose;
mod deliver;
mod doubt;
mod expunge;
mod factlog;
mod flags;
mod folders;
mod fresh;
mod handover;
mod headers;
mod inbox;
mod index;
mod lock;
mod lookout;
mod marking;
mod mbox;
mod moving;
mod name;
mod notes;
mod numbering;
mod places;
pub mod plain;
mod read;
mod reconcile;
mod recover;
mod refresh;
mod remains;
mod repair;
mod scan;
mod secret;
mod state;
mod store;
mod structures;
mod sweep;
mod table;
mod tree;
mod uidmap;
mod uidset;
mod usage;
mod user;
pub mod utf7;
mod view;
mod wake;
mod watch;

pub use check::Finding;
pub use flags::{Flags, Keywords, Marks};
pub use folders::{FolderError, Folders, Kind, Listed};
pub use headers::Headers;
pub use inbox::Mailbox;
pub use lookout::{FoldersLookout, Lookout, Standing};
pub use marking::{Change, Marked};
pub use mbox::{date_of as mbox_date, from_line as mbox_from_line, is_dead_header as mbox_is_dead, prefix as mbox_prefix};
pub use name::{FolderName, NameError};
pub use notes::{Changes as NoteChanges, Known, LONGEST_NOTE, Note, NoteError};
pub use secret::ensure_secret;
pub use store::{Rebuilt, Store};
pub use structures::Structures;
pub use table::Counts;
pub use user::{MailboxId, SpecialUse};
pub use view::{Changes, Lease, Selected, Tell, View};
pub use wake::Bell;

use crate::mail::{Address, Filing, ReversePath};
use crate::spool::{Message, Outcome, SpoolError, SpoolId};
use crate::sys::Time;
use std::fmt;
use std::io;

/// A message's number within a mailbox, ascending, never reused (RFC 3501 §2.3.1.1).
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct Uid(pub u32);

/// Who must be told when a delivered copy is durable in its mailbox: the journal.
pub trait Ledger: Send + Sync + fmt::Debug {
    /// Records outcomes; when it returns, they are durable.
    fn settle(&self, outcomes: &[Outcome]) -> Result<(), SpoolError>;
    /// Whose journal it is: of the daemons of one spool that run at the same time, no two give the same.
    fn name(&self) -> Vec<u8>;
    /// Is another daemon of this spool at work?
    fn has_peers(&self) -> bool;
}

impl Ledger for crate::spool::Journal {
    fn settle(&self, outcomes: &[Outcome]) -> Result<(), SpoolError> {
        crate::spool::Journal::settle(self, outcomes)
    }
    fn name(&self) -> Vec<u8> {
        crate::spool::Journal::name(self)
    }
    fn has_peers(&self) -> bool {
        crate::spool::Journal::has_peers(self)
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
    /// There is no such folder.
    Nonexistent,
    /// The message, or the folder, went away meanwhile.
    Gone,
    /// A file operation failed.
    Io(io::Error),
}

impl fmt::Display for MailboxError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MailboxError::Busy => out.write_str("mailbox locked by another program"),
            MailboxError::InUse => out.write_str("mailbox in use by another session"),
            MailboxError::Full => out.write_str("no room for the mailbox"),
            MailboxError::Refused(why) => out.write_str(why),
            MailboxError::Nonexistent => out.write_str("there is no such folder"),
            MailboxError::Gone => out.write_str("message is gone"),
            MailboxError::Io(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for MailboxError {}

impl MailboxError {
    /// Why a reader of a message failed: what the mailbox had to say comes wrapped.
    pub fn of_reader(error: io::Error) -> MailboxError {
        error.downcast().unwrap_or_else(MailboxError::Io)
    }
}

/// One copy of a spooled message, for one mailbox.
#[derive(Debug)]
pub struct Copy<'a> {
    /// Names the message.
    pub id: SpoolId,
    /// Index into the envelope's recipients.
    pub recipient: u32,
    /// How it comes here.
    pub arrival: Arrival<'a>,
    /// Disk form; mailboxes and journal quote alike, so it is appended as it stands, less forged state fields.
    pub message: &'a Message,
}

/// How a copy comes into a mailbox.
#[derive(Copy, Clone, Debug)]
pub enum Arrival<'a> {
    /// As mail.
    Delivered {
        /// For the `From ` line and Return-Path.
        return_path: &'a ReversePath,
        /// For Delivered-To.
        delivered_to: &'a Address,
        /// When the message arrived: its internal date.
        time: Time,
    },
    /// A session puts it there: nothing is added to what its user sees of it.
    Filed(&'a Filing),
}

/// What a message is known by.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its UID, as long as that is durable.
    pub uid: Uid,
    /// Its content in short.
    pub key: [u8; 16],
    /// Which copy it is, of which message of the journal, if it is one.
    pub copy: Option<(SpoolId, u32)>,
}

/// One message, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Its number.
    pub uid: Uid,
    /// Bytes in wire form (RFC822.SIZE).
    pub size: u64,
    /// Flags and keywords.
    pub marks: Marks,
    /// Of its last change (RFC 7162 §3.1).
    pub modseq: u64,
    /// Internal date (RFC 3501 §2.3.3).
    pub date: Time,
    /// Its zone in minutes, if a client gave one.
    pub zone: Option<i16>,
    /// When it came into this mailbox (RFC 8514), if that is known.
    pub saved: Option<Time>,
}

#[cfg(test)]
mod tests;
