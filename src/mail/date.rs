//! Dates as mail writes them.
use crate::sys::Time;

/// `Sat, 21 Nov 2026 09:18:51 +0000` in local time with its zone (RFC 5322 §3.3).
pub fn rfc5322(_time: Time) -> String {
    todo!()
}

/// `Sat Nov 21 09:18:51 2026` in UTC, as in an mbox `From ` line (RFC 4155).
pub fn asctime(_time: Time) -> String {
    todo!()
}
