use super::*;
use crate::sys::RealDisk;
use std::os::unix::fs::symlink;

#[test]
fn a_delivered_copy_is_mbox_and_is_settled_by_a_checkpoint() {
    let world = World::sim(&SimDisk::default());
    let inbox = world.inbox("alice");
    assert_eq!(inbox.deliver(&small(1).copy()).unwrap(), Uid(1));
    assert_eq!(inbox.deliver(&small(2).copy()).unwrap(), Uid(2));
    assert!(!world.settled(1));
    world.store.checkpoint();
    assert!(world.settled(1) && world.settled(2));
    let text = String::from_utf8(world.file("alice")).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(
        lines[..12],
        [
            "From sender@example.net Sat Nov  1 12:26:35 2025",
            "Return-Path: <sender@example.net>",
            "Delivered-To: alice@example.org",
            "Subject: message 1",
            "X-IMAPbase: 1762000000 0000000002",
            "X-UID: 0000000001",
            "Status:",
            "X-Status:",
            lines[8],
            "X-Keywords:",
            "",
            "body 1",
        ]
    );
    assert!(lines[8].starts_with("X-Pillarbox: 0000000001 1761999995.000000 0123456789abcdef-1 0 "));
    assert_eq!(lines[12..15], [">From quoted", "", "From sender@example.net Sat Nov  1 12:26:35 2025"]);
    assert!(text.ends_with(">From quoted\n\n"));
}

#[test]
fn numbers_go_on_after_a_clean_end_and_jump_after_another() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    world.inbox("alice").deliver(&small(1).copy()).unwrap();
    world.store.checkpoint();
    let killed = World::sim(&disk.after_kill());
    assert_eq!(killed.inbox("alice").deliver(&small(2).copy()).unwrap(), Uid(1001));
    world.store.close();
    let clean = World::sim(&disk.after_kill());
    assert_eq!(clean.inbox("alice").deliver(&small(2).copy()).unwrap(), Uid(2));
    let killed = World::sim(&disk.after_kill());
    assert_eq!(killed.inbox("alice").deliver(&small(2).copy()).unwrap(), Uid(2));
}

#[test]
fn a_full_disk_leaves_the_mailbox_as_it_was() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    inbox.deliver(&small(1).copy()).unwrap();
    let before = world.file("alice");
    disk.set_capacity(Some(before.len() as u64 + 400));
    let big = Mail::new(2, &[b"A: b\n\n".to_vec(), vec![b'x'; 5000]].concat());
    assert!(matches!(inbox.deliver(&big.copy()), Err(MailboxError::Full)));
    assert_eq!(world.file("alice"), before);
    disk.set_capacity(None);
    inbox.deliver(&big.copy()).unwrap();
}

#[test]
fn a_foreign_end_gets_its_empty_line() {
    for (tail, gap) in [("", "\n\n"), ("\n", "\n"), ("\n\n", "")] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::real(dir.path());
        let before = format!("From x@y Sat Nov  1 12:26:40 2025\nA: b\n\nbody{tail}");
        std::fs::write(world.mail.join("alice"), &before).unwrap();
        world.inbox("alice").deliver(&small(1).copy()).unwrap();
        world.store.checkpoint();
        let text = String::from_utf8(world.file("alice")).unwrap();
        assert!(text.starts_with(&format!("{before}{gap}From sender@")), "{text}");
    }
}

#[test]
fn what_is_no_mailbox_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let at = |name: &str| world.mail.join(name);
    std::fs::write(at("plain"), "Dear diary\n").unwrap();
    std::fs::write(at("other"), "").unwrap();
    symlink(at("other"), at("link")).unwrap();
    std::fs::hard_link(at("other"), at("hard")).unwrap();
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::create_dir(at("dir")).unwrap();
    for name in ["plain", "link", "hard", "fifo", "dir"] {
        let result = world.inbox(name).deliver(&small(1).copy());
        assert!(matches!(result, Err(MailboxError::Refused(_))), "{name}: {result:?}");
    }
    std::fs::write(at("foreign"), "").unwrap();
    let uid = nix::unistd::getuid().as_raw() + 1;
    let foreign = world.store.inbox(&Account { name: "foreign".into(), uid, gid: 0, home: None }).unwrap();
    assert!(matches!(foreign.deliver(&small(1).copy()), Err(MailboxError::Refused(_))));
    assert_eq!(std::fs::read(at("plain")).unwrap(), b"Dear diary\n");
    assert_eq!(std::fs::read(at("other")).unwrap(), b"");
    assert!(!at("plain.lock").exists());
}

