//! More of the same: what needs a mailbox of its own, folders, and a stop at every operation of a rebuild.

use super::folders::{account, folders, name};
use super::repairing::{STATE, edit, filled, find, inspect, messages, numbers, put, rebuild};
use super::*;
use crate::mailbox::compact::Reason;
use crate::mailbox::scan::Kind;
use std::fs;

/// A name, what is done to the user's files, what is told, and what is done about it.
type FolderDamage = (&'static str, fn(&Path), &'static str, &'static str);
/// A name, and what is done to a mailbox.
type Ruin = (&'static str, fn(&mut Vec<u8>));

#[test]
fn a_mailbox_without_any_from_line_and_of_any_length_becomes_one() {
    for length in [1, 2, 30, 63, 64, 500, 70_000] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::real(dir.path());
        let text = "x".repeat(length);
        put(&world, &text);
        let rebuilt = rebuild(&world);
        assert_eq!(rebuilt.left, [], "{length}: {rebuilt:?}");
        let seen = world.seen("alice");
        assert_eq!(seen.len(), 1);
        assert!(seen[0].1.ends_with(format!("\r\n\r\n{text}\r\n").as_bytes()), "{}", String::from_utf8_lossy(&seen[0].1));
        let saved: Vec<String> =
            fs::read_dir(dir.path().join(STATE)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        let saved: Vec<&String> = saved.iter().filter(|name| name.contains(".saved-")).collect();
        assert_eq!(fs::read(dir.path().join(STATE).join(saved[0])).unwrap(), text.as_bytes());
    }
}

#[test]
fn a_long_mailbox_moves_up_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = world.inbox("alice");
    let body = "x".repeat(70) + "\n";
    for n in 1..=9 {
        let text = format!("Subject: message {n}\n\n{}", body.repeat(70_000));
        inbox.deliver(&Mail::new(n, text.as_bytes()).copy()).unwrap();
    }
    world.store.checkpoint();
    let before = numbers(&world);
    edit(&world.mail.join("alice"), |bytes| drop(bytes.splice(0..0, *b"x: y\n\nsome mail\n\n")));
    let rebuilt = rebuild(&world);
    assert_eq!(rebuilt.left, [], "{rebuilt:?}");
    let now = numbers(&world);
    assert_eq!((now.len(), now[..9] == before), (10, true), "{now:?}");
    assert_eq!(world.seen("alice")[9].1, b"x: y\r\n\r\nsome mail\r\n");
}

#[test]
fn messages_in_a_redo_file_that_found_no_mailbox_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let world = filled(dir.path());
    let inbox = world.inbox("alice");
    inbox.expunge(&[Uid(1)]).unwrap();
    world.store.checkpoint();
    // The step is over, but for its redo file; then the mailbox is no mailbox any more.
    let copy = dir.path().join("copy");
    let step = inbox.compact_step(&mut inbox.inner(), 1 << 20, Reason::Command);
    assert!(step.is_ok());
    let redo = dir.path().join(STATE).join("INBOX.redo");
    fs::copy(&redo, &copy).unwrap();
    drop(inbox);
    world.store.close();
    drop(world);
    let world = World::real(dir.path());
    edit(&world.mail.join("alice"), |bytes| bytes.truncate(0));
    reopen(&redo, &copy);
    fs::rename(&redo, dir.path().join(STATE).join("INBOX.damaged-9-redo")).unwrap();
    let found = inspect(&world);
    assert!(found.iter().any(|finding| finding.what.contains("holds messages that were on the move")), "{found:?}");
    let rebuilt = rebuild(&world);
    assert!(rebuilt.done.iter().any(|done| done.contains("put 2 messages back")), "{rebuilt:?}");
    assert_eq!((rebuilt.left, numbers(&world).iter().map(|(_, n)| *n).collect::<Vec<_>>()), (vec![], vec![2, 3]));
}

/// A redo file that is over is made one that is not.
fn reopen(redo: &Path, copy: &Path) {
    let bytes = fs::read(copy).unwrap();
    let text = find(&bytes, "window ");
    let check = crc32c::crc32c(&bytes[text..]);
    let line = format!("pillarbox-redo 1 open {text:020} {:020} {check:08x}", bytes.len() - text);
    let head = format!("{line} {:08x}\n", crc32c::crc32c(line.as_bytes()));
    fs::write(redo, [head.as_bytes(), &bytes[head.len()..]].concat()).unwrap();
}

