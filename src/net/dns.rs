//! A blocking stub resolver (RFC 1035): asks the recursive servers of this host, follows CNAMEs, remembers answers.
//!
//! It validates nothing, but says whether a server that it trusts to validate vouches for an answer (the AD bit, RFC 4035
//! §3.2.3): who sits on the way to a server could set that bit, so it counts from this host only, unless it is told otherwise.
//!
//! Against forged answers each query has a random number and a socket of its own (so a random port), and an answer counts
//! only if it repeats the question. Everything is bounded: the wait, the tries, the chain of CNAMEs, the records taken from
//! an answer, the answers remembered.

mod cache;
mod exchange;
mod message;
mod servers;
#[cfg(test)]
mod tests;
mod tlsa;

pub use servers::Patience;
pub use tlsa::{Tlsa, TlsaSet};

use crate::config::schema::Trust;
use crate::sys::Clock;
use cache::Cache;
use domain::base::Rtype;
use message::{Answer, Data};
use servers::Servers;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// CNAMEs followed for one question.
const LONGEST_CHAIN: usize = 8;

/// The longest time an answer is remembered.
const LONGEST_MEMORY: Duration = Duration::from_secs(3600);

/// The longest time it is remembered that there is no answer (RFC 2308 §5 suggests one to three hours; mail can't wait).
const LONGEST_DENIAL: Duration = Duration::from_secs(300);

/// Finds mail exchangers and addresses. Shared by all threads.
#[derive(Debug)]
pub struct Resolver {
    clock: Arc<dyn Clock>,
    servers: Servers,
    cache: Mutex<Cache>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// The name does not exist (NXDOMAIN), or can't be one.
    NoName,
    /// The name exists, such a record does not.
    NoData,
    /// Try again later: SERVFAIL, time-out, lame answers; the text says which.
    Temporary(String),
}

/// A mail exchanger (RFC 5321 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    /// Lower ones are asked first.
    pub preference: u16,
    /// In lower case, without a final dot; empty for the null MX (RFC 7505).
    pub exchange: String,
}

/// A server of some service (RFC 2782); of several any will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Where it listens.
    pub port: u16,
    /// In lower case, without a final dot; empty if there is none.
    pub target: String,
}

/// What was found for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// It.
    pub data: T,
    /// The name at the end of the CNAMEs.
    pub name: String,
    /// A server that we trust vouches for all of it, the CNAMEs included.
    pub secure: bool,
}

impl<T> Found<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        Found { data: change(self.data), name: self.name, secure: self.secure }
    }
}

/// What a question came to, as it is remembered.
type Outcome = Result<Found<Vec<Data>>, DnsError>;

impl Resolver {
    /// `servers` empty: those of /etc/resolv.conf, read again when it changes.
    pub fn new(clock: Arc<dyn Clock>, servers: &[SocketAddr]) -> Resolver {
        Resolver { clock, servers: Servers::new(servers), cache: Mutex::default() }
    }

    /// Waits as long as told, instead of the default or what resolv.conf says.
    pub fn with_patience(mut self, patience: Patience) -> Resolver {
        self.servers.set_patience(patience);
        self
    }

    /// Whose word counts, instead of this host's servers'.
    pub fn trusting(mut self, trust: Trust) -> Resolver {
        self.servers.set_trust(trust);
        self
    }

    /// MX records in order of preference, ties as they came. Follows CNAMEs.
    pub fn mx(&self, domain: &str) -> Result<Found<Vec<Mx>>, DnsError> {
        if domain.parse::<IpAddr>().is_ok() || is_localhost(domain) {
            return Err(DnsError::NoData);
        }
        let found = self.lookup(domain, Rtype::MX)?;
        Ok(found.map(|all| {
            let mut exchangers: Vec<Mx> =
                all.into_iter().filter_map(|data| if let Data::Mx(mx) = data { Some(mx) } else { None }).collect();
            exchangers.sort_by_key(|mx| mx.preference);
            exchangers
        }))
    }

