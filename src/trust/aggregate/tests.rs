//! What is told of messages, and to whom.

use super::destination::{Destinations, destinations};
use super::xml::Report;
use super::*;
use crate::mail::ReversePath;
use crate::trust::zone::Zone;
use crate::trust::{Arrival, Checking};

const ZONE: &str = "a.test TXT v=spf1 ip4:192.0.2.1 -all\n\
                    _dmarc.a.test TXT v=DMARC1; p=reject; sp=none; adkim=s; fo=1:d; rua=mailto:r@a.test\n\
                    _dmarc.half.test TXT v=DMARC1; p=quarantine; pct=50; rua=mailto:r@half.test; fo=<x>\n\
                    _dmarc.silent.test TXT v=DMARC1; p=reject\n\
                    slow.test TIMEOUT\n";

fn checked(ip: &str, sender: &str, header: &str) -> Verdicts {
    let sender = ReversePath(Some(sender).filter(|sender| !sender.is_empty()).map(|sender| sender.parse().unwrap()));
    let mut checking = Checking::new(Arrival { ip: ip.parse().unwrap(), helo: "<&>\u{1}".into(), sender }, header.as_bytes());
    checking.body(b"Hi\n");
    checking.finish(&Zone::new(ZONE), 1_700_000_000, 70)
}

