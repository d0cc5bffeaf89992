//! DKIM (RFC 6376, RFC 8301, RFC 8463): has a domain signed this message?
//!
//! `arc` is what those say who have passed a message on (RFC 8617). `signature` is the field that says so, `key` the record it leads to, `canon` what of a message counts, `fields` its header; `sign` makes one, with
//! a key of the `keyring`.

pub mod arc;
mod canon;
mod fields;
mod key;
mod keyring;
mod sign;
mod signature;
#[cfg(test)]
mod tests;

pub use keyring::Keyring;
pub use sign::{Body, SigningKey, sign};
pub use signature::Algorithm;

use super::Dns;
use crate::net::dns::DnsError;
use canon::{BodyHash, Hashed};
use fields::Header;
use key::{Key, KeyError};
use signature::Signature;

/// Signatures that are looked at; each may cost a lookup.
const MOST_SIGNATURES: usize = 8;

/// What a signature comes to (RFC 8601 §2.7.1).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum DkimResult {
    /// It is that of the domain, over all of the body.
    Pass,
    /// It is not.
    Fail,
    /// It is good, but not good enough for us.
    Policy,
    /// It can't be read.
    Neutral,
    /// DNS could not tell now.
    TempError,
    /// There is no key.
    PermError,
}

impl DkimResult {
    /// As it is written in Authentication-Results.
    pub fn name(self) -> &'static str {
        match self {
            DkimResult::Pass => "pass",
            DkimResult::Fail => "fail",
            DkimResult::Policy => "policy",
            DkimResult::Neutral => "neutral",
            DkimResult::TempError => "temperror",
            DkimResult::PermError => "permerror",
        }
    }
}

/// What one signature comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It.
    pub result: DkimResult,
    /// Why it is not `pass`; else empty.
    pub reason: String,
    /// Of the signature, if it could be read.
    pub signer: Option<Signer>,
}

/// Who signed, and which signature it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The domain, in A-labels and lower case.
    pub domain: String,
    /// The selector of its key.
    pub selector: String,
    /// How.
    pub algorithm: Algorithm,
    /// The first eight characters of the signature (RFC 6008 §4).
    pub start: String,
}

/// Verifies the signatures of a message while it arrives: first its header, then pieces of its body. Lines end in LF.
#[derive(Debug)]
pub struct Verifier {
    header: Vec<u8>,
    /// Each with the number of its field.
    signatures: Vec<(usize, Result<Signature, &'static str>)>,
    /// One for all signatures that want the same.
    hashes: Vec<BodyHash>,
}

impl Verifier {
    /// `header` is all before the empty line.
    pub fn new(header: &[u8]) -> Verifier {
        let fields = Header::new(header);
        let found = fields.named("dkim-signature").iter().take(MOST_SIGNATURES);
        let signatures: Vec<_> = found.map(|&number| (number, Signature::parse(fields.value(number)))).collect();
        let mut hashes: Vec<BodyHash> = Vec::new();
        for signature in signatures.iter().filter_map(|(_, signature)| signature.as_ref().ok()) {
            if !hashes.iter().any(|hash| is_for(hash, signature)) {
                hashes.push(BodyHash::new(signature.body, signature.length));
            }
        }
        let header = if signatures.is_empty() { Vec::new() } else { header.to_vec() };
        Verifier { header, signatures, hashes }
    }

    /// The next piece of the body.
    pub fn body(&mut self, bytes: &[u8]) {
        self.hashes.iter_mut().for_each(|hash| hash.push(bytes));
    }

