//! The Authentication-Results field (RFC 8601): ours, who claims to be us, and what ours said. Pure.

use super::Verdicts;
use super::arc::ArcResult;
use super::dmarc::DmarcResult;
use crate::mail::{header, words};
use std::fmt::Write;

/// Characters of a value that somebody else chose.
const LONGEST: usize = 120;

/// Our field, with its LF line ends.
///
/// ```abnf
/// authres-header-field = "Authentication-Results:" authres-payload
/// authres-payload      = [CFWS] authserv-id [ CFWS authres-version ] ( no-result / 1*resinfo ) [CFWS] CRLF
/// resinfo              = [CFWS] ";" methodspec [ CFWS reasonspec ] [ CFWS 1*propspec ]
/// ```
pub(super) fn field(verdicts: &Verdicts, authserv_id: &str) -> String {
    let mut out = format!("Authentication-Results: {authserv_id}");
    // Writing to a String does not fail.
    let mut add = |method: &str, result: &str, reason: &str, properties: &[(&str, &str)]| {
        let _ = write!(out, ";\n\t{method}={result}");
        if !reason.is_empty() {
            let _ = write!(out, " reason={}", quoted(reason));
        }
        for (name, value) in properties {
            let _ = write!(out, "\n\t {name}={}", shown(value));
        }
    };
    if let Some((domain, spf)) = &verdicts.sender {
        add("spf", spf.result.name(), &spf.reason, &[("smtp.mailfrom", domain)]);
    }
    let (helo, spf) = &verdicts.helo;
    add("spf", spf.result.name(), &spf.reason, &[("smtp.helo", helo)]);
    for signature in &verdicts.dkim {
        match &signature.signer {
            Some(signer) => add(
                "dkim",
                signature.result.name(),
                &signature.reason,
                &[
                    ("header.d", &signer.domain),
                    ("header.s", &signer.selector),
                    ("header.a", signer.algorithm.name()),
                    ("header.b", &signer.start),
                ],
            ),
            None => add("dkim", signature.result.name(), &signature.reason, &[]),
        }
    }
    if verdicts.dkim.is_empty() {
        add("dkim", "none", "", &[]);
    }
    let dmarc = &verdicts.dmarc;
    match &dmarc.from {
        Some(from) if dmarc.result == DmarcResult::None => add("dmarc", "none", "", &[("header.from", from)]),
        Some(from) => {
            add("dmarc", dmarc.result.name(), &dmarc.reason, &[("header.from", from), ("policy.dmarc", dmarc.policy.name())]);
        }
        None => add("dmarc", dmarc.result.name(), &dmarc.reason, &[]),
    }
    if let Some(arc) = &verdicts.arc {
        add("arc", arc.result.name(), &arc.reason, &[("smtp.remote-ip", &verdicts.ip.to_string())]);
    }
    out.push('\n');
    out
}

/// What [`field`] of this name told of a message, to be told to others who get it from us: the value of the field, and what the
/// chain came to. None: it was not checked.
pub fn told<'a>(header: &'a [u8], authserv_id: &str) -> Option<(&'a str, Option<ArcResult>)> {
    let mut fields = header::fields(header).filter(|field| field.is(header, "Authentication-Results"));
    let value = fields.find_map(|field| header.get(field.value).filter(|value| is_ours(value, authserv_id)))?;
    let value = std::str::from_utf8(value).ok()?.trim();
    // Nothing that others chose begins a line of ours.
    let result = value.lines().find_map(|line| line.strip_prefix("\tarc="));
    let chain = result.map(|result| if result.starts_with("pass") { ArcResult::Pass } else { ArcResult::Fail });
    Some((value, chain))
}

/// A value as it may stand, quoted if it must be.
fn shown(value: &str) -> String {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !value.is_empty() && value.len() <= LONGEST && value.bytes().all(is_token) { value.to_owned() } else { quoted(value) }
}

