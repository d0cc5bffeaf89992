//! Reports, read back as another program would read them.

use super::*;
use crate::delivery::outcome::Relay;
use mailparse::{MailHeaderMap, ParsedMail};

fn relay() -> Relay {
    Relay { host: "mx.there.example".into(), address: "192.0.2.1:25".parse().unwrap() }
}

fn report(kind: Kind, troubles: &[(&str, Box<Trouble>)], header: &[u8]) -> String {
    let addresses: Vec<Address> = troubles.iter().map(|(address, _)| address.parse().unwrap()).collect();
    let cases: Vec<Case<'_>> = addresses.iter().zip(troubles).map(|(address, (_, trouble))| Case { address, trouble }).collect();
    let text = build(&Notice {
        kind,
        hostname: "mail.example.org",
        id: "00000000000000ab-1",
        sender: &"alice@example.org".parse().unwrap(),
        date: "Sat, 21 Nov 2026 10:00:00 +0000".into(),
        arrival: "Sat, 21 Nov 2026 09:00:00 +0000".into(),
        cases: &cases,
        header,
    });
    assert!(text.is_ascii() && !text.contains(&b'\r'));
    assert!(text.split(|byte| *byte == b'\n').all(|line| line.len() <= LONGEST_LINE));
    String::from_utf8(text).unwrap()
}

/// The three parts, checked for what holds of every report (RFC 6522 §3).
fn parts(text: &str) -> [String; 3] {
    let mail: ParsedMail<'_> = mailparse::parse_mail(text.as_bytes()).unwrap();
    assert_eq!(mail.ctype.mimetype, "multipart/report");
    assert_eq!(mail.ctype.params["report-type"], "delivery-status");
    assert_eq!(mail.headers.get_first_value("To").unwrap(), "<alice@example.org>");
    assert_eq!(mail.headers.get_first_value("Auto-Submitted").unwrap(), "auto-replied");
    assert_eq!(mail.headers.get_first_value("Message-ID").unwrap(), "<00000000000000ab-1@mail.example.org>");
    let types: Vec<&str> = mail.subparts.iter().map(|part| part.ctype.mimetype.as_str()).collect();
    assert_eq!(types, ["text/plain", "message/delivery-status", "text/rfc822-headers"]);
    [0, 1, 2].map(|at: usize| {
        String::from_utf8(mail.subparts[at].get_body_raw().unwrap()).unwrap_or_else(|_| mail.subparts[at].get_body().unwrap())
    })
}

const HEADER: &[u8] = b"Received: x\n\ty\nSubject: hi\n";

#[test]
fn failures() {
    let refused = Trouble::own("5.1.1", "The host mx.there.example refused it.").at(&relay()).saying(&"550 5.1.1 no such user");
    let text = report(
        Kind::Failed { expired: false },
        &[("bob@there.example", refused), ("carol@no.example", Trouble::own("5.1.2", "There is no domain no.example."))],
        HEADER,
    );
    let [words, status, header] = parts(&text);
    for expected in [
        "could not be delivered",
        "\n<bob@there.example>\n    The host mx.there.example refused it.\n    It said: 550 5.1.1 no such user\n",
        "\n<carol@no.example>\n    There is no domain no.example.\n",
    ] {
        assert!(words.contains(expected), "{words}");
    }
    assert_eq!(
        status.trim_end(),
        "Reporting-MTA: dns; mail.example.org\n\
         Arrival-Date: Sat, 21 Nov 2026 09:00:00 +0000\n\
         \n\
         Final-Recipient: rfc822; bob@there.example\n\
         Action: failed\n\
         Status: 5.1.1\n\
         Remote-MTA: dns; mx.there.example\n\
         Diagnostic-Code: smtp; 550 5.1.1 no such user\n\
         Last-Attempt-Date: Sat, 21 Nov 2026 10:00:00 +0000\n\
         \n\
         Final-Recipient: rfc822; carol@no.example\n\
         Action: failed\n\
         Status: 5.1.2\n\
         Diagnostic-Code: x-pillarbox; 5.1.2 There is no domain no.example.\n\
         Last-Attempt-Date: Sat, 21 Nov 2026 10:00:00 +0000"
    );
    assert_eq!(header.trim_end(), "Received: x\n\ty\nSubject: hi");
}

#[test]
fn given_up_for_age() {
    let timed_out = Trouble::own("4.4.1", "The host mx.there.example could not be reached.").at(&relay()).because(&"timed out");
    let [words, status, _] = parts(&report(Kind::Failed { expired: true }, &[("b@there.example", timed_out)], HEADER));
    assert!(words.contains("as long as is customary"));
    assert!(status.contains("Action: failed\nStatus: 4.4.7\n"), "{status}");
    assert!(status.contains("x-pillarbox; 4.4.1 The host mx.there.example could not be reached. (timed out)\n"), "{status}");
}

#[test]
fn delays() {
    let later = Trouble::own("4.2.2", "The host mx.there.example would not take it now.").at(&relay()).saying(&"452 4.2.2 full");
    let until = Time::from_seconds(1_800_000_000);
    let [words, status, _] = parts(&report(Kind::Delayed { until }, &[("b@there.example", later)], HEADER));
    assert!(words.contains(&format!("on {}.", date::rfc5322(until))), "{words}");
    assert!(status.contains("Action: delayed\nStatus: 4.2.2\n"), "{status}");
    assert!(status.contains(&format!("\nWill-Retry-Until: {}\n", date::rfc5322(until))), "{status}");
}

#[test]
fn the_header_comes_back_as_it_was() {
    let kind = Kind::Failed { expired: false };
    let trouble = || [("b@there.example", Trouble::own("5.0.0", "No."))];
    for header in [
        "",
        "Subject: \u{e4}\u{f6} = \n",
        ">From me\nSubject: x\n",
        "--report-00000000000000ab-1\n\n--report-00000000000000ab-1--\n",
        "no line end",
        "NUL: \0 and CR: \r here\n",
        &format!("X: {}\nY: {}=\t\n", "x".repeat(3000), "\u{e9}".repeat(900)),
    ] {
        let [.., found] = parts(&report(kind, &trouble(), header.as_bytes()));
        let wanted = header.strip_prefix('>').unwrap_or(header);
        // Quoted-printable comes back with CRLF.
        assert_eq!(found.replace("\r\n", "\n").trim_end_matches('\n'), wanted.trim_end_matches('\n'));
    }
}

#[test]
fn long_words_are_folded() {
    let reply = format!("550 {}", "word ".repeat(100));
    let trouble = Trouble::own("5.0.0", "No.").at(&relay()).saying(&reply);
    let [words, status, _] = parts(&report(Kind::Failed { expired: false }, &[("b@there.example", trouble)], HEADER));
    assert!(words.lines().all(|line| line.len() < 80), "{words}");
    assert_eq!(status.lines().count(), 9);
}
