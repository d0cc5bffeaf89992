//! mbox files: one alone, or those of a directory and below it, as Pillarbox, UW-IMAP, mutt and Thunderbird keep them. Flags are
//! in `Status`, `X-Status` and `X-Keywords`; lines are quoted as in mboxrd.

use super::{Failure, INBOX, Message, Source, Target, date_in};
use crate::mail::header;
use crate::mail::mboxrd::{FromWire, Quoter, ToWire};
use crate::mailbox::{FolderName, mbox_date, mbox_from_line, mbox_is_dead};
use crate::sys::{Clock, SystemClock, exit};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Letters of `Status` and `X-Status`, told apart by the field.
const STATUS: [(u8, &str); 1] = [(b'R', "\\Seen")];
const X_STATUS: [(u8, &str); 4] = [(b'A', "\\Answered"), (b'F', "\\Flagged"), (b'T', "\\Draft"), (b'D', "\\Deleted")];
/// What UW-IMAP begins a mailbox with is no mail.
const INTERNAL: &[u8] = b"DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";

/// Files to read.
pub struct Mbox {
    root: PathBuf,
    folders: Vec<(String, PathBuf)>,
}

impl Mbox {
    pub fn at(root: &Path) -> Mbox {
        Mbox { root: root.to_owned(), folders: Vec::new() }
    }
}

impl Source for Mbox {
    fn folders(&mut self) -> Result<Vec<String>, Failure> {
        if !self.root.is_dir() {
            self.folders = vec![(INBOX.to_owned(), self.root.clone())];
        }
        let mut todo = if self.root.is_dir() { vec![self.root.clone()] } else { Vec::new() };
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir).map_err(|error| unreadable(&dir, &error))?.filter_map(Result::ok) {
                let path = entry.path();
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && !hidden => todo.push(path),
                    Ok(kind) if kind.is_file() && !hidden && is_mbox(&path)? => {
                        let inside = path.strip_prefix(&self.root).unwrap_or(&path);
                        self.folders.push((name_of(inside), path.clone()));
                    }
                    _ => {}
                }
            }
        }
        self.folders.sort();
        Ok(self.folders.iter().map(|(name, _)| name.clone()).collect())
    }

    fn each(&mut self, folder: &str, take: &mut dyn FnMut(Message) -> Result<(), Failure>) -> Result<(), Failure> {
        for (_, path) in self.folders.iter().filter(|(name, _)| name == folder) {
            let file = File::open(path).map_err(|error| unreadable(path, &error))?;
            each_of(BufReader::new(file), take).map_err(|error| match error {
                Broken::Io(error) => unreadable(path, &error),
                Broken::Foreign => Failure::new(exit::DATAERR, format!("{}: this is no mbox file", path.display())),
                Broken::Taken(failure) => failure,
            })?;
        }
        Ok(())
    }
}

/// As we write it, or as other programs do, Thunderbird's directories included.
fn name_of(path: &Path) -> String {
    if let Some(name) = FolderName::of_file(path) {
        return name.as_str().to_owned();
    }
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let parts: Vec<String> = parts.map(|part| part.strip_suffix(".sbd").map_or(part.clone(), str::to_owned)).collect();
    parts.join("/")
}

/// Indexes and the like lie beside mailboxes.
pub fn is_mbox(path: &Path) -> Result<bool, Failure> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, 5), &mut start));
    read.map_err(|error| unreadable(path, &error))?;
    Ok(start == b"From " || start.is_empty())
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(exit::NOINPUT, format!("{}: {error}", path.display()))
}

enum Broken {
    Io(io::Error),
    Foreign,
    Taken(Failure),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Io(error)
    }
}

