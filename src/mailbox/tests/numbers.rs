//! Numbers and removals that a kill, or another program's write, once got wrong. The model found them; here they stand alone.

use super::strangers::{append, replace};
use super::*;
use crate::mailbox::{Change, Flags, Marks};
use crate::sys::Lock;
use std::collections::BTreeMap;

const MAILBOX: &str = "/w/mail/alice";
const INDEX: &str = "/w/spool/index/alice/INBOX.idx";

fn text(n: u64) -> String {
    format!("Subject: message {n}\n\nby a stranger\n")
}

/// UID by the number of the message.
fn uids(world: &World) -> BTreeMap<u64, u32> {
    world.seen("alice").iter().map(|(uid, wire)| (number(wire), *uid)).collect()
}

/// The next life of the daemon, after a kill of this one.
fn killed(disk: &SimDisk, world: World) -> (SimDisk, World) {
    let ledger = world.ledger.clone();
    let disk = disk.after_kill();
    (disk.clone(), World::at(Arc::new(disk), Path::new("/w"), ledger))
}

#[test]
fn a_number_that_only_the_log_knows_is_found_behind_an_older_index() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    append(&disk, &text(1));
    uids(&world);
    world.store.close();
    let (disk, world) = killed(&disk, world);
    append(&disk, &text(2));
    let before = uids(&world);
    let (disk, world) = killed(&disk, world);
    append(&disk, &text(3));
    let now = uids(&world);
    assert_eq!((now[&1], now[&2]), (before[&1], before[&2]));
    assert!(now[&3] > now[&2]);
}

#[test]
fn a_uid_that_was_not_believed_is_not_believed_after_the_index_was_lost() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    world.inbox("alice").deliver(&small(1).copy()).unwrap();
    let without = world.file("alice");
    assert_eq!(world.inbox("alice").deliver(&small(2).copy()).unwrap(), Uid(2));
    replace(&disk, &without);
    world.inbox("alice").deliver(&small(3).copy()).unwrap();
    assert_eq!(uids(&world), BTreeMap::from([(1, 1), (3, 3)]));
    // The copy that was not safe comes back, behind a greater number that was shown.
    world.store.checkpoint();
    let before = uids(&world);
    assert_eq!(before, BTreeMap::from([(1, 1), (2, 4), (3, 3)]));
    let (disk, world) = killed(&disk, world);
    let _ = disk.remove(Path::new(INDEX));
    assert_eq!(uids(&world), before);
}

#[test]
fn what_a_reader_has_in_memory_of_a_part_that_was_cut_off_is_not_another_message() {
    let disk = SimDisk::default();
    let (world, inbox) = World::with_mail(&disk, 2);
    let view = inbox.view().unwrap();
    view.messages().unwrap().iter().for_each(|message| drop(read(&view, message)));
    inbox.expunge(&[Uid(2)]).unwrap();
    world.store.compact(&inbox).unwrap();
    append(&disk, &text(3));
    view.sync(true).unwrap();
    let last = view.messages().unwrap().pop().unwrap();
    assert_eq!(read(&view, &last), text(3).replace('\n', "\r\n").as_bytes());
}

