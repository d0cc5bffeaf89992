//! The journal as the other rooms see it.

pub use super::draft::Draft;

use super::commit::Ticket;
use super::files::{self, Listing, outcome_room};
use super::replay::Live;
use super::segment::{self, Record};
use super::table::{Table, by_arrival};
use super::writer::{Writer, own_path, random, segment_path};
use super::{Entry, Message, Outcome, SpoolError, SpoolId, Unsettled, Waiting};
use crate::mail::Envelope;
use crate::sys::{Clock, Disk, File, Open, Time};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For so long plenty of free space is taken for granted. What comes in meanwhile and has no room is refused when it is written.
const TRUST: Duration = Duration::from_millis(500);

/// Bytes of a log that are made ready to be promised, beyond what somebody asks for.
const SPARE: u64 = 32 << 10;

/// So many messages are looked at without a pause: a millisecond or two.
const AT_ONCE: usize = 4096;

/// What the journal needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// `<spool>/journal/<host>`.
    pub dir: PathBuf,
    /// Bytes of a segment (64 MiB).
    pub segment_size: u64,
    /// Below that many free bytes nothing is accepted.
    pub min_free: u64,
}

/// The journal of one daemon. Shared by all threads through an `Arc`.
#[derive(Debug)]
pub struct Journal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Options,
    pub(super) table: Mutex<Table>,
    pub(super) writer: Mutex<Writer>,
    /// Held by whoever tidies up.
    pub(super) keeping: Mutex<()>,
    /// Messages that are being written.
    pub(super) drafts: AtomicUsize,
    /// When twice the floor of free space, or more, was seen last.
    plenty: Mutex<Option<Duration>>,
    /// The random half of the ids given out until the next start; not the generation of a segment, which peers must not learn.
    series: u64,
    next: AtomicU64,
    _lock: Arc<dyn File>,
}

