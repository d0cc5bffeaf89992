//! The DKIM-Signature field (RFC 6376 §3.5), and the bytes that it signs (§3.7). Pure.

use super::canon::{self, Canon};
use super::fields::Header;
use crate::mail::Domain;
use crate::trust::tags::Tags;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// How it is signed (RFC 8301, RFC 8463). SHA-1 does not count any more.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with SHA-256.
    Rsa,
    /// Ed25519 with SHA-256.
    Ed25519,
}

impl Algorithm {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa-sha256",
            Algorithm::Ed25519 => "ed25519-sha256",
        }
    }
}

/// What a field says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub algorithm: Algorithm,
    pub signature: Vec<u8>,
    pub body_hash: Vec<u8>,
    pub header: Canon,
    pub body: Canon,
    /// In A-labels and lower case, as the next.
    pub domain: String,
    pub selector: String,
    /// Names of the fields that are signed, in lower case.
    pub fields: Vec<String>,
    pub length: Option<u64>,
    /// The domain of `i=`.
    pub identity: String,
    /// Seconds since the epoch.
    pub created: Option<u64>,
    pub expires: Option<u64>,
}

impl Signature {
    /// Reads the value of a field. An error says what is wrong.
    pub(super) fn parse(value: &[u8]) -> Result<Signature, &'static str> {
        let tags = Tags::parse(value).ok_or("not a list of tags")?;
        if tags.text("v") != Some("1") {
            return Err("another version");
        }
        Signature::of(&tags, tags.text("i"))
    }

    /// Of these tags, for this identity, if not for the domain.
    pub(super) fn of(tags: &Tags<'_>, identity: Option<&str>) -> Result<Signature, &'static str> {
        let mut signature = Signature::bare(tags)?;
        let bytes = |name| tags.get(name).and_then(base64).filter(|bytes| !bytes.is_empty());
        let (header, body) = match tags.text("c") {
            None => (Some(Canon::Simple), Some(Canon::Simple)),
            Some(text) => {
                let (header, body) = text.split_once('/').unwrap_or((text, "simple"));
                (Canon::named(header), Canon::named(body))
            }
        };
        if let Some(identity) = identity {
            signature.identity = identity.rsplit_once('@').and_then(|(_, domain)| name(domain)).ok_or("bad identity")?;
        }
        if !is_within(&signature.identity, &signature.domain) {
            return Err("identity outside of the domain");
        }
        if tags.list("q").is_some_and(|methods| !methods.contains(&"dns/txt")) {
            return Err("unknown way to a key");
        }
        let fields: Vec<String> = tags.list("h").unwrap_or_default().iter().map(|name| name.to_ascii_lowercase()).collect();
        if !fields.iter().any(|name| name == "from") {
            return Err("From not signed");
        }
        let number = |name| tags.text(name).map(|text| number(text).ok_or("bad number")).transpose();
        (signature.length, signature.created, signature.expires) = (number("l")?, number("t")?, number("x")?);
        if signature.created.zip(signature.expires).is_some_and(|(created, expires)| expires <= created) {
            return Err("expired before it was made");
        }
        signature.body_hash = bytes("bh").ok_or("no body hash")?;
        signature.header = header.ok_or("unknown canonical form")?;
        signature.body = body.ok_or("unknown canonical form")?;
        signature.fields = fields;
        Ok(signature)
    }

    /// Who signs and how, and the signature; nothing of what it signs.
    pub(super) fn bare(tags: &Tags<'_>) -> Result<Signature, &'static str> {
        let algorithm = match tags.text("a").ok_or("no algorithm")? {
            "rsa-sha256" => Algorithm::Rsa,
            "ed25519-sha256" => Algorithm::Ed25519,
            "rsa-sha1" => return Err("SHA-1"),
            _ => return Err("unknown algorithm"),
        };
        let domain = tags.text("d").and_then(name).filter(|domain| domain.contains('.')).ok_or("bad domain")?;
        let selector = tags.text("s").and_then(name).ok_or("bad selector")?;
        let signature = tags.get("b").and_then(base64).filter(|bytes| !bytes.is_empty()).ok_or("no signature")?;
        Ok(Signature { signature, ..Signature::by(algorithm, &domain, &selector) })
    }

    /// One to be made, relaxed/relaxed.
    pub(super) fn by(algorithm: Algorithm, domain: &str, selector: &str) -> Signature {
        Signature {
            algorithm,
            signature: Vec::new(),
            body_hash: Vec::new(),
            header: Canon::Relaxed,
            body: Canon::Relaxed,
            domain: domain.to_owned(),
            selector: selector.to_owned(),
            fields: Vec::new(),
            length: None,
            identity: domain.to_owned(),
            created: None,
            expires: None,
        }
    }

    /// What is signed: the fields that are named, each from the bottom up as often as it is named, and this one, the field of
    /// that number, without its signature (§3.7, §5.4.2).
    pub(super) fn signed(&self, header: &Header<'_>, own: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for number in header.choose(&self.fields, Some(own)) {
            header.put(number, self.header, &mut out);
            out.extend_from_slice(b"\r\n");
        }
        if let Some((field, colon)) = header.field(own) {
            canon::field(self.header, &without_signature(field, colon), colon, &mut out);
        }
        out
    }
}

