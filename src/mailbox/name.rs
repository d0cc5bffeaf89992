//! Names of folders, and how they are written on the disk.
//!
//! A name is UTF-8 in normal form C; its parts are separated by `/`. The folder `A/B` is the file `A/B.mbox`, and what is below
//! it lies in the directory `A/B`. So that a part can't be taken for something else, a `%` and two hexadecimal digits stand for
//! these bytes: `%`; a dot at the start (hidden files, `.`, `..`); the dot before a final `mbox` (a folder's file) or `lock`
//! (a dotlock). Nothing else is encoded: people shall know their folders in a listing of the directory.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;

/// Bytes of a whole name, as it is written on the disk.
const LONGEST: usize = 255;
/// Bytes of one part: a file name holds 255, and `.mbox.lock` comes after it.
const LONGEST_PART: usize = 255 - MBOX.len() - LOCK.len();
const MBOX: &str = ".mbox";
const LOCK: &str = ".lock";
const INBOX: &str = "INBOX";

/// The name of a folder. One that can't leave its user's directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderName(String);

/// Why this can't be a folder's name.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing before, after or between slashes.
    Empty,
    /// A control character, or a line or paragraph separator (RFC 9051 §5.1, RFC 5198 §2).
    Control,
    /// It, or a part of it, takes more bytes than a file's name may have.
    TooLong,
}

impl fmt::Display for NameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            NameError::Empty => "a part of the name is empty",
            NameError::Control => "the name has a control character",
            NameError::TooLong => "the name is too long",
        })
    }
}

impl std::error::Error for NameError {}

