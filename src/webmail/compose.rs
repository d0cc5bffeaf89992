//! Writing: a message is a draft from its first save on, and its files lie in it. Each save writes it anew and replaces the one
//! before, in one act; to attach is to save, and to send is to save and then hand in the draft.

use super::frame::Frame;
use super::history;
use super::list::{shift, special, with};
use super::manner::Manner;
use super::message::size;
use super::outgoing::{Fields, Outgoing, mailbox};
use super::prefill::{self, Kept, Prefill, Source, own_addresses};
use super::profile::Profile;
use super::reference::{Reference, escaped, folder_path};
use super::sending::{Unsent, check, send};
use super::site::{Context, Form, trouble, unfiled};
use super::upload::{self, Take};
use crate::delivery::Batch;
use crate::httpd::{Head, Request, Response, Status};
use crate::mail::{Filing, date, header, words};
use crate::mailbox::{Change, Flags, FolderName, Marks, SpecialUse, View};
use maud::{Markup, html};
use serde_json::json;
use std::io::{self, Write};

/// The form: empty, or with what it begins with.
pub(super) fn page(context: &Context<'_>, request: &Request<'_>) -> Result<Response, Status> {
    let head = &request.head;
    let source = |name: &str| head.parameter(name).map(|text| Source::parse(&text).ok_or(Status::NOT_FOUND)).transpose();
    let mut answers = source("answers")?;
    let (mut how, mut reference, mut problems) = (head.parameter("how").unwrap_or_default(), None, Vec::new());
    let prefill = if let Some(name) = head.parameter("draft") {
        let folder = special(context, SpecialUse::Drafts)?;
        let message: Reference = name.parse().map_err(|()| Status::NOT_FOUND)?;
        let source = Source { folder, message, part: None };
        let asked = source.find(context)?;
        reference = Some(message);
        if head.parameter("check").is_some() {
            if let Err(Unsent::Wrong(wrong)) = check(context, &asked) {
                problems = wrong;
            }
            problems.extend(Manner::of_header(&asked.header()?).release(context, false).err());
        }
        prefill::draft(&asked, &source)?
    } else if let Some(source) = source("reply")? {
        let prefill = prefill::reply(context, &source.find(context)?, false)?;
        (answers, how) = (Some(source), "reply".to_owned());
        prefill
    } else if let Some(source) = source("all")? {
        let prefill = prefill::reply(context, &source.find(context)?, true)?;
        (answers, how) = (Some(source), "reply".to_owned());
        prefill
    } else if let Some(source) = source("forward")? {
        let prefill = prefill::forward(&source.find(context)?, &source, head.parameter("whole").is_some())?;
        (answers, how) = (Some(source), "forward".to_owned());
        prefill
    } else {
        let get = |name: &str| head.parameter(name).unwrap_or_default();
        Prefill { to: get("to"), subject: get("subject"), text: get("text"), ..Prefill::default() }
    };
    let profile = Profile::of(context)?;
    let mut prefill = prefill;
    if reference.is_none() {
        prefill.sign(&profile.signature);
    }
    Shown { context, head, profile, prefill, reference, answers, how, problems }.page(Status::OK)
}

/// The form once more, as it came: its writer has logged in anew since it was opened, so it could be another site's.
fn again(context: &Context<'_>, head: &Head, form: &Form) -> Result<Response, Status> {
    let get = |name| form.get(name).unwrap_or_default().to_owned();
    let prefill = Prefill {
        from: get("from"),
        to: get("to"),
        cc: get("cc"),
        bcc: get("bcc"),
        subject: get("subject"),
        text: get("text"),
        files: form.all("keep").filter_map(Source::parse).filter_map(|source| prefill::kept(context, &source)).collect(),
        manner: Manner::of(form),
        loses_form: false,
    };
    let reference = form.get("draft").and_then(|name| name.parse().ok());
    let answers = form.get("answers").and_then(Source::parse);
    let problems = vec![
        "You have logged in again since you began it. Look through it, attach new files once more, and send it again.".to_owned(),
    ];
    let profile = Profile::of(context)?;
    Shown { context, head, profile, prefill, reference, answers, how: get("how"), problems }.page(Status::FORBIDDEN)
}

