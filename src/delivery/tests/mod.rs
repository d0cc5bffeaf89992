//! The whole room, with a real journal and real mailboxes on a disk of memory, and other hosts on loopback.

mod alternatives;
mod clock;
mod drops;
mod filing;
mod house;
mod junk;
mod lists;
mod measure;
mod peer;
mod queue;
mod quota;
mod replacing;
mod reports;
mod restart;
mod routing;
mod scheduled;
mod vacation;

use super::*;
use house::{House, read};
use peer::Peer;

const TEXT: &str = "From: a\nSubject: x\n\nhello\n";

#[test]
fn local_mail_is_there_when_it_is_sent() {
    let house = House::new("");
    let id = house.post("carol@other.example", &["alice@me.example", "Bob+lists@ME.example"], TEXT).unwrap();
    for (user, recipient) in [("alice", "alice@me.example"), ("bob", "Bob+lists@ME.example")] {
        let mbox = house.mbox(user);
        assert!(mbox.contains(&format!("Delivered-To: {recipient}\n")), "{mbox}");
        assert!(mbox.contains("Return-Path: <carol@other.example>\n"), "{mbox}");
        assert!(
            mbox.contains(&format!("Received: from test ([192.0.2.9])\n\tby me.example (Pillarbox) with ESMTP id {id};\n")),
            "{mbox}"
        );
        assert!(mbox.contains("From: a\nSubject: x\n") && mbox.contains("\n\nhello\n"), "{mbox}");
    }
    assert_eq!(house.queue(), []);
    house.store.checkpoint();
    assert_eq!(house.journal.unsettled(), []);
}

#[test]
fn where_addresses_lead() {
    let house = House::new("[[route]]\ndomain = \"routed.example\"\nhost = \"192.0.2.1:26\"\n");
    let route = |address: &str| house.delivery().post().route(&address.parse().unwrap()).unwrap();
    let name = |address: &str| match route(address) {
        Route::Local(account) => account.name,
        other => format!("{other:?}"),
    };
    for (address, leads_to) in [
        ("ALICE@Me.Example", "alice"),
        ("alice+x@me.example", "alice"),
        ("alice@second.example", "alice"),
        ("+x@me.example", "NoUser"),
        ("nobody@me.example", "NoUser"),
        ("\"al ice\"@me.example", "NoUser"),
        ("PostMaster@second.example", "root"),
        ("mailer-daemon@me.example", "root"),
        ("alice@[127.0.0.1]", "alice"),
        ("alice@[IPv6:::1]", "alice"),
        ("x@[192.0.2.7]", "Remote(Literal(192.0.2.7))"),
        ("x@There.Example", "Remote(Domain(\"there.example\"))"),
        ("alice@sub.me.example", "Remote(Domain(\"sub.me.example\"))"),
        ("x@Routed.Example", "Remote(Host(\"192.0.2.1\", 26))"),
    ] {
        assert_eq!(name(address), leads_to, "{address}");
    }
    let house = House::new("domains = [\"org.example\"]\npostmaster = \"bob\"\n[queue]\nsmarthost = \"relay.example:587\"\n");
    let route = |address: &str| house.delivery().post().route(&address.parse().unwrap()).unwrap();
    assert_eq!(route("alice@me.example"), Route::NoUser);
    assert!(matches!(route("postmaster@me.example"), Route::Local(account) if account.name == "bob"));
    assert_eq!(route("x@there.example"), Route::Remote(Hop::Host("relay.example".into(), 587)));
}

#[test]
fn what_is_not_taken_leaves_nothing() {
    let house = House::new("");
    let hops = format!("{}\n\nx\n", "Received: x\n".repeat(100));
    assert!(matches!(house.post("", &["alice@me.example"], &hops), Err(PostError::Loop)));
    let long = format!("X: {}\n\nx\n", "x".repeat(300_000));
    assert!(matches!(house.post("", &["alice@me.example"], &long), Err(PostError::HeaderTooBig)));
    drop(house.begin("", &["alice@me.example"], false).unwrap());
    assert_eq!((house.mbox("alice"), house.journal.unsettled()), (String::new(), vec![]));
}

