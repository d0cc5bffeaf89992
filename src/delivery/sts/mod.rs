//! MTA-STS (RFC 8461): what domains say, in a text that is fetched by HTTPS, of the hosts that take their mail.
//!
//! A TXT record tells that a domain has a policy, and its id. One that is not known, or has a new id, is fetched, and whoever
//! wants to send mail there waits for it a little; meanwhile the threads of other domains are not touched, for it is fetched
//! by threads of its own. One that is known holds until its end, whatever comes of that: also when the record is gone, and
//! when nothing can be fetched. Each day it is fetched again, whether there is mail or not, so that nobody who keeps us from
//! it at its end makes us forget it (RFC 8461 §3.3, §10.2).

mod kept;
pub mod policy;

use crate::config::Config;
use crate::config::schema::Outbound;
use crate::net::dns::{DnsError, Resolver};
use crate::net::https::Get;
use crate::net::tls::ClientTls;
use crate::sys::Clock;
use kept::{All, Kept};
use policy::{Mode, Policy};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Who wants to send mail waits so long for a policy; then it goes as if there were none (RFC 8461 §5.1).
const PATIENCE: Duration = Duration::from_secs(10);

/// A policy must be there after that long, with all that is asked for it (RFC 8461 §3.3).
const LONGEST_FETCH: Duration = Duration::from_secs(60);

/// Bytes of a policy (RFC 8461 §3.3).
const MOST_BYTES: usize = 64 * 1024;

/// After that long it is fetched again.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// One that was not asked for since that long is let go at its end.
const UNUSED: Duration = Duration::from_secs(60 * 24 * 3600);

/// What could not be fetched is not asked for again before (RFC 8461 §3.3).
const AFTER_FAILURE: Duration = Duration::from_secs(300);

/// Those to be fetched again are looked for so often.
const SWEEP: Duration = Duration::from_secs(6 * 3600);

/// Threads that fetch.
const MOST_THREADS: usize = 4;

/// Addresses of a policy's host that are asked.
const MOST_ADDRESSES: usize = 4;

/// Policies that are kept, and failures that are remembered.
const MOST_KEPT: usize = 10_000;

/// After so many that were fetched, all are saved, and when nothing is left to be fetched.
const SAVE_AFTER: usize = 100;

/// See the module.
#[derive(Debug)]
pub(super) struct Policies {
    clock: Arc<dyn Clock>,
    resolver: Arc<Resolver>,
    path: PathBuf,
    known: Mutex<Known>,
    /// A fetch has come to its end.
    fetched: Condvar,
    /// Held while the file is written.
    file: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    kept: All,
    /// By domain: the id that could not be fetched, and until when that is left alone, by the clock that never jumps.
    failed: HashMap<String, (String, Duration)>,
    wanted: VecDeque<Want>,
    /// The domains of what is wanted or being fetched.
    awaited: HashSet<String>,
    threads: usize,
    /// Fetched since they were saved.
    unsaved: usize,
    sweep: Duration,
}

/// A policy to be fetched.
#[derive(Debug)]
struct Want {
    domain: String,
    /// What the TXT record says; `None`: it must be asked for.
    id: Option<String>,
    settings: Outbound,
}

impl Policies {
    /// With those that the file has.
    pub(super) fn new(clock: Arc<dyn Clock>, resolver: Arc<Resolver>, path: PathBuf) -> Arc<Policies> {
        let known = Known { kept: kept::load(&path), sweep: clock.elapsed() + AFTER_FAILURE, ..Known::default() };
        Arc::new(Policies { clock, resolver, path, known: Mutex::new(known), fetched: Condvar::new(), file: Mutex::default() })
    }

