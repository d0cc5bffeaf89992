//! Too much of everything: connections, slowness, lines, recipients. Others are served meanwhile and after.

use crate::common::{Daemon, Pop3, Setup, Smtp, Talk, letter, wait_for};
use std::time::{Duration, Instant};

crate::tests![
    out_of_descriptors,
    too_many_sessions,
    slow_senders_meet_their_deadline,
    one_byte_at_a_time_meets_the_deadline,
    half_closed_connections,
    connections_that_say_nothing,
    endless_lines,
    ten_thousand_recipients,
    thousands_of_pipelined_commands,
    client_that_reads_nothing,
    who_speaks_first_is_not_heard,
];

/// Still there, and still able to take and give mail?
pub fn works(daemon: &Daemon) {
    let before = daemon.mail("bob").len();
    let reply = daemon.send(&["bob@here.test"], &letter("works", "yes"));
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(daemon.mail("bob").len(), before + 1);
}

fn out_of_descriptors() {
    let daemon = Setup { open_files: Some(80), ..Setup::default() }.start();
    works(&daemon);
    let connections: Vec<_> = (0..150).filter_map(|_| Talk::connect(daemon.at("smtp")).ok()).collect();
    assert!(connections.len() > 80);
    std::thread::sleep(Duration::from_millis(500));
    drop(connections);
    // It must notice by itself: no new event comes from a listener that was full.
    wait_for("the daemon to be there again", 60, || Smtp::hello(daemon.at("smtp")).ok());
    wait_for("POP3, too", 60, || Pop3::connect(daemon.at("pop3")).ok());
    works(&daemon);
}

fn too_many_sessions() {
    let daemon = Setup::options(&["limits.sessions=10", "limits.per_service=10"]).start();
    let kept: Vec<_> = (0..10).map(|_| Smtp::connect(daemon.at("smtp")).unwrap()).collect();
    for _ in 0..20 {
        let mut refused = Talk::connect(daemon.at("smtp")).unwrap();
        let line = refused.line().unwrap();
        assert!(line.starts_with("421 4."), "{line}");
        assert!(refused.ends());
    }
    let mut refused = Talk::connect(daemon.at("pop3")).unwrap();
    let line = refused.line().unwrap();
    assert!(line.starts_with("-ERR [SYS/TEMP]"), "{line}");
    let line = Talk::connect(daemon.at("imap")).unwrap().line().unwrap();
    assert!(line.starts_with("* BYE [UNAVAILABLE]"), "{line}");
    drop(kept);
    wait_for("room", 60, || (daemon.log().matches("smtp end").count() == 10).then_some(()));
    works(&daemon);
}

fn slow_senders_meet_their_deadline() {
    let daemon = Setup::options(&["timeouts.command=\"1s\"", "timeouts.data=\"1s\"", "timeouts.idle=\"1s\""]).start();
    let mut smtp = daemon.smtp();
    let begun = Instant::now();
    let said = smtp.reply().unwrap_or_default();
    assert!(said.is_empty() || said.starts_with("421 4.4.2"), "{said}");
    assert!(begun.elapsed() >= Duration::from_millis(900) && begun.elapsed() < Duration::from_secs(25));
    let mut smtp = daemon.smtp();
    for command in ["MAIL FROM:<a@b.test>", "RCPT TO:<alice@here.test>", "DATA"] {
        smtp.command(command).unwrap();
    }
    smtp.talk.send(b"Subject: never ends\r\n\r\nhalf a").unwrap();
    let said = smtp.reply().unwrap_or_default();
    assert!(said.is_empty() || said.starts_with("421 4.4.2"), "{said}");
    assert_eq!(daemon.mail("alice").len(), 0);
    let mut pop3 = daemon.pop3("alice");
    assert!(pop3.talk.ends());
    works(&daemon);
}

fn one_byte_at_a_time_meets_the_deadline() {
    let daemon = Setup::options(&["timeouts.command=\"1s\""]).start();
    let mut smtp = daemon.smtp();
    let begun = Instant::now();
    // A byte every 100 ms keeps each read alive; the command as a whole is over its time.
    while begun.elapsed() < Duration::from_secs(26) && smtp.talk.send(b"N").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "it would go on for ever");
    works(&daemon);
}

fn half_closed_connections() {
    let daemon = Setup::default().start();
    // Everything sent, then our side closed: the answers come, then the end.
    let mut smtp = daemon.smtp();
    smtp.talk.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\n").unwrap();
    for _ in 0..3 {
        assert!(smtp.reply().unwrap().starts_with(['2', '3']));
    }
    smtp.talk.send(b"Subject: half closed\r\n\r\nx\r\n.\r\n").unwrap();
    smtp.talk.half_close().unwrap();
    assert!(smtp.reply().unwrap().starts_with("250"));
    assert!(smtp.talk.ends());
    // In the middle of a message.
    let mut smtp = daemon.smtp();
    smtp.talk.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\nSubject: half").unwrap();
    smtp.talk.half_close().unwrap();
    assert!(smtp.talk.ends());
    assert_eq!(daemon.mail("alice").len(), 1);
    let mut pop3 = daemon.pop3("alice");
    pop3.ok("DELE 1").unwrap();
    pop3.talk.half_close().unwrap();
    assert!(pop3.talk.ends());
    let again = wait_for("the lease", 60, || Pop3::log_in(daemon.at("pop3"), "alice", crate::common::PASSWORD).ok());
    assert_eq!({ again }.count().unwrap(), 1, "no QUIT, no deletion");
}

