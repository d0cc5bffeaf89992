//! The accounts of this system, as `login` knows them: passwd(5) for who there is, shadow(5) for who may log in.
//!
//! Both come through the C library, so wherever nsswitch.conf(5) says. Only root is shown what is in shadow, so this is asked by
//! the monitor's children, not by who talks to the network.
//!
//! Every account has a mailbox, those of programs too: root's is where cron writes to, and other mail servers do the same.
//! Names are as Postfix and Dovecot have them: letters in any case, looked up in lower case, so an account whose name has a
//! capital letter gets no mail and does not log in.
//!
//! To log in takes a uid of `min_uid` or more. Which shell an account has does not matter: those who only read mail are often
//! given `/usr/sbin/nologin`, and who is to be kept out is locked (`usermod --lock --expiredate 1`).

use super::{Account, users};
use crate::sys::unix::crypt::{Crypt, Shadow, shadow_entry};
use crate::sys::{Clock, SystemClock};
use nix::unistd::User;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::path::Path;

/// What an unknown name's password is hashed with if the system has no hashes: as Debian's `passwd` does, or, where the system does
/// not know that, by SHA-512.
const NOTHING: [&str; 2] = ["$y$j9T$TtQ3Hs5NqNZZ5OZcD1Vaf.$", "$6$TtQ3Hs5NqNZZ5OZc$"];

/// Where accounts of this host have their hashes.
const SHADOW: &str = "/etc/shadow";

/// See the module.
#[derive(Debug)]
pub struct System {
    database: Box<dyn Database>,
    clock: Box<dyn Clock>,
    crypt: Crypt,
    nothing: &'static str,
    /// Lower ones never log in.
    min_uid: u32,
}

/// Where accounts are looked up.
trait Database: Send + Sync + Debug {
    fn user(&self, name: &str) -> io::Result<Option<User>>;
    fn shadow(&self, name: &str) -> io::Result<Option<Shadow>>;
    /// The hashes that are kept on this host.
    fn hashes(&self) -> Vec<String>;
}

/// The C library.
#[derive(Debug)]
struct NameService;

impl Database for NameService {
    fn user(&self, name: &str) -> io::Result<Option<User>> {
        Ok(User::from_name(name)?)
    }

    fn shadow(&self, name: &str) -> io::Result<Option<Shadow>> {
        shadow_entry(name)
    }

    /// A directory service is not asked for all it has.
    fn hashes(&self) -> Vec<String> {
        let text = fs::read(SHADOW).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().filter_map(|line| line.split(':').nth(1)).map(str::to_owned).collect()
    }
}

impl System {
    /// An error if the system's crypt(3) is not there.
    pub fn new(min_uid: u32) -> io::Result<System> {
        System::of(Box::new(NameService), Box::new(SystemClock::default()), min_uid)
    }

    fn of(database: Box<dyn Database>, clock: Box<dyn Clock>, min_uid: u32) -> io::Result<System> {
        let crypt = Crypt::load()?;
        let works = |setting: &&str| crypt.hash(b"x", setting).is_some();
        let nothing = NOTHING.into_iter().find(works).ok_or_else(|| io::Error::other("crypt(3) knows no method we do"))?;
        Ok(System { database, clock, crypt, nothing, min_uid })
    }

    /// Looks an account up; names are compared in lower case.
    pub fn account(&self, name: &str) -> io::Result<Option<Account>> {
        Ok(self.user(&name.to_ascii_lowercase())?.map(account_of))
    }

