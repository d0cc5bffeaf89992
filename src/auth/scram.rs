//! The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677). Pure: messages in, messages out.
//!
//! ```text
//! C: n,,n=user,r=NONCE                 who, and how bound to the channel
//! S: r=NONCE+OURS,s=salt,i=4096
//! C: c=biws,r=NONCE+OURS,p=proof       proof that the client has the key
//! S: v=signature                       proof that we have it
//! C: (nothing)
//! ```

#[cfg(test)]
mod tests;

use super::sasl::{Channel, SaslError};
use crate::host::scram::{HASH, ScramKeys, prepare};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
#[cfg(test)]
pub(super) use tests::last_of_client;

/// Bytes of a nonce of the client.
const MOST_NONCE: usize = 256;
/// Bytes of a name.
const MOST_NAME: usize = 255;

/// The client's first message.
#[derive(Debug)]
pub(super) struct First {
    /// Prepared by SASLprep.
    pub name: String,
    bare: String,
    nonce: String,
    /// What `c=` must be later: the GS2 header and what binds to the channel.
    binding: Vec<u8>,
}

/// Waits for the client's proof.
#[derive(Debug)]
pub(super) struct Waiting {
    pub name: String,
    keys: ScramKeys,
    nonce: String,
    binding: Vec<u8>,
    /// Both first messages.
    so_far: String,
}

/// What the client's proof is worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub right: bool,
    /// To be sent if it is: our own proof.
    pub answer: String,
}

impl First {
    /// ```abnf
    /// client-first-message = gs2-header [reserved-mext ","] username "," nonce ["," extensions]
    /// gs2-header           = ("p=" cb-name / "n" / "y") "," [authzid] ","          ; RFC 5802 §7
    /// ```
    pub fn read(message: &[u8], plus: bool, channel: &(impl Channel + ?Sized)) -> Result<First, SaslError> {
        let text = std::str::from_utf8(message).map_err(|_| SaslError::Malformed)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(acting_for), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SaslError::Malformed);
        };
        let data = match (flag, flag.strip_prefix("p=")) {
            ("n", _) if !plus => Vec::new(),
            // The client believes that we can't: somebody has hidden our offer from it (RFC 5802 §6).
            ("y", _) if !plus && channel.can_bind() => return Err(SaslError::Refused),
            ("y", _) if !plus => Vec::new(),
            (_, Some(kind)) if plus => channel.binding(kind).ok_or(SaslError::Refused)?,
            _ => return Err(SaslError::Malformed),
        };
        let mut attributes = bare.split(',');
        let name = value(attributes.next(), "n=").and_then(unescape)?;
        let nonce = value(attributes.next(), "r=")?;
        let printable = |byte: u8| matches!(byte, b'!'..=b'~');
        if nonce.is_empty() || nonce.len() > MOST_NONCE || !nonce.bytes().all(printable) {
            return Err(SaslError::Malformed);
        }
        match acting_for {
            // GNU SASL says the second for nobody.
            "" | "a=" => {}
            other if value(Some(other), "a=").and_then(unescape)?.eq_ignore_ascii_case(&name) => {}
            _ => return Err(SaslError::Refused),
        }
        let header = text.get(..text.len() - bare.len()).unwrap_or_default();
        let binding = [header.as_bytes(), &data].concat();
        Ok(First { name, nonce: nonce.to_owned(), bare: bare.to_owned(), binding })
    }

    /// What to say to it; `ours` goes on the client's nonce.
    pub fn answer(self, keys: ScramKeys, ours: &str) -> (String, Waiting) {
        let nonce = self.nonce + ours;
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&keys.salt), keys.iterations);
        let so_far = format!("{},{answer}", self.bare);
        (answer, Waiting { name: self.name, keys, nonce, binding: self.binding, so_far })
    }
}

impl Waiting {
    /// ```abnf
    /// client-final-message = "c=" base64 "," nonce ["," extensions] ",p=" base64
    /// ```
    pub fn check(&self, message: &[u8]) -> Result<Verdict, SaslError> {
        let text = std::str::from_utf8(message).map_err(|_| SaslError::Malformed)?;
        let (bare, proof) = text.rsplit_once(",p=").ok_or(SaslError::Malformed)?;
        let mut attributes = bare.split(',');
        let binding = STANDARD.decode(value(attributes.next(), "c=")?).map_err(|_| SaslError::Malformed)?;
        let nonce = value(attributes.next(), "r=")?;
        let proof =
            STANDARD.decode(proof).ok().and_then(|proof| <[u8; HASH]>::try_from(proof).ok()).ok_or(SaslError::Malformed)?;
        let all = format!("{},{bare}", self.so_far);
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), all.as_bytes());
        let mut key = proof;
        key.iter_mut().zip(sign(&self.keys.stored).as_ref()).for_each(|(byte, other)| *byte ^= other);
        let hash = digest::digest(&digest::SHA256, &key);
        // In constant time.
        let proven = hash.as_ref().iter().zip(&self.keys.stored).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0;
        let right = proven && binding == self.binding && nonce == self.nonce;
        Ok(Verdict { right, answer: format!("v={}", STANDARD.encode(sign(&self.keys.server))) })
    }
}

fn value<'a>(attribute: Option<&'a str>, name: &str) -> Result<&'a str, SaslError> {
    attribute.and_then(|attribute| attribute.strip_prefix(name)).ok_or(SaslError::Malformed)
}

/// `saslname = 1*(value-safe-char / "=2C" / "=3D")`, prepared.
fn unescape(text: &str) -> Result<String, SaslError> {
    let plain = text.replace("=2C", ",").replace("=3D", "=");
    let escapes = text.matches("=2C").count() + text.matches("=3D").count();
    let name = prepare(&plain).ok_or(SaslError::Malformed)?;
    let whole = text.matches('=').count() == escapes && !text.contains('\0');
    let fits = !name.is_empty() && name.len() <= MOST_NAME;
    if whole && fits { Ok(name.into_owned()) } else { Err(SaslError::Malformed) }
}
