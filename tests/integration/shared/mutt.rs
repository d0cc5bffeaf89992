//! Rewrites a mailbox as mutt does: it remembers where messages stand and what flags they had, and much later, under the locks,
//! writes all from the first changed one on anew in the same file: bodies from where they stood, flags from memory.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// A message as mutt remembers it.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where its `From ` line, its body, and the empty line at its end stand.
    offset: usize,
    body: usize,
    end: usize,
    /// What the header of this name says.
    pub number: Option<u64>,
    /// Some of `ROAFD`.
    pub letters: String,
    /// To be left out, or changed.
    pub leave_out: bool,
    pub changed: bool,
}

/// One session of mutt.
pub struct Mutt {
    path: PathBuf,
    size: usize,
    pub items: Vec<Item>,
}

impl Mutt {
    /// Opens a mailbox.
    pub fn open(path: &Path) -> io::Result<Mutt> {
        let mut mutt = Mutt { path: path.to_owned(), size: 0, items: Vec::new() };
        let lock = Locked::take(path)?;
        mutt.read_on(&lock)?;
        Ok(mutt)
    }

    /// Reads what came since.
    fn read_on(&mut self, lock: &Locked) -> io::Result<()> {
        let text = lock.read()?;
        if text.len() < self.size || !text[self.size..].starts_with(b"From ") {
            (self.size, self.items) = (0, Vec::new());
        }
        self.items.extend(items(&text, self.size));
        self.size = text.len();
        Ok(())
    }

    /// Writes what was decided, unless the mailbox has another size: then it is only looked at, and this is false. `told` hears
    /// of every message that is written, before anybody else can see it.
    pub fn sync(&mut self, mut told: impl FnMut(&Item)) -> io::Result<bool> {
        let lock = Locked::take(&self.path)?;
        let text = lock.read()?;
        if text.len() != self.size {
            self.read_on(&lock)?;
            return Ok(false);
        }
        let Some(first) = self.items.iter().position(|item| item.leave_out || item.changed) else { return Ok(true) };
        let from = self.items[first].offset;
        let mut out = Vec::new();
        for item in &self.items[first..] {
            told(item);
            if !item.leave_out {
                write(&text, item, &mut out);
            }
        }
        lock.file.write_all_at(&out, from as u64)?;
        lock.file.set_len((from + out.len()) as u64)?;
        Ok(true)
    }
}

/// As a delivery agent does that writes mboxrd.
pub fn append(path: &Path, text: &str) -> io::Result<()> {
    let quoted = |line: &str| line.trim_start_matches('>').starts_with("From ");
    let text: String = text.split_inclusive('\n').map(|line| [if quoted(line) { ">" } else { "" }, line].concat()).collect();
    let lock = Locked::take(path)?;
    let size = lock.file.metadata()?.len();
    lock.file.write_all_at(format!("From x@y Sat Nov  1 12:26:40 2025\n{text}\n").as_bytes(), size)
}

fn items(text: &[u8], from: usize) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let (mut at, mut blank, mut in_header) = (from, true, false);
    for line in text[from..].split_inclusive(|byte| *byte == b'\n') {
        if blank && line.starts_with(b"From ") {
            items.push(Item {
                offset: at,
                body: text.len(),
                end: text.len(),
                number: None,
                letters: String::new(),
                leave_out: false,
                changed: false,
            });
            in_header = true;
        } else if let Some(item) = items.last_mut() {
            if in_header && line == b"\n" {
                (item.body, in_header) = (at + 1, false);
            } else if in_header {
                note(item, line);
            }
        }
        blank = line == b"\n";
        at += line.len();
    }
    let starts: Vec<usize> = items.iter().skip(1).map(|item| item.offset).collect();
    for (item, next) in items.iter_mut().zip(starts) {
        item.end = next;
    }
    for item in &mut items {
        let body = &text[item.body.min(item.end)..item.end];
        item.body = item.body.min(item.end);
        item.end -= usize::from(body.ends_with(b"\n\n") || body == b"\n");
    }
    items
}

fn note(item: &mut Item, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let Some((name, value)) = text.split_once(':') else { return };
    match name {
        "Status" | "X-Status" => item.letters += value.trim(),
        "X-Number" => item.number = value.trim().parse().ok(),
        _ => {}
    }
}

/// The header's own state fields go, mutt's come at its end.
fn write(text: &[u8], item: &Item, out: &mut Vec<u8>) {
    const ITS_OWN: [&[u8]; 4] = [b"Status:", b"X-Status:", b"Content-Length:", b"Lines:"];
    for line in text[item.offset..item.body].split_inclusive(|byte| *byte == b'\n') {
        if line == b"\n" {
            break;
        }
        if !ITS_OWN.iter().any(|name| line.starts_with(name)) {
            out.extend_from_slice(line);
        }
    }
    let kept = |letters: &str| item.letters.chars().filter(|letter| letters.contains(*letter)).collect::<String>();
    let body = &text[item.body..item.end];
    for (name, value) in [("Status", kept("RO")), ("X-Status", kept("AF"))] {
        if !value.is_empty() {
            out.extend_from_slice(format!("{name}: {value}\n").as_bytes());
        }
    }
    let lines = body.iter().filter(|byte| **byte == b'\n').count();
    out.extend_from_slice(format!("Content-Length: {}\nLines: {lines}\n\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    out.push(b'\n');
}

/// A file under `fcntl` and dotlock, in this order, as Debian's mutt has it.
struct Locked {
    file: File,
    dotlock: PathBuf,
}

impl Locked {
    fn take(path: &Path) -> io::Result<Locked> {
        let mut dotlock = path.as_os_str().to_owned();
        dotlock.push(".lock");
        let (dotlock, mine) = (PathBuf::from(dotlock), path.with_extension("mutt"));
        fs::write(&mine, format!("{}\n", std::process::id()))?;
        loop {
            let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            // Threads of one process exclude each other with this kind only; it excludes the other kind as well.
            let whole = libc::flock { l_type: libc::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)) {
                Ok(_) => match fs::hard_link(&mine, &dotlock) {
                    Ok(()) => {
                        fs::remove_file(&mine)?;
                        return Ok(Locked { file, dotlock });
                    }
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                },
                Err(Errno::EAGAIN | Errno::EACCES) => {}
                Err(error) => return Err(error.into()),
            }
            drop(file);
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.file.metadata()?.len() as usize];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // The dotlock goes first; the other one with the file.
        let _ = fs::remove_file(&self.dotlock);
    }
}
