//! Random acts of several sessions and of other programs on one mailbox, against plain lists. After each, what sessions see is
//! compared with the file as a parser of its own reads it, and with what was seen before.
//!
//! A failure prints the seed and the acts; `PILLARBOX_MODEL_SEED=N` runs that one again, `PILLARBOX_MODEL_SECONDS=N` goes on
//! for so long with ever new ones.

use super::strangers::{self, Piece};
use super::*;
use crate::mailbox::{Change, Flags, Keywords, Marks, View};
use crate::sys::Lock;
use std::collections::{BTreeMap, HashMap};

/// Acts of one short life, and lives that always run: more than 10,000 acts in all.
const ACTS: usize = 60;
const LIVES: u64 = 220;
const INDEX: &str = "/w/spool/index/alice/INBOX.idx";
/// The byte of an index that no checksum covers.
const STALE_BYTE: u64 = 251;

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
    told: HashMap<u32, (Marks, u64)>,
}

struct Model {
    random: Random,
    disk: SimDisk,
    world: World,
    sessions: Vec<Session>,
    serials: usize,
    /// What each message ever made looks like on the wire.
    wires: HashMap<u64, Vec<u8>>,
    /// Messages by number, as they were when the engine last looked.
    alive: BTreeMap<u64, Known>,
    /// Nobody took these away.
    must: HashSet<u64>,
    /// We removed these; nobody brought them back.
    expunged: HashSet<u64>,
    /// Delivered and not settled, when the file was replaced: they come back with the next checkpoint.
    orphans: HashSet<u64>,
    /// What a UID was shown as.
    shown: HashMap<u32, u64>,
    names: Keywords,
    validity: u32,
    /// We removed these once.
    ever_expunged: HashSet<u64>,
    /// Removed while another program held the lock: they are in the file until the next checkpoint.
    hidden: HashSet<u64>,
    /// Brought back by others after we removed them, and what the file says of them: hidden as long as that removal is not over.
    maybe: HashMap<u64, Marks>,
    /// An index was lost: what is known from it only may be forgotten.
    blind: bool,
    /// Another program wrote in the middle since the engine last looked. What is put at the end now hides that.
    in_place: bool,
    recent: HashMap<u32, usize>,
    backups: Vec<Vec<u8>>,
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
        Model {
            random: Random::new(seed),
            disk,
            world,
            sessions: Vec::new(),
            serials: 0,
            wires: HashMap::new(),
            alive: BTreeMap::new(),
            must: HashSet::new(),
            expunged: HashSet::new(),
            orphans: HashSet::new(),
            shown: HashMap::new(),
            names: Keywords::default(),
            validity: 0,
            ever_expunged: HashSet::new(),
            hidden: HashSet::new(),
            maybe: HashMap::new(),
            blind: false,
            in_place: false,
            recent: HashMap::new(),
            backups: Vec::new(),
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
        (self.foreign, self.in_place) = (false, false);
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
                    if piece.is_ours() {
                        let changed = known.filed.keywords ^ filed.keywords;
                        known.marks.keywords = (known.marks.keywords & !changed) | (filed.keywords & changed);
                        known.filed.keywords = filed.keywords;
                    }
                    known.filed.flags = filed.flags;
                    known
                }
                None => Known { uid: None, marks: filed, filed, vague: true },
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

    fn observe_anew(&mut self) {
        let pieces = self.pieces();
        let view = self.inbox().view().unwrap();
        self.look(&pieces);
        self.compare(&view);
    }

