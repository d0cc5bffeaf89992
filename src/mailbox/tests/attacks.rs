//! Everything that could make a pair of UIDVALIDITY and UID that was shown name another body: what backups, editors, other
//! mailboxes and lost files do, each with the daemon at work, after a clean end, and after a kill, with the index and without.

use super::strangers::{append, overwrite, replace, split};
use super::*;
use crate::mailbox::{Change, Flags, Marks};
use std::collections::BTreeMap;

const STATE: &str = "/w/spool/state/alice/INBOX";
const USER: &str = "/w/spool/state/alice/user";
const INDEX: &str = "/w/spool/index/alice/INBOX.idx";

/// What happens between the daemon's last look and the next.
#[derive(Copy, Clone, Debug)]
enum Life {
    GoesOn,
    EndsClean,
    IsKilled,
}

/// Files as they once were.
type Backup = BTreeMap<&'static str, Option<Vec<u8>>>;

struct Stage {
    disk: SimDisk,
    world: World,
    /// By UIDVALIDITY and UID.
    shown: BTreeMap<(u32, u32), Vec<u8>>,
    /// When the mailbox had two messages.
    early: Vec<u8>,
    early_state: Backup,
    /// The same of a moment while the daemon was at work.
    live: Vec<u8>,
    live_state: Backup,
    /// Of the clock, after all lives.
    passed: Duration,
    next: u64,
}

impl Stage {
    fn empty() -> Stage {
        let disk = SimDisk::default();
        disk.set_time(Time::from_seconds(START));
        let world = World::sim(&disk);
        Stage {
            disk,
            world,
            shown: BTreeMap::new(),
            early: Vec::new(),
            early_state: Backup::new(),
            live: Vec::new(),
            live_state: Backup::new(),
            passed: Duration::ZERO,
            next: 1,
        }
    }

    fn new() -> Stage {
        let mut stage = Stage::empty();
        stage.deliver();
        stage.deliver();
        stage.look();
        // A clean end notes the very next UID.
        stage.live_on(Life::EndsClean);
        stage.early = stage.mail();
        stage.early_state = stage.state();
        stage.deliver();
        stage.look();
        (stage.live, stage.live_state) = (stage.mail(), stage.state());
        stage.stranger("");
        stage.deliver();
        stage.look();
        // The last one was shown, and goes: its UID must not come again.
        let last = stage.look().pop().unwrap();
        stage.world.inbox("alice").expunge(&[Uid(last.1)]).unwrap();
        stage.world.store.checkpoint();
        stage.look();
        stage
    }

    fn state(&self) -> Backup {
        [STATE, USER].into_iter().map(|path| (path, bytes(&self.disk, path))).collect()
    }

