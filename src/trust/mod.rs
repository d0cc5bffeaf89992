//! Whether mail comes from whom it says, and that our mail can be believed to.
//!
//! * `spf`: may this host send for that domain (RFC 7208)?
//! * `dkim`: has a domain signed this message (RFC 6376)? It signs, too. In it `arc`: what did those find who passed it on to us
//!   (RFC 8617)?
//! * `dmarc`: does either speak for the author (RFC 7489)? `aggregate`: what its domain is told of that.
//! * `results`: what is told of them, in a field on top of the message (RFC 8601).
//!
//! All is asked through [`Dns`] and read by functions without I/O. [`Checking`] puts it together.

pub mod aggregate;
pub mod dkim;
pub mod dmarc;
mod dns;
#[cfg(test)]
mod measure;
pub mod results;
pub mod spf;
mod tags;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod zone;

pub use dkim::arc;
pub use dns::Dns;

use crate::mail::{Domain, ReversePath};
use dmarc::{DmarcResult, Policy};
use dns::Hasty;
use spf::{Client, SpfResult};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// From then on no question is asked any more; RFC 7208 §4.6.4 wants at least so much.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a message arrives.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// From where.
    pub ip: IpAddr,
    /// What the client calls itself.
    pub helo: String,
    /// Its reverse-path.
    pub sender: ReversePath,
}

/// A message that is checked while it arrives.
#[derive(Debug)]
pub struct Checking {
    arrival: Arrival,
    signatures: dkim::Verifier,
    chain: Option<arc::Verifier>,
    author: Result<String, &'static str>,
    kind: aggregate::Kind,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// SPF of the sender's domain, if it has a sender.
    pub sender: Option<(String, spf::Verdict)>,
    /// SPF of the name that the client gives itself.
    pub helo: (String, spf::Verdict),
    /// Of its signatures.
    pub dkim: Vec<dkim::Verdict>,
    /// Of its author.
    pub dmarc: dmarc::Verdict,
    /// Of those who passed it on, if any say so.
    pub arc: Option<arc::Verdict>,
    /// From where it came.
    pub ip: IpAddr,
    /// What it is, for who is told of it.
    pub kind: aggregate::Kind,
}

impl Checking {
    /// `header` is all before the empty line, with LF line ends as the body's.
    pub fn new(arrival: Arrival, header: &[u8]) -> Checking {
        Checking {
            arrival,
            signatures: dkim::Verifier::new(header),
            chain: arc::Verifier::new(header),
            author: dmarc::author(header),
            kind: aggregate::Kind::of(header),
        }
    }

    /// The next piece of the body.
    pub fn body(&mut self, bytes: &[u8]) {
        self.signatures.body(bytes);
        self.chain.iter_mut().for_each(|chain| chain.body(bytes));
    }

    /// Asks DNS, for a bounded time, and judges. `now` is in seconds since the epoch; for `luck` see [`dmarc::check`].
    pub fn finish(self, dns: &dyn Dns, now: u64, luck: u8) -> Verdicts {
        let dns = &Hasty::new(dns, Instant::now() + PATIENCE);
        let Arrival { ip, helo, sender } = self.arrival;
        let client = Client { ip, helo: &helo };
        let by_helo = client.check_helo(dns);
        let by_sender = sender.0.as_ref().and_then(|address| match address.domain() {
            name @ Domain::Name(_) => {
                let domain = name.key();
                let verdict = client.check_sender(dns, address.local(), &domain);
                Some((domain, verdict))
            }
            Domain::Literal(_) => None,
        });
        let dkim = self.signatures.finish(dns, now);
        let arc = self.chain.map(|chain| chain.finish(dns));
        let dmarc = match self.author {
            Ok(from) => {
                // A null sender is one of the client itself (RFC 7489 §3.1.2).
                let spf = match &by_sender {
                    Some((domain, verdict)) => (domain.as_str(), verdict.result),
                    None if sender.0.is_none() => (helo.as_str(), by_helo.result),
                    None => ("", SpfResult::None),
                };
                dmarc::check(dns, &from, spf, &dkim, luck)
            }
            Err(wrong) => dmarc::Verdict {
                result: DmarcResult::PermError,
                from: None,
                policy: Policy::None,
                reason: wrong.to_owned(),
                found: None,
            },
        };
        Verdicts { sender: by_sender, helo: (helo, by_helo), dkim, dmarc, arc, ip, kind: self.kind }
    }
}

impl Verdicts {
    /// The Authentication-Results field of this name, with its LF line ends.
    pub fn field(&self, authserv_id: &str) -> String {
        results::field(self, authserv_id)
    }

    /// The author's domain, if it wants the message refused.
    pub fn refused_by(&self) -> Option<&str> {
        let dmarc = &self.dmarc;
        let is_refused = dmarc.result == DmarcResult::Fail && dmarc.policy == Policy::Reject;
        dmarc.from.as_deref().filter(|_| is_refused)
    }

    /// For the log: `key=value` pairs.
    pub fn summary(&self) -> String {
        let spf = self.sender.as_ref().map_or("none", |(_, verdict)| verdict.result.name());
        let signed: Vec<String> = self
            .dkim
            .iter()
            .map(|verdict| {
                let domain = verdict.signer.as_ref().map_or("?", |signer| &signer.domain);
                format!("{}:{domain}", verdict.result.name())
            })
            .collect();
        let dkim = if signed.is_empty() { "none".to_owned() } else { signed.join(",") };
        let dmarc = &self.dmarc;
        let from = dmarc.from.as_deref().unwrap_or("?");
        let helo = self.helo.1.result.name();
        let arc = self
            .arc
            .as_ref()
            .map_or(String::new(), |arc| format!(" arc={}:{}", arc.result.name(), arc.sealer.as_deref().unwrap_or("?")));
        let (result, policy) = (dmarc.result.name(), dmarc.policy.name());
        format!("spf={spf} helo={helo} dkim={dkim} dmarc={result} author={from} policy={policy}{arc}")
    }
}
