//! The table of pages, and what every answer carries.

use super::visit::Visit;
use super::{
    Server, assets, autoconfig, compose, conversation, events, folders, frame, leave, list, login, message, part, print,
    scheduled, sessions, settings, unsubscribe,
};
use crate::delivery::FileError;
use crate::host::Account;
use crate::httpd::{Method, Request, Response, Site, Status};
use crate::mailbox::{FolderError, FolderName, Folders, MailboxError, View};
use std::sync::Arc;

/// The cookie of a visit. Its prefix binds it to this host, to TLS, and to all of the site (RFC 6265bis §4.1.3.2).
pub(super) const COOKIE: &str = "__Host-pillarbox";

/// A form without files.
const MOST_FORM: u64 = 256 << 10;

/// What pages may load: what is ours, and no script that stands in a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Where requests of one connection are answered.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub server: &'a Server,
    pub session: &'a str,
}

/// A request of somebody who is logged in.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub server: &'a Server,
    pub session: &'a str,
    pub visit: Arc<Visit>,
}

impl Context<'_> {
    pub(super) fn account(&self) -> &Account {
        self.visit.account()
    }

    /// A folder as it is now.
    pub(super) fn open(&self, folder: &FolderName) -> Result<View, Status> {
        let mailbox = self.server.store.open(self.account(), folder).map_err(trouble)?;
        mailbox.view().map_err(trouble)
    }

    pub(super) fn folders(&self) -> Result<Folders, Status> {
        self.server.store.log_in(self.account()).map_err(trouble)
    }

    /// The fields of a form that one of our pages sent.
    pub(super) fn form(&self, request: &mut Request<'_>) -> Result<Form, Status> {
        let form = Form(request.form(MOST_FORM)?);
        self.check(&form)?;
        Ok(form)
    }

    /// Refuses a form of another site's page.
    pub(super) fn check(&self, form: &Form) -> Result<(), Status> {
        if self.visit.owns(form.get("token").unwrap_or_default()) { Ok(()) } else { Err(Status::FORBIDDEN) }
    }
}

/// The fields of a form.
#[derive(Debug, Default)]
pub(super) struct Form(pub Vec<(String, String)>);

impl Form {
    /// The first of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All of that name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl Site for Desk<'_> {
    fn answer(&self, request: &mut Request<'_>) -> Result<Response, Status> {
        let segments = request.head.segments().ok_or(Status::BAD_REQUEST)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let response = self.page(request, &segments)?;
        Ok(response
            .or_with("Content-Security-Policy", POLICY)
            .or_with("Cache-Control", "private, no-cache")
            .with("X-Content-Type-Options", "nosniff")
            // With "no-referrer" browsers would hide from ourselves, too, where a form comes from.
            .with("Referrer-Policy", "same-origin")
            .with("Cross-Origin-Opener-Policy", "same-origin")
            .with("Cross-Origin-Resource-Policy", "same-origin"))
    }

    fn refusal(&self, status: Status) -> Response {
        frame::refusal(status).or_with("Content-Security-Policy", POLICY).with("X-Content-Type-Options", "nosniff")
    }
}

