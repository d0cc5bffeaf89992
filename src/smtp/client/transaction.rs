//! One message, given to a server (RFC 5321 §3.3).

use super::conversion::{Conversion, pieces};
use super::{Client, DATA_BEGIN, DATA_BLOCK, DATA_END, Failure, GREETING, LAST_WORDS, MAIL, RCPT, Reply};
use crate::mail::convert::{Converter, Plan, Refusal};
use crate::mail::mboxrd::ToWire;
use crate::mail::{Address, Envelope, Recipient};
use crate::net::NetError;
use crate::spool::Message;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// A message of so many bytes in the spool goes out with its envelope, in one chunk, where that can be (RFC 3030).
const ONE_CHUNK: u64 = 32 * 1024;

/// Bytes a second below which a server is too slow to wait for.
const SLOWEST: u64 = 512;

/// What is to be sent.
#[derive(Copy, Clone, Debug)]
pub struct Parcel<'a> {
    /// The sender, and what MAIL says else.
    pub envelope: &'a Envelope,
    /// Of the envelope, at least one, and no more than a server must take (RFC 5321 §4.5.3.1.8: 100).
    pub recipients: &'a [&'a Recipient],
    /// Bytes in wire form.
    pub size: u64,
    /// It holds bytes beyond ASCII.
    pub eight_bit: bool,
    /// Its header does, and is meant to be UTF-8; or, once it is begun, SMTPUTF8 is said for another reason.
    pub utf8: bool,
    /// REQUIRETLS is to be said: the line is fit for that.
    pub require_tls: bool,
    /// In disk form.
    pub message: &'a Message,
}

/// What a server said to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server has the message now.
    Taken(Reply),
    /// It has not, and says so: 4xx or 5xx.
    Refused(Reply),
    /// It took others and has no room for more recipients at a time: to be sent again at once (RFC 5321 §4.5.3.1.10).
    Later,
    /// The conversation broke off before it was decided; the text says how.
    Broken(String),
    /// The message is bigger than the server takes (RFC 1870 §6.1), which takes so many bytes.
    TooBig(u64),
    /// The server knows no SMTPUTF8, and an address of the envelope, or the header, can't go without (RFC 6531 §3.5).
    NeedsUtf8(International),
    /// The message has 8-bit content, the server can't take it, and it can't be converted (RFC 6152 §3).
    EightBit(Refusal),
}

/// What of a message needs SMTPUTF8.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum International {
    /// The sender's local part.
    Sender,
    /// The recipient's.
    Recipient,
    /// A header.
    Header,
}

impl Parcel<'_> {
    /// What of it can't go to this recipient by a server without SMTPUTF8. A domain beyond ASCII can: it has A-labels.
    fn international(&self, recipient: &Recipient) -> Option<International> {
        let has_own = |address: &Address| !address.local().is_ascii();
        match () {
            () if self.envelope.reverse_path.0.as_ref().is_some_and(has_own) => Some(International::Sender),
            () if has_own(&recipient.address) => Some(International::Recipient),
            () if self.utf8 => Some(International::Header),
            () => None,
        }
    }

    /// Must the server know SMTPUTF8, for all of it to go there?
    pub fn is_international(&self) -> bool {
        self.recipients.iter().any(|recipient| self.international(recipient).is_some())
    }
}

impl Answer {
    /// By the reply to the message.
    fn to_message(reply: &Reply) -> Answer {
        if reply.is_positive() { Answer::Taken(reply.clone()) } else { Answer::Refused(reply.clone()) }
    }
}

impl Client {
    /// Sends one message in one transaction and tells what became of each recipient, in order. Afterwards
    /// [`Client::is_usable`] tells whether the connection is.
    pub fn send(&mut self, parcel: &Parcel<'_>) -> Vec<Answer> {
        let is_now = self.extensions.of_one_transaction(parcel.recipients);
        let now: Vec<&Recipient> =
            parcel.recipients.iter().zip(&is_now).filter(|(_, is_now)| **is_now).map(|(recipient, _)| *recipient).collect();
        let mut answers = self.send_if_international(&Parcel { recipients: &now, ..*parcel }).into_iter();
        let answer = |is_now: bool| if is_now { answers.next() } else { Some(Answer::Later) };
        is_now.into_iter().filter_map(answer).collect()
    }

