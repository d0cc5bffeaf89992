//! What is changed in the header of a message that arrives: trace and missing fields go before it; forged spool fields, results
//! of checks that claim to be ours, and of submissions the Bcc and what only concerned their drafts are left out. All else stays
//! as it is, in its order. Pure.

use crate::junk;
use crate::mail::{Address, header};
use crate::trust::results;

/// What is added and taken away.
#[derive(Debug, Default)]
pub(super) struct Mending {
    /// Our Received field, with its line end.
    pub(super) received: Option<String>,
    /// For submissions.
    pub(super) submission: Option<Missing>,
    /// Our name in Authentication-Results, which nobody else may use.
    pub(super) authserv_id: Option<String>,
}

/// What a submission gets if it lacks it (RFC 6409 §8.2, §8.3).
#[derive(Debug)]
pub(super) struct Missing {
    /// Value of Date.
    pub(super) date: String,
    /// Value of Message-ID, with its angle brackets.
    pub(super) message_id: String,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Received fields it came with.
    pub(super) received: usize,
    /// Values of its Delivered-To fields, as keys of addresses.
    pub(super) delivered_to: Vec<String>,
    /// Value of its Message-ID, or of that it gets; empty: it has none.
    pub(super) message_id: String,
}

/// Finds the end of a header that comes in pieces, looking at each line once.
#[derive(Debug, Default)]
pub(super) struct EndScan {
    line: usize,
}

impl EndScan {
    /// Offset of the empty line in `bytes`, which begin as they did in the last call; `None`: it has not come yet.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            let rest = bytes.get(self.line..)?;
            let length = memchr::memchr(b'\n', rest)? + 1;
            if matches!(rest, [b'\n', ..] | [b'\r', b'\n', ..]) {
                return Some(self.line);
            }
            self.line += length;
        }
    }
}

/// Appends the mended header to `out`. `head` is all before the empty line.
///
/// What comes from elsewhere gets our trace and is else as it was, even if it is no header (RFC 5321 §6.4). A submission that
/// begins with text gets the empty line that its sender forgot, so that the text can't be taken for a header.
pub(super) fn mend(head: &[u8], mending: &Mending, out: &mut Vec<u8>) -> Facts {
    let mut facts = Facts::default();
    let (mut has_date, mut has_id, mut has_field) = (false, false, false);
    let (mut kept, mut run) = (Vec::new(), 0);
    for field in header::fields(head) {
        let name = head.get(field.name.clone()).unwrap_or_default();
        let value = head.get(field.value.clone()).unwrap_or_default();
        has_field |= !name.is_empty();
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("Received") {
            facts.received += 1;
        } else if is("Delivered-To") {
            facts.delivered_to.push(address_key(&header::unfold(value)));
        } else if is("Date") {
            has_date = true;
        } else if is("Message-ID") {
            has_id = true;
            facts.message_id = String::from_utf8_lossy(header::unfold(value).trim_ascii()).into_owned();
        }
        let secret = mending.submission.is_some() && (is("Bcc") || is("Resent-Bcc") || is(header::DRAFT));
        let is_forged = |id: &String| {
            is("Authentication-Results") && results::is_ours(value, id) || is(junk::FIELD) && junk::is_ours(value, id)
        };
        if secret || is_spool(name) || mending.authserv_id.as_ref().is_some_and(is_forged) {
            kept.push(run..field.whole.start);
            run = field.whole.end;
        }
    }
    kept.push(run..head.len());
    let is_header = has_field && !matches!(head.first(), Some(b' ' | b'\t'));
    out.extend_from_slice(mending.received.as_deref().unwrap_or_default().as_bytes());
    if let Some(missing) = &mending.submission {
        if !(has_date && is_header) {
            out.extend_from_slice(format!("Date: {}\n", missing.date).as_bytes());
        }
        if !(has_id && is_header) {
            out.extend_from_slice(format!("Message-ID: {}\n", missing.message_id).as_bytes());
            facts.message_id.clone_from(&missing.message_id);
        }
        if !is_header && !head.is_empty() {
            out.push(b'\n');
            out.extend_from_slice(head);
            return facts;
        }
    }
    for range in kept {
        out.extend_from_slice(head.get(range).unwrap_or_default());
    }
    facts
}

/// What an address in a field is compared by; text that is none stands for itself.
pub(super) fn address_key(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.parse().map_or_else(|_| text.to_ascii_lowercase(), |address: Address| address.key())
}

