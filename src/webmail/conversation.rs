//! A conversation: all messages of it on one page, those of a folder and what its user sent, each to be unfolded.
//!
//! Messages belong together where one names another (References, In-Reply-To; RFC 5256 §3), and an answer that names none goes by
//! its subject.

use super::choice;
use super::files;
use super::frame::Frame;
use super::list::{special, when};
use super::message::{Asked, body};
use super::reference::{Reference, message_path, shown};
use super::site::{Context, trouble};
use crate::httpd::{Response, Status};
use crate::mail::structure::Keys;
use crate::mailbox::{Flags, FolderName, SpecialUse, Summary, Uid};
use crate::sys::Time;
use maud::{Markup, html};
use std::collections::HashSet;

/// Messages of a folder that are looked at: the newest.
const MOST_LOOKED_AT: usize = 5_000;
/// Messages that are shown: the newest.
const MOST_SHOWN: usize = 50;

/// A message, as far as it is known for this.
#[derive(Debug)]
struct Member {
    folder: FolderName,
    message: Reference,
    summary: Summary,
    keys: Keys,
}

/// The page of the conversation that a message is part of.
pub(super) fn page(context: &Context<'_>, folder: &FolderName, id: &str) -> Result<Response, Status> {
    let asked = Asked::find(context, folder, id)?;
    let mut all = members(context, folder)?;
    let sent = special(context, SpecialUse::Sent)?;
    if sent != *folder {
        all.extend(members(context, &sent)?);
    }
    let chosen = chosen(&all.iter().map(|member| &member.keys).collect::<Vec<_>>(), |at| {
        all.get(at).is_some_and(|member| member.folder == *folder && member.message == asked.reference)
    });
    let mut chosen: Vec<&Member> =
        all.iter().enumerate().filter(|(at, _)| chosen.contains(at)).map(|(_, member)| member).collect();
    chosen.sort_by_key(|member| (member.summary.date, member.message.uid));
    // One's own copy of what came back, by a list, say.
    let mut seen = HashSet::new();
    chosen.retain(|member| {
        member.keys.message_id.as_ref().is_none_or(|id| seen.insert(id.clone())) || member.message == asked.reference
    });
    let hidden = chosen.len().saturating_sub(MOST_SHOWN);
    let now = context.server.clock.now();
    let last = chosen.last().map(|member| member.message);
    let mut parts = Vec::new();
    for member in chosen.iter().skip(hidden) {
        let is_open =
            Some(member.message) == last || member.message == asked.reference || !member.summary.marks.flags.has(Flags::SEEN);
        // One that went away meanwhile is left out.
        if let Ok(part) = part(context, member, is_open, now) {
            parts.push(part);
        }
    }
    let subject = chosen.first().map_or("", |member| member.keys.base_subject.as_str());
    let title = if subject.is_empty() { "(no subject)" } else { subject };
    let inside = html! {
        article.mail {
            div.bar { a href=(message_path(folder, asked.reference)) { "← Message" } }
            h1 { (title) }
            p.quiet { (chosen.len()) @if chosen.len() == 1 { " message" } @else { " messages" } @if hidden > 0 { ", of which the newest are shown" } }
            @for part in &parts { (part) }
        }
    };
    Ok(Frame::of(context, Some(folder))?.page(Status::OK, title, &inside))
}

fn members(context: &Context<'_>, folder: &FolderName) -> Result<Vec<Member>, Status> {
    let view = context.open(folder)?;
    let all = view.messages().map_err(trouble)?;
    let all = all.get(all.len().saturating_sub(MOST_LOOKED_AT)..).unwrap_or_default();
    let uids: Vec<Uid> = all.iter().map(|summary| summary.uid).collect();
    let (mut members, mut records, mut summaries) = (Vec::with_capacity(all.len()), view.heads(&uids), all.iter());
    while let (Some((uid, record)), Some(summary)) = (records.next(), summaries.next()) {
        let Ok(Some(keys)) = record.map(|record| record.keys()) else { continue };
        members.push(Member { folder: folder.clone(), message: Reference::of(&view, uid), summary: summary.clone(), keys });
    }
    Ok(members)
}

