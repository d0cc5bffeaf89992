//! A message of a user, signed while it is written: in the name of its author's domain, if there is a key for it.

use crate::mail::header;
use crate::trust::dkim::{Body, Keyring};
use crate::trust::dmarc;
use std::sync::Arc;

/// Its header, as it was mended, and what came of its body.
#[derive(Debug)]
pub(super) struct Sealing {
    keyring: Arc<Keyring>,
    domain: String,
    header: Vec<u8>,
    body: Body,
}

impl Sealing {
    /// Of a message that begins with this block, its whole header in it. None: nobody signs for its author.
    pub(super) fn begin(keyring: Arc<Keyring>, block: &[u8]) -> Option<Sealing> {
        let (header, rest) = block.split_at_checked(header::end(block))?;
        let author = dmarc::author(header).ok()?;
        let domain = keyring.signs_for(&author)?.to_owned();
        let mut body = Body::default();
        body.push(rest.strip_prefix(b"\n").unwrap_or(rest));
        Some(Sealing { keyring, domain, header: header.to_vec(), body })
    }

    /// The next piece of its body.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.body.push(bytes);
    }

    /// The fields that go on top. `now` is in seconds since the epoch.
    pub(super) fn finish(self, now: u64) -> Result<String, String> {
        self.keyring.sign(&self.domain, &self.header, self.body, now)
    }
}
