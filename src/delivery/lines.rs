//! One try for lines of alias and `.forward` files: a message is appended to a file, or a command takes it.

use super::outcome::{Trouble, Verdict};
use super::table::Task;
use super::{Office, local, program};
use crate::host;
use crate::host::{Job, LineOf};
use crate::mail::{Address, Line};
use crate::mailbox::{MailboxError, mbox_prefix, plain};
use crate::spool::Entry;
use crate::{auth::Shown, delivery::bounce::Kind};
use std::io;
use std::sync::Arc;

/// Serves all recipients of a task.
pub(super) fn run(office: &Arc<Office>, task: &Task) {
    program::serve(office, task, |entry, index, address| {
        let Some(line) = super::recipient(entry, index).and_then(|recipient| recipient.line.as_deref()) else {
            return Verdict::no_user();
        };
        match named(office, line) {
            Ok(named) if named.command().is_some() => command(office, entry, index, address, &named),
            Ok(named) => append(office, entry, index, address, &named),
            Err(error) => Verdict::own_trouble(&error),
        }
    });
}

/// The line, as the host knows it.
fn named(office: &Office, line: &Line) -> io::Result<host::Line> {
    let of = match &line.user {
        None => LineOf::Aliases,
        Some(user) => {
            let account = office.host.account(user)?;
            LineOf::Forward(account.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no user {user}")))?)
        }
    };
    Ok(host::Line { of, number: usize::try_from(line.number).unwrap_or(usize::MAX), text: line.text.clone() })
}

fn command(office: &Office, entry: &Entry, index: u32, address: &Address, line: &host::Line) -> Verdict {
    let what = format!("{:?}", line.text);
    // With a `From ` line, as sendmail gives it: procmail makes none, and what it files would be no mailbox.
    let (prefix, _) = mbox_prefix(entry.envelope.sender(index), address, entry.time);
    program::attempt(office, entry, index, (address, &prefix), &what, |input, environment, is_over| {
        office.host.run_line(line, Job { environment, input }, is_over)
    })
}

fn append(office: &Office, entry: &Entry, index: u32, address: &Address, line: &host::Line) -> Verdict {
    let opened = office.host.open_line(line).map_err(MailboxError::from);
    let appended = opened.and_then(|file| match file {
        Some(file) => plain::append(&*file, entry.envelope.sender(index), address, entry.time, &entry.message),
        // It is to be thrown away.
        None => Ok(()),
    });
    match appended {
        Ok(()) => {
            log::info!("msg={} event=appended to=<{}> file={:?}", entry.id, Shown(&address.to_string()), line.text);
            let said = Trouble::own("2.0.0", "It is in the file there.");
            Verdict::Delivered { said, report: Some(Kind::Delivered) }
        }
        Err(error) => local::refused(&error),
    }
}
