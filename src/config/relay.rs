//! The relays of a configuration: hosts that are talked to in a way of their own.

use super::load::resolve;
use super::read::{Section, choice, text, wrong};
use super::report::{Mark, Report};
use super::schema::{Config, Relay, RelayTls, Site, Via};
use super::values;
use std::net::IpAddr;
use std::path::Path;

/// One `[[relay]]`; `others` come before it.
pub fn relay(section: &Section<'_, '_>, base: &Path, others: &[(Relay, Mark)], report: &mut Report) -> Option<(Relay, Mark)> {
    section.refuse_unknown(report);
    let host = section.must("host", report, |v| {
        text(v, |given| match values::host_and_port(given)? {
            (host, port) if others.iter().any(|(other, _)| other.is(&host, port)) => {
                Err(format!("`{host}:{port}` is a relay already"))
            }
            first => Ok(first),
        })
    });
    let file = |given: &str| resolve(base, given).map(Some);
    let (mut ca, mut login, mut tls) = (None, None, None);
    section.set("ca", &mut ca, report, |v| text(v, file));
    section.set("login", &mut login, report, |v| text(v, file));
    let words =
        [("may", RelayTls::May), ("encrypt", RelayTls::Encrypt), ("verify", RelayTls::Verify), ("implicit", RelayTls::Implicit)];
    section.set("tls", &mut tls, report, |v| choice(v, &words).map(Some));
    let (host, port) = host?;
    let implied = if login.is_some() && !is_here(&host) { RelayTls::Verify } else { RelayTls::May };
    let tls = tls.unwrap_or(implied);
    let verified = matches!(tls, RelayTls::Verify | RelayTls::Implicit);
    if login.is_some() && !verified && !is_here(&host) {
        let why = "a password is sent only to a host that proves its name: `tls` must be \"verify\" or \"implicit\"";
        section.set("tls", &mut (), report, |v| Err(wrong(v, why)));
        return None;
    }
    if ca.is_some() && !verified {
        let why = "`ca` is of use only with `tls` = \"verify\" or \"implicit\"";
        section.set("ca", &mut (), report, |v| Err(wrong(v, why)));
        return None;
    }
    let mark = section.mark(section.get("host").map_or(0..0, |value| value.span()));
    Some((Relay { host, port, tls, ca, login }, mark))
}

/// A relay that nothing leads to is a slip of the pen, and its host would be talked to without what stands here.
pub fn refuse_unused(relays: &[(Relay, Mark)], config: &Config, report: &mut Report) {
    let named = config.queue.smarthost.iter().chain(&config.queue.fallback).map(|(host, port)| (host, *port));
    let routed = config.routes.iter().filter_map(|route| match &route.via {
        Via::Host(host, port) | Via::Lmtp(Site::Host(host, port)) => Some((host, *port)),
        Via::Lmtp(Site::Unix(_)) | Via::Program(_) => None,
    });
    let named: Vec<(&String, u16)> = named.chain(routed).collect();
    for (relay, mark) in relays {
        if !named.iter().any(|(host, port)| relay.is(host, *port)) {
            let what = format!("neither `smarthost`, `fallback` nor a route names `{}:{}`", relay.host, relay.port);
            report.add_at(mark, &what);
        }
    }
}

/// A host that can be reached without any network.
fn is_here(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Relay {
    /// Is it this one?
    pub fn is(&self, host: &str, port: u16) -> bool {
        self.host.eq_ignore_ascii_case(host) && self.port == port
    }
}
