//! The body of a request, read when the site wants it.

use super::head::Framing;
use super::{Head, Status};
use crate::net::{Connection, Line, NetError, Peer};
use std::time::Duration;

/// A chunk's size and what is said of it; a trailer field.
const LONGEST_LINE: usize = 1024;
/// Trailer fields; they are read and dropped.
const MOST_TRAILERS: usize = 16;
/// A body that nobody read is passed over up to here; the connection is closed behind a longer one.
const PASSED_OVER: u64 = 256 << 10;
/// A client that is cut off is listened to for so long.
const LINGER: Duration = Duration::from_secs(2);
/// A body must come at this rate, beside the time-out, in bytes a second.
const SLOWEST: u64 = 1024;

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its line and fields.
    pub head: Head,
    connection: &'a mut Connection,
    timeout: Duration,
    state: State,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    /// Not read yet. The client waits for a word first, or does not.
    Ahead { waits: bool },
    /// Read to its end.
    Over,
    /// Where it ends is not known any more.
    Broken,
}

impl<'a> Request<'a> {
    pub(super) fn new(head: Head, connection: &'a mut Connection, timeout: Duration) -> Result<Request<'a>, Status> {
        let state = match head.framing {
            Framing::None | Framing::Length(0) => State::Over,
            Framing::Length(_) | Framing::Chunked => State::Ahead { waits: head.waits()? },
        };
        Ok(Request { head, connection, timeout, state })
    }

    /// Who asks.
    pub fn peer(&self) -> &Peer {
        self.connection.peer()
    }

    /// Nobody on the way can read or change it.
    pub fn is_secure(&self) -> bool {
        self.connection.tls().is_some() || self.connection.peer().is_here()
    }

    /// Is it encrypted?
    pub fn is_encrypted(&self) -> bool {
        self.connection.tls().is_some()
    }

    /// Gives all of the body to `take`, block by block. More than `most` bytes are refused, if possible before they are sent.
    pub fn read_body(&mut self, most: u64, mut take: impl FnMut(&[u8])) -> Result<(), Status> {
        let State::Ahead { waits } = self.state else { return Ok(()) };
        if matches!(self.head.framing, Framing::Length(length) if length > most) {
            return Err(Status::CONTENT_TOO_LARGE);
        }
        self.state = State::Broken;
        let result = self.receive(waits, most, &mut take);
        self.connection.set_deadline(None);
        match result {
            Ok(true) => self.state = State::Over,
            Ok(false) => return Err(Status::CONTENT_TOO_LARGE),
            Err(NetError::Timeout) => return Err(Status::REQUEST_TIMEOUT),
            Err(_) => return Err(Status::BAD_REQUEST),
        }
        Ok(())
    }

    /// The fields of a form, in its order (application/x-www-form-urlencoded).
    pub fn form(&mut self, most: u64) -> Result<Vec<(String, String)>, Status> {
        let kind = self.head.field("content-type").unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Status::UNSUPPORTED_MEDIA_TYPE);
        }
        let mut body = Vec::new();
        self.read_body(most, |block| body.extend_from_slice(block))?;
        Ok(form_urlencoded::parse(&body).into_owned().collect())
    }

    /// False: too much came.
    fn receive(&mut self, waits: bool, most: u64, take: &mut dyn FnMut(&[u8])) -> Result<bool, NetError> {
        if waits && !self.connection.input_pending() {
            self.connection.put(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            self.connection.flush()?;
        }
        self.connection.set_timeout(self.timeout);
        if let Framing::Length(length) = self.head.framing {
            self.connection.set_deadline(Some(self.timeout + Duration::from_secs(length / SLOWEST)));
            self.connection.read_bytes(length, take)?;
            return Ok(true);
        }
        self.connection.set_deadline(Some(self.timeout + Duration::from_secs(most / SLOWEST)));
        let mut left = most;
        loop {
            let size = chunk_size(&self.line()?).ok_or_else(malformed)?;
            if size == 0 {
                break;
            }
            if size > left {
                return Ok(false);
            }
            left -= size;
            self.connection.read_bytes(size, &mut *take)?;
            if !self.line()?.is_empty() {
                return Err(malformed());
            }
        }
        for _ in 0..=MOST_TRAILERS {
            if self.line()?.is_empty() {
                return Ok(true);
            }
        }
        Err(malformed())
    }

    fn line(&mut self) -> Result<Vec<u8>, NetError> {
        let mut line = Vec::new();
        match self.connection.read_line(LONGEST_LINE, &mut line)? {
            Line::Whole => Ok(line),
            Line::TooLong | Line::Malformed => Err(malformed()),
        }
    }

    /// Its head, and the connection to answer on.
    pub(super) fn parts(&mut self) -> (&Head, &mut Connection) {
        (&self.head, self.connection)
    }

    /// Can the next request be found behind this one? Where the client waits for a word before it sends the body, it has sent
    /// nothing, and may do so or not: nobody can know (RFC 9110 §10.1.1).
    pub(super) fn may_be_followed(&self) -> bool {
        self.head.keeps_alive()
            && match (self.state, self.head.framing) {
                (State::Over, _) => true,
                (State::Ahead { waits: false }, Framing::Length(length)) => length <= PASSED_OVER,
                (State::Ahead { waits: false }, _) => true,
                (State::Ahead { waits: true } | State::Broken, _) => false,
            }
    }

    /// After the answer: passes over what nobody read. True: the next request begins here, if one is to follow.
    pub(super) fn finish(mut self, keeps: bool) -> bool {
        if keeps && self.read_body(PASSED_OVER, |_| {}).is_ok() {
            return true;
        }
        if self.state != State::Over {
            linger(self.connection);
        }
        false
    }
}

/// A client that is cut off is listened to for a moment, so that it can read why: a reset would take the answer with it.
pub(super) fn linger(connection: &mut Connection) {
    connection.set_deadline(Some(LINGER));
    let _ = connection.read_bytes(u64::MAX, |_| {});
}

fn malformed() -> NetError {
    NetError::Io(std::io::ErrorKind::InvalidData.into())
}

/// RFC 9112 §7.1: hexadecimal digits, and extensions, which mean nothing to us.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii_end();
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
