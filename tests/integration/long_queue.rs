//! A long queue, as a program wrote it into the journal: how soon the daemon is there with it, what it takes, and that new mail
//! leaves while an operator looks through all of it, holds, releases and removes it.
//!
//! `PILLARBOX_LONG_QUEUE` says how many messages; `make soak` takes a million.

use crate::common::{Daemon, Setup, Sink, fixed_port, letter, wait_for};
use pillarbox::mail::{Address, Body, Envelope, MailDsn, Origin, ReversePath};
use pillarbox::spool::{Draft, Journal, Options, Outcome, Status};
use pillarbox::sys::{Clock, RealDisk, SystemClock, Time};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Messages that are written in one act.
const AT_ONCE: usize = 1000;

/// They are for so many domains.
const DOMAINS: usize = 100;

pub fn tests() -> Vec<crate::runner::Test> {
    let test = crate::runner::Test::new(module_path!(), "others_go_on", others_go_on);
    vec![test.longer(Duration::from_secs(messages() as u64 / 1000))]
}

fn messages() -> usize {
    std::env::var("PILLARBOX_LONG_QUEUE").ok().and_then(|count| count.parse().ok()).unwrap_or(5000)
}

/// A journal as a daemon leaves it that is killed: so many messages, each of them deferred once.
fn fill(dir: &Path, count: usize) {
    fs::create_dir_all(dir.parent().unwrap()).unwrap();
    let clock = Arc::new(SystemClock::default());
    let options = Options { dir: dir.to_owned(), segment_size: 64 << 20, min_free: 0 };
    let journal = Journal::open(Arc::new(RealDisk), clock.clone(), options).unwrap();
    let until = Time::from_seconds(clock.now().seconds() + 10 * 86_400);
    let message = letter("waits", &"text of a message that waits\n".repeat(12));
    for start in (0..count).step_by(AT_ONCE) {
        let all = start..(start + AT_ONCE).min(count);
        let drafts = all.clone().map(|number| {
            let to: Address = format!("x{number}@d{}.test", number % DOMAINS).parse().unwrap();
            let mut draft = journal.begin(envelope(to)).unwrap();
            draft.write_all(&message).unwrap();
            draft
        });
        let entries = Draft::commit_all(drafts.collect(), &[]).unwrap();
        let outcome = |(number, id)| Outcome {
            id,
            recipients: vec![0],
            status: Status::Deferred { until },
            time: clock.now(),
            text: format!("d{}.test[127.1.2.3]:25: connection refused (os error 111)", number % DOMAINS),
        };
        let outcomes: Vec<Outcome> = all.zip(entries.iter().map(|entry| entry.id)).map(outcome).collect();
        journal.settle(&outcomes).unwrap();
        journal.housekeep();
    }
}

fn envelope(to: Address) -> Envelope {
    Envelope {
        reverse_path: ReversePath(Some("sender@sender.test".parse().unwrap())),
        recipients: vec![to.into()],
        body: Body::SevenBit,
        utf8: false,
        dsn: MailDsn::default(),
        require_tls: false,
        release: None,
        origin: Origin::Network,
    }
}

