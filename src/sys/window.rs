//! How much came within a span of time, to bound it. Pure; time is that of the clock that never jumps.

use std::time::Duration;

/// A span of time and how much came in it. It begins with the first that is counted.
#[derive(Copy, Clone, Debug, Default)]
pub struct Window {
    begun: Duration,
    count: u64,
}

impl Window {
    /// As it is now: a new one, if the span is over.
    #[must_use]
    pub fn at(self, now: Duration, span: Duration) -> Window {
        if self.count == 0 || now.saturating_sub(self.begun) >= span { Window { begun: now, count: 0 } } else { self }
    }

    /// With one more, if that is not too much; a limit of zero is none.
    pub fn one_more(self, most: u64) -> Option<Window> {
        (most == 0 || self.count < most).then_some(Window { count: self.count + 1, ..self })
    }

    /// So much came.
    pub fn count(self) -> u64 {
        self.count
    }
}
