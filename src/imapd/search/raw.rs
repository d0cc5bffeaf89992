//! Rules texts out by looking through a message as it stands in the file, without taking it apart: where no text is encoded and all
//! of it is ASCII, a text of ASCII that is in it on one line is in these bytes too, whatever else they are.

use super::program::Needle;
use crate::mail::structure::Outline;
use crate::mailbox::{MailboxError, Uid, View};

/// What is kept from one message to the next.
#[derive(Debug, Default)]
pub struct Raw {
    /// The end of the piece before, and the piece, in upper case.
    key: Vec<u8>,
    found: Vec<bool>,
}

impl Raw {
    /// Which of these texts may be in a message's body. None: this way nobody can tell.
    pub fn look(
        &mut self,
        view: &View,
        uid: Uid,
        outline: &Outline,
        needles: &[&Needle],
    ) -> Result<Option<&[bool]>, MailboxError> {
        let Raw { key, found } = self;
        key.clear();
        found.clear();
        found.resize(needles.len(), false);
        let overlap = needles.iter().map(|needle| needle.len()).max().unwrap_or(0).saturating_sub(1);
        let mut is_ascii = true;
        view.raw_body(uid, outline, |piece| {
            is_ascii = piece.is_ascii();
            key.drain(..key.len().saturating_sub(overlap));
            let start = key.len();
            key.extend_from_slice(piece);
            key.get_mut(start..).unwrap_or_default().make_ascii_uppercase();
            for (needle, found) in needles.iter().zip(found.iter_mut()) {
                *found = *found || needle.is_in(key);
            }
            is_ascii && found.contains(&false)
        })?;
        Ok(is_ascii.then_some(found.as_slice()))
    }
}
