//! Cases of RFC 7208, one line each: who sends what, and what must come of it.

use super::*;
use crate::trust::zone::Zone;

/// `address helo sender result`
fn run(zone: &str, cases: &[(&str, &str, &str, &str)]) {
    let zone = Zone::new(zone);
    for (ip, helo, sender, expected) in cases {
        let client = Client { ip: ip.parse().unwrap(), helo };
        let verdict = match sender.rsplit_once('@') {
            Some((local, domain)) => client.check_sender(&zone, local, domain),
            None => client.check_helo(&zone),
        };
        assert_eq!(verdict.result.name(), *expected, "{ip} {helo} {sender}: {}", verdict.reason);
        let is_error = matches!(verdict.result, SpfResult::TempError | SpfResult::PermError);
        assert_eq!(is_error, !verdict.reason.is_empty());
    }
}

#[test]
fn records_are_found() {
    run(
        "one.test TXT v=spf1 -all\n\
         upper.test TXT V=SPF1 +ALL\n\
         other.test TXT something else\n\
         other.test TXT v=spf10\n\
         two.test TXT v=spf1 -all\n\
         two.test TXT v=spf1 -all\n\
         empty.test TXT v=spf1\n\
         late.test TXT v=spf1 all foo\n\
         slow.test TIMEOUT\n\
         a.test A 192.0.2.1\n",
        &[
            ("192.0.2.1", "x.test", "a@one.test", "fail"),
            ("192.0.2.1", "x.test", "a@ONE.test.", "fail"),
            ("192.0.2.1", "x.test", "@upper.test", "pass"),
            ("192.0.2.1", "x.test", "a@other.test", "none"),
            ("192.0.2.1", "x.test", "a@two.test", "permerror"),
            ("192.0.2.1", "x.test", "a@empty.test", "neutral"),
            ("192.0.2.1", "x.test", "a@late.test", "permerror"),
            ("192.0.2.1", "x.test", "a@slow.test", "temperror"),
            ("192.0.2.1", "x.test", "a@a.test", "none"),
            ("192.0.2.1", "x.test", "a@nothing.test", "none"),
            // What is no domain has no record (§4.3).
            ("192.0.2.1", "x.test", "a@test", "none"),
            ("192.0.2.1", "x.test", "a@one..test", "none"),
            ("192.0.2.1", "x.test", "a@192.0.2.1", "none"),
            ("192.0.2.1", "one.test", "", "fail"),
            ("192.0.2.1", "[192.0.2.1]", "", "none"),
            ("192.0.2.1", "localhost", "", "none"),
        ],
    );
    let long = format!("a@{}.test", "x".repeat(64));
    run("", &[("192.0.2.1", "x.test", long.as_str(), "none")]);
}

#[test]
fn mechanisms_match() {
    run(
        "q.test TXT v=spf1 ip4:192.0.2.1 -ip4:192.0.2.2 ~ip4:192.0.2.3 ?ip4:192.0.2.4 +ip6:2001:db8::/32 -all\n\
         a.test TXT v=spf1 a -all\n\
         a.test A 192.0.2.10\n\
         a.test A 192.0.2.11\n\
         a.test AAAA 2001:db8::a\n\
         net.test TXT v=spf1 a:a.test/24//64 -all\n\
         mx.test TXT v=spf1 mx -mx:other.test/31 ?all\n\
         mx.test MX host1.test\n\
         mx.test MX host2.test\n\
         other.test MX host3.test\n\
         other.test MX\n\
         host1.test A 192.0.2.21\n\
         host2.test A 192.0.2.22\n\
         host3.test A 192.0.2.32\n\
         host2.test AAAA 2001:db8::22\n\
         ptr.test TXT v=spf1 ptr -all\n\
         192.0.2.40 PTR mail.PTR.test\n\
         192.0.2.40 PTR other.test\n\
         192.0.2.41 PTR mail.ptr.test\n\
         192.0.2.42 PTR notptr.test\n\
         192.0.2.43 PTR ptr.test\n\
         192.0.2.44 TIMEOUT\n\
         mail.ptr.test A 192.0.2.40\n\
         notptr.test A 192.0.2.42\n\
         ptr.test A 192.0.2.43\n\
         exists.test TXT v=spf1 exists:%{i}.list.test -all\n\
         192.0.2.50.list.test A 127.0.0.2\n\
         2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.0.list.test A 127.0.0.2\n\
         192.0.2.52.list.test TIMEOUT\n",
        &[
            ("192.0.2.1", "x", "a@q.test", "pass"),
            ("::ffff:192.0.2.1", "x", "a@q.test", "pass"),
            ("192.0.2.2", "x", "a@q.test", "fail"),
            ("192.0.2.3", "x", "a@q.test", "softfail"),
            ("192.0.2.4", "x", "a@q.test", "neutral"),
            ("2001:db8:1::1", "x", "a@q.test", "pass"),
            ("2001:db9::1", "x", "a@q.test", "fail"),
            ("192.0.2.11", "x", "a@a.test", "pass"),
            ("192.0.2.12", "x", "a@a.test", "fail"),
            ("2001:db8::a", "x", "a@a.test", "pass"),
            ("192.0.2.200", "x", "a@net.test", "pass"),
            ("192.0.3.1", "x", "a@net.test", "fail"),
            ("2001:db8::ffff", "x", "a@net.test", "pass"),
            ("2001:db8:0:1::a", "x", "a@net.test", "fail"),
            ("192.0.2.22", "x", "a@mx.test", "pass"),
            ("2001:db8::22", "x", "a@mx.test", "pass"),
            ("192.0.2.33", "x", "a@mx.test", "fail"),
            ("192.0.2.34", "x", "a@mx.test", "neutral"),
            ("192.0.2.40", "x", "a@ptr.test", "pass"),
            ("192.0.2.41", "x", "a@ptr.test", "fail"),
            ("192.0.2.42", "x", "a@ptr.test", "fail"),
            ("192.0.2.43", "x", "a@ptr.test", "pass"),
            ("192.0.2.44", "x", "a@ptr.test", "fail"),
            ("192.0.2.50", "x", "a@exists.test", "pass"),
            ("192.0.2.51", "x", "a@exists.test", "fail"),
            ("192.0.2.52", "x", "a@exists.test", "temperror"),
            ("2001:db8::50", "x", "a@exists.test", "pass"),
        ],
    );
}

