//! Much deferred mail for hosts that are dead: what it costs, and that other mail does not wait for it.
//!
//! `PILLARBOX_QUEUE_MESSAGES` says how many messages, for a tenth as many domains; `make soak` takes 100,000.

use crate::common::{Daemon, NameServer, Setup, Sink, Smtp, fixed_port, letter, wait_for};
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

/// Hosts that say nothing, and get new mail.
const NEVER_ASKED: usize = 200;

/// A million take a while.
pub fn tests() -> Vec<crate::runner::Test> {
    let test = crate::runner::Test::new(
        module_path!(),
        "living_hosts_do_not_wait_for_dead_ones",
        living_hosts_do_not_wait_for_dead_ones,
    );
    vec![test.longer(Duration::from_secs(messages() as u64 / 100))]
}

fn messages() -> usize {
    std::env::var("PILLARBOX_QUEUE_MESSAGES").ok().and_then(|count| count.parse().ok()).unwrap_or(1000)
}

/// KiB that the daemon has in memory.
fn resident(daemon: &Daemon) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Hands in so many messages, each for one of the domains, over several connections.
fn fill(daemon: &Daemon, count: usize) {
    const SESSIONS: usize = 8;
    thread::scope(|scope| {
        for session in 0..SESSIONS {
            scope.spawn(move || {
                let mut smtp = daemon.smtp();
                for number in (session..count).step_by(SESSIONS) {
                    let to = format!("x@d{}.test", number % (count / 10));
                    let reply = smtp.send("sender@sender.test", &[&to], &letter("waits", "text")).unwrap();
                    assert!(reply.starts_with("250"), "{reply}");
                }
            });
        }
    });
}

/// Waits until the log, which is read once, tells of so many tries that failed. (To list a million would take time each time.)
fn wait_for_deferrals(daemon: &Daemon, count: usize) {
    let mut log = BufReader::new(File::open(daemon.path("log")).unwrap());
    let (mut seen, mut line) = (0, String::new());
    wait_for("a try for all", 60 + count as u64 / 100, || {
        while log.read_line(&mut line).unwrap() > 0 {
            if line.ends_with('\n') {
                seen += usize::from(line.contains(" event=deferred "));
                line.clear();
            }
        }
        (seen >= count).then_some(())
    });
}

/// From the handing in of a letter for a living host to its arrival there; the worst of some.
fn latency(daemon: &Daemon, sink: &Sink) -> Duration {
    let mut smtp = daemon.smtp();
    (0..5).map(|_| arrival(&mut smtp, "x@living.test", sink)).max().unwrap()
}

fn arrival(smtp: &mut Smtp, to: &str, sink: &Sink) -> Duration {
    let before = sink.count();
    let begun = Instant::now();
    let reply = smtp.send("sender@sender.test", &[to], &letter("leaves", "text")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    while sink.count() == before {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not arrive");
        thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

fn living_hosts_do_not_wait_for_dead_ones() {
    let count = messages();
    let hosts = tempfile::NamedTempFile::new().unwrap();
    let mut text = String::new();
    for number in 0..count / 10 {
        let _ = writeln!(text, "127.{}.{}.{} d{number}.test", 1 + number / 40_000, number / 200 % 200, 1 + number % 200);
    }
    for number in 0..NEVER_ASKED {
        let _ = writeln!(text, "127.100.1.{} never{number}.test", 1 + number);
    }
    fs::write(hosts.path(), text).unwrap();
    let dns = NameServer::start(&["--cache-size=0", &format!("--addn-hosts={}", hosts.path().display())]);
    let (sink, strangers, port) = (Sink::start(), [Sink::start(), Sink::start()], fixed_port());
    let route = |domain: &str, sink: &Sink| format!("[[route]]\ndomain = \"{domain}.test\"\nhost = \"{}\"\n", sink.address);
    let routes = [route("living", &sink), route("first", &strangers[0]), route("second", &strangers[1])].concat();
    let config = format!("{routes}[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n");
    let options = [
        format!("dns.servers=[\"{}\"]", dns.address),
        format!("queue.smtp_port={port}"),
        "queue.retry=[\"10h\"]".to_owned(),
        "queue.warn=\"0s\"".to_owned(),
        "log.level=\"info\"".to_owned(),
    ];
    let mut daemon = Setup { options: options.to_vec(), ..Setup::default() }.config(&config).prepare();
    daemon.start();
    let empty = resident(&daemon);
    let begun = Instant::now();
    fill(&daemon, count);
    println!("{count} messages handed in after {:.1} s", begun.elapsed().as_secs_f64());
    wait_for_deferrals(&daemon, count);
    println!("all of them deferred after {:.1} s", begun.elapsed().as_secs_f64());
    let full = resident(&daemon);
    println!("in memory: {empty} KiB empty, {full} KiB with the queue");
    let quiet = latency(&daemon, &sink);

    // Now the dead hosts are there, and say nothing; all that waits is due.
    let mute = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
    assert!(daemon.ctl(&["queue", "flush"]).status.success());
    let busy = latency(&daemon, &sink);
    println!("new mail leaves after {:.0} ms, {:.0} ms while all that waits is due", millis(quiet), millis(busy));
    let mut smtp = daemon.smtp();
    let stranger = arrival(&mut smtp, "x@first.test", &strangers[0]);
    println!("new mail for a host that was never asked leaves after {:.0} ms meanwhile", millis(stranger));

    // And new mail for others like them, of which nothing is known.
    for number in 0..NEVER_ASKED {
        let to = format!("x@never{number}.test");
        assert!(smtp.send("sender@sender.test", &[&to], &letter("waits", "text")).unwrap().starts_with("250"));
    }
    let beset = latency(&daemon, &sink);
    println!("new mail leaves after {:.0} ms while {NEVER_ASKED} hosts are asked that say nothing", millis(beset));
    let behind = thread::scope(|scope| {
        scope.spawn(|| latency(&daemon, &sink));
        arrival(&mut smtp, "x@second.test", &strangers[1])
    });
    println!("new mail for a host that was never asked leaves after {:.0} ms behind them", millis(behind));
    println!("in memory: {} KiB while they are asked", resident(&daemon));

    let begun = Instant::now();
    let (listed, meanwhile) = thread::scope(|scope| {
        let lister = scope.spawn(|| {
            let output = daemon.ctl(&["queue", "list"]);
            let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
            (lines, begun.elapsed())
        });
        let meanwhile = latency(&daemon, &sink);
        (lister.join().unwrap(), meanwhile)
    });
    println!("listed in {:.1} s; new mail left after {:.0} ms meanwhile", listed.1.as_secs_f64(), millis(meanwhile));
    assert!(listed.0 > 2 * count, "{} lines for {count} messages", listed.0);
    println!("in memory: {} KiB after the list", resident(&daemon));

    daemon.kill();
    let begun = Instant::now();
    daemon.start();
    let restart = begun.elapsed();
    let again = latency(&daemon, &sink);
    println!("ready {:.2} s after a kill; new mail leaves after {:.0} ms", restart.as_secs_f64(), millis(again));
    println!("in memory: {} KiB after the start", resident(&daemon));
    drop(mute);
    // A machine that is busy with other tests gets more time than what is promised.
    assert!([quiet, busy, stranger, beset, meanwhile, again].iter().all(|time| *time < Duration::from_secs(2)));
    // Threads are had for others once those who have them were silent for a while.
    assert!(behind < Duration::from_secs(5));
    assert!(full - empty < 20_000 + count, "{} KiB for {count} messages", full - empty);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
