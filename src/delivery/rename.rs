//! RENAME of INBOX: its mail goes into a new folder, and INBOX stays, empty (RFC 9051 §6.3.6).
//!
//! The messages are moved as MOVE does it ([`filing`](super::filing)), a group after the other, each all or none: a mailbox may
//! have more of them than one group can hold. Where it stops between two groups, by an error or a crash, the rest is still in
//! INBOX, and no message is lost or in both.

use super::Post;
use super::filing::FileError;
use crate::host::Account;
use crate::mailbox::{FolderError, FolderName, MailboxError, Summary, Uid};
use std::fmt;

/// Messages of one group, and their bytes, if it is more than one message.
const MOST_MESSAGES: usize = 1_000;
const MOST_BYTES: u64 = 16 << 20;
/// Messages may go away while a group is read; it is then read again, so often.
const TRIES: usize = 5;

/// Why INBOX was not renamed.
#[derive(Debug)]
pub enum RenameError {
    /// The folder can't be made; nothing was changed.
    Folder(FolderError),
    /// The folder was made, and so many of so many messages are there; the others are still in INBOX.
    Unfinished(usize, usize, FileError),
}

impl fmt::Display for RenameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RenameError::Folder(error) => error.fmt(out),
            RenameError::Unfinished(moved, all, error) => write!(out, "{moved} of {all} messages moved: {error}"),
        }
    }
}

impl std::error::Error for RenameError {}

impl From<MailboxError> for RenameError {
    fn from(error: MailboxError) -> RenameError {
        RenameError::Folder(error.into())
    }
}

impl Post {
    /// Makes a folder and moves all that is in INBOX there; what is below INBOX stays. Mail that comes meanwhile is INBOX's.
    pub fn rename_inbox(&self, account: &Account, to: &FolderName) -> Result<(), RenameError> {
        self.rename_in_groups(account, to, MOST_MESSAGES)
    }

    pub(super) fn rename_in_groups(&self, account: &Account, to: &FolderName, most: usize) -> Result<(), RenameError> {
        let store = &self.office().store;
        let inbox = store.inbox(account)?.view()?;
        let messages = inbox.messages()?;
        store.folders(account)?.create(to, None).map_err(RenameError::Folder)?;
        let (mut moved, mut tries) = (0, 0);
        for group in groups(&messages, most) {
            loop {
                tries += 1;
                match self.move_to(account, &inbox, &group, to) {
                    Ok(_) => break,
                    Err(FileError::Gone) if tries < TRIES => {}
                    Err(error) => return Err(RenameError::Unfinished(moved, messages.len(), error)),
                }
            }
            (moved, tries) = (moved + group.len(), 0);
        }
        Ok(())
    }
}

fn groups(messages: &[Summary], most: usize) -> Vec<Vec<Uid>> {
    let (mut groups, mut bytes): (Vec<Vec<Uid>>, u64) = (Vec::new(), 0);
    for message in messages {
        bytes += message.size;
        match groups.last_mut() {
            Some(group) if group.len() < most && bytes <= MOST_BYTES => group.push(message.uid),
            _ => {
                groups.push(vec![message.uid]);
                bytes = message.size;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_bounded_and_a_big_message_is_one() {
        let message = |(uid, size)| Summary { uid: Uid(uid), size, ..Summary::default() };
        let sizes = [1, MOST_BYTES - 1, 1, MOST_BYTES * 3, 1, 1];
        let messages: Vec<Summary> = (1..).zip(sizes).map(message).collect();
        assert_eq!(groups(&messages, 1_000), [vec![Uid(1), Uid(2)], vec![Uid(3)], vec![Uid(4)], vec![Uid(5), Uid(6)]]);
        let many: Vec<Summary> = (1..=2_500).map(|uid| message((uid, 1))).collect();
        assert_eq!(groups(&many, 1_000).iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, 500]);
        assert!(groups(&[], 1_000).is_empty());
    }
}
