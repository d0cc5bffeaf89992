//! Copying forward, step by step, and what happens beside it.

use super::*;
use crate::sys::{Disk, Open};
use std::io::{ErrorKind, IoSlice};

/// A journal with two messages in a closed first segment.
fn begun(disk: &SimDisk) -> (Arc<Journal>, SpoolId, SpoolId) {
    let journal = open(disk);
    let a = put(&journal, 3, &text(1, 1000)).unwrap().id;
    let b = put(&journal, 1, &text(2, 1000)).unwrap().id;
    drop(journal);
    (open(disk), a, b)
}

fn segment_of(journal: &Journal, id: SpoolId) -> u64 {
    journal::lock(&journal.table).entries[&id].segment
}

fn without(disk: &SimDisk, segment: u64) -> SimDisk {
    let image = disk.after_kill();
    let dir = std::path::Path::new(DIR);
    // A start may have recycled it already.
    let _ = (image.remove(&writer::segment_path(dir, segment)), image.remove(&writer::log_path(dir, segment)));
    image
}

#[test]
fn a_copy_may_be_settled_and_recycled_before_its_original() {
    let disk = SimDisk::default();
    let (journal, a, b) = begun(&disk);
    journal.copy_segment(1).unwrap();
    let to = segment_of(&journal, a);
    assert!(to > 1);
    journal.settle(&delivered(a, &[0, 1, 2])).unwrap();
    journal.settle(&delivered(b, &[0])).unwrap();
    assert!(journal.settle_up(&mut journal::lock(&journal.writer)));
    assert!(waiting(&open(&without(&disk, to))).is_empty());
}

#[test]
fn a_glance_finds_what_was_moved() {
    let disk = SimDisk::default();
    let (journal, a, b) = begun(&disk);
    let big = put(&journal, 2, &text(3, 300 << 10)).unwrap().id;
    let mut glance = journal.glance();
    let mut seen = |id| glance.envelope(id).map(|envelope| envelope.recipients.len()).ok();
    assert_eq!([a, big, b].map(&mut seen), [Some(3), Some(2), Some(1)]);
    journal.copy_segment(1).unwrap();
    assert!(segment_of(&journal, b) > 1);
    assert_eq!([b, a].map(&mut seen), [Some(1), Some(3)]);
    journal.settle(&delivered(b, &[0])).unwrap();
    assert_eq!([b, a].map(&mut seen), [None, Some(3)]);
    // It does not take what lies there now for what was asked for.
    let (live, ..) = journal.fetch(a, journal::Verify::Record).unwrap();
    let file = disk.open(&writer::segment_path(DIR.as_ref(), live.segment), Open::Write).unwrap();
    file.write_at(&[IoSlice::new(b"From pillarbox-0")], live.place.offset).unwrap();
    assert!(matches!(glance.envelope(a), Err(SpoolError::Io(error)) if error.kind() == ErrorKind::InvalidData));
}

#[test]
fn an_outcome_beside_a_copy_reaches_the_log_of_the_copy() {
    let disk = SimDisk::default();
    let (journal, a, _) = begun(&disk);
    // The copy is made; before it is committed, outcomes come in.
    let (live, record, message) = journal.fetch(a, journal::Verify::Message).unwrap();
    journal.settle(&delivered(a, &[1])).unwrap();
    let until = Time::from_seconds(1_800_000_900);
    journal.settle(&[outcome(a, &[0], Status::Deferred { until })]).unwrap();
    journal.copy_records(vec![(live, record, message)], Some(1)).unwrap();
    let expected = journal.waiting(a).unwrap();
    assert_eq!(expected.waiting.iter().map(|w| (w.index, w.tries)).collect::<Vec<_>>(), [(0, 1), (2, 0)]);
    assert_eq!(open(&disk.after_kill()).waiting(a).unwrap(), expected);
    assert!(journal.settle_up(&mut journal::lock(&journal.writer)));
    assert_eq!(open(&without(&disk, 1)).waiting(a).unwrap(), expected);
}

#[test]
fn a_message_settled_while_it_is_copied_stays_settled() {
    let disk = SimDisk::default();
    let (journal, a, _) = begun(&disk);
    let (live, record, message) = journal.fetch(a, journal::Verify::Message).unwrap();
    journal.settle(&delivered(a, &[0, 1, 2])).unwrap();
    journal.copy_records(vec![(live, record, message)], Some(1)).unwrap();
    assert!(journal.waiting(a).is_none());
    assert!(open(&disk.after_kill()).waiting(a).is_none());
    assert!(journal.settle_up(&mut journal::lock(&journal.writer)));
    assert!(open(&without(&disk, 1)).waiting(a).is_none());
}

