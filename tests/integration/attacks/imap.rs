//! What is done to IMAP in particular. Each ends with a daemon that still takes and gives mail.

use super::load::{resident, works};
use crate::common::{Imap, PASSWORD, Random, Setup, Talk, letter, wait_for};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

crate::tests![
    half_closed_imap,
    slow_imap_clients_meet_their_deadline,
    literals_without_end,
    literals_are_never_commands,
    lines_without_end,
    ten_thousand_imap_commands,
    deep_parentheses,
    huge_sets,
    plaintext_instead_of_a_handshake,
    kill_in_append,
    kill_after_setmetadata,
    mailbox_rewritten_during_a_fetch,
    eight_bit_bytes_and_nul_everywhere,
    nul_in_a_decoded_part,
    imap_client_that_reads_nothing,
];

/// How many messages a folder has.
pub(super) fn count(imap: &mut Imap, folder: &str) -> usize {
    let lines = imap.ok(&format!("STATUS {folder} (MESSAGES)")).unwrap();
    lines[0].rsplit_once("MESSAGES ").unwrap().1.trim_end_matches(')').parse().unwrap()
}

fn half_closed_imap() {
    let daemon = Setup::default().start();
    // All was sent, then our side closed: the answers come, then the end.
    let mut imap = daemon.imap("alice");
    imap.talk.send(b"a APPEND INBOX {6+}\r\na:b\r\n\n\r\nb NOOP\r\nc FETCH").unwrap();
    imap.talk.half_close().unwrap();
    assert!(imap.finish("b").unwrap().iter().any(|line| line.starts_with("a OK")));
    assert!(imap.talk.ends());
    // In the middle of a message, and of a command's literal: neither is carried out.
    for half in ["a APPEND INBOX {100+}\r\na:b\r\n", "a CREATE {100+}\r\nhalf", "a SELECT INBOX\r\nb IDLE\r\n"] {
        let mut imap = daemon.imap("alice");
        imap.talk.send(half.as_bytes()).unwrap();
        imap.talk.half_close().unwrap();
        assert!(imap.talk.ends(), "{half}");
    }
    let mut imap = daemon.imap("alice");
    assert_eq!(count(&mut imap, "INBOX"), 1);
    assert_eq!(imap.ok("LIST \"\" half*").unwrap().len(), 1);
    works(&daemon);
}

fn slow_imap_clients_meet_their_deadline() {
    let daemon = Setup::options(&["timeouts.command=\"1s\"", "timeouts.data=\"1s\""]).start();
    // Who says nothing, and who says it slowly.
    let mut silent = Imap::connect(daemon.at("imap")).unwrap();
    assert!(silent.talk.line().unwrap().starts_with("* BYE"));
    assert!(silent.talk.ends());
    let mut slow = Imap::connect(daemon.at("imap")).unwrap();
    let begun = Instant::now();
    while slow.talk.send(b"x").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it would go on for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Who does not come to an end with a login.
    let mut slow = Imap::connect(daemon.at("imap")).unwrap();
    slow.talk.send(b"a AUTHENTICATE PLAIN\r\n").unwrap();
    let begun = Instant::now();
    while slow.talk.send(b"A").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it would go on for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Who stops in the middle of a literal.
    for half in ["a CREATE {100+}\r\nhalf", "a APPEND INBOX {100+}\r\nhalf"] {
        let mut imap = daemon.imap("alice");
        imap.talk.send(half.as_bytes()).unwrap();
        assert!(imap.talk.line().unwrap().starts_with("* BYE"), "{half}");
        assert!(imap.talk.ends());
    }
    // Who is logged in may be silent for longer.
    let mut patient = daemon.imap("alice");
    std::thread::sleep(Duration::from_millis(1500));
    patient.ok("NOOP").unwrap();
    works(&daemon);
}

