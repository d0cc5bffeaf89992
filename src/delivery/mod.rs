//! From a letter to its outcomes.
//!
//! * `post`: the one door. A [`Letter`] is mended (`mend`, `trace`) while it is written, committed to the journal, and then
//!   makes its `first_round`: local copies at once, the rest to the queue-runner.
//!   `sealing` signs it if it is a user's.
//! * `filing`: the door for what sessions put into folders, `rename` for all of INBOX; `places`: what is left of that after a
//!   crash.
//! * `pickup`: what was left for us while we were not there. `scheduled`: what a user wants to leave later; `click`: what leaves
//!   a list by one click.
//! * `chosen`: what users set here: replies while they are away, and where their mail goes (`forwarding`). `junk`: what they teach,
//!   and what follows from it for mail that comes.
//! * `route`: where an address leads, by the configuration (`whose`), `aliases` and `.forward` files; `search`: all ways to their
//!   ends. `expand`: a recipient that stands for others; `list`: one that is a mailing list.
//! * `local`, `remote`, `program`, `lines`: one try, for mailboxes here, for another host, which `mx` finds, for a program, and for
//!   what lines of alias files name; `vacation`: the reply of who is away. `survey`: a look at a message before it is sent,
//!   `manner`: how a host is talked to, `sts`: what its domain says of that, `answers`: what the host's own words mean.
//! * `outcome`: what a try came to: the journal is told, the sender gets a `report` (`bounce` is its text, `enclosure` what it
//!   gives back) unless another receiver is set (`alternative`), the rest waits (`schedule`).
//! * `table`: what waits and for what, `lanes` to each destination, and what lies `ready` there; pure. `hosts`: who did not
//!   answer. `runner`: the thread that watches the time, and the delivery threads.
//! * `recover`: after a crash, which local copies are there already. `keeper`: checkpoints and housekeeping. `clerk`: writes
//!   down what other hosts have taken. `recent`: what need not be read again.
//! * `feedback`: what domains are told of the mail that came in their name (DMARC).
//! * `operator`: what pillarboxctl asks for.
//!
//! The journal knows which recipients are unsettled; the table knows those that somebody still has to serve. The difference
//! is the local copies that lie in a mailbox and wait for the next checkpoint: nobody may deliver these again.

mod aliases;
mod alternative;
mod answers;
mod bounce;
mod chosen;
mod clerk;
mod click;
mod enclosure;
mod expand;
mod feedback;
mod filing;
mod forwarding;
mod hosts;
mod junk;
mod keeper;
mod lanes;
mod lines;
mod list;
mod local;
mod manner;
mod mend;
mod mx;
mod operator;
mod outcome;
mod pickup;
mod places;
mod post;
mod program;
mod quota;
mod rates;
mod ready;
mod recent;
mod recover;
mod remote;
mod rename;
mod report;
mod route;
mod runner;
mod schedule;
mod scheduled;
mod sealing;
mod search;
mod sts;
mod survey;
mod table;
#[cfg(test)]
mod tests;
mod trace;
mod vacation;
mod whose;

pub use aliases::{check as check_aliases, has_line as alias_file_has};
pub use click::{Link, Unclicked};
pub use filing::{Batch, FileError, Filed};
pub use forwarding::Forwarding;
pub use junk::{Lessons, Taught};
pub use list::{HeldPost, Leaving, ListError, ShownList};
pub use operator::{Counts, May, Operated, Operation, Which};
pub use pickup::MOST_RECIPIENTS;
pub use post::{Letter, Post};
pub use rates::Rates;
pub use rename::RenameError;
pub use scheduled::Scheduled;
pub use sts::policy;
pub use vacation::Wishes;

use crate::config::{Config, Program, Site};
use crate::host::program::GRACE;
use crate::host::{Account, Host};
use crate::mail::vacation::Vacation;
use crate::mail::{Address, Recipient};
use crate::mailbox::{Mailbox, MailboxError, Store};
use crate::net::Registry;
use crate::net::dns::Resolver;
use crate::net::tls::ClientTls;
use crate::spool::{Entry, Glance, Journal, SpoolError, SpoolId, Unsettled};
use crate::sys::Clock;
use crate::trust::Arrival;
use crate::trust::dkim::Keyring;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A mailbox here.
    Local(Account),
    /// Another host, by MX of this domain (or a literal), a configured route or the smarthost.
    Remote(Hop),
    /// To what is found out when the message is there: the address stands for others.
    Expand,
    /// One of our domains, but nobody of that name.
    NoUser,
}

/// Where remote mail goes next; equal hops share connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hop {
    /// By DNS: the domain's MX, or its addresses. In lower case.
    Domain(String),
    /// A fixed host and port.
    Host(String, u16),
    /// An address literal.
    Literal(std::net::IpAddr),
    /// A store that speaks LMTP.
    Lmtp(Site),
    /// No host, but a program of this one.
    Program(Arc<Program>),
}

