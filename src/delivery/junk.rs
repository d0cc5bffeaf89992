//! Junk ([`crate::junk`]): learned when a user moves mail into Junk or out of it, puts it away from INBOX, or sets a keyword that
//! says what it is; and told of mail that comes for that user.
//!
//! What a session does comes first: it leaves a lesson, some bytes, for the learner, a thread that reads the message where it is
//! then. Lessons that wait are bounded, and lost when the daemon is killed. What was learned stands in `<spool>/junk/USER`.
//!
//! A message that is judged is sent on in a record of its own, as one to an alias is ([`expand`]), with what was found on top, and
//! the folder that it goes to: after a crash it is the same message, whatever was learned since. If anything goes wrong it is
//! delivered as if nobody had looked.

use super::expand::{self, Sender as From};
use super::outcome::Verdict;
use super::places::Target;
use super::route::{End, INBOX, To};
use super::runner::spawn;
use super::{Delivery, Office, Post, local, program};
use crate::auth::Shown;
use crate::config::Junk;
use crate::host::Account;
use crate::junk::{self, Judgement, Kind, Learned, MOST_READ, Memory, Tokens};
use crate::mail::Origin;
use crate::mail::mboxrd::ToWire;
use crate::mailbox::{Mailbox, MailboxError, SpecialUse, Uid, View};
use crate::spool::{Draft, Entry, Message, Outcome, SpoolError, Status};
use crate::sys::listing::Listing;
use crate::sys::{File, Lock, Open};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Commands whose lessons may wait.
const MOST_WAITING: usize = 256;
/// Messages of one command that are learned; more are no people's choice.
const MOST_OF_ONE: usize = 10_000;
/// Messages that are learned between two writes of the file.
const AT_ONCE: usize = 500;
/// At the end of the daemon, lessons that wait are gone on with for so long.
const AT_THE_END: Duration = Duration::from_secs(5);

/// How often another daemon that learns is waited for, and for how long each time.
const LOCK_TRIES: u32 = 500;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// The way to the learner.
#[derive(Debug)]
pub(super) struct Learner {
    /// Without a lesson: it may go home.
    lessons: Sender<Option<Lesson>>,
    /// Who has taught anything.
    taught: Listing,
}

/// These messages are of this kind.
#[derive(Debug)]
pub(super) struct Lesson {
    account: Account,
    folder: String,
    uids: Vec<Uid>,
    kind: Kind,
}

/// What came of lessons.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Lessons {
    /// Messages that were new.
    pub new: usize,
    /// Those that had been learned as the other kind.
    pub changed: usize,
    /// Those that were known.
    pub known: usize,
}

/// What a user has taught.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Taught {
    /// Messages of each kind.
    pub learned: junk::Counts,
    /// Tokens that are known of them.
    pub tokens: usize,
}

impl Learner {
    /// With what the thread waits on.
    pub(super) fn new(spool: &std::path::Path) -> (Learner, Receiver<Option<Lesson>>) {
        let (lessons, waiting) = bounded(MOST_WAITING);
        (Learner { lessons, taught: Listing::new(spool.join("junk")) }, waiting)
    }

    /// After what waits, it may go home.
    pub(super) fn dismiss(&self) {
        let _ = self.lessons.send(None);
    }

    fn teach(&self, account: &Account, mailbox: &Mailbox, uids: &[Uid], kind: Kind) {
        let uids = uids.get(..MOST_OF_ONE).unwrap_or(uids).to_vec();
        let lesson = Lesson { account: account.clone(), folder: mailbox.folder().to_owned(), uids, kind };
        if self.lessons.try_send(Some(lesson)).is_err() {
            log::warn!("event=not-learned user={} kind={} reason=\"too much waits\"", account.name, kind.name());
        }
    }

    fn path(&self, account: &Account) -> PathBuf {
        self.taught.dir().join(&account.name)
    }
}

