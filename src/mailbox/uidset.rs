//! Sets of UIDs as they are written into the state log: `3,5:9`. Pure.

use std::fmt;
use std::str::FromStr;

/// UIDs as ranges, ascending and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UidSet(Vec<(u32, u32)>);

impl UidSet {
    /// Adds one that is greater than all that are there.
    pub fn push(&mut self, uid: u32) {
        match self.0.last_mut() {
            Some((_, last)) if *last >= uid => {}
            Some((_, last)) if *last + 1 == uid => *last = uid,
            _ => self.0.push((uid, uid)),
        }
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Is this one of them?
    pub fn has(&self, uid: u32) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= uid);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| uid <= *last)
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<u32> for UidSet {
    fn from_iter<T: IntoIterator<Item = u32>>(uids: T) -> UidSet {
        let mut all: Vec<u32> = uids.into_iter().collect();
        if !all.is_sorted() {
            all.sort_unstable();
        }
        let mut set = UidSet::default();
        all.into_iter().for_each(|uid| set.push(uid));
        set
    }
}

impl fmt::Display for UidSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match first == last {
                true => write!(out, "{comma}{first}")?,
                false => write!(out, "{comma}{first}:{last}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for UidSet {
    type Err = ();
    fn from_str(text: &str) -> Result<UidSet, ()> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for range in text.split(',') {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            let (first, last) = (first.parse().map_err(|_| ())?, last.parse().map_err(|_| ())?);
            if first > last || ranges.last().is_some_and(|(_, before)| *before >= first) {
                return Err(());
            }
            ranges.push((first, last));
        }
        Ok(UidSet(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_come_back(mut uids in proptest::collection::vec(1u32..60, 1..40)) {
            let set: UidSet = uids.iter().copied().collect();
            uids.sort_unstable();
            uids.dedup();
            prop_assert!(set.iter().eq(uids.iter().copied()));
            prop_assert!((0..70).all(|uid| set.has(uid) == uids.contains(&uid)));
            prop_assert_eq!(set.to_string().parse::<UidSet>(), Ok(set));
        }
    }

    #[test]
    fn broken_sets_are_none() {
        for text in ["", "a", "3:2", "1,1", "5,3", "1:", ",", "4294967296"] {
            assert_eq!(text.parse::<UidSet>(), Err(()), "{text}");
        }
        assert_eq!("1:3,7".parse::<UidSet>().map(|set| set.to_string()), Ok("1:3,7".to_owned()));
    }
}
