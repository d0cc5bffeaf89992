//! What tests share: a daemon of their own, small clients, a host to send to, waiting without sleeping.

mod clients;
mod daemon;
mod dns;
mod listening;
mod sink;

pub use clients::{Imap, Pop3, Smtp, Talk, base64, letter};
pub use daemon::{Daemon, PASSWORD, Setup, pillarboxctl, with_input, with_mounts};
pub use dns::NameServer;
pub use listening::Listening;
pub use sink::Sink;

use crate::runner::skip;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Waits until `ready` gives something; fails after `seconds`.
pub fn wait_for<T>(what: &str, seconds: u64, ready: impl FnMut() -> Option<T>) -> T {
    poll(what, seconds, Duration::from_millis(100), ready)
}

/// The same, where it matters when exactly that was.
pub fn watch_for<T>(what: &str, seconds: u64, ready: impl FnMut() -> Option<T>) -> T {
    poll(what, seconds, Duration::from_millis(1), ready)
}

fn poll<T>(what: &str, seconds: u64, longest: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut pause = Duration::from_millis(5).min(longest);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "waited {seconds} s in vain: {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

/// Where a program is: in PATH, in the places of system programs, or unpacked by tests/deps.sh.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let unpacked = top().join("target/peers/root/usr");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into(), unpacked.join("bin"), unpacked.join("sbin")])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// As [`find_tool`]; skips the test when there is none.
pub fn tool(name: &str) -> Command {
    let Some(path) = find_tool(name) else { skip(format!("no {name} here")) };
    let mut command = Command::new(&path);
    if path.starts_with(top()) {
        let libraries = ["lib", "usr/lib"].map(|dir| format!("target/peers/root/{dir}/{}-linux-gnu", std::env::consts::ARCH));
        command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries.map(|dir| top().join(dir))).unwrap());
    }
    command
}

/// A port that nobody has, for a server that must be told its port: outside the range from which the system
/// hands out ports, so that no connection and no other test can take it meanwhile. It is found by asking, not by
/// taking it: a socket of ours could live on in a process just forked, and be in the server's way.
pub fn fixed_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Each process that runs tests begins elsewhere. Linux's range begins at 32768.
        let number = std::process::id() % 500 * 40 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + number % 20_000).unwrap();
        if TcpStream::connect(("127.0.0.1", port)).is_err() {
            return port;
        }
    }
}

/// The project's directory.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a manual page shows set apart, as a reader sees it.
pub fn examples(page: &str) -> Vec<String> {
    let text = fs::read_to_string(top().join("man").join(page)).unwrap();
    let blocks = text.split(".Bd -literal -offset indent\n").skip(1);
    blocks.map(|block| block.split(".Ed\n").next().unwrap_or_default().replace("\\e", "\\")).collect()
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Is this root?
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Numbers that look random and are the same each time (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 up to, not including, `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
