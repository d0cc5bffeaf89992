//! Stops the machine at every operation, and looks at what a restart makes of it.

use super::*;
use crate::mailbox::scan::Kind;
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
}

const LAST: u64 = 6;

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

fn account() -> Account {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    Account { name: "alice".into(), uid, gid, home: None }
}

/// Small and over a few sectors.
fn mail(n: u64) -> Mail {
    let body: String = (0..n * n * 4).map(|line| format!("line {line} of message {n}, over and over\n")).collect();
    Mail::new(n, format!("Subject: message {n}\n\n{body}").as_bytes())
}

fn sent(n: u64) -> Vec<u8> {
    let Message::Memory(bytes) = mail(n).message else { panic!() };
    String::from_utf8_lossy(&bytes).replace('\n', "\r\n").into_bytes()
}

/// A restart: recover what is not settled, deliver what is missing; then every message is there once, or rightly gone.
fn restart(disk: SimDisk, ledger: Arc<TestLedger>, known: &Known, case: &str) {
    let world = World::at(Arc::new(disk), Path::new("/w"), ledger);
    let inbox = world.store.inbox(&account()).unwrap();
    let unsettled: Vec<Mail> = (1..=LAST).filter(|n| !world.settled(*n)).map(mail).collect();
    let copies: Vec<Copy<'_>> = unsettled.iter().map(Mail::copy).collect();
    let there = inbox.recover(&copies).unwrap_or_else(|error| panic!("{case}: {error}"));
    for (copy, there) in copies.iter().zip(there) {
        if !there {
            inbox.deliver(copy).unwrap_or_else(|error| panic!("{case}: {error}"));
        }
    }
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
            if view.uid_validity() == known.validity {
                let before = known.shown.get(&summary.uid.0);
                assert!(before.is_none_or(|before| *before == n), "{case} {when}: uid {} was {before:?}, is {n}", summary.uid.0);
            }
        }
        for n in 1..=LAST {
            let has = count.get(&n).copied().unwrap_or(0);
            let fine = match (known.removed.contains(&n), known.asked.contains(&n)) {
                (true, _) => has == 0,
                (false, true) => has <= 1,
                (false, false) => has == 1,
            };
            assert!(fine, "{case} {when}: message {n} is there {has} times");
        }
    };
    check("at once");
    world.store.checkpoint();
    assert!((1..=LAST).all(|n| world.settled(n)), "{case}");
    check("after a checkpoint");
    // Nothing odd is left in the file.
    let scan = scanning::scan_in_pieces(&world.file("alice"), 1 << 20);
    let live = scan.messages.iter().filter(|m| m.kind == Kind::Alive).count();
    assert_eq!(live, inbox.view().unwrap().messages().unwrap().len(), "{case}");
}

#[test]
fn a_stop_at_any_operation_loses_and_doubles_nothing() {
    let total = {
        let disk = SimDisk::default();
        let world = World::sim(&disk);
        life(&world, &mut Known::default()).unwrap();
        disk.operations()
    };
    assert!(total > 20);
    for stop in 1..=total + 1 {
        let disk = SimDisk::default();
        let world = World::sim(&disk);
        let mut known = Known::default();
        disk.stop_at(stop);
        let _ = life(&world, &mut known);
        // What was settled before the stop is not in the journal any more.
        let ledger = || Arc::new(TestLedger { settled: Mutex::new(world.ledger.settled.lock().unwrap().clone()) });
        restart(disk.after_kill(), ledger(), &known, &format!("kill at {stop}"));
        for seed in 0..5 {
            restart(disk.after_power_cut(seed), ledger(), &known, &format!("power cut at {stop}, seed {seed}"));
        }
    }
}

#[test]
fn a_failure_of_any_operation_loses_and_doubles_nothing() {
    let total = {
        let disk = SimDisk::default();
        life(&World::sim(&disk), &mut Known::default()).unwrap();
        disk.operations()
    };
    for fail in 1..=total {
        let disk = SimDisk::default();
        let world = World::sim(&disk);
        let mut known = Known::default();
        disk.fail_at(fail, io::ErrorKind::StorageFull);
        let _ = life(&world, &mut known);
        let ledger = || Arc::new(TestLedger { settled: Mutex::new(world.ledger.settled.lock().unwrap().clone()) });
        for seed in 0..3 {
            restart(disk.after_power_cut(seed), ledger(), &known, &format!("failure at {fail}, seed {seed}"));
        }
    }
}
