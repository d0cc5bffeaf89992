//! APPEND and REPLACE, which are read in pieces while they arrive: messages, or what they are made of, stand in literals that
//! go to the journal. Pure.

use super::cursor::{Announced, Bad, Cursor, Parsed, announced};
use super::folder::mailbox;
use super::set::Set;
use super::store::{Flag, flag};
use super::verb::{Verb, tag_of};
use crate::mail::date;
use crate::sys::Time;
use std::borrow::Cow;

/// An APPEND or a REPLACE up to its mailbox.
///
/// ```abnf
/// append  = "APPEND" SP mailbox 1*append-message                               ; RFC 3502
/// replace = ["UID" SP] "REPLACE" SP seq-number SP mailbox append-message       ; RFC 8508 §5
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendHead {
    /// Where the messages are to go.
    pub folder: Vec<u8>,
    /// Which message goes for it.
    pub replaced: Option<Replaced>,
    /// What stands behind the mailbox on its line.
    pub rest: Vec<u8>,
}

/// The message that is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// One number.
    pub which: Set,
    /// It is a UID.
    pub uid: bool,
}

/// How a message is to be filed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// Its flags.
    pub flags: Vec<Flag>,
    /// Its internal date, and the zone in minutes.
    pub date: Option<(Time, i16)>,
}

impl AppendHead {
    /// If these lines are an APPEND or a REPLACE as far as a message's beginning: what they say so far.
    pub fn read(command: &[u8]) -> Option<AppendHead> {
        let (_, mut cursor) = tag_of(command)?;
        let mut verb = Verb::read(&mut cursor).ok()?;
        let uid = verb == Verb::Uid;
        if uid {
            cursor.space().ok()?;
            verb = Verb::read(&mut cursor).ok()?;
        }
        cursor.space().ok()?;
        let replaced = match verb {
            Verb::Append if !uid => None,
            Verb::Replace => {
                let which = Set::parse_one(&mut cursor).ok()?;
                cursor.space().ok()?;
                Some(Replaced { which, uid })
            }
            _ => return None,
        };
        let folder = mailbox(&mut cursor).ok()?;
        let rest = cursor.rest().to_vec();
        rest.starts_with(b" ").then_some(AppendHead { folder, replaced, rest })
    }

    /// What is read behind it.
    pub fn pieces(&self) -> Pieces {
        Pieces { place: Place::First, many: self.replaced.is_none() }
    }
}

/// One step through the messages of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece<'a> {
    /// A message begins, which is to be filed so.
    Message {
        how: Append,
        /// It is put together from parts (RFC 4469).
        parts: bool,
    },
    /// Behind this line are bytes of the message.
    Text(Announced),
    /// The message goes on with what this names.
    Url(Cow<'a, [u8]>),
    /// Behind this line is the name of what it goes on with.
    LongUrl(Announced),
    /// That was the last.
    End,
}

/// Reads a command's messages, line by line; literals are between the lines.
///
/// ```abnf
/// append-message = [SP flag-list] [SP date-time] SP append-data
/// append-data    = literal / literal8 / utf8-literal / "CATENATE" SP "(" cat-part *(SP cat-part) ")"   ; RFC 4469 §5
/// cat-part       = "TEXT" SP literal / "URL" SP astring / utf8-literal
/// utf8-literal   = "UTF8" SP "(" literal8 ")"                                                          ; RFC 6855 §4
/// ```
#[derive(Clone, Debug)]
pub struct Pieces {
    place: Place,
    /// More than one message may come.
    many: bool,
}

#[derive(Copy, Clone, Debug)]
enum Place {
    /// Before the first message.
    First,
    /// Behind a message.
    Next,
    /// Before the message's literal.
    Data,
    /// Before a part, and behind one.
    Part,
    NextPart,
    /// Before the parenthesis behind a literal, which is all of the message, or a part of it.
    Close {
        part: bool,
    },
}

impl Pieces {
    /// The next piece; behind one that is announced the cursor must be that of the next line.
    pub fn next<'a>(&mut self, cursor: &mut Cursor<'a>) -> Parsed<Piece<'a>> {
        loop {
            match self.place {
                Place::Next if cursor.rest().is_empty() => return Ok(Piece::End),
                Place::Next if !self.many => return Err(Bad("one message is enough")),
                Place::First | Place::Next => {
                    let how = append_head(cursor)?;
                    let parts = cursor.eat_word("CATENATE (");
                    self.place = if parts { Place::Part } else { Place::Data };
                    return Ok(Piece::Message { how, parts });
                }
                Place::Data => return self.literal(cursor, false),
                Place::Part if cursor.eat_word("URL ") => {
                    self.place = Place::NextPart;
                    return match cursor.peek() {
                        Some(b'{') => announcement(cursor).map(Piece::LongUrl),
                        _ => cursor.astring().map(Piece::Url),
                    };
                }
                Place::Part if cursor.peek() == Some(b'U') || cursor.peek() == Some(b'u') => return self.literal(cursor, true),
                Place::Part if cursor.eat_word("TEXT ") && cursor.peek() == Some(b'{') => return self.literal(cursor, true),
                Place::Part => return Err(Bad("a part is missing")),
                Place::NextPart if cursor.eat(b' ') => self.place = Place::Part,
                Place::NextPart => {
                    cursor.expect(b')', "the parts do not end")?;
                    self.place = Place::Next;
                }
                Place::Close { part } => {
                    cursor.expect(b')', "UTF8 does not end")?;
                    self.place = if part { Place::NextPart } else { Place::Next };
                }
            }
        }
    }

    fn literal<'a>(&mut self, cursor: &mut Cursor<'a>, part: bool) -> Parsed<Piece<'a>> {
        self.place = match (cursor.eat_word("UTF8 ("), part) {
            (true, part) => Place::Close { part },
            (false, true) => Place::NextPart,
            (false, false) => Place::Next,
        };
        cursor.eat(b'~');
        announcement(cursor).map(Piece::Text)
    }
}

