//! FETCH (RFC 9051 §6.4.5), with BINARY (RFC 3516), CONDSTORE and QRESYNC (RFC 7162), OBJECTID, SAVEDATE and PREVIEW.

use super::answer::{Answer, Done, End};
use super::grammar::Set;
use super::grammar::fetch::{Bytes, Item, Name, Text};
use super::section::{Found, Source, cut, without_nul};
use super::select::{Selected, vanished};
use super::session::Session;
use super::update::show_flags;
use crate::mail::transfer::Decoder;
use crate::mail::{date, imap_text};
use crate::mailbox::{Change, Flags, MailboxError, Marks, Selected as Message, Summary, Uid};
use std::io::Write as _;
use std::ops::{Range, RangeInclusive};

/// What a FETCH asks for.
struct Wish {
    items: Vec<Item>,
    /// Only of messages that changed after this mod-sequence.
    since: Option<u64>,
    /// And which of these UIDs are gone since.
    earlier: Option<Vec<RangeInclusive<u32>>>,
    /// The messages were named by UID.
    uid: bool,
}

/// Why a message could not be told.
enum Trouble {
    /// The others can be.
    Message(MailboxError),
    /// Nobody knows how its part is encoded (UNKNOWN-CTE).
    Encoding,
    End(End),
}

impl From<MailboxError> for Trouble {
    fn from(error: MailboxError) -> Trouble {
        Trouble::Message(error)
    }
}

impl From<End> for Trouble {
    fn from(end: End) -> Trouble {
        Trouble::End(end)
    }
}

