//! The monitor: the process that keeps root's rights when the daemon gives them up.
//!
//! It is the parent. It owns the file with the process number, passes signals on to the daemon, and ends with the daemon's
//! status; the daemon ends when it does. It never talks to the network, has one thread, and answers the daemon's questions
//! ([`crate::host::monitor`]). What takes time, or is done as somebody else, is done by a child that is forked for it: `children`
//! bounds how many there are and how long they take. What each may do is in `clerk`, and stands on the configuration that this
//! process has read itself: a daemon that was taken over can ask, and not command.

mod children;
mod clerk;

use super::Failure;
use super::background::{PidFile, Ready};
use super::options::Options;
use crate::config::Config;
use crate::host::monitor::wire::{Answer, MOST_QUESTION, Question};
use crate::sys::exit;
use crate::sys::unix::{self, Forked, packet};
use children::{Children, Kind};
use clerk::{Asked, Clerk};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setpgid};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Questions that are taken before it is looked for signals again.
const AT_ONCE: usize = 64;
/// With this a child ends that had to refuse.
const REFUSED: i32 = exit::NOPERM as i32;
/// The same complaint is logged no more often.
const COMPLAIN: Duration = Duration::from_secs(10);

/// Which of the two processes this is.
pub enum Part {
    /// The one that is to become the daemon, still with all rights, and its end of the socket.
    Daemon(OwnedFd, Ready),
    /// The monitor, whose daemon has ended; with what to end.
    Monitor(u8),
}

/// What the monitor looks after.
struct Keeper {
    daemon: Pid,
    /// None: the daemon has closed its end.
    socket: Option<OwnedFd>,
    signals: Option<SignalFd>,
    pid_file: Option<PidFile>,
    children: Children,
    clerk: Clerk,
    complained: Option<Instant>,
}

/// Those that are looked for; the other processes get them as ever.
fn watched() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect()
}

/// Splits this process into monitor and daemon. Comes back in the monitor when the daemon has ended.
pub fn part(options: &Options, config: &Config, pid_file: Option<PidFile>, ready: Ready) -> Result<Part, Failure> {
    let system = |error: io::Error| Failure::new(exit::OSERR, error);
    let clerk = Clerk::new(options, config).map_err(|error| Failure::new(exit::CONFIG, error))?;
    let (ours, theirs) = packet::pair().map_err(system)?;
    // From before there is a daemon, so that none of its signals is missed.
    watched().thread_block().map_err(|error| system(error.into()))?;
    match unix::fork_single_threaded().map_err(system)? {
        Forked::Child => {
            if let Some(file) = pid_file {
                file.leave();
            }
            watched().thread_unblock().map_err(|error| system(error.into()))?;
            // A Ctrl-C in the terminal is for the monitor, which passes it on: once.
            setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(|error| system(error.into()))?;
            Ok(Part::Daemon(theirs, ready))
        }
        Forked::Parent(daemon) => {
            // Only the daemon has to say when it is ready.
            drop((theirs, ready));
            let daemon = Pid::from_raw(daemon);
            let keeper = Keeper::new(daemon, ours, pid_file, clerk).and_then(|mut keeper| keeper.serve());
            keeper.map(Part::Monitor).map_err(|error| {
                let _ = kill(daemon, Signal::SIGTERM);
                system(error)
            })
        }
    }
}

