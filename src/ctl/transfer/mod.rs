//! `pillarboxctl import` and `export`: nobody is locked in.
//!
//! Messages come from a [`Source`] and go to a [`Target`]: `maildir`, `mbox`, and as a source `imap`. `link` is the daemon at the
//! other end, which keeps them; so flags and dates stay, and what is imported is as safe as mail that was delivered. To import
//! the same again brings only what is not there yet, so an import that was interrupted is gone on with by repeating it.

mod imap;
mod link;
mod maildir;
mod mbox;
mod progress;

use super::{Failure, print_json, say, show};
use crate::config::Config;
use crate::mail::header;
use crate::mail::mboxrd::FromWire;
use crate::sys::{Time, exit};
use link::{Kept, Link};
use maildir::Maildir;
use progress::Progress;
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Messages are committed together, until they have so many bytes,
const MOST_BYTES: usize = 8 << 20;
/// or are so many.
const MOST_MESSAGES: usize = 500;

/// A message and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Message {
    /// In wire form.
    content: Vec<u8>,
    /// As IMAP names them, with their backslash.
    flags: Vec<String>,
    keywords: Vec<String>,
    /// Internal date.
    date: Time,
}

/// Where messages come from.
trait Source {
    /// Names of folders, with `/` between the parts.
    fn folders(&mut self) -> Result<Vec<String>, Failure>;
    /// Gives the messages of a folder, in order.
    fn each(&mut self, folder: &str, take: &mut dyn FnMut(Message) -> Result<(), Failure>) -> Result<(), Failure>;
}

/// Where messages go.
trait Target {
    /// What follows is of this folder.
    fn folder(&mut self, name: &str) -> Result<(), Failure>;
    fn put(&mut self, message: &Message) -> Result<(), Failure>;
    /// Writes what is left. Gives the number of keywords that could not be kept.
    fn finish(&mut self) -> Result<u64, Failure>;
}

/// What came of it.
#[derive(Debug, Default)]
struct Sum {
    folders: u64,
    new: u64,
    known: u64,
    refused: u64,
    bytes: u64,
    /// Messages that could not keep all their keywords.
    bare: u64,
}

/// Brings what is at a place into the folders of a user. `into`: the folder that INBOX goes to, and above all others.
pub fn import(config: &Config, user: &str, place: &str, into: Option<&str>, json: bool) -> Result<(), Failure> {
    let mut source: Box<dyn Source> = match place {
        url if url.starts_with("imap://") || url.starts_with("imaps://") => Box::new(imap::Imap::connect(url)?),
        path => local(Path::new(path))?,
    };
    let mut import = Import { link: Link::begin(config, "import", user)?, waiting: Vec::new(), bytes: 0, sum: Sum::default() };
    for folder in source.folders()? {
        let target = match into {
            Some(into) if folder == INBOX => into.to_owned(),
            Some(into) => format!("{into}/{folder}"),
            None => folder.clone(),
        };
        import.link.open(&target)?;
        import.sum.folders += 1;
        let mut progress = Progress::of(&target, None);
        source.each(&folder, &mut |message| {
            progress.step();
            import.take(message, &target)
        })?;
        import.commit(&target)?;
    }
    let Sum { folders, new, known, refused, bytes, bare } = import.sum;
    if json {
        print_json(&json!({ "folders": folders, "imported": new, "bytes": bytes, "known": known, "refused": refused }))?;
    } else {
        let (new, size) = (show::counted(new, "message"), show::size(bytes));
        say(&format!("{new} ({size}) imported, {known} there already, {}\n", show::counted(folders, "folder")))?;
    }
    if bare > 0 {
        let _ = writeln!(io::stderr(), "{} lost keywords: a folder can keep 64", show::counted(bare, "message"));
    }
    match refused {
        0 => Ok(()),
        _ => Err(Failure::new(exit::DATAERR, format!("{} could not be imported", show::counted(refused, "message")))),
    }
}

const INBOX: &str = "INBOX";

