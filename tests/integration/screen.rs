//! Mail from strangers: blocklists, greylisting, bounds on networks and senders, and those who guess addresses.

use crate::common::{Daemon, NameServer, Setup, Smtp, wait_for};
use crate::proxy::{set_up_behind, smtp, v1};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

crate::tests![
    listed_clients_are_refused,
    a_list_that_lists_all_lists_nobody,
    strangers_come_again,
    networks_and_senders_have_bounds,
    guessers_wait,
];

/// A daemon with one more listener, where clients are who they say they are.
fn screened(setup: Setup, more: &str) -> (Daemon, SocketAddr) {
    set_up_behind(setup, "127.0.0.1", "smtp", "none", more)
}

fn asking(dns: &NameServer) -> Setup {
    Setup::options(&[&format!("dns.servers={}", dns.address)])
}

fn mail(smtp: &mut Smtp, sender: &str, recipient: &str, code: &str) -> String {
    smtp.expect(&format!("MAIL FROM:<{sender}>"), "250").unwrap();
    let said = smtp.expect(&format!("RCPT TO:<{recipient}>"), code).unwrap();
    smtp.expect("RSET", "250").unwrap();
    said
}

fn listed_clients_are_refused() {
    let dns = NameServer::start(&[
        "--host-record=7.2.0.192.bl.test,127.0.0.2",
        "--txt-record=7.2.0.192.bl.test,see https://bl.test/192.0.2.7",
        "--host-record=8.2.0.192.bl.test,127.255.255.254",
        "--host-record=9.2.0.192.bl.test,192.0.2.1",
        "--host-record=a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test,127.0.0.4",
    ]);
    let more = "[screen]\nblocklists = [\"none.test\", \"bl.test\"]\n\
                [allow]\nnetworks = [\"192.0.2.64/26\"]\nsenders = [\"friend@pals.test\", \"partner.test\"]\n";
    let (daemon, at) = screened(asking(&dns), more);
    let mut bad = smtp(at, &v1("192.0.2.7"));
    let said = mail(&mut bad, "x@spam.test", "alice@here.test", "554");
    assert!(said.contains("554 5.7.1 192.0.2.7 is listed by bl.test: see https://bl.test/192.0.2.7"), "{said}");
    daemon.wait_for_log(
        60,
        "smtp screened rule=\"screen.blocklists bl.test\" peer=192.0.2.7 from=<x@spam.test> to=<alice@here.test> code=554 \
         allow=\"allow.networks 192.0.2.7 or allow.senders x@spam.test\"",
    );
    // Who is refused can complain; who does not exist does not exist for it either.
    mail(&mut bad, "x@spam.test", "Postmaster@here.test", "250");
    mail(&mut bad, "x@spam.test", "nobody@here.test", "550");
    mail(&mut bad, "Friend@Pals.test", "alice@here.test", "250");
    mail(&mut bad, "x@partner.test", "alice@here.test", "250");
    mail(&mut bad, "", "alice@here.test", "554");
    for (client, code) in [("192.0.2.8", "250"), ("192.0.2.9", "250"), ("192.0.2.70", "250"), ("2001:db8::a", "554")] {
        mail(&mut smtp(at, &v1(client)), "x@spam.test", "alice@here.test", code);
    }
    daemon.wait_for_log(60, "event=blocklist-refuses zone=bl.test answer=127.255.255.254");
    // Without an answer nobody is listed.
    drop(dns);
    mail(&mut smtp(at, &v1("192.0.2.10")), "x@spam.test", "alice@here.test", "250");
    daemon.wait_for_log(60, "event=blocklist-silent zone=bl.test");
}

fn a_list_that_lists_all_lists_nobody() {
    let dns = NameServer::start(&["--address=/bl.test/127.0.0.2"]);
    let (daemon, at) = screened(asking(&dns), "[screen]\nblocklists = \"bl.test\"\n");
    mail(&mut smtp(at, &v1("192.0.2.7")), "x@spam.test", "alice@here.test", "250");
    daemon.wait_for_log(60, "event=blocklist-broken zone=bl.test");
}

