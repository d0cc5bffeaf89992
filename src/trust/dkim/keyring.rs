//! The keys that mail of this host is signed with.

use super::sign::{Body, SigningKey, sign};
use super::signature::is_within;

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
    pub fn sign(&self, domain: &str, header: &[u8], body: Body, now: u64) -> Result<String, String> {
        let body = body.finish();
        let of_domain = self.0.iter().filter(|entry| entry.domain == domain);
        of_domain.map(|entry| sign(&entry.key, domain, &entry.selector, header, &body, now)).collect()
    }
}
