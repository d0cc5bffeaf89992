//! Mailboxes here: the first round that a letter makes before its sender reads 250, and later tries by the queue-runner.

use super::lanes::{Lane, Limits};
use super::outcome::{self, Trouble, Verdict};
use super::places::{self, Target};
use super::runner::{self, InHand};
use super::table::Task;
use super::{Hop, Office, Route};
use crate::auth::Shown;
use crate::host::Account;
use crate::mail::header;
use crate::mailbox::{MailboxError, Uid};
use crate::spool::{Entry, Message};
use crate::sys::counters;
use std::collections::BTreeMap;
use std::io;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

/// The id of everybody's INBOX.
pub(super) const INBOX: &str = "INBOX";

/// Copies that are made before the reply.
const MOST_AT_ONCE: usize = 64;

/// How long that may take.
const LONGEST_AT_ONCE: Duration = Duration::from_secs(2);

/// Bytes in which a header of the spool ends, our own field included.
const MOST_HEADER: usize = 320 * 1024;

/// Delivers what is local and hands the rest to the queue-runner. `delivered_to`: values of the message's Delivered-To
/// fields, as keys of addresses.
pub(super) fn first_round(office: &Arc<Office>, entry: &Entry, delivered_to: &[String]) {
    let begin = office.clock.elapsed();
    let _in_hand = InHand::begin(office, slice::from_ref(entry));
    if let Some(wait) = runner::not_yet(office, entry) {
        let all: Vec<u32> = (0..).zip(&entry.envelope.recipients).map(|(index, _)| index).collect();
        office.table().wait(entry.id, &all, begin + wait);
        return office.runner.wake();
    }
    let (mut copies, mut later, mut decided) = (0, Vec::new(), Vec::new());
    let mut hops: BTreeMap<Hop, Vec<u32>> = BTreeMap::new();
    for (index, recipient) in (0..).zip(&entry.envelope.recipients) {
        match office.route(&recipient.address) {
            Ok(Route::Local(account)) => {
                if copies == MOST_AT_ONCE || (copies > 0 && office.clock.elapsed() - begin >= LONGEST_AT_ONCE) {
                    later.push(index);
                    continue;
                }
                copies += 1;
                match deliver(office, entry, index, &account, delivered_to) {
                    Ok(_) => office.table().settled(entry.id, &[index]),
                    Err(verdict) => decided.push((index, verdict)),
                }
            }
            Ok(Route::Remote(hop)) => hops.entry(hop).or_default().push(index),
            Ok(Route::NoUser) => decided.push((index, Verdict::no_user())),
            Err(error) => decided.push((index, Verdict::own_trouble(&error))),
        }
    }
    let mut ways: Vec<(Lane, Vec<u32>)> = hops.into_iter().map(|(hop, recipients)| (Lane::Remote(hop), recipients)).collect();
    ways.extend((!later.is_empty()).then_some((Lane::Local, later)));
    if !ways.is_empty() {
        let limits = Limits::of(&office.config().queue);
        let (mut table, mut wake) = (office.table(), false);
        for (lane, recipients) in ways {
            table.ready(lane.clone(), Task::new(entry.id, recipients), begin);
            wake |= table.needs_runner(entry.id, &lane, limits, begin);
        }
        drop(table);
        if wake {
            office.runner.wake();
        }
    }
    outcome::conclude(office, entry, true, decided);
}

