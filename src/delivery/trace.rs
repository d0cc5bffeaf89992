//! The Received field (RFC 5321 §4.4). Return-Path and Delivered-To are the mailbox's to add.

use super::Trace;
use crate::mail::Address;
use crate::spool::SpoolId;
use std::fmt::Write;

/// Our trace field with its line end; nothing for letters of this daemon.
///
/// ```abnf
/// Time-stamp-line = "Received:" FWS "from" FWS Extended-Domain CFWS "by" FWS Extended-Domain
///                   [CFWS "with" FWS Protocol] [CFWS "id" FWS Atom] [CFWS "for" FWS Path] [CFWS] ";" FWS date-time
/// ```
///
/// `sole` is the recipient if there is only one: of several none may learn the others (RFC 5321 §7.6). Its domain stands there
/// in ASCII if the rest is, against RFC 6531 §3.7.3: a field of ours must not keep a message from hosts that know no SMTPUTF8.
pub(super) fn received(trace: &Trace, hostname: &str, id: SpoolId, sole: Option<&Address>, date: &str) -> Option<String> {
    let from = trace.from.as_ref()?;
    let mut field = String::with_capacity(320);
    // Writing to a String does not fail.
    let _ = write!(field, "Received: from {from}\n\tby {hostname} (Pillarbox) with {} id {id}", trace.with);
    if let Some(tls) = &trace.tls {
        let _ = write!(field, "\n\t{tls}");
    }
    if let Some(sole) = sole {
        let _ = match sole.to_ascii() {
            Some(ascii) => write!(field, "\n\tfor <{ascii}>"),
            None => write!(field, "\n\tfor <{sole}>"),
        };
    }
    let _ = writeln!(field, ";\n\t{date}");
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::header;

    #[test]
    fn the_field_reads_as_the_standard_says() {
        let mut trace = Trace {
            from: Some("mx.example ([192.0.2.1])".into()),
            with: "ESMTPS".into(),
            tls: None,
            submission: false,
            arrival: None,
        };
        let id = SpoolId { generation: 0xabc, counter: 0x1f };
        let bob: Address = "bob@example.org".parse().unwrap();
        let date = "Sat, 21 Nov 2026 10:00:00 +0000";
        let told = |trace: &Trace, sole| {
            let field = received(trace, "mail.example.org", id, sole, date).unwrap();
            assert!(field.ends_with('\n') && field.lines().all(|line| line.len() < 78), "{field}");
            let found: Vec<_> = header::fields(field.as_bytes()).collect();
            assert_eq!(found.len(), 1);
            String::from_utf8(header::unfold(&field.as_bytes()[found[0].value.clone()])).unwrap()
        };
        let stem = "from mx.example ([192.0.2.1])\tby mail.example.org (Pillarbox) with ESMTPS id 0000000000000abc-1f";
        assert_eq!(told(&trace, None), format!("{stem};\t{date}"));
        trace.tls = Some("(TLSv1.3 TLS_AES_256_GCM_SHA384)".into());
        let end = format!("\t(TLSv1.3 TLS_AES_256_GCM_SHA384)\tfor <bob@example.org>;\t{date}");
        assert_eq!(told(&trace, Some(&bob)), stem.to_owned() + &end);
        for (recipient, written) in
            [("j\u{f6}rg@b\u{fc}.example", "j\u{f6}rg@b\u{fc}.example"), ("bob@b\u{fc}.example", "bob@xn--b-eha.example")]
        {
            let field = received(&trace, "mail.example.org", id, Some(&recipient.parse().unwrap()), date).unwrap();
            assert!(field.contains(&format!("\n\tfor <{written}>;")), "{field}");
        }
        trace.from = None;
        assert_eq!(received(&trace, "mail.example.org", id, None, date), None);
    }
}
