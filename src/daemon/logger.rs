//! Log lines go to standard error, or to syslog (facility mail) through /dev/log. Never to a file of ours.

use super::lines::Lines;
use crate::config::schema;
use env_logger::{Builder, Target};
use jiff::{Timestamp, Zoned};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

/// RFC 3164: the facility `mail`, times eight.
const MAIL: u8 = 2 << 3;

/// Modules that can have a level of their own, with all below them: the rooms, as the map in `lib.rs` names them.
const ROOMS: &[&str] = &[
    "auth", "config", "ctl", "ctld", "daemon", "delivery", "health", "host", "httpd", "imapd", "junk", "lists", "mail",
    "mailbox", "net", "pop3d", "smtp", "smtpd", "spool", "sys", "trust", "webmail",
];

/// What is logged now.
static LEVELS: RwLock<Levels> = RwLock::new(Levels { all: LevelFilter::Off, modules: BTreeMap::new() });

#[derive(Debug)]
struct Levels {
    /// Of modules that are not named.
    all: LevelFilter,
    modules: BTreeMap<String, LevelFilter>,
}

impl Levels {
    /// Of the code at a place, such as `pillarbox::mailbox::lock`: that of the innermost module that has one.
    fn of(&self, place: &str) -> LevelFilter {
        let mut inside = place.strip_prefix("pillarbox::").unwrap_or("");
        while !inside.is_empty() && !self.modules.is_empty() {
            if let Some(level) = self.modules.get(inside) {
                return *level;
            }
            inside = inside.rsplit_once("::").map_or("", |(above, _)| above);
        }
        self.all
    }

    /// What no module logs is not even put together.
    fn apply(&self) {
        log::set_max_level(self.modules.values().copied().fold(self.all, std::cmp::max));
    }
}

/// On their way to standard error.
static LINES: Lines = Lines::new();

/// Passes on what the levels let through.
#[derive(Debug)]
struct Logger(env_logger::Logger);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= now().of(metadata.target()) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
            // Lost is what it does not take.
            LINES.write_to(|lines| drop(io::stderr().write_all(lines)));
        }
    }

    fn flush(&self) {
        LINES.wait();
    }
}

fn now() -> RwLockReadGuard<'static, Levels> {
    LEVELS.read().unwrap_or_else(PoisonError::into_inner)
}

/// The levels in force, by module; the empty name stands for all others.
pub fn levels() -> BTreeMap<String, String> {
    let now = now();
    let modules = now.modules.iter().map(|(name, level)| (name.clone(), word(*level).to_owned()));
    [(String::new(), word(now.all).to_owned())].into_iter().chain(modules).collect()
}

/// Changes the level of a module, or (without one) of all, until the configuration is read again.
pub fn change_level(level: LevelFilter, module: Option<&str>) -> Result<(), String> {
    let mut levels = LEVELS.write().unwrap_or_else(PoisonError::into_inner);
    match module {
        None => *levels = Levels { all: level, modules: BTreeMap::new() },
        Some(name) if name.split(':').next().is_some_and(|room| ROOMS.contains(&room)) => {
            levels.modules.insert(name.to_owned(), level);
        }
        Some(name) => return Err(format!("there is no module {name}, but {}", ROOMS.join(", "))),
    }
    levels.apply();
    Ok(())
}

