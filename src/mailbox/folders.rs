//! What a session may do with its user's folders: list, create, delete, rename, subscribe (RFC 9051 §6.3).
//!
//! Each act holds the user's tree, and is one fact in the user's log: before it is durable nothing has happened, after it all has.

use super::lock::Patience;
use super::name::{FolderName, NameError};
use super::tree::{Log, MOST_FOLDERS, Tree, User};
use super::user::{Deletion, Fact, Folder, MailboxId, SpecialUse};
use super::{Mailbox, MailboxError, inbox::PATIENCE};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

/// The folders of one user.
#[derive(Debug)]
pub struct Folders {
    user: Arc<User>,
}

/// What stands behind a name.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A mailbox that can be opened.
    Mailbox(MailboxId),
    /// Nothing but names below it: `\Noselect`.
    Noselect,
    /// Nothing. The name is here because it was subscribed to.
    Nonexistent,
}

/// One name, as LIST tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: FolderName,
    /// What it is.
    pub kind: Kind,
    /// There are folders below it.
    pub has_children: bool,
    /// It was subscribed to.
    pub subscribed: bool,
    /// What it is for.
    pub special: Option<SpecialUse>,
}

/// Why something can't be done with a folder.
#[derive(Debug)]
pub enum FolderError {
    /// The name, or one that would follow from it, can't be.
    Name(NameError),
    /// The name is taken.
    Exists,
    /// There is no such folder.
    Nonexistent,
    /// There is no mail under this name, only other names, and so nothing to delete.
    HasChildren,
    /// INBOX is always there, under this name.
    Inbox,
    /// A folder can't be moved below itself.
    IntoItself,
    /// Another folder is for that use already.
    UseTaken,
    /// No more folders, or subscriptions, for this user.
    TooMany,
    /// The files can't be reached or changed.
    Mailbox(MailboxError),
}