/// A field of the journal's own records?
fn is_spool(name: &[u8]) -> bool {
    name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"X-Spool-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(head: &str, submission: bool) -> (String, Facts) {
        let missing = Missing { date: "today".into(), message_id: "<1@here>".into() };
        let received = Some("Received: us\n".into());
        let mending = Mending { received, submission: submission.then_some(missing), authserv_id: Some("here.test".into()) };
        let mut out = Vec::new();
        let facts = mend(head.as_bytes(), &mending, &mut out);
        (String::from_utf8(out).unwrap(), facts)
    }

    #[test]
    fn only_what_must_be_is_changed() {
        let head =
            "Bcc: x\nX-SPOOL-Id: 1\n 2\nReceived: a\n\tb\nodd line\nDelivered-To:\n Bob@Example\nBcc : y\n z\nX-Spooled: 1\n";
        let kept = "Received: a\n\tb\nodd line\nDelivered-To:\n Bob@Example\n";
        let (text, facts) = mended(head, false);
        assert_eq!(text, format!("Received: us\nBcc: x\n{kept}Bcc : y\n z\nX-Spooled: 1\n"));
        assert_eq!(facts, Facts { received: 1, delivered_to: vec!["bob@example".into()], message_id: String::new() });
        let (text, _) = mended(head, true);
        assert_eq!(text, format!("Received: us\nDate: today\nMessage-ID: <1@here>\n{kept}X-Spooled: 1\n"));
        let draft = "X-Pillarbox-Draft: report\nA: b\n";
        assert_eq!(mended(draft, false).0, format!("Received: us\n{draft}"));
        assert!(mended(draft, true).0.ends_with("<1@here>\nA: b\n"));
        let (text, _) = mended("message-id: a\nDATE: b\n", true);
        assert_eq!(text, "Received: us\nmessage-id: a\nDATE: b\n");
        assert_eq!(
            mended("Subject: no line end", true).0,
            "Received: us\nDate: today\nMessage-ID: <1@here>\nSubject: no line end"
        );
    }

    #[test]
    fn nobody_else_tells_our_results() {
        let other = "authentication-results: mx.test; spf=pass\n";
        let head = format!(
            "Authentication-Results: here.test; spf=pass\n\tx=y\n{other}AUTHENTICATION-results : Here.TEST 1; none\nA: b\n"
        );
        assert_eq!(mended(&head, false).0, format!("Received: us\n{other}A: b\n"));
        assert!(!mended(&head, true).0.contains("here.test;"));
        let other = "X-Spam-Status: Yes, score=9.9 required=5.0 tests=A\n";
        let head = format!("X-Spam-Status: No, score=0.00\n\tBy=Here.test (like good mail)\n{other}A: b\n");
        assert_eq!(mended(&head, false).0, format!("Received: us\n{other}A: b\n"));
    }

    #[test]
    fn text_without_a_header() {
        assert_eq!(mended("", false).0, "Received: us\n");
        assert_eq!(mended("Hello\nworld", false).0, "Received: us\nHello\nworld");
        let added = "Received: us\nDate: today\nMessage-ID: <1@here>\n";
        assert_eq!(mended("", true).0, added);
        assert_eq!(mended("Hello\nworld", true).0, format!("{added}\nHello\nworld"));
        assert_eq!(mended(" folded\nBcc: x\nDate: y\n", true).0, format!("{added}\n folded\nBcc: x\nDate: y\n"));
    }

    #[test]
    fn the_end_is_found_at_any_cut() {
        let end = |bytes: &[u8]| {
            let whole = EndScan::default().find(bytes);
            for first in 0..=bytes.len() {
                let mut scan = EndScan::default();
                let found = scan.find(&bytes[..first]).or_else(|| scan.find(bytes));
                assert_eq!(found, whole, "{bytes:?} cut at {first}");
            }
            if let Some(end) = whole {
                assert_eq!(end, header::end(bytes));
            }
            whole
        };
        assert_eq!(end(b"A: 1\nB: 2\n\nbody\n\n"), Some(10));
        assert_eq!(end(b"A: 1\r\n\r\nbody"), Some(6));
        assert_eq!(end(b"\nbody"), Some(0));
        assert_eq!(end(b"A: 1\nB"), None);
        assert_eq!(end(b"A: 1\n"), None);
        assert_eq!(end(b""), None);
    }
}