/// A mutex whose data is sound after any panic: what guards it is short and whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// The name of the host it belongs to: that of its directory.
    pub fn name(&self) -> Vec<u8> {
        self.options.dir.file_name().unwrap_or_default().as_encoded_bytes().to_vec()
    }

    /// The disk it lies on.
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Locks the directory (making it if needed), replays what is there, begins a new segment.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, options: Options) -> Result<Arc<Journal>, SpoolError> {
        disk.make_dir(&options.dir, 0o700)?;
        let guard = files::take_lock(&*disk, &*clock, &options.dir)?;
        for above in options.dir.ancestors().skip(1).take(2) {
            disk.sync_dir(above)?;
        }
        let listing = files::list(&*disk, &options.dir)?;
        let loaded = files::load(&*disk, &options.dir, &listing)?;
        let last = listing.segments.last().copied().unwrap_or(0);
        let writer = Writer::new(disk.clone(), clock.clone(), options.dir.clone(), options.segment_size, loaded.logs, last);
        let damaged = loaded.state.damaged;
        // Served only once nothing of it is left where it came from.
        let under_way: Vec<&str> = listing.adoptions.iter().map(|(host, _)| host.as_str()).collect();
        let table = Table::of(loaded.state, &under_way);
        let journal = Arc::new(Journal {
            disk,
            clock,
            options,
            table: Mutex::new(table),
            writer: Mutex::new(writer),
            keeping: Mutex::new(()),
            drafts: AtomicUsize::new(0),
            plenty: Mutex::default(),
            series: random()?,
            next: AtomicU64::new(1),
            _lock: guard,
        });
        journal.sweep(&listing, damaged);
        journal.start()?;
        listing.adoptions.iter().for_each(|(host, _)| journal.resume_adoption(host));
        Ok(journal)
    }

    /// Removes what an unfinished act left behind.
    fn sweep(&self, listing: &Listing, damaged: bool) {
        let dir = &self.options.dir;
        let mut remove: Vec<PathBuf> = listing.scraps.iter().map(|name| dir.join(name)).collect();
        remove.extend(listing.logs.difference(&listing.segments).map(|&number| super::writer::log_path(dir, number)));
        let table = lock(&self.table);
        let orphans = listing.messages.iter().filter(|id| !table.entries.contains_key(id));
        if damaged {
            // Perhaps the record that names one of them is what is damaged.
            log::warn!("spool damaged orphans={}", orphans.count());
        } else {
            remove.extend(orphans.map(|id| own_path(dir, *id)));
        }
        drop(table);
        for path in remove {
            if let Err(error) = self.disk.remove(&path) {
                log::warn!("spool scrap={} error={error}", path.display());
            }
        }
    }

    /// Is there room to accept mail? (Asked at MAIL.) Where there was plenty a moment ago the disk is not asked again.
    pub fn has_room(&self) -> bool {
        let now = self.clock.elapsed();
        if lock(&self.plenty).is_some_and(|seen| now.saturating_sub(seen) < TRUST) {
            return true;
        }
        let free = self.disk.free(&self.options.dir).unwrap_or(0);
        *lock(&self.plenty) = (free >= self.options.min_free.saturating_mul(2)).then_some(now);
        free >= self.options.min_free
    }

    /// Could mail be taken now? A few bytes are written and synced as those of a message would be; an error says why not.
    pub fn try_out(&self) -> io::Result<()> {
        if !self.has_room() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "less room than limits.min_free on its disk"));
        }
        let file = self.disk.open(&self.options.dir.join(files::TRIAL), Open::Create(0o600))?;
        file.write_at(&[IoSlice::new(b"written to see that it can be\n")], 0)?;
        file.sync()
    }

    /// Begins a message. Its id is known from here on (for the Received field).
    /// An envelope without recipients, or with an address no parser would have made, is refused.
    pub fn begin(self: &Arc<Self>, envelope: Envelope) -> Result<Draft, SpoolError> {
        if !segment::can_hold(&envelope) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an envelope that can't be written down").into());
        }
        let id = SpoolId { generation: self.series, counter: self.next.fetch_add(1, Ordering::Relaxed) };
        Ok(Draft::new(self.clone(), id, envelope))
    }

    /// Appends outcomes. Returns when those that settle, hold or release are durable (one sync, shared); other marks
    /// (`Deferred`, `Warned`) are written and not waited for. Messages and recipients that are settled already are passed over.
    /// After an error nothing is settled here; say it again. Marks hold in memory all the same.
    pub fn settle(&self, outcomes: &[Outcome]) -> Result<(), SpoolError> {
        let ticket = Ticket::new();
        let watch = ticket.watch();
        let waits = lock(&self.table).enqueue(outcomes, &ticket);
        ticket.answer(&Ok(()));
        if waits {
            return self.wait(&watch);
        }
        self.write_on();
        Ok(())
    }

    /// As [`Journal::settle`], for outcomes that settle: those of messages that were committed as a group hold all or none,
    /// whatever happens meanwhile, if it is told soon after the commit (for then they lie in one segment).
    pub fn settle_together(&self, outcomes: &[Outcome]) -> Result<(), SpoolError> {
        let ticket = Ticket::new();
        let watch = ticket.watch();
        let waits = lock(&self.table).enqueue_together(outcomes, &ticket);
        ticket.answer(&Ok(()));
        if waits { self.wait(&watch) } else { Ok(()) }
    }

    /// Makes sure that one outcome for each unsettled recipient of this message can be written even if the disk fills up.
    pub fn reserve(&self, id: SpoolId) -> Result<(), SpoolError> {
        let promise = |table: &mut Table| table.reserve(id).ok_or(SpoolError::Unknown(id));
        // Nearly always there is some to spare: who delivers does not wait for the writer, who is held through every sync.
        if promise(&mut lock(&self.table))? {
            return Ok(());
        }
        let mut writer = lock(&self.writer);
        let (segment, promised, wanted) = {
            let mut table = lock(&self.table);
            let live = table.entries.get(&id).ok_or(SpoolError::Unknown(id))?;
            let (segment, wanted) = (live.segment, outcome_room(live.waiting.len()));
            let queued: usize = table.lines.get(&segment).into_iter().flatten().map(|job| job.bytes.len()).sum();
            (segment, table.end_spare(segment) + queued as u64, wanted)
        };
        let mut spare = wanted + SPARE;
        if writer.log_room(segment, promised + spare).is_err() {
            spare = wanted;
            writer.log_room(segment, promised + spare)?;
        }
        let mut table = lock(&self.table);
        if let Some(facts) = table.segments.get_mut(&segment) {
            facts.spare = spare;
        }
        // Nothing is settled or moved while the writer is held.
        promise(&mut table).map(drop)
    }

    /// Reads a message that is not settled yet. Its checksum is verified.
    pub fn read(&self, id: SpoolId) -> Result<Entry, SpoolError> {
        self.fetch(id, Verify::Message).map(|(live, record, message)| entry(&live, record, message))
    }

    /// The same for those who want to know about a message, not to pass it on: one in a file of its own is not verified.
    pub fn peek(&self, id: SpoolId) -> Result<Entry, SpoolError> {
        self.fetch(id, Verify::Record).map(|(live, record, message)| entry(&live, record, message))
    }

    /// Finds a record and its message.
    pub(super) fn fetch(&self, id: SpoolId, verify: Verify) -> Result<(Live, Record, Message), SpoolError> {
        self.find(id, |live, generation| fetch_from(&*self.disk, &self.options.dir, live, generation, verify))
    }

    /// Reads a record where it lies. While it is looked for it may be moved and its old place recycled: then it is looked for again.
    pub(super) fn find<T>(
        &self,
        id: SpoolId,
        mut read: impl FnMut(&Live, u64) -> Result<(Record, T), SpoolError>,
    ) -> Result<(Live, Record, T), SpoolError> {
        let mut tried = None;
        loop {
            let (live, generation) = {
                let table = lock(&self.table);
                let live = table.entries.get(&id).ok_or(SpoolError::Unknown(id))?;
                (live.clone(), table.segments.get(&live.segment).map_or(0, |facts| facts.generation))
            };
            match read(&live, generation) {
                Ok((record, what)) if record.id == id => return Ok((live, record, what)),
                Err(SpoolError::Io(error)) if tried == Some(live.segment) => return Err(error.into()),
                _ if tried == Some(live.segment) => {
                    log::error!("spool id={id} segment={:08} offset={} unreadable", live.segment, live.place.offset);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is damaged").into());
                }
                _ => tried = Some(live.segment),
            }
        }
    }

    /// What still has to be served of one message; None when all is settled.
    pub fn waiting(&self, id: SpoolId) -> Option<Unsettled> {
        let table = lock(&self.table);
        table.entries.get(&id).filter(|_| !table.hidden.contains_key(&id)).map(|live| live.unsettled(id))
    }

    /// The names of all that still has to be served, in order of arrival. Others go on meanwhile: a segment may hold a hundred
    /// thousand messages, so only some are looked at without a pause.
    pub fn ids(&self) -> Vec<SpoolId> {
        let (mut all, mut from): (Vec<(SpoolId, Time)>, u64) = (Vec::new(), 0);
        loop {
            // What is moved meanwhile goes to a higher segment: it may be seen twice, but not missed.
            let next = lock(&self.table).segments.range(from..).next().map(|(number, facts)| (*number, facts.ids.clone()));
            let Some((number, ids)) = next else { break };
            for some in ids.chunks(AT_ONCE) {
                let table = lock(&self.table);
                let live = some.iter().filter_map(|id| table.entries.get(id).map(|live| (*id, live)));
                let shown = live.filter(|(id, live)| live.segment == number && !table.hidden.contains_key(id));
                all.extend(shown.map(|(id, live)| (id, live.time)));
            }
            from = number + 1;
        }
        all.sort_unstable_by_key(|(id, time)| by_arrival(*id, *time));
        all.dedup();
        all.into_iter().map(|(id, _)| id).collect()
    }

    /// Shows those of these messages that still have to be served: the size, and of each recipient the index and whether it is
    /// held. Nothing else goes on meanwhile, so some at a time are asked for.
    pub fn look(&self, ids: &[SpoolId], mut see: impl FnMut(SpoolId, u64, &mut dyn Iterator<Item = (u32, bool)>)) {
        let table = lock(&self.table);
        for id in ids.iter().filter(|id| !table.hidden.contains_key(id)) {
            if let Some(live) = table.entries.get(id) {
                see(*id, live.place.size, &mut live.waiting.iter().map(|mark| (mark.index, mark.held)));
            }
        }
    }

    /// Everything that still has to be served, in order of arrival.
    pub fn unsettled(&self) -> Vec<Unsettled> {
        self.ids().into_iter().filter_map(|id| self.waiting(id)).collect()
    }
}

