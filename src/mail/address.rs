//! Addresses (RFC 5321 §4.1.2), in any language (RFC 6531 §3.3): parsed once, then trusted.
//!
//! A domain beyond ASCII has two spellings: with U-labels, as people write it, and with A-labels, as name servers know it (RFC
//! 5890 §2.3.2.1). Each is kept as it came, and both are one domain. A local part has one spelling, which only its host
//! understands.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The domain part of an address.
#[derive(Clone, Debug, Eq, PartialEq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// A host or domain name, kept as written; compared through [`Domain::key`], without regard to case and spelling.
    Name(String),
    /// An address literal: `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

/// A mailbox address: `local-part@domain`. Made only by a parser, so it holds no control character and no line break, and its
/// domain can be looked up.
#[derive(Clone, Debug, Eq, PartialEq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: String,
    domain: Domain,
}

/// The sender of an envelope; `None` is the null sender `<>`.
#[derive(Clone, Debug, Eq, PartialEq, Hash, Default)]
pub struct ReversePath(pub Option<Address>);

/// Why something is not an address.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum AddressError {
    /// The grammar is broken.
    Syntax,
    /// A part is longer than RFC 5321 §4.5.3.1 allows.
    TooLong,
}

impl Domain {
    /// The form in which two spellings of one domain are equal: A-labels in lower case.
    pub fn key(&self) -> String {
        self.to_ascii().to_string().to_ascii_lowercase()
    }

    /// Has it no U-label?
    pub fn is_ascii(&self) -> bool {
        !matches!(self, Domain::Name(name) if !name.is_ascii())
    }

    /// With A-labels.
    pub fn to_ascii(&self) -> Domain {
        match self {
            Domain::Name(name) if !name.is_ascii() => Domain::Name(a_labels(name).unwrap_or_else(|| name.clone())),
            other => other.clone(),
        }
    }

    /// domain / address-literal of RFC 5321 §4.1.2, where a sub-domain may be a U-label (RFC 6531 §3.3).
    pub fn parse(text: &str) -> Result<Domain, AddressError> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let (v6, plain) = match inner.get(..5) {
                Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => (true, inner.get(5..).unwrap_or_default()),
                _ => (false, inner),
            };
            return match plain.parse() {
                Ok(IpAddr::V4(ip)) if !v6 => Ok(Domain::Literal(ip.into())),
                Ok(IpAddr::V6(ip)) if v6 => Ok(Domain::Literal(ip.into())),
                _ => Err(AddressError::Syntax),
            };
        }
        if text.len() > 255 {
            return Err(AddressError::TooLong);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if !name.is_ascii() {
            return a_labels(name).map(|_| Domain::Name(name.to_owned())).ok_or(AddressError::Syntax);
        }
        let label_ok = |label: &str| {
            let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
            let bytes = label.as_bytes();
            bytes.len() <= 63
                && edge(bytes.first())
                && edge(bytes.last())
                && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if name.split('.').all(label_ok) { Ok(Domain::Name(name.to_owned())) } else { Err(AddressError::Syntax) }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Name(name) => out.write_str(name),
            Domain::Literal(IpAddr::V4(ip)) => write!(out, "[{ip}]"),
            Domain::Literal(IpAddr::V6(ip)) => write!(out, "[IPv6:{ip}]"),
        }
    }
}

/// A name with U-labels in A-labels. Not every text that can be mapped to such a name is one: the label must be, but for the
/// case of its letters, what its A-label stands for (RFC 5891 §4.2.1, §5.4). So no other character becomes a dot or a letter
/// of ASCII here, and none is left out.
fn a_labels(name: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii_strict(name).ok()?;
    let (unicode, valid) = idna::domain_to_unicode(&ascii);
    let is_same = |(own, label): (&str, &str)| own.is_ascii() || own.chars().flat_map(char::to_lowercase).eq(label.chars());
    (valid.is_ok() && name.split('.').zip(unicode.split('.')).all(is_same)).then_some(ascii)
}

/// UTF8-non-ascii of RFC 6532 §3.1, but for controls and what ends lines elsewhere, since addresses stand in logs and headers,
/// and for the character that stands for bytes which are no UTF-8.
pub(super) fn is_beyond_ascii(char: char) -> bool {
    !char.is_ascii() && !char.is_control() && !matches!(char, '\u{2028}' | '\u{2029}' | '\u{fffd}')
}

