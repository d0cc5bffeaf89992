//! APPEND (RFC 9051 §6.3.12), several messages at once (RFC 3502), with APPENDUID (RFC 4315). Messages go to the journal as
//! they arrive.

use super::answer::{Answer, Done, End};
use super::grammar::{Announced, Append, Cursor, Flag, announced, show_uids};
use super::input::{AppendHead, message_head};
use super::session::Session;
use crate::delivery::Batch;
use crate::mail::Filing;
use crate::mailbox::Flags;
use crate::net::Line;
use std::io::Write;

/// Bytes of the line between two messages.
const MOST_LINE: usize = 64 << 10;

impl Session<'_> {
    /// APPEND, from the announcement of its first message on. All messages are filed, or none. What is refused is not asked
    /// for; if the client does not ask (`{n+}`), it is read and dropped.
    pub(super) fn append(&mut self, head: AppendHead, literal: Announced, refusal: Option<Answer>) -> Done {
        let AppendHead { folder, append, utf8 } = head;
        let mut batch = match refusal {
            Some(answer) => Err(answer),
            None => match self.folder(&folder).map(|(name, account)| self.server.post.file(&account, &name)) {
                Ok(Ok(batch)) => Ok(batch),
                Ok(Err(error)) => Err(Done::from(error)?),
                Err(answer) => Err(answer),
            },
        };
        let (mut append, mut utf8, mut literal) = (append, utf8, literal);
        let mut line = Vec::new();
        loop {
            if let Some(answer) = self.too_big(literal) {
                batch = batch.and(Err(answer));
            }
            if literal.waits {
                if let Err(answer) = batch {
                    return Ok(answer);
                }
                self.connection.put(b"+ go on\r\n")?;
            } else if batch.is_err() && (self.login.is_none() || literal.length > self.server.config.max_message_size) {
                return Err(End::Thrown("literal too long"));
            }
            self.take_message(&mut batch, &append, literal.length)?;
            match self.connection.read_line(MOST_LINE, &mut line)? {
                Line::Whole => {}
                Line::TooLong | Line::Malformed => return Err(End::Thrown("a line can't be read")),
            }
            let mut cursor = Cursor::new(&line);
            let closed = !utf8 || cursor.eat(b')');
            if closed && cursor.rest().is_empty() {
                break;
            }
            match (announced(&line), message_head(&mut cursor).filter(|_| closed)) {
                (Some(next), Some(head)) => ((append, utf8), literal) = (head, next),
                (next, _) => {
                    batch = batch.and(Err(Answer::bad("this is no message")));
                    // A literal that comes all the same must not be taken for commands.
                    let Some(next) = next else { break };
                    (literal, utf8) = (next, false);
                }
            }
        }
        match batch.map(Batch::commit) {
            Err(answer) => Ok(answer),
            Ok(Ok(filed)) => {
                self.note_own_mail(&folder, &filed.uids);
                Ok(Answer::ok("it is there").with(format!("APPENDUID {} {}", filed.validity, show_uids(&filed.uids))))
            }
            Ok(Err(error)) => error.into(),
        }
    }

    fn too_big(&self, literal: Announced) -> Option<Answer> {
        match literal.length {
            // RFC 3502 §6.3.11: so a client takes it back.
            0 => Some(Answer::no("CANNOT", "a message can't be empty")),
            length if length > self.server.config.max_message_size => Some(Answer::no("TOOBIG", "the message is too big")),
            _ => None,
        }
    }

    /// Reads a message into the batch, or, if there is none, nowhere.
    fn take_message(&mut self, batch: &mut Result<Batch, Answer>, append: &Append, length: u64) -> Result<(), End> {
        if let Ok(batch) = batch {
            let now = self.server.clock.now();
            let (date, zone) = append.date.map_or((now, None), |(date, zone)| (date, Some(zone)));
            let mut filing = Filing { date, zone, saved: now, ..Filing::default() };
            let mut flags = Flags::NONE;
            for flag in &append.flags {
                match flag {
                    Flag::System(flag) => flags = flags | *flag,
                    Flag::Keyword(name) => filing.keywords.push(name.clone()),
                }
            }
            filing.flags = flags.bits();
            batch.message(filing);
        }
        Ok(self.connection.read_bytes(length, |bytes| {
            // What is wrong with it is told at the commit.
            let _ = batch.as_mut().map(|batch| batch.write_all(bytes));
        })?)
    }
}
