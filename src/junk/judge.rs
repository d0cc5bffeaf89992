//! What a message is taken for, by the tokens that tell most: those of Robinson (A Statistical Approach to the Spam Problem, 2003),
//! combined by Fisher's method as SpamBayes does it. Pure.

use super::memory::{Counts, Memory};
use super::tokens::{Tokens, explain};
use super::{Kind, REQUIRED};

/// So many messages of each kind must have been learned before anything is said.
pub const ENOUGH: u32 = 20;

/// Tokens that count: whoever fills a message with harmless words does not outweigh those that gave it away.
const MOST: usize = 30;
/// What a token that was seen once or twice is believed, against [`UNKNOWN`].
const STRENGTH: f64 = 0.45;
/// What a token that was never seen is worth.
const UNKNOWN: f64 = 0.5;
/// Nearer to that than this, a token tells nothing.
const LEAST: f64 = 0.1;
/// Reasons that are told.
const REASONS: usize = 5;

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// From 0, good, to 1, junk.
    pub score: f64,
    /// What spoke for it most, in plain words; in US-ASCII, and without anything that means something in a comment.
    pub reasons: Vec<String>,
}

impl Judgement {
    /// Is it taken for junk?
    pub fn is_junk(&self) -> bool {
        self.score >= REQUIRED
    }
}

/// None: too little was learned yet.
pub fn judge(memory: &Memory, tokens: &Tokens) -> Option<Judgement> {
    let learned = memory.learned();
    if learned.junk < ENOUGH || learned.good < ENOUGH {
        return None;
    }
    let mut clues: Vec<(f64, u64, &str)> = Vec::new();
    for text in tokens.texts() {
        let hash = memory.hash(text);
        let chance = chance(memory.count(hash), learned);
        if (chance - UNKNOWN).abs() >= LEAST {
            clues.push((chance, hash, text));
        }
    }
    // Of equals those are taken that nobody else can choose: the hash is the user's own.
    let weight = |chance: f64| (chance - UNKNOWN).abs();
    clues.sort_by(|one, other| weight(other.0).total_cmp(&weight(one.0)).then(one.1.cmp(&other.1)));
    clues.truncate(MOST);
    let score = combine(clues.iter().map(|(chance, ..)| *chance));
    let speaks_for = |chance: f64| (chance >= UNKNOWN) == (score >= 0.5);
    let reasons = clues.iter().filter(|(chance, ..)| speaks_for(*chance)).filter_map(|(.., text)| explain(text));
    Some(Judgement { score, reasons: reasons.take(REASONS).collect() })
}

/// How likely a message with this token is junk, as far as so few can tell.
fn chance(seen: Counts, learned: Counts) -> f64 {
    let share = |count: u32, all: u32| (f64::from(count) / f64::from(all.max(1))).min(1.0);
    let (junk, good) = (share(seen.junk, learned.junk), share(seen.good, learned.good));
    let times = f64::from(seen.junk) + f64::from(seen.good);
    if junk + good == 0.0 {
        return UNKNOWN;
    }
    (STRENGTH * UNKNOWN + times * (junk / (junk + good))) / (STRENGTH + times)
}

/// Fisher's method in both directions; what speaks for both or for neither is in the middle.
fn combine(chances: impl Iterator<Item = f64>) -> f64 {
    let (mut as_junk, mut as_good, mut count) = (0.0, 0.0, 0_u32);
    for chance in chances {
        let chance = chance.clamp(0.001, 0.999);
        as_junk += (1.0 - chance).ln();
        as_good += chance.ln();
        count += 1;
    }
    if count == 0 {
        return UNKNOWN;
    }
    let (junk, good) = (1.0 - tail(-as_junk, count), 1.0 - tail(-as_good, count));
    ((junk - good + 1.0) / 2.0).clamp(0.0, 1.0)
}

/// The chance that a chi-squared value of `2 * count` degrees of freedom is greater than `2 * half`.
fn tail(half: f64, count: u32) -> f64 {
    let mut term = (-half).exp();
    let mut sum = term;
    for step in 1..count {
        term *= half / f64::from(step);
        sum += term;
    }
    sum.min(1.0)
}

impl Kind {
    /// The count of this kind.
    pub(super) fn of(self, counts: &mut Counts) -> &mut u32 {
        match self {
            Kind::Junk => &mut counts.junk,
            Kind::Good => &mut counts.good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-3
    }

    #[test]
    fn the_tail_is_that_of_tables() {
        // Two and ten degrees of freedom, at 5 %.
        assert!(near(tail(5.991 / 2.0, 1), 0.05) && near(tail(18.307 / 2.0, 5), 0.05));
        assert!(near(tail(0.0, 30), 1.0) && tail(500.0, 30) < 1e-100);
    }

    #[test]
    fn what_is_seen_once_is_believed_a_bit() {
        let learned = Counts { junk: 100, good: 50 };
        let chance = |junk, good| chance(Counts { junk, good }, learned);
        assert_eq!(chance(0, 0), 0.5);
        assert!(near(chance(1, 0), 0.845) && near(chance(0, 1), 0.155));
        // Twice as much junk was learned: one of each speaks for good mail.
        assert!(chance(1, 1) < 0.5 && near(chance(2, 1), 0.5));
        assert!(chance(100, 0) > 0.99 && chance(100, 0) < 1.0);
        // Counts that an aged file can't have do no harm.
        assert!((0.0..=1.0).contains(&chance(1000, 0)) && (0.0..=1.0).contains(&chance(u32::MAX, u32::MAX)));
    }

    #[test]
    fn combined_they_say_more_and_contradicting_they_say_nothing() {
        let of = |chances: &[f64]| combine(chances.iter().copied());
        assert_eq!(of(&[]), 0.5);
        assert!(of(&[0.9; 10]) > 0.99 && of(&[0.1; 10]) < 0.01);
        assert!(of(&[0.9; 2]) < of(&[0.9; 6]));
        assert!(near(of(&[0.99, 0.01]), 0.5) && near(of(&[0.999; 30].map(|one| one)), 1.0));
        let mixed: Vec<f64> = (0..30).map(|n| if n % 2 == 0 { 0.99 } else { 0.01 }).collect();
        assert!(near(of(&mixed), 0.5));
        assert!(of(&[f64::MIN_POSITIVE, 1.0]).is_finite());
    }
}
