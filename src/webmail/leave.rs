//! Leaving the mailing list that a message came by (RFC 2369 §3.2): a button beside the message, where the list takes one click
//! (RFC 8058) and its link is known to be its own; else a letter, ready to be sent.
//!
//! A link counts that a right signature covers, together with the word that it takes a click (RFC 8058 §4): what was found of the
//! signatures when the message came tells which are right, and the message which fields they cover. A link to leave a list of this
//! host proves itself.

use super::list::value;
use super::message::Asked;
use super::reference::{escaped, message_path};
use super::site::Context;
use crate::config::schema::Reach;
use crate::delivery::{Leaving, Link, Unclicked};
use crate::httpd::{Head, Request, Response, Status};
use crate::lists::leave::CLICK;
use crate::mail::{header, words};
use crate::mailbox::FolderName;
use crate::trust::{dkim, results};
use maud::{Markup, html};
use percent_encoding::percent_decode_str;

/// Links of a field that are looked at.
const MOST_LINKS: usize = 10;

/// How a reader leaves.
enum Way {
    /// A list of this host.
    Own(Leaving),
    /// By a form that is sent to this link, for which this domain has signed.
    Click(Link, String),
    /// By a letter; the path of the page where it is written.
    Letter(String),
}

impl Way {
    fn of(context: &Context<'_>, header: &[u8]) -> Option<Way> {
        let links = links(value(header, "List-Unsubscribe"));
        let own = links.iter().find_map(|link| own(context, link)).map(Way::Own);
        own.or_else(|| clicked(context, header, &links)).or_else(|| links.iter().find_map(|link| letter(link)).map(Way::Letter))
    }
}

/// ```abnf
/// List-Unsubscribe = "List-Unsubscribe:" "<" URL ">" *( "," "<" URL ">" )   ; RFC 2369 §2, comments anywhere between
/// ```
fn links(value: &[u8]) -> Vec<String> {
    let text = words::raw(&header::unfold(value));
    let all = text.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(link, _)| link);
    all.take(MOST_LINKS).map(|link| link.split_ascii_whitespace().collect()).collect()
}

fn own(context: &Context<'_>, link: &str) -> Option<Leaving> {
    let query = link.strip_prefix(context.server.config.webmail_url.as_ref()?)?.strip_prefix("/unsubscribe?")?;
    let get = |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(own, _)| own == name).map(|(_, value)| value);
    let leaving = context.server.post.leaving(&get("list")?, &get("member")?, &get("token")?);
    leaving.ok().flatten().filter(|leaving| leaving.member.is_some())
}

fn clicked(context: &Context<'_>, header: &[u8], links: &[String]) -> Option<Way> {
    let is_click = header::unfold(value(header, "List-Unsubscribe-Post")) == format!("{}={}", CLICK.0, CLICK.1).as_bytes();
    let link = links
        .iter()
        .find_map(|link| Link::parse(link))
        .filter(|_| is_click && context.server.config.outbound.unsubscribe != Reach::Nowhere)?;
    let found = results::read(header, &context.server.config.hostname)?;
    let is_right = |signer: &dkim::Signer| {
        let is_it = |signed: &results::Signed| {
            (&signed.domain, &signed.selector, &signed.start) == (&signer.domain, &signer.selector, &signer.start)
        };
        found.signatures.iter().any(is_it)
    };
    let domain = dkim::covers(header, &["list-unsubscribe", "list-unsubscribe-post"], is_right)?;
    Some(Way::Click(link, domain))
}

/// ```abnf
/// mailtoURI = "mailto:" [ to ] [ "?" hfield *( "&" hfield ) ]   ; RFC 6068 §2
/// ```
fn letter(link: &str) -> Option<String> {
    let (scheme, rest) = link.split_once(':')?;
    let (to, fields) = rest.split_once('?').unwrap_or((rest, ""));
    if !scheme.eq_ignore_ascii_case("mailto") || to.is_empty() {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let get = |name: &str| {
        let mut fields = fields.split('&').filter_map(|field| field.split_once('='));
        fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| decoded(value)).unwrap_or_default()
    };
    let (to, subject, text) = (decoded(to), get("subject"), get("body"));
    Some(format!("/compose?to={}&subject={}&text={}", escaped(&to), escaped(&subject), escaped(&text)))
}

