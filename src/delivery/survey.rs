//! A look at a message before it is sent: what a server wants to know of it, and what it wants of the line.

use super::manner::Need;
use crate::mail::{Envelope, header};
use crate::smtp::client::is_international;
use crate::spool::Message;
use std::io;

/// Bytes of a message that are looked at at a time.
const BLOCK: usize = 64 * 1024;

/// What a server wants to know of a message beforehand.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Bytes in wire form, within a few quoted lines (RFC 1870 §6.3 asks for an estimate that is not too low).
    pub(super) size: u64,
    pub(super) eight_bit: bool,
    /// Its header needs SMTPUTF8.
    pub(super) utf8: bool,
    /// Its header says `TLS-Required: No` (RFC 8689 §3).
    open: bool,
}

impl Survey {
    /// What it wants of the line. What was said in the envelope goes before the header (RFC 8689 §4.1).
    pub(super) fn need(self, envelope: &Envelope) -> Need {
        match () {
            () if envelope.require_tls => Need::Secret,
            () if self.open => Need::Open,
            () => Need::Usual,
        }
    }
}

/// `utf8`: it came with SMTPUTF8, so what is not ASCII in its header is UTF-8. Of other headers nobody knows what they are; they
/// go as they came.
pub(super) fn survey(message: &Message, utf8: bool) -> io::Result<Survey> {
    let mut found = Survey::default();
    let (mut room, mut offset) = (Vec::new(), 0);
    loop {
        let bytes = message.piece(offset, BLOCK, &mut room)?;
        if bytes.is_empty() {
            found.utf8 = utf8 && found.eight_bit && is_international(message)?;
            return Ok(found);
        }
        if offset == 0 {
            found.open = needs_no_tls(bytes);
        }
        found.size += (bytes.len() + memchr::memchr_iter(b'\n', bytes).count()) as u64;
        found.eight_bit |= !bytes.is_ascii();
        offset += bytes.len() as u64;
    }
}

/// Does the one field of that name say so?
fn needs_no_tls(head: &[u8]) -> bool {
    let mut values = header::fields(head).filter(|field| field.is(head, "TLS-Required")).map(|field| field.value);
    let value = values.next().and_then(|value| head.get(value)).unwrap_or_default();
    header::unfold(value).eq_ignore_ascii_case(b"no") && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_header_can_waive_encryption() {
        for (head, is_open) in [
            ("TLS-Required: No\n\n", true),
            ("tls-required:\n no \nSubject: x\n\n", true),
            ("TLS-Required: yes\n\n", false),
            ("TLS-Required: No\nTLS-Required: No\n\n", false),
            ("Subject: x\n\nTLS-Required: No\n", false),
        ] {
            assert_eq!(needs_no_tls(head.as_bytes()), is_open, "{head}");
        }
    }

    #[test]
    fn a_survey_counts_wire_bytes() {
        let of = |text: &[u8]| survey(&Message::Memory(Arc::new(text.to_vec())), false).unwrap();
        assert_eq!(of(b"a\n\nb\n"), Survey { size: 8, ..Survey::default() });
        let eight_bit = Survey { size: 300_003, eight_bit: true, ..Survey::default() };
        assert_eq!(of(&[b"x\n".repeat(100_000), b"\xff\n".to_vec()].concat()), eight_bit);
        assert_eq!(of(b""), Survey::default());
    }

    #[test]
    fn a_header_beyond_ascii_is_found_at_any_depth() {
        let of = |text: &str| survey(&Message::Memory(Arc::new(text.as_bytes().to_vec())), true).unwrap().utf8;
        let multipart = "Content-Type: multipart/mixed; boundary=b\n\n--b\n";
        for (text, found) in [
            ("Subject: \u{fc}\n\nbody\n", true),
            ("Subject: u\n\n\u{fc}\n", false),
            (&format!("{multipart}Content-Description: \u{fc}\n\nu\n--b--\n"), true),
            (&format!("{multipart}\n\u{fc}\n--b--\n\u{fc}\n"), false),
            (&format!("{multipart}Content-Type: message/rfc822\n\nSubject: \u{fc}\n\nu\n--b--\n"), true),
            (&format!("{multipart}Content-Type: message/global\n\nSubject: \u{fc}\n\nu\n--b--\n"), true),
            (&format!("{multipart}Content-Type: message/global-headers\n\nSubject: \u{fc}\n--b--\n"), false),
        ] {
            assert_eq!(of(text), found, "{text}");
        }
        let unsaid = Message::Memory(Arc::new("Subject: \u{fc}\n\n".as_bytes().to_vec()));
        assert!(!survey(&unsaid, false).unwrap().utf8);
    }
}
