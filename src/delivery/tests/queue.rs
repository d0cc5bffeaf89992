//! What can't be done at once.

use super::{House, Peer, TEXT};
use crate::delivery::clerk::REST;
use crate::delivery::outcome::{self, Trouble, Verdict};
use crate::delivery::runner::InHand;
use crate::delivery::{Counts, Operated, Operation, Which};
use crate::mail::{Domain, ReversePath};
use crate::spool::{Outcome, SpoolId, Status};
use crate::sys::{Disk, Lock, Open};
use std::path::Path;
use std::time::{Duration, Instant};

/// With a queue of these settings and a route to a peer.
fn house(queue: &str, peer: &Peer) -> House {
    House::new(&format!("[queue]\n{queue}\n{}", peer.route()))
}

#[test]
fn who_watches_sees_it_run_until_it_stops() {
    let house = House::new("");
    assert!(house.delivery().is_running());
    house.delivery().try_spool().unwrap();
    house.delivery().stop();
    assert!(!house.delivery().is_running());
}

#[test]
fn several_messages_share_a_connection() {
    let peer = Peer::start();
    let house = house("per_destination = 1", &peer);
    peer.set_closed(true);
    let ids: Vec<SpoolId> = (0..20).map(|_| house.post("bob@me.example", &["a@there.example"], TEXT).unwrap()).collect();
    house.wait("deferral", || house.queue().iter().all(|message| message.waiting[0].tries > 0 || peer.connections() > 0));
    peer.set_closed(false);
    house.wait("mail", || {
        house.delivery().flush(&Which::All);
        peer.messages().len() >= 20
    });
    house.wait("outcomes", || ids.iter().all(|id| house.journal.waiting(*id).is_none()));
    assert_eq!(peer.messages().len(), 20);
    assert!(peer.connections() < 12, "{} connections", peer.connections());
}

#[test]
fn more_recipients_than_a_transaction_takes() {
    let peer = Peer::start();
    let house = house("", &peer);
    peer.set_most_recipients(60);
    let names: Vec<String> = (0..250).map(|n| format!("r{n}@there.example")).collect();
    let to: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = house.post("bob@me.example", &to, TEXT).unwrap();
    house.wait("outcomes", || house.journal.waiting(id).is_none());
    let mut served: Vec<String> = peer.messages().into_iter().flat_map(|(recipients, _)| recipients).collect();
    served.sort();
    let mut names = names;
    names.sort();
    assert_eq!(served, names);
    assert_eq!((peer.messages().len(), peer.connections()), (5, 1));
}

#[test]
fn retried_then_delivered() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = house("retry = [\"1s\"]", &peer);
    let id = house.post("bob@me.example", &["a@there.example"], TEXT).unwrap();
    house.wait("deferral", || house.queue().first().is_some_and(|message| message.waiting[0].tries == 1));
    let [message] = &house.queue()[..] else { panic!() };
    assert!(message.waiting[0].text.contains("421 4.3.2 closed"), "{message:?}");
    assert_eq!(message.id, id);
    peer.set_closed(false);
    house.wait("mail", || house.journal.waiting(id).is_none());
    assert_eq!((peer.messages().len(), peer.connections()), (1, 2));
}

#[test]
fn warned_then_given_up() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = house("retry = [\"1s\"]\nwarn = \"1s\"\nlifetime = \"2s\"", &peer);
    house.post("bob@me.example", &["a@there.example", "b@there.example"], TEXT).unwrap();
    house.wait("warning", || house.mbox("bob").contains("Action: delayed"));
    house.wait("report", || house.mbox("bob").contains("Action: failed"));
    house.store.checkpoint();
    assert_eq!((house.queue(), house.journal.unsettled()), (vec![], vec![]));
    let mbox = house.mbox("bob");
    assert_eq!((mbox.matches("Action: delayed").count(), mbox.matches("Action: failed").count()), (2, 2), "{mbox}");
    assert_eq!(mbox.matches("report-type=delivery-status").count(), 2, "{mbox}");
}

#[test]
fn a_lost_reply_loses_no_mail() {
    let peer = Peer::start();
    peer.set_forgetful(true);
    let house = house("retry = [\"1s\"]", &peer);
    let id = house.post("bob@me.example", &["a@there.example"], TEXT).unwrap();
    house.wait("deferral", || house.queue().first().is_some_and(|message| message.waiting[0].tries == 1));
    peer.set_forgetful(false);
    house.wait("mail", || house.journal.waiting(id).is_none());
    assert_eq!(peer.messages().len(), 2);
}

