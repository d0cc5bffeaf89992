//! Replies of who is away.

use super::*;
use crate::mail::vacation::Vacation;
use crate::mail::{Envelope, ReversePath};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const MESSAGE: &str = "From: Alice <alice@me.example>\nTo: bob@me.example\nSubject: hello\nMessage-ID: <1@me.example>\n\ntext\n";

/// bob is away.
fn house() -> House {
    let house = House::new("");
    let vacation = Vacation::parse("\nI am away.\n").unwrap();
    house.delivery().set_vacation(&house.account("bob"), Some(&vacation)).unwrap();
    house
}

/// Replies and messages that are there.
fn found(house: &House) -> (usize, usize) {
    let count = |user: &str, what: &str| house.mbox(user).matches(what).count();
    (count("alice", "Auto-Submitted: auto-replied"), count("bob", "Message-ID: <1@me.example>"))
}

/// Wherever the machine stops: the message is there once if it was taken, and there are no two replies.
#[test]
fn a_stop_at_any_operation_makes_no_second_reply() {
    let (mut replied, mut lost, mut whole) = (0, 0, 0);
    for n in 1.. {
        let house = house();
        let before = house.disk.operations();
        house.disk.stop_at(before + n);
        let taken = house.post("alice@me.example", &["bob@me.example"], MESSAGE).is_ok();
        whole += usize::from(house.disk.operations() < before + n);
        for seed in 0..3 {
            let disk = if seed == 0 { house.disk.after_kill() } else { house.disk.after_power_cut(seed + 77 * n) };
            let again = House::open(disk, house.config.clone());
            again.wait("the queue", || again.queue().is_empty());
            let (replies, copies) = found(&again);
            assert!(replies <= 1 && copies <= 1 && (copies == 1 || !taken), "stop at {n}, seed {seed}: {replies} {copies}");
            // The sender was answered, or will be the next time, or the reply is lost: but no second one.
            again.post("alice@me.example", &["bob@me.example"], &MESSAGE.replace("<1@", "<2@")).unwrap();
            again.wait("the queue", || again.queue().is_empty());
            let (replies, _) = found(&again);
            assert!(replies <= 1, "stop at {n}, seed {seed}: {replies}");
            replied += replies;
            lost += 1 - replies;
        }
        if whole > 2 {
            break;
        }
    }
    assert!(replied > 0 && lost > 0, "{replied} {lost}");
}

/// As their owners wrote it. What can't be believed is not said.
#[test]
fn users_have_a_file_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("bob")).unwrap();
    fs::create_dir(dir.path().join("alice")).unwrap();
    let house = House::at_home(dir.path(), "");
    let path = dir.path().join("bob/.vacation");
    let replies = || found(&house).0;
    let send = |number: u32| {
        let from = format!("alice+{number}@me.example");
        house.post(&from, &["bob@me.example"], &MESSAGE.replace("<1@", &format!("<{number}@"))).unwrap()
    };
    send(1);
    assert_eq!(replies(), 0);
    fs::write(&path, "Subject: Not here\nDays: 1\n\nI am away.\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    send(2);
    assert_eq!(replies(), 0, "others can write to it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    send(3);
    assert!(replies() == 1 && house.mbox("alice").contains("Subject: Not here\n"), "{}", house.mbox("alice"));
    assert!(house.delivery().vacation(&bob_at_home(&house, dir.path())).unwrap().unwrap().is_own);
    // A detail makes no other sender.
    send(4);
    assert_eq!(replies(), 1);
    // What was set by the tool goes before it.
    let vacation = Vacation::parse("Subject: Set\n\nAway.\n").unwrap();
    house.delivery().set_vacation(&house.account("bob"), Some(&vacation)).unwrap();
    send(5);
    assert!(replies() == 2 && house.mbox("alice").contains("Subject: Set\n"), "{}", house.mbox("alice"));
}

fn bob_at_home(house: &House, homes: &Path) -> Account {
    Account { home: Some(homes.join("bob")), ..house.account("bob") }
}

/// A reply goes to who is told of failures for that copy, not to who is told of others'.
#[test]
fn a_copy_with_a_sender_of_its_own_is_answered_there() {
    let house = house();
    let own = ReversePath(Some("alice@me.example".parse().unwrap()));
    let bob = Recipient::from("bob@me.example".parse::<Address>().unwrap());
    let envelope = Envelope {
        reverse_path: ReversePath(Some("owner@away.example".parse().unwrap())),
        ..Envelope::own(Recipient { sender: Some(Box::new(own)), ..bob })
    };
    Letter::own(house.office(), envelope, |_| Ok(MESSAGE.into())).unwrap().send().unwrap();
    assert_eq!((found(&house), house.queue()), ((1, 1), vec![]), "nothing is on its way to owner@away.example");
}
