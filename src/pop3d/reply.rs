//! What is said to the client: the first line of every reply, and the codes a program can read in it (RFC 2449 §8,
//! RFC 3206). Pure.

use super::command::Fault;
use crate::mailbox::MailboxError;
use std::borrow::Cow;
use std::fmt;

/// One line, `+OK` or `-ERR` (RFC 1939 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    kind: Kind,
    code: Option<Code>,
    text: Cow<'static, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Done,
    /// The client asked for something it should not have.
    Refused,
    /// It is not the client's fault.
    Failed,
}

/// Why it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The credentials (RFC 3206 §5).
    Auth,
    /// Somebody else has the maildrop (RFC 2449 §8.1.2).
    InUse,
    /// It may work later (RFC 3206 §4).
    SysTemp,
    /// Somebody has to do something about it (RFC 3206 §4).
    SysPerm,
}

impl Reply {
    /// `+OK`.
    pub(super) fn done(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { kind: Kind::Done, code: None, text: text.into() }
    }

    /// `-ERR`, and it counts as an error of the client.
    pub(super) fn refused(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { kind: Kind::Refused, code: None, text: text.into() }
    }

    /// `-ERR`, for which the client can't be blamed.
    pub(super) fn failed(code: Code, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { kind: Kind::Failed, code: Some(code), text: text.into() }
    }

    /// With a code.
    pub(super) fn with(self, code: Code) -> Reply {
        Reply { code: Some(code), ..self }
    }

    /// Counts it as an error of the client all the same: who tries for ever is not to be listened to for ever.
    pub(super) fn counted(self) -> Reply {
        Reply { kind: Kind::Refused, ..self }
    }

    /// Does it count towards the errors that end a session?
    pub(super) fn is_refusal(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Credentials that don't open anything: the same words for a wrong name and a wrong password.
    pub(super) fn wrong_credentials() -> Reply {
        Reply::refused("wrong name or password").with(Code::Auth)
    }

    /// A message that is marked as deleted, or never was.
    pub(super) fn no_such_message() -> Reply {
        Reply::refused("no such message")
    }

    /// The server is stopping. Nobody asked; a client takes it for the answer to its next command.
    pub(super) fn farewell() -> Reply {
        Reply::failed(Code::SysTemp, "server shutting down")
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Reply {
        match fault {
            Fault::Unknown => Reply::refused("unknown command"),
            Fault::Arguments(usage) => Reply::refused(format!("write it so: {usage}")),
            Fault::Number => Reply::no_such_message(),
            Fault::TooLong => Reply::refused("line too long"),
            Fault::Malformed => Reply::refused("line with a bare CR, a bare LF or a NUL"),
            Fault::Http => Reply::refused("this is no web server"),
        }
    }
}

impl From<MailboxError> for Reply {
    fn from(error: MailboxError) -> Reply {
        match error {
            MailboxError::InUse => Reply::failed(Code::InUse, "another session has the maildrop"),
            MailboxError::Busy => Reply::failed(Code::InUse, "another program has locked the maildrop"),
            MailboxError::Refused(_) => Reply::failed(Code::SysPerm, "the maildrop is not in order"),
            MailboxError::Gone => Reply::failed(Code::SysTemp, "another program has removed the message"),
            MailboxError::Full | MailboxError::Nonexistent | MailboxError::Io(_) => {
                Reply::failed(Code::SysTemp, "the maildrop can't be read now")
            }
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Code::Auth => "[AUTH]",
            Code::InUse => "[IN-USE]",
            Code::SysTemp => "[SYS/TEMP]",
            Code::SysPerm => "[SYS/PERM]",
        })
    }
}

impl fmt::Display for Reply {
    /// The line, with its CRLF.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.kind == Kind::Done { "+OK" } else { "-ERR" })?;
        if let Some(code) = self.code {
            write!(out, " {code}")?;
        }
        if !self.text.is_empty() {
            write!(out, " {}", self.text)?;
        }
        out.write_str("\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pop3d::command::parse;

    #[test]
    fn lines_of_every_kind() {
        for (reply, line) in [
            (Reply::done("2 320"), "+OK 2 320\r\n"),
            (Reply::done(""), "+OK\r\n"),
            (Reply::refused("no"), "-ERR no\r\n"),
            (Reply::wrong_credentials(), "-ERR [AUTH] wrong name or password\r\n"),
            (Reply::farewell(), "-ERR [SYS/TEMP] server shutting down\r\n"),
            (MailboxError::InUse.into(), "-ERR [IN-USE] another session has the maildrop\r\n"),
            (MailboxError::Refused("x").into(), "-ERR [SYS/PERM] the maildrop is not in order\r\n"),
            (Fault::Arguments("LIST [number]").into(), "-ERR write it so: LIST [number]\r\n"),
        ] {
            assert_eq!(reply.to_string(), line);
        }
    }

    #[test]
    fn only_the_client_s_errors_count() {
        assert!(Reply::wrong_credentials().is_refusal());
        assert!(Reply::from(Fault::Unknown).is_refusal());
        assert!(!Reply::from(MailboxError::Busy).is_refusal());
        assert!(Reply::from(MailboxError::Busy).counted().is_refusal());
        assert!(!Reply::done("").is_refusal());
    }

    /// RFC 2449 §3: a text begins with `[` only if it is a code, and a first line has 512 octets at most.
    #[test]
    fn usage_is_no_code() {
        for keyword in ["DELE", "LIST 1 2", "TOP", "AUTH", "USER"] {
            let line = Reply::from(parse(keyword.as_bytes()).unwrap_err()).to_string();
            assert!(line.starts_with("-ERR write it so: ") && line.len() < 512, "{line}");
        }
    }
}
