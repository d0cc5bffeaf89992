//! Modified UTF-7, in which IMAP4rev1 writes mailbox names (RFC 3501 §5.1.3).
//!
//! Every name has exactly one such form. What is not in that form is refused, so that no two names on the wire mean one folder.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;

/// No padding, and no stray bits at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

/// This is not modified UTF-7.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct BadUtf7;

impl fmt::Display for BadUtf7 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("not modified UTF-7")
    }
}

impl std::error::Error for BadUtf7 {}

/// The text that these bytes stand for.
///
/// ```text
/// name    = *(direct / "&-" / "&" base64 "-")
/// direct  = %x20-25 / %x27-7E
/// base64  = UTF-16, high byte first, of what is not direct or "&"; no two of them side by side
/// ```
pub fn decode(bytes: &[u8]) -> Result<String, BadUtf7> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut shifted = false;
    while let Some((&first, after)) = rest.split_first() {
        if first != b'&' {
            if !is_printable(u32::from(first)) {
                return Err(BadUtf7);
            }
            text.push(char::from(first));
            (rest, shifted) = (after, false);
            continue;
        }
        let end = memchr::memchr(b'-', after).ok_or(BadUtf7)?;
        let (base64, after) = (after.get(..end).unwrap_or_default(), after.get(end + 1..).unwrap_or_default());
        if base64.is_empty() {
            text.push('&');
        } else if shifted {
            return Err(BadUtf7);
        } else {
            text.push_str(&wide(base64)?);
        }
        (rest, shifted) = (after, !base64.is_empty());
    }
    Ok(text)
}

/// The one form of a text.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_direct = is_printable(u32::from(first));
        let end = rest.find(|c: char| is_printable(u32::from(c)) != is_direct).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if is_direct {
            out.push_str(&run.replace('&', "&-"));
        } else {
            let bytes: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
            out.push('&');
            BASE64.encode_string(&bytes, &mut out);
            out.push('-');
        }
        rest = after;
    }
    out
}

/// What stands in base64: nothing that could stand there directly.
fn wide(base64: &[u8]) -> Result<String, BadUtf7> {
    let bytes = BASE64.decode(base64).map_err(|_| BadUtf7)?;
    let pairs = bytes.chunks_exact(2);
    let odd = pairs.remainder();
    let units = pairs.map(|pair| pair.iter().fold(0, |unit, byte| unit << 8 | u16::from(*byte)));
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| BadUtf7)?;
    let fine = odd.is_empty() && !text.chars().any(|c| is_printable(u32::from(c)));
    if fine { Ok(text) } else { Err(BadUtf7) }
}

fn is_printable(code: u32) -> bool {
    (0x20..0x7f).contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_the_rfc_and_others() {
        for (wire, text) in [
            ("", ""),
            ("INBOX", "INBOX"),
            ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("Tom &- Jerry", "Tom & Jerry"),
            ("&-&-", "&&"),
            ("&AOk-&-", "é&"),
            ("&2D3eAA-", "\u{1f600}"),
            ("&AAoADQ-", "\n\r"),
            ("a-b", "a-b"),
        ] {
            assert_eq!(decode(wire.as_bytes()).as_deref(), Ok(text), "{wire}");
            assert_eq!(encode(text), wire);
        }
    }

    #[test]
    fn any_other_form_is_refused() {
        for wire in [
            "&",
            "&AOk",
            "&Jjo!",
            "&U,BTFw-&ZeVnLIqe-",
            "&AGE-",
            "&AOkAYQ-",
            "&AC0-",
            "&A-",
            "&AO-",
            "&AOl-",
            "&AOk=-",
            "&AOk/-",
            "&2D0-",
            "&3gDYPQ-",
            "Entw\u{fc}rfe",
            "a\u{7f}",
            "a\tb",
            "a\0",
        ] {
            assert_eq!(decode(wire.as_bytes()), Err(BadUtf7), "{wire}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "\\PC*|[&a-]*|.*") {
            prop_assert_eq!(decode(encode(&text).as_bytes()), Ok(text));
        }

        #[test]
        fn what_is_understood_has_one_form(wire in "[ -~]*|(&[A-Za-z0-9+,]{0,8}-|[a&-])*") {
            if let Ok(text) = decode(wire.as_bytes()) {
                prop_assert_eq!(encode(&text), wire);
            }
        }
    }
}
