//! Commands about folders: names, LIST, STATUS. Pure.

use super::cursor::{Bad, Cursor, Parsed};
use crate::mailbox::SpecialUse;

/// Patterns in one LIST.
const MOST_PATTERNS: usize = 100;

/// `mailbox = "INBOX" / astring`, as it was sent: what encoding it is in depends on the session.
pub fn mailbox(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    cursor.astring().map(|name| name.into_owned())
}

/// What LIST selects (RFC 5258 §3.1).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `RECURSIVEMATCH`
    pub recursive: bool,
    /// `SPECIAL-USE` (RFC 6154 §3)
    pub special: bool,
}

/// What LIST returns with each name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `CHILDREN`
    pub children: bool,
    /// `SPECIAL-USE`
    pub special: bool,
    /// `STATUS` (RFC 5819)
    pub status: Option<Vec<StatusItem>>,
}

/// A LIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListWhat {
    /// Which names.
    pub selection: Selection,
    /// What stands before each pattern.
    pub reference: Vec<u8>,
    /// The patterns.
    pub patterns: Vec<Vec<u8>>,
    /// With what.
    pub returned: Returned,
    /// It has options, or a list of patterns: then an empty pattern is one like any other (RFC 5258 §3).
    pub extended: bool,
}

/// What STATUS tells of a mailbox.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum StatusItem {
    /// How many messages.
    Messages,
    /// How many of them are recent.
    Recent,
    /// UIDNEXT
    UidNext,
    /// UIDVALIDITY
    UidValidity,
    /// How many of them are not seen.
    Unseen,
    /// How many of them have `\Deleted` (RFC 9051 §6.3.11).
    Deleted,
    /// How many bytes these have (RFC 9208 §4.1.4).
    DeletedStorage,
    /// All their bytes (RFC 8438).
    Size,
    /// HIGHESTMODSEQ (RFC 7162 §3.1.7)
    HighestModSeq,
    /// MAILBOXID (RFC 8474 §4.3)
    MailboxId,
    /// APPENDLIMIT (RFC 7889 §3.1)
    AppendLimit,
}

/// `status-att-list = "(" status-att *(SP status-att) ")"`
pub fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    let items = cursor.list(|cursor| match cursor.atom()?.to_ascii_uppercase().as_str() {
        "MESSAGES" => Ok(StatusItem::Messages),
        "RECENT" => Ok(StatusItem::Recent),
        "UIDNEXT" => Ok(StatusItem::UidNext),
        "UIDVALIDITY" => Ok(StatusItem::UidValidity),
        "UNSEEN" => Ok(StatusItem::Unseen),
        "DELETED" => Ok(StatusItem::Deleted),
        "DELETED-STORAGE" => Ok(StatusItem::DeletedStorage),
        "SIZE" => Ok(StatusItem::Size),
        "HIGHESTMODSEQ" => Ok(StatusItem::HighestModSeq),
        "MAILBOXID" => Ok(StatusItem::MailboxId),
        "APPENDLIMIT" => Ok(StatusItem::AppendLimit),
        _ => Err(Bad("no such thing can be told")),
    })?;
    if items.is_empty() { Err(Bad("nothing is asked for")) } else { Ok(items) }
}

/// ```abnf
/// list             = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]   ; RFC 5258 §6
/// mbox-or-pat      = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"
/// list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"
/// ```
pub fn list(cursor: &mut Cursor<'_>) -> Parsed<ListWhat> {
    let mut selection = Selection::default();
    let mut extended = cursor.peek() == Some(b'(');
    if extended {
        cursor.list(|cursor| {
            match cursor.atom()?.to_ascii_uppercase().as_str() {
                "SUBSCRIBED" => selection.subscribed = true,
                "RECURSIVEMATCH" => selection.recursive = true,
                "SPECIAL-USE" => selection.special = true,
                // All our folders are our own.
                "REMOTE" => {}
                _ => return Err(Bad("no such selection")),
            }
            Ok(())
        })?;
        if selection.recursive && !selection.subscribed {
            return Err(Bad("RECURSIVEMATCH needs another selection"));
        }
        cursor.space()?;
    }
    let reference = mailbox(cursor)?;
    cursor.space()?;
    let pattern = |cursor: &mut Cursor<'_>| cursor.list_mailbox().map(|pattern| pattern.into_owned());
    let several = cursor.peek() == Some(b'(');
    let patterns = if several { cursor.list(pattern)? } else { vec![pattern(cursor)?] };
    if patterns.is_empty() || patterns.len() > MOST_PATTERNS {
        return Err(Bad("no patterns, or too many"));
    }
    let mut returned = Returned::default();
    extended |= several;
    if cursor.eat_word(" RETURN ") {
        extended = true;
        cursor.list(|cursor| {
            match cursor.atom()?.to_ascii_uppercase().as_str() {
                "SUBSCRIBED" => returned.subscribed = true,
                "CHILDREN" => returned.children = true,
                "SPECIAL-USE" => returned.special = true,
                "STATUS" => {
                    cursor.space()?;
                    returned.status = Some(status_items(cursor)?);
                }
                _ => return Err(Bad("no such return option")),
            }
            Ok(())
        })?;
    }
    Ok(ListWhat { selection, reference, patterns, returned, extended })
}

/// `create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]` (RFC 6154 §6)
pub fn create(cursor: &mut Cursor<'_>) -> Parsed<(Vec<u8>, Vec<Option<SpecialUse>>)> {
    let name = mailbox(cursor)?;
    let mut uses = Vec::new();
    if cursor.eat_word(" (USE ") {
        // A use that we know nothing of is none of ours.
        uses = cursor.list(|cursor| {
            cursor.expect(b'\\', "a use is missing")?;
            Ok(cursor.atom()?.parse().ok())
        })?;
        cursor.expect(b')', "a list does not end")?;
    }
    Ok((name, uses))
}
