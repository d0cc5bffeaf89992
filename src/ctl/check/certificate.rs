//! The certificate: is it readable, for this host, and does it hold?

use super::Findings;
use crate::config::Config;
use crate::net::tls::{Facts, ServerTls};
use jiff::{SignedDuration, Timestamp};
use std::io;
use std::path::Path;

/// Who renews certificates does it long before that.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

pub fn look(config: &Config, findings: &mut Findings) {
    match &config.tls {
        Some((certificate, key)) => {
            if dates_and_name(config, certificate, findings) {
                pair(certificate, key, findings);
            }
        }
        None => {
            let what = "no certificate is configured: other servers deliver all the same, but mail programs warn";
            findings.hint("certificate", what, "get one from an authority, and set tls.certificate and tls.key");
        }
    }
}

/// Can it be read?
fn dates_and_name(config: &Config, certificate: &Path, findings: &mut Findings) -> bool {
    let shown = certificate.display();
    let facts = match std::fs::metadata(certificate).and_then(|_| Facts::of(certificate)) {
        Ok(facts) => facts,
        Err(error) => {
            findings.cannot_read("certificate", certificate, &error, "let tls.certificate name a certificate chain in PEM");
            return false;
        }
    };
    let (now, until) = (Timestamp::now(), facts.ends.strftime("%Y-%m-%d %H:%M UTC"));
    let renew = "renew it, then: pillarboxctl reload";
    if facts.ends < now {
        findings.wrong("certificate", format!("{shown} has expired: {until}"), renew);
    } else if facts.begins > now {
        let what = format!("{shown} does not hold before {}", facts.begins.strftime("%Y-%m-%d %H:%M UTC"));
        findings.wrong("certificate", what, "see whether the clock is right");
    } else if facts.ends < now + SOON {
        findings.wrong("certificate", format!("{shown} expires soon: {until}"), renew);
    } else {
        findings.fine("certificate", format!("{shown} holds until {until}"));
    }
    if !facts.is_for(&config.hostname) {
        let what = format!("{shown} is not for {}", config.hostname);
        findings.wrong("certificate", what, "get one for this name, or set `hostname` to the name it is for");
    }
    true
}

fn pair(certificate: &Path, key: &Path, findings: &mut Findings) {
    // The key may be hidden from the caller; rustls does not tell that apart from other faults.
    match std::fs::File::open(key).and_then(|_| ServerTls::load(certificate, key)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            findings.unseen("certificate", format!("{}: {error}", key.display()), "ask again as root");
        }
        Err(error) => findings.wrong("certificate", error.to_string(), "let tls.key name the key of this certificate"),
    }
}
