//! SPF (RFC 7208): may the host of this address send mail for that domain?
//!
//! A record is read whole before anything of it is asked for, so one bad term spoils it wherever it stands (§4.6). All that a
//! stranger can make us ask for is bounded (§4.6.4): terms that ask, names without an answer, hosts of an `mx`, names of a
//! `ptr`.

mod macros;
mod record;
#[cfg(test)]
mod tests;

use super::Dns;
use crate::config::schema::Network;
use crate::net::dns::DnsError;
use macros::{Spec, Values};
use record::{Lengths, Mechanism, Record};
use std::net::IpAddr;

/// Terms that ask DNS (RFC 7208 §4.6.4).
const MOST_TERMS: usize = 10;

/// Names without an answer (same place).
const MOST_VOID: usize = 2;

/// Hosts of one `mx`, names of one `ptr` (same place).
const MOST_HOSTS: usize = 10;

/// What a check comes to (RFC 7208 §2.6).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum SpfResult {
    /// There is no record, or no domain.
    None,
    /// The domain says nothing of this host.
    Neutral,
    /// It may.
    Pass,
    /// It may not.
    Fail,
    /// It should not.
    SoftFail,
    /// DNS could not tell now.
    TempError,
    /// The record can't be understood.
    PermError,
}

impl SpfResult {
    /// As it is written in Authentication-Results (RFC 8601 §2.7.2).
    pub fn name(self) -> &'static str {
        match self {
            SpfResult::None => "none",
            SpfResult::Neutral => "neutral",
            SpfResult::Pass => "pass",
            SpfResult::Fail => "fail",
            SpfResult::SoftFail => "softfail",
            SpfResult::TempError => "temperror",
            SpfResult::PermError => "permerror",
        }
    }
}

/// A result, and why it is an error if it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It.
    pub result: SpfResult,
    /// For people; empty unless it is an error.
    pub reason: String,
}

/// Who sends, and for whom it says it does.
#[derive(Copy, Clone, Debug)]
pub struct Client<'a> {
    /// Its address.
    pub ip: IpAddr,
    /// The name it gave itself.
    pub helo: &'a str,
}

impl Client<'_> {
    /// May it call itself so (RFC 7208 §2.3)?
    pub fn check_helo(&self, dns: &dyn Dns) -> Verdict {
        check(dns, self, "postmaster", self.helo)
    }

    /// May it send mail of this sender (RFC 7208 §2.4)? The domain is one of A-labels.
    pub fn check_sender(&self, dns: &dyn Dns, local: &str, domain: &str) -> Verdict {
        check(dns, self, if local.is_empty() { "postmaster" } else { local }, domain)
    }
}

/// check_host() of RFC 7208 §4.
fn check(dns: &dyn Dns, client: &Client<'_>, local: &str, domain: &str) -> Verdict {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if !is_name(domain) || !domain.contains('.') || domain.parse::<IpAddr>().is_ok() {
        return Verdict { result: SpfResult::None, reason: String::new() };
    }
    let values = Values { ip: client.ip.to_canonical(), helo: client.helo, local, origin: domain, domain };
    let mut check = Check { dns, values, terms: 0, void: 0, names: None };
    match check.domain(domain) {
        Ok(result) => Verdict { result, reason: String::new() },
        Err(Stop::Temporary(reason)) => Verdict { result: SpfResult::TempError, reason },
        Err(Stop::Permanent(reason)) => Verdict { result: SpfResult::PermError, reason },
    }
}

/// Why a check can't go on.
enum Stop {
    Temporary(String),
    Permanent(String),
}

fn permanent<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Permanent(reason.into()))
}

/// One check, over all records that it leads to.
struct Check<'a> {
    dns: &'a dyn Dns,
    values: Values<'a>,
    terms: usize,
    void: usize,
    /// Of the client's address: its names, as DNS tells them.
    names: Option<Vec<String>>,
}

