//! Annotations: short values under names, of a folder or of the user (METADATA, RFC 5464). They are facts of the user's log, kept
//! by mailbox id: a rename does not touch them, and a folder that is deleted takes its own with it.

use super::MailboxError;
use super::folders::{FolderError, Folders};
use super::name::FolderName;
use super::tree::Log;
use super::user::{Fact, MailboxId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Bytes of a value.
pub const LONGEST_NOTE: usize = 16 << 10;
/// Notes of one folder, or of the user.
const MOST: usize = 100;
/// Bytes of all notes of a user, names included.
const MOST_BYTES: usize = 1 << 20;

/// Whose note: of a folder, or none: the user's own.
pub type Owner = Option<MailboxId>;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// No two that were ever written have the same.
    pub version: u64,
    /// Any bytes.
    pub value: Vec<u8>,
}

/// All notes of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(BTreeMap<(Owner, String), Note>);

/// One command's changes to notes of one owner: names, and values; none: it goes.
pub type Changes = Vec<(String, Option<Vec<u8>>)>;

/// Which notes there were, by owner, name and version.
pub type Known = BTreeSet<(Owner, String, u64)>;

/// Why notes can't be set.
#[derive(Debug)]
pub enum NoteError {
    /// A value is longer than [`LONGEST_NOTE`].
    TooLong,
    /// There would be too many, or all of them too long.
    TooMany,
    /// There is no such folder, or the log can't be written.
    Folder(FolderError),
}

impl fmt::Display for NoteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoteError::TooLong => out.write_str("a value is too long"),
            NoteError::TooMany => out.write_str("there are too many annotations"),
            NoteError::Folder(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for NoteError {}

impl Notes {
    /// Takes changes in.
    pub(super) fn take(&mut self, owner: Owner, version: u64, changes: Changes) {
        for (name, value) in changes {
            match value {
                Some(value) => drop(self.0.insert((owner, name), Note { version, value })),
                None => drop(self.0.remove(&(owner, name))),
            }
        }
    }

    /// Those of a folder that is no more.
    pub(super) fn forget(&mut self, id: MailboxId) {
        self.0.retain(|(owner, _), _| *owner != Some(id));
    }

    /// As facts: owner, version and changes.
    pub(super) fn facts(&self) -> impl Iterator<Item = (Owner, u64, Changes)> {
        self.0.iter().map(|((owner, name), note)| (*owner, note.version, vec![(name.clone(), Some(note.value.clone()))]))
    }

    fn known(&self) -> Known {
        self.0.iter().map(|((owner, name), note)| (*owner, name.clone(), note.version)).collect()
    }

    /// There are fewer than so many of one owner, and of all of them together.
    fn fits(&self, owner: Owner) -> bool {
        let bytes: usize = self.0.iter().map(|((_, name), note)| name.len() + note.value.len()).sum();
        self.0.keys().filter(|(of, _)| *of == owner).count() <= MOST && bytes <= MOST_BYTES
    }
}

/// `name=value` in hexadecimal digits, or `name-`.
pub(super) fn print(changes: &Changes) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let one = |(name, value): &(String, Option<Vec<u8>>)| match value {
        Some(value) => format!("{}={}", hex(name.as_bytes()), hex(value)),
        None => format!("{}-", hex(name.as_bytes())),
    };
    changes.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// What [`print`] wrote.
pub(super) fn parse(text: &str) -> Option<Changes> {
    use super::state::hex;
    let name = |text: &str| String::from_utf8(hex(text)?).ok();
    let one = |word: &str| match word.split_once('=') {
        Some((before, value)) => Some((name(before)?, Some(hex(value)?))),
        None => Some((name(word.strip_suffix('-')?)?, None)),
    };
    text.split(' ').map(one).collect()
}

impl Folders {
    /// The notes of a folder, or of the user.
    pub fn notes(&self, folder: Option<&FolderName>) -> Result<BTreeMap<String, Note>, FolderError> {
        let owner = self.owner(folder)?;
        Ok(self.user().log(|log| {
            let own = log.sum.notes.0.iter().filter(|((of, _), _)| *of == owner);
            Ok(own.map(|((_, name), note)| (name.clone(), note.clone())).collect())
        })?)
    }

    /// Changes notes, all of them or none, durably. Tells whose and which they are now.
    pub fn set_notes(&self, folder: Option<&FolderName>, changes: Changes) -> Result<(Owner, u64), NoteError> {
        if changes.iter().any(|(_, value)| value.as_ref().is_some_and(|value| value.len() > LONGEST_NOTE)) {
            return Err(NoteError::TooLong);
        }
        let owner = self.owner(folder).map_err(NoteError::Folder)?;
        let now = u64::try_from(self.user().shared.clock.now().0).unwrap_or(0);
        let set = self.user().log(|log| {
            let mut after = log.sum.notes.clone();
            let version = log.sum.notes.0.values().map(|note| note.version + 1).max().unwrap_or(0).max(now);
            after.take(owner, version, changes.clone());
            if changes.iter().any(|(_, value)| value.is_some()) && !after.fits(owner) {
                return Ok(None);
            }
            put(log, owner, version, changes)?;
            Ok(Some((owner, version)))
        });
        set.map_err(|error| NoteError::Folder(error.into()))?.ok_or(NoteError::TooMany)
    }

    /// Which notes there are now.
    pub fn known_notes(&self) -> Result<Known, MailboxError> {
        self.user().log(|log| Ok(log.sum.notes.known()))
    }

    /// Which changed since: of which folder, or of the user, and their names. Those of a folder that is gone are not told.
    #[allow(clippy::type_complexity)]
    pub fn changed_notes(&self, known: &Known) -> Result<(Known, BTreeMap<Option<FolderName>, BTreeSet<String>>), MailboxError> {
        self.user().log(|log| {
            let now = log.sum.notes.known();
            let mut changed: BTreeMap<Option<FolderName>, BTreeSet<String>> = BTreeMap::new();
            for (owner, name, _) in known.symmetric_difference(&now) {
                let folder = owner.map(|id| log.sum.name_of(id).cloned());
                // Of the user, or of a folder that there is.
                if folder.as_ref().is_none_or(Option::is_some) {
                    changed.entry(folder.flatten()).or_default().insert(name.clone());
                }
            }
            Ok((now, changed))
        })
    }

    fn owner(&self, folder: Option<&FolderName>) -> Result<Owner, FolderError> {
        folder.map(|name| self.id(name)).transpose()
    }
}

fn put(log: &mut Log, owner: Owner, version: u64, changes: Changes) -> Result<(), MailboxError> {
    log.put(Fact::Notes(owner, version, changes));
    Ok(log.sync()?)
}
