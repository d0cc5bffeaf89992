//! What the model does to a mailbox: acts of sessions and of the daemon.

use super::*;

impl Model {
    pub fn fresh_text(&mut self) -> (u64, String) {
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
        self.wires.insert(n, strangers::unquoted(&wire));
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

    pub fn expunge(&mut self) {
        let all = self.uids();
        let uids = self.random.some(&all, 4);
        self.did(format!("expunge {uids:?}"));
        let pieces = self.pieces();
        self.inbox().expunge(&uids).unwrap();
        if !uids.is_empty() && self.disk.stat(Path::new(MAILBOX)).is_ok() {
            if !self.locked {
                self.look(&pieces);
            }
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

    pub fn numbers(&self) -> BTreeSet<u64> {
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

    /// What is written from now on is of this time.
    pub fn tell_time(&self) {
        if self.timed {
            self.disk.set_time(self.world.clock.now());
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
                if self.restored {
                    // Marks that only the index knew go with it.
                    self.alive.values_mut().for_each(|known| known.vague = true);
                }
                self.world.clock.advance(Duration::from_secs([4000, 100_000][self.random.below(2)]));
            }
            29 if self.timed => self.back_up(),
            _ => self.while_locked(),
        }
        self.compare_numbers();
    }
}
