//! Looks for everything about a mailbox that is not as it should be, and tells what will be done about it. Nothing is changed,
//! but for what every look at a mailbox mends: a step of compaction that was cut short, a torn end of the state log.

use super::factlog;
use super::inbox::{Inner, Mailbox};
use super::scan::{Kind, Message, Scan};
use super::state::Sum;
use super::{MailboxError, deliver};
use crate::sys::{File, Open, Stat};
use std::collections::HashSet;
use std::io::{self, ErrorKind};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where in the mailbox file, if it is there.
    pub offset: Option<u64>,
    /// What it is.
    pub what: String,
    /// What comes of it.
    pub then: &'static str,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, offset: impl Into<Option<u64>>, what: impl Into<String>, then: &'static str) {
        self.0.push(Finding { offset: offset.into(), what: what.into(), then });
    }
}

impl Mailbox {
    /// Everything about this mailbox that is not as it should be. Nothing found: it is in order.
    pub fn inspect(&self) -> Result<Vec<Finding>, MailboxError> {
        let mut found = Findings::default();
        let mut inner = self.enter();
        self.inspect_beside(&mut found)?;
        let stat = match self.disk.stat(&self.spot().path) {
            Ok(stat) => stat,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found.0),
            Err(error) => return Err(error.into()),
        };
        if self.inspect_file(&stat, &mut found) {
            return Ok(found.0);
        }
        let Some(reading) = self.lock_for_reading(&mut inner)? else { return Ok(found.0) };
        let (file, size) = (&*reading.file, reading.stat.size);
        let scan = match self.scan(file, 0, size) {
            Ok(scan) => scan,
            Err(MailboxError::Refused(why)) => {
                found.add(0, why, "it is refused until somebody mends it; mail waits in the queue");
                return Ok(found.0);
            }
            Err(error) => return Err(error),
        };
        // The index and the table are compared with the file before they are brought up to it.
        self.ready(&mut inner, Some(file), size)?;
        if inner.table.is_none() {
            self.load_index(&mut inner);
        }
        inspect_table(&inner, &reading.stat, &scan, &mut found);
        self.refresh(&mut inner, Some(file), reading.stat.into())?;
        self.inspect_messages(&inner, file, &scan, &mut found)?;
        if size > 0 && !deliver::separator(file, size)?.is_empty() {
            found.add(size, "the file does not end in an empty line", "the next delivery adds it");
        }
        inspect_state(&inner, &scan, &mut found);
        Ok(found.0)
    }

    /// Files beside the mailbox and its state.
    fn inspect_beside(&self, found: &mut Findings) -> io::Result<()> {
        let spot = self.spot();
        if self.is_spooled() && self.shared.is_mail_open_to_all() {
            let what = format!("anybody can replace the mailboxes in {}", spot.dir.display());
            found.add(None, what, "nothing; the directory's mode should be 2775, or 1777");
        }
        if self.disk.stat(&spot.dotlock).is_ok() {
            let what = format!("{} is there: another program writes, or died while it did", spot.dotlock.display());
            found.add(None, what, "it is waited for, and removed when it is stale");
        }
        if self.has_open_step()? {
            found.add(None, "a step of compaction was cut short", "it is finished now");
        }
        let disk = &*self.shared.disk;
        let names = match disk.list(&self.places.state) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            names => names?,
        };
        let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.sort_unstable();
        for name in names {
            let rest = name.strip_prefix(&self.places.base).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
            let path = self.places.state.join(&name);
            if rest.starts_with("damaged-") {
                let what = format!("{} holds what could not be read", path.display());
                found.add(None, what, "look whether there is mail in it, then remove it");
            } else if rest == "new" {
                found.add(None, format!("{} was not finished", path.display()), "it is written anew when it is needed");
            }
        }
        let log = match disk.open(&self.places.state.join(&self.places.base), Open::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            log => log?,
        };
        let mut bytes = vec![0; usize::try_from(log.stat()?.size).map_err(|_| ErrorKind::FileTooLarge)?];
        let read = log.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let (holes, torn) = factlog::broken_bytes::<Sum>(&bytes);
        if holes > 0 {
            found.add(
                None,
                format!("{holes} bytes of the state log can't be read"),
                "UIDs go on far above those that were given",
            );
        }
        if torn > 0 {
            found.add(None, format!("the state log ends in {torn} bytes that are torn"), "nothing depended on them");
        }
        Ok(())
    }

    /// What the file itself is. True: nobody may read it.
    fn inspect_file(&self, stat: &Stat, found: &mut Findings) -> bool {
        let refused = "it is refused until somebody mends it; mail waits in the queue";
        if !stat.is_regular() {
            found.add(None, "the mailbox is a link or no regular file", refused);
        }
        if stat.links > 1 {
            found.add(None, format!("the mailbox has {} names", stat.links), refused);
        }
        if stat.uid != self.account.uid {
            let what = format!("the mailbox belongs to the uid {}, not to {}", stat.uid, self.account.uid);
            found.add(None, what, refused);
        }
        if stat.mode & 0o007 != 0 {
            let what = format!("everybody has rights to the mailbox: its mode is {:04o}", stat.mode & 0o7777);
            found.add(None, what, "nothing; the mode is its owner's");
        }
        !stat.is_regular() || stat.links > 1 || stat.uid != self.account.uid
    }

    fn inspect_messages(&self, inner: &Inner, file: &dyn File, scan: &Scan, found: &mut Findings) -> Result<(), MailboxError> {
        let (validity, mut uids, mut greatest) = (inner.validity(), HashSet::new(), 0);
        for message in scan.messages.iter().filter(|message| message.kind == Kind::Alive) {
            if let Some(mark) = message.mark {
                let seal = self.keys.secret.seal(&self.places.label, validity, mark.uid, &message.key);
                if seal != mark.seal {
                    let what = format!("the seal of UID {} is not of this message here", mark.uid);
                    found.add(message.offset, what, "it is known by its content, or gets the next UID");
                } else if !uids.insert(mark.uid) {
                    found.add(message.offset, format!("UID {} is there twice", mark.uid), "this one gets the next UID");
                } else {
                    greatest = greatest.max(mark.uid);
                }
            }
            if let Some(offset) = first_nul(file, message)? {
                found.add(offset, "there are NULs in a message", "nothing; they are shown as they are");
            }
        }
        let Some(first) = scan.messages.first() else { return Ok(()) };
        match scan.base {
            Some((base, _)) if base.validity != validity => {
                let what = format!("the base line tells UIDVALIDITY {}, the state {validity}", base.validity);
                found.add(first.offset, what, "the state counts");
            }
            Some((base, Some(_))) if base.last < greatest => {
                let what = format!("the base line tells {} as the last UID, but {greatest} was given", base.last);
                found.add(first.offset, what, "the next checkpoint brings it up to date");
            }
            Some(_) => {}
            None => found.add(first.offset, "there is no base line (X-IMAPbase)", "nothing; the state has what it tells"),
        }
        Ok(())
    }
}

