//! What is on the disk, what of it is durable, and what a restart finds.

use crate::sys::disk::{Lock, Stat};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const SECTOR: usize = 512;

#[derive(Debug, Default)]
pub struct State {
    pub inodes: BTreeMap<u64, Inode>,
    /// Names as programs see them; a directory maps to nothing but its presence.
    pub names: BTreeMap<PathBuf, u64>,
    pub dirs: Vec<PathBuf>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names since their directory was synced, in order.
    renames: Vec<NameChange>,
    /// Files that are told by the inode of another.
    pub posing: HashMap<u64, u64>,
    pub next: u64,
    pub ticks: i128,
    pub operations: u64,
    pub stop_at: Option<u64>,
    pub fail: Vec<(u64, ErrorKind)>,
    pub capacity: Option<u64>,
    pub random: Random,
}

/// In one directory: these names now mean these files, or none. All of it happens or nothing.
#[derive(Clone, Debug)]
struct NameChange {
    dir: PathBuf,
    changes: Vec<(PathBuf, Option<u64>)>,
}

#[derive(Clone, Debug, Default)]
pub struct Inode {
    pub content: Vec<u8>,
    pub durable: Vec<u8>,
    /// Since the last sync, oldest first.
    pub writes: Vec<Change>,
    pub mode: u32,
    pub mtime: i128,
    pub ctime: i128,
    /// By open file description.
    pub locks: HashMap<u64, Lock>,
}

#[derive(Clone, Debug)]
pub enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Length(length) => content.resize(*length, 0),
            Change::Write(at, data) => {
                content.resize(content.len().max(at + data.len()), 0);
                content[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

/// xorshift64*: repeatable, good enough to pick sectors.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Random(0x9e37_79b9_7f4a_7c15)
    }
}

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

/// What may be left of a file: the synced content, plus any of the sectors written since, at any of the lengths it had since.
pub fn torn(inode: &Inode, random: &mut Random) -> Vec<u8> {
    let mut content = inode.durable.clone();
    let mut lengths = vec![content.len()];
    let mut latest = content.clone();
    let keep_all = random.below(4) == 0;
    for change in &inode.writes {
        change.apply(&mut latest);
        lengths.push(latest.len());
        match change {
            Change::Length(length) if *length < content.len() && (keep_all || random.below(2) == 0) => content.truncate(*length),
            Change::Length(_) => {}
            Change::Write(at, data) => {
                let mut from = *at;
                while from < at + data.len() {
                    let to = ((from / SECTOR + 1) * SECTOR).min(at + data.len());
                    if keep_all || random.below(2) == 0 {
                        content.resize(content.len().max(to), 0);
                        content[from..to].copy_from_slice(&data[from - at..to - at]);
                    }
                    from = to;
                }
            }
        }
    }
    let length = if keep_all { latest.len() } else { lengths[random.below(lengths.len())] };
    content.resize(length, 0);
    content
}

fn apply_names(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
    for (path, inode) in &change.changes {
        match inode {
            Some(inode) => drop(names.insert(path.clone(), *inode)),
            None => drop(names.remove(path)),
        }
    }
}

impl State {
    /// After a kill of the process.
    pub fn after_kill(&self) -> State {
        let mut inodes = self.inodes.clone();
        inodes.values_mut().for_each(|inode| inode.locks.clear());
        // What was not synced is still not synced.
        State {
            inodes,
            names: self.names.clone(),
            dirs: self.dirs.clone(),
            durable_names: self.durable_names.clone(),
            renames: self.renames.clone(),
            next: self.next,
            ticks: self.ticks,
            ..State::default()
        }
    }

    /// After the power failed.
    pub fn after_power_cut(&self, seed: u64) -> State {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.below(2);
        let mut names = self.durable_names.clone();
        let ordered = random.below(2) == 0;
        let mut cut: Vec<PathBuf> = Vec::new();
        for change in &self.renames {
            if !ordered {
                if random.below(2) == 0 {
                    apply_names(&mut names, change);
                }
                continue;
            }
            // In one directory what came later is not there without what came before.
            if cut.contains(&change.dir) || random.below(3) == 0 {
                cut.push(change.dir.clone());
                continue;
            }
            apply_names(&mut names, change);
        }
        // A directory comes back with a name in it whose removal did not last.
        let mut dirs = self.dirs.clone();
        let above = names.keys().filter_map(|name| name.parent()).flat_map(Path::ancestors);
        let back: BTreeSet<&Path> = above.filter(|dir| !self.dirs.iter().any(|known| known == dir)).collect();
        dirs.extend(back.into_iter().map(PathBuf::from));
        let mut inodes = BTreeMap::new();
        for (&number, inode) in &self.inodes {
            let content = torn(inode, &mut random);
            let Inode { mode, mtime, ctime, .. } = *inode;
            inodes.insert(number, Inode { durable: content.clone(), content, mode, mtime, ctime, ..Inode::default() });
        }
        State { inodes, durable_names: names.clone(), names, dirs, next: self.next, ticks: self.ticks, ..State::default() }
    }