fn literals_without_end() {
    let daemon = Setup::options(&["limits.errors=1000"]).start();
    // Before login: big ones, and small ones that add up.
    for first in ["a LOGIN {90000000+}\r\n", "a APPEND INBOX {90000000+}\r\n", "a LOGIN {8000+}\r\n"] {
        let mut imap = Imap::connect(daemon.at("imap")).unwrap();
        imap.talk.send(first.as_bytes()).unwrap();
        let block = b"xxxxxxxxxx {4000+}\r\n".repeat(5_000);
        let sent = (0..100).take_while(|_| imap.talk.send(&block).is_ok()).count();
        assert!(sent < 100, "{first}: it takes for ever");
    }
    let mut imap = Imap::connect(daemon.at("imap")).unwrap();
    imap.talk.send(b"a LOGIN").unwrap();
    let chain = b" {0+}\r\n".repeat(5_000);
    assert!((0..1000).take_while(|_| imap.talk.send(&chain).is_ok()).count() < 1000);
    // After it what is too big is dropped as it comes.
    let mut imap = daemon.imap("alice");
    imap.talk.send(format!("a CREATE {{{}+}}\r\n", 60 << 20).as_bytes()).unwrap();
    let block = vec![b'x'; 1 << 20];
    (0..60).for_each(|_| imap.talk.send(&block).unwrap());
    imap.talk.send(b"\r\n").unwrap();
    assert!(imap.finish("a").unwrap().last().unwrap().starts_with("a NO [TOOBIG]"));
    imap.talk.send(b"b CREATE").unwrap();
    (0..20).for_each(|_| imap.talk.send(&chain).unwrap());
    imap.talk.send(b"\r\n").unwrap();
    assert!(imap.finish("b").unwrap().last().unwrap().starts_with("b NO [TOOBIG]"));
    assert!(resident(daemon.pid()) < 100 << 10, "{} KiB resident", resident(daemon.pid()));
    works(&daemon);
}

/// Whatever is wrong with a command: what stands in a literal of its is not carried out, and the next command is.
fn literals_are_never_commands() {
    let daemon = Setup::options(&["limits.errors=100000", "smtp.max_message_size=\"1M\""]).start();
    let mut random = Random(0x11c7);
    let planted = ["x CREATE planted\r\n", "\r\nx CREATE planted\r\n", "x APPEND INBOX {3+}\r\na:b\r\n", "x LOGOUT\r\n"];
    let heads: [&[u8]; 16] = [
        b"CREATE ",
        b"CREATE a\0",
        b"CREATE (",
        b"NOSUCH ",
        b"LOGIN a ",
        b"FETCH 1 BODY[HEADER.FIELDS (",
        b"LIST \"\" (",
        b"STATUS \"",
        b"ID (",
        b"APPEND INBOX ",
        b"APPEND INBOX (\\Nonsense) ",
        b"APPEND INBOX \"31-Feb-2026 00:00:00 +0000\" ",
        b"APPEND nothing ",
        b"APPEND INBOX UTF8 (~",
        b"APPEND ",
        b"SEARCH SUBJECT ",
    ];
    let between: [&[u8]; 6] = [b"", b" ", b")", b" (\\Seen) ", b" nonsense\xff", b" \"x\" "];
    let mut imap = daemon.imap("alice");
    for round in 0..400 {
        let mut command = heads[random.below(heads.len())].to_vec();
        for _ in 0..1 + random.below(3) {
            let text = planted[random.below(planted.len())].repeat(1 + random.below(2));
            command.extend_from_slice(format!("{{{}+}}\r\n{text}", text.len()).as_bytes());
            command.extend_from_slice(between[random.below(between.len())]);
        }
        imap.begin(&command).unwrap();
        let shown = command.escape_ascii().to_string();
        let lines = imap.command("NOOP").unwrap_or_else(|error| panic!("round {round}, {shown}: {error}"));
        let answered = lines.iter().filter(|line| line.contains(" OK") || line.contains(" BAD") || line.contains(" NO")).count();
        assert!(answered == 1 && !lines.iter().any(|line| line.starts_with("x ")), "round {round}, {shown}: {lines:?}");
    }
    assert_eq!(imap.ok("LIST \"\" planted").unwrap().len(), 1);
    works(&daemon);
}

