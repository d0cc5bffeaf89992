//! Two daemons with one spool and one mail directory, as two hosts on a shared file system have it, and a program that
//! rewrites the mailbox, on real files.

use super::model::Random;
use super::*;
use crate::mailbox::state::Fact;
use crate::mailbox::{Change, Flags, Marks};
use crate::sys::{Lock, RealDisk};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;

/// Messages from each daemon.
const EACH: u64 = 60;

fn inbox(store: &Store) -> Arc<Mailbox> {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    store.inbox(&Account { name: "alice".into(), uid, gid, home: None }).unwrap()
}

/// What was shown by anybody, by UIDVALIDITY and UID.
type Shown = Mutex<BTreeMap<(u32, u32), u64>>;

fn look(store: &Store, shown: &Shown) -> Vec<u64> {
    let view = inbox(store).view().unwrap();
    let mut there = Vec::new();
    for message in view.messages().unwrap() {
        let mut wire = Vec::new();
        match view.read(message.uid).map(|mut stream| stream.read_to_end(&mut wire)) {
            Ok(Ok(_)) => {}
            // It went away meanwhile.
            _ => continue,
        }
        let n = number(&wire);
        let before = *shown.lock().unwrap().entry((view.uid_validity(), message.uid.0)).or_insert(n);
        assert_eq!(before, n, "UID {} of {}", message.uid.0, view.uid_validity());
        there.push(n);
    }
    there
}

/// Flags every message that is not, as mutt does: the whole file anew, under its lock.
fn rewrite(path: &Path) {
    let Ok(file) = RealDisk.open(path, Open::Write) else { return };
    while !file.try_lock(Lock::Exclusive).unwrap() {
        thread::yield_now();
    }
    let text = std::fs::read_to_string(path).unwrap();
    let state = |line: &&str| !line.starts_with("Status:") && !line.starts_with("X-Status:");
    let now: String = text.split_inclusive('\n').filter(state).collect();
    let now = now.replace("\nX-Pillarbox:", "\nStatus: RO\nX-Pillarbox:");
    file.set_len(now.len() as u64).unwrap();
    file.write_at(&[io::IoSlice::new(now.as_bytes())], 0).unwrap();
    file.unlock().unwrap();
}

#[test]
fn two_daemons_of_one_spool_and_a_rewriter_agree() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (others::real(dir.path()), others::real(dir.path()));
    let (path, shown) = (dir.path().join("mail/alice"), Shown::default());
    thread::scope(|scope| {
        for (store, from) in [(&one, 0), (&two, EACH)] {
            let shown = &shown;
            scope.spawn(move || {
                for n in from..from + EACH {
                    inbox(store).deliver(&small(n + 1).copy()).unwrap();
                    if n % 7 == 0 {
                        look(store, shown);
                        let marks = Marks { flags: Flags::FLAGGED, keywords: 0 };
                        let view = inbox(store).view().unwrap();
                        let uids: Vec<Uid> = view.messages().unwrap().iter().map(|message| message.uid).collect();
                        inbox(store).mark(&uids, Change::Add, marks, None).unwrap();
                        store.checkpoint();
                    }
                }
            });
        }
        scope.spawn(|| (0..20).for_each(|_| rewrite(&path)));
    });
    let all: Vec<u64> = (1..=2 * EACH).collect();
    for store in [&one, &two] {
        store.checkpoint();
        let mut there = look(store, &shown);
        there.sort_unstable();
        assert_eq!(there, all);
    }
    // Removed by one of them, gone for both.
    let view = inbox(&one).view().unwrap();
    let doomed: Vec<Uid> = view.messages().unwrap().iter().map(|message| message.uid).take(10).collect();
    inbox(&one).expunge(&doomed).unwrap();
    for store in [&one, &two] {
        assert_eq!(look(store, &shown).len() as u64, 2 * EACH - 10);
    }
}

