//! What is done to messages that are composed on the server: REPLACE and CATENATE.

use super::imap::count;
use super::load::{resident, works};
use crate::common::{Imap, Random, Setup, letter, wait_for};
use std::time::{Duration, Instant};

crate::tests![kill_in_replace, two_replace_one_message, catenate_without_end, url_literals_are_never_commands];

/// The subject of the folder's only message.
fn only(imap: &mut Imap) -> String {
    wait_for("one message", 60, || (count(imap, "Drafts") == 1).then_some(()));
    imap.ok("SELECT Drafts").unwrap();
    let lines = imap.ok("FETCH 1 BODY.PEEK[]").unwrap();
    let subject = lines.iter().find_map(|line| line.strip_prefix("Subject: ")).unwrap().to_owned();
    let body = lines.iter().filter(|line| *line == &format!("the body of {subject}")).count();
    assert_eq!(body, 2_000, "{subject} is not whole");
    subject
}

fn draft(subject: usize) -> String {
    format!("Subject: {subject}\r\n\r\n{}", format!("the body of {subject}\r\n").repeat(2_000))
}

/// A kill at any time leaves the old draft or the new one, whole; what was acknowledged is the new one.
fn kill_in_replace() {
    let mut daemon = Setup::default().start();
    let mut random = Random(0x4e9);
    let mut imap = daemon.imap("alice");
    let text = draft(0);
    imap.begin(format!("APPEND Drafts {{{}+}}\r\n{text}", text.len()).as_bytes()).unwrap();
    imap.ok("NOOP").unwrap();
    let (mut last, mut lost) = (0, 0);
    for round in 1..=12 {
        imap.ok("SELECT Drafts").unwrap();
        let text = draft(round);
        imap.talk.send(format!("a REPLACE 1 Drafts {{{}+}}\r\n{text}\r\n", text.len()).as_bytes()).unwrap();
        let told = round % 4 == 0 && imap.finish("a").unwrap().last().unwrap().starts_with("a OK");
        if !told {
            // The time of the kill is the subject: nothing can be waited for.
            std::thread::sleep(Duration::from_micros(random.below(12_000) as u64));
        }
        daemon.kill();
        daemon.start();
        imap = daemon.imap("alice");
        let there: usize = only(&mut imap).parse().unwrap();
        assert!(there == round || (!told && there == last), "round {round}: {there}, told: {told}");
        lost += usize::from(there == last);
        last = there;
    }
    crate::runner::note(format!("{lost} of 12 left the old one"));
    works(&daemon);
}

/// Sessions replace, or move, one message at the same time, and don't know of each other: there are never two for one.
fn two_replace_one_message() {
    let daemon = Setup::default().start();
    let mut sessions: Vec<Imap> = (0..2).map(|_| daemon.imap("alice")).collect();
    let text = draft(0);
    sessions[0].begin(format!("APPEND Drafts {{{}+}}\r\n{text}", text.len()).as_bytes()).unwrap();
    sessions[0].ok("NOOP").unwrap();
    for round in 1..=20 {
        for imap in &mut sessions {
            imap.ok("SELECT Drafts").unwrap();
        }
        for (at, imap) in sessions.iter_mut().enumerate() {
            let text = draft(round * 2 + at);
            imap.talk.send(format!("a REPLACE 1 Drafts {{{}+}}\r\n{text}\r\n", text.len()).as_bytes()).unwrap();
        }
        let answers: Vec<String> = sessions.iter_mut().map(|imap| imap.finish("a").unwrap().pop().unwrap()).collect();
        let fine = answers.iter().filter(|answer| answer.starts_with("a OK")).count();
        assert_eq!(fine, 1, "round {round}: {answers:?}");
        assert_eq!(count(&mut sessions[0], "Drafts"), 1, "round {round}: {answers:?}");
        if round % 4 == 0 {
            for imap in &mut sessions {
                imap.ok("SELECT Drafts").unwrap();
            }
            sessions.iter_mut().for_each(|imap| imap.talk.send(b"m MOVE 1 Archive\r\n").unwrap());
            let answers: Vec<String> = sessions.iter_mut().map(|imap| imap.finish("m").unwrap().pop().unwrap()).collect();
            let there = (count(&mut sessions[0], "Drafts"), count(&mut sessions[0], "Archive"));
            assert_eq!(there, (0, round / 4), "round {round}: {answers:?}");
            sessions[0].ok("SELECT Archive").unwrap();
            sessions[0].ok("COPY * Drafts").unwrap();
        }
    }
    works(&daemon);
}

