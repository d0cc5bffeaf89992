//! A recipient that stands for others: an alias, a virtual address, a user with a `.forward`. The message is sent on to all of
//! them in records of their own, which settle that recipient: one act of the journal holds both, so that a crash leaves neither
//! a copy too many nor one too few.
//!
//! There is a record for each such recipient of a message, so that nobody learns of the others (they may have been hidden), and
//! one more for each list in it whose failures somebody else answers for. Each begins with a Delivered-To field that names the
//! recipient: a message that comes again with it goes in a circle.

use super::bounce::Kind;
use super::list;
use super::local::{self, Pace};
use super::outcome::{Case, Trouble, Verdict};
use super::program;
use super::report::{self, drafts_of};
use super::route::{End, To};
use super::sealing::Onward;
use super::search::Walk;
use super::{Office, Route};
use crate::auth::Shown;
use crate::mail::dsn::Notify;
use crate::mail::{Address, Envelope, MailDsn, RcptDsn, Recipient, ReversePath};
use crate::spool::{Draft, Entry, Outcome, SpoolError, Status};
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;

/// One recipient and what it stands for.
struct Expanded {
    index: u32,
    /// By who sends them on.
    parts: BTreeMap<Sender, Vec<End>>,
}

/// Under whose name a message is sent on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sender {
    /// It stays.
    Same,
    /// An address of ours that stands for it.
    Rewritten(Address),
    /// Who answers for the members of a list.
    Owner(Address),
}

/// Sends a message on for these recipients, and makes the first round of what is sent. Gives what becomes of those for whom
/// that can't be done.
pub(super) fn expand(
    office: &Arc<Office>,
    entry: &Entry,
    indices: &[u32],
    delivered_to: &[String],
    pace: &mut Pace,
) -> Vec<(u32, Verdict)> {
    let (mut decided, mut expanded) = (Vec::new(), Vec::new());
    let mut known = direct(office, entry);
    for &index in indices {
        if let Some(served) = list::serve(office, entry, index, delivered_to) {
            match served {
                Ok(entries) => {
                    office.table().settled(entry.id, &[index]);
                    rounds(office, &entries, pace);
                }
                Err(verdict) => decided.push((index, verdict)),
            }
            continue;
        }
        match look(office, entry, index, delivered_to) {
            Ok(walk) => expanded.push(Expanded { index, parts: parts(office, entry, index, walk, &mut known) }),
            Err(verdict) => decided.push((index, verdict)),
        }
    }
    if expanded.is_empty() {
        return decided;
    }
    let indices: Vec<u32> = expanded.iter().map(|one| one.index).collect();
    match send(office, entry, &expanded) {
        Ok(entries) => {
            office.table().settled(entry.id, &indices);
            rounds(office, &entries, pace);
        }
        Err(error) => decided.extend(indices.into_iter().map(|index| (index, Verdict::own_trouble(&error)))),
    }
    decided
}

fn rounds(office: &Arc<Office>, entries: &[Entry], pace: &mut Pace) {
    for new in entries {
        let delivered_to = local::head(&new.message).map(|head| local::delivered_to(&head)).unwrap_or_default();
        local::round(office, new, &delivered_to, pace);
    }
}

/// The mailboxes that get a copy anyhow.
fn direct(office: &Office, entry: &Entry) -> HashSet<String> {
    let mut known = HashSet::new();
    if entry.envelope.recipients.len() < 2 {
        return known;
    }
    for recipient in entry.envelope.recipients.iter().filter(|recipient| recipient.is_routed()) {
        let Ok(Route::Local(account)) = office.route(&recipient.address) else { continue };
        let folder = office.folder_for(&account, &recipient.address);
        if let (Ok(None), Ok(folder)) = (office.forward(&account), folder) {
            known.insert(End { address: recipient.address.clone(), to: To::Mailbox { account, folder } }.key());
        }
    }
    known
}

fn look(office: &Office, entry: &Entry, index: u32, delivered_to: &[String]) -> Result<Walk<End>, Verdict> {
    let circle = || Verdict::Failed(Trouble::own("5.4.6", "The message goes in a circle."));
    let Some(address) = super::address(entry, index) else { return Err(circle()) };
    if delivered_to.contains(&address.key()) {
        return Err(circle());
    }
    let walk = office.expand(address).map_err(|error| Verdict::own_trouble(&error))?;
    // Of one among many it is found out for itself.
    let later = walk.ends.iter().find_map(|(end, _)| match &end.to {
        To::Later(why) if walk.ends.len() == 1 || end.address.key() == address.key() => Some(why),
        _ => None,
    });
    match later {
        Some(why) => Err(Verdict::own_trouble(why)),
        None if walk.ends.is_empty() => Err(circle()),
        None => Ok(walk),
    }
}

