//! The monitor's children: so many at a time, each for so long. The questions of the others wait.

use super::clerk::Asked;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Questions that wait. With more of them no further ones are taken: who asks has to wait.
const MOST_WAITING: usize = 256;

/// One that was killed and is still there is killed again, and told of again, after so long.
const AGAIN: Duration = Duration::from_secs(10);

/// What a child does, as far as it matters for others.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that is over at once.
    Quick,
    /// A check of a password: 16 MiB and 20 ms of a processor.
    Password,
    /// A program, which may take its time.
    Program,
}

impl Kind {
    /// So many at a time.
    pub fn most(self) -> usize {
        match self {
            Kind::Quick => 16,
            // As in a process that checks them itself: more would not fit into a small host.
            Kind::Password => 1,
            Kind::Program => 64,
        }
    }
}

/// A child.
#[derive(Debug)]
struct Running {
    pid: Pid,
    kind: Kind,
    until: Instant,
    /// For the log.
    what: &'static str,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Children {
    running: Vec<Running>,
    waiting: VecDeque<(Kind, Asked)>,
}

impl Children {
    /// Lets a question wait for its child.
    pub fn put(&mut self, kind: Kind, asked: Asked) {
        self.waiting.push_back((kind, asked));
    }

    /// May more wait?
    pub fn have_room(&self) -> bool {
        self.waiting.len() < MOST_WAITING
    }

    /// The first question for which there may be a child now. Those whose asker has gone are forgotten.
    pub fn next(&mut self) -> Option<(Kind, Asked)> {
        loop {
            let may_start = |kind: Kind| self.running.iter().filter(|child| child.kind == kind).count() < kind.most();
            let at = self.waiting.iter().position(|(kind, _)| may_start(*kind))?;
            let next = self.waiting.remove(at)?;
            if !next.1.is_given_up() {
                return Some(next);
            }
        }
    }

    /// This child has it now.
    pub fn started(&mut self, pid: Pid, kind: Kind, until: Instant, what: &'static str) {
        self.running.push(Running { pid, kind, until, what });
    }

    /// When the next one's time is over.
    pub fn next_end(&self) -> Option<Instant> {
        self.running.iter().map(|child| child.until).min()
    }

    /// Ends those whose time is over; they are forgotten when they are seen to have ended.
    pub fn end_late(&mut self, now: Instant) {
        for child in self.running.iter_mut().filter(|child| child.until <= now) {
            log::error!("monitor-child-late question={}", child.what);
            // Its number is its own until it is waited for.
            let _ = kill(child.pid, Signal::SIGKILL);
            child.until = now + AGAIN;
        }
    }

    /// It has ended. What it was for, if it was one of these.
    pub fn forget(&mut self, pid: Pid) -> Option<&'static str> {
        let at = self.running.iter().position(|child| child.pid == pid)?;
        Some(self.running.swap_remove(at).what)
    }
}
