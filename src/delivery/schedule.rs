//! When a recipient is tried again, when its sender is told of the delay, and when it is given up. Pure.

use crate::config::schema::Queue;
use crate::sys::Time;
use std::time::Duration;

/// Nothing is given up before so many tries: a clock that jumps, or a host that was off for a week, loses no mail.
const FEWEST_TRIES: u32 = 3;

/// The longest wait for a mailbox here.
const LOCAL_LONGEST: Duration = Duration::from_secs(60);

/// The longest time for which a host that did not answer is left alone.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// What follows a failed try.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another one after that long.
    Retry(Duration),
    /// The sender gets a report.
    GiveUp,
}

/// How far a recipient has come.
#[derive(Copy, Clone, Debug)]
pub(super) struct Progress {
    /// Since the message was taken.
    pub(super) age: Duration,
    /// Tries so far, with the one that just failed.
    pub(super) tries: u32,
    /// The sender knows of the delay, or must not be told.
    pub(super) warned: bool,
}

/// How old a message is that was taken, or began to be delivered, at this time by the wall clock. Where that lies ahead the clock
/// was set back since, perhaps by years, or is not set yet: then it is as old as its tries make it, which the clock that never
/// jumps has kept apart. (Where the clock was set back by less than the age, the message is kept by that much too long.)
pub(super) fn age(queue: &Queue, local: bool, tries: u32, begins: Time, now: Time) -> Duration {
    if now >= begins {
        return now.since(begins);
    }
    (1..tries).fold(Duration::ZERO, |age, tries| age + wait(queue, local, Progress { age, tries, warned: false }))
}

/// After a try that failed for the time being. Tries also fall on the end of the lifetime and on the time of the warning, so
/// that both are known when they are true.
pub(super) fn next(queue: &Queue, local: bool, progress: Progress) -> Next {
    if progress.tries >= FEWEST_TRIES && progress.age >= queue.lifetime {
        return Next::GiveUp;
    }
    Next::Retry(wait(queue, local, progress))
}

fn wait(queue: &Queue, local: bool, progress: Progress) -> Duration {
    let mut wait = if local { local_wait(progress.tries) } else { remote_wait(queue, progress.tries) };
    let milestones = [queue.lifetime, if progress.warned { Duration::ZERO } else { queue.warn }];
    for milestone in milestones {
        let left = milestone.saturating_sub(progress.age);
        if !left.is_zero() {
            wait = wait.min(left);
        }
    }
    wait
}

/// Is the sender to be told that it takes long?
pub(super) fn is_late(queue: &Queue, progress: Progress) -> bool {
    !queue.warn.is_zero() && !progress.warned && progress.age >= queue.warn
}

/// The longest wait of all; what is due later than that is due now, for the clock has jumped.
pub(super) fn longest(queue: &Queue) -> Duration {
    queue.retry.iter().copied().max().unwrap_or_default().max(LOCAL_LONGEST)
}

/// For how long a hop that could not be reached so many times in a row is not asked again. Shorter than the first retry, so
/// that no try of the schedule falls into it.
pub(super) fn rest(queue: &Queue, failures: u32) -> Duration {
    let first = queue.retry.first().copied().unwrap_or(LOCAL_LONGEST);
    let doubled = Duration::from_secs(15).saturating_mul(1 << failures.saturating_sub(1).min(5));
    doubled.min(LONGEST_REST).min(first / 2)
}

fn remote_wait(queue: &Queue, tries: u32) -> Duration {
    let at = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
    queue.retry.get(at).or(queue.retry.last()).copied().unwrap_or(LOCAL_LONGEST)
}

/// 1, 2, 4 … 60 seconds: another program's lock is not held for long.
fn local_wait(tries: u32) -> Duration {
    Duration::from_secs(1 << tries.saturating_sub(1).min(6)).min(LOCAL_LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    fn queue(retry: &[Duration], lifetime: Duration, warn: Duration) -> Queue {
        Queue {
            retry: retry.to_vec(),
            lifetime,
            warn,
            smarthost: None,
            fallback: None,
            smtp_port: 25,
            workers: 1,
            per_destination: 1,
        }
    }

    /// Fails at every try; when these are, and when it ends.
    fn run(queue: &Queue, local: bool) -> (Vec<Duration>, Option<Duration>) {
        let (mut tries, mut age, mut warned_at) = (Vec::new(), Duration::ZERO, None);
        loop {
            tries.push(age);
            let progress = Progress { age, tries: tries.len() as u32, warned: warned_at.is_some() };
            match next(queue, local, progress) {
                Next::GiveUp => return (tries, warned_at),
                Next::Retry(wait) => {
                    assert!(!wait.is_zero());
                    if is_late(queue, progress) {
                        warned_at = Some(age);
                    }
                    age += wait;
                }
            }
        }
    }

    #[test]
    fn the_usual_five_days() {
        let (tries, warned) = run(&queue(&[MINUTE * 30, HOUR, HOUR * 2, HOUR * 4], HOUR * 120, HOUR * 4), false);
        assert_eq!(tries[..5], [Duration::ZERO, MINUTE * 30, MINUTE * 90, MINUTE * 210, MINUTE * 240]);
        assert_eq!(tries.last(), Some(&(HOUR * 120)));
        assert_eq!(tries[5], HOUR * 8);
        assert_eq!(warned, Some(HOUR * 4));
    }

    #[test]
    fn a_few_seconds() {
        let (tries, warned) = run(&queue(&[SECOND], SECOND * 4, SECOND * 2), false);
        assert_eq!(tries, [0, 1, 2, 3, 4].map(|n| SECOND * n));
        assert_eq!(warned, Some(SECOND * 2));
        let (tries, warned) = run(&queue(&[SECOND * 5], SECOND * 3, Duration::ZERO), false);
        assert_eq!(tries, [0, 3, 8].map(|n| SECOND * n));
        assert_eq!(warned, None);
    }

    #[test]
    fn a_mailbox_is_tried_more_often() {
        let (tries, _) = run(&queue(&[HOUR], MINUTE * 5, Duration::ZERO), true);
        assert_eq!(tries, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 300].map(|n| SECOND * n));
    }

    #[test]
    fn a_jump_of_the_clock_loses_nothing() {
        let queue = queue(&[MINUTE], HOUR, Duration::ZERO);
        let progress = |tries| Progress { age: HOUR * 1000, tries, warned: false };
        assert_eq!(next(&queue, false, progress(1)), Next::Retry(MINUTE));
        assert_eq!(next(&queue, false, progress(2)), Next::Retry(MINUTE));
        assert_eq!(next(&queue, false, progress(3)), Next::GiveUp);
        assert_eq!(longest(&queue), MINUTE);
    }

    #[test]
    fn a_dead_host_rests_for_less_than_a_retry() {
        let usual = queue(&[MINUTE * 30], HOUR, Duration::ZERO);
        let rests: Vec<u64> = [1, 2, 3, 4, 5, 6, 99].map(|n| rest(&usual, n).as_secs()).to_vec();
        assert_eq!(rests, [15, 30, 60, 120, 240, 300, 300]);
        assert_eq!(rest(&queue(&[SECOND], HOUR, Duration::ZERO), 9), SECOND / 2);
    }
}
