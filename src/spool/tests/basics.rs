use super::*;
use crate::sys::{Disk, Open};
use std::io::ErrorKind;
use std::time::Duration;

#[test]
fn what_is_committed_is_there_after_a_restart() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let small = put(&journal, 3, &text(1, 900)).unwrap();
    let empty = put(&journal, 1, b"").unwrap();
    let big = put(&journal, 2, &text(2, 300 << 10)).unwrap();
    assert_eq!(bytes(&small.message), quoted(&text(1, 900)));
    assert!(matches!(&small.message, Message::Memory(_)) && matches!(&big.message, Message::File { .. }));
    assert_eq!(bytes(&big.message), quoted(&text(2, 300 << 10)));
    assert_eq!(*journal.read(small.id).unwrap().envelope, envelope(3));
    journal.settle(&delivered(small.id, &[1])).unwrap();
    let before = waiting(&journal);
    assert_eq!(before[&small.id].0, [0, 2]);
    drop(journal);
    let journal = open(&disk);
    assert_eq!(waiting(&journal), before);
    assert_eq!(journal.ids(), [small.id, empty.id, big.id]);
    journal.settle(&delivered(small.id, &[0, 2])).unwrap();
    journal.settle(&delivered(big.id, &[0, 1])).unwrap();
    assert_eq!(journal.waiting(small.id), None);
    assert!(matches!(journal.read(small.id), Err(SpoolError::Unknown(_))));
    assert!(!names(&disk).iter().any(|name| name.ends_with(".msg")));
    journal.settle(&delivered(small.id, &[0, 2])).unwrap();
    drop(journal);
    assert_eq!(waiting(&open(&disk)).keys().collect::<Vec<_>>(), [&empty.id]);
}

/// Opens the journal while time passes, and `meanwhile` is done after so much of it.
fn open_as_time_passes(disk: &SimDisk, after: u32, meanwhile: impl FnOnce()) -> Result<(), SpoolError> {
    let clock = clock();
    std::thread::scope(|scope| {
        let opened = scope.spawn(|| Journal::open(Arc::new(disk.clone()), clock.clone(), options(64 << 10)).map(drop));
        let (mut passed, mut meanwhile) = (0, Some(meanwhile));
        while !opened.is_finished() {
            std::thread::yield_now();
            clock.advance(Duration::from_millis(1));
            passed += 1;
            if passed >= after {
                meanwhile.take().into_iter().for_each(|act| act());
            }
        }
        opened.join().unwrap()
    })
}

#[test]
fn who_only_looks_at_the_lock_does_not_keep_a_start_away() {
    let disk = SimDisk::default();
    drop(open(&disk));
    let lock = disk.open(&PathBuf::from(DIR).join("lock"), Open::Write).unwrap();
    assert!(lock.try_lock(crate::sys::Lock::Exclusive).unwrap());
    open_as_time_passes(&disk, 30, || drop(lock)).unwrap();
    let _journal = open(&disk);
    assert!(matches!(open_as_time_passes(&disk, u32::MAX, || ()), Err(SpoolError::Locked)));
}

#[test]
fn marks_that_come_with_a_message_never_refuse_it() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let other = put(&journal, 1, b"other").unwrap().id;
    let until = Time::from_seconds(1_800_000_500);
    let mut draft = journal.begin(envelope(3)).unwrap();
    draft.write_all(b"x").unwrap();
    let own = draft.id();
    let marks = vec![
        outcome(own, &[0], Status::Held),
        outcome(own, &[1], Status::Deferred { until }),
        outcome(other, &[0], Status::Held),
    ];
    // The record is written and synced; nothing after that.
    let operations = disk.operations();
    (operations + 3..operations + 9).for_each(|n| disk.fail_at(n, ErrorKind::Other));
    draft.commit(marks).unwrap();
    let held = |journal: &Journal, id| {
        let waiting = journal.waiting(id).unwrap().waiting;
        waiting.iter().map(|w| (w.held, w.tries)).collect::<Vec<_>>()
    };
    for journal in [&journal, &open(&disk.after_power_cut(1))] {
        assert_eq!(held(journal, own), [(true, 0), (false, 1), (false, 0)]);
        assert_eq!(journal.waiting(own).unwrap().waiting[1].due, until);
    }
    // The other's mark is in memory, and in the log as soon as that can be written.
    assert_eq!(held(&journal, other), [(true, 0)]);
    (0..10).for_each(|_| drop(put(&journal, 1, b"more")));
    journal.housekeep();
    assert_eq!(held(&open(&disk.after_power_cut(1)), other), [(true, 0)]);
}

