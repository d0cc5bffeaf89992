//! What is asked about mailboxes.

use super::Server;
use super::session::Refusal;
use crate::mailbox::{FolderError, Kind, Listed};
use crate::sys::exit;
use serde_json::{Value, json};

/// The folders of a user: names, and what each is.
pub fn list(server: &Server, user: &str) -> Result<Value, Refusal> {
    let account = server.host.account(user).map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    let account = account.ok_or_else(|| Refusal::new(exit::NOUSER, "nobody of that name is here"))?;
    let folders = server.store.folders(&account).map_err(FolderError::from).and_then(|folders| folders.list());
    let folders = folders.map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    Ok(folders.iter().map(told).collect())
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
