//! Where a mailbox lies: its file, which may be moved, and what is kept about it elsewhere, which stays.
//!
//! What is kept about INBOX goes by the name `INBOX`, that of any other folder by its mailbox id, so that to rename a folder
//! is to move its file and nothing else.

use super::lock::dotlock;
use super::user::MailboxId;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// All places of one mailbox.
#[derive(Debug)]
pub(super) struct Places {
    /// None: it is INBOX.
    pub id: Option<MailboxId>,
    /// Below this directory no symbolic link is followed.
    pub root: PathBuf,
    /// The directory of its user's state.
    pub state: PathBuf,
    /// Its index.
    pub index: PathBuf,
    /// What its messages are made of.
    pub cache: PathBuf,
    /// What its own files there are called.
    pub base: String,
    /// Names it in seals.
    pub label: String,
    spot: Mutex<Arc<Spot>>,
    deleted: AtomicBool,
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
    /// What files of the INBOX are called.
    pub const INBOX: &str = "INBOX";

    /// The INBOX of this user.
    pub fn of_inbox(spool: &Path, user: &str, mail: &Path) -> Places {
        Places::new(spool, user, None, mail, mail.join(user))
    }

    /// Another folder of this user.
    pub fn of_folder(spool: &Path, user: &str, id: MailboxId, root: &Path, file: PathBuf) -> Places {
        Places::new(spool, user, Some(id), root, file)
    }

    fn new(spool: &Path, user: &str, id: Option<MailboxId>, root: &Path, file: PathBuf) -> Places {
        let base = id.map_or_else(|| Places::INBOX.to_owned(), |id| id.to_string());
        let index = spool.join("index").join(user);
        Places {
            id,
            root: root.to_owned(),
            state: spool.join("state").join(user),
            index: index.join(format!("{base}.idx")),
            cache: index.join(format!("{base}.cache")),
            label: format!("{user}/{base}"),
            base,
            spot: Mutex::new(Arc::new(Spot::at(file))),
            deleted: AtomicBool::new(false),
        }
    }

    /// Where the file is now.
    pub fn spot(&self) -> Arc<Spot> {
        self.spot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The file is there now.
    pub fn move_to(&self, file: PathBuf) {
        *self.spot.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Spot::at(file));
    }

    /// The folder is no more. It does not come back: another one of its name has another id.
    pub fn delete(&self) {
        self.deleted.store(true, Ordering::SeqCst);
    }

    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::SeqCst)
    }

    /// The files that go with the folder.
    pub fn kept(&self) -> [PathBuf; 8] {
        let (index, fresh, cache) = (self.index.clone(), self.index.with_extension("new"), self.cache.clone());
        let [new, lease, moving, redo] = ["new", "lease", "moving", "redo"].map(|what| self.beside(what));
        [self.state.join(&self.base), new, lease, moving, redo, index, fresh, cache]
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
