//! What IMAP says of a message, as ready-made bytes: ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 §7.4.2, RFC 9051 §7.5.2).
//! Strings are quoted if they may be in every mode, else literals; so the same bytes suit every session.

use super::mailboxes::{Entry, Mailbox};
use super::parameters::put_together;
use super::structure::{Field, Fields, Kind, Parameter, Part, Structure};

/// A longer string is sent as a literal.
const QUOTED: usize = 1000;

/// `string`. NUL can't be said (RFC 3501 §4.3) and is left out.
pub fn string(text: &[u8], out: &mut Vec<u8>) {
    if text.contains(&0) {
        let clean: Vec<u8> = text.iter().copied().filter(|byte| *byte != 0).collect();
        return string(&clean, out);
    }
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.len() <= QUOTED && text.iter().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    } else {
        out.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
        out.extend_from_slice(text);
    }
}

/// `nstring = string / nil`.
pub fn nstring(text: Option<&[u8]>, out: &mut Vec<u8>) {
    match text {
        Some(text) => string(text, out),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// `envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP env-bcc SP
/// env-in-reply-to SP env-message-id ")"`.
pub(crate) fn envelope(fields: &Fields) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let text = |field, out: &mut Vec<u8>| nstring(fields.line_of(field).as_deref(), out);
    out.push(b'(');
    text(Field::Date, &mut out);
    out.push(b' ');
    text(Field::Subject, &mut out);
    let from = fields.addresses(Field::From);
    addresses(&from, &mut out);
    // Both are From's if they are not there or hold no address.
    for field in [Field::Sender, Field::ReplyTo] {
        let own = fields.addresses(field);
        addresses(if own.is_empty() { &from } else { &own }, &mut out);
    }
    for field in [Field::To, Field::Cc, Field::Bcc] {
        addresses(&fields.addresses(field), &mut out);
    }
    out.push(b' ');
    text(Field::InReplyTo, &mut out);
    out.push(b' ');
    text(Field::MessageId, &mut out);
    out.push(b')');
    out
}

/// A space, and `"(" 1*address ")" / nil`.
fn addresses(entries: &[Entry], out: &mut Vec<u8>) {
    if entries.is_empty() {
        return out.extend_from_slice(b" NIL");
    }
    out.extend_from_slice(b" (");
    entries.iter().for_each(|entry| match entry {
        Entry::Mailbox(mailbox) => address(mailbox, out),
        // A group is told by addresses without a host.
        Entry::GroupStart(name) => {
            out.extend_from_slice(b"(NIL NIL ");
            string(name, out);
            out.extend_from_slice(b" NIL)");
        }
        Entry::GroupEnd => out.extend_from_slice(b"(NIL NIL NIL NIL)"),
    });
    out.push(b')');
}

/// `address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"`. A mailbox and a host that are missing are told
/// as such, since NIL would make it a group.
fn address(mailbox: &Mailbox, out: &mut Vec<u8>) {
    out.push(b'(');
    nstring(mailbox.name.as_deref(), out);
    out.push(b' ');
    nstring(mailbox.route.as_deref(), out);
    out.push(b' ');
    string(if mailbox.local.is_empty() { b"MISSING_MAILBOX" } else { &mailbox.local }, out);
    out.push(b' ');
    string(if mailbox.domain.is_empty() { b"MISSING_DOMAIN" } else { &mailbox.domain }, out);
    out.push(b')');
}

/// What stands where a multipart has no parts: there must be one.
const NOTHING: &[u8] = br#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0"#;

/// How a structure is told.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// With the extension data: BODYSTRUCTURE, not BODY.
    pub extended: bool,
    /// To who knows IMAP4rev2, where message/global is like message/rfc822 (RFC 9051 §9, media-message); to others it is a leaf.
    pub rev2: bool,
}

impl Form {
    fn is_message(self, part: &Part) -> bool {
        part.kind == Kind::Message && (self.rev2 || !part.is_global())
    }
}

