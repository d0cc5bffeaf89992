//! The date a message says it was sent (RFC 5322 §3.3, its obsolete forms, and what else is found in mail).

use jiff::{SignedDuration, civil};

const EPOCH: civil::DateTime = civil::datetime(1970, 1, 1, 0, 0, 0, 0);

/// A point in time and the zone it was written in.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Seconds since 1970 in UTC: SORT and THREAD compare these (RFC 5256 §2.2).
    pub utc: i64,
    /// Minutes east of Greenwich.
    pub offset: i16,
}

/// Words of a date that are looked at.
const WORDS: usize = 16;

impl Sent {
    /// The day that the sender's calendar showed: SEARCH SENTBEFORE and its kin look at the date as it was written (RFC 9051
    /// §6.4.4).
    pub fn day(self) -> civil::Date {
        let local = self.utc + i64::from(self.offset) * 60;
        EPOCH.saturating_add(SignedDuration::from_secs(local)).date()
    }

    /// Reads the value of a `Date` field; none if it names no day. A time that can't be read is midnight, a zone that
    /// can't be read is UTC (RFC 5256 §2.2).
    pub fn parse(value: &[u8]) -> Option<Sent> {
        let text = spaced(value);
        let (mut day, mut month, mut year, mut time, mut offset) = (None, None, None, None, None);
        // The words tell by themselves what they are, whatever their order: `21 Nov 2026 09:18:51 +0000`, `Sat Nov 21
        // 09:18:51 EST 2026`, `21-Nov-26`.
        for word in text.split_ascii_whitespace().take(WORDS) {
            let digits = word.len() <= 5 && word.bytes().all(|byte| byte.is_ascii_digit());
            if word.contains(':') {
                time = time.or_else(|| clock(word));
            } else if digits && day.is_none() && word.len() <= 2 {
                day = word.parse().ok();
            } else if digits && year.is_none() {
                year = full_year(word);
            } else if month.is_none() && month_of(word).is_some() {
                month = month_of(word);
            } else if year.is_some() || time.is_some() {
                offset = offset.or_else(|| zone(word));
            }
        }
        let (hour, minute, second) = time.unwrap_or_default();
        let date = civil::Date::new(year?, month?, day?).ok()?;
        // To the last day there is: a timestamp has bounds of its own.
        let local = date.at(hour, minute, second, 0).duration_since(EPOCH).as_secs();
        let offset = offset.unwrap_or(0);
        Some(Sent { utc: local - i64::from(offset) * 60, offset })
    }
}

/// Without comments, with blanks between what belongs apart.
fn spaced(value: &[u8]) -> String {
    let (mut text, mut depth, mut last) = (String::new(), 0_usize, b' ');
    // No date is longer; what is, is cut.
    for &byte in value.iter().take(256) {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            b',' => text.push(' '),
            // `21-Nov-2026`, but not `-0500`.
            b'-' if last.is_ascii_alphabetic() => text.push(' '),
            b'+' | b'-' => text.extend([' ', char::from(byte)]),
            _ if byte.is_ascii_graphic() && last == b'-' && byte.is_ascii_alphabetic() => {
                text.pop();
                text.push(char::from(byte));
            }
            b':' => {
                text.truncate(text.trim_end().len());
                text.push(':');
            }
            _ if byte.is_ascii_graphic() => text.push(char::from(byte)),
            _ if text.ends_with(':') => {}
            _ => text.push(' '),
        }
        last = byte;
    }
    text
}

/// `hour ":" minute [":" second]`; a leap second is the one before it.
fn clock(word: &str) -> Option<(i8, i8, i8)> {
    let mut fields = word.split(':').map(|field| field.parse::<i8>().ok());
    let (hour, minute, second) = (fields.next()??, fields.next()??, fields.next().unwrap_or(Some(0))?);
    let fine = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
    fine.then_some((hour, minute, second.min(59)))
}

/// RFC 5322 §4.3: years of two and three digits.
fn full_year(word: &str) -> Option<i16> {
    let year: i16 = word.parse().ok()?;
    Some(match word.len() {
        1 | 2 if year < 50 => year + 2000,
        1..=3 => year + 1900,
        _ => year,
    })
}

fn month_of(word: &str) -> Option<i8> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let start = word.get(..3)?;
    let at = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(start))?;
    i8::try_from(at + 1).ok()
}

/// Minutes east of Greenwich (RFC 5322 §4.3). Military zones count as unknown.
fn zone(word: &str) -> Option<i16> {
    const NAMES: [(&str, i16); 11] = [
        ("UT", 0),
        ("UTC", 0),
        ("GMT", 0),
        ("EST", -5),
        ("EDT", -4),
        ("CST", -6),
        ("CDT", -5),
        ("MST", -7),
        ("MDT", -6),
        ("PST", -8),
        ("PDT", -7),
    ];
    if let Some((_, hours)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        return Some(hours * 60);
    }
    let (sign, digits) = match word.as_bytes() {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let &[a, b, c, d] = digits else { return None };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i16::from(byte - b'0'));
    let (hours, minutes) = (digit(a)? * 10 + digit(b)?, digit(c)? * 10 + digit(d)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_every_shape_that_is_met() {
        let at = |utc, offset| Some(Sent { utc, offset });
        for (value, expected) in [
            ("Fri, 21 Nov 1997 09:55:06 -0600", at(880_127_706, -360)),
            ("21 Nov 97 09:55:06 GMT", at(880_106_106, 0)),
            (" Tue, 1 Jul 2003 10:52:37 +0200 (CEST (a) x)", at(1_057_049_557, 120)),
            ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", at(880_127_706, -360)),
            ("Sat Nov  1 12:26:40 2025", at(1_762_000_000, 0)),
            ("Sat Nov  1 12:26:40 EST 2025", at(1_762_018_000, -300)),
            ("1-Nov-2025 12:26:40+0100", at(1_761_996_400, 60)),
            ("Sat, 01 November 2025 12:26:40", at(1_762_000_000, 0)),
            ("Sun, 01 Nov 2025 12:26:40 Z", at(1_762_000_000, 0)),
            ("1 Nov 2025 25:00:00 +9999", at(1_761_955_200, 0)),
            ("1 Nov 125", at(1_761_955_200, 0)),
            ("31 Dec 2016 23:59:60 +0000", at(1_483_228_799, 0)),
            ("32 Nov 2025", None),
            ("30 Feb 2025", None),
            ("garbage", None),
            ("", None),
            ("1 Nov", None),
            ("99999999 Nov 99999999", None),
        ] {
            assert_eq!(Sent::parse(value.as_bytes()), expected, "{value}");
        }
        for (value, day) in [
            ("Sat, 1 Nov 2025 23:30:00 -0200", civil::date(2025, 11, 1)),
            ("Wed, 31 Dec 1969 23:59:59 +0200", civil::date(1969, 12, 31)),
            ("Fri, 31 Dec 9999 23:59:59 -0100", civil::date(9999, 12, 31)),
        ] {
            assert_eq!(Sent::parse(value.as_bytes()).unwrap().day(), day);
        }
    }
}
