//! Carries a search out: by what the table says of all messages, and then, on as many threads as there are processors, by
//! reading those that are left. Each thread reads runs of messages that stand one behind the other in the file.

use super::message::{Buffers, Message};
use super::program::{Known, Needle, Program};
use super::raw::Raw;
use super::text::Windows;
use crate::imapd::pulse::Pulse;
use crate::mail::structure::{Keys, Structure};
use crate::mailbox::{Headers, Mailbox, MailboxError, Selected, Structures, Summary, Uid, View};
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Threads of one search at most.
const THREADS: usize = 16;
/// Of address space, for each.
const STACK: usize = 512 << 10;
/// Bytes, and messages, of one run.
const RUN_BYTES: u64 = 8 << 20;
const RUN: usize = 4096;
/// A message costs as much as so many bytes, even if only its header is read.
const LEAST: u64 = 4 << 10;

/// A message that fits.
#[derive(Clone, Debug)]
pub struct Hit {
    pub number: u32,
    pub summary: Summary,
}

/// Which of the session's messages fit, by number. It is over when nobody waits for it any more.
pub fn search(view: &View, program: &Program, pulse: &mut Pulse<'_>) -> Result<Vec<Hit>, MailboxError> {
    search_among(view, program, &[1..=u32::MAX], Some(pulse))
}

/// The same, among those of these ranges of UIDs; without a pulse to the end.
pub fn search_among(
    view: &View,
    program: &Program,
    uids: &[RangeInclusive<u32>],
    pulse: Option<&mut Pulse<'_>>,
) -> Result<Vec<Hit>, MailboxError> {
    let all = view.select(uids, true)?;
    let alive = all.into_iter().filter_map(|Selected { number, summary, .. }| Some(Hit { number, summary: summary? }));
    let mut known = Known::default();
    let (mut hits, mut open): (Vec<Hit>, Vec<Hit>) = (Vec::new(), Vec::new());
    for hit in alive {
        program.begin(hit.number, &hit.summary, || view.is_recent(hit.summary.uid), &mut known);
        match program.decide(&mut known) {
            Some(true) => hits.push(hit),
            Some(false) => {}
            None => open.push(hit),
        }
    }
    if open.is_empty() {
        return Ok(hits);
    }
    let found = on_threads(view, &open, program.wants_body(), pulse, |reader, run| {
        let uids: Vec<Uid> = run.iter().map(|hit| hit.summary.uid).collect();
        let Reader { view: own, buffers, windows, raw, known } = reader;
        let (headers, structures) = (own.headers(&uids), own.structures(&uids).alone());
        let needles = program.plain_needles();
        let mut searcher = Searcher { view, own, program, needles, headers, structures, buffers, windows, raw, known };
        let each = run.iter().map(|hit| match searcher.fits(hit) {
            // It went away meanwhile.
            Err(MailboxError::Gone) => Ok(false),
            answer => answer,
        });
        each.collect()
    })?;
    hits.extend(open.into_iter().zip(found).filter(|(_, found)| *found).map(|(hit, _)| hit));
    hits.sort_by_key(|hit| hit.number);
    Ok(hits)
}

/// Something made of what each message is sorted by. One that went away meanwhile has nothing to be sorted by.
pub fn keys<T: Send>(
    view: &View,
    hits: &[Hit],
    pulse: Option<&mut Pulse<'_>>,
    make: impl Fn(Keys, &Hit) -> T + Sync,
) -> Result<Vec<T>, MailboxError> {
    on_threads(view, hits, false, pulse, |reader, run| {
        let uids: Vec<Uid> = run.iter().map(|hit| hit.summary.uid).collect();
        let mut structures = reader.view.heads(&uids).alone();
        let each = run.iter().map(|hit| {
            let keys = match structures.next() {
                Some((_, Ok(record))) => record.keys(),
                Some((_, Err(MailboxError::Gone))) | None => None,
                Some((_, Err(error))) => return Err(error),
            };
            Ok(make(keys.unwrap_or_default(), hit))
        });
        each.collect()
    })
}

/// A message's EMAILID (RFC 8474 §5.1).
pub fn email_id(key: &[u8; 16]) -> String {
    format!("M{:032x}", u128::from_be_bytes(*key))
}

/// What a thread has to itself: a view of its own, so that nobody takes the block of the file from it that it reads.
struct Reader {
    view: View,
    buffers: Buffers,
    windows: Option<Windows>,
    raw: Raw,
    known: Known,
}

impl Reader {
    fn new(mailbox: &Arc<Mailbox>, validity: u32) -> Result<Reader, MailboxError> {
        let view = mailbox.view()?;
        // These would be other messages.
        if view.uid_validity() != validity {
            return Err(MailboxError::Gone);
        }
        Ok(Reader { view, buffers: Buffers::default(), windows: None, raw: Raw::default(), known: Known::default() })
    }
}

/// Looks into messages, one after the other.
struct Searcher<'a> {
    /// The session's.
    view: &'a View,
    /// The thread's.
    own: &'a View,
    program: &'a Program,
    /// What can be looked for without taking messages apart.
    needles: Option<Vec<&'a Needle>>,
    headers: Headers<'a>,
    structures: Structures<'a>,
    buffers: &'a mut Buffers,
    windows: &'a mut Option<Windows>,
    raw: &'a mut Raw,
    known: &'a mut Known,
}

