//! Commands, and what follows their names.

use super::cursor::{Bad, Cursor, Parsed};
use super::fetch::{self, Item, Modifiers};
use super::filter::{self, Filter};
use super::folder::{self, ListWhat, StatusItem, mailbox};
use super::metadata::{self, Wanted};
use super::notify::{Notify, notify};
use super::returns::Partial;
use super::search::{self, Algorithm, Criterion, Search};
use super::select::{How, how};
use super::set::Set;
use super::store::{Store, store};
use super::verb::Verb;
use crate::mailbox::{NoteChanges, SpecialUse};
use std::fmt;

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
            let Modifiers { changed_since, vanished, partial } = fetch::modifiers(cursor)?;
            if partial.is_some() && !uid {
                return Err(Bad("PARTIAL is for UID FETCH"));
            }
            Command::Fetch { set, uid, items, changed_since, vanished, partial }
        }
        _ => Command::Store { set, uid, store: store(cursor)? },
    })
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
