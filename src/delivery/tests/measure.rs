//! What the mailbox engine costs on a big mailbox: measurements, not tests. `tests/bench/run.sh engine engine10` runs them
//! beside Dovecot. Each does one part, in a process of its own:
//!
//!     tests/bench/gen_mbox.py big.mbox --messages 50000
//!     PILLARBOX_BIG=big.mbox cargo test --release --lib -- --ignored --exact --nocapture delivery::tests::measure::engine
//!
//! They print JSON lines as the scripts in tests/bench do, and append them to the file that `PILLARBOX_OUT` names. The cases are
//! called as in imap_bench.py; here a session is a [`View`], and nothing goes over a socket.

use crate::config::{self, Config};
use crate::delivery::{Delivery, Post};
use crate::host::{Account, Direct, Host};
use crate::mail::structure::Structure;
use crate::mail::{Address, Filing, ReversePath};
use crate::mailbox::{Arrival, Change, Copy, Flags, FolderName, Ledger, Mailbox, Marks, Store, Uid, View};
use crate::net::dns::Resolver;
use crate::spool::{Journal, Message, Options, Outcome, SpoolError, SpoolId};
use crate::sys::{Clock, Disk, RealDisk, SystemClock, Time};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

/// Appends of one writer; of each of many; and how many they are.
const APPENDS: usize = 100;
const EACH: usize = 25;
const WRITERS: usize = 20;
/// Sessions that share a mailbox.
const SESSIONS: usize = 20;
const SEEN: Marks = Marks { flags: Flags::SEEN, keywords: 0 };
/// Begins the cases with mail that has room for our fields.
const OWN: &str = "own.";
/// The child of [`memory`] works there.
const CHILD: &str = "PILLARBOX_DIR";

/// A directory with `mail/big`, and where the figures go.
struct Bench {
    big: PathBuf,
    name: String,
    dir: TempDir,
}

impl Bench {
    /// None, and a word about it, if no mailbox is named.
    fn begin() -> Option<Bench> {
        let Some(big) = std::env::var_os("PILLARBOX_BIG").map(PathBuf::from) else {
            println!("PILLARBOX_BIG names no mailbox");
            return None;
        };
        let name = big.file_stem().unwrap().to_string_lossy().into_owned();
        let dir = tempfile::tempdir().unwrap();
        ["mail", "spool"].iter().for_each(|name| fs::create_dir(dir.path().join(name)).unwrap());
        Some(Bench { big, name, dir })
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("mail/big")
    }

    /// Puts the mailbox in place, and waits until it is written: else what is measured next shares the disk with it.
    fn fill(&self) {
        fs::copy(&self.big, self.file()).unwrap();
        File::open(self.file()).unwrap().sync_all().unwrap();
    }

    fn emit(&self, case: &str, facts: &[(&str, Value)]) {
        emit(&self.name, case, facts);
    }

    fn timed<T>(&self, case: &str, act: impl FnOnce() -> T) -> T {
        let (begun, cpu) = (Instant::now(), cpu());
        let result = act();
        let took = ms(begun);
        self.emit(case, &[("ms", took), ("server_cpu_ms", rounded(self::cpu() - cpu))]);
        result
    }
}

fn emit(bench: &str, case: &str, facts: &[(&str, Value)]) {
    let mut line = json!({"server": "pillarbox", "bench": bench, "case": case});
    facts.iter().for_each(|(name, value)| line[*name] = value.clone());
    println!("{line}");
    if let Some(out) = std::env::var_os("PILLARBOX_OUT") {
        writeln!(File::options().append(true).create(true).open(out).unwrap(), "{line}").unwrap();
    }
}

fn rounded(value: f64) -> Value {
    json!((value * 1e3).round() / 1e3)
}

fn ms(begun: Instant) -> Value {
    rounded(begun.elapsed().as_secs_f64() * 1e3)
}

/// Milliseconds of CPU that this process has had.
fn cpu() -> f64 {
    let time = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    [time.user_time(), time.system_time()].iter().map(|time| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3).sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Milliseconds of each of so many times.
fn times(count: usize, mut act: impl FnMut()) -> Vec<f64> {
    let one = |_| {
        let begun = Instant::now();
        act();
        begun.elapsed().as_secs_f64() * 1e3
    };
    (0..count).map(one).collect()
}

/// Nobody has to be told.
#[derive(Debug)]
struct Silent;

impl Ledger for Silent {
    fn settle(&self, _: &[Outcome]) -> Result<(), SpoolError> {
        Ok(())
    }
    fn name(&self) -> Vec<u8> {
        Vec::new()
    }
    fn has_peers(&self) -> bool {
        false
    }
}

fn store(dir: &Path) -> Arc<Store> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let host = Arc::new(Direct::new(disk.clone(), &[]).unwrap());
    Store::new(disk, Arc::new(SystemClock::default()), host, Arc::new(Silent), dir.join("mail"), dir.join("spool"))
}

