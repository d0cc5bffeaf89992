//! The daemon's life: start, run, reload, stop.
//!
//! Everything that needs root happens first: limits, listeners, certificate. If it is to run as another account, this process
//! stays as its `monitor`, and another one goes on: it becomes that account, and only then opens journal and mailboxes and
//! starts threads. It says that it is ready when all that is done.

use super::accept::{Acceptor, Turn};
use super::background::{PidFile, Ready};
use super::desk::{Ask, Desk};
use super::identity::{self, Identity};
use super::limits::Limits;
use super::listeners::{self, Listener};
use super::monitor::{self, Part};
use super::options::Options;
use super::services::{self, Foundation, Job, Services};
use super::workers::Workers;
use super::{Failure, cage, logger};
use crate::auth::Gate;
use crate::config::schema::DkimKey;
use crate::config::{self, Config};
use crate::delivery::Delivery;
use crate::host::monitor::known::Known;
use crate::host::{Chain, Host, Monitor};
use crate::mailbox::{Store, ensure_secret};
use crate::net::{Registry, dns::Resolver, tls::ServerTls};
use crate::smtpd::Screen;
use crate::spool::{self, Journal};
use crate::sys::{Clock, Disk, RealDisk, SystemClock, exit, unix};
use crate::trust::dkim::{Keyring, SigningKey};
use crossbeam_channel::Receiver;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, getpid, getppid};
use std::io;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More would cost memory for every busy thread, fewer would make threads wait for each other.
const ARENAS: i32 = 4;
/// Bytes of a journal segment.
const SEGMENT: u64 = 64 << 20;
/// At the end, for sessions whose connection was cut.
const AFTER_CUT: Duration = Duration::from_secs(2);

/// A running daemon.
struct Daemon {
    options: Options,
    base: Foundation,
    host: Arc<dyn Host>,
    /// Who does what needs root.
    monitor: Option<Arc<Monitor>>,
    services: Arc<Services>,
    acceptor: Acceptor,
    workers: Workers<Job>,
    limits: Arc<Limits>,
    asked: Receiver<Ask>,
    /// The number of the next session.
    next_session: u64,
}

/// What `-n` looks at besides the configuration itself.
pub fn check(config: &Config) -> Result<(), Failure> {
    match &config.tls {
        Some(_) => load_tls(config).map(drop),
        None => Ok(()),
    }?;
    load_keyring(config).map(drop)
}

/// Starts, tells `ready`, serves until told to stop, stops. Gives the code to end with.
pub fn run(options: &Options, config: Config, mut ready: Ready) -> Result<u8, Failure> {
    unix::limit_arenas(ARENAS);
    crate::mail::date::load_zone();
    logger::start(&config.log, options.foreground, options.verbose);
    if !config.log.syslog {
        ready.keep_stderr();
    }
    std::panic::set_hook(Box::new(log_panic));
    umask(Mode::from_bits_truncate(0o002));
    raise_open_files();

    let identity = Identity::wanted(&config)?;
    if identity.is_none() && config.has_system_users() {
        let what = "users of the system need a daemon that root starts and that runs as another account: see `user`";
        return Err(Failure::new(exit::CONFIG, what));
    }
    identity::prepare_directories(&config, identity.as_ref())?;
    identity::prepare_users(&config);
    let pid_file = config.pid_file.as_deref().map(PidFile::create).transpose()?;
    let Some(identity) = identity else {
        run_daemon(options, config, None, ready)?;
        drop(pid_file);
        return Ok(exit::OK);
    };
    let parent = getpid();
    match monitor::part(options, &config, pid_file, ready)? {
        Part::Monitor(code) => Ok(code),
        Part::Daemon(socket, ready) => {
            let failed = |error| Failure::new(exit::OSERR, error);
            let monitor = Monitor::new(Arc::new(RealDisk), socket).map_err(failed)?;
            let monitor = Arc::new(monitor.closing(cage::closed(&config)).knowing(Known::new(config.users_files())));
            run_daemon(options, config, Some(Ward { identity, monitor, parent }), ready).map(|()| exit::OK)
        }
    }
}

/// What a daemon needs that gives its rights up.
struct Ward {
    identity: Identity,
    monitor: Arc<Monitor>,
    /// The monitor's process.
    parent: Pid,
}

