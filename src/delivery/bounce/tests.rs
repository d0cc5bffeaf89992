//! Reports, read back as another program would read them.

use super::*;
use crate::delivery::enclosure::LONGEST_LINE;
use crate::delivery::outcome::Relay;
use crate::spool::Message;
use mailparse::{MailHeaderMap, ParsedMail};
use std::sync::Arc;

fn relay() -> Relay {
    let address = crate::config::Endpoint::Tcp("192.0.2.1:25".parse().unwrap());
    Relay { host: "mx.there.example".into(), address, tls: None }
}

fn recipients(troubles: &[(&str, Box<Trouble>)]) -> Vec<Recipient> {
    troubles.iter().map(|(address, _)| Recipient::from(address.parse::<Address>().unwrap())).collect()
}

fn report(kind: Kind, troubles: &[(&str, Box<Trouble>)], header: &[u8]) -> String {
    built(kind, &recipients(troubles), troubles, &Enclosure::of_header(header, false, false), None)
}

fn built(kind: Kind, to: &[Recipient], troubles: &[(&str, Box<Trouble>)], enclosed: &Enclosure, id: Option<&str>) -> String {
    let cases: Vec<Case<'_>> = to.iter().zip(troubles).map(|(recipient, (_, trouble))| Case { recipient, trouble }).collect();
    let text = build(&Notice {
        kind,
        hostname: "mail.example.org",
        id: "00000000000000ab-1",
        sender: &"alice@example.org".parse().unwrap(),
        eight_bit: false,
        date: "Sat, 21 Nov 2026 10:00:00 +0000".into(),
        arrival: "Sat, 21 Nov 2026 09:00:00 +0000".into(),
        release: None,
        cases: &cases,
        envelope_id: id.map(str::to_owned),
        enclosed,
    });
    assert!((text.is_ascii() || enclosed.encoding == "8bit") && !text.contains(&b'\r'));
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
    assert_eq!(types[..2], ["text/plain", "message/delivery-status"]);
    assert!(matches!(types[2..], ["text/rfc822-headers" | "message/rfc822"]), "{types:?}");
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
fn what_was_asked_for_is_told() {
    let mut to = recipients(&[("bob@there.example", Trouble::own("2.0.0", ""))]);
    to[0].dsn.take("ORCPT", Some("rfc822;B+2Bob@old.example")).unwrap();
    let told = |kind, trouble| {
        let troubles = [("bob@there.example", trouble)];
        let text = built(kind, &to, &troubles, &Enclosure::of_header(HEADER, false, false), Some("a =+ b"));
        let [words, status, _] = parts(&text);
        assert!(status.starts_with("Original-Envelope-Id: a =+ b\nReporting-MTA: dns; mail.example.org\n"), "{status}");
        let per_recipient = status.split_once("\n\n").unwrap().1.to_owned();
        let expected = "Original-Recipient: rfc822; B+ob@old.example\nFinal-Recipient: rfc822; bob@there.example\nAction: ";
        assert!(per_recipient.starts_with(expected), "{status}");
        (words, per_recipient[expected.len()..].to_owned())
    };
    let (words, status) = told(Kind::Delivered, Trouble::own("2.0.0", "It is in the mailbox there."));
    assert!(words.contains("is in the mailboxes") && words.contains("\n<bob@there.example>\n    It is in the mailbox there.\n"));
    assert_eq!(status.trim_end(), "delivered\nStatus: 2.0.0\nLast-Attempt-Date: Sat, 21 Nov 2026 10:00:00 +0000");
    let taken = Trouble::own("2.6.0", "The host mx.there.example took it.").at(&relay()).saying(&"250 2.6.0 got it");
    let (words, status) = told(Kind::Relayed, taken);
    assert!(words.contains("was passed on") && words.contains("\n    It said: 250 2.6.0 got it\n"), "{words}");
    let rest = "relayed\nStatus: 2.6.0\nRemote-MTA: dns; mx.there.example\nDiagnostic-Code: smtp; 250 2.6.0 got it\n";
    assert!(status.starts_with(rest), "{status}");
}

#[test]
fn the_whole_comes_back_if_it_can() {
    let whole = |text: &[u8], eight_bit| Enclosure::whole(&Message::Memory(Arc::new(text.to_vec())), false, eight_bit).unwrap();
    let text = "Subject: x\n\n>From me\n--report-00000000000000ab-1--\nend\n";
    let enclosed = whole(text.as_bytes(), false).unwrap();
    assert_eq!((enclosed.media, enclosed.encoding), ("message/rfc822", "7bit"));
    let troubles = [("b@there.example", Trouble::own("5.0.0", "No."))];
    let kind = Kind::Failed { expired: false };
    let [words, _, found] = parts(&built(kind, &recipients(&troubles), &troubles, &enclosed, None));
    assert_eq!(found.trim_end(), text.replace(">From", "From").trim_end());
    assert!(words.contains("more will be tried; it follows at the end"), "{words}");
    let eight_bit = "Subject: x\n\n\u{e4}\n";
    assert!(whole(eight_bit.as_bytes(), false).unwrap().is_eight_bit());
    let enclosed = whole(eight_bit.as_bytes(), true).unwrap();
    assert_eq!((enclosed.media, enclosed.encoding, enclosed.needs_utf8()), ("message/rfc822", "8bit", false));
    assert!(built(kind, &recipients(&troubles), &troubles, &enclosed, None).contains(eight_bit));
    for unfit in [&b"a\n\n\0\n"[..], b"a\n\nx\ry\n", &[b'x'; 999], &b"x\n".repeat(200_000)] {
        assert!(whole(unfit, true).is_none());
    }
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

/// RFC 6533 §4.
#[test]
fn what_came_with_smtputf8_comes_back_in_its_own_form() {
    let whole = |text: &str, eight_bit| {
        let enclosed = Enclosure::whole(&Message::Memory(Arc::new(text.as_bytes().to_vec())), true, eight_bit).unwrap();
        enclosed.map(|enclosed| (enclosed.media, enclosed.encoding, enclosed.needs_utf8()))
    };
    for (text, eight_bit, form) in [
        ("Subject: u\n\nu\n", true, Some(("message/rfc822", "7bit", false))),
        ("Subject: u\n\n\u{fc}\n", true, Some(("message/rfc822", "8bit", false))),
        ("Subject: u\n\n\u{fc}\n", false, Some(("message/rfc822", "8bit", false))),
        ("Subject: u\n\n\u{fc}\0\n", true, None),
        ("Subject: \u{fc}\n\nu\n", true, Some(("message/global", "8bit", true))),
        ("Subject: \u{fc}\n\nu\n", false, Some(("message/global", "quoted-printable", false))),
        ("Subject: \u{fc}\n\n\0\n", true, Some(("message/global", "quoted-printable", false))),
    ] {
        assert_eq!(whole(text, eight_bit), form, "{text:?}");
    }
    for (header, eight_bit, form) in [
        ("Subject: u\n", true, ("text/rfc822-headers", "7bit")),
        ("Subject: \u{fc}\n", true, ("message/global-headers", "8bit")),
        ("Subject: \u{fc}\n", false, ("message/global-headers", "quoted-printable")),
        (&format!("Subject: {}\n", "\u{fc}".repeat(500)), true, ("message/global-headers", "quoted-printable")),
    ] {
        let enclosed = Enclosure::of_header(header.as_bytes(), true, eight_bit);
        assert_eq!((enclosed.media, enclosed.encoding), form, "{header:?}");
    }
    let latin = Enclosure::of_header(b"Subject: \xfc\n", true, true);
    assert_eq!((latin.media, latin.encoding), ("text/rfc822-headers", "quoted-printable"));
}

#[test]
fn long_words_are_folded() {
    let reply = format!("550 {}", "word ".repeat(100));
    let trouble = Trouble::own("5.0.0", "No.").at(&relay()).saying(&reply);
    let [words, status, _] = parts(&report(Kind::Failed { expired: false }, &[("b@there.example", trouble)], HEADER));
    assert!(words.lines().all(|line| line.len() < 80), "{words}");
    assert_eq!(status.lines().count(), 9);
}