#[test]
fn to_hold_and_to_release_is_durable() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let id = put(&journal, 1, b"x").unwrap().id;
    let until = Time::from_seconds(1_800_000_500);
    for (status, held) in [(Status::Held, true), (Status::Deferred { until }, false)] {
        journal.settle(&[outcome(id, &[0], status)]).unwrap();
        for seed in 0..20 {
            assert_eq!(open(&disk.after_power_cut(seed)).waiting(id).unwrap().waiting[0].held, held);
        }
    }
    disk.fail_at(disk.operations() + 1, ErrorKind::Other);
    assert!(journal.settle(&[outcome(id, &[0], Status::Held)]).is_err());
}

#[test]
fn a_dropped_draft_leaves_nothing() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let mut draft = journal.begin(envelope(1)).unwrap();
    draft.write_all(&text(1, 600 << 10)).unwrap();
    assert!(names(&disk).iter().any(|name| name.ends_with(".msg")));
    drop(draft);
    assert!(!names(&disk).iter().any(|name| name.ends_with(".msg")));
    let mut draft = journal.begin(envelope(1)).unwrap();
    draft.write_all(&text(1, 600 << 10)).unwrap();
    let killed = disk.after_kill();
    drop(open(&killed));
    assert!(!names(&killed).iter().any(|name| name.ends_with(".msg")));
}

#[test]
fn marks_survive() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let id = put(&journal, 3, b"x").unwrap().id;
    let until = Time::from_seconds(1_800_000_500);
    journal.settle(&[outcome(id, &[0, 1], Status::Deferred { until }), outcome(id, &[1], Status::Warned)]).unwrap();
    journal.settle(&[outcome(id, &[2], Status::Held)]).unwrap();
    let check = |journal: &Journal| {
        let waiting = journal.waiting(id).unwrap().waiting;
        assert_eq!(
            waiting.iter().map(|w| (w.tries, w.held, w.warned)).collect::<Vec<_>>(),
            [(1, false, false), (1, false, true), (0, true, false)]
        );
        assert_eq!((waiting[0].due, waiting[0].text.as_str()), (until, "so be it"));
    };
    check(&journal);
    let killed = disk.after_kill();
    check(&open(&killed));
    housekeep(&journal);
    check(&journal);
    check(&open(&disk.after_power_cut(3)));
    journal.settle(&[outcome(id, &[2], Status::Deferred { until })]).unwrap();
    let released = &journal.waiting(id).unwrap().waiting[2];
    assert_eq!((released.held, released.tries, released.due), (false, 0, until));
}

#[test]
fn a_record_settles_others_in_one_act() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let id = put(&journal, 2, b"x").unwrap().id;
    let report =
        put_with(&journal, 1, b"sorry", vec![outcome(id, &[1], Status::Failed), outcome(id, &[0], Status::Warned)]).unwrap().id;
    let check = |journal: &Journal| {
        let left = journal.waiting(id).unwrap().waiting;
        assert_eq!((left.len(), left[0].index, left[0].warned), (1, 0, true));
        assert!(journal.waiting(report).is_some());
    };
    check(&journal);
    check(&open(&disk.after_power_cut(1)));
    // The report is settled and its segment recycled: the outcome stays.
    journal.settle(&delivered(report, &[0])).unwrap();
    let mut filler = Vec::new();
    while !names(&disk).iter().any(|name| name == "00000003.mbox") {
        filler.push(put(&journal, 1, &text(1, 9000)).unwrap().id);
        housekeep(&journal);
    }
    filler.iter().for_each(|&id| journal.settle(&delivered(id, &[0])).unwrap());
    housekeep(&journal);
    drop(journal);
    let journal = open(&disk);
    assert_eq!(journal.waiting(id).unwrap().waiting.len(), 1);
}

#[test]
fn segments_are_recycled_and_never_grow_in_number() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let kept = put(&journal, 2, &text(7, 3000)).unwrap().id;
    for round in 0..40u64 {
        let ids: Vec<SpoolId> = (0..4).map(|n| put(&journal, 1, &text(round * 10 + n, 5000)).unwrap().id).collect();
        let outcomes: Vec<Outcome> = ids.iter().flat_map(|&id| delivered(id, &[0])).collect();
        journal.settle(&outcomes).unwrap();
        housekeep(&journal);
        let segments = names(&disk).iter().filter(|name| name.ends_with(".mbox")).count();
        assert!(segments <= 4, "{:?}", names(&disk));
    }
    assert_eq!(waiting(&journal), BTreeMap::from([(kept, (vec![0, 1], quoted(&text(7, 3000))))]));
    let first = names(&disk).first().cloned().unwrap();
    assert!(first.as_str() > "00000003.mbox", "the kept one was copied forward: {first}");
    for seed in 0..20 {
        assert_eq!(waiting(&open(&disk.after_power_cut(seed))).len(), 1);
    }
    journal.close();
    drop(journal);
    assert_eq!(waiting(&open(&disk)).len(), 1);
}

