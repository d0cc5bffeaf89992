//! The commands of POP3 (RFC 1939, RFC 2449 §3, RFC 2595 §4, RFC 5034, RFC 6856): bytes of one line in, a [`Command`] out.
//! Pure.
//!
//! ```abnf
//! command = keyword *(SP param)        ; the keyword in any case
//! param   = 1*VCHAR
//! ```
//!
//! More than one space between, and spaces at the end, are let through, except with `PASS`, where they belong to the
//! password.

#[cfg(test)]
mod tests;

use crate::net::is_of_http;
use std::fmt;
use std::num::NonZeroU32;

/// The longest command line, CRLF included (RFC 2449 §4). `AUTH` with an initial response may be longer.
pub(super) const MOST_LINE: usize = 255;

/// One command, its arguments checked as far as they can be without a maildrop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Auth { mechanism: &'a str, initial: Option<&'a [u8]> },
    Capa,
    Dele(Number),
    List(Option<Number>),
    Noop,
    Pass(Secret<'a>),
    Quit,
    Retr(Number),
    Rset,
    Stat,
    Stls,
    Top { number: Number, lines: u64 },
    Uidl(Option<Number>),
    User(&'a str),
    Utf8,
}

/// A message's number within a session, from 1 (RFC 1939 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(NonZeroU32);

/// A password as it was sent, never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Secret<'a>(pub(super) &'a [u8]);

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No command of ours.
    Unknown,
    /// Not the arguments of this command, which is to be written so.
    Arguments(&'static str),
    /// A number no message can have.
    Number,
    /// Longer than [`MOST_LINE`].
    TooLong,
    /// It held a bare CR, a bare LF or a NUL.
    Malformed,
    /// A web browser, perhaps driven by an attacker's page: it must not get a second try.
    Http,
}

/// A row of the grammar: the keyword, how to write the command, and who reads what follows the keyword.
type Row = (&'static str, &'static str, for<'a> fn(&'a [u8]) -> Option<Result<Command<'a>, Fault>>);

const GRAMMAR: [Row; 15] = [
    ("AUTH", "AUTH mechanism [response]", auth),
    ("CAPA", "CAPA", |rest| nothing(rest, Command::Capa)),
    ("DELE", "DELE number", |rest| one(rest, Command::Dele)),
    ("LIST", "LIST [number]", |rest| perhaps_one(rest, Command::List)),
    ("NOOP", "NOOP", |rest| nothing(rest, Command::Noop)),
    ("PASS", "PASS password", pass),
    ("QUIT", "QUIT", |rest| nothing(rest, Command::Quit)),
    ("RETR", "RETR number", |rest| one(rest, Command::Retr)),
    ("RSET", "RSET", |rest| nothing(rest, Command::Rset)),
    ("STAT", "STAT", |rest| nothing(rest, Command::Stat)),
    ("STLS", "STLS", |rest| nothing(rest, Command::Stls)),
    ("TOP", "TOP number lines", top),
    ("UIDL", "UIDL [number]", |rest| perhaps_one(rest, Command::Uidl)),
    ("USER", "USER name", user),
    ("UTF8", "UTF8", |rest| nothing(rest, Command::Utf8)),
];

/// Reads one line, given without its CRLF.
pub(super) fn parse(line: &[u8]) -> Result<Command<'_>, Fault> {
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (keyword, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    if is_of_http(keyword) {
        return Err(Fault::Http);
    }
    let Some((name, usage, arguments)) = GRAMMAR.iter().find(|row| keyword.eq_ignore_ascii_case(row.0.as_bytes())) else {
        return Err(Fault::Unknown);
    };
    if line.len() + 2 > MOST_LINE && *name != "AUTH" {
        return Err(Fault::TooLong);
    }
    arguments(rest).unwrap_or(Err(Fault::Arguments(usage)))
}

type Parsed<'a> = Option<Result<Command<'a>, Fault>>;

fn nothing<'a>(rest: &'a [u8], command: Command<'a>) -> Parsed<'a> {
    words(rest).next().is_none().then_some(Ok(command))
}

fn one(rest: &[u8], command: fn(Number) -> Command<'static>) -> Parsed<'_> {
    let mut words = words(rest);
    let word = words.next()?;
    alone(words)?;
    Some(Number::parse(word)?.map(command))
}

fn perhaps_one(rest: &[u8], command: fn(Option<Number>) -> Command<'static>) -> Parsed<'_> {
    let mut words = words(rest);
    let Some(word) = words.next() else { return Some(Ok(command(None))) };
    alone(words)?;
    Some(Number::parse(word)?.map(|number| command(Some(number))))
}

/// ```abnf
/// top = "TOP" SP msg SP 1*DIGIT
/// ```
fn top(rest: &[u8]) -> Parsed<'_> {
    let mut words = words(rest);
    let (number, lines) = (words.next()?, words.next()?);
    alone(words)?;
    let number = Number::parse(number)?;
    let lines = digits(lines)?;
    Some(number.and_then(|number| Ok(Command::Top { number, lines: lines.ok_or(Fault::Number)? })))
}

/// ```abnf
/// user = "USER" SP 1*(VCHAR / UTF8-non-ascii)
/// ```
fn user(rest: &[u8]) -> Parsed<'_> {
    let mut words = words(rest);
    let name = words.next()?;
    alone(words)?;
    let name = std::str::from_utf8(name).ok()?;
    (!name.contains(char::is_control)).then_some(Ok(Command::User(name)))
}

/// All that follows the space is the password: it may hold and begin with spaces (RFC 1939 §7).
fn pass(rest: &[u8]) -> Parsed<'_> {
    rest.strip_prefix(b" ").map(|password| Ok(Command::Pass(Secret(password))))
}

/// ```abnf
/// auth             = "AUTH" SP sasl-mech [SP initial-response]     ; RFC 5034 §5
/// initial-response = base64 / "="
/// ```
fn auth(rest: &[u8]) -> Parsed<'_> {
    let mut words = words(rest);
    let mechanism = std::str::from_utf8(words.next()?).ok()?;
    let initial = words.next();
    alone(words)?;
    Some(Ok(Command::Auth { mechanism, initial }))
}

fn words(rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

fn alone<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<()> {
    words.next().is_none().then_some(())
}

/// Some(None): digits, but too many.
fn digits(word: &[u8]) -> Option<Option<u64>> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = word.iter().try_fold(0_u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    Some(value)
}

impl Number {
    /// ```abnf
    /// msg = 1*DIGIT
    /// ```
    fn parse(word: &[u8]) -> Option<Result<Number, Fault>> {
        let value = digits(word)?.and_then(|value| u32::try_from(value).ok());
        Some(value.and_then(NonZeroU32::new).map(Number).ok_or(Fault::Number))
    }

    /// Where the message stands in a list that begins at zero.
    pub(super) fn index(self) -> usize {
        usize::try_from(self.0.get() - 1).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}
