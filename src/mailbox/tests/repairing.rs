//! Every kind of damage is made on purpose: `check` names it, `rebuild` mends it, and no message is lost.

use super::*;
use crate::mailbox::store::Rebuilt;
use crate::mailbox::{Change, Flags, Marks};
use std::fs;

pub const STATE: &str = "spool/state/alice";

/// Three messages, the second marked, the third with a keyword; all is durable, the index is written.
pub fn filled(root: &Path) -> World {
    let world = World::real(root);
    let inbox = world.inbox("alice");
    for n in 1..=3 {
        inbox.deliver(&small(n).copy()).unwrap();
    }
    drop(inbox.view().unwrap());
    let work = inbox.keyword("Work").unwrap().unwrap();
    inbox.mark(&[Uid(2)], Change::Add, Marks { flags: Flags::FLAGGED, keywords: 0 }, None).unwrap();
    inbox.mark(&[Uid(3)], Change::Add, Marks { flags: Flags::SEEN, keywords: work }, None).unwrap();
    world.store.checkpoint();
    drop(inbox);
    world.store.close();
    // A new life, that knows nothing yet.
    World::real(root)
}

pub fn inspect(world: &World) -> Vec<Finding> {
    world.inbox("alice").inspect().unwrap()
}

pub fn rebuild(world: &World) -> Rebuilt {
    world.store.rebuild(&world.inbox("alice")).unwrap()
}

/// UIDs and numbers.
pub fn numbers(world: &World) -> Vec<(u32, u64)> {
    world.seen("alice").iter().map(|(uid, bytes)| (*uid, number(bytes))).collect()
}

pub fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Another program's file, for its owner alone.
pub fn put(world: &World, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    world.write("alice", text.as_bytes());
    fs::set_permissions(world.mail.join("alice"), fs::Permissions::from_mode(0o600)).unwrap();
}

pub fn find(bytes: &[u8], what: &str) -> usize {
    memchr::memmem::find(bytes, what.as_bytes()).unwrap()
}

pub fn messages(bytes: &[u8]) -> Vec<usize> {
    scanning::scan_in_pieces(bytes, 1 << 20).messages.iter().map(|m| m.offset as usize).collect()
}

/// What is expected of the messages after a rebuild.
enum After {
    /// They are what they were, under their UIDs.
    Same,
    /// They are all there; some have new UIDs, and there may be more.
    All,
}

struct Damage {
    what: &'static str,
    make: fn(&Path),
    told: &'static str,
    done: &'static str,
    after: After,
}

fn mailbox(root: &Path) -> PathBuf {
    root.join("mail/alice")
}

fn state(root: &Path) -> PathBuf {
    root.join(STATE).join("INBOX")
}

fn index(root: &Path) -> PathBuf {
    root.join("spool/index/alice/INBOX.idx")
}

