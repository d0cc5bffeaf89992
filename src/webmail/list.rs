//! The list of a folder's messages, and what is done to those that are selected in it.

use super::choice;
use super::frame::{Entry, Frame};
use super::query::{Facts, Query};
use super::reference::{Reference, escaped, folder_path, message_path, shown};
use super::selection::{Counted, Selection, names};
use super::site::{Context, trouble, unfiled};
use super::visit::Found;
use crate::httpd::{Request, Response, Status};
use crate::mail::structure::{Keys, Record};
use crate::mail::{date, header, words};
use crate::mailbox::{Change, Flags, FolderName, Marks, SpecialUse, Summary, Uid, View};
use crate::sys::Time;
use maud::{Markup, PreEscaped, html};
use std::collections::HashMap;

/// Messages on a page.
pub(super) const PAGE: usize = 50;
/// Messages whose text is searched: so many that a person waits a moment, not a minute.
const MOST_READ: usize = 20_000;
/// Messages that are moved in one act: of more, those before are moved if others can't be.
const AT_ONCE: usize = 1_000;

/// A paper clip.
const CLIP: PreEscaped<&str> = PreEscaped(
    "<svg class=\"clip\" role=\"img\" viewBox=\"0 0 16 16\"><title>has attachments</title>\
     <path d=\"M13 7 8 12a3 3 0 0 1-4-4l6-6a2 2 0 0 1 3 3l-6 6a1 1 0 0 1-1.5-1.5L10 5\"/></svg>",
);

/// What a list shows of a message.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub summary: Summary,
    pub from: String,
    pub to: String,
    pub subject: String,
    preview: String,
    has_attachment: bool,
}

/// A page of the list, or of what was found.
pub(super) fn page(context: &Context<'_>, request: &Request<'_>, folder: &FolderName) -> Result<Response, Status> {
    let view = context.open(folder)?;
    let text = request.head.parameter("q").unwrap_or_default();
    let query = Query::parse(&text);
    let all = view.messages().map_err(trouble)?;
    let mut uids: Vec<Uid> = all.iter().map(|summary| summary.uid).collect();
    if !query.is_empty() {
        uids = search(&view, &uids, &query)?;
    }
    uids.reverse();
    if !query.is_empty() {
        let (folder, validity, text) = (folder.clone(), view.uid_validity(), text.clone());
        context.visit.keep_found(Found { folder, validity, text, uids: uids.as_slice().into() });
    }
    let counted = Counted::of(&view, &all, uids.len());
    let number = request.head.parameter("p").and_then(|digits| digits.parse().ok()).unwrap_or(1_usize).max(1);
    let from = (number - 1).saturating_mul(PAGE).min(uids.len());
    let shown_uids = uids.get(from..(from + PAGE).min(uids.len())).unwrap_or_default();
    let rows = rows(&view, shown_uids)?;
    let mut frame = Frame::of(context, Some(folder))?;
    frame.query = &text;
    let list = List { context, frame: &frame, folder, view: &view, text: &text, number, from, counted };
    let title = match frame.folders.iter().find(|entry| entry.name == *folder).map_or(0, |entry| entry.counts.unseen) {
        0 => shown(folder).to_owned(),
        unseen => format!("({unseen}) {}", shown(folder)),
    };
    Ok(frame.page(Status::OK, &title, &list.markup(&rows, &request.head)))
}

struct List<'a> {
    context: &'a Context<'a>,
    frame: &'a Frame<'a>,
    folder: &'a FolderName,
    view: &'a View,
    text: &'a str,
    /// Of the page.
    number: usize,
    /// Messages before it.
    from: usize,
    /// All there are.
    counted: Counted,
}

