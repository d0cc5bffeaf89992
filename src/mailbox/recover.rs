//! After a crash: which copies the journal still has unsettled lie whole in the file?
//!
//! What the file held at the last checkpoint is durable, and the state log tells where that ended. What stands behind is
//! walked through record by record: a whole message is left alone; what can only be one of these copies, cut short or
//! with NULs where the disk lost sectors, is completed in its place; NULs that are nobody's are cut off the end, or
//! become a dead message.

use super::checkpoint::{LANDMARK, base_line};
use super::compose::Letter;
use super::inbox::{Dirty, Inner, Mailbox};
use super::mbox;
use super::scan::{self, Kind, Message, Scan};
use super::state::Log;
use super::table::Row;
use super::{Copy, MailboxError};
use crate::mail::date;
use crate::sys::{File, Open};
use std::io::{self, IoSlice};

/// So many places are tried as a message's true end.
const MOST_ENDS: usize = 200;

/// One copy that is looked for.
struct Wanted<'a> {
    copy: &'a Copy<'a>,
    letter: Letter<'a>,
    found: bool,
    /// Its reader removed it: what is torn of it must go.
    removed: bool,
}

impl Mailbox {
    /// After a crash, before anything is delivered: which of these copies are whole in the file, or were removed since by
    /// their reader? Torn ones at the end are completed, and count. All that are true are settled at the next checkpoint.
    pub fn recover(&self, copies: &[Copy<'_>]) -> Result<Vec<bool>, MailboxError> {
        let mut wanted = Vec::new();
        for copy in copies {
            wanted.push(Wanted { copy, letter: Letter::new(copy, &self.keys.secret)?, found: false, removed: false });
        }
        let mut inner = self.enter();
        self.look_for_all(&mut inner, &mut wanted)?;
        // Only now are messages numbered: before a torn `From ` line one looks as if it were another.
        if let Err(error) = self.finish_intents(&mut inner) {
            // Its first bytes may be what the disk lost; the checkpoint does it when they are mended.
            log::warn!("event=expunge-delayed path={} error={error}", self.spot().path.display());
        }
        Ok(wanted.iter().map(|wanted| wanted.found).collect())
    }

    fn look_for_all(&self, inner: &mut Inner, wanted: &mut [Wanted<'_>]) -> Result<(), MailboxError> {
        if !self.exists()? {
            self.ready(inner, None, 0)?;
            self.count_removed(inner, wanted);
            return Ok(());
        }
        let (guard, stat) = self.lock(inner)?;
        let file = &*guard.file;
        self.ready(inner, Some(file), stat.size)?;
        inner.log.as_mut().map_or(Ok(()), Log::complete)?;
        self.count_removed(inner, wanted);
        if !self.is_remembered(&stat) {
            // Else nobody could tell where they end, before a torn one.
            self.bury_remains(inner, &guard, false)?;
        }
        let start = durable_end(inner, file, stat.size)?;
        if start > 0 {
            if let Ok(scan) = self.scan(file, start, stat.size) {
                self.look_for(inner, file, &scan, wanted)?;
            }
        }
        if wanted.iter().any(|wanted| !wanted.found || wanted.removed) {
            match self.scan(file, 0, stat.size) {
                Ok(scan) => self.look_for(inner, file, &scan, wanted)?,
                Err(MailboxError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            self.walk(inner, file, start, wanted)?;
        }
        // What was read may be in memory only.
        inner.wrote(start);
        Ok(())
    }

    /// A copy that was removed after it was delivered is not delivered again.
    fn count_removed(&self, inner: &mut Inner, wanted: &mut [Wanted<'_>]) {
        for wanted in wanted {
            let name = (wanted.copy.id, wanted.copy.recipient);
            wanted.removed = inner.log.as_ref().is_some_and(|log| log.sum.gone.contains(&name));
            wanted.found = wanted.removed;
            if wanted.found {
                inner.count(wanted, 0, 0, 0);
            }
        }
    }

    /// Looks for copies by id and content.
    fn look_for(&self, inner: &mut Inner, file: &dyn File, scan: &Scan, wanted: &mut [Wanted<'_>]) -> Result<(), MailboxError> {
        for wanted in wanted.iter_mut().filter(|wanted| !wanted.found) {
            let (copy, key) = (wanted.copy, wanted.letter.key);
            for message in scan.messages.iter().filter(|message| message.is_copy(copy.id, copy.recipient, key)) {
                if wanted.letter.has_body(file, message.body_at(), message.body)? {
                    wanted.found = true;
                    let check = check(file, message.header_at() + u64::from(message.header), message.end())?;
                    inner.count(wanted, message.offset, message.length, check);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Goes through what is behind the durable end.
    fn walk(&self, inner: &mut Inner, file: &dyn File, start: u64, wanted: &mut [Wanted<'_>]) -> Result<(), MailboxError> {
        let mut at = start;
        let mut messages: Vec<Message> = Vec::new();
        loop {
            let size = file.stat()?.size;
            if at >= size {
                return Ok(());
            }
            if messages.iter().all(|message| message.offset != at) {
                let scan = self.scan(file, at, size).unwrap_or_default();
                // Behind NULs there may be copies that could not be told to begin before.
                self.look_for(inner, file, &scan, wanted)?;
                messages = scan.messages;
            }
            let message = messages.iter().find(|message| message.offset == at);
            let known = |message: &&Message| inner.dirty.iter().any(|copy| copy.offset == message.offset && copy.length > 0);
            if let Some(whole) = message.filter(known) {
                at = whole.end();
                continue;
            }
            if let Some(back) = message.filter(|_| wanted.iter().any(|wanted| wanted.removed)) {
                // One that was removed and is whole: others brought it back.
                if is_whole(file, back, wanted)? {
                    at = back.end();
                    continue;
                }
            }
            at = match (best(file, at, size, wanted)?, message) {
                (Some(torn), _) => {
                    messages.clear();
                    self.complete(inner, file, at, torn)?
                }
                (None, Some(other)) => self.true_end(inner, file, other)?,
                (None, None) => {
                    let next = next_from(file, at, size)?;
                    self.clear(inner, file, at, next, size)?;
                    next
                }
            };
        }
    }

    /// Where a message ends. Where the `From ` line after it was torn, what follows seems to belong to it; its seal, or the
    /// state log's row, tells that it does not.
    pub(super) fn true_end(&self, inner: &Inner, file: &dyn File, message: &Message) -> Result<u64, MailboxError> {
        // If the state was lost, the seals were made under the UIDVALIDITY that the base line tells.
        let told = base_line(file)?.map_or(0, |(_, base)| base.validity);
        if self.is_sealed(inner, told, message) {
            return Ok(message.end());
        }
        let mut piece = vec![0; 64 << 10];
        let (mut at, mut tries) = (message.header_at(), 0);
        while at < message.end() && tries < MOST_ENDS {
            let most = usize::try_from(message.end() - at).unwrap_or(usize::MAX).min(piece.len());
            let read = file.read_at(piece.get_mut(..most).unwrap_or_default(), at)?;
            let bytes = piece.get(..read).unwrap_or_default();
            for found in memchr::memmem::find_iter(bytes, b"\n\n") {
                if !matches!(bytes.get(found + 2), Some(0 | b'F')) {
                    continue;
                }
                let end = at + found as u64 + 2;
                let shorter = self.scan(file, message.offset, end)?;
                if shorter.messages.first().is_some_and(|message| self.is_known(inner, told, message)) {
                    return Ok(end);
                }
                tries += 1;
            }
            if read < piece.len() {
                break;
            }
            at += (read - 2) as u64;
        }
        Ok(message.end())
    }

    /// Does its seal vouch for this content, or the dead form for itself?
    fn is_sealed(&self, inner: &Inner, told: u32, message: &Message) -> bool {
        let sealed = |validity, uid| self.keys.secret.seal(&self.places.label, validity, uid, &message.key);
        message.kind == Kind::Dead
            || message
                .mark
                .is_some_and(|mark| [told, inner.validity()].iter().any(|validity| mark.seal == sealed(*validity, mark.uid)))
    }

    /// Does that, or the state, vouch for it? (Not for what was never looked at without suspicion.)
    fn is_known(&self, inner: &Inner, told: u32, message: &Message) -> bool {
        let mut rows = inner.log.iter().flat_map(|log| log.sum.rows.iter());
        self.is_sealed(inner, told, message) || rows.any(|(_, key)| key == message.key)
    }

    /// Writes a record that was torn once more into its place. Returns where it ends.
    fn complete(&self, inner: &mut Inner, file: &dyn File, at: u64, torn: &mut Wanted<'_>) -> Result<u64, MailboxError> {
        let (_, block) = self.number_copy(inner, at == 0, &torn.letter)?;
        inner.distrust();
        self.index_goes_stale(inner)?;
        let check = torn.letter.write(file, at, b"", &block)?;
        inner.wrote(at);
        if torn.removed {
            torn.removed = false;
            let place = Row { offset: at, length: torn.letter.len(), from: torn.letter.from(), ..Row::default() };
            super::expunge::overwrite_with_dead(file, &place, self.base(inner))?;
            return Ok(at + torn.letter.len());
        }
        torn.found = true;
        inner.count(torn, at, torn.letter.len(), check);
        log::warn!("event=copy-completed path={} id={} offset={at}", self.spot().path.display(), torn.copy.id);
        Ok(at + torn.letter.len())
    }

    /// What is nobody's and begins with NULs, as only a disk leaves it behind: it is cut off the end, or becomes a dead
    /// message. If there is more in it than NULs, that is saved beside the state log first. Anything else stays.
    pub(super) fn clear(&self, inner: &mut Inner, file: &dyn File, at: u64, next: u64, size: u64) -> Result<(), MailboxError> {
        let mut first = [1];
        file.read_exact_at(&mut first, at)?;
        if first != [0] {
            log::error!("event=mailbox-damaged path={} offset={at} until={next}", self.spot().path.display());
            return Ok(());
        }
        log::warn!("event=nuls-cleared path={} offset={at} until={next}", self.spot().path.display());
        if !pieces(file, at, next, |bytes| bytes.iter().all(|byte| *byte == 0))? {
            self.save(file, at, next)?;
        }
        inner.distrust();
        self.index_goes_stale(inner)?;
        if next == size {
            file.set_len(at)?;
            file.sync()?;
            return Ok(());
        }
        let from = format!("From MAILER-DAEMON {}\n", date::asctime(self.shared.clock.now()));
        let length = from.len() as u64;
        let Some(dead) = (next - at).checked_sub(length).and_then(|room| mbox::dead(room, None)) else { return Ok(()) };
        let nuls = vec![0; usize::try_from(dead.nuls.end - dead.nuls.start).unwrap_or(0)];
        // Until all of that is on the disk it begins with a NUL, and who is stopped here begins anew.
        let (first, rest) = from.as_bytes().split_at(1);
        file.write_at(&[rest, &dead.header, &nuls, dead.end].map(IoSlice::new), at + 1)?;
        file.sync()?;
        file.write_at(&[IoSlice::new(first)], at)?;
        inner.wrote(at);
        Ok(())
    }
}

impl Mailbox {
    /// Keeps a range of the file for a person to look at.
    pub(super) fn save(&self, file: &dyn File, from: u64, to: u64) -> Result<(), MailboxError> {
        let disk = &*self.shared.disk;
        let path = self.places.beside(&format!("damaged-{}-{from}", self.shared.clock.now().seconds()));
        disk.make_dir(&self.places.state, 0o700)?;
        let saved = disk.open(&path, Open::Create(0o600))?;
        let (mut at, mut failed) = (0, Ok(()));
        pieces(file, from, to, |bytes| {
            failed = saved.write_at(&[IoSlice::new(bytes)], at);
            at += bytes.len() as u64;
            failed.is_ok()
        })?;
        failed?;
        saved.sync()?;
        disk.sync_dir(&self.places.state)?;
        log::error!(
            "event=mailbox-damaged path={} offset={from} until={to} saved={}",
            self.spot().path.display(),
            path.display()
        );
        Ok(())
    }
}

impl Inner {
    /// To be settled at the next checkpoint.
    fn count(&mut self, wanted: &Wanted<'_>, offset: u64, length: u64, check: u32) {
        let (id, recipient, key) = (wanted.copy.id, wanted.copy.recipient, wanted.letter.key);
        if !self.dirty.iter().any(|copy| (copy.id, copy.recipient) == (id, recipient)) {
            self.dirty.push(Dirty { id, recipient, key, offset, length, check });
        }
    }
}

/// Is this message one of the copies, byte for byte?
fn is_whole(file: &dyn File, message: &Message, wanted: &[Wanted<'_>]) -> io::Result<bool> {
    for wanted in wanted.iter().filter(|wanted| message.is_copy(wanted.copy.id, wanted.copy.recipient, wanted.letter.key)) {
        if wanted.letter.has_body(file, message.body_at(), message.body)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Of the copies not found, the one that most likely was written at this place.
fn best<'w, 'a>(file: &dyn File, at: u64, size: u64, wanted: &'w mut [Wanted<'a>]) -> io::Result<Option<&'w mut Wanted<'a>>> {
    let mut best: Option<(&'w mut Wanted<'a>, u64)> = None;
    for wanted in wanted.iter_mut().filter(|wanted| !wanted.found || wanted.removed) {
        let saved = wanted.letter.resembles(file, at, size.min(at + wanted.letter.len()))?.unwrap_or(0);
        if saved > best.as_ref().map_or(0, |(_, most)| *most) {
            best = Some((wanted, saved));
        }
    }
    Ok(best.map(|(wanted, _)| wanted))
}

/// Where the file ended at the last checkpoint, if it still looks like that there; else its start.
fn durable_end(inner: &Inner, file: &dyn File, size: u64) -> io::Result<u64> {
    let Some((end, sum)) = inner.log.as_ref().and_then(|log| log.sum.durable).filter(|(end, _)| *end <= size) else {
        return Ok(0);
    };
    let from = end.saturating_sub(LANDMARK);
    let mut last = vec![0; (end - from) as usize];
    file.read_exact_at(&mut last, from)?;
    Ok(if crc32c::crc32c(&last) == sum { end } else { 0 })
}

/// Where the first message of a file begins that does not begin with one, or the end.
pub(super) fn first_message(file: &dyn File, size: u64) -> io::Result<u64> {
    // Where NULs stand before, an empty line can't be asked for.
    let found = next_from(file, 1, size)?;
    let mut before = [1];
    file.read_at(&mut before, found - 1)?;
    match before {
        [0] if found < size => Ok(found),
        _ => Ok(scan::next_message(file, 0, size)?.unwrap_or(size)),
    }
}

/// Where the next message after `from` begins, or the end.
fn next_from(file: &dyn File, from: u64, to: u64) -> io::Result<u64> {
    const OVERLAP: usize = mbox::LONGEST_FROM + 2;
    let mut piece = vec![0; 64 << 10];
    let mut at = from;
    loop {
        let read = file.read_at(&mut piece, at)?;
        let bytes = piece.get(..read).unwrap_or_default();
        for found in memchr::memmem::find_iter(bytes, b"From ") {
            let before = bytes.get(..found).unwrap_or_default();
            let line = bytes.get(found..).unwrap_or_default();
            let line = line.get(..memchr::memchr(b'\n', line).unwrap_or(line.len())).unwrap_or_default();
            // After NULs there may be no empty line left.
            let begins = before.last().is_some_and(|last| matches!(last, 0 | b'\n'));
            if begins && mbox::is_from_line(line) {
                return Ok(at + found as u64);
            }
        }
        if read < piece.len() {
            return Ok(to);
        }
        at += (read - OVERLAP) as u64;
    }
}

fn check(file: &dyn File, from: u64, to: u64) -> io::Result<u32> {
    let mut check = 0;
    pieces(file, from, to, |bytes| {
        check = crc32c::crc32c_append(check, bytes);
        true
    })?;
    Ok(check)
}

/// Shows a range of a file in pieces, until one is not liked.
pub(super) fn pieces(file: &dyn File, from: u64, to: u64, mut like: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    let mut piece = vec![0; 64 << 10];
    let mut at = from;
    while at < to {
        let most = usize::try_from(to - at).unwrap_or(piece.len()).min(piece.len());
        let room = piece.get_mut(..most).unwrap_or_default();
        file.read_exact_at(room, at)?;
        if !like(room) {
            return Ok(false);
        }
        at += most as u64;
    }
    Ok(true)
}
