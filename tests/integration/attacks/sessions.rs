//! What IMAP sessions do to each other, and to the daemon by the way they send.

use super::load::works;
use crate::common::{Daemon, Imap, PASSWORD, Random, Setup, letter, wait_for};
use flate2::{Compress, Compression, FlushCompress};
use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

crate::tests![
    commands_that_come_byte_by_byte,
    few_bytes_that_stand_for_many,
    silent_stores_at_once,
    nobody_waits_for_who_reads_nothing,
    searches_without_end_in_parentheses,
];

/// However the bytes of a command are cut, it is the same.
fn commands_that_come_byte_by_byte() {
    let daemon = Setup::default().start();
    let mut imap = Imap::connect(daemon.at("imap")).unwrap();
    let mut say = |text: &str, answers: &[&str]| {
        for byte in text.as_bytes() {
            imap.talk.send(&[*byte]).unwrap();
        }
        for answer in answers {
            let line = imap.talk.line().unwrap();
            assert!(line.starts_with(answer), "{text:?}: {line:?}, not {answer:?}");
        }
    };
    say("a AUTHENTICATE PLAIN\r\n", &["+ "]);
    say("*\r\n", &["a BAD"]);
    say(&format!("b LOGIN {{5+}}\r\nalice {{{}}}\r\n", PASSWORD.len()), &["+ "]);
    say(&format!("{PASSWORD}\r\n"), &["b OK"]);
    say("c APPEND INBOX (\\Seen) {6+}\r\na:b\r\n\n {7+}\r\nc:d\r\n\r\n\r\n", &["c OK [APPENDUID"]);
    say("d EXAMINE INBOX\r\n", &["* FLAGS", "* OK [PERM", "* 2 EXISTS", "* 2 RECENT"]);
    say("", &["* OK [UNSEEN 2]", "* OK [UIDV", "* OK [UIDN", "* OK [HIGH", "* OK [MAILBOXID", "d OK"]);
    say("e IDLE\r\n", &["+ "]);
    say("done\r\nf FETCH 1 BODY.PEEK[HEADER.FIELDS ({1+}\r\na)]\r\n", &["e OK", "* 1 FETCH (BODY[HEADER.FIELDS (a)] {7}"]);
    say("g CREATE {3+}\r\n\r\n\0\r\nh LOGOUT\r\n", &["a:b", "", ")", "f OK", "g NO", "* BYE", "h OK"]);
    works(&daemon);
}

/// Sixty megabytes in one literal, packed in sixty kilobytes: they are dropped as they come.
fn few_bytes_that_stand_for_many() {
    let daemon = Setup::default().start();
    let peak = |daemon: &Daemon| {
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim_end_matches(" kB").trim().parse::<u64>().unwrap()
    };
    let mut imap = daemon.imap("alice");
    imap.ok("COMPRESS DEFLATE").unwrap();
    let mut text = format!("a CREATE {{{}+}}\r\n", 60 << 20).into_bytes();
    text.resize(text.len() + (60 << 20), b'x');
    text.extend_from_slice(b"\r\nb LOGOUT\r\n");
    let mut packed = Vec::with_capacity(1 << 20);
    Compress::new(Compression::best(), false).compress_vec(&text, &mut packed, FlushCompress::Sync).unwrap();
    assert!(packed.len() < 100 << 10, "{} bytes", packed.len());
    let before = peak(&daemon);
    imap.talk.send(&packed).unwrap();
    assert!(imap.talk.ends());
    daemon.wait_for_log(60, "imap end reason=\"logout\"");
    assert!(peak(&daemon) < before + (16 << 10), "{before} KiB became {}", peak(&daemon));
    works(&daemon);
}