    /// Sends it to those it can go to as the server is.
    fn send_if_international(&mut self, parcel: &Parcel<'_>) -> Vec<Answer> {
        if self.extensions.utf8 || !parcel.is_international() {
            return self.send_at_once(parcel);
        }
        let needs: Vec<Option<International>> =
            parcel.recipients.iter().map(|recipient| parcel.international(recipient)).collect();
        let fit: Vec<&Recipient> =
            parcel.recipients.iter().zip(&needs).filter(|(_, need)| need.is_none()).map(|(recipient, _)| *recipient).collect();
        let answers = if fit.is_empty() { Vec::new() } else { self.send_at_once(&Parcel { recipients: &fit, ..*parcel }) };
        let mut answers = answers.into_iter();
        let answer = |need: Option<International>| match need {
            Some(need) => Some(Answer::NeedsUtf8(need)),
            None => answers.next(),
        };
        needs.into_iter().filter_map(answer).collect()
    }

    fn send_at_once(&mut self, parcel: &Parcel<'_>) -> Vec<Answer> {
        let all = parcel.recipients.len();
        let conversion = match parcel.eight_bit && !self.extensions.eight_bit {
            true => match Conversion::of(parcel.message) {
                Ok(Ok(conversion)) => Some(conversion),
                Ok(Err(refusal)) => return vec![Answer::EightBit(refusal); all],
                Err(failure) => return vec![Answer::Broken(failure.to_string()); all],
            },
            false => None,
        };
        let (plan, utf8) = (conversion.as_ref().map(|conversion| &conversion.plan), self.says_utf8(parcel));
        let parcel = &match &conversion {
            Some(conversion) => Parcel { size: conversion.size, eight_bit: false, utf8, ..*parcel },
            None => Parcel { utf8, ..*parcel },
        };
        if let Some(most) = self.extensions.size.filter(|most| *most != 0 && *most < parcel.size) {
            return vec![Answer::TooBig(most); all];
        }
        let mut answers = vec![None; all];
        self.answered = false;
        let broken = match self.transact(parcel, plan, &mut answers) {
            Ok(()) => String::new(),
            Err(failure) => {
                self.broken = true;
                failure.to_string()
            }
        };
        self.transactions += 1;
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Answer::Broken(broken.clone()))).collect()
    }

    /// Without pipelining every reply is awaited before the next command; with it (RFC 2920 §3.1) MAIL, all RCPT and DATA
    /// go out in one write, and the replies are read in the same order. With chunking (RFC 3030 §4.2) a small message goes
    /// with them: there is no reply to DATA to wait for. By a plan the message is converted on its way.
    fn transact(&mut self, parcel: &Parcel<'_>, plan: Option<&Plan>, answers: &mut [Option<Answer>]) -> Result<(), Failure> {
        if self.unfinished {
            let reply = self.ask("RSET\r\n", "to RSET", GREETING)?;
            if !reply.is_positive() {
                return Err(super::unwanted("to RSET", reply));
            }
        }
        self.unfinished = true;
        let piped = self.extensions.pipelining;
        self.hear_nothing("at MAIL")?;
        self.wait(MAIL);
        let opening = self.mail_command(parcel);
        let chunk = if piped && self.extensions.chunking && plan.is_none() && !self.lmtp { chunk(parcel.message)? } else { None };
        self.put(opening.as_bytes(), "at MAIL")?;
        if piped {
            let rcpt = |recipient: &&Recipient| self.rcpt_command(recipient, parcel.utf8);
            let rest: String = parcel.recipients.iter().map(rcpt).chain(chunk.is_none().then(|| "DATA\r\n".to_owned())).collect();
            self.put(rest.as_bytes(), "at MAIL")?;
        }
        if let Some(chunk) = &chunk {
            self.put(format!("BDAT {} LAST\r\n", chunk.len()).as_bytes(), "at MAIL")?;
            self.put(chunk, "in the message")?;
        }
        let mail = self.reply("to MAIL", MAIL)?;
        self.answered = true;
        if !mail.is_positive() {
            if !(mail.is_temporary() || mail.is_permanent()) {
                return Err(super::unwanted("to MAIL", mail));
            }
            answers.fill(Some(Answer::Refused(mail)));
            return if piped { self.end_in_vain(parcel.recipients.len(), chunk.is_some()) } else { Ok(()) };
        }
        if !self.offer_recipients(parcel, answers)? {
            return if piped { self.end_in_vain(0, chunk.is_some()) } else { Ok(()) };
        }
        if chunk.is_some() {
            let last = self.end_of_message()?;
            self.unfinished = !last.is_positive();
            conclude(answers, &last);
            return Ok(());
        }
        let data = if piped { self.reply("to DATA", DATA_BEGIN)? } else { self.ask("DATA\r\n", "to DATA", DATA_BEGIN)? };
        let last = match data.code {
            354 => match self.transmit(parcel, plan)? {
                first if self.lmtp && !self.broken => return self.conclude_each(answers, first),
                last => last,
            },
            400..600 => data,
            _ => return Err(super::unwanted("to DATA", data)),
        };
        conclude(answers, &last);
        Ok(())
    }

    /// Reads the replies to RCPT, asking first unless that was done. Those who are accepted stay without an answer; true if
    /// there are any.
    fn offer_recipients(&mut self, parcel: &Parcel<'_>, answers: &mut [Option<Answer>]) -> Result<bool, Failure> {
        let mut accepted = 0_usize;
        for (recipient, answer) in parcel.recipients.iter().zip(answers.iter_mut()) {
            let reply = match self.extensions.pipelining {
                true => self.reply("to RCPT", RCPT)?,
                false => self.ask(&self.rcpt_command(recipient, parcel.utf8), "to RCPT", RCPT)?,
            };
            *answer = match reply.code {
                200..300 => {
                    accepted += 1;
                    None
                }
                452 | 552 if accepted > 0 && is_too_many(&reply) => Some(Answer::Later),
                400..600 => Some(Answer::Refused(reply)),
                _ => return Err(super::unwanted("to RCPT", reply)),
            };
        }
        Ok(accepted > 0)
    }

    /// After a pipelined transaction without a recipient: reads what is still to come. A server that wants data all the
    /// same gets an empty message (RFC 2920 §3.1). `sent`: the message went in a chunk.
    fn end_in_vain(&mut self, replies: usize, sent: bool) -> Result<(), Failure> {
        for _ in 0..replies {
            self.reply("to RCPT", RCPT)?;
        }
        if sent {
            return self.end_of_message().map(drop);
        }
        if self.reply("to DATA", DATA_BEGIN)?.code == 354 {
            if self.lmtp {
                // To a message for nobody there is no reply to wait for.
                return Err(Failure::Garbled("to DATA", "no recipients, and go-ahead"));
            }
            self.ask(".\r\n", "to an empty message", DATA_END)?;
        }
        Ok(())
    }

    /// Sends the message and its final dot, and reads the reply on which all depends.
    fn transmit(&mut self, parcel: &Parcel<'_>, plan: Option<&Plan>) -> Result<Reply, Failure> {
        const STAGE: &str = "in the message";
        self.wait(DATA_BLOCK);
        let block = DATA_BLOCK.min(self.patience);
        self.connection.set_deadline(Some(block + Duration::from_secs(parcel.size / SLOWEST)));
        if let Err(failure) = self.stream(parcel.message, plan) {
            // A server that closes or replies in mid-message may have said why. Without the final dot it has no message.
            let speaks = matches!(failure, Failure::Net(_, NetError::Closed) | Failure::Garbled(..));
            let reason = speaks.then(|| self.reply(STAGE, LAST_WORDS));
            self.broken = true;
            return match reason {
                Some(Ok(reply)) if reply.is_temporary() || reply.is_permanent() => Ok(reply),
                Some(Err(refusal @ Failure::Reply(..))) => Err(refusal),
                _ => Err(failure),
            };
        }
        let reply = self.end_of_message()?;
        self.unfinished = false;
        Ok(reply)
    }

    /// In LMTP each recipient that was accepted has a reply of its own, in their order, of which the first has come
    /// (RFC 2033 §4.2). Where they break off, what was said before holds.
    fn conclude_each(&mut self, answers: &mut [Option<Answer>], first: Reply) -> Result<(), Failure> {
        let mut first = Some(first);
        for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
            let reply = match first.take() {
                Some(first) => first,
                None => self.end_of_message()?,
            };
            *answer = Some(Answer::to_message(&reply));
        }
        Ok(())
    }

    /// The reply on which all depends.
    fn end_of_message(&mut self) -> Result<Reply, Failure> {
        let reply = self.reply("after the message", DATA_END)?;
        match reply.code {
            300..400 => Err(super::unwanted("after the message", reply)),
            _ => Ok(reply),
        }
    }

    fn stream(&mut self, message: &Message, plan: Option<&Plan>) -> Result<(), Failure> {
        const STAGE: &str = "in the message";
        let mut dots = self.connection.dot_writer();
        let (mut converter, mut converted) = (plan.map(Converter::new), Vec::new());
        pieces(message, |wire| {
            let piece = match &mut converter {
                Some(converter) => {
                    converted.clear();
                    converter.push(wire, &mut converted);
                    &converted
                }
                None => wire,
            };
            dots.write_all(piece).map_err(|error| Failure::Net(STAGE, error.into()))
        })?;
        // A reply that is there before the final dot is none to the message: whoever gave it does not have it.
        if dots.is_interrupted() {
            return Err(Failure::Garbled(STAGE, "reply before its end"));
        }
        dots.finish().map_err(|error| Failure::Net(STAGE, error))?;
        self.connection.flush().map_err(|error| Failure::Net(STAGE, error))
    }

    fn mail_command(&self, parcel: &Parcel<'_>) -> String {
        let (path, utf8) = (&parcel.envelope.reverse_path, parcel.utf8);
        let mut command = match path.to_ascii() {
            Some(ascii) if !utf8 => format!("MAIL FROM:<{ascii}>"),
            _ => format!("MAIL FROM:<{path}>"),
        };
        // Writing to a String does not fail.
        if self.extensions.size.is_some() {
            let _ = write!(command, " SIZE={}", parcel.size);
        }
        if parcel.eight_bit {
            command.push_str(" BODY=8BITMIME");
        }
        if parcel.require_tls {
            command.push_str(" REQUIRETLS");
        }
        if utf8 {
            command.push_str(" SMTPUTF8");
        }
        if self.extensions.dsn {
            let _ = write!(command, "{}", parcel.envelope.dsn);
        }
        command.push_str("\r\n");
        command
    }

    fn rcpt_command(&self, recipient: &Recipient, utf8: bool) -> String {
        let Recipient { address, dsn, .. } = recipient;
        let mut command = match address.to_ascii() {
            Some(ascii) if !utf8 => format!("RCPT TO:<{ascii}>"),
            _ => format!("RCPT TO:<{address}>"),
        };
        if self.extensions.dsn {
            let _ = if utf8 { write!(command, "{dsn}") } else { write!(command, "{}", dsn.to_ascii()) };
        }
        command.push_str("\r\n");
        command
    }

    /// Is SMTPUTF8 said (RFC 6531 §3.4)? Else domains are told with A-labels.
    fn says_utf8(&self, parcel: &Parcel<'_>) -> bool {
        let addresses = parcel.recipients.iter().all(|recipient| recipient.address.is_ascii());
        self.extensions.utf8 && (parcel.utf8 || !addresses || !parcel.envelope.reverse_path.is_ascii())
    }
}

