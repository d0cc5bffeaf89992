//! Somebody on a connection who wants to log in.

use super::gate::{Denied, Gate, Login};
use super::sasl::{Channel, Judge, Mechanism};
use crate::host::ScramKeys;
use crate::net::{Peer, TlsInfo};

/// See the module.
#[derive(Copy, Clone, Debug)]
pub struct Candidate<'a> {
    /// The gate to pass.
    pub gate: &'a Gate,
    /// From where.
    pub peer: &'a Peer,
    /// How it is encrypted, if it is.
    pub tls: Option<&'a TlsInfo>,
    /// For the log: `imap`.
    pub service: &'a str,
    /// For the log: the session's name.
    pub session: &'a str,
}

impl Candidate<'_> {
    /// The mechanisms to announce, the best first. Clients that see SCRAM don't fall back, so it is offered only when all
    /// users can have it.
    pub fn mechanisms(&self) -> &'static [Mechanism] {
        use Mechanism::{Login, Plain, ScramSha256, ScramSha256Plus};
        match (self.gate.offers_scram(), self.can_bind()) {
            (true, true) => &[ScramSha256Plus, ScramSha256, Plain, Login],
            (true, false) => &[ScramSha256, Plain, Login],
            (false, _) => &[Plain, Login],
        }
    }
}

impl Judge for Candidate<'_> {
    fn password(&self, name: &str, password: &[u8]) -> Result<Login, Denied> {
        self.gate.login(self.peer, self.service, self.session, name, password)
    }

    fn keys(&self, name: &str) -> Result<ScramKeys, Denied> {
        self.gate.scram_keys(self.session, name)
    }

    fn proven(&self, name: &str, right: bool) -> Result<Login, Denied> {
        self.gate.proven(self.peer, self.service, self.session, name, right)
    }
}

impl Channel for Candidate<'_> {
    fn binding(&self, kind: &str) -> Option<Vec<u8>> {
        let (_, data) = self.tls?.bindings.iter().find(|(known, _)| *known == kind)?;
        Some(data.clone())
    }

    fn can_bind(&self) -> bool {
        self.tls.is_some_and(|tls| !tls.bindings.is_empty())
    }
}
