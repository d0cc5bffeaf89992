//! One message: its header, its text, its files.

use super::assets::{ICON, STYLE};
use super::choice::{self, Choice};
use super::clean::{Pictures, clean};
use super::frame::Frame;
use super::list::{self, value};
use super::pane::{Around, around};
use super::proof;
use super::reference::{Reference, escaped, folder_path, message_path, shown};
use super::site::{Context, trouble};
use super::{files, leave, sender, text};
use crate::httpd::{Request, Response, Status};
use crate::mail::structure::{Part, Structure};
use crate::mail::transfer::Decoder;
use crate::mail::{html as plain, words};
use crate::mailbox::{Change, Flags, FolderName, Marks, SpecialUse, Uid, View};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::HashMap;
use std::io::Read;

/// Bytes of a text that are shown.
const MOST_SHOWN: u64 = 1 << 20;
/// Texts of one message that are shown.
pub(super) const MOST_TEXTS: usize = 20;
/// A line of the header, shown in full.
const FIELDS: [(&str, &str); 5] = [("From", "From"), ("To", "To"), ("Cc", "Cc"), ("Reply-To", "Reply to"), ("Date", "Date")];

/// A message as it was asked for.
pub(super) struct Asked<'a> {
    pub folder: &'a FolderName,
    pub view: View,
    pub uid: Uid,
    pub reference: Reference,
    pub structure: Structure,
}

impl<'a> Asked<'a> {
    pub(super) fn find(context: &Context<'_>, folder: &'a FolderName, id: &str) -> Result<Asked<'a>, Status> {
        let reference: Reference = id.parse().map_err(|()| Status::NOT_FOUND)?;
        let view = context.open(folder)?;
        let uid = reference.in_view(&view).ok_or(Status::NOT_FOUND)?;
        let structure = view.structure(uid).map_err(trouble)?;
        Ok(Asked { folder, view, uid, reference, structure })
    }

    fn path(&self) -> String {
        message_path(self.folder, self.reference)
    }

    pub(super) fn header(&self) -> Result<Vec<u8>, Status> {
        let end = self.structure.parts.first().map_or(0, |root| root.header.end);
        let mut header = Vec::new();
        let mut from = self.view.read_part(self.uid, 0..end.min(MOST_SHOWN)).map_err(trouble)?;
        from.read_to_end(&mut header).map_err(|_| Status::NOT_FOUND)?;
        Ok(header)
    }

    /// A text part as text, as far as it is shown, and whether that is all.
    pub(super) fn text(&self, part: &Part) -> Result<(String, bool), Status> {
        read(&self.view, self.uid, part)
    }
}

fn read(view: &View, uid: Uid, part: &Part) -> Result<(String, bool), Status> {
    let end = part.body.end.min(part.body.start.saturating_add(MOST_SHOWN));
    let mut bytes = Vec::new();
    view.read_part(uid, part.body.start..end).map_err(trouble)?.read_to_end(&mut bytes).map_err(|_| Status::NOT_FOUND)?;
    let (mut decoder, mut decoded) = (Decoder::new(part.transfer_encoding()), Vec::with_capacity(bytes.len()));
    decoder.push(&bytes, &mut decoded);
    decoder.finish(&mut decoded);
    Ok((words::from_charset(&part.charset(), &decoded), end == part.body.end))
}

/// All of its text, in lower case, to be searched.
pub(super) fn all_text(view: &View, uid: Uid, structure: &Structure) -> String {
    let mut all = String::new();
    for part in structure.parts.iter().filter(|part| part.is_text()).take(MOST_TEXTS) {
        let Ok((text, _)) = read(view, uid, part) else { continue };
        all.push('\n');
        if part.is("text", "html") {
            all.push_str(&without_tags(&text).to_lowercase());
        } else {
            all.push_str(&text.to_lowercase());
        }
    }
    all
}

/// HTML as text.
pub(super) fn without_tags(text: &str) -> String {
    let mut out = String::new();
    let mut tags = plain::Text::default();
    tags.push(text, &mut |char| out.push(char));
    tags.finish(&mut |char| out.push(char));
    out
}

