//! Flags and keywords (RFC 3501 §2.3.2), as sessions see them and as mbox files carry them. No I/O.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitXor, Not};

/// A message's system flags.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub(super) u8);

impl Flags {
    /// None at all.
    pub const NONE: Flags = Flags(0);
    /// `\Seen`; `R` in Status.
    pub const SEEN: Flags = Flags(1);
    /// `\Answered`; `A` in X-Status.
    pub const ANSWERED: Flags = Flags(2);
    /// `\Flagged`; `F` in X-Status.
    pub const FLAGGED: Flags = Flags(4);
    /// `\Deleted`; `D` in X-Status.
    pub const DELETED: Flags = Flags(8);
    /// `\Draft`; `T` in X-Status.
    pub const DRAFT: Flags = Flags(16);
    /// A session was told of it: the opposite of `\Recent`; `O` in Status. No client sets it.
    pub(super) const OLD: Flags = Flags(32);
    /// What a client may set.
    pub const ALL: Flags = Flags(31);
    /// Those that mutt loses where it writes a mailbox anew.
    pub(super) const LOSSY: Flags = Flags(8 | 16);

    /// As bits, to be kept elsewhere.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// What [`Flags::bits`] told; of other bits, nothing.
    pub fn from_bits(bits: u8) -> Flags {
        Flags(bits) & Flags::ALL
    }

    /// The names of those that are set, as IMAP writes them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| *name)
    }

    /// Are all of these set?
    pub fn has(self, flags: Flags) -> bool {
        self & flags == flags
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitAnd for Flags {
    type Output = Flags;
    fn bitand(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }
}

impl BitXor for Flags {
    type Output = Flags;
    fn bitxor(self, other: Flags) -> Flags {
        Flags(self.0 ^ other.0)
    }
}

impl Not for Flags {
    type Output = Flags;
    fn not(self) -> Flags {
        Flags(!self.0)
    }
}

/// The letters of `Status`, in the places we write them at.
const STATUS: [(Flags, u8); 2] = [(Flags::SEEN, b'R'), (Flags::OLD, b'O')];
/// The letters of `X-Status`.
const X_STATUS: [(Flags, u8); 4] =
    [(Flags::ANSWERED, b'A'), (Flags::FLAGGED, b'F'), (Flags::DRAFT, b'T'), (Flags::DELETED, b'D')];

/// The values of `Status` and `X-Status`: a place for each letter, blank if the flag is not set.
pub(super) fn letters(flags: Flags) -> ([u8; 2], [u8; 4]) {
    let show = |(flag, letter): (Flags, u8)| if flags.has(flag) { letter } else { b' ' };
    (STATUS.map(show), X_STATUS.map(show))
}

/// What the values of these two fields say.
pub(super) fn from_letters(status: &[u8], x_status: &[u8]) -> Flags {
    let has = |value: &[u8], letter| memchr::memchr(letter, value).is_some();
    let told = STATUS.iter().filter(|(_, letter)| has(status, *letter));
    let told = told.chain(X_STATUS.iter().filter(|(_, letter)| has(x_status, *letter)));
    told.fold(Flags::NONE, |all, (flag, _)| all | *flag)
}

/// A message's flags and keywords; keywords are bits, by their place in the folder's [`Keywords`]. Packed, for there are a lot.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[repr(Rust, packed)]
pub struct Marks {
    /// System flags.
    pub flags: Flags,
    /// One bit for each keyword.
    pub keywords: u64,
}

/// What a file says of a message's marks.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filed {
    pub marks: Marks,
    /// The fields stand there as we write them; else a program that knows neither `T` nor `D` may have written them.
    pub ours: bool,
}

/// What holds now: the marks as we know them, `known`, but for what the file says otherwise than when we last looked (`before`).
/// A program that rewrites a mailbox (mutt) loses `T` and `D`: that it lost them means nothing.
pub(super) fn merge(known: Marks, before: Marks, filed: Filed) -> Marks {
    let counts = if filed.ours { !Flags::NONE } else { !Flags::LOSSY | (filed.marks.flags & Flags::LOSSY) };
    let changed = (before.flags ^ filed.marks.flags) & counts;
    let keywords = before.keywords ^ filed.marks.keywords;
    Marks {
        flags: (known.flags & !changed) | (filed.marks.flags & changed),
        keywords: (known.keywords & !keywords) | (filed.marks.keywords & keywords),
    }
}

/// The most keywords a folder can have.
const MOST: usize = 64;
/// The longest keyword.
const LONGEST: usize = 128;

/// The keywords of a folder, in the order they were first used (RFC 3501 §2.3.2). A name is an atom; it is compared in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keywords(Vec<String>);

