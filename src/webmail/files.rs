//! What comes with a message beside its text: files, other messages, and what is only told of.

use super::choice::{self, Choice};
use super::list::value;
use super::message::{Asked, part_path, size};
use super::part::is_picture;
use crate::mail::structure::{Kind, Part};
use crate::mail::{parameters, words};
use maud::{Markup, html};
use std::io::Read;

/// A bigger picture is shown only when asked for.
const MOST_PICTURE: u64 = 8 << 20;
/// Bytes of the header of a message in another that are read for its subject.
const MOST_HEADER: u64 = 16 << 10;

/// The list of them, those of a digest (RFC 2046 §5.1.5) apart.
pub(super) fn list(asked: &Asked<'_>, choice: &Choice) -> Markup {
    let in_digest = |at: &&usize| parent(asked, **at).is_some_and(|parent| parent.is("multipart", "digest"));
    let (digest, files): (Vec<&usize>, Vec<&usize>) = choice.files.iter().partition(in_digest);
    html! {
        @if !digest.is_empty() {
            h2 { "Digest of " (digest.len()) @if digest.len() == 1 { " message" } @else { " messages" } }
            ul.files.digest aria-label="Messages of the digest" { @for at in digest { (entry(asked, *at)) } }
        }
        @if !files.is_empty() {
            ul.files aria-label="Attachments" { @for at in files { (entry(asked, *at)) } }
        }
    }
}

fn parent<'a>(asked: &'a Asked<'_>, at: usize) -> Option<&'a Part> {
    asked.structure.parts.get(at).and_then(|part| part.parent).and_then(|parent| asked.structure.parts.get(parent))
}

fn entry(asked: &Asked<'_>, at: usize) -> Markup {
    let Some(part) = asked.structure.parts.get(at) else { return html! {} };
    if part.is("message", "external-body") {
        return html! { li { (elsewhere(part)) } };
    }
    let (path, bytes) = (part_path(asked, at), part.body.end - part.body.start);
    html! {
        li {
            @if is_picture(part) && bytes <= MOST_PICTURE {
                a.picture href=(path) tabindex="-1" aria-hidden="true" { img src=(path) alt="" loading="lazy"; }
            }
            a href=(path) { bdi { (name(asked, at, part)) } }
            " "
            span.quiet { (kind(asked, at, part)) (size(bytes)) }
            " "
            a.quiet href={ (path) "?download=1" } { "Save" }
        }
    }
}

/// What it is called: a message by its subject.
fn name(asked: &Asked<'_>, at: usize, part: &Part) -> String {
    let inner = asked.structure.parts.get(at + 1).filter(|inner| part.kind == Kind::Message && inner.parent == Some(at));
    let subject = inner.and_then(|inner| {
        let end = inner.header.end.min(inner.header.start.saturating_add(MOST_HEADER));
        let mut header = Vec::new();
        asked.view.read_part(asked.uid, inner.header.start..end).ok()?.read_to_end(&mut header).ok()?;
        let subject = words::decode(value(&header, "Subject"));
        Some(subject.trim().to_owned()).filter(|subject| !subject.is_empty())
    });
    subject.unwrap_or_else(|| choice::file_name(part))
}

/// What it is, where its name does not tell.
fn kind(asked: &Asked<'_>, at: usize, part: &Part) -> String {
    if part.kind == Kind::Message {
        return "message, ".into();
    }
    if part.is("message", "partial") {
        // RFC 2046 §5.2.2.
        let number =
            |name| parameters::value(&part.parameters, name).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let total = number("total").map(|total| format!(" of {total}")).unwrap_or_default();
        return format!("piece {}{total} of a bigger message, ", number("number").unwrap_or_else(|| "?".into()));
    }
    // RFC 2046 §5.1.6.
    if parent(asked, at).is_some_and(|parent| parent.is("multipart", "parallel")) {
        "to be seen with the others, ".into()
    } else {
        String::new()
    }
}

/// What is not in the message (RFC 2046 §5.2.3, RFC 2017): where it is, and a link only where a browser is safe with it.
fn elsewhere(part: &Part) -> Markup {
    let get = |name| parameters::value(&part.parameters, name).unwrap_or_default();
    // Long ones are folded (RFC 2017 §3).
    let url: String = get("url").split_whitespace().collect();
    let is_safe = ["https://", "http://"].iter().any(|scheme| url.to_ascii_lowercase().starts_with(scheme));
    let place: Vec<String> =
        ["site", "server", "directory", "name"].map(get).into_iter().filter(|text| !text.is_empty()).collect();
    html! {
        span.quiet { "Not in this message; it is kept elsewhere (" (get("access-type").to_lowercase()) "):" }
        " "
        @if is_safe { a href=(url) target="_blank" rel="noopener noreferrer nofollow" { (url) } }
        @else if !url.is_empty() { span { (url) } }
        @else { span { (place.join(", ")) } }
    }
}
