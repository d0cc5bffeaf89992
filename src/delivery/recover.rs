//! After a crash: which copies of unsettled messages lie whole in their mailboxes already? No copy is made twice. What sessions
//! filed and is missing is filed at once, in its order; the queue-runner delivers the rest.
//!
//! [`begin`] runs before the daemon listens, so before anything new is appended. Mailboxes that can't be looked at then
//! (another program holds the lock) stay on a list, and nothing is delivered to one of them before it was looked at.

use super::places::{self, Target};
use super::{Office, Route, list, runner};
use crate::mail::{Act, Place, Recipient};
use crate::mailbox::{Arrival, Copy, Mailbox, MailboxError};
use crate::spool::{Entry, Message, SpoolId, Unsettled};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the start may be held up by mailboxes that are locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of messages that are in memory for one look into a mailbox.
const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// A message and the index of a recipient.
type Name = (SpoolId, u32);

/// A mailbox: its owner's name and its id.
type Key = (String, String);

fn key(target: &Target) -> Key {
    (target.account.name.clone(), target.folder.clone())
}

/// What has still to be looked for.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Is there anything at all? (Asked at each delivery.)
    any: AtomicBool,
    /// By account and folder. The lock of a list is taken before that of the map, never after it.
    accounts: Mutex<HashMap<Key, Arc<Mutex<Vec<Name>>>>>,
    /// Copies whose account could not be told at the start.
    strays: Mutex<Vec<Name>>,
}

/// Fills the table with these messages, and looks for the local copies of what of them waits: at the start, and after an adoption.
pub(super) fn begin(office: &Office, ids: &[SpoolId]) {
    let begun = office.clock.elapsed();
    let mut accounts: HashMap<Key, (Target, Vec<Name>)> = HashMap::new();
    let mut strays = Vec::new();
    let mut ours: HashMap<Arc<str>, bool> = HashMap::new();
    let mut may_be_ours = |domains: &Arc<str>| *ours.entry(domains.clone()).or_insert_with(|| office.may_be_ours(domains));
    for message in ids.iter().filter_map(|id| office.journal.waiting(*id)) {
        enter(office, &message);
        // Most of a long queue is for other hosts, and need not be read.
        if !message.domains.as_ref().is_none_or(&mut may_be_ours) {
            continue;
        }
        for (name, route) in routes(office, &message) {
            match route {
                Some(Some(target)) => accounts.entry(key(&target)).or_insert_with(|| (target, Vec::new())).1.push(name),
                Some(None) => {}
                None => strays.push(name),
            }
        }
    }
    if accounts.is_empty() && strays.is_empty() {
        return;
    }
    let recovery = &office.recovery;
    recovery.add_strays(&strays);
    accounts.iter().for_each(|(key, (_, names))| recovery.add(key, names));
    for (target, _) in accounts.values() {
        if office.clock.elapsed() - begun > PATIENCE {
            break;
        }
        if let Err(error) = recovery.settle_mailbox(office, target) {
            log::warn!("event=recovery-later mailbox={} folder={} reason=\"{error}\"", target.account.name, target.folder);
        }
    }
    // What was found is settled before the next crash: else each start would look for it again, and find ever more.
    office.store.checkpoint();
    office.keeper.stir();
}

fn enter(office: &Office, message: &Unsettled) {
    let mut table = office.table();
    for waiting in &message.waiting {
        let (recipient, due) = ([waiting.index], runner::due_in_table(office, waiting.due));
        match waiting.held {
            true => table.hold(message.id, &recipient),
            // Whether it was tried or not: new mail goes first.
            false => table.defer(message.id, &recipient, due),
        }
    }
}

/// In which mailboxes here the waiting recipients of a message may have copies; `None`: can't be told now.
fn routes(office: &Office, message: &Unsettled) -> Vec<(Name, Option<Option<Target>>)> {
    let entry = match office.journal.peek(message.id) {
        Ok(entry) => entry,
        Err(error) => {
            log::error!("msg={} event=unreadable reason=\"{error}\"", message.id);
            return message.waiting.iter().map(|waiting| ((message.id, waiting.index), None)).collect();
        }
    };
    let route = |index| match super::recipient(&entry, index)? {
        Recipient { line: Some(_), .. } => Some(None),
        Recipient { place: None, address, .. } => match office.route(address).ok()? {
            Route::Local(account) => {
                let folder = office.folder_for(&account, address).ok()?;
                Some(Some(Target { account, folder }))
            }
            Route::Remote(_) | Route::Expand | Route::NoUser => Some(None),
        },
        Recipient { place: Some(place), .. } => match &**place {
            Place { act: Act::Remove { .. }, .. } => Some(None),
            place => Some(Some(Target { account: office.owner(place).ok()?, folder: place.folder.clone() })),
        },
    };
    message.waiting.iter().map(|waiting| ((message.id, waiting.index), route(waiting.index))).collect()
}

impl Recovery {
    /// Adds to the list of a mailbox. A list that was taken off meanwhile is no list any more.
    fn add(&self, key: &Key, names: &[Name]) {
        loop {
            let list = lock(&self.accounts).entry(key.clone()).or_default().clone();
            let mut held = lock(&list);
            let accounts = lock(&self.accounts);
            if accounts.get(key).is_some_and(|current| Arc::ptr_eq(current, &list)) {
                self.any.store(true, Ordering::SeqCst);
                held.extend(names);
                return;
            }
        }
    }