impl Ward {
    /// Becomes who it is to be. From then on it ends when its monitor does.
    fn give_up_rights(&self, config: &Config) -> Result<(), Failure> {
        let failed = |error| Failure::new(exit::OSERR, format!("cannot run as `{}`: {error}", config.user));
        self.identity.become_it().map_err(failed)?;
        // To change the account forgets this, so it is said now.
        set_pdeathsig(Signal::SIGTERM).map_err(failed)?;
        if getppid() != self.parent {
            return Err(Failure::new(exit::OSERR, "the monitor has ended"));
        }
        let made = ensure_secret(&RealDisk, &config.spool);
        made.map_err(|error| Failure::new(exit::CANTCREAT, format!("{}: {error}", config.spool.display())))?;
        cage::enter(config);
        Ok(())
    }
}

fn run_daemon(options: &Options, config: Config, ward: Option<Ward>, ready: Ready) -> Result<(), Failure> {
    let limits = Arc::new(Limits::default());
    let mut acceptor = Acceptor::new(limits.clone()).map_err(|error| Failure::new(exit::OSERR, error))?;
    acceptor.serve(&listeners::plan(&config)).map_err(|error| Failure::new(exit::UNAVAILABLE, error))?;
    let tls = config.tls.as_ref().map(|_| load_tls(&config)).transpose()?;
    let keyring = load_keyring(&config)?;
    ward.as_ref().map_or(Ok(()), |ward| ward.give_up_rights(&config))?;

    let tls = tls.map_or_else(|| load_tls(&config), Ok)?;
    let monitor = ward.map(|ward| ward.monitor);
    let mut daemon = Daemon::open(options, config, (tls, keyring), monitor, acceptor, limits)?;
    let shown = daemon.acceptor.shown();
    log::info!("started version={} pid={} {shown}", env!("CARGO_PKG_VERSION"), std::process::id());
    if let Some(monitor) = &daemon.monitor {
        monitor.tell_ready().map_err(|error| Failure::new(exit::OSERR, error))?;
    }
    ready.tell(&shown);
    unix::image::give_back_what_started();
    daemon.serve();
    daemon.stop();
    log::info!("stopped");
    Ok(())
}

/// A bug: told with its place. What a session, or a thread, was doing ends; the daemon goes on.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let said = panic.payload();
    let said = said.downcast_ref::<String>().map(String::as_str).or(said.downcast_ref::<&str>().copied());
    let place = panic.location().map_or_else(String::new, |place| place.to_string());
    let thread = std::thread::current();
    log::error!("bug thread={} place={place} panic=\"{}\"", thread.name().unwrap_or("?"), said.unwrap_or("?"));
}

/// As many open files as the system allows: each session needs one, each delivery several.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        log::warn!("open-files-limit error=\"{error}\"");
    }
}

fn load_tls(config: &Config) -> Result<Arc<ServerTls>, Failure> {
    let loaded = match &config.tls {
        Some((certificate, key)) => ServerTls::load(certificate, key),
        None => ServerTls::self_signed(&config.spool.join("tls"), &config.hostname),
    };
    loaded.map(Arc::new).map_err(|error| Failure::new(exit::CONFIG, format!("certificate: {error}")))
}

fn load_keyring(config: &Config) -> Result<Keyring, Failure> {
    keyring(config, |path| std::fs::read(path)).map_err(|what| Failure::new(exit::CONFIG, what))
}

/// The keys of DKIM; `read` gives what stands in a file. An error names the file.
fn keyring(config: &Config, mut read: impl FnMut(&Path) -> io::Result<Vec<u8>>) -> Result<Keyring, String> {
    let mut ring = Keyring::default();
    for DkimKey { domain, selector, key: path } in &config.dkim {
        let told = |error: &dyn std::fmt::Display| format!("dkim: {}: {error}", path.display());
        let pem = read(path).map_err(|error| told(&error))?;
        ring.add(domain, selector, SigningKey::from_pem(&pem).map_err(|error| told(&error))?);
    }
    Ok(ring)
}

