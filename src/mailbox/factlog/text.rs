//! A log of facts as text. Pure.

use super::Sum;
use std::fmt::Write;

/// The first line.
pub const VERSION: &str = "pillarbox-state 1\n";
const FAMILY: &str = "pillarbox-state ";

/// A log of these facts.
pub fn text_of<S: Sum>(facts: &[S::Fact]) -> String {
    let mut text = String::from(VERSION);
    facts.iter().for_each(|fact| print::<S>(fact, &mut text));
    text
}

/// A fact as a line.
pub fn print<S: Sum>(fact: &S::Fact, out: &mut String) {
    let line = S::print(fact);
    let _ = writeln!(out, "{:08x} {line}", crc32c::crc32c(line.as_bytes()));
}

/// The sum of a log; none if anything in it is broken.
pub fn sum_of<S: Sum>(text: &[u8]) -> Option<S> {
    let parsed = parse::<S>(text);
    (parsed.broken == 0 && parsed.end == text.len() && !text.is_empty()).then_some(parsed.sum)
}

/// What a log says.
#[derive(Debug)]
pub struct Parsed<S> {
    pub sum: S,
    /// Bytes up to the last whole line.
    pub end: usize,
    /// Bytes of broken lines before whole ones, or of a broken version line.
    pub broken: usize,
}

/// Reads a log, or a part of one that begins with the first line.
pub fn parse<S: Sum>(bytes: &[u8]) -> Parsed<S> {
    let mut parsed = Parsed { sum: S::default(), end: 0, broken: 0 };
    let (mut at, mut bad) = (0, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        let fact = fact::<S>(line);
        if fact.is_none() && !(at == line.len() && line == VERSION.as_bytes()) {
            bad += line.len();
            continue;
        }
        parsed.broken += std::mem::take(&mut bad);
        parsed.end = at;
        fact.into_iter().for_each(|fact| parsed.sum.take(fact));
    }
    if parsed.broken > 0 {
        parsed.sum.lost(parsed.broken);
    }
    parsed
}

/// Bytes of broken lines before whole ones, and of broken ones at the end.
pub fn broken_bytes<S: Sum>(bytes: &[u8]) -> (usize, usize) {
    let parsed = parse::<S>(bytes);
    (parsed.broken, bytes.len() - parsed.end)
}

/// Does a log begin as one of a later version says it does?
pub fn is_of_another_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
    let Some((words, check)) = line.and_then(|line| line.rsplit_once(' ')) else { return false };
    let number = words.strip_prefix(FAMILY).and_then(|number| number.parse::<u32>().ok());
    number.is_some() && u32::from_str_radix(check, 16) == Ok(crc32c::crc32c(words.as_bytes()))
}

/// The fact of a line; none if that is broken.
pub fn fact<S: Sum>(line: &[u8]) -> Option<S::Fact> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (check, line) = (line.get(..8)?, line.get(8..)?.strip_prefix(' ')?);
    if u32::from_str_radix(check, 16).ok()? != crc32c::crc32c(line.as_bytes()) {
        return None;
    }
    S::parse(line)
}