/// Another try for copies that could not be made at once, or were not all made before a crash.
pub(super) fn run(office: &Arc<Office>, task: &Task) {
    let entry = match office.journal.read(task.id) {
        Ok(entry) => entry,
        Err(error) => return runner::unreadable(office, task, &error),
    };
    let delivered_to = match head(&entry.message) {
        Ok(head) => delivered_to(&head),
        Err(error) => return runner::unreadable(office, task, &error.into()),
    };
    let mut decided = Vec::new();
    for &index in &task.recipients {
        let Some(address) = super::address(&entry, index) else { continue };
        if let Some(place) = places::place_of(&entry, index) {
            places::serve(office, &entry, index, place);
            continue;
        }
        match office.route(address) {
            Ok(Route::Local(account)) => match deliver(office, &entry, index, &account, &delivered_to) {
                Ok(_) => office.table().settled(task.id, &[index]),
                Err(verdict) => decided.push((index, verdict)),
            },
            // The configuration changed meanwhile: it goes another way at the next look.
            Ok(Route::Remote(_)) => office.table().wait(task.id, &[index], office.clock.elapsed()),
            Ok(Route::NoUser) => decided.push((index, Verdict::no_user())),
            Err(error) => decided.push((index, Verdict::own_trouble(&error))),
        }
    }
    outcome::conclude(office, &entry, true, decided);
    office.keeper.stir();
}

/// Makes one copy, unless it is there already. It counts as delivered for good when its mailbox tells the journal so, after
/// its next checkpoint.
fn deliver(
    office: &Office,
    entry: &Entry,
    index: u32,
    account: &Account,
    delivered_to: &[String],
) -> Result<Option<Uid>, Verdict> {
    let Some(address) = super::address(entry, index) else { return Ok(None) };
    if !delivered_to.is_empty() && delivered_to.contains(&address.key()) {
        return Err(Verdict::Failed(Trouble::own("5.4.6", "The message has been in this mailbox before: it goes in a circle.")));
    }
    let target = Target { account: account.clone(), folder: INBOX.to_owned() };
    office.recovery.settle_account(office, &target, (entry.id, index)).map_err(|error| refused(&error))?;
    // Perhaps it was found just now, by us or by another thread.
    if !office.table().has(entry.id, index) {
        return Ok(None);
    }
    let Some(copy) = places::copy_of(entry, index) else { return Ok(None) };
    let expected = office.expected.expect(entry, index);
    let delivered = office.within_quota(account, 1, || office.store.inbox(account)?.deliver(&copy));
    if expected && delivered.is_err() {
        office.expected.forget(entry.id, index);
    }
    let uid = delivered.map_err(|error| refused(&error))?;
    counters::RECIPIENTS_DELIVERED.count();
    log::info!(
        "msg={} event=delivered to=<{}> mailbox={} uid={} delay={:.1}",
        entry.id,
        Shown(&address.to_string()),
        account.name,
        uid.0,
        office.clock.now().since(entry.time).as_secs_f32()
    );
    Ok(Some(uid))
}

/// All reasons of a mailbox are temporary.
fn refused(error: &MailboxError) -> Verdict {
    let (status, reason) = match error {
        MailboxError::Busy | MailboxError::InUse => ("4.2.0", "The mailbox is in use by another program."),
        MailboxError::Full => ("4.2.2", "There is no room for more mail in the mailbox."),
        MailboxError::Refused(_) | MailboxError::Nonexistent | MailboxError::Gone | MailboxError::Io(_) => {
            ("4.3.0", "The mailbox could not be written.")
        }
    };
    Verdict::Deferred(Trouble::own(status, reason).because(error))
}

/// The header of a spooled message in disk form, and a bit of what follows it if that is short.
pub(super) fn head(message: &Message) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut scan = super::mend::EndScan::default();
    while head.len() < MOST_HEADER {
        let at = head.len();
        head.resize(at + 8 * 1024, 0);
        let read = message.read_at(head.get_mut(at..).unwrap_or_default(), at as u64)?;
        head.truncate(at + read);
        if let Some(end) = scan.find(&head) {
            head.truncate(end);
            break;
        }
        if read == 0 {
            break;
        }
    }
    Ok(head)
}

/// The values of its Delivered-To fields, in lower case.
pub(super) fn delivered_to(head: &[u8]) -> Vec<String> {
    let fields = header::fields(head).filter(|field| field.is(head, "Delivered-To"));
    let value = |field: header::Field| header::unfold(head.get(field.value).unwrap_or_default());
    fields.map(value).map(|value| super::mend::address_key(&value)).collect()
}
