//! 8-bit mail for hosts that take 7 bits only (RFC 6152 §3): bodies with 8-bit content become quoted-printable or base64, part
//! by part, and nothing else changes. Multiparts and messages in messages can't be encoded (RFC 2045 §6.4), but what is in
//! them can. What is signed or encrypted is never touched.
//!
//! A message is passed over as often as it takes, and never held. All passes take its wire form, in pieces of any size:
//!
//! 1. The [`Scanner`](super::structure::Scanner) finds its parts.
//! 2. A [`Census`] finds where in them the 8-bit content is. It makes the [`Plan`]: a list of edits, or why there is none.
//! 3. A [`Converter`] does the edits. What comes out must have the same parts as what went in: a [`Proof`] looks, before any
//!    of it is sent.
//!
//! Header fields are left as they are, 8-bit characters in them included: nothing says which charset they are in, so there is
//! no encoding that would be right.

mod census;
mod converter;
mod heading;
#[cfg(test)]
mod tests;

pub use census::Census;
pub use converter::{Converter, Proof};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Why a message can't be made 7-bit.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its 8-bit content is signed or encrypted: a change would break that (RFC 1847 §2.1).
    Sealed,
    /// A part with 8-bit content is of a kind that can't be encoded, or says that it is encoded already.
    Unfit,
    /// Its structure is out of bounds, or not clear enough to be changed.
    Unclear,
}

impl Refusal {
    /// RFC 3463 §3.7.
    pub fn status(self) -> &'static str {
        match self {
            Refusal::Sealed => "5.6.2",
            Refusal::Unfit | Refusal::Unclear => "5.6.3",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Refusal::Sealed => "it is signed or encrypted, and would be broken by a conversion",
            Refusal::Unfit => "a part of it is of a kind that can't be encoded",
            Refusal::Unclear => "its structure is not clear enough for a conversion",
        })
    }
}

/// What is to be done to a range of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum With {
    /// Something else stands there.
    Text(Cow<'static, str>),
    /// Encoded.
    QuotedPrintable,
    /// Encoded.
    Base64,
    /// 8-bit bytes as in quoted-printable, all others as they are: what is between parts is shown to nobody, but a person who
    /// looks at it shall be able to read it.
    Escaped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    range: Range<u64>,
    with: With,
}

/// What makes a message 7-bit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order; they do not overlap.
    edits: Vec<Edit>,
}

impl Plan {
    /// Is it fine as it is?
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }
}
