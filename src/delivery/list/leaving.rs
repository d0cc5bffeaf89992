//! Leaving by one click (RFC 8058): what the link is that each member gets, and what follows from it.

use super::super::sealing::OfCopies;
use super::super::{Office, Post, local};
use super::operate::{ListError, found};
use crate::lists::{Identity, Name, Role, leave, split, token};
use crate::mail::Address;
use crate::spool::{Entry, Message};
use std::borrow::Cow;
use std::io;

/// What a link to leave a list by is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// The list.
    pub list: Identity,
    /// Whose link it is. None: it is no member's, or was made by somebody else.
    pub member: Option<Address>,
}

/// An entry with its message as a recipient gets it: in a member's copy of a post the link to leave by is that member's. All that
/// gives a message away does it with this, or with [`signed_copy`].
pub(in super::super) fn own_copy<'a>(office: &Office, entry: &'a Entry, index: u32) -> io::Result<Cow<'a, Entry>> {
    Ok(match own_message(office, entry, index)? {
        Some((_, message)) => Cow::Owned(Entry { message, ..entry.clone() }),
        None => Cow::Borrowed(entry),
    })
}

/// The same, for another host: what is a member's own is signed.
pub(in super::super) fn signed_copy<'a>(
    office: &Office,
    entry: &'a Entry,
    index: u32,
    signing: &mut OfCopies,
) -> io::Result<Cow<'a, Entry>> {
    let Some((list, message)) = own_message(office, entry, index)? else { return Ok(Cow::Borrowed(entry)) };
    let mut copy = Entry { message, ..entry.clone() };
    copy.message = signing.sign(office, &copy, &list.domain)?;
    Ok(Cow::Owned(copy))
}

fn own_message(office: &Office, entry: &Entry, index: u32) -> io::Result<Option<(Identity, Message)>> {
    let Some(recipient) = entry.envelope.recipient(index) else { return Ok(None) };
    // Only lists give recipients senders of their own.
    let sender = recipient.sender.as_deref().and_then(|sender| sender.0.as_ref());
    let Some((sender, (name, Role::Bounces(_)))) = sender.and_then(|sender| Some((sender, split(sender.local())?))) else {
        return Ok(None);
    };
    let list = Identity { name, domain: sender.domain().clone() };
    let Some(at) = leave::place(&local::head(&entry.message)?, &list) else { return Ok(None) };
    let key = office.lists_key()?;
    let end = leave::end(&key, &list.name, &recipient.address);
    Ok(end.map(|end| (list, entry.message.clone().spliced(at as u64, end.as_bytes()))))
}

impl Post {
    /// What a link is worth that has this in it. None: there is no such list.
    pub fn leaving(&self, list: &str, member: &str, token: &str) -> io::Result<Option<Leaving>> {
        let Some(name) = Name::parse(list) else { return Ok(None) };
        let list = match found(self.office(), &name) {
            Err(ListError::Unknown) => return Ok(None),
            found => found.map_err(|error| io::Error::other(error.to_string()))?,
        };
        let is_its = |member: &Address| token::may_leave(&list.key, &name, member, token);
        let member = member.parse().ok().filter(is_its);
        Ok(Some(Leaving { list: list.identity, member }))
    }

    /// Removes a member at once. Who had the link may have got it from another, so the member is told.
    pub fn leave(&self, list: &Identity, member: &Address) -> Result<(), ListError> {
        let (office, name) = (self.office(), &list.name);
        let list = found(office, name)?;
        if !list.files.remove(name, member)? {
            return Ok(());
        }
        list.files.change_bounces(name, |bounces| bounces.forget(member))?;
        log::info!("event=list list={name} outcome=\"is left by {member}, by a click\"");
        let told = list.answer(&list.identity.goodbye(member), "told").and_then(|done| list.commit(done, Vec::new()));
        match told {
            Ok(entries) => entries.iter().for_each(|entry| local::first_round(office, entry, &[])),
            Err(verdict) => log::warn!("event=list list={name} outcome=\"{member} is not told\" reason=\"{verdict:?}\""),
        }
        office.keeper.stir();
        Ok(())
    }
}
