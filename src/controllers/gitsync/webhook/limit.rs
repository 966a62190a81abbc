//! How often a path may be knocked at. Pure: time comes in.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::controllers::cache::Key;

/// So many at once,
const BURST: f64 = 20.0;
/// and so many a second after that. Requests that get through are merged anyway; this bounds reads of Secrets.
const PER_SECOND: f64 = 5.0;

/// A bucket for each GitSync.
#[derive(Default)]
pub struct Limits(BTreeMap<Key, Bucket>);

struct Bucket {
    level: f64,
    at: Timestamp,
}

impl Limits {
    /// Takes one from the bucket; `false` when it is empty.
    pub fn allow(&mut self, key: &Key, now: Timestamp) -> bool {
        // Full buckets say nothing: dropping them bounds the map by the paths in use.
        self.0.retain(|_, bucket| bucket.refill(now) < BURST);
        let bucket = self.0.entry(key.clone()).or_insert(Bucket {
            level: BURST,
            at: now,
        });
        if bucket.level < 1.0 {
            return false;
        }
        bucket.level -= 1.0;
        true
    }
}

impl Bucket {
    fn refill(&mut self, now: Timestamp) -> f64 {
        let passed = (now.as_millisecond() - self.at.as_millisecond()).max(0) as f64 / 1000.0;
        self.level = (self.level + passed * PER_SECOND).min(BURST);
        self.at = now;
        self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_others_are_not_hurt() {
        let mut limits = Limits::default();
        let (one, other) = (Key::new("a", "one"), Key::new("a", "other"));
        let start = Timestamp::UNIX_EPOCH;
        let passed = (0..100).filter(|_| limits.allow(&one, start)).count();
        assert_eq!(passed, BURST as usize);
        assert!(limits.allow(&other, start));
        let later = start + jiff::SignedDuration::from_secs(1);
        let passed = (0..100).filter(|_| limits.allow(&one, later)).count();
        assert_eq!(passed, PER_SECOND as usize);
    }

    #[test]
    fn idle_buckets_are_forgotten() {
        let mut limits = Limits::default();
        let start = Timestamp::UNIX_EPOCH;
        for n in 0..100 {
            limits.allow(&Key::new("a", n.to_string()), start);
        }
        let later = start + jiff::SignedDuration::from_secs(60);
        limits.allow(&Key::new("a", "x"), later);
        assert_eq!(limits.0.len(), 1);
    }
}
