//! One message: its header, its text, its files.

use super::choice::{self, Choice};
use super::clean::{Pictures, clean};
use super::frame::Frame;
use super::list::value;
use super::proof;
use super::reference::{Reference, escaped, folder_path, message_path, shown};
use super::site::{Context, trouble};
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
const MOST_TEXTS: usize = 20;
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
        text(&self.view, self.uid, part)
    }
}

fn text(view: &View, uid: Uid, part: &Part) -> Result<(String, bool), Status> {
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
        let Ok((text, _)) = text(view, uid, part) else { continue };
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
    let as_text = request.head.parameter("view").as_deref() == Some("text");
    let all_fields = request.head.parameter("view").as_deref() == Some("headers");
    let remote = request.head.parameter("images").is_some();
    let choice = choice::choose(&asked.structure, !as_text);
    let subject = words::decode(value(&header, "Subject"));
    let subject = if subject.trim().is_empty() { "(no subject)" } else { subject.trim() };
    let frame = Frame::of(context, Some(folder))?;
    let inside = html! {
        article.mail {
            div.bar {
                a href=(folder_path(folder)) { "← " (shown(folder)) }
                (actions(context, &asked, &frame, summary.marks.flags))
            }
            h1 { (subject) }
            (head(&header, all_fields))
            (proof::line(&header, &context.server.config.hostname))
            (files(&asked, &choice))
            (body(&asked, &choice, remote)?)
            p.quiet.ways {
                @if choice.has_html && choice.has_plain {
                    @if as_text { a href=(asked.path()) { "Show with formatting" } } @else { a href={ (asked.path()) "?view=text" } { "Show as plain text" } }
                }
                @if !all_fields { a href={ (asked.path()) "?view=headers" } { "All header fields" } }
                a href={ (asked.path()) "/source" } { "Source" }
                a href={ (asked.path()) "/source?download=1" } { "Save" }
                a href={ "/compose?whole=1&forward=" (escaped(&format!("{}/{}", escaped(folder.as_str()), asked.reference))) } { "Forward as a file" }
            }
        }
    };
    Ok(frame.page(Status::OK, subject, &inside))
}

fn actions(context: &Context<'_>, asked: &Asked<'_>, frame: &Frame<'_>, flags: Flags) -> Markup {
    let compose =
        |how: &str| format!("/compose?{how}={}", escaped(&format!("{}/{}", escaped(asked.folder.as_str()), asked.reference)));
    let is = |special| frame.folders.iter().any(|entry| entry.name == *asked.folder && entry.special == Some(special));
    html! {
        form.actions method="post" action=(folder_path(asked.folder)) {
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
            span.together {
                select name="to" aria-label="Folder to move to" {
                    @for entry in frame.folders.iter().filter(|entry| entry.name != *asked.folder) {
                        option value=(entry.name.as_str()) { (shown(&entry.name)) }
                    }
                }
                button name="do" value="move" { "Move" }
            }
        }
    }
}

fn head(header: &[u8], all: bool) -> Markup {
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

fn files(asked: &Asked<'_>, choice: &Choice) -> Markup {
    html! {
        @if !choice.files.is_empty() {
            ul.files aria-label="Attachments" {
                @for &at in &choice.files {
                    @if let Some(part) = asked.structure.parts.get(at) {
                        li {
                            a href=(part_path(asked, at)) { (choice::file_name(part)) }
                            span.quiet { " " (size(part.body.end - part.body.start)) }
                            a.quiet href={ (part_path(asked, at)) "?download=1" } { "Save" }
                        }
                    }
                }
            }
        }
    }
}

fn part_path(asked: &Asked<'_>, part: usize) -> String {
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

fn body(asked: &Asked<'_>, choice: &Choice, remote: bool) -> Result<Markup, Status> {
    let mut shown = Vec::new();
    for &at in choice.texts.iter().take(MOST_TEXTS) {
        let Some(part) = asked.structure.parts.get(at) else { continue };
        shown.push(if part.is("text", "html") { framed(asked, at, part, remote)? } else { plain_text(asked, part)? });
    }
    Ok(html! {
        @if shown.is_empty() { p.empty { "This message has no text." } }
        @for text in shown { (text) }
    })
}

fn plain_text(asked: &Asked<'_>, part: &Part) -> Result<Markup, Status> {
    let (text, whole) = asked.text(part)?;
    Ok(html! {
        div.text dir="auto" { (linked(text.trim_end())) }
        @if !whole { p.told { "The rest is too long to be shown: see the source." } }
    })
}

/// A frame of its own for what a stranger made; the text itself, where that can't be.
fn framed(asked: &Asked<'_>, at: usize, part: &Part, remote: bool) -> Result<Markup, Status> {
    let (text, whole) = asked.text(part)?;
    let Some(cleaned) = clean(&text, &Pictures { parts: pictures(asked), remote }).filter(|_| whole) else {
        return Ok(html! {
            p.told { "The formatting of this message is too big or too deep to be shown; this is its text." }
            div.text dir="auto" { (linked(without_tags(&text).trim())) }
        });
    };
    let number: Vec<String> = asked.structure.number(at).iter().map(u32::to_string).collect();
    let images = if remote { "&images=1" } else { "" };
    Ok(html! {
        @if cleaned.left_out {
            p.told { "Pictures from elsewhere are not shown; to load them would tell the sender that you read this. " a href={ (asked.path()) "?images=1" } { "Show pictures" } }
        }
        iframe.html title="The message" sandbox="allow-same-origin allow-popups allow-popups-to-escape-sandbox"
            src={ (asked.path()) "/html?part=" (number.join(".")) (images) } {}
    })
}

/// Where the pictures are that the text shows, by their ids.
fn pictures(asked: &Asked<'_>) -> HashMap<String, String> {
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
                meta name="referrer" content="no-referrer";
                link rel="stylesheet" href={ "/assets/" (*super::assets::STYLE_NAME) };
            }
            body.foreign { (PreEscaped(cleaned.html)) }
        }
    };
    let images = if remote { "'self' https: http:" } else { "'self'" };
    let policy = format!(
        "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src {images}; frame-ancestors 'self'; base-uri 'none'; \
         form-action 'none'; sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox"
    );
    Ok(Response::html(Status::OK, page.into_string()).with("Content-Security-Policy", &policy))
}

/// A part by its number, `1.2`.
pub(super) fn find_part<'a>(structure: &'a Structure, number: &str) -> Option<&'a Part> {
    let number: Option<Vec<u32>> = number.split('.').map(|digits| digits.parse().ok()).collect();
    structure.part(&number?).and_then(|at| structure.parts.get(at))
}

/// Plain text with its links to follow, and its quoted lines set off.
fn linked(text: &str) -> Markup {
    html! {
        @for line in text.split('\n') {
            @let line = line.trim_end_matches('\r');
            @if line.starts_with('>') { span.quoted { (with_links(line)) } } @else { (with_links(line)) }
            "\n"
        }
    }
}

fn with_links(line: &str) -> Markup {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(at) = ["https://", "http://"].iter().filter_map(|scheme| rest.find(scheme)).min() {
        let (before, from) = rest.split_at(at);
        let end = from.find(|char: char| char.is_whitespace() || matches!(char, '<' | '>' | '"')).unwrap_or(from.len());
        let (link, _) = from.split_at(end);
        let link = link.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '\'']);
        pieces.push((before, link));
        rest = from.get(link.len()..).unwrap_or_default();
    }
    html! {
        @for (before, link) in pieces {
            (before)
            a href=(link) target="_blank" rel="noopener noreferrer nofollow" { (link) }
        }
        (rest)
    }
}
