//! The state log of a user: which folders there are, under which mailbox ids, and what is being done to them.
//!
//! The table of folders is the truth about which exist; one whose file is not there is empty. What is below or above another in
//! the tree shows in the names only, so a name that has no mail but has names below it needs no fact.
//!
//! To remove a folder is one fact, to rename a folder and all below it is one fact too. The files follow, and a second fact says
//! that they have; whoever finds the first without the second does what is missing ([`tree`](super::tree)).

use super::factlog;
use super::name::FolderName;
use super::notes::{self, Notes, Owner};
use crate::sys::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// A line that raises the UIDVALIDITY has at least this many bytes.
const SHORTEST_RAISE: usize = 18;
/// So many given-up names are remembered one by one.
const MOST_RETIRED: usize = 1_000;

/// Names a folder's content for good, whatever it is called (RFC 8474 §4). Never given twice.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(u64);

impl MailboxId {
    /// One that nobody has.
    pub(super) fn new() -> std::io::Result<MailboxId> {
        getrandom::u64().map(MailboxId).map_err(std::io::Error::other)
    }
}

impl fmt::Display for MailboxId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl FromStr for MailboxId {
    type Err = ();
    fn from_str(text: &str) -> Result<MailboxId, ()> {
        let exact = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16).ok().filter(|_| exact).map(MailboxId).ok_or(())
    }
}

/// What a folder is for (RFC 6154 §2).
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialUse {
    /// What is kept.
    Archive,
    /// What is not finished.
    Drafts,
    /// What was taken for unwanted.
    Junk,
    /// Copies of what was sent.
    Sent,
    /// What is to be removed.
    Trash,
}

impl SpecialUse {
    /// All that we make folders for.
    pub const ALL: [SpecialUse; 5] =
        [SpecialUse::Archive, SpecialUse::Drafts, SpecialUse::Junk, SpecialUse::Sent, SpecialUse::Trash];

    /// The attribute without its backslash, which is also what we call such a folder.
    pub fn as_str(self) -> &'static str {
        match self {
            SpecialUse::Archive => "Archive",
            SpecialUse::Drafts => "Drafts",
            SpecialUse::Junk => "Junk",
            SpecialUse::Sent => "Sent",
            SpecialUse::Trash => "Trash",
        }
    }
}

impl FromStr for SpecialUse {
    type Err = ();
    /// Attributes are compared in any case.
    fn from_str(text: &str) -> Result<SpecialUse, ()> {
        SpecialUse::ALL.into_iter().find(|special| special.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// A folder of the table.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its id.
    pub id: MailboxId,
    /// What it is for.
    pub special: Option<SpecialUse>,
}

/// A folder that is being removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// What it was called.
    pub name: FolderName,
    /// The inode of its file: another one at that place is new mail. Zero: there was none.
    pub inode: u64,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The last UIDVALIDITY given to any folder.
    Validity(u32),
    /// A folder, or what it is for now.
    Folder(FolderName, Folder),
    /// A folder is no more; its file and its state go.
    Delete(MailboxId, Deletion),
    /// They are gone.
    Deleted(MailboxId),
    /// The first name, and names below it, become the second and below that; their files go there.
    Move(FolderName, FolderName),
    /// They are there.
    Moved(FolderName, FolderName),
    /// This name was that of other content, with UIDVALIDITYs up to this one. Without a name: any may have been.
    Retired(u32, Option<FolderName>),
    /// A user wants to see this name (RFC 3501 §6.3.6); a folder or none.
    Subscribed(FolderName),
    /// And not any more.
    Unsubscribed(FolderName),
    /// The folders for special uses were made, once.
    Furnished,
    /// What was noted about a folder, or by a user, changed at once; under which version.
    Notes(Owner, u64, notes::Changes),
}

/// All facts, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// The last UIDVALIDITY given.
    pub validity: u32,
    /// The folders, INBOX among them once anybody asked for its id.
    pub folders: BTreeMap<FolderName, Folder>,
    /// What is being removed.
    pub deletions: BTreeMap<MailboxId, Deletion>,
    /// What is being renamed.
    pub moves: Vec<(FolderName, FolderName)>,
    retired: BTreeMap<FolderName, u32>,
    retired_all: u32,
    /// Names that were subscribed to.
    pub subscribed: BTreeSet<FolderName>,
    /// The folders for special uses were made.
    pub furnished: bool,
    /// What was noted (RFC 5464).
    pub notes: Notes,
}