/// The message was taken or not; that is the answer to all who have none yet.
fn conclude(answers: &mut [Option<Answer>], last: &Reply) {
    for answer in answers.iter_mut().filter(|answer| answer.is_none()) {
        *answer = Some(Answer::to_message(last));
    }
}

/// A whole message in wire form, if it is small.
fn chunk(message: &Message) -> Result<Option<Vec<u8>>, Failure> {
    let Some(length) = usize::try_from(message.len()).ok().filter(|_| message.len() <= ONE_CHUNK) else { return Ok(None) };
    let mut room = Vec::new();
    let disk = message.piece(0, length, &mut room).map_err(Failure::Spool)?;
    if disk.len() != length {
        return Err(Failure::Spool(std::io::ErrorKind::UnexpectedEof.into()));
    }
    let (mut to_wire, mut wire) = (ToWire::default(), Vec::with_capacity(length + length / 16));
    to_wire.push(disk, &mut wire);
    to_wire.finish(&mut wire);
    Ok(Some(wire))
}

/// Is 452 or 552 about the number of recipients (RFC 5321 §4.5.3.1.10), not about this one's mailbox or the message?
fn is_too_many(reply: &Reply) -> bool {
    reply.enhanced.is_none_or(|status| (status.1, status.2) == (5, 3))
}