    /// What all signatures come to, in their order; none: it is not signed. `now` is in seconds since the epoch.
    pub fn finish(self, dns: &dyn Dns, now: u64) -> Vec<Verdict> {
        let header = Header::new(&self.header);
        let hashes: Vec<_> = self.hashes.into_iter().map(|hash| (hash.canon, hash.limit, hash.finish())).collect();
        let verdict = |(number, signature): &(usize, Result<Signature, &'static str>)| match signature {
            Err(wrong) => Verdict { result: DkimResult::Neutral, reason: (*wrong).to_owned(), signer: None },
            Ok(signature) => {
                let hash = hashes.iter().find(|(canon, limit, _)| (*canon, *limit) == (signature.body, signature.length));
                let judged = judge(signature, hash.map(|(.., hash)| hash), || signature.signed(&header, *number), dns, now);
                let (result, reason) = judged.err().unwrap_or((DkimResult::Pass, String::new()));
                Verdict { result, reason, signer: Some(signer(signature)) }
            }
        };
        self.signatures.iter().map(verdict).collect()
    }
}

/// Does a signature of a header cover every field of these names, in lower case, of which there is one at least? Gives its
/// domain. Only those count that `is_right` knows to be right.
pub fn covers(header: &[u8], names: &[&str], is_right: impl Fn(&Signer) -> bool) -> Option<String> {
    let fields = Header::new(header);
    let found = fields.named("dkim-signature").iter().take(MOST_SIGNATURES);
    let signatures = found.filter_map(|&number| Signature::parse(fields.value(number)).ok());
    let is_covered = |signature: &Signature, name: &str| {
        let signed = signature.fields.iter().filter(|own| *own == name).count();
        (1..=signed).contains(&fields.named(name).len())
    };
    let mut right = signatures.filter(|signature| is_right(&signer(signature)));
    right.find(|signature| names.iter().all(|name| is_covered(signature, name))).map(|signature| signature.domain)
}

fn is_for(hash: &BodyHash, signature: &Signature) -> bool {
    (hash.canon, hash.limit) == (signature.body, signature.length)
}

fn signer(signature: &Signature) -> Signer {
    use base64::Engine;
    let start = base64::engine::general_purpose::STANDARD.encode(signature.signature.get(..6).unwrap_or(&signature.signature));
    let Signature { domain, selector, algorithm, .. } = signature.clone();
    Signer { domain, selector, algorithm, start }
}

/// RFC 6376 §6.1. What costs nothing comes first: no key is asked for that could not help.
fn judge(
    signature: &Signature,
    hash: Option<&Hashed>,
    signed: impl Fn() -> Vec<u8>,
    dns: &dyn Dns,
    now: u64,
) -> Result<(), (DkimResult, String)> {
    let not = |result, reason: &str| Err((result, reason.to_owned()));
    if signature.expires.is_some_and(|expires| expires < now) {
        return not(DkimResult::Fail, "signature expired");
    }
    let Some(hash) = hash else { return not(DkimResult::Neutral, "body not hashed") };
    if signature.length.is_some_and(|length| length > hash.total) {
        return not(DkimResult::Fail, "body shorter than signed");
    }
    if hash.digest != signature.body_hash {
        return not(DkimResult::Fail, "body changed");
    }
    check_signature(signature, &signed(), &key(signature, dns)?)?;
    // Anybody can put anything behind what is signed (RFC 6376 §8.2).
    if signature.length.is_some_and(|length| length < hash.total) {
        return not(DkimResult::Policy, "only part of the body is signed");
    }
    Ok(())
}

/// Is it that of its key, over this?
fn check_signature(signature: &Signature, signed: &[u8], key: &Key) -> Result<(), (DkimResult, String)> {
    match key.suits(signature) {
        Err(wrong) => Err((DkimResult::PermError, wrong.to_owned())),
        Ok(()) if !key.verifies(signed, &signature.signature) => Err((DkimResult::Fail, "bad signature".to_owned())),
        Ok(()) => Ok(()),
    }
}

fn key(signature: &Signature, dns: &dyn Dns) -> Result<Key, (DkimResult, String)> {
    let name = format!("{}._domainkey.{}", signature.selector, signature.domain);
    let texts = dns.txt(&name).map_err(|error| match error {
        DnsError::NoName | DnsError::NoData => (DkimResult::PermError, "no key".to_owned()),
        DnsError::Temporary(reason) => (DkimResult::TempError, reason),
    })?;
    // There should be one (§3.6.2.2): of several the first that is a key.
    let mut keys = texts.iter().map(|text| Key::parse(text));
    let first = keys.next().unwrap_or(Err(KeyError::Unusable("no key")));
    first.or_else(|error| keys.find_map(Result::ok).ok_or(error)).map_err(|error| match error {
        KeyError::Revoked => (DkimResult::PermError, "key revoked".to_owned()),
        KeyError::Weak => (DkimResult::Policy, "key too weak".to_owned()),
        KeyError::Unusable(why) => (DkimResult::PermError, why.to_owned()),
    })
}