/// Starts the log. `verbose` makes it that many levels more talkative than the configuration says.
pub fn start(config: &schema::Log, foreground: bool, verbose: usize) {
    let mut builder = Builder::new();
    // What comes out is bounded by `set_level`; other crates' chatter is of no use to operators.
    builder.filter_level(LevelFilter::Warn).filter_module("pillarbox", LevelFilter::Trace);
    if foreground || !config.syslog {
        builder.target(Target::Pipe(Box::new(&LINES)));
        builder.format(|out, record| {
            let (time, level) = (Timestamp::now(), word(record.level().to_level_filter()));
            writeln!(out, "{time:.3} {level} {}", clean(&record.args().to_string()))
        });
    } else {
        builder.target(Target::Pipe(Box::new(Syslog::default())));
        let pid = std::process::id();
        builder.format(move |out, record| {
            let time = Zoned::now().strftime("%b %e %H:%M:%S").to_string();
            let priority = MAIL | severity(record.level());
            write!(out, "<{priority}>{time} pillarbox[{pid}]: {}", clean(&record.args().to_string()))
        });
    }
    // An error would mean that a log is there already, as in a test.
    let _ = log::set_boxed_logger(Box::new(Logger(builder.build())));
    set_level(config, verbose);
}

/// The level may change when the configuration is read again.
pub fn set_level(config: &schema::Log, verbose: usize) {
    let levels = [LevelFilter::Error, LevelFilter::Warn, LevelFilter::Info, LevelFilter::Debug, LevelFilter::Trace];
    let at = levels.iter().position(|level| *level == config.level).unwrap_or(2);
    // All modules: there is no error.
    let _ = change_level(levels.get(at + verbose).copied().unwrap_or(LevelFilter::Trace), None);
}

/// As it stands in the configuration and in the log.
fn word(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::Off => "off",
        LevelFilter::Error => "error",
        LevelFilter::Warn => "warn",
        LevelFilter::Info => "info",
        LevelFilter::Debug => "debug",
        LevelFilter::Trace => "trace",
    }
}

fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// One line stays one line, and a terminal gets no commands: the last line of defence against forged entries. Besides
/// control characters those that change the direction of text are escaped.
fn clean(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || turns {
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// Each write is one datagram. A line that syslog does not take is lost: mail must not wait for a log.
#[derive(Debug, Default)]
struct Syslog {
    socket: Option<UnixDatagram>,
}

impl Syslog {
    fn connect() -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect("/dev/log")?;
        socket.set_write_timeout(Some(Duration::from_millis(200)))?;
        Ok(socket)
    }
}

impl Write for Syslog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The second round is for a syslog daemon that was started anew.
        for _ in 0..2 {
            if self.socket.is_none() {
                self.socket = Syslog::connect().ok();
            }
            match self.socket.as_ref().map(|socket| socket.send(line)) {
                Some(Ok(_)) | None => break,
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Some(Err(_)) => self.socket = None,
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_those_that_there_are() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let rooms = std::fs::read_dir(source).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir());
        let mut rooms: Vec<String> = rooms.map(|entry| entry.file_name().into_string().unwrap()).collect();
        rooms.retain(|room| room != "bin");
        rooms.sort();
        assert_eq!(rooms, ROOMS);
    }

    #[test]
    fn the_innermost_module_counts() {
        let modules = [("mailbox", LevelFilter::Debug), ("mailbox::lock", LevelFilter::Off)];
        let modules = modules.into_iter().map(|(name, level)| (name.to_owned(), level)).collect();
        let levels = Levels { all: LevelFilter::Info, modules };
        for (place, level) in [
            ("pillarbox::smtpd::data", LevelFilter::Info),
            ("pillarbox::mailbox", LevelFilter::Debug),
            ("pillarbox::mailbox::scan::x", LevelFilter::Debug),
            ("pillarbox::mailbox::lock::x", LevelFilter::Off),
            ("pillarbox::mailboxes", LevelFilter::Info),
            ("rustls::mailbox", LevelFilter::Info),
        ] {
            assert_eq!(levels.of(place), level, "{place}");
        }
    }

    #[test]
    fn nothing_breaks_out_of_a_line() {
        assert_eq!(clean("to=<a@b> ~"), "to=<a@b> ~");
        assert_eq!(clean("a\x7fb"), "a\\u{7f}b");
        assert_eq!(clean("a\r\nb\x1b[2J\u{85}é\u{202e}"), "a\\u{d}\\u{a}b\\u{1b}[2J\\u{85}é\\u{202e}");
    }
}
