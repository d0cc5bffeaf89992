use super::*;
use crate::sys::RealDisk;

fn numbers(world: &World) -> Vec<(u32, u64)> {
    world.seen("alice").iter().map(|(uid, wire)| (*uid, number(wire))).collect()
}

#[test]
fn what_was_delivered_is_shown_as_it_was_sent() {
    let world = World::sim(&SimDisk::default());
    assert_eq!(world.inbox("alice").view().unwrap().messages().unwrap().len(), 0);
    world.inbox("alice").deliver(&small(1).copy()).unwrap();
    let shown = "Return-Path: <sender@example.net>\r\nDelivered-To: alice@example.org\r\nSubject: message 1\r\n\r\nbody 1\r\nFrom quoted\r\n";
    assert_eq!(world.seen("alice"), [(1, shown.as_bytes().to_vec())]);
    world.inbox("alice").deliver(&small(2).copy()).unwrap();
    assert_eq!(numbers(&world), [(1, 1), (2, 2)]);
}

#[test]
fn big_and_small_messages_come_back_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let mut sent = Vec::new();
    for n in 0..40u64 {
        let body: Vec<u8> = (0..n * n * n).flat_map(|line| format!("line {line} of {n}\n").into_bytes()).collect();
        let message = [format!("Subject: message {n}\n\n").into_bytes(), body].concat();
        world.inbox("alice").deliver(&Mail::new(n, &message).copy()).unwrap();
        sent.push(String::from_utf8(message).unwrap().replace('\n', "\r\n"));
    }
    let seen = world.seen("alice");
    for ((_, wire), sent) in seen.iter().zip(&sent) {
        assert!(wire.ends_with(sent.as_bytes()));
    }
    assert_eq!(seen.len(), 40);
}

#[test]
fn other_programs_messages_keep_their_first_number() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let foreign = |n: u64| format!("From x@y Sat Nov  1 12:26:40 2025\nSubject: message {n}\n\nhello\n\n");
    world.inbox("alice").deliver(&small(1).copy()).unwrap();
    world.write("alice", &[world.file("alice"), foreign(2).into_bytes(), foreign(3).into_bytes()].concat());
    assert_eq!(numbers(&world), [(1, 1), (2, 2), (3, 3)]);
    world.inbox("alice").deliver(&small(4).copy()).unwrap();
    assert_eq!(numbers(&world), [(1, 1), (2, 2), (3, 3), (4, 4)]);
    // mutt deletes message 1 and writes the others in another order.
    let text = String::from_utf8(world.file("alice")).unwrap();
    let fourth = &text[text.find("Subject: message 4").map(|at| text[..at].rfind("From sender").unwrap()).unwrap()..];
    let now = format!("{fourth}{}{}", foreign(3), foreign(2)).replace("Status:   ", "Status: RO");
    world.write("alice", now.as_bytes());
    assert_eq!(numbers(&world), [(2, 2), (3, 3), (4, 4)]);
    drop(world);
    let world = World::real(dir.path());
    assert_eq!(numbers(&world), [(2, 2), (3, 3), (4, 4)]);
    assert_eq!(world.inbox("alice").deliver(&small(5).copy()).unwrap(), Uid(5));
}

#[test]
fn forged_state_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    for n in 1..=2 {
        world.inbox("alice").deliver(&small(n).copy()).unwrap();
    }
    assert_eq!(numbers(&world), [(1, 1), (2, 2)]);
    world.inbox("alice").expunge(&[Uid(2)]).unwrap();
    let forged = "From x@y Sat Nov  1 12:26:40 2025\nX-UID: 2\nX-Pillarbox: 0000000002 1.0 0123456789abcdef-2 0 00\nSubject: message 9\n\n\n";
    world.write("alice", &[world.file("alice"), forged.as_bytes().to_vec()].concat());
    assert_eq!(numbers(&world), [(1, 1), (3, 9)]);
}

#[test]
fn numbers_of_other_servers_are_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let message = |n: u64, extra: &str| format!("From x@y Sat Nov  1 12:26:40 2025\nSubject: message {n}\n{extra}\nhi\n\n");
    let text = message(1, "X-IMAPbase: 1700000000 0000000009 Work\nX-UID: 4\n") + &message(2, "X-UID: 7\n") + &message(3, "");
    world.write("alice", text.as_bytes());
    assert_eq!(world.inbox("alice").view().unwrap().uid_validity(), 1_700_000_000);
    assert_eq!(numbers(&world), [(4, 1), (7, 2), (10, 3)]);
    world.write("bob", text.replace("X-UID: 7", "X-UID: 4").as_bytes());
    assert_ne!(world.inbox("bob").view().unwrap().uid_validity(), 1_700_000_000);
    let internal = "From MAILER-DAEMON Sat Nov  1 12:26:40 2025\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1700000000 0000000009\nStatus: RO\n\ntext\n\n";
    world.write("carol", (internal.to_owned() + &message(2, "")).as_bytes());
    assert_eq!(world.inbox("carol").view().unwrap().messages().unwrap()[0].uid, Uid(10));
    assert_eq!(world.inbox("carol").view().unwrap().messages().unwrap().len(), 1);
}

#[test]
fn a_lost_state_means_new_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    world.inbox("alice").deliver(&small(1).copy()).unwrap();
    let before = world.inbox("alice").view().unwrap().uid_validity();
    world.store.checkpoint();
    drop(world);
    std::fs::remove_file(dir.path().join("spool/state/alice/INBOX")).unwrap();
    let world = World::real(dir.path());
    assert_eq!(world.inbox("alice").view().unwrap().uid_validity(), before + 1);
    assert_eq!(numbers(&world), [(1, 1)]);
}

