//! One control session.

use super::Server;
use super::command::Command;
use super::junk;
use super::list;
use super::mailbox;
use super::queue::{self, Viewer};
use super::transfer;
use super::vacation;
use crate::delivery::Operation;
use crate::net::{Connection, Line, NetError, Peer};
use crate::spool::SpoolError;
use crate::sys::exit;
use nix::unistd::geteuid;
use serde_json::{Value, json};
use std::io;
use std::time::Duration;

/// For the request; it comes from a program, not from a person.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a request.
const LONGEST: usize = 1024;

/// Why there is no result: the code the tool ends with, and a sentence.
#[derive(Debug)]
pub struct Refusal {
    /// Of `sys::exit`.
    pub code: u8,
    /// For the one who asked.
    pub error: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: u8, error: impl ToString) -> Refusal {
        Refusal { code, error: error.to_string() }
    }
}

/// Reads a request, answers it.
pub fn serve(server: &Server, mut connection: Connection, session: &str) {
    if let Err(error) = converse(server, &mut connection, session) {
        log::info!("session={session} control-failed error=\"{error}\"");
    }
}

fn converse(server: &Server, connection: &mut Connection, session: &str) -> Result<(), NetError> {
    connection.set_timeout(PATIENCE);
    connection.set_deadline(Some(PATIENCE));
    let mut line = Vec::new();
    let request = match connection.read_line(LONGEST, &mut line)? {
        Line::Whole => Command::parse(&line).map_err(|what| Refusal::new(exit::USAGE, what)),
        Line::TooLong | Line::Malformed => Err(Refusal::new(exit::USAGE, "unknown request")),
    };
    let uid = match connection.peer() {
        Peer::Unix { uid, .. } => Some(*uid),
        Peer::Tcp(_) => None,
    };
    let viewer = Viewer::of(uid, geteuid().as_raw());
    if let Ok(Command::List) = request {
        connection.set_deadline(None);
        return queue::list(&server.delivery, &viewer, connection);
    }
    if let Ok(Command::Import(user) | Command::Export(user)) = &request {
        log::info!("session={session} control uid={} request=\"{}\"", uid.unwrap_or(u32::MAX), line.escape_ascii());
        connection.set_deadline(None);
        return match (mailbox::account(server, &viewer, user), &request) {
            (Err(refusal), _) => put_answer(connection, Err(refusal)),
            (Ok(account), Ok(Command::Import(_))) => transfer::import(server, &account, connection),
            (Ok(account), _) => transfer::export(server, &account, connection),
        };
    }
    if let Ok(Command::OfJunk(junk::Request { user, act: junk::Act::Teach(kind) })) = &request {
        log::info!("session={session} control uid={} request=\"{}\"", uid.unwrap_or(u32::MAX), line.escape_ascii());
        return junk::teach(server, mailbox::account(server, &viewer, user), *kind, connection);
    }
    if let Ok(Command::VacationSet(user, length)) = &request {
        log::info!("session={session} control uid={} request=\"{}\"", uid.unwrap_or(u32::MAX), line.escape_ascii());
        return vacation::set(server, mailbox::account(server, &viewer, user), *length, connection);
    }
    let result = request.and_then(|command| {
        if command.is_act() {
            log::info!("session={session} control uid={} request=\"{}\"", uid.unwrap_or(u32::MAX), line.escape_ascii());
        }
        answer(server, &viewer, &command)
    });
    connection.set_deadline(None);
    put_answer(connection, result)
}

/// One line.
pub fn put_answer(connection: &mut Connection, result: Result<Value, Refusal>) -> Result<(), NetError> {
    let answer = match result {
        Ok(result) => json!({ "ok": true, "result": result }),
        Err(refusal) => json!({ "ok": false, "code": refusal.code, "error": refusal.error }),
    };
    connection.put(answer.to_string().as_bytes())?;
    connection.put(b"\r\n")?;
    connection.flush()
}

fn answer(server: &Server, viewer: &Viewer, command: &Command) -> Result<Value, Refusal> {
    if !viewer.is_operator() && !command.is_for_everybody() {
        return Err(Refusal::new(exit::NOPERM, "only root, or the account the daemon runs as, may do that"));
    }
    let delivery = &server.delivery;
    match command {
        Command::Status => status(server),
        Command::Reload => match server.supervisor.reload() {
            Ok(()) => Ok(Value::Null),
            Err(what) => Err(Refusal::new(exit::CONFIG, what)),
        },
        Command::LogLevels => Ok(server.supervisor.log_levels().into_iter().collect()),
        Command::LogLevel(level, module) => match server.supervisor.set_log_level(*level, module.as_deref()) {
            Ok(()) => Ok(Value::Null),
            Err(what) => Err(Refusal::new(exit::USAGE, what)),
        },
        // Written while it is read: see [`converse`].
        Command::List | Command::Import(_) | Command::Export(_) | Command::VacationSet(..) => Ok(Value::Null),
        Command::OfJunk(junk::Request { user, act }) => junk::answer(server, &mailbox::account(server, viewer, user)?, *act),
        Command::Vacation(user) => vacation::show(server, &mailbox::account(server, viewer, user)?),
        Command::VacationOff(user) => vacation::off(server, &mailbox::account(server, viewer, user)?),
        Command::Show(id) => queue::show(delivery, viewer, *id),
        Command::Flush(which) => Ok(json!({ "messages": delivery.flush(which) })),
        Command::Hold(which) => queue::operate(delivery, viewer, which, Operation::Hold),
        Command::Release(which) => queue::operate(delivery, viewer, which, Operation::Release),
        Command::Remove(which) => queue::operate(delivery, viewer, which, Operation::Remove),
        Command::Adopt(host) => match delivery.adopt(host) {
            Ok(messages) => Ok(json!({ "messages": messages })),
            Err(SpoolError::Locked) => Err(Refusal::new(exit::TEMPFAIL, format!("a daemon still has the journal of {host}"))),
            Err(SpoolError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Err(Refusal::new(exit::UNAVAILABLE, error)),
            Err(error) => Err(Refusal::new(exit::TEMPFAIL, error)),
        },
        Command::OfLists(request) => list::answer(delivery, request),
        Command::Route(address) => queue::route(delivery, address),
        Command::Folders(user) => mailbox::list(server, user),
        Command::Check(user, folder) => mailbox::check(server, viewer, user, folder.as_ref()),
        Command::Rebuild(user, folder) => mailbox::rebuild(server, viewer, user, folder.as_ref()),
        Command::Compact(user, folder) => mailbox::compact(server, viewer, user, folder.as_ref()),
    }
}

fn status(server: &Server) -> Result<Value, Refusal> {
    let mut status = serde_json::to_value(server.supervisor.status()).map_err(|error| Refusal::new(exit::SOFTWARE, error))?;
    if let Some(status) = status.as_object_mut() {
        status.insert("queue".to_owned(), queue::counts(&server.delivery));
    }
    Ok(status)
}
