//! The authorization phase (RFC 1939 §4): who are you?

use super::Server;
use super::command::{Command, Fault, Secret, parse};
use super::outcome::Outcome;
use super::reply::{Code, Reply};
use super::transaction::Maildrop;
use crate::auth::sasl::{Exchange, Mechanism, SaslError, Step};
use crate::auth::{Candidate, Denied, Login, Shown};
use crate::net::{Peer, TlsInfo};

/// What a session has said so far. A command that comes between `USER` and `PASS` makes the name forgotten.
#[derive(Debug, Default)]
pub(super) struct Authorization {
    name: Option<String>,
    exchange: Option<Exchange>,
}

/// Who is asking, and what is allowed on this connection.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) server: &'a Server,
    /// The session's name in the log.
    pub(super) session: &'a str,
    pub(super) peer: Peer,
    pub(super) tls: Option<TlsInfo>,
    pub(super) terms: Terms,
}

impl Context<'_> {
    fn candidate(&self) -> Candidate<'_> {
        let (gate, peer, tls) = (&*self.server.gate, &self.peer, self.tls.as_ref());
        Candidate { gate, peer, tls, service: "pop3", session: self.session }
    }

    /// What AUTH can be told. LOGIN is none of them: there is USER.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        self.candidate().mechanisms().iter().copied().filter(|mechanism| *mechanism != Mechanism::Login).collect()
    }
}

/// What a connection allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// It can be encrypted now.
    pub(super) stls: bool,
    /// Passwords may be sent: nobody listens, or the operator does not mind.
    pub(super) passwords: bool,
}

impl Terms {
    /// `offered`: there is a certificate, and the listener is not without TLS; `always`: passwords may be sent anyhow.
    pub(super) fn of(peer: &Peer, encrypted: bool, offered: bool, always: bool) -> Terms {
        Terms { stls: offered && !encrypted, passwords: encrypted || peer.is_here() || always }
    }
}

impl Authorization {
    /// The table of this phase.
    pub(super) fn take(&mut self, context: &Context<'_>, line: Result<&[u8], Fault>) -> Outcome<'static> {
        if let Some(exchange) = self.exchange.take() {
            return self.respond(context, exchange, line);
        }
        let name = self.name.take();
        match line.and_then(parse) {
            Ok(Command::Auth { .. } | Command::User(_) | Command::Pass(_)) if !context.terms.passwords => needs_tls(),
            Ok(Command::Auth { mechanism, initial }) => self.auth(context, mechanism, initial),
            Ok(Command::Capa) => capabilities(&context.terms, &context.mechanisms(), true),
            Ok(Command::Pass(Secret(password))) => pass(context, name, password),
            Ok(Command::Quit) => Outcome::Quit,
            Ok(Command::Stls) => stls(&context.terms),
            Ok(Command::User(name)) => self.user(name),
            Ok(Command::Utf8) => Reply::done("UTF-8 is welcome").into(),
            Ok(_) => Reply::refused("log in first").into(),
            Err(fault) => fault.into(),
        }
    }

    /// Any name will do, so that nobody learns who has a mailbox here.
    fn user(&mut self, name: &str) -> Outcome<'static> {
        self.name = Some(name.to_owned());
        Reply::done("now the password").into()
    }

