//! What all pages have around them: head, folders, search.

use super::assets::{ICON, SCRIPT, STYLE};
use super::reference::{folder_path, shown};
use super::site::{Context, of_folders};
use crate::httpd::{Response, Status};
use crate::mailbox::{Counts, FolderName, Folders, Kind, Listed, SpecialUse};
use maud::{DOCTYPE, Markup, html};

/// What the sidebar shows of a folder.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: FolderName,
    pub special: Option<SpecialUse>,
    pub counts: Counts,
}

/// A page of somebody who is logged in.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub context: &'a Context<'a>,
    pub folders: Vec<Entry>,
    /// The folder that is shown.
    pub current: Option<&'a FolderName>,
    /// What is searched for.
    pub query: &'a str,
    /// Messages that are to leave later.
    scheduled: usize,
}

impl<'a> Frame<'a> {
    /// With the folders as they are now.
    pub(super) fn of(context: &'a Context<'a>, current: Option<&'a FolderName>) -> Result<Frame<'a>, Status> {
        let scheduled = context.server.delivery.scheduled(&context.account().name).len();
        Ok(Frame { context, folders: entries(context, &context.folders()?)?, current, query: "", scheduled })
    }

    /// The page with this in it.
    pub(super) fn page(&self, status: Status, title: &str, inside: &Markup) -> Response {
        let account = &self.context.account().name;
        whole(
            status,
            title,
            &html! {
                a.skip href="#main" { "Skip to the mail" }
                header.top {
                    a.brand href="/m/INBOX" { "Mail" }
                    (self.search())
                    details.menu {
                        summary { (account) }
                        div {
                            a href="/folders" { "Folders" }
                            a href="/settings" { "Settings" }
                            a href="/sessions" { "Sessions" }
                            form method="post" action="/logout" {
                                input type="hidden" name="token" value=(self.context.visit.form_token());
                                button type="submit" { "Log out" }
                            }
                        }
                    }
                }
                div.columns {
                    nav.folders aria-label="Folders" {
                        a.button.first href="/compose" { "Write" }
                        ul {
                            @for entry in &self.folders { (self.entry(entry)) }
                            @if self.scheduled > 0 {
                                li { a href="/scheduled" { span { "Scheduled" } span.count title="to be sent" { (self.scheduled) } } }
                            }
                        }
                    }
                    main #main { (inside) }
                }
            },
            true,
        )
    }

    fn search(&self) -> Markup {
        let folder = self.current.cloned().unwrap_or_else(FolderName::inbox);
        html! {
            form.search role="search" action=(folder_path(&folder)) {
                input type="search" name="q" value=(self.query) aria-label="Search" placeholder={ "Search in " (shown(&folder)) };
                button type="submit" { "Search" }
            }
        }
    }

    fn entry(&self, entry: &Entry) -> Markup {
        let is_current = self.current == Some(&entry.name);
        html! {
            li {
                a href=(folder_path(&entry.name)) aria-current=[is_current.then_some("page")] {
                    span { (shown(&entry.name)) }
                    @if entry.counts.unseen > 0 { span.count title="unread" { (entry.counts.unseen) } }
                }
            }
        }
    }
}

/// INBOX, then those that are for something, then the others.
fn entries(context: &Context<'_>, folders: &Folders) -> Result<Vec<Entry>, Status> {
    let listed = folders.list().map_err(of_folders)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(listed.len());
    for Listed { name, kind, special, .. } in listed {
        if matches!(kind, Kind::Mailbox(_)) {
            // One that can't be opened now is there all the same.
            let counts = context.open(&name).map(|view| view.counts()).unwrap_or_default();
            entries.push(Entry { name, special, counts });
        }
    }
    let rank = |entry: &Entry| match entry.special {
        _ if entry.name.is_inbox() => 0,
        Some(SpecialUse::Drafts) => 1,
        Some(SpecialUse::Sent) => 2,
        Some(SpecialUse::Archive) => 3,
        Some(SpecialUse::Junk) => 4,
        Some(SpecialUse::Trash) => 5,
        None => 6,
    };
    entries.sort_by(|one, other| rank(one).cmp(&rank(other)).then_with(|| one.name.cmp(&other.name)));
    Ok(entries)
}

/// What could not be done, and what was.
pub(super) fn say(problem: &str, told: &str) -> Markup {
    html! {
        @if !problem.is_empty() { p.told role="alert" { (problem) } }
        @if !told.is_empty() { p.told role="status" { (told) } }
    }
}

/// A page without folders.
pub(super) fn bare(status: Status, title: &str, inside: &Markup) -> Response {
    whole(status, title, inside, false)
}

/// A page that says why there is no other.
pub(super) fn refusal(status: Status) -> Response {
    let told = match status {
        Status::NOT_FOUND => "There is nothing under this address. Perhaps the message was moved or deleted.",
        Status::FORBIDDEN => {
            "This is not allowed. Perhaps the page was open for too long: go back, load it again, and try once more."
        }
        Status::CONFLICT => {
            "Something else is in the way: a name that is taken, or a change made in another window. Nothing was changed; go back and try once more."
        }
        Status::CONTENT_TOO_LARGE => "This is too big to be sent.",
        Status::INSUFFICIENT_STORAGE => "There is no room left for this.",
        Status::SERVICE_UNAVAILABLE => {
            "This can't be done now; another program may be at work on the mailbox. Nothing was changed. Try again in a moment."
        }
        _ => "The server can't do what the browser asks for.",
    };
    let shown = format!("{} {}", status.0, status.reason());
    bare(
        status,
        &shown,
        &html! { main.login { div.card { h1 { (shown) } p { (told) } p { a href="/" { "Back to the mail" } } } } },
    )
}

fn whole(status: Status, title: &str, body: &Markup, script: bool) -> Response {
    let more = html! {
        meta name="color-scheme" content="light dark";
        @if script { script type="module" src=(SCRIPT.path()) {} }
    };
    Response::html(status, document(title, &more, &html! { body { (body) } }))
}

/// `more`: what else is in its head.
pub(super) fn document(title: &str, more: &Markup, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href=(STYLE.path());
                link rel="icon" href=(ICON.path());
                (more)
            }
            (body)
        }
    };
    page.into_string()
}
