//! A message on a page of its own, all of it, to be printed. What strangers wrote stands in it under the policy of their frame.

use super::choice::{self, choose};
use super::clean::{Pictures, clean};
use super::frame::document;
use super::list::value;
use super::message::{Asked, MOST_TEXTS, foreign_policy, head, pictures, subject, without_tags};
use super::site::Context;
use super::text;
use crate::httpd::{Request, Response, Status};
use crate::mail::structure::Part;
use crate::mailbox::FolderName;
use maud::{Markup, PreEscaped, html};

/// The page.
pub(super) fn page(context: &Context<'_>, request: &Request<'_>, folder: &FolderName, id: &str) -> Result<Response, Status> {
    let asked = Asked::find(context, folder, id)?;
    let header = asked.header()?;
    let remote = request.head.parameter("images").is_some();
    let choice = choose(&asked.structure, request.head.parameter("view").as_deref() != Some("text"));
    let subject = subject(value(&header, "Subject"));
    let parts =
        |indices: &[usize]| -> Vec<Part> { indices.iter().filter_map(|at| asked.structure.parts.get(*at)).cloned().collect() };
    let texts: Vec<Markup> =
        parts(&choice.texts).iter().take(MOST_TEXTS).map(|part| whole(&asked, part, remote)).collect::<Result<_, _>>()?;
    let files: Vec<String> = parts(&choice.files).iter().map(choice::file_name).collect();
    let body = html! {
        body.foreign {
            main {
                h1 dir="auto" { (subject) }
                (head(&header, false))
                @if !files.is_empty() { p { "Files: " (files.join(", ")) } }
                @for text in texts { (text) }
            }
        }
    };
    let page = document(&subject, &html! { meta name="referrer" content="no-referrer"; }, &body);
    Ok(Response::html(Status::OK, page).with("Content-Security-Policy", &foreign_policy(remote)))
}

fn whole(asked: &Asked<'_>, part: &Part, remote: bool) -> Result<Markup, Status> {
    let (words, is_all) = asked.text(part)?;
    if !part.is("text", "html") {
        return Ok(html! { div.text dir="auto" { (text::shown(words.trim_end(), false)) } });
    }
    Ok(match clean(&words, &Pictures { parts: pictures(asked), remote }).filter(|_| is_all) {
        Some(cleaned) => html! { div { (PreEscaped(cleaned.html)) } },
        None => html! { div.text dir="auto" { (text::shown(without_tags(&words).trim(), false)) } },
    })
}
