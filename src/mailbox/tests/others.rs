//! Other programs at the same files, on a real disk and with a real clock.

use super::*;
use crate::mailbox::lock::{dotlock, is_remembered};
use crate::mailbox::{Change, Flags, Marks};
use crate::sys::{Lock, RealDisk, Stat, SystemClock};
use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

pub fn real(root: &Path) -> Arc<Store> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let host = Arc::new(TestHost(disk.clone()));
    let (mail, spool) = (root.join("mail"), root.join("spool"));
    [&mail, &spool].iter().for_each(|dir| disk.make_dir(dir, 0o700).unwrap());
    Store::new(disk, Arc::new(SystemClock::default()), host, Arc::new(TestLedger::default()), mail, spool)
}

fn inbox(store: &Store) -> Arc<Mailbox> {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    store.inbox(&Account { name: "alice".into(), uid, gid, home: None }).unwrap()
}

/// Appends as procmail does: dotlock, then fcntl.
fn procmail(path: &Path, n: u64) {
    let lock = dotlock(path);
    while OpenOptions::new().write(true).create_new(true).open(&lock).is_err() {
        thread::yield_now();
    }
    let file = RealDisk.open(path, Open::Create(0o600)).unwrap();
    while !file.try_lock(Lock::Exclusive).unwrap() {
        thread::yield_now();
    }
    let mut out = OpenOptions::new().append(true).open(path).unwrap();
    write!(out, "From x@y Sat Nov  1 12:26:40 2025\nSubject: message {n}\n\nby procmail\n\n").unwrap();
    file.unlock().unwrap();
    std::fs::remove_file(lock).unwrap();
}

#[test]
fn nothing_is_lost_among_many_writers_and_readers() {
    let dir = tempfile::tempdir().unwrap();
    let store = real(dir.path());
    let path = dir.path().join("mail/alice");
    thread::scope(|scope| {
        for thread in 0..4u64 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..50 {
                    inbox(store).deliver(&small(100 * thread + n).copy()).unwrap();
                }
            });
        }
        scope.spawn(|| (900..940).for_each(|n| procmail(&path, n)));
        scope.spawn(|| {
            let mut uids: Vec<(u32, u64)> = Vec::new();
            for _ in 0..20 {
                let view = inbox(&store).view().unwrap();
                for (uid, n) in &uids {
                    let summary = view.message(Uid(*uid)).unwrap().unwrap();
                    assert_eq!(number(&read(&view, &summary)), *n);
                }
                uids = view.messages().unwrap().iter().map(|m| (m.uid.0, number(&read(&view, m)))).collect();
            }
        });
        scope.spawn(|| (0..10).for_each(|_| store.checkpoint()));
    });
    let view = inbox(&store).view().unwrap();
    let mut found: Vec<u64> = view.messages().unwrap().iter().map(|m| number(&read(&view, m))).collect();
    found.sort_unstable();
    let mut all: Vec<u64> = (0..4u64).flat_map(|thread| (0..50).map(move |n| 100 * thread + n)).chain(900..940).collect();
    all.sort_unstable();
    assert_eq!(found, all);
}

/// c-client has a dotlock, and no lock on the file that we would meet.
#[test]
fn nobody_looks_at_what_is_being_written_under_a_dotlock() {
    let dir = tempfile::tempdir().unwrap();
    let store = real(dir.path());
    let path = dir.path().join("mail/alice");
    for n in 0..4 {
        inbox(&store).deliver(&small(n).copy()).unwrap();
    }
    let view = inbox(&store).view().unwrap();
    let found = |view: &View| view.messages().unwrap().iter().map(|m| (m.uid.0, number(&read(view, m)))).collect::<Vec<_>>();
    assert_eq!(found(&view), [(1, 0), (2, 1), (3, 2), (4, 3)]);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(dotlock(&path), "").unwrap();
    std::fs::write(&path, &whole[..whole.len() * 5 / 8]).unwrap();
    assert!(matches!(view.sync(true), Err(MailboxError::Busy)));
    let mut appended = whole.clone();
    appended.extend_from_slice(b"From x@y Sat Nov  1 12:26:40 2025\nSubject: message 9\n\nby alpine\n\n");
    std::fs::write(&path, appended).unwrap();
    std::fs::remove_file(dotlock(&path)).unwrap();
    assert_eq!(view.sync(true).unwrap().gone, []);
    assert_eq!(found(&inbox(&store).view().unwrap()), [(1, 0), (2, 1), (3, 2), (4, 3), (5, 9)]);
}

