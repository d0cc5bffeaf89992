//! TLSA records (RFC 7672): of each kind, right and wrong.

use super::certificates::{Authority, Certificate, publish, self_signed};
use super::host::Host;
use super::zone::{TLSA, Zone};
use super::{daemon, local, reason, submit};
use crate::common::{fixed_port, wait_for};

crate::tests![
    each_kind_of_record,
    the_next_host_stands_in,
    replies_from_before_the_handshake_count_for_nothing,
    a_server_that_is_not_trusted_vouches_for_nothing,
];

/// What must come of it.
enum Then {
    /// It arrives, and the log calls the line so.
    Arrives(&'static str),
    /// It waits for this reason.
    Waits(&'static str),
}
use Then::{Arrives, Waits};

const DANE: Then = Arrives(", DANE\"");
const UNVERIFIED: Then = Arrives(", unverified\"");
const PLAIN: Then = Arrives("tls=\"none\"");
const REFUSED: Then = Waits("4.7.5 The host mx");

/// Says more of a host.
type Publish<'a> = Box<dyn Fn(&Zone, &str) + 'a>;

/// A domain of its own, with one host.
struct Case<'a> {
    what: &'static str,
    certificate: Option<&'a Certificate>,
    /// Says more of domain `dN.test` with host `mxN.test`.
    zone: Publish<'a>,
    /// Its MX record is secure, and so is its address.
    secure: bool,
    then: Then,
}

fn case<'a>(what: &'static str, certificate: &'a Certificate, then: Then, zone: impl Fn(&Zone, &str) + 'a) -> Case<'a> {
    Case { what, certificate: Some(certificate), zone: Box::new(zone), secure: true, then }
}

