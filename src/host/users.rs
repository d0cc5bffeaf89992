//! The users file: accounts of this daemon's own, with their passwords.
//!
//! ```text
//! # pillarbox users 1
//! alice:$argon2id$v=19$m=16384,t=2,p=1$c29tZSBzYWx0$aGFzaA,$scram-sha-256$i=60000$c2FsdA$a2V5cw:Alice Liddell:
//! ```
//!
//! The first line tells the version. After it every line is empty, a comment (`#`), or a user: name, keys, full name, and
//! an empty last field (so that a later version can add to it). No field can hold a colon.
//!
//! The keys are PHC strings with their leading `$`, joined by commas: first the password's hash, then (optional) those of
//! SCRAM. A PHC string has commas of its own, between parameters, but there a name follows; a comma before a `$` is always
//! one that joins two keys. Keys of schemes that this version does not know are kept as they stand, except the first.
//!
//! Editing is done by pure functions from text to text, which leave all other lines as they are, and written by [`edit`].

use super::password::Hash;
use super::scram::ScramKeys;
use nix::fcntl::{FcntlArg, fcntl};
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

const HEAD: &str = "# pillarbox users ";
const VERSION: u32 = 1;

/// One user of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// In lower case; see [`is_name`].
    pub name: String,
    /// Of the password.
    pub password: Hash,
    /// Further keys, as they stand.
    pub other_keys: Vec<String>,
    /// For people.
    pub full_name: String,
}

impl User {
    /// The first keys for SCRAM-SHA-256.
    pub fn scram(&self) -> Option<ScramKeys> {
        self.other_keys.iter().find_map(|key| ScramKeys::parse(key))
    }
}

/// What is kept of a new password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// To check it.
    pub hash: Hash,
    /// To have it proven without being told.
    pub scram: ScramKeys,
}

impl Secrets {
    /// Made from a password, with fresh salts.
    pub fn of(password: &[u8]) -> io::Result<Secrets> {
        Ok(Secrets { hash: Hash::of(password)?, scram: ScramKeys::of(password)? })
    }
}

/// What is wrong with a users file, or with what is to be done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsersError {
    /// The line (from 1) and what is wrong there.
    Line(usize, &'static str),
    /// The user to be added is there already.
    Exists(String),
    /// There is no such user.
    Missing(String),
    /// Not a user's name.
    Name(String),
    /// A full name with a colon or a control character.
    FullName,
}

impl fmt::Display for UsersError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsersError::Line(line, what) => write!(out, "line {line}: {what}"),
            UsersError::Exists(name) => write!(out, "user {name} exists"),
            UsersError::Missing(name) => write!(out, "no user {name}"),
            UsersError::Name(name) => {
                write!(out, "{name:?} can't be a user's name: letters, digits, dots, dashes and underscores")
            }
            UsersError::FullName => out.write_str("a full name can't hold a colon or a control character"),
        }
    }
}

impl std::error::Error for UsersError {}

/// May an account have this name? Letters in lower case, digits, `.`, `_` and `-`, not first a dot or dash, at most 64 bytes:
/// safe as a file name and in a command line. Not ending in `.lock`, for `bob.lock` is what locks bob's mailbox.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'-'))
        && name.len() <= 64
        && !name.ends_with(".lock")
}

/// What a users file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// In order, each name once.
    pub users: Vec<User>,
    /// Lines, and the names on them, that were left out because no account can have such a name.
    pub refused: Vec<(usize, String)>,
}

/// Reads a whole file. An empty text is a file without users.
pub fn parse(text: &str) -> Result<Users, UsersError> {
    check_version(text)?;
    let mut out = Users::default();
    let mut seen = std::collections::HashSet::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| is_user(line)) {
        let wrong = |what| UsersError::Line(at + 1, what);
        let user = parse_line(line).map_err(wrong)?;
        if !is_name(&user.name) {
            out.refused.push((at + 1, user.name));
        } else if !seen.insert(user.name.clone()) {
            return Err(wrong("this user has a line already"));
        } else {
            out.users.push(user);
        }
    }
    Ok(out)
}

fn check_version(text: &str) -> Result<(), UsersError> {
    let Some(first) = text.lines().next() else {
        return Ok(());
    };
    match first.strip_prefix(HEAD).map(|rest| rest.trim_end().parse::<u32>()) {
        Some(Ok(VERSION)) => Ok(()),
        Some(Ok(_)) => Err(UsersError::Line(1, "a version this program does not know")),
        _ => Err(UsersError::Line(1, "not a users file: it must begin with \"# pillarbox users 1\"")),
    }
}

fn is_user(line: &str) -> bool {
    !line.trim_start().is_empty() && !line.starts_with('#')
}

