//! A disk made of memory, for crash tests: it counts operations, can stop or fail at any of them, and tells what a
//! restart would find: after a process was killed ([`SimDisk::after_kill`]: all that was written), or after a power cut
//! ([`SimDisk::after_power_cut`]: what was synced, and of the rest any part, sector by sector, name by name; in some images
//! the names changed in order, as a journaling file system has it, in others in any order).

mod state;

use super::Time;
use super::disk::{Disk, File, Lock, Open, Stat};
use state::{Change, State, torn};
use std::ffi::OsString;
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The disk. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The machine stops in operation `n` (counted from 1): it and all later ones, reading too, fail; a write may be done in part.
    pub fn stop_at(&self, n: u64) {
        self.state().stop_at = Some(n);
    }

    /// Operation `n` fails with this error; a write may be done in part, and what a failed sync should have kept may be lost for good.
    pub fn fail_at(&self, n: u64, error: ErrorKind) {
        self.state().fail.push((n, error));
    }

    /// So many bytes fit in all; more is [`ErrorKind::StorageFull`]. None: no bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// What is written from now on is of this time, or a little later.
    pub fn set_time(&self, now: Time) {
        let mut state = self.state();
        state.ticks = state.ticks.max(i128::from(now.0) * 1_000);
    }

    /// The file at this path is told by the inode of another from now on, as where that was given again.
    pub fn pose_as(&self, path: &Path, other: &Stat) {
        let mut state = self.state();
        if let Ok(number) = state.find(path) {
            state.posing.insert(number, other.file.1);
        }
    }

    /// The disk as a new process finds it when this one was killed.
    pub fn after_kill(&self) -> SimDisk {
        SimDisk::of(self.state().after_kill())
    }

    /// The disk after the power failed; each seed gives another mixture of what was not synced.
    pub fn after_power_cut(&self, seed: u64) -> SimDisk {
        SimDisk::of(self.state().after_power_cut(seed))
    }

    fn of(state: State) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        let found = state.find(path);
        let number = match (how, found) {
            (Open::CreateNew(_), Ok(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (_, Ok(number)) => number,
            (Open::Create(mode) | Open::CreateNew(mode), Err(error)) if error.kind() == ErrorKind::NotFound => {
                state.count()?;
                state.find_dir_of(path)?;
                state.make(path, mode)
            }
            (_, Err(error)) => return Err(error),
        };
        state.next += 1;
        let handle = state.next;
        Ok(Arc::new(SimFile { disk: self.clone(), number, handle, writable: how != Open::Read }))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.state();
        match state.find(path) {
            Err(_) if state.dirs.iter().any(|dir| dir == path) => Ok(state.stat_dir()),
            found => found.and_then(|number| state.stat(number)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let number = state.find(from)?;
        state.count()?;
        state.find_dir_of(to)?;
        state.change_names(to, vec![(from.to_owned(), None), (to.to_owned(), Some(number))]);
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.state().names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let number = state.find(from)?;
        state.count()?;
        state.find_dir_of(to)?;
        if state.names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.change_names(to, vec![(to.to_owned(), Some(number))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.find(path)?;
        state.count()?;
        state.change_names(path, vec![(path.to_owned(), None)]);
        Ok(())
    }

    /// Directories are durable at once.
    fn make_dir(&self, path: &Path, _mode: u32) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        for dir in path.ancestors() {
            if !state.dirs.iter().any(|known| known == dir) {
                state.tick();
                state.dirs.push(dir.to_owned());
            }
        }
        Ok(())
    }

    /// Durable at once, too.
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.count()?;
        if state.names.keys().chain(&state.dirs).any(|name| name != path && name.starts_with(path)) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let before = state.dirs.len();
        state.tick();
        state.dirs.retain(|dir| dir != path);
        if state.dirs.len() < before { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state();
        state.alive()?;
        if !state.dirs.iter().any(|known| known == path) {
            return Err(ErrorKind::NotFound.into());
        }
        let files = state.names.keys().chain(&state.dirs).filter(|name| name.parent() == Some(path));
        Ok(files.filter_map(|name| name.file_name()).map(OsString::from).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.count()?;
        state.sync_names(path);
        Ok(())
    }

    fn free(&self, _path: &Path) -> io::Result<u64> {
        let state = self.state();
        state.alive()?;
        let used: u64 = state.names.values().filter_map(|n| state.inodes.get(n)).map(|inode| inode.content.len() as u64).sum();
        Ok(state.capacity.map_or(u64::MAX / 2, |capacity| capacity.saturating_sub(used)))
    }

    /// There are no symbolic links.
    fn beneath(&self, _dir: &Path) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    number: u64,
    handle: u64,
    writable: bool,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let _ = self.unlock();
    }
}

impl SimFile {
    fn may_write(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        state.alive()?;
        let content = state.inodes.get(&self.number).map(|inode| inode.content.as_slice()).unwrap_or_default();
        let rest = content.get((offset as usize).min(content.len())..).unwrap_or_default();
        let most = rest.len().min(buffer.len());
        buffer[..most].copy_from_slice(&rest[..most]);
        Ok(most)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.may_write()?;
        let mut data = parts.iter().fold(Vec::new(), |mut data: Vec<u8>, part| {
            data.extend_from_slice(part);
            data
        });
        if data.is_empty() {
            return Ok(());
        }
        let mut state = self.disk.state();
        state.alive()?;
        let (free, length) = (self.free_bytes(&state), state.inodes.get(&self.number).map_or(0, |inode| inode.content.len()));
        let growth = (offset as usize + data.len()).saturating_sub(length);
        let mut result = state.count();
        if result.is_ok() && growth as u64 > free {
            result = Err(ErrorKind::StorageFull.into());
        }
        if result.is_err() {
            let part = state.random.below(data.len() + 1);
            data.truncate(part.min((length + free as usize).saturating_sub(offset as usize)));
        }
        if !data.is_empty() {
            state.change(self.number, Change::Write(offset as usize, data));
        }
        result
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        self.may_write()?;
        let mut state = self.disk.state();
        state.count()?;
        state.change(self.number, Change::Length(size as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let result = state.count();
        let stopped = state.alive().is_err();
        let mut random = state.random.clone();
        if let Some(inode) = state.inodes.get_mut(&self.number) {
            if result.is_ok() {
                inode.durable = inode.content.clone();
                inode.writes.clear();
            } else if !stopped {
                // As Linux does: the pages count as clean, whatever reached the disk.
                inode.durable = torn(inode, &mut random);
                inode.writes.clear();
            }
        }
        state.random = random;
        result
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.may_write()?;
        let mut state = self.disk.state();
        state.count()?;
        let size = state.inodes.get(&self.number).map_or(0, |inode| inode.content.len());
        let end = (offset as usize).saturating_add(length as usize).min(size);
        if (offset as usize) < end {
            state.change(self.number, Change::Write(offset as usize, vec![0; end - offset as usize]));
        }
        Ok(())
    }

    fn stat(&self) -> io::Result<Stat> {
        let state = self.disk.state();
        state.alive()?;
        state.stat(self.number)
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        let mut state = self.disk.state();
        state.alive()?;
        let inode = state.inodes.get_mut(&self.number).ok_or(ErrorKind::NotFound)?;
        let free =
            inode.locks.iter().all(|(&holder, &held)| holder == self.handle || (held, lock) == (Lock::Shared, Lock::Shared));
        if free {
            inode.locks.insert(self.handle, lock);
        }
        Ok(free)
    }

    fn unlock(&self) -> io::Result<()> {
        if let Some(inode) = self.disk.state().inodes.get_mut(&self.number) {
            inode.locks.remove(&self.handle);
        }
        Ok(())
    }

    fn is_flocked(&self) -> io::Result<bool> {
        let state = self.disk.state();
        state.alive()?;
        let inode = state.inodes.get(&self.number).ok_or(ErrorKind::NotFound)?;
        Ok(inode.locks.iter().any(|(&holder, &held)| holder != self.handle && held == Lock::Exclusive))
    }
}

impl SimFile {
    fn free_bytes(&self, state: &State) -> u64 {
        let used: u64 = state.inodes.values().map(|inode| inode.content.len() as u64).sum();
        state.capacity.map_or(u64::MAX / 2, |capacity| capacity.saturating_sub(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn written(disk: &SimDisk, path: &str, data: &[u8]) -> Arc<dyn File> {
        disk.make_dir(Path::new("/d"), 0o700).unwrap();
        let file = disk.open(Path::new(path), Open::Create(0o600)).unwrap();
        file.write_at(&[IoSlice::new(data)], 0).unwrap();
        file
    }

    fn content(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
        let file = disk.open(Path::new(path), Open::Read).ok()?;
        let mut bytes = vec![0; file.stat().unwrap().size as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        Some(bytes)
    }

    #[test]
    fn only_what_was_synced_is_sure_after_a_power_cut() {
        let disk = SimDisk::default();
        let file = written(&disk, "/d/f", &[1; 2000]);
        assert!((0..50).any(|seed| content(&disk.after_power_cut(seed), "/d/f").is_none()));
        file.sync().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_at(&[IoSlice::new(&[2; 1024])], 0).unwrap();
        let images: Vec<_> = (0..50).map(|seed| content(&disk.after_power_cut(seed), "/d/f").unwrap()).collect();
        assert!(images.iter().all(|image| image.len() == 2000 && image[1024..] == [1; 976]));
        assert!(images.iter().any(|image| image[0] == 1 && image[512] == 2));
        assert_eq!(content(&disk.after_kill(), "/d/f").unwrap()[..1024], [2; 1024]);
    }

    #[test]
    fn names_change_in_order_or_in_any() {
        let disk = SimDisk::default();
        written(&disk, "/d/a", b"1");
        written(&disk, "/d/b", b"2");
        disk.sync_dir(Path::new("/d")).unwrap();
        disk.remove(Path::new("/d/a")).unwrap();
        disk.remove(Path::new("/d/b")).unwrap();
        let names = |seed| {
            let cut = disk.after_power_cut(seed);
            ["/d/a", "/d/b"].map(|path| cut.stat(Path::new(path)).is_ok())
        };
        let images: BTreeSet<[bool; 2]> = (0..50).map(names).collect();
        assert_eq!(images.len(), 4, "{images:?}");
    }

    #[test]
    fn times_tell_of_content_and_of_names() {
        let disk = SimDisk::default();
        disk.set_time(Time::from_seconds(1_000));
        let file = written(&disk, "/d/a", b"1");
        let begun = file.stat().unwrap();
        assert!(begun.mtime == begun.ctime && begun.mtime > 1_000_000_000_000);
        disk.rename(Path::new("/d/a"), Path::new("/d/b")).unwrap();
        let named = file.stat().unwrap();
        assert!(named.mtime == begun.mtime && named.ctime > begun.ctime);
        file.write_at(&[IoSlice::new(b"2")], 0).unwrap();
        let written = file.stat().unwrap();
        assert!(written.mtime == written.ctime && written.mtime > named.ctime);
        assert_eq!(disk.after_kill().stat(Path::new("/d/b")).unwrap(), written);
    }

    #[test]
    fn it_stops_and_fails_where_told() {
        let disk = SimDisk::default();
        let file = written(&disk, "/d/f", b"abc");
        disk.fail_at(disk.operations() + 1, ErrorKind::StorageFull);
        assert_eq!(file.write_at(&[IoSlice::new(b"x")], 3).unwrap_err().kind(), ErrorKind::StorageFull);
        file.sync().unwrap();
        disk.stop_at(disk.operations() + 1);
        assert!(file.sync().is_err());
        assert!(file.stat().is_err());
        assert_eq!(content(&disk.after_kill(), "/d/f").unwrap()[..3], *b"abc");
    }
}
