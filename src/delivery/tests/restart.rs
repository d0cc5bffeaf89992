//! What was promised is kept when the daemon comes back.

use super::{House, Peer, TEXT};
use crate::delivery::{Operation, Which};
use crate::sys::{Disk, Lock, Open};
use std::path::Path;

#[test]
fn a_stop_keeps_the_queue() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = House::new(&format!("[queue]\nretry = [\"1s\"]\n{}", peer.route()));
    let id = house.post("bob@me.example", &["a@there.example", "alice@me.example"], TEXT).unwrap();
    let (disk, config) = house.stop();
    peer.set_closed(false);
    let house = House::open(disk, config);
    house.wait("mail", || house.journal.waiting(id).is_none());
    assert_eq!(peer.messages().len(), 1);
    assert_eq!(house.mbox("alice").matches("hello").count(), 1);
}

/// Whatever part of what was not synced survives: each message is there, once.
#[test]
fn a_power_cut_loses_and_doubles_nothing() {
    for seed in 0..20 {
        let house = House::new("");
        let text = |n: usize| format!("begin {n} {}end", "x".repeat(700 * n));
        for n in 0..6 {
            let message = format!("Subject: number {n}.\n\n{}\n", text(n));
            house.post("", &["alice@me.example", "bob@me.example"], &message).unwrap();
            if n == 2 {
                house.store.checkpoint();
            }
        }
        let disk = if seed == 0 { house.disk.after_kill() } else { house.disk.after_power_cut(seed) };
        let again = House::open(disk, house.config.clone());
        drop(house);
        again.wait("mail", || again.queue().is_empty());
        for user in ["alice", "bob"] {
            let mbox = again.mbox(user);
            for n in 0..6 {
                assert_eq!(whole_copies(&mbox, n, &text(n)), 1, "seed {seed}, {n} of {user}: {mbox}");
            }
        }
        again.store.checkpoint();
        assert_eq!(again.journal.unsettled(), []);
    }
}

/// Copies of message `n` without a hole. Of one that was torn, and is not the last, parts may be left; what follows it on
/// the same line is a part of it.
fn whole_copies(mbox: &str, n: usize, text: &str) -> usize {
    let subject = format!("Subject: number {n}.\n");
    let is_whole = |at: usize| {
        let begin = mbox[..at].rfind("\nFrom MAILER-DAEMON ").unwrap_or(0);
        let end = mbox[at..].find("\n\n").map_or(at, |end| at + end + 2);
        !mbox[begin..end].contains('\0') && mbox[begin..at].contains("Delivered-To: ") && mbox[end..].starts_with(text)
    };
    mbox.match_indices(&subject).filter(|(at, _)| is_whole(*at)).count()
}

#[test]
fn a_mailbox_that_is_locked_at_the_start_is_looked_at_before_anything_new_goes_in() {
    let house = House::new("");
    house.post("", &["alice@me.example"], "Subject: first\n\n").unwrap();
    let disk = house.disk.after_kill();
    let other = disk.open(Path::new("/mail/alice"), Open::Write).unwrap();
    assert!(other.try_lock(Lock::Exclusive).unwrap());
    let again = House::open(disk, house.config.clone());
    drop(house);
    assert_eq!(again.queue().len(), 1);
    drop(other);
    again.post("", &["alice@me.example"], "Subject: second\n\n").unwrap();
    let mbox = again.mbox("alice");
    assert!(mbox.find("first") < mbox.find("second"), "{mbox}");
    again.wait("mail", || again.queue().is_empty());
    let mbox = again.mbox("alice");
    assert_eq!((mbox.matches("first").count(), mbox.matches("second").count()), (1, 1), "{mbox}");
}

#[test]
fn what_is_held_stays_held() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = House::new(&peer.route());
    let id = house.post("bob@me.example", &["a@there.example"], TEXT).unwrap();
    house.wait("deferral", || house.journal.waiting(id).is_some_and(|message| message.waiting[0].tries > 0));
    house.wait("hold", || house.delivery().operate(Operation::Hold, &Which::All, None).unwrap().messages == 1);
    let (disk, config) = house.stop();
    peer.set_closed(false);
    let house = House::open(disk, config);
    assert!(house.queue()[0].waiting[0].held);
    house.delivery().operate(Operation::Release, &Which::All, None).unwrap();
    house.wait("mail", || house.journal.waiting(id).is_none());
}

#[test]
fn a_start_reads_what_may_have_copies_here() {
    let settings = "domains = [\"me.example\"]\n[[route]]\ndomain = \"routed.me.example\"\nhost = \"192.0.2.1\"";
    let house = House::new(settings);
    let office = &house.delivery().office;
    for ours in ["me.example", "ME.example", "there.example,me.example", "[127.0.0.1]", "there.example,[127.0.0.1]", "a b", ""] {
        assert!(office.may_be_ours(ours), "{ours}");
    }
    for other in ["there.example", "there.example,routed.me.example", "sub.me.example", "[192.0.2.1]"] {
        assert!(!office.may_be_ours(other), "{other}");
    }
}
