//! IMAP URLs that name a message, or bytes of one (RFC 5092). Pure.

use super::cursor::{Bad, Cursor, Parsed};
use super::fetch::{Text, section_spec};

/// A message, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageUrl {
    /// Where it is; none: here, and of who is logged in.
    pub server: Option<Server>,
    /// The mailbox's name.
    pub mailbox: String,
    /// Its UIDVALIDITY, if that is to be checked.
    pub validity: Option<u32>,
    /// The message's UID.
    pub uid: u32,
    /// Which part, and what of it.
    pub part: Vec<u32>,
    pub text: Text,
    /// From which byte, and how many at most.
    pub partial: Option<(u64, u64)>,
}

/// `iserver = [iuserinfo "@"] host [":" port]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// None: anybody.
    pub user: Option<String>,
    pub host: String,
    /// None: the usual one.
    pub port: Option<u16>,
}

/// `bchar`: what may stand in a name that goes up to a semicolon.
fn is_bchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$'()*+,&=:@/%".contains(&byte)
}

impl MessageUrl {
    /// ```abnf
    /// imapurl       = ["imap:"] "//" iserver "/" imessagepart
    /// iabsolute-path = "/" imessagepart
    /// imessagepart  = enc-mailbox [";UIDVALIDITY=" nz-number] "/;UID=" nz-number ["/;SECTION=" enc-section] ["/;PARTIAL=" range]
    /// range         = number ["." nz-number]
    /// ```
    /// What is relative to a mailbox must not be accepted (RFC 5092 §7.2).
    pub fn parse(url: &[u8]) -> Parsed<MessageUrl> {
        let mut cursor = Cursor::new(url);
        let server = if cursor.eat_word("imap://") || cursor.eat_word("//") { Some(server(&mut cursor)?) } else { None };
        cursor.expect(b'/', "this is no IMAP URL from the root")?;
        let mut mailbox = cursor.take_while(is_bchar);
        let mut validity = None;
        if cursor.eat_word(";UIDVALIDITY=") {
            validity = Some(cursor.nz_number()?);
            cursor.expect(b'/', "a message is missing")?;
        } else {
            mailbox = mailbox.strip_suffix(b"/").ok_or(Bad("a message is missing"))?;
        }
        if mailbox.is_empty() || mailbox.split(|byte| *byte == b'/').any(|name| matches!(name, b"" | b"." | b"..")) {
            return Err(Bad("this is no name of a mailbox"));
        }
        if !cursor.eat_word(";UID=") {
            return Err(Bad("a message is missing"));
        }
        let uid = cursor.nz_number()?;
        let (mut part, mut text, mut more) = (Vec::new(), Text::Whole, cursor.eat(b'/'));
        if more && cursor.eat_word(";SECTION=") {
            let encoded = cursor.take_while(is_bchar);
            let section = encoded.strip_suffix(b"/").filter(|_| !cursor.rest().is_empty());
            more = section.is_some();
            (part, text) = read_section(section.unwrap_or(encoded))?;
        }
        let mut partial = None;
        if more {
            partial = Some(range(&mut cursor)?);
        }
        cursor.end()?;
        Ok(MessageUrl { server, mailbox: decoded(mailbox)?, validity, uid, part, text, partial })
    }
}

fn server(cursor: &mut Cursor<'_>) -> Parsed<Server> {
    let authority = cursor.take_while(|byte| (is_bchar(byte) || b";[]".contains(&byte)) && byte != b'/');
    let (user, place) = match memchr::memrchr(b'@', authority) {
        Some(at) => (authority.get(..at), authority.get(at + 1..).unwrap_or_default()),
        None => (None, authority),
    };
    // How to log in is not of interest any more: `iuserinfo = enc-user [";AUTH=" …]`.
    let user = user.map(|user| user.split(|byte| *byte == b';').next().unwrap_or_default()).filter(|user| !user.is_empty());
    let colon = memchr::memrchr(b':', place).filter(|_| !place.ends_with(b"]"));
    let (host, port) = match colon {
        Some(at) => (place.get(..at).unwrap_or_default(), place.get(at + 1..).filter(|port| !port.is_empty())),
        None => (place, None),
    };
    let port = port.map(|port| std::str::from_utf8(port).ok().and_then(|port| port.parse().ok()).ok_or(Bad("this is no port")));
    if host.is_empty() {
        return Err(Bad("a host is missing"));
    }
    Ok(Server { user: user.map(decoded).transpose()?, host: decoded(host)?, port: port.transpose()? })
}