/// What one of the daemons shows: UID and flags by number.
fn shown_by(world: &World) -> BTreeMap<u64, (u32, Flags)> {
    let view = world.inbox("alice").view().unwrap();
    let messages = view.messages().unwrap();
    let shown: Vec<_> = messages.iter().map(|m| (number(&read(&view, m)), (m.uid.0, m.marks.flags & Flags::ALL))).collect();
    assert_eq!(shown.iter().map(|(n, _)| *n).collect::<HashSet<_>>().len(), shown.len(), "doubled in {shown:?}");
    shown.into_iter().collect()
}

/// In turn, and compared with a list after each act: two daemons of one spool, and a program that rewrites the mailbox as mutt
/// does, or replaces it.
#[test]
fn acts_of_two_daemons_and_a_rewriter_in_turn_agree_with_a_list() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let disk = SimDisk::default();
        let worlds = [(); 2].map(|()| World::sim(&disk));
        let mut list: Vec<u64> = Vec::new();
        let (mut uids, mut acts): (BTreeMap<u64, u32>, Vec<String>) = Default::default();
        for n in 1..=40 {
            let who = random.below(2);
            let (world, inbox) = (&worlds[who], worlds[who].inbox("alice"));
            let some = random.some(&list, 4);
            let some_uids: Vec<Uid> = some.iter().filter_map(|n| uids.get(n).copied().map(Uid)).collect();
            match random.below(8) {
                0..=2 => {
                    inbox.deliver(&small(n).copy()).unwrap();
                    list.push(n);
                    acts.push(format!("{who} delivers {n}"));
                }
                3 => {
                    let marks = Marks { flags: Flags::FLAGGED, keywords: 0 };
                    inbox.mark(&some_uids, Change::Add, marks, None).unwrap();
                    acts.push(format!("{who} flags {some:?}"));
                }
                4 => {
                    inbox.expunge(&some_uids).unwrap();
                    list.retain(|n| !some.contains(n));
                    acts.push(format!("{who} expunges {some:?}"));
                }
                5 | 6 => {
                    let replace = random.one_in(3);
                    if replace {
                        // Else the copies that are not safe yet would come back.
                        worlds.iter().for_each(|world| world.store.checkpoint());
                    }
                    let now = strangers::rewritten(&strangers::split(&world.file("alice")), &some, &mut random);
                    let put = if replace { strangers::replace } else { strangers::overwrite };
                    put(&disk, &now);
                    list.retain(|n| !some.contains(n));
                    acts.push(format!("rewritten without {some:?}"));
                }
                _ => {
                    world.store.checkpoint();
                    acts.push(format!("{who} checkpoints"));
                }
            }
            let seen = [shown_by(&worlds[0]), shown_by(&worlds[1])];
            let case = || format!("seed {seed}:\n{}", acts.join("\n"));
            assert_eq!(seen[0], seen[1], "{}", case());
            assert_eq!(seen[0].keys().copied().collect::<Vec<_>>(), list, "{}", case());
            for (n, (uid, _)) in &seen[0] {
                assert_eq!(*uids.entry(*n).or_insert(*uid), *uid, "message {n}, {}", case());
            }
        }
    }
}

#[test]
fn messages_are_moved_away_by_one_of_two_daemons_at_a_time() {
    let disk = SimDisk::default();
    let [one, two] = [(); 2].map(|()| World::sim(&disk));
    let [first, second] = [one.inbox("alice"), two.inbox("alice")];
    let alone = first.moving().unwrap();
    assert!(matches!(second.moving(), Err(MailboxError::Busy)));
    drop(alone);
    drop(second.moving().unwrap());
    drop(first.moving().unwrap());
}

/// A message comes with marks that mutt does not know, and mutt writes the mailbox anew before anybody looked at it.
#[test]
fn marks_that_came_with_a_message_outlive_a_rewrite_that_nobody_looked_before() {
    let disk = SimDisk::default();
    let worlds = [(); 2].map(|()| World::sim(&disk));
    let mail = small(1);
    let flags = Flags::DRAFT | Flags::DELETED | Flags::SEEN;
    let filing = Filing { flags: flags.bits(), ..Filing::default() };
    worlds[0].inbox("alice").deliver(&Copy { arrival: Arrival::Filed(&filing), ..mail.copy() }).unwrap();
    lose_letters(&disk, &worlds[0], "RO");
    for world in [&worlds[1], &worlds[0]] {
        assert_eq!(shown_by(world)[&1].1, flags);
    }
}

