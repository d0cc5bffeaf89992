//! Replies to mail for who is away (RFC 3834). `mail::vacation` knows which mail gets one, and what it looks like.
//!
//! What a user wants stands in `<spool>/vacation/wishes/USER`, where [`Office::set_vacation`] puts it, or else in the user's own
//! `~/.vacation`. Who was answered stands in `<spool>/vacation/answered/USER`, a line for each: when, in seconds since 1970, and
//! the sender.
//!
//! A reply is made when the message is in the mailbox. First it is noted, durably, whom it goes to, and then it is committed: a
//! letter as any other. So nobody gets two, whatever happens; a crash in between loses the reply, which is no mail of anybody's.
//! A copy that a crash left in a mailbox is found there, and gets none. Nothing that goes wrong here holds up the message.

use super::local::head;
use super::{Letter, Office, PostError};
use crate::host::Account;
use crate::mail::dsn::Notify;
use crate::mail::vacation::{Question, Reply, Vacation, is_person, key};
use crate::mail::{Address, Domain, Envelope, RcptDsn, Recipient, date};
use crate::spool::{Entry, SpoolId};
use crate::sys::{File, Lock, Open, Time};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Replies of one user in a day. More mail than that is no people's; and where two machines answer each other under ever new
/// names, it ends there.
const MOST_A_DAY: usize = 200;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How often another one who notes something is waited for, and for how long each time.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// What a user wants, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// See [`Vacation`].
    pub text: String,
    /// It is the user's own file, not what was set here.
    pub is_own: bool,
}

/// After a copy of a message for this recipient came into the account's mailbox.
pub(super) fn answer(office: &Arc<Office>, entry: &Entry, index: u32, account: &Account) {
    match reply(office, entry, index, account) {
        Ok(None) => {}
        Ok(Some(id)) => log::info!("msg={} event=answered mailbox={} reply={id}", entry.id, account.name),
        Err(why) => log::warn!("msg={} event=unanswered mailbox={} reason=\"{}\"", entry.id, account.name, why.replace('"', "'")),
    }
}

fn reply(office: &Arc<Office>, entry: &Entry, index: u32, account: &Account) -> Result<Option<SpoolId>, String> {
    let (Some(sender), Some(recipient)) = (&entry.envelope.sender(index).0, super::address(entry, index)) else {
        return Ok(None);
    };
    let set = office.wishes_set(account).map_err(|error| error.to_string())?;
    if !is_person(sender) || set.is_none() && !account.is_system() {
        return Ok(None);
    }
    let Some(question) = Question::of(&head(&entry.message).map_err(|error| error.to_string())?) else { return Ok(None) };
    let text = match set {
        Some(text) => text,
        None => match office.wishes_at_home(account).map_err(|error| error.to_string())? {
            Some(text) => text,
            None => return Ok(None),
        },
    };
    let vacation = Vacation::parse(&text).map_err(|wrong| wrong.to_string())?;
    let now = office.clock.now();
    if !vacation.is_on(date::day(now, None)) {
        return Ok(None);
    }
    let own = office.own_addresses(account, recipient);
    let keys: Vec<String> =
        own.iter().chain(&vacation.addresses).chain(vacation.from.iter().map(|(_, it)| it)).map(key).collect();
    let Some(named) = question.names(&keys).filter(|_| !keys.contains(&key(sender))) else { return Ok(None) };
    let from = match &vacation.from {
        Some((name, address)) => (name.as_str(), address),
        None => ("", named),
    };
    // A reply does not go out under somebody else's name.
    let is_theirs =
        |address: &Address| Ok::<_, io::Error>(office.owner_of(address, &account.name)?.as_ref() == Some(&account.name));
    let from = match is_theirs(from.1).map_err(|error| error.to_string())? {
        true => from,
        false => (from.0, own.first().unwrap_or(recipient)),
    };
    if !office.note_answer(account, &key(sender), vacation.days, now)? {
        return Ok(None);
    }
    send(office, sender, entry.envelope.require_tls, |id, date| {
        Reply { vacation: &vacation, question: &question, id, date, from, to: sender }.build()
    })
    .map(Some)
    .map_err(|error| error.to_string())
}

/// Nobody hears of what becomes of it (§3.3). It tells of the message, and is as secret.
fn send(
    office: &Arc<Office>,
    to: &Address,
    is_secret: bool,
    build: impl FnOnce(&str, &str) -> Vec<u8>,
) -> Result<SpoolId, PostError> {
    let dsn = RcptDsn { notify: Some(Notify::default()), ..RcptDsn::default() };
    let envelope = Envelope { require_tls: is_secret, ..Envelope::own(Recipient { dsn, ..Recipient::from(to.clone()) }) };
    let (hostname, date) = (&office.config().hostname, date::rfc5322(office.clock.now()));
    Letter::own(office, envelope, |id| Ok(build(&format!("<{id}@{hostname}>"), &date)))?.send()
}

impl Office {
    fn wishes_set(&self, account: &Account) -> io::Result<Option<String>> {
        self.tables().away.of(self.journal.disk(), account)
    }

