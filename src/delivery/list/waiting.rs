//! Posts that wait for a moderator, and for how long: none decides for ever, and a list may end before.

use super::super::{Delivery, Office, local};
use super::operate::{HeldPost, ListError, found};
use super::posts::waits_for;
use super::{Done, List};
use crate::lists::{Facts, Name, Settings, split};
use crate::mail::Address;
use crate::spool::{Outcome, SpoolError, SpoolId, Status};
use crate::sys::Time;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Between two looks for such that waited for too long.
pub(in super::super) const LOOK: Duration = Duration::from_secs(3600);

/// Ends those that waited for too long, and did so at the look before: a clock that was wrong for a moment ends none. What is wrong
/// with one list is of no concern to the others.
pub(in super::super) fn expire(office: &Arc<Office>) {
    let mut overdue = office.desk.overdue.lock().unwrap_or_else(PoisonError::into_inner);
    let before = std::mem::take(&mut *overdue);
    for (name, posts) in all(office) {
        match found(office, &name) {
            Ok(list) => {
                let Settings { hold, .. } = list.settings;
                let end = office.clock.now() - DAY * hold;
                for (id, _) in posts.into_iter().filter(|(_, since)| hold > 0 && *since <= end) {
                    match before.contains(&id) {
                        true => list.expire(id),
                        false => drop(overdue.insert(id)),
                    }
                }
            }
            // Perhaps its directory is away for a while.
            Err(error) => log::warn!("list={name} event=posts-wait count={} reason=\"{error}\"", posts.len()),
        }
    }
}

/// All that is held.
fn held(office: &Office) -> Vec<SpoolId> {
    let mut held = Vec::new();
    office.journal.look(&office.journal.ids(), |id, _, waiting| {
        held.extend(waiting.filter(|(_, is_held)| *is_held).take(1).map(|_| id));
    });
    held
}

/// By list, and since when. What an operator holds is not among them.
fn all(office: &Office) -> BTreeMap<Name, Vec<(SpoolId, Time)>> {
    let (mut glance, mut found) = (office.journal.glance(), BTreeMap::<Name, Vec<_>>::new());
    for id in held(office) {
        let Ok(envelope) = glance.envelope(id) else { continue };
        let name = match envelope.recipients.as_slice() {
            [only] => split(only.address.local()).map(|(name, _)| name),
            _ => None,
        };
        let Some((name, post)) = name.zip(office.journal.waiting(id)) else { continue };
        if post.waiting.iter().any(|one| one.text == waits_for(&name)) {
            found.entry(name).or_default().push((id, post.time));
        }
    }
    found
}

impl List<'_> {
    /// What there is to decide on, what an operator holds included.
    pub(super) fn all_held(&self) -> Result<Vec<HeldPost>, ListError> {
        let (mut posts, mut glance) = (Vec::new(), self.office.journal.glance());
        for id in held(self.office) {
            match glance.envelope(id) {
                Ok(envelope) if self.is_post(&envelope) => {}
                Ok(_) | Err(SpoolError::Unknown(_)) => continue,
                Err(error) => return Err(ListError::Trouble(error.to_string())),
            }
            let Ok(entry) = self.office.journal.peek(id) else { continue };
            let head = local::head(&entry.message)?;
            let facts = Facts::of(&head, entry.envelope.reverse_path.0.as_ref(), &self.identity);
            let author = facts.author().map(Address::to_string).unwrap_or_default();
            posts.push(HeldPost { id, time: entry.time, author, subject: facts.subject });
        }
        Ok(posts)
    }

    fn expire(&self, id: SpoolId) {
        let _judging = self.office.desk.judging();
        let done = self.held(id).and_then(|post| {
            let Some(post) = post else { return Ok(None) };
            let days = self.settings.hold;
            let news = match self.settings.tells_expiry {
                true => self.news(&post, |author, subject| self.identity.expired(author, subject, days))?,
                false => None,
            };
            let text = format!("no moderator decided in {days} days");
            let settles = vec![self.outcome(id, 0, Status::Expired, &text)];
            self.commit(Done { drafts: news.into_iter().collect(), settles, text, ..Done::default() }, Vec::new()).map(Some)
        });
        match done {
            Ok(Some(entries)) => {
                log::info!("msg={id} event=list list={} outcome=expired", self.identity.name);
                entries.iter().for_each(|entry| local::first_round(self.office, entry, &[]));
            }
            Ok(None) => {}
            Err(verdict) => {
                log::warn!("msg={id} event=list list={} outcome=\"not expired\" reason=\"{verdict:?}\"", self.identity.name)
            }
        }
    }
}

impl Delivery {
    /// Ends a list, and with it the posts that wait for a moderator. Gives how many these are.
    pub fn list_delete(&self, name: &Name) -> Result<usize, ListError> {
        let office = &self.office;
        // The list first, so that no post comes after; what a crash leaves is for who asks again.
        let was_there = office.lists().delete(name)?;
        let _judging = office.desk.judging();
        let posts = all(office).remove(name).unwrap_or_default();
        if !was_there && posts.is_empty() {
            return Err(ListError::Unknown);
        }
        let (time, text) = (office.clock.now(), format!("the list {name} is no more"));
        let outcome = |id| Outcome { id, recipients: vec![0], status: Status::Removed, time, text: text.clone() };
        let outcomes: Vec<Outcome> = posts.iter().map(|(id, _)| outcome(*id)).collect();
        office.journal.settle(&outcomes).map_err(|error| ListError::Trouble(error.to_string()))?;
        let mut table = office.table();
        posts.iter().for_each(|(id, _)| table.settled(*id, &[0]));
        Ok(posts.len())
    }
}
