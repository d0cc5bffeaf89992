//! Reports that senders ask for (RFC 3461): those they want, once, and no others.

use super::{House, Peer, TEXT};

fn count(text: &str, word: &str) -> usize {
    text.matches(word).count()
}

#[test]
fn success_is_told_when_the_copy_is_durable() {
    let house = House::new("");
    let to = ["bob@me.example", "alice@me.example"];
    house.post_asking(&["ENVID=my+2Bown", "RET=FULL"], &["NOTIFY=SUCCESS", "ORCPT=rfc822;Old@me.example"], &to, TEXT).unwrap();
    assert_eq!(count(&house.mbox("bob"), "hello"), 1);
    assert_eq!(count(&house.mbox("alice"), "Action: "), 0, "told too early");
    house.store.checkpoint();
    let mbox = house.mbox("alice");
    assert_eq!((count(&mbox, "report-type="), count(&mbox, "Action: delivered")), (1, 2), "{mbox}");
    for part in [
        "Original-Envelope-Id: my+own\n",
        "Original-Recipient: rfc822; Old@me.example\nFinal-Recipient: rfc822; bob@me.example\nAction: delivered\nStatus: 2.0.0\n",
        "Return-Path: <>\n",
        "Content-Type: text/rfc822-headers\n",
    ] {
        assert!(mbox.contains(part), "{part} is not in {mbox}");
    }
    // The report itself is told of by nobody.
    house.store.checkpoint();
    house.store.checkpoint();
    assert_eq!((count(&house.mbox("alice"), "report-type="), house.journal.unsettled()), (1, vec![]));
}

#[test]
fn nobody_hears_what_was_not_asked_for() {
    let house = House::new("");
    for notify in ["NOTIFY=NEVER", "NOTIFY=FAILURE,DELAY", "NOTIFY=DELAY"] {
        house.post_asking(&[], &[notify], &["bob@me.example"], TEXT).unwrap();
    }
    house.post_asking(&[], &[], &["bob@me.example"], TEXT).unwrap();
    house.post_asking(&[], &["NOTIFY=SUCCESS"], &["gone@me.example"], TEXT).unwrap();
    house.post_asking(&[], &["NOTIFY=NEVER"], &["gone@me.example"], TEXT).unwrap();
    house.store.checkpoint();
    assert_eq!((count(&house.mbox("bob"), "hello"), house.mbox("alice"), house.journal.unsettled()), (4, String::new(), vec![]));
    house.post_asking(&[], &["NOTIFY=FAILURE"], &["gone@me.example"], TEXT).unwrap();
    house.post_asking(&[], &[], &["gone@me.example"], TEXT).unwrap();
    assert_eq!(count(&house.mbox("alice"), "Action: failed"), 2);
}

#[test]
fn only_who_wants_a_delay_told_hears_of_it() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = House::new(&format!("[queue]\nretry = [\"1s\"]\nwarn = \"1s\"\nlifetime = \"2s\"\n{}", peer.route()));
    house.post_asking(&[], &["NOTIFY=FAILURE"], &["quiet@there.example"], TEXT).unwrap();
    house.post_asking(&[], &["NOTIFY=DELAY"], &["late@there.example"], TEXT).unwrap();
    house.wait("outcomes", || house.queue().is_empty());
    let mbox = house.mbox("alice");
    let told = |action: &str, who: &str| mbox.contains(&format!("Final-Recipient: rfc822; {who}\nAction: {action}\n"));
    assert!(told("delayed", "late@there.example") && told("failed", "quiet@there.example"), "{mbox}");
    assert_eq!(count(&mbox, "Action: "), 2, "{mbox}");
}

