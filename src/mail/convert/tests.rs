//! Messages before and after, and whether what comes out means what went in.

use super::*;
use crate::mail::structure::{Kind, Structure};
use crate::mail::transfer::Decoder;
use proptest::prelude::*;

fn convert(message: &[u8], size: usize) -> Result<Vec<u8>, Refusal> {
    let structure = Structure::of(message);
    let mut census = Census::new(&structure);
    message.chunks(size).for_each(|piece| census.push(piece));
    let plan = census.plan()?;
    let (mut converter, mut proof, mut out) = (Converter::new(&plan), Proof::default(), Vec::new());
    message.chunks(size).for_each(|piece| converter.push(piece, &mut out));
    proof.push(&out);
    assert_eq!(proof.finish(&structure)?, out.len() as u64);
    Ok(out)
}

/// With `|` for a line's end.
fn wire(text: &str) -> Vec<u8> {
    text.replace('|', "\r\n").into_bytes()
}

fn becomes(message: &str, expected: &str) {
    for size in [1, 2, 7, 10_000] {
        let converted = convert(&wire(message), size).map(|out| String::from_utf8(out).unwrap().replace("\r\n", "|"));
        assert_eq!(converted.as_deref(), Ok(expected), "in pieces of {size}");
    }
}

fn refused(message: &str) -> Refusal {
    convert(&wire(message), 10).unwrap_err()
}

#[test]
fn text_is_quoted_where_it_can_be_read() {
    becomes(
        "MIME-Version: 1.0|Content-Type: text/plain; charset=utf-8|Content-Transfer-Encoding: 8bit|Subject: x||Grüße aus Köln|",
        "MIME-Version: 1.0|Content-Type: text/plain; charset=utf-8|Content-Transfer-Encoding: quoted-printable|Subject: x||Gr=C3=BC=C3=9Fe aus K=C3=B6ln|"
            .replace("Gr=C3=BC=C3=9Fe aus K=C3=B6ln", "R3LDvMOfZSBhdXMgS8O2bG4NCg==")
            .replace("quoted-printable", "base64")
            .as_str(),
    );
    becomes(
        "MIME-Version: 1.0|Content-Type: text/plain; charset=utf-8|content-transfer-encoding : 8BIT (yes)||A long line about Köln, in German|",
        "MIME-Version: 1.0|Content-Type: text/plain; charset=utf-8|content-transfer-encoding : quoted-printable||A long line about K=C3=B6ln, in German|",
    );
}

#[test]
fn what_nobody_said_is_added() {
    becomes(
        "Subject: Ä||just a line with ü in it|",
        "Subject: Ä|Content-Transfer-Encoding: quoted-printable|Content-Type: text/plain; charset=unknown-8bit|MIME-Version: 1.0||just a line with =C3=BC in it|",
    );
    becomes(
        "MIME-Version: 1.0|Content-Type:|\tText/Plain; format=flowed||just a line with ü in it|",
        "MIME-Version: 1.0|Content-Type:|\tText/Plain; charset=unknown-8bit; format=flowed|Content-Transfer-Encoding: quoted-printable||just a line with =C3=BC in it|",
    );
    // What is no header, and HTML, which tells its charset itself.
    becomes(
        "|just a line with ü in it|",
        "Content-Transfer-Encoding: quoted-printable|Content-Type: text/plain; charset=unknown-8bit|MIME-Version: 1.0||just a line with =C3=BC in it|",
    );
    becomes(
        "MIME-Version: 1|Content-Type: text/html||<p>just a line with ü in it|",
        "MIME-Version: 1|Content-Type: text/html|Content-Transfer-Encoding: quoted-printable||<p>just a line with =C3=BC in it|",
    );
}

#[test]
fn parts_are_converted_where_they_stand() {
    becomes(
        "Content-Type: multipart/mixed; boundary=b|Content-Transfer-Encoding: 8bit||vör|--b|||a|--b|Content-Type: text/plain; charset=latin1|\
         Content-Transfer-Encoding: 8bit|Content-Transfer-Encoding: binary||a line with ü in it|and one more|--b|\
         Content-Type: application/octet-stream||ü|--b|Content-Type: message/rfc822|Content-Transfer-Encoding: BINARY||\
         Subject: ö||the message within ü|--b--|näch|",
        "Content-Type: multipart/mixed; boundary=b|Content-Transfer-Encoding: 7bit|MIME-Version: 1.0||v=C3=B6r|--b|||a|--b|\
         Content-Type: text/plain; charset=latin1|\
         Content-Transfer-Encoding: quoted-printable||a line with =C3=BC in it|and one more|--b|\
         Content-Type: application/octet-stream|Content-Transfer-Encoding: base64||w7w=||--b|\
         Content-Type: message/rfc822|Content-Transfer-Encoding: 7bit||Subject: ö|Content-Transfer-Encoding: quoted-printable|\
         Content-Type: text/plain; charset=unknown-8bit|MIME-Version: 1.0||the message within =C3=BC|--b--|n=C3=A4ch|",
    );
}

#[test]
fn what_has_seven_bits_is_left_alone() {
    for message in ["Subject: Ä|MIME-Version: 1.0||text|", "Content-Transfer-Encoding: 8bit||text|", "", "|", "Ä: b"] {
        becomes(message, message);
    }
    // A signed part beside one that is changed.
    let signed = "--b|Content-Type: multipart/signed; boundary=s|Content-Transfer-Encoding: 8bit||--s||text|--s--||--b--|";
    let of = |version: &str, encoding: &str, text: &str| {
        format!("Content-Type: multipart/mixed; boundary=b{version}||--b{encoding}||{text}|{signed}")
    };
    becomes(
        &of("", "|Content-Type: text/html", "ten bytes and ü"),
        &of("|MIME-Version: 1.0", "|Content-Type: text/html|Content-Transfer-Encoding: quoted-printable", "ten bytes and =C3=BC"),
    );
}

