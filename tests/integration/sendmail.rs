//! `sendmail` and `mailq`, as every Unix program expects them: called by these names, with the flags people use.

use crate::common::{Daemon, Setup, Sink, wait_for, with_input};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

crate::tests![
    recipients_from_the_header,
    recipients_from_the_words,
    dots_with_and_without_i,
    sender_and_full_name,
    smtp_on_standard_input,
    the_queue_is_listed,
    some_of_the_queue,
    exit_codes_of_sysexits,
    a_big_message,
    reports_as_asked_for,
    as_programs_call_it,
    addresses_verified,
    ten_thousand_recipients,
    nothing_is_smuggled_in,
    mail_that_is_sent_again,
];

/// The tool under another name, with this daemon's configuration.
pub fn called(daemon: &Daemon, name: &str, words: &[&str], input: &[u8]) -> Output {
    let path = daemon.path(name);
    if !path.exists() {
        symlink(env!("CARGO_BIN_EXE_pillarboxctl"), &path).unwrap();
    }
    let mut command = Command::new(path);
    command.arg("-C").arg(daemon.config()).args(words);
    with_input(command, input)
}

fn sendmail(daemon: &Daemon, words: &[&str], input: &str) -> Output {
    let output = called(daemon, "sendmail", words, input.as_bytes());
    assert!(output.status.success(), "{words:?}: {output:?}");
    output
}

fn text_of(daemon: &Daemon, user: &str, number: usize) -> String {
    String::from_utf8_lossy(&daemon.wait_for_mail(user, number + 1, 60)[number]).into_owned()
}

fn recipients_from_the_header() {
    let daemon = Setup::default().start();
    let letter =
        "To: Alice <alice@here.test>\nCc: \"Bob, too\" <bob@here.test>\nBcc: alice@here.test\nSubject: by header\n\nHello.\n";
    // What cron, git and PHP call.
    sendmail(&daemon, &["-t", "-i", "-oi", "-odi", "-B8BITMIME", "-v"], letter);
    for user in ["alice", "bob"] {
        let text = text_of(&daemon, user, 0);
        assert!(text.contains("Subject: by header\r\n") && text.ends_with("\r\n\r\nHello.\r\n"), "{text}");
        assert!(!text.to_lowercase().contains("\nbcc"), "{text}");
        for field in ["\r\nFrom: ", "\r\nDate: ", "\r\nMessage-ID: "] {
            assert_eq!(text.matches(field).count(), 1, "{field} {text}");
        }
    }
    assert_eq!(daemon.mail("alice").len(), 1, "named twice, sent once");
}

fn recipients_from_the_words() {
    let daemon = Setup::default().start();
    sendmail(&daemon, &["alice", "bob@here.test"], "Subject: by words\nTo: somebody@elsewhere.test\n\nx\n");
    assert!(text_of(&daemon, "alice", 0).contains("Subject: by words"));
    assert!(text_of(&daemon, "bob", 0).contains("To: somebody@elsewhere.test"));
    assert!(daemon.queue().is_empty(), "the header was not asked");
    sendmail(&daemon, &["-i", "--", "alice"], "no header at all\n");
    assert!(text_of(&daemon, "alice", 1).ends_with("\r\n\r\nno header at all\r\n"));
}

fn dots_with_and_without_i() {
    let daemon = Setup::default().start();
    sendmail(&daemon, &["alice"], "Subject: dot\n\nabove\n.\nbelow\n");
    assert!(text_of(&daemon, "alice", 0).ends_with("\r\n\r\nabove\r\n"));
    sendmail(&daemon, &["-i", "alice"], "Subject: dot\n\nabove\n.\n..below\nFrom me\n");
    assert!(text_of(&daemon, "alice", 1).ends_with("\r\n\r\nabove\r\n.\r\n..below\r\nFrom me\r\n"));
}

fn sender_and_full_name() {
    let daemon = Setup::default().start();
    sendmail(&daemon, &["-f", "list@here.test", "-F", "The List", "alice"], "Subject: x\n\nx\n");
    let text = text_of(&daemon, "alice", 0);
    assert!(text.starts_with("Return-Path: <list@here.test>\r\n"), "{text}");
    assert!(text.contains("\r\nFrom: The List <list@here.test>\r\n"), "{text}");
    sendmail(&daemon, &["-f", "", "alice"], "Subject: null\n\nx\n");
    assert!(text_of(&daemon, "alice", 1).starts_with("Return-Path: <>\r\n"));
    sendmail(&daemon, &["-rother@here.test", "alice"], "Subject: r\nFrom: mine@here.test\n\nx\n");
    let text = text_of(&daemon, "alice", 2);
    assert!(text.starts_with("Return-Path: <other@here.test>\r\n") && text.contains("\r\nFrom: mine@here.test\r\n"), "{text}");
}

