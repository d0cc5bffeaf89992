//! Slows down guessers, by client network and by account. Pure: it is told the time and tells a delay.
//!
//! Every wrong password counts against the network it came from and against the account it was for. A count goes down
//! by one every half minute, and is forgotten at zero.
//!
//! * A network waits longer and longer, then is refused for a while. From its third failure on a try counts before it is
//!   made, so that many connections at once gain nothing; a right password takes it back.
//! * An account makes everybody wait for two seconds at most: its owner, who comes from another network, is not locked out.
//!
//! Memory is bounded: names are kept as hashes, and when a table is full the mildest entries go.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::time::Duration;

/// So many failures cost nothing: people mistype.
const FREE: u32 = 3;
/// The first delay; each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest for a network.
const MOST_FOR_NETWORK: Duration = Duration::from_secs(10);
/// The longest for an account.
const MOST_FOR_ACCOUNT: Duration = Duration::from_secs(2);
/// A network with so many failures is not listened to.
const REFUSED: u32 = 20;
/// Counts end here, so that the refusal of a network ends some minutes after its last try.
const MOST_FAILURES: u32 = 30;
/// One failure is forgotten in this time.
const FORGET: Duration = Duration::from_secs(30);
/// Entries in each table.
const MOST_ENTRIES: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub struct Throttle {
    hasher: RandomState,
    networks: Table,
    accounts: Table,
}

/// A try that is under way: whom it counts against.
#[derive(Debug)]
pub struct Try {
    network: Option<u64>,
    account: u64,
    counted: bool,
}

impl Throttle {
    /// A try begins at `now` (of a clock that never goes back). How long it has to wait; None: it is refused, and nothing
    /// need be ended. `network`: none for a peer that is not to be slowed down for others' guesses, such as a local process.
    pub fn begin(&mut self, now: Duration, network: Option<IpAddr>, account: &str) -> Option<(Try, Duration)> {
        let network = network.map(|address| self.hasher.hash_one(network_of(address)));
        let account = self.hasher.hash_one(account);
        let failures = network.map_or(0, |key| self.networks.failures(key, now));
        if failures >= REFUSED {
            return None;
        }
        let delay = delay(failures, MOST_FOR_NETWORK).max(delay(self.accounts.failures(account, now), MOST_FOR_ACCOUNT));
        let counted = failures >= FREE;
        if let (Some(key), true) = (network, counted) {
            self.networks.add(key, now);
        }
        Some((Try { network, account, counted }, delay))
    }

    /// It was the right password.
    pub fn right(&mut self, now: Duration, done: Try) {
        if let (Some(key), true) = (done.network, done.counted) {
            self.networks.take(key, now);
        }
    }

    /// It was a wrong one.
    pub fn wrong(&mut self, now: Duration, done: Try) {
        if let (Some(key), false) = (done.network, done.counted) {
            self.networks.add(key, now);
        }
        self.accounts.add(done.account, now);
    }

    /// It came to nothing: whether the password was right is not known.
    pub fn void(&mut self, now: Duration, done: Try) {
        self.right(now, done);
    }
}

/// Networks that guess something else than passwords. They wait, and are not refused.
#[derive(Debug, Default)]
pub struct Guesses {
    hasher: RandomState,
    networks: Table,
}

impl Guesses {
    /// A guess was wrong: how long its network has to wait for the answer.
    pub fn wrong(&mut self, now: Duration, network: IpAddr) -> Duration {
        let key = self.hasher.hash_one(network_of(network));
        let failures = self.networks.failures(key, now);
        self.networks.add(key, now);
        delay(failures, MOST_FOR_NETWORK)
    }
}

/// What one person can easily have many addresses of is one network: an IPv6 /64.
fn network_of(address: IpAddr) -> impl Hash {
    match address.to_canonical() {
        IpAddr::V4(ip) => (4, u64::from(u32::from(ip))),
        IpAddr::V6(ip) => (6, (u128::from(ip) >> 64) as u64),
    }
}

fn delay(failures: u32, most: Duration) -> Duration {
    match failures.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_DELAY.saturating_mul(1 << doublings.min(16)).min(most),
    }
}

#[derive(Debug, Default)]
struct Table(HashMap<u64, Count>);

/// Failures as they were at a time.
#[derive(Debug)]
struct Count {
    failures: u32,
    since: Duration,
}

impl Count {
    /// Forgets what is old enough.
    fn settle(&mut self, now: Duration) {
        let steps = u32::try_from(now.saturating_sub(self.since).as_nanos() / FORGET.as_nanos()).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_sub(steps);
        self.since = self.since.saturating_add(FORGET.saturating_mul(steps)).min(now);
    }
}

impl Table {
    fn failures(&mut self, key: u64, now: Duration) -> u32 {
        let Some(count) = self.0.get_mut(&key) else {
            return 0;
        };
        count.settle(now);
        let failures = count.failures;
        if failures == 0 {
            self.0.remove(&key);
        }
        failures
    }

    fn add(&mut self, key: u64, now: Duration) {
        if self.0.len() >= MOST_ENTRIES && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let count = self.0.entry(key).or_insert(Count { failures: 0, since: now });
        count.settle(now);
        if count.failures == 0 {
            count.since = now;
        }
        count.failures = (count.failures + 1).min(MOST_FAILURES);
    }