struct Shown<'a> {
    context: &'a Context<'a>,
    head: &'a Head,
    profile: Profile,
    prefill: Prefill,
    reference: Option<Reference>,
    answers: Option<Source>,
    how: String,
    problems: Vec<String>,
}

impl Shown<'_> {
    fn page(&self, status: Status) -> Result<Response, Status> {
        let frame = Frame::of(self.context, None)?;
        let title = if self.prefill.subject.is_empty() { "New message" } else { self.prefill.subject.as_str() };
        Ok(frame.page(status, title, &self.markup()))
    }

    fn markup(&self) -> Markup {
        let Prefill { to, cc, bcc, subject, text, files, loses_form, .. } = &self.prefill;
        let token = self.context.visit.form_token();
        let reference = self.reference.map(|reference| reference.to_string()).unwrap_or_default();
        let told = self.head.parameter("told");
        html! {
            @if !self.problems.is_empty() {
                div.told role="alert" {
                    strong { "It was not sent. " }
                    @for problem in &self.problems { span { (problem) " " } }
                }
            }
            @if told.as_deref() == Some("conflict") {
                p.told role="alert" { "This draft was changed, sent or deleted elsewhere since you opened it. What you wrote is saved as another draft; it was not sent." }
            }
            @if told.as_deref() == Some("kept") && self.problems.is_empty() { p.told role="status" { "The draft is saved." } }
            @if told.as_deref() == Some("limit") {
                p.told role="alert" { "You have sent so much that you must wait for a while. It was not sent; the draft is saved." }
            }
            @if told.as_deref() == Some("file") {
                p.told role="alert" { "It says that something is attached, but there is no file. It was not sent: attach the file, or send it as it is." }
            }
            @if *loses_form { p.told { "This draft was formatted; only its words are kept when it is saved or sent from here." } }
            // The files come last: what is before them tells what becomes of them.
            form.write method="post" action="/compose" enctype="multipart/form-data" {
                input type="hidden" name="token" value=(token);
                input type="hidden" name="draft" value=(reference);
                @if self.reference.is_none() { input type="hidden" name="once" value=(self.context.visit.once()); }
                @if told.as_deref() == Some("file") { input type="hidden" name="sure" value="yes"; }
                @if let Some(answers) = &self.answers {
                    input type="hidden" name="answers" value=(answers);
                    input type="hidden" name="how" value=(self.how);
                }
                div.bar {
                    h1 { "New message" }
                    div.actions {
                        button.first name="do" value="send" { "Send" }
                        button name="do" value="save" { "Save draft" }
                        button name="do" value="discard" { "Discard" }
                    }
                }
                (self.from())
                label { span { "To" } input type="text" name="to" value=(to) list="known" autocomplete="off" spellcheck="false" autofocus[to.is_empty()]; }
                label { span { "Cc" } input type="text" name="cc" value=(cc) list="known" autocomplete="off" spellcheck="false"; }
                label { span { "Bcc" } input type="text" name="bcc" value=(bcc) list="known" autocomplete="off" spellcheck="false"; }
                label { span { "Subject" } input type="text" name="subject" value=(subject) autocomplete="off"; }
                // The parser drops the first line end.
                textarea name="text" aria-label="Text" dir="auto" autofocus[!to.is_empty()] { "\n" (text) }
                @if !files.is_empty() {
                    ul.files aria-label="Attachments" { @for file in files { (kept(file)) } }
                }
                (self.prefill.manner.markup(&date::zone(self.context.server.clock.now())))
                (history::datalist(self.context))
                div.attach {
                    input type="file" name="file" multiple aria-label="Files to attach";
                    button name="do" value="attach" { "Attach" }
                }
            }
        }
    }

    fn from(&self) -> Markup {
        let own = own_addresses(self.context);
        html! {
            @if own.len() == 1 { @for address in &own { input type="hidden" name="from" value=(address); } }
            @else {
                label {
                    span { "From" }
                    select name="from" {
                        @for own in &own {
                            @let address = own.to_string();
                            option value=(address) selected[address == self.prefill.from] { (mailbox(self.profile.name(own), own)) }
                        }
                    }
                }
            }
        }
    }
}

fn kept(file: &Kept) -> Markup {
    html! {
        li {
            label { input type="checkbox" name="keep" value=(file.source) checked; " " (file.name) }
            span.quiet { " " (size(file.size)) }
        }
    }
}