/// MiB that the daemon has, or had at most, in memory.
fn memory(daemon: &Daemon, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

/// Seconds of the processor that the daemon took.
fn processor(daemon: &Daemon) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let words: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    words[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// One of the tools.
fn tool(daemon: &Daemon, words: &[&str]) -> Command {
    let mailq = daemon.path("mailq");
    if !mailq.exists() {
        symlink(env!("CARGO_BIN_EXE_pillarboxctl"), &mailq).unwrap();
    }
    let (mut command, file, rest) = match words {
        ["mailq", rest @ ..] => (Command::new(mailq), "-C", rest),
        _ => (Command::new(env!("CARGO_BIN_EXE_pillarboxctl")), "-f", words),
    };
    command.arg(file).arg(daemon.config()).args(rest);
    command
}

/// Lines that it writes.
fn lines_of(daemon: &Daemon, words: &[&str]) -> usize {
    let mut command = tool(daemon, words);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (mut out, mut piece, mut lines) = (child.stdout.take().unwrap(), vec![0; 64 << 10], 0);
    loop {
        match out.read(&mut piece).unwrap() {
            0 => break,
            read => lines += piece[..read].iter().filter(|byte| **byte == b'\n').count(),
        }
    }
    assert!(child.wait().unwrap().success(), "{words:?}");
    lines
}

/// Recipients that are held, or wait, as the status has it.
fn counted(daemon: &Daemon, field: &str) -> usize {
    let status: serde_json::Value = serde_json::from_slice(&daemon.ctl(&["status", "--json"]).stdout).unwrap();
    status["queue"][field].as_u64().unwrap() as usize
}

/// Has it do something to all of them, and kills it once it has begun.
fn kill_in(daemon: &mut Daemon, words: &[&str], begun: impl Fn(&Daemon) -> bool) {
    let mut child = tool(daemon, words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("its begin", 60, || begun(daemon).then_some(()));
    daemon.kill();
    child.wait().unwrap();
}

/// Hands in letters for a living host, one after the other, until it is over; how long each took to arrive there, in order.
fn latencies(daemon: &Daemon, sink: &Sink, over: &AtomicBool) -> Vec<Duration> {
    let (mut smtp, mut took) = (daemon.smtp(), Vec::new());
    while took.is_empty() || !over.load(Ordering::Relaxed) {
        let (before, begun) = (sink.count(), Instant::now());
        let reply = smtp.send("other@sender.test", &["x@living.test"], &letter("leaves", "text")).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        while sink.count() == before {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not arrive");
            thread::sleep(Duration::from_millis(1));
        }
        took.push(begun.elapsed());
        // As fast as one can would fill the journal.
        thread::sleep(Duration::from_millis(5));
    }
    took.sort();
    took
}

/// Does it while mail for others leaves, and tells what both took.
fn meanwhile<T>(daemon: &Daemon, sink: &Sink, what: &str, act: impl FnOnce() -> T) -> T {
    let (over, begun, before) = (AtomicBool::new(false), Instant::now(), processor(daemon));
    let (result, took, mail) = thread::scope(|scope| {
        let sender = scope.spawn(|| latencies(daemon, sink, &over));
        let result = act();
        let took = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        (result, took, sender.join().unwrap())
    });
    let (middle, worst) = (mail[mail.len() / 2], mail[mail.len() - 1]);
    println!(
        "{what}: {:.2} s, {:.2} s of the daemon's processor; mail meanwhile: {:.0} ms, {:.0} at worst of {}",
        took.as_secs_f64(),
        processor(daemon) - before,
        middle.as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3,
        mail.len()
    );
    // A machine that is busy with other tests gets more time than what is promised.
    assert!(worst < Duration::from_secs(3), "{what}: {worst:?}");
    result
}

fn others_go_on() {
    let count = messages();
    let sink = Sink::start();
    let dead = format!("127.0.0.1:{}", fixed_port());
    let route = |domain: &str, host: &str| format!("[[route]]\ndomain = \"{domain}\"\nhost = \"{host}\"\n");
    let mut routes: String = (0..DOMAINS).map(|number| route(&format!("d{number}.test"), &dead)).collect();
    routes.push_str(&route("living.test", &sink.address.to_string()));
    let config = format!("{routes}[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n");
    let mut daemon = Setup::default().config(&config).prepare();
    let begun = Instant::now();
    fill(&daemon.spool().join("journal/mail.here.test"), count);
    println!("{count} messages written in {:.1} s", begun.elapsed().as_secs_f64());
    let start = |daemon: &mut Daemon, what: &str| {
        let begun = Instant::now();
        daemon.start();
        let took = begun.elapsed();
        let (most, now) = (memory(daemon, "VmHWM"), memory(daemon, "VmRSS"));
        println!("ready {:.2} s after {what}; {most} MiB at most, {now} MiB then", took.as_secs_f64());
        assert!(took < Duration::from_secs(10 + count as u64 / 20_000), "{took:?}");
    };
    start(&mut daemon, "a kill");
    let run = |what: &str, words: &[&str]| meanwhile(&daemon, &sink, what, || lines_of(&daemon, words));
    meanwhile(&daemon, &sink, "nothing", || thread::sleep(Duration::from_secs(1)));
    run("status", &["status"]);
    for (what, words, each) in [
        ("queue list", &["queue", "list"][..], 2),
        ("queue list --json", &["queue", "list", "--json"], 1),
        ("mailq", &["mailq"], 3),
        ("mailq --json", &["mailq", "--json"], 1),
    ] {
        let lines = run(what, words);
        assert!(lines >= each * count, "{lines} lines of {what} for {count} messages");
    }
    run("queue hold DOMAIN", &["queue", "hold", "d7.test"]);
    run("queue hold SENDER", &["queue", "hold", "sender@sender.test"]);
    run("queue remove DOMAIN", &["queue", "remove", "d7.test"]);
    run("queue release SENDER", &["queue", "release", "sender@sender.test"]);
    println!("in memory: {} MiB at most, {} MiB now", memory(&daemon, "VmHWM"), memory(&daemon, "VmRSS"));
    daemon.kill();
    start(&mut daemon, "a kill");
    let (removed, list) = (count / DOMAINS, ["queue", "list", "--json"]);
    // The brackets, and letters that were on their way when the daemon was killed.
    assert!((count - removed..count - removed + 3 + 1).contains(&lines_of(&daemon, &list)));
    // A kill in the middle of it loses nothing, whatever was done so far.
    let (left, sender) = (count - removed, "sender@sender.test");
    kill_in(&mut daemon, &["queue", "hold", sender], |daemon| counted(daemon, "held") > 0);
    start(&mut daemon, "a kill while it held them");
    assert!((left..left + 3).contains(&counted(&daemon, "messages")));
    // What is being tried at that moment is left alone, and it is asked again.
    let patience = 60 + count as u64 / 1000;
    wait_for("all of them held", patience, || {
        daemon.ctl(&["queue", "hold", sender]);
        (counted(&daemon, "held") == left).then_some(())
    });
    kill_in(&mut daemon, &["queue", "remove", sender], |daemon| counted(daemon, "held") < left);
    start(&mut daemon, "a kill while it removed them");
    let held = counted(&daemon, "held");
    assert!(held < left && held == counted(&daemon, "recipients"), "{held} of {left}");
    if held > 0 {
        meanwhile(&daemon, &sink, &format!("queue remove SENDER, {held} of them"), || {
            lines_of(&daemon, &["queue", "remove", sender])
        });
    }
    daemon.kill();
    start(&mut daemon, "a kill, with none of them");
    assert!(lines_of(&daemon, &list) < 10);
}
