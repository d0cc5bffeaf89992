//! Two daemons on one spool and one mail directory, as two hosts on a shared file system have them, and a program that rewrites
//! INBOX as mutt does: all three at work at once, and after each round compared with a plain list, in both daemons. Nothing is
//! lost, doubled or altered; UIDs of untouched messages stay; no UID ever names another message; the last
//! marks set are there.
//!
//! Each message belongs to one of the three, who alone marks, moves and removes it; some are for both daemons to move at once.
//!
//! The seed is printed when it fails; `PILLARBOX_SHARED_SEED=N` begins with the same acts. `PILLARBOX_SHARED_SECONDS=N` makes it
//! longer.

mod actor;
mod ledger;
mod mutt;

use crate::common::{Daemon, Random, Setup, wait_for};
use crate::runner::{Test, note};
use actor::{Actor, Session};
use ledger::{FOLDERS, Held, INBOX, Ledger, Owner, Seen};
use mutt::Mutt;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    let name = "two_daemons_and_mutt_agree_with_a_list";
    vec![
        Test::new(module_path!(), name, two_daemons_and_mutt_agree_with_a_list)
            .longer(Duration::from_secs(2) * number("SECONDS") as u32),
    ]
}

/// Acts of each in one round.
const ACTS: usize = 25;
/// Messages that both daemons move at once, in each round.
const CONTESTED: usize = 4;
/// What the check may find: mutt took the base line with the first message, or the other daemon has not done its part yet, or
/// writes a log or an index just now.
const FINE: [&str; 4] =
    ["there is no base line", "the base line tells", "is left over from a step of compaction", "was not finished"];
/// What no daemon may log: one took the other's lock away, or something that should not be.
const BAD: [&str; 4] = ["event=stale-dotlock", "event=dotlock-left", "event=no-block", "panic"];
/// Rounds, however little time there is.
const ROUNDS: u64 = 4;

fn number(name: &str) -> u64 {
    std::env::var(format!("PILLARBOX_SHARED_{name}")).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn two_daemons_and_mutt_agree_with_a_list() {
    let first = Setup { hostname: "one.here.test".into(), ..Setup::default() }.start();
    let (spool, mail) = (Some(first.spool().to_owned()), first.mailbox("alice").parent().map(Into::into));
    let second = Setup { hostname: "two.here.test".into(), spool, mail, ..Setup::default() }.start();
    let daemons = [first, second];
    let mut session = Session::new(&daemons[0]);
    FOLDERS.iter().skip(1).for_each(|folder| session.create(folder));
    let begun = Instant::now();
    let seed = match number("SEED") {
        0 => u64::from(std::process::id()) << 20 | u64::from(begun.elapsed().subsec_nanos()),
        seed => seed,
    };
    let ledger = Ledger::default();
    let mut round = 0;
    while round < ROUNDS || begun.elapsed() < Duration::from_secs(number("SECONDS")) {
        let seed = seed + round;
        ledger.acts().clear();
        ledger.did(format!("round {round}, seed {seed}"));
        if let Err(failed) = thread::scope(|scope| scope.spawn(|| play(&daemons, &ledger, seed)).join()) {
            note(format!("PILLARBOX_SHARED_SEED={seed}; its acts:\n{}", ledger.acts().join("\n")));
            panic!("round {round}: {}", reason(failed));
        }
        round += 1;
    }
}

/// What a thread died of.
fn reason(failed: Box<dyn Any + Send>) -> String {
    failed.downcast::<String>().map_or_else(|_| "a panic".into(), |text| *text)
}

/// One round.
fn play(daemons: &[Daemon; 2], ledger: &Ledger, seed: u64) {
    let contested = contest(&daemons[0], ledger);
    let start = Barrier::new(3);
    thread::scope(|scope| {
        let mut all = Vec::new();
        for (who, daemon) in daemons.iter().enumerate() {
            let (start, contested) = (&start, &contested);
            all.push(scope.spawn(move || {
                let mut actor = Actor::new(who, daemon, ledger, Random(seed * 3 + who as u64 + 1));
                start.wait();
                actor.contend(contested);
                (0..ACTS).for_each(|_| actor.act());
            }));
        }
        let (start, path) = (&start, daemons[0].mailbox("alice"));
        all.push(scope.spawn(move || {
            start.wait();
            let mut random = Random(seed * 3 + 3);
            (0..ACTS).for_each(|_| rewrite(&path, ledger, &mut random));
        }));
        let failed: Vec<String> = all.into_iter().filter_map(|one| one.join().err()).map(reason).collect();
        assert!(failed.is_empty(), "{failed:#?}");
    });
    for daemon in daemons {
        wait_for("an empty queue", 30, || daemon.queue().is_empty().then_some(()));
    }
    compare(daemons, ledger, &contested, &mut Random(seed | 1));
}

/// Messages that both daemons are to move.
fn contest(daemon: &Daemon, ledger: &Ledger) -> BTreeSet<u64> {
    let mut session = Session::new(daemon);
    let numbers: BTreeSet<u64> = (0..CONTESTED).map(|_| ledger.next()).collect();
    for number in &numbers {
        session.append(INBOX, *number, "").unwrap();
    }
    ledger.did(format!("for both to move: {numbers:?}"));
    numbers
}

/// One session of mutt. It changes and deletes what is its own, and what it sees marked as deleted it may take away, as asked.
fn rewrite(path: &std::path::Path, ledger: &Ledger, random: &mut Random) {
    if random.below(3) == 0 {
        let number = ledger.next();
        mutt::append(path, &ledger::text(number).replace("\r\n", "\n")).unwrap();
        ledger.hold(INBOX, number, Held::new(Owner::Mutt));
        return ledger.did(format!("procmail: {number}"));
    }
    let mut mutt = Mutt::open(path).unwrap();
    let purges = random.below(2) == 0;
    let mut what = Vec::new();
    for item in &mut mutt.items {
        let is_own = item.number.is_some_and(|number| ledger.is_of(INBOX, number, Owner::Mutt));
        match random.below(6) {
            0 if is_own => item.leave_out = true,
            1 if is_own => {
                item.letters = ["", "R", "RO", "ROF", "RA", "OAF"][random.below(6)].to_owned();
                item.changed = true;
            }
            _ => item.leave_out = purges && item.letters.contains('D'),
        }
        if item.leave_out || item.changed {
            what.push(format!("{:?} {}", item.number, if item.leave_out { "goes" } else { &item.letters }));
        }
    }
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(random.below(20) as u64));
        if mutt.sync(|item| ledger.mutt_writes(item)).unwrap() {
            return ledger.did(format!("mutt: {what:?}"));
        }
        // It goes on with what it decided, if that is still there.
    }
}

