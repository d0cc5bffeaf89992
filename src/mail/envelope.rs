//! The envelope: what SMTP says about a message, as opposed to what the message says of itself (RFC 5321 §2.3.1).

use super::address::{Address, ReversePath};
use super::dsn::{MailDsn, RcptDsn};
use super::release::Release;
use crate::sys::Time;

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
    /// Where the message goes, if that is not to be found out from the address: a session of this user files it, or an alias
    /// led there.
    pub place: Option<Box<Place>>,
    /// The line of an alias or `.forward` file that takes the message, if one led there.
    pub line: Option<Box<Line>>,
    /// Of what its sender wants to hear.
    pub dsn: RcptDsn,
    /// Whom to tell of failures for this one, if not who is told for the others: what comes back then tells for whom it does.
    pub sender: Option<Box<ReversePath>>,
}

/// A line that names a file or a command.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub struct Line {
    /// Whose `.forward` it is of; none: it is of the alias file.
    pub user: Option<String>,
    /// Its number there, from 1.
    pub number: u32,
    /// `/path` or `|command`.
    pub text: String,
}

/// A mailbox of this host, and what is done there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The account's name.
    pub user: String,
    /// The folder's id, which outlives its name.
    pub folder: String,
    /// What is done.
    pub act: Act,
}

/// What is done in a folder: by a session (APPEND, COPY, MOVE), or by us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Act {
    /// The message is delivered there, as all mail that comes.
    Deliver,
    /// The message is put there.
    File(Filing),
    /// The message is taken from there, once it is where the recipients before this one say.
    Remove {
        /// Its UID.
        uid: u32,
        /// Its content in short.
        key: [u8; 16],
        /// Which copy it is: the halves of a spool id, and a recipient. After a power cut it may have another UID.
        copy: Option<(u64, u64, u32)>,
    },
}

/// How a message is put into a folder.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filing {
    /// System flags, as bits of the mailbox room's `Flags`.
    pub flags: u8,
    /// Keywords by name.
    pub keywords: Vec<String>,
    /// Internal date (RFC 3501 §2.3.3).
    pub date: Time,
    /// Its zone, in minutes.
    pub zone: Option<i16>,
    /// When it is put there (RFC 8514).
    pub saved: Time,
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Recipient {
        Recipient { address, place: None, line: None, dsn: RcptDsn::default(), sender: None }
    }
}

impl Recipient {
    /// What a session does there, if it does anything: no mail is delivered then, and nobody is told.
    pub fn session_place(&self) -> Option<&Place> {
        self.place.as_deref().filter(|place| place.act != Act::Deliver)
    }

    /// Does the address alone tell where the message goes?
    pub fn is_routed(&self) -> bool {
        self.place.is_none() && self.line.is_none()
    }
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
    /// SMTPUTF8 was said (RFC 6531 §3.4): addresses and header may be in UTF-8.
    pub utf8: bool,
    /// What reports are to bring back.
    pub dsn: MailDsn,
    /// REQUIRETLS was said (RFC 8689): it goes only to hosts that prove their names, encrypted, and that say the same to others.
    pub require_tls: bool,
    /// When it may leave, if not at once.
    pub release: Option<Release>,
    /// Who handed it in.
    pub origin: Origin,
}

impl Envelope {
    /// Of what this daemon writes to somebody: in seven bits, and nothing comes back.
    pub fn own(to: Recipient) -> Envelope {
        Envelope {
            reverse_path: ReversePath(None),
            body: Body::SevenBit,
            utf8: to.address.to_ascii().is_none(),
            dsn: MailDsn::default(),
            require_tls: false,
            release: None,
            origin: Origin::Daemon,
            recipients: vec![to],
        }
    }

    /// The recipient of this index.
    pub fn recipient(&self, index: u32) -> Option<&Recipient> {
        self.recipients.get(usize::try_from(index).ok()?)
    }

    /// Whom to tell of failures for a recipient.
    pub fn sender(&self, index: u32) -> &ReversePath {
        self.recipient(index).and_then(|recipient| recipient.sender.as_deref()).unwrap_or(&self.reverse_path)
    }

    /// The same without recipients, as from another sender.
    pub fn from(&self, sender: &ReversePath) -> Envelope {
        Envelope {
            reverse_path: sender.clone(),
            recipients: Vec::new(),
            body: self.body,
            utf8: self.utf8,
            dsn: self.dsn.clone(),
            require_tls: self.require_tls,
            release: self.release.clone(),
            origin: self.origin.clone(),
        }
    }

    /// From when a message that was taken then may be delivered (RFC 4865).
    pub fn begins(&self, taken: Time) -> Time {
        self.release.as_ref().map_or(taken, |release| release.at(taken).max(taken))
    }
}