/// Gives the messages of a file, in wire form: of an mbox file all, else it is one itself; of a directory those of all files.
pub fn each_message(path: &Path, take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let unreadable = |error: io::Error| Failure::new(exit::NOINPUT, format!("{}: {error}", path.display()));
    if path.is_file() && !mbox::is_mbox(path)? {
        return take(&as_kept(&std::fs::read(path).map_err(unreadable)?));
    }
    let mut source = local(path)?;
    for folder in source.folders()? {
        source.each(&folder, &mut |message| take(&as_kept(&message.content)))?;
    }
    Ok(())
}

fn local(path: &Path) -> Result<Box<dyn Source>, Failure> {
    let unreadable = |error: io::Error| Failure::new(exit::NOINPUT, format!("{}: {error}", path.display()));
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() || !maildir::is_maildir(path).map_err(unreadable)? {
        return Ok(Box::new(mbox::Mbox::at(path)));
    }
    Ok(Box::new(Maildir::at(path)))
}

/// One that runs.
struct Import {
    link: Link,
    /// Sent, and not committed yet.
    waiting: Vec<Message>,
    bytes: usize,
    sum: Sum,
}

impl Import {
    fn take(&mut self, message: Message, folder: &str) -> Result<(), Failure> {
        let message = Message { content: as_kept(&message.content), ..message };
        if self.link.knows(&message) {
            self.sum.known += 1;
            return Ok(());
        }
        self.link.send(&message)?;
        self.bytes += message.content.len();
        self.waiting.push(message);
        if self.bytes >= MOST_BYTES || self.waiting.len() >= MOST_MESSAGES {
            self.commit(folder)?;
        }
        Ok(())
    }

    /// Makes it so. If one of the messages can't be kept, all are sent again, each for itself, so that the others are.
    fn commit(&mut self, folder: &str) -> Result<(), Failure> {
        let messages = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        if messages.is_empty() {
            return Ok(());
        }
        match self.link.commit()? {
            Kept::Yes => messages.iter().for_each(|message| self.count(message)),
            Kept::No(_) => {
                for message in messages {
                    self.send_alone(message, folder)?;
                }
            }
        }
        Ok(())
    }

    fn send_alone(&mut self, message: Message, folder: &str) -> Result<(), Failure> {
        self.link.send(&message)?;
        let mut kept = self.link.commit()?;
        if matches!(kept, Kept::No(_)) && !message.keywords.is_empty() {
            self.link.send(&Message { keywords: Vec::new(), ..message.clone() })?;
            kept = self.link.commit()?;
            self.sum.bare += u64::from(matches!(kept, Kept::Yes));
        }
        match kept {
            Kept::Yes => self.count(&message),
            Kept::No(why) => {
                self.sum.refused += 1;
                let _ = writeln!(io::stderr(), "not imported: {} in {folder}: {why}", title(&message.content));
            }
        }
        Ok(())
    }

    fn count(&mut self, message: &Message) {
        self.sum.new += 1;
        self.sum.bytes += message.content.len() as u64;
    }
}

/// By what a person finds it again.
fn title(message: &[u8]) -> String {
    let header = message.get(..header::end(message)).unwrap_or_default();
    let field = |name: &str| header::fields(header).find(|field| field.is(header, name));
    let found = field("Message-ID").or_else(|| field("Subject")).and_then(|field| header.get(field.value));
    found.map_or("a message without Message-ID".to_owned(), |value| show::clean(&String::from_utf8_lossy(&header::unfold(value))))
}

/// A message as the daemon gives it back: all lines end in CRLF, an empty one ends the header, and the fields in which mbox
/// files keep flags are gone.
fn as_kept(content: &[u8]) -> Vec<u8> {
    let (mut from_wire, mut plain) = (FromWire::default(), Vec::with_capacity(content.len()));
    from_wire.push(content, &mut plain);
    from_wire.finish(&mut plain);
    let end = header::end(&plain);
    let (header, body) = plain.split_at(end);
    let mut kept = Vec::with_capacity(plain.len());
    for field in header::fields(header) {
        if !header.get(field.name).is_some_and(header::is_state) {
            kept.extend_from_slice(header.get(field.whole).unwrap_or_default());
        }
    }
    kept.extend_from_slice(if body.is_empty() { b"\n" } else { body });
    with_crlf(&kept)
}

/// LF becomes CRLF, where it is not.
fn with_crlf(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + plain.len() / 32);
    for line in plain.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) if !text.ends_with(b"\r") => {
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(line),
        }
    }
    out
}

