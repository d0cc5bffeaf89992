//! Where each message of a mailbox stands and how it is marked: one table for all sessions of a mailbox. Pure.
//!
//! A session's view is this table up to the last message it was told of, and what was expunged since and it was not told.

use super::flags::{Filed, Flags, Keywords, Marks, merge};
use super::scan::{Kind, Message, Scan};
use super::secret::Key;
use super::state::Intent;
use crate::sys::Time;
use std::collections::BTreeMap;

/// The save date of a message that another program put there.
pub(super) const UNKNOWN: Time = Time(i64::MIN);
/// The zone of an internal date that came without one.
pub(super) const NO_ZONE: i16 = i16::MIN;

/// One message. A big mailbox has a lot of these: they are packed, without the room that would align them.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[repr(Rust, packed(4))]
pub(super) struct Row {
    pub uid: u32,
    /// Bytes of the header.
    pub header: u32,
    /// Bytes of the `From ` line.
    pub from: u16,
    /// Bytes of the state fields that end the header, if the message carries its UID in them; else zero.
    pub room: u16,
    /// Bytes of the empty line after the header.
    pub blank: u8,
    /// Bytes between the body and the next message: of the empty line that separates them.
    pub gap: u8,
    /// The file is behind `marks`, and has room for them.
    pub pending: bool,
    pub offset: u64,
    pub length: u64,
    /// Bytes in wire form.
    pub wire: u64,
    pub key: Key,
    pub marks: Marks,
    /// What the file said of them when it was last looked at or written.
    pub filed: Marks,
    /// Of the last change to the marks, or of the arrival (RFC 7162 §3).
    pub modseq: u64,
    /// Internal date.
    pub date: Time,
    /// When it came here (RFC 8514), or [`UNKNOWN`].
    pub saved: Time,
    /// Of the internal date, in minutes, or [`NO_ZONE`].
    pub zone: i16,
}

impl Row {
    /// Where the header begins in the file.
    pub fn header_at(&self) -> u64 {
        self.offset + u64::from(self.from)
    }

    /// Where the body begins in the file.
    pub fn body_at(&self) -> u64 {
        self.header_at() + u64::from(self.header) + u64::from(self.blank)
    }

    /// Bytes of the body in the file.
    pub fn body(&self) -> u64 {
        (self.offset + self.length).saturating_sub(self.body_at() + u64::from(self.gap))
    }

    /// Where the state fields begin that may be written over.
    pub fn room_at(&self) -> u64 {
        self.header_at() + u64::from(self.header) - u64::from(self.room)
    }

    /// It reaches as far as this one, which is the same; an empty line may have been added to it.
    pub fn reach(&mut self, message: &Message) {
        (self.length, self.gap) = (message.length, message.gap());
    }

    /// Are the marks what the file says?
    pub fn is_filed(&self) -> bool {
        self.marks == self.filed
    }

    /// Does the file still say of it what is known here, at the same places?
    pub fn stands_as(&self, message: &Message) -> bool {
        let places = (message.from, message.header, message.blank);
        places == (u32::from(self.from), self.header, self.blank) && message.filed.marks.flags == self.filed.flags
    }

    fn new(uid: u32, carries: bool, message: &Message, filed: Filed) -> Row {
        Row {
            uid,
            header: message.header,
            from: u16::try_from(message.from).unwrap_or(u16::MAX),
            room: if carries { message.room } else { 0 },
            blank: message.blank,
            gap: message.gap(),
            pending: false,
            offset: message.offset,
            length: message.length,
            wire: message.wire,
            key: message.key,
            marks: filed.marks,
            filed: filed.marks,
            modseq: 0,
            date: message.date,
            saved: message.saved,
            zone: message.zone,
        }
    }
}

/// All messages that are mail, in UID order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub rows: Vec<Row>,
    /// No message that was ever in this table has this UID or a greater one.
    pub top: u32,
    /// The last message of the file, mail or not.
    pub last: Option<(u64, Key)>,
    /// Mail that is to be removed, and not shown.
    pub doomed: Vec<Row>,
    /// There are dead messages in the file.
    pub buried: bool,
    /// There is c-client's pseudo-message.
    pub internal: bool,
}

