//! What waits, and for what. Pure: time is a number it is given (of the clock that never jumps).
//!
//! A recipient that somebody still has to serve has a slot, and a slot is in one of four states:
//!
//! * *waiting* until a time; then the queue-runner takes it, routes it, and puts it into a lane as part of a task;
//! * *ready*: a part of a task in a lane;
//! * *running*: it is being routed, or a delivery thread is at it;
//! * *held*: until an operator releases it.
//!
//! Who serves a task ends it by [`Table::settled`], [`Table::wait`] or [`Table::ready`] for each of its recipients: from then
//! on these are somebody else's. So each run has a number, and who puts a task back puts back only what is still at that run.
//!
//! A lane is a destination: it bounds how many threads work for it, and rests for a while when it could not be reached.
//!
//! Mail that was deferred comes *again*. It stands back for new mail, everywhere: most of it is for hosts that don't answer,
//! and each of these keeps a thread for as long as it is waited for. So it has queues of its own, and a part of the threads is
//! never for it; however much of it is due, new mail for a host that answers leaves at once.

use super::Hop;
use super::outcome::Trouble;
use crate::spool::SpoolId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

/// Tasks that lie ready, of new mail and of mail that comes again, before more is taken from those that wait: these take
/// less memory.
const MOST_READY: usize = 4096;

/// Threads for mailboxes here, beside those for other hosts.
const LOCAL_WORKERS: usize = 4;

/// A lane that could not be reached is remembered for so long after its rest, so that a second failure makes it rest longer.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Lanes to be forgotten are looked for so often.
const SWEEP: Duration = Duration::from_secs(60);

/// Where a task goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Mailboxes here.
    Local,
    /// Another host.
    Remote(Hop),
}

/// Recipients of one message that go one way together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// The message.
    pub(super) id: SpoolId,
    /// Indices into its recipients, ascending.
    pub(super) recipients: Vec<u32>,
    /// All of them were deferred before.
    pub(super) again: bool,
    /// The number under which it runs, or ran last.
    run: u64,
}

impl Task {
    /// One that does not run yet, of new mail.
    pub(super) fn new(id: SpoolId, recipients: Vec<u32>) -> Task {
        Task { id, recipients, again: false, run: 0 }
    }

    /// Some of its recipients.
    pub(super) fn part(&self, recipients: Vec<u32>) -> Task {
        Task { again: self.again, ..Task::new(self.id, recipients) }
    }
}

/// One for new mail, and one for mail that comes again.
#[derive(Debug, Default)]
struct Both<T> {
    fresh: T,
    again: T,
}

impl<T> Both<T> {
    fn of(&mut self, again: bool) -> &mut T {
        if again { &mut self.again } else { &mut self.fresh }
    }
}

/// How many threads there may be.
#[derive(Copy, Clone, Debug)]
pub(super) struct Limits {
    /// For other hosts, in all.
    pub(super) workers: usize,
    /// For one of them.
    pub(super) per_lane: usize,
}

impl Limits {
    /// Threads for mail that comes again.
    fn again(self) -> usize {
        (self.workers * 3 / 4).max(1)
    }
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    Waiting(Duration),
    Ready,
    Running(u64),
    Held,
}

#[derive(Clone, Debug)]
struct Slot {
    index: u32,
    /// It was deferred before.
    again: bool,
    state: State,
}

#[derive(Debug, Default)]
struct Track {
    ready: Both<VecDeque<Task>>,
    /// Has it a turn? One may be left when nothing lies ready any more.
    turn: Both<bool>,
    threads: usize,
    /// Threads of these that talk to a host.
    talking: usize,
    /// More threads than so many were turned away.
    most: Option<usize>,
    /// Not before.
    rests_until: Duration,
    /// Why it rests.
    trouble: Option<Box<Trouble>>,
    /// Times in a row that it could not be reached.
    failures: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    jobs: HashMap<SpoolId, Vec<Slot>>,
    /// Numbers of runs given so far.
    runs: u64,
    /// When to look at a job; entries that nothing is due for any more do no harm.
    due: Both<BinaryHeap<Reverse<(Duration, SpoolId)>>>,
    lanes: HashMap<Lane, Track>,
    /// The lanes with ready tasks, in turn.
    turns: Both<VecDeque<Lane>>,
    ready: Both<usize>,
    remote_threads: usize,
    /// Those of them that were started for mail that comes again.
    again_threads: usize,
    local_threads: usize,
    /// When to look for lanes to be forgotten.
    sweep: Duration,
}

