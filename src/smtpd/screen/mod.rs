//! What mail from strangers must pass before it is taken: blocklists, greylisting, and bounds on how much one network and one
//! sender may bring. Who guesses addresses waits longer for each answer.
//!
//! A stranger is a client that has not logged in, is not of this host, and stands in neither `smtp.relay_networks` nor
//! `allow.networks`. It is asked at RCPT, when sender and recipient are known: so each refusal is one line in the log that names
//! both, the rule, and what would allow it. The addresses that must be reachable for complaints (RFC 5321 §4.5.1, RFC 2142 §4)
//! are for everybody.

mod blocklist;
mod greylist;
mod tally;

use crate::auth::Guesses;
use crate::config::schema::Config;
use crate::mail::{Address, ReversePath};
use crate::net::dns::Resolver;
use crate::smtp::reply::{self, Reply};
use crate::sys::Clock;
use greylist::{Greylist, Greylisted};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tally::Tally;

/// Local parts that complaints go to.
const FOR_COMPLAINTS: [&str; 2] = ["postmaster", "abuse"];

/// What greylisting has learned is written down no more often.
const SAVE_AFTER: Duration = Duration::from_secs(60);

/// What all sessions know of strangers.
#[derive(Debug)]
pub struct Screen {
    clock: Arc<dyn Clock>,
    resolver: Arc<Resolver>,
    /// Where the greylist is kept.
    path: PathBuf,
    greylist: Mutex<Learned>,
    networks: Mutex<Tally>,
    senders: Mutex<Tally>,
    guesses: Mutex<Guesses>,
}

#[derive(Debug)]
struct Learned {
    greylist: Greylist,
    /// Since when, by the clock that never jumps, there is something that is not written down.
    unsaved_since: Option<Duration>,
}

/// Who wants to bring what to whom.
#[derive(Copy, Clone, Debug)]
pub(super) struct Stranger<'a> {
    pub address: IpAddr,
    pub sender: &'a ReversePath,
    pub recipient: &'a Address,
}

/// Why it is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Screened {
    pub reply: Reply,
    /// In the log: which rule says so.
    pub rule: String,
}

impl Screen {
    /// With what was learned before.
    pub fn new(clock: Arc<dyn Clock>, resolver: Arc<Resolver>, path: PathBuf) -> Screen {
        let greylist = Greylist::load(&path, clock.now());
        Screen {
            clock,
            resolver,
            path,
            greylist: Mutex::new(Learned { greylist, unsaved_since: None }),
            networks: Mutex::default(),
            senders: Mutex::default(),
            guesses: Mutex::default(),
        }
    }

    /// Is this client listed? It asks other hosts.
    pub(super) fn listed(&self, config: &Config, address: IpAddr) -> Option<Screened> {
        config.screen.blocklists.iter().find_map(|zone| blocklist::ask(&self.resolver, zone, address))
    }

    /// May this be brought, by a client that is not listed? What may is counted.
    pub(super) fn admit(&self, config: &Config, stranger: &Stranger<'_>) -> Result<(), Screened> {
        let settings = &config.screen;
        if settings.greylist {
            let Learned { greylist, unsaved_since } = &mut *lock(&self.greylist);
            let seen = greylist.see(self.clock.now(), settings.greylist_wait, stranger);
            unsaved_since.get_or_insert(self.clock.elapsed());
            if let Greylisted::Waits(left) = seen {
                let text =
                    format!("Greylisted: strangers are asked to come again, in {} seconds or later", left.as_secs().max(1));
                return Err(Screened { reply: Reply::new(451, "4.7.1", text), rule: "screen.greylist".into() });
            }
        }
        let now = self.clock.elapsed();
        let too_much = |rule: &str| Err(Screened { reply: reply::SENT_TOO_MUCH, rule: rule.into() });
        let network = network_of(stranger.address);
        let sender = stranger.sender.0.as_ref().map(Address::key);
        let (mut networks, mut senders) = (lock(&self.networks), lock(&self.senders));
        if networks.is_full(&network, settings.per_network, now) {
            return too_much("screen.per_network");
        }
        if sender.as_ref().is_some_and(|sender| senders.is_full(sender, settings.per_sender, now)) {
            return too_much("screen.per_sender");
        }
        networks.count(network, settings.per_network, now);
        sender.into_iter().for_each(|sender| senders.count(sender, settings.per_sender, now));
        Ok(())
    }

    /// It named an address that is none here: for how long it is to wait for the answer.
    pub(super) fn guessed(&self, address: IpAddr) -> Duration {
        lock(&self.guesses).wrong(self.clock.elapsed(), address)
    }

    /// Writes down what was learned, if that was long ago.
    pub(super) fn save_if_old(&self) {
        let now = self.clock.elapsed();
        if lock(&self.greylist).unsaved_since.is_some_and(|since| now.saturating_sub(since) >= SAVE_AFTER) {
            self.save();
        }
    }

    /// Writes it down. What can't be costs strangers a wait, no mail.
    pub fn save(&self) {
        let mut learned = lock(&self.greylist);
        if learned.unsaved_since.take().is_none() {
            return;
        }
        let lines = learned.greylist.lines(self.clock.now());
        drop(learned);
        if let Err(error) = greylist::save(&self.path, &lines) {
            log::warn!("event=greylist-not-saved file={} reason=\"{error}\"", self.path.display());
        }
    }
}

/// Is mail for it taken from everybody?
pub(super) fn is_for_complaints(recipient: &Address) -> bool {
    FOR_COMPLAINTS.iter().any(|name| recipient.local().eq_ignore_ascii_case(name))
}

/// What one site has many addresses of is one network to us: an IPv4 /24, an IPv6 /64.
fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
