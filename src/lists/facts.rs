//! What a message tells of itself, as far as a list cares.

use super::Identity;
use crate::mail::mailboxes::{self, Entry};
use crate::mail::{Address, header, words};

/// Was it written by a program (RFC 3834 §5)?
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Automatic {
    /// It does not say so.
    #[default]
    No,
    /// As an answer to another message.
    Replied,
    /// For another reason.
    Generated,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The sender of its envelope.
    pub sender: Option<Address>,
    /// Those of its From field.
    pub from: Vec<Address>,
    /// Its subject, decoded.
    pub subject: String,
    /// A program wrote it.
    pub automatic: Automatic,
    /// It came from a list, or to many.
    pub is_bulk: bool,
    /// It has been at this list before.
    pub was_here: bool,
}

impl Facts {
    /// Of a message with this header.
    pub fn of(head: &[u8], sender: Option<&Address>, list: &Identity) -> Facts {
        let mut facts = Facts { sender: sender.cloned(), ..Facts::default() };
        let (id, own) = (format!("<{}>", list.id()), list.address().to_ascii_lowercase());
        for field in header::fields(head) {
            let value = header::unfold(head.get(field.value.clone()).unwrap_or_default());
            let lower = || String::from_utf8_lossy(&value).trim().to_ascii_lowercase();
            let is = |name: &str| field.is(head, name);
            if is("From") {
                facts.from.extend(addresses(&value));
            } else if is("Subject") {
                facts.subject = words::decode(&value).trim().to_owned();
            } else if is("Auto-Submitted") {
                let text = lower();
                let word = text.split([';', ' ', '(']).next().unwrap_or_default();
                facts.automatic = match word {
                    "no" => facts.automatic,
                    "auto-replied" => Automatic::Replied,
                    _ => Automatic::Generated,
                };
            } else if is("Precedence") {
                facts.is_bulk |= matches!(lower().as_str(), "bulk" | "junk" | "list");
            } else if is("List-Id") {
                facts.is_bulk = true;
                facts.was_here |= lower().ends_with(&id);
            } else if is("X-Loop") {
                facts.was_here |= lower() == own;
            }
        }
        facts
    }

    /// Who says that he wrote it: in its From field, or else in its envelope.
    pub fn author(&self) -> Option<&Address> {
        self.from.first().or(self.sender.as_ref())
    }

    /// Is it no request of a person? Such a one is never answered (RFC 3834 §2).
    pub fn is_no_request(&self) -> bool {
        self.automatic != Automatic::No || self.is_bulk || self.was_here || self.sender.is_none()
    }
}

fn addresses(value: &[u8]) -> Vec<Address> {
    let address = |entry| match entry {
        Entry::Mailbox(mailbox) => {
            let (local, domain) = (String::from_utf8(mailbox.local).ok()?, String::from_utf8(mailbox.domain).ok()?);
            Address::new(&local, crate::mail::Domain::parse(&domain).ok()?).ok()
        }
        Entry::GroupStart(_) | Entry::GroupEnd => None,
    };
    mailboxes::parse(value).into_iter().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::Name;
    use crate::mail::Domain;

    fn of(head: &str) -> Facts {
        let list = Identity { name: Name::parse("staff").unwrap(), domain: Domain::parse("me.example").unwrap() };
        Facts::of(head.as_bytes(), Some(&"s@x.test".parse().unwrap()), &list)
    }

    #[test]
    fn facts_are_found() {
        let facts = of("From: Bob <bob@x.test>,\n \"C\" <carol@x.test>\nSubject: =?utf-8?q?G=C3=B6?=\n");
        assert_eq!(facts.from.iter().map(Address::to_string).collect::<Vec<_>>(), ["bob@x.test", "carol@x.test"]);
        assert_eq!((facts.subject.as_str(), facts.is_no_request()), ("G\u{f6}", false));
        assert_eq!(of("").author().unwrap().to_string(), "s@x.test");
        for (head, was_here) in [
            ("Auto-Submitted: auto-replied (vacation)\n", false),
            ("Auto-submitted: auto-generated\n", false),
            ("Precedence: BULK\n", false),
            ("List-Id: Other <other.me.example>\n", false),
            ("List-Id: \"The staff\"\n <Staff.Me.example>\n", true),
            ("X-Loop: STAFF@me.example\n", true),
        ] {
            let facts = of(head);
            assert_eq!((facts.is_no_request(), facts.was_here), (true, was_here), "{head}");
        }
        assert!(!of("Auto-Submitted: no\nX-Loop: other@me.example\n").is_no_request());
        assert!(Facts { sender: None, ..of("") }.is_no_request());
        let odd = of("From: \"x\\\r\n Bcc: eve\"@x.test\n").from.remove(0).to_string();
        assert_eq!(odd, "\"x Bcc: eve\"@x.test", "no line break gets into an address");
    }
}
