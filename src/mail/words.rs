//! Header values as text: encoded words (RFC 2047), and eight-bit characters as they come. In one pass, and never an
//! error: what is no encoded word stays as it is.

use base64::engine::Engine;
use base64::engine::general_purpose::STANDARD;
use charset::Charset;

/// Bytes of text in an encoded word, so that a line with a field's name has 76 characters at most (RFC 2047 §2).
const WORD: usize = 39;

/// Characters of a line that needs no folding, with the field's name (RFC 5322 §2.1.1).
const SHORT: usize = 900;

/// The text of an unstructured value. Line ends are taken out, encoded words decoded, blanks between two of them dropped
/// (RFC 2047 §6.2). Words of one character set are put together before they are decoded: many programs cut characters.
pub fn decode(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let mut pending = Pending::default();
    let mut rest = value;
    while !rest.is_empty() {
        let Some(at) = memchr::memmem::find(rest, b"=?") else { break };
        let (before, from) = rest.split_at(at);
        match word(from) {
            Some(word) => {
                let joins = pending.charset.is_some() && before.iter().all(|byte| byte.is_ascii_whitespace());
                if !joins {
                    pending.flush(&mut text);
                    plain(before, &mut text);
                }
                pending.add(&word, &mut text);
                rest = from.get(word.len..).unwrap_or_default();
            }
            None => {
                pending.flush(&mut text);
                let (no_word, after) = from.split_at(2);
                plain(before, &mut text);
                plain(no_word, &mut text);
                rest = after;
            }
        }
    }
    pending.flush(&mut text);
    plain(rest, &mut text);
    text
}

/// A display name as it is written into a header: as it stands if it can, quoted, or encoded (RFC 5322 §3.2.3, RFC 2047 §5).
pub fn phrase(name: &str) -> String {
    let name: String = name.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let name = name.trim();
    let is_word = |char: char| char.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(char);
    if name.chars().all(is_word) && !name.contains("=?") {
        return name.to_owned();
    }
    if name.is_ascii() {
        return format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    }
    encode(name)
}

/// Text as it can stand in a header: what is plain and short as it is, all else as encoded words (RFC 2047 §2), each on a line
/// of its own.
pub fn encode(text: &str) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !text.contains("=?") && text.len() <= SHORT {
        return text.to_owned();
    }
    let mut pieces = vec![String::new()];
    for char in text.chars() {
        match pieces.last_mut() {
            Some(last) if last.len() + char.len_utf8() <= WORD => last.push(char),
            _ => pieces.push(char.to_string()),
        }
    }
    let words: Vec<String> = pieces.iter().map(|piece| format!("=?utf-8?B?{}?=", STANDARD.encode(piece))).collect();
    words.join("\n ")
}

/// Text that is not encoded: UTF-8, and where it is not that, what it most often is then.
pub fn raw(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.push_str(&encoding_rs::WINDOWS_1252.decode_without_bom_handling(chunk.invalid()).0);
    }
    text
}

/// Bytes of a named character set. UTF-8 or Windows-1252 if the name is not known.
pub fn from_charset(label: &[u8], bytes: &[u8]) -> String {
    match Charset::for_label(label) {
        Some(charset) if !label.eq_ignore_ascii_case(b"us-ascii") => charset.decode_without_bom_handling(bytes).0.into_owned(),
        _ => raw(bytes),
    }
}

/// Are bytes of this character set that look like ASCII just that? (What nobody knows is based on ASCII.)
pub fn is_ascii_based(label: &[u8]) -> bool {
    // UTF-7 is no encoding there.
    let encoding = encoding_rs::Encoding::for_label(label);
    encoding.map_or_else(|| Charset::for_label(label).is_none(), |encoding| encoding.is_ascii_compatible())
}

fn plain(bytes: &[u8], text: &mut String) {
    if bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        let line: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
        text.push_str(&raw(&line));
    } else {
        text.push_str(&raw(bytes));
    }
}

/// Decoded bytes of words that follow each other.
#[derive(Default)]
struct Pending<'a> {
    charset: Option<&'a [u8]>,
    bytes: Vec<u8>,
}

impl<'a> Pending<'a> {
    fn add(&mut self, word: &Word<'a>, text: &mut String) {
        if !self.charset.is_some_and(|own| own.eq_ignore_ascii_case(word.charset)) {
            self.flush(text);
            self.charset = Some(word.charset);
        }
        self.bytes.extend_from_slice(&word.bytes);
    }

    fn flush(&mut self, text: &mut String) {
        if let Some(charset) = self.charset.take() {
            let decoded = from_charset(charset, &self.bytes);
            // Nobody gets line ends into a field by encoding them.
            text.extend(decoded.chars().map(|c| if c.is_control() { ' ' } else { c }));
            self.bytes.clear();
        }
    }
}