fn each_kind_of_record() {
    let port = fixed_port();
    let (authority, other) = (Authority::new(), Authority::new());
    let own = self_signed("whatever.test");
    // The host of case N is mxN.test.
    let named: Vec<Certificate> = (0..30).map(|number| authority.vouch(&format!("mx{number}.test"))).collect();
    let (of_domain, of_alias) = (authority.vouch("d12.test"), authority.vouch("target.test"));
    let expired = authority.vouched("mx13.test");
    let tlsa = |parameters: [u8; 3], content: Vec<u8>| {
        move |zone: &Zone, host: &str| publish(zone, host, port, parameters, true, &content)
    };
    let mut cases = vec![
        // The host's own certificate: neither its name nor its dates matter.
        case("EE key", &own, DANE, tlsa([3, 1, 1], own.key.clone())),
        case("EE key by SHA-512", &own, DANE, tlsa([3, 1, 2], own.key.clone())),
        case("EE whole key", &own, DANE, tlsa([3, 1, 0], own.key.clone())),
        case("EE certificate", &own, DANE, tlsa([3, 0, 1], own.der.clone())),
        case("EE whole certificate", &own, DANE, tlsa([3, 0, 0], own.der.clone())),
        case("EE of another", &own, REFUSED, tlsa([3, 1, 1], named[0].key.clone())),
        case("EE, one of two", &own, DANE, |zone, host| {
            publish(zone, host, port, [3, 1, 1], true, &named[0].key);
            publish(zone, host, port, [3, 0, 1], true, &own.der);
        }),
        case("a weaker digest beside a wrong stronger one", &own, REFUSED, |zone, host| {
            publish(zone, host, port, [3, 1, 1], true, &own.key);
            publish(zone, host, port, [3, 1, 2], true, &named[0].key);
        }),
        // An authority: its word for the right name is needed.
        case("TA", &named[8], DANE, tlsa([2, 0, 1], authority.der.clone())),
        case("TA for another name", &named[0], REFUSED, tlsa([2, 0, 1], authority.der.clone())),
        case("another TA", &named[10], REFUSED, tlsa([2, 0, 1], other.der.clone())),
        case("TA, whole", &named[11], DANE, tlsa([2, 0, 0], authority.der.clone())),
        case("TA for the domain", &of_domain, DANE, tlsa([2, 0, 1], authority.der.clone())),
        case("TA, expired", &expired, REFUSED, tlsa([2, 0, 1], authority.der.clone())),
        case("TA as if it were the host", &named[14], REFUSED, tlsa([3, 0, 1], authority.der.clone())),
        case("TA for what calls itself so", &own, REFUSED, tlsa([2, 0, 1], own.der.clone())),
        // Records that say no more than that it encrypts.
        case("PKIX", &own, UNVERIFIED, tlsa([1, 1, 1], own.key.clone())),
        case("an unknown digest", &own, UNVERIFIED, tlsa([3, 1, 9], own.key.clone())),
        case("a digest too short", &own, UNVERIFIED, |zone, host| {
            zone.add(&format!("_{port}._tcp.{host}"), TLSA, true, vec![3, 1, 1, 7, 7]);
        }),
        // Records that nobody vouches for, or that are not told.
        case("insecure records", &own, UNVERIFIED, |zone, host| publish(zone, host, port, [3, 1, 1], false, &named[0].key)),
        case("no records", &own, UNVERIFIED, |_, _| {}),
        case("an error", &own, Waits("4.4.3 The name servers did not tell by what mx21.test"), |zone, host| {
            zone.fail(&format!("_{port}._tcp.{host}"), TLSA);
        }),
        case("of another port", &own, UNVERIFIED, |zone, host| publish(zone, host, port - 1, [3, 1, 1], true, &named[0].key)),
        // Names that stand for others.
        case("an alias for records", &own, DANE, |zone, host| {
            zone.alias(&format!("_{port}._tcp.{host}"), "_dane.test", true);
            zone.add("_dane.test", TLSA, true, [&[3, 0, 0], &own.der[..]].concat());
        }),
        case("an insecure alias for records", &own, UNVERIFIED, |zone, host| {
            zone.alias(&format!("_{port}._tcp.{host}"), "_dane.test", false);
        }),
    ];
    let weak = |what, then, zone| Case { what, certificate: Some(&own), zone, secure: false, then };
    cases.push(weak("an insecure domain", UNVERIFIED, Box::new(tlsa([3, 1, 1], named[0].key.clone()))));
    let bare = |what, then, zone| Case { what, certificate: None, zone, secure: true, then };
    cases.push(bare("no encryption, EE", Waits("4.7.10 The host mx26.test"), Box::new(tlsa([3, 1, 1], own.key.clone()))));
    cases.push(bare("no encryption, useless records", Waits("4.7.10 The host"), Box::new(tlsa([0, 0, 1], own.der.clone()))));
    cases.push(bare("no encryption, no records", PLAIN, Box::new(|_, _| {})));

    let zone = Zone::start();
    let mut hosts = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let (domain, name) = (format!("d{number}.test"), format!("mx{number}.test"));
        let host = Host::start(local(10 + number as u8, port), case.certificate.map(Certificate::tls));
        zone.mx(&domain, 10, &name, case.secure);
        zone.host(&name, host.address, case.secure);
        (case.zone)(&zone, &name);
        hosts.push(host);
    }
    // A host that is an alias is called by the name it stands for, if that is vouched for.
    let alias = Host::start(local(9, port), Some(of_alias.tls()));
    for (domain, name, secure) in [("alias.test", "name.test", true), ("half.test", "half-name.test", false)] {
        zone.mx(domain, 10, name, true);
        zone.alias(name, if secure { "target.test" } else { "unsigned.test" }, true);
    }
    zone.host("target.test", alias.address, true);
    zone.host("unsigned.test", alias.address, false);
    publish(&zone, "target.test", port, [2, 0, 1], true, &authority.der);
    publish(&zone, "half-name.test", port, [3, 1, 1], true, &of_alias.key);

    let daemon = daemon(&zone, port, &[]);
    (0..cases.len()).for_each(|number| submit(&daemon, &format!("x@d{number}.test")));
    submit(&daemon, "x@alias.test");
    submit(&daemon, "x@half.test");
    for (number, (case, host)) in cases.iter().zip(&hosts).enumerate() {
        let to = format!("x@d{number}.test");
        match case.then {
            Arrives(line) => {
                wait_for(&format!("{}: {}", case.what, reason(&daemon, &to)), 30, || (!host.given().is_empty()).then_some(()));
                let is_told = |line: &&str| line.contains("event=delivered tls=\"") && line.contains(&to);
                let delivered = wait_for(case.what, 10, || daemon.log().lines().find(is_told).map(str::to_owned));
                assert!(delivered.contains(line), "{}: {delivered}", case.what);
                assert_eq!(host.given()[0].is_some(), !line.contains("none"), "{}", case.what);
            }
            Waits(why) => {
                let reason = wait_for(case.what, 30, || Some(reason(&daemon, &to)).filter(|reason| !reason.is_empty()));
                assert!(reason.contains(why), "{}: {reason}", case.what);
                assert!(host.given().is_empty(), "{}: {:?}", case.what, host.given());
            }
        }
    }
    let mut names = wait_for("what goes to aliases", 30, || Some(alias.given()).filter(|given| given.len() == 2));
    names.sort();
    assert_eq!(names, ["half-name.test", "target.test"].map(|name| Some(name.to_owned())));
    daemon.wait_for_log(30, ", DANE\" to=<x@alias.test>");
    daemon.wait_for_log(30, ", DANE\" to=<x@half.test>");
}

