//! The addresses of a list.

use crate::mail::{Address, Domain};
use std::fmt;

/// The name of a list: the local part of its address, and its directory.
///
/// ```abnf
/// name = ( ALPHA / DIGIT ) *19( ALPHA / DIGIT / "." / "-" / "_" )   ; in lower case; no dot at its end or beside another
/// ```
///
/// It ends in no word that has a meaning, so that no two lists share an address; and it is short, since other addresses of the
/// list are longer and a local part has 64 octets (RFC 5321 §4.5.3.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

const LONGEST: usize = 20;

/// What an address of a list is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `NAME`: posts.
    Post,
    /// `NAME-request`: commands.
    Request,
    /// `NAME-subscribe`.
    Subscribe,
    /// `NAME-unsubscribe`.
    Unsubscribe,
    /// `NAME-help`.
    Help,
    /// `NAME-owner`, and `owner-NAME`: a person.
    Owner,
    /// `NAME-confirm+TOKEN`.
    Confirm(String),
    /// `NAME-moderate+TOKEN`.
    Moderate(String),
    /// `NAME-bounces+WHO+TOKEN`: the sender of what goes to members.
    Bounces(String),
    /// `NAME-probe+TOKEN`: the sender of a probe.
    Probe(String),
}

/// The words of addresses that stand for themselves.
const WORDS: [(&str, Role); 5] = [
    ("request", Role::Request),
    ("subscribe", Role::Subscribe),
    ("unsubscribe", Role::Unsubscribe),
    ("help", Role::Help),
    ("owner", Role::Owner),
];

type MakeRole = fn(String) -> Role;

/// The words of those that take something more.
const MARKED: [(&str, MakeRole); 4] =
    [("confirm", Role::Confirm), ("moderate", Role::Moderate), ("bounces", Role::Bounces), ("probe", Role::Probe)];

impl Name {
    /// Reads a name, in any case.
    pub fn parse(text: &str) -> Option<Name> {
        let name = text.to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_word = |word: &str| name.strip_suffix(word).is_some_and(|rest| rest.ends_with('-'));
        let is_taken = name.starts_with("owner-")
            || WORDS.iter().any(|(word, _)| is_word(word))
            || MARKED.iter().any(|(word, _)| is_word(word));
        let is_name = (1..=LONGEST).contains(&name.len())
            && name.bytes().all(plain)
            && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && !name.contains("..")
            && !name.ends_with('.')
            && !is_taken;
        is_name.then_some(Name(name))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The list whose address a local part may be, and what for.
pub fn split(local: &str) -> Option<(Name, Role)> {
    let local = local.to_ascii_lowercase();
    if let Some(name) = Name::parse(&local) {
        return Some((name, Role::Post));
    }
    if let Some(name) = local.strip_prefix("owner-").and_then(Name::parse) {
        return Some((name, Role::Owner));
    }
    let (head, mark) = local.split_once('+').map_or((local.as_str(), None), |(head, mark)| (head, Some(mark)));
    let (name, word) = head.rsplit_once('-')?;
    let role = match mark {
        None => WORDS.into_iter().find(|(known, _)| *known == word)?.1,
        Some(mark) => MARKED.into_iter().find(|(known, _)| *known == word)?.1(mark.to_owned()),
    };
    Some((Name::parse(name)?, role))
}

/// A list as others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: Name,
    /// Its domain.
    pub domain: Domain,
}

impl Identity {
    /// Its address.
    pub fn address(&self) -> String {
        format!("{}@{}", self.name, self.domain.to_ascii())
    }

    /// One of its other addresses: `request`, `confirm+TOKEN`.
    pub fn other(&self, word: &str) -> String {
        format!("{}-{word}@{}", self.name, self.domain.to_ascii())
    }

    /// Local parts of those that people write to.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let name = &self.name;
        let words = WORDS.iter().map(move |(word, _)| format!("{name}-{word}"));
        [name.to_string(), format!("owner-{name}")].into_iter().chain(words)
    }

    /// What names it whatever its address is (RFC 2919 §2).
    pub fn id(&self) -> String {
        format!("{}.{}", self.name, self.domain.key().trim_matches(['[', ']']))
    }

    /// Is this one of its addresses?
    pub fn has(&self, address: &Address) -> bool {
        address.domain().key() == self.domain.key() && split(address.local()).is_some_and(|(name, _)| name == self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_have_a_list_and_a_purpose() {
        let name = || Name::parse("staff").unwrap();
        for (local, role) in [
            ("Staff", Role::Post),
            ("staff-request", Role::Request),
            ("STAFF-Subscribe", Role::Subscribe),
            ("staff-unsubscribe", Role::Unsubscribe),
            ("staff-help", Role::Help),
            ("staff-owner", Role::Owner),
            ("owner-staff", Role::Owner),
            ("staff-confirm+s-1-x", Role::Confirm("s-1-x".into())),
            ("staff-moderate+x", Role::Moderate("x".into())),
            ("staff-bounces+bob+x=a.test+t", Role::Bounces("bob+x=a.test+t".into())),
            ("staff-probe+t", Role::Probe("t".into())),
        ] {
            assert_eq!(split(local), Some((name(), role)), "{local}");
        }
        for local in ["staff+x", "staff-confirm", "staff-request+x", "-request", "owner-", "", "../x", "a/b", ".a", "a..b"] {
            assert_eq!(split(local), None, "{local}");
        }
        assert_eq!(split("a-b"), Some((Name::parse("a-b").unwrap(), Role::Post)));
        for text in ["a-owner", "owner-a", "a-bounces", "", "a b", "aaaaaaaaaaaaaaaaaaaaa", "\u{e4}", "a."] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_list_knows_its_addresses() {
        let list = Identity { name: Name::parse("staff").unwrap(), domain: Domain::parse("Me.example").unwrap() };
        assert_eq!((list.address(), list.id()), ("staff@Me.example".into(), "staff.me.example".into()));
        let names: Vec<String> = list.names().collect();
        assert!(
            names.len() == 2 + WORDS.len() && names.iter().all(|name| split(name).is_some_and(|(name, _)| name == list.name))
        );
        for (address, own) in [("staff@me.example", true), ("Staff-Help@ME.example", true), ("staff@x.example", false)] {
            assert_eq!(list.has(&address.parse().unwrap()), own, "{address}");
        }
    }

    proptest! {
        #[test]
        fn no_local_part_is_too_odd(local in "\\PC{0,20}") {
            if let Some((name, _)) = split(&local) {
                prop_assert_eq!(Name::parse(name.as_str()), Some(name));
            }
        }
    }
}
