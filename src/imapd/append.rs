//! APPEND (RFC 9051 §6.3.12), several messages at once (RFC 3502), put together from parts (RFC 4469), and REPLACE (RFC 8508).
//! Messages go to the journal as they arrive.

use super::answer::{Answer, Done, End};
use super::catenate::LastView;
use super::grammar::{Announced, Append, AppendHead, Bad, Cursor, Flag, Piece, Replaced, announced, show_uids};
use super::input::MOST_DROPPED;
use super::session::Session;
use crate::delivery::{Batch, FileError};
use crate::mail::Filing;
use crate::mailbox::{Flags, Uid};
use crate::net::{Line, NetError};
use std::io::Write;

/// Bytes of the line between two literals.
const MOST_LINE: usize = 64 << 10;
/// Bytes of a URL.
const MOST_URL: u64 = 8 << 10;
/// URLs in one command: each may take a mailbox to be opened.
const MOST_URLS: usize = 1_000;

/// Why the messages are not taken.
pub(super) enum Refusal {
    Answer(Answer),
    End(End),
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Refusal {
        Refusal::Answer(answer)
    }
}

impl From<Bad> for Refusal {
    fn from(bad: Bad) -> Refusal {
        Refusal::Answer(bad.into())
    }
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Refusal {
        Done::from(error).map_or_else(Refusal::End, Refusal::Answer)
    }
}

impl From<NetError> for Refusal {
    fn from(error: NetError) -> Refusal {
        Refusal::End(error.into())
    }
}

/// The messages of one command, as far as they have come.
pub(super) struct Composition {
    pub batch: Batch,
    /// Another goes for them.
    replaces: bool,
    /// Bytes of the message at hand.
    pub size: u64,
    urls: usize,
    /// Where the last URL led.
    pub last: LastView,
}

