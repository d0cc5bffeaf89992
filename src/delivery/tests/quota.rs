//! A quota that many fill at once.

use super::House;
use super::filing::{append, name, view};
use crate::delivery::FileError;
use crate::mail::Filing;
use crate::mailbox::Uid;
use std::sync::Barrier;
use std::thread;

const LIMIT: u64 = 64 << 10;
const MANY: usize = 16;
/// Bytes of a message.
const SIZE: u64 = 10_000;

fn house() -> House {
    let house = House::new("[limits]\nquota = \"64K\"\n");
    house.store.folders(&house.account("alice")).unwrap().create(&name("Work"), None).unwrap();
    house
}

fn message() -> Vec<u8> {
    format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(SIZE as usize - 16)).into_bytes()
}

fn used(house: &House) -> u64 {
    house.delivery().post().quota(&house.account("alice")).unwrap().unwrap().used
}

/// How many of many that try at once do it.
fn at_once(act: impl Fn() -> Result<(), FileError> + Sync) -> usize {
    let barrier = Barrier::new(MANY);
    let one = || {
        barrier.wait();
        match act() {
            Err(FileError::Full) => false,
            done => done.map(|()| true).unwrap(),
        }
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..MANY).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
    })
}

fn is_filled_by(house: &House, count: u64) {
    assert_eq!(used(house), count * SIZE);
    // Nothing is left of what was refused.
    house.store.checkpoint();
    assert_eq!(house.journal.unsettled(), []);
    assert_eq!(used(house), count * SIZE);
}

#[test]
fn what_is_appended_at_once_does_not_exceed_it() {
    let house = house();
    let message = message();
    assert_eq!(message.len() as u64, SIZE);
    assert_eq!(at_once(|| append(&house, "INBOX", &[(Filing::default(), &message)]).map(drop)), 6);
    is_filled_by(&house, LIMIT / SIZE);
}

#[test]
fn what_is_copied_at_once_does_not_exceed_it() {
    let house = house();
    append(&house, "INBOX", &[(Filing::default(), &message())]).unwrap();
    let (post, account) = (house.delivery().post(), house.account("alice"));
    assert_eq!(at_once(|| post.copy(&account, &view(&house, "INBOX"), &[Uid(1)], &name("Work")).map(drop)), 5);
    is_filled_by(&house, LIMIT / SIZE);
}

#[test]
fn what_makes_nothing_bigger_always_fits() {
    let house = house();
    append(&house, "INBOX", &[(Filing::default(), &message())]).unwrap();
    let text = format!("Subject: x\n\n{}\n", "x".repeat(LIMIT as usize));
    house.post("a@other.example", &["alice@me.example"], &text).unwrap();
    assert!(used(&house) > LIMIT && house.delivery().post().is_over_quota(&house.account("alice")));
    let (post, account) = (house.delivery().post(), house.account("alice"));
    post.move_to(&account, &view(&house, "INBOX"), &[Uid(1)], &name("Work")).unwrap();
    let replace = |size: usize| {
        let mut batch = post.file(&account, &name("Work"))?;
        let view = view(&house, "Work");
        batch.replace(&view, view.messages().unwrap()[0].uid)?;
        batch.message(Filing::default());
        std::io::Write::write_all(&mut batch, &message()[..size]).unwrap();
        batch.commit()
    };
    let before = used(&house);
    replace(9_998).unwrap();
    assert_eq!(used(&house), before);
    assert!(matches!(
        replace(10_000).and(append(&house, "INBOX", &[(Filing::default(), b"a: b\r\n\r\n")])),
        Err(FileError::Full)
    ));
}

/// Mail is taken as long as anything is left.
#[test]
fn mail_that_comes_at_once_exceeds_it_by_less_than_one() {
    let house = house();
    let text = format!("Subject: x\n\n{}\n", "x".repeat(SIZE as usize));
    assert_eq!(
        at_once(|| house.post("a@other.example", &["alice@me.example"], &text).map(drop).map_err(|_| FileError::Gone)),
        MANY
    );
    let all = view(&house, "INBOX").messages().unwrap();
    let used = used(&house);
    assert_eq!(used, all.iter().map(|message| message.size).sum::<u64>());
    assert!(used >= LIMIT && used - all[0].size < LIMIT, "{used}");
    assert_eq!(house.queue().len(), MANY - all.len());
}
