//! Where a user is logged in by a browser, and the end of that.

use super::frame::Frame;
use super::site::Context;
use super::visit::Visit;
use crate::httpd::{Request, Response, Status};
use crate::mail::date;
use maud::{Markup, html};

/// The list.
pub(super) fn page(context: &Context<'_>, request: &Request<'_>) -> Result<Response, Status> {
    let visits = context.server.visits.of(context.account(), context.server.clock.elapsed());
    let told = request.head.parameter("told").is_some();
    let inside = html! {
        @if told { p.told role="status" { "It is logged out." } }
        div.bar { h1 { "Sessions" } }
        p.quiet { "Browsers in which you are logged in now. Mail programs are not among them." }
        table.plain {
            thead { tr { th { "Browser" } th { "From" } th { "Logged in" } th { "Last seen" } th { span.hidden { "Log out" } } } }
            tbody { @for visit in &visits { (row(context, visit)) } }
        }
        @if visits.len() > 1 {
            form method="post" action="/sessions" {
                input type="hidden" name="token" value=(context.visit.form_token());
                p { button name="do" value="others" { "Log out all others" } }
            }
        }
    };
    Ok(Frame::of(context, None)?.page(Status::OK, "Sessions", &inside))
}

/// Ends one, or all but this one.
pub(super) fn act(context: &Context<'_>, request: &mut Request<'_>) -> Result<Response, Status> {
    let form = context.form(request)?;
    let visits = &context.server.visits;
    let ended = match (form.get("do"), form.get("id")) {
        (Some("others"), _) => visits.close_of(context.account(), |visit| visit.id() != context.visit.id()),
        (Some("end"), Some(id)) => visits.close_of(context.account(), |visit| visit.id() == id),
        _ => return Err(Status::UNPROCESSABLE_CONTENT),
    };
    log::info!("session={} webmail sessions ended user={} count={ended}", context.session, context.account().name);
    Ok(Response::see_other("/sessions?told=ended"))
}

fn row(context: &Context<'_>, visit: &Visit) -> Markup {
    let clock = &context.server.clock;
    let time = |at| clock.now() - clock.elapsed().saturating_sub(at);
    let client = visit.client();
    html! {
        tr {
            td title=(client.agent) { (browser(&client.agent)) }
            td { (client.from) }
            td { (date::rfc5322(time(visit.begun()))) }
            td { (date::rfc5322(time(visit.seen()))) }
            td {
                @if visit.id() == context.visit.id() { span.quiet { "this one" } } @else {
                    form method="post" action="/sessions" {
                        input type="hidden" name="token" value=(context.visit.form_token());
                        input type="hidden" name="id" value=(visit.id());
                        button name="do" value="end" { "Log out" }
                    }
                }
            }
        }
    }
}

/// What a browser calls itself, for people. Each names those it wants to be taken for, too: the more special come first.
fn browser(agent: &str) -> String {
    let first = |known: &[(&str, &'static str)]| known.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    let name = first(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chromium/", "Chromium"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (name, system) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        (Some(name), None) => name.to_owned(),
        (None, _) if agent.is_empty() => "unknown".to_owned(),
        (None, _) => agent.chars().take(40).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::browser;

    #[test]
    fn browsers_have_names() {
        let chrome =
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36";
        assert_eq!(browser(chrome), "Chrome on Windows");
        assert_eq!(browser(&format!("{chrome} Edg/120.0")), "Edge on Windows");
        assert_eq!(browser("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"), "Firefox on Linux");
        assert_eq!((browser("curl/8.1"), browser("")), ("curl/8.1".into(), "unknown".into()));
    }
}
