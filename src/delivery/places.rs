//! Recipients that name a place in a mailbox: what a session began ([`filing`](super::filing)), and the queue-runner ends if
//! the session or the machine stopped.

use super::clerk::{self, settle};
use super::filing::FileError;
use super::schedule::{self, Next, Progress};
use super::whose::own_account;
use super::{Office, runner};
use crate::host::Account;
use crate::mail::{Act, Place};
use crate::mailbox::{Arrival, Copy, Identity, MailboxError, Uid};
use crate::spool::{Entry, Outcome, SpoolId, Status};
use std::io;
use std::time::Duration;

/// A mailbox and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) account: Account,
    /// Its id.
    pub(super) folder: String,
}

/// What goes into a mailbox for this recipient.
pub(super) fn copy_of(entry: &Entry, index: u32) -> Option<Copy<'_>> {
    let recipient = super::recipient(entry, index)?;
    let arrival = match recipient.place.as_deref() {
        None | Some(Place { act: Act::Deliver, .. }) => {
            Arrival::Delivered { return_path: entry.envelope.sender(index), delivered_to: &recipient.address, time: entry.time }
        }
        Some(Place { act: Act::File(filing), .. }) => Arrival::Filed(filing),
        Some(Place { act: Act::Remove { .. }, .. }) => return None,
    };
    Some(Copy { id: entry.id, recipient: index, arrival, message: &entry.message })
}

impl Office {
    /// The account a place is one of.
    pub(super) fn owner(&self, place: &Place) -> io::Result<Account> {
        if let Some(account) = self.host.account(&place.user)? {
            return Ok(account);
        }
        let own = own_account(&self.config().postmaster);
        let is_own = place.act == Act::Deliver && place.user == own.name;
        if is_own { Ok(own) } else { Err(io::Error::new(io::ErrorKind::NotFound, "no such user")) }
    }
}

/// What a session began and did not bring to its end, because it or the machine stopped.
pub(super) fn serve(office: &Office, entry: &Entry, index: u32, place: &Place) {
    let done = match &place.act {
        Act::File(_) => put(office, entry, index, place),
        Act::Remove { .. } => take(office, entry, index, place),
        // Of mail: local's to serve.
        Act::Deliver => Ok(false),
    };
    match done {
        Ok(true) => office.table().settled(entry.id, &[index]),
        Ok(false) => office.table().wait(entry.id, &[index], office.clock.elapsed() + Duration::from_secs(1)),
        // The folder was deleted, with all that is in it and what was to come. What was to be moved there stays where it is.
        Err(MailboxError::Nonexistent | MailboxError::Gone) => drop(give_up(office, std::slice::from_ref(entry))),
        Err(error) => later(office, entry, index, &error),
    }
    office.keeper.stir();
}

fn put(office: &Office, entry: &Entry, index: u32, place: &Place) -> Result<bool, MailboxError> {
    let target = Target { account: office.owner(place)?, folder: place.folder.clone() };
    office.recovery.settle_account(office, &target, (entry.id, index))?;
    let Some(copy) = copy_of(entry, index).filter(|_| office.table().has(entry.id, index)) else { return Ok(true) };
    let uid = office.store.by_id(&target.account, &target.folder)?.deliver(&copy)?;
    log::info!("msg={} event=filed user={} folder={} uid={}", entry.id, place.user, place.folder, uid.0);
    Ok(true)
}

/// Takes back what a session began, all of it; what was to leave a mailbox for it stays there. An error: as of [`take_back`].
pub(super) fn give_up(office: &Office, entries: &[Entry]) -> Result<(), FileError> {
    take_back(office, entries)?;
    let places = entries.iter().flat_map(|entry| &entry.envelope.recipients).filter_map(|recipient| recipient.place.as_deref());
    let leaving: Vec<(&Place, Identity)> = places.filter_map(|place| Some((place, leaving(place)?))).collect();
    for group in leaving.chunk_by(|(one, _), (other, _)| (&one.user, &one.folder) == (&other.user, &other.folder)) {
        let Some((place, _)) = group.first() else { continue };
        let messages: Vec<Identity> = group.iter().map(|(_, message)| *message).collect();
        let source = office.owner(place).map_err(MailboxError::from).and_then(|owner| office.store.by_id(&owner, &place.folder));
        if let Err(error) = source.and_then(|source| source.stay(&messages)) {
            // Nobody moves them for a week, nothing worse.
            log::warn!("event=stay-untold user={} folder={} reason=\"{error}\"", place.user, place.folder);
        }
    }
    Ok(())
}

