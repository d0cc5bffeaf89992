//! Runs a program that takes a message: never by a shell unless its words say so, with nothing of ours open, and bounded in
//! all it may do to us: its output, and its time.
//!
//! The message lies whole in a file of its own, which has no name, before the program starts. Through a pipe the program
//! would, if this process were killed, see an end where there is none, and take half a message for a whole one.

use crate::sys::unix;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid, User, geteuid, pipe2};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// Who runs it if the daemon is root and nobody else is named.
const NOBODY: &str = "nobody";

/// Bytes of output that are kept: its first ones.
const MOST_OUTPUT: usize = 2048;

/// One that was told to end is killed after so long.
pub const GRACE: Duration = Duration::from_secs(2);

/// How often it is looked whether its time is up.
const LOOK: Duration = Duration::from_millis(250);

/// What is to be run.
#[derive(Debug)]
pub struct Run<'a> {
    /// The program's path and its arguments.
    pub words: &'a [String],
    /// Who runs it; none: who we are, or nobody.
    pub user: Option<&'a str>,
    /// The account that runs it, in its home; then nobody else is to be named.
    pub account: Option<&'a super::Account>,
    /// Beside what every program gets.
    pub environment: &'a [(&'a str, String)],
    /// Its standard input, from the beginning.
    pub input: File,
}

/// How it ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It was ended: its time was up.
    Late,
}

/// Runs it until it ends, or `is_over` tells that it has to. Gives what it wrote, the beginning of it. An error: it did not
/// run at all.
pub fn run(run: Run<'_>, mut is_over: impl FnMut() -> bool) -> io::Result<(End, Vec<u8>)> {
    let Some((path, arguments)) = run.words.split_first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let account = match run.account {
        Some(account) => Account::at_home(account)?,
        None => Account::of(run.user)?,
    };
    let (output, theirs) = pipe2(OFlag::O_CLOEXEC)?;
    let mut command = Command::new(path);
    command.args(arguments).env_clear().current_dir(run.account.map_or("/", |_| &account.home)).process_group(0);
    command.envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("SHELL", "/bin/sh"), ("LANG", "C.UTF-8")]);
    command.envs([("USER", &account.name), ("LOGNAME", &account.name), ("HOME", &account.home)]);
    command.envs(run.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(run.input).stdout(theirs.try_clone()?).stderr(theirs);
    if let Some((uid, gid)) = account.change_to {
        // This lets go of all other groups, too.
        command.gid(gid.as_raw()).uid(uid.as_raw());
    }
    unix::confine(&mut command);
    let mut child = command.spawn().map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    drop(command);
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let mut output = Output { pipe: Some(File::from(output)), kept: Vec::new() };
    let told = match watch(&mut output, group, &mut is_over) {
        Ok(told) => told,
        Err(error) => {
            let _ = killpg(group, Signal::SIGKILL);
            let _ = child.wait();
            return Err(error);
        }
    };
    let status = child.wait()?;
    output.take_rest();
    Ok((end(status, told), output.kept))
}

fn end(status: ExitStatus, told: bool) -> End {
    match (status.code(), status.signal()) {
        // It was done when it was told.
        (Some(0), _) => End::Exit(0),
        _ if told => End::Late,
        (Some(code), _) => End::Exit(code),
        (None, signal) => End::Signal(signal.unwrap_or(0)),
    }
}

