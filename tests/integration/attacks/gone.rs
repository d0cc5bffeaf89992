//! Clients that ask for much and go away, and such as read slowly.

use super::load::{resident, works};
use crate::common::{Daemon, Imap, Setup, wait_for};
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

crate::tests![
    a_search_ends_with_its_client,
    a_fetch_ends_with_its_client,
    a_hundred_thousand_commands_at_once,
    a_slow_reader_of_many_messages
];

/// A mailbox of so many messages, of about so many bytes each.
fn fill(daemon: &Daemon, count: usize, size: usize) {
    let line = "0123456789 abcdefghij klmnopqrst uvwxyz ABCDEFGHIJ KLMNOPQRST UVWX\n";
    let body = line.repeat(size / line.len());
    let mut file = String::with_capacity(count * (size + 100));
    for number in 0..count {
        let _ = write!(file, "From x@y.test Sat Nov 21 09:00:00 2026\nSubject: {number}\n\n{body}\n");
    }
    fs::write(daemon.mailbox("alice"), file).unwrap();
}

fn ends(daemon: &Daemon) -> usize {
    daemon.log().matches("imap end").count()
}

/// Who asks for many searches and goes away does not keep the daemon busy with them.
fn a_search_ends_with_its_client() {
    let daemon = Setup::default().start();
    fill(&daemon, 600, 100_000);
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    let begun = Instant::now();
    imap.ok("SEARCH BODY nowhere").unwrap();
    let whole = begun.elapsed();
    // Who closed its own side only gets its answer, and is told meanwhile that it will.
    imap.talk.send(b"a SEARCH BODY nowhere\r\n").unwrap();
    imap.talk.half_close().unwrap();
    let told = imap.finish("a").unwrap();
    assert!(told.contains(&"* SEARCH".to_owned()) && told.last().unwrap().starts_with("a OK"), "{told:?}");
    assert!(imap.talk.ends());
    let before = ends(&daemon);
    for command in ["SEARCH BODY nowhere", "SORT (SUBJECT) UTF-8 BODY nowhere", "ESEARCH IN (personal) BODY nowhere"] {
        let mut imap = daemon.imap("alice");
        imap.ok("SELECT INBOX").unwrap();
        imap.talk.send(format!("a {command}\r\n").repeat(40).as_bytes()).unwrap();
        drop(imap);
    }
    let begun = Instant::now();
    wait_for("the end of all three", 300, || (ends(&daemon) == before + 3).then_some(()));
    let all = begun.elapsed();
    assert!(all < whole * 20 + Duration::from_secs(2), "one search took {whole:?}, 120 that nobody waited for {all:?}");
    works(&daemon);
}

/// Nor does who asks for a big message again and again.
fn a_fetch_ends_with_its_client() {
    let daemon = Setup::default().start();
    fill(&daemon, 1, 50_000_000);
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    let begun = Instant::now();
    imap.ok("FETCH 1 BODY.PEEK[]").unwrap();
    let whole = begun.elapsed();
    let before = ends(&daemon);
    imap.talk.send("a FETCH 1 BODY.PEEK[]\r\n".repeat(40).as_bytes()).unwrap();
    assert!(imap.talk.line().unwrap().starts_with("* 1 FETCH"));
    drop(imap);
    let begun = Instant::now();
    wait_for("the end of it", 300, || (ends(&daemon) == before + 1).then_some(()));
    assert!(begun.elapsed() < whole + Duration::from_secs(2), "one took {whole:?}, the end {:?}", begun.elapsed());
    works(&daemon);
}

/// They are sent before the first answer is read, as far as the kernels hold them.
fn a_hundred_thousand_commands_at_once() {
    let daemon = Setup::default().start();
    let imap = daemon.imap("alice");
    let Imap { talk, .. } = imap;
    let (mut sender, mut reader) = talk.split().unwrap();
    let sending = std::thread::spawn(move || {
        (0..100).for_each(|part| {
            let batch: String = (0..1_000).map(|number| format!("n{} NOOP\r\n", part * 1_000 + number)).collect();
            sender.send(batch.as_bytes()).unwrap();
        });
    });
    for number in 0..100_000 {
        let line = reader.line().unwrap();
        assert!(line.starts_with(&format!("n{number} OK")), "{number}: {line}");
    }
    sending.join().unwrap();
    assert!(resident(daemon.pid()) < 100 << 10, "{} KiB resident", resident(daemon.pid()));
    works(&daemon);
}

/// Others are served meanwhile, the mailbox can be changed, and nothing piles up in memory.
fn a_slow_reader_of_many_messages() {
    let daemon = Setup::options(&["timeouts.data=\"3s\""]).start();
    fill(&daemon, 2_000, 20_000);
    let mut slow = daemon.imap("alice");
    slow.ok("SELECT INBOX").unwrap();
    slow.talk.send(b"a FETCH 1:* (ENVELOPE BODY.PEEK[])\r\n").unwrap();
    let mut other = daemon.imap("alice");
    other.ok("SELECT INBOX").unwrap();
    other.ok("STORE 1:* +FLAGS.SILENT (\\Seen)").unwrap();
    // Slowly, but without a pause as long as the deadline: it is served to the end of its patience.
    for _ in 0..20 {
        assert!(slow.talk.line().is_ok());
        std::thread::sleep(Duration::from_millis(20));
    }
    other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").unwrap();
    other.ok("EXPUNGE").unwrap();
    // Then it reads nothing any more.
    wait_for("the end of the slow one", 60, || daemon.log().contains("imap end reason=").then_some(()));
    assert!(resident(daemon.pid()) < 100 << 10, "{} KiB resident", resident(daemon.pid()));
    assert_eq!(other.ok("FETCH * UID").unwrap()[0], "* 1999 FETCH (UID 2000)");
    works(&daemon);
}
