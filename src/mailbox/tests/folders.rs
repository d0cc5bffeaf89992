//! Folders: what each act does, to the tree, to sessions, and to what others put there.

use super::*;
use crate::sys::RealDisk;
use std::fs;

pub fn account() -> Account {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    Account { name: "alice".into(), uid, gid, home: None }
}

pub fn name(text: &str) -> FolderName {
    FolderName::parse(text).unwrap()
}

pub fn folders(world: &World) -> Folders {
    world.store.folders(&account()).unwrap()
}

pub fn open(world: &World, text: &str) -> Result<Arc<Mailbox>, MailboxError> {
    world.store.open(&account(), &name(text))
}

/// The tree as a line: `name` for a mailbox, `(name)` for \Noselect, `?name` for nothing; `+` children, `*` subscribed.
pub fn tree(world: &World) -> String {
    let shown = |listed: Listed| {
        let name = match listed.kind {
            Kind::Mailbox(_) => listed.name.to_string(),
            Kind::Noselect => format!("({})", listed.name),
            Kind::Nonexistent => format!("?{}", listed.name),
        };
        let marks = [(listed.has_children, "+"), (listed.subscribed, "*")];
        let marks: String = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
        format!("{name}{marks}")
    };
    folders(world).list().unwrap().into_iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// UIDVALIDITY, and the UIDs and numbers of the messages.
pub fn content(mailbox: &Arc<Mailbox>) -> (u32, Vec<(u32, u64)>) {
    let view = mailbox.view().unwrap();
    let messages = view.messages().unwrap();
    (view.uid_validity(), messages.iter().map(|m| (m.uid.0, number(&read(&view, m)))).collect())
}

#[test]
fn folders_are_made_with_names_above_them() {
    let world = World::sim(&SimDisk::default());
    assert_eq!(tree(&world), "INBOX");
    let id = folders(&world).create(&name("Work/2025/Q1"), None).unwrap();
    folders(&world).create(&name("inbox/Lists"), None).unwrap();
    assert_eq!(tree(&world), "INBOX+ INBOX/Lists (Work)+ (Work/2025)+ Work/2025/Q1");
    assert_eq!(folders(&world).id(&name("Work/2025/Q1")).unwrap(), id);
    assert!(matches!(folders(&world).create(&name("Work/2025/Q1"), None), Err(FolderError::Exists)));
    assert!(matches!(folders(&world).create(&name("INBOX"), None), Err(FolderError::Exists)));
    assert!(matches!(open(&world, "Work"), Err(MailboxError::Nonexistent)));
    folders(&world).create(&name("Work"), None).unwrap();
    assert_eq!(tree(&world), "INBOX+ INBOX/Lists Work+ (Work/2025)+ Work/2025/Q1");
    let inbox = folders(&world).id(&name("INBOX")).unwrap();
    drop(world.store.clone());
    let again = World { store: World::at(world.disk.clone(), Path::new("/w"), Arc::default()).store, ..world };
    assert_eq!((folders(&again).id(&name("inbox")).unwrap(), folders(&again).id(&name("Work/2025/Q1")).unwrap()), (inbox, id));
}

#[test]
fn a_folder_holds_mail_of_its_own() {
    let world = World::sim(&SimDisk::default());
    for (n, text) in [(1, "Work"), (2, "Work/sub"), (3, "Other")] {
        folders(&world).create(&name(text), None).unwrap();
        open(&world, text).unwrap().deliver(&small(n).copy()).unwrap();
    }
    world.inbox("alice").deliver(&small(4).copy()).unwrap();
    let seen: Vec<_> = ["Work", "Work/sub", "Other", "INBOX"].map(|text| content(&open(&world, text).unwrap())).into();
    assert_eq!(seen.iter().map(|(_, mail)| mail.clone()).collect::<Vec<_>>(), [[(1, 1)], [(1, 2)], [(1, 3)], [(1, 4)]]);
    let validities: HashSet<u32> = seen.iter().map(|(validity, _)| *validity).collect();
    assert_eq!(validities.len(), 4);
    world.store.checkpoint();
    assert!((1..=4).all(|n| world.settled(n)));
    assert!(Arc::ptr_eq(&open(&world, "inbox").unwrap(), &world.inbox("alice")));
    assert!(Arc::ptr_eq(&open(&world, "Work").unwrap(), &open(&world, "Work").unwrap()));
}

#[test]
fn a_deleted_folder_is_gone_for_its_sessions_and_leaves_its_name_no_mail() {
    let world = World::sim(&SimDisk::default());
    folders(&world).create(&name("Work"), None).unwrap();
    folders(&world).create(&name("Work/sub"), None).unwrap();
    let work = open(&world, "Work").unwrap();
    work.deliver(&small(1).copy()).unwrap();
    let view = work.view().unwrap();
    let first = view.messages().unwrap()[0].clone();
    let (validity, _) = content(&work);
    folders(&world).delete(&name("Work")).unwrap();
    assert_eq!(tree(&world), "INBOX (Work)+ Work/sub");
    assert!(matches!(folders(&world).delete(&name("Work")), Err(FolderError::HasChildren)));
    assert!(matches!(folders(&world).delete(&name("Nothing")), Err(FolderError::Nonexistent)));
    assert!(matches!(folders(&world).delete(&name("inbox")), Err(FolderError::Inbox)));
    let gone = |work: &Arc<Mailbox>| {
        assert!(matches!(work.view(), Err(MailboxError::Gone)));
        assert!(matches!(work.deliver(&small(2).copy()), Err(MailboxError::Gone)));
        assert!(matches!(work.expunge(&[Uid(1)]), Err(MailboxError::Gone)));
        let mut bytes = Vec::new();
        assert!(view.read(first.uid).map_err(drop).and_then(|mut text| text.read_to_end(&mut bytes).map_err(drop)).is_err());
        assert!(view.messages().is_err());
        assert!(bytes.is_empty());
    };
    gone(&work);
    folders(&world).create(&name("Work"), None).unwrap();
    let other = open(&world, "Work").unwrap();
    other.deliver(&small(3).copy()).unwrap();
    gone(&work);
    let (again, mail) = content(&other);
    assert_eq!(mail, [(1, 3)]);
    assert!(again > validity);
    // What was delivered there counts as delivered.
    world.store.checkpoint();
    assert!(world.settled(1) && world.settled(3) && !world.settled(2));
    gone(&work);
    folders(&world).delete(&name("Work/sub")).unwrap();
    folders(&world).delete(&name("Work")).unwrap();
    assert_eq!(tree(&world), "INBOX");
    // No state is left of any.
    let mut left = world.disk.list(Path::new("/w/spool/state/alice")).unwrap();
    left.sort();
    assert_eq!(left, ["tree.lock", "user", "user.lock"]);
    assert!(world.disk.list(Path::new("/w/spool/index/alice")).unwrap_or_default().is_empty());
    assert_eq!(world.disk.list(Path::new("/w/spool/folders/alice")).unwrap().len(), 1, "our lock's file");
}

#[test]
fn a_renamed_folder_takes_its_children_and_its_sessions_along() {
    let world = World::sim(&SimDisk::default());
    for (n, text) in [(1, "Work"), (2, "Work/sub"), (3, "Work/sub/deep"), (4, "Workshop")] {
        folders(&world).create(&name(text), None).unwrap();
        open(&world, text).unwrap().deliver(&small(n).copy()).unwrap();
    }
    let (work, id) = (open(&world, "Work").unwrap(), folders(&world).id(&name("Work/sub")).unwrap());
    let view = work.view().unwrap();
    let (before, sub) = (content(&work), content(&open(&world, "Work/sub").unwrap()));
    folders(&world).rename(&name("Work"), &name("Old/Work 2025")).unwrap();
    assert_eq!(tree(&world), "INBOX (Old)+ Old/Work 2025+ Old/Work 2025/sub+ Old/Work 2025/sub/deep Workshop");
    assert_eq!(content(&work), before);
    assert_eq!(read(&view, &view.messages().unwrap()[0]).len() as u64, view.messages().unwrap()[0].size);
    work.deliver(&small(5).copy()).unwrap();
    world.store.checkpoint();
    assert!((1..=5).all(|n| world.settled(n)));
    assert_eq!(content(&open(&world, "Old/Work 2025").unwrap()), (before.0, vec![(1, 1), (2, 5)]));
    assert_eq!(content(&open(&world, "Old/Work 2025/sub").unwrap()), sub);
    assert_eq!(folders(&world).id(&name("Old/Work 2025/sub")).unwrap(), id);
    // The old name is free, and what is made there is something else.
    assert!(matches!(open(&world, "Work"), Err(MailboxError::Nonexistent)));
    folders(&world).create(&name("Work"), None).unwrap();
    let (validity, mail) = content(&open(&world, "Work").unwrap());
    assert!(validity > before.0 && mail.is_empty());
    assert_eq!(content(&work).1.len(), 2);
    for (from, to, want) in [
        ("Nothing", "x", FolderError::Nonexistent),
        ("Work", "Workshop", FolderError::Exists),
        ("Work", "Old", FolderError::Exists),
        ("Work", "Work", FolderError::Exists),
        ("Work", "INBOX", FolderError::Exists),
        ("Work", "Work/below", FolderError::IntoItself),
        ("inbox", "x", FolderError::Inbox),
    ] {
        let got = folders(&world).rename(&name(from), &name(to)).unwrap_err();
        assert_eq!(got.to_string(), want.to_string(), "{from} to {to}");
    }
    let long = name(&"x".repeat(245));
    assert!(matches!(folders(&world).rename(&name("Old"), &long), Err(FolderError::Name(NameError::TooLong))));
    // What has no mail of its own can be renamed too.
    folders(&world).rename(&name("Old"), &name("INBOX/Older")).unwrap();
    assert_eq!(
        tree(&world),
        "INBOX+ (INBOX/Older)+ INBOX/Older/Work 2025+ INBOX/Older/Work 2025/sub+ INBOX/Older/Work 2025/sub/deep Work Workshop"
    );
    assert_eq!(content(&work).1.len(), 2);
    assert!(world.disk.list(Path::new("/w/spool/folders/alice/Old")).is_err(), "empty directories go");
}

#[test]
fn subscriptions_may_name_anything() {
    let world = World::sim(&SimDisk::default());
    folders(&world).create(&name("Work"), None).unwrap();
    for text in ["Nowhere/deep", "Work", "inbox", "Work"] {
        folders(&world).subscribe(&name(text)).unwrap();
    }
    assert_eq!(tree(&world), "INBOX* ?Nowhere/deep* Work*");
    folders(&world).unsubscribe(&name("Nowhere/deep")).unwrap();
    folders(&world).unsubscribe(&name("Never")).unwrap();
    folders(&world).delete(&name("Work")).unwrap();
    assert_eq!(tree(&world), "INBOX* ?Work*");
}

#[test]
fn special_folders_are_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let place = dir.path().join("spool/folders/alice");
    fs::create_dir_all(place.join("Archive")).unwrap();
    fs::write(place.join("Archive/2024.mbox"), b"").unwrap();
    fs::write(place.join("Sent.mbox"), b"From x@y Sat Nov  1 12:26:40 2025\nSubject: message 7\n\nhello\n\n").unwrap();
    folders(&world).create(&name("Rubbish"), Some(SpecialUse::Junk)).unwrap();
    assert!(matches!(folders(&world).create(&name("More"), Some(SpecialUse::Junk)), Err(FolderError::UseTaken)));
    let log_in = |world: &World| drop(world.store.log_in(&account()).unwrap());
    log_in(&world);
    log_in(&world);
    assert_eq!(tree(&world), "Archive+* Archive/2024 Drafts* INBOX* Rubbish* Sent* Trash*");
    let uses: Vec<_> =
        folders(&world).list().unwrap().into_iter().filter_map(|l| Some((l.name.to_string(), l.special?))).collect();
    let want = [
        ("Archive", SpecialUse::Archive),
        ("Drafts", SpecialUse::Drafts),
        ("Rubbish", SpecialUse::Junk),
        ("Sent", SpecialUse::Sent),
        ("Trash", SpecialUse::Trash),
    ];
    assert_eq!(uses, want.map(|(name, special)| (name.to_owned(), special)));
    assert_eq!(content(&open(&world, "Sent").unwrap()).1, [(1, 7)]);
    folders(&world).delete(&name("Drafts")).unwrap();
    folders(&world).rename(&name("Trash"), &name("Bin")).unwrap();
    // What the user did away with does not come back, in this life of the daemon or the next.
    log_in(&world);
    let left = "Archive+* Archive/2024 Bin ?Drafts* INBOX* Rubbish* Sent* ?Trash*";
    assert_eq!(tree(&world), left);
    let world = World::real(dir.path());
    log_in(&world);
    assert_eq!(tree(&world), left);
    // The directories are for the user and the group of the mail system, the files for the user.
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    folders(&world).create(&name("a/b"), None).unwrap();
    assert_eq!((mode(&place.join("a")), mode(&place.join("a/b.mbox"))), (0o2770, 0o600));
}

