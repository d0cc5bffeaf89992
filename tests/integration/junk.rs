//! What users take for junk: learned from what they do by IMAP and in the browser, and told of mail that comes.

use crate::common::{Daemon, Setup, pillarboxctl, wait_for};
use crate::webmail::browser::Browser;
use std::fs;

crate::tests![
    it_is_learned_and_told_and_filed,
    marked_only_and_off,
    clients_that_copy_and_delete,
    moved_back_it_is_unlearned,
    in_the_browser,
    what_is_kept_is_good,
    learned_from_files_and_folders,
    a_kill_spoils_nothing,
    a_damaged_file_is_begun_anew,
    nobody_else_tells_our_verdict,
    junk_gets_no_reply,
];

/// As many of each kind as are needed.
const ENOUGH: usize = 20;

fn daemon(way: &str) -> Daemon {
    Setup::options(&[&format!("junk=\"{way}\"")]).start()
}

fn letter(kind: &str, number: usize, more: &str) -> Vec<u8> {
    let (from, words) = match kind {
        "junk" => ("winner@casino.test", "cheap pills and a guaranteed bonus, click to claim your prize in dollars"),
        _ => ("carol@friends.test", "lunch on friday with the whole choir, grandma brings her printer and the draft"),
    };
    format!(
        "From: {from}\r\nTo: alice@here.test\r\nSubject: {kind} {number}\r\nMessage-ID: <{kind}.{number}@x.test>\r\n{more}\r\n\
         Hello, {words} number{number}.\r\n"
    )
    .into_bytes()
}

fn send(daemon: &Daemon, kind: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let reply = daemon.smtp().send("x@far.test", &["alice@here.test"], &letter(kind, number, "")).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    }
}

/// Messages learned as junk, and as good.
fn learned(daemon: &Daemon, user: &str) -> (u64, u64) {
    let output = daemon.ctl(&["junk", "show", user, "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (told["junk"].as_u64().unwrap(), told["good"].as_u64().unwrap())
}

fn wait_for_learned(daemon: &Daemon, user: &str, expected: (u64, u64)) {
    wait_for(&format!("{expected:?} learned"), 30, || (learned(daemon, user) == expected).then_some(()));
}

/// Twenty of each kind, taught by a move and by a keyword.
fn taught(way: &str) -> Daemon {
    let daemon = daemon(way);
    send(&daemon, "junk", 0..ENOUGH);
    send(&daemon, "good", 0..ENOUGH);
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    imap.ok(&format!("UID MOVE 1:{ENOUGH} Junk")).unwrap();
    imap.ok(&format!("UID STORE {}:{} +FLAGS.SILENT ($NotJunk)", ENOUGH + 1, 2 * ENOUGH)).unwrap();
    wait_for_learned(&daemon, "alice", (20, 20));
    daemon
}

/// Subjects and verdicts of a folder, from this message on.
fn verdicts(daemon: &Daemon, folder: &str, from: usize) -> Vec<(String, String)> {
    let mut imap = daemon.imap("alice");
    let told = imap.ok(&format!("SELECT {folder}")).unwrap().join("\n");
    let count: usize = told.lines().find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok()).unwrap();
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned()));
        line.unwrap_or_default()
    };
    (from..=count)
        .map(|number| {
            let text = String::from_utf8(imap.fetch(number, "BODY.PEEK[]").unwrap()).unwrap().replace("\r\n\t", " ");
            (field(&text, "Subject:"), field(&text, "X-Spam-Status:"))
        })
        .collect()
}

