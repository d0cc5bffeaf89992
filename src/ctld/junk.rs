//! What is asked about junk. `junk teach` is followed by messages in wire form, each behind its size, and none:
//!
//! ```text
//! C: junk teach alice good
//! C: 1234
//! C: <1234 bytes>
//! C: 0
//! S: {"ok":true,"result":{"new":1,"changed":0,"known":0}}
//! ```

use super::Server;
use super::session::{Refusal, put_answer};
use crate::delivery::{Lessons, Taught};
use crate::host::Account;
use crate::junk::{Counts, ENOUGH, Kind, MOST_READ};
use crate::net::{Connection, Line, NetError};
use crate::sys::exit;
use serde_json::{Value, json};
use std::io;
use std::time::Duration;

/// For the other side's next message; it may be waiting for a disk.
const PATIENCE: Duration = Duration::from_secs(600);
/// Messages that are learned together.
const AT_ONCE: usize = 100;
/// Bytes of a line.
const LONGEST: usize = 32;

/// A request.
///
/// ```abnf
/// request = ( "show " / "forget " ) user / ( "learn " / "teach " ) user ( " junk" / " good" )
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whose.
    pub user: String,
    /// What.
    pub act: Act,
}

/// What is asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// What was learned?
    Show,
    /// Forget it.
    Forget,
    /// Learn what is in Junk, or in INBOX.
    Learn(Kind),
    /// Learn what follows.
    Teach(Kind),
}

impl Request {
    /// What follows `junk`.
    pub fn parse(text: &str) -> Result<Request, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let kind = |name: &str| [Kind::Junk, Kind::Good].into_iter().find(|kind| kind.name() == name);
        let (user, act) = match words.as_slice() {
            [_, "", ..] | [_] => return Err("a user is missing".to_owned()),
            ["show", user] => (user, Some(Act::Show)),
            ["forget", user] => (user, Some(Act::Forget)),
            ["learn", user, name] => (user, kind(name).map(Act::Learn)),
            ["teach", user, name] => (user, kind(name).map(Act::Teach)),
            [_, user, ..] => (user, None),
            [] => (&"", None),
        };
        let act = act.ok_or("unknown request")?;
        Ok(Request { user: (*user).to_owned(), act })
    }
}

/// All but `teach`, which [`teach`] does.
pub fn answer(server: &Server, account: &Account, act: Act) -> Result<Value, Refusal> {
    let delivery = &server.delivery;
    match act {
        Act::Show | Act::Teach(_) => {
            let taught = delivery.taught(account).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => {
                    Refusal::new(exit::DATAERR, "the file is damaged; it is begun anew with the next lesson")
                }
                _ => Refusal::new(exit::TEMPFAIL, error),
            })?;
            let Taught { learned: Counts { junk, good }, tokens } = taught.unwrap_or_default();
            Ok(json!({ "junk": junk, "good": good, "words": tokens, "enough": junk.min(good) >= ENOUGH, "least": ENOUGH }))
        }
        Act::Forget => delivery.forget_junk(account).map(|()| Value::Null).map_err(|error| Refusal::new(exit::CANTCREAT, error)),
        Act::Learn(kind) => match delivery.learn_folder(account, kind) {
            Ok(lessons) => Ok(told(lessons)),
            Err(crate::mailbox::MailboxError::Nonexistent) => Err(Refusal::new(exit::NOINPUT, "there is no folder for junk")),
            Err(error) => Err(Refusal::new(exit::TEMPFAIL, error)),
        },
    }
}

fn told(Lessons { new, changed, known }: Lessons) -> Value {
    json!({ "new": new, "changed": changed, "known": known })
}

/// Reads messages, and learns them, if there is such an account.
pub fn teach(
    server: &Server,
    account: Result<Account, Refusal>,
    kind: Kind,
    connection: &mut Connection,
) -> Result<(), NetError> {
    connection.set_timeout(PATIENCE);
    connection.set_deadline(None);
    let (mut all, mut waiting, mut wrong) = (Lessons::default(), Vec::new(), None);
    loop {
        let message = next(connection)?;
        let is_last = message.is_none();
        waiting.extend(message);
        if let (Ok(account), None, true) = (&account, &wrong, is_last || waiting.len() >= AT_ONCE) {
            match server.delivery.learn_messages(account, kind, &waiting) {
                Ok(lessons) => all.add(lessons),
                Err(error) => wrong = Some(Refusal::new(exit::TEMPFAIL, error)),
            }
        }
        if waiting.len() >= AT_ONCE {
            waiting.clear();
        }
        if is_last {
            let result = account.and_then(|_| wrong.map_or(Ok(told(all)), Err));
            return put_answer(connection, result);
        }
    }
}

/// As much of a message as is looked at. None: that was all.
fn next(connection: &mut Connection) -> Result<Option<Vec<u8>>, NetError> {
    let mut line = Vec::new();
    let Line::Whole = connection.read_line(LONGEST, &mut line)? else { return Err(NetError::Closed) };
    let size = std::str::from_utf8(&line).ok().and_then(|digits| digits.parse::<u64>().ok()).ok_or(NetError::Closed)?;
    let mut message = Vec::new();
    connection.read_bytes(size, |block| {
        let room = MOST_READ - message.len();
        message.extend_from_slice(block.get(..room).unwrap_or(block));
    })?;
    Ok((size > 0).then_some(message))
}
