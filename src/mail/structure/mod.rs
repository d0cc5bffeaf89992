//! The structure of a message (MIME, RFC 2045 to 2049): which parts it has, and where each begins and ends, to the byte.
//!
//! [`Scanner`] takes a message in wire form in blocks of any size and passes over it once, at the speed of a search for
//! bytes. It keeps a part table, never the message. Any bytes have a structure: past a bound (depth, parts, bytes of
//! headers) what is left is one opaque part. Nothing recurses, nothing is read twice.
//!
//! * `scan`: the pass.
//! * `fields`: the header fields it keeps. `media`: values of `Content-*` fields.
//! * `keys`: what SORT, THREAD and lists of messages want to know.
//! * `record`: all of it as bytes, for a cache.

mod fields;
mod keys;
mod media;
mod record;
mod scan;
#[cfg(test)]
mod tests;

pub(crate) use fields::{Field, Fields};
pub use keys::{Correspondent, Keys};
pub use media::Parameter;
pub(crate) use media::{content_type, token};
pub use record::{Record, decode, encode, encode_head, tells};
pub use scan::Scanner;
use std::ops::Range;

/// What a part holds.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something without parts.
    Leaf,
    /// multipart/*: the parts that have it as parent. There may be none.
    Multipart,
    /// message/rfc822, and message/global where that was looked into: exactly one child, the message in it, with that message's
    /// header and body.
    Message,
    /// What lies past a bound: shown as application/octet-stream, not looked into.
    Opaque,
}

/// One part. Offsets are in the wire form of the whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The index of the part it is in; none for the message itself.
    pub parent: Option<usize>,
    /// What it holds.
    pub kind: Kind,
    /// Its header, with the empty line that ends it.
    pub header: Range<u64>,
    /// Its body, without the line end that belongs to the boundary behind it (RFC 2046 §5.1.1).
    pub body: Range<u64>,
    /// Line ends in the body.
    pub lines: u64,
    /// As written, or `text`, or `message` in a digest.
    pub media_type: Vec<u8>,
    /// As written, or `plain`, or `rfc822` in a digest.
    pub subtype: Vec<u8>,
    /// Of the type, in their order, as written; see [`crate::mail::parameters::value`] for what they mean.
    pub parameters: Vec<Parameter>,
    /// `Content-ID`.
    pub id: Option<Vec<u8>>,
    /// `Content-Description`.
    pub description: Option<Vec<u8>>,
    /// `Content-Transfer-Encoding`, the name as written.
    pub encoding: Option<Vec<u8>>,
    /// `Content-MD5`.
    pub md5: Option<Vec<u8>>,
    /// `Content-Disposition` (RFC 2183): its name and its parameters.
    pub disposition: Option<(Vec<u8>, Vec<Parameter>)>,
    /// `Content-Language`.
    pub languages: Vec<Vec<u8>>,
    /// `Content-Location`.
    pub location: Option<Vec<u8>>,
    /// For [`Kind::Message`]: the ENVELOPE of the message in it, ready to send.
    pub envelope: Vec<u8>,
}

impl Part {
    /// Is its type this one, in any case?
    pub fn is(&self, media_type: &str, subtype: &str) -> bool {
        self.is_type(media_type) && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }

    /// Is it of this type, whatever the subtype?
    pub fn is_type(&self, media_type: &str) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type.as_bytes())
    }

    /// A message that only IMAP4rev2 knows as one (RFC 6532 §3.7, RFC 9051 §7.5.2).
    pub fn is_global(&self) -> bool {
        self.kind == Kind::Message && self.is("message", "global")
    }

    /// Is its body text that is searched? (What multiparts and messages hold are parts.)
    pub fn is_text(&self) -> bool {
        match self.kind {
            Kind::Leaf => self.is_type("text") || self.is_type("message"),
            Kind::Opaque => true,
            Kind::Multipart | Kind::Message => false,
        }
    }

    /// The name of its charset; empty if it has none.
    pub fn charset(&self) -> Vec<u8> {
        super::parameters::value(&self.parameters, "charset").unwrap_or_default().into_bytes()
    }

    /// How its body is encoded. Parts that have parts are not (RFC 2045 §6.4).
    pub fn transfer_encoding(&self) -> super::transfer::Encoding {
        match self.kind {
            Kind::Leaf => super::transfer::Encoding::named(self.encoding.as_deref().unwrap_or_default()),
            Kind::Multipart | Kind::Message | Kind::Opaque => super::transfer::Encoding::Identity,
        }
    }
}

/// Which bytes of a part are asked for (RFC 3501 §6.4.5).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// `BODY[1.2]`; of the message itself: all of it.
    Whole,
    /// `BODY[1.2.HEADER]`: the header of a message.
    Header,
    /// `BODY[1.2.TEXT]`: the body of a message.
    Text,
    /// `BODY[1.2.MIME]`: the header of a part.
    Mime,
}

/// Where the text of a message is, in short. Offsets are in wire form.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Where the body begins.
    pub body: u64,
    /// Line ends in it.
    pub lines: u64,
    /// Where the last part with text ends.
    pub text_end: u64,
    /// No text is encoded, and bytes that look like ASCII are that.
    pub is_plain: bool,
    /// The message is its only part.
    pub is_single: bool,
}