#[test]
fn a_copy_removed_under_another_uid_is_not_delivered_again() {
    let disk = SimDisk::default();
    let (world, inbox) = World::with_mail(&disk, 2);
    assert_eq!(uids(&world).len(), 2);
    let both = world.file("alice");
    let first = both.len() / 2;
    strangers::overwrite(&disk, &both[..first]);
    assert_eq!(uids(&world).len(), 1);
    strangers::overwrite(&disk, &both);
    let uid = uids(&world)[&2];
    assert!(uid > 2);
    inbox.expunge(&[Uid(uid)]).unwrap();
    let (_disk, world) = killed(&disk, world);
    let mail = small(2);
    assert_eq!(world.inbox("alice").recover(&[mail.copy()]).unwrap(), [true]);
    assert_eq!(uids(&world).into_keys().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_copy_removed_while_others_move_it_is_not_delivered_again() {
    for replaced in [false, true] {
        let disk = SimDisk::default();
        let (world, inbox) = World::with_mail(&disk, 2);
        drop(inbox.view().unwrap());
        let file = disk.open(Path::new(MAILBOX), Open::Write).unwrap();
        assert!(file.try_lock(Lock::Exclusive).unwrap());
        // Farther than its block is long.
        let label = format!("X-Label: {}\nSubject", "new ".repeat(200));
        let moved = String::from_utf8(world.file("alice")).unwrap().replacen("Subject", &label, 1);
        strangers::overwrite(&disk, moved.as_bytes());
        inbox.expunge(&[Uid(2)]).unwrap();
        file.unlock().unwrap();
        if replaced {
            replace(&disk, strangers::split(moved.as_bytes())[0].0.as_bytes());
        }
        assert_eq!(uids(&world).into_keys().collect::<Vec<_>>(), [1]);
        let (_, world) = killed(&disk, world);
        assert_eq!(world.inbox("alice").recover(&[small(2).copy()]).unwrap(), [true], "replaced: {replaced}");
        assert_eq!(uids(&world).into_keys().collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn what_waits_to_be_overwritten_is_not_taken_for_new() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    inbox.deliver(&small(1).copy()).unwrap();
    append(&disk, &text(2));
    let view = inbox.view().unwrap();
    let third = inbox.deliver(&small(3).copy()).unwrap();
    view.sync(true).unwrap();
    let file = disk.open(Path::new(MAILBOX), Open::Write).unwrap();
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    inbox.expunge(&[Uid(2)]).unwrap();
    file.unlock().unwrap();
    inbox.expunge(&[third]).unwrap();
    append(&disk, &text(4));
    view.sync(true).unwrap();
    let there: Vec<u64> = view.messages().unwrap().iter().map(|message| number(&read(&view, message))).collect();
    assert_eq!(there, [1, 4]);
}

#[test]
fn what_waits_to_be_overwritten_and_was_moved_stays_removed_after_a_kill() {
    let disk = SimDisk::default();
    let (world, inbox) = World::with_mail(&disk, 2);
    drop(inbox.view().unwrap());
    let file = disk.open(Path::new(MAILBOX), Open::Write).unwrap();
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    inbox.expunge(&[Uid(2)]).unwrap();
    file.unlock().unwrap();
    replace(&disk, String::from_utf8(world.file("alice")).unwrap().replacen("Subject", "X-Label: new\nSubject", 1).as_bytes());
    // It is overwritten when a view ends, or at a checkpoint.
    let _view = inbox.view().unwrap();
    let (_, world) = killed(&disk, world);
    assert_eq!(uids(&world).into_keys().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_copy_that_comes_back_begins_with_its_from_line() {
    let disk = SimDisk::default();
    let (world, _inbox) = World::with_mail(&disk, 2);
    // The second one begins two bytes earlier, and ends where it ended.
    let text = String::from_utf8(world.file("alice")).unwrap();
    let pad = |from: &str, to: &str, text: &str| text.replacen(from, to, 1);
    let (first, second) = text.split_at(text.len() / 2);
    let moved = pad("X-Keywords:  ", "X-Keywords:", first) + &pad("X-Keywords:", "X-Keywords:  ", second);
    strangers::overwrite(&disk, moved.as_bytes());
    replace(&disk, b"");
    assert!(uids(&world).is_empty());
    world.store.checkpoint();
    assert_eq!(uids(&world).into_keys().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(world.file("alice").len(), text.len());
}

/// As a server of another kind flags the first message of ours, in its place.
fn flag_first(disk: &SimDisk, world: &World) {
    let text = String::from_utf8(world.file("alice")).unwrap();
    strangers::overwrite(disk, text.replacen("X-Status:     \n", "X-Status:  F  \n", 1).as_bytes());
}

#[test]
fn a_change_in_place_does_not_hide_behind_a_delivery() {
    for body in [10, 200] {
        let disk = SimDisk::default();
        let world = World::sim(&disk);
        let inbox = world.inbox("alice");
        let lines = "a line of a message, and more\n".repeat(body);
        for n in 1..=2 {
            inbox.deliver(&Mail::new(n, format!("Subject: message {n}\n\n{lines}").as_bytes()).copy()).unwrap();
        }
        let view = inbox.view().unwrap();
        flag_first(&disk, &world);
        append(&disk, &text(3));
        assert_eq!(view.sync(true).unwrap().exists, Some(3));
        // Ours is kept with theirs, whether theirs was seen yet or not.
        let draft = Marks { flags: Flags::DRAFT, keywords: 0 };
        inbox.mark(&[Uid(1)], Change::Add, draft, None).unwrap();
        world.store.checkpoint();
        view.sync(true).unwrap();
        let flags = view.messages().unwrap()[0].marks.flags & Flags::ALL;
        assert_eq!(flags, Flags::FLAGGED | Flags::DRAFT, "{body} lines");
        let filed = String::from_utf8(world.file("alice")).unwrap();
        assert!(filed.contains("X-Status:  FT \n"), "{filed}");
    }
}

#[test]
fn a_flag_set_again_after_another_program_took_it_outlives_a_kill() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    world.inbox("alice").deliver(&small(1).copy()).unwrap();
    flag_first(&disk, &world);
    let flags = |world: &World| {
        let view = world.inbox("alice").view().unwrap();
        view.messages().unwrap()[0].marks.flags & Flags::ALL
    };
    assert_eq!(flags(&world), Flags::FLAGGED);
    world.store.close();
    // The index knows it as flagged, in the file too.
    let (disk, world) = killed(&disk, world);
    let text = String::from_utf8(world.file("alice")).unwrap();
    strangers::overwrite(&disk, text.replacen("X-Status:  F  \n", "X-Status:     \n", 1).as_bytes());
    assert_eq!(flags(&world), Flags::NONE);
    let file = disk.open(Path::new(MAILBOX), Open::Write).unwrap();
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    world.inbox("alice").mark(&[Uid(1)], Change::Add, Marks { flags: Flags::FLAGGED, keywords: 0 }, None).unwrap();
    let (_disk, world) = killed(&disk, world);
    assert_eq!(flags(&world), Flags::FLAGGED);
}

#[test]
fn a_flag_that_was_taken_back_does_not_return_from_an_older_index() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    inbox.deliver(&small(1).copy()).unwrap();
    let deleted = Marks { flags: Flags::DELETED, keywords: 0 };
    inbox.mark(&[Uid(1)], Change::Add, deleted, None).unwrap();
    world.store.checkpoint();
    // While somebody looks, the index is not written again so soon.
    let view = inbox.view().unwrap();
    inbox.mark(&[Uid(1)], Change::Remove, deleted, None).unwrap();
    world.store.checkpoint();
    drop(view);
    let (disk, world) = killed(&disk, world);
    let text = String::from_utf8(world.file("alice")).unwrap();
    strangers::overwrite(&disk, text.replacen("Status:   \nX-Status:     \n", "Status: RO\nX-Status:    \n", 1).as_bytes());
    let marks = world.inbox("alice").view().unwrap().message(Uid(1)).unwrap().unwrap().marks;
    assert_eq!(marks.flags & Flags::ALL, Flags::SEEN);
}

#[test]
fn an_older_and_shorter_file_is_seen_behind_our_own_delivery() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    let lines = "a line of a message, and more\n".repeat(200);
    let long = |n: u64| Mail::new(n, format!("Subject: message {n}\n\n{lines}").as_bytes());
    for n in 1..=2 {
        inbox.deliver(&long(n).copy()).unwrap();
    }
    let view = inbox.view().unwrap();
    let older = world.file("alice");
    inbox.mark(&[Uid(1)], Change::Add, Marks { flags: Flags::FLAGGED, keywords: 0 }, None).unwrap();
    let third = inbox.deliver(&small(3).copy()).unwrap();
    view.sync(true).unwrap();
    inbox.expunge(&[third]).unwrap();
    strangers::overwrite(&disk, &older);
    inbox.deliver(&long(4).copy()).unwrap();
    view.sync(true).unwrap();
    assert_eq!(view.messages().unwrap()[0].marks.flags & Flags::ALL, Flags::NONE);
}

#[test]
fn what_came_back_in_the_middle_is_where_it_was_after_a_kill() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    let lines = "a line of a message, and more\n".repeat(200);
    inbox.deliver(&small(1).copy()).unwrap();
    inbox.deliver(&Mail::new(2, format!("Subject: message 2\n\n{lines}").as_bytes()).copy()).unwrap();
    let older = world.file("alice");
    inbox.expunge(&[Uid(1)]).unwrap();
    world.store.checkpoint();
    strangers::overwrite(&disk, &older);
    let before = uids(&world);
    assert_eq!(before.len(), 2);
    // The index is older, and what comes now hides from it that the first one is back.
    let (_disk, world) = killed(&disk, world);
    world.inbox("alice").deliver(&small(3).copy()).unwrap();
    let mut now = uids(&world);
    now.remove(&3);
    assert_eq!(now, before);
}

#[test]
fn what_waits_to_be_overwritten_is_known_where_it_carries_an_older_uid() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    inbox.deliver(&small(1).copy()).unwrap();
    assert_eq!(uids(&world), BTreeMap::from([(1, 1)]));
    let older = world.file("alice");
    strangers::overwrite(&disk, b"");
    assert!(uids(&world).is_empty());
    let again = inbox.deliver(&small(1).copy()).unwrap();
    let _view = inbox.view().unwrap();
    let file = disk.open(Path::new(MAILBOX), Open::Write).unwrap();
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    inbox.expunge(&[again]).unwrap();
    file.unlock().unwrap();
    strangers::overwrite(&disk, &older);
    assert!(uids(&world).is_empty());
    world.store.checkpoint();
    assert!(uids(&world).is_empty());
}

#[test]
fn a_message_before_a_torn_one_keeps_its_number() {
    let disk = SimDisk::default();
    let (world, inbox) = World::with_mail(&disk, 2);
    assert_eq!(uids(&world).len(), 2);
    world.store.checkpoint();
    let end = world.file("alice").len() as u64;
    let file = disk.open(Path::new(MAILBOX), Open::Write).unwrap();
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    inbox.expunge(&[Uid(1)]).unwrap();
    file.unlock().unwrap();
    inbox.deliver(&small(3).copy()).unwrap();
    let (disk, world) = killed(&disk, world);
    // What a power cut did to it.
    let file = disk.open(Path::new(MAILBOX), Open::Write).unwrap();
    file.write_at(&[io::IoSlice::new(&[0; 60])], end).unwrap();
    assert_eq!(world.inbox("alice").recover(&[small(3).copy()]).unwrap(), [true]);
    let now = uids(&world);
    assert_eq!((now.len(), now[&2]), (2, 2));
}

#[test]
fn a_flag_we_filed_and_another_program_took_from_a_replaced_file_is_gone() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    inbox.deliver(&small(1).copy()).unwrap();
    world.store.checkpoint();
    inbox.mark(&[Uid(1)], Change::Add, Marks { flags: Flags::FLAGGED, keywords: 0 }, None).unwrap();
    replace(&disk, &world.file("alice"));
    drop(inbox.view().unwrap());
    world.store.close();
    let (disk, world) = killed(&disk, world);
    // It reads the whole state log.
    world.inbox("alice").recover(&[]).unwrap();
    let flags = || world.inbox("alice").view().unwrap().messages().unwrap()[0].marks.flags & Flags::ALL;
    assert_eq!(flags(), Flags::FLAGGED);
    let text = String::from_utf8(world.file("alice")).unwrap();
    strangers::overwrite(&disk, text.replacen("X-Status:  F  \n", "X-Status:     \n", 1).as_bytes());
    assert_eq!(flags(), Flags::NONE);
}

#[test]
fn what_others_took_from_both_files_was_delivered() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    inbox.deliver(&small(1).copy()).unwrap();
    world.store.checkpoint();
    let older = world.file("alice");
    inbox.deliver(&small(2).copy()).unwrap();
    strangers::overwrite(&disk, &older);
    replace(&disk, &older);
    assert_eq!(uids(&world).into_keys().collect::<Vec<_>>(), [1]);
    world.store.checkpoint();
    assert!(world.settled(2));
    assert_eq!(uids(&world).into_keys().collect::<Vec<_>>(), [1]);
}

