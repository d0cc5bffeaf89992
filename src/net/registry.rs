//! Knows every connected socket, so that sessions can be told to leave.
#![allow(missing_docs, clippy::todo)]

#[derive(Debug, Clone, Default)]
pub struct Registry {}

impl Registry {
    /// Every session ends with a farewell at its next read: sets its flag and shuts its reading side.
    pub fn tell_all_to_leave(&self) {
        todo!()
    }
    pub fn count(&self) -> usize {
        todo!()
    }
}
