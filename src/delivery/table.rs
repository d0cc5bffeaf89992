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
//! Of what lies ready in a lane the more urgent mail goes first (see `ready`). How urgent it is its header tells, which is read
//! when its way is found out.
//!
//! A lane is a destination (see `lanes`): it bounds how many threads work for it, and rests for a while when it could not be
//! reached.
//!
//! Mail that was deferred comes *again*. It stands back for new mail, everywhere: most of it is for hosts that don't answer,
//! and each of these keeps a thread for as long as it is waited for. So it has queues of its own, and a part of the threads is
//! never for it; however much of it is due, new mail for a host that answers leaves at once.
//!
//! New mail, too, may be for hosts that never answer, and for thousands of them. So a part of the threads is only for lanes
//! that were reached before, since the last try in vain; and a thread whose host has said nothing for two seconds counts
//! no longer: it only waits, and another is started in its place, for the lane that came last.

use super::lanes::{Both, Lane, Lanes, Limits};
use super::outcome::Trouble;
use crate::mail::Priority;
use crate::spool::SpoolId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

/// Recipients of one message that go one way together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// The message.
    pub(super) id: SpoolId,
    /// Indices into its recipients, ascending.
    pub(super) recipients: Vec<u32>,
    /// All of them were deferred before.
    pub(super) again: bool,
    /// How much it hurries.
    pub(super) priority: Priority,
    /// The number under which it runs, or ran last.
    run: u64,
}

impl Task {
    /// One that does not run yet, of new mail.
    pub(super) fn new(id: SpoolId, recipients: Vec<u32>) -> Task {
        Task { id, recipients, again: false, priority: Priority::Normal, run: 0 }
    }

    /// Some of its recipients.
    pub(super) fn part(&self, recipients: Vec<u32>) -> Task {
        Task { again: self.again, ..Task::new(self.id, recipients) }
    }

    /// The same, with this priority.
    pub(super) fn at(self, priority: Priority) -> Task {
        Task { priority, ..self }
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

/// A message that is kept back.
#[derive(Clone, Debug)]
struct Kept {
    /// No longer than that.
    until: Duration,
    /// Who handed it in.
    user: Option<Box<str>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    jobs: HashMap<SpoolId, Vec<Slot>>,
    /// Numbers of runs given so far.
    runs: u64,
    /// When to look at a job; entries that nothing is due for any more do no harm.
    due: Both<BinaryHeap<Reverse<(Duration, SpoolId)>>>,
    pub(super) lanes: Lanes,
    /// Messages that are kept back because their senders want them to leave later.
    kept: HashMap<SpoolId, Kept>,
}

impl Table {
    /// Recipients wait until `due` for their (next) try.
    pub(super) fn wait(&mut self, id: SpoolId, recipients: &[u32], due: Duration) {
        self.set(id, recipients, State::Waiting(due));
        let again = recipients.iter().all(|index| self.slot(id, *index).is_none_or(|slot| slot.again));
        self.due.of(again).push(Reverse((due, id)));
    }

    /// The same, after a try.
    pub(super) fn defer(&mut self, id: SpoolId, recipients: &[u32], due: Duration) {
        self.set(id, recipients, State::Waiting(due));
        if let Some(slots) = self.jobs.get_mut(&id) {
            for index in recipients {
                let at = slots.binary_search_by_key(index, |slot| slot.index);
                at.ok().and_then(|at| slots.get_mut(at)).into_iter().for_each(|slot| slot.again = true);
            }
        }
        self.due.again.push(Reverse((due, id)));
    }

    /// A recipient waits for an operator.
    pub(super) fn hold(&mut self, id: SpoolId, recipients: &[u32]) {
        self.set(id, recipients, State::Held);
    }

    /// Until when a message is kept back at most, as its sender wants it: what was told when this was asked first. `user`: who
    /// handed it in.
    pub(super) fn kept_until(&mut self, id: SpoolId, until: Duration, user: Option<&str>) -> Duration {
        self.kept.entry(id).or_insert_with(|| Kept { until, user: user.map(Box::from) }).until
    }

    /// Those of a user that were kept back, and are not settled.
    pub(super) fn kept_of(&self, user: &str) -> Vec<SpoolId> {
        self.kept.iter().filter(|(_, kept)| kept.user.as_deref() == Some(user)).map(|(id, _)| *id).collect()
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
            let mut recipients = recipients.to_vec();
            recipients.sort_unstable();
            slots.retain(|slot| recipients.binary_search(&slot.index).is_err());
            if slots.is_empty() {
                self.jobs.remove(&id);
                self.kept.remove(&id);
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
        if let Some((until, trouble)) = self.lanes.rest_of(&lane, now) {
            if let Some(trouble) = trouble.filter(|_| task.again).cloned() {
                self.run(&mut task);
                return Some((task, Box::new(trouble)));
            }
            self.defer(task.id, &task.recipients, until);
            return None;
        }
        task.again |= self.lanes.failures(&lane) > 0;
        if !self.lanes.has_room(task.again) {
            self.wait(task.id, &task.recipients, now);
            return None;
        }
        self.set(task.id, &task.recipients, State::Ready);
        self.lanes.push(lane, task);
        None
    }

    /// A message whose waiting recipients are due, while there is room for ready tasks. They count as running while they
    /// are being routed.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Task> {
        self.take_due_of(false, now).or_else(|| self.take_due_of(true, now))
    }

    fn take_due_of(&mut self, again: bool, now: Duration) -> Option<Task> {
        while self.lanes.has_room(again) {
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
                return Some(Task { again, run, ..Task::new(id, recipients) });
            }
        }
        None
    }

    /// When to look again, if nothing else happens: something gets due, or a thread may be had.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let next =
            [false, true].into_iter().filter(|again| self.lanes.has_room(*again)).filter_map(|again| self.due.get(again).peek());
        next.map(|Reverse((due, _))| *due).chain(self.lanes.next_mute()).min()
    }

