//! Tokens: parts of addresses that only this host can make, since they hold a keyed hash. What one allows stands in it or is told
//! beside it, so nothing has to be remembered of those that were given out. Functions on text.
//!
//! ```abnf
//! confirm  = ( "s" / "u" ) "-" day "-" 16base32     ; subscribe or unsubscribe; over the address, too
//! day      = 1*DIGIT                                ; since the epoch; good for three days more
//! moderate = 1*base32 "." 1*base32 "-" 12base32     ; which post: the halves of its id
//! verp     = local "=" domain "+" 10base32          ; whose copy came back
//!          / 16base32                               ; the same, where that would be no local part
//! probe    = 16base32                               ; whose probe came back
//! leave    = "1-" 26base32                          ; over the address; good for ever; what comes after 1 may be another hash
//! ```

use super::{Identity, Name};
use crate::mail::Address;
use crate::sys::Time;
use ring::hmac;

/// Days for which a confirmation is taken.
pub const DAYS: i64 = 3;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What is confirmed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To become a member.
    Subscribe,
    /// To be none any more.
    Unsubscribe,
}

impl Wish {
    fn letter(self) -> &'static str {
        match self {
            Wish::Subscribe => "s",
            Wish::Unsubscribe => "u",
        }
    }
}

/// Days since the epoch.
pub fn day(now: Time) -> i64 {
    now.seconds().div_euclid(86_400)
}

/// For who confirms a wish for this address.
pub fn confirm(key: &hmac::Key, list: &Name, wish: Wish, address: &Address, today: i64) -> String {
    let what = format!("{}-{today}", wish.letter());
    format!("{what}-{}", hash(key, &["confirm", list.as_str(), &what, &address.key()], 16))
}

/// What is confirmed by a token, and for which of these addresses. None: it is no such token, or for none of them, or too late.
pub fn confirmed<'a>(
    key: &hmac::Key,
    list: &Name,
    token: &str,
    mut addresses: impl Iterator<Item = &'a Address>,
    today: i64,
) -> Option<(Wish, &'a Address)> {
    let (letter, rest) = token.split_once('-')?;
    let wish = [Wish::Subscribe, Wish::Unsubscribe].into_iter().find(|wish| wish.letter() == letter)?;
    let told: i64 = rest.split_once('-')?.0.parse().ok()?;
    if !(0..=DAYS).contains(&today.checked_sub(told)?) {
        return None;
    }
    addresses.find(|address| confirm(key, list, wish, address, told) == token).map(|address| (wish, address))
}

/// For who decides on a post: the halves of its id.
pub fn moderate(key: &hmac::Key, list: &Name, id: (u64, u64)) -> String {
    let what = format!("{}.{}", number(id.0), number(id.1));
    format!("{what}-{}", hash(key, &["moderate", list.as_str(), &what], 12))
}

/// On which post a token decides.
pub fn moderated(key: &hmac::Key, list: &Name, token: &str) -> Option<(u64, u64)> {
    let (first, second) = token.split_once('-')?.0.split_once('.')?;
    let id = (number_of(first)?, number_of(second)?);
    (moderate(key, list, id) == token).then_some(id)
}

/// The sender of what goes to a member: what comes back tells whose copy it was (Variable Envelope Return Paths, D. J. Bernstein,
/// 1997).
pub fn verp(key: &hmac::Key, list: &Identity, member: &Address) -> Option<Address> {
    let sender = |word: String| list.other(&word).parse::<Address>().ok();
    let plain = member.to_ascii().and_then(|ascii| {
        let tag = hash(key, &["verp", list.name.as_str(), &member.key()], 10);
        sender(format!("bounces+{}={}+{tag}", ascii.local(), ascii.domain()))
    });
    plain.or_else(|| sender(format!("bounces+{}", long_tag(key, "verp", list, member))))
}

