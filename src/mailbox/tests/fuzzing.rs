//! Odd bytes where the engine reads its own: any mbox, damaged indexes, damaged state logs. The same ones each time;
//! `PILLARBOX_FUZZ_SECONDS` goes on with others.

use super::model::Random;
use super::*;
use crate::mailbox::scan::Kind;
use std::collections::HashMap;

const INDEX: &str = "/w/spool/index/alice/INBOX.idx";
const STATE: &str = "/w/spool/state/alice/INBOX";
/// The byte of an index that no checksum covers.
const STALE_BYTE: usize = 251;

pub fn rounds(least: u64, mut round: impl FnMut(u64, &mut Random)) {
    let seconds = std::env::var("PILLARBOX_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let begun = Instant::now();
    let mut n = 0;
    while n < least || begun.elapsed() < Duration::from_secs(seconds) {
        round(n, &mut Random::new(n));
        n += 1;
    }
}

pub fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, [random.below(256) as u8])),
            2 if at < bytes.len() => drop(bytes.drain(at..(at + 1 + random.below(40)).min(bytes.len()))),
            3 if at < bytes.len() => {
                let end = (at + 1 + random.below(600)).min(bytes.len());
                bytes[at..end].fill(0);
            }
            4 => {
                let from = random.below(bytes.len() + 1);
                let piece = bytes[from..(from + random.below(200)).min(bytes.len())].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
}

#[test]
fn any_bytes_are_scanned_into_pieces_that_fit() {
    const SPICE: [&[u8]; 18] = [
        b"From a@b Sat Nov  1 12:26:40 2025\n",
        b"\nFrom c Sat Nov  1 12:26:40 2025\n",
        b"\n\nFrom d Sat Nov  1 12:26:40 2025\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"\n",
        b"\r",
        b">From ",
        b">>>From x\n",
        b"From ",
        b"Subject: a\n",
        b"Status: RO\nX-Status: F\n",
        b"X-UID: 0000000000\nX-Status: D\n\n",
        b"X-IMAPbase: 1762000000 0000000012 Key\n",
        b"Content-Length: 99999999999999999999\n",
        b"\0\0\0\0",
        b"\xff\xfe",
        b"X-Keywords:                \n",
    ];
    rounds(2000, |n, random| {
        let mut bytes = if random.one_in(8) { Vec::new() } else { SPICE[0].to_vec() };
        for _ in 0..random.below(30) {
            match random.one_in(5) {
                true => bytes.push(random.below(256) as u8),
                false => bytes.extend_from_slice(SPICE[random.below(SPICE.len())]),
            }
        }
        let scan = scanning::scan_in_pieces(&bytes, 1 << 20);
        assert_eq!(scan, scanning::scan_in_pieces(&bytes, 1 + random.below(50)), "round {n}");
        let mut at = 0;
        for message in &scan.messages {
            assert_eq!(message.offset, at, "round {n}");
            at = message.end();
            assert!(message.body_at() + message.body <= at, "round {n}");
            if message.kind == Kind::Alive {
                assert_eq!(message.wire, scanning::wire(&bytes, message).len() as u64, "round {n}");
            }
        }
        assert!(scan.alien || at == bytes.len() as u64, "round {n}");
    });
}

/// Two messages of ours that are marked, one of another program's, and one removed.
fn some() -> SimDisk {
    let disk = SimDisk::default();
    let (world, inbox) = World::with_mail(&disk, 4);
    let bytes = [world.file("alice"), b"From x@y Sat Nov  1 12:26:40 2025\nSubject: message 5\n\nhello\n\n".to_vec()].concat();
    write(&disk, "/w/mail/alice", &bytes);
    let marks = Marks { keywords: inbox.keyword("Work").unwrap().unwrap(), flags: Default::default() };
    assert_eq!(world.seen("alice").len(), 5);
    inbox.mark(&[Uid(1), Uid(5)], Change::Add, marks, None).unwrap();
    inbox.expunge(&[Uid(2)]).unwrap();
    world.store.close();
    disk.after_kill()
}

pub fn bytes(disk: &SimDisk, path: &str) -> Vec<u8> {
    let file = disk.open(Path::new(path), Open::Read).unwrap();
    let mut bytes = vec![0; file.stat().unwrap().size as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

pub fn write(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(Path::new(path), Open::Create(0o600)).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[io::IoSlice::new(bytes)], 0).unwrap();
}

#[test]
fn a_damaged_index_changes_nothing() {
    let origin = some();
    let index = bytes(&origin, INDEX);
    let seen = |disk: &SimDisk| {
        let world = World::sim(disk);
        let view = world.inbox("alice").view().unwrap();
        let messages = view.messages().unwrap();
        messages.iter().map(|m| (m.uid, m.marks, read(&view, m))).collect::<Vec<_>>()
    };
    let before = seen(&origin.after_kill());
    rounds(200, |n, random| {
        let mut damaged = index.clone();
        damage(&mut damaged, random);
        if damaged.len() > STALE_BYTE {
            damaged[STALE_BYTE] = index[STALE_BYTE];
        }
        let disk = origin.after_kill();
        write(&disk, INDEX, &damaged);
        assert_eq!(seen(&disk), before, "round {n}");
    });
}

#[test]
fn a_damaged_state_log_never_gives_a_number_to_another_message() {
    let origin = some();
    let state = bytes(&origin, STATE);
    rounds(200, |n, random| {
        let disk = origin.after_kill();
        let mut damaged = state.clone();
        damage(&mut damaged, random);
        if damaged == state {
            return;
        }
        let mut shown: HashMap<(u32, u32), u64> = HashMap::new();
        let mut look = |disk: &SimDisk, count: usize| {
            let world = World::sim(disk);
            let view = world.inbox("alice").view().unwrap();
            let messages = view.messages().unwrap();
            let there: Vec<(Uid, u64)> = messages.iter().map(|m| (m.uid, number(&read(&view, m)))).collect();
            assert_eq!(messages.len(), count, "round {n}: {there:?}, {}", String::from_utf8_lossy(&damaged));
            for message in messages {
                let number = number(&read(&view, &message));
                let before = *shown.entry((view.uid_validity(), message.uid.0)).or_insert(number);
                assert_eq!(before, number, "round {n}: UID {}", message.uid.0);
            }
        };
        look(&origin.after_kill(), 4);
        write(&disk, STATE, &damaged);
        if random.one_in(2) {
            drop(disk.remove(Path::new(INDEX)));
        }
        look(&disk, 4);
        let disk = disk.after_kill();
        World::sim(&disk).inbox("alice").deliver(&small(9).copy()).unwrap();
        look(&disk, 5);
    });
}
