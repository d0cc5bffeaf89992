//! What one user has taught: a file of a fixed size, whatever is learned.
//!
//! ```text
//! head    64 bytes: "pillarbox junk 1\n", the key of the hashes (16 bytes at 32), messages learned as junk and as good (u32 each),
//!         crc32c of all but itself (at 56)
//! tokens  131,072 times: the upper half of a token's hash (0: free), in how many messages of each kind it was (u16 each)
//! known   16,384 times: the hash of a message that was learned (0: free); its last bit is set if that was as junk
//! ```
//!
//! All numbers are little-endian. Eight tokens, and eight messages, whose hashes lead to one place share it; when there are more,
//! the rarest token goes, or the oldest message. When so many messages were learned that counts could grow out of their place, all
//! are halved: what is older counts less. The file is written anew and renamed, so it is what it was or what it is to be; one
//! that is not whole is begun anew.
//!
//! Hashes are made with a key of the user's own, so that nobody can write words that are taken for others.

use super::Kind;
use super::tokens::Tokens;
use crate::sys::{Disk, Open};
use std::hash::Hasher;
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;

const MAGIC: &[u8] = b"pillarbox junk 1\n";
const KEY: usize = 32;
const TOTALS: usize = 48;
const CHECK: usize = 56;
const HEAD: usize = 64;
/// Bytes of a token, and of a message.
const SLOT: usize = 8;
const TOKENS: usize = 1 << 17;
const KNOWN: usize = 1 << 14;
/// Slots of one place.
const WAYS: usize = 8;

/// Bytes of the file.
pub const SIZE: usize = HEAD + (TOKENS + KNOWN) * SLOT;

/// Messages from which on all counts are halved. (A token counts once in a message.)
const MOST_LEARNED: u32 = 40_000;

/// How often something was in mail of each kind.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In junk.
    pub junk: u32,
    /// In good mail.
    pub good: u32,
}

/// What became of a lesson.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// It is new.
    New,
    /// The message had been learned as the other kind, which does not count any more.
    Changed,
    /// It was known.
    Known,
}

/// What a user has taught.
#[derive(Clone, PartialEq, Eq)]
pub struct Memory {
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Memory").field("learned", &self.learned()).finish_non_exhaustive()
    }
}

impl Memory {
    /// Nothing yet.
    pub fn new(key: [u8; 16]) -> Memory {
        let mut memory = Memory { bytes: vec![0; SIZE] };
        memory.put(0, MAGIC);
        memory.put(KEY, &key);
        memory
    }

    /// What [`Memory::save`] wrote. None: it is damaged.
    pub fn parse(bytes: Vec<u8>) -> Option<Memory> {
        let memory = Memory { bytes };
        let is_whole = memory.bytes.len() == SIZE && memory.bytes.starts_with(MAGIC);
        (is_whole && memory.number(CHECK) == memory.check()).then_some(memory)
    }