#[test]
fn damage_of_the_folders_is_named_and_mended() {
    let cases: &[FolderDamage] = &[
        ("torn", |root| edit(&root.join(STATE).join("user"), |b| b.extend(b"0000")), "ends in 4 bytes", "log of folders anew"),
        (
            "holed",
            |root| edit(&root.join(STATE).join("user"), |b| b[30] ^= 1),
            "of the log of folders can't be read",
            "log of folders anew",
        ),
        ("lost", |root| fs::remove_file(root.join(STATE).join("user")).unwrap(), "there is no log of folders", "took Work up"),
        ("unfinished", |root| fs::write(root.join(STATE).join("user.new"), "x").unwrap(), "was not finished", "was not finished"),
        (
            "no file",
            |root| fs::remove_file(root.join("spool/folders/alice/Work.mbox")).unwrap(),
            "Work has no file",
            "an empty file for the folder Work",
        ),
        ("a file", |root| fs::write(root.join("spool/folders/alice/New.mbox"), "").unwrap(), "New is in no table", "took New up"),
        (
            "state",
            |root| fs::write(root.join(STATE).join("0123456789abcdef.redo"), "x").unwrap(),
            "abcdef.redo is of no folder",
            "put the state of no folder aside",
        ),
    ];
    for (what, make, told, done) in cases {
        let begin = |dir: &Path| {
            let world = World::real(dir);
            let work = folders(&world).create(&name("Work"), None).unwrap();
            world.store.open(&account(), &name("Work")).unwrap().deliver(&small(1).copy()).unwrap();
            world.store.close();
            assert_eq!(folders(&world).inspect().unwrap(), [], "{what}");
            drop(world);
            make(dir);
            (World::real(dir), work)
        };
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let found = folders(&begin(dirs[0].path()).0).inspect().unwrap();
        assert!(found.iter().any(|finding| finding.what.contains(told)), "{what}: {found:?}");
        let (world, work) = begin(dirs[1].path());
        let now = folders(&world).rebuild().unwrap();
        assert!(now.iter().any(|sentence| sentence.contains(done)), "{what}: {now:?}");
        assert_eq!(folders(&world).inspect().unwrap(), [], "{what}");
        assert_eq!(folders(&world).rebuild().unwrap(), Vec::<String>::new(), "{what}");
        let there = world.store.open(&account(), &name("Work")).unwrap().view().unwrap().count().unwrap();
        assert_eq!(there, u32::from(*what != "no file"), "{what}");
        assert!(["lost", "holed"].contains(what) || folders(&world).id(&name("Work")).unwrap() == work, "{what}");
    }
}

#[test]
fn a_stop_while_it_is_mended_loses_and_doubles_nothing() {
    stop_everywhere(6);
}

#[test]
#[ignore = "takes minutes; a part of it runs always"]
fn stops_while_it_is_mended_at_length() {
    stop_everywhere(40);
}

/// Wherever the rebuilding stops, every message is there once, and the next one ends it.
fn stop_everywhere(seeds: u64) {
    let ruin: &[Ruin] = &[
        ("front", |bytes| drop(bytes.splice(0..0, *b"Dear diary\n\n"))),
        ("headless", |bytes| {
            let end = find(bytes, "\n") + 1;
            drop(bytes.drain(..end));
        }),
        ("seal", |bytes| {
            let at = find(bytes, "body 3");
            bytes[at] = b'B';
        }),
        ("nul", |bytes| {
            let at = find(bytes, "body 2");
            bytes[at + 4] = 0;
        }),
        ("nuls", |bytes| {
            let third = messages(bytes)[2];
            let end = third + find(&bytes[third..], "Subject");
            drop(bytes.splice(third..end, [0; 400]));
        }),
    ];
    for (what, ruin) in ruin {
        let begin = || {
            let disk = SimDisk::default();
            let world = World::sim(&disk);
            let inbox = world.inbox("alice");
            (1..=3).for_each(|n| assert_eq!(u64::from(inbox.deliver(&small(n).copy()).unwrap().0), n));
            world.store.close();
            let mut bytes = world.file("alice");
            ruin(&mut bytes);
            strangers::overwrite(&disk, &bytes);
            disk.open(Path::new("/w/mail/alice"), Open::Write).unwrap().sync().unwrap();
            disk.after_kill()
        };
        let disk = begin();
        let (world, before) = (World::sim(&disk), disk.operations());
        let whole = rebuild(&world);
        assert_eq!(whole.left, [], "{what}");
        let total = disk.operations() - before;
        let extra = usize::from(*what == "front");
        for stop in 1..=total {
            let disk = begin();
            let world = World::sim(&disk);
            let inbox = world.inbox("alice");
            disk.stop_at(disk.operations() + stop);
            let _ = world.store.rebuild(&inbox);
            for seed in 0..seeds {
                let case = format!("{what}: stop at {stop}, seed {seed}");
                let image = if seed == 0 { disk.after_kill() } else { disk.after_power_cut(seed + 1_000 * stop) };
                let again = World::sim(&image);
                let rebuilt = again.store.rebuild(&again.inbox("alice")).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(rebuilt.left, [], "{case}: {:?}", rebuilt.done);
                let now = numbers(&again);
                let mut all: Vec<u64> = now.iter().map(|(_, n)| *n).filter(|n| *n > 0).collect();
                all.sort_unstable();
                assert_eq!((all, now.len()), (vec![1, 2, 3], 3 + extra), "{case}: {now:?} {:?}", rebuilt.done);
                let scan = scanning::scan_in_pieces(&again.file("alice"), 1 << 20);
                assert_eq!(scan.messages.iter().filter(|m| m.kind == Kind::Alive).count(), now.len(), "{case}");
            }
        }
    }
}
