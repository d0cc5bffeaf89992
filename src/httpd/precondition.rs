//! Is an answer still wanted, and how much of it (RFC 9110 §13, §14)? Pure.

use super::{Head, Method, Status};
use std::ops::Range;
use std::time::SystemTime;

/// What becomes of an answer that would be 200.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of it.
    Whole,
    /// The client has it: 304.
    Unchanged,
    /// The client wants another state of it: 412.
    Failed,
    /// These bytes: 206.
    Part(Range<u64>),
    /// Bytes that are not there: 416.
    NoSuchPart,
}

/// Decides in the order of RFC 9110 §13.2.2. `length`: None where bytes can't be chosen.
pub(super) fn judge(head: &Head, tag: Option<&str>, modified: Option<&str>, length: Option<u64>) -> Verdict {
    let names = |name: &str, weakly: bool| {
        head.words(name).any(|word| word == "*" || tag.is_some_and(|tag| matches_tag(word, tag, weakly)))
    };
    let later_than = |name: &str| match (modified.and_then(date), head.field(name).and_then(date)) {
        (Some(modified), Some(known)) => Some(modified > known),
        _ => None,
    };
    if head.field("if-match").is_some() {
        if !names("if-match", false) {
            return Verdict::Failed;
        }
    } else if later_than("if-unmodified-since") == Some(true) {
        return Verdict::Failed;
    }
    let reads = matches!(head.method, Method::Get | Method::Head);
    if head.field("if-none-match").is_some() {
        if names("if-none-match", true) {
            return if reads { Verdict::Unchanged } else { Verdict::Failed };
        }
    } else if reads && later_than("if-modified-since") == Some(false) {
        return Verdict::Unchanged;
    }
    if head.method != Method::Get {
        return Verdict::Whole;
    }
    match (head.field("range"), length) {
        (Some(range), Some(length)) if is_of_this_state(head, tag, modified) => part(range, length),
        _ => Verdict::Whole,
    }
}

/// If-Range: a part fits only to what the client has of the same state (RFC 9110 §13.1.5).
fn is_of_this_state(head: &Head, tag: Option<&str>, modified: Option<&str>) -> bool {
    match head.field("if-range") {
        None => true,
        Some(word) if word.contains('"') => tag.is_some_and(|tag| matches_tag(word, tag, false)),
        Some(word) => modified.is_some_and(|modified| date(modified).is_some() && date(modified) == date(word)),
    }
}

/// RFC 9110 §8.8.3.2.
fn matches_tag(word: &str, tag: &str, weakly: bool) -> bool {
    let is_weak = |tag: &str| tag.starts_with("W/");
    let bare = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    bare(word) == bare(tag) && (weakly || !is_weak(word) && !is_weak(tag))
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// One range; of several none, which is allowed (RFC 9110 §14.2) and costs a client that asks for thousands nothing.
fn part(range: &str, length: u64) -> Verdict {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Verdict::Whole;
    };
    let number = |digits: &str| match digits {
        "" => Some(None),
        _ if !digits.bytes().all(|byte| byte.is_ascii_digit()) => None,
        _ => Some(Some(digits.parse::<u64>().unwrap_or(u64::MAX))),
    };
    let (Some(first), Some(last)) = (number(first), number(last)) else { return Verdict::Whole };
    let part = match (first, last) {
        (None, None) => return Verdict::Whole,
        (Some(first), Some(last)) if last < first => return Verdict::Whole,
        (Some(first), last) => first..last.map_or(length, |last| length.min(last.saturating_add(1))),
        (None, Some(count)) => length - length.min(count)..length,
    };
    if part.is_empty() { Verdict::NoSuchPart } else { Verdict::Part(part) }
}

impl Verdict {
    /// The status it comes to.
    pub(super) fn status(&self) -> Status {
        match self {
            Verdict::Whole => Status::OK,
            Verdict::Unchanged => Status::NOT_MODIFIED,
            Verdict::Failed => Status::PRECONDITION_FAILED,
            Verdict::Part(_) => Status::PARTIAL_CONTENT,
            Verdict::NoSuchPart => Status::RANGE_NOT_SATISFIABLE,
        }
    }
}