fn lines_without_end() {
    let daemon = Setup::default().start();
    let block = vec![b'x'; 1 << 20];
    let before = Imap::connect(daemon.at("imap")).unwrap();
    let (after, mut idle) = (daemon.imap("alice"), daemon.imap("alice"));
    idle.talk.send(b"a IDLE\r\n").unwrap();
    for mut imap in [before, after, idle] {
        let sent = (0..64).take_while(|_| imap.talk.send(&block).is_ok()).count();
        assert!(sent < 64, "it takes for ever");
    }
    assert!(resident(daemon.pid()) < 100 << 10, "{} KiB resident", resident(daemon.pid()));
    works(&daemon);
}

fn ten_thousand_imap_commands() {
    let daemon = Setup::default().start();
    assert!(daemon.send(&["alice@here.test"], &letter("one", "x")).starts_with("250"));
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    for round in 0..20 {
        let batch: String =
            (0..250).map(|number| format!("n{number} NOOP\r\nf{number} UID FETCH 1:* (FLAGS ENVELOPE)\r\n")).collect();
        imap.talk.send(batch.as_bytes()).unwrap();
        for number in 0..250 {
            assert_eq!(imap.finish(&format!("n{number}")).unwrap().len(), 1, "round {round}");
            assert_eq!(imap.finish(&format!("f{number}")).unwrap().len(), 2, "round {round}");
        }
    }
    works(&daemon);
}

fn deep_parentheses() {
    let daemon = Setup::options(&["limits.errors=1000"]).start();
    assert!(daemon.send(&["alice@here.test"], &letter("one", "x")).starts_with("250"));
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    let deep = "(".repeat(100_000);
    let numbers = "1.".repeat(50_000);
    for command in [
        format!("FETCH 1 {deep}"),
        format!("FETCH 1 BODY[HEADER.FIELDS {deep}"),
        format!("FETCH 1 BODY[{numbers}1]"),
        format!("LIST {deep} \"\" *"),
        format!("LIST \"\" {deep}"),
        format!("LIST \"\" * RETURN {deep}"),
        format!("STATUS INBOX {deep}"),
        format!("STORE 1 FLAGS {deep}"),
        format!("STORE 1 {deep}"),
        format!("SELECT INBOX {deep}"),
        format!("CREATE x {deep}"),
        format!("ID {deep}"),
        format!("APPEND INBOX {deep}"),
        format!("SEARCH {deep}ALL{}", ")".repeat(100_000)),
        format!("SEARCH {}ALL", "NOT ".repeat(50_000)),
        format!("SEARCH {}ALL ALL", "OR ALL ".repeat(30_000)),
    ] {
        let lines = imap.command(&command).unwrap_or_else(|error| panic!("{}: {error}", &command[..40]));
        assert!(lines.last().unwrap().starts_with(['B', 'N']), "{}: {lines:?}", &command[..40]);
    }
    assert_eq!(imap.ok("FETCH 1 UID").unwrap().len(), 2);
    // Before the login as well.
    let mut stranger = Imap::connect(daemon.at("imap")).unwrap();
    let deep = "(".repeat(8_000);
    for verb in ["ID", "LOGIN", "AUTHENTICATE", "APPEND INBOX", "SEARCH", "FETCH 1", "LIST \"\"", "STATUS INBOX"] {
        let lines = stranger.command(&format!("{verb} {deep}")).unwrap();
        assert!(lines.last().unwrap().starts_with("BAD"), "{verb}: {lines:?}");
    }
    works(&daemon);
}