/// What a message's page says of it.
pub(super) fn offer(context: &Context<'_>, asked: &Asked<'_>, header: &[u8], head: &Head) -> Markup {
    let done = told(head);
    let button = |who: Markup| {
        html! {
            form.unsubscribe method="post" action={ (message_path(asked.folder, asked.reference)) "/unsubscribe" } {
                input type="hidden" name="token" value=(context.visit.form_token());
                span.quiet { (who) " " }
                button { "Unsubscribe" }
            }
        }
    };
    html! {
        (done)
        @match Way::of(context, header) {
            Some(Way::Own(Leaving { list, member })) => (button(html! {
                "This came by the mailing list " (list.address()) @if let Some(member) = member { " to " (member) } "."
            })),
            Some(Way::Click(link, domain)) => (button(html! {
                "This came by a mailing list that can be left at " (link.host) @if link.host != domain { ", as " (domain) " has signed" } "."
            })),
            Some(Way::Letter(path)) => p.quiet.unsubscribe { "This came by a mailing list. " a href=(path) { "Unsubscribe by mail" } },
            None => {},
        }
    }
}

fn told(head: &Head) -> Markup {
    let status = head.parameter("status").and_then(|digits| digits.parse::<u16>().ok());
    match (head.parameter("told").as_deref(), status) {
        (Some("left"), _) => html! { p.told role="status" { "You have unsubscribed." } },
        (Some("unleft"), Some(status)) => html! {
            p.told role="alert" { "The list’s host did not take it: it answered with status " (status) ". You may be still on the list." }
        },
        (Some("unleft"), None) => html! {
            p.told role="alert" { "The list’s host could not be reached. You are still on the list, it seems; try again later." }
        },
        (Some("unsent"), _) => html! {
            p.told role="alert" { "The link leads to no address of the Internet, so nothing was sent there. You are still on the list." }
        },
        _ => html! {},
    }
}

/// Does it. All stands in the message; the form only says that its reader wants it.
pub(super) fn act(context: &Context<'_>, request: &mut Request<'_>, folder: &FolderName, id: &str) -> Result<Response, Status> {
    context.form(request)?;
    let asked = Asked::find(context, folder, id)?;
    let told = match Way::of(context, &asked.header()?) {
        Some(Way::Own(Leaving { list, member: Some(member) })) => {
            let left = context.server.post.leave(&list, &member);
            left.map_err(|error| {
                log::warn!("webmail list error={:?}", error.to_string());
                Status::SERVICE_UNAVAILABLE
            })?;
            "told=left".to_owned()
        }
        Some(Way::Click(link, domain)) => {
            let (session, user) = (context.session, &context.account().name);
            let done = context.server.delivery.click(&link);
            log::info!("session={session} webmail unsubscribe user={user} host={} domain={domain} outcome={done:?}", link.host);
            match done {
                Ok(()) => "told=left".to_owned(),
                Err(Unclicked::Refused(status)) => format!("told=unleft&status={status}"),
                Err(Unclicked::Unreached(_)) => "told=unleft".to_owned(),
                Err(Unclicked::Forbidden) => "told=unsent".to_owned(),
            }
        }
        _ => return Err(Status::NOT_FOUND),
    };
    Ok(Response::see_other(&format!("{}?{told}", message_path(folder, asked.reference))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_a_field() {
        let field = b" (Use this) <mailto:a@b.test?subject=un%20subscribe>,\r\n <https://b.test/\r\n\tu?x>, <broken";
        assert_eq!(links(field), ["mailto:a@b.test?subject=un%20subscribe", "https://b.test/u?x"]);
        assert_eq!(links(b""), Vec::<String>::new());
    }

    #[test]
    fn letters_are_ready_to_be_sent() {
        assert_eq!(
            letter("MAILTO:leave%2Bx@b.test?Subject=un%20sub&body=a%26b&bcc=evil@b.test").as_deref(),
            Some("/compose?to=leave%2Bx%40b.test&subject=un%20sub&text=a%26b")
        );
        assert_eq!(letter("mailto:a@b.test").as_deref(), Some("/compose?to=a%40b.test&subject=&text="));
        for other in ["https://b.test/", "mailto:", "mailto:?to=a@b.test", "x"] {
            assert_eq!(letter(other), None, "{other}");
        }
    }
}
