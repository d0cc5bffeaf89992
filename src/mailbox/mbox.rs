//! The mbox format (RFC 4155, mboxrd): `From ` lines, the reserved block of state fields, the dead form. No I/O.
//!
//! The reserved block ends the header of every message we write. It always has [`BLOCK`] bytes: the slack stands in
//! `X-Keywords`, so a change of state is one small write in place, and other programs see it at once:
//!
//! ```text
//! X-IMAPbase: 1762000000 0000000012            in the first message of a file only: UIDVALIDITY, last UID
//! X-UID: 0000000012
//! Status:
//! X-Status:
//! X-Pillarbox: 0000000012 1762000000.000123 93a4c0e51b26f778-1f 0 5d41402abc4b2a76
//! X-Keywords:
//! ```
//!
//! `X-Pillarbox` is ours: UID, internal date, spool id, index of the recipient, and a seal over UIDVALIDITY, UID and
//! content, so that a UID found in a file is believed only of the message it was given to. Of a message that a session filed
//! there (APPEND, COPY, MOVE) it goes on with the save date and the internal date's zone: ` 1762000000.000123 +0100`.

use super::flags::{Filed, Keywords, Marks, from_letters, letters};
use super::table::NO_ZONE;
use crate::mail::{Address, ReversePath, date, header};
use crate::spool::SpoolId;
use crate::sys::Time;
use std::io::Write;
use std::ops::Range;

/// Bytes of the reserved block.
pub const BLOCK: usize = 256;
/// A `From ` line is not longer than this.
pub const LONGEST_FROM: usize = 1024;

/// With the UID of no message.
const DEAD: &[u8] = b"X-UID: 0000000000\nX-Status: D\n\n";
/// Bytes of a base line as we write it.
pub const BASE_LINE: usize = 34;
/// Where in it the last UID stands, ten digits.
pub const BASE_LAST: usize = 23;

/// UIDVALIDITY and the last UID given, as told in the first message.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// UIDVALIDITY.
    pub validity: u32,
    /// No message has a greater UID.
    pub last: u32,
}

/// What `X-Pillarbox` tells.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The UID the message was given.
    pub uid: u32,
    /// Internal date.
    pub time: Time,
    /// Where the message came from.
    pub id: SpoolId,
    /// For which of its recipients.
    pub recipient: u32,
    /// Binds the UID to mailbox and content.
    pub seal: u64,
    /// Of a message that a session filed: when it was saved here, and the internal date's zone, in minutes.
    pub saved: Option<(Time, i16)>,
}

impl Base {
    /// The line itself.
    pub fn line(&self) -> String {
        format!("X-IMAPbase: {:010} {:010}\n", self.validity, self.last)
    }