fn account(name: &str) -> Account {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    Account { name: name.to_owned(), uid, gid, home: None }
}

fn inbox(store: &Store) -> Arc<Mailbox> {
    store.inbox(&account("big")).unwrap()
}

fn uids(view: &View) -> Vec<Uid> {
    view.messages().unwrap().iter().map(|message| message.uid).collect()
}

/// A flag for all, as another session learns of it, and as it is written: into the file, or where that has no room, durably
/// into the state log.
fn mark_all(bench: &Bench, prefix: &str, store: &Store, all: &[Uid]) {
    let mailbox = inbox(store);
    let other = mailbox.view().unwrap();
    bench.timed(&format!("{prefix}store.seen"), || {
        mailbox.mark(all, Change::Add, SEEN, None).unwrap();
        assert_eq!(other.sync(true).unwrap().marked.len(), all.len());
    });
    let own = prefix == OWN;
    bench.timed(&format!("{prefix}check"), || if own { store.write_back() } else { store.checkpoint() });
    if own {
        bench.timed(&format!("{prefix}durable"), || store.checkpoint());
    }
}

/// A mailbox that others filled: its messages have no room for UIDs and flags of ours.
#[test]
#[ignore = "a measurement, not a test"]
fn engine() {
    let Some(bench) = Bench::begin() else { return };
    let dir = bench.dir.path();
    bench.fill();
    let lines = || assert!(Command::new("wc").arg("-l").arg(bench.file()).output().unwrap().status.success());
    bench.emit("wc", &[("ms", rounded(median(times(5, lines))))]);
    // What a daemon does once, at its start, does not count: the spool's secret, the watch on the directory.
    let open = |case| {
        let store = store(dir);
        let mailbox = inbox(&store);
        drop(bench.timed(case, || mailbox.view().unwrap()));
        store.close();
    };
    open("select.first");
    fs::remove_dir_all(dir.join("spool/index")).unwrap();
    open("select.noindex");
    let opens = (0..21).map(|_| {
        let store = store(dir);
        let (mailbox, before) = (inbox(&store), cpu());
        (times(1, || drop(mailbox.view().unwrap()))[0], cpu() - before)
    });
    let (took, used) = opens.unzip();
    bench.emit("select.warm", &[("ms", rounded(median(took))), ("server_cpu_ms", rounded(median(used)))]);

    let store = store(dir);
    let mailbox = inbox(&store);
    let view = mailbox.view().unwrap();
    let all = uids(&view);
    mark_all(&bench, "", &store, &all);
    bench.timed("expunge", || mailbox.expunge(&[all[all.len() / 2]]).unwrap());
    bench.timed("expunge.seen", || assert_eq!(view.sync(true).unwrap().gone.len(), 1));
    store.checkpoint();

    let half: Vec<Uid> = uids(&view).into_iter().step_by(2).collect();
    bench.timed("expunge.half", || mailbox.expunge(&half).unwrap());
    store.checkpoint();
    let begun = Instant::now();
    let (moved, freed) = store.compact(&mailbox).unwrap();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let facts = [("ms", ms(begun)), ("moved_mib", rounded(mib(moved))), ("freed_mib", rounded(mib(freed)))];
    let speed = mib(moved) / begun.elapsed().as_secs_f64();
    bench.emit("compact", &[&facts[..], &[("mib_per_s", rounded(speed))]].concat());
}

/// What `FETCH 1:* (ENVELOPE BODYSTRUCTURE)` takes, to a buffer: messages that are taken apart, and out of the cache.
fn fetch(view: &View, all: &[Uid]) -> usize {
    let (mut out, mut bytes) = (Vec::new(), 0);
    let mut structures = view.structures(all);
    while let Some((_, record)) = structures.next() {
        let record = record.unwrap();
        out.extend_from_slice(record.envelope);
        out.extend_from_slice(record.body_structure(false));
        if out.len() > 64 << 10 {
            bytes += out.len();
            out.clear();
        }
    }
    bytes + out.len()
}