impl FolderName {
    /// Takes any text that can be a name. INBOX as the first part is one in any case (RFC 3501 §5.1).
    pub fn parse(text: &str) -> Result<FolderName, NameError> {
        let mut name = FolderName::normal_form(text);
        if name.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return Err(NameError::Control);
        }
        if name.split('/').any(str::is_empty) {
            return Err(NameError::Empty);
        }
        let first = name.find('/').unwrap_or(name.len());
        if name.get(..first).is_some_and(|first| first.eq_ignore_ascii_case(INBOX)) {
            name.replace_range(..first, INBOX);
        }
        let mut whole = 0;
        for part in name.split('/') {
            let length = encode(part).len();
            whole += length + 1;
            if length > LONGEST_PART || whole - 1 > LONGEST {
                return Err(NameError::TooLong);
            }
        }
        Ok(FolderName(name))
    }

    /// A text in the form that names are kept in: so a pattern, too, is like a name (RFC 9051 §5.1).
    pub fn normal_form(text: &str) -> String {
        text.nfc().collect()
    }

    /// The one folder that everybody has.
    pub fn inbox() -> FolderName {
        FolderName(INBOX.into())
    }

    /// UTF-8, with `/` between the parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it INBOX itself?
    pub fn is_inbox(&self) -> bool {
        self.0 == INBOX
    }

    /// The name without its last part.
    pub fn parent(&self) -> Option<FolderName> {
        self.0.rsplit_once('/').map(|(parent, _)| FolderName(parent.into()))
    }

    /// Is it below that one, at any depth?
    pub fn is_below(&self, above: &FolderName) -> bool {
        self.0.strip_prefix(&above.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// What becomes of this name when `from` gets the name `to`. Names that are not at or below `from` stay.
    pub fn moved(&self, from: &FolderName, to: &FolderName) -> Result<FolderName, NameError> {
        match self.0.strip_prefix(&from.0) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => FolderName::parse(&format!("{}{rest}", to.0)),
            _ => Ok(self.clone()),
        }
    }

    /// Where its mail is, below the user's directory.
    pub fn file(&self) -> PathBuf {
        let mut path = self.dir().into_os_string();
        path.push(MBOX);
        path.into()
    }

    /// Where the folders below it are.
    pub fn dir(&self) -> PathBuf {
        self.0.split('/').map(|part| encode(part).into_owned()).collect()
    }

    /// The folder whose mail is in this file. None: no folder's name is written so.
    pub fn of_file(path: &Path) -> Option<FolderName> {
        FolderName::of_dir(Path::new(path.to_str()?.strip_suffix(MBOX)?))
    }

    /// The folder below which the folders of this directory are.
    pub fn of_dir(path: &Path) -> Option<FolderName> {
        let parts: Option<Vec<String>> = path.to_str()?.split('/').map(decode).collect();
        let name = FolderName::parse(&parts?.join("/")).ok()?;
        (name.dir() == path).then_some(name)
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A part of a name as it is written on the disk.
fn encode(part: &str) -> Cow<'_, str> {
    let suffix = [MBOX, LOCK].into_iter().find(|suffix| part.ends_with(suffix)).map(|suffix| part.len() - suffix.len());
    let is_special = |at: usize, c: char| c == '%' || c == '.' && (at == 0 || Some(at) == suffix);
    if !part.char_indices().any(|(at, c)| is_special(at, c)) {
        return Cow::Borrowed(part);
    }
    let mut out = String::with_capacity(part.len() + 4);
    for (at, c) in part.char_indices() {
        match c {
            '%' => out.push_str("%25"),
            '.' if is_special(at, c) => out.push_str("%2E"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The part that may be written so. None: nothing is.
fn decode(written: &str) -> Option<String> {
    let mut pieces = written.split('%');
    let mut part = String::from(pieces.next()?);
    for piece in pieces {
        part.push(match piece.get(..2)? {
            "25" => '%',
            "2E" => '.',
            _ => return None,
        });
        part.push_str(piece.get(2..)?);
    }
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    fn name(text: &str) -> FolderName {
        FolderName::parse(text).unwrap()
    }

    #[test]
    fn names_are_written_so_that_people_know_them() {
        for (text, dir) in [
            ("Work", "Work"),
            ("Work/Project 7", "Work/Project 7"),
            ("Entwürfe", "Entwürfe"),
            ("..", "%2E."),
            (".", "%2E"),
            (".hidden/a.b", "%2Ehidden/a.b"),
            ("a.mbox", "a%2Embox"),
            (".mbox", "%2Embox"),
            ("a.mbox/b", "a%2Embox/b"),
            ("a.mbox.lock", "a.mbox%2Elock"),
            ("a.lock.mbox", "a.lock%2Embox"),
            ("100%", "100%25"),
            ("%2E", "%252E"),
            ("inbox/Lists", "INBOX/Lists"),
            ("Inboxes", "Inboxes"),
            ("back\\slash:*?\"<>|", "back\\slash:*?\"<>|"),
        ] {
            let name = name(text);
            assert_eq!(name.dir(), Path::new(dir), "{text}");
            assert_eq!(name.file(), Path::new(&format!("{dir}.mbox")));
            assert_eq!(FolderName::of_file(&name.file()), Some(name.clone()));
            assert_eq!(FolderName::of_dir(Path::new(dir)), Some(name));
        }
        assert!(name("iNbOx").is_inbox());
        assert!(!name("INBOX/INBOX").is_inbox());
        assert_eq!(name("inbox"), FolderName::inbox());
        // Decomposed, as some file systems like it.
        assert_eq!(name("Entwu\u{308}rfe"), name("Entwürfe"));
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for text in ["", "/", "a/", "/a", "a//b", "//"] {
            assert_eq!(FolderName::parse(text), Err(NameError::Empty), "{text:?}");
        }
        for text in ["a\0", "a\nb", "\u{7f}", "a\u{85}", "\u{2028}", "a/\tb"] {
            assert_eq!(FolderName::parse(text), Err(NameError::Control), "{text:?}");
        }
        assert!(FolderName::parse(&"x".repeat(245)).is_ok());
        assert_eq!(FolderName::parse(&"x".repeat(246)), Err(NameError::TooLong));
        assert!(FolderName::parse(&format!("{}/{}", "x".repeat(127), "y".repeat(127))).is_ok());
        assert_eq!(FolderName::parse(&format!("{}/{}", "x".repeat(128), "y".repeat(127))), Err(NameError::TooLong));
        assert_eq!(FolderName::parse(&vec!["a"; 1_000].join("/")), Err(NameError::TooLong));
        assert_eq!(FolderName::parse(&"%".repeat(100)), Err(NameError::TooLong));
    }

    #[test]
    fn files_of_other_forms_are_nobodys() {
        for path in [
            "a",
            ".mbox",
            ".a.mbox",
            "a.mbox.lock",
            "%41.mbox",
            "%2e.mbox",
            "%.mbox",
            "%2",
            "a/../b.mbox",
            "../b.mbox",
            "/a.mbox",
            "a//b.mbox",
            "./a.mbox",
            "inbox/a.mbox",
            "Entwu\u{308}rfe.mbox",
            "a.mbox/b.mbox",
            "a\n.mbox",
            "a%2Eb.mbox",
        ] {
            assert_eq!(FolderName::of_file(Path::new(path)), None, "{path:?}");
        }
    }

    #[test]
    fn names_stand_above_and_below_each_other() {
        let (work, sub) = (name("Work"), name("Work/a/b"));
        assert!(sub.is_below(&work) && !work.is_below(&work) && !name("Workshop").is_below(&work));
        assert_eq!((sub.parent(), work.parent()), (Some(name("Work/a")), None));
        assert_eq!(sub.moved(&work, &name("inbox/x")), Ok(name("INBOX/x/a/b")));
        assert_eq!(name("Workshop").moved(&work, &name("x")), Ok(name("Workshop")));
        assert_eq!(sub.moved(&work, &name(&"x".repeat(245))), Ok(name(&format!("{}/a/b", "x".repeat(245)))));
        assert_eq!(sub.moved(&work, &name(&["x".repeat(245), "yyyyyyy".into()].join("/"))), Err(NameError::TooLong));
    }

    proptest! {
        #[test]
        fn every_name_comes_back_from_the_disk(text in "(\\PC|[.%/]|mbox|lock|inbox)*") {
            let Ok(name) = FolderName::parse(&text) else { return Ok(()) };
            prop_assert_eq!(FolderName::parse(name.as_str()), Ok(name.clone()));
            prop_assert_eq!(FolderName::of_file(&name.file()), Some(name.clone()));
            prop_assert_eq!(FolderName::of_dir(&name.dir()), Some(name.clone()));
            for part in name.dir().components() {
                let Component::Normal(part) = part else { panic!("{part:?}") };
                let part = part.to_str().unwrap();
                prop_assert!(!part.starts_with('.') && !part.ends_with(".mbox") && !part.ends_with(".lock") && part.len() <= 245);
            }
        }

        #[test]
        fn what_is_found_on_the_disk_has_one_name(path in "([a.%/]|%2E|%25|mbox|\\.mbox)*\\.mbox") {
            if let Some(name) = FolderName::of_file(Path::new(&path)) {
                prop_assert_eq!(name.file(), Path::new(&path));
            }
        }
    }
}