impl Track {
    fn is_idle(&self, now: Duration) -> bool {
        let is_known = self.failures > 0 && self.rests_until + REMEMBERED > now;
        self.threads == 0 && self.ready.fresh.is_empty() && self.ready.again.is_empty() && !is_known
    }
}

impl Table {
    /// Recipients wait until `due` for their (next) try.
    pub(super) fn wait(&mut self, id: SpoolId, recipients: &[u32], due: Duration) {
        self.set(id, recipients, State::Waiting(due));
        let slots = self.jobs.get(&id).into_iter().flatten();
        let again = slots.filter(|slot| recipients.contains(&slot.index)).all(|slot| slot.again);
        self.due.of(again).push(Reverse((due, id)));
    }

    /// The same, after a try.
    pub(super) fn defer(&mut self, id: SpoolId, recipients: &[u32], due: Duration) {
        self.set(id, recipients, State::Waiting(due));
        let slots = self.jobs.get_mut(&id).into_iter().flatten();
        slots.filter(|slot| recipients.contains(&slot.index)).for_each(|slot| slot.again = true);
        self.due.again.push(Reverse((due, id)));
    }

    /// A recipient waits for an operator.
    pub(super) fn hold(&mut self, id: SpoolId, recipients: &[u32]) {
        self.set(id, recipients, State::Held);
    }

    /// Somebody is at it already.
    pub(super) fn run(&mut self, task: &mut Task) {
        self.runs += 1;
        task.run = self.runs;
        self.set(task.id, &task.recipients, State::Running(task.run));
    }

    /// Nobody has to serve these any more.
    pub(super) fn settled(&mut self, id: SpoolId, recipients: &[u32]) {
        if let Some(slots) = self.jobs.get_mut(&id) {
            slots.retain(|slot| !recipients.contains(&slot.index));
            if slots.is_empty() {
                self.jobs.remove(&id);
            }
        }
    }

    /// A run that nobody brought to its end: what of it is not decided waits again.
    pub(super) fn put_back(&mut self, task: &Task, due: Duration) {
        let undecided = |slot: &&Slot| slot.state == State::Running(task.run);
        let left: Vec<u32> = self.jobs.get(&task.id).into_iter().flatten().filter(undecided).map(|slot| slot.index).collect();
        if !left.is_empty() {
            self.wait(task.id, &left, due);
        }
    }

    /// A task whose way is known. When many lie ready it waits instead.
    ///
    /// When its lane rests, new mail waits for the end of that; mail that comes again counts as tried, and is given back,
    /// the caller's to end, with the reason why the lane rests. So nothing waits for more than one rest without a try.
    pub(super) fn ready(&mut self, lane: Lane, mut task: Task, now: Duration) -> Option<(Task, Box<Trouble>)> {
        let track = self.lanes.entry(lane.clone()).or_default();
        if track.rests_until > now {
            let trouble = track.trouble.clone().filter(|_| task.again);
            if let Some(trouble) = trouble {
                self.run(&mut task);
                return Some((task, trouble));
            }
            let until = track.rests_until;
            self.defer(task.id, &task.recipients, until);
            return None;
        }
        task.again |= track.failures > 0;
        if *self.ready.of(task.again) >= MOST_READY {
            self.wait(task.id, &task.recipients, now);
            return None;
        }
        self.set(task.id, &task.recipients, State::Ready);
        self.queue(&lane, task, VecDeque::push_back);
        None
    }

    /// Puts a task among those that lie ready for a lane.
    fn queue(&mut self, lane: &Lane, task: Task, push: fn(&mut VecDeque<Task>, Task)) {
        let Some(track) = self.lanes.get_mut(lane) else { return };
        let again = task.again;
        push(track.ready.of(again), task);
        *self.ready.of(again) += 1;
        if !std::mem::replace(track.turn.of(again), true) {
            self.turns.of(again).push_back(lane.clone());
        }
    }