#[test]
fn a_replaced_file_gets_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = world.inbox("alice");
    inbox.deliver(&small(1).copy()).unwrap();
    let first = world.file("alice");
    inbox.deliver(&small(2).copy()).unwrap();
    // Another program writes back what it had read before.
    std::fs::write(world.mail.join("new"), &first).unwrap();
    std::fs::rename(world.mail.join("new"), world.mail.join("alice")).unwrap();
    inbox.deliver(&small(3).copy()).unwrap();
    world.store.checkpoint();
    assert!((1..=3).all(|n| world.settled(n)));
    let text = String::from_utf8(world.file("alice")).unwrap();
    let subjects: Vec<&str> = text.lines().filter(|line| line.starts_with("Subject")).collect();
    assert_eq!(subjects, ["Subject: message 1", "Subject: message 3", "Subject: message 2"]);
}

#[test]
fn a_message_in_a_file_is_copied_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let header = b"Subject: big\nX-UID: 7\n\n";
    let body: Vec<u8> = (0..60_000u32).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let file = RealDisk.open(&dir.path().join("spooled"), Open::CreateNew(0o600)).unwrap();
    file.write_at(&[io::IoSlice::new(b"junk"), io::IoSlice::new(header), io::IoSlice::new(&body)], 0).unwrap();
    let mut mail = small(1);
    mail.message = Message::File { file, offset: 4, length: (header.len() + body.len()) as u64 };
    world.inbox("alice").deliver(&mail.copy()).unwrap();
    let text = world.file("alice");
    assert!(text.ends_with(&[b" \n\n".as_slice(), &body, b"\n"].concat()));
    assert!(memchr::memmem::find(&text, b"X-UID: 7").is_none());
}

/// A power cut may take the line of an intent and leave the one after it, so that the message comes back under another UID.
#[test]
fn a_message_that_was_moved_is_removed_under_whatever_uid() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox("alice");
    (1..=2).for_each(|n| assert_eq!(inbox.deliver(&small(n).copy()).unwrap().0, n as u32));
    let view = inbox.view().unwrap();
    let moved = view.identity(Uid(1)).unwrap().unwrap();
    world.store.checkpoint();
    let mut inner = inbox.inner();
    let log = inner.log.as_mut().unwrap();
    log.put(state::Fact::Expunged(1, [1].into_iter().collect()));
    log.sync().unwrap();
    drop(inner);
    let again = World::sim(&disk.after_kill());
    let uids = again.seen("alice").iter().map(|(uid, bytes)| (*uid, number(bytes))).collect::<Vec<_>>();
    assert!(matches!(uids.as_slice(), [(2, 2), (1_001.., 1)]), "{uids:?}");
    again.inbox("alice").expunge_known(&[moved]).unwrap();
    assert_eq!(again.seen("alice").iter().map(|(_, bytes)| number(bytes)).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_was_there_before_us_has_the_first_numbers() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let old: String =
        (1..=3).map(|n| format!("From x@y Sat Nov  1 12:26:40 2025\nSubject: message {n}\n\nold {n}\n\n")).collect();
    strangers::overwrite(&disk, old.as_bytes());
    assert_eq!(world.inbox("alice").deliver(&small(4).copy()).unwrap(), Uid(4));
    let numbers: Vec<(u32, u64)> = world.seen("alice").iter().map(|(uid, text)| (*uid, number(text))).collect();
    assert_eq!(numbers, [(1, 1), (2, 2), (3, 3), (4, 4)]);
}
