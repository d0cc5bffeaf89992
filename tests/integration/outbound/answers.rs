//! What name servers may say of a domain, right and wrong, and what comes of its mail: whether it waits, what its sender hears,
//! and that it arrives once they say better.

use super::zone::{A, CNAME, MX, NXDOMAIN, SERVFAIL, Wrong, Zone, exchange};
use super::{daemon, local, reason, submit};
use crate::common::{Daemon, Setup, Sink, fixed_port, wait_for};
use std::net::SocketAddr;

crate::tests![each_answer_once, what_they_never_tell_comes_back];

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Arrives,
    /// It waits for this reason.
    Waits(&'static str),
    /// It comes back at once, with this status.
    Fails(&'static str),
}
use Then::{Arrives, Fails, Waits};

/// What the name servers do not tell.
const UNTOLD: Then = Waits("4.4.3 The name servers did not tell where mail for");

/// Says all there is to say of domain `dN.test`.
struct Case {
    what: &'static str,
    say: fn(&Zone, &str),
    then: Then,
}

fn case(what: &'static str, then: Then, say: fn(&Zone, &str)) -> Case {
    Case { what, say, then }
}

/// Where nobody listens.
fn dead(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([127, 1, high, low], 0))
}

/// A domain that is an alias, by so many of them.
fn chain(zone: &Zone, domain: &str, links: usize) {
    let name = |link: usize| if link == 0 { domain.to_owned() } else { format!("c{link}.{domain}") };
    (0..links).for_each(|link| zone.alias(&name(link), &name(link + 1), false));
    zone.mx(&name(links), 10, "alive.test", false);
}

fn cases() -> Vec<Case> {
    vec![
        // Aliases.
        case("an alias of itself", UNTOLD, |zone, domain| zone.alias(domain, domain, false)),
        case("a circle of aliases", UNTOLD, |zone, domain| {
            zone.alias(domain, &format!("x.{domain}"), false);
            zone.alias(&format!("x.{domain}"), domain, false);
        }),
        case("as many aliases as are followed", Arrives, |zone, domain| chain(zone, domain, 8)),
        case("more aliases than are followed", UNTOLD, |zone, domain| chain(zone, domain, 9)),
        case("an alias of nothing", Fails("5.1.2"), |zone, domain| {
            zone.alias(domain, "nothing.test", false);
            zone.wrong("nothing.test", MX, Wrong::Code(NXDOMAIN));
        }),
        case("a host that is an alias", Arrives, |zone, domain| {
            zone.mx(domain, 10, &format!("x.{domain}"), false);
            zone.alias(&format!("x.{domain}"), "alive.test", false);
        }),
        case("a host that is an alias of itself", UNTOLD, |zone, domain| {
            zone.mx(domain, 10, &format!("x.{domain}"), false);
            zone.alias(&format!("x.{domain}"), &format!("x.{domain}"), false);
        }),
        // Much.
        case("hundreds of hosts, one alive", Arrives, |zone, domain| {
            (0..250).for_each(|number| zone.mx(domain, if number == 200 { 1 } else { 5 }, &host(domain, number), false));
            zone.alias(&host(domain, 200), "alive.test", false);
        }),
        case("hundreds of hosts, all dead", Waits("4.4.1 The host h"), |zone, domain| {
            for number in 0..600 {
                zone.mx(domain, number, &host(domain, number), false);
                zone.host(&host(domain, number), dead(number), false);
            }
        }),
        case("thousands of addresses, the first alive", Arrives, |zone, domain| {
            zone.host(domain, local(7, 0), false);
            (0..4000).for_each(|number| zone.host(domain, dead(1000 + number), false));
        }),
        case("thousands of addresses, all dead", Waits("4.4.1 The host d"), |zone, domain| {
            (0..4000).for_each(|number| zone.host(domain, dead(5000 + number), false));
        }),
        // Of something else.
        case("another question's answer", UNTOLD, |zone, domain| {
            zone.wrong(domain, MX, Wrong::Question(exchange(10, "evil.test")));
        }),
        case("another name's host", Arrives, |zone, domain| {
            zone.wrong(domain, MX, Wrong::Owner(exchange(10, "evil.test")));
            zone.host(domain, local(7, 0), false);
        }),
        // Nothing.
        case("an answer that is cut, by TCP too", UNTOLD, |zone, domain| zone.wrong(domain, MX, Wrong::Cut)),
        case("a host's that is", UNTOLD, |zone, domain| {
            zone.mx(domain, 10, &host(domain, 0), false);
            zone.wrong(&host(domain, 0), A, Wrong::Cut);
        }),
        case("silence", UNTOLD, |zone, domain| zone.wrong(domain, MX, Wrong::Silent)),
        case("an error", UNTOLD, |zone, domain| zone.wrong(domain, MX, Wrong::Code(SERVFAIL))),
        case("an error for the host", UNTOLD, |zone, domain| {
            zone.mx(domain, 10, &host(domain, 0), false);
            zone.fail(&host(domain, 0), A);
        }),
        case("an error for one of two hosts", Arrives, |zone, domain| {
            zone.mx(domain, 10, &host(domain, 0), false);
            zone.mx(domain, 20, "alive.test", false);
            zone.fail(&host(domain, 0), A);
        }),
        case("no such domain", Fails("5.1.2"), |zone, domain| zone.wrong(domain, MX, Wrong::Code(NXDOMAIN))),
        case("no records at all", Fails("5.4.4"), |_, _| {}),
        case("a host without addresses", Fails("5.4.4"), |zone, domain| zone.mx(domain, 10, &host(domain, 0), false)),
        case("null MX", Fails("5.1.10"), |zone, domain| zone.mx(domain, 0, "", false)),
        case("null MX beside a host", Arrives, |zone, domain| {
            zone.mx(domain, 0, "", false);
            zone.mx(domain, 10, "alive.test", false);
        }),
    ]
}

