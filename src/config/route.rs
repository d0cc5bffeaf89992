//! The routes of a configuration: domains whose mail goes where DNS does not say.

use super::load::resolve;
use super::read::{Section, list, text, wrong};
use super::report::Report;
use super::schema::{Program, Route, Site, Via};
use super::values;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// The keys of which one tells where the mail goes.
const WAYS: [&str; 3] = ["host", "lmtp", "program"];

/// One `[[route]]`; `seen` are the domains of those before it.
pub fn route(section: &Section<'_, '_>, base: &Path, seen: &mut HashSet<String>, report: &mut Report) -> Option<Route> {
    section.refuse_unknown(report);
    let domain = section.must("domain", report, |v| {
        text(v, |name| match values::domain_name(name)?.to_ascii_lowercase() {
            again if !seen.insert(again.clone()) => Err(format!("`{again}` has a route already")),
            first => Ok(first),
        })
    });
    let (mut via, mut user) = (None, None);
    section.set("host", &mut via, report, |v| text(v, values::host_and_port).map(|(host, port)| Some(Via::Host(host, port))));
    section.set("lmtp", &mut via, report, |v| text(v, |given| site(base, given)).map(|site| Some(Via::Lmtp(site))));
    section.set("user", &mut user, report, |v| {
        text(v, |name| match name {
            "root" => Err("programs that take mail never run as root".to_owned()),
            name => Ok(Some(name.to_owned())),
        })
    });
    section.set("program", &mut via, report, |v| match list(v, |word| text(word, |word| Ok(word.to_owned())))? {
        words if words.first().is_some_and(|first| first.starts_with('/')) => {
            Ok(Some(Via::Program(Arc::new(Program { words, user: user.clone() }))))
        }
        _ => Err(wrong(v, "expected the words of a command, the first a whole path, as in [\"/usr/bin/procmail\", \"-m\"]")),
    });
    match WAYS.iter().filter(|way| section.get(way).is_some()).count() {
        1 => {}
        _ => section.complain(section.span(), "one of `host`, `lmtp` and `program` must be given here", report),
    }
    if section.get("program").is_none() {
        section.set("user", &mut (), report, |v| Err(wrong(v, "`user` is of use only with `program`")));
    }
    Some(Route { domain: domain?, via: via? })
}

fn site(base: &Path, given: &str) -> Result<Site, String> {
    if let Some(path) = given.strip_prefix("unix:") {
        return resolve(base, path).map(Site::Unix);
    }
    match values::host_and_port(given)? {
        (_, 25) => Err("a port must be given, and port 25 is for SMTP, never for LMTP (RFC 2033)".to_owned()),
        (host, port) => Ok(Site::Host(host, port)),
    }
}
