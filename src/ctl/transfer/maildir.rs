//! Maildir: a file for each message, its flags in its name. Folders as Maildir++ has them (`.Work.Plans`), or as directories in
//! each other (`Work/Plans`); names in modified UTF-7 (RFC 3501 §5.1.3), a dot in a part as `\2e`, both as Dovecot does it.
//! Keywords are small letters, told in the file `dovecot-keywords`.

use super::{Failure, INBOX, Message, Source, Target, date_of};
use crate::mailbox::utf7;
use crate::sys::{Time, exit};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FLAGS: [(char, &str); 5] = [('D', "\\Draft"), ('F', "\\Flagged"), ('R', "\\Answered"), ('S', "\\Seen"), ('T', "\\Deleted")];
/// `P`, "passed", is a keyword elsewhere (RFC 5788).
const PASSED: &str = "$Forwarded";
const KEYWORDS: &str = "dovecot-keywords";
/// Small letters.
const MOST_KEYWORDS: usize = 26;

/// Is there one in the directory, or one below it?
pub fn is_maildir(dir: &Path) -> io::Result<bool> {
    if dir.join("cur").is_dir() {
        return Ok(true);
    }
    Ok(fs::read_dir(dir)?.filter_map(Result::ok).any(|entry| entry.path().join("cur").is_dir()))
}

/// See the module.
pub struct Maildir {
    root: PathBuf,
    /// Folders and where they are.
    folders: Vec<(String, PathBuf)>,
    /// The folder that is written.
    open: PathBuf,
    keywords: Vec<String>,
    /// Begins the names of files.
    stamp: String,
    written: u64,
    lost: u64,
}

impl Maildir {
    pub fn at(root: &Path) -> Maildir {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stamp = format!("{}.M{}P{}", now.as_secs(), now.subsec_micros(), std::process::id());
        Maildir {
            root: root.to_owned(),
            folders: Vec::new(),
            open: root.to_owned(),
            keywords: Vec::new(),
            stamp,
            written: 0,
            lost: 0,
        }
    }
}

impl Source for Maildir {
    fn folders(&mut self) -> Result<Vec<String>, Failure> {
        let mut todo = vec![(String::new(), self.root.clone())];
        while let Some((name, dir)) = todo.pop() {
            for entry in fs::read_dir(&dir).map_err(|error| unreadable(&dir, &error))?.filter_map(Result::ok) {
                let own = entry.file_name().to_string_lossy().into_owned();
                if matches!(own.as_str(), "cur" | "new" | "tmp") || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let inner = match own.strip_prefix('.') {
                    Some(parts) => parts.split('.').map(decoded).collect::<Vec<_>>().join("/"),
                    None => decoded(&own),
                };
                let whole = if name.is_empty() { inner } else { format!("{name}/{inner}") };
                todo.push((whole, entry.path()));
            }
            if dir.join("cur").is_dir() {
                self.folders.push((if name.is_empty() { INBOX.to_owned() } else { name }, dir));
            }
        }
        self.folders.sort();
        Ok(self.folders.iter().map(|(name, _)| name.clone()).collect())
    }

    fn each(&mut self, folder: &str, take: &mut dyn FnMut(Message) -> Result<(), Failure>) -> Result<(), Failure> {
        let Some((_, dir)) = self.folders.iter().find(|(name, _)| name == folder) else { return Ok(()) };
        let keywords = read_keywords(&fs::read_to_string(dir.join(KEYWORDS)).unwrap_or_default());
        let mut files = Vec::new();
        for place in ["cur", "new"].map(|place| dir.join(place)) {
            match fs::read_dir(&place) {
                Ok(entries) => files.extend(entries.filter_map(Result::ok).map(|entry| (entry.file_name(), entry.path()))),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&place, &error)),
            }
        }
        // A name begins with the second of its delivery.
        files.sort_by_cached_key(|(name, _)| {
            let name = name.to_string_lossy().into_owned();
            (second(&name).unwrap_or(u64::MAX), name)
        });
        for (name, path) in files {
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            let read = fs::metadata(&path).and_then(|found| Ok((fs::read(&path)?, found.modified()?)));
            let (content, changed) = match read {
                Ok(read) => read,
                // Another program has just given it another name, or removed it.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(unreadable(&path, &error)),
            };
            let (flags, keywords) = marks(&name, &keywords);
            take(Message { content, flags, keywords, date: date(&name, changed) })?;
        }
        Ok(())
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(exit::NOINPUT, format!("{}: {error}", path.display()))
}

fn second(name: &str) -> Option<u64> {
    name.split('.').next()?.parse().ok()
}