#[test]
fn the_next_host_is_told_if_it_understands() {
    let peer = Peer::start();
    peer.set_reports(true);
    let house = House::new(&peer.route());
    let (mail, rcpt) = (["ENVID=a+2Bb", "RET=HDRS"], ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;X+2BY@there.example"]);
    let id = house.post_asking(&mail, &rcpt, &["x@there.example"], TEXT).unwrap();
    house.wait("mail", || house.journal.waiting(id).is_none());
    assert_eq!(
        peer.envelopes(),
        [
            "MAIL FROM:<alice@me.example> RET=HDRS ENVID=a+2Bb",
            "RCPT TO:<x@there.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;X+2BY@there.example"
        ]
    );
    let id = house.post_asking(&[], &[], &["x@there.example"], TEXT).unwrap();
    house.wait("mail", || house.journal.waiting(id).is_none());
    assert_eq!(peer.envelopes()[2..], ["MAIL FROM:<alice@me.example>", "RCPT TO:<x@there.example>"]);
    assert_eq!(house.mbox("alice"), "");
}

#[test]
fn of_a_host_that_will_not_report_we_do() {
    let peer = Peer::start();
    let house = House::new(&peer.route());
    let to = ["x@there.example", "y@there.example", "550@there.example"];
    let id = house.post_asking(&["ENVID=a"], &["NOTIFY=SUCCESS"], &to, TEXT).unwrap();
    house.wait("mail", || house.journal.waiting(id).is_none());
    house.wait("report", || house.mbox("alice").contains("report-type="));
    let mbox = house.mbox("alice");
    assert_eq!((count(&mbox, "Action: relayed\nStatus: 2.0.0\n"), count(&mbox, "Action: ")), (2, 2), "{mbox}");
    assert!(peer.envelopes().iter().all(|line| line.ends_with('>')), "{:?}", peer.envelopes());
    for notify in ["NOTIFY=NEVER", "NOTIFY=FAILURE"] {
        let id = house.post_asking(&[], &[notify], &["x@there.example"], TEXT).unwrap();
        house.wait("mail", || house.journal.waiting(id).is_none());
    }
    house.store.checkpoint();
    assert_eq!((count(&house.mbox("alice"), "Action: "), house.journal.unsettled()), (2, vec![]));
}

#[test]
fn a_restart_forgets_no_wish() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = House::new(&format!("[queue]\nretry = [\"1s\"]\n{}", peer.route()));
    let id = house.post_asking(&["ENVID=a"], &["NOTIFY=DELAY"], &["x@there.example"], TEXT).unwrap();
    house.wait("deferral", || house.journal.waiting(id).is_some_and(|message| message.waiting[0].tries > 0));
    let disk = house.disk.after_kill();
    let config = house.config.clone();
    drop(house);
    peer.set_closed(false);
    peer.set_reports(true);
    let house = House::open(disk, config);
    house.wait("mail", || house.journal.waiting(id).is_none());
    assert_eq!(peer.envelopes()[..2], ["MAIL FROM:<alice@me.example> ENVID=a", "RCPT TO:<x@there.example> NOTIFY=DELAY"]);
}

/// Wherever the daemon or the machine stops: who has the message has one report of it in the end.
#[test]
fn a_crash_leaves_one_report() {
    let all = {
        let house = House::new("");
        let begin = house.disk.operations();
        house.post_asking(&[], &["NOTIFY=SUCCESS"], &["bob@me.example"], TEXT).unwrap();
        house.store.checkpoint();
        house.store.checkpoint();
        house.disk.operations() - begin
    };
    assert!(all > 10);
    let mut whole = 0;
    for at in 0..all + 2 {
        let house = House::new("");
        house.disk.stop_at(house.disk.operations() + at);
        let accepted = house.post_asking(&[], &["NOTIFY=SUCCESS"], &["bob@me.example"], TEXT).is_ok();
        house.store.checkpoint();
        house.store.checkpoint();
        let disk = if at % 2 == 0 { house.disk.after_kill() } else { house.disk.after_power_cut(at) };
        let again = House::open(disk, house.config.clone());
        drop(house);
        again.wait("mail", || again.queue().is_empty());
        again.store.checkpoint();
        again.store.checkpoint();
        let (mail, reports) = (count(&again.mbox("bob"), "\n\nhello\n"), count(&again.mbox("alice"), "Action: delivered"));
        assert!(reports == mail && mail <= 1 && (mail == 1 || !accepted), "at {at}: {mail} letters, {reports} reports");
        assert_eq!(again.journal.unsettled(), [], "at {at}");
        whole += mail;
    }
    assert!(whole > 3);
}
