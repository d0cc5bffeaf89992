//! Folders: LIST, LSUB, CREATE, DELETE, RENAME, SUBSCRIBE, STATUS; and how their names are written.

use super::answer::{Answer, Done, End};
use super::grammar::{ListWhat, StatusItem};
use super::session::Session;
use crate::delivery::RenameError;
use crate::host::Account;
use crate::mail::imap_text;
use crate::mailbox::{Flags, FolderName, Folders, Kind, Listed, SpecialUse, View, utf7};
use std::collections::BTreeSet;
use std::fmt::Write;

impl Session<'_> {
    /// Whose folders these are.
    pub(super) fn account(&self) -> Result<Account, Answer> {
        self.login.as_ref().map(|login| login.account().clone()).ok_or_else(|| Answer::bad("log in first"))
    }

    /// A folder's name as the client wrote it, and whose it is. In UTF-8, if that was enabled or it is no modified UTF-7
    /// (RFC 3501 §5.1.3, RFC 9051 §5.1, RFC 6855 §3).
    pub(super) fn folder(&self, name: &[u8]) -> Result<(FolderName, Account), Answer> {
        let text = self.name_text(name).ok_or_else(|| Answer::no("CANNOT", "the name is not in modified UTF-7"))?;
        let name = FolderName::parse(&text).map_err(|error| Answer::no("CANNOT", error.to_string()))?;
        Ok((name, self.account()?))
    }

    fn name_text(&self, name: &[u8]) -> Option<String> {
        if self.speaks_utf8() || !name.is_ascii() {
            return String::from_utf8(name.to_vec()).ok();
        }
        utf7::decode(name).ok()
    }

    /// Are 8-bit names nothing new to the client?
    fn speaks_utf8(&self) -> bool {
        self.enabled.utf8 || self.enabled.rev2
    }

    /// What the client wrote, if it is the name in another normal form (RFC 9051 §5.1).
    pub(super) fn other_form(&self, written: &[u8], name: &FolderName) -> Option<String> {
        let written = self.name_text(written)?;
        // INBOX in another case is no other form.
        (!written.eq_ignore_ascii_case(name.as_str())).then_some(written)
    }

    /// A folder's name as the client reads it, quoted.
    pub(super) fn show_name(&self, name: &FolderName) -> Vec<u8> {
        self.show_text(name.as_str())
    }

    fn show_text(&self, name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        if self.speaks_utf8() {
            // A quoted string may hold UTF-8 (RFC 6855 §3); names have no control characters.
            out.push(b'"');
            for byte in name.bytes() {
                out.extend(matches!(byte, b'"' | b'\\').then_some(b'\\'));
                out.push(byte);
            }
            out.push(b'"');
        } else {
            imap_text::string(utf7::encode(name).as_bytes(), &mut out);
        }
        out
    }

    pub(super) fn folders(&self) -> Result<Folders, Answer> {
        Ok(self.server.store.folders(&self.account()?)?)
    }

    /// CREATE (RFC 9051 §6.3.4, RFC 6154 §5.2). A slash at the end means only that more will be below.
    pub(super) fn create(&mut self, name: &[u8], uses: &[Option<SpecialUse>]) -> Done {
        let written = name.strip_suffix(b"/").unwrap_or(name);
        let made = self.folder(written).and_then(|(name, _)| {
            let special = match uses {
                [] => None,
                [Some(special)] => Some(*special),
                _ => return Err(Answer::no("USEATTR", "a folder can have one use, of those that LIST tells")),
            };
            Ok((self.folders()?.create(&name, special)?, name))
        });
        let (id, name) = match made {
            Ok(made) => made,
            Err(answer) => return Ok(answer),
        };
        if let Some(written) = self.other_form(written, &name).filter(|_| self.enabled.rev2) {
            self.tell_renamed("", &name, Some(&written))?;
        }
        Ok(Answer::ok("it is made").with(format!("MAILBOXID (F{id})")))
    }

    pub(super) fn delete(&mut self, name: &[u8]) -> Done {
        let done = self.folder(name).and_then(|(name, _)| Ok((self.folders()?.delete(&name)?, name)));
        let name = match done {
            Ok(((), name)) => name,
            Err(answer) => return Ok(answer),
        };
        // Who deletes the mailbox it is in has left it.
        if self.selected.as_deref().is_some_and(|selected| selected.name == name) {
            self.selected = None;
            self.saved.clear();
        }
        Ok(Answer::ok("it is gone"))
    }

    /// RENAME (RFC 9051 §6.3.6). Of INBOX only the mail goes.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) -> Done {
        let names = self.folder(from).and_then(|from| Ok((from, self.folder(to.strip_suffix(b"/").unwrap_or(to))?.0)));
        let ((from, account), to) = match names {
            Ok(names) => names,
            Err(answer) => return Ok(answer),
        };
        if from.is_inbox() {
            match self.server.post.rename_inbox(&account, &to) {
                Ok(()) => {
                    if let Err(answer) = self.copy_notes_of_inbox(&to) {
                        return Ok(answer);
                    }
                }
                Err(RenameError::Folder(error)) => return Ok(error.into()),
                Err(RenameError::Unfinished(moved, all, error)) => {
                    let answer = Done::from(error)?;
                    let text = format!("{moved} of {all} messages are moved, the others are still in INBOX: {}", answer.text);
                    return Ok(Answer { text: text.into(), ..answer });
                }
            }
        } else if let Err(answer) = self.folders().and_then(|folders| Ok(folders.rename(&from, &to)?)) {
            return Ok(answer);
        }
        Ok(Answer::ok("it is renamed"))
    }

    pub(super) fn subscribe(&mut self, name: &[u8], subscribe: bool) -> Done {
        let done = self.folder(name).and_then(|(name, _)| {
            let folders = self.folders()?;
            let done = if subscribe { folders.subscribe(&name) } else { folders.unsubscribe(&name) };
            Ok(done?)
        });
        Ok(done.map_or_else(|answer| answer, |()| Answer::ok("it is noted")))
    }

    /// LIST (RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154).
    pub(super) fn list(&mut self, what: &ListWhat) -> Done {
        // It asks for the separator only.
        if !what.extended && what.patterns.iter().all(Vec::is_empty) {
            self.tell(format_args!("LIST (\\Noselect) \"/\" \"\""))?;
            return Ok(Answer::ok("that is all"));
        }
        // What can't be a pattern is like no name (RFC 5258 §3).
        let patterns: Vec<String> = what.patterns.iter().filter_map(|pattern| self.pattern(&what.reference, pattern)).collect();
        let mut names = match self.folders().and_then(|folders| Ok(folders.list()?)) {
            Ok(names) => names,
            Err(answer) => return Ok(answer),
        };
        if what.selection.recursive {
            add_parents(&mut names);
        }
        let matches = |name: &FolderName| patterns.iter().any(|pattern| is_like(name.as_str(), pattern));
        let selects = |name: &Listed| {
            (!what.selection.subscribed || name.subscribed)
                && (!what.selection.special || name.special.is_some())
                && (what.selection.subscribed || name.kind != Kind::Nonexistent)
        };
        for name in names.iter().filter(|name| matches(&name.name)) {
            // Below it is one that was selected and does not match itself (RFC 5258 §3.5).
            let holds = what.selection.recursive
                && names.iter().any(|other| other.name.is_below(&name.name) && other.subscribed && !matches(&other.name));
            if !selects(name) && !holds {
                continue;
            }
            self.tell_listed(name, what, holds)?;
            if let (Some(items), Kind::Mailbox(_)) = (&what.returned.status, name.kind) {
                if let Ok(text) = self.status_of(&name.name, items) {
                    self.tell_status(&name.name, &text)?;
                }
            }
        }
        Ok(Answer::ok("that is all"))
    }

    fn tell_listed(&mut self, listed: &Listed, what: &ListWhat, holds: bool) -> Result<(), End> {
        let attributes = attributes(listed, what.returned.subscribed || what.selection.subscribed);
        let name = self.show_name(&listed.name);
        self.connection.put(format!("* LIST ({attributes}) \"/\" ").as_bytes())?;
        self.connection.put(&name)?;
        self.connection.put(if holds { b" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n" } else { b"\r\n" })?;
        Ok(())
    }

    /// That something happened to a name, and what it was called before (RFC 5465 §5.4). What is no mailbox does not exist.
    pub(super) fn tell_name(&mut self, listed: &Listed, old: Option<&FolderName>) -> Result<(), End> {
        let kind = if listed.kind == Kind::Noselect { Kind::Nonexistent } else { listed.kind };
        let attributes = attributes(&Listed { kind, ..listed.clone() }, true);
        self.tell_renamed(&attributes, &listed.name, old.map(FolderName::as_str))
    }

    /// LIST of one name, and how else it was called (RFC 9051 §6.3.9.7).
    pub(super) fn tell_renamed(&mut self, attributes: &str, name: &FolderName, old: Option<&str>) -> Result<(), End> {
        let mut line = format!("* LIST ({attributes}) \"/\" ").into_bytes();
        line.extend(self.show_name(name));
        if let Some(old) = old {
            line.extend_from_slice(b" (\"OLDNAME\" (");
            line.extend(self.show_text(old));
            line.extend_from_slice(b"))");
        }
        line.extend_from_slice(b"\r\n");
        Ok(self.connection.put(&line)?)
    }

    /// LSUB (RFC 3501 §6.3.9): subscriptions; with `%` also the names above them, as `\Noselect`.
    pub(super) fn lsub(&mut self, reference: &[u8], pattern: &[u8]) -> Done {
        let Some(pattern) = self.pattern(reference, pattern) else { return Ok(Answer::ok("that is all")) };
        let names = match self.folders().and_then(|folders| Ok(folders.list()?)) {
            Ok(names) => names,
            Err(answer) => return Ok(answer),
        };
        let subscribed: Vec<&FolderName> = names.iter().filter(|name| name.subscribed).map(|name| &name.name).collect();
        let mut found: std::collections::BTreeMap<&str, bool> = std::collections::BTreeMap::new();
        for name in &subscribed {
            let mut end = name.as_str().len();
            let mut own = true;
            while let Some(part) = name.as_str().get(..end) {
                if is_like(part, &pattern) {
                    *found.entry(part).or_default() |= own;
                    break;
                }
                // A name above counts only if `%` stopped there.
                let Some(above) = part.rfind('/').filter(|_| pattern.ends_with('%')) else { break };
                (end, own) = (above, false);
            }
        }
        let found: Vec<(String, bool)> = found.into_iter().map(|(name, own)| (name.to_owned(), own)).collect();
        for (name, own) in found {
            let Ok(name) = FolderName::parse(&name) else { continue };
            let name = self.show_name(&name);
            self.connection.put(if own { b"* LSUB () \"/\" ".as_slice() } else { b"* LSUB (\\Noselect) \"/\" " })?;
            self.connection.put(&name)?;
            self.connection.put(b"\r\n")?;
        }
        Ok(Answer::ok("that is all"))
    }

    /// Reference and pattern, put together (RFC 3501 §6.3.8).
    fn pattern(&self, reference: &[u8], pattern: &[u8]) -> Option<String> {
        self.name_text(&[reference, pattern].concat()).map(|text| FolderName::normal_form(&text))
    }

    /// STATUS (RFC 9051 §6.3.11).
    pub(super) fn status(&mut self, name: &[u8], items: &[StatusItem]) -> Done {
        if items.contains(&StatusItem::HighestModSeq) {
            self.enable_condstore()?;
        }
        let told = self.folder(name).and_then(|(name, _)| Ok((self.status_of(&name, items)?, name)));
        match told {
            Ok((text, name)) => {
                self.tell_status(&name, &text)?;
                Ok(Answer::ok("that is how it stands"))
            }
            Err(answer) => Ok(answer),
        }
    }

    pub(super) fn tell_status(&mut self, name: &FolderName, text: &str) -> Result<(), End> {
        let name = self.show_name(name);
        self.connection.put(b"* STATUS ")?;
        self.connection.put(&name)?;
        self.connection.put(format!(" ({text})\r\n").as_bytes())?;
        Ok(())
    }

    fn status_of(&self, name: &FolderName, items: &[StatusItem]) -> Result<String, Answer> {
        let account = self.account()?;
        let view = self.server.store.open(&account, name)?.view()?;
        let counts = view.counts();
        let mut text = String::new();
        for item in items {
            let gap = if text.is_empty() { "" } else { " " };
            let _ = match item {
                StatusItem::Messages => write!(text, "{gap}MESSAGES {}", counts.messages),
                StatusItem::Recent => write!(text, "{gap}RECENT {}", view.unclaimed()),
                StatusItem::UidNext => write!(text, "{gap}UIDNEXT {}", view.uid_next()),
                StatusItem::UidValidity => write!(text, "{gap}UIDVALIDITY {}", view.uid_validity()),
                StatusItem::Unseen => write!(text, "{gap}UNSEEN {}", counts.unseen),
                StatusItem::Deleted => write!(text, "{gap}DELETED {}", counts.deleted),
                StatusItem::DeletedStorage => write!(text, "{gap}DELETED-STORAGE {}", deleted_storage(&view)?),
                StatusItem::Size => write!(text, "{gap}SIZE {}", counts.size),
                StatusItem::HighestModSeq => write!(text, "{gap}HIGHESTMODSEQ {}", view.highest_modseq()),
                StatusItem::MailboxId => write!(text, "{gap}MAILBOXID (F{})", self.folders()?.id(name)?),
                StatusItem::AppendLimit => write!(text, "{gap}APPENDLIMIT {}", self.server.config.max_message_size),
            };
        }
        Ok(text)
    }
}

