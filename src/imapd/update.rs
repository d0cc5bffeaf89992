//! Untagged data about the selected mailbox: what changed since the session last looked (RFC 9051 §7.5).

use super::answer::End;
use super::grammar::show_uids;
use super::select::Selected;
use super::session::Session;
use crate::mailbox::{Flags, Keywords, MailboxError, Summary, Uid};
use std::fmt::Write;

impl Session<'_> {
    /// Tells what changed. Without `gone` the session's numbers stay as they are.
    pub(super) fn catch_up(&mut self, gone: bool) -> Result<(), End> {
        self.catch_up_but(gone, &[])
    }

    /// The same, but of these messages (ascending) marks are not told.
    pub(super) fn catch_up_but(&mut self, gone: bool, but: &[Uid]) -> Result<(), End> {
        let Some(mut selected) = self.selected.take() else { return Ok(()) };
        let told = self.tell_changes(&mut selected, gone, but);
        self.selected = Some(selected);
        told
    }

    fn tell_changes(&mut self, selected: &mut Selected, gone: bool, but: &[Uid]) -> Result<(), End> {
        let changes = match selected.view.sync(gone) {
            Ok(changes) => changes,
            // It was deleted, or what stands in its place has other numbers (RFC 2180 §3).
            Err(MailboxError::Gone | MailboxError::Nonexistent) => return Err(End::Thrown("the mailbox is no more")),
            // Another program has it; the next command will see.
            Err(_) => return Ok(()),
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
        Ok(())
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
