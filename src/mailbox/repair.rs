//! Mends a mailbox, and saves what it takes away. Each act leaves it in a state in which the next one, or the same one after a
//! crash, finds its way; no message is lost by any.
//!
//! 1. What does not begin with a `From ` line gets one ([`compact`](super::compact)); a torn end is ended; NULs between messages
//!    become a dead message, and what they cut off becomes a message.
//! 2. NULs in messages become visible: the message has another content by that, and another UID. The old one is saved.
//! 3. Fields that claim a UID which is not the message's are written anew, with the base line, where there is room for them; else
//!    they claim none.
//! 4. What is not needed beside the mailbox goes; what crashes had left for a person is put aside, as `<base>.saved-…`.
//! 5. The index is made anew.

use super::check::first_nul;
use super::compact::{Patch, is_bare, opening};
use super::flags::Marks;
use super::inbox::{Inner, Mailbox};
use super::mbox::{self, Mark};
use super::scan::{Kind, Message, Scan};
use super::state::{Fact, Log};
use super::table::Row;
use super::uidset::UidSet;
use super::{MailboxError, check};
use crate::mail::header;
use crate::sys::File;
use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice};

/// Bytes that are read and written at a time.
const PIECE: usize = 256 << 10;
/// NULs that become the opening of a message; more of them become a dead one before it.
const OPENING: u64 = 300;
const LONGEST_OPENING: u64 = 500;

/// What was done, in sentences.
type Done = Vec<String>;

impl Mailbox {
    /// Mends what [`Mailbox::inspect`] finds. Everything in it is durable and settled before.
    pub(super) fn repair(&self) -> Result<Done, MailboxError> {
        let mut done = Done::new();
        let mut inner = self.enter();
        self.tidy_beside(&mut done)?;
        let redo = self.places.beside("redo");
        let has_redo = !inner.compacting && self.shared.disk.stat(&redo).is_ok();
        if !self.exists()? && !has_redo {
            return Ok(done);
        }
        // To lock the mailbox is to do this.
        match self.has_open_step()? {
            true => done.push("finished a step of compaction that had been cut short".into()),
            false if has_redo => done.push(format!("removed {}, on which nothing hung", redo.display())),
            false => {}
        }
        let (holes, torn) = self.broken_state()?;
        let (guard, stat) = self.lock(&mut inner)?;
        if self.is_remembered(&stat) {
            return Err(MailboxError::Busy);
        }
        let file = &*guard.file;
        inner.distrust();
        inner.spare = None;
        if stat.size > 0 && self.scan(file, 0, stat.size).is_err() {
            let (bytes, kept) = self.mend_front(&mut inner, file)?;
            let what = if kept { "a message" } else { "a dead message" };
            done.push(format!("made {what} of the {bytes} bytes before the first From line"));
        }
        self.mend_end(&mut inner, file, &mut done)?;
        for path in self.damaged()?.iter().filter(|path| path.to_string_lossy().ends_with("-redo")) {
            let restored = self.put_back_from(file, path)?;
            done.extend((restored > 0).then(|| format!("put {} back that had been on the move", counted(restored))));
        }
        self.ready(&mut inner, Some(file), file.stat()?.size)?;
        inner.log.as_mut().map_or(Ok(()), Log::complete)?;
        if holes + torn > 0 {
            inner.log.as_mut().map_or(Ok(()), Log::rewrite)?;
            done.push(format!("wrote the state log anew; {} bytes of it could not be read", holes + torn));
        }
        self.drop_wrong_table(&mut inner, file, &mut done)?;
        self.mend_gaps(&mut inner, file, &mut done)?;
        self.see(&mut inner, file)?;
        self.mend_nuls(&mut inner, file, &mut done)?;
        self.mend_fields(&mut inner, file, &mut done)?;
        drop(guard);
        self.finish_intents(&mut inner)?;
        self.rebuild_index(&mut inner)?;
        Ok(done)
    }

    /// Brings the table up to the locked file, all of it.
    fn see(&self, inner: &mut Inner, file: &dyn File) -> Result<Scan, MailboxError> {
        inner.distrust();
        let stat = file.stat()?;
        self.refresh(inner, Some(file), stat.into())?;
        self.scan(file, 0, stat.size)
    }

    fn mend_end(&self, inner: &mut Inner, file: &dyn File, done: &mut Done) -> Result<(), MailboxError> {
        let size = file.stat()?.size;
        let end = self.end_of_file(file, size)?;
        if !end.is_empty() {
            self.index_goes_stale(inner)?;
            file.write_at(&[IoSlice::new(end)], size)?;
            inner.wrote(size);
            file.sync()?;
            done.push("ended the last message, which broke off".into());
        }
        Ok(())
    }

