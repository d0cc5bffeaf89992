//! Broken mail: a sane structure, never an error.

use super::{told, wire};

#[test]
fn odd_ends_and_beginnings_have_a_structure() {
    for (message, expected) in [
        ("", "1 text/plain 0 []\n"),
        ("\n", "1 text/plain 0 []\n"),
        ("\nbody only\n", "1 text/plain 1 [body only~]\n"),
        ("Subject: no body", "1 text/plain 0 []\n"),
        ("Subject: no empty line\n", "1 text/plain 0 []\n"),
        (" folded first\nno field\n\nbody", "1 text/plain 0 [body]\n"),
        ("Content-Type: nonsense\n\nx", "1 text/plain 0 [x]\n"),
        ("Content-Type: message/rfc822", "1 message/rfc822+ 0 []\n1.1 text/plain 0 []\n"),
        ("Content-Type: multipart/mixed; boundary=a", " multipart/mixed+ 0 []\n"),
        ("Content-Type: multipart/mixed\n\n--\n\nx\n----\n", " multipart/mixed+ 4 []\n"),
        ("Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nx\n----\n", " multipart/mixed+ 4 []\n"),
        ("Content-Type: multipart/mixed; boundary=a\n\nno part\n", " multipart/mixed+ 1 []\n"),
    ] {
        assert_eq!(told(&wire(message)), expected, "{message}");
    }
}

/// A multipart with this body, in a multipart whose boundary is `out`, or alone.
fn multipart(body: &str) -> String {
    told(&wire(&format!("Content-Type: multipart/mixed; boundary=abc\n\n{body}")))
}

#[test]
fn boundaries_are_whole_lines() {
    for (body, expected) in [
        // Another boundary that begins the same; text behind it; something before it.
        (
            "--abc\n\na\n--abcdef\nb\n--abc x\n --abc\n-- abc\nx--abc\n--abc--",
            "1 text/plain 6 [a~--abcdef~b~--abc x~ --abc~-- abc~x--abc]\n",
        ),
        // Blanks behind it (transport padding).
        ("--abc \t\n\na\n--abc-- \n", "1 text/plain 0 [a]\n"),
        // No end, and an end without a line end.
        ("--abc\n\na\n", "1 text/plain 1 [a~]\n"),
        ("--abc\n\na\n--abc--", "1 text/plain 0 [a]\n"),
        ("--abc\n\na\n--abc", "1 text/plain 0 [a]\n2 text/plain 0 []\n"),
        // After the end there are no parts.
        ("--abc\n\na\n--abc--\n--abc\n\nb", "1 text/plain 0 [a]\n"),
        ("--abc--\n\na", ""),
        // Nothing between them.
        ("--abc\n--abc\n\n--abc\n\n\n--abc--", "1 text/plain 0 []\n2 text/plain 0 []\n3 text/plain 0 []\n"),
        ("--abc\nA: b\n--abc\nA: b\n\n--abc--", "1 text/plain 0 []\n2 text/plain 0 []\n"),
        ("--abc\n\n\n\n--abc--", "1 text/plain 1 [~]\n"),
    ] {
        let told = multipart(body);
        let (_, parts) = told.split_once('\n').unwrap();
        assert_eq!(parts, expected, "{body}");
    }
}

#[test]
fn an_outer_boundary_ends_what_is_in_it() {
    let inner =
        "--abc\nContent-Type: multipart/alternative; boundary=in\n\n--in\nContent-Type: message/rfc822\n\nSubject: x\n\na\n";
    for (rest, last) in [
        ("--abc\n\nb\n--abc--", "2 text/plain 0 [b]\n"),
        ("--abc--\n--in\n\nno", ""),
        ("--in--\nepilogue\n--in\n\n--abc\n\nb\n--abc--", "2 text/plain 0 [b]\n"),
    ] {
        let expected = format!("1 multipart/alternative+\n1.1 message/rfc822+\n1.1.1 text/plain [a]\n{last}");
        let told = multipart(&format!("{inner}{rest}"));
        let parts: Vec<String> = told.lines().skip(1).map(without_lines).collect();
        let expected: Vec<String> = expected.lines().map(without_lines).collect();
        assert_eq!(parts, expected, "{rest}");
    }
    // In the middle of the header of a message in a part.
    let told = multipart("--abc\nContent-Type: message/rfc822\n\nSubject: x\n--abc\n\nb\n--abc--");
    assert_eq!(told.lines().skip(1).collect::<Vec<_>>(), ["1 message/rfc822+ 0 []", "1.1 text/plain 0 []", "2 text/plain 0 [b]"]);
    // The same boundary twice: the inner one is meant.
    let told = multipart("--abc\nContent-Type: multipart/mixed; boundary=abc\n\n--abc\n\na\n--abc--\n--abc\n\nb\n--abc--");
    assert_eq!(
        told.lines().skip(1).collect::<Vec<_>>(),
        ["1 multipart/mixed+ 3 []", "1.1 text/plain 0 [a]", "2 text/plain 0 [b]"]
    );
}

fn without_lines(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let kept: Vec<&str> = words.into_iter().filter(|word| word.parse::<u32>().is_err() || word.contains('.')).collect();
    kept.join(" ").trim_end_matches(" []").to_owned()
}

#[test]
fn bare_line_feeds_end_lines_too() {
    let message = b"Content-Type: multipart/mixed;\n boundary=a\n\n--a\n\none\n--a\r\n\r\ntwo\r\n\n--a--\n";
    let structure = crate::mail::structure::Structure::of(message);
    super::check(&structure, message.len() as u64);
    let bodies: Vec<&[u8]> =
        structure.parts[1..].iter().map(|part| &message[part.body.start as usize..part.body.end as usize]).collect();
    assert_eq!(bodies, [&b"one"[..], b"two\r\n"]);
}

#[test]
fn nul_and_eight_bit_bytes_are_bytes() {
    let message = b"Subject: \0gr\xfcn\0\r\nContent-Type: text/\xfc\0x\r\n\r\n\0\xff\r\n";
    let structure = crate::mail::structure::Structure::of(message);
    super::check(&structure, message.len() as u64);
    assert_eq!(structure.keys.base_subject, "grün");
    assert!(!structure.envelope.contains(&0));
    assert_eq!(structure.parts[0].subtype, b"\xfc");
}
