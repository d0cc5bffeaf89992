//! Which UID belongs to which message, whatever other programs did to the file. A pure function.
//!
//! A message has the UID its own field claims if the seal over it is good and no other has it. Else it has the one under
//! which its content is known: from the state log's rows, or from when we last looked. Else it is new and gets the next
//! one, wherever it stands in the file.
//!
//! A message whose own UID was not believed, since it had gone away under that one before, has a row. So where the log has a row
//! for a content, and nobody remembers that it had the other UID, the row counts; but not against a greater UID, which the message
//! was given after that.

use super::scan::{Kind, Message};
use super::secret::Key;
use super::uidmap::UidMap;
use std::collections::{HashMap, HashSet, VecDeque};

/// What is known before.
#[derive(Copy, Clone, Debug)]
pub struct Before<'a> {
    /// UIDs and contents when we last looked.
    pub seen: &'a [(u32, Key)],
    /// UIDs and contents of messages that don't carry their UID.
    pub rows: &'a UidMap,
    /// The next UID.
    pub next: u32,
}

/// What follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// For each message of the scan its UID; none for those that are no mail.
    pub uids: Vec<Option<u32>>,
    /// To be kept in the state.
    pub rows: Vec<(u32, Key)>,
    /// Of the rows: these messages are not in the file any more.
    pub lost: Vec<u32>,
    /// The next UID.
    pub next: u32,
}

/// Compares a scan of the whole file with what was known. `sealed` tells the UID a message's own field claims, if its seal is good.
pub fn reconcile(before: Before<'_>, scan: &[Message], sealed: impl Fn(&Message) -> Option<u32>) -> Changes {
    let mut changes = Changes { uids: vec![None; scan.len()], next: before.next, ..Changes::default() };
    let mut taken = HashSet::with_capacity(scan.len());
    let mut unknown = Vec::new();
    for (message, uid) in scan.iter().zip(&mut changes.uids).filter(|(message, _)| message.kind == Kind::Alive) {
        *uid = sealed(message).filter(|uid| before.rows.get(*uid).is_none_or(|key| *key == message.key));
    }
    let mut surplus = surplus(before, scan, &changes.uids);
    for (at, (message, uid)) in scan.iter().zip(&mut changes.uids).enumerate() {
        if message.kind != Kind::Alive {
            continue;
        }
        *uid = uid.filter(|uid| {
            let more = surplus.get_mut(&message.key).is_none_or(|surplus| surplus.bears(*uid));
            (more || before.knows(*uid, &message.key)) && taken.insert(*uid)
        });
        match *uid {
            Some(uid) => changes.next = changes.next.max(uid.saturating_add(1)),
            None => unknown.push(at),
        }
    }
    let mut known = if unknown.is_empty() { HashMap::new() } else { by_key(before, &taken) };
    for at in unknown {
        let (Some(message), Some(uid)) = (scan.get(at), changes.uids.get_mut(at)) else { continue };
        let found = known.get_mut(&message.key).and_then(VecDeque::pop_front);
        let given = found.unwrap_or_else(|| {
            changes.next = changes.next.saturating_add(1);
            changes.next - 1
        });
        taken.insert(given);
        *uid = Some(given);
        if before.rows.get(given) != Some(&message.key) {
            changes.rows.push((given, message.key));
        }
    }
    changes.lost = before.rows.iter().map(|(uid, _)| uid).filter(|uid| !taken.contains(uid)).collect();
    changes
}

impl Before<'_> {
    /// Was this content known under this UID?
    fn knows(&self, uid: u32, key: &Key) -> bool {
        let seen = || self.seen.binary_search_by_key(&uid, |(own, _)| *own).ok().and_then(|at| self.seen.get(at));
        self.rows.get(uid) == Some(key) || seen().is_some_and(|(_, own)| own == key)
    }
}

/// Of a content that has rows.
#[derive(Debug, Default)]
struct Surplus {
    /// The last row's UID. A message has a row since its own number was not believed, so the row's is greater: one with a
    /// greater number of its own came later.
    last: u32,
    /// How many more messages than rows there are, without those that came later.
    left: i64,
}

