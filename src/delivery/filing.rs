//! What sessions put into folders: APPEND, COPY, MOVE and REPLACE. All of it goes through the journal, as mail does.
//!
//! 1. The messages of one command are written to the journal and committed together. Each names its place; one that is moved,
//!    or takes another's place, also names, as a second recipient, what is to be removed, and from where.
//! 2. They are appended to the folder, all of them or none. If that can't be done now, they are taken back, and the client is
//!    told so: it never reads OK for mail that is not in the folder, nor finds mail there later that it was refused.
//! 3. What was moved or replaced is removed from its source, durably, and only then is that recipient settled.
//!
//! After a crash between 1 and 2 the queue-runner appends; between 2 and 3 it removes, but only what is in the target. So a
//! message that is being moved is in one of the two, and in both at no time after recovery has dealt with it. Until then its
//! mailbox knows that it is leaving, and nobody moves it a second time.

use super::clerk::settle;
use super::places::{Target, copy_of, give_up, removed, take_back};
use super::runner::InHand;
use super::{Office, Post, junk};
use crate::host::Account;
use crate::mail::mboxrd::FromWire;
use crate::mail::{Act, Address, Body, Domain, Envelope, Filing, MailDsn, Origin, Place, Recipient, ReversePath};
use crate::mailbox::{Copy, Flags, FolderName, Identity, Mailbox, MailboxError, Uid, View};
use crate::spool::{Draft, Entry, SpoolError};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

/// Bytes a header may have: more would not be found again as one.
const MOST_HEADER: usize = (1 << 20) - (8 << 10);
/// Bytes of one command's messages that are held in memory; the others go to files.
const MOST_IN_MEMORY: usize = 64 << 20;
/// So many of these, for each is open until the commit.
const MOST_FILES: usize = 1_000;

/// Why nothing was filed.
#[derive(Debug)]
pub enum FileError {
    /// There is no such folder, or not any more (TRYCREATE).
    Nonexistent,
    /// A message that was to be copied went away meanwhile (EXPUNGEISSUED).
    Gone,
    /// A message has a NUL (UNKNOWN-CTE).
    Nul,
    /// A header is too big to be kept.
    HeaderTooBig,
    /// This is no keyword, or the folder has too many (LIMIT).
    Keyword,
    /// Too much for one command (LIMIT).
    TooMuch,
    /// No room on the disk or within the user's quota (OVERQUOTA).
    Full,
    /// Another program has the folder locked, or the disk fails (UNAVAILABLE); nothing was changed.
    Later(String),
    /// The disk failed, and whether it is done is not known: the connection is to be closed without an answer.
    Uncertain,
}

impl fmt::Display for FileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Nonexistent => out.write_str("there is no such folder"),
            FileError::Gone => out.write_str("message is gone"),
            FileError::Nul => out.write_str("message has a NUL"),
            FileError::HeaderTooBig => out.write_str("header too big"),
            FileError::Keyword => out.write_str("keyword can't be kept"),
            FileError::TooMuch => out.write_str("too much at once"),
            FileError::Full => out.write_str("no room"),
            FileError::Later(why) => out.write_str(why),
            FileError::Uncertain => out.write_str("disk failed at commit"),
        }
    }
}

impl std::error::Error for FileError {}

impl From<SpoolError> for FileError {
    fn from(error: SpoolError) -> FileError {
        match error {
            SpoolError::Full => FileError::Full,
            SpoolError::Uncertain => FileError::Uncertain,
            other => FileError::Later(other.to_string()),
        }
    }
}

/// Of the target.
impl From<MailboxError> for FileError {
    fn from(error: MailboxError) -> FileError {
        match error {
            MailboxError::Nonexistent | MailboxError::Gone => FileError::Nonexistent,
            MailboxError::Full => FileError::Full,
            other => FileError::Later(other.to_string()),
        }
    }
}

/// The error is about where messages are taken from.
fn of_source(error: MailboxError) -> FileError {
    match error {
        MailboxError::Gone | MailboxError::Nonexistent => FileError::Gone,
        other => FileError::from(other),
    }
}

