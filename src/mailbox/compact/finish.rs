//! Finishes a step that a crash or an error cut short. Each byte of the window is then the old or the new one, and is made the
//! new one. If it is not so, another program has rewritten the file meanwhile: the messages that moved and are not in it
//! any more are appended.

use super::redo::{Found, Image, PIECE, Part, Redo, Saved, read_data};
use crate::mailbox::expunge;
use crate::mailbox::inbox::{Inner, Mailbox};
use crate::mailbox::lock::Guard;
use crate::mailbox::scan::{Kind, Message};
use crate::mailbox::secret::Key;
use crate::mailbox::table::Row;
use crate::mailbox::{MailboxError, deliver};
use crate::sys::{File, Open};
use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;

impl Mailbox {
    /// Is there a step to be finished? For who has not locked the file.
    pub(in crate::mailbox) fn has_open_step(&self) -> io::Result<bool> {
        let (disk, path) = (&*self.shared.disk, self.places.beside("redo"));
        match disk.stat(&path) {
            Ok(_) => Redo::may_be_open(&*disk.open(&path, Open::Read)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Finishes the step that was begun, if there is one. True: the file may have changed.
    pub(in crate::mailbox) fn finish_step(&self, inner: &mut Inner, guard: &Guard<'_>) -> Result<bool, MailboxError> {
        let (disk, path) = (&*self.shared.disk, self.places.beside("redo"));
        match disk.stat(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let saved = disk.open(&path, Open::Write)?;
        let Found::Open(redo) = Redo::read(&*saved)? else {
            if !inner.compacting {
                // It may be void in memory only. A power cut would open it again, and it would put back what is removed after
                // this.
                Redo::make_void(&*saved)?;
                disk.remove(&path)?;
            }
            return Ok(false);
        };
        // After a kill, what the step rests on may be in memory only: the power may fail while the window is written.
        saved.sync()?;
        disk.sync_dir(&self.places.state)?;
        match inner.log.as_mut() {
            Some(log) => log.sync()?,
            None => self.open_log()?.sync()?,
        }
        let (file, spot) = (&*guard.file, self.spot());
        log::warn!("event=compaction-resumed path={} from={} to={}", spot.path.display(), redo.window.start, redo.window.end);
        inner.distrust();
        inner.spare = None;
        let size = file.stat()?.size;
        if !is_between(file, size, &*saved, &redo)? {
            match self.put_back(file, &*saved, &redo) {
                Err(MailboxError::Refused(why)) => {
                    // It holds mail, and a person has to look at the mailbox anyway.
                    let kept = self.places.beside(&format!("damaged-{}-redo", self.shared.clock.now().seconds()));
                    log::error!("event=compaction-unfit path={} why={why:?} saved={}", spot.path.display(), kept.display());
                    disk.rename(&path, &kept)?;
                    disk.sync_dir(&self.places.state)?;
                    return Ok(true);
                }
                other => other?,
            }
        } else if redo.cut && size <= redo.window.end {
            file.set_len(redo.window.start)?;
        } else if redo.cut {
            // Somebody appended behind what was to be cut off.
            bring(file, &*saved, &redo, &redo.old)?;
        } else {
            match bring(file, &*saved, &redo, &redo.new) {
                // The old bytes have their room still.
                Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                    bring(file, &*saved, &redo, &redo.old)?;
                }
                other => other?,
            }
        }
        file.sync()?;
        // If this fails, whoever comes next makes it void again.
        inner.compacting = false;
        Redo::make_void(&*saved)?;
        disk.remove(&path)?;
        Ok(true)
    }

    /// Puts back what a redo file has that found no mailbox to be carried out in, and is not there. Gives how many messages.
    pub(in crate::mailbox) fn put_back_from(&self, file: &dyn File, path: &Path) -> Result<usize, MailboxError> {
        let saved = self.shared.disk.open(path, Open::Read)?;
        let Found::Open(redo) = Redo::read(&*saved)? else { return Ok(0) };
        let mut there: HashSet<Key> = self.scan(file, 0, file.stat()?.size)?.messages.iter().map(|found| found.key).collect();
        let mut restored = 0;
        // By now more of one content may be there for good reasons.
        for message in &redo.messages {
            if there.insert(message.key) {
                let size = file.stat()?.size;
                if let Err(error) = append(file, &*saved, message) {
                    file.set_len(size)?;
                    return Err(error);
                }
                restored += 1;
            }
        }
        file.sync()?;
        Ok(restored)
    }

    /// Another program rewrote the file: what is missing is appended, what is there too often becomes dead.
    fn put_back(&self, file: &dyn File, saved: &dyn File, redo: &Redo) -> Result<(), MailboxError> {
        let scan = self.scan(file, 0, file.stat()?.size)?;
        let mut there: Vec<&Message> = scan.messages.iter().filter(|message| message.kind == Kind::Alive).collect();
        let mut appended: HashMap<Key, u64> = HashMap::new();
        for message in &redo.messages {
            let again = appended.entry(message.key).or_default();
            let alike = *again + there.iter().filter(|found| found.key == message.key).count() as u64;
            if alike < message.copies {
                let size = file.stat()?.size;
                if let Err(error) = append(file, saved, message) {
                    // It is tried again, and a part of it must not stay.
                    file.set_len(size)?;
                    return Err(error);
                }
                *again += 1;
                log::warn!("event=message-restored path={} key={}", self.spot().path.display(), message.key);
                continue;
            }
            if let Some(at) = there.iter().rposition(|found| found.key == message.key).filter(|_| alike > message.copies) {
                // Never the first of the file: that would need a base line.
                let extra = there.remove(at);
                if has_body(file, extra, saved, message)? {
                    let place = Row { offset: extra.offset, length: extra.length, from: extra.from as u16, ..Row::default() };
                    expunge::overwrite_with_dead(file, &place, super::Base { validity: 0, last: 0 })?;
                }
            }
        }
        Ok(())
    }
}

/// Is each byte of the window the old or the new one?
fn is_between(file: &dyn File, size: u64, saved: &dyn File, redo: &Redo) -> io::Result<bool> {
    if size < if redo.cut { redo.window.start } else { redo.window.end } {
        return Ok(false);
    }
    let end = redo.window.end.min(size);
    let (mut old, mut new) = (Image::new(saved, &redo.old), Image::new(saved, &redo.new));
    let [mut one, mut other, mut now] = [const { Vec::new() }; 3];
    let mut at = redo.window.start;
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        [&mut one, &mut other, &mut now].into_iter().for_each(|piece| piece.resize(most, 0));
        old.fill(&mut one)?;
        new.fill(&mut other)?;
        file.read_exact_at(&mut now, at)?;
        let mut all = now.iter().zip(&one).zip(&other);
        if now != one && now != other && !all.all(|((now, old), new)| now == old || now == new) {
            return Ok(false);
        }
        at += most as u64;
    }
    Ok(true)
}

/// Makes the window what these parts say, and writes only where it is not.
fn bring(file: &dyn File, saved: &dyn File, redo: &Redo, parts: &[Part]) -> io::Result<()> {
    let mut image = Image::new(saved, parts);
    let (mut want, mut now) = (Vec::new(), Vec::new());
    let mut at = redo.window.start;
    while at < redo.window.end {
        let most = usize::try_from(redo.window.end - at).unwrap_or(PIECE).min(PIECE);
        [&mut want, &mut now].into_iter().for_each(|piece| piece.resize(most, 0));
        image.fill(&mut want)?;
        file.read_exact_at(&mut now, at)?;
        if want != now {
            file.write_at(&[IoSlice::new(&want)], at)?;
        }
        at += most as u64;
    }
    Ok(())
}

fn append(file: &dyn File, saved: &dyn File, message: &Saved) -> Result<(), MailboxError> {
    let size = file.stat()?.size;
    let separator = if size == 0 { b"".as_slice() } else { deliver::separator(file, size)? };
    file.write_at(&[IoSlice::new(separator)], size)?;
    let (mut done, mut piece) = (0, vec![0; PIECE]);
    while done < message.length {
        let most = usize::try_from(message.length - done).unwrap_or(PIECE).min(PIECE);
        let room = piece.get_mut(..most).unwrap_or_default();
        read_data(saved, message.from + done, room)?;
        file.write_at(&[IoSlice::new(room)], size + separator.len() as u64 + done)?;
        done += most as u64;
    }
    Ok(())
}

/// Does this message of the file end as the saved one does, for the length of its body?
fn has_body(file: &dyn File, found: &Message, saved: &dyn File, message: &Saved) -> io::Result<bool> {
    let body = found.end() - found.body_at();
    let Some(skip) = message.length.checked_sub(body) else { return Ok(false) };
    let [mut one, mut other] = [const { Vec::new() }; 2];
    let mut done = 0;
    while done < body {
        let most = usize::try_from(body - done).unwrap_or(PIECE).min(PIECE);
        [&mut one, &mut other].into_iter().for_each(|piece| piece.resize(most, 0));
        file.read_exact_at(&mut one, found.body_at() + done)?;
        read_data(saved, message.from + skip + done, &mut other)?;
        if one != other {
            return Ok(false);
        }
        done += most as u64;
    }
    Ok(true)
}