impl Keywords {
    /// Their names; the place of each is its bit.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Is there room for no more?
    pub fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// The names of these bits.
    pub fn of(&self, bits: u64) -> impl Iterator<Item = &str> {
        self.0.iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| name.as_str())
    }

    /// The bit of that name.
    pub fn bit(&self, name: &str) -> Option<u64> {
        self.0.iter().position(|own| own.eq_ignore_ascii_case(name)).map(|at| 1 << at)
    }

    /// A new one. None: there are too many, or this can't be one.
    pub(super) fn add(&mut self, name: &str) -> Option<u64> {
        if self.is_full() || !is_keyword(name) {
            return None;
        }
        self.0.push(name.to_owned());
        Some(1 << (self.0.len() - 1))
    }

    /// The bits of names as a field lists them; those not known are passed over.
    pub(super) fn bits(&self, names: &[u8]) -> u64 {
        let words = names.split(u8::is_ascii_whitespace).filter_map(|word| std::str::from_utf8(word).ok());
        words.filter_map(|word| self.bit(word)).fold(0, |all, bit| all | bit)
    }
}

/// An atom (RFC 3501 §9) that can stand in a header field.
pub(super) fn is_keyword(name: &str) -> bool {
    let special = |byte| matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']');
    !name.is_empty() && name.len() <= LONGEST && name.bytes().all(|byte| byte.is_ascii_graphic() && !special(byte))
}

/// As IMAP writes them.
const NAMES: [(Flags, &str); 5] = [
    (Flags::ANSWERED, "\\Answered"),
    (Flags::FLAGGED, "\\Flagged"),
    (Flags::DELETED, "\\Deleted"),
    (Flags::SEEN, "\\Seen"),
    (Flags::DRAFT, "\\Draft"),
];

impl fmt::Display for Flags {
    /// As IMAP writes them, separated by blanks.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.names().enumerate();
        names.try_for_each(|(at, name)| write!(out, "{}{name}", if at > 0 { " " } else { "" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_come_back() {
        for bits in 0..64 {
            let (status, x_status) = letters(Flags(bits));
            assert_eq!(from_letters(&status, &x_status), Flags(bits));
        }
        assert_eq!(from_letters(b" RO", b" FA"), Flags::SEEN | Flags::OLD | Flags::FLAGGED | Flags::ANSWERED);
        assert_eq!((Flags::SEEN | Flags::DELETED).to_string(), "\\Deleted \\Seen");
    }

    fn marks(flags: u8, keywords: u64) -> Marks {
        Marks { flags: Flags(flags), keywords }
    }

    #[test]
    fn mutt_flags_one_and_every_other_keeps_its_flags() {
        let known = Marks { flags: Flags::DELETED | Flags::SEEN | Flags::DRAFT, keywords: 5 };
        let filed = Filed { marks: Marks { flags: Flags::SEEN | Flags::OLD, keywords: 5 }, ours: false };
        let now = merge(known, known, filed);
        assert_eq!(now.flags, Flags::DELETED | Flags::SEEN | Flags::DRAFT | Flags::OLD);
        let unread = Filed { marks: Marks { flags: Flags::NONE, keywords: 5 }, ours: false };
        assert_eq!(merge(known, known, unread).flags, Flags::DELETED | Flags::DRAFT);
    }

    proptest! {
        #[test]
        fn what_nobody_touched_stays_and_the_last_word_counts(known in 0u8..64, before in 0u8..64, filed in 0u8..64, kw in any::<[u64; 3]>()) {
            let (k, b) = (marks(known, kw[0]), marks(before, kw[1]));
            // The file says what it said before: ours holds.
            prop_assert_eq!(merge(k, b, Filed { marks: b, ours: true }), k);
            // We have nothing that the file does not have: the file's word holds.
            let f = marks(filed, kw[2]);
            prop_assert_eq!(merge(b, b, Filed { marks: f, ours: true }), f);
        }
    }

    #[test]
    fn keywords_have_a_place_each_and_end_at_64() {
        let mut keywords = Keywords::default();
        assert_eq!((keywords.add("$Forwarded"), keywords.add("Work")), (Some(1), Some(2)));
        assert_eq!(keywords.bit("work"), Some(2));
        assert_eq!(keywords.bits(b" Work other  $forwarded "), 3);
        assert_eq!(keywords.of(2).collect::<Vec<_>>(), ["Work"]);
        assert!(["", "a b", "\\Seen", "a)", "ä"].iter().all(|name| keywords.add(name).is_none()));
        (2..64).for_each(|n| assert_eq!(keywords.add(&format!("k{n}")), Some(1 << n)));
        assert_eq!(keywords.add("more"), None);
    }
}