#[test]
fn a_session_begins_without_special_folders_where_they_can_not_be_made() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    disk.make_dir(Path::new("/w/spool/state/alice"), 0o700).unwrap();
    disk.set_capacity(Some(0));
    assert!(world.store.log_in(&account()).is_ok());
    disk.set_capacity(None);
    assert_eq!(tree(&world), "INBOX");
    world.store.log_in(&account()).unwrap();
    assert_eq!(tree(&world), "Archive* Drafts* INBOX* Junk* Sent* Trash*");
}

#[test]
fn what_other_programs_put_there_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let place = dir.path().join("spool/folders/alice");
    fs::create_dir_all(place.join("from mutt")).unwrap();
    let message = |n: u64| format!("From x@y Sat Nov  1 12:26:40 2025\nSubject: message {n}\n\nhello\n\n");
    let numbered =
        format!("From MAILER-DAEMON Sat Nov  1 12:26:40 2025\nX-IMAPbase: 1700000000 9\nX-UID: 9\n{}", &message(2)[34..]);
    fs::write(place.join("from mutt/a.mbox"), message(1)).unwrap();
    fs::write(place.join("uw.mbox"), &numbered).unwrap();
    for nothing in [".hidden.mbox", "a.mbox.lock", "b.mbox.tmp", "notes.txt", "%41.mbox", "INBOX.mbox", "inbox.mbox", ".mbox"] {
        fs::write(place.join(nothing), message(3)).unwrap();
    }
    fs::create_dir(place.join("dir.mbox")).unwrap();
    fs::create_dir(place.join("empty")).unwrap();
    assert_eq!(tree(&world), "INBOX (from mutt)+ from mutt/a uw");
    assert_eq!(content(&open(&world, "from mutt/a").unwrap()).1, [(1, 1)]);
    assert_eq!(content(&open(&world, "uw").unwrap()), (1_700_000_000, vec![(9, 2)]));
    // Not listed yet, and found.
    fs::write(place.join("late.mbox"), message(4)).unwrap();
    assert_eq!(content(&open(&world, "late").unwrap()).1, [(1, 4)]);
    fs::write(place.join("later.mbox"), message(5)).unwrap();
    assert!(matches!(folders(&world).create(&name("later"), None), Err(FolderError::Exists)));
    // A name that had other content does not get its numbers again.
    folders(&world).delete(&name("uw")).unwrap();
    fs::write(place.join("uw.mbox"), numbered.replace("message 2", "message 8")).unwrap();
    let (validity, mail) = content(&open(&world, "uw").unwrap());
    assert!(validity > 1_700_000_000 && mail.len() == 1, "{validity} {mail:?}");
    // A file that another program takes away leaves an empty folder under the same numbers, and may come back.
    let before = content(&open(&world, "from mutt/a").unwrap());
    fs::rename(place.join("from mutt/a.mbox"), place.join("kept")).unwrap();
    assert_eq!(content(&open(&world, "from mutt/a").unwrap()), (before.0, vec![]));
    open(&world, "from mutt/a").unwrap().deliver(&small(6).copy()).unwrap();
    assert_eq!(content(&open(&world, "from mutt/a").unwrap()), (before.0, vec![(2, 6)]));
}