impl fmt::Display for Hop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hop::Domain(domain) => out.write_str(domain),
            Hop::Host(host, port) => write!(out, "{host}:{port}"),
            Hop::Literal(ip) => write!(out, "[{ip}]"),
            Hop::Lmtp(Site::Host(host, port)) => write!(out, "lmtp:{host}:{port}"),
            Hop::Lmtp(Site::Unix(path)) => write!(out, "lmtp:unix:{}", path.display()),
            Hop::Program(program) => out.write_str(&program.words.join(" ")),
        }
    }
}

/// What the trace field says of a letter (RFC 5321 §4.4).
#[derive(Clone, Debug)]
pub struct Trace {
    /// `from` clause, ready to print: `helo (address)`; None for letters made by this daemon (no Received field is added then).
    pub from: Option<String>,
    /// `SMTP`, `ESMTP`, `ESMTPS`, `ESMTPA`, `ESMTPSA` (RFC 3848), `LMTP`, `UTF8SMTP` (RFC 6531 §4.3) and its like.
    pub with: String,
    /// A comment such as `(TLS1.3 TLS_AES_256_GCM_SHA384)`.
    pub tls: Option<String>,
    /// A submission: a missing Date and Message-ID are added, Bcc is removed (RFC 6409 §8).
    pub submission: bool,
    /// How it arrives, if what it says of its sender is to be checked (see [`crate::trust`]).
    pub arrival: Option<Arrival>,
}

/// Why a letter was not taken.
#[derive(Debug)]
pub enum PostError {
    /// 452 4.3.1
    Full,
    /// 554 5.4.6: a hundred Received fields.
    Loop,
    /// 552 5.3.4 header too big.
    HeaderTooBig,
    /// 550 5.7.1: the domain of its author wants mail refused that nothing speaks for.
    Unwanted(String),
    /// 451 4.3.0
    Io(String),
    /// Close without a reply: see SpoolError::Uncertain.
    Uncertain,
}

impl From<SpoolError> for PostError {
    fn from(error: SpoolError) -> PostError {
        match error {
            SpoolError::Full => PostError::Full,
            SpoolError::Uncertain => PostError::Uncertain,
            other => PostError::Io(other.to_string()),
        }
    }
}

impl fmt::Display for PostError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PostError::Full => out.write_str("disk full"),
            PostError::Loop => out.write_str("mail loop"),
            PostError::HeaderTooBig => out.write_str("header too big"),
            PostError::Unwanted(domain) => write!(out, "unwanted by {domain}"),
            PostError::Io(why) => out.write_str(why),
            PostError::Uncertain => out.write_str("disk failed at commit"),
        }
    }
}

