//! What a user sets: the password, replies while away, where mail goes, names and signature.

use super::frame::{Frame, say};
use super::outgoing::{Addresses, addresses};
use super::prefill::{domain, own_addresses};
use super::profile::Profile;
use super::site::{Context, Form};
use crate::auth::{Denied, Shown};
use crate::delivery::Forwarding;
use crate::host::users::Secrets;
use crate::httpd::{Request, Response, Status};
use crate::mail::vacation::Vacation;
use crate::mail::{Address, date};
use maud::{Markup, html};

/// Bytes of a new password.
const SHORTEST: usize = 8;
const LONGEST: usize = 1024;
/// Addresses to which mail is forwarded.
const MOST_FORWARDED: usize = 10;

/// The page.
pub(super) fn page(context: &Context<'_>, request: &Request<'_>) -> Result<Response, Status> {
    let told = match request.head.parameter("told").as_deref() {
        Some("password") => "The password is changed. You are logged out everywhere else.",
        Some("away") => "Mail is answered as you said.",
        Some("back") => "Mail is not answered any more.",
        Some("forward") => "Mail is forwarded as you said.",
        Some("stay") => "Mail is not forwarded any more by what is set here.",
        Some("profile") => "It is kept.",
        _ => "",
    };
    show(context, Status::OK, "", told, None)
}

/// Does what a button says.
pub(super) fn act(context: &Context<'_>, request: &mut Request<'_>) -> Result<Response, Status> {
    let form = context.form(request)?;
    let told = match form.get("do") {
        Some("password") => match change_password(context, request, &form) {
            Ok(()) => "password",
            Err((status, problem)) => return show(context, status, problem, "", None),
        },
        Some("away") => match away(&form) {
            Ok(vacation) => {
                set_vacation(context, Some(&vacation))?;
                "away"
            }
            Err(problem) => return show(context, Status::UNPROCESSABLE_CONTENT, &problem, "", Some(&form)),
        },
        Some("back") => {
            set_vacation(context, None)?;
            "back"
        }
        Some("forward") => match forwarding(context, &form) {
            Ok(forwarding) => {
                set_forwarding(context, Some(&forwarding))?;
                "forward"
            }
            Err(problem) => return show(context, Status::UNPROCESSABLE_CONTENT, &problem, "", None),
        },
        Some("stay") => {
            set_forwarding(context, None)?;
            "stay"
        }
        Some("profile") => {
            Profile::set(context, form.all("name"), form.get("signature").unwrap_or_default(), form.get("recall").is_some())?;
            "profile"
        }
        _ => return Err(Status::UNPROCESSABLE_CONTENT),
    };
    Ok(Response::see_other(&format!("/settings?told={told}")))
}

/// A wrong password counts as a wrong login: who found an open browser does not guess here.
fn change_password(context: &Context<'_>, request: &Request<'_>, form: &Form) -> Result<(), (Status, &'static str)> {
    let (old, new) = (form.get("old").unwrap_or_default(), form.get("new").unwrap_or_default());
    let (server, account) = (context.server, context.account());
    let wrong = |text| Err((Status::UNPROCESSABLE_CONTENT, text));
    match new {
        _ if account.is_system() => return wrong("This password is changed on the host itself, by passwd(1)."),
        _ if form.get("again") != Some(new) => return wrong("The new password was not typed the same way twice."),
        _ if new.len() < SHORTEST => return wrong("A new password has 8 characters at least."),
        _ if new.len() > LONGEST || new.contains('\0') => return wrong("This can't be a password."),
        _ => {}
    }
    let later = (Status::SERVICE_UNAVAILABLE, "The password could not be changed now. The old one stays.");
    match server.gate.login(request.peer(), "http", context.session, &account.name, old.as_bytes()) {
        Ok(_) => {}
        Err(Denied::Credentials) => return Err((Status::FORBIDDEN, "The old password is wrong.")),
        Err(Denied::Temporary) => return Err((Status::TOO_MANY_REQUESTS, "Try again in a moment.")),
    }
    let changed = Secrets::of(new.as_bytes()).and_then(|new| server.gate.set_password(&account.name, old.as_bytes(), &new));
    match changed {
        Ok(true) => {}
        Ok(false) => return Err((Status::FORBIDDEN, "The old password is wrong.")),
        Err(error) => {
            log::error!("session={} auth not-changed user={} error={:?}", context.session, account.name, error.to_string());
            return Err(later);
        }
    }
    let ended = server.visits.close_of(account, |visit| visit.id() != context.visit.id());
    log::info!("session={} auth changed user={} sessions-ended={ended}", context.session, account.name);
    Ok(())
}

