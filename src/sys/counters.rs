//! What the process counts of its work, from its start on. Like the log they belong to the process, so they are statics: any room
//! counts by one atomic addition.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($(#[doc = $meaning:literal] $name:ident = $shown:literal;)+) => {
        $(#[doc = $meaning] pub static $name: Counter = Counter(AtomicU64::new(0));)+

        /// All of them: the names that programs know them by, what they mean, and how far they are.
        pub fn all() -> impl Iterator<Item = (&'static str, &'static str, u64)> {
            [$(($shown, $meaning, &$name)),+].into_iter().map(|(name, meaning, own)| (name, meaning, own.0.load(Ordering::Relaxed)))
        }
    };
}

counters! {
    /// Logins with the right password, or proof of it.
    LOGINS_OK = "logins_ok";
    /// With a wrong name or password.
    LOGINS_FAILED = "logins_failed";
    /// Not looked at: too many were guessing, or passwords could not be checked.
    LOGINS_REFUSED = "logins_refused";
    /// Messages taken by SMTP, LMTP and submission, that of this host's programs too.
    MESSAGES_RECEIVED = "messages_received";
    /// Messages refused after they came.
    MESSAGES_REFUSED = "messages_refused";
    /// Senders and recipients refused.
    ADDRESSES_REFUSED = "addresses_refused";
    /// Recipients of strangers that were not taken, by `screen`.
    STRANGERS_REFUSED = "strangers_refused";
    /// Copies put into an INBOX.
    RECIPIENTS_DELIVERED = "recipients_delivered";
    /// Recipients whom another host, or a program, has taken over.
    RECIPIENTS_RELAYED = "recipients_relayed";
    /// Tries that are to be repeated.
    RECIPIENTS_DEFERRED = "recipients_deferred";
    /// Recipients given up.
    RECIPIENTS_FAILED = "recipients_failed";
    /// Reports sent to senders: of failure, delay or success.
    REPORTS_SENT = "reports_sent";
}