#[test]
#[ignore = "a measurement, not a test"]
fn structures() {
    let Some(bench) = Bench::begin() else { return };
    let dir = bench.dir.path();
    bench.fill();
    let opened = || {
        let store = store(dir);
        let view = inbox(&store).view().unwrap();
        (store, view)
    };
    let (first, view) = opened();
    let all = uids(&view);
    let mut some = vec![Vec::new(); all.len().min(5000)];
    for (uid, message) in all.iter().zip(&mut some) {
        view.read(*uid).unwrap().read_to_end(message).unwrap();
    }
    let begun = Instant::now();
    some.iter().for_each(|message| drop(Structure::of(message)));
    let size: usize = some.iter().map(Vec::len).sum();
    bench.emit("structure.scan", &[("mb_per_s", rounded(size as f64 / 1e6 / begun.elapsed().as_secs_f64()))]);
    drop(some);
    let bytes = bench.timed("structure.first", || fetch(&view, &all));
    assert_eq!(bench.timed("structure.again", || fetch(&view, &all)), bytes);
    let cache = fs::metadata(dir.join("spool/index/big/INBOX.cache")).unwrap().len();
    bench.emit("structure.size", &[("bytes", json!(bytes)), ("cache_bytes", json!(cache))]);
    first.close();
    drop((view, first));

    let (_second, view) = opened();
    bench.timed("structure.one", || view.structure(all[all.len() / 2]).unwrap());
    bench.emit("structure.session", &[("ms", rounded(median(times(9, || assert_eq!(fetch(&view, &all), bytes)))))]);
    bench.timed("structure.sort", || {
        let (mut structures, mut subjects) = (view.structures(&all), Vec::new());
        while let Some((_, record)) = structures.next() {
            subjects.push(record.unwrap().keys().unwrap().base_subject);
        }
        subjects.sort();
    });
}

/// The same mail, delivered by us: flags go into the room that each message has for them.
#[test]
#[ignore = "a measurement, not a test"]
fn own() {
    let Some(bench) = Bench::begin() else { return };
    let store = store(bench.dir.path());
    let mailbox = inbox(&store);
    let path = ReversePath(None);
    let to: Address = "big@test.example".parse().unwrap();
    let mut counter = 0;
    for_each_message(&bench.big, |text| {
        counter += 1;
        let (id, message) = (SpoolId { generation: 1, counter }, Message::Memory(Arc::new(text)));
        let arrival = Arrival::Delivered { return_path: &path, delivered_to: &to, time: Time::from_seconds(1_500_000_000) };
        mailbox.deliver(&Copy { id, recipient: 0, arrival, message: &message }).unwrap();
        if counter % 1_000 == 0 {
            store.checkpoint();
        }
    });
    store.checkpoint();
    let all = uids(&mailbox.view().unwrap());
    assert_eq!(all.len() as u64, counter);
    store.checkpoint();
    mark_all(&bench, OWN, &store, &all);
}

/// Shows each message of a file, without its `From ` line.
fn for_each_message(path: &Path, mut show: impl FnMut(Vec<u8>)) {
    let mut file = BufReader::new(File::open(path).unwrap());
    let (mut text, mut line, mut after_empty) = (Vec::new(), Vec::new(), true);
    while file.read_until(b'\n', &mut line).unwrap() > 0 {
        if after_empty && line.starts_with(b"From ") {
            if !text.is_empty() {
                text.pop();
                show(std::mem::take(&mut text));
            }
        } else {
            text.extend_from_slice(&line);
        }
        after_empty = line == b"\n";
        line.clear();
    }
    text.pop();
    show(text);
}

/// Appends of 4 KiB, as APPEND makes them, while a session has the mailbox open.
#[test]
#[ignore = "a measurement, not a test"]
fn appends() {
    let Some(bench) = Bench::begin() else { return };
    bench.fill();
    let (delivery, store) = house(bench.dir.path());
    let post = delivery.post();
    let view = inbox(&store).view().unwrap();
    store.checkpoint();
    let before = view.count().unwrap();
    let mut each = times(APPENDS, || append(&post, "big"));
    each.sort_by(f64::total_cmp);
    let facts = [("ms", rounded(median(each.clone()))), ("max_ms", rounded(each[APPENDS - 1])), ("count", json!(APPENDS))];
    bench.emit("append", &facts);
    for (case, spread) in [("append20", false), ("append20.spread", true)] {
        let user = |n: usize| if spread { format!("u{n}") } else { "big".to_owned() };
        // To begin a mailbox is another act.
        (1..=WRITERS).for_each(|n| append(&post, &user(n)));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for n in 1..=WRITERS {
                let (post, user) = (&post, user(n));
                scope.spawn(move || (0..EACH).for_each(|_| append(post, &user)));
            }
        });
        let (took, count) = (begun.elapsed().as_secs_f64(), WRITERS * EACH);
        bench.emit(case, &[("per_s", rounded(count as f64 / took)), ("count", json!(count)), ("writers", json!(WRITERS))]);
    }
    assert_eq!(view.sync(true).unwrap().exists, Some(before + (APPENDS + WRITERS * (EACH + 1)) as u32));
    delivery.stop();
}

