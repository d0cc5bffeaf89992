//! Leaving by one click (RFC 8058): the link in List-Unsubscribe, which is each member's own. A post is one record for all of them,
//! so the link stands in it without its end, which is put in on the way to each. Functions on text.
//!
//! ```abnf
//! link = webmail "/unsubscribe?list=" name [ end ]   ; without its end it says how else one leaves
//! end  = "&member=" address "&token=" token          ; see `token`
//! ```

use super::{Identity, Name, token};
use crate::mail::{Address, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;

/// What is sent to the link to leave at once (RFC 8058 §3.1): a field of a form, and its value.
pub const CLICK: (&str, &str) = ("List-Unsubscribe", "One-Click");

/// Characters that need no escape (RFC 3986 §2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Bytes of an end: with its beginning it must fit into a line (RFC 5322 §2.1.1).
const LONGEST: usize = 600;

/// The link without its end.
pub(super) fn link(webmail: &str, list: &Name) -> String {
    format!("{webmail}/unsubscribe?list={list}")
}

/// The end of a member's link. None: the address is too long for a link.
pub fn end(key: &hmac::Key, list: &Name, member: &Address) -> Option<String> {
    let address = member.to_string();
    let end = format!("&member={}&token={}", utf8_percent_encode(&address, UNRESERVED), token::leave(key, list, member));
    (end.len() <= LONGEST).then_some(end)
}

/// Where in the header of a post the end of the link goes, if there is a link.
pub fn place(head: &[u8], list: &Identity) -> Option<usize> {
    let field = header::fields(head).find(|field| field.is(head, "List-Unsubscribe"))?;
    let value = head.get(field.value.clone())?;
    let begin = value.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let link = value.get(begin..)?.strip_prefix(b"<https://")?;
    let length = memchr::memchr(b'>', link)?;
    let is_whole = link.get(..length)?.ends_with(format!("/unsubscribe?list={}", list.name).as_bytes());
    is_whole.then_some(field.value.start + begin + b"<https://".len() + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Domain;
    use proptest::prelude::*;

    fn staff() -> Identity {
        Identity { name: Name::parse("staff").unwrap(), domain: Domain::parse("me.example").unwrap() }
    }

    #[test]
    fn each_member_has_a_link_of_its_own() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"k");
        let end = |who: &str| end(&key, &staff().name, &who.parse().unwrap());
        let (bob, carol) = (end("bob+x@x.test").unwrap(), end("carol@x.test").unwrap());
        assert!(bob.starts_with("&member=bob%2Bx%40x.test&token=1-"), "{bob}");
        assert_ne!(bob.split("token").nth(1), carol.split("token").nth(1));
        let long = format!("a@{}test", format!("{}.", "\u{f6}".repeat(20)).repeat(6));
        assert_eq!(end(&long), None, "no line is that long");
    }

    #[test]
    fn its_end_goes_into_our_field_only() {
        let told = |head: &str| place(head.as_bytes(), &staff()).map(|at| (head[..at].to_owned(), head[at..].to_owned()));
        let head = "A: b\nList-Unsubscribe: <https://a.test/unsubscribe?list=staff>,\n <mailto:x@y>\n";
        let (before, after) = told(head).unwrap();
        assert!(before.ends_with("list=staff") && after.starts_with(">,\n <mailto:"), "{before} {after}");
        for head in [
            "",
            "List-Unsubscribe: <mailto:x@y>\n",
            "List-Unsubscribe: <https://a.test/unsubscribe?list=other>\n",
            "List-Unsubscribe: <https://a.test/unsubscribe?list=staff\n",
            "Subject: List-Unsubscribe: <https://a.test/unsubscribe?list=staff>\n",
        ] {
            assert_eq!(told(head), None, "{head}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_odd(value in "[ \n<]{0,3}(<https://)?\\PC{0,20}(unsubscribe\\?list=staff>?)?") {
            let head = format!("List-Unsubscribe:{value}\n");
            if let Some(at) = place(head.as_bytes(), &staff()) {
                prop_assert!(head.as_bytes()[at] == b'>');
            }
        }
    }
}