const DAMAGES: &[Damage] = &[
    Damage {
        what: "a From line that is missing",
        make: |root| {
            edit(&mailbox(root), |bytes| {
                let end = find(bytes, "\n") + 1;
                drop(bytes.drain(..end));
            })
        },
        told: "a From line is missing",
        done: "before the first From line",
        after: After::Same,
    },
    Damage {
        what: "a line of somebody's in front",
        make: |root| edit(&mailbox(root), |bytes| drop(bytes.splice(0..0, *b"Dear diary\n\n"))),
        told: "the first 12 bytes are in no message",
        done: "made a message of the 12 bytes",
        after: After::All,
    },
    Damage {
        what: "empty lines in front",
        make: |root| edit(&mailbox(root), |bytes| drop(bytes.splice(0..0, *b"\n\n"))),
        told: "the first 2 bytes are in no message",
        done: "made a dead message of the 2 bytes",
        after: After::Same,
    },
    Damage {
        what: "NULs in front",
        make: |root| edit(&mailbox(root), |bytes| drop(bytes.splice(0..0, [0; 700]))),
        told: "the first 700 bytes are in no message",
        done: "made a dead message of the 700 bytes",
        after: After::Same,
    },
    Damage {
        what: "a torn tail",
        make: |root| edit(&mailbox(root), |bytes| bytes.truncate(bytes.len() - 9)),
        told: "ends in the middle of a line",
        done: "ended the last message",
        after: After::All,
    },
    Damage {
        what: "no empty line at the end",
        make: |root| edit(&mailbox(root), |bytes| bytes.truncate(bytes.len() - 1)),
        told: "does not end in an empty line",
        done: "ended the last message",
        after: After::Same,
    },
    Damage {
        what: "NULs at the end",
        make: |root| edit(&mailbox(root), |bytes| bytes.extend([0; 600])),
        told: "NULs in a message",
        done: "removed 600 NULs",
        after: After::Same,
    },
    Damage {
        what: "NULs between messages",
        make: |root| {
            edit(&mailbox(root), |bytes| {
                let third = messages(bytes)[2];
                drop(bytes.splice(third..third, [0; 600]));
            })
        },
        told: "the seal of UID 2",
        done: "NULs",
        after: After::All,
    },
    Damage {
        what: "NULs in place of a From line and more",
        make: |root| {
            edit(&mailbox(root), |bytes| {
                let third = messages(bytes)[2];
                let end = third + find(&bytes[third..], "Subject");
                drop(bytes.splice(third..end, [0; 400]));
            })
        },
        told: "the seal of UID 2",
        done: "made a message of what stands behind 400 NULs",
        after: After::All,
    },
    Damage {
        what: "NULs in a body",
        make: |root| {
            edit(&mailbox(root), |bytes| {
                let at = find(bytes, "body 2");
                bytes[at + 4] = 0;
            })
        },
        told: "NULs in a message",
        done: "made the NULs in 1 message visible",
        after: After::All,
    },
    Damage {
        what: "a message that is there twice",
        make: |root| {
            edit(&mailbox(root), |bytes| {
                let third = messages(bytes)[2];
                bytes.extend_from_within(third..);
            })
        },
        told: "UID 3 is there twice",
        done: "wrote the UIDs of 1 message",
        after: After::All,
    },
    Damage {
        what: "a message that was changed under its seal",
        make: |root| {
            edit(&mailbox(root), |bytes| {
                let at = find(bytes, "body 3");
                bytes[at] = b'B';
            })
        },
        told: "the seal of UID 3",
        done: "wrote the UIDs of 1 message",
        after: After::All,
    },
    Damage {
        what: "a wrong base line",
        make: |root| {
            edit(&mailbox(root), |bytes| {
                let at = find(bytes, "X-IMAPbase: ") + 12;
                bytes[at..at + 10].copy_from_slice(b"1111111111");
            })
        },
        told: "the base line tells UIDVALIDITY 1111111111",
        done: "wrote the base line anew",
        after: After::Same,
    },
    Damage {
        what: "a base line that is behind",
        make: |root| {
            edit(&mailbox(root), |bytes| {
                let at = find(bytes, "X-IMAPbase: ") + 12 + 11;
                bytes[at..at + 10].copy_from_slice(b"0000000002");
            })
        },
        told: "the base line tells 2 as the last UID",
        done: "wrote the base line anew",
        after: After::Same,
    },
    Damage {
        what: "a state log with a hole",
        make: |root| edit(&state(root), |bytes| bytes[30] ^= 1),
        told: "bytes of the state log can't be read",
        done: "wrote the state log anew",
        after: After::All,
    },
    Damage {
        what: "a torn state log",
        make: |root| edit(&state(root), |bytes| bytes.extend(b"12345678 ceil")),
        told: "the state log ends in 13 bytes that are torn",
        done: "wrote the state log anew; 13 bytes",
        after: After::Same,
    },
    Damage {
        what: "a lost state log",
        make: |root| fs::remove_file(state(root)).unwrap(),
        told: "there is no state log, and 3 messages had",
        done: "wrote the UIDs of 3 messages",
        after: After::All,
    },
    Damage {
        what: "a corrupt index",
        make: |root| edit(&index(root), |bytes| bytes[300] ^= 1),
        told: "INBOX.idx can't be used",
        done: "made the index anew",
        after: After::Same,
    },
    Damage {
        what: "the facts in the index",
        make: |root| {
            edit(&index(root), |bytes| {
                let last = bytes.len() - 3;
                bytes[last] ^= 1;
            })
        },
        told: "INBOX.idx can't be used",
        done: "made the index anew",
        after: After::Same,
    },
    Damage {
        what: "an index that was not finished",
        make: |root| fs::write(root.join("spool/index/alice/INBOX.new"), "PBX").unwrap(),
        told: "index/alice/INBOX.new was not finished",
        done: "INBOX.new, which was not finished",
        after: After::Same,
    },
    Damage {
        what: "a state log that was not finished",
        make: |root| fs::write(root.join(STATE).join("INBOX.new"), "pill").unwrap(),
        told: "state/alice/INBOX.new was not finished",
        done: "INBOX.new, which was not finished",
        after: After::Same,
    },
    Damage {
        what: "a redo file on which nothing hangs",
        make: |root| fs::write(root.join(STATE).join("INBOX.redo"), "pillarbox-redo 1 void").unwrap(),
        told: "INBOX.redo is left over",
        done: "INBOX.redo, on which nothing hung",
        after: After::Same,
    },
    Damage {
        what: "what a crash left",
        make: |root| fs::write(root.join(STATE).join("INBOX.damaged-1-2"), "\0\0x").unwrap(),
        told: "INBOX.damaged-1-2 holds what could not be read",
        done: "INBOX.saved-1-2",
        after: After::Same,
    },
];

