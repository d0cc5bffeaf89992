//! The form of a segment and its records. Functions on bytes, no I/O.
//!
//! ```abnf
//! segment = head *( record / damage ) *OCTET      ; zeros, or what an earlier generation left
//! head    = tag "X-Spool-Segment: " version LF "X-Spool-Crc32c: " crc LF filler   ; 512 bytes: one sector
//! record  = tag *field "X-Spool-Crc32c: " crc LF message LF
//! tag     = "From pillarbox-" generation SP asctime LF  ; names the segment, so what an earlier one left is no record
//! field   = "X-Spool-Id: " id LF
//!         / "X-Spool-Time: " microseconds LF
//!         / "X-Spool-From: <" [ address ] "> " ( "7bit" / "8bitmime" ) SP ( "network" / "daemon" / "user " name ) LF
//!         / "X-Spool-Mail:" 1*( SP parameter ) LF   ; what MAIL said else: SMTPUTF8 (RFC 6531), RET, ENVID (RFC 3461), REQUIRETLS (RFC 8689), HOLDFOR, HOLDUNTIL (RFC 4865)
//!         / "X-Spool-To: <" address ">" [ SP "done" / SP "waiting" SP due SP tries SP flags SP text ] LF
//!         / "X-Spool-Rcpt:" 1*( SP parameter ) LF   ; of the recipient before: NOTIFY, ORCPT
//!         / "X-Spool-Place: " place LF            ; of the recipient before: see `place`
//!         / "X-Spool-Line: " line LF              ; of the recipient before: see `place`
//!         / "X-Spool-Group: " id SP index SP count LF  ; counts only with all its fellows: the first one's id, from 0, of so many
//!         / "X-Spool-Settles: " outcome LF        ; as in the log
//!         / "X-Spool-Adopted: " host LF
//!         / "X-Spool-File: " length SP crc LF     ; the message lies in `<id>.msg`
//!         / "X-Spool-Length: " length LF          ; bytes of the message that follows
//! ```
//! The checksum (CRC-32C) goes over the message, then the fields, then the tag: a session can compute most of it
//! before it is known into which segment the record goes. The message is mboxrd-quoted, so no line of it begins like a tag.
//!
//! Version 1 knew neither `X-Spool-Place` nor `X-Spool-Group`, version 2 neither `X-Spool-Mail` nor `X-Spool-Rcpt`, version 3
//! no time of release, version 4 no SMTPUTF8, version 5 neither `X-Spool-Line` nor places that are delivered to,
//! version 6 no REQUIRETLS; all are read.

use super::SpoolId;
use super::log::Line;
use super::place;
use super::text::{MOST, Mark, escape, unescape};
use crate::mail::{Address, Body, Envelope, MailDsn, Origin, Recipient, Release, ReversePath, date};
use crate::sys::Time;
use std::fmt::Write;
use std::sync::Arc;

const VERSION: u32 = 7;
const TAG: &str = "From pillarbox-";
const CHECKSUM: &str = "X-Spool-Crc32c: ";

/// Bytes before the first record: a sector, so no record shares one with the head.
pub(super) const HEAD: u64 = 512;

/// The message lies in a file of its own: bytes and checksum.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct OwnFile {
    pub length: u64,
    pub crc: u32,
}

/// A record of several that count together or not at all.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct Group {
    /// The first one's.
    pub id: SpoolId,
    /// From 0.
    pub index: u32,
    pub count: u32,
}

/// A record without its message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub id: SpoolId,
    pub time: Time,
    pub envelope: Arc<Envelope>,
    /// Who waits, in order of index; all recipients in a new record, those that are left in a copy.
    pub waiting: Vec<Mark>,
    /// Outcomes of other messages that become true with this record.
    pub settles: Vec<Line>,
    /// It was committed together with others. A copy of it stands alone: that all of them count is known by then.
    pub group: Option<Group>,
    /// Taken over from this host's journal.
    pub adopted: Option<String>,
    pub file: Option<OwnFile>,
}