#[test]
fn records_lead_to_others() {
    run(
        "in.test TXT v=spf1 include:p.test -include:s.test ?all\n\
         p.test TXT v=spf1 ip4:192.0.2.1 -all\n\
         s.test TXT v=spf1 ip4:192.0.2.2 ~all\n\
         void.test TXT v=spf1 include:nothing.test ?all\n\
         slow.test TIMEOUT\n\
         inslow.test TXT v=spf1 include:slow.test ?all\n\
         bad.test TXT v=spf1 foo\n\
         inbad.test TXT v=spf1 include:bad.test ?all\n\
         re.test TXT v=spf1 redirect=p.test\n\
         first.test TXT v=spf1 redirect=p.test ip4:192.0.2.9\n\
         all.test TXT v=spf1 redirect=nothing.test ?all\n\
         renone.test TXT v=spf1 redirect=nothing.test\n\
         self.test TXT v=spf1 redirect=self.test\n\
         inself.test TXT v=spf1 include:inself.test -all\n\
         d.test TXT v=spf1 include:%{d}.e.test -all\n\
         d.test.e.test TXT v=spf1 exists:%{d}.%{o}.f.test\n\
         d.test.e.test.d.test.f.test A 127.0.0.1\n",
        &[
            ("192.0.2.1", "x", "a@in.test", "pass"),
            ("192.0.2.2", "x", "a@in.test", "fail"),
            ("192.0.2.3", "x", "a@in.test", "neutral"),
            ("192.0.2.1", "x", "a@void.test", "permerror"),
            ("192.0.2.1", "x", "a@inslow.test", "temperror"),
            ("192.0.2.1", "x", "a@inbad.test", "permerror"),
            ("192.0.2.1", "x", "a@re.test", "pass"),
            ("192.0.2.3", "x", "a@re.test", "fail"),
            ("192.0.2.9", "x", "a@first.test", "pass"),
            ("192.0.2.1", "x", "a@all.test", "neutral"),
            ("192.0.2.1", "x", "a@renone.test", "permerror"),
            ("192.0.2.1", "x", "a@self.test", "permerror"),
            ("192.0.2.1", "x", "a@inself.test", "permerror"),
            // `%{d}` is the domain whose record is read, `%{o}` stays the sender's (§7.2).
            ("192.0.2.1", "x", "a@d.test", "pass"),
        ],
    );
}

