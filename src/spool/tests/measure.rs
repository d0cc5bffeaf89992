//! What a long queue costs, on a real disk: to start with it, and while it is there.

use super::threads::{Counting, real};
use super::*;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SEGMENT: u64 = 64 << 20;
const AT_ONCE: u64 = 1000;

fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4 / 1024
}

/// Messages for a tenth as many domains, like the daemon's, all of them tried once.
fn fill(journal: &Arc<Journal>, count: u64) {
    let body = text(1, 350);
    let until = Time::from_seconds(4_000_000_000);
    for start in (0..count).step_by(AT_ONCE as usize) {
        let drafts = (start..(start + AT_ONCE).min(count)).map(|number| {
            let to: crate::mail::Address = format!("x@d{}.test", number % (count / 10)).parse().unwrap();
            let mut draft = journal.begin(Envelope { recipients: vec![to.into()], ..envelope(1) }).unwrap();
            draft.write_all(&body).unwrap();
            draft
        });
        let entries = Draft::commit_all(drafts.collect(), &[]).unwrap();
        let deferred = (start..).zip(&entries).map(|(number, entry)| Outcome {
            text: format!("d{}.test[127.1.2.3]:25: connection refused (os error 111)", number % (count / 10)),
            ..outcome(entry.id, &[0], Status::Deferred { until })
        });
        journal.settle(&deferred.collect::<Vec<_>>()).unwrap();
        if start % 50_000 == 0 {
            journal.housekeep();
        }
    }
}

/// How long mail that comes in waits at worst while house is kept for some minutes, and for how long a list holds it up.
fn latency(journal: &Arc<Journal>) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let (mut worst, mut sent) = (Duration::ZERO, 0_u32);
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let id = put(journal, 1, b"Subject: new\n\nmail\n").unwrap().id;
                worst = worst.max(begun.elapsed());
                journal.settle(&delivered(id, &[0])).unwrap();
                sent += 1;
                thread::sleep(Duration::from_millis(2));
            }
            (worst, sent)
        });
        let (begun, mut longest) = (Instant::now(), Duration::ZERO);
        for _ in 0..130 {
            let begun = Instant::now();
            journal.housekeep();
            longest = longest.max(begun.elapsed());
        }
        let kept = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        let (worst, sent) = sender.join().unwrap();
        println!("130 times house kept in {kept:?}, the longest {longest:?}; {sent} commits meanwhile, the longest {worst:?}");
    });
    let begun = Instant::now();
    let ids = journal.ids();
    println!("{} ids listed in {:?}", ids.len(), begun.elapsed());
}

fn open_again(dir: &Path, count: u64, what: &str) -> Arc<Journal> {
    let (before, begun) = (resident(), Instant::now());
    let journal = real(dir, &Counting::default(), SEGMENT);
    let took = begun.elapsed();
    assert_eq!(journal.ids().len() as u64, count);
    println!("{what}: opened in {took:?}, {before} MiB before, {} MiB after", resident());
    journal
}

#[test]
#[ignore = "a measurement, to be run by hand; PILLARBOX_QUEUE_MESSAGES says how many"]
fn what_a_long_queue_costs() {
    let count = std::env::var("PILLARBOX_QUEUE_MESSAGES").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir_in(".").unwrap();
    let (before, begun) = (resident(), Instant::now());
    let journal = real(dir.path(), &Counting::default(), SEGMENT);
    fill(&journal, count);
    println!("{count} messages in {:?}, {} MiB", begun.elapsed(), resident() - before);
    drop(journal);
    drop(open_again(dir.path(), count, "after a kill"));
    let journal = open_again(dir.path(), count, "once more");
    latency(&journal);
    drop(journal);
    let journal = open_again(dir.path(), count, "with summaries");
    let begun = Instant::now();
    journal.close();
    println!("closed in {:?}", begun.elapsed());
    drop(journal);
    open_again(dir.path(), count, "after a clean end");
}
