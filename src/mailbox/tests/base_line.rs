//! The base line comes back when another program took the message that had it.

use super::strangers::overwrite;
use super::*;
use crate::mailbox::{Change, Flags, Marks};

/// Without its first message.
fn behead(disk: &SimDisk, world: &World) {
    let text = world.file("alice");
    let second = memchr::memmem::find(&text, b"\n\nFrom ").unwrap() + 2;
    overwrite(disk, &text[second..]);
}

fn base(world: &World) -> Option<(u32, u32)> {
    scanning::scan_in_pieces(&world.file("alice"), 1 << 20).base.map(|(base, _)| (base.validity, base.last))
}

fn world_of(disk: &SimDisk, count: u64) -> (World, Arc<Mailbox>) {
    let world = World::sim(disk);
    let inbox = world.inbox("alice");
    (1..=count).for_each(|n| assert_eq!(u64::from(inbox.deliver(&small(n).copy()).unwrap().0), n));
    world.store.checkpoint();
    (world, inbox)
}

fn mark_first(inbox: &Mailbox, uid: u32) {
    let seen = Marks { flags: Flags::SEEN, keywords: inbox.keyword("Work").unwrap().unwrap() };
    inbox.mark(&[Uid(uid)], Change::Add, seen, None).unwrap();
}

#[test]
fn the_next_message_gets_it_with_the_next_change() {
    let disk = SimDisk::default();
    let (world, inbox) = world_of(&disk, 3);
    let validity = inbox.view().unwrap().uid_validity();
    behead(&disk, &world);
    assert_eq!(base(&world), None);
    // To look is not to write.
    assert_eq!(world.seen("alice").len(), 2);
    world.store.checkpoint();
    assert_eq!(base(&world), None);
    mark_first(&inbox, 2);
    world.store.checkpoint();
    assert_eq!(base(&world), Some((validity, 3)));
    assert!(world.disk.stat(Path::new("/w/spool/state/alice/INBOX.redo")).is_err());
    // And once more, by a delivery.
    behead(&disk, &world);
    inbox.deliver(&small(4).copy()).unwrap();
    world.store.checkpoint();
    assert_eq!(base(&world), Some((validity, 4)));
    let uids: Vec<u32> = world.seen("alice").iter().map(|(uid, _)| *uid).collect();
    assert_eq!(uids, [3, 4]);
    world.store.checkpoint();
    // Without the index it is all the same.
    drop(world);
    disk.remove(Path::new("/w/spool/index/alice/INBOX.idx")).unwrap();
    let again = World::sim(&disk);
    assert_eq!(again.seen("alice").iter().map(|(uid, _)| *uid).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn where_there_is_no_room_it_does_without() {
    let disk = SimDisk::default();
    let (world, inbox) = world_of(&disk, 2);
    // Another program's message is the first now.
    let foreign = b"From x@y Sat Nov  1 12:26:40 2025\nSubject: message 9\n\nhello\n\n";
    let text = [foreign.as_slice(), &world.file("alice")].concat();
    overwrite(&disk, &text);
    inbox.deliver(&small(3).copy()).unwrap();
    world.store.checkpoint();
    let now = world.file("alice");
    assert_eq!(now[..text.len()], text);
    assert_eq!(base(&world), None);
}

#[test]
fn a_stop_while_it_is_written_does_no_harm() {
    let life = |disk: &SimDisk| {
        let (world, inbox) = world_of(disk, 3);
        let shown: Vec<(u32, Vec<u8>)> = world.seen("alice");
        behead(disk, &world);
        (world, inbox, shown[1..].to_vec())
    };
    let total = {
        let disk = SimDisk::default();
        let (world, inbox, _) = life(&disk);
        let before = disk.operations();
        mark_first(&inbox, 2);
        world.store.checkpoint();
        disk.operations() - before
    };
    for stop in 1..=total {
        let disk = SimDisk::default();
        let (world, inbox, shown) = life(&disk);
        let validity = inbox.view().unwrap().uid_validity();
        // What the other program wrote is durable.
        disk.open(Path::new("/w/mail/alice"), Open::Write).unwrap().sync().unwrap();
        disk.stop_at(disk.operations() + stop);
        let seen = Marks { flags: Flags::SEEN, keywords: 0 };
        let _ = inbox.mark(&[Uid(2)], Change::Add, seen, None);
        world.store.checkpoint();
        for seed in 0..12 {
            let case = format!("stop at {stop}, seed {seed}");
            let image = if seed == 0 { disk.after_kill() } else { disk.after_power_cut(seed) };
            let again = World::sim(&image);
            let now = again.seen("alice");
            let bodies = |all: &[(u32, Vec<u8>)]| all.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>();
            assert_eq!(bodies(&now), bodies(&shown), "{case}");
            if again.inbox("alice").view().unwrap().uid_validity() == validity {
                assert!(now == shown || seed > 0, "{case}");
            }
            again.inbox("alice").deliver(&small(9).copy()).unwrap();
            again.store.checkpoint();
            assert!(base(&again).is_some(), "{case}");
        }
    }
}
