//! Untagged data about the selected mailbox: what changed since the session last looked (RFC 9051 §7.5), as far as it is to be
//! told ([`notify`](super::notify)).

use super::answer::End;
use super::grammar::show_uids;
use super::select::Selected;
use super::session::Session;
use crate::mailbox::{Flags, Keywords, MailboxError, Summary, Tell, Uid};
use std::fmt::Write;

impl Session<'_> {
    /// Tells what changed, as far as the client wants to know. Without `gone` the session's numbers stay as they are.
    pub(super) fn catch_up(&mut self, gone: bool) -> Result<(), End> {
        self.catch_up_but(gone, &[])
    }

    /// The same, but of these messages (ascending) marks are not told.
    pub(super) fn catch_up_but(&mut self, gone: bool, but: &[Uid]) -> Result<(), End> {
        self.catch_up_some(self.tells(gone), but)
    }

    /// Messages that this session removed are told of, whatever the client wants to know of others.
    pub(super) fn tell_removed(&mut self) -> Result<(), End> {
        if self.tells(true).gone { Ok(()) } else { self.catch_up_some(Tell { gone: true, ..Tell::NONE }, &[]) }
    }

    pub(super) fn catch_up_some(&mut self, tell: Tell, but: &[Uid]) -> Result<(), End> {
        if tell == Tell::NONE {
            return Ok(());
        }
        let (wanted, own) = self.wanted_of_new();
        let Some(mut selected) = self.selected.take() else { return Ok(()) };
        let known = selected.view.count().unwrap_or_default();
        let told = self.tell_changes(&mut selected, tell, but).and_then(|gone| {
            if wanted.is_empty() { Ok(()) } else { self.tell_new(&selected, known.saturating_sub(gone) + 1, &wanted, &own) }
        });
        self.selected = Some(selected);
        told
    }

    /// Tells how many are gone.
    fn tell_changes(&mut self, selected: &mut Selected, tell: Tell, but: &[Uid]) -> Result<u32, End> {
        let changes = match selected.view.sync_some(tell) {
            Ok(changes) => changes,
            // It was deleted, or what stands in its place has other numbers (RFC 2180 §3).
            Err(MailboxError::Gone | MailboxError::Nonexistent) => return Err(End::Thrown("the mailbox is no more")),
            // Another program has it; the next look will see.
            Err(_) => {
                self.look_again = true;
                return Ok(0);
            }
        };
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
            if !selected.read_only {
                let _ = selected.view.claim_recent();
            }
            self.tell_recent(selected)?;
        }
        self.tell_keywords(selected)?;
        for (number, uid) in changes.marked.into_iter().filter(|(_, uid)| but.binary_search(uid).is_err()) {
            if let Ok(Some(summary)) = selected.view.message(uid) {
                self.tell_marks(selected, number, &summary, true)?;
            }
        }
        Ok(changes.gone.len() as u32)
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
        let permanent = if selected.read_only { String::new() } else { format!("{names} \\*") };
        self.tell(format_args!("OK [PERMANENTFLAGS ({permanent})] these are kept"))
    }

    /// FETCH of what may have changed of a message without its text.
    pub(super) fn tell_marks(&mut self, selected: &Selected, number: u32, summary: &Summary, flags: bool) -> Result<(), End> {
        let mut text = format!("UID {}", summary.uid.0);
        if flags {
            let shown = show_flags(summary, &selected.keywords, selected.view.is_recent(summary.uid) && !self.enabled.rev2);
            let _ = write!(text, " FLAGS ({shown})");
        }
        if self.enabled.condstore {
            let _ = write!(text, " MODSEQ ({})", summary.modseq);
        }
        self.tell(format_args!("{number} FETCH ({text})"))
    }
}

/// A message's flags, keywords among them.
pub(super) fn show_flags(summary: &Summary, keywords: &Keywords, recent: bool) -> String {
    let mut shown = (summary.marks.flags & Flags::ALL).to_string();
    let mut add = |name: &str| {
        let _ = write!(shown, "{}{name}", if shown.is_empty() { "" } else { " " });
    };
    keywords.of(summary.marks.keywords).for_each(&mut add);
    if recent {
        add("\\Recent");
    }
    shown
}