fn smtp_on_standard_input() {
    let daemon = Setup::default().start();
    let script = "EHLO localhost\r\nMAIL FROM:<bob@here.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\nSubject: by -bs\r\n\r\n..x\r\n.\r\nQUIT\r\n";
    let output = called(&daemon, "sendmail", &["-bs"], script.as_bytes());
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    for code in ["220 ", "354 ", "221 "] {
        assert!(said.lines().any(|line| line.starts_with(code)), "{said}");
    }
    assert!(text_of(&daemon, "alice", 0).ends_with("\r\n\r\n.x\r\n"));
}

fn the_queue_is_listed() {
    let sink = Sink::with(|line| (line == "CONNECT").then(|| "421 not now".to_owned()));
    let daemon = Setup::default().config(&format!("[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n", sink.address)).start();
    sendmail(&daemon, &["-f", "alice@here.test", "x@away.test"], "Subject: waits\n\nx\n");
    wait_for("a try", 60, || (!sink.seen().is_empty()).then_some(()));
    for (name, words) in [("mailq", &[][..]), ("sendmail", &["-bp"][..])] {
        let output = called(&daemon, name, words, b"");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("x@away.test") && said.contains("alice@here.test"), "{output:?}");
    }
    // As scripts read it: an id and bytes, the sender last; the recipient alone on a line.
    let output = called(&daemon, "mailq", &[], b"");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    let words: Vec<&str> = lines[1].split_ascii_whitespace().collect();
    let id = daemon.queue()[0]["id"].as_str().unwrap().to_owned();
    assert!(words[0] == id && words[1].parse::<u64>().is_ok() && words.last() == Some(&"<alice@here.test>"), "{said}");
    assert_eq!((lines[lines.len() - 2].trim(), lines[lines.len() - 1].trim()), ("<x@away.test>", "Total requests: 1"), "{said}");
    let output = called(&daemon, "mailq", &["--json"], b"");
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed[0]["id"], id.as_str(), "{listed}");
    sink.change(|_| None);
    sendmail(&daemon, &["-q"], "");
    wait_for("its arrival", 60, || (sink.arrived().len() == 1).then_some(()));
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
    let output = called(&daemon, "mailq", &[], b"");
    assert!(output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("away.test"), "{output:?}");
}

fn some_of_the_queue() {
    let names = ["one", "two", "three"];
    let sinks = names.map(|_| Sink::with(|line| (line == "CONNECT").then(|| "421 not now".to_owned())));
    let route = |(name, sink): (&str, &Sink)| format!("[[route]]\ndomain = \"{name}.test\"\nhost = \"{}\"\n", sink.address);
    let routes: String = names.into_iter().zip(&sinks).map(route).collect();
    let daemon = Setup::default().config(&routes).start();
    for (from, to) in [("alice", "x@one.test"), ("bob", "x@two.test"), ("alice", "y@three.test")] {
        sendmail(&daemon, &["-f", &format!("{from}@here.test"), to], "Subject: waits\n\nx\n");
    }
    let tried = |daemon: &Daemon| daemon.queue().iter().all(|message| message["recipients"][0]["tries"] != 0);
    wait_for("a try of each", 60, || tried(&daemon).then_some(()));
    let shown = |words: &[&str]| {
        let said = String::from_utf8_lossy(&called(&daemon, "mailq", words, b"").stdout).into_owned();
        names.map(|name| said.contains(&format!("@{name}.test>")))
    };
    assert_eq!(shown(&[]), [true, true, true]);
    assert_eq!(shown(&["-qSALICE"]), [true, false, true]);
    assert_eq!(shown(&["-q!Salice", "-qRtwo"]), [false, true, false]);
    assert_eq!(shown(&["-qRone", "-qRtwo"]), [true, true, false]);
    let id = daemon.queue()[2]["id"].as_str().unwrap().to_owned();
    assert_eq!(shown(&[&format!("-qI{id}")]), [false, false, true]);
    assert_eq!(called(&daemon, "sendmail", &["-qGslow"], b"").status.code(), Some(64));
    sinks.iter().for_each(|sink| sink.change(|_| None));
    let left = |count: usize| wait_for("those that are meant", 60, || (daemon.queue().len() == count).then_some(()));
    let arrived = || sinks.each_ref().map(|sink| sink.arrived().len());
    sendmail(&daemon, &["-qRtwo.test"], "");
    left(2);
    assert_eq!(arrived(), [0, 1, 0]);
    sendmail(&daemon, &[&format!("-q!I{id}")], "");
    left(1);
    assert_eq!(arrived(), [1, 1, 0]);
}

