//! Bytes of a message: the sections of BODY[…], decoded parts of BINARY[…] (RFC 9051 §6.4.5).

use super::answer::End;
use super::grammar::fetch::Text;
use super::search::email_id;
use crate::mail::header;
use crate::mail::imap_text::{self, Form};
use crate::mail::structure::{Record, Section, Structure};
use crate::mail::transfer::Decoder;
use crate::mailbox::{MailboxError, Summary, View};
use crate::net::Connection;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::io::{BufRead, Read};
use std::ops::Range;

/// A longer header ends here.
const LONGEST_HEADER: usize = 2 << 20;

/// One message whose bytes are asked for; what was read for one item is there for the next.
pub(super) struct Source<'a> {
    view: &'a View,
    pub summary: &'a Summary,
    /// The client knows IMAP4rev2.
    pub rev2: bool,
    /// What the cache says of it, if that was asked for.
    record: Option<Record<'a>>,
    /// Its header, if that was read with those of others.
    known_header: Option<&'a [u8]>,
    header: OnceCell<Vec<u8>>,
    structure: OnceCell<Structure>,
}

/// What a section is.
pub(super) enum Found {
    /// The message has no such part.
    Nothing,
    /// These bytes, made for it.
    Made(Vec<u8>),
    /// This range of the message.
    Range(Range<u64>),
}

impl<'a> Source<'a> {
    pub fn new(view: &'a View, summary: &'a Summary, record: Option<Record<'a>>, header: Option<&'a [u8]>) -> Source<'a> {
        let (known_header, rev2) = (header, false);
        Source { view, summary, rev2, record, known_header, header: OnceCell::new(), structure: OnceCell::new() }
    }

    /// What the message is made of.
    pub fn structure(&self) -> Result<&Structure, MailboxError> {
        if let Some(structure) = self.structure.get() {
            return Ok(structure);
        }
        let structure = match self.record.and_then(Record::structure) {
            Some(structure) => structure,
            None => self.view.structure(self.summary.uid)?,
        };
        Ok(self.structure.get_or_init(|| if self.rev2 { structure } else { structure.without_global() }))
    }

    /// ENVELOPE, ready to send.
    pub fn envelope(&self) -> Result<Cow<'_, [u8]>, MailboxError> {
        match &self.record {
            Some(record) => Ok(record.envelope.into()),
            None => Ok(self.structure()?.envelope.as_slice().into()),
        }
    }

    /// BODYSTRUCTURE, ready to send.
    pub fn body_structure(&self) -> Result<Cow<'_, [u8]>, MailboxError> {
        match &self.record {
            Some(record) if record.is_whole => Ok(record.body_structure(self.rev2).into()),
            _ => Ok(imap_text::body(self.structure()?, Form { extended: true, rev2: self.rev2 }).into()),
        }
    }

    /// BODY
    pub fn body(&self) -> Result<Vec<u8>, MailboxError> {
        Ok(imap_text::body(self.structure()?, Form { extended: false, rev2: self.rev2 }))
    }

    /// The header with the empty line behind it. Nothing behind that is read, if it need not be.
    fn header(&self) -> Result<&[u8], MailboxError> {
        if let Some(header) = self.known_header.or(self.header.get().map(Vec::as_slice)) {
            return Ok(header);
        }
        let mut stream = self.view.read(self.summary.uid)?;
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 8 << 10]);
        loop {
            let from = bytes.len().saturating_sub(3);
            let read = stream.read(&mut piece).map_err(MailboxError::of_reader)?;
            bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
            if bytes.starts_with(b"\r\n") {
                bytes.truncate(2);
                break;
            }
            let end = memchr::memmem::find(bytes.get(from..).unwrap_or_default(), b"\r\n\r\n");
            if let Some(end) = end {
                bytes.truncate(from + end + 4);
                break;
            }
            if read == 0 || bytes.len() > LONGEST_HEADER {
                break;
            }
        }
        Ok(self.header.get_or_init(|| bytes))
    }

    /// Where a section is. The header and text of the message itself are found without its structure.
    pub fn find(&self, part: &[u32], text: &Text) -> Result<Found, MailboxError> {
        let size = self.summary.size;
        let range = match (part, text) {
            ([], Text::Whole) => Some(0..size),
            ([], Text::Header) => return Ok(Found::Made(self.header()?.to_vec())),
            ([], Text::Body) => Some((self.header()?.len() as u64).min(size)..size),
            ([], Text::Fields(names)) => return Ok(Found::Made(pick(self.header()?, names, true))),
            ([], Text::FieldsNot(names)) => return Ok(Found::Made(pick(self.header()?, names, false))),
            (part, Text::Whole) => self.structure()?.section(part, Section::Whole),
            (part, Text::Body) => self.structure()?.section(part, Section::Text),
            (part, Text::Mime) => self.structure()?.section(part, Section::Mime),
            (part, Text::Header | Text::Fields(_) | Text::FieldsNot(_)) => self.structure()?.section(part, Section::Header),
        };
        match (range, text) {
            (None, _) => Ok(Found::Nothing),
            (Some(range), Text::Fields(names)) => Ok(Found::Made(pick(&self.bytes(range)?, names, true))),
            (Some(range), Text::FieldsNot(names)) => Ok(Found::Made(pick(&self.bytes(range)?, names, false))),
            (Some(range), _) => Ok(Found::Range(range)),
        }
    }

    /// Where a part's bytes are, and how they are to be decoded. None: there is no such part, or (false) nobody knows how.
    pub fn encoded(&self, part: &[u32]) -> Result<Result<(Range<u64>, Decoder), bool>, MailboxError> {
        if part.is_empty() {
            return Ok(Ok((0..self.summary.size, Decoder::Identity)));
        }
        let structure = self.structure()?;
        let found = structure.part(part).and_then(|at| structure.parts.get(at));
        let (Some(found), Some(range)) = (found, structure.section(part, Section::Whole)) else { return Ok(Err(true)) };
        let known = ["7bit", "8bit", "binary", "base64", "quoted-printable"];
        let known = found.encoding.as_ref().is_none_or(|name| known.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name)));
        Ok(if known { Ok((range, Decoder::new(found.transfer_encoding()))) } else { Err(false) })
    }

    /// A name for the message's content, the same wherever it is (RFC 8474 §5.1).
    pub fn email_id(&self) -> Result<String, MailboxError> {
        let identity = self.view.identity(self.summary.uid)?.ok_or(MailboxError::Gone)?;
        Ok(format!("({})", email_id(&identity.key)))
    }

    /// Is there a NUL in this range?
    pub fn has_nul(&self, range: Range<u64>) -> Result<bool, MailboxError> {
        let mut found = false;
        self.each_piece(range, |piece| found |= memchr::memchr(0, piece).is_some())?;
        Ok(found)
    }

    /// A range, all of it.
    pub fn bytes(&self, range: Range<u64>) -> Result<Vec<u8>, MailboxError> {
        let mut bytes = Vec::new();
        self.each_piece(range, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// Adds a range to what is to be sent.
    pub fn append(&self, range: Range<u64>, out: &mut Vec<u8>) -> Result<(), MailboxError> {
        self.each_piece(range, |piece| out.extend_from_slice(&without_nul(piece)))
    }

    /// Reads a range; it is all there, or an error.
    pub fn each_piece(&self, range: Range<u64>, mut take: impl FnMut(&[u8])) -> Result<(), MailboxError> {
        self.each_piece_while(range, |piece| {
            take(piece);
            true
        })
    }

    /// The same, as long as more is wanted.
    fn each_piece_while(&self, range: Range<u64>, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), MailboxError> {
        let mut left = range.end - range.start;
        let mut stream = self.view.read_part(self.summary.uid, range)?;
        while left > 0 {
            let piece = stream.fill_buf().map_err(MailboxError::of_reader)?;
            let length = piece.len();
            if length == 0 {
                return Err(MailboxError::Gone);
            }
            if !take(piece) {
                return Ok(());
            }
            stream.consume(length);
            left = left.saturating_sub(length as u64);
        }
        Ok(())
    }

    /// Sends a range, whose length the client was told: what breaks off must not look whole. NUL can't be sent.
    pub fn send(&self, range: Range<u64>, to: &mut Connection) -> Result<(), End> {
        let mut result = Ok(());
        let read = self.each_piece_while(range, |piece| {
            result = to.put(&without_nul(piece));
            result.is_ok()
        });
        result?;
        read.map_err(|error| End::Broken(format!("unreadable message: {error}")))
    }
}

/// `CHAR8 = %x01-ff`: where there is a NUL all the same, 0x80 stands for it.
pub(super) fn without_nul(bytes: &[u8]) -> Cow<'_, [u8]> {
    match memchr::memchr(0, bytes) {
        None => bytes.into(),
        Some(_) => bytes.iter().map(|byte| if *byte == 0 { 0x80 } else { *byte }).collect(),
    }
}