impl Surplus {
    /// Can a message have this number of its own, with one left for each row?
    fn bears(&mut self, uid: u32) -> bool {
        uid > self.last || {
            self.left -= 1;
            self.left >= 0
        }
    }
}

fn surplus(before: Before<'_>, scan: &[Message], claims: &[Option<u32>]) -> HashMap<Key, Surplus> {
    let mut surplus: HashMap<Key, Surplus> = HashMap::new();
    for (uid, key) in before.rows.iter() {
        let rows = surplus.entry(key).or_default();
        (rows.last, rows.left) = (uid, rows.left - 1);
    }
    if !surplus.is_empty() {
        for (message, claim) in scan.iter().zip(claims).filter(|(message, _)| message.kind == Kind::Alive) {
            if let Some(rows) = surplus.get_mut(&message.key).filter(|rows| claim.is_none_or(|uid| uid <= rows.last)) {
                rows.left += 1;
            }
        }
    }
    surplus
}

/// The UIDs not taken yet of each content, ascending.
fn by_key(before: Before<'_>, taken: &HashSet<u32>) -> HashMap<Key, VecDeque<u32>> {
    let rows = before.rows.iter();
    let seen = before.seen.iter().copied().filter(|(uid, _)| before.rows.get(*uid).is_none());
    let mut all: Vec<(u32, Key)> = rows.chain(seen).filter(|(uid, _)| !taken.contains(uid)).collect();
    all.sort_unstable_by_key(|(uid, _)| *uid);
    let mut known: HashMap<Key, VecDeque<u32>> = HashMap::new();
    all.into_iter().for_each(|(uid, key)| known.entry(key).or_default().push_back(uid));
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::flags::Filed;
    use crate::sys::Time;
    use proptest::prelude::*;

    fn message(content: u8) -> Message {
        Message {
            offset: 0,
            length: 0,
            from: 0,
            header: 0,
            blank: 1,
            body: 0,
            wire: 0,
            key: Key([content; 16]),
            mark: None,
            uid: None,
            kind: Kind::Alive,
            filed: Filed::default(),
            keywords: None,
            room: 0,
            date: Time::default(),
            saved: Time::default(),
            zone: 0,
        }
    }

    /// A file in the model: content, and the UID it carries with a good seal.
    type File = Vec<(u8, Option<u32>)>;

    fn run(before: Before<'_>, file: &File) -> Changes {
        let scan: Vec<Message> = file.iter().map(|(content, uid)| Message { uid: *uid, ..message(*content) }).collect();
        reconcile(before, &scan, |message| message.uid)
    }

    #[test]
    fn the_unknown_get_the_next_numbers_and_keep_them() {
        let rows = UidMap::default();
        let file = vec![(1, Some(5)), (2, None), (1, Some(5)), (2, None)];
        let changes = run(Before { seen: &[], rows: &rows, next: 3 }, &file);
        assert_eq!(changes.uids, [Some(5), Some(6), Some(7), Some(8)]);
        assert_eq!(changes.next, 9);
        let rows: UidMap = changes.rows.iter().copied().collect();
        let file = vec![(2, None), (1, Some(5)), (2, None)];
        let seen = [(5, Key([1; 16])), (7, Key([1; 16]))];
        let changes = run(Before { seen: &seen, rows: &rows, next: 9 }, &file);
        assert_eq!(changes.uids, [Some(6), Some(5), Some(8)]);
        assert_eq!((changes.lost, changes.next), (vec![7], 9));
    }

    #[test]
    fn a_lost_seal_is_made_good_by_memory() {
        let rows = UidMap::default();
        let seen = [(4, Key([1; 16])), (9, Key([2; 16]))];
        let changes = run(Before { seen: &seen, rows: &rows, next: 10 }, &vec![(2, None), (1, None), (3, None)]);
        assert_eq!(changes.uids, [Some(9), Some(4), Some(10)]);
        assert_eq!(changes.rows.len(), 3);
    }

    #[test]
    fn a_uid_that_was_not_believed_once_is_not_believed_without_memory() {
        // It was gone under 2 before, and came back as 4.
        let rows = UidMap::from_iter([(4, Key([1; 16]))]);
        let before = Before { seen: &[], rows: &rows, next: 6 };
        assert_eq!(run(before, &vec![(1, Some(2)), (2, Some(5))]).uids, [Some(4), Some(5)]);
        // Two of this content: one has the row, the other its own.
        assert_eq!(run(before, &vec![(1, Some(2)), (1, Some(2))]).uids, [Some(2), Some(4)]);
        // One that went away came again, as a new one.
        assert_eq!(
            run(before, &vec![(1, Some(5))]),
            Changes { uids: vec![Some(5)], lost: vec![4], next: 6, ..Changes::default() }
        );
        assert_eq!(run(before, &vec![(1, Some(5)), (1, Some(2))]).uids, [Some(5), Some(4)]);
        // It is known that 2 was there too, and the other one went away.
        let seen = [(2, Key([1; 16])), (4, Key([1; 16]))];
        assert_eq!(run(Before { seen: &seen, ..before }, &vec![(1, Some(2))]).uids, [Some(2)]);
    }

    proptest! {
        /// Others shuffle, drop, add and double messages; what was shown under a UID never becomes another content.
        #[test]
        fn a_shown_uid_never_names_another_content(
            rounds in proptest::collection::vec((proptest::collection::vec((0u8..6, any::<bool>()), 0..6), any::<u64>(), any::<bool>()), 1..8)
        ) {
            let mut file: File = Vec::new();
            let (mut rows, mut shown, mut next) = (UidMap::default(), HashMap::new(), 1);
            let mut seen: Vec<(u32, Key)> = Vec::new();
            for (added, shuffle, forget) in rounds {
                for (content, ours) in added {
                    if ours {
                        file.push((content, Some(next)));
                        next += 1;
                    } else {
                        file.push((content, None));
                    }
                }
                let mut random = shuffle | 1;
                for at in 0..file.len() {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let other = (random >> 33) as usize % file.len();
                    file.swap(at, other);
                }
                if !file.is_empty() && shuffle % 3 == 0 { file.pop(); }
                if !file.is_empty() && shuffle % 5 == 0 { let double = file[0]; file.push(double); }
                if forget { seen.clear(); }
                let untouched: Vec<(u8, u32)> = seen.iter().map(|(uid, key)| (key.0[0], *uid)).collect();
                let changes = run(Before { seen: &seen, rows: &rows, next }, &file);
                let uids: Vec<u32> = changes.uids.iter().map(|uid| uid.unwrap()).collect();
                prop_assert_eq!(uids.iter().collect::<HashSet<_>>().len(), file.len());
                prop_assert!(uids.iter().all(|uid| *uid < changes.next) && changes.next >= next);
                for ((content, _), uid) in file.iter().zip(&uids) {
                    prop_assert_eq!(*shown.entry(*uid).or_insert(*content), *content);
                }
                // As many of each content as were there before keep their numbers.
                for content in 0..6u8 {
                    let had = untouched.iter().filter(|(c, _)| *c == content).count();
                    let has = file.iter().filter(|(c, _)| *c == content).count();
                    let kept = file.iter().zip(&uids).filter(|((c, _), uid)| *c == content && untouched.contains(&(content, **uid))).count();
                    prop_assert!(kept >= had.min(has).saturating_sub(file.iter().filter(|(c, own)| *c == content && own.is_some()).count()));
                }
                rows.remove(|uid| changes.lost.contains(&uid));
                changes.rows.iter().for_each(|(uid, key)| rows.put(*uid, *key));
                next = changes.next;
                seen = file.iter().zip(&uids).map(|((content, _), uid)| (*uid, Key([*content; 16]))).collect();
            }
        }
    }
}
