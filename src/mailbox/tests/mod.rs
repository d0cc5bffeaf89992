//! Tests of the whole room: on a disk of memory and on real files.

mod attacks;
mod base_line;
mod basic;
mod bytes;
mod crash;
mod doubt;
mod folders;
mod fuzzing;
mod marking;
mod marks_crash;
mod mending;
mod model;
mod numbers;
mod others;
mod remains;
mod repairing;
pub mod scanning;
mod strangers;
mod structures;
mod tree_crash;
mod twins;
mod usage;
mod viewing;

use super::*;
use crate::host::{Account, Host};
use crate::mail::{Address, ReversePath};
use crate::spool::{Message, Outcome, SpoolError, SpoolId};
use crate::sys::clock::manual::ManualClock;
use crate::sys::sim::SimDisk;
use crate::sys::{Clock, Disk, File, Open, Time};
use crossbeam_channel::Receiver;
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Opens files as the test itself.
#[derive(Debug)]
pub struct TestHost(pub Arc<dyn Disk>);

impl Host for TestHost {
    fn account(&self, _name: &str) -> io::Result<Option<Account>> {
        Ok(None)
    }
    fn verify(&self, _name: &str, _password: &[u8]) -> io::Result<Option<Account>> {
        Ok(None)
    }
    fn open_mailbox(&self, _: &Account, root: &Path, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        // As for the real one, the way to the root is trusted.
        if path.parent() == Some(root) { self.0.open(path, how) } else { self.0.beneath(root).open(path, how) }
    }
    fn make_folders(&self, _: &Account, root: &Path, path: &Path) -> io::Result<()> {
        self.0.beneath(root).make_dir(path, 0o2770)
    }
    fn reload(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Remembers what was settled.
#[derive(Debug, Default)]
pub struct TestLedger {
    pub settled: Mutex<HashSet<(SpoolId, u32)>>,
    /// Another daemon is at work, too.
    pub peers: AtomicBool,
}

impl TestLedger {
    /// For the next life: what it hears, this one does not.
    pub fn again(&self) -> Arc<TestLedger> {
        let settled = Mutex::new(self.settled.lock().unwrap().clone());
        Arc::new(TestLedger { settled, ..TestLedger::default() })
    }
}

impl Ledger for TestLedger {
    fn settle(&self, outcomes: &[Outcome]) -> Result<(), SpoolError> {
        let mut settled = self.settled.lock().unwrap();
        for outcome in outcomes {
            settled.extend(outcome.recipients.iter().map(|recipient| (outcome.id, *recipient)));
        }
        Ok(())
    }
    fn name(&self) -> Vec<u8> {
        Vec::new()
    }
    fn has_peers(&self) -> bool {
        self.peers.load(Ordering::Relaxed)
    }
}

/// A clock that moves when somebody waits.
#[derive(Debug)]
pub struct TestClock(ManualClock);

impl TestClock {
    pub fn advance(&self, span: Duration) {
        self.0.advance(span);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        self.0.now()
    }
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
    fn after(&self, span: Duration) -> Receiver<Instant> {
        self.0.advance(span);
        self.0.after(Duration::ZERO)
    }
}

/// A store on some disk.
pub struct World {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<TestClock>,
    pub ledger: Arc<TestLedger>,
    pub store: Arc<Store>,
    pub mail: PathBuf,
}

pub const START: i64 = 1_762_000_000;

impl World {
    pub fn at(disk: Arc<dyn Disk>, root: &Path, ledger: Arc<TestLedger>) -> World {
        let clock = Arc::new(TestClock(ManualClock::at(Time::from_seconds(START))));
        let (mail, spool) = (root.join("mail"), root.join("spool"));
        disk.make_dir(&mail, 0o700).unwrap();
        disk.make_dir(&spool, 0o700).unwrap();
        let host = Arc::new(TestHost(disk.clone()));
        let store = Store::new(disk.clone(), clock.clone(), host, ledger.clone(), mail.clone(), spool);
        World { disk, clock, ledger, store, mail }
    }

    pub fn sim(disk: &SimDisk) -> World {
        World::at(Arc::new(disk.clone()), Path::new("/w"), Arc::default())
    }

    /// With alice's mailbox, of so many small messages.
    pub fn with_mail(disk: &SimDisk, messages: u64) -> (World, Arc<Mailbox>) {
        let world = World::sim(disk);
        let inbox = world.inbox("alice");
        for n in 1..=messages {
            inbox.deliver(&small(n).copy()).unwrap();
        }
        (world, inbox)
    }

    pub fn real(root: &Path) -> World {
        World::at(Arc::new(crate::sys::RealDisk), root, Arc::default())
    }

    pub fn inbox(&self, name: &str) -> Arc<Mailbox> {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        self.store.inbox(&Account { name: name.into(), uid, gid, home: None }).unwrap()
    }

    /// The bytes of a mailbox file.
    pub fn file(&self, name: &str) -> Vec<u8> {
        let Ok(file) = self.disk.open(&self.mail.join(name), Open::Read) else { return Vec::new() };
        let mut bytes = vec![0; file.stat().unwrap().size as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// What a new session sees: UIDs and messages.
    pub fn seen(&self, name: &str) -> Vec<(u32, Vec<u8>)> {
        let view = self.inbox(name).view().unwrap();
        view.messages().unwrap().iter().map(|m| (m.uid.0, read(&view, m))).collect()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.mail.join(name), bytes).unwrap();
    }

    pub fn settled(&self, n: u64) -> bool {
        self.ledger.settled.lock().unwrap().contains(&(id(n), 0))
    }
}

pub fn id(counter: u64) -> SpoolId {
    SpoolId { generation: 0x0123_4567_89ab_cdef, counter }
}

/// What a copy is made from.
pub struct Mail {
    pub id: SpoolId,
    path: ReversePath,
    to: Address,
    pub message: Message,
}

impl Mail {
    pub fn new(counter: u64, bytes: &[u8]) -> Mail {
        let path = ReversePath(Some("sender@example.net".parse().unwrap()));
        Mail {
            id: id(counter),
            path,
            to: "alice@example.org".parse().unwrap(),
            message: Message::Memory(Arc::new(bytes.to_vec())),
        }
    }

    pub fn copy(&self) -> Copy<'_> {
        let time = Time::from_seconds(START - 5);
        let arrival = Arrival::Delivered { return_path: &self.path, delivered_to: &self.to, time };
        Copy { id: self.id, recipient: 0, arrival, message: &self.message }
    }
}

/// A small message that tells its number.
pub fn small(n: u64) -> Mail {
    Mail::new(n, format!("Subject: message {n}\nStatus: RO\n\nbody {n}\n>From quoted\n").as_bytes())
}

/// A message in wire form; its size is as announced.
pub fn read(view: &View, summary: &Summary) -> Vec<u8> {
    let mut bytes = Vec::new();
    view.read(summary.uid).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, summary.size);
    bytes
}

/// The number in a small message's subject.
pub fn number(wire: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(wire);
    let line = text.lines().find_map(|line| line.strip_prefix("Subject: message ")).unwrap_or("0");
    line.parse().unwrap()
}
