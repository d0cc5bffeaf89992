//! Messages that are committed together: all of them count or none, whatever stops or fails.

use super::*;
use std::io::ErrorKind;

/// What was said of a group.
struct Said {
    ids: Vec<SpoolId>,
    texts: Vec<Vec<u8>>,
    /// It was accepted; else it may be there or not.
    accepted: bool,
    /// It was refused.
    refused: bool,
    /// It was asked to be taken back; and that was done.
    asked: bool,
    back: bool,
    /// Members that were settled one by one, or may be.
    maybe: Vec<SpoolId>,
}

fn group(journal: &Arc<Journal>, seed: u64, lengths: &[usize], said: &mut Vec<Said>) {
    let mut drafts = Vec::new();
    let mut now = Said { ids: vec![], texts: vec![], accepted: false, refused: false, asked: false, back: false, maybe: vec![] };
    for (seed, length) in (seed..).zip(lengths) {
        let text = text(seed, *length);
        let mut draft = journal.begin(envelope(1)).unwrap();
        draft.keep_at_most(20_000);
        now.ids.push(draft.id());
        now.texts.push(quoted(&text));
        let written = draft.write_all(&text);
        drafts.push(draft);
        if written.is_err() {
            break;
        }
    }
    match Draft::commit_all(drafts, &[]) {
        Ok(entries) => {
            assert!(entries.iter().map(|entry| bytes(&entry.message)).eq(now.texts.iter().cloned()));
            now.accepted = true;
        }
        Err(SpoolError::Uncertain) => {}
        Err(_) => now.refused = true,
    }
    said.push(now);
}

fn scenario(disk: &SimDisk, said: &mut Vec<Said>) -> Result<(), SpoolError> {
    let journal = try_open(disk, 32 << 10)?;
    let alone = put(&journal, 1, b"alone");
    group(&journal, 1, &[700, 1900, 300], said);
    group(&journal, 10, &[400, 30_000, 500, 600], said);
    if let Ok(entry) = alone {
        journal.settle(&delivered(entry.id, &[0]))?;
    }
    let second = said.last_mut().unwrap();
    if second.accepted {
        let back: Vec<Outcome> = second.ids.iter().map(|id| outcome(*id, &[0], Status::Removed)).collect();
        second.asked = true;
        journal.settle_together(&back)?;
        second.back = true;
    }
    group(&journal, 20, &[900, 900], said);
    let third = said.last_mut().unwrap();
    if third.accepted {
        third.maybe.push(third.ids[1]);
        journal.settle(&delivered(third.ids[1], &[0]))?;
    }
    put(&journal, 1, &text(7, 30_000)).map(|entry| journal.settle(&delivered(entry.id, &[0])))??;
    group(&journal, 30, &[600, 2500, 90], said);
    housekeep(&journal);
    group(&journal, 40, &[50, 60], said);
    journal.close();
    drop(journal);
    let journal = try_open(disk, 32 << 10)?;
    group(&journal, 50, &[1500, 70], said);
    housekeep(&journal);
    Ok(())
}

fn check(disk: &SimDisk, stopped: bool, said: &[Said], what: &str) {
    let journal = try_open(disk, 32 << 10).unwrap_or_else(|error| panic!("{what}: {error}"));
    for again in 0..2 {
        let found = waiting(&journal);
        for said in said {
            let there: Vec<SpoolId> = said.ids.iter().copied().filter(|id| found.contains_key(id)).collect();
            for (id, text) in said.ids.iter().zip(&said.texts) {
                assert!(found.get(id).is_none_or(|(_, found)| found == text), "{what} {again}: {id} was altered");
            }
            let missing = said.ids.iter().filter(|id| !there.contains(id) && !said.maybe.contains(id)).count();
            let must = said.ids.len() - said.maybe.len();
            let fine = match (said.accepted, said.back, said.asked) {
                (_, true, _) => there.is_empty(),
                (true, false, false) => missing == 0,
                (false, ..) if said.refused && !stopped => there.is_empty(),
                _ => missing == 0 || (missing == must && there.is_empty()),
            };
            assert!(fine, "{what} {again}: {} of {} are there", there.len(), said.ids.len());
        }
        (0..70).for_each(|_| journal.housekeep());
    }
}

fn operations() -> u64 {
    let disk = SimDisk::default();
    let mut said = Vec::new();
    scenario(&disk, &mut said).unwrap();
    assert!(said.iter().all(|said| said.accepted) && said.iter().any(|said| said.back));
    check(&disk, false, &said, "whole");
    // Of the second, which was taken back, no file is left; and its members' records are in the logs as one line.
    assert!(!names(&disk).iter().any(|name| name.ends_with(".msg")), "{:?}", names(&disk));
    disk.operations()
}

