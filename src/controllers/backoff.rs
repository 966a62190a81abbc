//! Back-off per object: exponential, with jitter, forgotten on success.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long to wait after failures.
#[derive(Clone, Copy, Debug)]
pub struct BackoffSettings {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_secs(300),
        }
    }
}

impl BackoffSettings {
    /// The wait after `earlier` failures and one more: doubled each time, of which the upper half is jitter (0 to 1).
    pub fn delay(self, earlier: u32, jitter: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(2u32.saturating_pow(earlier.min(31)));
        let half = doubled.min(self.most) / 2;
        half + half.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// An interval, 15 % shorter or longer by `random` (0 to 1): those that began together do not go on together for ever.
pub fn jittered(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(0.85 + 0.3 * random.clamp(0.0, 1.0))
}

/// Counts failures by key.
#[derive(Debug)]
pub struct Backoff<K> {
    settings: BackoffSettings,
    failures: Mutex<HashMap<K, u32>>,
}

impl<K: Eq + Hash> Backoff<K> {
    /// Nobody failed yet.
    pub fn new(settings: BackoffSettings) -> Self {
        Self {
            settings,
            failures: Mutex::new(HashMap::new()),
        }
    }

    /// Counts a failure and says how long to wait; `jitter` is from 0 to 1.
    pub fn failed(&self, key: K, jitter: f64) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key).or_default();
        let delay = self.settings.delay(*count, jitter);
        *count = count.saturating_add(1);
        delay
    }

    /// Forgets the failures of an object that succeeded or went away.
    pub fn reset(&self, key: &K) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    /// How often an object failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(key).copied().unwrap_or(0)
    }

    /// How many objects failed last time.
    pub fn len(&self) -> usize {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether none failed last time.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_start_over_after_success() {
        let backoff = Backoff::new(BackoffSettings::default());
        let waits: Vec<u64> = (0..12)
            .map(|_| backoff.failed("a", 1.0).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff.failed("b", 1.0).as_secs(), 1);
        backoff.reset(&"a");
        assert_eq!(backoff.failed("a", 1.0).as_secs(), 1);
    }

    #[test]
    fn jitter_spreads_over_the_upper_half() {
        let settings = BackoffSettings::default();
        assert_eq!(settings.delay(3, 0.0), Duration::from_secs(4));
        assert_eq!(settings.delay(3, 1.0), Duration::from_secs(8));
    }

    #[test]
    fn an_interval_is_spread_to_both_sides() {
        let hour = Duration::from_secs(3600);
        assert_eq!(jittered(hour, 0.0).as_secs(), 3060);
        assert_eq!(jittered(hour, 0.5).as_secs(), 3600);
        assert_eq!(jittered(hour, 1.0).as_secs(), 4140);
    }

    #[test]
    fn very_many_failures_do_not_overflow() {
        let settings = BackoffSettings::default();
        assert_eq!(settings.delay(u32::MAX, 1.0), Duration::from_secs(300));
    }
}
