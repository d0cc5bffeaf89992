//! What FETCH asks for (RFC 9051 §6.4.5, with BINARY, CONDSTORE, OBJECTID, SAVEDATE, PREVIEW). Pure.

use super::cursor::{Bad, Cursor, Parsed};
use super::returns::Partial;

/// Parts within parts that can be named.
const DEEPEST: usize = 100;
/// Fields that can be named.
const MOST_FIELDS: usize = 1_000;

/// One thing to be told of each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// `BODY`: the structure without extension data.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `ENVELOPE`
    Envelope,
    /// `FLAGS`
    Flags,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822.SIZE`
    Size,
    /// `UID`
    Uid,
    /// `MODSEQ` (RFC 7162 §3.1.4)
    ModSeq,
    /// `EMAILID` (RFC 8474 §5.1)
    EmailId,
    /// `THREADID` (RFC 8474 §5.2)
    ThreadId,
    /// `SAVEDATE` (RFC 8514 §4.2)
    SaveDate,
    /// `PREVIEW` (RFC 8970 §3.1); lazy: only if it is there already.
    Preview {
        /// `(LAZY)`
        lazy: bool,
    },
    /// `BODY[…]`, or one of its older names.
    Bytes(Bytes),
    /// `BINARY[…]` (RFC 3516 §4.2): a part, decoded.
    Binary {
        /// Which part.
        part: Vec<u32>,
        /// Does not set `\Seen`.
        peek: bool,
        /// From which byte, and how many.
        partial: Option<(u64, u64)>,
    },
    /// `BINARY.SIZE[…]`: how long it is when decoded.
    BinarySize(Vec<u32>),
}

/// Bytes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// How the client wrote it, and is told it.
    pub name: Name,
    /// Which part.
    pub part: Vec<u32>,
    /// What of it.
    pub text: Text,
    /// Does not set `\Seen`.
    pub peek: bool,
    /// From which byte, and how many.
    pub partial: Option<(u64, u64)>,
}

/// What the bytes are called.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `BODY[…]`
    Body,
    /// `RFC822`
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.TEXT`
    Rfc822Text,
}

/// What of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// All of it.
    Whole,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS`: these fields, names in the case they were written in.
    Fields(Vec<String>),
    /// `HEADER.FIELDS.NOT`: all fields but these.
    FieldsNot(Vec<String>),
    /// `TEXT`
    Body,
    /// `MIME`
    Mime,
}

/// ```abnf
/// fetch-items = "ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")"
/// ```
pub fn items(cursor: &mut Cursor<'_>) -> Parsed<Vec<Item>> {
    let fast = [Item::Flags, Item::InternalDate, Item::Size];
    if cursor.peek() == Some(b'(') {
        let items = cursor.list(item)?;
        return if items.is_empty() { Err(Bad("nothing is asked for")) } else { Ok(items) };
    }
    let mut macro_name = *cursor;
    let word = macro_name.take_while(|byte| byte.is_ascii_alphabetic()).to_ascii_uppercase();
    let more: &[Item] = match (word.as_slice(), macro_name.peek()) {
        (b"FAST", None | Some(b' ')) => &[],
        (b"ALL", None | Some(b' ')) => &[Item::Envelope],
        (b"FULL", None | Some(b' ')) => &[Item::Envelope, Item::Body],
        _ => return item(cursor).map(|item| vec![item]),
    };
    *cursor = macro_name;
    Ok([&fast[..], more].concat())
}

/// What is asked of a FETCH beyond its items.
#[derive(Default)]
pub(super) struct Modifiers {
    pub changed_since: Option<u64>,
    pub vanished: bool,
    pub partial: Option<Partial>,
}

