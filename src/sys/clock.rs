//! Time as the daemon sees it.

use crossbeam_channel::Receiver;
use std::fmt::Debug;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment: microseconds since 1970-01-01 00:00 UTC. What is written to disk.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct Time(pub i64);

impl Time {
    /// Whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The moment that many seconds after the epoch.
    pub fn from_seconds(seconds: i64) -> Time {
        Time(seconds.saturating_mul(1_000_000))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, span: Duration) -> Time {
        Time(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// Where every timer gets its time from.
pub trait Clock: Send + Sync + Debug {
    /// The wall clock, which may jump.
    fn now(&self) -> Time;
    /// A clock that never jumps and never goes back, from an arbitrary start.
    fn elapsed(&self) -> Duration;
    /// A channel that gets one message once `span` is over.
    fn after(&self, span: Duration) -> Receiver<Instant>;
}

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(span) => Time(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
            Err(before) => Time(-i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX)),
        }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn after(&self, span: Duration) -> Receiver<Instant> {
        crossbeam_channel::after(span)
    }
}

#[cfg(test)]
pub mod manual {
    //! A clock that stands still until a test moves it.

    use super::{Clock, Time};
    use crossbeam_channel::{Receiver, Sender, bounded};
    use std::sync::{Mutex, PoisonError};
    use std::time::{Duration, Instant};

    /// See the module.
    #[derive(Debug)]
    pub struct ManualClock {
        inner: Mutex<Inner>,
    }

    #[derive(Debug)]
    struct Inner {
        now: Time,
        elapsed: Duration,
        waiting: Vec<(Duration, Sender<Instant>)>,
    }

    impl ManualClock {
        /// A clock that shows `now`.
        pub fn at(now: Time) -> Self {
            ManualClock { inner: Mutex::new(Inner { now, elapsed: Duration::ZERO, waiting: Vec::new() }) }
        }

        /// Lets time pass: both clocks move and waiters whose span is over are told.
        pub fn advance(&self, span: Duration) {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.now = inner.now + span;
            inner.elapsed += span;
            let elapsed = inner.elapsed;
            inner.waiting.retain(|(due, sender)| {
                if *due > elapsed {
                    return true;
                }
                let _ = sender.send(Instant::now());
                false
            });
        }

        /// The wall clock is set; nothing else moves.
        pub fn jump_to(&self, now: Time) {
            self.inner.lock().unwrap_or_else(PoisonError::into_inner).now = now;
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Time {
            self.inner.lock().unwrap_or_else(PoisonError::into_inner).now
        }

        fn elapsed(&self) -> Duration {
            self.inner.lock().unwrap_or_else(PoisonError::into_inner).elapsed
        }

        fn after(&self, span: Duration) -> Receiver<Instant> {
            let (sender, receiver) = bounded(1);
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if span.is_zero() {
                let _ = sender.send(Instant::now());
            } else {
                let due = inner.elapsed + span;
                inner.waiting.push((due, sender));
            }
            receiver
        }
    }
}
