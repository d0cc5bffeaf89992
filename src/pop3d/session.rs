//! The loop of a session. It alone reads and writes; what a line means is the business of its phase.

use super::Server;
use super::authorization::{Authorization, Context, Terms};
use super::command::{Fault, MOST_LINE};
use super::outcome::{Message, Outcome, Trouble};
use super::reply::Reply;
use super::transaction::{Maildrop, goodbye};
use crate::auth::sasl;
use crate::config::schema::Timeouts;
use crate::net::{Connection, Line, NetError};
use crate::sys::unix::give_back_stack;
use std::fmt;
use std::io::{self, Write};

/// Serves one client to the end.
pub(super) fn serve(server: &Server, connection: Connection, session: &str, offer_tls: bool) {
    let peer = connection.peer().clone();
    let offered = offer_tls && server.tls.is_some();
    let terms = Terms::of(&peer, connection.tls().is_some(), offered, server.config.plaintext_always);
    log::info!("session={session} pop3 connect peer={} tls={}", peer, ShownTls(&connection));
    let context = Context { server, session, peer, tls: connection.tls().cloned(), terms };
    let wire = Wire { connection, behind_stls: false, tally: Tally::default() };
    let mut session = Session { context, wire, phase: Phase::Authorization(Authorization::default()) };
    let end = session.talk().unwrap_or_else(End::Lost);
    session.leave(&end);
}

#[derive(Debug)]
struct Session<'a> {
    phase: Phase,
    context: Context<'a>,
    wire: Wire,
}

/// Where a session is (RFC 1939 §3).
#[derive(Debug)]
enum Phase {
    Authorization(Authorization),
    Transaction(Box<Maildrop>),
    Update,
}

/// The side of the session that talks.
#[derive(Debug)]
struct Wire {
    connection: Connection,
    /// More came behind a STLS that was refused for that.
    behind_stls: bool,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    errors: usize,
    /// Messages sent whole.
    retrieved: usize,
    /// Bytes of messages sent, in part or whole.
    octets: u64,
    deleted: usize,
}

/// How a session ended.
#[derive(Debug)]
enum End {
    Quit,
    /// Too many errors, or a web browser.
    Thrown,
    /// A message could not be read to its end.
    Unreadable(io::Error),
    /// The peer is gone or silent, or we are told to leave.
    Lost(NetError),
}

/// What comes after an outcome.
#[derive(Debug)]
enum Next {
    Line,
    Encrypted,
    Transaction(Box<Maildrop>),
    Update,
    End(End),
}

impl Session<'_> {
    fn talk(&mut self) -> Result<End, NetError> {
        let config = &self.context.server.config;
        self.wire.say(&Reply::done(format!("{} POP3 server ready", config.hostname)))?;
        loop {
            let limit = if matches!(self.phase, Phase::Authorization(_)) { sasl::MOST_LINE } else { MOST_LINE };
            let mut line = Vec::new();
            let line = match self.wire.read_line(&config.timeouts, limit, &mut line)? {
                Line::Whole => Ok(line.as_slice()),
                Line::TooLong => Err(Fault::TooLong),
                Line::Malformed => Err(Fault::Malformed),
            };
            let outcome = match &mut self.phase {
                _ if self.wire.behind_stls => Reply::refused("nothing may be sent behind STLS").into(),
                Phase::Authorization(state) => state.take(&self.context, line),
                Phase::Transaction(maildrop) => maildrop.take(&self.context, line),
                Phase::Update => Outcome::Quit,
            };
            match self.wire.carry_out(&self.context, outcome)? {
                Next::Line => {}
                Next::Encrypted => self.renew(),
                Next::Transaction(maildrop) => {
                    self.phase = Phase::Transaction(maildrop);
                    // The password's check went deep, and nothing in this phase does.
                    give_back_stack();
                }
                Next::Update => return self.update(),
                Next::End(end) => return Ok(end),
            }
            if self.wire.tally.errors >= config.limits.errors.max(1) {
                return Ok(End::Thrown);
            }
        }
    }

    /// Behind TLS nothing counts that was said before it (RFC 2595 §4).
    fn renew(&mut self) {
        self.context.terms = Terms { stls: false, passwords: true };
        self.context.tls = self.wire.connection.tls().cloned();
        self.phase = Phase::Authorization(Authorization::default());
    }

    /// The maildrop is given back before the client hears of it: it may come again at once.
    fn update(&mut self) -> Result<End, NetError> {
        let reply = match std::mem::replace(&mut self.phase, Phase::Update) {
            Phase::Transaction(maildrop) => {
                let (reply, deleted) = maildrop.update();
                self.wire.tally.deleted = deleted;
                reply
            }
            Phase::Authorization(_) | Phase::Update => goodbye(),
        };
        self.wire.say(&reply)?;
        Ok(End::Quit)
    }

    /// Last words, as far as they are in order: none after a time-out (RFC 1939 §3), and nothing that a client could take
    /// for the rest of a message. The maildrop is given back first.
    fn leave(self, end: &End) {
        let Session { phase, context, mut wire } = self;
        drop(phase);
        let stopping = matches!(end, End::Lost(NetError::Closed)) && wire.connection.told_to_leave();
        let last = match end {
            End::Quit | End::Thrown => wire.connection.flush(),
            End::Lost(_) if stopping => wire.say(&Reply::farewell()).and_then(|()| wire.connection.flush()),
            End::Unreadable(_) | End::Lost(_) => Ok(()),
        };
        let Tally { retrieved, octets, deleted, .. } = wire.tally;
        let session = context.session;
        let reason =
            if stopping { "stopping".to_owned() } else { last.err().map_or_else(|| end.to_string(), |error| error.to_string()) };
        log::info!("session={session} pop3 end reason={reason:?} retrieved={retrieved} octets={octets} deleted={deleted}");
    }
}

