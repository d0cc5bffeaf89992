//! What becomes of mail that goes on to another host: a friendly one, a fussy one, a hostile one.

use crate::common::{Daemon, PASSWORD, Setup, Sink, Smtp, letter, run, tool, wait_for};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

crate::tests![
    each_recipient_gets_its_own_answer,
    old_hosts_are_greeted_with_helo,
    messages_share_connections,
    one_message_for_each_connection,
    refused_after_the_dot,
    a_lost_reply_is_tried_again,
    nobody_is_told_of_a_lost_report,
    all_goes_to_the_smarthost,
    garbage_from_the_other_host,
    submitted_letters_are_completed,
    reports_cross_two_hosts,
    reports_of_a_host_without_dsn,
    wishes_outlive_a_kill,
    another_server_delivers_by_lmtp,
];

/// A server that sends `away.test` to the sink and tries again soon.
fn server(sink: &Sink) -> Daemon {
    let config = format!(
        "[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n[queue]\nretry = [\"1s\"]\nwarn = \"0s\"\n[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n",
        sink.address
    );
    Setup::default().config(&config).start()
}

fn submit(daemon: &Daemon, from: &str, to: &[&str], subject: &str) {
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    let reply = smtp.send(from, to, &letter(subject, "text")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

fn empty(daemon: &Daemon) {
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
}

fn each_recipient_gets_its_own_answer() {
    let sink = Sink::with(|line| match line {
        "RCPT TO:<bad@away.test>" => Some("550 5.1.1 nobody".to_owned()),
        "RCPT TO:<slow@away.test>" => Some("450 4.2.1 come back".to_owned()),
        _ => None,
    });
    let daemon = server(&sink);
    submit(&daemon, "alice@here.test", &["good@away.test", "bad@away.test", "slow@away.test", "bob@here.test"], "four");
    assert_eq!(daemon.mail("bob").len(), 1);
    let report = String::from_utf8_lossy(&daemon.wait_for_mail("alice", 1, 60)[0]).into_owned();
    assert!(report.contains("bad@away.test") && report.contains("5.1.1") && !report.contains("slow@away.test"), "{report}");
    let waiting = wait_for("slow alone", 60, || Some(daemon.queue()).filter(|queue| queue.len() == 1));
    let text = waiting[0].to_string();
    assert!(text.contains("slow@away.test") && text.contains("come back"), "{text}");
    sink.change(|_| None);
    empty(&daemon);
    let arrived: Vec<_> = sink.arrived().iter().map(|arrived| (arrived.from.clone(), arrived.to.clone())).collect();
    assert_eq!(arrived.len(), 2, "{arrived:?}");
    assert!(arrived[0].0.starts_with("<alice@here.test>"), "{arrived:?}");
    assert_eq!(arrived[0].1, ["<good@away.test>"]);
    assert_eq!(arrived[1].1, ["<slow@away.test>"]);
    assert_eq!(daemon.mail("alice").len(), 1);
}

fn old_hosts_are_greeted_with_helo() {
    let sink = Sink::with(|line| line.starts_with("EHLO").then(|| "502 what".to_owned()));
    let daemon = server(&sink);
    submit(&daemon, "alice@here.test", &["x@away.test"], "old");
    wait_for("its arrival", 60, || (sink.arrived().len() == 1).then_some(()));
    assert!(sink.seen().iter().any(|line| line == "HELO mail.here.test"), "{:?}", sink.seen());
    // No extensions, no parameters.
    assert_eq!(sink.arrived()[0].from, "<alice@here.test>");
}

fn messages_share_connections() {
    let sink = Sink::with(|line| (line == "CONNECT").then(|| "421 not now".to_owned()));
    let daemon = server(&sink);
    for number in 0..12 {
        submit(&daemon, "alice@here.test", &["x@away.test"], &format!("number {number}"));
    }
    let before = sink.seen().len();
    sink.change(|_| None);
    daemon.ctl(&["queue", "flush"]);
    wait_for("all of them", 60, || (sink.arrived().len() == 12).then_some(()));
    let connections = sink.seen()[before..].iter().filter(|line| *line == "CONNECT").count();
    assert!(connections < 12, "a connection for each message");
}

/// A host that hangs up when it is handed a second message has refused none: it is handed over anew at once.
fn one_message_for_each_connection() {
    let sink = Sink::with(|line| (line == "CONNECT").then(|| "421 not now".to_owned()));
    let options = ["queue.retry=[\"10h\"]", "queue.per_destination=1", "log.level=\"info\""].map(str::to_owned);
    let route = format!("[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n", sink.address);
    let daemon = Setup { options: options.to_vec(), ..Setup::default() }.config(&route).start();
    let subjects: Vec<String> = (0..12).map(|number| format!("number {number}")).collect();
    subjects.iter().for_each(|subject| submit(&daemon, "alice@here.test", &["x@away.test"], subject));
    wait_for("a try", 60, || daemon.queue().iter().any(|message| message["recipients"][0]["tries"] != 0).then_some(()));
    let taken = AtomicBool::new(false);
    sink.change(move |line| match line {
        "CONNECT" | "." => {
            taken.store(line == ".", Relaxed);
            None
        }
        _ => (line.starts_with("MAIL") && taken.load(Relaxed)).then(|| "421 4.7.0 one is enough".to_owned()),
    });
    // What was tried at that moment is not meant by the first.
    wait_for("an empty queue", 60, || {
        daemon.ctl(&["queue", "flush"]);
        daemon.queue().is_empty().then_some(())
    });
    let log = fs::read_to_string(daemon.path("log")).unwrap();
    assert!(log.contains(" event=deferred ") && !log.contains("one is enough"), "{log}");
    let arrived = sink.arrived();
    assert_eq!(arrived.len(), subjects.len());
    for subject in &subjects {
        let field = format!("Subject: {subject}\r\n");
        assert!(arrived.iter().any(|one| String::from_utf8_lossy(&one.message).contains(&field)), "{subject}");
    }
    let begun = sink.seen().iter().filter(|line| line.starts_with("MAIL")).count();
    assert!(begun > subjects.len(), "no connection was used again");
}

fn refused_after_the_dot() {
    let sink = Sink::with(|line| (line == ".").then(|| "554 5.6.0 not like this".to_owned()));
    let daemon = server(&sink);
    submit(&daemon, "alice@here.test", &["x@away.test", "y@away.test"], "refused");
    let report = String::from_utf8_lossy(&daemon.wait_for_mail("alice", 1, 60)[0]).into_owned();
    assert!(report.contains("x@away.test") && report.contains("y@away.test") && report.contains("not like this"), "{report}");
    empty(&daemon);
    assert_eq!(daemon.mail("alice").len(), 1, "one report for both");
}

fn a_lost_reply_is_tried_again() {
    let sink = Sink::with(|line| (line == ".").then(|| "421 4.3.0 going down".to_owned()));
    let daemon = server(&sink);
    submit(&daemon, "alice@here.test", &["x@away.test"], "again");
    wait_for("a try", 60, || sink.seen().iter().any(|line| line == ".").then_some(()));
    sink.change(|_| None);
    empty(&daemon);
    assert_eq!(sink.arrived().len(), 1);
    assert!(daemon.mail("alice").is_empty());
}

fn nobody_is_told_of_a_lost_report() {
    let sink = Sink::with(|line| line.starts_with("RCPT").then(|| "550 no".to_owned()));
    let daemon = server(&sink);
    let reply = daemon.smtp().send("", &["x@away.test"], &letter("report", "x")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    wait_for("a try", 60, || sink.seen().iter().any(|line| line.starts_with("RCPT")).then_some(()));
    empty(&daemon);
    // Neither does a report that can't be delivered make another.
    assert!(daemon.smtp().send("z@away.test", &["x@away.test"], &letter("bounces", "x")).unwrap().starts_with("250"));
    wait_for("the report's try", 60, || {
        sink.seen().iter().any(|line| line.contains("z@away.test") && line.starts_with("RCPT")).then_some(())
    });
    empty(&daemon);
    for user in ["alice", "bob"] {
        assert!(daemon.mail(user).is_empty());
    }
}

fn all_goes_to_the_smarthost() {
    let sink = Sink::start();
    let daemon = Setup::options(&[&format!("queue.smarthost=\"{}\"", sink.address)]).start();
    submit(&daemon, "alice@here.test", &["a@one.test", "b@two.test", "c@[192.0.2.1]", "bob@here.test"], "smart");
    empty(&daemon);
    let to: Vec<String> = sink.arrived().into_iter().flat_map(|arrived| arrived.to).collect();
    for whom in ["<a@one.test>", "<b@two.test>", "<c@[192.0.2.1]>"] {
        assert_eq!(to.iter().filter(|known| *known == whom).count(), 1, "{to:?}");
    }
    assert_eq!(to.len(), 3);
}

fn garbage_from_the_other_host() {
    let sink = Sink::start();
    let mut daemon = server(&sink);
    let answers: [fn(&str) -> Option<String>; 7] = [
        |line| line.starts_with("EHLO").then(|| "250-x\r\n".repeat(100_000) + "250 end"),
        |line| line.starts_with("EHLO").then(|| format!("250 {}", "x".repeat(1_000_000))),
        |line| line.starts_with("MAIL").then(|| "2".to_owned()),
        |line| line.starts_with("RCPT").then(|| "\u{1b}[2Jwhat\0".to_owned()),
        |line| line.starts_with("DATA").then(|| "250 ok, but not go on".to_owned()),
        |line| (line == "CONNECT").then(|| "220-a\r\n550-b\r\n999 c".to_owned()),
        |line| (line == ".").then(|| "250-one line\r\nand another".to_owned()),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        sink.change(answer);
        let (before, seen) = (sink.arrived().len(), sink.seen().len());
        submit(&daemon, "alice@here.test", &["x@away.test"], &format!("garbage {number}"));
        wait_for("a try", 60, || (sink.seen().len() > seen).then_some(()));
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(daemon.is_running());
        sink.change(|_| None);
        // Delivered in the end, or given back: not lost.
        wait_for("its end", 90, || daemon.queue().is_empty().then_some(()));
        let told =
            daemon.mail("alice").iter().any(|mail| String::from_utf8_lossy(mail).contains(&format!("Subject: garbage {number}")));
        let came =
            sink.arrived()[before..].iter().any(|a| String::from_utf8_lossy(&a.message).contains(&format!("garbage {number}")));
        assert!(told || came, "message {number} is lost");
    }
    let log = daemon.log();
    assert!(!log.contains('\u{1b}') && !log.contains('\0'), "control characters in the log");
}

fn submitted_letters_are_completed() {
    let sink = Sink::start();
    let daemon = server(&sink);
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    smtp.log_in("alice", PASSWORD).unwrap();
    let text = b"From: alice@here.test\r\nBCC: one@hidden.test,\r\n two@hidden.test\r\nTo: x@away.test\r\nbcc:three@hidden.test\r\n\r\nBcc: in the body\r\n";
    assert!(smtp.send("alice@here.test", &["x@away.test", "bob@here.test"], text).unwrap().starts_with("250"));
    wait_for("its arrival", 60, || (sink.arrived().len() == 1).then_some(()));
    for message in [sink.arrived()[0].message.clone(), daemon.mail("bob").remove(0)] {
        let text = String::from_utf8_lossy(&message).into_owned();
        assert!(!text.contains("hidden.test"), "{text}");
        assert!(
            text.contains("\r\nDate: ") && text.contains("\r\nMessage-ID: <") && text.ends_with("\r\n\r\nBcc: in the body\r\n"),
            "{text}"
        );
    }
    // From outside nothing is added.
    assert!(daemon.send(&["bob@here.test"], b"Bcc: kept@hidden.test\r\n\r\nx\r\n").starts_with("250"));
    let text = String::from_utf8_lossy(&daemon.mail("bob").remove(1)).into_owned();
    assert!(text.contains("kept@hidden.test") && !text.contains("Message-ID") && !text.contains("\r\nDate: "), "{text}");
}

/// Submits with parameters for MAIL and for each RCPT.
fn submit_asking(daemon: &Daemon, mail: &str, to: &[(&str, &str)], message: &[u8]) {
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    smtp.expect(&format!("MAIL FROM:<alice@here.test>{mail}"), "250").unwrap();
    for (to, rcpt) in to {
        smtp.expect(&format!("RCPT TO:<{to}>{rcpt}"), "250").unwrap();
    }
    smtp.expect("DATA", "354").unwrap();
    smtp.talk.send(&[message, b".\r\n"].concat()).unwrap();
    let reply = smtp.reply().unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

fn reports(daemon: &Daemon, count: usize) -> Vec<String> {
    daemon.wait_for_mail("alice", count, 60).iter().map(|mail| String::from_utf8_lossy(mail).into_owned()).collect()
}

/// Alice's host gives it to another one, which delivers it and says so to Alice; what it refuses her own host reports.
fn reports_cross_two_hosts() {
    let away = Setup { hostname: "mail.away.test".into(), domains: vec!["away.test".into()], ..Setup::default() };
    let mut away = away.users(&["bob"]).prepare();
    // Both must know the other's port.
    away.pin_ports();
    away.start();
    let to_away = format!("[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n", away.at("smtp"));
    let ours = Setup::default().config(&to_away).start();
    let back = format!("[[route]]\ndomain = \"here.test\"\nhost = \"{}\"\n", ours.at("smtp"));
    assert!(away.stop().success());
    fs::write(away.config(), away.config_text(&back)).unwrap();
    away.start();
    let (bob, nobody) = ("bob@away.test", "nobody@away.test");
    let asking = " NOTIFY=SUCCESS ORCPT=rfc822;Robert@old.test";
    submit_asking(&ours, " RET=HDRS ENVID=one+2Btwo", &[(bob, asking)], &letter("told", "text"));
    let report = &reports(&ours, 1)[0];
    for part in [
        "\r\nSubject: Your message was delivered\r\n",
        "\r\nOriginal-Envelope-Id: one+two\r\nReporting-MTA: dns; mail.away.test\r\n",
        "\r\nOriginal-Recipient: rfc822; Robert@old.test\r\nFinal-Recipient: rfc822; bob@away.test\r\n",
        "\r\nAction: delivered\r\nStatus: 2.",
    ] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    assert!(report.starts_with("Return-Path: <>\r\n"), "{report}");
    empty(&ours);
    empty(&away);
    let to = [(nobody, " NOTIFY=FAILURE"), (bob, " NOTIFY=NEVER")];
    submit_asking(&ours, " RET=FULL", &to, &letter("all of it", "Gr\u{fc}\u{df}e"));
    let report = &reports(&ours, 2)[1];
    let enclosed = "\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n";
    assert!(report.contains(enclosed) && report.contains("Gr\u{fc}\u{df}e"), "{report}");
    let failed = "nobody@away.test\r\nAction: failed\r\n";
    assert!(report.contains(failed) && !report.contains("Original-Envelope-Id"), "{report}");
    submit_asking(&ours, "", &[(nobody, " NOTIFY=NEVER")], &letter("silence", "text"));
    submit(&ours, "alice@here.test", &[nobody], "the last");
    let last = &reports(&ours, 3)[2];
    assert!(last.contains("Subject: the last") && last.contains("Content-Type: text/rfc822-headers"), "{last}");
    empty(&ours);
    assert_eq!((ours.mail("alice").len(), away.mail("bob").len()), (3, 2));
}

fn reports_of_a_host_without_dsn() {
    let sink = Sink::with(|line| (line == ".").then(|| "250 2.6.0 <b> it\u{1b} is mine".to_owned()));
    let daemon = server(&sink);
    let asking = " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x@away.test";
    let to = [("x@away.test", asking), ("y@away.test", " NOTIFY=NEVER"), ("z@away.test", "")];
    submit_asking(&daemon, " ENVID=7", &to, &letter("passed on", "text"));
    let report = &reports(&daemon, 1)[0];
    assert!(report.contains("\r\nAction: relayed\r\nStatus: 2.6.0\r\n"), "{report}");
    assert!(report.contains("250 2.6.0 <b> it  is mine"), "{report}");
    assert!(!report.contains("y@away.test") && !report.contains("z@away.test"), "{report}");
    empty(&daemon);
    let arrived = sink.arrived();
    assert_eq!(arrived[0].to, ["<x@away.test>", "<y@away.test>", "<z@away.test>"]);
    assert!(!arrived[0].from.contains("ENVID"), "{:?}", arrived[0]);
    assert_eq!(daemon.mail("alice").len(), 1);
}

/// What was asked for is known after `kill -9`, of mail that waits as of mail that was delivered just before.
fn wishes_outlive_a_kill() {
    let sink = Sink::with(|line| (line == "CONNECT").then(|| "421 not now".to_owned()));
    let mut daemon = server(&sink);
    let asking = " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;X@away.test";
    let to = [("x@away.test", asking), ("bob@here.test", " NOTIFY=SUCCESS")];
    submit_asking(&daemon, " RET=FULL ENVID=kept", &to, &letter("kept", "text"));
    daemon.kill();
    sink.change(|line| line.starts_with("EHLO").then(|| "250-sink.test\r\n250 DSN".to_owned()));
    daemon.start();
    wait_for("its arrival", 60, || (sink.arrived().len() == 1).then_some(()));
    let arrived = sink.arrived().remove(0);
    assert_eq!(arrived.from, "<alice@here.test> RET=FULL ENVID=kept");
    assert_eq!(arrived.to, [format!("<x@away.test>{asking}")]);
    let report = &reports(&daemon, 1)[0];
    assert!(report.contains("bob@here.test\r\nAction: delivered\r\n") && report.contains("Envelope-Id: kept"), "{report}");
    empty(&daemon);
    assert_eq!((daemon.mail("bob").len(), daemon.mail("alice").len()), (1, 1));
}

/// Over a Unix socket, by Python's smtplib. That it runs as somebody known here opens no way to other hosts.
fn another_server_delivers_by_lmtp() {
    let listener = "[[listen]]\naddress = \"unix:lmtp.sock\"\nprotocol = \"lmtp\"\n";
    let daemon = Setup::default().config(listener).start();
    let script = "
import smtplib, sys
lmtp = smtplib.LMTP(sys.argv[1])
print(lmtp.sendmail('carol@sender.test', ['alice@here.test'], 'Subject: by LMTP\\r\\n\\r\\n.x\\r\\n'))
try:
    lmtp.sendmail('alice@here.test', ['x@elsewhere.test'], 'no')
except smtplib.SMTPRecipientsRefused as refused:
    print(refused.recipients['x@elsewhere.test'][0])
";
    let output = run(tool("python3").args(["-c", script]).arg(daemon.path("lmtp.sock")));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{}\n554\n");
    let text = String::from_utf8_lossy(&daemon.mail("alice")[0]).into_owned();
    assert!(text.contains(" with LMTP id ") && text.ends_with("\r\n\r\n.x\r\n"), "{text}");
    assert!(daemon.queue().is_empty());
}
