//! The Sender Rewriting Scheme (M. Wong, "SRS", 2004): mail that is sent on gets a sender of the host that sends it on, so that SPF
//! (RFC 7208) finds no fault with it. What comes back to that sender finds its way to the one before. Functions on text.
//!
//! ```abnf
//! srs0   = "SRS0" sep hash "=" day "=" domain "=" local   ; of a sender of that domain
//! srs1   = "SRS1" sep hash "=" domain "=" rest            ; of a sender "SRS0" rest, or one that was such, of that domain
//! sep    = "=" / "-" / "+"
//! hash   = 6base32    ; keyed, over what follows: nobody else can make such an address, and have mail sent on from here by it
//! day    = 2base32    ; of 1,024; after three weeks nothing comes back any more
//! rest   = sep *CHAR
//! ```
//!
//! The second form keeps addresses short: a bounce leaves out all hosts between the last and the first one. The first one looks
//! whether it is too late. Letters may have changed their case on the way.

use super::{Address, Domain};
use crate::sys::Time;
use ring::hmac;

/// Days for which what comes back is taken.
const DAYS: u16 = 21;
/// The days are numbered up to here.
const MOST_DAYS: u16 = 1 << 10;
const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const HASH: usize = 6;

/// The sender under which mail of `sender` is sent on by a host that gets the mail for `own`. None: there is no such address,
/// since it would be too long, or since SPF has nothing to say of this one.
pub fn forward(key: &hmac::Key, sender: &Address, own: &Domain, now: Time) -> Option<Address> {
    let Domain::Name(domain) = sender.domain().to_ascii() else { return None };
    let local = sender.local();
    let (tag, signed) = match tagged(local) {
        Some(("SRS0", rest)) => ("SRS1", format!("{domain}={rest}")),
        Some((_, rest)) => ("SRS1", rest.get(1..)?.split_once('=')?.1.to_owned()),
        None => ("SRS0", format!("{}={domain}={local}", number(day(now)))),
    };
    Address::new(&format!("{tag}={}={signed}", hash(key, &signed)), own.clone()).ok()
}

/// Does it look like one of these? (Then it is worth the key.)
pub fn is_rewritten(address: &Address) -> bool {
    tagged(address.local()).is_some()
}

/// The sender for whom an address of this host stands. None: it is none of ours, or it is too late.
pub fn reverse(key: &hmac::Key, address: &Address, now: Time) -> Option<Address> {
    let (tag, rest) = tagged(address.local())?;
    let (told, signed) = rest.get(1..)?.split_once('=')?;
    if !hash(key, signed).eq_ignore_ascii_case(told) {
        return None;
    }
    let (local, domain) = if tag == "SRS1" {
        let (domain, rest) = signed.split_once('=')?;
        (format!("SRS0{rest}"), domain)
    } else {
        let mut fields = signed.splitn(3, '=');
        let (told, domain, local) = (fields.next()?, fields.next()?, fields.next()?);
        let age = (day(now) + MOST_DAYS).checked_sub(day_of(told)?)? % MOST_DAYS;
        if age > DAYS {
            return None;
        }
        (local.to_owned(), domain)
    };
    Address::new(&local, Domain::parse(domain).ok()?).ok()
}

/// Which form it has, and what follows, its separator first.
fn tagged(local: &str) -> Option<(&'static str, &str)> {
    let (tag, rest) = local.split_at_checked(4)?;
    let tag = ["SRS0", "SRS1"].into_iter().find(|known| known.eq_ignore_ascii_case(tag))?;
    rest.starts_with(['=', '-', '+']).then_some((tag, rest))
}

fn day(now: Time) -> u16 {
    u16::try_from(now.0.div_euclid(MICROSECONDS_A_DAY).rem_euclid(MOST_DAYS.into())).unwrap_or(0)
}

fn number(day: u16) -> String {
    [letter(day >> 5), letter(day)].iter().collect()
}

fn day_of(text: &str) -> Option<u16> {
    let digit =
        |byte: &u8| ALPHABET.iter().position(|known| known.eq_ignore_ascii_case(byte)).and_then(|at| u16::try_from(at).ok());
    match text.as_bytes() {
        [high, low] => Some(digit(high)? << 5 | digit(low)?),
        _ => None,
    }
}

/// Of the lowest five bits.
fn letter(bits: u16) -> char {
    ALPHABET.get(usize::from(bits & 31)).map_or('A', |byte| char::from(*byte))
}

