//! Logging in and out.

use super::frame;
use super::reference::escaped;
use super::site::{COOKIE, Context, Desk, Form};
use super::visit::Client;
use crate::auth::Denied;
use crate::httpd::{Request, Response, Status};
use maud::html;

/// A name and a password.
const MOST_FORM: u64 = 16 << 10;

/// Somebody who is not logged in wants a page: first the login, then that page. At the front door it is there at once.
pub(super) fn first(desk: &Desk<'_>, request: &Request<'_>) -> Response {
    let head = &request.head;
    let wanted = if head.query.is_empty() { head.path.clone() } else { format!("{}?{}", head.path, head.query) };
    match wanted.as_str() {
        "/" => page(desk, request),
        _ => Response::see_other(&format!("/login?next={}", escaped(&wanted))),
    }
}

/// A form came of a visit that is over. What was written in it the browser still has, one step back.
pub(super) fn again(desk: &Desk<'_>) -> Response {
    let told = "You have been logged out meanwhile. Log in in another tab, then go back here and send it again.";
    form(desk, Status::FORBIDDEN, told, "", "")
}

/// The form.
pub(super) fn page(desk: &Desk<'_>, request: &Request<'_>) -> Response {
    if !may_log_in(desk, request) {
        return form(desk, Status::FORBIDDEN, "This connection is not encrypted: nobody can log in here.", "", "");
    }
    form(desk, Status::OK, "", "", &request.head.parameter("next").unwrap_or_default())
}

/// Checks the password, begins a visit.
pub(super) fn log_in(desk: &Desk<'_>, request: &mut Request<'_>) -> Result<Response, Status> {
    // Nobody is logged in by another site, as somebody he is not.
    if !may_log_in(desk, request) || !is_of_this_site(request) {
        return Err(Status::FORBIDDEN);
    }
    let fields = Form(request.form(MOST_FORM)?);
    let (name, password) = (fields.get("name").unwrap_or_default().trim(), fields.get("password").unwrap_or_default());
    let next = fields.get("next").unwrap_or_default();
    let server = desk.server;
    match server.gate.login(request.peer(), "http", desk.session, name, password.as_bytes()) {
        Ok(login) => {
            if let Some(old) = request.head.cookie(COOKIE) {
                server.visits.close(old);
            }
            server.store.log_in(login.account()).map_err(super::site::trouble)?;
            let cookie = server
                .visits
                .open(login, Client::of(request), server.clock.elapsed())
                .map_err(|_| Status::SERVICE_UNAVAILABLE)?;
            let next = Some(next).filter(|next| is_own_path(next));
            let cookie = format!("{COOKIE}={cookie}; Path=/; Secure; HttpOnly; SameSite=Strict");
            Ok(Response::see_other(next.unwrap_or("/m/INBOX")).with("Set-Cookie", &cookie))
        }
        Err(Denied::Credentials) => Ok(form(desk, Status::FORBIDDEN, "Name or password are wrong.", name, next)),
        Err(Denied::Temporary) => {
            let told = "The password could not be checked, or too many are guessing. Try again in a moment.";
            Ok(form(desk, Status::TOO_MANY_REQUESTS, told, name, next).with("Retry-After", "10"))
        }
    }
}

/// Ends the visit.
pub(super) fn log_out(desk: &Desk<'_>, context: &Context<'_>, request: &mut Request<'_>) -> Result<Response, Status> {
    context.form(request)?;
    if let Some(cookie) = request.head.cookie(COOKIE) {
        desk.server.visits.close(cookie);
    }
    let gone = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok(Response::see_other("/login").with("Set-Cookie", &gone).with("Clear-Site-Data", "\"cache\""))
}

/// Only a path of ours: `//host` would be another's, and browsers see that, too, where a backslash or a tab is in the way.
fn is_own_path(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && !path.contains('\\') && !path.chars().any(char::is_control)
}

fn may_log_in(desk: &Desk<'_>, request: &Request<'_>) -> bool {
    request.is_secure() || desk.server.config.plaintext_always
}

/// A browser tells where a form comes from (the older ones by `Origin` only); who tells nothing is no browser.
fn is_of_this_site(request: &Request<'_>) -> bool {
    let head = &request.head;
    if let Some(site) = head.field("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    head.field("origin").is_none_or(|origin| {
        origin.split_once("://").is_some_and(|(_, host)| head.field("host").is_some_and(|own| own.eq_ignore_ascii_case(host)))
    })
}

fn form(desk: &Desk<'_>, status: Status, told: &str, name: &str, next: &str) -> Response {
    let host = &desk.server.config.hostname;
    frame::bare(
        status,
        "Log in",
        &html! {
            main.login {
                form method="post" action="/login" {
                    h1 { "Mail" }
                    p.quiet { (host) }
                    @if !told.is_empty() { p.told role="alert" { (told) } }
                    label { "User name" input type="text" name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus[name.is_empty()]; }
                    label { "Password" input type="password" name="password" autocomplete="current-password" required autofocus[!name.is_empty()]; }
                    @if !next.is_empty() { input type="hidden" name="next" value=(next); }
                    button.first type="submit" { "Log in" }
                    p.quiet { a href="/setup" { "Set up a mail program" } }
                }
            }
        },
    )
}