impl Session<'_> {
    /// APPEND and REPLACE, from behind the mailbox on. All messages are filed, or none. What is refused is not asked for; if the
    /// client does not ask (`{n+}`), it is read and dropped.
    pub(super) fn append(&mut self, head: AppendHead, refusal: Option<Answer>) -> Done {
        let mut line = head.rest.clone();
        let taken = match refusal {
            Some(answer) => Err(answer.into()),
            None => self.take_messages(&head, &mut line),
        };
        match taken {
            Ok(composition) => self.file(&head.folder, composition),
            Err(Refusal::Answer(answer)) => self.drop_literals(&mut line).map(|()| answer),
            Err(Refusal::End(end)) => Err(end),
        }
    }

    fn begin(&self, head: &AppendHead) -> Result<Composition, Refusal> {
        let replaced = head.replaced.as_ref().map(|replaced| self.to_be_replaced(replaced)).transpose()?;
        let (name, account) = self.folder(&head.folder)?;
        let mut batch = self.server.post.file(&account, &name)?;
        if let (Some(uid), Some(selected)) = (replaced, &self.selected) {
            batch.replace(&selected.view, uid)?;
        }
        Ok(Composition { batch, replaces: replaced.is_some(), size: 0, urls: 0, last: LastView::default() })
    }

    /// The message that a REPLACE is about (RFC 8508 §3.4).
    fn to_be_replaced(&self, replaced: &Replaced) -> Result<Uid, Answer> {
        let messages = self.messages(&replaced.which, replaced.uid)?;
        if self.selected.as_deref().is_some_and(|selected| selected.read_only) {
            return Err(Answer::no("CANNOT", "the mailbox was opened to look at it only"));
        }
        match messages.first() {
            None => Err(Answer::no("NONEXISTENT", "there is no such message")),
            Some(message) if message.summary.is_none() => Err(Answer::no("EXPUNGEISSUED", "the message is gone")),
            Some(message) => Ok(message.uid),
        }
    }

    /// Reads all messages. When it refuses one, `line` is the line at hand, whose literal was neither asked for nor read.
    fn take_messages(&mut self, head: &AppendHead, line: &mut Vec<u8>) -> Result<Composition, Refusal> {
        let mut composition = self.begin(head)?;
        let (mut pieces, mut at, mut parts) = (head.pieces(), 0, None);
        loop {
            let mut cursor = Cursor::new(line.get(at..).unwrap_or_default());
            let piece = pieces.next(&mut cursor)?;
            at = line.len() - cursor.rest().len();
            if matches!(piece, Piece::Message { .. } | Piece::End) && parts == Some(true) && composition.size == 0 {
                return Err(Answer::no("CANNOT", "a message can't be empty").into());
            }
            match piece {
                Piece::End => return Ok(composition),
                Piece::Message { how, parts: put_together } => {
                    parts = Some(put_together);
                    composition.size = 0;
                    composition.batch.message(self.filing(how));
                }
                Piece::Text(literal) => {
                    // RFC 3502 §6.3.11: so a client takes it back.
                    if literal.length == 0 && parts == Some(false) {
                        return Err(Answer::no("CANNOT", "a message can't be empty").into());
                    }
                    self.fits(&mut composition, literal.length)?;
                    self.ask_for(literal)?;
                    // What is wrong with it is told at the commit.
                    self.connection.read_bytes(literal.length, |bytes| drop(composition.batch.write_all(bytes)))?;
                    at = self.next_line(line)?;
                }
                Piece::Url(url) => {
                    let url = url.into_owned();
                    self.take_url(&mut composition, &url)?;
                }
                Piece::LongUrl(literal) if literal.length > MOST_URL => {
                    return Err(Answer::no("BADURL", "the URL is too long").into());
                }
                Piece::LongUrl(literal) => {
                    let mut url = Vec::new();
                    self.ask_for(literal)?;
                    self.connection.read_bytes(literal.length, |bytes| url.extend_from_slice(bytes))?;
                    at = self.next_line(line)?;
                    self.take_url(&mut composition, &url)?;
                }
            }
        }
    }

    fn take_url(&mut self, composition: &mut Composition, url: &[u8]) -> Result<(), Refusal> {
        composition.urls += 1;
        if composition.urls > MOST_URLS {
            return Err(Answer::no("LIMIT", "too many URLs in one command").into());
        }
        self.add_url(composition, url)
    }

    /// Takes so many bytes into account, if the message may have them.
    pub(super) fn fits(&self, composition: &mut Composition, length: u64) -> Result<(), Answer> {
        composition.size = composition.size.saturating_add(length);
        if composition.size > self.server.config.max_message_size {
            return Err(Answer::no("TOOBIG", "the message is too big"));
        }
        Ok(())
    }

    fn ask_for(&mut self, literal: Announced) -> Result<(), NetError> {
        if literal.waits { self.connection.put(b"+ go on\r\n") } else { Ok(()) }
    }

    /// The line behind a literal, to be read from its beginning.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<usize, End> {
        match self.connection.read_line(MOST_LINE, line)? {
            Line::Whole => Ok(0),
            Line::TooLong | Line::Malformed => Err(End::Thrown("a line can't be read")),
        }
    }

    /// Reads what comes all the same, so that it is not taken for commands.
    fn drop_literals(&mut self, line: &mut Vec<u8>) -> Result<(), End> {
        while let Some(literal) = announced(line).filter(|literal| !literal.waits) {
            if self.login.is_none() || literal.length > MOST_DROPPED.max(self.server.config.max_message_size) {
                return Err(End::Thrown("literal too long"));
            }
            self.connection.read_bytes(literal.length, |_| {})?;
            self.next_line(line)?;
        }
        Ok(())
    }

    fn filing(&self, append: Append) -> Filing {
        let now = self.server.clock.now();
        let (date, zone) = append.date.map_or((now, None), |(date, zone)| (date, Some(zone)));
        let mut filing = Filing { date, zone, saved: now, ..Filing::default() };
        let mut flags = Flags::NONE;
        for flag in append.flags {
            match flag {
                Flag::System(flag) => flags = flags | flag,
                Flag::Keyword(name) => filing.keywords.push(name),
            }
        }
        filing.flags = flags.bits();
        filing
    }

    /// All is there: files it, with APPENDUID (RFC 4315 §3).
    fn file(&mut self, folder: &[u8], composition: Composition) -> Done {
        let Composition { batch, replaces, .. } = composition;
        let filed = match batch.commit() {
            Ok(filed) => filed,
            Err(error) => return error.into(),
        };
        self.note_own_mail(folder, &filed.uids);
        let code = format!("APPENDUID {} {}", filed.validity, show_uids(&filed.uids));
        if !replaces {
            return Ok(Answer::ok("it is there").with(code));
        }
        // What came is told first, then what went (RFC 8508 §4.3).
        self.tell(format_args!("OK [{code}] it is there"))?;
        self.catch_up(false)?;
        self.tell_removed()?;
        Ok(self.with_modseq(Answer::ok("replaced")))
    }
}

impl From<End> for Refusal {
    fn from(end: End) -> Refusal {
        Refusal::End(end)
    }
}