/// All marks of a message, by name.
fn marks_of(view: &View, uid: Uid) -> BTreeSet<String> {
    let (marks, keywords) = (view.message(uid).unwrap().unwrap().marks, view.keywords());
    let flags = (marks.flags & Flags::ALL).names().map(str::to_owned);
    flags.chain(keywords.of(marks.keywords).map(str::to_owned)).collect()
}

/// Both mark the same message at once, each with keywords of its own, which are new to the folder. It came from another program,
/// so that its marks are in the state log alone.
#[test]
fn neither_of_two_daemons_takes_back_what_the_other_marks() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [others::real(dir.path()), others::real(dir.path())];
    std::fs::write(dir.path().join("mail/alice"), "From a@b Sat Nov  1 12:26:40 2025\nSubject: x\n\nbody\n\n").unwrap();
    let uid = inbox(&stores[0]).view().unwrap().messages().unwrap()[0].uid;
    let wanted: BTreeSet<String> = thread::scope(|scope| {
        let both = [0, 1].map(|who| {
            let store = &stores[who];
            scope.spawn(move || {
                let (mailbox, mut random) = (inbox(store), Random::new(who as u64 + 1));
                let view = mailbox.view().unwrap();
                let own = ["one", "two"][who];
                let mut has = BTreeSet::new();
                for _ in 0..500 {
                    let name = format!("{own}{}", random.below(8));
                    let add = random.one_in(2);
                    let marks = Marks { flags: Flags::NONE, keywords: mailbox.keyword(&name).unwrap().unwrap() };
                    mailbox.mark(&[uid], if add { Change::Add } else { Change::Remove }, marks, None).unwrap();
                    let _ = if add { has.insert(name) } else { has.remove(&name) };
                    view.sync(true).unwrap();
                    let mut shown = marks_of(&view, uid);
                    shown.retain(|name| name.starts_with(own));
                    assert_eq!(shown, has);
                }
                has
            })
        });
        both.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    let again = others::real(dir.path());
    for store in stores.iter().chain([&again]) {
        assert_eq!(marks_of(&inbox(store).view().unwrap(), uid), wanted);
    }
}

/// Two daemons that know of each other, and of one message.
fn acquainted(disk: &SimDisk) -> [World; 2] {
    let worlds = [(); 2].map(|()| World::sim(disk));
    worlds[0].inbox("alice").deliver(&small(1).copy()).unwrap();
    for world in [&worlds[0], &worlds[1], &worlds[0]] {
        shown_by(world);
        set(world, Flags::FLAGGED);
        set(world, Flags::NONE);
    }
    worlds
}

fn set(world: &World, flags: Flags) {
    let inbox = world.inbox("alice");
    let uids: Vec<Uid> = inbox.view().unwrap().messages().unwrap().iter().map(|message| message.uid).collect();
    inbox.mark(&uids, Change::Replace, Marks { flags, keywords: 0 }, None).unwrap();
}

/// Both show these, the second one first.
fn both_show(worlds: &[World; 2], flags: Flags) {
    for world in [&worlds[1], &worlds[0], &worlds[1]] {
        assert_eq!(shown_by(world)[&1].1, flags);
    }
}

/// As mutt writes it, who loses `T` and `D`.
fn lose_letters(disk: &SimDisk, world: &World, status: &str) {
    let text = String::from_utf8(world.file("alice")).unwrap();
    let state = |line: &&str| !line.starts_with("Status:") && !line.starts_with("X-Status:");
    let now: String = text.split_inclusive('\n').filter(state).collect();
    strangers::overwrite(disk, now.replace("\nX-Pillarbox:", &format!("\nStatus: {status}\nX-Pillarbox:")).as_bytes());
}

#[test]
fn a_mark_taken_back_while_the_file_is_locked_does_not_return_from_the_file() {
    let disk = SimDisk::default();
    let worlds = acquainted(&disk);
    let uid = Uid(shown_by(&worlds[1])[&1].0);
    set(&worlds[0], Flags::SEEN);
    let third = disk.open(Path::new("/w/mail/alice"), Open::Write).unwrap();
    assert!(third.try_lock(Lock::Exclusive).unwrap());
    worlds[1].inbox("alice").mark(&[uid], Change::Replace, Marks::default(), None).unwrap();
    third.unlock().unwrap();
    both_show(&worlds, Flags::NONE);
}

#[test]
fn what_the_other_daemon_marked_is_heard_by_who_reads_his_whole_log_anew() {
    let disk = SimDisk::default();
    let worlds = acquainted(&disk);
    worlds[1].store.checkpoint();
    set(&worlds[0], Flags::DRAFT);
    let inbox = worlds[1].inbox("alice");
    let mut inner = inbox.inner();
    let log = inner.log.as_mut().unwrap();
    assert!(log.sum.partial);
    log.complete().unwrap();
    drop(inner);
    lose_letters(&disk, &worlds[0], "O");
    both_show(&worlds, Flags::DRAFT);
}

/// Two daemons that know that they are two.
fn side_by_side(disk: &SimDisk) -> [World; 2] {
    let worlds = [(); 2].map(|()| World::sim(disk));
    worlds.iter().for_each(|world| world.ledger.peers.store(true, Ordering::Relaxed));
    worlds
}

/// The first one has the mailbox open before there is a second, and that one finds all it wants in the index.
#[test]
fn what_is_in_the_file_is_told_to_who_came_since() {
    for locked in [true, false] {
        let disk = SimDisk::default();
        let first = World::sim(&disk);
        first.inbox("alice").deliver(&small(1).copy()).unwrap();
        let uid = Uid(shown_by(&first)[&1].0);
        first.store.checkpoint();
        let second = World::sim(&disk);
        second.ledger.peers.store(true, Ordering::Relaxed);
        let worlds = [first, second];
        shown_by(&worlds[1]);
        set(&worlds[0], Flags::SEEN);
        if locked {
            let third = disk.open(Path::new("/w/mail/alice"), Open::Write).unwrap();
            assert!(third.try_lock(Lock::Exclusive).unwrap());
            worlds[1].inbox("alice").mark(&[uid], Change::Replace, Marks::default(), None).unwrap();
            third.unlock().unwrap();
        } else {
            lose_letters(&disk, &worlds[0], "O");
        }
        both_show(&worlds, Flags::NONE);
    }
}

/// Of messages without room for them, UID and marks are in the log; one that hears of them before it sees the messages does not
/// leave them to the index.
#[test]
fn what_the_other_told_of_new_messages_is_known_when_they_are_seen() {
    let disk = SimDisk::default();
    let worlds = side_by_side(&disk);
    let lines = "a line of a message, and more\n".repeat(200);
    worlds[0].inbox("alice").deliver(&Mail::new(1, format!("Subject: message 1\n\n{lines}").as_bytes()).copy()).unwrap();
    for world in [&worlds[1], &worlds[0]] {
        shown_by(world);
        world.store.checkpoint();
    }
    set(&worlds[0], Flags::SEEN);
    strangers::append(&disk, "Subject: message 2\n\nby a stranger\n");
    strangers::append(&disk, "Subject: message 3\n\nby a stranger\n");
    shown_by(&worlds[1]);
    set(&worlds[1], Flags::FLAGGED);
    worlds[0].store.checkpoint();
    both_show(&worlds, Flags::FLAGGED);
    assert_eq!(shown_by(&worlds[0]), shown_by(&worlds[1]));
}

#[test]
fn a_mark_that_the_other_had_no_time_to_write_is_written() {
    let disk = SimDisk::default();
    let worlds = side_by_side(&disk);
    worlds[0].inbox("alice").deliver(&small(1).copy()).unwrap();
    worlds.iter().for_each(|world| drop(shown_by(world)));
    let uid = Uid(shown_by(&worlds[0])[&1].0);
    let third = disk.open(Path::new("/w/mail/alice"), Open::Write).unwrap();
    assert!(third.try_lock(Lock::Exclusive).unwrap());
    let flagged = Marks { flags: Flags::FLAGGED, keywords: 0 };
    worlds[0].inbox("alice").mark(&[uid], Change::Add, flagged, None).unwrap();
    third.unlock().unwrap();
    shown_by(&worlds[1]);
    worlds[1].store.checkpoint();
    let text = String::from_utf8(worlds[1].file("alice")).unwrap();
    assert!(text.contains("X-Status:  F  \n"), "{text}");
}

#[test]
fn what_the_other_showed_is_old_in_the_file() {
    let disk = SimDisk::default();
    let worlds = side_by_side(&disk);
    worlds[0].inbox("alice").deliver(&small(1).copy()).unwrap();
    worlds.iter().for_each(|world| drop(shown_by(world)));
    worlds[0].inbox("alice").view().unwrap().claim_recent().unwrap();
    set(&worlds[1], Flags::FLAGGED);
    let text = String::from_utf8(worlds[1].file("alice")).unwrap();
    assert!(text.contains("Status:  O\nX-Status:  F  \n"), "{text}");
}

/// One of them sleeps, while the other one's marks reach the file and the index, and his log is written anew.
#[test]
fn who_slept_long_hears_of_marks_before_mutt_loses_them() {
    let disk = SimDisk::default();
    let worlds = acquainted(&disk);
    shown_by(&worlds[0]);
    set(&worlds[1], Flags::DRAFT);
    for flags in [Flags::DRAFT, Flags::DRAFT | Flags::FLAGGED, Flags::DRAFT] {
        set(&worlds[1], flags);
        worlds[1].store.checkpoint();
        worlds[1].clock.advance(Duration::from_secs(100));
    }
    worlds[1].inbox("alice").deliver(&small(2).copy()).unwrap();
    shown_by(&worlds[1]);
    worlds[1].store.checkpoint();
    worlds[1].inbox("alice").inner().log.as_mut().unwrap().rewrite().unwrap();
    lose_letters(&disk, &worlds[0], "O");
    for world in [&worlds[0], &worlds[1]] {
        assert_eq!(shown_by(world)[&1].1, Flags::DRAFT);
    }
}

#[test]
fn who_hears_a_log_written_anew_looks_at_all_of_the_file() {
    let disk = SimDisk::default();
    let worlds = acquainted(&disk);
    let inbox = worlds[0].inbox("alice");
    let epoch = || inbox.inner().table.as_ref().unwrap().epoch;
    shown_by(&worlds[0]);
    let before = epoch();
    // Messages were moved meanwhile, and nothing in the file tells.
    let other = worlds[1].inbox("alice");
    let mut inner = other.inner();
    let log = inner.log.as_mut().unwrap();
    log.put(Fact::Moved);
    log.rewrite().unwrap();
    drop(inner);
    shown_by(&worlds[0]);
    assert_eq!(epoch(), before + 1);
}

#[test]
fn an_index_that_the_other_writes_is_left_to_it() {
    let disk = SimDisk::default();
    let worlds = side_by_side(&disk);
    worlds.iter().for_each(|world| drop(shown_by(world)));
    worlds[0].inbox("alice").deliver(&small(1).copy()).unwrap();
    let (index, fresh) = (Path::new("/w/spool/index/alice/INBOX.idx"), Path::new("/w/spool/index/alice/INBOX.new"));
    disk.make_dir(index.parent().unwrap(), 0o700).unwrap();
    let half = disk.open(fresh, Open::Create(0o600)).unwrap();
    half.write_at(&[io::IoSlice::new(b"half of it")], 0).unwrap();
    assert!(half.try_lock(Lock::Exclusive).unwrap());
    drop(worlds[0].inbox("alice").view().unwrap());
    worlds[0].store.checkpoint();
    assert!(disk.stat(index).is_err());
    assert_eq!(half.stat().unwrap().size, 10);
    half.unlock().unwrap();
    worlds[0].store.checkpoint();
    assert!(disk.stat(index).is_ok() && disk.stat(fresh).is_err());
}
