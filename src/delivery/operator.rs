//! What operators do to the queue.

use super::Office;
use crate::mail::{Address, Domain, Envelope, ReversePath};
use crate::spool::{Glance, Outcome, SpoolError, SpoolId, Status, Unsettled};

/// So many messages are seen to without a pause, and written down in one act.
const AT_ONCE: usize = 1024;

/// Tells which messages one may see who may not see all.
pub type May<'a> = Option<&'a dyn Fn(&Envelope) -> bool>;

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
    /// Is this recipient of a message meant, which is one of the [`candidates`]?
    fn means(&self, envelope: &Envelope, index: u32) -> bool {
        match self {
            Which::All | Which::Message(_) => true,
            Which::Domain(domain) => envelope.recipient(index).is_some_and(|to| to.address.domain().key() == domain.key()),
            Which::Sender(sender) => is_same(sender, &envelope.reverse_path),
        }
    }
}

/// Nobody but its own host knows whether the case of a local part matters; people who look for one do not care.
fn is_same(one: &ReversePath, other: &ReversePath) -> bool {
    one.0.as_ref().map(Address::key) == other.0.as_ref().map(Address::key)
}

/// What an operator does to what waits.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is not tried until it is released.
    Hold,
    /// What is held is due now.
    Release,
    /// It is taken out of the queue; nobody is told.
    Remove,
    /// It is due now, though its sender wanted it to leave later. That counts as a try.
    Expedite,
}

/// What came of it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Operated {
    /// Messages to which it was done.
    pub messages: usize,
    /// Messages that were being delivered at that moment, and were left alone.
    pub busy: usize,
}

pub(super) fn queue(office: &Office) -> impl Iterator<Item = Unsettled> + '_ {
    office.journal.ids().into_iter().filter_map(|id| waiting(office, id))
}

pub(super) fn waiting(office: &Office, id: SpoolId) -> Option<Unsettled> {
    let mut message = office.journal.waiting(id)?;
    let table = office.table();
    message.waiting.retain(|waiting| table.has(id, waiting.index));
    (!message.waiting.is_empty()).then_some(message)
}

/// How much waits.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages.
    pub messages: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Who waits for them.
    pub recipients: usize,
    /// Recipients that wait for an operator.
    pub held: usize,
}

pub(super) fn counts(office: &Office) -> Counts {
    let mut counts = Counts::default();
    for ids in office.journal.ids().chunks(AT_ONCE) {
        let table = office.table();
        office.journal.look(ids, |id, size, waiting| {
            let before = counts.recipients;
            for (_, held) in waiting.filter(|(index, _)| table.has(id, *index)) {
                counts.recipients += 1;
                counts.held += usize::from(held);
            }
            if counts.recipients > before {
                counts.messages += 1;
                counts.bytes += size;
            }
        });
    }
    counts
}

/// The messages that may be meant, in order of arrival.
fn candidates(office: &Office, which: &Which) -> Vec<SpoolId> {
    match which {
        Which::Message(id) => vec![*id],
        Which::All | Which::Domain(_) | Which::Sender(_) => office.journal.ids(),
    }
}

/// Those of these recipients of a message that are meant, if it is one that `may` be.
fn meant(office: &Office, glance: &mut Glance<'_>, id: SpoolId, which: &Which, may: May<'_>, mut of: Vec<u32>) -> Vec<u32> {
    let by_id = matches!(which, Which::All | Which::Message(_));
    if of.is_empty() || by_id && may.is_none() {
        return of;
    }
    match may_mean(office, id, which).then(|| glance.envelope(id)) {
        Some(Ok(envelope)) if may.is_none_or(|may| may(&envelope)) => of.retain(|index| which.means(&envelope, *index)),
        _ => of.clear(),
    }
    of
}