/// Saves what came, and does what the button says.
pub(super) fn act(context: &Context<'_>, request: &mut Request<'_>) -> Result<Response, Status> {
    let kind = request.head.field("content-type").unwrap_or_default();
    let boundary = upload::boundary(kind).ok_or(Status::UNSUPPORTED_MEDIA_TYPE)?;
    let mut writing = Writing { context, form: Form::default(), saving: None, is_file: false };
    let mut reader = upload::Reader::new(&boundary, &mut writing);
    request.read_body(context.server.config.max_message_size, |block| reader.push(block))?;
    reader.finish()?;
    let form = std::mem::take(&mut writing.form);
    if let Err(status) = context.check(&form) {
        return if form.get("answer") == Some("json") { Err(status) } else { again(context, &request.head, &form) };
    }
    let word = form.get("do").unwrap_or_default().to_owned();
    if !["send", "save", "attach", "discard"].contains(&word.as_str()) {
        return Err(Status::UNPROCESSABLE_CONTENT);
    }
    if word == "discard" {
        return discard(context, &form);
    }
    let has_file = writing.saving.is_some() || form.get("keep").is_some();
    let saving = match writing.saving.take() {
        Some(saving) => saving,
        None => Saving::begin(context, &form, false)?,
    };
    let (conflict, reference) = saving.finish()?;
    if let Some(once) = form.get("once").filter(|_| !conflict) {
        context.visit.spend(once);
    }
    let drafts = special(context, SpecialUse::Drafts)?;
    if form.get("answer") == Some("json") && word != "send" {
        return saved(context, Source { folder: drafts, message: reference, part: None }, conflict);
    }
    let mut here = format!("/compose?draft={reference}");
    let (answers, manner) = (form.get("answers").and_then(Source::parse), Manner::of(&form));
    if let Some(answers) = &answers {
        here.push_str(&format!(
            "&answers={}&how={}",
            escaped(&answers.to_string()),
            escaped(form.get("how").unwrap_or_default())
        ));
    }
    if conflict {
        return Ok(Response::see_other(&with(&here, "told=conflict")));
    }
    if word != "send" {
        return Ok(Response::see_other(&with(&here, "told=kept")));
    }
    if !has_file && form.get("sure").is_none() && promises_file(form.get("text").unwrap_or_default()) {
        return Ok(Response::see_other(&with(&here, "told=file")));
    }
    let draft = Source { folder: drafts, message: reference, part: None };
    match send(context, &draft.find(context)?, &manner) {
        Ok(sent) => {
            let back = answers.as_ref().map_or_else(FolderName::inbox, |answers| answers.folder.clone());
            if let Some(answers) = &answers {
                mark_answered(context, answers, form.get("how") == Some("forward"));
            }
            Ok(Response::see_other(&format!("{}?{}", folder_path(&back), sent.told())))
        }
        // The page looks for itself what is wrong.
        Err(Unsent::Wrong(_)) => Ok(Response::see_other(&with(&here, "check=1"))),
        Err(Unsent::TooMuch) => Ok(Response::see_other(&with(&here, "told=limit"))),
        Err(Unsent::Trouble(status)) => Err(status),
    }
}

/// What a script must know to go on with the draft that it has saved: its name, and where its files are now.
fn saved(context: &Context<'_>, draft: Source, conflict: bool) -> Result<Response, Status> {
    let prefill = prefill::draft(&draft.find(context)?, &draft)?;
    let file = |file: &Kept| json!({ "source": file.source.to_string(), "name": file.name, "size": size(file.size) });
    let files: Vec<_> = prefill.files.iter().map(file).collect();
    let told = json!({ "draft": draft.message.to_string(), "conflict": conflict, "files": files });
    Ok(Response::of(Status::OK, "application/json", told.to_string().into_bytes()))
}

/// Does its writer say that there is a file with it? What is quoted or forwarded somebody else said.
fn promises_file(text: &str) -> bool {
    const WORDS: [&str; 13] = [
        "attach",
        "enclosed",
        "anhang",
        "anhänge",
        "angehängt",
        "anbei",
        "beigefügt",
        "pièce jointe",
        "ci-joint",
        "adjunt",
        "allegat",
        "bijlage",
        "bifoga",
    ];
    let own = text.lines().take_while(|line| !line.starts_with(prefill::FORWARDED)).filter(|line| !line.starts_with('>'));
    own.map(str::to_lowercase).any(|line| WORDS.iter().any(|word| line.contains(word)))
}