/// A message begins at a `From ` line that stands behind an empty one, or at the start.
fn each_of(mut file: impl BufRead, take: &mut dyn FnMut(Message) -> Result<(), Failure>) -> Result<(), Broken> {
    let (mut line, mut from, mut text) = (Vec::new(), None::<Vec<u8>>, Vec::new());
    loop {
        line.clear();
        let ended = file.read_until(b'\n', &mut line)? == 0;
        let bare = line.strip_suffix(b"\n").unwrap_or(&line);
        let behind_blank = text.is_empty() || text == b"\n" || text.ends_with(b"\n\n") || text.ends_with(b"\n\r\n");
        let is_from = match &from {
            None => bare.starts_with(b"From "),
            Some(_) => behind_blank && bare.starts_with(b"From ") && mbox_date(bare).is_some(),
        };
        if (ended || is_from) && from.is_some() {
            let from = from.take().unwrap_or_default();
            if let Some(message) = message(&from, &text) {
                take(message).map_err(Broken::Taken)?;
            }
            text.clear();
        }
        match (ended, is_from, &from) {
            (true, ..) => return Ok(()),
            (_, true, _) => from = Some(bare.to_vec()),
            (_, false, Some(_)) => text.extend_from_slice(&line),
            (_, false, None) if bare.trim_ascii().is_empty() => {}
            (_, false, None) => return Err(Broken::Foreign),
        }
    }
}

