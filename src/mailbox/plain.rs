//! Files in mbox form that are no mailbox of ours: alias and `.forward` files name them. A message is appended under a lock, and
//! synced; nothing else is known or kept of such a file. Programs that lock by a dotlock alone are not seen: the daemon may not
//! be allowed to make one there.

use super::deliver::end_of;
use super::{MailboxError, mbox};
use crate::mail::{Address, ReversePath};
use crate::spool::Message;
use crate::sys::{File, Lock, Time};
use std::io::{self, IoSlice};
use std::thread;
use std::time::{Duration, Instant};

/// How long another program's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes copied at once.
const BLOCK: usize = 64 << 10;

/// Appends a message, unless it is what the file ends with already: then we were stopped after that, and before it was known.
pub fn append(
    file: &dyn File,
    return_path: &ReversePath,
    delivered_to: &Address,
    time: Time,
    message: &Message,
) -> Result<(), MailboxError> {
    let until = Instant::now() + PATIENCE;
    while !file.try_lock(Lock::Exclusive)? || file.is_flocked()? {
        if Instant::now() >= until {
            return Err(MailboxError::Busy);
        }
        file.unlock()?;
        thread::sleep(PAUSE);
    }
    let (prefix, _) = mbox::prefix(return_path, delivered_to, time);
    let size = file.stat()?.size;
    let written = match ends_with(file, size, &prefix, message) {
        Ok(true) => Ok(()),
        Ok(false) => write(file, size, &prefix, message),
        Err(error) => Err(error),
    };
    // The other handle of this file, if there is one, is not to keep the lock.
    file.unlock()?;
    Ok(written?)
}

/// Bytes of the record: prefix, message, empty line.
fn length(prefix: &[u8], message: &Message) -> u64 {
    prefix.len() as u64 + message.len() + 1
}

fn ends_with(file: &dyn File, size: u64, prefix: &[u8], message: &Message) -> io::Result<bool> {
    let Some(start) = size.checked_sub(length(prefix, message)) else { return Ok(false) };
    let mut found = vec![0; prefix.len()];
    file.read_exact_at(&mut found, start)?;
    if found != prefix {
        return Ok(false);
    }
    let (mut ours, mut theirs, mut at) = (vec![0; BLOCK], vec![0; BLOCK], 0);
    while at < message.len() {
        let read = message.read_at(&mut ours, at)?;
        let (Some(ours), Some(theirs)) = (ours.get(..read), theirs.get_mut(..read)) else { return Ok(false) };
        file.read_exact_at(theirs, start + prefix.len() as u64 + at)?;
        if read == 0 || ours != theirs {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(true)
}

/// All of it or nothing.
fn write(file: &dyn File, size: u64, prefix: &[u8], message: &Message) -> io::Result<()> {
    let result = copy(file, size, prefix, message).and_then(|()| file.sync());
    if result.is_err() {
        let _ = file.set_len(size);
    }
    result
}

fn copy(file: &dyn File, size: u64, prefix: &[u8], message: &Message) -> io::Result<()> {
    let mut last = [0; 3];
    let read = file.read_at(&mut last, size.saturating_sub(3))?;
    let separator = if size == 0 { b"" } else { end_of(last.get(..read).unwrap_or_default()) };
    file.write_at(&[IoSlice::new(separator), IoSlice::new(prefix)], size)?;
    let (mut to, mut block, mut at) = (size + (separator.len() + prefix.len()) as u64, vec![0; BLOCK], 0);
    while at < message.len() {
        let read = message.read_at(&mut block, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&[IoSlice::new(block.get(..read).unwrap_or_default())], to)?;
        (at, to) = (at + read as u64, to + read as u64);
    }
    file.write_at(&[IoSlice::new(b"\n")], to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::sim::SimDisk;
    use crate::sys::{Disk, Open};
    use std::path::Path;
    use std::sync::Arc;

    fn text(file: &dyn File) -> String {
        let mut bytes = vec![0; file.stat().unwrap().size as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn messages_follow_each_other_and_none_is_there_twice() {
        let disk = SimDisk::default();
        disk.make_dir(Path::new("/d"), 0o755).unwrap();
        let file = disk.open(Path::new("/d/box"), Open::Create(0o600)).unwrap();
        let put = |body: &str| {
            let message = Message::Memory(Arc::new(format!("Subject: x\n\n{body}\n").into_bytes()));
            append(&*file, &ReversePath(None), &"list@here.test".parse().unwrap(), Time(0), &message)
        };
        let record = |body: &str| {
            format!(
                "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nReturn-Path: <>\nDelivered-To: list@here.test\nSubject: x\n\n{body}\n\n"
            )
        };
        put("one").unwrap();
        put("two").unwrap();
        put("two").unwrap();
        assert_eq!(text(&*file), record("one") + &record("two"));
        // What others left is not run into.
        let size = file.stat().unwrap().size;
        file.set_len(size - 2).unwrap();
        put("three").unwrap();
        assert_eq!(text(&*file), record("one") + &record("two") + &record("three"));
        // What can't be written whole is not left there.
        let before = text(&*file);
        for at in 1.. {
            disk.fail_at(disk.operations() + at, io::ErrorKind::StorageFull);
            if put("four").is_ok() {
                break;
            }
            assert_eq!(text(&*file), before, "operation {at}");
        }
        assert_eq!(text(&*file), before + &record("four"));
    }

    #[test]
    fn a_locked_file_is_left_alone() {
        let disk = SimDisk::default();
        disk.make_dir(Path::new("/d"), 0o755).unwrap();
        let file = disk.open(Path::new("/d/box"), Open::Create(0o600)).unwrap();
        let other = disk.open(Path::new("/d/box"), Open::Write).unwrap();
        assert!(other.try_lock(Lock::Exclusive).unwrap());
        let message = Message::Memory(Arc::new(b"x\n".to_vec()));
        let to = "list@here.test".parse().unwrap();
        assert!(matches!(append(&*file, &ReversePath(None), &to, Time(0), &message), Err(MailboxError::Busy)));
        other.unlock().unwrap();
        append(&*file, &ReversePath(None), &to, Time(0), &message).unwrap();
    }
}
