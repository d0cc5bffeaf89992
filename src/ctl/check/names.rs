//! What DNS tells others about this host: its name, its addresses, and that our domains' mail goes here.

use super::Findings;
use crate::config::Config;
use crate::net::dns::{DnsError, Patience, Resolver};
use crate::sys::SystemClock;
use nix::ifaddrs::getifaddrs;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For one question.
pub const PATIENCE: Patience = Patience { one: Duration::from_secs(3), rounds: 2, whole: Duration::from_secs(6) };
/// For all of them; no question is begun later.
pub const IN_ALL: Duration = Duration::from_secs(30);

pub fn look(config: &Config, findings: &mut Findings) {
    let (host, until) = (config.hostname.as_str(), Instant::now() + IN_ALL);
    if !host.contains('.') {
        let what = format!("this host calls itself {host}, which is no full name: others may refuse its mail");
        findings.wrong("hostname", what, "set `hostname` to a name that DNS knows, such as mail.example.org");
    }
    let resolver = Resolver::new(Arc::new(SystemClock::default()), &config.dns_servers).with_patience(PATIENCE);
    let addresses = match resolver.addresses(host) {
        Ok(found) => found.data,
        Err(DnsError::Temporary(why)) => {
            let advice = "see /etc/resolv.conf, or dns.servers: without DNS no mail leaves, unless by a smarthost or routes";
            return findings.wrong("dns", format!("no answer ({why})"), advice);
        }
        Err(_) => {
            findings.wrong("dns", format!("{host} has no address"), "let DNS know it, or set `hostname` to a name it knows");
            Vec::new()
        }
    };
    if !addresses.is_empty() {
        own_addresses(host, &addresses, findings);
    }
    // Who sends all by another host is known by that one's name.
    if config.queue.smarthost.is_none() {
        for address in addresses.iter().filter(|address| is_public(**address)) {
            reverse(&resolver, host, *address, findings);
        }
    }
    for zone in &config.screen.blocklists {
        if Instant::now() > until {
            return findings.unseen("blocklist", format!("{zone} and those behind it: DNS is too slow"), "ask again later");
        }
        blocklist(&resolver, zone, findings);
    }
    for domain in config.domains.iter().filter(|domain| domain.contains('.')) {
        if Instant::now() > until {
            return findings.unseen("dns", format!("{domain} and those behind it: DNS is too slow"), "ask again later");
        }
        exchangers(&resolver, host, &addresses, domain, findings);
    }
}

/// Does a blocklist answer, and only for what it lists? Each lists 127.0.0.2 and never 127.0.0.1 (RFC 5782 §5).
fn blocklist(resolver: &Resolver, zone: &str, findings: &mut Findings) {
    let lists = |last: u8| match resolver.a(&format!("{last}.0.0.127.{zone}")) {
        Ok(answers) => Ok(answers.iter().any(|answer| answer.is_loopback() && !answer.octets().starts_with(&[127, 255, 255]))),
        Err(DnsError::Temporary(why)) => Err(why),
        Err(_) => Ok(false),
    };
    let advice = "ask its keepers, ask it by a name server of your own, or take it out of screen.blocklists";
    match (lists(2), lists(1)) {
        (Ok(true), Ok(false)) => findings.fine("blocklist", format!("{zone} answers")),
        (_, Ok(true)) => findings.wrong("blocklist", format!("{zone} lists everybody, so it is not listened to"), advice),
        (Ok(false), _) => findings.wrong("blocklist", format!("{zone} does not list 127.0.0.2: it does not serve us"), advice),
        (Err(why), _) | (_, Err(why)) => findings.unseen("blocklist", format!("{zone} ({why})"), "ask again later"),
    }
}

/// Are they of this host? Behind a router they are the router's.
fn own_addresses(host: &str, addresses: &[IpAddr], findings: &mut Findings) {
    let ours: HashSet<IpAddr> = getifaddrs().into_iter().flatten().filter_map(|one| ip_of(&one)).collect();
    let shown: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let shown = format!("{host} is {}", shown.join(", "));
    if addresses.iter().any(|address| ours.contains(address)) {
        findings.fine("dns", shown);
    } else {
        let what = format!("{shown}: none of this host's own addresses");
        findings.unseen("dns", what, "if it is a router's, see that it passes port 25 on; else mend the address record");
    }
}

fn ip_of(interface: &nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// Others look whether the name of an address leads back to it.
fn reverse(resolver: &Resolver, host: &str, address: IpAddr, findings: &mut Findings) {
    match resolver.names(address) {
        Ok(names) if names.iter().any(|name| name.eq_ignore_ascii_case(host)) => {
            findings.fine("dns", format!("{address} is {host}"));
        }
        Err(DnsError::Temporary(why)) => findings.unseen("dns", format!("the name of {address} ({why})"), "ask again later"),
        other => {
            let names = other
                .ok()
                .filter(|names| !names.is_empty())
                .map_or("has no name".to_owned(), |names| format!("is {}", names.join(", ")));
            let what = format!("{address} {names}, not {host}: many hosts refuse its mail");
            findings.wrong("dns", what, "have whose network it is set its PTR record");
        }
    }
}

/// Does mail for the domain come here? Without an MX record its addresses count (RFC 5321 §5.1).
pub fn exchangers(resolver: &Resolver, host: &str, addresses: &[IpAddr], domain: &str, findings: &mut Findings) {
    let leads_here = |name: &str| {
        let same = |found: Vec<IpAddr>| found.iter().any(|address| addresses.contains(address));
        name.eq_ignore_ascii_case(host) || resolver.addresses(name).is_ok_and(|found| same(found.data))
    };
    let advice = format!("let its MX record name {host}, or take it out of `domains`");
    match resolver.mx(domain) {
        Ok(found) => {
            let names: Vec<String> = found.data.into_iter().map(|mx| mx.exchange).collect();
            match names.iter().find(|name| leads_here(name)) {
                Some(name) => findings.fine("dns", format!("mail for {domain} comes to {name}")),
                None => findings.wrong("dns", format!("mail for {domain} goes to {}", names.join(", ")), advice),
            }
        }
        Err(DnsError::Temporary(why)) => findings.unseen("dns", format!("the MX of {domain} ({why})"), "ask again later"),
        Err(_) if leads_here(domain) => findings.fine("dns", format!("mail for {domain} comes here, by its address")),
        Err(_) => findings.wrong("dns", format!("{domain} has no MX record"), advice),
    }
}

/// One that other hosts see.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()),
    }
}
