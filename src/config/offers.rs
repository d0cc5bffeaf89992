//! Where mail programs can connect, as they are told.

use super::schema::{Config, Endpoint, Listen, Protocol, Tls};

/// A place where a mail program can connect.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What is spoken there.
    pub protocol: Protocol,
    /// At which port.
    pub port: u16,
    /// How it is encrypted.
    pub tls: Tls,
}

/// Those that encrypt, for each protocol that from the first byte first (RFC 8314 §3).
pub fn offers(config: &Config) -> Vec<Offer> {
    let mut all = Vec::new();
    for protocol in [Protocol::Imap, Protocol::Pop3, Protocol::Submission] {
        for tls in [Tls::Implicit, Tls::Starttls] {
            all.extend(port(config, protocol, tls).map(|port| Offer { protocol, port, tls }));
        }
    }
    all
}

/// The first port where this is spoken so, if it is fixed.
pub fn port(config: &Config, protocol: Protocol, tls: Tls) -> Option<u16> {
    let fits = |listen: &&Listen| listen.protocol == protocol && listen.tls == tls;
    let mut ports = config.listen.iter().filter(fits).flat_map(|listen| &listen.at).filter_map(|at| match at {
        Endpoint::Tcp(address) if address.port() != 0 => Some(address.port()),
        _ => None,
    });
    ports.next()
}
