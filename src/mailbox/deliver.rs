//! Appends a copy: one write under the locks, no sync. The copy is durable, and settled, after the next checkpoint.

use super::compose::Letter;
use super::flags::{Flags, Marks};
use super::inbox::{Dirty, Inner, Mailbox, Stamp};
use super::lock::Guard;
use super::mbox::Base;
use super::state::Fact;
use super::{Arrival, Copy, MailboxError, Uid};
use crate::sys::File;
use std::io;

impl Mailbox {
    /// Appends one copy. It can be read at once; it is durable, and settled, after the next checkpoint.
    pub fn deliver(&self, copy: &Copy<'_>) -> Result<Uid, MailboxError> {
        self.deliver_all(std::slice::from_ref(copy))?.1.first().copied().ok_or(MailboxError::Gone)
    }

    /// Appends copies, all of them or none; no other program comes between. Gives UIDVALIDITY and their UIDs.
    pub fn deliver_all(&self, copies: &[Copy<'_>]) -> Result<(u32, Vec<Uid>), MailboxError> {
        let letters = copies.iter().map(|copy| Letter::new(copy, &self.keys.secret)).collect::<Result<Vec<_>, _>>()?;
        let mut inner = self.enter();
        let (guard, stat) = self.lock(&mut inner)?;
        let uids = self.append(&mut inner, &guard, stat.into(), &letters)?;
        Ok((inner.validity(), uids))
    }

    /// Appends to the locked file, which is as `now` says.
    fn append(&self, inner: &mut Inner, guard: &Guard<'_>, now: Stamp, letters: &[Letter<'_>]) -> Result<Vec<Uid>, MailboxError> {
        let file = &*guard.file;
        self.ready(inner, Some(file), now.size)?;
        // In a mailbox that is new to us, what is there already comes first.
        let is_new = inner.spare.as_ref().is_some_and(|(_, scan)| !scan.messages.is_empty());
        if (inner.others || is_new) && !inner.is_as_known(now).0 {
            self.refresh(inner, Some(file), now)?;
            inner.next = inner.next.max(inner.rows().top);
        }
        if inner.log.as_ref().and_then(|log| log.sum.durable).is_some_and(|(end, _)| end > now.size) {
            // It was made shorter, by us before a crash or by others. If that does not last, what is appended now lies over
            // what was there before.
            file.sync()?;
            self.note_durable(inner, file, Some(now));
        }
        let before = inner.is_as_known(now);
        if let Some(loaded) = inner.table.as_mut().filter(|loaded| !before.1 && loaded.stamp.size >= now.size) {
            // Changed in its middle by others, or made shorter: once it has grown, that could not be told any more.
            loaded.distrust();
        }
        let mut separator: &[u8] = if before.0 || now.size == 0 { b"" } else { separator(file, now.size)? };
        if now.size == 0 {
            self.saw_empty();
        }
        inner.known = None;
        let (mut uids, mut copies, mut at) = (Vec::with_capacity(letters.len()), Vec::with_capacity(letters.len()), now.size);
        for letter in letters {
            match self.append_one(inner, file, at, separator, letter) {
                Ok((uid, copy)) => {
                    at = copy.offset + copy.length;
                    uids.push(uid);
                    copies.push(copy);
                }
                Err(error) => {
                    // A part of it may be there. It is taken back while nobody else can have written after it.
                    // It is made sure that it does not come back under what is written there next.
                    if let Err(error) = file.set_len(now.size).and_then(|()| file.sync()) {
                        let path = self.spot();
                        log::error!("event=truncate-failed path={} size={} error={error}", path.path.display(), now.size);
                    }
                    return Err(error);
                }
            }
            separator = b"";
        }
        inner.wrote(now.size);
        match file.stat() {
            Ok(stat) => inner.has_become((true, before.1), stat.into()),
            Err(_) => inner.known = None,
        }
        inner.dirty.append(&mut copies);
        self.seats.ring();
        Ok(uids)
    }

