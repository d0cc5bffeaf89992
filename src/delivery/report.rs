//! Reports are letters of this daemon: whom they are for, and how they are sent. A report is the outcome of those it tells
//! of: one act of the journal holds both, so that a crash leaves neither two reports nor none (RFC 3461).
//!
//! A copy in a mailbox here is no exception. Its sender may want to hear of it; then the copy is expected, from before it is
//! made on, and the [`Registrar`], which mailboxes tell what is durable, settles it by the report. If the machine stops before,
//! the copy is found in the mailbox at the next start, and expected again.

use super::bounce::{self, Kind, Notice};
use super::enclosure::Enclosure;
use super::outcome::{Case, Trouble};
use super::{Letter, Office, PostError, Route, local};
use crate::auth::Shown;
use crate::mail::dsn::{Notify, Return};
use crate::mail::{Address, Body, Envelope, Recipient, Release, date};
use crate::mailbox::Ledger;
use crate::smtp::client::{is_convertible, is_international};
use crate::spool::{Draft, Entry, Journal, Message, Outcome, SpoolError, SpoolId};
use crate::sys::counters;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What the sender is to be told of a recipient. Of what a session filed, and of mail without a sender, nothing: a report is
/// never answered by a report (RFC 5321 §4.5.5).
pub(super) fn wishes(entry: &Entry, index: u32) -> Notify {
    match super::recipient(entry, index) {
        Some(recipient) if entry.envelope.sender(index).0.is_some() && recipient.session_place().is_none() => {
            recipient.dsn.wishes()
        }
        _ => Notify::default(),
    }
}

/// Sends a report to the sender of a message, or one to each of those that its recipients have; they are the outcome of those
/// they tell of.
pub(super) fn report(
    office: &Arc<Office>,
    entry: &Entry,
    kind: Kind,
    cases: &[Case],
    settles: Vec<Outcome>,
) -> Result<(), PostError> {
    let parts = by_sender(entry, cases);
    if let [(sender, cases)] = parts.as_slice() {
        return letter(office, entry, kind, sender, cases)?.send_settling(settles).map(drop);
    }
    for entry in Draft::commit_all(drafts_of(office, entry, kind, cases)?, &settles)? {
        local::first_round(office, &entry, &[]);
    }
    office.keeper.stir();
    Ok(())
}

/// Most have one sender for all.
fn by_sender<'a>(entry: &'a Entry, cases: &[Case]) -> Vec<(&'a Address, Vec<Case>)> {
    let mut found: BTreeMap<&Address, Vec<Case>> = BTreeMap::new();
    for case in cases {
        if let Some(sender) = &entry.envelope.sender(case.0).0 {
            found.entry(sender).or_default().push(case.clone());
        }
    }
    found.into_iter().collect()
}

/// Reports that are to be committed with others.
pub(super) fn drafts_of(office: &Arc<Office>, entry: &Entry, kind: Kind, cases: &[Case]) -> Result<Vec<Draft>, PostError> {
    let draft = |(sender, cases): (&Address, Vec<Case>)| letter(office, entry, kind, sender, &cases)?.into_draft();
    by_sender(entry, cases).into_iter().map(draft).collect()
}

/// A report, written.
fn letter(office: &Arc<Office>, entry: &Entry, kind: Kind, sender: &Address, cases: &[Case]) -> Result<Letter, PostError> {
    // Our own words are in eight bits for mailboxes here alone: a host on the way to others may have no room for the eighth.
    let stays_here = matches!(office.route(sender), Ok(Route::Local(_)));
    let enclosed = enclosed(entry, kind, stays_here).map_err(|error| PostError::Io(error.to_string()))?;
    let (config, now) = (office.config(), office.clock.now());
    let cases: Vec<bounce::Case<'_>> = cases
        .iter()
        .filter_map(|(index, trouble)| Some(bounce::Case { recipient: super::recipient(entry, *index)?, trouble }))
        .collect();
    let own = Envelope::own(Recipient::from(sender.clone()));
    let envelope = Envelope {
        body: if stays_here || enclosed.is_eight_bit() { Body::EightBitMime } else { Body::SevenBit },
        utf8: own.utf8 || enclosed.needs_utf8(),
        // What it tells of the message is as secret (RFC 8689 §5).
        require_tls: entry.envelope.require_tls,
        ..own
    };
    Letter::own(office, envelope, |id| {
        let notice = Notice {
            kind,
            hostname: &config.hostname,
            id,
            sender,
            eight_bit: stays_here,
            date: date::rfc5322(now),
            arrival: date::rfc5322(entry.time),
            release: entry.envelope.release.as_ref().map(Release::told),
            cases: &cases,
            envelope_id: entry.envelope.dsn.id.as_ref().map(|id| id.decode()),
            enclosed: &enclosed,
        };
        let text = fit(entry, notice, stays_here)?;
        counters::REPORTS_SENT.count();
        log::info!("msg={} event=reported to=<{}> report={id}", entry.id, Shown(&sender.to_string()));
        Ok(text)
    })
}

