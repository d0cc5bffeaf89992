//! Random acts of several sessions and of other programs on one mailbox, against plain lists. After each, what sessions see is
//! compared with the file as a parser of its own reads it, and with what was seen before.
//!
//! A failure prints the seed and the acts; `PILLARBOX_MODEL_SEED=N` runs that one again, `PILLARBOX_MODEL_SECONDS=N` goes on
//! for so long with ever new ones.

mod acts;
mod others;

use super::strangers::{self, Piece};
use super::*;
use crate::mailbox::{Change, Flags, Keywords, Marks, View};
use crate::sys::Lock;
use std::collections::{BTreeMap, BTreeSet};

/// Acts of one short life, and lives that always run: more than 10,000 acts in all.
const ACTS: usize = 60;
const LIVES: u64 = 220;
const INDEX: &str = "/w/spool/index/alice/INBOX.idx";
const MAILBOX: &str = "/w/mail/alice";
const STATE: &str = "/w/spool/state/alice/INBOX";

/// xorshift64*.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn some<T: std::marker::Copy>(&mut self, of: &[T], one_in: usize) -> Vec<T> {
        of.iter().copied().filter(|_| self.one_in(one_in)).collect()
    }
}

/// What is known of a message that is in the file.
#[derive(Clone, Debug, Default)]
struct Known {
    /// As the engine called it when it was first seen.
    uid: Option<u32>,
    /// It comes under the UID it had, or under another: a backup tells another one than an index that may be lost, or older.
    either: bool,
    marks: Marks,
    /// What the file said when it was last looked at.
    filed: Marks,
    /// The marks can't be foretold: they are taken as they are found.
    vague: bool,
}

struct Session {
    view: View,
    serial: usize,
    list: Vec<u32>,
    /// Marks and modseq when it last looked.
    told: BTreeMap<u32, (Marks, u64)>,
}

struct Model {
    random: Random,
    disk: SimDisk,
    world: World,
    sessions: Vec<Session>,
    serials: usize,
    /// What each message ever made looks like on the wire.
    wires: BTreeMap<u64, Vec<u8>>,
    /// Others took these out of a file of ours that went on, before they were settled: nobody has them to put back.
    torn: BTreeSet<u64>,
    /// Messages by number, as they were when the engine last looked.
    alive: BTreeMap<u64, Known>,
    /// Nobody took these away.
    must: BTreeSet<u64>,
    /// We removed these; nobody brought them back.
    expunged: BTreeSet<u64>,
    /// Delivered and not settled, when the file was replaced: they come back with the next checkpoint.
    orphans: BTreeSet<u64>,
    /// What a UID was shown as.
    shown: BTreeMap<u32, u64>,
    names: Keywords,
    validity: u32,
    /// We removed these once.
    ever_expunged: BTreeSet<u64>,
    /// Removed while another program held the lock: they are in the file until the next checkpoint.
    hidden: BTreeSet<u64>,
    /// Removed since the last checkpoint.
    lately: BTreeSet<u64>,
    /// Such a removal, then a kill, and others wrote the file anew with the message in it; and what the file says of that. If it
    /// stands where it stood, it is hidden.
    maybe: BTreeMap<u64, Marks>,
    /// The daemon is down, after a kill.
    killed: bool,
    /// Another program has the mailbox locked: the engine can't look.
    locked: bool,
    /// Others took these away then. Where the index is older than they are, nobody knows that they were there: they may come
    /// back under the UID that they carry. It never named another message.
    forgotten: BTreeSet<u64>,
    /// An index was lost: what is known from it only may be forgotten.
    blind: bool,
    /// Another program wrote in the middle since the engine last looked. What is put at the end now hides that.
    in_place: bool,
    recent: BTreeMap<u32, usize>,
    backups: Vec<Vec<u8>>,
    /// In every other life the disk tells the time of each change; in the others all of them lie long back.
    timed: bool,
    /// Mail and state log of one moment.
    copies: Vec<[Vec<u8>; 2]>,
    /// From here on they were made since one was put back.
    renewed: usize,
    /// They were put back, behind an index that may know marks which the log does not.
    restored: bool,
    /// Another program wrote since the engine last looked.
    foreign: bool,
    next: u64,
    seed: u64,
    acts: Vec<String>,
}

impl Drop for Model {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("PILLARBOX_MODEL_SEED={}; its acts:\n{}", self.seed, self.acts.join("\n"));
        }
    }
}