fn is_atext(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(char) || is_beyond_ascii(char)
}

fn is_dot_string(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

impl Address {
    /// An address of these parts, for names that come from our own configuration.
    pub fn new(local: &str, domain: Domain) -> Result<Address, AddressError> {
        if local.is_empty() || local.len() > 64 || !local.chars().all(|char| matches!(char, ' '..='~') || is_beyond_ascii(char)) {
            return Err(AddressError::Syntax);
        }
        Ok(Address { local: local.to_owned(), domain })
    }

    /// The local part, without quotes.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Can a host take it that knows nothing of SMTPUTF8?
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.is_ascii()
    }

    /// The same mailbox, as such a host can take it; there is none for a local part beyond ASCII.
    pub fn to_ascii(&self) -> Option<Address> {
        self.local.is_ascii().then(|| Address { local: self.local.clone(), domain: self.domain.to_ascii() })
    }

    /// The form in which two addresses are equal that lead to the same mailbox, as far as is known of their hosts: most do not
    /// care for the case of letters.
    pub fn key(&self) -> String {
        Address { local: self.local.clone(), domain: self.domain.to_ascii() }.to_string().to_ascii_lowercase()
    }

    /// The start of `text` up to the end of the address, and the rest.
    ///
    /// ```abnf
    /// Mailbox = Local-part "@" ( Domain / address-literal )   ; RFC 5321 §4.1.2
    /// Local-part = Dot-string / Quoted-string
    /// sub-domain =/ U-label                                   ; RFC 6531 §3.3
    /// atext =/ UTF8-non-ascii
    /// qtextSMTP =/ UTF8-non-ascii
    /// ```
    pub fn parse_prefix(text: &str) -> Result<(Address, &str), AddressError> {
        let (local, rest) = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = text.find(|char| !is_atext(char) && char != '.').unwrap_or(text.len());
                let (local, rest) = text.split_at(end);
                if !is_dot_string(local) {
                    return Err(AddressError::Syntax);
                }
                (local.to_owned(), rest)
            }
        };
        if local.len() > 64 {
            return Err(AddressError::TooLong);
        }
        let rest = rest.strip_prefix('@').ok_or(AddressError::Syntax)?;
        let end = if rest.starts_with('[') {
            rest.find(']').ok_or(AddressError::Syntax)? + 1
        } else {
            let is_of_name = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char) || !char.is_ascii();
            rest.find(|char| !is_of_name(char)).unwrap_or(rest.len())
        };
        let (domain, rest) = rest.split_at(end);
        Ok((Address { local, domain: Domain::parse(domain)? }, rest))
    }
}

/// The content of a Quoted-string whose opening quote is already read, and what follows the closing one.
fn unquote(text: &str) -> Result<(String, &str), AddressError> {
    let mut local = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' if local.is_empty() => return Err(AddressError::Syntax),
            '"' => return Ok((local, text.get(at + 1..).unwrap_or_default())),
            '\\' => match chars.next() {
                Some((_, next)) if (' '..='~').contains(&next) => local.push(next),
                _ => return Err(AddressError::Syntax),
            },
            ' '..='~' => local.push(char),
            _ if is_beyond_ascii(char) => local.push(char),
            _ => return Err(AddressError::Syntax),
        }
    }
    Err(AddressError::Syntax)
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Address, AddressError> {
        match Address::parse_prefix(text)? {
            (address, "") => Ok(address),
            _ => Err(AddressError::Syntax),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            out.write_str(&self.local)?;
        } else {
            out.write_str("\"")?;
            for char in self.local.chars() {
                if matches!(char, '"' | '\\') {
                    out.write_str("\\")?;
                }
                write!(out, "{char}")?;
            }
            out.write_str("\"")?;
        }
        write!(out, "@{}", self.domain)
    }
}

impl ReversePath {
    /// Can a host take it that knows nothing of SMTPUTF8?
    pub fn is_ascii(&self) -> bool {
        self.0.as_ref().is_none_or(Address::is_ascii)
    }

