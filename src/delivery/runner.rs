//! The queue-runner: one thread that watches the time and routes what is due, and the delivery threads, which are started
//! on demand and end when nothing is left for them.

use super::lanes::{Lane, Limits};
use super::table::{Table, Task};
use super::{Hop, Office, Route, lines, local, outcome, program, remote, schedule};
use crate::mail::{Origin, Recipient};
use crate::spool::{Entry, SpoolError};
use crossbeam_channel::{Receiver, Sender, bounded, select};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The longest time it sleeps; nothing depends on it.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// When something of our own stands in the way (disk, threads): tried again after that long.
pub(super) const OWN_TROUBLE: Duration = Duration::from_secs(30);

/// Bytes of a thread's stack.
const STACK: usize = 512 * 1024;

/// For so long a line is kept open without a message to send. It is for times of much traffic: short, since the thread is
/// missed elsewhere.
const LINGER: Duration = Duration::from_millis(20);

/// Messages sent over one connection.
const MOST_PER_CONNECTION: u32 = 100;

/// Wakes the queue-runner.
#[derive(Debug)]
pub(super) struct Wake(Sender<()>);

impl Wake {
    /// With what the thread waits on.
    pub(super) fn new() -> (Wake, Receiver<()>) {
        let (sender, receiver) = bounded(1);
        (Wake(sender), receiver)
    }

    /// There is something new in the table.
    pub(super) fn wake(&self) {
        // If it is full the thread will look anyway.
        let _ = self.0.try_send(());
    }
}

/// Starts the queue-runner.
pub(super) fn start(office: &Arc<Office>, woken: Receiver<()>) -> Option<JoinHandle<()>> {
    let office = office.clone();
    let run = move || {
        while !office.is_stopping() {
            look(&office);
            let now = office.clock.elapsed();
            let next = office.table().next_look().map_or(LONGEST_SLEEP, |due| due.saturating_sub(now));
            select! {
                recv(woken) -> _ => {}
                recv(office.clock.after(next.min(LONGEST_SLEEP))) -> _ => {}
            }
        }
    };
    spawn("queue-runner", run)
}

/// Starts a thread of this room.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run);
    thread.map_err(|error| log::error!("event=no-thread name={name} reason=\"{error}\"")).ok()
}

/// Routes what is due and starts threads for what is ready.
fn look(office: &Arc<Office>) {
    let now = office.clock.elapsed();
    loop {
        while let Some(begun) = begin(office) {
            run(office, begun);
        }
        // Not in the condition: its lock would be held in the body.
        let due = if office.is_stopping() { None } else { office.table().take_due(now) };
        let Some(task) = due else { return };
        if catch_unwind(AssertUnwindSafe(|| route(office, &task))).is_err() {
            log::error!("msg={} event=bug reason=\"queue-runner panicked\"", task.id);
            office.table().put_back(&task, now + OWN_TROUBLE);
        }
    }
}

fn begin(office: &Office) -> Option<(Lane, Task)> {
    if office.is_stopping() {
        return None;
    }
    let limits = Limits::of(&office.config().queue);
    let now = office.clock.elapsed();
    office.table().begin(limits, now)
}

fn run(office: &Arc<Office>, (lane, task): (Lane, Task)) {
    let (shared, name) = (office.clone(), lane.clone());
    let seat = Seat { office: office.clone(), lane, again: task.again, task: Some(task), talking: false };
    if spawn("delivery", move || work(shared, seat)).is_none() {
        // The seat was dropped with the closure and has put the task back.
        log::warn!("event=no-delivery-thread lane={name:?}");
    }
}

/// Finds out where the due recipients of a message go.
fn route(office: &Arc<Office>, task: &Task) {
    let now = office.clock.elapsed();
    let entry = match office.journal.read(task.id) {
        Ok(entry) => entry,
        Err(error) => return unreadable(office, task, &error),
    };
    if let Some(wait) = not_yet(office, &entry) {
        return office.table().wait(task.id, &task.recipients, now + wait);
    }
    let mut lanes: BTreeMap<Lane, Vec<u32>> = BTreeMap::new();
    let mut decided = Vec::new();
    for &index in &task.recipients {
        let lane = match super::recipient(&entry, index) {
            None => continue,
            Some(Recipient { line: Some(line), .. }) => Ok(Lane::Lines(local::lane_of(line))),
            Some(Recipient { place: Some(_), .. }) => Ok(Lane::Local),
            Some(Recipient { address, .. }) => match office.route(address) {
                Ok(Route::Local(_) | Route::Expand) => Ok(Lane::Local),
                Ok(Route::Remote(hop)) => Ok(Lane::Remote(hop)),
                Ok(Route::NoUser) => Err(outcome::Verdict::no_user()),
                Err(error) => Err(outcome::Verdict::own_trouble(&error)),
            },
        };
        match lane {
            Ok(lane) => lanes.entry(lane).or_default().push(index),
            Err(verdict) => decided.push((index, verdict)),
        }
    }
    let priority = local::priority(&entry);
    for (lane, recipients) in lanes {
        let unreached = office.table().ready(lane, task.part(recipients).at(priority), now);
        if let Some((task, trouble)) = unreached {
            remote::conclude_unreached(office, &entry, &task, &trouble);
        }
    }
    outcome::conclude(office, &entry, true, decided);
}