/// A host that is not what its records say, and one that is.
fn the_next_host_stands_in() {
    let (port, zone) = (fixed_port(), Zone::start());
    let own = self_signed("whatever.test");
    let hosts = [Host::start(local(9, port), Some(own.tls())), Host::start(local(8, port), Some(own.tls()))];
    for (name, host, key) in [("one.test", &hosts[0], &own.der), ("two.test", &hosts[1], &own.key)] {
        zone.mx("d.test", if name == "one.test" { 10 } else { 20 }, name, true);
        zone.host(name, host.address, true);
        publish(&zone, name, port, [3, 1, 1], true, key);
    }
    let daemon = daemon(&zone, port, &[]);
    submit(&daemon, "x@d.test");
    wait_for("the second host", 30, || (hosts[1].given().len() == 1).then_some(()));
    assert!(hosts[0].given().is_empty());
    // With another certificate the first one is as good.
    zone.remove(&format!("_{port}._tcp.one.test"), TLSA);
    publish(&zone, "one.test", port, [3, 1, 1], true, &own.key);
    submit(&daemon, "y@d.test");
    wait_for("the first host", 30, || (hosts[0].given().len() == 1).then_some(()));
}

/// Somebody on the way answers in advance for what is said after the handshake (RFC 3207 §6).
fn replies_from_before_the_handshake_count_for_nothing() {
    let (port, zone) = (fixed_port(), Zone::start());
    let own = self_signed("whatever.test");
    let host = Host::start(local(9, port), Some(own.tls()));
    host.inject("250-evil.test\r\n250-PIPELINING\r\n250 CHUNKING\r\n250 a\r\n250 b\r\n250 taken\r\n");
    zone.mx("d.test", 10, "mx.test", true);
    zone.host("mx.test", host.address, true);
    publish(&zone, "mx.test", port, [3, 1, 1], true, &own.key);
    let daemon = daemon(&zone, port, &[]);
    submit(&daemon, "x@d.test");
    // It takes no BDAT, and said 250 to the message itself.
    wait_for("the message", 30, || (!host.given().is_empty()).then_some(()));
    assert_eq!(host.given(), [Some("mx.test".to_owned())]);
    wait_for("an empty queue", 30, || daemon.queue().is_empty().then_some(()));
    daemon.wait_for_log(30, "reply=\"250 taken\"");
}

fn a_server_that_is_not_trusted_vouches_for_nothing() {
    let (port, zone) = (fixed_port(), Zone::start());
    let own = self_signed("whatever.test");
    let host = Host::start(local(9, port), Some(own.tls()));
    zone.mx("d.test", 10, "mx.test", true);
    zone.host("mx.test", host.address, true);
    publish(&zone, "mx.test", port, [3, 1, 1], true, &own.der);
    for (number, off) in ["dns.trust_ad=\"never\"", "outbound.dane=\"off\""].into_iter().enumerate() {
        let daemon = daemon(&zone, port, &[off]);
        submit(&daemon, "x@d.test");
        wait_for(off, 30, || (host.given().len() == number + 1).then_some(()));
        daemon.wait_for_log(30, ", unverified\" to=<x@d.test>");
    }
}