impl Model {
    fn new(seed: u64) -> Model {
        let disk = SimDisk::default();
        let world = World::sim(&disk);
        // The same content keys and seals each time.
        let secret = disk.open(Path::new("/w/spool/secret"), Open::Create(0o600)).unwrap();
        secret.write_at(&[io::IoSlice::new(&[7; 32])], 0).unwrap();
        Model {
            random: Random::new(seed),
            disk,
            world,
            sessions: Vec::new(),
            serials: 0,
            wires: BTreeMap::new(),
            torn: BTreeSet::new(),
            alive: BTreeMap::new(),
            must: BTreeSet::new(),
            expunged: BTreeSet::new(),
            orphans: BTreeSet::new(),
            shown: BTreeMap::new(),
            names: Keywords::default(),
            validity: 0,
            ever_expunged: BTreeSet::new(),
            hidden: BTreeSet::new(),
            lately: BTreeSet::new(),
            maybe: BTreeMap::new(),
            killed: false,
            locked: false,
            forgotten: BTreeSet::new(),
            blind: false,
            in_place: false,
            recent: BTreeMap::new(),
            backups: Vec::new(),
            timed: seed % 2 == 1,
            copies: Vec::new(),
            renewed: usize::MAX,
            restored: false,
            foreign: false,
            next: 1,
            seed,
            acts: Vec::new(),
        }
    }

    fn inbox(&self) -> Arc<Mailbox> {
        self.world.inbox("alice")
    }

    fn pieces(&self) -> Vec<Piece> {
        strangers::split(&self.world.file("alice"))
    }

    fn did(&mut self, what: String) {
        self.acts.push(what);
    }

    /// The engine looks at the file, which was like this.
    fn look(&mut self, pieces: &[Piece]) {
        self.foreign = false;
        self.in_place &= self.inbox().inner().doubt.open;
        if let Some(log) = &self.inbox().inner().log {
            self.names = log.sum.keywords.clone();
        }
        let names = self.names.clone();
        let mut before = std::mem::take(&mut self.alive);
        for piece in pieces {
            let Some(n) = piece.number() else { continue };
            let filed = piece.marks(&names);
            if let Some(before) = self.maybe.get_mut(&n) {
                *before = filed;
                continue;
            }
            if self.hidden.contains(&n) {
                continue;
            }
            let known = match before.remove(&n) {
                Some(mut known) => {
                    let lossy = Flags::DELETED | Flags::DRAFT;
                    let mut changed = known.filed.flags ^ filed.flags;
                    if !piece.is_padded() {
                        changed = changed & !(lossy & !filed.flags);
                    }
                    known.marks.flags = (known.marks.flags & !changed) | (filed.flags & changed);
                    if piece.carries(known.uid) {
                        let changed = known.filed.keywords ^ filed.keywords;
                        known.marks.keywords = (known.marks.keywords & !changed) | (filed.keywords & changed);
                        known.filed.keywords = filed.keywords;
                    }
                    known.filed.flags = filed.flags;
                    known
                }
                None => Known { either: self.forgotten.contains(&n), marks: filed, filed, vague: true, ..Known::default() },
            };
            assert!(self.alive.insert(n, known).is_none(), "message {n} is there twice");
        }
        for n in before.keys() {
            assert!(!self.must.contains(n), "message {n} was lost");
        }
        for n in &self.must {
            assert!(self.alive.contains_key(n), "message {n} is not in the file");
        }
        for n in self.alive.keys() {
            assert!(!self.expunged.contains(n), "message {n} was removed, and is there");
        }
    }

    /// Looks first, if there is something that the engine may look at or not in what follows.
    fn settle_looks(&mut self) {
        if self.foreign {
            self.observe_anew();
        }
    }

    /// Of a big file the engine may have looked at the end only; what was changed in the middle is seen in idle time.
    fn look_once_more(&mut self) {
        if self.in_place {
            drop(self.inbox().view().unwrap());
            self.inbox().look_once_more(&mut self.inbox().inner());
        }
    }

    fn observe_anew(&mut self) {
        self.look_once_more();
        let pieces = self.pieces();
        let view = self.inbox().view().unwrap();
        self.look(&pieces);
        self.compare(&view);
    }

    /// A look of one session, which is told of what changed.
    fn observe(&mut self, at: usize, tell_gone: bool) {
        self.look_once_more();
        let pieces = self.pieces();
        let changes = self.sessions[at].view.sync(tell_gone).unwrap();
        self.look(&pieces);
        let mut session = self.sessions.remove(at);
        let now = self.compare(&session.view);
        let current: Vec<u32> = now.iter().map(|message| message.uid.0).collect();
        if tell_gone {
            let gone: Vec<u32> = session.list.iter().rev().filter(|uid| !current.contains(uid)).copied().collect();
            assert_eq!(changes.gone.iter().map(|(_, uid)| uid.0).collect::<Vec<_>>(), gone);
            for (number, uid) in &changes.gone {
                assert_eq!(session.list.remove(*number as usize - 1), uid.0);
            }
        } else {
            assert!(changes.gone.is_empty());
        }
        let mut expected = Vec::new();
        for (at, uid) in session.list.iter().enumerate() {
            let message = now.iter().find(|message| message.uid.0 == *uid);
            if message.is_some_and(|message| session.told.get(uid).is_none_or(|(_, modseq)| *modseq != message.modseq)) {
                expected.push((at as u32 + 1, Uid(*uid)));
            }
        }
        assert_eq!(changes.marked, expected, "of {:?}", session.told);
        let last = session.list.last().copied().unwrap_or(0);
        let fresh: Vec<u32> = current.iter().copied().filter(|uid| *uid > last && !session.list.contains(uid)).collect();
        assert!(current.iter().all(|uid| session.list.contains(uid) || fresh.contains(uid)), "{current:?} {:?}", session.list);
        session.list.extend(&fresh);
        assert_eq!(changes.exists, (!fresh.is_empty()).then_some(session.list.len() as u32));
        session.told = now.iter().map(|message| (message.uid.0, (message.marks, message.modseq))).collect();
        self.sessions.insert(at, session);
    }

