//! Structures as bytes.

use super::wire;
use crate::mail::imap_text::{self, Form};
use crate::mail::structure::{Record, Structure, decode, encode};

fn structure() -> Structure {
    Structure::of(&wire(
        "From: A <a@b>\nTo: g:x@y;\nDate: 1 Jan 1960 00:00:00 -0100\nMessage-ID: <m@n>\nReferences: <o@p> <q@r>\nSubject: Re: =?utf-8?q?=C3=BC?=\n\
         Content-Type: multipart/mixed; boundary=a; x=\"\"\n\n--a\nContent-ID: <i>\nContent-Language: de, en\nContent-Disposition: inline; a=b\n\nhello\n\
         --a\nContent-Type: message/rfc822\nContent-MD5: x\n\nSubject: inner\n\ntext\n--a--\n",
    ))
}

#[test]
fn a_record_gives_back_the_structure() {
    let structure = structure();
    let record = encode(&structure);
    assert_eq!(decode(&record).as_ref(), Some(&structure));
    let open = Record::open(&record).unwrap();
    assert_eq!(open.envelope, structure.envelope);
    for rev2 in [false, true] {
        assert_eq!(open.body_structure(rev2), imap_text::body(&structure, Form { extended: true, rev2 }));
    }
    assert_eq!(open.keys().as_ref(), Some(&structure.keys));
    assert_eq!(structure.keys.preview, "hello");
    assert!(structure.keys.sent.unwrap().utc < 0);
}

#[test]
fn a_part_of_a_record_is_none() {
    let record = encode(&structure());
    for at in 0..record.len() {
        assert_eq!(decode(&record[..at]), None);
    }
    assert_eq!(decode(&[record.as_slice(), b"\0"].concat()), None);
    for version in (0..=255).filter(|version| *version != record[0]) {
        assert_eq!(decode(&[&[version], &record[1..]].concat()), None);
    }
}

#[test]
fn nonsense_is_none_or_a_sane_structure() {
    let record = encode(&structure());
    for at in 1..record.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff, record[at].wrapping_add(1)] {
            let mut changed = record.clone();
            changed[at] = value;
            if let Some(structure) = decode(&changed) {
                assert_eq!(structure.parts[0].parent, None);
                let _ = imap_text::body(&structure, Form { extended: true, rev2: true });
                (0..structure.parts.len()).for_each(|part| drop(structure.number(part)));
            }
        }
    }
}
