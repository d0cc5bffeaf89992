//! What the model does to a mailbox: acts of sessions, of the daemon, and of other programs.

use super::*;

/// The byte of an index that no checksum covers.
const STALE_BYTE: u64 = 251;

impl Model {
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
        let there = self.numbers();
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
        self.look_once_more();
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
        let either = |known: &Known| known.either && known.uid.is_none();
        if (self.foreign && (self.blind || !self.forgotten.is_empty())) || self.alive.values().any(either) {
            // What a backup brought back may have its old UID, or a new one: that has to be seen.
            self.observe_anew();
        }
        let all = self.uids();
        let mut uids = self.random.some(&all, 1 + all.len() / count.max(1));
        uids.extend(self.shown.keys().next().map(|uid| Uid(*uid)));
        uids.sort_unstable();
        uids.dedup();
        let modseqs: BTreeMap<u32, u64> = match conditional {
            true => self.inbox().view().unwrap().messages().unwrap().iter().map(|m| (m.uid.0, m.modseq)).collect(),
            false => BTreeMap::new(),
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
        if !uids.is_empty() && self.disk.stat(Path::new(MAILBOX)).is_ok() {
            self.look(&pieces);
            let gone: Vec<u64> =
                self.alive.iter().filter(|(_, k)| k.uid.is_some_and(|u| uids.contains(&Uid(u)))).map(|(n, _)| *n).collect();
            for n in gone {
                self.alive.remove(&n);
                self.must.remove(&n);
                self.orphans.remove(&n);
                self.expunged.insert(n);
                self.lately.insert(n);
                self.ever_expunged.insert(n);
            }
        }
    }

    pub fn checkpoint(&mut self) {
        self.settle_looks();
        self.did("checkpoint".into());
        self.world.store.checkpoint();
        let back = !self.orphans.is_empty();
        self.must.append(&mut self.orphans);
        self.over();
        if back {
            // Else what others change in place hides behind the growth.
            self.observe_anew();
        }
        self.look_again();
    }

    /// What was removed is dead now.
    fn over(&mut self) {
        let there = self.numbers();
        self.hidden.clear();
        self.lately.clear();
        self.maybe.retain(|n, _| there.contains(n));
    }