/// What was filed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filed {
    /// The folder's UIDVALIDITY.
    pub validity: u32,
    /// The UIDs, in the order in which the messages came (APPENDUID, RFC 4315 §3).
    pub uids: Vec<Uid>,
    /// The messages they were copied from (COPYUID); for an APPEND, none.
    pub sources: Vec<Uid>,
}

/// Messages on their way into a folder: each is begun, written in wire form, and all are committed. Dropped, nothing is left.
///
/// As with a [`Letter`](super::Letter), to write never fails: what is wrong is told by [`Batch::commit`].
#[derive(Debug)]
pub struct Batch {
    office: Arc<Office>,
    account: Account,
    address: Address,
    target: Arc<Mailbox>,
    /// Where they are moved from.
    source: Option<Arc<Mailbox>>,
    removals: Vec<Identity>,
    /// What the next message replaces.
    replaced: Option<Identity>,
    /// Bytes of it, if there was one.
    replaces: Option<u64>,
    drafts: Vec<Draft>,
    wrong: Option<FileError>,
    /// Bytes written.
    size: u64,
    keywords: HashSet<String>,
    held: usize,
    files: usize,
    from_wire: FromWire,
    /// Bytes of the header so far, and of its last line; None once it is over.
    header: Option<(usize, usize)>,
    piece: Vec<u8>,
}

impl Post {
    /// Begins to file messages in a folder of this account.
    pub fn file(&self, account: &Account, folder: &FolderName) -> Result<Batch, FileError> {
        Batch::begin(self.office(), account, folder)
    }

    /// Copies messages that a session sees into a folder, with their marks and dates (RFC 3501 §6.4.7). Those that are not
    /// there are passed over. All are one group of the journal: of what is more than 64 MiB, a thousand messages at most.
    pub fn copy(&self, account: &Account, source: &View, uids: &[Uid], target: &FolderName) -> Result<Filed, FileError> {
        self.transfer(account, source, uids, target, false)
    }

    /// Moves messages (RFC 6851).
    pub fn move_to(&self, account: &Account, source: &View, uids: &[Uid], target: &FolderName) -> Result<Filed, FileError> {
        self.transfer(account, source, uids, target, true)
    }

    fn transfer(
        &self,
        account: &Account,
        source: &View,
        uids: &[Uid],
        target: &FolderName,
        moves: bool,
    ) -> Result<Filed, FileError> {
        let _alone = moves.then(|| source.mailbox().moving()).transpose().map_err(of_source)?;
        let mut batch = self.file(account, target)?;
        batch.source = moves.then(|| source.mailbox().clone());
        let (names, now) = (source.keywords(), self.office().clock.now());
        let mut sources = Vec::with_capacity(uids.len());
        for uid in uids {
            let (Some(summary), Some(known)) =
                (source.message(*uid).map_err(of_source)?, source.identity(*uid).map_err(of_source)?)
            else {
                continue;
            };
            let keywords = names.of(summary.marks.keywords).map(str::to_owned).collect();
            let flags = (summary.marks.flags & Flags::ALL).bits();
            batch.enter(Filing { flags, keywords, date: summary.date, zone: summary.zone, saved: now }, Some(known));
            let copied = source.read(*uid).map_err(of_source).map(|mut from| io::copy(&mut from, &mut batch))?;
            if copied.map_err(|error| of_source(MailboxError::of_reader(error)))? != summary.size {
                return Err(FileError::Gone);
            }
            sources.push(*uid);
        }
        if sources.is_empty() {
            return batch.wrong.map_or(Ok(Filed::default()), Err);
        }
        let target = batch.target.clone();
        let filed = batch.commit()?;
        junk::moved(self.office(), account, source.mailbox(), &target, &filed.uids);
        Ok(Filed { sources, ..filed })
    }
}

