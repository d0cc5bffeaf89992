//! The keys that mail of this host is signed with.

use super::arc::{self, Seal};
use super::sign::{SigningKey, sign};
use super::signature::{Algorithm, is_within};

/// Keys, each with its domain and selector.
#[derive(Debug, Default)]
pub struct Keyring(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    domain: String,
    selector: String,
    key: SigningKey,
}

impl Keyring {
    /// Another key. The domain is in A-labels and lower case.
    pub fn add(&mut self, domain: &str, selector: &str, key: SigningKey) {
        self.0.push(Entry { domain: domain.to_owned(), selector: selector.to_owned(), key });
    }

    /// The domain that signs for an author of this one: itself, or the nearest above it.
    pub fn signs_for(&self, author: &str) -> Option<&str> {
        let above = self.0.iter().map(|entry| entry.domain.as_str()).filter(|domain| is_within(author, domain));
        above.max_by_key(|domain| domain.len())
    }

    /// A signature by each key of a domain, as fields with LF line ends. For the rest see [`sign`].
    pub fn sign(&self, domain: &str, header: &[u8], body: &[u8], now: u64) -> Result<String, String> {
        let of_domain = self.0.iter().filter(|entry| entry.domain == domain);
        of_domain.map(|entry| sign(&entry.key, domain, &entry.selector, header, body, now)).collect()
    }

    /// An ARC set by a key of a domain, rather one of RSA: few know others. None: there is none, or nothing to be sealed.
    pub fn seal(&self, domain: &str, header: &[u8], body: &[u8], seal: &Seal<'_>) -> Result<Option<String>, String> {
        let of_domain = || self.0.iter().filter(|entry| entry.domain == domain);
        let rsa = of_domain().find(|entry| entry.key.algorithm() == Algorithm::Rsa);
        let Some(entry) = rsa.or_else(|| of_domain().next()) else { return Ok(None) };
        arc::seal((&entry.key, domain, &entry.selector), header, body, seal)
    }
}
