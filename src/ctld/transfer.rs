//! All mail of a user, out and in, over one control session.
//!
//! ```text
//! C: export alice
//! S: {"ok":true,"result":null}
//! S: {"folder":"INBOX","messages":1}
//! S: {"size":1234,"date":1577836800000000,"flags":["\\Seen"],"keywords":["$Forwarded"]}
//! S: <1234 bytes: the message in wire form>
//! S: {"end":true}                                   or {"error":"…"}, and the end
//!
//! C: import alice
//! S: {"ok":true,"result":null}
//! C: folder Work/Plans                              made, if it is not there
//! S: {"ok":true,"result":["61be55a8e2f6b4e1…"]}     what is there already: digests of messages
//! C: message 1234 1577836800000000 \Seen $Forwarded
//! C: <1234 bytes>
//! C: commit                                         all since the last one, or none of it
//! S: {"ok":true,"result":1}
//! ```
//!
//! A date is in microseconds since 1970. A digest is half of the message's SHA-256, in hexadecimal: by it the one who imports
//! knows what it has brought before, however it was interrupted.

use super::Server;
use super::session::{Refusal, put_answer};
use crate::delivery::{Batch, FileError};
use crate::host::Account;
use crate::mail::Filing;
use crate::mailbox::{Flags, FolderError, FolderName, Kind, MailboxError, View};
use crate::net::{Connection, Line, NetError};
use crate::sys::{Time, exit};
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead, Write};
use std::time::Duration;

/// For the other side's next line; it may be waiting for a disk, or for another host.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Bytes of a line: the name of a folder, or a message's keywords.
const LONGEST: usize = 16 << 10;
/// Bytes of a message.
const BIGGEST: u64 = 1 << 30;
/// Bytes of a digest.
const DIGEST: usize = 16;

/// Why it can't go on.
enum Trouble {
    Mailbox(String),
    Net(NetError),
}

impl From<NetError> for Trouble {
    fn from(error: NetError) -> Trouble {
        Trouble::Net(error)
    }
}

impl From<MailboxError> for Trouble {
    fn from(error: MailboxError) -> Trouble {
        Trouble::Mailbox(error.to_string())
    }
}

/// Sends all folders of the account.
pub fn export(server: &Server, account: &Account, connection: &mut Connection) -> Result<(), NetError> {
    connection.set_timeout(PATIENCE);
    put_answer(connection, Ok(Value::Null))?;
    let end = match export_all(server, account, connection) {
        Ok(()) => json!({ "end": true }),
        Err(Trouble::Mailbox(error)) => json!({ "error": error }),
        Err(Trouble::Net(error)) => return Err(error),
    };
    put_line(connection, &end)?;
    connection.flush()
}

fn export_all(server: &Server, account: &Account, connection: &mut Connection) -> Result<(), Trouble> {
    let folders = server.store.folders(account)?.list().map_err(|error| Trouble::Mailbox(error.to_string()))?;
    for folder in folders.iter().filter(|folder| matches!(folder.kind, Kind::Mailbox(_))) {
        let view = server.store.open(account, &folder.name)?.view()?;
        let (messages, names) = (view.messages()?, view.keywords());
        put_line(connection, &json!({ "folder": folder.name.as_str(), "messages": messages.len() }))?;
        for message in messages {
            let mut from = match view.read(message.uid) {
                Err(MailboxError::Gone) => continue,
                other => other?,
            };
            let flags: Vec<&str> = (message.marks.flags & Flags::ALL).names().collect();
            let mut keywords: Vec<&str> = names.of(message.marks.keywords).collect();
            keywords.sort_unstable();
            put_line(connection, &json!({ "size": message.size, "date": message.date.0, "flags": flags, "keywords": keywords }))?;
            let sent = each_block(&mut from, |block| connection.put(block))??;
            if sent != message.size {
                // The other side waits for the rest: nothing can be said any more.
                return Err(NetError::Closed.into());
            }
        }
    }
    Ok(())
}

