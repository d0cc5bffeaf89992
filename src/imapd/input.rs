//! Reads a command: its lines, and the literals that end them (RFC 9051 §4.3, RFC 7888).

use super::answer::{Answer, End};
use super::grammar::{AppendHead, announced, tag_of};
use super::session::Session;
use crate::net::Line;
use std::fmt::Write;

/// Bytes of a line, and of a whole command with its literals.
const MOST: usize = 256 << 10;
/// As long as nobody has logged in.
const MOST_BEFORE_LOGIN: usize = 8 << 10;
/// A literal that is too big, and not waited for, is read and dropped up to this length.
pub(super) const MOST_DROPPED: u64 = 64 << 20;

/// What was read.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A whole command, in the buffer.
    Whole,
    /// An APPEND or REPLACE, of which no literal behind its mailbox was asked for or read yet.
    Append(AppendHead),
    /// It can't be taken; all of it was read, as far as the client sent it.
    Refused(Answer),
}

impl Session<'_> {
    /// Reads the next command into `command` (cleared first): lines without their last CRLF.
    pub(super) fn read_command(&mut self, command: &mut Vec<u8>) -> Result<Incoming, End> {
        let most = if self.login.is_some() { MOST } else { MOST_BEFORE_LOGIN };
        command.clear();
        let mut line = Vec::new();
        let mut refused = None;
        loop {
            match self.connection.read_line(most, &mut line)? {
                Line::Whole => {}
                Line::TooLong => {
                    // Nobody knows whether it ends in a literal, which must not be taken for commands.
                    let tag = tag_of(if command.is_empty() { &line } else { command }).map_or("*", |(tag, _)| tag);
                    self.connection.put(format!("{tag} BAD [TOOBIG] line too long\r\n").as_bytes())?;
                    return Err(End::Thrown("line too long"));
                }
                Line::Malformed => {
                    line.truncate(line.len().saturating_sub(2));
                    refused = Some(Answer::bad("a bare CR or LF, or a NUL"));
                }
            }
            command.extend_from_slice(&line);
            if let Some(head) = AppendHead::read(command).filter(|_| refused.is_none()) {
                return Ok(Incoming::Append(head));
            }
            let Some(literal) = announced(&line) else {
                return Ok(refused.map_or(Incoming::Whole, Incoming::Refused));
            };
            let fits = literal.length.saturating_add(command.len() as u64) <= most as u64;
            if refused.is_some() || !fits {
                let answer = Answer::no("TOOBIG", "too much for one command");
                if literal.waits {
                    // It is not asked for, and so not sent.
                    return Ok(Incoming::Refused(answer));
                }
                if literal.length > MOST_DROPPED || self.login.is_none() {
                    return Err(End::Thrown("literal too long"));
                }
                self.connection.read_bytes(literal.length, |_| {})?;
                command.truncate(most);
                refused = Some(answer);
                continue;
            }
            // A command that has begun is to go on.
            self.connection.set_timeout(self.server.config.timeouts.data);
            if literal.waits {
                self.connection.put(b"+ go on\r\n")?;
            }
            command.extend_from_slice(b"\r\n");
            self.connection.read_bytes(literal.length, |bytes| command.extend_from_slice(bytes))?;
        }
    }

    /// Writes one untagged line, without its `* ` and CRLF.
    pub(super) fn tell(&mut self, text: std::fmt::Arguments<'_>) -> Result<(), End> {
        self.scratch.clear();
        let _ = write!(self.scratch, "* {text}\r\n");
        Ok(self.connection.put(self.scratch.as_bytes())?)
    }
}
