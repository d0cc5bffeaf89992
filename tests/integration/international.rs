//! Mail with addresses and headers beyond ASCII (SMTPUTF8, RFC 6531), and the reports of it (RFC 6533): between two daemons, and
//! to hosts that know it and that do not.

use crate::common::{Daemon, NameServer, PASSWORD, Setup, Sink, Smtp, fixed_port, wait_for, with_input};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::Command;

crate::tests![
    from_one_host_to_the_next,
    it_is_said_where_it_is_needed,
    a_host_without_it_gets_what_it_can_take,
    headers_beyond_ascii_come_back,
    another_host_of_the_domain_may_know_it,
    it_is_known_after_a_kill,
    reports_to_others_are_in_ascii,
    a_whole_message_comes_back,
    senders_beyond_ascii_are_granted,
    sendmail_and_the_queue,
];

const KNOWS: &str = "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8";
const DOES_NOT: &str = "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 DSN";

/// A host that says this to EHLO, and that to commands which hold a word.
fn host(hello: &'static str, refused: &'static [(&'static str, &'static str)]) -> Sink {
    Sink::with(move |line| answer(line, hello, refused))
}

fn answer(line: &str, hello: &str, refused: &[(&str, &str)]) -> Option<String> {
    match line.starts_with("EHLO") {
        true => Some(hello.to_owned()),
        false => refused.iter().find(|(word, _)| line.contains(word)).map(|(_, reply)| (*reply).to_owned()),
    }
}

/// Sends what is for these domains there.
fn server(to: SocketAddr, domains: &[&str]) -> Setup {
    let route = |domain: &&str| format!("[[route]]\ndomain = \"{domain}\"\nhost = \"{to}\"\n");
    let routes: String = domains.iter().map(route).collect();
    Setup::default().config(&format!("{routes}[queue]\nretry = [\"1s\"]\n[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n"))
}

/// A transaction with parameters; all of it must be taken.
fn send(to: SocketAddr, login: Option<&str>, from: &str, recipients: &[&str], message: &str) {
    let mut smtp = Smtp::hello(to).unwrap();
    if let Some(login) = login {
        assert!(smtp.log_in(login, PASSWORD).unwrap().starts_with("235"));
    }
    smtp.expect(&format!("MAIL FROM:{from}"), "250").unwrap();
    for recipient in recipients {
        smtp.expect(&format!("RCPT TO:{recipient}"), "250").unwrap();
    }
    smtp.expect("DATA", "354").unwrap();
    smtp.expect(&format!("{message}\r\n."), "250").unwrap();
}

fn submit(daemon: &Daemon, from: &str, recipients: &[&str], message: &str) {
    send(daemon.at("submission"), Some("alice"), from, recipients, message);
}

/// The next message of the user.
fn mail(daemon: &Daemon, user: &str, number: usize) -> String {
    String::from_utf8(daemon.wait_for_mail(user, number, 60)[number - 1].clone()).unwrap()
}

fn arrived(sink: &Sink, number: usize) -> (String, Vec<String>, String) {
    let all = wait_for("its arrival", 60, || Some(sink.arrived()).filter(|all| all.len() >= number));
    let last = &all[number - 1];
    (last.from.clone(), last.to.clone(), String::from_utf8(last.message.clone()).unwrap())
}

fn from_one_host_to_the_next() {
    let other = Setup { hostname: "mail.buecher.test".to_owned(), domains: vec!["Bücher.test".to_owned()], ..Setup::default() };
    let other = other.start();
    let daemon = server(other.at("smtp"), &["bücher.test"]).start();
    let text = "From: Älice <alice@here.test>\r\nTo: bob+ö@bücher.test\r\nSubject: Grüße\r\n\r\nKäse";
    submit(&daemon, "<alice@here.test> SMTPUTF8 BODY=8BITMIME", &["<bob+ö@xn--bcher-kva.test>"], text);
    let got = mail(&other, "bob", 1);
    for part in [
        "Return-Path: <alice@here.test>\r\nDelivered-To: bob+ö@xn--bcher-kva.test\r\n",
        "by mail.buecher.test (Pillarbox) with UTF8SMTP",
        "by mail.here.test (Pillarbox) with UTF8SMTPA id ",
        "\tfor <bob+ö@xn--bcher-kva.test>;\r\n",
        "Subject: Grüße\r\n\r\nKäse\r\n",
    ] {
        assert!(got.contains(part), "{part} is not in {got}");
    }
    // Nobody of that name is there: the other host says so, and its words come back with the address as it was.
    let wishes = r"<niemand-ö@bücher.test> ORCPT=utf-8;N\x{F6}@bücher.test";
    submit(&daemon, "<alice@here.test> SMTPUTF8", &[wishes], text);
    let report = mail(&daemon, "alice", 1);
    for part in [
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
        "\r\n<niemand-ö@bücher.test>\r\n",
        "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        "\r\nOriginal-Recipient: utf-8; Nö@bücher.test\r\nFinal-Recipient: utf-8; niemand-ö@bücher.test\r\nAction: failed\r\n",
        "\r\nStatus: 5.1.1\r\n",
        "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        "\r\nSubject: Grüße\r\n",
    ] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    assert!(daemon.queue().is_empty() && other.queue().is_empty());
}