/// ```abnf
/// line = name ":" key *("," key) ":" full-name ":"
/// key  = PHC-string      ; with its leading "$"
/// ```
fn parse_line(line: &str) -> Result<User, &'static str> {
    if line.chars().any(char::is_control) {
        return Err("control character");
    }
    let fields: Vec<&str> = line.split(':').collect();
    let &[name, keys, full_name, ""] = fields.as_slice() else {
        return Err("not of the form name:hash:full name:");
    };
    let mut keys = split_keys(keys);
    let password = keys.next().and_then(Hash::parse).ok_or("not a password hash we can verify ($argon2id$…)")?;
    let other_keys = keys.map(str::to_owned).collect();
    Ok(User { name: name.to_ascii_lowercase(), password, other_keys, full_name: full_name.to_owned() })
}

/// Cuts before every `,$`.
fn split_keys(keys: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(keys);
    std::iter::from_fn(move || {
        let keys = rest?;
        let cut = keys.find(",$");
        rest = cut.and_then(|at| keys.get(at + 1..));
        keys.get(..cut.unwrap_or(keys.len()))
    })
}

impl fmt::Display for User {
    /// Its line, without the line end.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.name, self.password)?;
        for key in &self.other_keys {
            write!(out, ",{key}")?;
        }
        write!(out, ":{}:", self.full_name)
    }
}

/// The text with one user more.
pub fn add(text: &str, name: &str, password: &Secrets, full_name: &str) -> Result<String, UsersError> {
    let name = name.to_ascii_lowercase();
    if !is_name(&name) {
        return Err(UsersError::Name(name));
    }
    if full_name.chars().any(|char| char == ':' || char.is_control()) {
        return Err(UsersError::FullName);
    }
    if parse(text)?.users.iter().any(|user| user.name == name) {
        return Err(UsersError::Exists(name));
    }
    let mut out = if text.is_empty() { format!("{HEAD}{VERSION}\n") } else { text.to_owned() };
    if !out.ends_with('\n') {
        out.push('\n');
    }
    let user = User {
        name,
        password: password.hash.clone(),
        other_keys: vec![password.scram.to_string()],
        full_name: full_name.to_owned(),
    };
    Ok(format!("{out}{user}\n"))
}

/// The text with another password for one user. All keys made from the old password are dropped.
pub fn set_password(text: &str, name: &str, password: &Secrets) -> Result<String, UsersError> {
    let (hash, scram) = (&password.hash, password.scram.to_string());
    change(text, name, |user| Some(User { password: hash.clone(), other_keys: vec![scram.clone()], ..user }))
}

/// The text without one user.
pub fn remove(text: &str, name: &str) -> Result<String, UsersError> {
    change(text, name, |_| None)
}

fn change(text: &str, name: &str, with: impl Fn(User) -> Option<User>) -> Result<String, UsersError> {
    let name = name.to_ascii_lowercase();
    parse(text)?;
    let mut found = false;
    let mut out = String::with_capacity(text.len() + 128);
    for line in text.split_inclusive('\n') {
        let user = Some(line.trim_end_matches(['\r', '\n'])).filter(|line| is_user(line)).and_then(|line| parse_line(line).ok());
        match user {
            Some(user) if user.name == name => {
                found = true;
                if let Some(user) = with(user) {
                    out.push_str(&format!("{user}\n"));
                }
            }
            _ => out.push_str(line),
        }
    }
    if found { Ok(out) } else { Err(UsersError::Missing(name)) }
}

