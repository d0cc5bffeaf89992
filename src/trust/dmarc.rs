//! DMARC (RFC 7489): does what SPF and DKIM found speak for the author's domain, and what does that domain want done if not?

use super::Dns;
use super::dkim::{self, DkimResult};
use super::spf::SpfResult;
use super::tags::Tags;
use crate::mail::{Domain, header, mailboxes};
use crate::net::dns::DnsError;

/// What a check comes to (RFC 7489 §11.2).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DmarcResult {
    /// The domain says nothing.
    None,
    /// Something speaks for the domain.
    Pass,
    /// Nothing does.
    Fail,
    /// DNS could not tell now.
    TempError,
    /// There is not one author whose domain could be asked.
    PermError,
}

impl DmarcResult {
    /// As it is written in Authentication-Results.
    pub fn name(self) -> &'static str {
        match self {
            DmarcResult::None => "none",
            DmarcResult::Pass => "pass",
            DmarcResult::Fail => "fail",
            DmarcResult::TempError => "temperror",
            DmarcResult::PermError => "permerror",
        }
    }
}

/// What a domain wants done with mail that nothing speaks for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    None,
    /// To be looked at with suspicion.
    Quarantine,
    /// To be refused.
    Reject,
}

impl Policy {
    /// As it is written in records.
    pub fn name(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    fn named(name: &str) -> Option<Policy> {
        [Policy::None, Policy::Quarantine, Policy::Reject].into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// One step milder, for messages that are spared (§6.6.4).
    fn milder(self) -> Policy {
        if self == Policy::Reject { Policy::Quarantine } else { Policy::None }
    }
}

/// A result, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It.
    pub result: DmarcResult,
    /// The author's domain, in A-labels and lower case; none if there is not one.
    pub from: Option<String>,
    /// What the domain wants done with this message.
    pub policy: Policy,
    /// For people, of errors; else empty.
    pub reason: String,
    /// What it was judged by, if the domain says anything.
    pub found: Option<Box<Found>>,
}

/// A domain's record, and how a message stands to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where the record is: the author's domain, or the one of its organization.
    pub domain: String,
    /// It.
    pub record: Record,
    /// A signature speaks for the author's domain.
    pub by_dkim: bool,
    /// SPF does.
    pub by_spf: bool,
    /// It is one of those that are treated more mildly (§6.6.4).
    pub is_spared: bool,
}

/// A domain's record (RFC 7489 §6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What is to be done with its own mail that nothing speaks for.
    pub policy: Policy,
    /// The same for domains below.
    pub below: Policy,
    /// The domains must be the same; else of the same organization.
    pub strict_dkim: bool,
    /// The same for SPF.
    pub strict_spf: bool,
    /// Of so many messages of a hundred.
    pub percent: u8,
    /// Which failures it wants to hear of one by one (`fo=`); kept for aggregate reports, which repeat it.
    pub failures: String,
    /// Where aggregate reports go (`rua=`), as it is written there.
    pub reports: Option<String>,
}

impl Record {
    /// ```abnf
    /// dmarc-record  = dmarc-version dmarc-sep [dmarc-request] *( dmarc-sep other ) [dmarc-sep]  ; RFC 7489 §6.4
    /// dmarc-version = "v" *WSP "=" *WSP %x44 %x4d %x41 %x52 %x43 %x31
    /// ```
    /// A record without a policy that can be read counts if it wants reports, as one that wants nothing else (§6.6.3).
    pub(super) fn parse(text: &[u8]) -> Option<Record> {
        let tags = Tags::parse(text)?;
        let policy = match tags.text("p").and_then(Policy::named) {
            Some(policy) => policy,
            None => tags.get("rua").map(|_| Policy::None)?,
        };
        let is_strict = |name| tags.text(name).is_some_and(|mode| mode.eq_ignore_ascii_case("s"));
        Some(Record {
            policy,
            below: tags.text("sp").and_then(Policy::named).unwrap_or(policy),
            strict_dkim: is_strict("adkim"),
            strict_spf: is_strict("aspf"),
            percent: tags.text("pct").and_then(|text| text.parse().ok()).filter(|percent| *percent <= 100).unwrap_or(100),
            failures: tags.text("fo").filter(|text| is_failure_options(text)).unwrap_or("0").to_owned(),
            reports: tags.text("rua").map(str::to_owned),
        })
    }

    fn is_record(text: &[u8]) -> bool {
        let mut parts = text.splitn(2, |&byte| byte == b';');
        let mut version = parts.next().unwrap_or_default().splitn(2, |&byte| byte == b'=');
        version.next().is_some_and(|name| name.trim_ascii() == b"v") && version.next().map(<[u8]>::trim_ascii) == Some(b"DMARC1")
    }
}