/// A signature field in which `b=` is empty.
pub(super) fn without_signature(field: &[u8], colon: usize) -> Vec<u8> {
    let (name, value) = field.split_at_checked(colon + 1).unwrap_or((field, b""));
    let mut out = name.to_vec();
    for (number, spec) in value.split(|&byte| byte == b';').enumerate() {
        if number > 0 {
            out.push(b';');
        }
        let equals = spec.iter().position(|&byte| byte == b'=').unwrap_or(spec.len());
        let is_signature = spec.get(..equals).is_some_and(|name| name.trim_ascii() == b"b");
        out.extend_from_slice(if is_signature { spec.get(..=equals).unwrap_or(spec) } else { spec });
    }
    out
}

/// A domain name in A-labels and lower case.
fn name(text: &str) -> Option<String> {
    match Domain::parse(text) {
        Ok(domain @ Domain::Name(_)) => Some(domain.key()),
        _ => None,
    }
}

/// Is it that domain or one in it?
pub(super) fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Base64 in which blanks and line ends may stand anywhere.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT).decode(text).ok()
}

fn number(text: &str) -> Option<u64> {
    let is_number = (1..=76).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    // What is too long for us is further away than anything.
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "v=1; a=rsa-sha256; d=Example.NET; s=brisbane; h=From:To : subject; bh=aGk=; b=a G\r\n\tk=";

    #[test]
    fn what_a_field_says() {
        let found = Signature::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((found.domain.as_str(), found.selector.as_str()), ("example.net", "brisbane"));
        assert_eq!((found.signature.as_slice(), found.body_hash.as_slice()), (&b"hi"[..], &b"hi"[..]));
        assert_eq!((found.header, found.body, found.length), (Canon::Simple, Canon::Simple, None));
        assert_eq!(found.fields, ["from", "to", "subject"]);
        let more = "; c=relaxed; i=joe@eng.example.net; l=10; t=5; x=6; q=foo:dns/txt; z=x|y";
        let found = Signature::parse(format!("{GOOD}{more}").as_bytes()).unwrap();
        assert_eq!((found.header, found.body, found.length), (Canon::Relaxed, Canon::Simple, Some(10)));
        assert_eq!((found.identity.as_str(), found.created, found.expires), ("eng.example.net", Some(5), Some(6)));
    }

    #[test]
    fn fields_that_are_wrong() {
        for (from, to, expected) in [
            ("v=1; ", "", "another version"),
            ("v=1", "v=2", "another version"),
            ("a=rsa-sha256; ", "", "no algorithm"),
            ("rsa-sha256", "rsa-sha1", "SHA-1"),
            ("rsa-sha256", "dsa-sha256", "unknown algorithm"),
            ("d=Example.NET; ", "", "bad domain"),
            ("d=Example.NET", "d=net", "bad domain"),
            ("d=Example.NET", "d=a..b", "bad domain"),
            ("s=brisbane; ", "", "bad selector"),
            ("s=brisbane", "s=a b", "bad selector"),
            ("h=From:To : subject", "h=To", "From not signed"),
            ("h=From:To : subject; ", "", "From not signed"),
            ("bh=aGk=", "bh=", "no body hash"),
            ("bh=aGk=", "bh=a*k=", "no body hash"),
            ("b=a G\r\n\tk=", "b=", "no signature"),
            ("v=1", "v=1; v=1", "not a list of tags"),
            ("v=1", "v=1; c=odd", "unknown canonical form"),
            ("v=1", "v=1; c=simple/odd", "unknown canonical form"),
            ("v=1", "v=1; i=@example.org", "identity outside of the domain"),
            ("v=1", "v=1; i=@notexample.net", "identity outside of the domain"),
            ("v=1", "v=1; i=example.net", "bad identity"),
            ("v=1", "v=1; q=http", "unknown way to a key"),
            ("v=1", "v=1; l=-1", "bad number"),
            ("v=1", "v=1; t=x", "bad number"),
            ("v=1", "v=1; t=5; x=5", "expired before it was made"),
        ] {
            assert!(GOOD.contains(from));
            assert_eq!(Signature::parse(GOOD.replace(from, to).as_bytes()), Err(expected), "{from} {to}");
        }
    }

    #[test]
    fn a_signature_does_not_sign_itself() {
        let field = b"DKIM-Signature: v=1; b=abc\n d; bh=b=; b\n =x;";
        assert_eq!(without_signature(field, 14), b"DKIM-Signature: v=1; b=; bh=b=; b\n =;");
        assert_eq!(without_signature(b"X: b=", 1), b"X: b=");
    }
}
