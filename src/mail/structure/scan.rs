//! The pass over a message. Headers are looked at line by line. In bodies only lines that begin `--` are looked at, and
//! only where a multipart is open: between them the bytes are searched for the next one, and their line ends counted.

use super::fields::Fields;
use super::keys::Keys;
use super::{Kind, Part, Structure};
use crate::mail::imap_text;
use crate::mail::preview::Preview;
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// Parts in parts.
const DEPTH: usize = 64;
/// Parts of a message.
const PARTS: usize = 4000;
/// Bytes of header fields kept, of all parts together.
const FIELDS: usize = 1 << 20;
/// A longer line can't be a boundary line: a boundary has at most 70 characters (RFC 2046 §5.1.1; some write more).
const BOUNDARY_LINE: usize = 1024;
/// Bytes of a header line that are looked at.
const HEADER_LINE: usize = 128 << 10;

static DASHES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n--"));

/// What the next byte belongs to.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Place {
    /// A header's line.
    Header,
    /// A body's line that may be a boundary line.
    Line,
    /// A body's line that is none, and what follows it.
    Text,
}

/// A part that has not ended.
#[derive(Debug)]
struct Open {
    part: usize,
    /// Of a multipart whose end was not seen.
    boundary: Option<Vec<u8>>,
    /// Where its body begins.
    body: Edge,
}

/// A place in the message, and how many line ends are before it.
#[derive(Copy, Clone, Debug)]
struct Edge {
    at: u64,
    lines: u64,
}

/// Takes a message apart that comes in pieces.
#[derive(Debug)]
pub struct Scanner {
    parts: Vec<Part>,
    /// From the message itself to the part the next byte belongs to.
    open: Vec<Open>,
    place: Place,
    /// Of the next byte, and of the line it is in.
    at: u64,
    line_at: u64,
    /// Line ends before the next byte (of a held line: before it), and bytes of the one before this line.
    lines: u64,
    line_end: u64,
    /// The last byte taken.
    last: u8,
    /// The beginning of a line that a block cut off.
    line: Vec<u8>,
    fields: Fields,
    /// Bytes of fields kept so far.
    kept: usize,
    envelope: Vec<u8>,
    keys: Keys,
    preview: Preview,
    /// How many multiparts are open.
    boundaries: usize,
    into_global: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// For a message that is to come.
    pub fn new() -> Scanner {
        let mut scanner = Scanner {
            parts: Vec::new(),
            open: Vec::new(),
            place: Place::Header,
            at: 0,
            line_at: 0,
            lines: 0,
            line_end: 0,
            last: 0,
            line: Vec::new(),
            fields: Fields::default(),
            kept: 0,
            envelope: Vec::new(),
            keys: Keys::default(),
            preview: Preview::default(),
            boundaries: 0,
            into_global: false,
        };
        scanner.begin_part(None, Edge { at: 0, lines: 0 }, false);
        scanner
    }

    /// Looks also into message/global that is not encoded; to who does not, it is a leaf.
    #[must_use]
    pub fn into_global(self) -> Scanner {
        Scanner { into_global: true, ..self }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, block: &[u8]) {
        let mut rest = block;
        while !rest.is_empty() {
            rest = match self.place {
                Place::Header | Place::Line => self.take_line(rest),
                Place::Text => self.take_text(rest),
            };
        }
    }

