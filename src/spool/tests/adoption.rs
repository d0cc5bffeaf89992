use super::*;
use crate::sys::Disk;
use std::io::ErrorKind;

fn other(disk: &SimDisk) -> Arc<Journal> {
    let options = Options { dir: PathBuf::from("/j/other"), ..options(64 << 10) };
    Journal::open(Arc::new(disk.clone()), clock(), options).unwrap()
}

/// A journal of another host with three messages, in part settled, and ours with one.
fn two() -> (SimDisk, Waits) {
    let disk = SimDisk::default();
    let theirs = other(&disk);
    let a = put(&theirs, 3, &text(1, 500)).unwrap().id;
    put(&theirs, 1, &text(2, 300 << 10)).unwrap();
    let gone = put(&theirs, 1, &text(3, 500)).unwrap().id;
    let until = Time::from_seconds(1_800_009_000);
    theirs.settle(&[outcome(a, &[1], Status::Delivered), outcome(a, &[2], Status::Deferred { until })]).unwrap();
    theirs.settle(&delivered(gone, &[0])).unwrap();
    let mut all = waiting(&theirs);
    let ours = open(&disk);
    put(&ours, 1, b"ours").unwrap();
    all.extend(waiting(&ours));
    drop((ours, theirs));
    (disk, all)
}

#[test]
fn another_hosts_journal_is_taken_over_whole() {
    let (disk, all) = two();
    let theirs = other(&disk);
    let journal = open(&disk);
    assert!(journal.unowned().is_empty() && journal.has_peers());
    assert!(journal.adopt("other").is_err() && journal.adopt("../j/other").is_err());
    drop(theirs);
    assert_eq!((journal.unowned(), journal.has_peers()), (vec!["other".to_owned()], false));
    let come = journal.adopt("other").unwrap();
    assert_eq!(come.len(), 2);
    let mut come = come.iter().filter_map(|id| journal.waiting(*id)).flat_map(|unsettled| unsettled.waiting);
    assert!(come.any(|waiting| waiting.tries == 1 && waiting.index == 2));
    assert_eq!(waiting(&journal), all);
    assert!(journal.unowned().is_empty());
    drop(journal);
    assert_eq!(waiting(&open(&disk.after_power_cut(5))), all);
    assert!(waiting(&other(&disk)).is_empty());
    assert!(!names(&disk).iter().any(|name| name.contains("adopt")));
}

#[test]
fn an_adoption_may_be_interrupted_anywhere() {
    let (disk, all) = two();
    let journal = open(&disk);
    let before = disk.operations();
    journal.adopt("other").unwrap();
    let operations = disk.operations() - before;
    drop(journal);
    for stop in 1..=operations {
        let (disk, all) = two();
        let journal = open(&disk);
        disk.stop_at(disk.operations() + stop);
        assert!(journal.adopt("other").is_err());
        for seed in 0..5 {
            let cut = if seed == 0 { disk.after_kill() } else { disk.after_power_cut(seed + 100 * stop) };
            let journal = open(&cut);
            // Either nothing has come yet, or all of it.
            let now = waiting(&journal);
            assert!(now.len() == 1 || now == all, "{stop} {seed}");
            if now.len() == 1 {
                assert_eq!(journal.unowned(), ["other"], "{stop} {seed}");
                journal.adopt("other").unwrap();
            }
            assert_eq!(waiting(&journal), all, "{stop} {seed}");
            // What is served and settled does not come back.
            let outcomes: Vec<Outcome> = all.iter().flat_map(|(&id, (left, _))| delivered(id, left)).collect();
            journal.settle(&outcomes).unwrap();
            drop(journal);
            let journal = open(&cut.after_power_cut(seed));
            assert!(waiting(&journal).is_empty(), "{stop} {seed}");
            assert!(journal.unowned().is_empty() || journal.adopt("other").unwrap().is_empty(), "{stop} {seed}");
        }
    }
    assert_eq!(all.len(), 3);
}

#[test]
fn an_adoption_that_failed_goes_on_at_the_next_try() {
    let (disk, all) = two();
    let journal = open(&disk);
    let before = disk.operations();
    journal.adopt("other").unwrap();
    let operations = disk.operations() - before;
    assert_eq!(waiting(&journal), all);
    for at in 1..=operations {
        let (disk, all) = two();
        let journal = open(&disk);
        disk.fail_at(disk.operations() + at, ErrorKind::Other);
        if journal.adopt("other").is_err() {
            let again = journal.adopt("other");
            assert!(again.is_ok() || journal.unowned().is_empty(), "{at}: {again:?}");
        }
        drop(journal);
        assert_eq!(waiting(&open(&disk)), all, "{at}");
    }
}

#[test]
fn what_is_damaged_there_is_set_aside() {
    use crate::sys::Open;
    let (disk, all) = two();
    let file = disk.open("/j/other/00000001.mbox".as_ref(), Open::Write).unwrap();
    let journal = open(&disk);
    // Found good at replay and bad when it is read: the first record's message.
    let theirs = other(&disk);
    theirs.close();
    drop(theirs);
    file.punch(900, 30).unwrap();
    let come = journal.adopt("other").unwrap();
    assert_eq!(come.len(), 1);
    assert_eq!(waiting(&journal).len(), all.len() - 1);
    let left = disk.list("/j/other".as_ref()).unwrap();
    assert!(left.iter().any(|name| name.to_str().unwrap().ends_with(".damaged")), "{left:?}");
}
