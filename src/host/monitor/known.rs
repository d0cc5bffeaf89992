//! What the monitor told before, as long as it holds: so it is not asked for each message anew.
//!
//! An account holds as long as passwd(5), nsswitch.conf(5) and the users files are as they were, if that is where it stands. What
//! comes from elsewhere, a directory service, say, and that there is no such account, holds for a [`MOMENT`]. That there is no
//! `.forward` at home holds as long as the home is as it was: a new name in a directory changes its times. Nothing holds longer
//! than a moment because of times that are so young that the next change may bear the same ones.
//!
//! The daemon spares itself questions with this, and gains nothing: in whose name a file is opened the monitor looks up itself.

use crate::host::Account;
use crate::sys::disk::{Stat, stat_of};
use std::collections::HashMap;
use std::fs;
use std::hash::Hash;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So long holds what no file tells the end of.
const MOMENT: Duration = Duration::from_secs(2);
/// Of each kind at least so many answers are kept, and at most twice as many.
const MANY: usize = 1024;

/// Where accounts of the system are looked up first, and where it stands that they are.
const SYSTEM: [&str; 2] = ["/etc/passwd", "/etc/nsswitch.conf"];

/// See the module.
#[derive(Debug, Default)]
pub struct Known {
    /// The files that tell who there is. None: nothing is kept.
    sources: Vec<PathBuf>,
    told: Mutex<Told>,
}

/// How these files are; one that is not there is nothing.
type State = Vec<Option<Stat>>;

/// What was told while they were so.
#[derive(Debug, Default)]
struct Told {
    state: State,
    accounts: Recent<String, (Option<Account>, Option<Instant>)>,
    /// Homes that do not have a file of this name, as they were then.
    homes: Recent<(PathBuf, &'static str), Stat>,
}

impl Known {
    /// For accounts of the system and of these files.
    pub fn new<'a>(users_files: impl Iterator<Item = &'a Path>) -> Known {
        Known::of(SYSTEM.into_iter().map(Path::new).chain(users_files).map(Path::to_owned).collect())
    }

    fn of(sources: Vec<PathBuf>) -> Known {
        Known { sources, told: Mutex::default() }
    }

    /// An account, as it was told before, or as `ask` tells: with it comes whether it stands in one of the files.
    pub fn account(&self, name: &str, ask: impl FnOnce() -> io::Result<(Option<Account>, bool)>) -> io::Result<Option<Account>> {
        let name = name.to_ascii_lowercase();
        let Some(state) = self.state() else { return Ok(ask()?.0) };
        let known = self.while_so(&state, |told| told.accounts.find(&name).cloned());
        if let Some((account, _)) = known.filter(|(_, until)| until.is_none_or(|until| Instant::now() < until)) {
            return Ok(account);
        }
        let (account, stands_there) = ask()?;
        let lasts = stands_there && state.iter().flatten().all(Stat::is_settled);
        let until = (!lasts).then(|| Instant::now() + MOMENT);
        self.while_so(&state, |told| told.accounts.put(name, (account.clone(), until)));
        Ok(account)
    }

    /// The content of a file at home, unless it is known that there is none; else as `ask` tells: with it comes whether a file
    /// that is not there shows in the state of the home when it is.
    pub fn at_home(
        &self,
        home: &Path,
        name: &'static str,
        ask: impl FnOnce() -> io::Result<(Option<Vec<u8>>, bool)>,
    ) -> io::Result<Option<Vec<u8>>> {
        let seen = fs::metadata(home).map(|meta| stat_of(&meta));
        // Where it can't be seen, or was just changed, it is asked for.
        let (Some(state), Some(seen)) = (self.state(), seen.ok().filter(Stat::is_settled)) else { return Ok(ask()?.0) };
        let key = (home.to_owned(), name);
        if self.while_so(&state, |told| told.homes.find(&key) == Some(&seen)) {
            return Ok(None);
        }
        let (content, shows) = ask()?;
        if content.is_none() && shows {
            self.while_so(&state, |told| told.homes.put(key, seen));
        }
        Ok(content)
    }

    /// Lets all be asked for anew.
    pub fn forget(&self) {
        *self.lock() = Told::default();
    }

