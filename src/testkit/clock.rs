//! A clock that stands still until a test moves it.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::controllers::clock::SystemClock;
use crate::model::clock::Clock;

/// Tells the time that a test set. Clones show the same time.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<Mutex<Timestamp>>);

impl TestClock {
    /// A clock that shows this time, for example `2026-01-01T00:00:00Z`.
    ///
    /// # Panics
    /// When the text is no time.
    pub fn at(time: &str) -> Self {
        Self(Arc::new(Mutex::new(time.parse().expect("a time"))))
    }

    /// Moves it on.
    ///
    /// # Panics
    /// When the time to come is beyond all calendars.
    pub fn advance(&self, by: impl Into<SignedDuration>) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now
            .checked_add(by.into())
            .expect("a time that a calendar has");
    }

    /// Sets it, forwards or backwards.
    pub fn set(&self, time: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::at("2026-01-01T00:00:00Z")
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The real time, moved on by a test: what runs beside it in real time stays possible.
#[derive(Clone, Debug, Default)]
pub struct ShiftedClock(Arc<Mutex<SignedDuration>>);

impl ShiftedClock {
    /// Moves it on.
    pub fn advance(&self, by: SignedDuration) {
        let mut shift = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *shift = shift.saturating_add(by);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let shift = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemClock.now();
        now.saturating_add(shift).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn clones_show_the_same_time() {
        let clock = TestClock::default();
        let other = clock.clone();
        clock.advance(SignedDuration::try_from(Duration::from_secs(90)).unwrap());
        assert_eq!(other.now().to_string(), "2026-01-01T00:01:30Z");
    }
}