/// The domain of the author (RFC 7489 §6.6.1). An error says why there is none.
pub fn author(head: &[u8]) -> Result<String, &'static str> {
    let mut fields = header::fields(head).filter(|field| field.is(head, "From"));
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => field,
        (None, _) => return Err("no From"),
        (Some(_), Some(_)) => return Err("several From fields"),
    };
    let mut found: Option<String> = None;
    for entry in mailboxes::parse(head.get(field.value).unwrap_or_default()) {
        let mailboxes::Entry::Mailbox(mailbox) = entry else { continue };
        let domain = match std::str::from_utf8(&mailbox.domain).ok().map(Domain::parse) {
            Some(Ok(domain @ Domain::Name(_))) => domain.key(),
            _ => return Err("an author without a domain"),
        };
        if found.get_or_insert_with(|| domain.clone()) != &domain {
            return Err("authors of several domains");
        }
    }
    found.ok_or("no author")
}

/// The domain that is registered (RFC 7489 §3.2): the one below a public suffix.
pub fn organization(domain: &str) -> &str {
    psl::domain_str(domain).unwrap_or(domain)
}

/// Checks a message of this author. `spf` is of the sender's domain. `luck` is from 0 to 99, and spares messages of domains that
/// want only some treated so (§6.6.4).
pub fn check(dns: &dyn Dns, from: &str, spf: (&str, SpfResult), signed: &[dkim::Verdict], luck: u8) -> Verdict {
    let unknown = |result, reason| Verdict { result, from: Some(from.to_owned()), policy: Policy::None, reason, found: None };
    let (domain, record) = match discover(dns, from) {
        Ok(Some(found)) => found,
        Ok(None) => return unknown(DmarcResult::None, String::new()),
        Err(reason) => return unknown(DmarcResult::TempError, reason),
    };
    let by_dkim = |wanted| {
        let speaks = |verdict: &dkim::Verdict| {
            verdict.result == wanted
                && verdict.signer.as_ref().is_some_and(|signer| is_aligned(&signer.domain, from, record.strict_dkim))
        };
        signed.iter().any(speaks)
    };
    let by_spf = |wanted| spf.1 == wanted && is_aligned(spf.0, from, record.strict_spf);
    let wanted = if domain == from { record.policy } else { record.below };
    let policy = if luck < record.percent { wanted } else { wanted.milder() };
    let (result, reason) = if by_dkim(DkimResult::Pass) || by_spf(SpfResult::Pass) {
        (DmarcResult::Pass, "")
    } else if by_dkim(DkimResult::TempError) || by_spf(SpfResult::TempError) {
        // What may pass when DNS answers again must not be refused.
        (DmarcResult::TempError, "SPF or DKIM could not be checked")
    } else {
        (DmarcResult::Fail, "")
    };
    let (by_dkim, by_spf) = (by_dkim(DkimResult::Pass), by_spf(SpfResult::Pass));
    let found = Found { domain: domain.to_owned(), by_dkim, by_spf, is_spared: policy != wanted, record };
    Verdict { result, from: Some(from.to_owned()), policy, reason: reason.to_owned(), found: Some(Box::new(found)) }
}

/// What a domain wants done with mail that nothing speaks for, if it says anything.
pub fn published(dns: &dyn Dns, domain: &str) -> Result<Option<Policy>, String> {
    let found = discover(dns, domain)?;
    Ok(found.map(|(at, record)| if at == domain { record.policy } else { record.below }))
}