/// Whose copy came back to the sender with this mark.
pub fn returned<'a>(
    key: &hmac::Key,
    list: &Identity,
    mark: &str,
    mut members: impl Iterator<Item = &'a Address>,
) -> Option<&'a Address> {
    match mark.rsplit_once('+') {
        Some((who, tag)) => {
            let (local, domain) = who.rsplit_once('=')?;
            let own = format!("{local}@{domain}");
            members.find(|member| {
                member.key().eq_ignore_ascii_case(&own) && hash(key, &["verp", list.name.as_str(), &member.key()], 10) == tag
            })
        }
        None => members.find(|member| long_tag(key, "verp", list, member) == mark),
    }
}

/// The sender of a probe of a member.
pub fn probe(key: &hmac::Key, list: &Identity, member: &Address) -> Option<Address> {
    list.other(&format!("probe+{}", long_tag(key, "probe", list, member))).parse().ok()
}

/// Whose probe came back.
pub fn probed<'a>(
    key: &hmac::Key,
    list: &Identity,
    mark: &str,
    mut members: impl Iterator<Item = &'a Address>,
) -> Option<&'a Address> {
    members.find(|member| long_tag(key, "probe", list, member) == mark)
}

/// For who leaves by one click: it stands in mail that is read years later.
pub fn leave(key: &hmac::Key, list: &Name, member: &Address) -> String {
    format!("1-{}", hash(key, &["leave", list.as_str(), &member.key()], 26))
}

/// Is it that? How much of it is right takes no time to tell by: what is compared are hashes.
pub fn may_leave(key: &hmac::Key, list: &Name, member: &Address, token: &str) -> bool {
    let blind = |text: &str| hmac::sign(key, text.as_bytes());
    blind(&leave(key, list, member)).as_ref() == blind(token).as_ref()
}

fn long_tag(key: &hmac::Key, purpose: &str, list: &Identity, member: &Address) -> String {
    hash(key, &[purpose, list.name.as_str(), &member.key()], 16)
}

fn hash(key: &hmac::Key, parts: &[&str], letters: usize) -> String {
    let tag = hmac::sign(key, parts.join("\0").as_bytes());
    tag.as_ref().iter().take(letters).map(|byte| letter(*byte)).collect()
}

fn letter(byte: u8) -> char {
    ALPHABET.get(usize::from(byte & 31)).map_or('a', |byte| char::from(*byte))
}

fn number(mut value: u64) -> String {
    let mut digits = Vec::new();
    while value > 0 || digits.is_empty() {
        digits.push(letter(u8::try_from(value & 31).unwrap_or(0)));
        value >>= 5;
    }
    digits.into_iter().rev().collect()
}