struct Word<'a> {
    charset: &'a [u8],
    bytes: Vec<u8>,
    /// Of the whole word as it was written.
    len: usize,
}

/// `"=?" charset ["*" language] "?" encoding "?" encoded-text "?="` at the start (RFC 2047 §2, RFC 2231 §5).
fn word(from: &[u8]) -> Option<Word<'_>> {
    // Longer than the 75 allowed, for those who write a whole subject as one word; bounded, so that the pass is linear.
    const NAME: usize = 64;
    let inner = from.get(2..)?;
    let name_end = inner.iter().take(NAME).position(|byte| *byte == b'?' || byte.is_ascii_whitespace())?;
    let charset = inner.get(..name_end).filter(|name| !name.is_empty())?;
    let [b'?', encoding, b'?', encoded @ ..] = inner.get(name_end..)? else { return None };
    let end = encoded.iter().position(|byte| matches!(byte, b'?'))?;
    let (encoded, after) = encoded.split_at(end);
    if !after.starts_with(b"?=") {
        return None;
    }
    let bytes = match encoding {
        b'Q' | b'q' => q(encoded),
        b'B' | b'b' => {
            let mut bytes = Vec::new();
            super::transfer::Base64::default().push(encoded, &mut bytes);
            bytes
        }
        _ => return None,
    };
    let charset = charset.split(|byte| *byte == b'*').next().unwrap_or(charset);
    Some(Word { charset, bytes, len: 2 + name_end + 3 + end + 2 })
}

fn q(encoded: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let value = match (byte, after) {
            (b'_', _) => b' ',
            (b'=', [high, low, after @ ..]) => match super::transfer::hex(*high, *low) {
                Some(value) => {
                    rest = after;
                    value
                }
                None => byte,
            },
            (b'\r' | b'\n', _) => continue,
            _ => byte,
        };
        bytes.push(value);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(value: &str) -> String {
        decode(value.as_bytes())
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["", "plain, with (all) \"signs\"", "=?utf-8?q?looks_like_one?=", "grün", &"äöü€ 𝄞 ".repeat(40)] {
            let encoded = encode(text);
            assert_eq!(decode(encoded.as_bytes()), text);
            assert!(encoded.is_ascii() && encoded.split('\n').all(|line| line.len() <= 66), "{encoded}");
        }
        assert_eq!(encode("plain"), "plain");
        assert!(encode(&"long ".repeat(400)).lines().all(|line| line.len() <= 66));
    }

    #[test]
    fn names_in_the_right_dress() {
        assert_eq!(phrase("Cron Daemon"), "Cron Daemon");
        assert_eq!(phrase("root (Cron)"), "\"root (Cron)\"");
        assert_eq!(phrase("a\"b\r\nBcc: x"), "\"a\\\"b  Bcc: x\"");
        assert_eq!(phrase("J\u{f6}rg"), "=?utf-8?B?SsO2cmc=?=");
    }

    #[test]
    fn the_examples_of_rfc_2047_are_read_as_it_says() {
        assert_eq!(decoded("=?ISO-8859-1?Q?a?="), "a");
        assert_eq!(decoded("=?ISO-8859-1?Q?a?= b"), "a b");
        assert_eq!(decoded("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?="), "ab");
        assert_eq!(decoded("=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?="), "ab");
        assert_eq!(decoded("=?ISO-8859-1?Q?a_b?="), "a b");
        assert_eq!(decoded("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?="), "a b");
        assert_eq!(decoded("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>"), "Keld Jørn Simonsen <keld@dkuug.dk>");
        assert_eq!(
            decoded(
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?="
            ),
            "If you can read this you understand the example."
        );
    }

    #[test]
    fn characters_cut_between_words_are_put_together() {
        assert_eq!(decoded("=?utf-8?Q?gr=C3?= =?UTF-8?Q?=BCn?="), "grün");
        assert_eq!(decoded("=?utf-8*en?B?w7w=?="), "ü");
    }

    #[test]
    fn what_is_no_word_stays() {
        for text in ["=?", "=?utf-8?Q?never ended", "=?utf-8?X?a?=", "a =? b ?= c", "=?=?=?=?", "=??Q?a?=", "100=?"] {
            assert_eq!(decoded(text), text);
        }
        assert_eq!(decode(b"gr\xfcn"), "grün");
        assert_eq!(decode(b"gr\xfcn \xc3\xbc \xc3"), "grün ü Ã");
        assert_eq!(decode("grün".as_bytes()), "grün");
        assert_eq!(decoded("=?nonsense?Q?gr=FCn?="), "grün");
        assert_eq!(decoded("=?utf-8?Q?a=0D=0ABcc:_x?="), "a  Bcc: x");
    }
}
