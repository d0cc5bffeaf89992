//! What a crash leaves of a message that was to be removed, and messages that look like it.

use super::model::Random;
use super::strangers::append;
use super::*;
use crate::sys::Lock;

const MAILBOX: &str = "/w/mail/alice";
const SECTOR: usize = 512;
const BIG: usize = 200_000;

/// A disk on which a message of another program, of about this size, is to be removed; and the file before and after that.
fn intended(size: usize) -> (SimDisk, Vec<u8>, Vec<u8>) {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    inbox.deliver(&small(1).copy()).unwrap();
    let lines: String = (0..size / 30).map(|line| format!("line {line:05} of what is removed\n")).collect();
    append(&disk, &format!("Subject: message 2\n\n{lines}"));
    let (uid, _) = world.seen("alice").pop().unwrap();
    let before = world.file("alice");
    // The daemon dies when the intent is there, and nothing is overwritten.
    let dying = |n| {
        let disk = disk.after_kill();
        let world = World::sim(&disk);
        world.seen("alice");
        disk.stop_at(disk.operations() + n);
        let _ = world.inbox("alice").expunge(&[Uid(uid)]);
        disk.after_kill()
    };
    let disk = (1..).map(dying).take_while(|disk| World::sim(disk).file("alice") == before).last().unwrap();
    let after = {
        let world = World::sim(&disk.after_kill());
        world.seen("alice");
        world.file("alice")
    };
    (disk.after_kill(), before, after)
}

/// The numbers of the messages that are seen when the file is like this, and the file after that.
fn seen(disk: &SimDisk, bytes: &[u8]) -> (Vec<u64>, Vec<u8>) {
    let disk = disk.after_kill();
    strangers::overwrite(&disk, bytes);
    let world = World::sim(&disk);
    let numbers = world.seen("alice").iter().map(|(_, wire)| number(wire)).collect();
    (numbers, world.file("alice"))
}

/// A file that has some sectors of one and the others of another.
fn mixed(one: &[u8], other: &[u8], mut pick: impl FnMut(usize) -> bool) -> Vec<u8> {
    let pairs = one.chunks(SECTOR).zip(other.chunks(SECTOR)).enumerate();
    pairs.flat_map(|(at, (one, other))| if pick(at * SECTOR) { one } else { other }).copied().collect()
}

#[test]
fn whatever_a_crash_leaves_is_overwritten() {
    for size in [30, 90, 700, 5_000] {
        let (disk, before, after) = intended(size);
        assert_ne!(before, after);
        for seed in 0..60 {
            let mut random = Random::new(seed);
            let left = mixed(&before, &after, |_| random.one_in(2));
            assert_eq!(seen(&disk, &left), (vec![1], after.clone()), "{size} bytes, seed {seed}");
        }
        // A write that was killed.
        for cut in (0..before.len()).step_by(7) {
            let left = [&after[..cut], &before[cut..]].concat();
            assert_eq!(seen(&disk, &left), (vec![1], after.clone()), "{size} bytes, cut at {cut}");
        }
    }
}

#[test]
fn of_a_big_one_the_front_goes_first() {
    let (disk, before, after) = intended(BIG);
    let front = before.len() - BIG + (64 << 10);
    for seed in 0..10 {
        let mut random = Random::new(seed);
        let torn_front = mixed(&before, &after, |at| at > front - 2048 || random.one_in(2));
        assert_eq!(seen(&disk, &torn_front), (vec![1], after.clone()), "seed {seed}");
        let torn_rest = mixed(&before, &after, |at| at > front && random.one_in(2));
        assert_eq!(seen(&disk, &torn_rest), (vec![1], after.clone()), "seed {seed}");
    }
}

#[test]
fn another_message_in_the_place_is_shown() {
    for size in [90, 700, 5_000, BIG] {
        let (disk, before, after) = intended(size);
        // Of the same sender and second, with the same header, as long, and alike up to one letter near an end.
        for at in [before.len() - 3, before.len() - 80, before.len() - size + 40] {
            let mut other = before.clone();
            other[at] ^= 1;
            assert_eq!(seen(&disk, &other), (vec![1, 2], other.clone()), "{size} bytes, other at {at}");
        }
        if size < 5_000 {
            continue;
        }
        // And with sectors of NULs in it, as the removed one would have them.
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let mut other = mixed(&before, &after, |at| at < 2_048 || at + 600 > before.len() || random.one_in(2));
            let at = other.len() - 3;
            other[at] ^= 1;
            assert_eq!(seen(&disk, &other), (vec![1, 2], other.clone()), "{size} bytes, seed {seed}");
        }
    }
}

/// Another program has the lock, and has taken the message away: the next one stands where it stood.
#[test]
fn what_others_put_in_the_place_while_they_have_the_lock_stays() {
    let disk = SimDisk::default();
    let (world, inbox) = World::with_mail(&disk, 3);
    let numbers = |world: &World| world.seen("alice").iter().map(|(uid, wire)| (*uid, number(wire))).collect::<Vec<_>>();
    assert_eq!(numbers(&world), [(1, 1), (2, 2), (3, 3)]);
    let file = disk.open(Path::new(MAILBOX), Open::Write).unwrap();
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    let mut pieces = strangers::split(&world.file("alice"));
    pieces.remove(1);
    let now: String = pieces.into_iter().map(|piece| piece.0).collect();
    strangers::overwrite(&disk, now.as_bytes());
    inbox.expunge(&[Uid(2)]).unwrap();
    file.unlock().unwrap();
    let killed = World::sim(&disk.after_kill());
    for world in [world, killed] {
        assert_eq!(numbers(&world), [(1, 1), (3, 3)]);
        world.store.checkpoint();
        assert_eq!((numbers(&world), world.file("alice").len()), (vec![(1, 1), (3, 3)], now.len()));
    }
}

#[test]
fn mail_that_was_removed_and_comes_back_is_shown_under_another_uid() {
    let disk = SimDisk::default();
    let (world, inbox) = World::with_mail(&disk, 2);
    append(&disk, "Subject: message 3\n\nby a stranger\n");
    assert_eq!(world.seen("alice").len(), 3);
    let backup = world.file("alice");
    inbox.expunge(&[Uid(2), Uid(3)]).unwrap();
    // Before that removal is noted as over.
    strangers::overwrite(&disk, &backup);
    let back = |world: &World| world.seen("alice").iter().map(|(uid, wire)| (*uid, number(wire))).collect::<Vec<_>>();
    let now = back(&world);
    assert_eq!(now, [(1, 1), (4, 2), (5, 3)]);
    // And it stays, also if the daemon dies now.
    let killed = disk.after_kill();
    assert_eq!(back(&World::sim(&killed)), now);
    world.store.checkpoint();
    assert_eq!(back(&world), now);
    assert_eq!(back(&World::sim(&disk.after_kill())), now);
}

#[test]
fn the_dead_of_another_length_and_what_follows_them_are_left_alone() {
    let (disk, _, after) = intended(700);
    let end = after.len() - 2;
    for more in [1, 2, 300] {
        let longer = [&after[..end], &vec![0; more], b"\n\n"].concat();
        assert_eq!(seen(&disk, &longer), (vec![1], longer.clone()), "{more}");
    }
    let next = b"From x@y Sat Nov  1 12:26:40 2025\nSubject: message 5\n\nfollows the shorter one\n\n";
    for shorter in [40, 100, 200] {
        let file = [&after[..end - shorter], b"\n\n", next].concat();
        assert_eq!(seen(&disk, &file), (vec![1, 5], file.clone()), "{shorter}");
    }
}
