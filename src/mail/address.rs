//! Addresses (RFC 5321 §4.1.2): parsed once, then trusted.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The domain part of an address.
#[derive(Clone, Debug, Eq, PartialEq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// A host or domain name, kept as written; compared without regard to case through [`Domain::key`].
    Name(String),
    /// An address literal: `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

/// A mailbox address: `local-part@domain`. Made only by a parser, so it holds no control character and no line break.
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
    /// Bytes beyond ASCII.
    NonAscii,
}

impl Domain {
    /// The form in which two spellings of one domain are equal.
    pub fn key(&self) -> String {
        self.to_string().to_ascii_lowercase()
    }

    /// domain / address-literal of RFC 5321 §4.1.2.
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
        if !text.is_ascii() {
            return Err(AddressError::NonAscii);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
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

fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_dot_string(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

impl Address {
    /// An address of these parts, for names that come from our own configuration.
    pub fn new(local: &str, domain: Domain) -> Result<Address, AddressError> {
        if local.is_empty() || local.len() > 64 || !local.bytes().all(|b| (0x20..0x7f).contains(&b)) {
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

    /// The start of `text` up to the end of the address, and the rest.
    ///
    /// ```abnf
    /// Mailbox = Local-part "@" ( Domain / address-literal )   ; RFC 5321 §4.1.2
    /// Local-part = Dot-string / Quoted-string
    /// ```
    pub fn parse_prefix(text: &str) -> Result<(Address, &str), AddressError> {
        if !text.is_ascii() {
            return Err(AddressError::NonAscii);
        }
        let (local, rest) = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = text.bytes().position(|b| !is_atext(b) && b != b'.').unwrap_or(text.len());
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
            rest.bytes().position(|b| !(b.is_ascii_alphanumeric() || b"-_.".contains(&b))).unwrap_or(rest.len())
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
            "ä@c",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
        assert_eq!(format!("{}@b", "a".repeat(65)).parse::<Address>(), Err(AddressError::TooLong));
    }
}
