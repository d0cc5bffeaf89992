//! Flags and keywords: in the table, in the file, and after others had the file in their hands.

use super::*;
use crate::mailbox::{Change, Changes, Flags, Marks, View};
use crate::sys::Lock;

fn flags(flags: Flags) -> Marks {
    Marks { flags, keywords: 0 }
}

fn marks(view: &View, uid: u32) -> Marks {
    view.message(Uid(uid)).unwrap().unwrap().marks
}

fn filled(world: &World, count: u64) -> Arc<Mailbox> {
    let inbox = world.inbox("alice");
    for n in 1..=count {
        inbox.deliver(&small(n).copy()).unwrap();
    }
    inbox
}

fn text(world: &World) -> String {
    String::from_utf8(world.file("alice")).unwrap()
}

#[test]
fn a_flag_is_seen_by_every_session_and_by_whoever_reads_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = filled(&world, 3);
    let (one, two) = (inbox.view().unwrap(), inbox.view().unwrap());
    let before = text(&world);
    let marked = inbox.mark(&[Uid(2), Uid(9)], Change::Add, flags(Flags::SEEN | Flags::FLAGGED), None).unwrap();
    assert_eq!((marked.done, marked.modified), (vec![Uid(2)], vec![]));
    for view in [&one, &two] {
        assert_eq!(view.sync(true).unwrap(), Changes { marked: vec![(2, Uid(2))], ..Changes::default() });
        assert_eq!(marks(view, 2).flags, Flags::SEEN | Flags::FLAGGED);
        assert_eq!(view.sync(true).unwrap(), Changes::default());
    }
    // In place, and nothing else changed.
    let after = text(&world);
    assert_eq!(before.len(), after.len());
    assert_eq!(after.matches("\nStatus: R \nX-Status:  F  \n").count(), 1);
    assert_eq!(after.replacen("Status: R \nX-Status:  F  \n", "Status:   \nX-Status:     \n", 1), before);
    inbox.mark(&[Uid(2)], Change::Remove, flags(Flags::SEEN | Flags::FLAGGED), None).unwrap();
    assert_eq!(text(&world), before);
}

#[test]
fn conditional_changes_leave_alone_what_changed_since() {
    let world = World::sim(&SimDisk::default());
    let inbox = filled(&world, 2);
    let view = inbox.view().unwrap();
    let known = view.message(Uid(1)).unwrap().unwrap().modseq;
    inbox.mark(&[Uid(1)], Change::Replace, flags(Flags::DRAFT), None).unwrap();
    let marked = inbox.mark(&[Uid(1), Uid(2)], Change::Add, flags(Flags::SEEN), Some(known)).unwrap();
    assert_eq!((marked.done, marked.modified), (vec![Uid(2)], vec![Uid(1)]));
    assert!(view.message(Uid(1)).unwrap().unwrap().modseq > known);
    assert_eq!(marks(&view, 1).flags, Flags::DRAFT);
}

#[test]
fn keywords_stay_where_there_is_room_and_beside_it_where_not() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let foreign = "From x@y Sat Nov  1 12:26:40 2025\nSubject: message 2\n\nhello\n\n";
    let inbox = filled(&world, 1);
    world.write("alice", &[world.file("alice"), foreign.into()].concat());
    let view = inbox.view().unwrap();
    let work = inbox.keyword("Work").unwrap().unwrap();
    let long = inbox.keyword(&"x".repeat(100)).unwrap().unwrap();
    assert_eq!(inbox.keyword("wORK").unwrap(), Some(work));
    let both = Marks { flags: Flags::DELETED, keywords: work | long };
    inbox.mark(&[Uid(1), Uid(2)], Change::Add, both, None).unwrap();
    assert!(text(&world).contains("X-Keywords: Work  "));
    world.store.checkpoint();
    drop((view, inbox));
    // After a kill, and again after the index is gone.
    for _ in 0..2 {
        let world = World::real(dir.path());
        let view = world.inbox("alice").view().unwrap();
        assert_eq!((marks(&view, 1), marks(&view, 2)), (both, both));
        assert_eq!(view.keywords().names()[0], "Work");
        let _ = std::fs::remove_dir_all(dir.path().join("spool/index"));
    }
}

#[test]
fn many_changes_reach_the_file_in_one_pass() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = filled(&world, 100);
    let view = inbox.view().unwrap();
    let all: Vec<Uid> = view.messages().unwrap().iter().map(|message| message.uid).collect();
    inbox.mark(&all, Change::Add, flags(Flags::SEEN), None).unwrap();
    assert_eq!(text(&world).matches("\nStatus: R \n").count(), 0);
    assert_eq!(view.sync(true).unwrap().marked.len(), 100);
    world.store.write_back();
    assert_eq!(text(&world).matches("\nStatus: R \n").count(), 100);
    assert_eq!(view.sync(true).unwrap(), Changes::default());
}