/// Two sessions change flags of one message without being told their own changes: what each of them knows in the end is true.
fn silent_stores_at_once() {
    let daemon = Setup::default().start();
    assert!(daemon.send(&["alice@here.test"], &letter("one", "x")).starts_with("250"));
    let flags = |line: &str| -> Option<BTreeSet<String>> {
        let list = line.split_once("FLAGS (")?.1.split_once(')')?.0;
        Some(list.split(' ').filter(|flag| !matches!(*flag, "" | "\\Recent")).map(str::to_owned).collect())
    };
    let told = |lines: &[String], known: &mut BTreeSet<String>| {
        lines.iter().filter_map(|line| line.strip_prefix("* 1 FETCH").and_then(flags)).for_each(|now| *known = now);
    };
    let work = |own: &str, seed: u64| {
        let (mut random, mut known) = (Random(seed), BTreeSet::new());
        let mut imap = daemon.imap("alice");
        imap.ok("SELECT INBOX").unwrap();
        told(&imap.ok("FETCH 1 FLAGS").unwrap(), &mut known);
        for _ in 0..600 {
            let set = random.below(2) == 0;
            let lines = imap.ok(&format!("STORE 1 {}FLAGS.SILENT ({own})", if set { '+' } else { '-' })).unwrap();
            told(&lines, &mut known);
            let _ = if set { known.insert(own.to_owned()) } else { known.remove(own) };
        }
        (imap, known)
    };
    let ends: Vec<(Imap, BTreeSet<String>)> = thread::scope(|scope| {
        let both = [("\\Seen", 1), ("\\Flagged", 2)].map(|(own, seed)| scope.spawn(move || work(own, seed)));
        both.map(|one| one.join().unwrap()).into()
    });
    for (mut imap, mut known) in ends {
        told(&imap.ok("NOOP").unwrap(), &mut known);
        let lines = imap.ok("FETCH 1 FLAGS").unwrap();
        assert_eq!(Some(&known), flags(&lines[0]).as_ref(), "{lines:?}");
    }
    works(&daemon);
}

/// A client asks for a big message and does not read it: no other session waits for that, whatever it does.
fn nobody_waits_for_who_reads_nothing() {
    let daemon = Setup::default().start();
    let body = "0123456789012345678901234567890123456789012345678901234567890123\n".repeat(300_000);
    for subject in ["big", "other"] {
        assert!(daemon.send(&["alice@here.test"], &letter(subject, &body)).starts_with("250"));
    }
    let mut deaf = daemon.imap("alice");
    deaf.ok("SELECT INBOX").unwrap();
    deaf.talk.send(b"a FETCH 1 BODY.PEEK[]\r\n").unwrap();
    assert!(deaf.talk.line().unwrap().starts_with("* 1 FETCH (BODY[] {"));
    let begun = Instant::now();
    let mut other = daemon.imap("alice");
    other.ok("SELECT INBOX").unwrap();
    for command in
        ["STORE 2 +FLAGS (\\Flagged)", "COPY 2 Trash", "SEARCH BODY nowhere", "STORE 1:2 +FLAGS (\\Deleted)", "EXPUNGE"]
    {
        other.ok(command).unwrap();
    }
    assert!(daemon.send(&["alice@here.test"], &letter("new", "x")).starts_with("250"));
    assert!(other.ok("NOOP").unwrap().iter().any(|line| line == "* 1 EXISTS"));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    // It gets all of the message, or not its end: no byte of another.
    let mut lines = 0;
    while let Ok(line) = deaf.talk.line() {
        if line.starts_with("a OK") {
            break;
        }
        lines += usize::from(line.starts_with("0123456789"));
    }
    assert!(lines <= 300_000);
    works(&daemon);
}

/// As many keys as a command may have, on a mailbox of some size, are answered in no time or refused.
fn searches_without_end_in_parentheses() {
    let daemon = Setup::options(&["limits.errors=1000"]).start();
    let mut imap = daemon.imap("alice");
    let message = "{8+}\r\na:b\r\n\r\nx";
    imap.ok(&format!("APPEND INBOX {}", vec![message; 200].join(" "))).unwrap();
    imap.ok("SELECT INBOX").unwrap();
    let begun = Instant::now();
    for keys in [
        vec!["TEXT zzz"; 900].join(" "),
        vec!["OR BODY y NOT HEADER a b"; 240].join(" "),
        format!("{}SEEN{}", "(".repeat(50), ")".repeat(50)),
        format!("{}SEEN", "NOT ".repeat(50)),
        vec!["1:*"; 900].join(" "),
        vec!["NOT 1:4294967295,*"; 400].join(" "),
        vec!["(OR SINCE 1-Jan-1970 SENTBEFORE 1-Jan-1970)"; 240].join(" "),
    ] {
        let lines = imap.command(&format!("SEARCH {keys}")).unwrap();
        assert!(lines.last().unwrap().contains("OK"), "{}: {lines:?}", &keys[..40]);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    wait_for("calm", 60, || imap.ok("NOOP").ok());
    works(&daemon);
}
