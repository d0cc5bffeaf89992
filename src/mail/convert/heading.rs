//! What must be known of a part's header to change what it says of the body.

use crate::mail::header;
use crate::mail::structure::{Part, content_type, token};
use std::ops::Range;

/// Places in a header, as offsets in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    /// The value of `Content-Transfer-Encoding`.
    pub(super) encoding: Option<Range<u64>>,
    /// Further fields of that name.
    pub(super) repeated: Vec<Range<u64>>,
    /// How it tells the type.
    pub(super) content_type: ContentType,
    /// There is a `MIME-Version`.
    pub(super) has_version: bool,
    /// Where fields can be added.
    pub(super) end: u64,
    /// It says of its part what the structure says, which is read with bounds.
    pub(super) is_clear: bool,
}

/// How a header tells the type of its part, by the first field of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ContentType {
    /// Not at all.
    Absent,
    /// As text/plain, in whatever charset; the name of one may be put here.
    Plain(u64),
    /// Somehow.
    Told,
}

impl Heading {
    /// Of the header of this part.
    pub(super) fn of(header: &[u8], part: &Part) -> Heading {
        let at = |range: Range<usize>| part.header.start + range.start as u64..part.header.start + range.end as u64;
        let mut heading = Heading {
            encoding: None,
            repeated: Vec::new(),
            content_type: ContentType::Absent,
            has_version: false,
            end: part.header.start + header::end(header) as u64,
            is_clear: true,
        };
        for field in header::fields(header) {
            let value = header.get(field.value.clone()).unwrap_or_default();
            if field.is(header, "Content-Transfer-Encoding") {
                match heading.encoding {
                    None => {
                        heading.is_clear &= token(value) == part.encoding;
                        heading.encoding = Some(at(field.value));
                    }
                    Some(_) => heading.repeated.push(at(field.whole)),
                }
            } else if field.is(header, "MIME-Version") {
                heading.has_version = true;
            } else if field.is(header, "Content-Type") && heading.content_type == ContentType::Absent {
                let told = content_type(value);
                heading.is_clear &= told.is_none_or(|(media, subtype, _)| media == part.media_type && subtype == part.subtype);
                heading.content_type = match after_plain(value).filter(|_| part.is("text", "plain")) {
                    Some(after) => ContentType::Plain(part.header.start + (field.value.start + after) as u64),
                    None => ContentType::Told,
                };
            }
        }
        heading
    }
}

/// Where in a value `text/plain` ends, if it begins with that.
fn after_plain(value: &[u8]) -> Option<usize> {
    const PLAIN: &[u8] = b"text/plain";
    let end = value.len() - value.trim_ascii_start().len() + PLAIN.len();
    value.get(end - PLAIN.len()..end).filter(|name| name.eq_ignore_ascii_case(PLAIN)).map(|_| end)
}