impl List<'_> {
    fn markup(&self, rows: &[Row], head: &crate::httpd::Head) -> Markup {
        let now = self.context.server.clock.now();
        let is_own = self.is(SpecialUse::Sent) || self.is(SpecialUse::Drafts);
        html! {
            (told(self.context, head, self.folder))
            form.list method="post" action=(self.here(self.number)) data-next=(self.view.uid_next()) data-unseen=(self.view.counts().unseen) {
                input type="hidden" name="token" value=(self.context.visit.form_token());
                div.bar {
                    h1 { (shown(self.folder)) }
                    (self.buttons())
                }
                @if rows.is_empty() {
                    p.empty { @if self.text.is_empty() { "There is no mail here." } @else { "Nothing was found." } }
                }
                ul.messages {
                    @for row in rows { (self.row(row, is_own, now)) }
                }
                (self.pages(rows.len()))
            }
        }
    }

    fn is(&self, special: SpecialUse) -> bool {
        self.frame.folders.iter().any(|entry| entry.name == *self.folder && entry.special == Some(special))
    }

    fn here(&self, page: usize) -> String {
        let mut path = format!("{}?p={page}", folder_path(self.folder));
        if !self.text.is_empty() {
            path.push_str("&q=");
            path.push_str(&escaped(self.text));
        }
        path
    }

    fn buttons(&self) -> Markup {
        let gone = if self.is(SpecialUse::Trash) { "Delete for good" } else { "Delete" };
        html! {
            div.actions role="toolbar" aria-label="What to do with the selected messages" {
                button name="do" value="delete" { (gone) }
                @if !self.is(SpecialUse::Archive) { button name="do" value="archive" { "Archive" } }
                @if !self.is(SpecialUse::Junk) { button name="do" value="junk" { "Junk" } }
                button name="do" value="read" { "Mark read" }
                button name="do" value="flag" { "Flag" }
                button name="do" value="unread" { "Mark unread" }
                button name="do" value="unflag" { "Unflag" }
                (mover(&self.frame.folders, self.folder))
            }
        }
    }

    fn row(&self, row: &Row, is_own: bool, now: Time) -> Markup {
        let reference = Reference::of(self.view, row.summary.uid);
        let flags = row.summary.marks.flags;
        let who = if is_own { &row.to } else { &row.from };
        let subject = if row.subject.is_empty() { "(no subject)" } else { row.subject.as_str() };
        let path = match self.is(SpecialUse::Drafts) {
            true => format!("/compose?draft={reference}"),
            false => message_path(self.folder, reference) + &place(self.number, self.text),
        };
        html! {
            li id={ "m" (row.summary.uid.0) } class=(if flags.has(Flags::SEEN) { "message" } else { "message unread" }) {
                input type="checkbox" name="m" value=(reference) aria-label={ "Select: " (subject) };
                a href=(path) {
                    span.who { @if is_own && !who.is_empty() { "To: " } bdi { (who) } }
                    span.what {
                        @if flags.has(Flags::FLAGGED) { span.mark title="flagged" { "★ " } }
                        @if flags.has(Flags::ANSWERED) { span.mark title="answered" { "↩ " } }
                        span.subject dir="auto" { (subject) }
                        span.preview dir="auto" { (row.preview) }
                    }
                    span.when {
                        @if row.has_attachment { (CLIP) " " }
                        time datetime=(row.summary.date.seconds()) title=(date::rfc5322(row.summary.date)) { (when(row.summary.date, now)) }
                    }
                }
            }
        }
    }

    fn pages(&self, shown: usize) -> Markup {
        let total = self.counted.total;
        html! {
            @if shown < total {
                label.all {
                    input type="checkbox" name="all" value=(self.counted);
                    " All " (total) @if self.text.is_empty() { " messages of this folder" } @else { " messages that were found" }
                }
            }
            nav.pages aria-label="Pages" {
                @if self.number > 1 { a rel="prev" href=(self.here(self.number - 1)) { "Newer" } }
                @if shown > 0 { span.quiet { (self.from + 1) "–" (self.from + shown) " of " (total) } }
                @if self.from + shown < total { a rel="next" href=(self.here(self.number + 1)) { "Older" } }
            }
        }
    }
}

/// What leads to a page of a list from a message in it.
pub(super) fn place(number: usize, text: &str) -> String {
    match (number, text) {
        (1, "") => String::new(),
        (_, "") => format!("?p={number}"),
        _ => format!("?p={number}&q={}", escaped(text)),
    }
}

