//! The tasks that lie ready for a destination, the more urgent ones first (`mail::priority`). Anybody may call mail urgent, so
//! none waits for ever for what does: after some of one priority, one goes that is less urgent. Pure.

use super::table::Task;
use std::collections::VecDeque;

/// How many tasks of a priority may pass one that is less urgent.
const PASSES: u32 = 4;

/// See the module. Those of one priority go in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// By priority.
    queues: [VecDeque<Task>; 3],
    /// How many of each have passed others since the last of these went.
    passed: [u32; 3],
}

impl Ready {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// Are there none?
    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Behind those of its priority; `first`: before them.
    pub(super) fn push(&mut self, task: Task, first: bool) {
        let Some(queue) = self.queues.get_mut(task.priority as usize) else { return };
        if first { queue.push_front(task) } else { queue.push_back(task) }
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<Task> {
        let mut waiting = self.len();
        for (queue, passed) in self.queues.iter_mut().zip(&mut self.passed) {
            waiting -= queue.len();
            if !queue.is_empty() && (waiting == 0 || *passed < PASSES) {
                *passed += u32::from(waiting > 0);
                return queue.pop_front();
            }
            *passed = 0;
        }
        None
    }

    /// All of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Task> + '_ {
        self.queues.iter_mut().flat_map(|queue| queue.drain(..))
    }

    /// Without those of which this is not so.
    pub(super) fn retain(&mut self, keep: impl Fn(&Task) -> bool) {
        self.queues.iter_mut().for_each(|queue| queue.retain(&keep));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Priority::{self, Low, Normal, Urgent};
    use crate::spool::SpoolId;

    fn task(counter: u64, priority: Priority) -> Task {
        Task::new(SpoolId { generation: 1, counter }, vec![0]).at(priority)
    }

    #[test]
    fn the_urgent_go_first_and_nobody_waits_for_ever() {
        let mut ready = Ready::default();
        for (counter, priority) in (1..).zip([Low, Normal, Urgent, Normal, Urgent]) {
            ready.push(task(counter, priority), false);
        }
        ready.push(task(9, Normal), true);
        let order: Vec<u64> = std::iter::from_fn(|| ready.pop()).map(|task| task.id.counter).collect();
        assert_eq!(order, [3, 5, 9, 2, 4, 1]);
        // However many come that are more urgent.
        ready.push(task(1, Low), false);
        ready.push(task(2, Normal), false);
        let mut went = Vec::new();
        for counter in 10..60 {
            ready.push(task(counter, Urgent), false);
            ready.push(task(100 + counter, Normal), false);
            went.push(ready.pop().unwrap().id.counter);
        }
        let at = |counter: u64| went.iter().position(|other| *other == counter);
        assert!(at(2).is_some_and(|at| at <= 4) && at(1).is_some_and(|at| at <= 24), "{went:?}");
        assert_eq!(went.iter().filter(|counter| **counter < 100 && **counter >= 10).count(), 40, "{went:?}");
        assert_eq!(ready.len(), 102 - 50);
        ready.retain(|task| task.priority == Low);
        assert!(ready.is_empty() && ready.drain().count() == 0);
    }
}
