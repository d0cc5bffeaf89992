//! What commands are called. Pure.

use super::cursor::{Bad, Cursor, Parsed};

/// What a command is called; APPEND and REPLACE, which are read while they arrive, have no [`super::Command`].
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
