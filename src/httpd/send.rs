//! Writes a response: whole, in part, compressed, in chunks, or not at all, as the request has it.

use super::precondition::{Verdict, judge};
use super::response::Writer;
use super::{Body, Head, Method, Response, Status};
use crate::net::{Connection, NetError};
use crate::sys::Time;
use flate2::{Compression, write::GzEncoder};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime};

/// A shorter body is sent as it is.
const WORTH_COMPRESSING: usize = 512;

/// Where a stream writes its body.
#[derive(Debug)]
pub struct Out<'a> {
    connection: &'a mut Connection,
    in_chunks: bool,
    /// Bytes before the part that is wanted, and of it; None: to the end.
    skip: u64,
    left: Option<u64>,
}

/// What was sent, for the log, and whether the connection can go on.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) status: Status,
    pub(super) keeps: bool,
}

/// Sends an answer. `head` is None where the request could not be read. `keeps`: another request may follow.
pub(super) fn send(
    connection: &mut Connection,
    head: Option<&Head>,
    mut response: Response,
    keeps: bool,
    now: Time,
) -> Result<Sent, NetError> {
    let verdict = head.map_or(Verdict::Whole, |head| verdict(head, &response));
    let is_ok = response.status == Status::OK;
    if is_ok {
        response.status = verdict.status();
    }
    let mut body = std::mem::replace(&mut response.body, Body::Bytes(Cow::Borrowed(&[])));
    let mut part = None;
    match verdict {
        Verdict::Whole => body = compress(head, &mut response, body),
        Verdict::Part(range) => {
            response = response.with("Content-Range", &content_range(&range, &body));
            part = Some(range);
        }
        Verdict::NoSuchPart => {
            response = response.with("Content-Range", &format!("bytes */{}", length(&body).unwrap_or(0)));
            body = Body::Bytes(Cow::Borrowed(&[]));
        }
        Verdict::Unchanged | Verdict::Failed => body = Body::Bytes(Cow::Borrowed(&[])),
    }
    let length = part.as_ref().map(|part| part.end - part.start).or_else(|| length(&body));
    let bodiless = matches!(response.status, Status::NOT_MODIFIED | Status::NO_CONTENT);
    let in_chunks = length.is_none() && head.is_some_and(|head| head.is_new);
    // Its end is that of the connection (RFC 9112 §6.3).
    let keeps = keeps && (length.is_some() || in_chunks || bodiless);
    let mut text = format!("HTTP/1.1 {} {}\r\n", response.status.0, response.status.reason());
    let _ = write!(text, "Date: {}\r\n", date(now));
    for (name, value) in &response.fields {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    match length {
        _ if bodiless => {}
        Some(length) => drop(write!(text, "Content-Length: {length}\r\n")),
        None if in_chunks => text.push_str("Transfer-Encoding: chunked\r\n"),
        None => {}
    }
    match head {
        _ if !keeps => text.push_str("Connection: close\r\n"),
        Some(head) if !head.is_new => text.push_str("Connection: keep-alive\r\n"),
        _ => {}
    }
    text.push_str("\r\n");
    connection.put(text.as_bytes())?;
    if !bodiless && head.is_none_or(|head| head.method != Method::Head) {
        write(connection, body, part, length, in_chunks)?;
    }
    connection.flush()?;
    Ok(Sent { status: response.status, keeps })
}

fn verdict(head: &Head, response: &Response) -> Verdict {
    if response.status != Status::OK {
        return Verdict::Whole;
    }
    let ranged = response.field("accept-ranges") == Some("bytes");
    let length = length(&response.body).filter(|_| ranged);
    judge(head, response.field("etag"), response.field("last-modified"), length)
}

fn length(body: &Body) -> Option<u64> {
    match body {
        Body::Bytes(bytes) => Some(bytes.len() as u64),
        Body::Stream(length, _) => *length,
    }
}

fn content_range(range: &std::ops::Range<u64>, body: &Body) -> String {
    format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), length(body).unwrap_or(0))
}