fn exit_codes_of_sysexits() {
    let mut daemon = Setup::default().start();
    let code = |daemon: &Daemon, words: &[&str], input: &str| {
        let output = called(daemon, "sendmail", words, input.as_bytes());
        assert_eq!(output.stderr.is_empty(), output.status.success(), "a failure says why: {output:?}");
        output.status.code().unwrap_or(-1)
    };
    assert_eq!(code(&daemon, &["alice"], "x\n"), 0);
    assert_eq!(code(&daemon, &[], "x\n"), 64, "EX_USAGE: no recipients");
    assert_eq!(code(&daemon, &["-t"], "Subject: no recipients\n\nx\n"), 64, "EX_USAGE");
    assert_eq!(code(&daemon, &["nobody-here"], "x\n"), 67, "EX_NOUSER");
    assert_eq!(code(&daemon, &["-C", "/nonexistent/conf", "alice"], "x\n"), 78, "EX_CONFIG");
    let before = daemon.mail("alice").len();
    assert_eq!(code(&daemon, &["-f", "a@b@c", "alice"], "x\n"), 64, "EX_USAGE: no sender");
    assert_eq!(daemon.mail("alice").len(), before);
    daemon.stop();
    fs::remove_dir_all(daemon.spool().join("drop")).unwrap();
    assert_eq!(code(&daemon, &["alice"], "x\n"), 75, "EX_TEMPFAIL: the daemon is down, and nothing can be left for it");
    let output = called(&daemon, "mailq", &[], b"");
    assert!(!output.status.success() && !output.stderr.is_empty());
}

fn a_big_message() {
    let daemon = Setup::default().start();
    let body = "0123456789 0123456789 0123456789\n".repeat(150_000);
    sendmail(&daemon, &["alice"], &format!("Subject: big\n\n{body}"));
    let text = text_of(&daemon, "alice", 0);
    assert_eq!(text.split_once("\r\n\r\n").map(|(_, found)| found.replace("\r\n", "\n")), Some(body));
}

fn reports_as_asked_for() {
    let daemon = Setup::default().start();
    sendmail(&daemon, &["-f", "alice@here.test", "-N", "success", "-V", "run 7", "bob"], "Subject: told\n\nx\n");
    let report = text_of(&daemon, "alice", 0);
    for part in ["\r\nOriginal-Envelope-Id: run 7\r\n", "\r\nAction: delivered\r\n", "\r\nSubject: told\r\n"] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    let output = called(&daemon, "sendmail", &["-N", "sometimes", "bob"], b"x\n");
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert_eq!((daemon.mail("bob").len(), daemon.mail("alice").len()), (1, 1));
}

/// Words and input as these programs give them, without the environment of a login.
fn as_programs_call_it() {
    let daemon = Setup::default().start();
    let cron = "From: root (Cron Daemon)\nTo: alice\nSubject: Cron <root@here> job\nAuto-Submitted: auto-generated\n\n.\nout\n";
    let mbox = "From root Sat Nov 28 04:00:00 2026\nTo: alice\nSubject: mbox\n\nx";
    let calls: [(&str, &[&str], &str); 9] = [
        ("cron", &["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"], cron),
        ("anacron", &["-FAnacron", "-odi", "alice"], "Subject: job\n\nx\n"),
        ("mdadm", &["-t"], "From: mdadm monitoring <root>\nTo: alice\nSubject: DeviceDisappeared\n\nx\n"),
        ("git", &["-f", "bob@here.test", "-i", "alice@here.test"], "From: bob@here.test\nTo: alice\nSubject: [PATCH]\n\nx\n"),
        ("php", &["-t", "-i", "-fbob@here.test"], "To: alice@here.test\r\nSubject: php\r\n\r\nline\r\nlast"),
        ("bsd-mailx", &["-i", "-oem", "-m", "alice"], "Subject: mailx\nTo: alice\n\nx\n"),
        ("s-nail", &["-i", "-r", "bob@here.test", "--", "alice"], "Subject: s-nail\nTo: alice\n\nx\n"),
        ("mutt", &["-oem", "-oi", "-f", "bob@here.test", "-N", "never", "--", "alice"], "Subject: mutt\n\nx\n"),
        (
            "formail",
            &["-oi", "-odb", "-oQ/nowhere", "-h", "3", "-X", "/dev/null", "-O", "DeliveryMode=b", "-Ac", "-v", "-t"],
            mbox,
        ),
    ];
    for (number, (program, words, input)) in calls.into_iter().enumerate() {
        let path = daemon.path("sendmail");
        if !path.exists() {
            symlink(env!("CARGO_BIN_EXE_pillarboxctl"), &path).unwrap();
        }
        let mut command = Command::new(path);
        command.env_clear().current_dir("/").arg("-C").arg(daemon.config()).args(words);
        let output = with_input(command, input.as_bytes());
        assert!(output.status.success() && output.stderr.is_empty() && output.stdout.is_empty(), "{program}: {output:?}");
        let text = text_of(&daemon, "alice", number);
        let last = input.trim_end().rsplit('\n').next().unwrap();
        assert!(text.ends_with(&format!("{last}\r\n")) && !text.contains("From root Sat"), "{program}: {text}");
        for field in ["\r\nFrom: ", "\r\nDate: ", "\r\nMessage-ID: "] {
            assert_eq!(text.matches(field).count(), 1, "{program} {field} {text}");
        }
    }
    assert_eq!(called(&daemon, "sendmail", &["-bd"], b"").status.code(), Some(64), "the daemon is another program");
    assert!(called(&daemon, "sendmail", &["-bi"], b"").status.success());
}

