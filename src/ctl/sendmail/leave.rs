//! Leaves a message for a daemon that is down: as a batch of SMTP, by `pillarbox-drop`.

use super::letter::Letter;
use super::submit::Envelope;
use crate::config::Config;
use crate::ctl::Failure;
use crate::net::Connection;
use crate::smtp::client::Extensions;
use crate::sys::exit;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// Returns when the message will survive a power cut. What is wrong with its recipients the sender hears later, by mail.
pub fn leave(config: &Config, envelope: &Envelope<'_>, letter: &mut Letter) -> Result<(), Failure> {
    // The daemon could only set it aside.
    if letter.wire_size()? > config.max_message_size {
        return Err(Failure::new(exit::UNAVAILABLE, "the message is too big"));
    }
    let program = std::env::current_exe()?.with_file_name("pillarbox-drop");
    let (ours, its) = UnixStream::pair()?;
    let mut command = Command::new(&program);
    command.arg(config.spool.join("drop")).stdin(OwnedFd::from(its)).stdout(Stdio::null());
    let missing = |error: io::Error| Failure::new(exit::TEMPFAIL, format!("{}: {error}", program.display()));
    let mut child = command.spawn().map_err(missing)?;
    // Its standard input lives as long as this.
    drop(command);
    let written = write(Connection::from_unix(ours)?, envelope, letter);
    match child.wait()?.code() {
        // Who took the end took all.
        Some(0) => written,
        Some(code) => Err(Failure { code: u8::try_from(code).unwrap_or(exit::TEMPFAIL), what: String::new() }),
        None => Err(Failure::new(exit::TEMPFAIL, "pillarbox-drop was killed; nothing was sent")),
    }
}

fn write(mut connection: Connection, envelope: &Envelope<'_>, letter: &mut Letter) -> Result<(), Failure> {
    let stopped = |error| Failure::new(exit::TEMPFAIL, format!("pillarbox-drop went away: {error}"));
    let ours = Extensions { eight_bit: true, utf8: true, ..Extensions::default() };
    connection.put(format!("{}\r\n", envelope.mail(&ours, letter)).as_bytes()).map_err(stopped)?;
    for recipient in envelope.recipients {
        connection.put(format!("{}\r\n", envelope.rcpt(recipient)).as_bytes()).map_err(stopped)?;
    }
    connection.put(b"DATA\r\n").map_err(stopped)?;
    let mut writer = connection.dot_writer();
    letter.write_wire(&mut writer)?;
    writer.finish().map_err(stopped)?;
    connection.flush().map_err(stopped)
}