    fn take(&mut self, key: u64, now: Duration) {
        if let Some(count) = self.0.get_mut(&key) {
            count.settle(now);
            count.failures = count.failures.saturating_sub(1);
        }
    }

    fn make_room(&mut self, now: Duration) {
        self.0.retain(|_, count| {
            count.settle(now);
            count.failures > 0
        });
        if self.0.len() >= MOST_ENTRIES {
            let mut worth: Vec<_> = self.0.iter().map(|(key, count)| (count.failures, count.since, *key)).collect();
            worth.sort_unstable();
            for (_, _, key) in worth.into_iter().take(MOST_ENTRIES / 8) {
                self.0.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUESSER: &str = "192.0.2.1";

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn fail(throttle: &mut Throttle, now: Duration, from: &str, account: &str) -> Option<Duration> {
        let (done, delay) = throttle.begin(now, ip(from), account)?;
        throttle.wrong(now, done);
        Some(delay)
    }

    #[test]
    fn delays_grow_then_the_network_is_refused_then_forgiven() {
        let mut throttle = Throttle::default();
        let start = Duration::from_secs(1000);
        let delays: Vec<u128> =
            (0..20).map(|n| fail(&mut throttle, start, GUESSER, &n.to_string()).unwrap().as_millis()).collect();
        assert_eq!(delays[..10], [0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 10_000]);
        assert_eq!(fail(&mut throttle, start, GUESSER, "x"), None);
        assert_eq!(fail(&mut throttle, start, "192.0.2.2", "x"), Some(Duration::ZERO));
        assert_eq!(fail(&mut throttle, start + FORGET, GUESSER, "x"), Some(MOST_FOR_NETWORK));
        assert_eq!(fail(&mut throttle, start + FORGET * 100, GUESSER, "x"), Some(Duration::ZERO));
    }

    #[test]
    fn one_ipv6_network_is_one_guesser() {
        let mut throttle = Throttle::default();
        for n in 0..REFUSED {
            assert!(fail(&mut throttle, Duration::ZERO, &format!("2001:db8::{n:x}"), "a").is_some());
        }
        assert_eq!(fail(&mut throttle, Duration::ZERO, "2001:db8::ffff", "a"), None);
        assert!(fail(&mut throttle, Duration::ZERO, "2001:db8:0:1::1", "a").is_some());
        for _ in 0..REFUSED {
            fail(&mut throttle, Duration::ZERO, "::ffff:192.0.2.1", "a");
        }
        assert_eq!(fail(&mut throttle, Duration::ZERO, GUESSER, "a"), None);
    }

    #[test]
    fn an_account_under_attack_stays_open_to_others() {
        let mut throttle = Throttle::default();
        for n in 0..100 {
            fail(&mut throttle, Duration::ZERO, &format!("192.0.2.{n}"), "alice");
        }
        let (_, delay) = throttle.begin(Duration::ZERO, ip("198.51.100.1"), "alice").unwrap();
        assert_eq!(delay, MOST_FOR_ACCOUNT);
        let (_, delay) = throttle.begin(Duration::ZERO, ip("198.51.100.1"), "bob").unwrap();
        assert_eq!(delay, Duration::ZERO);
        let (_, delay) = throttle.begin(Duration::ZERO, None, "bob").unwrap();
        assert_eq!(delay, Duration::ZERO);
    }

    #[test]
    fn tries_at_once_count_before_they_are_made() {
        let mut throttle = Throttle::default();
        for _ in 0..FREE {
            fail(&mut throttle, Duration::ZERO, GUESSER, "a");
        }
        let running: Vec<_> = std::iter::from_fn(|| throttle.begin(Duration::ZERO, ip(GUESSER), "b")).take(100).collect();
        assert_eq!(running.len(), (REFUSED - FREE) as usize);
        for (done, _) in running {
            throttle.right(Duration::ZERO, done);
        }
        assert!(fail(&mut throttle, Duration::ZERO, GUESSER, "a").is_some());
    }

    #[test]
    fn right_passwords_cost_nothing_and_hide_no_guesses() {
        let mut throttle = Throttle::default();
        for _ in 0..10 {
            fail(&mut throttle, Duration::ZERO, GUESSER, "a");
            let (done, _) = throttle.begin(Duration::ZERO, ip(GUESSER), "own").unwrap();
            throttle.right(Duration::ZERO, done);
        }
        let (_, delay) = throttle.begin(Duration::ZERO, ip(GUESSER), "own").unwrap();
        assert_eq!(delay, MOST_FOR_NETWORK);
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_kept() {
        let mut throttle = Throttle::default();
        for _ in 0..REFUSED {
            fail(&mut throttle, Duration::ZERO, GUESSER, "a");
        }
        for n in 0..MOST_ENTRIES as u32 * 2 {
            let address = IpAddr::from(n.to_be_bytes()).to_string();
            fail(&mut throttle, Duration::from_millis(1), &address, &address);
        }
        assert!(throttle.networks.0.len() <= MOST_ENTRIES && throttle.accounts.0.len() <= MOST_ENTRIES);
        assert_eq!(fail(&mut throttle, Duration::from_millis(1), GUESSER, "a"), None);
    }
}