#[test]
fn a_clean_end_spares_the_next_start_the_segments() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let id = put(&journal, 3, &text(1, 3000)).unwrap().id;
    journal.settle(&[outcome(id, &[1], Status::Delivered), outcome(id, &[2], Status::Held)]).unwrap();
    let before = journal.unsettled();
    journal.close();
    let late = put(&journal, 1, b"late").unwrap().id;
    drop(journal);
    // Not a byte of the records is needed to know what waits.
    let file = disk.open(format!("{DIR}/00000001.mbox").as_ref(), Open::Write).unwrap();
    let journal = open(&disk);
    assert_eq!(journal.unsettled()[..1], before[..]);
    assert_eq!(journal.unsettled()[1].id, late);
    assert_eq!(bytes(&journal.read(id).unwrap().message), quoted(&text(1, 3000)));
    file.punch(512, 2000).unwrap();
    assert!(journal.read(id).is_err());
    drop(journal);
    assert_eq!(open(&disk).unsettled().len(), 2);
}

/// What could be promised may be used up before it is; then it is promised no more.
#[test]
fn what_is_promised_late_is_there_too() {
    let text = "x".repeat(500);
    let mut promised = Vec::new();
    for marks in 0..60 {
        let disk = SimDisk::default();
        let journal = open(&disk);
        let ids: Vec<SpoolId> = (0..100).map(|_| put(&journal, 1, b"x").unwrap().id).collect();
        journal.reserve(ids[0]).unwrap();
        disk.set_capacity(Some(0));
        for mark in 0..marks * 2 {
            let status = Status::Deferred { until: Time(mark) };
            journal.settle(&[Outcome { text: text.clone(), ..outcome(ids[99], &[0], status) }]).unwrap();
        }
        let reserved: Vec<SpoolId> = ids[..99].iter().copied().filter(|&id| journal.reserve(id).is_ok()).collect();
        for &id in &reserved {
            journal.settle(&[Outcome { text: text.clone(), ..outcome(id, &[0], Status::Failed) }]).unwrap();
        }
        let left = open(&disk.after_power_cut(1));
        assert!(reserved.contains(&ids[0]) && reserved.iter().all(|&id| left.waiting(id).is_none()));
        promised.push(reserved.len());
    }
    assert!(promised[0] > 60 && promised[59] < 20, "{promised:?}");
}

#[test]
fn outcomes_can_be_written_when_the_disk_is_full() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let ids: Vec<SpoolId> = (0..100).map(|n| put(&journal, 4, &text(n, 100)).unwrap().id).collect();
    let mut reserved = Vec::new();
    // What was made ready beyond that is promised to others, as far as it goes.
    journal.reserve(ids[0]).unwrap();
    disk.set_capacity(Some(0));
    for &id in &ids {
        match journal.reserve(id) {
            Ok(()) => reserved.push(id),
            Err(error) => assert!(matches!(error, SpoolError::Full), "{error}"),
        }
    }
    assert!(!reserved.is_empty() && reserved.len() < ids.len(), "{}", reserved.len());
    assert!(matches!(put(&journal, 1, &text(1, 60 << 10)), Err(SpoolError::Full)));
    // Others use up what is not promised.
    let text = "x".repeat(500);
    let last = *ids.last().unwrap();
    for _ in 0..200 {
        journal.settle(&[Outcome { text: text.clone(), ..outcome(last, &[0], Status::Held) }]).unwrap();
    }
    let one = *ids.iter().rev().nth(1).unwrap();
    let refused = journal.settle(&[Outcome { text: text.clone(), ..outcome(one, &[0], Status::Failed) }]);
    assert!(matches!(refused, Err(SpoolError::Full)));
    for &id in &reserved {
        let outcomes: Vec<Outcome> =
            (0..4).map(|n| Outcome { text: text.clone(), ..outcome(id, &[n], Status::Failed) }).collect();
        journal.settle(&outcomes).unwrap();
    }
    let left = open(&disk.after_power_cut(1));
    assert!(reserved.iter().all(|&id| left.waiting(id).is_none()));
    disk.set_capacity(None);
    put(&journal, 1, b"y").unwrap();
    journal.settle(&delivered(last, &[0, 1, 2, 3])).unwrap();
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let first = put(&journal, 1, &text(1, 1000)).unwrap().id;
    disk.set_capacity(Some(200 << 10));
    let mut kept = vec![first];
    let mut refused = 0;
    for n in 0..60 {
        match put(&journal, 1, &text(n, 9000)) {
            Ok(entry) => kept.push(entry.id),
            Err(SpoolError::Full) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 20 && matches!(put(&journal, 1, &text(3, 400 << 10)), Err(SpoolError::Full)));
    for seed in 0..10 {
        assert_eq!(waiting(&open(&disk.after_power_cut(seed))).into_keys().collect::<Vec<_>>(), kept);
    }
    disk.set_capacity(None);
    kept.push(put(&journal, 1, &text(3, 9000)).unwrap().id);
    assert_eq!(waiting(&journal).into_keys().collect::<Vec<_>>(), kept);
}

