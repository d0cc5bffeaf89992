//! How much a user may send: recipients within an hour and within a day, so that a stolen password is worth little. Pure but
//! for its lock; time is that of the clock that never jumps. A restart forgets it.

use crate::config::schema::Submission;
use crate::sys::window::Window;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Of all users.
#[derive(Debug, Default)]
pub struct Rates {
    users: Mutex<HashMap<String, (Window, Window)>>,
}

impl Rates {
    /// Counts a recipient of this user; false, and not counted, if that is one too many.
    pub fn take(&self, user: &str, now: Duration, limits: &Submission) -> bool {
        if limits.per_hour == 0 && limits.per_day == 0 {
            return true;
        }
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let (hour, day) = users.get(user).copied().unwrap_or_default();
        let hour = hour.at(now, HOUR).one_more(limits.per_hour);
        let day = day.at(now, DAY).one_more(limits.per_day);
        let Some(windows) = hour.zip(day) else { return false };
        users.insert(user.to_owned(), windows);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_and_a_day() {
        let (rates, minute) = (Rates::default(), Duration::from_secs(60));
        let limits = |per_hour, per_day| Submission { any_sender: false, longest_wait: HOUR, per_hour, per_day };
        let taken = |minutes: u32, limits: &Submission| (0..9).filter(|_| rates.take("alice", minute * minutes, limits)).count();
        let both = limits(3, 5);
        // At the 70th minute an hour is over, and two are left of the day; the next begins a day after the first.
        let counts: Vec<usize> = [10, 69, 70, 200, 1449, 1450].map(|minutes| taken(minutes, &both)).to_vec();
        assert_eq!(counts, [3, 0, 2, 0, 0, 3]);
        assert_eq!((taken(1451, &limits(0, 0)), taken(1451, &limits(0, 4))), (9, 1));
        assert!(rates.take("bob", minute, &both));
    }
}