    fn wishes_at_home(&self, account: &Account) -> io::Result<Option<String>> {
        if !account.is_system() {
            return Ok(None);
        }
        Ok(self.host.vacation_of(account)?.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// What a user wants.
    pub(super) fn vacation(&self, account: &Account) -> io::Result<Option<Wishes>> {
        if let Some(text) = self.wishes_set(account)? {
            return Ok(Some(Wishes { text, is_own: false }));
        }
        Ok(self.wishes_at_home(account)?.map(|text| Wishes { text, is_own: true }))
    }

    /// Sets it, or takes it back. Who was answered before may be answered anew.
    pub(super) fn set_vacation(&self, account: &Account, vacation: Option<&Vacation>) -> io::Result<()> {
        let alone = self.answered(account)?;
        self.tables().away.set(self.journal.disk(), account, vacation.map(Vacation::to_string).as_deref())?;
        if vacation.is_some() { alone.set_len(0) } else { Ok(()) }
    }

    /// Under which addresses an account is known: here, and that under which the message came.
    fn own_addresses(&self, account: &Account, recipient: &Address) -> Vec<Address> {
        let config = self.config();
        let domains = config.domains.iter().chain([&config.hostname]);
        let own = domains.filter_map(|domain| Address::new(&account.name, Domain::Name(domain.clone())).ok());
        own.chain([recipient.clone()]).collect()
    }

    /// Who was answered, for one who notes something there, alone.
    fn answered(&self, account: &Account) -> io::Result<Arc<dyn File>> {
        let (disk, path) = (self.journal.disk(), self.config().spool.join("vacation").join("answered").join(&account.name));
        let dir = path.parent().unwrap_or(&path);
        disk.make_dir(dir, 0o700)?;
        let file = disk.open(&path, Open::Create(0o600))?;
        if file.stat()?.size == 0 {
            // Its name must last as long as what is noted in it.
            dir.ancestors().take(3).try_for_each(|dir| disk.sync_dir(dir))?;
        }
        for _ in 0..LOCK_TRIES {
            if file.try_lock(Lock::Exclusive)? {
                return Ok(file);
            }
            thread::sleep(LOCK_WAIT);
        }
        Err(io::Error::new(ErrorKind::TimedOut, format!("{}: somebody else has it", path.display())))
    }

    /// Notes that a sender gets a reply now. False: not so soon again.
    fn note_answer(&self, account: &Account, sender: &str, days: u16, now: Time) -> Result<bool, String> {
        let noted = self.answered(account).and_then(|file| note(&*file, sender, DAY * u32::from(days), now));
        match noted.map_err(|error| error.to_string())? {
            Noted::Yes => Ok(true),
            Noted::Known => Ok(false),
            Noted::TooMany => Err(format!("{MOST_A_DAY} replies a day are enough")),
        }
    }
}

pub(super) fn content(file: &dyn File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.stat()?.size).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[derive(Debug, PartialEq, Eq)]
enum Noted {
    Yes,
    /// The sender had one in that span.
    Known,
    TooMany,
}

fn note(file: &dyn File, sender: &str, span: Duration, now: Time) -> io::Result<Noted> {
    let bytes = content(file)?;
    let size = bytes.len() as u64;
    let text = String::from_utf8_lossy(&bytes);
    // A line of later than now is of before the clock was set.
    let is_recent = |time: Time, span: Duration| time > now - span && time <= now + span;
    let line = |line: &str| {
        let (time, sender) = line.strip_suffix('\n')?.split_once(' ')?;
        Some((Time::from_seconds(time.parse().ok()?), sender.to_owned()))
    };
    let lines: Vec<(Time, String)> = text.split_inclusive('\n').filter_map(line).collect();
    let today = lines.iter().filter(|(time, _)| is_recent(*time, DAY)).count();
    let live: Vec<&(Time, String)> = lines.iter().filter(|(time, _)| is_recent(*time, span)).collect();
    if live.iter().any(|(_, known)| known == sender) {
        return Ok(Noted::Known);
    }
    if today >= MOST_A_DAY {
        return Ok(Noted::TooMany);
    }
    let new = format!("{} {sender}\n", now.seconds());
    let kept: String = live.iter().map(|(time, known)| format!("{} {known}\n", time.seconds())).collect::<String>() + &new;
    if 2 * (kept.len() as u64) < size {
        // Those that count are written to the front, where they reach none of their old places, and only then the rest is cut off.
        file.write_at(&[IoSlice::new(kept.as_bytes())], 0)?;
        file.sync()?;
        file.set_len(kept.len() as u64)?;
    } else {
        // After what a crash may have torn.
        let end: &[u8] = if bytes.last().is_none_or(|last| *last == b'\n') { b"" } else { b"\n" };
        file.write_at(&[IoSlice::new(end), IoSlice::new(new.as_bytes())], size)?;
    }
    file.sync()?;
    Ok(Noted::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Disk, RealDisk};
    use std::fs;
    use std::io::Write;

    #[test]
    fn each_is_noted_once_and_forgotten_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answered");
        let file = RealDisk.open(&path, Open::Create(0o600)).unwrap();
        let at = |day: i64| Time::from_seconds(1_800_000_000 + day * 86_400);
        let note = |sender: &str, day: i64| note(&*file, sender, 7 * DAY, at(day)).unwrap();
        assert_eq!(note("bob@x.test", 0), Noted::Yes);
        assert_eq!([note("bob@x.test", 6), note("carol@x.test", 6)], [Noted::Known, Noted::Yes]);
        assert_eq!([note("bob@x.test", 7), note("bob@x.test", 8)], [Noted::Yes, Noted::Known]);
        // A clock that went back a bit forgets nobody.
        assert_eq!(note("bob@x.test", 5), Noted::Known);
        // A torn line is none, and does not spoil the next.
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"18000").unwrap();
        assert_eq!([note("dora@x.test", 8), note("dora@x.test", 9)], [Noted::Yes, Noted::Known]);
        for sender in 0..MOST_A_DAY {
            assert_eq!(note(&format!("{sender}@many.test"), 100), Noted::Yes);
        }
        assert_eq!([note("eve@x.test", 100), note("7@many.test", 100)], [Noted::TooMany, Noted::Known]);
        assert_eq!(note("eve@x.test", 200), Noted::Yes);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{} eve@x.test\n", at(200).seconds()));
    }
}