/// `fetch-modifiers = SP "(" fetch-modifier *(SP fetch-modifier) ")"` (RFC 4466 §2.4, RFC 7162 §7, RFC 9394 §4)
pub(super) fn modifiers(cursor: &mut Cursor<'_>) -> Parsed<Modifiers> {
    let mut modifiers = Modifiers::default();
    if cursor.eat(b' ') {
        cursor.list(|cursor| {
            match cursor.atom()?.to_ascii_uppercase().as_str() {
                "CHANGEDSINCE" => {
                    cursor.space()?;
                    modifiers.changed_since = Some(cursor.number64()?);
                }
                "VANISHED" => modifiers.vanished = true,
                "PARTIAL" => {
                    cursor.space()?;
                    modifiers.partial = Some(Partial::parse(cursor)?);
                }
                _ => return Err(Bad("no such modifier")),
            }
            Ok(())
        })?;
    }
    if modifiers.vanished && modifiers.changed_since.is_none() {
        return Err(Bad("VANISHED needs CHANGEDSINCE"));
    }
    Ok(modifiers)
}

fn item(cursor: &mut Cursor<'_>) -> Parsed<Item> {
    let name = cursor.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'.').to_ascii_uppercase();
    let older = |name, text, peek| Ok(Item::Bytes(Bytes { name, part: Vec::new(), text, peek, partial: None }));
    match (name.as_slice(), cursor.peek() == Some(b'[')) {
        (b"BODY", false) => Ok(Item::Body),
        (b"BODYSTRUCTURE", false) => Ok(Item::BodyStructure),
        (b"ENVELOPE", false) => Ok(Item::Envelope),
        (b"FLAGS", false) => Ok(Item::Flags),
        (b"INTERNALDATE", false) => Ok(Item::InternalDate),
        (b"RFC822.SIZE", false) => Ok(Item::Size),
        (b"UID", false) => Ok(Item::Uid),
        (b"MODSEQ", false) => Ok(Item::ModSeq),
        (b"EMAILID", false) => Ok(Item::EmailId),
        (b"THREADID", false) => Ok(Item::ThreadId),
        (b"SAVEDATE", false) => Ok(Item::SaveDate),
        (b"PREVIEW", false) => {
            let lazy = cursor.eat_word(" (LAZY)");
            Ok(Item::Preview { lazy })
        }
        (b"RFC822", false) => older(Name::Rfc822, Text::Whole, false),
        (b"RFC822.HEADER", false) => older(Name::Rfc822Header, Text::Header, true),
        (b"RFC822.TEXT", false) => older(Name::Rfc822Text, Text::Body, false),
        (b"BODY" | b"BODY.PEEK", true) => {
            let (part, text) = section(cursor)?;
            let partial = partial(cursor)?;
            Ok(Item::Bytes(Bytes { name: Name::Body, part, text, peek: name.len() > 4, partial }))
        }
        (b"BINARY" | b"BINARY.PEEK", true) => {
            let part = binary_section(cursor)?;
            Ok(Item::Binary { part, peek: name.len() > 6, partial: partial(cursor)? })
        }
        (b"BINARY.SIZE", true) => binary_section(cursor).map(Item::BinarySize),
        _ => Err(Bad("no such thing can be fetched")),
    }
}

/// `section = "[" [section-spec] "]"`
fn section(cursor: &mut Cursor<'_>) -> Parsed<(Vec<u32>, Text)> {
    cursor.expect(b'[', "a section is missing")?;
    let found = section_spec(cursor)?;
    cursor.expect(b']', "a section does not end")?;
    Ok(found)
}

/// ```abnf
/// section-spec    = section-msgtext / (section-part ["." section-text])
/// section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
/// section-part    = nz-number *("." nz-number)
/// section-text    = section-msgtext / "MIME"
/// ```
pub(super) fn section_spec(cursor: &mut Cursor<'_>) -> Parsed<(Vec<u32>, Text)> {
    let mut part = Vec::new();
    let mut text = true;
    while cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        part.push(cursor.nz_number()?);
        if part.len() > DEEPEST {
            return Err(Bad("a part is too deep"));
        }
        text = cursor.eat(b'.');
        if !text {
            break;
        }
    }
    let word = cursor.take_while(|byte| byte.is_ascii_alphabetic() || byte == b'.').to_ascii_uppercase();
    let text = match word.as_slice() {
        b"" if part.is_empty() || !text => Text::Whole,
        b"HEADER" if text => Text::Header,
        b"TEXT" if text => Text::Body,
        b"MIME" if text && !part.is_empty() => Text::Mime,
        b"HEADER.FIELDS" if text => Text::Fields(header_list(cursor)?),
        b"HEADER.FIELDS.NOT" if text => Text::FieldsNot(header_list(cursor)?),
        _ => return Err(Bad("no such section")),
    };
    Ok((part, text))
}

