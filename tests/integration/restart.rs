//! `kill -9` while a daemon starts with a long queue, and while it shortens the logs of its journal: nothing is lost, nothing
//! comes back, and what is in a mailbox is there once. And what damage to a segment costs.
//!
//! PILLARBOX_CRASH_ROUNDS makes it longer.

use crate::common::{Daemon, Random, Setup, fixed_port, letter, wait_for, watch_for};
use crate::runner::Test;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new(module_path!(), "a_start_may_be_killed", a_start_may_be_killed),
        Test::new(module_path!(), "damage_costs_only_what_it_hits", damage_costs_only_what_it_hits),
        Test::new(module_path!(), "a_log_may_be_half_shortened", a_log_may_be_half_shortened)
            .longer(Duration::from_secs(120) * rounds() as u32),
    ]
}

/// Mail for a host that is dead.
const WAITING: usize = 2000;

/// So often a log is shortened in vain.
fn rounds() -> usize {
    std::env::var("PILLARBOX_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50) / 25
}

fn setup() -> Setup {
    let port = fixed_port();
    let config =
        format!("[[route]]\ndomain = \"dead.test\"\nhost = \"127.0.0.1:{port}\"\n[queue]\nretry = [\"10h\"]\nwarn = \"0s\"\n");
    let options = ["smtp.relay_networks=[\"127.0.0.0/8\"]", "log.level=\"info\""];
    Setup { options: options.map(str::to_owned).to_vec(), ..Setup::default() }.config(&config)
}

fn fill(daemon: &Daemon) {
    let mut smtp = daemon.smtp();
    for number in 0..WAITING {
        let to = format!("x{number}@dead.test");
        assert!(smtp.send("sender@sender.test", &[&to], &letter("waits", "text")).unwrap().starts_with("250"));
    }
}

/// The addresses for which something waits.
fn waiting(daemon: &Daemon) -> BTreeSet<String> {
    let queue = daemon.queue();
    let all: Vec<String> = queue
        .iter()
        .flat_map(|message| message["recipients"].as_array().unwrap())
        .map(|recipient| recipient["address"].as_str().unwrap().to_owned())
        .collect();
    let once: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(once.len(), all.len(), "something waits twice");
    once
}

fn expected() -> BTreeSet<String> {
    (0..WAITING).map(|number| format!("x{number}@dead.test")).collect()
}

fn a_start_may_be_killed() {
    let mut daemon = setup().start();
    fill(&daemon);
    let mut smtp = daemon.smtp();
    for number in 0..100 {
        let reply = smtp.send("sender@sender.test", &["alice@here.test"], &letter(&format!("number {number} "), "text")).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    }
    daemon.kill();
    let begun = Instant::now();
    daemon.start();
    let usual = begun.elapsed();
    daemon.kill();
    let mut random = Random(7);
    for _ in 0..25 {
        let log = File::create(daemon.path("killed")).unwrap();
        let mut child = daemon.command().stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        // At any moment of the start, or a little later.
        thread::sleep(usual.mul_f64(random.below(1200) as f64 / 1000.0));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    daemon.start();
    assert_eq!(waiting(&daemon), expected());
    let mail = daemon.wait_for_mail("alice", 100, 30);
    for number in 0..100 {
        let subject = format!("Subject: number {number} ");
        assert_eq!(mail.iter().filter(|text| String::from_utf8_lossy(text).contains(&subject)).count(), 1, "{subject}");
    }
    assert_eq!(mail.len(), 100);
}

/// Has all that waits tried, again and again, which makes the logs of the journal longer; until the daemon is gone.
fn try_again_and_again(daemon: &Daemon, gone: &AtomicBool) {
    let mut log = BufReader::new(File::open(daemon.path("log")).unwrap());
    log.seek(SeekFrom::End(0)).unwrap();
    let mut line = String::new();
    while daemon.ctl(&["queue", "flush"]).status.success() {
        let mut seen = 0;
        wait_for("another try for all", 60, || {
            while log.read_line(&mut line).unwrap() > 0 {
                if line.ends_with('\n') {
                    seen += usize::from(line.contains(" event=deferred "));
                    line.clear();
                }
            }
            (seen >= WAITING || gone.load(Ordering::SeqCst)).then_some(())
        });
    }
}

fn a_log_may_be_half_shortened() {
    let mut daemon = setup().start();
    fill(&daemon);
    let journal = daemon.spool().join("journal/mail.here.test");
    let shortening = || {
        let mut files = fs::read_dir(&journal).unwrap().flatten();
        files.any(|file| file.file_name().to_string_lossy().ends_with(".log.new")).then_some(())
    };
    let mut random = Random(9);
    for round in 0..rounds() {
        let gone = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                watch_for("a log that is being shortened", 120, shortening);
                thread::sleep(Duration::from_micros(random.below(30_000) as u64));
                daemon.signal(Signal::SIGKILL);
                gone.store(true, Ordering::SeqCst);
            });
            try_again_and_again(&daemon, &gone);
        });
        daemon.kill();
        daemon.start();
        assert_eq!(waiting(&daemon), expected(), "round {round}");
    }
}

/// A byte in the midst of a segment is spoiled: that costs one message, and the log tells.
fn damage_costs_only_what_it_hits() {
    let mut daemon = setup().start();
    fill(&daemon);
    daemon.kill();
    let segment = daemon.spool().join("journal/mail.here.test/00000001.mbox");
    let mut bytes = fs::read(&segment).unwrap();
    let address = format!("<x{}@dead.test>", WAITING / 2);
    let at = bytes.windows(address.len()).position(|window| window == address.as_bytes()).unwrap();
    bytes[at + 1] ^= 1;
    fs::write(&segment, bytes).unwrap();
    daemon.start();
    let mut left = expected();
    assert!(left.remove(address.trim_matches(['<', '>'])));
    assert_eq!(waiting(&daemon), left);
    assert!(daemon.log().contains("spool damaged"));
    // All else goes on, and no other start finds more or less.
    assert!(daemon.send(&["alice@here.test"], &letter("new", "text")).starts_with("250"));
    assert_eq!(daemon.mail("alice").len(), 1);
    daemon.stop();
    daemon.start();
    assert_eq!(waiting(&daemon), left);
}
