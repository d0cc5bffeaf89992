//! Untagged data about the selected mailbox: what changed since the session last looked (RFC 9051 §7.5), as far as it is to be
//! told ([`notify`](super::notify)).

use super::answer::End;
use super::grammar::fetch::Item;
use super::grammar::show_uids;
use super::search::Wanted;
use super::select::Selected;
use super::session::Session;
use crate::mailbox::{Changes, Flags, Keywords, MailboxError, Selected as Message, Summary, Tell, Uid};
use std::io::Write;

/// Messages that are looked up at a time.
const BATCH: usize = 1024;

impl Session<'_> {
    /// Tells what changed, as far as the client wants to know. Without `gone` the session's numbers stay as they are.
    pub(super) fn catch_up(&mut self, gone: bool) -> Result<(), End> {
        self.catch_up_but(gone, &[])
    }

    /// The same, but of these messages (ascending) marks are not told, up to the mod-sequence that was told or will be.
    pub(super) fn catch_up_but(&mut self, gone: bool, but: &[(Uid, u64)]) -> Result<(), End> {
        self.catch_up_some(self.tells(gone), but).map(drop)
    }

    /// Messages that this session removed are told of, whatever the client wants to know of others.
    pub(super) fn tell_removed(&mut self) -> Result<(), End> {
        if self.tells(true).gone { Ok(()) } else { self.catch_up_some(Tell { gone: true, ..Tell::NONE }, &[]).map(drop) }
    }

    /// Gives the messages whose marks changed, by number and UID, ascending.
    pub(super) fn catch_up_some(&mut self, tell: Tell, but: &[(Uid, u64)]) -> Result<Vec<(u32, Uid)>, End> {
        if tell == Tell::NONE {
            return Ok(Vec::new());
        }
        let (wanted, own) = self.wanted_of_new();
        let Some(mut selected) = self.selected.take() else { return Ok(Vec::new()) };
        let known = selected.view.count().unwrap_or_default();
        let told = self.tell_changes(&mut selected, tell, but).and_then(|changes| {
            let from = known.saturating_sub(changes.gone.len() as u32) + 1;
            let (lines, found) = self.update_results(&mut selected, &changes, from);
            if let Some(count) = changes.exists.filter(|_| !wanted.is_empty() || !found.is_empty()) {
                let mut new = selected.view.select(&[from..=count], false).unwrap_or_default();
                new.retain(|message| !own.contains(&message.uid));
                self.tell_each(&selected, new, &wanted, &found)?;
            }
            selected.lines.extend(lines);
            // They come behind the FETCH with the marks, which the caller tells of some (RFC 5465 §5.1).
            let lines = if but.is_empty() { std::mem::take(&mut selected.lines) } else { Vec::new() };
            lines.iter().try_for_each(|line| self.tell(format_args!("{line}")))?;
            Ok(changes.marked)
        });
        self.selected = Some(selected);
        told
    }

    /// Tells of messages that came what the client wants to know of all, and of those that a search found.
    fn tell_each(&mut self, selected: &Selected, new: Vec<Message>, of_all: &[Item], found: &[Wanted]) -> Result<(), End> {
        for message in new {
            let mut items = of_all.to_vec();
            for item in found.iter().filter(|(number, _)| *number == message.number).flat_map(|(_, items)| items) {
                items.extend((!items.contains(item)).then(|| item.clone()));
            }
            if !items.is_empty() {
                self.tell_new(selected, message, &items)?;
            }
        }
        Ok(())
    }

    fn tell_changes(&mut self, selected: &mut Selected, tell: Tell, but: &[(Uid, u64)]) -> Result<Changes, End> {
        let changes = match selected.view.sync_some(tell) {
            Ok(changes) => changes,
            // It was deleted, or what stands in its place has other numbers (RFC 2180 §3).
            Err(MailboxError::Gone | MailboxError::Nonexistent) => return Err(End::Thrown("the mailbox is no more")),
            // Another program has it; the next look will see.
            Err(_) => {
                self.look_again = true;
                return Ok(Changes::default());
            }
        };
        self.tell_lost_results(selected, &changes.gone)?;
        if self.enabled.qresync && !changes.gone.is_empty() {
            let vanished = show_uids(changes.gone.iter().rev().map(|(_, uid)| uid));
            self.tell(format_args!("VANISHED {vanished}"))?;
        } else {
            for (number, _) in &changes.gone {
                self.tell(format_args!("{number} EXPUNGE"))?;
            }
        }
        if !changes.gone.is_empty() && !self.saved.is_empty() {
            self.saved.retain(|uid| !changes.gone.iter().any(|(_, gone)| gone == uid));
        }
        if let Some(count) = changes.exists {
            self.tell(format_args!("{count} EXISTS"))?;
            let _ = if selected.read_only { selected.view.borrow_recent() } else { selected.view.claim_recent() };
            self.tell_recent(selected)?;
        }
        self.tell_keywords(selected)?;
        let mut but = but.iter().peekable();
        let view = &selected.view;
        let marked = changes.marked.iter().copied().filter(|(_, uid)| {
            // Both ascend.
            while but.next_if(|(but, _)| but < uid).is_some() {}
            // What was told of it may be out of date again.
            let told = but.peek().filter(|(but, _)| but == uid).map_or(0, |(_, modseq)| *modseq);
            told == 0 || view.message(*uid).is_ok_and(|now| now.is_some_and(|now| now.modseq > told))
        });
        self.tell_marks_of(selected, marked, true)?;
        Ok(changes)
    }

    /// Expunges wait for a command that may tell them. A client that goes by the mod-sequences it was told would never hear of
    /// them if it left now: it is to come back with one from before (RFC 7162 §3.2, §6).
    pub(super) fn tell_what_waits(&mut self) -> Result<(), End> {
        let selected = self.selected.as_deref().filter(|_| self.enabled.qresync);
        match selected.and_then(|selected| selected.view.waiting_modseq()) {
            Some(waits) => self.tell(format_args!("OK [HIGHESTMODSEQ {}] expunges wait", waits.saturating_sub(1).max(1))),
            None => Ok(()),
        }
    }

    /// IMAP4rev2 knows no recent messages.
    pub(super) fn tell_recent(&mut self, selected: &Selected) -> Result<(), End> {
        if self.enabled.rev2 {
            return Ok(());
        }
        let recent = selected.view.recent();
        self.tell(format_args!("{recent} RECENT"))
    }

    /// FLAGS, when there are keywords the session was not told of (RFC 9051 §7.3.5).
    pub(super) fn tell_keywords(&mut self, selected: &mut Selected) -> Result<(), End> {
        let keywords = selected.view.keywords();
        if keywords == selected.keywords {
            return Ok(());
        }
        selected.keywords = keywords;
        self.tell_flags(selected)
    }

    pub(super) fn tell_flags(&mut self, selected: &Selected) -> Result<(), End> {
        let mut names = Flags::ALL.to_string();
        selected.keywords.names().iter().for_each(|name| names += &format!(" {name}"));
        self.tell(format_args!("FLAGS ({names})"))?;
        // RFC 9051 §7.1, PERMANENTFLAGS
        let more = if selected.keywords.is_full() { "" } else { " \\*" };
        let permanent = if selected.read_only { String::new() } else { format!("{names}{more}") };
        self.tell(format_args!("OK [PERMANENTFLAGS ({permanent})] these are kept"))
    }

    /// FETCH of what may have changed of a message without its text.
    pub(super) fn tell_marks(&mut self, selected: &Selected, number: u32, summary: &Summary, flags: bool) -> Result<(), End> {
        let mut line = Vec::with_capacity(128);
        self.push_marks(selected, number, summary, flags, &mut line);
        Ok(self.connection.put(&line)?)
    }

    /// The same of many, with number and UID of each, as they are now.
    pub(super) fn tell_marks_of(
        &mut self,
        selected: &Selected,
        messages: impl Iterator<Item = (u32, Uid)>,
        flags: bool,
    ) -> Result<(), End> {
        let mut messages = messages.peekable();
        let mut lines = Vec::new();
        while messages.peek().is_some() {
            let (numbers, uids): (Vec<u32>, Vec<Uid>) = messages.by_ref().take(BATCH).unzip();
            let Ok(now) = selected.view.summaries(&uids) else { return Ok(()) };
            lines.clear();
            for (number, now) in numbers.into_iter().zip(now) {
                now.iter().for_each(|now| self.push_marks(selected, number, now, flags, &mut lines));
            }
            self.connection.put(&lines)?;
        }
        Ok(())
    }

    fn push_marks(&self, selected: &Selected, number: u32, summary: &Summary, flags: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"* ");
        push_number(number, out);
        out.extend_from_slice(b" FETCH (UID ");
        push_number(summary.uid.0, out);
        if flags {
            out.extend_from_slice(b" FLAGS (");
            push_flags(summary, &selected.keywords, selected.view.is_recent(summary.uid) && !self.enabled.rev2, out);
            out.push(b')');
        }
        if self.enabled.condstore {
            let _ = write!(out, " MODSEQ ({})", summary.modseq);
        }
        out.extend_from_slice(b")\r\n");
    }
}

/// Writes a number without the formatting machinery: there may be 50,000 of them.
pub(super) fn push_number(number: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let (mut rest, mut first) = (number, digits.len());
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        (rest, first) = (rest / 10, first - 1);
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// A message's flags, keywords among them.
pub(super) fn push_flags(summary: &Summary, keywords: &Keywords, recent: bool, out: &mut Vec<u8>) {
    let start = out.len();
    let mut push = |name: &str| {
        if out.len() > start {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
    };
    summary.marks.flags.names().for_each(&mut push);
    keywords.of(summary.marks.keywords).for_each(&mut push);
    if recent {
        push("\\Recent");
    }
}
