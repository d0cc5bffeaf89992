//! A second address that gets what the first one can't.

use super::*;
use crate::sys::sim::SimDisk;
use crate::sys::{Disk, Open};
use std::path::Path;

/// Copies of the message that alice has, and of the report that bob has.
fn found(disk: &SimDisk) -> (usize, usize) {
    let count = |user: &str, what: &str| {
        let Ok(file) = disk.open(&Path::new("/mail").join(user), Open::Read) else { return 0 };
        let mut text = vec![0; file.stat().unwrap().size as usize];
        file.read_exact_at(&mut text, 0).unwrap();
        String::from_utf8_lossy(&text).matches(what).count()
    };
    (count("alice", "Subject: once"), count("bob", "Subject: Your message"))
}

/// The disk after as many lives as it takes until nothing is left to do. (What is on its way into a mailbox stands in no queue.)
fn to_the_end(mut disk: SimDisk, mut config: Arc<Config>) -> SimDisk {
    for _ in 0..20 {
        let house = House::open(disk, config);
        if house.office().journal.ids().is_empty() {
            return house.stop().0;
        }
        house.wait("the queue", || house.queue().is_empty());
        (disk, config) = house.stop();
    }
    panic!("something is left for ever");
}

/// Wherever the machine stops: there is one message and one report, if it was taken.
#[test]
fn a_stop_at_any_operation_loses_and_doubles_nothing() {
    let peer = Peer::start();
    let settings = format!("{}[[alternative]]\naddress = \"550@there.example\"\nto = \"alice@me.example\"\n", peer.route());
    let (mut whole, mut between) = (0, 0);
    for n in 1.. {
        let house = House::new(&settings);
        let before = house.disk.operations();
        house.disk.stop_at(before + n);
        let taken = house.post("bob@me.example", &["550@there.example"], "Subject: once\n\nx\n").is_ok();
        let is_stopped = || house.disk.operations() >= before + n;
        house.wait("the end of it", || !taken || is_stopped() || found(&house.disk.after_kill()) == (1, 1));
        whole += usize::from(!is_stopped());
        for seed in 0..3 {
            let disk = if seed == 0 { house.disk.after_kill() } else { house.disk.after_power_cut(seed + 77 * n) };
            let found = found(&to_the_end(disk, house.config.clone()));
            assert!(found == (1, 1) || found == (0, 0) && !taken, "stop at {n}, seed {seed}: {found:?}");
            between += usize::from(is_stopped() && found == (1, 1));
        }
        if whole > 2 {
            assert!(between > 10, "{between}");
            return;
        }
    }
}
