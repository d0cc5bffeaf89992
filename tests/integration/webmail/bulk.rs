//! What is done to all messages of a folder, or to all that were found, at once.

use super::browser::{Browser, Page};
use crate::common::{Daemon, Setup, letter};
use std::fs;

crate::tests![
    all_of_a_folder_are_meant_that_were_counted,
    of_what_was_found_only_what_is_still_so,
    many_are_moved_and_moved_back,
    what_is_counted_can_not_be_forged,
];

/// A mailbox with so many messages of each subject.
pub(super) fn filled(subjects: &[(&str, usize)]) -> Daemon {
    let mut daemon = Setup::default().prepare();
    let mut text = String::new();
    for (subject, count) in subjects {
        for number in 0..*count {
            text.push_str(&format!(
                "From x@far.test Sat Nov 21 09:18:51 2026\nFrom: x@far.test\nSubject: {subject} {number}\n\ntext of {number}\n\n"
            ));
        }
    }
    fs::write(daemon.mailbox("alice"), text).unwrap();
    daemon.start();
    daemon
}

fn all(page: &Page) -> String {
    page.attribute(&["type=\"checkbox\"", "name=\"all\""], "value").unwrap()
}

fn count(daemon: &Daemon, folder: &str) -> String {
    let told = daemon.imap("alice").ok(&format!("STATUS {folder} (MESSAGES UNSEEN)")).unwrap().join("");
    told[told.find('(').unwrap()..=told.find(')').unwrap()].to_owned()
}

fn all_of_a_folder_are_meant_that_were_counted() {
    let daemon = filled(&[("old", 60)]);
    let mut alice = Browser::of(&daemon, "alice");
    let page = alice.get("/m/INBOX?p=2");
    page.shows("All 60 messages of this folder").shows("51–60 of 60");
    let old = all(&page);
    daemon.send(&["alice@here.test"], &letter("came since", "text"));
    alice.act("/m/INBOX", &[("all", &old), ("do", "read")]).shows("60 messages marked.");
    assert_eq!(count(&daemon, "INBOX"), "(MESSAGES 61 UNSEEN 1)");
    // One that is on the page too is not meant twice; two go away meanwhile.
    let gone = alice.get("/m/INBOX?p=2").messages();
    alice.act("/m/INBOX", &[("m", &gone[0]), ("m", &gone[1]), ("do", "archive")]);
    let page = alice.act("/m/INBOX", &[("all", &old), ("m", &gone[2]), ("do", "delete")]);
    page.shows("58 messages moved to").shows("Since the page was shown 2 others were changed or moved away, and left alone.");
    page.shows("came since");
    assert_eq!(
        (count(&daemon, "INBOX"), count(&daemon, "Trash")),
        ("(MESSAGES 1 UNSEEN 1)".into(), "(MESSAGES 58 UNSEEN 0)".into())
    );
    // A page that shows all there is has nothing to offer.
    alice.get("/m/INBOX").lacks("name=\"all\"");
    // From the trash they go for good.
    let trash = all(&alice.get("/m/Trash"));
    alice.act("/m/Trash", &[("all", &trash), ("do", "delete")]).shows("58 messages deleted for good.");
    alice.get("/m/Trash").shows("There is no mail here.");
}

fn of_what_was_found_only_what_is_still_so() {
    let daemon = filled(&[("north", 55), ("south", 5)]);
    let mut alice = Browser::of(&daemon, "alice");
    let path = "/m/INBOX?q=is%3Aunread%20north";
    let page = alice.get(path);
    page.shows("All 55 messages that were found");
    let old = all(&page);
    let names = page.messages();
    // Read and unread again: perhaps it is there for another reason now.
    alice.act("/m/INBOX", &[("m", &names[0]), ("do", "read")]);
    alice.act("/m/INBOX", &[("m", &names[0]), ("do", "unread")]);
    alice.act("/m/INBOX", &[("m", &names[1]), ("do", "read")]);
    let page = alice.act(path, &[("all", &old), ("do", "archive")]);
    page.shows("53 messages moved to").shows("2 others were changed");
    assert_eq!(
        (count(&daemon, "INBOX"), count(&daemon, "Archive")),
        ("(MESSAGES 7 UNSEEN 6)".into(), "(MESSAGES 53 UNSEEN 53)".into())
    );
}

fn many_are_moved_and_moved_back() {
    let daemon = filled(&[("one of many", 2_300)]);
    let mut alice = Browser::of(&daemon, "alice");
    let all = all(&alice.get("/m/INBOX"));
    let page = alice.act("/m/INBOX", &[("all", &all), ("do", "delete")]);
    page.shows("2300 messages moved to");
    assert_eq!(
        (count(&daemon, "INBOX"), count(&daemon, "Trash")),
        ("(MESSAGES 0 UNSEEN 0)".into(), "(MESSAGES 2300 UNSEEN 2300)".into())
    );
    // In their order.
    alice.get("/m/Trash").shows("one of many 2299");
    daemon.send(&["alice@here.test"], &letter("new", "text"));
    let new = alice.get("/m/INBOX").messages();
    alice.act("/m/INBOX", &[("m", &new[0]), ("do", "delete")]);
    let name = page.attribute(&["type=\"hidden\"", "name=\"m\""], "value").unwrap();
    assert_eq!(page.text().matches("name=\"m\"").count(), 1, "one run");
    alice.act("/m/Trash", &[("m", &name), ("to", "INBOX"), ("do", "move")]).shows("2300 messages moved to");
    assert_eq!(
        (count(&daemon, "INBOX"), count(&daemon, "Trash")),
        ("(MESSAGES 2300 UNSEEN 2300)".into(), "(MESSAGES 1 UNSEEN 1)".into())
    );
}

fn what_is_counted_can_not_be_forged() {
    let daemon = filled(&[("x", 60)]);
    let mut alice = Browser::of(&daemon, "alice");
    let own = all(&alice.get("/m/INBOX"));
    let (validity, rest) = own.split_once('-').unwrap();
    let other = format!("{}-{rest}", validity.parse::<u32>().unwrap() ^ 1);
    alice.act("/m/INBOX", &[("all", &other), ("do", "delete")]).shows("No message was selected.");
    let token = alice.token();
    for wrong in ["", "on", "1-2-3", "1-2-3-x"] {
        assert_eq!(alice.post("/m/INBOX", &[("token", &token), ("all", wrong), ("do", "delete")]).status, 422, "{wrong}");
    }
    assert_eq!(alice.post("/m/INBOX", &[("all", &own), ("do", "delete")]).status, 403);
    assert_eq!(count(&daemon, "INBOX"), "(MESSAGES 60 UNSEEN 60)");
    let runs = format!("{validity}-1:4294967295");
    alice.act("/m/INBOX", &[("m", &runs), ("m", &runs), ("do", "flag")]);
    alice.get("/m/INBOX?q=is:flagged").shows("1–50 of 60");
}