fn strangers_come_again() {
    let (mut daemon, at) = screened(Setup::default(), "[screen]\ngreylist = \"on\"\ngreylist_wait = \"2s\"\n");
    let said = mail(&mut smtp(at, &v1("192.0.2.7")), "x@first.test", "alice@here.test", "451");
    assert!(said.contains("451 4.7.1 Greylisted"), "{said}");
    // Whoever is on this host is no stranger.
    mail(&mut daemon.smtp(), "x@first.test", "alice@here.test", "250");
    mail(&mut smtp(at, &v1("192.0.2.7")), "x@first.test", "postmaster@here.test", "250");
    // That it has come is kept over a restart.
    daemon.stop();
    daemon.start();
    assert!(
        std::fs::read_to_string(daemon.spool().join("greylist/mail.here.test"))
            .unwrap()
            .starts_with("pillarbox-greylist 1\nwaits ")
    );
    wait_for("its second try, from a neighbour", 60, || {
        let mut smtp = smtp(at, &v1("192.0.2.8"));
        smtp.expect("MAIL FROM:<x@first.test>", "250").unwrap();
        smtp.command("RCPT TO:<alice@here.test>").unwrap().starts_with("250").then_some(())
    });
    // Now it is known, for all it brings, and stays so.
    mail(&mut smtp(at, &v1("192.0.2.9")), "x@second.test", "bob@here.test", "250");
    daemon.stop();
    daemon.start();
    mail(&mut smtp(at, &v1("192.0.2.9")), "x@third.test", "bob@here.test", "250");
    mail(&mut smtp(at, &v1("198.51.100.1")), "x@first.test", "alice@here.test", "451");
}

fn networks_and_senders_have_bounds() {
    let more = "[screen]\nper_network = 3\nper_sender = 2\n[allow]\nnetworks = \"203.0.113.0/24\"\n";
    let (daemon, at) = screened(Setup::default(), more);
    let (mut one, mut other) = (smtp(at, &v1("192.0.2.7")), smtp(at, &v1("198.51.100.1")));
    mail(&mut one, "a@far.test", "alice@here.test", "250");
    mail(&mut other, "A@far.test", "alice@here.test", "250");
    mail(&mut one, "a@far.test", "alice@here.test", "450");
    daemon.wait_for_log(60, "rule=\"screen.per_sender\" peer=192.0.2.7 from=<a@far.test>");
    mail(&mut one, "b@far.test", "alice@here.test", "250");
    mail(&mut one, "", "alice@here.test", "250");
    mail(&mut smtp(at, &v1("192.0.2.200")), "c@far.test", "alice@here.test", "450");
    daemon.wait_for_log(60, "rule=\"screen.per_network\" peer=192.0.2.200 from=<c@far.test>");
    let mut allowed = smtp(at, &v1("203.0.113.7"));
    (0..9).for_each(|_| drop(mail(&mut allowed, "d@far.test", "alice@here.test", "250")));
}

fn guessers_wait() {
    let (_daemon, at) = screened(Setup::default(), "[limits]\nerrors = 100\n");
    let guess = |client: &str, times: usize| {
        let mut smtp = smtp(at, &v1(client));
        let begun = Instant::now();
        (0..times).for_each(|n| drop(mail(&mut smtp, "x@far.test", &format!("guess{n}@here.test"), "550")));
        begun.elapsed()
    };
    // The first three cost nothing, the next a quarter of a second, half a second and a second.
    assert!(guess("192.0.2.7", 6) >= Duration::from_millis(1750));
    assert!(guess("192.0.2.7", 1) >= Duration::from_secs(2), "also in a new session");
    let known = guess("198.51.100.7", 3);
    assert!(known < Duration::from_secs(1), "{known:?}");
}
