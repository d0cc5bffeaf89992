//! Alternative receivers: what one can't get another one gets, and the sender is told.

use crate::common::{Daemon, Setup, Sink, letter, wait_for};

crate::tests![
    what_is_refused_goes_to_another,
    what_waits_too_long_goes_to_another,
    two_that_stand_in_for_each_other_end_it,
    what_fails_there_too_comes_back,
];

/// Mail for far.test goes to the sink.
fn world(sink: &Sink, more: &str) -> Daemon {
    let route = format!("[[route]]\ndomain = \"far.test\"\nhost = \"{}\"\n", sink.address);
    let relay = "[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n[queue]\nretry = [\"1h\"]\n";
    let mut daemon = Setup::default().config(&format!("{route}{relay}{more}")).users(&["alice", "bob"]).prepare();
    daemon.pin_ports();
    daemon.start();
    daemon
}

fn refusing(line: &str) -> Option<String> {
    line.starts_with("RCPT TO:<gone").then(|| "550 5.1.1 nobody of that name".to_owned())
}

/// From bob.
fn send(daemon: &Daemon, to: &[&str]) {
    let reply = daemon.smtp().send("bob@here.test", to, &letter("for somebody", "text")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

fn texts(daemon: &Daemon, user: &str) -> Vec<String> {
    daemon.mail(user).into_iter().map(|message| String::from_utf8(message).unwrap()).collect()
}

fn what_is_refused_goes_to_another() {
    let sink = Sink::with(refusing);
    let daemon = world(
        &sink,
        "[[alternative]]\naddress = \"far.test\"\nto = \"other@far.test\"\n\
         [[alternative]]\naddress = \"Gone@far.test\"\nto = \"alice@here.test\"\n",
    );
    send(&daemon, &["gone@far.test", "fine@far.test", "gone2@far.test"]);
    daemon.wait_for_mail("alice", 1, 30);
    wait_for("the queue", 30, || daemon.queue().is_empty().then_some(()));
    let alice = texts(&daemon, "alice");
    assert!(alice.len() == 1 && alice[0].contains("Delivered-To: gone@far.test\r\n"), "{alice:?}");
    let mut to: Vec<String> = sink.arrived().into_iter().flat_map(|one| one.to).collect();
    to.sort();
    assert!(to.len() == 2 && to[0].starts_with("<fine@") && to[1].starts_with("<other@"), "{to:?}");
    // One report of both, which does not say where it goes, and none of failure.
    let bob = texts(&daemon, "bob");
    assert_eq!(bob.len(), 1, "{bob:?}");
    for line in [
        "Subject: Your message goes to another address",
        "Final-Recipient: rfc822; gone@far.test",
        "Final-Recipient: rfc822; gone2@far.test",
        "Action: delayed",
        "Status: 4.1.1",
        "Diagnostic-Code: smtp; 550 5.1.1 nobody of that name",
    ] {
        assert!(bob[0].contains(&format!("{line}\r\n")), "{line}: {}", bob[0]);
    }
    assert!(!bob[0].contains("alice") && !bob[0].contains("other@"), "{}", bob[0]);
    // Who wants to hear of nothing hears nothing.
    let mut smtp = daemon.smtp();
    smtp.expect("MAIL FROM:<bob@here.test>", "250").unwrap();
    smtp.expect("RCPT TO:<gone@far.test> NOTIFY=NEVER", "250").unwrap();
    smtp.expect("DATA", "354").unwrap();
    smtp.talk.send(b"Subject: x\r\n\r\nx\r\n.\r\n").unwrap();
    assert!(smtp.reply().unwrap().starts_with("250"));
    daemon.wait_for_mail("alice", 2, 30);
    wait_for("the queue", 30, || daemon.queue().is_empty().then_some(()));
    assert_eq!(daemon.mail("bob").len(), 1);
}

fn what_waits_too_long_goes_to_another() {
    let sink = Sink::with(|line| line.starts_with("RCPT TO:<busy").then(|| "451 4.2.1 not now".to_owned()));
    let daemon = world(&sink, "[[alternative]]\naddress = \"busy@far.test\"\nto = \"alice@here.test\"\nafter = \"2s\"\n");
    send(&daemon, &["busy@far.test", "busy2@far.test"]);
    // The retry of an hour does not keep it.
    daemon.wait_for_mail("alice", 1, 30);
    let queue = wait_for("the other one", 30, || Some(daemon.queue()).filter(|queue| queue.len() == 1));
    assert!(queue[0].to_string().contains("busy2@far.test") && !queue[0].to_string().contains("busy@far.test"), "{queue:?}");
    let bob = daemon.wait_for_mail("bob", 1, 30);
    assert!(String::from_utf8_lossy(&bob[0]).contains("Status: 4.2.1\r\n"));
}

fn two_that_stand_in_for_each_other_end_it() {
    let sink = Sink::with(refusing);
    let daemon = world(
        &sink,
        "[[alternative]]\naddress = \"gone1@far.test\"\nto = \"gone2@far.test\"\n\
         [[alternative]]\naddress = \"gone2@far.test\"\nto = \"gone1@far.test\"\n",
    );
    send(&daemon, &["gone1@far.test"]);
    wait_for("the failure", 30, || texts(&daemon, "bob").iter().any(|text| text.contains("Action: failed")).then_some(()));
    wait_for("the queue", 30, || daemon.queue().is_empty().then_some(()));
    let bob = texts(&daemon, "bob");
    assert_eq!(bob.len(), 2, "{bob:?}");
    assert!(bob.iter().any(|text| text.contains("Action: failed") && text.contains("Final-Recipient: rfc822; gone2@far.test")));
    assert_eq!(sink.seen().iter().filter(|line| line.starts_with("RCPT")).count(), 2, "{:?}", sink.seen());
}

fn what_fails_there_too_comes_back() {
    let sink = Sink::with(refusing);
    let daemon = world(&sink, "[[alternative]]\naddress = \"gone@far.test\"\nto = \"nobody-here@here.test\"\n");
    send(&daemon, &["gone@far.test"]);
    let bob = daemon.wait_for_mail("bob", 2, 30);
    let failed = bob.iter().map(|text| String::from_utf8_lossy(text)).find(|text| text.contains("Action: failed")).unwrap();
    assert!(failed.contains("Final-Recipient: rfc822; nobody-here@here.test") && failed.contains("Status: 5.1.1"), "{failed}");
}
