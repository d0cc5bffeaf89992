//! Mail made to cost much: bounds hold, and twice the mail takes about twice the time.

use crate::mail::structure::{Kind, Structure, encode};
use std::time::{Duration, Instant};

/// Takes it apart, writes all that is written of it.
fn work(message: &[u8]) -> Structure {
    let structure = Structure::of(message);
    super::check(&structure, message.len() as u64);
    let record = encode(&structure);
    assert!(record.len() < 16 << 20, "a record of {} bytes", record.len());
    structure
}

/// The same kind of mail at one size and at eight times that: if time grew with the square, it would be 64 times as much.
/// The bound lies between, and short times don't count, so that a busy machine does not matter.
fn is_linear(name: &str, message: impl Fn(usize) -> Vec<u8>) {
    const SIZE: usize = 250_000;
    let time = |size| {
        let message = message(size);
        let fastest = (0..3).map(|_| {
            let begun = Instant::now();
            work(&message);
            begun.elapsed()
        });
        fastest.min().unwrap_or_default()
    };
    let (small, big) = (time(SIZE), time(SIZE * 8));
    assert!(big < Duration::from_millis(50) || big < small * 30, "{name}: {small:?}, then {big:?}");
}

/// A header and a body of so many bytes, of these repeated.
fn repeated(head: &str, piece: &str, size: usize) -> Vec<u8> {
    [head.as_bytes(), piece.repeat(size / piece.len()).as_bytes()].concat()
}

#[test]
fn time_grows_with_size() {
    let multipart = "Content-Type: multipart/mixed; boundary=a\r\n\r\n";
    for (name, head, piece) in [
        ("parts", multipart, "--a\r\n\r\n"),
        ("parts with headers", multipart, "--a\r\nContent-Type: text/html; a=b; c=d\r\n\r\nx\r\n"),
        (
            "messages",
            "Content-Type: multipart/digest; boundary=a\r\n\r\n",
            "--a\r\n\r\nFrom: a@b, c@d\r\nSubject: Re: x\r\n\r\nx\r\n",
        ),
        ("nested messages", "", "Content-Type: message/rfc822\r\n\r\n"),
        ("dashes", multipart, "--\r\n"),
        ("dashes without an end", multipart, "--"),
        ("nearly boundaries", multipart, "--a-\r\n"),
        ("blank lines", multipart, "\r\n"),
        ("line feeds", multipart, "\n"),
        ("a header without an end", "", "Subject: x\r\n"),
        ("a folded field", "Subject: ", "x\r\n "),
        ("a field of encoded words", "Subject: ", "=?utf-8?q?=C3=BC?= "),
        ("openings of encoded words", "Subject: ", "=?"),
        ("an encoded word without an end", "Subject: ", "=?utf-8?q?"),
        ("parameters", "Content-Type: text/plain", "; a=b"),
        ("parameters without an end", "Content-Type: text/plain; a=\"", "\\\""),
        ("comments", "Content-Type: ", "("),
        ("addresses", "To: ", "a@b,"),
        ("address comments", "To: ", "("),
        ("groups", "To: ", "a:;"),
        ("references", "References: ", "<a@b>"),
        ("brackets", "References: ", "<"),
        ("blobs", "Subject: ", "[a]"),
        ("replies", "Subject: ", "Re: "),
        ("html", "Content-Type: text/html\r\n\r\n", "<a "),
        ("html comments", "Content-Type: text/html\r\n\r\n", "<!--"),
        ("html references", "Content-Type: text/html\r\n\r\n", "&amp"),
        ("quoted-printable blanks", "Content-Transfer-Encoding: quoted-printable\r\n\r\n", " "),
        ("languages", "Content-Language: ", "a,"),
    ] {
        is_linear(name, |size| repeated(head, piece, size));
    }
}

/// Multiparts in multiparts, all of them open, and boundaries that differ in the last character only.
fn nested(depth: usize) -> Vec<u8> {
    let level = |level: usize| format!("Content-Type: multipart/mixed; boundary=a{level:060}\r\n\r\n--a{level:060}\r\n");
    (0..depth).map(level).collect::<String>().into_bytes()
}

#[test]
fn ten_thousand_levels_end_at_the_bound() {
    let mut message = nested(10_000);
    let structure = work(&message);
    assert_eq!(structure.parts.len(), 64);
    assert_eq!(structure.parts.last().unwrap().kind, Kind::Opaque);
    assert!(structure.parts.last().unwrap().body.end == message.len() as u64);
    message.extend_from_slice(format!("--a{:059}x\r\n", 0).repeat(100_000).as_bytes());
    assert_eq!(work(&message).parts.len(), 64);
    let messages = work(&"Content-Type: message/rfc822\r\n\r\n".repeat(10_000).into_bytes());
    assert_eq!((messages.parts.len(), messages.parts.last().unwrap().kind), (64, Kind::Opaque));
    is_linear("nested", |size| nested(size / 100));
}

#[test]
fn a_hundred_thousand_parts_end_at_the_bound() {
    let message = repeated("Content-Type: multipart/mixed; boundary=a\r\n\r\n", "--a\r\n\r\nx\r\n", 1_000_000);
    let structure = work(&message);
    assert_eq!(structure.parts.len(), 4000);
    let last = structure.parts.last().unwrap();
    assert_eq!((last.kind, last.parent, last.body.end), (Kind::Opaque, Some(0), message.len() as u64));
    assert_eq!(structure.parts[structure.parts.len() - 2].kind, Kind::Leaf);
}

#[test]
fn headers_have_a_bound() {
    // A megabyte of fields that nobody asks for does not hide those behind it.
    let message = repeated("", "Received: from somewhere by somewhere\r\n", 1 << 20);
    let structure = work(&[&message[..], b"Subject: here\r\n\r\n"].concat());
    assert_eq!(structure.keys.base_subject, "here");
    // A line of a megabyte, and a field of as many lines.
    for piece in ["x", "x\r\n "] {
        let structure = work(&[&repeated("Subject: ", piece, 1 << 20), &b"\r\nFrom: a@b\r\n\r\n"[..]].concat());
        assert!(structure.envelope.len() < 200 << 10);
        assert_eq!(structure.parts[0].header.end, structure.parts[0].body.end);
    }
    // Headers of parts that are long, together.
    let part = format!("--a\r\nContent-Description: {}\r\n\r\n", "x".repeat(100_000));
    let structure = work(&repeated("Content-Type: multipart/mixed; boundary=a\r\n\r\n", &part, 10_000_000));
    assert!(structure.parts.len() < 20);
    assert_eq!(structure.parts.last().unwrap().kind, Kind::Opaque);
}