/// A literal's announcement, which is all that follows.
fn announcement(cursor: &mut Cursor<'_>) -> Parsed<Announced> {
    let rest = cursor.take_while(|_| true);
    announced(rest).filter(|_| memchr::memrchr(b'{', rest) == Some(0)).ok_or(Bad("a message is missing"))
}

/// What stands before a message's data: `[SP flag-list] [SP date-time] SP`.
fn append_head(cursor: &mut Cursor<'_>) -> Parsed<Append> {
    let mut append = Append::default();
    cursor.space()?;
    if cursor.peek() == Some(b'(') {
        append.flags = cursor.list(flag)?;
        cursor.space()?;
    }
    if cursor.peek() == Some(b'"') {
        append.date = Some(date_time(cursor)?);
        cursor.space()?;
    }
    Ok(append)
}

/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`
fn date_time(cursor: &mut Cursor<'_>) -> Parsed<(Time, i16)> {
    let text = cursor.string()?;
    std::str::from_utf8(&text).ok().and_then(date::from_imap).ok_or(Bad("this is no date"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What these lines come to; each but the last ends in a literal's announcement.
    fn read(lines: &[&str]) -> Parsed<Vec<String>> {
        let head = AppendHead::read(lines.first().unwrap().as_bytes()).ok_or(Bad("no head"))?;
        let mut pieces = head.pieces();
        let mut told = Vec::new();
        let mut lines = lines.iter().skip(1);
        let mut cursor = Cursor::new(&head.rest);
        loop {
            let piece = pieces.next(&mut cursor)?;
            if matches!(piece, Piece::Text(_) | Piece::LongUrl(_)) {
                cursor = Cursor::new(lines.next().ok_or(Bad("no line"))?.as_bytes());
            }
            told.push(match piece {
                Piece::Message { how, parts } => format!("message {} {parts}", how.flags.len()),
                Piece::Text(literal) => format!("{}", literal.length),
                Piece::Url(url) => String::from_utf8(url.into_owned()).unwrap(),
                Piece::LongUrl(literal) => format!("url {}", literal.length),
                Piece::End => return Ok(told),
            });
        }
    }

    #[test]
    fn pieces_in_their_order() {
        assert_eq!(read(&["a APPEND x {5}", ""]).unwrap(), ["message 0 false", "5"]);
        assert_eq!(
            read(&["a append \"x\" (\\Seen y) ~{5+}", " {6}", ""]).unwrap(),
            ["message 2 false", "5", "message 0 false", "6"]
        );
        assert_eq!(read(&["a UID REPLACE 7 x UTF8 (~{5}", ")"]).unwrap(), ["message 0 false", "5"]);
        assert_eq!(
            read(&["a APPEND x CATENATE (URL /a TEXT {0}", " URL {9}", " utf8 (~{8}", ") URL \"/b\") (z) {4}", ""]).unwrap(),
            ["message 0 true", "/a", "0", "url 9", "8", "/b", "message 1 false", "4"]
        );
        assert_eq!(read(&["a REPLACE * x CATENATE (URL b)"]).unwrap(), ["message 0 true", "b"]);
    }

    #[test]
    fn what_is_none() {
        for lines in [
            &["a APPEND x"][..],
            &["a APPEND x "],
            &["a APPEND x {5} {6}", ""],
            &["a APPEND x {5}", " "],
            &["a APPEND x {5}", ")"],
            &["a APPEND x UTF8 (~{5}", ""],
            &["a APPEND x CATENATE ()"],
            &["a APPEND x CATENATE (TEXT \"x\")"],
            &["a APPEND x CATENATE (TEXT URL /a)"],
            &["a APPEND x CATENATE (URL /a"],
            &["a APPEND x CATENATE (URL /a  URL /b)"],
            &["a APPEND x CATENATE (URL )"],
            &["a APPEND x CATENATE (UTF8 (~{5}", "))x"],
            &["a REPLACE 1 x {5}", " {6}", ""],
            &["a REPLACE 1:2 x {5}", ""],
            &["a REPLACE $ x {5}", ""],
            &["a REPLACE 0 x {5}", ""],
            &["a UID APPEND x {5}", ""],
        ] {
            assert!(read(lines).is_err(), "{lines:?}");
        }
    }

    proptest! {
        /// Whatever comes, it comes to an end.
        #[test]
        fn any_line_is_read_or_refused(words in proptest::collection::vec(0..12_usize, 0..30)) {
            const WORDS: [&str; 12] = [" ", "(", ")", "CATENATE (", "URL ", "TEXT ", "UTF8 (~", "{1}", "{1+}", "x", "\"", "\\Seen"];
            let text: String = words.into_iter().map(|word| WORDS[word]).collect();
            let _ = read(&[&format!("a APPEND x{text}"), &text, &text, ""]);
        }
    }
}
