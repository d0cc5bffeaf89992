//! Many threads on a real disk, and what they cost.

use super::*;
use crate::sys::{Disk, File, Lock, Open, RealDisk, Stat, SystemClock};
use std::ffi::OsString;
use std::io::{self, IoSlice, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The real disk; counts syncs.
#[derive(Clone, Debug, Default)]
pub(super) struct Counting(Arc<AtomicU64>);

#[derive(Debug)]
struct CountingFile(Arc<dyn File>, Arc<AtomicU64>);

impl Disk for Counting {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(CountingFile(RealDisk.open(path, how)?, self.0.clone())))
    }
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        RealDisk.stat(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename_new(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn make_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        RealDisk.make_dir(path, mode)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        RealDisk.list(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn free(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free(path)
    }
    fn beneath(&self, dir: &Path) -> Arc<dyn Disk> {
        RealDisk.beneath(dir)
    }
}

impl File for CountingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.0.write_at(parts, offset)
    }
    fn set_len(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.sync()
    }
    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.0.punch(offset, length)
    }
    fn stat(&self) -> io::Result<Stat> {
        self.0.stat()
    }
    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.0.try_lock(lock)
    }
    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }

    fn is_flocked(&self) -> io::Result<bool> {
        self.0.is_flocked()
    }
}

pub(super) fn real(dir: &Path, disk: &Counting, segment_size: u64) -> Arc<Journal> {
    let options = Options { dir: dir.join("journal/host"), segment_size, min_free: 0 };
    Journal::open(Arc::new(disk.clone()), Arc::new(SystemClock::default()), options).unwrap()
}

#[test]
fn threads_do_not_get_into_each_others_way() {
    let dir = tempfile::tempdir().unwrap();
    let journal = real(dir.path(), &Counting::default(), 512 << 10);
    let kept = Mutex::new(BTreeMap::new());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..10u64)
            .map(|worker| {
                let (journal, kept) = (&journal, &kept);
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for n in 0..60u64 {
                        let text = text(worker * 1000 + n + 1, if n == 30 { 300 << 10 } else { 200 + 97 * n as usize });
                        let id = put(journal, 2, &text).unwrap().id;
                        assert_eq!(bytes(&journal.read(id).unwrap().message), quoted(&text));
                        journal.reserve(id).unwrap();
                        mine.push((id, text));
                        if n % 3 == 0 {
                            let (id, _) = mine.remove(mine.len() / 2);
                            journal.settle(&delivered(id, &[0])).unwrap();
                            journal.settle(&delivered(id, &[1])).unwrap();
                        } else if n % 7 == 0 {
                            let until = Time::from_seconds(1);
                            journal.settle(&[outcome(mine[0].0, &[0], Status::Deferred { until })]).unwrap();
                        }
                    }
                    let mine = mine.into_iter().map(|(id, text)| (id, (vec![0, 1], quoted(&text))));
                    kept.lock().unwrap().extend(mine);
                })
            })
            .collect();
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                journal.housekeep();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let done: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        over.store(true, Ordering::Relaxed);
        assert!(done.into_iter().all(|result| result.is_ok()));
    });
    let kept = kept.into_inner().unwrap();
    assert_eq!(waiting(&journal), kept);
    drop(journal);
    let journal = real(dir.path(), &Counting::default(), 512 << 10);
    assert_eq!(journal.ids().len(), kept.len());
    assert_eq!(waiting(&journal), kept);
}