fn connections_that_say_nothing() {
    let daemon = Setup::default().start();
    let silent: Vec<_> = ["smtp", "submission", "submissions", "pop3", "pop3s", "imap", "imaps"]
        .iter()
        .flat_map(|name| (0..40).map(|_| Talk::connect(daemon.at(name)).unwrap()).collect::<Vec<_>>())
        .collect();
    works(&daemon);
    drop(silent);
    works(&daemon);
}

fn endless_lines() {
    let daemon = Setup::default().start();
    for name in ["smtp", "pop3"] {
        let mut talk = Talk::connect(daemon.at(name)).unwrap();
        talk.line().unwrap();
        let block = vec![b'x'; 1 << 20];
        let mut sent = 0;
        while sent < 64 && talk.send(&block).is_ok() {
            sent += 1;
        }
        let _ = talk.send(b"\r\n");
        let line = talk.line().unwrap_or_default();
        assert!(line.is_empty() || line.starts_with("500 5.") || line.starts_with("421") || line.starts_with("-ERR"), "{line}");
    }
    assert!(resident(daemon.pid()) < 100 << 10, "{} KiB resident", resident(daemon.pid()));
    works(&daemon);
}

/// KiB of memory in use.
pub fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn ten_thousand_recipients() {
    let config = "[[route]]\ndomain = \"away.test\"\nhost = \"127.0.0.1:9\"\n[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n";
    let daemon = Setup::options(&["limits.recipients=100", "limits.errors=20000"]).config(config).start();
    let mut smtp = daemon.smtp();
    smtp.expect("MAIL FROM:<a@b.test>", "250").unwrap();
    let (mut taken, mut later) = (0, 0);
    for round in 0..100 {
        let batch: String = (0..100).map(|number| format!("RCPT TO:<r{round}-{number}@away.test>\r\n")).collect();
        smtp.talk.send(batch.as_bytes()).unwrap();
        for _ in 0..100 {
            let reply = smtp.reply().unwrap();
            match &reply[..3] {
                "250" => taken += 1,
                "452" => later += 1,
                _ => panic!("round {round}: {reply}"),
            }
        }
    }
    assert_eq!((taken, later), (100, 9_900));
    smtp.expect("RSET", "250").unwrap();
    works(&daemon);
}

fn thousands_of_pipelined_commands() {
    let daemon = Setup::default().start();
    let mut smtp = daemon.smtp();
    let mut pop3 = daemon.pop3("alice");
    // Outside of a transaction commands that lead nowhere are counted, and not liked.
    smtp.expect("MAIL FROM:<a@b.test>", "250").unwrap();
    for _ in 0..20 {
        smtp.talk.send("NOOP\r\n".repeat(500).as_bytes()).unwrap();
        pop3.talk.send("NOOP\r\n".repeat(500).as_bytes()).unwrap();
        for _ in 0..500 {
            assert!(smtp.reply().unwrap().starts_with("250"));
            assert!(pop3.talk.line().unwrap().starts_with("+OK"));
        }
    }
}

fn client_that_reads_nothing() {
    let daemon = Setup::options(&["timeouts.command=\"1s\"", "timeouts.idle=\"1s\"", "timeouts.data=\"5s\""]).start();
    let body = "0123456789012345678901234567890123456789012345678901234567890123\n".repeat(100_000);
    assert!(daemon.send(&["alice@here.test"], &letter("big", &body)).starts_with("250"));
    let mut pop3 = daemon.pop3("alice");
    // It asks and asks and never takes an answer; its lease must not last for ever.
    let _ = pop3.talk.send("RETR 1\r\n".repeat(20).as_bytes());
    wait_for("the lease to be free", 60, || Pop3::log_in(daemon.at("pop3"), "alice", crate::common::PASSWORD).ok());
    works(&daemon);
}

fn who_speaks_first_is_not_heard() {
    use nix::sys::signal::Signal;
    let daemon = Setup::default().start();
    // While it is stopped the kernel takes the connection, so that the words are there before the greeting.
    daemon.signal(Signal::SIGSTOP);
    let mut talk = Talk::connect(daemon.at("smtp")).unwrap();
    talk.send(b"EHLO early.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    daemon.signal(Signal::SIGCONT);
    let line = talk.line().unwrap();
    assert!(line.starts_with("554 5.5.") || line.starts_with("421"), "{line}");
    assert!(talk.ends());
    works(&daemon);
}
