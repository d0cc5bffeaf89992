//! Answers, and that there are none, for as long as they hold (RFC 2308).

use super::Outcome;
use super::message::Data;
use domain::base::Rtype;
use std::collections::HashMap;
use std::time::Duration;

/// Answers remembered at most.
const MOST: usize = 2048;

/// Answers with more data than any host has use for are asked for anew each time: memory stays within a few megabytes,
/// whatever servers say.
const MOST_DATA: usize = 32;

/// The same for the bytes of texts and certificates.
const MOST_BYTES: usize = 4096;

/// A name in lower case, and a kind of record.
type Key = (String, Rtype);

/// Time is the clock's monotonic one.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
}

#[derive(Debug)]
struct Entry {
    until: Duration,
    found: Outcome,
}

impl Cache {
    pub(super) fn get(&self, key: &Key, now: Duration) -> Option<Outcome> {
        self.entries.get(key).filter(|entry| entry.until > now).map(|entry| entry.found.clone())
    }

    pub(super) fn put(&mut self, key: Key, found: Outcome, now: Duration, keep: Duration) {
        let is_big = |data: &[Data]| data.len() > MOST_DATA || data.iter().map(Data::bytes).sum::<usize>() > MOST_BYTES;
        if found.as_ref().is_ok_and(|found| is_big(&found.data)) {
            return;
        }
        if self.entries.len() >= MOST && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        self.entries.insert(key, Entry { until: now.saturating_add(keep), found });
    }

    /// Forgets what is over, and if that is too little, the half that will be over first.
    fn make_room(&mut self, now: Duration) {
        self.entries.retain(|_, entry| entry.until > now);
        if self.entries.len() > MOST / 2 {
            let mut ends: Vec<Duration> = self.entries.values().map(|entry| entry.until).collect();
            let half = ends.len() / 2;
            let (_, middle, _) = ends.select_nth_unstable(half);
            let middle = *middle;
            self.entries.retain(|_, entry| entry.until > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::DnsError;

    #[test]
    fn it_never_grows_beyond_its_bound() {
        let mut cache = Cache::default();
        let seconds = Duration::from_secs;
        for number in 0..3 * MOST {
            let keep = seconds(60 + number as u64 % 7);
            cache.put((format!("n{number}.example"), Rtype::A), Err(DnsError::NoName), seconds(1), keep);
            assert!(cache.entries.len() <= MOST);
        }
        assert!(cache.entries.len() > MOST / 4);
        let key = ("x.example".to_owned(), Rtype::A);
        cache.put(key.clone(), Err(DnsError::NoData), seconds(1), seconds(5));
        assert_eq!(cache.get(&key, seconds(5)), Some(Err(DnsError::NoData)));
        assert_eq!(cache.get(&key, seconds(6)), None);
        assert_eq!(cache.get(&("x.example".to_owned(), Rtype::AAAA), seconds(5)), None);
    }
}
