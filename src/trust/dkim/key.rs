//! Public keys as they are published (RFC 6376 §3.6.1, RFC 8463 §4). Pure.

use super::signature::{Algorithm, Signature, base64};
use crate::net::tls::der;
use crate::trust::tags::Tags;
use ring::digest;
use ring::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

/// Shorter RSA keys don't count (RFC 8301 §3.2).
const LEAST_BITS: usize = 1024;

/// Longer ones need not (same place), and cost much.
const MOST_BITS: usize = 4096;

/// A key that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    kind: Algorithm,
    /// Of RSA an RSAPublicKey (RFC 8017 §A.1.1).
    bytes: Vec<u8>,
    /// `t=s`: the identity must be of the domain itself.
    is_strict: bool,
}

/// Why there is none.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyError {
    /// It was taken back.
    Revoked,
    /// RSA of too few bits.
    Weak,
    /// It can't be used; why.
    Unusable(&'static str),
}

impl Key {
    /// Reads a record.
    pub(super) fn parse(text: &[u8]) -> Result<Key, KeyError> {
        use KeyError::Unusable;
        let tags = Tags::parse(text).ok_or(Unusable("key is not a list of tags"))?;
        if tags.get("v").is_some() && (tags.first() != Some("v") || tags.text("v") != Some("DKIM1")) {
            return Err(Unusable("key of another version"));
        }
        if tags.list("h").is_some_and(|hashes| !hashes.contains(&"sha256")) {
            return Err(Unusable("key not for SHA-256"));
        }
        if tags.list("s").is_some_and(|services| !services.iter().any(|service| ["*", "email"].contains(service))) {
            return Err(Unusable("key not for mail"));
        }
        let kind = match tags.text("k") {
            None | Some("rsa") => Algorithm::Rsa,
            Some("ed25519") => Algorithm::Ed25519,
            _ => return Err(Unusable("key of unknown kind")),
        };
        let bytes = match tags.get("p") {
            None => return Err(Unusable("record without key")),
            Some(b"") => return Err(KeyError::Revoked),
            Some(text) => base64(text).ok_or(Unusable("broken key"))?,
        };
        let bytes = match kind {
            Algorithm::Rsa => rsa(&bytes)?.to_vec(),
            Algorithm::Ed25519 if bytes.len() == 32 => bytes,
            Algorithm::Ed25519 => return Err(Unusable("broken key")),
        };
        Ok(Key { kind, bytes, is_strict: tags.list("t").is_some_and(|flags| flags.contains(&"s")) })
    }

    /// Whatever it may be used for.
    pub(super) fn is_same(&self, other: &Key) -> bool {
        (self.kind, &self.bytes) == (other.kind, &other.bytes)
    }

    /// Does the key belong to the signature, so that it may be tried?
    pub(super) fn suits(&self, signature: &Signature) -> Result<(), &'static str> {
        if self.kind != signature.algorithm {
            Err("key of another kind")
        } else if self.is_strict && signature.identity != signature.domain {
            Err("key not for subdomains")
        } else {
            Ok(())
        }
    }

    /// Did its owner sign this?
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let key = &self.bytes;
        match self.kind {
            Algorithm::Rsa => {
                UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key).verify(signed, signature)
            }
            // What is signed is the hash (RFC 8463 §3).
            Algorithm::Ed25519 => {
                UnparsedPublicKey::new(&ED25519, key).verify(digest::digest(&digest::SHA256, signed).as_ref(), signature)
            }
        }
        .is_ok()
    }
}

/// The RSAPublicKey in a SubjectPublicKeyInfo, or what is one (RFC 6376 says this, and shows that).
fn rsa(der: &[u8]) -> Result<&[u8], KeyError> {
    const BROKEN: KeyError = KeyError::Unusable("broken key");
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const BIT_STRING: u8 = 0x03;
    let (inner, _) = der::value(der, SEQUENCE).ok_or(BROKEN)?;
    let key = match der::value(inner, SEQUENCE) {
        Some((_, rest)) => {
            let (bits, _) = der::value(rest, BIT_STRING).ok_or(BROKEN)?;
            bits.strip_prefix(&[0]).ok_or(BROKEN)?
        }
        None => der,
    };
    let (modulus, _) = der::value(key, SEQUENCE).and_then(|(numbers, _)| der::value(numbers, INTEGER)).ok_or(BROKEN)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    match bits {
        ..LEAST_BITS => Err(KeyError::Weak),
        LEAST_BITS..=MOST_BITS => Ok(key),
        _ => Err(KeyError::Unusable("key too long")),
    }
}