#[test]
fn a_locked_mailbox_is_tried_again() {
    let house = House::new("");
    house.post("", &["alice@me.example"], TEXT).unwrap();
    let other = house.disk.open(Path::new("/mail/alice"), Open::Write).unwrap();
    assert!(other.try_lock(Lock::Exclusive).unwrap());
    let id = house.post("", &["alice@me.example", "bob@me.example"], "Subject: second\n\n").unwrap();
    house.wait("bob's mail", || house.mbox("bob").contains("second"));
    assert!(!house.mbox("alice").contains("second"));
    assert_eq!(house.queue().len(), 1);
    drop(other);
    house.wait("mail", || house.queue().is_empty());
    assert_eq!(house.mbox("alice").matches("second").count(), 1);
    house.store.checkpoint();
    assert!(house.journal.waiting(id).is_none());
}

/// The host at the other end takes its time, and the letter's sender has not been answered yet, when a thread of the
/// queue-runner is at it already.
#[test]
fn what_was_handed_over_is_begun_once() {
    let peer = Peer::start();
    let house = house("", &peer);
    house.post("", &["bob@me.example"], TEXT).unwrap();
    let other = house.disk.open(Path::new("/mail/bob"), Open::Write).unwrap();
    assert!(other.try_lock(Lock::Exclusive).unwrap());
    let busy = peer.keep_busy();
    std::thread::scope(|scope| {
        // The report on nobody has to wait for bob's mailbox, and the first round for that.
        let letter = scope.spawn(|| house.post("bob@me.example", &["a@there.example", "nobody@me.example"], TEXT).unwrap());
        house.wait("mail", || peer.messages().len() == 1);
        drop(other);
        let id = letter.join().unwrap();
        assert_eq!(house.delivery().flush(&Which::Message(id)), 0, "it waits, and is being sent");
        assert!(house.delivery().office.table().is_running(id));
        drop(busy);
        house.wait("outcome", || house.journal.waiting(id).is_none());
    });
    assert_eq!((peer.messages().len(), peer.connections()), (1, 1));
}

/// Of what lies ready for a host; after a kill it is still known.
#[test]
fn urgent_mail_goes_first() {
    for is_killed in [false, true] {
        let peer = Peer::start();
        let mut house = house("per_destination = 1", &peer);
        peer.set_closed(is_killed);
        let busy = peer.keep_busy();
        for (subject, field) in [
            ("first", ""),
            ("low", "X-Priority: 5\n"),
            ("plain", ""),
            ("other", "Priority: normal\n"),
            ("urgent", "Importance: high\n"),
        ] {
            house.post("", &["a@there.example"], &format!("Subject: {subject}\n{field}\nx\n")).unwrap();
            house.wait("the first", || is_killed || peer.messages().len() == 1);
        }
        if is_killed {
            house.wait("a try of each", || house.queue().iter().all(|message| message.waiting[0].tries > 0));
            peer.set_closed(false);
            house = House::open(house.disk.after_kill(), house.config.clone());
            house.delivery().flush(&Which::All);
        }
        let ready = || house.office().table().lanes.counts()[1..3].iter().sum::<usize>();
        house.wait("the queue", || peer.messages().len() == 1 && ready() == 4);
        drop(busy);
        house.wait("all", || house.queue().is_empty());
        let messages = peer.messages();
        let subjects: Vec<&str> =
            messages.iter().filter_map(|(_, text)| text.lines().find_map(|line| line.strip_prefix("Subject: "))).collect();
        assert_eq!(subjects, ["first", "urgent", "plain", "other", "low"], "{is_killed}");
    }
}

#[test]
fn what_a_session_left_to_others_is_not_put_back() {
    let house = House::new("");
    let id = house.post("", &["alice@me.example", "bob@me.example"], TEXT).unwrap();
    let office = &*house.delivery().office;
    let entry = office.journal.read(id).unwrap();
    let in_hand = InHand::begin(office, &[entry]);
    let now = office.clock.elapsed();
    // In one breath: the queue-runner's thread would take it, too.
    let begun = {
        let mut table = office.table();
        table.wait(id, &[1], now);
        table.take_due(now).unwrap()
    };
    drop(in_hand);
    let mut table = office.table();
    assert_eq!((begun.recipients, table.is_running(id)), (vec![1], true));
    assert!(table.hurry(id, now, true), "the other waits");
    table.settled(id, &[0, 1]);
}

