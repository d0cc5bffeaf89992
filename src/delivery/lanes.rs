//! Destinations: how many threads work for each, what lies ready for it, and whether it rests. Pure.
//!
//! See `table` for how tasks come here, and why there are two queues of everything.

use super::Hop;
use super::outcome::Trouble;
use super::ready::Ready;
use super::table::Task;
use crate::config::schema::Queue;
use crate::spool::SpoolId;
use std::collections::{HashMap, VecDeque};
use std::thread::Thread;
use std::time::Duration;

/// Tasks that lie ready, of new mail and of mail that comes again, before more is taken from those that wait: these take
/// less memory.
pub(super) const MOST_READY: usize = 4096;

/// Threads for mailboxes here, beside those for other hosts.
const LOCAL_WORKERS: usize = 4;

/// A lane that could not be reached is remembered for so long after its rest, so that a second failure makes it rest longer.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Lanes to be forgotten are looked for so often.
const SWEEP: Duration = Duration::from_secs(60);

/// A lane that was reached is remembered for so long.
const PROVEN: Duration = Duration::from_secs(24 * 3600);

/// A host that said nothing for so long is mute: its threads are nobody else's loss, up to so many for each worker. They only
/// wait, and take some KiB each.
const PATIENCE: Duration = Duration::from_secs(2);
pub(super) const MUTE_FOR_EACH: usize = 32;

/// Where a task goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Mailboxes here.
    Local,
    /// Files and commands that this user's `.forward` names; of nobody: the alias file.
    Lines(String),
    /// Another host.
    Remote(Hop),
}

impl Lane {
    /// Does it lead to a host, which may be mute? A program only takes its time.
    fn is_of_host(&self) -> bool {
        matches!(self, Lane::Remote(hop) if !matches!(hop, Hop::Program(_)))
    }
}

/// One for new mail, and one for mail that comes again.
#[derive(Debug, Default)]
pub(super) struct Both<T> {
    pub(super) fresh: T,
    pub(super) again: T,
}

impl<T> Both<T> {
    pub(super) fn get(&self, again: bool) -> &T {
        if again { &self.again } else { &self.fresh }
    }

    pub(super) fn of(&mut self, again: bool) -> &mut T {
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
    /// As configured.
    pub(super) fn of(queue: &Queue) -> Limits {
        Limits { workers: queue.workers.max(1), per_lane: queue.per_destination.max(1) }
    }

    /// Threads for mail that comes again.
    fn again(self) -> usize {
        (self.workers * 3 / 4).max(1)
    }

    /// Threads for hosts of which it is not known that they answer.
    fn unproven(self) -> usize {
        self.workers - self.workers / 8
    }

    /// Threads beside all these, that wait for hosts that say nothing.
    fn mute(self) -> usize {
        self.workers * MUTE_FOR_EACH
    }
}

#[derive(Debug, Default)]
struct Track {
    ready: Both<Ready>,
    /// Has it a turn? One may be left when nothing lies ready any more.
    turn: Both<bool>,
    threads: usize,
    /// Threads of these that talk to a host.
    talking: usize,
    /// Those of them that have nothing to do, and wait a moment for more.
    lingering: Vec<Thread>,
    /// Of these, so many were called and did not come yet.
    called: usize,
    /// More threads than so many were turned away.
    most: Option<usize>,
    /// Not before.
    rests_until: Duration,
    /// Why it rests.
    trouble: Option<Box<Trouble>>,
    /// Times in a row that it could not be reached.
    failures: u32,
    /// When it was reached last, if no try was in vain since.
    reached: Option<Duration>,
    /// It was not, and its threads have waited for long.
    is_mute: bool,
}

/// All of them. See the module.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    tracks: HashMap<Lane, Track>,
    /// Those with ready tasks, in turn.
    turns: Both<VecDeque<Lane>>,
    ready: Both<usize>,
    remote_threads: usize,
    /// Those of them that were started for mail that comes again.
    again_threads: usize,
    /// Those of them for lanes that were not reached before.
    unproven_threads: usize,
    /// Those of these whose hosts say nothing.
    mute_threads: usize,
    /// Lanes that have threads and were not reached yet, and when they are mute.
    watched: VecDeque<(Duration, Lane)>,
    local_threads: usize,
    /// When to look for those to be forgotten.
    sweep: Duration,
}

