//! The automatic reply of who is away (RFC 3834): what its owner wants, which mail gets one, and what it looks like. Pure.
//!
//! The owner's wishes are a header and a text, parted by an empty line:
//!
//! ```text
//! Since: 2026-12-01
//! Until: 2026-12-31
//! Days: 7
//! Subject: I am away
//! From: Alice Liddell <alice@example.org>
//! Addresses: liddell@example.org, alice@example.com
//!
//! I am away until January.
//! ```
//!
//! Each field may be left out, and stands at most once. A text without any begins with the empty line.

use super::alias::Wrong;
use super::encode::quoted_printable;
use super::mailboxes::{self, Entry, Mailbox};
use super::{Address, header, words};
use jiff::civil::Date;
use std::fmt::{self, Write};

/// Bytes of all of it.
pub const MOST_BYTES: usize = 32 << 10;

/// Days in which nobody gets a second one, if nothing else is said (RFC 3834 §2).
const DAYS: u16 = 7;

/// Of what may be said.
const MOST_DAYS: u16 = 60;

/// Bytes of a subject or a sender.
const LONGEST_VALUE: usize = 300;

/// Addresses that may be named.
const MOST_ADDRESSES: usize = 50;

/// Characters of a subject that are taken over.
const LONGEST_SUBJECT: usize = 200;

/// Bytes of References that are taken over: the last of them.
const LONGEST_REFERENCES: usize = 900;

/// Bytes of a line of text that needs no encoding (RFC 5322 §2.1.1).
const LONGEST_LINE: usize = 998;

/// What an owner wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vacation {
    /// The first day of replies; none: from now on.
    pub since: Option<Date>,
    /// The last one; none: until it is taken back.
    pub until: Option<Date>,
    /// A sender gets one reply in so many days.
    pub days: u16,
    /// Of the reply; none: that of the message, with a mark.
    pub subject: Option<String>,
    /// Who replies: a name, and an address. None: whom the message names.
    pub from: Option<(String, Address)>,
    /// Under which addresses the owner is known too.
    pub addresses: Vec<Address>,
    /// What is said; lines end with LF.
    pub text: String,
}

impl Default for Vacation {
    fn default() -> Vacation {
        let (from, addresses) = (None, Vec::new());
        Vacation { since: None, until: None, days: DAYS, subject: None, from, addresses, text: String::new() }
    }
}

impl Vacation {
    /// Reads what [`Vacation`] is written as.
    pub fn parse(text: &str) -> Result<Vacation, Wrong> {
        let mut vacation = Vacation::default();
        let mut lines = text.split_inclusive('\n').zip(1..);
        let mut seen = Vec::new();
        if text.len() > MOST_BYTES {
            return Err(Wrong { line: 1, what: "it is too long".to_owned() });
        }
        for (line, number) in lines.by_ref() {
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let wrong = |what: &str| Wrong { line: number, what: what.to_owned() };
            let (name, value) = line.split_once(':').ok_or_else(|| wrong("an empty line is missing before the text"))?;
            let (name, value) = (name.trim_end().to_ascii_lowercase(), value.trim());
            vacation.set(&name, value).map_err(|what| wrong(&what))?;
            if seen.contains(&name) {
                return Err(wrong("it stands here a second time"));
            }
            seen.push(name);
        }
        for (line, _) in lines {
            vacation.text.push_str(line.trim_end_matches(['\r', '\n']));
            vacation.text.push('\n');
        }
        match vacation.text.trim().is_empty() {
            true => Err(Wrong { line: 1, what: "there is no text".to_owned() }),
            false => Ok(vacation),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if value.chars().any(char::is_control) {
            return Err("a control character may not stand here".to_owned());
        }
        match name {
            "since" => self.since = Some(date(value)?),
            "until" => self.until = Some(date(value)?),
            "days" => {
                let days = value.parse().ok().filter(|days| (1..=MOST_DAYS).contains(days));
                self.days = days.ok_or_else(|| format!("expected a number from 1 to {MOST_DAYS}"))?;
            }
            "subject" | "from" if value.len() > LONGEST_VALUE => return Err("it is too long".to_owned()),
            "subject" if value.is_empty() => return Err("expected a subject".to_owned()),
            "subject" => self.subject = Some(value.to_owned()),
            "from" => match addresses(value)?.as_slice() {
                [(name, address)] => self.from = Some((name.clone(), address.clone())),
                _ => return Err("expected one address".to_owned()),
            },
            "addresses" => self.addresses = addresses(value)?.into_iter().map(|(_, address)| address).collect(),
            _ => return Err("there is no such field; a text begins after an empty line".to_owned()),
        }
        Ok(())
    }

    /// Are there replies on this day?
    pub fn is_on(&self, day: Date) -> bool {
        self.since.is_none_or(|since| since <= day) && self.until.is_none_or(|until| day <= until)
    }
}

impl fmt::Display for Vacation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(since) = self.since {
            writeln!(out, "Since: {since}")?;
        }
        if let Some(until) = self.until {
            writeln!(out, "Until: {until}")?;
        }
        writeln!(out, "Days: {}", self.days)?;
        if let Some(subject) = &self.subject {
            writeln!(out, "Subject: {subject}")?;
        }
        if let Some((name, address)) = &self.from {
            writeln!(out, "From: {}", mailbox(name, address, |text| text.to_owned()))?;
        }
        if !self.addresses.is_empty() {
            let all: Vec<String> = self.addresses.iter().map(|address| format!("<{address}>")).collect();
            writeln!(out, "Addresses: {}", all.join(", "))?;
        }
        write!(out, "\n{}", self.text)
    }
}

