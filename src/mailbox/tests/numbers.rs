//! Numbers and removals that a kill, or another program's write, once got wrong. The model found them; here they stand alone.

use super::strangers::{append, replace};
use super::*;
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