    fn parse(value: &[u8]) -> Option<Base> {
        let text = std::str::from_utf8(value).ok()?;
        let mut words = text.split_ascii_whitespace();
        Some(Base { validity: number(words.next()?)?, last: number(words.next()?)? })
    }
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A reserved block of `room` bytes, and the bits of the keywords that have a place in it. None: it does not fit.
pub fn block(room: usize, base: Option<Base>, mark: &Mark, marks: Marks, keywords: &Keywords) -> Option<(Vec<u8>, u64)> {
    let mut out = Vec::with_capacity(room);
    if let Some(base) = base {
        out.extend_from_slice(base.line().as_bytes());
    }
    let (status, x_status) = letters(marks.flags);
    // Writing to a vector does not fail.
    let _ = write!(out, "X-UID: {:010}\nStatus: ", mark.uid);
    out.extend_from_slice(&status);
    out.extend_from_slice(b"\nX-Status: ");
    out.extend_from_slice(&x_status);
    let _ = write!(out, "\nX-Pillarbox: {:010} {} {} {} {:016x}", mark.uid, stamp(mark.time), mark.id, mark.recipient, mark.seal);
    if let Some((saved, zone)) = mark.saved {
        let minutes = if zone == NO_ZONE { 0 } else { zone.unsigned_abs() };
        let _ = write!(out, " {} {}{:02}{:02}", stamp(saved), if zone < 0 { '-' } else { '+' }, minutes / 60, minutes % 60);
    }
    out.extend_from_slice(b"\nX-Keywords:");
    let mut written = 0;
    for name in keywords.of(marks.keywords) {
        if out.len() + 1 + name.len() < room {
            out.push(b' ');
            out.extend_from_slice(name.as_bytes());
            written |= keywords.bit(name).unwrap_or(0);
        }
    }
    if out.len() >= room {
        return None;
    }
    out.resize(room - 1, b' ');
    out.push(b'\n');
    Some((out, written))
}

fn stamp(time: Time) -> String {
    format!("{}.{:06}", time.seconds(), time.0.rem_euclid(1_000_000))
}

fn parse_stamp(text: &str) -> Option<Time> {
    let (seconds, micros) = text.split_once('.')?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(i64::from(number(micros)?)).map(Time)
}

/// `+hhmm` in minutes; `-0000` is no zone (RFC 5322 §3.3).
fn parse_zone(text: &str) -> Option<i16> {
    let (sign, digits) = text.split_at_checked(1)?;
    let digits = number(digits).filter(|number| digits.len() == 4 && number % 100 < 60)?;
    let minutes = i16::try_from(digits / 100 * 60 + digits % 100).ok()?;
    match sign {
        "+" => Some(minutes),
        "-" if minutes == 0 => Some(NO_ZONE),
        "-" => Some(-minutes),
        _ => None,
    }
}

/// What a header's state fields say.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// `X-IMAPbase` or `X-IMAP`, and where the base stands in the header.
    pub base: Option<Base>,
    /// Offset of the base field in the header, if it stands exactly as [`Base::line`] writes it.
    pub base_at: Option<usize>,
    /// Where the base line's keywords stand in the header.
    pub listed: Option<(usize, usize)>,
    /// `X-UID`.
    pub uid: Option<u32>,
    /// `X-Pillarbox`.
    pub mark: Option<Mark>,
    /// The pseudo-message c-client keeps at the front of a mailbox.
    pub internal: bool,
    /// `Status` and `X-Status`; keywords are left to who knows the folder's.
    pub filed: Filed,
    /// Where the value of `X-Keywords` stands, if it has one.
    pub keywords: Option<(usize, usize)>,
    /// The header ends with so many bytes of nothing but state fields.
    pub room: usize,
}

/// Reads the state fields of a header.
pub fn state(bytes: &[u8]) -> State {
    let mut state = State::default();
    let (mut x_imap, mut subject, mut run, mut end) = (false, false, None, 0);
    let (mut status, mut x_status): (&[u8], &[u8]) = (b"", b"");
    for field in header::fields(bytes) {
        let value = bytes.get(field.value.clone()).unwrap_or_default();
        end = field.whole.end;
        if !bytes.get(field.name.clone()).is_some_and(header::is_state) {
            run = None;
            subject |= field.is(bytes, "Subject") && memchr::memmem::find(value, b"FOLDER INTERNAL DATA").is_some();
            continue;
        }
        run.get_or_insert(field.whole.start);
        if field.is(bytes, "X-IMAPbase") || field.is(bytes, "X-IMAP") {
            x_imap |= field.is(bytes, "X-IMAP");
            state.base = Base::parse(value);
            state.listed = state.base.map(|_| (field.value.start, field.value.end));
            let whole = bytes.get(field.whole.clone()).unwrap_or_default();
            state.base_at = state.base.filter(|base| base.line().as_bytes() == whole).map(|_| field.whole.start);
        } else if field.is(bytes, "X-UID") {
            state.uid = std::str::from_utf8(value).ok().and_then(|text| number(text.trim()));
        } else if field.is(bytes, "X-Pillarbox") {
            state.mark = mark(value);
        } else if field.is(bytes, "Status") {
            status = value;
        } else if field.is(bytes, "X-Status") {
            x_status = value;
        } else if field.is(bytes, "X-Keywords") {
            state.keywords = Some((field.value.start, field.value.end)).filter(|_| !value.trim_ascii().is_empty());
        }
    }
    let flags = from_letters(status, x_status);
    let (ours, x_ours) = letters(flags);
    let as_written = status.strip_prefix(b" ") == Some(&ours) && x_status.strip_prefix(b" ") == Some(&x_ours);
    state.filed = Filed { marks: Marks { flags, keywords: 0 }, ours: as_written };
    state.room = run.map_or(0, |start| end - start);
    state.internal = x_imap && subject;
    state
}

