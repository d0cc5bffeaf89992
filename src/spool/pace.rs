//! How long a leader waits for company before it writes. No I/O.
//!
//! A sync costs the same for one record or for twenty. With many sessions at work a leader that waits for a fraction of
//! a sync gets several records for one; a session that is alone gains nothing and must not wait. So the journal keeps
//! in mind how long a sync takes, how many records the last ones had, and how fast records come in.

use std::time::Duration;

/// No leader waits longer, however slow the disk.
const LONGEST: Duration = Duration::from_millis(4);
/// More company than this is not waited for.
const ENOUGH: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Running mean of a sync.
    sync: Duration,
    /// Running mean of the time between two arrivals; long pauses count as a second.
    gap: Duration,
    /// Running mean of the records of a sync, in sixteenths.
    crowd: usize,
    last: Duration,
}

impl Pace {
    /// A record came in.
    pub fn arrived(&mut self, now: Duration) {
        let gap = now.saturating_sub(self.last).min(Duration::from_secs(1));
        self.last = now;
        self.gap = (self.gap * 7 + gap) / 8;
    }

    /// So many records were made durable in that time.
    pub fn synced(&mut self, took: Duration, records: usize) {
        self.sync = (self.sync * 7 + took) / 8;
        self.crowd = (self.crowd * 7 + records * 16) / 8;
    }

    /// For how many records a leader waits, and how long at most, when `here` are there and `coming` are being written.
    /// None: not at all.
    pub fn patience(&self, here: usize, coming: usize) -> Option<(usize, Duration)> {
        // A sync had two records or more of late: there are others.
        if coming == 0 || here >= ENOUGH || self.crowd < 24 || self.gap.is_zero() {
            return None;
        }
        let most = (self.sync * 2).min(LONGEST);
        let expected = usize::try_from(most.as_nanos() / self.gap.as_nanos()).unwrap_or(ENOUGH);
        (expected >= 2).then(|| (ENOUGH.min(here + expected), most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_lone_session_never_waits() {
        let mut pace = Pace::default();
        for n in 0..100 {
            pace.arrived(n * MS / 2);
            assert_eq!(pace.patience(1, 0), None);
            assert_eq!(pace.patience(1, 1), None, "a slow upload beside it changes nothing");
            pace.synced(MS / 3, 1);
        }
    }

    #[test]
    fn in_a_crowd_it_pays_to_wait_a_little() {
        let mut pace = Pace::default();
        for n in 0..100 {
            pace.arrived(n * MS / 10);
            pace.synced(MS / 3, 3);
        }
        let (target, most) = pace.patience(1, 3).unwrap();
        assert!(target > 3 && target <= ENOUGH && most <= MS, "{target} {most:?}");
        pace.arrived(100 * MS);
        pace.arrived(200 * MS);
        assert_eq!(pace.patience(1, 3), None, "a pause ends it");
    }
}
