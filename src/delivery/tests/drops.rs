//! What was left in the drop directory comes once, whenever the daemon is killed, or the power fails, on the way.

use super::house::House;
use crate::delivery::pickup;
use crate::sys::{Disk, Open};
use std::io::IoSlice;
use std::path::Path;

const BATCH: &str =
    "MAIL FROM:<bob@me.example>\r\nRCPT TO:<alice@me.example>\r\nDATA\r\nSubject: left\r\n\r\n..dot\r\nend\r\n.\r\n";

fn leave(disk: &dyn Disk, name: &str, text: &str) {
    disk.make_dir(Path::new("/spool/drop"), 0o700).unwrap();
    let path = Path::new("/spool/drop").join(name);
    let file = disk.open(&path, Open::CreateNew(0o604)).unwrap();
    file.write_at(&[IoSlice::new(text.as_bytes())], 0).unwrap();
    file.sync().unwrap();
    for dir in ["/spool/drop", "/spool"] {
        disk.sync_dir(Path::new(dir)).unwrap();
    }
}

/// Names in a directory, and below those that are directories.
fn left(disk: &dyn Disk, dir: &str) -> Vec<String> {
    let names = disk.list(Path::new(dir)).unwrap_or_default();
    names.into_iter().map(|name| name.into_string().unwrap()).filter(|name| name != "taken" && name != "bad").collect()
}

/// Whole copies: of one that was torn only a part is there.
fn copies(house: &House) -> usize {
    house.mbox("alice").matches("Subject: left\n").count().min(house.mbox("alice").matches("\n\n.dot\nend\n").count())
}

#[test]
fn it_is_picked_up() {
    let house = House::new("");
    leave(&house.disk, "1", BATCH);
    assert!(pickup::scan(house.office()));
    let mbox = house.mbox("alice");
    assert!(mbox.contains("Return-Path: <bob@me.example>\n") && mbox.contains("\n\n.dot\nend\n"), "{mbox}");
    for part in ["(Pillarbox) with local id ", "\nDate: ", "\nMessage-ID: ", "Received: from me.example (uid "] {
        assert_eq!(mbox.matches(part).count(), 1, "{part} {mbox}");
    }
    assert_eq!((left(&house.disk, "/spool/drop"), left(&house.disk, "/spool/drop/taken/me.example")), (vec![], vec![]));
    assert!(pickup::scan(house.office()));
    assert_eq!(copies(&house), 1);
}

#[test]
fn what_is_no_batch_is_set_aside() {
    let house = House::new("[smtp]\nmax_message_size = \"1K\"");
    let wrong = [
        ("empty", String::new()),
        ("endless", BATCH.replace("\r\n.\r\n", "\r\n")),
        ("two", BATCH.repeat(2)),
        ("bare", BATCH.replace("end\r\n", "end\n")),
        ("held", BATCH.replacen("example>\r\n", "example> HOLDFOR=9\r\n", 1)),
        ("nobody", BATCH.replace("RCPT TO:<alice@me.example>\r\n", "")),
        ("greeting", format!("EHLO x\r\n{BATCH}")),
        ("injected", BATCH.replace("alice@me.example>", "alice@me.example>\0")),
        ("big", BATCH.replace("end", &"x".repeat(2000))),
    ];
    for (name, text) in &wrong {
        leave(&house.disk, name, text);
    }
    leave(&house.disk, "good", BATCH);
    assert!(pickup::scan(house.office()));
    let mut names: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
    let mut aside = left(&house.disk, "/spool/drop/bad");
    names.sort_unstable();
    aside.sort();
    assert_eq!((aside, left(&house.disk, "/spool/drop")), (names.into_iter().map(str::to_owned).collect(), vec![]));
    assert_eq!(copies(&house), 1);
}

#[test]
fn a_full_disk_leaves_it_where_it_is() {
    let house = House::new("");
    leave(&house.disk, "1", &BATCH.replace("end", &"x".repeat(300_000)));
    house.disk.set_capacity(Some(0));
    assert!(!pickup::scan(house.office()));
    assert_eq!(left(&house.disk, "/spool/drop"), ["1"]);
    house.disk.set_capacity(None);
    assert!(pickup::scan(house.office()));
    assert_eq!((left(&house.disk, "/spool/drop").len(), house.mbox("alice").matches("Subject: left\n").count()), (0, 1));
}

/// The machine stops in each operation, from the first look to the end of the delivery.
#[test]
fn no_crash_loses_or_doubles_it() {
    let mut whole = 0;
    for n in 1.. {
        let house = House::new("");
        leave(&house.disk, "1", BATCH);
        let before = house.disk.operations();
        house.disk.stop_at(before + n);
        pickup::scan(house.office());
        let through = house.disk.operations() < before + n;
        for seed in 0..4 {
            let disk = if seed == 0 { house.disk.after_kill() } else { house.disk.after_power_cut(seed) };
            let again = House::open(disk, house.config.clone());
            assert!(pickup::scan(again.office()));
            again.wait("mail", || copies(&again) > 0 && again.queue().is_empty());
            assert_eq!(left(&again.disk, "/spool/drop"), [""; 0], "stopped in {n}, seed {seed}");
            assert_eq!(copies(&again), 1, "stopped in {n}, seed {seed}: {}", again.mbox("alice"));
            assert_eq!(left(&again.disk, "/spool/drop/taken/me.example"), [""; 0], "stopped in {n}, seed {seed}");
        }
        whole += u64::from(through);
        if whole > 2 {
            assert!(n > 12, "only {n} operations");
            return;
        }
    }
}

#[test]
fn a_claim_of_a_record_that_is_committed_is_only_removed() {
    let house = House::new("");
    let id = house.post("bob@me.example", &["alice@me.example"], "Subject: left\n\n.dot\nend\n").unwrap();
    let other = crate::spool::SpoolId { counter: id.counter + 1000, ..id };
    house.disk.make_dir(Path::new("/spool/drop/taken/me.example"), 0o700).unwrap();
    leave(&house.disk, &format!("taken/me.example/{id}"), BATCH);
    leave(&house.disk, &format!("taken/me.example/{other}"), &BATCH.replace("Subject: left", "Subject: lost"));
    let again = House::open(house.disk.after_kill(), house.config.clone());
    assert!(pickup::scan(again.office()));
    again.wait("what was claimed only", || again.mbox("alice").contains("Subject: lost\n"));
    assert_eq!(again.mbox("alice").matches("Subject: left\n").count(), 1);
    assert_eq!(left(&again.disk, "/spool/drop/taken/me.example"), [""; 0]);
}