impl Desk<'_> {
    fn page(&self, request: &mut Request<'_>, segments: &[&str]) -> Result<Response, Status> {
        let is_post = request.head.method == Method::Post;
        if let Some(answer) = autoconfig::answer(self.server, request, segments) {
            return answer;
        }
        match (segments, is_post) {
            _ if request.head.method == Method::Other => return Ok(not_allowed("GET, HEAD, POST")),
            (["assets", name], false) => return assets::get(name),
            // Browsers ask for one.
            (["favicon.ico"], false) => {
                return Ok(Response::empty(Status::NO_CONTENT).with("Cache-Control", "public, max-age=86400"));
            }
            (["unsubscribe"], _) => return unsubscribe::answer(self, request),
            (["login"], false) => return Ok(login::page(self, request)),
            (["login"], true) => return login::log_in(self, request),
            _ => {}
        }
        let Some(visit) = self.visit(request) else {
            return Ok(if is_post { login::again(self) } else { login::first(self, request) });
        };
        let context = Context { server: self.server, session: self.session, visit };
        match (segments, is_post) {
            ([""], false) => Ok(Response::see_other("/m/INBOX")),
            (["m", folder], false) => list::page(&context, request, &name(folder)?),
            (["m", folder], true) => list::act(&context, request, &name(folder)?),
            (["m", folder, id], false) => message::page(&context, request, &name(folder)?, id),
            (["m", folder, id, "conversation"], false) => conversation::page(&context, &name(folder)?, id),
            (["m", folder, id, "html"], false) => message::html(&context, request, &name(folder)?, id),
            (["m", folder, id, "print"], false) => print::page(&context, request, &name(folder)?, id),
            (["m", folder, id, "source"], false) => part::source(&context, request, &name(folder)?, id),
            (["m", folder, id, "part", number], false) => part::get(&context, request, &name(folder)?, id, number),
            (["m", folder, id, "unsubscribe"], true) => leave::act(&context, request, &name(folder)?, id),
            (["compose"], false) => compose::page(&context, request),
            (["compose"], true) => compose::act(&context, request),
            (["folders"], false) => folders::page(&context, request),
            (["folders"], true) => folders::act(&context, request),
            (["sessions"], false) => sessions::page(&context, request),
            (["sessions"], true) => sessions::act(&context, request),
            (["scheduled"], false) => scheduled::page(&context, request),
            (["scheduled"], true) => scheduled::act(&context, request),
            (["events"], false) => events::stream(&context),
            (["settings"], false) => settings::page(&context, request),
            (["settings"], true) => settings::act(&context, request),
            (["logout"], true) => login::log_out(self, &context, request),
            ([""] | ["m", _, _, ..] | ["assets", _], true) => Ok(not_allowed("GET, HEAD")),
            (["logout"], false) => Ok(not_allowed("POST")),
            _ => Err(Status::NOT_FOUND),
        }
    }

    fn visit(&self, request: &Request<'_>) -> Option<Arc<Visit>> {
        self.server.visits.find(request.head.cookie(COOKIE)?, self.server.clock.elapsed())
    }
}

fn not_allowed(methods: &str) -> Response {
    frame::refusal(Status::METHOD_NOT_ALLOWED).with("Allow", methods)
}

/// A folder's name in a path.
fn name(text: &str) -> Result<FolderName, Status> {
    FolderName::parse(text).map_err(|_| Status::NOT_FOUND)
}

/// What the mailbox says as a status.
pub(super) fn trouble(error: MailboxError) -> Status {
    match error {
        MailboxError::Nonexistent | MailboxError::Gone => Status::NOT_FOUND,
        MailboxError::Full => Status::INSUFFICIENT_STORAGE,
        MailboxError::Busy | MailboxError::InUse | MailboxError::Refused(_) | MailboxError::Io(_) => {
            log::warn!("webmail mailbox error={:?}", error.to_string());
            Status::SERVICE_UNAVAILABLE
        }
    }
}

/// The same, for what could not be filed.
pub(super) fn unfiled(error: &FileError) -> Status {
    match error {
        FileError::Nonexistent | FileError::Gone => Status::NOT_FOUND,
        FileError::Full => Status::INSUFFICIENT_STORAGE,
        FileError::TooMuch | FileError::HeaderTooBig => Status::CONTENT_TOO_LARGE,
        FileError::Nul | FileError::Keyword => Status::UNPROCESSABLE_CONTENT,
        FileError::Later(_) | FileError::Uncertain => {
            log::warn!("webmail filing error={:?}", error.to_string());
            Status::SERVICE_UNAVAILABLE
        }
    }
}

/// The same, for folders.
pub(super) fn of_folders(error: FolderError) -> Status {
    match error {
        FolderError::Mailbox(error) => trouble(error),
        FolderError::Nonexistent => Status::NOT_FOUND,
        _ => Status::CONFLICT,
    }
}
