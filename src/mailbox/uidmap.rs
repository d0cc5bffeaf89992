//! Which message has which UID, where the messages don't tell themselves: a sorted list, since there may be many and they
//! hardly ever change. Pure.

use super::secret::Key;

/// Contents by UID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UidMap(Vec<(u32, Key)>);

impl UidMap {
    /// The content of that UID.
    pub fn get(&self, uid: u32) -> Option<&Key> {
        let at = self.0.binary_search_by_key(&uid, |(own, _)| *own).ok()?;
        self.0.get(at).map(|(_, key)| key)
    }

    /// Adds one, or gives it another content; quick if it is greater than all others.
    pub fn put(&mut self, uid: u32, key: Key) {
        if self.0.last().is_none_or(|(last, _)| *last < uid) {
            return self.0.push((uid, key));
        }
        match self.0.binary_search_by_key(&uid, |(own, _)| *own) {
            Ok(at) => self.0[at].1 = key,
            Err(at) => self.0.insert(at, (uid, key)),
        }
    }

    /// Takes away those of which `gone` says so.
    pub fn remove(&mut self, gone: impl Fn(u32) -> bool) {
        self.0.retain(|(uid, _)| !gone(*uid));
    }

    /// In order of UID.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Key)> {
        self.0.iter().copied()
    }

    /// The greatest UID.
    pub fn last(&self) -> Option<u32> {
        self.0.last().map(|(uid, _)| *uid)
    }

    /// Those from this UID on.
    pub fn since(&self, uid: u32) -> UidMap {
        let first = self.0.partition_point(|(own, _)| *own < uid);
        UidMap(self.0.get(first..).unwrap_or_default().to_vec())
    }

    /// All but those of which `gone` says so.
    pub fn without(&self, gone: impl Fn(u32) -> bool) -> UidMap {
        UidMap(self.0.iter().filter(|(uid, _)| !gone(*uid)).copied().collect())
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<(u32, Key)> for UidMap {
    fn from_iter<T: IntoIterator<Item = (u32, Key)>>(rows: T) -> UidMap {
        let mut map = UidMap::default();
        rows.into_iter().for_each(|(uid, key)| map.put(uid, key));
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn like_a_tree(steps in proptest::collection::vec((0..30u32, 0..3u8), 0..60)) {
            let (mut map, mut tree) = (UidMap::default(), BTreeMap::new());
            for (uid, step) in steps {
                match step {
                    0 => {
                        map.remove(|own| own == uid);
                        tree.remove(&uid);
                    }
                    step => {
                        map.put(uid, Key([step; 16]));
                        tree.insert(uid, Key([step; 16]));
                    }
                }
                prop_assert!(map.iter().eq(tree.iter().map(|(uid, key)| (*uid, *key))));
                prop_assert_eq!((map.get(uid), map.len()), (tree.get(&uid), tree.len()));
                prop_assert_eq!(map.last(), tree.keys().next_back().copied());
                let mut fewer = map.clone();
                fewer.remove(|own| own == uid);
                prop_assert_eq!(map.without(|own| own == uid), fewer);
                prop_assert!(map.since(uid).iter().eq(tree.range(uid..).map(|(uid, key)| (*uid, *key))));
            }
        }
    }
}