impl Record {
    /// The fields, for a message of which so many bytes follow.
    pub fn fields(&self, length: u64) -> String {
        let mut out = String::with_capacity(256 + 48 * self.envelope.recipients.len());
        let _ = write!(out, "X-Spool-Id: {}\nX-Spool-Time: {}\n", self.id, self.time.0);
        let body = match self.envelope.body {
            Body::SevenBit => "7bit",
            Body::EightBitMime => "8bitmime",
        };
        let _ = write!(out, "X-Spool-From: <{}> {body} ", self.envelope.reverse_path);
        match &self.envelope.origin {
            Origin::Network => out.push_str("network\n"),
            Origin::Daemon => out.push_str("daemon\n"),
            Origin::User(name) => {
                out.push_str("user ");
                escape(name, usize::MAX >> 1, &mut out);
                out.push('\n');
            }
        }
        let Envelope { utf8, dsn, require_tls, release, .. } = &*self.envelope;
        if *utf8 || *require_tls || !dsn.is_empty() || release.is_some() {
            let word = |is_said: bool, word: &'static str| if is_said { word } else { "" };
            let _ = write!(out, "X-Spool-Mail:{}{}{dsn}", word(*utf8, " SMTPUTF8"), word(*require_tls, " REQUIRETLS"));
            let _ = release.as_ref().map_or(Ok(()), |release| write!(out, "{release}"));
            out.push('\n');
        }
        let mut marks = self.waiting.iter().peekable();
        for (index, recipient) in (0..).zip(&self.envelope.recipients) {
            let _ = write!(out, "X-Spool-To: <{}>", recipient.address);
            match marks.next_if(|mark| mark.index == index) {
                Some(mark) if mark.is_fresh(self.time) => {}
                Some(mark) => {
                    out.push_str(" waiting ");
                    mark.put(&mut out);
                }
                None => out.push_str(" done"),
            }
            out.push('\n');
            if !recipient.dsn.is_empty() {
                let _ = writeln!(out, "X-Spool-Rcpt:{}", recipient.dsn);
            }
            if let Some(sender) = &recipient.sender {
                let _ = writeln!(out, "X-Spool-Sender: <{sender}>");
            }
            if let Some(place) = &recipient.place {
                out.push_str("X-Spool-Place: ");
                place::put(place, &mut out);
                out.push('\n');
            }
            if let Some(line) = &recipient.line {
                out.push_str("X-Spool-Line: ");
                place::put_line(line, &mut out);
                out.push('\n');
            }
        }
        if let Some(Group { id, index, count }) = self.group {
            let _ = writeln!(out, "X-Spool-Group: {id} {index} {count}");
        }
        for line in &self.settles {
            out.push_str("X-Spool-Settles: ");
            line.put(&mut out);
            out.push('\n');
        }
        if let Some(host) = &self.adopted {
            out.push_str("X-Spool-Adopted: ");
            escape(host, usize::MAX >> 1, &mut out);
            out.push('\n');
        }
        if let Some(OwnFile { length, crc }) = self.file {
            let _ = writeln!(out, "X-Spool-File: {length} {crc:08x}");
        }
        let _ = writeln!(out, "X-Spool-Length: {length}");
        out
    }

