//! The folders: made, renamed, moved, emptied, deleted.

use super::frame::{Frame, say};
use super::reference::{escaped, folder_path, shown};
use super::site::{Context, Form, trouble};
use crate::httpd::{Request, Response, Status};
use crate::mailbox::{FolderError, FolderName, Kind, SpecialUse, Uid, View};
use maud::{Markup, html};

/// What can't be done, in words.
type Problem = String;

/// All folders; or, with `folder`, what can be done with one.
pub(super) fn page(context: &Context<'_>, request: &Request<'_>) -> Result<Response, Status> {
    match request.head.parameter("folder") {
        Some(name) => one(context, &parse(&name)?, Status::OK, ""),
        None => all(context, Status::OK, "", told(request.head.parameter("told").as_deref())),
    }
}

/// Does what a button says.
pub(super) fn act(context: &Context<'_>, request: &mut Request<'_>) -> Result<Response, Status> {
    let form = context.form(request)?;
    let word = form.get("do").unwrap_or_default();
    if word == "create" {
        return match create(context, &form)? {
            Ok(()) => Ok(Response::see_other("/folders?told=created")),
            Err(problem) => all(context, Status::CONFLICT, &problem, ""),
        };
    }
    let folder = parse(form.get("folder").unwrap_or_default())?;
    let done = match word {
        "rename" => rename(context, &folder, &form)?,
        "empty" => empty(context, &folder, &form)?,
        "delete" => delete(context, &folder, &form)?,
        _ => return Err(Status::UNPROCESSABLE_CONTENT),
    };
    match done {
        Ok(()) => Ok(Response::see_other(&format!("/folders?told={word}"))),
        Err(problem) => one(context, &folder, Status::CONFLICT, &problem),
    }
}

fn parse(name: &str) -> Result<FolderName, Status> {
    FolderName::parse(name).map_err(|_| Status::NOT_FOUND)
}

fn told(word: Option<&str>) -> &'static str {
    match word {
        Some("created") => "The folder is made.",
        Some("rename") => "The folder has its new name.",
        Some("empty") => "The folder is emptied.",
        Some("delete") => "The folder is deleted.",
        _ => "",
    }
}

/// The name that a form gives: within a folder, or at the top.
fn new_name(form: &Form) -> Result<FolderName, Problem> {
    let name = form.get("name").unwrap_or_default().trim();
    let whole = match form.get("under").unwrap_or_default() {
        "" => name.to_owned(),
        under => format!("{under}/{name}"),
    };
    FolderName::parse(&whole).map_err(|error| sentence(&error.to_string()))
}

fn create(context: &Context<'_>, form: &Form) -> Result<Result<(), Problem>, Status> {
    let folders = context.folders()?;
    let name = match new_name(form) {
        Ok(name) => name,
        Err(problem) => return Ok(Err(problem)),
    };
    // Mail programs show the folders that one is subscribed to.
    worded(folders.create(&name, None).and_then(|_| folders.subscribe(&name)))
}

/// A folder is moved by getting a name below another. Subscriptions follow, as they would if a mail program had done it.
fn rename(context: &Context<'_>, from: &FolderName, form: &Form) -> Result<Result<(), Problem>, Status> {
    let folders = context.folders()?;
    let to = match new_name(form) {
        Ok(to) if to == *from => return Ok(Ok(())),
        Ok(to) => to,
        Err(problem) => return Ok(Err(problem)),
    };
    let listed = folders.list().map_err(super::site::of_folders)?;
    let subscribed = listed.into_iter().filter(|listed| listed.subscribed).map(|listed| listed.name);
    let follow = || {
        for name in subscribed.filter(|name| name == from || name.is_below(from)) {
            folders.subscribe(&name.moved(from, &to)?)?;
            folders.unsubscribe(&name)?;
        }
        Ok(())
    };
    worded(folders.rename(from, &to).and_then(|()| follow()))
}

/// Removes what the page told of, and nothing that came after it.
fn empty(context: &Context<'_>, folder: &FolderName, form: &Form) -> Result<Result<(), Problem>, Status> {
    if !is_waste(special(context, folder)?) {
        return Err(Status::UNPROCESSABLE_CONTENT);
    }
    let view = context.open(folder)?;
    let known = form.get("known").unwrap_or_default();
    let (validity, next) = known.split_once('-').ok_or(Status::UNPROCESSABLE_CONTENT)?;
    let next: u32 = next.parse().map_err(|_| Status::UNPROCESSABLE_CONTENT)?;
    if validity != view.uid_validity().to_string() {
        return Ok(Err(CHANGED.to_owned()));
    }
    let all = view.messages().map_err(trouble)?;
    let uids: Vec<Uid> = all.iter().map(|summary| summary.uid).filter(|uid| uid.0 < next).collect();
    view.mailbox().expunge(&uids).map_err(trouble)?;
    Ok(Ok(()))
}

fn delete(context: &Context<'_>, folder: &FolderName, form: &Form) -> Result<Result<(), Problem>, Status> {
    if special(context, folder)?.is_some() {
        return Err(Status::UNPROCESSABLE_CONTENT);
    }
    // Mail that nobody was told of is not deleted with it.
    if form.get("known") != Some(known(&context.open(folder)?).as_str()) {
        return Ok(Err(CHANGED.to_owned()));
    }
    let folders = context.folders()?;
    worded(folders.delete(folder).and_then(|()| folders.unsubscribe(folder)))
}