fn huge_sets() {
    let daemon = Setup::options(&["limits.errors=1000"]).start();
    for subject in ["one", "two"] {
        assert!(daemon.send(&["alice@here.test"], &letter(subject, "x")).starts_with("250"));
    }
    let mut imap = daemon.imap("alice");
    imap.ok("ENABLE QRESYNC").unwrap();
    let opened = imap.ok("SELECT INBOX").unwrap();
    let validity = opened.iter().find_map(|line| line.split("UIDVALIDITY ").nth(1)?.split(']').next()).unwrap();
    let all = vec!["1:4294967295"; 10_000].join(",");
    let apart: String = (1..=10_000_u32).map(|number| format!("{}:{},", number * 400_000, number * 400_000 + 2)).collect();
    for (command, lines) in [
        (format!("UID FETCH {all} UID"), 3),
        (format!("UID FETCH {apart}1 UID"), 0),
        (format!("UID FETCH {}1 UID", "*,".repeat(9_000)), 3),
        (format!("UID FETCH {all},1 UID"), 0),
        (format!("UID STORE {all} +FLAGS.SILENT (\\Seen)"), 3),
        (format!("UID COPY {all} Trash"), 1),
        (format!("UID EXPUNGE {all}"), 1),
        (format!("FETCH {all} UID"), 0),
        ("UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)".to_owned(), 3),
        (format!("UID FETCH {all} FLAGS (CHANGEDSINCE 1 VANISHED)"), 3),
        (format!("SELECT INBOX (QRESYNC ({validity} 1 1:4294967295 (1:4294967295 1:4294967295)))"), 0),
    ] {
        let begun = Instant::now();
        let told = imap.command(&command).unwrap();
        let what = &command[..command.len().min(60)];
        // None: it may be refused, or tell more.
        assert!(lines == 0 || told.len() == lines, "{what}: {told:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {:?}", begun.elapsed());
    }
    assert!(resident(daemon.pid()) < 100 << 10, "{} KiB resident", resident(daemon.pid()));
    works(&daemon);
}

fn plaintext_instead_of_a_handshake() {
    let daemon = Setup::default().start();
    let mut talk = Talk::connect(daemon.at("imap")).unwrap();
    talk.line().unwrap();
    talk.send(b"a STARTTLS\r\n").unwrap();
    assert!(talk.line().unwrap().starts_with("a OK"));
    talk.send(format!("b LOGIN alice {PASSWORD}\r\n").as_bytes()).unwrap();
    assert!(talk.ends());
    daemon.wait_for_log(60, "imap end");
    assert!(!daemon.log().contains("auth ok"));
    works(&daemon);
}

/// Whatever is there after a kill was sent, and whole; what was acknowledged is there; of one APPEND all messages are, or none.
fn kill_in_append() {
    let mut daemon = Setup::default().start();
    let mut random = Random(0x1a9);
    let text = |round: usize, part: usize| {
        let body = format!("round {round} part {part}\r\n").repeat(2_000);
        format!("Subject: {round}-{part}\r\n\r\n{body}").into_bytes()
    };
    let mut owed = Vec::new();
    for round in 0..8 {
        let mut imap = daemon.imap("alice");
        let mut command = b"a APPEND Archive".to_vec();
        for part in 0..3 {
            let message = text(round, part);
            command.extend_from_slice(format!(" {{{}+}}\r\n", message.len()).as_bytes());
            command.extend_from_slice(&message);
        }
        command.extend_from_slice(b"\r\n");
        // Once everything, sometimes less.
        let cut = if round % 4 == 3 { random.below(command.len()) } else { command.len() };
        imap.talk.send(&command[..cut]).unwrap();
        std::thread::sleep(Duration::from_micros(random.below(20_000) as u64));
        if round % 4 == 0 {
            assert!(imap.finish("a").unwrap().last().unwrap().starts_with("a OK"));
            owed.push(round);
        }
        daemon.kill();
        daemon.start();
    }
    let mut imap = daemon.imap("alice");
    let there = count(&mut imap, "Archive");
    imap.ok("SELECT Archive").unwrap();
    // Which parts of each round; after a kill they may be in another order.
    let mut rounds: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for number in 1..=there {
        let lines = imap.ok(&format!("FETCH {number} BODY.PEEK[]")).unwrap();
        let subject = lines.iter().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
        let (round, part) = subject.split_once('-').unwrap();
        let (round, part) = (round.parse().unwrap(), part.parse().unwrap());
        let whole = lines[1..lines.len() - 2].join("\r\n") + "\r\n";
        assert!(whole.into_bytes() == text(round, part), "{subject} is not what was sent");
        assert!(rounds.entry(round).or_default().insert(part), "{subject} is there twice");
    }
    assert!(rounds.values().all(|parts| parts.len() == 3), "{rounds:?}");
    assert!(owed.iter().all(|round| rounds.contains_key(round)), "{owed:?} were acknowledged, {rounds:?} are there");
    works(&daemon);
}