    /// A message whose waiting recipients are due, while there is room for ready tasks. They count as running while they
    /// are being routed.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Task> {
        self.take_due_of(false, now).or_else(|| self.take_due_of(true, now))
    }

    fn take_due_of(&mut self, again: bool, now: Duration) -> Option<Task> {
        while *self.ready.of(again) < MOST_READY {
            let &Reverse((due, id)) = self.due.of(again).peek()?;
            if due > now {
                return None;
            }
            self.due.of(again).pop();
            self.runs += 1;
            let (run, mut recipients) = (self.runs, Vec::new());
            for slot in self.jobs.get_mut(&id).into_iter().flatten() {
                if slot.again == again && matches!(slot.state, State::Waiting(due) if due <= now) {
                    slot.state = State::Running(run);
                    recipients.push(slot.index);
                }
            }
            if !recipients.is_empty() {
                return Some(Task { id, recipients, again, run });
            }
        }
        None
    }

    /// When to look again, if nothing else happens: something gets due.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let Both { fresh, again } = &self.due;
        let due = [(fresh, self.ready.fresh), (again, self.ready.again)];
        let next = due.into_iter().filter(|(_, ready)| *ready < MOST_READY).filter_map(|(due, _)| due.peek());
        next.map(|Reverse((due, _))| *due).min()
    }

    /// A ready task for a new thread, in turn of the lanes; new mail first.
    pub(super) fn begin(&mut self, limits: Limits) -> Option<(Lane, Task)> {
        self.begin_of(false, limits).or_else(|| self.begin_of(true, limits))
    }

    fn begin_of(&mut self, again: bool, limits: Limits) -> Option<(Lane, Task)> {
        for _ in 0..self.turns.of(again).len() {
            let lane = self.turns.of(again).pop_front()?;
            let room = match lane {
                Lane::Local => self.local_threads < LOCAL_WORKERS,
                Lane::Remote(_) => self.remote_threads < limits.workers && (!again || self.again_threads < limits.again()),
            };
            let Some(track) = self.lanes.get_mut(&lane).filter(|_| room) else {
                // A lane that was forgotten had nothing ready.
                if !room {
                    self.turns.of(again).push_back(lane);
                }
                continue;
            };
            if track.ready.of(again).is_empty() {
                *track.turn.of(again) = false;
                continue;
            }
            let most = if lane == Lane::Local { LOCAL_WORKERS } else { limits.per_lane };
            let free = track.threads < most.min(track.most.unwrap_or(most));
            self.turns.of(again).push_back(lane.clone());
            if !free {
                continue;
            }
            let task = self.pop(&lane, again)?;
            self.enter(&lane, again);
            return Some((lane, task));
        }
        None
    }

    /// Another task for a thread that works for this lane.
    pub(super) fn more(&mut self, lane: &Lane) -> Option<Task> {
        self.pop(lane, false).or_else(|| self.pop(lane, true))
    }

    fn pop(&mut self, lane: &Lane, again: bool) -> Option<Task> {
        let mut task = self.lanes.get_mut(lane)?.ready.of(again).pop_front()?;
        *self.ready.of(again) -= 1;
        self.run(&mut task);
        Some(task)
    }

    fn enter(&mut self, lane: &Lane, again: bool) {
        if let Some(track) = self.lanes.get_mut(lane) {
            track.threads += 1;
            *self.threads_of(lane) += 1;
            self.again_threads += usize::from(is_counted(lane, again));
        }
    }

    /// A thread of a lane begins or ends to talk to a host.
    pub(super) fn talks(&mut self, lane: &Lane, before: bool, now: bool) {
        if let Some(track) = self.lanes.get_mut(lane) {
            track.talking = (track.talking + usize::from(now)).saturating_sub(usize::from(before));
        }
    }

    /// A host turned this task's thread away, while it talks to others of the lane: it is left to them, and no more threads
    /// than these are started. False: there are no others. `talked`: the thread itself counts as talking.
    pub(super) fn leave_to_others(&mut self, lane: &Lane, task: &Task, talked: bool) -> bool {
        let Some(track) = self.lanes.get_mut(lane) else { return false };
        let others = track.talking.saturating_sub(usize::from(talked));
        if others == 0 {
            return false;
        }
        track.most = Some(others);
        self.set(task.id, &task.recipients, State::Ready);
        self.queue(lane, task.clone(), VecDeque::push_front);
        true
    }

    /// A thread, talking or not, stops working for a lane; `again`: it was started for mail that came again.
    pub(super) fn leave(&mut self, lane: &Lane, talking: bool, again: bool, now: Duration) {
        self.talks(lane, talking, false);
        let Some(track) = self.lanes.get_mut(lane) else { return };
        track.threads = track.threads.saturating_sub(1);
        if track.is_idle(now) {
            self.lanes.remove(lane);
        }
        let threads = self.threads_of(lane);
        *threads = threads.saturating_sub(1);
        self.again_threads = self.again_threads.saturating_sub(usize::from(is_counted(lane, again)));
        if self.sweep <= now {
            self.lanes.retain(|_, track| !track.is_idle(now));
            self.sweep = now + SWEEP;
        }
    }

    fn threads_of(&mut self, lane: &Lane) -> &mut usize {
        if *lane == Lane::Local { &mut self.local_threads } else { &mut self.remote_threads }
    }

    /// How often in a row a lane could not be reached.
    pub(super) fn failures(&self, lane: &Lane) -> u32 {
        self.lanes.get(lane).map_or(0, |track| track.failures)
    }

    /// A lane was reached.
    pub(super) fn reached(&mut self, lane: &Lane) {
        if let Some(track) = self.lanes.get_mut(lane) {
            track.failures = 0;
            track.rests_until = Duration::ZERO;
            track.trouble = None;
        }
    }

    /// A lane could not be reached and rests. Gives the tasks that lay ready for it, which count as tried as well: they are
    /// running now, the caller's to end.
    pub(super) fn rest(&mut self, lane: &Lane, trouble: &Trouble, now: Duration, until: Duration) -> Vec<Task> {
        let Some(track) = self.lanes.get_mut(lane) else { return Vec::new() };
        // Those who asked at the same time find out the same.
        if track.rests_until <= now {
            track.failures = track.failures.saturating_add(1);
            track.rests_until = until;
        }
        track.trouble = Some(Box::new(trouble.clone()));
        let mut tasks = Vec::new();
        for again in [false, true] {
            let ready = track.ready.of(again);
            *self.ready.of(again) -= ready.len();
            tasks.extend(ready.drain(..));
        }
        tasks.iter_mut().for_each(|task| self.run(task));
        tasks
    }

    /// Threads at work.
    pub(super) fn threads(&self) -> usize {
        self.remote_threads + self.local_threads
    }

    /// Recipients with a slot, ascending; empty when there is none.
    pub(super) fn recipients(&self, id: SpoolId) -> Vec<u32> {
        self.jobs.get(&id).into_iter().flatten().map(|slot| slot.index).collect()
    }

    /// Every message with a slot.
    pub(super) fn ids(&self) -> Vec<SpoolId> {
        self.jobs.keys().copied().collect()
    }

    /// Has this recipient a slot?
    pub(super) fn has(&self, id: SpoolId, index: u32) -> bool {
        self.jobs.get(&id).is_some_and(|slots| slots.iter().any(|slot| slot.index == index))
    }

    /// Is a delivery thread at it?
    pub(super) fn is_running(&self, id: SpoolId) -> bool {
        self.jobs.get(&id).is_some_and(|slots| slots.iter().any(|slot| matches!(slot.state, State::Running(_))))
    }

    /// Makes what waits of a message due now; true if something did. `first`: it is to go before all that was deferred.
    pub(super) fn hurry(&mut self, id: SpoolId, now: Duration, first: bool) -> bool {
        let mut found = Both::default();
        for slot in self.jobs.get_mut(&id).into_iter().flatten() {
            if let State::Waiting(_) = slot.state {
                slot.state = State::Waiting(now);
                slot.again &= !first;
                *found.of(slot.again) = true;
            }
        }
        for again in [false, true] {
            if *found.of(again) {
                self.due.of(again).push(Reverse((now, id)));
            }
        }
        found.fresh || found.again
    }

    /// All lanes may be asked again.
    pub(super) fn wake_lanes(&mut self) {
        for track in self.lanes.values_mut() {
            track.rests_until = Duration::ZERO;
            track.failures = 0;
        }
    }

    /// Takes ready tasks of a message back out of their lanes: they wait and are due. False if one is running.
    pub(super) fn withdraw(&mut self, id: SpoolId, now: Duration) -> bool {
        if self.is_running(id) {
            return false;
        }
        for track in self.lanes.values_mut() {
            for again in [false, true] {
                let ready = track.ready.of(again);
                let before = ready.len();
                ready.retain(|task| task.id != id);
                *self.ready.of(again) -= before - ready.len();
            }
        }
        let slots = self.jobs.get(&id).into_iter().flatten();
        let ready: Vec<u32> = slots.filter(|slot| slot.state == State::Ready).map(|slot| slot.index).collect();
        if !ready.is_empty() {
            self.wait(id, &ready, now);
        }
        true
    }

    fn set(&mut self, id: SpoolId, recipients: &[u32], state: State) {
        let slots = self.jobs.entry(id).or_default();
        for &index in recipients {
            match slots.binary_search_by_key(&index, |slot| slot.index) {
                Ok(at) => {
                    if let Some(slot) = slots.get_mut(at) {
                        slot.state = state;
                    }
                }
                Err(at) => slots.insert(at, Slot { index, again: false, state }),
            }
        }
        if slots.is_empty() {
            self.jobs.remove(&id);
        }
    }
}

/// Is a thread one of those of which only a part may be for mail that comes again?
fn is_counted(lane: &Lane, again: bool) -> bool {
    again && *lane != Lane::Local
}

#[cfg(test)]
mod tests;
