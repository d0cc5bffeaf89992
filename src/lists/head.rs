//! The header of a post on its way to the members.

use super::{Identity, Settings, leave};
use crate::mail::header;
use std::fmt::Write;

/// Fields that are the list's to write: those that came are another list's, or forged. The last ask every member's program for an
/// answer.
const OURS: [&str; 14] = [
    "List-Id",
    "List-Post",
    "List-Help",
    "List-Subscribe",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Owner",
    "List-Archive",
    "Precedence",
    "Errors-To",
    "Return-Receipt-To",
    "Disposition-Notification-To",
    "X-Confirm-Reading-To",
    "Return-Path",
];

/// The header as members get it, but for the end of the link to leave by (see [`leave`]): that of the post, which its author may
/// have signed, stays as it is but for fields that are the list's. `webmail`: where browsers find it.
pub fn rewrite(head: &[u8], list: &Identity, settings: &Settings, webmail: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 600);
    let is_ours = |field: &header::Field| {
        OURS.iter().any(|name| field.is(head, name)) || settings.replies_to_list && field.is(head, "Reply-To")
    };
    let mut from = 0;
    for field in header::fields(head).filter(is_ours) {
        out.extend_from_slice(head.get(from..field.whole.start).unwrap_or_default());
        from = field.whole.end;
    }
    out.extend_from_slice(head.get(from..).unwrap_or_default());
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend_from_slice(fields(list, settings, webmail).as_bytes());
    out
}

/// RFC 2919, RFC 2369, RFC 8058.
fn fields(list: &Identity, settings: &Settings, webmail: Option<&str>) -> String {
    let mut out = String::new();
    let name = phrase(&settings.description);
    let _ = writeln!(out, "List-Id: {name}<{}>", list.id());
    let _ = writeln!(out, "List-Post: <mailto:{}>", list.address());
    let _ = writeln!(out, "List-Help: <mailto:{}>", list.other("help"));
    if !settings.is_closed {
        let _ = writeln!(out, "List-Subscribe: <mailto:{}>", list.other("subscribe"));
    }
    let by_mail = list.other("unsubscribe");
    let _ = match webmail {
        Some(webmail) => {
            let (link, (field, value)) = (leave::link(webmail, &list.name), leave::CLICK);
            write!(out, "List-Unsubscribe: <{link}>,\n <mailto:{by_mail}>\nList-Unsubscribe-Post: {field}={value}\n")
        }
        None => writeln!(out, "List-Unsubscribe: <mailto:{by_mail}>"),
    };
    let _ = writeln!(out, "List-Owner: <mailto:{}>", list.other("owner"));
    if let Some(url) = &settings.archive_url {
        let _ = writeln!(out, "List-Archive: <{url}>");
    }
    if settings.replies_to_list {
        let _ = writeln!(out, "Reply-To: {}", list.address());
    }
    let _ = writeln!(out, "Precedence: list\nX-Loop: {}", list.address());
    out
}

/// A description as a quoted string. One that is long or beyond ASCII is left out: the field may not be encoded (RFC 2919 §3).
fn phrase(description: &str) -> String {
    let is_plain = (1..=60).contains(&description.len()) && description.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match is_plain {
        true => format!("\"{}\" ", description.replace('\\', "\\\\").replace('"', "\\\"")),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::Name;
    use crate::mail::Domain;

    fn list() -> Identity {
        Identity { name: Name::parse("staff").unwrap(), domain: Domain::parse("me.example").unwrap() }
    }

    fn told(head: &str, change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::new("o@x.test".parse().unwrap());
        change(&mut settings);
        String::from_utf8(rewrite(head.as_bytes(), &list(), &settings, None)).unwrap()
    }

    const ADDED: &str = "List-Id: <staff.me.example>\nList-Post: <mailto:staff@me.example>\nList-Help: <mailto:staff-help@me.example>\n\
        List-Subscribe: <mailto:staff-subscribe@me.example>\nList-Unsubscribe: <mailto:staff-unsubscribe@me.example>\n\
        List-Owner: <mailto:staff-owner@me.example>\nPrecedence: list\nX-Loop: staff@me.example\n";

    #[test]
    fn forged_fields_go_and_all_else_stays() {
        let head = "Received: x\nlist-unsubscribe:\n <https://evil.test>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n\
                    DKIM-Signature: a\n\tb\nList-Id: <bank.test>\nX-Loop: other@x.test\nSubject: hi\nReply-To: me@x.test\n";
        let kept = "Received: x\nDKIM-Signature: a\n\tb\nX-Loop: other@x.test\nSubject: hi\nReply-To: me@x.test\n";
        assert_eq!(told(head, |_| ()), format!("{kept}{ADDED}"));
        assert_eq!(told("", |_| ()), ADDED);
        assert_eq!(told("Subject: cut", |_| ()), format!("Subject: cut\n{ADDED}"));
    }

    #[test]
    fn where_there_is_a_page_one_leaves_by_it() {
        let settings = Settings::new("o@x.test".parse().unwrap());
        let text = String::from_utf8(rewrite(b"", &list(), &settings, Some("https://a.test/mail"))).unwrap();
        let wanted = "List-Unsubscribe: <https://a.test/mail/unsubscribe?list=staff>,\n <mailto:staff-unsubscribe@me.example>\n\
                      List-Unsubscribe-Post: List-Unsubscribe=One-Click\n";
        assert!(text.contains(wanted) && leave::place(text.as_bytes(), &list()).is_some(), "{text}");
    }

    #[test]
    fn settings_are_seen() {
        let text = told("Reply-To: me@x.test\nSubject: a\n", |settings| {
            settings.description = "The \"staff\"".into();
            settings.replies_to_list = true;
            settings.is_closed = true;
            settings.archive_url = Some("https://me.example/a".into());
        });
        assert!(text.contains("List-Id: \"The \\\"staff\\\"\" <staff.me.example>\n"), "{text}");
        assert!(
            text.contains("Reply-To: staff@me.example\n") && text.contains("List-Archive: <https://me.example/a>\n"),
            "{text}"
        );
        assert!(!text.contains("me@x.test") && !text.contains("List-Subscribe"), "{text}");
        for description in ["\u{fc}ber", &"x".repeat(61)] {
            assert!(told("", |settings| settings.description = description.into()).starts_with("List-Id: <"));
        }
    }
}
