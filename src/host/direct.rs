//! Answers with the daemon's own identity: no root, accounts from users files.

use super::line::{self, Job, Line, LineOf};
use super::password::{Checker, Hash};
use super::program::End;
use super::scram::ScramKeys;
use super::{Account, Host, users};
use crate::sys::{Disk, File, Open, Stat};
use nix::unistd::User;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// A users file this big is not one.
const MOST_BYTES: u64 = 64 << 20;

/// See the module.
#[derive(Debug)]
pub struct Direct {
    disk: Arc<dyn Disk>,
    checker: Checker,
    files: Vec<UsersFile>,
    uid: u32,
    gid: u32,
    /// Who runs the commands of the alias file, if we are root.
    alias_user: Option<String>,
}

/// A users file and what was in it when we last looked.
#[derive(Debug)]
struct UsersFile {
    path: PathBuf,
    loaded: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// Of the file that was read; None: it must be read again.
    stat: Option<Stat>,
    /// Ascending by name.
    users: Vec<(String, Keys)>,
    /// Every user has keys for SCRAM.
    all_scram: bool,
}

/// What is kept of a user's password.
#[derive(Debug)]
struct Keys {
    hash: Hash,
    scram: Option<ScramKeys>,
}

impl Direct {
    /// Accounts come from these files, in order; the first that knows a name decides. An error if one can't be read now.
    /// Later such an error is one of [`Host::account`] and [`Host::verify`]: a name is never taken for unknown because of it.
    pub fn new(disk: Arc<dyn Disk>, users: &[PathBuf]) -> io::Result<Direct> {
        let empty = || RwLock::new(Loaded { stat: None, users: Vec::new(), all_scram: false });
        let files = users.iter().map(|path| UsersFile { path: path.clone(), loaded: empty() }).collect();
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let direct = Direct { disk, checker: Checker::new()?, files, uid, gid, alias_user: None };
        direct.reload()?;
        Ok(direct)
    }

    /// Commands of the alias file run as this account. Without root, they run as who we are, as all else.
    pub fn with_alias_user(self, name: &str) -> Direct {
        Direct { alias_user: (self.uid == 0).then(|| name.to_owned()), ..self }
    }

    /// Something of a user's keys, from the first file that knows the name (in lower case). No name takes longer than another.
    fn find<T>(&self, name: &str, what: impl Fn(&Keys) -> T) -> io::Result<Option<T>> {
        let mut found = None;
        for file in &self.files {
            match file.with(&*self.disk, |loaded| loaded.look(name, &what)) {
                Ok(Some((true, keys))) if found.is_none() => found = Some(keys),
                Err(error) if found.is_none() => return Err(error),
                _ => {}
            }
        }
        Ok(found)
    }

    fn made(&self, name: String) -> Account {
        Account { name, uid: self.uid, gid: self.gid, home: None }
    }
}

impl Loaded {
    /// Something of a user's keys, and whether they are the user's: for a name that is not there the same is done with the keys
    /// of another.
    fn look<T>(&self, name: &str, what: impl Fn(&Keys) -> T) -> Option<(bool, T)> {
        let (is_there, at) = match self.users.binary_search_by(|(own, _)| own.as_str().cmp(name)) {
            Ok(at) => (true, at),
            Err(at) => (false, at.min(self.users.len().saturating_sub(1))),
        };
        self.users.get(at).map(|(_, keys)| (is_there, what(keys)))
    }
}

impl UsersFile {
    /// Looks something up in the users, after reading the file again if it is not as it was.
    fn with<T>(&self, disk: &dyn Disk, look: impl Fn(&Loaded) -> T) -> io::Result<T> {
        let now = disk.stat(&self.path).map_err(|error| self.named(error))?;
        {
            let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
            if loaded.stat == Some(now) {
                return Ok(look(&loaded));
            }
        }
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if loaded.stat != Some(now) {
            *loaded = self.load(disk).map_err(|error| self.named(error))?;
        }
        Ok(look(&loaded))
    }

