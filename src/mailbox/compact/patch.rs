//! Writes over bytes in the middle of a mailbox, by the same steps in which messages move: after a crash all of a step is done or,
//! when somebody next locks the mailbox, it is.
//!
//! So the first message gets the base line back that other programs look for: mutt takes it away with the message that had it.

use super::plan::{Kind, Stretch};
use super::redo::{Part, Redo};
use super::{STEP, carry_on};
use crate::mailbox::MailboxError;
use crate::mailbox::checkpoint::first_state;
use crate::mailbox::inbox::{Inner, Mailbox, Try};
use crate::sys::File;
use std::io;

/// What is to stand in a place, of as many bytes as stand there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mailbox) struct Patch {
    pub at: u64,
    pub bytes: Vec<u8>,
}

impl Patch {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

impl Mailbox {
    /// Writes these into the locked file. They are in order, and none lies over another.
    pub(in crate::mailbox) fn patch(&self, inner: &mut Inner, file: &dyn File, patches: &[Patch]) -> Result<(), MailboxError> {
        carry_on(self, inner, |inner| {
            let mut rest = patches;
            while let Some(start) = rest.first().map(|first| first.at) {
                let count = rest.iter().take_while(|patch| patch.end() - start <= STEP).count().max(1);
                let (now, later) = rest.split_at(count);
                let (mut parts, mut at) = (Vec::new(), start);
                for patch in now {
                    parts.extend([Part::Data(at - start, patch.at - at), Part::Bytes(patch.bytes.clone())]);
                    at = patch.end();
                }
                parts.retain(|part| part.len() > 0);
                let redo = Redo { window: start..at, old: vec![Part::Data(0, at - start)], new: parts, ..Redo::default() };
                let before = inner.is_as_known(file.stat()?.into());
                self.carry_out(inner, file, &redo, &[Stretch { kind: Kind::Alive, offset: start, length: at - start }])?;
                self.stepped(inner, file, before)?;
                rest = later;
            }
            Ok(())
        })
    }

    /// Gives the first message the base line that it lacks, if everything is durable and it has the room.
    pub(in crate::mailbox) fn heal_base_line(&self, inner: &mut Inner) -> Result<(), MailboxError> {
        if !inner.is_settled() || !self.exists()? {
            return Ok(());
        }
        let Try::Locked(guard, stat) = self.try_lock_to_change(inner)? else { return Ok(()) };
        let file = &*guard.file;
        self.refresh(inner, Some(file), stat.into())?;
        match self.missing_base_line(inner, file)?.filter(|_| inner.is_settled()) {
            Some(patch) => {
                log::info!("event=base-line-restored path={}", self.spot().path.display());
                self.patch(inner, file, &[patch])
            }
            None => Ok(()),
        }
    }

    /// The first message's block with a base line, where it has one without, and the room. The table describes the file.
    pub(in crate::mailbox) fn missing_base_line(&self, inner: &Inner, file: &dyn File) -> io::Result<Option<Patch>> {
        let is_first = inner.rows().rows.iter().any(|row| row.offset == 0 && row.room > 0);
        if !is_first || first_state(file)?.1.base.is_some() {
            return Ok(None);
        }
        Ok(self.front(inner, file)?.map(|(at, bytes)| Patch { at, bytes }))
    }
}
