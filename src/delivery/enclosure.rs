//! What a report gives back of the message it is about: its header, or all of it (RFC 3461 §4.3).

use super::local;
use crate::mail::encode::quoted_printable;
use crate::mail::mboxrd::ToWire;
use crate::smtp::client::is_international;
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
    /// The header; quoted-printable if it is not fit for 7-bit as it stands (RFC 6522 §4). `utf8`: it came with SMTPUTF8;
    /// `eight_bit`: the report may hold eight-bit text.
    pub(super) fn header(message: &Message, utf8: bool, eight_bit: bool) -> io::Result<Enclosure> {
        Ok(Enclosure::of_header(&local::head(message)?, utf8, eight_bit))
    }

    /// The same, of a header in disk form.
    pub(super) fn of_header(header: &[u8], utf8: bool, eight_bit: bool) -> Enclosure {
        let text = unquoted(header);
        let media = match utf8 && !text.is_ascii() && std::str::from_utf8(&text).is_ok() {
            // RFC 6533 §4.3.
            true => "message/global-headers",
            false => "text/rfc822-headers",
        };
        match media {
            _ if is_plain(&text) => Enclosure { media, encoding: "7bit", text },
            "message/global-headers" if eight_bit && is_fit(&text) => Enclosure { media, encoding: "8bit", text },
            _ => Enclosure { media, encoding: "quoted-printable", text: quoted_printable(&text) },
        }
    }

    /// All of it, if it is not too long, and fit for mail as it stands: a message in a message can't be encoded (RFC 2046
    /// §5.2.1), unless it is one with a header in UTF-8 (RFC 6532 §3.7). `utf8` and `eight_bit` as above; eight-bit text in the
    /// body of the message is there whatever the latter says.
    pub(super) fn whole(message: &Message, utf8: bool, eight_bit: bool) -> io::Result<Option<Enclosure>> {
        let length = usize::try_from(message.len()).ok().filter(|_| message.len() <= MOST_WHOLE);
        let Some(length) = length else { return Ok(None) };
        let mut room = Vec::new();
        let disk = message.piece(0, length, &mut room)?;
        if disk.len() != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = unquoted(disk);
        let media = if utf8 && is_international(message)? { "message/global" } else { "message/rfc822" };
        Ok(match () {
            () if is_fit(&text) && text.is_ascii() => Some(Enclosure { media, encoding: "7bit", text }),
            () if is_fit(&text) && (eight_bit || media == "message/rfc822") => Some(Enclosure { media, encoding: "8bit", text }),
            () if media == "message/global" => {
                Some(Enclosure { media, encoding: "quoted-printable", text: quoted_printable(&text) })
            }
            () => None,
        })
    }

    /// Is it all of the message?
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.media, "message/rfc822" | "message/global")
    }

    /// Is there eight-bit text in it?
    pub(super) fn is_eight_bit(&self) -> bool {
        self.encoding == "8bit"
    }

    /// Can it go only where headers in UTF-8 can (RFC 6531 §3.2)?
    pub(super) fn needs_utf8(&self) -> bool {
        self.media == "message/global" && self.is_eight_bit()
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

/// RFC 2045 §2.7, §2.8.
fn is_fit(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, 0 | b'\r')) && lines_are_short(text)
}

fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b' '..=b'~')) && lines_are_short(text)
}

fn lines_are_short(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').all(|line| line.len() <= LONGEST_LINE)
}