fn hash(key: &hmac::Key, text: &str) -> String {
    let tag = hmac::sign(key, text.to_lowercase().as_bytes());
    tag.as_ref().iter().take(HASH).map(|byte| letter((*byte).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const NOW: Time = Time(1_790_000_000_000_000);

    fn key(text: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn days(count: u32) -> Time {
        NOW + Duration::from_secs(86_400) * count
    }

    fn on(sender: &str, own: &str) -> Option<Address> {
        forward(&key(own), &address(sender), &Domain::parse(own).unwrap(), NOW)
    }

    #[test]
    fn what_comes_back_finds_its_way_for_three_weeks() {
        let first = on("alice@origin.test", "first.test").unwrap();
        assert!(
            first.to_string().starts_with("SRS0=") && first.to_string().ends_with("=origin.test=alice@first.test"),
            "{first}"
        );
        let back = |address: &Address, now| reverse(&key("first.test"), address, now);
        assert_eq!(back(&first, NOW), Some(address("alice@origin.test")));
        assert_eq!(back(&first, days(21)), Some(address("alice@origin.test")));
        assert_eq!(back(&first, days(22)), None);
        assert_eq!(back(&first, NOW - Duration::from_secs(86_400)), None, "of a day that has not come");
        let other_case = address(&first.to_string().to_lowercase());
        assert_eq!(back(&other_case, NOW), Some(address("alice@origin.test")));
        assert_eq!(reverse(&key("another"), &first, NOW), None);
    }

    #[test]
    fn one_that_is_rewritten_already_goes_back_by_its_first_host() {
        let first = on("alice@origin.test", "first.test").unwrap();
        let second = on(&first.to_string(), "second.test").unwrap();
        let third = on(&second.to_string(), "third.test").unwrap();
        assert!(second.local().starts_with("SRS1=") && third.local().starts_with("SRS1="), "{second} {third}");
        assert_eq!(third.local().len(), second.local().len());
        for (own, address) in [("second.test", &second), ("third.test", &third)] {
            assert_eq!(reverse(&key(own), address, NOW).as_ref(), Some(&first));
        }
        let other_mark = address("SRS0+abcd=AA=origin.test=alice@first.test");
        let sent_on = on(&other_mark.to_string(), "second.test").unwrap();
        assert_eq!(reverse(&key("second.test"), &sent_on, NOW), Some(other_mark));
    }

    #[test]
    fn what_is_no_such_address_stays_what_it_is() {
        for other in ["srs0@first.test", "srs0000@first.test", "SRS0=@first.test", "SRS1==@first.test", "alice@first.test"] {
            assert_eq!(reverse(&key("first.test"), &address(other), NOW), None, "{other}");
        }
        assert_eq!(on("alice@[192.0.2.1]", "first.test"), None);
        assert_eq!(on(&format!("{}@origin.test", "a".repeat(40)), "first.test"), None, "too long");
        assert_eq!(on("SRS1=x@origin.test", "first.test"), None);
    }

    #[test]
    fn no_letter_of_it_can_be_changed() {
        let right = on("alice@origin.test", "first.test").unwrap();
        for at in 5..right.local().len() {
            let mut local = right.local().as_bytes().to_vec();
            local[at] = if local[at] == b'8' { b'9' } else { b'8' };
            let changed = Address::new(std::str::from_utf8(&local).unwrap(), right.domain().clone()).unwrap();
            assert_eq!(reverse(&key("first.test"), &changed, NOW), None, "{changed}");
        }
    }

    proptest! {
        #[test]
        fn all_senders_come_back(local in "[ -~é]{1,30}", domain in "[a-z]{1,5}(\\.[a-z]{1,5}){1,2}", day in 0u32..5000) {
            let now = days(day);
            let sender = Address::new(&local, Domain::parse(&domain).unwrap()).unwrap();
            if let Some(sent_on) = forward(&key("k"), &sender, &Domain::parse("own.test").unwrap(), now) {
                // As it is written on the way.
                let sent_on: Address = sent_on.to_string().parse().unwrap();
                prop_assert_eq!(reverse(&key("k"), &sent_on, now + Duration::from_secs(20 * 86_400)), Some(sender));
            }
        }

        #[test]
        fn no_input_is_too_odd(local in "(SRS[01]|srs0)?[-+=]?\\PC{0,12}=?(A[A-Z2-7])?=\\PC{0,8}=?\\PC{0,9}") {
            if let Ok(address) = Address::new(&local, Domain::parse("own.test").unwrap()) {
                reverse(&key("k"), &address, NOW);
                forward(&key("k"), &address, address.domain(), NOW);
            }
        }
    }
}
