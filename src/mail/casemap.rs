//! Comparing text as i;unicode-casemap does (RFC 5051): every character in its upper case and taken apart, then byte by byte.
//! Character by character, so that text can come in pieces.

use std::sync::LazyLock;
use unicode_normalization::char::decompose_compatible;

/// Characters whose keys are made once: those of two bytes, which most text is made of that is not ASCII.
const TABLE: std::ops::Range<u32> = 0x80..0x800;

/// How long a key is, and its bytes; no length: it has no room here.
static KEYS: LazyLock<Vec<(u8, [u8; ROOM])>> = LazyLock::new(|| TABLE.map(entry).collect());
const ROOM: usize = 7;

fn entry(code: u32) -> (u8, [u8; ROOM]) {
    let key = char::from_u32(code).map_or_else(String::new, made);
    let mut bytes = [0; ROOM];
    match bytes.get_mut(..key.len()) {
        Some(place) => {
            place.copy_from_slice(key.as_bytes());
            (key.len() as u8, bytes)
        }
        None => (0, bytes),
    }
}

/// The key of a text.
pub fn key(text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len());
    push(text, &mut key);
    key
}

/// Appends the key of a text.
pub fn push(text: &str, key: &mut Vec<u8>) {
    let keys = KEYS.as_slice();
    let mut rest = text;
    while !rest.is_empty() {
        let ascii =
            if rest.is_ascii() { rest.len() } else { rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len()) };
        let (run, after) = rest.split_at(ascii);
        let start = key.len();
        key.extend_from_slice(run.as_bytes());
        key.get_mut(start..).unwrap_or_default().make_ascii_uppercase();
        let mut chars = after.chars();
        rest = chars.as_str();
        while let Some(c) = chars.next().filter(|c| !c.is_ascii()) {
            match (c as u32).checked_sub(TABLE.start).and_then(|at| keys.get(at as usize)) {
                Some((len, bytes)) if *len > 0 => {
                    // To copy all of them and drop some is faster than to copy as many as there are.
                    let end = key.len() + usize::from(*len);
                    key.extend_from_slice(bytes);
                    key.truncate(end);
                }
                _ => key.extend_from_slice(made(c).as_bytes()),
            }
            rest = chars.as_str();
        }
    }
}

/// What a character is compared by. The title case is the upper case, but where several letters are one character: those are
/// taken apart first, and so as equal as when they are written one by one.
fn made(c: char) -> String {
    let mut key = String::new();
    decompose_compatible(upper(c), |part| key.push(upper(part)));
    key
}

/// The upper case, if that is one character.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_makes_no_difference_in_any_script() {
        for (one, other) in [
            ("straSSe", "STRASSE"),
            ("Grün", "GRÜN"),
            ("отпуск", "ОТПУСК"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("ﬁn", "FIN"),
            ("ǆ", "Ǆ"),
            ("Ⓐ", "a"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        assert_eq!(key("é"), "E\u{301}".as_bytes());
        assert_eq!(key("e\u{301}"), key("É"));
        assert_ne!(key("a"), key("b"));
    }

    proptest! {
        #[test]
        fn keys_of_pieces_are_pieces_of_keys(one in ".{0,20}", other in ".{0,20}") {
            prop_assert_eq!(key(&format!("{one}{other}")), [key(&one), key(&other)].concat());
            let again = key(&String::from_utf8(key(&one)).unwrap());
            prop_assert_eq!(again, key(&one));
        }
    }
}
