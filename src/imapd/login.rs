//! Before a mailbox is opened: CAPABILITY, STARTTLS, LOGIN, AUTHENTICATE, ENABLE, COMPRESS.

use super::answer::{Answer, Done, End};
use super::session::Session;
use crate::auth::sasl::{self, Exchange, Mechanism, SaslError, Step};
use crate::auth::{Candidate, Denied, Login};
use crate::net::Line;
use std::fmt::Write;

/// What is offered to who has logged in, beside APPENDLIMIT; before that only what can be used then.
pub const CAPABILITIES: &[&str] = &[
    "IMAP4rev1",
    "IMAP4rev2",
    "LITERAL+",
    "SASL-IR",
    "ID",
    "ENABLE",
    "BINARY",
    "CATENATE",
    "CHILDREN",
    "COMPRESS=DEFLATE",
    "CONDSTORE",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "CREATE-SPECIAL-USE",
    "ESEARCH",
    "ESORT",
    "I18NLEVEL=1",
    "IDLE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "METADATA",
    "MOVE",
    "MULTIAPPEND",
    "MULTISEARCH",
    "NAMESPACE",
    "NOTIFY",
    "OBJECTID",
    "PARTIAL",
    "PREVIEW",
    "QRESYNC",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "REPLACE",
    "SAVEDATE",
    "SEARCHRES",
    "SORT",
    "SORT=DISPLAY",
    "SPECIAL-USE",
    "STATUS=SIZE",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "UIDPLUS",
    "UNAUTHENTICATE",
    "UNSELECT",
    "URL-PARTIAL",
    "UTF8=ACCEPT",
    "WITHIN",
];
/// So many of these make sense before the login.
const BEFORE_LOGIN: usize = 6;

