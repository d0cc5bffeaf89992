//! The same for what is kept about a user's folders: the log of them, and the files that belong to none.

use super::{Finding, Findings, broken_log, is_missing};
use crate::mailbox::folders::{FolderError, Folders};
use crate::mailbox::name::FolderName;
use crate::mailbox::tree::Tree;
use crate::mailbox::user::{MailboxId, Sum};
use crate::sys::Disk;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What of a user's folders is not as it should be.
#[derive(Debug, Default)]
struct Faults {
    /// Bytes of the log that can't be read: in its middle, and at its end.
    broken: (usize, usize),
    /// A new log that was not put in its place.
    unfinished: bool,
    /// There is no log, but there are folders.
    lost: bool,
    /// Deleted or renamed, and the files have not followed.
    undone: Vec<String>,
    /// Folders without a file.
    without_file: Vec<FolderName>,
    /// Files that are in no table.
    strangers: Vec<FolderName>,
    /// State of mailboxes that are in no table.
    orphans: Vec<PathBuf>,
}

impl Folders {
    /// Everything about the user's folders, apart from their mailboxes, that is not as it should be.
    pub fn inspect(&self) -> Result<Vec<Finding>, FolderError> {
        let mut found = Findings::default();
        let faults = self.faults()?;
        let (holes, torn) = faults.broken;
        if holes > 0 {
            let what = format!("{holes} bytes of the log of folders can't be read");
            found.add(None, what, "folders named there are found again by their files, as new ones");
        }
        if torn > 0 {
            found.add(None, format!("the log of folders ends in {torn} bytes that are torn"), "nothing depended on them");
        }
        if faults.lost {
            let what = "there is no log of folders, but there are folders, or state of them";
            found.add(None, what, "they are taken up by their files, as new ones");
        }
        if faults.unfinished {
            found.add(None, "a new log of folders was not finished", "it is written anew when it is needed");
        }
        for what in faults.undone {
            found.add(None, what, "it is done before anything else is done to the folders");
        }
        for name in faults.without_file {
            found.add(None, format!("the folder {name} has no file"), "it is empty, and keeps its id and numbers");
        }
        for name in faults.strangers {
            found.add(None, format!("the file of {name} is in no table"), "it is taken up as a folder when folders are listed");
        }
        for path in faults.orphans {
            let what = format!("{} is of no folder", path.display());
            found.add(None, what, "\"pillarboxctl mailbox rebuild\" puts it aside");
        }
        Ok(found.0)
    }

    /// Mends that, and tells what was done.
    pub fn rebuild(&self) -> Result<Vec<String>, FolderError> {
        let (mut faults, mut done, user) = (self.faults()?, Vec::new(), self.user());
        if faults.broken != (0, 0) {
            user.log(|log| Ok(log.rewrite()?))?;
            done.push("wrote the log of folders anew".to_owned());
            faults = self.faults()?;
        }
        // This does what was left undone.
        let tree = user.tree()?;
        done.extend(faults.undone.iter().map(|_| "finished what had been begun with folders".to_owned()).take(1));
        if faults.unfinished {
            remove(&*user.shared.disk, &user.state.join("user.new"))?;
            done.push("removed a log of folders that was not finished".to_owned());
        }
        tree.adopt()?;
        done.extend(faults.strangers.iter().map(|name| format!("took {name} up as a folder")));
        for name in faults.without_file {
            tree.make_room(&name)?;
            tree.make_file(&name)?;
            done.push(format!("made an empty file for the folder {name}"));
        }
        for path in faults.orphans {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let aside = path.with_file_name(format!("saved-{}-{name}", user.shared.clock.now().seconds()));
            user.shared.disk.rename(&path, &aside)?;
            user.shared.disk.sync_dir(&user.state)?;
            done.push(format!("put the state of no folder aside, as {}", aside.display()));
        }
        Ok(done)
    }

    fn faults(&self) -> Result<Faults, FolderError> {
        let user = self.user();
        let disk = &*user.shared.disk;
        let mut faults = Faults::default();
        // The log itself is looked at before anybody mends it.
        let log = user.state.join("user");
        faults.broken = user.unmended(|| broken_log::<Sum>(disk, &log))?;
        let missing = is_missing(disk, &log)?;
        faults.unfinished = user.unmended(|| Ok(!is_missing(disk, &user.state.join("user.new"))?))?;
        if faults.broken.0 > 0 {
            // What it says of others is not known before it is mended.
            return Ok(faults);
        }
        let (deletions, moves) = user.log(|log| Ok((log.sum.deletions.clone(), log.sum.moves.clone())))?;
        faults.undone.extend(deletions.values().map(|gone| format!("the files of the deleted folder {} are there", gone.name)));
        faults.undone.extend(moves.iter().map(|(from, to)| format!("the files of {from} have not all become those of {to}")));
        // To take the tree is to do that.
        let tree = user.tree()?;
        let folders = user.log(|log| Ok(log.sum.folders.clone()))?;
        faults.strangers = tree.strangers()?;
        for name in folders.keys().filter(|name| !name.is_inbox()) {
            if !tree.is_taken(name)? {
                faults.without_file.push(name.clone());
            }
        }
        let known: BTreeSet<MailboxId> = folders.values().map(|folder| folder.id).collect();
        faults.orphans = orphans(disk, &user.state, &known, &tree)?;
        let inbox_only = folders.keys().all(FolderName::is_inbox);
        faults.lost = missing && inbox_only && !(faults.strangers.is_empty() && faults.orphans.is_empty());
        Ok(faults)
    }
}

/// Files of the state whose names begin with the id of no mailbox. (While the tree is held, none is made.)
fn orphans(disk: &dyn Disk, state: &Path, known: &BTreeSet<MailboxId>, _held: &Tree<'_>) -> io::Result<Vec<PathBuf>> {
    let names = match disk.list(state) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    let stray = |name: &str| {
        let (base, _) = name.split_once('.').unwrap_or((name, ""));
        base.parse::<MailboxId>().is_ok_and(|id| !known.contains(&id))
    };
    let names = names.into_iter().filter_map(|name| name.into_string().ok()).filter(|name| stray(name));
    let mut paths: Vec<PathBuf> = names.map(|name| state.join(name)).collect();
    paths.sort_unstable();
    Ok(paths)
}

fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