    /// How the files are now. None: that can't be told.
    fn state(&self) -> Option<State> {
        let look = |path: &PathBuf| match fs::metadata(path) {
            Ok(meta) => Some(Some(stat_of(&meta))),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(None),
            Err(_) => None,
        };
        if self.sources.is_empty() { None } else { self.sources.iter().map(look).collect() }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with what was told while the files were so. What was told at another time is forgotten: of two askers the
    /// later may have seen the earlier state.
    fn while_so<T>(&self, state: &State, act: impl FnOnce(&mut Told) -> T) -> T {
        let mut told = self.lock();
        if told.state != *state {
            *told = Told { state: state.clone(), ..Told::default() };
        }
        act(&mut told)
    }
}

/// What was looked for of late: of more than so many the older half goes.
#[derive(Debug)]
struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Recent { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Hash + Eq, V> Recent<K, V> {
    fn find(&mut self, key: &K) -> Option<&V> {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.put(key, value);
        }
        self.young.get(key)
    }

    fn put(&mut self, key: K, value: V) {
        if self.young.len() >= MANY {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::FileTimes;
    use std::os::unix::fs::symlink;

    fn alice() -> Option<Account> {
        Some(Account { name: "alice".into(), uid: 1, gid: 1, home: Some("/home/alice".into()) })
    }

    /// Until what was done to it is no news any more.
    fn settle(path: &Path) {
        while !stat_of(&fs::metadata(path).unwrap()).is_settled() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Is this account asked for?
    fn asks(known: &Known, name: &str, answer: Option<Account>, stands_there: bool) -> bool {
        let mut asked = false;
        let told = known.account(name, || {
            asked = true;
            Ok((answer.clone(), stands_there))
        });
        assert_eq!(told.unwrap(), answer);
        asked
    }

    #[test]
    fn an_account_holds_as_long_as_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let (passwd, users) = (dir.path().join("passwd"), dir.path().join("users"));
        fs::write(&passwd, "alice").unwrap();
        let known = Known::of(vec![passwd.clone(), users.clone()]);
        settle(&passwd);
        assert!(asks(&known, "alice", alice(), true) && !asks(&known, "Alice", alice(), true));
        assert!(asks(&known, "bob", None, false) && !asks(&known, "bob", None, false));
        // In place, of the same size, and with the times it had.
        let before = fs::metadata(&passwd).unwrap();
        fs::write(&passwd, "bobby").unwrap();
        let times = FileTimes::new().set_modified(before.modified().unwrap());
        fs::File::options().write(true).open(&passwd).unwrap().set_times(times).unwrap();
        assert!(asks(&known, "alice", None, false) && asks(&known, "bob", alice(), false));
        // One that was not there before, and is again as it was.
        fs::write(&users, "").unwrap();
        assert!(asks(&known, "bob", alice(), false) && !asks(&known, "bob", alice(), false));
        fs::remove_file(&users).unwrap();
        assert!(asks(&known, "bob", alice(), false));
        known.forget();
        assert!(asks(&known, "bob", alice(), false));
        assert!(known.account("carol", || Err(ErrorKind::TimedOut.into())).is_err() && asks(&known, "carol", None, false));
    }

    #[test]
    fn what_no_file_tells_the_end_of_holds_for_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        let passwd = dir.path().join("passwd");
        fs::write(&passwd, "").unwrap();
        let known = Known::of(vec![passwd.clone()]);
        let until = |known: &Known, name: &str| known.lock().accounts.find(&name.to_owned()).unwrap().1;
        // Of a file that is as young as this nobody can say what the next change will look like.
        asks(&known, "alice", alice(), true);
        assert!(until(&known, "alice").is_some());
        settle(&passwd);
        known.forget();
        asks(&known, "alice", alice(), true);
        asks(&known, "bob", alice(), false);
        assert!(until(&known, "alice").is_none() && until(&known, "bob").is_some());
        while Instant::now() < until(&known, "bob").unwrap() {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(asks(&known, "bob", alice(), false) && !asks(&known, "alice", alice(), true));
        // Where the files can't be seen nothing is kept, nor where there are none.
        let hidden = Known::of(vec![passwd.join("below")]);
        assert!(asks(&hidden, "alice", alice(), true) && asks(&hidden, "alice", alice(), true));
        let none = Known::default();
        assert!(asks(&none, "alice", alice(), true) && asks(&none, "alice", alice(), true));
    }

    #[test]
    fn a_new_file_at_home_is_seen_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (passwd, home, link) = (dir.path().join("passwd"), dir.path().join("real"), dir.path().join("home"));
        fs::write(&passwd, "").unwrap();
        fs::create_dir(&home).unwrap();
        symlink(&home, &link).unwrap();
        let known = Known::of(vec![passwd]);
        let asks = |name, shows| {
            let mut asked = false;
            let told = known.at_home(&link, name, || {
                asked = true;
                Ok((fs::read(link.join(name)).ok(), shows))
            });
            assert_eq!(told.unwrap(), fs::read(home.join(name)).ok());
            asked
        };
        // As young as it is, the next change may not show.
        assert!(asks(".forward", true) && asks(".forward", true));
        settle(&home);
        assert!(asks(".forward", false) && asks(".forward", true) && !asks(".forward", true) && asks(".vacation", true));
        fs::write(home.join(".forward"), "bob\n").unwrap();
        assert!(asks(".forward", true));
        fs::remove_file(home.join(".forward")).unwrap();
        settle(&home);
        assert!(asks(".forward", true) && !asks(".forward", true));
        // Another directory in its place that is not new.
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(".forward"), "carol\n").unwrap();
        settle(&other);
        fs::rename(&home, dir.path().join("before")).unwrap();
        fs::rename(&other, &home).unwrap();
        assert!(asks(".forward", true));
    }

    #[test]
    fn what_was_not_looked_for_of_late_goes() {
        let mut recent = Recent::default();
        recent.put(0, "zero");
        for number in 1..10 * MANY {
            recent.put(number, "");
            assert_eq!(recent.find(&0), Some(&"zero"));
            assert!(recent.young.len() + recent.old.len() <= 2 * MANY);
        }
        assert_eq!(recent.find(&1), None);
    }
}
