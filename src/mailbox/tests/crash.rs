//! Stops the machine at every operation, and looks at what a restart makes of it.

use super::*;
use crate::mailbox::compact::{Reason, Step};
use crate::mailbox::scan::Kind;
use crate::mailbox::{Change, Flags, Marks};
use std::collections::BTreeMap;

/// What the outer world knows when the machine stops.
#[derive(Default)]
struct Known {
    /// Shown to a client, by UID.
    shown: BTreeMap<u32, u64>,
    /// The UIDVALIDITY under which.
    validity: u32,
    /// Removal was confirmed.
    removed: HashSet<u64>,
    /// Removal was asked for.
    asked: HashSet<u64>,
    /// Marked as seen, durably.
    seen: HashSet<u64>,
}

const LAST: u64 = 6;
/// Messages from this one on are big, and so is every third of them a file of its own in the journal.
const BIG: u64 = 11;

type Life = fn(&World, &mut Known) -> Result<(), MailboxError>;

/// A life of the daemon. Every message is in the journal before; delivery is tried for all. Errors are the machine's stop.
fn life(world: &World, known: &mut Known) -> Result<(), MailboxError> {
    let inbox = world.store.inbox(&account())?;
    for n in 1..=3 {
        inbox.deliver(&mail(n).copy())?;
    }
    world.store.checkpoint();
    for n in 4..=LAST {
        inbox.deliver(&mail(n).copy())?;
        if n == 5 {
            let view = inbox.view()?;
            known.validity = view.uid_validity();
            for message in view.messages().unwrap() {
                let mut bytes = Vec::new();
                view.read(message.uid)?.read_to_end(&mut bytes).map_err(MailboxError::Io)?;
                known.shown.insert(message.uid.0, number(&bytes));
            }
            known.asked.extend([2, 5]);
            inbox.expunge(&[Uid(2), Uid(5)])?;
            known.removed.extend([2, 5]);
        }
    }
    world.store.checkpoint();
    Ok(())
}

/// Big messages; they are removed in turn, and when nobody is left the file is emptied and begun anew.
fn big_life(world: &World, known: &mut Known) -> Result<(), MailboxError> {
    let inbox = world.store.inbox(&account())?;
    for (n, uid) in [(BIG, 1), (BIG + 1, 2)] {
        inbox.deliver(&mail(n).copy())?;
        world.store.checkpoint();
        known.asked.insert(n);
        inbox.expunge(&[Uid(uid)])?;
        known.removed.insert(n);
    }
    // Everybody is dead: emptied by the first, noted by the second.
    world.store.checkpoint();
    world.store.checkpoint();
    for n in BIG + 2..=BIG + 4 {
        inbox.deliver(&mail(n).copy())?;
    }
    world.store.checkpoint();
    Ok(())
}

/// Much is removed, and the rest moves down in small steps; between these, mail comes, a flag is set, another goes.
fn compacting_life(world: &World, known: &mut Known) -> Result<(), MailboxError> {
    let inbox = world.store.inbox(&account())?;
    for n in 1..=MOVING - 1 {
        inbox.deliver(&mail(n).copy())?;
    }
    make_durable(world, &inbox);
    let view = inbox.view()?;
    known.validity = view.uid_validity();
    known.shown.extend((1..MOVING).map(|n| (n as u32, n)));
    remove(&inbox, known, &[1, 3, 4])?;
    make_durable(world, &inbox);
    let seen = Marks { flags: Flags::SEEN, keywords: 0 };
    inbox.mark(&[Uid(2)], Change::Add, seen, None)?;
    make_durable(world, &inbox);
    known.seen.extend([2].iter().filter(|_| inbox.inner().is_settled()));
    let step = |most| inbox.compact_step(&mut inbox.inner(), most, Reason::Idle);
    step(1)?;
    inbox.mark(&[Uid(5)], Change::Add, seen, None)?;
    make_durable(world, &inbox);
    known.seen.extend([5].iter().filter(|_| inbox.inner().is_settled()));
    step(1)?;
    inbox.deliver(&mail(MOVING).copy())?;
    // Nothing moves before that is durable.
    step(1)?;
    make_durable(world, &inbox);
    remove(&inbox, known, &[6])?;
    make_durable(world, &inbox);
    while let Step::Moved(_) | Step::Cut(_) = step(3_000)? {}
    world.store.checkpoint();
    Ok(())
}