/// What is known of messages apart from the file.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// What is to be removed.
    pub intents: &'a BTreeMap<u32, Intent>,
    /// Marks that the file or the index may not have, and what the file said when they were noted.
    pub marks: &'a BTreeMap<u32, (Marks, Marks)>,
    pub keywords: &'a Keywords,
    /// Those of them that the base line lists: messages of other servers may have these (`X-Keywords`), and no others.
    pub listed: u64,
}

/// What a look into the file changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Messages that are not there any more.
    pub gone: Vec<u32>,
    /// Messages came, or marks changed.
    pub news: bool,
    /// Others changed what the file says of these: UID, marks, what the file says now.
    pub noted: Vec<(u32, Marks, Marks)>,
}

/// A message of a scan and what it is called.
#[derive(Copy, Clone, Debug)]
pub(super) struct Named<'a> {
    pub uid: u32,
    /// The file itself says so.
    pub carries: bool,
    pub message: &'a Message,
}

impl Table {
    /// Of a mailbox without messages.
    pub const EMPTY: Table = Table { rows: Vec::new(), top: 0, last: None, doomed: Vec::new(), buried: false, internal: false };

    /// Where the message of that UID is in `rows`.
    pub fn at(&self, uid: u32) -> Option<usize> {
        self.rows.binary_search_by_key(&uid, |row| row.uid).ok()
    }

    /// The same; it is guessed to be at `guess`, as it is of one who goes through messages in their order.
    pub fn at_or_near(&self, guess: usize, uid: u32) -> Option<usize> {
        if self.rows.get(guess).is_some_and(|row| row.uid == uid) { Some(guess) } else { self.at(uid) }
    }

    /// The message of that UID.
    pub fn find(&self, uid: u32) -> Option<&Row> {
        self.rows.get(self.at(uid)?)
    }

    /// UID and content of all that stood in the file, and of those that are to be removed, as far as `is_doomed` says that
    /// they still are; ascending.
    pub fn stood(&self, is_doomed: impl Fn(u32) -> bool) -> Vec<(u32, Key)> {
        let doomed = self.doomed.iter().filter(|row| is_doomed(row.uid));
        let mut all: Vec<(u32, Key)> = self.rows.iter().chain(doomed).map(|row| (row.uid, row.key)).collect();
        if !self.doomed.is_empty() {
            all.sort_unstable_by_key(|(uid, _)| *uid);
        }
        all
    }

    /// The message there, be it one that is to be removed.
    pub fn standing_at(&mut self, offset: u64) -> Option<&mut Row> {
        self.rows.iter_mut().chain(&mut self.doomed).find(|row| row.offset == offset)
    }

    /// How many messages have a UID below this one.
    pub fn below(&self, uid: u32) -> usize {
        self.rows.partition_point(|row| row.uid < uid)
    }

    /// Takes in what a scan found: of the whole file, or of what came behind what the table has. What changes gets `modseq`.
    pub fn take(
        &mut self,
        scan: &Scan,
        named: &[Option<(u32, bool)>],
        whole: bool,
        known: &Known<'_>,
        modseq: u64,
    ) -> Difference {
        self.last = scan.messages.last().map(|message| (message.offset, message.key)).or(self.last.filter(|_| !whole));
        let before = if whole { std::mem::take(&mut self.rows) } else { Vec::new() };
        if whole {
            (self.doomed, self.buried, self.internal) = (Vec::new(), false, false);
        }
        let mut found: Vec<Named<'_>> = Vec::with_capacity(scan.messages.len());
        for (message, name) in scan.messages.iter().zip(named) {
            match name {
                Some((uid, carries)) => found.push(Named { uid: *uid, carries: *carries, message }),
                None => {
                    self.buried |= message.kind == Kind::Dead;
                    self.internal |= message.kind == Kind::Internal;
                }
            }
        }
        found.sort_by_key(|named| named.uid);
        let mut difference = Difference::default();
        let mut before = before.into_iter().peekable();
        // Mailboxes grow a little at a time; to double them would be a waste.
        if self.rows.capacity() < self.rows.len() + found.len() {
            self.rows.reserve_exact(if whole { found.len() } else { found.len().max(self.rows.len() / 16) });
        }
        for named in found {
            while let Some(old) = before.next_if(|old| old.uid < named.uid) {
                difference.gone.push(old.uid);
            }
            let old = before.next_if(|old| old.uid == named.uid).filter(|old| old.key == named.message.key);
            self.enter(named, old, known, modseq, &mut difference);
        }
        difference.gone.extend(before.map(|old| old.uid));
        self.top = self.rows.last().map_or(self.top, |row| self.top.max(row.uid.saturating_add(1)));
        difference
    }

