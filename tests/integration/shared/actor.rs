//! Who works with one of the daemons.

use super::ledger::{FOLDERS, Held, INBOX, LETTERS, Ledger, OTHERS, Owner, Seen, text};
use crate::common::{Daemon, Imap, Random, Smtp};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// An IMAP session.
pub struct Session<'a> {
    daemon: &'a Daemon,
    imap: Imap,
    selected: Option<usize>,
    validity: u32,
}

impl<'a> Session<'a> {
    pub fn new(daemon: &'a Daemon) -> Session<'a> {
        Session { daemon, imap: daemon.imap("alice"), selected: None, validity: 0 }
    }

    pub fn create(&mut self, folder: &str) {
        self.imap.ok(&format!("CREATE {folder}")).unwrap();
    }

    fn select(&mut self, folder: usize) {
        if self.selected == Some(folder) {
            drop(self.imap.ok("NOOP").unwrap());
            return;
        }
        let lines = self.imap.ok(&format!("SELECT {}", FOLDERS[folder])).unwrap();
        let validity = lines.iter().find_map(|line| line.split_once("[UIDVALIDITY ")?.1.split_once(']')?.0.parse().ok());
        (self.validity, self.selected) = (validity.unwrap(), Some(folder));
    }

    /// All messages of a folder. An error: one of them went away while it was read.
    pub fn look(&mut self, folder: usize) -> io::Result<Vec<Seen>> {
        self.select(folder);
        let lines = match self.imap.ok("UID FETCH 1:* (UID FLAGS BODY.PEEK[])") {
            Ok(lines) => lines,
            Err(error) => {
                // What can't be finished is broken off.
                *self = Session::new(self.daemon);
                return Err(error);
            }
        };
        let mut seen: Vec<Seen> = Vec::new();
        let mut lines = lines.iter();
        while let Some(line) = lines.next() {
            let Some(length) = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')?.1.parse::<usize>().ok()) else {
                continue;
            };
            let mut body = String::with_capacity(length);
            while body.len() < length {
                body += lines.next().unwrap();
                body += "\r\n";
            }
            let rest = format!("{line} {}", lines.next().unwrap());
            seen.push(self.seen(&rest, &body));
        }
        Ok(seen)
    }

    fn seen(&self, said: &str, body: &str) -> Seen {
        let number = body.split("\r\n").find_map(|line| line.strip_prefix("X-Number: ")?.parse().ok());
        let number = number.unwrap_or_else(|| panic!("a message that nobody sent: {said} {body:?}"));
        let head = body.strip_suffix(&text(number)).unwrap_or_else(|| panic!("message {number} is altered: {body:?}"));
        assert!(head.is_empty() || head.starts_with("Return-Path:"), "message {number} is altered: {body:?}");
        let flags = said.split_once("FLAGS (").unwrap().1.split_once(')').unwrap().0;
        let flags = flags.split(' ').filter(|flag| !matches!(*flag, "" | "\\Recent" | "\\Deleted")).map(str::to_owned).collect();
        Seen { uid: (self.validity, uid_in(said)), number, flags }
    }

    /// Its UID.
    pub fn append(&mut self, folder: usize, number: u64, flags: &str) -> io::Result<(u32, u32)> {
        let text = text(number);
        let tag = self.imap.begin(format!("APPEND {} ({flags}) {{{}+}}\r\n{text}", FOLDERS[folder], text.len()).as_bytes())?;
        let lines = self.imap.finish(&tag)?;
        let last = lines.last().unwrap();
        let code = last.split_once("[APPENDUID ").and_then(|(_, rest)| rest.split_once(']')?.0.split_once(' '));
        let (validity, uid) = code.ok_or_else(|| io::Error::other(last.clone()))?;
        Ok((validity.parse().unwrap(), uid.parse().unwrap()))
    }