fn host(domain: &str, number: u16) -> String {
    format!("h{number}.{domain}")
}

fn domain(number: usize) -> String {
    format!("d{number}.test")
}

fn recipient(number: usize) -> String {
    format!("x@{}", domain(number))
}

/// Alice's reports on a recipient.
fn reports(daemon: &Daemon, to: &str) -> Vec<String> {
    let mail = daemon.mail("alice").into_iter().map(|mail| String::from_utf8_lossy(&mail).into_owned());
    mail.filter(|report| report.contains(&format!("\r\nFinal-Recipient: rfc822; {to}\r\n"))).collect()
}

fn failed(status: &str) -> String {
    format!("\r\nAction: failed\r\nStatus: {status}\r\n")
}

/// Each domain has its letter tried once; then all is said as it should be.
fn each_answer_once() {
    let (port, cases, zone) = (fixed_port(), cases(), Zone::start());
    let (alive, evil) = (Sink::at(local(7, port), |_| None), Sink::at(local(6, port), |_| None));
    zone.host("alive.test", alive.address, false);
    zone.host("evil.test", evil.address, false);
    for (number, case) in cases.iter().enumerate() {
        (case.say)(&zone, &domain(number));
    }
    let daemon = daemon(&zone, port, &[]);
    (0..cases.len()).for_each(|number| submit(&daemon, &recipient(number)));
    let arrived = |to: &str| alive.arrived().iter().filter(|mail| mail.to == [format!("<{to}>")]).count();
    for (number, Case { what, then, .. }) in cases.iter().enumerate() {
        let to = recipient(number);
        match then {
            Arrives => wait_for(&format!("{what}: {}", reason(&daemon, &to)), 60, || (arrived(&to) == 1).then_some(())),
            Waits(why) => {
                let reason = wait_for(what, 60, || Some(reason(&daemon, &to)).filter(|reason| !reason.is_empty()));
                assert!(reason.contains(why), "{what}: {reason}");
                assert!(reports(&daemon, &to).is_empty(), "{what}");
            }
            Fails(status) => {
                let report = wait_for(what, 60, || reports(&daemon, &to).pop());
                assert!(report.contains(&failed(status)), "{what}: {report}");
            }
        }
        // However many there are, few are asked.
        let asked = |line: &&str| line.contains("event=not-reached") && line.contains(&format!("hop={} ", domain(number)));
        let calls = daemon.log().lines().filter(asked).count();
        let least = usize::from(matches!(then, Waits(why) if why.starts_with("4.4.1")));
        assert!((least..=10).contains(&calls), "{what}: {calls} calls");
    }
    let mut waiting: Vec<usize> = (0..cases.len()).filter(|number| matches!(cases[*number].then, Waits(_))).collect();
    wait_for("only what waits", 60, || (daemon.queue().len() == waiting.len()).then_some(()));
    for &number in &waiting {
        [MX, CNAME, A].into_iter().for_each(|kind| zone.remove(&domain(number), kind));
        zone.mx(&domain(number), 10, "alive.test", false);
    }
    assert!(daemon.ctl(&["queue", "flush"]).status.success());
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
    waiting.extend((0..cases.len()).filter(|number| cases[*number].then == Arrives));
    for number in waiting {
        let to = recipient(number);
        assert_eq!((arrived(&to), reports(&daemon, &to).len()), (1, 0), "{}", cases[number].what);
    }
    assert!(evil.seen().is_empty(), "{:?}", evil.seen());
}

/// Those that are quick to say nothing of use never say better.
fn what_they_never_tell_comes_back() {
    let (zone, mut cases) = (Zone::start(), cases());
    cases.retain(|case| case.then == UNTOLD && !["silence", "another question's answer"].contains(&case.what));
    for (number, case) in cases.iter().enumerate() {
        (case.say)(&zone, &domain(number));
    }
    let options = [format!("dns.servers=[\"{}\"]", zone.address), "queue.retry=[\"1s\"]".into(), "queue.lifetime=\"2s\"".into()];
    let daemon = Setup { options: options.to_vec(), ..Setup::default() }.config("[queue]\nwarn = \"0s\"\n").start();
    (0..cases.len()).for_each(|number| submit(&daemon, &recipient(number)));
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
    for (number, case) in cases.iter().enumerate() {
        let reports = reports(&daemon, &recipient(number));
        assert!(reports.len() == 1 && reports[0].contains(&failed("4.4.7")), "{}: {reports:?}", case.what);
        assert!(reports[0].contains("The name servers did not tell where mail for"), "{}: {reports:?}", case.what);
    }
}
