//! A structure as bytes, for a cache: little, and with what IMAP is asked for most ready to send.
//!
//! ```text
//! version   1 byte
//! whole     1 byte: 0 if only the header was looked at, and there is nothing here but ENVELOPE and keys, without a preview
//! ENVELOPE, BODYSTRUCTURE   bytes: a length and as many bytes; the second twice: for who knows IMAP4rev2, none if it is the same
//! outline   numbers
//! keys      texts as bytes; numbers
//! parts     a count, and for each: parent + 1, kind, offsets, fields
//! ```
//! Numbers are written in groups of seven bits, the lowest first, the eighth bit telling that another follows; signed
//! ones are folded (0, -1, 1, -2). What is optional is a list of none or one. Bytes that are no record are none, or a sane
//! structure: never an error, never a panic. Whoever keeps records checks that they are what he kept.

use super::{Correspondent, Keys, Kind, Outline, Parameter, Part, Structure};
use crate::mail::imap_text::{self, Form};
use crate::mail::sent::Sent;

/// To be raised with every change of the scanner or of the format: records of another version are made anew.
const VERSION: u8 = 6;
/// What follows it.
const HEAD: u8 = 0;
const WHOLE: u8 = 1;

/// The record of a structure.
pub fn encode(structure: &Structure) -> Vec<u8> {
    let mut out = vec![VERSION, WHOLE];
    bytes(&structure.envelope, &mut out);
    bytes(&imap_text::body(structure, Form { extended: true, rev2: false }), &mut out);
    let differs = structure.parts.iter().any(Part::is_global);
    let of_rev2 = differs.then(|| imap_text::body(structure, Form { extended: true, rev2: true }));
    bytes(&of_rev2.unwrap_or_default(), &mut out);
    write_outline(&structure.outline(), &mut out);
    write_keys(&structure.keys, &mut out);
    list(&structure.parts, &mut out, write_part);
    out
}

/// The record of a message of which only the header was taken apart.
pub fn encode_head(header: &Structure) -> Vec<u8> {
    let mut out = vec![VERSION, HEAD];
    bytes(&header.envelope, &mut out);
    write_keys(&header.keys, &mut out);
    out
}

/// The structure of a record; none if it is no whole record of this version.
pub fn decode(record: &[u8]) -> Option<Structure> {
    Record::open(record)?.structure()
}

/// A record, to be read in part.
#[derive(Copy, Clone, Debug)]
pub struct Record<'a> {
    /// Ready to send.
    pub envelope: &'a [u8],
    /// The rest is known of the message, not of its header only.
    pub is_whole: bool,
    body_structures: [&'a [u8]; 2],
    /// Where its text is, if it is whole.
    pub outline: Option<Outline>,
    rest: Reader<'a>,
}

impl<'a> Record<'a> {
    /// None if these bytes don't begin as a record of this version does.
    pub fn open(record: &'a [u8]) -> Option<Record<'a>> {
        let (is_whole, rest) = match record.strip_prefix(&[VERSION])?.split_first()? {
            (&HEAD, rest) => (false, rest),
            (&WHOLE, rest) => (true, rest),
            _ => return None,
        };
        let mut rest = Reader(rest);
        let envelope = rest.bytes()?;
        let (mut body_structures, mut outline) = ([b"".as_slice(); 2], None);
        if is_whole {
            (body_structures, outline) = ([rest.bytes()?, rest.bytes()?], Some(rest.outline()?));
        }
        Some(Record { envelope, is_whole, body_structures, outline, rest })
    }

    /// BODYSTRUCTURE, ready to send, if it is whole ([`Form::rev2`]).
    pub fn body_structure(&self, rev2: bool) -> &'a [u8] {
        let [of_rev1, of_rev2] = self.body_structures;
        if rev2 && !of_rev2.is_empty() { of_rev2 } else { of_rev1 }
    }

    /// What the message is sorted by.
    pub fn keys(self) -> Option<Keys> {
        let mut rest = self.rest;
        rest.keys()
    }

    /// All of it, if it is whole.
    pub fn structure(self) -> Option<Structure> {
        let mut rest = Some(self.rest).filter(|_| self.is_whole)?;
        let keys = rest.keys()?;
        let mut parts: Vec<Part> = Vec::new();
        for _ in 0..rest.count()? {
            let part = rest.part()?;
            // Parents come first: nobody who walks up or down ever turns in a circle.
            if part.parent.is_some_and(|parent| parent >= parts.len()) || part.parent.is_none() != parts.is_empty() {
                return None;
            }
            parts.push(part);
        }
        let whole = rest.0.is_empty() && !parts.is_empty();
        whole.then(|| Structure { parts, envelope: self.envelope.to_vec(), keys })
    }
}

