//! `pillarboxctl dns`: what is to be published for mail to come here, and for ours to be believed, as lines of zone files.

use super::check::published;
use super::{Failure, say};
use crate::config::Config;
use crate::config::offers::{offers, port};
use crate::config::schema::{Protocol, Tls};
use crate::delivery::policy::Policy;
use crate::net::tls::Facts;
use crate::sys::exit;
use crate::trust::dkim::SigningKey;
use ring::digest::{SHA256, digest};
use std::fmt::{self, Write};
use std::fs;
use std::path::PathBuf;

/// Characters of one string of a TXT record (RFC 1035 §3.3.14).
const LONGEST_STRING: usize = 255;

/// The port of HTTPS, at which others look for policies and settings.
const HTTPS: u16 = 443;

/// A record to be published.
#[derive(Debug)]
pub struct Record {
    /// Of which standard.
    pub about: &'static str,
    /// Without final dot.
    pub owner: String,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Debug)]
pub enum Data {
    /// The host that takes the domain's mail.
    Mx(String),
    /// Policies in a text.
    Text(String),
    /// The other half of a key, in a text.
    Key(Box<SigningKey>),
    /// The SHA-256 of the public key of this host's certificate.
    Tlsa(Vec<u8>),
    /// Where a service is.
    Srv(u16, String),
    /// The name is another one for this host.
    Alias(String),
}

impl fmt::Display for Record {
    /// In the form of zone files (RFC 1035 §5.1).
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}. IN ", self.owner)?;
        match &self.data {
            Data::Mx(host) => write!(out, "MX 10 {host}."),
            Data::Text(text) => write!(out, "TXT {}", strings(text)),
            Data::Key(key) => write!(out, "TXT {}", strings(&key.record())),
            Data::Tlsa(digest) => {
                let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                write!(out, "TLSA 3 1 1 {hex}")
            }
            Data::Srv(port, host) => write!(out, "SRV 0 1 {port} {host}."),
            Data::Alias(host) => write!(out, "CNAME {host}."),
        }
    }
}

/// A text in as many strings as it takes.
fn strings(text: &str) -> String {
    let strings = text.as_bytes().chunks(LONGEST_STRING).map(|piece| format!("\"{}\"", String::from_utf8_lossy(piece)));
    match strings.collect::<Vec<_>>().as_slice() {
        [one] => one.clone(),
        several => format!("( {} )", several.join(" ")),
    }
}

/// Shows all records, or compares them with what is published.
pub fn run(config: &Config, check: bool, json: bool) -> Result<(), Failure> {
    let zones = zones(config)?;
    if check {
        return published::run(config, &zones, json);
    }
    let mut out = String::new();
    for Zone { title, records, notes } in zones {
        // Writing to a String does not fail.
        let _ = writeln!(out, "; {title}");
        records.iter().for_each(|record| _ = writeln!(out, "{record}"));
        notes.iter().for_each(|note| _ = writeln!(out, "; {note}"));
        out.push('\n');
    }
    say(out.strip_suffix('\n').unwrap_or(&out))
}

/// Records that belong together.
#[derive(Debug, Default)]
pub struct Zone {
    /// What it is.
    title: String,
    /// They.
    pub records: Vec<Record>,
    /// Why there are no others.
    notes: Vec<String>,
}

impl Zone {
    fn put(&mut self, about: &'static str, owner: impl Into<String>, data: Data) {
        self.records.push(Record { about, owner: owner.into(), data });
    }
}

/// All there is to publish: for this host, and for each of its domains.
fn zones(config: &Config) -> Result<Vec<Zone>, Failure> {
    let mut zones = vec![host(config)];
    zones.extend(config.domains.iter().filter(|domain| domain.contains('.')).map(|name| domain(config, name)));
    let keys = keys(config)?;
    if !keys.records.is_empty() {
        zones.push(keys);
    }
    Ok(zones)
}

/// That it may call itself so, and which certificate it has.
fn host(config: &Config) -> Zone {
    let host = &config.hostname;
    let mut zone = Zone { title: format!("this host, {host}"), ..Zone::default() };
    zone.put("SPF", host, Data::Text("v=spf1 a -all".into()));
    let path = certificate(config);
    match Facts::of(&path).map(|facts| facts.key_digest()) {
        Ok(Some(digest)) => {
            zone.put("TLSA", format!("_25._tcp.{host}"), Data::Tlsa(digest));
            zone.notes.push(
                "TLSA counts in a zone only that is signed (DNSSEC). Publish it before a certificate with another key.".into(),
            );
        }
        Ok(None) => zone.notes.push(format!("no TLSA record: {} can't be read", path.display())),
        Err(error) => zone.notes.push(format!("no TLSA record: {}: {error}", path.display())),
    }
    zone
}

