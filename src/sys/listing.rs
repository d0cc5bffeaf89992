//! The names in a directory, listed again only when it has changed.

use super::{Disk, Stat};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What is in a directory, which need not be there.
#[derive(Debug)]
pub struct Listing {
    dir: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Which directory it was, and how; none: it is to be listed.
    of: Option<Stat>,
    names: HashSet<OsString>,
}

impl Listing {
    /// Of this directory.
    pub fn new(dir: PathBuf) -> Listing {
        Listing { dir, known: Mutex::default() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Is there this name in it now?
    pub fn has(&self, disk: &dyn Disk, name: &OsStr) -> io::Result<bool> {
        let stat = match disk.stat(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            stat => stat?,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.of != Some(stat) {
            known.of = None;
            known.names = disk.list(&self.dir)?.into_iter().collect();
            known.of = Some(stat).filter(Stat::is_settled);
        }
        Ok(known.names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::RealDisk;
    use crate::sys::sim::SimDisk;
    use std::fs;

    #[test]
    fn every_change_is_seen() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("lists");
        let listing = Listing::new(dir.clone());
        let has = |name: &str| listing.has(&RealDisk, OsStr::new(name)).unwrap();
        assert!(!has("a"));
        fs::create_dir(&dir).unwrap();
        assert!(!has("a"));
        // However quick they are one after the other.
        for n in 0..200 {
            let name = format!("n{n}");
            fs::create_dir(dir.join(&name)).unwrap();
            assert!(has(&name));
            fs::remove_dir(dir.join(&name)).unwrap();
            assert!(!has(&name));
        }
        fs::create_dir(dir.join("a")).unwrap();
        fs::rename(&dir, temp.path().join("old")).unwrap();
        assert!(!has("a"));
    }

    #[test]
    fn what_has_not_changed_is_not_listed_again() {
        let disk = SimDisk::default();
        let dir = Path::new("/spool/lists");
        disk.make_dir(&dir.join("a"), 0o755).unwrap();
        let listing = Listing::new(dir.to_owned());
        assert!(listing.has(&disk, OsStr::new("a")).unwrap());
        // So that it shows where the answer comes from.
        listing.known.lock().unwrap().names.insert("b".into());
        assert!(listing.has(&disk, OsStr::new("b")).unwrap());
        disk.remove_dir(&dir.join("a")).unwrap();
        assert!(!listing.has(&disk, OsStr::new("a")).unwrap() && !listing.has(&disk, OsStr::new("b")).unwrap());
    }
}