#[test]
fn what_is_sealed_is_refused() {
    let signed = "Content-Type: multipart/Signed; boundary=s||--s||Grüße|--s|Content-Type: application/pgp-signature||x|--s--|";
    assert_eq!(refused(signed), Refusal::Sealed);
    assert_eq!(refused(&format!("Content-Type: message/rfc822||{signed}")), Refusal::Sealed);
    assert_eq!(refused("Content-Type: multipart/encrypted; boundary=s||--s||x|--s--|ü|"), Refusal::Sealed);
    let deep = "Content-Type: multipart/signed; boundary=s||--s|Content-Type: multipart/mixed; boundary=t||--t||ü|--t--|--s--|";
    assert_eq!(refused(deep), Refusal::Sealed);
}

#[test]
fn what_can_not_be_encoded_is_refused() {
    assert_eq!(refused("Content-Transfer-Encoding: base64||ü|"), Refusal::Unfit);
    assert_eq!(refused("Content-Transfer-Encoding: x-uuencode||ü|"), Refusal::Unfit);
    assert_eq!(refused("Content-Type: message/partial; id=x||ü|"), Refusal::Unfit);
    // A boundary with 8-bit characters can't stay, and can't change.
    assert_eq!(refused("Content-Type: multipart/mixed; boundary=\"ü\"||--ü||x|--ü--|"), Refusal::Unclear);
    // A header beyond the bounds of what the structure is made from.
    let many = "References: <a@b>|".repeat(300);
    assert_eq!(refused(&format!("{many}Content-Type: multipart/mixed; boundary=b||--b||ü|--b--|")), Refusal::Unclear);
    assert_eq!(refused(&format!("{many}Content-Transfer-Encoding: base64||ü|")), Refusal::Unclear);
    let deep: String = (0..70).map(|depth| format!("Content-Type: multipart/mixed; boundary=b{depth}||--b{depth}|")).collect();
    assert_eq!(refused(&format!("{deep}|ü|")), Refusal::Unclear);
}

#[test]
fn text_broken_at_a_boundary_makes_no_part() {
    let line = format!("{}--b", "x".repeat(75));
    let of = |body: &str| format!("Content-Type: multipart/mixed; boundary=b||--b|Content-Type: text/html||ü|{body}|--b--|");
    let converted = String::from_utf8(convert(&wire(&of(&line)), 100).unwrap()).unwrap();
    assert!(converted.contains("x=\r\n=2D-b\r\n--b--\r\n"), "{converted}");
}

/// The decoded bodies of all leaves.
fn leaves(message: &[u8]) -> Vec<Vec<u8>> {
    let decoded = |part: &crate::mail::structure::Part| {
        let (mut decoder, mut out) = (Decoder::new(part.transfer_encoding()), Vec::new());
        decoder.push(&message[part.body.start as usize..part.body.end as usize], &mut out);
        decoder.finish(&mut out);
        out
    };
    let structure = Structure::of(message);
    structure.parts.iter().filter(|part| part.kind == Kind::Leaf).map(decoded).collect()
}

/// Some message: of this many levels at most.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        "([ -~]{0,90}\r\n){0,4}",
        "([ -~äöü=-]{0,90}\r\n){0,4}",
        "(--b[0-9]?[ä\\-]{0,3}\r\n| \r\n|ü){0,4}",
        proptest::collection::vec(any::<char>(), 0..100).prop_map(String::from_iter)
    ];
    let leaf = (
        prop_oneof![
            Just(""),
            Just("Content-Type: text/plain\r\n"),
            Just("Content-Type: text/html; charset=x\r\n"),
            Just("Content-Type: image/png\r\n")
        ],
        prop_oneof![Just(""), Just("Content-Transfer-Encoding: 8bit\r\n"), Just("content-transfer-encoding:binary\r\n")],
        body,
    )
        .prop_map(|(media, encoding, body)| format!("{media}{encoding}\r\n{body}"));
    let nested = leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 0..4), 0..1000_u32, "[a-zü\r\n]{0,20}").prop_map(
                |(parts, number, text)| {
                    let parts: String = parts.iter().map(|part| format!("--b{number}\r\n{part}\r\n")).collect();
                    format!("Content-Type: multipart/mixed; boundary=b{number}\r\n\r\n{text}\r\n{parts}--b{number}--\r\n{text}")
                }
            ),
            inner.prop_map(|inner| format!("Content-Type: message/rfc822\r\n\r\n{inner}")),
        ]
    });
    nested.prop_map(String::into_bytes)
}

proptest! {
    #[test]
    fn what_comes_out_means_what_went_in(message in any_message(), size in 1_usize..200) {
        if let Ok(converted) = convert(&message, size) {
            prop_assert_eq!(leaves(&converted), leaves(&message));
            let structure = Structure::of(&converted);
            for part in structure.parts.iter().filter(|part| part.kind == Kind::Leaf) {
                prop_assert!(converted[part.body.start as usize..part.body.end as usize].is_ascii());
            }
            prop_assert_eq!(convert(&converted, 1000), Ok(converted));
        }
    }
}
