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
        self.connection.set_deadline(Some(LONGEST + self.server.config.timeouts.data));
        if !self.tell_until_input(LONGEST, true)? {
            return Err(End::Thrown("you idled for too long"));
        }
        let mut line = Vec::new();
        match self.connection.read_line(MOST_LINE, &mut line)? {
            Line::Whole if line.eq_ignore_ascii_case(b"DONE") => Ok(Answer::ok("go on")),
            _ => Ok(Answer::bad("DONE was expected")),
        }
    }
}
