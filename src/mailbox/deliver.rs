//! Appends a copy: one write under the locks, no sync. The copy is durable, and settled, after the next checkpoint.

use super::compose::Letter;
use super::inbox::{Dirty, Inner, Mailbox, Stamp};
use super::lock::Guard;
use super::mbox::Base;
use super::{Copy, MailboxError, Uid};
use crate::sys::File;
use std::io;

impl Mailbox {
    /// Appends one copy. It can be read at once; it is durable, and settled, after the next checkpoint.
    pub fn deliver(&self, copy: &Copy<'_>) -> Result<Uid, MailboxError> {
        let letter = Letter::new(copy, &self.keys.secret)?;
        let mut inner = self.enter();
        let (guard, stat) = self.lock(&mut inner)?;
        self.append(&mut inner, &guard, stat.into(), copy, &letter)
    }

    /// Appends to the locked file, which is as `now` says.
    pub(super) fn append(
        &self,
        inner: &mut Inner,
        guard: &Guard<'_>,
        now: Stamp,
        copy: &Copy<'_>,
        letter: &Letter<'_>,
    ) -> Result<Uid, MailboxError> {
        let file = &*guard.file;
        self.ready(inner, Some(file), now.size)?;
        if inner.others && !inner.is_as_known(now).0 {
            self.refresh(inner, Some(file), now)?;
            inner.next = inner.next.max(inner.rows().top);
        }
        let before = inner.is_as_known(now);
        let separator: &[u8] = if before.0 || now.size == 0 { b"" } else { separator(file, now.size)? };
        if now.size == 0 {
            self.saw_empty();
        }
        let uid = inner.give_uid()?;
        let validity = inner.validity();
        let base = (now.size == 0).then_some(Base { validity, last: uid });
        let seal = self.keys.secret.seal(&self.places.label, validity, uid, &letter.key);
        let block = letter.block(base, uid, seal);
        inner.known = None;
        let written = letter.write(file, now.size, separator, &block);
        let check = match written {
            Ok(check) => check,
            Err(error) => {
                // A part of it may be there. It is taken back while nobody else can have written after it.
                // It is made sure that it does not come back under what is written there next.
                if let Err(error) = file.set_len(now.size).and_then(|()| file.sync()) {
                    log::error!("event=truncate-failed path={} size={} error={error}", self.spot().path.display(), now.size);
                }
                return Err(error.into());
            }
        };
        inner.wrote(now.size);
        match file.stat() {
            Ok(stat) => inner.has_become((true, before.1), stat.into()),
            Err(_) => inner.known = None,
        }
        let offset = now.size + separator.len() as u64;
        let (id, recipient, key) = (copy.id, copy.recipient, letter.key);
        inner.dirty.push(Dirty { id, recipient, key, offset, length: letter.len(), check });
        self.seats.ring();
        Ok(Uid(uid))
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
