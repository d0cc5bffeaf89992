//! The machine stops at every operation; the disk fails or fills up at every operation. A model keeps what the journal said,
//! and is compared with what a restart finds.

use super::*;
use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;

const SEGMENT: u64 = 16 << 10;

/// What was said about a message.
#[derive(Debug)]
struct Said {
    text: Vec<u8>,
    recipients: u32,
    /// Acknowledged; else it may be there or not.
    accepted: bool,
    settled: BTreeSet<u32>,
    maybe_settled: BTreeSet<u32>,
    /// It settles these, in the same act.
    settles: Option<(SpoolId, u32)>,
}

#[derive(Debug, Default)]
struct Model {
    said: HashMap<SpoolId, Said>,
    order: Vec<SpoolId>,
}

impl Model {
    fn put(
        &mut self,
        run: &Run,
        journal: &Arc<Journal>,
        recipients: u32,
        length: usize,
        settles: Option<(SpoolId, u32)>,
    ) -> Option<SpoolId> {
        let mut text = text(self.order.len() as u64 + 1, length);
        let mut draft = journal.begin(envelope(recipients as usize)).unwrap();
        let id = draft.id();
        if draft.write_all(&text).is_err() {
            return None;
        }
        // Every third one gets something at its front, the big one among them.
        if self.order.len() % 3 == 2 {
            let front = format!("Front: {}\nFrom x\n", self.order.len()).into_bytes();
            draft.put_before(&front);
            text.splice(0..0, front);
        }
        let said = Said {
            text: quoted(&text),
            recipients,
            accepted: false,
            settled: BTreeSet::new(),
            maybe_settled: BTreeSet::new(),
            settles,
        };
        self.said.insert(id, said);
        self.order.push(id);
        let outcomes = settles.map(|(other, recipient)| outcome(other, &[recipient], Status::Failed));
        match draft.commit(outcomes.into_iter().collect()) {
            Ok(entry) => {
                assert_eq!(bytes(&entry.message), self.said[&id].text);
                self.said.get_mut(&id).unwrap().accepted = true;
                if let Some((other, recipient)) = settles {
                    self.said.get_mut(&other).unwrap().settled.insert(recipient);
                }
                Some(id)
            }
            Err(SpoolError::Uncertain) => None,
            Err(_) if run.stopped() => None,
            // The sender was told that it was not taken.
            Err(_) => {
                self.said.remove(&id);
                None
            }
        }
    }

    fn settle(&mut self, journal: &Journal, wanted: &[(Option<SpoolId>, &[u32])]) {
        let wanted: Vec<(SpoolId, &[u32])> = wanted.iter().filter_map(|(id, recipients)| Some(((*id)?, *recipients))).collect();
        let outcomes: Vec<Outcome> = wanted.iter().flat_map(|(id, recipients)| delivered(*id, recipients)).collect();
        let result = journal.settle(&outcomes);
        for (id, recipients) in wanted {
            let said = self.said.get_mut(&id).unwrap();
            let to = if result.is_ok() { &mut said.settled } else { &mut said.maybe_settled };
            to.extend(recipients);
        }
    }

    fn check(&self, journal: &Journal, what: &str) {
        let found = waiting(journal);
        for id in found.keys() {
            assert!(self.said.contains_key(id), "{what}: {id} was made up");
        }
        for (id, said) in &self.said {
            let left: BTreeSet<u32> = found.get(id).map(|(left, _)| left.iter().copied().collect()).unwrap_or_default();
            if let Some((_, text)) = found.get(id) {
                assert!(*text == said.text, "{what}: {id} was altered");
            }
            // What comes with a record that may be there holds exactly if it is there.
            let mut settled = said.settled.clone();
            for (other, with) in &self.said {
                if let Some((of, recipient)) = with.settles {
                    if of == *id && found.contains_key(other) {
                        settled.insert(recipient);
                    }
                }
            }
            assert!(left.is_disjoint(&settled), "{what}: {id} came back: {left:?} of {said:?}");
            if said.accepted || found.contains_key(id) {
                let must: BTreeSet<u32> =
                    (0..said.recipients).filter(|r| !settled.contains(r) && !said.maybe_settled.contains(r)).collect();
                assert!(must.is_subset(&left), "{what}: {id} lost {must:?}: {left:?} of {said:?}");
            }
        }
    }
}

/// A run of the scenario on a disk.
struct Run {
    disk: SimDisk,
    stop: u64,
}

impl Run {
    fn stopped(&self) -> bool {
        self.stop > 0 && self.disk.operations() >= self.stop
    }

    fn open(&self) -> Option<Arc<Journal>> {
        try_open(&self.disk, SEGMENT).ok()
    }
}

