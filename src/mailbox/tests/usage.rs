//! How much mail there is, whoever changes it, and what is not looked at for that.

use super::folders::{account, folders, name, open};
use super::strangers::overwrite;
use super::*;
use crate::sys::Lock;

fn usage(world: &World) -> u64 {
    let used = world.store.usage(&account()).unwrap();
    let listed = folders(world).list().unwrap();
    let size = |listed: &Listed| open(world, &listed.name.to_string()).unwrap().view().unwrap().counts().size;
    assert_eq!(used, listed.iter().filter(|listed| matches!(listed.kind, Kind::Mailbox(_))).map(size).sum::<u64>());
    used
}

fn world() -> (SimDisk, World) {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    world.inbox("alice").deliver(&small(1).copy()).unwrap();
    for (n, folder) in [(2, "Work"), (3, "Work/sub")] {
        folders(&world).create(&name(folder), None).unwrap();
        open(&world, folder).unwrap().deliver(&small(n).copy()).unwrap();
    }
    (disk, world)
}

fn path(folder: &str) -> PathBuf {
    Path::new("/w/spool/folders/alice").join(name(folder).file())
}

#[test]
fn the_sum_is_that_of_all_folders_whoever_changes_them() {
    let (disk, world) = world();
    let each = world.inbox("alice").view().unwrap().counts().size;
    assert_eq!(usage(&world), 3 * each);
    // Of ours.
    open(&world, "Work").unwrap().deliver(&small(4).copy()).unwrap();
    assert_eq!(usage(&world), 4 * each);
    open(&world, "Work").unwrap().expunge(&[Uid(1)]).unwrap();
    assert_eq!(usage(&world), 3 * each);
    folders(&world).rename(&name("Work"), &name("Play")).unwrap();
    assert_eq!(usage(&world), 3 * each);
    folders(&world).delete(&name("Play/sub")).unwrap();
    assert_eq!(usage(&world), 2 * each);
    // Of others: more, less, in the same room, a folder, and none.
    let theirs = |body: &str| format!("From x@y Sat Nov  1 12:26:40 2025\nSubject: theirs\n\n{body}\n\n");
    overwrite(&disk, theirs("longer").repeat(2).as_bytes());
    let two = usage(&world) - each;
    overwrite(&disk, theirs("longer").as_bytes());
    assert_eq!(usage(&world), each + two / 2);
    overwrite(&disk, theirs("lo\r\ner").as_bytes());
    assert_eq!(usage(&world), each + two / 2);
    let file = disk.open(&path("New"), Open::Create(0o600)).unwrap();
    file.write_at(&[io::IoSlice::new(theirs("longer").as_bytes())], 0).unwrap();
    assert_eq!(usage(&world), each + two);
    world.store.checkpoint();
    disk.remove(&path("Play")).unwrap();
    assert_eq!(usage(&world), two);
    world.store.close();
    assert_eq!(usage(&World::sim(&disk)), two);
}

#[test]
fn what_is_removed_while_its_file_is_locked_does_not_count() {
    let (disk, world) = world();
    let all = usage(&world);
    let third = disk.open(&path("Work"), Open::Write).unwrap();
    assert!(third.try_lock(Lock::Exclusive).unwrap());
    let before = third.stat().unwrap();
    open(&world, "Work").unwrap().expunge(&[Uid(1)]).unwrap();
    assert_eq!(third.stat().unwrap(), before);
    assert!(third.try_lock(Lock::Shared).unwrap());
    assert_eq!(usage(&world), all / 3 * 2);
    third.unlock().unwrap();
    assert_eq!(usage(&world), all / 3 * 2);
}

#[test]
fn a_mailbox_that_did_not_change_is_not_opened() {
    let (disk, world) = world();
    let locked = |folder| {
        let third = disk.open(&path(folder), Open::Write).unwrap();
        assert!(third.try_lock(Lock::Exclusive).unwrap());
        third
    };
    let all = usage(&world);
    let third = locked("Work");
    assert_eq!(world.store.usage(&account()).unwrap(), all);
    third.write_at(&[io::IoSlice::new(b"f")], 0).unwrap();
    assert!(matches!(world.store.usage(&account()), Err(MailboxError::Busy)));
    third.write_at(&[io::IoSlice::new(b"F")], 0).unwrap();
    third.unlock().unwrap();
    // One that was written just now may be written again in the same tick of the clock.
    disk.set_time(world.clock.now());
    open(&world, "Work/sub").unwrap().deliver(&small(4).copy()).unwrap();
    assert_eq!(usage(&world), all / 3 * 4);
    let third = locked("Work/sub");
    assert!(matches!(world.store.usage(&account()), Err(MailboxError::Busy)));
    third.unlock().unwrap();
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(usage(&world), all / 3 * 4);
    let _third = locked("Work/sub");
    assert_eq!(world.store.usage(&account()).unwrap(), all / 3 * 4);
}

#[test]
fn of_two_daemons_one_at_a_time_has_its_turn() {
    let disk = SimDisk::default();
    let worlds = [(); 2].map(|()| World::sim(&disk));
    let turn = |world: &World| world.store.in_turn(&account(), || ());
    assert!(matches!(worlds[0].store.in_turn(&account(), || turn(&worlds[1])), Ok(Err(MailboxError::Busy))));
    turn(&worlds[1]).unwrap();
}
