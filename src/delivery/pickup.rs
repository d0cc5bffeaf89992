//! Picks up what `pillarbox-drop` left in `<spool>/drop` while no daemon was there to take it.
//!
//! A file there is a batch of SMTP: MAIL, RCPT for each recipient, DATA, the message with its dot. Who owns the file handed
//! it in. These are the states of one:
//!
//! | place           | state                                              | at a start                                    |
//! |-----------------|----------------------------------------------------|-----------------------------------------------|
//! | `.NAME`         | being written, or the writer was killed            | removed when it is a day old                  |
//! | `NAME`          | whole                                              | picked up                                     |
//! | `taken/HOST/ID` | claimed, by the daemon of that host, for record ID | removed if the journal has ID, else given back |
//! | `bad/NAME`      | nothing that can be sent                           | the operator's                                |
//!
//! A claim is durable before its record is committed, and gone for good before a recipient of that record is served. So while
//! a claim is there, its record is either unsettled or was never committed: no crash loses a message, or sends it twice.

use super::runner::spawn;
use super::{Letter, Office, PostError, Trace};
use crate::auth::Shown;
use crate::host::login_name;
use crate::mail::{Envelope, Origin, Recipient};
use crate::net::{Dots, read_dots};
use crate::smtp::command::{Command, ForwardPath};
use crate::spool::SpoolId;
use crate::sys::{Disk, File, Open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Between two looks, in milliseconds, whether or not something tells of new files.
const LONG: u16 = 60_000;
/// What is not whole after so many nanoseconds never will be.
const DAY: i128 = 86_400_000_000_000;
/// Bytes of a command line; far more than an address and its parameters have.
const MOST_LINE: u64 = 8192;
/// Recipients of one message that comes from this host itself: lists are sent so, and who could flood us from here needs no
/// long list for that.
pub const MOST_RECIPIENTS: usize = 20_000;
/// Bytes of commands before the message.
const MOST_COMMANDS: u64 = 16 << 20;

/// Why a file stays where it is, or goes.
#[derive(Debug)]
enum Trouble {
    /// It can be tried again.
    Later(String),
    /// It is nothing that can be sent.
    Bad(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Later(error.to_string())
    }
}

impl From<PostError> for Trouble {
    fn from(error: PostError) -> Trouble {
        match error {
            PostError::Loop | PostError::HeaderTooBig | PostError::Unwanted(_) => Trouble::Bad(error.to_string()),
            PostError::Full | PostError::Io(_) | PostError::Uncertain => Trouble::Later(error.to_string()),
        }
    }
}

fn bad<T>(why: impl Display) -> Result<T, Trouble> {
    Err(Trouble::Bad(why.to_string()))
}

/// The drop directory of a spool, as this daemon sees it.
struct Drops<'a> {
    office: &'a Arc<Office>,
    disk: &'a dyn Disk,
    dir: PathBuf,
}

/// Ends the thread.
#[derive(Debug)]
pub(super) struct Wake(Option<EventFd>);

impl Wake {
    pub(super) fn new() -> Wake {
        let made = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        Wake(made.map_err(|error| log::error!("event=no-thread name=pickup reason=\"{error}\"")).ok())
    }

    pub(super) fn wake(&self) {
        let _ = self.0.as_ref().map(|stop| stop.write(1));
    }
}

/// Starts the thread that looks.
pub(super) fn start(office: &Arc<Office>) -> Option<JoinHandle<()>> {
    let office = office.clone();
    spawn("pickup", move || keep(&office))
}

