//! The queue as seen through the control socket.

use super::session::Refusal;
use crate::delivery::{Counts, Delivery, Hop, Operated, Operation, Route, Which};
use crate::mail::{Address, Envelope, Origin, header};
use crate::net::{Connection, NetError};
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

    fn sees(&self, envelope: &Envelope) -> bool {
        match (self, &envelope.origin) {
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
    /// Before which it must not leave, or null.
    release: Option<String>,
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
    fn of(unsettled: &Unsettled, envelope: &Envelope) -> Message {
        let address = |index| envelope.recipient(index).map_or_else(String::new, |recipient| recipient.address.to_string());
        let release = envelope.release.as_ref().filter(|_| !unsettled.is_tried());
        let begins = release.map_or(unsettled.time, |release| release.at(unsettled.time));
        Message {
            id: unsettled.id.to_string(),
            time: shown(unsettled.time),
            size: unsettled.size,
            sender: envelope.reverse_path.to_string(),
            user: match &envelope.origin {
                Origin::User(name) => Some(name.clone()),
                Origin::Network | Origin::Daemon => None,
            },
            release: release.map(|_| shown(begins)),
            recipients: unsettled
                .waiting
                .iter()
                .map(|waiting| Recipient {
                    address: address(waiting.index),
                    due: shown(waiting.due.max(begins)),
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

/// Writes every message that waits and may be seen, in order of arrival. There may be a million, so each is read, written and
/// forgotten, on a line of its own: what comes together is an answer like all others.
pub fn list(delivery: &Delivery, viewer: &Viewer, connection: &mut Connection) -> Result<(), NetError> {
    connection.put(b"{\"ok\":true,\"result\":[")?;
    let (mut comma, mut glance) = ("", delivery.glance());
    for unsettled in delivery.queue() {
        let message = match glance.envelope(unsettled.id) {
            Ok(envelope) if viewer.sees(&envelope) => serde_json::to_string(&Message::of(&unsettled, &envelope)),
            // Not theirs, or settled since we looked.
            Ok(_) | Err(SpoolError::Unknown(_)) => continue,
            Err(error) => {
                log::error!("msg={} event=unreadable error=\"{error}\"", unsettled.id);
                continue;
            }
        };
        let Ok(message) = message else { continue };
        connection.put(format!("{comma}\n{message}").as_bytes())?;
        comma = ",";
    }
    connection.put(b"\n]}\r\n")?;
    connection.flush()
}

/// All about one message, with its header.
pub fn show(delivery: &Delivery, viewer: &Viewer, id: SpoolId) -> Result<Value, Refusal> {
    let entry = check_visible(delivery, viewer, id)?;
    let unsettled = delivery.waiting(id).ok_or_else(unknown)?;
    let mut bytes = vec![0; usize::try_from(entry.message.len().min(MOST_HEADER)).unwrap_or(0)];
    let read = entry.message.read_at(&mut bytes, 0).map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    bytes.truncate(read.min(header::end(&bytes)));
    let message = serde_json::to_value(Message::of(&unsettled, &entry.envelope));
    let mut message = message.map_err(|error| Refusal::new(exit::SOFTWARE, error))?;
    if let Some(fields) = message.as_object_mut() {
        fields.insert("header".to_owned(), String::from_utf8_lossy(&bytes).into());
    }
    Ok(message)
}

/// The message, if it is there for whoever asks.
pub fn check_visible(delivery: &Delivery, viewer: &Viewer, id: SpoolId) -> Result<Entry, Refusal> {
    match delivery.entry(id) {
        Ok(entry) if viewer.sees(&entry.envelope) => Ok(entry),
        Ok(_) | Err(SpoolError::Unknown(_)) => Err(unknown()),
        Err(error) => Err(Refusal::new(exit::TEMPFAIL, error)),
    }
}

fn unknown() -> Refusal {
    Refusal::new(exit::UNAVAILABLE, "no such message waits")
}

/// Does something to all that is meant and may be seen. What is being delivered at this moment is left alone.
pub fn operate(delivery: &Delivery, viewer: &Viewer, which: &Which, operation: Operation) -> Result<Value, Refusal> {
    let sees = |envelope: &Envelope| viewer.sees(envelope);
    let done = delivery.operate(operation, which, if viewer.is_operator() { None } else { Some(&sees) });
    match done.map_err(|error| Refusal::new(exit::TEMPFAIL, error))? {
        Operated { messages: 0, busy: 0 } if operation == Operation::Release => {
            Err(Refusal::new(exit::UNAVAILABLE, "no such message is held"))
        }
        Operated { messages: 0, busy: 0 } => Err(unknown()),
        Operated { messages: 0, busy: 1 } => Err(Refusal::new(exit::TEMPFAIL, "the message is being delivered at this moment")),
        Operated { messages, busy } => Ok(json!({ "messages": messages, "busy": busy })),
    }
}

/// How much waits.
pub fn counts(delivery: &Delivery) -> Value {
    let Counts { messages, bytes, recipients, held } = delivery.counts();
    json!({ "messages": messages, "bytes": bytes, "recipients": recipients, "held": held })
}

/// Where mail for an address goes, and why.
pub fn route(delivery: &Delivery, address: &Address) -> Result<Value, Refusal> {
    let (route, steps) = delivery.explain(address).map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    Ok(match route {
        Route::Local(account) => json!({ "to": "mailbox", "mailbox": account.name }),
        Route::NoUser => json!({ "to": "nobody" }),
        Route::Remote(Hop::Domain(domain)) => json!({ "to": "domain", "domain": domain }),
        Route::Remote(hop @ Hop::Program(_)) => json!({ "to": "program", "program": hop.to_string() }),
        Route::Remote(hop @ (Hop::Host(..) | Hop::Lmtp(_) | Hop::Literal(_))) => json!({ "to": "host", "host": hop.to_string() }),
        Route::Expand => {
            let steps: Vec<Value> = steps.iter().map(|(depth, text)| json!({ "depth": depth, "text": text })).collect();
            json!({ "to": "others", "steps": steps })
        }
    })
}