/// Everything that moves mail: the post, the queue-runner thread, the keeper thread (checkpoints, housekeeping).
#[derive(Debug)]
pub struct Delivery {
    office: Arc<Office>,
    post: Arc<Post>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What all parts of this room share.
#[derive(Debug)]
struct Office {
    config: RwLock<Arc<Config>>,
    /// What names stand for.
    tables: RwLock<Arc<aliases::Tables>>,
    clock: Arc<dyn Clock>,
    host: Arc<dyn Host>,
    journal: Arc<Journal>,
    store: Arc<Store>,
    resolver: Arc<Resolver>,
    /// For hosts of which nothing is known; nobody's certificate is checked (RFC 7435).
    tls: ClientTls,
    /// What domains say of their hosts.
    policies: Arc<sts::Policies>,
    /// The outbound connections.
    outbound: Registry,
    table: Mutex<table::Table>,
    hosts: Mutex<hosts::Hosts>,
    runner: runner::Wake,
    keeper: keeper::Wake,
    clerk: clerk::Clerk,
    recent: recent::Recent,
    pickup: pickup::Wake,
    recovery: recover::Recovery,
    /// Of mailing lists.
    desk: list::Desk,
    /// Of DMARC.
    feedback: feedback::Feedback,
    /// What users take for junk.
    learner: junk::Learner,
    /// Copies here of which senders want to hear.
    expected: report::Expected,
    /// Outcomes that could not be written yet.
    unwritten: Mutex<Vec<crate::spool::Outcome>>,
    stopping: AtomicBool,
    /// What our users' mail is signed with.
    keyring: RwLock<Arc<Keyring>>,
    /// How many programs run.
    programs: AtomicUsize,
}

/// A recipient, by its index in the envelope.
fn recipient(entry: &Entry, index: u32) -> Option<&Recipient> {
    entry.envelope.recipient(index)
}

/// Its address.
fn address(entry: &Entry, index: u32) -> Option<&Address> {
    recipient(entry, index).map(|recipient| &recipient.address)
}

impl Office {
    fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tables(&self) -> Arc<aliases::Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The table, even after a panic of another thread: each of its acts leaves it whole.
    fn table(&self) -> MutexGuard<'_, table::Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hosts that did not answer.
    fn hosts(&self) -> MutexGuard<'_, hosts::Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keyring(&self) -> Arc<Keyring> {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

impl Delivery {
    /// Recovers local copies, starts the threads. Returns before anything is sent; the caller opens its listeners afterwards,
    /// so no new copy is appended before the old ones were looked for.
    pub fn start(
        config: Arc<Config>,
        clock: Arc<dyn Clock>,
        host: Arc<dyn Host>,
        journal: Arc<Journal>,
        store: Arc<Store>,
        resolver: Arc<Resolver>,
    ) -> Delivery {
        let (runner, woken) = runner::Wake::new();
        let (keeper, kept) = keeper::Wake::new();
        let (clerk, notes) = clerk::Clerk::new();
        let own = |room: std::path::PathBuf| room.join(config.hostname.to_ascii_lowercase());
        let (file, reports) = (own(config.spool.join("mta-sts")), own(config.spool.join("dmarc")));
        let feedback = feedback::Feedback::new(reports, clock.now(), &journal);
        let (learner, lessons) = junk::Learner::new(&config.spool);
        let office = Arc::new(Office {
            policies: sts::Policies::new(clock.clone(), resolver.clone(), file),
            tables: RwLock::new(Arc::new(aliases::Tables::new(&config, store.disk()))),
            config: RwLock::new(config),
            clock,
            host,
            journal,
            store,
            resolver,
            tls: ClientTls::opportunistic(),
            outbound: Registry::default(),
            table: Mutex::default(),
            hosts: Mutex::default(),
            runner,
            keeper,
            clerk,
            recent: recent::Recent::default(),
            pickup: pickup::Wake::new(),
            recovery: recover::Recovery::default(),
            desk: list::Desk::default(),
            feedback,
            learner,
            expected: report::Expected::default(),
            unwritten: Mutex::default(),
            stopping: AtomicBool::new(false),
            keyring: RwLock::default(),
            programs: AtomicUsize::new(0),
        });
        office.store.tell(Arc::new(report::Registrar::new(&office)));
        let keeper = Arc::downgrade(&office);
        office.store.on_work(move || keeper.upgrade().iter().for_each(|office| office.keeper.stir()));
        pickup::give_back(&office, &office.journal.name());
        recover::begin(&office, &office.journal.ids());
        let (clerk, learner) = (clerk::start(&office, notes), junk::start(&office, lessons));
        let threads: [_; THREADS] = [runner::start(&office, woken), keeper::start(&office, kept), clerk, learner];
        let threads = threads.into_iter().flatten().collect();
        Delivery { post: Arc::new(Post::new(office.clone())), office, threads: Mutex::new(threads) }
    }

    /// The door for new letters.
    pub fn post(&self) -> Arc<Post> {
        self.post.clone()
    }

    /// Picks up what was left in the drop directory, from now on.
    pub fn pick_up(&self) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).extend(pickup::start(&self.office));
    }

    /// Signs what users send with these keys, from now on.
    pub fn sign_with(&self, keyring: Keyring) {
        *self.office.keyring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
    }

    /// New configuration for what begins from now on.
    pub fn reload(&self, config: Arc<Config>) {
        let tables = Arc::new(aliases::Tables::new(&config, self.office.store.disk()));
        *self.office.tables.write().unwrap_or_else(PoisonError::into_inner) = tables;
        *self.office.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        self.office.runner.wake();
    }

    /// Where an address leads, and all ways in words, with the depth of each step.
    pub fn explain(&self, address: &Address) -> io::Result<(Route, Vec<(usize, String)>)> {
        let route = match self.office.route(address)? {
            Route::Local(account) if self.office.forward(&account)?.is_some() => Route::Expand,
            route => route,
        };
        Ok((route, self.office.expand(address)?.steps))
    }

    /// What a user who is away wants mail to be answered with; none: nothing.
    pub fn vacation(&self, account: &Account) -> io::Result<Option<Wishes>> {
        self.office.vacation(account)
    }

    /// Sets it, or takes it back. Then the user's own file counts, if there is one.
    pub fn set_vacation(&self, account: &Account, vacation: Option<&Vacation>) -> io::Result<()> {
        self.office.set_vacation(account, vacation)
    }

    /// Where a user's mail goes by what was set here; none: where it goes otherwise.
    pub fn forwarding(&self, account: &Account) -> io::Result<Option<Forwarding>> {
        Ok(self.office.forwarding(account)?.map(|(_, forwarding)| forwarding))
    }