#[test]
fn rows_tell_what_was_found_and_done() {
    let row = Row::of(&checked("192.0.2.1", "u@a.test", "From: u@a.test\n"), false).unwrap();
    let policy =
        Published { adkim: "s".into(), aspf: "r".into(), p: "reject".into(), sp: "none".into(), pct: 100, fo: "1:d".into() };
    assert_eq!((row.policy, row.spf, row.dkim, row.reasons.len()), (policy, true, false, 0));
    assert_eq!((row.disposition.as_str(), row.by_spf), ("none", ["a.test", "mfrom", "pass"].map(str::to_owned)));
    let forged = checked("2001:db8::1", "", "From: u@a.test\nList-Id: <l>\n");
    let row = Row::of(&forged, true).unwrap();
    assert_eq!((row.disposition.as_str(), row.spf, row.sender.as_str(), row.reasons.len()), ("reject", false, "", 0));
    assert_eq!(row.by_spf, ["<&>\u{1}", "helo", "none"].map(str::to_owned));
    let kinds = |verdicts: &Verdicts| {
        let row = Row::of(verdicts, false).unwrap();
        assert_eq!(row.disposition, "none");
        row.reasons.into_iter().map(|(kind, _)| kind).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(kinds(&forged), "local_policy");
    let arc = |is_list| {
        let arc = crate::trust::arc::Verdict { result: ArcResult::Pass, reason: String::new(), sealer: Some("s.test".into()) };
        Verdicts { arc: Some(arc), kind: Kind { is_list, is_report: false }, ..forged.clone() }
    };
    assert_eq!(
        (kinds(&arc(true)).as_str(), kinds(&arc(false)).as_str()),
        ("mailing_list local_policy", "forwarded local_policy")
    );
    // Of a policy for half of them the other half is not wanted refused.
    let spared = checked("192.0.2.9", "u@x.test", "From: u@half.test\n");
    assert_eq!((kinds(&spared).as_str(), Row::of(&spared, false).unwrap().policy.fo.as_str()), ("sampled_out", "0"));
    let below = checked("192.0.2.9", "u@x.test", "From: u@b.a.test\n");
    assert_eq!((kinds(&below).as_str(), Row::of(&below, false).unwrap().domain.as_str()), ("", "a.test"));
    for nothing in [
        "From: u@silent.test\n",
        "From: u@nothing.test\n",
        "From: u@a.test, u@half.test\n",
        "From: u@a.test\nSubject: Report Domain: x.test\n\tSubmitter: y.test\n\tReport-ID: <1@y.test>\n",
    ] {
        assert_eq!(Row::of(&checked("192.0.2.1", "u@a.test", nothing), false), None, "{nothing}");
    }
    assert!(Row::of(&checked("192.0.2.1", "u@a.test", "From: u@a.test\nSubject: Report Domain: x\n"), false).is_some());
}

#[test]
fn a_report_has_what_the_schema_wants() {
    let one = Row::of(&checked("2001:db8::1", "", "From: u@a.test\n"), false).unwrap();
    let mut other = one.clone();
    other.policy.p = "none".into();
    other.signatures = vec![["]]><x>".into(), "a\"'\r\n".into(), "fail".into()]];
    let report = Report {
        organization: "mail.here.test",
        email: "p&q@here.test",
        id: "1",
        begin: 0,
        end: 86_399,
        domain: "a.test",
        rows: &[(other, 2), (one, 5)],
    };
    let text = report.write();
    for part in [
        "<feedback>\n<version>1.0</version>\n<report_metadata>\n<org_name>mail.here.test</org_name>\n<email>p&amp;q@here.test</email>\n",
        "<date_range>\n<begin>0</begin>\n<end>86399</end>\n</date_range>\n",
        "<policy_published>\n<domain>a.test</domain>\n<adkim>s</adkim>\n<aspf>r</aspf>\n<p>reject</p>\n<sp>none</sp>\n",
        "<source_ip>2001:db8:0:0:0:0:0:1</source_ip>\n<count>5</count>\n",
        "<domain>]]&gt;&lt;x&gt;</domain>\n<selector>a\"'\u{fffd}\u{fffd}</selector>\n<result>fail</result>\n",
        "<spf>\n<domain>&lt;&amp;&gt;\u{fffd}</domain>\n<scope>helo</scope>\n<result>none</result>\n</spf>\n",
        "<reason>\n<type>local_policy</type>\n<comment>reject was wanted: taken, and marked as failed</comment>\n</reason>\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("<record>").count(), 2);
}

fn told(zone: &str, domain: &str) -> String {
    let Destinations { to, ignored } = destinations(&Zone::new(zone), domain).unwrap();
    let to = to.iter().map(|one| format!("{}{}", one.address, one.most.map(|most| format!("!{most}")).unwrap_or_default()));
    let ignored = ignored.iter().map(|(uri, why)| format!("({uri}: {why})"));
    to.chain(ignored).collect::<Vec<_>>().join(" ")
}

#[test]
fn destinations_are_read() {
    for (rua, expected) in [
        ("mailto:r@a.test", "r@a.test"),
        ("MAILTO:r@a.test!10m , mailto:s@b.a.test!3", "r@a.test!10485760 s@b.a.test!3"),
        ("mailto:r@a.test!2k,mailto:R@a.test", "r@a.test!2048"),
        ("mailto:a%21b@a.test?subject=x", "a!b@a.test"),
        ("mailto:a@a.test%2Cb@a.test", "(mailto:a@a.test%2Cb@a.test: it is no address)"),
        ("https://a.test/r,mailto:r@a.test", "r@a.test (https://a.test/r: it is no mailto)"),
        ("mailto:r@a.test!10x", "(mailto:r@a.test!10x: its size is none)"),
        ("mailto:r@a.test!", "(mailto:r@a.test!: its size is none)"),
        ("mailto:r@a.test!99999999999999999999", "(mailto:r@a.test!99999999999999999999: its size is none)"),
        ("mailto:r@a.test%0d%0aRCPT", "(mailto:r@a.test%0d%0aRCPT: it is no address)"),
        ("mailto:r@[192.0.2.1]", "(mailto:r@[192.0.2.1]: it is no address that all hosts can send to)"),
        ("mailto:", "(mailto:: it is no address)"),
        (",,", ""),
    ] {
        let told = told(&format!("_dmarc.a.test TXT v=DMARC1; p=none; rua={rua}"), "a.test");
        assert_eq!(told, expected, "{rua}");
    }
    let many: Vec<String> = (0..7).map(|number| format!("mailto:r{number}@a.test")).collect();
    let told = told(&format!("_dmarc.a.test TXT v=DMARC1; p=none; rua={}", many.join(",")), "a.test");
    assert_eq!((told.matches("@a.test (").count(), told.matches("there are too many").count()), (1, 2), "{told}");
}

#[test]
fn who_is_elsewhere_must_want_them() {
    let from = "_dmarc.a.test TXT v=DMARC1; p=none; rua=mailto:r@b.test!1k\n";
    let told = |records: &str| told(&format!("{from}{records}"), "a.test");
    assert_eq!(told(""), "(mailto:r@b.test!1k: b.test does not say that it wants them)");
    for (says, expected) in [
        ("v=DMARC1", "r@b.test!1024"),
        ("v=DMARC1;", "r@b.test!1024"),
        ("x", "(mailto:r@b.test!1k: b.test does not say that it wants them)"),
        ("v=DMARC1; rua=mailto:s@b.test", "s@b.test"),
        ("v=DMARC1; rua=mailto:s@c.test", "(mailto:r@b.test!1k: b.test wants them somewhere else)"),
        ("v=DMARC1; rua=https://b.test/", "(mailto:r@b.test!1k: b.test wants them somewhere else)"),
    ] {
        assert_eq!(told(&format!("a.test._report._dmarc.b.test TXT {says}")), expected, "{says}");
    }
    let slow = Zone::new(&format!("{from}a.test._report._dmarc.b.test TIMEOUT"));
    assert!(destinations(&slow, "a.test").is_err());
}
