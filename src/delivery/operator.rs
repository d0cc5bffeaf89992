//! What operators do to the queue.

use super::Office;
use crate::mail::{Address, Domain, ReversePath};
use crate::spool::{Entry, Outcome, SpoolError, SpoolId, Status, Unsettled};
use std::fmt;

/// So many messages are hurried on without a pause.
const AT_ONCE: usize = 1024;

/// What of the queue an operator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of it.
    All,
    /// One message.
    Message(SpoolId),
    /// What goes to this domain: of messages that go elsewhere too, only that.
    Domain(Domain),
    /// What comes from this sender.
    Sender(ReversePath),
}

impl Which {
    /// Is this recipient of this message meant?
    fn means(&self, entry: &Entry, index: u32) -> bool {
        match self {
            Which::All => true,
            Which::Message(id) => entry.id == *id,
            Which::Domain(domain) => super::address(entry, index).is_some_and(|to| to.domain().key() == domain.key()),
            Which::Sender(sender) => is_same(sender, &entry.envelope.reverse_path),
        }
    }
}

/// Nobody but its own host knows whether the case of a local part matters; people who look for one do not care.
fn is_same(one: &ReversePath, other: &ReversePath) -> bool {
    one.0.as_ref().map(Address::key) == other.0.as_ref().map(Address::key)
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

pub(super) fn queue(office: &Office) -> impl Iterator<Item = Unsettled> + '_ {
    office.journal.ids().into_iter().filter_map(|id| waiting(office, id))
}

pub(super) fn waiting(office: &Office, id: SpoolId) -> Option<Unsettled> {
    let mut message = office.journal.waiting(id)?;
    let table = office.table();
    message.waiting.retain(|waiting| table.has(id, waiting.index));
    (!message.waiting.is_empty()).then_some(message)
}

pub(super) fn find(office: &Office, which: &Which) -> Vec<SpoolId> {
    let mut ids = match which {
        Which::Message(id) => vec![*id],
        Which::All | Which::Domain(_) | Which::Sender(_) => office.journal.ids(),
    };
    ids.retain(|id| !meant(office, *id, which).is_empty());
    ids
}

/// The waiting recipients of a message that are meant.
fn meant(office: &Office, id: SpoolId, which: &Which) -> Vec<u32> {
    let mut waiting = office.table().recipients(id);
    match which {
        Which::All | Which::Message(_) => waiting,
        Which::Domain(_) | Which::Sender(_) if waiting.is_empty() => waiting,
        Which::Domain(_) | Which::Sender(_) => {
            if !may_mean(office, id, which) {
                return Vec::new();
            }
            let Ok(entry) = office.journal.peek(id) else { return Vec::new() };
            waiting.retain(|index| which.means(&entry, *index));
            waiting
        }
    }
}

/// As far as can be told without reading the message: may it be meant?
fn may_mean(office: &Office, id: SpoolId, which: &Which) -> bool {
    let Which::Domain(domain) = which else { return true };
    let domains = office.journal.waiting(id).and_then(|message| message.domains);
    domains.is_none_or(|domains| domains.split(',').any(|one| one == domain.key()))
}

pub(super) fn flush(office: &Office, which: &Which) -> usize {
    let ids = match which {
        Which::All => office.journal.ids(),
        some => find(office, some),
    };
    let now = office.clock.elapsed();
    office.hosts().forget();
    office.table().lanes.wake();
    let first = *which != Which::All;
    let hurry = |some: &[SpoolId]| {
        let mut table = office.table();
        some.iter().filter(|id| table.hurry(**id, now, first)).count()
    };
    // Others need the table meanwhile.
    let count = ids.chunks(AT_ONCE).map(hurry).sum();
    office.runner.wake();
    count
}

pub(super) fn hold(office: &Office, id: SpoolId, which: &Which) -> Result<(), ActError> {
    let recipients = seize(office, id, which)?;
    write(office, id, &recipients, Status::Held, "held by an operator")
}

pub(super) fn release(office: &Office, id: SpoolId, which: &Which) -> Result<(), ActError> {
    let recipients = seize(office, id, which)?;
    let status = Status::Deferred { until: office.clock.now() };
    write(office, id, &recipients, status, "released by an operator")?;
    let_go(office, id, &recipients);
    Ok(())
}

pub(super) fn remove(office: &Office, id: SpoolId, which: &Which) -> Result<(), ActError> {
    let recipients = seize(office, id, which)?;
    write(office, id, &recipients, Status::Removed, "removed by an operator")?;
    office.table().settled(id, &recipients);
    Ok(())
}

/// Takes a message out of its lanes and holds what is meant of it, so that nobody begins it meanwhile; gives these
/// recipients.
fn seize(office: &Office, id: SpoolId, which: &Which) -> Result<Vec<u32>, ActError> {
    let recipients = meant(office, id, which);
    let now = office.clock.elapsed();
    let mut table = office.table();
    let waiting = table.recipients(id);
    let recipients: Vec<u32> = recipients.into_iter().filter(|index| waiting.contains(index)).collect();
    if recipients.is_empty() {
        return Err(ActError::Unknown);
    }
    if !table.withdraw(id, now) {
        return Err(ActError::Busy);
    }
    table.hold(id, &recipients);
    drop(table);
    // What else lay ready waits again.
    office.runner.wake();
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
