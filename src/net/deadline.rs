//! How long a socket may keep us waiting.
//!
//! Two bounds hold at once: a single operation may wait for so long (`timeout`), and everything must be over by then
//! (`deadline`), however slowly bytes trickle in. The kernel does the waiting (`SO_RCVTIMEO`, `SO_SNDTIMEO`); since setting
//! these costs a system call each, they are set only when the value that is there would wake us too late.

use std::time::{Duration, Instant};

/// How much too late a wait may end, so that a deadline that comes nearer is not set anew before each read.
const SLACK: Duration = Duration::from_secs(1);

/// A longer wait is asked for in parts, so that most sessions set it once.
const LONGEST: Duration = Duration::from_secs(120);

/// Waits shorter than this are not asked for: zero means "for ever" to the kernel.
const SHORTEST: Duration = Duration::from_millis(1);

/// The bounds of a connection.
#[derive(Debug)]
pub(super) struct Pace {
    timeout: Duration,
    deadline: Option<Instant>,
}

impl Pace {
    /// No deadline, and a time-out for whoever forgets to set one.
    pub(super) fn new() -> Pace {
        Pace { timeout: Duration::from_secs(300), deadline: None }
    }

    /// Sets how long one operation may wait.
    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Sets when all must be over; a span too long to be reckoned with is none.
    pub(super) fn set_deadline(&mut self, within: Option<Duration>) {
        self.deadline = within.and_then(|span| Instant::now().checked_add(span));
    }

    /// How long an operation that began at `begin` may still wait; `None`: its time is up.
    pub(super) fn left(&self, begin: Instant) -> Option<Duration> {
        let now = Instant::now();
        let mut left = self.timeout.saturating_sub(now.saturating_duration_since(begin));
        if let Some(deadline) = self.deadline {
            left = left.min(deadline.saturating_duration_since(now));
        }
        if left.is_zero() { None } else { Some(left.clamp(SHORTEST, LONGEST)) }
    }

    /// Is the deadline over?
    pub(super) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// Does a time-out that is set in the kernel do for a wait of `left`? One that is too short does: whoever wakes too early
/// looks at the clock and sets it then.
pub(super) fn will_do(set: Option<Duration>, left: Duration) -> bool {
    set.is_some_and(|set| set <= left + SLACK.min(left / 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_bound_counts() {
        let mut pace = Pace::new();
        pace.set_timeout(Duration::from_secs(10));
        let now = Instant::now();
        assert!(pace.left(now).unwrap() > Duration::from_secs(9));
        pace.set_deadline(Some(Duration::from_secs(2)));
        assert!(pace.left(now).unwrap() <= Duration::from_secs(2));
        assert!(!pace.is_over());
        pace.set_deadline(Some(Duration::ZERO));
        assert_eq!(pace.left(now), None);
        assert!(pace.is_over());
        pace.set_deadline(Some(Duration::MAX));
        assert!(pace.left(now).is_some());
        pace.set_timeout(Duration::ZERO);
        assert_eq!(pace.left(now), None);
    }

    #[test]
    fn the_kernel_is_told_only_when_it_matters() {
        let seconds = Duration::from_secs;
        assert!(!will_do(None, seconds(5)));
        assert!(will_do(Some(seconds(5)), seconds(5)));
        assert!(will_do(Some(seconds(5)), seconds(300)));
        assert!(will_do(Some(Duration::from_millis(300_900)), seconds(300)));
        assert!(!will_do(Some(seconds(302)), seconds(300)));
        assert!(!will_do(Some(seconds(5)), seconds(4)));
    }
}