/// `body`: BODYSTRUCTURE or BODY.
pub fn body(structure: &Structure, form: Form) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 * structure.parts.len().min(64));
    // Containers that are written up to their parts, and a message that is told as a leaf: of what is in it nothing is told.
    let (mut open, mut closed): (Vec<usize>, Option<usize>) = (Vec::new(), None);
    for (index, part) in structure.parts.iter().enumerate() {
        if closed.is_some() && part.parent >= closed {
            continue;
        }
        closed = None;
        while let Some(&last) = open.last().filter(|last| part.parent != Some(**last)) {
            open.pop();
            end(structure, last, form, &mut out);
        }
        begin(part, form, &mut out);
        match part.kind {
            Kind::Message if !form.is_message(part) => {
                closed = Some(index);
                end(structure, index, form, &mut out);
            }
            Kind::Multipart | Kind::Message => open.push(index),
            Kind::Leaf | Kind::Opaque => end(structure, index, form, &mut out),
        }
    }
    while let Some(last) = open.pop() {
        end(structure, last, form, &mut out);
    }
    out
}

/// Up to where a part's own parts stand.
fn begin(part: &Part, form: Form, out: &mut Vec<u8>) {
    out.push(b'(');
    if part.kind == Kind::Multipart {
        return;
    }
    string(&part.media_type, out);
    out.push(b' ');
    string(&part.subtype, out);
    out.push(b' ');
    type_parameters(part, out);
    out.push(b' ');
    nstring(part.id.as_deref(), out);
    out.push(b' ');
    nstring(part.description.as_deref(), out);
    out.push(b' ');
    string(part.encoding.as_deref().unwrap_or(b"7bit"), out);
    out.extend_from_slice(format!(" {}", part.body.end - part.body.start).as_bytes());
    if form.is_message(part) {
        out.push(b' ');
        out.extend_from_slice(&part.envelope);
        out.push(b' ');
    }
}

/// From where a part's own parts stand.
fn end(structure: &Structure, index: usize, form: Form, out: &mut Vec<u8>) {
    let Some(part) = structure.parts.get(index) else { return };
    let extended = form.extended;
    if part.kind == Kind::Multipart {
        if structure.children(index).next().is_none() {
            out.extend_from_slice(NOTHING);
            out.extend_from_slice(if extended { b" NIL NIL NIL NIL)" } else { b")" });
        }
        out.push(b' ');
        string(&part.subtype, out);
        if extended {
            out.push(b' ');
            parameters(&part.parameters, out);
        }
    } else {
        if form.is_message(part) || part.is_type("text") {
            out.extend_from_slice(format!(" {}", part.lines).as_bytes());
        }
        if extended {
            out.push(b' ');
            nstring(part.md5.as_deref(), out);
        }
    }
    if extended {
        extension(part, out);
    }
    out.push(b')');
}

/// What multiparts and others have in common: `SP body-fld-dsp SP body-fld-lang SP body-fld-loc`.
fn extension(part: &Part, out: &mut Vec<u8>) {
    out.push(b' ');
    match &part.disposition {
        Some((name, own)) => {
            out.push(b'(');
            string(name, out);
            out.push(b' ');
            parameters(own, out);
            out.push(b')');
        }
        None => nstring(None, out),
    }
    out.push(b' ');
    if part.languages.is_empty() {
        nstring(None, out);
    } else {
        for (index, language) in part.languages.iter().enumerate() {
            out.push(if index == 0 { b'(' } else { b' ' });
            string(language, out);
        }
        out.push(b')');
    }
    out.push(b' ');
    nstring(part.location.as_deref(), out);
}

/// Those of the type. A text that does not say so is US-ASCII (RFC 2046 §4.1.2), and clients are used to be told.
fn type_parameters(part: &Part, out: &mut Vec<u8>) {
    let says = |(name, _): &Parameter| {
        let base = name.split(|byte| *byte == b'*').next().unwrap_or_default();
        base.eq_ignore_ascii_case(b"charset")
    };
    if !part.is_type("text") || part.parameters.iter().any(says) {
        return parameters(&part.parameters, out);
    }
    let default = (b"charset".to_vec(), b"us-ascii".to_vec());
    parameters(&[part.parameters.as_slice(), &[default]].concat(), out);
}

/// `body-fld-param = "(" string SP string *(SP string SP string) ")" / nil`.
fn parameters(parameters: &[Parameter], out: &mut Vec<u8>) {
    if parameters.is_empty() {
        return nstring(None, out);
    }
    for (index, (name, value)) in put_together(parameters).iter().enumerate() {
        out.push(if index == 0 { b'(' } else { b' ' });
        string(name, out);
        out.push(b' ');
        string(value, out);
    }
    out.push(b')');
}