/// Reads a users file, changes its text, and puts the new text in its place in one act, durable when this returns. The file
/// is made (0600) if it is not there; else its owner stays. Editors wait for each other.
pub fn edit(path: &Path, change: impl FnOnce(&str) -> Result<String, UsersError>) -> io::Result<()> {
    let mut old = lock(path)?;
    let mut text = String::new();
    old.read_to_string(&mut text)?;
    let wrong = |error: UsersError| {
        let named = matches!(error, UsersError::Line(..));
        let message = if named { format!("{}: {error}", path.display()) } else { error.to_string() };
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    let text = change(&text).map_err(wrong)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let meta = old.metadata()?;
    let mut new = tempfile::Builder::new().prefix(".users-").tempfile_in(dir)?;
    let made = new.as_file().metadata()?;
    if (made.uid(), made.gid()) != (meta.uid(), meta.gid()) {
        fchown(new.as_file(), Some(meta.uid()), Some(meta.gid()))?;
    }
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    fs::File::open(dir)?.sync_all()
}

/// Opens the file and waits for its lock (OFD); the file is the one at the path when the lock is had.
fn lock(path: &Path) -> io::Result<fs::File> {
    loop {
        let mut options = fs::OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
        let whole = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&file, FcntlArg::F_OFD_SETLKW(&whole))?;
        let (held, there) = (file.metadata()?, fs::symlink_metadata(path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const KEY: &str = "$argon2id$v=19$m=16384,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const OTHER: &str = "$argon2id$v=19$m=16384,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE";

    const SCRAM: &str =
        "$scram-sha-256$i=4096$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn secrets(key: &str) -> Secrets {
        Secrets { hash: hash(key), scram: ScramKeys::parse(SCRAM).unwrap() }
    }

    fn hash(text: &str) -> Hash {
        Hash::parse(text).unwrap()
    }

    #[test]
    fn keys_are_told_apart() {
        let scram = "$scram-sha-256$i=4096,x=1$salt$stored";
        let text = format!("# pillarbox users 1\n\n# us\nAlice:{KEY},{scram},$new$k:Alice L.:\nbob:{KEY}::\n");
        let Users { users, refused } = parse(&text).unwrap();
        assert!(refused.is_empty());
        assert_eq!(users[0].name, "alice");
        assert_eq!(users[0].password, hash(KEY));
        assert_eq!(users[0].other_keys, [scram, "$new$k"]);
        assert_eq!(users[0].to_string(), format!("alice:{KEY},{scram},$new$k:Alice L.:"));
        assert_eq!(users[1].full_name, "");
        assert_eq!(parse("").unwrap().users, []);
    }

    #[test]
    fn errors_name_the_line() {
        let cases = [
            ("alice:x::\n", 1, "not a users file"),
            ("# pillarbox users 2\n", 1, "version"),
            ("# pillarbox users one\n", 1, "not a users file"),
            ("# pillarbox users 1\n\nalice\n", 3, "not of the form"),
            (&format!("# pillarbox users 1\nalice:{KEY}:A\n"), 2, "not of the form"),
            (&format!("# pillarbox users 1\nalice:{KEY}:A:more\n"), 2, "not of the form"),
            ("# pillarbox users 1\nalice:secret:A:\n", 2, "not a password hash"),
            ("# pillarbox users 1\nalice::A:\n", 2, "not a password hash"),
            ("# pillarbox users 1\nalice:$6$a$b:A:\n", 2, "not a password hash"),
            (&format!("# pillarbox users 1\na:{KEY}::\nA:{KEY}::\n"), 3, "already"),
            (&format!("# pillarbox users 1\na:{KEY}:\u{7}:\n"), 2, "control"),
        ];
        for (text, line, what) in cases {
            match parse(text) {
                Err(UsersError::Line(at, message)) => assert!(at == line && message.contains(what), "{text:?}: {at} {message}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn names_are_safe_as_file_names() {
        for name in ["a", "alice", "a.b-c_d", "0x", "_x", &"a".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".a", "..", "a/b", "A", "a b", "-a", "a:b", "bob.lock", "a+b", "a@b", "ä", "a\0", &"a".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
        let text = format!("# pillarbox users 1\n../etc:{KEY}::\nbob:{KEY}::\n");
        let Users { users, refused } = parse(&text).unwrap();
        assert_eq!((users.len(), refused), (1, vec![(2, "../etc".to_owned())]));
    }

    #[test]
    fn edits_leave_the_rest_alone() {
        let text = add("", "Alice", &secrets(KEY), "Alice L.").unwrap();
        assert_eq!(text, format!("# pillarbox users 1\nalice:{KEY},{SCRAM}:Alice L.:\n"));
        let text = add(&format!("{text}# end"), "bob", &secrets(KEY), "").unwrap();
        assert_eq!(text, format!("# pillarbox users 1\nalice:{KEY},{SCRAM}:Alice L.:\n# end\nbob:{KEY},{SCRAM}::\n"));
        let changed = set_password(&text, "ALICE", &secrets(OTHER)).unwrap();
        assert_eq!(changed, format!("# pillarbox users 1\nalice:{OTHER},{SCRAM}:Alice L.:\n# end\nbob:{KEY},{SCRAM}::\n"));
        assert_eq!(remove(&text, "alice").unwrap(), format!("# pillarbox users 1\n# end\nbob:{KEY},{SCRAM}::\n"));
        assert_eq!(add(&text, "ALICE", &secrets(KEY), ""), Err(UsersError::Exists("alice".into())));
        assert_eq!(add(&text, "a/b", &secrets(KEY), ""), Err(UsersError::Name("a/b".into())));
        assert_eq!(add(&text, "c", &secrets(KEY), "a:b\n"), Err(UsersError::FullName));
        assert_eq!(remove(&text, "carol"), Err(UsersError::Missing("carol".into())));
        assert!(add("rubbish\n", "c", &secrets(KEY), "").is_err());
    }

    #[test]
    fn the_file_is_replaced_in_one_act() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        std::thread::scope(|scope| {
            for n in 0..4 {
                let path = &path;
                scope.spawn(move || edit(path, |text| add(text, &format!("u{n}"), &secrets(KEY), "")).unwrap());
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(parse(&text).unwrap().users.len(), 4);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(edit(&path, |text| remove(text, "nobody")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