/// Until it has ended; it is not waited for yet, so that its number is still its own. True: it had to be told.
fn watch(output: &mut Output, group: Pid, is_over: &mut impl FnMut() -> bool) -> io::Result<bool> {
    let process = unix::process_handle(group.as_raw())?;
    let mut told: Option<Instant> = None;
    loop {
        match told {
            None if is_over() => {
                let _ = killpg(group, Signal::SIGTERM);
                told = Some(Instant::now());
            }
            Some(since) if since.elapsed() >= GRACE => drop(killpg(group, Signal::SIGKILL)),
            _ => {}
        }
        let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
        let mut waited = vec![PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        waited.extend(output.pipe.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        match poll(&mut waited, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (ended, speaks) = (waited.first().and_then(PollFd::any), waited.get(1).and_then(PollFd::any));
        if ended == Some(true) {
            return Ok(told.is_some());
        }
        if speaks == Some(true) {
            output.take();
        }
    }
}

/// What it writes. All of it is read, so that it is not held up, and little is kept.
struct Output {
    /// None: its end was seen.
    pipe: Option<File>,
    kept: Vec<u8>,
}

impl Output {
    /// Reads once.
    fn take(&mut self) {
        let mut block = [0; 4096];
        match self.pipe.as_mut().map(|pipe| pipe.read(&mut block)) {
            Some(Ok(read @ 1..)) => {
                let room = MOST_OUTPUT.saturating_sub(self.kept.len()).min(read);
                self.kept.extend_from_slice(block.get(..room).unwrap_or_default());
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => self.pipe = None,
        }
    }

    /// What is there of it now. Others that it started may hold the pipe open for long, and are not waited for.
    fn take_rest(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        if fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_err() {
            return;
        }
        while self.pipe.is_some() && self.kept.len() < MOST_OUTPUT {
            self.take();
        }
    }
}

/// Whom it runs as.
struct Account {
    name: String,
    home: String,
    /// None: who we are.
    change_to: Option<(Uid, Gid)>,
}

impl Account {
    /// Somebody who has a mailbox here. Never root.
    fn at_home(account: &super::Account) -> io::Result<Account> {
        let (own, uid) = (geteuid(), Uid::from_raw(account.uid));
        if uid.is_root() || (uid != own && !own.is_root()) {
            let why = format!("the daemon can't run programs as `{}`", account.name);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let home = account.home.as_ref().map_or_else(|| "/".to_owned(), |home| home.to_string_lossy().into_owned());
        let change_to = (uid != own).then(|| (uid, Gid::from_raw(account.gid)));
        Ok(Account { name: account.name.clone(), home, change_to })
    }

    fn of(user: Option<&str>) -> io::Result<Account> {
        let own = geteuid();
        let Some(name) = user.or(own.is_root().then_some(NOBODY)) else {
            let known = User::from_uid(own)?;
            let home = known.as_ref().map_or_else(|| "/".to_owned(), |user| user.dir.to_string_lossy().into_owned());
            return Ok(Account { name: known.map_or_else(|| own.to_string(), |user| user.name), home, change_to: None });
        };
        let refused = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, why);
        let Some(user) = User::from_name(name)? else { return Err(refused(format!("there is no account `{name}`"))) };
        if user.uid.is_root() {
            return Err(refused(format!("`{name}` is root, as whom no program that takes mail runs")));
        }
        if user.uid != own && !own.is_root() {
            return Err(refused(format!("only a daemon that runs as root can run programs as `{name}`")));
        }
        let change_to = own.is_root().then_some((user.uid, user.gid));
        Ok(Account { name: user.name, home: user.dir.to_string_lossy().into_owned(), change_to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn shell(script: &str, given: &[u8], mut rounds: u32) -> (End, String) {
        let mut input = tempfile::tempfile().unwrap();
        input.write_all(given).unwrap();
        input.rewind().unwrap();
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        let environment = [("SENDER", "a@b.test".to_owned())];
        let job = Run { words: &words, user: None, account: None, environment: &environment, input };
        let over = || {
            rounds = rounds.saturating_sub(1);
            rounds == 0
        };
        let (end, said) = run(job, over).unwrap();
        (end, String::from_utf8(said).unwrap())
    }

    #[test]
    fn a_program_reads_says_and_ends() {
        assert_eq!(shell("cat; echo 2 >&2; exit 3", b"given\n", 1000), (End::Exit(3), "given\n2\n".to_owned()));
        assert_eq!(shell("exit 0", &[b'x'; 500_000], 1000), (End::Exit(0), String::new()));
        assert_eq!(shell("kill -KILL $$", b"", 1000), (End::Signal(9), String::new()));
        let (end, said) = shell("seq 100000", b"", 1000);
        assert_eq!((end, said.len()), (End::Exit(0), MOST_OUTPUT));
    }

    #[test]
    fn it_gets_no_more_than_it_needs() {
        let (end, said) = shell("env; umask; ulimit -n; pwd", b"", 1000);
        assert_eq!(end, End::Exit(0));
        let names: Vec<&str> = said.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        for name in &names {
            let known = ["PATH", "SHELL", "LANG", "USER", "LOGNAME", "HOME", "SENDER", "PWD", "OLDPWD", "SHLVL", "_"];
            assert!(known.contains(name), "{said}");
        }
        assert!(said.contains("SENDER=a@b.test\n") && !names.contains(&"CARGO"), "{said}");
        let rest: Vec<&str> = said.lines().filter(|line| !line.contains('=')).map(str::trim).collect();
        assert_eq!(rest, ["0077", "1024", "/"], "{said}");
        if geteuid().is_root() {
            assert_eq!(shell("id -un; id -G | wc -w", b"", 1000).1, "nobody\n1\n");
        }
    }

    #[test]
    fn one_that_does_not_end_is_ended_with_all_it_started() {
        let begun = Instant::now();
        assert_eq!(shell("sleep 100 & sleep 100", b"", 2).0, End::Late);
        assert_eq!(shell("trap '' TERM; while :; do sleep 0.1; done", b"", 2).0, End::Late);
        // It was through when it was told.
        assert_eq!(shell("trap 'exit 0' TERM; while :; do sleep 0.1; done", b"", 2).0, End::Exit(0));
        // What stays behind is not waited for.
        assert_eq!(shell("sleep 100 > /dev/null 2>&1 & echo on", b"", 1000), (End::Exit(0), "on\n".to_owned()));
        assert_eq!(shell("sleep 5 & echo on", b"", 1000), (End::Exit(0), "on\n".to_owned()));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn what_can_not_run() {
        for (words, user, why) in [
            (&["/nowhere/at/all"][..], None, "/nowhere/at/all"),
            (&["/bin/true"], Some("root"), "root"),
            (&["/bin/true"], Some("no-such-account"), "there is no account"),
        ] {
            let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            let job = Run { words: &words, user, account: None, environment: &[], input: tempfile::tempfile().unwrap() };
            let error = run(job, || false).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
