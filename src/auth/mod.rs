//! Who may log in.
#![allow(missing_docs, clippy::todo)]
use crate::host::{Account, Host};
use crate::net::Peer;
use crate::sys::Clock;
use std::sync::Arc;

/// A user who has proved to be one. Made only by [`Gate::login`].
#[derive(Clone, Debug)]
pub struct Login {
    account: Account,
}

impl Login {
    pub fn account(&self) -> &Account {
        &self.account
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Wrong name or password; which of the two is not told.
    Credentials,
    /// The users file can't be read, or too many are guessing: try later.
    Temporary,
}

/// The one door for passwords, for all protocols: it throttles guessers by client network and by account.
#[derive(Debug)]
pub struct Gate {}

impl Gate {
    pub fn new(_clock: Arc<dyn Clock>, _host: Arc<dyn Host>) -> Arc<Gate> {
        todo!()
    }
    /// Blocks for as long as the throttle says (bounded), then verifies. Logs the outcome, never the password.
    pub fn login(&self, _peer: &Peer, _service: &str, _session: &str, _name: &str, _password: &[u8]) -> Result<Login, Denied> {
        todo!()
    }
}