    /// Sets it, or takes it back. Then the user's own `.forward` counts, if there is one.
    pub fn set_forwarding(&self, account: &Account, forwarding: Option<&Forwarding>) -> io::Result<()> {
        self.office.set_forwarding(account, forwarding)
    }

    /// What waits, in order of arrival; without the copies that only wait for a checkpoint of their mailbox. There may be a
    /// million: each is looked up when it is asked for, and left out if it is settled by then.
    pub fn queue(&self) -> impl Iterator<Item = Unsettled> + '_ {
        operator::queue(&self.office)
    }

    /// How much waits; without those copies, too.
    pub fn counts(&self) -> Counts {
        operator::counts(&self.office)
    }

    /// What waits of one message.
    pub fn waiting(&self, id: SpoolId) -> Option<Unsettled> {
        operator::waiting(&self.office, id)
    }

    /// A queued message, to be looked at: see [`Journal::peek`].
    pub fn entry(&self, id: SpoolId) -> Result<Entry, SpoolError> {
        self.office.journal.peek(id)
    }

    /// To look through the queue: see [`Glance`].
    pub fn glance(&self) -> Glance<'_> {
        self.office.journal.glance()
    }

    /// Makes messages due now, and forgets which hosts did not answer. Gives the number of messages.
    pub fn flush(&self, which: &Which) -> usize {
        operator::flush(&self.office, which)
    }

    /// Holds, releases or removes what is meant, and is one of those that `may` be, if that is told. What is being delivered at
    /// this moment is left alone.
    pub fn operate(&self, operation: Operation, which: &Which, may: May<'_>) -> Result<Operated, SpoolError> {
        operator::operate(&self.office, operation, which, may)
    }

    /// Sends the form by which a user leaves somebody's mailing list (RFC 8058). May wait.
    pub fn click(&self, link: &Link) -> Result<(), Unclicked> {
        click::click(&self.office, link)
    }

    /// What of a user's waits because it is to leave later, the one that leaves first on top. After a start some may come a
    /// moment later.
    pub fn scheduled(&self, user: &str) -> Vec<Scheduled> {
        scheduled::of(&self.office, user)
    }

    /// Removes or expedites one of these. False: it is none, or not any more; it may be leaving at this moment.
    pub fn reschedule(&self, operation: Operation, user: &str, id: SpoolId) -> Result<bool, SpoolError> {
        scheduled::operate(&self.office, operation, user, id)
    }

    /// Before a mailbox is rebuilt: looks which copies that a crash left in it the journal still has, if that was not done yet.
    pub fn look_for_copies(&self, account: &Account, mailbox: &Mailbox) -> Result<(), MailboxError> {
        let target = places::Target { account: account.clone(), folder: mailbox.folder().to_owned() };
        self.office.recovery.settle_mailbox(&self.office, &target)
    }

    /// Takes over the journal of another host, which the operator knows to be off; it is delivered from here on. Gives the
    /// number of messages.
    pub fn adopt(&self, host: &str) -> Result<usize, SpoolError> {
        let ids = self.office.journal.adopt(host)?;
        pickup::give_back(&self.office, host.as_bytes());
        recover::begin(&self.office, &ids);
        self.office.runner.wake();
        Ok(ids.len())
    }

    /// Do all threads still run that were started for good?
    pub fn is_running(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.len() >= THREADS && threads.iter().all(|thread| !thread.is_finished())
    }

    /// See [`Journal::try_out`].
    pub fn try_spool(&self) -> io::Result<()> {
        self.office.journal.try_out()
    }

    /// No new tries; running ones get the time of `timeouts.stop`, then their connections are cut and their programs ended;
    /// last checkpoint.
    pub fn stop(&self) {
        self.office.stopping.store(true, Ordering::SeqCst);
        self.office.runner.wake();
        self.office.pickup.wake();
        let (patience, begun) = (self.office.config().timeouts.stop, Instant::now());
        if !self.office.outbound.wait_until_empty(patience) {
            self.office.outbound.cut_all();
        }
        let for_programs = match self.office.programs.load(Ordering::SeqCst) {
            0 => Duration::ZERO,
            _ => patience.saturating_sub(begun.elapsed()) + GRACE,
        };
        runner::wait_until_idle(&self.office, for_programs + AFTER_CUT);
        self.office.keeper.wake();
        self.office.clerk.dismiss();
        self.office.learner.dismiss();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
        keeper::write_what_is_left(&self.office);
        self.office.store.close();
        self.office.journal.close();
    }
}

/// Threads that run from the start to the end.
const THREADS: usize = 4;

/// How long delivery threads may take to notice that their connection is gone.
const AFTER_CUT: Duration = Duration::from_secs(2);
