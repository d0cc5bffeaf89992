//! The table by itself, with time told by hand.

use super::*;

const LIMITS: Limits = Limits { workers: 3, per_lane: 2 };

fn id(counter: u64) -> SpoolId {
    SpoolId { generation: 7, counter }
}

fn lane(name: &str) -> Lane {
    Lane::Remote(Hop::Domain(name.into()))
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn task(counter: u64, recipients: &[u32]) -> Task {
    Task::new(id(counter), recipients.to_vec())
}

/// Without the number of its run.
fn plain(task: Task) -> Task {
    Task::new(task.id, task.recipients)
}

#[test]
fn what_is_due_is_taken_once() {
    let mut table = Table::default();
    table.wait(id(1), &[2, 0], at(5));
    table.wait(id(1), &[1], at(9));
    table.wait(id(2), &[0], at(3));
    assert_eq!(table.next_look(at(0)), Some(at(3)));
    assert_eq!(table.take_due(at(2)), None);
    assert_eq!(table.take_due(at(5)).map(plain), Some(task(2, &[0])));
    assert_eq!(table.take_due(at(5)).map(plain), Some(task(1, &[0, 2])));
    assert_eq!(table.take_due(at(5)), None);
    table.wait(id(1), &[0], at(20));
    assert!(table.hurry(id(1), at(6)));
    assert_eq!(table.take_due(at(6)).map(plain), Some(task(1, &[0, 1])));
    assert_eq!(table.take_due(at(100)), None);
    table.settled(id(1), &[0, 1, 2]);
    assert_eq!((table.recipients(id(1)), table.ids()), (vec![], vec![id(2)]));
}

#[test]
fn threads_are_bounded_and_lanes_take_turns() {
    let mut table = Table::default();
    for counter in 0..6 {
        table.ready(lane("a"), task(counter, &[0]), at(0));
    }
    table.ready(lane("b"), task(10, &[0]), at(0));
    let mut names = Vec::new();
    while let Some((lane, task)) = table.begin(at(0), LIMITS) {
        names.push((lane, task.id.counter));
    }
    assert_eq!(names, [(lane("a"), 0), (lane("b"), 10), (lane("a"), 1)]);
    assert_eq!(table.threads(), 3);
    assert_eq!(table.more(&lane("b"), at(0)), None);
    table.leave(&lane("b"), false, at(0));
    assert_eq!(table.begin(at(0), LIMITS), None, "two threads are enough for one lane");
    let rest: Vec<u64> = std::iter::from_fn(|| table.more(&lane("a"), at(0))).map(|task| task.id.counter).collect();
    assert_eq!(rest, [2, 3, 4, 5]);
    table.ready(Lane::Local, task(20, &[0]), at(0));
    assert_eq!(table.begin(at(0), LIMITS).map(|(lane, task)| (lane, plain(task))), Some((Lane::Local, task(20, &[0]))));
    for lane in [lane("a"), lane("a"), Lane::Local] {
        table.leave(&lane, false, at(0));
    }
    assert_eq!((table.threads(), table.lanes.len(), table.ready, table.turns.len()), (0, 0, 0, 0));
}

#[test]
fn a_lane_that_could_not_be_reached_rests() {
    let mut table = Table::default();
    (0..3).for_each(|counter| table.ready(lane("a"), task(counter, &[0]), at(0)));
    assert!(table.begin(at(0), LIMITS).is_some());
    let left: Vec<Task> = table.rest(&lane("a"), at(15)).into_iter().map(plain).collect();
    assert_eq!(left, [task(1, &[0]), task(2, &[0])]);
    assert_eq!(table.failures(&lane("a")), 1);
    table.leave(&lane("a"), false, at(0));
    table.ready(lane("a"), task(9, &[0]), at(1));
    assert_eq!(table.begin(at(14), LIMITS), None);
    assert_eq!(table.next_look(at(14)), Some(at(15)));
    assert_eq!(table.begin(at(15), LIMITS).map(|(lane, task)| (lane, plain(task))), Some((lane("a"), task(9, &[0]))));
    table.reached(&lane("a"));
    assert_eq!(table.failures(&lane("a")), 0);
}

#[test]
fn a_host_that_takes_few_connections_gets_few() {
    let mut table = Table::default();
    (0..5).for_each(|counter| table.ready(lane("a"), task(counter, &[0]), at(0)));
    let first = table.begin(at(0), LIMITS).unwrap().1;
    let second = table.begin(at(0), LIMITS).unwrap().1;
    assert!(!table.leave_to_others(&lane("a"), &second, false), "nobody was reached yet");
    table.talks(&lane("a"), false, true);
    assert!(!table.leave_to_others(&lane("a"), &first, true), "itself is no other");
    assert!(table.leave_to_others(&lane("a"), &second, false));
    table.leave(&lane("a"), false, at(0));
    assert_eq!(table.begin(at(0), LIMITS), None);
    assert_eq!(table.more(&lane("a"), at(0)).map(plain), Some(plain(second)));
    while table.more(&lane("a"), at(0)).is_some() {}
    table.leave(&lane("a"), true, at(0));
    assert!(table.lanes.is_empty());
}

#[test]
fn operators_do_not_meddle_with_what_runs() {
    let mut table = Table::default();
    table.ready(lane("a"), task(1, &[0]), at(0));
    table.ready(lane("a"), task(2, &[0, 4]), at(0));
    assert!(table.begin(at(0), LIMITS).is_some());
    assert!(!table.withdraw(id(1)));
    assert!(table.withdraw(id(2)));
    table.hold(id(2), &table.recipients(id(2)));
    assert!(!table.hurry(id(2), at(0)));
    assert_eq!((table.begin(at(0), LIMITS), table.take_due(at(9))), (None, None));
    assert!(table.has(id(2), 4) && !table.has(id(2), 1));
}

#[test]
fn many_ready_tasks_wait_instead() {
    let mut table = Table::default();
    for counter in 0..MOST_READY as u64 + 2 {
        table.ready(lane("a"), task(counter, &[0]), at(1));
    }
    assert_eq!((table.ready, table.take_due(at(1))), (MOST_READY, None));
    assert!(table.begin(at(1), LIMITS).is_some());
    assert_eq!(table.take_due(at(1)).map(|task| task.id.counter), Some(MOST_READY as u64));
}

#[test]
fn only_what_is_still_at_that_run_is_put_back() {
    let mut table = Table::default();
    let mut first = task(1, &[0, 1, 2, 3]);
    table.run(&mut first);
    table.settled(id(1), &[0]);
    table.ready(lane("a"), task(1, &[1]), at(0));
    table.wait(id(1), &[2], at(0));
    assert_eq!(table.begin(at(0), LIMITS).map(|(_, task)| plain(task)), Some(task(1, &[1])));
    assert_eq!(table.take_due(at(0)).map(plain), Some(task(1, &[2])));
    table.put_back(&first, at(9));
    assert_eq!(table.recipients(id(1)), [1, 2, 3]);
    assert_eq!(table.take_due(at(100)).map(plain), Some(task(1, &[3])));
}
