//! How much mail a user has: the sum of what all mailboxes hold. What one held when it was last looked at is remembered with the
//! state of its file, so that the sum takes one look at the name of each file, and only mailboxes that changed are opened.

use super::MailboxError;
use super::folders::{FolderError, Folders, Kind};
use super::inbox::{Mailbox, Stamp};
use super::name::FolderName;
use super::store::Store;
use super::tree::User;
use super::user::MailboxId;
use crate::host::Account;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// In nanoseconds: what was written so lately may be written again and look the same, by a clock that ticks slowly.
const LATELY: i128 = 1_000_000_000;

/// Bytes that mailboxes hold, and the files of which that is true.
#[derive(Debug, Default)]
pub(super) struct Sizes(Mutex<HashMap<Which, (Stamp, u64)>>);

/// INBOX has no id here, as in its places.
type Which = Option<MailboxId>;

impl Sizes {
    /// The mailbox changes, and its file perhaps does not.
    pub fn forget(&self, which: Which) {
        self.sizes().remove(&which);
    }

    fn of(&self, which: Which, file: Stamp) -> Option<u64> {
        self.sizes().get(&which).filter(|(known, _)| *known == file).map(|(_, size)| *size)
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<Which, (Stamp, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Bytes of all messages of the account, as clients see them.
    pub fn usage(&self, account: &Account) -> Result<u64, MailboxError> {
        let user = self.user(account)?;
        let listed = Folders::of(user.clone()).list().map_err(|error| match error {
            FolderError::Mailbox(error) => error,
            other => MailboxError::Io(io::Error::other(other.to_string())),
        })?;
        let mut used = 0;
        for folder in &listed {
            if let Kind::Mailbox(id) = folder.kind {
                used += self.size_of(&user, &folder.name, id)?;
            }
        }
        Ok(used)
    }

    fn size_of(&self, user: &Arc<User>, name: &FolderName, id: MailboxId) -> Result<u64, MailboxError> {
        let (which, stat) = match name.is_inbox() {
            true => (None, user.shared.disk.stat(&user.shared.mail.join(&user.account.name))),
            false => (Some(id), user.disk.stat(&user.path(name))),
        };
        let known = match stat {
            Ok(stat) => user.sizes.of(which, stat.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(0),
            Err(error) => return Err(error.into()),
        };
        match known.map_or_else(|| self.open(&user.account, name)?.size(), Ok) {
            // It was removed just now.
            Err(MailboxError::Nonexistent | MailboxError::Gone) => Ok(0),
            size => size,
        }
    }

    /// Does something while nobody else does such a thing to the account, neither here nor in another daemon of this spool. What
    /// is done may take any other lock.
    pub fn in_turn<T>(&self, account: &Account, act: impl FnOnce() -> T) -> Result<T, MailboxError> {
        self.user(account)?.in_turn(act)
    }
}

impl Mailbox {
    fn size(&self) -> Result<u64, MailboxError> {
        let mut inner = self.enter();
        self.finish_intents(&mut inner)?;
        drop(self.look(&mut inner)?);
        let size = inner.rows().counts().size;
        let now = i128::from(self.shared.clock.now().0) * 1_000;
        if let Some(loaded) = inner.table.as_ref().filter(|loaded| !inner.doubt.open && loaded.stamp.ctime < now - LATELY) {
            // Under the mutex: who changes the table forgets it after this.
            self.user.sizes.sizes().insert(self.places.id, (loaded.stamp, size));
        }
        Ok(size)
    }
}