/// The draft goes into the trash.
fn discard(context: &Context<'_>, form: &Form) -> Result<Response, Status> {
    let drafts = special(context, SpecialUse::Drafts)?;
    let (view, back) = (context.open(&drafts)?, folder_path(&drafts));
    let uid = form.get("draft").and_then(|name| name.parse::<Reference>().ok()).and_then(|name| name.in_view(&view));
    match uid {
        Some(uid) => shift(context, &view, &[uid], &special(context, SpecialUse::Trash)?, &drafts, &back),
        None => Ok(Response::see_other("/m/INBOX?told=dropped")),
    }
}

/// That a message was answered is worth telling, and no reason to say that the answer was not sent.
fn mark_answered(context: &Context<'_>, answers: &Source, forwarded: bool) {
    let marked = answers.find(context).and_then(|asked| {
        let marks = match forwarded {
            true => {
                Marks { keywords: asked.view.mailbox().keyword("$Forwarded").map_err(trouble)?.unwrap_or(0), ..Marks::default() }
            }
            false => Marks { flags: Flags::ANSWERED, ..Marks::default() },
        };
        asked.view.mark(&[asked.uid], Change::Add, marks, None).map_err(trouble)
    });
    if let Err(status) = marked {
        log::info!("session={} webmail original not marked status={}", context.session, status.0);
    }
}

/// A form that is being read.
struct Writing<'a> {
    context: &'a Context<'a>,
    form: Form,
    /// From the first file on.
    saving: Option<Saving>,
    /// The file that comes was chosen.
    is_file: bool,
}