/// Small and big messages, one recipient and several, outcomes that come alone, together, and with a record, segments that fill
/// up, are recycled, copied forward and summarised, a clean end, restarts.
fn scenario(run: &Run, model: &mut Model) -> Option<()> {
    let journal = run.open()?;
    let a = model.put(run, &journal, 3, 900, None);
    let b = model.put(run, &journal, 1, 4000, None);
    let big = model.put(run, &journal, 2, 270 << 10, None);
    model.settle(&journal, &[(a, &[0]), (big, &[1])]);
    let until = Time::from_seconds(1_800_001_000);
    a.map(|id| journal.settle(&[outcome(id, &[1], Status::Deferred { until })]));
    model.put(run, &journal, 1, 500, a.map(|id| (id, 2)));
    journal.begin(envelope(1)).unwrap().write_all(&text(5, 280 << 10)).ok();
    for round in 0..3 {
        let ids: Vec<Option<SpoolId>> = (0..4).map(|_| model.put(run, &journal, 2, 2800, None)).collect();
        journal.housekeep();
        model.settle(&journal, &[(ids[0], &[0, 1]), (ids[1], &[1])]);
        model.settle(&journal, &[(ids[1], &[0]), (ids[2], &[0, 1]), (if round == 1 { None } else { ids[3] }, &[0, 1])]);
        journal.housekeep();
        if run.stopped() {
            return None;
        }
    }
    model.settle(&journal, &[(b, &[0])]);
    housekeep(&journal);
    drop(journal);
    let journal = run.open()?;
    model.put(run, &journal, 1, 100, a.map(|id| (id, 1)));
    let c = model.put(run, &journal, 2, 6000, None);
    model.settle(&journal, &[(c, &[1])]);
    journal.close();
    drop(journal);
    let journal = run.open()?;
    let d = model.put(run, &journal, 1, 6000, None);
    housekeep(&journal);
    model.settle(&journal, &[(big, &[0]), (c, &[0]), (d, &[0])]);
    housekeep(&journal);
    Some(())
}

fn run(disk: &SimDisk, stop: u64) -> Model {
    if stop > 0 {
        disk.stop_at(stop);
    }
    let mut model = Model::default();
    scenario(&Run { disk: disk.clone(), stop }, &mut model);
    model
}

/// A restart on this disk finds what it must, and so does another one after housekeeping.
fn restart(disk: &SimDisk, model: &Model, what: &str) {
    let journal = try_open(disk, SEGMENT).unwrap_or_else(|error| panic!("{what}: {error}"));
    model.check(&journal, what);
    (0..70).for_each(|_| journal.housekeep());
    model.check(&journal, &format!("{what}, tidied up"));
    drop(journal);
    let cut = disk.after_power_cut(1);
    model.check(&try_open(&cut, SEGMENT).unwrap(), &format!("{what}, tidied up and cut"));
}

fn operations() -> u64 {
    let disk = SimDisk::default();
    run(&disk, 0);
    disk.operations()
}

#[test]
fn the_scenario_comes_by_every_act() {
    let disk = SimDisk::default();
    let model = run(&disk, 0);
    assert!(model.said.values().all(|said| said.accepted));
    let names = names(&disk);
    // Segments were begun, recycled and discarded.
    assert!(
        !names.contains(&"00000001.mbox".to_owned()) && names.iter().filter(|name| name.ends_with(".mbox")).count() <= 3,
        "{names:?}"
    );
    restart(&disk, &model, "whole");
}

/// The power fails at every operation, and for each one in so many ways.
fn cut_everywhere(ways: u64) {
    for stop in 1..=operations() {
        let disk = SimDisk::default();
        let model = run(&disk, stop);
        restart(&disk.after_kill(), &model, &format!("killed at {stop}"));
        for seed in 0..ways {
            restart(&disk.after_power_cut(seed + 1000 * stop), &model, &format!("cut at {stop} seed {seed}"));
        }
    }
}

/// The power fails, and again while the journal recovers or tidies up.
fn cut_twice(step: usize, ways: u64) {
    for stop in (1..=operations()).step_by(step) {
        let disk = SimDisk::default();
        let model = run(&disk, stop);
        for seed in 0..ways {
            for again in 1..25 {
                let cut = if seed == 0 { disk.after_kill() } else { disk.after_power_cut(seed * 31 + stop) };
                cut.stop_at(again);
                if let Ok(journal) = try_open(&cut, SEGMENT) {
                    (0..70).for_each(|_| journal.housekeep());
                }
                restart(&cut.after_power_cut(again), &model, &format!("cut at {stop} and at {again}, seed {seed}"));
            }
        }
    }
}

#[test]
fn power_may_fail_at_any_operation() {
    cut_everywhere(3);
}

#[test]
fn power_may_fail_again_during_recovery() {
    cut_twice(29, 2);
}

#[test]
#[ignore = "takes minutes; a part of it runs always"]
fn power_may_fail_at_any_operation_at_length() {
    cut_everywhere(60);
    cut_twice(3, 6);
}

#[test]
fn any_operation_may_fail() {
    for at in 1..=operations() {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let disk = SimDisk::default();
            disk.fail_at(at, kind);
            let model = run(&disk, 0);
            let what = format!("{kind} at {at}");
            restart(&disk.after_kill(), &model, &what);
            restart(&disk.after_power_cut(at), &model, &format!("{what}, then cut"));
        }
    }
}

#[test]
fn the_disk_may_fail_for_a_while() {
    let operations = operations();
    for at in (1..=operations).step_by(7) {
        for length in [2, 5, 20] {
            let disk = SimDisk::default();
            (at..at + length).for_each(|n| disk.fail_at(n, if n % 2 == 0 { ErrorKind::Other } else { ErrorKind::StorageFull }));
            let model = run(&disk, 0);
            restart(&disk.after_kill(), &model, &format!("failing {length} from {at}"));
            restart(&disk.after_power_cut(at), &model, &format!("failing {length} from {at}, then cut"));
        }
    }
}
