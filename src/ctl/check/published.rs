//! Are the records published that `pillarboxctl dns` shows, and do they say what is so?
//!
//! What they must say is compared, not how: an SPF record is fine that lets this host send, whatever else it lets, and so is any
//! DMARC policy. What keeps mail away, or ours from being believed, is wrong; what only some others look for is a hint if it is
//! missing, and wrong if it leads elsewhere.

use super::super::Failure;
use super::super::dns::{Data, Record, Zone};
use super::Findings;
use super::State;
use super::names::{self, IN_ALL, PATIENCE};
use crate::config::Config;
use crate::delivery::policy;
use crate::net::dns::{DnsError, Resolver, Tlsa};
use crate::sys::SystemClock;
use crate::trust::dmarc;
use crate::trust::spf::{Client, SpfResult};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Looks at all; fails with 1 if something is wrong, with 2 if DNS did not tell all.
pub fn run(config: &Config, zones: &[Zone], json: bool) -> Result<(), Failure> {
    let resolver = Resolver::new(Arc::new(SystemClock::default()), &config.dns_servers).with_patience(PATIENCE);
    let addresses = resolver.addresses(&config.hostname).map(|found| found.data).unwrap_or_default();
    let (mut findings, until) = (Findings::default(), Instant::now() + IN_ALL);
    let look = Look { config, resolver, addresses };
    for record in zones.iter().flat_map(|zone| &zone.records) {
        if Instant::now() > until {
            findings.unseen("dns", format!("{} and those behind it: DNS is too slow", record.owner), "ask again later");
            break;
        }
        look.at(record, &mut findings);
    }
    findings.print(json)?;
    let has = |state| findings.0.iter().any(|finding| finding.state == state);
    match (has(State::Wrong), has(State::Unseen)) {
        (true, _) => Err(Failure::new(1, "")),
        (false, true) => Err(Failure::new(2, "")),
        (false, false) => Ok(()),
    }
}

struct Look<'a> {
    config: &'a Config,
    resolver: Resolver,
    /// Of this host.
    addresses: Vec<IpAddr>,
}

/// How a record that is missing is, and one that says something else.
enum Found {
    Fine(String),
    Hint(String),
    Wrong(String),
}