#[test]
fn a_start_with_a_full_disk_serves_what_is_there() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let id = put(&journal, 1, &text(1, 1000)).unwrap().id;
    drop(journal);
    disk.set_capacity(Some(0));
    let journal = open(&disk);
    assert_eq!(waiting(&journal).into_keys().collect::<Vec<_>>(), [id]);
    assert!(matches!(put(&journal, 1, b"x"), Err(SpoolError::Full)));
    journal.settle(&delivered(id, &[0])).unwrap();
    disk.set_capacity(None);
    put(&journal, 1, b"x").unwrap();
}

#[test]
fn floor_of_free_space() {
    let (disk, clock) = (SimDisk::default(), clock());
    let options = Options { min_free: 1 << 20, ..options(1 << 16) };
    let journal = Journal::open(Arc::new(disk.clone()), clock.clone(), options).unwrap();
    assert!(journal.has_room());
    disk.set_capacity(Some(1 << 20));
    clock.advance(Duration::from_millis(499));
    assert!(journal.has_room(), "there was plenty a moment ago");
    clock.advance(Duration::from_millis(1));
    assert!(!journal.has_room());
    // Neither want of room nor scarcity is taken for granted.
    disk.set_capacity(None);
    assert!(journal.has_room());
    clock.advance(Duration::from_secs(1));
    disk.set_capacity(Some(3 << 19));
    assert!(journal.has_room());
    disk.set_capacity(Some(1 << 20));
    assert!(!journal.has_room());
}

#[test]
fn an_envelope_without_recipients_is_refused() {
    let journal = open(&SimDisk::default());
    assert!(journal.begin(envelope(0)).is_err());
}

/// In memory, in a file of its own, and where a block of it ends.
#[test]
fn what_is_put_before_stands_before() {
    for length in [0, 100, 200 << 10, 300 << 10, 384 << 10, 1 << 20] {
        let disk = SimDisk::default();
        let journal = open(&disk);
        let text = text(1, length);
        let mut draft = journal.begin(envelope(1)).unwrap();
        text.chunks(1000).for_each(|piece| draft.write_all(piece).unwrap());
        draft.put_before(b"B: 2\n");
        draft.put_before(b"A: 1\nFrom here\n");
        let id = draft.commit(Vec::new()).unwrap().id;
        let expected = quoted(&[b"A: 1\nFrom here\nB: 2\n", &text[..]].concat());
        assert!(bytes(&journal.read(id).unwrap().message) == expected, "{length}");
        // A restart reads it by its checksum.
        drop(journal);
        assert!(bytes(&open(&disk.after_power_cut(1)).read(id).unwrap().message) == expected, "{length}");
    }
}

/// However it is read, what is put into a message is there, and all else.
#[test]
fn a_spliced_message_is_read_as_one() {
    let (text, added) = (b"Subject: x\n\nbody\n", b"put in");
    for at in 0..=text.len() {
        let whole = [&text[..at], added, &text[at..]].concat();
        let message = Message::Memory(Arc::new(text.to_vec())).spliced(at as u64, added);
        assert_eq!(message.len(), whole.len() as u64);
        for (from, most) in (0..=whole.len() + 1).flat_map(|from| [1, 3, 7, 40].map(|most| (from, most))) {
            let mut buffer = vec![0; most];
            let read = message.read_at(&mut buffer, from as u64).unwrap();
            let rest = whole.get(from..).unwrap_or_default();
            assert_eq!(&buffer[..read], &rest[..most.min(rest.len())], "put in at {at}, read from {from}");
        }
    }
}
