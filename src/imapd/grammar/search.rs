//! SEARCH, SORT and THREAD: what is looked for, as steps that need no recursion to be carried out. Pure.

use super::command::Command;
use super::cursor::{Bad, Cursor, Parsed};
use super::fetch::Item;
use super::returns::{Returns, returns};
use super::set::Set;
use crate::mail::date;
use crate::mailbox::Flags;
use jiff::civil::Date;

/// Keys in one command.
const MOST_KEYS: usize = 1000;
/// Keys in keys.
const DEPTH: usize = 50;
/// Criteria of one SORT.
const MOST_CRITERIA: usize = 20;

/// What SEARCH, SORT and THREAD have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// `RETURN (…)` (RFC 4731 §3.1).
    pub returns: Option<Returns>,
    /// Changes are to be told, and this of messages that come (RFC 5267 §4.3, RFC 5465 §7).
    pub update: Option<Vec<Item>>,
    /// What the texts are written in.
    pub charset: Option<Vec<u8>>,
    /// The keys, each behind what it is made of: `OR a NOT b` is `a b Not Or`.
    pub steps: Vec<Step>,
}

impl Search {
    /// Is there a key of message numbers?
    pub fn has_numbers(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Key(Key::Numbers(Set::Ranges(_)))))
    }

    /// Is there a MODSEQ key?
    pub fn has_modseq(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Key(Key::ModSeq(_))))
    }
}

/// A key, or what is done with those before it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Key(Key),
    /// Not the one before.
    Not,
    /// One of the two before.
    Or,
    /// All of so many before.
    And(usize),
}

/// Which messages. Texts are as they were sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    All,
    /// By number.
    Numbers(Set),
    Uids(Set),
    /// These are set, or not.
    Flags(Flags, bool),
    Keyword(String, bool),
    Recent,
    /// A day is before another, on it, or not before it.
    Day(Which, Relation, Date),
    /// More than so many bytes.
    Larger(u64),
    Smaller(u64),
    /// So many seconds old, or older (RFC 5032).
    Older(u32),
    Younger(u32),
    /// In fields of this name.
    Header(Vec<u8>, Vec<u8>),
    /// The same of a field with addresses, which may also be as an envelope has them.
    Addresses(String, Vec<u8>),
    Body(Vec<u8>),
    /// In the header or the body.
    Text(Vec<u8>),
    /// At least (RFC 7162 §3.1.5).
    ModSeq(u64),
    /// RFC 8474 §6
    EmailId(String),
    ThreadId(String),
}

/// Which day of a message.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Of its internal date.
    Internal,
    /// Of its `Date` field.
    Sent,
    /// When it came into the mailbox (RFC 8514).
    Saved,
}

/// How two days lie.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    Before,
    On,
    Since,
}

/// By what SORT compares, and whether the other way round.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    pub by: By,
    pub reverse: bool,
}

/// RFC 5256 §3, RFC 5957.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum By {
    Arrival,
    Cc,
    Date,
    DisplayFrom,
    DisplayTo,
    From,
    Size,
    Subject,
    To,
}

/// How THREAD puts messages together.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Algorithm {
    OrderedSubject,
    References,
}

/// ```abnf
/// search      = "SEARCH" [search-return-opts] [SP "CHARSET" SP charset] 1*(SP search-key)      ; RFC 9051 §9
/// ```
pub fn search(cursor: &mut Cursor<'_>, uid: bool) -> Parsed<Command> {
    Ok(Command::Search { uid, search: search_program(cursor)? })
}

/// `[search-return-opts] [SP "CHARSET" SP charset] 1*(SP search-key)`
pub(super) fn search_program(cursor: &mut Cursor<'_>) -> Parsed<Search> {
    let (returns, update) = returns(cursor)?;
    let mut charset = None;
    if cursor.eat_word("CHARSET ") {
        charset = Some(cursor.astring()?.into_owned());
        cursor.space()?;
    }
    Ok(Search { returns, update, charset, steps: steps(cursor)? })
}

