//! What others do to the mailbox of the model: other programs, who puts a backup back, who damages the index.

use super::*;

/// The byte of an index that no checksum covers.
const STALE_BYTE: u64 = 251;

impl Model {
    /// Mail and state, as a backup finds them while the daemon is at work.
    pub fn back_up(&mut self) {
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
    pub fn put_back(&mut self) {
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
        // Later ones are of another history: what was numbered in this one since, they can't know.
        self.copies.truncate(which + 1);
        if which >= self.renewed {
            // Nor can earlier ones know of two bursts that were passed over.
            self.copies.drain(..which);
        }
        self.renewed = self.copies.len();
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

    pub fn damage_index(&mut self) {
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
    pub fn stranger(&mut self) {
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
                self.wires.insert(n, strangers::unquoted(&text));
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
        self.written(&before, &now, replace);
        match replace {
            true => strangers::replace(&self.disk, &now),
            false => strangers::overwrite(&self.disk, &now),
        }
    }

    /// What another program writes in the place of what was there.
    fn written(&mut self, before: &BTreeSet<u64>, now: &[u8], replace: bool) {
        let after: BTreeSet<u64> = strangers::split(now).iter().filter_map(Piece::number).collect();
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
        for n in after.difference(before) {
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
    }

    /// Another program holds the lock: what can be done without is done, the rest is told.
    pub fn while_locked(&mut self) {
        self.settle_looks();
        let Ok(file) = self.disk.open(Path::new(MAILBOX), Open::Write) else { return };
        self.observe_anew();
        assert!(file.try_lock(Lock::Exclusive).unwrap());
        self.did("locked".into());
        self.locked = true;
        if self.random.one_in(3) {
            self.rewrite_of_locked();
        }
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
        self.locked = false;
        self.did("unlocked".into());
        file.unlock().unwrap();
        self.foreign = true;
    }

    /// It writes before anybody can see that it did.
    fn rewrite_of_locked(&mut self) {
        let pieces = self.pieces();
        let before: BTreeSet<u64> = pieces.iter().filter_map(Piece::number).collect();
        let doomed = self.random.some(&before.iter().copied().collect::<Vec<_>>(), 3);
        self.did(format!("rewrite without {doomed:?}"));
        let now = strangers::rewritten(&pieces, &doomed, &mut self.random);
        self.written(&before, &now, false);
        strangers::overwrite(&self.disk, &now);
    }

    fn mark_of_locked(&mut self) {
        let uids = self.uids();
        let flags = Marks { flags: Flags::FLAGGED, keywords: 0 };
        self.inbox().mark(&uids, Change::Add, flags, None).unwrap();
        self.alive.values_mut().for_each(|known| known.marks.flags = known.marks.flags | Flags::FLAGGED);
    }
}