/// Which messages belong to those that are meant.
fn chosen(all: &[&Keys], is_meant: impl Fn(usize) -> bool) -> HashSet<usize> {
    let (mut chosen, mut ids, mut subjects) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut add = |at: usize, keys: &Keys, ids: &mut HashSet<String>, subjects: &mut HashSet<String>| {
        ids.extend(keys.message_id.iter().chain(&keys.references).cloned());
        if !keys.base_subject.is_empty() {
            subjects.insert(keys.base_subject.clone());
        }
        chosen.insert(at)
    };
    let mut left: Vec<(usize, &Keys)> = Vec::new();
    for (at, keys) in all.iter().enumerate() {
        if is_meant(at) {
            add(at, keys, &mut ids, &mut subjects);
        } else {
            left.push((at, keys));
        }
    }
    let meant = all.iter().enumerate().find(|(at, _)| is_meant(*at)).map(|(_, keys)| *keys);
    // By subject alone nothing but an answer that names nothing belongs to others, or others to it.
    let goes_by_subject = |keys: &Keys| keys.is_reply && keys.references.is_empty();
    loop {
        let before = left.len();
        left.retain(|(at, keys)| {
            let is_named = keys.message_id.iter().chain(&keys.references).any(|id| ids.contains(id));
            let is_like = subjects.contains(&keys.base_subject) && (goes_by_subject(keys) || meant.is_some_and(goes_by_subject));
            if is_named || is_like {
                add(*at, keys, &mut ids, &mut subjects);
            }
            !(is_named || is_like)
        });
        if left.len() == before {
            return chosen;
        }
    }
}

fn part(context: &Context<'_>, member: &Member, is_open: bool, now: Time) -> Result<Markup, Status> {
    let asked = Asked::find(context, &member.folder, &member.message.to_string())?;
    let choice = choice::choose(&asked.structure, true);
    let path = message_path(&member.folder, member.message);
    let Keys { from, to, preview, .. } = &member.keys;
    Ok(html! {
        details.part open[is_open] {
            summary {
                strong { (from.display) }
                @if !to.display.is_empty() { span.quiet { " to " (to.display) } }
                span.quiet { " · " (when(member.summary.date, now)) " · " (shown(&member.folder)) }
                @if !is_open { span.quiet { " " (preview) } }
            }
            p.quiet.ways { a href=(path) { "Open, answer, file" } }
            (files::list(&asked, &choice))
            (body(&asked, &choice, false, &format!("{path}?images=1"))?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str, references: &[&str], subject: &str, is_reply: bool) -> Keys {
        Keys {
            message_id: Some(id.to_owned()),
            references: references.iter().map(|id| (*id).to_owned()).collect(),
            base_subject: subject.to_owned(),
            is_reply,
            ..Keys::default()
        }
    }

    #[test]
    fn what_names_another_belongs_to_it() {
        let all = [
            keys("a", &[], "lunch", false),
            keys("b", &["a"], "lunch", true),
            // Of another thread, with the same subject.
            keys("c", &[], "lunch", false),
            keys("d", &["a", "b"], "supper", true),
            // Names one that is not here, which another one names.
            keys("e", &["x"], "x", true),
            keys("f", &["x"], "y", true),
            // An answer by a program that names nothing.
            keys("g", &[], "x", true),
        ];
        let of = |meant: usize| {
            let all: Vec<&Keys> = all.iter().collect();
            let mut chosen: Vec<usize> = chosen(&all, |at| at == meant).into_iter().collect();
            chosen.sort_unstable();
            chosen
        };
        assert_eq!([of(0), of(1), of(3)], [vec![0, 1, 3], vec![0, 1, 3], vec![0, 1, 3]]);
        assert_eq!(of(2), [2]);
        assert_eq!([of(4), of(5), of(6)], [vec![4, 5, 6], vec![4, 5, 6], vec![4, 5, 6]]);
    }
}
