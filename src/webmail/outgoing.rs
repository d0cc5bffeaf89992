//! A message as it is written: a header, a text, and files, in wire form. Pure, but for where it goes.

use super::choice::shortened;
use super::reference::escaped;
use crate::mail::encode::{Base64, QuotedPrintable};
use crate::mail::mailboxes::{self, Entry};
use crate::mail::{Address, Domain, words};
use std::io::{self, Write};

/// A line that needs no encoding (RFC 5322 §2.1.1).
const LONGEST_LINE: usize = 998;

/// What stands in the header.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub from: String,
    /// As they were typed.
    pub to: String,
    pub cc: String,
    pub bcc: String,
    pub subject: String,
    pub date: String,
    pub message_id: String,
    /// How it is to be sent.
    pub manner: Vec<(&'static str, String)>,
    /// In-Reply-To and References, values as they stand in a header.
    pub answers: Vec<(&'static str, String)>,
}

/// Who is written to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Name and address.
    pub good: Vec<(String, Address)>,
    /// What is no address.
    pub wrong: Vec<String>,
}

/// Reads what was typed, or what stands in a header. A name alone is somebody of this domain.
pub(super) fn addresses(typed: &[u8], domain: &str) -> Addresses {
    let (mut addresses, text) = (Addresses::default(), words::raw(typed));
    for entry in mailboxes::parse(typed) {
        let Entry::Mailbox(mailbox) = entry else { continue };
        let (local, own) = (words::raw(&mailbox.local), words::raw(&mailbox.domain));
        let own = if own.is_empty() { domain } else { own.as_str() };
        // The reader forgives blanks in an address, for who shows mail; who sends it asks what was meant.
        let written = if mailbox.domain.is_empty() { local.clone() } else { format!("{local}@{own}") };
        let is_whole = text.contains(&written) || text.contains(&format!("\"{local}\"@{own}"));
        let name = words::decode(&mailbox.name.unwrap_or_default()).trim().to_owned();
        match Domain::parse(own).and_then(|domain| Address::new(&local, domain)) {
            Ok(address) if is_whole => addresses.good.push((name, address)),
            _ if local.is_empty() => addresses.wrong.push(if name.is_empty() { own.to_owned() } else { name }),
            _ => addresses.wrong.push(words::decode(written.as_bytes())),
        }
    }
    addresses
}

/// A list as it is written into a header: with one address wrong, it stays as it was typed.
fn list(typed: &str, domain: &str) -> String {
    let Addresses { good, wrong } = addresses(typed.as_bytes(), domain);
    if !wrong.is_empty() || good.is_empty() {
        return words::encode(&without_controls(typed));
    }
    good.iter().map(|(name, address)| mailbox(&words::phrase(name), address)).collect::<Vec<_>>().join(",\n ")
}

/// A mailbox with its name.
pub(super) fn mailbox(name: &str, address: &Address) -> String {
    if name.is_empty() { address.to_string() } else { format!("{name} <{address}>") }
}

/// Writes a message.
#[derive(Debug)]
pub(super) struct Outgoing {
    boundary: Option<String>,
    encoder: Base64,
}