#[test]
fn what_mutt_loses_is_kept_and_what_mutt_says_counts() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = filled(&world, 3);
    let view = inbox.view().unwrap();
    inbox.mark(&[Uid(2)], Change::Add, flags(Flags::DELETED | Flags::DRAFT | Flags::SEEN), None).unwrap();
    inbox.mark(&[Uid(3)], Change::Add, flags(Flags::FLAGGED), None).unwrap();
    view.sync(true).unwrap();
    // It flags the first, and takes the flag from the third; it writes its own fields at the end of the header.
    let rewritten: String = text(&world)
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("Status:") && !line.starts_with("X-Status:"))
        .collect::<String>()
        .replace("message 1\n", "message 1\nStatus: RO\nX-Status: F\nContent-Length: 22\nLines: 3\n")
        .replace("message 2\n", "message 2\nStatus: RO\nContent-Length: 22\nLines: 3\n")
        .replace("message 3\n", "message 3\nStatus: O\nContent-Length: 22\nLines: 3\n");
    world.write("alice", rewritten.as_bytes());
    let changes = view.sync(true).unwrap();
    assert_eq!((changes.gone.len(), changes.exists), (0, None));
    assert_eq!(marks(&view, 1).flags & Flags::ALL, Flags::SEEN | Flags::FLAGGED);
    assert_eq!(marks(&view, 2).flags & Flags::ALL, Flags::SEEN | Flags::DELETED | Flags::DRAFT);
    assert_eq!(marks(&view, 3).flags & Flags::ALL, Flags::NONE);
    // And the file is told again.
    world.store.write_back();
    world.store.checkpoint();
    assert!(text(&world).contains("X-Status:   TD\n"), "{}", text(&world));
    assert_eq!(world.seen("alice").len(), 3);
    assert!(world.seen("alice").iter().all(|(_, wire)| !String::from_utf8_lossy(wire).contains("Lines:")));
}

/// The state log tells what is written into the file: else what others change there later counts as old.
#[test]
fn marks_that_were_filed_while_a_replaced_file_was_mended_are_over() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    inbox.deliver(&small(1).copy()).unwrap();
    strangers::replace(&disk, &world.file("alice"));
    inbox.mark(&[Uid(1)], Change::Add, flags(Flags::FLAGGED), None).unwrap();
    assert!(!inbox.inner().orphans.is_empty());
    world.store.checkpoint();
    let inner = inbox.inner();
    assert!(inner.freshly_filed.is_empty() && inner.indexed.len() == 1);
}

#[test]
fn sessions_learn_of_expunges_when_they_may() {
    let world = World::sim(&SimDisk::default());
    let inbox = filled(&world, 5);
    let (one, two) = (inbox.view().unwrap(), inbox.view().unwrap());
    inbox.expunge(&[Uid(2), Uid(4)]).unwrap();
    inbox.deliver(&small(6).copy()).unwrap();
    let gone = vec![(4, Uid(4)), (2, Uid(2))];
    assert_eq!(one.sync(true).unwrap(), Changes { gone: gone.clone(), exists: Some(4), marked: vec![] });
    assert_eq!(two.sync(false).unwrap(), Changes { exists: Some(6), ..Changes::default() });
    assert_eq!((two.count().unwrap(), two.number(Uid(5)).unwrap(), two.uid(4).unwrap()), (6, Some(5), Some(Uid(4))));
    assert!(two.message(Uid(4)).unwrap().is_none());
    assert_eq!(two.sync(true).unwrap(), Changes { gone, ..Changes::default() });
    assert_eq!((two.count().unwrap(), two.number(Uid(5)).unwrap()), (4, Some(3)));
}

#[test]
fn what_another_program_takes_away_and_brings_back_is_another_message() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = filled(&world, 3);
    let view = inbox.view().unwrap();
    let whole = text(&world);
    let second = whole.find("\n\nFrom sender").unwrap() + 2;
    world.write("alice", &whole.as_bytes()[second..]);
    assert_eq!(view.sync(true).unwrap().gone, [(1, Uid(1))]);
    world.write("alice", whole.as_bytes());
    assert_eq!(view.sync(true).unwrap(), Changes { exists: Some(3), ..Changes::default() });
    let uids: Vec<u32> = view.messages().unwrap().iter().map(|message| message.uid.0).collect();
    assert_eq!(uids, [2, 3, 4]);
    assert_eq!(number(&read(&view, &view.message(Uid(4)).unwrap().unwrap())), 1);
}

