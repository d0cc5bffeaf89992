//! Mailing lists at work: what comes to an address of a list is looked at ([`crate::lists`] decides) and settled by what follows from
//! it, in one act of the journal: the record of all members' copies, the post that waits for a moderator, the answer.
//!
//! Files of the list are changed before that act, in a way that changes nothing the second time. So a crash between two steps leaves
//! the message that asked for them unsettled, and it is served anew; after the act it is settled and is not.
//!
//! * `posts`: what goes to members, and what waits. `requests`: subscribing and leaving; `leaving`: by one click. `returns`: what came
//!   back. `waiting`: the end of posts that nobody decides on. `operate`: what pillarboxctl asks for.

mod leaving;
mod operate;
mod posts;
mod requests;
mod returns;
mod waiting;

pub(super) use leaving::{own_copy, signed_copy};
pub(super) use waiting::{LOOK, expire};

pub use leaving::Leaving;
pub use operate::{HeldPost, ListError, Shown as ShownList};

use super::outcome::{Trouble, Verdict};
use super::{Letter, Office, local, program};
use crate::lists::{Automatic, Facts, Files, Identity, Role, Settings, Text, token};
use crate::mail::structure::Structure;
use crate::mail::transfer::Decoder;
use crate::mail::{Address, Body, Domain, Envelope, Recipient, ReversePath, date, words};
use crate::spool::{Draft, Entry, Message, Outcome, SpoolId, Status};
use ring::hmac;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Letters of all lists together that one address gets in a day because somebody asked for them in its name.
const MOST_A_DAY: u32 = 3;

/// Addresses that are counted; when there are more, none of the others gets any.
const MOST_COUNTED: usize = 100_000;

/// Bytes of a message that are looked through for a command, or a report.
const MOST_READ: usize = 512 * 1024;

/// What the daemon knows of lists beside their files.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Held by who decides on a post that waits: the first one does.
    judging: Mutex<()>,
    /// Posts that waited for too long at the last look.
    overdue: Mutex<HashSet<SpoolId>>,
    /// A day, and how many letters each address got in it.
    asked: Mutex<(i64, HashMap<String, u32>)>,
}

/// One list, while something is done with it.
struct List<'a> {
    office: &'a Arc<Office>,
    identity: Identity,
    settings: Settings,
    files: Files,
    key: hmac::Key,
}

/// What follows from a message: what is committed together with its outcome.
#[derive(Default)]
struct Done {
    drafts: Vec<Draft>,
    /// Outcomes of others, and of these drafts.
    settles: Vec<Outcome>,
    /// The one of these drafts that waits for a moderator.
    held: Option<SpoolId>,
    /// For the log, and as the outcome.
    text: String,
}

impl Done {
    /// Nothing follows.
    fn dropped(why: &str) -> Done {
        Done { text: format!("dropped: {why}"), ..Done::default() }
    }
}

impl Office {
    /// The lists' files.
    pub(super) fn lists(&self) -> Files {
        self.tables().lists.clone()
    }

    /// The domain of lists that name none.
    pub(super) fn first_domain(&self) -> Domain {
        let config = self.config();
        Domain::Name(config.domains.first().unwrap_or(&config.hostname).clone())
    }

