//! The listeners of a configuration.

use super::read::{Section, choice, one_or_list, text, wrong};
use super::report::{Mark, Report};
use super::schema::{Endpoint, Listen, Protocol, Tls};
use super::values;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// One `[[listen]]`.
pub fn listener(section: &Section<'_, '_>, base: &Path, report: &mut Report) -> Option<(Listen, Mark)> {
    section.refuse_unknown(report);
    let at = section.must("address", report, |v| match one_or_list(v, |item| text(item, values::endpoint))? {
        none if none.is_empty() => Err(wrong(v, "one address at least must be given")),
        some => Ok(some),
    });
    let protocol =
        section.must("protocol", report, |v| choice(v, &Protocol::ALL.map(|protocol| (protocol.name(), Some(protocol)))));
    let mut tls = None;
    let words = [("none", Tls::None), ("starttls", Tls::Starttls), ("implicit", Tls::Implicit)];
    section.set("tls", &mut tls, report, |v| choice(v, &words).map(Some));
    let mut proxy = Vec::new();
    section.set("proxy", &mut proxy, report, |v| one_or_list(v, |item| text(item, values::network)));
    let at: Vec<Endpoint> = at?
        .into_iter()
        .map(|endpoint| match endpoint {
            Endpoint::Unix(path) => Endpoint::Unix(base.join(path)),
            tcp => tcp,
        })
        .collect();
    let tls = match tls {
        Some(tls) if tls != Tls::None && at.iter().any(is_unix) => {
            section.set("tls", &mut Tls::None, report, |v| Err(wrong(v, "there is no TLS on a Unix socket")));
            return None;
        }
        // RFC 2817 is in no browser.
        Some(Tls::Starttls) if matches!(protocol, Some(Some(Protocol::Http | Protocol::Metrics))) => {
            section.set("tls", &mut Tls::None, report, |v| Err(wrong(v, "HTTP knows `implicit` and `none` only")));
            return None;
        }
        Some(tls) => tls,
        None if at.iter().all(is_unix) => Tls::None,
        None if protocol == Some(Some(Protocol::Metrics)) => Tls::None,
        None if protocol == Some(Some(Protocol::Http)) => Tls::Implicit,
        None => Tls::Starttls,
    };
    if !proxy.is_empty() && at.iter().any(is_unix) {
        section.set("proxy", &mut (), report, |v| Err(wrong(v, "a Unix socket has no proxies")));
        return None;
    }
    if protocol == Some(Some(Protocol::Lmtp)) && at.iter().any(|at| matches!(at, Endpoint::Tcp(tcp) if tcp.port() == 25)) {
        section.set("address", &mut (), report, |v| Err(wrong(v, "port 25 is for SMTP, never for LMTP (RFC 2033)")));
        return None;
    }
    let mark = section.mark(section.get("address").map_or(0..0, |value| value.span()));
    Some((Listen { at, protocol: protocol??, tls, proxy }, mark))
}

/// The well-known ports on all addresses.
pub fn default_listeners() -> Vec<Listen> {
    let everywhere = |port| {
        vec![
            Endpoint::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
            Endpoint::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        ]
    };
    [
        (25, Protocol::Smtp, Tls::Starttls),
        (587, Protocol::Submission, Tls::Starttls),
        (465, Protocol::Submission, Tls::Implicit),
        (110, Protocol::Pop3, Tls::Starttls),
        (995, Protocol::Pop3, Tls::Implicit),
        (143, Protocol::Imap, Tls::Starttls),
        (993, Protocol::Imap, Tls::Implicit),
    ]
    .map(|(port, protocol, tls)| Listen { at: everywhere(port), protocol, tls, proxy: Vec::new() })
    .to_vec()
}

/// Programs of this host hand in mail at a Unix socket; if none is configured, beside the control socket.
pub fn add_submit_socket(listeners: &mut Vec<Listen>, control: &Path) {
    let local = |listen: &Listen| listen.protocol == Protocol::Submission && listen.at.iter().any(is_unix);
    if !listeners.iter().any(local) {
        let socket = control.with_file_name("submit.sock");
        let at = vec![Endpoint::Unix(socket)];
        listeners.push(Listen { at, protocol: Protocol::Submission, tls: Tls::None, proxy: Vec::new() });
    }
}

/// No two listeners on one address.
pub fn refuse_twice(listeners: &[(Listen, Mark)], control: &Path, report: &mut Report) {
    let mut seen = vec![Endpoint::Unix(control.to_owned())];
    for (listen, mark) in listeners {
        for endpoint in &listen.at {
            let free = matches!(endpoint, Endpoint::Tcp(address) if address.port() == 0);
            if !free && seen.contains(endpoint) {
                report.add_at(mark, &format!("`{endpoint}` is listened on already"));
            }
            seen.push(endpoint.clone());
        }
    }
}

fn is_unix(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Unix(_))
}
