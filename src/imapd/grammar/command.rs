//! Commands, and which words stand for them.

use super::cursor::{Bad, Cursor, Parsed};
use super::fetch::{self, Item};
use super::filter::{self, Filter};
use super::folder::{self, ListWhat, StatusItem, mailbox};
use super::metadata::{self, Wanted};
use super::notify::{Notify, notify};
use super::returns::Partial;
use super::search::{self, Algorithm, Criterion, Search};
use super::set::Set;
use crate::mailbox::{Change, Flags, NoteChanges, SpecialUse};
use crate::sys::Time;
use std::fmt;

/// Names in one list of flags.
const MOST_FLAGS: usize = 200;

/// One command, its arguments checked as far as they can be without a mailbox.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Authenticate {
        mechanism: String,
        initial: Option<Vec<u8>>,
    },
    /// The tags of searches.
    CancelUpdate(Vec<Vec<u8>>),
    Capability,
    Check,
    Close,
    /// By an algorithm of this name (RFC 4978).
    Compress(String),
    Copy {
        set: Set,
        uid: bool,
        to: Vec<u8>,
        moves: bool,
    },
    Create {
        name: Vec<u8>,
        uses: Vec<Option<SpecialUse>>,
    },
    Delete(Vec<u8>),
    Enable(Vec<String>),
    Esearch {
        sources: Vec<Filter>,
        search: Search,
    },
    /// Only of these UIDs, if they are given (RFC 4315 §2.1).
    Expunge(Option<Set>),
    Fetch {
        set: Set,
        uid: bool,
        items: Vec<Item>,
        changed_since: Option<u64>,
        vanished: bool,
        /// Only of so many of them (RFC 9394 §3.3).
        partial: Option<Partial>,
    },
    /// An empty name: of the server.
    GetMetadata {
        name: Vec<u8>,
        wanted: Wanted,
    },
    /// Of a quota root (RFC 9208 §4.1.1).
    GetQuota(Vec<u8>),
    /// Of a folder (RFC 9208 §4.1.2).
    GetQuotaRoot(Vec<u8>),
    Id,
    Idle,
    List(ListWhat),
    Login {
        name: Vec<u8>,
        password: Secret,
    },
    Logout,
    Lsub {
        reference: Vec<u8>,
        pattern: Vec<u8>,
    },
    Namespace,
    Noop,
    /// None: of nothing (RFC 5465).
    Notify(Option<Notify>),
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Search {
        uid: bool,
        search: Search,
    },
    Select {
        name: Vec<u8>,
        how: How,
    },
    SetMetadata {
        name: Vec<u8>,
        values: NoteChanges,
    },
    Sort {
        uid: bool,
        criteria: Vec<Criterion>,
        search: Search,
    },
    Starttls,
    Status {
        name: Vec<u8>,
        items: Vec<StatusItem>,
    },
    Store {
        set: Set,
        uid: bool,
        store: Store,
    },
    Subscribe {
        name: Vec<u8>,
        subscribe: bool,
    },
    Thread {
        uid: bool,
        algorithm: Algorithm,
        search: Search,
    },
    Unauthenticate,
    Unselect,
}

/// A password, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("…")
    }
}

/// How a mailbox is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// EXAMINE
    pub read_only: bool,
    /// `(CONDSTORE)` (RFC 7162 §3.1.8)
    pub condstore: bool,
    /// `(QRESYNC (…))` (RFC 7162 §3.2.5)
    pub resync: Option<Resync>,
}

/// What the client knows of a mailbox already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resync {
    /// UIDVALIDITY
    pub validity: u32,
    /// Up to which modseq.
    pub modseq: u64,
    /// Which UIDs; none: all.
    pub known: Option<Set>,
    /// Numbers, and the UIDs they had.
    pub pairs: Option<(Set, Set)>,
}

/// What STORE does.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// How.
    pub change: Change,
    /// `.SILENT`
    pub silent: bool,
    /// Which.
    pub flags: Vec<Flag>,
    /// `(UNCHANGEDSINCE n)` (RFC 7162 §3.1.3)
    pub unchanged_since: Option<u64>,
}

/// A flag as clients write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flag {
    /// One that the protocol knows.
    System(Flags),
    /// Any other word.
    Keyword(String),
}

/// How a message is to be filed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// Its flags.
    pub flags: Vec<Flag>,
    /// Its internal date, and the zone in minutes.
    pub date: Option<(Time, i16)>,
}

