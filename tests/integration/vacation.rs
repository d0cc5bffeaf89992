//! Replies of who is away (RFC 3834), from the tool to the other host.

use crate::common::{Daemon, Setup, Sink, pillarboxctl, wait_for};
use std::collections::BTreeMap;

crate::tests![
    who_writes_is_answered_once,
    what_is_not_to_be_answered,
    two_who_are_away_end_it,
    a_kill_makes_no_second_reply,
    it_is_set_and_shown_and_taken_back,
];

/// Mail for far.test goes to the sink, and bob's is answered.
fn world() -> (Sink, Daemon) {
    let sink = Sink::with(|line| line.starts_with("EHLO").then(|| "250-sink.test\r\n250 DSN".to_owned()));
    let config = format!("[[route]]\ndomain = \"far.test\"\nhost = \"{}\"\n", sink.address);
    let mut daemon = Setup::default().config(&config).users(&["alice", "bob"]).prepare();
    daemon.pin_ports();
    daemon.start();
    set(&daemon, &["bob"], "I am away.\n");
    (sink, daemon)
}

fn set(daemon: &Daemon, words: &[&str], text: &str) {
    let output = pillarboxctl(&daemon.config(), &[&["vacation", "set"], words].concat(), text.as_bytes());
    assert!(output.status.success(), "{output:?}");
}

fn letter(from: &str, to: &str, more: &str) -> Vec<u8> {
    format!("From: {from}\r\nTo: {to}\r\nSubject: hello\r\nMessage-ID: <1.{from}>\r\n{more}\r\ntext\r\n").into_bytes()
}

/// Hands one in for bob.
fn send(daemon: &Daemon, from: &str, message: &[u8]) {
    let reply = daemon.smtp().send(from, &["bob@here.test"], message).unwrap();
    assert!(reply.starts_with("250"), "{from}: {reply}");
}

fn who_writes_is_answered_once() {
    let (sink, daemon) = world();
    for from in ["friend@far.test", "friend@far.test", "friend+again@far.test", "other@far.test"] {
        send(&daemon, from, &letter(from, "Bob <BOB@here.test>", "References: <0@far.test>\r\n"));
    }
    let arrived = wait_for("the replies", 30, || (sink.count() == 2 && daemon.queue().is_empty()).then(|| sink.arrived()));
    let to_friend = arrived.iter().find(|one| one.to[0].starts_with("<friend@far.test>")).unwrap();
    assert!(to_friend.from.starts_with("<>"), "{}", to_friend.from);
    assert!(to_friend.to[0].contains("NOTIFY=NEVER"), "{:?}", to_friend.to);
    let text = String::from_utf8(to_friend.message.clone()).unwrap();
    for line in [
        "From: <BOB@here.test>",
        "To: <friend@far.test>",
        "Subject: Auto: hello",
        "In-Reply-To: <1.friend@far.test>",
        "References: <0@far.test>\r\n\t<1.friend@far.test>",
        "Auto-Submitted: auto-replied",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line}: {text}");
    }
    assert!(text.ends_with("\r\n\r\nI am away.\r\n"), "{text}");
    assert_eq!(daemon.mail("bob").len(), 4);
}

/// Replies are made before a sender hears that a message is taken, so none can be late.
fn what_is_not_to_be_answered() {
    let (sink, daemon) = world();
    let to = "bob@here.test";
    for (from, to, more) in [
        ("", to, ""),
        ("owner-list@far.test", to, ""),
        ("list-request@far.test", to, ""),
        ("MAILER-DAEMON@far.test", to, ""),
        ("a1@far.test", to, "Auto-Submitted: auto-replied\r\n"),
        ("a2@far.test", to, "Auto-submitted: auto-generated (by a robot)\r\n"),
        ("a3@far.test", to, "Precedence: bulk\r\n"),
        ("a4@far.test", to, "Precedence: Junk\r\n"),
        ("a5@far.test", to, "List-Id: <x.far.test>\r\n"),
        ("a6@far.test", to, "List-Unsubscribe:\r\n <mailto:x@far.test>\r\n"),
        ("a7@far.test", "undisclosed-recipients:;", ""),
        ("a8@far.test", "\"bob@here.test\" <list@far.test>", ""),
        ("bob@here.test", to, ""),
        ("bob+notes@here.test", to, ""),
    ] {
        send(&daemon, from, &letter(from, to, more));
    }
    send(&daemon, "person@far.test", &letter("person@far.test", "list@far.test, bob+x@here.test", "Auto-Submitted: no\r\n"));
    wait_for("the only reply", 30, || (sink.count() > 0 && daemon.queue().is_empty()).then_some(()));
    let to: Vec<String> = sink.arrived().into_iter().flat_map(|arrived| arrived.to).collect();
    assert!(to.len() == 1 && to[0].starts_with("<person@far.test>"), "{to:?}");
    // Nobody bounced anything, and bob wrote nothing to himself.
    assert_eq!((daemon.mail("bob").len(), daemon.mail("alice").len()), (15, 0));
    // Of addresses that the user says are his, one is enough.
    set(&daemon, &["bob", "--addresses", "robert@elsewhere.test"], "I am away.\n");
    send(&daemon, "person2@far.test", &letter("person2@far.test", "Robert@Elsewhere.test", ""));
    let arrived = wait_for("the reply", 30, || (sink.count() == 2).then(|| sink.arrived()));
    // But nobody writes under a name that is not his here.
    assert!(String::from_utf8_lossy(&arrived[1].message).contains("From: <bob@here.test>\r\n"), "{arrived:?}");
}

