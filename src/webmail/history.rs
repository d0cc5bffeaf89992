//! Whom a user has written to and heard from: what the fields for addresses offer.

use super::list::{special, value};
use super::outgoing::addresses;
use super::prefill::{own_addresses, shown};
use super::site::Context;
use crate::mail::Address;
use crate::mailbox::{FolderName, SpecialUse, Uid};
use maud::{Markup, html};

/// Messages that are looked at, the newest of each folder.
const MOST_SENT: usize = 200;
const MOST_GOT: usize = 100;
/// Addresses that are offered.
const MOST: usize = 100;

/// Those written to come first, the last ones before others. What can't be read offers nothing.
pub(super) fn datalist(context: &Context<'_>) -> Markup {
    let own = own_addresses(context);
    let mut known: Vec<(String, Address)> = Vec::new();
    if let Ok(sent) = special(context, SpecialUse::Sent) {
        take(context, &sent, MOST_SENT, &["To", "Cc"], &mut known);
    }
    take(context, &FolderName::inbox(), MOST_GOT, &["From"], &mut known);
    known.retain(|(_, address)| own.iter().all(|own| own.key() != address.key()));
    html! {
        datalist #known { @for entry in known.iter().take(MOST) { option value=(shown(std::slice::from_ref(entry))) {} } }
    }
}

fn take(context: &Context<'_>, folder: &FolderName, most: usize, fields: &[&str], known: &mut Vec<(String, Address)>) {
    let Ok(view) = context.open(folder) else { return };
    let all = view.messages().unwrap_or_default();
    let uids: Vec<Uid> = all.iter().rev().take(most).rev().map(|summary| summary.uid).collect();
    let mut found = Vec::new();
    let mut headers = view.headers(&uids);
    while let Some((_, header)) = headers.next() {
        let Ok(Some(header)) = header else { continue };
        found.push(fields.iter().flat_map(|field| addresses(value(header, field), "").good).collect::<Vec<_>>());
    }
    for (name, address) in found.into_iter().rev().flatten() {
        if known.iter().all(|(_, other)| other.key() != address.key()) {
            known.push((name, address));
        }
    }
}