impl Outgoing {
    /// Writes header and text. `boundary`: files will follow. `domain` is that of names alone.
    pub(super) fn begin(
        fields: &Fields,
        text: &str,
        boundary: Option<String>,
        domain: &str,
        to: &mut dyn Write,
    ) -> io::Result<Outgoing> {
        let mut header = String::new();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                header.push_str(&format!("{name}: {value}\n"));
            }
        };
        add("Date", &fields.date);
        add("From", &fields.from);
        for (name, typed) in [("To", &fields.to), ("Cc", &fields.cc), ("Bcc", &fields.bcc)] {
            add(name, &list(typed.trim(), domain));
        }
        add("Subject", &words::encode(&without_controls(&fields.subject)));
        add("Message-ID", &fields.message_id);
        for (name, value) in fields.manner.iter().chain(&fields.answers) {
            add(name, value);
        }
        add("MIME-Version", "1.0");
        if let Some(boundary) = &boundary {
            add("Content-Type", &format!("multipart/mixed; boundary=\"{boundary}\""));
            header.push_str(&format!("\n--{boundary}\n"));
        }
        let text = with_line_ends(text);
        let is_plain = text.is_ascii() && !text.contains('\0') && text.lines().all(|line| line.len() <= LONGEST_LINE);
        header.push_str("Content-Type: text/plain; charset=utf-8\n");
        header.push_str(if is_plain { "\n" } else { "Content-Transfer-Encoding: quoted-printable\n\n" });
        to.write_all(header.replace('\n', "\r\n").as_bytes())?;
        if is_plain {
            to.write_all(text.as_bytes())?;
        } else {
            let (mut encoder, mut encoded) = (QuotedPrintable::default(), Vec::new());
            encoder.push(text.as_bytes(), &mut encoded);
            encoder.finish(&mut encoded);
            to.write_all(&encoded)?;
        }
        Ok(Outgoing { boundary, encoder: Base64::default() })
    }

    /// Begins a part that is copied as it is, header and body; or, with a header given here, a body.
    pub(super) fn part(&self, header: &str, to: &mut dyn Write) -> io::Result<()> {
        let boundary = self.boundary.as_deref().unwrap_or_default();
        to.write_all(format!("\r\n--{boundary}\r\n{header}").as_bytes())
    }

    /// Begins a file.
    pub(super) fn file(&mut self, name: &str, kind: &str, to: &mut dyn Write) -> io::Result<()> {
        self.encoder = Base64::default();
        let header = format!(
            "Content-Type: {}\r\nContent-Disposition: attachment; {}\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            media_type(kind),
            file_name(name)
        );
        self.part(&header, to)
    }

    /// Writes the next bytes of the file.
    pub(super) fn data(&mut self, bytes: &[u8], to: &mut dyn Write) -> io::Result<()> {
        let mut encoded = Vec::new();
        self.encoder.push(bytes, &mut encoded);
        to.write_all(&encoded)
    }

    /// The file is whole.
    pub(super) fn end(&mut self, to: &mut dyn Write) -> io::Result<()> {
        let mut encoded = Vec::new();
        self.encoder.finish(&mut encoded);
        to.write_all(&encoded)
    }

    /// All was written.
    pub(super) fn finish(self, to: &mut dyn Write) -> io::Result<()> {
        match self.boundary {
            Some(boundary) => to.write_all(format!("\r\n--{boundary}--\r\n").as_bytes()),
            None => Ok(()),
        }
    }
}

fn without_controls(text: &str) -> String {
    let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    text.trim().to_owned()
}

/// Lines end with CRLF, the last one too.
fn with_line_ends(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
    if !text.is_empty() && !text.ends_with("\r\n") {
        text.push_str("\r\n");
    }
    text
}

/// What a browser says of a file; what is made of parts can't be encoded (RFC 2045 §6.4).
fn media_type(kind: &str) -> &str {
    let is_token =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte));
    match kind.split_once('/') {
        Some(("multipart" | "message", _)) => "application/octet-stream",
        Some((media, subtype)) if kind.len() <= 100 && is_token(media) && is_token(subtype) => kind,
        _ => "application/octet-stream",
    }
}

/// RFC 2183 §2.3, RFC 2231 §4.
fn file_name(name: &str) -> String {
    let name: String = name.rsplit(['/', '\\']).next().unwrap_or_default().chars().filter(|char| !char.is_control()).collect();
    let name = shortened(&name);
    if name.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        return format!("filename=\"{name}\"");
    }
    format!("filename*=UTF-8''{}", escaped(&name))
}

/// Makes line ends LF, as letters are handed in.
#[derive(Debug)]
pub(super) struct ToUnix<W> {
    pub to: W,
    pub after_cr: bool,
}