fn mark(value: &[u8]) -> Option<Mark> {
    let text = std::str::from_utf8(value).ok()?;
    let mut words = text.split_ascii_whitespace();
    let uid = number(words.next()?)?;
    let time = parse_stamp(words.next()?)?;
    let (id, recipient) = (words.next()?.parse().ok()?, number(words.next()?)?);
    let seal = u64::from_str_radix(words.next()?, 16).ok()?;
    let saved = match words.next() {
        Some(saved) => Some((parse_stamp(saved)?, parse_zone(words.next()?)?)),
        None => None,
    };
    Some(Mark { uid, time, id, recipient, seal, saved })
}

/// The `From ` line of a message that a session filed: with the sender that the message itself tells.
pub fn from_line(own: &[u8], date: Time) -> Vec<u8> {
    let named = |name: &str| {
        let field = header::fields(own).find(|field| field.is(own, name))?;
        let value = header::unfold(own.get(field.value)?);
        let text = std::str::from_utf8(&value).ok()?;
        let path = text.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(text, |(path, _)| path);
        path.trim().parse::<Address>().ok()
    };
    let sender = named("Return-Path").or_else(|| named("Sender")).or_else(|| named("From"));
    // Blanks would hide the date from other programs; and no line is that long.
    let sender =
        sender.map(|sender| sender.to_string()).filter(|sender| sender.len() < LONGEST_FROM / 2 && !sender.contains(' '));
    format!("From {} {}\n", sender.as_deref().unwrap_or("MAILER-DAEMON"), date::asctime(date)).into_bytes()
}

/// What stands before a message's own header: `From ` line, Return-Path, Delivered-To. The second value is the length of the first.
pub fn prefix(return_path: &ReversePath, delivered_to: &Address, time: Time) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(160);
    match &return_path.0 {
        Some(address) => out.extend_from_slice(format!("From {address} ").as_bytes()),
        None => out.extend_from_slice(b"From MAILER-DAEMON "),
    }
    out.extend_from_slice(date::asctime(time).as_bytes());
    out.push(b'\n');
    let from = out.len();
    out.extend_from_slice(format!("Return-Path: <{return_path}>\nDelivered-To: {delivered_to}\n").as_bytes());
    (out, from)
}

/// Is this line (without its end) one that begins a message: `From `, a sender, a date as asctime writes it, perhaps a zone?
pub fn is_from_line(line: &[u8]) -> bool {
    date_of(line).is_some()
}

/// The date of a `From ` line; without a zone it is UTC (RFC 4155 appendix A).
pub fn date_of(line: &[u8]) -> Option<Time> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let rest = line.strip_prefix(b"From ")?;
    if line.len() > LONGEST_FROM {
        return None;
    }
    let mut words: [&[u8]; 8] = [b""; 8];
    let mut count = 0;
    // The date stands at the end: the last eight words are enough.
    for word in rest.rsplit(|byte| *byte == b' ').filter(|word| !word.is_empty()).take(8) {
        if let Some(place) = words.get_mut(count) {
            *place = word;
        }
        count += 1;
    }
    let words = words.get_mut(..count)?;
    words.reverse();
    (1..words.len()).find_map(|at| asctime(words.get(at..)?))
}