    /// Of this file. None: it is not there. An error of kind `InvalidData`: it is damaged.
    pub fn load(disk: &dyn Disk, path: &Path) -> io::Result<Option<Memory>> {
        let file = match disk.open(path, Open::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        if file.stat()?.size != SIZE as u64 {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; SIZE];
        file.read_exact_at(&mut bytes, 0)?;
        Memory::parse(bytes).map(Some).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// Replaces the file, durably. One who does so in this directory at a time.
    pub fn save(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        self.put(CHECK, &self.check().to_le_bytes());
        let Some(dir) = path.parent() else { return Err(ErrorKind::InvalidInput.into()) };
        // No user has a name that begins so.
        let new = dir.join(".new");
        let file = disk.open(&new, Open::Create(0o600))?;
        file.set_len(SIZE as u64)?;
        file.write_at(&[IoSlice::new(&self.bytes)], 0)?;
        file.sync()?;
        disk.rename(&new, path)?;
        disk.sync_dir(dir)
    }

    /// Messages learned.
    pub fn learned(&self) -> Counts {
        Counts { junk: self.number(TOTALS), good: self.number(TOTALS + 4) }
    }

    /// Tokens it knows.
    pub fn tokens(&self) -> usize {
        (0..TOKENS).filter(|slot| self.number(token_at(*slot)) != 0).count()
    }

    /// SipHash-2-4 with the user's key.
    pub(super) fn hash(&self, text: &str) -> u64 {
        // The only keyed hash in std that is the same in every version.
        #[allow(deprecated)]
        let mut hasher = std::hash::SipHasher::new_with_keys(self.word(KEY), self.word(KEY + 8));
        hasher.write(text.as_bytes());
        hasher.finish()
    }

    /// In how many messages of each kind a token was.
    pub(super) fn count(&self, hash: u64) -> Counts {
        self.find(hash).map_or_else(Counts::default, |slot| self.counts(slot))
    }

    /// Learns a message as this kind, and not as the other any more.
    pub fn learn(&mut self, tokens: &Tokens, kind: Kind) -> Learned {
        let name = self.hash(tokens.identity()) & !1;
        let known = self.known(name);
        if known == Some(kind) {
            return Learned::Known;
        }
        let hashes: Vec<u64> = tokens.texts().map(|text| self.hash(text)).collect();
        if let Some(other) = known {
            self.change_all(&hashes, other, |count| count.saturating_sub(1));
        }
        self.change_all(&hashes, kind, |count| count.saturating_add(1));
        self.note(name, kind);
        let learned = self.learned();
        if learned.junk.saturating_add(learned.good) > MOST_LEARNED {
            self.halve();
        }
        if known.is_some() { Learned::Changed } else { Learned::New }
    }

    fn change_all(&mut self, hashes: &[u64], kind: Kind, change: impl Fn(u32) -> u32) {
        let mut learned = self.learned();
        let total = kind.of(&mut learned);
        *total = change(*total);
        self.put_totals(learned);
        for hash in hashes {
            let slot = self.find(*hash);
            let mut counts = slot.map_or_else(Counts::default, |slot| self.counts(slot));
            let count = kind.of(&mut counts);
            *count = change(*count);
            match slot {
                Some(slot) => self.put_token(slot, tag(*hash), counts),
                // What was forgotten can't be forgotten again.
                None if counts == Counts::default() => {}
                None => {
                    let slot = self.room(*hash);
                    self.put_token(slot, tag(*hash), counts);
                }
            }
        }
    }

    fn find(&self, hash: u64) -> Option<usize> {
        let tag = tag(hash);
        place(hash, TOKENS).find(|slot| self.number(token_at(*slot)) == tag)
    }

    /// A free slot, or that of the rarest.
    fn room(&self, hash: u64) -> usize {
        let weight = |slot: &usize| {
            let Counts { junk, good } = self.counts(*slot);
            junk + good
        };
        place(hash, TOKENS).min_by_key(weight).unwrap_or(0)
    }

    fn counts(&self, slot: usize) -> Counts {
        let both = self.number(token_at(slot) + 4);
        Counts { junk: both & 0xffff, good: both >> 16 }
    }

    /// One that is in no message any more is free.
    fn put_token(&mut self, slot: usize, tag: u32, counts: Counts) {
        let tag = if counts == Counts::default() { 0 } else { tag };
        let both = counts.junk.min(0xffff) | counts.good.min(0xffff) << 16;
        self.put(token_at(slot), &tag.to_le_bytes());
        self.put(token_at(slot) + 4, &both.to_le_bytes());
    }

    /// As what a message was learned.
    fn known(&self, name: u64) -> Option<Kind> {
        let found = place(name, KNOWN).map(|slot| self.word(known_at(slot))).find(|word| word & !1 == name && *word != 0)?;
        Some(if found & 1 == 1 { Kind::Junk } else { Kind::Good })
    }

    /// The newest comes first; the last one, if there is no room, is forgotten.
    fn note(&mut self, name: u64, kind: Kind) {
        let word = name | u64::from(kind == Kind::Junk);
        let others = place(name, KNOWN).map(|slot| self.word(known_at(slot))).filter(|word| word & !1 != name && *word != 0);
        let words: Vec<u64> = [word].into_iter().chain(others).take(WAYS).collect();
        for (slot, word) in place(name, KNOWN).zip(words) {
            self.put(known_at(slot), &word.to_le_bytes());
        }
    }

    fn halve(&mut self) {
        let Counts { junk, good } = self.learned();
        self.put_totals(Counts { junk: junk / 2, good: good / 2 });
        for slot in 0..TOKENS {
            let Counts { junk, good } = self.counts(slot);
            let tag = self.number(token_at(slot));
            self.put_token(slot, tag, Counts { junk: junk / 2, good: good / 2 });
        }
    }

    fn put_totals(&mut self, Counts { junk, good }: Counts) {
        self.put(TOTALS, &junk.to_le_bytes());
        self.put(TOTALS + 4, &good.to_le_bytes());
    }

    fn check(&self) -> u32 {
        let before = crc32c::crc32c(self.bytes.get(..CHECK).unwrap_or_default());
        crc32c::crc32c_append(before, self.bytes.get(CHECK + 4..).unwrap_or_default())
    }

    fn number(&self, at: usize) -> u32 {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn word(&self, at: usize) -> u64 {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }
}

fn tag(hash: u64) -> u32 {
    ((hash >> 32) as u32).max(1)
}

/// The slots that a hash leads to, of so many.
fn place(hash: u64, slots: usize) -> std::ops::Range<usize> {
    // The last bit of a message's hash tells its kind.
    let first = (hash >> 1) as usize % (slots / WAYS) * WAYS;
    first..first + WAYS
}

fn token_at(slot: usize) -> usize {
    HEAD + slot * SLOT
}

fn known_at(slot: usize) -> usize {
    HEAD + (TOKENS + slot) * SLOT
}
