//! Messages that came in just now and go to another host: who takes them there at once need not read them from the disk again.
//! Only a few, and small ones; all others, and what nobody took soon, are read from the journal.

use crate::spool::{Entry, Message, SpoolId};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Messages that are kept.
const MOST: usize = 32;

/// Bytes that one of them may have.
const LONGEST: usize = 32 * 1024;

/// Those messages, the latest last.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<Entry>>);

impl Recent {
    /// A message was committed; who is to send it may want it.
    pub(super) fn keep(&self, entry: &Entry) {
        if !matches!(&entry.message, Message::Memory(bytes) if bytes.len() <= LONGEST) {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MOST {
            kept.pop_front();
        }
        kept.push_back(entry.clone());
    }

    /// Gives a message away, if it is there.
    pub(super) fn take(&self, id: SpoolId) -> Option<Entry> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|entry| entry.id == id)?;
        kept.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Address, Envelope};
    use crate::sys::Time;
    use std::sync::Arc;

    fn entry(counter: u64, length: usize) -> Entry {
        let envelope = Envelope::own("a@there.example".parse::<Address>().unwrap().into());
        let message = Message::Memory(Arc::new(vec![b'x'; length]));
        Entry { id: SpoolId { generation: 1, counter }, time: Time::default(), envelope: Arc::new(envelope), message }
    }

    #[test]
    fn the_last_few_small_ones_are_given_away_once() {
        let recent = Recent::default();
        let taken = |counter| recent.take(entry(counter, 0).id).map(|entry| entry.id.counter);
        (0..=MOST as u64).for_each(|counter| recent.keep(&entry(counter, LONGEST)));
        recent.keep(&entry(100, LONGEST + 1));
        assert_eq!((taken(0), taken(1), taken(1), taken(100)), (None, Some(1), None, None));
        assert_eq!(taken(MOST as u64), Some(MOST as u64));
    }
}
