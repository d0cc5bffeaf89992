//! Messages that are hard to keep: through SMTP, journal, mbox and POP3 they come back byte for byte.

use crate::common::{Daemon, PASSWORD, Pop3, Random, Setup, Sink, Smtp, letter, wait_for};
use pillarbox::mail::header;

crate::tests![
    odd_messages_come_back_unaltered,
    odd_messages_are_relayed_unaltered,
    large_messages_come_back_unaltered,
    huge_headers_are_taken_or_refused_whole,
    random_messages_come_back_unaltered,
];

/// Each with CRLF line ends, as sent.
pub(super) fn odd_messages() -> Vec<Vec<u8>> {
    let mut odd: Vec<Vec<u8>> = [
        "",
        "\r\n",
        "\r\n\r\n\r\n",
        "text without a header\r\n",
        "Subject: header only\r\n",
        "Subject: empty body\r\n\r\n",
        "Subject: blank lines at the end\r\n\r\ntext\r\n\r\n\r\n\r\n",
        "From \r\nFrom a@b Sat Nov 21 00:00:00 2026\r\nSubject: x\r\n\r\nFrom \r\n",
        "Subject: From\r\n\r\nFrom a@b Sat Nov 21 00:00:00 2026\r\n\r\nFrom a@b Sat Nov 21 00:00:00 2026\r\nStatus: RO\r\n\r\nnot a message\r\n",
        ">From first\r\nSubject: y\r\n\r\n>From\r\n>From \r\n>>From x\r\n>>>>>>>>>>From y\r\n> From z\r\n From w\r\nFROM v\r\n",
        "Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.a\r\n. .\r\n.\r\n",
        " starts with a space\r\nSubject: z\r\n\r\n\t\r\n",
        "Subject: folded\r\n \r\n\t\r\n still\r\nX: \r\n\r\nbody\r\n",
        ": no name\r\n: \r\n\r\nbody\r\n",
        "Subject\r\nSubject : space before colon\r\n\r\nbody\r\n",
        "Subject: spaces at the end   \t \r\n\r\ntext   \t \r\n   \r\n",
        "X-Spool-Id\r\nX-Statusless: kept\r\n\r\nX-Spool-Id: in the body\r\nX-UID: 1\r\n",
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"\r\n\r\n--\r\n--\"\r\n",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    odd.push(
        [b"Subject: \xff\xfe\r\n\r\n".as_slice(), &(1..=255u8).filter(|b| !b"\r\n".contains(b)).collect::<Vec<u8>>(), b"\r\n"]
            .concat(),
    );
    for length in [76, 510, 997, 998, 999, 1000, 1001, 4095, 4096, 8191, 8192, 65_535, 65_536, 300_000] {
        odd.push(
            [b"Subject: long\r\n\r\n".as_slice(), &b"0123456789".repeat(length / 10 + 1)[..length], b"\r\nend\r\n"].concat(),
        );
    }
    // A quote, a dot or a line end that falls on the edge of somebody's buffer.
    for size in (4080..=4100).chain(8180..=8200).chain(65_525..=65_545) {
        let head = b"Subject: edge\r\n\r\n".to_vec();
        let filler = b"x".repeat(size - head.len());
        odd.push([head, filler, b"\r\n.dot\r\nFrom here\r\n\r\n".to_vec()].concat());
    }
    odd
}

/// What a user has, each without the lines that delivery put before it.
fn bodies(found: &[Vec<u8>]) -> Vec<Vec<u8>> {
    found.iter().map(|message| after_trace(message)).collect()
}

/// Takes off Return-Path, Delivered-To and the first Received.
pub(super) fn after_trace(message: &[u8]) -> Vec<u8> {
    let mut rest = message;
    for name in ["Return-Path: ", "Delivered-To: ", "Received: "] {
        if rest.starts_with(name.as_bytes()) {
            rest = after_line(rest);
            while name == "Received: " && rest.starts_with(b"\t") {
                rest = after_line(rest);
            }
        }
    }
    rest.to_vec()
}

fn after_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
    &text[end..]
}

/// Byte for byte. Only a header that has no end may get one: without an empty line no mbox can hold it.
pub(super) fn is_same(sent: &[u8], came: &[u8]) -> bool {
    came == sent || (header::end(sent) == sent.len() && came.strip_suffix(b"\r\n") == Some(sent))
}

fn check(sent: &[Vec<u8>], found: &[Vec<u8>]) {
    for (number, message) in sent.iter().enumerate() {
        let came = found.get(number).unwrap_or_else(|| panic!("message {number} is missing"));
        assert!(
            is_same(message, came),
            "message {number} is altered: {} bytes sent, {} found\nsent:  {:.300}\nfound: {:.300}",
            message.len(),
            came.len(),
            String::from_utf8_lossy(message).escape_debug().to_string(),
            String::from_utf8_lossy(came).escape_debug().to_string(),
        );
    }
    assert_eq!(sent.len(), found.len());
}