/// The page of a message. It is read then.
pub(super) fn page(context: &Context<'_>, request: &Request<'_>, folder: &FolderName, id: &str) -> Result<Response, Status> {
    let asked = Asked::find(context, folder, id)?;
    let summary = asked.view.message(asked.uid).map_err(trouble)?.ok_or(Status::NOT_FOUND)?;
    let wanted = request.head.parameter("unread").is_none() && !summary.marks.flags.has(Flags::SEEN);
    if wanted {
        let marks = Marks { flags: Flags::SEEN, ..Marks::default() };
        asked.view.mark(&[asked.uid], Change::Add, marks, None).map_err(trouble)?;
    }
    let header = asked.header()?;
    let view = request.head.parameter("view").unwrap_or_default();
    let (as_text, all_fields, remote) = (view == "text", view == "headers", request.head.parameter("images").is_some());
    let choice = choice::choose(&asked.structure, !as_text);
    let subject = subject(value(&header, "Subject"));
    let frame = Frame::of(context, Some(folder))?;
    let special = frame.folders.iter().find(|entry| entry.name == *folder).and_then(|entry| entry.special);
    let is_own = matches!(special, Some(SpecialUse::Sent | SpecialUse::Drafts));
    // Where it stands in the list, or among what was found.
    let text = request.head.parameter("q").unwrap_or_default();
    let uids = list::listed(context, &asked.view, folder, &text)?;
    let Around { pane, steps } = around(&asked, &uids, &text, is_own, context.server.clock.now())?;
    let back = match uids.iter().position(|uid| *uid == asked.uid) {
        Some(at) => folder_path(folder) + &list::place(at / list::PAGE + 1, &text),
        None => list::back(request, folder),
    };
    let kept = back.split_once('?').map_or("", |(_, kept)| kept);
    let here = |more: &str| {
        [asked.path(), [kept, more].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("&")].join("?")
    };
    let also = match (as_text, remote) {
        (true, _) => "?view=text",
        (false, true) => "?images=1",
        (false, false) => "",
    };
    let inside = html! {
        div.panes {
            (pane)
            article.mail {
                div.bar {
                    a href={ (back) "#m" (asked.uid.0) } { "← " (shown(folder)) }
                    (steps)
                    (actions(context, &asked, &frame, special, summary.marks.flags, &back))
                }
                h1 dir="auto" { (subject) }
                @for warning in sender::warnings(value(&header, "From")) { p.told role="alert" { (warning) } }
                (head(&header, all_fields))
                (proof::line(&header, &context.server.config.hostname))
                (leave::offer(context, &asked, &header, &request.head))
                (files::list(&asked, &choice))
                (body(&asked, &choice, remote, &here("images=1"))?)
                p.quiet.ways {
                    @if choice.has_html && choice.has_plain {
                        @if as_text { a href=(here("")) { "Show with formatting" } } @else { a href=(here("view=text")) { "Show as plain text" } }
                    }
                    @if !all_fields { a href=(here("view=headers")) { "All header fields" } }
                    a href={ (asked.path()) "/conversation" } { "Conversation" }
                    a href={ (asked.path()) "/print" (also) } { "Print" }
                    a href={ (asked.path()) "/source" } { "Source" }
                    a href={ (asked.path()) "/source?download=1" } { "Save" }
                    a href={ "/compose?whole=1&forward=" (escaped(&format!("{}/{}", escaped(folder.as_str()), asked.reference))) } { "Forward as a file" }
                }
            }
        }
    };
    Ok(frame.page(Status::OK, &subject, &inside))
}

/// As it is shown.
pub(super) fn subject(value: &[u8]) -> String {
    let subject = words::decode(value);
    if subject.trim().is_empty() { "(no subject)".into() } else { subject.trim().to_owned() }
}

fn actions(
    context: &Context<'_>,
    asked: &Asked<'_>,
    frame: &Frame<'_>,
    special: Option<SpecialUse>,
    flags: Flags,
    back: &str,
) -> Markup {
    let compose =
        |how: &str| format!("/compose?{how}={}", escaped(&format!("{}/{}", escaped(asked.folder.as_str()), asked.reference)));
    let is = |own| special == Some(own);
    html! {
        form.actions method="post" action=(back) {
            input type="hidden" name="token" value=(context.visit.form_token());
            input type="hidden" name="m" value=(asked.reference);
            a.button.first href=(compose("reply")) { "Reply" }
            a.button href=(compose("all")) { "Reply to all" }
            a.button href=(compose("forward")) { "Forward" }
            button name="do" value="delete" { @if is(SpecialUse::Trash) { "Delete for good" } @else { "Delete" } }
            @if !is(SpecialUse::Archive) { button name="do" value="archive" { "Archive" } }
            @if !is(SpecialUse::Junk) { button name="do" value="junk" { "Junk" } }
            button name="do" value="unread" { "Mark unread" }
            @if flags.has(Flags::FLAGGED) { button name="do" value="unflag" { "Unflag" } } @else { button name="do" value="flag" { "Flag" } }
            (list::mover(&frame.folders, asked.folder))
        }
    }
}

pub(super) fn head(header: &[u8], all: bool) -> Markup {
    if all {
        let text = words::raw(header);
        return html! { pre.fields { (text) } };
    }
    html! {
        dl.fields {
            @for (field, label) in FIELDS {
                @let text = words::decode(value(header, field));
                @if !text.trim().is_empty() { dt { (label) } dd dir="auto" { (text.trim()) } }
            }
        }
    }
}

