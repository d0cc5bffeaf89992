//! Where lists lie. A file is replaced as a whole, under the list's lock; an editor may replace one, too.

use super::{Bounces, Identity, Name, Settings, members, settings};
use crate::mail::alias::Wrong;
use crate::mail::{Address, Domain};
use crate::sys::listing::Listing;
use crate::sys::{Disk, File, Lock, Open};
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long another may hold a lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// All lists of a directory.
#[derive(Clone, Debug)]
pub struct Files {
    disk: Arc<dyn Disk>,
    listing: Arc<Listing>,
}

/// The lock of a list, while it is held.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "dropped, it gives the lock back")] Arc<dyn File>);

impl Files {
    /// Those of this directory; it need not be there.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Files {
        Files { disk, listing: Arc::new(Listing::new(dir)) }
    }

    fn dir(&self) -> &Path {
        self.listing.dir()
    }

    fn path(&self, name: &Name, file: &str) -> PathBuf {
        self.dir().join(name.as_str()).join(file)
    }

    /// The names of all lists, sorted.
    pub fn names(&self) -> io::Result<Vec<Name>> {
        let found = match self.disk.list(self.dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        let name = |word: &std::ffi::OsString| Name::parse(word.to_str()?).filter(|name| name.as_str() == word);
        let mut names: Vec<Name> = found.iter().filter_map(name).filter(|name| self.has(name)).collect();
        names.sort();
        Ok(names)
    }

    /// Is there such a list?
    pub fn has(&self, name: &Name) -> bool {
        self.disk.stat(&self.path(name, "settings")).is_ok()
    }

    /// What a list is like. None: there is none of that name.
    pub fn settings(&self, name: &Name) -> io::Result<Option<Settings>> {
        let Some(text) = self.read(name, "settings", settings::MOST_BYTES)? else { return Ok(None) };
        Settings::parse(&text).map(Some).map_err(|wrong| not_understood(name, "settings", &wrong))
    }

    /// A list by its name and the domain it was written to. None: there is none.
    pub fn find(&self, name: &Name, domain: &Domain, first: &Domain) -> io::Result<Option<(Identity, Settings)>> {
        // Which is the question for each recipient of ours.
        if !self.listing.has(&*self.disk, name.as_str().as_ref())? {
            return Ok(None);
        }
        let Some(settings) = self.settings(name)? else { return Ok(None) };
        if settings.domain.as_ref().is_some_and(|own| own.key() != domain.key()) {
            return Ok(None);
        }
        let domain = settings.domain.as_ref().unwrap_or(first).clone();
        Ok(Some((Identity { name: name.clone(), domain }, settings)))
    }

    /// The text of its `members`; none is an empty one.
    pub fn members_text(&self, name: &Name) -> io::Result<String> {
        Ok(self.read(name, "members", members::MOST_BYTES)?.unwrap_or_default())
    }

    /// The members. Lines that are none are told in the log.
    pub fn members(&self, name: &Name) -> io::Result<Vec<Address>> {
        let (found, wrong) = members::parse(&self.members_text(name)?);
        if let Some(first) = wrong.first() {
            log::warn!("list={name} event=members-not-understood lines={} reason=\"{first}\"", wrong.len());
        }
        Ok(found)
    }

    /// Adds a member. False: it was one.
    pub fn add(&self, name: &Name, member: &Address) -> io::Result<bool> {
        self.change_members(name, |text| members::with(text, member))
    }

    /// Removes one. False: it was none.
    pub fn remove(&self, name: &Name, member: &Address) -> io::Result<bool> {
        self.change_members(name, |text| members::without(text, member))
    }

    fn change_members(&self, name: &Name, change: impl FnOnce(&str) -> Option<String>) -> io::Result<bool> {
        let _held = self.lock(name)?;
        match change(&self.members_text(name)?) {
            Some(text) => self.write(name, "members", &text).map(|()| true),
            None => Ok(false),
        }
    }

    /// Whose mail came back.
    pub fn bounces(&self, name: &Name) -> io::Result<Bounces> {
        let text = self.read(name, "bounces", super::bounces::MOST_BYTES)?.unwrap_or_default();
        Bounces::parse(&text).map_err(|wrong| not_understood(name, "bounces", &wrong))
    }

    /// Changes that.
    pub fn change_bounces<T>(&self, name: &Name, change: impl FnOnce(&mut Bounces) -> T) -> io::Result<T> {
        let _held = self.lock(name)?;
        let mut bounces = self.bounces(name)?;
        let before = bounces.clone();
        let result = change(&mut bounces);
        if bounces != before {
            self.write(name, "bounces", &bounces.to_string())?;
        }
        Ok(result)
    }

    /// Makes a list. False: there is one of that name. What is left of an old one goes; the settings come last, so that there is no
    /// list before all of it is there.
    pub fn create(&self, name: &Name, settings: &Settings) -> io::Result<bool> {
        if self.disk.list(self.dir()).is_err() {
            self.disk.make_dir(self.dir(), 0o750)?;
            self.disk.sync_dir(self.dir().parent().unwrap_or(Path::new("/")))?;
        }
        self.disk.make_dir(&self.dir().join(name.as_str()), 0o750)?;
        self.disk.sync_dir(self.dir())?;
        let _held = self.lock(name)?;
        if self.has(name) {
            return Ok(false);
        }
        self.write(name, "members", "")?;
        self.write(name, "bounces", "")?;
        self.write(name, "settings", &settings.to_string())?;
        Ok(true)
    }

    /// Ends a list: without settings it is none. False: there was none.
    pub fn delete(&self, name: &Name) -> io::Result<bool> {
        if !self.has(name) {
            return Ok(false);
        }
        let dir = self.dir().join(name.as_str());
        let held = self.lock(name)?;
        self.disk.remove(&self.path(name, "settings"))?;
        self.disk.sync_dir(&dir)?;
        for file in ["members", "bounces", "lock"] {
            match self.disk.remove(&self.path(name, file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        drop(held);
        // The operator may keep something else there.
        let _ = self.disk.remove_dir(&dir);
        Ok(true)
    }

    fn lock(&self, name: &Name) -> io::Result<Held> {
        let path = self.path(name, "lock");
        let until = Instant::now() + PATIENCE;
        loop {
            let file = self.disk.open(&path, Open::Create(0o640))?;
            // One that was removed meanwhile locks nothing.
            let is_it = |file: &Arc<dyn File>| Ok::<_, io::Error>(self.disk.stat(&path)?.file == file.stat()?.file);
            if file.try_lock(Lock::Exclusive)? && is_it(&file).unwrap_or(false) {
                return Ok(Held(file));
            }
            if Instant::now() > until {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, format!("the list {name} is locked")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn read(&self, name: &Name, file: &str, most: u64) -> io::Result<Option<String>> {
        let path = self.path(name, file);
        let opened = match self.disk.open(&path, Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let stat = opened.stat()?;
        if !stat.is_regular() || stat.size > most {
            let what = format!("{}: not a plain file, or too long", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let mut bytes = vec![0; usize::try_from(stat.size).unwrap_or(0)];
        let read = opened.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The lock must be held.
    fn write(&self, name: &Name, file: &str, text: &str) -> io::Result<()> {
        let (path, new) = (self.path(name, file), self.path(name, &format!("{file}.new")));
        let written = self.disk.open(&new, Open::Create(0o640))?;
        written.set_len(0)?;
        written.write_at(&[IoSlice::new(text.as_bytes())], 0)?;
        written.sync()?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_dir(path.parent().unwrap_or(Path::new("/")))
    }
}

fn not_understood(name: &Name, file: &str, why: &Wrong) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{name}/{file}: {why}"))
}

impl fmt::Display for Files {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dir().display().fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sim::SimDisk;

    fn files(disk: &SimDisk) -> Files {
        Files::new(Arc::new(disk.clone()), PathBuf::from("/spool/lists"))
    }

    /// Whatever is stopped, each file is the old one or the new one.
    #[test]
    fn a_stop_at_any_moment_leaves_whole_files() {
        let (staff, bob) = (Name::parse("staff").unwrap(), "bob@x.test".parse::<Address>().unwrap());
        let settings = Settings::new("o@x.test".parse().unwrap());
        let run = |stop: Option<u64>| {
            let disk = SimDisk::default();
            disk.make_dir(Path::new("/spool"), 0o755).unwrap();
            stop.iter().for_each(|stop| disk.stop_at(*stop));
            let done = |files: &Files| {
                let steps: [&dyn Fn() -> io::Result<bool>; 5] = [
                    &|| files.create(&staff, &settings),
                    &|| files.add(&staff, &bob),
                    &|| files.change_bounces(&staff, |bounces| bounces.note(&bob, 1, "r", 9)).map(|_| true),
                    &|| files.remove(&staff, &bob),
                    &|| files.delete(&staff),
                ];
                steps.iter().take_while(|step| step().is_ok()).count()
            };
            let count = done(&files(&disk));
            for seed in 0..4 {
                let left = files(&disk.after_power_cut(seed));
                let found = (left.settings(&staff).unwrap(), left.members(&staff).unwrap(), left.bounces(&staff).unwrap());
                let is_member = !found.1.is_empty();
                match count {
                    0 => assert!(found.0.is_none_or(|found| found == settings) && !is_member),
                    1 => assert!(found.0.is_some()),
                    2 | 3 => assert!(found.0.is_some() && (is_member || count == 3)),
                    4 => assert!(!is_member),
                    _ => assert!(found.0.is_none() && left.names().unwrap().is_empty()),
                }
                // What is left can be gone on with.
                assert!(left.delete(&staff).is_ok());
                assert!(left.create(&staff, &settings).unwrap());
                assert_eq!((left.members(&staff).unwrap(), left.bounces(&staff).unwrap()), (vec![], Bounces::default()));
                assert_eq!(left.names().unwrap(), std::slice::from_ref(&staff));
            }
            disk.operations()
        };
        for stop in 1..=run(None) {
            run(Some(stop));
        }
    }
}