fn addresses_verified() {
    let daemon = Setup::default().config("[[route]]\ndomain = \"away.test\"\nhost = \"192.0.2.1:25\"\n").start();
    let output = called(&daemon, "sendmail", &["-bv", "alice", "Bob <bob@here.test>, x@away.test"], b"");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let lines = ["alice@here.test: mailbox of alice", "bob@here.test: mailbox of bob", "x@away.test: to the host 192.0.2.1:25"];
    assert_eq!(said.lines().collect::<Vec<_>>(), lines);
    let output = called(&daemon, "sendmail", &["-bv", "nobody-here", "alice"], b"");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), said.lines().count()), (Some(67), 2), "{output:?}");
    assert!(daemon.mail("alice").is_empty());
}

/// From the net that would be many; a program of this host that is given a list sends to all or to none.
fn ten_thousand_recipients() {
    let mut daemon = Setup::default().config("[[route]]\ndomain = \"away.test\"\nhost = \"127.0.0.1:9\"\n").start();
    let names: Vec<String> = (0..10_000).map(|n| format!("user{n}@away.test")).collect();
    let letter = format!("Subject: all\nBcc: {}\n\nx\n", names.join(",\n "));
    sendmail(&daemon, &["-t"], &letter);
    let count = |daemon: &Daemon| {
        let queue = daemon.queue();
        (queue.len(), queue.iter().map(|message| message["recipients"].as_array().unwrap().len()).sum::<usize>())
    };
    assert_eq!(count(&daemon), (1, 10_000));
    daemon.stop();
    sendmail(&daemon, &["-t"], &letter);
    daemon.start();
    wait_for("the one that waited", 60, || (count(&daemon) == (2, 20_000)).then_some(()));
}

fn nothing_is_smuggled_in() {
    let daemon = Setup::default().start();
    sendmail(&daemon, &["-F", "x\r\nBcc: bob@here.test\nX-Evil: 1", "-t"], "To: alice\n\nx\n");
    let text = text_of(&daemon, "alice", 0);
    assert!(!text.contains("\nX-Evil") && !text.contains("\nBcc"), "{text}");
    for words in [&["alice\nbob"][..], &["--", "\u{1b}[2J\u{7}"]] {
        let output = called(&daemon, "sendmail", words, b"x\n");
        assert!(matches!(output.status.code(), Some(64 | 67)), "{words:?}: {output:?}");
        assert!(!output.stderr.contains(&0x1b), "{words:?}: {output:?}");
    }
    let output = called(&daemon, "sendmail", &["-V", "x\r\nRCPT TO:<bob@here.test>", "alice"], b"x\n");
    assert!(daemon.mail("bob").is_empty(), "{output:?}");
    // Taken for a display name, and an address.
    let of_alice = daemon.mail("alice").len();
    sendmail(&daemon, &["alice@here.test>\r\nRCPT TO:<bob@here.test"], "Subject: one\n\nx\n");
    assert_eq!((daemon.wait_for_mail("bob", 1, 60).len(), daemon.mail("alice").len()), (1, of_alice));
    // A name like an option is one.
    let output = called(&daemon, "sendmail", &["-i", "--", "-bs", "-oQ"], b"x\n");
    assert_eq!(output.status.code(), Some(67), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("-oQ@here.test"), "{output:?}");
}

/// RFC 5322 §3.6.6.
fn mail_that_is_sent_again() {
    let daemon = Setup::default().start();
    let letter = "Resent-To: bob\nResent-Bcc: alice\nResent-From: bob@here.test\nFrom: x@away.test\nTo: y@away.test\nSubject: again\n\nx\n";
    sendmail(&daemon, &["-t"], letter);
    for user in ["alice", "bob"] {
        let text = text_of(&daemon, user, 0);
        assert!(text.contains("\r\nResent-To: bob\r\n") && !text.contains("Resent-Bcc"), "{text}");
    }
    assert!(daemon.queue().is_empty());
}