impl fmt::Display for FolderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderError::Name(error) => error.fmt(out),
            FolderError::Exists => out.write_str("there is a folder of this name"),
            FolderError::Nonexistent => out.write_str("there is no folder of this name"),
            FolderError::HasChildren => out.write_str("there is only more below this name"),
            FolderError::Inbox => out.write_str("INBOX stays"),
            FolderError::IntoItself => out.write_str("a folder can't be below itself"),
            FolderError::UseTaken => out.write_str("another folder has this use"),
            FolderError::TooMany => out.write_str("there are too many folders"),
            FolderError::Mailbox(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for FolderError {}

impl From<MailboxError> for FolderError {
    fn from(error: MailboxError) -> FolderError {
        FolderError::Mailbox(error)
    }
}

impl From<io::Error> for FolderError {
    fn from(error: io::Error) -> FolderError {
        FolderError::Mailbox(error.into())
    }
}

impl From<NameError> for FolderError {
    fn from(error: NameError) -> FolderError {
        FolderError::Name(error)
    }
}

impl Folders {
    pub(super) fn of(user: Arc<User>) -> Folders {
        Folders { user }
    }

    pub(super) fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// All names in order: folders, those that other programs made among them, the names above them, and subscriptions.
    pub fn list(&self) -> Result<Vec<Listed>, FolderError> {
        let tree = self.user.tree()?;
        tree.adopt()?;
        inbox_id(&tree)?;
        let names = self.user.log(|log| Ok(listed(log)))?;
        Ok(names)
    }

    /// The id of a folder (RFC 8474).
    pub fn id(&self, name: &FolderName) -> Result<MailboxId, FolderError> {
        // It is for good: one that is known needs no look at the tree.
        if let Some(folder) = self.user.log(|log| Ok(log.sum.folders.get(name).copied()))? {
            return Ok(folder.id);
        }
        let tree = self.user.tree()?;
        if name.is_inbox() {
            return Ok(inbox_id(&tree)?);
        }
        Ok(find(&tree, name)?.ok_or(FolderError::Nonexistent)?.id)
    }

    /// What a folder is for.
    pub fn special_use(&self, name: &FolderName) -> Result<Option<SpecialUse>, FolderError> {
        Ok(self.user.log(|log| Ok(log.sum.folders.get(name).and_then(|folder| folder.special)))?)
    }

    /// The same, of one that is open.
    pub fn use_of(&self, mailbox: &Mailbox) -> Result<Option<SpecialUse>, MailboxError> {
        let Some(id) = mailbox.places.id else { return Ok(None) };
        self.user.log(|log| Ok(log.sum.folders.values().find(|folder| folder.id == id).and_then(|folder| folder.special)))
    }

    /// The folder for this use, if there is one.
    pub fn for_use(&self, special: SpecialUse) -> Result<Option<MailboxId>, MailboxError> {
        self.user.log(|log| Ok(log.sum.folders.values().find(|folder| folder.special == Some(special)).map(|folder| folder.id)))
    }

    /// Makes a folder. Names above it need not be folders. Two folders can't have one use.
    pub fn create(&self, name: &FolderName, special: Option<SpecialUse>) -> Result<MailboxId, FolderError> {
        create(&self.user.tree()?, name, special)
    }

    /// Removes a folder with its mail. What is below it stays. Sessions that have it open find it gone.
    pub fn delete(&self, name: &FolderName) -> Result<(), FolderError> {
        if name.is_inbox() {
            return Err(FolderError::Inbox);
        }
        let tree = self.user.tree()?;
        tree.adopt()?;
        let Some(Folder { id, .. }) = find(&tree, name)? else {
            let has_children = self.user.log(|log| Ok(log.sum.has_children(name)))?;
            return Err(if has_children { FolderError::HasChildren } else { FolderError::Nonexistent });
        };
        let mailbox = tree.mailbox(id, name)?;
        mailbox.delete(&tree, id, name)?;
        tree.tidy(&self.user.root.join(name.dir()));
        tree.tidy(self.user.path(name).parent().unwrap_or(&self.user.root));
        Ok(())
    }

    /// Gives a folder, and all below it, another name; ids, numbers and uses stay. INBOX keeps its name: to rename it is to move
    /// its mail into a new folder (RFC 9051 §6.3.6), which is for delivery to do.
    pub fn rename(&self, from: &FolderName, to: &FolderName) -> Result<(), FolderError> {
        if from.is_inbox() {
            return Err(FolderError::Inbox);
        }
        if to.is_below(from) {
            return Err(FolderError::IntoItself);
        }
        let tree = self.user.tree()?;
        tree.adopt()?;
        let (moves, taken) = self.user.log(|log| {
            let taken = to.is_inbox() || log.sum.at_or_below(to).next().is_some();
            Ok((log.sum.at_or_below(from).map(|(name, _)| name.clone()).collect::<Vec<_>>(), taken))
        })?;
        match () {
            () if moves.is_empty() => return Err(FolderError::Nonexistent),
            () if taken => return Err(FolderError::Exists),
            () => {}
        }
        let mut patience = Patience::new(&*self.user.shared.clock, PATIENCE);
        for name in &moves {
            let new = name.moved(from, to)?;
            if tree.is_taken(&new)? {
                return Err(FolderError::Exists);
            }
            tree.make_room(&new)?;
            tree.wait_for(name, &mut patience)?;
        }
        self.user.log(|log| {
            log.put(Fact::Move(from.clone(), to.clone()));
            Ok(log.sync()?)
        })?;
        // It is done; what of the files can't follow now will before anything else is done.
        if let Err(error) = tree.follow(from, to) {
            log::error!("event=rename-delayed user={} error={error}", self.user.account.name);
        }
        Ok(())
    }

    /// From now on the name is among the subscriptions. It need not be a folder's.
    pub fn subscribe(&self, name: &FolderName) -> Result<(), FolderError> {
        let full = self.user.log(|log| {
            if log.sum.subscribed.contains(name) || log.sum.subscribed.len() >= MOST_FOLDERS {
                return Ok(!log.sum.subscribed.contains(name));
            }
            log.put(Fact::Subscribed(name.clone()));
            log.sync()?;
            Ok(false)
        })?;
        if full { Err(FolderError::TooMany) } else { Ok(()) }
    }

    /// And not any more. A name that was not there is fine.
    pub fn unsubscribe(&self, name: &FolderName) -> Result<(), FolderError> {
        Ok(self.user.log(|log| {
            if log.sum.subscribed.contains(name) {
                log.put(Fact::Unsubscribed(name.clone()));
                log.sync()?;
            }
            Ok(())
        })?)
    }

    /// Makes the folders for special uses, each if no folder is for that use, and subscribes to all that are, and to INBOX: once.
    /// Later calls find it done, whatever the user has made of them since.
    pub(super) fn ensure_special(&self) -> Result<(), FolderError> {
        if self.user.log(|log| Ok(log.sum.furnished))? {
            return Ok(());
        }
        let tree = self.user.tree()?;
        tree.adopt()?;
        let mut wanted = vec![FolderName::inbox()];
        for special in SpecialUse::ALL {
            let name = FolderName::parse(special.as_str())?;
            let (used, found) =
                self.user.log(|log| Ok((for_use(log, special).cloned(), log.sum.folders.get(&name).map(|found| found.id))))?;
            match (&used, found) {
                (Some(_), _) => {}
                (None, None) => drop(create(&tree, &name, Some(special))?),
                (None, Some(id)) => self.user.log(|log| {
                    log.put(Fact::Folder(name.clone(), Folder { id, special: Some(special) }));
                    Ok(log.flush()?)
                })?,
            }
            wanted.push(used.unwrap_or(name));
        }
        Ok(self.user.log(|log| {
            wanted.into_iter().for_each(|name| log.put(Fact::Subscribed(name)));
            log.put(Fact::Furnished);
            Ok(log.sync()?)
        })?)
    }

    pub(super) fn open(&self, name: &FolderName) -> Result<Arc<Mailbox>, MailboxError> {
        let tree = self.user.tree()?;
        let folder = find(&tree, name)?.ok_or(MailboxError::Nonexistent)?;
        tree.mailbox(folder.id, name)
    }
}

impl Mailbox {
    /// Removes the folder: waits for whoever writes to it, and leaves nothing for a session to find.
    fn delete(self: &Arc<Self>, tree: &Tree<'_>, id: MailboxId, name: &FolderName) -> Result<(), MailboxError> {
        let mut inner = self.inner();
        let locked = if self.exists()? { Some(self.lock(&mut inner)?) } else { None };
        let inode = locked.as_ref().map_or(0, |(_, stat)| stat.file.1);
        let deletion = Deletion { name: name.clone(), inode };
        self.user.log(|log| {
            log.put(Fact::Delete(id, deletion.clone()));
            Ok(log.sync()?)
        })?;
        self.places.delete();
        self.user.sizes.forget(Some(id));
        inner.dissolve();
        self.seats.ring();
        if let Err(error) = tree.remove(id, &deletion) {
            log::error!("event=delete-delayed path={} error={error}", self.spot().path.display());
        }
        Ok(())
    }
}

/// The folder of this name; one that another program made counts.
fn find(tree: &Tree<'_>, name: &FolderName) -> Result<Option<Folder>, MailboxError> {
    let known = || tree.user.log(|log| Ok(log.sum.folders.get(name).copied()));
    match known()? {
        None if tree.is_taken(name).unwrap_or(false) => {
            tree.adopt()?;
            known()
        }
        found => Ok(found),
    }
}

fn create(tree: &Tree<'_>, name: &FolderName, special: Option<SpecialUse>) -> Result<MailboxId, FolderError> {
    let user = tree.user;
    if name.is_inbox() || find(tree, name)?.is_some() {
        return Err(FolderError::Exists);
    }
    if tree.is_taken(name)? {
        return Err(MailboxError::Refused("something is in the folder's place").into());
    }
    let (taken, full) = user
        .log(|log| Ok((special.is_some_and(|special| for_use(log, special).is_some()), log.sum.folders.len() >= MOST_FOLDERS)))?;
    match () {
        () if taken => return Err(FolderError::UseTaken),
        () if full => return Err(FolderError::TooMany),
        () => {}
    }
    tree.make_room(name)?;
    let id = MailboxId::new()?;
    user.log(|log| {
        log.put(Fact::Folder(name.clone(), Folder { id, special }));
        Ok(log.sync()?)
    })?;
    // For other programs. A folder without a file is empty, and whoever puts something there makes one.
    if let Err(error) = tree.make_file(name) {
        log::warn!("event=folder-without-file user={} error={error}", user.account.name);
    }
    Ok(id)
}

/// The folder for this use.
fn for_use(log: &Log, special: SpecialUse) -> Option<&FolderName> {
    log.sum.folders.iter().find(|(_, folder)| folder.special == Some(special)).map(|(name, _)| name)
}

/// INBOX has an id from the first time on that anybody asks.
fn inbox_id(tree: &Tree<'_>) -> Result<MailboxId, MailboxError> {
    tree.user.log(|log| {
        if let Some(folder) = log.sum.folders.get(&FolderName::inbox()) {
            return Ok(folder.id);
        }
        let id = MailboxId::new()?;
        log.put(Fact::Folder(FolderName::inbox(), Folder { id, special: None }));
        log.sync()?;
        Ok(id)
    })
}

fn listed(log: &Log) -> Vec<Listed> {
    let mut names: BTreeMap<FolderName, Listed> = BTreeMap::new();
    let entry = |name: &FolderName, kind| {
        let subscribed = log.sum.subscribed.contains(name);
        Listed { name: name.clone(), kind, has_children: false, subscribed, special: None }
    };
    for (name, folder) in &log.sum.folders {
        names.insert(name.clone(), Listed { special: folder.special, ..entry(name, Kind::Mailbox(folder.id)) });
    }
    for name in log.sum.folders.keys() {
        let mut above = name.parent();
        while let Some(parent) = above {
            let listed = names.entry(parent.clone()).or_insert_with(|| entry(&parent, Kind::Noselect));
            if std::mem::replace(&mut listed.has_children, true) {
                break;
            }
            above = parent.parent();
        }
    }
    for name in &log.sum.subscribed {
        names.entry(name.clone()).or_insert_with(|| entry(name, Kind::Nonexistent));
    }
    names.into_values().collect()
}
