//! NOTIFY (RFC 5465): what happens is told when it happens, in the selected mailbox and in others, in IDLE and between commands.
//!
//! * [`names`]: what changed in a user's list of folders.
//!
//! Other mailboxes are not opened for it; each has a lookout, and when that rings, the mailbox's numbers are compared with those
//! the client knows.

mod names;

use super::answer::{Answer, Done, End};
use super::grammar::fetch::Item;
use super::grammar::{Command, EVENTS, Events, Filter, Notify};
use super::scope::Scope;
use super::session::Session;
use crate::mailbox::{Bell, FolderName, FoldersLookout, Kind, Listed, Lookout, MailboxError, MailboxId, Standing, Tell, Uid};
use names::{Change, Names, changes};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Mailboxes that one session watches.
const MOST_WATCHED: usize = 500;
/// What could not be looked at is looked at again after this.
const SOON: Duration = Duration::from_millis(250);

/// What a session is told, after its first NOTIFY.
#[derive(Debug, Default)]
pub(super) struct Interests {
    /// Of the selected mailbox, and whether numbers stay until a command may change them; none: nothing.
    selected: Option<(Events, bool)>,
    /// Of others.
    groups: Vec<(Scope, Events)>,
    folders: Option<FoldersLookout>,
    /// As the client knows them.
    names: Names,
    watched: BTreeMap<MailboxId, Watched>,
    own: Own,
}

/// A mailbox that is watched.
#[derive(Debug)]
struct Watched {
    name: FolderName,
    lookout: Lookout,
    /// FlagChange, too.
    flags: bool,
    /// How it stood when the client was told; none: it was never told.
    known: Option<Standing>,
}

/// What the client did itself with the command at hand, and need not be told (RFC 5465 §5).
#[derive(Debug, Default)]
struct Own {
    names: BTreeSet<FolderName>,
    mail: Vec<(FolderName, Vec<Uid>)>,
}

/// There are more mailboxes than can be watched.
struct Overflow;

impl Interests {
    /// What is to be told of a name.
    fn events(&self, listed: &Listed) -> Events {
        self.groups.iter().filter(|(scope, _)| scope.has(listed)).fold(Events::default(), |all, (_, events)| all.with(events))
    }

    /// Does the client want to know, and not know yet?
    fn wants(&self, change: &Change, before: &Names) -> bool {
        let (name, old) = change.names();
        let listed = [self.names.get(name), before.get(name), old.and_then(|old| before.get(old))];
        let events = listed.into_iter().flatten().fold(Events::default(), |all, listed| all.with(&self.events(listed)));
        let wanted = if matches!(change, Change::Subscription(_)) { events.subscriptions } else { events.names };
        let own = &self.own.names;
        let is_above = || matches!(change, Change::Name(_)) && own.iter().any(|own| own.parent().as_ref() == Some(name));
        wanted && !own.contains(name) && !old.is_some_and(|old| own.contains(old)) && !is_above()
    }

    /// Is it only what the client put there itself that is new?
    fn is_own(&self, name: &FolderName, before: &Standing, now: &Standing) -> bool {
        self.own.mail.iter().filter(|(folder, _)| folder == name).any(|(_, uids)| {
            let count = uids.len() as u32;
            before.validity == now.validity
                && uids.iter().all(|uid| uid.0 >= before.next)
                && (before.next + count, before.messages + count) == (now.next, now.messages)
        })
    }
}