impl Daemon {
    /// Opens journal and mailboxes, starts what delivers.
    fn open(
        options: &Options,
        config: Config,
        (tls, keyring): (Arc<ServerTls>, Keyring),
        monitor: Option<Arc<Monitor>>,
        acceptor: Acceptor,
        limits: Arc<Limits>,
    ) -> Result<Daemon, Failure> {
        let config = Arc::new(config);
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let host: Arc<dyn Host> = match &monitor {
            Some(monitor) => monitor.clone(),
            None => Arc::new(Chain::open(&disk, &config).map_err(|error| Failure::new(exit::CONFIG, error))?),
        };
        let (desk, asked) = Desk::new(&config, limits.clone(), acceptor.waker());
        let dir: PathBuf = config.spool.join("journal").join(config.hostname.to_ascii_lowercase());
        let journal = spool::Options { dir, segment_size: SEGMENT, min_free: config.limits.min_free };
        let journal = Journal::open(disk.clone(), clock.clone(), journal)
            .map_err(|error| Failure::new(exit::CANTCREAT, format!("spool {}: {error}", config.spool.display())))?;
        for other in journal.unowned() {
            log::warn!("unowned-journal host={other} (if that host is off for good: pillarboxctl adopt {other})");
        }
        let (mail, spool) = (config.mail.clone(), config.spool.clone());
        let store = Store::new(disk, clock.clone(), host.clone(), journal.clone(), mail, spool);
        let secret = store.secret_for("scram").map_err(|error| Failure::new(exit::CANTCREAT, error))?;
        let resolver = Arc::new(Resolver::new(clock.clone(), &config.dns_servers).trusting(config.trust_ad));
        let delivery = Delivery::start(config.clone(), clock.clone(), host.clone(), journal, store.clone(), resolver.clone());
        delivery.sign_with(keyring);
        delivery.pick_up();
        let greylist = config.spool.join("greylist").join(config.hostname.to_ascii_lowercase());
        let base = Foundation {
            gate: Gate::new(clock.clone(), host.clone(), secret),
            rates: Arc::default(),
            screen: Arc::new(Screen::new(clock.clone(), resolver, greylist)),
            visits: Arc::default(),
            // Sessions of different runs get different names.
            clock,
            host: host.clone(),
            store,
            delivery: Arc::new(delivery),
            registry: Registry::default(),
            desk: Arc::new(desk),
        };
        let next_session = u64::try_from(base.clock.now().seconds()).unwrap_or(0) << 16;
        Ok(Daemon {
            options: options.clone(),
            services: Arc::new(Services::new(&base, config, tls)),
            base,
            host,
            monitor,
            acceptor,
            workers: Workers::new(services::run),
            limits,
            asked,
            next_session,
        })
    }

    /// Until it is told to stop.
    fn serve(&mut self) {
        loop {
            let turn = self.turn(None);
            if turn.stop {
                return;
            }
            if turn.reload {
                let _ = self.reload();
            }
            while let Ok(Ask { answer }) = self.asked.try_recv() {
                let _ = answer.try_send(self.reload());
            }
        }
    }

    /// One turn of the accept loop.
    fn turn(&mut self, at_most: Option<Duration>) -> Turn {
        let Daemon { acceptor, services, workers, next_session, .. } = self;
        let turn = acceptor.turn(&services.config.limits, at_most, |arrival| {
            *next_session += 1;
            if let Err((job, error)) = workers.hand(Job::new(arrival, services.clone(), *next_session)) {
                log::error!("no-thread error=\"{error}\"");
                job.dismiss();
            }
        });
        turn.unwrap_or_else(|error| {
            // Nothing but a bug makes poll fail; a daemon that spins would be worse than one that is slow.
            log::error!("poll-failed error=\"{error}\"");
            std::thread::sleep(Duration::from_millis(100));
            Turn::default()
        })
    }

    /// Reads the configuration again. A bad one leaves all as it was.
    fn reload(&mut self) -> Result<(), String> {
        match self.try_reload() {
            Ok(()) => {
                log::info!("reloaded {}", self.acceptor.shown());
                Ok(())
            }
            Err(what) => {
                for line in what.lines() {
                    log::error!("reload-refused {line}");
                }
                Err(what)
            }
        }
    }

    fn try_reload(&mut self) -> Result<(), String> {
        let (config, tls, keyring) = self.read_again()?;
        self.host.reload().map_err(|error| error.to_string())?;
        let plans = listeners::plan(&config);
        match &self.monitor {
            None => self.acceptor.serve(&plans),
            Some(monitor) => self.acceptor.serve_bound(&plans, |plan| {
                let bound = monitor.bind(&plan.endpoint.to_string())?;
                bound.map(|socket| Listener::adopt(plan, socket)).transpose()
            }),
        }
        .map_err(|error| error.to_string())?;
        if let Some(monitor) = &self.monitor {
            monitor.adopt().map_err(|error| error.to_string())?;
        }
        logger::set_level(&config.log, self.options.verbose);
        let config = Arc::new(config);
        self.base.delivery.reload(config.clone());
        self.base.delivery.sign_with(keyring);
        self.services = Arc::new(Services::new(&self.base, config, tls));
        Ok(())
    }