impl Track {
    fn is_idle(&self, now: Duration) -> bool {
        let is_proven = self.reached.is_some_and(|reached| reached + PROVEN > now);
        let is_known = is_proven || self.failures > 0 && self.rests_until + REMEMBERED > now;
        self.threads == 0 && self.ready.fresh.is_empty() && self.ready.again.is_empty() && !is_known
    }
}

impl Lanes {
    /// May more tasks lie ready?
    pub(super) fn has_room(&self, again: bool) -> bool {
        *self.ready.get(again) < MOST_READY
    }

    /// Until when a lane rests, if it does, and why.
    pub(super) fn rest_of(&self, lane: &Lane, now: Duration) -> Option<(Duration, Option<&Trouble>)> {
        let track = self.tracks.get(lane).filter(|track| track.rests_until > now)?;
        Some((track.rests_until, track.trouble.as_deref()))
    }

    /// A task lies ready.
    pub(super) fn push(&mut self, lane: Lane, task: Task) {
        self.tracks.entry(lane.clone()).or_default();
        self.queue(&lane, task, false);
    }

    /// Puts a task among those that lie ready for a lane.
    fn queue(&mut self, lane: &Lane, task: Task, first: bool) {
        let Some(track) = self.tracks.get_mut(lane) else { return };
        let again = task.again;
        track.ready.of(again).push(task, first);
        *self.ready.of(again) += 1;
        if let Some(thread) = track.lingering.pop() {
            track.called += 1;
            thread.unpark();
        }
        if !std::mem::replace(track.turn.of(again), true) {
            let turns = self.turns.of(again);
            // The latest first of which nothing is known: behind many that say nothing it would wait for all of them.
            let is_new = !again && track.threads == 0 && track.reached.is_none() && lane.is_of_host();
            if is_new { turns.push_front(lane.clone()) } else { turns.push_back(lane.clone()) }
        }
    }

    /// A ready task for a new thread, in turn of the lanes; new mail first.
    pub(super) fn begin(&mut self, limits: Limits, now: Duration) -> Option<(Lane, Task)> {
        self.find_mute(limits, now);
        self.begin_of(false, limits, now).or_else(|| self.begin_of(true, limits, now))
    }

