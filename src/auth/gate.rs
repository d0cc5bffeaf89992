//! The one door for passwords and for proofs of them.

use super::throttle::Throttle;
use crate::host::users::Secrets;
use crate::host::{Account, Host, ScramKeys};
use crate::net::Peer;
use crate::sys::{Clock, counters};
use ring::hmac;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A user who has proved to be one. Made only by [`Gate::login`] and [`Gate::proven`].
#[derive(Clone, Debug)]
pub struct Login {
    account: Account,
}

impl Login {
    /// For tests of what logins are used for.
    #[cfg(test)]
    pub(super) fn of(name: &str) -> Login {
        Login { account: Account { name: name.into(), uid: 0, gid: 0, home: None } }
    }

    /// Whose mailbox this login opens.
    pub fn account(&self) -> &Account {
        &self.account
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Wrong name or password; which of the two is not told.
    Credentials,
    /// The users file can't be read, or too many are guessing: try later.
    Temporary,
}

/// Checks passwords for all protocols, and slows down who guesses, by client network and by account.
#[derive(Debug)]
pub struct Gate {
    clock: Arc<dyn Clock>,
    host: Arc<dyn Host>,
    throttle: Mutex<Throttle>,
    /// Makes keys for names that have none.
    secret: hmac::Key,
}

impl Gate {
    /// A gate that has seen nobody yet. `secret`: the same at each start, and nobody else's.
    pub fn new(clock: Arc<dyn Clock>, host: Arc<dyn Host>, secret: hmac::Key) -> Arc<Gate> {
        Arc::new(Gate { clock, host, throttle: Mutex::default(), secret })
    }

    /// Blocks for as long as the throttle says (ten seconds at most), then verifies. Logs the outcome, never the password.
    /// `service` and `session` are for the log: `smtp`, `pop3`; the session's name.
    pub fn login(&self, peer: &Peer, service: &str, session: &str, name: &str, password: &[u8]) -> Result<Login, Denied> {
        let outcome = self.verify(peer, name, || self.host.verify(name, password));
        self.settle(peer, service, session, name, outcome)
    }

    /// The keys by which a user is to prove to know the password (RFC 5802). For a name that has none there are such that
    /// nobody can: who asks learns nothing, so nobody needs to be slowed down yet.
    pub fn scram_keys(&self, session: &str, name: &str) -> Result<ScramKeys, Denied> {
        let fake = ScramKeys::fake(&self.secret, &name.to_ascii_lowercase());
        match self.host.scram(name) {
            Ok(keys) => Ok(keys.unwrap_or(fake)),
            Err(error) => {
                log::error!("session={session} auth impossible user={} error={:?}", Shown(name), error.to_string());
                Err(Denied::Temporary)
            }
        }
    }

    /// May SCRAM be offered?
    pub fn offers_scram(&self) -> bool {
        self.host.all_have_scram()
    }

    /// As [`Gate::login`], for who has given a proof of the password: was it right?
    pub fn proven(&self, peer: &Peer, service: &str, session: &str, name: &str, right: bool) -> Result<Login, Denied> {
        let outcome = self.verify(peer, name, || if right { self.host.account(name) } else { Ok(None) });
        self.settle(peer, service, session, name, outcome)
    }

    /// Puts another password in the place of this one, which [`Gate::login`] has found right. False: it is not any more.
    pub fn set_password(&self, name: &str, old: &[u8], new: &Secrets) -> std::io::Result<bool> {
        self.host.set_password(name, old, new)
    }

    /// Logs an outcome.
    fn settle(
        &self,
        peer: &Peer,
        service: &str,
        session: &str,
        name: &str,
        outcome: Result<Account, Refusal>,
    ) -> Result<Login, Denied> {
        let word = match &outcome {
            Ok(_) => "ok",
            Err(Refusal::Wrong) => "failed",
            Err(Refusal::TooMany) => "refused",
            Err(Refusal::Broken(_)) => "impossible",
        };
        let counter = match &outcome {
            Ok(_) => &counters::LOGINS_OK,
            Err(Refusal::Wrong) => &counters::LOGINS_FAILED,
            Err(Refusal::TooMany | Refusal::Broken(_)) => &counters::LOGINS_REFUSED,
        };
        counter.count();
        let name = Shown(name);
        match outcome {
            Ok(account) => {
                log::info!("session={session} auth {word} user={name} peer={peer} service={service}");
                Ok(Login { account })
            }
            Err(Refusal::Broken(error)) => {
                log::error!(
                    "session={session} auth {word} user={name} peer={peer} service={service} error={:?}",
                    error.to_string()
                );
                Err(Denied::Temporary)
            }
            Err(refusal) => {
                log::warn!("session={session} auth {word} user={name} peer={peer} service={service}");
                Err(if matches!(refusal, Refusal::Wrong) { Denied::Credentials } else { Denied::Temporary })
            }
        }
    }

