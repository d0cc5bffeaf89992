//! What only this spool can compute: the keys that name messages by content, and the seals that bind a UID to one.

use crate::mail::header;
use crate::sys::{Disk, Open};
use ring::hmac;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;

/// Bytes of the secret.
const LENGTH: usize = 32;
/// Bytes of each end of a body that count in its key.
pub const ENDS: usize = 512;

/// A message's content in short: a keyed hash over its header without state fields, the length of its body, and both
/// ends of that. Two messages of one key are taken for the same.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key(pub [u8; 16]);

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Key {
    /// Appends it as 32 hexadecimal digits; there may be many.
    pub fn push_hex(&self, out: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in self.0 {
            out.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
        }
    }
}

impl std::str::FromStr for Key {
    type Err = ();
    fn from_str(text: &str) -> Result<Key, ()> {
        let digit = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
        let mut key = Key::default();
        if text.len() != 2 * key.0.len() {
            return Err(());
        }
        for (byte, pair) in key.0.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return Err(()) };
            *byte = digit(high).ok_or(())? << 4 | digit(low).ok_or(())?;
        }
        Ok(key)
    }
}

/// Makes the secret if there is none, while new files can be made in the spool.
pub fn ensure_secret(disk: &dyn Disk, spool: &Path) -> io::Result<()> {
    Secret::load(disk, spool).map(drop)
}

/// The spool's secret.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

impl Secret {
    /// From its 32 bytes.
    pub fn new(bytes: &[u8]) -> Secret {
        Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Reads `<spool>/secret`, or makes it (mode 0600). It is complete before it has its name, and who comes second takes the first one's.
    pub fn load(disk: &dyn Disk, spool: &Path) -> io::Result<Secret> {
        let path = spool.join("secret");
        match read(disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => {
                // Whoever made it may have been killed before its name was durable.
                disk.sync_dir(spool)?;
                return found;
            }
        }
        let mut bytes = [0; 40];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let (bytes, name) = bytes.split_at(LENGTH);
        disk.make_dir(spool, 0o700)?;
        let name = name.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let fresh = spool.join(format!("secret.{name:016x}"));
        let file = disk.open(&fresh, Open::CreateNew(0o600))?;
        file.write_at(&[IoSlice::new(bytes)], 0)?;
        file.sync()?;
        match disk.link(&fresh, &path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => disk.remove(&fresh)?,
        }
        disk.sync_dir(spool)?;
        read(disk, &path)
    }

    /// Binds a UID to a mailbox (its label and UIDVALIDITY) and a content.
    pub fn seal(&self, label: &str, validity: u32, uid: u32, key: &Key) -> u64 {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"uid\0");
        context.update(label.as_bytes());
        context.update(&[0]);
        context.update(&validity.to_be_bytes());
        context.update(&uid.to_be_bytes());
        context.update(&key.0);
        first_eight(&context.sign())
    }

    /// Tells some bytes of a message from any others.
    pub fn tag(&self, place: usize, bytes: &[u8]) -> u64 {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"bytes\0");
        context.update(&(place as u64).to_be_bytes());
        context.update(bytes);
        first_eight(&context.sign())
    }

    /// Marks the dotlocks of the daemon whose journal has this name.
    pub fn mark(&self, daemon: &[u8]) -> u64 {
        first_eight(&hmac::sign(&self.0, &[b"dotlock\0", daemon].concat()))
    }

    /// A key for another purpose.
    pub fn derive(&self, purpose: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&self.0, &[b"derived\0", purpose.as_bytes()].concat()).as_ref())
    }

    /// Begins the key of a message.
    pub fn hasher(&self) -> Hasher {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"key\0");
        Hasher(context)
    }
}

/// A [`Key`] in the making.
pub struct Hasher(hmac::Context);

impl Hasher {
    /// Takes the header, or whole fields of it, in order; those with state are passed over.
    pub fn header(&mut self, fields: &[u8]) {
        visible(fields, |bytes| self.piece(bytes));
    }

    /// The same, for who goes through the header anyway: takes a piece that [`visible`] handed out.
    pub fn piece(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Takes the body: its length, and its first and last [`ENDS`] bytes (all of it twice if it is shorter).
    pub fn finish(mut self, length: u64, head: &[u8], tail: &[u8]) -> Key {
        self.0.update(&[0]);
        self.0.update(&length.to_be_bytes());
        self.0.update(head);
        self.0.update(tail);
        let tag = self.0.sign();
        let mut key = Key::default();
        key.0.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        key
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Secret> {
    let mut bytes = [0; LENGTH];
    disk.open(path, Open::Read)?.read_exact_at(&mut bytes, 0)?;
    Ok(Secret::new(&bytes))
}

fn first_eight(tag: &hmac::Tag) -> u64 {
    tag.as_ref().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Hands out a header without the fields in which mailboxes keep state, in as few pieces as it takes.
pub fn visible<'a>(header: &'a [u8], mut put: impl FnMut(&'a [u8])) {
    let mut from = 0;
    for field in header::fields(header) {
        if header.get(field.name.clone()).is_some_and(header::is_state) {
            put(header.get(from..field.whole.start).unwrap_or_default());
            from = field.whole.end;
        }
    }
    put(header.get(from..header::end(header)).unwrap_or_default());
}