    fn field(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "X-Spool-Time" => self.time = Time(value.parse().ok()?),
            "X-Spool-From" => {
                let envelope = Arc::make_mut(&mut self.envelope);
                let (path, rest) = parse_path(value)?;
                let (body, origin) = rest.strip_prefix(' ')?.split_once(' ')?;
                envelope.reverse_path = ReversePath(path);
                envelope.body = match body {
                    "7bit" => Body::SevenBit,
                    "8bitmime" => Body::EightBitMime,
                    _ => return None,
                };
                envelope.origin = match origin {
                    "network" => Origin::Network,
                    "daemon" => Origin::Daemon,
                    _ => Origin::User(unescape(origin.strip_prefix("user ")?)?),
                };
            }
            "X-Spool-Mail" => {
                let Envelope { utf8, dsn, require_tls, release, .. } = Arc::make_mut(&mut self.envelope);
                return parameters(value, |name, value| match (name, value) {
                    ("SMTPUTF8", None) => !std::mem::replace(utf8, true),
                    ("REQUIRETLS", None) => !std::mem::replace(require_tls, true),
                    _ => dsn.take(name, value) == Ok(true) || Release::take(release, name, value) == Ok(true),
                });
            }
            "X-Spool-Rcpt" => {
                let dsn = &mut Arc::make_mut(&mut self.envelope).recipients.last_mut()?.dsn;
                return parameters(value, |name, value| dsn.take(name, value) == Ok(true));
            }
            "X-Spool-To" => {
                let (Some(address), rest) = parse_path(value)? else { return None };
                let recipients = &mut Arc::make_mut(&mut self.envelope).recipients;
                let index = u32::try_from(recipients.len()).ok()?;
                recipients.push(Recipient::from(address));
                match rest {
                    "" => self.waiting.push(Mark::fresh(index, self.time)),
                    " done" => {}
                    _ => self.waiting.push(Mark::parse(index, rest.strip_prefix(" waiting ")?)?),
                }
            }
            "X-Spool-Sender" => {
                let recipient = Arc::make_mut(&mut self.envelope).recipients.last_mut().filter(|last| last.sender.is_none())?;
                let (path, "") = parse_path(value)? else { return None };
                recipient.sender = Some(Box::new(ReversePath(path)));
            }
            "X-Spool-Place" => {
                let recipient = Arc::make_mut(&mut self.envelope).recipients.last_mut().filter(|last| last.place.is_none())?;
                recipient.place = Some(Box::new(place::parse(value)?));
            }
            "X-Spool-Line" => {
                let recipient = Arc::make_mut(&mut self.envelope).recipients.last_mut().filter(|last| last.line.is_none())?;
                recipient.line = Some(Box::new(place::parse_line(value)?));
            }
            "X-Spool-Group" => {
                let mut words = value.splitn(3, ' ');
                let id = words.next()?.parse().ok()?;
                let (index, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                self.group = Some(Group { id, index, count }).filter(|group| group.index < group.count);
                self.group?;
            }
            "X-Spool-Settles" => self.settles.push(Line::parse(value)?),
            "X-Spool-Adopted" => self.adopted = Some(unescape(value)?),
            "X-Spool-File" => {
                let (length, crc) = value.split_once(' ')?;
                self.file = Some(OwnFile { length: length.parse().ok()?, crc: u32::from_str_radix(crc, 16).ok()? });
            }
            _ => return None,
        }
        Some(())
    }
}

/// Parameters parted by blanks, each to be taken.
fn parameters(text: &str, mut take: impl FnMut(&str, Option<&str>) -> bool) -> Option<()> {
    let mut split = text.split(' ').map(|word| word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value))));
    split.all(|(name, value)| take(name, value)).then_some(())
}

/// `<address>` or `<>`, and what follows.
fn parse_path(text: &str) -> Option<(Option<Address>, &str)> {
    let text = text.strip_prefix('<')?;
    if let Some(rest) = text.strip_prefix('>') {
        return Some((None, rest));
    }
    let (address, rest) = Address::parse_prefix(text).ok()?;
    Some((Some(address), rest.strip_prefix('>')?))
}

/// Can the envelope be written down so that it comes back the same?
pub(super) fn can_hold(envelope: &Envelope) -> bool {
    let same = |address: &Address| address.to_string().parse().as_ref() == Ok(address);
    (1..MOST as usize).contains(&envelope.recipients.len())
        && envelope.reverse_path.0.as_ref().is_none_or(same)
        && envelope.recipients.iter().all(|recipient| same(&recipient.address))
        && envelope.recipients.iter().filter_map(|recipient| recipient.sender.as_ref()?.0.as_ref()).all(same)
        && envelope.recipients.iter().filter_map(|recipient| recipient.place.as_deref()).all(place::can_hold)
        && envelope.recipients.iter().filter_map(|recipient| recipient.line.as_deref()).all(place::can_hold_line)
}

fn tag(generation: u64, time: Time) -> String {
    format!("{TAG}{generation:016x} {}\n", date::asctime(time))
}

/// The checksum of a message and its fields, as far as it can be known before the segment is.
pub(super) fn checksum(message: &[u8], fields: &str) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(message), fields.as_bytes())
}

/// Everything of a record that goes before its message. `crc` is of message and fields.
pub(super) fn seal(generation: u64, time: Time, fields: &str, crc: u32) -> Vec<u8> {
    let tag = tag(generation, time);
    let crc = crc32c::crc32c_append(crc, tag.as_bytes());
    let mut out = Vec::with_capacity(tag.len() + fields.len() + 32);
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(fields.as_bytes());
    out.extend_from_slice(format!("{CHECKSUM}{crc:08x}\n").as_bytes());
    out
}

