//! Messages of every odd kind come out of the reader as they went in, with the size that was told.

use super::*;
use crate::mail::mboxrd::Quoter;
use crate::sys::RealDisk;

/// As they come over the wire, less the CR of each line's end: what the journal is given.
fn corpus() -> Vec<Vec<u8>> {
    let long = |length| vec![b'x'; length];
    let joined = |parts: &[&[u8]]| parts.concat();
    vec![
        b"Subject: plain\n\nbody\n".to_vec(),
        b"Subject: From lines\n\nFrom me to you\nFrom a@b Sat Nov  1 12:26:40 2025\n\nFrom a@b Sat Nov  1 12:26:40 2025\nX: y\n\nmore\n".to_vec(),
        b"Subject: quoted\n\n>From a\n>>From b\n>>>From c\n> From d\n>from e\n>>From \n>>From".to_vec(),
        b"Subject: in the header\nX-Long: a\n >From b\n\tFrom c\n>From d: e\n\nbody\n".to_vec(),
        b">From first@line Sat Nov  1 12:26:40 2025\nSubject: b\n\nbody\n".to_vec(),
        joined(&[b"Subject: long\nX-Long: ", &long(998), b"\n\n", &long(997), b"\n", &long(998), b"\n", &long(999), b"\n", &long(100_000), b"\n"]),
        joined(&[b"Subject: long header\n", b"X-Much: yes\n".repeat(20_000).as_slice(), b"\nbody\n"]),
        b"Subject: \xfc\xe4\xff\n\n\x80\x81 gr\xc3\xbc\xc3\x9fe \xff\xfe\n".to_vec(),
        b"Subject: cr\n\na\rb\r\rc\n\rd\n\r\r\n\re".to_vec(),
        b"Subject: cr before from\n\n\rFrom a@b Sat Nov  1 12:26:40 2025\nx\n".to_vec(),
        b"Subject: empty body\n\n".to_vec(),
        b"Subject: header only\n".to_vec(),
        b"Subject: not even a line end".to_vec(),
        b"\nno header\n".to_vec(),
        b"\n".to_vec(),
        b"Subject: blank lines\n\n\n\n\n".to_vec(),
        b"Subject: blank end\n\nbody\n\n\n".to_vec(),
        b"Subject: blank start\n\n\n\nbody".to_vec(),
        b"Subject: no end\n\nbody".to_vec(),
        b"Subject: dots\n\n.\n..\n. \n".to_vec(),
        b"this is no header\n\nbody\n".to_vec(),
        b"Subject: dead?\nX-Other: 1\n\nX-UID: 0000000000\nX-Status: D\n\n".to_vec(),
    ]
}

fn quoted(plain: &[u8]) -> Vec<u8> {
    let (mut quoter, mut disk) = (Quoter::default(), Vec::new());
    quoter.push(plain, &mut disk);
    quoter.finish(&mut disk);
    disk
}

/// What is shown of it. A line end is made CRLF; CRLF stays; a header is closed with an empty line, and so is a last line.
fn shown(plain: &[u8]) -> Vec<u8> {
    let disk = quoted(plain);
    let mut lines = plain.to_vec();
    if lines.last().is_some_and(|last| *last != b'\n') {
        lines.push(b'\n');
    }
    let header = crate::mail::header::end(&disk);
    if !disk[header..].starts_with(b"\n") {
        // The header goes on to the end, or breaks off where the body begins without an empty line.
        let at = header.min(lines.len());
        lines.insert(at, b'\n');
    }
    let mut out = b"Return-Path: <sender@example.net>\r\nDelivered-To: alice@example.org\r\n".to_vec();
    for byte in lines {
        if byte == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

fn parts(view: &View, summary: &Summary, whole: &[u8]) {
    let mut sizes = vec![1, 2, 3, 7, 64, 1000, whole.len() / 2, whole.len().saturating_sub(1)];
    sizes.retain(|size| *size > 0 && whole.len() / size < 300);
    for size in sizes {
        let mut at = 0;
        while at < whole.len() {
            let mut part = Vec::new();
            view.read_part(summary.uid, at as u64..(at + size) as u64).unwrap().read_to_end(&mut part).unwrap();
            assert!(part == whole[at..(at + size).min(whole.len())], "{} from {at}, {size}", summary.uid.0);
            at += size;
        }
    }
}

fn compare(world: &World, expected: &[Vec<u8>]) {
    let view = world.inbox("alice").view().unwrap();
    let messages = view.messages().unwrap();
    assert_eq!(messages.len(), expected.len());
    for (message, expected) in messages.iter().zip(expected) {
        let wire = read(&view, message);
        let text = |bytes: &[u8]| bytes[..bytes.len().min(400)].escape_ascii().to_string();
        assert!(wire == *expected, "{}\nis not\n{}", text(&wire), text(expected));
        parts(&view, message, &wire);
    }
}

#[test]
fn odd_messages_come_out_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let mut corpus = corpus();
    // 25 MiB, with everything odd in it again and again.
    let mut big = b"Subject: big\n\n".to_vec();
    for n in 0..450_000u32 {
        big.extend_from_slice(format!("line {n} of many, the quick brown fox jumps over the lazy dog\n").as_bytes());
        if n % 1000 == 0 {
            big.extend_from_slice(b"From here on\n>From there\n\nFrom a@b Sat Nov  1 12:26:40 2025\n\xff\r\n");
        }
    }
    assert!(big.len() > 25 << 20);
    corpus.push(big);
    for (n, plain) in corpus.iter().enumerate() {
        world.inbox("alice").deliver(&Mail::new(n as u64, &quoted(plain)).copy()).unwrap();
    }
    let expected: Vec<Vec<u8>> = corpus.iter().map(|plain| shown(plain)).collect();
    compare(&world, &expected);
    world.store.checkpoint();
    // From the index, and from the file again.
    drop(world);
    compare(&World::real(dir.path()), &expected);
    RealDisk.remove(&dir.path().join("spool/index/alice/INBOX.idx")).unwrap();
    compare(&World::real(dir.path()), &expected);
}