fn read_section(encoded: &[u8]) -> Parsed<(Vec<u32>, Text)> {
    if encoded.is_empty() {
        return Err(Bad("no such section"));
    }
    let section = decoded(encoded)?;
    let mut cursor = Cursor::new(section.as_bytes());
    let found = section_spec(&mut cursor)?;
    cursor.end()?;
    Ok(found)
}

fn range(cursor: &mut Cursor<'_>) -> Parsed<(u64, u64)> {
    if !cursor.eat_word(";PARTIAL=") {
        return Err(Bad("no such thing has a message"));
    }
    let from = cursor.number64()?;
    match cursor.eat(b'.').then(|| cursor.number64()).transpose()? {
        Some(0) => Err(Bad("zero can't be here")),
        length => Ok((from, length.unwrap_or(u64::MAX))),
    }
}

/// `pct-encoded = "%" HEXDIG HEXDIG`, of UTF-8 (RFC 5092 §8).
fn decoded(bytes: &[u8]) -> Parsed<String> {
    const ALONE: Bad = Bad("a percent sign stands alone");
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).ok_or(ALONE);
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'%' => (digit(rest.next())? << 4 | digit(rest.next())?) as u8,
            byte => *byte,
        });
    }
    String::from_utf8(out).map_err(|_| Bad("this is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Parsed<MessageUrl> {
        MessageUrl::parse(url.as_bytes())
    }

    #[test]
    fn messages_and_parts() {
        let plain = MessageUrl {
            server: None,
            mailbox: "INBOX".into(),
            validity: None,
            uid: 7,
            part: vec![],
            text: Text::Whole,
            partial: None,
        };
        assert_eq!(read("/INBOX/;UID=7").unwrap(), plain);
        let url = read("/a/%C3%BC%3bb;uidvalidity=385759045/;uid=20/;section=1.2.MIME/;partial=5.10").unwrap();
        assert_eq!((url.mailbox.as_str(), url.validity, url.uid), ("a/ü;b", Some(385_759_045), 20));
        assert_eq!((url.part, url.text, url.partial), (vec![1, 2], Text::Mime, Some((5, 10))));
        let url = read("/x/;UID=1/;SECTION=HEADER.FIELDS%20(From%20%22To%22)").unwrap();
        assert_eq!(url.text, Text::Fields(vec!["From".into(), "To".into()]));
        assert_eq!(read("/x/;UID=1/;PARTIAL=3").unwrap().partial, Some((3, u64::MAX)));
    }

    #[test]
    fn servers() {
        let server = |url: &str| read(url).unwrap().server.unwrap();
        let of = |user: Option<&str>, host: &str, port| Server { user: user.map(str::to_owned), host: host.into(), port };
        assert_eq!(server("imap://h.test/x/;UID=1"), of(None, "h.test", None));
        assert_eq!(server("IMAP://al%40ice;AUTH=*@h.test:143/x/;UID=1"), of(Some("al@ice"), "h.test", Some(143)));
        assert_eq!(server("//;AUTH=PLAIN@[::1]/x/;UID=1"), of(None, "[::1]", None));
        assert_eq!(server("//a@[::1]:9/x/;UID=1"), of(Some("a"), "[::1]", Some(9)));
    }

    #[test]
    fn what_is_none() {
        for bad in [
            "",
            "/",
            "/x",
            "/x/",
            "x/;UID=1",
            ";UID=1",
            "/;UID=1",
            "//h/;UID=1",
            "///x/;UID=1",
            "imap:///x/;UID=1",
            "http://h/x/;UID=1",
            "/x;UID=1",
            "/x//;UID=1",
            "/../x/;UID=1",
            "/./x/;UID=1",
            "/x/;UID=0",
            "/x/;UID=",
            "/x/;UID=1/",
            "/x/;UID=1/;SECTION=",
            "/x/;UID=1/;SECTION=1.",
            "/x/;UID=1/;SECTION=1]",
            "/x/;UID=1/;SECTION=1/;SECTION=1",
            "/x/;UID=1/;SECTION=1/",
            "/x/;UID=1/;PARTIAL=1.0",
            "/x/;UID=1/;PARTIAL=.1",
            "/x/;UID=1;URLAUTH=anonymous",
            "/x/;UID=1?SUBJECT%20x",
            "/%/;UID=1",
            "/%4/;UID=1",
            "/%zz/;UID=1",
            "/%ff/;UID=1",
            "/x y/;UID=1",
            "/x;UIDVALIDITY=0/;UID=1",
            "//h:x/x/;UID=1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
