//! Leaving somebody's mailing list by one click (RFC 8058), for a user of ours: a form is sent by HTTPS to the link that is in the
//! message. A stranger chose the link, so it is no way into networks that he can't reach himself: its host is a name, whose
//! addresses are looked up once, and only those of the Internet are called, that are not this host's own. No cookie goes with the
//! form, no redirection is followed (§3.1), and of the answer only its status is read.

use super::Office;
use super::whose::is_ours;
use crate::config::schema::Reach;
use crate::lists::leave::CLICK;
use crate::mail::Domain;
use crate::net::https::Post;
use crate::net::is_public;
use crate::net::tls::ClientTls;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The port of HTTPS (RFC 9110 §4.2.2).
const PORT: u16 = 443;
/// Bytes of a link.
const LONGEST: usize = 2_000;
/// A reader waits no longer, whatever the host does.
const PATIENCE: Duration = Duration::from_secs(20);
/// Addresses of a host that are called.
const MOST_ADDRESSES: usize = 3;

/// Where a form goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// In A-labels and lower case.
    pub host: String,
    /// Of HTTPS, if the link names no other.
    pub port: u16,
    /// With a slash in front, and with a query, if there is one.
    path: String,
}

/// Why nobody can say that the reader has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unclicked {
    /// Such forms are not sent, or not to there.
    Forbidden,
    /// The host can't be reached, or says nothing that can be understood.
    Unreached(String),
    /// It says no, by this status.
    Refused(u16),
}

impl Link {
    /// Reads `https://host[:port][/path][?query]`. No user, no address in place of a name, and nothing that a request could not
    /// hold.
    pub fn parse(text: &str) -> Option<Link> {
        let (scheme, rest) = text.split_once("://")?;
        let is_fit = text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\".contains(&byte));
        if !scheme.eq_ignore_ascii_case("https") || !is_fit {
            return None;
        }
        // What is behind a # is not sent (RFC 9110 §4.2.5).
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (name, port) = match authority.split_once(':') {
            Some((name, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => (name, digits.parse().ok()?),
            Some(_) => return None,
            None => (authority, PORT),
        };
        let host = match Domain::parse(name) {
            Ok(domain @ Domain::Name(_)) => domain.key(),
            _ => return None,
        };
        // One whose last label is a number would be an address to others (https://url.spec.whatwg.org/#ends-in-a-number-checker).
        let last = host.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
        if port == 0 || !host.contains('.') || is_number || host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Link { host, port, path })
    }
}

/// Sends it.
pub(super) fn click(office: &Office, link: &Link) -> Result<(), Unclicked> {
    let settings = &office.config().outbound;
    let may_call = |address: &IpAddr| match settings.unsubscribe {
        Reach::Nowhere => false,
        Reach::Internet => is_public(*address) && !is_ours(address.to_canonical()),
        Reach::Anywhere => true,
    };
    if settings.unsubscribe == Reach::Nowhere {
        return Err(Unclicked::Forbidden);
    }
    let until = Instant::now() + PATIENCE;
    let addresses = office.resolver.addresses(&link.host).map_err(|error| Unclicked::Unreached(format!("{error:?}")))?.data;
    let addresses: Vec<IpAddr> = addresses.into_iter().filter(may_call).collect();
    let tls = ClientTls::verifying(settings.ca.as_deref()).map_err(|error| Unclicked::Unreached(error.to_string()))?;
    let form = format!("{}={}", CLICK.0, CLICK.1);
    let post = Post { host: &link.host, path: &link.path, form: &form, tls: &tls, until };
    let mut last = Unclicked::Forbidden;
    for address in addresses.into_iter().take(MOST_ADDRESSES) {
        match post.to(SocketAddr::new(address, link.port)) {
            Ok(200..300) => return Ok(()),
            Ok(status) => return Err(Unclicked::Refused(status)),
            Err(why) => last = Unclicked::Unreached(why),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_can_be_followed() {
        for (text, host, port, path) in [
            ("https://News.Example/u/1?t=a%20b&c", "news.example", 443, "/u/1?t=a%20b&c"),
            ("HTTPS://news.example", "news.example", 443, "/"),
            ("https://news.example:8443?x#y", "news.example", 8443, "/?x"),
            ("https://news.example/@:?:@", "news.example", 443, "/@:?:@"),
        ] {
            assert_eq!(Link::parse(text), Some(Link { host: host.into(), port, path: path.into() }), "{text}");
        }
        for text in [
            "http://news.example/",
            "ftp://news.example/",
            "//news.example/",
            "mailto:x@news.example",
            "https://user@news.example/",
            "https://a:b@news.example/",
            "https://news.example:0/",
            "https://news.example:65536/",
            "https://news.example:+443/",
            "https://news.example:/",
            "https:///x",
            "https://localhost/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://127.1/",
            "https://a.0x7f/",
            "https://2130706433/",
            "https://news.example/a b",
            "https://news.example/\r\nX:",
            "https://news.example/\u{e9}",
            "https://news.example\\@evil.example/",
            "",
        ] {
            assert_eq!(Link::parse(text), None, "{text}");
        }
    }
}
