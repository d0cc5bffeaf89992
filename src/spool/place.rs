//! Places in mailboxes, and lines of alias files, as records name them. Functions on text.
//!
//! ```abnf
//! place = user SP folder SP ( "deliver" / file / remove )     ; blanks in names are %20
//! file  = "file" SP flags SP date SP ( zone / "-" ) SP saved *( SP keyword )  ; flags are bits, times microseconds, the zone minutes
//! remove = "remove" SP uid SP key SP ( id SP recipient / "-" )  ; key: 32 hex digits; which copy it is
//! line  = ( "alias" / "forward" SP user ) SP number SP text
//! ```

use super::SpoolId;
use super::text::{escape, unescape};
use crate::mail::{Act, Filing, Line, Place};
use crate::sys::Time;
use std::fmt::Write;

pub(super) fn put(place: &Place, out: &mut String) {
    put_word(&place.user, out);
    out.push(' ');
    put_word(&place.folder, out);
    match &place.act {
        Act::Deliver => out.push_str(" deliver"),
        Act::File(Filing { flags, keywords, date, zone, saved }) => {
            let zone = zone.map_or_else(|| "-".to_owned(), |zone| zone.to_string());
            let _ = write!(out, " file {flags} {} {zone} {}", date.0, saved.0);
            for keyword in keywords {
                out.push(' ');
                put_word(keyword, out);
            }
        }
        Act::Remove { uid, key, copy } => {
            let _ = write!(out, " remove {uid} {:032x} ", u128::from_be_bytes(*key));
            let _ = match copy {
                Some((generation, counter, recipient)) => {
                    write!(out, "{} {recipient}", SpoolId { generation: *generation, counter: *counter })
                }
                None => write!(out, "-"),
            };
        }
    }
}

/// What [`put`] wrote.
pub(super) fn parse(text: &str) -> Option<Place> {
    let mut words = text.split(' ');
    let (user, folder) = (word(words.next()?)?, word(words.next()?)?);
    let act = match words.next()? {
        "deliver" => Act::Deliver,
        "file" => Act::File(Filing {
            flags: words.next()?.parse().ok()?,
            date: Time(words.next()?.parse().ok()?),
            zone: match words.next()? {
                "-" => None,
                zone => Some(zone.parse().ok()?),
            },
            saved: Time(words.next()?.parse().ok()?),
            keywords: words.by_ref().map(word).collect::<Option<_>>()?,
        }),
        "remove" => {
            let (uid, key) = (words.next()?.parse().ok()?, words.next().filter(|key| key.len() == 32)?);
            let copy = match words.next()? {
                "-" => None,
                id => {
                    let SpoolId { generation, counter } = id.parse().ok()?;
                    Some((generation, counter, words.next()?.parse().ok()?))
                }
            };
            Act::Remove { uid, key: u128::from_str_radix(key, 16).ok()?.to_be_bytes(), copy }
        }
        _ => return None,
    };
    words.next().is_none().then_some(Place { user, folder, act })
}

/// Does it come back as it is?
pub(super) fn can_hold(place: &Place) -> bool {
    let mut text = String::new();
    put(place, &mut text);
    parse(&text).as_ref() == Some(place)
}

pub(super) fn put_line(line: &Line, out: &mut String) {
    match &line.user {
        None => out.push_str("alias"),
        Some(user) => {
            out.push_str("forward ");
            put_word(user, out);
        }
    }
    let _ = write!(out, " {} ", line.number);
    escape(&line.text, usize::MAX >> 1, out);
}

/// What [`put_line`] wrote.
pub(super) fn parse_line(text: &str) -> Option<Line> {
    let (kind, rest) = text.split_once(' ')?;
    let (user, rest) = match kind {
        "alias" => (None, rest),
        "forward" => rest.split_once(' ').and_then(|(user, rest)| Some((Some(word(user)?), rest)))?,
        _ => return None,
    };
    let (number, text) = rest.split_once(' ')?;
    let text = unescape(text).filter(|text| text.starts_with(['/', '|']))?;
    Some(Line { user, number: number.parse().ok()?, text })
}

/// Does it come back as it is?
pub(super) fn can_hold_line(line: &Line) -> bool {
    let mut text = String::new();
    put_line(line, &mut text);
    parse_line(&text).as_ref() == Some(line)
}

fn put_word(text: &str, out: &mut String) {
    let mut escaped = String::new();
    escape(text, usize::MAX >> 1, &mut escaped);
    out.push_str(&escaped.replace(' ', "%20"));
}

fn word(text: &str) -> Option<String> {
    unescape(text).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_come_back(user in "\\PC{1,12}[ %\n]{0,2}", folder in "[A-Za-z0-9]{1,9}", keywords in proptest::collection::vec("[!-~]{1,9}", 0..4),
            flags: u8, date in any::<i64>(), zone in any::<Option<i16>>(), saved in any::<i64>(), key: [u8; 16], uid: u32, copy in any::<Option<(u64, u64, u32)>>(), remove: bool) {
            let filing = Filing { flags, keywords, date: Time(date), zone, saved: Time(saved) };
            let act = if remove { Act::Remove { uid, key, copy } } else { Act::File(filing) };
            let place = Place { user, folder, act };
            prop_assert!(can_hold(&place));
        }

        #[test]
        fn lines_come_back(user in proptest::option::of("\\PC{1,12}[ %\n]{0,2}"), number: u32, text in "[|/][\\PC \n%]{0,40}") {
            let line = Line { user, number, text };
            prop_assert!(can_hold_line(&line));
        }

        #[test]
        fn no_input_is_too_odd(text in "(a|%|INBOX|file|remove|deliver|alias|forward|-|[0-9]{1,40})( [-+a-z0-9%]{0,33}){0,9}") {
            parse(&text);
            parse_line(&text);
        }
    }

    #[test]
    fn only_whole_places_are_taken() {
        for text in [
            "a b file 1 2 - 3",
            "a b remove 7 000102030405060708090a0b0c0d0e0f -",
            "a%20c b file 0 -1 -90 3 k l",
            "a INBOX deliver",
        ] {
            assert!(parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            " b file 1 2 - 3",
            "a b",
            "a b file 1 2 - 3 ",
            "a b file 1 2 3",
            "a b remove 7 00",
            "a b burn 7",
            "a b deliver x",
            "a b remove 7 000102030405060708090a0b0c0d0e0f x",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