impl Session<'_> {
    /// NOTIFY (RFC 5465 §3.1); none: of nothing.
    pub(super) fn notify(&mut self, wish: Option<&Notify>) -> Done {
        let Some(wish) = wish else {
            self.interests = Some(Box::default());
            return Ok(Answer::ok("nothing will be told"));
        };
        if wish.groups.iter().any(|(_, events)| events.unknown) {
            let known = format!("BADEVENT ({})", EVENTS.join(" "));
            return Ok(Answer::no("", "there are no other events here").with(known));
        }
        // What another one was to tell is told first, and what happened in the selected mailbox, whatever will be told of it.
        self.tell_others()?;
        self.catch_up_some(Tell::ALL, &[])?;
        let interests = match self.interests(wish) {
            Ok(interests) => interests,
            Err(answer) => return Ok(answer),
        };
        if interests.fetched().contains(&Item::ModSeq) {
            self.enable_condstore()?;
        }
        self.interests = Some(interests);
        if wish.groups.iter().any(|(_, events)| events.notes || events.server_notes) {
            if let Err(answer) = self.watch_notes() {
                return Ok(answer);
            }
        }
        if wish.status {
            self.tell_standings()?
        }
        Ok(Answer::ok("what happens will be told"))
    }

    fn interests(&mut self, wish: &Notify) -> Result<Box<Interests>, Answer> {
        let mut interests = Box::<Interests>::default();
        for (filter, events) in &wish.groups {
            match (self.scope(filter), filter) {
                (Some(scope), _) => interests.groups.push((scope, events.clone())),
                (None, filter) => {
                    let delayed = *filter == Filter::Selected { delayed: true };
                    interests.selected = Some((events.clone(), delayed));
                }
            }
        }
        if interests.groups.iter().all(|(_, events)| *events == Events::default()) {
            return Ok(interests);
        }
        let bell = self.bell().map_err(MailboxError::from)?;
        let folders = self.folders()?.lookout(&bell);
        folders.has_news();
        interests.names = folders.look()?.into_iter().map(|listed| (listed.name.clone(), listed)).collect();
        interests.folders = Some(folders);
        if let Some(before) = &mut self.interests {
            interests.watched = std::mem::take(&mut before.watched);
        }
        let watching = self.watch(&mut interests);
        for watched in interests.watched.values_mut().filter(|watched| watched.known.is_none()) {
            watched.lookout.has_news();
            watched.known = watched.lookout.look().ok();
        }
        match watching {
            Ok(()) => Ok(interests),
            Err(Overflow) => {
                if let Some(before) = &mut self.interests {
                    before.watched = interests.watched;
                }
                Err(Answer::no("NOTIFICATIONOVERFLOW", "these are too many mailboxes"))
            }
        }
    }

    /// Watches what is to be watched, and no more.
    fn watch(&mut self, interests: &mut Interests) -> Result<(), Overflow> {
        let (Ok(account), Ok(bell)) = (self.account(), self.bell()) else { return Ok(()) };
        let mut wanted = BTreeMap::new();
        for listed in interests.names.values() {
            if let Kind::Mailbox(id) = listed.kind {
                let events = interests.events(listed);
                wanted.extend(events.messages.then_some((id, (&listed.name, events.flags))));
            }
        }
        if wanted.len() > MOST_WATCHED {
            return Err(Overflow);
        }
        interests.watched.retain(|id, _| wanted.contains_key(id));
        for (id, (name, flags)) in wanted {
            if let Some(watched) = interests.watched.get_mut(&id) {
                (watched.name, watched.flags) = (name.clone(), flags);
                continue;
            }
            // One that can't be opened, nobody can say anything about.
            if let Ok(mailbox) = self.server.store.open(&account, name) {
                let lookout = mailbox.lookout(&bell);
                interests.watched.insert(id, Watched { name: name.clone(), lookout, flags, known: None });
            }
        }
        Ok(())
    }

    /// How other mailboxes stand (RFC 5465 §3.1, STATUS), in the order of their names.
    fn tell_standings(&mut self) -> Result<(), End> {
        let Some(interests) = self.interests.take() else { return Ok(()) };
        let mut all: Vec<&Watched> = interests.watched.values().collect();
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        for watched in all {
            if let Some(known) = watched.known.filter(|_| !self.is_selected(&watched.lookout)) {
                let mut text = format!("MESSAGES {} UIDNEXT {} UIDVALIDITY {}", known.messages, known.next, known.validity);
                if watched.flags || self.enabled.condstore {
                    text += &format!(" HIGHESTMODSEQ {}", known.modseq);
                }
                self.tell_status(&watched.name, &text)?;
            }
        }
        self.interests = Some(interests);
        Ok(())
    }

    /// What of the selected mailbox is told now; `gone`: numbers may change.
    pub(super) fn tells(&self, gone: bool) -> Tell {
        match self.interests.as_deref().map(|interests| &interests.selected) {
            None => Tell { gone, ..Tell::ALL },
            Some(None) => Tell::NONE,
            Some(Some((events, _))) => Tell { gone: gone && events.messages, new: events.messages, marks: events.flags },
        }
    }

    /// What is told of new messages in the selected mailbox, and which of these the client put there itself.
    pub(super) fn wanted_of_new(&self) -> (Vec<Item>, Vec<Uid>) {
        let (Some(interests), Some(selected)) = (&self.interests, &self.selected) else { return Default::default() };
        let own = interests.own.mail.iter().filter(|(name, _)| *name == selected.name);
        (interests.fetched().to_vec(), own.flat_map(|(_, uids)| uids.clone()).collect())
    }

    /// Tells all that is to be told now.
    pub(super) fn tell_news(&mut self, gone: bool) -> Result<(), End> {
        self.tell_others()?;
        self.tell_notes()?;
        if let Err(end) = self.catch_up(gone) {
            // That the mailbox is no more is news of its name, too.
            self.tell_others()?;
            return Err(end);
        }
        if let Some(interests) = &mut self.interests {
            interests.own = Own::default();
        }
        Ok(())
    }

    /// Tells what happened in other mailboxes and to folders.
    fn tell_others(&mut self) -> Result<(), End> {
        let Some(mut interests) = self.interests.take() else { return Ok(()) };
        let told = match self.tell_names(&mut interests)? {
            Ok(()) => self.tell_mail(&mut interests),
            Err(Overflow) => {
                // RFC 5465 §5.8
                interests = Box::default();
                self.tell(format_args!("OK [NOTIFICATIONOVERFLOW] these are too many mailboxes; nothing will be told any more"))
            }
        };
        self.interests = Some(interests);
        told
    }

    /// MailboxName and SubscriptionChange. What is watched changes with the names.
    fn tell_names(&mut self, interests: &mut Interests) -> Result<Result<(), Overflow>, End> {
        let Some(folders) = interests.folders.as_ref().filter(|folders| folders.has_news()) else { return Ok(Ok(())) };
        let Ok(now) = folders.look() else {
            folders.keep_news();
            self.look_again = true;
            return Ok(Ok(()));
        };
        let now = now.into_iter().map(|listed| (listed.name.clone(), listed)).collect();
        let before = std::mem::replace(&mut interests.names, now);
        for change in changes(&before, &interests.names) {
            if interests.wants(&change, &before) {
                let (name, old) = change.names();
                let is_gone = matches!(change, Change::Gone(_));
                let listed = interests.names.get(name).filter(|listed| !is_gone || !matches!(listed.kind, Kind::Mailbox(_)));
                self.tell_name(&listed.cloned().unwrap_or_else(|| nonexistent(name)), old)?;
            }
        }
        Ok(self.watch(interests))
    }

    /// MessageNew, MessageExpunge and FlagChange in mailboxes that are not selected.
    fn tell_mail(&mut self, interests: &mut Interests) -> Result<(), End> {
        let mut news = Vec::new();
        for (id, watched) in &interests.watched {
            // Of the selected one nothing is told here; later it is compared with what was known before.
            if self.is_selected(&watched.lookout) || !watched.lookout.has_news() {
                continue;
            }
            match watched.lookout.look() {
                Ok(now) => news.push((*id, now)),
                // That will be told as news of its name.
                Err(MailboxError::Gone | MailboxError::Nonexistent) => {}
                Err(_) => {
                    watched.lookout.keep_news();
                    self.look_again = true;
                }
            }
        }
        news.sort_by(|(one, _), (other, _)| interests.name(one).cmp(&interests.name(other)));
        for (id, now) in news {
            let Some(watched) = interests.watched.get_mut(&id) else { continue };
            let before = watched.known.replace(now);
            let (name, flags) = (watched.name.clone(), watched.flags);
            if before.is_some_and(|before| interests.is_own(&name, &before, &now)) {
                continue;
            }
            if let Some(text) = difference(before, now, flags, self.enabled.condstore) {
                self.tell_status(&name, &text)?;
            }
        }
        Ok(())
    }

    /// Does the client want to know of changes to what was noted about this folder, or by the user?
    pub(super) fn wants_notes(&self, folder: Option<&FolderName>) -> bool {
        match (&self.interests, folder) {
            (None, _) => self.enabled.metadata,
            (Some(interests), None) => interests.groups.iter().any(|(_, events)| events.server_notes),
            (Some(interests), Some(folder)) => interests.names.get(folder).is_some_and(|listed| interests.events(listed).notes),
        }
    }

    fn is_selected(&self, lookout: &Lookout) -> bool {
        self.selected.as_ref().is_some_and(|selected| lookout.is_of(selected.view.mailbox()))
    }

    /// What the client does to names, it knows.
    pub(super) fn note_own_names(&mut self, command: &Command) {
        let names = match command {
            Command::Create { name, .. } => [Some(name.strip_suffix(b"/").unwrap_or(name)), None],
            Command::Delete(name) | Command::Subscribe { name, .. } => [Some(name.as_slice()), None],
            Command::Rename { from, to } => [Some(from.as_slice()), Some(to.strip_suffix(b"/").unwrap_or(to))],
            _ => return,
        };
        let names: Vec<FolderName> = names.into_iter().flatten().filter_map(|name| Some(self.folder(name).ok()?.0)).collect();
        if let Some(interests) = &mut self.interests {
            interests.own.names.extend(names);
        }
    }

    /// What the client puts somewhere, it knows.
    pub(super) fn note_own_mail(&mut self, folder: &[u8], uids: &[Uid]) {
        let name = self.folder(folder);
        if let (Some(interests), Ok((name, _))) = (&mut self.interests, name) {
            interests.own.mail.push((name, uids.to_vec()));
        }
    }

    /// What the session waits with.
    pub(super) fn bell(&mut self) -> std::io::Result<Arc<Bell>> {
        if self.bell.is_none() {
            self.bell = Some(Bell::new()?);
        }
        self.bell.clone().ok_or(std::io::ErrorKind::NotFound.into())
    }

    /// Is anything to be told while no command is carried out? And may numbers change then? (RFC 5465 §6.1)
    pub(super) fn listens(&self) -> Option<bool> {
        let interests = self.interests.as_deref()?;
        let selected = interests.selected.as_ref();
        (selected.is_some() || interests.folders.is_some()).then(|| selected.is_some_and(|(_, delayed)| !delayed))
    }

    /// Tells what happens until the client says something, or for so long; false: it said nothing. `gone`: numbers may change.
    pub(super) fn tell_until_input(&mut self, within: Duration, gone: bool) -> Result<bool, End> {
        let bell = self.bell()?;
        let begun = self.server.clock.elapsed();
        loop {
            let left = within.saturating_sub(self.server.clock.elapsed().saturating_sub(begun));
            if left.is_zero() {
                return Ok(false);
            }
            if let Some(selected) = &self.selected {
                selected.view.watch(&bell);
            }
            bell.quiet();
            self.look_again = false;
            self.tell_news(gone)?;
            self.selected.iter().for_each(|selected| selected.view.rest());
            let pause = if self.look_again { left.min(SOON) } else { left };
            if self.connection.wait(bell.fd(), pause)? {
                return Ok(true);
            }
        }
    }
}