    /// Checks, no sooner than the throttle allows.
    fn verify(
        &self,
        peer: &Peer,
        name: &str,
        check: impl FnOnce() -> std::io::Result<Option<Account>>,
    ) -> Result<Account, Refusal> {
        let network = match peer {
            Peer::Tcp(address) => Some(address.ip()),
            Peer::Unix { .. } => None,
        };
        let begun = self.throttle().begin(self.clock.elapsed(), network, &name.to_ascii_lowercase());
        let (done, delay) = begun.ok_or(Refusal::TooMany)?;
        if !delay.is_zero() {
            let _ = self.clock.after(delay).recv();
        }
        let outcome = check();
        let (now, mut throttle) = (self.clock.elapsed(), self.throttle());
        match outcome {
            Ok(Some(account)) => {
                throttle.right(now, done);
                Ok(account)
            }
            Ok(None) => {
                throttle.wrong(now, done);
                Err(Refusal::Wrong)
            }
            Err(error) => {
                throttle.void(now, done);
                Err(Refusal::Broken(error))
            }
        }
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Refusal {
    Wrong,
    TooMany,
    Broken(std::io::Error),
}

/// A peer's word in a log line: spaces, control bytes and what else could forge a line or a field are escaped.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' | '"' | '\'' => write!(out, "\\{char}")?,
                '!'..='~' => out.write_char(char)?,
                other => write!(out, "\\u{{{:x}}}", u32::from(other))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::manual::ManualClock;
    use crate::sys::{File, Open, Time};
    use std::io;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Everybody's password is `right`, but for `broken` nothing can be told.
    #[derive(Debug, Default)]
    struct FakeHost {
        asked: AtomicUsize,
    }

    impl Host for FakeHost {
        fn account(&self, name: &str) -> io::Result<Option<Account>> {
            Ok(Some(Account { name: name.to_ascii_lowercase(), uid: 0, gid: 0, home: None }))
        }
        fn scram(&self, name: &str) -> io::Result<Option<ScramKeys>> {
            match name {
                "broken" => Err(io::Error::other("unreadable")),
                "alice" => ScramKeys::of(b"right").map(Some),
                _ => Ok(None),
            }
        }
        fn verify(&self, name: &str, password: &[u8]) -> io::Result<Option<Account>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if name == "broken" {
                return Err(io::Error::other("unreadable"));
            }
            Ok((password == b"right").then(|| Account { name: name.into(), uid: 0, gid: 0, home: None }))
        }
        fn open_mailbox(&self, _: &Account, _: &Path, _: &Path, _: Open) -> io::Result<Arc<dyn File>> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn make_folders(&self, _: &Account, _: &Path, _: &Path) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn reload(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn secret() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, b"of a test")
    }

    fn peer() -> Peer {
        Peer::Tcp("192.0.2.1:999".parse().unwrap())
    }

    #[test]
    fn who_guesses_waits_and_then_is_not_listened_to() {
        let (clock, host) = (Arc::new(ManualClock::at(Time(0))), Arc::new(FakeHost::default()));
        let gate = Gate::new(clock.clone(), host.clone(), secret());
        let login =
            |password: &[u8]| gate.login(&peer(), "smtp", "s", "alice", password).map(|login| login.account().name.clone());
        assert_eq!(login(b"right"), Ok("alice".into()));
        for _ in 0..3 {
            assert_eq!(login(b"wrong"), Err(Denied::Credentials));
        }
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| login(b"wrong"));
            while !waiter.is_finished() {
                clock.advance(Duration::from_millis(250));
                std::thread::yield_now();
            }
            assert_eq!(waiter.join().unwrap(), Err(Denied::Credentials));
        });
        assert_eq!(host.asked.load(Ordering::Relaxed), 5);
        for _ in 0..30 {
            let (network, now) = (Some("192.0.2.1".parse().unwrap()), clock.elapsed());
            let mut throttle = gate.throttle();
            if let Some((done, _)) = throttle.begin(now, network, "x") {
                throttle.wrong(now, done);
            }
        }
        assert_eq!(login(b"right"), Err(Denied::Temporary));
        assert_eq!(host.asked.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn an_unreadable_file_is_no_wrong_password() {
        let gate = Gate::new(Arc::new(ManualClock::at(Time(0))), Arc::new(FakeHost::default()), secret());
        for _ in 0..50 {
            let denied = gate.login(&peer(), "smtp", "s", "broken", b"x").unwrap_err();
            assert_eq!(denied, Denied::Temporary);
            assert_eq!(gate.scram_keys("s", "broken").unwrap_err(), Denied::Temporary);
        }
    }

    #[test]
    fn proofs_are_slowed_down_like_passwords() {
        let clock = Arc::new(ManualClock::at(Time(0)));
        let gate = Gate::new(clock.clone(), Arc::new(FakeHost::default()), secret());
        let prove = |right| gate.proven(&peer(), "imap", "s", "Alice", right).map(|login| login.account().name.clone());
        assert_eq!(prove(true), Ok("alice".into()));
        for _ in 0..3 {
            assert_eq!(prove(false), Err(Denied::Credentials));
        }
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| prove(true));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiter.is_finished());
            while !waiter.is_finished() {
                clock.advance(Duration::from_millis(250));
                std::thread::yield_now();
            }
            assert_eq!(waiter.join().unwrap(), Ok("alice".into()));
        });
    }

    #[test]
    fn who_is_unknown_has_keys_like_others() {
        let gate = Gate::new(Arc::new(ManualClock::at(Time(0))), Arc::new(FakeHost::default()), secret());
        let keys = |name| gate.scram_keys("s", name).unwrap();
        assert!(keys("nobody") == keys("Nobody") && keys("nobody") != keys("other"));
        assert_eq!(keys("alice").iterations, keys("nobody").iterations);
        assert_eq!(keys("alice").salt.len(), keys("nobody").salt.len());
    }

    #[test]
    fn log_lines_cannot_be_forged() {
        assert_eq!(
            Shown("a\r\nsession=x auth ok \"é\\").to_string(),
            "a\\u{d}\\u{a}session=x\\u{20}auth\\u{20}ok\\u{20}\\\"\\u{e9}\\\\"
        );
    }
}
