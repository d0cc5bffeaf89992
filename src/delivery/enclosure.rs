//! What a report gives back of the message it is about: its header, or all of it (RFC 3461 §4.3).

use super::local;
use crate::mail::encode::QuotedPrintable;
use crate::mail::mboxrd::ToWire;
use crate::spool::Message;
use std::io;

/// Octets of a line that need no encoding (RFC 5322 §2.1.1).
pub(super) const LONGEST_LINE: usize = 998;

/// A message that is longer does not come back whole (RFC 3461 §6.2): a report is a letter that is held in memory.
const MOST_WHOLE: u64 = 256 * 1024;

/// The third part of a report.
#[derive(Debug)]
pub(super) struct Enclosure {
    /// Its type.
    pub(super) media: &'static str,
    /// Its transfer encoding.
    pub(super) encoding: &'static str,
    /// With LF line ends.
    pub(super) text: Vec<u8>,
}

impl Enclosure {
    /// The header; quoted-printable if it is not fit for 7-bit as it stands (RFC 6522 §4).
    pub(super) fn header(message: &Message) -> io::Result<Enclosure> {
        Ok(Enclosure::of_header(&local::head(message)?))
    }

    /// The same, of a header in disk form.
    pub(super) fn of_header(header: &[u8]) -> Enclosure {
        let text = unquoted(header);
        let (encoding, text) = if is_plain(&text) { ("7bit", text) } else { ("quoted-printable", quoted_printable(&text)) };
        Enclosure { media: "text/rfc822-headers", encoding, text }
    }

    /// All of it, if it is not too long, and fit for mail as it stands: a message in a message can't be encoded (RFC 2046
    /// §5.2.1). `eight_bit`: that may be eight-bit text.
    pub(super) fn whole(message: &Message, eight_bit: bool) -> io::Result<Option<Enclosure>> {
        let length = usize::try_from(message.len()).ok().filter(|_| message.len() <= MOST_WHOLE);
        let Some(length) = length else { return Ok(None) };
        let mut disk = vec![0; length];
        if message.read_at(&mut disk, 0)? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = unquoted(&disk);
        // RFC 2045 §2.7, §2.8.
        let fit = !text.iter().any(|byte| matches!(byte, 0 | b'\r')) && lines_are_short(&text);
        let encoding = match () {
            () if fit && text.is_ascii() => "7bit",
            () if fit && eight_bit => "8bit",
            () => return Ok(None),
        };
        Ok(Some(Enclosure { media: "message/rfc822", encoding, text }))
    }

    /// Is it all of the message?
    pub(super) fn is_whole(&self) -> bool {
        self.media == "message/rfc822"
    }

    /// Can it go only where eight bits can?
    pub(super) fn is_eight_bit(&self) -> bool {
        self.encoding == "8bit"
    }
}

/// What was on the wire, with LF, from what lies in the spool.
fn unquoted(disk: &[u8]) -> Vec<u8> {
    let (mut to_wire, mut wire) = (ToWire::default(), Vec::with_capacity(disk.len() + disk.len() / 16));
    to_wire.push(disk, &mut wire);
    to_wire.finish(&mut wire);
    let mut lines: Vec<u8> = Vec::with_capacity(wire.len());
    wire.split_inclusive(|byte| *byte == b'\n').for_each(|line| {
        lines.extend_from_slice(line.strip_suffix(b"\r\n").unwrap_or(line));
        lines.push(b'\n');
    });
    lines
}

fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b' '..=b'~')) && lines_are_short(text)
}

fn lines_are_short(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').all(|line| line.len() <= LONGEST_LINE)
}

/// For text with LF line ends.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let (mut encoder, mut out) = (QuotedPrintable::default(), Vec::new());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        encoder.push(line.strip_suffix(b"\n").unwrap_or(line), &mut out);
        encoder.push(b"\r\n", &mut out);
    }
    encoder.finish(&mut out);
    out.retain(|byte| *byte != b'\r');
    out
}
