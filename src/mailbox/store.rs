//! All mailboxes of this host: finds them, shares them among sessions, and makes them durable in turn.

use super::compact::Step;
use super::folders::Folders;
use super::inbox::{Mailbox, PATIENCE};
use super::lock::Locker;
use super::name::FolderName;
use super::places::Places;
use super::secret::Secret;
use super::tree::User;
use super::user::MailboxId;
use super::wake::Waker;
use super::watch::Watch;
use super::{Finding, Ledger, MailboxError};
use crate::host::{Account, Host};
use crate::sys::{Clock, Disk};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

/// A checkpoint compacts mailboxes for this long, and one step longer.
const TIDYING: Duration = Duration::from_millis(250);
/// Between two steps that were asked for.
const BETWEEN: Duration = Duration::from_millis(1);

/// All mailboxes of this host.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    /// By name and owner.
    users: Mutex<HashMap<(String, u32), Arc<User>>>,
    mailboxes: Mutex<HashMap<Which, Arc<Mailbox>>>,
}

/// What came of [`Store::rebuild`].
#[derive(Debug)]
pub struct Rebuilt {
    /// What was done, in sentences.
    pub done: Vec<String>,
    /// What could not be mended.
    pub left: Vec<Finding>,
}

/// One mailbox of all: its user's name and owner, and what its state is called.
type Which = (String, u32, String);

/// What all mailboxes use.
#[derive(Debug)]
pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub host: Arc<dyn Host>,
    ledger: RwLock<Arc<dyn Ledger>>,
    pub mail: PathBuf,
    pub spool: PathBuf,
    keys: OnceLock<Keys>,
    watch: OnceLock<Watch>,
    waker: Waker,
    /// Some mailbox has marks that its file has not.
    unfiled: AtomicBool,
    stir: OnceLock<Stir>,
}

/// Tells the keeper that there is work.
struct Stir(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Stir {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Stir")
    }
}

/// What only this spool has.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub secret: Secret,
    pub locker: Arc<Locker>,
}

impl Shared {
    /// Who else opens files in the mail directory.
    pub fn watch(&self) -> &Watch {
        self.watch.get_or_init(|| Watch::new(&self.mail, self.clock.elapsed()))
    }

    /// Who waits for files to change.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// May anybody put other files in the place of those in the mail directory?
    pub fn is_mail_open_to_all(&self) -> bool {
        // With the dot, the directory itself where its path is a link.
        self.disk.stat(&self.mail.join(".")).is_ok_and(|stat| stat.mode & 0o002 != 0 && stat.mode & 0o1000 == 0)
    }

    /// Is another daemon of this spool at work?
    pub fn has_peers(&self) -> bool {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner).has_peers()
    }

    /// There are marks to be written by [`Store::write_back`].
    pub fn stir(&self) {
        self.unfiled.store(true, Ordering::SeqCst);
        if let Some(Stir(stir)) = self.stir.get() {
            stir();
        }
    }

    /// The spool's secret, made when there is none.
    pub fn keys(&self) -> Result<Keys, MailboxError> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys.clone());
        }
        let secret = Secret::load(&*self.disk, &self.spool)?;
        let daemon = self.ledger.read().unwrap_or_else(PoisonError::into_inner).name();
        let keys = Keys { locker: Arc::new(Locker::new(secret.mark(&daemon)).with_broker(self.host.clone())), secret };
        Ok(self.keys.get_or_init(|| keys).clone())
    }
}

impl Store {
    /// A key that is always the same for the same purpose, and different in each spool.
    pub fn secret_for(&self, purpose: &str) -> Result<ring::hmac::Key, MailboxError> {
        Ok(self.shared.keys()?.secret.derive(purpose))
    }