impl Batch {
    fn begin(office: &Arc<Office>, account: &Account, folder: &FolderName) -> Result<Batch, FileError> {
        if !office.journal.has_room() {
            return Err(FileError::Full);
        }
        let target = office.store.open(account, folder)?;
        // What a crash left at its end is mended before anything new goes there.
        office.recovery.settle_mailbox(office, &Target { account: account.clone(), folder: target.folder().to_owned() })?;
        let domain = Domain::parse(&office.config().hostname).unwrap_or_else(|_| Domain::Name("localhost".into()));
        // For people who look at the queue; a name that no address can have is told by the place.
        let address = Address::new(&account.name, domain.clone()).or_else(|_| Address::new("postmaster", domain));
        let address = address.map_err(|_| FileError::Later("no address for the queue".into()))?;
        Ok(Batch {
            office: office.clone(),
            account: account.clone(),
            address,
            target,
            source: None,
            removals: Vec::new(),
            replaced: None,
            replaces: None,
            drafts: Vec::new(),
            wrong: None,
            size: 0,
            keywords: HashSet::new(),
            held: 0,
            files: 0,
            from_wire: FromWire::default(),
            header: None,
            piece: Vec::new(),
        })
    }

    /// The message that is begun next takes the place of this one of a session's, which leaves its mailbox (RFC 8508).
    pub fn replace(&mut self, source: &View, uid: Uid) -> Result<(), FileError> {
        let known = source.identity(uid).map_err(of_source)?.ok_or(FileError::Gone)?;
        self.source = Some(source.mailbox().clone());
        self.replaces = Some(source.message(uid).map_err(of_source)?.ok_or(FileError::Gone)?.size);
        self.replaced = Some(known);
        Ok(())
    }

    /// Begins the next message, which is then written. Its save date is now.
    pub fn message(&mut self, how: Filing) {
        let (saved, replaced) = (self.office.clock.now(), self.replaced.take());
        self.enter(Filing { saved, ..how }, replaced);
    }

    /// Is it known already that this will be refused?
    pub fn is_wrong(&self) -> bool {
        self.wrong.is_some()
    }

    fn enter(&mut self, filing: Filing, from: Option<Identity>) {
        self.end_message();
        if let Err(error) = self.try_enter(filing, from) {
            self.refuse(error);
        }
    }

    fn try_enter(&mut self, filing: Filing, from: Option<Identity>) -> Result<(), FileError> {
        for name in &filing.keywords {
            if self.keywords.insert(name.clone()) && self.target.keyword(name)?.is_none() {
                return Err(FileError::Keyword);
            }
        }
        let user = &self.account.name;
        let place = |folder: &str, act| Some(Box::new(Place { user: user.clone(), folder: folder.to_owned(), act }));
        let to = |place| Recipient { place, ..Recipient::from(self.address.clone()) };
        let mut recipients = vec![to(place(self.target.folder(), Act::File(filing)))];
        if let (Some(source), Some(known)) = (&self.source, from) {
            let copy = known.copy.map(|(id, recipient)| (id.generation, id.counter, recipient));
            let place = place(source.folder(), Act::Remove { uid: known.uid.0, key: known.key, copy });
            recipients.push(to(place));
            self.removals.push(known);
        }
        let origin = Origin::User(user.clone());
        let (reverse_path, dsn) = (ReversePath(None), MailDsn::default());
        let envelope = Envelope {
            reverse_path,
            recipients,
            body: Body::EightBitMime,
            utf8: false,
            dsn,
            require_tls: false,
            release: None,
            origin,
        };
        let mut draft = self.office.journal.begin(envelope)?;
        draft.keep_at_most(MOST_IN_MEMORY.saturating_sub(self.held));
        self.drafts.push(draft);
        self.header = Some((0, 0));
        Ok(())
    }

    fn refuse(&mut self, error: FileError) {
        self.wrong.get_or_insert(error);
        self.drafts.clear();
    }

    fn put_piece(&mut self) {
        self.count_header();
        let written = self.drafts.last_mut().map_or(Ok(()), |draft| draft.write_all(&self.piece));
        self.piece.clear();
        if let Err(error) = written {
            self.refuse(SpoolError::from(error).into());
        }
    }

    fn end_message(&mut self) {
        std::mem::take(&mut self.from_wire).finish(&mut self.piece);
        self.put_piece();
        let Some(draft) = self.drafts.last() else { return };
        self.held += draft.in_memory();
        self.files += usize::from(draft.in_memory() == 0);
        if self.files > MOST_FILES {
            self.refuse(FileError::TooMuch);
        }
    }

