//! Taking over the journal of another host, after an operator made sure that it is off.
//!
//! 1. The other journal is locked and replayed. `<host>.adopting` in our directory says that this has begun.
//! 2. What is live there is copied into ours: files of big messages by link, records as copies with their marks. The copies
//!    are durable but hidden: nobody serves them yet. Segments with something unreadable get the ending `.damaged` and stay.
//! 3. `<host>.adopting` becomes `<host>.adopted`: everything is here.
//! 4. The other's files are removed: segments first, logs after them. Then `<host>.adopted` is removed, and the copies are shown.
//!
//! After a crash in 1 or 2 the next start does it again and passes over what is here already, which is right because nothing
//! of it was served. After a crash in 3 or 4 it only removes.

use super::commit::again;
use super::files;
use super::journal::{Journal, Verify, fetch_from, lock};
use super::replay::State;
use super::table::by_arrival;
use super::writer::{log_path, own_path, segment_path};
use super::{Message, SpoolError, SpoolId};
use crate::sys::{Disk, Open};
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

/// Messages copied with one sync.
const BATCH: usize = 32;

impl Journal {
    /// The hosts whose journals lie beside ours, hold something, and are held by no daemon.
    pub fn unowned(&self) -> Vec<String> {
        let unowned = self.beside().into_iter().filter(|dir| files::is_unowned(&*self.disk, dir));
        let mut hosts: Vec<String> = unowned.filter_map(|dir| Some(dir.file_name()?.to_str()?.to_owned())).collect();
        hosts.sort();
        hosts
    }

    /// Does a daemon hold a journal beside ours?
    pub fn has_peers(&self) -> bool {
        self.beside().iter().any(|dir| files::is_owned(&*self.disk, dir))
    }

    /// The journals of other hosts.
    fn beside(&self) -> Vec<PathBuf> {
        let Some(above) = self.options.dir.parent() else { return Vec::new() };
        let names = self.disk.list(above).unwrap_or_default();
        names.iter().map(|name| above.join(name)).filter(|dir| *dir != self.options.dir).collect()
    }