#[test]
fn macros_are_names() {
    run(
        "m.test TXT v=spf1 exists:%{l}._at.%{o}.%{h}.test exists:%{p}.p.test -all\n\
         strong+bad._at.m.test.Helo.test A 127.0.0.1\n\
         192.0.2.3 PTR x.other.test\n\
         192.0.2.3 PTR h.m.test\n\
         x.other.test A 192.0.2.3\n\
         h.m.test A 192.0.2.3\n\
         h.m.test.p.test A 127.0.0.1\n\
         unknown.p.test A 127.0.0.1\n\
         h.test TXT v=spf1 a:%{h} ?all\n\
         dot.test TXT v=spf1 a:%{l}.x.test -all\n\
         192.0.2.9 PTR nowhere.test\n",
        &[
            ("192.0.2.1", "Helo", "strong+bad@m.test", "pass"),
            ("192.0.2.3", "Helo", "x@m.test", "pass"),
            // No name of it leads back.
            ("192.0.2.9", "Helo", "x@m.test", "pass"),
            // No name comes of these, so nothing matches (§4.8).
            ("192.0.2.1", "[192.0.2.1]..", "x@h.test", "neutral"),
            ("192.0.2.1", "x", "a b@dot.test", "fail"),
        ],
    );
    // Too long a name loses labels at its left (§7.3).
    let local = "a.".repeat(150);
    let zone = Zone::new("long.test TXT v=spf1 exists:%{l}b.test -all\n");
    Client { ip: "192.0.2.1".parse().unwrap(), helo: "x" }.check_sender(&zone, &local, "long.test");
    let asked = zone.asked.borrow();
    let name = asked[1].strip_prefix("A ").unwrap();
    assert!(name.len() <= 253 && name.len() > 250 && name.ends_with("a.b.test") && !name.starts_with('.'), "{name}");
}

#[test]
fn lookups_are_bounded() {
    let mut zone = String::new();
    let mut put = |line: String| zone.extend([line, "\n".to_owned()]);
    let terms = |count: usize| (0..count).map(|number| format!(" a:h{number}.test")).collect::<String>();
    (0..12).for_each(|number| put(format!("h{number}.test A 192.0.2.{}", 100 + number)));
    put(format!("ten.test TXT v=spf1{} ip4:192.0.2.1 -all", terms(10)));
    put(format!("eleven.test TXT v=spf1{} ip4:192.0.2.1 -all", terms(11)));
    put(format!("tree.test TXT v=spf1 include:half.test{} -all", terms(5)));
    put(format!("half.test TXT v=spf1{}", terms(5)));
    put("void2.test TXT v=spf1 a:no1.test a:no2.test ip4:192.0.2.1 -all".into());
    put("void3.test TXT v=spf1 a:no1.test a:no2.test mx:no3.test ip4:192.0.2.1 -all".into());
    put("mx10.test TXT v=spf1 mx ip4:192.0.2.1 -all".into());
    (0..10).for_each(|number| put(format!("mx10.test MX h{number}.test")));
    put("mx11.test TXT v=spf1 mx ip4:192.0.2.1 -all".into());
    (0..11).for_each(|number| put(format!("mx11.test MX h{number}.test")));
    put("void4.test TXT v=spf1 a:no1.test a:no2.test ptr ip4:192.0.2.8 -all".into());
    put("void5.test TXT v=spf1 a:no1.test ptr ptr ip4:192.0.2.8 -all".into());
    put("ptr.test TXT v=spf1 ptr -all".into());
    (0..10).for_each(|number| put(format!("192.0.2.9 PTR n{number}.other.test")));
    put("192.0.2.9 PTR h.ptr.test".into());
    put("h.ptr.test A 192.0.2.9".into());
    run(
        &zone,
        &[
            ("192.0.2.1", "x", "a@ten.test", "pass"),
            ("192.0.2.1", "x", "a@eleven.test", "permerror"),
            // What matched before the bound was reached counts.
            ("192.0.2.109", "x", "a@eleven.test", "pass"),
            ("192.0.2.1", "x", "a@tree.test", "permerror"),
            ("192.0.2.1", "x", "a@void2.test", "pass"),
            ("192.0.2.1", "x", "a@void3.test", "permerror"),
            // That an address has no name is asked once, and counts once.
            ("192.0.2.8", "x", "a@void4.test", "permerror"),
            ("192.0.2.8", "x", "a@void5.test", "pass"),
            ("192.0.2.9", "x", "a@void4.test", "fail"),
            ("192.0.2.1", "x", "a@mx10.test", "pass"),
            ("192.0.2.1", "x", "a@mx11.test", "permerror"),
            // The eleventh name of an address is not looked at (§4.6.4).
            ("192.0.2.9", "x", "a@ptr.test", "fail"),
        ],
    );
}

/// A tree of records, each with ten others: it costs ten lookups of records, however large it is.
#[test]
fn a_bomb_is_cheap() {
    let mut zone = String::new();
    for node in 0..111 {
        let children: String = (1..=10).map(|child| format!(" include:n{}.test", node * 10 + child)).collect();
        zone.push_str(&format!("n{node}.test TXT v=spf1{children} -all\n"));
    }
    (111..1111).for_each(|leaf| zone.push_str(&format!("n{leaf}.test TXT v=spf1 ?all\n")));
    let zone = Zone::new(&zone);
    let verdict = Client { ip: "192.0.2.1".parse().unwrap(), helo: "x" }.check_sender(&zone, "a", "n0.test");
    assert_eq!((verdict.result, verdict.reason.as_str()), (SpfResult::PermError, "too many lookups"));
    assert_eq!(zone.asked.borrow().len(), 11);
}
