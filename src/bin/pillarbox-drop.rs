//! Takes a message from standard input while the daemon is down, and leaves it in the drop directory, where the daemon looks.
//!
//! This is the only program that runs with a right its caller has not: it is set-gid to a group of its own, which may put
//! files into that directory. So it is small, and nothing a caller can choose means anything to it: no option, no environment,
//! no configuration. It does not look into what it takes either, which is a batch of SMTP; the daemon, which reads the mail of
//! strangers all day, does that, and knows by the owner of the file who handed it in. What is checked here is that the end
//! came (a line with a dot), so that a caller who dies leaves no half message, and that nobody fills the disk.
//!
//! A file begins with a dot until it is whole and on the disk. The directory is `1770`, owned by the daemon: who comes in by
//! the group can count what is there, and can remove nothing but their own. Files are `0604`: the group, and so this
//! program, can't read what others left, but the daemon can. All others don't get through the directory.

use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::sys::statvfs::statvfs;
use nix::unistd::{getegid, geteuid, getgid, getuid};
use pillarbox::sys::exit;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where mail is left. Another place can be built in, as it must be when `spool` is another.
const DROP_DIR: &str = match option_env!("PILLARBOX_DROP_DIR") {
    Some(dir) => dir,
    None => "/var/spool/pillarbox/drop",
};
/// What files of one user may be there, those being written included. Root has no such bound.
const MOST_FILES: u64 = 1000;
/// The bytes of these, and so of one message.
const MOST_BYTES: u64 = 256 << 20;
/// Nobody takes the last bytes of the disk.
const LEAST_FREE: u64 = 64 << 20;
/// Bytes written between two looks at these bounds.
const STRIDE: u64 = 4 << 20;
/// How a batch ends.
const END: &[u8] = b"\r\n.\r\n";

/// The code to end with, and why.
type Failure = (u8, String);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::from(exit::OK),
        Err((code, what)) => {
            let _ = writeln!(io::stderr(), "pillarbox-drop: {what}");
            ExitCode::from(code)
        }
    }
}

fn run() -> Result<(), Failure> {
    let dir = directory(std::env::args_os().nth(1).map(PathBuf::from))?;
    // Whatever a caller, a terminal or a timer sends: what was begun is ended in order. Only a kill leaves a file that begins
    // with a dot, which the daemon clears away.
    SigSet::all().thread_block().map_err(|error| (exit::OSERR, error.to_string()))?;
    umask(Mode::empty());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let draft = Draft::new(&dir, &format!("{now:016x}"))?;
    let name = draft.fill(&mut io::stdin().lock())?;
    draft.commit(&dir.join(format!("{now:016x}-{name:x}")))
}

/// The one that is built in. Who calls may say where it is expected to be: as long as this program has no right of its own
/// it goes there, and once it has one, mail must not go where no daemon looks for it.
fn directory(expected: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if geteuid() != getuid() {
        return Err((exit::CONFIG, "set-uid is wrong: it would hide who hands in mail; set-gid is enough".to_owned()));
    }
    match expected {
        Some(dir) if getegid() != getgid() && dir != Path::new(DROP_DIR) => {
            Err((exit::CONFIG, format!("mail is left in {DROP_DIR}, but the daemon looks in {}", dir.display())))
        }
        Some(dir) => Ok(dir),
        None => Ok(DROP_DIR.into()),
    }
}

/// A file on its way. Dropped, it is gone.
struct Draft<'a> {
    dir: &'a Path,
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Draft<'_> {
    fn new<'a>(dir: &'a Path, time: &str) -> Result<Draft<'a>, Failure> {
        let path = dir.join(format!(".{time}-{}", std::process::id()));
        let made = File::options().write(true).create_new(true).mode(0o604).open(&path);
        let file = made.map_err(|error| (exit::TEMPFAIL, format!("no mail can be left in {}: {error}", dir.display())))?;
        Ok(Draft { dir, path, file, kept: false })
    }

    /// Copies a batch to its end. Gives the number of the file, which no other file there has.
    fn fill(&self, input: &mut dyn Read) -> Result<u64, Failure> {
        let mut block = vec![0; 64 << 10];
        let mut tail = Vec::new();
        let mut since_look = STRIDE;
        loop {
            if since_look >= STRIDE {
                self.look()?;
                since_look = 0;
            }
            let read = match input.read(&mut block) {
                Ok(0) => break,
                Ok(read) => block.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err((exit::NOINPUT, format!("reading the message: {error}"))),
            };
            (&self.file).write_all(read).map_err(unwritten)?;
            since_look += read.len() as u64;
            tail.extend_from_slice(read.get(read.len().saturating_sub(END.len())..).unwrap_or_default());
            tail.drain(..tail.len().saturating_sub(END.len()));
        }
        if tail != END {
            return Err((exit::DATAERR, "the message has no end; it was not taken".to_owned()));
        }
        self.look()?;
        self.file.metadata().map(|meta| meta.ino()).map_err(unwritten)
    }

    /// Is there room for what is written, and for more? Each writer of a user counts the others' files too, so at most so
    /// many strides more are there for a moment.
    fn look(&self) -> Result<(), Failure> {
        let disk = statvfs(self.dir).map_err(unwritten)?;
        if disk.blocks_available().saturating_mul(disk.fragment_size()) < LEAST_FREE {
            return Err((exit::TEMPFAIL, "the disk is full".to_owned()));
        }
        let uid = getuid();
        if uid.is_root() {
            return Ok(());
        }
        let (mut files, mut bytes) = (0, 0);
        for entry in fs::read_dir(self.dir).map_err(unwritten)? {
            // What the daemon took away meanwhile counts no more.
            let Ok(meta) = entry.and_then(|entry| entry.metadata()) else { continue };
            if meta.uid() == uid.as_raw() {
                files += 1;
                bytes += meta.len();
            }
        }
        match files > MOST_FILES || bytes > MOST_BYTES {
            true => Err((exit::TEMPFAIL, "too much of your mail waits for the daemon already".to_owned())),
            false => Ok(()),
        }
    }

    /// Makes it durable, then shows it to the daemon.
    fn commit(mut self, name: &Path) -> Result<(), Failure> {
        self.file.sync_all().map_err(unwritten)?;
        fs::rename(&self.path, name).map_err(unwritten)?;
        self.path = name.to_owned();
        File::open(self.dir).and_then(|dir| dir.sync_all()).map_err(unwritten)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn unwritten(error: impl Display) -> Failure {
    (exit::TEMPFAIL, format!("the message can't be left: {error}"))
}