/// Does a record that begins so tell what is wanted: all of a message, or its header?
pub fn tells(start: [u8; 2], whole: bool) -> bool {
    start == [VERSION, WHOLE] || (start == [VERSION, HEAD] && !whole)
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(value: i64, out: &mut Vec<u8>) {
    number(((value << 1) ^ (value >> 63)) as u64, out);
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    number(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn list<T>(items: &[T], out: &mut Vec<u8>, mut write: impl FnMut(&T, &mut Vec<u8>)) {
    number(items.len() as u64, out);
    items.iter().for_each(|item| write(item, out));
}

fn optional(value: &Option<Vec<u8>>, out: &mut Vec<u8>) {
    list(value.as_slice(), out, |value, out| bytes(value, out));
}

fn write_keys(keys: &Keys, out: &mut Vec<u8>) {
    bytes(keys.base_subject.as_bytes(), out);
    number(u64::from(keys.is_reply), out);
    for correspondent in [&keys.from, &keys.to, &keys.cc] {
        bytes(correspondent.mailbox.as_bytes(), out);
        bytes(correspondent.display.as_bytes(), out);
    }
    list(keys.sent.as_slice(), out, |sent, out| {
        signed(sent.utc, out);
        signed(i64::from(sent.offset), out);
    });
    list(keys.message_id.as_slice(), out, |id, out| bytes(id.as_bytes(), out));
    list(&keys.references, out, |id, out| bytes(id.as_bytes(), out));
    bytes(keys.preview.as_bytes(), out);
}

fn write_outline(outline: &Outline, out: &mut Vec<u8>) {
    let Outline { body, lines, text_end, is_plain, is_single } = *outline;
    number(body, out);
    number(lines, out);
    number(text_end, out);
    number(u64::from(is_plain) | u64::from(is_single) << 1, out);
}

fn write_part(part: &Part, out: &mut Vec<u8>) {
    number(part.parent.map_or(0, |parent| parent as u64 + 1), out);
    number(part.kind as u64, out);
    // A header ends where its body begins.
    number(part.header.start, out);
    number(part.body.start - part.header.start, out);
    number(part.body.end - part.body.start, out);
    number(part.lines, out);
    bytes(&part.media_type, out);
    bytes(&part.subtype, out);
    write_parameters(&part.parameters, out);
    for value in [&part.id, &part.description, &part.encoding, &part.md5, &part.location] {
        optional(value, out);
    }
    list(part.disposition.as_slice(), out, |(name, parameters), out| {
        bytes(name, out);
        write_parameters(parameters, out);
    });
    list(&part.languages, out, |language, out| bytes(language, out));
    bytes(&part.envelope, out);
}

fn write_parameters(parameters: &[Parameter], out: &mut Vec<u8>) {
    list(parameters, out, |(name, value), out| {
        bytes(name, out);
        bytes(value, out);
    });
}

#[derive(Copy, Clone, Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let folded = self.number()?;
        Some((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    /// A number of things that follow: each takes a byte or more.
    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.0.len())
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.count()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn owned(&mut self) -> Option<Vec<u8>> {
        self.bytes().map(<[u8]>::to_vec)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.owned()?).ok()
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count()?;
        (0..count).map(|_| read(self)).collect()
    }

    fn optional<T>(&mut self, read: impl FnMut(&mut Self) -> Option<T>) -> Option<Option<T>> {
        let mut found = self.list(read)?;
        let one = found.pop();
        found.is_empty().then_some(one)
    }

    fn parameters(&mut self) -> Option<Vec<Parameter>> {
        self.list(|reader| Some((reader.owned()?, reader.owned()?)))
    }

    fn correspondent(&mut self) -> Option<Correspondent> {
        Some(Correspondent { mailbox: self.text()?, display: self.text()? })
    }

    fn outline(&mut self) -> Option<Outline> {
        let (body, lines, text_end, bits) = (self.number()?, self.number()?, self.number()?, self.number()?);
        Some(Outline { body, lines, text_end, is_plain: bits & 1 > 0, is_single: bits & 2 > 0 })
    }

    fn keys(&mut self) -> Option<Keys> {
        Some(Keys {
            base_subject: self.text()?,
            is_reply: self.number()? != 0,
            from: self.correspondent()?,
            to: self.correspondent()?,
            cc: self.correspondent()?,
            sent: self.optional(|reader| Some(Sent { utc: reader.signed()?, offset: i16::try_from(reader.signed()?).ok()? }))?,
            message_id: self.optional(Self::text)?,
            references: self.list(Self::text)?,
            preview: self.text()?,
        })
    }

    fn part(&mut self) -> Option<Part> {
        let parent = self.number()?.checked_sub(1).map(usize::try_from).transpose().ok()?;
        let kind = *[Kind::Leaf, Kind::Multipart, Kind::Message, Kind::Opaque].get(usize::try_from(self.number()?).ok()?)?;
        let start = self.number()?;
        let body = start.checked_add(self.number()?)?;
        let end = body.checked_add(self.number()?)?;
        let lines = self.number()?;
        let (media_type, subtype, parameters) = (self.owned()?, self.owned()?, self.parameters()?);
        let mut field = || self.optional(Self::owned);
        let (id, description, encoding, md5, location) = (field()?, field()?, field()?, field()?, field()?);
        Some(Part {
            parent,
            kind,
            header: start..body,
            body: body..end,
            lines,
            media_type,
            subtype,
            parameters,
            id,
            description,
            encoding,
            md5,
            disposition: self.optional(|reader| Some((reader.owned()?, reader.parameters()?)))?,
            languages: self.list(Self::owned)?,
            location,
            envelope: self.owned()?,
        })
    }
}
