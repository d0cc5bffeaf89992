//! Scans a mailbox's file: a long one on all processors.

use super::MailboxError;
use super::inbox::Mailbox;
use super::scan::{self, Scan, Scanner};
use crate::sys::File;
use std::io::{self, ErrorKind};
use std::sync::LazyLock;
use std::thread;

/// A stretch of a file that is worth a thread of its own.
const WORTH_SHARING: u64 = 4 << 20;
/// No more threads than this.
const MOST_SCANNERS: usize = 8;

/// To ask how many there are is to read files.
static PROCESSORS: LazyLock<u64> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from).min(MOST_SCANNERS) as u64);

impl Mailbox {
    /// Finds the messages of the file from an offset, where one begins, to the end at `size`. A long stretch is shared among
    /// all processors: where a message begins can be told from the lines around it.
    pub(super) fn scan(&self, file: &dyn File, from: u64, size: u64) -> Result<Scan, MailboxError> {
        let length = size.saturating_sub(from);
        let share = if length > WORTH_SHARING { (length / *PROCESSORS).max(WORTH_SHARING) } else { WORTH_SHARING };
        let mut starts = vec![from];
        while let Some(next) = starts.last().map(|last| last + share).filter(|next| next + share / 2 < size) {
            match scan::next_message(file, next, size)? {
                Some(start) => starts.push(start),
                None => break,
            }
        }
        let ends = starts.iter().skip(1).copied().chain([size]);
        let stretches: Vec<(u64, u64)> = starts.iter().copied().zip(ends).collect();
        // The first stretch is ours.
        let scans: Vec<io::Result<Scan>> = thread::scope(|scope| {
            let scan = |(from, to): (u64, u64)| self.scan_stretch(file, from, to);
            let threads: Vec<_> = stretches.iter().skip(1).map(|stretch| scope.spawn(move || scan(*stretch))).collect();
            let ours = stretches.first().map(|stretch| scan(*stretch));
            let theirs = threads.into_iter().map(|thread| thread.join().unwrap_or(Err(ErrorKind::Other.into())));
            ours.into_iter().chain(theirs).collect()
        });
        let mut whole = Scan::default();
        for (at, scan) in scans.into_iter().enumerate() {
            let mut scan = scan?;
            if scan.alien {
                return Err(MailboxError::Refused("mailbox does not begin with a From line"));
            }
            match at {
                0 => whole = scan,
                _ => whole.messages.append(&mut scan.messages),
            }
        }
        Ok(whole)
    }

    fn scan_stretch(&self, file: &dyn File, from: u64, to: u64) -> io::Result<Scan> {
        let mut scanner = Scanner::new(&self.keys.secret, from);
        let mut at = from;
        while at < to && !scanner.is_alien() {
            let room = scanner.room();
            let most = room.len().min(usize::try_from(to - at).unwrap_or(usize::MAX));
            let read = file.read_at(room.get_mut(..most).unwrap_or_default(), at)?;
            if read == 0 {
                break;
            }
            scanner.filled(read);
            at += read as u64;
        }
        Ok(scanner.finish())
    }
}