    /// A look of one session, which is told of what changed.
    fn observe(&mut self, at: usize, tell_gone: bool) {
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
        let mut seen = HashSet::new();
        for message in &messages {
            let wire = read(view, message);
            let n = number(&wire);
            assert!(self.wires.get(&n) == Some(&wire), "message {n} is altered: {}", String::from_utf8_lossy(&wire));
            assert!(seen.insert(n), "message {n} is shown twice");
            let before = *self.shown.get(&message.uid.0).unwrap_or(&0);
            assert!(before == n || before == 0, "UID {} was message {before}, is {n}", message.uid.0);
            self.shown.insert(message.uid.0, n);
            if let Some(filed) = self.maybe.remove(&n) {
                self.must.insert(n);
                self.alive.insert(n, Known { uid: None, marks: filed, filed, vague: true });
            }
            let known = self.alive.get_mut(&n).unwrap_or_else(|| panic!("message {n} is not in the file"));
            match known.uid {
                Some(uid) => assert_eq!(uid, message.uid.0, "message {n} was touched by nobody"),
                None if self.blind => {}
                None => assert!(before == 0 && message.uid.0 > most_shown, "message {n} comes under UID {}", message.uid.0),
            }
            if known.vague {
                known.marks = message.marks;
            }
            (known.uid, known.vague) = (Some(message.uid.0), false);
            let bare = |marks: Marks| (marks.flags & Flags::ALL, marks.keywords);
            assert_eq!(bare(message.marks), bare(known.marks), "marks of message {n}, filed {:?}", known.filed);
            assert!(message.uid.0 < view.uid_next());
            for session in &self.sessions {
                if let Some((marks, modseq)) = session.told.get(&message.uid.0) {
                    let changed = *marks != message.marks && bare(*marks) != bare(message.marks);
                    assert!(message.modseq >= *modseq && (!changed || message.modseq > *modseq), "message {n}");
                }
            }
        }
        let there: HashSet<u64> = self.alive.keys().copied().collect();
        assert_eq!(seen, there, "shown, and in the file");
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

    fn fresh_text(&mut self) -> (u64, String) {
        let n = self.next;
        self.next += 1;
        let lines = [0, 0, 1, 5, 40, 300][self.random.below(6)];
        let body: String = (0..lines).map(|line| format!("line {line} of message {n}\n")).collect();
        (n, format!("Subject: message {n}\n\n{body}>From quoted {n}\nFrom him to {n}\n"))
    }

    fn deliver(&mut self) {
        let (n, text) = self.fresh_text();
        let text = text.replace("\nFrom him", "\n>From him");
        if self.in_place && self.inbox().inner().table.is_none() {
            self.observe_anew();
        }
        let uid = self.inbox().deliver(&Mail::new(n, text.as_bytes()).copy()).unwrap();
        self.did(format!("deliver {n}: UID {}", uid.0));
        assert!(self.shown.keys().all(|shown| *shown < uid.0));
        let wire = format!("Return-Path: <sender@example.net>\nDelivered-To: alice@example.org\n{text}");
        self.wires.insert(n, unquoted(&wire));
        self.must.insert(n);
        self.alive.insert(n, Known { uid: Some(uid.0), ..Known::default() });
    }

    /// As the daemon does when it starts again: what is not settled is looked for, and what is missing delivered.
    fn recover(&mut self) {
        let texts: Vec<(u64, Vec<u8>)> = self
            .wires
            .iter()
            .filter(|(n, wire)| wire.starts_with(b"Return-Path") && !self.world.settled(**n))
            .map(|(n, wire)| (*n, strangers::requoted(wire)))
            .collect();
        let mails: Vec<Mail> = texts.iter().map(|(n, text)| Mail::new(*n, text)).collect();
        let copies: Vec<Copy<'_>> = mails.iter().map(Mail::copy).collect();
        let there: HashSet<u64> = self.pieces().iter().filter_map(Piece::number).collect();
        let found = self.inbox().recover(&copies).unwrap();
        for ((copy, found), (n, _)) in copies.iter().zip(found).zip(&texts) {
            let there = there.contains(n);
            assert!(found || !there, "message {n} is there and was not found");
            assert!(!found || there || self.ever_expunged.contains(n), "message {n} was found and is not there");
            if !found {
                self.inbox().deliver(copy).unwrap();
                self.alive.remove(n);
                self.must.insert(*n);
            }
        }
        self.orphans.clear();
        self.foreign = true;
    }

    fn mark(&mut self, count: usize) {
        let change = [Change::Add, Change::Remove, Change::Replace][self.random.below(3)];
        let mut marks = Marks { flags: Flags(self.random.below(64) as u8), keywords: 0 };
        if self.random.one_in(3) {
            let name = format!("Key{}", self.random.below(5));
            let pieces = self.pieces();
            marks.keywords = self.inbox().keyword(&name).unwrap().unwrap();
            self.look(&pieces);
        }
        let conditional = self.random.one_in(3);
        if conditional {
            self.observe_anew();
        }
        let all = self.uids();
        let mut uids = self.random.some(&all, 1 + all.len() / count.max(1));
        uids.extend(self.shown.keys().next().map(|uid| Uid(*uid)));
        uids.sort_unstable();
        uids.dedup();
        let modseqs: HashMap<u32, u64> = match conditional {
            true => self.inbox().view().unwrap().messages().unwrap().iter().map(|m| (m.uid.0, m.modseq)).collect(),
            false => HashMap::new(),
        };
        let mut every: Vec<u64> = modseqs.values().copied().collect();
        every.sort_unstable();
        let since = conditional.then(|| every.get(self.random.below(every.len())).copied().unwrap_or(0));
        let pieces = self.pieces();
        let marked = self.inbox().mark(&uids, change, marks, since).unwrap();
        self.look(&pieces);
        self.did(format!("mark {uids:?} {change:?} {marks:?} since {since:?}: {marked:?}"));
        let mut done = Vec::new();
        for (uid, known) in self.alive.values_mut().filter_map(|known| Some((known.uid?, known))) {
            if !uids.contains(&Uid(uid)) || since.is_some_and(|since| modseqs.get(&uid).is_some_and(|modseq| *modseq > since)) {
                continue;
            }
            done.push(Uid(uid));
            let flags = marks.flags & Flags::ALL;
            known.marks = match change {
                Change::Add => Marks { flags: known.marks.flags | flags, keywords: known.marks.keywords | marks.keywords },
                Change::Remove => Marks { flags: known.marks.flags & !flags, keywords: known.marks.keywords & !marks.keywords },
                Change::Replace => Marks { flags, keywords: marks.keywords },
            };
        }
        done.sort_unstable();
        assert_eq!(marked.done, done);
        self.look_again();
    }

    /// After the engine may have written: nobody else has.
    fn look_again(&mut self) {
        let pieces = self.pieces();
        self.look(&pieces);
    }

    fn expunge(&mut self) {
        let all = self.uids();
        let uids = self.random.some(&all, 4);
        self.did(format!("expunge {uids:?}"));
        let pieces = self.pieces();
        self.inbox().expunge(&uids).unwrap();
        if !uids.is_empty() && self.disk.stat(Path::new("/w/mail/alice")).is_ok() {
            self.look(&pieces);
            let gone: Vec<u64> =
                self.alive.iter().filter(|(_, k)| k.uid.is_some_and(|u| uids.contains(&Uid(u)))).map(|(n, _)| *n).collect();
            for n in gone {
                self.alive.remove(&n);
                self.must.remove(&n);
                self.expunged.insert(n);
                self.ever_expunged.insert(n);
            }
        }
    }

    fn checkpoint(&mut self) {
        self.settle_looks();
        self.did("checkpoint".into());
        self.world.store.checkpoint();
        // What was put back is looked at by the next session.
        self.must.extend(self.orphans.drain());
        self.hidden.clear();
        self.look_again();
    }

    /// A new life of the daemon; what was there is what a kill, or a clean end, leaves.
    fn reopen(&mut self) {
        let (clean, index) = (self.random.one_in(2), self.random.below(4));
        // What is written while it is down is compared with what the daemon last noted, which may be less than it knew.
        let meddle = self.random.one_in(2);
        self.did(format!("reopen: clean {clean}, index {index}, meddle {meddle}"));
        self.settle_looks();
        self.sessions.clear();
        if clean {
            self.world.store.close();
            self.must.extend(self.orphans.drain());
            self.hidden.clear();
            self.look_again();
        }
        self.blind |= index < 2;
        // What a kill leaves of the marks is in the state log, but for what only the index has.
        let vague = self.blind && !clean;
        self.disk = self.disk.after_kill();
        let ledger = Arc::new(TestLedger { settled: Mutex::new(self.world.ledger.settled.lock().unwrap().clone()) });
        self.world = World::at(Arc::new(self.disk.clone()), Path::new("/w"), ledger);
        match index {
            0 => drop(self.disk.remove(Path::new(INDEX))),
            1 => self.damage_index(),
            _ => {}
        }
        if meddle {
            self.stranger();
        }
        if vague || meddle {
            self.alive.values_mut().for_each(|known| known.vague = true);
        }
        if self.in_place {
            self.observe_anew();
        }
        self.recover();
        self.observe_anew();
    }

    fn damage_index(&mut self) {
        let Ok(file) = self.disk.open(Path::new(INDEX), Open::Write) else { return };
        let size = file.stat().unwrap().size;
        let at = self.random.below(size as usize) as u64;
        if self.random.one_in(4) {
            file.set_len(at).unwrap();
        } else if at != STALE_BYTE {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_at(&[io::IoSlice::new(&[byte[0] ^ (1 << self.random.below(8))])], at).unwrap();
        }
    }

    /// Another program writes.
    fn stranger(&mut self) {
        let what = self.random.below(12);
        if (self.in_place && what < 4) || (self.foreign && (4..11).contains(&what)) {
            self.observe_anew();
        }
        if self.blind && self.inbox().inner().table.is_none() {
            self.alive.values_mut().for_each(|known| known.vague = true);
        }
        let bytes = self.world.file("alice");
        let pieces = strangers::split(&bytes);
        self.foreign = true;
        let replace = self.random.one_in(3);
        let before: HashSet<u64> = pieces.iter().filter_map(Piece::number).collect();
        let now = match what {
            0..=3 => {
                let (n, text) = self.fresh_text();
                self.did(format!("append {n}"));
                self.wires.insert(n, unquoted(&text));
                self.must.insert(n);
                return strangers::append(&self.disk, &text);
            }
            4..=6 => {
                let doomed = self.random.some(&before.iter().copied().collect::<Vec<_>>(), 6);
                self.did(format!("rewrite without {doomed:?}, replace {replace}"));
                strangers::rewritten(&pieces, &doomed, &mut self.random)
            }
            7 | 8 => {
                let padded = self.random.one_in(2);
                self.did(format!("flags in place, padded {padded}"));
                let now = strangers::flagged(&pieces, padded, &mut self.random);
                assert_eq!(now.len(), bytes.len());
                self.in_place = true;
                return strangers::overwrite(&self.disk, &now);
            }
            9 if !self.backups.is_empty() => {
                let which = self.random.below(self.backups.len());
                self.did(format!("restore backup {which}, replace {replace}"));
                self.backups[which].clone()
            }
            10 if self.random.one_in(3) => {
                self.did("empty".into());
                Vec::new()
            }
            _ => {
                self.did("back up".into());
                return self.backups.push(bytes);
            }
        };
        let after: HashSet<u64> = strangers::split(&now).iter().filter_map(Piece::number).collect();
        for n in before.difference(&after) {
            self.must.remove(n);
            // The engine knows that the file is another one, and that this copy was not safe in the old one.
            let safe = self.world.settled(*n) || self.ever_expunged.contains(n);
            if replace && !safe && self.wires[n].starts_with(b"Return-Path") {
                self.orphans.insert(*n);
            }
        }
        for n in after.difference(&before) {
            if self.ever_expunged.contains(n) {
                self.expunged.remove(n);
                self.maybe.insert(*n, Marks::default());
            } else {
                self.must.insert(*n);
            }
        }
        self.in_place |= !replace;
        match replace {
            true => strangers::replace(&self.disk, &now),
            false => strangers::overwrite(&self.disk, &now),
        }
    }

    fn read_parts(&mut self) {
        let Some(at) = (!self.sessions.is_empty()).then(|| self.random.below(self.sessions.len())) else { return };
        self.observe(at, true);
        let view = &self.sessions[at].view;
        for message in view.messages().unwrap() {
            let wire = &self.wires[&self.shown[&message.uid.0]];
            let from = self.random.below(wire.len() + 2);
            let to = from + self.random.below(wire.len() + 2);
            let mut part = Vec::new();
            view.read_part(message.uid, from as u64..to as u64).unwrap().read_to_end(&mut part).unwrap();
            assert!(part == wire[from.min(wire.len())..to.min(wire.len())]);
        }
    }

    fn claim_recent(&mut self) {
        let Some(at) = (!self.sessions.is_empty()).then(|| self.random.below(self.sessions.len())) else { return };
        self.did(format!("session {at} claims"));
        let session = &self.sessions[at];
        session.view.claim_recent().unwrap();
        for uid in session.list.iter().filter(|uid| session.view.is_recent(Uid(**uid))) {
            assert_eq!(*self.recent.entry(*uid).or_insert(session.serial), session.serial, "UID {uid} is recent twice");
        }
    }

    /// Another program holds the lock: what can be done without is done, the rest is told.
    fn while_locked(&mut self) {
        self.settle_looks();
        let Ok(file) = self.disk.open(Path::new("/w/mail/alice"), Open::Write) else { return };
        self.observe_anew();
        assert!(file.try_lock(Lock::Exclusive).unwrap());
        self.did("locked".into());
        match self.random.below(3) {
            0 => self.mark_of_locked(),
            1 => {
                let before = self.expunged.clone();
                self.expunge();
                self.hidden.extend(self.expunged.difference(&before));
            }
            _ => {
                let mail = Mail::new(self.next, b"Subject: none\n\nnone\n");
                assert!(matches!(self.inbox().deliver(&mail.copy()), Err(MailboxError::Busy)));
            }
        }
        self.did("unlocked".into());
        file.unlock().unwrap();
        self.foreign = true;
    }

    fn mark_of_locked(&mut self) {
        let uids = self.uids();
        let flags = Marks { flags: Flags::FLAGGED, keywords: 0 };
        self.inbox().mark(&uids, Change::Add, flags, None).unwrap();
        self.alive.values_mut().for_each(|known| known.marks.flags = known.marks.flags | Flags::FLAGGED);
    }

    fn act(&mut self) {
        let some = |model: &mut Model| (!model.sessions.is_empty()).then(|| model.random.below(model.sessions.len()));
        match self.random.below(30) {
            0..=3 => self.deliver(),
            4..=8 => self.stranger(),
            9..=11 => self.mark(3),
            12 => self.mark(1000),
            13 | 14 => self.expunge(),
            15 | 16 => self.checkpoint(),
            17 => {
                self.settle_looks();
                self.did("write back".into());
                self.world.store.write_back();
                self.look_again();
            }
            18 => self.reopen(),
            19 if self.sessions.len() < 4 => {
                self.serials += 1;
                self.did(format!("session {} of serial {}", self.sessions.len(), self.serials));
                let pieces = self.pieces();
                let view = self.inbox().view().unwrap();
                self.look(&pieces);
                let now = self.compare(&view);
                let list = now.iter().map(|message| message.uid.0).collect();
                let told = now.iter().map(|message| (message.uid.0, (message.marks, message.modseq))).collect();
                self.sessions.push(Session { view, serial: self.serials, list, told });
            }
            20 => {
                if let Some(at) = some(self) {
                    self.did(format!("session {at} ends"));
                    self.sessions.remove(at);
                }
            }
            21..=25 => {
                if let Some(at) = some(self) {
                    let tell_gone = self.random.one_in(2);
                    self.did(format!("session {at} syncs, {tell_gone}"));
                    self.observe(at, tell_gone);
                }
            }
            26 => self.read_parts(),
            27 => self.claim_recent(),
            28 => {
                self.did("index damaged, hours pass".into());
                self.settle_looks();
                match self.random.one_in(2) {
                    true => self.damage_index(),
                    false => drop(self.disk.remove(Path::new(INDEX))),
                }
                self.blind = true;
                self.world.clock.advance(Duration::from_secs(4000));
            }
            _ => self.while_locked(),
        }
        self.compare_numbers();
    }
}

fn unquoted(text: &str) -> Vec<u8> {
    text.replace("\n>From", "\nFrom").replace('\n', "\r\n").into_bytes()
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
#[ignore = "some lives fail still: a message under another UID after a kill (80, 188); one of an older backup hidden (97)"]
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