    /// Takes over what is left in the journal of `host`, a name from [`Journal::unowned`]. The caller must know that the host is
    /// off. Tells what has come to be served, in order of arrival. `Locked`: a daemon has it after all.
    pub fn adopt(&self, host: &str) -> Result<Vec<SpoolId>, SpoolError> {
        if !self.unowned().iter().any(|name| name == host) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no journal of that name that is unowned").into());
        }
        self.take_over(host)
    }

    /// Goes on with an adoption that was interrupted. While that is not possible its copies stay hidden.
    pub(super) fn resume_adoption(&self, host: &str) {
        match self.take_over(host) {
            Ok(_) => log::info!("spool adoption={host} resumed"),
            Err(error) => log::error!("spool adoption={host} error={error}"),
        }
    }

    fn take_over(&self, host: &str) -> Result<Vec<SpoolId>, SpoolError> {
        let _keeping = lock(&self.keeping);
        let (disk, dir) = (&*self.disk, &self.options.dir);
        let theirs = dir.parent().unwrap_or(Path::new("")).join(host);
        let (begun, done) = (dir.join(format!("{host}.adopting")), dir.join(format!("{host}.adopted")));
        let _guard = files::take_lock(disk, &*self.clock, &theirs)?;
        if disk.stat(&done).is_err() {
            disk.open(&begun, Open::Create(0o600))?.sync()?;
            disk.sync_dir(dir)?;
            self.copy_all(host, &theirs)?;
            disk.rename(&begun, &done)?;
            disk.sync_dir(dir)?;
        }
        remove_all(disk, &theirs)?;
        disk.remove(&done)?;
        disk.sync_dir(dir)?;
        Ok(self.show(host))
    }

    /// Copies what is live there and not here.
    fn copy_all(&self, host: &str, theirs: &Path) -> Result<(), SpoolError> {
        let listing = files::list(&*self.disk, theirs)?;
        let state = files::load(&*self.disk, theirs, &listing)?.state;
        let mut half = Vec::new();
        for (third, copied) in &listing.adoptions {
            if *copied {
                // All of that journal's mail is in this one.
                let dir = theirs.parent().unwrap_or(Path::new("")).join(third);
                let _guard = files::take_lock(&*self.disk, &*self.clock, &dir)?;
                remove_all(&*self.disk, &dir)?;
            } else {
                // What was copied from there is there still.
                half.push(third);
            }
        }
        let mut ids: Vec<SpoolId> = state.entries.keys().copied().collect();
        ids.retain(|id| !state.adopted.get(id).is_some_and(|third| half.contains(&third)));
        ids.sort_unstable();
        let mut damaged: BTreeSet<u64> =
            state.segments.iter().filter(|(_, scan)| scan.stuck).map(|(&number, _)| number).collect();
        for ids in ids.chunks(BATCH) {
            self.copy_some(host, theirs, &state, ids, &mut damaged)?;
        }
        for number in damaged {
            let path = segment_path(theirs, number);
            log::error!("spool adoption={host} damaged={}", path.display());
            self.disk.rename(&path, &path.with_extension("damaged"))?;
        }
        Ok(self.disk.sync_dir(theirs)?)
    }

    fn copy_some(
        &self,
        host: &str,
        theirs: &Path,
        state: &State,
        ids: &[SpoolId],
        damaged: &mut BTreeSet<u64>,
    ) -> Result<(), SpoolError> {
        let mut batch = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(live) = state.entries.get(id) else { continue };
            if lock(&self.table).entries.contains_key(id) {
                continue;
            }
            let generation = state.segments.get(&live.segment).map_or(0, |scan| scan.generation);
            match fetch_from(&*self.disk, theirs, live, generation, Verify::Message) {
                Ok((mut record, message)) if record.id == *id => {
                    if let Message::File { .. } = &message {
                        self.take_file(&own_path(theirs, *id), &own_path(&self.options.dir, *id), &message)?;
                    }
                    record.adopted = Some(host.to_owned());
                    batch.push((live.clone(), record, message));
                }
                Err(SpoolError::Io(error))
                    if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
                {
                    return Err(error.into());
                }
                Ok(_) | Err(_) => drop(damaged.insert(live.segment)),
            }
        }
        self.disk.sync_dir(&self.options.dir)?;
        self.copy_records(batch, None).map_err(|error| again(&error))
    }

    /// Gives the file of a big message a name here, or copies it where the file system knows no links.
    fn take_file(&self, from: &Path, to: &Path, message: &Message) -> io::Result<()> {
        // Perhaps left, half written, from a try that was interrupted.
        files::missing_is_fine(self.disk.remove(to))?;
        if self.disk.link(from, to).is_ok() {
            return Ok(());
        }
        let file = self.disk.open(to, Open::CreateNew(0o600))?;
        let (mut at, mut block) = (0, vec![0; 128 << 10]);
        while at < message.len() {
            let read = message.read_at(&mut block, at)?;
            let bytes = block.get(..read).filter(|bytes| !bytes.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
            file.write_at(&[IoSlice::new(bytes)], at)?;
            at += read as u64;
        }
        file.sync()
    }

    /// From now on the copies are served.
    fn show(&self, host: &str) -> Vec<SpoolId> {
        let mut table = lock(&self.table);
        let mut shown: Vec<SpoolId> = table.hidden.iter().filter(|(_, from)| *from == host).map(|(&id, _)| id).collect();
        shown.iter().for_each(|id| drop(table.hidden.remove(id)));
        shown.sort_unstable_by_key(|id| table.entries.get(id).map(|live| by_arrival(*id, live.time)));
        shown
    }
}

/// Removes a journal whose mail is elsewhere. The records go first: a log alone means nothing.
fn remove_all(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let listing = files::list(disk, dir)?;
    for &number in &listing.segments {
        disk.remove(&segment_path(dir, number))?;
    }
    disk.sync_dir(dir)?;
    let logs = listing.logs.iter().map(|&number| log_path(dir, number));
    let messages = listing.messages.iter().map(|&id| own_path(dir, id));
    let scraps = listing.scraps.iter().map(|name| dir.join(name));
    let marks =
        listing.adoptions.iter().map(|(host, copied)| dir.join(format!("{host}.adopt{}", if *copied { "ed" } else { "ing" })));
    let rest: Vec<PathBuf> = logs.chain(messages).chain(scraps).chain(marks).collect();
    rest.iter().try_for_each(|path| disk.remove(path))?;
    disk.sync_dir(dir)
}