fn keep(office: &Arc<Office>) {
    let Some(stop) = &office.pickup.0 else { return };
    let watch = watch(&Drops::of(office).dir);
    while !office.is_stopping() {
        // What comes from here on is told of anew.
        while watch.as_ref().is_some_and(|watch| watch.read_events().is_ok()) {}
        let done = scan(office);
        let mut fds = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        // What was given back would be told of at once.
        fds.extend(watch.as_ref().filter(|_| done).map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
        let _ = poll(&mut fds, PollTimeout::from(LONG));
    }
}

fn watch(dir: &Path) -> Option<Inotify> {
    let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
    inotify.add_watch(dir, flags).ok().map(|_| inotify)
}

/// Looks once. False: something is to be tried again.
pub(super) fn scan(office: &Arc<Office>) -> bool {
    Drops::of(office).scan()
}

/// After a crash of a daemon of this host, or of one whose journal was taken over: what it had claimed was committed, or is
/// whole again. Only as long as nothing of that journal is served can it be told.
pub(super) fn give_back(office: &Arc<Office>, host: &[u8]) {
    let drops = Drops::of(office);
    let taken = drops.taken(OsStr::from_bytes(host));
    for name in drops.disk.list(&taken).unwrap_or_default() {
        let id = name.to_str().and_then(|name| name.parse::<SpoolId>().ok());
        let known = id.is_some_and(|id| office.journal.waiting(id).is_some());
        let claim = taken.join(&name);
        let text = name.to_string_lossy();
        let shown = Shown(&text);
        let done = if known { drops.disk.remove(&claim) } else { drops.disk.rename(&claim, &drops.dir.join(&name)) };
        match done.and_then(|()| drops.disk.sync_dir(&taken)) {
            Ok(()) => log::info!("drop name={shown} event={}", if known { "taken-before" } else { "given-back" }),
            Err(error) => log::error!("drop name={shown} event=claim-left reason=\"{error}\""),
        }
    }
}

impl Drops<'_> {
    fn of(office: &Arc<Office>) -> Drops<'_> {
        Drops { office, disk: office.journal.disk(), dir: office.config().spool.join("drop") }
    }

    fn taken(&self, host: &OsStr) -> PathBuf {
        self.dir.join("taken").join(host)
    }

    fn scan(&self) -> bool {
        let mut names = match self.disk.list(&self.dir) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => return true,
            Err(error) => {
                log::error!("drop path={} event=not-read reason=\"{error}\"", self.dir.display());
                return false;
            }
        };
        names.sort();
        let mut done = true;
        for name in names {
            let text = name.to_string_lossy();
            let shown = Shown(&text);
            match self.take(&name) {
                _ if self.office.is_stopping() => return done,
                Ok(()) => {}
                Err(Trouble::Later(why)) => {
                    log::warn!("drop name={shown} event=left reason={why:?}");
                    done = false;
                }
                Err(Trouble::Bad(why)) => {
                    log::error!("drop name={shown} event=set-aside reason={why:?}");
                    if let Err(error) = self.set_aside(&name) {
                        log::error!("drop name={shown} event=left reason=\"{error}\"");
                        done = false;
                    }
                }
            }
        }
        done
    }

    fn set_aside(&self, name: &OsStr) -> io::Result<()> {
        let aside = self.dir.join("bad");
        self.disk.make_dir(&aside, 0o700)?;
        self.disk.rename(&self.dir.join(name), &aside.join(name))
    }

    /// Whatever stands there under this name.
    fn take(&self, name: &OsStr) -> Result<(), Trouble> {
        let path = self.dir.join(name);
        if name == "taken" || name == "bad" || self.office.is_stopping() {
            return Ok(());
        }
        let stat = match self.disk.stat(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            stat => stat?,
        };
        if name.as_encoded_bytes().starts_with(b".") {
            let age = i128::from(self.office.clock.now().0) * 1_000 - stat.mtime;
            return if age > DAY { Ok(self.disk.remove(&path)?) } else { Ok(()) };
        }
        if !stat.is_regular() || stat.links != 1 {
            return bad("not a file with one name");
        }
        if stat.size > MOST_COMMANDS + self.office.config().max_message_size.saturating_mul(2) {
            return bad("too big");
        }
        let file = match self.disk.open(&path, Open::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return bad(error),
            file => file?,
        };
        if file.stat()?.file != stat.file {
            return bad("not the file it was");
        }
        self.post(&path, stat.uid, BufReader::new(Contents { file, offset: 0 }))
    }

    fn post(&self, path: &Path, uid: u32, mut batch: BufReader<Contents>) -> Result<(), Trouble> {
        let config = self.office.config();
        let user = login_name(uid);
        let envelope = read_envelope(&mut batch, Origin::User(user.clone()))?;
        let (sender, recipients) = (envelope.reverse_path.to_string(), envelope.recipients.len());
        let from = Some(format!("{} (uid {uid})", config.hostname));
        let trace = Trace { from, with: "local".to_owned(), tls: None, submission: true, arrival: None };
        let mut letter = Letter::begin(self.office, envelope, trace)?;
        let Some(id) = letter.id() else { return bad("letter without draft") };

        let taken = self.taken(OsStr::from_bytes(&self.office.journal.name()));
        let claim = taken.join(id.to_string());
        self.disk.make_dir(&taken, 0o700)?;
        match self.disk.rename(path, &claim) {
            // Another daemon of this spool was quicker.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        let sent = (|| -> Result<(), Undone> {
            self.disk.sync_dir(&taken)?;
            self.disk.sync_dir(&self.dir)?;
            read_message(&mut batch, config.max_message_size, &mut letter)?;
            letter.send_then(|| {
                if let Err(error) = self.disk.remove(&claim).and_then(|()| self.disk.sync_dir(&taken)) {
                    log::error!("drop name={id} event=claim-left reason=\"{error}\"");
                }
            })?;
            Ok(())
        })();
        match sent {
            Ok(()) => {
                let sender = Shown(&sender);
                log::info!("drop message id={id} uid={uid} user={} from=<{sender}> recipients={recipients}", Shown(&user));
                Ok(())
            }
            Err(Undone::Uncertain) => {
                log::error!("drop name={id} event=uncertain (the next start tells)");
                Ok(())
            }
            Err(Undone::Not(trouble)) => {
                self.disk.rename(&claim, path)?;
                Err(trouble)
            }
        }
    }
}