    fn load(&self, disk: &dyn Disk) -> io::Result<Loaded> {
        let file = disk.open(&self.path, Open::Read)?;
        let stat = file.stat()?;
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if !stat.is_regular() || stat.size > MOST_BYTES {
            return Err(wrong("not a users file".into()));
        }
        if stat.mode & 0o022 != 0 {
            return Err(wrong("others can write to it; it must have mode 0600".into()));
        }
        if stat.mode & 0o044 != 0 {
            log::warn!("users file={} others can read the password hashes; it should have mode 0600", self.path.display());
        }
        let mut bytes = vec![0; usize::try_from(stat.size).unwrap_or_default()];
        file.read_exact_at(&mut bytes, 0)?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8".into()))?;
        let users::Users { users, refused } = users::parse(&text).map_err(|error| wrong(error.to_string()))?;
        for (line, name) in refused {
            log::warn!("users file={} line={line} left out: {:?} can't be a user's name", self.path.display(), name);
        }
        let keys = |user: &users::User| Keys { hash: user.password.clone(), scram: user.scram() };
        let mut users: Vec<(String, Keys)> = users.into_iter().map(|user| (user.name.clone(), keys(&user))).collect();
        users.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let all_scram = users.iter().all(|(_, keys)| keys.scram.is_some());
        Ok(Loaded { stat: Some(stat), users, all_scram })
    }

