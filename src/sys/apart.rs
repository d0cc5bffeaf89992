//! For tests that change for good who or what a process is.

use std::process::Command;

const MARK: &str = "PILLARBOX_TEST_APART";

/// Runs `act`, the whole of the test with this path, as root, once for each case, each time in a process of its own.
pub fn apart(test: &str, cases: usize, act: impl FnOnce(usize)) {
    if let Some(case) = std::env::var(MARK).ok().and_then(|case| case.parse().ok()) {
        return act(case);
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("{test}: skipped, for it needs root");
        return;
    }
    for case in 0..cases {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let done = command.args(["--exact", test, "--nocapture"]).env(MARK, case.to_string()).output().unwrap();
        let told = [done.stdout, done.stderr].map(|told| String::from_utf8_lossy(&told).into_owned());
        assert!(done.status.success() && told[0].contains("1 passed"), "{test}: case {case}: {}\n{}", done.status, told.concat());
    }
}
