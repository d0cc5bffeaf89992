//! Mailboxes here: the first round that a letter makes before its sender reads 250, and later tries by the queue-runner.

use super::lanes::{Lane, Limits};
use super::outcome::{self, Trouble, Verdict};
use super::places::{self, Target};
use super::runner::{self, InHand};
use super::table::Task;
use super::{Hop, Office, Route, expand, junk, list, vacation};
use crate::auth::Shown;
use crate::mail::{Act, Line, Place, Priority, header};
use crate::mailbox::{MailboxError, Uid};
use crate::spool::{Entry, Message};
use crate::sys::counters;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

/// Copies that are made before the reply.
const MOST_AT_ONCE: usize = 64;

/// How long that may take.
const LONGEST_AT_ONCE: Duration = Duration::from_secs(2);

/// Bytes in which a header of the spool ends, our own field included.
const MOST_HEADER: usize = 320 * 1024;

/// How far the first round goes: what is expanded in it counts in.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Duration,
    copies: usize,
}

impl Pace {
    fn of(office: &Office) -> Pace {
        Pace { begun: office.clock.elapsed(), copies: 0 }
    }

    /// Of a try by the queue-runner: what is expanded in it is the queue-runner's as well.
    pub(super) fn over() -> Pace {
        Pace { begun: Duration::ZERO, copies: MOST_AT_ONCE }
    }

    /// One copy more, if it is not too late for that.
    fn goes_on(&mut self, office: &Office) -> bool {
        let late = self.copies > 0 && office.clock.elapsed() - self.begun >= LONGEST_AT_ONCE;
        let goes_on = self.copies < MOST_AT_ONCE && !late;
        self.copies += usize::from(goes_on);
        goes_on
    }
}

/// What is to be done for a recipient.
enum Aim {
    /// A session began it.
    Place(Place),
    /// A copy in this mailbox; `is_end`: an alias led there, and has seen to it that it does not go in a circle.
    Mailbox {
        target: Target,
        is_end: bool,
    },
    Line(String),
    Remote(Hop),
    Expand,
    Nobody,
}

fn aim(office: &Office, entry: &Entry, index: u32) -> Result<Aim, MailboxError> {
    let Some(recipient) = super::recipient(entry, index) else { return Ok(Aim::Nobody) };
    if let Some(line) = &recipient.line {
        return Ok(Aim::Line(lane_of(line)));
    }
    match recipient.place.as_deref() {
        Some(place) if place.act == Act::Deliver => {
            let account = office.owner(place)?;
            return Ok(Aim::Mailbox { target: Target { account, folder: place.folder.clone() }, is_end: true });
        }
        Some(place) => return Ok(Aim::Place(place.clone())),
        None => {}
    }
    Ok(match office.route(&recipient.address)? {
        Route::Local(account) if office.forward(&account)?.is_some() => Aim::Expand,
        Route::Local(account) => {
            let folder = office.folder_for(&account, &recipient.address)?;
            Aim::Mailbox { target: Target { account, folder }, is_end: false }
        }
        Route::Remote(hop) => Aim::Remote(hop),
        Route::Expand => Aim::Expand,
        Route::NoUser => Aim::Nobody,
    })
}

/// Lines of one owner keep each other waiting, and nobody else.
pub(super) fn lane_of(line: &Line) -> String {
    line.user.clone().unwrap_or_default()
}

/// Delivers what is local and hands the rest to the queue-runner. `delivered_to`: values of the message's Delivered-To
/// fields, as keys of addresses.
pub(super) fn first_round(office: &Arc<Office>, entry: &Entry, delivered_to: &[String]) {
    round(office, entry, delivered_to, &mut Pace::of(office));
}

