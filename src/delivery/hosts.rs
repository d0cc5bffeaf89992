//! Hosts that did not answer, whichever domain they were asked for: a dead host is not asked by every message. Pure.
//!
//! Only who was not there, or said nothing, is left alone here. Who says why it does not want to talk may want to talk to
//! others, or later, or about another domain.

use super::outcome::Trouble;
use crate::config::Endpoint;
use std::collections::HashMap;
use std::time::Duration;

/// One that failed is remembered for so long after its rest, so that a second failure makes it rest longer.
const REMEMBERED: Duration = Duration::from_secs(600);

/// A host that has rested is asked by one thread; the others leave it alone until that is decided, or for so long.
const TRIAL: Duration = Duration::from_secs(60);

/// Those to be forgotten are looked for so often.
const SWEEP: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Host {
    rests_until: Duration,
    /// One thread asks it.
    trial: bool,
    /// In a row.
    failures: u32,
    /// Of the last one.
    trouble: Box<Trouble>,
}

/// See the module. Time is that of the clock that never jumps.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    failed: HashMap<Endpoint, Host>,
    sweep: Duration,
}

impl Hosts {
    /// May this host be asked? If not, why it could not be reached before.
    pub(super) fn ask(&mut self, address: &Endpoint, now: Duration) -> Result<(), Box<Trouble>> {
        match self.failed.get_mut(address) {
            Some(host) if host.rests_until > now => Err(host.trouble.clone()),
            Some(host) => {
                (host.rests_until, host.trial) = (now + TRIAL, true);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// It answered.
    pub(super) fn answered(&mut self, address: &Endpoint) {
        self.failed.remove(address);
    }

    /// It did not; `rest`: for how long it is left alone after so many failures.
    pub(super) fn failed(&mut self, address: &Endpoint, trouble: &Trouble, now: Duration, rest: impl Fn(u32) -> Duration) {
        if self.sweep <= now {
            self.failed.retain(|_, host| host.rests_until + REMEMBERED > now);
            self.sweep = now + SWEEP;
        }
        let before = self.failed.get(address);
        // Those who began to ask it before it was known to be dead find out the same.
        if before.is_some_and(|host| !host.trial && host.rests_until > now) {
            return;
        }
        let failures = before.map_or(0, |host| host.failures).saturating_add(1);
        let (rests_until, trouble) = (now + rest(failures), Box::new(trouble.clone()));
        let host = Host { rests_until, trial: false, failures, trouble };
        self.failed.insert(address.clone(), host);
    }

    /// All may be asked again.
    pub(super) fn forget(&mut self) {
        self.failed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_dead_host_rests_and_is_then_asked_by_one() {
        let mut hosts = Hosts::default();
        let [dead, other] = ["192.0.2.1:25", "192.0.2.1:26"].map(|address| Endpoint::Tcp(address.parse().unwrap()));
        let (dead, other) = (&dead, &other);
        let trouble = Trouble::own("4.4.1", "gone");
        let rest = |failures: u32| at(10 * u64::from(failures));
        hosts.failed(dead, &trouble, at(100), rest);
        hosts.failed(dead, &trouble, at(101), rest);
        assert_eq!(hosts.ask(dead, at(109)), Err(trouble.clone()));
        assert_eq!(hosts.ask(other, at(109)), Ok(()));
        assert_eq!((hosts.ask(dead, at(110)), hosts.ask(dead, at(110))), (Ok(()), Err(trouble.clone())));
        hosts.failed(dead, &trouble, at(111), rest);
        assert_eq!((hosts.ask(dead, at(130)).is_err(), hosts.ask(dead, at(131)).is_ok()), (true, true));
        // One that never tells what came of it keeps nobody away for good.
        assert_eq!(hosts.ask(dead, at(131) + TRIAL), Ok(()));
        hosts.answered(dead);
        assert_eq!((hosts.ask(dead, at(200)), hosts.ask(dead, at(200))), (Ok(()), Ok(())));
        hosts.failed(dead, &trouble, at(300), rest);
        hosts.failed(other, &trouble, at(1000), rest);
        assert_eq!(hosts.failed.len(), 1);
        hosts.forget();
        assert_eq!(hosts.ask(other, at(1001)), Ok(()));
    }
}