fn number_of(text: &str) -> Option<u64> {
    let digit = |byte: u8| ALPHABET.iter().position(|known| *known == byte).and_then(|at| u64::try_from(at).ok());
    let add = |value: u64, byte: u8| Some(value.checked_mul(32)? | digit(byte)?);
    (!text.is_empty()).then(|| text.bytes().try_fold(0, add)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Domain;
    use proptest::prelude::*;

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, b"k")
    }

    fn list(name: &str) -> Identity {
        Identity { name: Name::parse(name).unwrap(), domain: Domain::parse("me.example").unwrap() }
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn a_confirmation_is_for_one_wish_of_one_address_and_list_in_time() {
        let (name, bob, eve) = (list("a").name, address("bob@x.test"), address("eve@x.test"));
        let token = confirm(&key(), &name, Wish::Subscribe, &bob, 100);
        let told = |token: &str, of: &[&Address], today| {
            confirmed(&key(), &name, token, of.iter().copied(), today).map(|(wish, address)| (wish, address.to_string()))
        };
        for (of, today, is_right) in [
            (vec![&bob], 100, true),
            (vec![&eve, &bob], 103, true),
            (vec![&bob], 104, false),
            (vec![&bob], 99, false),
            (vec![&eve], 100, false),
        ] {
            assert_eq!(told(&token, &of, today), is_right.then(|| (Wish::Subscribe, bob.to_string())), "{of:?} {today}");
        }
        let other_wish = token.replacen('s', "u", 1);
        let other_day = token.replacen("100", "101", 1);
        for forged in [&other_wish, &other_day, "", "s", "s-100", "s-100-", "s--x", "x-100-abc"] {
            assert_eq!(told(forged, &[&bob], 100), None, "{forged}");
        }
        assert_eq!(confirmed(&key(), &list("b").name, &token, [&bob].into_iter(), 100), None, "another list");
    }

    #[test]
    fn what_comes_back_tells_whose_it_was() {
        let (list, key) = (list("abcdefghijklmnopqrst"), key());
        let members: Vec<Address> = [
            "bob@x.test",
            "Bob+tag=1@X.test",
            "a@[192.0.2.1]",
            "\"a b\"@x.test",
            "j\u{f6}rg@x.test",
            "somebody.with-a-very-long-name@a-domain-that-is-long-too.example",
        ]
        .iter()
        .map(|text| address(text))
        .collect();
        for member in &members {
            let sender = verp(&key, &list, member).unwrap();
            let Some((_, crate::lists::Role::Bounces(mark))) = crate::lists::split(sender.local()) else { panic!("{sender}") };
            assert_eq!(returned(&key, &list, &mark, members.iter()), Some(member), "{sender}");
            assert_eq!(probed(&key, &list, &mark, members.iter()), None);
            let probe = probe(&key, &list, member).unwrap();
            let Some((_, crate::lists::Role::Probe(mark))) = crate::lists::split(probe.local()) else { panic!("{probe}") };
            assert_eq!(probed(&key, &list, &mark, members.iter()), Some(member), "{probe}");
        }
        let sender = verp(&key, &list, &members[0]).unwrap().to_string();
        assert!(sender.starts_with("abcdefghijklmnopqrst-bounces+bob=x.test+"), "{sender}");
        assert_eq!(returned(&key, &list, "bob=x.test+aaaaaaaaaa", members.iter()), None);
    }

    #[test]
    fn a_decision_is_on_one_post_of_one_list() {
        let (one, other) = (list("abcdefghijklmnopqrst"), list("b"));
        for id in [(u64::MAX, 0), (0, 7), (5, 1 << 24)] {
            let token = moderate(&key(), &one.name, id);
            assert_eq!(moderated(&key(), &one.name, &token), Some(id));
            assert_eq!(moderated(&key(), &other.name, &token), None);
            let address: Result<Address, _> = one.other(&format!("moderate+{token}")).parse();
            assert!(address.is_ok(), "{token}");
        }
    }

    #[test]
    fn leaving_is_for_one_address_of_one_list() {
        let (staff, bob) = (list("staff").name, address("Bob@x.test"));
        let token = leave(&key(), &staff, &bob);
        assert!(token.starts_with("1-") && token.len() == 28, "{token}");
        assert!(may_leave(&key(), &staff, &address("bob@X.test"), &token));
        let other_key = hmac::Key::new(hmac::HMAC_SHA256, b"l");
        for (key, name, member, token) in [
            (&key(), &list("b").name, &bob, token.as_str()),
            (&key(), &staff, &address("eve@x.test"), &token),
            (&other_key, &staff, &bob, &token),
            (&key(), &staff, &bob, &token[..27]),
            (&key(), &staff, &bob, &token.replacen('1', "2", 1)),
            (&key(), &staff, &bob, ""),
        ] {
            assert!(!may_leave(key, name, member, token), "{name} {member} {token}");
        }
    }

    proptest! {
        #[test]
        fn no_token_is_too_odd(token in "[su]?-?[0-9]{0,20}-?\\PC{0,12}[+.=]?\\PC{0,5}") {
            let (list, key, bob) = (list("a"), key(), address("bob@x.test"));
            prop_assert_eq!(confirmed(&key, &list.name, &token, [&bob].into_iter(), 100), None);
            prop_assert_eq!(moderated(&key, &list.name, &token), None);
            prop_assert_eq!(returned(&key, &list, &token, [&bob].into_iter()), None);
            prop_assert_eq!(probed(&key, &list, &token, [&bob].into_iter()), None);
        }

        #[test]
        fn numbers_come_back(value: u64) {
            prop_assert_eq!(number_of(&number(value)), Some(value));
        }
    }
}
