//! Where a user who set it in the browser wants mail to go: `<spool>/forward/USER`, in the form of a `.forward` file, before which
//! it goes. Only addresses stand there, and `\USER` where the mailbox is to have a copy, too: no file, no command, no other user.

use super::Office;
use crate::host::Account;
use crate::mail::Address;
use crate::mail::alias::{self, Numbered, Target};
use std::io::{self, ErrorKind};

/// What is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// To whom.
    pub to: Vec<Address>,
    /// The mailbox has a copy.
    pub keeps: bool,
}

impl Forwarding {
    /// As its file says it.
    fn text(&self, account: &Account) -> String {
        let own = if self.keeps { format!("\\{}\n", account.name) } else { String::new() };
        own + &self.to.iter().map(|address| format!("{address}\n")).collect::<String>()
    }

    /// None: something else stands there.
    fn of(targets: &[Numbered], account: &Account) -> Option<Forwarding> {
        let mut forwarding = Forwarding { to: Vec::new(), keeps: false };
        for (_, target) in targets {
            match target {
                Target::Address(address) => forwarding.to.push(address.clone()),
                Target::User(name) if *name == account.name => forwarding.keeps = true,
                _ => return None,
            }
        }
        (!forwarding.to.is_empty()).then_some(forwarding)
    }
}

impl Office {
    /// What is set, as targets, and as it is told. An error is temporary.
    pub(super) fn forwarding(&self, account: &Account) -> io::Result<Option<(Vec<Numbered>, Forwarding)>> {
        let Some(text) = self.tables().forwarded.of(self.journal.disk(), account)? else { return Ok(None) };
        let targets = alias::parse_list(&text).ok();
        let read = targets.and_then(|targets| Forwarding::of(&targets, account).map(|known| (targets, known)));
        let wrong = || io::Error::new(ErrorKind::InvalidData, format!("where mail of {} goes is not understood", account.name));
        read.map(Some).ok_or_else(wrong)
    }

    /// Sets it, or takes it back, durably.
    pub(super) fn set_forwarding(&self, account: &Account, forwarding: Option<&Forwarding>) -> io::Result<()> {
        let text = forwarding.map(|forwarding| forwarding.text(account));
        // Nothing is written that would be read as something else.
        let read = text.as_ref().and_then(|text| Forwarding::of(&alias::parse_list(text).ok()?, account));
        if read.as_ref() != forwarding {
            return Err(io::Error::new(ErrorKind::InvalidInput, "an address that a file can't hold"));
        }
        self.tables().forwarded.set(self.journal.disk(), account, text.as_deref())
    }
}
