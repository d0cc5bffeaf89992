//! Is the client still there? Asked between the blocks of long work, which nobody else would end.

use crate::net::{Connection, FarEnd};
use crate::sys::Clock;
use std::time::Duration;

/// Who has closed its side is told something this often.
const EVERY: Duration = Duration::from_secs(5);

/// Asks a client.
pub(super) struct Pulse<'p> {
    connection: &'p mut Connection,
    clock: &'p dyn Clock,
    told: Option<Duration>,
}

impl<'p> Pulse<'p> {
    pub fn new(connection: &'p mut Connection, clock: &'p dyn Clock) -> Pulse<'p> {
        Pulse { connection, clock, told: None }
    }

    /// Will anybody read the answer? Who closed its side only will; who is gone resets the connection when something is sent.
    pub fn beats(&mut self) -> bool {
        match self.connection.far_end() {
            FarEnd::Open => true,
            FarEnd::Gone => false,
            FarEnd::Closed => {
                let now = self.clock.elapsed();
                if self.told.is_some_and(|told| now.saturating_sub(told) < EVERY) {
                    return true;
                }
                self.told = Some(now);
                self.connection.put(b"* OK still at it\r\n").and_then(|()| self.connection.flush()).is_ok()
            }
        }
    }
}