    /// The configuration as it is now, its certificate, and the keys of DKIM: these only the monitor may be able to read.
    fn read_again(&self) -> Result<(Config, Arc<ServerTls>, Keyring), String> {
        let (file, settings) = (self.options.file.as_deref(), &self.options.settings);
        let bundle = self.monitor.as_ref().map(|monitor| monitor.reload()).transpose().map_err(|error| error.to_string())?;
        let config = match &bundle {
            Some(bundle) => config::from_content(file, &bundle.text, settings),
            None => config::load(file, settings),
        };
        let mut config = config.map_err(|report| report.to_string())?;
        for key in keep_what_needs_a_restart(&mut config, &self.services.config) {
            log::warn!("reload key={key} (changed; that needs a restart)");
        }
        let Some(bundle) = bundle else {
            let told = |failure: Failure| failure.what;
            let (tls, keyring) = (load_tls(&config).map_err(told)?, load_keyring(&config).map_err(told)?);
            return Ok((config, tls, keyring));
        };
        let mut secrets = bundle.secrets.into_iter();
        let tls = match &config.tls {
            Some((certificate, key)) => {
                let (chain, secret) = (secrets.next().unwrap_or_default(), secrets.next().unwrap_or_default());
                let loaded = ServerTls::from_pem((certificate, &chain), (key, &secret));
                loaded.map(Arc::new).map_err(|error| format!("certificate: {error}"))?
            }
            None => load_tls(&config).map_err(|failure| failure.what)?,
        };
        let keyring = keyring(&config, |_| Ok(secrets.next().unwrap_or_default()))?;
        Ok((config, tls, keyring))
    }

    /// No more accepting; farewells; what is arriving may finish; then the queue, then the last checkpoint.
    fn stop(&mut self) {
        let until = Instant::now() + self.services.config.timeouts.stop;
        log::info!("stopping sessions={} patience={:?}", self.limits.sessions(), self.services.config.timeouts.stop);
        if let Err(error) = self.acceptor.serve(&[]) {
            log::warn!("stopping error=\"{error}\"");
        }
        self.limits.tell_ends();
        self.base.registry.tell_all_to_leave();
        let mut hurry = !self.wait_for_sessions(until);
        if hurry {
            self.base.registry.cut_all();
            self.wait_for_sessions(Instant::now() + AFTER_CUT);
        }
        self.base.screen.save();
        let mut config = Config::clone(&self.services.config);
        config.timeouts.stop = until.saturating_duration_since(Instant::now());
        hurry |= config.timeouts.stop.is_zero();
        if hurry {
            config.timeouts.stop = Duration::ZERO;
        }
        self.base.delivery.reload(Arc::new(config));
        self.base.delivery.stop();
    }

    /// False: the time is over, or a second signal came, and some are still there.
    fn wait_for_sessions(&mut self, until: Instant) -> bool {
        while self.limits.sessions() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.turn(Some(left)).stop {
                log::warn!("stopping sessions={} (cut off)", self.limits.sessions());
                return false;
            }
        }
        true
    }
}

/// What can't change while it runs stays as it is; gives the keys that were to change.
pub fn keep_what_needs_a_restart(new: &mut Config, old: &Config) -> Vec<&'static str> {
    let mut changed = Vec::new();
    macro_rules! keep {
        ($($key:literal: $($field:ident).+),+ $(,)?) => {
            $(if new.$($field).+ != old.$($field).+ {
                changed.push($key);
                new.$($field).+ = old.$($field).+.clone();
            })+
        };
    }
    keep! {
        "users": users,
        "user": user,
        "min_uid": min_uid,
        "spool": spool,
        "mail": mail,
        "pid_file": pid_file,
        "control": control,
        "limits.min_free": limits.min_free,
        "dns.servers": dns_servers,
        "dns.trust_ad": trust_ad,
        "log.to": log.syslog,
    }
    changed
}
