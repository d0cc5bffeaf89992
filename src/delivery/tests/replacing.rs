//! Messages that take the place of others (RFC 8508).

use super::House;
use super::filing::{append, house, marked, name, subjects, text_of, view};
use crate::delivery::{FileError, Filed};
use crate::mail::Filing;
use crate::mailbox::Uid;
use std::io::Write;

/// In INBOX are these, the first synced.
const OLD: [&str; 3] = ["old 1", "same", "old 3"];
/// What takes their places, and where.
const NEW: [(&str, &str); 3] = [("new 1", "INBOX"), ("same", "INBOX"), ("new 3", "Work")];

fn begin() -> House {
    let house = house();
    for subject in OLD {
        append(&house, "INBOX", &[(Filing::default(), text_of(subject).as_bytes())]).unwrap();
        if subject == OLD[0] {
            house.store.checkpoint();
        }
    }
    house
}

fn replace(house: &House, uid: Uid, subject: &str, folder: &str) -> Result<Filed, FileError> {
    let inbox = house.store.inbox(&house.account("alice")).and_then(|inbox| inbox.view())?;
    let mut batch = house.delivery().post().file(&house.account("alice"), &name(folder))?;
    batch.replace(&inbox, uid)?;
    batch.message(marked(&["new"]));
    batch.write_all(text_of(subject).as_bytes()).unwrap();
    batch.commit()
}

fn life(house: &House) -> Vec<Result<Filed, FileError>> {
    let told = (1..).zip(NEW).map(|(uid, (subject, folder))| replace(house, Uid(uid), subject, folder)).collect();
    house.store.checkpoint();
    told
}

/// `stopped`: an answer that did not come, or an error, may mean anything; else an error means that nothing was done.
fn check(house: &House, told: &[Result<Filed, FileError>], stopped: bool, case: &str) {
    house.wait(case, || house.queue().is_empty());
    let (inbox, work) = (subjects(house, "INBOX"), subjects(house, "Work"));
    let count = |subject| [&inbox, &work].map(|folder| folder.get(subject).copied().unwrap_or(0)).iter().sum::<usize>();
    for ((old, (new, _)), told) in OLD.into_iter().zip(NEW).zip(told) {
        let there = (count(old), count(new));
        let fine = match told {
            _ if old == new => there.0 == 1,
            Ok(_) => there == (0, 1),
            Err(FileError::Uncertain) => there.0 + there.1 == 1,
            Err(_) if stopped => there.0 + there.1 == 1,
            Err(_) => there == (1, 0),
        };
        assert!(fine, "{case}: {old}: {there:?}, {told:?}");
    }
}

#[test]
fn the_new_one_is_there_and_the_old_one_is_gone() {
    let house = begin();
    let inbox = view(&house, "INBOX");
    let told = life(&house);
    assert_eq!(told.iter().map(|told| told.as_ref().unwrap().uids.clone()).collect::<Vec<_>>(), [[Uid(4)], [Uid(5)], [Uid(1)]]);
    check(&house, &told, false, "whole");
    assert_eq!((house.queue(), house.journal.unsettled()), (vec![], vec![]));
    let changes = inbox.sync(true).unwrap();
    assert_eq!((changes.gone, changes.exists), (vec![(3, Uid(3)), (2, Uid(2)), (1, Uid(1))], Some(2)));
    // What is gone has no successor.
    let mut batch = house.delivery().post().file(&house.account("alice"), &name("Work")).unwrap();
    assert!(matches!(batch.replace(&inbox, Uid(1)), Err(FileError::Gone)));
}

/// Wherever it stops, and whatever a power cut leaves: the old one or the new one, and never both.
#[test]
fn a_stop_in_replacing_loses_and_doubles_nothing() {
    let total = {
        let house = begin();
        let before = house.disk.operations();
        life(&house);
        house.disk.operations() - before
    };
    let (mut before, mut after) = (0, 0);
    for stop in 1..=total + 1 {
        let house = begin();
        house.disk.stop_at(house.disk.operations() + stop);
        let told = life(&house);
        for seed in 0..3 {
            let case = format!("stop at {stop}, seed {seed}");
            let disk = if seed == 0 { house.disk.after_kill() } else { house.disk.after_power_cut(seed + 77 * stop) };
            let again = House::open(disk, house.config.clone());
            check(&again, &told, true, &case);
            let inbox = subjects(&again, "INBOX");
            before += usize::from(inbox.contains_key(OLD[0]));
            after += usize::from(inbox.contains_key(NEW[0].0));
        }
    }
    assert!(before > 0 && after > 0, "{before} {after}");
}
