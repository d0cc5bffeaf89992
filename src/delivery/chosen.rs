//! What users chose here, in the browser or by pillarboxctl: a file for each, of the user's name, in a directory of the spool. It is
//! replaced as a whole.

use super::vacation::content;
use crate::host::Account;
use crate::sys::listing::Listing;
use crate::sys::{Disk, Open};
use std::io::{self, ErrorKind, IoSlice};
use std::path::PathBuf;

/// Of one kind. That most users have chosen nothing is known without a look for each.
#[derive(Debug)]
pub(super) struct Chosen(Listing);

impl Chosen {
    /// In this directory, which need not be there.
    pub(super) fn new(dir: PathBuf) -> Chosen {
        Chosen(Listing::new(dir))
    }

    fn file(&self, account: &Account) -> PathBuf {
        self.0.dir().join(&account.name)
    }

    /// What a user chose. An error is temporary.
    pub(super) fn of(&self, disk: &dyn Disk, account: &Account) -> io::Result<Option<String>> {
        if !self.0.has(disk, account.name.as_ref())? {
            return Ok(None);
        }
        match disk.open(&self.file(account), Open::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            file => Ok(Some(String::from_utf8_lossy(&content(&*file?)?).into_owned())),
        }
    }

    /// Sets it, or takes it back, durably.
    pub(super) fn set(&self, disk: &dyn Disk, account: &Account, text: Option<&str>) -> io::Result<()> {
        let (dir, path) = (self.0.dir(), self.file(account));
        let Some(text) = text else {
            return match disk.remove(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => disk.sync_dir(dir),
            };
        };
        disk.make_dir(dir, 0o700)?;
        dir.parent().map_or(Ok(()), |above| disk.sync_dir(above))?;
        // No user has a name that begins so.
        let new = dir.join(format!(".{}", account.name));
        let file = disk.open(&new, Open::Create(0o600))?;
        file.set_len(0)?;
        file.write_at(&[IoSlice::new(text.as_bytes())], 0)?;
        file.sync()?;
        disk.rename(&new, &path)?;
        disk.sync_dir(dir)
    }
}
