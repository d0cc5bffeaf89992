//! The clerk: a thread that tells the journal what other hosts have taken. Who sends goes on with the next message meanwhile,
//! and one sync serves all that came in during the one before.

use super::Office;
use super::runner::spawn;
use crate::spool::{Outcome, SpoolError};
use crossbeam_channel::{Receiver, SendError, Sender, bounded};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Messages of which outcomes may wait for the one sync: after a power cut those are sent again. Who has more waits.
const MOST_WAITING: usize = 32;

/// Between two syncs, unless many wait: in times of much traffic more messages share one, and those that come in have the disk
/// meanwhile. What comes after a pause is written down at once.
pub(super) const REST: Duration = Duration::from_millis(3);

/// The way to the clerk.
#[derive(Debug)]
pub(super) struct Clerk(Sender<Vec<Outcome>>);

impl Clerk {
    /// With what the thread waits on.
    pub(super) fn new() -> (Clerk, Receiver<Vec<Outcome>>) {
        let (sender, receiver) = bounded(MOST_WAITING);
        (Clerk(sender), receiver)
    }

    /// These are to be written down, soon. Nobody is to serve them any more.
    pub(super) fn note(&self, office: &Office, outcomes: Vec<Outcome>) {
        if let Err(SendError(outcomes)) = self.0.send(outcomes) {
            settle(office, outcomes);
        }
    }

    /// After what was noted before, it may go home.
    pub(super) fn dismiss(&self) {
        let _ = self.0.send(Vec::new());
    }
}

/// Starts the clerk.
pub(super) fn start(office: &Arc<Office>, notes: Receiver<Vec<Outcome>>) -> Option<JoinHandle<()>> {
    let office = office.clone();
    let work = move || {
        while let Ok(mut outcomes) = notes.recv() {
            let mut dismissed = outcomes.is_empty();
            for more in notes.try_iter().take(MOST_WAITING) {
                dismissed |= more.is_empty();
                outcomes.extend(more);
            }
            settle(&office, outcomes);
            if dismissed {
                return;
            }
            // Nobody wakes it: that costs more than what it writes.
            if notes.len() < MOST_WAITING / 2 {
                thread::sleep(REST);
            }
        }
    };
    spawn("clerk", work)
}

/// Nobody is to serve these any more. True if the journal knows; else they are kept, and the keeper tells it again.
pub(super) fn settle(office: &Office, outcomes: Vec<Outcome>) -> bool {
    let told = office.journal.settle(&outcomes);
    if let Err(error) = &told {
        keep(office, outcomes, error);
    }
    told.is_ok()
}

/// The journal could not take these: the keeper tells it again.
pub(super) fn keep(office: &Office, outcomes: Vec<Outcome>, error: &SpoolError) {
    log::error!("event=outcomes-unwritten count={} reason=\"{error}\"", outcomes.len());
    office.unwritten.lock().unwrap_or_else(PoisonError::into_inner).extend(outcomes);
    office.keeper.stir();
}
