//! Knows every connected socket, so that sessions can be told to leave.
//!
//! The registry shares ownership of a socket with its connection, so a descriptor can't be closed and its number be given
//! to another file while it is told to leave.

use super::stream::Link;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The connections of one daemon. Clones are the same registry.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seats: Mutex<Seats>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    leaving: bool,
    links: HashMap<u64, Arc<Link>>,
}

/// A connection's place in a registry; dropping it takes it out.
#[derive(Debug)]
pub(super) struct Seat {
    registry: Registry,
    key: u64,
}

impl Registry {
    /// Every session ends with a farewell at its next read: sets its flag and shuts its reading side. One that is in the
    /// midst of [`super::Connection::read_dots`] reads its message to the end first. Who registers later is told at once.
    pub fn tell_all_to_leave(&self) {
        let mut seats = self.lock();
        seats.leaving = true;
        for link in seats.links.values() {
            link.tell_to_leave();
        }
    }

    /// Ends all connections now, without a farewell: reads and writes fail.
    pub fn cut_all(&self) {
        for link in self.lock().links.values() {
            link.cut();
        }
    }

    /// How many are connected.
    pub fn count(&self) -> usize {
        self.lock().links.len()
    }

    /// Waits until nobody is connected, or for the time given; true if nobody is.
    pub fn wait_until_empty(&self, within: Duration) -> bool {
        let (seats, _) = self
            .inner
            .left
            .wait_timeout_while(self.lock(), within, |seats| !seats.links.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        seats.links.is_empty()
    }

    pub(super) fn enter(&self, link: Arc<Link>) -> Seat {
        let mut seats = self.lock();
        if seats.leaving {
            link.tell_to_leave();
        }
        let key = seats.next;
        seats.next += 1;
        seats.links.insert(key, link);
        Seat { registry: self.clone(), key }
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.inner.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.registry.lock();
        seats.links.remove(&self.key);
        if seats.links.is_empty() {
            self.registry.inner.left.notify_all();
        }
    }
}
