//! Compaction against a model, among other programs, and after they rewrote what a crash had left.

use super::redo::Found;
use super::*;
use crate::mailbox::tests::scanning::scan_in_pieces;
use crate::mailbox::tests::{Mail, World, number, small};
use crate::mailbox::{Change, Flags, Marks, Uid};
use crate::sys::Disk;
use crate::sys::sim::SimDisk;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

const ALICE: &str = "alice";

/// A message, dead or alive.
fn record(n: usize, alive: bool, size: usize) -> Vec<u8> {
    let from = format!("From a{} Sat Nov  1 12:26:40 2025\n", "b".repeat(n % 7));
    if alive {
        return format!("{from}Subject: message {n}\n\n{}\n\n", "x".repeat(size)).into_bytes();
    }
    let dead = mbox::dead(31 + size as u64, None).unwrap();
    [from.as_bytes(), &dead.header, &vec![0; (dead.nuls.end - dead.nuls.start) as usize], dead.end].concat()
}

/// What a step makes of a file.
fn moved(bytes: &[u8], step: &Move) -> Vec<u8> {
    let dead = |length: u64| -> Vec<u8> {
        let base = Some(Base { validity: 7, last: 9 }).filter(|_| step.keep == length);
        let parts = if length == 0 { Vec::new() } else { filler(length, base).unwrap() };
        parts
            .iter()
            .flat_map(|part| if let Part::Bytes(bytes) = part { bytes.clone() } else { vec![0; part.len() as usize] })
            .collect()
    };
    let range = |from: u64, to: u64| &bytes[from as usize..to as usize];
    let mut out = range(0, step.window.start).to_vec();
    out.extend(dead(step.keep));
    step.alive.iter().for_each(|s| out.extend(range(s.offset, s.offset + s.length)));
    out.extend(dead(step.gap().end - step.gap().start));
    out.extend(range(step.window.end, bytes.len() as u64));
    out
}

fn known(bytes: &[u8]) -> Vec<Stretch> {
    let kind = |kind| if kind == scan::Kind::Dead { Kind::Dead } else { Kind::Alive };
    let messages = scan_in_pieces(bytes, 1 << 20).messages;
    messages.iter().map(|m| Stretch { kind: kind(m.kind), offset: m.offset, length: m.length }).collect()
}

fn alive(bytes: &[u8]) -> Vec<Vec<u8>> {
    let alive = known(bytes).into_iter().filter(|stretch| stretch.kind == Kind::Alive);
    alive.map(|s| bytes[s.offset as usize..(s.offset + s.length) as usize].to_vec()).collect()
}

proptest! {
    #[test]
    fn every_step_leaves_a_mailbox_with_the_same_messages(
        parts in proptest::collection::vec((any::<bool>(), 0usize..300), 1..20),
        most in 1u64..600,
        front in prop_oneof![Just(0), Just(FRONT)],
    ) {
        let mut file: Vec<u8> = parts.iter().enumerate().flat_map(|(n, (alive, size))| record(n, *alive, *size)).collect();
        let before = alive(&file);
        let mut sum = u64::MAX;
        loop {
            match plan(&known(&file), Limits { most, dead: SMALLEST, front }) {
                Next::Move(step) => {
                    prop_assert!(step.alive.len() == 1 || step.bytes() <= most);
                    let size = file.len();
                    file = moved(&file, &step);
                    prop_assert_eq!(file.len(), size);
                }
                Next::Cut(size) => file.truncate(size as usize),
                Next::Nothing => break,
                Next::Look(_) => prop_assert!(false, "all is known"),
            }
            prop_assert_eq!(&alive(&file), &before);
            // It comes to an end.
            let now = known(&file).iter().filter(|s| s.kind == Kind::Alive).map(|s| s.offset).sum::<u64>() + file.len() as u64;
            prop_assert!(now < sum);
            sum = now;
        }
        // Of the dead are left: the front that is needed, and gaps too small to be filled by anybody.
        let runs = known(&file);
        let runs: Vec<&[Stretch]> = runs.chunk_by(|one, other| one.kind == other.kind).filter(|run| run[0].kind == Kind::Dead).collect();
        for run in runs.iter().filter(|_| !before.is_empty()) {
            let length: u64 = run.iter().map(|stretch| stretch.length).sum();
            let kept = if run[0].offset == 0 { front } else { 0 };
            prop_assert!(length < SMALLEST + kept);
        }
    }
}

fn filled(world: &World, count: u64) -> Arc<Mailbox> {
    let inbox = world.inbox(ALICE);
    for n in 1..=count {
        inbox.deliver(&small(n).copy()).unwrap();
    }
    durable(&inbox);
    inbox
}

fn durable(inbox: &Mailbox) {
    let copies = inbox.make_durable();
    inbox.settled(copies, true);
}

fn expunge(inbox: &Mailbox, uids: impl IntoIterator<Item = u32>) {
    inbox.expunge(&uids.into_iter().map(Uid).collect::<Vec<_>>()).unwrap();
    durable(inbox);
}

