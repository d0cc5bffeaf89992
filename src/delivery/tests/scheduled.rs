//! What its sender wants to leave later is that sender's to take back or to hurry, as long as nobody has got it.

use super::{House, TEXT};
use crate::delivery::{Operation, Trace, Which};
use crate::mail::{Address, Body, Envelope, MailDsn, Origin, Recipient, Release, ReversePath};
use crate::spool::SpoolId;
use std::io::Write;

/// From Alice, to both, in an hour.
fn later(house: &House) -> SpoolId {
    let to = |address: &&str| Recipient::from(address.parse::<Address>().unwrap());
    let envelope = Envelope {
        reverse_path: ReversePath(Some("alice@me.example".parse().unwrap())),
        recipients: ["alice@me.example", "bob@me.example"].iter().map(to).collect(),
        body: Body::SevenBit,
        utf8: false,
        dsn: MailDsn::default(),
        require_tls: false,
        release: Some(Release::After(3600)),
        origin: Origin::User("alice".into()),
    };
    let trace = Trace { from: Some("test".into()), with: "ESMTP".into(), tls: None, submission: true, arrival: None };
    let mut letter = house.delivery().post().begin(envelope, trace).unwrap();
    letter.write_all(TEXT.as_bytes()).unwrap();
    letter.send().unwrap()
}

#[test]
fn it_is_its_senders_own_until_it_leaves() {
    let house = House::new("");
    let (gone, id) = (later(&house), later(&house));
    let names = |user: &str| house.delivery().scheduled(user).iter().map(|one| one.id).collect::<Vec<_>>();
    let act = |operation, user: &str, id| house.delivery().reschedule(operation, user, id).unwrap();
    assert_eq!((names("alice"), names("bob")), (vec![gone, id], vec![]));
    assert!(act(Operation::Remove, "alice", gone));
    for operation in [Operation::Remove, Operation::Expedite] {
        assert!(!act(operation, "bob", id) && !act(operation, "alice", gone), "{operation:?}");
    }
    assert_eq!(names("alice"), [id]);
    // What operators hold is theirs; when they let it go it waits as before.
    let operate = |operation| house.delivery().operate(operation, &Which::Message(id), None).unwrap().messages;
    assert_eq!(operate(Operation::Hold), 1);
    assert!(!act(Operation::Expedite, "alice", id) && !act(Operation::Remove, "alice", id));
    assert_eq!(operate(Operation::Release), 1);
    assert!(house.mbox("alice").is_empty() && house.mbox("bob").is_empty());
    house.wait("a moment in which nobody looks at it", || act(Operation::Expedite, "alice", id));
    assert!(!act(Operation::Remove, "alice", id), "it is leaving");
    house.wait("both", || house.queue().is_empty());
    assert!(!house.mbox("alice").is_empty() && !house.mbox("bob").is_empty() && names("alice").is_empty());
}
