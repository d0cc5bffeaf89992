//! Which mailboxes a command is about: for NOTIFY (RFC 5465 §6), and for ESEARCH, which looks into several (RFC 7377). Pure.

use super::command::Command;
use super::cursor::{Bad, Cursor, Parsed};
use super::folder::mailbox;
use super::search::search_program;

/// Names in one filter, and filters in one command.
const MOST_NAMES: usize = 1000;

/// Which mailboxes (RFC 5465 §6, RFC 7377 §2.2). Names are as they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The selected one, whichever that is.
    Selected {
        /// Numbers stay as they are until a command may change them.
        delayed: bool,
    },
    /// Where mail is delivered.
    Inboxes,
    /// All of the user's.
    Personal,
    /// Those the user is subscribed to.
    Subscribed,
    /// These and all below.
    Subtree(Vec<Vec<u8>>),
    /// These and those right below.
    SubtreeOne(Vec<Vec<u8>>),
    /// These.
    Mailboxes(Vec<Vec<u8>>),
}

/// ```abnf
/// filter-mailboxes = "selected" / "selected-delayed" / "inboxes" / "personal" / "subscribed" /
///                    ("subtree" / "subtree-one" / "mailboxes") SP one-or-more-mailbox
/// ```
pub(super) fn filter(cursor: &mut Cursor<'_>) -> Parsed<Filter> {
    Ok(match cursor.atom()?.to_ascii_uppercase().as_str() {
        "SELECTED" => Filter::Selected { delayed: false },
        "SELECTED-DELAYED" => Filter::Selected { delayed: true },
        "INBOXES" => Filter::Inboxes,
        "PERSONAL" => Filter::Personal,
        "SUBSCRIBED" => Filter::Subscribed,
        "SUBTREE" => Filter::Subtree(mailboxes(cursor)?),
        "SUBTREE-ONE" => Filter::SubtreeOne(mailboxes(cursor)?),
        "MAILBOXES" => Filter::Mailboxes(mailboxes(cursor)?),
        _ => return Err(Bad("no such mailboxes")),
    })
}

/// ```abnf
/// esearch             = "ESEARCH" [SP esearch-source-opts] [SP search-return-opts] SP search-program
/// esearch-source-opts = "IN" SP "(" source-mbox [SP "(" scope-options ")"] ")"
/// source-mbox         = filter-mailboxes *(SP filter-mailboxes)
/// ```
/// No scope option is defined yet.
pub fn esearch(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mut sources = vec![Filter::Selected { delayed: false }];
    if cursor.eat_word("IN ") {
        sources = cursor.list(filter)?;
        cursor.space()?;
    }
    if sources.contains(&Filter::Selected { delayed: true }) {
        return Err(Bad("a search has nothing to delay"));
    }
    if sources.is_empty() || sources.len() > MOST_NAMES {
        return Err(Bad("no mailboxes, or too many"));
    }
    Ok(Command::Esearch { sources, search: search_program(cursor)? })
}

/// `one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"`
fn mailboxes(cursor: &mut Cursor<'_>) -> Parsed<Vec<Vec<u8>>> {
    cursor.space()?;
    let names = if cursor.peek() == Some(b'(') { cursor.list(mailbox)? } else { vec![mailbox(cursor)?] };
    if names.is_empty() || names.len() > MOST_NAMES { Err(Bad("no mailboxes, or too many")) } else { Ok(names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed<Vec<Filter>> {
        match esearch(&mut Cursor::new(text.as_bytes()))? {
            Command::Esearch { sources, .. } => Ok(sources),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sources() {
        let name = |name: &str| name.as_bytes().to_vec();
        assert_eq!(read("unseen").unwrap(), [Filter::Selected { delayed: false }]);
        assert_eq!(read("RETURN (MIN) CHARSET UTF-8 unseen").unwrap(), [Filter::Selected { delayed: false }]);
        assert_eq!(
            read("in (mailboxes \"folder 1\" subtree folder2) return () unseen").unwrap(),
            [Filter::Mailboxes(vec![name("folder 1")]), Filter::Subtree(vec![name("folder2")])]
        );
        assert_eq!(
            read("IN (selected personal inboxes subscribed subtree-one (a b)) ALL").unwrap(),
            [
                Filter::Selected { delayed: false },
                Filter::Personal,
                Filter::Inboxes,
                Filter::Subscribed,
                Filter::SubtreeOne(vec![name("a"), name("b")])
            ]
        );
    }

    #[test]
    fn what_is_none() {
        for bad in [
            "",
            "IN () ALL",
            "IN (selected-delayed) ALL",
            "IN (mailboxes) ALL",
            "IN (mailboxes ()) ALL",
            "IN (subtree (a b) ALL",
            "IN (personal (x y)) ALL",
            "IN (personal ()) ALL",
            "IN (personal)",
            "IN personal ALL",
            "IN (personal)  ALL",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!("IN (mailboxes ({})) ALL", "a ".repeat(1000) + "a")).is_err());
    }
}