impl Session<'_> {
    /// FETCH and UID FETCH. Of messages that are gone nothing is told, of the others all.
    pub(super) fn fetch(&mut self, set: &Set, uid: bool, items: Vec<Item>, since: Option<u64>, earlier: bool) -> Done {
        let mut items = items;
        if earlier && !(uid && self.enabled.qresync) {
            return Ok(Answer::bad("VANISHED is for UID FETCH, after ENABLE QRESYNC"));
        }
        if since.is_some() && !items.contains(&Item::ModSeq) {
            items.push(Item::ModSeq);
        }
        self.enabled.condstore |= items.contains(&Item::ModSeq);
        if uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        let messages = match self.messages(set, uid) {
            Ok(messages) => messages,
            Err(answer) => return Ok(answer),
        };
        let Some(mut selected) = self.selected.take() else { return Ok(Answer::bad("no mailbox is selected")) };
        let earlier = earlier.then(|| self.uids_of(set));
        let mut seen = Vec::new();
        let told = self.tell_messages(&mut selected, &messages, &Wish { items, since, earlier, uid }, &mut seen);
        self.selected = Some(selected);
        // That these were seen was told with them.
        self.catch_up_but(false, &seen)?;
        told
    }

    /// The messages of a set. A number that no message has is an error, a UID is not (RFC 9051 §6.4.9).
    pub(super) fn messages(&self, set: &Set, uid: bool) -> Result<Vec<Message>, Answer> {
        let Some(selected) = &self.selected else { return Err(Answer::bad("no mailbox is selected")) };
        let view = &selected.view;
        if *set == Set::Saved || uid {
            return Ok(view.select(&self.uids_of(set), true)?);
        }
        let count = view.count()?;
        if set.is_beyond(count) {
            return Err(Answer::bad("there is no such message"));
        }
        Ok(view.select(&set.ranges(count), false)?)
    }

    fn tell_messages(&mut self, selected: &mut Selected, messages: &[Message], wish: &Wish, seen: &mut Vec<Uid>) -> Done {
        if let (Some(known), Some(since)) = (&wish.earlier, wish.since) {
            let vanished = vanished(&selected.view, &selected.view.messages().unwrap_or_default(), since, known);
            if !vanished.is_empty() {
                self.tell(format_args!("VANISHED (EARLIER) {vanished}"))?;
            }
        }
        let mut answer = Answer::ok("that is all");
        for message in messages {
            let Some(summary) = &message.summary else {
                answer = gone(wish.uid);
                continue;
            };
            if wish.since.is_some_and(|since| summary.modseq <= since) {
                continue;
            }
            match self.tell_message(selected, message.number, summary, &wish.items, seen) {
                Ok(()) => {}
                Err(Trouble::End(end)) => return Err(end),
                Err(Trouble::Encoding) => answer = Answer::no("UNKNOWN-CTE", "a part's encoding is not known"),
                Err(Trouble::Message(MailboxError::Gone)) => answer = gone(wish.uid),
                Err(Trouble::Message(error)) => answer = error.into(),
            }
        }
        Ok(answer)
    }

    fn tell_message(
        &mut self,
        selected: &mut Selected,
        number: u32,
        summary: &Summary,
        items: &[Item],
        seen: &mut Vec<Uid>,
    ) -> Result<(), Trouble> {
        let read = |item: &Item| match item {
            Item::Bytes(Bytes { peek, .. }) | Item::Binary { peek, .. } => !peek,
            _ => false,
        };
        let mut summary = summary.clone();
        let mut marked = false;
        // All that can fail is done before the first byte is sent.
        let source_view = &selected.view;
        let plans = {
            let source = Source::new(source_view, &summary);
            items.iter().map(|item| plan(&source, item)).collect::<Result<Vec<_>, _>>()?
        };
        if !selected.read_only && items.iter().any(read) && !summary.marks.flags.has(Flags::SEEN) {
            let marks = Marks { flags: Flags::SEEN, keywords: 0 };
            selected.view.mailbox().mark(&[summary.uid], Change::Add, marks, None)?;
            seen.push(summary.uid);
            if let Some(now) = selected.view.message(summary.uid)? {
                (summary, marked) = (now, true);
            }
        }
        let source = Source::new(&selected.view, &summary);
        self.connection.put(format!("* {number} FETCH (").as_bytes()).map_err(End::from)?;
        let mut text = Vec::new();
        let mut first = true;
        for (item, plan) in items.iter().zip(plans) {
            if !std::mem::take(&mut first) {
                text.push(b' ');
            }
            match plan {
                Plan::Text(made) => text.extend_from_slice(&made),
                Plan::Now => self.tell_now(selected, &summary, item, &mut text),
                Plan::Range { label, range } => {
                    let _ = write!(text, "{label} {{{}}}\r\n", range.end - range.start);
                    self.connection.put(&text).map_err(End::from)?;
                    text.clear();
                    source.send(range, &mut self.connection)?;
                }
            }
        }
        if marked && !items.contains(&Item::Flags) {
            let flags = show_flags(&summary, &selected.keywords, selected.view.is_recent(summary.uid) && !self.enabled.rev2);
            let _ = write!(text, " FLAGS ({flags})");
            if self.enabled.condstore && !items.contains(&Item::ModSeq) {
                let _ = write!(text, " MODSEQ ({})", summary.modseq);
            }
        }
        text.extend_from_slice(b")\r\n");
        self.connection.put(&text).map_err(End::from)?;
        Ok(())
    }

    /// What the summary says.
    fn tell_now(&self, selected: &Selected, summary: &Summary, item: &Item, out: &mut Vec<u8>) {
        let _ = match item {
            Item::Flags => {
                let recent = selected.view.is_recent(summary.uid) && !self.enabled.rev2;
                write!(out, "FLAGS ({})", show_flags(summary, &selected.keywords, recent))
            }
            Item::InternalDate => write!(out, "INTERNALDATE \"{}\"", date::imap(summary.date, summary.zone)),
            Item::Size => write!(out, "RFC822.SIZE {}", summary.size),
            Item::Uid => write!(out, "UID {}", summary.uid.0),
            Item::ModSeq => write!(out, "MODSEQ ({})", summary.modseq),
            Item::ThreadId => write!(out, "THREADID NIL"),
            Item::SaveDate => match summary.saved {
                Some(saved) => write!(out, "SAVEDATE \"{}\"", date::imap(saved, None)),
                None => write!(out, "SAVEDATE NIL"),
            },
            _ => Ok(()),
        };
    }
}

/// Some messages were gone: NO, if the client named them by number (RFC 2180 §4.1.2); a UID that is not there is no error
/// (RFC 9051 §6.4.9).
fn gone(uid: bool) -> Answer {
    let text = "some of these messages are gone";
    let answer = if uid { Answer::ok(text) } else { Answer::no("", text) };
    answer.with("EXPUNGEISSUED")
}

/// How an item is told.
enum Plan {
    /// By these bytes.
    Text(Vec<u8>),
    /// By what is known when its turn comes.
    Now,
    /// By this name and a range of the message.
    Range { label: String, range: Range<u64> },
}

