//! Input that has been read and not yet been used.

use super::NetError;
use super::stream::Stream;

/// One block of memory, allocated when something is read, given back on request.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// What has been read and not been used.
    pub(super) fn pending(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Marks bytes at the front as used.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Takes bytes for read, when all is used.
    pub(super) fn refill(&mut self, bytes: Vec<u8>) {
        *self = Input { start: 0, end: bytes.len(), bytes };
    }

    /// Forgets everything; true if there was something.
    pub(super) fn clear(&mut self) -> bool {
        let dropped = !self.is_empty();
        self.end = self.start;
        dropped
    }

    /// Reads once, at most `size` bytes, when all is used. True if the block was filled: there is probably more.
    pub(super) fn fill(&mut self, stream: &mut Stream, size: usize) -> Result<bool, NetError> {
        if self.bytes.len() != size {
            self.bytes = vec![0; size];
        }
        (self.start, self.end) = (0, 0);
        self.end = stream.read(&mut self.bytes)?;
        Ok(self.end == size)
    }

    /// Gives back what is more than `size` bytes; nothing that is pending is lost.
    pub(super) fn shrink_to(&mut self, size: usize) {
        if self.is_empty() && self.bytes.len() > size {
            *self = Input::default();
        }
    }
}