/// RFC 6531 §3.4: for addresses and headers, and not for what is only in the body, or for nothing.
fn it_is_said_where_it_is_needed() {
    let sink = host(KNOWS, &[]);
    let daemon = server(sink.address, &["away.test", "bücher.test"]).start();
    let plain = "Subject: plain\r\n\r\ntext";
    let part = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Description: ö\r\n\r\ntext\r\n--b--";
    let mut seen = 0;
    let mut sent = |from: &str, to: &str, message: &str| {
        submit(&daemon, from, &[to], message);
        seen += 1;
        let (from, to, message) = arrived(&sink, seen);
        assert!(message.starts_with("Received: "), "{message}");
        (from, to[0].clone())
    };
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let utf8 = "<alice@here.test> SMTPUTF8";
    let both = "<alice@here.test> BODY=8BITMIME SMTPUTF8";
    for (message, said) in [(plain, "<alice@here.test>"), ("\r\nö", "<alice@here.test> BODY=8BITMIME")] {
        assert_eq!(sent(utf8, "<x@away.test>", message), pair(said, "<x@away.test>"));
    }
    assert_eq!(sent(utf8, "<ö@away.test>", plain), pair(both, "<ö@away.test>"), "the trace field names the recipient");
    assert_eq!(sent(utf8, "<x@bücher.test>", plain), pair(utf8, "<x@bücher.test>"));
    assert_eq!(sent(utf8, "<x@away.test>", "Subject: ö\r\n\r\ntext"), pair(both, "<x@away.test>"));
    assert_eq!(sent(utf8, "<x@away.test>", part), pair(both, "<x@away.test>"));
    // Of an 8-bit header without it nobody knows what it is.
    let unsaid = "<alice@here.test>";
    assert_eq!(sent(unsaid, "<x@away.test>", "Subject: ö\r\n\r\ntext"), pair("<alice@here.test> BODY=8BITMIME", "<x@away.test>"));
    // What reports shall name goes on as it came, or so that every host can take it.
    let original = r"NOTIFY=FAILURE ORCPT=utf-8;ö\x{2B}@away.test";
    let ascii = r"NOTIFY=FAILURE ORCPT=utf-8;\x{F6}\x{2B}@away.test";
    let (_, to) = sent(utf8, &format!("<ö@away.test> {original}"), plain);
    assert_eq!(to, format!("<ö@away.test> {original}"));
    let (from, to) = sent(unsaid, &format!("<x@away.test> {original}"), plain);
    assert_eq!((from, to), pair(unsaid, &format!("<x@away.test> {ascii}")));
}

fn a_host_without_it_gets_what_it_can_take() {
    let sink = host(DOES_NOT, &[]);
    let daemon = server(sink.address, &["away.test", "bücher.test"]).start();
    let plain = "Subject: plain\r\n\r\nKäse";
    let recipients = ["<x@bücher.test>", "<ö@away.test>", "<y@away.test>"];
    send(daemon.at("smtp"), None, "<jane@Bücher.test> SMTPUTF8", &recipients, plain);
    let (from, to, message) = arrived(&sink, 1);
    assert_eq!(from, "<jane@xn--bcher-kva.test> BODY=8BITMIME");
    assert_eq!(to, ["<x@xn--bcher-kva.test>", "<y@away.test>"]);
    assert!(message.ends_with("\r\n\r\nKäse\r\n"), "{message}");
    // The report goes the same way: to the sender's domain, as that host can take it.
    let (from, to, report) = arrived(&sink, 2);
    assert_eq!((from.as_str(), to), ("<>", vec!["<jane@xn--bcher-kva.test>".to_owned()]));
    assert!(report.is_ascii(), "{report}");
    for part in [
        "\r\nTo: <jane@xn--bcher-kva.test>\r\n",
        "\r\n<=C3=B6@away.test>\r\n",
        "Content-Type: message/delivery-status\r\n",
        "\r\nFinal-Recipient: utf-8; \\x{F6}@away.test\r\nAction: failed\r\nStatus: 5.6.7\r\n",
        "can take nothing else there: it does not offer SMTPUTF8.",
    ] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    // A sender that can't be told there keeps back all of it.
    let own = "<älice+ö@bücher.test>";
    send(daemon.at("smtp"), None, &format!("{own} SMTPUTF8"), &["<x@away.test>", "<alice@here.test>"], plain);
    assert!(mail(&daemon, "alice", 1).contains(&format!("Return-Path: {own}\r\n")));
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
    assert_eq!(sink.arrived().len(), 2, "a report can't go to a sender that the host can't take");
}

