//! The table by itself, with time told by hand.

use super::*;
use crate::delivery::Hop;
use crate::delivery::lanes::{MOST_READY, MUTE_FOR_EACH};
use std::slice;

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

fn trouble() -> Box<Trouble> {
    Trouble::own("4.4.1", "gone")
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
    assert_eq!(table.next_look(), Some(at(3)));
    assert_eq!(table.take_due(at(2)), None);
    assert_eq!(table.take_due(at(5)).map(plain), Some(task(2, &[0])));
    assert_eq!(table.take_due(at(5)).map(plain), Some(task(1, &[0, 2])));
    assert_eq!(table.take_due(at(5)), None);
    table.wait(id(1), &[0], at(20));
    assert!(table.hurry(id(1), at(6), true));
    assert_eq!(table.take_due(at(6)).map(plain), Some(task(1, &[0, 1])));
    assert_eq!(table.take_due(at(100)), None);
    table.settled(id(1), &[0, 1, 2]);
    assert_eq!((table.recipients(id(1)), table.jobs.keys().copied().collect::<Vec<_>>()), (vec![], vec![id(2)]));
}

#[test]
fn threads_are_bounded_and_lanes_take_turns() {
    let mut table = Table::default();
    for counter in 0..6 {
        table.ready(lane("a"), task(counter, &[0]), at(0));
    }
    table.ready(lane("b"), task(10, &[0]), at(0));
    let mut names = Vec::new();
    while let Some((lane, task)) = table.begin(LIMITS, at(0)) {
        names.push((lane, task.id.counter));
    }
    assert_eq!(names, [(lane("b"), 10), (lane("a"), 0), (lane("a"), 1)]);
    assert_eq!(table.lanes.threads(), 3);
    assert_eq!(table.more(&lane("b")), None);
    table.lanes.leave(&lane("b"), false, false, at(0));
    assert_eq!(table.begin(LIMITS, at(0)), None, "two threads are enough for one lane");
    let rest: Vec<u64> = std::iter::from_fn(|| table.more(&lane("a"))).map(|task| task.id.counter).collect();
    assert_eq!(rest, [2, 3, 4, 5]);
    table.ready(Lane::Local, task(20, &[0]), at(0));
    assert_eq!(table.begin(LIMITS, at(0)).map(|(lane, task)| (lane, plain(task))), Some((Lane::Local, task(20, &[0]))));
    for lane in [lane("a"), lane("a"), Lane::Local] {
        table.lanes.leave(&lane, false, false, at(0));
    }
    assert_eq!((table.begin(LIMITS, at(0)), table.lanes.threads()), (None, 0));
    assert_eq!(table.lanes.counts(), [0; 5]);
}

#[test]
fn a_lane_that_could_not_be_reached_rests() {
    let mut table = Table::default();
    for counter in 0..3 {
        table.ready(lane("a"), task(counter, &[0]), at(0));
    }
    assert!(table.begin(LIMITS, at(0)).is_some());
    let left: Vec<Task> = table.rest(&lane("a"), &trouble(), at(0), at(15)).into_iter().map(plain).collect();
    // A second thread that found out at the same time.
    assert!(table.rest(&lane("a"), &trouble(), at(1), at(31)).is_empty());
    assert_eq!(left, [task(1, &[0]), task(2, &[0])]);
    assert_eq!(table.lanes.failures(&lane("a")), 1);
    table.lanes.leave(&lane("a"), false, false, at(0));
    table.ready(lane("a"), task(9, &[0]), at(1));
    assert_eq!((table.begin(LIMITS, at(0)), table.take_due(at(14))), (None, None));
    assert_eq!(table.next_look(), Some(at(15)));
    let waited = table.take_due(at(15)).unwrap();
    assert!(waited.again);
    table.ready(lane("a"), waited, at(15));
    assert_eq!(table.begin(LIMITS, at(0)).map(|(lane, task)| (lane, plain(task))), Some((lane("a"), task(9, &[0]))));
    // What waited for the end of a rest does not wait for a second one.
    assert!(table.rest(&lane("a"), &trouble(), at(16), at(46)).is_empty());
    table.defer(id(10), &[0], at(17));
    let second = table.take_due(at(17)).unwrap();
    let back = table.ready(lane("a"), second, at(17)).map(|(task, trouble)| (plain(task), trouble));
    assert_eq!(back, Some((task(10, &[0]), trouble())));
    table.lanes.reached(&lane("a"), at(0));
    assert_eq!(table.lanes.failures(&lane("a")), 0);
}

