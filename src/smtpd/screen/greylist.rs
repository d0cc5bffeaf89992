//! Greylisting (RFC 6647): who was never here before is asked to come again. Hosts that send mail do; what sends only junk seldom
//! does. It learns: a network that came again is known, and waits for nothing, as long as it brings mail now and then.
//!
//! What is learned is kept over a restart ([`table`]):
//!
//! ```text
//! pillarbox-greylist 1
//! known 198.51.100.0/24 1790000000
//! waits 0123456789abcdef 1790000000
//! ```
//!
//! A network and when it brought mail last; the hash of network, sender and recipient, and when they came first.

use super::{Stranger, network_of};
use crate::mail::Address;
use crate::sys::{Time, table};
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::Hash;
use std::io;
use std::path::Path;
use std::time::Duration;

const HEAD: &str = "pillarbox-greylist 1";

/// A network that brought nothing for so long is a stranger again (RFC 6647 §5 has "a week or more"; a monthly letter is no
/// stranger's).
const REMEMBERED: Duration = Duration::from_secs(36 * 24 * 3600);
/// Who came first so long ago and not since begins anew.
const AWAITED: Duration = Duration::from_secs(2 * 24 * 3600);
/// Entries of each kind. When there are more, the oldest go.
const MOST: usize = 65_536;

/// See the module. Pure.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Greylist {
    known: HashMap<String, Time>,
    waits: HashMap<u64, Time>,
}

/// What comes of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Greylisted {
    /// It may be taken.
    Passes,
    /// Not before so long.
    Waits(Duration),
}

impl Greylist {
    /// One that wants in.
    pub(super) fn see(&mut self, now: Time, wait: Duration, stranger: &Stranger<'_>) -> Greylisted {
        let network = network_of(stranger.address);
        if self.known.get(&network).is_some_and(|last| is_within(*last, REMEMBERED, now)) {
            self.known.insert(network, now);
            return Greylisted::Passes;
        }
        let key = key(&network, stranger);
        match self.waits.get(&key).copied().filter(|first| is_within(*first, AWAITED, now)) {
            Some(first) if now.since(first) >= wait => {
                self.waits.remove(&key);
                put(&mut self.known, network, now, REMEMBERED);
                Greylisted::Passes
            }
            Some(first) => Greylisted::Waits(wait.saturating_sub(now.since(first))),
            None => {
                put(&mut self.waits, key, now, AWAITED);
                Greylisted::Waits(wait)
            }
        }
    }

    /// What the file has; nothing if it is not there. A line that can't be read is passed over: somebody waits once more.
    pub(super) fn load(path: &Path, now: Time) -> Greylist {
        Greylist::read(&table::load(path, HEAD), now)
    }

    fn read(lines: &str, now: Time) -> Greylist {
        let mut greylist = Greylist::default();
        for line in lines.lines().take(2 * MOST) {
            let words: Vec<&str> = line.split(' ').collect();
            let [kind, what, seconds] = words[..] else { continue };
            let Ok(time) = seconds.parse::<u32>().map(|seconds| Time::from_seconds(seconds.into())) else { continue };
            match (kind, u64::from_str_radix(what, 16)) {
                ("known", _) if is_within(time, REMEMBERED, now) => drop(greylist.known.insert(what.to_owned(), time)),
                ("waits", Ok(key)) if is_within(time, AWAITED, now) => drop(greylist.waits.insert(key, time)),
                _ => {}
            }
        }
        greylist
    }

    /// The file's lines.
    pub(super) fn lines(&self, now: Time) -> String {
        let mut lines = String::new();
        // Writing to a String does not fail.
        for (network, last) in self.known.iter().filter(|(_, last)| is_within(**last, REMEMBERED, now)) {
            let _ = writeln!(lines, "known {network} {}", last.seconds());
        }
        for (key, first) in self.waits.iter().filter(|(_, first)| is_within(**first, AWAITED, now)) {
            let _ = writeln!(lines, "waits {key:016x} {}", first.seconds());
        }
        lines
    }
}

/// Was it within this span before now? What lies ahead, since the clock was set back, was not.
fn is_within(time: Time, span: Duration, now: Time) -> bool {
    time <= now && now.since(time) < span
}