/// What a command is called; APPEND and REPLACE, which are read while they arrive, have no [`Command`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    Append,
    Authenticate,
    CancelUpdate,
    Capability,
    Check,
    Close,
    Compress,
    Copy,
    Create,
    Delete,
    Enable,
    Esearch,
    Examine,
    Expunge,
    Fetch,
    GetMetadata,
    GetQuota,
    GetQuotaRoot,
    Id,
    Idle,
    List,
    Login,
    Logout,
    Lsub,
    Move,
    Namespace,
    Noop,
    Notify,
    Rename,
    Replace,
    Search,
    Select,
    SetMetadata,
    Sort,
    Starttls,
    Status,
    Store,
    Subscribe,
    Thread,
    Uid,
    Unauthenticate,
    Unselect,
    Unsubscribe,
}

type Row = (&'static str, Verb);

const VERBS: &[Row] = &[
    ("APPEND", Verb::Append),
    ("AUTHENTICATE", Verb::Authenticate),
    ("CANCELUPDATE", Verb::CancelUpdate),
    ("CAPABILITY", Verb::Capability),
    ("CHECK", Verb::Check),
    ("CLOSE", Verb::Close),
    ("COMPRESS", Verb::Compress),
    ("COPY", Verb::Copy),
    ("CREATE", Verb::Create),
    ("DELETE", Verb::Delete),
    ("ENABLE", Verb::Enable),
    ("ESEARCH", Verb::Esearch),
    ("EXAMINE", Verb::Examine),
    ("EXPUNGE", Verb::Expunge),
    ("FETCH", Verb::Fetch),
    ("GETMETADATA", Verb::GetMetadata),
    ("GETQUOTA", Verb::GetQuota),
    ("GETQUOTAROOT", Verb::GetQuotaRoot),
    ("ID", Verb::Id),
    ("IDLE", Verb::Idle),
    ("LIST", Verb::List),
    ("LOGIN", Verb::Login),
    ("LOGOUT", Verb::Logout),
    ("LSUB", Verb::Lsub),
    ("MOVE", Verb::Move),
    ("NAMESPACE", Verb::Namespace),
    ("NOOP", Verb::Noop),
    ("NOTIFY", Verb::Notify),
    ("RENAME", Verb::Rename),
    ("REPLACE", Verb::Replace),
    ("SEARCH", Verb::Search),
    ("SELECT", Verb::Select),
    ("SETMETADATA", Verb::SetMetadata),
    ("SORT", Verb::Sort),
    ("STARTTLS", Verb::Starttls),
    ("STATUS", Verb::Status),
    ("STORE", Verb::Store),
    ("SUBSCRIBE", Verb::Subscribe),
    ("THREAD", Verb::Thread),
    ("UID", Verb::Uid),
    ("UNAUTHENTICATE", Verb::Unauthenticate),
    ("UNSELECT", Verb::Unselect),
    ("UNSUBSCRIBE", Verb::Unsubscribe),
];

impl Verb {
    /// `command = tag SP (command-any / …)`: takes the word, in any case.
    pub fn read(cursor: &mut Cursor<'_>) -> Parsed<Verb> {
        let word = cursor.atom()?;
        let row = VERBS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        row.map(|(_, verb)| *verb).ok_or(Bad("no such command"))
    }
}

/// The tag of a command, whatever follows it; and what follows.
pub fn tag_of(command: &[u8]) -> Option<(&str, Cursor<'_>)> {
    let mut cursor = Cursor::new(command);
    let tag = cursor.tag().ok()?;
    (cursor.eat(b' ') || cursor.rest().is_empty()).then_some((tag, cursor))
}

impl Command {
    /// Does a search have message numbers among its keys?
    pub fn has_numbers(&self) -> bool {
        match self {
            Command::Search { search, .. } | Command::Sort { search, .. } | Command::Thread { search, .. } => {
                search.has_numbers()
            }
            _ => false,
        }
    }
}

/// Reads what follows the verb.
pub fn parse(verb: Verb, mut cursor: Cursor<'_>) -> Parsed<Command> {
    let command = arguments(verb, &mut cursor)?;
    cursor.end()?;
    Ok(command)
}

fn arguments(verb: Verb, cursor: &mut Cursor<'_>) -> Parsed<Command> {
    Ok(match verb {
        Verb::Capability => Command::Capability,
        Verb::Check => Command::Check,
        Verb::Close => Command::Close,
        Verb::Expunge => Command::Expunge(None),
        Verb::Idle => Command::Idle,
        Verb::Logout => Command::Logout,
        Verb::Namespace => Command::Namespace,
        Verb::Noop => Command::Noop,
        Verb::Starttls => Command::Starttls,
        Verb::Unauthenticate => Command::Unauthenticate,
        Verb::Unselect => Command::Unselect,
        // It got here because its head is not right.
        Verb::Append | Verb::Replace => return Err(Bad("a mailbox or a message is missing")),
        _ => {
            cursor.space()?;
            with_arguments(verb, cursor)?
        }
    })
}

fn with_arguments(verb: Verb, cursor: &mut Cursor<'_>) -> Parsed<Command> {
    Ok(match verb {
        Verb::Authenticate => {
            let mechanism = cursor.atom()?.to_owned();
            // RFC 4959 §3
            let initial = if cursor.eat(b' ') { Some(cursor.take_while(|byte| byte != b' ').to_vec()) } else { None };
            Command::Authenticate { mechanism, initial }
        }
        // command-select =/ "CANCELUPDATE" 1*(SP quoted) (RFC 5267 §5)
        Verb::CancelUpdate => {
            let mut tags = vec![cursor.astring()?.into_owned()];
            while cursor.eat(b' ') {
                tags.push(cursor.astring()?.into_owned());
            }
            Command::CancelUpdate(tags)
        }
        Verb::Compress => Command::Compress(cursor.atom()?.to_ascii_uppercase()),
        Verb::Create => {
            let (name, uses) = folder::create(cursor)?;
            Command::Create { name, uses }
        }
        Verb::Delete => Command::Delete(mailbox(cursor)?),
        Verb::Enable => {
            let mut names = vec![cursor.atom()?.to_ascii_uppercase()];
            while cursor.eat(b' ') {
                names.push(cursor.atom()?.to_ascii_uppercase());
            }
            Command::Enable(names)
        }
        Verb::Esearch => filter::esearch(cursor)?,
        Verb::GetMetadata => metadata::get(cursor)?,
        Verb::GetQuota => Command::GetQuota(cursor.astring()?.into_owned()),
        Verb::GetQuotaRoot => Command::GetQuotaRoot(mailbox(cursor)?),
        Verb::Id => id(cursor)?,
        Verb::List => Command::List(folder::list(cursor)?),
        Verb::Lsub => {
            let reference = mailbox(cursor)?;
            cursor.space()?;
            Command::Lsub { reference, pattern: cursor.list_mailbox()?.into_owned() }
        }
        Verb::Login => {
            let name = cursor.astring()?.into_owned();
            cursor.space()?;
            Command::Login { name, password: Secret(cursor.astring()?.into_owned()) }
        }
        Verb::Notify => Command::Notify(notify(cursor)?),
        Verb::Rename => {
            let from = mailbox(cursor)?;
            cursor.space()?;
            Command::Rename { from, to: mailbox(cursor)? }
        }
        Verb::Select | Verb::Examine => {
            let name = mailbox(cursor)?;
            Command::Select { name, how: how(cursor, verb == Verb::Examine)? }
        }
        Verb::SetMetadata => metadata::set(cursor)?,
        Verb::Status => {
            let name = mailbox(cursor)?;
            cursor.space()?;
            Command::Status { name, items: folder::status_items(cursor)? }
        }
        Verb::Subscribe | Verb::Unsubscribe => Command::Subscribe { name: mailbox(cursor)?, subscribe: verb == Verb::Subscribe },
        Verb::Uid => {
            let verb = Verb::read(cursor)?;
            cursor.space()?;
            match verb {
                Verb::Replace => return Err(Bad("a mailbox or a message is missing")),
                Verb::Expunge => Command::Expunge(Some(Set::parse(cursor)?)),
                _ => on_messages(verb, true, cursor)?,
            }
        }
        _ => on_messages(verb, false, cursor)?,
    })
}

/// Commands that name messages by number, or after `UID` by UID.
fn on_messages(verb: Verb, uid: bool, cursor: &mut Cursor<'_>) -> Parsed<Command> {
    match verb {
        Verb::Search => return search::search(cursor, uid),
        Verb::Sort => return search::sort(cursor, uid),
        Verb::Thread => return search::thread(cursor, uid),
        Verb::Copy | Verb::Move | Verb::Fetch | Verb::Store => {}
        _ => return Err(Bad("no such command")),
    }
    let set = Set::parse(cursor)?;
    cursor.space()?;
    Ok(match verb {
        Verb::Copy | Verb::Move => Command::Copy { set, uid, to: mailbox(cursor)?, moves: verb == Verb::Move },
        Verb::Fetch => {
            let items = fetch::items(cursor)?;
            let Modifiers { changed_since, vanished, partial } = fetch_modifiers(cursor)?;
            if partial.is_some() && !uid {
                return Err(Bad("PARTIAL is for UID FETCH"));
            }
            Command::Fetch { set, uid, items, changed_since, vanished, partial }
        }
        _ => Command::Store { set, uid, store: store(cursor)? },
    })
}

/// What is asked of a FETCH beyond its items.
#[derive(Default)]
struct Modifiers {
    changed_since: Option<u64>,
    vanished: bool,
    partial: Option<Partial>,
}

/// `fetch-modifiers = SP "(" fetch-modifier *(SP fetch-modifier) ")"` (RFC 4466 §2.4, RFC 7162 §7, RFC 9394 §4)
fn fetch_modifiers(cursor: &mut Cursor<'_>) -> Parsed<Modifiers> {
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

/// ```abnf
/// store = "STORE" SP sequence-set [SP "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"] SP store-att-flags
/// store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
/// ```
fn store(cursor: &mut Cursor<'_>) -> Parsed<Store> {
    let mut unchanged_since = None;
    if cursor.peek() == Some(b'(') {
        cursor.list(|cursor| {
            if !cursor.eat_word("UNCHANGEDSINCE ") {
                return Err(Bad("no such modifier"));
            }
            unchanged_since = Some(cursor.number64()?);
            Ok(())
        })?;
        cursor.space()?;
    }
    let change = match cursor.peek() {
        Some(b'+') => Change::Add,
        Some(b'-') => Change::Remove,
        _ => Change::Replace,
    };
    let _ = cursor.eat(b'+') || cursor.eat(b'-');
    if !cursor.eat_word("FLAGS") {
        return Err(Bad("only FLAGS can be stored"));
    }
    let silent = cursor.eat_word(".SILENT");
    cursor.space()?;
    let mut flags = Vec::new();
    if cursor.peek() == Some(b'(') {
        flags = cursor.list(flag)?;
    } else {
        flags.push(flag(cursor)?);
        while cursor.eat(b' ') {
            flags.push(flag(cursor)?);
        }
    }
    if flags.len() > MOST_FLAGS { Err(Bad("too many flags")) } else { Ok(Store { change, silent, flags, unchanged_since }) }
}

/// `flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension`; `\Recent` is no client's.
pub(super) fn flag(cursor: &mut Cursor<'_>) -> Parsed<Flag> {
    if !cursor.eat(b'\\') {
        return cursor.atom().map(|name| Flag::Keyword(name.to_owned()));
    }
    match cursor.atom()?.to_ascii_lowercase().as_str() {
        "answered" => Ok(Flag::System(Flags::ANSWERED)),
        "deleted" => Ok(Flag::System(Flags::DELETED)),
        "draft" => Ok(Flag::System(Flags::DRAFT)),
        "flagged" => Ok(Flag::System(Flags::FLAGGED)),
        "seen" => Ok(Flag::System(Flags::SEEN)),
        _ => Err(Bad("no such flag can be set")),
    }
}

/// ```abnf
/// select-params  = SP "(" select-param *(SP select-param) ")"
/// select-param  /= "CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"
/// seq-match-data = "(" known-sequence-set SP known-uid-set ")"            ; RFC 7162 §7
/// ```
fn how(cursor: &mut Cursor<'_>, read_only: bool) -> Parsed<How> {
    let mut how = How { read_only, ..How::default() };
    if cursor.eat(b' ') {
        cursor.list(|cursor| {
            match cursor.atom()?.to_ascii_uppercase().as_str() {
                "CONDSTORE" => how.condstore = true,
                "QRESYNC" => how.resync = Some(resync(cursor)?),
                _ => return Err(Bad("no such parameter")),
            }
            Ok(())
        })?;
    }
    Ok(how)
}

fn resync(cursor: &mut Cursor<'_>) -> Parsed<Resync> {
    cursor.space()?;
    cursor.expect(b'(', "a list is missing")?;
    let validity = cursor.nz_number()?;
    cursor.space()?;
    let modseq = cursor.number64()?;
    let (mut known, mut pairs) = (None, None);
    while cursor.eat(b' ') {
        if cursor.eat(b'(') {
            let numbers = Set::parse(cursor)?;
            cursor.space()?;
            pairs = Some((numbers, Set::parse(cursor)?));
            cursor.expect(b')', "a list does not end")?;
            break;
        }
        if known.is_some() {
            return Err(Bad("one set of UIDs is enough"));
        }
        known = Some(Set::parse(cursor)?);
    }
    cursor.expect(b')', "a list does not end")?;
    Ok(Resync { validity, modseq, known, pairs })
}

/// `id = "ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil)` (RFC 2971 §3.1); what a client is called is its
/// own affair.
fn id(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    if !cursor.eat_word("NIL") {
        let words = cursor.list(Cursor::nstring)?;
        if words.len() % 2 != 0 || words.len() > 60 {
            return Err(Bad("fields and values come in pairs, thirty at most"));
        }
    }
    Ok(Command::Id)
}
