//! BDAT: the message in chunks that are counted (CHUNKING, RFC 3030). What comes is text as with DATA, held to the same
//! rules: lines end in CRLF, wherever a chunk ends; binary content (BINARYMIME) is not offered.
//!
//! The bytes of a chunk follow its command without waiting. So they are read whatever is wrong, before the reply: else they
//! would be taken for commands. After a refusal the transaction is over, and the chunks that are still to come find none.

use super::data::{Facts, LEAST_TIME, SLOWEST};
use super::session::{Outcome, Session, State};
use crate::delivery::{Letter, PostError};
use crate::net::{NetError, Unwire};
use crate::smtp::reply::{self, Reply};
use std::io::Write;
use std::time::Duration;

/// A message of which chunks have come.
#[derive(Debug)]
pub(super) struct Arriving {
    letter: Letter,
    facts: Facts,
    unwire: Unwire,
    /// When MAIL came, by [`crate::sys::Clock::elapsed`].
    pub begun: Duration,
}

impl Arriving {
    /// What its bytes add to the time that an envelope has.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.unwire.size() / SLOWEST)
    }
}

impl Session<'_> {
    /// One chunk, to its reply.
    pub(super) fn bdat(&mut self, size: u64, last: bool) -> Result<Outcome, NetError> {
        let most = self.server.config.max_message_size;
        let mut arriving = match self.letter() {
            Ok(arriving) => arriving,
            Err(refusal) => {
                self.read_chunk(size, |_| {})?;
                return Ok(refusal);
            }
        };
        let Arriving { letter, unwire, .. } = &mut arriving;
        let (mut written, mut lines) = (Ok(()), Vec::new());
        self.read_chunk(size, |block| {
            if unwire.size().saturating_add(block.len() as u64) > most || written.is_err() {
                return unwire.pass_over(block.len());
            }
            unwire.push(block, &mut lines);
            written = letter.write_all(&lines);
            lines.clear();
        })?;
        if last && written.is_ok() {
            unwire.finish(&mut lines);
            written = letter.write_all(&lines);
        }
        match written {
            _ if unwire.is_malformed() => return Ok(self.refused(reply::MALFORMED_MESSAGE, "malformed")),
            _ if unwire.size() > most => return Ok(self.refused(reply::TOO_BIG, "too big")),
            Err(error) => return Ok(self.not_taken(PostError::Io(error.to_string()))),
            Ok(()) => {}
        }
        let bytes = unwire.size();
        if last {
            let Arriving { letter, facts, .. } = arriving;
            let sent = letter.send();
            return Ok(self.sent(sent, &facts, bytes));
        }
        self.arriving = Some(arriving);
        Ok(Outcome::Say(Reply::new(250, "2.0.0", format!("Ok: {size} bytes, {bytes} in all"))))
    }

    /// The letter that the chunk belongs to; the first one begins it.
    fn letter(&mut self) -> Result<Arriving, Outcome> {
        if let Some(arriving) = self.arriving.take() {
            return Ok(arriving);
        }
        if let state @ (State::Fresh | State::Greeted) = self.state() {
            return Err(Outcome::Say(state.refusal()));
        }
        let Some(open) = self.transaction.take_if(|open| !open.envelope.recipients.is_empty()) else {
            return Err(Outcome::Say(reply::RCPT_FIRST));
        };
        let (facts, trace) = (Facts::of(&open.envelope), self.trace(&open.envelope));
        match self.server.post.begin(open.envelope, trace) {
            Ok(letter) => Ok(Arriving { letter, facts, unwire: Unwire::default(), begun: open.begun }),
            Err(error) => Err(self.not_taken(error)),
        }
    }

    /// Reads the bytes of a chunk. However many they are said to be, they have no more time than a whole message.
    fn read_chunk(&mut self, size: u64, take: impl FnMut(&[u8])) -> Result<(), NetError> {
        let config = &self.server.config;
        self.connection.set_timeout(config.timeouts.data);
        self.connection.set_deadline(Some(LEAST_TIME + Duration::from_secs(size.min(config.max_message_size) / SLOWEST)));
        self.connection.read_bytes(size, take)?;
        self.connection.set_timeout(config.timeouts.command);
        self.connection.set_deadline(Some(config.timeouts.command));
        Ok(())
    }
}