#[test]
fn every_damage_is_named_and_mended() {
    for damage in DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        let what = damage.what;
        drop(filled(dir.path()));
        (damage.make)(dir.path());
        let before = fs::read(mailbox(dir.path())).unwrap();
        let world = World::real(dir.path());
        let found = inspect(&world);
        assert!(found.iter().any(|finding| finding.what.contains(damage.told)), "{what}: {found:?}");
        drop(world);
        // To look has mended some; so another copy is rebuilt.
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path()));
        (damage.make)(dir.path());
        let world = World::real(dir.path());
        let rebuilt = rebuild(&world);
        assert!(rebuilt.done.iter().any(|done| done.contains(damage.done)), "{what}: {rebuilt:?}");
        assert_eq!(rebuilt.left, [], "{what}: {:?}", rebuilt.done);
        match damage.after {
            After::Same => assert_eq!(numbers(&world), [(1, 1), (2, 2), (3, 3)], "{what}"),
            After::All => {
                let numbers = numbers(&world);
                for n in 1..=3 {
                    assert!(numbers.iter().any(|(_, own)| *own == n), "{what}: {n} of {numbers:?}");
                }
                // What nobody touched keeps its UID.
                let kept = numbers.iter().filter(|(uid, n)| u64::from(*uid) == *n).count();
                assert!(kept >= 2 || damage.told.contains("state log"), "{what}: {numbers:?}");
            }
        }
        let marks: Vec<(u64, Flags, usize)> = marks(&world);
        assert!(marks.contains(&(2, Flags::FLAGGED, 0)), "{what}: {marks:?}");
        assert!(marks.contains(&(3, Flags::SEEN, 1)), "{what}: {marks:?}");
        // In the next life, without the index too.
        let then = numbers(&world);
        world.store.close();
        drop(world);
        let again = World::real(dir.path());
        assert_eq!((inspect(&again), numbers(&again)), (vec![], then.clone()), "{what}");
        assert_eq!(rebuild(&again).done, Vec::<String>::new(), "{what}");
        drop(again);
        fs::remove_file(index(dir.path())).unwrap();
        assert_eq!(numbers(&World::real(dir.path())), then, "{what}");
        // Of what was there nothing is lost, but NULs.
        let now = fs::read(mailbox(dir.path())).unwrap();
        for line in
            before.split(|byte| matches!(byte, b'\n' | 0)).filter(|line| line.starts_with(b"body") || line.starts_with(b"Dear"))
        {
            assert!(memchr::memmem::find(&now, line).is_some(), "{what}: {}", String::from_utf8_lossy(line));
        }
    }
}