/// `header-list = "(" header-fld-name *(SP header-fld-name) ")"`
fn header_list(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    cursor.space()?;
    let names = cursor.list(|cursor| {
        let name = cursor.astring()?;
        let fine = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':');
        String::from_utf8(name.into_owned()).ok().filter(|_| fine).ok_or(Bad("no such field can be"))
    })?;
    match names.len() {
        0 => Err(Bad("no field is named")),
        count if count > MOST_FIELDS => Err(Bad("too many fields are named")),
        _ => Ok(names),
    }
}

/// `section-binary = "[" [section-part] "]"`
fn binary_section(cursor: &mut Cursor<'_>) -> Parsed<Vec<u32>> {
    match section(cursor)? {
        (part, Text::Whole) => Ok(part),
        _ => Err(Bad("only a part can be decoded")),
    }
}

/// `partial = "<" number64 "." nz-number64 ">"`
fn partial(cursor: &mut Cursor<'_>) -> Parsed<Option<(u64, u64)>> {
    if !cursor.eat(b'<') {
        return Ok(None);
    }
    let from = cursor.number64()?;
    cursor.expect(b'.', "a length is missing")?;
    let length = cursor.number64()?;
    cursor.expect(b'>', "a range does not end")?;
    if length == 0 { Err(Bad("zero can't be here")) } else { Ok(Some((from, length))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed<Vec<Item>> {
        let mut cursor = Cursor::new(text.as_bytes());
        let items = items(&mut cursor)?;
        cursor.end()?;
        Ok(items)
    }

    fn bytes(part: &[u32], text: Text, peek: bool, partial: Option<(u64, u64)>) -> Vec<Item> {
        vec![Item::Bytes(Bytes { name: Name::Body, part: part.to_vec(), text, peek, partial })]
    }

    #[test]
    fn every_item() {
        assert_eq!(read("fast").unwrap(), [Item::Flags, Item::InternalDate, Item::Size]);
        assert_eq!(read("(UID BODY ENVELOPE)").unwrap(), [Item::Uid, Item::Body, Item::Envelope]);
        assert_eq!(read("BODY[]").unwrap(), bytes(&[], Text::Whole, false, None));
        assert_eq!(read("body.peek[1.2.mime]<5.10>").unwrap(), bytes(&[1, 2], Text::Mime, true, Some((5, 10))));
        assert_eq!(read("BODY[4.TEXT]").unwrap(), bytes(&[4], Text::Body, false, None));
        let fields = Text::Fields(vec!["From".into(), "X-Y".into()]);
        assert_eq!(read("BODY.PEEK[HEADER.FIELDS (From \"X-Y\")]").unwrap(), bytes(&[], fields, true, None));
        assert_eq!(read("BINARY.SIZE[3]").unwrap(), [Item::BinarySize(vec![3])]);
        assert_eq!(read("(PREVIEW (LAZY) UID)").unwrap(), [Item::Preview { lazy: true }, Item::Uid]);
    }

    #[test]
    fn bad_items() {
        let bad = "() BODY[MIME] BODY[1.] BODY[0] BODY[HEADER.FIELDS] BODY[HEADER.FIELDS ()] BODY[1 BODY[]<1> BODY[]<1.0> FLAGS[] X BINARY[TEXT] ALLX (FAST)";
        for bad in bad.split(' ').chain(["BODY[HEADER.FIELDS (a:b)]", "(UID  FLAGS)", "FAST UID"]) {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
