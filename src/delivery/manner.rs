//! How a host is talked to: as its `[[relay]]` says, as its TLSA records want it (RFC 7672), as its domain's policy wants it
//! (RFC 8461), or encrypted if it can.

use super::mx::Exchange;
use super::outcome::Trouble;
use super::sts::policy::{Mode, Policy};
use super::{Hop, Office};
use crate::config::{Relay, RelayTls, Site};
use crate::net::dns::{DnsError, Found, TlsaSet};
use crate::net::tls::ClientTls;
use crate::smtp::client::{Credentials, Secrecy, clean};
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A login file this big is not one.
const MOST_BYTES: u64 = 4096;

/// What a conversation with a host of a hop is begun with.
#[derive(Debug)]
pub(super) struct Manner {
    line: Secure,
    /// Who we are to it.
    pub(super) login: Option<Credentials>,
}

/// What the line to a host must be like.
#[derive(Clone, Debug)]
pub(super) struct Secure {
    tls: ClientTls,
    mode: RelayTls,
    pub(super) proof: Proof,
    trial: Trial,
}

/// A policy in testing mode: what is found wrong by it is told to the log (RFC 8461 §5).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Trial {
    /// There is none.
    Off,
    /// It names the host.
    Named,
    /// It does not.
    Unnamed,
}

/// What a host proves its name by.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It need not.
    Nothing,
    /// An authority vouches for it, as its `[[relay]]` wants.
    Authority,
    /// Its TLSA records.
    Dane,
    /// An authority vouches for it, as its domain wants.
    Sts,
}

impl fmt::Display for Proof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Proof::Nothing => "unverified",
            Proof::Authority => "verified",
            Proof::Dane => "DANE",
            Proof::Sts => "MTA-STS",
        })
    }
}

/// What a message wants of the line (RFC 8689).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// What its host and domain want.
    Usual,
    /// REQUIRETLS: a host that proves its name.
    Secret,
    /// `TLS-Required: No`: what the host's domain wants does not count.
    Open,
}

impl Manner {
    /// For a host of this hop. The files that a relay names are read each time, so that a new password or certificate is
    /// known at once.
    pub(super) fn of(office: &Office, hop: &Hop) -> Result<Manner, Box<Trouble>> {
        let config = office.config();
        let relay = match hop {
            Hop::Host(host, port) | Hop::Lmtp(Site::Host(host, port)) => config.relays.iter().find(|relay| relay.is(host, *port)),
            Hop::Domain(_) | Hop::Literal(_) | Hop::Lmtp(Site::Unix(_)) | Hop::Program(_) => None,
        };
        let Some(relay) = relay else {
            let line = Secure { tls: office.tls.clone(), mode: RelayTls::May, proof: Proof::Nothing, trial: Trial::Off };
            return Ok(Manner { line, login: None });
        };
        Manner::read(office, relay).map_err(|error| {
            log::error!("relay={}:{} event=not-usable reason=\"{error}\"", relay.host, relay.port);
            Trouble::own("4.3.5", "This host is not set up to talk to the next one.")
        })
    }

    fn read(office: &Office, relay: &Relay) -> io::Result<Manner> {
        let (tls, proof) = match relay.tls {
            RelayTls::May | RelayTls::Encrypt => (office.tls.clone(), Proof::Nothing),
            RelayTls::Verify | RelayTls::Implicit => (ClientTls::verifying(relay.ca.as_deref())?, Proof::Authority),
        };
        let line = Secure { tls, mode: relay.tls, proof, trial: Trial::Off };
        Ok(Manner { line, login: relay.login.as_deref().map(login).transpose()? })
    }

    /// What the line is like where nobody wants more of it.
    pub(super) fn line(&self) -> Secure {
        self.line.clone()
    }

    /// What the line to one host must be like, which has these addresses; `policy`: its domain's, asked for if nothing goes
    /// before it. An error: it must not be talked to.
    pub(super) fn toward(
        &self,
        office: &Office,
        exchange: &Exchange,
        addresses: &Found<Vec<IpAddr>>,
        need: Need,
        policy: impl FnOnce() -> Option<Policy>,
    ) -> Result<Secure, Box<Trouble>> {
        let secure = match need {
            Need::Open => return Ok(self.line.clone()),
            Need::Usual | Need::Secret => self.wanted(office, exchange, addresses, policy)?,
        };
        match secure.proof {
            Proof::Nothing if need == Need::Secret => vouched(office, exchange, secure.trial),
            _ => Ok(secure),
        }
    }

