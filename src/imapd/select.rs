//! SELECT, EXAMINE, CLOSE, UNSELECT, CHECK and EXPUNGE.

use super::answer::{Answer, Done, End};
use super::grammar::{How, Resync, Set, show};
use super::search::Live;
use super::session::Session;
use crate::mailbox::{Flags, FolderName, Keywords, Summary, View};
use std::ops::RangeInclusive;

/// The mailbox a session is in.
#[derive(Debug)]
pub(super) struct Selected {
    pub view: View,
    pub name: FolderName,
    /// EXAMINE
    pub read_only: bool,
    /// As the session was told them.
    pub keywords: Keywords,
    /// Searches that are kept up to date.
    pub live: Vec<Live>,
    /// What is to be told of them.
    pub lines: Vec<String>,
}

impl Session<'_> {
    /// SELECT and EXAMINE (RFC 9051 §6.3.2, RFC 7162 §3.1.2, §3.2.5). If it fails, nothing is selected any more.
    pub(super) fn select(&mut self, name: &[u8], how: &How) -> Done {
        if how.resync.is_some() && !self.enabled.qresync {
            return Ok(Answer::bad("QRESYNC must be enabled first"));
        }
        self.enabled.condstore |= how.condstore;
        if self.selected.take().is_some() {
            self.saved.clear();
            // RFC 7162 §3.2.11: what follows is about the new one.
            self.tell(format_args!("OK [CLOSED] the other mailbox is left"))?;
        }
        let written = name;
        let (name, account) = match self.folder(written) {
            Ok(name) => name,
            Err(answer) => return Ok(answer),
        };
        let view = self.server.store.open(&account, &name).and_then(|mailbox| mailbox.view());
        let view = match view {
            Ok(view) => view,
            Err(error) => return Ok(error.into()),
        };
        if let Err(error) = if how.read_only { view.borrow_recent() } else { view.claim_recent() } {
            return Ok(error.into());
        }
        let id = self.server.store.folders(&account).map_err(Into::into).and_then(|folders| folders.id(&name));
        let selected =
            Selected { keywords: view.keywords(), view, name, read_only: how.read_only, live: Vec::new(), lines: Vec::new() };
        self.describe(&selected, id.ok().map(|id| id.to_string()))?;
        if self.enabled.rev2 {
            let written = self.other_form(written, &selected.name);
            self.tell_renamed("", &selected.name, written.as_deref())?;
        }
        let same = |resync: &&Resync| resync.validity == selected.view.uid_validity();
        if let Some(resync) = how.resync.as_ref().filter(same) {
            self.resync(&selected, &selected.view.messages().unwrap_or_default(), resync)?;
        }
        let (code, text) = if how.read_only { ("READ-ONLY", "you may look") } else { ("READ-WRITE", "it is open") };
        self.selected = Some(Box::new(selected));
        Ok(Answer::ok(text).with(code))
    }

    fn describe(&mut self, selected: &Selected, id: Option<String>) -> Result<(), End> {
        let view = &selected.view;
        self.tell_flags(selected)?;
        self.tell(format_args!("{} EXISTS", view.count().unwrap_or(0)))?;
        self.tell_recent(selected)?;
        if !self.enabled.rev2 {
            if let Ok(Some(first)) = view.first_unseen() {
                self.tell(format_args!("OK [UNSEEN {first}] the first that was not seen"))?;
            }
        }
        self.tell(format_args!("OK [UIDVALIDITY {}] UIDs hold", view.uid_validity()))?;
        self.tell(format_args!("OK [UIDNEXT {}] the next will be this or greater", view.uid_next()))?;
        self.tell(format_args!("OK [HIGHESTMODSEQ {}] the last change", view.highest_modseq()))?;
        match id {
            Some(id) => self.tell(format_args!("OK [MAILBOXID (F{id})] its name for good")),
            None => Ok(()),
        }
    }

    /// What happened since the client was here last (RFC 7162 §3.2.5).
    fn resync(&mut self, selected: &Selected, messages: &[Summary], resync: &Resync) -> Result<(), End> {
        let view = &selected.view;
        let known = match &resync.known {
            Some(set) => set.ranges(view.uid_next().saturating_sub(1)),
            None => vec![1..=view.uid_next().saturating_sub(1)],
        };
        let agreed = resync.pairs.as_ref().map_or(0, |(numbers, uids)| agreed(messages, numbers, uids));
        let below = above(&known, agreed);
        let vanished = vanished(view, messages, resync.modseq, &below);
        if !vanished.is_empty() {
            self.tell(format_args!("VANISHED (EARLIER) {vanished}"))?;
        }
        for (number, message) in (1..).zip(messages) {
            if message.modseq > resync.modseq && known.iter().any(|range| range.contains(&message.uid.0)) {
                self.tell_marks(selected, number, message, true)?;
            }
        }
        Ok(())
    }

    /// CLOSE, which removes what has `\Deleted` and tells nothing, and UNSELECT, which doesn't (RFC 9051 §6.4.1, §6.4.2).
    pub(super) fn close(&mut self, expunge: bool) -> Done {
        let Some(selected) = self.selected.take() else { return Ok(Answer::bad("no mailbox is selected")) };
        self.saved.clear();
        let removed = if expunge && !selected.read_only { remove_deleted(&selected.view, None) } else { Ok(false) };
        Ok(removed.map_or_else(|answer| answer, |_| Answer::ok("it is closed")))
    }

    /// CHECK (RFC 3501 §6.4.1): all there is to be kept is kept already; flags may not be in the file yet.
    pub(super) fn check(&mut self) -> Done {
        if let Some(selected) = &self.selected {
            selected.view.mailbox().write_marks();
        }
        Ok(Answer::ok("all is well"))
    }

    /// EXPUNGE, and UID EXPUNGE (RFC 4315 §2.1). What is gone is told before the tagged line, as after any command.
    pub(super) fn expunge(&mut self, set: Option<&Set>) -> Done {
        let Some(selected) = &self.selected else { return Ok(Answer::bad("no mailbox is selected")) };
        if selected.read_only {
            return Ok(Answer::no("CANNOT", "the mailbox was opened to look at it only"));
        }
        let some = match remove_deleted(&selected.view, set.map(|set| self.uids_of(set)).as_deref()) {
            Ok(some) => some,
            Err(answer) => return Ok(answer),
        };
        self.tell_removed()?;
        let answer = Answer::ok("removed");
        Ok(if some { self.with_modseq(answer) } else { answer })
    }

    /// With the HIGHESTMODSEQ that is due when messages went (RFC 7162 §3.2.7, RFC 6851 §4.4).
    pub(super) fn with_modseq(&self, answer: Answer) -> Answer {
        match self.selected.as_deref().filter(|_| self.enabled.condstore) {
            Some(selected) => answer.with(format!("HIGHESTMODSEQ {}", selected.view.highest_modseq())),
            None => answer,
        }
    }

    /// Enables CONDSTORE; the first time in a selected mailbox HIGHESTMODSEQ is told (RFC 7162 §3.1).
    pub(super) fn enable_condstore(&mut self) -> Result<(), End> {
        let before = std::mem::replace(&mut self.enabled.condstore, true);
        match self.selected.as_deref().filter(|_| !before) {
            Some(selected) => {
                let modseq = selected.view.highest_modseq();
                self.tell(format_args!("OK [HIGHESTMODSEQ {modseq}] the last change"))
            }
            None => Ok(()),
        }
    }

    /// The ranges of UIDs of a set.
    pub(super) fn uids_of(&self, set: &Set) -> Vec<RangeInclusive<u32>> {
        match set {
            Set::Saved => self.saved.iter().map(|uid| uid.0..=uid.0).collect(),
            set => {
                let last = self.selected.as_ref().and_then(|selected| selected.view.last_uid().ok()).unwrap_or(0);
                set.ranges(last)
            }
        }
    }
}

