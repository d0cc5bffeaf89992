//! What a message is made of: its words, decoded and without the tags of HTML, the hosts that it links to, its subject, whom it says
//! it is from, its list, and what this host found of that when it came. Pure, and bounded whatever the message is.
//!
//! A token is a kind, a colon, and a text.

use crate::mail::mailboxes::{self, Entry};
use crate::mail::structure::{Kind, Structure};
use crate::mail::transfer::Decoder;
use crate::mail::{header, html, words};
use crate::trust::results;
use std::collections::HashSet;

/// Bytes of decoded text that are looked at, of all parts together.
const MOST_TEXT: usize = 64 << 10;
/// Tokens of a message.
const MOST_TOKENS: usize = 3_000;
/// Characters of a word. What is longer is no word.
const WORD: std::ops::RangeInclusive<usize> = 3..=20;
/// Bytes of an address, a host, a list.
const LONGEST_NAME: usize = 80;

/// The tokens of a message, each once.
#[derive(Debug, Default)]
pub struct Tokens {
    texts: Vec<String>,
    known: HashSet<String>,
    identity: String,
}

impl Tokens {
    /// Of a message in wire form, or its first [`MOST_READ`](super::MOST_READ) bytes; `host` is our name in Authentication-Results.
    pub fn of(message: &[u8], host: &str) -> Tokens {
        let mut tokens = Tokens::default();
        let head = message.get(..header::end(message)).unwrap_or_default();
        tokens.take_head(head, host);
        tokens.take_text(message);
        let value = |name| words::raw(&header::unfold(value(head, name)));
        tokens.identity = format!("{}\n{}\n{}", value("Message-ID"), value("Date"), tokens.texts.join("\n"));
        tokens
    }

    /// In the order in which they stand in the message.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(String::as_str)
    }

    /// The same for the same message, wherever it lies.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    fn add(&mut self, kind: &str, text: &str) {
        if self.texts.len() < MOST_TOKENS && text.len() <= LONGEST_NAME {
            let token = format!("{kind}:{text}");
            if self.known.insert(token.clone()) {
                self.texts.push(token);
            }
        }
    }

    fn take_head(&mut self, head: &[u8], host: &str) {
        let decoded = |name| words::decode(value(head, name)).to_lowercase();
        each_word(&decoded("Subject"), |word| self.add("subject", word));
        if let Some(Entry::Mailbox(from)) = mailboxes::first(value(head, "From")) {
            let domain = words::raw(&from.domain).to_lowercase();
            if !domain.is_empty() {
                self.add("from", &format!("{}@{domain}", words::raw(&from.local).to_lowercase()));
                self.add("domain", &domain);
            }
            let name = words::decode(&from.name.unwrap_or_default()).to_lowercase();
            each_word(&name, |word| self.add("name", word));
        }
        let list = decoded("List-Id");
        let id = list.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(list.trim(), |(id, _)| id);
        if !id.is_empty() {
            self.add("list", id);
        }
        if let Some(found) = results::read(head, host) {
            self.add("dmarc", &found.dmarc);
            self.add("host", if found.host_of.is_some() { "pass" } else { "none" });
            let author = found.author.unwrap_or_default();
            let is_above = |signer: &&String| author == **signer || author.ends_with(&format!(".{signer}"));
            match found.signers.iter().find(is_above) {
                Some(signer) => self.add("signed", signer),
                None => self.add("signed", ""),
            }
        }
    }

    fn take_text(&mut self, message: &[u8]) {
        let structure = Structure::of(message);
        let mut left = MOST_TEXT;
        for part in structure.parts.iter().filter(|part| part.kind == Kind::Leaf && part.is_type("text")) {
            let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(message.len());
            let body = message.get(at(part.body.start)..at(part.body.end)).unwrap_or_default();
            let (mut decoder, mut bytes) = (Decoder::new(part.transfer_encoding()), Vec::new());
            // No encoding makes more bytes of fewer but for a bit at the end; quoted-printable makes one of three.
            decoder.push(body.get(..3 * left).unwrap_or(body), &mut bytes);
            decoder.finish(&mut bytes);
            bytes.truncate(left);
            left -= bytes.len();
            let text = words::from_charset(&part.charset(), &bytes);
            self.take_hosts(&text);
            let mut plain = String::with_capacity(text.len());
            if part.is("text", "html") {
                let mut html = html::Text::default();
                html.push(&text, &mut |char| plain.push(char));
                html.finish(&mut |char| plain.push(char));
            } else {
                plain = text;
            }
            each_word(&plain.to_lowercase(), |word| self.add("word", word));
            if left == 0 {
                break;
            }
        }
    }

    /// The hosts of links, in HTML and elsewhere.
    fn take_hosts(&mut self, text: &str) {
        for (at, _) in text.match_indices("://") {
            let (before, rest) = (text.get(..at).unwrap_or_default(), text.get(at + 3..).unwrap_or_default());
            let is_web = ["http", "https"].iter().any(|scheme| {
                let start = before.len().checked_sub(scheme.len());
                start.and_then(|start| before.get(start..)).is_some_and(|own| own.eq_ignore_ascii_case(scheme))
            });
            let end = rest.find(|char: char| char.is_whitespace() || "/?#\"'<>)\\".contains(char)).unwrap_or(rest.len());
            let authority = rest.get(..end.min(4 * LONGEST_NAME)).unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
            if is_web && !host.is_empty() {
                self.add("link", &host.to_lowercase());
            }
        }
    }
}

/// The value of the first field of that name; empty: there is none.
fn value<'a>(head: &'a [u8], name: &str) -> &'a [u8] {
    let field = header::fields(head).find(|field| field.is(head, name));
    field.and_then(|field| head.get(field.value)).unwrap_or_default()
}

