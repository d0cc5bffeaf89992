//! `kill -9` at any moment, under load, again and again. Whoever read 250 finds the message: once, unaltered,
//! in the mailbox or on its way. Whoever did not may find it once or not at all. Nothing else is ever found.
//!
//! PILLARBOX_CRASH_ROUNDS makes it longer.

use crate::common::{Daemon, PASSWORD, Pop3, Random, Setup, Sink, Smtp, wait_for};
use crate::runner::Test;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![Test::new(module_path!(), "killed_under_load", killed_under_load).longer(Duration::from_secs(10) * rounds())]
}

fn rounds() -> u32 {
    std::env::var("PILLARBOX_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

const LOCAL: [&str; 4] = ["alice", "bob", "carol", "dora"];
/// Reads and removes her mail all the time.
const READER: &str = "dora";
const SENDERS: u64 = 6;

/// What a sender knows of a message.
#[derive(Clone, Debug)]
struct Sent {
    seed: u64,
    to: Vec<String>,
    /// 250 was read. Else the connection broke, and both is right.
    acknowledged: bool,
}

/// What everybody shares.
struct Stage {
    /// Where SMTP and POP3 are now; none while the daemon is down.
    doors: Mutex<Option<(SocketAddr, SocketAddr)>>,
    over: AtomicBool,
    serial: AtomicU64,
    sent: Mutex<BTreeMap<String, Sent>>,
    /// What was read and removed, and whether QUIT was answered.
    removed: Mutex<Vec<(String, bool)>>,
    problems: Mutex<Vec<String>>,
    accepted: AtomicU32,
}

impl Stage {
    fn complain(&self, text: String) {
        self.problems.lock().unwrap().push(text);
    }

    fn doors(&self) -> Option<(SocketAddr, SocketAddr)> {
        let doors = *self.doors.lock().unwrap();
        if doors.is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        doors
    }
}

/// The message of an id: always the same, with what is hard to keep apart in mailboxes.
fn message(id: &str, seed: u64) -> Vec<u8> {
    let mut random = Random(seed | 1);
    let mut text = format!("Subject: crash\r\nX-Id: {id}\r\nFrom: sender@sender.test\r\n\r\n");
    let lines = match random.below(40) {
        // Longer than what the spool keeps in a segment.
        0 => 6_000 + random.below(2_000),
        1..5 => 0,
        _ => 1 + random.below(80),
    };
    for _ in 0..lines {
        match random.below(12) {
            0 => text += "From here to there\r\n",
            1 => text += "\r\nFrom a@b Sat Nov 21 00:00:00 2026\r\nX-Id: forged\r\n",
            2 => text += ".dot\r\n..\r\n",
            3 => text += ">>From far\r\n\r\n",
            _ => text += &format!("{id} {:016x} {:032}\r\n", random.next(), random.below(1000)),
        }
    }
    text += "end\r\n";
    text.into_bytes()
}

/// The id and the message proper of what came out of a mailbox or over the wire, and if it is what was sent.
fn identify(found: &[u8], sent: &BTreeMap<String, Sent>) -> Result<String, String> {
    let text = String::from_utf8_lossy(found);
    let shown = || text.chars().take(400).collect::<String>();
    let id = text.lines().find_map(|line| line.strip_prefix("X-Id: ")).ok_or_else(|| format!("not one of ours:\n{}", shown()))?;
    let known = sent.get(id).ok_or_else(|| format!("{id} was never sent:\n{}", shown()))?;
    let original = message(id, known.seed);
    if !found.ends_with(&original) {
        return Err(format!("{id} is altered ({} bytes found, {} sent):\n{}", found.len(), original.len(), shown()));
    }
    let head = String::from_utf8_lossy(&found[..found.len() - original.len()]).into_owned();
    let ours = |line: &str| {
        line.is_empty()
            || line.starts_with([' ', '\t'])
            || ["Return-Path: ", "Delivered-To: ", "Received: "].iter().any(|name| line.starts_with(name))
    };
    match head.lines().find(|line| !ours(line)) {
        Some(line) => Err(format!("{id} has a foreign line before it: {line:?}")),
        None => Ok(id.to_owned()),
    }
}

fn sender(stage: &Stage, number: u64) {
    let mut random = Random(0x5eed + number);
    let mut smtp = None;
    while !stage.over.load(Ordering::SeqCst) {
        // Bursts and lulls, so that the daemon dies with many at work and with few.
        if random.below(4) == 0 {
            thread::sleep(Duration::from_millis(random.below(200) as u64));
        }
        let Some((door, _)) = stage.doors() else {
            smtp = None;
            continue;
        };
        let Some(mut talk) = smtp.take().or_else(|| Smtp::hello(door).ok()) else { continue };
        let serial = stage.serial.fetch_add(1, Ordering::SeqCst);
        let (id, seed) = (format!("m{serial}"), random.next());
        let mut to: Vec<String> = match random.below(4) {
            0 => LOCAL.iter().map(|user| format!("{user}@here.test")).collect(),
            _ => vec![format!("{}@here.test", LOCAL[random.below(LOCAL.len())])],
        };
        if random.below(6) == 0 {
            to.push(format!("{id}@away.test"));
        }
        stage.sent.lock().unwrap().insert(id.clone(), Sent { seed, to: to.clone(), acknowledged: false });
        let recipients: Vec<&str> = to.iter().map(String::as_str).collect();
        let message = message(&id, seed);
        let sent = match random.below(3) {
            0 => talk.send_chunks("sender@sender.test", &recipients, &message, 1 + random.below(message.len())),
            _ => talk.send("sender@sender.test", &recipients, &message),
        };
        match sent {
            Ok(reply) if reply.starts_with("250") => {
                stage.accepted.fetch_add(1, Ordering::SeqCst);
                if let Some(sent) = stage.sent.lock().unwrap().get_mut(&id) {
                    sent.acknowledged = true;
                }
                smtp = Some(talk).filter(|_| random.below(5) > 0);
            }
            // Told to leave, or not wanted now: it was not taken.
            Ok(reply) if reply.starts_with('4') => drop(stage.sent.lock().unwrap().remove(&id)),
            Ok(reply) => stage.complain(format!("{id}: {reply}")),
            Err(_) => {}
        }
    }
}

/// Fetches and removes.
fn reader(stage: &Stage) {
    while !stage.over.load(Ordering::SeqCst) {
        let Some((_, door)) = stage.doors() else { continue };
        let Ok(mut pop3) = Pop3::log_in(door, READER, PASSWORD) else { continue };
        let mut session = Vec::new();
        let mut fetch = || -> std::io::Result<()> {
            for number in 1..=pop3.count()?.min(20) {
                let found = pop3.lines(&format!("RETR {number}"))?;
                match identify(&found, &stage.sent.lock().unwrap()) {
                    Ok(id) => session.push(id),
                    Err(problem) => stage.complain(format!("read by POP3: {problem}")),
                }
                pop3.ok(&format!("DELE {number}"))?;
            }
            pop3.ok("QUIT").map(drop)
        };
        let fine = fetch().is_ok();
        stage.removed.lock().unwrap().extend(session.into_iter().map(|id| (id, fine)));
        thread::sleep(Duration::from_millis(20));
    }
}

/// In parts of 50 rounds, each with a daemon of its own: a start after a kill reads the mailboxes, so that more and
/// more of a long run would be spent on that alone.
fn killed_under_load() {
    let (whole, most) = (rounds(), 50);
    for part in 0..whole.div_ceil(most) {
        killed(most.min(whole - part * most), u64::from(part));
    }
}

fn killed(rounds: u32, part: u64) {
    let away = Sink::with(|line| (line == "CONNECT").then(|| "421 not now".to_owned()));
    let config = format!(
        "[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n[queue]\nretry = [\"1s\"]\nwarn = \"0s\"\n",
        away.address
    );
    let mut daemon = Setup::default().users(&LOCAL).config(&config).prepare();
    let stage = Arc::new(Stage {
        doors: Mutex::default(),
        over: AtomicBool::new(false),
        serial: AtomicU64::new(0),
        sent: Mutex::default(),
        removed: Mutex::default(),
        problems: Mutex::default(),
        accepted: AtomicU32::new(0),
    });
    let mut threads = Vec::new();
    for number in 0..SENDERS {
        let stage = stage.clone();
        threads.push(thread::spawn(move || sender(&stage, number)));
    }
    let theirs = stage.clone();
    threads.push(thread::spawn(move || reader(&theirs)));

    let mut random = Random(20_261_121 + part);
    for _ in 0..rounds {
        daemon.start();
        *stage.doors.lock().unwrap() = Some((daemon.at("smtp"), daemon.at("pop3")));
        thread::sleep(Duration::from_millis(20 + random.below(500) as u64));
        *stage.doors.lock().unwrap() = None;
        daemon.kill();
    }
    stage.over.store(true, Ordering::SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    away.change(|_| None);
    daemon.start();
    daemon.ctl(&["queue", "flush"]);
    wait_for("an empty queue", 120, || daemon.queue().is_empty().then_some(()));
    let accepted = stage.accepted.load(Ordering::SeqCst);
    settle_accounts(&stage, &daemon, &away);
    let problems = stage.problems.lock().unwrap();
    assert!(
        problems.is_empty(),
        "{} problems in {rounds} rounds, {accepted} accepted:\n{}",
        problems.len(),
        problems[..problems.len().min(20)].join("\n")
    );
    assert!(accepted >= rounds, "hardly anything was accepted: {accepted}");
    println!("     ({rounds} rounds, {accepted} accepted of {} sent)", stage.serial.load(Ordering::SeqCst));
}

/// Counts what is where, and complains.
fn settle_accounts(stage: &Stage, daemon: &Daemon, away: &Sink) {
    let sent = stage.sent.lock().unwrap().clone();
    let mut found: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut count = |whom: &str, message: &[u8]| match identify(message, &sent) {
        Ok(id) => *found.entry((whom.to_owned(), id)).or_default() += 1,
        Err(problem) => stage.complain(format!("{whom}: {problem}")),
    };
    for user in LOCAL {
        daemon.mail(user).iter().for_each(|message| count(&format!("{user}@here.test"), message));
    }
    for arrived in away.arrived() {
        for whom in &arrived.to {
            count(whom.trim_matches(['<', '>']), &arrived.message);
        }
    }
    let removed = stage.removed.lock().unwrap();
    let sure: BTreeSet<&String> = removed.iter().filter(|(_, sure)| *sure).map(|(id, _)| id).collect();
    let tried: BTreeSet<&String> = removed.iter().map(|(id, _)| id).collect();
    for (id, sent) in &sent {
        for whom in &sent.to {
            let times = found.remove(&(whom.clone(), id.clone())).unwrap_or(0);
            let reads = whom.starts_with(READER);
            let wrong = match times {
                0 => sent.acknowledged && !(reads && tried.contains(id)),
                1 => reads && sure.contains(id),
                _ => true,
            };
            if wrong {
                stage.complain(format!(
                    "{id} for {whom}: found {times} times, acknowledged: {}, removed for sure: {}",
                    sent.acknowledged,
                    reads && sure.contains(id)
                ));
            }
        }
    }
    for ((whom, id), times) in found {
        stage.complain(format!("{id} is with {whom} {times} times, who was not to get it"));
    }
}
