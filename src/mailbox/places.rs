//! Where a mailbox lies: its file, which may be moved, and what is kept about it elsewhere, which stays.
//!
//! What is kept about INBOX goes by the name `INBOX`, that of any other folder by its mailbox id, so that to rename a folder
//! is to move its file and nothing else.

use super::lock::dotlock;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// All places of one mailbox.
#[derive(Debug)]
pub(super) struct Places {
    /// Below this directory no symbolic link is followed.
    pub root: PathBuf,
    /// The directory of its user's state.
    pub state: PathBuf,
    /// Its index.
    pub index: PathBuf,
    /// What its own files there are called.
    pub base: String,
    /// Names it in seals.
    pub label: String,
    spot: Mutex<Arc<Spot>>,
}

/// Where the file is.
#[derive(Debug)]
pub(super) struct Spot {
    /// The directory that names it.
    pub dir: PathBuf,
    pub path: PathBuf,
    pub dotlock: PathBuf,
}

impl Places {
    /// The INBOX of this user; `base` is a mailbox id for any other folder.
    pub fn new(spool: &Path, user: &str, base: &str, root: &Path, file: PathBuf) -> Places {
        Places {
            root: root.to_owned(),
            state: spool.join("state").join(user),
            index: spool.join("index").join(user).join(format!("{base}.idx")),
            base: base.into(),
            label: format!("{user}/{base}"),
            spot: Mutex::new(Arc::new(Spot::at(file))),
        }
    }

    /// Where the file is now.
    pub fn spot(&self) -> Arc<Spot> {
        self.spot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A file of its own beside the state log.
    pub fn beside(&self, what: &str) -> PathBuf {
        self.state.join(format!("{}.{what}", self.base))
    }
}

impl Spot {
    fn at(path: PathBuf) -> Spot {
        Spot { dir: path.parent().map(PathBuf::from).unwrap_or_default(), dotlock: dotlock(&path), path }
    }
}
