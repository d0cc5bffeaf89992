//! What needs the operating system's word: accounts, passwords, opening users' files, running programs.

pub mod asuser;
pub mod chain;
pub mod direct;
pub mod line;
pub mod monitor;
pub mod password;
pub mod program;
pub mod scram;
pub mod system;
pub mod users;

pub use chain::Chain;
pub use direct::Direct;
pub use line::{Job, Line, LineOf};
pub use monitor::Monitor;
pub use scram::ScramKeys;
pub use system::System;

use crate::config::Program;
use crate::sys::{File, Open};
use nix::unistd::{Uid, User};
use program::{End, Run};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Someone who has a mailbox here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// The login name, safe as a file name: no `/`, no control character, not starting with a dot.
    pub name: String,
    /// Owner of the mailbox file.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Home directory; virtual users have none.
    pub home: Option<PathBuf>,
}

impl Account {
    /// Is it one of the system's? Else it is in a users file only, and its files are the daemon's.
    pub fn is_system(&self) -> bool {
        self.home.is_some()
    }
}

/// Under which name a process of this host is known: that of its user id, whether or not it has a mailbox here.
pub fn login_name(uid: u32) -> String {
    let account = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    account.map_or_else(|| format!("uid-{uid}"), |account| account.name)
}

/// Who can answer for the operating system: [`Direct`] with the daemon's own identity, [`Monitor`] by asking a process of
/// root's.
pub trait Host: Send + Sync + Debug {
    /// Looks an account up; names are compared in lower case.
    fn account(&self, name: &str) -> io::Result<Option<Account>>;
    /// Is this the password? Costs the same time for a name that does not exist.
    fn verify(&self, name: &str, password: &[u8]) -> io::Result<Option<Account>>;
    /// Puts another password in the place of this one. False: this one is not right. Users of the system change theirs elsewhere.
    fn set_password(&self, _name: &str, _old: &[u8], _new: &users::Secrets) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// A user's keys for SCRAM. None: there are none, or no such user.
    fn scram(&self, _name: &str) -> io::Result<Option<ScramKeys>> {
        Ok(None)
    }
    /// Has every user keys for SCRAM? A client that is offered it does not try anything else.
    fn all_have_scram(&self) -> bool {
        false
    }
    /// Opens a user's mailbox file, as that user. Below the directory `root` no symbolic link is followed.
    fn open_mailbox(&self, account: &Account, root: &Path, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// Opens a dotlock, or the lock of another program's session, to look into it, or makes the file whose names are to be
    /// dotlocks ([`crate::mailbox`]), where this process itself opens no file. None: this is not such a place.
    fn open_dotlock(&self, _path: &Path, _how: Open) -> io::Result<Option<Arc<dyn File>>> {
        Ok(None)
    }
    /// Makes a directory for a user's folders, as that user, and those between `root` and it; they get mode 2770. One that is
    /// there is fine; a symbolic link is not.
    fn make_folders(&self, account: &Account, root: &Path, path: &Path) -> io::Result<()>;
    /// A user's `.forward`, read as that user. None: there is none. See [`line::read_at_home`] for what errors mean.
    fn forward_of(&self, _account: &Account) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
    /// A user's `.vacation`, in the same way.
    fn vacation_of(&self, _account: &Account) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
    /// Runs the command of a line as its owner, until it ends or `is_over` tells that it has to; gives what it wrote, the
    /// beginning of it. An error: it did not run at all.
    fn run_line(&self, _line: &Line, _job: Job<'_>, _is_over: &mut dyn FnMut() -> bool) -> io::Result<(End, Vec<u8>)> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Opens the file that a line names, as its owner, to append to it. None: it is `/dev/null`.
    fn open_line(&self, _line: &Line) -> io::Result<Option<Arc<dyn File>>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Runs a program of the configuration, as [`Host::run_line`] runs a command: as the account that is named there, or as who
    /// we are.
    fn run_program(&self, program: &Program, job: Job<'_>, is_over: &mut dyn FnMut() -> bool) -> io::Result<(End, Vec<u8>)> {
        let (words, user) = (&program.words, program.user.as_deref());
        program::run(Run { words, user, account: None, environment: job.environment, input: job.input }, is_over)
    }
    /// Reads again what may have changed.
    fn reload(&self) -> io::Result<()>;
}