const MOVING: u64 = 8;

fn remove(inbox: &Arc<Mailbox>, known: &mut Known, gone: &[u64]) -> Result<(), MailboxError> {
    known.asked.extend(gone);
    inbox.expunge(&gone.iter().map(|n| Uid(*n as u32)).collect::<Vec<_>>())?;
    known.removed.extend(gone);
    Ok(())
}

/// A checkpoint without compaction.
fn make_durable(world: &World, inbox: &Arc<Mailbox>) {
    let copies = inbox.make_durable();
    let outcomes: Vec<Outcome> = copies.iter().map(|copy| inbox.outcome(copy)).collect();
    world.ledger.settle(&outcomes).unwrap();
    inbox.settled(copies, true);
}

fn account() -> Account {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    Account { name: "alice".into(), uid, gid, home: None }
}

/// Small and over a few sectors; or big.
fn mail(n: u64) -> Mail {
    let bytes = content(n);
    let mut mail = Mail::new(n, &bytes);
    if n >= BIG && n.is_multiple_of(3) {
        let disk = SimDisk::default();
        disk.make_dir(Path::new("/spool"), 0o700).unwrap();
        let file = disk.open(Path::new("/spool/msg"), Open::Create(0o600)).unwrap();
        file.write_at(&[io::IoSlice::new(&bytes)], 0).unwrap();
        mail.message = Message::File { file, offset: 0, length: bytes.len() as u64 };
    }
    mail
}

fn content(n: u64) -> Vec<u8> {
    let lines = if n < BIG { n * n * 4 } else { 2000 + (n - BIG) * 1700 };
    let body: String = (0..lines).map(|line| format!("line {line} of message {n}, over and over\n")).collect();
    format!("Subject: message {n}\n\n{body}").into_bytes()
}

fn sent(n: u64) -> Vec<u8> {
    String::from_utf8_lossy(&content(n)).replace('\n', "\r\n").into_bytes()
}

/// The daemon starts again: what is not settled is looked for, and what is missing is delivered.
fn start(world: &World, all: &[u64]) -> Result<Arc<Mailbox>, MailboxError> {
    let inbox = world.store.inbox(&account())?;
    let unsettled: Vec<Mail> = all.iter().filter(|n| !world.settled(**n)).map(|n| mail(*n)).collect();
    let copies: Vec<Copy<'_>> = unsettled.iter().map(Mail::copy).collect();
    let there = inbox.recover(&copies)?;
    for (copy, there) in copies.iter().zip(there) {
        if !there {
            inbox.deliver(copy)?;
        }
    }
    Ok(inbox)
}

/// A restart after which every message is there once, or rightly gone.
fn restart(disk: SimDisk, ledger: Arc<TestLedger>, known: &Known, all: &[u64], case: &str) {
    let world = World::at(Arc::new(disk), Path::new("/w"), ledger);
    let inbox = start(&world, all).unwrap_or_else(|error| panic!("{case}: {error}"));
    let check = |when: &str| {
        let view = inbox.view().unwrap();
        let mut count: BTreeMap<u64, usize> = BTreeMap::new();
        for summary in view.messages().unwrap() {
            let bytes = read(&view, &summary);
            let n = number(&bytes);
            assert!(
                bytes.ends_with(&sent(n)),
                "{case} {when}: message {n} is altered, {} bytes for {}: {:?}",
                bytes.len(),
                sent(n).len(),
                String::from_utf8_lossy(&bytes[..400.min(bytes.len())])
            );
            *count.entry(n).or_default() += 1;
            assert!(!known.seen.contains(&n) || summary.marks.flags.has(Flags::SEEN), "{case} {when}: message {n} lost its flag");
            if view.uid_validity() == known.validity {
                let before = known.shown.get(&summary.uid.0);
                assert!(before.is_none_or(|before| *before == n), "{case} {when}: uid {} was {before:?}, is {n}", summary.uid.0);
            }
        }
        for n in all {
            let has = count.get(n).copied().unwrap_or(0);
            let fine = match (known.removed.contains(n), known.asked.contains(n)) {
                (true, _) => has == 0,
                (false, true) => has <= 1,
                (false, false) => has == 1,
            };
            assert!(fine, "{case} {when}: message {n} is there {has} times");
        }
        // Nothing odd is in the file.
        let scan = scanning::scan_in_pieces(&world.file("alice"), 64 << 10);
        let live = scan.messages.iter().filter(|m| m.kind == Kind::Alive).count();
        assert_eq!(live, view.messages().unwrap().len(), "{case} {when}");
    };
    check("at once");
    world.store.checkpoint();
    assert!(all.iter().all(|n| world.settled(*n)), "{case}");
    check("after a checkpoint");
}

