//! FETCH (RFC 9051 §6.4.5), with BINARY (RFC 3516), CONDSTORE and QRESYNC (RFC 7162), OBJECTID, SAVEDATE and PREVIEW.

use super::answer::{Answer, Done, End};
use super::grammar::fetch::{Bytes, Item, Name, Text};
use super::grammar::{Partial, Set};
use super::section::{Found, Source, cut, without_nul};
use super::select::{Selected, vanished};
use super::session::Session;
use super::update::{push_flags, push_number};
use crate::mail::transfer::Decoder;
use crate::mail::{date, imap_text};
use crate::mailbox::{Change, Flags, MailboxError, Marks, Selected as Message, Summary, Uid};
use std::borrow::Cow;
use std::io::Write as _;
use std::ops::{Range, RangeInclusive};

/// So many bytes are read before their length is told: another session may remove the message meanwhile, and then the connection
/// would have to be closed.
const HELD: u64 = 256 << 10;

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
    /// With `partial` it is only about so many of the messages of the set that there are (RFC 9394 §3.3).
    pub(super) fn fetch(
        &mut self,
        set: &Set,
        uid: bool,
        items: Vec<Item>,
        since: Option<u64>,
        earlier: bool,
        partial: Option<Partial>,
    ) -> Done {
        let mut items = items;
        if earlier && !(uid && self.enabled.qresync) {
            return Ok(Answer::bad("VANISHED is for UID FETCH, after ENABLE QRESYNC"));
        }
        if since.is_some() && !items.contains(&Item::ModSeq) {
            items.push(Item::ModSeq);
        }
        if items.contains(&Item::ModSeq) {
            self.enable_condstore()?;
        }
        if uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        let mut messages = match self.messages(set, uid) {
            Ok(messages) => messages,
            Err(answer) => return Ok(answer),
        };
        if let Some(partial) = partial {
            messages.retain(|message| message.summary.is_some());
            messages = messages.get(partial.of(messages.len())).unwrap_or_default().to_vec();
        }
        let Some(selected) = self.selected.take() else { return Ok(Answer::bad("no mailbox is selected")) };
        // Here `*` is no message but all that may have been.
        let earlier = earlier.then(|| set.ranges(selected.view.uid_next().saturating_sub(1)));
        let mut seen = Vec::new();
        let told = self.tell_messages(&selected, &messages, &Wish { items, since, earlier, uid }, &mut seen);
        self.selected = Some(selected);
        // That these were seen was told with them.
        self.catch_up_but(false, &seen)?;
        told
    }

    /// Tells something of a message that came (RFC 5465 §5.2).
    pub(super) fn tell_new(&mut self, selected: &Selected, message: Message, items: &[Item]) -> Result<(), End> {
        let mut items = items.to_vec();
        // RFC 7162 §3.2.6
        if self.enabled.qresync && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        let wish = Wish { items, since: None, earlier: None, uid: true };
        // What can't be told of one, its FETCH will tell when it is asked for.
        self.tell_messages(selected, &[message], &wish, &mut Vec::new()).map(|_| ())
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

    fn tell_messages(&mut self, selected: &Selected, messages: &[Message], wish: &Wish, seen: &mut Vec<(Uid, u64)>) -> Done {
        if let (Some(known), Some(since)) = (&wish.earlier, wish.since) {
            let vanished = vanished(&selected.view, &selected.view.messages().unwrap_or_default(), since, known);
            if !vanished.is_empty() {
                self.tell(format_args!("VANISHED (EARLIER) {vanished}"))?;
            }
        }
        let mut some_gone = messages.iter().any(|message| message.summary.is_none());
        let mut failed = None;
        let alive = messages.iter().filter_map(|message| Some((message.number, message.summary.as_ref()?)));
        let wanted: Vec<_> = alive.filter(|(_, summary)| wish.since.is_none_or(|since| summary.modseq > since)).collect();
        let uids: Vec<Uid> = wanted.iter().map(|(_, summary)| summary.uid).collect();
        let those_if = |need: fn(&Item) -> bool| if wish.items.iter().any(need) { uids.as_slice() } else { &[] };
        let mut structures = match those_if(needs_structure) {
            [] => selected.view.heads(those_if(|item| *item == Item::Envelope)),
            uids => selected.view.structures(uids),
        };
        let mut headers = selected.view.headers(those_if(needs_header));
        let mut reply = Reply::default();
        for (number, summary) in wanted {
            let record = structures.next().map(|(_, record)| record).transpose().map_err(Trouble::from);
            let header = headers.next().map(|(_, header)| header).transpose().map_err(Trouble::from);
            let told = record.and_then(|record| Ok((record, header?.flatten()))).and_then(|(record, header)| {
                let mut source = Source::new(&selected.view, summary, record, header);
                source.rev2 = self.enabled.rev2;
                self.tell_message(selected, number, &source, &wish.items, &mut reply, seen)
            });
            match told {
                Ok(()) => {}
                Err(Trouble::End(end)) => return Err(end),
                Err(Trouble::Encoding) => failed = Some(Answer::no("UNKNOWN-CTE", "a part's encoding is not known")),
                Err(Trouble::Message(MailboxError::Gone)) => some_gone = true,
                Err(Trouble::Message(error)) => failed = Some(error.into()),
            }
        }
        // What could not be read is there, and the client must not take it for gone.
        let all = || if some_gone { gone(wish.uid) } else { Answer::ok("that is all") };
        Ok(failed.unwrap_or_else(all))
    }

    fn tell_message(
        &mut self,
        selected: &Selected,
        number: u32,
        source: &Source<'_>,
        items: &[Item],
        reply: &mut Reply,
        seen: &mut Vec<(Uid, u64)>,
    ) -> Result<(), Trouble> {
        let view = &selected.view;
        reply.text.clear();
        reply.streams.clear();
        let _ = write!(reply.text, "* {number} FETCH (");
        let marks = !selected.read_only && items.iter().any(sets_seen) && !source.summary.marks.flags.has(Flags::SEEN);
        let last = |item: &Item| marks && matches!(item, Item::Flags | Item::ModSeq);
        for item in items.iter().filter(|item| !last(item)) {
            self.tell_item(selected, source, source.summary, item, reply)?;
        }
        // All that can fail is done, and nothing is sent yet.
        if marks {
            let flags = Marks { flags: Flags::SEEN, keywords: 0 };
            view.mailbox().mark(&[source.summary.uid], Change::Add, flags, None)?;
            let now = view.message(source.summary.uid)?;
            let now = now.as_ref().unwrap_or(source.summary);
            seen.push((now.uid, now.modseq));
            // RFC 7162 §3.2.4, RFC 9051 §7.5.2
            if (self.enabled.condstore || self.enabled.rev2) && !items.contains(&Item::Uid) {
                self.tell_item(selected, source, now, &Item::Uid, reply)?;
            }
            self.tell_item(selected, source, now, &Item::Flags, reply)?;
            if self.enabled.condstore {
                self.tell_item(selected, source, now, &Item::ModSeq, reply)?;
            }
        }
        // Each item ended in a space.
        reply.text.pop();
        reply.text.extend_from_slice(b")\r\n");
        let mut from = 0;
        for (at, range) in reply.streams.drain(..) {
            self.connection.put(reply.text.get(from..at).unwrap_or_default()).map_err(End::from)?;
            source.send(range, &mut self.connection)?;
            from = at;
        }
        self.connection.put(reply.text.get(from..).unwrap_or_default()).map_err(End::from)?;
        Ok(())
    }

    /// One item and a space.
    fn tell_item(
        &self,
        selected: &Selected,
        source: &Source<'_>,
        now: &Summary,
        item: &Item,
        reply: &mut Reply,
    ) -> Result<(), Trouble> {
        match plan(source, item)? {
            Plan::Now => self.tell_now(selected, now, item, &mut reply.text),
            Plan::Text(name, value) => {
                reply.text.extend_from_slice(name.as_bytes());
                reply.text.push(b' ');
                reply.text.extend_from_slice(&value);
            }
            Plan::Range { label, range } => {
                let length = range.end - range.start;
                let _ = write!(reply.text, "{label} {{{length}}}\r\n");
                if length <= HELD {
                    source.append(range, &mut reply.text)?;
                } else {
                    reply.streams.push((reply.text.len(), range));
                }
            }
        }
        reply.text.push(b' ');
        Ok(())
    }

    /// What the summary says.
    fn tell_now(&self, selected: &Selected, summary: &Summary, item: &Item, out: &mut Vec<u8>) {
        let _ = match item {
            Item::Flags => {
                let recent = selected.view.is_recent(summary.uid) && !self.enabled.rev2;
                out.extend_from_slice(b"FLAGS (");
                push_flags(summary, &selected.keywords, recent, out);
                out.push(b')');
                Ok(())
            }
            Item::InternalDate => write!(out, "INTERNALDATE \"{}\"", date::imap(summary.date, summary.zone)),
            Item::Size => write!(out, "RFC822.SIZE {}", summary.size),
            Item::Uid => {
                out.extend_from_slice(b"UID ");
                push_number(summary.uid.0, out);
                Ok(())
            }
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

/// The FETCH of one message: text, and where in it ranges of the message stand. The next one's takes its room.
#[derive(Default)]
struct Reply {
    text: Vec<u8>,
    streams: Vec<(usize, Range<u64>)>,
}

/// How an item is told.
enum Plan<'a> {
    /// By its name and these bytes.
    Text(Cow<'static, str>, Cow<'a, [u8]>),
    /// By what is known when its turn comes.
    Now,
    /// By this name and a range of the message.
    Range { label: String, range: Range<u64> },
}

/// Does it set `\Seen`?
fn sets_seen(item: &Item) -> bool {
    matches!(item, Item::Bytes(Bytes { peek: false, .. }) | Item::Binary { peek: false, .. })
}

/// Does it take the header, and no more than that is read at once?
fn needs_header(item: &Item) -> bool {
    matches!(item, Item::Bytes(Bytes { part, text: Text::Header | Text::Body | Text::Fields(_) | Text::FieldsNot(_), .. }) if part.is_empty())
}

/// Does it take knowing what the message is made of, beyond its header?
fn needs_structure(item: &Item) -> bool {
    match item {
        Item::Body | Item::BodyStructure | Item::Preview { .. } => true,
        Item::Bytes(Bytes { part, .. }) | Item::Binary { part, .. } | Item::BinarySize(part) => !part.is_empty(),
        _ => false,
    }
}

fn plan<'a>(source: &'a Source<'_>, item: &Item) -> Result<Plan<'a>, Trouble> {
    let text = |name: &'static str, value: Cow<'a, [u8]>| Plan::Text(name.into(), value);
    Ok(match item {
        Item::Flags | Item::InternalDate | Item::Size | Item::Uid | Item::ModSeq | Item::ThreadId | Item::SaveDate => Plan::Now,
        Item::Envelope => text("ENVELOPE", source.envelope()?),
        Item::Body => text("BODY", source.body()?.into()),
        Item::BodyStructure => text("BODYSTRUCTURE", source.body_structure()?),
        Item::EmailId => text("EMAILID", source.email_id()?.into_bytes().into()),
        Item::Preview { .. } => {
            let mut out = Vec::new();
            imap_text::string(source.structure()?.keys.preview.as_bytes(), &mut out);
            text("PREVIEW", out.into())
        }
        Item::Bytes(bytes) => plan_bytes(source, bytes)?,
        Item::Binary { part, partial, .. } => {
            let label = format!("BINARY[{}]{}", show_part(part), show_origin(*partial));
            match source.encoded(part)? {
                Err(true) => Plan::Text(label.into(), b"NIL".into()),
                Err(false) => return Err(Trouble::Encoding),
                Ok((range, Decoder::Identity)) if !source.has_nul(range.clone())? => {
                    Plan::Range { label, range: cut(range, *partial) }
                }
                Ok((range, decoder)) => {
                    let decoded = decode(source, range, decoder)?;
                    let range = cut(0..decoded.len() as u64, *partial);
                    let wanted = decoded.get(range.start as usize..range.end as usize).unwrap_or_default();
                    // `literal8`, where there is a NUL.
                    let sign = if memchr::memchr(0, wanted).is_some() { "~" } else { "" };
                    Plan::Text(label.into(), [format!("{sign}{{{}}}\r\n", wanted.len()).as_bytes(), wanted].concat().into())
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
            Plan::Text(format!("BINARY.SIZE[{}]", show_part(part)).into(), size.to_string().into_bytes().into())
        }
    })
}

fn decode(source: &Source<'_>, range: Range<u64>, mut decoder: Decoder) -> Result<Vec<u8>, MailboxError> {
    let mut decoded = Vec::new();
    source.each_piece(range, |piece| decoder.push(piece, &mut decoded))?;
    decoder.finish(&mut decoded);
    Ok(decoded)
}

fn plan_bytes<'a>(source: &'a Source<'_>, bytes: &Bytes) -> Result<Plan<'a>, Trouble> {
    let label = match bytes.name {
        Name::Rfc822 => "RFC822".to_owned(),
        Name::Rfc822Header => "RFC822.HEADER".to_owned(),
        Name::Rfc822Text => "RFC822.TEXT".to_owned(),
        Name::Body => format!("BODY[{}]{}", show_section(&bytes.part, &bytes.text), show_origin(bytes.partial)),
    };
    Ok(match source.find(&bytes.part, &bytes.text)? {
        Found::Nothing => Plan::Text(label.into(), b"NIL".into()),
        Found::Made(made) => {
            let range = cut(0..made.len() as u64, bytes.partial);
            let wanted = without_nul(made.get(range.start as usize..range.end as usize).unwrap_or_default());
            Plan::Text(label.into(), [format!("{{{}}}\r\n", wanted.len()).as_bytes(), &wanted].concat().into())
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
