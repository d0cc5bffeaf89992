//! The grammar of IMAP: bytes of a whole command in, a [`Command`] out. Pure; each parser has its ABNF above it.

#![allow(missing_docs, reason = "variants are called what the RFCs call them")]

mod append;
mod command;
mod cursor;
pub mod fetch;
mod filter;
mod folder;
mod metadata;
mod notify;
mod returns;
pub mod search;
mod set;
pub mod url;

pub use append::{AppendHead, Piece, Pieces, Replaced};
pub use command::{Append, Command, Flag, How, Resync, Store, Verb, parse, tag_of};
pub use cursor::{Announced, Bad, Cursor, announced};
pub use filter::Filter;
pub use folder::{ListWhat, StatusItem, mailbox};
pub use metadata::Wanted;
pub use notify::{EVENTS, Events, Notify};
pub use returns::{Partial, Returns};
pub use set::{Set, show, show_uids};
