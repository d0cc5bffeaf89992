//! Log lines of many threads on their way to one output. Who finds nobody writing writes, and also what others add meanwhile: so
//! nobody waits for a write of another's, and many lines go in one.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that may wait. What is no longer than this a pipe takes whole, whoever else writes to it (pipe(7), PIPE_BUF).
const MOST: usize = 4096;

/// Those lines.
#[derive(Debug)]
pub(super) struct Lines {
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: Vec<u8>,
    /// A thread writes, and will look here again.
    writing: bool,
    /// Threads that wait for room, or for the end: to wake nobody takes a system call, too.
    sleepers: usize,
}

impl Lines {
    pub(super) const fn new() -> Lines {
        Lines { state: Mutex::new(State { waiting: Vec::new(), writing: false, sleepers: 0 }), room: Condvar::new() }
    }

    /// Adds a line; [`Lines::write_to`] is to follow. Waits only where too much waits.
    fn add(&self, line: &[u8]) {
        let mut state = self.lock();
        while state.writing && !state.waiting.is_empty() && state.waiting.len() + line.len() > MOST {
            state = self.sleep(state);
        }
        state.waiting.extend_from_slice(line);
    }

    /// Writes all that waits, unless another thread does.
    pub(super) fn write_to(&self, mut output: impl FnMut(&[u8])) {
        let mut state = self.lock();
        if state.writing {
            return;
        }
        let mut taken = Vec::new();
        state.writing = true;
        while !state.waiting.is_empty() {
            std::mem::swap(&mut taken, &mut state.waiting);
            drop(state);
            output(&taken);
            taken.clear();
            state = self.lock();
            self.wake(&state);
        }
        state.writing = false;
        self.wake(&state);
        // Room for the next lines. One that was very long is forgotten.
        if taken.capacity() <= MOST {
            state.waiting = taken;
        }
    }

    /// Waits until all is written that was added before.
    pub(super) fn wait(&self) {
        let mut state = self.lock();
        while state.writing {
            state = self.sleep(state);
        }
    }

    fn sleep<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.sleepers += 1;
        state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.sleepers -= 1;
        state
    }

    fn wake(&self, state: &State) {
        if state.sleepers > 0 {
            self.room.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn what_comes_during_a_write_goes_with_the_next() {
        let lines = Lines::new();
        let mut writes = Vec::new();
        lines.add(b"1\n");
        lines.write_to(|bytes| {
            if writes.is_empty() {
                for line in [b"2\n", b"3\n"] {
                    lines.add(line);
                    lines.write_to(|_| panic!("two write at once"));
                }
            }
            writes.push(String::from_utf8(bytes.to_vec()).unwrap());
        });
        assert_eq!(writes, ["1\n", "2\n3\n"]);
    }

    #[test]
    fn a_slow_output_slows_who_has_much_to_say() {
        let lines = Lines::new();
        let (begun, begin) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let mut written = Vec::new();
        thread::scope(|scope| {
            lines.add(b"first\n");
            let (lines, written) = (&lines, &mut written);
            scope.spawn(move || {
                lines.write_to(|bytes| {
                    if written.is_empty() {
                        begun.send(()).unwrap();
                        released.recv().unwrap();
                    }
                    assert!(bytes.len() <= MOST);
                    written.extend_from_slice(bytes);
                });
            });
            begin.recv().unwrap();
            let (added, add) = mpsc::channel();
            scope.spawn(move || {
                for number in 0..3 {
                    lines.add(&[b'x'; MOST / 2]);
                    added.send(number).unwrap();
                }
            });
            assert_eq!((add.recv(), add.recv()), (Ok(0), Ok(1)));
            assert_eq!(add.recv_timeout(std::time::Duration::from_millis(50)), Err(mpsc::RecvTimeoutError::Timeout));
            release.send(()).unwrap();
            assert_eq!(add.recv(), Ok(2));
        });
        // The last may have been added when nobody wrote any more.
        lines.write_to(|bytes| written.extend_from_slice(bytes));
        assert_eq!(written.len(), 6 + MOST / 2 * 3);
    }
}
