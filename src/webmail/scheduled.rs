//! What was sent and has not left yet, because its writer wants it to leave later: the page of it, and how a message is sent at
//! once after all, or taken back: out of the queue, and a draft again.

use super::frame::{Frame, say};
use super::list::special;
use super::message::subject;
use super::outgoing::addresses;
use super::reference::Reference;
use super::site::{Context, trouble, unfiled};
use crate::delivery::{Operation, Scheduled};
use crate::httpd::{Head, Request, Response, Status};
use crate::mail::mboxrd::ToWire;
use crate::mail::{Address, Filing, date, header};
use crate::mailbox::{Change, Flags, FolderName, Marks, SpecialUse, Uid, View};
use crate::spool::{Entry, SpoolError, SpoolId};
use maud::{Markup, html};
use std::io::{self, Write};

/// Bytes of a header that are read.
const MOST_HEADER: u64 = 1 << 20;
/// The newest of the sent ones, among which the copy is looked for.
const MOST_SENT: usize = 5_000;
/// Recipients that are named.
const MOST_NAMED: usize = 3;

/// All that waits.
pub(super) fn page(context: &Context<'_>, request: &Request<'_>) -> Result<Response, Status> {
    let told = match request.head.parameter("told").as_deref() {
        Some("now") => "It is being sent.",
        _ => "",
    };
    let problem = match request.head.parameter("told").as_deref() {
        Some("late") => "It was too late: the message has left.",
        Some("unmoved") => {
            "It is taken back, and will not be sent; but it could not be moved to the drafts. It is among the sent ones."
        }
        _ => "",
    };
    let all = context.server.delivery.scheduled(&context.account().name);
    let inside = html! {
        (say(problem, told))
        div.bar { h1 { "Scheduled" } }
        @if all.is_empty() { p.empty { "Nothing waits to be sent." } } @else {
            p.quiet { "Messages that leave at a time that was set. The clock is that of this server, " (date::zone(context.server.clock.now())) "." }
            table.plain {
                thead { tr { th { "To" } th { "Subject" } th { "Leaves" } th { span.hidden { "What to do with it" } } } }
                tbody { @for scheduled in &all { (row(context, scheduled)) } }
            }
        }
    };
    Ok(Frame::of(context, None)?.page(Status::OK, "Scheduled", &inside))
}

fn row(context: &Context<'_>, scheduled: &Scheduled) -> Markup {
    let entry = context.server.delivery.entry(scheduled.id);
    let head = entry.and_then(|entry| head(&entry).map_err(SpoolError::Io)).unwrap_or_default();
    let mut to: Vec<String> = scheduled.envelope.recipients.iter().map(|to| to.address.to_string()).collect();
    let more = to.split_off(MOST_NAMED.min(to.len())).len();
    html! {
        tr {
            td { (to.join(", ")) @if more > 0 { " and " (more) " more" } }
            td dir="auto" { (subject(super::list::value(&head, "Subject"))) }
            td { (date::rfc5322(scheduled.at)) }
            td { (form(context, scheduled.id, &html! {
                button name="do" value="now" { "Send now" }
                button name="do" value="recall" { "Edit" }
            })) }
        }
    }
}

fn form(context: &Context<'_>, id: SpoolId, buttons: &Markup) -> Markup {
    html! {
        form method="post" action="/scheduled" {
            input type="hidden" name="token" value=(context.visit.form_token());
            input type="hidden" name="id" value=(id);
            (buttons)
        }
    }
}

/// What the page after sending says.
pub(super) fn offer(context: &Context<'_>, head: &Head) -> Markup {
    let id = head.parameter("id").unwrap_or_default();
    html! {
        form.told role="status" method="post" action="/scheduled" {
            input type="hidden" name="token" value=(context.visit.form_token());
            input type="hidden" name="id" value=(id);
            span { "The message waits to be sent." }
            button name="do" value="recall" { "Undo" }
            a href="/scheduled" { "All that waits" }
        }
    }
}

/// Does what a button says.
pub(super) fn act(context: &Context<'_>, request: &mut Request<'_>) -> Result<Response, Status> {
    let form = context.form(request)?;
    let id: SpoolId = form.get("id").and_then(|id| id.parse().ok()).ok_or(Status::UNPROCESSABLE_CONTENT)?;
    let delivery = &context.server.delivery;
    let Some(scheduled) = delivery.scheduled(&context.account().name).into_iter().find(|scheduled| scheduled.id == id) else {
        return Ok(late());
    };
    match form.get("do") {
        Some("now") => match reschedule(context, Operation::Expedite, id)? {
            true => Ok(Response::see_other("/scheduled?told=now")),
            false => Ok(late()),
        },
        Some("recall") => recall(context, &scheduled),
        _ => Err(Status::UNPROCESSABLE_CONTENT),
    }
}

fn late() -> Response {
    Response::see_other("/scheduled?told=late")
}

fn reschedule(context: &Context<'_>, operation: Operation, id: SpoolId) -> Result<bool, Status> {
    let user = &context.account().name;
    let done = context.server.delivery.reschedule(operation, user, id).map_err(|error| unread(context, id, &error))?;
    if done {
        log::info!("session={} webmail rescheduled id={id} user={user} operation={operation:?}", context.session);
    }
    Ok(done)
}

fn unread(context: &Context<'_>, id: SpoolId, error: &SpoolError) -> Status {
    log::error!("session={} webmail not rescheduled id={id} error={:?}", context.session, error.to_string());
    Status::SERVICE_UNAVAILABLE
}