pub(super) fn part_path(asked: &Asked<'_>, part: usize) -> String {
    let number: Vec<String> = asked.structure.number(part).iter().map(u32::to_string).collect();
    format!("{}/part/{}", asked.path(), number.join("."))
}

/// For people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

pub(super) fn body(asked: &Asked<'_>, choice: &Choice, remote: bool, with_pictures: &str) -> Result<Markup, Status> {
    let mut shown = Vec::new();
    for &at in choice.texts.iter().take(MOST_TEXTS) {
        let Some(part) = asked.structure.parts.get(at) else { continue };
        shown.push(if part.is("text", "html") {
            framed(asked, at, part, remote, with_pictures)?
        } else {
            plain_text(asked, part)?
        });
    }
    Ok(html! {
        @if shown.is_empty() { p.empty { "This message has no text." } }
        @for text in shown { (text) }
    })
}

fn plain_text(asked: &Asked<'_>, part: &Part) -> Result<Markup, Status> {
    let (text, whole) = asked.text(part)?;
    Ok(html! {
        div.text dir="auto" { (text::shown(text.trim_end(), true)) }
        @if !whole { p.told { "The rest is too long to be shown: see the source." } }
    })
}

/// A frame of its own for what a stranger made; the text itself, where that can't be.
fn framed(asked: &Asked<'_>, at: usize, part: &Part, remote: bool, with_pictures: &str) -> Result<Markup, Status> {
    let (text, whole) = asked.text(part)?;
    let Some(cleaned) = clean(&text, &Pictures { parts: pictures(asked), remote }).filter(|_| whole) else {
        return Ok(html! {
            p.told { "The formatting of this message is too big or too deep to be shown; this is its text." }
            div.text dir="auto" { (text::shown(without_tags(&text).trim(), true)) }
        });
    };
    let number: Vec<String> = asked.structure.number(at).iter().map(u32::to_string).collect();
    let images = if remote { "&images=1" } else { "" };
    Ok(html! {
        @if cleaned.left_out {
            p.told { "Pictures from elsewhere are not shown; to load them would tell the sender that you read this. " a href=(with_pictures) { "Show pictures" } }
        }
        iframe.html title="The message" sandbox="allow-same-origin allow-popups allow-popups-to-escape-sandbox"
            src={ (asked.path()) "/html?part=" (number.join(".")) (images) } {}
    })
}

/// Where the pictures are that the text shows, by their ids.
pub(super) fn pictures(asked: &Asked<'_>) -> HashMap<String, String> {
    let parts = asked.structure.parts.iter().enumerate().filter(|(_, part)| part.is_type("image"));
    parts
        .filter_map(|(at, part)| {
            let id = words::raw(part.id.as_deref()?);
            Some((id.trim().trim_start_matches('<').trim_end_matches('>').to_owned(), part_path(asked, at)))
        })
        .collect()
}

/// What the frame shows.
pub(super) fn html(context: &Context<'_>, request: &Request<'_>, folder: &FolderName, id: &str) -> Result<Response, Status> {
    let asked = Asked::find(context, folder, id)?;
    let number = request.head.parameter("part").unwrap_or_default();
    let part = find_part(&asked.structure, &number).filter(|part| part.is("text", "html")).ok_or(Status::NOT_FOUND)?;
    let remote = request.head.parameter("images").is_some();
    let (text, _) = asked.text(part)?;
    let cleaned = clean(&text, &Pictures { parts: pictures(&asked), remote }).ok_or(Status::UNPROCESSABLE_CONTENT)?;
    let page = html! {
        (DOCTYPE)
        html {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { "The message" }
                link rel="stylesheet" href=(STYLE.path());
                link rel="icon" href=(ICON.path());
            }
            body.foreign { (PreEscaped(cleaned.html)) }
        }
    };
    Ok(Response::html(Status::OK, page.into_string()).with("Content-Security-Policy", &foreign_policy(remote)))
}

/// What a page may do that has in it what strangers wrote.
pub(super) fn foreign_policy(remote: bool) -> String {
    let images = if remote { "'self' https: http:" } else { "'self'" };
    format!(
        "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src {images}; frame-ancestors 'self'; base-uri 'none'; \
         form-action 'none'; sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox"
    )
}

/// A part by its number, `1.2`.
pub(super) fn find_part<'a>(structure: &'a Structure, number: &str) -> Option<&'a Part> {
    let number: Option<Vec<u32>> = number.split('.').map(|digits| digits.parse().ok()).collect();
    structure.part(&number?).and_then(|at| structure.parts.get(at))
}