    /// Is this the password? For every name the same is done, whether there is such an account or not: an entry of shadow is
    /// looked for, and one password hashed; where there is none, as most of this host's are. (Who has another kind of hash than
    /// most can be told by the time it takes.)
    pub fn verify(&self, name: &str, password: &[u8]) -> io::Result<Option<Account>> {
        let name = name.to_ascii_lowercase();
        let user = self.user(&name)?.filter(|user| self.may_log_in(user));
        let shadow = match &user {
            Some(user) => self.secret_of(user)?,
            None => self.database.shadow(&name)?.and(None),
        };
        let hash = shadow.as_ref().map(|shadow| shadow.hash.as_str()).filter(|hash| is_hash(hash));
        let usual = usual(self.database.hashes());
        let setting = hash.or(usual.as_deref()).unwrap_or(self.nothing);
        let made = self.crypt.hash(password, setting).or_else(|| self.crypt.hash(password, self.nothing));
        let right = !password.is_empty() && hash.zip(made).is_some_and(|(hash, made)| is_same(hash.as_bytes(), &made));
        let (Some(user), Some(shadow), true) = (user, shadow, right) else { return Ok(None) };
        match shadow.refuses(self.clock.now().seconds().div_euclid(24 * 3600)) {
            Some(why) => {
                log::warn!("event=login-refused user={name} why=\"{why}\"");
                Ok(None)
            }
            None => Ok(Some(account_of(user))),
        }
    }

    /// By a name that can have a mailbox. (A directory service may answer to other spellings of it.)
    fn user(&self, name: &str) -> io::Result<Option<User>> {
        if !users::is_name(name) {
            return Ok(None);
        }
        Ok(self.database.user(name)?.filter(|user| user.name == name))
    }

    fn may_log_in(&self, user: &User) -> bool {
        !user.uid.is_root() && user.uid.as_raw() >= self.min_uid
    }

    /// The entry of shadow, or, where there is none, what passwd has in its place.
    fn secret_of(&self, user: &User) -> io::Result<Option<Shadow>> {
        if let Some(shadow) = self.database.shadow(&user.name)? {
            return Ok(Some(shadow));
        }
        Ok(user.passwd.to_str().ok().map(|hash| Shadow { hash: hash.to_owned(), ..Shadow::default() }))
    }
}

/// Does this account stand in passwd(5) as it is, and is nothing else looked at before (nsswitch.conf(5))?
pub fn is_in_file(account: &Account) -> bool {
    let text = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let order = text("/etc/nsswitch.conf");
    order.is_ok_and(|order| is_first(&order)) && text("/etc/passwd").is_ok_and(|passwd| has(&passwd, account))
}

/// Are accounts looked up in passwd(5) first?
fn is_first(order: &str) -> bool {
    let lines = order.lines().map(|line| line.split_once('#').map_or(line, |(line, _)| line));
    let mut services = lines.filter_map(|line| line.trim().strip_prefix("passwd:"));
    services.next().is_some_and(|services| services.split_whitespace().next() == Some("files"))
}

/// Of lines with the same name the first counts.
fn has(passwd: &str, account: &Account) -> bool {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let own = fields.into_iter().find(|fields| fields.first() == Some(&account.name.as_str()));
    own.is_some_and(|fields| match fields[..] {
        [_, _, uid, gid, _, home, _] => {
            (uid.parse(), gid.parse()) == (Ok(account.uid), Ok(account.gid)) && account.home.as_deref() == Some(Path::new(home))
        }
        _ => false,
    })
}

fn account_of(user: User) -> Account {
    Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: Some(user.dir) }
}

/// Not a locked password (`!`, `*`), not one that is kept elsewhere (`x`), and not none at all.
fn is_hash(hash: &str) -> bool {
    hash.len() > 1 && !hash.starts_with(['!', '*'])
}

/// One of the hashes that cost what most of them cost.
fn usual(mut hashes: Vec<String>) -> Option<String> {
    hashes.retain(|hash| is_hash(hash) && hash.starts_with('$'));
    let cost = |hash: &str| hashes.iter().filter(|other| cost_of(other) == cost_of(hash)).count();
    hashes.iter().max_by_key(|hash| cost(hash)).cloned()
}

/// What of a hash tells what it costs to make it: the method and its parameters (crypt(5)).
fn cost_of(hash: &str) -> Vec<&str> {
    let mut parts = hash.split('$').skip(1);
    let method = parts.next().unwrap_or_default();
    // Of these the parameter may be left out.
    let is_optional = ["1", "5", "6"].contains(&method);
    [Some(method), parts.next().filter(|part| !is_optional || part.starts_with("rounds="))].into_iter().flatten().collect()
}

/// In constant time for hashes of one method.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}