    fn numbers(&self) -> BTreeSet<u64> {
        self.pieces().iter().filter_map(Piece::number).collect()
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
            self.must.append(&mut self.orphans);
            self.over();
            self.look_again();
        } else if meddle {
            let hidden = std::mem::take(&mut self.hidden);
            self.maybe.extend(hidden.into_iter().map(|n| (n, Marks::default())));
        }
        self.blind |= index < 2;
        // What a kill leaves of the marks is in the state log, but for what only the index has; and so is what a clean end leaves.
        let vague = self.blind && (!clean || self.restored);
        self.disk = self.disk.after_kill();
        let ledger = self.world.ledger.again();
        let passed = self.world.clock.elapsed();
        self.world = World::at(Arc::new(self.disk.clone()), Path::new("/w"), ledger);
        self.world.clock.advance(passed);
        match index {
            0 => drop(self.disk.remove(Path::new(INDEX))),
            1 => self.damage_index(),
            _ => {}
        }
        if vague {
            self.alive.values_mut().for_each(|known| known.vague = true);
        }
        if meddle {
            self.killed = !clean;
            self.stranger();
            self.killed = false;
        }
        if !self.copies.is_empty() && self.random.one_in(4) {
            self.put_back();
        }
        if vague || meddle {
            self.alive.values_mut().for_each(|known| known.vague = true);
        }
        let in_place = self.in_place;
        if in_place {
            self.observe_anew();
            // Behind an older index, the recovery may be the first to look at all of it.
            self.alive.values_mut().for_each(|known| known.vague = true);
        }
        self.recover();
        self.observe_anew();
        if in_place {
            // Behind an older index that is seen in idle time only.
            self.world.store.checkpoint();
            self.over();
            self.alive.values_mut().for_each(|known| known.vague = true);
            self.observe_anew();
        }
    }

    /// Mail and state, as a backup finds them while the daemon is at work.
    fn back_up(&mut self) {
        self.checkpoint();
        if let [Some(mail), Some(state)] = [MAILBOX, STATE].map(|path| self.content(path)) {
            self.did(format!("mail and state: backup {}", self.copies.len()));
            self.copies.push([mail, state]);
        }
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        let file = self.disk.open(Path::new(path), Open::Read).ok()?;
        let mut bytes = vec![0; file.stat().unwrap().size as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        Some(bytes)
    }

    /// Both come back while the daemon is down, an hour later: what was shown since is not known there.
    fn put_back(&mut self) {
        let which = self.random.below(self.copies.len());
        self.did(format!("an hour later, mail and state from backup {which}"));
        self.world.clock.advance(Duration::from_secs(3600));
        self.tell_time();
        for (path, bytes) in [MAILBOX, STATE].into_iter().zip(self.copies[which].clone()) {
            if self.random.one_in(2) {
                let _ = self.disk.remove(Path::new(path));
            }
            let file = self.disk.open(Path::new(path), Open::Create(0o600)).unwrap();
            file.set_len(bytes.len() as u64).unwrap();
            file.write_at(&[io::IoSlice::new(&bytes)], 0).unwrap();
        }
        // Nothing else is left of what was done since.
        self.must = self.numbers();
        self.forgotten.extend(self.must.iter());
        (self.blind, self.in_place, self.restored) = (true, true, true);
        self.alive.clear();
        self.maybe.clear();
        self.recent.clear();
        for set in [&mut self.expunged, &mut self.hidden, &mut self.lately, &mut self.torn] {
            set.clear();
        }
    }

    /// What is written from now on is of this time.
    fn tell_time(&self) {
        if self.timed {
            self.disk.set_time(self.world.clock.now());
        }
    }

    fn damage_index(&mut self) {
        let Ok(file) = self.disk.open(Path::new(INDEX), Open::Write) else { return };
        let size = file.stat().unwrap().size;
        if size == 0 {
            return;
        }
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
        // What we delivered since the last look would hide it.
        let size = self.world.file("alice").len() as u64;
        let hides = what > 3 && !self.killed && self.inbox().inner().table.as_ref().is_none_or(|table| table.covered != size);
        if hides || (self.in_place && what < 4) || (self.foreign && (4..11).contains(&what)) {
            self.observe_anew();
        }
        if self.blind && self.inbox().inner().table.is_none() {
            self.alive.values_mut().for_each(|known| known.vague = true);
        }
        let bytes = self.world.file("alice");
        let pieces = strangers::split(&bytes);
        self.foreign = true;
        let replace = self.random.one_in(3);
        let before: BTreeSet<u64> = pieces.iter().filter_map(Piece::number).collect();
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
                let older = self.backups[which].clone();
                if self.blind || self.killed {
                    for piece in strangers::split(&older) {
                        let known = piece.number().and_then(|n| self.alive.get_mut(&n));
                        let other = |known: &&mut Known| piece.is_ours() && !piece.carries(known.uid);
                        known.into_iter().filter(other).for_each(|known| (known.uid, known.either) = (None, true));
                    }
                }
                older
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
        let after: BTreeSet<u64> = strangers::split(&now).iter().filter_map(Piece::number).collect();
        for n in before.difference(&after) {
            self.must.remove(n);
            self.hidden.remove(n);
            self.forgotten.extend(self.killed.then_some(*n));
            // The engine knows that the file is another one, and that this copy was not safe in the old one.
            let safe = self.world.settled(*n) || self.ever_expunged.contains(n) || self.torn.contains(n);
            if !replace {
                self.torn.insert(*n);
            }
            if replace && !safe && self.wires[n].starts_with(b"Return-Path") {
                self.orphans.insert(*n);
            }
        }
        for n in after.difference(&before) {
            self.expunged.remove(n);
            self.hidden.remove(n);
            // After a kill the engine does not know how far it got.
            if self.killed && self.lately.contains(n) {
                self.maybe.insert(*n, Marks::default());
            } else {
                self.maybe.remove(n);
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
        let Ok(file) = self.disk.open(Path::new(MAILBOX), Open::Write) else { return };
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

    /// One act.
    pub fn act(&mut self) {
        let some = |model: &mut Model| (!model.sessions.is_empty()).then(|| model.random.below(model.sessions.len()));
        self.tell_time();
        match self.random.below(31) {
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
                self.look_once_more();
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
                self.world.clock.advance(Duration::from_secs([4000, 100_000][self.random.below(2)]));
            }
            29 if self.timed => self.back_up(),
            _ => self.while_locked(),
        }
        self.compare_numbers();
    }
}

fn unquoted(text: &str) -> Vec<u8> {
    text.replace("\n>From", "\nFrom").replace('\n', "\r\n").into_bytes()
}
