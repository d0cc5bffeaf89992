//! The queue as seen through the control socket.

use super::command::Target;
use super::session::Refusal;
use crate::delivery::{ActError, Delivery, Flush, Hop, Route};
use crate::mail::{Address, Origin, header};
use crate::spool::{Entry, SpoolError, SpoolId, Unsettled};
use crate::sys::{Time, exit};
use jiff::Timestamp;
use nix::unistd::{Uid, User};
use serde::Serialize;
use serde_json::{Value, json};

/// Bytes of a message's header that are shown.
const MOST_HEADER: u64 = 64 << 10;

/// Who looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Sees and does everything.
    Operator,
    /// The account with this name, if the uid has one: sees its own mail.
    Account(Option<String>),
}

impl Viewer {
    /// By the credentials of a connection; `own` is the uid of the daemon.
    pub fn of(uid: Option<u32>, own: u32) -> Viewer {
        match uid {
            Some(uid) if uid == 0 || uid == own => Viewer::Operator,
            Some(uid) => {
                let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
                Viewer::Account(user.map(|user| user.name.to_ascii_lowercase()))
            }
            None => Viewer::Account(None),
        }
    }

    /// Root, or the daemon's own account.
    pub fn is_operator(&self) -> bool {
        *self == Viewer::Operator
    }

    /// Root, the daemon's own account, or the account of that name.
    pub fn is_owner(&self, user: &str) -> bool {
        self.is_operator() || matches!(self, Viewer::Account(Some(name)) if name.eq_ignore_ascii_case(user))
    }

    fn sees(&self, entry: &Entry) -> bool {
        match (self, &entry.envelope.origin) {
            (Viewer::Operator, _) => true,
            (Viewer::Account(Some(name)), Origin::User(user)) => user.eq_ignore_ascii_case(name),
            _ => false,
        }
    }
}

/// A message that waits.
#[derive(Debug, Serialize)]
struct Message {
    id: String,
    /// When it was taken.
    time: String,
    /// Bytes.
    size: u64,
    /// Empty: the null sender.
    sender: String,
    /// Who handed it in: the name of a user, or null.
    user: Option<String>,
    /// Who waits for it.
    recipients: Vec<Recipient>,
}

#[derive(Debug, Serialize)]
struct Recipient {
    address: String,
    /// Not tried before.
    due: String,
    tries: u32,
    held: bool,
    /// The sender was told of the delay.
    warned: bool,
    /// What the last try came to.
    reason: String,
}

impl Message {
    fn of(unsettled: &Unsettled, entry: &Entry) -> Message {
        let address = |index: u32| {
            let recipient = usize::try_from(index).ok().and_then(|at| entry.envelope.recipients.get(at));
            recipient.map_or_else(String::new, |recipient| recipient.address.to_string())
        };
        Message {
            id: unsettled.id.to_string(),
            time: shown(unsettled.time),
            size: unsettled.size,
            sender: entry.envelope.reverse_path.to_string(),
            user: match &entry.envelope.origin {
                Origin::User(name) => Some(name.clone()),
                Origin::Network | Origin::Daemon => None,
            },
            recipients: unsettled
                .waiting
                .iter()
                .map(|waiting| Recipient {
                    address: address(waiting.index),
                    due: shown(waiting.due),
                    tries: waiting.tries,
                    held: waiting.held,
                    warned: waiting.warned,
                    reason: waiting.text.clone(),
                })
                .collect(),
        }
    }
}

/// As of RFC 3339, to the millisecond, in UTC.
fn shown(time: Time) -> String {
    match Timestamp::from_microsecond(time.0) {
        Ok(stamp) => stamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        Err(_) => String::new(),
    }
}

/// Every message that waits and may be seen, in order of arrival.
pub fn list(delivery: &Delivery, viewer: &Viewer) -> Result<Value, Refusal> {
    let mut messages = Vec::new();
    for unsettled in delivery.queue() {
        match delivery.entry(unsettled.id) {
            Ok(entry) if viewer.sees(&entry) => messages.push(Message::of(&unsettled, &entry)),
            Ok(_) => {}
            // Settled since we looked.
            Err(SpoolError::Unknown(_)) => {}
            Err(error) => log::error!("msg={} event=unreadable error=\"{error}\"", unsettled.id),
        }
    }
    serde_json::to_value(messages).map_err(|error| Refusal::new(exit::SOFTWARE, error))
}

/// All about one message, with its header.
pub fn show(delivery: &Delivery, viewer: &Viewer, id: SpoolId) -> Result<Value, Refusal> {
    let entry = check_visible(delivery, viewer, id)?;
    let unsettled = delivery.queue().into_iter().find(|unsettled| unsettled.id == id).ok_or_else(unknown)?;
    let mut bytes = vec![0; usize::try_from(entry.message.len().min(MOST_HEADER)).unwrap_or(0)];
    let read = entry.message.read_at(&mut bytes, 0).map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    bytes.truncate(read.min(header::end(&bytes)));
    let message = serde_json::to_value(Message::of(&unsettled, &entry));
    let mut message = message.map_err(|error| Refusal::new(exit::SOFTWARE, error))?;
    if let Some(fields) = message.as_object_mut() {
        fields.insert("header".to_owned(), String::from_utf8_lossy(&bytes).into());
    }
    Ok(message)
}

/// The message, if it is there for whoever asks.
pub fn check_visible(delivery: &Delivery, viewer: &Viewer, id: SpoolId) -> Result<Entry, Refusal> {
    match delivery.entry(id) {
        Ok(entry) if viewer.sees(&entry) => Ok(entry),
        Ok(_) | Err(SpoolError::Unknown(_)) => Err(unknown()),
        Err(error) => Err(Refusal::new(exit::TEMPFAIL, error)),
    }
}

fn unknown() -> Refusal {
    Refusal::new(exit::UNAVAILABLE, ActError::Unknown)
}

/// What an act came to.
pub fn done(result: Result<(), ActError>) -> Result<Value, Refusal> {
    match result {
        Ok(()) => Ok(Value::Null),
        Err(error @ ActError::Unknown) => Err(Refusal::new(exit::UNAVAILABLE, error)),
        Err(error @ (ActError::Busy | ActError::Spool(_))) => Err(Refusal::new(exit::TEMPFAIL, error)),
    }
}

/// In the words of the delivery.
pub fn flush(target: &Target) -> Flush {
    match target {
        Target::All => Flush::All,
        Target::Message(id) => Flush::Message(*id),
        Target::Domain(domain) => Flush::Domain(domain.clone()),
    }
}

/// How much waits.
pub fn counts(delivery: &Delivery) -> Value {
    let queue = delivery.queue();
    let waiting = || queue.iter().flat_map(|unsettled| &unsettled.waiting);
    json!({
        "messages": queue.len(),
        "bytes": queue.iter().map(|unsettled| unsettled.size).sum::<u64>(),
        "recipients": waiting().count(),
        "held": waiting().filter(|waiting| waiting.held).count(),
    })
}

/// Where mail for an address goes, and why.
pub fn route(delivery: &Delivery, address: &Address) -> Result<Value, Refusal> {
    let route = delivery.post().route(address).map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    Ok(match route {
        Route::Local(account) => json!({ "to": "mailbox", "mailbox": account.name }),
        Route::NoUser => json!({ "to": "nobody" }),
        Route::Remote(Hop::Domain(domain)) => json!({ "to": "domain", "domain": domain }),
        Route::Remote(hop @ (Hop::Host(..) | Hop::Literal(_))) => json!({ "to": "host", "host": hop.to_string() }),
    })
}