/// The certificate that is configured, or the one that was made.
fn certificate(config: &Config) -> PathBuf {
    config.tls.as_ref().map_or_else(|| config.spool.join("tls").join("cert.pem"), |(certificate, _)| certificate.clone())
}

fn domain(config: &Config, domain: &str) -> Zone {
    let host = &config.hostname;
    let mut zone = Zone { title: format!("the domain {domain}"), ..Zone::default() };
    zone.put("MX", domain, Data::Mx(host.clone()));
    match &config.queue.smarthost {
        // RFC 7208 §10.1.1: what is not known for sure is not denied.
        Some((name, _)) => {
            zone.put("SPF", domain, Data::Text(format!("v=spf1 mx a:{name} ~all")));
            zone.notes.push(format!("SPF: ask the keepers of {name} what to include"));
        }
        // The host has a record of its own, whatever its domain is.
        None if domain != host => zone.put("SPF", domain, Data::Text("v=spf1 mx -all".into())),
        None => {}
    }
    // Until all that is sent is signed nobody is to refuse the rest.
    let signs = config.dkim.iter().any(|key| key.domain == domain || domain.ends_with(&format!(".{}", key.domain)));
    let policy = if signs { "quarantine" } else { "none" };
    zone.put("DMARC", format!("_dmarc.{domain}"), Data::Text(format!("v=DMARC1; p={policy}; rua=mailto:postmaster@{domain}")));
    if !signs {
        zone.notes.push(format!("DKIM: make a key first: pillarboxctl dkim make {domain} SELECTOR"));
    }
    zone.put("TLS-RPT", format!("_smtp._tls.{domain}"), Data::Text(format!("v=TLSRPTv1; rua=mailto:postmaster@{domain}")));
    match (&config.tls, port(config, Protocol::Http, Tls::Implicit)) {
        (Some(_), Some(HTTPS)) => {
            zone.put("MTA-STS", format!("mta-sts.{domain}"), Data::Alias(host.clone()));
            zone.put("MTA-STS", format!("_mta-sts.{domain}"), Data::Text(format!("v=STSv1; id={}", policy_id(host))));
            zone.notes.push(format!(
                "MTA-STS and autoconfiguration want a certificate that is for mta-sts.{domain} and autoconfig.{domain}, too"
            ));
        }
        (None, _) => {
            zone.notes.push("no MTA-STS: without a certificate of an authority (tls.certificate) it would keep mail away".into())
        }
        (Some(_), _) => {
            zone.notes.push("no MTA-STS: its policy is read from port 443, where no listener is of protocol http".into())
        }
    }
    for offer in offers(config) {
        let service = match (offer.protocol, offer.tls) {
            (Protocol::Submission, Tls::Implicit) => "submissions",
            (Protocol::Submission, _) => "submission",
            (Protocol::Imap, Tls::Implicit) => "imaps",
            (Protocol::Imap, _) => "imap",
            (_, Tls::Implicit) => "pop3s",
            _ => "pop3",
        };
        zone.put("SRV", format!("_{service}._tcp.{domain}"), Data::Srv(offer.port, host.clone()));
    }
    if let Some(port) = port(config, Protocol::Http, Tls::Implicit) {
        zone.put("SRV", format!("_autodiscover._tcp.{domain}"), Data::Srv(port, host.clone()));
        if port == HTTPS {
            zone.put("autoconfig", format!("autoconfig.{domain}"), Data::Alias(host.clone()));
            zone.put("autoconfig", format!("autodiscover.{domain}"), Data::Alias(host.clone()));
        }
    }
    zone
}

/// Another policy has another id.
fn policy_id(hostname: &str) -> String {
    let digest = digest(&SHA256, Policy::own(hostname).to_string().as_bytes());
    digest.as_ref().iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

/// The other halves of the keys that mail is signed with.
fn keys(config: &Config) -> Result<Zone, Failure> {
    let mut zone = Zone { title: "keys that mail is signed with".into(), ..Zone::default() };
    for dkim in &config.dkim {
        let told = |error: String| Failure::new(exit::NOINPUT, format!("{}: {error}", dkim.key.display()));
        let pem = fs::read(&dkim.key).map_err(|error| told(error.to_string()))?;
        let key = Box::new(SigningKey::from_pem(&pem).map_err(told)?);
        zone.records.push(key_record(&dkim.domain, &dkim.selector, key));
    }
    Ok(zone)
}

/// The record of a key.
pub fn key_record(domain: &str, selector: &str, key: Box<SigningKey>) -> Record {
    Record { about: "DKIM", owner: format!("{selector}._domainkey.{domain}"), data: Data::Key(key) }
}

/// The records of all keys in use.
pub fn show_keys(config: &Config) -> Result<(), Failure> {
    say(&keys(config)?.records.iter().map(|record| format!("{record}\n")).collect::<String>())
}
