//! So many of something for each name within a minute, on this replica.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Names that are counted one by one. Who comes when it is full shares one count with the others.
const MOST_NAMES: usize = 20_000;
/// So many times one name's share for all of those together.
const SHARED: u32 = 50;
/// Before the first minute.
const NEVER: i64 = i64::MIN;

/// Counts by name.
pub struct Limiter<K> {
    per_minute: u32,
    counts: Mutex<Counts<K>>,
    /// The last minute in which a name had all of its share: in any other nobody needs to look.
    spent_in: AtomicI64,
}

struct Counts<K> {
    minute: i64,
    by_name: HashMap<K, u32>,
    others: u32,
}

impl<K> Counts<K> {
    fn of(minute: i64) -> Self {
        Self {
            minute,
            by_name: HashMap::new(),
            others: 0,
        }
    }
}

impl<K: Eq + Hash> Limiter<K> {
    /// So many a minute.
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            counts: Mutex::new(Counts::of(NEVER)),
            spent_in: AtomicI64::new(NEVER),
        }
    }

    /// Counts one more, and says whether it is still within the limit.
    pub fn take<Q>(&self, name: &Q, now: Timestamp) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = minute_of(now);
        if counts.minute != minute {
            *counts = Counts::of(minute);
        }
        let is_full = counts.by_name.len() >= MOST_NAMES;
        let (count, most) = if let Some(count) = counts.by_name.get_mut(name) {
            *count = count.saturating_add(1);
            (*count, self.per_minute)
        } else if is_full {
            counts.others = counts.others.saturating_add(1);
            (counts.others, self.of_others())
        } else {
            counts.by_name.insert(name.to_owned(), 1);
            (1, self.per_minute)
        };
        if count >= most {
            self.spent_in.store(minute, Ordering::Relaxed);
        }
        count <= most
    }

    /// Whether a name has had all of its share. Costs nothing while nobody has.
    pub fn is_spent<Q>(&self, name: &Q, now: Timestamp) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let minute = minute_of(now);
        if self.spent_in.load(Ordering::Relaxed) != minute {
            return false;
        }
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.minute != minute {
            return false;
        }
        match counts.by_name.get(name) {
            Some(count) => *count >= self.per_minute,
            None => counts.by_name.len() >= MOST_NAMES && counts.others >= self.of_others(),
        }
    }

    fn of_others(&self) -> u32 {
        self.per_minute.saturating_mul(SHARED)
    }
}

fn minute_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(60)
}

/// How many seconds it takes until a new minute begins.
pub fn seconds_left(now: Timestamp) -> u32 {
    // Between 1 and 60.
    u32::try_from(60 - now.as_second().rem_euclid(60)).unwrap_or(60)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn threat_login_flood_stops_one_name_and_no_other() {
        let limiter = Limiter::<String>::new(2);
        let taken = [0, 1, 2].map(|second| limiter.take("a", at(second)));
        assert_eq!(taken, [true, true, false]);
        assert!(limiter.take("b", at(3)));
        assert!(limiter.take("a", at(60)));
    }

    #[test]
    fn who_has_had_all_is_known_until_the_minute_ends_and_nobody_else_is() {
        let limiter = Limiter::<String>::new(2);
        let spent = |name: &str, second| limiter.is_spent(name, at(second));
        limiter.take("a", at(0));
        limiter.take("b", at(0));
        assert!(!spent("a", 1));
        limiter.take("a", at(1));
        assert!(spent("a", 1) && spent("a", 59));
        assert!(!spent("b", 1) && !spent("c", 1));
        assert!(!spent("a", 60));
        limiter.take("b", at(60));
        assert!(!spent("a", 61));
    }

    #[test]
    fn very_many_names_take_bounded_memory() {
        let limiter = Limiter::<String>::new(1);
        for number in 0..MOST_NAMES * 2 {
            limiter.take(&*number.to_string(), at(0));
        }
        let counts = limiter.counts.lock().unwrap();
        assert_eq!(counts.by_name.len(), MOST_NAMES);
        drop(counts);
        assert!(!limiter.take("one more", at(0)));
        assert!(limiter.is_spent("another", at(0)));
        assert!(limiter.take("one more", at(60)));
    }

    #[rstest]
    #[case(0, 60)]
    #[case(59, 1)]
    #[case(61, 59)]
    fn a_new_minute_is_never_now(#[case] second: i64, #[case] left: u32) {
        assert_eq!(seconds_left(at(second)), left);
    }
}
