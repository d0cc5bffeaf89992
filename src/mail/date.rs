//! Dates as mail writes them.

use crate::sys::Time;
use jiff::tz::TimeZone;
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
}