/// The table, which may come from the index, against the file that it says it is of.
fn inspect_table(inner: &Inner, stat: &Stat, scan: &Scan, found: &mut Findings) {
    let Some(loaded) = inner.table.as_ref().filter(|loaded| loaded.stamp == (*stat).into() && loaded.covered == stat.size) else {
        return;
    };
    let there: HashSet<_> = scan.messages.iter().map(|message| (message.offset, message.length, message.key)).collect();
    let rows = loaded.table.rows.iter().chain(&loaded.table.doomed);
    for row in rows.filter(|row| !there.contains(&(row.offset, row.length, row.key))) {
        let what = format!("the index has UID {} at a place where it is not", row.uid);
        found.add(row.offset, what, "\"pillarboxctl mailbox compact\" does not touch it; remove the index file and restart");
    }
}

fn inspect_state(inner: &Inner, scan: &Scan, found: &mut Findings) {
    let Some(log) = &inner.log else { return };
    let keys: HashSet<_> = scan.messages.iter().map(|message| message.key).collect();
    let gone = log.sum.rows.iter().filter(|(_, key)| !keys.contains(key)).count();
    if gone > 0 {
        found.add(None, format!("the state tells of {gone} messages that are gone"), "they are forgotten at the next look");
    }
    for intent in log.sum.intents.values().filter(|intent| keys.contains(&intent.key)) {
        let what = format!("UID {} is to be removed, and still there", intent.uid);
        found.add(intent.offset, what, "it is not shown; it is overwritten as soon as it can be");
    }
}