fn step(inbox: &Mailbox, most: u64) -> Step {
    inbox.compact_step(&mut inbox.inner(), most, Reason::Command).unwrap()
}

fn numbers(world: &World) -> Vec<(u32, u64)> {
    world.seen(ALICE).iter().map(|(uid, bytes)| (*uid, number(bytes))).collect()
}

#[test]
fn a_session_reads_on_and_the_base_line_moves_along() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = filled(&world, 20);
    let view = inbox.view().unwrap();
    inbox.mark(&[Uid(5)], Change::Add, Marks { flags: Flags::FLAGGED, keywords: 0 }, None).unwrap();
    expunge(&inbox, (1..=20).filter(|uid| uid % 5 != 0));
    let all = [(5, 5), (10, 10), (15, 15), (20, 20)];
    let mut steps = 0;
    loop {
        let one = step(&inbox, 1);
        steps += 1;
        let scan = scan_in_pieces(&world.file(ALICE), 1 << 20);
        assert_eq!(scan.base.map(|(base, _)| base.last), Some(20));
        let messages = view.messages().unwrap();
        let read: Vec<(u32, u64)> = messages
            .iter()
            .filter(|m| m.uid.0 % 5 == 0)
            .map(|m| (m.uid.0, number(&crate::mailbox::tests::read(&view, m))))
            .collect();
        assert_eq!(read, all);
        if one == Step::Done {
            break;
        }
    }
    assert_eq!(steps, 6);
    let file = world.file(ALICE);
    let scan = scan_in_pieces(&file, 1 << 20);
    assert_eq!((scan.messages.len(), scan.messages[0].filed.marks.flags.has(Flags::FLAGGED)), (4, true));
    assert_eq!(inbox.inner().dead_bytes(), 0);
    assert!(!dir.path().join("spool/state/alice/INBOX.redo").exists());
    // The table that was brought up to date is the one that a scan gives.
    let kept = inbox.inner().rows().clone();
    let again = World::real(dir.path());
    assert_eq!(numbers(&again), all);
    let fresh = again.inbox(ALICE).inner().rows().clone();
    let places =
        |table: &crate::mailbox::table::Table| table.rows.iter().map(|r| (r.uid, r.offset, r.length, r.key)).collect::<Vec<_>>();
    assert_eq!((places(&kept), kept.last), (places(&fresh), fresh.last));
}

#[test]
fn a_command_compacts_and_empties_and_others_only_where_nobody_looks() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = filled(&world, 10);
    let whole = world.file(ALICE).len() as u64;
    expunge(&inbox, 1..=9);
    // Nobody knows who had the file open before we came.
    world.store.checkpoint();
    assert_eq!(world.file(ALICE).len() as u64, whole);
    let (moved, freed) = world.store.compact(&inbox).unwrap();
    assert_eq!((moved, freed + world.file(ALICE).len() as u64), (world.file(ALICE).len() as u64, whole));
    assert_eq!(numbers(&world), [(10, 10)]);
    expunge(&inbox, [10]);
    assert!(world.store.compact(&inbox).unwrap().1 > 0);
    assert!(world.file(ALICE).is_empty());
    inbox.deliver(&small(11).copy()).unwrap();
    assert_eq!(numbers(&world), [(11, 11)]);
}

#[test]
fn what_carries_no_base_line_leaves_a_dead_message_in_front() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::real(dir.path());
    let inbox = filled(&world, 1);
    let foreign = |n: u64| format!("From x@y Sat Nov  1 12:26:40 2025\nSubject: message {n}\n\nhello\n\n");
    world.write(ALICE, &[world.file(ALICE), foreign(2).into(), foreign(3).into()].concat());
    drop(inbox.view().unwrap());
    let uids = numbers(&world);
    expunge(&inbox, [1]);
    world.store.compact(&inbox).unwrap();
    let scan = scan_in_pieces(&world.file(ALICE), 1 << 20);
    assert_eq!(scan.messages.iter().map(|m| m.kind).collect::<Vec<_>>()[..2], [scan::Kind::Dead, scan::Kind::Alive]);
    assert_eq!((scan.messages[0].length, scan.base.is_some()), (FRONT, true));
    assert_eq!(numbers(&world), uids[1..]);
}

/// Stops in the middle of a step, with some of it done.
fn half_moved(at: u64) -> (SimDisk, Vec<(u32, u64)>) {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = filled(&world, 9);
    expunge(&inbox, [1, 4, 5]);
    disk.stop_at(disk.operations() + at);
    let _ = inbox.compact_step(&mut inbox.inner(), STEP, Reason::Command);
    (disk.after_kill(), [2, 3, 6, 7, 8, 9].map(|n| (n, u64::from(n))).to_vec())
}

fn rewrite(disk: &SimDisk, bytes: &[u8]) {
    let file = Disk::open(disk, Path::new("/w/mail/alice"), Open::Write).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
}