/// Writes all mail of a user to a directory: as Maildir++, or as mbox files.
pub fn export(config: &Config, user: &str, dir: &str, as_mbox: bool, json: bool) -> Result<(), Failure> {
    let dir = Path::new(dir);
    // Two exports in one place would be one mailbox with everything twice.
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(Failure::new(exit::CANTCREAT, format!("{} is not empty", dir.display()))),
        Ok(false) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::create_dir_all(dir)?,
        Err(error) => return Err(Failure::new(exit::CANTCREAT, format!("{}: {error}", dir.display()))),
    }
    let mut target: Box<dyn Target> = if as_mbox { Box::new(mbox::Writer::at(dir)) } else { Box::new(Maildir::at(dir)) };
    let mut link = Link::begin(config, "export", user)?;
    let mut sum = Sum::default();
    let mut progress = Progress::of("", None);
    while let Some(next) = link.next()? {
        match next {
            link::Next::Folder(name, messages) => {
                progress = Progress::of(&name, Some(messages));
                target.folder(&name)?;
                sum.folders += 1;
            }
            link::Next::Message(message) => {
                target.put(&message)?;
                sum.new += 1;
                sum.bytes += message.content.len() as u64;
                progress.step();
            }
        }
    }
    drop(progress);
    sum.bare = target.finish()?;
    let Sum { folders, new, bytes, bare, .. } = sum;
    if json {
        print_json(&json!({ "folders": folders, "exported": new, "bytes": bytes, "keywords_lost": bare }))?;
    } else {
        let (new, size) = (show::counted(new, "message"), show::size(bytes));
        say(&format!("{new} ({size}) exported, {}\n", show::counted(folders, "folder")))?;
    }
    if bare > 0 {
        let _ = writeln!(io::stderr(), "{} left out: a Maildir has letters for 26", show::counted(bare, "keyword"));
    }
    Ok(())
}

/// A file's time, as an internal date.
fn date_of(time: SystemTime) -> Time {
    let micros = |span: std::time::Duration| i64::try_from(span.as_micros()).unwrap_or(0);
    Time(time.duration_since(UNIX_EPOCH).map_or_else(|before| -micros(before.duration()), micros))
}

/// The date of a message of which nobody knows when it came: that of its last hop, or its own (RFC 5322 §3.6).
fn date_in(content: &[u8]) -> Option<Time> {
    let header = content.get(..header::end(content))?;
    let value = |name: &str| {
        let field = header::fields(header).find(|field| field.is(header, name))?;
        Some(String::from_utf8_lossy(&header::unfold(header.get(field.value)?)).into_owned())
    };
    let hop = value("Received").and_then(|hop| mailparse::dateparse(hop.rsplit_once(';')?.1.trim()).ok());
    let seconds = hop.or_else(|| mailparse::dateparse(value("Date")?.trim()).ok())?;
    // Zero is what comes of a text that is no date.
    (seconds > 0).then(|| Time::from_seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_as_they_are_kept() {
        for (given, kept) in [
            ("A: b\nStatus: RO\nC: d\n e\nX-UID: 7\n\nStatus: x", "A: b\r\nC: d\r\n e\r\n\r\nStatus: x\r\n"),
            ("A: b\r\n\r\nx\r\r\ny\rz\r\n", "A: b\r\n\r\nx\r\r\ny\rz\r\n"),
            ("A: b", "A: b\r\n\r\n"),
            ("", "\r\n"),
        ] {
            assert_eq!(as_kept(given.as_bytes()), kept.as_bytes());
            assert_eq!(as_kept(kept.as_bytes()), kept.as_bytes());
        }
    }

    #[test]
    fn dates_in_headers() {
        let text = b"Received: from a\r\n\tby b; Mon, 2 Mar 2020 10:00:00 +0100\r\nDate: Sun, 1 Mar 2020 00:00:00 +0000\r\n\r\n";
        assert_eq!(date_in(text), Some(Time::from_seconds(1_583_139_600)));
        assert_eq!(date_in(b"Date: Sun, 1 Mar 2020 00:00:00 +0000\r\n\r\n"), Some(Time::from_seconds(1_583_020_800)));
        assert_eq!(date_in(b"Date: some day\r\n\r\n"), None);
    }
}