#[test]
fn a_letter_may_come_in_any_pieces() {
    let house = House::new("");
    let text = "Bcc: secret\n folded\nSubject: x\nX-Spool-Id: forged\n\nbody\nBcc: kept\n";
    let mut bodies = Vec::new();
    for size in [1, 2, 3, 7, 50, 1000] {
        let mut letter = house.begin("a@other.example", &["alice@me.example"], true).unwrap();
        for piece in text.as_bytes().chunks(size) {
            io::Write::write_all(&mut letter, piece).unwrap();
        }
        let id = letter.send().unwrap();
        let message = read(&house.delivery().entry(id).unwrap().message);
        let (head, body) = message.split_once("\n\n").unwrap();
        assert!(head.contains("\n\tfor <alice@me.example>;\n"), "{head}");
        assert!(head.contains(&format!("\nMessage-ID: <{id}@me.example>\n")) && head.contains("\nDate: "), "{head}");
        assert!(head.ends_with("\nSubject: x") && !head.contains("secret") && !head.contains("folded"), "{head}");
        bodies.push(body.to_owned());
    }
    assert!(bodies.iter().all(|body| body == "body\nBcc: kept\n"), "{bodies:?}");
}

#[test]
fn mail_that_goes_in_a_circle_comes_back() {
    let house = House::new("");
    house.post("bob@me.example", &["alice@me.example"], "Delivered-To: Alice@me.example\nSubject: x\n\nhi\n").unwrap();
    assert_eq!(house.mbox("alice"), "");
    let report = house.mbox("bob");
    assert!(report.contains("Status: 5.4.6\n") && report.contains("\nDelivered-To: Alice@me.example\n"), "{report}");
}

#[test]
fn a_report_is_the_outcome() {
    let peer = Peer::start();
    let house = House::new(&peer.route());
    let id = house.post("bob@me.example", &["a@there.example", "550@there.example", "551@there.example"], TEXT).unwrap();
    house.wait("the report", || house.mbox("bob").contains("Final-Recipient: rfc822; 551@there.example"));
    let report = house.mbox("bob");
    assert_eq!(report.matches("\nFrom ").count(), 0, "one report for both: {report}");
    assert!(report.starts_with("From MAILER-DAEMON ") || report.contains("Return-Path: <>\n"), "{report}");
    assert!(report.contains("Diagnostic-Code: smtp; 550 5.1.1 no\n"), "{report}");
    assert!(!report.contains("rfc822; a@there.example"), "{report}");
    house.wait("all outcomes", || house.journal.waiting(id).is_none());
    let [(recipients, message)] = &peer.messages()[..] else { panic!("{:?}", peer.messages()) };
    assert_eq!(recipients, &["a@there.example"]);
    assert!(message.ends_with("From: a\r\nSubject: x\r\n\r\nhello\r\n.\r\n"), "{message}");
}

#[test]
fn a_report_is_not_reported() {
    let peer = Peer::start();
    let house = House::new(&peer.route());
    let id = house.post("", &["550@there.example", "nobody@me.example"], TEXT).unwrap();
    let other = house.post("550@there.example", &["nobody@me.example"], TEXT).unwrap();
    house.wait("all outcomes", || house.journal.unsettled().is_empty());
    assert!(house.journal.waiting(id).is_none() && house.journal.waiting(other).is_none());
    assert_eq!((peer.messages(), house.mbox("root")), (vec![], String::new()));
}

#[test]
fn unknown_users_of_our_own_come_back() {
    let house = House::new("");
    house.post("bob@me.example", &["alice@me.example", "nobody@me.example"], TEXT).unwrap();
    assert!(house.mbox("alice").contains("hello"));
    assert!(house.mbox("bob").contains("Final-Recipient: rfc822; nobody@me.example\nAction: failed\nStatus: 5.1.1\n"));
}