/// As far as can be told without reading the message: may it be meant?
fn may_mean(office: &Office, id: SpoolId, which: &Which) -> bool {
    let Which::Domain(domain) = which else { return true };
    let domains = office.journal.waiting(id).and_then(|message| message.domains);
    domains.is_none_or(|domains| domains.split(',').any(|one| one == domain.key()))
}

pub(super) fn flush(office: &Office, which: &Which) -> usize {
    let now = office.clock.elapsed();
    ask_all_again(office);
    let (first, mut glance) = (*which != Which::All, office.journal.glance());
    let mut hurry = |some: &[SpoolId]| {
        let is_meant = |id: &&SpoolId| {
            let waiting = office.table().recipients(**id);
            !meant(office, &mut glance, **id, which, None, waiting).is_empty()
        };
        let some: Vec<&SpoolId> = some.iter().filter(is_meant).collect();
        let mut table = office.table();
        some.into_iter().filter(|id| table.hurry(**id, now, first)).count()
    };
    // Others need the table meanwhile.
    let count = candidates(office, which).chunks(AT_ONCE).map(&mut hurry).sum();
    office.runner.wake();
    count
}

/// What an operator wants tried is tried, whoever could not be reached a moment ago.
fn ask_all_again(office: &Office) {
    office.hosts().forget();
    office.table().lanes.wake();
}

/// Does it to all that is meant, many at a time: to write each down for itself would take a disk sync for each. After an error
/// it is done to those before.
pub(super) fn operate(office: &Office, operation: Operation, which: &Which, may: May<'_>) -> Result<Operated, SpoolError> {
    let (mut done, mut glance) = (Operated::default(), office.journal.glance());
    if operation == Operation::Release {
        ask_all_again(office);
    }
    for ids in candidates(office, which).chunks(AT_ONCE) {
        let mut messages: Vec<(SpoolId, Vec<u32>)> = Vec::new();
        for &id in ids {
            let table = office.table();
            let of = if operation == Operation::Release { table.held(id) } else { table.recipients(id) };
            drop(table);
            let recipients = meant(office, &mut glance, id, which, may, of);
            if !recipients.is_empty() {
                messages.push((id, recipients));
            }
        }
        if operation != Operation::Release {
            done.busy += office.table().seize(&mut messages, office.clock.elapsed());
            // What else lay ready waits again.
            office.runner.wake();
        }
        write(office, operation, &messages)?;
        done.messages += messages.len();
    }
    Ok(done)
}

/// Writes it down, and makes it so; what can't be written down is not done.
pub(super) fn write(office: &Office, operation: Operation, messages: &[(SpoolId, Vec<u32>)]) -> Result<(), SpoolError> {
    let time = office.clock.now();
    let (status, text) = match operation {
        Operation::Hold => (Status::Held, "held by an operator"),
        Operation::Release => (Status::Deferred { until: time }, "released by an operator"),
        Operation::Remove => (Status::Removed, "removed by an operator"),
        Operation::Expedite => (Status::Deferred { until: time }, "its sender wants it to leave now"),
    };
    let outcome = |(id, recipients): &(SpoolId, Vec<u32>)| {
        let (recipients, status) = (recipients.clone(), status.clone());
        Outcome { id: *id, recipients, status, time, text: text.to_owned() }
    };
    let written = office.journal.settle(&messages.iter().map(outcome).collect::<Vec<_>>());
    office.keeper.stir();
    let mut table = office.table();
    for (id, recipients) in messages {
        match (&written, operation) {
            (Ok(()), Operation::Hold) => {}
            (Ok(()), Operation::Remove) => table.settled(*id, recipients),
            // Whoever tries what is settled all the same finds that out.
            (Ok(()), Operation::Release | Operation::Expedite) | (Err(_), _) => {
                table.wait(*id, recipients, office.clock.elapsed())
            }
        }
    }
    drop(table);
    office.runner.wake();
    written?;
    for (id, recipients) in messages {
        log::info!("msg={id} event=operator text=\"{text}\" recipients={}", recipients.len());
    }
    Ok(())
}