fn headers_beyond_ascii_come_back() {
    let sink = host(DOES_NOT, &[]);
    let daemon = server(sink.address, &["away.test"]).start();
    submit(&daemon, "<alice@here.test> SMTPUTF8", &["<x@away.test>"], "Subject: Grüße\r\n\r\ntext");
    let report = mail(&daemon, "alice", 1);
    for part in [
        "\r\nFinal-Recipient: rfc822; x@away.test\r\nAction: failed\r\nStatus: 5.6.9\r\nRemote-MTA: dns; 127.0.0.1\r\n",
        "Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: 7bit\r\n",
        "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n",
        "\r\nSubject: Grüße\r\n",
    ] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    let flowing = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flowing.contains("The header of the message is not in ASCII, and 127.0.0.1 can take nothing else there"), "{report}");
    assert!(sink.arrived().is_empty() && daemon.queue().is_empty());
}

/// RFC 6531 §3.2: an alternate MX host. Others stay with the best one.
fn another_host_of_the_domain_may_know_it() {
    let dns = NameServer::start(&[
        "--mx-host=xn--bcher-kva.test,one.test,10",
        "--mx-host=xn--bcher-kva.test,two.test,20",
        "--mx-host=xn--bcher-kva.test,three.test,30",
        "--host-record=one.test,127.0.0.5",
        "--host-record=two.test,127.0.0.6",
        "--host-record=three.test,127.0.0.7",
    ]);
    let port = fixed_port();
    let at = |last: u8, hello: &'static str| {
        Sink::at(SocketAddr::from(([127, 0, 0, last], port)), move |line| answer(line, hello, &[]))
    };
    let (best, second, third) = (at(5, DOES_NOT), at(6, DOES_NOT), at(7, KNOWS));
    let options = vec![format!("dns.servers=[\"{}\"]", dns.address), format!("queue.smtp_port={port}")];
    let daemon = Setup { options, ..Setup::default() }.start();
    submit(&daemon, "<alice@here.test> SMTPUTF8", &["<x@bücher.test>"], "Subject: one\r\n\r\ntext");
    assert_eq!(arrived(&best, 1).1, ["<x@xn--bcher-kva.test>"]);
    for number in [1, 2] {
        submit(&daemon, "<alice@here.test> SMTPUTF8", &["<x@bücher.test>", "<ö@bücher.test>"], "Subject: both\r\n\r\ntext");
        assert_eq!(arrived(&third, number).1, ["<x@bücher.test>", "<ö@bücher.test>"]);
    }
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
    assert_eq!((best.arrived().len(), second.arrived().len(), daemon.mail("alice").len()), (1, 0, 0));
    // Where none of them does, the best one is named in the report.
    third.change(|line| answer(line, DOES_NOT, &[]));
    submit(&daemon, "<alice@here.test> SMTPUTF8", &["<ö@bücher.test>"], "Subject: none\r\n\r\ntext");
    let report = mail(&daemon, "alice", 1);
    assert!(report.contains("Status: 5.6.7\r\nRemote-MTA: dns; one.test\r\n"), "{report}");
}

fn it_is_known_after_a_kill() {
    let sink = host(KNOWS, &[("RCPT", "450 4.2.1 later")]);
    let mut daemon = server(sink.address, &["away.test"]).start();
    submit(&daemon, "<alice@here.test> SMTPUTF8", &["<ö@away.test>"], "Subject: Grüße\r\n\r\ntext");
    wait_for("a try", 60, || sink.seen().iter().any(|line| line.starts_with("RCPT")).then_some(()));
    daemon.kill();
    sink.change(|line| answer(line, KNOWS, &[]));
    daemon.start();
    let (from, to, message) = arrived(&sink, 1);
    assert!(from.ends_with(" BODY=8BITMIME SMTPUTF8") && to == ["<ö@away.test>"], "{from} {to:?}");
    assert!(message.contains("Subject: Grüße\r\n"), "{message}");
}

