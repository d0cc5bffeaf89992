//! What a parameter of a `Content-*` field means: continuations and character sets (RFC 2231), encoded words where they
//! should not be, and eight-bit characters as they come.

use super::structure::Parameter;
use super::transfer::hex;
use super::words;
use std::borrow::Cow;

/// The decoded value of a parameter; none if it is not there.
pub fn value(parameters: &[Parameter], name: &str) -> Option<String> {
    // `name*0`, `name*1*` and so on: pieces in the order of their numbers. `name*` alone counts as the first.
    let mut pieces: Vec<(u32, bool, &[u8])> = Vec::new();
    let mut plain = None;
    for (own, value) in parameters {
        let Some((_, rest)) = own.split_at_checked(name.len()).filter(|(start, _)| start.eq_ignore_ascii_case(name.as_bytes()))
        else {
            continue;
        };
        let (number, is_extended) = match rest {
            [] => {
                plain = plain.or(Some(value));
                continue;
            }
            b"*" => (Some(0), true),
            [b'*', digits @ .., b'*'] => (number(digits), true),
            [b'*', digits @ ..] => (number(digits), false),
            _ => continue,
        };
        pieces.extend(number.map(|number| (number, is_extended, value.as_slice())));
    }
    pieces.sort_by_key(|(number, ..)| *number);
    if pieces.first().is_some_and(|(number, ..)| *number == 0) {
        return Some(joined(&pieces));
    }
    // RFC 2047 §5 forbids encoded words here; many write them.
    plain.map(|value| words::decode(value))
}

/// The parameters with continuations put together, as IMAP tells them (RFC 2231 §6), where the first piece begins: as
/// `name`, or as `name*` if one of the pieces is encoded; it is not decoded. Pieces that are incomplete stay as they are.
pub fn put_together(parameters: &[Parameter]) -> Cow<'_, [Parameter]> {
    if !parameters.iter().any(|(name, _)| piece(name).is_some()) {
        return Cow::Borrowed(parameters);
    }
    let mut told: Vec<Parameter> = Vec::with_capacity(parameters.len());
    for (index, own) in parameters.iter().enumerate() {
        let pieces = piece(&own.0).and_then(|(base, ..)| Some((base, pieces_of(base, parameters)?)));
        match pieces {
            Some((base, pieces)) => {
                let first = parameters.iter().position(|(name, _)| piece(name).is_some_and(|(other, ..)| is_same(other, base)));
                if first == Some(index) {
                    told.push(as_one(base, &pieces));
                }
            }
            None => told.push(own.clone()),
        }
    }
    Cow::Owned(told)
}

/// `name*7` or `name*7*`: name, number, and whether it is encoded.
fn piece(name: &[u8]) -> Option<(&[u8], u32, bool)> {
    let star = name.iter().position(|byte| *byte == b'*')?;
    let (base, section) = (name.get(..star)?, name.get(star + 1..)?);
    let (digits, is_extended) = section.strip_suffix(b"*").map_or((section, false), |digits| (digits, true));
    Some((base, number(digits)?, is_extended))
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// All pieces of that name in order, if each is there once.
fn pieces_of<'a>(base: &[u8], parameters: &'a [Parameter]) -> Option<Vec<(u32, bool, &'a [u8])>> {
    let own = parameters.iter().filter_map(|(name, value)| {
        let (_, number, is_extended) = piece(name).filter(|(other, ..)| is_same(other, base))?;
        Some((number, is_extended, value.as_slice()))
    });
    let mut pieces: Vec<_> = own.collect();
    pieces.sort_by_key(|(number, ..)| *number);
    let complete = pieces.iter().zip(0..).all(|((number, ..), place)| *number == place);
    complete.then_some(pieces)
}