const CHANGED: &str = "Mail has come into this folder meanwhile. Nothing was done.";

/// How far a page knows a folder.
fn known(view: &View) -> String {
    format!("{}-{}", view.uid_validity(), view.uid_next())
}

fn special(context: &Context<'_>, folder: &FolderName) -> Result<Option<SpecialUse>, Status> {
    context.folders()?.special_use(folder).map_err(super::site::of_folders)
}

/// What is in it is to be removed sooner or later.
fn is_waste(special: Option<SpecialUse>) -> bool {
    matches!(special, Some(SpecialUse::Trash | SpecialUse::Junk))
}

/// What the user can mend is told on the page.
fn worded(done: Result<(), FolderError>) -> Result<Result<(), Problem>, Status> {
    match done {
        Ok(()) => Ok(Ok(())),
        Err(error @ (FolderError::Mailbox(_) | FolderError::Nonexistent)) => Err(super::site::of_folders(error)),
        Err(error) => Ok(Err(sentence(&error.to_string()))),
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}

fn all(context: &Context<'_>, status: Status, problem: &str, told: &str) -> Result<Response, Status> {
    let frame = Frame::of(context, None)?;
    let inside = html! {
        (say(problem, told))
        div.bar { h1 { "Folders" } }
        table.plain {
            thead { tr { th { "Folder" } th.number { "Messages" } th.number { "Unread" } th { span.hidden { "Change" } } } }
            tbody {
                @for entry in &frame.folders {
                    @let change = format!("/folders?folder={}", escaped(entry.name.as_str()));
                    tr {
                        td { a href=(folder_path(&entry.name)) { (shown(&entry.name)) } }
                        td.number { (entry.counts.messages) }
                        td.number { (entry.counts.unseen) }
                        td {
                            @if !entry.name.is_inbox() {
                                a href=(change) title={ "Change " (shown(&entry.name)) } { @if is_waste(entry.special) { "Rename or empty" } @else { "Change" } }
                            }
                        }
                    }
                }
            }
        }
        h2 { "New folder" }
        form.settings method="post" action="/folders" {
            input type="hidden" name="token" value=(context.visit.form_token());
            label { span { "Name" } input type="text" name="name" required maxlength="200" autocomplete="off"; }
            (under(&frame, None))
            div { button.first name="do" value="create" { "Make it" } }
        }
    };
    Ok(frame.page(status, "Folders", &inside))
}

fn one(context: &Context<'_>, folder: &FolderName, status: Status, problem: &str) -> Result<Response, Status> {
    let frame = Frame::of(context, None)?;
    let listed = context.folders()?.list().map_err(super::site::of_folders)?;
    let listed = listed.into_iter().find(|listed| listed.name == *folder && matches!(listed.kind, Kind::Mailbox(_)));
    let listed = listed.filter(|_| !folder.is_inbox()).ok_or(Status::NOT_FOUND)?;
    let view = context.open(folder)?;
    let messages = view.counts().messages;
    let (last, token) = (folder.as_str().rsplit('/').next().unwrap_or_default(), context.visit.form_token());
    let count = if messages == 1 { "1 message".to_owned() } else { format!("{messages} messages") };
    let inside = html! {
        (say(problem, ""))
        div.bar { a href="/folders" { "← Folders" } h1 { (shown(folder)) } }
        p.quiet { (count) }
        form.settings method="post" action="/folders" {
            input type="hidden" name="token" value=(token);
            input type="hidden" name="folder" value=(folder.as_str());
            input type="hidden" name="known" value=(known(&view));
            label { span { "Name" } input type="text" name="name" value=(last) required maxlength="200" autocomplete="off"; }
            (under(&frame, Some(folder)))
            div { button.first name="do" value="rename" { "Rename or move" } }
            @if is_waste(listed.special) && messages > 0 {
                div { button name="do" value="empty" { "Delete " (count) " for good" } }
            }
            @if listed.special.is_none() {
                div { button name="do" value="delete" { "Delete the folder" @if messages > 0 { " and " (count) " for good" } } }
                @if listed.has_children { p.quiet { "The folders below it stay." } }
            }
        }
    };
    Ok(frame.page(status, shown(folder), &inside))
}

/// Where a folder is, or is to be: not below itself.
fn under(frame: &Frame<'_>, folder: Option<&FolderName>) -> Markup {
    let parent = folder.and_then(FolderName::parent);
    let may_hold = |name: &FolderName| folder.is_none_or(|folder| name != folder && !name.is_below(folder));
    let is_known = parent.as_ref().is_none_or(|parent| frame.folders.iter().any(|entry| entry.name == *parent));
    html! {
        label {
            span { "Within" }
            select name="under" {
                option value="" { "no other folder" }
                // A name that is no folder itself.
                @if let Some(parent) = parent.as_ref().filter(|_| !is_known) { option value=(parent.as_str()) selected { (shown(parent)) } }
                @for entry in frame.folders.iter().filter(|entry| may_hold(&entry.name)) {
                    option value=(entry.name.as_str()) selected[parent.as_ref() == Some(&entry.name)] { (shown(&entry.name)) }
                }
            }
        }
    }
}