fn asctime(words: &[&[u8]]) -> Option<Time> {
    const DAYS: [&[u8]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
    const MONTHS: [&[u8]; 12] = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let [day, month, number, time, rest @ ..] = words else { return None };
    let digits = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
    let zone = |word: &[u8]| word.iter().all(|b| b.is_ascii_alphabetic()) || matches!(word, [b'+' | b'-', r @ ..] if digits(r));
    let is_time = matches!(time.len(), 5 | 8) && time.iter().all(|b| b.is_ascii_digit() || *b == b':') && time.contains(&b':');
    let year = |word: &[u8]| word.len() == 4 && digits(word);
    let (year, zone) = match rest {
        [y] if year(y) => (y, None),
        [a, b] if year(a) && zone(b) => (a, Some(b)),
        [a, b] if zone(a) && year(b) => (b, Some(a)),
        [a, b, y] if zone(a) && zone(b) && year(y) => (y, Some(a)),
        _ => return None,
    };
    if !(DAYS.contains(day) && number.len() <= 2 && digits(number) && is_time) {
        return None;
    }
    let month = MONTHS.iter().position(|name| name == month)?;
    let value = |word: &[u8]| word.iter().fold(0i64, |sum, byte| sum * 10 + i64::from(byte.wrapping_sub(b'0')));
    let mut clock = time.split(|byte| *byte == b':').map(value);
    let mut next = || clock.next().unwrap_or(0);
    let seconds = next() * 3600 + next() * 60 + next();
    let offset = match zone {
        Some([sign @ (b'+' | b'-'), digits @ ..]) if digits.len() == 4 => {
            let minutes = value(digits) / 100 * 60 + value(digits) % 100;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => 0,
    };
    Some(Time::from_seconds(days(value(year), month as i64 + 1, value(number)) * 86_400 + seconds - offset * 60))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Counted from March on, a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// A message that was removed, in the room it had: what to write, and which bytes between become NUL.
#[derive(Debug, PartialEq, Eq)]
pub struct Dead {
    /// To be written right after the `From ` line.
    pub header: Vec<u8>,
    /// What becomes NUL, counted from after the `From ` line.
    pub nuls: Range<u64>,
    /// To be written after that: the end.
    pub end: &'static [u8],
}

/// The dead form for `room` bytes after a `From ` line. None: there is too little room. A base line that others need is kept, if there is room.
pub fn dead(room: u64, base: Option<Base>) -> Option<Dead> {
    let with_base = base.map(|base| [base.line().as_bytes(), DEAD].concat()).filter(|header| header.len() as u64 <= room);
    let header = with_base.unwrap_or_else(|| DEAD.to_vec());
    let rest = room.checked_sub(header.len() as u64)?;
    let end: &'static [u8] = match rest {
        0 => b"",
        1 => b"\n",
        _ => b"\n\n",
    };
    let start = header.len() as u64;
    Some(Dead { nuls: start..room - end.len() as u64, header, end })
}

/// Is a message whose header (without the empty line) is this dead, if its body is nothing but NULs? Others change state
/// fields: mailx adds Status and drops the NULs, mutt takes the D, c-client gives a UID as to any message. What they leave is a
/// UID and no field that a sender wrote. What we filed without a header has our own field.
pub fn is_dead_header(header: &[u8]) -> bool {
    let mut end = 0;
    let mut uid = false;
    for field in header::fields(header) {
        let Some(name) = header.get(field.name.clone()).filter(|name| header::is_state(name)) else { return false };
        if field.whole.start != end || name.eq_ignore_ascii_case(b"X-Pillarbox") {
            return false;
        }
        uid |= name.eq_ignore_ascii_case(b"X-UID");
        end = field.whole.end;
    }
    uid && end == header.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::flags::Flags;

    fn id() -> SpoolId {
        SpoolId { generation: u64::MAX, counter: u64::MAX }
    }

    #[test]
    fn the_block_has_one_size_and_comes_back() {
        let time = Time(i64::MIN + 1_000_000);
        let short = Mark { uid: u32::MAX, time, id: id(), recipient: u32::MAX, seal: u64::MAX, saved: None };
        let long = Mark { saved: Some((time, -12 * 60 - 59)), ..short };
        let base = Base { validity: 1_762_000_000, last: 12 };
        for (base, mark) in [(None, short), (Some(base), short), (None, long), (Some(base), long)] {
            let mut keywords = Keywords::default();
            let names = keywords.add("Work").unwrap() | keywords.add(&"x".repeat(128)).unwrap();
            let marks = Marks { flags: Flags::SEEN | Flags::DELETED, keywords: names };
            let (block, written) = block(BLOCK, base, &mark, marks, &keywords).unwrap();
            assert_eq!((block.len(), written), (BLOCK, 1));
            assert!(block.ends_with(b" \n"), "{}", String::from_utf8_lossy(&block));
            let state = state(&block);
            assert_eq!((state.mark, state.uid, state.base), (Some(mark), Some(u32::MAX), base));
            assert_eq!((state.filed.marks.flags, state.filed.ours, state.room), (marks.flags, true, BLOCK));
            let (from, to) = state.keywords.unwrap();
            assert_eq!(keywords.bits(&block[from..to]), 1);
            assert_eq!(state.base_at, base.map(|_| 0));
        }
        assert_eq!(base.line().len(), BASE_LINE);
        assert_eq!(&base.line()[BASE_LAST..BASE_LINE - 1], "0000000012");
    }

    #[test]
    fn from_lines_need_a_sender_and_a_date() {
        for line in [
            "From a@b Sat Nov  1 12:26:40 2025",
            "From MAILER-DAEMON Sat Nov  1 12:26:40 2025\r",
            "From \"a b\"@c Sat Nov 1 12:26 2025",
            "From - Sat Nov  1 12:26:40 CET 2025",
            "From a Sat Nov  1 12:26:40 2025 +0100",
        ] {
            assert!(is_from_line(line.as_bytes()), "{line}");
        }
        for line in
            ["From me to you", "From Sat Nov  1 12:26:40 2025", ">From a Sat Nov  1 12:26:40 2025", "From a Sat Foo 1 1:1 2"]
        {
            assert!(!is_from_line(line.as_bytes()), "{line}");
        }
        assert_eq!(date_of(b"From a Sat Nov  1 12:26:40 2025"), Some(Time::from_seconds(1_762_000_000)));
        assert_eq!(date_of(b"From a Sat Nov  1 13:26:40 +0100 2025"), Some(Time::from_seconds(1_762_000_000)));
        assert_eq!(date_of(b"From a Thu Feb 29 00:00 2024"), Some(Time::from_seconds(1_709_164_800)));
        let (prefix, from) = prefix(&ReversePath(None), &"a@b".parse().unwrap(), Time::default());
        assert!(is_from_line(&prefix[..from - 1]));
    }

    #[test]
    fn the_dead_keep_their_length() {
        assert_eq!(dead(30, None), None);
        for room in 31..200u64 {
            for base in [None, Some(Base { validity: 7, last: 9 })] {
                let dead = dead(room, base).unwrap();
                assert_eq!(dead.nuls.start, dead.header.len() as u64);
                assert_eq!(dead.nuls.end + dead.end.len() as u64, room);
                assert!(is_dead_header(&dead.header[..dead.header.len() - 1]));
            }
        }
        for (dead, header) in [
            // What mailx, s-nail and mutt make of them.
            (true, &b"X-UID: 0000000000\nX-Status: D\nStatus: RO\n"[..]),
            (true, b"X-IMAPbase: 1764000000 0000000009\nX-UID: 0000000000\nStatus: O\nContent-Length: 7\nLines: 0\n"),
            // And c-client.
            (true, b"Status: O\nX-Status: \nX-Keywords:                  \nX-UID: 38\n"),
            (false, b"X-Status: D\n"),
            (false, b"X-UID: 38\nX-Pillarbox: what we filed without a header\n"),
            (false, b"X-UID: 0000000000\nX-Status: D\nno field\n"),
            (false, b"X-UID: 0000000000\nno field\nX-Status: D\n"),
            (false, b""),
            (false, b"X-UID: 0000000000\nX-Status: D\nA: b\n"),
        ] {
            assert_eq!(is_dead_header(header), dead, "{}", String::from_utf8_lossy(header));
        }
    }
}
