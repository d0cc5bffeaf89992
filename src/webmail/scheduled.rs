//! A message that was sent and has not left yet is taken back: out of the queue, and a draft again.

use super::list::special;
use super::message::Asked;
use super::reference::Reference;
use super::site::{Context, trouble, unfiled};
use crate::delivery::{Operation, Which};
use crate::httpd::{Head, Request, Response, Status};
use crate::mail::Origin;
use crate::mailbox::{Change, Flags, Marks, SpecialUse};
use crate::spool::SpoolId;
use maud::{Markup, html};

/// What the page after sending says.
pub(super) fn offer(context: &Context<'_>, head: &Head) -> Markup {
    let (id, copy) = (head.parameter("id").unwrap_or_default(), head.parameter("copy").unwrap_or_default());
    html! {
        form.told role="status" method="post" action="/recall" {
            input type="hidden" name="token" value=(context.visit.form_token());
            input type="hidden" name="id" value=(id);
            input type="hidden" name="copy" value=(copy);
            span { "The message waits to be sent." }
            button { "Undo" }
        }
    }
}

/// First it is taken out of the queue: only what has not left becomes a draft that could be sent again.
pub(super) fn act(context: &Context<'_>, request: &mut Request<'_>) -> Result<Response, Status> {
    let form = context.form(request)?;
    let id: SpoolId = form.get("id").and_then(|id| id.parse().ok()).ok_or(Status::UNPROCESSABLE_CONTENT)?;
    let copy: Reference = form.get("copy").and_then(|name| name.parse().ok()).ok_or(Status::UNPROCESSABLE_CONTENT)?;
    let (sent, drafts) = (special(context, SpecialUse::Sent)?, special(context, SpecialUse::Drafts)?);
    let copy = Asked::find(context, &sent, &copy.to_string())?;
    let user = &context.account().name;
    let is_own = |envelope: &crate::mail::Envelope| matches!(&envelope.origin, Origin::User(name) if name == user);
    let done = context.server.delivery.operate(Operation::Remove, &Which::Message(id), Some(&is_own)).map_err(|error| {
        log::error!("session={} webmail not recalled id={id} error={:?}", context.session, error.to_string());
        Status::SERVICE_UNAVAILABLE
    })?;
    if done.messages == 0 {
        return Ok(Response::see_other("/m/INBOX?told=recalled-not"));
    }
    log::info!("session={} webmail recalled id={id} user={user}", context.session);
    let draft = Marks { flags: Flags::DRAFT, ..Marks::default() };
    copy.view.mark(&[copy.uid], Change::Add, draft, None).map_err(trouble)?;
    let moved = context.server.post.move_to(context.account(), &copy.view, &[copy.uid], &drafts);
    let moved = moved.map_err(|error| unfiled(&error))?;
    let uid = *moved.uids.first().ok_or(Status::NOT_FOUND)?;
    Ok(Response::see_other(&format!("/compose?draft={}", Reference { validity: moved.validity, uid })))
}