/// What the form says, as [`Vacation`] is written: there it is checked.
fn away(form: &Form) -> Result<Vacation, String> {
    let mut text = String::new();
    for (field, name) in [("Since", "since"), ("Until", "until"), ("Days", "days"), ("Subject", "subject")] {
        let value: String = form.get(name).unwrap_or_default().chars().filter(|char| !char.is_control()).collect();
        if !value.trim().is_empty() {
            text.push_str(&format!("{field}: {}\n", value.trim()));
        }
    }
    text.push_str(&format!("\n{}", form.get("text").unwrap_or_default().replace("\r\n", "\n")));
    Vacation::parse(&text).map_err(|wrong| format!("This can't be: {}.", wrong.what))
}

fn set_vacation(context: &Context<'_>, vacation: Option<&Vacation>) -> Result<(), Status> {
    context.server.delivery.set_vacation(context.account(), vacation).map_err(|error| {
        log::error!("session={} webmail vacation not set error={:?}", context.session, error.to_string());
        Status::SERVICE_UNAVAILABLE
    })
}

/// To others only: what came back would go in a circle.
fn forwarding(context: &Context<'_>, form: &Form) -> Result<Forwarding, String> {
    let typed = form.get("to").unwrap_or_default().replace(['\r', '\n'], ",");
    let Addresses { good, wrong } = addresses(typed.as_bytes(), domain(context));
    if let Some(wrong) = wrong.first() {
        return Err(format!("“{wrong}” is no address."));
    }
    let own = own_addresses(context);
    let mut to: Vec<Address> = Vec::new();
    for (_, address) in good {
        if own.iter().any(|own| own.key() == address.key()) {
            return Err(format!("{address} is your own address."));
        }
        if to.iter().all(|known| known.key() != address.key()) {
            to.push(address);
        }
    }
    match to.len() {
        0 => Err("Nobody is named to whom mail is to go.".to_owned()),
        1..=MOST_FORWARDED => Ok(Forwarding { to, keeps: form.get("keep").is_some() }),
        _ => Err(format!("Mail can go to {MOST_FORWARDED} addresses at most.")),
    }
}

fn set_forwarding(context: &Context<'_>, forwarding: Option<&Forwarding>) -> Result<(), Status> {
    let account = context.account();
    context.server.delivery.set_forwarding(account, forwarding).map_err(|error| {
        log::error!("session={} webmail forwarding not set error={:?}", context.session, error.to_string());
        if error.kind() == std::io::ErrorKind::InvalidInput { Status::UNPROCESSABLE_CONTENT } else { Status::SERVICE_UNAVAILABLE }
    })?;
    let to: Vec<String> = forwarding.iter().flat_map(|forwarding| &forwarding.to).map(ToString::to_string).collect();
    log::info!("session={} webmail forwarding user={} to=<{}>", context.session, account.name, Shown(&to.join(",")));
    Ok(())
}

fn forward(context: &Context<'_>) -> Result<Markup, Status> {
    let set = context.server.delivery.forwarding(context.account()).map_err(|error| {
        log::error!("session={} webmail forwarding not read error={:?}", context.session, error.to_string());
        Status::SERVICE_UNAVAILABLE
    })?;
    let to = set.iter().flat_map(|set| &set.to).map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Ok(html! {
        h2 { "Forwarding" }
        @if context.account().is_system() { p.quiet { "What is set here goes before your file ~/.forward." } }
        form.settings method="post" action="/settings" {
            (token(context))
            label { span { "Forward mail to" } textarea name="to" rows="2" spellcheck="false" { "\n" (to) } }
            label.line { input type="checkbox" name="keep" value="1" checked[set.as_ref().is_none_or(|set| set.keeps)]; " Keep a copy here" }
            div.actions {
                button.first name="do" value="forward" { "Forward" }
                @if set.is_some() { button name="do" value="stay" { "Do not forward any more" } }
            }
        }
    })
}

