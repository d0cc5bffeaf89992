//! What SORT, THREAD and lists of messages want to know of a message (RFC 5256, 5957, 8970).

use super::{Field, Fields};
use crate::mail::mailboxes::Entry;
use crate::mail::sent::Sent;
use crate::mail::{header, subject, words};

/// Message-IDs of one message that are kept.
const REFERENCES: usize = 200;

/// Everything a message is sorted by. Texts are decoded, not folded: comparing is by i;unicode-casemap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Without marks of replies and lists (RFC 5256 §2.1).
    pub base_subject: String,
    /// Such marks said it is a reply or a forward.
    pub is_reply: bool,
    /// The first of each list; empty if there is none.
    pub from: Correspondent,
    /// See `from`.
    pub to: Correspondent,
    /// See `from`.
    pub cc: Correspondent,
    /// None if there is no date that can be read: then the internal date counts (RFC 5256 §2.2).
    pub sent: Option<Sent>,
    /// Without brackets, quotes and blanks.
    pub message_id: Option<String>,
    /// What it answers, the oldest first: from `References`, else the first of `In-Reply-To` (RFC 5256 §3). At most 200.
    pub references: Vec<String>,
    /// The beginning of its text, at most 200 characters on one line; empty if it has none (RFC 8970).
    pub preview: String,
}

/// Somebody a message is from or to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Correspondent {
    /// The local part: SORT FROM, TO and CC (RFC 5256 §2.2).
    pub mailbox: String,
    /// The name, or the address if there is none: SORT DISPLAYFROM and DISPLAYTO (RFC 5957).
    pub display: String,
}

impl Keys {
    pub(super) fn of(fields: &Fields) -> Keys {
        let (base_subject, is_reply) = subject::base(&words::decode(&fields.line_of(Field::Subject).unwrap_or_default()));
        let ids = |field| fields.all(field).flat_map(message_ids).collect::<Vec<_>>();
        let mut references = ids(Field::References);
        if references.is_empty() {
            references = ids(Field::InReplyTo).into_iter().take(1).collect();
        }
        // The nearest ones count.
        references.drain(..references.len().saturating_sub(REFERENCES));
        Keys {
            base_subject,
            is_reply,
            from: Correspondent::of(fields.first_address(Field::From)),
            to: Correspondent::of(fields.first_address(Field::To)),
            cc: Correspondent::of(fields.first_address(Field::Cc)),
            sent: fields.first(Field::Date).and_then(Sent::parse),
            message_id: ids(Field::MessageId).into_iter().next(),
            references,
            preview: String::new(),
        }
    }
}

impl Correspondent {
    fn of(entry: Option<Entry>) -> Correspondent {
        match &entry {
            Some(Entry::Mailbox(mailbox)) => {
                let name = words::decode(mailbox.name.as_deref().unwrap_or_default());
                let address = match mailbox.domain.as_slice() {
                    b"" => words::raw(&mailbox.local),
                    domain => words::raw(&[&mailbox.local, b"@".as_slice(), domain].concat()),
                };
                let display = if name.trim().is_empty() { address } else { name };
                Correspondent { mailbox: words::raw(&mailbox.local), display }
            }
            // In an ENVELOPE a group is an address whose mailbox is the group's name.
            Some(Entry::GroupStart(name)) => Correspondent { mailbox: words::decode(name), display: words::decode(name) },
            Some(Entry::GroupEnd) | None => Correspondent::default(),
        }
    }
}

/// The Message-IDs in a value: what stands in brackets and has an at sign, without the quotes and blanks that make no
/// difference (RFC 5256 §3, RFC 5322 §3.6.4).
fn message_ids(value: &[u8]) -> Vec<String> {
    let line = header::unfold(value);
    let mut rest = line.as_slice();
    let mut found = Vec::new();
    while let Some(start) = memchr::memchr(b'<', rest) {
        rest = rest.get(start + 1..).unwrap_or_default();
        let Some(end) = memchr::memchr2(b'<', b'>', rest) else { break };
        let (id, after) = rest.split_at(end);
        rest = after;
        if after.starts_with(b">") && id.contains(&b'@') {
            let plain: Vec<u8> =
                id.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\\' | 0)).collect();
            found.push(words::raw(&plain));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::structure::Structure;

    fn keys(header: &str) -> Keys {
        Structure::of(header.replace('\n', "\r\n").as_bytes()).keys
    }

    #[test]
    fn keys_are_decoded_and_first() {
        let keys = keys(
            "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>, b@c\nTo: list: c@d;\nCC: (empty),\nDate: Fri, 21 Nov 1997 09:55:06 -0600\n\
             Subject: Re: [list]\n =?utf-8?q?gr=C3=BCn?=\nMessage-ID: < \"a b\"@c >\n\n",
        );
        assert_eq!((keys.base_subject.as_str(), keys.is_reply), ("grün", true));
        assert_eq!((keys.from.mailbox.as_str(), keys.from.display.as_str()), ("joerg", "Jörg"));
        assert_eq!((keys.to.mailbox.as_str(), keys.to.display.as_str()), ("list", "list"));
        assert_eq!(keys.cc, Correspondent::default());
        assert_eq!(keys.sent.unwrap().utc, 880_127_706);
        assert_eq!(keys.message_id.as_deref(), Some("ab@c"));
    }

    #[test]
    fn references_come_first_and_in_reply_to_after_them() {
        assert_eq!(keys("References: <a@b>\n <c@d> junk <no> <e@f\nIn-Reply-To: <g@h>\n\n").references, ["a@b", "c@d"]);
        assert_eq!(keys("References: none\nIn-Reply-To: your mail <g@h> of <i@j>\n\n").references, ["g@h"]);
        assert_eq!(keys("Subject: x\n\n").references, Vec::<String>::new());
        let many = keys(&format!("References: {}\n\n", "<a@b>".repeat(1000)));
        assert_eq!(many.references.len(), REFERENCES);
    }
}
