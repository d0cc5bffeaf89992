//! `sendmail -bs` while the daemon is down: SMTP on standard input and output, as far as it takes to leave messages for the daemon.
//! Whether recipients exist only the daemon knows; senders hear of it by mail.

use super::leave::leave;
use super::letter::Letter;
use super::submit::Envelope;
use crate::config::Config;
use crate::ctl::Failure;
use crate::mail::{Address, Domain, MailDsn, RcptDsn, ReversePath};
use crate::net::{Connection, Dots, Line, NetError};
use crate::smtp::command::{Command, ForwardPath, MOST_LINE, Mail, Rcpt};
use crate::smtp::reply::{self, Reply};
use crate::sys::exit;
use std::io::Seek;

/// What there is of a message before its text.
#[derive(Debug)]
struct Transaction {
    sender: ReversePath,
    recipients: Vec<Address>,
}

struct Dialogue<'a> {
    config: &'a Config,
    here: Domain,
    connection: Connection,
    greeted: bool,
    open: Option<Transaction>,
}

/// Speaks until QUIT, or the end of what is said.
pub fn speak(config: &Config, here: Domain, connection: Connection) -> Result<(), Failure> {
    let mut dialogue = Dialogue { config, here, connection, greeted: false, open: None };
    match dialogue.run() {
        Ok(()) | Err(NetError::Closed) => Ok(()),
        Err(error) => Err(Failure::new(exit::OSERR, error)),
    }
}

impl Dialogue<'_> {
    fn run(&mut self) -> Result<(), NetError> {
        self.say(&Reply::new(220, "", format!("{} ESMTP Pillarbox", self.config.hostname)))?;
        let mut line = Vec::new();
        loop {
            let reply = match self.connection.read_line(MOST_LINE, &mut line)? {
                Line::TooLong => reply::LINE_TOO_LONG,
                Line::Malformed => reply::UNREADABLE,
                Line::Whole => match Command::parse(&line) {
                    Ok(Command::Quit) => {
                        self.say(&reply::BYE)?;
                        return self.connection.flush();
                    }
                    Ok(command) => self.obey(command)?,
                    Err(error) => error.reply(),
                },
            };
            self.say(&reply)?;
        }
    }

    fn obey(&mut self, command: Command<'_>) -> Result<Reply, NetError> {
        Ok(match command {
            Command::Helo(_) | Command::Ehlo(_) => {
                (self.greeted, self.open) = (true, None);
                let extended = matches!(command, Command::Ehlo(_));
                let offers =
                    format!("\nPIPELINING\nSIZE {}\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES", self.config.max_message_size);
                Reply::new(250, "", format!("{}{}", self.config.hostname, if extended { &offers } else { "" }))
            }
            Command::Noop => reply::OK,
            Command::Rset => {
                self.open = None;
                reply::OK
            }
            Command::Vrfy => reply::NOT_VERIFIED,
            Command::Mail(_) if !self.greeted => reply::GREET_FIRST,
            Command::Mail(_) if self.open.is_some() => reply::IN_TRANSACTION,
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(rcpt) => self.rcpt(rcpt),
            Command::Data => self.data()?,
            Command::Quit => reply::BYE,
            Command::Help | Command::Lhlo(_) | Command::Bdat { .. } | Command::Starttls | Command::Auth { .. } => {
                reply::NOT_IMPLEMENTED
            }
        })
    }

    fn mail(&mut self, mail: Mail) -> Reply {
        let Mail { reverse_path, size, body: _, utf8, dsn, require_tls: false, release: None } = mail else {
            return reply::UNKNOWN_PARAMETER;
        };
        if dsn != MailDsn::default() {
            return reply::UNKNOWN_PARAMETER;
        }
        if size.is_some_and(|size| size > self.config.max_message_size) {
            return reply::TOO_BIG;
        }
        if !utf8 && !reverse_path.is_ascii() {
            return reply::SENDER_NEEDS_UTF8;
        }
        self.open = Some(Transaction { sender: reverse_path, recipients: Vec::new() });
        reply::SENDER_OK
    }

    fn rcpt(&mut self, Rcpt { path, dsn }: Rcpt) -> Reply {
        let Some(open) = &mut self.open else { return reply::MAIL_FIRST };
        if dsn != RcptDsn::default() {
            return reply::UNKNOWN_PARAMETER;
        }
        if open.recipients.len() >= self.config.limits.recipients {
            return reply::TOO_MANY_RECIPIENTS;
        }
        let address = match path {
            ForwardPath::Address(address) => address,
            ForwardPath::Postmaster => match Address::new("postmaster", self.here.clone()) {
                Ok(address) => address,
                Err(_) => return reply::LOCAL_ERROR,
            },
        };
        open.recipients.push(address);
        reply::RECIPIENT_OK
    }

    fn data(&mut self) -> Result<Reply, NetError> {
        let Some(Transaction { sender, recipients }) = self.open.take_if(|open| !open.recipients.is_empty()) else {
            return Ok(reply::RCPT_FIRST);
        };
        self.say(&reply::GO_AHEAD)?;
        let mut text = tempfile::tempfile().map_err(NetError::Io)?;
        Ok(match self.connection.read_dots(self.config.max_message_size, &mut text)? {
            Dots::Whole => {
                text.rewind().map_err(NetError::Io)?;
                let envelope = Envelope { sender: &sender, recipients: &recipients, dsn: &MailDsn::default(), notify: None };
                let read = Letter::read(&mut text, true);
                match read.and_then(|mut letter| leave(self.config, &envelope, &mut letter)) {
                    Ok(()) => Reply::fixed(250, "2.0.0", "Ok: left for the daemon, which is down"),
                    Err(Failure { code: exit::UNAVAILABLE, .. }) => reply::TOO_BIG,
                    Err(Failure { what, .. }) => Reply::new(451, "4.3.0", format!("Not taken: {}", what.replace('\n', " "))),
                }
            }
            Dots::TooBig => reply::TOO_BIG,
            Dots::Malformed => reply::MALFORMED_MESSAGE,
            Dots::Sink(_) => reply::NO_ROOM,
        })
    }

    fn say(&mut self, reply: &Reply) -> Result<(), NetError> {
        let mut bytes = Vec::new();
        reply.write(&mut bytes);
        self.connection.put(&bytes)
    }
}