impl Session<'_> {
    /// What is offered now (RFC 9051 §6.1.1).
    pub(super) fn capabilities(&self) -> String {
        if self.login.is_some() {
            let config = &self.server.config;
            let offered = CAPABILITIES.iter().filter(|name| config.unauthenticate || **name != "UNAUTHENTICATE");
            let offered = offered.copied().collect::<Vec<_>>().join(" ");
            return format!("{offered} APPENDLIMIT={}", config.max_message_size);
        }
        let mut offered = CAPABILITIES.get(..BEFORE_LOGIN).unwrap_or_default().join(" ");
        if self.offer_tls && self.connection.tls().is_none() {
            offered += " STARTTLS";
        }
        if !self.may_log_in() {
            return offered + " LOGINDISABLED";
        }
        for mechanism in self.candidate().mechanisms() {
            let _ = write!(offered, " AUTH={}", mechanism.name());
        }
        offered
    }

    pub(super) fn may_start_tls(&mut self) -> Answer {
        if !self.offer_tls || self.connection.tls().is_some() {
            return Answer::bad("TLS is already up, or not available here");
        }
        if self.connection.input_pending() {
            // It came in the clear, and could be anybody's (CVE-2011-0411).
            log::warn!("session={} imap refused reason=\"plaintext behind STARTTLS\"", self.name);
            return Answer::bad("nothing may be sent behind STARTTLS");
        }
        Answer::ok("begin TLS")
    }

    /// The handshake, after OK. Behind it nothing counts that was said before (RFC 9051 §6.2.1).
    pub(super) fn secure(&mut self) -> Result<(), End> {
        let Some(tls) = &self.server.tls else { return Ok(()) };
        self.connection.set_deadline(Some(self.server.config.timeouts.data));
        if self.connection.accept_tls(tls)? {
            log::warn!("session={} imap dropped reason=\"plaintext behind STARTTLS\"", self.name);
        }
        let info = self.connection.tls().map_or("none", |info| info.version.as_str());
        log::info!("session={} imap starttls tls={info}", self.name);
        self.enabled = super::session::Enabled::default();
        Ok(())
    }

    /// COMPRESS (RFC 4978 §3).
    pub(super) fn may_compress(&self, algorithm: &str) -> Answer {
        match algorithm {
            _ if self.connection.is_compressed() => Answer::bad("DEFLATE is active").with("COMPRESSIONACTIVE"),
            "DEFLATE" => Answer::ok("DEFLATE active"),
            _ => Answer::bad("the algorithm is DEFLATE"),
        }
    }

    /// From behind the OK on.
    pub(super) fn compress(&mut self) -> Result<(), End> {
        log::info!("session={} imap compress", self.name);
        Ok(self.connection.compress()?)
    }

    pub(super) fn log_in_plainly(&mut self, name: &[u8], password: &[u8]) -> Done {
        if !self.may_log_in() {
            return Ok(Answer::no("PRIVACYREQUIRED", "no passwords without TLS"));
        }
        let Ok(name) = std::str::from_utf8(name) else { return Ok(wrong()) };
        let login = self.server.gate.login(self.connection.peer(), "imap", self.name, name, password);
        Ok(self.admit(login))
    }

    fn candidate(&self) -> Candidate<'_> {
        let (gate, peer, tls) = (&*self.server.gate, self.connection.peer(), self.connection.tls());
        Candidate { gate, peer, tls, service: "imap", session: self.name }
    }

    /// AUTHENTICATE, with all its lines (RFC 9051 §6.2.2, RFC 4959).
    pub(super) fn authenticate(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Done {
        if !self.may_log_in() {
            return Ok(Answer::no("PRIVACYREQUIRED", "no passwords without TLS"));
        }
        // As long as for a command, however many lines it takes.
        self.connection.set_deadline(Some(self.server.config.timeouts.command));
        let Some(mechanism) = Mechanism::parse(mechanism) else {
            return Ok(Answer::no("CANNOT", "there is no such mechanism"));
        };
        let (mut exchange, mut step) = match Exchange::begin(mechanism, initial, &self.candidate()) {
            Ok(begun) => begun,
            Err(error) => return Ok(self.not_admitted(error)),
        };
        let mut line = Vec::new();
        loop {
            let challenge = match step {
                Step::Done(login) => return Ok(self.admit(Ok(login))),
                Step::Challenge(text) => text,
            };
            self.connection.put(format!("+ {challenge}\r\n").as_bytes())?;
            step = match self.connection.read_line(sasl::MOST_LINE, &mut line)? {
                Line::Whole => match exchange.respond(&line, &self.candidate()) {
                    Ok(step) => step,
                    Err(error) => return Ok(self.not_admitted(error)),
                },
                Line::TooLong | Line::Malformed => return Ok(Answer::bad("not a response of this mechanism")),
            };
        }
    }

    fn not_admitted(&mut self, error: SaslError) -> Answer {
        match error {
            SaslError::Cancelled => Answer::bad("cancelled"),
            SaslError::Malformed => Answer::bad("not a response of this mechanism"),
            SaslError::Refused => wrong(),
            SaslError::Denied(denied) => self.admit(Err(denied)),
        }
    }

    fn admit(&mut self, login: Result<Login, Denied>) -> Answer {
        // The password's check went deep.
        crate::sys::unix::give_back_stack();
        match login {
            Ok(login) => {
                if let Err(error) = self.server.store.log_in(login.account()) {
                    return error.into();
                }
                self.login = Some(login);
                Answer::ok("logged in")
            }
            Err(Denied::Credentials) => wrong(),
            Err(Denied::Temporary) => Answer::no("UNAVAILABLE", "passwords can't be checked now"),
        }
    }

    /// ENABLE (RFC 5161 §3.1): what is known and was not enabled before is told.
    pub(super) fn enable(&mut self, names: &[String]) -> Done {
        let mut told = String::new();
        for name in names {
            let enabled = &mut self.enabled;
            let (condstore, switch) = match name.as_str() {
                "CONDSTORE" => (true, None),
                "QRESYNC" => (true, Some(&mut enabled.qresync)),
                "UTF8=ACCEPT" => (false, Some(&mut enabled.utf8)),
                "METADATA" => (false, Some(&mut enabled.metadata)),
                "IMAP4REV2" => (false, Some(&mut enabled.rev2)),
                _ => continue,
            };
            if let Some(switch) = switch {
                *switch = true;
            }
            if condstore {
                self.enable_condstore()?;
            }
            if self.enabled.metadata {
                if let Err(answer) = self.watch_notes() {
                    return Ok(answer);
                }
            }
            let name = if name == "IMAP4REV2" { "IMAP4rev2" } else { name };
            let _ = write!(told, " {name}");
        }
        self.tell(format_args!("ENABLED{told}"))?;
        Ok(Answer::ok("so be it"))
    }
}

fn wrong() -> Answer {
    Answer::no("AUTHENTICATIONFAILED", "wrong name or password")
}