/// Bytes of the messages that an EXPUNGE would remove.
fn deleted_storage(view: &View) -> Result<u64, Answer> {
    let deleted = view.flagged(Flags::DELETED, &[1..=u32::MAX])?;
    Ok(view.summaries(&deleted)?.iter().flatten().map(|message| message.size).sum())
}

/// What LIST says of a name; `subscribed`: that the user is subscribed to it, too.
fn attributes(listed: &Listed, subscribed: bool) -> String {
    let mut attributes: Vec<String> = Vec::new();
    attributes.extend(match listed.kind {
        Kind::Mailbox(_) => None,
        Kind::Noselect => Some("\\Noselect".to_owned()),
        Kind::Nonexistent => Some("\\NonExistent".to_owned()),
    });
    attributes.push(if listed.has_children { "\\HasChildren" } else { "\\HasNoChildren" }.to_owned());
    attributes.extend((listed.subscribed && subscribed).then(|| "\\Subscribed".to_owned()));
    attributes.extend(listed.special.map(|special| format!("\\{}", special.as_str())));
    attributes.join(" ")
}

/// Adds the names above subscribed folders that are none themselves: they may hold what was selected (RFC 5258 §3.5).
fn add_parents(names: &mut Vec<Listed>) {
    let mut known: BTreeSet<FolderName> = names.iter().map(|listed| listed.name.clone()).collect();
    let mut above: Vec<FolderName> =
        names.iter().filter(|listed| listed.subscribed).filter_map(|listed| listed.name.parent()).collect();
    while let Some(name) = above.pop() {
        above.extend(name.parent());
        if known.insert(name.clone()) {
            names.push(Listed { name, kind: Kind::Nonexistent, has_children: false, subscribed: false, special: None });
        }
    }
    names.sort_by(|one, other| one.name.cmp(&other.name));
}