    /// Looks for lanes whose threads have waited for long, and counts these no longer.
    fn find_mute(&mut self, limits: Limits, now: Duration) {
        while self.watched.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, lane)) = self.watched.pop_front() else { return };
            let is_waiting = |track: &&mut Track| track.reached.is_none() && track.threads > 0 && !track.is_mute;
            let Some(track) = self.tracks.get_mut(&lane).filter(is_waiting) else { continue };
            if self.mute_threads >= limits.mute() {
                self.watched.push_back((now + PATIENCE, lane));
                continue;
            }
            track.is_mute = true;
            self.mute_threads += track.threads;
        }
    }

    /// When another thread may be had for what lies ready, if none is given back before.
    pub(super) fn next_mute(&self) -> Option<Duration> {
        let is_waited_for = self.ready.fresh + self.ready.again > 0;
        self.watched.front().filter(|_| is_waited_for).map(|(due, _)| *due)
    }

    fn begin_of(&mut self, again: bool, limits: Limits, now: Duration) -> Option<(Lane, Task)> {
        let mut turns = std::mem::take(self.turns.of(again));
        let found = self.find_turn(&mut turns, again, limits);
        turns.extend(found.clone());
        *self.turns.of(again) = turns;
        let lane = found?;
        let task = self.pop(&lane, again)?;
        self.enter(&lane, again, now);
        Some((lane, task))
    }

    /// Takes the first lane that may begin from those that have a turn. Who may not keeps its place.
    fn find_turn(&mut self, turns: &mut VecDeque<Lane>, again: bool, limits: Limits) -> Option<Lane> {
        let mut at = 0;
        while let Some(lane) = turns.get(at) {
            let track = self.tracks.get(lane);
            if track.is_none_or(|track| track.ready.get(again).is_empty()) {
                if let Some(track) = self.tracks.get_mut(lane) {
                    *track.turn.of(again) = false;
                }
                turns.remove(at);
            } else if self.has_thread(lane, again, limits) && !self.is_staffed(lane, limits) {
                return turns.remove(at);
            } else {
                at += 1;
            }
        }
        None
    }

    /// May another thread be started for a lane, as far as all threads go?
    fn has_thread(&self, lane: &Lane, again: bool, limits: Limits) -> bool {
        match lane {
            Lane::Local => self.local_threads < LOCAL_WORKERS,
            Lane::Lines(_) | Lane::Remote(_) => {
                self.remote_threads.saturating_sub(self.mute_threads) < limits.workers
                    && (!again || self.again_threads < limits.again())
                    && (self.is_proven(lane) || self.unproven_threads.saturating_sub(self.mute_threads) < limits.unproven())
            }
        }
    }

    /// Does no other thread have to come for what lies ready for a lane? There may be no more, or those come that were called.
    pub(super) fn is_staffed(&self, lane: &Lane, limits: Limits) -> bool {
        let most = if *lane == Lane::Local { LOCAL_WORKERS } else { limits.per_lane };
        self.tracks.get(lane).is_some_and(|track| {
            let ready = track.ready.fresh.len() + track.ready.again.len();
            track.threads >= most.min(track.most.unwrap_or(most)) || track.called >= ready || track.is_mute
        })
    }

    /// A thread of a lane has nothing to do and waits to be called. False: there is work elsewhere.
    pub(super) fn linger(&mut self, lane: &Lane, thread: Thread) -> bool {
        let Some(track) = self.tracks.get_mut(lane).filter(|_| self.ready.fresh + self.ready.again == 0) else { return false };
        track.lingering.push(thread);
        true
    }

    /// Was it called?
    pub(super) fn is_called(&self, lane: &Lane, thread: &Thread) -> bool {
        self.tracks.get(lane).is_none_or(|track| track.lingering.iter().all(|other| other.id() != thread.id()))
    }

    /// It waits no longer, called or not.
    pub(super) fn end_linger(&mut self, lane: &Lane, thread: &Thread) {
        let Some(track) = self.tracks.get_mut(lane) else { return };
        let before = track.lingering.len();
        track.lingering.retain(|other| other.id() != thread.id());
        if track.lingering.len() == before {
            track.called = track.called.saturating_sub(1);
        }
    }

    /// A ready task of this lane.
    pub(super) fn pop(&mut self, lane: &Lane, again: bool) -> Option<Task> {
        let task = self.tracks.get_mut(lane)?.ready.of(again).pop()?;
        *self.ready.of(again) -= 1;
        Some(task)
    }

    fn is_proven(&self, lane: &Lane) -> bool {
        self.tracks.get(lane).is_some_and(|track| track.reached.is_some())
    }

    fn enter(&mut self, lane: &Lane, again: bool, now: Duration) {
        if let Some(track) = self.tracks.get_mut(lane) {
            track.threads += 1;
            if *lane != Lane::Local && track.reached.is_none() {
                self.unproven_threads += 1;
                if track.threads == 1 && lane.is_of_host() {
                    self.watched.push_back((now + PATIENCE, lane.clone()));
                }
            }
            *self.threads_of(lane) += 1;
            self.again_threads += usize::from(is_counted(lane, again));
        }
    }

    /// A thread of a lane begins or ends to talk to a host.
    pub(super) fn talks(&mut self, lane: &Lane, before: bool, now: bool) {
        if let Some(track) = self.tracks.get_mut(lane) {
            track.talking = (track.talking + usize::from(now)).saturating_sub(usize::from(before));
        }
    }

    /// A host turned the thread of a task away: see [`Table::leave_to_others`](super::table::Table::leave_to_others).
    pub(super) fn leave_to_others(&mut self, lane: &Lane, task: &Task, talked: bool) -> bool {
        let Some(track) = self.tracks.get_mut(lane) else { return false };
        let others = track.talking.saturating_sub(usize::from(talked));
        if others == 0 {
            return false;
        }
        track.most = Some(others);
        self.queue(lane, task.clone(), true);
        true
    }

    /// A thread, talking or not, stops working for a lane; `again`: it was started for mail that came again.
    pub(super) fn leave(&mut self, lane: &Lane, talking: bool, again: bool, now: Duration) {
        self.talks(lane, talking, false);
        let Some(track) = self.tracks.get_mut(lane) else { return };
        track.threads = track.threads.saturating_sub(1);
        let is_unproven = *lane != Lane::Local && track.reached.is_none();
        self.unproven_threads = self.unproven_threads.saturating_sub(usize::from(is_unproven));
        self.mute_threads = self.mute_threads.saturating_sub(usize::from(track.is_mute));
        track.is_mute &= track.threads > 0;
        if track.is_idle(now) {
            self.tracks.remove(lane);
        }
        let threads = self.threads_of(lane);
        *threads = threads.saturating_sub(1);
        self.again_threads = self.again_threads.saturating_sub(usize::from(is_counted(lane, again)));
        if self.sweep <= now {
            self.tracks.retain(|_, track| !track.is_idle(now));
            self.sweep = now + SWEEP;
        }
    }

    fn threads_of(&mut self, lane: &Lane) -> &mut usize {
        if *lane == Lane::Local { &mut self.local_threads } else { &mut self.remote_threads }
    }

    /// How often in a row a lane could not be reached.
    pub(super) fn failures(&self, lane: &Lane) -> u32 {
        self.tracks.get(lane).map_or(0, |track| track.failures)
    }

    /// A lane was reached.
    pub(super) fn reached(&mut self, lane: &Lane, now: Duration) {
        if let Some(track) = self.tracks.get_mut(lane) {
            if track.reached.replace(now).is_none() {
                self.unproven_threads = self.unproven_threads.saturating_sub(track.threads);
            }
            if std::mem::take(&mut track.is_mute) {
                self.mute_threads = self.mute_threads.saturating_sub(track.threads);
            }
            track.failures = 0;
            track.rests_until = Duration::ZERO;
            track.trouble = None;
        }
    }

    /// A lane could not be reached: it rests until then. Gives the tasks that lay ready for it.
    pub(super) fn rest(&mut self, lane: &Lane, trouble: &Trouble, now: Duration, until: Duration) -> Vec<Task> {
        let Some(track) = self.tracks.get_mut(lane) else { return Vec::new() };
        // Those who asked at the same time find out the same.
        if track.rests_until <= now {
            track.failures = track.failures.saturating_add(1);
            track.rests_until = until;
        }
        track.trouble = Some(Box::new(trouble.clone()));
        if track.reached.take().is_some() {
            self.unproven_threads += track.threads;
        }
        let mut tasks = Vec::new();
        for again in [false, true] {
            let ready = track.ready.of(again);
            *self.ready.of(again) -= ready.len();
            tasks.extend(ready.drain());
        }
        tasks
    }

    /// How many are remembered, how many tasks lie ready, and how many lanes have a turn, of new mail and of mail that comes again.
    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 5] {
        let (ready, turns) = (&self.ready, &self.turns);
        [self.tracks.len(), ready.fresh, ready.again, turns.fresh.len(), turns.again.len()]
    }

    /// Threads at work.
    pub(super) fn threads(&self) -> usize {
        self.remote_threads + self.local_threads
    }

    /// All lanes may be asked again.
    pub(super) fn wake(&mut self) {
        for track in self.tracks.values_mut() {
            track.rests_until = Duration::ZERO;
            track.failures = 0;
        }
    }

    /// The tasks of these messages lie ready no more.
    pub(super) fn withdraw(&mut self, is_one: impl Fn(SpoolId) -> bool) {
        for track in self.tracks.values_mut() {
            for again in [false, true] {
                let ready = track.ready.of(again);
                let before = ready.len();
                ready.retain(|task| !is_one(task.id));
                *self.ready.of(again) -= before - ready.len();
            }
        }
    }
}

/// Is a thread one of those of which only a part may be for mail that comes again?
fn is_counted(lane: &Lane, again: bool) -> bool {
    again && *lane != Lane::Local
}