fn two_who_are_away_end_it() {
    let (_sink, daemon) = world();
    set(&daemon, &["alice", "--subject", "Alice is away", "--from", "Älice <alice@here.test>"], "Me too.\n");
    send(&daemon, "alice@here.test", &letter("alice@here.test", "bob@here.test", ""));
    wait_for("silence", 30, || daemon.queue().is_empty().then_some(()));
    let (alice, bob) = (daemon.mail("alice"), daemon.mail("bob"));
    assert!(alice.len() == 1 && bob.len() == 1, "{} {}", alice.len(), bob.len());
    assert!(String::from_utf8_lossy(&alice[0]).contains("Subject: Auto: hello\r\n"));
    let reply =
        daemon.smtp().send("bob@here.test", &["alice@here.test"], &letter("bob@here.test", "alice@here.test", "")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let bob = daemon.mail("bob");
    let told = String::from_utf8_lossy(&bob[1]);
    assert!(
        told.contains("Subject: Alice is away\r\n") && told.contains("From: =?utf-8?B?w4RsaWNl?= <alice@here.test>\r\n"),
        "{told}"
    );
    // What answers is not answered, in whatever way it is said.
    assert_eq!((daemon.mail("alice").len(), bob.len()), (2, 2));
}

/// Whatever is answered before a kill is not answered after it, and mail that was taken is there.
fn a_kill_makes_no_second_reply() {
    let (sink, mut daemon) = world();
    let mut taken = 0;
    for round in 0..4 {
        for sender in 0..12 {
            let from = format!("s{sender}@far.test");
            let message = letter(&from, "bob@here.test", "");
            taken +=
                usize::from(daemon.smtp().send(&from, &["bob@here.test"], &message).is_ok_and(|reply| reply.starts_with("250")));
            if sender == 3 * round {
                daemon.kill();
                daemon.start();
            }
        }
    }
    daemon.wait_for_mail("bob", taken, 30);
    wait_for("the replies", 60, || daemon.queue().is_empty().then_some(()));
    // One that was sent on before the kill may be sent on again: it is the same.
    let mut replies: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in sink.arrived() {
        let text = String::from_utf8(one.message).unwrap();
        let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap().to_owned();
        let ids = replies.entry(one.to[0].clone()).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    assert!(replies.values().all(|ids| ids.len() == 1), "{replies:?}");
    // A reply that a kill cut short is lost at most.
    assert!(replies.len() >= 8, "{replies:?}");
}

fn it_is_set_and_shown_and_taken_back() {
    let (sink, daemon) = world();
    let tool = |words: &[&str], input: &str| {
        let output = pillarboxctl(&daemon.config(), &[&["vacation"], words].concat(), input.as_bytes());
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    assert_eq!(tool(&["show", "alice"], ""), (Some(0), "off\n".to_owned()));
    assert_eq!(tool(&["show", "bob"], "").1, "on\n\nDays: 7\n\nI am away.\n");
    let (code, said) = tool(&["set", "bob", "--since", "2030-01-01", "--days", "0"], "x\n");
    assert!(code == Some(64) && said.contains("--days: expected a number from 1 to 60"), "{said}");
    assert_eq!(tool(&["set", "bob"], "").0, Some(65));
    assert_eq!(tool(&["set", "nobody-here"], "x").0, Some(67));
    // Of another time.
    assert_eq!(tool(&["set", "bob", "--since", "2990-01-01", "--until", "2990-01-31"], "x\n").0, Some(0));
    assert!(tool(&["show", "bob"], "").1.starts_with("not today\n\nSince: 2990-01-01\nUntil: 2990-01-31\n"));
    send(&daemon, "one@far.test", &letter("one@far.test", "bob@here.test", ""));
    assert_eq!(tool(&["set", "bob", "--until", "2999-12-31"], "x\n").0, Some(0));
    send(&daemon, "two@far.test", &letter("two@far.test", "bob@here.test", ""));
    assert_eq!(tool(&["off", "bob"], ""), (Some(0), "off\n".to_owned()));
    send(&daemon, "three@far.test", &letter("three@far.test", "bob@here.test", ""));
    wait_for("the only reply", 30, || (sink.count() > 0 && daemon.queue().is_empty()).then_some(()));
    let to: Vec<String> = sink.arrived().into_iter().flat_map(|arrived| arrived.to).collect();
    assert!(to.len() == 1 && to[0].starts_with("<two@far.test>"), "{to:?}");
    // The others' is none of one's business.
    let output = daemon.ctl(&["vacation", "show", "bob", "--json"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "null");
}