/// As an IMF-fixdate (RFC 9110 §5.6.7).
pub(super) fn date(time: Time) -> String {
    let seconds = u64::try_from(time.seconds()).unwrap_or(0);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// With gzip, if that is worth it and wanted. What a stream gives is compressed by nature, or must not wait.
fn compress(head: Option<&Head>, response: &mut Response, body: Body) -> Body {
    let kind = response.field("content-type").unwrap_or_default();
    let is_text = kind.starts_with("text/") || kind.starts_with("application/json") || kind.starts_with("image/svg");
    let Body::Bytes(bytes) = &body else { return body };
    if !is_text || bytes.len() < WORTH_COMPRESSING || response.field("content-encoding").is_some() {
        return body;
    }
    response.fields.push(("Vary", "Accept-Encoding".into()));
    let wanted = head.is_some_and(|head| {
        let refused = |item: &str| item.split_once(";q=").is_some_and(|(_, q)| q.trim().trim_matches(['0', '.']).is_empty());
        head.words("accept-encoding").any(|item| item.starts_with("gzip") && !refused(item))
    });
    let mut gzip = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::default());
    match gzip.write_all(bytes).and_then(|()| gzip.finish()) {
        Ok(packed) if wanted => {
            response.fields.push(("Content-Encoding", "gzip".into()));
            // Another encoding is another representation (RFC 9110 §8.8.3.3).
            for (_, value) in response.fields.iter_mut().filter(|(name, value)| *name == "ETag" && !value.starts_with("W/")) {
                value.insert_str(0, "W/");
            }
            Body::Bytes(packed.into())
        }
        _ => body,
    }
}

fn write(
    connection: &mut Connection,
    body: Body,
    part: Option<std::ops::Range<u64>>,
    length: Option<u64>,
    in_chunks: bool,
) -> Result<(), NetError> {
    let skip = part.as_ref().map_or(0, |part| part.start);
    let mut out = Out { connection, in_chunks, skip, left: length };
    match body {
        Body::Bytes(bytes) => out.write_all(&bytes)?,
        Body::Stream(_, writer) => stream(writer, &mut out)?,
    }
    if out.left.is_some_and(|left| left > 0) {
        return Err(NetError::Io(io::Error::other("less came than was announced")));
    }
    if in_chunks {
        out.connection.put(b"0\r\n\r\n")?;
    }
    Ok(())
}

fn stream(writer: Writer, out: &mut Out<'_>) -> Result<(), NetError> {
    match writer(out) {
        // It was told to stop where the part ends.
        Err(_) if out.left == Some(0) => Ok(()),
        result => Ok(result?),
    }
}

impl Out<'_> {
    /// Waits until the descriptor is readable or the client goes away, at most so long. What was written goes out first. True:
    /// the client has gone, or wants something else.
    pub fn wait(&mut self, other: BorrowedFd<'_>, within: Duration) -> io::Result<bool> {
        Ok(self.connection.wait(other, within)?)
    }
}

impl Write for Out<'_> {
    /// Takes all of it; what does not belong to the wanted part is dropped. Behind its end nothing more is taken.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == Some(0) && !bytes.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        let mut wanted = bytes.get(skipped..).unwrap_or_default();
        if let Some(left) = &mut self.left {
            wanted = wanted.get(..usize::try_from(*left).unwrap_or(usize::MAX)).unwrap_or(wanted);
            *left -= wanted.len() as u64;
        }
        if wanted.is_empty() {
            return Ok(bytes.len());
        }
        if self.in_chunks {
            self.connection.put(format!("{:x}\r\n", wanted.len()).as_bytes())?;
            self.connection.put(wanted)?;
            self.connection.put(b"\r\n")?;
        } else {
            self.connection.put(wanted)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.connection.flush()?)
    }
}