/// What was noted is there, all of a command or nothing of it.
fn kill_after_setmetadata() {
    let mut daemon = Setup::default().start();
    let mut random = Random(0x5464);
    let mut owed = 0;
    for round in 1..=12 {
        let mut imap = daemon.imap("alice");
        let value = format!("~{{3+}}\r\n\0{round:02}");
        let tag = imap.begin(format!("SETMETADATA Archive (/private/a {value} /shared/b {value})").as_bytes()).unwrap();
        if round % 2 == 0 {
            assert!(imap.finish(&tag).unwrap().last().unwrap().contains(" OK "));
            owed = round;
        } else {
            std::thread::sleep(Duration::from_micros(random.below(3_000) as u64));
        }
        daemon.kill();
        daemon.start();
        let lines = daemon.imap("alice").ok("GETMETADATA Archive (/private/a /shared/b)").unwrap();
        let told = lines[..lines.len() - 1].join("\n");
        let whole = |of: usize| format!("* METADATA \"Archive\" (/private/a ~{{3}}\n\0{of:02} /shared/b ~{{3}}\n\0{of:02})");
        let nothing = "* METADATA \"Archive\" (/private/a NIL /shared/b NIL)";
        assert!(told == whole(owed) || told == whole(round) || (owed == 0 && told == nothing), "{round}: {told:?}");
        if told == whole(round) {
            owed = round;
        }
    }
    works(&daemon);
}

/// Another program rewrites the file while a big message is sent: no byte of another message may follow.
fn mailbox_rewritten_during_a_fetch() {
    let daemon = Setup::default().start();
    let file = daemon.mailbox("alice");
    let message = |byte: &str| {
        let line = byte.repeat(99) + "\n";
        format!("From x@y.test Sat Nov 21 09:00:00 2026\nSubject: {byte}\n\n{}\n", line.repeat(300_000))
    };
    fs::write(&file, message("A")).unwrap();
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    imap.talk.send(b"a FETCH 1 BODY.PEEK[]\r\n").unwrap();
    let label = imap.talk.line().unwrap();
    let length: usize = label.split(['{', '}']).nth(1).unwrap().parse().unwrap();
    assert!(length > 30_000_000, "{label}");
    // In place, without a lock, at the same length.
    let mut writer = fs::File::options().write(true).open(&file).unwrap();
    writer.write_all(message("B").as_bytes()).unwrap();
    drop(writer);
    let mut read = 0;
    let mut other = 0;
    while let Ok(line) = imap.talk.line() {
        read += line.len() + 2;
        other += usize::from(line.contains('B'));
    }
    assert_eq!(other, 0, "lines of the other message");
    assert!(read < length, "all {length} bytes came though the file was another");
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    let subject = imap.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]").unwrap();
    assert!(subject.iter().any(|line| line == "Subject: B"), "{subject:?}");
    works(&daemon);
}