#[test]
fn a_program_that_writes_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    folders(&world).create(&name("a/b"), None).unwrap();
    let lock = dir.path().join("spool/folders/alice/a/b.mbox.lock");
    fs::write(&lock, std::process::id().to_string()).unwrap();
    assert!(matches!(folders(&world).rename(&name("a"), &name("c")), Err(FolderError::Mailbox(MailboxError::Busy))));
    assert!(matches!(folders(&world).delete(&name("a/b")), Err(FolderError::Mailbox(MailboxError::Busy))));
    assert_eq!(tree(&world), "INBOX (a)+ a/b");
    fs::remove_file(&lock).unwrap();
    folders(&world).rename(&name("a"), &name("c")).unwrap();
    folders(&world).delete(&name("c/b")).unwrap();
    assert_eq!(tree(&world), "INBOX");
}

#[test]
fn another_daemon_on_the_same_spool_sees_the_same_tree() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (World::real(dir.path()), World::real(dir.path()));
    folders(&one).create(&name("a"), None).unwrap();
    let there = open(&two, "a").unwrap();
    open(&one, "a").unwrap().deliver(&small(1).copy()).unwrap();
    assert_eq!(content(&there).1, [(1, 1)]);
    folders(&one).rename(&name("a"), &name("b")).unwrap();
    assert_eq!(content(&there).1, [(1, 1)]);
    there.deliver(&small(2).copy()).unwrap();
    assert_eq!(tree(&two), "INBOX b");
    assert_eq!(content(&open(&one, "b").unwrap()).1.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1, 2]);
    folders(&one).delete(&name("b")).unwrap();
    folders(&one).create(&name("b"), None).unwrap();
    open(&one, "b").unwrap().deliver(&small(3).copy()).unwrap();
    assert!(matches!(there.view(), Err(MailboxError::Gone)));
    assert!(matches!(there.deliver(&small(4).copy()), Err(MailboxError::Gone)));
    two.store.checkpoint();
    assert!(two.settled(2));
    assert_eq!(content(&open(&two, "b").unwrap()).1, [(1, 3)]);
}

