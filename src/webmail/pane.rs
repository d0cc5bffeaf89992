//! The messages around the one that is read: a pane beside it where there is room, and the way to the next one where there is none.

use super::list::{rows, when};
use super::message::Asked;
use super::reference::{Reference, message_path};
use super::site::trouble;
use crate::httpd::Status;
use crate::mailbox::{Flags, Uid};
use crate::sys::Time;
use maud::{Markup, html};

/// Messages that are shown above the one that is read, which are newer, and below.
const ABOVE: usize = 6;
const BELOW: usize = 24;

/// What is around a message.
#[derive(Debug)]
pub(super) struct Around {
    /// The pane.
    pub pane: Markup,
    /// Links to those next to it.
    pub steps: Markup,
}

/// Looks around. `is_own`: whom a message went to says more than who wrote it.
pub(super) fn around(asked: &Asked<'_>, is_own: bool, now: Time) -> Result<Around, Status> {
    let mut uids: Vec<Uid> = asked.view.messages().map_err(trouble)?.iter().map(|summary| summary.uid).collect();
    uids.reverse();
    let at = uids.iter().position(|uid| *uid == asked.uid).unwrap_or_default();
    let near = uids.get(at.saturating_sub(ABOVE)..(at + BELOW).min(uids.len())).unwrap_or_default();
    let path = |uid: Uid| message_path(asked.folder, Reference::of(&asked.view, uid));
    let step = |at: Option<usize>| at.and_then(|at| uids.get(at)).map(|uid| path(*uid));
    let (newer, older) = (step(at.checked_sub(1)), step(Some(at + 1)));
    let pane = html! {
        nav.beside aria-label="Messages near this one" {
            ul.messages {
                @for row in rows(&asked.view, near)? {
                    li class=(if row.summary.marks.flags.has(Flags::SEEN) { "message" } else { "message unread" }) {
                        a href=(path(row.summary.uid)) aria-current=[(row.summary.uid == asked.uid).then_some("page")] {
                            span.who { bdi { (if is_own { &row.to } else { &row.from }) } }
                            span.when { time { (when(row.summary.date, now)) } }
                            span.subject dir="auto" { @if row.subject.is_empty() { "(no subject)" } @else { (row.subject) } }
                        }
                    }
                }
            }
        }
    };
    let steps = html! {
        nav.steps aria-label="Next messages" {
            @if let Some(path) = newer { a rel="prev" href=(path) { "Newer" } }
            @if let Some(path) = older { a rel="next" href=(path) { "Older" } }
        }
    };
    Ok(Around { pane, steps })
}
