//! Where an address leads. Aliases and `.forward` will make of this several outcomes for one address.

use super::{Hop, Office, Route};
use crate::config::{Config, Via};
use crate::host::Account;
use crate::mail::{Address, Domain};
use std::io;
use std::net::IpAddr;

/// Names that always lead somewhere: reports come from the one, and RFC 5321 §4.5.1 wants the other.
const SERVED: [&str; 2] = ["postmaster", "mailer-daemon"];

/// Whose addresses a domain's are.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Our users'.
    Here,
    /// This host's own name, which is not among the domains with users: only those of [`SERVED`].
    Host,
    /// Somebody else's.
    Elsewhere(Hop),
}

impl Office {
    /// Configured routes first, then our domains, then the smarthost or the domain's own hosts.
    pub(super) fn route(&self, address: &Address) -> io::Result<Route> {
        let config = self.config();
        let place = place(&config, address.domain(), is_ours);
        if let Place::Elsewhere(hop) = place {
            return Ok(Route::Remote(hop));
        }
        let local = address.local().to_ascii_lowercase();
        if place == Place::Here {
            if let Some(account) = self.account(&local)? {
                return Ok(Route::Local(account));
            }
        }
        if SERVED.contains(&local.as_str()) {
            return Ok(Route::Local(match self.account(&config.postmaster.to_ascii_lowercase())? {
                Some(account) => account,
                None => own_account(&config.postmaster),
            }));
        }
        Ok(Route::NoUser)
    }

    /// May an address in one of these domains, parted by commas, be anything but another host's?
    pub(super) fn may_be_ours(&self, domains: &str) -> bool {
        let config = self.config();
        let elsewhere = |domain: Domain| matches!(place(&config, &domain, is_ours), Place::Elsewhere(_));
        !domains.split(',').all(|domain| Domain::parse(domain).is_ok_and(elsewhere))
    }

    /// The account of that name; `user+detail` is `user`'s unless somebody is called so.
    fn account(&self, local: &str) -> io::Result<Option<Account>> {
        if let Some(account) = self.host.account(local)? {
            return Ok(Some(account));
        }
        match local.split_once('+') {
            Some((user, _)) if !user.is_empty() => self.host.account(user),
            _ => Ok(None),
        }
    }
}

fn place(config: &Config, domain: &Domain, is_ours: impl Fn(IpAddr) -> bool) -> Place {
    let key = domain.key();
    if let Some(route) = config.routes.iter().find(|route| route.domain == key) {
        return Place::Elsewhere(match &route.via {
            Via::Host(host, port) => Hop::Host(host.clone(), *port),
            Via::Lmtp(site) => Hop::Lmtp(site.clone()),
            Via::Program(program) => Hop::Program(program.clone()),
        });
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
fn is_ours(ip: IpAddr) -> bool {
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
fn own_account(postmaster: &str) -> Account {
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
