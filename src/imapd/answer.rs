//! What a command comes to: the tagged line, or the end of the session.

use super::grammar::Bad;
use crate::delivery::FileError;
use crate::mailbox::{FolderError, MailboxError};
use crate::net::NetError;
use std::borrow::Cow;
use std::io;

/// The tagged line, without its tag (RFC 9051 §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: Status,
    /// The response code without its brackets; empty: none (RFC 5530).
    pub code: Cow<'static, str>,
    pub text: Cow<'static, str>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    No,
    /// The client's fault; too many end the session.
    Bad,
}

/// Why a session is over.
#[derive(Debug)]
pub(super) enum End {
    /// LOGOUT was answered.
    Logout,
    /// The peer is gone or silent, or we are told to leave.
    Lost(NetError),
    /// It is thrown out, with these last words.
    Thrown(&'static str),
    /// In the middle of something that must not look whole: nothing more is said.
    Broken(String),
}

/// What a handler comes to.
pub(super) type Done = Result<Answer, End>;

impl Answer {
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Answer {
        Answer { status: Status::Ok, code: Cow::Borrowed(""), text: text.into() }
    }

    pub fn no(code: &'static str, text: impl Into<Cow<'static, str>>) -> Answer {
        Answer { status: Status::No, code: Cow::Borrowed(code), text: text.into() }
    }

    pub fn bad(text: impl Into<Cow<'static, str>>) -> Answer {
        Answer { status: Status::Bad, code: Cow::Borrowed(""), text: text.into() }
    }

    pub fn with(self, code: impl Into<Cow<'static, str>>) -> Answer {
        Answer { code: code.into(), ..self }
    }
}

impl From<Bad> for Answer {
    fn from(Bad(why): Bad) -> Answer {
        Answer::bad(why)
    }
}

impl From<MailboxError> for Answer {
    fn from(error: MailboxError) -> Answer {
        match error {
            MailboxError::Busy | MailboxError::InUse => Answer::no("INUSE", error.to_string()),
            MailboxError::Full => Answer::no("OVERQUOTA", error.to_string()),
            MailboxError::Nonexistent => Answer::no("NONEXISTENT", error.to_string()),
            MailboxError::Gone => Answer::no("EXPUNGEISSUED", error.to_string()),
            MailboxError::Refused(_) => Answer::no("CONTACTADMIN", error.to_string()),
            MailboxError::Io(error) => {
                log::error!("imap event=trouble error={:?}", error.to_string());
                Answer::no("UNAVAILABLE", "the mailbox can't be reached now")
            }
        }
    }
}

impl From<FolderError> for Answer {
    fn from(error: FolderError) -> Answer {
        let text = error.to_string();
        match error {
            FolderError::Name(_) | FolderError::IntoItself | FolderError::Inbox | FolderError::HasChildren => {
                Answer::no("CANNOT", text)
            }
            FolderError::Exists => Answer::no("ALREADYEXISTS", text),
            FolderError::Nonexistent => Answer::no("NONEXISTENT", text),
            FolderError::UseTaken => Answer::no("USEATTR", text),
            FolderError::TooMany => Answer::no("LIMIT", text),
            FolderError::Mailbox(error) => error.into(),
        }
    }
}

impl From<FileError> for Result<Answer, End> {
    fn from(error: FileError) -> Done {
        let text = error.to_string();
        Ok(match error {
            FileError::Nonexistent => Answer::no("TRYCREATE", text),
            FileError::Gone => Answer::no("EXPUNGEISSUED", text),
            FileError::Nul => Answer::no("UNKNOWN-CTE", text),
            FileError::HeaderTooBig | FileError::Keyword | FileError::TooMuch => Answer::no("LIMIT", text),
            FileError::Full => Answer::no("OVERQUOTA", text),
            FileError::Later(_) => Answer::no("UNAVAILABLE", text),
            FileError::Uncertain => return Err(End::Broken(text)),
        })
    }
}

impl From<NetError> for End {
    fn from(error: NetError) -> End {
        End::Lost(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Lost(error.into())
    }
}