/// `text`: with the empty line that ends it. None: it is none, but what some program keeps there.
fn message(from: &[u8], text: &[u8]) -> Option<Message> {
    let text =
        text.strip_suffix(b"\r\n").filter(|rest| rest.ends_with(b"\n")).or_else(|| text.strip_suffix(b"\n")).unwrap_or(text);
    let header = text.get(..header::end(text))?;
    let value = |name: &str| {
        let field = header::fields(header).find(|field| field.is(header, name))?;
        Some(header::unfold(header.get(field.value)?))
    };
    if mbox_is_dead(header) || value("Subject").is_some_and(|subject| subject == INTERNAL) {
        return None;
    }
    let (mut to_wire, mut content) = (ToWire::default(), Vec::with_capacity(text.len()));
    to_wire.push(text, &mut content);
    to_wire.finish(&mut content);
    let (status, x_status) = (value("Status").unwrap_or_default(), value("X-Status").unwrap_or_default());
    let told = |known: &[(u8, &str)], said: &[u8]| -> Vec<String> {
        known.iter().filter(|(letter, _)| said.contains(letter)).map(|(_, flag)| (*flag).to_owned()).collect()
    };
    let flags = [told(&STATUS, &status), told(&X_STATUS, &x_status)].concat();
    let words = String::from_utf8_lossy(&value("X-Keywords").unwrap_or_default()).into_owned();
    let keywords = words.split([' ', ',', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let date = mbox_date(from).or_else(|| date_in(&content)).unwrap_or_else(|| SystemClock::default().now());
    Some(Message { content, flags, keywords, date })
}

/// Files to be written: `INBOX.mbox`, `Work.mbox`, `Work/Plans.mbox`.
pub struct Writer {
    root: PathBuf,
    open: Option<(PathBuf, BufWriter<File>)>,
}

impl Writer {
    pub fn at(root: &Path) -> Writer {
        Writer { root: root.to_owned(), open: None }
    }
}

impl Target for Writer {
    fn folder(&mut self, name: &str) -> Result<(), Failure> {
        self.finish()?;
        let name = FolderName::parse(name).map_err(|error| Failure::new(exit::CANTCREAT, error))?;
        let path = self.root.join(name.file());
        let make = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            File::create_new(&path)
        };
        let file = make().map_err(|error| unwritten(&path, &error))?;
        self.open = Some((path, BufWriter::new(file)));
        Ok(())
    }

    fn put(&mut self, message: &Message) -> Result<(), Failure> {
        let Some((path, file)) = &mut self.open else { return Ok(()) };
        file.write_all(&record(message)).map_err(|error| unwritten(path, &error))
    }

    fn finish(&mut self) -> Result<u64, Failure> {
        if let Some((path, mut file)) = self.open.take() {
            file.flush().and_then(|()| file.get_ref().sync_all()).map_err(|error| unwritten(&path, &error))?;
        }
        Ok(0)
    }
}

/// The message as it stands in a file, to its empty line.
fn record(message: &Message) -> Vec<u8> {
    let (mut from_wire, mut plain) = (FromWire::default(), Vec::with_capacity(message.content.len()));
    from_wire.push(&message.content, &mut plain);
    from_wire.finish(&mut plain);
    let (header, body) = plain.split_at(header::end(&plain));
    let mut out = mbox_from_line(header, message.date);
    let quote = |bytes: &[u8], out: &mut Vec<u8>| {
        let mut quoter = Quoter::default();
        quoter.push(bytes, out);
        quoter.finish(out);
    };
    quote(header, &mut out);
    let letters = |known: &[(u8, &str)]| {
        let set = known.iter().filter(|(_, flag)| message.flags.iter().any(|own| own == flag));
        set.map(|(letter, _)| char::from(*letter)).collect::<String>()
    };
    let mut state = format!("Status: {}O\n", letters(&STATUS));
    for (name, value) in [("X-Status", letters(&X_STATUS)), ("X-Keywords", message.keywords.join(" "))] {
        if !value.is_empty() {
            state += &format!("{name}: {value}\n");
        }
    }
    out.extend_from_slice(state.as_bytes());
    quote(body, &mut out);
    out.push(b'\n');
    out
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(exit::CANTCREAT, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Message> {
        let mut all = Vec::new();
        let done = each_of(text, &mut |message| {
            all.push(message);
            Ok(())
        });
        assert!(done.is_ok());
        all
    }

    #[test]
    fn what_is_written_is_read_again() {
        let texts: [&[u8]; 7] = [
            b"Subject: a\r\n\r\nFrom x\r\n>From y\r\n>>From z\r\n",
            b"Subject: b\r\n\r\n\r\n\r\n",
            b"Subject: c\r\n\r\n",
            b"\r\nno header\r\n",
            b"Subject: crs\r\n\r\na\r\r\nb\rc\r\n",
            b"From me\r\n\r\nFrom me Thu Jan  1 00:00:00 2020\r\n\r\nFrom me Thu Jan  1 00:00:00 2020\r\n",
            b"\xff\xfe: x\r\n\r\n\x80\r\n",
        ];
        let flags = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted"].map(str::to_owned);
        let mut messages = Vec::new();
        for (number, content) in texts.into_iter().enumerate() {
            messages.push(Message {
                content: content.to_vec(),
                flags: flags.iter().take(number).cloned().collect(),
                keywords: ["$Work", "k\u{e9}y"].into_iter().take(number % 3).map(str::to_owned).collect(),
                date: crate::sys::Time::from_seconds(1_600_000_000 + number as i64),
            });
        }
        let file: Vec<u8> = messages.iter().flat_map(record).collect();
        let found: Vec<Message> = read(&file)
            .into_iter()
            .map(|message| Message { content: super::super::as_kept(&message.content), ..message })
            .collect();
        assert_eq!(found, messages);
    }

    #[test]
    fn what_other_programs_write() {
        let text =
            b"\nFrom MAILER-DAEMON Thu Jan  2 03:04:05 2020\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\nx\n\n\
            From a@b Thu Jan  2 03:04:05 2020\nStatus: RO\nX-Status: AF\n\nx\nFrom here on\n\nFrom now on\n\n\
            From odd line\r\n\nFrom a@b Thu Jan  2 03:04:06 2020\r\nSubject: y\r\n\r\ny\r\n\r\n";
        let found = read(text);
        let bodies: Vec<&[u8]> = found.iter().map(|message| message.content.as_slice()).collect();
        assert_eq!(
            bodies,
            [
                &b"Status: RO\r\nX-Status: AF\r\n\r\nx\r\nFrom here on\r\n\r\nFrom now on\r\n\r\nFrom odd line\r\n"[..],
                &b"Subject: y\r\n\r\ny\r\n"[..]
            ]
        );
        assert_eq!(found[0].flags, ["\\Seen", "\\Answered", "\\Flagged"]);
        assert_eq!(found[1].date.seconds() - found[0].date.seconds(), 1);
        assert!(matches!(each_of(&b"no mbox\n"[..], &mut |_| Ok(())), Err(Broken::Foreign)));
    }
}