    fn add_strays(&self, names: &[Name]) {
        let mut strays = lock(&self.strays);
        strays.extend(names);
        self.any.fetch_or(!strays.is_empty(), Ordering::SeqCst);
    }

    /// Before a copy is made: looks into the mailbox if that was not done since the start. A copy that is there is off the
    /// table when this returns, whoever looked.
    pub(super) fn settle_account(&self, office: &Office, target: &Target, copy: Name) -> Result<(), MailboxError> {
        if !self.any.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.settle_mailbox(office, target)?;
        let mut strays = lock(&self.strays);
        if let Some(at) = strays.iter().position(|stray| *stray == copy) {
            look(office, target, &[copy])?;
            strays.swap_remove(at);
        }
        drop(strays);
        self.note_end();
        Ok(())
    }

    /// Looks for all copies of one mailbox; those that are whole are taken off the table.
    pub(super) fn settle_mailbox(&self, office: &Office, target: &Target) -> Result<(), MailboxError> {
        let Some(list) = lock(&self.accounts).get(&key(target)).cloned() else { return Ok(()) };
        // Held while looking: who comes second waits until it is known.
        let mut list = lock(&list);
        look(office, target, &list)?;
        list.clear();
        lock(&self.accounts).remove(&key(target));
        self.note_end();
        Ok(())
    }

    fn note_end(&self) {
        let (strays, accounts) = (lock(&self.strays), lock(&self.accounts));
        if strays.is_empty() && accounts.is_empty() {
            self.any.store(false, Ordering::SeqCst);
        }
    }
}

/// Asks the mailbox, so many messages at a time as fit into memory.
fn look(office: &Office, target: &Target, names: &[Name]) -> Result<(), MailboxError> {
    let mut names = names.iter().copied().peekable();
    while names.peek().is_some() {
        let (mut batch, mut bytes): (Vec<(Name, Entry)>, u64) = (Vec::new(), 0);
        while let Some(name) = names.next_if(|_| bytes < MOST_BYTES) {
            // One that can't be read is settled, or can't be delivered either.
            let Ok(entry) = office.journal.read(name.0) else { continue };
            if let Message::Memory(text) = &entry.message {
                bytes += text.len() as u64;
            }
            batch.push((name, list::own_copy(office, &entry, name.1)?.into_owned()));
        }
        look_for(office, target, &batch)?;
    }
    Ok(())
}

fn look_for(office: &Office, target: &Target, batch: &[(Name, Entry)]) -> Result<(), MailboxError> {
    let mut found: Vec<(Name, Copy<'_>)> = Vec::with_capacity(batch.len());
    for (name, entry) in batch {
        let Some(copy) = places::copy_of(entry, name.1) else { continue };
        found.push((*name, copy));
        office.expected.expect(entry, name.1);
    }
    let (names, copies): (Vec<Name>, Vec<Copy<'_>>) = found.into_iter().unzip();
    if copies.is_empty() {
        return Ok(());
    }
    let opened = office.store.by_id(&target.account, &target.folder);
    let looked = opened.and_then(|mailbox| Ok((mailbox.clone(), mailbox.recover(&copies)?)));
    let is_there = |at: usize| looked.as_ref().is_ok_and(|(_, whole)| whole.get(at) == Some(&true));
    let lacking = names.iter().enumerate().filter(|(at, _)| !is_there(*at));
    lacking.for_each(|(_, (id, index))| office.expected.forget(*id, *index));
    let (mailbox, whole) = match looked {
        // Its folder was deleted: nothing is there, and who serves it will find the same.
        Err(MailboxError::Nonexistent | MailboxError::Gone) => return Ok(()),
        other => other?,
    };
    for ((id, index), _) in names.iter().zip(&whole).filter(|(_, whole)| **whole) {
        log::info!("msg={id} event=recovered mailbox={} folder={} recipient={index}", target.account.name, target.folder);
        office.table().settled(*id, &[*index]);
    }
    let missing = names.into_iter().zip(copies).zip(whole).filter_map(|(copy, whole)| (!whole).then_some(copy));
    file_in_order(office, target, &mailbox, missing);
    Ok(())
}

/// What a session put there together comes in the order that it gave. (The queue-runner serves one as soon as another.)
fn file_in_order<'a>(office: &Office, target: &Target, mailbox: &Mailbox, missing: impl Iterator<Item = (Name, Copy<'a>)>) {
    let filed = missing.filter(|(_, copy)| matches!(copy.arrival, Arrival::Filed(_)));
    let (names, copies): (Vec<Name>, Vec<Copy<'_>>) = filed.unzip();
    if copies.is_empty() {
        return;
    }
    match mailbox.deliver_all(&copies) {
        Ok(_) => names.iter().for_each(|(id, index)| {
            log::info!("msg={id} event=filed user={} folder={}", target.account.name, target.folder);
            office.table().settled(*id, &[*index]);
        }),
        Err(error) => log::warn!("event=filed-later user={} folder={} reason=\"{error}\"", target.account.name, target.folder),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