fn plan(source: &Source<'_>, item: &Item) -> Result<Plan, Trouble> {
    let named = |name: &str, value: &[u8]| Plan::Text([name.as_bytes(), b" ", value].concat());
    Ok(match item {
        Item::Flags | Item::InternalDate | Item::Size | Item::Uid | Item::ModSeq | Item::ThreadId | Item::SaveDate => Plan::Now,
        Item::Envelope => named("ENVELOPE", &source.structure()?.envelope),
        Item::Body => named("BODY", &imap_text::body(source.structure()?, false)),
        Item::BodyStructure => named("BODYSTRUCTURE", &imap_text::body(source.structure()?, true)),
        Item::EmailId => named("EMAILID", source.email_id()?.as_bytes()),
        Item::Preview { .. } => {
            let mut out = b"PREVIEW ".to_vec();
            imap_text::string(source.structure()?.keys.preview.as_bytes(), &mut out);
            Plan::Text(out)
        }
        Item::Bytes(bytes) => plan_bytes(source, bytes)?,
        Item::Binary { part, partial, .. } => {
            let label = format!("BINARY[{}]{}", show_part(part), show_origin(*partial));
            match source.encoded(part)? {
                Err(true) => named(&label, b"NIL"),
                Err(false) => return Err(Trouble::Encoding),
                Ok((range, Decoder::Identity)) => Plan::Range { label, range: cut(range, *partial) },
                Ok((range, decoder)) => {
                    let decoded = decode(source, range, decoder)?;
                    let range = cut(0..decoded.len() as u64, *partial);
                    let wanted = decoded.get(range.start as usize..range.end as usize).unwrap_or_default();
                    // `literal8`, where there is a NUL.
                    let sign = if memchr::memchr(0, wanted).is_some() { "~" } else { "" };
                    Plan::Text([format!("{label} {sign}{{{}}}\r\n", wanted.len()).as_bytes(), wanted].concat())
                }
            }
        }
        Item::BinarySize(part) => {
            let size = match source.encoded(part)? {
                Err(true) => 0,
                Err(false) => return Err(Trouble::Encoding),
                Ok((range, Decoder::Identity)) => range.end - range.start,
                Ok((range, decoder)) => decode(source, range, decoder)?.len() as u64,
            };
            Plan::Text(format!("BINARY.SIZE[{}] {size}", show_part(part)).into_bytes())
        }
    })
}

fn decode(source: &Source<'_>, range: Range<u64>, mut decoder: Decoder) -> Result<Vec<u8>, MailboxError> {
    let mut decoded = Vec::new();
    source.each_piece(range, |piece| decoder.push(piece, &mut decoded))?;
    decoder.finish(&mut decoded);
    Ok(decoded)
}

fn plan_bytes(source: &Source<'_>, bytes: &Bytes) -> Result<Plan, Trouble> {
    let label = match bytes.name {
        Name::Rfc822 => "RFC822".to_owned(),
        Name::Rfc822Header => "RFC822.HEADER".to_owned(),
        Name::Rfc822Text => "RFC822.TEXT".to_owned(),
        Name::Body => format!("BODY[{}]{}", show_section(&bytes.part, &bytes.text), show_origin(bytes.partial)),
    };
    Ok(match source.find(&bytes.part, &bytes.text)? {
        Found::Nothing => Plan::Text(format!("{label} NIL").into_bytes()),
        Found::Made(made) => {
            let range = cut(0..made.len() as u64, bytes.partial);
            let wanted = without_nul(made.get(range.start as usize..range.end as usize).unwrap_or_default());
            Plan::Text([format!("{label} {{{}}}\r\n", wanted.len()).as_bytes(), &wanted].concat())
        }
        Found::Range(range) => Plan::Range { label, range: cut(range, bytes.partial) },
    })
}

fn show_part(part: &[u32]) -> String {
    part.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// Where the bytes begin that were asked for (RFC 9051 §7.5.2).
fn show_origin(partial: Option<(u64, u64)>) -> String {
    partial.map_or_else(String::new, |(from, _)| format!("<{from}>"))
}

fn show_section(part: &[u32], text: &Text) -> String {
    let mut shown = show_part(part);
    if !part.is_empty() && *text != Text::Whole {
        shown.push('.');
    }
    let fields = |names: &[String]| {
        let mut out = Vec::new();
        for (at, name) in names.iter().enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            // A name with characters that no atom has is quoted.
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
                out.extend_from_slice(name.as_bytes());
            } else {
                imap_text::string(name.as_bytes(), &mut out);
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    match text {
        Text::Whole => {}
        Text::Header => shown.push_str("HEADER"),
        Text::Body => shown.push_str("TEXT"),
        Text::Mime => shown.push_str("MIME"),
        Text::Fields(names) => shown += &format!("HEADER.FIELDS ({})", fields(names)),
        Text::FieldsNot(names) => shown += &format!("HEADER.FIELDS.NOT ({})", fields(names)),
    }
    shown
}