    /// Counts a changing operation. `Err` with true: it may be done in part.
    pub fn count(&mut self) -> io::Result<()> {
        self.alive()?;
        self.operations += 1;
        if self.stop_at.is_some_and(|stop| self.operations >= stop) {
            return Err(io::Error::other("the machine stopped"));
        }
        match self.fail.iter().find(|(n, _)| *n == self.operations) {
            Some((_, error)) => Err((*error).into()),
            None => Ok(()),
        }
    }

    pub fn alive(&self) -> io::Result<()> {
        match self.stop_at {
            Some(stop) if self.operations >= stop => Err(io::Error::other("the machine stopped")),
            _ => Ok(()),
        }
    }

    /// A new file.
    pub fn make(&mut self, path: &Path, mode: u32) -> u64 {
        self.next += 1;
        let (number, now) = (self.next, self.tick());
        self.change_names(path, vec![(path.to_owned(), Some(number))]);
        self.inodes.insert(number, Inode { mode, mtime: now, ctime: now, ..Inode::default() });
        number
    }

    /// The time of a change: no two have the same.
    pub fn tick(&mut self) -> i128 {
        self.ticks += 1_000;
        self.ticks
    }

    /// Files that get or lose a name are changed by that (POSIX `st_ctim`).
    pub fn change_names(&mut self, at: &Path, changes: Vec<(PathBuf, Option<u64>)>) {
        let now = self.tick();
        let lost = changes.iter().filter_map(|(path, _)| self.names.get(path).copied());
        let touched: Vec<u64> = lost.chain(changes.iter().filter_map(|(_, number)| *number)).collect();
        for number in touched {
            self.inodes.entry(number).and_modify(|inode| inode.ctime = now);
        }
        let change = NameChange { dir: at.parent().unwrap_or(Path::new("")).to_owned(), changes };
        apply_names(&mut self.names, &change);
        self.renames.push(change);
    }

    /// The names in a directory are durable.
    pub fn sync_names(&mut self, dir: &Path) {
        let (synced, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.renames).into_iter().partition(|change| change.dir == dir);
        synced.iter().for_each(|change| apply_names(&mut self.durable_names, change));
        self.renames = rest;
    }

    pub fn find(&self, path: &Path) -> io::Result<u64> {
        self.alive()?;
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Is the directory there in which this path is, or could be?
    pub fn find_dir_of(&self, path: &Path) -> io::Result<()> {
        let there = path.parent().is_some_and(|dir| self.dirs.iter().any(|known| known == dir));
        if there { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }

    pub fn stat(&self, number: u64) -> io::Result<Stat> {
        let inode = self.inodes.get(&number).ok_or(ErrorKind::NotFound)?;
        Ok(Stat {
            file: (1, self.posing.get(&number).copied().unwrap_or(number)),
            size: inode.content.len() as u64,
            mtime: inode.mtime,
            ctime: inode.ctime,
            links: self.names.values().filter(|&&n| n == number).count() as u64,
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
            mode: libc::S_IFREG | inode.mode,
        })
    }

    /// Of any directory: each change may be one in it.
    pub fn stat_dir(&self) -> Stat {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let (mtime, ctime) = (self.ticks, self.ticks);
        Stat { file: (1, 0), size: 0, mtime, ctime, links: 1, uid, gid, mode: libc::S_IFDIR | 0o755 }
    }

    pub fn change(&mut self, number: u64, change: Change) {
        let now = self.tick();
        if let Some(inode) = self.inodes.get_mut(&number) {
            change.apply(&mut inode.content);
            inode.writes.push(change);
            (inode.mtime, inode.ctime) = (now, now);
        }
    }
}