    /// The table in memory is not the one of the file that it says: sessions that were told by it have to begin anew.
    fn drop_wrong_table(&self, inner: &mut Inner, file: &dyn File, done: &mut Done) -> Result<(), MailboxError> {
        let stat = file.stat()?;
        let (index, memory) = self.wrong_tables(inner, stat.into(), &self.scan(file, 0, stat.size)?)?;
        if memory {
            (inner.table, inner.generation) = (None, inner.generation + 1);
            self.seats.ring();
        }
        if index || memory {
            self.remove_index()?;
            done.push("made the index anew, which was wrong".into());
        }
        Ok(())
    }

    /// NULs that are behind the end of a message, and what follows them.
    fn mend_gaps(&self, inner: &mut Inner, file: &dyn File, done: &mut Done) -> Result<(), MailboxError> {
        let size = file.stat()?.size;
        for message in self.scan(file, 0, size)?.messages.iter().filter(|message| message.kind == Kind::Alive) {
            if first_nul(file, message)?.is_none() {
                continue;
            }
            let end = self.true_end(inner, file, message)?;
            let nuls = leading_nuls(file, end, message.end())?;
            if nuls == 0 {
                continue;
            }
            inner.distrust();
            if is_only_nuls(file, end, message.end())? {
                self.clear(inner, file, end, message.end(), size)?;
                // If they are too few for a dead message, they stay.
                let stay = leading_nuls(file, end, file.stat()?.size)? == nuls;
                done.extend((!stay).then(|| format!("removed {nuls} NULs at {end}, behind a message")));
                continue;
            }
            let most = if nuls <= LONGEST_OPENING { nuls } else { OPENING };
            let from = end + nuls - most;
            let bare = is_bare(file, end + nuls, message.end())?;
            let Some(bytes) = opening(most, bare, self.shared.clock.now()) else { continue };
            if from > end {
                self.clear(inner, file, end, from, size)?;
            }
            self.patch(inner, file, &[Patch { at: from, bytes }])?;
            done.push(format!("made a message of what stands behind {nuls} NULs at {end}"));
        }
        Ok(())
    }

    /// NULs in a message become blanks in its header and question marks in its body.
    fn mend_nuls(&self, inner: &mut Inner, file: &dyn File, done: &mut Done) -> Result<(), MailboxError> {
        let scan = self.see(inner, file)?;
        let mut marks: HashMap<u64, Marks> = HashMap::new();
        let mut damaged: Vec<&Message> = Vec::new();
        let rows: HashMap<u64, Row> = inner.rows().rows.iter().map(|row| (row.offset, *row)).collect();
        for message in scan.messages.iter().filter(|message| rows.contains_key(&message.offset)) {
            if first_nul(file, message)?.is_some() {
                damaged.push(message);
                marks.extend(rows.get(&message.offset).map(|row| (row.offset, row.marks)));
            }
        }
        if damaged.is_empty() {
            return Ok(());
        }
        for message in &damaged {
            self.save(file, message.offset, message.end())?;
        }
        let old: UidSet = damaged.iter().filter_map(|message| rows.get(&message.offset)).map(|row| row.uid).collect();
        let modseq = inner.give_modseq(self.shared.clock.now())?;
        self.tell_lost(inner, old.iter(), modseq);
        inner.table.iter_mut().for_each(|loaded| loaded.table.rows.retain(|row| !old.has(row.uid)));
        if let Some(log) = inner.log.as_mut() {
            log.put(Fact::Lost(old));
            log.put(Fact::Moved);
            log.sync()?;
        }
        self.index_goes_stale(inner)?;
        for message in &damaged {
            inner.wrote(message.offset);
            show_nuls(file, message)?;
        }
        file.sync()?;
        done.push(format!("made the NULs in {} visible; the messages are saved as they were", counted(damaged.len())));
        self.see(inner, file)?;
        // Under their new UIDs they are marked as before.
        let (Some(loaded), Some(log)) = (inner.table.as_mut(), inner.log.as_mut()) else { return Ok(()) };
        for row in &mut loaded.table.rows {
            if let Some(marks) = marks.get(&{ row.offset }).filter(|marks| **marks != row.marks) {
                row.marks = *marks;
                log.put(Fact::Marks([row.uid].into_iter().collect(), row.marks, row.filed));
            }
        }
        Ok(log.sync()?)
    }