impl Sum {
    /// What this folder is called.
    pub fn name_of(&self, id: MailboxId) -> Option<&FolderName> {
        self.folders.iter().find(|(_, folder)| folder.id == id).map(|(name, _)| name)
    }

    /// Other content had this name under UIDVALIDITYs up to this one.
    pub fn retired(&self, name: &FolderName) -> u32 {
        self.retired.get(name).copied().unwrap_or(0).max(self.retired_all)
    }

    /// The folders at and below a name.
    pub fn at_or_below<'a>(&'a self, name: &'a FolderName) -> impl Iterator<Item = (&'a FolderName, &'a Folder)> {
        // Names that merely begin alike come in between.
        let from = self.folders.range(name..).take_while(|(found, _)| found.as_str().starts_with(name.as_str()));
        from.filter(move |(found, _)| *found == name || found.is_below(name))
    }

    /// Is there any folder below this name?
    pub fn has_children(&self, name: &FolderName) -> bool {
        self.at_or_below(name).any(|(found, _)| found != name)
    }

    fn retire(&mut self, name: FolderName, validity: u32) {
        let known = self.retired.entry(name).or_default();
        *known = validity.max(*known);
        if self.retired.len() > MOST_RETIRED {
            let most = self.retired.values().copied().max().unwrap_or(0);
            self.retired_all = self.retired_all.max(most);
            self.retired.clear();
        }
    }

    /// All that is under `from` gets its new name. A name that can't be stays; the caller has seen to it that there is none.
    fn rename(&mut self, from: &FolderName, to: &FolderName) {
        let old: Vec<FolderName> = self.at_or_below(from).map(|(name, _)| name.clone()).collect();
        for name in old {
            let Ok(new) = name.moved(from, to) else { continue };
            if let Some(folder) = self.folders.remove(&name) {
                self.folders.insert(new, folder);
                self.retire(name, self.validity);
            }
        }
    }
}

impl factlog::Sum for Sum {
    type Fact = Fact;

    fn take(&mut self, fact: Fact) {
        match fact {
            Fact::Validity(validity) => self.validity = self.validity.max(validity),
            Fact::Folder(name, folder) => drop(self.folders.insert(name, folder)),
            Fact::Delete(id, deletion) => {
                if self.folders.get(&deletion.name).is_some_and(|folder| folder.id == id) {
                    self.folders.remove(&deletion.name);
                }
                self.retire(deletion.name.clone(), self.validity);
                self.notes.forget(id);
                self.deletions.insert(id, deletion);
            }
            Fact::Deleted(id) => drop(self.deletions.remove(&id)),
            Fact::Move(from, to) => {
                self.rename(&from, &to);
                self.moves.push((from, to));
            }
            Fact::Moved(from, to) => self.moves.retain(|(before, after)| (before, after) != (&from, &to)),
            Fact::Retired(validity, Some(name)) => self.retire(name, validity),
            Fact::Retired(validity, None) => self.retired_all = self.retired_all.max(validity),
            Fact::Subscribed(name) => drop(self.subscribed.insert(name)),
            Fact::Unsubscribed(name) => drop(self.subscribed.remove(&name)),
            Fact::Furnished => self.furnished = true,
            Fact::Notes(owner, version, changes) => self.notes.take(owner, version, changes),
        }
    }

