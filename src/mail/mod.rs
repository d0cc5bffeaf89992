//! Mail as data: addresses, envelopes, headers, dates. Functions on bytes, no I/O.

pub mod address;
pub mod date;
pub mod envelope;
pub mod header;
pub mod mboxrd;

pub use address::{Address, Domain, ReversePath};
pub use envelope::{Act, Body, Envelope, Filing, Origin, Place, Recipient};
