//! All places where users are found, in the order of the configuration: the first that knows a name decides.
//!
//! An account of the system is only named and proven here. To open its files somebody must become that user: see
//! [`asuser`](super::asuser).

use super::program::End;
use super::users::Secrets;
use super::{Account, Direct, Host, Job, Line, LineOf, ScramKeys, System};
use crate::config::{Config, UserDatabase};
use crate::sys::{Disk, File, Open};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Chain {
    databases: Vec<Database>,
    /// Who does what takes no other identity than ours.
    own: Direct,
}

/// One of them.
#[derive(Debug)]
enum Database {
    System(System),
    /// Users files that follow one another.
    Files(Box<Direct>),
}

impl Database {
    fn account(&self, name: &str) -> io::Result<Option<Account>> {
        match self {
            Database::System(system) => system.account(name),
            Database::Files(files) => files.account(name),
        }
    }

    fn verify(&self, name: &str, password: &[u8]) -> io::Result<Option<Account>> {
        match self {
            Database::System(system) => system.verify(name, password),
            Database::Files(files) => files.verify(name, password),
        }
    }
}

impl Chain {
    /// As the configuration names them. An error if one can't be used.
    pub fn open(disk: &Arc<dyn Disk>, config: &Config) -> io::Result<Chain> {
        let mut databases = Vec::new();
        let same_kind = |one: &UserDatabase, other: &UserDatabase| *one != UserDatabase::System && *other != UserDatabase::System;
        for group in config.users.chunk_by(same_kind) {
            let paths: Vec<PathBuf> = group
                .iter()
                .filter_map(|database| match database {
                    UserDatabase::File(path) => Some(path.clone()),
                    UserDatabase::System => None,
                })
                .collect();
            databases.push(match paths.is_empty() {
                true => Database::System(System::new(config.min_uid)?),
                false => Database::Files(Box::new(Direct::new(disk.clone(), &paths)?)),
            });
        }
        Ok(Chain { databases, own: Direct::new(disk.clone(), &[])?.with_alias_user(&config.alias_user) })
    }

    /// Who does something for this account.
    fn own_for(&self, account: &Account) -> io::Result<&Direct> {
        match account.is_system() {
            true => Err(io::Error::new(io::ErrorKind::Unsupported, "only that user can touch what a user of the system has")),
            false => Ok(&self.own),
        }
    }

    /// The same, for the owner of this line.
    fn own_of(&self, line: &Line) -> io::Result<&Direct> {
        match &line.of {
            LineOf::Aliases => Ok(&self.own),
            LineOf::Forward(account) => self.own_for(account),
        }
    }
}

impl Host for Chain {
    fn account(&self, name: &str) -> io::Result<Option<Account>> {
        self.databases.iter().find_map(|database| database.account(name).transpose()).transpose()
    }

    /// Each place does all its work, whoever knows the name: else the time would tell.
    fn verify(&self, name: &str, password: &[u8]) -> io::Result<Option<Account>> {
        let mut decided = None;
        for database in &self.databases {
            let answer = database.account(name).and_then(|known| Ok((known, database.verify(name, password)?)));
            match answer {
                Ok((Some(_), verified)) if decided.is_none() => decided = Some(verified),
                Err(error) if decided.is_none() => return Err(error),
                _ => {}
            }
        }
        Ok(decided.flatten())
    }

    fn set_password(&self, name: &str, old: &[u8], new: &Secrets) -> io::Result<bool> {
        for database in &self.databases {
            match database {
                Database::Files(files) if files.account(name)?.is_some() => return files.set_password(name, old, new),
                Database::System(system) if system.account(name)?.is_some() => return Err(io::ErrorKind::Unsupported.into()),
                _ => {}
            }
        }
        Ok(false)
    }