/// ```abnf
/// sort           = "SORT" [search-return-opts] SP sort-criteria SP charset 1*(SP search-key)   ; RFC 5256 §5, RFC 5267 §3
/// sort-criteria  = "(" sort-criterion *(SP sort-criterion) ")"
/// sort-criterion = ["REVERSE" SP] sort-key
/// ```
pub fn sort(cursor: &mut Cursor<'_>, uid: bool) -> Parsed<Command> {
    let (returns, update) = returns(cursor)?;
    let criteria = cursor.list(|cursor| {
        let reverse = cursor.eat_word("REVERSE ");
        let by = match cursor.atom()?.to_ascii_uppercase().as_str() {
            "ARRIVAL" => By::Arrival,
            "CC" => By::Cc,
            "DATE" => By::Date,
            "DISPLAYFROM" => By::DisplayFrom,
            "DISPLAYTO" => By::DisplayTo,
            "FROM" => By::From,
            "SIZE" => By::Size,
            "SUBJECT" => By::Subject,
            "TO" => By::To,
            _ => return Err(Bad("no such criterion")),
        };
        Ok(Criterion { by, reverse })
    })?;
    if criteria.is_empty() || criteria.len() > MOST_CRITERIA {
        return Err(Bad("no criteria, or too many"));
    }
    cursor.space()?;
    Ok(Command::Sort { uid, criteria, search: Search { returns, update, ..with_charset(cursor)? } })
}

/// `thread = "THREAD" SP thread-alg SP charset 1*(SP search-key)` (RFC 5256 §5)
pub fn thread(cursor: &mut Cursor<'_>, uid: bool) -> Parsed<Command> {
    let algorithm = match cursor.atom()?.to_ascii_uppercase().as_str() {
        "ORDEREDSUBJECT" => Algorithm::OrderedSubject,
        "REFERENCES" => Algorithm::References,
        _ => return Err(Bad("no such algorithm")),
    };
    cursor.space()?;
    Ok(Command::Thread { uid, algorithm, search: with_charset(cursor)? })
}

fn with_charset(cursor: &mut Cursor<'_>) -> Parsed<Search> {
    let charset = Some(cursor.astring()?.into_owned());
    cursor.space()?;
    Ok(Search { returns: None, update: None, charset, steps: steps(cursor)? })
}

/// What the key at hand is part of.
enum Open {
    /// A list in parentheses, with so many keys so far.
    List(usize),
    Not,
    /// Has the first of its keys been read?
    Or(bool),
}

/// `1*(SP search-key)` behind its first space, up to the end.
fn steps(cursor: &mut Cursor<'_>) -> Parsed<Vec<Step>> {
    let (mut steps, mut open, mut keys) = (Vec::new(), Vec::new(), 0_usize);
    loop {
        if steps.len() > MOST_KEYS {
            return Err(Bad("too many keys"));
        }
        if open.len() > DEPTH {
            return Err(Bad("keys in too many keys"));
        }
        match cursor.peek() {
            Some(b'(') => {
                cursor.eat(b'(');
                open.push(Open::List(0));
                continue;
            }
            _ if cursor.eat_word("NOT ") => {
                open.push(Open::Not);
                continue;
            }
            _ if cursor.eat_word("OR ") => {
                open.push(Open::Or(false));
                continue;
            }
            Some(b'0'..=b'9' | b'*' | b'$') => steps.push(Step::Key(Key::Numbers(Set::parse(cursor)?))),
            _ => key(cursor, &mut steps)?,
        }
        // A key is there; it may be what others waited for.
        loop {
            match open.last_mut() {
                None => {
                    keys += 1;
                    break;
                }
                Some(Open::Not) => steps.push(Step::Not),
                Some(Open::Or(first)) if !*first => {
                    *first = true;
                    break;
                }
                Some(Open::Or(_)) => steps.push(Step::Or),
                Some(Open::List(count)) => {
                    *count += 1;
                    if !cursor.eat(b')') {
                        break;
                    }
                    steps.push(Step::And(*count));
                }
            }
            open.pop();
        }
        if open.is_empty() && cursor.rest().is_empty() {
            steps.push(Step::And(keys));
            return Ok(steps);
        }
        cursor.space()?;
    }
}

