//! A mailbox that does not begin with a `From ` line: what stands before the first message becomes a message, and nothing of it is lost.
//!
//! It needs a little room for its `From ` line. The file is made that much longer at its end, and the messages move up, the
//! last first, in the steps in which they else move down, until the room is where it is needed.

use super::plan::{Kind, Stretch};
use super::redo::{Part, Redo, Saved};
use super::{SMALLEST, STEP, carry_on, filler};
use crate::mail::{date, header};
use crate::mailbox::inbox::{Inner, Mailbox};
use crate::mailbox::scan::Message;
use crate::mailbox::{MailboxError, deliver, mbox, recover};
use crate::sys::{File, Time};
use std::collections::HashMap;
use std::io::{self, IoSlice};

/// So many blanks may fill a `From ` line up.
const MOST_BLANKS: usize = mbox::LONGEST_FROM / 2;
/// The header of what never had one.
const HEADER: &str = "Subject: found in the mailbox, without a From line\n\n";

/// What makes a message of the bytes that follow, in exactly so many bytes. `bare`: they have no header of their own.
pub(in crate::mailbox) fn opening(length: u64, bare: bool, now: Time) -> Option<Vec<u8>> {
    let (sender, rest) = ("From MAILER-DAEMON", format!(" {}\n{}", date::asctime(now), if bare { HEADER } else { "" }));
    let blanks = usize::try_from(length).ok()?.checked_sub(sender.len() + rest.len())?;
    (blanks <= MOST_BLANKS).then(|| format!("{sender}{}{rest}", " ".repeat(blanks)).into_bytes())
}

/// Does what stands here not begin with a header?
pub(in crate::mailbox) fn is_bare(file: &dyn File, from: u64, to: u64) -> io::Result<bool> {
    let mut bytes = vec![0; (64 << 10).min(usize::try_from(to - from).unwrap_or(usize::MAX))];
    let read = file.read_at(&mut bytes, from)?;
    bytes.truncate(read);
    Ok(header::fields(&bytes).next().is_none_or(|field| field.name.is_empty()))
}

/// The least that [`opening`] needs.
fn least(bare: bool, now: Time) -> u64 {
    (0..).find(|length| opening(*length, bare, now).is_some()).unwrap_or(0)
}

impl Mailbox {
    /// Mends the locked file, which does not begin with a `From ` line. Gives how many bytes stood there, and whether there was
    /// anything in them.
    pub(in crate::mailbox) fn mend_front(&self, inner: &mut Inner, file: &dyn File) -> Result<(u64, bool), MailboxError> {
        let mut size = file.stat()?.size;
        let first = recover::first_message(file, size)?;
        let (is_empty, bare, mut last) = (is_blank(file, first)?, is_bare(file, 0, first)?, [0; 3]);
        let kept = last.len().min(usize::try_from(first).unwrap_or(usize::MAX));
        file.read_exact_at(last.get_mut(..kept).unwrap_or_default(), first - kept as u64)?;
        let closing = deliver::end_of(last.get(..kept).unwrap_or_default());
        let now = self.shared.clock.now();
        let room = SMALLEST.max(least(bare, now) + closing.len() as u64);
        if !is_empty {
            self.save(file, 0, first)?;
        }
        self.index_goes_stale(inner)?;
        let end = self.end_of_file(file, size)?;
        if first < size && !end.is_empty() {
            file.write_at(&[IoSlice::new(end)], size)?;
            size += end.len() as u64;
        }
        let messages = if first < size { self.scan(file, first, size)?.messages } else { Vec::new() };
        file.set_len(size + room)?;
        let opening = opening(room - closing.len() as u64, bare, now).filter(|_| !is_empty);
        carry_on(self, inner, |inner| {
            let gap = self.move_up(inner, file, &messages, first..size, room)?;
            let data = Part::Data(0, first);
            let parts = match opening {
                Some(opening) => vec![Part::Bytes(opening), data.clone(), Part::Bytes(closing.to_vec())],
                None => filler(first + room, None)?,
            };
            let old = [vec![data], gap].concat();
            let redo = redo(0..first + room, old, parts, Vec::new());
            self.carry_out(inner, file, &redo, &[Stretch { kind: Kind::Stays, offset: 0, length: first }])
        })?;
        inner.distrust();
        Ok((first, !is_empty))
    }

    /// Moves messages up by the room that is NUL behind them; it is a dead message before them then. Gives what stands in it.
    fn move_up(
        &self,
        inner: &mut Inner,
        file: &dyn File,
        messages: &[Message],
        range: std::ops::Range<u64>,
        room: u64,
    ) -> Result<Vec<Part>, MailboxError> {
        let mut copies: HashMap<_, u64> = HashMap::new();
        messages.iter().for_each(|message| *copies.entry(message.key).or_default() += 1);
        let (mut gap, mut to, mut rest) = (vec![Part::Nuls(room)], range.end, messages);
        while let Some(last) = rest.last() {
            let fits = |message: &&Message| to - message.offset <= STEP;
            let count = rest.iter().rev().take_while(fits).count().max(1);
            let (before, group) = rest.split_at(rest.len() - count);
            let from = group.first().unwrap_or(last).offset;
            let saved = |message: &Message| Saved {
                from: message.offset - from,
                length: message.length,
                key: message.key,
                copies: copies.get(&message.key).copied().unwrap_or(1),
            };
            let alive = group.iter().filter(|message| message.kind == crate::mailbox::scan::Kind::Alive);
            let fresh = filler(room, None)?;
            let data = vec![Part::Data(0, to - from)];
            let (old, new) = ([data.clone(), gap].concat(), [fresh.clone(), data].concat());
            let redo = redo(from..to + room, old, new, alive.map(saved).collect());
            self.carry_out(inner, file, &redo, &[Stretch { kind: Kind::Alive, offset: from, length: to - from }])?;
            (gap, to, rest) = (fresh, from, before);
        }
        Ok(gap)
    }

    /// What has to follow so that the file ends in an empty line, whatever it begins with.
    pub(in crate::mailbox) fn end_of_file(&self, file: &dyn File, size: u64) -> io::Result<&'static [u8]> {
        let mut last = [0; 3];
        let read = file.read_at(&mut last, size.saturating_sub(3))?;
        Ok(if size == 0 { b"" } else { deliver::end_of(last.get(..read).unwrap_or_default()) })
    }
}

fn redo(window: std::ops::Range<u64>, mut old: Vec<Part>, mut new: Vec<Part>, messages: Vec<Saved>) -> Redo {
    [&mut old, &mut new].into_iter().for_each(|parts| parts.retain(|part| part.len() > 0));
    Redo { window, old, new, messages, cut: false }
}

/// Are the first bytes of the file nothing but NULs, blanks and line ends?
fn is_blank(file: &dyn File, length: u64) -> io::Result<bool> {
    recover::pieces(file, 0, length, |bytes| bytes.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()))
}