    fn auth(&mut self, context: &Context<'_>, mechanism: &str, initial: Option<&[u8]>) -> Outcome<'static> {
        let Some(mechanism) = Mechanism::parse(mechanism).filter(|mechanism| *mechanism != Mechanism::Login) else {
            return Reply::refused("there is no such mechanism").into();
        };
        match Exchange::begin(mechanism, initial, &context.candidate()) {
            Ok((exchange, step)) => self.step(context, exchange, step),
            Err(error) => unfinished(context, error),
        }
    }

    /// Any line is a response now, even one that looks like a command.
    fn respond(&mut self, context: &Context<'_>, mut exchange: Exchange, line: Result<&[u8], Fault>) -> Outcome<'static> {
        match line.map(|line| exchange.respond(line, &context.candidate())) {
            Ok(Ok(step)) => self.step(context, exchange, step),
            Ok(Err(error)) => unfinished(context, error),
            Err(fault) => fault.into(),
        }
    }

    fn step(&mut self, context: &Context<'_>, exchange: Exchange, step: Step) -> Outcome<'static> {
        match step {
            Step::Challenge(challenge) => {
                self.exchange = Some(exchange);
                Outcome::Challenge(challenge)
            }
            Step::Done(login) => admit(context, Ok(login)),
        }
    }
}

/// RFC 3206 §5: the code is also for "an attempt to authenticate in violation of policy".
fn needs_tls() -> Outcome<'static> {
    Reply::refused("no passwords without TLS").with(Code::Auth).into()
}

fn pass(context: &Context<'_>, name: Option<String>, password: &[u8]) -> Outcome<'static> {
    match name {
        Some(name) => log_in(context, &name, password),
        None => Reply::refused("USER comes before PASS").into(),
    }
}

fn stls(terms: &Terms) -> Outcome<'static> {
    if terms.stls { Outcome::Stls } else { Reply::refused("TLS is already up, or not available here").into() }
}

fn unfinished(context: &Context<'_>, error: SaslError) -> Outcome<'static> {
    match error {
        SaslError::Cancelled => Reply::refused("cancelled").into(),
        SaslError::Malformed => Reply::refused("not a response of this mechanism").into(),
        SaslError::Refused => {
            log::warn!("session={} pop3 refused reason=\"acts for somebody else, or on another channel\"", context.session);
            Reply::wrong_credentials().into()
        }
        SaslError::Denied(denied) => admit(context, Err(denied)),
    }
}

fn log_in(context: &Context<'_>, name: &str, password: &[u8]) -> Outcome<'static> {
    let Context { server, session, peer, .. } = context;
    admit(context, server.gate.login(peer, "pop3", session, name, password))
}

fn admit(context: &Context<'_>, login: Result<Login, Denied>) -> Outcome<'static> {
    let Context { server, session, .. } = context;
    let login = match login {
        Ok(login) => login,
        Err(Denied::Credentials) => return Reply::wrong_credentials().into(),
        Err(Denied::Temporary) => return Reply::failed(Code::SysTemp, "passwords can't be checked now").counted().into(),
    };
    let name = login.account().name.as_str();
    match Maildrop::open(&server.store, login.account(), session) {
        Ok(maildrop) => {
            let (count, octets) = maildrop.count();
            log::info!("session={session} pop3 login user={} messages={count} octets={octets}", Shown(name));
            Outcome::LoggedIn(Reply::done(format!("{count} messages ({octets} octets)")), Box::new(maildrop))
        }
        Err(error) => {
            log::warn!("session={session} pop3 refused user={} reason={:?}", Shown(name), error.to_string());
            Reply::from(error).counted().into()
        }
    }
}

/// What is offered. RFC 2449 §5, RFC 5034 §3: what is announced before login is announced afterwards too; only STLS is not
/// (RFC 2595 §8).
pub(super) fn capabilities(terms: &Terms, mechanisms: &[Mechanism], before_login: bool) -> Outcome<'static> {
    let mut lines = String::from("TOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUTF8\r\n");
    if terms.passwords {
        lines.push_str("USER\r\nSASL");
        mechanisms.iter().for_each(|mechanism| lines.extend([" ", mechanism.name()]));
        lines.push_str("\r\n");
    }
    if terms.stls && before_login {
        lines.push_str("STLS\r\n");
    }
    lines.push_str("IMPLEMENTATION Pillarbox\r\n");
    Outcome::Lines(Reply::done("this is what I can do"), lines)
}

impl From<Fault> for Outcome<'_> {
    fn from(fault: Fault) -> Self {
        if fault == Fault::Http { Outcome::Close(fault.into()) } else { Outcome::Reply(fault.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_where_nobody_listens() {
        let far = Peer::Tcp("192.0.2.1:4000".parse().unwrap());
        let near = Peer::Tcp("127.0.0.5:4000".parse().unwrap());
        let near6 = Peer::Tcp("[::1]:4000".parse().unwrap());
        let own = Peer::Unix { uid: 1000, pid: 1 };
        for (peer, encrypted, always, passwords) in [
            (&far, false, false, false),
            (&far, true, false, true),
            (&far, false, true, true),
            (&near, false, false, true),
            (&near6, false, false, true),
            (&own, false, false, true),
        ] {
            for offered in [false, true] {
                let terms = Terms::of(peer, encrypted, offered, always);
                assert_eq!(terms, Terms { stls: offered && !encrypted, passwords }, "{peer:?}");
            }
        }
    }

    #[test]
    fn only_what_can_be_used_is_announced() {
        let lines = |stls, passwords, before| match capabilities(&Terms { stls, passwords }, &[Mechanism::Plain], before) {
            Outcome::Lines(_, lines) => lines,
            other => panic!("{other:?}"),
        };
        for before in [false, true] {
            for (stls, passwords) in [(false, false), (false, true), (true, false), (true, true)] {
                let lines = lines(stls, passwords, before);
                let has = |name: &str| lines.split("\r\n").any(|line| line == name);
                for name in ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "UTF8"] {
                    assert!(has(name), "{name}");
                }
                assert_eq!((has("USER"), has("SASL PLAIN"), has("STLS")), (passwords, passwords, stls && before));
                assert!(lines.ends_with("\r\n") && !lines.contains("\r\n."));
            }
        }
    }
}