    /// Compares what a session that has just looked sees with the model, byte for byte.
    fn compare(&mut self, view: &View) -> Vec<Summary> {
        if self.validity == 0 {
            self.validity = view.uid_validity();
        }
        assert_eq!(view.uid_validity(), self.validity);
        let messages = view.messages().unwrap();
        assert!(messages.is_sorted_by(|one, other| one.uid < other.uid));
        let most_shown = self.shown.keys().max().copied().unwrap_or(0);
        let mut seen = BTreeSet::new();
        for message in &messages {
            let wire = read(view, message);
            let n = number(&wire);
            assert!(self.wires.get(&n) == Some(&wire), "message {n} is altered: {}", String::from_utf8_lossy(&wire));
            assert!(seen.insert(n), "message {n} is shown twice");
            let before = *self.shown.get(&message.uid.0).unwrap_or(&0);
            assert!(before == n || before == 0, "UID {} was message {before}, is {n}", message.uid.0);
            self.shown.insert(message.uid.0, n);
            if let Some(filed) = self.maybe.remove(&n) {
                self.expunged.remove(&n);
                self.must.insert(n);
                self.alive.insert(n, Known { marks: filed, filed, vague: true, ..Known::default() });
            }
            let known = self.alive.get_mut(&n).unwrap_or_else(|| panic!("message {n} is not in the file"));
            match known.uid {
                Some(uid) => assert_eq!(uid, message.uid.0, "message {n} was touched by nobody"),
                None if self.blind || known.either => {}
                None => assert!(before == 0 && message.uid.0 > most_shown, "message {n} comes under UID {}", message.uid.0),
            }
            if known.vague {
                known.marks = message.marks;
            }
            (known.uid, known.vague) = (Some(message.uid.0), false);
            let bare = |marks: Marks| (marks.flags & Flags::ALL, marks.keywords);
            assert_eq!(bare(message.marks), bare(known.marks), "marks of message {n}, filed {:?}", known.filed);
            assert!(message.uid.0 < view.uid_next() && message.modseq <= view.highest_modseq());
            for session in &self.sessions {
                if let Some((marks, modseq)) = session.told.get(&message.uid.0) {
                    let changed = *marks != message.marks && bare(*marks) != bare(message.marks);
                    assert!(message.modseq >= *modseq && (!changed || message.modseq > *modseq), "message {n}");
                }
            }
        }
        let there: BTreeSet<u64> = self.alive.keys().copied().collect();
        assert_eq!(seen, there, "shown, and in the file");
        let size = messages.iter().map(|message| message.size).sum::<u64>();
        assert_eq!(self.world.store.usage(&folders::account()).unwrap(), size);
        messages
    }

    /// What sessions say without looking.
    fn compare_numbers(&self) {
        for session in &self.sessions {
            let list = &session.list;
            assert_eq!(session.view.count().unwrap(), list.len() as u32);
            for (at, uid) in list.iter().enumerate() {
                assert_eq!(session.view.number(Uid(*uid)).unwrap(), Some(at as u32 + 1));
                assert_eq!(session.view.uid(at as u32 + 1).unwrap(), Some(Uid(*uid)));
            }
            assert_eq!(session.view.uid(list.len() as u32 + 1).unwrap(), None);
            assert_eq!(session.view.uid(0).unwrap(), None);
            for uid in self.shown.keys().filter(|uid| !list.contains(uid)) {
                assert_eq!(session.view.number(Uid(*uid)).unwrap(), None, "UID {uid}");
            }
        }
    }

    fn uids(&self) -> Vec<Uid> {
        self.alive.values().filter_map(|known| known.uid.map(Uid)).collect()
    }
}

fn live(seed: u64) {
    let mut model = Model::new(seed);
    for _ in 0..ACTS {
        model.act();
    }
    model.checkpoint();
    model.observe_anew();
    let all = model.must.iter().filter(|n| model.wires[*n].starts_with(b"Return-Path"));
    assert!(all.into_iter().all(|n| model.world.settled(*n)));
}

#[test]
fn sessions_and_strangers_agree_with_plain_lists() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("PILLARBOX_MODEL_SEED") {
        return live(seed);
    }
    (0..LIVES).for_each(live);
    let (begun, span) = (Instant::now(), Duration::from_secs(number("PILLARBOX_MODEL_SECONDS").unwrap_or(0)));
    let mut random = [0; 4];
    getrandom::fill(&mut random).unwrap();
    let mut seed = LIVES + u64::from(u32::from_le_bytes(random));
    while begun.elapsed() < span {
        live(seed);
        seed += 1;
    }
}