fn date(value: &str) -> Result<Date, String> {
    value.parse().map_err(|_| "expected a date, as 2026-12-31".to_owned())
}

/// Names and addresses of a list.
fn addresses(value: &str) -> Result<Vec<(String, Address)>, String> {
    let found = mailboxes::parse(value.as_bytes()).into_iter().map(|entry| {
        let address = entry.address()?;
        let Entry::Mailbox(Mailbox { name, .. }) = entry else { return None };
        Some((String::from_utf8_lossy(&name.unwrap_or_default()).into_owned(), address))
    });
    let found: Option<Vec<_>> = found.collect();
    found
        .filter(|found| (1..=MOST_ADDRESSES).contains(&found.len()))
        .ok_or_else(|| "expected addresses, as alice@example.org".to_owned())
}

/// A name, quoted if need be and then encoded, and an address.
fn mailbox(name: &str, address: &Address, encode: impl Fn(&str) -> String) -> String {
    if name.is_empty() {
        return format!("<{address}>");
    }
    let encoded = encode(name);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(c);
    match encoded == name && !name.chars().all(is_plain) {
        true => format!("\"{}\" <{address}>", name.replace('\\', "\\\\").replace('"', "\\\"")),
        false => format!("{encoded} <{address}>"),
    }
}

/// What an address is compared by: that of its owner, whatever detail it has.
pub fn key(address: &Address) -> String {
    let key = address.key();
    match (address.local().split_once('+'), key.rsplit_once('@')) {
        (Some((user, _)), Some((_, domain))) if !user.is_empty() => format!("{}@{domain}", user.to_lowercase()),
        _ => key.to_lowercase(),
    }
}

/// May somebody read what is sent there (RFC 3834 §2)? Not behind the addresses of lists and of mail systems.
pub fn is_person(sender: &Address) -> bool {
    let local = sender.local().to_ascii_lowercase();
    let user = local.split('+').next().unwrap_or_default();
    let is_machine = matches!(user, "mailer-daemon" | "listserv" | "majordomo" | "postmaster" | "noreply" | "no-reply")
        || ["owner-", "bounce-", "bounces-"].iter().any(|start| user.starts_with(start))
        || ["-request", "-owner", "-relay", "-bounce", "-bounces"].iter().any(|end| user.ends_with(end));
    !is_machine
}

/// What a reply takes from the message it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Whom its recipient fields name, by their [`key`].
    named: Vec<(String, Address)>,
    /// Decoded.
    subject: String,
    message_id: Option<String>,
    references: Vec<String>,
}