#[test]
fn the_first_session_has_them_as_recent() {
    let world = World::sim(&SimDisk::default());
    let inbox = filled(&world, 2);
    let (one, two) = (inbox.view().unwrap(), inbox.view().unwrap());
    one.claim_recent().unwrap();
    two.claim_recent().unwrap();
    assert!(one.is_recent(Uid(1)) && one.is_recent(Uid(2)) && !two.is_recent(Uid(1)));
    inbox.deliver(&small(3).copy()).unwrap();
    two.sync(true).unwrap();
    two.claim_recent().unwrap();
    one.sync(true).unwrap();
    one.claim_recent().unwrap();
    assert!(two.is_recent(Uid(3)) && !one.is_recent(Uid(3)));
}

#[test]
fn parts_are_read_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let body: Vec<u8> = (0..40_000u32).flat_map(|n| format!("line {n}\n>From {n}\n").into_bytes()).collect();
    let message = [b"Subject: message 1\n\n".to_vec(), body].concat();
    world.inbox("alice").deliver(&Mail::new(1, &message).copy()).unwrap();
    let view = world.inbox("alice").view().unwrap();
    let summary = view.message(Uid(1)).unwrap().unwrap();
    let whole = read(&view, &summary);
    let mut at = 0;
    while at < whole.len() as u64 {
        let mut part = Vec::new();
        view.read_part(Uid(1), at..at + 30_011).unwrap().read_to_end(&mut part).unwrap();
        assert!(whole[at as usize..].starts_with(&part) && !part.is_empty());
        at += part.len() as u64;
    }
    for (from, to) in [(0, 0), (5, 6), (700_000, 700_100), (10, 70_000), (whole.len() as u64, u64::MAX), (u64::MAX, u64::MAX)] {
        let mut part = Vec::new();
        view.read_part(Uid(1), from..to).unwrap().read_to_end(&mut part).unwrap();
        let (from, to) = (from.min(whole.len() as u64) as usize, to.min(whole.len() as u64) as usize);
        assert!(part == whole[from..to]);
    }
}

#[test]
fn who_waits_is_woken() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = filled(&world, 1);
    let view = inbox.view().unwrap();
    let bell = Bell::new().unwrap();
    view.watch(&bell);
    let rings = |millis: u16| {
        let mut fds = [PollFd::new(bell.fd(), PollFlags::POLLIN)];
        let rang = poll(&mut fds, PollTimeout::from(millis)).unwrap() == 1;
        bell.quiet();
        rang
    };
    assert!(rings(0));
    view.sync(true).unwrap();
    inbox.deliver(&small(2).copy()).unwrap();
    assert!(rings(0));
    assert_eq!(view.sync(true).unwrap().exists, Some(2));
    // What our own write left in the queue of the other watch may ring once more.
    while rings(100) {
        view.sync(true).unwrap();
    }
    let foreign = "From x@y Sat Nov  1 12:26:40 2025\nSubject: message 3\n\nhello\n\n";
    world.write("alice", &[world.file("alice"), foreign.into()].concat());
    assert!(rings(10_000));
    // The file is truncated first when it is written anew; in the end all three are there.
    while view.sync(true).unwrap().exists != Some(3) && view.count().unwrap() != 3 {
        assert!(rings(10_000));
    }
}

#[test]
fn a_mark_that_could_not_be_written_is_written_later() {
    for n in 1..=8 {
        let disk = SimDisk::default();
        let world = World::sim(&disk);
        let inbox = filled(&world, 1);
        let view = inbox.view().unwrap();
        world.store.checkpoint();
        disk.fail_at(disk.operations() + n, io::ErrorKind::Other);
        let _ = inbox.mark(&[Uid(1)], Change::Add, flags(Flags::FLAGGED), None);
        assert_eq!(marks(&view, 1).flags & Flags::ALL, Flags::FLAGGED);
        world.store.checkpoint();
        assert!(text(&world).contains("X-Status:  F  \n"), "{n}");
    }
}

/// Of a message without room for them, marks are in the state log and the table, and not in the index of before.
#[test]
fn marks_are_not_forgotten_with_a_table_that_the_index_does_not_have() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    strangers::append(&disk, "Subject: message 1\n\nby a stranger\n");
    let inbox = world.inbox("alice");
    drop(inbox.view().unwrap());
    world.store.checkpoint();
    inbox.mark(&[Uid(1)], Change::Add, flags(Flags::FLAGGED), None).unwrap();
    // While another program has the file, what it may have changed can't be looked at, and the index is not written.
    inbox.inner().doubt.begin();
    let third = disk.open(Path::new("/w/mail/alice"), Open::Write).unwrap();
    assert!(third.try_lock(Lock::Exclusive).unwrap());
    world.clock.advance(Duration::from_secs(4000));
    world.store.checkpoint();
    third.unlock().unwrap();
    assert_eq!(marks(&inbox.view().unwrap(), 1).flags & Flags::ALL, Flags::FLAGGED);
}