fn as_one(base: &[u8], pieces: &[(u32, bool, &[u8])]) -> Parameter {
    if !pieces.iter().any(|(_, is_extended, _)| *is_extended) {
        return (base.to_vec(), pieces.iter().flat_map(|(.., value)| value.iter().copied()).collect());
    }
    let mut value = Vec::new();
    for (number, is_extended, text) in pieces {
        if *is_extended {
            value.extend_from_slice(text);
            continue;
        }
        if *number == 0 {
            value.extend_from_slice(b"''");
        }
        for &byte in *text {
            if byte.is_ascii_graphic() && !b"*'%()<>@,;:\\\"/[]?=".contains(&byte) {
                value.push(byte);
            } else {
                value.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
    }
    ([base, b"*"].concat(), value)
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Pieces from number 0 on up to a gap; the first names the character set: `charset'language'text`.
fn joined(pieces: &[(u32, bool, &[u8])]) -> String {
    let (mut charset, mut bytes) = (&b""[..], Vec::new());
    for (index, (number, is_extended, value)) in pieces.iter().enumerate() {
        if usize::try_from(*number) != Ok(index) {
            break;
        }
        let mut text = *value;
        if index == 0 && *is_extended {
            let mut fields = value.splitn(3, |byte| *byte == b'\'');
            if let (Some(name), Some(_), Some(rest)) = (fields.next(), fields.next(), fields.next()) {
                (charset, text) = (name, rest);
            }
        }
        if *is_extended { percent(text, &mut bytes) } else { bytes.extend_from_slice(text) }
    }
    words::from_charset(charset, &bytes)
}

fn percent(text: &[u8], bytes: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let code = match (byte, after) {
            (b'%', [high, low, ..]) => hex(*high, *low),
            _ => None,
        };
        if code.is_some() {
            rest = after.get(2..).unwrap_or_default();
        }
        bytes.push(code.unwrap_or(byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)], name: &str) -> Option<String> {
        let owned: Vec<Parameter> = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        value(&owned, name)
    }

    #[test]
    fn the_examples_of_rfc_2231_are_read_as_it_says() {
        assert_eq!(read(&[("URL*0", "ftp://"), ("url*1", "cs.utk.edu/")], "url").unwrap(), "ftp://cs.utk.edu/");
        assert_eq!(
            read(&[("title*", "us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A")], "title").unwrap(),
            "This is ***fun***"
        );
        assert_eq!(
            read(
                &[
                    ("title*0*", "us-ascii'en'This%20is%20even%20more%20"),
                    ("title*1*", "%2A%2A%2Afun%2A%2A%2A%20"),
                    ("title*2", "isn't it!")
                ],
                "title"
            )
            .unwrap(),
            "This is even more ***fun*** isn't it!"
        );
    }

    #[test]
    fn continuations_are_put_together_for_imap() {
        let told = |parameters: &[(&str, &str)]| {
            let owned: Vec<Parameter> = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let one = |(name, value): &Parameter| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            put_together(&owned).iter().map(one).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(&[("a", "1"), ("b*", "''2")]), "a=1 b*=''2");
        assert_eq!(told(&[("URL*0", "ftp://"), ("x", "y"), ("url*1", "cs.utk.edu/")]), "URL=ftp://cs.utk.edu/ x=y");
        assert_eq!(told(&[("n*1", "b"), ("n*0", "a"), ("m*0", "c")]), "n=ab m=c");
        assert_eq!(told(&[("n*0*", "utf-8'de'%C3"), ("n*1*", "%BC"), ("n*2", "a b%")]), "n*=utf-8'de'%C3%BCa%20b%25");
        assert_eq!(told(&[("n*0", "a b"), ("n*1*", "%20c")]), "n*=''a%20b%20c");
        for incomplete in [&[("n*0", "a"), ("n*2", "c")][..], &[("n*1", "b")], &[("n*0", "a"), ("n*0*", "b")]] {
            assert_eq!(told(incomplete).split(' ').count(), incomplete.len());
        }
    }

    #[test]
    fn what_else_is_found_is_read_too() {
        assert_eq!(read(&[("filename", "a"), ("filename*", "utf-8''%C3%BC.txt")], "filename").unwrap(), "ü.txt");
        assert_eq!(read(&[("name", "=?utf-8?q?=C3=BC?=.txt")], "name").unwrap(), "ü.txt");
        assert_eq!(read(&[("n*1", "b"), ("n*0", "a"), ("n*3", "d")], "n").unwrap(), "ab");
        assert_eq!(read(&[("n*", "iso-8859-1''%FC%zz%")], "n").unwrap(), "ü%zz%");
        assert_eq!(read(&[("n*1", "b")], "n"), None);
        assert_eq!(read(&[("n*99999999999", "b"), ("n*x", "c"), ("nn", "d")], "n"), None);
        assert_eq!(read(&[("n*", "no quotes")], "n").unwrap(), "no quotes");
    }
}