/// Who, from where, to whom: RFC 6647 §2.4. The hash is the same after a restart.
fn key(network: &str, stranger: &Stranger<'_>) -> u64 {
    let sender = stranger.sender.0.as_ref().map(Address::key).unwrap_or_default();
    let all = format!("{network}\0{sender}\0{}", stranger.recipient.key());
    let hash = digest(&SHA256, all.as_bytes());
    hash.as_ref().iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

fn put<K: Hash + Eq>(map: &mut HashMap<K, Time>, key: K, now: Time, span: Duration) {
    if map.len() >= MOST {
        map.retain(|_, time| is_within(*time, span, now));
    }
    if map.len() >= MOST {
        let mut times: Vec<Time> = map.values().copied().collect();
        let (_, oldest, _) = times.select_nth_unstable(MOST / 8);
        let oldest = *oldest;
        map.retain(|_, time| *time > oldest);
    }
    map.insert(key, now);
}

/// Puts them there.
pub(super) fn save(path: &Path, lines: &str) -> io::Result<()> {
    table::save(path, HEAD, lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ReversePath;

    const WAIT: Duration = Duration::from_secs(300);

    fn see(greylist: &mut Greylist, seconds: i64, from: &str, recipient: &str) -> Greylisted {
        let (sender, recipient) = (ReversePath(None), recipient.parse().unwrap());
        let stranger = Stranger { address: from.parse().unwrap(), sender: &sender, recipient: &recipient };
        greylist.see(Time::from_seconds(1_790_000_000 + seconds), WAIT, &stranger)
    }

    #[test]
    fn who_comes_again_is_known() {
        let mut greylist = Greylist::default();
        let waits = |seconds| Greylisted::Waits(Duration::from_secs(seconds));
        assert_eq!(see(&mut greylist, 0, "192.0.2.1", "a@here.test"), waits(300));
        assert_eq!(see(&mut greylist, 100, "192.0.2.1", "a@here.test"), waits(200));
        assert_eq!(see(&mut greylist, 100, "192.0.2.1", "b@here.test"), waits(300), "another recipient");
        assert_eq!(see(&mut greylist, 100, "198.51.100.1", "a@here.test"), waits(300), "another network");
        // From a neighbour, to the same in capitals.
        assert_eq!(see(&mut greylist, 300, "192.0.2.200", "A@Here.test"), Greylisted::Passes);
        assert_eq!(see(&mut greylist, 301, "192.0.2.3", "c@here.test"), Greylisted::Passes, "it has learned");
        let day = 24 * 3600;
        assert_eq!(see(&mut greylist, 30 * day, "192.0.2.3", "c@here.test"), Greylisted::Passes);
        assert_eq!(see(&mut greylist, 60 * day, "192.0.2.3", "c@here.test"), Greylisted::Passes);
        assert_eq!(see(&mut greylist, 97 * day, "192.0.2.3", "c@here.test"), waits(300), "forgotten");
        assert_eq!(see(&mut greylist, 100 * day, "192.0.2.3", "c@here.test"), waits(300), "it came too late");
        assert_eq!(see(&mut greylist, 99 * day, "192.0.2.3", "c@here.test"), waits(300), "the clock was set back");
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("greylist/host");
        let mut greylist = Greylist::default();
        see(&mut greylist, 0, "192.0.2.1", "a@here.test");
        see(&mut greylist, 300, "192.0.2.1", "a@here.test");
        see(&mut greylist, 300, "2001:db8::1", "a@here.test");
        let now = Time::from_seconds(1_790_000_400);
        assert_eq!(Greylist::load(&path, now), Greylist::default());
        save(&path, &greylist.lines(now)).unwrap();
        assert_eq!(Greylist::load(&path, now), greylist);
        assert_eq!((greylist.known.len(), greylist.waits.len()), (1, 1));
        let damaged = format!("known\nknown x y\nwaits xyz 1790000000\nwaits {:x} 1790000000\n\u{0}\n", 7);
        assert_eq!(Greylist::read(&damaged, now).waits.len(), 1);
    }

    #[test]
    fn a_flood_is_bounded() {
        let (mut map, now) = (HashMap::new(), Time::from_seconds(1_790_000_000));
        (0..3 * MOST as u64).for_each(|key| put(&mut map, key, now + Duration::from_millis(key), AWAITED));
        assert!(map.len() <= MOST && map.contains_key(&(3 * MOST as u64 - 1)));
    }
}