#[test]
fn a_lock_is_waited_for_and_then_it_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let store = real(dir.path());
    let path = dir.path().join("mail/alice");
    inbox(&store).deliver(&small(1).copy()).unwrap();
    // A dotlock that goes away.
    std::fs::write(dotlock(&path), "1").unwrap();
    thread::scope(|scope| {
        let delivery = scope.spawn(|| inbox(&store).deliver(&small(2).copy()));
        thread::sleep(Duration::from_millis(50));
        std::fs::remove_file(dotlock(&path)).unwrap();
        delivery.join().unwrap().unwrap();
    });
    // An fcntl lock that stays: it is told, and the next ones don't wait.
    let file = RealDisk.open(&path, Open::Write).unwrap();
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    assert!(matches!(inbox(&store).deliver(&small(3).copy()), Err(MailboxError::Busy)));
    let begun = Instant::now();
    assert!(matches!(inbox(&store).deliver(&small(3).copy()), Err(MailboxError::Busy)));
    assert!(begun.elapsed() < Duration::from_millis(500));
    assert!(!dotlock(&path).exists());
    file.unlock().unwrap();
    inbox(&store).deliver(&small(3).copy()).unwrap();
}

/// Two daemons on one shared mail directory: another spool, other secrets.
#[test]
fn two_daemons_share_a_mailbox() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(dir.path().join("mail"), other.path().join("mail")).unwrap();
    let (one, two) = (real(dir.path()), real(other.path()));
    thread::scope(|scope| {
        for (store, range) in [(&one, 0..60), (&two, 60..120)] {
            scope.spawn(move || {
                for n in range {
                    inbox(store).deliver(&small(n).copy()).unwrap();
                }
            });
        }
    });
    for store in [one, two] {
        let view = inbox(&store).view().unwrap();
        let mut found: Vec<u64> = view.messages().unwrap().iter().map(|m| number(&read(&view, m))).collect();
        found.sort_unstable();
        assert!(found.into_iter().eq(0..120));
    }
}

/// Prints what the hot paths cost; run it with `--release --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn cost() {
    let dir = tempfile::tempdir().unwrap();
    let store = real(dir.path());
    let mailbox = inbox(&store);
    let body: String =
        (0..56).map(|n| format!("line {n}: the quick brown fox jumps over the lazy dog, and again and again\n")).collect();
    let mail = Mail::new(1, format!("Subject: message 1\nFrom: a@b\nTo: c@d\n\n{body}").as_bytes());
    mailbox.deliver(&mail.copy()).unwrap();
    let begun = Instant::now();
    for _ in 0..2500 {
        mailbox.deliver(&mail.copy()).unwrap();
    }
    println!("deliver: {:?} each", begun.elapsed() / 2500);
    let begun = Instant::now();
    let view = mailbox.view().unwrap();
    println!("first view of {} messages: {:?}", view.messages().unwrap().len(), begun.elapsed());
    let (begun, mut total) = (Instant::now(), 0);
    let mut buffer = vec![0; 64 << 10];
    for message in view.messages().unwrap() {
        let mut stream = view.read(message.uid).unwrap();
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            total += read;
        }
    }
    println!("read {total} bytes: {:?}", begun.elapsed());
    let begun = Instant::now();
    store.checkpoint();
    println!("checkpoint: {:?}", begun.elapsed());
    let begun = Instant::now();
    mailbox.expunge(&[Uid(1000)]).unwrap();
    println!("expunge: {:?}", begun.elapsed());
}

/// Two daemons on one shared file system: the same mail directory, the same spool.
#[test]
fn two_daemons_share_mailbox_and_spool() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [real(dir.path()), real(dir.path())];
    let mut shown: Vec<(u32, u64)> = Vec::new();
    // In turn: each number is greater than all before, and not by a thousand each time.
    for n in 0..40 {
        inbox(&stores[n as usize % 2]).deliver(&small(n).copy()).unwrap();
        for store in &stores {
            let view = inbox(store).view().unwrap();
            let now: Vec<(u32, u64)> = view.messages().unwrap().iter().map(|m| (m.uid.0, number(&read(&view, m)))).collect();
            assert!(now.starts_with(&shown) && now.len() == n as usize + 1, "{shown:?} became {now:?}");
            shown = now;
        }
    }
    assert!(shown.last().unwrap().0 < 4_000, "{shown:?}");
    // At the same time.
    thread::scope(|scope| {
        for (store, range) in stores.iter().zip([100..160, 200..260]) {
            scope.spawn(move || {
                for n in range {
                    inbox(store).deliver(&small(n).copy()).unwrap();
                    store.checkpoint();
                }
            });
        }
    });
    let seen = |store: &Arc<Store>| {
        let view = inbox(store).view().unwrap();
        view.messages().unwrap().iter().map(|m| (m.uid.0, number(&read(&view, m)))).collect::<Vec<_>>()
    };
    assert!(seen(&stores[0]) == seen(&stores[1]));
    assert_eq!(seen(&stores[0]).len(), 160);
    // Marks and removals are told to the sessions of both.
    let views = [inbox(&stores[0]).view().unwrap(), inbox(&stores[1]).view().unwrap()];
    let (first, second) = (Uid(shown[0].0), Uid(shown[1].0));
    let flagged = Marks { flags: Flags::FLAGGED, keywords: inbox(&stores[1]).keyword("Work").unwrap().unwrap() };
    inbox(&stores[0]).mark(&[first], Change::Add, flagged, None).unwrap();
    inbox(&stores[1]).expunge(&[second]).unwrap();
    for view in &views {
        assert_eq!(view.sync(true).unwrap().gone, [(2, second)]);
        assert_eq!(view.message(first).unwrap().unwrap().marks, flagged);
        assert_eq!(view.keywords().names(), ["Work"]);
    }
    // Also if mail came between the removal and the look.
    let third = Uid(shown[2].0);
    inbox(&stores[1]).expunge(&[third]).unwrap();
    inbox(&stores[1]).deliver(&small(299).copy()).unwrap();
    for view in &views {
        assert_eq!(view.sync(true).unwrap().gone, [(2, third)]);
    }
    assert!(seen(&stores[0]) == seen(&stores[1]));
    // One ends and comes back while the other goes on.
    let [one, two] = stores;
    one.close();
    drop((views, one));
    inbox(&two).deliver(&small(300).copy()).unwrap();
    let one = real(dir.path());
    inbox(&one).deliver(&small(301).copy()).unwrap();
    inbox(&two).deliver(&small(302).copy()).unwrap();
    let all = seen(&one);
    assert_eq!(all, seen(&two));
    assert_eq!(all.iter().rev().take(3).map(|(_, n)| *n).collect::<Vec<_>>(), [302, 301, 300]);
}