    /// COPY or MOVE: the UIDVALIDITY there, and the UIDs here and there.
    fn transfer(&mut self, verb: &str, uids: &str, folder: usize) -> io::Result<Vec<(u32, (u32, u32))>> {
        let lines = self.imap.ok(&format!("UID {verb} {uids} {}", FOLDERS[folder]))?;
        let code = lines.iter().find_map(|line| Some(line.split_once("[COPYUID ")?.1.split_once(']')?.0.to_owned()));
        let Some(code) = code else { return Ok(Vec::new()) };
        let words: Vec<&str> = code.split(' ').collect();
        let validity = words[0].parse().unwrap();
        Ok(set(words[1]).into_iter().zip(set(words[2]).into_iter().map(|uid| (validity, uid))).collect())
    }
}

fn uid_in(said: &str) -> u32 {
    let digits = said.split_once("UID ").unwrap().1;
    digits.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

fn set(text: &str) -> Vec<u32> {
    let ends = text.split(',').map(|part| part.split_once(':').unwrap_or((part, part)));
    ends.flat_map(|(from, to)| from.parse().unwrap()..=to.parse::<u32>().unwrap()).collect()
}

/// See the module.
pub struct Actor<'a> {
    who: usize,
    session: Session<'a>,
    smtp: Smtp,
    ledger: &'a Ledger,
    random: Random,
}