#[test]
fn a_host_that_takes_few_connections_gets_few() {
    let mut table = Table::default();
    for counter in 0..5 {
        table.ready(lane("a"), task(counter, &[0]), at(0));
    }
    let first = table.begin(LIMITS, at(0)).unwrap().1;
    let second = table.begin(LIMITS, at(0)).unwrap().1;
    assert!(!table.leave_to_others(&lane("a"), &second, false), "nobody was reached yet");
    table.lanes.talks(&lane("a"), false, true);
    assert!(!table.leave_to_others(&lane("a"), &first, true), "itself is no other");
    assert!(table.leave_to_others(&lane("a"), &second, false));
    table.lanes.leave(&lane("a"), false, false, at(0));
    assert_eq!(table.begin(LIMITS, at(0)), None);
    assert_eq!(table.more(&lane("a")).map(plain), Some(plain(second)));
    while table.more(&lane("a")).is_some() {}
    table.lanes.leave(&lane("a"), true, false, at(0));
    assert_eq!(table.lanes.counts()[0], 0);
}

#[test]
fn operators_do_not_meddle_with_what_runs() {
    let mut table = Table::default();
    table.ready(lane("a"), task(1, &[0]), at(0));
    table.ready(lane("a"), task(2, &[0, 4]), at(0));
    assert!(table.begin(LIMITS, at(0)).is_some());
    // Some of it was settled meanwhile, or was never there.
    let mut messages = vec![(id(1), vec![0]), (id(2), vec![3, 4]), (id(3), vec![0])];
    assert_eq!(table.seize(&mut messages, at(0)), 1);
    assert_eq!(messages, [(id(2), vec![4])]);
    assert_eq!((table.held(id(2)), table.held(id(1))), (vec![4], vec![]));
    assert_eq!(table.lanes.counts()[1..3], [0, 0]);
    assert_eq!(table.take_due(at(0)).map(plain), Some(task(2, &[0])), "the other goes on");
    table.hold(id(2), &table.recipients(id(2)));
    assert!(!table.hurry(id(2), at(0), true));
    assert_eq!((table.begin(LIMITS, at(0)), table.take_due(at(9))), (None, None));
    assert!(table.has(id(2), 4) && !table.has(id(2), 1));
}

#[test]
fn many_ready_tasks_wait_instead() {
    let mut table = Table::default();
    for counter in 0..MOST_READY as u64 + 2 {
        table.ready(lane("a"), task(counter, &[0]), at(1));
    }
    assert_eq!((table.lanes.counts()[1], table.take_due(at(1))), (MOST_READY, None));
    assert!(table.begin(LIMITS, at(0)).is_some());
    assert_eq!(table.take_due(at(1)).map(|task| task.id.counter), Some(MOST_READY as u64));
}

#[test]
fn new_mail_does_not_wait_for_what_comes_again() {
    let mut table = Table::default();
    let many = MOST_READY as u64 + 100;
    for counter in 0..many {
        table.defer(id(counter), &[0], at(1));
    }
    let mut due: u64 = 0;
    while let Some(task) = table.take_due(at(1)) {
        assert!(task.again);
        table.ready(lane(&format!("d{due}")), task, at(1));
        due += 1;
    }
    assert_eq!(due, MOST_READY as u64);
    let (first, _) = table.begin(LIMITS, at(0)).unwrap();
    let second = table.begin(LIMITS, at(0)).unwrap().0;
    assert_eq!(table.begin(LIMITS, at(0)), None, "two of three threads, at most, are for what comes again");
    table.ready(lane("alive"), task(many, &[0]), at(1));
    assert_eq!(table.begin(LIMITS, at(0)).map(|(lane, task)| (lane, task.id)), Some((lane("alive"), id(many))));
    // A lane that fails is none for new mail: it gives no place to it.
    table.rest(&first, &trouble(), at(1), at(2));
    table.lanes.leave(&first, false, true, at(1));
    table.ready(first, task(many + 1, &[0]), at(3));
    assert_eq!(table.begin(LIMITS, at(0)).map(|(lane, _)| lane), Some(lane("d2")));
    table.lanes.leave(&second, false, true, at(1));
    // What an operator asks for is as new mail; all there is stays what it is.
    assert!(table.hurry(id(many - 1), at(1), true) && table.hurry(id(many - 2), at(1), false));
    assert_eq!(table.take_due(at(1)).map(|task| (task.id, task.again)), Some((id(many - 1), false)));
}

