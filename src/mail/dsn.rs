//! What a sender wants to be told (RFC 3461): the parameters that MAIL and RCPT carry for it, read, kept and written again.
//! The journal keeps them in the form that SMTP gives them. Addresses beyond ASCII have a type of their own (RFC 6533 §3).

use super::address::{Address, is_beyond_ascii};
use std::borrow::Cow;
use std::fmt;

/// The longest ENVID (RFC 3461 §4.4).
const MOST_ID: usize = 100;

/// The longest ORCPT (RFC 3461 §4.2).
const MOST_ORIGINAL: usize = 500;

/// A parameter's value is wrong, or the parameter is there twice.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct BadParameter;

/// How much of a message comes back with the report of its failure (RFC 3461 §4.3).
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Return {
    /// All of it.
    Full,
    /// The header.
    Headers,
}

/// Text of printable ASCII, as it is encoded between hosts.
///
/// ```abnf
/// xtext = *( xchar / hexchar )           ; RFC 3461 §4
/// xchar = %d33-42 / %d44-60 / %d62-126
/// hexchar = "+" 2(DIGIT / %x41-46)
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Xtext(Box<str>);

/// The address that the sender once gave for a recipient.
///
/// ```abnf
/// original-recipient-address = addr-type ";" xtext      ; RFC 3461 §4.2
/// utf-8-type-addr = "utf-8;" utf-8-enc-addr             ; RFC 6533 §3: UTF-8 or not, with characters as `\x{F6}`
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OriginalRecipient {
    kind: Box<str>,
    /// As it came.
    address: Box<str>,
}

/// What MAIL says of reports.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MailDsn {
    /// RET.
    pub ret: Option<Return>,
    /// ENVID: what the sender calls this transaction.
    pub id: Option<Xtext>,
}

/// What RCPT says of reports.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RcptDsn {
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT.
    pub original: Option<OriginalRecipient>,
}

/// Of what the sender wants to hear (RFC 3461 §4.1); of nothing: NEVER.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Notify {
    /// It was delivered, or given to a host that will not tell.
    pub success: bool,
    /// It can't be delivered.
    pub failure: bool,
    /// It takes long.
    pub delay: bool,
}

impl Xtext {
    /// Reads encoded text; what it stands for must be printable, blanks included, and not empty.
    pub fn parse(text: &str) -> Result<Xtext, BadParameter> {
        match readable(text) {
            Some(decoded) if decoded.is_ascii() => Ok(Xtext(text.into())),
            _ => Err(BadParameter),
        }
    }

    /// Encodes printable text.
    pub fn encode(text: &str) -> Result<Xtext, BadParameter> {
        let mut out = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'+' | b'=' | b' ' => out.push_str(&format!("+{byte:02X}")),
                b'!'..=b'~' => out.push(char::from(byte)),
                _ => return Err(BadParameter),
            }
        }
        Xtext::parse(&out)
    }

    /// What it stands for.
    pub fn decode(&self) -> String {
        readable(&self.0).unwrap_or_default()
    }
}

/// Is it encoded as the standard says, whatever it stands for?
pub fn is_xtext(text: &str) -> bool {
    decode(text).is_some()
}

/// What xtext stands for, if that is printable, in ASCII or UTF-8, and not empty.
fn readable(text: &str) -> Option<String> {
    let decoded = String::from_utf8(decode(text)?).ok()?;
    let printable = |char: char| matches!(char, ' '..='~') || is_beyond_ascii(char);
    (!decoded.is_empty() && decoded.chars().all(printable)).then_some(decoded)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let hex = |byte: Option<u8>| match byte? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(hex(bytes.next())? << 4 | hex(bytes.next())?),
            b'=' => return None,
            b'!'..=b'~' => out.push(byte),
            _ => return None,
        }
    }
    Some(out)
}