    /// What is being done comes before the folders, so that it does not touch them again.
    fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![Fact::Validity(self.validity), Fact::Retired(self.retired_all, None)];
        facts.extend(self.retired.iter().map(|(name, validity)| Fact::Retired(*validity, Some(name.clone()))));
        facts.extend(self.deletions.iter().map(|(id, deletion)| Fact::Delete(*id, deletion.clone())));
        facts.extend(self.moves.iter().map(|(from, to)| Fact::Move(from.clone(), to.clone())));
        facts.extend(self.folders.iter().map(|(name, folder)| Fact::Folder(name.clone(), *folder)));
        facts.extend(self.subscribed.iter().cloned().map(Fact::Subscribed));
        facts.extend(self.furnished.then_some(Fact::Furnished));
        facts.extend(self.notes.facts().map(|(owner, version, changes)| Fact::Notes(owner, version, changes)));
        facts
    }

    /// A name stands last in a line, since it may hold spaces; two are parted by a tab, which it can't hold.
    fn print(fact: &Fact) -> String {
        match fact {
            Fact::Validity(validity) => format!("validity {validity}"),
            Fact::Folder(name, Folder { id, special }) => {
                format!("folder {id} {} {name}", special.map_or("-", SpecialUse::as_str))
            }
            Fact::Delete(id, Deletion { name, inode }) => format!("delete {id} {inode} {name}"),
            Fact::Deleted(id) => format!("deleted {id}"),
            Fact::Move(from, to) => format!("move {from}\t{to}"),
            Fact::Moved(from, to) => format!("moved {from}\t{to}"),
            Fact::Retired(validity, None) => format!("retired {validity}"),
            Fact::Retired(validity, Some(name)) => format!("retired {validity} {name}"),
            Fact::Subscribed(name) => format!("subscribed {name}"),
            Fact::Unsubscribed(name) => format!("unsubscribed {name}"),
            Fact::Furnished => "furnished".into(),
            Fact::Notes(owner, version, changes) => {
                let owner = owner.map_or_else(|| "-".to_owned(), |id| id.to_string());
                format!("notes {owner} {version} {}", notes::print(changes))
            }
        }
    }

    fn parse(line: &str) -> Option<Fact> {
        let name = |text: &str| FolderName::parse(text).ok();
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let two = || rest.split_once('\t').and_then(|(from, to)| Some((name(from)?, name(to)?)));
        Some(match verb {
            "validity" => Fact::Validity(rest.parse().ok()?),
            "folder" => {
                let (id, rest) = rest.split_once(' ')?;
                let (special, text) = rest.split_once(' ')?;
                let special = if special == "-" { None } else { Some(special.parse().ok()?) };
                Fact::Folder(name(text)?, Folder { id: id.parse().ok()?, special })
            }
            "delete" => {
                let (id, rest) = rest.split_once(' ')?;
                let (inode, text) = rest.split_once(' ')?;
                Fact::Delete(id.parse().ok()?, Deletion { name: name(text)?, inode: inode.parse().ok()? })
            }
            "deleted" => Fact::Deleted(rest.parse().ok()?),
            "move" => two().map(|(from, to)| Fact::Move(from, to))?,
            "moved" => two().map(|(from, to)| Fact::Moved(from, to))?,
            "retired" => match rest.split_once(' ') {
                None => Fact::Retired(rest.parse().ok()?, None),
                Some((validity, text)) => Fact::Retired(validity.parse().ok()?, Some(name(text)?)),
            },
            "subscribed" => Fact::Subscribed(name(rest)?),
            "unsubscribed" => Fact::Unsubscribed(name(rest)?),
            "furnished" => Fact::Furnished,
            "notes" => {
                let (owner, rest) = rest.split_once(' ')?;
                let (version, text) = rest.split_once(' ')?;
                let owner = if owner == "-" { None } else { Some(owner.parse().ok()?) };
                Fact::Notes(owner, version.parse().ok()?, notes::parse(text)?)
            }
            _ => return None,
        })
    }

    /// UIDVALIDITYs may have been given. Folders that were named there are found again by their files, as new ones.
    fn lost(&mut self, bytes: usize) {
        let lost = u32::try_from(1 + bytes / SHORTEST_RAISE).unwrap_or(u32::MAX);
        self.validity = self.validity.saturating_add(lost);
        self.retired_all = self.validity;
    }

    fn forget(&mut self, _now: Time) {}
}

#[cfg(test)]
mod tests {
    use super::factlog::Sum as _;
    use super::*;

    fn name(text: &str) -> FolderName {
        FolderName::parse(text).unwrap()
    }

    fn folder(id: u64) -> Folder {
        Folder { id: MailboxId(id), special: None }
    }

    fn sum(facts: impl IntoIterator<Item = Fact>) -> Sum {
        let mut sum = Sum::default();
        facts.into_iter().for_each(|fact| sum.take(fact));
        sum
    }