/// The messages of a list from its top: those of the folder, or what was found when the list was shown last.
pub(super) fn listed(context: &Context<'_>, view: &View, folder: &FolderName, text: &str) -> Result<Vec<Uid>, Status> {
    let mut all: Vec<Uid> = view.messages().map_err(trouble)?.iter().map(|summary| summary.uid).collect();
    let query = Query::parse(text);
    if query.is_empty() {
        all.reverse();
        return Ok(all);
    }
    if let Some(found) = context.visit.found(folder, view.uid_validity(), text) {
        return Ok(found.iter().copied().filter(|uid| all.binary_search(uid).is_ok()).collect());
    }
    let mut uids = search(view, &all, &query)?;
    uids.reverse();
    let (folder, validity, text) = (folder.clone(), view.uid_validity(), text.to_owned());
    context.visit.keep_found(Found { folder, validity, text, uids: uids.as_slice().into() });
    Ok(uids)
}

/// Moves to another folder.
pub(super) fn mover(folders: &[Entry], here: &FolderName) -> Markup {
    html! {
        span.together {
            select name="to" aria-label="Folder to move to" {
                option value="" { "Move to…" }
                @for entry in folders.iter().filter(|entry| entry.name != *here) {
                    option value=(entry.name.as_str()) { (shown(&entry.name)) }
                }
            }
            button name="do" value="move" { "Move" }
        }
    }
}

/// Today the time, this year the day, else the date.
pub(super) fn when(time: Time, now: Time) -> String {
    let (day, today) = (date::day(time, None), date::day(now, None));
    if day == today {
        let text = date::rfc5322(time);
        // `Sat, 21 Nov 2026 09:18:51 +0000`
        return text.get(17..22).unwrap_or_default().to_owned();
    }
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = usize::try_from(day.month()).ok().and_then(|month| months.get(month - 1)).copied().unwrap_or_default();
    if day.year() == today.year() { format!("{} {month}", day.day()) } else { format!("{} {month} {}", day.day(), day.year()) }
}

/// What is shown of these messages, in their order.
pub(super) fn rows(view: &View, uids: &[Uid]) -> Result<Vec<Row>, Status> {
    // Both are the fastest in the order of UIDs.
    let mut ascending = uids.to_vec();
    ascending.sort_unstable();
    let mut found: HashMap<Uid, Row> = HashMap::with_capacity(uids.len());
    let summaries = view.summaries(&ascending).map_err(trouble)?;
    for summary in summaries.into_iter().flatten() {
        found.insert(summary.uid, Row { summary, ..Row::default() });
    }
    let mut structures = view.structures(&ascending);
    while let Some((uid, record)) = structures.next() {
        if let (Some(row), Ok(record)) = (found.get_mut(&uid), record) {
            row.take(record);
        }
    }
    drop(structures);
    let mut headers = view.headers(&ascending);
    while let Some((uid, header)) = headers.next() {
        if let (Some(row), Ok(Some(header))) = (found.get_mut(&uid), header) {
            row.subject = words::decode(value(header, "Subject")).trim().to_owned();
        }
    }
    Ok(uids.iter().filter_map(|uid| found.remove(uid)).collect())
}

impl Row {
    fn take(&mut self, record: Record<'_>) {
        let Keys { from, to, preview, .. } = record.keys().unwrap_or_default();
        (self.from, self.to, self.preview) = (from.display, to.display, preview);
        self.has_attachment = has_attachment(record);
    }
}

fn has_attachment(record: Record<'_>) -> bool {
    record.structure().is_some_and(|structure| !choice::choose(&structure, true).files.is_empty())
}

/// The value of a field, as it stands; empty if there is none.
pub(super) fn value<'a>(header: &'a [u8], name: &str) -> &'a [u8] {
    let field = header::fields(header).find(|field| field.is(header, name));
    field.and_then(|field| header.get(field.value)).unwrap_or_default()
}

