//! Time since the supervisor started.

use std::time::{Duration, Instant};

/// Counts from its making. A forked process goes on with the same count.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts to count.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place where this program reads the time; all else asks the Clock"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has counted.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The same in milliseconds.
    pub fn millis(self) -> u64 {
        millis(self.elapsed())
    }
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