#[test]
fn only_what_is_still_at_that_run_is_put_back() {
    let mut table = Table::default();
    let mut first = task(1, &[0, 1, 2, 3]);
    table.run(&mut first);
    table.settled(id(1), &[0]);
    table.ready(lane("a"), task(1, &[1]), at(0));
    table.wait(id(1), &[2], at(0));
    assert_eq!(table.begin(LIMITS, at(0)).map(|(_, task)| plain(task)), Some(task(1, &[1])));
    assert_eq!(table.take_due(at(0)).map(plain), Some(task(1, &[2])));
    table.put_back(&first, at(9));
    assert_eq!(table.recipients(id(1)), [1, 2, 3]);
    assert_eq!(table.take_due(at(100)).map(plain), Some(task(1, &[3])));
}

/// Hosts that never answer leave threads to those that did.
#[test]
fn threads_are_kept_for_lanes_that_were_reached() {
    let mut table = Table::default();
    let limits = Limits { workers: 16, per_lane: 2 };
    let mut counter = 0;
    let mut begin = |table: &mut Table, name: &str| {
        counter += 1;
        table.ready(lane(name), task(counter, &[0]), at(0));
        table.begin(limits, at(0)).map(|(lane, _)| lane)
    };
    assert_eq!(begin(&mut table, "living"), Some(lane("living")));
    table.lanes.reached(&lane("living"), at(0));
    table.lanes.leave(&lane("living"), false, false, at(0));
    for number in 0..14 {
        let name = format!("mute{number}");
        assert_eq!(begin(&mut table, &name), Some(lane(&name)));
    }
    assert_eq!(begin(&mut table, "mute14"), None);
    assert_eq!(begin(&mut table, "living"), Some(lane("living")));
    // One of them answers after all, and its thread counts no more.
    table.lanes.reached(&lane("mute0"), at(1));
    assert_eq!(table.begin(limits, at(0)).map(|(lane, _)| lane), Some(lane("mute14")));
    // Where a try was in vain, nothing is known any more.
    table.rest(&lane("living"), &trouble(), at(2), at(3));
    table.lanes.leave(&lane("living"), false, false, at(2));
    table.lanes.leave(&lane("mute0"), false, false, at(2));
    table.ready(lane("living"), task(100, &[0]), at(4));
    assert_eq!(table.begin(limits, at(0)), None);
    table.lanes.leave(&lane("mute1"), false, false, at(4));
    assert_eq!(table.begin(limits, at(0)).map(|(lane, _)| lane), Some(lane("living")));
}

/// Who only waits for a host that says nothing is replaced, up to a bound. A host of which nothing is known does not wait for all
/// that came before it.
#[test]
fn hosts_that_say_nothing_keep_no_thread_from_others() {
    let mut table = Table::default();
    let limits = Limits { workers: 16, per_lane: 2 };
    for number in 0..1000 {
        table.ready(lane(&format!("mute{number}")), task(number, &[0]), at(0));
    }
    let begin =
        |table: &mut Table, now| -> Vec<Lane> { std::iter::from_fn(|| table.begin(limits, now)).map(|(lane, _)| lane).collect() };
    assert_eq!((begin(&mut table, at(0)).len(), table.next_look()), (14, Some(at(2))));
    let count = |table: &mut Table, now| begin(table, now).len();
    assert_eq!((count(&mut table, at(1)), count(&mut table, at(2)), count(&mut table, at(2))), (0, 14, 0));
    // Another one comes while all threads wait, and keeps its turn while others begin.
    let known = lane("known");
    table.ready(known.clone(), task(2000, &[0]), at(2));
    table.lanes.reached(&known, at(2));
    table.ready(lane("living"), task(1000, &[0]), at(2));
    assert_eq!(begin(&mut table, at(2)), slice::from_ref(&known));
    table.lanes.leave(&known, false, false, at(2));
    let next = begin(&mut table, at(4));
    assert_eq!((&next[0], next.len()), (&lane("living"), 14));
    table.lanes.reached(&lane("living"), at(4));
    table.lanes.leave(&lane("living"), false, false, at(4));
    assert_eq!(count(&mut table, at(4)), 1);
    (5..200).for_each(|second| drop(begin(&mut table, at(second))));
    assert_eq!(table.lanes.threads(), 16 * MUTE_FOR_EACH + 14, "so many in all");
    // Those that answer, or end, count no more as what they are not.
    table.lanes.reached(&lane("mute999"), at(500));
    table.lanes.leave(&lane("mute999"), true, false, at(501));
    table.lanes.leave(&lane("mute998"), false, false, at(501));
    assert_eq!((count(&mut table, at(502)), count(&mut table, at(600))), (2, 0));
}