    /// Time goes by.
    fn pass(&mut self, span: Duration) {
        self.passed += span;
        self.world.clock.advance(span);
        self.disk.set_time(self.world.clock.now());
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn deliver(&mut self) {
        let n = self.number();
        self.world.inbox("alice").deliver(&small(n).copy()).unwrap();
    }

    /// Another program delivers.
    fn stranger(&mut self, fields: &str) {
        let text = format!("{fields}Subject: message {}\n\nby a stranger\n", self.number());
        append(&self.disk, &text);
    }

    fn mail(&self) -> Vec<u8> {
        self.world.file("alice")
    }

    /// What a new session sees; no pair is another message than before.
    fn look(&mut self) -> Vec<(u32, u32)> {
        let view = self.world.inbox("alice").view().unwrap();
        let mut pairs = Vec::new();
        for message in view.messages().unwrap() {
            let (pair, wire) = ((view.uid_validity(), message.uid.0), read(&view, &message));
            let before = self.shown.entry(pair).or_insert_with(|| wire.clone());
            assert_eq!(String::from_utf8_lossy(before), String::from_utf8_lossy(&wire), "shown as {pair:?}");
            assert!(message.uid.0 < view.uid_next());
            pairs.push(pair);
        }
        pairs
    }

    fn live_on(&mut self, life: Life) {
        match life {
            Life::GoesOn => return,
            Life::EndsClean => self.world.store.close(),
            Life::IsKilled => {}
        }
        self.disk = self.disk.after_kill();
        let ledger = self.world.ledger.clone();
        self.world = World::at(Arc::new(self.disk.clone()), Path::new("/w"), ledger);
        self.world.clock.advance(self.passed);
    }

    fn restore(&self, state: &Backup) {
        for (path, bytes) in state {
            put(&self.disk, path, bytes.as_deref());
        }
    }

    fn restore_state(&self) {
        self.restore(&self.early_state);
    }

    fn edit(&self, how: impl Fn(String) -> String) {
        overwrite(&self.disk, how(String::from_utf8(self.mail()).unwrap()).as_bytes());
    }
}

fn bytes(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(path), Open::Read).ok()?;
    let mut bytes = vec![0; file.stat().unwrap().size as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// As another file, by rename.
fn put(disk: &SimDisk, path: &str, bytes: Option<&[u8]>) {
    let _ = disk.remove(Path::new(path));
    if let Some(bytes) = bytes {
        let file = disk.open(Path::new(path), Open::CreateNew(0o600)).unwrap();
        file.write_at(&[io::IoSlice::new(bytes)], 0).unwrap();
    }
}

/// An mbox of another server's: as many messages as UIDs.
fn foreign(validity: u32, uids: &[u32]) -> String {
    let mut text = String::new();
    for (at, uid) in uids.iter().enumerate() {
        let base = if at == 0 { format!("X-IMAPbase: {validity} {:010}\n", uids.len() + 10) } else { String::new() };
        text += &format!(
            "From x@y Sat Nov  1 12:26:40 2025\nSubject: foreign {at}\n{base}X-UID: {uid}\nStatus: RO\n\nof another server {at}\n\n"
        );
    }
    text
}

type Attack = (&'static str, fn(&mut Stage));

const ATTACKS: [Attack; 26] = [
    ("nothing", |_| {}),
    ("the state log is lost", |stage| put(&stage.disk, STATE, None)),
    ("all state is lost", |stage| {
        put(&stage.disk, STATE, None);
        put(&stage.disk, USER, None);
    }),
    ("all state is lost, and the clock is set back", |stage| {
        put(&stage.disk, STATE, None);
        put(&stage.disk, USER, None);
        let back = World::sim(&stage.disk);
        stage.world = back;
    }),
    ("an older state is put back", |stage| stage.restore_state()),
    ("an older mailbox is put back", |stage| replace(&stage.disk, &stage.early)),
    ("an older mailbox is written into it", |stage| overwrite(&stage.disk, &stage.early)),
    ("both are put back", |stage| {
        stage.restore_state();
        replace(&stage.disk, &stage.early);
    }),
    ("both are put back, ten seconds later", |stage| {
        stage.pass(Duration::from_secs(10));
        stage.restore_state();
        replace(&stage.disk, &stage.early);
    }),
    ("both are put back as they were while the daemon was at work, an hour later", |stage| {
        stage.pass(Duration::from_secs(3_600));
        stage.restore(&stage.live_state);
        replace(&stage.disk, &stage.live);
    }),
    ("messages change places", |stage| {
        let mut pieces = split(&stage.mail());
        pieces.reverse();
        overwrite(&stage.disk, pieces.iter().map(|piece| &*piece.0).collect::<String>().as_bytes());
    }),
    ("a message is there twice, with its UID", |stage| {
        stage.edit(|text| {
            let pieces = split(text.as_bytes());
            format!("{text}{}", pieces[1].0)
        })
    }),
    ("a message is there twice, and one has another body", |stage| {
        stage.edit(|text| {
            let pieces = split(text.as_bytes());
            format!("{}{text}", pieces[1].0.replace("body 2", "body two"))
        })
    }),
    ("a body is edited in place", |stage| stage.edit(|text| text.replace("body 2", "BODY 2"))),
    ("UIDs are exchanged", |stage| {
        stage.edit(|text| {
            text.replace("0000000001", "000000000x").replace("0000000002", "0000000001").replace("000000000x", "0000000002")
        })
    }),
    ("X-UID is forged", |stage| stage.edit(|text| text.replace("X-UID: 0000000002", "X-UID: 0000000001"))),
    ("the base line is forged", |stage| {
        stage.edit(|text| {
            let at = text.find("X-IMAPbase: ").unwrap() + 12;
            format!("{}0000000001 0000000002{}", &text[..at], &text[at + 21..])
        })
    }),
    ("mail comes with forged fields", |stage| {
        let (validity, n) = (stage.world.inbox("alice").view().unwrap().uid_validity(), stage.number());
        let forged = format!("X-IMAPbase: {validity} 0000000001\nX-UID: 1\nX-Pillarbox: 0000000001 1.0 1-1 0 0000000000000000\n");
        stage
            .world
            .inbox("alice")
            .deliver(&Mail::new(n, format!("{forged}Subject: message {n}\n\nforged\n").as_bytes()).copy())
            .unwrap();
        stage.stranger(&forged);
    }),
    ("another mailbox is put in its place", |stage| replace(&stage.disk, foreign(START as u32, &[1, 2, 3, 5]).as_bytes())),
    ("another mailbox is put in its place, and state is lost", |stage| {
        put(&stage.disk, STATE, None);
        replace(&stage.disk, foreign(START as u32, &[1, 2, 3, 5]).as_bytes());
    }),
    ("another mailbox is put in its place, and all state is lost", |stage| {
        put(&stage.disk, STATE, None);
        put(&stage.disk, USER, None);
        replace(&stage.disk, foreign(START as u32 - 1, &[1, 2, 3, 5]).as_bytes());
    }),
    ("another user's mailbox is copied in", |stage| {
        for n in 50..55 {
            stage.world.inbox("bob").deliver(&small(n).copy()).unwrap();
        }
        stage.world.store.checkpoint();
        replace(&stage.disk, &stage.world.file("bob"));
    }),
    ("the first message is cut off", |stage| {
        let pieces = split(&stage.mail());
        overwrite(&stage.disk, pieces[1..].iter().map(|piece| &*piece.0).collect::<String>().as_bytes());
    }),
    ("it is emptied and filled again", |stage| {
        overwrite(&stage.disk, b"");
        stage.stranger("");
    }),
    ("it is emptied, seen so, and filled again", |stage| {
        overwrite(&stage.disk, b"");
        stage.look();
        stage.stranger("");
        stage.deliver();
    }),
    ("it is taken away, and comes again as another", |stage| {
        stage.disk.remove(Path::new("/w/mail/alice")).unwrap();
        stage.look();
        stage.stranger("");
    }),
];

#[test]
fn no_pair_that_was_shown_names_another_body() {
    for (name, attack) in ATTACKS {
        for life in [Life::GoesOn, Life::EndsClean, Life::IsKilled] {
            // Where mail and state are both older, only the index can know what was shown since; or the time.
            let blind = name == "both are put back";
            for (index, again) in [(true, 0), (false, 0), (true, 1), (false, 1)] {
                if blind && !index && !matches!(life, Life::GoesOn) {
                    continue;
                }
                let case = std::panic::AssertUnwindSafe(|| {
                    let mut stage = Stage::new();
                    // The daemon is down while it happens, or it happens beside it.
                    stage.live_on(life);
                    if !index {
                        put(&stage.disk, INDEX, None);
                    }
                    attack(&mut stage);
                    if again > 0 {
                        stage.deliver();
                    }
                    stage.look();
                    stage.deliver();
                    stage.stranger("");
                    stage.look();
                    stage.world.store.checkpoint();
                    stage.look();
                    stage.live_on(Life::IsKilled);
                    stage.look();
                });
                if std::panic::catch_unwind(case).is_err() {
                    panic!("{name}; the daemon {life:?}; index kept: {index}; {again} delivered before the next look");
                }
            }
        }
    }
}

/// Numbering goes on exactly where it was after a restart, as long as nobody touched the log; else behind what could have been
/// given since, with the same UIDVALIDITY.
#[test]
fn numbers_are_passed_over_only_where_they_may_have_been_given() {
    let day = Duration::from_secs(86_400);
    let next = |stage: &Stage| stage.world.inbox("alice").view().unwrap().uid_next();
    let mut stage = Stage::new();
    let (validity, known) = (stage.world.inbox("alice").view().unwrap().uid_validity(), next(&stage));
    let modseq = stage.world.inbox("alice").view().unwrap().highest_modseq();
    stage.live_on(Life::EndsClean);
    stage.pass(Duration::from_secs(500));
    assert_eq!(next(&stage), known);
    stage.live_on(Life::EndsClean);
    stage.pass(day);
    assert!(next(&stage) >= known + 86_400 && next(&stage) < known + 90_000, "{} after {known}", next(&stage));
    let known = next(&stage);
    stage.live_on(Life::EndsClean);
    stage.pass(day);
    // Its time is another now, as after a copy to another place.
    let state = stage.state();
    stage.restore(&state);
    let view = stage.world.inbox("alice").view().unwrap();
    assert!(next(&stage) > known + 180_000 && next(&stage) < known + 280_000, "{} after {known}", next(&stage));
    assert_eq!(view.uid_validity(), validity);
    // Clients that come back are told of all that is not there.
    assert_eq!(view.vanished_since(modseq), None);
    stage.look();
    let known = next(&stage);
    drop(view);
    stage.live_on(Life::EndsClean);
    assert_eq!(next(&stage), known);
}

/// A whole mailbox is copied here, faster than a message a second, and then mail and state come back from before.
#[test]
fn a_backup_from_before_a_burst_gives_no_number_again() {
    for (clean, burst) in [(true, 200), (false, 1_200)] {
        let mut stage = Stage::new();
        stage.live_on(if clean { Life::EndsClean } else { Life::GoesOn });
        let (mail, state) = (stage.mail(), stage.state());
        let modseq = stage.world.inbox("alice").view().unwrap().highest_modseq();
        (0..burst).for_each(|_| stage.deliver());
        stage.look();
        // The log tells the time a minute ahead.
        stage.pass(Duration::from_secs(180));
        stage.live_on(Life::EndsClean);
        put(&stage.disk, INDEX, None);
        stage.restore(&state);
        replace(&stage.disk, &mail);
        stage.deliver();
        stage.look();
        // Nor is it known what went away.
        assert_eq!(stage.world.inbox("alice").view().unwrap().vanished_since(modseq), None, "ended clean: {clean}");
    }
}

/// The wrong one first.
#[test]
fn an_older_backup_and_then_a_newer_one_give_no_number_again() {
    let mut stage = Stage::new();
    stage.live_on(Life::EndsClean);
    let older = (stage.mail(), stage.state());
    // The daemon is at work all the day: nothing is passed over.
    stage.look();
    stage.pass(Duration::from_secs(86_400));
    stage.deliver();
    stage.look();
    stage.live_on(Life::EndsClean);
    let newer = (stage.mail(), stage.state());
    let mut most = 0;
    for (mail, state) in [older, newer] {
        stage.pass(Duration::from_secs(3_600));
        stage.restore(&state);
        replace(&stage.disk, &mail);
        put(&stage.disk, INDEX, None);
        stage.deliver();
        let (_, uid) = *stage.look().last().unwrap();
        assert!(uid > most, "{uid} after {most}");
        most = uid;
        stage.live_on(Life::EndsClean);
    }
}

/// The whole disk goes back to a snapshot, as that of a virtual machine does: nothing on it tells so.
#[test]
fn a_snapshot_of_the_disk_gives_no_number_again() {
    for (life, index) in [(Life::EndsClean, true), (Life::EndsClean, false), (Life::IsKilled, true), (Life::IsKilled, false)] {
        let mut stage = Stage::new();
        let modseq = stage.world.inbox("alice").view().unwrap().highest_modseq();
        stage.live_on(life);
        let snapshot = stage.disk.after_kill();
        (0..50).for_each(|_| stage.deliver());
        stage.look();
        stage.pass(Duration::from_secs(1_000));
        stage.live_on(Life::EndsClean);
        stage.disk = snapshot;
        if !index {
            put(&stage.disk, INDEX, None);
        }
        stage.disk.set_time(stage.world.clock.now());
        stage.live_on(Life::IsKilled);
        stage.deliver();
        stage.look();
        assert_eq!(stage.world.inbox("alice").view().unwrap().vanished_since(modseq), None);
    }
}

/// Numbers were passed over at a start, and none was given yet when the backup was made. It is put back at once, and the daemon
/// starts as much later again.
#[test]
fn a_backup_tells_what_was_passed_over_before_it() {
    let mut stage = Stage::new();
    stage.live_on(Life::IsKilled);
    stage.pass(Duration::from_secs(1_000));
    let (_, uid) = stage.look()[0];
    let seen = Marks { flags: Flags::SEEN, ..Marks::default() };
    stage.world.inbox("alice").mark(&[Uid(uid)], Change::Add, seen, None).unwrap();
    stage.world.store.checkpoint();
    let (mail, state) = (stage.mail(), stage.state());
    // The log tells the time up to a minute ahead.
    (0..200).for_each(|_| stage.deliver());
    stage.look();
    stage.restore(&state);
    replace(&stage.disk, &mail);
    put(&stage.disk, INDEX, None);
    stage.live_on(Life::IsKilled);
    stage.pass(Duration::from_secs(1_000));
    stage.deliver();
    stage.look();
}

/// Nobody had looked into it yet.
#[test]
fn a_backup_of_a_mailbox_that_was_only_delivered_to_gives_no_number_again() {
    let mut stage = Stage::empty();
    stage.deliver();
    stage.world.store.checkpoint();
    let (mail, state) = (stage.mail(), stage.state());
    (0..20).for_each(|_| stage.deliver());
    stage.look();
    stage.live_on(Life::IsKilled);
    (0..20).for_each(|_| stage.deliver());
    stage.look();
    stage.pass(Duration::from_secs(300));
    put(&stage.disk, INDEX, None);
    stage.restore(&state);
    replace(&stage.disk, &mail);
    stage.live_on(Life::IsKilled);
    (0..20).for_each(|_| stage.deliver());
    stage.look();
}

/// The directory with all state of a user is taken away under a daemon at work.
#[test]
fn a_state_directory_that_is_taken_away_is_written_anew() {
    let mut stage = Stage::new();
    let before = stage.look();
    let state = Path::new("/w/spool/state/alice");
    for name in stage.disk.list(state).unwrap() {
        stage.disk.remove(&state.join(&name)).unwrap();
    }
    stage.disk.remove_dir(state).unwrap();
    stage.deliver();
    let after = stage.look();
    assert_eq!(after.get(..before.len()), Some(&before[..]));
    assert_eq!(after.len(), before.len() + 1);
    assert!(bytes(&stage.disk, STATE).is_some());
    stage.live_on(Life::IsKilled);
    assert_eq!(stage.look().len(), after.len());
}

/// A power cut may bring back the index from before the last one. It does not know what was changed in the middle since.
#[test]
fn an_index_that_a_power_cut_brings_back_is_marked_as_stale() {
    let mut stage = Stage::new();
    stage.live_on(Life::EndsClean);
    stage.disk.sync_dir(Path::new(INDEX).parent().unwrap()).unwrap();
    stage.deliver();
    stage.look();
    stage.live_on(Life::EndsClean);
    let (_, first) = stage.look()[0];
    stage.world.inbox("alice").expunge(&[Uid(first)]).unwrap();
    assert!(stage.world.inbox("alice").inner().index_stale);
    for seed in 0..64 {
        let index = bytes(&stage.disk.after_power_cut(seed), INDEX).unwrap();
        assert_ne!(index.get(251), Some(&0), "seed {seed}");
    }
}