/// Eight threads commit and settle until the power fails. What one was told holds; what it was not told may hold.
#[test]
fn power_may_fail_while_threads_commit() {
    for stop in (6..150).step_by(9) {
        let disk = SimDisk::default();
        let journal = try_open(&disk, 32 << 10).unwrap();
        disk.stop_at(disk.operations() + stop);
        let (begun, kept) = (Mutex::new(BTreeMap::new()), Mutex::new(BTreeMap::new()));
        let settled = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for worker in 0..8u64 {
                let (journal, begun, kept, settled) = (&journal, &begun, &kept, &settled);
                scope.spawn(move || {
                    for n in 0.. {
                        let text = text(worker * 10_000 + n + 1, if n == 3 { 270 << 10 } else { 100 + 300 * worker as usize });
                        let mut draft = journal.begin(envelope(1)).unwrap();
                        begun.lock().unwrap().insert(draft.id(), quoted(&text));
                        if draft.write_all(&text).is_err() {
                            return;
                        }
                        let Ok(entry) = draft.commit(Vec::new()) else { return };
                        kept.lock().unwrap().insert(entry.id, quoted(&text));
                        if n % 4 == 1 {
                            kept.lock().unwrap().remove(&entry.id);
                            if journal.settle(&delivered(entry.id, &[0])).is_err() {
                                return;
                            }
                            settled.lock().unwrap().push(entry.id);
                        }
                    }
                });
            }
            scope.spawn(|| {
                while begun.lock().unwrap().is_empty() || disk.free(Path::new("/")).is_ok() {
                    journal.housekeep();
                    thread::yield_now();
                }
            });
        });
        let (begun, kept, settled) = (begun.into_inner().unwrap(), kept.into_inner().unwrap(), settled.into_inner().unwrap());
        for seed in 0..6 {
            let what = format!("cut after {stop}, seed {seed}");
            let image = if seed == 0 { disk.after_kill() } else { disk.after_power_cut(seed) };
            let found = waiting(&try_open(&image, 32 << 10).unwrap());
            assert!(found.iter().all(|(id, (_, text))| begun.get(id) == Some(text)), "{what}: made up or altered");
            assert!(kept.keys().all(|id| found.contains_key(id)), "{what}: lost");
            assert!(settled.iter().all(|id| !found.contains_key(id)), "{what}: came back");
        }
    }
}

fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let span = |time: nix::sys::time::TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    span(usage.user_time()) + span(usage.system_time())
}

fn busy(span: Duration) {
    let start = Instant::now();
    while start.elapsed() < span {
        std::hint::spin_loop();
    }
}

/// A client: asks and waits for the answer, as long as there is one.
fn client(mut peer: UnixStream, work: Duration) {
    let mut byte = [0];
    loop {
        busy(work);
        if peer.write_all(&byte).is_err() || peer.read_exact(&mut byte).is_err() {
            return;
        }
    }
}

/// So many sessions, each with its client, that spend `work` on each message besides the journal, in six parts.
fn measure(sessions: usize, work: Duration) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let disk = Counting::default();
    let start = Instant::now();
    let journal = real(dir.path(), &disk, 64 << 20);
    let opened = start.elapsed();
    let (count, over, longest) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let syncs = disk.0.load(Ordering::Relaxed);
    let (begun, used) = (Instant::now(), cpu());
    let body = text(1, 4000);
    let ids = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..sessions {
            let (mut here, there) = UnixStream::pair().unwrap();
            scope.spawn(move || client(there, work / 6));
            let (journal, body, ids, count, over, longest) = (&journal, &body, &ids, &count, &over, &longest);
            scope.spawn(move || {
                let mut byte = [0];
                while !over.load(Ordering::Relaxed) {
                    for _ in 0..2 {
                        here.read_exact(&mut byte).unwrap();
                        busy(work / 6);
                        here.write_all(&byte).unwrap();
                    }
                    here.read_exact(&mut byte).unwrap();
                    let mut draft = journal.begin(envelope(1)).unwrap();
                    draft.write_all(body).unwrap();
                    let start = Instant::now();
                    let id = draft.commit(Vec::new()).unwrap().id;
                    longest.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
                    busy(work / 6);
                    here.write_all(&byte).unwrap();
                    ids.lock().unwrap().push(id);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..3 {
                thread::sleep(Duration::from_secs(1));
                let ids = std::mem::take(&mut *ids.lock().unwrap());
                let outcomes: Vec<Outcome> = ids.iter().flat_map(|&id| delivered(id, &[0])).collect();
                journal.settle(&outcomes).unwrap();
                journal.housekeep();
            }
            over.store(true, Ordering::Relaxed);
        });
    });
    let count = count.into_inner();
    println!(
        "sessions {sessions:2} work {work:?}: {:.0} messages/s, {:.3} syncs/message, {:.1} us CPU/message besides work, longest {} us, opened in {opened:?}",
        count as f64 / begun.elapsed().as_secs_f64(),
        (disk.0.load(Ordering::Relaxed) - syncs) as f64 / count as f64,
        (cpu() - used).saturating_sub(work * count as u32).as_secs_f64() * 1e6 / count as f64,
        longest.into_inner(),
    );
}

#[test]
#[ignore = "a measurement, to be run by hand on a quiet machine: cargo test --release --lib spool::tests::threads -- --ignored --nocapture"]
fn what_a_commit_costs() {
    for (sessions, work) in [(1, 150), (2, 150), (20, 0), (20, 150), (20, 300), (20, 600), (5, 150)] {
        measure(sessions, Duration::from_micros(work));
    }
}
