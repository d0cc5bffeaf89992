//! A mail system without servers: users, journal, mailboxes, delivery.

use crate::config::{self, Config};
use crate::delivery::{Delivery, Letter, Office, PostError, Trace};
use crate::host::line::{self, Job, Line, LineOf};
use crate::host::program::End;
use crate::host::{Account, Host};
use crate::mail::{Address, Body, Envelope, MailDsn, Origin, Recipient, Release, ReversePath};
use crate::mailbox::Store;
use crate::net::dns::Resolver;
use crate::spool::{Journal, Message, Options, SpoolId, Unsettled};
use crate::sys::sim::SimDisk;
use crate::sys::{Clock, Disk, File, Lock, Open, SystemClock};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Users alice and bob, perhaps with homes in a directory.
#[derive(Debug)]
struct Users(SimDisk, Option<PathBuf>);

impl Host for Users {
    fn account(&self, name: &str) -> io::Result<Option<Account>> {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let home = self.1.as_ref().map(|homes| homes.join(name));
        let account = || Account { name: name.to_owned(), uid, gid, home };
        Ok(["alice", "bob"].contains(&name).then(account))
    }
    fn verify(&self, _: &str, _: &[u8]) -> io::Result<Option<Account>> {
        Ok(None)
    }
    fn open_mailbox(&self, _: &Account, _: &Path, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        self.0.open(path, how)
    }
    fn make_folders(&self, _: &Account, _: &Path, path: &Path) -> io::Result<()> {
        self.0.make_dir(path, 0o2770)
    }
    fn forward_of(&self, account: &Account) -> io::Result<Option<Vec<u8>>> {
        line::read_at_home(account, line::FORWARD)
    }
    fn vacation_of(&self, account: &Account) -> io::Result<Option<Vec<u8>>> {
        line::read_at_home(account, line::VACATION)
    }
    /// None as root.
    fn run_line(&self, line: &Line, job: Job<'_>, is_over: &mut dyn FnMut() -> bool) -> io::Result<(End, Vec<u8>)> {
        line::run_command(&Line { of: LineOf::Aliases, ..line.clone() }, job, None, is_over)
    }
    fn open_line(&self, line: &Line) -> io::Result<Option<Arc<dyn File>>> {
        line::open_file(line, None)
    }
    fn reload(&self) -> io::Result<()> {
        Ok(())
    }
}

/// See the module. Stopped when dropped.
pub(super) struct House {
    pub(super) disk: SimDisk,
    pub(super) journal: Arc<Journal>,
    pub(super) store: Arc<Store>,
    pub(super) config: Arc<Config>,
    delivery: Option<Delivery>,
}

impl House {
    /// Host me.example, with these settings.
    pub(super) fn new(settings: &str) -> House {
        House::new_by(Arc::new(SystemClock::default()), settings)
    }

    /// The same, where users have homes in this directory.
    pub(super) fn at_home(homes: &Path, settings: &str) -> House {
        let (disk, config) = prepare(settings);
        House::open_at_home(homes, disk, config)
    }

    /// The same, by this clock.
    pub(super) fn new_by(clock: Arc<dyn Clock>, settings: &str) -> House {
        let (disk, config) = prepare(settings);
        House::open_by(clock, disk, config)
    }

    /// Starts on what a disk holds.
    pub(super) fn open(disk: SimDisk, config: Arc<Config>) -> House {
        House::open_by(Arc::new(SystemClock::default()), disk, config)
    }

    /// The same, where users have homes.
    pub(super) fn open_at_home(homes: &Path, disk: SimDisk, config: Arc<Config>) -> House {
        House::open_with(Arc::new(SystemClock::default()), disk, config, Some(homes.to_owned()))
    }

    /// The same, by this clock.
    pub(super) fn open_by(clock: Arc<dyn Clock>, disk: SimDisk, config: Arc<Config>) -> House {
        House::open_with(clock, disk, config, None)
    }

    fn open_with(clock: Arc<dyn Clock>, disk: SimDisk, config: Arc<Config>, homes: Option<PathBuf>) -> House {
        let any: Arc<dyn Disk> = Arc::new(disk.clone());
        let options = Options { dir: Path::new("/spool/journal").join(&config.hostname), segment_size: 1 << 20, min_free: 0 };
        let journal = open_journal(&any, &clock, &options);
        let host: Arc<dyn Host> = Arc::new(Users(disk.clone(), homes));
        let (mail, spool) = (config.mail.clone(), config.spool.clone());
        let store = Store::new(any, clock.clone(), host.clone(), journal.clone(), mail, spool);
        let resolver = Arc::new(Resolver::new(clock.clone(), &config.dns_servers));
        let delivery = Delivery::start(config.clone(), clock, host, journal.clone(), store.clone(), resolver);
        House { disk, journal, store, config, delivery: Some(delivery) }
    }

    /// What waits.
    pub(super) fn queue(&self) -> Vec<Unsettled> {
        self.delivery().queue().collect()
    }

    pub(super) fn delivery(&self) -> &Delivery {
        self.delivery.as_ref().unwrap()
    }

    pub(super) fn office(&self) -> &Arc<Office> {
        &self.delivery().office
    }

