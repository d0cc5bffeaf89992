//! Dates as mail writes them.

use crate::sys::Time;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use std::sync::OnceLock;

/// The host's zone, read once: that takes more stack than a session should need.
static LOCAL: OnceLock<TimeZone> = OnceLock::new();

/// Reads the host's time zone. To be called at start, by a thread with a big stack.
pub fn load_zone() {
    LOCAL.get_or_init(TimeZone::system);
}

fn zoned(time: Time, zone: TimeZone) -> Zoned {
    Timestamp::from_microsecond(time.0).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone)
}

/// `Sat, 21 Nov 2026 09:18:51 +0000` in local time with its zone (RFC 5322 §3.3).
pub fn rfc5322(time: Time) -> String {
    zoned(time, LOCAL.get_or_init(TimeZone::system).clone()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

/// `Sat Nov 21 09:18:51 2026` in UTC, as in an mbox `From ` line (RFC 4155 appendix A).
pub fn asctime(time: Time) -> String {
    zoned(time, TimeZone::UTC).strftime("%a %b %e %H:%M:%S %Y").to_string()
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `17-Jul-1996 02:44:25 -0700` (RFC 3501 §9 `date-time`, without its quotes): in this zone, or in ours.
pub fn imap(time: Time, zone: Option<i16>) -> String {
    let offset = zone.and_then(|minutes| Offset::from_seconds(i32::from(minutes) * 60).ok());
    let zone = offset.map_or_else(|| LOCAL.get_or_init(TimeZone::system).clone(), TimeZone::fixed);
    let at = zoned(time, zone);
    // By hand: a list of 50,000 messages has 50,000 of these.
    let month = usize::try_from(at.month() - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"Jan");
    let (day, year, hour, minute, second) = (at.day(), at.year(), at.hour(), at.minute(), at.second());
    let minutes = at.offset().seconds() / 60;
    let (sign, hours, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60);
    format!("{day:02}-{month}-{year:04} {hour:02}:{minute:02}:{second:02} {sign}{hours:02}{minutes:02}")
}

/// The day that the clock shows then, in this zone or in ours.
pub fn day(time: Time, zone: Option<i16>) -> jiff::civil::Date {
    let offset = zone.and_then(|minutes| Offset::from_seconds(i32::from(minutes) * 60).ok());
    zoned(time, offset.map_or_else(|| LOCAL.get_or_init(TimeZone::system).clone(), TimeZone::fixed)).date()
}

/// The host's zone at that time, as `+0100`.
pub fn zone(time: Time) -> String {
    zoned(time, LOCAL.get_or_init(TimeZone::system).clone()).strftime("%z").to_string()
}

/// Reads `2026-12-31T09:00` by the host's clock.
pub fn local(text: &str) -> Option<Time> {
    let at: jiff::civil::DateTime = text.parse().ok()?;
    let at = at.to_zoned(LOCAL.get_or_init(TimeZone::system).clone()).ok()?;
    Some(Time(at.timestamp().as_microsecond()))
}

/// Reads what [`imap`] writes: the time, and the zone in minutes. The day may have one digit, after a space or not.
pub fn from_imap(text: &str) -> Option<(Time, i16)> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    let (date, rest) = text.split_once(' ')?;
    let (clock, zone) = rest.split_once(' ')?;
    let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_at_checked(2)?;
    let number =
        |text: &str, most: i16| text.parse::<i16>().ok().filter(|n| text.bytes().all(|b| b.is_ascii_digit()) && *n <= most);
    let minutes = number(hours, 23)? * 60 + number(minutes, 59).filter(|_| minutes.len() == 2)?;
    let minutes = if zone.starts_with('-') { -minutes } else { minutes };
    let mut parts = clock.split(':').map(|part| number(part, 60).filter(|_| part.len() == 2).and_then(|n| i8::try_from(n).ok()));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // A leap second is the one before it.
    let clock = jiff::civil::Time::new(hour, minute, second.min(59), 0).ok().filter(|_| parts.next().is_none())?;
    let zoned = imap_day(date)?.to_datetime(clock).to_zoned(TimeZone::fixed(Offset::from_seconds(i32::from(minutes) * 60).ok()?));
    Some((Time(zoned.ok()?.timestamp().as_microsecond()), minutes))
}

/// `1-Feb-1994` (RFC 3501 §9 `date-text`).
pub fn imap_day(text: &str) -> Option<jiff::civil::Date> {
    let mut parts = text.splitn(3, '-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
    let digits = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(day, 2) || !digits(year, 4) || year.len() != 4 {
        return None;
    }
    jiff::civil::Date::new(year.parse().ok()?, i8::try_from(month).ok()? + 1, day.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_shape_their_standards_ask_for() {
        let time = Time::from_seconds(1_762_000_000);
        assert_eq!(asctime(time), "Sat Nov  1 12:26:40 2025");
        let date = rfc5322(time);
        assert_eq!(mailparse::dateparse(&date).unwrap(), 1_762_000_000);
        assert_eq!(date.len(), "Sat, 01 Nov 2025 12:26:40 +0000".len());
    }
    #[test]
    fn imap_dates_come_back() {
        for text in ["17-Jul-1996 02:44:25 -0700", "01-Jan-2026 00:00:00 +0000", "29-Feb-2024 23:59:59 +0545"] {
            let (time, zone) = from_imap(text).unwrap();
            assert_eq!(imap(time, Some(zone)), text);
        }
        assert_eq!(from_imap(" 7-jul-1996 02:44:25 +0000").unwrap().1, 0);
        for bad in [
            "",
            "17-Jul-1996",
            "30-Feb-2024 00:00:00 +0000",
            "1-Jan-96 00:00:00 +0000",
            "1-Jan-1996 24:00:00 +0000",
            "1-Jan-1996 00:00:00 0000",
            "1-Jan-1996 0:00:00 +0000",
            "1-Jan-1996 00:00:00 +2400",
            "1-Jan-1996 00:00:00 +0000 x",
            "-1-Jan-1996 00:00:00 +0000",
        ] {
            assert_eq!(from_imap(bad), None, "{bad}");
        }
    }
}
