use crate::mail::mboxrd::ToWire;
use crate::mailbox::mbox;
use crate::mailbox::scan::{Kind, Message, Scan, Scanner, next_message};
use crate::mailbox::secret::{Secret, visible};
use crate::sys::sim::SimDisk;
use crate::sys::{Disk, Open};
use proptest::prelude::*;
use std::path::Path;

pub fn secret() -> Secret {
    Secret::new(&[7; 32])
}

pub fn scan_in_pieces(bytes: &[u8], piece: usize) -> Scan {
    let secret = secret();
    let mut scanner = Scanner::new(&secret, 0);
    for chunk in bytes.chunks(piece.max(1)) {
        scanner.room()[..chunk.len()].copy_from_slice(chunk);
        scanner.filled(chunk.len());
    }
    scanner.finish()
}

/// The definition of the wire form.
pub fn wire(file: &[u8], message: &Message) -> Vec<u8> {
    let part = |at: u64, length: u64| &file[at as usize..(at + length) as usize];
    let (mut to_wire, mut out) = (ToWire::default(), Vec::new());
    let header = crate::mailbox::scan::closed(part(message.header_at(), u64::from(message.header)));
    visible(&header, |bytes| to_wire.push(bytes, &mut out));
    if message.blank > 0 || message.body == 0 {
        to_wire.push(b"\n", &mut out);
    }
    let body = part(message.body_at(), message.body);
    to_wire.push(body, &mut out);
    if body.last().is_some_and(|last| *last != b'\n') {
        to_wire.push(b"\n", &mut out);
    }
    to_wire.finish(&mut out);
    out
}

#[test]
fn messages_begin_at_real_from_lines_only() {
    let text = b"From a Sat Nov  1 12:26:40 2025\nA: b\n\nFrom here on\n\nFrom me to you\nx\nFrom a Sat Nov  1 12:26:40 2025\n\nFrom b Sat Nov  1 12:26:40 2025\n\nFrom c Sat Nov  1 12:26:40 2025\nB: c";
    let scan = scan_in_pieces(text, 1 << 20);
    assert_eq!(scan.messages.len(), 3);
    assert_eq!(scan.messages[0].body, 63);
    assert_eq!((scan.messages[1].body, scan.messages[1].header), (0, 0));
    assert_eq!(wire(text, &scan.messages[2]), b"B: c\r\n\r\n");
    assert!(scan_in_pieces(b"Dear diary", 5).alien);
    assert_eq!(scan_in_pieces(b"", 5), Scan::default());
}

#[test]
fn the_dead_are_known_by_their_form() {
    let from = b"From a Sat Nov  1 12:26:40 2025\n";
    for room in [31u64, 32, 33, 34, 100, 2000] {
        let dead = mbox::dead(room, None).unwrap();
        let nuls = vec![0; (dead.nuls.end - dead.nuls.start) as usize];
        let text = [from, dead.header.as_slice(), &nuls, dead.end, from, b"A: b\n\nx\n\n"].concat();
        for piece in [1, 7, 1 << 20] {
            let scan = scan_in_pieces(&text, piece);
            assert_eq!(scan.messages.iter().map(|m| m.kind).collect::<Vec<_>>(), [Kind::Dead, Kind::Alive], "{room}");
        }
        // What mailx makes of it: a field more, and no NULs.
        let theirs =
            [from, dead.header.strip_suffix(b"\n").unwrap(), b"Status: O\n\n", dead.end, from, b"A: b\n\nx\n\n"].concat();
        assert_eq!(scan_in_pieces(&theirs, 7).messages.iter().map(|m| m.kind).collect::<Vec<_>>(), [Kind::Dead, Kind::Alive]);
        // And alpine: a UID, as for any message. NULs or none, it is no mail.
        let theirs =
            [from, &b"Status: O\nX-Status: \nX-Keywords:  \nX-UID: 38\n\n"[..], &nuls, dead.end, from, b"A: b\n\nx\n\n"].concat();
        assert_eq!(scan_in_pieces(&theirs, 7).messages.iter().map(|m| m.kind).collect::<Vec<_>>()[0], Kind::Dead);
        if room > 40 {
            let mut other = text.clone();
            other[from.len() + 36] = b'x';
            assert_eq!(scan_in_pieces(&other, 1 << 20).messages[0].kind, Kind::Alive);
        }
    }
}

proptest! {
    #[test]
    fn any_cut_finds_the_same_and_sizes_are_those_of_the_wire(
        text in "(From a Sat Nov  1 12:26:40 2025\n|\n\nFrom b Sat Nov  1 12:26:40 2025\n|A: b\n|\n|\r\n|>From |>>|From |x\r|Status: x\n|\n\n|\0|y){0,30}",
        piece in 1usize..40,
    ) {
        let bytes = [b"From z Sat Nov  1 12:26:40 2025\n", text.as_bytes()].concat();
        let scan = scan_in_pieces(&bytes, 1 << 20);
        prop_assert_eq!(&scan, &scan_in_pieces(&bytes, piece));
        let mut at = 0;
        for message in &scan.messages {
            prop_assert_eq!(message.offset, at);
            at = message.end();
            if message.kind == Kind::Alive {
                prop_assert_eq!(message.wire, wire(&bytes, message).len() as u64);
            }
        }
        prop_assert_eq!(at, bytes.len() as u64);
        // A stretch of the file can be scanned for itself.
        let disk = SimDisk::default();
        disk.make_dir(Path::new("/w"), 0o700).unwrap();
        let file = disk.open(Path::new("/w/box"), Open::Create(0o600)).unwrap();
        file.write_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
        for from in 1..=bytes.len() as u64 {
            let start = scan.messages.iter().map(|message| message.offset).find(|offset| *offset >= from);
            prop_assert_eq!(next_message(&*file, from, bytes.len() as u64).unwrap(), start);
        }
        // What comes after makes no difference to what was there.
        let more = [bytes.as_slice(), super::super::deliver::end_of(&bytes), b"From n Sat Nov  1 12:26:40 2025\nB: c\n\nnew\n\n"].concat();
        let after = scan_in_pieces(&more, 1 << 20);
        prop_assert_eq!(after.messages.len(), scan.messages.len() + 1);
        for (before, after) in scan.messages.iter().zip(&after.messages) {
            prop_assert_eq!((before.key, before.wire, before.kind), (after.key, after.wire, after.kind));
        }
    }
}