/// Starts the learner.
pub(super) fn start(office: &Arc<Office>, lessons: Receiver<Option<Lesson>>) -> Option<JoinHandle<()>> {
    let office = office.clone();
    spawn("learner", move || {
        let mut end = None;
        while let Ok(Some(lesson)) = lessons.recv() {
            for uids in lesson.uids.chunks(AT_ONCE) {
                if office.is_stopping() && office.clock.elapsed() > *end.get_or_insert(office.clock.elapsed() + AT_THE_END) {
                    return log::warn!("event=not-learned reason=\"the daemon ends\"");
                }
                match office.learn(&lesson.account, &lesson.folder, uids, lesson.kind) {
                    Ok(lessons) => told(&lesson.account, lesson.kind, lessons),
                    Err(error) => log::warn!(
                        "event=not-learned user={} kind={} reason=\"{error}\"",
                        lesson.account.name,
                        lesson.kind.name()
                    ),
                }
            }
        }
    })
}

fn told(account: &Account, kind: Kind, Lessons { new, changed, known }: Lessons) {
    log::info!("event=learned user={} kind={} new={new} changed={changed} known={known}", account.name, kind.name());
}

/// A session has put messages from one folder into another.
pub(super) fn moved(office: &Office, account: &Account, from: &Mailbox, to: &Mailbox, uids: &[Uid]) {
    if office.config().junk == Junk::Off || uids.is_empty() {
        return;
    }
    let uses = office.store.folders(account).and_then(|folders| Ok((folders.use_of(from)?, folders.use_of(to)?)));
    let kind = match uses {
        Ok((Some(SpecialUse::Junk), Some(SpecialUse::Junk | SpecialUse::Trash))) => return,
        Ok((_, Some(SpecialUse::Junk))) => Kind::Junk,
        Ok((_, Some(SpecialUse::Trash | SpecialUse::Sent | SpecialUse::Drafts))) => return,
        Ok((Some(SpecialUse::Junk), _)) => Kind::Good,
        // What is put away is kept.
        Ok(_) if from.folder() == INBOX => Kind::Good,
        Ok(_) => return,
        Err(error) => return log::warn!("event=not-learned user={} reason=\"{error}\"", account.name),
    };
    office.learner.teach(account, to, uids, kind);
}

impl Post {
    /// A session has given keywords to messages, these among them or alone.
    pub fn marked(&self, account: &Account, mailbox: &Mailbox, uids: &[Uid], keywords: &[&str]) {
        let office = self.office();
        if let Some(kind) = Kind::of_keywords(keywords.iter().copied()) {
            if office.config().junk != Junk::Off && !uids.is_empty() {
                office.learner.teach(account, mailbox, uids, kind);
            }
        }
    }
}

impl Delivery {
    /// What a user has taught; none: nothing.
    pub fn taught(&self, account: &Account) -> io::Result<Option<Taught>> {
        let office = &self.office;
        let memory = Memory::load(office.journal.disk(), &office.learner.path(account))?;
        Ok(memory.map(|memory| Taught { learned: memory.learned(), tokens: memory.tokens() }))
    }

    /// Learns all that is in Junk as junk, or all that is in INBOX as good.
    pub fn learn_folder(&self, account: &Account, kind: Kind) -> Result<Lessons, MailboxError> {
        let office = &self.office;
        let folder = match kind {
            Kind::Good => INBOX.to_owned(),
            Kind::Junk => office.store.folders(account)?.for_use(SpecialUse::Junk)?.ok_or(MailboxError::Nonexistent)?.to_string(),
        };
        let messages = office.store.by_id(account, &folder)?.view()?.messages()?;
        let uids: Vec<Uid> = messages.iter().map(|message| message.uid).collect();
        let mut all = Lessons::default();
        for uids in uids.chunks(AT_ONCE) {
            all.add(office.learn(account, &folder, uids, kind)?);
        }
        Ok(all)
    }

    /// Learns messages in wire form, or as much of their beginning as [`MOST_READ`].
    pub fn learn_messages(&self, account: &Account, kind: Kind, messages: &[Vec<u8>]) -> io::Result<Lessons> {
        let office = &self.office;
        let host = &office.config().hostname;
        office.change(account, |memory| {
            let mut lessons = Lessons::default();
            messages.iter().for_each(|message| lessons.count(memory.learn(&Tokens::of(message, host), kind)));
            lessons
        })
    }

