//! Replays the corpus of every parser, and mutations of it: the same ones each time, for as long as there is time.

mod session;
#[path = "../fuzz/targets.rs"]
mod targets;

use crate::common::{Random, top};
use crate::runner::{Test, note};
use std::fs;
use std::time::{Duration, Instant};
use targets::TARGETS;

/// How long, and how many mutations at most. PILLARBOX_FUZZ_SECONDS makes it as many as there is time for.
fn bounds() -> (Duration, u64) {
    match std::env::var("PILLARBOX_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()) {
        Some(seconds) => (Duration::from_secs(seconds), u64::MAX),
        None => (Duration::from_secs(1), 20_000),
    }
}

pub fn tests() -> Vec<Test> {
    let test = |(name, target): &'static (&'static str, fn(&[u8]))| {
        Test::named(format!("fuzz::{name}"), || replay(name, *target)).longer(bounds().0)
    };
    TARGETS.iter().map(test).chain(session::tests()).collect()
}

/// What a target begins with, in the order of its files' names.
fn corpus_of(name: &str) -> Vec<Vec<u8>> {
    let dir = top().join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty());
    corpus
}

fn replay(name: &str, target: fn(&[u8])) {
    let corpus = corpus_of(name);
    for (number, input) in corpus.iter().enumerate() {
        attempt(&format!("file {number} of {name}"), target, input);
    }
    let mut random = Random(0xf022);
    let begun = Instant::now();
    let (time, most) = bounds();
    for round in 0..most {
        if begun.elapsed() > time {
            break;
        }
        let input = mutate(&corpus, &mut random);
        attempt(&format!("mutation {round}"), target, &input);
    }
}

/// Runs it; what it was run on is told if it fails.
fn attempt(what: &str, target: fn(&[u8]), input: &[u8]) {
    let fine = std::panic::catch_unwind(|| target(input));
    if let Err(payload) = fine {
        note(format!("{what}: b\"{}\"", input.escape_ascii().to_string().chars().take(2000).collect::<String>()));
        std::panic::resume_unwind(payload);
    }
}

fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const SPICE: [&[u8]; 22] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b".",
        b"\r\n.\r\n",
        b"From ",
        b"\nFrom ",
        b">",
        b"<",
        b"@",
        b"\"",
        b":",
        b" ",
        b"\xff",
        b"=",
        b"*",
        b"99999999999999999999",
        b"-1",
        b"\t",
        b"\xc3\xb6",
        b"\\x{F6}",
    ];
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(input.len() + 1);
        match random.below(6) {
            0 => drop(input.splice(at..at, SPICE[random.below(SPICE.len())].iter().copied())),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 if at < input.len() => drop(input.drain(at..(at + 1 + random.below(8)).min(input.len()))),
            3 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            4 if at < input.len() => {
                let piece = input[at..(at + 1 + random.below(20)).min(input.len())].to_vec();
                let times = 1 + random.below(20);
                drop(input.splice(at..at, piece.repeat(times)));
            }
            _ => input.truncate(at),
        }
        input.truncate(20_000);
    }
    input
}
