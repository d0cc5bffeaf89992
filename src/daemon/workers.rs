//! Threads that run sessions. One that has nothing to do is given the next session; after some seconds without it ends.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Of address space; a session touches a few pages of it.
const STACK: usize = 256 << 10;
/// How long a thread waits for its next session.
const IDLE: Duration = Duration::from_secs(10);

/// What a worker does with a job.
pub type Run<J> = fn(J);

/// The threads, and the way to them.
#[derive(Debug)]
pub struct Workers<J> {
    /// Without room of its own: it takes a job only when a thread is waiting for one.
    jobs: Sender<J>,
    waiting: Receiver<J>,
    run: Run<J>,
}

impl<J: Send + 'static> Workers<J> {
    /// No threads yet; each will call `run` for each job. A panic in it ends the job only.
    pub fn new(run: Run<J>) -> Workers<J> {
        let (jobs, waiting) = bounded(0);
        Workers { jobs, waiting, run }
    }

    /// Gives a job to a thread that waits, or to a new one. An error gives the job back: there can be no more threads.
    pub fn hand(&self, job: J) -> Result<(), (J, io::Error)> {
        let job = match self.jobs.try_send(job) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
        };
        let slot = Arc::new(Mutex::new(Some(job)));
        let (first, waiting, run) = (slot.clone(), self.waiting.clone(), self.run);
        let thread = thread::Builder::new().name("session".into()).stack_size(STACK);
        match thread.spawn(move || work(&first, &waiting, run)) {
            Ok(_) => Ok(()),
            Err(error) => match take(&slot) {
                Some(job) => Err((job, error)),
                None => Ok(()),
            },
        }
    }
}

fn take<J>(slot: &Mutex<Option<J>>) -> Option<J> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn work<J>(first: &Mutex<Option<J>>, waiting: &Receiver<J>, run: Run<J>) {
    let mut next = take(first);
    while let Some(job) = next {
        // The panic is logged where it happens, by the hook; what it poisoned is dealt with by those who share it.
        let _ = catch_unwind(AssertUnwindSafe(|| run(job)));
        next = waiting.recv_timeout(IDLE).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_one_job_and_threads_are_used_again() {
        let workers: Workers<(bool, Sender<thread::ThreadId>)> = Workers::new(|(bad, told)| {
            told.send(thread::current().id()).unwrap();
            assert!(!bad, "as the test wants it");
        });
        let (told, tell) = bounded(8);
        workers.hand((true, told.clone())).unwrap();
        let first = tell.recv_timeout(Duration::from_secs(5)).unwrap();
        // The thread comes back to wait within moments; until then new ones are made.
        let again = (0..500).any(|_| {
            thread::sleep(Duration::from_millis(2));
            workers.hand((false, told.clone())).unwrap();
            tell.recv_timeout(Duration::from_secs(5)).unwrap() == first
        });
        assert!(again);
    }
}