/// A life that the machine's end may interrupt.
struct Case {
    life: Life,
    all: Vec<u64>,
    disk: SimDisk,
    ledger: Arc<TestLedger>,
    known: Known,
}

impl Case {
    fn new(life: Life, all: impl Iterator<Item = u64>) -> Case {
        Case { life, all: all.collect(), disk: SimDisk::default(), ledger: Arc::default(), known: Known::default() }
    }

    fn small() -> Case {
        Case::new(life, 1..=LAST)
    }

    fn big() -> Case {
        Case::new(big_life, BIG..=BIG + 4)
    }

    fn compacting() -> Case {
        Case::new(compacting_life, 1..=MOVING)
    }

    fn run(&mut self) -> Result<(), MailboxError> {
        let world = World::at(Arc::new(self.disk.clone()), Path::new("/w"), self.ledger.clone());
        (self.life)(&world, &mut self.known)
    }

    /// Operations of an undisturbed life.
    fn total(mut self) -> u64 {
        self.run().unwrap();
        assert!(self.disk.operations() > 20);
        self.disk.operations()
    }

    /// A restart on what is left of the disk; what was settled is not in the journal any more.
    fn restart(&self, disk: SimDisk, case: &str) {
        restart(disk, self.ledger.again(), &self.known, &self.all, case);
    }
}

fn stop_everywhere(case: fn() -> Case, seeds: u64) {
    for stop in 1..=case().total() + 1 {
        let mut case = case();
        case.disk.stop_at(stop);
        let _ = case.run();
        case.restart(case.disk.after_kill(), &format!("kill at {stop}"));
        for seed in 0..seeds {
            case.restart(case.disk.after_power_cut(seed), &format!("power cut at {stop}, seed {seed}"));
        }
    }
}

fn fail_everywhere(case: fn() -> Case, seeds: u64) {
    for fail in 1..=case().total() {
        let mut case = case();
        case.disk.fail_at(fail, io::ErrorKind::StorageFull);
        let _ = case.run();
        for seed in 0..seeds {
            case.restart(case.disk.after_power_cut(seed), &format!("failure at {fail}, seed {seed}"));
        }
    }
}

/// The power fails, and again at every operation of the recovery.
fn cut_twice(case: fn() -> Case, step: usize, seeds: u64) {
    for stop in (1..=case().total()).step_by(step) {
        (0..seeds).for_each(|seed| cut_again(case, stop, seed));
    }
}

/// The machine stops there (seed 0: it is the process only), and the power fails at every operation of the recovery.
fn cut_again(case: fn() -> Case, stop: u64, seed: u64) {
    for again in 1.. {
        let mut first = case();
        first.disk.stop_at(stop);
        let _ = first.run();
        let disk = if seed == 0 { first.disk.after_kill() } else { first.disk.after_power_cut(seed) };
        let second = Case { disk, ledger: first.ledger.again(), ..first };
        second.disk.stop_at(again);
        let world = World::at(Arc::new(second.disk.clone()), Path::new("/w"), second.ledger.clone());
        if start(&world, &second.all).is_ok() {
            world.store.checkpoint();
        }
        drop(world);
        let over = second.disk.operations() < again;
        let what = format!("cut at {stop} and at {again}, seed {seed}");
        second.restart(second.disk.after_power_cut(seed + again), &what);
        if over {
            break;
        }
    }
}

#[test]
fn a_stop_at_any_operation_loses_and_doubles_nothing() {
    stop_everywhere(Case::small, 5);
}

#[test]
fn a_stop_among_big_messages_and_at_emptying_loses_nothing() {
    stop_everywhere(Case::big, 2);
}

#[test]
fn a_failure_of_any_operation_loses_and_doubles_nothing() {
    fail_everywhere(Case::small, 3);
}

#[test]
fn a_failure_among_big_messages_loses_nothing() {
    fail_everywhere(Case::big, 1);
}

#[test]
fn a_stop_within_recovery_loses_and_doubles_nothing() {
    cut_twice(Case::small, 5, 2);
}