impl Wire {
    fn say(&mut self, reply: &Reply) -> Result<(), NetError> {
        self.connection.put(reply.to_string().as_bytes())
    }

    /// Waits for the next line. Memory is given back before a wait that may be long, and the whole line must be there in
    /// time, however slowly it trickles in.
    fn read_line(&mut self, timeouts: &Timeouts, limit: usize, line: &mut Vec<u8>) -> Result<Line, NetError> {
        // Asked before the client can have seen the refusal: what comes after that is in order again.
        self.behind_stls = self.behind_stls && self.connection.input_pending();
        if !self.connection.has_input() {
            self.connection.flush()?;
            self.connection.shrink();
        }
        self.connection.set_timeout(timeouts.idle);
        self.connection.set_deadline(Some(timeouts.idle));
        let result = self.connection.read_line(limit, line);
        self.connection.set_timeout(timeouts.data);
        self.connection.set_deadline(None);
        result
    }

    fn carry_out(&mut self, context: &Context<'_>, outcome: Outcome<'_>) -> Result<Next, NetError> {
        match outcome {
            Outcome::Reply(reply) => {
                self.tally.errors += usize::from(reply.is_refusal());
                self.say(&reply)?;
            }
            Outcome::Close(reply) => {
                self.say(&reply)?;
                return Ok(Next::End(End::Thrown));
            }
            Outcome::Challenge(challenge) => {
                self.connection.put(format!("+ {challenge}\r\n").as_bytes())?;
            }
            Outcome::Lines(reply, lines) => {
                self.say(&reply)?;
                let mut writer = self.connection.dot_writer();
                writer.write_all(lines.as_bytes())?;
                writer.finish()?;
            }
            Outcome::Message(reply, message) => return self.send(&reply, message),
            Outcome::Stls => return self.encrypt(context),
            Outcome::LoggedIn(reply, maildrop) => {
                self.say(&reply)?;
                return Ok(Next::Transaction(maildrop));
            }
            Outcome::Quit => return Ok(Next::Update),
        }
        Ok(Next::Line)
    }

    /// A message that breaks off must not look whole: the final dot is left out and the connection closed.
    fn send(&mut self, reply: &Reply, mut message: Message<'_>) -> Result<Next, NetError> {
        self.say(reply)?;
        let mut writer = self.connection.dot_writer();
        match message.send(&mut writer) {
            Ok(octets) => {
                writer.finish()?;
                self.connection.expect_more()?;
                self.tally.octets += octets;
                self.tally.retrieved += usize::from(message.is_whole());
                Ok(Next::Line)
            }
            Err(Trouble::Source(error)) => Ok(Next::End(End::Unreadable(error))),
            Err(Trouble::Sink(error)) => Err(error.into()),
        }
    }

    /// Commands that came in the clear behind STLS are not carried out, neither under TLS (CVE-2011-0411) nor without it.
    fn encrypt(&mut self, context: &Context<'_>) -> Result<Next, NetError> {
        let session = context.session;
        let Some(tls) = &context.server.tls else {
            return self.carry_out(context, Reply::refused("no TLS here").into());
        };
        if self.connection.input_pending() {
            log::warn!("session={session} pop3 refused reason=\"plaintext behind STLS\"");
            self.behind_stls = true;
            return self.carry_out(context, Reply::refused("nothing may be sent behind STLS").into());
        }
        self.say(&Reply::done("begin TLS"))?;
        self.connection.set_deadline(Some(context.server.config.timeouts.data));
        if self.connection.accept_tls(tls)? {
            log::warn!("session={session} pop3 dropped reason=\"plaintext behind STLS\"");
        }
        log::info!("session={session} pop3 stls tls={}", ShownTls(&self.connection));
        Ok(Next::Encrypted)
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Quit => out.write_str("quit"),
            End::Thrown => out.write_str("errors"),
            End::Unreadable(error) => write!(out, "unreadable message: {error}"),
            End::Lost(error) => error.fmt(out),
        }
    }
}

struct ShownTls<'a>(&'a Connection);

impl fmt::Display for ShownTls<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.tls() {
            Some(tls) => write!(out, "{} cipher={}", tls.version, tls.cipher),
            None => out.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    /// The client must see that something is missing.
    #[test]
    fn a_message_that_breaks_off_has_no_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let connection = Connection::from_tcp(listener.accept().unwrap().0).unwrap();
        let mut wire = Wire { connection, behind_stls: false, tally: Tally::default() };
        let text = b"line\r\n".repeat(50_000);
        let message = Message::begin(Box::new(&text[..]), 400_000, None).unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = String::new();
            client.read_to_string(&mut got).unwrap();
            got
        });
        assert!(matches!(wire.send(&Reply::done("400000 octets"), message), Ok(Next::End(End::Unreadable(_)))));
        assert_eq!((wire.tally.retrieved, wire.tally.octets), (0, 0));
        drop(wire);
        let got = reader.join().unwrap();
        assert!(got.starts_with("+OK 400000 octets\r\nline\r\n") && !got.contains("\r\n.\r\n"));
    }
}
