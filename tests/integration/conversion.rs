//! 8-bit mail for a host that takes 7 bits only: what arrives there, read by another program, is what was sent.

use crate::common::{Daemon, PASSWORD, Setup, Sink, Smtp, run, tool, top, wait_for};
use std::fs;
use std::path::Path;

crate::tests![
    each_part_arrives_as_it_was,
    signed_mail_comes_back,
    a_big_message_is_converted_as_it_is_read,
    reports_give_back_what_can_be_converted,
];

/// Takes no 8-bit mail.
fn seven_bit_host() -> Sink {
    Sink::with(|line| line.starts_with("EHLO").then(|| "250-sink.test\r\n250-PIPELINING\r\n250 SIZE".to_owned()))
}

fn server(sink: &Sink) -> Daemon {
    let route = format!("[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n", sink.address);
    Setup::default().config(&route).start()
}

fn submit(daemon: &Daemon, message: &[u8]) {
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    let reply = smtp.send("alice@here.test", &["x@away.test"], message).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

/// Python's email package reads both, and compares their parts.
fn compare(before: &Path, after: &Path) {
    let script = "
import email, sys
def parts(path):
    message = email.message_from_bytes(open(path, 'rb').read())
    for part in message.walk():
        text = None if part.is_multipart() else part.get_payload(decode=True)
        yield part.get_content_type(), text
        if text and text.strip():
            print(part.get_content_type(), part['Content-Transfer-Encoding'])
before, after = (list(parts(path)) for path in sys.argv[1:])
assert before == after, (before, after)
";
    let output = run(tool("python3").args(["-c", script]).args([before, after]));
    assert!(!output.stdout.is_empty(), "no part was compared");
}

fn each_part_arrives_as_it_was() {
    let sink = seven_bit_host();
    let daemon = server(&sink);
    for (number, name) in ["text", "bare", "russian", "mixed", "forwarded", "signed"].into_iter().enumerate() {
        let file = top().join("tests/fuzz/corpus/convert").join(name);
        let mut message = fs::read(&file).unwrap();
        message.retain(|byte| *byte != 0);
        let before = daemon.path(&format!("{name}.before"));
        fs::write(&before, &message).unwrap();
        submit(&daemon, &message);
        let arrived = wait_for("its arrival", 60, || sink.arrived().get(number).cloned());
        let (head, body) = arrived.message.split_at(arrived.message.windows(4).position(|end| end == b"\r\n\r\n").unwrap());
        assert!(head.starts_with(b"Received: "));
        let fields_apart = String::from_utf8_lossy(body).lines().filter(|line| !line.contains(": ")).collect::<String>();
        assert!(fields_apart.replace("ü.bin", "").is_ascii(), "{name}: {fields_apart}");
        assert_eq!(arrived.from, format!("<alice@here.test> SIZE={}", arrived.message.len()), "{name}");
        let after = daemon.path(&format!("{name}.after"));
        fs::write(&after, &arrived.message).unwrap();
        compare(&before, &after);
    }
}

fn signed_mail_comes_back() {
    let sink = seven_bit_host();
    let daemon = server(&sink);
    submit(&daemon, &fs::read(top().join("tests/fuzz/corpus/convert/sealed")).unwrap());
    let report = String::from_utf8_lossy(&daemon.wait_for_mail("alice", 1, 60)[0]).into_owned();
    let flowing = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flowing.contains("can only take 7-bit content. It can't be converted: it is signed"), "{report}");
    assert!(report.contains("\r\nAction: failed\r\nStatus: 5.6.2\r\n"), "{report}");
    assert!(sink.arrived().is_empty() && daemon.queue().is_empty());
}

/// To a sender elsewhere, by a host that takes 7 bits: all of the message if that can be, else its header.
fn reports_give_back_what_can_be_converted() {
    let sink = Sink::with(|line| match line {
        "RCPT TO:<nobody@away.test>" => Some("550 5.1.1 nobody".to_owned()),
        _ => line.starts_with("EHLO").then(|| "250-sink.test\r\n250 PIPELINING".to_owned()),
    });
    let route = format!("[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n", sink.address);
    let daemon = Setup::default().config(&(route + "[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n")).start();
    let signed = "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\nKäse\r\n--s--";
    let bodies =
        [("Subject: x\r\n\r\nKäse", true), (signed, false), ("Subject: ü\r\n\r\nx", false), ("Subject: x\r\n\r\nx", true)];
    for (number, (message, whole)) in bodies.into_iter().enumerate() {
        let mut smtp = daemon.smtp();
        smtp.expect("MAIL FROM:<jane@away.test> RET=FULL", "250").unwrap();
        smtp.expect("RCPT TO:<nobody@away.test>", "250").unwrap();
        smtp.expect("DATA", "354").unwrap();
        smtp.expect(&format!("{message}\r\n."), "250").unwrap();
        let report = wait_for("the report", 60, || sink.arrived().get(number).cloned());
        let text = String::from_utf8(report.message).unwrap();
        assert!(text.is_ascii() && report.to == ["<jane@away.test>"], "{text}");
        assert_eq!(text.contains("Content-Type: message/rfc822\r\n"), whole, "{text}");
        assert_eq!(text.contains("Content-Type: text/rfc822-headers\r\n"), !whole, "{text}");
        assert_eq!(text.contains("\r\n\r\nS8Okc2UNCg==\r\n"), number == 0, "{text}");
        assert_eq!(text.contains("it follows"), whole, "{text}");
    }
}

fn a_big_message_is_converted_as_it_is_read() {
    let sink = seven_bit_host();
    let daemon = server(&sink);
    let line = "a line of text in German: über allen Gipfeln ist Ruh\r\n";
    let message = ["Subject: big\r\n\r\n", &line.repeat(400_000)].concat();
    submit(&daemon, message.as_bytes());
    let arrived = wait_for("its arrival", 120, || sink.arrived().first().cloned());
    let text = String::from_utf8(arrived.message).unwrap();
    assert_eq!(text.matches("a line of text in German: =C3=BCber allen Gipfeln ist Ruh\r\n").count(), 400_000);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB for a message of {}", message.len());
}