impl Check<'_> {
    /// The record of a domain, and of those that it redirects to.
    fn domain(&mut self, domain: &str) -> Result<SpfResult, Stop> {
        let mut domain = domain.to_owned();
        let mut is_first = true;
        loop {
            let Some(record) = self.record(&domain)? else {
                return if is_first { Ok(SpfResult::None) } else { permanent(format!("no record at {domain}")) };
            };
            for (result, mechanism) in &record.directives {
                if self.matches(mechanism, &domain)? {
                    return Ok(*result);
                }
            }
            let Some(redirect) = &record.redirect else { return Ok(SpfResult::Neutral) };
            self.count_term()?;
            let Some(next) = self.target(redirect, &domain)? else { return permanent("redirect to a bad name") };
            (domain, is_first) = (next, false);
        }
    }

    /// The record of a domain, if it has one (RFC 7208 §4.4, §4.5).
    fn record(&mut self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = match self.dns.txt(domain) {
            Ok(texts) => texts,
            Err(DnsError::NoName | DnsError::NoData) => return Ok(None),
            Err(DnsError::Temporary(reason)) => return Err(Stop::Temporary(format!("{domain}: {reason}"))),
        };
        let mut records = texts.iter().filter_map(|text| record::terms(text));
        match (records.next(), records.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => permanent(format!("several records at {domain}")),
            (Some(terms), None) => match Record::parse(terms) {
                Ok(record) => Ok(Some(record)),
                Err(wrong) => permanent(format!("{wrong} at {domain}")),
            },
        }
    }

    fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        if !matches!(mechanism, Mechanism::All | Mechanism::Within(_)) {
            self.count_term()?;
        }
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Within(network) => Ok(self.is_within(network)),
            Mechanism::Include(spec) => self.included(spec, domain),
            Mechanism::A(spec, lengths) => match self.target_or(spec.as_ref(), domain)? {
                Some(host) => self.is_host(&host, *lengths),
                None => Ok(false),
            },
            Mechanism::Mx(spec, lengths) => match self.target_or(spec.as_ref(), domain)? {
                Some(name) => self.is_exchanger(&name, *lengths),
                None => Ok(false),
            },
            Mechanism::Ptr(spec) => Ok(match self.target_or(spec.as_ref(), domain)? {
                Some(name) => self.validated()?.iter().any(|found| is_below(found, &name)),
                None => false,
            }),
            Mechanism::Exists(spec) => match self.target(spec, domain)? {
                // A records, whatever the client's address is (§5.7).
                Some(name) => Ok(!self.addresses(&name, false)?.is_empty()),
                None => Ok(false),
            },
        }
    }

    /// `include` (RFC 7208 §5.2): a match if the other record says pass, and there must be one.
    fn included(&mut self, spec: &Spec, domain: &str) -> Result<bool, Stop> {
        let Some(name) = self.target(spec, domain)? else { return permanent("include of a bad name") };
        match self.domain(&name)? {
            SpfResult::Pass => Ok(true),
            SpfResult::None => permanent(format!("no record at {name}")),
            _ => Ok(false),
        }
    }

    /// Is the client's one of the addresses of this host, or near enough?
    fn is_host(&mut self, host: &str, lengths: Lengths) -> Result<bool, Stop> {
        let v6 = self.values.ip.is_ipv6();
        let bits = if v6 { lengths.v6 } else { lengths.v4 };
        let found = self.addresses(host, v6)?;
        Ok(found.into_iter().any(|address| self.is_within(&Network { address, bits })))
    }

    fn is_exchanger(&mut self, name: &str, lengths: Lengths) -> Result<bool, Stop> {
        let found = self.dns.exchangers(name);
        let hosts = self.unless_void(found)?;
        for (number, host) in hosts.iter().enumerate() {
            if number >= MOST_HOSTS {
                return permanent(format!("too many exchangers at {name}"));
            }
            // The null MX is no host (RFC 7505).
            if !host.is_empty() && self.is_host(host, lengths)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_within(&self, network: &Network) -> bool {
        network.address.is_ipv4() == self.values.ip.is_ipv4() && network.contains(self.values.ip)
    }

    /// The names of the client's address that lead back to it (RFC 7208 §5.5). An error of DNS is as good as no name. That it
    /// has none counts as any lookup without an answer (§4.6.4); what its names lead to does not, for who sends chose those.
    fn validated(&mut self) -> Result<Vec<String>, Stop> {
        if let Some(known) = &self.names {
            return Ok(known.clone());
        }
        let ip = self.values.ip;
        let found = self.dns.names(ip);
        let names = match self.unless_void(found) {
            Err(Stop::Temporary(_)) => Vec::new(),
            found => found?,
        };
        let leads_back = |name: &String| self.dns.addresses(name, ip.is_ipv6()).is_ok_and(|found| found.contains(&ip));
        let validated: Vec<String> = names.into_iter().take(MOST_HOSTS).filter(leads_back).collect();
        self.names = Some(validated.clone());
        Ok(validated)
    }

    /// `%{p}` (RFC 7208 §7.3): the domain itself, a name below it, or any.
    fn validated_name(&mut self, domain: &str) -> Result<String, Stop> {
        let names = self.validated()?;
        let itself = names.iter().find(|name| name.eq_ignore_ascii_case(domain));
        let below = || names.iter().find(|name| is_below(name, domain));
        Ok(itself.or_else(below).or(names.first()).map_or("unknown", String::as_str).to_owned())
    }

    fn addresses(&mut self, name: &str, v6: bool) -> Result<Vec<IpAddr>, Stop> {
        let found = self.dns.addresses(name, v6);
        self.unless_void(found)
    }

    /// What was found, or nothing, which may not happen often.
    fn unless_void<T>(&mut self, found: Result<Vec<T>, DnsError>) -> Result<Vec<T>, Stop> {
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Err(DnsError::Temporary(reason)) => Err(Stop::Temporary(reason)),
            _ if self.void >= MOST_VOID => permanent("too many names without an answer"),
            _ => {
                self.void += 1;
                Ok(Vec::new())
            }
        }
    }

    fn count_term(&mut self) -> Result<(), Stop> {
        self.terms += 1;
        if self.terms > MOST_TERMS { permanent("too many lookups") } else { Ok(()) }
    }

    /// A domain-spec with its macros replaced (RFC 7208 §4.8, §7.3); `None`: that is no name.
    fn target(&mut self, spec: &Spec, domain: &str) -> Result<Option<String>, Stop> {
        let mut validated = String::new();
        if spec.needs_validated() {
            // The PTR lookup counts as the `ptr` mechanism does.
            self.count_term()?;
            validated = self.validated_name(domain)?;
        }
        let mut name = spec.expand(&Values { domain, ..self.values }, &validated);
        name.truncate(name.strip_suffix('.').unwrap_or(&name).len());
        while name.len() > 253 {
            match name.split_once('.') {
                Some((_, rest)) => name = rest.to_owned(),
                None => return Ok(None),
            }
        }
        Ok(Some(name).filter(|name| is_name(name)))
    }

    fn target_or(&mut self, spec: Option<&Spec>, domain: &str) -> Result<Option<String>, Stop> {
        match spec {
            Some(spec) => self.target(spec, domain),
            None => Ok(Some(domain.to_owned())),
        }
    }
}

/// Can it be asked for at all (RFC 1035 §2.3.4)?
fn is_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| (1..=63).contains(&label.len()))
        && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Is it the domain or a name in it?
fn is_below(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.to_ascii_lowercase(), domain.to_ascii_lowercase());
    name.strip_suffix(&domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
