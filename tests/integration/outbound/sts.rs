//! MTA-STS policies (RFC 8461): what hosts must be like by them, and how long they hold.

use super::certificates::{Authority, Certificate, publish, self_signed};
use super::host::Host;
use super::policies::{PolicyHost, answer, policy};
use super::zone::{TXT, Zone};
use super::{daemon, local, reason, submit};
use crate::common::{Daemon, fixed_port, wait_for};
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

crate::tests![
    each_kind_of_policy,
    what_a_test_finds_is_told,
    policies_outlive_restarts_and_silence,
    a_mute_policy_host_holds_nobody_else_up
];

/// What must come of it.
enum Then {
    /// It arrives, and the log calls the line so.
    Arrives(&'static str),
    /// It waits for this reason.
    Waits(&'static str),
}
use Then::{Arrives, Waits};

const STS: Then = Arrives(", MTA-STS\"");
const UNVERIFIED: Then = Arrives(", unverified\"");
const REFUSED: Then = Waits("its domain's MTA-STS policy wants it so");

/// Names, and where their ports are.
pub struct Stage {
    pub zone: Zone,
    pub smtp: u16,
    https: u16,
    pub authority: Authority,
    dir: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Stage {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        fs::write(dir.path().join("authority.pem"), &authority.pem).unwrap();
        Stage { zone: Zone::start(), smtp: fixed_port(), https: fixed_port(), authority, dir }
    }

    /// The host mxN.test of a domain dN.test, which has a policy by its TXT record.
    pub fn host(&self, number: u8, certificate: Option<&Certificate>) -> Host {
        let host = Host::start(local(10 + number, self.smtp), certificate.map(Certificate::tls));
        self.zone.mx(&format!("d{number}.test"), 10, &format!("mx{number}.test"), false);
        self.zone.host(&format!("mx{number}.test"), host.address, false);
        self.zone.text(&format!("_mta-sts.d{number}.test"), "v=STSv1; id=1;");
        host
    }

    /// Where that policy is.
    pub fn policy(&self, number: u8, certificate: &Certificate, answer: String) -> PolicyHost {
        let address = SocketAddr::from(([127, 0, 1, 10 + number], self.https));
        let host = PolicyHost::start(address, certificate.tls(), answer);
        self.zone.host(&format!("mta-sts.d{number}.test"), host.address, false);
        host
    }

    pub fn daemon(&self, more: &[&str]) -> Daemon {
        let path = self.dir.path().join("authority.pem");
        let options = [format!("outbound.ca={path:?}"), format!("outbound.mta_sts_port={}", self.https)];
        let all: Vec<&str> = options.iter().map(String::as_str).chain(more.iter().copied()).collect();
        daemon(&self.zone, self.smtp, &all)
    }
}

/// Waits for a delivery; its line in the log.
pub fn delivered(daemon: &Daemon, to: &str) -> String {
    let is_told = |line: &&str| line.contains("event=delivered tls=\"") && line.contains(to);
    wait_for(&format!("a delivery to {to}"), 30, || daemon.log().lines().find(is_told).map(str::to_owned))
}

fn each_kind_of_policy() {
    let stage = Stage::new();
    let other = Authority::new();
    let own = self_signed("whatever.test");
    let right = |number: u8| stage.authority.vouch(&format!("mx{number}.test"));
    let enforce = |number: u8| policy("enforce", &["another.test", &format!("mx{number}.test")]);
    let moved = || "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned();
    let html = || policy("enforce", &["no.test"]).replace("text/plain", "text/html");
    let long = || {
        answer(
            "200 OK",
            "text/plain",
            &format!("version: STSv1\nmode: enforce\nmx: no.test\nmax_age: 9\n{}", "x: y\n".repeat(20_000)),
        )
    };
    let cases: Vec<(&str, Option<Certificate>, String, Then)> = vec![
        ("as it should be", Some(right(0)), enforce(0), STS),
        ("by a pattern", Some(right(1)), policy("enforce", &["*.test"]), STS),
        ("nobody vouches for the host", Some(self_signed("mx2.test")), enforce(2), REFUSED),
        ("another authority does", Some(other.vouch("mx3.test")), enforce(3), REFUSED),
        ("the certificate is for another host", Some(right(0)), enforce(4), REFUSED),
        ("the certificate is over", Some(stage.authority.vouched("mx5.test")), enforce(5), REFUSED),
        ("no encryption", None, enforce(6), Waits("4.7.10 The host mx6.test")),
        (
            "the host is not named",
            Some(right(7)),
            policy("enforce", &["mx0.test", "*.mx7.test"]),
            Waits("4.7.0 The host mx7.test"),
        ),
        ("it is only tried out", Some(self_signed("mx8.test")), policy("testing", &["no.test"]), UNVERIFIED),
        ("it is over", Some(self_signed("mx9.test")), policy("none", &[]), UNVERIFIED),
        ("there is none", Some(self_signed("mx10.test")), answer("404 Not Found", "text/plain", ""), UNVERIFIED),
        ("it is elsewhere", Some(self_signed("mx11.test")), moved(), UNVERIFIED),
        ("a page", Some(self_signed("mx12.test")), html(), UNVERIFIED),
        ("too long", Some(self_signed("mx13.test")), long(), UNVERIFIED),
        ("broken", Some(self_signed("mx14.test")), answer("200 OK", "text/plain", "version: STSv1\nmode: enforce\n"), UNVERIFIED),
        ("from a host nobody vouches for", Some(self_signed("mx15.test")), policy("enforce", &["no.test"]), UNVERIFIED),
        ("from a host of another name", Some(self_signed("mx16.test")), policy("enforce", &["no.test"]), UNVERIFIED),
        ("without a TXT record", Some(self_signed("mx17.test")), policy("enforce", &["no.test"]), UNVERIFIED),
        (
            "TLSA records go first, and are right",
            Some(self_signed("mx18.test")),
            policy("enforce", &["no.test"]),
            Arrives(", DANE\""),
        ),
        ("TLSA records go first, and are not", Some(right(19)), enforce(19), Waits("its TLSA records want it so")),
        ("TLSA records can't be used", Some(right(20)), enforce(20), STS),
    ];
    let mut hosts = Vec::new();
    for (number, (_, certificate, answer, _)) in (0..).zip(&cases) {
        let host = stage.host(number, certificate.as_ref());
        let name = format!("mta-sts.d{number}.test");
        let of_policy = match number {
            15 => other.vouch(&name),
            16 => stage.authority.vouch("mta-sts.d0.test"),
            _ => stage.authority.vouch(&name),
        };
        hosts.push((host, stage.policy(number, &of_policy, answer.clone())));
    }
    stage.zone.remove("_mta-sts.d17.test", TXT);
    for (number, parameters) in [(18_u8, [3, 0, 1]), (19, [3, 0, 1]), (20, [0, 0, 1])] {
        let (domain, name) = (format!("d{number}.test"), format!("mx{number}.test"));
        stage.zone.secure(&domain, &name);
        let content = if number == 19 { &own.der } else { &cases[usize::from(number)].1.as_ref().unwrap().der };
        publish(&stage.zone, &name, stage.smtp, parameters, true, content);
    }
    let daemon = stage.daemon(&[]);
    (0..cases.len()).for_each(|number| submit(&daemon, &format!("x@d{number}.test")));
    for (number, ((what, _, _, then), (host, policy))) in cases.iter().zip(&hosts).enumerate() {
        let to = format!("x@d{number}.test");
        match then {
            Arrives(line) => {
                let delivered = delivered(&daemon, &to);
                assert!(delivered.contains(line), "{what}: {delivered}");
                assert_eq!(host.given(), [Some(format!("mx{number}.test"))], "{what}");
            }
            Waits(why) => {
                let reason = wait_for(what, 30, || Some(reason(&daemon, &to)).filter(|reason| !reason.is_empty()));
                assert!(reason.contains(why), "{what}: {reason}");
                assert!(host.given().is_empty(), "{what}: {:?}", host.given());
            }
        }
        // One question for each id, for this and nothing else.
        let asked = policy.asked();
        let expected = format!("mta-sts.d{number}.test /.well-known/mta-sts.txt");
        match number {
            15..=19 => assert!(asked.is_empty(), "{what}: {asked:?}"),
            _ => assert_eq!(asked, [expected], "{what}"),
        }
    }
}

/// Policies in testing mode: all mail arrives, and the log tells why it would not.
fn what_a_test_finds_is_told() {
    let stage = Stage::new();
    let right = |number: u8| stage.authority.vouch(&format!("mx{number}.test"));
    let cases = [
        (Some(right(0)), "mx0.test", None),
        (Some(right(1)), "no.test", Some("its domain does not name it")),
        (Some(Authority::new().vouch("mx2.test")), "mx2.test", Some("invalid peer certificate")),
        (Some(right(0)), "mx3.test", Some("not valid for name \"mx3.test\"")),
        (None, "mx4.test", Some("it is not encrypted")),
    ];
    let mut hosts = Vec::new();
    for (number, (certificate, named, _)) in (0..).zip(&cases) {
        let of_policy = stage.authority.vouch(&format!("mta-sts.d{number}.test"));
        hosts.push((stage.host(number, certificate.as_ref()), stage.policy(number, &of_policy, policy("testing", &[named]))));
    }
    let daemon = stage.daemon(&[]);
    for (number, (certificate, _, why)) in cases.iter().enumerate() {
        let (to, hop) = (format!("x@d{number}.test"), format!(" hop=d{number}.test "));
        submit(&daemon, &to);
        let line = if certificate.is_some() { ", unverified\"" } else { "tls=\"none\"" };
        assert!(delivered(&daemon, &to).contains(line), "{number}");
        let log = daemon.log();
        let told: Vec<&str> = log.lines().filter(|line| line.contains("event=sts-testing") && line.contains(&hop)).collect();
        match why {
            None => assert!(told.is_empty(), "{told:?}"),
            Some(why) => assert!(told.len() == 1 && told[0].contains(why), "{number}: {told:?}"),
        }
    }
}

/// What is known holds when nobody can ask any more, and until something else is said.
fn policies_outlive_restarts_and_silence() {
    let stage = Stage::new();
    let certificate = stage.authority.vouch("mx0.test");
    let host = stage.host(0, Some(&certificate));
    let of_policy = stage.authority.vouch("mta-sts.d0.test");
    let policy_host = stage.policy(0, &of_policy, policy("enforce", &["mx0.test"]));
    let mut daemon = stage.daemon(&[]);
    submit(&daemon, "a@d0.test");
    assert!(delivered(&daemon, "a@d0.test").contains(", MTA-STS\""));
    wait_for("the file", 30, || daemon.spool().join("mta-sts/mail.here.test").exists().then_some(()));
    daemon.kill();
    stage.zone.remove("_mta-sts.d0.test", TXT);
    drop(policy_host);
    let bad = self_signed("mx0.test");
    host.change(Some(bad.tls()));
    daemon.start();
    submit(&daemon, "b@d0.test");
    let why = wait_for("a try", 30, || Some(reason(&daemon, "b@d0.test")).filter(|reason| !reason.is_empty()));
    assert!(why.contains("MTA-STS"), "{why}");
    // Another id, but nothing to be had.
    stage.zone.text("_mta-sts.d0.test", "v=STSv1; id=2");
    assert!(daemon.ctl(&["queue", "flush"]).status.success());
    wait_for("a second try", 30, || daemon.queue()[0]["recipients"][0]["tries"].as_u64().filter(|tries| *tries == 2));
    assert!(daemon.log().contains("event=sts-not-fetched domain=d0.test id=2"));
    host.change(Some(certificate.tls()));
    assert!(daemon.ctl(&["queue", "flush"]).status.success());
    assert!(delivered(&daemon, "b@d0.test").contains(", MTA-STS\""));
    // A third, and the domain takes everything.
    host.change(Some(bad.tls()));
    stage.zone.remove("_mta-sts.d0.test", TXT);
    stage.zone.text("_mta-sts.d0.test", "v=STSv1; id=3");
    let policy_host = PolicyHost::start(SocketAddr::from(([127, 0, 1, 10], stage.https)), of_policy.tls(), policy("none", &[]));
    submit(&daemon, "c@d0.test");
    assert!(delivered(&daemon, "c@d0.test").contains(", unverified\""));
    // Known, it is not asked for again.
    submit(&daemon, "d@d0.test");
    delivered(&daemon, "d@d0.test");
    assert_eq!(policy_host.asked().len(), 1);
}

/// One thread waits for the policy, and then goes on without; the other sends meanwhile.
fn a_mute_policy_host_holds_nobody_else_up() {
    let stage = Stage::new();
    let mute = stage.host(0, Some(&self_signed("mx0.test")));
    let policy_host = stage.policy(0, &stage.authority.vouch("mta-sts.d0.test"), String::new());
    let other = stage.host(1, Some(&self_signed("mx1.test")));
    stage.zone.remove("_mta-sts.d1.test", TXT);
    let daemon = stage.daemon(&["queue.workers=2", "timeouts.remote=\"3s\""]);
    submit(&daemon, "x@d0.test");
    wait_for("the question for the policy", 30, || (policy_host.asked().len() == 1).then_some(()));
    let begun = Instant::now();
    submit(&daemon, "x@d1.test");
    wait_for("the other message", 30, || (other.given().len() == 1).then_some(()));
    assert!(mute.given().is_empty() && begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(delivered(&daemon, "x@d0.test").contains(", unverified\""));
}