/// Its sender wants it to leave later (RFC 4865 §4.2): when to look again. That time is of the wall clock, which may be set
/// meanwhile, so it is looked at now and then. It is no due time: those that lie far ahead are due at once. A clock that was set
/// back keeps nothing for longer than was asked for when it came: that long by the clock that never jumps, which begins anew with
/// the daemon. What comes without such a wish never waits here, even if it came at a time that lies ahead; nor does what was tried
/// before, as is what its sender then wanted to leave at once.
pub(super) fn not_yet(office: &Office, entry: &Entry) -> Option<Duration> {
    entry.envelope.release.as_ref()?;
    if office.journal.waiting(entry.id).is_some_and(|message| message.is_tried()) {
        return None;
    }
    let user = if let Origin::User(name) = &entry.envelope.origin { Some(name.as_str()) } else { None };
    let (now, left) = (office.clock.elapsed(), entry.begins().since(office.clock.now()));
    let until = office.table().kept_until(entry.id, now + entry.begins().since(entry.time), user);
    let left = left.min(until.saturating_sub(now));
    (!left.is_zero()).then(|| left.min(LONGEST_SLEEP))
}

/// A message that can't be read: settled meanwhile, or the disk fails.
pub(super) fn unreadable(office: &Office, task: &Task, error: &SpoolError) {
    if let SpoolError::Unknown(_) = error {
        return office.table().settled(task.id, &task.recipients);
    }
    log::error!("msg={} event=unreadable reason=\"{error}\"", task.id);
    office.table().wait(task.id, &task.recipients, office.clock.elapsed() + OWN_TROUBLE);
}

/// What a session itself brings on its way, for a first time. However that ends, what was neither settled nor left to others
/// waits for the queue-runner.
pub(super) struct InHand<'a> {
    office: &'a Office,
    tasks: Vec<Task>,
}

impl<'a> InHand<'a> {
    /// All recipients of these.
    pub(super) fn begin(office: &'a Office, entries: &[Entry]) -> InHand<'a> {
        let all = |entry: &Entry| (0..).zip(&entry.envelope.recipients).map(|(index, _)| index).collect();
        let mut tasks: Vec<Task> = entries.iter().map(|entry| Task::new(entry.id, all(entry))).collect();
        let mut table = office.table();
        tasks.iter_mut().for_each(|task| table.run(task));
        drop(table);
        InHand { office, tasks }
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let due = self.office.clock.elapsed() + OWN_TROUBLE;
        let mut table = self.office.table();
        self.tasks.iter().for_each(|task| table.put_back(task, due));
    }
}

/// A delivery thread's place at a lane. However the thread ends, the place is given back, and a task that was not brought to
/// its end waits for another try.
struct Seat {
    office: Arc<Office>,
    lane: Lane,
    /// It was begun for mail that came again.
    again: bool,
    task: Option<Task>,
    /// It has a host on the line.
    talking: bool,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = self.office.clock.elapsed();
        let mut table = self.office.table();
        if let Some(task) = self.task.take() {
            table.put_back(&task, now + OWN_TROUBLE);
        }
        table.lanes.leave(&self.lane, self.talking, self.again, now);
        drop(table);
        self.office.runner.wake();
    }
}

/// One task after the other, for one lane.
fn work(office: Arc<Office>, mut seat: Seat) {
    let mut line: Option<remote::Line> = None;
    while let Some(task) = &seat.task {
        let done = catch_unwind(AssertUnwindSafe(|| match &seat.lane {
            Lane::Local => {
                local::run(&office, task);
                true
            }
            Lane::Lines(_) => {
                lines::run(&office, task);
                true
            }
            Lane::Remote(Hop::Program(program)) => {
                program::run(&office, program, task);
                true
            }
            Lane::Remote(hop) => remote::run(&office, hop, task, &mut line),
        }));
        if done.is_err() {
            log::error!("msg={} event=bug reason=\"delivery thread panicked\"", task.id);
            return;
        }
        if line.as_ref().is_some_and(|line| line.messages() >= MOST_PER_CONNECTION) {
            remote::hang_up(line.take());
        }
        let mut table = office.table();
        table.lanes.talks(&seat.lane, seat.talking, line.is_some());
        seat.talking = line.is_some();
        let go_on = done.is_ok_and(|go_on| go_on) && !office.is_stopping();
        seat.task = go_on.then(|| table.more(&seat.lane)).flatten();
        if go_on && line.is_some() && seat.task.is_none() {
            seat.task = linger(&office, table, &seat.lane);
        }
    }
    // The place is free for others while QUIT is said; table and journal are let go.
    drop((seat, office));
    remote::hang_up(line);
}

/// Waits a moment for another task of a lane, so that the line to its host need not be opened again for it.
fn linger<'a>(office: &'a Office, mut table: MutexGuard<'a, Table>, lane: &Lane) -> Option<Task> {
    let (thread, end) = (thread::current(), Instant::now() + LINGER);
    if !table.lanes.linger(lane, thread.clone()) {
        return None;
    }
    loop {
        drop(table);
        // It may be woken for nothing: others unpark this thread too.
        thread::park_timeout(end.saturating_duration_since(Instant::now()));
        table = office.table();
        if table.lanes.is_called(lane, &thread) || Instant::now() >= end {
            table.lanes.end_linger(lane, &thread);
            return table.more(lane);
        }
    }
}

/// The time of a due entry in the journal, on the clock that never jumps. One further away than the longest wait is due now.
pub(super) fn due_in_table(office: &Office, due: crate::sys::Time) -> Duration {
    let wait = due.since(office.clock.now());
    let now = office.clock.elapsed();
    if wait > schedule::longest(&office.config().queue) { now } else { now + wait }
}

/// Waits until no delivery thread is at work; at most that long.
pub(super) fn wait_until_idle(office: &Office, within: Duration) -> bool {
    let end = Instant::now() + within;
    while office.table().lanes.threads() > 0 {
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}
