//! IDLE (RFC 2177): waits for the client and for the mailbox, and costs nothing while neither has anything to say.

use super::answer::{Answer, Done, End};
use super::session::Session;
use crate::net::Line;
use std::time::Duration;

/// Nobody idles for longer without a word (RFC 2177 tells clients to say one every 29 minutes).
const LONGEST: Duration = Duration::from_secs(35 * 60);
/// `DONE`, and a bit.
const MOST_LINE: usize = 64;

impl Session<'_> {
    /// IDLE, up to DONE.
    pub(super) fn idle(&mut self) -> Done {
        self.connection.put(b"+ idling\r\n")?;
        let begun = self.server.clock.elapsed();
        loop {
            let left = LONGEST.saturating_sub(self.server.clock.elapsed().saturating_sub(begun));
            if left.is_zero() {
                return Err(End::Thrown("you idled for too long"));
            }
            self.catch_up(true)?;
            self.connection.set_deadline(Some(left + self.server.config.timeouts.data));
            let waited = match self.selected.as_deref() {
                Some(selected) => {
                    selected.view.rest();
                    match selected.view.watch() {
                        Ok(bell) => self.connection.wait(bell, left),
                        Err(error) => return Ok(error.into()),
                    }
                }
                None => Ok(true),
            };
            if waited? {
                break;
            }
        }
        let mut line = Vec::new();
        match self.connection.read_line(MOST_LINE, &mut line)? {
            Line::Whole if line.eq_ignore_ascii_case(b"DONE") => Ok(Answer::ok("go on")),
            _ => Ok(Answer::bad("DONE was expected")),
        }
    }
}