    fn list<'a>(self: &'a Arc<Self>, identity: Identity, settings: Settings) -> io::Result<List<'a>> {
        Ok(List { office: self, identity, settings, files: self.lists(), key: self.lists_key()? })
    }

    /// What tokens are made with.
    fn lists_key(&self) -> io::Result<hmac::Key> {
        self.store.secret_for("lists").map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Serves a recipient that is an address of a list. None: it is none.
pub(super) fn serve(office: &Arc<Office>, entry: &Entry, index: u32, been: &[String]) -> Option<Result<Vec<Entry>, Verdict>> {
    let (identity, settings, role) = match office.listed(super::address(entry, index)?) {
        Ok(found) => found?,
        Err(error) => return Some(Err(Verdict::own_trouble(&error))),
    };
    let list = office.list(identity, settings).map_err(|error| Verdict::own_trouble(&error));
    Some(list.and_then(|list| list.serve(entry, index, &role, been)))
}

impl List<'_> {
    fn serve(&self, entry: &Entry, index: u32, role: &Role, been: &[String]) -> Result<Vec<Entry>, Verdict> {
        let head = local::head(&entry.message).map_err(|error| Verdict::own_trouble(&error))?;
        let mut facts = Facts::of(&head, entry.envelope.sender(index).0.as_ref(), &self.identity);
        facts.was_here |= been.contains(&self.identity.address().to_ascii_lowercase());
        // Held over the commit: of two who decide at once, the second finds it settled.
        let _judging = matches!(role, Role::Moderate(_)).then(|| self.office.desk.judging());
        let done = match role {
            Role::Post => self.post(entry, index, &facts)?,
            Role::Request | Role::Subscribe | Role::Unsubscribe | Role::Help => self.request(entry, role, &facts)?,
            Role::Confirm(mark) => self.confirm(mark, &facts)?,
            Role::Moderate(mark) => self.moderate(entry, mark, &facts)?,
            Role::Bounces(mark) => self.returned(entry, index, mark, &facts)?,
            Role::Probe(mark) => self.probe_returned(entry, mark, &facts)?,
            // Its mail goes to people.
            Role::Owner => Done::dropped("there is no owner"),
        };
        log::info!("msg={} event=list list={} outcome=\"{}\"", entry.id, self.identity.name, done.text.replace('"', "'"));
        let own = self.outcome(entry.id, index, Status::Delivered, &done.text);
        let entries = self.commit(done, vec![own])?;
        if let Role::Probe(mark) = role {
            self.forget_probed(mark);
        }
        Ok(entries)
    }

    fn outcome(&self, id: SpoolId, index: u32, status: Status, text: &str) -> Outcome {
        Outcome { id, recipients: vec![index], status, time: self.office.clock.now(), text: text.to_owned() }
    }

    /// The one act. Gives what is to be delivered then.
    fn commit(&self, done: Done, own: Vec<Outcome>) -> Result<Vec<Entry>, Verdict> {
        let Done { drafts, mut settles, held, .. } = done;
        let others: Vec<SpoolId> = settles.iter().filter(|outcome| Some(outcome.id) != held).map(|outcome| outcome.id).collect();
        settles.extend(own);
        let committed = match drafts.is_empty() {
            true => self.office.journal.settle(&settles).map(|()| Vec::new()),
            false => Draft::commit_all(drafts, &settles),
        };
        let mut entries = committed.map_err(|error| Verdict::own_trouble(&error))?;
        let mut table = self.office.table();
        others.into_iter().for_each(|id| table.settled(id, &[0]));
        held.into_iter().for_each(|id| table.hold(id, &[0]));
        drop(table);
        entries.retain(|entry| Some(entry.id) != held);
        Ok(entries)
    }

    /// A letter of the list, under the null sender or one that tells what came back.
    fn letter(&self, text: &Text, sender: Option<Address>) -> Result<Draft, Verdict> {
        let is_ascii = text.body.is_ascii() && text.attached.as_ref().is_none_or(|attached| attached.text.is_ascii());
        let envelope = Envelope {
            reverse_path: ReversePath(sender),
            body: if is_ascii { Body::SevenBit } else { Body::EightBitMime },
            require_tls: text.attached.as_ref().is_some_and(|attached| attached.is_secret),
            ..Envelope::own(Recipient::from(text.to.clone()))
        };
        let date = date::rfc5322(self.office.clock.now());
        let letter = Letter::own(self.office, envelope, |id| Ok(text.write(&self.identity, id, &date)));
        letter.and_then(Letter::into_draft).map_err(|error| Verdict::own_trouble(&error))
    }

    /// The answer to who asked for it, if not too many came before.
    fn answer(&self, text: &Text, what: &str) -> Result<Done, Verdict> {
        if !self.office.desk.allows(&text.to, self.today()) {
            return Ok(Done::dropped("that address got too many letters today"));
        }
        Ok(Done { drafts: vec![self.letter(text, None)?], text: format!("{what} {}", text.to), ..Done::default() })
    }

    fn today(&self) -> i64 {
        token::day(self.office.clock.now())
    }
}

impl Desk {
    fn judging(&self) -> MutexGuard<'_, ()> {
        self.judging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// May one letter more go to that address today?
    fn allows(&self, to: &Address, today: i64) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.0 != today {
            *asked = (today, HashMap::new());
        }
        let (key, is_full) = (to.key(), asked.1.len() >= MOST_COUNTED);
        match asked.1.get_mut(&key) {
            Some(count) if *count < MOST_A_DAY => {
                *count += 1;
                true
            }
            None if !is_full => asked.1.insert(key, 1).is_none(),
            Some(_) | None => false,
        }
    }
}

/// Why a message is none that a person sent, if so.
fn not_asked(facts: &Facts) -> Option<&'static str> {
    match facts {
        Facts { sender: None, .. } => Some("it has no sender"),
        Facts { automatic: Automatic::Replied | Automatic::Generated, .. } => Some("a program wrote it"),
        facts if facts.is_no_request() => Some("it came from a list"),
        _ => None,
    }
}

/// The start of a message, with LF line ends.
fn start(message: &Message, most: usize) -> Result<Vec<u8>, Verdict> {
    let mut start = Start { bytes: Vec::new(), most };
    match program::copy(message, &mut start) {
        Err(error) if error.kind() != io::ErrorKind::WriteZero => Err(Verdict::own_trouble(&error)),
        _ => Ok(start.bytes),
    }
}

struct Start {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Start {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.most.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What somebody wrote: its first text.
fn words_of(message: &Message) -> Result<String, Verdict> {
    let bytes = start(message, MOST_READ)?;
    let structure = Structure::of(&bytes);
    let Some(part) = structure.parts.iter().find(|part| part.is("text", "plain")) else { return Ok(String::new()) };
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    let raw = bytes.get(at(part.body.start)..at(part.body.end).min(bytes.len())).unwrap_or_default();
    let (mut text, mut decoder) = (Vec::new(), Decoder::new(part.transfer_encoding()));
    decoder.push(raw, &mut text);
    decoder.finish(&mut text);
    Ok(words::from_charset(&part.charset(), &text))
}

/// What is said of an outcome that is none of ours to explain.
fn refused(why: &str) -> Verdict {
    Verdict::Failed(Trouble::own("5.7.2", why))
}
