//! The loop of a session, and its states.
//!
//! ```text
//! fresh ──EHLO, HELO──► greeted ──MAIL──► open ──DATA, RSET, EHLO──► greeted
//!   ▲                      │               │                             ▲
//!   └──────STARTTLS────────┘               └──BDAT──► chunks ──BDAT LAST, RSET, EHLO
//! ```
//!
//! The state is what the fields say (no greeting yet; no transaction; a transaction; one whose message has begun), and each
//! state has one table of the verbs that are legal in it. Handlers return an [`Outcome`]; only the loop ends the session.
//! Replies to pipelined commands gather in the connection, which writes them before it waits for more.

use super::Server;
use super::bdat::Arriving;
use super::mail::Transaction;
use super::policy::Client;
use super::screen::Screened;
use crate::config::Protocol;
use crate::net::{Connection, Line, NetError, Peer};
use crate::smtp::command::{Command, CommandError, MOST_AUTH_LINE, Verb, is_of_bdat};
use crate::smtp::reply::{self, Reply};
use std::time::Duration;

/// Commands between two messages that bring no message nearer, before a session is ended.
const MOST_IDLE: usize = 100;

/// From MAIL to DATA.
const MOST_ENVELOPE: Duration = Duration::from_secs(30 * 60);

/// What a command comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Reply and go on.
    Say(Reply),
    /// Reply and close.
    Close(Reply),
    /// Reply, then the handshake.
    Secure(Reply),
    /// Close without a word: no reply would be true.
    Vanish,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub server: &'a Server,
    pub connection: Connection,
    /// Its name in the log.
    pub name: &'a str,
    pub protocol: Protocol,
    offer_tls: bool,
    /// How the client called itself, since it did.
    pub hello: Option<Hello>,
    /// Who has logged in.
    pub login: Option<String>,
    pub transaction: Option<Transaction>,
    /// The message of a transaction that has given its envelope away, in chunks.
    pub arriving: Option<Arriving>,
    pub tally: Tally,
    /// Whether a blocklist has this client, once that was asked.
    pub listed: Option<Option<Screened>>,
    /// Since the last message: faults, and commands that bring none nearer.
    faults: usize,
    idle: usize,
    /// How often the reply to this command is said: in LMTP a message is answered for each recipient (RFC 2033 §4.2).
    pub answers: usize,
    scratch: Vec<u8>,
}

/// The client's greeting, made ready for the trace field.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    /// As it came.
    pub name: String,
    /// `name ([address])`
    pub from: String,
    /// EHLO.
    pub extended: bool,
}

/// For the last line in the log.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub messages: u64,
    pub recipients: u64,
    faults: u64,
}

/// What a session can be in.
#[derive(Copy, Clone, Debug)]
pub(super) enum State {
    Fresh,
    Greeted,
    Open,
    Chunks,
}

impl State {
    /// The verbs that are legal.
    fn verbs(self) -> &'static [Verb] {
        use Verb::{Auth, Bdat, Data, Ehlo, Helo, Help, Lhlo, Mail, Noop, Quit, Rcpt, Rset, Starttls, Vrfy};
        match self {
            // Where BDAT is not legal, what comes with it must be read over all the same.
            State::Fresh => &[Ehlo, Helo, Lhlo, Quit, Noop, Rset, Help, Vrfy, Bdat],
            State::Greeted => &[Mail, Quit, Rset, Auth, Starttls, Ehlo, Helo, Lhlo, Noop, Help, Vrfy, Bdat],
            State::Open => &[Rcpt, Data, Bdat, Rset, Quit, Ehlo, Helo, Lhlo, Noop, Help, Vrfy],
            State::Chunks => &[Bdat, Rset, Quit, Ehlo, Helo, Lhlo, Noop, Help, Vrfy],
        }
    }

    /// What the others get.
    pub(super) fn refusal(self) -> Reply {
        match self {
            State::Fresh => reply::GREET_FIRST,
            State::Greeted => reply::MAIL_FIRST,
            State::Open => reply::IN_TRANSACTION,
            State::Chunks => reply::IN_CHUNKS,
        }
    }
}