/// Does a name match a pattern? `*` is anything, `%` anything but the separator; INBOX is the same in any case, with what is below
/// it. Bounded by their lengths' product.
fn is_like(name: &str, pattern: &str) -> bool {
    let inbox = if name == "INBOX" || name.starts_with("INBOX/") { 5 } else { 0 };
    let (name, pattern): (Vec<char>, Vec<char>) = (name.chars().collect(), pattern.chars().collect());
    // Which beginnings of the name match what was read of the pattern.
    let mut fits: Vec<bool> = vec![false; name.len() + 1];
    fits[0] = true;
    for wild in &pattern {
        match wild {
            '*' => (1..fits.len()).for_each(|at| fits[at] |= fits[at - 1]),
            '%' => (1..fits.len()).for_each(|at| fits[at] |= fits[at - 1] && name[at - 1] != '/'),
            exact => {
                let same = |at: usize| name[at] == *exact || (at < inbox && name[at].eq_ignore_ascii_case(exact));
                (1..fits.len()).rev().for_each(|at| fits[at] = fits[at - 1] && same(at - 1));
                fits[0] = false;
            }
        }
    }
    fits.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn patterns() {
        for (name, pattern) in [
            ("a/b", "*"),
            ("a/b", "a/%"),
            ("a", "%"),
            ("a/b/c", "a*c"),
            ("ab", "a%b"),
            ("", ""),
            ("a", "a*%*"),
            ("INBOX", "in%"),
            ("INBOX/a", "inbox/*"),
        ] {
            assert!(is_like(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [
            ("a/b", "%"),
            ("a", "b"),
            ("a/b/c", "a/%"),
            ("a", ""),
            ("", "a"),
            ("INBOXES", "inbox*"),
            ("INBOX/A", "INBOX/a"),
            ("a/INBOX", "a/inbox"),
        ] {
            assert!(!is_like(name, pattern), "{name} {pattern}");
        }
        assert!(!is_like(&"a".repeat(1000), &("*a".repeat(500) + "b")));
    }
}
