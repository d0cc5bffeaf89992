//! Password hashes: argon2id (RFC 9106) as PHC strings, `$argon2id$v=19$m=16384,t=2,p=1$salt$hash`.

use argon2::password_hash::phc::PasswordHash;
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Of new hashes: 16 MiB, two passes, one lane. About 15 ms.
const MEMORY_KIB: u32 = 16 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What a hash in a users file may ask for at most, so that a slip of the pen can't stop the daemon.
const MOST_MEMORY_KIB: u32 = 128 * 1024;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// A password hash that was checked to be one we can verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash(PasswordHash);

impl Hash {
    /// Reads a PHC string. None: not argon2id, no salt or hash, or parameters out of bounds.
    pub fn parse(text: &str) -> Option<Hash> {
        let hash = PasswordHash::new(text).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let bounded = params.m_cost() <= MOST_MEMORY_KIB && params.t_cost() <= MOST_PASSES && params.p_cost() <= MOST_LANES;
        let whole = hash.algorithm == ARGON2ID_IDENT && hash.salt.is_some() && hash.hash.is_some();
        (whole && bounded).then_some(Hash(hash))
    }

    /// Hashes a password with a fresh salt.
    pub fn of(password: &[u8]) -> io::Result<Hash> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        let hash = hasher()?.hash_password_with_salt(password, &salt).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Hash(hash))
    }

    /// The hash of no password, with the parameters of new hashes: to check against for a name that does not exist.
    fn of_nothing() -> io::Result<Hash> {
        let mut random = [0; SALT_BYTES + HASH_BYTES];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let (salt, hash) = random.split_at(SALT_BYTES);
        let [salt, hash] = [salt, hash].map(|bytes| STANDARD_NO_PAD.encode(bytes));
        Hash::parse(&format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}"))
            .ok_or_else(|| io::Error::other("no password hash could be made"))
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

fn hasher() -> io::Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Verifies passwords, one at a time: each check takes 16 MiB, and a small host has twice that for all of the daemon.
#[derive(Debug)]
pub struct Checker {
    nothing: Hash,
    turn: Mutex<()>,
}

impl Checker {
    /// An error only if the system has no randomness to give.
    pub fn new() -> io::Result<Checker> {
        // Else every arena of the C allocator would keep its 16 MiB: 30 MiB for each thread that ever checked a password.
        crate::sys::unix::map_big_blocks(1 << 20);
        Ok(Checker { nothing: Hash::of_nothing()?, turn: Mutex::default() })
    }

    /// Is this the password? Without a hash the same work is done and the answer is no. The comparison takes constant time.
    pub fn verify(&self, hash: Option<&Hash>, password: &[u8]) -> bool {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let right = Argon2::default().verify_password(password, &hash.unwrap_or(&self.nothing).0).is_ok();
        right && hash.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_another_is_not() {
        let checker = Checker::new().unwrap();
        let hash = Hash::of(b"correct horse").unwrap();
        let text = hash.to_string();
        assert!(text.starts_with("$argon2id$v=19$m=16384,t=2,p=1$"), "{text}");
        let hash = Hash::parse(&text).unwrap();
        assert!(checker.verify(Some(&hash), b"correct horse"));
        assert!(!checker.verify(Some(&hash), b"correct hors"));
        assert!(!checker.verify(Some(&hash), b""));
        assert!(!checker.verify(None, b"correct horse"));
        assert_ne!(Hash::of(b"correct horse").unwrap().to_string(), text);
    }

    #[test]
    fn hashes_we_cannot_or_will_not_verify_are_refused() {
        let salt = "c29tZXNhbHQxMjM0NTY3OA";
        let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert!(Hash::parse(&format!("$argon2id$v=19$m=16384,t=2,p=1${salt}${hash}")).is_some());
        for text in [
            String::new(),
            "secret".to_owned(),
            "$6$abc$def".to_owned(),
            format!("$argon2i$v=19$m=16384,t=2,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=16384,t=2,p=1${salt}"),
            "$argon2id$v=19$m=16384,t=2,p=1".to_owned(),
            format!("$argon2id$v=19$m=4194304,t=2,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=16384,t=99999,p=1${salt}${hash}"),
            format!("argon2id$v=19$m=16384,t=2,p=1${salt}${hash}"),
        ] {
            assert!(Hash::parse(&text).is_none(), "{text}");
        }
    }
}
