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

use super::Hop;
use crate::spool::SpoolId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

/// Tasks that lie ready before more is taken from those that wait: these take less memory.
const MOST_READY: usize = 4096;

/// Threads for mailboxes here, beside those for other hosts.
const LOCAL_WORKERS: usize = 4;

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
    /// The number under which it runs, or ran last.
    run: u64,
}

impl Task {
    /// One that does not run yet.
    pub(super) fn new(id: SpoolId, recipients: Vec<u32>) -> Task {
        Task { id, recipients, run: 0 }
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
    state: State,
}

#[derive(Debug, Default)]
struct Track {
    ready: VecDeque<Task>,
    threads: usize,
    /// Threads of these that talk to a host.
    talking: usize,
    /// More threads than so many were turned away.
    most: Option<usize>,
    /// Not before.
    rests_until: Duration,
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
    due: BinaryHeap<Reverse<(Duration, SpoolId)>>,
    lanes: HashMap<Lane, Track>,
    /// The lanes with ready tasks, in turn.
    turns: VecDeque<Lane>,
    ready: usize,
    remote_threads: usize,
    local_threads: usize,
}

impl Table {
    /// A recipient waits until `due` for its (next) try.
    pub(super) fn wait(&mut self, id: SpoolId, recipients: &[u32], due: Duration) {
        self.set(id, recipients, State::Waiting(due));
        self.due.push(Reverse((due, id)));
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
    pub(super) fn ready(&mut self, lane: Lane, task: Task, now: Duration) {
        if self.ready >= MOST_READY {
            return self.wait(task.id, &task.recipients, now);
        }
        self.set(task.id, &task.recipients, State::Ready);
        let track = self.lanes.entry(lane.clone()).or_default();
        if track.ready.is_empty() {
            self.turns.push_back(lane);
        }
        track.ready.push_back(task);
        self.ready += 1;
    }

    /// A message whose waiting recipients are due, while there is room for ready tasks. They count as running while they
    /// are being routed.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Task> {
        while self.ready < MOST_READY {
            let &Reverse((due, id)) = self.due.peek()?;
            if due > now {
                return None;
            }
            self.due.pop();
            self.runs += 1;
            let (run, mut recipients) = (self.runs, Vec::new());
            for slot in self.jobs.get_mut(&id).into_iter().flatten() {
                if matches!(slot.state, State::Waiting(due) if due <= now) {
                    slot.state = State::Running(run);
                    recipients.push(slot.index);
                }
            }
            if !recipients.is_empty() {
                return Some(Task { id, recipients, run });
            }
        }
        None
    }

    /// When to look again, if nothing else happens: something gets due, or a lane has rested.
    pub(super) fn next_look(&self, now: Duration) -> Option<Duration> {
        let due = self.due.peek().filter(|_| self.ready < MOST_READY).map(|Reverse((due, _))| *due);
        let rested = self.turns.iter().filter_map(|lane| self.lanes.get(lane)).map(|track| track.rests_until);
        rested.filter(|until| *until > now).chain(due).min()
    }

    /// A ready task for a new thread, in turn of the lanes.
    pub(super) fn begin(&mut self, now: Duration, limits: Limits) -> Option<(Lane, Task)> {
        for _ in 0..self.turns.len() {
            let lane = self.turns.pop_front()?;
            let room = match lane {
                Lane::Local => self.local_threads < LOCAL_WORKERS,
                Lane::Remote(_) => self.remote_threads < limits.workers,
            };
            let most = if lane == Lane::Local { LOCAL_WORKERS } else { limits.per_lane };
            let free = self
                .lanes
                .get(&lane)
                .is_some_and(|track| track.threads < most.min(track.most.unwrap_or(most)) && track.rests_until <= now);
            if !(room && free) {
                self.turns.push_back(lane);
                continue;
            }
            let task = self.pop(&lane);
            self.enter(&lane);
            if let Some(task) = task {
                if self.lanes.get(&lane).is_some_and(|track| !track.ready.is_empty()) {
                    self.turns.push_back(lane.clone());
                }
                return Some((lane, task));
            }
            self.leave(&lane, false, now);
        }
        None
    }

