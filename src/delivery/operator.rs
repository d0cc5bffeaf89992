//! What operators do to the queue.

use super::Office;
use crate::mail::Domain;
use crate::spool::{Outcome, SpoolError, SpoolId, Status, Unsettled};
use std::fmt;

/// Which messages are to be tried now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flush {
    /// All that are not held.
    All,
    /// One.
    Message(SpoolId),
    /// Those with a recipient in this domain.
    Domain(Domain),
}

/// Why an operator's act was not done.
#[derive(Debug)]
pub enum ActError {
    /// No such message waits.
    Unknown,
    /// It is being delivered at this moment.
    Busy,
    /// The journal could not write it down.
    Spool(SpoolError),
}

impl fmt::Display for ActError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ActError::Unknown => out.write_str("no such message waits"),
            ActError::Busy => out.write_str("the message is being delivered at this moment"),
            ActError::Spool(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for ActError {}

pub(super) fn queue(office: &Office) -> Vec<Unsettled> {
    let unsettled = office.journal.unsettled();
    let table = office.table();
    let served = |mut message: Unsettled| {
        message.waiting.retain(|waiting| table.has(message.id, waiting.index));
        (!message.waiting.is_empty()).then_some(message)
    };
    unsettled.into_iter().filter_map(served).collect()
}

pub(super) fn flush(office: &Office, what: &Flush) -> usize {
    let ids = match what {
        Flush::Message(id) => vec![*id],
        Flush::All => office.table().ids(),
        Flush::Domain(domain) => {
            let ids = office.table().ids();
            ids.into_iter().filter(|id| goes_to(office, *id, domain)).collect()
        }
    };
    let now = office.clock.elapsed();
    office.hosts().forget();
    let mut table = office.table();
    table.wake_lanes();
    let first = *what != Flush::All;
    let count = ids.into_iter().filter(|id| table.hurry(*id, now, first)).count();
    drop(table);
    office.runner.wake();
    count
}

fn goes_to(office: &Office, id: SpoolId, domain: &Domain) -> bool {
    let waiting = office.table().recipients(id);
    let Ok(entry) = office.journal.read(id) else { return false };
    let key = domain.key();
    waiting.iter().filter_map(|index| super::address(&entry, *index)).any(|address| address.domain().key() == key)
}

pub(super) fn hold(office: &Office, id: SpoolId) -> Result<(), ActError> {
    let recipients = seize(office, id)?;
    write(office, id, &recipients, Status::Held, "held by an operator")
}

pub(super) fn release(office: &Office, id: SpoolId) -> Result<(), ActError> {
    let recipients = seize(office, id)?;
    let status = Status::Deferred { until: office.clock.now() };
    write(office, id, &recipients, status, "released by an operator")?;
    let_go(office, id, &recipients);
    Ok(())
}

pub(super) fn remove(office: &Office, id: SpoolId) -> Result<(), ActError> {
    let recipients = seize(office, id)?;
    write(office, id, &recipients, Status::Removed, "removed by an operator")?;
    office.table().settled(id, &recipients);
    Ok(())
}

/// Takes a message out of its lanes and holds it, so that nobody begins it meanwhile; gives its recipients.
fn seize(office: &Office, id: SpoolId) -> Result<Vec<u32>, ActError> {
    let mut table = office.table();
    let recipients = table.recipients(id);
    if recipients.is_empty() {
        return Err(ActError::Unknown);
    }
    if !table.withdraw(id) {
        return Err(ActError::Busy);
    }
    table.hold(id, &recipients);
    Ok(recipients)
}

fn let_go(office: &Office, id: SpoolId, recipients: &[u32]) {
    office.table().wait(id, recipients, office.clock.elapsed());
    office.runner.wake();
}

/// Writes it down; what can't be written down is not done.
fn write(office: &Office, id: SpoolId, recipients: &[u32], status: Status, text: &str) -> Result<(), ActError> {
    let outcome = Outcome { id, recipients: recipients.to_vec(), status, time: office.clock.now(), text: text.to_owned() };
    office.keeper.stir();
    if let Err(error) = office.journal.settle(&[outcome]) {
        let_go(office, id, recipients);
        return Err(ActError::Spool(error));
    }
    log::info!("msg={id} event=operator text=\"{text}\" recipients={}", recipients.len());
    Ok(())
}