fn odd_messages_come_back_unaltered() {
    let mut daemon = Setup::default().start();
    let odd = odd_messages();
    let mut smtp = daemon.smtp();
    for message in &odd {
        let reply = smtp.send("sender@sender.test", &["alice@here.test"], message).unwrap();
        assert!(reply.starts_with("250"), "{reply}: {:.200}", String::from_utf8_lossy(message));
    }
    check(&odd, &bodies(&daemon.mail("alice")));
    daemon.stop();
    daemon.start();
    check(&odd, &bodies(&daemon.mail("alice")));
    daemon.kill();
    daemon.start();
    check(&odd, &bodies(&daemon.mail("alice")));
}

/// Alice's server with a route to a sink, and a way to submit without a password.
fn relay(sink: &Sink) -> Daemon {
    let config =
        format!("[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n", sink.address);
    Setup::default().config(&config).start()
}

fn odd_messages_are_relayed_unaltered() {
    let sink = Sink::start();
    let daemon = relay(&sink);
    let odd = odd_messages();
    for message in &odd {
        let reply = daemon.smtp().send("sender@sender.test", &["x@away.test"], message).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    }
    let arrived = wait_for("all of them", 60, || Some(sink.arrived()).filter(|arrived| arrived.len() >= odd.len()));
    let mut found: Vec<Vec<u8>> = arrived.iter().map(|arrived| after_trace(&arrived.message)).collect();
    assert_eq!(found.len(), odd.len());
    // Several connections deliver side by side, so they come in any order. The exact one goes first: a header
    // without an end, which may get one, must not take the message that was sent with one.
    for (number, message) in odd.iter().enumerate() {
        let exact = found.iter().position(|came| came == message);
        let at = exact.or_else(|| found.iter().position(|came| is_same(message, came)));
        let at = at.unwrap_or_else(|| {
            panic!("message {number} is altered or missing: {:.300}", String::from_utf8_lossy(message).escape_debug().to_string())
        });
        found.swap_remove(at);
    }
}

fn large_messages_come_back_unaltered() {
    let daemon = Setup::default().start();
    let mut random = Random(25);
    let mut sent = Vec::new();
    for size in [255 << 10, 257 << 10, 1 << 20, 25 << 20] {
        let mut message = b"Subject: large\r\n\r\n".to_vec();
        while message.len() < size {
            if random.below(50) == 0 {
                message.extend_from_slice(b"From the middle\r\n.\r\n");
            }
            message.extend_from_slice(
                format!("{:016x} {:016x} {:016x}\r\n", random.next(), random.next(), random.next()).as_bytes(),
            );
        }
        assert!(daemon.send(&["alice@here.test", "bob@here.test"], &message).starts_with("250"));
        sent.push(message);
    }
    check(&sent, &bodies(&daemon.mail("alice")));
    check(&sent, &bodies(&daemon.mail("bob")));
}

fn huge_headers_are_taken_or_refused_whole() {
    let daemon = Setup::default().start();
    let many = "X-Field: value\r\n".repeat(200_000);
    let one = format!("Subject: {}\r\n", "x".repeat(3_000_000));
    let folded = format!("References:{}\r\n", "\r\n <x@y>".repeat(300_000));
    let words = format!("Subject: {}\r\n", "=?utf-8?q?x?= ".repeat(100_000));
    for header in [many, one, folded, words] {
        let message = format!("{header}\r\nbody\r\n").into_bytes();
        let before = daemon.mail("alice").len();
        let reply = daemon.send(&["alice@here.test"], &message);
        let after = daemon.mail("alice");
        if reply.starts_with("250") {
            assert_eq!(after_trace(&after[before]), message);
        } else {
            assert!(reply.starts_with("552 5.3.4"), "{reply}");
            assert_eq!(after.len(), before);
        }
    }
    assert!(daemon.send(&["alice@here.test"], &letter("after", "fine")).starts_with("250"));
}

fn random_messages_come_back_unaltered() {
    let daemon = Setup::default().start();
    let mut random = Random(4711);
    let pieces: [&[u8]; 12] = [
        b"\r\n",
        b"\r\n",
        b"From ",
        b">",
        b".",
        b"Subject: ",
        b"a",
        b"\x80",
        b" ",
        b"\r\nFrom a Sat Nov 21 00:00:00 2026\r\n",
        b"\r\n\r\n",
        b"Received: x\r\n",
    ];
    let mut sent = Vec::new();
    let mut smtp = Smtp::hello(daemon.at("smtp")).unwrap();
    for _ in 0..300 {
        let mut message: Vec<u8> = (0..random.below(60)).flat_map(|_| pieces[random.below(pieces.len())].to_vec()).collect();
        message.extend_from_slice(b"\r\n");
        assert!(smtp.send("a@b.test", &["alice@here.test"], &message).unwrap().starts_with("250"));
        sent.push(message);
    }
    let mut pop3 = Pop3::log_in(daemon.at("pop3"), "alice", PASSWORD).unwrap();
    let found = pop3.messages().unwrap();
    // Sizes are told as they are sent.
    for (number, message) in found.iter().enumerate() {
        assert_eq!(pop3.ok(&format!("LIST {}", number + 1)).unwrap(), format!("+OK {} {}", number + 1, message.len()));
    }
    check(&sent, &bodies(&found));
}