    fn some() -> Vec<Fact> {
        vec![
            Fact::Validity(1_762_000_000),
            Fact::Folder(name("INBOX"), folder(1)),
            Fact::Folder(name("Work"), folder(0xfedc_ba98_7654_3210)),
            Fact::Folder(name("Work/two words"), Folder { id: MailboxId(3), special: Some(SpecialUse::Sent) }),
            Fact::Folder(name("Workshop"), folder(4)),
            Fact::Folder(name("Work-shop"), folder(5)),
            Fact::Folder(name("Gone"), folder(6)),
            Fact::Notes(Some(MailboxId(6)), 1, vec![("/shared/comment".into(), Some(b"of Gone".to_vec()))]),
            Fact::Notes(Some(MailboxId(3)), 2, vec![("/private/two words".into(), Some(b"\0\n=".to_vec())), ("/x".into(), None)]),
            Fact::Notes(None, 3, vec![("/private/a".into(), Some(Vec::new())), ("/private/b".into(), Some(b"b".to_vec()))]),
            Fact::Notes(None, 4, vec![("/private/b".into(), None)]),
            Fact::Delete(MailboxId(6), Deletion { name: name("Gone"), inode: 77 }),
            Fact::Delete(MailboxId(7), Deletion { name: name("Gone too"), inode: 0 }),
            Fact::Deleted(MailboxId(7)),
            Fact::Move(name("Work"), name("INBOX/Old work")),
            Fact::Move(name("x"), name("y")),
            Fact::Moved(name("x"), name("y")),
            Fact::Retired(5, None),
            Fact::Retired(6, Some(name("1 of many"))),
            Fact::Subscribed(name("Nowhere")),
            Fact::Subscribed(name("Was")),
            Fact::Unsubscribed(name("Was")),
            Fact::Furnished,
        ]
    }

    #[test]
    fn facts_come_back_and_sum_up() {
        for fact in some() {
            assert_eq!(Sum::parse(&Sum::print(&fact)), Some(fact));
        }
        let sum = sum(some());
        let names: Vec<&str> = sum.folders.keys().map(FolderName::as_str).collect();
        assert_eq!(names, ["INBOX", "INBOX/Old work", "INBOX/Old work/two words", "Work-shop", "Workshop"]);
        assert_eq!(sum.name_of(MailboxId(3)), Some(&name("INBOX/Old work/two words")));
        assert_eq!(sum.deletions.keys().collect::<Vec<_>>(), [&MailboxId(6)]);
        assert_eq!(sum.moves, [(name("Work"), name("INBOX/Old work"))]);
        assert_eq!((sum.retired(&name("Work")), sum.retired(&name("1 of many"))), (1_762_000_000, 6));
        assert_eq!((sum.retired(&name("Workshop")), sum.retired(&name("Gone"))), (5, 1_762_000_000));
        assert_eq!(sum.subscribed.iter().collect::<Vec<_>>(), [&name("Nowhere")]);
        assert!(sum.has_children(&name("INBOX")) && !sum.has_children(&name("Work")));
        let notes: Vec<_> = sum.notes.facts().map(|(owner, version, notes)| (owner, version, notes[0].0.clone())).collect();
        assert_eq!(notes, [(None, 3, "/private/a".into()), (Some(MailboxId(3)), 2, "/private/two words".into())]);
    }

    #[test]
    fn a_rewritten_log_has_the_same_sum() {
        let before = sum(some());
        assert_eq!(sum(before.facts()), before);
        // And so at every moment.
        for end in 0..some().len() {
            let before = sum(some().into_iter().take(end));
            assert_eq!(sum(before.facts()), before);
        }
    }

    #[test]
    fn names_given_up_are_remembered_within_a_bound() {
        let mut sum = Sum::default();
        for n in 0..MOST_RETIRED as u32 * 3 {
            sum.take(Fact::Validity(n + 1));
            sum.take(Fact::Delete(MailboxId(u64::from(n)), Deletion { name: name(&format!("n{n}")), inode: 0 }));
            assert!(sum.retired.len() <= MOST_RETIRED);
            assert!((0..=n).step_by(100).all(|k| sum.retired(&name(&format!("n{k}"))) > k));
        }
    }

    #[test]
    fn a_hole_raises_what_it_may_have_raised() {
        let mut sum = sum([Fact::Validity(100)]);
        sum.lost(SHORTEST_RAISE * 3);
        assert_eq!((sum.validity, sum.retired(&name("any"))), (104, 104));
    }
}