#[test]
fn after_a_crash_another_program_is_faster_and_nothing_is_lost() {
    let mut open = 0;
    for at in 1..40 {
        for act in 0..4 {
            let (disk, all) = half_moved(at);
            let before = {
                let world = World::sim(&disk);
                world.file(ALICE)
            };
            let redo = Disk::open(&disk, Path::new("/w/spool/state/alice/INBOX.redo"), Open::Read);
            let is_open = redo.is_ok_and(|redo| matches!(Redo::read(&*redo), Ok(Found::Open(_))));
            open += usize::from(is_open);
            let from = b"From x@y Sat Nov  1 12:26:40 2025\nSubject: message 77\n\nnew\n\n";
            let mut expected = all.clone();
            match act {
                // Appended to.
                0 => {
                    rewrite(&disk, &[before.as_slice(), from].concat());
                    expected.push((0, 77));
                }
                // `: > mailbox`; where nothing was under way, it counts.
                1 => {
                    rewrite(&disk, b"");
                    if !is_open {
                        expected.clear();
                    }
                }
                // All written anew, with a message in front, as far as they were whole.
                2 => {
                    rewrite(&disk, &[from.as_slice(), &before].concat());
                    expected.push((0, 77));
                }
                _ => {}
            }
            let world = World::sim(&disk);
            let mut found = numbers(&world);
            found.iter_mut().filter(|(_, n)| *n == 77).for_each(|(uid, _)| *uid = 0);
            for what in &expected {
                let times = found.iter().filter(|found| *found == what).count();
                assert_eq!(times, 1, "at {at}, act {act}: {what:?} of {found:?}");
            }
            assert!(!world.inbox(ALICE).has_open_step().unwrap(), "at {at}, act {act}");
        }
    }
    assert!(open > 8, "{open}");
}

/// The disk after a kill at an operation of the checkpoint that empties a mailbox.
fn half_emptied(at: u64) -> SimDisk {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let inbox = world.inbox(ALICE);
    for n in 1..=2 {
        let text = format!("Subject: message {n}\n\n{}", format!("line of {n}\n").repeat(700));
        inbox.deliver(&Mail::new(n, text.as_bytes()).copy()).unwrap();
    }
    durable(&inbox);
    inbox.expunge(&[Uid(1), Uid(2)]).unwrap();
    disk.stop_at(disk.operations() + at);
    world.store.checkpoint();
    disk.after_kill()
}

/// The daemon is killed while it empties a mailbox; the next one delivers, and the power fails.
#[test]
fn what_was_in_an_emptied_mailbox_does_not_come_back_under_new_mail() {
    let new = small(3);
    let start = |inbox: &Mailbox| {
        let there = inbox.recover(&[new.copy()])?;
        if there == [false] { inbox.deliver(&new.copy()).map(drop) } else { Ok(()) }
    };
    let mut emptied = 0;
    for at in (1..20).filter(|at| World::sim(&half_emptied(*at)).file(ALICE).is_empty()).take(3) {
        emptied += 1;
        for (seed, again) in (0..12).flat_map(|seed| (1..24).map(move |again| (seed, again))) {
            let disk = half_emptied(at);
            let world = World::sim(&disk);
            let inbox = world.inbox(ALICE);
            disk.stop_at(disk.operations() + again);
            if start(&inbox).is_ok() {
                world.store.checkpoint();
            }
            let world = World::sim(&disk.after_power_cut(seed));
            start(&world.inbox(ALICE)).unwrap();
            let read: Vec<u64> = numbers(&world).iter().map(|(_, n)| *n).collect();
            assert_eq!(read, [3], "stops at {at} and {again}, seed {seed}");
        }
    }
    assert_eq!(emptied, 3);
}

#[test]
#[ignore = "a measurement, not a test"]
fn cost() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let world = World::real(dir.path());
    let inbox = world.inbox(ALICE);
    let body = "x".repeat(70) + "\n";
    for n in 1..=10_000 {
        let text = format!("Subject: message {n}\n\n{}", body.repeat(300));
        inbox.deliver(&Mail::new(n, text.as_bytes()).copy()).unwrap();
    }
    durable(&inbox);
    drop(inbox.view().unwrap());
    expunge(&inbox, (1..=10_000).step_by(10));
    let start = std::time::Instant::now();
    let mut slowest = std::time::Duration::ZERO;
    let (mut moved, mut steps) = (0, 0);
    loop {
        let begun = std::time::Instant::now();
        let one = step(&inbox, STEP);
        slowest = slowest.max(begun.elapsed());
        match one {
            Step::Moved(bytes) => (moved, steps) = (moved + bytes, steps + 1),
            Step::Cut(_) => {}
            other => break assert_eq!(other, Step::Done),
        }
    }
    let mib = moved as f64 / f64::from(1 << 20);
    let per_second = mib / start.elapsed().as_secs_f64();
    println!("{mib:.0} MiB moved in {steps} steps, {per_second:.0} MiB/s, the slowest step {slowest:?}");
}
