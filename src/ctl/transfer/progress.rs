//! Shows how far long work has come, on a terminal.

use super::super::show;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// It is written anew so often.
const PACE: Duration = Duration::from_millis(200);

/// Of one folder. Dropped, its line is cleared.
pub struct Progress {
    name: String,
    done: u64,
    all: Option<u64>,
    shown: Option<Instant>,
    on: bool,
}

impl Progress {
    pub fn of(name: &str, all: Option<u64>) -> Progress {
        Progress { name: show::clean(name), done: 0, all, shown: None, on: io::stderr().is_terminal() }
    }

    /// One more message.
    pub fn step(&mut self) {
        self.done += 1;
        if self.on && self.shown.is_none_or(|shown| shown.elapsed() >= PACE) {
            let all = self.all.map_or(String::new(), |all| format!(" of {all}"));
            let _ = write!(io::stderr(), "\r{}: {}{all}\x1b[K", self.name, self.done);
            self.shown = Some(Instant::now());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
