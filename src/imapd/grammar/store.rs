//! STORE, and flags as clients write them (RFC 9051 §6.4.6). Pure.

use super::cursor::{Bad, Cursor, Parsed};
use crate::mailbox::{Change, Flags};

/// Names in one list of flags.
const MOST_FLAGS: usize = 200;

/// What STORE does.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// How.
    pub change: Change,
    /// `.SILENT`
    pub silent: bool,
    /// Which.
    pub flags: Vec<Flag>,
    /// `(UNCHANGEDSINCE n)` (RFC 7162 §3.1.3)
    pub unchanged_since: Option<u64>,
}

/// A flag as clients write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flag {
    /// One that the protocol knows.
    System(Flags),
    /// Any other word.
    Keyword(String),
}

/// ```abnf
/// store = "STORE" SP sequence-set [SP "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"] SP store-att-flags
/// store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
/// ```
pub(super) fn store(cursor: &mut Cursor<'_>) -> Parsed<Store> {
    let mut unchanged_since = None;
    if cursor.peek() == Some(b'(') {
        cursor.list(|cursor| {
            if !cursor.eat_word("UNCHANGEDSINCE ") {
                return Err(Bad("no such modifier"));
            }
            unchanged_since = Some(cursor.number64()?);
            Ok(())
        })?;
        cursor.space()?;
    }
    let change = match cursor.peek() {
        Some(b'+') => Change::Add,
        Some(b'-') => Change::Remove,
        _ => Change::Replace,
    };
    let _ = cursor.eat(b'+') || cursor.eat(b'-');
    if !cursor.eat_word("FLAGS") {
        return Err(Bad("only FLAGS can be stored"));
    }
    let silent = cursor.eat_word(".SILENT");
    cursor.space()?;
    let mut flags = Vec::new();
    if cursor.peek() == Some(b'(') {
        flags = cursor.list(flag)?;
    } else {
        flags.push(flag(cursor)?);
        while cursor.eat(b' ') {
            flags.push(flag(cursor)?);
        }
    }
    if flags.len() > MOST_FLAGS { Err(Bad("too many flags")) } else { Ok(Store { change, silent, flags, unchanged_since }) }
}

/// `flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension`; `\Recent` is no client's.
pub(super) fn flag(cursor: &mut Cursor<'_>) -> Parsed<Flag> {
    if !cursor.eat(b'\\') {
        return cursor.atom().map(|name| Flag::Keyword(name.to_owned()));
    }
    match cursor.atom()?.to_ascii_lowercase().as_str() {
        "answered" => Ok(Flag::System(Flags::ANSWERED)),
        "deleted" => Ok(Flag::System(Flags::DELETED)),
        "draft" => Ok(Flag::System(Flags::DRAFT)),
        "flagged" => Ok(Flag::System(Flags::FLAGGED)),
        "seen" => Ok(Flag::System(Flags::SEEN)),
        _ => Err(Bad("no such flag can be set")),
    }
}