impl Shadow {
    /// Why nobody may log in with the right password, as of this day. A password that has merely become too old is good for as
    /// long as it could still be changed at a login.
    fn refuses(&self, today: i64) -> Option<&'static str> {
        match *self {
            Shadow { expires: Some(expires), .. } if today >= expires => Some("the account has expired"),
            Shadow { changed: Some(0), .. } => Some("the password must be changed first"),
            Shadow { changed: Some(changed), most_days: Some(most), inactive_days: Some(inactive), .. }
                if today.saturating_sub(changed) > most.saturating_add(inactive) =>
            {
                Some("the password has expired")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Time;
    use crate::sys::clock::manual::ManualClock;
    use crate::sys::cost::cost;
    use nix::unistd::{Gid, Uid};
    use std::collections::HashMap;
    use std::ffi::CString;

    /// Of "secret", by `openssl passwd -6`.
    const HASH: &str = "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.";
    const TODAY: i64 = 20_000;

    #[derive(Debug, Default)]
    struct Tables(HashMap<String, (User, Option<Shadow>)>);

    impl Tables {
        fn with(mut self, name: &str, uid: u32, in_passwd: &str, shadow: Option<Shadow>) -> Tables {
            let user = User {
                name: name.into(),
                passwd: CString::new(in_passwd).unwrap(),
                uid: Uid::from_raw(uid),
                gid: Gid::from_raw(100),
                gecos: CString::default(),
                dir: format!("/home/{name}").into(),
                shell: "/usr/sbin/nologin".into(),
            };
            self.0.insert(name.into(), (user, shadow));
            self
        }

        fn open(self) -> System {
            let clock = ManualClock::at(Time(TODAY * 24 * 3600 * 1_000_000 + 5));
            System::of(Box::new(self), Box::new(clock), 1000).unwrap()
        }
    }

    impl Database for Tables {
        fn user(&self, name: &str) -> io::Result<Option<User>> {
            Ok(self.0.get(name).map(|(user, _)| user.clone()))
        }

        fn shadow(&self, name: &str) -> io::Result<Option<Shadow>> {
            Ok(self.0.get(name).and_then(|(_, shadow)| shadow.clone()))
        }

        fn hashes(&self) -> Vec<String> {
            self.0.values().filter_map(|(_, shadow)| Some(shadow.as_ref()?.hash.clone())).collect()
        }
    }

    fn shadow(hash: &str) -> Option<Shadow> {
        Some(Shadow { hash: hash.into(), changed: Some(TODAY - 10), most_days: Some(99_999), ..Shadow::default() })
    }

    fn logs_in(system: &System, name: &str, password: &str) -> bool {
        system.verify(name, password.as_bytes()).unwrap().is_some()
    }

    #[test]
    fn the_right_password_logs_in_and_nothing_else_does() {
        let system = Tables::default().with("alice", 1000, "x", shadow(HASH)).with("bob", 1001, HASH, None).open();
        let alice = system.verify("Alice", b"secret").unwrap().unwrap();
        let home = Some("/home/alice".into());
        assert_eq!(alice, Account { name: "alice".into(), uid: 1000, gid: 100, home });
        assert_eq!(system.account("ALICE").unwrap(), Some(alice));
        for (name, password) in [("alice", "Secret"), ("alice", ""), ("alice", "secret\0"), ("carol", "secret"), ("", "secret")] {
            assert!(!logs_in(&system, name, password), "{name} {password:?}");
        }
        // An old system, without shadow.
        assert!(logs_in(&system, "bob", "secret") && !logs_in(&system, "bob", "x"));
    }

    #[test]
    fn who_is_locked_or_has_no_password_never_logs_in() {
        let locked = format!("!{HASH}");
        let kept = ["", "x", "!", "!!", "*", "!*", &locked, "*LK*", "*NP*", "NP"];
        for (at, hash) in kept.into_iter().enumerate() {
            for (in_passwd, entry) in [("x", shadow(hash)), (hash, None)] {
                let system = Tables::default().with("u", 1000 + at as u32, in_passwd, entry).open();
                for password in ["", "secret"] {
                    assert!(!logs_in(&system, "u", password), "{hash:?} {password:?}");
                }
                assert!(system.account("u").unwrap().is_some());
            }
        }
    }

    #[test]
    fn low_uids_have_mail_and_no_login() {
        let tables = Tables::default().with("root", 0, "x", shadow(HASH)).with("www-data", 33, "x", shadow(HASH));
        let tables =
            tables.with("toor", 0, "x", shadow(HASH)).with("last", 999, "x", shadow(HASH)).with("u", 1000, "x", shadow(HASH));
        let mut system = tables.open();
        for name in ["root", "toor", "www-data", "last"] {
            assert!(system.account(name).unwrap().is_some() && !logs_in(&system, name, "secret"), "{name}");
        }
        assert!(logs_in(&system, "u", "secret"));
        system.min_uid = 0;
        assert!(
            logs_in(&system, "www-data", "secret") && !logs_in(&system, "root", "secret") && !logs_in(&system, "toor", "secret")
        );
    }

    #[test]
    fn names_that_cannot_have_a_mailbox_are_nobodys() {
        let names = ["../x", "a b", ".x", "bob.lock", "Upper"];
        let tables = names.iter().fold(Tables::default(), |tables, name| tables.with(name, 1000, "x", shadow(HASH)));
        let system = tables.open();
        assert!(names.iter().all(|name| system.account(name).unwrap().is_none() && !logs_in(&system, name, "secret")));
    }

    #[test]
    fn what_shadow_says_of_age_is_obeyed() {
        let entry = |changed, most_days, inactive_days, expires| {
            let some = |days: i64| Some(days).filter(|days| *days >= 0);
            let hash = HASH.to_owned();
            let [changed, most_days, inactive_days, expires] = [changed, most_days, inactive_days, expires].map(some);
            Some(Shadow { hash, changed, most_days, inactive_days, expires })
        };
        let cases = [
            (entry(-1, -1, -1, -1), true),
            (entry(TODAY - 1, 99_999, -1, -1), true),
            // The account.
            (entry(TODAY - 1, 99_999, -1, TODAY + 1), true),
            (entry(TODAY - 1, 99_999, -1, TODAY), false),
            (entry(TODAY - 1, 99_999, -1, 1), false),
            // The password: old, and old for too long.
            (entry(TODAY - 40, 30, -1, -1), true),
            (entry(TODAY - 40, 30, 10, -1), true),
            (entry(TODAY - 41, 30, 10, -1), false),
            (entry(TODAY - 31, 30, 0, -1), false),
            (entry(TODAY - 30, 30, 0, -1), true),
            // To be changed at once.
            (entry(0, 99_999, -1, -1), false),
            // Days nobody meant.
            (entry(TODAY + 5, 30, 0, -1), true),
            (entry(TODAY - 1, i64::MAX, i64::MAX, -1), true),
        ];
        for (entry, lets_in) in cases {
            let system = Tables::default().with("u", 1000, "x", entry.clone()).open();
            assert_eq!(logs_in(&system, "u", "secret"), lets_in, "{entry:?}");
            assert!(!logs_in(&system, "u", "wrong"));
        }
    }

    /// Else the time it takes would tell who has an account.
    #[test]
    fn for_a_name_that_is_not_there_a_password_is_hashed_too() {
        let system = Tables::default().open();
        assert_eq!(system.nothing, NOTHING[0]);
        let hash = system.crypt.hash(b"x", system.nothing).unwrap();
        assert!(hash.starts_with(b"$y$j9T$") && hash.len() > NOTHING[0].len() + 40);
        let before = std::time::Instant::now();
        assert!(!logs_in(&system, "nobody-here", "x"));
        assert!(before.elapsed() > std::time::Duration::from_millis(2));
    }

    #[test]
    fn what_is_hashed_for_nobody_costs_what_it_costs_for_most() {
        let (yes, other) = ("$y$j9T$M7UQVLl3kLZmMjVJR86EB1$fulqe", "$y$jFT$M7UQVLl3kLZmMjVJR86EB1$fulqe");
        let (plain, long) = ("$6$abcdefgh$yIZAF3", "$6$rounds=900000$abcdefgh$yIZAF3");
        let (cheap, dear) = ("$2b$04$J8U1qRF526u.iNRYebv9n.aH", "$2b$12$J8U1qRF526u.iNRYebv9n.aH");
        for (hash, cost) in [
            (yes, vec!["y", "j9T"]),
            (other, vec!["y", "jFT"]),
            (plain, vec!["6"]),
            (long, vec!["6", "rounds=900000"]),
            (cheap, vec!["2b", "04"]),
            (dear, vec!["2b", "12"]),
        ] {
            assert_eq!(cost_of(hash), cost);
        }
        let of = |hashes: &[&str]| usual(hashes.iter().map(|hash| (*hash).to_owned()).collect());
        assert_eq!(of(&["*", "!", "", "x", &format!("!{plain}")]), None);
        assert_eq!(of(&[plain, cheap, dear, dear, "*"]).as_deref(), Some(dear));
        assert_eq!(
            of(&[yes, plain, "$6$other$x", long, long.replace("abc", "xyz").as_str(), "$6$third$y"]).unwrap()[..3],
            *"$6$"
        );

        // Of three kinds of host: what is done for alice, for a name that is not there, and for one that never logs in.
        let crypt = Crypt::load().unwrap();
        for setting in ["$6$rounds=80000$abcdefgh$", "$2b$09$J8U1qRF526u.iNRYebv9n.", "$y$j9T$M7UQVLl3kLZmMjVJR86EB1$"] {
            let hash = String::from_utf8(crypt.hash(b"secret", setting).unwrap()).unwrap();
            let system = Tables::default().with("alice", 1000, "x", shadow(&hash)).with("low", 33, "x", shadow("*")).open();
            // Of this thread: what else the machine does takes time, too.
            let time = |name| {
                let one = || cost(1, || assert!(!logs_in(&system, name, "wrong")));
                (0..3).map(|_| one()).fold(f64::MAX, f64::min)
            };
            let [known, unknown, low] = ["alice", "nobody-here", "low"].map(time);
            for other in [unknown, low] {
                assert!(other < known * 2.0 && known < other * 2.0, "{setting}: {known} and {other} ms");
            }
            assert!(logs_in(&system, "alice", "secret"));
        }
    }

    #[test]
    fn what_stands_in_the_file_is_told_from_what_comes_from_elsewhere() {
        for (order, first) in [
            ("passwd: files systemd\n", true),
            ("# passwd: sss\n  passwd:files # passwd: sss\n", true),
            ("passwd: sss files\ngroup: files\n", false),
            ("passwd: compat\n", false),
            ("passwd:\n", false),
            ("group: files\n", false),
            ("", false),
        ] {
            assert_eq!(is_first(order), first, "{order}");
        }
        let alice = Account { name: "alice".into(), uid: 7, gid: 8, home: Some("/home/alice".into()) };
        for (line, is_there) in [
            ("alice:x:7:8:Alice:/home/alice:/bin/sh", true),
            ("alice:x:7:9:Alice:/home/alice:/bin/sh", false),
            ("alice:x:6:8:Alice:/home/alice:/bin/sh", false),
            ("alice:x:7:8:Alice:/elsewhere:/bin/sh", false),
            ("alicia:x:7:8:Alice:/home/alice:/bin/sh", false),
            ("alice:x:7:8:/home/alice", false),
            ("alice::0:0::/:\nalice:x:7:8:Alice:/home/alice:/bin/sh", false),
        ] {
            assert_eq!(has(&format!("root:x:0:0:root:/root:/bin/sh\n{line}\n"), &alice), is_there, "{line}");
        }
    }

    #[test]
    fn the_systems_own_accounts_are_found() {
        let system = System::new(1000).unwrap();
        let root = system.account("root").unwrap().unwrap();
        assert_eq!((root.uid, root.home.is_some()), (0, true));
        assert_eq!(system.account("no-such-user").unwrap(), None);
        if nix::unistd::geteuid().is_root() {
            assert_eq!(system.verify("root", b"").unwrap(), None);
        }
    }
}