/// One key that has no keys in it; some are short for several.
fn key(cursor: &mut Cursor<'_>, steps: &mut Vec<Step>) -> Parsed<()> {
    let word = cursor.atom()?.to_ascii_uppercase();
    let flag = |flags, set| Key::Flags(flags, set);
    let key = match word.as_str() {
        "ALL" => Key::All,
        "ANSWERED" => flag(Flags::ANSWERED, true),
        "DELETED" => flag(Flags::DELETED, true),
        "DRAFT" => flag(Flags::DRAFT, true),
        "FLAGGED" => flag(Flags::FLAGGED, true),
        "SEEN" => flag(Flags::SEEN, true),
        "UNANSWERED" => flag(Flags::ANSWERED, false),
        "UNDELETED" => flag(Flags::DELETED, false),
        "UNDRAFT" => flag(Flags::DRAFT, false),
        "UNFLAGGED" => flag(Flags::FLAGGED, false),
        "UNSEEN" => flag(Flags::SEEN, false),
        "RECENT" => Key::Recent,
        "NEW" => {
            steps.extend([Step::Key(Key::Recent), Step::Key(flag(Flags::SEEN, false)), Step::And(2)]);
            return Ok(());
        }
        "OLD" => {
            steps.extend([Step::Key(Key::Recent), Step::Not]);
            return Ok(());
        }
        // RFC 8514: we know save dates.
        "SAVEDATESUPPORTED" => Key::All,
        _ => {
            cursor.space()?;
            with_argument(&word, cursor)?
        }
    };
    steps.push(Step::Key(key));
    Ok(())
}

fn with_argument(word: &str, cursor: &mut Cursor<'_>) -> Parsed<Key> {
    let text = |cursor: &mut Cursor<'_>| cursor.astring().map(|text| text.into_owned());
    let day = |which, relation, cursor: &mut Cursor<'_>| Ok(Key::Day(which, relation, day(cursor)?));
    Ok(match word {
        "UID" => Key::Uids(Set::parse(cursor)?),
        "KEYWORD" | "UNKEYWORD" => Key::Keyword(cursor.atom()?.to_owned(), word == "KEYWORD"),
        "BEFORE" => day(Which::Internal, Relation::Before, cursor)?,
        "ON" => day(Which::Internal, Relation::On, cursor)?,
        "SINCE" => day(Which::Internal, Relation::Since, cursor)?,
        "SENTBEFORE" => day(Which::Sent, Relation::Before, cursor)?,
        "SENTON" => day(Which::Sent, Relation::On, cursor)?,
        "SENTSINCE" => day(Which::Sent, Relation::Since, cursor)?,
        "SAVEDBEFORE" => day(Which::Saved, Relation::Before, cursor)?,
        "SAVEDON" => day(Which::Saved, Relation::On, cursor)?,
        "SAVEDSINCE" => day(Which::Saved, Relation::Since, cursor)?,
        "LARGER" => Key::Larger(cursor.number64()?),
        "SMALLER" => Key::Smaller(cursor.number64()?),
        "OLDER" => Key::Older(cursor.nz_number()?),
        "YOUNGER" => Key::Younger(cursor.nz_number()?),
        "BCC" | "CC" | "FROM" | "TO" => Key::Addresses(word.to_owned(), text(cursor)?),
        "SUBJECT" => Key::Header(word.as_bytes().to_vec(), text(cursor)?),
        "HEADER" => {
            let name = text(cursor)?;
            cursor.space()?;
            Key::Header(name, text(cursor)?)
        }
        "BODY" => Key::Body(text(cursor)?),
        "TEXT" => Key::Text(text(cursor)?),
        "MODSEQ" => modseq(cursor)?,
        "EMAILID" => Key::EmailId(object_id(cursor)?),
        "THREADID" => Key::ThreadId(object_id(cursor)?),
        _ => return Err(Bad("no such key")),
    })
}