/// The disk lost the first message, and the end of the second. What is written over the NULs must not be taken for the beginning
/// of a message before all of it is there.
#[test]
fn a_stop_while_nuls_become_a_dead_message_shows_nothing_torn() {
    let first = Case::new(|_, _| Ok(()), 1..=2);
    let world = World::at(Arc::new(first.disk.clone()), Path::new("/w"), first.ledger.clone());
    for n in &first.all {
        world.inbox("alice").deliver(&mail(*n).copy()).unwrap();
    }
    let bytes = world.file("alice");
    let second = bytes.windows(7).rposition(|seven| seven == b"\n\nFrom ").unwrap() + 2;
    let file = first.disk.open(Path::new("/w/mail/alice"), Open::Write).unwrap();
    file.write_at(&[io::IoSlice::new(&vec![0; second])], 0).unwrap();
    file.set_len(second as u64 + 400).unwrap();
    file.sync().unwrap();
    drop(world);
    for seed in 1..12 {
        for again in 1.. {
            let disk = first.disk.after_power_cut(seed);
            disk.stop_at(again);
            let world = World::at(Arc::new(disk.clone()), Path::new("/w"), first.ledger.again());
            let _ = start(&world, &first.all);
            drop(world);
            first.restart(disk.after_kill(), &format!("stop at {again}, seed {seed}"));
            first.restart(disk.after_power_cut(seed), &format!("power cut at {again}, seed {seed}"));
            if disk.operations() < again {
                break;
            }
        }
    }
}

#[test]
fn a_stop_within_compaction_loses_and_doubles_nothing() {
    stop_everywhere(Case::compacting, 3);
}

#[test]
fn a_failure_within_compaction_loses_and_doubles_nothing() {
    fail_everywhere(Case::compacting, 2);
}

#[test]
#[ignore = "takes minutes; a part of it runs always"]
fn stops_at_length() {
    stop_everywhere(Case::small, 60);
    stop_everywhere(Case::big, 30);
    fail_everywhere(Case::big, 10);
    cut_twice(Case::small, 1, 4);
    cut_twice(Case::big, 3, 3);
    stop_everywhere(Case::compacting, 30);
    cut_twice(Case::compacting, 1, 2);
}

/// Where the disk lost what stands before a message, nothing tells that one begins there.
#[test]
fn a_whole_copy_behind_lost_sectors_is_not_delivered_again() {
    let dir = tempfile::tempdir().unwrap();
    let mails = [1, 2, 3].map(small);
    let world = World::real(dir.path());
    world.inbox("alice").deliver(&mails[0].copy()).unwrap();
    world.store.checkpoint();
    let start = world.file("alice").len();
    mails[1..].iter().for_each(|mail| drop(world.inbox("alice").deliver(&mail.copy())));
    world.inbox("alice").expunge(&[Uid(2)]).unwrap();
    let mut bytes = world.file("alice");
    let third = start + bytes[start..].windows(7).rposition(|seven| seven == b"\n\nFrom ").unwrap() + 2;
    bytes[start..third].fill(0);
    world.write("alice", &bytes);
    let world = World::real(dir.path());
    assert_eq!(world.inbox("alice").recover(&[mails[1].copy(), mails[2].copy()]).unwrap(), [true, true]);
    let seen: Vec<u64> = world.seen("alice").iter().map(|(_, wire)| number(wire)).collect();
    assert_eq!(seen, [1, 3]);
}

/// Another program puts a new file in the place of ours, which has the inode of ours, as file systems give it again at once.
#[test]
fn a_new_file_with_the_inode_of_the_one_before_gets_a_durable_name() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let (inbox, path) = (world.inbox("alice"), Path::new("/w/mail/alice"));
    inbox.deliver(&small(1).copy()).unwrap();
    world.store.checkpoint();
    let before = disk.stat(path).unwrap();
    strangers::replace(&disk, &world.file("alice"));
    disk.pose_as(path, &before);
    inbox.deliver(&small(2).copy()).unwrap();
    world.store.checkpoint();
    assert!(world.settled(2));
    for seed in 0..20 {
        let after = World::sim(&disk.after_power_cut(seed));
        let there: Vec<u64> = after.seen("alice").iter().map(|(_, wire)| number(wire)).collect();
        assert_eq!(there, [1, 2], "seed {seed}");
    }
}
