//! How much came within an hour, of each of many. Pure; time is that of the clock that never jumps.

use crate::sys::window::Window;
use std::collections::HashMap;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// Names that are kept. When there are more, those with the smallest counts go.
const MOST_NAMES: usize = 16_384;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tally(HashMap<String, Window>);

impl Tally {
    /// Would one more be too much? A limit of zero is none.
    pub(super) fn is_full(&self, name: &str, most: u64, now: Duration) -> bool {
        self.0.get(name).is_some_and(|window| window.at(now, HOUR).one_more(most).is_none())
    }

    /// One more.
    pub(super) fn count(&mut self, name: String, most: u64, now: Duration) {
        if most == 0 {
            return;
        }
        if self.0.len() >= MOST_NAMES && !self.0.contains_key(&name) {
            self.make_room(now);
        }
        let window = self.0.entry(name).or_default();
        *window = window.at(now, HOUR).one_more(0).unwrap_or_default();
    }

    fn make_room(&mut self, now: Duration) {
        self.0.retain(|_, window| window.at(now, HOUR).count() > 0);
        if self.0.len() >= MOST_NAMES {
            let mut counts: Vec<u64> = self.0.values().map(|window| window.count()).collect();
            let (_, least, _) = counts.select_nth_unstable(MOST_NAMES / 8);
            let least = *least;
            self.0.retain(|_, window| window.count() > least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_has_its_bound() {
        let (mut tally, minute) = (Tally::default(), Duration::from_secs(60));
        let mut taken = |name: &str, minutes: u32, most: u64| {
            let now = minute * minutes;
            let may = |tally: &mut Tally| {
                let may = !tally.is_full(name, most, now);
                if may {
                    tally.count(name.to_owned(), most, now);
                }
                may
            };
            (0..9).filter(|_| may(&mut tally)).count()
        };
        assert_eq!((taken("a", 10, 3), taken("a", 69, 3), taken("a", 70, 3)), (3, 0, 3));
        assert_eq!((taken("b", 70, 0), taken("b", 70, 4)), (9, 4));
    }

    #[test]
    fn a_flood_of_names_drives_out_none_that_brings_much() {
        let mut tally = Tally::default();
        for _ in 0..3 {
            tally.count("busy".into(), 3, Duration::ZERO);
        }
        for name in 0..3 * MOST_NAMES {
            tally.count(name.to_string(), 3, Duration::from_secs(1));
        }
        assert!(tally.0.len() <= MOST_NAMES && tally.is_full("busy", 3, Duration::from_secs(1)));
    }
}
