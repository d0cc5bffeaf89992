//! For sessions that want to know what happens in mailboxes they have not opened (NOTIFY, RFC 5465): how a mailbox stands, and
//! when it may stand otherwise. Nothing is kept in memory for it but a seat; so a session can have many.

use super::flags::Flags;
use super::folders::{FolderError, Folders, Listed};
use super::tree::User;
use super::wake::{Bell, Seat};
use super::{Mailbox, MailboxError};
use std::sync::Arc;

/// How a mailbox stands, in numbers.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// UIDVALIDITY
    pub validity: u32,
    /// UIDNEXT
    pub next: u32,
    /// Messages.
    pub messages: u32,
    /// Of these without `\Seen`.
    pub unseen: u32,
    /// HIGHESTMODSEQ
    pub modseq: u64,
    /// The mod-sequence of the message that changed last.
    pub changed: u64,
}

/// Watches a mailbox.
#[derive(Debug)]
pub struct Lookout {
    mailbox: Arc<Mailbox>,
    seat: Arc<Seat>,
}

impl Mailbox {
    /// From now on the bell rings when something may have happened here.
    pub fn lookout(self: &Arc<Self>, bell: &Arc<Bell>) -> Lookout {
        Lookout { mailbox: self.clone(), seat: self.seats.watch(bell) }
    }

    fn standing(&self) -> Result<Standing, MailboxError> {
        let mut inner = self.enter();
        self.finish_intents(&mut inner)?;
        drop(self.look(&mut inner)?);
        let rows = &inner.rows().rows;
        Ok(Standing {
            validity: inner.validity(),
            next: inner.next,
            messages: rows.len() as u32,
            unseen: rows.iter().filter(|row| !row.marks.flags.has(Flags::SEEN)).count() as u32,
            modseq: inner.modseq.max(1),
            changed: rows.iter().map(|row| row.modseq).max().unwrap_or(0),
        })
    }
}

impl Lookout {
    /// Did it ring since this was asked last? True the first time.
    pub fn has_news(&self) -> bool {
        self.seat.has_news()
    }

    /// To be asked again: it could not be looked at.
    pub fn keep_news(&self) {
        self.seat.keep_news();
    }

    /// Is this the mailbox?
    pub fn is_of(&self, mailbox: &Arc<Mailbox>) -> bool {
        Arc::ptr_eq(&self.mailbox, mailbox)
    }

    /// How the mailbox stands now. Another program may have put another file in its place, and so it is awaited there.
    pub fn look(&self) -> Result<Standing, MailboxError> {
        self.mailbox.shared.waker().await_file(&self.mailbox);
        self.mailbox.standing()
    }
}

/// Watches which folders a user has, and which of them the user is subscribed to.
#[derive(Debug)]
pub struct FoldersLookout {
    user: Arc<User>,
    seat: Arc<Seat>,
}

impl Folders {
    /// From now on the bell rings when there may be other names, or other subscriptions.
    pub fn lookout(&self, bell: &Arc<Bell>) -> FoldersLookout {
        FoldersLookout { user: self.user().clone(), seat: self.user().seats.watch(bell) }
    }
}

impl FoldersLookout {
    /// Did it ring since this was asked last? True the first time.
    pub fn has_news(&self) -> bool {
        self.seat.has_news()
    }

    /// To be asked again: they could not be looked at.
    pub fn keep_news(&self) {
        self.seat.keep_news();
    }

    /// The folders.
    pub fn folders(&self) -> Folders {
        Folders::of(self.user.clone())
    }

    /// All names, as [`Folders::list`] tells them. Folders that other programs make are awaited in all directories there are now.
    pub fn look(&self) -> Result<Vec<Listed>, FolderError> {
        let dirs = self.user.tree()?.directories()?;
        self.user.shared.waker().await_names(&self.user, &dirs);
        self.folders().list()
    }
}