#[test]
fn a_stop_leaves_all_of_a_group_or_nothing() {
    for stop in 1..=operations() {
        let disk = SimDisk::default();
        disk.stop_at(stop);
        let mut said = Vec::new();
        let _ = scenario(&disk, &mut said);
        check(&disk.after_kill(), true, &said, &format!("killed at {stop}"));
        for seed in 0..12 {
            let cut = disk.after_power_cut(seed + 100 * stop);
            check(&cut, true, &said, &format!("cut at {stop} seed {seed}"));
            check(&cut.after_power_cut(1), true, &said, &format!("cut at {stop} seed {seed}, and again"));
        }
    }
}

#[test]
fn a_failure_leaves_all_of_a_group_or_nothing() {
    for at in 1..=operations() {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let disk = SimDisk::default();
            disk.fail_at(at, kind);
            let mut said = Vec::new();
            let _ = scenario(&disk, &mut said);
            check(&disk.after_kill(), false, &said, &format!("{kind} at {at}"));
            check(&disk.after_power_cut(at), false, &said, &format!("{kind} at {at}, then cut"));
        }
    }
}

/// Each byte of a group is flipped in turn: it is void as a whole, and what stands around it is not.
#[test]
fn a_group_with_a_damaged_member_is_void() {
    let disk = SimDisk::default();
    let journal = open(&disk);
    let before = put(&journal, 1, b"before").unwrap().id;
    let mut said = Vec::new();
    group(&journal, 1, &[200, 300, 100], &mut said);
    let after = put(&journal, 1, b"after").unwrap().id;
    let place = |id| journal::lock(&journal.table).entries[&id].place.offset;
    let (from, to) = (place(said[0].ids[0]), place(after));
    drop(journal);
    let path = PathBuf::from(DIR).join("00000001.mbox");
    for at in (from..to - 1).step_by(7) {
        use crate::sys::{Disk, Open};
        let copy = disk.after_kill();
        let file = copy.open(&path, Open::Write).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_at(&[io::IoSlice::new(&[byte[0] ^ 0x10])], at).unwrap();
        drop(file);
        let found: Vec<SpoolId> = waiting(&open(&copy)).into_keys().collect();
        assert_eq!(found, [before, after], "byte {at}");
    }
}

/// A message for two, one of whom a group takes the place of.
fn replaced(disk: &SimDisk, said: &mut Vec<Said>) -> Result<SpoolId, SpoolError> {
    let journal = try_open(disk, 32 << 10)?;
    let id = put(&journal, 2, b"list and bob")?.id;
    let drafts: Vec<Draft> = [400, 30_000, 500]
        .into_iter()
        .map(|length| {
            let mut draft = journal.begin(envelope(3))?;
            draft.keep_at_most(20_000);
            draft.write_all(&text(length, length as usize))?;
            Ok(draft)
        })
        .collect::<Result<_, SpoolError>>()?;
    let ids = drafts.iter().map(Draft::id).collect();
    let accepted = Draft::commit_all(drafts, &delivered(id, &[0])).is_ok();
    said.push(Said { ids, texts: vec![], accepted, refused: false, asked: false, back: false, maybe: vec![] });
    housekeep(&journal);
    Ok(id)
}

#[test]
fn a_group_and_what_it_settles_are_one() {
    let whole = SimDisk::default();
    replaced(&whole, &mut Vec::new()).unwrap();
    for stop in 1..=whole.operations() {
        let disk = SimDisk::default();
        disk.stop_at(stop);
        let mut said = Vec::new();
        let _ = replaced(&disk, &mut said);
        for (disk, what) in
            [(disk.after_kill(), "killed"), (disk.after_power_cut(stop), "cut"), (disk.after_power_cut(7), "cut again")]
        {
            let found = waiting(&open(&disk));
            let old: Vec<&Vec<u32>> = found.values().filter(|(_, text)| text == b"list and bob\n").map(|(who, _)| who).collect();
            let new = found.len() - old.len();
            let fine = match old.as_slice() {
                [] => new == 0 && said.is_empty(),
                [who] if **who == [0, 1] => new == 0 && !said.iter().any(|said| said.accepted),
                [who] => **who == [1] && new == 3,
                _ => false,
            };
            assert!(fine, "{what} at {stop}: {old:?} and {new} new");
        }
    }
}
