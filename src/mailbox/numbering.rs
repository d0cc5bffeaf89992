//! Message sequence numbers of one session (RFC 3501 §2.3.1.2): a session's list is the shared table up to the last message
//! it was told of, and what was expunged since and it was not told. Nothing is copied. Pure.

use super::table::{Row, Table};

/// Which messages a session knows of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbering {
    /// It was told of all messages with a lower UID.
    pub top: u32,
    /// Expunged, and it was not told; ascending.
    pub gone: Vec<u32>,
}

impl Numbering {
    /// How many messages the session knows of.
    pub fn count(&self, table: &Table) -> usize {
        table.below(self.top) + self.gone.len()
    }

    /// A message's number.
    pub fn number(&self, table: &Table, uid: u32) -> Option<u32> {
        let known = uid < self.top && (table.at(uid).is_some() || self.gone.binary_search(&uid).is_ok());
        let before = table.below(uid) + self.gone.partition_point(|gone| *gone < uid);
        known.then(|| before as u32 + 1)
    }

    /// The messages that the session knows of and that are there, each with its number.
    pub fn numbered<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = (u32, &'a Row)> {
        let mut gone = self.gone.iter().peekable();
        let mut number = 0;
        table.rows.iter().take_while(|row| row.uid < self.top).map(move |row| {
            while gone.next_if(|gone| **gone < row.uid).is_some() {
                number += 1;
            }
            number += 1;
            (number, row)
        })
    }

    /// The UID of the message of that number.
    pub fn uid(&self, table: &Table, number: u32) -> Option<u32> {
        let place = number.checked_sub(1)? as usize;
        // So many of the gone come before it.
        let (mut low, mut high) = (0, self.gone.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let rank = middle + table.below(*self.gone.get(middle)?);
            if rank < place { low = middle + 1 } else { high = middle }
        }
        match self.gone.get(low) {
            Some(gone) if low + table.below(*gone) == place => Some(*gone),
            _ => table.rows.get(place.checked_sub(low)?).map(|row| row.uid).filter(|uid| *uid < self.top),
        }
    }

    /// A message was expunged. Is that news to the session?
    pub fn lose(&mut self, uid: u32) -> bool {
        match self.gone.binary_search(&uid) {
            Err(at) if uid < self.top => self.gone.insert(at, uid),
            _ => return false,
        }
        true
    }

    /// Tells the session what is gone: number and UID of each, the last one first, so that no number shifts another.
    pub fn tell_gone(&mut self, table: &Table) -> Vec<(u32, u32)> {
        let told = self.gone.iter().enumerate().rev();
        let told = told.map(|(at, uid)| ((at + table.below(*uid)) as u32 + 1, *uid)).collect();
        self.gone.clear();
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain list of UIDs.
        #[test]
        fn like_a_list(steps in proptest::collection::vec((0..4u8, any::<prop::sample::Index>()), 0..120)) {
            let mut table = Table::default();
            let mut numbering = Numbering::default();
            let mut list: Vec<u32> = Vec::new();
            let mut next = 1;
            for (step, which) in steps {
                match step {
                    0 => {
                        table.rows.push(Row { uid: next, ..Row::default() });
                        next += 1 + which.index(3) as u32;
                        table.top = next;
                    }
                    1 if !table.rows.is_empty() => {
                        let row = table.rows.remove(which.index(table.rows.len()));
                        numbering.lose(row.uid);
                    }
                    2 => {
                        for (number, uid) in numbering.tell_gone(&table) {
                            prop_assert_eq!(list.remove(number as usize - 1), uid);
                        }
                    }
                    _ => {
                        list.extend(table.rows.iter().map(|row| row.uid).filter(|uid| *uid >= numbering.top));
                        numbering.top = table.top;
                    }
                }
                prop_assert_eq!(numbering.count(&table), list.len());
                for (at, uid) in list.iter().enumerate() {
                    prop_assert_eq!(numbering.number(&table, *uid), Some(at as u32 + 1));
                    prop_assert_eq!(numbering.uid(&table, at as u32 + 1), Some(*uid));
                }
                let alive = list.iter().zip(1..).filter(|(uid, _)| table.at(**uid).is_some());
                let numbered = numbering.numbered(&table).map(|(number, row)| (row.uid, number));
                prop_assert!(numbered.eq(alive.map(|(uid, number)| (*uid, number))));
                prop_assert_eq!(numbering.uid(&table, list.len() as u32 + 1), None);
                prop_assert_eq!(numbering.uid(&table, 0), None);
                for uid in (0..next + 2).filter(|uid| !list.contains(uid)) {
                    prop_assert_eq!(numbering.number(&table, uid), None);
                }
            }
        }
    }
}