fn reports_to_others_are_in_ascii() {
    let sink = host(KNOWS, &[("RCPT TO:<nobody", "550 5.1.1 nobody")]);
    let daemon = server(sink.address, &["away.test"]).start();
    let message = "Subject: Grüße\r\n\r\ntext";
    send(daemon.at("smtp"), None, "<jane@away.test> SMTPUTF8 RET=FULL", &["<nobody-ö@away.test>"], message);
    let (from, to, report) = arrived(&sink, 1);
    assert_eq!((from.as_str(), to), ("<>", vec!["<jane@away.test>".to_owned()]));
    assert!(report.is_ascii(), "{report}");
    for part in [
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
        "\r\nFinal-Recipient: utf-8; nobody-\\x{F6}@away.test\r\n",
        "Content-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n",
        "\r\nSubject: Gr=C3=BC=C3=9Fe\r\n",
    ] {
        assert!(report.contains(part), "{part} is not in {report}");
    }
    // The report to a sender beyond ASCII names him, so it needs SMTPUTF8 itself.
    send(daemon.at("smtp"), None, "<ö@away.test> SMTPUTF8", &["<nobody@away.test>"], "Subject: plain\r\n\r\ntext");
    let (from, to, report) = arrived(&sink, 2);
    assert_eq!((from.as_str(), to), ("<> BODY=8BITMIME SMTPUTF8", vec!["<ö@away.test>".to_owned()]));
    assert!(report.contains("\r\nTo: <ö@away.test>\r\n"), "{report}");
}

fn a_whole_message_comes_back() {
    let sink = host(KNOWS, &[("RCPT TO:<nobody", "550 5.1.1 nobody")]);
    let daemon = server(sink.address, &["away.test"]).start();
    let message = "From: ö@here.test\r\nSubject: Grüße\r\n\r\nKäse";
    submit(&daemon, "<alice@here.test> SMTPUTF8 RET=FULL", &["<nobody@away.test>"], message);
    let report = mail(&daemon, "alice", 1);
    assert!(report.contains("Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nReceived: "), "{report}");
    assert!(report.contains(message), "{report}");
}

fn senders_beyond_ascii_are_granted() {
    let config = "[[sender]]\nuser = \"alice\"\naddresses = [\"jörg@Bücher.test\", \"straße.test\"]\n";
    let daemon = Setup::default().config(config).start();
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    for (sender, reply) in [
        ("jörg@bücher.test", "250"),
        ("jörg@XN--bcher-kva.test", "250"),
        ("any.ö@straße.test", "250"),
        ("any.ö@strasse.test", "550 5.7.1"),
        ("jÖrg@bücher.test", "550 5.7.1"),
        ("jo\u{308}rg@bücher.test", "550 5.7.1"),
    ] {
        smtp.expect(&format!("MAIL FROM:<{sender}> SMTPUTF8"), reply).unwrap();
        smtp.expect("RSET", "250").unwrap();
    }
}

fn sendmail_and_the_queue() {
    let sink = host(KNOWS, &[("RCPT", "450 4.2.1 later")]);
    let daemon = server(sink.address, &["bücher.test"]).start();
    let called = |name: &str, words: &[&str], input: &str| {
        let path = daemon.path(name);
        if !path.exists() {
            symlink(env!("CARGO_BIN_EXE_pillarboxctl"), &path).unwrap();
        }
        let mut command = Command::new(path);
        command.arg("-C").arg(daemon.config()).args(words);
        let output = with_input(command, input.as_bytes());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    called("sendmail", &["-t", "-f", "jörg@bücher.test"], "To: Ö <ö@bücher.test>\nSubject: Grüße\n\ntext\n");
    wait_for("a try", 60, || sink.seen().iter().any(|line| line.starts_with("RCPT")).then_some(()));
    let queue = wait_for("the outcome", 60, || Some(daemon.queue()).filter(|queue| queue[0]["recipients"][0]["tries"] != 0));
    assert_eq!(
        (&queue[0]["sender"], &queue[0]["recipients"][0]["address"]),
        (&"jörg@bücher.test".into(), &"ö@bücher.test".into())
    );
    for list in [called("mailq", &[], ""), String::from_utf8(daemon.ctl(&["queue", "list"]).stdout).unwrap()] {
        assert!(list.contains("jörg@bücher.test") && list.contains("ö@bücher.test"), "{list}");
    }
    sink.change(|line| answer(line, KNOWS, &[]));
    // Either spelling of the domain means it.
    assert!(daemon.ctl(&["queue", "flush", "xn--bcher-kva.test"]).status.success());
    let (from, to, message) = arrived(&sink, 1);
    assert!(from.starts_with("<jörg@bücher.test> ") && from.ends_with(" SMTPUTF8"), "{from}");
    assert!(to == ["<ö@bücher.test>"] && message.contains("\r\nTo: Ö <ö@bücher.test>\r\n"), "{to:?} {message}");
    // What programs put into headers goes as it always did: nobody knows its charset.
    called("sendmail", &["x@xn--bcher-kva.test"], "Subject: Grüße\n\ntext\n");
    let (from, ..) = arrived(&sink, 2);
    assert!(from.ends_with("> BODY=8BITMIME"), "{from}");
}
