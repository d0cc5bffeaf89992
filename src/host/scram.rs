//! SCRAM-SHA-256 keys (RFC 5802, RFC 7677) as PHC strings, `$scram-sha-256$i=60000$salt$keys`: what lets a user prove to know
//! a password without sending it, and us without knowing it. The keys are StoredKey and ServerKey, 32 bytes each.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::{digest, hmac, pbkdf2};
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::num::NonZeroU32;

/// Rounds of new keys. RFC 7677 wants 4096 at least; clients that use Cyrus SASL refuse more than 65,536.
const ITERATIONS: u32 = 60_000;
const SALT_BYTES: usize = 16;
const HEAD: &str = "$scram-sha-256$i=";

/// Bytes of a SHA-256.
pub const HASH: usize = digest::SHA256_OUTPUT_LEN;

/// What is kept of a password for SCRAM-SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// Mixed into the password.
    pub salt: Vec<u8>,
    /// How often it is hashed.
    pub iterations: NonZeroU32,
    /// The hash of the key that a client must prove to have.
    pub stored: [u8; HASH],
    /// What we prove to have.
    pub server: [u8; HASH],
}

impl ScramKeys {
    /// Makes keys from a password, with a fresh salt.
    pub fn of(password: &[u8]) -> io::Result<ScramKeys> {
        let mut salt = vec![0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        Ok(ScramKeys::derive(password, salt, NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN)))
    }

    /// RFC 5802 §3.
    pub fn derive(password: &[u8], salt: Vec<u8>, iterations: NonZeroU32) -> ScramKeys {
        let prepared = std::str::from_utf8(password).ok().and_then(prepare);
        // What SASLprep does not take, clients send as it is, if at all.
        let password = prepared.as_deref().map_or(password, str::as_bytes);
        let mut salted = [0; HASH];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password, &mut salted);
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client = hmac::sign(&salted, b"Client Key");
        let stored = array(digest::digest(&digest::SHA256, client.as_ref()).as_ref());
        ScramKeys { salt, iterations, stored, server: array(hmac::sign(&salted, b"Server Key").as_ref()) }
    }

    /// For who has none: always the same salt for the same name, as a user's would be, and keys that nobody has.
    pub fn fake(secret: &hmac::Key, name: &str) -> ScramKeys {
        let make = |what: &[u8]| hmac::sign(secret, &[what, name.as_bytes()].concat());
        let salt = make(b"scram salt\0").as_ref().get(..SALT_BYTES).unwrap_or_default().to_vec();
        let (stored, server) = (array(make(b"scram stored\0").as_ref()), array(make(b"scram server\0").as_ref()));
        ScramKeys { salt, iterations: NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN), stored, server }
    }

    /// Reads a PHC string. None: another scheme, or not of its form.
    pub fn parse(text: &str) -> Option<ScramKeys> {
        let mut fields = text.strip_prefix(HEAD)?.split('$');
        let (iterations, salt, keys) = (fields.next()?, fields.next()?, fields.next()?);
        let keys = STANDARD_NO_PAD.decode(keys).ok().filter(|keys| keys.len() == 2 * HASH)?;
        let salt = STANDARD_NO_PAD.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        let (stored, server) = keys.split_at(HASH);
        let keys = ScramKeys { salt, iterations: iterations.parse().ok()?, stored: array(stored), server: array(server) };
        fields.next().is_none().then_some(keys)
    }
}

impl fmt::Display for ScramKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, keys] = [&self.salt[..], &[self.stored, self.server].concat()].map(|bytes| STANDARD_NO_PAD.encode(bytes));
        write!(out, "{HEAD}{}${salt}${keys}", self.iterations)
    }
}

impl fmt::Debug for ScramKeys {
    /// Shows no key.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ScramKeys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// A name or a password by SASLprep (RFC 4013). None: it holds what must not be in one.
pub fn prepare(text: &str) -> Option<Cow<'_, str>> {
    stringprep::saslprep(text).ok()
}

/// The first bytes, of which there must be enough.
fn array(bytes: &[u8]) -> [u8; HASH] {
    bytes.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_again_from_their_text() {
        let keys = ScramKeys::of(b"secret").unwrap();
        let text = keys.to_string();
        assert!(text.starts_with("$scram-sha-256$i=60000$"), "{text}");
        assert_eq!(ScramKeys::parse(&text), Some(keys.clone()));
        assert!(ScramKeys::derive(b"secret", keys.salt.clone(), keys.iterations) == keys);
        assert!(ScramKeys::derive(b"Secret", keys.salt.clone(), keys.iterations) != keys);
        assert!(ScramKeys::of(b"secret").unwrap() != keys);
        let cut = &text[..text.len() - 2];
        for bad in
            [cut, &format!("{text}$"), &text.replace("60000", "0"), &text.replace("256", "512"), "$scram-sha-256$i=1$$", ""]
        {
            assert_eq!(ScramKeys::parse(bad), None, "{bad}");
        }
        assert!(!format!("{keys:?}").contains(&text[30..40]));
    }

    /// RFC 4013 §3: what looks alike is alike.
    #[test]
    fn passwords_are_prepared() {
        let keys = ScramKeys::of("I\u{ad}X é".as_bytes()).unwrap();
        for same in ["IX e\u{301}", "\u{2168}\u{a0}é"] {
            assert!(ScramKeys::derive(same.as_bytes(), keys.salt.clone(), keys.iterations) == keys, "{same}");
        }
        assert_eq!(prepare("\u{7}"), None);
        let odd = ScramKeys::of(b"\xff\x07").unwrap();
        assert!(ScramKeys::derive(b"\xff\x07", odd.salt.clone(), odd.iterations) == odd);
    }

    #[test]
    fn fakes_are_stable_and_look_like_others() {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"of this spool");
        let fake = ScramKeys::fake(&secret, "mallory");
        assert!(fake == ScramKeys::fake(&secret, "mallory"));
        assert!(fake.salt != ScramKeys::fake(&secret, "eve").salt && fake.stored != fake.server);
        let real = ScramKeys::of(b"x").unwrap();
        assert_eq!((fake.salt.len(), fake.iterations), (real.salt.len(), real.iterations));
    }
}