/// A command that takes long is not mute: others of its owner run beside it, as many as may.
#[test]
fn what_runs_for_long_is_not_mute() {
    let mut table = Table::default();
    let lines = Lane::Lines("alice".into());
    for number in 0..2 {
        let now = at(6 * number);
        table.ready(lines.clone(), task(number, &[0]), now);
        assert_eq!(table.begin(LIMITS, now).map(|(lane, _)| lane), Some(lines.clone()));
        assert_eq!(table.next_look(), None);
    }
}

#[test]
fn a_lane_that_was_reached_is_not_remembered_for_ever() {
    let mut table = Table::default();
    table.ready(lane("a"), task(1, &[0]), at(0));
    table.begin(LIMITS, at(0)).unwrap();
    table.lanes.reached(&lane("a"), at(0));
    table.lanes.leave(&lane("a"), false, false, at(0));
    assert_eq!(table.lanes.counts()[0], 1);
    table.lanes.leave(&lane("a"), false, false, at(24 * 3600));
    assert_eq!(table.lanes.counts()[0], 0);
}

#[test]
fn the_runner_is_woken_only_for_what_no_thread_comes_for() {
    let mut table = Table::default();
    let needs = |table: &mut Table, counter| {
        table.ready(lane("a"), task(counter, &[0]), at(1));
        table.needs_runner(id(counter), &lane("a"), LIMITS, at(1))
    };
    assert!(needs(&mut table, 1) && needs(&mut table, 2));
    let begun: Vec<_> = std::iter::from_fn(|| table.begin(LIMITS, at(1))).collect();
    assert_eq!(begun.len(), LIMITS.per_lane);
    assert!(!needs(&mut table, 3), "both threads are there");
    table.wait(id(9), &[0], at(1));
    assert!(needs(&mut table, 4), "another is due");
    assert!(table.take_due(at(1)).is_some());
    assert!(!needs(&mut table, 5));
    table.rest(&lane("a"), &trouble(), at(1), at(60));
    assert!(needs(&mut table, 6), "the lane rests, it waits for the end of that");
}

#[test]
fn a_thread_that_lingers_is_called() {
    let mut table = Table::default();
    table.ready(lane("a"), task(1, &[0]), at(1));
    assert!(table.begin(LIMITS, at(1)).is_some());
    let me = std::thread::current();
    assert!(table.lanes.linger(&lane("a"), me.clone()));
    assert!(!table.lanes.is_called(&lane("a"), &me));
    table.ready(lane("a"), task(2, &[0]), at(1));
    assert!(table.lanes.is_called(&lane("a"), &me));
    assert!(!table.needs_runner(id(2), &lane("a"), LIMITS, at(1)), "it comes for the one");
    table.ready(lane("a"), task(3, &[0]), at(1));
    assert!(table.needs_runner(id(3), &lane("a"), LIMITS, at(1)), "nobody comes for the other");
    table.lanes.end_linger(&lane("a"), &me);
    assert!(table.more(&lane("a")).is_some() && table.needs_runner(id(3), &lane("a"), LIMITS, at(1)));
    // While something lies ready nobody lingers, and who was not called goes all the same.
    assert!(!table.lanes.linger(&lane("a"), me.clone()));
    assert!(table.more(&lane("a")).is_some() && table.lanes.linger(&lane("a"), me.clone()));
    table.lanes.end_linger(&lane("a"), &me);
    assert!(table.lanes.is_called(&lane("a"), &me) && table.more(&lane("a")).is_none());
    table.ready(lane("a"), task(4, &[0]), at(1));
    assert!(table.needs_runner(id(4), &lane("a"), LIMITS, at(1)));
}
