//! Junk: what a user takes for it, learned from what the user does with mail.
//!
//! * `tokens`: what a message is made of, as far as that tells junk from good mail.
//! * `memory`: how often each token was in mail that a user took for junk, and for good; a file of a fixed size.
//! * `judge`: what follows from that for a message.
//! * here: how it is told, in a field on top of the message.

mod judge;
mod memory;
#[cfg(test)]
mod tests;
mod tokens;

pub use judge::{ENOUGH, Judgement, judge};
pub use memory::{Counts, Learned, Memory, SIZE};
pub use tokens::Tokens;

use crate::mail::header;
use std::fmt::Write;

/// Bytes of a message, in wire form, that are looked at.
pub const MOST_READ: usize = 256 << 10;

/// From this score on a message is taken for junk. Mail that is none and goes where nobody looks costs more than junk that is seen.
pub const REQUIRED: f64 = 0.95;

/// The field that filters of this kind write, and that mail programs look at.
pub const FIELD: &str = "X-Spam-Status";

/// What a user takes a message for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Unwanted.
    Junk,
    /// Wanted.
    Good,
}

impl Kind {
    /// As the tools write it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Junk => "junk",
            Kind::Good => "good",
        }
    }

    /// What these keywords of a message say: those of RFC 9051 §2.3.2, which Apple's programs set, and those of Thunderbird. None:
    /// nothing, or both.
    pub fn of_keywords<'a>(names: impl Iterator<Item = &'a str>) -> Option<Kind> {
        let (mut junk, mut good) = (false, false);
        for name in names {
            let is = |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known));
            junk |= is(&["$Junk", "Junk"]);
            good |= is(&["$NotJunk", "NotJunk", "NonJunk"]);
        }
        match (junk, good) {
            (true, false) => Some(Kind::Junk),
            (false, true) => Some(Kind::Good),
            _ => None,
        }
    }
}

impl Judgement {
    /// The field, with its LF line ends. `host`: who says so.
    pub fn field(&self, host: &str) -> String {
        let answer = if self.is_junk() { "Yes" } else { "No" };
        let mut out = format!("{FIELD}: {answer}, score={:.2} required={REQUIRED:.2} by={host}", self.score);
        if !self.reasons.is_empty() {
            let as_what = if self.score >= 0.5 { "junk" } else { "good mail" };
            // Writing to a String does not fail.
            let _ = write!(out, "\n\t(like {as_what}: {})", self.reasons.join(",\n\t "));
        }
        out.push('\n');
        out
    }
}

/// Does a field of this value say that it is ours?
pub fn is_ours(value: &[u8], host: &str) -> bool {
    let own = format!("by={host}").to_ascii_lowercase();
    let value = header::unfold(value).to_ascii_lowercase();
    memchr::memmem::find(&value, own.as_bytes()).is_some()
}

/// What our field in this header says: is it junk? None: there is none.
pub fn told(head: &[u8], host: &str) -> Option<bool> {
    let mut values = header::fields(head).filter(|field| field.is(head, FIELD)).filter_map(|field| head.get(field.value));
    let own = values.find(|value| is_ours(value, host))?;
    Some(own.trim_ascii_start().starts_with(b"Yes"))
}
