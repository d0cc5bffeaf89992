//! The messages around the one that is read: a pane beside it where there is room, and the way to the next one where there is none.

use super::list::{PAGE, place, rows, when};
use super::message::Asked;
use super::reference::{Reference, message_path};
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

/// Looks around in the list in which it stands: `uids`, from its top, and what was searched for. `is_own`: whom a message went to
/// says more than who wrote it.
pub(super) fn around(asked: &Asked<'_>, uids: &[Uid], text: &str, is_own: bool, now: Time) -> Result<Around, Status> {
    let here = uids.iter().position(|uid| *uid == asked.uid);
    let at = here.unwrap_or_default();
    let begin = at.saturating_sub(ABOVE);
    let near = uids.get(begin..(at + BELOW).min(uids.len())).unwrap_or_default();
    let path = |at: usize, uid: Uid| message_path(asked.folder, Reference::of(&asked.view, uid)) + &place(at / PAGE + 1, text);
    let step = |at: Option<usize>| at.and_then(|at| uids.get(at).map(|uid| path(at, *uid)));
    // What is not in the list any more has nobody beside it.
    let (newer, older) = (step(here.and_then(|at| at.checked_sub(1))), step(here.map(|at| at + 1)));
    let number = |uid: Uid| near.iter().position(|near| *near == uid).map_or(begin, |at| begin + at);
    let pane = html! {
        nav.beside aria-label="Messages near this one" {
            ul.messages {
                @for row in rows(&asked.view, near)? {
                    li class=(if row.summary.marks.flags.has(Flags::SEEN) { "message" } else { "message unread" }) {
                        a href=(path(number(row.summary.uid), row.summary.uid)) aria-current=[(row.summary.uid == asked.uid).then_some("page")] {
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
