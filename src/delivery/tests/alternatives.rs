//! A second address that gets what the first one can't.

use super::*;

/// Wherever the machine stops: there is one message and one report, if it was taken.
#[test]
fn a_stop_at_any_operation_loses_and_doubles_nothing() {
    let peer = Peer::start();
    let settings = format!("{}[[alternative]]\naddress = \"550@there.example\"\nto = \"alice@me.example\"\n", peer.route());
    let found = |house: &House| {
        let count = |user: &str, what: &str| house.mbox(user).matches(what).count();
        (count("alice", "Subject: once"), count("bob", "Subject: Your message"))
    };
    let (mut whole, mut between) = (0, 0);
    for n in 1.. {
        let house = House::new(&settings);
        let before = house.disk.operations();
        house.disk.stop_at(before + n);
        let taken = house.post("bob@me.example", &["550@there.example"], "Subject: once\n\nx\n").is_ok();
        let is_stopped = || house.disk.operations() >= before + n;
        house.wait("the end of it", || !taken || is_stopped() || found(&house) == (1, 1));
        whole += usize::from(!is_stopped());
        for seed in 0..3 {
            let disk = if seed == 0 { house.disk.after_kill() } else { house.disk.after_power_cut(seed + 77 * n) };
            let again = House::open(disk, house.config.clone());
            again.wait("the queue", || again.queue().is_empty());
            let found = found(&again);
            assert!(found == (1, 1) || found == (0, 0) && !taken, "stop at {n}, seed {seed}: {found:?}");
            between += usize::from(is_stopped() && found == (1, 1));
        }
        if whole > 2 {
            assert!(between > 10, "{between}");
            return;
        }
    }
}