/// What matches, in the order of UIDs.
pub(super) fn search(view: &View, uids: &[Uid], query: &Query) -> Result<Vec<Uid>, Status> {
    let mut found = Vec::new();
    let mut read = 0;
    let summaries = view.summaries(uids).map_err(trouble)?;
    let (mut structures, mut headers) = (view.structures(uids), view.headers(uids));
    for summary in summaries.into_iter().flatten() {
        structures.skip_to(summary.uid);
        headers.skip_to(summary.uid);
        let (Some((_, Ok(record))), Some((_, Ok(Some(header))))) = (structures.next(), headers.next()) else { continue };
        let text = |name| words::decode(value(header, name)).to_lowercase();
        let (from, to, subject) = (text("From"), text("To") + " " + &text("Cc"), text("Subject"));
        let has_attachment = has_attachment(record);
        let day = date::day(summary.date, summary.zone);
        let facts = Facts { summary: &summary, day, from: &from, to: &to, subject: &subject, has_attachment };
        if !query.may_match(&facts) {
            continue;
        }
        let left = query.left(&facts);
        if left.is_empty() {
            found.push(summary.uid);
        } else if read < MOST_READ {
            read += 1;
            let structure = record.structure();
            let texts = structure.map(|structure| super::message::all_text(view, summary.uid, &structure)).unwrap_or_default();
            if left.iter().all(|(wanted, word)| texts.contains(word) == *wanted) {
                found.push(summary.uid);
            }
        }
    }
    Ok(found)
}

/// Does what a button says to the selected messages.
pub(super) fn act(context: &Context<'_>, request: &mut Request<'_>, folder: &FolderName) -> Result<Response, Status> {
    let form = context.form(request)?;
    let view = context.open(folder)?;
    let query = request.head.parameter("q").unwrap_or_default();
    let Selection { uids, others, is_all } = Selection::of(context, &view, &form, &query)?;
    let mut back = back(request, folder);
    if others > 0 {
        back = with(&back, &format!("others={others}"));
    }
    if uids.is_empty() {
        return Ok(Response::see_other(&with(&back, "told=none")));
    }
    let word = form.get("do").unwrap_or_default();
    let mark = |change, flags| {
        let marks = Marks { flags, ..Marks::default() };
        view.mark(&uids, change, marks, None).map_err(trouble)?;
        // Of a few one sees it.
        let told = format!("told=marked&n={}", uids.len());
        Ok(Response::see_other(&if is_all { with(&back, &told) } else { back.clone() }))
    };
    match word {
        "read" => mark(Change::Add, Flags::SEEN),
        "unread" => mark(Change::Remove, Flags::SEEN),
        "flag" => mark(Change::Add, Flags::FLAGGED),
        "unflag" => mark(Change::Remove, Flags::FLAGGED),
        "delete" => match special(context, SpecialUse::Trash)? {
            trash if trash == *folder => {
                view.mailbox().expunge(&uids).map_err(trouble)?;
                Ok(Response::see_other(&with(&back, &format!("told=gone&n={}", uids.len()))))
            }
            trash => shift(context, &view, &uids, &trash, folder, &back),
        },
        "archive" => shift(context, &view, &uids, &special(context, SpecialUse::Archive)?, folder, &back),
        "junk" => shift(context, &view, &uids, &special(context, SpecialUse::Junk)?, folder, &back),
        "move" if form.get("to").is_none_or(str::is_empty) => Ok(Response::see_other(&with(&back, "told=nowhere"))),
        "move" => {
            let to = FolderName::parse(form.get("to").unwrap_or_default()).map_err(|_| Status::NOT_FOUND)?;
            shift(context, &view, &uids, &to, folder, &back)
        }
        _ => Err(Status::UNPROCESSABLE_CONTENT),
    }
}

/// Where the list goes on after something was done: where it was.
pub(super) fn back(request: &Request<'_>, folder: &FolderName) -> String {
    let keep = |name| request.head.parameter(name).map(|value| format!("{name}={}", escaped(&value)));
    let kept: Vec<String> = ["p", "q"].into_iter().filter_map(keep).collect();
    if kept.is_empty() { folder_path(folder) } else { format!("{}?{}", folder_path(folder), kept.join("&")) }
}

/// With one more parameter.
pub(super) fn with(path: &str, parameter: &str) -> String {
    let sign = if path.contains('?') { '&' } else { '?' };
    format!("{path}{sign}{parameter}")
}

