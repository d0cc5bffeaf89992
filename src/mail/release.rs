//! When a message may leave (RFC 4865): the parameter of MAIL, read, kept and written again. The journal keeps it in the form
//! that SMTP gives it.

use super::dsn::BadParameter;
use crate::sys::Time;
use jiff::Timestamp;
use std::fmt;
use std::time::Duration;

/// What MAIL said of it.
///
/// ```abnf
/// hold-for-param   = "HOLDFOR=" future-release-interval      ; RFC 4865 §3
/// hold-until-param = "HOLDUNTIL=" future-release-date-time
/// future-release-interval  = 1*9DIGIT                        ; seconds
/// future-release-date-time = date-time                       ; RFC 3339 §5.6, in UTC
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Release {
    /// So many seconds after it was taken.
    After(u32),
    /// At that time, and as it was written.
    Until(Time, Box<str>),
}

impl Release {
    /// Takes the parameter in, if it is one of these. There may be one at most (RFC 4865 §4.2).
    pub fn take(place: &mut Option<Release>, name: &str, value: Option<&str>) -> Result<bool, BadParameter> {
        let read = match name {
            _ if name.eq_ignore_ascii_case("HOLDFOR") => Release::after,
            _ if name.eq_ignore_ascii_case("HOLDUNTIL") => Release::until,
            _ => return Ok(false),
        };
        let value = value.and_then(read).ok_or(BadParameter)?;
        if place.replace(value).is_some() { Err(BadParameter) } else { Ok(true) }
    }

    fn after(text: &str) -> Option<Release> {
        let digits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|seconds| digits && *seconds > 0).map(Release::After)
    }

    fn until(text: &str) -> Option<Release> {
        let shape = b"0000-00-00T00:00:00";
        let (start, rest) = text.as_bytes().split_at_checked(shape.len())?;
        let fits = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
        let fraction = rest.strip_suffix(b"Z")?;
        let digits = fraction.strip_prefix(b".").unwrap_or(b"0");
        if !start.iter().zip(shape).all(fits) || fraction == b"." || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let stamp: Timestamp = text.parse().ok()?;
        Some(Release::Until(Time(stamp.as_microsecond()), text.into()))
    }

    /// When the message may leave that was taken then.
    pub fn at(&self, taken: Time) -> Time {
        match self {
            Release::After(seconds) => taken + Duration::from_secs(u64::from(*seconds)),
            Release::Until(time, _) => *time,
        }
    }

    /// As a report names it (RFC 4865 §5.1.2).
    pub fn told(&self) -> String {
        match self {
            Release::After(seconds) => format!("for;{seconds}"),
            Release::Until(_, text) => format!("until;{text}"),
        }
    }
}

impl fmt::Display for Release {
    /// The parameter, after a blank.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Release::After(seconds) => write!(out, " HOLDFOR={seconds}"),
            Release::Until(_, text) => write!(out, " HOLDUNTIL={text}"),
        }
    }
}

/// As EHLO names the latest time.
pub fn shown(time: Time) -> String {
    Timestamp::from_microsecond(time.0).map_or_else(|_| String::new(), |stamp| stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(name: &str, value: &str) -> Result<Option<Release>, BadParameter> {
        let mut place = None;
        Release::take(&mut place, name, Some(value)).map(|_| place)
    }

    #[test]
    fn both_forms_come_back_as_they_were() {
        let (begun, hour) = (Time::from_seconds(1_800_000_000), Time::from_seconds(1_800_003_600));
        let until = shown(hour);
        for (name, value, told) in [
            ("HOLDFOR", "3600", "for;3600".to_owned()),
            ("HoldUntil", until.as_str(), format!("until;{until}")),
            ("HOLDUNTIL", &until.replace('Z', ".000Z"), format!("until;{}", until.replace('Z', ".000Z"))),
        ] {
            let release = taken(name, value).unwrap().unwrap();
            assert_eq!((release.at(begun), release.told()), (hour, told));
            let (name, value) =
                release.to_string().trim_start().split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap();
            assert_eq!(taken(&name, &value), Ok(Some(release)));
        }
        assert_eq!(taken("HOLD", "3"), Ok(None));
    }

    #[test]
    fn what_is_no_time_or_said_twice() {
        for value in ["", "0", "-1", "+1", "1x", "1234567890", "1.5"] {
            assert_eq!(taken("HOLDFOR", value), Err(BadParameter), "{value}");
        }
        for value in [
            "",
            "tomorrow",
            "2026-11-27",
            "2026-13-27T00:00:00Z",
            "2026-11-27T25:00:00Z",
            "2026-11-27T00:00:00",
            "2026-11-27T00:00:00+01:00",
            "2026-11-27T00:00:00.Z",
            "2026-11-27 00:00:00Z",
            "2026-11-27T00:00:00Z[UTC]",
        ] {
            assert_eq!(taken("HOLDUNTIL", value), Err(BadParameter), "{value}");
        }
        let mut place = taken("HOLDFOR", "1").unwrap();
        assert_eq!(Release::take(&mut place, "HOLDUNTIL", Some("2026-11-27T00:00:00Z")), Err(BadParameter));
        assert_eq!(Release::take(&mut None, "HOLDFOR", None), Err(BadParameter));
    }
}