/// Many URLs, and such as grow by what they name.
fn catenate_without_end() {
    let daemon = Setup::options(&["limits.errors=1000", "smtp.max_message_size=\"1M\""]).start();
    let body = "0123456789012345678901234567890123456789012345678901234567890123\n".repeat(8_000);
    assert!(daemon.send(&["alice@here.test"], &letter("big", &body)).starts_with("250"));
    let mut imap = daemon.imap("alice");
    let begun = Instant::now();
    for (urls, expected) in [
        ("URL /INBOX/;UID=1 ".repeat(3_000), "NO [TOOBIG]"),
        ("URL /INBOX/;UID=1/;PARTIAL=0.1 ".repeat(2_000), "NO [LIMIT]"),
        ("URL /INBOX/;UID=1/;PARTIAL=0.1 ".repeat(1_000), "OK [APPENDUID"),
        ("URL /nothing/;UID=1 ".repeat(3_000), "NO [BADURL"),
        (format!("URL /{}/;UID=1 ", "%41".repeat(20_000)), "NO [BADURL"),
        (format!("URL /INBOX/;UID=1/;SECTION={}1 ", "1.".repeat(20_000)), "NO [BADURL"),
        ("URL /INBOX/;UID=1/;PARTIAL=9223372036854775807.9223372036854775807 ".to_owned(), "NO [CANNOT]"),
        ("URL /INBOX/;UID=4294967295 ".to_owned(), "NO [BADURL"),
    ] {
        let lines = imap.command(&format!("APPEND Drafts CATENATE ({})", urls.trim_end())).unwrap();
        assert!(lines.last().unwrap().starts_with(expected), "{}: {lines:?}", &urls[..30]);
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    // What came of it is composed again and again, up to the limit.
    let mut size = 0;
    for round in 0..12 {
        let urls = "URL /Trash/;UID=*".replace('*', &round.to_string());
        let parts = if round == 0 { "TEXT {3000+}\r\n".to_owned() + &"x".repeat(3_000) } else { format!("{urls} {urls}") };
        let lines = imap.command(&format!("APPEND Trash CATENATE ({parts})")).unwrap();
        match lines.last().unwrap() {
            told if told.starts_with("OK") => size = (size * 2).max(3_000),
            told => {
                assert!(told.starts_with("NO [TOOBIG]") && size > 300_000, "{told} {size}");
                break;
            }
        }
    }
    assert!(resident(daemon.pid()) < 100 << 10, "{} KiB resident", resident(daemon.pid()));
    works(&daemon);
}

/// Whatever is wrong with what is catenated: what stands in a literal is not carried out, and the next command is.
fn url_literals_are_never_commands() {
    let daemon = Setup::options(&["limits.errors=100000", "smtp.max_message_size=\"1M\""]).start();
    let mut random = Random(0xca7e);
    let planted = ["x CREATE planted\r\n", "\r\nx CREATE planted\r\n", ")\r\nx LOGOUT\r\n", "/INBOX/;UID=1"];
    let heads = [
        "APPEND INBOX CATENATE (TEXT ",
        "APPEND INBOX CATENATE (URL ",
        "APPEND INBOX CATENATE (URL /INBOX/;UID=7 TEXT ",
        "APPEND nothing CATENATE (TEXT ",
        "APPEND INBOX CATENATE (UTF8 (~",
        "APPEND INBOX CATENATE TEXT ",
        "APPEND INBOX CATENATE (",
        "REPLACE 1 INBOX ",
        "REPLACE 9 INBOX CATENATE (TEXT ",
        "UID REPLACE 1 INBOX CATENATE (URL ",
        "UID REPLACE ",
        "REPLACE ",
    ];
    let between = ["", " ", ")", " TEXT ", " URL ", " CATENATE (TEXT ", ") ", " UTF8 (~", " nonsense"];
    let mut imap = daemon.imap("alice");
    imap.begin(b"APPEND INBOX {3+}\r\na:b").unwrap();
    imap.ok("SELECT INBOX").unwrap();
    for round in 0..600 {
        let mut command = heads[random.below(heads.len())].to_owned();
        for _ in 0..1 + random.below(3) {
            let text = planted[random.below(planted.len())];
            command += &format!("{{{}+}}\r\n{text}{}", text.len(), between[random.below(between.len())]);
        }
        imap.begin(command.as_bytes()).unwrap();
        let lines = imap.command("NOOP").unwrap_or_else(|error| panic!("round {round}, {command:?}: {error}"));
        let tagged = lines.iter().filter(|line| !line.starts_with('*') && !line.starts_with("OK")).count();
        assert!(tagged == 1 && !lines.iter().any(|line| line.starts_with("x ")), "round {round}, {command:?}: {lines:?}");
    }
    assert_eq!(imap.ok("LIST \"\" planted").unwrap().len(), 1);
    works(&daemon);
}
