//! What is asked about replies of who is away. `vacation set` is followed by the wishes, as `mail::vacation` has them:
//!
//! ```text
//! C: vacation set alice 28
//! C: <28 bytes: an optional header, an empty line, the text>
//! S: {"ok":true,"result":null}
//! ```

use super::Server;
use super::session::{Refusal, put_answer};
use crate::delivery::Wishes;
use crate::host::Account;
use crate::mail::date;
use crate::mail::vacation::Vacation;
use crate::net::{Connection, NetError};
use crate::sys::{Clock, SystemClock, exit};
use serde_json::{Value, json};

/// What is set, and whether it counts today.
pub fn show(server: &Server, account: &Account) -> Result<Value, Refusal> {
    let wishes = server.delivery.vacation(account).map_err(|error| Refusal::new(exit::TEMPFAIL, error))?;
    let Some(Wishes { text, is_own }) = wishes else { return Ok(Value::Null) };
    let today = date::day(SystemClock::default().now(), None);
    let (is_on, wrong) = match Vacation::parse(&text) {
        Ok(vacation) => (vacation.is_on(today), None),
        Err(wrong) => (false, Some(wrong.to_string())),
    };
    Ok(json!({ "on": is_on, "file": is_own, "wrong": wrong, "text": text }))
}

/// Takes it back.
pub fn off(server: &Server, account: &Account) -> Result<Value, Refusal> {
    server.delivery.set_vacation(account, None).map_err(|error| Refusal::new(exit::CANTCREAT, error))?;
    show(server, account)
}

/// Reads it, and sets it, if there is such an account.
pub fn set(
    server: &Server,
    account: Result<Account, Refusal>,
    length: usize,
    connection: &mut Connection,
) -> Result<(), NetError> {
    let mut bytes = Vec::new();
    connection.read_bytes(length as u64, |block| bytes.extend_from_slice(block))?;
    let set = || {
        let account = account?;
        let text = String::from_utf8(bytes).map_err(|_| Refusal::new(exit::DATAERR, "the text is not UTF-8"))?;
        let vacation = Vacation::parse(&text).map_err(|wrong| Refusal::new(exit::DATAERR, wrong))?;
        server.delivery.set_vacation(&account, Some(&vacation)).map_err(|error| Refusal::new(exit::CANTCREAT, error))?;
        Ok(Value::Null)
    };
    put_answer(connection, set())
}
