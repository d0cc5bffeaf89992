//! Names of messages in links and forms: `UIDVALIDITY-UID`. Pure.

use crate::mailbox::{FolderName, Uid, View};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::str::FromStr;

/// Characters that need no escape in a part of a path (RFC 3986 §2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A message of a folder that is known.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub validity: u32,
    pub uid: Uid,
}

impl Reference {
    /// Of a message of this folder.
    pub(super) fn of(view: &View, uid: Uid) -> Reference {
        Reference { validity: view.uid_validity(), uid }
    }

    /// The UID, if the folder is the one it was given in.
    pub(super) fn in_view(self, view: &View) -> Option<Uid> {
        (self.validity == view.uid_validity()).then_some(self.uid)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.validity, self.uid.0)
    }
}

impl FromStr for Reference {
    type Err = ();
    fn from_str(text: &str) -> Result<Reference, ()> {
        let (validity, uid) = text.split_once('-').ok_or(())?;
        Ok(Reference { validity: validity.parse().map_err(drop)?, uid: Uid(uid.parse().map_err(drop)?) })
    }
}

/// Text as one part of a path, or one value of a query.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Where a folder is shown.
pub(super) fn folder_path(folder: &FolderName) -> String {
    format!("/m/{}", escaped(folder.as_str()))
}

/// Where a message is shown.
pub(super) fn message_path(folder: &FolderName, message: Reference) -> String {
    format!("/m/{}/{message}", escaped(folder.as_str()))
}

/// What a person reads for a folder's name.
pub(super) fn shown(folder: &FolderName) -> &str {
    if folder.is_inbox() { "Inbox" } else { folder.as_str() }
}