    /// After the last byte.
    pub fn finish(mut self) -> Structure {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.whole_line(&line, 0);
        }
        let end = Edge { at: self.at, lines: self.lines };
        while self.place == Place::Header {
            self.end_header(end);
        }
        self.close(0, end);
        self.keys.preview = self.preview.finish();
        Structure { parts: self.parts, envelope: self.envelope, keys: self.keys }
    }

    /// Goes on with a line that is to be seen whole; returns what follows it.
    fn take_line<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let in_body = self.place == Place::Line;
        if in_body && !self.line.iter().chain(rest).zip(b"--").all(|(own, dash)| own == dash) {
            return self.no_boundary(rest);
        }
        let end = memchr::memchr(b'\n', rest);
        let (piece, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        if in_body && self.line.len() + piece.len() > BOUNDARY_LINE {
            return self.no_boundary(rest);
        }
        let line_end = self.line_end_of(piece);
        self.took(piece);
        if self.line.is_empty() && end.is_some() {
            self.whole_line(piece.get(..HEADER_LINE).unwrap_or(piece), line_end);
            return after;
        }
        let room = HEADER_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        if end.is_some() {
            let mut line = std::mem::take(&mut self.line);
            self.whole_line(&line, line_end);
            line.clear();
            self.line = line;
        }
        after
    }

    /// The line at hand, of which some may be held, is text.
    fn no_boundary<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        self.preview.push(&self.line);
        self.line.clear();
        self.place = Place::Text;
        rest
    }

    /// Passes over text up to a line that may be a boundary line; returns what follows.
    fn take_text<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let end = match rest {
            _ if self.boundaries == 0 => None,
            _ => DASHES.find(rest).or_else(|| match rest {
                // What the next block begins with may make it one.
                [.., b'\n'] => Some(rest.len() - 1),
                [.., b'\n', b'-'] => Some(rest.len() - 2),
                _ => None,
            }),
        };
        let (text, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        self.lines += memchr::memchr_iter(b'\n', text).count() as u64;
        self.line_end = self.line_end_of(text);
        self.took(text);
        self.line_at = self.at;
        self.preview.push(text);
        if end.is_some() {
            self.place = Place::Line;
        }
        after
    }

    fn took(&mut self, bytes: &[u8]) {
        self.at += bytes.len() as u64;
        self.last = *bytes.last().unwrap_or(&self.last);
    }

    /// Bytes of the line end that is at the end of the next bytes.
    fn line_end_of(&self, bytes: &[u8]) -> u64 {
        match bytes {
            [.., b'\r', b'\n'] => 2,
            [b'\n'] if self.last == b'\r' => 2,
            [.., b'\n'] => 1,
            _ => 0,
        }
    }

    /// Looks at a line of a header, or at one that begins `--`.
    fn whole_line(&mut self, line: &[u8], line_end: u64) {
        let before = (self.line_at, self.line_end, self.lines);
        self.line_at = self.at;
        self.line_end = line_end;
        self.lines += u64::from(line_end > 0);
        if let Some((index, is_last)) = self.boundary(line) {
            let end = self.end_before(before);
            self.delimiter(index, is_last, end);
        } else if self.place != Place::Header {
            self.preview.push(line);
        } else if matches!(line, b"\r\n" | b"\n") {
            self.end_header(Edge { at: self.at, lines: self.lines });
        } else {
            self.fields.line(line);
        }
    }

    /// Which open multipart's boundary a line is, the nearest first, and whether it is its last (RFC 2046 §5.1.1).
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.strip_prefix(b"--").filter(|_| self.boundaries > 0)?.trim_ascii_end();
        self.open.iter().enumerate().rev().find_map(|(index, open)| match text.strip_prefix(open.boundary.as_deref()?)? {
            b"" => Some((index, false)),
            b"--" => Some((index, true)),
            _ => None,
        })
    }

    /// Where a part ends that a boundary line ends: before the line end in front of that line, unless that is its header's.
    fn end_before(&self, (line_at, line_end, lines): (u64, u64, u64)) -> Edge {
        let start = match self.open.last() {
            Some(open) if self.place == Place::Header => self.parts.get(open.part).map_or(0, |part| part.header.start),
            Some(open) => open.body.at,
            None => 0,
        };
        match line_at > start {
            true => Edge { at: line_at - line_end, lines: lines - u64::from(line_end > 0) },
            false => Edge { at: line_at, lines },
        }
    }

    /// A boundary line of the multipart at `index` was read; what is open in it ends at `end`.
    fn delimiter(&mut self, index: usize, is_last: bool, end: Edge) {
        while self.place == Place::Header {
            self.end_header(end);
        }
        self.close(index + 1, end);
        self.place = Place::Line;
        let Some(open) = self.open.get_mut(index) else { return };
        if is_last {
            open.boundary = None;
            self.boundaries -= 1;
            return;
        }
        let parent = open.part;
        let in_digest = self.parts.get(parent).is_some_and(|part| part.is("multipart", "digest"));
        self.begin_part(Some(parent), Edge { at: self.at, lines: self.lines }, in_digest);
    }

    /// Ends the open parts from `index` on.
    fn close(&mut self, index: usize, end: Edge) {
        for open in self.open.drain(index.min(self.open.len())..) {
            self.boundaries -= usize::from(open.boundary.is_some());
            if let Some(part) = self.parts.get_mut(open.part) {
                part.body.end = end.at;
                part.lines = end.lines - open.body.lines;
            }
        }
        self.preview.end_part();
    }

    fn begin_part(&mut self, parent: Option<usize>, start: Edge, is_message: bool) {
        let mut part = Part::empty(parent, start.at, is_message);
        self.fields.clear();
        self.place = Place::Header;
        if self.parts.len() + 1 >= PARTS || self.kept >= FIELDS {
            // Everything that is left is this part.
            part.make_opaque();
            self.open.iter_mut().for_each(|open| open.boundary = None);
            self.boundaries = 0;
            self.place = Place::Text;
        }
        self.open.push(Open { part: self.parts.len(), boundary: None, body: start });
        self.parts.push(part);
    }

    /// The header of the innermost part ends here and its body begins.
    fn end_header(&mut self, end: Edge) {
        self.place = Place::Line;
        let depth = self.open.len();
        let Some(open) = self.open.last_mut() else { return };
        let Some(part) = self.parts.get_mut(open.part) else { return };
        open.body = end;
        part.header.end = end.at;
        part.body = end.at..end.at;
        self.kept += self.fields.kept();
        part.describe(&self.fields, self.into_global);
        let (index, parent) = (open.part, part.parent);
        match part.kind {
            Kind::Multipart | Kind::Message if depth >= DEPTH => part.make_opaque(),
            Kind::Multipart => {
                open.boundary = part.boundary();
                self.boundaries += usize::from(open.boundary.is_some());
            }
            Kind::Leaf => self.preview.begin_part(part),
            Kind::Message | Kind::Opaque => {}
        }
        let is_message_in_one = part.kind == Kind::Message;
        self.keep_envelope(parent);
        if is_message_in_one {
            self.begin_part(Some(index), end, false);
        }
    }

    /// The header at hand may be that of a message.
    fn keep_envelope(&mut self, parent: Option<usize>) {
        match parent.map(|parent| self.parts.get_mut(parent)) {
            None => {
                self.envelope = imap_text::envelope(&self.fields);
                self.keys = Keys::of(&self.fields);
            }
            Some(Some(parent)) if parent.kind == Kind::Message => parent.envelope = imap_text::envelope(&self.fields),
            Some(_) => {}
        }
    }
}
