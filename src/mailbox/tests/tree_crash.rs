//! Stops the machine, and makes operations fail, at every step of creating, renaming, deleting and subscribing.

use super::folders::{account, content, folders, name, open, tree};
use super::*;
use std::collections::BTreeMap;

/// What clients were shown: by name, UIDVALIDITY and UID, the number of a message.
type Shown = BTreeMap<(String, u32, u32), u64>;

enum Act {
    Create(&'static str, Option<SpecialUse>),
    Rename(&'static str, &'static str),
    Delete(&'static str),
    Subscribe(&'static str),
    Unsubscribe(&'static str),
    /// Delivers a message to each, with a checkpoint.
    Mail(&'static [(u64, &'static str)]),
    Furnish,
}

use Act::*;

const LIFE: &[Act] = &[
    Create("a/b", None),
    Create("a", Some(SpecialUse::Sent)),
    Create("a/b/c", None),
    Mail(&[(1, "a"), (2, "a/b"), (3, "INBOX")]),
    Subscribe("a/b"),
    Rename("a", "c/d"),
    Create("a", None),
    Mail(&[(4, "a"), (5, "c/d/b/c")]),
    Delete("c/d"),
    Rename("c", "a/x"),
    Unsubscribe("a/b"),
    Delete("a/x/d/b/c"),
    Delete("a"),
    Create("a", None),
    Rename("a/x/d/b", "b"),
    Furnish,
];

impl Act {
    fn run(&self, world: &World) -> Result<(), FolderError> {
        let all = world.store.folders(&account())?;
        match self {
            Create(text, special) => all.create(&name(text), *special).map(drop),
            Rename(from, to) => all.rename(&name(from), &name(to)),
            Delete(text) => all.delete(&name(text)),
            Subscribe(text) => all.subscribe(&name(text)),
            Unsubscribe(text) => all.unsubscribe(&name(text)),
            Furnish => all.ensure_special(),
            Mail(copies) => {
                for (n, text) in *copies {
                    open(world, text)?.deliver(&small(*n).copy())?;
                }
                world.store.checkpoint();
                let all = copies.iter().all(|(n, _)| world.settled(*n));
                if all { Ok(()) } else { Err(MailboxError::Busy.into()) }
            }
        }
    }
}

/// The tree, and the mail in it.
type Picture = (String, BTreeMap<String, Vec<u64>>);

/// Looks at everything, as clients do. What was shown before must not be something else now.
fn look(world: &World, shown: &mut Shown, case: &str) -> Result<Picture, FolderError> {
    let listed = world.store.folders(&account())?.list()?;
    let mut mail = BTreeMap::new();
    for listed in listed.iter().filter(|listed| matches!(listed.kind, Kind::Mailbox(_))) {
        let view = world.store.open(&account(), &listed.name)?.view()?;
        let mut numbers = Vec::new();
        for message in view.messages()? {
            let mut bytes = Vec::new();
            view.read(message.uid)?.read_to_end(&mut bytes)?;
            let key = (listed.name.to_string(), view.uid_validity(), message.uid.0);
            numbers.push(number(&bytes));
            let before = *shown.entry(key.clone()).or_insert(number(&bytes));
            assert_eq!(before, number(&bytes), "{case}: {key:?} was another message");
        }
        numbers.sort_unstable();
        mail.insert(listed.name.to_string(), numbers);
    }
    // Special uses show in the ids' facts only; they are part of the picture.
    let uses: Vec<_> = listed.iter().filter_map(|listed| Some(format!("{}={}", listed.name, listed.special?.as_str()))).collect();
    Ok((format!("{} {}", tree(world), uses.join(" ")), mail))
}

/// The pictures before the first act and after each, and how many operations such a life has.
fn pictures() -> (Vec<Picture>, u64) {
    let disk = SimDisk::default();
    assert_eq!(live(&World::sim(&disk), &mut Shown::new(), "to count"), LIFE.len());
    let (world, mut shown) = (World::sim(&SimDisk::default()), Shown::new());
    let mut pictures = vec![look(&world, &mut shown, "as told").unwrap()];
    for act in LIFE {
        act.run(&world).unwrap();
        pictures.push(look(&world, &mut shown, "as told").unwrap());
    }
    (pictures, disk.operations())
}

/// Lives until something fails; clients look when there is new mail. Returns how many acts were done.
fn live(world: &World, shown: &mut Shown, case: &str) -> usize {
    for (done, act) in LIFE.iter().enumerate() {
        if act.run(world).is_err() || matches!(act, Mail(_)) && look(world, shown, case).is_err() {
            return done;
        }
    }
    LIFE.len()
}

/// The tree is as before the act that was cut short, or as after it; no mail is missing; and life goes on from there.
fn restart(disk: SimDisk, ledger: Arc<TestLedger>, mut shown: Shown, done: usize, pictures: &[Picture], case: &str) {
    let world = World::at(Arc::new(disk), Path::new("/w"), ledger);
    let at = match LIFE.get(done) {
        // The journal has what is missing; here only what is of the tree counts.
        Some(Mail(copies)) => {
            for (n, text) in copies.iter().filter(|(n, _)| !world.settled(*n)) {
                let (mailbox, mail) = (open(&world, text).unwrap(), small(*n));
                if !mailbox.recover(&[mail.copy()]).unwrap()[0] {
                    mailbox.deliver(&mail.copy()).unwrap();
                }
            }
            world.store.checkpoint();
            done + 1
        }
        _ => done,
    };
    let now = look(&world, &mut shown, case).unwrap_or_else(|error| panic!("{case}: {error}"));
    let mut near = (at..(at + 2).min(pictures.len())).filter(|at| pictures[*at] == now);
    // Furnishing is several acts, of which any number may be done.
    let furnishing = LIFE.get(at).is_some_and(|act| matches!(act, Furnish));
    let next = match near.next() {
        Some(next) => next,
        None if furnishing => at,
        None => panic!("{case}: {now:?} is neither {:?} nor {:?}", pictures.get(at), pictures.get(at + 1)),
    };
    for act in LIFE.iter().skip(next) {
        act.run(&world).unwrap_or_else(|error| panic!("{case}: {error}"));
    }
    let end = look(&world, &mut shown, case).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(Some(&end), pictures.last(), "{case}");
}

#[test]
fn a_stop_at_any_operation_leaves_the_tree_as_before_or_as_after() {
    let (pictures, total) = pictures();
    assert!(total > 100);
    for stop in 1..=total {
        let disk = SimDisk::default();
        let (world, mut shown) = (World::sim(&disk), Shown::new());
        disk.stop_at(stop);
        let done = live(&world, &mut shown, &format!("stop at {stop}"));
        let ledger = || world.ledger.again();
        restart(disk.after_kill(), ledger(), shown.clone(), done, &pictures, &format!("kill at {stop}"));
        for seed in 0..2 {
            let case = format!("power cut at {stop}, seed {seed}");
            restart(disk.after_power_cut(seed), ledger(), shown.clone(), done, &pictures, &case);
        }
    }
}

#[test]
fn a_failure_of_any_operation_leaves_the_tree_as_before_or_as_after() {
    let (pictures, total) = pictures();
    for fail in 1..=total {
        let disk = SimDisk::default();
        let (world, mut shown) = (World::sim(&disk), Shown::new());
        disk.fail_at(fail, io::ErrorKind::StorageFull);
        let done = live(&world, &mut shown, &format!("failure at {fail}"));
        if done == LIFE.len() {
            continue;
        }
        let ledger = || world.ledger.again();
        for seed in 0..2 {
            let case = format!("failure at {fail}, seed {seed}");
            restart(disk.after_power_cut(seed), ledger(), shown.clone(), done, &pictures, &case);
        }
        // And without a restart.
        let case = format!("failure at {fail}, going on");
        for (act, picture) in LIFE.iter().zip(&pictures[1..]).skip(done) {
            let again = act.run(&world);
            let known = matches!(&again, Ok(()) | Err(FolderError::Exists | FolderError::Nonexistent));
            assert!(known || matches!(act, Mail(_)), "{case}: {again:?}");
            let now = look(&world, &mut shown, &case).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!(now.0 == picture.0, "{case}: {} is not {}", now.0, picture.0);
        }
    }
}

#[test]
fn a_damaged_log_costs_names_but_no_mail() {
    let disk = SimDisk::default();
    let world = World::sim(&disk);
    let mut shown = Shown::new();
    LIFE.iter().take(8).for_each(|act| act.run(&world).unwrap());
    let before = look(&world, &mut shown, "before").unwrap();
    drop(world);
    let path = Path::new("/w/spool/state/alice/user");
    let size = disk.open(path, Open::Read).unwrap().stat().unwrap().size;
    for from in (0..size).step_by(40) {
        let disk = disk.after_kill();
        disk.open(path, Open::Write).unwrap().write_at(&[io::IoSlice::new(&[0; 60])], from).unwrap();
        let world = World::sim(&disk);
        let after = look(&world, &mut shown.clone(), &format!("hole at {from}")).unwrap();
        let all = |picture: &Picture| {
            let mut all: Vec<u64> = picture.1.values().flatten().copied().collect();
            all.sort_unstable();
            all
        };
        assert_eq!(all(&after), all(&before), "hole at {from}");
        let (_, mail) = content(&open(&world, "a").unwrap());
        assert_eq!(mail.len(), 1);
        assert!(folders(&world).create(&name("new"), None).is_ok());
    }
}
