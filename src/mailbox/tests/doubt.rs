//! A big file to whose end others wrote, and which they changed in the middle too.

use super::*;
use crate::sys::Lock;

const MAILBOX: &str = "/w/mail/alice";

/// As another program writes one; the body has so many lines.
fn text(n: u64, status: &str, lines: usize) -> String {
    let body = "a line of a message, and more\n".repeat(lines);
    format!("From x@y Sat Nov  1 12:26:40 2025\nSubject: message {n}\n{status}\n{body}by {n}\n\n")
}

fn wire(n: u64, lines: usize) -> Vec<u8> {
    let body = "a line of a message, and more\r\n".repeat(lines);
    format!("Subject: message {n}\r\n\r\n{body}by {n}\r\n").into_bytes()
}

/// Another program gives the flag of the second message to the fourth, so that the big one between them stands elsewhere and the
/// last where it stood, and puts one behind it.
fn moved() -> (SimDisk, World) {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let file = |second, fourth, more: String| {
        [text(1, "", 1), text(2, second, 1), text(3, "", 200), text(4, fourth, 1), text(5, "", 1), more].concat()
    };
    strangers::overwrite(&disk, file("Status: RO\n", "", String::new()).as_bytes());
    let there = world.seen("alice").into_iter().map(|(uid, wire)| (uid, number(&wire))).collect::<Vec<_>>();
    assert_eq!(there, (1..=5).map(|n| (n, u64::from(n))).collect::<Vec<_>>());
    strangers::overwrite(&disk, file("", "Status: RO\n", text(6, "", 1)).as_bytes());
    (disk, world)
}

#[test]
fn a_message_that_was_moved_is_read_from_where_it_is() {
    let (_, world) = moved();
    let inbox = world.inbox("alice");
    let view = inbox.view().unwrap();
    assert!(inbox.inner().doubt.open);
    // The block that is read for the first one has those behind it, too.
    for (uid, lines) in [(1, 1), (3, 200)] {
        assert!(inbox.inner().doubt.open);
        let summary = view.message(Uid(uid)).unwrap().unwrap();
        assert!(read(&view, &summary) == wire(u64::from(uid), lines), "{uid}");
    }
    assert!(!inbox.inner().doubt.open);
}

#[test]
fn a_message_that_did_not_move_is_read_without_looking_at_all() {
    let (_, world) = moved();
    let inbox = world.inbox("alice");
    let view = inbox.view().unwrap();
    for _ in 0..2 {
        let summary = view.message(Uid(5)).unwrap().unwrap();
        assert_eq!(read(&view, &summary), wire(5, 1));
        assert!(inbox.inner().doubt.open);
    }
}

#[test]
fn a_message_that_was_moved_is_removed_and_its_neighbours_are_not() {
    let (_, world) = moved();
    world.inbox("alice").expunge(&[Uid(3)]).unwrap();
    let seen: Vec<(u32, Vec<u8>)> = [1, 2, 4, 5, 6].map(|n| (n as u32, wire(n, 1))).into();
    assert_eq!(world.seen("alice"), seen);
    world.store.close();
    assert_eq!(world.seen("alice"), seen);
}

#[test]
fn what_was_moved_while_it_waits_to_be_removed_is_removed_from_where_it_is() {
    let (disk, world) = moved();
    let inbox = world.inbox("alice");
    drop(inbox.view().unwrap());
    let file = disk.open(Path::new(MAILBOX), Open::Write).unwrap();
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    inbox.expunge(&[Uid(3)]).unwrap();
    file.unlock().unwrap();
    world.store.checkpoint();
    assert_eq!(world.seen("alice"), [1, 2, 4, 5, 6].map(|n| (n as u32, wire(n, 1))));
}

#[test]
fn what_waits_to_be_removed_and_became_longer_is_removed_whole() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    strangers::overwrite(&disk, text(1, "", 200).as_bytes());
    let inbox = world.inbox("alice");
    drop(inbox.view().unwrap());
    let file = disk.open(Path::new(MAILBOX), Open::Write).unwrap();
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    inbox.expunge(&[Uid(1)]).unwrap();
    file.unlock().unwrap();
    strangers::overwrite(&disk, text(1, "Status: RO\n", 200).as_bytes());
    world.store.checkpoint();
    inbox.deliver(&small(2).copy()).unwrap();
    let seen: Vec<u64> = world.seen("alice").iter().map(|(_, wire)| number(wire)).collect();
    assert_eq!(seen, [2]);
}