    /// Mailboxes lie in `mail`, their state below `spool`; `ledger` is told what became durable.
    pub fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        host: Arc<dyn Host>,
        ledger: Arc<dyn Ledger>,
        mail: PathBuf,
        spool: PathBuf,
    ) -> Arc<Store> {
        let shared = Shared {
            disk,
            clock,
            host,
            ledger: RwLock::new(ledger),
            mail,
            spool,
            keys: OnceLock::new(),
            watch: OnceLock::new(),
            waker: Waker::default(),
            unfiled: AtomicBool::new(false),
            stir: OnceLock::new(),
        };
        if shared.is_mail_open_to_all() {
            let path = shared.mail.display();
            log::warn!(
                "event=mail-directory-open path={path} anybody can replace any mailbox there; its mode should be 2775 or 1777"
            );
        }
        Arc::new(Store { shared: Arc::new(shared), users: Mutex::default(), mailboxes: Mutex::default() })
    }

    /// `stir` is called when there is work for [`Store::write_back`], which is to come within a second.
    pub fn on_work(&self, stir: impl Fn() + Send + Sync + 'static) {
        let _ = self.shared.stir.set(Stir(Box::new(stir)));
    }

    /// Writes changed marks into the files.
    pub fn write_back(&self) {
        if self.shared.unfiled.swap(false, Ordering::SeqCst) {
            self.all().iter().for_each(|mailbox| mailbox.write_back(&mut mailbox.inner()));
        }
    }

    fn all(&self) -> Vec<Arc<Mailbox>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn user(&self, account: &Account) -> Result<Arc<User>, MailboxError> {
        let name = &account.name;
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) || name.ends_with(".lock") {
            return Err(MailboxError::Refused("this name can't have a mailbox"));
        }
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(User::new(account, &self.shared));
        Ok(users.entry((name.clone(), account.uid)).or_insert_with(made).clone())
    }

    /// The account's INBOX, which everybody has. Nothing is opened yet.
    pub fn inbox(&self, account: &Account) -> Result<Arc<Mailbox>, MailboxError> {
        let which = (account.name.clone(), account.uid, Places::INBOX.to_owned());
        // Every delivery asks: most are for one that is known.
        if let Some(mailbox) = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).get(&which) {
            return Ok(mailbox.clone());
        }
        let user = self.user(account)?;
        // Before the map is locked: it may touch the disk.
        let keys = self.shared.keys()?;
        self.shared.watch();
        let places = Places::of_inbox(&self.shared.spool, &account.name, &self.shared.mail);
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Mailbox::new(user, self.shared.disk.clone(), places, keys));
        Ok(mailboxes.entry(which).or_insert_with(made).clone())
    }

    /// A folder of the account. INBOX is always there, any other must have been made.
    pub fn open(&self, account: &Account, name: &FolderName) -> Result<Arc<Mailbox>, MailboxError> {
        if name.is_inbox() {
            return self.inbox(account);
        }
        let mailbox = self.folders(account)?.open(name)?;
        let which = (account.name.clone(), account.uid, mailbox.places.base.clone());
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).insert(which, mailbox.clone());
        Ok(mailbox)
    }

    /// A folder by what [`Mailbox::folder`] tells, whatever it is called now.
    pub fn by_id(&self, account: &Account, id: &str) -> Result<Arc<Mailbox>, MailboxError> {
        let Ok(id) = id.parse::<MailboxId>() else {
            return if id == "INBOX" { self.inbox(account) } else { Err(MailboxError::Nonexistent) };
        };
        let name = self.user(account)?.log(|log| Ok(log.sum.name_of(id).cloned()))?;
        self.open(account, &name.ok_or(MailboxError::Nonexistent)?)
    }

    /// Where all of it lies.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.shared.disk.clone()
    }

    /// The account's folders.
    pub fn folders(&self, account: &Account) -> Result<Folders, MailboxError> {
        Ok(Folders::of(self.user(account)?))
    }

    /// The same, for a session that begins and shows them (IMAP, webmail): at the user's first one the folders for special uses
    /// are made. Where that can't be, the session goes on without them, and the next one tries again.
    pub fn log_in(&self, account: &Account) -> Result<Folders, MailboxError> {
        let folders = self.folders(account)?;
        if let Err(error) = folders.ensure_special() {
            log::warn!("event=no-special-folders user={} error={error}", account.name);
        }
        Ok(folders)
    }

    /// From now on this one is told what became durable, in place of the ledger it was made with.
    pub fn tell(&self, ledger: Arc<dyn Ledger>) {
        *self.shared.ledger.write().unwrap_or_else(PoisonError::into_inner) = ledger;
    }

    /// Makes every delivered copy durable and tells the ledger. Called by the keeper every few seconds, and at the end.
    pub fn checkpoint(&self) {
        let all = self.all();
        let mut settled = Vec::new();
        let mut done = Vec::new();
        for mailbox in all {
            let copies = mailbox.make_durable();
            settled.extend(copies.iter().map(|copy| mailbox.outcome(copy)));
            done.push((mailbox, copies));
        }
        let told = settled.is_empty() || self.told(&settled);
        let mut all = Vec::new();
        for (mailbox, copies) in done {
            mailbox.settled(copies, told);
            all.push(mailbox);
        }
        let until = self.shared.clock.elapsed() + TIDYING;
        for mailbox in all {
            while mailbox.tidy() && self.shared.clock.elapsed() < until {}
        }
        self.let_go();
    }

    /// Takes the room of the dead in a mailbox back, in steps, whoever else may have the file open. Tells how many bytes moved
    /// and how many were given back.
    pub fn compact(&self, mailbox: &Arc<Mailbox>) -> Result<(u64, u64), MailboxError> {
        let (mut moved, mut freed, mut waited) = (0, 0, Duration::ZERO);
        loop {
            self.settle(mailbox);
            match mailbox.compact_by_command()? {
                Step::Moved(bytes) => (moved, waited) = (moved + bytes, Duration::ZERO),
                Step::Cut(bytes) => freed += bytes,
                Step::Done => return Ok((moved, freed)),
                Step::NotNow if waited >= PATIENCE => return Err(MailboxError::Busy),
                Step::NotNow => waited += BETWEEN,
            }
            // Those who wait for the mailbox come first.
            let _ = self.shared.clock.after(BETWEEN).recv();
        }
    }

    /// Mends what is wrong with a mailbox, tells what was done, and what is wrong still. What the journal has for it must have
    /// been looked for before ([`Mailbox::recover`]).
    pub fn rebuild(&self, mailbox: &Arc<Mailbox>) -> Result<Rebuilt, MailboxError> {
        self.settle(mailbox);
        let mut done = mailbox.repair()?;
        self.settle(mailbox);
        done.extend(mailbox.put_aside()?);
        self.settle(mailbox);
        Ok(Rebuilt { done, left: mailbox.inspect()? })
    }

    /// A checkpoint of one mailbox.
    fn settle(&self, mailbox: &Mailbox) {
        let copies = mailbox.make_durable();
        let settled: Vec<_> = copies.iter().map(|copy| mailbox.outcome(copy)).collect();
        let told = settled.is_empty() || self.told(&settled);
        mailbox.settled(copies, told);
    }

    fn told(&self, outcomes: &[crate::spool::Outcome]) -> bool {
        let ledger = self.shared.ledger.read().unwrap_or_else(PoisonError::into_inner).clone();
        match ledger.settle(outcomes) {
            Ok(()) => true,
            Err(error) => {
                log::error!("event=settle-failed copies={} error={error}", outcomes.len());
                false
            }
        }
    }

    /// Forgets mailboxes that nobody uses.
    fn let_go(&self) {
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        mailboxes.retain(|_, mailbox| {
            let keep = Arc::strong_count(mailbox) > 1 || !mailbox.is_idle();
            if !keep {
                mailbox.end();
            }
            keep
        });
        drop(mailboxes);
        self.users.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, user| Arc::strong_count(user) > 1);
    }

    /// A clean end: a last checkpoint, and each mailbox notes its next UID.
    pub fn close(&self) {
        self.checkpoint();
        for mailbox in self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).values() {
            mailbox.end();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for mailbox in self.mailboxes.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            mailbox.end();
        }
    }
}