impl Keeper {
    fn new(daemon: Pid, socket: OwnedFd, pid_file: Option<PidFile>, clerk: Clerk) -> io::Result<Keeper> {
        let signals = SignalFd::with_flags(&watched(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let (socket, signals) = (Some(socket), Some(signals));
        Ok(Keeper { daemon, socket, signals, pid_file, children: Children::default(), clerk, complained: None })
    }

    /// Until the daemon has ended. Gives the code to end with.
    fn serve(&mut self) -> io::Result<u8> {
        loop {
            while let Some((kind, asked)) = self.children.next() {
                self.fork_for(kind, &asked);
            }
            self.wait()?;
            if let Some(code) = self.take_signals()? {
                return Ok(code);
            }
            self.take_questions();
            self.children.end_late(Instant::now());
        }
    }

    /// Until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let left = self.children.next_end().map(|end| end.saturating_duration_since(Instant::now()));
        // A moment more, so that its time is over then.
        let timeout = left.map(|left| PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX));
        let readable = PollFlags::POLLIN;
        let mut waited: Vec<PollFd<'_>> = Vec::new();
        waited.extend(self.signals.iter().map(|signals| PollFd::new(signals.as_fd(), readable)));
        if self.children.have_room() {
            waited.extend(self.socket.iter().map(|socket| PollFd::new(socket.as_fd(), readable)));
        }
        match poll(&mut waited, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Passes on what is the daemon's. The code to end with, if it has ended.
    fn take_signals(&mut self) -> io::Result<Option<u8>> {
        while let Some(signal) = self.signals.as_ref().and_then(|signals| signals.read_signal().transpose()).transpose()? {
            let passed = match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGTERM | Signal::SIGINT)) => Signal::SIGTERM,
                Ok(Ok(Signal::SIGHUP)) => Signal::SIGHUP,
                _ => continue,
            };
            // It may be about to end: its status will tell.
            let _ = kill(self.daemon, passed);
        }
        self.reap()
    }

    /// Looks who has ended. The code to end with, if it was the daemon.
    fn reap(&mut self) -> io::Result<Option<u8>> {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            let Some(pid) = status.pid() else { continue };
            if pid == self.daemon {
                return Ok(Some(code_of(status)));
            }
            match (self.children.forget(pid), status) {
                (None, _) | (_, WaitStatus::Exited(_, 0)) => {}
                (Some(what), WaitStatus::Exited(_, REFUSED)) => self.complain(&format!("{what}: not for this daemon")),
                (Some(what), status) => log::error!("monitor-child-failed question={what} status=\"{status:?}\""),
            }
        }
    }

    fn take_questions(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(socket) = self.socket.as_ref().filter(|_| self.children.have_room()) else { return };
            match packet::receive(socket.as_fd(), MOST_QUESTION) {
                Ok(Some((bytes, descriptors))) => self.take_question(&bytes, descriptors),
                Ok(None) => {
                    // Without answers it is of no use any more.
                    self.socket = None;
                    let _ = kill(self.daemon, Signal::SIGTERM);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => self.complain(&error.to_string()),
            }
        }
    }

    /// What is no question has no answer: the other end sees that its socket is closed.
    fn take_question(&mut self, bytes: &[u8], descriptors: Vec<OwnedFd>) {
        let Some(asked) = Question::parse(bytes).and_then(|question| Asked::new(question, descriptors)) else {
            return self.complain("a packet that is no question");
        };
        match self.clerk.kind_of(&asked.question) {
            Some(kind) => self.children.put(kind, asked),
            None => self.answer_now(&asked),
        }
    }

    /// What needs no child. Nobody is waited for.
    fn answer_now(&mut self, asked: &Asked) {
        let answer = catch_unwind(AssertUnwindSafe(|| self.clerk.answer_now(&asked.question)));
        let answer = answer.unwrap_or_else(|_| Err(io::Error::other("a bug in the monitor; see the log")));
        let (answer, files) = answer.unwrap_or_else(|error| (Answer::Failed(error.into()), Vec::new()));
        if let Err(error) = asked.reply(&answer, &files, false) {
            self.complain(&format!("{}: no answer could be given: {error}", asked.question.name()));
        }
    }

    /// A child answers.
    fn fork_for(&mut self, kind: Kind, asked: &Asked) {
        self.clerk.prepare(&asked.question);
        match unix::fork_single_threaded() {
            Ok(Forked::Parent(pid)) => {
                let until = Instant::now() + self.clerk.time_for(kind);
                self.children.started(Pid::from_raw(pid), kind, until, asked.question.name());
            }
            Ok(Forked::Child) => self.be_child(asked),
            Err(error) => {
                log::error!("monitor-no-child question={} error=\"{error}\"", asked.question.name());
                let _ = asked.reply(&Answer::Failed(error.into()), &[], false);
            }
        }
    }

    /// The whole life of a child. Nothing that is the monitor's stays open in it: it may last long, and be somebody else.
    fn be_child(&mut self, asked: &Asked) -> ! {
        let done = catch_unwind(AssertUnwindSafe(|| {
            self.children = Children::default();
            (self.socket, self.signals) = (None, None);
            if let Some(file) = self.pid_file.take() {
                file.leave();
            }
            watched().thread_unblock()?;
            let mut code = i32::from(exit::OK);
            let (answer, files) = self.clerk.answer(asked).unwrap_or_else(|error| {
                log::debug!("monitor question={} error=\"{error}\"", asked.question.name());
                if clerk::is_refusal(&error) {
                    code = REFUSED;
                }
                (Answer::Failed(error.into()), Vec::new())
            });
            match asked.reply(&answer, &files, true) {
                // Who asked has gone.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(code),
                done => done.map(|()| code),
            }
        }));
        std::process::exit(done.ok().and_then(io::Result::ok).unwrap_or(i32::from(exit::SOFTWARE)))
    }

    /// A flood of bad questions must not become a flood of log lines.
    fn complain(&mut self, what: &str) {
        let now = Instant::now();
        if self.complained.is_none_or(|last| now.duration_since(last) >= COMPLAIN) {
            self.complained = Some(now);
            log::error!("monitor-refused reason=\"{what}\"");
        }
    }
}

/// Like a shell's: a signal's number comes on top of 128.
fn code_of(status: WaitStatus) -> u8 {
    match status {
        WaitStatus::Exited(_, code) => u8::try_from(code).unwrap_or(exit::FAILURE),
        WaitStatus::Signaled(_, signal, _) => {
            log::error!("daemon-died signal={}", signal as i32);
            u8::try_from(128 + signal as i32).unwrap_or(exit::FAILURE)
        }
        _ => exit::FAILURE,
    }
}
