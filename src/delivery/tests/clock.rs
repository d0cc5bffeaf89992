//! Five days in a moment, and a wall clock that is set while mail waits.

use super::{House, Peer, TEXT};
use crate::sys::clock::manual::ManualClock;
use crate::sys::{Clock, Time};
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

const START: Time = Time(1_800_000_000_000_000);

/// Bob's letter to a host that is closed, after its first try; the queue is as usual.
fn begin(peer: &Peer, clock: &Arc<ManualClock>) -> House {
    peer.set_closed(true);
    let house = House::new_by(clock.clone(), &peer.route());
    house.post("bob@me.example", &["a@there.example"], TEXT).unwrap();
    house.wait("the first try", || tries(&house) == Some(1));
    house
}

/// Of the letter that waits; none: it is settled.
fn tries(house: &House) -> Option<u32> {
    let queue = house.queue();
    let letter = queue.iter().find(|message| message.domains.as_deref() == Some("there.example"));
    letter.map(|message| message.waiting[0].tries)
}

/// Waits until nobody is at work, and lets time pass until something is due. For how long that was.
fn pass(house: &House, clock: &ManualClock) -> Duration {
    let office = &house.delivery().office;
    let due = || {
        let table = office.table();
        table.next_look().filter(|due| *due > clock.elapsed() && table.lanes.threads() == 0)
    };
    house.wait("rest", || due().is_some());
    let before = tries(house);
    let span = due().unwrap() - clock.elapsed();
    clock.advance(span);
    house.wait("a try", || {
        // The queue-runner may have been about to sleep, by the time before.
        office.runner.wake();
        tries(house) != before
    });
    span
}

#[test]
fn the_usual_five_days() {
    let (peer, clock) = (Peer::start(), Arc::new(ManualClock::at(START)));
    let house = begin(&peer, &clock);
    let mut ages = Vec::new();
    while tries(&house).is_some() {
        pass(&house, &clock);
        let age = clock.now().since(START);
        ages.push(age.as_secs() / 60);
        let told = |action: &str| house.mbox("bob").contains(&format!("Action: {action}\n"));
        house.wait("a warning", || age < 4 * 60 * MINUTE || told("delayed"));
        house.wait("a report", || age < 5 * DAY || told("failed"));
        assert!((age < 4 * 60 * MINUTE) != told("delayed") && (age < 5 * DAY) != told("failed"), "{ages:?}");
    }
    assert_eq!(ages, [30, 90, 210].into_iter().chain((4..=120).step_by(4).map(|hour| hour * 60)).collect::<Vec<_>>());
    assert_eq!(peer.connections(), 1 + ages.len());
    assert_eq!(house.mbox("bob").matches("Action: ").count(), 2);
}

#[test]
fn a_clock_that_is_set_keeps_no_mail_back_and_gives_none_up() {
    for to in [START + 4000 * DAY, START + 3 * DAY, START - 10 * MINUTE, START - 3 * DAY, START - 4000 * DAY] {
        for restarts in [false, true] {
            let (peer, clock) = (Peer::start(), Arc::new(ManualClock::at(START)));
            let mut house = begin(&peer, &clock);
            peer.set_closed(false);
            clock.jump_to(to);
            if restarts {
                let (disk, config) = house.stop();
                house = House::open_by(clock.clone(), disk, config);
            }
            house.post("bob@me.example", &["alice@me.example"], TEXT).unwrap();
            house.wait("what came after it", || house.mbox("alice").contains("hello") && house.queue().len() < 2);
            if !restarts {
                assert_eq!(pass(&house, &clock), 30 * MINUTE, "{to:?}");
            } else if to == START - 10 * MINUTE {
                assert_eq!(pass(&house, &clock), 40 * MINUTE);
            }
            house.wait("what waited", || house.queue().is_empty());
            assert_eq!((peer.messages().len(), house.mbox("bob")), (1, String::new()), "{to:?} restarts={restarts}");
        }
    }
}

#[test]
fn a_clock_that_runs_ahead_leaves_three_tries() {
    let (peer, clock) = (Peer::start(), Arc::new(ManualClock::at(START)));
    let house = begin(&peer, &clock);
    clock.jump_to(START + 4000 * DAY);
    assert_eq!(pass(&house, &clock), 30 * MINUTE);
    assert_eq!(tries(&house), Some(2));
    assert_eq!(pass(&house, &clock), 60 * MINUTE);
    assert_eq!(tries(&house), None);
    house.wait("a report", || house.mbox("bob").contains("Action: failed\n"));
    assert_eq!(peer.connections(), 3);
}

/// By that clock the letter comes years from now.
#[test]
fn a_clock_that_is_set_back_by_years_gives_up_after_as_many_tries() {
    let (peer, clock) = (Peer::start(), Arc::new(ManualClock::at(START)));
    let house = begin(&peer, &clock);
    clock.jump_to(START - 4000 * DAY);
    let mut waited = Duration::ZERO;
    while tries(&house).is_some() {
        waited += pass(&house, &clock);
        assert!(waited <= 5 * DAY, "{waited:?}");
    }
    assert_eq!(waited, 5 * DAY);
    house.wait("a report", || house.mbox("bob").contains("Action: failed\n"));
}

/// Bob wants it to leave in an hour. Whatever the wall clock says meanwhile, it leaves after an hour.
#[test]
fn a_clock_that_is_set_back_keeps_nothing_back_for_longer_than_was_asked_for() {
    for back in [10 * MINUTE, 3 * DAY, 4000 * DAY] {
        let (peer, clock) = (Peer::start(), Arc::new(ManualClock::at(START)));
        let house = House::new_by(clock.clone(), &peer.route());
        house.post_asking(&["HOLDFOR=3600"], &[], &["a@there.example"], TEXT).unwrap();
        clock.jump_to(START - back);
        for minute in 1..=60 {
            assert_eq!(peer.messages().len(), 0, "after {minute} minutes, set back by {back:?}");
            clock.advance(MINUTE);
            house.delivery().office.runner.wake();
            house.wait("rest", || house.delivery().office.table().next_look().is_none_or(|due| due > clock.elapsed()));
        }
        house.wait("the letter", || peer.messages().len() == 1);
    }
}
