//! Log lines go to standard error, or to syslog (facility mail) through /dev/log. Never to a file of ours.

use crate::config::schema;
use env_logger::{Builder, Target};
use jiff::{Timestamp, Zoned};
use log::{Level, LevelFilter};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// RFC 3164: the facility `mail`, times eight.
const MAIL: u8 = 2 << 3;

/// Starts the log. `verbose` makes it that many levels more talkative than the configuration says.
pub fn start(config: &schema::Log, foreground: bool, verbose: usize) {
    let mut builder = Builder::new();
    // What comes out is bounded by `set_level`; other crates' chatter is of no use to operators.
    builder.filter_level(LevelFilter::Warn).filter_module("pillarbox", LevelFilter::Trace);
    if foreground || !config.syslog {
        builder.target(Target::Stderr);
        builder.format(|out, record| {
            let (time, level) = (Timestamp::now(), record.level().as_str().to_ascii_lowercase());
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
    let _ = builder.try_init();
    set_level(config, verbose);
}

/// The level may change when the configuration is read again.
pub fn set_level(config: &schema::Log, verbose: usize) {
    let levels = [LevelFilter::Error, LevelFilter::Warn, LevelFilter::Info, LevelFilter::Debug, LevelFilter::Trace];
    let at = levels.iter().position(|level| *level == config.level).unwrap_or(2);
    log::set_max_level(levels.get(at + verbose).copied().unwrap_or(LevelFilter::Trace));
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
    fn nothing_breaks_out_of_a_line() {
        assert_eq!(clean("to=<a@b> ~"), "to=<a@b> ~");
        assert_eq!(clean("a\x7fb"), "a\\u{7f}b");
        assert_eq!(clean("a\r\nb\x1b[2J\u{85}é\u{202e}"), "a\\u{d}\\u{a}b\\u{1b}[2J\\u{85}é\\u{202e}");
    }
}
