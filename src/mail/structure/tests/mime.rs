//! Good mail, and how parts are asked for.

use super::{told, wire};
use crate::mail::structure::{Section, Structure};

/// RFC 2046 §5.1.1.
#[test]
fn the_simple_multipart_of_rfc_2046_is_two_texts() {
    let message = wire(
        "From: Nathaniel Borenstein <nsb@bellcore.com>\nMIME-Version: 1.0\nContent-type: multipart/mixed; boundary=\"simple boundary\"\n\n\
         This is the preamble.\n\n--simple boundary\n\nThis is implicitly typed plain US-ASCII text.\nIt does NOT end with a linebreak.\n\
         --simple boundary\nContent-type: text/plain; charset=us-ascii\n\nThis is explicitly typed plain US-ASCII text.\nIt DOES end with a linebreak.\n\n\
         --simple boundary--\n\nThis is the epilogue.\n",
    );
    assert_eq!(
        told(&message),
        " multipart/mixed+ 15 []\n\
         1 text/plain 1 [This is implicitly typed plain US-ASCII text.~It does NOT end with a linebreak.]\n\
         2 text/plain 2 [This is explicitly typed plain US-ASCII text.~It DOES end with a linebreak.~]\n"
    );
}

/// The example of RFC 3501 §6.4.5.
fn of_rfc_3501() -> Vec<u8> {
    wire(
        "Subject: root\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\n1\n--a\nContent-Type: application/octet-stream\n\n2\n\
         --a\nContent-Type: message/rfc822\n\nSubject: three\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n3.1\n\
         --b\nContent-Type: application/octet-stream\n\n3.2\n--b--\n\
         --a\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: image/gif\n\n4.1\n\
         --c\nContent-Type: message/rfc822\n\nSubject: four\nContent-Type: multipart/mixed; boundary=d\n\n--d\n\n4.2.1\n\
         --d\nContent-Type: multipart/alternative; boundary=e\n\n--e\n\n4.2.2.1\n--e\nContent-Type: text/richtext\n\n4.2.2.2\n--e--\n--d--\n--c--\n--a--\n",
    )
}

#[test]
fn the_numbers_of_rfc_3501_lead_to_its_parts() {
    let message = of_rfc_3501();
    let structure = Structure::of(&message);
    super::check(&structure, message.len() as u64);
    let text = |number: &[u32], section| {
        let range = structure.section(number, section)?;
        Some(String::from_utf8_lossy(&message[range.start as usize..range.end as usize]).into_owned())
    };
    for number in [&[1][..], &[2], &[3, 1], &[3, 2], &[4, 1], &[4, 2, 1], &[4, 2, 2, 1], &[4, 2, 2, 2]] {
        let name: Vec<String> = number.iter().map(u32::to_string).collect();
        assert_eq!(text(number, Section::Whole), Some(name.join(".")));
        assert_eq!(text(number, Section::Header), None);
        assert_eq!(text(number, Section::Text), None);
        let part = structure.part(number).unwrap();
        assert_eq!(structure.number(part), number);
    }
    assert_eq!(text(&[4, 2], Section::Mime).unwrap(), "Content-Type: message/rfc822\r\n\r\n");
    assert!(text(&[4, 2], Section::Header).unwrap().starts_with("Subject: four\r\n"));
    assert!(text(&[4, 2], Section::Text).unwrap().starts_with("--d\r\n"));
    assert!(text(&[3], Section::Whole).unwrap().starts_with("Subject: three\r\n"));
    assert!(text(&[4, 2, 2], Section::Whole).unwrap().starts_with("--e\r\n"));
    assert_eq!(text(&[], Section::Whole).unwrap().as_bytes(), message);
    assert!(text(&[], Section::Header).unwrap().ends_with("=a\r\n\r\n"));
    assert!(text(&[], Section::Text).unwrap().starts_with("--a\r\n"));
    for number in [&[0][..], &[5], &[1, 1], &[3, 3], &[4, 2, 1, 1], &[4, 2, 2, 3], &[u32::MAX]] {
        assert_eq!(text(number, Section::Whole), None, "{number:?}");
    }
    assert_eq!(text(&[], Section::Mime), None);
}

#[test]
fn a_message_that_is_not_multipart_has_one_part() {
    let message = wire("Content-Type: message/rfc822\n\nSubject: in\n\ntext\n");
    assert_eq!(told(&message), "1 message/rfc822+ 3 []\n1.1 text/plain 1 [text~]\n");
    let structure = Structure::of(&message);
    assert_eq!(structure.section(&[1], Section::Header), Some(32..47));
    assert_eq!(structure.section(&[1, 1], Section::Whole), Some(47..53));
    assert_eq!(structure.part(&[1, 1, 1]), None);
    assert_eq!(Structure::of(b"\r\nx").section(&[1], Section::Whole), Some(2..3));
}

#[test]
fn parts_of_a_digest_are_messages() {
    let message = wire(
        "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: 1\n\none\n--a\nContent-Type: text/plain\n\ntwo\n--a--\n",
    );
    assert_eq!(
        told(&message),
        " multipart/digest+ 10 []\n1 message/rfc822+ 2 []\n1.1 text/plain 0 [one]\n2 text/plain 0 [two]\n"
    );
    let structure = Structure::of(&message);
    assert!(String::from_utf8_lossy(&structure.parts[1].envelope).contains("\"1\""));
}

#[test]
fn fields_of_a_part_are_told_as_written() {
    let structure = Structure::of(&wire(
        "Content-Type: Application/PDF; Name=\"a\"\nContent-ID: <x@y>\nContent-Description: =?utf-8?q?=C3=BC?=\n folded\n\
         Content-Transfer-Encoding: Base64 (really)\nContent-MD5: Q2hlY2s=\nContent-Disposition: ATTACHMENT;\n filename*0*=utf-8''%C3;\n filename*1*=%BC\n\
         Content-Language: en, de\nContent-Location: http://x/\nContent-Type: text/second\n\nbody",
    ));
    let part = &structure.parts[0];
    let text = |value: &Option<Vec<u8>>| String::from_utf8(value.clone().unwrap()).unwrap();
    assert!(part.is("application", "pdf") && part.media_type == b"Application");
    assert_eq!(text(&part.id), "<x@y>");
    assert_eq!(text(&part.description), "=?utf-8?q?=C3=BC?= folded");
    assert_eq!(text(&part.encoding), "Base64");
    assert_eq!(text(&part.md5), "Q2hlY2s=");
    assert_eq!(text(&part.location), "http://x/");
    assert_eq!(part.languages, [b"en", b"de"]);
    let (name, parameters) = part.disposition.as_ref().unwrap();
    assert_eq!(name, b"ATTACHMENT");
    assert_eq!(crate::mail::parameters::value(parameters, "filename").unwrap(), "ü");
}
