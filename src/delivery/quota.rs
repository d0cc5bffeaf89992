//! How much mail a user may keep (`limits.quota`), counted as clients see it: the sizes of all messages in all folders.
//!
//! What a session adds (APPEND, COPY) must fit as a whole. Mail that arrives is taken as long as anything is left, so the
//! last message may be more than what is left; after it mail has to wait: RCPT is told to come again, and what was accepted
//! already is tried again like any other. Nothing is thrown away, and what makes no mailbox bigger, as a MOVE, is never refused.
//!
//! To look whether something fits and to put it there is one act: of those that fill one user's folders, one does at a time.

use super::{Office, Post};
use crate::host::Account;
use crate::mailbox::MailboxError;

/// How a user's quota stands, in bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What is there.
    pub used: u64,
    /// What may be there.
    pub limit: u64,
}

impl Post {
    /// How a user's quota stands. None: there is none.
    pub fn quota(&self, account: &Account) -> Result<Option<Quota>, MailboxError> {
        self.office().quota(account)
    }

    /// Can mail for this user not be delivered for now, since nothing of the quota is left?
    pub fn is_over_quota(&self, account: &Account) -> bool {
        !self.office().fits(account, 1)
    }
}

impl Office {
    fn quota(&self, account: &Account) -> Result<Option<Quota>, MailboxError> {
        match self.config().limits.quota {
            0 => Ok(None),
            limit => Ok(Some(Quota { used: self.store.usage(account)?, limit })),
        }
    }

    /// Puts something into a user's folders that makes them bigger by so much, if there is room.
    pub(super) fn within_quota<T, E: From<MailboxError>>(
        &self,
        account: &Account,
        more: u64,
        put: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if self.config().limits.quota == 0 {
            return put();
        }
        self.store.in_turn(account, || if self.fits(account, more) { put() } else { Err(MailboxError::Full.into()) })?
    }

    /// Is there room for so many bytes more? If that can't be found out, whatever is in the way is not for the quota to tell.
    pub(super) fn fits(&self, account: &Account, more: u64) -> bool {
        if more == 0 {
            return true;
        }
        match self.quota(account) {
            Ok(quota) => quota.is_none_or(|quota| quota.used.saturating_add(more) <= quota.limit),
            Err(error) => {
                log::warn!("event=quota-unknown user={} error={:?}", account.name, error.to_string());
                true
            }
        }
    }
}