impl<'a> Session<'a> {
    pub(super) fn new(
        server: &'a Server,
        connection: Connection,
        name: &'a str,
        protocol: Protocol,
        offer_tls: bool,
    ) -> Session<'a> {
        let login = super::login::of_peer(connection.peer(), protocol);
        let offer_tls = offer_tls && server.tls.is_some();
        Session {
            server,
            connection,
            name,
            protocol,
            offer_tls,
            hello: None,
            login,
            transaction: None,
            arriving: None,
            tally: Tally::default(),
            listed: None,
            faults: 0,
            idle: 0,
            answers: 1,
            scratch: Vec::new(),
        }
    }

    /// From banner to close.
    pub(super) fn run(mut self) {
        let tls = self.connection.tls().map_or("none", |info| info.version.as_str());
        let peer = self.connection.peer();
        log::info!("session={} smtp connect peer={peer} service={} tls={tls}", self.name, self.protocol.name());
        self.connection.set_timeout(self.server.config.timeouts.command);
        let (end, farewell) = match self.converse() {
            Ok(end) => (end, None),
            Err(NetError::Timeout) => ("timeout", Some(reply::TIMED_OUT)),
            Err(NetError::Closed) if self.connection.told_to_leave() => ("stopping", Some(reply::STOPPING)),
            Err(NetError::Closed) => ("lost", None),
            Err(NetError::Io(error)) => {
                log::info!("session={} smtp broken error={:?}", self.name, error.to_string());
                ("error", None)
            }
        };
        if let Some(farewell) = farewell {
            let _ = self.say(&farewell);
        }
        let _ = self.connection.flush();
        let Tally { messages, recipients, faults } = self.tally;
        log::info!("session={} smtp end reason={end} messages={messages} recipients={recipients} faults={faults}", self.name);
    }

    /// Lines in, replies out. Returns why it is over.
    fn converse(&mut self) -> Result<&'static str, NetError> {
        // Who speaks first does not listen: a spammer's script, or somebody else's request (RFC 5321 §4.3.1).
        if self.is_strict() && self.connection.input_pending() {
            log::info!("session={} smtp refused reason=early", self.name);
            self.say(&reply::EARLY)?;
            return Ok("early");
        }
        let hostname = &self.server.config.hostname;
        self.say(&Reply::new(220, "", format!("{hostname} {} Pillarbox", if self.is_lmtp() { "LMTP" } else { "ESMTP" })))?;
        let mut line = Vec::new();
        loop {
            self.connection.set_deadline(Some(self.patience()));
            self.answers = 1;
            let outcome = match self.connection.read_line(MOST_AUTH_LINE, &mut line)? {
                Line::Whole => self.obey(&line)?,
                Line::TooLong => Outcome::Say(reply::LINE_TOO_LONG),
                Line::Malformed => Outcome::Say(reply::UNREADABLE),
            };
            match outcome {
                Outcome::Say(reply) => {
                    let reply = self.count(reply);
                    self.answer(&reply)?;
                    if reply.code() == 421 {
                        return Ok("faults");
                    }
                }
                Outcome::Secure(reply) => {
                    self.say(&reply)?;
                    self.secure()?;
                }
                Outcome::Close(reply) => {
                    self.answer(&reply)?;
                    return Ok(if reply.code() == 221 { "quit" } else { "refused" });
                }
                Outcome::Vanish => return Ok("uncertain"),
            }
        }
    }

    /// How long the next command may take to arrive: an envelope, too, must be done some time.
    fn patience(&self) -> Duration {
        let command = self.server.config.timeouts.command;
        let (begun, most) = match (&self.transaction, &self.arriving) {
            (_, Some(arriving)) => (arriving.begun, MOST_ENVELOPE + arriving.patience()),
            (Some(open), None) => (open.begun, MOST_ENVELOPE),
            (None, None) => return command,
        };
        command.min(most.saturating_sub(self.server.clock.elapsed().saturating_sub(begun)))
    }

    /// Carries out one line.
    fn obey(&mut self, line: &[u8]) -> Result<Outcome, NetError> {
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(CommandError::Foreign) => return Ok(Outcome::Close(reply::WRONG_PROTOCOL)),
            Err(error) if is_of_bdat(line) => return Ok(Outcome::Close(error.reply())),
            Err(error) => return Ok(Outcome::Say(error.reply())),
        };
        if let Some(refusal) = self.other_tongue(command.verb()) {
            return Ok(refusal);
        }
        let state = self.state();
        if !state.verbs().contains(&command.verb()) {
            return Ok(Outcome::Say(state.refusal()));
        }
        Ok(match command {
            Command::Helo(name) => Outcome::Say(self.greet(name, false)),
            Command::Ehlo(name) | Command::Lhlo(name) => Outcome::Say(self.greet(name, true)),
            Command::Starttls => self.start_tls()?,
            Command::Auth { mechanism, initial } => self.log_in(mechanism, initial)?,
            Command::Mail(mail) => Outcome::Say(self.mail(mail)),
            Command::Rcpt(rcpt) => Outcome::Say(self.rcpt(rcpt)),
            Command::Data => self.data()?,
            Command::Bdat { size, last } => self.bdat(size, last)?,
            Command::Rset => {
                self.reset();
                Outcome::Say(reply::OK)
            }
            Command::Noop => Outcome::Say(reply::OK),
            Command::Vrfy => Outcome::Say(reply::NOT_VERIFIED),
            Command::Help => Outcome::Say(Reply::fixed(214, "2.0.0", "RFC 5321 tells it all; for more ask postmaster")),
            Command::Quit => Outcome::Close(reply::BYE),
        })
    }

    pub(super) fn is_lmtp(&self) -> bool {
        self.protocol == Protocol::Lmtp
    }

    /// SMTP and LMTP must not be taken for each other (RFC 2033 §4.1). BDAT is not offered in LMTP; its bytes can't be
    /// told from commands then.
    fn other_tongue(&self, verb: Verb) -> Option<Outcome> {
        match verb {
            Verb::Helo | Verb::Ehlo if self.is_lmtp() => Some(Outcome::Say(reply::UNKNOWN)),
            Verb::Lhlo if !self.is_lmtp() => Some(Outcome::Say(reply::UNKNOWN)),
            Verb::Bdat if self.is_lmtp() => Some(Outcome::Close(reply::NOT_IMPLEMENTED)),
            _ => None,
        }
    }

    pub(super) fn state(&self) -> State {
        match (&self.hello, &self.transaction, &self.arriving) {
            (None, ..) => State::Fresh,
            (Some(_), _, Some(_)) => State::Chunks,
            (Some(_), None, None) => State::Greeted,
            (Some(_), Some(_), None) => State::Open,
        }
    }

    /// Keeps count of faults and of commands that lead nowhere; too many of either end the session.
    fn count(&mut self, reply: Reply) -> Reply {
        if reply.is_fault() || reply == reply::LOGIN_LATER {
            self.faults += 1;
            self.tally.faults += 1;
            if self.faults >= self.server.config.limits.errors {
                log::info!("session={} smtp faults count={} last={}", self.name, self.faults, reply.code());
                return reply::TOO_MANY_ERRORS;
            }
        }
        let open = self.transaction.is_some() || self.arriving.is_some();
        self.idle = if open { self.idle } else { self.idle + 1 };
        if self.idle > MOST_IDLE {
            return reply::TOO_IDLE;
        }
        reply
    }

    /// Forgets the transaction, however far it has come.
    pub(super) fn reset(&mut self) {
        (self.transaction, self.arriving) = (None, None);
    }

    /// A message was taken: what went before is forgiven.
    pub(super) fn forgive(&mut self) {
        (self.faults, self.idle) = (0, 0);
    }

    /// Queues the reply to a command, as often as it is to be said.
    fn answer(&mut self, reply: &Reply) -> Result<(), NetError> {
        (0..self.answers).try_for_each(|_| self.say(reply))
    }

    /// Queues a reply.
    pub(super) fn say(&mut self, reply: &Reply) -> Result<(), NetError> {
        self.scratch.clear();
        reply.write(&mut self.scratch);
        self.connection.put(&self.scratch)
    }

    /// Another host must wait where the standard says so. A process of this host may send a script at once: people pipe
    /// such things into `sendmail -bs`, and we know who it is.
    pub(super) fn is_strict(&self) -> bool {
        matches!(self.connection.peer(), Peer::Tcp(_))
    }

    /// For [`super::policy`].
    pub(super) fn client(&self) -> Client<'_> {
        Client {
            peer: self.connection.peer(),
            protocol: self.protocol,
            encrypted: self.connection.tls().is_some(),
            starttls: self.offer_tls,
            logged_in: self.login.is_some(),
        }
    }
}