#[test]
fn after_a_crash_what_logs_lack_is_told_to_them_before_anything_goes() {
    let disk = SimDisk::default();
    let (journal, a, b) = begun(&disk);
    put_with(&journal, 1, b"report", vec![outcome(b, &[0], Status::Failed)]).unwrap();
    let (live, record, message) = journal.fetch(a, journal::Verify::Message).unwrap();
    journal.settle(&delivered(a, &[1])).unwrap();
    journal.copy_records(vec![(live, record, message)], Some(1)).unwrap();
    for seed in 0..20 {
        let cut = disk.after_power_cut(seed);
        let journal = open(&cut);
        let last = segment_of(&journal, a);
        assert!(journal.settle_up(&mut journal::lock(&journal.writer)));
        // The segment with the report, which is also that of the copy; and that of the originals.
        let alone = open(&without(&cut, 1));
        assert_eq!(alone.waiting(a).unwrap().waiting.len(), 2, "{seed}");
        assert!(open(&without(&cut, last)).unsettled().is_empty(), "{seed}");
    }
}

#[test]
fn nothing_goes_while_a_log_lacks_something() {
    let disk = SimDisk::default();
    let (journal, a, b) = begun(&disk);
    journal.settle(&delivered(a, &[0, 1, 2])).unwrap();
    put_with(&journal, 1, b"report", vec![outcome(b, &[0], Status::Failed)]).unwrap();
    let operations = disk.operations();
    // Nothing is written from here on.
    (operations + 1..operations + 400).for_each(|n| disk.fail_at(n, ErrorKind::Other));
    let before = names(&disk);
    assert!(!journal.settle_up(&mut journal::lock(&journal.writer)));
    journal.housekeep();
    assert_eq!(names(&disk), before);
}

#[test]
fn a_message_in_delivery_is_not_moved() {
    let disk = SimDisk::default();
    let (journal, a, b) = begun(&disk);
    journal.reserve(a).unwrap();
    journal.copy_segment(1).unwrap();
    assert_eq!((segment_of(&journal, a), segment_of(&journal, b) > 1), (1, true));
}

#[test]
fn a_segment_in_delivery_does_not_keep_others_from_being_copied() {
    let disk = SimDisk::default();
    let (journal, a, b) = begun(&disk);
    let c = put(&journal, 1, &text(3, 1000)).unwrap().id;
    put(&journal, 1, &text(4, 60 << 10)).map(|entry| journal.settle(&delivered(entry.id, &[0]))).unwrap().unwrap();
    let second = segment_of(&journal, c);
    // What is in the first segment is being delivered; the second is closed by a third.
    journal.reserve(a).unwrap();
    journal.reserve(b).unwrap();
    while journal::lock(&journal.writer).is_open(second) {
        put(&journal, 1, &text(5, 60 << 10)).map(|entry| journal.settle(&delivered(entry.id, &[0]))).unwrap().unwrap();
    }
    housekeep(&journal);
    assert_eq!((segment_of(&journal, a), segment_of(&journal, b)), (1, 1));
    assert!(segment_of(&journal, c) > second);
}

#[test]
fn a_rewritten_log_is_durable_before_it_takes_lines() {
    let disk = SimDisk::default();
    let (journal, a, b) = begun(&disk);
    let mut writer = journal::lock(&journal.writer);
    assert!(journal.settle_up(&mut writer));
    journal.conclude_log(&mut writer, 1).unwrap();
    drop(writer);
    journal.settle(&delivered(a, &[0, 1, 2])).unwrap();
    for seed in 0..20 {
        assert_eq!(waiting(&open(&disk.after_power_cut(seed))).into_keys().collect::<Vec<_>>(), [b]);
    }
}

#[test]
fn what_a_failed_write_left_out_of_a_log_is_written_again() {
    let disk = SimDisk::default();
    let (journal, a, b) = begun(&disk);
    let until = Time::from_seconds(1_800_000_900);
    disk.fail_at(disk.operations() + 1, ErrorKind::Other);
    journal.settle(&[outcome(a, &[0], Status::Deferred { until })]).unwrap();
    journal.settle(&delivered(b, &[0])).unwrap();
    disk.fail_at(disk.operations() + 2, ErrorKind::Other);
    assert!(journal.settle(&delivered(a, &[1])).is_err());
    assert!(journal.waiting(a).unwrap().waiting.iter().any(|waiting| waiting.index == 1));
    journal.settle(&delivered(a, &[2])).unwrap();
    for seed in 0..20 {
        let left = open(&disk.after_power_cut(seed)).waiting(a).unwrap().waiting;
        assert_eq!(left.iter().map(|w| (w.index, w.tries)).collect::<Vec<_>>(), [(0, 1)], "{seed}");
    }
}