    /// A letter with parameters for reports: `RET=HDRS`, `NOTIFY=SUCCESS`, of MAIL and of each RCPT.
    pub(super) fn post_asking(&self, mail: &[&str], rcpt: &[&str], to: &[&str], text: &str) -> Result<SpoolId, PostError> {
        let mut envelope = Envelope {
            reverse_path: ReversePath(Some("alice@me.example".parse().unwrap())),
            recipients: to.iter().map(|address| Recipient::from(address.parse::<Address>().unwrap())).collect(),
            body: Body::SevenBit,
            utf8: false,
            dsn: MailDsn::default(),
            require_tls: false,
            release: None,
            origin: Origin::Network,
        };
        let pairs = |words: &[&str]| {
            words.iter().map(|word| word.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap()).collect::<Vec<_>>()
        };
        for (name, value) in pairs(mail) {
            let is_release = Release::take(&mut envelope.release, &name, Some(&value)).unwrap();
            assert!(is_release || envelope.dsn.take(&name, Some(&value)) == Ok(true), "{name}={value}");
        }
        for recipient in &mut envelope.recipients {
            for (name, value) in pairs(rcpt) {
                assert_eq!(recipient.dsn.take(&name, Some(&value)), Ok(true));
            }
        }
        let trace =
            Trace { from: Some("test ([192.0.2.9])".into()), with: "ESMTP".into(), tls: None, submission: false, arrival: None };
        let mut letter = self.delivery().post().begin(envelope, trace)?;
        letter.write_all(text.as_bytes()).unwrap();
        letter.send()
    }

    pub(super) fn begin(&self, from: &str, to: &[&str], submission: bool) -> Result<Letter, PostError> {
        let recipients = to.iter().map(|address| Recipient::from(address.parse::<Address>().unwrap())).collect();
        let reverse_path = ReversePath((!from.is_empty()).then(|| from.parse().unwrap()));
        let envelope = Envelope {
            reverse_path,
            recipients,
            body: Body::SevenBit,
            utf8: false,
            dsn: MailDsn::default(),
            require_tls: false,
            release: None,
            origin: Origin::Network,
        };
        let trace = Trace { from: Some("test ([192.0.2.9])".into()), with: "ESMTP".into(), tls: None, submission, arrival: None };
        self.delivery().post().begin(envelope, trace)
    }

    pub(super) fn post(&self, from: &str, to: &[&str], text: &str) -> Result<SpoolId, PostError> {
        let mut letter = self.begin(from, to, false)?;
        letter.write_all(text.as_bytes()).unwrap();
        letter.send()
    }

    pub(super) fn account(&self, name: &str) -> Account {
        Users(self.disk.clone(), None).account(name).unwrap().unwrap()
    }

    /// What a mailbox holds; empty if it is not there.
    pub(super) fn mbox(&self, user: &str) -> String {
        let Ok(file) = self.disk.open(&Path::new("/mail").join(user), Open::Read) else { return String::new() };
        let mut text = vec![0; file.stat().unwrap().size as usize];
        file.read_exact_at(&mut text, 0).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until something is so; half a minute at most.
    pub(super) fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < end, "{what} did not come; queue: {:?}", self.queue());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops it in good order; gives its disk.
    pub(super) fn stop(mut self) -> (SimDisk, Arc<Config>) {
        self.delivery.take().unwrap().stop();
        (self.disk.clone(), self.config.clone())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.stop();
        }
    }
}

/// A disk, and the configuration of me.example with these settings.
fn prepare(settings: &str) -> (SimDisk, Arc<Config>) {
    let domains = if settings.contains("domains") { "" } else { "domains = [\"me.example\", \"second.example\"]\n" };
    let aliases = if settings.contains("aliases = ") { "" } else { "aliases = \"\"\n" };
    let text = format!("hostname = \"me.example\"\n{domains}{aliases}mail = \"/mail\"\nspool = \"/spool\"\n{settings}");
    let mut config = config::load::from_text("test", &text, Path::new("/"), &[]).unwrap_or_else(|report| panic!("{report}"));
    config.timeouts.stop = Duration::from_millis(200);
    // Nobody listens there.
    config.dns_servers = vec!["127.0.0.1:9".parse().unwrap()];
    let disk = SimDisk::default();
    for dir in ["/mail", "/spool"] {
        disk.make_dir(Path::new(dir), 0o755).unwrap();
    }
    (disk, Arc::new(config))
}

/// A thread of the house before may still be about to let go of the journal.
fn open_journal(disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>, options: &Options) -> Arc<Journal> {
    let end = Instant::now() + Duration::from_secs(10);
    disk.make_dir(&options.dir, 0o700).unwrap();
    let file = disk.open(&options.dir.join("lock"), Open::Create(0o600)).unwrap();
    while !file.try_lock(Lock::Exclusive).unwrap() {
        assert!(Instant::now() < end, "the journal stays locked");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(file);
    Journal::open(disk.clone(), clock.clone(), options.clone()).unwrap()
}

/// A message as it lies in the spool.
pub(super) fn read(message: &Message) -> String {
    let mut text = vec![0; message.len() as usize];
    assert_eq!(message.read_at(&mut text, 0).unwrap(), text.len());
    String::from_utf8(text).unwrap()
}