/// A quoted-string (RFC 5322 §3.2.4).
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for char in value.chars().take(LONGEST) {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            ' '..='~' => out.push(char),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

/// Does a field of this value claim to be ours (RFC 8601 §5)? One that can't be read does if our name stands in it.
pub fn is_ours(value: &[u8], authserv_id: &str) -> bool {
    let own = authserv_id.as_bytes();
    match claimed(value) {
        Some(id) => id.eq_ignore_ascii_case(own),
        None => !own.is_empty() && value.windows(own.len()).any(|window| window.eq_ignore_ascii_case(own)),
    }
}

/// A signature that is right, as it is told apart from others of its message (RFC 6376 §3.5, RFC 6008 §4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// Of the signer.
    pub domain: String,
    /// Of the key.
    pub selector: String,
    /// The first characters of the signature.
    pub start: String,
}

/// What this host found when a message came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Does a domain stand behind the author? The result's name.
    pub dmarc: String,
    /// The author's domain.
    pub author: Option<String>,
    /// Domains whose signatures are right.
    pub signers: Vec<String>,
    /// Those signatures.
    pub signatures: Vec<Signed>,
    /// The sender's domain, if the host may send for it.
    pub host_of: Option<String>,
}

/// Reads our own field, which stands above all that came with the message: what is below a Received field anybody may have
/// written. None: there is none.
pub fn read(header: &[u8], authserv_id: &str) -> Option<Found> {
    let above = header::fields(header).take_while(|field| !field.is(header, "Received"));
    let values = above.filter(|field| field.is(header, "Authentication-Results")).filter_map(|field| header.get(field.value));
    let own =
        values.into_iter().find(|value| claimed(value).is_some_and(|id| id.eq_ignore_ascii_case(authserv_id.as_bytes())))?;
    let mut found = Found::default();
    for result in results(&words::raw(&header::unfold(own))) {
        let get = |name: &str| result.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        match result.first() {
            Some((method, value)) if method == "dmarc" => {
                found.dmarc.clone_from(value);
                found.author = get("header.from");
            }
            Some((method, value)) if method == "dkim" && value == "pass" => {
                found.signers.extend(get("header.d").filter(|domain| !found.signers.contains(domain)));
                let part = |name| get(name).unwrap_or_default();
                let (domain, selector, start) = (part("header.d"), part("header.s"), part("header.b"));
                found.signatures.push(Signed { domain, selector, start });
            }
            Some((method, value)) if method == "spf" && value == "pass" => {
                found.host_of = found.host_of.or_else(|| get("smtp.mailfrom"));
            }
            _ => {}
        }
    }
    Some(found)
}

/// The results of one of our own fields, each a list of names and values; the method comes first.
fn results(text: &str) -> Vec<Vec<(String, String)>> {
    let (mut results, mut name, mut value) = (vec![Vec::new()], String::new(), None::<String>);
    let (mut quoted, mut chars) = (false, text.chars());
    while let Some(char) = chars.next() {
        let in_name = value.is_none();
        let place = value.as_mut().unwrap_or(&mut name);
        match char {
            '"' => quoted = !quoted,
            '\\' if quoted => place.extend(chars.next()),
            char if quoted => place.push(char),
            '=' if in_name => value = Some(String::new()),
            ' ' | '\t' | ';' => {
                let name = std::mem::take(&mut name);
                if let (Some(value), Some(result)) = (value.take(), results.last_mut()) {
                    result.push((name, value));
                }
                if char == ';' {
                    results.push(Vec::new());
                }
            }
            char => place.push(char),
        }
    }
    if let (Some(value), Some(result)) = (value, results.last_mut()) {
        result.push((name, value));
    }
    results
}

/// The authserv-id: a token or a quoted-string, after blanks and comments.
fn claimed(value: &[u8]) -> Option<Vec<u8>> {
    let mut rest = value;
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [b'(', ..] => rest = after_comment(rest)?,
            [b'"', quoted @ ..] => return unquote(quoted),
            _ => break,
        }
    }
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b";(\"".contains(byte);
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    rest.get(..end).filter(|id| !id.is_empty()).map(<[u8]>::to_vec)
}