    /// Fields that claim a UID, and the base line.
    fn mend_fields(&self, inner: &mut Inner, file: &dyn File, done: &mut Done) -> Result<(), MailboxError> {
        let scan = self.see(inner, file)?;
        let rows: HashMap<u64, Row> = inner.rows().rows.iter().map(|row| (row.offset, *row)).collect();
        let (mut patches, mut written, mut unclaimed) = (Vec::new(), Vec::new(), 0);
        for message in scan.messages.iter().filter(|message| message.kind == Kind::Alive) {
            let Some(row) = rows.get(&message.offset) else { continue };
            let said = message.mark.map_or(0, |mark| mark.uid);
            if said == 0 || self.claim(inner, message) == Some(row.uid) {
                continue;
            }
            match self.block_of(inner, file, message, *row)? {
                Some((patch, row)) => {
                    patches.push(patch);
                    written.push(row);
                }
                None => {
                    patches.extend(without_claim(file, message)?);
                    unclaimed += 1;
                }
            }
        }
        let last = written.iter().map(|row| row.uid).max().unwrap_or(0).max(check::greatest(inner));
        let mut based = None;
        // A block that is written anew has it.
        if let Some(first) = scan.messages.first().filter(|first| first.kind != Kind::Internal) {
            if written.iter().all(|row| row.offset > 0) {
                based = self.base_line_of(inner, file, &scan, first, last)?;
            }
        }
        let has_base = based.is_some();
        patches.extend(based);
        if patches.is_empty() {
            return Ok(());
        }
        // The keywords that are named in the blocks.
        inner.log.as_mut().map_or(Ok(()), Log::sync)?;
        patches.sort_by_key(|patch| patch.at);
        self.patch(inner, file, &patches)?;
        let fresh = written.len();
        done.extend((fresh > 0).then(|| format!("wrote the UIDs of {} into the mailbox anew", counted(fresh))));
        done.extend((unclaimed > 0).then(|| format!("took wrong UIDs out of {}", counted(unclaimed))));
        done.extend(has_base.then(|| "wrote the base line anew".to_owned()));
        let (Some(loaded), Some(log)) = (inner.table.as_mut(), inner.log.as_mut()) else { return Ok(()) };
        for row in written {
            let Some(own) = loaded.table.at(row.uid).and_then(|at| loaded.table.rows.get_mut(at)) else { continue };
            *own = row;
            log.put(Fact::Marks([row.uid].into_iter().collect(), row.marks, row.filed));
        }
        log.sync()?;
        self.see(inner, file).map(drop)
    }

    /// The base line, if the one in the file is wrong, or behind the last UID.
    fn base_line_of(
        &self,
        inner: &Inner,
        file: &dyn File,
        scan: &Scan,
        first: &Message,
        last: u32,
    ) -> Result<Option<Patch>, MailboxError> {
        let base = self.base(inner);
        Ok(match scan.base {
            Some((told, Some(at))) if told.validity != base.validity || told.last < last => {
                Some(Patch { at, bytes: base.line().into_bytes() })
            }
            Some((told, None)) if told.validity != base.validity => without_base_line(file, first)?,
            Some(_) => None,
            None => self.missing_base_line(inner, file)?,
        })
    }

    /// The reserved block of a message with the UID that it has, and what its row becomes. None: it has no room.
    fn block_of(
        &self,
        inner: &mut Inner,
        file: &dyn File,
        message: &Message,
        mut row: Row,
    ) -> Result<Option<(Patch, Row)>, MailboxError> {
        let room = usize::from(message.room);
        let at = message.header_at() + u64::from(message.header) - room as u64;
        let mut block = vec![0; room];
        file.read_exact_at(&mut block, at)?;
        let state = mbox::state(&block);
        let Some(mark) = state.mark.filter(|_| state.room == room) else { return Ok(None) };
        let base = self.base(inner);
        let names = state.keywords.and_then(|(from, to)| block.get(from..to)).unwrap_or_default();
        let names = names.split(u8::is_ascii_whitespace).filter_map(|name| std::str::from_utf8(name).ok());
        row.marks.keywords |= self.in_turn(inner, |inner| Ok(inner.log.as_mut().map_or(0, |log| log.add_keywords(names))))?;
        let Some(log) = inner.log.as_ref() else { return Err(MailboxError::Gone) };
        let seal = self.keys.secret.seal(&self.places.label, log.sum.validity, row.uid, &message.key);
        let mark = Mark { uid: row.uid, seal, ..mark };
        let base = (message.offset == 0).then_some(base);
        let block = mbox::block(room, base, &mark, row.marks, &log.sum.keywords);
        Ok(block.map(|(bytes, written)| {
            row.filed = Marks { flags: row.marks.flags, keywords: written };
            (Patch { at, bytes }, row)
        }))
    }

