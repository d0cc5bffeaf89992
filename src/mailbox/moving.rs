//! Messages on their way to another folder. Of one that is moved there is one in the end, whoever else would move it: another
//! session, another daemon on a shared file system, or we ourselves when a move was cut short and the queue-runner has to end it.

use super::inbox::Mailbox;
use super::lock::Patience;
use super::state::{Fact, Sum};
use super::{Identity, MailboxError};
use crate::sys::{File, Lock, Open};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

/// So long who moves waits for another daemon that does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nobody else moves messages away from a mailbox: no session of this daemon, nor of another on a shared file system.
#[derive(Debug)]
pub struct Moving<'a> {
    /// Closing it gives the lock back.
    _file: Arc<dyn File>,
    _alone: MutexGuard<'a, ()>,
}

impl Mailbox {
    /// To be held by who moves messages away, from before it looks at them until they are gone: else two would move the same
    /// ones, and there would be two of each. It is taken before all other locks. [`MailboxError::Busy`]: another daemon goes on
    /// with it for long.
    pub fn moving(&self) -> Result<Moving<'_>, MailboxError> {
        let alone = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.disk.make_dir(&self.places.state, 0o700)?;
        let file = self.shared.disk.open(&self.places.beside("moving"), Open::Create(0o600))?;
        let mut patience = Patience::new(&*self.shared.clock, PATIENCE);
        while !file.try_lock(Lock::Exclusive)? {
            patience.wait()?;
        }
        Ok(Moving { _file: file, _alone: alone })
    }

    /// These are about to be in another folder as well, durably, and to be removed here. From now on nobody else moves them,
    /// even if this daemon stops and another goes on: it tells [`MailboxError::Busy`] for one that is leaving already.
    pub fn leave(&self, messages: &[Identity]) -> Result<(), MailboxError> {
        let now = self.shared.clock.now();
        self.tell_in_turn(|sum| {
            let uids = messages.iter().map(|message| message.uid.0);
            match uids.clone().any(|uid| sum.is_leaving(uid, now)) {
                true => Err(MailboxError::Busy),
                false => Ok(Some(Fact::Leaving(now, uids.collect()))),
            }
        })
    }

    /// They stay after all.
    pub fn stay(&self, messages: &[Identity]) -> Result<(), MailboxError> {
        self.tell_in_turn(|sum| {
            let uids = messages.iter().map(|message| message.uid.0).filter(|uid| sum.leaving.contains_key(uid));
            let uids: Vec<u32> = uids.collect();
            Ok((!uids.is_empty()).then(|| Fact::Staying(uids.into_iter().collect())))
        })
    }

    fn tell_in_turn(&self, fact: impl FnOnce(&Sum) -> Result<Option<Fact>, MailboxError>) -> Result<(), MailboxError> {
        let mut inner = self.enter();
        self.look(&mut inner)?;
        self.in_turn(&mut inner, |inner| {
            let log = inner.log.as_mut().ok_or(MailboxError::Gone)?;
            if let Some(fact) = fact(&log.sum)? {
                log.put(fact);
            }
            Ok(())
        })
    }
}
