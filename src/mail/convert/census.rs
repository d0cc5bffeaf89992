//! Where in a message the 8-bit content is, and what must be done about it.

use super::heading::{ContentType, Heading};
use super::{Edit, Plan, Refusal, With};
use crate::mail::encode::is_plain;
use crate::mail::structure::{Kind, Part, Structure};
use std::borrow::Cow;
use std::ops::Range;

/// Bytes of a header that is changed: more is no header that anybody reads.
const MOST_HEADER: usize = 1 << 20;

/// Counts what is in a message that comes in pieces, for the second time.
#[derive(Debug)]
pub struct Census<'a> {
    parts: &'a [Part],
    /// All of the message, in order.
    regions: Vec<Region>,
    /// The one that the next byte is in.
    region: usize,
    at: u64,
    /// The header at hand.
    header: Vec<u8>,
    /// Of each part whose header was seen.
    headings: Vec<Option<Heading>>,
}

#[derive(Debug)]
struct Region {
    range: Range<u64>,
    /// Whose.
    part: usize,
    place: Place,
    eight_bit: u64,
    /// Bytes that quoted-printable does not keep, those among them.
    escapes: u64,
}

#[derive(Copy, Clone, Debug, PartialEq)]
enum Place {
    Header,
    /// Of what has no parts.
    Body,
    /// Before, between and behind parts: boundary lines, preamble and epilogue.
    Between,
}

