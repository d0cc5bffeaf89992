//! Mail as data: addresses, envelopes, headers, dates, and what a message is made of. Functions on bytes, no I/O.

pub mod address;
pub mod alias;
pub mod casemap;
pub mod convert;
pub mod date;
pub mod dsn;
pub mod encode;
pub mod envelope;
pub mod header;
pub mod html;
pub mod imap_text;
pub mod mailboxes;
pub mod mboxrd;
pub mod parameters;
mod preview;
pub mod priority;
pub mod release;
pub mod sent;
pub mod srs;
pub mod status;
pub mod structure;
pub mod subject;
pub mod transfer;
pub mod vacation;
pub mod words;

pub use address::{Address, Domain, ReversePath};
pub use dsn::{MailDsn, RcptDsn};
pub use envelope::{Act, Body, Envelope, Filing, Line, Origin, Place, Recipient};
pub use priority::Priority;
pub use release::Release;
