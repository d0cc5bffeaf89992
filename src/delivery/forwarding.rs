//! Where a user who set it in the browser wants mail to go: `<spool>/forward/USER`, in the form of a `.forward` file, before which
//! it goes. Only addresses stand there, and `\USER` where the mailbox is to have a copy, too: no file, no command, no other user.

use super::Office;
use crate::host::Account;
use crate::mail::Address;
use crate::mail::alias::{self, Numbered, Target};
use crate::sys::Open;
use std::io::{self, ErrorKind, IoSlice};
use std::path::PathBuf;

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
    fn forwarding_file(&self, account: &Account) -> PathBuf {
        self.config().spool.join("forward").join(&account.name)
    }

    /// What is set, as targets, and as it is told. An error is temporary.
    pub(super) fn forwarding(&self, account: &Account) -> io::Result<Option<(Vec<Numbered>, Forwarding)>> {
        let disk = self.journal.disk();
        // Which is the question for each recipient here.
        if !self.tables().forwarded.has(disk, account.name.as_ref())? {
            return Ok(None);
        }
        let path = self.forwarding_file(account);
        let bytes = match disk.open(&path, Open::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => super::vacation::content(&*file?)?,
        };
        let targets = alias::parse_list(&String::from_utf8_lossy(&bytes)).ok();
        let read = targets.and_then(|targets| Forwarding::of(&targets, account).map(|known| (targets, known)));
        let wrong = || io::Error::new(ErrorKind::InvalidData, format!("{}: not understood", path.display()));
        read.map(Some).ok_or_else(wrong)
    }

    /// Sets it, or takes it back, durably.
    pub(super) fn set_forwarding(&self, account: &Account, forwarding: Option<&Forwarding>) -> io::Result<()> {
        let (disk, path) = (self.journal.disk(), self.forwarding_file(account));
        let dir = path.parent().unwrap_or(&path);
        let Some(forwarding) = forwarding else {
            return match disk.remove(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => disk.sync_dir(dir),
            };
        };
        let text = forwarding.text(account);
        // Nothing is written that would be read as something else.
        let read = alias::parse_list(&text).ok().and_then(|targets| Forwarding::of(&targets, account));
        if read.as_ref() != Some(forwarding) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "an address that a file can't hold"));
        }
        disk.make_dir(dir, 0o700)?;
        dir.parent().map_or(Ok(()), |above| disk.sync_dir(above))?;
        // No user has a name that begins so.
        let new = dir.join(format!(".{}", account.name));
        let file = disk.open(&new, Open::Create(0o600))?;
        file.set_len(0)?;
        file.write_at(&[IoSlice::new(text.as_bytes())], 0)?;
        file.sync()?;
        disk.rename(&new, &path)?;
        disk.sync_dir(dir)
    }
}