/// What both daemons show of a folder. What one has written the other finds within a second or two.
fn agreed(daemons: &[Daemon; 2], folder: usize, name: &str) -> Vec<Seen> {
    let short = |seen: &[Seen]| seen.iter().map(|seen| (seen.uid, seen.number, seen.flags.clone())).collect::<Vec<_>>();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let [one, two] = daemons.each_ref().map(|daemon| Session::new(daemon).look(folder).unwrap());
        if short(&one) == short(&two) {
            return one;
        }
        assert!(Instant::now() < end, "the daemons of {name}: {:?} and {:?}", short(&one), short(&two));
        thread::sleep(Duration::from_millis(100));
    }
}

/// Both daemons show what the list says.
fn compare(daemons: &[Daemon; 2], ledger: &Ledger, contested: &BTreeSet<u64>, random: &mut Random) {
    let mut won: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (folder, name) in FOLDERS.iter().enumerate() {
        let one = agreed(daemons, folder, name);
        one.iter()
            .filter(|seen| contested.contains(&seen.number))
            .for_each(|seen| won.entry(seen.number).or_default().push(folder));
        ledger.compare(folder, &one, contested, random);
    }
    for number in contested {
        assert_eq!(won.get(number).map_or(0, Vec::len), 1, "message {number}, which both moved, is in {:?}", won.get(number));
    }
    for daemon in daemons {
        for folder in FOLDERS {
            let found = daemon.ctl(&["mailbox", "check", "alice", folder]);
            let told = String::from_utf8_lossy(&found.stdout);
            let wrong: Vec<&str> = told.lines().filter(|line| !FINE.iter().any(|fine| line.contains(fine))).collect();
            assert!(wrong.is_empty(), "{folder}: {wrong:?}");
        }
        let log = daemon.log();
        let wrong = log.lines().find(|line| BAD.iter().any(|bad| line.contains(bad)));
        assert!(wrong.is_none(), "{wrong:?}");
    }
}