fn eight_bit_bytes_and_nul_everywhere() {
    let daemon = Setup::options(&["limits.errors=100000"]).start();
    assert!(daemon.send(&["alice@here.test"], &letter("one", "x")).starts_with("250"));
    let mut random = Random(0x8b17);
    let commands = [
        "SELECT INBOX",
        "EXAMINE \"INBOX\" (CONDSTORE)",
        "FETCH 1 (FLAGS BODY.PEEK[HEADER.FIELDS (From \"To\")]<0.10>)",
        "UID FETCH 1:* (UID) (CHANGEDSINCE 5)",
        "STORE 1 (UNCHANGEDSINCE 3) +FLAGS.SILENT (\\Seen word)",
        "COPY 1 \"Archive\"",
        "LIST (SUBSCRIBED) \"\" (\"a*\" b%) RETURN (STATUS (MESSAGES))",
        "LSUB \"\" \"*\"",
        "STATUS INBOX (MESSAGES UIDNEXT)",
        "SUBSCRIBE \"name\"",
        "CREATE \"name &APw-\" (USE (\\Sent))",
        "RENAME \"name\" other",
        "ID (\"name\" \"x\" \"y\" NIL)",
        "ENABLE CONDSTORE",
        "SEARCH CHARSET UTF-8 SUBJECT \"x\" SINCE 1-Jan-2020",
    ];
    let bytes = [0, 1, 0x0a, 0x0d, 0x1b, 0x20, 0x22, 0x28, 0x29, 0x5c, 0x7f, 0x80, 0xc3, 0xff];
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    for round in 0..1_500 {
        let mut command = commands[random.below(commands.len())].as_bytes().to_vec();
        for _ in 0..1 + random.below(3) {
            let at = random.below(command.len() + 1);
            command.insert(at, bytes[random.below(bytes.len())]);
        }
        imap.begin(&command).unwrap();
        let lines =
            imap.ok("NOOP").unwrap_or_else(|error| panic!("round {round}, {:?}: {error}", command.escape_ascii().to_string()));
        assert!(lines.iter().all(|line| !line.contains('\0')));
    }
    assert_eq!(count(&mut imap, "INBOX"), 1);
    let log = daemon.log();
    assert!(!log.contains("panic"), "{log}");
    assert!(log.chars().all(|char| !char.is_control() || matches!(char, '\n' | '\t')));
    works(&daemon);
}

/// A part that holds a NUL when it is decoded comes as a literal8 (RFC 3516 §4.2), and is whole.
fn nul_in_a_decoded_part() {
    let daemon = Setup::default().start();
    let message = "From: a@b.test\r\nContent-Transfer-Encoding: base64\r\n\r\nAAD/DQo=\r\n";
    assert!(daemon.send(&["alice@here.test"], message.as_bytes()).starts_with("250"));
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    let lines = imap.ok("FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1])").unwrap();
    assert_eq!(lines[..2], ["* 1 FETCH (BINARY.SIZE[1] 5 BINARY[1] ~{5}", "\0\0\u{fffd}"]);
    assert_eq!(lines[2], ")");
}

fn imap_client_that_reads_nothing() {
    let daemon = Setup::options(&["timeouts.data=\"2s\""]).start();
    let body = "0123456789012345678901234567890123456789012345678901234567890123\n".repeat(100_000);
    assert!(daemon.send(&["alice@here.test"], &letter("big", &body)).starts_with("250"));
    let mut deaf = daemon.imap("alice");
    deaf.ok("SELECT INBOX").unwrap();
    let _ = deaf.talk.send("a FETCH 1 BODY[]\r\n".repeat(20).as_bytes());
    let mut other = daemon.imap("alice");
    other.ok("SELECT INBOX").unwrap();
    other.ok("STORE 1 +FLAGS (\\Deleted)").unwrap();
    wait_for("the deaf client's end", 60, || daemon.log().contains("imap end reason=").then_some(()));
    other.ok("EXPUNGE").unwrap();
    works(&daemon);
}