impl<'a> Actor<'a> {
    pub fn new(who: usize, daemon: &'a Daemon, ledger: &'a Ledger, random: Random) -> Actor<'a> {
        Actor { who, session: Session::new(daemon), smtp: daemon.smtp(), ledger, random }
    }

    fn me(&self) -> Owner {
        Owner::Daemon(self.who)
    }

    fn did(&self, what: &str) {
        self.ledger.did(format!("daemon {}: {what}", self.who));
    }

    /// Moves what the other one moves too.
    pub fn contend(&mut self, contested: &BTreeSet<u64>) {
        let seen = self.look(INBOX);
        let uids: Vec<String> =
            seen.iter().filter(|(number, _)| contested.contains(number)).map(|(_, seen)| seen.uid.1.to_string()).collect();
        if uids.is_empty() {
            return self.did("nothing left to move");
        }
        let moved = self.session.transfer("MOVE", &uids.join(","), 1 + self.who);
        self.did(&format!("moves {uids:?}: {moved:?}"));
    }

    /// What is in a folder, by number; all of mine is as it should be.
    fn look(&mut self, folder: usize) -> BTreeMap<u64, Seen> {
        let before = self.ledger.of(folder, self.me());
        let seen = loop {
            match self.session.look(folder) {
                Ok(seen) => break seen,
                Err(error) => self.did(&format!("looks again: {error}")),
            }
        };
        let mut all = BTreeMap::new();
        for seen in seen {
            self.ledger.show(folder, seen.uid, seen.number);
            all.insert(seen.number, seen);
        }
        for (number, held) in self.ledger.of(folder, self.me()) {
            match all.get(&number) {
                Some(seen) => {
                    self.ledger.check(folder, number, &held, seen);
                    self.ledger.change(folder, number, |held| held.uid = Some(seen.uid));
                }
                // What came by SMTP may be on its way.
                None if held.uid.is_none() || !before.contains_key(&number) => {}
                None => panic!("message {number} was lost from {}", FOLDERS[folder]),
            }
        }
        all
    }

    /// One of mine, selected, and its UID.
    fn choose(&mut self) -> Option<(usize, u64, Held, u32)> {
        let folder = self.random.below(FOLDERS.len());
        self.look(folder);
        let own: Vec<(u64, Held)> =
            self.ledger.of(folder, self.me()).into_iter().filter(|(_, held)| held.uid.is_some()).collect();
        if own.is_empty() {
            return None;
        }
        let (number, held) = own[self.random.below(own.len())].clone();
        let uid = held.uid?.1;
        Some((folder, number, held, uid))
    }

    pub fn act(&mut self) {
        match self.random.below(12) {
            0..=2 => self.deliver(),
            3 => self.append(),
            4..=6 => self.mark(),
            7 => self.expunge(),
            8 => self.copy(),
            9 | 10 => self.move_one(),
            _ => drop(self.choose()),
        }
    }

    fn deliver(&mut self) {
        let (number, owner) = (self.ledger.next(), [Owner::Daemon(0), Owner::Daemon(1), Owner::Mutt][self.random.below(3)]);
        let said = self.smtp.send("sender@sender.test", &["alice@here.test"], text(number).as_bytes()).unwrap();
        assert!(said.starts_with("250"), "{said}");
        self.ledger.hold(INBOX, number, Held::new(owner));
        self.did(&format!("delivers {number} for {owner:?}"));
    }

    fn append(&mut self) {
        let (number, folder) = (self.ledger.next(), self.random.below(FOLDERS.len()));
        let flags = self.flags();
        let uid = self.session.append(folder, number, &flags.iter().cloned().collect::<Vec<_>>().join(" "));
        self.did(&format!("appends {number} to {} with {flags:?}: {uid:?}", FOLDERS[folder]));
        // The other one may have it locked for long.
        let Ok(uid) = uid else { return };
        self.ledger.show(folder, uid, number);
        self.ledger.hold(folder, number, Held { uid: Some(uid), flags, ..Held::new(self.me()) });
    }

    fn flags(&mut self) -> BTreeSet<String> {
        let all = LETTERS.iter().map(|(flag, _)| *flag).chain(OTHERS);
        all.filter(|_| self.random.below(3) == 0).map(str::to_owned).collect()
    }

    fn mark(&mut self) {
        let Some((folder, number, _, uid)) = self.choose() else { return };
        let flags = self.flags();
        self.ledger.change(folder, number, |held| (held.busy, held.vague) = (true, false));
        let list = flags.iter().cloned().collect::<Vec<_>>().join(" ");
        let said = self.session.imap.ok(&format!("UID STORE {uid} FLAGS ({list})")).unwrap();
        assert!(said.iter().any(|line| line.contains("FETCH (")), "message {number}, UID {uid}, was lost: {said:?}");
        self.did(&format!("marks {number} in {} with {flags:?}", FOLDERS[folder]));
        self.ledger.change(folder, number, |held| (held.busy, held.flags) = (false, flags));
    }

    fn expunge(&mut self) {
        let Some((folder, number, _, uid)) = self.choose() else { return };
        self.ledger.change(folder, number, |held| held.busy = true);
        self.session.imap.ok(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)")).unwrap();
        // The daemon may be told to try again.
        while self.session.imap.ok(&format!("UID EXPUNGE {uid}")).is_err() {}
        self.did(&format!("expunges {number} from {}", FOLDERS[folder]));
        self.ledger.let_go(folder, number);
        let left = self.look(folder);
        assert!(!left.contains_key(&number), "message {number} was removed from {}, and is there", FOLDERS[folder]);
    }

    fn copy(&mut self) {
        let Some((folder, number, held, uid)) = self.choose() else { return };
        let target = (folder + 1 + self.random.below(FOLDERS.len() - 1)) % FOLDERS.len();
        if self.ledger.has(target, number) {
            return;
        }
        let copied = self.session.transfer("COPY", &uid.to_string(), target);
        self.did(&format!("copies {number} from {} to {}: {copied:?}", FOLDERS[folder], FOLDERS[target]));
        self.put(target, number, uid, held, copied);
    }

    /// It is there now, if that was done.
    fn put(&mut self, target: usize, number: u64, from: u32, held: Held, done: io::Result<Vec<(u32, (u32, u32))>>) -> bool {
        let Ok(done) = done else { return false };
        let [(source, uid)] = done[..] else { panic!("message {number} was lost: {done:?}") };
        assert_eq!(source, from);
        self.ledger.show(target, uid, number);
        // What mutt may have made of its flags meanwhile can't be told.
        self.ledger.hold(target, number, Held { uid: Some(uid), busy: false, vague: true, ..held });
        true
    }

    fn move_one(&mut self) {
        let Some((folder, number, held, uid)) = self.choose() else { return };
        let target = (folder + 1 + self.random.below(FOLDERS.len() - 1)) % FOLDERS.len();
        if self.ledger.has(target, number) {
            return;
        }
        self.ledger.change(folder, number, |held| held.busy = true);
        let moved = self.session.transfer("MOVE", &uid.to_string(), target);
        self.did(&format!("moves {number} from {} to {}: {moved:?}", FOLDERS[folder], FOLDERS[target]));
        if self.put(target, number, uid, held, moved) {
            self.ledger.let_go(folder, number);
        } else {
            self.ledger.change(folder, number, |held| held.busy = false);
        }
    }
}
