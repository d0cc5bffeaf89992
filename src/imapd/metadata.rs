//! METADATA (RFC 5464): GETMETADATA, SETMETADATA, and what others changed (§4.4.2, RFC 5465 §5.6, §5.7).

use super::answer::{Answer, Done, End};
use super::grammar::Wanted;
use super::session::Session;
use crate::mail::imap_text;
use crate::mailbox::{FolderName, Folders, FoldersLookout, Known, LONGEST_NOTE, NoteChanges, NoteError};
use std::collections::BTreeMap;

/// Says how to reach who runs this; nobody can change it (RFC 5464 §6.2.2).
const ADMIN: &str = "/shared/admin";
/// What a folder is for, as LIST tells it (RFC 6154 §4). It is given by CREATE.
const USE: &str = "/private/specialuse";

/// Notes that a session is told of when others change them.
#[derive(Debug)]
pub(super) struct WatchedNotes {
    lookout: FoldersLookout,
    known: Known,
}

impl From<NoteError> for Answer {
    fn from(error: NoteError) -> Answer {
        let text = error.to_string();
        match error {
            NoteError::TooLong => Answer::no("", text).with(format!("METADATA MAXSIZE {LONGEST_NOTE}")),
            NoteError::TooMany => Answer::no("METADATA TOOMANY", text),
            NoteError::Folder(error) => error.into(),
        }
    }
}

impl Session<'_> {
    /// A mailbox by its name; the empty one is the server's (RFC 5464 §4.1).
    fn owner(&self, name: &[u8]) -> Result<Option<FolderName>, Answer> {
        if name.is_empty() { Ok(None) } else { Ok(Some(self.folder(name)?.0)) }
    }

    /// GETMETADATA (RFC 5464 §4.2).
    pub(super) fn metadata(&mut self, name: &[u8], wanted: &Wanted) -> Done {
        let found = self.owner(name).and_then(|owner| {
            let notes = self.folders()?.notes(owner.as_ref())?;
            let mut values: BTreeMap<String, Vec<u8>> = notes.into_iter().map(|(name, note)| (name, note.value)).collect();
            match &owner {
                None => drop(values.insert(ADMIN.to_owned(), self.admin())),
                Some(name) => {
                    values.remove(USE);
                    let special = self.folders()?.special_use(name)?;
                    values.extend(special.map(|special| (USE.to_owned(), format!("\\{}", special.as_str()).into_bytes())));
                }
            }
            Ok((owner, values))
        });
        let (owner, mut values) = match found {
            Ok(found) => found,
            Err(answer) => return Ok(answer),
        };
        values.retain(|name, _| wanted.entries.iter().any(|entry| is_within(name, entry, wanted.depth)));
        let too_long = |value: &Vec<u8>| wanted.most.is_some_and(|most| value.len() as u64 > most);
        let longest = values.values().filter(|value| too_long(value)).map(Vec::len).max();
        // Of an entry that was named itself it is told that it is not there.
        let named = wanted.entries.iter().filter(|entry| wanted.depth == 0 && !values.contains_key(*entry));
        let mut told: BTreeMap<&String, Option<&Vec<u8>>> = named.map(|name| (name, None)).collect();
        told.extend(values.iter().filter(|(_, value)| !too_long(value)).map(|(name, value)| (name, Some(value))));
        if !told.is_empty() {
            let mut text = Vec::new();
            for (name, value) in told {
                text.push(if text.is_empty() { b'(' } else { b' ' });
                push_entry(name, &mut text);
                text.push(b' ');
                push_value(value.map(Vec::as_slice), &mut text);
            }
            text.push(b')');
            self.tell_metadata(owner.as_ref(), &text)?;
        }
        let answer = Answer::ok("that is all");
        Ok(longest.map_or(answer.clone(), |longest| answer.with(format!("METADATA LONGENTRIES {longest}"))))
    }

    /// SETMETADATA (RFC 5464 §4.3): all of it, or nothing.
    pub(super) fn set_metadata(&mut self, name: &[u8], values: NoteChanges) -> Done {
        let owner = match self.owner(name) {
            Ok(owner) => owner,
            Err(answer) => return Ok(answer),
        };
        if owner.is_none() && values.iter().any(|(name, _)| !name.starts_with("/private/")) {
            return Ok(Answer::no("NOPERM", "what all users see is not theirs to change"));
        }
        if owner.is_some() && values.iter().any(|(name, _)| name == USE) {
            return Ok(Answer::no("CANNOT", "the use of a folder is set by CREATE"));
        }
        let set = self.folders().and_then(|folders| {
            // First, so that nothing is changed without it (RFC 7162 §3.2).
            if let Some(name) = &owner {
                self.server.store.open(&self.account()?, name)?.raise_modseq()?;
            }
            Ok(folders.set_notes(owner.as_ref(), values.clone())?)
        });
        let (owner, version) = match set {
            Ok(set) => set,
            Err(answer) => return Ok(answer),
        };
        if let Some(notes) = &mut self.notes {
            // What it does itself it knows.
            let named = |name: &String| values.iter().any(|(set, _)| set == name);
            notes.known.retain(|(of, name, _)| *of != owner || !named(name));
            let there = values.into_iter().filter(|(_, value)| value.is_some());
            notes.known.extend(there.map(|(name, _)| (owner, name, version)));
        }
        Ok(Answer::ok("it is noted"))
    }

    /// A mailbox of that name was INBOX's content; what was noted about INBOX holds for both (RFC 5464 §4.1).
    pub(super) fn copy_notes_of_inbox(&self, to: &FolderName) -> Result<(), Answer> {
        let folders: Folders = self.folders()?;
        let notes = folders.notes(Some(&FolderName::inbox()))?;
        let copies: NoteChanges = notes.into_iter().map(|(name, note)| (name, Some(note.value))).collect();
        if !copies.is_empty() {
            folders.set_notes(Some(to), copies)?;
        }
        Ok(())
    }

    /// From now on what others change is told, if the client wants to know.
    pub(super) fn watch_notes(&mut self) -> Result<(), Answer> {
        if self.notes.is_none() {
            let bell = self.bell().map_err(crate::mailbox::MailboxError::from)?;
            let folders = self.folders()?;
            let lookout = folders.lookout(&bell);
            lookout.has_news();
            self.notes = Some(Box::new(WatchedNotes { lookout, known: folders.known_notes()? }));
        }
        Ok(())
    }

    /// Tells which notes others changed: names, not values.
    pub(super) fn tell_notes(&mut self) -> Result<(), End> {
        let Some(notes) = self.notes.as_mut().filter(|notes| notes.lookout.has_news()) else { return Ok(()) };
        let (now, changed) = match notes.lookout.folders().changed_notes(&notes.known) {
            Ok(changed) => changed,
            Err(_) => {
                notes.lookout.keep_news();
                self.look_again = true;
                return Ok(());
            }
        };
        notes.known = now;
        for (folder, names) in changed {
            if !self.wants_notes(folder.as_ref()) {
                continue;
            }
            let mut text = Vec::new();
            for name in names {
                text.extend((!text.is_empty()).then_some(b' '));
                push_entry(&name, &mut text);
            }
            self.tell_metadata(folder.as_ref(), &text)?;
        }
        Ok(())
    }

    fn tell_metadata(&mut self, folder: Option<&FolderName>, text: &[u8]) -> Result<(), End> {
        let name = folder.map_or_else(|| b"\"\"".to_vec(), |folder| self.show_name(folder));
        Ok(self.connection.put(&[b"* METADATA ", name.as_slice(), b" ", text, b"\r\n"].concat())?)
    }

    fn admin(&self) -> Vec<u8> {
        let config = &self.server.config;
        format!("mailto:postmaster@{}", config.domains.first().unwrap_or(&config.hostname)).into_bytes()
    }
}

