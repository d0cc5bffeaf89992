//! What this host vouches for: messages of its users and of its own, signed while they are written, in the name of their author's
//! domain, if there is a key for it (DKIM); and messages of others that it sends on, sealed with what was found when they came
//! (ARC, RFC 8617 §5.1).
//!
//! Both are done once, when the message enters the journal, not at each try to send it: a signature costs more than all else that
//! is done to send a message. Only members' copies of a list's post that have fields of their own are signed once more as they leave
//! ([`OfCopies`]).

use super::mend::EndScan;
use super::{Office, local, program};
use crate::mail::{Domain, header};
use crate::spool::{Draft, Entry, Message};
use crate::trust::arc::Seal;
use crate::trust::dkim::{Body, Keyring};
use crate::trust::{dmarc, results};
use std::io::{self, Write};
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
        self.keyring.sign(&self.domain, &self.header, &self.body.finish(), now)
    }
}

/// A message that is sent on: writes it to its draft, and vouches for it.
pub(super) struct Onward<'a> {
    draft: &'a mut Draft,
    keyring: Arc<Keyring>,
    /// Whose key it is sealed with; none: nobody's.
    domain: Option<String>,
    /// It is signed, too.
    signs: bool,
    parts: Parts,
}

/// A message that is read from its start: its header, and what came of its body.
#[derive(Default)]
struct Parts {
    header: Vec<u8>,
    scan: EndScan,
    /// None until the header has ended.
    body: Option<Body>,
}

impl<'a> Onward<'a> {
    /// In the name of this domain, or of one above it that there is a key for, or of this host's. `signs`: it is a new message of
    /// that domain's, such as a list's.
    pub(super) fn new(office: &Office, draft: &'a mut Draft, domain: &Domain, signs: bool) -> Onward<'a> {
        let keyring = office.keyring();
        let signer = keyring.signs_for(&domain.key()).or_else(|| keyring.signs_for(&office.config().hostname));
        let domain = signer.map(str::to_owned);
        Onward { draft, keyring, domain, signs, parts: Parts::default() }
    }

    /// Puts what is to be said of it on top. What can't be sealed goes as it is.
    pub(super) fn finish(self, office: &Office) {
        let Some(domain) = &self.domain else { return };
        let now = u64::try_from(office.clock.now().seconds()).unwrap_or(0);
        match self.fields(&office.config().hostname, domain, now) {
            Ok(fields) => self.draft.put_before(fields.as_bytes()),
            Err(reason) => log::error!("msg={} event=not-sealed reason={reason:?}", self.draft.id()),
        }
    }

    fn fields(&self, hostname: &str, domain: &str, now: u64) -> Result<String, String> {
        let Parts { header: own, body, .. } = &self.parts;
        let body = body.clone().unwrap_or_default().finish();
        let header = if self.signs { without_links(own) } else { own.clone() };
        // Signed first: the seal is over that, too (RFC 8617 §5.1, step 1).
        let signatures = if self.signs { self.keyring.sign(domain, &header, &body, now)? } else { String::new() };
        let Some((results, chain)) = results::told(own, hostname) else { return Ok(signatures) };
        let header = [signatures.as_bytes(), &header].concat();
        let seal = self.keyring.seal(domain, &header, &body, &Seal { results, chain, now })?;
        Ok(seal.unwrap_or_default() + &signatures)
    }
}

/// A header without what is other in each member's copy: it is put there later, when the copy leaves.
fn without_links(head: &[u8]) -> Vec<u8> {
    let is_link = |field: &header::Field| ["List-Unsubscribe", "List-Unsubscribe-Post"].iter().any(|name| field.is(head, name));
    let kept = header::fields(head).filter(|field| !is_link(field)).filter_map(|field| head.get(field.whole));
    kept.collect::<Vec<_>>().concat()
}

/// Signs members' copies of one post as they leave: each has a link of its own, which a signature must cover (RFC 8058 §4). Each is
/// signed at the time of the post, so that it is the same at each try.
#[derive(Debug, Default)]
pub(super) struct OfCopies {
    /// The hash of the body, which all have.
    body: Option<Vec<u8>>,
}

impl OfCopies {
    /// A member's copy, signed for the list's domain if there is a key.
    pub(super) fn sign(&mut self, office: &Office, copy: &Entry, domain: &Domain) -> io::Result<Message> {
        let (keyring, message) = (office.keyring(), copy.message.clone());
        let Some(signer) = keyring.signs_for(&domain.key()).or_else(|| keyring.signs_for(&office.config().hostname)) else {
            return Ok(message);
        };
        let body = match &mut self.body {
            Some(body) => body,
            none => {
                let mut parts = Parts::default();
                program::copy(&message, &mut parts)?;
                none.insert(parts.body.unwrap_or_default().finish())
            }
        };
        let time = u64::try_from(copy.time.seconds()).unwrap_or(0);
        match keyring.sign(signer, &local::head(&message)?, body, time) {
            Ok(fields) => Ok(message.spliced(0, fields.as_bytes())),
            Err(reason) => {
                log::error!("msg={} event=not-signed reason={reason:?}", copy.id);
                Ok(message)
            }
        }
    }
}

impl Write for Onward<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.draft.write_all(bytes)?;
        if self.domain.is_some() {
            self.parts.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.body {
            Some(body) => body.push(bytes),
            None => {
                self.header.extend_from_slice(bytes);
                if let Some(end) = self.scan.find(&self.header) {
                    let mut body = Body::default();
                    let rest = self.header.split_off(end);
                    body.push(rest.strip_prefix(b"\n").unwrap_or(&rest));
                    self.body = Some(body);
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
