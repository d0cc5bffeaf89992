//! Which hosts take the mail of a hop, in the order in which they are asked (RFC 5321 §5).

use super::Hop;
use super::outcome::{Trouble, Verdict};
use crate::config::Site;
use crate::net::dns::{DnsError, Found, Mx, Resolver};
use std::net::IpAddr;
use std::path::PathBuf;

/// Hosts of one domain that are asked in one try.
const MOST_HOSTS: usize = 8;

/// Someone to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// Its name, or its address as text.
    pub(super) host: String,
    /// Its address if it needs no look-up.
    pub(super) ip: Option<IpAddr>,
    /// It is no host, but this socket of ours.
    pub(super) socket: Option<PathBuf>,
    /// Where it listens.
    pub(super) port: u16,
    /// Nobody can have put it in the place of another: the configuration names it, or DNSSEC vouches for its name.
    pub(super) secure: bool,
    /// What the destination is called, which may stand in its certificate, too (RFC 7672 §3.2.2).
    pub(super) names: Vec<String>,
}

impl Exchange {
    /// A host of this name, of which nothing else is known.
    fn called(host: String, port: u16) -> Exchange {
        Exchange { host, ip: None, socket: None, port, secure: false, names: Vec::new() }
    }
}

/// The hosts of a hop, best first. `hostname` is ours, `port` the one of MX hosts.
pub(super) fn exchanges(resolver: &Resolver, hop: &Hop, hostname: &str, port: u16) -> Result<Vec<Exchange>, Verdict> {
    match hop {
        Hop::Host(host, port) | Hop::Lmtp(Site::Host(host, port)) => {
            let (host, ip) = (host.clone(), host.parse().ok());
            Ok(vec![Exchange { ip, secure: true, ..Exchange::called(host, *port) }])
        }
        Hop::Lmtp(Site::Unix(path)) => {
            Ok(vec![Exchange { socket: Some(path.clone()), ..Exchange::called(hostname.to_owned(), port) }])
        }
        // None is asked.
        Hop::Program(_) => Ok(Vec::new()),
        Hop::Literal(ip) => Ok(vec![Exchange { ip: Some(*ip), ..Exchange::called(format!("[{ip}]"), port) }]),
        Hop::Domain(domain) => {
            let (hosts, secure, names) = match resolver.mx(domain) {
                Ok(found) => (choose(found.data, domain, hostname, shuffle)?, found.secure, vec![domain.clone(), found.name]),
                // The domain is its own exchange (RFC 5321 §5.1).
                Err(DnsError::NoData) => (vec![domain.clone()], true, vec![domain.clone()]),
                Err(DnsError::NoName) => return Err(no_domain(domain)),
                Err(DnsError::Temporary(why)) => return Err(no_answer(domain, &why)),
            };
            let named = |host| Exchange { secure, names: names.clone(), ..Exchange::called(host, port) };
            Ok(hosts.into_iter().map(named).collect())
        }
    }
}

/// From the MX records to the hosts to be asked: by preference, ties in random order; if we are among them, only those that
/// are better than us.
fn choose(mut list: Vec<Mx>, domain: &str, hostname: &str, shuffle: impl Fn(&mut [Mx])) -> Result<Vec<String>, Verdict> {
    // Null MX (RFC 7505 §4.1); an empty exchange beside others is no host.
    if !list.is_empty() && list.iter().all(|mx| mx.exchange.is_empty()) {
        let reason = format!("The domain {domain} takes no mail (null MX).");
        return Err(Verdict::Failed(Trouble::own("5.1.10", &reason)));
    }
    list.retain(|mx| !mx.exchange.is_empty());
    if list.is_empty() {
        return Ok(vec![domain.to_owned()]);
    }
    shuffle(&mut list);
    list.sort_by_key(|mx| mx.preference);
    let ours = list.iter().filter(|mx| mx.exchange.eq_ignore_ascii_case(hostname)).map(|mx| mx.preference).min();
    if let Some(ours) = ours {
        list.retain(|mx| mx.preference < ours);
    }
    if list.is_empty() {
        return Err(ourselves(domain));
    }
    list.truncate(MOST_HOSTS);
    Ok(list.into_iter().map(|mx| mx.exchange).collect())
}

/// Fisher and Yates; without random numbers the order is as it came.
fn shuffle(list: &mut [Mx]) {
    for last in (1..list.len()).rev() {
        let random = getrandom::u32().unwrap_or(0);
        list.swap(last, usize::try_from(random).unwrap_or(0) % (last + 1));
    }
}

/// The addresses of an exchange. `Ok` with none: it has none.
pub(super) fn addresses(resolver: &Resolver, exchange: &Exchange) -> Result<Found<Vec<IpAddr>>, String> {
    let known = |data| Ok(Found { data, name: exchange.host.clone(), secure: false });
    if let Some(ip) = exchange.ip {
        return known(vec![ip]);
    }
    match resolver.addresses(&exchange.host) {
        Ok(found) => Ok(found),
        Err(DnsError::NoName | DnsError::NoData) => known(Vec::new()),
        Err(DnsError::Temporary(why)) => Err(why),
    }
}

/// Mail for this domain comes back to us.
pub(super) fn ourselves(domain: &str) -> Verdict {
    let reason = format!("Mail for {domain} is sent to this host, which has no mailboxes of that domain: it goes in a circle.");
    Verdict::Failed(Trouble::own("5.4.6", &reason))
}

/// No such domain (RFC 3463 §3.2).
pub(super) fn no_domain(domain: &str) -> Verdict {
    Verdict::Failed(Trouble::own("5.1.2", &format!("There is no domain {domain}.")))
}

/// The name servers could not tell.
pub(super) fn no_answer(name: &str, why: &str) -> Verdict {
    let reason = format!("The name servers did not tell where mail for {name} goes.");
    Verdict::Deferred(Trouble::own("4.4.3", &reason).because(&why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(list: &[(u16, &str)]) -> Result<Vec<String>, String> {
        let list = list.iter().map(|(preference, name)| Mx { preference: *preference, exchange: name.to_string() }).collect();
        choose(list, "d.example", "me.example", |list| list.reverse()).map_err(|verdict| match verdict {
            Verdict::Failed(trouble) => trouble.status,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn by_preference_and_never_to_ourselves() {
        assert_eq!(chosen(&[(20, "c"), (10, "a"), (10, "b")]).unwrap(), ["b", "a", "c"]);
        assert_eq!(chosen(&[(10, "a"), (20, "ME.example"), (20, "b"), (30, "c")]).unwrap(), ["a"]);
        assert_eq!(chosen(&[(10, "me.example"), (20, "c")]), Err("5.4.6".into()));
        assert_eq!(chosen(&[(0, "")]), Err("5.1.10".into()));
        assert_eq!(chosen(&[(0, ""), (5, "a")]).unwrap(), ["a"]);
        assert_eq!(chosen(&[]).unwrap(), ["d.example"]);
        let many: Vec<(u16, String)> = (0..50).map(|n| (n, format!("h{n}"))).collect();
        let many: Vec<(u16, &str)> = many.iter().map(|(n, name)| (*n, name.as_str())).collect();
        assert_eq!(chosen(&many).unwrap().len(), MOST_HOSTS);
    }

    #[test]
    fn ties_are_all_equal_in_the_end() {
        let mut first = [0; 3];
        for _ in 0..300 {
            let mut list: Vec<Mx> = (0..3).map(|n| Mx { preference: n, exchange: n.to_string() }).collect();
            shuffle(&mut list);
            first[usize::from(list[0].preference)] += 1;
        }
        assert!(first.iter().all(|count| *count > 50), "{first:?}");
    }
}