/// The part of a range that a client wants: from which byte, and how many.
pub(super) fn cut(range: Range<u64>, partial: Option<(u64, u64)>) -> Range<u64> {
    match partial {
        None => range,
        Some((from, length)) => {
            let start = range.start.saturating_add(from).min(range.end);
            start..start.saturating_add(length).min(range.end)
        }
    }
}

/// The fields of a header with these names, or without them; and the empty line (RFC 9051 §6.4.5).
fn pick(header: &[u8], names: &[String], wanted: bool) -> Vec<u8> {
    let mut picked = Vec::new();
    for field in header::fields(header) {
        if names.iter().any(|name| field.is(header, name)) == wanted {
            picked.extend_from_slice(header.get(field.whole.clone()).unwrap_or_default());
        }
    }
    // A boundary may have taken the end of the last line (RFC 2046 §5.1.1).
    if !picked.is_empty() && !picked.ends_with(b"\n") {
        picked.extend_from_slice(b"\r\n");
    }
    picked.extend_from_slice(b"\r\n");
    picked
}

#[cfg(test)]
mod tests {
    use super::pick;

    #[test]
    fn fields_end_in_a_line_end_whatever_the_header_ends_in() {
        let names = ["b".to_owned()];
        for (header, with, without) in [
            ("A: 1\r\nB: 2\r\n\r\n", "B: 2\r\n\r\n", "A: 1\r\n\r\n"),
            ("A: 1\r\nB: 2", "B: 2\r\n\r\n", "A: 1\r\n\r\n"),
            ("", "\r\n", "\r\n"),
        ] {
            assert_eq!(pick(header.as_bytes(), &names, true), with.as_bytes());
            assert_eq!(pick(header.as_bytes(), &names, false), without.as_bytes());
        }
    }
}