fn append(post: &Post, user: &str) {
    let head = "Date: Fri, 14 Jul 2017 02:40:00 +0000\r\nFrom: a@site1.example\r\nTo: user@test.example\r\nSubject: appended\r\n\
        MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n";
    let text = [head.to_owned(), ("y".repeat(70) + "\r\n").repeat(56)].concat();
    let mut batch = post.file(&account(user), &FolderName::parse("INBOX").unwrap()).unwrap();
    batch.message(Filing::default());
    batch.write_all(text.as_bytes()).unwrap();
    batch.commit().unwrap();
}

/// All that moves mail, with a journal like the daemon's.
fn house(dir: &Path) -> (Delivery, Arc<Store>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let text = format!("hostname = \"test.example\"\nmail = {:?}\nspool = {:?}\n", dir.join("mail"), dir.join("spool"));
    let config = config::load::from_text("measure", &text, Path::new("/"), &[]).unwrap_or_else(|report| panic!("{report}"));
    let config: Arc<Config> = Arc::new(config);
    let journal = dir.join("spool/journal/test.example");
    disk.make_dir(journal.parent().unwrap(), 0o700).unwrap();
    let options = Options { dir: journal, segment_size: 64 << 20, min_free: config.limits.min_free };
    let journal = Journal::open(disk.clone(), clock.clone(), options).unwrap();
    let host: Arc<dyn Host> = Arc::new(Direct::new(disk.clone(), &[]).unwrap());
    let (mail, spool) = (config.mail.clone(), config.spool.clone());
    let store = Store::new(disk, clock.clone(), host.clone(), journal.clone(), mail, spool);
    let resolver = Arc::new(Resolver::new(clock.clone(), &[]));
    (Delivery::start(config, clock, host, journal, store.clone(), resolver), store)
}

/// Resident memory of an open mailbox: after a first open, and with an index; each in a process that does nothing else.
#[test]
#[ignore = "a measurement, not a test"]
fn memory() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return hold(Path::new(&dir));
    }
    let Some(bench) = Bench::begin() else { return };
    bench.fill();
    for case in ["memory.first", "memory.warm"] {
        let program = std::env::current_exe().unwrap();
        let arguments = ["--ignored", "--exact", "--nocapture", "delivery::tests::measure::memory"];
        let mut child = Command::new(program);
        assert!(child.args(arguments).env(CHILD, bench.dir.path()).env("PILLARBOX_CASE", case).status().unwrap().success());
    }
}

fn hold(dir: &Path) {
    let bench = PathBuf::from(std::env::var_os("PILLARBOX_BIG").unwrap()).file_stem().unwrap().to_string_lossy().into_owned();
    let case = std::env::var("PILLARBOX_CASE").unwrap();
    let store = store(dir);
    // What any mailbox needs is there before.
    fs::write(dir.join("mail/other"), "From a@b Sat Nov  1 12:26:40 2025\nSubject: x\n\nx\n\n").unwrap();
    let other = store.inbox(&account("other")).unwrap().view().unwrap();
    drop(uids(&other));
    store.checkpoint();
    let before = resident();
    let mailbox = inbox(&store);
    let view = mailbox.view().unwrap();
    store.checkpoint();
    let open = resident();
    let sessions: Vec<View> = (0..SESSIONS).map(|_| mailbox.view().unwrap()).collect();
    let shared = resident();
    let all = uids(&view);
    mailbox.mark(&all, Change::Add, SEEN, None).unwrap();
    drop(all);
    store.write_back();
    store.checkpoint();
    let marked = resident();
    let facts = [
        ("kib", json!(open - before)),
        ("kib_each_session", rounded((shared - open) as f64 / SESSIONS as f64)),
        ("kib_all_marked", json!(marked.saturating_sub(before))),
    ];
    emit(&bench, &case, &facts);
    drop(sessions);
    store.close();
}

/// KiB of this process.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}