    fn enter(&mut self, named: Named<'_>, old: Option<Row>, known: &Known<'_>, modseq: u64, difference: &mut Difference) {
        let Named { uid, carries, message } = named;
        let before = old.map(|old| (old.marks, old.filed)).or(known.marks.get(&uid).copied());
        let mut filed = message.filed;
        let told = message.keywords.as_deref().map_or(0, |names| known.keywords.bits(names));
        filed.marks.keywords = match carries {
            true => told,
            // Of the others the file has nothing to say.
            false => (told & known.listed) | before.map_or(0, |(_, before)| before.keywords & !known.listed),
        };
        let mut row = Row::new(uid, carries, message, filed);
        if known.intents.get(&uid).is_some_and(|intent| intent.key == message.key) {
            self.doomed.push(row);
            return;
        }
        row.modseq = modseq;
        if let Some((marks, before)) = before {
            row.marks = merge(marks, before, filed);
        }
        match old {
            Some(old) if old.marks == row.marks => row.modseq = old.modseq,
            _ => difference.news = true,
        }
        if before.is_some_and(|before| before != (row.marks, row.filed)) {
            difference.noted.push((uid, row.marks, row.filed));
        }
        row.pending = row.room > 0 && !row.is_filed();
        self.rows.push(row);
    }

    /// Nothing but the dead?
    pub fn is_hollow(&self) -> bool {
        self.buried && !self.internal && self.rows.is_empty() && self.doomed.is_empty()
    }

    /// These are not shown any more.
    pub fn doom(&mut self, doomed: &[Row]) {
        let mut uids: Vec<u32> = doomed.iter().map(|row| row.uid).collect();
        uids.sort_unstable();
        // Both ascend. What comes before the first stays where it is.
        let first = uids.first().map_or(self.rows.len(), |uid| self.below(*uid));
        let mut uids = uids.into_iter().peekable();
        let mut at = 0;
        self.rows.retain(|row| {
            at += 1;
            if at <= first {
                return true;
            }
            while uids.next_if(|uid| *uid < row.uid).is_some() {}
            uids.peek() != Some(&row.uid)
        });
        self.doomed.extend_from_slice(doomed);
    }

    /// If the last message of the file is among these, another is the last we know.
    pub fn forget_last(&mut self, gone: &[Row]) {
        if self.last.is_some_and(|(offset, _)| gone.iter().any(|row| row.offset == offset)) {
            let last = self.rows.iter().chain(&self.doomed).max_by_key(|row| row.offset);
            self.last = last.map(|row| (row.offset, row.key));
        }
    }

    /// Messages, unseen ones, those marked as deleted, and bytes in wire form (RFC 3501 §6.3.10, RFC 9051 §6.3.11).
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { messages: self.rows.len() as u32, ..Counts::default() };
        for row in &self.rows {
            counts.unseen += u32::from(!row.marks.flags.has(Flags::SEEN));
            counts.deleted += u32::from(row.marks.flags.has(Flags::DELETED));
            counts.size += row.wire;
        }
        counts
    }
}

/// What STATUS tells.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages.
    pub messages: u32,
    /// Of these without `\Seen`.
    pub unseen: u32,
    /// Of these with `\Deleted`.
    pub deleted: u32,
    /// Bytes in wire form.
    pub size: u64,
}