/// Without those that get a copy already.
fn parts(office: &Office, entry: &Entry, index: u32, walk: Walk<End>, known: &mut HashSet<String>) -> BTreeMap<Sender, Vec<End>> {
    let mut parts: BTreeMap<Sender, Vec<End>> = BTreeMap::new();
    let sender = entry.envelope.sender(index).0.as_ref();
    let own = super::address(entry, index).map(Address::domain);
    let rewritten = sender.zip(own).and_then(|(sender, own)| office.sends_on_as(sender, own));
    for (end, owner) in walk.ends {
        if !known.insert(end.key()) {
            continue;
        }
        // Mail that must not be answered stays so.
        let owner = owner.filter(|_| sender.is_some()).and_then(|owner| owner.parse().ok());
        let sender = match (owner, &rewritten) {
            (Some(owner), _) => Sender::Owner(owner),
            (None, Some(rewritten)) if office.is_foreign(&end) => Sender::Rewritten(rewritten.clone()),
            (None, _) => Sender::Same,
        };
        parts.entry(sender).or_default().push(end);
    }
    parts
}

/// The one act.
fn send(office: &Arc<Office>, entry: &Entry, expanded: &[Expanded]) -> Result<Vec<Entry>, SpoolError> {
    let (mut drafts, mut settles) = (Vec::new(), Vec::new());
    let (mut listed, mut aliased): (Vec<Case>, Vec<Case>) = (Vec::new(), Vec::new());
    for Expanded { index, parts } in expanded {
        let Some(recipient) = super::recipient(entry, *index) else { continue };
        let count: usize = parts.values().map(Vec::len).sum();
        for (sender, ends) in parts {
            let envelope = envelope(entry, *index, recipient, sender, ends, count == 1);
            let leaves = ends.iter().any(|end| office.is_foreign(end));
            drafts.push(write(office, entry, *index, envelope, leaves)?);
        }
        // Who hears of it (RFC 3461 §5.2.7): from the list itself, or else that it went to several.
        let said = |text: &str| (*index, Trouble::own("2.0.0", text));
        let is_list = parts.keys().any(|sender| matches!(sender, Sender::Owner(_)));
        match (report::wishes(entry, *index).success, is_list) {
            (true, true) => listed.push(said("It is on its way to all who are on that list.")),
            (true, false) if count != 1 => aliased.push(said("It is on its way to all whom that address stands for.")),
            _ => {}
        }
        let text = format!("sent on to {count}");
        log::info!("msg={} event=expanded to=<{}> count={count}", entry.id, Shown(&recipient.address.to_string()));
        settles.push(Outcome {
            id: entry.id,
            recipients: vec![*index],
            status: Status::Delivered,
            time: office.clock.now(),
            text,
        });
    }
    for (kind, cases) in [(Kind::Delivered, listed), (Kind::Expanded, aliased)] {
        if !cases.is_empty() {
            let report =
                drafts_of(office, entry, kind, &cases).map_err(|error| SpoolError::Io(io::Error::other(error.to_string())))?;
            drafts.extend(report);
        }
    }
    match drafts.is_empty() {
        true => office.journal.settle(&settles).map(|()| Vec::new()),
        false => Draft::commit_all(drafts, &settles),
    }
}

/// What is said of it on its new way. For a list nothing is taken over of what the sender wants to hear (RFC 3461 §5.2.7.1); for
/// the only one that an address stands for, all (§5.2.7.2); for several, all but of success (§5.2.7.3 c).
pub(super) fn envelope(
    entry: &Entry,
    index: u32,
    recipient: &Recipient,
    sender: &Sender,
    ends: &[End],
    is_only: bool,
) -> Envelope {
    let old = &*entry.envelope;
    let (reverse_path, is_list) = match sender {
        Sender::Same => (old.sender(index).clone(), false),
        Sender::Rewritten(address) => (ReversePath(Some(address.clone())), false),
        Sender::Owner(address) => (ReversePath(Some(address.clone())), true),
    };
    let dsn = match (is_list, is_only) {
        (true, _) => RcptDsn::default(),
        (false, true) => recipient.dsn.clone(),
        (false, false) => {
            let notify = recipient.dsn.notify.map(|notify| Notify { success: false, ..notify });
            RcptDsn { notify, ..recipient.dsn.clone() }
        }
    };
    Envelope {
        recipients: ends.iter().map(|end| Recipient { dsn: dsn.clone(), ..end.recipient() }).collect(),
        dsn: if is_list { MailDsn::default() } else { old.dsn.clone() },
        reverse_path,
        body: old.body,
        utf8: old.utf8,
        // RFC 8689 §4.1.
        require_tls: old.require_tls,
        release: None,
        origin: old.origin.clone(),
    }
}

/// The message, with a field that tells by which name it came. `leaves`: for other hosts, which are told what was found of it here.
pub(super) fn write(office: &Office, entry: &Entry, index: u32, envelope: Envelope, leaves: bool) -> Result<Draft, SpoolError> {
    let mut draft = office.journal.begin(envelope)?;
    let address = super::address(entry, index);
    if let Some(address) = address {
        draft.write_all(format!("Delivered-To: {address}\n").as_bytes())?;
    }
    let message = &list::own_copy(office, entry, index)?.message;
    match address.filter(|_| leaves) {
        Some(address) => {
            let mut onward = Onward::new(office, &mut draft, address.domain(), false);
            program::copy(message, &mut onward)?;
            onward.finish(office);
        }
        None => program::copy(message, &mut draft)?,
    }
    Ok(draft)
}