impl<W: Write> Write for ToUnix<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            if std::mem::take(&mut self.after_cr) && byte != b'\n' {
                out.push(b'\r');
            }
            if byte == b'\r' {
                self.after_cr = true;
            } else {
                out.push(byte);
            }
        }
        self.to.write_all(&out)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::structure::Structure;

    fn written(fields: &Fields, text: &str, files: &[(&str, &str, &[u8])]) -> String {
        let mut out = Vec::new();
        let boundary = (!files.is_empty()).then(|| "b0".to_owned());
        let mut outgoing = Outgoing::begin(fields, text, boundary, "here.test", &mut out).unwrap();
        for (name, kind, bytes) in files {
            outgoing.file(name, kind, &mut out).unwrap();
            bytes.chunks(7).for_each(|piece| outgoing.data(piece, &mut out).unwrap());
            outgoing.end(&mut out).unwrap();
        }
        outgoing.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nobody_writes_fields_through_a_form() {
        let evil = "x\r\nBcc: evil@evil.test\r\n\r\nbody\0";
        let fields = Fields { to: format!("a@b.test{evil}"), subject: evil.into(), ..Fields::default() };
        let message = written(&fields, "text", &[(evil, "text/plain\r\nX: y", b"x")]);
        let header = message.split("\r\n\r\n").next().unwrap();
        assert!(!header.contains("\r\nBcc:") && header.contains("Subject: x  Bcc: evil@evil.test    body"), "{message}");
        assert!(message.contains("\r\nContent-Type: application/octet-stream\r\n") && !message.contains("\r\nX: y"), "{message}");
        assert!(!message.replace("\r\n", "").contains(['\r', '\n', '\0']), "{message:?}");
    }

    #[test]
    fn addresses_are_read_and_written() {
        let read = addresses("J\u{f6}rg <j@b.test>, bob; \"Berg, A.\" <a@b.test>, nobody@, <@>".as_bytes(), "here.test");
        let good: Vec<String> = read.good.iter().map(|(name, address)| format!("{name}|{address}")).collect();
        assert_eq!(good.first().map(String::as_str), Some("J\u{f6}rg|j@b.test"));
        assert!(good.contains(&"|bob@here.test".to_owned()) && good.contains(&"Berg, A.|a@b.test".to_owned()), "{good:?}");
        assert_eq!(list("J\u{f6}rg <j@b.test>, bob", "here.test"), "=?utf-8?B?SsO2cmc=?= <j@b.test>,\n bob@here.test");
        for odd in ["<x y@b.test>", "Anna Berg", "a @ b.test"] {
            assert!(!addresses(odd.as_bytes(), "here.test").wrong.is_empty(), "{odd}");
        }
        // Where a comma was forgotten there are two all the same.
        assert_eq!(addresses(b"a@b.test c@d.test", "here.test").good.len(), 2);
        assert_eq!(list("no address at all", "here.test"), "no address at all");
    }

    #[test]
    fn texts_and_files_come_back() {
        let fields = Fields { subject: "gr\u{fc}n".into(), to: "a@b.test".into(), ..Fields::default() };
        let message = written(
            &fields,
            "gr\u{fc}n\n-- \nme",
            &[("\u{fc} \"x\".txt", "text/plain", b"0123456789abcdef"), ("a.eml", "message/rfc822", b"x")],
        );
        let structure = Structure::of(message.as_bytes());
        let kinds: Vec<String> = structure.parts.iter().map(|part| String::from_utf8_lossy(&part.subtype).into_owned()).collect();
        assert_eq!(kinds, ["mixed", "plain", "plain", "octet-stream"]);
        assert_eq!(super::super::choice::file_name(&structure.parts[2]), "\u{fc} \"x\".txt");
        assert!(
            message.contains("gr=C3=BCn\r\n--=20\r\nme\r\n") || message.contains("gr=C3=BCn\r\n=2D-=20\r\nme\r\n"),
            "{message}"
        );
        assert!(message.is_ascii() && written(&fields, "plain", &[]).ends_with("\r\n\r\nplain\r\n"));
    }
}