/// Tells the words of a text in lower case. Where words are not written apart, each two characters are one.
fn each_word(text: &str, mut tell: impl FnMut(&str)) {
    let (mut word, mut length) = (String::new(), 0);
    for char in text.chars().chain([' ']) {
        match char {
            // Not seen: they are put into words so that they are not found.
            '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {}
            _ if char.is_alphanumeric() || "$€£¥%'-".contains(char) => {
                word.push(char);
                length += 1;
            }
            _ if length > 0 => {
                end_word(word.trim_matches(['\'', '-']), &mut tell);
                (length, word) = (0, String::new());
            }
            _ => {}
        }
    }
}

fn end_word(word: &str, tell: &mut impl FnMut(&str)) {
    let is_unspaced = |char: char| matches!(char, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}');
    if word.chars().any(is_unspaced) {
        let chars: Vec<char> = word.chars().collect();
        return chars.windows(2).for_each(|pair| tell(&pair.iter().collect::<String>()));
    }
    if WORD.contains(&word.chars().count()) {
        tell(word);
    }
}

/// A token in plain words. None: it can't be written into a field as it is.
pub(super) fn explain(token: &str) -> Option<String> {
    let (kind, text) = token.split_once(':')?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"$%'-._@+".contains(&byte));
    if !is_plain {
        return None;
    }
    Some(match (kind, text) {
        ("word", _) => format!("\"{text}\""),
        ("subject", _) => format!("\"{text}\" in the subject"),
        ("from", _) => format!("written by {text}"),
        ("domain", _) => format!("written at {text}"),
        ("name", _) => format!("\"{text}\" in the sender's name"),
        ("list", _) => format!("of the list {text}"),
        ("link", _) => format!("links to {text}"),
        ("dmarc", "pass") => "its domain stands behind it".to_owned(),
        ("dmarc", _) => "nothing shows that its domain stands behind it".to_owned(),
        ("host", "pass") => "its host may send for its sender".to_owned(),
        ("host", _) => "nobody says that its host may send for its sender".to_owned(),
        ("signed", "") => "not signed by its domain".to_owned(),
        ("signed", _) => format!("signed by {text}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> Vec<String> {
        Tokens::of(message.replace('\n', "\r\n").as_bytes(), "here.test").texts
    }

    #[test]
    fn what_a_message_is_made_of() {
        let message = "X-Spam-Status: No, by=here.test\n\
                       Authentication-Results: here.test;\n\tspf=none;\n\tdkim=pass\n\t header.d=a.test;\n\tdmarc=pass\n\t header.from=mx.a.test\n\
                       Received: x\nFrom: =?utf-8?q?J=C3=B6rg?= Maier <Joerg@MX.a.test>\nSubject: Buy =?utf-8?b?R1LDnE4=?= now\n\
                       List-Id: Some people <some.a.test>\nContent-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n\
                       <p>Gr=FCn is <b>che</b>ap, don't you <!-- x --> think? <a href=3D\"https://u@Shop.test:80/x\">it's</a> 100% a 1 \
                       averyveryveryverylongword che&shy;ap</p>\n";
        let tokens = of(message);
        for token in [
            "subject:buy",
            "subject:grün",
            "subject:now",
            "from:joerg@mx.a.test",
            "domain:mx.a.test",
            "name:jörg",
            "name:maier",
            "list:some.a.test",
            "dmarc:pass",
            "host:none",
            "signed:a.test",
            "link:shop.test",
            "word:grün",
            "word:cheap",
            "word:don't",
            "word:you",
            "word:think",
            "word:it's",
            "word:100%",
        ] {
            assert!(tokens.iter().any(|own| own == token), "{token}: {tokens:?}");
        }
        assert_eq!(tokens.len(), 19, "{tokens:?}");
    }

    #[test]
    fn text_is_found_in_whatever_it_is_wrapped() {
        let parts = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n\
                     Z3LDvG4=\n--b\nContent-Type: application/pdf\n\nsecret\n--b\nContent-Type: text/plain\n\nsecond HTTP://b.test\n--b--\n";
        assert_eq!(of(parts), ["word:grün", "link:b.test", "word:second", "word:http", "word:test"]);
        assert_eq!(of("Content-Type: text/plain; charset=utf-8\n\n安い時計\n"), ["word:安い", "word:い時", "word:時計"]);
        // Without a check there is nothing to be said of it, and others' words do not count.
        assert_eq!(of("Authentication-Results: evil.test; dmarc=pass\n\nword\n"), ["word:word"]);
        assert_eq!(of(""), [""; 0]);
    }

    #[test]
    fn it_is_bounded() {
        let many: String = (0..100_000).map(|n| format!("w{n} ")).collect();
        assert_eq!(of(&format!("\n{many}")).len(), MOST_TOKENS);
        let long = of(&format!("\n{}needle", "same ".repeat(20_000)));
        assert_eq!(long, ["word:same"]);
        for broken in ["\n://", "\nhttp://", "\nhttp://@:/", "From: <\n\nx", "Subject: =?utf-8?q?", "List-Id: <"] {
            of(broken);
        }
    }

    #[test]
    fn reasons_stay_in_their_comment() {
        assert_eq!(explain("word:cheap").as_deref(), Some("\"cheap\""));
        assert_eq!(explain("signed:").as_deref(), Some("not signed by its domain"));
        for odd in ["word:grün", "from:a)b@c", "link:a\nb", "from:\"x y\"@z", "list:(x", "odd:x"] {
            assert_eq!(explain(odd), None, "{odd}");
        }
    }
}