/// The same, at a pace that was begun before.
pub(super) fn round(office: &Arc<Office>, entry: &Entry, delivered_to: &[String], pace: &mut Pace) {
    let begin = office.clock.elapsed();
    let _in_hand = InHand::begin(office, slice::from_ref(entry));
    if let Some(wait) = runner::not_yet(office, entry) {
        let all: Vec<u32> = (0..).zip(&entry.envelope.recipients).map(|(index, _)| index).collect();
        office.table().wait(entry.id, &all, begin + wait);
        return office.runner.wake();
    }
    let (mut decided, mut expand) = (Vec::new(), Vec::new());
    let mut lanes: BTreeMap<Lane, Vec<u32>> = BTreeMap::new();
    for (index, _) in (0..).zip(&entry.envelope.recipients) {
        let lane = match aim(office, entry, index) {
            Ok(Aim::Mailbox { target, is_end }) if pace.goes_on(office) => {
                let been = if is_end { &[] } else { delivered_to };
                match deliver(office, entry, index, &target, been) {
                    Ok(_) => office.table().settled(entry.id, &[index]),
                    Err(verdict) => decided.push((index, verdict)),
                }
                continue;
            }
            Ok(Aim::Expand) if pace.goes_on(office) => {
                expand.push(index);
                continue;
            }
            Ok(Aim::Mailbox { .. } | Aim::Place(_) | Aim::Expand) => Lane::Local,
            Ok(Aim::Line(owner)) => Lane::Lines(owner),
            Ok(Aim::Remote(hop)) => Lane::Remote(hop),
            Ok(Aim::Nobody) => {
                decided.push((index, Verdict::no_user()));
                continue;
            }
            Err(error) => {
                decided.push((index, Verdict::own_trouble(&error)));
                continue;
            }
        };
        lanes.entry(lane).or_default().push(index);
    }
    if lanes.keys().any(|lane| matches!(lane, Lane::Remote(_))) {
        office.recent.keep(entry);
    }
    if !lanes.is_empty() {
        let limits = Limits::of(&office.config().queue);
        let priority = priority(entry);
        let (mut table, mut wake) = (office.table(), false);
        for (lane, recipients) in lanes {
            table.ready(lane.clone(), Task::new(entry.id, recipients).at(priority), begin);
            wake |= table.needs_runner(entry.id, &lane, limits, begin);
        }
        drop(table);
        if wake {
            office.runner.wake();
        }
    }
    decided.extend(expand::expand(office, entry, &expand, delivered_to, pace));
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
    let (mut decided, mut expand) = (Vec::new(), Vec::new());
    for &index in &task.recipients {
        match aim(office, &entry, index) {
            Ok(Aim::Place(place)) => places::serve(office, &entry, index, &place),
            Ok(Aim::Mailbox { target, is_end }) => {
                let been = if is_end { &[] } else { delivered_to.as_slice() };
                match deliver(office, &entry, index, &target, been) {
                    Ok(_) => office.table().settled(task.id, &[index]),
                    Err(verdict) => decided.push((index, verdict)),
                }
            }
            Ok(Aim::Expand) => expand.push(index),
            // The configuration changed meanwhile: it goes another way at the next look.
            Ok(Aim::Remote(_) | Aim::Line(_)) => office.table().wait(task.id, &[index], office.clock.elapsed()),
            Ok(Aim::Nobody) => decided.push((index, Verdict::no_user())),
            Err(error) => decided.push((index, Verdict::own_trouble(&error))),
        }
    }
    decided.extend(expand::expand(office, &entry, &expand, &delivered_to, &mut Pace::over()));
    outcome::conclude(office, &entry, true, decided);
    office.keeper.stir();
}

/// Makes one copy, unless it is there already. It counts as delivered for good when its mailbox tells the journal so, after
/// its next checkpoint.
fn deliver(
    office: &Arc<Office>,
    entry: &Entry,
    index: u32,
    target: &Target,
    delivered_to: &[String],
) -> Result<Option<Uid>, Verdict> {
    let Some(address) = super::address(entry, index) else { return Ok(None) };
    if !delivered_to.is_empty() && delivered_to.contains(&address.key()) {
        return Err(Verdict::Failed(Trouble::own("5.4.6", "The message has been in this mailbox before: it goes in a circle.")));
    }
    office.recovery.settle_account(office, target, (entry.id, index)).map_err(|error| refused(&error))?;
    // Perhaps it was found just now, by us or by another thread.
    if !office.table().has(entry.id, index) {
        return Ok(None);
    }
    let own = list::own_copy(office, entry, index).map_err(|error| Verdict::own_trouble(&error))?;
    if let Some(judged) = junk::judged(office, &own, index, target)? {
        round(office, &judged, &[], &mut Pace::of(office));
        return Ok(None);
    }
    let Some(copy) = places::copy_of(&own, index) else { return Ok(None) };
    let expected = office.expected.expect(entry, index);
    let Target { account, folder } = target;
    let delivered = office.within_quota(account, 1, || match office.store.by_id(account, folder) {
        // It was deleted since an alias led there.
        Err(MailboxError::Nonexistent) => office.store.inbox(account)?.deliver(&copy),
        mailbox => mailbox?.deliver(&copy),
    });
    if expected && delivered.is_err() {
        office.expected.forget(entry.id, index);
    }
    let uid = delivered.map_err(|error| refused(&error))?;
    counters::RECIPIENTS_DELIVERED.count();
    log::info!(
        "msg={} event=delivered to=<{}> mailbox={} folder={folder} uid={} delay={:.1}",
        entry.id,
        Shown(&address.to_string()),
        account.name,
        uid.0,
        office.clock.now().since(entry.time).as_secs_f32()
    );
    if !junk::is_junk(office, entry) {
        vacation::answer(office, entry, index, account);
    }
    Ok(Some(uid))
}

/// All reasons of a mailbox, or of a file, are temporary.
pub(super) fn refused(error: &MailboxError) -> Verdict {
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
pub(super) fn head(message: &Message) -> io::Result<Cow<'_, [u8]>> {
    let mut scan = super::mend::EndScan::default();
    if let Message::Memory(bytes) = message {
        let head = bytes.get(..MOST_HEADER).unwrap_or(bytes);
        return Ok(scan.find(head).and_then(|end| head.get(..end)).unwrap_or(head).into());
    }
    let mut head = Vec::new();
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
    Ok(head.into())
}

/// What its header says of that; where it can't be read, nothing.
pub(super) fn priority(entry: &Entry) -> Priority {
    head(&entry.message).map(|head| Priority::of(&head)).unwrap_or_default()
}

/// The values of its Delivered-To fields, in lower case.
pub(super) fn delivered_to(head: &[u8]) -> Vec<String> {
    let fields = header::fields(head).filter(|field| field.is(head, "Delivered-To"));
    let value = |field: header::Field| header::unfold(head.get(field.value).unwrap_or_default());
    fields.map(value).map(|value| super::mend::address_key(&value)).collect()
}
