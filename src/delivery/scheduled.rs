//! Messages of users that wait because their senders want them to leave later (RFC 4865 §4.2): which those are, and how one is
//! taken back or sent at once. That is done to all of a message or to nothing, and only while nobody has got it.

use super::Office;
use super::operator::{Operation, write};
use crate::mail::{Envelope, Origin};
use crate::spool::{Glance, SpoolError, SpoolId};
use crate::sys::Time;
use std::sync::Arc;

/// One of them.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// Its name.
    pub id: SpoolId,
    /// When it leaves.
    pub at: Time,
    /// Sender and recipients.
    pub envelope: Arc<Envelope>,
}

/// All of a user's, the one that leaves first on top. After a start some may come a moment later.
pub(super) fn of(office: &Office, user: &str) -> Vec<Scheduled> {
    let (ids, mut glance) = (office.table().kept_of(user), office.journal.glance());
    let mut all: Vec<Scheduled> = ids.into_iter().filter_map(|id| look(office, &mut glance, user, id)).collect();
    all.sort_by_key(|scheduled| (scheduled.at, scheduled.id.generation, scheduled.id.counter));
    all
}

/// Is it one of this user's?
fn look(office: &Office, glance: &mut Glance<'_>, user: &str, id: SpoolId) -> Option<Scheduled> {
    let (unsettled, envelope) = (office.journal.waiting(id)?, glance.envelope(id).ok()?);
    let is_own = matches!(&envelope.origin, Origin::User(name) if name == user);
    let is_whole = unsettled.waiting.len() == envelope.recipients.len();
    let at = envelope.begins(unsettled.time);
    let is_kept = envelope.release.is_some() && !unsettled.is_tried() && at > office.clock.now();
    (is_own && is_whole && is_kept).then_some(Scheduled { id, at, envelope })
}

/// Removes it or makes it due. False: it is no such message of this user's, or not any more; then nothing was done.
pub(super) fn operate(office: &Office, operation: Operation, user: &str, id: SpoolId) -> Result<bool, SpoolError> {
    let mut glance = office.journal.glance();
    let table = office.table();
    let (recipients, held) = (table.recipients(id), table.held(id));
    drop(table);
    // What operators hold is theirs to release.
    if !held.is_empty() || look(office, &mut glance, user, id).is_none() {
        return Ok(false);
    }
    let mut messages = vec![(id, recipients)];
    office.table().seize(&mut messages, office.clock.elapsed());
    let Some((_, seized)) = messages.first() else { return Ok(false) };
    // From here on nobody begins it; but somebody may have, since we looked.
    let is_still =
        look(office, &mut glance, user, id).is_some_and(|scheduled| scheduled.envelope.recipients.len() == seized.len());
    if !is_still {
        office.table().wait(id, seized, office.clock.elapsed());
        office.runner.wake();
        return Ok(false);
    }
    write(office, operation, &messages).map(|()| true)
}