    fn wanted(
        &self,
        office: &Office,
        exchange: &Exchange,
        addresses: &Found<Vec<IpAddr>>,
        policy: impl FnOnce() -> Option<Policy>,
    ) -> Result<Secure, Box<Trouble>> {
        if self.line.mode != RelayTls::May {
            return Ok(self.line.clone());
        }
        let records = tlsa(office, exchange, addresses)?;
        // A policy can't make good what records find wrong (RFC 8461 §2), so they go first.
        if let Some(tls) = records.as_ref().and_then(|records| ClientTls::dane(records, &exchange.names)) {
            return Ok(Secure { tls, mode: RelayTls::Encrypt, proof: Proof::Dane, trial: Trial::Off });
        }
        // Records that can't be used still say that it encrypts (RFC 7672 §2.2).
        let mode = if records.is_some() { RelayTls::Encrypt } else { RelayTls::May };
        match policy() {
            Some(policy) if policy.mode == Mode::Testing => {
                let trial = if policy.allows(&exchange.host) { Trial::Named } else { Trial::Unnamed };
                Ok(Secure { tls: authorities(office, ClientTls::noting)?, mode, proof: Proof::Nothing, trial })
            }
            Some(policy) => by_policy(office, exchange, &policy),
            None => Ok(Secure { mode, ..self.line.clone() }),
        }
    }
}

/// For what is secret, an authority vouches for the host where nothing else does, and its name must be right (RFC 8689 §2).
fn vouched(office: &Office, exchange: &Exchange, trial: Trial) -> Result<Secure, Box<Trouble>> {
    if !exchange.secure && trial != Trial::Named {
        let reason = format!(
            "It may only go to a host that proves its name, and nothing vouches for it that {} is the right one.",
            exchange.host
        );
        return Err(Trouble::own("5.7.10", &reason));
    }
    let tls = authorities(office, ClientTls::verifying)?;
    Ok(Secure { tls, mode: RelayTls::Encrypt, proof: Proof::Authority, trial: Trial::Off })
}

fn tlsa(office: &Office, exchange: &Exchange, addresses: &Found<Vec<IpAddr>>) -> Result<Option<TlsaSet>, Box<Trouble>> {
    if !(exchange.secure && office.config().outbound.dane) {
        return Ok(None);
    }
    office.resolver.tlsa(&exchange.host, exchange.port, addresses).map_err(|error| {
        let why = if let DnsError::Temporary(why) = error { why } else { String::new() };
        let reason = format!("The name servers did not tell by what {} proves its name.", exchange.host);
        Trouble::own("4.4.3", &reason).because(&why)
    })
}

fn by_policy(office: &Office, exchange: &Exchange, policy: &Policy) -> Result<Secure, Box<Trouble>> {
    if !policy.allows(&exchange.host) {
        let reason = format!("The host {} is none of those that its domain names in its MTA-STS policy.", exchange.host);
        return Err(Trouble::own("4.7.0", &reason));
    }
    let tls = authorities(office, ClientTls::verifying)?;
    Ok(Secure { tls, mode: RelayTls::Encrypt, proof: Proof::Sts, trial: Trial::Off })
}

/// A client that knows the authorities that may vouch for hosts.
fn authorities(office: &Office, client: fn(Option<&Path>) -> io::Result<ClientTls>) -> Result<ClientTls, Box<Trouble>> {
    client(office.config().outbound.ca.as_deref()).map_err(|error| {
        log::error!("event=no-authorities reason=\"{error}\"");
        Trouble::own("4.3.5", "This host is not set up to check other hosts' certificates.")
    })
}

impl Secure {
    /// How the line is encrypted.
    pub(super) fn secrecy(&self) -> Secrecy<'_> {
        match self.mode {
            RelayTls::May => Secrecy::May(&self.tls),
            RelayTls::Encrypt | RelayTls::Verify => Secrecy::Must(&self.tls),
            RelayTls::Implicit => Secrecy::Implicit(&self.tls),
        }
    }

    /// What is wrong, by a policy in testing mode, with a line that is there.
    pub(super) fn objection(&self, encrypted: bool) -> Option<String> {
        match self.trial {
            Trial::Off => None,
            Trial::Unnamed => Some("its domain does not name it".to_owned()),
            Trial::Named if !encrypted => Some("it is not encrypted".to_owned()),
            Trial::Named => self.tls.objection().map(|why| clean(why.as_bytes())),
        }
    }
}

fn login(path: &Path) -> io::Result<Credentials> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let meta = fs::metadata(path).map_err(named)?;
    if !meta.is_file() || meta.len() > MOST_BYTES {
        return Err(wrong("not a file with a name and a password"));
    }
    if meta.mode() & 0o007 != 0 {
        return Err(wrong("everybody can read or write it; it must have mode 0600 or 0640"));
    }
    let text = fs::read_to_string(path).map_err(named)?;
    Credentials::parse(&text).ok_or_else(|| wrong("the name must stand on its first line, the password on its second"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_login_is_two_lines_in_a_file_of_our_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("login");
        let read = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            login(&path).map(|login| format!("{login:?}")).map_err(|error| error.to_string())
        };
        assert_eq!(read("me@isp.example\npass word\n", 0o600).unwrap(), "Credentials(\"me@isp.example\")");
        assert!(read("me\npw\n\n", 0o640).is_ok());
        assert!(read("me\npw\n", 0o644).unwrap_err().contains("everybody"));
        for bad in ["", "me\n", "me\n\n", "\npw\n", "me\npw\nmore\n", "me\0x\npw\n"] {
            assert!(read(bad, 0o600).unwrap_err().contains("first line"), "{bad:?}");
        }
        assert!(login(dir.path()).is_err());
    }
}