impl Question {
    /// Of the header of a message. None: a person did not write it, or not to somebody in particular, and it gets no reply.
    pub fn of(head: &[u8]) -> Option<Question> {
        let (mut question, mut in_reply_to) = (Question::default(), Vec::new());
        for field in header::fields(head) {
            let name = head.get(field.name.clone()).unwrap_or_default().to_ascii_lowercase();
            let value = header::unfold(head.get(field.value.clone()).unwrap_or_default());
            let first = word(&value);
            match name.as_slice() {
                // §5.1: also with parameters and comments.
                b"auto-submitted" if first != "no" => return None,
                b"precedence" if matches!(first.as_str(), "bulk" | "junk" | "list" | "auto_reply") => return None,
                // Of programs that are older than the RFC, or know another way.
                b"x-autoreply" | b"x-autorespond" | b"x-autoresponder" | b"x-loop" | b"feedback-id" => return None,
                b"x-auto-response-suppress" if first != "none" => return None,
                b"x-spam-flag" if first == "yes" => return None,
                b"content-type" if first == "multipart/report" => return None,
                name if name.starts_with(b"list-") => return None,
                b"subject" => question.subject = one_line(&words::decode(&value)),
                b"message-id" => question.message_id = ids(&value).into_iter().next(),
                b"references" => question.references = ids(&value),
                b"in-reply-to" => in_reply_to = ids(&value),
                _ => {}
            }
        }
        question.named = mailboxes::recipients(head).into_iter().map(|address| (key(&address), address)).collect();
        // RFC 5322 §3.6.4.
        if let ([], [_]) = (question.references.as_slice(), in_reply_to.as_slice()) {
            question.references = in_reply_to;
        }
        Some(question)
    }

    /// The first of these, by their [`key`], that is named.
    pub fn names(&self, own: &[String]) -> Option<&Address> {
        self.named.iter().find(|(key, _)| own.contains(key)).map(|(_, address)| address)
    }
}

/// The first word of a value, in lower case.
fn word(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value).trim().to_ascii_lowercase();
    text.split([';', ' ', '\t', '(', ',']).next().unwrap_or_default().to_owned()
}

fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.trim().chars().take(LONGEST_SUBJECT).collect()
}

/// What stands in angle brackets and can be one (RFC 5322 §3.6.4).
fn ids(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value);
    let is_id = |id: &&str| {
        id.len() <= 250 && id.contains('@') && id.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>".contains(&byte))
    };
    text.split('<')
        .skip(1)
        .filter_map(|part| part.split_once('>'))
        .map(|(id, _)| id)
        .filter(is_id)
        .map(|id| format!("<{id}>"))
        .collect()
}

/// All that a reply is made of.
#[derive(Debug)]
pub struct Reply<'a> {
    /// What its owner wants.
    pub vacation: &'a Vacation,
    /// What it is for.
    pub question: &'a Question,
    /// Its own name, in angle brackets.
    pub id: &'a str,
    /// Now (RFC 5322 §3.3).
    pub date: &'a str,
    /// Whose it is, by name if that is known.
    pub from: (&'a str, &'a Address),
    /// Whom it goes to.
    pub to: &'a Address,
}