/// Where a copy is among the sent ones, it becomes the draft, once the message is out of the queue: only what has not left may be
/// sent again. Else the queue has the only one: then the draft is there first.
fn recall(context: &Context<'_>, scheduled: &Scheduled) -> Result<Response, Status> {
    let (sent, drafts) = (special(context, SpecialUse::Sent)?, special(context, SpecialUse::Drafts)?);
    let unread = |error| unread(context, scheduled.id, &error);
    let entry = match context.server.delivery.entry(scheduled.id) {
        Err(SpoolError::Unknown(_)) => return Ok(late()),
        entry => entry.map_err(unread)?,
    };
    let head = head(&entry).map_err(|error| unread(SpoolError::Io(error)))?;
    let view = context.open(&sent)?;
    let draft = match copy_in(&view, &head)? {
        Some(uid) => {
            if !reschedule(context, Operation::Remove, scheduled.id)? {
                return Ok(late());
            }
            match to_draft(context, &view, uid, &drafts) {
                Ok(draft) => draft,
                Err(_) => return Ok(Response::see_other("/scheduled?told=unmoved")),
            }
        }
        None => {
            let draft = file(context, &drafts, &entry, &head)?;
            if !reschedule(context, Operation::Remove, scheduled.id)? {
                context.open(&drafts)?.mailbox().expunge(&[draft.uid]).map_err(trouble)?;
                return Ok(late());
            }
            draft
        }
    };
    Ok(Response::see_other(&format!("/compose?draft={draft}")))
}

fn to_draft(context: &Context<'_>, sent: &View, uid: Uid, drafts: &FolderName) -> Result<Reference, Status> {
    let draft_only = Marks { flags: Flags::DRAFT, ..Marks::default() };
    sent.mark(&[uid], Change::Add, draft_only, None).map_err(trouble)?;
    let moved = context.server.post.move_to(context.account(), sent, &[uid], drafts).map_err(|error| unfiled(&error))?;
    Ok(Reference { validity: moved.validity, uid: *moved.uids.first().ok_or(Status::NOT_FOUND)? })
}

/// The sent one that has the same Message-ID.
fn copy_in(view: &View, head: &[u8]) -> Result<Option<Uid>, Status> {
    let wanted = header::unfold(super::list::value(head, "Message-ID"));
    if wanted.is_empty() {
        return Ok(None);
    }
    let all = view.messages().map_err(trouble)?;
    let uids: Vec<Uid> = all.iter().rev().take(MOST_SENT).rev().map(|summary| summary.uid).collect();
    let (mut headers, mut found) = (view.headers(&uids), None);
    while let Some((uid, header)) = headers.next() {
        if let Ok(Some(header)) = header
            && header::unfold(super::list::value(header, "Message-ID")) == wanted
        {
            found = Some(uid);
        }
    }
    Ok(found)
}

fn head(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(entry.message.len().min(MOST_HEADER)).unwrap_or(0)];
    let read = entry.message.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    bytes.truncate(header::end(&bytes));
    Ok(bytes)
}

/// Makes a draft of what the queue has: without the marks of its way so far, and with those named again who get blind copies.
fn file(context: &Context<'_>, drafts: &FolderName, entry: &Entry, head: &[u8]) -> Result<Reference, Status> {
    let mut batch = context.server.post.file(context.account(), drafts).map_err(|error| unfiled(&error))?;
    let (flags, date) = ((Flags::SEEN | Flags::DRAFT).bits(), context.server.clock.now());
    batch.message(Filing { flags, date, ..Filing::default() });
    let written = write(entry, head, &mut batch);
    written.map_err(|error| unread(context, entry.id, &SpoolError::Io(error)))?;
    let filed = batch.commit().map_err(|error| unfiled(&error))?;
    Ok(Reference { validity: filed.validity, uid: *filed.uids.first().ok_or(Status::SERVICE_UNAVAILABLE)? })
}

fn write(entry: &Entry, head: &[u8], to: &mut impl Write) -> io::Result<()> {
    let is_of_the_way = |name: &str| ["received", "dkim-signature", "authentication-results", "return-path"].contains(&name);
    let (mut text, mut named) = (Vec::new(), Vec::new());
    for field in header::fields(head) {
        let name = String::from_utf8_lossy(head.get(field.name).unwrap_or_default()).to_ascii_lowercase();
        if ["to", "cc"].contains(&name.as_str()) {
            named.extend(
                addresses(head.get(field.value).unwrap_or_default(), "").good.into_iter().map(|(_, address)| address.key()),
            );
        }
        if !is_of_the_way(&name) {
            text.extend_from_slice(head.get(field.whole).unwrap_or_default());
        }
    }
    let blind = entry.envelope.recipients.iter().map(|recipient| &recipient.address).filter(|to| !named.contains(&to.key()));
    let blind: Vec<String> = blind.map(Address::to_string).collect();
    if !blind.is_empty() {
        text.extend_from_slice(format!("Bcc: {}\n", blind.join(",\n ")).as_bytes());
    }
    let (mut wire, mut piece, mut at) = (ToWire::default(), vec![0; 64 << 10], head.len() as u64);
    loop {
        let mut out = Vec::new();
        wire.push(&text, &mut out);
        to.write_all(&out)?;
        let read = entry.message.read_at(&mut piece, at)?;
        if read == 0 {
            break;
        }
        at += read as u64;
        text = piece.get(..read).unwrap_or_default().to_vec();
    }
    let mut out = Vec::new();
    wire.finish(&mut out);
    to.write_all(&out)
}