impl Searcher<'_> {
    /// Does this message fit?
    fn fits(&mut self, Hit { number, summary }: &Hit) -> Result<bool, MailboxError> {
        let (program, uid) = (self.program, summary.uid);
        program.begin(*number, summary, || self.view.is_recent(uid), self.known);
        if program.wants_email_id() {
            let identity = self.own.identity(uid)?.ok_or(MailboxError::Gone)?;
            program.see_email_id(&email_id(&identity.key), self.known);
        }
        if let Some(answer) = program.decide(self.known) {
            return Ok(answer);
        }
        let had_header = self.see_header(uid)?;
        if let Some(answer) = program.decide(self.known) {
            return Ok(answer);
        }
        let structure = if program.wants_body() { self.see_raw(uid, had_header)? } else { None };
        if let Some(answer) = program.decide(self.known) {
            return Ok(answer);
        }
        let mut message = Message::open(self.own, uid, summary.size, program.wants_body(), self.buffers)?;
        if !had_header {
            program.see_header(message.header(), self.known);
        }
        match program.decide(self.known) {
            Some(answer) => Ok(answer),
            None => {
                let windows = self.windows.get_or_insert_with(|| Windows::new(program.longest().saturating_sub(1)));
                message.search(program, self.known, windows, structure)
            }
        }
    }

    /// Takes the header in, if it is wanted and can be read alone.
    fn see_header(&mut self, uid: Uid) -> Result<bool, MailboxError> {
        if !self.program.wants_header(self.known) {
            return Ok(true);
        }
        self.headers.skip_to(uid);
        let header = self.headers.next().map(|(_, header)| header).transpose()?.flatten();
        header.iter().for_each(|header| self.program.see_header(header, self.known));
        Ok(header.is_some())
    }

    /// Rules texts out, if they can be; tells what the message is made of, which is known then.
    fn see_raw(&mut self, uid: Uid, had_header: bool) -> Result<Option<Structure>, MailboxError> {
        let Some(needles) = &self.needles else { return Ok(None) };
        self.structures.skip_to(uid);
        let Some((_, record)) = self.structures.next() else { return Ok(None) };
        let record = record?;
        if let Some(outline) = record.outline.filter(|outline| outline.is_plain) {
            if let Some(found) = self.raw.look(self.own, uid, &outline, needles)? {
                match outline.is_single && had_header {
                    true => self.program.see_body(found, self.known),
                    false => self.program.see_body_alone(found, self.known),
                }
            }
        }
        Ok(if self.program.decide(self.known).is_none() { record.structure() } else { None })
    }
}

/// Does something with each message, in runs that are done in any order; `whole` if all of a message may be read. What can't be
/// done with one can't be done with any. The calling thread asks between its runs whether the client is there.
fn on_threads<T: Send>(
    view: &View,
    hits: &[Hit],
    whole: bool,
    pulse: Option<&mut Pulse<'_>>,
    work: impl Fn(&mut Reader, &[Hit]) -> Result<Vec<T>, MailboxError> + Sync,
) -> Result<Vec<T>, MailboxError> {
    let runs = runs(hits, whole);
    let next = AtomicUsize::new(0);
    let (mailbox, validity) = (view.mailbox(), view.uid_validity());
    let done: Mutex<Vec<(usize, Vec<T>)>> = Mutex::default();
    let serve = |mut pulse: Option<&mut Pulse<'_>>| -> Result<(), MailboxError> {
        let mut reader = Reader::new(mailbox, validity)?;
        loop {
            if pulse.as_mut().is_some_and(|pulse| !pulse.beats()) {
                next.store(runs.len(), Ordering::Relaxed);
                // Whatever is answered, nobody reads it.
                return Err(MailboxError::Gone);
            }
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(run) = runs.get(at) else { return Ok(()) };
            let answers = work(&mut reader, run);
            if answers.is_err() {
                // The others need not go on.
                next.store(runs.len(), Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, answers?));
        }
    };
    let helpers = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS).min(runs.len()).saturating_sub(1);
    let served = thread::scope(|scope| {
        let helper = |_| thread::Builder::new().name("search".into()).stack_size(STACK).spawn_scoped(scope, || serve(None)).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(helper).collect();
        let own = serve(pulse);
        let theirs = helpers.into_iter().map(|helper| helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        theirs.fold(own, |all, one| all.and(one))
    });
    served?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().flat_map(|(_, answers)| answers).collect())
}

/// Cuts messages into runs of about the same work.
fn runs(hits: &[Hit], whole: bool) -> Vec<&[Hit]> {
    let mut runs = Vec::new();
    let mut rest = hits;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |hit: &&Hit| {
            let fits = bytes < RUN_BYTES;
            bytes += if whole { hit.summary.size.max(LEAST) } else { LEAST };
            fits
        };
        let count = rest.iter().take(RUN).take_while(fits).count();
        let (run, after) = rest.split_at(count.max(1));
        runs.push(run);
        rest = after;
    }
    runs
}

/// UIDs, ascending.
pub fn uids<'a>(hits: impl IntoIterator<Item = &'a Hit>) -> Vec<Uid> {
    let mut uids: Vec<Uid> = hits.into_iter().map(|hit| hit.summary.uid).collect();
    uids.sort_unstable();
    uids
}