fn after_comment(text: &[u8]) -> Option<&[u8]> {
    let mut depth = 0usize;
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'(' => depth += 1,
            b')' if depth == 1 => return text.get(at + 1..),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.iter();
    loop {
        match bytes.next()? {
            b'"' => return Some(out),
            b'\\' => out.push(*bytes.next()?),
            b'\r' | b'\n' => {}
            byte => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_claims_to_be_us() {
        for ours in [
            " mail.test; spf=pass",
            "MAIL.Test 1; none",
            "\n\tmail.test\n\t; none",
            "mail.test",
            "mail.test(c);none",
            "(a (b) \\) c) mail.test;",
            "\"mail.test\";",
            "\"ma\\il.test\";",
            "(never closed mail.test;",
            "\"mail.test",
            "; mail.test",
        ] {
            assert!(is_ours(ours.as_bytes(), "mail.test"), "{ours}");
        }
        for other in ["mx.test; spf=pass smtp.helo=mail.test", "mail.test.evil; x", "xmail.test;", "", "(mail.test) mx.test;"] {
            assert!(!is_ours(other.as_bytes(), "mail.test"), "{other}");
        }
    }

    #[test]
    fn only_our_own_field_is_believed() {
        let own = "Authentication-Results: mail.test;\r\n\tspf=pass\r\n\t smtp.mailfrom=b.test;\r\n\tdkim=pass\r\n\t header.d=b.test\r\n\t header.s=s1\r\n\t \
                   header.b=abc;\r\n\tdkim=fail reason=\"x; dkim=pass header.d=evil.test\" header.d=c.test;\r\n\tdmarc=pass header.from=b.test\r\n";
        let expected = Found {
            dmarc: "pass".into(),
            author: Some("b.test".into()),
            signers: vec!["b.test".into()],
            signatures: vec![Signed { domain: "b.test".into(), selector: "s1".into(), start: "abc".into() }],
            host_of: Some("b.test".into()),
        };
        let read = |header: &str| read(header.as_bytes(), "mail.test");
        assert_eq!(read(&format!("Return-Path: <a@b.test>\r\n{own}Received: x\r\n\r\n")), Some(expected.clone()));
        // Others write what they like: below the trace, in another's name, above it in ours a second time.
        assert_eq!(read(&format!("Received: x\r\n{own}\r\n")), None);
        assert_eq!(read(&format!("{}Received: x\r\n\r\n", own.replace("mail.test", "evil.test"))), None);
        assert_eq!(read(&format!("{own}{}\r\n", own.replace("b.test", "evil.test"))), Some(expected));
        assert_eq!(read("Authentication-Results: mail.test; none\r\n\r\n"), Some(Found::default()));
    }

    #[test]
    fn what_ours_told_is_told_on() {
        let other = "Authentication-Results: mx.test;\n\tarc=pass\n";
        let ours = |rest: &str| format!("{other}Received: x\nAuthentication-Results: us.test;\n\tspf=none{rest}\n");
        assert_eq!(told(other.as_bytes(), "us.test"), None);
        for (rest, chain) in [
            ("", None),
            (";\n\tarc=pass\n\t smtp.remote-ip=192.0.2.1", Some(ArcResult::Pass)),
            (";\n\tarc=fail reason=\"body changed\"", Some(ArcResult::Fail)),
            // What a client called itself.
            ("\n\t smtp.helo=\"x;\tarc=pass\"", None),
        ] {
            let head = ours(rest);
            let value = format!("us.test;\n\tspf=none{rest}");
            assert_eq!(told(head.as_bytes(), "us.test"), Some((value.as_str(), chain)), "{rest}");
        }
    }

    #[test]
    fn values_do_not_leave_their_place() {
        assert_eq!(shown("a-b_c.test"), "a-b_c.test");
        assert_eq!(shown("a; dkim=pass"), "\"a; dkim=pass\"");
        assert_eq!(shown("a\"\\\r\n\u{f6}"), "\"a\\\"\\\\???\"");
        assert_eq!(shown(""), "\"\"");
        assert_eq!(shown(&"x".repeat(500)).len(), LONGEST + 2);
    }
}
