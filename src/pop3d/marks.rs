//! Which messages of a maildrop are marked as deleted (RFC 1939 §5): numbers never shift during a session, and marked
//! messages are not there any more until `RSET`. Pure.

use super::command::Number;
use crate::mailbox::{Summary, Uid};
use std::collections::BTreeSet;

/// The marks of one session. Every method wants the same list of messages.
#[derive(Debug, Default)]
pub(super) struct Marks {
    deleted: BTreeSet<usize>,
    /// Their bytes in wire form.
    octets: u64,
}

impl Marks {
    /// The message of that number, if there is one and it is not marked.
    pub(super) fn find<'a>(&self, messages: &'a [Summary], number: Number) -> Option<&'a Summary> {
        messages.get(number.index()).filter(|_| !self.deleted.contains(&number.index()))
    }

    /// Marks it; false if there is none, or it is marked already.
    pub(super) fn mark(&mut self, messages: &[Summary], number: Number) -> bool {
        let Some(message) = self.find(messages, number) else { return false };
        self.octets += message.size;
        self.deleted.insert(number.index())
    }

    /// Takes all marks back.
    pub(super) fn reset(&mut self) {
        *self = Marks::default();
    }

    /// How many are not marked, and their bytes.
    pub(super) fn count(&self, messages: &[Summary]) -> (usize, u64) {
        let all: u64 = messages.iter().map(|message| message.size).sum();
        (messages.len().saturating_sub(self.deleted.len()), all.saturating_sub(self.octets))
    }

    /// Those that are not marked, with their numbers.
    pub(super) fn alive<'a>(&'a self, messages: &'a [Summary]) -> impl Iterator<Item = (usize, &'a Summary)> {
        messages
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.deleted.contains(index))
            .map(|(index, message)| (index + 1, message))
    }

    /// What is to be removed.
    pub(super) fn doomed(&self, messages: &[Summary]) -> Vec<Uid> {
        self.deleted.iter().filter_map(|index| messages.get(*index)).map(|message| message.uid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pop3d::command::{Command, parse};
    use proptest::prelude::*;

    fn messages(sizes: &[u64]) -> Vec<Summary> {
        sizes.iter().zip(11..).map(|(size, uid)| Summary { uid: Uid(uid), size: *size, ..Summary::default() }).collect()
    }

    fn number(value: usize) -> Number {
        let line = format!("DELE {value}");
        let Ok(Command::Dele(number)) = parse(line.as_bytes()) else { panic!("{line}") };
        number
    }

    #[test]
    fn numbers_stay_and_marked_messages_are_hidden() {
        let list = messages(&[120, 200, 30]);
        let mut marks = Marks::default();
        assert_eq!(marks.count(&list), (3, 350));
        assert!(marks.mark(&list, number(2)));
        assert!(!marks.mark(&list, number(2)));
        assert!(!marks.mark(&list, number(4)));
        assert!(!marks.mark(&list, number(4_294_967_295)));
        assert!(marks.find(&list, number(2)).is_none());
        assert_eq!(marks.find(&list, number(3)).map(|message| message.uid), Some(Uid(13)));
        assert_eq!(marks.count(&list), (2, 150));
        assert_eq!(marks.alive(&list).map(|(number, message)| (number, message.size)).collect::<Vec<_>>(), [(1, 120), (3, 30)]);
        assert_eq!(marks.doomed(&list), [Uid(12)]);
        marks.reset();
        assert_eq!(marks.count(&list), (3, 350));
        assert!(marks.doomed(&list).is_empty());
    }

    proptest! {
        /// Against a plain list of what is alive.
        #[test]
        fn like_a_list(sizes in proptest::collection::vec(0..1000_u64, 0..8), steps in proptest::collection::vec(0..10_usize, 0..20)) {
            let list = messages(&sizes);
            let mut marks = Marks::default();
            let mut model: Vec<Option<u64>> = sizes.iter().copied().map(Some).collect();
            for step in steps {
                if step == 0 {
                    marks.reset();
                    model = sizes.iter().copied().map(Some).collect();
                } else {
                    let expected = model.get_mut(step - 1).is_some_and(|entry| entry.take().is_some());
                    prop_assert_eq!(marks.mark(&list, number(step)), expected);
                }
                let alive: Vec<u64> = model.iter().flatten().copied().collect();
                prop_assert_eq!(marks.count(&list), (alive.len(), alive.iter().sum::<u64>()));
                prop_assert_eq!(marks.alive(&list).map(|(_, message)| message.size).collect::<Vec<_>>(), alive.clone());
                prop_assert_eq!(marks.doomed(&list).len(), list.len() - alive.len());
            }
        }
    }
}
