//! How many logins an address and a person get within a minute, on this replica.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Names that are counted one by one. Who comes when it is full shares one count with the others.
const MOST_NAMES: usize = 20_000;
/// So many times one name's share for all of those together.
const SHARED: u32 = 50;

/// Counts by name.
pub struct Limiter {
    per_minute: u32,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    minute: i64,
    by_name: HashMap<String, u32>,
    others: u32,
}

impl Limiter {
    /// So many a minute.
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            counts: Mutex::default(),
        }
    }

    /// Counts one more, and says whether it is still within the limit.
    pub fn take(&self, name: &str, now: Timestamp) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.as_second().div_euclid(60);
        if counts.minute != minute {
            *counts = Counts {
                minute,
                ..Counts::default()
            };
        }
        let is_full = counts.by_name.len() >= MOST_NAMES;
        if let Some(count) = counts.by_name.get_mut(name) {
            *count = count.saturating_add(1);
            return *count <= self.per_minute;
        }
        if is_full {
            counts.others = counts.others.saturating_add(1);
            return counts.others <= self.per_minute.saturating_mul(SHARED);
        }
        counts.by_name.insert(name.to_owned(), 1);
        self.per_minute > 0
    }
}

/// The name by which an address is counted: who has one of IPv6 has 2^64 of them.
pub fn name_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64;
            format!("{network:016x}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn threat_login_flood_stops_one_name_and_no_other() {
        let limiter = Limiter::new(2);
        let taken = [0, 1, 2].map(|second| limiter.take("a", at(second)));
        assert_eq!(taken, [true, true, false]);
        assert!(limiter.take("b", at(3)));
        assert!(limiter.take("a", at(60)));
    }

    #[test]
    fn very_many_names_take_bounded_memory() {
        let limiter = Limiter::new(1);
        for number in 0..MOST_NAMES * 2 {
            limiter.take(&number.to_string(), at(0));
        }
        let counts = limiter.counts.lock().unwrap();
        assert_eq!(counts.by_name.len(), MOST_NAMES);
        drop(counts);
        assert!(!limiter.take("one more", at(0)));
        assert!(limiter.take("one more", at(60)));
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_name() {
        let name = |text: &str| name_of(text.parse().unwrap());
        assert_eq!(name("2001:db8::1"), name("2001:db8::ffff:1"));
        assert_ne!(name("2001:db8::1"), name("2001:db8:0:1::1"));
        assert_eq!(name("::ffff:192.0.2.1"), name("192.0.2.1"));
        assert_ne!(name("192.0.2.1"), name("192.0.2.2"));
    }
}