/// When the file was last changed; but a copy of it is younger than the message.
fn date(name: &str, changed: SystemTime) -> Time {
    let changed = date_of(changed);
    let delivered = second(name).and_then(|seconds| i64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    match delivered {
        Some(seconds) if seconds < changed.seconds() => Time::from_seconds(seconds),
        _ => changed,
    }
}

/// Flags and keywords of a file's name.
fn marks(name: &str, known: &[Option<String>]) -> (Vec<String>, Vec<String>) {
    let letters = name.rsplit_once([':', ';', '!']).and_then(|(_, info)| info.strip_prefix("2,")).unwrap_or("");
    let letters = letters.split(',').next().unwrap_or("");
    let (mut flags, mut keywords) = (Vec::new(), Vec::new());
    for letter in letters.chars() {
        let place = u32::from(letter).wrapping_sub(u32::from('a')) as usize;
        match FLAGS.iter().find(|(known, _)| *known == letter) {
            Some((_, flag)) => flags.push((*flag).to_owned()),
            None if letter == 'P' => keywords.push(PASSED.to_owned()),
            None => keywords.extend(known.get(place).cloned().flatten()),
        }
    }
    keywords.dedup();
    (flags, keywords)
}

/// Lines of a number and a name.
fn read_keywords(text: &str) -> Vec<Option<String>> {
    let mut all = vec![None; MOST_KEYWORDS];
    for (number, name) in text.lines().filter_map(|line| line.trim().split_once(' ')) {
        if let Some(place) = number.parse::<usize>().ok().and_then(|number| all.get_mut(number)) {
            *place = Some(name.to_owned());
        }
    }
    all
}

/// A part of a folder's name. What is no modified UTF-7 is taken as it is.
fn decoded(part: &str) -> String {
    let text = utf7::decode(part.as_bytes()).unwrap_or_else(|_| part.to_owned());
    text.replace("\\2e", ".").replace("\\5c", "\\")
}

fn encoded(part: &str) -> String {
    utf7::encode(&part.replace('\\', "\\5c").replace('.', "\\2e"))
}

impl Target for Maildir {
    fn folder(&mut self, name: &str) -> Result<(), Failure> {
        self.write_keywords()?;
        self.open = match name {
            INBOX => self.root.clone(),
            name => self.root.join(name.split('/').fold(String::new(), |all, part| all + "." + &encoded(part))),
        };
        for place in ["cur", "new", "tmp"].map(|place| self.open.join(place)) {
            fs::create_dir_all(&place).map_err(|error| unwritten(&place, &error))?;
        }
        if name != INBOX {
            // By this file a folder is known as one.
            let mark = self.open.join("maildirfolder");
            File::create(&mark).map_err(|error| unwritten(&mark, &error))?;
        }
        Ok(())
    }

    fn put(&mut self, message: &Message) -> Result<(), Failure> {
        let mut letters: Vec<char> =
            FLAGS.iter().filter(|(_, flag)| message.flags.iter().any(|own| own == flag)).map(|(letter, _)| *letter).collect();
        for name in &message.keywords {
            let place = self.keywords.iter().position(|known| known == name);
            let place = place.or_else(|| {
                let room = self.keywords.len() < MOST_KEYWORDS;
                room.then(|| self.keywords.push(name.clone())).map(|()| self.keywords.len() - 1)
            });
            match place.and_then(|place| u8::try_from(place).ok()) {
                Some(place) => letters.push(char::from(b'a' + place)),
                None => self.lost += 1,
            }
        }
        letters.sort_unstable();
        self.written += 1;
        let content = plain(&message.content);
        let letters: String = letters.into_iter().collect();
        let (size, wire) = (content.len(), message.content.len());
        let name = format!("{}Q{:08}.pillarbox,S={size},W={wire}", self.stamp, self.written);
        let (before, after) = (self.open.join("tmp").join(&name), self.open.join("cur").join(format!("{name}:2,{letters}")));
        let write = || {
            let mut file = File::create_new(&before)?;
            file.write_all(&content)?;
            file.set_modified(time_of(message.date))?;
            fs::rename(&before, &after)
        };
        write().map_err(|error| unwritten(&after, &error))
    }

    fn finish(&mut self) -> Result<u64, Failure> {
        self.write_keywords()?;
        Ok(self.lost)
    }
}

impl Maildir {
    /// Of the folder that is left.
    fn write_keywords(&mut self) -> Result<(), Failure> {
        let names = std::mem::take(&mut self.keywords);
        if names.is_empty() {
            return Ok(());
        }
        let text: String = names.iter().enumerate().map(|(number, name)| format!("{number} {name}\n")).collect();
        let path = self.open.join(KEYWORDS);
        fs::write(&path, text).map_err(|error| unwritten(&path, &error))
    }
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(exit::CANTCREAT, format!("{}: {error}", path.display()))
}

/// With LF, as other programs write it; but with CRLF where a CR before the end of a line would be taken for part of it.
fn plain(content: &[u8]) -> Vec<u8> {
    if memchr::memmem::find(content, b"\r\r\n").is_some() {
        return content.to_vec();
    }
    let mut out = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => {
                out.extend_from_slice(text);
                out.push(b'\n');
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

fn time_of(date: Time) -> SystemTime {
    let span = Duration::from_micros(date.0.unsigned_abs());
    if date.0 < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let known = read_keywords("0 $Work\n1 later\nx y\n99 no\n");
        let marks = |name| marks(name, &known);
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(marks("1.a.b,S=1:2,FRSbz"), (words(&["\\Flagged", "\\Answered", "\\Seen"]), words(&["later"])));
        assert_eq!(marks("1.a.b:2,P"), (vec![], words(&["$Forwarded"])));
        assert_eq!(marks("1.a.b"), (vec![], vec![]));
        assert_eq!(marks("1.a.b:1,S"), (vec![], vec![]));
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(date("1000.x", at(5000)), Time::from_seconds(1000));
        assert_eq!(date("1000.x", at(500)), Time::from_seconds(500));
        assert_eq!(date("x.1000", at(5000)), Time::from_seconds(5000));
    }

    #[test]
    fn names_of_folders() {
        for name in ["Entw\u{fc}rfe", "v1.2", "a\\2e", "&", "\u{53f0}\u{5317}"] {
            let written = encoded(name);
            assert!(!written.contains('.') && written.is_ascii(), "{written}");
            assert_eq!(decoded(&written), name);
        }
        assert_eq!(decoded("M\u{fc}ll"), "M\u{fc}ll");
    }
}