impl Take for Writing<'_> {
    fn field(&mut self, name: String, value: String) -> Result<(), Status> {
        self.form.0.push((name, value));
        Ok(())
    }

    fn file(&mut self, name: &str, kind: &str) -> Result<(), Status> {
        // Nothing is written for who is no user of ours.
        self.is_file = !name.is_empty() && self.context.check(&self.form).is_ok();
        if !self.is_file {
            return Ok(());
        }
        let saving = match self.saving.take() {
            Some(saving) => saving,
            None => Saving::begin(self.context, &self.form, true)?,
        };
        let saving = self.saving.insert(saving);
        saving.outgoing.file(name, kind, &mut saving.batch).map_err(failed)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Status> {
        match self.saving.as_mut().filter(|_| self.is_file) {
            Some(saving) => saving.outgoing.data(bytes, &mut saving.batch).map_err(failed),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), Status> {
        match self.saving.as_mut().filter(|_| self.is_file) {
            Some(saving) => saving.outgoing.end(&mut saving.batch).map_err(failed),
            None => Ok(()),
        }
    }
}

fn failed(_: io::Error) -> Status {
    Status::SERVICE_UNAVAILABLE
}

/// A draft that is being written.
struct Saving {
    batch: Batch,
    outgoing: Outgoing,
    /// The one that was opened is not there any more: this is another one.
    conflict: bool,
}

impl Saving {
    /// Begins it, with the files it keeps.
    fn begin(context: &Context<'_>, form: &Form, has_files: bool) -> Result<Saving, Status> {
        let server = context.server;
        let drafts = special(context, SpecialUse::Drafts)?;
        let view = context.open(&drafts)?;
        let mut batch = server.post.file(context.account(), &drafts).map_err(|error| unfiled(&error))?;
        let opened = form.get("draft").filter(|name| !name.is_empty());
        let old = opened.and_then(|name| name.parse::<Reference>().ok()).and_then(|name| name.in_view(&view));
        let old = old.filter(|uid| matches!(view.message(*uid), Ok(Some(_))));
        let conflict = opened.is_some() && old.is_none() || form.get("once").is_some_and(|once| context.visit.is_spent(once));
        let answers = answers(context, form, &view, old)?;
        if let Some(uid) = old {
            batch.replace(&view, uid).map_err(|error| unfiled(&error))?;
        }
        let now = server.clock.now();
        batch.message(Filing { flags: (Flags::SEEN | Flags::DRAFT).bits(), date: now, ..Filing::default() });
        let secret = super::visit::secret().map_err(failed)?;
        let (own, profile) = (own_addresses(context), Profile::of(context)?);
        let chosen = form.get("from").and_then(|from| own.iter().find(|own| own.to_string() == from));
        let from = chosen.or(own.first()).map(|address| mailbox(&words::phrase(profile.name(address)), address));
        let get = |name| form.get(name).unwrap_or_default().to_owned();
        let fields = Fields {
            from: from.unwrap_or_default(),
            to: get("to"),
            cc: get("cc"),
            bcc: get("bcc"),
            subject: get("subject"),
            date: date::rfc5322(now),
            manner: Manner::of(form).fields(),
            message_id: format!("<{}@{}>", secret.replace('_', "."), server.config.hostname),
            answers,
        };
        let kept: Vec<Source> = form.all("keep").filter_map(Source::parse).collect();
        let boundary = (has_files || !kept.is_empty()).then(|| format!("=_{secret}"));
        let text = form.get("text").unwrap_or_default();
        let outgoing = Outgoing::begin(&fields, text, boundary, prefill::domain(context), &mut batch).map_err(failed)?;
        for source in &kept {
            copy(context, source, &outgoing, &mut batch)?;
        }
        Ok(Saving { batch, outgoing, conflict })
    }

    fn finish(mut self) -> Result<(bool, Reference), Status> {
        self.outgoing.finish(&mut self.batch).map_err(failed)?;
        let filed = self.batch.commit().map_err(|error| match unfiled(&error) {
            // Another window was faster by a moment.
            Status::NOT_FOUND => Status::CONFLICT,
            status => status,
        })?;
        let uid = *filed.uids.first().ok_or(Status::SERVICE_UNAVAILABLE)?;
        Ok((self.conflict, Reference { validity: filed.validity, uid }))
    }
}

/// What it answers: the message it was begun for, or what the draft before said.
fn answers(
    context: &Context<'_>,
    form: &Form,
    drafts: &View,
    old: Option<crate::mailbox::Uid>,
) -> Result<Vec<(&'static str, String)>, Status> {
    if form.get("how") == Some("reply") {
        let original = form.get("answers").and_then(Source::parse);
        if let Some(header) = original.and_then(|original| original.find(context).and_then(|asked| asked.header()).ok()) {
            return Ok(prefill::answering(&header));
        }
    }
    let Some(uid) = old else { return Ok(Vec::new()) };
    let drafts_name = special(context, SpecialUse::Drafts)?;
    let source = Source { folder: drafts_name, message: Reference::of(drafts, uid), part: None };
    Ok(source.find(context).and_then(|asked| asked.header()).map(|header| prefill::answered(&header)).unwrap_or_default())
}

/// Those fields of a message's header that are about its content, and the empty line.
fn content_fields(message: &[u8]) -> String {
    let fields = header::fields(message).filter_map(|field| message.get(field.whole));
    let about_content = fields.filter(|field| field.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"Content-")));
    let mut text: String = about_content.map(|field| String::from_utf8_lossy(field).into_owned()).collect();
    text.push_str("\r\n");
    text
}

/// Copies a part of another message as it is, or that message.
fn copy(context: &Context<'_>, source: &Source, outgoing: &Outgoing, to: &mut dyn Write) -> Result<(), Status> {
    let asked = source.find(context)?;
    let (range, header) = match &source.part {
        Some(number) => {
            let part = super::message::find_part(&asked.structure, number).ok_or(Status::NOT_FOUND)?;
            match part.parent {
                Some(_) => (part.header.start..part.body.end, String::new()),
                // Of a message that is nothing but a file.
                None => (part.body.clone(), content_fields(&asked.header()?)),
            }
        }
        None => {
            let size = asked.view.message(asked.uid).map_err(trouble)?.ok_or(Status::NOT_FOUND)?.size;
            (0..size, "Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n".to_owned())
        }
    };
    outgoing.part(&header, to).map_err(failed)?;
    let mut from = asked.view.read_part(asked.uid, range).map_err(trouble)?;
    io::copy(&mut from, to).map(drop).map_err(failed)
}