impl Interests {
    fn name(&self, id: &MailboxId) -> Option<&FolderName> {
        self.watched.get(id).map(|watched| &watched.name)
    }

    fn fetched(&self) -> &[Item] {
        self.selected.as_ref().map_or(&[], |(events, _)| &events.fetch)
    }
}

/// What STATUS tells of a mailbox that stands otherwise than the client knows (RFC 5465 §5.1 to §5.3); nothing, if that is of no
/// interest.
fn difference(before: Option<Standing>, now: Standing, flags: bool, condstore: bool) -> Option<String> {
    let Some(before) = before else {
        // It is new among those that are watched.
        return difference(Some(Standing { validity: now.validity, ..Standing::default() }), now, flags, condstore)
            .filter(|_| now.messages > 0);
    };
    let mut items = Vec::new();
    if (before.validity, before.next, before.messages) != (now.validity, now.next, now.messages) {
        items.extend([format!("MESSAGES {}", now.messages), format!("UIDNEXT {}", now.next)]);
    }
    let is_news = !items.is_empty() || (flags && condstore && before.changed != now.changed);
    if flags && before.unseen != now.unseen {
        items.push(format!("UNSEEN {}", now.unseen));
    }
    if !is_news && items.is_empty() {
        return None;
    }
    items.push(format!("UIDVALIDITY {}", now.validity));
    items.extend(condstore.then(|| format!("HIGHESTMODSEQ {}", now.modseq)));
    Some(items.join(" "))
}

fn nonexistent(name: &FolderName) -> Listed {
    Listed { name: name.clone(), kind: Kind::Nonexistent, has_children: false, subscribed: false, special: None }
}
