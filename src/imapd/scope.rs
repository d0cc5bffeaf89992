//! Which of a user's folders a command is about (RFC 5465 §6, RFC 7377 §2.2).

use super::grammar::Filter;
use super::session::Session;
use crate::mailbox::{FolderName, Listed};
use std::collections::BTreeSet;

/// A filter, with names that were understood.
#[derive(Debug)]
pub(super) enum Scope {
    Inbox,
    All,
    Subscribed,
    Below(BTreeSet<FolderName>),
    /// These and their children.
    RightBelow(BTreeSet<FolderName>),
    These(BTreeSet<FolderName>),
}

impl Scope {
    pub fn has(&self, listed: &Listed) -> bool {
        let name = &listed.name;
        match self {
            Scope::Inbox => name.is_inbox(),
            Scope::All => true,
            Scope::Subscribed => listed.subscribed,
            Scope::Below(names) => names.iter().any(|above| name == above || name.is_below(above)),
            Scope::RightBelow(names) => names.contains(name) || name.parent().is_some_and(|parent| names.contains(&parent)),
            Scope::These(names) => names.contains(name),
        }
    }
}

impl Session<'_> {
    /// What a filter comes to; none: the selected mailbox. Names that can't be are those of no folder.
    pub(super) fn scope(&self, filter: &Filter) -> Option<Scope> {
        let names = |names: &[Vec<u8>]| names.iter().filter_map(|name| Some(self.folder(name).ok()?.0)).collect();
        Some(match filter {
            Filter::Selected { .. } => return None,
            Filter::Inboxes => Scope::Inbox,
            Filter::Personal => Scope::All,
            Filter::Subscribed => Scope::Subscribed,
            Filter::Subtree(these) => Scope::Below(names(these)),
            Filter::SubtreeOne(these) => Scope::RightBelow(names(these)),
            Filter::Mailboxes(these) => Scope::These(names(these)),
        })
    }
}