/// Gives the bytes of a message to `take`, and their number.
fn each_block<E>(from: &mut dyn BufRead, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<Result<u64, E>, MailboxError> {
    let mut bytes = 0;
    loop {
        let block = from.fill_buf().map_err(MailboxError::of_reader)?;
        if block.is_empty() {
            return Ok(Ok(bytes));
        }
        if let Err(error) = take(block) {
            return Ok(Err(error));
        }
        let length = block.len();
        bytes += length as u64;
        from.consume(length);
    }
}

fn put_line(connection: &mut Connection, value: &Value) -> Result<(), NetError> {
    connection.put(format!("{value}\r\n").as_bytes())
}

/// Where messages go.
struct Into {
    folder: FolderName,
    batch: Option<Batch>,
    wrong: Option<FileError>,
    messages: u64,
}

/// Takes messages until the other side closes.
pub fn import(server: &Server, account: &Account, connection: &mut Connection) -> Result<(), NetError> {
    connection.set_timeout(PATIENCE);
    put_answer(connection, Ok(Value::Null))?;
    let (mut line, mut into) = (Vec::new(), None::<Into>);
    loop {
        let text = match connection.read_line(LONGEST, &mut line) {
            Ok(Line::Whole) => std::str::from_utf8(&line).ok().map(|text| text.split_once(' ').unwrap_or((text, ""))),
            Ok(Line::TooLong | Line::Malformed) => None,
            Err(NetError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
        match (text, &mut into) {
            (Some(("folder", name)), _) => {
                into = None;
                let answer = open(server, account, name).map(|(folder, known)| {
                    into = Some(Into { folder, batch: None, wrong: None, messages: 0 });
                    known
                });
                put_answer(connection, answer)?;
            }
            (Some(("message", rest)), Some(into)) => match message(rest) {
                Some((size, how)) => take(server, account, into, connection, size, how)?,
                // What follows is not known, so nothing can be made of it.
                None => return put_answer(connection, Err(unknown())),
            },
            (Some(("commit", "")), Some(into)) => put_answer(connection, commit(into))?,
            _ => return put_answer(connection, Err(unknown())),
        }
    }
}

fn unknown() -> Refusal {
    Refusal::new(exit::USAGE, "unknown request")
}

/// Makes the folder if need be; tells what is in it.
fn open(server: &Server, account: &Account, name: &str) -> Result<(FolderName, Value), Refusal> {
    let name = FolderName::parse(name).map_err(|error| Refusal::new(exit::DATAERR, error))?;
    let later = |error: &dyn std::fmt::Display| Refusal::new(exit::TEMPFAIL, error);
    let mailbox = match server.store.open(account, &name) {
        Err(MailboxError::Nonexistent) => {
            let folders = server.store.folders(account).map_err(|error| later(&error))?;
            match folders.create(&name, None) {
                Ok(_) | Err(FolderError::Exists) => {}
                Err(error) => return Err(Refusal::new(exit::CANTCREAT, error)),
            }
            server.store.open(account, &name)
        }
        other => other,
    };
    let digests = mailbox.and_then(|mailbox| digests(&mailbox.view()?)).map_err(|error| later(&error))?;
    Ok((name, digests.into()))
}

/// Of all messages; it takes reading them.
fn digests(view: &View) -> Result<Vec<String>, MailboxError> {
    let mut all = Vec::new();
    for message in view.messages()? {
        let mut from = match view.read(message.uid) {
            Err(MailboxError::Gone) => continue,
            other => other?,
        };
        let mut digest = Context::new(&SHA256);
        let _: Result<u64, ()> = each_block(&mut from, |block| {
            digest.update(block);
            Ok(())
        })?;
        let digest = digest.finish();
        all.push(digest.as_ref().iter().take(DIGEST).fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        }));
    }
    Ok(all)
}

/// `size date *( " " ( flag / keyword ) )`
fn message(text: &str) -> Option<(u64, Filing)> {
    let mut words = text.split(' ');
    let size = words.next()?.parse().ok().filter(|size| *size <= BIGGEST)?;
    let mut how = Filing { date: Time(words.next()?.parse().ok()?), ..Filing::default() };
    let mut flags = Flags::NONE;
    for word in words {
        let known = (0..5).map(|bit| Flags::from_bits(1 << bit)).find(|flag| flag.names().any(|name| name == word));
        match known {
            Some(flag) => flags = flags | flag,
            None if word.starts_with('\\') || word.is_empty() => return None,
            None => how.keywords.push(word.to_owned()),
        }
    }
    how.flags = flags.bits();
    Some((size, how))
}

/// Reads one message. What is wrong is told at the commit.
fn take(
    server: &Server,
    account: &Account,
    into: &mut Into,
    connection: &mut Connection,
    size: u64,
    how: Filing,
) -> Result<(), NetError> {
    into.messages += 1;
    if into.batch.is_none() && into.wrong.is_none() {
        match server.delivery.post().file(account, &into.folder) {
            Ok(batch) => into.batch = Some(batch),
            Err(error) => into.wrong = Some(error),
        }
    }
    let Some(batch) = &mut into.batch else { return connection.read_bytes(size, |_| {}) };
    batch.message(how);
    // To write never fails.
    connection.read_bytes(size, |bytes| drop(batch.write_all(bytes)))
}

fn commit(into: &mut Into) -> Result<Value, Refusal> {
    let messages = std::mem::take(&mut into.messages);
    let outcome = match (into.wrong.take(), into.batch.take()) {
        (Some(error), _) => Err(error),
        (None, Some(batch)) => batch.commit().map(drop),
        (None, None) => Ok(()),
    };
    let code = |error: &FileError| match error {
        FileError::Nul | FileError::HeaderTooBig | FileError::Keyword => exit::DATAERR,
        FileError::Full | FileError::Nonexistent => exit::CANTCREAT,
        FileError::Gone | FileError::TooMuch | FileError::Later(_) | FileError::Uncertain => exit::TEMPFAIL,
    };
    outcome.map(|()| messages.into()).map_err(|error| Refusal::new(code(&error), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_before_messages() {
        let (size, how) = message("12 -5 \\Seen $X \\Draft y").unwrap();
        assert_eq!((size, how.date, how.flags), (12, Time(-5), (Flags::SEEN | Flags::DRAFT).bits()));
        assert_eq!(how.keywords, ["$X", "y"]);
        for wrong in ["", "1", "1 x", "-1 0", "1 0 \\Odd", "1 0  x", "99999999999 0"] {
            assert!(message(wrong).is_none(), "{wrong}");
        }
    }
}