    /// The same path, as such a host can take it.
    pub fn to_ascii(&self) -> Option<ReversePath> {
        match &self.0 {
            None => Some(ReversePath(None)),
            Some(address) => address.to_ascii().map(|address| ReversePath(Some(address))),
        }
    }
}

impl fmt::Display for ReversePath {
    /// As it stands between `<` and `>`: empty for the null sender.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |address| address.fmt(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_address_comes_back_as_written() {
        for text in [
            "a@b",
            "alice@example.org",
            "a.b+c@x-y.example",
            "\"a b\"@c.example",
            "\"a\\\"\\\\b\"@c",
            "u@[192.0.2.1]",
            "u@[IPv6:2001:db8::1]",
            "a@b_c.example",
            "j\u{f6}rg@b",
            "\u{7528}\u{6237}.x@\u{4f8b}\u{5b50}.example",
            "\"\u{f6} \u{f6}\"@B\u{fc}cher.example",
            "a@xn--bcher-kva.b\u{fc}cher.example",
            "a@stra\u{df}e.example",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("\"abc\"@d".parse::<Address>().unwrap().to_string(), "abc@d");
        assert_eq!("a@b.".parse::<Address>().unwrap().to_string(), "a@b");
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "a",
            "@b",
            "a@",
            "a..b@c",
            ".a@c",
            "a.@c",
            "a@b..c",
            "a@-b",
            "a@b@c",
            "a b@c",
            "\"a@c",
            "\"\"@c",
            "a@[1.2.3]",
            "a@[::1]",
            "a@[IPv6:1.2.3.4]",
            "a\r@c",
            "\"a\r\"@c",
            "a@b c",
            "\"a\0\"@c",
            "a\u{85}@c",
            "a\u{2028}b@c",
            "a\u{fffd}b@c",
            "\"\\\u{f6}\"@c",
            // No label of a domain: blanks, marks, dots and letters that stand for others.
            "a@\u{a0}c",
            "a@b\u{fc}cher\u{3002}example",
            "a@\u{ff43}",
            "a@\u{2460}.example",
            "a@b\u{ad}c.example",
            "a@u\u{308}.example",
            "a@\u{200b}.example",
            "a@b\u{fc}_c.example",
            "a@-\u{fc}.example",
            "a@\u{fc}..example",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        assert_eq!(format!("{}@b", "a".repeat(65)).parse::<Address>(), Err(AddressError::TooLong));
        assert_eq!(format!("{}@b", "\u{f6}".repeat(33)).parse::<Address>(), Err(AddressError::TooLong));
        assert!(format!("a@{}.example", "\u{fc}".repeat(60)).parse::<Address>().is_err());
    }

    #[test]
    fn both_spellings_are_one_domain() {
        let key = |text: &str| Domain::parse(text).unwrap().key();
        for (one, other) in [
            ("b\u{fc}cher.example", "XN--bcher-KVA.example"),
            ("B\u{dc}CHER.Example.", "b\u{fc}cher.example"),
            ("\u{4f8b}\u{5b50}.\u{6d4b}\u{8bd5}", "xn--fsqu00a.xn--0zwm56d"),
            ("\u{3a3}\u{391}.example", "\u{3c3}\u{3b1}.example"),
        ] {
            assert_eq!(key(one), key(other));
            assert!(key(one).is_ascii());
        }
        assert_ne!(key("stra\u{df}e.example"), key("strasse.example"));
    }

    #[test]
    fn a_domain_can_be_told_in_ascii_and_a_local_part_can_not() {
        let ascii = |text: &str| text.parse::<Address>().unwrap().to_ascii().map(|address| address.to_string());
        assert_eq!(ascii("A.b@B\u{fc}cher.example").as_deref(), Some("A.b@xn--bcher-kva.example"));
        assert_eq!(ascii("a@b").as_deref(), Some("a@b"));
        assert_eq!(ascii("\u{f6}@b"), None);
        let key = |text: &str| text.parse::<Address>().unwrap().key();
        assert_eq!(key("\"A b\"@B\u{dc}cher.example"), "\"a b\"@xn--bcher-kva.example");
        assert_ne!(key("\u{d6}@b"), key("\u{f6}@b"));
    }
}