/// The folder for this use; it is made if it is not there.
pub(super) fn special(context: &Context<'_>, special: SpecialUse) -> Result<FolderName, Status> {
    let folders = context.folders()?;
    let listed = folders.list().map_err(super::site::of_folders)?;
    if let Some(folder) = listed.into_iter().find(|folder| folder.special == Some(special)) {
        return Ok(folder.name);
    }
    let name = FolderName::parse(special.as_str()).map_err(|_| Status::CONFLICT)?;
    match folders.create(&name, Some(special)) {
        Ok(_) | Err(crate::mailbox::FolderError::Exists) => Ok(name),
        Err(error) => Err(super::site::of_folders(error)),
    }
}

/// Moves messages, and tells so.
pub(super) fn shift(
    context: &Context<'_>,
    view: &View,
    uids: &[Uid],
    to: &FolderName,
    from: &FolderName,
    back: &str,
) -> Result<Response, Status> {
    if to == from {
        return Ok(Response::see_other(back));
    }
    let (mut moved, mut validity, mut stopped) = (Vec::new(), 0, "");
    for some in uids.chunks(AT_ONCE) {
        match context.server.post.move_to(context.account(), view, some, to).map_err(|error| unfiled(&error)) {
            Ok(filed) if filed.uids.is_empty() => {}
            Ok(filed) => {
                validity = filed.validity;
                moved.extend(filed.uids);
            }
            Err(status) if moved.is_empty() => return Err(status),
            Err(_) => {
                stopped = "&stopped=1";
                break;
            }
        }
    }
    let (to, names) = (escaped(to.as_str()), names(validity, &moved));
    Ok(Response::see_other(&with(back, &format!("told=moved&to={to}&n={}&undo={names}{stopped}", moved.len()))))
}

/// What was done last, and how it is undone.
fn told(context: &Context<'_>, head: &crate::httpd::Head, folder: &FolderName) -> Markup {
    let count = head.parameter("n").and_then(|digits| digits.parse().ok()).unwrap_or(0_usize);
    let plural = if count == 1 { "message" } else { "messages" };
    let to = head.parameter("to").and_then(|name| FolderName::parse(&name).ok());
    let undo = head.parameter("undo").unwrap_or_default();
    let others = head.parameter("others").and_then(|digits| digits.parse().ok()).unwrap_or(0_usize);
    let rest = html! {
        @if others > 0 { " Since the page was shown " (others) @if others == 1 { " other was" } @else { " others were" } " changed or moved away, and left alone." }
        @if head.parameter("stopped").is_some() { " The rest can’t be moved now; try again in a moment." }
    };
    match (head.parameter("told").as_deref(), to) {
        (Some("none"), _) => html! { p.told role="status" { "No message was selected." } },
        (Some("nowhere"), _) => html! { p.told role="status" { "No folder was chosen to move to." } },
        (Some("sent"), _) => html! { p.told role="status" { "The message was sent." } },
        (Some("waits"), _) => super::scheduled::offer(context, head),
        (Some("sent-only"), _) => html! {
            p.told role="status" { "The message was sent. It could not be put among the sent ones: it still is where drafts are." }
        },
        (Some("dropped"), _) => html! { p.told role="status" { "What you wrote was discarded." } },
        (Some("gone"), _) => html! { p.told role="status" { (count) " " (plural) " deleted for good." (rest) } },
        (Some("marked"), _) => html! { p.told role="status" { (count) " " (plural) " marked." (rest) } },
        (Some("moved"), Some(to)) => html! {
            form.told role="status" method="post" action=(folder_path(&to)) {
                input type="hidden" name="token" value=(context.visit.form_token());
                input type="hidden" name="to" value=(folder.as_str());
                span { (count) " " (plural) " moved to " a href=(folder_path(&to)) { (shown(&to)) } "." (rest) }
                @if !undo.is_empty() {
                    @for name in undo.split('.') { input type="hidden" name="m" value=(name); }
                    button name="do" value="move" { "Undo" }
                }
            }
        },
        _ => html! {},
    }
}
