//! What the engine costs on a big mailbox, printed beside what Dovecot needed (tests/bench/PEERS.md). A measurement, not a test:
//!
//!     tests/bench/gen_mbox.py big.mbox --messages 50000
//!     PILLARBOX_BIG=big.mbox cargo test --release --lib -- --ignored --nocapture measure::

use super::others::real;
use super::*;
use crate::mailbox::state::Log;
use crate::mailbox::table::Row;
use crate::mailbox::{Change, Flags, Marks};

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

fn inbox(store: &Store) -> Arc<Mailbox> {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    store.inbox(&Account { name: "big".into(), uid, gid, home: None }).unwrap()
}

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = act();
    println!("{what:44} {:10.2} ms", begun.elapsed().as_secs_f64() * 1e3);
    result
}

#[test]
#[ignore = "a measurement, not a test"]
fn engine() {
    let Ok(big) = std::env::var("PILLARBOX_BIG") else { return println!("PILLARBOX_BIG names no mailbox") };
    let dir = tempfile::tempdir_in(Path::new(&big).parent().unwrap()).unwrap();
    let path = dir.path().join("mail/big");
    let store = real(dir.path());
    std::fs::copy(&big, &path).unwrap();
    println!("a row has {} bytes", size_of::<Row>());
    timed("wc -l", || std::process::Command::new("wc").arg("-l").arg(&path).output().unwrap());
    let before = resident();
    let view = timed("first open, no index", || inbox(&store).view().unwrap());
    let all: Vec<Uid> = view.messages().unwrap().iter().map(|message| message.uid).collect();
    println!("{} messages, {} bytes", all.len(), view.counts().size);
    store.checkpoint();
    println!("memory of the open mailbox: {} KiB", resident().saturating_sub(before));
    drop(view);
    timed("close, index written", || store.close());
    drop(store);
    let store = real(dir.path());
    drop(timed("open with index", || inbox(&store).view().unwrap()));
    drop(store);
    let mut opens: Vec<f64> = (0..21)
        .map(|_| {
            let store = real(dir.path());
            let mailbox = inbox(&store);
            let begun = Instant::now();
            drop(mailbox.view().unwrap());
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    opens.sort_by(f64::total_cmp);
    println!("open with index, 21 times: least {:.2} ms, median {:.2} ms", opens[0], opens[10]);
    timed("of it: the state log", || {
        Log::open(Arc::new(crate::sys::RealDisk), &dir.path().join("spool/state/big"), "INBOX").unwrap()
    });
    let store = real(dir.path());
    let before = resident();
    let view = timed("open with index, again", || inbox(&store).view().unwrap());
    println!("memory of the open mailbox: {} KiB", resident().saturating_sub(before));
    timed("what STATUS tells", || view.counts());
    let mailbox = inbox(&store);
    let seen = Marks { flags: Flags::SEEN, keywords: 0 };
    timed("mark all: seen by other sessions", || {
        mailbox.mark(&all, Change::Add, seen, None).unwrap();
        assert_eq!(view.sync(true).unwrap().marked.len(), all.len());
    });
    timed("mark all: in the file (foreign: in the log)", || store.checkpoint());
    timed("expunge one in the middle", || mailbox.expunge(&[all[all.len() / 2]]).unwrap());
    timed("checkpoint", || store.checkpoint());
    timed("expunge another", || mailbox.expunge(&[all[all.len() / 3]]).unwrap());
    timed("a session learns of it", || view.sync(true).unwrap());
    let mail = Mail::new(1, &[b"Subject: message 1\n\n".to_vec(), b"x".repeat(4000)].concat());
    timed("append one", || mailbox.deliver(&mail.copy()).unwrap());
    timed("a session learns of it", || view.sync(true).unwrap());
}

/// Marks in messages of our own, which have room for them.
#[test]
#[ignore = "a measurement, not a test"]
fn marks() {
    let dir = tempfile::tempdir().unwrap();
    let store = real(dir.path());
    let mailbox = inbox(&store);
    let mail = Mail::new(1, &[b"Subject: message 1\n\n".to_vec(), b"line\n".repeat(800)].concat());
    timed("deliver 50,000", || (0..50_000).for_each(|_| assert!(mailbox.deliver(&mail.copy()).is_ok())));
    let view = timed("first open", || mailbox.view().unwrap());
    let all: Vec<Uid> = view.messages().unwrap().iter().map(|message| message.uid).collect();
    timed("checkpoint", || store.checkpoint());
    for flags in [Flags::SEEN, Flags::FLAGGED] {
        timed("mark all: seen by other sessions", || {
            mailbox.mark(&all, Change::Add, Marks { flags, keywords: 0 }, None).unwrap();
            assert_eq!(view.sync(true).unwrap().marked.len(), all.len());
        });
        timed("mark all: in the file", || store.write_back());
        timed("checkpoint", || store.checkpoint());
    }
}
