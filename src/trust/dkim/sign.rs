//! Signing (RFC 6376 §5). Pure.

use super::canon::{BodyHash, Canon};
use super::fields::Header;
use super::key::{Key, KeyError};
use super::signature::{Algorithm, Signature};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::fmt::{self, Write};

/// Fields that are signed as often as they are there, and once more: none can be added on the way (§8.15).
const SEALED: [&str; 10] = [
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
];

/// Fields that are signed as often as they are there. Lists add some of them.
const SIGNED: [&str; 8] =
    ["sender", "in-reply-to", "references", "list-unsubscribe", "list-unsubscribe-post", "list-id", "list-post", "list-help"];

/// Characters of a signature in one line.
const LINE: usize = 72;

/// A private key.
pub struct SigningKey(Pair);

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey({})", self.algorithm().name())
    }
}

impl SigningKey {
    /// Reads a key in PEM: PKCS#8, or of RSA PKCS#1.
    pub fn from_pem(text: &[u8]) -> Result<SigningKey, String> {
        let rsa = |pair| Ok(SigningKey(Pair::Rsa(Box::new(pair))));
        match PrivateKeyDer::from_pem_slice(text).map_err(|error| error.to_string())? {
            PrivateKeyDer::Pkcs1(der) => {
                RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|error| error.to_string()).and_then(rsa)
            }
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
                    return Ok(SigningKey(Pair::Ed25519(Box::new(pair))));
                }
                RsaKeyPair::from_pkcs8(der).map_err(|error| error.to_string()).and_then(rsa)
            }
            _ => Err("neither RSA nor Ed25519".into()),
        }
    }

    /// What it signs by.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Pair::Rsa(_) => Algorithm::Rsa,
            Pair::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// The record that publishes its other half.
    pub fn record(&self) -> String {
        match &self.0 {
            Pair::Ed25519(pair) => format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(pair.public_key())),
            Pair::Rsa(pair) => {
                format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(subject_public_key_info(pair.public_key().as_ref())))
            }
        }
    }

    /// Is this record that of its other half, whatever else it says? An error says why not.
    pub fn is_published_as(&self, text: &[u8]) -> Result<(), &'static str> {
        match (Key::parse(text), Key::parse(self.record().as_bytes())) {
            (Ok(published), Ok(own)) if published.is_same(&own) => Ok(()),
            (Ok(_), _) => Err("it is another key"),
            (Err(KeyError::Revoked), _) => Err("the key is taken back"),
            (Err(KeyError::Weak), _) => Err("the key is too weak"),
            (Err(KeyError::Unusable(why)), _) => Err(why),
        }
    }

    /// Signs, and ends a field with that.
    pub(super) fn put(&self, signed: &[u8], field: &mut String) -> Result<(), String> {
        let encoded = STANDARD.encode(self.sign(signed)?);
        let lines: Vec<&str> = encoded.as_bytes().chunks(LINE).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        // Writing to a String does not fail.
        let _ = writeln!(field, "{}", lines.join("\n\t"));
        Ok(())
    }

    pub(super) fn sign(&self, signed: &[u8]) -> Result<Vec<u8>, String> {
        match &self.0 {
            Pair::Ed25519(pair) => Ok(pair.sign(digest::digest(&digest::SHA256, signed).as_ref()).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let signing = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut signature);
                signing.map(|()| signature).map_err(|_| "signing failed".into())
            }
        }
    }
}

/// An RSAPublicKey with the name of its algorithm (RFC 3279 §2.3.1), as keys are published.
fn subject_public_key_info(key: &[u8]) -> Vec<u8> {
    const RSA_ENCRYPTION: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let bits = element(0x03, &[&[0], key].concat());
    element(0x30, &[RSA_ENCRYPTION, &bits].concat())
}

/// A value in DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = length.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<u8>>();
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 | u8::try_from(significant.len()).unwrap_or(0));
    }
    out.extend(significant);
    out.extend_from_slice(content);
    out
}

/// Hashes the body of a message that is to be signed, in pieces. Lines end in LF.
#[derive(Clone, Debug)]
pub struct Body(BodyHash);

impl Default for Body {
    fn default() -> Body {
        Body(BodyHash::new(Canon::Relaxed, None))
    }
}

impl Body {
    /// The next piece.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// The hash of all.
    pub fn finish(self) -> Vec<u8> {
        self.0.finish().digest
    }
}

/// The DKIM-Signature field of a message, relaxed/relaxed, with its LF line ends. `header` is all before the empty line, `now`
/// in seconds since the epoch.
pub fn sign(key: &SigningKey, domain: &str, selector: &str, header: &[u8], body: &[u8], now: u64) -> Result<String, String> {
    signed_field("DKIM-Signature: v=1", &[], (key, domain, selector), header, body, now)
}

/// A field that begins so and signs as [`sign`] does, and these fields, too, as often as they are there.
pub(super) fn signed_field(
    start: &str,
    more: &[&str],
    (key, domain, selector): (&SigningKey, &str, &str),
    header: &[u8],
    body: &[u8],
    now: u64,
) -> Result<String, String> {
    let fields = Header::new(header);
    let mut names: Vec<&str> = Vec::new();
    for name in SEALED {
        names.extend(std::iter::repeat_n(name, fields.named(name).len() + 1));
    }
    for name in SIGNED.iter().chain(more) {
        names.extend(std::iter::repeat_n(*name, fields.named(name).len()));
    }
    let mut field = format!(
        "{start}; a={}; c=relaxed/relaxed; d={domain};\n\ts={selector}; t={now}; bh={};\n\th=",
        key.algorithm().name(),
        STANDARD.encode(body),
    );
    fold(&names.join(":"), ':', &mut field);
    field.push_str(";\n\tb=");
    // A field of its own at the foot of the header: what is read there is what a verifier reads.
    let mut whole = header.strip_suffix(b"\n").unwrap_or(header).to_vec();
    if !whole.is_empty() {
        whole.push(b'\n');
    }
    whole.extend_from_slice(field.as_bytes());
    let whole = Header::new(&whole);
    let own = whole.last().ok_or("no header")?;
    let fields = names.iter().map(|name| (*name).to_owned()).collect();
    let signature = Signature { fields, ..Signature::by(key.algorithm(), domain, selector) };
    key.put(&signature.signed(&whole, own), &mut field)?;
    Ok(field)
}

/// Appends a list, with line ends behind some of its marks.
fn fold(list: &str, mark: char, out: &mut String) {
    let mut width = 4;
    for item in list.split_inclusive(mark) {
        if width + item.len() > LINE {
            out.push_str("\n\t");
            width = 0;
        }
        out.push_str(item);
        width += item.len();
    }
}