/// A session of c-client's on a file, as long as this lives.
struct CClient {
    path: PathBuf,
    _lock: nix::fcntl::Flock<std::fs::File>,
}

impl CClient {
    fn begin(mailbox: &Path) -> CClient {
        let (device, inode) = RealDisk.stat(mailbox).unwrap().file;
        let path = PathBuf::from(format!("/tmp/.{device:x}.{inode:x}"));
        let file = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
        let lock =
            nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error).unwrap();
        CClient { path, _lock: lock }
    }
}

impl Drop for CClient {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).unwrap();
    }
}

#[test]
fn while_c_client_remembers_a_mailbox_it_only_grows() {
    let dir = tempfile::tempdir().unwrap();
    let store = real(dir.path());
    let path = dir.path().join("mail/alice");
    let mailbox = inbox(&store);
    for n in 1..=3 {
        mailbox.deliver(&small(n).copy()).unwrap();
    }
    store.checkpoint();
    let view = mailbox.view().unwrap();
    let before = std::fs::read(&path).unwrap();
    let session = CClient::begin(&path);
    mailbox.expunge(&[Uid(2)]).unwrap();
    let seen = Marks { flags: Flags::FLAGGED, ..Marks::default() };
    mailbox.mark(&[Uid(1)], Change::Add, seen, None).unwrap();
    mailbox.deliver(&small(4).copy()).unwrap();
    store.checkpoint();
    assert!(matches!(store.compact(&mailbox), Err(MailboxError::Busy)));
    let now = std::fs::read(&path).unwrap();
    assert!(now.starts_with(&before) && now.len() > before.len());
    let numbers = |view: &View| -> Vec<u64> { view.messages().unwrap().iter().map(|m| number(&read(view, m))).collect() };
    assert_eq!(numbers(&mailbox.view().unwrap()), [1, 3, 4]);
    assert!(mailbox.view().unwrap().message(Uid(1)).unwrap().unwrap().marks.flags.has(Flags::FLAGGED));
    // It goes; nothing that was put off is forgotten.
    drop((session, view));
    store.checkpoint();
    let now = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
    assert!(!now.contains("Subject: message 2\n") && now.contains("\nX-Status:  F"), "{now}");
    assert_eq!(numbers(&mailbox.view().unwrap()), [1, 3, 4]);
    // All is dead, and still nobody makes it shorter.
    let session = CClient::begin(&path);
    mailbox.expunge(&[Uid(1), Uid(3), Uid(4)]).unwrap();
    assert!(matches!(store.compact(&mailbox), Err(MailboxError::Busy)));
    drop(session);
    store.checkpoint();
    store.compact(&mailbox).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"");
}

#[test]
fn a_session_that_its_owner_did_not_begin_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("box");
    std::fs::write(&path, "").unwrap();
    let mine = RealDisk.stat(&path).unwrap();
    let session = CClient::begin(&path);
    let another = Stat { uid: mine.uid + 1, ..mine };
    let host = TestHost(Arc::new(RealDisk));
    assert!(is_remembered(&RealDisk, &host, &mine) && !is_remembered(&RealDisk, &host, &another));
    // Left over.
    let left = session.path.clone();
    drop(session);
    std::fs::write(&left, "17").unwrap();
    let is_held = is_remembered(&RealDisk, &host, &mine);
    std::fs::remove_file(left).unwrap();
    assert!(!is_held);
}
