//! Aggregate reports (RFC 7489 §7.2): what a domain is told, once a day, of all mail that came in its name. Messages that are alike
//! are counted in one [`Row`]; `xml` is what the rows of a day are told in, `destination` to whom.

pub mod destination;
pub mod xml;

use super::Verdicts;
use super::arc::ArcResult;
use super::dmarc::{DmarcResult, Found, Policy, Record};
use super::spf::SpfResult;
use crate::mail::header;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Characters of a name that somebody else chose.
const LONGEST: usize = 255;

/// What a message is, beside who sends it.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// A list has passed it on.
    pub is_list: bool,
    /// It is such a report: of these nothing is told, or two hosts would tell each other of their reports for ever.
    pub is_report: bool,
}

impl Kind {
    /// Of a message with this header.
    pub fn of(header: &[u8]) -> Kind {
        let mut kind = Kind::default();
        for field in header::fields(header) {
            if field.is(header, "List-Id") {
                kind.is_list = true;
            } else if field.is(header, "Subject") {
                kind.is_report |= is_report_subject(header.get(field.value).unwrap_or_default());
            }
        }
        kind
    }
}

/// ```abnf
/// dmarc-subject = "Report" 1*FWS "Domain:" 1*FWS domain-name 1*FWS "Submitter:"
///                 1*FWS domain-name 1*FWS "Report-ID:" msg-id   ; RFC 7489 §7.2.1.1
/// ```
fn is_report_subject(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    let words: Vec<&str> = text.split_ascii_whitespace().take(6).collect();
    matches!(words.as_slice(), ["report", "domain:", _, "submitter:", _, id] if id.starts_with("report-id:"))
}

/// What messages have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The domain that published the policy, and is told.
    pub domain: String,
    /// What it published.
    pub policy: Published,
    /// From where they came.
    pub ip: IpAddr,
    /// What was done with them: the name of a [`Policy`].
    pub disposition: String,
    /// DKIM speaks for their author's domain.
    pub dkim: bool,
    /// SPF does.
    pub spf: bool,
    /// Why no more was done than that: kinds and remarks.
    pub reasons: Vec<(String, String)>,
    /// Their author's domain.
    pub from: String,
    /// Their sender's; empty for the null sender.
    pub sender: String,
    /// Domain, selector and result of each signature that could be read.
    pub signatures: Vec<[String; 3]>,
    /// The name that SPF was asked for, its scope, the result.
    pub by_spf: [String; 3],
}

/// A policy, as reports tell it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Published {
    /// `r` or `s`.
    pub adkim: String,
    /// The same for SPF.
    pub aspf: String,
    /// For mail of the domain.
    pub p: String,
    /// For mail of those below.
    pub sp: String,
    /// Of a hundred messages.
    pub pct: u8,
    /// Which failures it wants to hear of one by one.
    pub fo: String,
}

impl Published {
    fn of(record: &Record) -> Published {
        let mode = |is_strict| if is_strict { "s" } else { "r" }.to_owned();
        Published {
            adkim: mode(record.strict_dkim),
            aspf: mode(record.strict_spf),
            p: record.policy.name().to_owned(),
            sp: record.below.name().to_owned(),
            pct: record.percent,
            fo: record.failures.clone(),
        }
    }
}

impl Row {
    /// Of a message that was refused for its policy, or taken. None: nobody wants to hear of it.
    pub fn of(verdicts: &Verdicts, is_refused: bool) -> Option<Row> {
        let found = verdicts.dmarc.found.as_deref()?;
        found.record.reports.as_ref()?;
        if verdicts.kind.is_report {
            return None;
        }
        let (by_spf, sender) = match &verdicts.sender {
            Some((domain, spf)) => ((domain, "mfrom", spf.result), domain.as_str()),
            None => ((&verdicts.helo.0, "helo", verdicts.helo.1.result), ""),
        };
        let (name, scope, result): (&String, &str, SpfResult) = by_spf;
        let signatures = verdicts.dkim.iter().filter_map(|verdict| {
            let signer = verdict.signer.as_ref()?;
            Some([short(&signer.domain), short(&signer.selector), verdict.result.name().to_owned()])
        });
        Some(Row {
            domain: found.domain.clone(),
            policy: Published::of(&found.record),
            ip: verdicts.ip,
            disposition: if is_refused { Policy::Reject } else { Policy::None }.name().to_owned(),
            dkim: found.by_dkim,
            spf: found.by_spf,
            reasons: if is_refused { Vec::new() } else { reasons(verdicts, found) },
            from: verdicts.dmarc.from.clone()?,
            sender: short(sender),
            signatures: signatures.collect(),
            by_spf: [short(name), scope.to_owned(), result.name().to_owned()],
        })
    }
}

/// Why a message was taken though nothing speaks for it (RFC 7489 Appendix C).
fn reasons(verdicts: &Verdicts, found: &Found) -> Vec<(String, String)> {
    let dmarc = &verdicts.dmarc;
    let mut reasons = Vec::new();
    let mut add = |kind: &str, remark: &str| reasons.push((kind.to_owned(), short(remark)));
    match dmarc.result {
        DmarcResult::Fail => {}
        DmarcResult::TempError => return vec![("other".to_owned(), short(&dmarc.reason))],
        DmarcResult::None | DmarcResult::Pass | DmarcResult::PermError => return reasons,
    }
    if found.is_spared {
        add("sampled_out", "");
    }
    // Who sealed it has passed it on. There is no list of those whom we trust: that is for who reads our results.
    if let Some(arc) = verdicts.arc.as_ref().filter(|arc| arc.result == ArcResult::Pass) {
        let kind = if verdicts.kind.is_list { "mailing_list" } else { "forwarded" };
        add(kind, &format!("arc=pass sealed by {}", arc.sealer.as_deref().unwrap_or("?")));
    }
    if dmarc.policy != Policy::None {
        add("local_policy", &format!("{} was wanted: taken, and marked as failed", dmarc.policy.name()));
    }
    reasons
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests;