    /// A message was made ready for a lane: is there something for the queue-runner to do? Not if it lies ready there, a thread
    /// will come for it, and nothing else is due.
    pub(super) fn needs_runner(&self, id: SpoolId, lane: &Lane, limits: Limits, now: Duration) -> bool {
        let waits = |slot: &Slot| matches!(slot.state, State::Waiting(_));
        !self.lanes.is_staffed(lane, limits)
            || self.jobs.get(&id).is_some_and(|slots| slots.iter().any(waits))
            || self.next_look().is_some_and(|due| due <= now)
    }

    /// A ready task for a new thread, in turn of the lanes; new mail first.
    pub(super) fn begin(&mut self, limits: Limits, now: Duration) -> Option<(Lane, Task)> {
        let (lane, mut task) = self.lanes.begin(limits, now)?;
        self.run(&mut task);
        Some((lane, task))
    }

    /// Another task for a thread that works for this lane.
    pub(super) fn more(&mut self, lane: &Lane) -> Option<Task> {
        let mut task = self.lanes.pop(lane, false).or_else(|| self.lanes.pop(lane, true))?;
        self.run(&mut task);
        Some(task)
    }

    /// A host turned this task's thread away, while it talks to others of the lane: it is left to them, and no more threads
    /// than these are started. False: there are no others. `talked`: the thread itself counts as talking.
    pub(super) fn leave_to_others(&mut self, lane: &Lane, task: &Task, talked: bool) -> bool {
        let others = self.lanes.leave_to_others(lane, task, talked);
        if others {
            self.set(task.id, &task.recipients, State::Ready);
        }
        others
    }

    /// A lane could not be reached and rests. Gives the tasks that lay ready for it, which count as tried as well: they are
    /// running now, the caller's to end.
    pub(super) fn rest(&mut self, lane: &Lane, trouble: &Trouble, now: Duration, until: Duration) -> Vec<Task> {
        let mut tasks = self.lanes.rest(lane, trouble, now, until);
        tasks.iter_mut().for_each(|task| self.run(task));
        tasks
    }

    /// Recipients with a slot, ascending; empty when there is none.
    pub(super) fn recipients(&self, id: SpoolId) -> Vec<u32> {
        self.jobs.get(&id).into_iter().flatten().map(|slot| slot.index).collect()
    }

    /// Has this recipient a slot?
    pub(super) fn has(&self, id: SpoolId, index: u32) -> bool {
        self.slot(id, index).is_some()
    }

    /// There may be ten thousand, in order of their index.
    fn slot(&self, id: SpoolId, index: u32) -> Option<&Slot> {
        let slots = self.jobs.get(&id)?;
        slots.get(slots.binary_search_by_key(&index, |slot| slot.index).ok()?)
    }

    /// Those of them that wait for an operator.
    pub(super) fn held(&self, id: SpoolId) -> Vec<u32> {
        let held = |slot: &&Slot| slot.state == State::Held;
        self.jobs.get(&id).into_iter().flatten().filter(held).map(|slot| slot.index).collect()
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

    /// Holds these recipients of messages, as far as they have slots, so that nobody begins them meanwhile, and leaves in the
    /// list what is held now. What else lay ready of a message waits and is due. Messages of which something is running are left
    /// alone; gives their number.
    pub(super) fn seize(&mut self, messages: &mut Vec<(SpoolId, Vec<u32>)>, now: Duration) -> usize {
        messages.retain_mut(|(id, recipients)| {
            recipients.retain(|index| self.has(*id, *index));
            !recipients.is_empty()
        });
        let before = messages.len();
        messages.retain(|(id, _)| !self.is_running(*id));
        let is_ready = |slot: &&Slot| slot.state == State::Ready;
        let ready = messages.iter().filter_map(|(id, _)| {
            let slots = self.jobs.get(id).into_iter().flatten();
            let ready: Vec<u32> = slots.filter(is_ready).map(|slot| slot.index).collect();
            (!ready.is_empty()).then_some((*id, ready))
        });
        let ready: HashMap<SpoolId, Vec<u32>> = ready.collect();
        if !ready.is_empty() {
            self.lanes.withdraw(|id| ready.contains_key(&id));
        }
        ready.iter().for_each(|(id, recipients)| self.wait(*id, recipients, now));
        messages.iter().for_each(|(id, recipients)| self.hold(*id, recipients));
        before - messages.len()
    }

    fn set(&mut self, id: SpoolId, recipients: &[u32], state: State) {
        let slots = self.jobs.entry(id).or_insert_with(|| Vec::with_capacity(recipients.len()));
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

#[cfg(test)]
mod tests;
