//! Alternative receivers: what can't be delivered to an address, or has waited for too long, goes to another one that the
//! configuration sets for such cases.
//!
//! It goes in a record of its own, which settles the first recipient, together with a report that tells the sender: one act of
//! the journal, so that a crash leaves neither two messages nor none. What fails there too comes back as any other mail. The
//! record begins with a Delivered-To field that names the first address: so two that stand in for each other end it.

use super::bounce::Kind;
use super::expand::{self, Sender};
use super::local::{self, Pace};
use super::outcome::{Case, Trouble};
use super::report::{drafts_of, wishes};
use super::route::{End, To};
use super::{Office, PostError, Route};
use crate::auth::Shown;
use crate::mail::Address;
use crate::spool::{Draft, Entry, Outcome, Status};
use std::sync::Arc;
use std::time::Duration;

/// A recipient, why it is not served, and who gets the message instead.
#[derive(Debug)]
pub(super) struct Diversion {
    case: Case,
    to: Address,
}

/// Parts those for whom another one is set from the others.
pub(super) fn part(office: &Office, entry: &Entry, cases: Vec<Case>) -> (Vec<Diversion>, Vec<Case>) {
    let (mut diverted, mut others) = (Vec::new(), Vec::new());
    for case in cases {
        match of(office, entry, case.0) {
            Some((to, _)) => diverted.push(Diversion { case, to }),
            None => others.push(case),
        }
    }
    (diverted, others)
}

/// After which age it is time for the alternative of a recipient that is not given up, if it has one.
pub(super) fn time_of(office: &Office, entry: &Entry, index: u32) -> Option<Duration> {
    of(office, entry, index)?.1
}

/// What is set for a recipient, unless the message has been there.
fn of(office: &Office, entry: &Entry, index: u32) -> Option<(Address, Option<Duration>)> {
    let config = office.config();
    if config.alternatives.is_empty() {
        return None;
    }
    // What an alias leads to is its own address, whatever name it came by. What a session files is nobody's mail.
    let recipient = super::recipient(entry, index).filter(|recipient| recipient.session_place().is_none())?;
    let (key, domain) = (recipient.address.key(), recipient.address.domain().key());
    let found = config.alternatives.iter().find(|one| one.is_for(&key, &domain))?;
    let to: Address = found.to.parse().ok()?;
    let been = local::head(&entry.message).map(|head| local::delivered_to(&head)).unwrap_or_default();
    (to.key() != key && !been.contains(&to.key())).then_some((to, found.after))
}

/// Who these are.
pub(super) fn indices(diverted: &[Diversion]) -> Vec<u32> {
    diverted.iter().map(|diversion| diversion.case.0).collect()
}

/// Sends it there: these recipients are settled by that.
pub(super) fn divert(office: &Arc<Office>, entry: &Entry, diverted: &[Diversion]) -> Result<(), PostError> {
    if diverted.is_empty() {
        return Ok(());
    }
    let (mut drafts, mut settles, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for Diversion { case: (index, trouble), to } in diverted {
        let Some(recipient) = super::recipient(entry, *index) else { continue };
        let end = match office.route(to) {
            Ok(Route::Remote(hop)) => To::Remote(hop),
            _ => To::Nobody,
        };
        let end = End { address: to.clone(), to: end };
        let own = entry.envelope.sender(*index).0.as_ref().filter(|_| office.is_foreign(&end));
        let sender = match own.and_then(|sender| office.sends_on_as(sender, recipient.address.domain())) {
            Some(rewritten) => Sender::Rewritten(rewritten),
            None => Sender::Same,
        };
        let leaves = office.is_foreign(&end);
        let envelope = expand::envelope(entry, *index, recipient, &sender, &[end], true);
        drafts.push(expand::write(office, entry, *index, envelope, leaves)?);
        settles.push(Outcome {
            id: entry.id,
            recipients: vec![*index],
            status: Status::Delivered,
            time: office.clock.now(),
            text: format!("sent to {to} instead: {trouble}"),
        });
        let wishes = wishes(entry, *index);
        if wishes.failure || wishes.delay {
            told.push((*index, as_delay(trouble)));
        }
    }
    if !told.is_empty() {
        drafts.extend(drafts_of(office, entry, Kind::Diverted, &told)?);
    }
    let entries = Draft::commit_all(drafts, &settles)?;
    office.table().settled(entry.id, &indices(diverted));
    office.keeper.stir();
    for Diversion { case: (index, trouble), to } in diverted {
        let address = super::address(entry, *index).map(Address::to_string).unwrap_or_default();
        let (address, to) = (Shown(&address), to.to_string());
        let reason = trouble.to_string().replace('"', "'");
        log::info!("msg={} event=diverted to=<{address}> alternative=<{}> reason=\"{reason}\"", entry.id, Shown(&to));
    }
    for new in entries {
        let delivered_to = local::head(&new.message).map(|head| local::delivered_to(&head)).unwrap_or_default();
        local::round(office, &new, &delivered_to, &mut Pace::over());
    }
    Ok(())
}

/// It is not the end: what was permanent is none for the sender (RFC 3464 §2.3.3, "delayed").
fn as_delay(trouble: &Trouble) -> Box<Trouble> {
    let status = trouble.status.get(1..).map_or_else(|| "4.0.0".to_owned(), |rest| format!("4{rest}"));
    Box::new(Trouble { status, ..trouble.clone() })
}