    /// TXT records, the strings of each put together. Follows CNAMEs.
    pub fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, DnsError> {
        let found = self.lookup(name, Rtype::TXT)?.data;
        Ok(found.into_iter().filter_map(|data| if let Data::Text(text) = data { Some(text) } else { None }).collect())
    }

    /// SRV records. Follows CNAMEs.
    pub fn srv(&self, name: &str) -> Result<Vec<Srv>, DnsError> {
        let found = self.lookup(name, Rtype::SRV)?.data;
        Ok(found.into_iter().filter_map(|data| if let Data::Srv(srv) = data { Some(srv) } else { None }).collect())
    }

    /// A records. Follows CNAMEs.
    pub fn a(&self, name: &str) -> Result<Vec<Ipv4Addr>, DnsError> {
        let found = self.lookup(name, Rtype::A)?.data;
        Ok(found
            .into_iter()
            .filter_map(Data::address)
            .filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None })
            .collect())
    }

    /// The names of an address (RFC 1035 §3.5, RFC 3596 §2.5), in lower case. Follows CNAMEs.
    pub fn names(&self, address: IpAddr) -> Result<Vec<String>, DnsError> {
        let zone = if address.to_canonical().is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
        let name = under(address, zone);
        let found = self.lookup(&name, Rtype::PTR)?.data;
        Ok(found.into_iter().filter_map(|data| if let Data::Pointer(name) = data { Some(name) } else { None }).collect())
    }

    /// IPv6 and IPv4 addresses, in this order. Follows CNAMEs; `NoData` if neither kind exists. An address stands for
    /// itself, `localhost` for the loopback addresses (RFC 6761 §6.3). `Temporary` only if nothing was found and a question
    /// stayed open. They are secure if all that were found are.
    pub fn addresses(&self, host: &str) -> Result<Found<Vec<IpAddr>>, DnsError> {
        let known = |data| Ok(Found { data, name: host.to_owned(), secure: false });
        if let Ok(address) = host.parse() {
            return known(vec![address]);
        }
        if is_localhost(host) {
            return known(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
        }
        let mut all: Option<Found<Vec<IpAddr>>> = None;
        let mut missing = DnsError::NoData;
        for kind in [Rtype::AAAA, Rtype::A] {
            match self.lookup(host, kind) {
                Ok(found) => {
                    let found = found.map(|data| data.into_iter().filter_map(Data::address));
                    let all = all.get_or_insert_with(|| Found { data: Vec::new(), name: found.name, secure: true });
                    all.secure &= found.secure;
                    all.data.extend(found.data);
                }
                Err(error) => missing = graver(missing, error),
            }
        }
        all.ok_or(missing)
    }

    /// Addresses of one family. Follows CNAMEs.
    pub fn addresses_of(&self, host: &str, v6: bool) -> Result<Vec<IpAddr>, DnsError> {
        let found = self.lookup(host, if v6 { Rtype::AAAA } else { Rtype::A })?;
        Ok(found.data.into_iter().filter_map(Data::address).collect())
    }

    /// All data of one kind, at least one, at the end of the name's CNAMEs.
    fn lookup(&self, name: &str, kind: Rtype) -> Outcome {
        let name = checked(name).ok_or(DnsError::NoName)?;
        let key = (name, kind);
        if let Some(found) = self.cache().get(&key, self.clock.elapsed()) {
            return found;
        }
        let (found, keep) = self.resolve(&key.0, kind)?;
        if !keep.is_zero() {
            self.cache().put(key, found.clone(), self.clock.elapsed(), keep);
        }
        found
    }

    /// Asks, as often as CNAMEs make it necessary. What was found, and for how long that holds.
    fn resolve(&self, name: &str, kind: Rtype) -> Result<(Outcome, Duration), DnsError> {
        let until = self.deadline();
        let mut chain = Chain { name: name.to_owned(), links: 0, ttl: LONGEST_MEMORY, secure: true };
        loop {
            let answer = self.ask(&chain.name, kind, until)?;
            if let Some(end) = chain.follow(&answer)? {
                return Ok(end);
            }
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.servers.patience(self.clock.elapsed()).whole
    }

    /// One question to the servers, in turn, until one has an answer.
    fn ask(&self, name: &str, kind: Rtype, until: Instant) -> Result<Answer, DnsError> {
        let patience = self.servers.patience(self.clock.elapsed());
        let servers = self.servers.in_order();
        let mut last = "no name server".to_owned();
        for _ in 0..patience.rounds {
            for (number, server) in &servers {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(DnsError::Temporary(last));
                }
                match exchange::ask(*server, name, kind, left.min(patience.one)) {
                    Ok(mut answer) => {
                        self.servers.prefer(*number);
                        answer.secure &= self.servers.trusts(*server);
                        return Ok(answer);
                    }
                    Err(reason) => {
                        log::debug!("dns event=failed server={server} name={name} type={kind} reason=\"{reason}\"");
                        last = format!("{reason} from {server}");
                    }
                }
            }
        }
        Err(DnsError::Temporary(last))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name and the CNAMEs that led to it.
struct Chain {
    name: String,
    links: usize,
    ttl: Duration,
    /// All of it so far.
    secure: bool,
}

impl Chain {
    /// Follows the chain through an answer. `None`: its end is not in this answer, the name now reached is to be asked for.
    fn follow(&mut self, answer: &Answer) -> Result<Option<(Outcome, Duration)>, DnsError> {
        let before = self.links;
        self.secure &= answer.secure;
        loop {
            let here = answer.records.iter().filter(|record| record.owner == self.name);
            let (aliases, found): (Vec<_>, Vec<_>) = here.partition(|record| matches!(record.data, Data::Alias(_)));
            if !found.is_empty() {
                let keep = found.iter().map(|record| record.ttl).fold(self.ttl, Duration::min);
                let data = found.into_iter().map(|record| record.data.clone()).collect();
                return Ok(Some((Ok(Found { data, name: self.name.clone(), secure: self.secure }), keep)));
            }
            let Some((Data::Alias(target), ttl)) = aliases.first().map(|record| (&record.data, record.ttl)) else { break };
            self.links += 1;
            if self.links > LONGEST_CHAIN {
                return Err(DnsError::Temporary(format!("too many CNAMEs, at {}", self.name)));
            }
            self.ttl = self.ttl.min(ttl);
            self.name.clone_from(target);
        }
        let keep = answer.denial.map_or(Duration::ZERO, |ttl| ttl.min(self.ttl).min(LONGEST_DENIAL));
        match answer {
            Answer { no_such_name: true, .. } => Ok(Some((Err(DnsError::NoName), keep))),
            // An alias, and nothing said about where it leads.
            Answer { denial: None, .. } if self.links > before => Ok(None),
            _ => Ok(Some((Err(DnsError::NoData), keep))),
        }
    }
}

/// Of two reasons the one that counts: an open question before an answer, no such name before no such record.
fn graver(one: DnsError, other: DnsError) -> DnsError {
    match (one, other) {
        (DnsError::Temporary(text), _) | (_, DnsError::Temporary(text)) => DnsError::Temporary(text),
        (DnsError::NoName, _) | (_, DnsError::NoName) => DnsError::NoName,
        _ => DnsError::NoData,
    }
}

/// The name of an address in a zone: its octets, or nibbles, from the last to the first (RFC 1035 §3.5, RFC 3596 §2.5, RFC 5782
/// §2.1, §2.4).
pub fn under(address: IpAddr, zone: &str) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.{zone}")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4));
            format!("{}{zone}", nibbles.collect::<String>())
        }
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The name in lower case and without final dot, if it can be asked for (RFC 1035 §2.3.4). A label may be of any character that
/// is seen (RFC 2181 §11), as SPF makes them of senders' names; but for the backslash, which stands for others where names are
/// written.
fn checked(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label_ok =
        |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (name.len() <= 253 && name.split('.').all(label_ok)).then(|| name.to_ascii_lowercase())
}
