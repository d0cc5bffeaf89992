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
mod select;
mod set;
mod store;
pub mod url;
mod verb;

pub use append::{Append, AppendHead, Piece, Pieces, Replaced};
pub use command::{Command, parse};
pub use cursor::{Announced, Bad, Cursor, announced};
pub use filter::Filter;
pub use folder::{ListWhat, StatusItem, mailbox};
pub use metadata::Wanted;
pub use notify::{EVENTS, Events, Notify};
pub use returns::{Partial, Returns};
pub use select::{How, Resync};
pub use set::{Set, show, show_uids};
pub use store::{Flag, Store};
pub use verb::{Verb, tag_of};