impl<'a> Census<'a> {
    /// Of the message with this structure.
    pub fn new(structure: &'a Structure) -> Census<'a> {
        let parts = structure.parts.as_slice();
        Census {
            parts,
            regions: regions(parts),
            region: 0,
            at: 0,
            header: Vec::new(),
            headings: parts.iter().map(|_| None).collect(),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut block: &[u8]) {
        while let Some(region) = self.regions.get_mut(self.region).filter(|_| !block.is_empty()) {
            let left = usize::try_from(region.range.end - self.at).unwrap_or(usize::MAX).min(block.len());
            let (piece, after) = block.split_at(left);
            region.eight_bit += piece.iter().filter(|byte| !byte.is_ascii()).count() as u64;
            if region.place == Place::Header {
                let room = (MOST_HEADER + 1).saturating_sub(self.header.len()).min(piece.len());
                self.header.extend_from_slice(&piece[..room]);
            } else {
                let kept = |byte: &u8| is_plain(*byte) || matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
                region.escapes += piece.iter().filter(|byte| !kept(byte)).count() as u64;
            }
            (block, self.at) = (after, self.at + left as u64);
            if self.at == region.range.end {
                self.region += 1;
                let part = region.part;
                if region.place == Place::Header && self.header.len() <= MOST_HEADER {
                    self.headings[part] = Some(Heading::of(&self.header, &self.parts[part]));
                }
                self.header.clear();
            }
        }
    }

    /// After the last byte: is there a header beyond ASCII, at any depth (RFC 6532 §3)? In a message that is enclosed as
    /// `message/global` there can be one that was not looked at.
    pub fn is_international(&self) -> bool {
        let is_header = |region: &Region| region.place == Place::Header || self.parts[region.part].is("message", "global");
        self.regions.iter().any(|region| region.eight_bit > 0 && is_header(region))
    }

    /// After the last byte: what makes it 7-bit.
    pub fn plan(&self) -> Result<Plan, Refusal> {
        let mut edits = Vec::new();
        // Of each part that is changed: how it is encoded from now on.
        let mut changed: Vec<Option<&str>> = vec![None; self.parts.len()];
        for region in self.regions.iter().filter(|region| region.eight_bit > 0 && region.place != Place::Header) {
            if self.line(region.part).any(is_sealed) {
                return Err(Refusal::Sealed);
            }
            let with = match region.place {
                Place::Body => fit(&self.parts[region.part], region)?,
                Place::Header | Place::Between => With::Escaped,
            };
            let mut at = Some(region.part);
            while let Some(part) = at {
                changed[part].get_or_insert("7bit");
                at = self.parts[part].parent;
            }
            match with {
                With::QuotedPrintable => changed[region.part] = Some("quoted-printable"),
                With::Base64 => changed[region.part] = Some("base64"),
                With::Escaped | With::Text(_) => {}
            }
            edits.push(Edit { range: region.range.clone(), with });
        }
        for (part, encoding) in changed.iter().enumerate() {
            if let Some(encoding) = encoding {
                self.relabel(part, encoding, &mut edits)?;
            }
        }
        edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
        Ok(Plan { edits })
    }

    /// The part, and those it is in.
    fn line(&self, part: usize) -> impl Iterator<Item = &Part> {
        std::iter::successors(self.parts.get(part), |part| self.parts.get(part.parent?))
    }

    /// Changes a header to what is true of the part from now on.
    fn relabel(&self, index: usize, encoding: &str, edits: &mut Vec<Edit>) -> Result<(), Refusal> {
        let part = &self.parts[index];
        let heading = self.headings[index].as_ref().filter(|heading| heading.is_clear).ok_or(Refusal::Unclear)?;
        let mut edit = |range: Range<u64>, text: Cow<'static, str>| edits.push(Edit { range, with: With::Text(text) });
        let mut added = String::new();
        let is_leaf = part.kind == Kind::Leaf;
        match &heading.encoding {
            // What has parts is 7-bit by default (RFC 2045 §6.1).
            None if !is_leaf => {}
            None => added += &format!("Content-Transfer-Encoding: {encoding}\r\n"),
            Some(_) if !is_leaf && !part.is_unencoded() => {}
            Some(value) => {
                edit(value.clone(), format!(" {encoding}").into());
                heading.repeated.iter().for_each(|field| edit(field.clone(), "".into()));
            }
        }
        // RFC 1428 §3: who made it did not say what it is.
        match heading.content_type {
            ContentType::Absent if is_leaf => added += "Content-Type: text/plain; charset=unknown-8bit\r\n",
            ContentType::Plain(at) if part.charset().is_empty() => edit(at..at, "; charset=unknown-8bit".into()),
            _ => {}
        }
        let is_message = part.parent.is_none_or(|parent| self.parts[parent].kind == Kind::Message);
        if is_message && !heading.has_version {
            added += "MIME-Version: 1.0\r\n";
        }
        if !added.is_empty() {
            edit(heading.end..heading.end, added.into());
        }
        Ok(())
    }
}

/// How the body of a part is to be encoded. Text that a person can read stays so where that takes no more room.
fn fit(part: &Part, region: &Region) -> Result<With, Refusal> {
    let is_whole = !(part.is("message", "partial") || part.is("message", "external-body"));
    match part.kind {
        Kind::Leaf if part.is_unencoded() && is_whole => {}
        Kind::Leaf => return Err(Refusal::Unfit),
        _ => return Err(Refusal::Unclear),
    }
    let is_text = part.is_type("text") || part.is_type("message");
    let is_readable = region.escapes.saturating_mul(6) <= region.range.end - region.range.start;
    Ok(if is_text && is_readable { With::QuotedPrintable } else { With::Base64 })
}

/// RFC 1847.
fn is_sealed(part: &Part) -> bool {
    part.is("multipart", "signed") || part.is("multipart", "encrypted")
}

/// Cuts a message at its headers and bodies.
fn regions(parts: &[Part]) -> Vec<Region> {
    let mut regions = Vec::new();
    let mut add = |range: Range<u64>, part, place| {
        if range.start < range.end {
            regions.push(Region { range, part, place, eight_bit: 0, escapes: 0 });
        }
    };
    for (index, part) in parts.iter().enumerate() {
        add(part.header.clone(), index, Place::Header);
        let has_parts = matches!(part.kind, Kind::Multipart | Kind::Message);
        let mut at = part.body.start;
        if !has_parts {
            add(part.body.clone(), index, Place::Body);
            at = part.body.end;
        }
        // Up to the next part: the rest of each that ends before it.
        let next = parts.get(index + 1).map_or(u64::MAX, |next| next.header.start);
        let mut owner = if has_parts { Some(index) } else { part.parent };
        while let Some(own) = owner.filter(|_| at < next) {
            let end = parts[own].body.end.min(next);
            add(at..end, own, Place::Between);
            (at, owner) = (at.max(end), parts[own].parent);
        }
    }
    regions
}