impl OriginalRecipient {
    fn parse(text: &str) -> Result<OriginalRecipient, BadParameter> {
        let (kind, address) = text.split_once(';').ok_or(BadParameter)?;
        let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/?^_`{|}~.".contains(&byte);
        if text.len() > MOST_ORIGINAL || kind.is_empty() || !kind.bytes().all(atom) {
            return Err(BadParameter);
        }
        let original = OriginalRecipient { kind: kind.into(), address: address.into() };
        let printable = |char: char| matches!(char, '!'..='~') || is_beyond_ascii(char);
        match original.is_utf8() {
            true if !address.is_empty() && address.chars().all(printable) => {}
            true => return Err(BadParameter),
            // Postfix 3.7 writes an address in UTF-8 so, by its bytes: `rfc822;j+C3+B6rg@example.org`.
            false => drop(readable(address).ok_or(BadParameter)?),
        }
        Ok(original)
    }

    fn is_utf8(&self) -> bool {
        self.kind.eq_ignore_ascii_case(UTF8)
    }

    /// As a report names it (RFC 3464 §2.3.1): `rfc822; bob@example.org`. `utf8`: it may hold UTF-8. What says that it is of
    /// that type and is no such address stays as it is (RFC 6533 §3).
    pub fn told(&self, utf8: bool) -> String {
        let OriginalRecipient { kind, address } = self;
        let told = match self.is_utf8() {
            true if utf8 => without_unitext(address).map_or(Cow::from(&**address), |address| address.to_string().into()),
            true => unitext(address, |char| !char.is_ascii()),
            false => match readable(address) {
                Some(text) if text.is_ascii() => text.into(),
                // Only the other type may have such an address. What is none stays as it is.
                Some(text) => match text.parse() {
                    Ok(address) => return told(&address, utf8),
                    Err(_) => Cow::from(&**address),
                },
                None => Cow::default(),
            },
        };
        format!("{kind}; {told}")
    }
}

/// The type of addresses beyond ASCII.
const UTF8: &str = "utf-8";

/// An address of this host's own knowledge, as a report names it.
pub fn told(address: &Address, utf8: bool) -> String {
    match address.is_ascii() {
        true => format!("rfc822; {address}"),
        false if utf8 => format!("{UTF8}; {address}"),
        false => {
            let is_special = |char| !matches!(char, '!'..='~') || matches!(char, '\\' | '+' | '=');
            format!("{UTF8}; {}", unitext(&address.to_string(), is_special))
        }
    }
}

/// Writes characters by their numbers.
///
/// ```abnf
/// EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"         ; RFC 6533 §3
/// ```
fn unitext(text: &str, is_special: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_special) {
        return text.into();
    }
    let written = |char: char| if is_special(char) { format!("\\x{{{:02X}}}", u32::from(char)) } else { char.into() };
    text.chars().map(written).collect()
}

/// The address that is written so. None: that is none.
fn without_unitext(text: &str) -> Option<Address> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((plain, special)) = rest.split_once('\\') {
        let (point, after) = special.strip_prefix("x{")?.split_once('}')?;
        let is_point = (2..=6).contains(&point.len()) && point.bytes().all(|byte| byte.is_ascii_hexdigit());
        let point = u32::from_str_radix(point, 16).ok().filter(|_| is_point)?;
        out.push_str(plain);
        out.push(char::from_u32(point)?);
        rest = after;
    }
    out.push_str(rest);
    out.parse().ok()
}

impl Notify {
    /// Who does not say gets told of failures, and of long delays.
    const UNSAID: Notify = Notify { success: false, failure: true, delay: true };