    /// Another task for a thread that works for this lane.
    pub(super) fn more(&mut self, lane: &Lane, now: Duration) -> Option<Task> {
        if self.lanes.get(lane)?.rests_until > now {
            return None;
        }
        let task = self.pop(lane)?;
        if self.lanes.get(lane).is_some_and(|track| track.ready.is_empty()) {
            self.turns.retain(|turn| turn != lane);
        }
        Some(task)
    }

    fn pop(&mut self, lane: &Lane) -> Option<Task> {
        let mut task = self.lanes.get_mut(lane)?.ready.pop_front()?;
        self.ready -= 1;
        self.run(&mut task);
        Some(task)
    }

    fn enter(&mut self, lane: &Lane) {
        if let Some(track) = self.lanes.get_mut(lane) {
            track.threads += 1;
            *self.threads_of(lane) += 1;
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
        if track.ready.is_empty() {
            self.turns.push_back(lane.clone());
        }
        track.ready.push_front(task.clone());
        self.ready += 1;
        self.set(task.id, &task.recipients, State::Ready);
        true
    }

    /// A thread, talking or not, stops working for a lane.
    pub(super) fn leave(&mut self, lane: &Lane, talking: bool, now: Duration) {
        self.talks(lane, talking, false);
        let Some(track) = self.lanes.get_mut(lane) else { return };
        track.threads = track.threads.saturating_sub(1);
        let threads = self.threads_of(lane);
        *threads = threads.saturating_sub(1);
        self.forget_idle_lanes(now);
    }

    fn threads_of(&mut self, lane: &Lane) -> &mut usize {
        if *lane == Lane::Local { &mut self.local_threads } else { &mut self.remote_threads }
    }

    fn forget_idle_lanes(&mut self, now: Duration) {
        self.lanes.retain(|_, track| {
            track.threads > 0
                || !track.ready.is_empty()
                || track.failures > 0 && {
                    // Remembered for as long as it rested, so that a second failure makes it rest longer.
                    track.rests_until + Duration::from_secs(600) > now
                }
        });
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
        }
    }

    /// A lane could not be reached and rests. Gives the tasks that lay ready for it, which count as tried as well: they are
    /// running now, the caller's to end.
    pub(super) fn rest(&mut self, lane: &Lane, until: Duration) -> Vec<Task> {
        let Some(track) = self.lanes.get_mut(lane) else { return Vec::new() };
        track.failures = track.failures.saturating_add(1);
        track.rests_until = until;
        let mut tasks: Vec<Task> = track.ready.drain(..).collect();
        self.ready -= tasks.len();
        self.turns.retain(|turn| turn != lane);
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

    /// Makes what waits of a message due now; true if something did.
    pub(super) fn hurry(&mut self, id: SpoolId, now: Duration) -> bool {
        let mut found = false;
        for slot in self.jobs.get_mut(&id).into_iter().flatten() {
            if let State::Waiting(_) = slot.state {
                slot.state = State::Waiting(now);
                found = true;
            }
        }
        if found {
            self.due.push(Reverse((now, id)));
        }
        found
    }

    /// All lanes may be asked again.
    pub(super) fn wake_lanes(&mut self) {
        for track in self.lanes.values_mut() {
            track.rests_until = Duration::ZERO;
            track.failures = 0;
        }
    }

    /// Takes ready tasks of a message back out of their lanes; false if one is running.
    pub(super) fn withdraw(&mut self, id: SpoolId) -> bool {
        if self.is_running(id) {
            return false;
        }
        let mut taken = 0;
        for track in self.lanes.values_mut() {
            let before = track.ready.len();
            track.ready.retain(|task| task.id != id);
            taken += before - track.ready.len();
        }
        self.ready -= taken;
        let lanes = &self.lanes;
        self.turns.retain(|lane| lanes.get(lane).is_some_and(|track| !track.ready.is_empty()));
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
                Err(at) => slots.insert(at, Slot { index, state }),
            }
        }
        if slots.is_empty() {
            self.jobs.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
