//! What should be in each folder, and what was ever shown.

use super::mutt::Item;
use crate::common::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub const FOLDERS: [&str; 3] = ["INBOX", "Work", "Pot"];
pub const INBOX: usize = 0;
/// What mutt writes, and so may put back to what it remembers.
pub const LETTERS: [(&str, char); 3] = [("\\Seen", 'R'), ("\\Flagged", 'F'), ("\\Answered", 'A')];
/// What it knows nothing of.
pub const OTHERS: [&str; 3] = ["\\Draft", "$One", "$Two"];

/// Who alone marks, moves and removes a message.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Daemon(usize),
    Mutt,
}

/// A message that is there.
#[derive(Clone, Debug)]
pub struct Held {
    pub owner: Owner,
    /// UIDVALIDITY and UID, when they are known.
    pub uid: Option<(u32, u32)>,
    pub flags: BTreeSet<String>,
    /// Its owner is about to change its flags, or to remove it.
    pub busy: bool,
    /// mutt wrote flags that it remembered from before: which of them count can't be told.
    pub vague: bool,
}

impl Held {
    pub fn new(owner: Owner) -> Held {
        Held { owner, uid: None, flags: BTreeSet::new(), busy: false, vague: false }
    }
}

/// A message that a session shows.
#[derive(Clone, Debug)]
pub struct Seen {
    pub uid: (u32, u32),
    pub number: u64,
    /// Without `\Recent` and `\Deleted`.
    pub flags: BTreeSet<String>,
}

/// See the module.
#[derive(Default)]
pub struct Ledger {
    held: Mutex<BTreeMap<(usize, u64), Held>>,
    shown: Mutex<BTreeMap<(usize, u32, u32), u64>>,
    last: AtomicU64,
    acts: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message of its own, in wire form: always the same.
pub fn text(number: u64) -> String {
    let mut text = format!("Subject: message {number}\r\nX-Number: {number}\r\n\r\n");
    let lines = [0, 1, 3, 20, 200][number as usize % 5];
    for line in 0..lines {
        text += &match line % 7 {
            3 => format!("From here to {number}\r\n"),
            5 => format!("\r\n>From {number} on\r\n"),
            _ => format!("line {line} of message {number}\r\n"),
        };
    }
    text + &format!("end of {number}\r\n")
}

fn letters(flags: &BTreeSet<String>) -> BTreeSet<char> {
    LETTERS.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, letter)| *letter).collect()
}

impl Ledger {
    pub fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn did(&self, what: String) {
        self.acts().push(what);
    }

    pub fn acts(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.acts)
    }

    pub fn hold(&self, folder: usize, number: u64, held: Held) {
        let before = lock(&self.held).insert((folder, number), held);
        assert!(before.is_none(), "message {number} is in {} already", FOLDERS[folder]);
    }

    pub fn let_go(&self, folder: usize, number: u64) -> Held {
        lock(&self.held).remove(&(folder, number)).unwrap_or_else(|| panic!("message {number} is not in {}", FOLDERS[folder]))
    }

    pub fn change(&self, folder: usize, number: u64, how: impl FnOnce(&mut Held)) {
        if let Some(held) = lock(&self.held).get_mut(&(folder, number)) {
            how(held);
        }
    }

    pub fn is_of(&self, folder: usize, number: u64, owner: Owner) -> bool {
        lock(&self.held).get(&(folder, number)).is_some_and(|held| held.owner == owner)
    }

    /// All of an owner's in a folder.
    pub fn of(&self, folder: usize, owner: Owner) -> BTreeMap<u64, Held> {
        let held = lock(&self.held);
        let own = held.iter().filter(|((at, _), held)| *at == folder && held.owner == owner);
        own.map(|((_, number), held)| (*number, held.clone())).collect()
    }

    pub fn has(&self, folder: usize, number: u64) -> bool {
        lock(&self.held).contains_key(&(folder, number))
    }

    /// A session shows this.
    pub fn show(&self, folder: usize, uid: (u32, u32), number: u64) {
        let before = *lock(&self.shown).entry((folder, uid.0, uid.1)).or_insert(number);
        assert_eq!(before, number, "UID {} of {} in {}, which was another message", uid.1, uid.0, FOLDERS[folder]);
    }

    /// Under the locks: mutt writes this message as it remembers it, or leaves it out.
    pub fn mutt_writes(&self, item: &Item) {
        let Some(number) = item.number else { return };
        let mut held = lock(&self.held);
        let Some(own) = held.get_mut(&(INBOX, number)) else { return };
        let written: BTreeSet<char> = item.letters.chars().filter(|letter| "RAF".contains(*letter)).collect();
        match own.owner {
            Owner::Mutt if item.leave_out => drop(held.remove(&(INBOX, number))),
            Owner::Mutt => {
                for (flag, letter) in LETTERS {
                    if written.contains(&letter) {
                        own.flags.insert(flag.to_owned());
                    } else {
                        own.flags.remove(flag);
                    }
                }
            }
            Owner::Daemon(_) if item.leave_out => assert!(own.busy, "mutt takes message {number}, which nobody deleted"),
            Owner::Daemon(_) => own.vague |= own.busy || letters(&own.flags) != written,
        }
    }

    /// What an owner, or after a round anybody, sees of his messages.
    pub fn check(&self, folder: usize, number: u64, held: &Held, seen: &Seen) {
        let name = FOLDERS[folder];
        if let Some(uid) = held.uid {
            assert_eq!(uid, seen.uid, "UID of message {number} in {name}, which nobody touched");
        }
        let other =
            |flags: &BTreeSet<String>| flags.iter().filter(|flag| OTHERS.contains(&&***flag)).cloned().collect::<Vec<_>>();
        assert_eq!(other(&held.flags), other(&seen.flags), "flags of message {number} in {name}");
        if !held.vague {
            assert_eq!(letters(&held.flags), letters(&seen.flags), "flags of message {number} in {name}");
        }
    }

    /// After a round. What was contested belongs to somebody from now on.
    pub fn compare(&self, folder: usize, seen: &[Seen], contested: &BTreeSet<u64>, random: &mut Random) {
        let mut held = lock(&self.held);
        let mut there = BTreeSet::new();
        for seen in seen {
            assert!(there.insert(seen.number), "message {} is twice in {}", seen.number, FOLDERS[folder]);
            if contested.contains(&seen.number) {
                held.insert((folder, seen.number), Held::new([Owner::Daemon(0), Owner::Daemon(1)][random.below(2)]));
            }
            let own = held.get_mut(&(folder, seen.number));
            let own = own.unwrap_or_else(|| panic!("message {} is in {} and should not be", seen.number, FOLDERS[folder]));
            self.check(folder, seen.number, own, seen);
            (own.uid, own.flags, own.vague) = (Some(seen.uid), seen.flags.clone(), false);
        }
        for (at, number) in held.keys() {
            assert!(*at != folder || there.contains(number), "message {number} was lost from {}", FOLDERS[folder]);
        }
    }
}
