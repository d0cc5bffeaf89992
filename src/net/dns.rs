//! A blocking stub resolver (RFC 1035).
#![allow(missing_docs, clippy::todo)]
use crate::sys::Clock;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

#[derive(Debug)]
pub struct Resolver {}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// The name does not exist (NXDOMAIN).
    NoName,
    /// The name exists, such a record does not.
    NoData,
    /// Try again later: SERVFAIL, time-out, lame answers; the text says which.
    Temporary(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    pub preference: u16,
    /// Without a final dot; empty for the null MX (RFC 7505).
    pub exchange: String,
}

impl Resolver {
    /// `servers` empty: those of /etc/resolv.conf.
    pub fn new(_clock: Arc<dyn Clock>, _servers: &[SocketAddr]) -> Resolver {
        todo!()
    }
    /// MX records in order of preference, ties as they came. Follows CNAMEs.
    pub fn mx(&self, _domain: &str) -> Result<Vec<Mx>, DnsError> {
        todo!()
    }
    /// IPv6 and IPv4 addresses. Follows CNAMEs; `NoData` if neither kind exists.
    pub fn addresses(&self, _host: &str) -> Result<Vec<IpAddr>, DnsError> {
        todo!()
    }
}
