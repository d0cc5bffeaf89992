//! Mail that is judged: it goes on in a record of its own.

use super::filing::{subjects, text_of};
use super::*;
use crate::junk::Kind;
use crate::mailbox::{FolderName, SpecialUse};

/// Alice has taught what casinos write.
fn taught() -> House {
    let house = House::new("junk = \"file\"\n");
    let (alice, folder) = (house.account("alice"), FolderName::parse("Junk").unwrap());
    house.store.folders(&alice).unwrap().create(&folder, Some(SpecialUse::Junk)).unwrap();
    for (subject, kind) in [("casino", Kind::Junk), ("meeting", Kind::Good)] {
        let letter = |n| format!("{}number{n:04}\n", text_of(subject)).replace('\n', "\r\n").into_bytes();
        let letters: Vec<Vec<u8>> = (0..40).map(letter).collect();
        assert_eq!(house.delivery().learn_messages(&alice, kind, &letters).unwrap().new, letters.len());
    }
    house
}

/// Copies in INBOX and in Junk; what they say is looked at, too.
fn found(house: &House) -> [usize; 2] {
    ["INBOX", "Junk"].map(|folder| subjects(house, folder).get("casino").copied().unwrap_or(0))
}

/// Wherever the machine stops: a message that was taken is in one of the two folders, once.
#[test]
fn a_stop_at_any_operation_loses_and_doubles_nothing() {
    let post = |house: &House| house.post("c@d.example", &["alice@me.example"], &text_of("casino")).is_ok();
    let total = {
        let house = taught();
        let before = house.disk.operations();
        assert!(post(&house));
        assert_eq!(found(&house), [0, 1]);
        house.disk.operations() - before
    };
    let (mut refused, mut brought_to_its_end) = (0, 0);
    for stop in 1..=total {
        let house = taught();
        house.disk.stop_at(house.disk.operations() + stop);
        let taken = post(&house);
        for seed in 0..3 {
            let disk = if seed == 0 { house.disk.after_kill() } else { house.disk.after_power_cut(seed + 77 * stop) };
            let again = House::open(disk, house.config.clone());
            let case = format!("stop at {stop}, seed {seed}, taken {taken}");
            again.wait(&case, || again.queue().is_empty());
            match found(&again) {
                [0, 1] => brought_to_its_end += usize::from(!taken),
                [0, 0] if !taken => refused += 1,
                other => panic!("{case}: {other:?}"),
            }
        }
    }
    assert!(refused > 0 && brought_to_its_end > 0, "{refused} {brought_to_its_end}");
}