    fn scram(&self, name: &str) -> io::Result<Option<ScramKeys>> {
        for database in &self.databases {
            match database {
                Database::Files(files) if files.account(name)?.is_some() => return files.scram(name),
                Database::System(system) if system.account(name)?.is_some() => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The system keeps no such keys.
    fn all_have_scram(&self) -> bool {
        self.databases.iter().all(|database| matches!(database, Database::Files(files) if files.all_have_scram()))
    }

    fn open_mailbox(&self, account: &Account, root: &Path, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        self.own_for(account)?.open_mailbox(account, root, path, how)
    }

    fn make_folders(&self, account: &Account, root: &Path, path: &Path) -> io::Result<()> {
        self.own_for(account)?.make_folders(account, root, path)
    }

    fn forward_of(&self, account: &Account) -> io::Result<Option<Vec<u8>>> {
        self.own_for(account)?.forward_of(account)
    }

    fn vacation_of(&self, account: &Account) -> io::Result<Option<Vec<u8>>> {
        self.own_for(account)?.vacation_of(account)
    }

    fn run_line(&self, line: &Line, job: Job<'_>, is_over: &mut dyn FnMut() -> bool) -> io::Result<(End, Vec<u8>)> {
        self.own_of(line)?.run_line(line, job, is_over)
    }

    fn open_line(&self, line: &Line) -> io::Result<Option<Arc<dyn File>>> {
        self.own_of(line)?.open_line(line)
    }

    fn reload(&self) -> io::Result<()> {
        self.databases.iter().try_for_each(|database| match database {
            Database::Files(files) => files.reload(),
            Database::System(_) => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::users::{self, Secrets};
    use crate::sys::RealDisk;
    use std::os::unix::fs::OpenOptionsExt;

    /// With `root` in the last users file, for whom the system's account is to be found first, or not.
    fn chain(users: &str) -> (tempfile::TempDir, Chain) {
        let dir = tempfile::tempdir().unwrap();
        for (file, names) in [("one", vec!["alice"]), ("two", vec!["alice", "root"])] {
            let path = dir.path().join(file);
            std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path).unwrap();
            for name in names {
                let secrets = Secrets::of(file.as_bytes()).unwrap();
                users::edit(&path, |text| users::add(text, name, &secrets, "")).unwrap();
            }
        }
        let text = format!("users = {users}\n");
        let config = crate::config::load::from_text("test", &text, dir.path(), &[]).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let chain = Chain::open(&disk, &config).unwrap();
        (dir, chain)
    }

    #[test]
    fn the_first_place_that_knows_a_name_decides() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped, for only root is shown what is in shadow");
            return;
        }
        let cases =
            [(r#"["one", "two"]"#, 1, false), (r#"["one", "system", "two"]"#, 3, true), (r#"["two", "system"]"#, 2, false)];
        for (users, databases, is_systems) in cases {
            let (_dir, chain) = chain(users);
            assert_eq!(chain.databases.len(), databases);
            let root = chain.account("Root").unwrap().unwrap();
            assert_eq!(root.is_system(), is_systems, "{users}");
            // Of the system's, or of the file's, never of both.
            assert_eq!(chain.verify("root", b"two").unwrap().is_some(), !is_systems, "{users}");
            assert_eq!(chain.scram("root").unwrap().is_some(), !is_systems, "{users}");
            assert_eq!(chain.all_have_scram(), !users.contains("system"), "{users}");
            let first = if users.starts_with(r#"["one"#) { "one" } else { "two" };
            assert!(chain.verify("alice", first.as_bytes()).unwrap().is_some(), "{users}");
            assert!(chain.verify("alice", b"nothing").unwrap().is_none() && chain.account("nobody-here").unwrap().is_none());
            if is_systems {
                let opened = chain.open_mailbox(&root, Path::new("/var/mail"), Path::new("/var/mail/root"), Open::Read);
                assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::Unsupported);
            }
        }
    }

    #[test]
    fn the_system_alone_will_do() {
        let (_dir, chain) = chain(r#""system""#);
        assert!(chain.account("root").unwrap().is_some_and(|root| root.is_system()));
        assert!(!chain.all_have_scram() && chain.reload().is_ok());
    }
}