impl Reply<'_> {
    /// The message (RFC 3834 §3), with LF line ends.
    pub fn build(&self) -> Vec<u8> {
        let Reply { vacation, question, id, date, from: (name, from), to } = self;
        let ascii = |address: &Address| address.to_ascii().unwrap_or_else(|| address.clone());
        let subject = match (&vacation.subject, question.subject.as_str()) {
            (Some(own), _) => own.clone(),
            (None, "") => "Auto: your message".to_owned(),
            (None, subject) => format!("Auto: {subject}"),
        };
        let mut out = format!(
            "From: {}\nTo: <{}>\nSubject: {}\nDate: {date}\nMessage-ID: {id}\n",
            mailbox(name, &ascii(from), words::encode),
            ascii(to),
            words::encode(&subject)
        );
        if let Some(answered) = &question.message_id {
            let mut room = LONGEST_REFERENCES.saturating_sub(answered.len());
            let fits = |id: &&String| {
                room = room.saturating_sub(id.len() + 2);
                room > 0
            };
            let mut references: Vec<&String> = question.references.iter().rev().take_while(fits).collect();
            references.reverse();
            references.push(answered);
            let references: Vec<&str> = references.into_iter().map(String::as_str).collect();
            // Writing to a String does not fail.
            let _ = write!(out, "In-Reply-To: {answered}\nReferences: {}\n", references.join("\n\t"));
        }
        let text = vacation.text.as_bytes();
        let is_plain = |line: &[u8]| line.len() <= LONGEST_LINE && line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        let (charset, encoding, text) = match text.split(|byte| *byte == b'\n').all(is_plain) {
            true => ("us-ascii", "7bit", text.to_vec()),
            false => ("utf-8", "quoted-printable", quoted_printable(text)),
        };
        let _ = write!(
            out,
            "Auto-Submitted: auto-replied\nMIME-Version: 1.0\nContent-Type: text/plain; charset={charset}\n\
             Content-Transfer-Encoding: {encoding}\n\n"
        );
        [out.as_bytes(), &text].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn wishes_are_read_as_they_are_written() {
        let text = "Since: 2026-12-01\r\nuntil : 2026-12-31\nDays: 3\nSubject: Weg, für länger\n\
                    From: \"Liddell, A.\" <alice@here.test>\nAddresses: info@here.test, <a@b.test>\n\nI am away.\r\n\nSo long\n";
        let vacation = Vacation::parse(text).unwrap();
        assert_eq!(vacation.text, "I am away.\n\nSo long\n");
        assert_eq!((vacation.days, vacation.addresses.len()), (3, 2));
        assert_eq!(vacation.from, Some(("Liddell, A.".to_owned(), at("alice@here.test"))));
        assert_eq!(Vacation::parse(&vacation.to_string()).as_ref(), Ok(&vacation));
        let is_on = |day: &str| vacation.is_on(day.parse().unwrap());
        assert_eq!(
            ["2026-11-30", "2026-12-01", "2026-12-31", "2027-01-01"].map(is_on),
            [false, true, true, false],
            "both days count"
        );
        let plain = Vacation::parse("\nAway.").unwrap();
        assert_eq!(plain, Vacation { text: "Away.\n".to_owned(), ..Vacation::default() });
        assert!(plain.is_on("1999-01-01".parse().unwrap()) && plain.days == 7);
    }

    #[test]
    fn mistakes_are_told_by_their_line() {
        for (text, line, what) in [
            ("I am away.\n", 1, "an empty line is missing before the text"),
            ("Days: 7\nWhen: now\n\nx\n", 2, "there is no such field; a text begins after an empty line"),
            ("Days: 0\n\nx\n", 1, "expected a number from 1 to 60"),
            ("Since: tomorrow\n\nx\n", 1, "expected a date, as 2026-12-31"),
            ("From: a@b.test, c@d.test\n\nx\n", 1, "expected one address"),
            ("Addresses: alice\n\nx\n", 1, "expected addresses, as alice@example.org"),
            ("Days: 2\ndays: 3\n\nx\n", 2, "it stands here a second time"),
            ("Subject: a\tb\n\nx\n", 1, "a control character may not stand here"),
            ("Subject:\n\nx\n", 1, "expected a subject"),
            ("Days: 7\n\n \n", 1, "there is no text"),
            ("", 1, "there is no text"),
        ] {
            assert_eq!(Vacation::parse(text), Err(Wrong { line, what: what.to_owned() }), "{text}");
        }
        assert!(Vacation::parse(&format!("\n{}", "x".repeat(MOST_BYTES))).is_err());
    }

    /// RFC 3834 §2.
    #[test]
    fn only_what_a_person_wrote_is_answered() {
        for (field, answered) in [
            ("Subject: hello", true),
            ("Auto-Submitted: no", true),
            ("Auto-Submitted: No (really); x=y", true),
            ("AUTO-SUBMITTED:\n auto-replied; owner-email=\"a@b\"", false),
            ("Auto-Submitted: auto-generated", false),
            ("Auto-Submitted:", false),
            ("Precedence: bulk", false),
            ("Precedence: LIST", false),
            ("Precedence: junk", false),
            ("Precedence: first-class", true),
            ("List-Id: <x.test>", false),
            ("List-Unsubscribe: <mailto:x@y.test>", false),
            ("Listed: yes", true),
            ("X-Auto-Response-Suppress: OOF, AutoReply", false),
            ("X-Loop: x", false),
            ("X-Spam-Flag: YES", false),
            ("Content-Type: multipart/report; report-type=disposition-notification", false),
            ("Content-Type: multipart/mixed", true),
        ] {
            assert_eq!(Question::of(format!("To: a@b.test\n{field}\n").as_bytes()).is_some(), answered, "{field}");
        }
        for sender in ["bob@x.test", "owner@x.test", "request@x.test", "bob+request@x.test"] {
            assert!(is_person(&at(sender)), "{sender}");
        }
        for sender in
            ["MAILER-DAEMON@x.test", "owner-list@x.test", "list-owner@x.test", "list-request@x.test", "LIST-bounces+a=b@x.test"]
        {
            assert!(!is_person(&at(sender)), "{sender}");
        }
    }

    #[test]
    fn the_recipient_must_be_named() {
        let own = ["alice@here.test".to_owned()];
        let names = |head: &str| Question::of(head.as_bytes()).unwrap().names(&own).map(Address::to_string);
        for field in ["To", "CC", "Resent-To", "resent-cc", "Bcc"] {
            let told = names(&format!("From: alice@here.test\n{field}: x@y.test,\n Alice <ALICE+lists@HERE.test>\n"));
            assert_eq!(told.as_deref(), Some("ALICE+lists@HERE.test"), "{field}");
        }
        assert_eq!(names("From: alice@here.test\nReply-To: alice@here.test\nTo: team:;\n"), None);
        assert_eq!(names("To: \"alice@here.test\" <mallory@x.test>\n"), None);
    }

    fn reply(vacation: &Vacation, head: &str) -> String {
        let (from, to) = (at("alice@here.test"), at("bob@there.test"));
        let question = Question::of(head.as_bytes()).unwrap();
        let from = ("Alice", &from);
        let reply = Reply { vacation, question: &question, id: "<2@here>", date: "today", from, to: &to };
        String::from_utf8(reply.build()).unwrap()
    }

    #[test]
    fn a_reply_is_as_the_rfc_wants_it() {
        let vacation = Vacation { text: "Away.\n".to_owned(), ..Vacation::default() };
        let told =
            reply(&vacation, "Subject: =?utf-8?q?=C3=BC?=\n ber\nMessage-ID: <1@there>\nReferences: <a@b>\n\t<c@d> junk <e\n");
        assert_eq!(
            told,
            "From: Alice <alice@here.test>\nTo: <bob@there.test>\nSubject: =?utf-8?B?QXV0bzogw7wgYmVy?=\nDate: today\n\
             Message-ID: <2@here>\nIn-Reply-To: <1@there>\nReferences: <a@b>\n\t<c@d>\n\t<1@there>\nAuto-Submitted: auto-replied\n\
             MIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n\nAway.\n"
        );
        let vacation = Vacation { subject: Some("Away".to_owned()), text: "Für länger.\n".to_owned(), ..vacation };
        let told = reply(&vacation, "In-Reply-To: <x@y>\nMessage-ID: <1@there>\n");
        assert!(told.contains("Subject: Away\n") && told.contains("References: <x@y>\n\t<1@there>\n"), "{told}");
        assert!(told.ends_with("quoted-printable\n\nF=C3=BCr l=C3=A4nger.\n"), "{told}");
        assert!(!reply(&vacation, "In-Reply-To: <x@y>\n").contains("References"));
        let long: String = (0..100).map(|number| format!(" <{number}@long.test>")).collect();
        let told = reply(&vacation, &format!("Message-ID: <1@there>\nReferences:{long}\n"));
        assert!(
            told.contains("\t<99@long.test>\n\t<1@there>\n") && !told.contains("<1@long.test>") && told.len() < 1500,
            "{told}"
        );
    }

    proptest! {
        /// Whatever a message says of itself, its reply has the fields it is to have and no others.
        #[test]
        fn nothing_is_smuggled_in(subject in "\\PC{0,40}[\r\n\t ]{0,2}\\PC{0,9}", id in "\\PC{0,30}", name in "\\PC{0,20}") {
            let vacation = Vacation { text: "x\n".to_owned(), ..Vacation::default() };
            let subject = words::encode(&subject).replace("\n ", "");
            let head = format!("To: {name} <a@b.test>\nSubject: {subject}\nMessage-ID: <{id}>\nReferences: <{id}@{id}>\n");
            if let Some(question) = Question::of(head.as_bytes()) {
                let (from, to) = (at("alice@here.test"), at("bob@there.test"));
                let reply = Reply { vacation: &vacation, question: &question, id: "<1@x>", date: "today", from: (&name, &from), to: &to };
                let built = reply.build();
                let names: Vec<String> = header::fields(&built).map(|f| String::from_utf8_lossy(&built[f.name]).into_owned()).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !matches!(*name, "In-Reply-To" | "References")).collect();
                prop_assert_eq!(names, ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]);
                prop_assert!(built.is_ascii() && built.split(|byte| *byte == b'\n').all(|line| line.len() <= LONGEST_LINE));
            }
        }
    }
}