/// The head of a segment: [`HEAD`] bytes.
pub(super) fn head(generation: u64, time: Time) -> Vec<u8> {
    let fields = format!("X-Spool-Segment: {VERSION}\n");
    let mut out = seal(generation, time, &fields, checksum(&[], &fields));
    out.extend_from_slice(b"Subject: a segment of Pillarbox's journal\n\nMail that was accepted follows. Do not edit.\n");
    out.resize(HEAD as usize, b'\n');
    out
}

/// What the head of a segment tells.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Head {
    /// Of this format, with this generation.
    Ours(u64),
    /// Of a format that is newer than this program.
    Newer(u32),
    /// None that holds.
    Bad,
}

/// Reads a head.
pub(super) fn parse_head(bytes: &[u8]) -> Head {
    let parse = || {
        let header = header(bytes, None)?;
        let version: u32 = header.fields.strip_prefix("X-Spool-Segment: ")?.strip_suffix('\n')?.parse().ok()?;
        (header.crc == header.checksum(&[])).then_some((version, header.generation))
    };
    match parse() {
        Some((1..=VERSION, generation)) => Head::Ours(generation),
        Some((version, _)) if version > VERSION => Head::Newer(version),
        _ => Head::Bad,
    }
}

/// The place of the next bytes that begin like a record of this generation, or of any.
pub(super) fn find(bytes: &[u8], from: usize, generation: Option<u64>) -> Option<usize> {
    let mark = generation.map_or(TAG.to_owned(), |generation| format!("{TAG}{generation:016x} "));
    memchr::memmem::find(bytes.get(from..)?, mark.as_bytes()).map(|at| from + at)
}

/// The lines before a message, taken apart but not understood.
struct Header<'a> {
    generation: u64,
    tag: &'a str,
    fields: &'a str,
    crc: u32,
    /// Bytes of all of it.
    length: usize,
}

impl Header<'_> {
    fn checksum(&self, message: &[u8]) -> u32 {
        crc32c::crc32c_append(checksum(message, self.fields), self.tag.as_bytes())
    }
}

fn header(bytes: &[u8], generation: Option<u64>) -> Option<Header<'_>> {
    let tag_end = memchr::memchr(b'\n', bytes.get(..bytes.len().min(128))?)? + 1;
    let tag = std::str::from_utf8(bytes.get(..tag_end)?).ok()?;
    let found = u64::from_str_radix(tag.strip_prefix(TAG)?.get(..16)?, 16).ok()?;
    if generation.is_some_and(|wanted| wanted != found) {
        return None;
    }
    let mut at = tag_end;
    loop {
        let rest = bytes.get(at..)?;
        let line = rest.get(..memchr::memchr(b'\n', rest)? + 1)?;
        if let Some(crc) = line.strip_prefix(CHECKSUM.as_bytes()) {
            let crc = u32::from_str_radix(std::str::from_utf8(crc.strip_suffix(b"\n")?).ok()?, 16).ok()?;
            let fields = std::str::from_utf8(bytes.get(tag_end..at)?).ok()?;
            return Some(Header { generation: found, tag, fields, crc, length: at + line.len() });
        }
        if !line.starts_with(b"X-Spool-") {
            return None;
        }
        at += line.len();
    }
}

/// A record found in a segment.
#[derive(Debug)]
pub(super) struct Found {
    pub record: Record,
    /// Bytes before the message.
    pub header: usize,
    /// Bytes of the message that follow.
    pub length: usize,
}

impl Found {
    /// Bytes of all of it.
    pub fn total(&self) -> usize {
        self.header + self.length + 1
    }
}

/// The record at the start of `bytes`, if it is of this generation, whole and sound.
pub(super) fn parse(bytes: &[u8], generation: u64) -> Option<Found> {
    let header = header(bytes, Some(generation))?;
    let (record, length) = parse_fields(header.fields)?;
    let message = bytes.get(header.length..header.length.checked_add(length)?)?;
    (header.crc == header.checksum(message)).then_some(Found { record, header: header.length, length })
}

/// The same, for a record whose header and message were read apart.
pub(super) fn parse_parts(header: &[u8], message: &[u8], generation: u64) -> Option<Record> {
    let header = self::header(header, Some(generation))?;
    let (record, length) = parse_fields(header.fields)?;
    (length == message.len() && header.crc == header.checksum(message)).then_some(record)
}