/// `typed`: what was typed for replies and is wrong.
fn show(context: &Context<'_>, status: Status, problem: &str, told: &str, typed: Option<&Form>) -> Result<Response, Status> {
    let inside = html! {
        (say(problem, told))
        div.bar { h1 { "Settings" } }
        (profile(context)?)
        (vacation(context, typed)?)
        (forward(context)?)
        (password(context))
    };
    Ok(Frame::of(context, None)?.page(status, "Settings", &inside))
}

fn token(context: &Context<'_>) -> Markup {
    html! { input type="hidden" name="token" value=(context.visit.form_token()); }
}

fn profile(context: &Context<'_>) -> Result<Markup, Status> {
    let profile = Profile::of(context)?;
    Ok(html! {
        h2 { "Writing" }
        form.settings method="post" action="/settings" {
            (token(context))
            @for address in own_addresses(context) {
                label { span { "Name for " (address) } input type="text" name="name" value=(profile.name(&address)) maxlength="100" autocomplete="name"; }
            }
            label { span { "Signature" } textarea name="signature" rows="4" maxlength="4000" dir="auto" { "\n" (profile.signature) } }
            label.line { input type="checkbox" name="recall" value="1" checked[profile.recall]; " Let messages wait for 15 seconds, in which they can be taken back" }
            div { button.first name="do" value="profile" { "Save" } }
        }
    })
}

fn vacation(context: &Context<'_>, typed: Option<&Form>) -> Result<Markup, Status> {
    let wishes = context.server.delivery.vacation(context.account()).map_err(|error| {
        log::error!("session={} webmail vacation not read error={:?}", context.session, error.to_string());
        Status::SERVICE_UNAVAILABLE
    })?;
    let set = wishes.as_ref().and_then(|wishes| Vacation::parse(&wishes.text).ok());
    let is_file = wishes.as_ref().is_some_and(|wishes| wishes.is_own);
    let today = date::day(context.server.clock.now(), None);
    let shown = set.clone().unwrap_or_default();
    let value = |name: &str, set: String| typed.map_or(set, |form| form.get(name).unwrap_or_default().to_owned());
    let day = |day: Option<jiff::civil::Date>| day.map(|day| day.to_string()).unwrap_or_default();
    Ok(html! {
        h2 { "While you are away" }
        p.quiet {
            @match (&set, wishes.is_some()) {
                (Some(set), _) if set.is_on(today) => { "Mail is answered today" }
                (Some(_), _) => { "Mail is not answered today" }
                (None, true) => { "What is set can't be understood: mail is not answered" }
                (None, false) => { "Mail is not answered" }
            }
            @if is_file { ", as your file ~/.vacation says. What is set here goes before it" } "."
        }
        form.settings method="post" action="/settings" {
            (token(context))
            label { span { "First day" } input type="date" name="since" value=(value("since", day(shown.since))); }
            label { span { "Last day" } input type="date" name="until" value=(value("until", day(shown.until))); }
            label { span { "Subject" } input type="text" name="subject" value=(value("subject", shown.subject.clone().unwrap_or_default())) maxlength="200"; }
            label { span { "Answer" } textarea name="text" rows="5" dir="auto" { "\n" (value("text", shown.text.clone())) } }
            label { span { "Days between two answers to one sender" } input type="number" name="days" min="1" max="60" value=(value("days", shown.days.to_string())); }
            div.actions {
                button.first name="do" value="away" { "Answer mail" }
                @if set.is_some() && !is_file { button name="do" value="back" { "Do not answer any more" } }
            }
        }
    })
}

fn password(context: &Context<'_>) -> Markup {
    html! {
        h2 { "Password" }
        @if context.account().is_system() {
            p.quiet { "It is that of your account on " (context.server.config.hostname) ", where passwd(1) changes it." }
        } @else {
            form.settings method="post" action="/settings" {
                (token(context))
                input.hidden type="text" name="user" value=(context.account().name) autocomplete="username" tabindex="-1" aria-hidden="true" readonly;
                label { span { "Old password" } input type="password" name="old" required autocomplete="current-password"; }
                label { span { "New password" } input type="password" name="new" required minlength=(SHORTEST) autocomplete="new-password"; }
                label { span { "New password again" } input type="password" name="again" required autocomplete="new-password"; }
                div { button.first name="do" value="password" { "Change password" } }
            }
        }
    }
}