/// The report as it can go. One that may have to be made 7-bit on its way, and can't be, might not arrive at all: it gives back
/// the header only, which is encoded.
fn fit(entry: &Entry, notice: Notice<'_>, stays_here: bool) -> io::Result<Vec<u8>> {
    let text = bounce::build(&notice);
    let can_be_converted = || -> io::Result<bool> {
        let report = Message::Memory(Arc::new(text.clone()));
        Ok(!is_international(&entry.message)? && is_convertible(&report)?)
    };
    if stays_here || !notice.enclosed.is_eight_bit() || can_be_converted()? {
        return Ok(text);
    }
    let header = Enclosure::header(&entry.message, entry.envelope.utf8, false)?;
    Ok(bounce::build(&Notice { enclosed: &header, ..notice }))
}

/// All of the message only with a failure, and if the sender wants it (RFC 3461 §4.3) and it is no secret (RFC 8689 §5).
fn enclosed(entry: &Entry, kind: Kind, eight_bit: bool) -> io::Result<Enclosure> {
    let utf8 = entry.envelope.utf8;
    if matches!(kind, Kind::Failed { .. }) && entry.envelope.dsn.ret == Some(Return::Full) && !entry.envelope.require_tls {
        if let Some(whole) = Enclosure::whole(&entry.message, utf8, eight_bit)? {
            return Ok(whole);
        }
    }
    Enclosure::header(&entry.message, utf8, eight_bit)
}

/// Copies that are made or lie in mailboxes here and are not settled, whose senders want to hear of them.
#[derive(Debug, Default)]
pub(super) struct Expected(Mutex<BTreeSet<(SpoolId, u32)>>);

impl Expected {
    /// Before a copy is made, or looked for: its sender may want to hear of it. True if so.
    pub(super) fn expect(&self, entry: &Entry, index: u32) -> bool {
        let wanted = wishes(entry, index).success;
        if wanted {
            self.lock().insert((entry.id, index));
        }
        wanted
    }

    /// There is no such copy, or it was told of.
    pub(super) fn forget(&self, id: SpoolId, index: u32) {
        self.lock().remove(&(id, index));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(SpoolId, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None: nobody wants to hear of any.
    fn part(&self, outcomes: &[Outcome]) -> Option<Parted> {
        let expected = self.lock();
        if expected.is_empty() {
            return None;
        }
        let mut parted = Parted::default();
        for outcome in outcomes {
            match outcome.recipients.iter().any(|index| expected.contains(&(outcome.id, *index))) {
                true => parted.told.entry(outcome.id).or_default().push(outcome.clone()),
                false => parted.plain.push(outcome.clone()),
            }
        }
        (!parted.told.is_empty()).then_some(parted)
    }
}

/// Outcomes, by whether their senders want to hear of them.
#[derive(Debug, Default)]
struct Parted {
    plain: Vec<Outcome>,
    /// By message.
    told: BTreeMap<SpoolId, Vec<Outcome>>,
}

/// Whom mailboxes tell what became durable in them: the journal, by way of the reports that are due then.
pub(super) struct Registrar {
    office: Weak<Office>,
    journal: Arc<Journal>,
}

impl Registrar {
    pub(super) fn new(office: &Arc<Office>) -> Registrar {
        Registrar { office: Arc::downgrade(office), journal: office.journal.clone() }
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Registrar")
    }
}

impl Ledger for Registrar {
    fn settle(&self, outcomes: &[Outcome]) -> Result<(), SpoolError> {
        let Some(office) = self.office.upgrade() else { return self.journal.settle(outcomes) };
        let Some(Parted { plain, told }) = office.expected.part(outcomes) else { return self.journal.settle(outcomes) };
        self.journal.settle(&plain)?;
        // One that can't be told now does not hold up the others.
        let mut result = Ok(());
        for (id, outcomes) in told {
            if let Err(error) = delivered(&office, id, outcomes) {
                log::error!("msg={id} event=report-unsent reason=\"{error}\"");
                result = Err(error);
            }
        }
        result
    }

    fn name(&self) -> Vec<u8> {
        self.journal.name()
    }

    fn has_peers(&self) -> bool {
        self.journal.has_peers()
    }
}

/// One report of all copies of a message that became durable together.
fn delivered(office: &Arc<Office>, id: SpoolId, settles: Vec<Outcome>) -> Result<(), SpoolError> {
    let indices: Vec<u32> = settles.iter().flat_map(|outcome| outcome.recipients.iter().copied()).collect();
    match office.journal.read(id) {
        Ok(entry) => {
            let said = || Trouble::own("2.0.0", "It is in the mailbox there.");
            let cases: Vec<Case> = indices.iter().map(|index| (*index, said())).collect();
            report(office, &entry, Kind::Delivered, &cases, settles).map_err(|error| match error {
                PostError::Full => SpoolError::Full,
                PostError::Uncertain => SpoolError::Uncertain,
                other => SpoolError::Io(io::Error::other(other.to_string())),
            })?;
        }
        // An operator took it out of the queue: there is nothing to settle.
        Err(SpoolError::Unknown(_)) => {}
        Err(error) => return Err(error),
    }
    indices.iter().for_each(|index| office.expected.forget(id, *index));
    Ok(())
}