    /// Forgets all that a user has taught.
    pub fn forget_junk(&self, account: &Account) -> io::Result<()> {
        let office = &self.office;
        let (disk, path) = (office.journal.disk(), office.learner.path(account));
        let _alone = office.alone()?;
        match disk.remove(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| disk.sync_dir(office.learner.taught.dir())),
        }
    }
}

impl Lessons {
    fn count(&mut self, learned: Learned) {
        *match learned {
            Learned::New => &mut self.new,
            Learned::Changed => &mut self.changed,
            Learned::Known => &mut self.known,
        } += 1;
    }

    /// Both together.
    pub fn add(&mut self, other: Lessons) {
        self.new += other.new;
        self.changed += other.changed;
        self.known += other.known;
    }

    fn is_news(self) -> bool {
        self.new + self.changed > 0
    }
}

impl Office {
    /// Learns messages of a folder; those that are gone are passed over.
    fn learn(&self, account: &Account, folder: &str, uids: &[Uid], kind: Kind) -> Result<Lessons, MailboxError> {
        let view = match self.store.by_id(account, folder).and_then(|mailbox| mailbox.view()) {
            Err(MailboxError::Nonexistent | MailboxError::Gone) => return Ok(Lessons::default()),
            view => view?,
        };
        let host = &self.config().hostname;
        let mut all = Vec::with_capacity(uids.len());
        // Who waits for the file is not to wait for the mailbox.
        for uid in uids {
            match content(&view, *uid) {
                Ok(message) => all.push(Tokens::of(&message, host)),
                Err(MailboxError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.change(account, |memory| {
            let mut lessons = Lessons::default();
            all.iter().for_each(|tokens| lessons.count(memory.learn(tokens, kind)));
            lessons
        })?)
    }

    /// Changes what a user has taught, alone, durably. One that is damaged is begun anew.
    fn change(&self, account: &Account, act: impl FnOnce(&mut Memory) -> Lessons) -> io::Result<Lessons> {
        let (disk, path) = (self.journal.disk(), self.learner.path(account));
        let _alone = self.alone()?;
        let mut memory = match Memory::load(disk, &path) {
            Ok(Some(memory)) => memory,
            Err(error) if error.kind() != ErrorKind::InvalidData => return Err(error),
            none => {
                if none.is_err() {
                    log::error!(
                        "event=junk-damaged user={} path={} what was learned is begun anew",
                        account.name,
                        path.display()
                    );
                }
                let mut key = [0; 16];
                getrandom::fill(&mut key).map_err(io::Error::other)?;
                Memory::new(key)
            }
        };
        let lessons = act(&mut memory);
        if lessons.is_news() {
            memory.save(disk, &path)?;
        }
        Ok(lessons)
    }

    /// Until it is dropped no daemon of this spool writes what is learned.
    fn alone(&self) -> io::Result<Arc<dyn File>> {
        let (disk, dir) = (self.journal.disk(), self.learner.taught.dir());
        disk.make_dir(dir, 0o700)?;
        let file = disk.open(&dir.join(".lock"), Open::Create(0o600))?;
        for _ in 0..LOCK_TRIES {
            if file.try_lock(Lock::Exclusive)? {
                return Ok(file);
            }
            thread::sleep(LOCK_WAIT);
        }
        Err(io::Error::new(ErrorKind::TimedOut, "another daemon learns"))
    }
}

fn content(view: &View, uid: Uid) -> Result<Vec<u8>, MailboxError> {
    let mut message = Vec::new();
    view.read(uid)?.take(MOST_READ as u64).read_to_end(&mut message).map_err(MailboxError::of_reader)?;
    Ok(message)
}

/// A message for a mailbox, in a record of its own with what is found of it on top, and the folder it goes to; it takes the place of
/// the one at hand. None: nothing is said of it.
pub(super) fn judged(office: &Office, entry: &Entry, index: u32, target: &Target) -> Result<Option<Entry>, Verdict> {
    if office.config().junk == Junk::Off || entry.envelope.origin != Origin::Network {
        return Ok(None);
    }
    let judged = judge(office, entry, &target.account).and_then(|judgement| match judgement {
        Some(judgement) => put_on_top(office, entry, index, target, &judgement),
        None => Ok(None),
    });
    match judged {
        // Whether it is there will be known after the next start.
        Err(error @ SpoolError::Uncertain) => Err(Verdict::own_trouble(&error)),
        Err(error) => {
            log::warn!("msg={} event=not-judged mailbox={} reason=\"{error}\"", entry.id, target.account.name);
            Ok(None)
        }
        Ok(judged) => Ok(judged),
    }
}

/// Is this message taken for junk already?
pub(super) fn is_junk(office: &Office, entry: &Entry) -> bool {
    let config = office.config();
    let told = || junk::told(&local::head(&entry.message).ok()?, &config.hostname);
    config.junk != Junk::Off && told() == Some(true)
}

fn judge(office: &Office, entry: &Entry, account: &Account) -> Result<Option<Judgement>, SpoolError> {
    let (disk, host) = (office.journal.disk(), &office.config().hostname);
    if !office.learner.taught.has(disk, account.name.as_ref())? {
        return Ok(None);
    }
    let message = beginning(&entry.message)?;
    if junk::told(&message, host).is_some() {
        return Ok(None);
    }
    let Some(memory) = Memory::load(disk, &office.learner.path(account))? else { return Ok(None) };
    Ok(junk::judge(&memory, &Tokens::of(&message, host)))
}

/// In wire form.
fn beginning(message: &Message) -> io::Result<Vec<u8>> {
    let mut block = vec![0; usize::try_from(message.len()).unwrap_or(MOST_READ).min(MOST_READ)];
    let read = message.read_at(&mut block, 0)?;
    let (mut to_wire, mut wire) = (ToWire::default(), Vec::with_capacity(read + read / 16));
    to_wire.push(block.get(..read).unwrap_or_default(), &mut wire);
    to_wire.finish(&mut wire);
    wire.truncate(MOST_READ);
    Ok(wire)
}

/// The one act.
fn put_on_top(
    office: &Office,
    entry: &Entry,
    index: u32,
    target: &Target,
    judgement: &Judgement,
) -> Result<Option<Entry>, SpoolError> {
    let config = office.config();
    let Some(recipient) = super::recipient(entry, index) else { return Ok(None) };
    let (account, mut folder) = (&target.account, target.folder.clone());
    if config.junk == Junk::File && judgement.is_junk() {
        // Whoever reads by POP3 only has no such folder, and would never see it there.
        let to = office.store.folders(account).and_then(|folders| folders.for_use(SpecialUse::Junk));
        folder = to.map_err(|error| SpoolError::Io(io::Error::other(error.to_string())))?.map_or(folder, |id| id.to_string());
    }
    let to = To::Mailbox { account: account.clone(), folder: folder.clone() };
    let ends = [End { address: recipient.address.clone(), to }];
    let mut draft = office.journal.begin(expand::envelope(entry, index, recipient, &From::Same, &ends, true))?;
    draft.write_all(judgement.field(&config.hostname).as_bytes())?;
    program::copy(&entry.message, &mut draft)?;
    let (time, text) = (office.clock.now(), "judged".to_owned());
    let settles = Outcome { id: entry.id, recipients: vec![index], status: Status::Delivered, time, text };
    let judged = Draft::commit_all(vec![draft], &[settles])?.into_iter().next();
    if let Some(judged) = &judged {
        log::info!(
            "msg={} event=judged to=<{}> junk={} score={:.2} folder={folder} as={}",
            entry.id,
            Shown(&recipient.address.to_string()),
            if judgement.is_junk() { "yes" } else { "no" },
            judgement.score,
            judged.id
        );
    }
    Ok(judged)
}
