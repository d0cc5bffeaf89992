//! The envelope: what SMTP says about a message, as opposed to what the message says of itself (RFC 5321 §2.3.1).

use super::address::{Address, ReversePath};

/// Who handed a message in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Another host, without logging in.
    Network,
    /// A user of this host, logged in under this name.
    User(String),
    /// This daemon: a bounce, a warning.
    Daemon,
}

/// What the sender declared the content to be (RFC 6152).
#[derive(Copy, Clone, Debug, Eq, PartialEq, Default)]
pub enum Body {
    /// `BODY=7BIT`, or nothing declared.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
}

/// One recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    /// As given in RCPT.
    pub address: Address,
}

/// Sender, recipients and their parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// Whom to tell of failures; the null sender for mail that must not be answered.
    pub reverse_path: ReversePath,
    /// In the order they were given; an index into this list names a recipient for good.
    pub recipients: Vec<Recipient>,
    /// Declared content.
    pub body: Body,
    /// Who handed it in.
    pub origin: Origin,
}