/// Until nobody else is in the way: the test's clock knows no waiting.
fn again(act: impl Fn() -> Result<(), FolderError>) {
    loop {
        match act() {
            Err(FolderError::Mailbox(MailboxError::Busy)) => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
}

#[test]
fn many_at_once_do_not_get_into_each_others_way() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (World::real(dir.path()), World::real(dir.path()));
    folders(&one).create(&name("x0"), None).unwrap();
    let mailbox = open(&one, "x0").unwrap();
    std::thread::scope(|scope| {
        // One folder goes from name to name, while mail comes into it and others make and remove their own.
        scope.spawn(|| {
            (0..30).for_each(|n| again(|| folders(&one).rename(&name(&format!("x{n}")), &name(&format!("x{}", n + 1)))));
        });
        scope.spawn(|| (0..60).for_each(|n| again(|| Ok(mailbox.deliver(&small(n).copy()).map(drop)?))));
        for world in [&one, &two] {
            scope.spawn(move || {
                for n in 0..20 {
                    let own = name(&format!("{:p}/{n}", world));
                    again(|| folders(world).create(&own, None).map(drop));
                    again(|| folders(world).subscribe(&own));
                    if n % 2 == 0 {
                        again(|| folders(world).delete(&own));
                    }
                    again(|| folders(world).unsubscribe(&own));
                }
            });
        }
    });
    let names = folders(&two).list().unwrap();
    assert_eq!(names.iter().filter(|listed| matches!(listed.kind, Kind::Mailbox(_))).count(), 1 + 1 + 20);
    let mail: HashSet<u64> = content(&open(&two, "x30").unwrap()).1.into_iter().map(|(_, n)| n).collect();
    assert_eq!(mail.len(), 60);
}

#[test]
fn links_and_odd_files_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let (place, outside) = (dir.path().join("spool/folders/alice"), dir.path().join("outside"));
    fs::create_dir_all(&outside).unwrap();
    let theirs = "From x@y Sat Nov  1 12:26:40 2025\nSubject: message 1\n\nhello\n\n";
    fs::write(outside.join("f.mbox"), theirs).unwrap();
    folders(&world).create(&name("known/below"), None).unwrap();
    folders(&world).create(&name("mine"), None).unwrap();
    symlink(&outside, place.join("out")).unwrap();
    symlink(outside.join("f.mbox"), place.join("link.mbox")).unwrap();
    symlink(outside.join("new.mbox"), place.join("dangling.mbox")).unwrap();
    fs::write(place.join("file"), b"no directory").unwrap();
    nix::unistd::mkfifo(&place.join("fifo.mbox"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(tree(&world), "INBOX (known)+ known/below mine");
    for text in ["link", "out/f", "dangling", "fifo"] {
        assert!(matches!(open(&world, text), Err(MailboxError::Nonexistent)), "{text}");
    }
    for text in ["link", "out/f", "out/new", "out/deep/er", "dangling", "file/x", "fifo"] {
        let made = folders(&world).create(&name(text), None);
        assert!(matches!(made, Err(FolderError::Mailbox(MailboxError::Refused(_)))), "{text}: {made:?}");
        let moved = folders(&world).rename(&name("mine"), &name(text));
        assert!(moved.is_err(), "{text}");
    }
    // A folder's file, or a directory above it, becomes a link when the folder is known already.
    let (mine, below) = (open(&world, "mine").unwrap(), open(&world, "known/below").unwrap());
    fs::remove_file(place.join("mine.mbox")).unwrap();
    symlink(outside.join("f.mbox"), place.join("mine.mbox")).unwrap();
    fs::rename(place.join("known"), dir.path().join("aside")).unwrap();
    symlink(&outside, place.join("known")).unwrap();
    for mailbox in [&mine, &below] {
        assert!(mailbox.view().is_err());
        assert!(mailbox.deliver(&small(2).copy()).is_err());
    }
    assert!(folders(&world).delete(&name("mine")).is_err());
    let _ = folders(&world).delete(&name("known/below"));
    let _ = folders(&world).rename(&name("known"), &name("elsewhere"));
    // The whole place is a link.
    fs::rename(&place, dir.path().join("place")).unwrap();
    symlink(&outside, &place).unwrap();
    let _ = folders(&world).create(&name("x"), None);
    let _ = folders(&world).list();
    assert_eq!(fs::read(outside.join("f.mbox")).unwrap(), theirs.as_bytes());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn ten_thousand_folders_and_a_thousand_levels() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let place = dir.path().join("spool/folders/alice");
    fs::create_dir_all(&place).unwrap();
    (0..10_000).for_each(|n| fs::write(place.join(format!("n{n}.mbox")), b"").unwrap());
    // Deeper than any name, and than any path: each level is made from the one above.
    let mut here = nix::fcntl::open(&place, nix::fcntl::OFlag::O_DIRECTORY, nix::sys::stat::Mode::empty()).unwrap();
    for _ in 0..1_000 {
        nix::sys::stat::mkdirat(&here, "d", nix::sys::stat::Mode::S_IRWXU).unwrap();
        let file = nix::fcntl::OFlag::O_CREAT | nix::fcntl::OFlag::O_RDWR;
        nix::fcntl::openat(&here, "m.mbox", file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        here = nix::fcntl::openat(&here, "d", nix::fcntl::OFlag::O_DIRECTORY, nix::sys::stat::Mode::empty()).unwrap();
    }
    let levels = (0..).take_while(|n| FolderName::parse(&format!("{}m", "d/".repeat(*n))).is_ok()).count();
    let listed = folders(&world).list().unwrap();
    let mailboxes = listed.iter().filter(|listed| matches!(listed.kind, Kind::Mailbox(_))).count();
    assert_eq!(mailboxes, 1 + 10_000 + levels);
    assert!(matches!(FolderName::parse(&vec!["d"; 1_000].join("/")), Err(NameError::TooLong)));
    let deepest = name(&format!("{}m", "d/".repeat(levels - 1)));
    world.store.open(&account(), &deepest).unwrap().deliver(&small(1).copy()).unwrap();
    folders(&world).rename(&name("d"), &name("e")).unwrap();
    assert_eq!(content(&world.store.open(&account(), &deepest.moved(&name("d"), &name("e")).unwrap()).unwrap()).1, [(1, 1)]);
    folders(&world).create(&name("one more"), None).unwrap();
    assert!(RealDisk.stat(&place.join("n9999.mbox")).unwrap().is_regular());
}