fn it_is_learned_and_told_and_filed() {
    let daemon = taught("file");
    send(&daemon, "junk", 100..102);
    send(&daemon, "good", 100..102);
    let (junk, inbox) = (verdicts(&daemon, "Junk", ENOUGH + 1), verdicts(&daemon, "INBOX", ENOUGH + 1));
    assert_eq!(junk.iter().map(|(subject, _)| subject.as_str()).collect::<Vec<_>>(), ["junk 100", "junk 101"]);
    assert_eq!(inbox.iter().map(|(subject, _)| subject.as_str()).collect::<Vec<_>>(), ["good 100", "good 101"]);
    for (_, verdict) in &junk {
        assert!(verdict.starts_with("Yes, score=1.00 required=0.95 by=mail.here.test (like junk: "), "{verdict}");
        assert!(verdict.contains('"') && verdict.ends_with(')'), "{verdict}");
    }
    for (_, verdict) in &inbox {
        assert!(verdict.starts_with("No, score=0.00 required=0.95 by=mail.here.test (like good mail: "), "{verdict}");
    }
    // It stands on top, the rest is as it came.
    let mail = daemon.mail("alice");
    let text = String::from_utf8(mail.last().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(lines[..3], ["Return-Path", "Delivered-To", "X-Spam-Status"], "{text}");
    let sent = String::from_utf8(letter("good", 101, "")).unwrap();
    assert!(text.ends_with(&sent), "{text}");
    assert!(daemon.queue().is_empty());
    // What the daemon filed is taught by nobody.
    assert_eq!(learned(&daemon, "alice"), (20, 20));
    // Another user's mail is not judged by it, nor what users write.
    daemon.smtp().send("x@far.test", &["bob@here.test"], &letter("junk", 7, "")).unwrap();
    assert!(!String::from_utf8_lossy(&daemon.mail("bob")[0]).contains("X-Spam-Status"));
}

fn marked_only_and_off() {
    let daemon = taught("mark");
    send(&daemon, "junk", 100..101);
    let inbox = verdicts(&daemon, "INBOX", ENOUGH + 1);
    assert!(inbox.len() == 1 && inbox[0].1.starts_with("Yes, "), "{inbox:?}");
    // Off nothing is learned, nothing said.
    let other = Setup::default().start();
    send(&other, "junk", 0..1);
    let mut imap = other.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("UID MOVE 1 Junk").unwrap();
    assert_eq!(learned(&other, "alice"), (0, 0));
    assert!(!other.spool().join("junk").join("alice").exists());
    // Nor before enough is known.
    let few = self::daemon("file");
    send(&few, "junk", 0..3);
    assert!(verdicts(&few, "INBOX", 1).iter().all(|(_, verdict)| verdict.is_empty()));
}

fn clients_that_copy_and_delete() {
    let daemon = daemon("file");
    send(&daemon, "junk", 0..3);
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("UID STORE 1:3 +FLAGS (Junk)").unwrap();
    imap.ok("UID COPY 1:3 Junk").unwrap();
    imap.ok("UID STORE 1:3 +FLAGS (\\Deleted)").unwrap();
    imap.ok("EXPUNGE").unwrap();
    wait_for_learned(&daemon, "alice", (3, 0));
    // The keyword, the copy and the move all said the same.
    imap.ok("SELECT Junk").unwrap();
    imap.ok("UID COPY 1 INBOX").unwrap();
    imap.ok("UID STORE 1 +FLAGS (\\Deleted)").unwrap();
    imap.ok("EXPUNGE").unwrap();
    wait_for_learned(&daemon, "alice", (2, 1));
    // To throw junk away is not to like it.
    imap.ok("UID MOVE 2:3 Trash").unwrap();
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("UID MOVE 4 Junk").unwrap();
    wait_for_learned(&daemon, "alice", (3, 0));
}

fn moved_back_it_is_unlearned() {
    let daemon = daemon("mark");
    send(&daemon, "junk", 0..1);
    let mut imap = daemon.imap("alice");
    let mut in_inbox = true;
    for round in 0..4_u64 {
        let (from, to) = if in_inbox { ("INBOX", "Junk") } else { ("Junk", "INBOX") };
        imap.ok(&format!("SELECT {from}")).unwrap();
        imap.ok(&format!("MOVE 1 {to}")).unwrap();
        wait_for_learned(&daemon, "alice", if in_inbox { (1, 0) } else { (0, 1) });
        in_inbox = !in_inbox;
        let changes = daemon.log().matches("changed=1").count() as u64;
        assert_eq!(changes, round);
    }
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("STORE 1 +FLAGS ($Junk $NotJunk)").unwrap();
    imap.ok("STORE 1 -FLAGS ($NotJunk)").unwrap();
    imap.ok("STORE 1 FLAGS (\\Seen $Junk)").unwrap();
    wait_for_learned(&daemon, "alice", (1, 0));
}

fn in_the_browser() {
    let daemon = daemon("file");
    send(&daemon, "junk", 0..2);
    let mut alice = Browser::of(&daemon, "alice");
    for message in alice.get("/m/INBOX").messages() {
        alice.act("/m/INBOX", &[("do", "junk"), ("m", &message)]);
    }
    wait_for_learned(&daemon, "alice", (2, 0));
    let message = alice.get("/m/Junk").messages().remove(0);
    alice.act("/m/Junk", &[("do", "move"), ("to", "INBOX"), ("m", &message)]);
    wait_for_learned(&daemon, "alice", (1, 1));
    let message = alice.get("/m/Junk").messages().remove(0);
    alice.act("/m/Junk", &[("do", "delete"), ("m", &message)]);
    let message = alice.get("/m/INBOX").messages().remove(0);
    alice.act("/m/INBOX", &[("do", "junk"), ("m", &message)]);
    wait_for_learned(&daemon, "alice", (2, 0));
}

fn what_is_kept_is_good() {
    let daemon = daemon("mark");
    send(&daemon, "good", 0..4);
    let mut imap = daemon.imap("alice");
    imap.ok("CREATE Choir").unwrap();
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("UID MOVE 1 Choir").unwrap();
    imap.ok("UID MOVE 2 Archive").unwrap();
    imap.ok("UID MOVE 3 Trash").unwrap();
    imap.ok("UID MOVE 4 Junk").unwrap();
    wait_for_learned(&daemon, "alice", (1, 2));
    // From there on it says nothing.
    imap.ok("SELECT Choir").unwrap();
    imap.ok("MOVE 1 Archive").unwrap();
    imap.ok("SELECT Junk").unwrap();
    imap.ok("MOVE 1 Choir").unwrap();
    wait_for_learned(&daemon, "alice", (0, 3));
}

fn learned_from_files_and_folders() {
    let daemon = daemon("file");
    let all = |kind: &str| {
        let one = |number| {
            format!("From x@y.test Sat Nov 28 12:00:00 2026\n{}\n", String::from_utf8(letter(kind, number, "")).unwrap())
        };
        (0..ENOUGH).map(one).collect::<String>().replace("\r\n", "\n")
    };
    fs::write(daemon.path("junk.mbox"), all("junk")).unwrap();
    fs::write(daemon.path("good.mbox"), all("good")).unwrap();
    fs::write(daemon.path("one.eml"), letter("good", 50, "")).unwrap();
    let tool = |words: &[&str]| {
        let output = pillarboxctl(&daemon.config(), &[&["junk"], words].concat(), b"");
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let path = |name: &str| daemon.path(name).to_str().unwrap().to_owned();
    assert_eq!(tool(&["show", "alice"]).1, "0 learned as junk, 0 as good, with 0 words; mail is judged from 20 of each on\n");
    assert_eq!(
        tool(&["learn", "alice", "--junk", &path("junk.mbox")]),
        (Some(0), "20 messages learned, 0 known already\n".into())
    );
    let (good, one) = (path("good.mbox"), path("one.eml"));
    assert_eq!(tool(&["learn", "alice", "--good", &good, &one]).1, "21 messages learned, 0 known already\n");
    assert_eq!(tool(&["learn", "alice", "--good", &good]).1, "0 messages learned, 20 known already\n");
    assert_eq!(
        tool(&["learn", "alice", "--junk", &one]).1,
        "0 messages learned, 1 learned otherwise than before, 0 known already\n"
    );
    assert!(tool(&["show", "alice"]).1.starts_with("21 learned as junk, 20 as good, with "));
    assert_eq!(tool(&["learn", "alice", "--spam"]).0, Some(64));
    assert_eq!(tool(&["learn", "nobody", "--junk"]).0, Some(67));
    assert_eq!(tool(&["learn", "alice", "--junk", "/nowhere"]).0, Some(66));
    // Who has no folder for junk has none to learn from, and finds it all where all mail is.
    assert_eq!(tool(&["learn", "alice", "--junk"]).0, Some(66));
    send(&daemon, "junk", 100..101);
    let mail = daemon.mail("alice");
    assert!(mail.len() == 1 && String::from_utf8_lossy(&mail[0]).contains("X-Spam-Status: Yes, "), "{mail:?}");
    assert_eq!(tool(&["forget", "alice"]), (Some(0), String::new()));
    assert_eq!(learned(&daemon, "alice"), (0, 0));
    // From folders.
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    assert_eq!(tool(&["learn", "alice", "--good"]).1, "1 message learned, 0 known already\n");
    imap.ok("MOVE 1 Junk").unwrap();
    wait_for_learned(&daemon, "alice", (1, 0));
    assert_eq!(tool(&["learn", "alice", "--junk"]).1, "0 messages learned, 1 known already\n");
}

/// Whatever was learned by then, each message counts once, and no mail is lost.
fn a_kill_spoils_nothing() {
    let mut daemon = Setup::options(&["junk=\"file\""]).prepare();
    daemon.pin_ports();
    daemon.start();
    const ALL: usize = 24;
    send(&daemon, "junk", 0..ALL);
    for round in 0..4 {
        let mut imap = daemon.imap("alice");
        imap.ok("SELECT INBOX").unwrap();
        imap.ok("MOVE 1:6 Junk").unwrap();
        if round % 2 == 1 {
            // It has begun.
            wait_for("a lesson", 30, || daemon.log().contains("event=learned").then_some(()));
        }
        daemon.kill();
        daemon.start();
    }
    assert_eq!((verdicts(&daemon, "Junk", 1).len(), daemon.mail("alice").len()), (ALL, 0));
    let before = learned(&daemon, "alice").0;
    assert!(before <= ALL as u64);
    assert!(daemon.ctl(&["junk", "learn", "alice", "--junk"]).status.success());
    assert_eq!(learned(&daemon, "alice"), (ALL as u64, 0));
    assert!(!daemon.log().contains("junk-damaged"));
}

fn a_damaged_file_is_begun_anew() {
    let daemon = taught("file");
    let file = daemon.spool().join("junk").join("alice");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    send(&daemon, "junk", 100..101);
    let inbox = verdicts(&daemon, "INBOX", ENOUGH + 1);
    assert_eq!(inbox, [("junk 100".to_owned(), String::new())]);
    assert!(daemon.log().contains("event=not-judged"));
    assert_eq!(daemon.ctl(&["junk", "show", "alice"]).status.code(), Some(65));
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("MOVE * Junk").unwrap();
    wait_for("a new file", 30, || daemon.ctl(&["junk", "show", "alice"]).status.success().then_some(()));
    assert_eq!(learned(&daemon, "alice"), (1, 0));
    assert!(daemon.log().contains("event=junk-damaged user=alice"));
}

fn nobody_else_tells_our_verdict() {
    let daemon = taught("file");
    let forged = "X-Spam-Status: No, score=0.00 required=0.95\r\n\tby=Mail.Here.test (like good mail)\r\n\
                  X-Spam-Status: Yes, score=9.1 required=5.0 tests=A\r\n";
    let reply = daemon.smtp().send("x@far.test", &["alice@here.test", "bob@here.test"], &letter("junk", 100, forged)).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let junk = verdicts(&daemon, "Junk", ENOUGH + 1);
    assert!(junk.len() == 1 && junk[0].1.contains("by=mail.here.test (like junk: "), "{junk:?}");
    let bob = daemon.mail("bob").remove(0);
    let bob = String::from_utf8(bob).unwrap();
    assert!(!bob.to_lowercase().contains("by=mail.here.test") && bob.contains("X-Spam-Status: Yes, score=9.1"), "{bob}");
}

fn junk_gets_no_reply() {
    let daemon = taught("file");
    assert!(pillarboxctl(&daemon.config(), &["vacation", "set", "alice"], b"I am away.\n").status.success());
    let send = |kind: &str, from: &str| {
        let reply = daemon.smtp().send(from, &["alice@here.test"], &letter(kind, 100, "")).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    };
    send("junk", "bob@here.test");
    send("good", "bob@here.test");
    let mail = daemon.wait_for_mail("bob", 1, 30);
    assert!(mail.len() == 1 && String::from_utf8_lossy(&mail[0]).contains("Subject: Auto: good 100"), "{mail:?}");
}
