//! What changed between two lists of a user's folders (RFC 5465 §5.4, §5.5). Pure.

use crate::mailbox::{FolderName, Kind, Listed, MailboxId};
use std::collections::{BTreeMap, BTreeSet};

/// All names, as LIST tells them.
pub type Names = BTreeMap<FolderName, Listed>;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The folder of this name is no more.
    Gone(FolderName),
    /// A folder is called so, where there was none, or one below it came or went.
    Name(FolderName),
    /// The second name is now that of the folder that had the first, and so it is with all below.
    Renamed(FolderName, FolderName),
    /// The user is subscribed to this name, or not any more.
    Subscription(FolderName),
}

impl Change {
    /// The name it is about now, and the one before.
    pub fn names(&self) -> (&FolderName, Option<&FolderName>) {
        match self {
            Change::Gone(name) | Change::Name(name) | Change::Subscription(name) => (name, None),
            Change::Renamed(old, new) => (new, Some(old)),
        }
    }
}

/// What happened, in the order in which it is to be told.
pub fn changes(before: &Names, now: &Names) -> Vec<Change> {
    let (old, new) = (by_id(before), by_id(now));
    let name_in = |ids: &BTreeMap<MailboxId, FolderName>, id| ids.get(id).cloned();
    let gone: BTreeSet<FolderName> = old.iter().filter(|(id, _)| !new.contains_key(id)).map(|(_, name)| name.clone()).collect();
    let made: BTreeSet<FolderName> = new.iter().filter(|(id, _)| !old.contains_key(id)).map(|(_, name)| name.clone()).collect();
    let moved = old.iter().filter_map(|(id, name)| Some((name.clone(), name_in(&new, id)?))).filter(|(old, new)| old != new);
    let moved: BTreeSet<(FolderName, FolderName)> = moved.map(|(old, new)| topmost(old, new, before, now)).collect();
    // What is directly above a folder that came or went is told of, too.
    let above: BTreeSet<FolderName> = gone.iter().chain(&made).filter_map(FolderName::parent).collect();
    let above = above.into_iter().filter(|name| !gone.contains(name) && !made.contains(name));
    let is_subscribed = |names: &Names, name| names.get(name).is_some_and(|listed: &Listed| listed.subscribed);
    let all: BTreeSet<&FolderName> = before.keys().chain(now.keys()).collect();
    let resubscribed = all.into_iter().filter(|name| is_subscribed(before, name) != is_subscribed(now, name));
    let mut changes: Vec<Change> = gone.iter().cloned().map(Change::Gone).collect();
    changes.extend(moved.into_iter().map(|(old, new)| Change::Renamed(old, new)));
    changes.extend(made.iter().cloned().chain(above).map(Change::Name));
    changes.extend(resubscribed.cloned().map(Change::Subscription));
    changes
}

fn by_id(names: &Names) -> BTreeMap<MailboxId, FolderName> {
    let id = |listed: &Listed| match listed.kind {
        Kind::Mailbox(id) => Some(id),
        Kind::Noselect | Kind::Nonexistent => None,
    };
    names.values().filter_map(|listed| Some((id(listed)?, listed.name.clone()))).collect()
}

/// The renamed name highest above this one, with which it went.
fn topmost(old: FolderName, new: FolderName, before: &Names, now: &Names) -> (FolderName, FolderName) {
    let (mut old, mut new) = (old, new);
    let last = |name: &FolderName| name.as_str().rsplit('/').next().unwrap_or_default().to_owned();
    while let (Some(above_old), Some(above_new)) = (old.parent(), new.parent()) {
        if last(&old) != last(&new) || is_there(now, &above_old) || is_there(before, &above_new) {
            break;
        }
        (old, new) = (above_old, above_new);
    }
    (old, new)
}

/// Is it a folder, or a name above some?
fn is_there(names: &Names, name: &FolderName) -> bool {
    names.get(name).is_some_and(|listed| listed.kind != Kind::Nonexistent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FolderName {
        FolderName::parse(text).unwrap()
    }

    /// Folders by name and id; with `+`, subscribed to.
    fn names(folders: &[(&str, u64)]) -> Names {
        let mut names = Names::new();
        for (text, id) in folders {
            let name = name(text.trim_end_matches('+'));
            let mut above = name.parent();
            while let Some(parent) = above {
                above = parent.parent();
                let listed =
                    Listed { name: parent.clone(), kind: Kind::Noselect, has_children: true, subscribed: false, special: None };
                names.entry(parent).or_insert(listed);
            }
            let kind = Kind::Mailbox(format!("{id:016x}").parse().unwrap());
            let subscribed = text.ends_with('+');
            names.insert(name.clone(), Listed { name, kind, has_children: false, subscribed, special: None });
        }
        names
    }

    fn told(before: &[(&str, u64)], now: &[(&str, u64)]) -> Vec<String> {
        let one = |change: Change| match change {
            Change::Gone(name) => format!("-{name}"),
            Change::Name(name) => format!("{name}"),
            Change::Renamed(old, new) => format!("{old}>{new}"),
            Change::Subscription(name) => format!("?{name}"),
        };
        changes(&names(before), &names(now)).into_iter().map(one).collect()
    }

    #[test]
    fn what_came_and_went() {
        assert_eq!(told(&[("a", 1)], &[("a", 1)]), [""; 0]);
        assert_eq!(told(&[("a", 1)], &[("a", 1), ("b", 2)]), ["b"]);
        assert_eq!(told(&[("a", 1)], &[("a", 1), ("a/b", 2)]), ["a/b", "a"]);
        assert_eq!(told(&[("a", 1), ("a/b", 2)], &[("a", 1)]), ["-a/b", "a"]);
        assert_eq!(told(&[("a", 1), ("a/b", 2)], &[("a/b", 2)]), ["-a"]);
        assert_eq!(told(&[("a", 1)], &[("a", 2)]), ["-a", "a"]);
        assert_eq!(told(&[("a", 1), ("b+", 2)], &[("a+", 1), ("b", 2)]), ["?a", "?b"]);
    }

    #[test]
    fn what_was_renamed() {
        assert_eq!(told(&[("a", 1)], &[("b", 1)]), ["a>b"]);
        // Children go with it, whether it was a folder or a name above folders only.
        assert_eq!(told(&[("a", 1), ("a/x", 2), ("a/y/z", 3)], &[("b", 1), ("b/x", 2), ("b/y/z", 3)]), ["a>b"]);
        assert_eq!(told(&[("a/x", 2), ("a/y", 3)], &[("b/x", 2), ("b/y", 3)]), ["a>b"]);
        // One of two children goes to another parent.
        assert_eq!(told(&[("a/x", 2), ("a/y", 3)], &[("a/y", 3), ("b/x", 2)]), ["a/x>b/x"]);
        assert_eq!(told(&[("a/x", 2), ("b", 3)], &[("b", 3), ("b/x", 2)]), ["a/x>b/x"]);
        assert_eq!(told(&[("a", 1), ("b", 2)], &[("a", 2), ("b", 1)]), ["a>b", "b>a"]);
    }
}