    fn named(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

impl Host for Direct {
    fn account(&self, name: &str) -> io::Result<Option<Account>> {
        let name = name.to_ascii_lowercase();
        for file in &self.files {
            if file.with(&*self.disk, |loaded| loaded.look(&name, |_| ()))?.is_some_and(|(is_there, ())| is_there) {
                return Ok(Some(self.made(name)));
            }
        }
        Ok(None)
    }

    fn verify(&self, name: &str, password: &[u8]) -> io::Result<Option<Account>> {
        let name = name.to_ascii_lowercase();
        let hash = self.find(&name, |keys| keys.hash.clone())?;
        Ok(self.checker.verify(hash.as_ref(), password).then(|| self.made(name)))
    }

    /// In the first file that knows the name, which is where the password was looked up.
    fn set_password(&self, name: &str, old: &[u8], new: &users::Secrets) -> io::Result<bool> {
        if self.verify(name, old)?.is_none() {
            return Ok(false);
        }
        let name = name.to_ascii_lowercase();
        for file in &self.files {
            if file.with(&*self.disk, |loaded| loaded.look(&name, |_| ()))?.is_some_and(|(is_there, ())| is_there) {
                users::edit(&file.path, |text| users::set_password(text, &name, new))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn scram(&self, name: &str) -> io::Result<Option<ScramKeys>> {
        Ok(self.find(&name.to_ascii_lowercase(), |keys| keys.scram.clone())?.flatten())
    }

    fn all_have_scram(&self) -> bool {
        self.files.iter().all(|file| file.with(&*self.disk, |loaded| loaded.all_scram).unwrap_or(false))
    }

    /// As the daemon itself. Whether the file is one that may be touched is for the mailbox room to see.
    fn open_mailbox(&self, _account: &Account, root: &Path, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if path.parent() == Some(root) {
            return self.disk.open(path, how);
        }
        self.disk.beneath(root).open(path, how)
    }

    fn make_folders(&self, _account: &Account, root: &Path, path: &Path) -> io::Result<()> {
        if let Some(above) = root.parent() {
            self.disk.make_dir(above, 0o711)?;
        }
        self.disk.beneath(root).make_dir(path, 0o2770)
    }

    fn forward_of(&self, account: &Account) -> io::Result<Option<Vec<u8>>> {
        line::read_at_home(account, line::FORWARD)
    }

    fn vacation_of(&self, account: &Account) -> io::Result<Option<Vec<u8>>> {
        line::read_at_home(account, line::VACATION)
    }

    fn run_line(&self, line: &Line, job: Job<'_>, is_over: &mut dyn FnMut() -> bool) -> io::Result<(End, Vec<u8>)> {
        line::run_command(line, job, self.alias_user.as_deref(), is_over)
    }

    fn open_line(&self, line: &Line) -> io::Result<Option<Arc<dyn File>>> {
        let Some(name) = self.alias_user.as_deref().filter(|_| line.of == LineOf::Aliases) else {
            return line::open_file(line, None);
        };
        match User::from_name(name)? {
            Some(user) => line::open_file(line, Some(user.uid.as_raw())),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no account `{name}`"))),
        }
    }

    fn reload(&self) -> io::Result<()> {
        for file in &self.files {
            file.loaded.write().unwrap_or_else(PoisonError::into_inner).stat = None;
            file.with(&*self.disk, |_| ())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::users::Secrets;
    use crate::sys::RealDisk;
    use std::cell::Cell;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn put(path: &Path, names: &[(&str, &[u8])]) {
        fs::File::create(path).unwrap().set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
        for (name, password) in names {
            users::edit(path, |text| users::add(text, name, &Secrets::of(password).unwrap(), "")).unwrap();
        }
    }

    #[test]
    fn the_first_file_that_knows_a_name_decides() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("one"), dir.path().join("two")];
        put(&paths[0], &[("alice", b"first")]);
        put(&paths[1], &[("alice", b"second"), ("bob", b"bob")]);
        let host = Direct::new(Arc::new(RealDisk), &paths).unwrap();
        assert_eq!(host.account("Alice").unwrap().unwrap().name, "alice");
        assert_eq!(host.account("bob").unwrap().unwrap().home, None);
        assert_eq!(host.account("carol").unwrap(), None);
        assert!(host.verify("ALICE", b"first").unwrap().is_some());
        assert!(host.verify("alice", b"second").unwrap().is_none());
        assert!(host.verify("bob", b"bob").unwrap().is_some());
        assert!(host.verify("carol", b"").unwrap().is_none());
    }

    /// Else the time it takes would tell who is a user.
    #[test]
    fn for_a_name_that_is_not_there_the_same_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("one"), dir.path().join("two")];
        put(&paths[0], &[("alice", b"a"), ("carol", b"c")]);
        put(&paths[1], &[("bob", b"b")]);
        let host = Direct::new(Arc::new(RealDisk), &paths).unwrap();
        for (name, is_there) in [("alice", true), ("bob", true), ("carol", true), ("", false), ("bo", false), ("zoe", false)] {
            let looked = Cell::new(0);
            let found = host.find(name, |_| looked.set(looked.get() + 1)).unwrap();
            assert_eq!((found.is_some(), looked.get()), (is_there, 2), "{name}");
        }
        // Who is in the first file needs no other.
        fs::write(&paths[1], b"# pillarbox users 9\n").unwrap();
        assert!(host.scram("alice").unwrap().is_some() && host.scram("bob").is_err());
    }

    #[test]
    fn changes_are_seen_and_a_broken_file_makes_nobody_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        assert!(Direct::new(Arc::new(RealDisk), std::slice::from_ref(&path)).is_err());
        put(&path, &[("alice", b"a")]);
        let host = Direct::new(Arc::new(RealDisk), std::slice::from_ref(&path)).unwrap();
        assert_eq!(host.account("bob").unwrap(), None);
        users::edit(&path, |text| users::add(text, "bob", &Secrets::of(b"b").unwrap(), "")).unwrap();
        assert!(host.account("bob").unwrap().is_some());

        let good = fs::read(&path).unwrap();
        fs::write(&path, b"# pillarbox users 9\n").unwrap();
        let error = host.account("alice").unwrap_err().to_string();
        assert!(error.contains("users: line 1"), "{error}");
        assert!(host.verify("alice", b"a").is_err());
        assert!(host.reload().is_err());
        fs::remove_file(&path).unwrap();
        assert!(host.account("nobody").is_err());
        fs::write(&path, good).unwrap();
        assert!(host.account("alice").unwrap().is_some());
    }

    #[test]
    fn a_file_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        put(&path, &[]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        let error = Direct::new(Arc::new(RealDisk), std::slice::from_ref(&path)).unwrap_err().to_string();
        assert!(error.contains("0600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Direct::new(Arc::new(RealDisk), &[path]).is_ok());
    }

    #[test]
    fn scram_is_for_all_or_not_offered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        put(&path, &[("alice", b"a")]);
        let host = Direct::new(Arc::new(RealDisk), std::slice::from_ref(&path)).unwrap();
        assert!(host.all_have_scram());
        let keys = host.scram("ALICE").unwrap().unwrap();
        assert!(ScramKeys::derive(b"a", keys.salt.clone(), keys.iterations) == keys);
        assert!(host.scram("bob").unwrap().is_none());
        // A line as it was before there were such keys.
        let old = format!("bob:{}::\n", Hash::of(b"b").unwrap());
        users::edit(&path, |text| Ok(format!("{text}{old}"))).unwrap();
        assert!(!host.all_have_scram());
        assert!(host.scram("bob").unwrap().is_none() && host.verify("bob", b"b").unwrap().is_some());
        users::edit(&path, |text| users::set_password(text, "bob", &Secrets::of(b"c").unwrap())).unwrap();
        assert!(host.all_have_scram() && host.scram("bob").unwrap().is_some());
    }
}