/// The record that holds for a domain, and where it is: at its own name or at that of its organization (RFC 7489 §6.6.3).
fn discover<'a>(dns: &dyn Dns, domain: &'a str) -> Result<Option<(&'a str, Record)>, String> {
    let organization = organization(domain);
    for name in [domain, organization] {
        let found = texts(dns, &format!("_dmarc.{name}"))?;
        match found.as_slice() {
            [] if name != organization => {}
            [text] => return Ok(Record::parse(text).map(|record| (name, record))),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The TXT records of this name that are of DMARC. An error is temporary.
pub(super) fn texts(dns: &dyn Dns, name: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut found = match dns.txt(name) {
        Ok(found) => found,
        Err(DnsError::NoName | DnsError::NoData) => Vec::new(),
        Err(DnsError::Temporary(reason)) => return Err(reason),
    };
    found.retain(|text| Record::is_record(text));
    Ok(found)
}

/// ```abnf
/// dmarc-fo = "fo" *WSP "=" *WSP ( "0" / "1" / ( "d" / "s" / "d:s" / "s:d" ) )   ; RFC 7489 §6.4
/// ```
/// §6.3 has a list of any of them.
fn is_failure_options(text: &str) -> bool {
    text.len() <= 7 && text.split(':').all(|option| matches!(option, "0" | "1" | "d" | "s"))
}

/// RFC 7489 §3.1.
fn is_aligned(domain: &str, from: &str, strict: bool) -> bool {
    let domain = domain.to_ascii_lowercase();
    if strict { domain == from } else { organization(&domain) == organization(from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::dkim::{Algorithm, Signer};
    use crate::trust::zone::Zone;

    #[test]
    fn organizations() {
        for (domain, expected) in [
            ("example.com", "example.com"),
            ("a.b.example.com", "example.com"),
            ("a.example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("x.y.test", "y.test"),
            ("a.b.github.io", "b.github.io"),
        ] {
            assert_eq!(organization(domain), expected);
        }
    }

    #[test]
    fn authors() {
        for (head, expected) in [
            ("From: A <a@Example.com>\nTo: b@c.test\n", Ok("example.com")),
            ("FROM:\n a@b.test (c)\n", Ok("b.test")),
            ("From: a@b\u{fc}cher.example\n", Ok("xn--bcher-kva.example")),
            ("From: a@b.test, c@B.test\n", Ok("b.test")),
            ("From: a@b.test, c@d.test\n", Err("authors of several domains")),
            ("From: a@b.test\nFrom: a@b.test\n", Err("several From fields")),
            ("From: a\n", Err("an author without a domain")),
            ("From: a@[192.0.2.1]\n", Err("an author without a domain")),
            ("From: nobody:;\n", Err("no author")),
            ("From:\n", Err("no author")),
            ("To: a@b.test\n", Err("no From")),
        ] {
            assert_eq!(author(head.as_bytes()), expected.map(str::to_owned), "{head}");
        }
    }

    fn signed(result: DkimResult, domain: &str) -> dkim::Verdict {
        let signer = Signer { domain: domain.into(), selector: "s".into(), algorithm: Algorithm::Rsa, start: "abcdefgh".into() };
        dkim::Verdict { result, reason: String::new(), signer: Some(signer) }
    }

    #[test]
    fn records_hold() {
        let zone = Zone::new(
            "_dmarc.reject.test TXT v=DMARC1; p=reject; sp=quarantine\n\
             _dmarc.own.reject.test TXT v=DMARC1; p=none;\n\
             _dmarc.strict.test TXT v=DMARC1 ; p=REJECT; adkim=s; aspf=s\n\
             _dmarc.two.test TXT v=DMARC1; p=reject\n\
             _dmarc.two.test TXT v=DMARC1; p=none\n\
             _dmarc.mixed.test TXT something\n\
             _dmarc.mixed.test TXT v=DMARC1;p=quarantine\n\
             _dmarc.reports.test TXT v=DMARC1; p=odd; rua=mailto:a@b.test\n\
             _dmarc.odd.test TXT v=DMARC1; p=odd\n\
             _dmarc.half.test TXT v=DMARC1; p=reject; pct=50\n\
             _dmarc.slow.test TIMEOUT\n",
        );
        use DmarcResult::{Fail, None as No, Pass, TempError};
        let none = SpfResult::None;
        let cases = [
            ("reject.test", ("x.test", none), vec![], Fail, Policy::Reject),
            ("a.reject.test", ("x.test", none), vec![], Fail, Policy::Quarantine),
            ("own.reject.test", ("x.test", none), vec![], Fail, Policy::None),
            ("a.own.reject.test", ("x.test", none), vec![], Fail, Policy::Quarantine),
            ("reject.test", ("b.Reject.test", SpfResult::Pass), vec![], Pass, Policy::Reject),
            ("reject.test", ("b.reject.test", SpfResult::SoftFail), vec![], Fail, Policy::Reject),
            ("reject.test", ("notreject.test", SpfResult::Pass), vec![], Fail, Policy::Reject),
            ("reject.test", ("b.reject.test", SpfResult::TempError), vec![], TempError, Policy::Reject),
            ("reject.test", ("x.test", none), vec![signed(DkimResult::Pass, "c.reject.test")], Pass, Policy::Reject),
            ("reject.test", ("x.test", none), vec![signed(DkimResult::Policy, "reject.test")], Fail, Policy::Reject),
            ("reject.test", ("x.test", none), vec![signed(DkimResult::TempError, "reject.test")], TempError, Policy::Reject),
            ("reject.test", ("x.test", none), vec![signed(DkimResult::Pass, "x.test")], Fail, Policy::Reject),
            (
                "strict.test",
                ("b.strict.test", SpfResult::Pass),
                vec![signed(DkimResult::Pass, "c.strict.test")],
                Fail,
                Policy::Reject,
            ),
            ("strict.test", ("strict.test", SpfResult::Pass), vec![], Pass, Policy::Reject),
            ("strict.test", ("x.test", none), vec![signed(DkimResult::Pass, "strict.test")], Pass, Policy::Reject),
            ("two.test", ("x.test", none), vec![], No, Policy::None),
            ("mixed.test", ("x.test", none), vec![], Fail, Policy::Quarantine),
            ("reports.test", ("x.test", none), vec![], Fail, Policy::None),
            ("odd.test", ("x.test", none), vec![], No, Policy::None),
            ("nothing.test", ("nothing.test", SpfResult::Pass), vec![], No, Policy::None),
            ("slow.test", ("x.test", none), vec![], TempError, Policy::None),
            ("half.test", ("x.test", none), vec![], Fail, Policy::Quarantine),
        ];
        for (from, spf, signed, result, policy) in cases {
            let verdict = check(&zone, from, spf, &signed, 50);
            assert_eq!((verdict.result, verdict.policy), (result, policy), "{from} {spf:?} {signed:?}");
            assert_eq!(verdict.from.as_deref(), Some(from));
        }
        assert_eq!(check(&zone, "half.test", ("x.test", none), &[], 49).policy, Policy::Reject);
    }
}
