//! Carries a plan out, and looks at what came of it.

use super::{Edit, Plan, Refusal, With};
use crate::mail::encode::{Base64, Encoder, QuotedPrintable, escaped};
use crate::mail::structure::{Scanner, Structure};

/// Makes a message 7-bit that comes in pieces.
#[derive(Debug)]
pub struct Converter<'a> {
    /// Those that are not done.
    edits: &'a [Edit],
    /// The first of them was begun; its encoder, if it has one.
    begun: Option<Option<Encoder>>,
    at: u64,
}

impl<'a> Converter<'a> {
    /// Of the message that the plan was made for.
    pub fn new(plan: &'a Plan) -> Converter<'a> {
        Converter { edits: &plan.edits, begun: None, at: 0 }
    }

    /// Takes the next piece and appends what is certain to `out`.
    pub fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while let Some((edit, later)) = self.edits.split_first() {
            let until = if self.at < edit.range.start { edit.range.start } else { edit.range.end };
            let (now, after) = piece.split_at(usize::try_from(until - self.at).unwrap_or(usize::MAX).min(piece.len()));
            if self.at < edit.range.start {
                out.extend_from_slice(now);
            } else {
                let encoder = self.begun.get_or_insert_with(|| begin(&edit.with, out));
                match (encoder, &edit.with) {
                    (Some(encoder), _) => encoder.push(now, out),
                    (None, With::Escaped) => escape(now, out),
                    (None, _) => {}
                }
            }
            (piece, self.at) = (after, self.at + now.len() as u64);
            if self.begun.is_some() && self.at == edit.range.end {
                if let Some(Some(mut encoder)) = self.begun.take() {
                    encoder.finish(out);
                }
                self.edits = later;
            } else if piece.is_empty() {
                return;
            }
        }
        out.extend_from_slice(piece);
    }
}

fn begin(with: &With, out: &mut Vec<u8>) -> Option<Encoder> {
    match with {
        With::Text(text) => out.extend_from_slice(text.as_bytes()),
        With::QuotedPrintable => return Some(Encoder::QuotedPrintable(QuotedPrintable::default())),
        With::Base64 => return Some(Encoder::Base64(Base64::default())),
        With::Escaped => {}
    }
    None
}

fn escape(piece: &[u8], out: &mut Vec<u8>) {
    for &byte in piece {
        match byte.is_ascii() {
            true => out.push(byte),
            false => out.extend_from_slice(&escaped(byte)),
        }
    }
}

/// Looks whether a converted message has the parts it had.
#[derive(Debug, Default)]
pub struct Proof {
    scanner: Scanner,
    size: u64,
}

impl Proof {
    /// Takes the next bytes that came out of the converter.
    pub fn push(&mut self, block: &[u8]) {
        self.scanner.push(block);
        self.size += block.len() as u64;
    }

    /// After the last: how many bytes there were, if all parts are there and no others.
    pub fn finish(self, original: &Structure) -> Result<u64, Refusal> {
        let converted = self.scanner.finish();
        let same = original.parts.len() == converted.parts.len()
            && original.parts.iter().zip(&converted.parts).all(|(was, is)| {
                (was.parent, was.kind, &was.media_type, &was.subtype) == (is.parent, is.kind, &is.media_type, &is.subtype)
            });
        if same { Ok(self.size) } else { Err(Refusal::Unclear) }
    }
}