/// Is this entry the other, or so many levels below it?
fn is_within(name: &str, entry: &str, depth: usize) -> bool {
    match name.strip_prefix(entry) {
        Some("") => true,
        Some(below) => below.starts_with('/') && below.bytes().filter(|byte| *byte == b'/').count() <= depth,
        None => false,
    }
}

/// An entry's name, quoted if it is no astring.
fn push_entry(name: &str, out: &mut Vec<u8>) {
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b':' | b'$' | b'+')) {
        out.extend_from_slice(name.as_bytes());
    } else {
        imap_text::string(name.as_bytes(), out);
    }
}

/// `value = nstring / literal8`
fn push_value(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value.filter(|value| value.contains(&0)) {
        Some(value) => out.extend([format!("~{{{}}}\r\n", value.len()).as_bytes(), value].concat()),
        None => imap_text::nstring(value, out),
    }
}

#[cfg(test)]
mod tests {
    use super::is_within;

    #[test]
    fn depths() {
        for (name, entry, depth) in [("/a", "/a", 0), ("/a/b", "/a", 1), ("/a/b/c", "/a", usize::MAX)] {
            assert!(is_within(name, entry, depth), "{name} {entry}");
        }
        for (name, entry, depth) in [("/a/b", "/a", 0), ("/a/b/c", "/a", 1), ("/ab", "/a", 9), ("/a", "/a/b", 9)] {
            assert!(!is_within(name, entry, depth), "{name} {entry}");
        }
    }
}
