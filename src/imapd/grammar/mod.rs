//! The grammar of IMAP: bytes of a whole command in, a [`Command`] out. Pure; each parser has its ABNF above it.

mod command;
mod cursor;
pub(super) mod fetch;
mod folder;
pub(super) mod search;
mod set;

pub(super) use command::{Append, Command, Flag, How, Resync, Store, Verb, parse, tag_of};
pub(super) use cursor::{Announced, Bad, Cursor, announced};
pub(super) use folder::{ListWhat, StatusItem, append_head, mailbox};
pub(super) use set::{Set, show, show_uids};
