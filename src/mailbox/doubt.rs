//! What is not known of a big file to whose end others wrote: whether they changed anything before it. All of it is looked at
//! again in idle time. Till then a message is looked at where it should stand before its bytes are shown or overwritten, and what
//! depends on the places of all of them waits.

use super::MailboxError;
use super::inbox::{Inner, Mailbox, Try};
use super::mbox::LONGEST_FROM;
use super::refresh::Loaded;
use super::table::Row;
use crate::sys::File;
use std::collections::HashSet;
use std::time::Duration;

/// So many times as long as it took to look at a whole file passes until that is done again in idle time.
const SELDOM: u32 = 50;

/// Others may have changed more than the end that was looked at.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    pub open: bool,
    /// These were looked at since: they stand where the table says.
    stand: HashSet<u32>,
    /// Not before this time, by the clock's `elapsed`, all of the file is looked at for that.
    next: Duration,
}

impl Doubt {
    /// Others wrote, and only the end was looked at.
    pub fn begin(&mut self) {
        self.open = true;
        self.stand.clear();
    }

    /// All of the file was looked at.
    pub fn end(&mut self) {
        self.open = false;
        self.stand = HashSet::new();
    }
}

impl Mailbox {
    /// Do these messages stand in the locked file as the table says? If not, the next look is at the whole file.
    pub(super) fn vouch(&self, inner: &mut Inner, file: &dyn File, rows: &[Row]) -> Result<bool, MailboxError> {
        if !inner.doubt.open {
            return Ok(true);
        }
        for row in rows.iter().filter(|row| !inner.doubt.stand.contains(&row.uid)).collect::<Vec<_>>() {
            if !self.stands(file, row)? {
                inner.distrust();
                return Ok(false);
            }
            inner.doubt.stand.insert(row.uid);
        }
        Ok(true)
    }

    fn stands(&self, file: &dyn File, row: &Row) -> Result<bool, MailboxError> {
        // It ends where the next one begins.
        let end = (row.offset + row.length + LONGEST_FROM as u64).min(file.stat()?.size);
        match self.scan(file, row.offset, end) {
            Err(MailboxError::Refused(_)) => Ok(false),
            scan => Ok(scan?.messages.first().is_some_and(|found| {
                (found.offset, found.length, found.key) == (row.offset, row.length, row.key) && row.stands_as(found)
            })),
        }
    }

    /// Looks at the whole of such a file, if nobody has it locked, and not too often.
    pub(super) fn look_once_more(&self, inner: &mut Inner) {
        let begun = self.shared.clock.elapsed();
        if !inner.doubt.open || begun < inner.doubt.next {
            return;
        }
        let Ok(Try::Locked(guard, stat)) = self.try_lock(inner) else { return };
        inner.table.iter_mut().for_each(Loaded::distrust);
        if let Err(error) = self.refresh(inner, Some(&*guard.file), stat.into()) {
            log::warn!("event=look-failed path={} error={error}", self.spot().path.display());
        }
        let ended = self.shared.clock.elapsed();
        inner.doubt.next = ended + ended.saturating_sub(begun) * SELDOM;
    }
}