    fn count_header(&mut self) {
        let Some((mut bytes, mut line)) = self.header else { return };
        for byte in &self.piece {
            bytes += 1;
            match byte {
                b'\n' if line == 0 => return self.header = None,
                b'\n' => line = 0,
                _ => line += 1,
            }
            if bytes > MOST_HEADER {
                return self.refuse(FileError::HeaderTooBig);
            }
        }
        self.header = Some((bytes, line));
    }

    /// Commits what was written and puts it into the folder; then it is true to say OK.
    pub fn commit(mut self) -> Result<Filed, FileError> {
        self.end_message();
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let replaced = self.source.clone().filter(|_| self.replaces.is_some());
        let _alone = replaced.as_ref().map(|source| source.moving()).transpose().map_err(of_source)?;
        // Another session may have moved or replaced it while the new one came.
        if let Some(source) = replaced.as_ref() {
            if !source.has_all(&self.removals).map_err(of_source)? {
                return Err(FileError::Gone);
            }
        }
        // Of a message that is replaced only what is more counts (RFC 8508 §3.4), of one that is moved nothing.
        let more = match (&self.source, self.replaces) {
            (Some(_), None) => 0,
            (_, replaces) => self.size.saturating_sub(replaces.unwrap_or(0)),
        };
        // What does not fit anyway need not be committed first.
        if !self.office.fits(&self.account, more) {
            return Err(FileError::Full);
        }
        let entries = Draft::commit_all(std::mem::take(&mut self.drafts), &[])?;
        let office = &*self.office;
        let _in_hand = InHand::begin(office, &entries);
        if let Some(error) = self.source.as_ref().and_then(|source| source.leave(&self.removals).err()) {
            take_back(office, &entries)?;
            return Err(of_source(error));
        }
        let filed = office.within_quota(&self.account, more, || self.put(&entries));
        if let Err(error) = &filed {
            log::warn!("event=taken-back user={} folder={} reason=\"{error}\"", self.account.name, self.target.folder());
            give_up(office, &entries)?;
        }
        office.keeper.stir();
        Ok(filed?)
    }

    /// Puts what was committed into the folder, and takes it from where it was.
    fn put(&self, entries: &[Entry]) -> Result<Filed, MailboxError> {
        let copies: Vec<Copy<'_>> = entries.iter().filter_map(|entry| copy_of(entry, 0)).collect();
        let (validity, uids) = self.target.deliver_all(&copies)?;
        for (entry, uid) in entries.iter().zip(&uids) {
            self.office.table().settled(entry.id, &[0]);
            log::info!("msg={} event=filed user={} folder={} uid={}", entry.id, self.account.name, self.target.folder(), uid.0);
        }
        self.remove_sources(entries);
        Ok(Filed { validity, uids, sources: Vec::new() })
    }

    /// What was moved or replaced leaves its source. If that can't be done now, the queue-runner does it.
    fn remove_sources(&self, entries: &[Entry]) {
        let Some(source) = &self.source else { return };
        let office = &*self.office;
        if let Err(error) = source.expunge_known(&self.removals) {
            log::warn!("event=move-unfinished user={} folder={} reason=\"{error}\"", self.account.name, source.folder());
            let due = office.clock.elapsed() + Duration::from_secs(1);
            entries.iter().for_each(|entry| office.table().wait(entry.id, &[1], due));
            return office.runner.wake();
        }
        settle(office, entries.iter().map(|entry| removed(office, entry, 1)).collect());
        entries.iter().for_each(|entry| office.table().settled(entry.id, &[1]));
    }
}

impl Write for Batch {
    /// Takes a message as a client sent it: CRLF, or LF, any other byte but NUL.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if memchr::memchr(0, bytes).is_some() {
            self.refuse(FileError::Nul);
        }
        self.size += bytes.len() as u64;
        if !self.drafts.is_empty() {
            self.from_wire.push(bytes, &mut self.piece);
            self.put_piece();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