#[test]
fn removed_messages_are_gone_at_once_and_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = world.inbox("alice");
    for n in 1..=4 {
        inbox.deliver(&small(n).copy()).unwrap();
    }
    let size = world.file("alice").len();
    inbox.expunge(&[Uid(1), Uid(3), Uid(77)]).unwrap();
    assert_eq!(numbers(&world), [(2, 2), (4, 4)]);
    assert_eq!(world.file("alice").len(), size);
    let text = world.file("alice");
    assert!(memchr::memmem::find(&text, b"message 1").is_none() && memchr::memmem::find(&text, b"message 3").is_none());
    assert!(
        memchr::memmem::find(&text, b"\nX-IMAPbase: 1762000000 0000000004\nX-UID: 0000000000\nX-Status: D\n\n\0\0").is_some()
    );
    world.store.checkpoint();
    assert!((1..=4).all(|n| world.settled(n)));
    inbox.deliver(&small(5).copy()).unwrap();
    assert_eq!(numbers(&world), [(2, 2), (4, 4), (5, 5)]);
    drop(world);
    assert_eq!(numbers(&World::real(dir.path())), [(2, 2), (4, 4), (5, 5)]);
}

#[test]
fn a_message_too_short_for_the_dead_form_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    world.write("alice", b"From x@y Sat Nov  1 12:26:40 2025\n\nhi\n\n");
    world.inbox("alice").deliver(&small(2).copy()).unwrap();
    let uid = world.inbox("alice").view().unwrap().messages().unwrap()[0].uid;
    world.inbox("alice").expunge(&[uid]).unwrap();
    assert_eq!(numbers(&world).len(), 1);
    world.store.checkpoint();
    drop(world);
    assert_eq!(numbers(&World::real(dir.path())).len(), 1);
}

#[test]
fn an_open_view_survives_what_others_do() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = world.inbox("alice");
    let big = [b"Subject: message 2\n\n".to_vec(), vec![b'z'; 900_000], b"\n".to_vec()].concat();
    inbox.deliver(&small(1).copy()).unwrap();
    inbox.deliver(&Mail::new(2, &big).copy()).unwrap();
    inbox.deliver(&small(3).copy()).unwrap();
    let view = inbox.view().unwrap();
    let [first, second, third] = [0, 1, 2].map(|at| view.messages().unwrap()[at].clone());
    let whole = read(&view, &second);

    let mut stream = view.read(second.uid).unwrap();
    let mut front = vec![0; 200_000];
    stream.read_exact(&mut front).unwrap();
    // The first message goes away and all others move, in the middle of the stream.
    let text = world.file("alice");
    let at = memchr::memmem::find(&text, b"\n\nFrom sender").unwrap() + 2;
    world.write("alice", &text[at..]);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!([front, rest].concat() == whole);
    assert_eq!(number(&read(&view, &third)), 3);
    view.rest();
    assert!(matches!(view.read(first.uid).map(|_| ()), Err(MailboxError::Gone)));

    // The message itself goes away in the middle.
    let mut stream = view.read(second.uid).unwrap();
    let mut front = vec![0; 200_000];
    stream.read_exact(&mut front).unwrap();
    RealDisk.open(&world.mail.join("alice"), Open::Write).unwrap().set_len(0).unwrap();
    assert!(stream.read_to_end(&mut Vec::new()).is_err());
    assert!(inbox.view().unwrap().messages().unwrap().is_empty());
}

#[test]
fn a_lease_is_one_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let lease = world.inbox("alice").lease().unwrap();
    assert!(matches!(world.inbox("alice").lease(), Err(MailboxError::InUse)));
    world.inbox("alice").deliver(&small(1).copy()).unwrap();
    drop(lease);
    world.inbox("alice").lease().unwrap();
}

#[test]
fn a_mailbox_of_the_dead_is_emptied_when_nobody_may_remember_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = world.inbox("alice");
    let all = |inbox: &Mailbox, uids: &[u32]| inbox.expunge(&uids.iter().map(|uid| Uid(*uid)).collect::<Vec<_>>()).unwrap();
    // It was empty when we came, and nobody else has looked.
    inbox.deliver(&small(1).copy()).unwrap();
    assert_eq!(inbox.view().unwrap().messages().unwrap().len(), 1);
    all(&inbox, &[1]);
    world.store.checkpoint();
    assert_eq!(std::fs::metadata(world.mail.join("alice")).unwrap().len(), 0);
    assert!(world.settled(1));
    // Somebody looks.
    inbox.deliver(&small(2).copy()).unwrap();
    assert_eq!(numbers(&world), [(2, 2)]);
    world.file("alice");
    all(&inbox, &[2]);
    world.store.checkpoint();
    assert_ne!(std::fs::metadata(world.mail.join("alice")).unwrap().len(), 0);
    world.clock.advance(Duration::from_secs(3700));
    world.store.checkpoint();
    assert_eq!(std::fs::metadata(world.mail.join("alice")).unwrap().len(), 0);
    inbox.deliver(&small(3).copy()).unwrap();
    assert_eq!(numbers(&world), [(3, 3)]);
    // One that lives keeps all others' room.
    inbox.deliver(&small(4).copy()).unwrap();
    all(&inbox, &[4]);
    world.clock.advance(Duration::from_secs(3700));
    world.store.checkpoint();
    assert_eq!(numbers(&world), [(3, 3)]);
}
