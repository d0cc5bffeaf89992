//! AUTH (RFC 4954), and who needs none.

use super::policy;
use super::session::{Outcome, Session};
use crate::auth::sasl::{self, Exchange, Mechanism, SaslError, Step};
use crate::auth::{Candidate, Denied, Login};
use crate::config::Protocol;
use crate::host::login_name;
use crate::net::{Line, NetError, Peer};
use crate::smtp::reply::{self, Reply};

/// A process of this host is known by its user id and need not log in. One that speaks LMTP is another server: whoever it
/// runs as did not write what it brings.
pub(super) fn of_peer(peer: &Peer, protocol: Protocol) -> Option<String> {
    let Peer::Unix { uid, .. } = peer else {
        return None;
    };
    if protocol == Protocol::Lmtp {
        return None;
    }
    Some(login_name(*uid))
}

impl Session<'_> {
    /// AUTH, with all its lines.
    pub(super) fn log_in(&mut self, mechanism: &str, initial: Option<&[u8]>) -> Result<Outcome, NetError> {
        if let Err(refusal) = policy::may_log_in(&self.client(), &self.server.config) {
            return Ok(Outcome::Say(refusal));
        }
        let Some(mechanism) = Mechanism::parse(mechanism) else {
            return Ok(Outcome::Say(reply::NO_MECHANISM));
        };
        let reply = match self.exchange(mechanism, initial)? {
            Ok(login) => {
                self.login = Some(login.account().name.clone());
                reply::LOGGED_IN
            }
            Err(refusal) => refusal,
        };
        Ok(Outcome::Say(reply))
    }

    /// The exchange, or what to say instead.
    fn exchange(&mut self, mechanism: Mechanism, initial: Option<&[u8]>) -> Result<Result<Login, Reply>, NetError> {
        let (mut exchange, mut step) = match Exchange::begin(mechanism, initial, &self.candidate()) {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(refusal(error))),
        };
        let mut line = Vec::new();
        loop {
            let challenge = match step {
                Step::Done(login) => return Ok(Ok(login)),
                Step::Challenge(text) => text,
            };
            self.say(&Reply::new(334, "", challenge))?;
            step = match self.connection.read_line(sasl::MOST_LINE, &mut line)? {
                Line::Whole => match exchange.respond(&line, &self.candidate()) {
                    Ok(step) => step,
                    Err(error) => return Ok(Err(refusal(error))),
                },
                Line::TooLong => return Ok(Err(reply::RESPONSE_TOO_LONG)),
                Line::Malformed => return Ok(Err(reply::BAD_RESPONSE)),
            };
        }
    }

    /// Who wants to log in.
    pub(super) fn candidate(&self) -> Candidate<'_> {
        let (gate, peer, tls) = (&*self.server.gate, self.connection.peer(), self.connection.tls());
        Candidate { gate, peer, tls, service: self.protocol.name(), session: self.name }
    }
}

fn refusal(error: SaslError) -> Reply {
    match error {
        SaslError::Cancelled => reply::CANCELLED,
        SaslError::Malformed => reply::BAD_RESPONSE,
        SaslError::Refused | SaslError::Denied(Denied::Credentials) => reply::WRONG_CREDENTIALS,
        SaslError::Denied(Denied::Temporary) => reply::LOGIN_LATER,
    }
}