/// How much of a message in a file of its own must be sound. All else always must be.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Verify {
    /// Only the record that names it.
    Record,
    /// All of it.
    Message,
}

fn entry(live: &Live, record: Record, message: Message) -> Entry {
    Entry { id: record.id, time: live.time, envelope: record.envelope, message }
}

/// Reads the record and the message of a live entry from the journal in this directory, and verifies their checksums.
pub(super) fn fetch_from(
    disk: &dyn Disk,
    dir: &Path,
    live: &Live,
    generation: u64,
    verify: Verify,
) -> Result<(Record, Message), SpoolError> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let file = disk.open(&segment_path(dir, live.segment), Open::Read)?;
    let mut header = vec![0; live.place.header as usize];
    file.read_exact_at(&mut header, live.place.offset)?;
    if !live.place.own {
        let mut bytes = vec![0; usize::try_from(live.place.size).map_err(|_| damaged())?];
        file.read_exact_at(&mut bytes, live.place.offset + header.len() as u64)?;
        let record = segment::parse_parts(&header, &bytes, generation).ok_or_else(damaged)?;
        return Ok((record, Message::Memory(Arc::new(bytes))));
    }
    let record = segment::parse_parts(&header, &[], generation).ok_or_else(damaged)?;
    let own = record.file.ok_or_else(damaged)?;
    let file = disk.open(&own_path(dir, record.id), Open::Read)?;
    let message = Message::File { file, offset: 0, length: own.length };
    if verify == Verify::Message && checksum(&message)? != own.crc {
        return Err(damaged().into());
    }
    Ok((record, message))
}

/// The checksum of a message, read in blocks. An error if it is shorter than it should be.
fn checksum(message: &Message) -> io::Result<u32> {
    let (mut crc, mut at, mut room) = (0, 0, Vec::new());
    while at < message.len() {
        let bytes = message.piece(at, 128 << 10, &mut room)?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        crc = crc32c::crc32c_append(crc, bytes);
        at += bytes.len() as u64;
    }
    Ok(crc)
}

impl Live {
    pub(super) fn unsettled(&self, id: SpoolId) -> Unsettled {
        let waiting = self.waiting.iter().map(|mark| Waiting {
            index: mark.index,
            due: mark.due,
            tries: mark.tries,
            held: mark.held,
            warned: mark.warned,
            text: mark.text.as_deref().unwrap_or_default().to_owned(),
        });
        let (time, size, domains) = (self.time, self.place.size, self.domains.clone());
        Unsettled { id, time, size, domains, waiting: waiting.collect() }
    }
}
