//! Hands a message to the daemon by SMTP. The daemon knows the caller by the credentials of the socket.

use super::letter::Letter;
use crate::ctl::Failure;
use crate::ctl::call::unreachable_daemon;
use crate::mail::dsn::Notify;
use crate::mail::{Address, MailDsn, ReversePath};
use crate::net::{Connection, Line, NetError};
use crate::smtp::client::Extensions;
use crate::smtp::client::reply::{Parser, Reply};
use crate::sys::exit;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// For each reply; the one to the message waits for the disk.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes of a reply line.
const REPLY_LINE: usize = 4096;

/// Who sends, to whom, and of what the sender wants to hear.
pub struct Envelope<'a> {
    pub sender: &'a ReversePath,
    pub recipients: &'a [Address],
    pub dsn: &'a MailDsn,
    /// For each recipient.
    pub notify: Option<Notify>,
}

impl Envelope<'_> {
    /// MAIL, for who understands these extensions. What the header holds beyond ASCII programs may have written in any charset:
    /// it goes as it is, and nothing is said of it.
    pub fn mail(&self, extensions: &Extensions, letter: &Letter) -> String {
        let Envelope { sender, recipients, dsn, .. } = self;
        let body = if letter.is_eight_bit() && extensions.eight_bit { " BODY=8BITMIME" } else { "" };
        let international = !sender.is_ascii() || !recipients.iter().all(Address::is_ascii);
        let utf8 = if international && extensions.utf8 { " SMTPUTF8" } else { "" };
        format!("MAIL FROM:<{sender}>{body}{utf8}{dsn}")
    }

    /// RCPT.
    pub fn rcpt(&self, recipient: &Address) -> String {
        let notify = self.notify.map(|notify| format!(" NOTIFY={notify}")).unwrap_or_default();
        format!("RCPT TO:<{recipient}>{notify}")
    }
}

/// Why a message was not handed in.
pub enum Unsent {
    /// No daemon is there to take it: it is in nobody's hands.
    NoDaemon(Failure),
    /// It is refused, or nobody knows.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Unsent {
    fn from(failure: E) -> Unsent {
        Unsent::Failed(failure.into())
    }
}

/// Hands it in. If some recipients are refused for good the others get it, and the refused ones are told on standard error;
/// if one can't be had now nobody gets it, so that the caller can try again without sending twice.
pub fn submit(socket: &Path, hostname: &str, envelope: &Envelope<'_>, letter: &mut Letter) -> Result<(), Unsent> {
    let stream = UnixStream::connect(socket).map_err(|error| {
        let failure = unreachable_daemon(socket, &error);
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Unsent::NoDaemon(failure),
            _ => Unsent::Failed(failure),
        }
    })?;
    let mut session = Session { connection: Connection::from_unix(stream)? };
    session.connection.set_timeout(PATIENCE);
    session.expect(None, "the greeting")?;
    let extensions = Extensions::of(&session.expect(Some(&format!("EHLO {hostname}")), "EHLO")?);
    session.expect(Some(&envelope.mail(&extensions, letter)), "the sender")?;
    let refused = session.name_recipients(envelope)?;
    if refused.as_ref().is_none_or(|(count, _)| *count < envelope.recipients.len()) {
        session.expect(Some("DATA"), "DATA")?;
        let mut writer = session.connection.dot_writer();
        letter.write_wire(&mut writer)?;
        writer.finish().map_err(|error| lost(&error))?;
        session.answer("the message")?;
    }
    // It is handed in: whatever happens to the farewell changes nothing.
    let _ = session.ask("QUIT");
    match refused {
        Some((_, code)) => Err(Failure { code, what: String::new() }.into()),
        None => Ok(()),
    }
}

struct Session {
    connection: Connection,
}

impl Session {
    /// How many were refused for good, and the code to end with.
    fn name_recipients(&mut self, envelope: &Envelope<'_>) -> Result<Option<(usize, u8)>, Unsent> {
        let mut refused = None;
        for recipient in envelope.recipients {
            let reply = self.ask(&envelope.rcpt(recipient))?;
            if reply.is_positive() {
                continue;
            }
            if !reply.is_permanent() {
                return Err(told(&reply, Failure::new(exit::TEMPFAIL, format!("{recipient}: {reply}"))));
            }
            let _ = writeln!(io::stderr(), "sendmail: {recipient}: {reply}");
            // Bad destination mailbox address, or domain (RFC 3463 §3.2).
            let nobody = reply.enhanced.is_some_and(|code| code.1 == 1) || reply.code == 550;
            let (count, _) = refused.unwrap_or_default();
            refused = Some((count + 1, if nobody { exit::NOUSER } else { exit::UNAVAILABLE }));
        }
        Ok(refused)
    }

    /// Says something, if anything is to be said, and wants a positive reply.
    fn expect(&mut self, line: Option<&str>, about: &str) -> Result<Reply, Unsent> {
        match line {
            Some(line) => self.ask(line).and_then(|reply| positive(reply, about)),
            None => self.reply().map_err(Unsent::NoDaemon).and_then(|reply| positive(reply, about)),
        }
    }

    /// The last reply. Without it nobody knows whether the message was taken.
    fn answer(&mut self, about: &str) -> Result<Reply, Unsent> {
        self.reply().map_err(Unsent::Failed).and_then(|reply| positive(reply, about))
    }

    fn ask(&mut self, line: &str) -> Result<Reply, Unsent> {
        self.connection.put(format!("{line}\r\n").as_bytes()).map_err(|error| Unsent::NoDaemon(lost(&error)))?;
        self.reply().map_err(Unsent::NoDaemon)
    }

    fn reply(&mut self) -> Result<Reply, Failure> {
        let mut parser = Parser::default();
        let mut line = Vec::new();
        loop {
            let garbled = |why: &str| Failure::new(exit::TEMPFAIL, format!("the daemon's answer makes no sense: {why}"));
            match self.connection.read_line(REPLY_LINE, &mut line).map_err(|error| lost(&error))? {
                Line::Whole => {}
                Line::TooLong | Line::Malformed => return Err(garbled("not a line")),
            }
            if let Some(reply) = parser.push(&line).map_err(|why| garbled(why.0))? {
                return Ok(reply);
            }
        }
    }
}

fn positive(reply: Reply, about: &str) -> Result<Reply, Unsent> {
    if reply.code < 400 {
        return Ok(reply);
    }
    let code = if reply.is_permanent() { exit::UNAVAILABLE } else { exit::TEMPFAIL };
    let failure = Failure::new(code, format!("the daemon refuses {about}: {reply}"));
    Err(told(&reply, failure))
}

/// A daemon that says 421 is leaving, or has too much to do (RFC 5321 §3.8).
fn told(reply: &Reply, failure: Failure) -> Unsent {
    if reply.code == 421 { Unsent::NoDaemon(failure) } else { Unsent::Failed(failure) }
}

fn lost(error: &NetError) -> Failure {
    Failure::new(exit::TEMPFAIL, format!("the daemon went away: {error}"))
}