/// What the fields of a record say, whose message was not read: nobody knows whether it is sound.
pub(super) fn parse_header(header: &[u8], generation: u64) -> Option<Record> {
    parse_fields(self::header(header, Some(generation))?.fields).map(|(record, _)| record)
}

/// The meaning of the fields, and the bytes of the message that follows.
pub(super) fn parse_fields(fields: &str) -> Option<(Record, usize)> {
    let mut lines = fields.strip_suffix('\n')?.split('\n').map(|line| line.split_once(": "));
    let ("X-Spool-Id", id) = lines.next()?? else { return None };
    let mut record = Record {
        id: id.parse().ok()?,
        time: Time::default(),
        envelope: Arc::new(Envelope {
            reverse_path: ReversePath(None),
            recipients: Vec::new(),
            body: Body::SevenBit,
            utf8: false,
            dsn: MailDsn::default(),
            require_tls: false,
            release: None,
            origin: Origin::Daemon,
        }),
        waiting: Vec::new(),
        settles: Vec::new(),
        group: None,
        adopted: None,
        file: None,
    };
    while let Some(line) = lines.next() {
        match line? {
            ("X-Spool-Length", length) if lines.next().is_none() => return Some((record, length.parse().ok()?)),
            (name, value) => record.field(name, value)?,
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::log::What;
    use super::*;
    use crate::mail::{self, Act, Place};
    use proptest::prelude::*;

    /// A letter to so many.
    pub fn envelope(recipients: usize) -> Envelope {
        let address = |n: usize| Recipient::from(format!("\"r {n}>\"@example.org").parse::<Address>().unwrap());
        Envelope {
            reverse_path: ReversePath(Some("alice@[192.0.2.1]".parse().unwrap())),
            recipients: (0..recipients).map(address).collect(),
            body: Body::EightBitMime,
            utf8: false,
            dsn: MailDsn::default(),
            require_tls: false,
            release: None,
            origin: Origin::User("a %\nb".to_owned()),
        }
    }

    fn sample(recipients: usize) -> Record {
        let id = SpoolId { generation: 1, counter: 2 };
        let mut waiting: Vec<Mark> = (0..recipients as u32).filter(|n| n % 3 != 1).map(|n| Mark::fresh(n, Time(55))).collect();
        if let Some(mark) = waiting.last_mut() {
            *mark = Mark { tries: 2, held: true, text: Some("450 <x> no\n".into()), ..mark.clone() };
        }
        let what = What::Settled("expired", "gone".into());
        let settles = vec![Line { id, recipients: vec![0, 5], time: Time(3), what }];
        let file = Some(OwnFile { length: 1 << 40, crc: 9 });
        let group = Some(Group { id, index: 3, count: 9 });
        let mut envelope = envelope(recipients);
        envelope.require_tls = true;
        (envelope.utf8, envelope.recipients[0].address) = (true, "\"\u{f6} >\"@b\u{fc}cher.example".parse().unwrap());
        let act = Act::Remove { uid: 7, key: [0xab; 16], copy: Some((1, 2, 3)) };
        envelope.dsn.take("ENVID", Some("a+20b")).unwrap();
        Release::take(&mut envelope.release, "HOLDFOR", Some("77")).unwrap();
        envelope.recipients[0].dsn.take("NOTIFY", Some("NEVER")).unwrap();
        envelope.recipients[recipients - 1].dsn.take("ORCPT", Some("utf-8;a\\x{2B}\u{f6}@c")).unwrap();
        envelope.recipients[0].place = Some(Box::new(Place { user: "a b".into(), folder: "INBOX".into(), act }));
        let line = mail::Line { user: Some("a b".into()), number: 3, text: "|a\nb %".into() };
        envelope.recipients[recipients - 1].line = Some(Box::new(line));
        Record { id, time: Time(55), envelope: Arc::new(envelope), waiting, settles, group, adopted: Some("h".into()), file }
    }

    /// A whole record, as it stands in a segment.
    pub fn written(record: &Record, generation: u64, message: &[u8]) -> Vec<u8> {
        let fields = record.fields(message.len() as u64);
        let mut out = seal(generation, record.time, &fields, checksum(message, &fields));
        out.extend_from_slice(message);
        out.push(b'\n');
        out
    }

    #[test]
    fn a_record_comes_back() {
        let bytes = written(&sample(5), 0xabc, b"Subject: x\n\nbody\n");
        let found = parse(&bytes, 0xabc).unwrap();
        assert_eq!(found.record, sample(5));
        assert_eq!(&bytes[found.header..found.header + found.length], b"Subject: x\n\nbody\n");
        assert_eq!(found.total(), bytes.len());
        assert!(parse(&bytes, 0xabd).is_none());
        assert_eq!(find(&[b"xx\n", bytes.as_slice()].concat(), 0, Some(0xabc)), Some(3));
        assert_eq!(find(&bytes, 0, Some(0xabd)), None);
    }

    /// As version 6 wrote it.
    #[test]
    fn a_record_of_before_is_read() {
        let fields = "X-Spool-Id: 0000000000000001-2\nX-Spool-Time: 55\nX-Spool-From: <a@b.test> 8bitmime user alice\n\
                      X-Spool-Mail: SMTPUTF8 RET=HDRS ENVID=x HOLDFOR=77\nX-Spool-To: <c@d.test>\nX-Spool-Rcpt: NOTIFY=NEVER\n\
                      X-Spool-Length: 5\n";
        let bytes = [seal(3, Time(55), fields, checksum(b"text\n", fields)), b"text\n\n".to_vec()].concat();
        let Record { envelope, waiting, .. } = parse(&bytes, 3).unwrap().record;
        assert!(envelope.utf8 && !envelope.require_tls && envelope.release.is_some() && waiting.len() == 1, "{envelope:?}");
        // Without what is new it is written as ever.
        assert_eq!(parse(&bytes, 3).unwrap().record.fields(5), fields);
    }

    #[test]
    fn heads_tell_generation_and_version() {
        let mut bytes = head(77, Time(0));
        assert_eq!((bytes.len() as u64, parse_head(&bytes)), (HEAD, Head::Ours(77)));
        bytes[20] ^= 1;
        assert_eq!(parse_head(&bytes), Head::Bad);
        for (version, head) in [(1, Head::Ours(7)), (3, Head::Ours(7)), (VERSION + 1, Head::Newer(VERSION + 1))] {
            let fields = format!("X-Spool-Segment: {version}\n");
            assert_eq!(parse_head(&seal(7, Time(0), &fields, checksum(&[], &fields))), head);
        }
    }

    #[test]
    fn an_envelope_that_could_not_be_read_back_is_not_taken() {
        use crate::mail::Domain;
        assert!(can_hold(&envelope(2)));
        assert!(!can_hold(&envelope(0)));
        let odd = Address::new("a", Domain::Name("b\nX-Spool-To: <c@d>".to_owned())).unwrap();
        assert!(!can_hold(&Envelope { reverse_path: ReversePath(Some(odd)), ..envelope(1) }));
    }

    proptest! {
        #[test]
        fn no_flipped_bit_and_no_cut_goes_unseen(at in 0usize..2000, bit in 0u8..8) {
            let bytes = written(&sample(4), 3, b"Subject: x\n\nbody\n");
            let at = at % (bytes.len() - 1);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            if let Some(found) = parse(&flipped, 3) {
                // Only the case of a hexadecimal digit of the checksum itself says the same.
                prop_assert_eq!(found.record, sample(4));
                prop_assert!(bytes[at].is_ascii_hexdigit());
            }
            prop_assert!(parse(&bytes[..at], 3).is_none());
        }

        #[test]
        fn no_input_is_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..300),
            fields in "(X-Spool-(Id|Time|From|Mail|To|Rcpt|Settles|File|Length): [ -~]{0,30}\n){0,9}") {
            let tagged = [b"From pillarbox-0000000000000001 x\n".as_slice(), &bytes].concat();
            let _ = (parse(&bytes, 1), parse(&tagged, 1), parse_head(&bytes), parse_fields(&fields));
        }

        #[test]
        fn any_user_name_comes_back(name in "\\PC{0,20}[\n \t%]{0,2}", recipients in 1usize..9) {
            let mut record = sample(recipients);
            Arc::make_mut(&mut record.envelope).origin = Origin::User(name);
            let bytes = written(&record, 3, b"");
            prop_assert_eq!(parse(&bytes, 3).unwrap().record, record);
        }
    }
}
