//! The header fields that a structure is made from, taken out of a header line by line. Others are passed over, so that
//! a megabyte of them costs no memory; of these, a bounded part is kept.

use crate::mail::header::unfold;
use crate::mail::mailboxes::{self, Entry};
use std::borrow::Cow;
use std::ops::Range;

/// A field that is kept.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    ContentType,
    ContentId,
    ContentDescription,
    ContentTransferEncoding,
    ContentMd5,
    ContentDisposition,
    ContentLanguage,
    ContentLocation,
    Date,
    Subject,
    From,
    Sender,
    ReplyTo,
    To,
    Cc,
    Bcc,
    InReplyTo,
    MessageId,
    References,
}

const NAMES: [(&str, Field); 19] = [
    ("content-type", Field::ContentType),
    ("content-id", Field::ContentId),
    ("content-description", Field::ContentDescription),
    ("content-transfer-encoding", Field::ContentTransferEncoding),
    ("content-md5", Field::ContentMd5),
    ("content-disposition", Field::ContentDisposition),
    ("content-language", Field::ContentLanguage),
    ("content-location", Field::ContentLocation),
    ("date", Field::Date),
    ("subject", Field::Subject),
    ("from", Field::From),
    ("sender", Field::Sender),
    ("reply-to", Field::ReplyTo),
    ("to", Field::To),
    ("cc", Field::Cc),
    ("bcc", Field::Bcc),
    ("in-reply-to", Field::InReplyTo),
    ("message-id", Field::MessageId),
    ("references", Field::References),
];

/// Bytes kept of one header.
const BYTES: usize = 128 << 10;
/// Fields kept of one header.
const FIELDS: usize = 256;

/// The fields of one header.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    text: Vec<u8>,
    found: Vec<(Field, Range<usize>)>,
    /// The line before belongs to a field that is kept.
    open: bool,
}

impl Fields {
    /// Makes room for the next header.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.found.clear();
        self.open = false;
    }

    /// Bytes kept.
    pub(super) fn kept(&self) -> usize {
        self.text.len()
    }

    /// Takes the next line of the header, its line end included.
    pub(super) fn line(&mut self, line: &[u8]) {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            self.open = false;
            let Some((field, value)) = named(line) else { return };
            if self.found.len() < FIELDS {
                self.open = true;
                self.found.push((field, self.text.len()..self.text.len()));
                self.keep(value);
            }
        } else if self.open {
            self.keep(line);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = BYTES.saturating_sub(self.text.len());
        self.text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if let Some((_, range)) = self.found.last_mut() {
            range.end = self.text.len();
        }
    }

    /// The values of a field, as they stand in the header.
    pub(crate) fn all(&self, field: Field) -> impl Iterator<Item = &[u8]> {
        self.found.iter().filter(move |(own, _)| *own == field).filter_map(|(_, range)| self.text.get(range.clone()))
    }

    /// The first value of a field.
    pub(crate) fn first(&self, field: Field) -> Option<&[u8]> {
        self.all(field).next()
    }

    /// The first value on one line, without outer blanks and NULs.
    pub(crate) fn line_of(&self, field: Field) -> Option<Vec<u8>> {
        let mut line = unfold(self.first(field)?);
        line.retain(|byte| *byte != 0);
        Some(line)
    }

    /// The addresses of a field. A field that is there twice is read as one list: what a client shows is then all there is.
    pub(crate) fn addresses(&self, field: Field) -> Vec<Entry> {
        mailboxes::parse(&self.list(field))
    }

    /// The first of them.
    pub(crate) fn first_address(&self, field: Field) -> Option<Entry> {
        mailboxes::first(&self.list(field))
    }

    fn list(&self, field: Field) -> Cow<'_, [u8]> {
        let values: Vec<&[u8]> = self.all(field).collect();
        match values.as_slice() {
            [] => Cow::default(),
            [value] => Cow::Borrowed(value),
            values => Cow::Owned(values.join(b",".as_slice())),
        }
    }
}

/// The field that a line begins, if it is to be kept, and the value's first line.
fn named(line: &[u8]) -> Option<(Field, &[u8])> {
    // Most lines of most headers end here.
    if !matches!(line.first()? | 0x20, b'b'..=b'd' | b'f' | b'i' | b'm' | b'r'..=b't') {
        return None;
    }
    let longest = line.get(..40).unwrap_or(line);
    let colon = longest.iter().position(|byte| *byte == b':')?;
    let name = line.get(..colon)?.trim_ascii_end();
    let (_, field) = NAMES.iter().find(|(own, _)| own.as_bytes().eq_ignore_ascii_case(name))?;
    Some((*field, line.get(colon + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_kept_with_their_folds_and_others_are_not() {
        let mut fields = Fields::default();
        for line in [
            "X-Other: a\r\n",
            " b\r\n",
            "SUBJECT : one\r\n",
            "\ttwo\r\n",
            "Received: x\r\n",
            " y\r\n",
            "to: a@b\r\n",
            "To: c@d\r\n",
        ] {
            fields.line(line.as_bytes());
        }
        assert_eq!(fields.line_of(Field::Subject).unwrap(), b"one\ttwo");
        assert_eq!(fields.addresses(Field::To).len(), 2);
        assert_eq!(fields.first_address(Field::To).as_ref(), fields.addresses(Field::To).first());
        assert_eq!(fields.first_address(Field::Cc), None);
        assert_eq!(fields.line_of(Field::From), None);
        assert!(fields.kept() < 30);
    }

    #[test]
    fn every_name_is_found() {
        for (name, field) in NAMES {
            let line = format!("{}: x\r\n", name.to_uppercase());
            assert_eq!(named(line.as_bytes()), Some((field, &b" x\r\n"[..])));
        }
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut fields = Fields::default();
        for _ in 0..100_000 {
            fields.line(b"Subject: 12345678901234567890\r\n");
            fields.line(b" 12345678901234567890\r\n");
        }
        fields.line(b"From:");
        fields.line(&vec![b' '; 1 << 20]);
        assert!(fields.kept() <= BYTES && fields.found.len() <= FIELDS);
    }
}
