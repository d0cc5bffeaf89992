//! The transaction and update phases (RFC 1939 §5, §6): the maildrop is ours.

use super::authorization::{Context, capabilities};
use super::command::{Command, Fault, Number, parse};
use super::marks::Marks;
use super::outcome::{Message, Outcome};
use super::reply::{Code, Reply};
use super::top::Top;
use crate::host::Account;
use crate::mailbox::{Lease, Mailbox, MailboxError, Store, Summary, View};
use std::fmt::{Display, Write as _};
use std::sync::Arc;

/// A maildrop as one session sees it, held so that no other POP3 session gets it meanwhile.
#[derive(Debug)]
pub(super) struct Maildrop {
    view: View,
    /// As it was at the start: numbers never shift during a session.
    messages: Vec<Summary>,
    marks: Marks,
    mailbox: Arc<Mailbox>,
    /// The session's name in the log.
    session: String,
    /// Given back last, when all is done.
    _lease: Lease,
}

impl Maildrop {
    /// Takes the lease, then looks what is there.
    pub(super) fn open(store: &Store, account: &Account, session: &str) -> Result<Maildrop, MailboxError> {
        let mailbox = store.inbox(account)?;
        let lease = mailbox.lease()?;
        let view = mailbox.view()?;
        let messages = view.messages()?;
        Ok(Maildrop { view, messages, marks: Marks::default(), mailbox, session: session.to_owned(), _lease: lease })
    }

    /// The table of this phase.
    pub(super) fn take(&mut self, context: &Context<'_>, line: Result<&[u8], Fault>) -> Outcome<'_> {
        match line.and_then(parse) {
            Ok(Command::Capa) => capabilities(&context.terms, &context.mechanisms(), false),
            Ok(Command::Dele(number)) => self.dele(number),
            Ok(Command::List(None)) => self.list("sizes follow", |message| message.size),
            Ok(Command::List(Some(number))) => self.list_one(number, |message| message.size),
            Ok(Command::Noop) => Reply::done("").into(),
            Ok(Command::Quit) => Outcome::Quit,
            Ok(Command::Retr(number)) => self.send(number, None),
            Ok(Command::Rset) => self.rset(),
            Ok(Command::Stat) => self.stat(),
            Ok(Command::Top { number, lines }) => self.send(number, Some(Top::new(lines))),
            Ok(Command::Uidl(None)) => self.list("unique-ids follow", self.unique_id()),
            Ok(Command::Uidl(Some(number))) => self.list_one(number, self.unique_id()),
            Ok(Command::Auth { .. } | Command::Pass(_) | Command::Stls | Command::User(_) | Command::Utf8) => {
                Reply::refused("you are logged in").into()
            }
            Err(fault) => fault.into(),
        }
    }

    /// How many messages are not marked as deleted, and their bytes.
    pub(super) fn count(&self) -> (usize, u64) {
        self.marks.count(&self.messages)
    }

    fn stat(&self) -> Outcome<'static> {
        let (count, octets) = self.count();
        Reply::done(format!("{count} {octets}")).into()
    }

    /// `uidvalidity.uid`: as unique and as lasting as these two are (RFC 1939 §7, RFC 3501 §2.3.1.1).
    fn unique_id(&self) -> impl Fn(&Summary) -> String + use<> {
        let validity = self.view.uid_validity();
        move |message| format!("{validity}.{}", message.uid.0)
    }

    fn list<T: Display>(&self, first: &'static str, show: impl Fn(&Summary) -> T) -> Outcome<'static> {
        let mut lines = String::new();
        for (number, message) in self.marks.alive(&self.messages) {
            // Writing to a string does not fail.
            let _ = write!(lines, "{number} {}\r\n", show(message));
        }
        Outcome::Lines(Reply::done(first), lines)
    }

    fn list_one<T: Display>(&self, number: Number, show: impl Fn(&Summary) -> T) -> Outcome<'static> {
        match self.marks.find(&self.messages, number) {
            Some(message) => Reply::done(format!("{number} {}", show(message))).into(),
            None => Reply::no_such_message().into(),
        }
    }

    fn send(&self, number: Number, top: Option<Top>) -> Outcome<'_> {
        let Some(message) = self.marks.find(&self.messages, number) else {
            return Reply::no_such_message().into();
        };
        let begun =
            self.view.read(message.uid).and_then(|text| Message::begin(text, message.size, top).map_err(MailboxError::Io));
        match begun {
            Ok(text) if text.is_whole() => Outcome::Message(Reply::done(format!("{} octets", message.size)), text),
            Ok(text) => Outcome::Message(Reply::done("the top follows"), text),
            Err(error) => {
                let uid = message.uid.0;
                log::warn!("session={} pop3 unreadable uid={uid} reason={:?}", self.session, error.to_string());
                Reply::from(error).into()
            }
        }
    }

    fn dele(&mut self, number: Number) -> Outcome<'static> {
        if self.marks.mark(&self.messages, number) {
            Reply::done("it goes away when you quit").into()
        } else {
            Reply::no_such_message().into()
        }
    }

    fn rset(&mut self) -> Outcome<'static> {
        self.marks.reset();
        self.stat()
    }

    /// The update phase: removes what is marked, gives the maildrop back, and only then is there anything to say. Gives
    /// the reply and how many were removed.
    pub(super) fn update(self) -> (Reply, usize) {
        let doomed = self.marks.doomed(&self.messages);
        if doomed.is_empty() {
            return (goodbye(), 0);
        }
        match self.mailbox.expunge(&doomed) {
            Ok(()) => (goodbye(), doomed.len()),
            Err(error) => {
                log::warn!("session={} pop3 undeleted messages={} reason={:?}", self.session, doomed.len(), error.to_string());
                (Reply::failed(Code::SysTemp, "some deleted messages not removed"), 0)
            }
        }
    }
}

/// The reply to QUIT.
pub(super) fn goodbye() -> Reply {
    Reply::done("goodbye")
}
