//! Whose addresses a domain's are, and where its mail goes if they are not ours.

use super::Hop;
use crate::config::{Config, Via};
use crate::host::Account;
use crate::mail::Domain;
use std::net::IpAddr;

/// Whose addresses a domain's are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Our users'.
    Here,
    /// This host's own name, which is not among the domains with users: only that of the postmaster and its like.
    Host,
    /// Somebody else's.
    Elsewhere(Hop),
}

pub(super) fn configured(config: &Config, domain: &str) -> Option<Hop> {
    let route = config.routes.iter().find(|route| route.domain == domain)?;
    Some(match &route.via {
        Via::Host(host, port) => Hop::Host(host.clone(), *port),
        Via::Lmtp(site) => Hop::Lmtp(site.clone()),
        Via::Program(program) => Hop::Program(program.clone()),
    })
}

pub(super) fn place(config: &Config, domain: &Domain, is_ours: impl Fn(IpAddr) -> bool) -> Place {
    let key = domain.key();
    if let Some(hop) = configured(config, &key) {
        return Place::Elsewhere(hop);
    }
    if config.domains.contains(&key) {
        return Place::Here;
    }
    if config.hostname.eq_ignore_ascii_case(&key) {
        return Place::Host;
    }
    match domain {
        // Mail for a host's own address is its own (RFC 1123 §5.2.17).
        Domain::Literal(ip) if is_ours(*ip) => Place::Here,
        _ => Place::Elsewhere(match (&config.queue.smarthost, domain) {
            (Some((host, port)), _) => Hop::Host(host.clone(), *port),
            (None, Domain::Literal(ip)) => Hop::Literal(*ip),
            (None, Domain::Name(_)) => Hop::Domain(key),
        }),
    }
}

/// Is this an address of this host?
pub(super) fn is_ours(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let own = |address: nix::ifaddrs::InterfaceAddress| {
        let address = address.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    };
    nix::ifaddrs::getifaddrs().is_ok_and(|mut all| all.any(|address| own(address) == Some(ip)))
}

/// The mailbox that takes the postmaster's mail while nobody of that name exists: the daemon's own.
pub(super) fn own_account(postmaster: &str) -> Account {
    let safe = !postmaster.is_empty()
        && !postmaster.starts_with('.')
        && postmaster.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    Account {
        name: if safe { postmaster.to_ascii_lowercase() } else { "postmaster".to_owned() },
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        home: None,
    }
}