/// A message, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// In the order in which they stand in the message. The first is the message itself; there always is one.
    pub parts: Vec<Part>,
    /// The ENVELOPE of the message (RFC 3501 §7.4.2), ready to send.
    pub envelope: Vec<u8>,
    /// What it is sorted by.
    pub keys: Keys,
}

impl Structure {
    /// Of a message that is in memory.
    pub fn of(message: &[u8]) -> Structure {
        let mut scanner = Scanner::new();
        scanner.push(message);
        scanner.finish()
    }

    /// As who does not know IMAP4rev2 sees it: message/global is a leaf.
    #[must_use]
    pub fn without_global(self) -> Structure {
        if !self.parts.iter().any(Part::is_global) {
            return self;
        }
        let (mut parts, mut places, mut closed) = (Vec::new(), Vec::new(), None);
        for (index, part) in self.parts.into_iter().enumerate() {
            places.push(parts.len());
            if closed.is_some() && part.parent >= closed {
                continue;
            }
            let (is_global, parent) = (part.is_global(), part.parent.and_then(|parent| places.get(parent).copied()));
            closed = is_global.then_some(index);
            parts.push(if is_global {
                Part { kind: Kind::Leaf, envelope: Vec::new(), parent, ..part }
            } else {
                Part { parent, ..part }
            });
        }
        Structure { parts, ..self }
    }

    /// Where its text is.
    pub fn outline(&self) -> Outline {
        let root = self.parts.first();
        let mut outline = Outline {
            body: root.map_or(0, |root| root.body.start),
            lines: root.map_or(0, |root| root.lines),
            text_end: 0,
            is_plain: true,
            is_single: self.parts.len() == 1,
        };
        for text in self.parts.iter().filter(|part| part.is_text()) {
            outline.text_end = outline.text_end.max(text.body.end);
            outline.is_plain &=
                text.transfer_encoding() == super::transfer::Encoding::Identity && super::words::is_ascii_based(&text.charset());
        }
        outline
    }

    /// The parts directly in this one.
    pub fn children(&self, part: usize) -> impl Iterator<Item = usize> + '_ {
        let inside = self.parts.iter().enumerate().skip(part + 1).take_while(move |(_, own)| own.parent >= Some(part));
        inside.filter(move |(_, own)| own.parent == Some(part)).map(|(index, _)| index)
    }

    /// The part with this number, `&[1, 2]` for `1.2` (RFC 3501 §6.4.5); the message itself for an empty one.
    pub fn part(&self, number: &[u32]) -> Option<usize> {
        let mut at = 0;
        // A message, whose parts are numbered, or part 1 of one that is not multipart, which is the same entry.
        let mut is_message = true;
        for &number in number {
            if !is_message && self.parts.get(at)?.kind == Kind::Message {
                at = self.children(at).next()?;
                is_message = true;
            }
            let nth = usize::try_from(number.checked_sub(1)?).ok()?;
            at = match self.parts.get(at)?.kind {
                Kind::Multipart => self.children(at).nth(nth)?,
                _ if is_message && nth == 0 => at,
                _ => return None,
            };
            is_message = false;
        }
        Some(at)
    }

    /// The number under which a client asks for a part: `[1]` for a message that is not multipart. A multipart that is
    /// the body of a message has none of its own, but that of the message: empty for the outermost.
    pub fn number(&self, part: usize) -> Vec<u32> {
        let mut number = Vec::new();
        let mut at = part;
        while let Some((own, parent)) = self.parts.get(at).and_then(|own| Some((own, own.parent?))) {
            let container = self.parts.get(parent);
            if container.is_some_and(|container| container.kind == Kind::Multipart) {
                let before = self.children(parent).take_while(|child| *child < at).count();
                number.push(u32::try_from(before + 1).unwrap_or(u32::MAX));
            } else if own.kind != Kind::Multipart {
                // A message that is not multipart: its one part.
                number.push(1);
            }
            at = parent;
        }
        if self.parts.first().is_some_and(|root| root.kind != Kind::Multipart) {
            number.push(1);
        }
        number.reverse();
        number
    }

    /// Where the bytes of a section are, in wire form; none if the message has no such section.
    pub fn section(&self, number: &[u32], section: Section) -> Option<Range<u64>> {
        let at = self.part(number)?;
        let part = self.parts.get(at)?;
        // Header and text are those of a message: of this one, or of the one in the part.
        let message = || match number {
            [] => Some(part),
            _ if part.kind == Kind::Message => self.parts.get(self.children(at).next()?),
            _ => None,
        };
        match section {
            Section::Whole if number.is_empty() => Some(part.header.start..part.body.end),
            Section::Whole => Some(part.body.clone()),
            Section::Header => message().map(|message| message.header.clone()),
            Section::Text => message().map(|message| message.body.clone()),
            Section::Mime if number.is_empty() => None,
            Section::Mime => Some(part.header.clone()),
        }
    }
}
