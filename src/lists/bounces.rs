//! The `bounces` file of a list: members whose mail came back. A member whose mail came back on too many days is paused and sent
//! a probe; if that comes back too, it is a member no more. If it does not, mail goes there again after a week, and the count goes
//! on.
//!
//! ```abnf
//! bounces = *( address SP days SP last SP by SP paused LF )
//! days    = 1*DIGIT            ; on which mail came back
//! last    = day                ; the last of them, counted since the epoch
//! by      = 1*VCHAR            ; the report that counted last: one that is looked at again after a crash does not count twice
//! paused  = day / "-"          ; since when, if it is
//! ```

use crate::mail::Address;
use crate::mail::alias::Wrong;
use std::collections::HashSet;
use std::fmt;

/// Days for which a member is paused whose probe does not come back.
pub const PAUSE: i64 = 7;

/// After so many days without trouble all is forgotten.
const FORGET: i64 = 30;

/// A file that is longer is none.
pub const MOST_BYTES: u64 = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    member: Address,
    days: u32,
    last: i64,
    by: String,
    paused: Option<i64>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounces(Vec<Row>);

/// What became of a report.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It counts; so many days now.
    Counted(u32),
    /// It is the one for which the member is paused: a probe is due.
    Paused(u32),
    /// One of that day has counted, or the member is paused.
    Passed,
}

impl Bounces {
    /// Reads the file. An error: what is wrong first.
    pub fn parse(text: &str) -> Result<Bounces, Wrong> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let row = |(line, text)| row(text).ok_or_else(|| Wrong { line, what: "this is no address with its counts".into() });
        lines.map(row).collect::<Result<_, _>>().map(Bounces)
    }

    /// Mail for a member came back, as the report `by` tells. `limit`: on how many days that may be.
    pub fn note(&mut self, member: &Address, today: i64, by: &str, limit: u32) -> Noted {
        self.0.retain(|row| row.paused.is_some() || today - row.last <= FORGET);
        let key = member.key();
        let at = self.0.iter().position(|row| row.member.key() == key).unwrap_or_else(|| {
            self.0.push(Row { member: member.clone(), days: 0, last: i64::MIN, by: String::new(), paused: None });
            self.0.len() - 1
        });
        let Some(row) = self.0.get_mut(at) else { return Noted::Passed };
        if row.by == by {
            return if row.paused.is_some() { Noted::Paused(row.days) } else { Noted::Counted(row.days) };
        }
        if row.last == today || row.paused.is_some_and(|since| today < since + PAUSE) {
            return Noted::Passed;
        }
        row.days = row.days.saturating_add(1);
        (row.last, row.by, row.paused) = (today, by.to_owned(), None);
        if row.days < limit {
            return Noted::Counted(row.days);
        }
        row.paused = Some(today);
        Noted::Paused(row.days)
    }

    /// The keys of those who get no mail now.
    pub fn paused(&self, today: i64) -> HashSet<String> {
        self.all(today).filter(|(.., is_paused)| *is_paused).map(|(member, ..)| member.key()).collect()
    }

    /// Those who were sent a probe.
    pub fn probed(&self) -> impl Iterator<Item = &Address> {
        self.0.iter().filter(|row| row.paused.is_some()).map(|row| &row.member)
    }

    /// Those whose mail came back, on how many days, and whether they are paused.
    pub fn all(&self, today: i64) -> impl Iterator<Item = (&Address, u32, bool)> {
        self.0.iter().map(move |row| (&row.member, row.days, row.paused.is_some_and(|since| today < since + PAUSE)))
    }

    /// All is well, or the member is none any more. True if it was there.
    pub fn forget(&mut self, member: &Address) -> bool {
        let (before, key) = (self.0.len(), member.key());
        self.0.retain(|row| row.member.key() != key);
        self.0.len() < before
    }
}

fn row(text: &str) -> Option<Row> {
    let (member, rest) = Address::parse_prefix(text).ok()?;
    let words: Vec<&str> = rest.strip_prefix(' ')?.split(' ').collect();
    let [days, last, by, paused] = words.as_slice() else { return None };
    let day = |text: &str| text.parse::<i64>().ok().filter(|day| (0..10_000_000).contains(day));
    let paused = if *paused == "-" { None } else { Some(day(paused)?) };
    (!by.is_empty()).then_some(Row { member, days: days.parse().ok()?, last: day(last)?, by: (*by).to_owned(), paused })
}

impl fmt::Display for Bounces {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|Row { member, days, last, by, paused }| {
            let paused = paused.map_or_else(|| "-".to_owned(), |since| since.to_string());
            writeln!(out, "{member} {days} {last} {by} {paused}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bob() -> Address {
        "bob@x.test".parse().unwrap()
    }

    #[test]
    fn who_bounces_on_too_many_days_is_paused_for_a_week() {
        let mut bounces = Bounces::default();
        assert_eq!(bounces.note(&bob(), 100, "a", 3), Noted::Counted(1));
        assert_eq!(bounces.note(&bob(), 100, "a", 3), Noted::Counted(1), "looked at again");
        assert_eq!(bounces.note(&bob(), 100, "b", 3), Noted::Passed, "the same day");
        assert_eq!(bounces.note(&bob(), 101, "c", 3), Noted::Counted(2));
        assert_eq!(bounces.note(&bob(), 105, "d", 3), Noted::Paused(3));
        assert_eq!(bounces.note(&bob(), 105, "d", 3), Noted::Paused(3), "looked at again");
        assert_eq!(bounces.note(&bob(), 106, "e", 3), Noted::Passed, "of mail that was under way");
        let paused = |bounces: &Bounces, day| bounces.paused(day).contains("bob@x.test");
        assert!(paused(&bounces, 105) && paused(&bounces, 111) && !paused(&bounces, 112));
        assert_eq!(bounces.probed().count(), 1);
        let mut later = bounces.clone();
        assert_eq!(later.note(&bob(), 113, "f", 3), Noted::Paused(4), "it had been told");
        assert!(bounces.forget(&bob()) && !bounces.forget(&bob()));
        let mut seldom = Bounces::default();
        seldom.note(&bob(), 100, "a", 3);
        assert_eq!(seldom.note(&bob(), 131, "b", 3), Noted::Counted(1), "long ago");
    }

    #[test]
    fn what_is_no_such_file_is_told() {
        for text in ["x", "bob@x.test", "bob@x.test 1 2 a", "bob@x.test 1 2 a b", "bob@x.test 1 2 a - -", "bob@x.test -1 2 a -"] {
            assert_eq!(Bounces::parse(text).unwrap_err().line, 1, "{text}");
        }
        assert_eq!(Bounces::parse("# none\n\n"), Ok(Bounces::default()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(notes in proptest::collection::vec(("[a-c]@x\\.test", 0i64..40, "[a-f]"), 0..20), text in "\\PC{0,30}") {
            let _ = Bounces::parse(&text);
            let mut bounces = Bounces::default();
            let mut today = 100;
            for (who, days, by) in notes {
                today += days;
                bounces.note(&who.parse().unwrap(), today, &by, 2);
            }
            prop_assert_eq!(Bounces::parse(&bounces.to_string()), Ok(bounces));
        }
    }
}