/// Why a claim did not come to its end.
enum Undone {
    /// The record may be there: a second one could double it.
    Uncertain,
    /// It is not.
    Not(Trouble),
}

impl From<PostError> for Undone {
    fn from(error: PostError) -> Undone {
        if let PostError::Uncertain = error { Undone::Uncertain } else { Undone::Not(error.into()) }
    }
}

impl From<io::Error> for Undone {
    fn from(error: io::Error) -> Undone {
        Undone::Not(error.into())
    }
}

impl From<Trouble> for Undone {
    fn from(trouble: Trouble) -> Undone {
        Undone::Not(trouble)
    }
}

/// MAIL, RCPTs and DATA. Whether the recipients exist is found out in delivery: nobody waits for a reply.
fn read_envelope(batch: &mut impl BufRead, origin: Origin) -> Result<Envelope, Trouble> {
    let mut envelope: Option<Envelope> = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        batch.by_ref().take(MOST_LINE).read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\r\n") else { return bad("a line without end") };
        match (Command::parse(text), &mut envelope) {
            (Ok(Command::Mail(mail)), None) if mail.release.is_none() => {
                envelope = Some(Envelope {
                    reverse_path: mail.reverse_path,
                    recipients: Vec::new(),
                    body: mail.body,
                    utf8: mail.utf8,
                    dsn: mail.dsn,
                    require_tls: mail.require_tls,
                    release: None,
                    origin: origin.clone(),
                });
            }
            (Ok(Command::Rcpt(rcpt)), Some(open)) if open.recipients.len() < MOST_RECIPIENTS => {
                let ForwardPath::Address(address) = rcpt.path else { return bad("a recipient without domain") };
                open.recipients.push(Recipient { dsn: rcpt.dsn, ..Recipient::from(address) });
            }
            (Ok(Command::Data), Some(open)) if !open.recipients.is_empty() => break,
            _ => return bad("not the commands of a message"),
        }
    }
    envelope.map_or_else(|| bad("no commands"), Ok)
}

fn read_message(batch: &mut impl BufRead, limit: u64, letter: &mut Letter) -> Result<(), Trouble> {
    match read_dots(batch, limit, letter) {
        Ok(Dots::Whole) if batch.fill_buf()?.is_empty() => Ok(()),
        Ok(Dots::Whole) => bad("more than one message"),
        Ok(Dots::TooBig) => bad("too big"),
        Ok(Dots::Malformed) => bad("a bare CR or LF, or a NUL"),
        Ok(Dots::Sink(error)) => Err(error.into()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => bad("no end"),
        Err(error) => Err(error.into()),
    }
}

/// Reads a file from front to end.
struct Contents {
    file: Arc<dyn File>,
    offset: u64,
}

impl Read for Contents {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