    /// ```abnf
    /// notify-esmtp-value = "NEVER" / 1#notify-list-element      ; RFC 3461 §4.1
    /// notify-list-element = "SUCCESS" / "FAILURE" / "DELAY"
    /// ```
    pub fn parse(text: &str) -> Result<Notify, BadParameter> {
        let mut notify = Notify::default();
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(notify);
        }
        for word in text.split(',') {
            match word {
                _ if word.eq_ignore_ascii_case("SUCCESS") => notify.success = true,
                _ if word.eq_ignore_ascii_case("FAILURE") => notify.failure = true,
                _ if word.eq_ignore_ascii_case("DELAY") => notify.delay = true,
                _ => return Err(BadParameter),
            }
        }
        Ok(notify)
    }
}

impl Return {
    /// FULL or HDRS.
    pub fn parse(text: &str) -> Result<Return, BadParameter> {
        match text {
            _ if text.eq_ignore_ascii_case("FULL") => Ok(Return::Full),
            _ if text.eq_ignore_ascii_case("HDRS") => Ok(Return::Headers),
            _ => Err(BadParameter),
        }
    }
}

impl MailDsn {
    /// Takes a parameter in, if it is one of these.
    pub fn take(&mut self, name: &str, value: Option<&str>) -> Result<bool, BadParameter> {
        match name {
            _ if name.eq_ignore_ascii_case("RET") => put(&mut self.ret, Return::parse(value.ok_or(BadParameter)?)?)?,
            _ if name.eq_ignore_ascii_case("ENVID") => put(&mut self.id, MailDsn::id(value.ok_or(BadParameter)?)?)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads an ENVID.
    pub fn id(text: &str) -> Result<Xtext, BadParameter> {
        if text.len() <= MOST_ID { Xtext::parse(text) } else { Err(BadParameter) }
    }

    /// Nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == MailDsn::default()
    }
}

impl RcptDsn {
    /// Takes a parameter in, if it is one of these.
    pub fn take(&mut self, name: &str, value: Option<&str>) -> Result<bool, BadParameter> {
        match name {
            _ if name.eq_ignore_ascii_case("NOTIFY") => put(&mut self.notify, Notify::parse(value.ok_or(BadParameter)?)?)?,
            _ if name.eq_ignore_ascii_case("ORCPT") => {
                put(&mut self.original, OriginalRecipient::parse(value.ok_or(BadParameter)?)?)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == RcptDsn::default()
    }

    /// The same, for hosts that know nothing of SMTPUTF8.
    pub fn to_ascii(&self) -> RcptDsn {
        let original = self.original.as_ref().map(|OriginalRecipient { kind, address }| OriginalRecipient {
            kind: kind.clone(),
            address: unitext(address, |char| !char.is_ascii()).into(),
        });
        RcptDsn { notify: self.notify, original }
    }

    /// What the sender is to be told, said or not.
    pub fn wishes(&self) -> Notify {
        self.notify.unwrap_or(Notify::UNSAID)
    }
}

fn put<T>(place: &mut Option<T>, value: T) -> Result<(), BadParameter> {
    if place.replace(value).is_some() { Err(BadParameter) } else { Ok(()) }
}

impl fmt::Display for Xtext {
    /// Encoded, as it came.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let mut said = false;
        for (_, word) in words.iter().filter(|(wanted, _)| *wanted) {
            write!(out, "{}{word}", if said { "," } else { "" })?;
            said = true;
        }
        if said { Ok(()) } else { out.write_str("NEVER") }
    }
}

impl fmt::Display for MailDsn {
    /// Each parameter after a blank.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ret {
            Some(Return::Full) => out.write_str(" RET=FULL")?,
            Some(Return::Headers) => out.write_str(" RET=HDRS")?,
            None => {}
        }
        self.id.as_ref().map_or(Ok(()), |id| write!(out, " ENVID={id}"))
    }
}