/// Removes the messages with `\Deleted` that the session knows of; only those of these ranges of UIDs, if they are given. Were
/// there any?
fn remove_deleted(view: &View, ranges: Option<&[RangeInclusive<u32>]>) -> Result<bool, Answer> {
    let deleted = view.flagged(Flags::DELETED, ranges.unwrap_or(&[1..=u32::MAX]))?;
    if !deleted.is_empty() {
        view.mailbox().expunge(&deleted)?;
    }
    Ok(!deleted.is_empty())
}

/// Up to which UID nothing has vanished, as pairs of numbers and UIDs show that still belong together.
fn agreed(messages: &[Summary], numbers: &Set, uids: &Set) -> u32 {
    let each = |set: &Set| set.ranges(u32::MAX).into_iter().flatten();
    let pairs = each(numbers).zip(each(uids)).take(10_000);
    let same =
        |(number, uid): &(u32, u32)| messages.get(number.saturating_sub(1) as usize).is_some_and(|message| message.uid.0 == *uid);
    pairs.take_while(same).last().map_or(0, |(_, uid)| uid)
}

/// What of these ranges is above a number.
fn above(ranges: &[RangeInclusive<u32>], floor: u32) -> Vec<RangeInclusive<u32>> {
    let above = ranges.iter().filter(|range| *range.end() > floor);
    above.map(|range| (*range.start()).max(floor + 1)..=*range.end()).collect()
}

/// UIDs of these ranges that are gone since a mod-sequence, as a set; more than that, if nobody remembers.
pub(super) fn vanished(view: &View, messages: &[Summary], since: u64, known: &[RangeInclusive<u32>]) -> String {
    if let Some(gone) = view.vanished_since(since) {
        return show(gone.into_iter().filter(|uid| known.iter().any(|range| range.contains(uid))).map(|uid| uid..=uid));
    }
    let next = view.uid_next();
    let mut gaps = Vec::new();
    let mut from = 1;
    for uid in messages.iter().map(|message| message.uid.0).chain([next]) {
        gaps.extend((from < uid).then(|| from..=uid - 1));
        from = uid.saturating_add(1);
    }
    let both = |gap: &RangeInclusive<u32>, range: &RangeInclusive<u32>| {
        let (first, last) = (*gap.start().max(range.start()), *gap.end().min(range.end()));
        (first <= last).then_some(first..=last)
    };
    // Both ascend.
    let mut known = known.iter().peekable();
    let mut found = Vec::new();
    for gap in &gaps {
        while known.next_if(|range| range.end() < gap.start()).is_some() {}
        found.extend(known.clone().take_while(|range| range.start() <= gap.end()).filter_map(|range| both(gap, range)));
    }
    show(found)
}
