//! What is asked about mailboxes.

use super::Server;
use super::queue::Viewer;
use super::session::Refusal;
use crate::host::Account;
use crate::mailbox::{Finding, FolderError, FolderName, Kind, Listed, Mailbox};
use crate::sys::exit;
use serde_json::{Value, json};
use std::sync::Arc;

/// The folders of a user: names, and what each is.
pub fn list(server: &Server, user: &str) -> Result<Value, Refusal> {
    let account = server.host.account(user).map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    let account = account.ok_or_else(|| Refusal::new(exit::NOUSER, "nobody of that name is here"))?;
    let folders = server.store.folders(&account).map_err(FolderError::from).and_then(|folders| folders.list());
    let folders = folders.map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    Ok(folders.iter().map(told).collect())
}

/// What is wrong with a mailbox; without a folder, with INBOX and with what is kept about the folders.
pub fn check(server: &Server, viewer: &Viewer, user: &str, folder: Option<&FolderName>) -> Result<Value, Refusal> {
    let account = account(server, viewer, user)?;
    let mut found = open(server, &account, folder)?.inspect().map_err(later)?;
    if folder.is_none() {
        found.extend(server.store.folders(&account).map_err(later)?.inspect().map_err(later)?);
    }
    Ok(found.iter().map(finding).collect())
}

/// Mends that.
pub fn rebuild(server: &Server, viewer: &Viewer, user: &str, folder: Option<&FolderName>) -> Result<Value, Refusal> {
    let account = account(server, viewer, user)?;
    let (mut done, mut left) = (Vec::new(), Vec::new());
    if folder.is_none() {
        let folders = server.store.folders(&account).map_err(later)?;
        done.extend(folders.rebuild().map_err(later)?);
        left.extend(folders.inspect().map_err(later)?);
    }
    let mailbox = open(server, &account, folder)?;
    server.delivery.look_for_copies(&account, &mailbox).map_err(later)?;
    let rebuilt = server.store.rebuild(&mailbox).map_err(later)?;
    done.extend(rebuilt.done);
    left.splice(0..0, rebuilt.left);
    Ok(json!({ "done": done, "left": left.iter().map(finding).collect::<Vec<_>>() }))
}

/// Takes back the room of what was removed.
pub fn compact(server: &Server, viewer: &Viewer, user: &str, folder: Option<&FolderName>) -> Result<Value, Refusal> {
    let mailbox = open(server, &account(server, viewer, user)?, folder)?;
    let (moved, freed) = server.store.compact(&mailbox).map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    Ok(json!({ "moved": moved, "freed": freed }))
}

/// The account of that name, for who may have all of its mail.
pub fn account(server: &Server, viewer: &Viewer, user: &str) -> Result<Account, Refusal> {
    if !viewer.is_owner(user) {
        return Err(Refusal::new(exit::NOPERM, "only root, or the account itself, may do that"));
    }
    server.host.account(user).map_err(later)?.ok_or_else(|| Refusal::new(exit::NOUSER, "nobody of that name is here"))
}

fn open(server: &Server, account: &Account, folder: Option<&FolderName>) -> Result<Arc<Mailbox>, Refusal> {
    let mailbox = match folder {
        Some(name) => server.store.open(account, name),
        None => server.store.inbox(account),
    };
    mailbox.map_err(later)
}

fn later(error: impl ToString) -> Refusal {
    Refusal::new(exit::TEMPFAIL, error)
}

fn finding(finding: &Finding) -> Value {
    json!({ "offset": finding.offset, "what": finding.what, "then": finding.then })
}

fn told(listed: &Listed) -> Value {
    let (kind, id) = match listed.kind {
        Kind::Mailbox(id) => ("mailbox", Some(id.to_string())),
        Kind::Noselect => ("names", None),
        Kind::Nonexistent => ("none", None),
    };
    json!({
        "name": listed.name.as_str(),
        "kind": kind,
        "id": id,
        "subscribed": listed.subscribed,
        "use": listed.special.map(|special| special.as_str()),
    })
}