    /// What lies beside the mailbox and is not needed; what a person is to look at is put aside.
    fn tidy_beside(&self, done: &mut Done) -> Result<(), MailboxError> {
        let disk = &*self.shared.disk;
        for path in self.unfinished()? {
            disk.remove(&path)?;
            done.push(format!("removed {}, which was not finished", path.display()));
        }
        Ok(())
    }

    /// After [`Mailbox::repair`], when all is durable: puts aside what a person is to look at.
    pub(super) fn put_aside(&self) -> Result<Done, MailboxError> {
        let (disk, mut done) = (&*self.shared.disk, Done::new());
        for path in self.damaged()? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let aside = path.with_file_name(name.replacen(".damaged-", ".saved-", 1));
            if disk.stat(&aside).is_ok() {
                continue;
            }
            disk.rename(&path, &aside)?;
            done.push(format!("saved {}", aside.display()));
        }
        if !done.is_empty() {
            disk.sync_dir(&self.places.state)?;
        }
        Ok(done)
    }

    fn remove_index(&self) -> io::Result<()> {
        match self.shared.disk.remove(&self.places.index) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn rebuild_index(&self, inner: &mut Inner) -> Result<(), MailboxError> {
        self.remove_index()?;
        (inner.index_behind, inner.index_saved) = (true, None);
        Ok(())
    }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 message".into() } else { format!("{count} messages") }
}

/// So many NULs stand from here on.
fn leading_nuls(file: &dyn File, from: u64, to: u64) -> io::Result<u64> {
    let mut count = 0;
    super::recover::pieces(file, from, to, |bytes| {
        let nuls = bytes.iter().take_while(|byte| **byte == 0).count();
        count += nuls as u64;
        nuls == bytes.len()
    })?;
    Ok(count)
}

fn is_only_nuls(file: &dyn File, from: u64, to: u64) -> io::Result<bool> {
    super::recover::pieces(file, from, to, |bytes| bytes.iter().all(|byte| matches!(byte, 0 | b'\n')))
}

fn show_nuls(file: &dyn File, message: &Message) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = message.offset;
    while at < message.end() {
        let most = usize::try_from(message.end() - at).unwrap_or(PIECE).min(PIECE);
        let room = piece.get_mut(..most).unwrap_or_default();
        file.read_exact_at(room, at)?;
        if memchr::memchr(0, room).is_some() {
            for (place, byte) in (at..).zip(room.iter_mut()).filter(|(_, byte)| **byte == 0) {
                *byte = if place < message.body_at() { b' ' } else { b'?' };
            }
            file.write_at(&[IoSlice::new(room)], at)?;
        }
        at += most as u64;
    }
    Ok(())
}

fn header_of(file: &dyn File, message: &Message) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; message.header as usize];
    file.read_exact_at(&mut bytes, message.header_at())?;
    Ok(bytes)
}

/// Nothing in the place of a base line of other numbers.
fn without_base_line(file: &dyn File, first: &Message) -> io::Result<Option<Patch>> {
    const EMPTY: &[u8] = b"X-UIDL:";
    let bytes = header_of(file, first)?;
    let field = header::fields(&bytes).find(|field| field.is(&bytes, "X-IMAPbase"));
    Ok(field.map(|field| {
        let mut fresh = EMPTY.to_vec();
        fresh.resize(field.whole.len() - 1, b' ');
        fresh.push(b'\n');
        Patch { at: first.header_at() + field.whole.start as u64, bytes: fresh }
    }))
}

/// No UID in the place of one that is not the message's. (Its dates stay.)
fn without_claim(file: &dyn File, message: &Message) -> io::Result<Option<Patch>> {
    let bytes = header_of(file, message)?;
    let field = header::fields(&bytes).filter(|field| field.is(&bytes, "X-Pillarbox")).last();
    Ok(field.and_then(|field| {
        let value = bytes.get(field.value.clone())?;
        let from = value.iter().position(u8::is_ascii_digit)?;
        let digits = value.get(from..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        Some(Patch { at: message.header_at() + (field.value.start + from) as u64, bytes: vec![b'0'; digits] })
    }))
}