impl Look<'_> {
    fn at(&self, record: &Record, findings: &mut Findings) {
        let Record { about, owner, data } = record;
        let found = match data {
            Data::Mx(host) => return names::exchangers(&self.resolver, host, &self.addresses, owner, findings),
            Data::Text(_) if *about == "SPF" => self.spf(owner),
            Data::Text(_) if *about == "DMARC" => self.dmarc(owner),
            Data::Text(text) => self.text(owner, text),
            Data::Key(key) => self.resolver.txt(owner).map(|texts| {
                let results: Vec<_> = texts.iter().map(|text| key.is_published_as(text)).collect();
                match results.iter().find_map(|result| result.err()) {
                    _ if results.iter().any(Result::is_ok) => Found::Fine("is published".into()),
                    why => Found::Wrong(format!("is not the key that signs: {}", why.unwrap_or("no text"))),
                }
            }),
            Data::Tlsa(digest) => self.tlsa(digest),
            Data::Srv(port, host) => self.resolver.srv(owner).map(|all| {
                let is_ours = all.iter().any(|srv| srv.port == *port && srv.target.eq_ignore_ascii_case(host));
                let shown: Vec<String> = all.iter().map(|srv| format!("{}:{}", srv.target, srv.port)).collect();
                if is_ours { Found::Fine("is published".into()) } else { Found::Wrong(format!("leads to {}", shown.join(", "))) }
            }),
            Data::Alias(_) => self.resolver.addresses(owner).map(|found| {
                let is_here = found.data.iter().any(|address| self.addresses.contains(address));
                if is_here { Found::Fine("leads here".into()) } else { Found::Wrong("leads to another host".into()) }
            }),
        };
        let is_needed = matches!(*about, "SPF" | "DMARC" | "DKIM");
        let found = match found {
            Err(DnsError::Temporary(why)) => return findings.unseen(about, format!("{owner} ({why})"), "ask again later"),
            Err(_) if is_needed => Found::Wrong("is not published".into()),
            Err(_) => Found::Hint("is not published".into()),
            Ok(found) => found,
        };
        let advice = format!("publish: {record}");
        match found {
            Found::Fine(what) => findings.fine(about, format!("{owner} {what}")),
            Found::Hint(what) => findings.hint(about, format!("{owner} {what}"), advice),
            Found::Wrong(what) => findings.wrong(about, format!("{owner} {what}"), advice),
        }
    }

    /// May each of our addresses send mail of this domain? Who sends all by another host only needs to have a record.
    fn spf(&self, domain: &str) -> Result<Found, DnsError> {
        let nobody = [IpAddr::from([0, 0, 0, 0])];
        let is_direct = self.config.queue.smarthost.is_none() && !self.addresses.is_empty();
        let addresses: &[IpAddr] = if is_direct { &self.addresses } else { &nobody };
        for ip in addresses {
            let client = Client { ip: *ip, helo: &self.config.hostname };
            let verdict = client.check_sender(&self.resolver, "postmaster", domain);
            match verdict.result {
                SpfResult::TempError => return Err(DnsError::Temporary(verdict.reason)),
                SpfResult::None => return Err(DnsError::NoData),
                SpfResult::PermError => return Ok(Found::Wrong(format!("has a bad record: {}", verdict.reason))),
                SpfResult::Pass => {}
                _ if !is_direct => {}
                other => return Ok(Found::Wrong(format!("says {} of {ip}, which is this host", other.name()))),
            }
        }
        Ok(Found::Fine(if is_direct { "lets this host send" } else { "has a record" }.into()))
    }

    fn dmarc(&self, owner: &str) -> Result<Found, DnsError> {
        let domain = owner.strip_prefix("_dmarc.").unwrap_or(owner);
        match dmarc::published(&self.resolver, domain).map_err(DnsError::Temporary)? {
            None => Err(DnsError::NoData),
            Some(dmarc::Policy::None) => {
                Ok(Found::Hint("wants nothing done with mail that is not of this domain (p=none)".into()))
            }
            Some(policy) => Ok(Found::Fine(format!("says {}", policy.name()))),
        }
    }

    /// MTA-STS by its id, TLS-RPT by its version.
    fn text(&self, owner: &str, text: &str) -> Result<Found, DnsError> {
        let published = self.resolver.txt(owner)?;
        let (version, _) = text.split_once(';').unwrap_or((text, ""));
        let ours: Vec<Vec<u8>> = published.into_iter().filter(|other| other.starts_with(version.as_bytes())).collect();
        let [one] = ours.as_slice() else {
            return if ours.is_empty() {
                Err(DnsError::NoData)
            } else {
                Ok(Found::Wrong("has several records, so none counts".into()))
            };
        };
        match version {
            "v=STSv1" if policy::id(&ours) != policy::id(&[text.as_bytes().to_vec()]) => {
                Ok(Found::Wrong("has the id of another policy than the one that is given out here".into()))
            }
            "v=TLSRPTv1" if !one.windows(4).any(|window| window == b"rua=") => {
                Ok(Found::Wrong("names nobody to report to".into()))
            }
            _ => Ok(Found::Fine("is published".into())),
        }
    }

    /// Who heeds them sends no mail to a host that has another certificate.
    fn tlsa(&self, digest: &[u8]) -> Result<Found, DnsError> {
        let found = self.resolver.tlsa_at(&self.config.hostname, 25)?;
        let is_own = |tlsa: &Tlsa| (tlsa.usage, tlsa.selector, tlsa.matching) == (3, 1, 1) && tlsa.data == digest;
        Ok(
            match (
                found.data.iter().any(is_own),
                found.data.iter().all(|tlsa| tlsa.usage == 3 && tlsa.selector == 1 && tlsa.matching == 1),
            ) {
                (true, _) if found.secure => Found::Fine("is published".into()),
                (true, _) => {
                    Found::Hint("is published, but counts only in a zone that is signed, asked of a server that validates".into())
                }
                (false, true) => Found::Wrong("is of another certificate: hosts that heed it send no mail".into()),
                (false, false) => Found::Hint("is of a kind that can't be compared here".into()),
            },
        )
    }
}