fn first_nul(file: &dyn File, message: &Message) -> io::Result<Option<u64>> {
    let mut piece = vec![0; PIECE];
    let mut at = message.offset;
    while at < message.end() {
        let most = usize::try_from(message.end() - at).unwrap_or(PIECE).min(PIECE);
        let room = piece.get_mut(..most).unwrap_or_default();
        file.read_exact_at(room, at)?;
        if let Some(nul) = memchr::memchr(0, room) {
            return Ok(Some(at + nul as u64));
        }
        at += most as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use crate::mailbox::Uid;
    use crate::mailbox::tests::{World, small};
    use std::os::unix::fs::PermissionsExt;

    fn found(world: &World) -> Vec<(Option<u64>, String)> {
        let found = world.inbox("alice").inspect().unwrap();
        found.into_iter().map(|finding| (finding.offset, finding.what)).collect()
    }

    #[test]
    fn what_is_wrong_is_named_and_where_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::real(dir.path());
        assert_eq!(found(&world), []);
        let inbox = world.inbox("alice");
        for n in 1..=3 {
            inbox.deliver(&small(n).copy()).unwrap();
        }
        inbox.expunge(&[Uid(2)]).unwrap();
        world.store.checkpoint();
        assert_eq!(found(&world), []);
        let text = world.file("alice");
        let third = memchr::memmem::rfind(&text, b"From sender").unwrap();
        // The third is there twice, then changed under its seal; NULs; no empty line at the end.
        let changed = String::from_utf8(text[third..].to_vec()).unwrap().replace("body 3", "body\u{0}3");
        let bytes = [&text[..], &text[third..], changed.trim_end().as_bytes()].concat();
        world.write("alice", &bytes);
        std::fs::write(dir.path().join("mail/alice.lock"), "1").unwrap();
        std::fs::write(dir.path().join("spool/state/alice/INBOX.damaged-1-2"), "x").unwrap();
        let all = found(&world);
        let has = |offset: Option<usize>, what: &str| {
            let offset = offset.map(|offset| offset as u64);
            assert!(all.iter().any(|(at, told)| (offset.is_none() || *at == offset) && told.contains(what)), "{what}: {all:?}");
        };
        let last = text.len() + text.len() - third;
        has(None, "alice.lock is there");
        has(None, "INBOX.damaged-1-2 holds");
        has(Some(text.len()), "UID 3 is there twice");
        has(Some(last), "the seal of UID 3");
        has(Some(memchr::memrchr(0, &bytes).unwrap()), "NULs in a message");
        has(Some(bytes.len()), "does not end in an empty line");
        assert_eq!(all.len(), 6, "{all:?}");
        let open_to_all = |mode| {
            std::fs::set_permissions(dir.path().join("mail"), std::fs::Permissions::from_mode(mode)).unwrap();
            found(&world).iter().any(|(_, what)| what.contains("anybody can replace"))
        };
        assert_eq!([0o777, 0o1777, 0o2775].map(open_to_all), [true, false, false]);
        // No mailbox at all.
        world.write("alice", b"Dear diary");
        assert!(found(&world).iter().any(|(at, what)| *at == Some(0) && what.contains("From line")));
    }

    #[test]
    fn a_state_log_with_a_hole_and_an_index_that_lies_are_told() {
        let dir = tempfile::tempdir().unwrap();
        {
            let world = World::real(dir.path());
            world.inbox("alice").deliver(&small(1).copy()).unwrap();
            world.store.close();
        }
        let path = dir.path().join("spool/state/alice/INBOX");
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[30] ^= 1;
        bytes.truncate(end - 2);
        std::fs::write(&path, bytes).unwrap();
        let all = found(&World::real(dir.path()));
        assert!(all.iter().any(|(_, what)| what.contains("bytes of the state log can't be read")), "{all:?}");
        assert!(all.iter().any(|(_, what)| what.contains("that are torn")), "{all:?}");
    }
}