#[test]
fn what_is_mail_again_stays_so_wherever_it_stands_in_the_next_life() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    (1..=2).for_each(|n| append(&disk, &text(n)));
    assert_eq!(uids(&world), BTreeMap::from([(1, 1), (2, 2)]));
    let before = world.file("alice");
    world.inbox("alice").expunge(&[Uid(2)]).unwrap();
    // It comes back, in another place first.
    let (disk, world) = killed(&disk, world);
    let (first, second) = before.split_at(before.len() / 2);
    replace(&disk, &[second, first].concat());
    assert_eq!(uids(&world).into_keys().collect::<Vec<_>>(), [1, 2]);
    strangers::overwrite(&disk, &before);
    let now = uids(&world);
    let (_disk, world) = killed(&disk, world);
    assert_eq!(world.inbox("alice").recover(&[]).unwrap(), [false; 0]);
    assert_eq!(uids(&world), now);
    world.store.checkpoint();
    assert_eq!((now.len(), uids(&world)), (2, now));
}

/// The log of a killed life, which the index does not have all of, is put back later, and counts as an older one.
#[test]
fn no_message_has_a_greater_modseq_than_the_mailbox() {
    let disk = SimDisk::default();
    disk.set_time(Time::from_seconds(START));
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    inbox.deliver(&small(1).copy()).unwrap();
    uids(&world);
    world.store.checkpoint();
    inbox.mark(&[Uid(1)], Change::Add, Marks { flags: Flags::FLAGGED, keywords: 0 }, None).unwrap();
    let (disk, world) = killed(&disk, world);
    world.clock.advance(Duration::from_secs(3600));
    disk.set_time(world.clock.now());
    let log = disk.open(Path::new("/w/spool/state/alice/INBOX"), Open::Write).unwrap();
    let mut bytes = vec![0; log.stat().unwrap().size as usize];
    log.read_exact_at(&mut bytes, 0).unwrap();
    log.write_at(&[io::IoSlice::new(&bytes)], 0).unwrap();
    let view = world.inbox("alice").view().unwrap();
    assert!(view.messages().unwrap()[0].modseq <= view.highest_modseq());
}
