//! The init script itself, with the daemon of this test in the place of the installed one; its exit codes are those of the
//! Linux Standard Base (Core, 22.2 "Init Script Actions").

use crate::common::{Daemon, Setup, top, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

crate::tests![starts_and_stops, a_bad_configuration_changes_nothing, what_a_killed_daemon_left, nothing_is_installed];

/// The script, for a daemon of its own. Dropped, the daemon is killed.
struct Script {
    daemon: Daemon,
}

impl Script {
    /// The real one, but for where the program and the file with the process number are.
    fn new() -> Script {
        let daemon = Setup::default().prepare();
        let bin = daemon.path("bin");
        fs::create_dir(&bin).unwrap();
        let program =
            format!("#!/bin/sh\nexec '{}' -f '{}' \"$@\"\n", env!("CARGO_BIN_EXE_pillarbox"), daemon.config().display());
        write_program(&bin.join("pillarbox"), &program);
        let text = fs::read_to_string(top().join("etc/init.d/pillarbox")).unwrap();
        let ours = text
            .replace("\nPATH=", &format!("\nPATH={}:/usr/bin:/bin #", bin.display()))
            .replace("\nPIDFILE=/run/pillarbox/pid\n", &format!("\nPIDFILE={}\n", daemon.path("pid").display()));
        write_program(&daemon.path("init"), &ours);
        Script { daemon }
    }

    /// Its exit code.
    fn act(&self, action: &str) -> i32 {
        let said = fs::File::options().create(true).append(true).open(self.daemon.path("log")).unwrap();
        let mut command = Command::new(self.daemon.path("init"));
        command.arg(action).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        command.status().unwrap().code().unwrap()
    }

    fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.daemon.path("pid")).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }

    /// How often this stands in the log.
    fn said(&self, what: &str) -> usize {
        self.daemon.log().matches(what).count()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

fn write_program(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn starts_and_stops() {
    let script = Script::new();
    assert_eq!(script.act("status"), 3);
    assert_eq!(script.act("stop"), 0);
    assert_eq!(script.act("reload"), 7);
    assert_eq!(script.act("try-restart"), 0);
    assert_eq!(script.pid(), None);

    assert_eq!(script.act("start"), 0);
    let first = script.pid();
    assert!(first.is_some());
    assert_eq!(script.act("status"), 0);
    // What is wanted is so already.
    assert_eq!(script.act("start"), 0);
    assert_eq!(script.pid(), first);
    assert_eq!(script.act("reload"), 0);
    wait_for("the reload", 60, || (script.said(" reloaded ") == 1).then_some(()));
    assert_eq!(script.pid(), first);

    assert_eq!(script.act("restart"), 0);
    let second = script.pid();
    assert!(second.is_some() && second != first);
    assert_eq!(script.act("try-restart"), 0);
    assert!(script.pid().is_some() && script.pid() != second);

    assert_eq!(script.act("stop"), 0);
    assert_eq!(script.pid(), None);
    assert_eq!((script.said(" started "), script.said(" stopped")), (3, 3));
    assert_eq!(script.act("status"), 3);
    assert_eq!(script.act("dance"), 2);
}

fn a_bad_configuration_changes_nothing() {
    let script = Script::new();
    assert_eq!(script.act("start"), 0);
    let pid = script.pid();
    let good = fs::read(script.daemon.config()).unwrap();
    fs::write(script.daemon.config(), "no = configuration\n").unwrap();
    for action in ["reload", "restart", "try-restart"] {
        assert_eq!(script.act(action), 6, "{action}");
        assert_eq!((script.act("status"), script.pid()), (0, pid));
    }
    assert_eq!(script.act("stop"), 0);
    assert_eq!(script.act("start"), 6);
    fs::write(script.daemon.config(), good).unwrap();
    assert_eq!(script.act("start"), 0);
}

fn what_a_killed_daemon_left() {
    let script = Script::new();
    assert_eq!(script.act("start"), 0);
    let pid = script.pid().unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    wait_for("its end", 60, || {
        fs::read_to_string(format!("/proc/{pid}/comm")).map_or(true, |name| name != "pillarbox\n").then_some(())
    });
    assert_eq!(script.act("status"), 1);
    assert_eq!(script.act("stop"), 0);
    // Its number is somebody else's now.
    fs::write(script.daemon.path("pid"), format!("{}\n", std::process::id())).unwrap();
    assert_eq!(script.act("status"), 1);
    assert_eq!(script.act("stop"), 0);
    assert_eq!(script.act("start"), 0);
    assert_eq!(script.act("status"), 0);
}

fn nothing_is_installed() {
    let script = Script::new();
    fs::remove_file(script.daemon.path("bin/pillarbox")).unwrap();
    assert_eq!(script.act("start"), 5);
    assert_eq!(script.act("restart"), 5);
    // A package that is removed leaves the script.
    assert_eq!(script.act("stop"), 0);
    assert_eq!(script.act("status"), 3);
}