/// Number, flags, and how many keywords.
fn marks(world: &World) -> Vec<(u64, Flags, usize)> {
    let view = world.inbox("alice").view().unwrap();
    let all = view.messages().unwrap();
    let keywords = view.keywords();
    let of = |m: &Summary| (number(&read(&view, m)), m.marks.flags & Flags::ALL, keywords.of(m.marks.keywords).count());
    all.iter().map(of).collect()
}

#[test]
fn a_mailbox_in_order_has_no_findings_whoever_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = world.inbox("alice");
    assert_eq!((inspect(&world), rebuild(&world).done), (vec![], vec![]));
    let fine = |when: &str| assert_eq!(inspect(&world), [], "{when}");
    for n in 1..=40 {
        inbox.deliver(&small(n).copy()).unwrap();
        fine("delivered");
    }
    let view = inbox.view().unwrap();
    fine("seen");
    let uids: Vec<Uid> = (1..=40).map(Uid).collect();
    inbox.mark(&uids, Change::Add, Marks { flags: Flags::SEEN, keywords: 0 }, None).unwrap();
    fine("marked, not in the file");
    world.store.write_back();
    fine("in the file");
    inbox.expunge(&uids[..30]).unwrap();
    fine("expunged");
    world.store.checkpoint();
    fine("durable");
    world.store.compact(&inbox).unwrap();
    fine("compacted");
    // Another program, which writes no numbers, and takes the first away.
    let text = [world.file("alice"), b"From x@y Sat Nov  1 12:26:40 2025\nSubject: message 77\n\nhello\n\n".to_vec()].concat();
    world.write("alice", &text);
    fine("appended to");
    assert_eq!(view.sync(true).unwrap().exists, Some(11));
    world.store.checkpoint();
    assert_eq!(rebuild(&world).done, Vec::<String>::new());
    assert_eq!(numbers(&world).len(), 11);
    // While others deliver and read.
    std::thread::scope(|scope| {
        for writer in 1..=2 {
            let inbox = &inbox;
            scope.spawn(move || (1..=20).for_each(|n| drop(inbox.deliver(&small(writer * 100 + n).copy()).map(|uid| uid.0))));
        }
        for _ in 0..20 {
            fine("while it is delivered to");
            drop(inbox.view().unwrap());
        }
    });
    assert_eq!(numbers(&world).len(), 51);
}

#[test]
fn what_another_servers_numbers_are_worth_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let message = |n: u64, uid: u64, base: &str| {
        format!("From x@y Sat Nov  1 12:26:40 2025\nSubject: message {n}\n{base}X-UID: {uid}\n\nhello\n\n")
    };
    put(&world, &(message(1, 7, "X-IMAPbase: 1700000000 9 Work\n") + &message(2, 4, "")));
    let found = inspect(&world);
    assert!(found.iter().any(|finding| finding.what.contains("not in ascending order")), "{found:?}");
    let found = inspect(&world);
    assert!(found.iter().all(|finding| finding.what.contains("the base line tells UIDVALIDITY 1700000000")), "{found:?}");
    let rebuilt = rebuild(&world);
    assert_eq!((rebuilt.done, rebuilt.left), (vec!["wrote the base line anew".to_owned()], vec![]));
    assert_eq!(numbers(&world), [(1, 1), (2, 2)]);
}

#[test]
fn what_can_not_be_mended_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = filled(dir.path());
    fs::hard_link(world.mail.join("alice"), world.mail.join("other")).unwrap();
    assert!(inspect(&world)[0].what.contains("has 2 names"));
    assert!(matches!(world.store.rebuild(&world.inbox("alice")), Err(MailboxError::Refused(_))));
    fs::remove_file(world.mail.join("other")).unwrap();
    fs::write(world.mail.join("alice.lock"), "1").unwrap();
    assert!(inspect(&world)[0].what.contains("alice.lock is there"));
    assert!(matches!(world.store.rebuild(&world.inbox("alice")), Err(MailboxError::Busy)));
    fs::remove_file(world.mail.join("alice.lock")).unwrap();
    assert_eq!(rebuild(&world).left, []);
}