    /// The policy of a domain, if it has one that hosts must keep to, or are tested by. May wait.
    pub(super) fn of(self: &Arc<Self>, domain: &str, config: &Config) -> Option<Policy> {
        let settings = &config.outbound;
        if !settings.mta_sts {
            return None;
        }
        let id = self.resolver.txt(&format!("_mta-sts.{domain}")).ok().and_then(|records| policy::id(&records));
        let now = self.clock.now();
        let mut known = self.lock();
        let (has, is_old) = match known.kept.get_mut(domain).filter(|kept| kept.holds(now)) {
            Some(kept) => {
                kept.used = now;
                (Some(kept.id.clone()), now.since(kept.fetched) >= FRESH)
            }
            None => (None, false),
        };
        if let Some(id) = id {
            let is_new = has.as_ref() != Some(&id);
            if is_new || is_old {
                self.want(&mut known, Want { domain: domain.to_owned(), id: Some(id), settings: settings.clone() });
            }
            if is_new {
                let patience = PATIENCE.min(config.timeouts.remote);
                let waiting = self.fetched.wait_timeout_while(known, patience, |known| known.awaited.contains(domain));
                known = waiting.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        let kept = known.kept.get(domain).filter(|kept| kept.holds(now))?;
        (kept.policy.mode != Mode::None).then(|| kept.policy.clone())
    }

    /// Has old ones fetched again, and forgets those that hold no longer. To be called now and then.
    pub(super) fn refresh(self: &Arc<Self>, settings: &Outbound) {
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        let mut known = self.lock();
        if !settings.mta_sts || known.sweep > elapsed {
            return;
        }
        known.sweep = elapsed + SWEEP;
        known.kept.retain(|_, kept| kept.holds(now));
        known.failed.retain(|_, (_, until)| *until > elapsed);
        let is_due = |kept: &Kept| now.since(kept.fetched) >= FRESH && now.since(kept.used) < UNUSED;
        let due: Vec<String> = known.kept.iter().filter(|(_, kept)| is_due(kept)).map(|(domain, _)| domain.clone()).collect();
        for domain in due {
            self.want(&mut known, Want { domain, id: None, settings: settings.clone() });
        }
    }

    /// Has it fetched, unless that is being done, or was in vain a moment ago.
    fn want(self: &Arc<Self>, known: &mut Known, want: Want) {
        let now = self.clock.elapsed();
        let in_vain = known.failed.get(&want.domain).is_some_and(|(id, until)| *until > now && want.id.as_ref() == Some(id));
        if in_vain || !known.awaited.insert(want.domain.clone()) {
            return;
        }
        if known.threads < MOST_THREADS {
            let ours = self.clone();
            match thread::Builder::new().name("mta-sts".to_owned()).spawn(move || ours.fetch_all()) {
                Ok(_) => known.threads += 1,
                Err(error) => log::error!("event=no-thread name=mta-sts reason=\"{error}\""),
            }
        }
        match known.threads {
            0 => _ = known.awaited.remove(&want.domain),
            _ => known.wanted.push_back(want),
        }
    }

    /// Fetches what is wanted, until nothing is.
    fn fetch_all(&self) {
        loop {
            let mut known = self.lock();
            let Some(want) = known.wanted.pop_front() else {
                known.threads -= 1;
                drop(known);
                return self.save();
            };
            drop(known);
            let id = want.id.clone().or_else(|| {
                let records = self.resolver.txt(&format!("_mta-sts.{}", want.domain));
                policy::id(&records.unwrap_or_default())
            });
            let fetched = match &id {
                // Whatever happens, nobody waits for ever.
                Some(_) => catch_unwind(AssertUnwindSafe(|| self.fetch(&want))).unwrap_or_else(|_| Err("a bug".to_owned())),
                None => Err("it has no TXT record any more".to_owned()),
            };
            self.learn(&want.domain, id.unwrap_or_default(), fetched);
        }
    }

    fn fetch(&self, want: &Want) -> Result<Policy, String> {
        let until = Instant::now() + LONGEST_FETCH;
        let host = format!("mta-sts.{}", want.domain);
        let tls = ClientTls::verifying(want.settings.ca.as_deref()).map_err(|error| error.to_string())?;
        let addresses = self.resolver.addresses(&host).map_err(|error| match error {
            DnsError::NoName | DnsError::NoData => format!("{host} has no address"),
            DnsError::Temporary(why) => why,
        })?;
        let get = Get { host: &host, path: "/.well-known/mta-sts.txt", tls: &tls, most: MOST_BYTES, until };
        let mut last = String::new();
        for address in addresses.data.into_iter().take(MOST_ADDRESSES) {
            match get.from(SocketAddr::new(address, want.settings.mta_sts_port)) {
                // Others than the domain may put pages on its host (RFC 8461 §3.2).
                Ok(text) if text.kind != "text/plain" => last = format!("its type is {}, not text/plain", text.kind),
                Ok(text) => return Policy::parse(&text.bytes).map_err(|why| format!("it is broken: {why}")),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Takes note of what came of a fetch.
    fn learn(&self, domain: &str, id: String, fetched: Result<Policy, String>) {
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        let mut known = self.lock();
        match fetched {
            Ok(policy) => {
                let (mode, mx) = (policy.mode.name(), policy.mx.join(" "));
                log::info!(
                    "event=sts-fetched domain={domain} id={id} mode={mode} mx=\"{mx}\" max_age={}",
                    policy.max_age.as_secs()
                );
                let used = known.kept.get(domain).map_or(now, |kept| kept.used);
                make_room(&mut known.kept);
                known.kept.insert(domain.to_owned(), Kept { id, fetched: now, used, policy });
                known.failed.remove(domain);
                known.unsaved += 1;
            }
            Err(why) => {
                let why = crate::smtp::client::clean(why.as_bytes());
                let before = known.kept.get(domain).filter(|kept| kept.holds(now) && kept.policy.mode != Mode::None);
                let level = if before.is_some() { log::Level::Warn } else { log::Level::Info };
                let holds = if before.is_some() { " (the one before still holds)" } else { "" };
                log::log!(level, "event=sts-not-fetched domain={domain} id={id} reason=\"{why}\"{holds}");
                if known.failed.len() >= MOST_KEPT {
                    known.failed.clear();
                }
                known.failed.insert(domain.to_owned(), (id, elapsed + AFTER_FAILURE));
            }
        }
        known.awaited.remove(domain);
        let save = known.unsaved >= SAVE_AFTER;
        drop(known);
        self.fetched.notify_all();
        if save {
            self.save();
        }
    }

    fn save(&self) {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.lock();
        if std::mem::take(&mut known.unsaved) == 0 {
            return;
        }
        let lines = kept::lines(&known.kept);
        drop(known);
        if let Err(error) = kept::save(&self.path, &lines) {
            log::error!("event=sts-unsaved file={} reason=\"{error}\"", self.path.display());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For one more: the one goes that was not asked for since the longest.
fn make_room(kept: &mut All) {
    if kept.len() >= MOST_KEPT {
        let oldest = kept.iter().min_by_key(|(_, kept)| kept.used).map(|(domain, _)| domain.clone());
        oldest.iter().for_each(|domain| drop(kept.remove(domain)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::sys::Time;
    use crate::sys::clock::manual::ManualClock;
    use std::path::Path;

    const DAY: u64 = 24 * 3600;

    /// Policies that were fetched and asked for so many days ago, and hold for so many; nothing can be fetched.
    fn house(dir: &Path, all: &[(&str, u64, u64, u64, Mode)]) -> (Arc<ManualClock>, Arc<Policies>) {
        let now = Time::from_seconds(1_700_000_000);
        let days = |days: u64| Duration::from_secs(days * DAY);
        let kept = |&(domain, fetched, used, holds, mode): &(&str, u64, u64, u64, Mode)| {
            let policy = Policy { mode, mx: vec!["mx.test".into()], max_age: days(holds) };
            (domain.to_owned(), Kept { id: "1".into(), fetched: now - days(fetched), used: now - days(used), policy })
        };
        let path = dir.join("policies");
        kept::save(&path, &kept::lines(&all.iter().map(kept).collect())).unwrap();
        let clock = Arc::new(ManualClock::at(now));
        let resolver = Arc::new(Resolver::new(clock.clone(), &["127.0.0.1:9".parse().unwrap()]));
        (clock.clone(), Policies::new(clock, resolver, path))
    }

    fn config() -> Config {
        config::load::from_text("test", "hostname = \"me.test\"", Path::new("/"), &[]).unwrap()
    }

    #[test]
    fn what_is_known_holds_to_its_end_though_nothing_can_be_asked() {
        let dir = tempfile::tempdir().unwrap();
        let all = [("e.test", 0, 0, 3, Mode::Enforce), ("t.test", 0, 0, 3, Mode::Testing), ("n.test", 0, 0, 3, Mode::None)];
        let (clock, policies) = house(dir.path(), &all);
        let mut config = config();
        let mode = |config: &Config, domain: &str| policies.of(domain, config).map(|policy| policy.mode);
        assert_eq!(mode(&config, "e.test"), Some(Mode::Enforce));
        assert_eq!(mode(&config, "t.test"), Some(Mode::Testing));
        for none in ["n.test", "other.test"] {
            assert_eq!(mode(&config, none), None, "{none}");
        }
        clock.advance(Duration::from_secs(3 * DAY - 1));
        assert_eq!(mode(&config, "e.test"), Some(Mode::Enforce));
        config.outbound.mta_sts = false;
        assert_eq!(mode(&config, "e.test"), None);
        config.outbound.mta_sts = true;
        clock.advance(Duration::from_secs(1));
        assert_eq!(mode(&config, "e.test"), None);
    }

    #[test]
    fn each_day_they_are_fetched_again_and_let_go_when_nobody_asks() {
        let dir = tempfile::tempdir().unwrap();
        let mode = Mode::Enforce;
        let all = [
            ("old.test", 2, 0, 9, mode),
            ("new.test", 0, 0, 9, mode),
            ("idle.test", 2, 61, 99, mode),
            ("over.test", 9, 0, 9, mode),
        ];
        let (clock, policies) = house(dir.path(), &all);
        let config = config();
        let look = || {
            policies.refresh(&config.outbound);
            let end = Instant::now() + Duration::from_secs(30);
            while policies.lock().threads > 0 {
                assert!(Instant::now() < end, "it takes too long");
                thread::sleep(Duration::from_millis(1));
            }
            let known = policies.lock();
            let (mut kept, mut tried): (Vec<_>, Vec<_>) =
                (known.kept.keys().cloned().collect(), known.failed.keys().cloned().collect());
            kept.sort();
            tried.sort();
            (kept.join(" "), tried.join(" "))
        };
        assert_eq!(look().1, "", "not at once");
        clock.advance(AFTER_FAILURE);
        assert_eq!(look(), ("idle.test new.test old.test".into(), "old.test".into()));
        clock.advance(FRESH);
        assert_eq!(look().1, "new.test old.test");
    }
}