    fn append_one(
        &self,
        inner: &mut Inner,
        file: &dyn File,
        at: u64,
        separator: &[u8],
        letter: &Letter<'_>,
    ) -> Result<(Uid, Dirty), MailboxError> {
        let (uid, block) = self.number_copy(inner, at == 0, letter)?;
        let check = letter.write(file, at, separator, &block)?;
        let offset = at + separator.len() as u64;
        let (id, recipient, key) = (letter.copy.id, letter.copy.recipient, letter.key);
        Ok((Uid(uid), Dirty { id, recipient, key, offset, length: letter.len(), check }))
    }

    /// Gives a copy its UID and its reserved block. Marks that may not last there are kept in the state log.
    pub(super) fn number_copy(
        &self,
        inner: &mut Inner,
        first: bool,
        letter: &Letter<'_>,
    ) -> Result<(u32, Vec<u8>), MailboxError> {
        let uid = inner.give_uid()?;
        let validity = inner.validity();
        let base = first.then_some(Base { validity, last: uid });
        let seal = self.keys.secret.seal(&self.places.label, validity, uid, &letter.key);
        let others = inner.others;
        let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
        if others {
            // A third program may take the message before the other daemon has seen it, and the number would be given again.
            log.put_rows(&[(uid, letter.key)]);
            log.flush()?;
        }
        let mut marks = Marks::default();
        if let Arrival::Filed(filing) = letter.copy.arrival {
            marks.flags = Flags::from_bits(filing.flags);
            if !filing.keywords.is_empty() {
                marks.keywords = self.keywords_of(inner, &filing.keywords)?;
            }
        }
        let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
        let (block, written) = letter.block(base, uid, seal, marks, &log.sum.keywords);
        if written != marks.keywords || marks.flags & Flags::LOSSY != Flags::NONE {
            // Also what others may take from the file before anybody looked at it.
            let filed = Marks { keywords: written, ..marks };
            log.put(Fact::Marks([uid].into_iter().collect(), marks, filed));
            log.flush()?;
            inner.freshly_filed.push((uid, filed));
        }
        Ok((uid, block))
    }

    /// The bits of these keywords. One that the folder has no room for was refused before; after a crash mail counts for more.
    fn keywords_of(&self, inner: &mut Inner, names: &[String]) -> Result<u64, MailboxError> {
        self.in_turn(inner, |inner| {
            let Some(log) = inner.log.as_mut() else { return Err(MailboxError::Gone) };
            let count = log.sum.keywords.names().len();
            let bits = log.add_keywords(names.iter().map(String::as_str));
            if log.sum.keywords.names().len() > count {
                // The file names what the log must know.
                log.sync()?;
            }
            Ok(bits)
        })
    }
}

/// What has to be written so that the file ends in an empty line. An error if it is no mbox.
pub(super) fn separator(file: &dyn File, size: u64) -> Result<&'static [u8], MailboxError> {
    let mut first = [0; 5];
    let read = file.read_at(&mut first, 0)?;
    if !first.get(..read).unwrap_or_default().starts_with(b"From ") {
        return Err(MailboxError::Refused("mailbox does not begin with a From line"));
    }
    let mut last = [0; 3];
    let from = size.saturating_sub(3);
    let read = file.read_at(&mut last, from)?;
    Ok(end_of(last.get(..read).unwrap_or_default()))
}

/// What has to follow these last bytes of a file.
pub(super) fn end_of(last: &[u8]) -> &'static [u8] {
    match last {
        [.., b'\n', b'\n'] | [.., b'\n', b'\r', b'\n'] => b"",
        [.., b'\n'] => b"\n",
        _ => b"\n\n",
    }
}

impl From<io::Error> for MailboxError {
    fn from(error: io::Error) -> MailboxError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => MailboxError::Full,
            _ => MailboxError::Io(error),
        }
    }
}
