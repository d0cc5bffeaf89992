//! The keeper: a thread that makes mailboxes durable every few seconds and keeps the journal in order. It sleeps while
//! nothing happens.

use super::{Office, feedback, list};
use crossbeam_channel::{Receiver, Sender, bounded, select};
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two looks at the journal.
const TICK: Duration = Duration::from_secs(1);

/// Looks between two checkpoints.
const CHECKPOINT: u32 = 5;

/// Looks without news after which it sleeps longer: what was begun is finished by then.
const QUIET: u32 = 30;

/// How long it sleeps then.
const LONG: Duration = Duration::from_secs(60);

/// Tells the keeper that something happened.
#[derive(Debug)]
pub(super) struct Wake {
    sender: Sender<()>,
    stirred: AtomicBool,
}

impl Wake {
    /// With what the thread waits on.
    pub(super) fn new() -> (Wake, Receiver<()>) {
        let (sender, receiver) = bounded(1);
        (Wake { sender, stirred: AtomicBool::new(false) }, receiver)
    }

    /// Something was written. Wakes it only from its long sleep.
    pub(super) fn stir(&self) {
        if !self.stirred.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Wakes it at once.
    pub(super) fn wake(&self) {
        let _ = self.sender.try_send(());
    }
}

/// Starts the keeper.
pub(super) fn start(office: &Arc<Office>, woken: Receiver<()>) -> Option<JoinHandle<()>> {
    let office = office.clone();
    let thread = thread::Builder::new().name("keeper".to_owned()).spawn(move || keep(&office, &woken));
    thread.map_err(|error| log::error!("event=no-thread name=keeper reason=\"{error}\"")).ok()
}

fn keep(office: &Arc<Office>, woken: &Receiver<()>) {
    let (mut quiet, mut next_look) = (0, Duration::ZERO);
    let mut since_checkpoint = 0;
    loop {
        let asleep = quiet >= QUIET;
        let tick = office.clock.after(if asleep { LONG } else { TICK });
        loop {
            select! {
                recv(tick) -> _ => break,
                // Awake already, a stir is seen at the next tick.
                recv(woken) -> _ => if asleep || office.is_stopping() { break },
            }
        }
        if office.is_stopping() {
            return;
        }
        quiet = if office.keeper.stirred.swap(false, Ordering::SeqCst) { 0 } else { quiet.saturating_add(1) };
        office.store.write_back();
        since_checkpoint += 1;
        if since_checkpoint >= CHECKPOINT || asleep {
            since_checkpoint = 0;
            office.store.checkpoint();
        }
        office.journal.housekeep();
        office.policies.refresh(&office.config().outbound);
        feedback::tend(office);
        write_what_is_left(office);
        if office.clock.elapsed() >= next_look {
            list::expire(office);
            next_look = office.clock.elapsed() + list::LOOK;
        }
    }
}

/// Outcomes that the journal could not take when they came.
pub(super) fn write_what_is_left(office: &Office) {
    let mut unwritten = office.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
    if unwritten.is_empty() {
        return;
    }
    office.keeper.stir();
    match office.journal.settle(&unwritten) {
        Ok(()) => unwritten.clear(),
        Err(error) => log::error!("event=outcomes-unwritten count={} reason=\"{error}\"", unwritten.len()),
    }
}
