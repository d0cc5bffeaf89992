//! `pillarboxctl mailbox`, against the running daemon.

use crate::common::{Daemon, Setup, letter};
use std::fs;
use std::process::Output;

crate::tests![a_damaged_mailbox_is_told_and_mended];

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn mailbox(daemon: &Daemon, words: &[&str]) -> (Option<i32>, String) {
    told(&daemon.ctl(&[&["mailbox"], words].concat()))
}

fn a_damaged_mailbox_is_told_and_mended() {
    let daemon = Setup::default().start();
    for n in 1..=2 {
        assert!(daemon.send(&["alice@here.test"], &letter(&format!("number {n}"), "text")).starts_with("250"));
        assert_eq!(mailbox(&daemon, &["check", "alice"]), (Some(0), String::new()));
    }
    let nothing = (Some(0), "there was nothing to mend\n".to_owned());
    assert_eq!(mailbox(&daemon, &["rebuild", "alice"]), nothing);
    let path = daemon.mailbox("alice");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("Dear diary\n\n{text}")).unwrap();
    let (code, found) = mailbox(&daemon, &["check", "alice"]);
    assert!(code == Some(1) && found.starts_with("0: the first 12 bytes"), "{code:?} {found}");
    let (code, done) = mailbox(&daemon, &["rebuild", "alice", "INBOX"]);
    assert!(code == Some(0) && done.starts_with("made a message of the 12 bytes"), "{code:?} {done}");
    assert_eq!(mailbox(&daemon, &["check", "alice"]), (Some(0), String::new()));
    let mail: Vec<String> = daemon.mail("alice").iter().map(|mail| String::from_utf8_lossy(mail).into_owned()).collect();
    let has = |what: &str| mail.iter().filter(|mail| mail.contains(what)).count();
    assert_eq!((mail.len(), has("number 1"), has("number 2"), has("Dear diary")), (3, 1, 1, 1), "{mail:?}");
    // What can't be told.
    for words in [["check", "nobody"], ["rebuild", "nobody"]] {
        assert_eq!(mailbox(&daemon, &words), (Some(2), String::new()), "{words:?}");
    }
    assert_eq!(mailbox(&daemon, &["rebuild", "alice", "Nowhere"]).0, Some(2));
    // What an operator has to mend by hand.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(mailbox(&daemon, &["check", "alice"]).0, Some(1));
    assert_eq!(mailbox(&daemon, &["rebuild", "alice"]).0, Some(2));
}
