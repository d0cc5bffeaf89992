//! DATA: the message (RFC 5321 §4.1.1.4).

use super::mail::Transaction;
use super::policy;
use super::session::{Hello, Outcome, Session};
use crate::auth::Shown;
use crate::config::Protocol;
use crate::delivery::{PostError, Trace};
use crate::mail::Envelope;
use crate::net::{Dots, NetError};
use crate::smtp::reply::{self, Reply};
use crate::spool::SpoolId;
use crate::sys::counters;
use crate::trust::Arrival;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

/// A message has this long to arrive, and more if it is big.
pub(super) const LEAST_TIME: Duration = Duration::from_secs(600);

/// A client that is slower, in bytes a second, is not waited for.
pub(super) const SLOWEST: u64 = 8192;

impl Session<'_> {
    /// DATA, to the reply after the final dot.
    pub(super) fn data(&mut self) -> Result<Outcome, NetError> {
        let Some(open) = self.transaction.take_if(|open| !open.envelope.recipients.is_empty()) else {
            return Ok(Outcome::Say(reply::RCPT_FIRST));
        };
        // What came already was not sent by who waited for 354: to take it for the message, or for commands, would both
        // be a guess (RFC 2920 §3.1).
        if self.is_strict() && self.connection.input_pending() {
            log::warn!("session={} smtp data refused reason=pipelined", self.name);
            return Ok(Outcome::Close(reply::PIPELINED));
        }
        let Transaction { envelope, accepted, size, .. } = open;
        let facts = Facts::of(&envelope);
        let trace = self.trace(&envelope);
        let mut letter = match self.server.post.begin(envelope, trace) {
            Ok(letter) => letter,
            Err(error) => return Ok(self.not_taken(error)),
        };
        self.say(&reply::GO_AHEAD)?;
        self.answers = if self.is_lmtp() { accepted } else { 1 };
        let mut sink = Counted { letter: &mut letter, bytes: 0 };
        let config = &self.server.config;
        let expected = size.unwrap_or(u64::MAX).min(config.max_message_size);
        self.connection.set_timeout(config.timeouts.data);
        self.connection.set_deadline(Some(LEAST_TIME + Duration::from_secs(expected / SLOWEST)));
        let dots = self.connection.read_dots(config.max_message_size, &mut sink)?;
        self.connection.set_timeout(config.timeouts.command);
        self.connection.set_deadline(Some(config.timeouts.command));
        let bytes = sink.bytes;
        let sent = match dots {
            Dots::Whole => letter.send(),
            Dots::Sink(error) => Err(letter_error(error)),
            Dots::TooBig => return Ok(self.refused(reply::TOO_BIG, "too big")),
            Dots::Malformed => return Ok(self.malformed()),
        };
        Ok(self.sent(sent, &facts, bytes))
    }

    /// The reply to a whole message.
    pub(super) fn sent(&mut self, sent: Result<SpoolId, PostError>, facts: &Facts, bytes: u64) -> Outcome {
        let id = match sent {
            Ok(id) => id,
            Err(error) => return self.not_taken(error),
        };
        let Facts { sender, recipients } = facts;
        log::info!("session={} smtp message id={id} from=<{}> recipients={recipients} bytes={bytes}", self.name, Shown(sender));
        counters::MESSAGES_RECEIVED.count();
        self.tally.messages += 1;
        self.tally.recipients += recipients;
        self.forgive();
        Outcome::Say(Reply::new(250, "2.0.0", format!("Ok: queued as {id}")))
    }

    /// What the trace field will say of this session, and whether the message is to be checked.
    pub(super) fn trace(&self, envelope: &Envelope) -> Trace {
        let tls = self.connection.tls();
        let extended = self.hello.as_ref().is_some_and(|hello| hello.extended);
        // RFC 3848, RFC 6531 §4.3. A process of this host did not log in by AUTH.
        let protocol = match (self.is_lmtp(), envelope.utf8) {
            (true, true) => "UTF8LMTP",
            (true, false) => "LMTP",
            (false, true) => "UTF8SMTP",
            (false, false) if extended => "ESMTP",
            (false, false) => "SMTP",
        };
        let by_auth = self.login.is_some() && self.is_strict();
        let (secure, known) = match protocol {
            // There are no words for these.
            "SMTP" => ("", ""),
            _ => (if tls.is_some() { "S" } else { "" }, if by_auth { "A" } else { "" }),
        };
        Trace {
            from: self.hello.as_ref().map(|Hello { from, .. }| from.clone()),
            with: format!("{protocol}{secure}{known}"),
            tls: tls.map(|info| format!("({} {})", info.version, info.cipher)),
            submission: self.protocol == Protocol::Submission,
            arrival: self.arrival(envelope),
        }
    }

    /// How a message arrives from a stranger, if it is to be checked.
    fn arrival(&self, envelope: &Envelope) -> Option<Arrival> {
        let ip = policy::stranger(&self.client(), &self.server.config).filter(|_| self.server.config.checks.verify)?;
        let hello = self.hello.as_ref()?;
        Some(Arrival { ip: ip.to_canonical(), helo: hello.name.clone(), sender: envelope.reverse_path.clone() })
    }

    /// A message with a bare CR or LF. Whoever built it may hope that its end is seen elsewhere than where we see it, so
    /// commands that came with it are not carried out.
    fn malformed(&mut self) -> Outcome {
        let more = self.is_strict() && self.connection.input_pending();
        match self.refused(reply::MALFORMED_MESSAGE, "malformed") {
            Outcome::Say(refusal) if more => Outcome::Close(refusal),
            outcome => outcome,
        }
    }

    pub(super) fn refused(&self, refusal: Reply, why: &str) -> Outcome {
        counters::MESSAGES_REFUSED.count();
        log::info!("session={} smtp message refused code={} reason={why:?}", self.name, refusal.code());
        Outcome::Say(refusal)
    }

    /// The one place where the post's errors become replies.
    pub(super) fn not_taken(&self, error: PostError) -> Outcome {
        match error {
            PostError::Full => self.refused(reply::NO_ROOM, "disk full"),
            PostError::Loop => self.refused(reply::LOOP, "loop"),
            PostError::HeaderTooBig => self.refused(reply::HEADER_TOO_BIG, "header too big"),
            // RFC 7489 §10.3.
            PostError::Unwanted(domain) => {
                let text = format!("Refused as the DMARC policy of {domain} wants it");
                self.refused(Reply::new(550, "5.7.1", text), "DMARC")
            }
            PostError::Io(error) => {
                counters::MESSAGES_REFUSED.count();
                log::error!("session={} smtp message not taken error={error:?}", self.name);
                Outcome::Say(reply::LOCAL_ERROR)
            }
            PostError::Uncertain => {
                log::error!("session={} smtp message uncertain: closing without a reply", self.name);
                Outcome::Vanish
            }
        }
    }
}

fn letter_error(error: io::Error) -> PostError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => PostError::Full,
        _ => PostError::Io(error.to_string()),
    }
}

/// Of an envelope that is given away with its message, for the log.
#[derive(Debug)]
pub(super) struct Facts {
    sender: String,
    recipients: u64,
}

impl Facts {
    pub(super) fn of(envelope: &Envelope) -> Facts {
        Facts { sender: envelope.reverse_path.to_string(), recipients: envelope.recipients.len() as u64 }
    }
}

/// Counts what passes through, for the log.
struct Counted<'a, W> {
    letter: &'a mut W,
    bytes: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.letter.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.letter.flush()
    }
}
