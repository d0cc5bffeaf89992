//! What is asked about mailboxes.

use super::Server;
use super::queue::Viewer;
use super::session::Refusal;
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

/// What is wrong with a mailbox.
pub fn check(server: &Server, viewer: &Viewer, user: &str, folder: Option<&FolderName>) -> Result<Value, Refusal> {
    let found = open(server, viewer, user, folder)?.inspect().map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    let told = |finding: &Finding| json!({ "offset": finding.offset, "what": finding.what, "then": finding.then });
    Ok(found.iter().map(told).collect())
}

/// Takes back the room of what was removed.
pub fn compact(server: &Server, viewer: &Viewer, user: &str, folder: Option<&FolderName>) -> Result<Value, Refusal> {
    let mailbox = open(server, viewer, user, folder)?;
    let (moved, freed) = server.store.compact(&mailbox).map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    Ok(json!({ "moved": moved, "freed": freed }))
}

fn open(server: &Server, viewer: &Viewer, user: &str, folder: Option<&FolderName>) -> Result<Arc<Mailbox>, Refusal> {
    if !viewer.is_owner(user) {
        return Err(Refusal::new(exit::NOPERM, "only root, or the account itself, may do that"));
    }
    let account = server.host.account(user).map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    let account = account.ok_or_else(|| Refusal::new(exit::NOUSER, "nobody of that name is here"))?;
    let mailbox = match folder {
        Some(name) => server.store.open(&account, name),
        None => server.store.inbox(&account),
    };
    mailbox.map_err(|error| Refusal::new(exit::TEMPFAIL, error))
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
