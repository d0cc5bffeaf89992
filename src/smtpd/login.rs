//! AUTH (RFC 4954), and who needs none.

use super::policy;
use super::session::{Outcome, Session};
use crate::auth::Denied;
use crate::auth::sasl::{self, Credentials, Exchange, Mechanism, SaslError, Step};
use crate::net::{Line, NetError, Peer};
use crate::smtp::reply::{self, Reply};
use nix::unistd::{Uid, User};

/// A process of this host is known by its user id and need not log in.
pub(super) fn of_peer(peer: &Peer) -> Option<String> {
    let Peer::Unix { uid, .. } = peer else {
        return None;
    };
    let account = User::from_uid(Uid::from_raw(*uid)).ok().flatten();
    Some(account.map_or_else(|| format!("uid-{uid}"), |account| account.name))
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
            Ok(credentials) => self.check(&credentials),
            Err(refusal) => refusal,
        };
        Ok(Outcome::Say(reply))
    }

    /// The exchange up to name and password, or what to say instead.
    fn exchange(&mut self, mechanism: Mechanism, initial: Option<&[u8]>) -> Result<Result<Credentials, Reply>, NetError> {
        let (mut exchange, mut step) = match Exchange::begin(mechanism, initial) {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(refusal(error))),
        };
        let mut line = Vec::new();
        loop {
            let challenge = match step {
                Step::Done(credentials) => return Ok(Ok(credentials)),
                Step::Challenge(text) => text,
            };
            self.say(&Reply::fixed(334, "", challenge))?;
            step = match self.connection.read_line(sasl::MOST_LINE, &mut line)? {
                Line::Whole => match exchange.respond(&line) {
                    Ok(step) => step,
                    Err(error) => return Ok(Err(refusal(error))),
                },
                Line::TooLong => return Ok(Err(reply::RESPONSE_TOO_LONG)),
                Line::Malformed => return Ok(Err(reply::BAD_RESPONSE)),
            };
        }
    }

    fn check(&mut self, credentials: &Credentials) -> Reply {
        let Credentials { name, password } = credentials;
        match self.server.gate.login(self.connection.peer(), self.protocol.name(), self.name, name, password) {
            Ok(login) => {
                self.login = Some(login.account().name.clone());
                reply::LOGGED_IN
            }
            Err(Denied::Credentials) => reply::WRONG_CREDENTIALS,
            Err(Denied::Temporary) => reply::LOGIN_LATER,
        }
    }
}

fn refusal(error: SaslError) -> Reply {
    match error {
        SaslError::Cancelled => reply::CANCELLED,
        SaslError::Malformed => reply::BAD_RESPONSE,
        SaslError::Refused => reply::WRONG_CREDENTIALS,
    }
}