/// What is to leave this place.
fn leaving(place: &Place) -> Option<Identity> {
    let Act::Remove { uid, key, copy } = &place.act else { return None };
    let copy = copy.map(|(generation, counter, recipient)| (SpoolId { generation, counter }, recipient));
    Some(Identity { uid: Uid(*uid), key: *key, copy })
}

/// Only what is in the target is taken from the source.
fn take(office: &Office, entry: &Entry, index: u32, place: &Place) -> Result<bool, MailboxError> {
    let Some(message) = leaving(place) else { return Ok(true) };
    let waits = |(id, recipient): (SpoolId, u32)| office.table().has(id, recipient);
    // Nor before a copy that was lost with the power is there again, to be removed.
    if (0..index).any(|before| waits((entry.id, before))) || message.copy.is_some_and(waits) {
        return Ok(false);
    }
    let account = office.owner(place)?;
    match office.store.by_id(&account, &place.folder).and_then(|source| source.expunge_known(&[message])) {
        Ok(()) | Err(MailboxError::Nonexistent | MailboxError::Gone) => {}
        Err(error) => return Err(error),
    }
    log::info!("msg={} event=moved user={} from={} uid={}", entry.id, place.user, place.folder, message.uid.0);
    settle(office, vec![removed(office, entry, index)]);
    Ok(true)
}

/// Tried again as any delivery to a mailbox here, but never given up: nobody else has it.
fn later(office: &Office, entry: &Entry, index: u32, error: &MailboxError) {
    let waiting = office.journal.waiting(entry.id).map(|unsettled| unsettled.waiting).unwrap_or_default();
    let tries = waiting.iter().find(|one| one.index == index).map_or(0, |one| one.tries).saturating_add(1);
    let progress = Progress { age: Duration::ZERO, tries, warned: true };
    let after = match schedule::next(&office.config().queue, true, progress) {
        Next::Retry(after) => after,
        Next::GiveUp => runner::OWN_TROUBLE,
    };
    log::warn!("msg={} event=deferred recipient={index} next={:.0} reason=\"{error}\"", entry.id, after.as_secs_f32());
    let (now, text) = (office.clock.now(), error.to_string());
    let status = Status::Deferred { until: now + after };
    // Unwritten, it would be tried too early after a crash, nothing worse.
    let _ = office.journal.settle(&[Outcome { id: entry.id, recipients: vec![index], status, time: now, text }]);
    office.table().wait(entry.id, &[index], office.clock.elapsed() + after);
    office.runner.wake();
}

/// It was taken from where it was moved from.
pub(super) fn removed(office: &Office, entry: &Entry, index: u32) -> Outcome {
    let (time, text) = (office.clock.now(), "moved from there".to_owned());
    Outcome { id: entry.id, recipients: vec![index], status: Status::Delivered, time, text }
}

/// All of these messages, or none: they are not to go anywhere. An error: after a crash they may.
pub(super) fn take_back(office: &Office, entries: &[Entry]) -> Result<(), FileError> {
    let (time, text) = (office.clock.now(), "taken back".to_owned());
    let mut outcomes = Vec::with_capacity(entries.len());
    for entry in entries {
        let recipients = (0..).zip(&entry.envelope.recipients).map(|(index, _)| index).collect();
        outcomes.push(Outcome { id: entry.id, recipients, status: Status::Removed, time, text: text.clone() });
    }
    let told = office.journal.settle_together(&outcomes);
    let mut table = office.table();
    outcomes.iter().for_each(|outcome| table.settled(outcome.id, &outcome.recipients));
    drop(table);
    told.map_err(|error| {
        clerk::keep(office, outcomes, &error);
        FileError::Uncertain
    })
}
