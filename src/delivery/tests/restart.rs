//! What was promised is kept when the daemon comes back.

use super::{House, Peer, TEXT};

#[test]
fn a_stop_keeps_the_queue() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = House::new(&format!("[queue]\nretry = [\"1s\"]\n{}", peer.route()));
    let id = house.post("bob@me.example", &["a@there.example", "alice@me.example"], TEXT).unwrap();
    let (disk, config) = house.stop();
    peer.set_closed(false);
    let house = House::open(disk, config);
    house.wait("mail", || house.journal.waiting(id).is_none());
    assert_eq!(peer.messages().len(), 1);
    assert_eq!(house.mbox("alice").matches("hello").count(), 1);
}

#[test]
fn what_is_held_stays_held() {
    let peer = Peer::start();
    peer.set_closed(true);
    let house = House::new(&peer.route());
    let id = house.post("bob@me.example", &["a@there.example"], TEXT).unwrap();
    house.wait("deferral", || house.journal.waiting(id).is_some_and(|message| message.waiting[0].tries > 0));
    house.wait("hold", || house.delivery().hold(id).is_ok());
    let (disk, config) = house.stop();
    peer.set_closed(false);
    let house = House::open(disk, config);
    assert!(house.delivery().queue()[0].waiting[0].held);
    house.delivery().release(id).unwrap();
    house.wait("mail", || house.journal.waiting(id).is_none());
}