/// `search-modsequence = "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer` (RFC 7162 §7); a message has one
/// mod-sequence for all its entries.
fn modseq(cursor: &mut Cursor<'_>) -> Parsed<Key> {
    if cursor.peek() == Some(b'"') {
        let name = cursor.string()?;
        if !name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"/flags/")) {
            return Err(Bad("no such entry"));
        }
        cursor.space()?;
        if !["priv", "shared", "all"].iter().any(|own| cursor.eat_word(own)) {
            return Err(Bad("no such type of entry"));
        }
        cursor.space()?;
    }
    Ok(Key::ModSeq(cursor.number64()?))
}

/// `objectid = 1*255(ALPHA / DIGIT / "_" / "-")` (RFC 8474 §7)
fn object_id(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let id = cursor.atom()?;
    let fine = id.len() <= 255 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if fine { Ok(id.to_owned()) } else { Err(Bad("this is no object id")) }
}

/// `date = date-text / DQUOTE date-text DQUOTE`
fn day(cursor: &mut Cursor<'_>) -> Parsed<Date> {
    let text = cursor.astring()?;
    std::str::from_utf8(&text).ok().and_then(date::imap_day).ok_or(Bad("this is no date"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Parsed<Vec<Step>> {
        steps(&mut Cursor::new(text.as_bytes()))
    }

    fn shown(text: &str) -> String {
        let one = |step: Step| match step {
            Step::Key(Key::Flags(flags, set)) => format!("{}{flags}", if set { "" } else { "-" }),
            Step::Key(Key::Header(name, text)) => {
                format!("{}={}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&text))
            }
            Step::Key(Key::Addresses(name, text)) => format!("{name}={}", String::from_utf8_lossy(&text)),
            Step::Key(key) => format!("{key:?}"),
            step => format!("{step:?}"),
        };
        read(text).unwrap().into_iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn keys_become_steps() {
        assert_eq!(shown("ALL"), "All And(1)");
        assert_eq!(shown("or not seen (deleted draft) from x"), "\\Seen Not \\Deleted \\Draft And(2) Or FROM=x And(2)");
        assert_eq!(shown("NOT OR SEEN NOT DRAFT"), "\\Seen \\Draft Not Or Not And(1)");
        assert_eq!(shown("((SEEN)) OLD"), "\\Seen And(1) And(1) Recent Not And(2)");
        assert_eq!(shown("NEW"), "Recent -\\Seen And(2) And(1)");
        assert_eq!(shown("HEADER \"X-Y\" \"\""), "X-Y= And(1)");
        assert_eq!(shown("SUBJECT {3}\r\na\"b"), "SUBJECT=a\"b And(1)");
    }

    #[test]
    fn every_key_is_read() {
        let keys = "ALL ANSWERED BCC x BEFORE 1-Feb-1994 BODY x CC x DELETED DRAFT FLAGGED FROM x HEADER a x KEYWORD $x LARGER 9 NEW OLD \
                    ON \"1-Feb-1994\" RECENT SEEN SENTBEFORE 1-Feb-1994 SENTON 1-Feb-1994 SENTSINCE 1-Feb-1994 SINCE 1-Feb-1994 \
                    SMALLER 9 SUBJECT x TEXT x TO x UID 1:*,7 UNANSWERED UNDELETED UNDRAFT UNFLAGGED UNKEYWORD x UNSEEN 1:* $ UID $ \
                    OLDER 1 YOUNGER 2 SAVEDBEFORE 1-Feb-1994 SAVEDON 1-Feb-1994 SAVEDSINCE 1-Feb-1994 SAVEDATESUPPORTED \
                    EMAILID M1-_ THREADID T1 MODSEQ 5 MODSEQ \"/flags/\\\\draft\" all 620162338";
        assert_eq!(read(keys).unwrap().last(), Some(&Step::And(46)));
    }

    #[test]
    fn bad_keys_are_refused() {
        let bad = [
            "",
            " ",
            "X",
            "NOT",
            "OR SEEN",
            "OR SEEN  DRAFT",
            "(SEEN",
            "SEEN)",
            "()",
            "( SEEN)",
            "FROM",
            "HEADER x",
            "KEYWORD \\Seen",
            "BEFORE 31-Feb-1994",
            "BEFORE x",
            "LARGER -1",
            "LARGER x",
            "OLDER 0",
            "UID x",
            "0",
            "MODSEQ x all 5",
            "MODSEQ \"/flags/x\" some 5",
            "EMAILID a.b",
            "SEEN ",
            "SEEN SEEN  SEEN",
        ];
        for bad in bad {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!("{}SEEN{}", "(".repeat(50), ")".repeat(50))).is_ok());
        for deep in [format!("{}SEEN{}", "(".repeat(52), ")".repeat(52)), "NOT ".repeat(60) + "SEEN", "OR ".repeat(60)] {
            assert_eq!(read(&deep), Err(Bad("keys in too many keys")));
        }
        assert_eq!(read(&("SEEN ".repeat(2000) + "SEEN")), Err(Bad("too many keys")));
    }

    #[test]
    fn commands() {
        let command =
            |read: fn(&mut Cursor<'_>, bool) -> Parsed<Command>, text: &str| read(&mut Cursor::new(text.as_bytes()), false);
        let Command::Search { search: found, .. } = command(search, "RETURN (MIN SAVE) CHARSET \"UTF-8\" SEEN").unwrap() else {
            panic!()
        };
        assert_eq!(found.returns, Some(Returns { min: true, save: true, ..Returns::default() }));
        assert_eq!(found.charset.as_deref(), Some(&b"UTF-8"[..]));
        let Command::Search { search: found, .. } = command(search, "RETURN () SEEN").unwrap() else { panic!() };
        assert_eq!(found.returns, Some(Returns { all: true, ..Returns::default() }));
        let Command::Sort { criteria, .. } = command(sort, "(SUBJECT REVERSE DATE) UTF-8 ALL").unwrap() else { panic!() };
        assert_eq!(criteria, [Criterion { by: By::Subject, reverse: false }, Criterion { by: By::Date, reverse: true }]);
        assert!(command(thread, "references US-ASCII ALL").is_ok());
        for bad in ["RETURN (MIN) ", "RETURN (PARTIAL 1:2 ALL) ALL", "CHARSET UTF-8", "RETURN MIN ALL"] {
            assert!(command(search, bad).is_err(), "{bad}");
        }
        for bad in ["() UTF-8 ALL", "(REVERSE) UTF-8 ALL", "(DATE) UTF-8", "DATE UTF-8 ALL", "(X) UTF-8 ALL"] {
            assert!(command(sort, bad).is_err(), "{bad}");
        }
        for bad in ["REFS UTF-8 ALL", "REFERENCES UTF-8", "REFERENCES"] {
            assert!(command(thread, bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// Whatever comes: no panic, and steps that leave one value.
        #[test]
        fn steps_come_out_even(words in proptest::collection::vec(0..12_usize, 0..40)) {
            const WORDS: [&str; 12] = ["SEEN", " ", "(", ")", "OR ", "NOT ", "FROM a", "1:2", "\"", "UID ", " SEEN", "{1}\r\n"];
            let text: String = words.into_iter().map(|word| WORDS[word]).collect();
            if let Ok(steps) = read(&text) {
                let depth = steps.iter().try_fold(0_usize, |depth, step| match step {
                    Step::Key(_) => Some(depth + 1),
                    Step::Not => (depth > 0).then_some(depth),
                    Step::Or => depth.checked_sub(2).map(|depth| depth + 1),
                    Step::And(count) => depth.checked_sub(*count).map(|depth| depth + 1),
                });
                prop_assert_eq!(depth, Some(1));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = steps(&mut Cursor::new(&bytes));
        }
    }
}