impl fmt::Display for RcptDsn {
    /// Each parameter after a blank.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notify.map_or(Ok(()), |notify| write!(out, " NOTIFY={notify}"))?;
        let original = self.original.as_ref();
        original.map_or(Ok(()), |OriginalRecipient { kind, address }| write!(out, " ORCPT={kind};{address}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All parameters of one command, and what is written again.
    fn mail(words: &[&str]) -> Result<String, BadParameter> {
        let mut dsn = MailDsn::default();
        for word in words {
            let (name, value) = word.split_once('=').map_or((*word, None), |(name, value)| (name, Some(value)));
            assert!(dsn.take(name, value)?, "{word}");
        }
        Ok(dsn.to_string())
    }

    fn rcpt(words: &[&str]) -> Result<String, BadParameter> {
        let mut dsn = RcptDsn::default();
        for word in words {
            let (name, value) = word.split_once('=').map_or((*word, None), |(name, value)| (name, Some(value)));
            assert!(dsn.take(name, value)?, "{word}");
        }
        Ok(dsn.to_string())
    }

    #[test]
    fn what_is_right_comes_back() {
        assert_eq!(mail(&["ret=hdrs", "envid=QQ+2B314159"]).unwrap(), " RET=HDRS ENVID=QQ+2B314159");
        assert_eq!(mail(&["RET=Full"]).unwrap(), " RET=FULL");
        assert_eq!(rcpt(&["NOTIFY=never"]).unwrap(), " NOTIFY=NEVER");
        assert_eq!(rcpt(&["notify=Delay,SUCCESS,failure,success"]).unwrap(), " NOTIFY=SUCCESS,FAILURE,DELAY");
        let original = "ORCPT=rfc822;Bob+2Bx@Example.ORG";
        assert_eq!(rcpt(&[original, "NOTIFY=SUCCESS"]).unwrap(), format!(" NOTIFY=SUCCESS {original}"));
        assert_eq!((mail(&[]).unwrap(), rcpt(&[]).unwrap()), (String::new(), String::new()));
        assert!(mail(&[&format!("ENVID={}", "x".repeat(100))]).is_ok());
        assert!(rcpt(&[&format!("ORCPT=x400;{}", "x".repeat(495))]).is_ok());
        assert_eq!(MailDsn::default().take("SIZE", Some("1")), Ok(false));
        assert_eq!(RcptDsn::default().take("RET", Some("FULL")), Ok(false));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let long_id = format!("ENVID={}", "x".repeat(101));
        for words in [
            &["RET"] as &[&str],
            &["RET=SOME"],
            &["RET=FULL", "RET=FULL"],
            &["ENVID"],
            &["ENVID="],
            &["ENVID=a+2"],
            &["ENVID=a+2b"],
            &["ENVID=a+0A"],
            &["ENVID=a+FF"],
            &["ENVID=a", "envid=a"],
            &["ENVID=\u{e4}"],
            &[&long_id],
        ] {
            assert_eq!(mail(words), Err(BadParameter), "{words:?}");
        }
        let long_original = format!("ORCPT=rfc822;{}", "x".repeat(494));
        for words in [
            &["NOTIFY"] as &[&str],
            &["NOTIFY="],
            &["NOTIFY=NEVER,SUCCESS"],
            &["NOTIFY=SUCCESS,"],
            &["NOTIFY=SUCCESS,,DELAY"],
            &["NOTIFY=ALWAYS"],
            &["NOTIFY=NEVER", "NOTIFY=NEVER"],
            &["ORCPT=bob@example.org"],
            &["ORCPT=;bob@example.org"],
            &["ORCPT=rfc822;"],
            &["ORCPT=rfc 822;bob"],
            &["ORCPT=rfc822;bob+0D+0A.x"],
            &["ORCPT=rfc822;b=b"],
            &["ORCPT=rfc822;b+E4@c.example"],
            &["ORCPT=rfc822;b+C2+85@c.example"],
            &[&long_original],
        ] {
            assert_eq!(rcpt(words), Err(BadParameter), "{words:?}");
        }
    }

    #[test]
    fn xtext_stands_for_text() {
        let text = "a b+c=d~!";
        let encoded = Xtext::encode(text).unwrap();
        assert_eq!((encoded.to_string().as_str(), encoded.decode().as_str()), ("a+20b+2Bc+3Dd~!", text));
        assert!(Xtext::encode("").is_err() && Xtext::encode("\u{e4}").is_err() && Xtext::encode("a\n").is_err());
        let mut dsn = RcptDsn::default();
        dsn.take("ORCPT", Some("rfc822;a+2Bb@c.example")).unwrap();
        assert_eq!(dsn.original.unwrap().told(true), "rfc822; a+b@c.example");
    }

    #[test]
    fn addresses_beyond_ascii_have_three_forms() {
        let original = |text: &str| {
            let mut dsn = RcptDsn::default();
            dsn.take("ORCPT", Some(text)).unwrap();
            let ascii = dsn.to_ascii();
            assert!(ascii.to_string().is_ascii());
            let (told, ascii_told) = (dsn.original.unwrap().told(true), ascii.original.as_ref().unwrap().told(false));
            (ascii.to_string().split_once('=').unwrap().1.to_owned(), told, ascii_told)
        };
        let (unicode, ascii) =
            ("utf-8; j\u{f6}+\u{1f600}@b\u{fc}cher.example", r"utf-8; j\x{F6}\x{2B}\x{1F600}@b\x{FC}cher.example");
        for text in ["utf-8;j\u{f6}\\x{2B}\u{1f600}@b\u{fc}cher.example", r"UTF-8;j\x{F6}\x{2B}\x{1f600}@b\x{fc}cher.example"] {
            let (written, told, ascii_told) = original(text);
            assert_eq!(
                (written.to_lowercase(), told.to_lowercase()),
                (ascii.replace(' ', "").to_lowercase(), unicode.to_owned())
            );
            assert_eq!(ascii_told.to_lowercase(), ascii.to_lowercase());
        }
        assert_eq!(told(&"j\u{f6}+\u{1f600}@b\u{fc}cher.example".parse().unwrap(), false), ascii);
        assert_eq!(told(&"\u{f6}@b".parse().unwrap(), true), "utf-8; \u{f6}@b");
        assert_eq!(told(&"\"a \u{f6}\\\"\"@b".parse().unwrap(), false), r#"utf-8; "a\x{20}\x{F6}\x{5C}""@b"#);
        assert_eq!(told(&"a+b@c".parse().unwrap(), false), "rfc822; a+b@c");
        // What is no address keeps its form, and no line begins where a number says so.
        for text in [r"utf-8;a\x{0D}\x{0A}Bcc:b@c", r"utf-8;a\b@c", r"utf-8;a\x{D800}@c", r"utf-8;a\x{110000}@c", "utf-8;a+2Bb"] {
            assert_eq!(original(text).1, text.replace(';', "; "));
        }
        // Their bytes in the type that is for ASCII: passed on so, told by the right one.
        let (written, told, ascii_told) = original("rfc822;j+C3+B6+2Bx@c.example");
        assert_eq!(written, "rfc822;j+C3+B6+2Bx@c.example");
        assert_eq!((&*told, &*ascii_told), ("utf-8; j\u{f6}+x@c.example", r"utf-8; j\x{F6}\x{2B}x@c.example"));
        assert_eq!(original("rfc822;j+C3+B6+20x").1, "rfc822; j+C3+B6+20x");
        for text in ["utf-8;", "utf-8;\u{f6} @b", "utf-8;a\u{85}@b", "rfc822;\u{f6}@b"] {
            assert_eq!(RcptDsn::default().take("ORCPT", Some(text)), Err(BadParameter), "{text}");
        }
    }

    #[test]
    fn who_says_nothing_hears_of_failures() {
        assert_eq!(RcptDsn::default().wishes(), Notify { success: false, failure: true, delay: true });
        let never = RcptDsn { notify: Some(Notify::parse("NEVER").unwrap()), original: None };
        assert_eq!(never.wishes(), Notify::default());
    }
}
