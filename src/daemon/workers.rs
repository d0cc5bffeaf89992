//! Threads that run sessions. One that has nothing to do is given the next session; after some seconds without it ends.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    desk: Arc<Desk<J>>,
    run: Run<J>,
}

/// Where jobs are handed over. (A channel would do; its threads spin before they sleep, and here every connection wakes one.)
#[derive(Debug)]
struct Desk<J> {
    state: Mutex<State<J>>,
    bell: Condvar,
}

#[derive(Debug)]
struct State<J> {
    /// Never more than threads that wait or look.
    jobs: VecDeque<J>,
    /// Threads that sleep until the bell is rung.
    waiting: usize,
    /// Threads that come for a job by themselves in a moment.
    looking: usize,
}

impl<J> Desk<J> {
    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the job to a thread that waits; gives it back if none does.
    fn put(&self, job: J) -> Option<J> {
        let mut state = self.state();
        if state.jobs.len() >= state.waiting + state.looking {
            return Some(job);
        }
        state.jobs.push_back(job);
        let is_seen = state.jobs.len() <= state.looking;
        drop(state);
        if !is_seen {
            self.bell.notify_one();
        }
        None
    }

    fn next(&self) -> Option<J> {
        self.state().looking += 1;
        // Where the processors are busy another connection often comes meanwhile: that costs less than to sleep and be woken.
        thread::yield_now();
        let mut state = self.state();
        state.looking -= 1;
        if let Some(job) = state.jobs.pop_front() {
            return Some(job);
        }
        state.waiting += 1;
        let waited = self.bell.wait_timeout_while(state, IDLE, |state| state.jobs.is_empty());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.jobs.pop_front()
    }
}

impl<J: Send + 'static> Workers<J> {
    /// No threads yet; each will call `run` for each job. A panic in it ends the job only.
    pub fn new(run: Run<J>) -> Workers<J> {
        let state = Mutex::new(State { jobs: VecDeque::new(), waiting: 0, looking: 0 });
        Workers { desk: Arc::new(Desk { state, bell: Condvar::new() }), run }
    }

    /// Gives a job to a thread that waits, or to a new one. An error gives the job back: there can be no more threads.
    pub fn hand(&self, job: J) -> Result<(), (J, io::Error)> {
        let Some(job) = self.desk.put(job) else { return Ok(()) };
        let slot = Arc::new(Mutex::new(Some(job)));
        let (first, desk, run) = (slot.clone(), self.desk.clone(), self.run);
        let thread = thread::Builder::new().name("session".into()).stack_size(STACK);
        match thread.spawn(move || work(&first, &desk, run)) {
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

fn work<J>(first: &Mutex<Option<J>>, desk: &Desk<J>, run: Run<J>) {
    let mut next = take(first);
    while let Some(job) = next {
        // The panic is logged where it happens, by the hook; what it poisoned is dealt with by those who share it.
        let _ = catch_unwind(AssertUnwindSafe(|| run(job)));
        next = desk.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Sender, bounded};

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