#[test]
fn operators() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = house("retry = [\"1h\"]", &peer);
    let post = || house.post("bob@me.example", &["a@there.example"], TEXT).unwrap();
    let tried = |id| house.journal.waiting(id).is_some_and(|message| message.waiting[0].tries > 0);
    let ids: Vec<SpoolId> = (0..3).map(|_| post()).collect();
    house.wait("deferral", || {
        house.delivery().flush(&Which::All);
        ids.iter().all(|id| tried(*id))
    });
    let operate = |operation, id| house.delivery().operate(operation, &Which::Message(id), None).unwrap();
    let act = |operation, id| house.wait("act", || operate(operation, id).messages == 1);
    act(Operation::Hold, ids[0]);
    act(Operation::Remove, ids[1]);
    assert_eq!(operate(Operation::Remove, ids[1]), Operated::default());
    assert_eq!(operate(Operation::Release, ids[2]), Operated::default(), "it is not held");
    peer.set_closed(false);
    let elsewhere = Which::Domain(Domain::parse("elsewhere.example").unwrap());
    assert_eq!(house.delivery().flush(&elsewhere), 0);
    let there = Which::Domain(Domain::parse("THERE.example").unwrap());
    house.wait("mail", || {
        house.delivery().flush(&there);
        house.journal.waiting(ids[2]).is_none()
    });
    let [held] = &house.queue()[..] else { panic!("{:?}", house.queue()) };
    assert!(held.id == ids[0] && held.waiting[0].held);
    assert_eq!(house.delivery().counts(), Counts { messages: 1, bytes: held.size, recipients: 1, held: 1 });
    act(Operation::Release, ids[0]);
    house.wait("mail", || house.journal.unsettled().is_empty());
    assert_eq!(peer.messages().len(), 2);
}

#[test]
fn operators_do_not_wait_for_the_disk_message_by_message() {
    const MESSAGES: usize = 300;
    let peer = Peer::start();
    peer.set_closed(true);
    let house = house("retry = [\"1h\"]", &peer);
    for n in 0..MESSAGES {
        let from = if n % 3 == 0 { "ALICE@me.example" } else { "bob@me.example" };
        house.post(from, &["a@there.example", "b@there.example"], TEXT).unwrap();
    }
    let held = || house.queue().iter().flat_map(|message| &message.waiting).filter(|waiting| waiting.held).count();
    let there = Which::Domain(Domain::parse("there.example").unwrap());
    let operate = |operation, which| house.delivery().operate(operation, which, None).unwrap();
    house.wait("hold", || operate(Operation::Hold, &there) == Operated { messages: MESSAGES, busy: 0 });
    assert_eq!(held(), 2 * MESSAGES);
    let before = house.disk.operations();
    let alice = Which::Sender(ReversePath(Some("alice@me.example".parse().unwrap())));
    assert_eq!(operate(Operation::Remove, &alice), Operated { messages: MESSAGES / 3, busy: 0 });
    assert_eq!(operate(Operation::Release, &alice), Operated::default());
    // House is kept meanwhile.
    let operations = house.disk.operations() - before;
    assert!(operations < MESSAGES as u64 / 6, "{operations} operations");
    let image = house.disk.after_kill();
    assert_eq!((house.queue().len(), held()), (MESSAGES / 3 * 2, MESSAGES / 3 * 4));
    let again = House::open(image, house.config.clone());
    assert_eq!(again.queue(), house.queue());
    peer.set_closed(false);
    assert_eq!(operate(Operation::Release, &Which::All), Operated { messages: MESSAGES / 3 * 2, busy: 0 });
    house.wait("mail", || house.queue().is_empty());
    assert_eq!(peer.messages().len(), MESSAGES / 3 * 2);
}

/// A power cut at any later moment must not have the program run again.
#[test]
fn what_a_program_took_is_settled_when_its_try_is_over() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = house("", &peer);
    let names: Vec<String> = (0..30).map(|n| format!("r{n}@there.example")).collect();
    let id = house.post("bob@me.example", &names.iter().map(String::as_str).collect::<Vec<_>>(), TEXT).unwrap();
    house.wait("a try", || house.queue()[0].waiting.iter().all(|recipient| recipient.tries > 0));
    let entry = house.journal.read(id).unwrap();
    for index in 0..30 {
        let said = Trouble::own("2.0.0", "The program took it.");
        outcome::conclude(house.office(), &entry, false, vec![(index, Verdict::Delivered { said, report: None })]);
        let waits = house.journal.waiting(id).map_or(0, |message| message.waiting.len());
        assert_eq!(waits, 29 - index as usize);
    }
}

#[test]
fn outcomes_that_come_soon_one_after_the_other_share_a_sync() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = house("retry = [\"1h\"]", &peer);
    let ids: Vec<SpoolId> = (0..16).map(|_| house.post("bob@me.example", &["a@there.example"], TEXT).unwrap()).collect();
    house.wait("deferral", || house.queue().iter().all(|message| message.waiting[0].tries > 0));
    let (office, before, begun) = (house.office(), house.disk.operations(), Instant::now());
    for &id in &ids {
        let (recipients, time) = (vec![0], office.clock.now());
        office.clerk.note(office, vec![Outcome { id, recipients, status: Status::Delivered, time, text: "there".into() }]);
        // Each could have a sync of its own.
        std::thread::sleep(Duration::from_micros(200));
    }
    house.wait("outcomes", || ids.iter().all(|id| house.journal.waiting(*id).is_none()));
    // However slowly they came; a write and a sync each time. What the keeper may do meanwhile is little.
    let times = 2 + begun.elapsed().as_micros() / REST.as_micros();
    let operations = house.disk.operations() - before;
    assert!(u128::from(operations) <= 2 * times + 4, "{operations} operations, {times} times");
}
