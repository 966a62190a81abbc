//! How many connections there may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::proxy::limits::network_of;

/// How many connections there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Altogether.
    pub connections: usize,
    /// From one address; of IPv6 from one /64, which one customer has.
    pub per_address: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            per_address: 2_000,
        }
    }
}

/// The places that there are for connections.
pub struct Places {
    limits: Limits,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The place of one connection: free again when it is dropped.
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    /// All free.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            taken: Mutex::default(),
        })
    }

    /// Takes one.
    ///
    /// # Errors
    /// With the name of the limit, when there is none for this address.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, &'static str> {
        let address = network_of(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.count >= self.limits.connections {
            return Err("connections");
        }
        let of_address = taken.by_address.entry(address).or_default();
        if *of_address >= self.limits.per_address {
            return Err("connections_per_address");
        }
        *of_address += 1;
        taken.count += 1;
        Ok(Place {
            places: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = self.places.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        taken.count -= 1;
        if let Some(of_address) = taken.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections: 3,
        per_address: 2,
    };

    #[test]
    fn resource_dos_one_address_does_not_take_the_places_of_all() {
        let places = Places::new(LIMITS);
        let take = |address: &str| places.take(address.parse().unwrap());
        let (first, _second) = (take("2001:db8::1").unwrap(), take("2001:db8::2").unwrap());
        assert_eq!(take("2001:db8::3").err(), Some("connections_per_address"));
        let _third = take("2001:db8:0:1::1").unwrap();
        assert_eq!(take("192.0.2.1").err(), Some("connections"));
        drop(first);
        let _fourth = take("2001:db8::3").unwrap();
    }

    #[test]
    fn an_address_without_connections_is_forgotten() {
        let places = Places::new(LIMITS);
        drop(places.take("192.0.2.1".parse().unwrap()).unwrap());
        assert!(places.taken.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn an_address_is_the_same_in_either_family() {
        let places = Places::new(LIMITS);
        let _first = places.take("192.0.2.1".parse().unwrap()).unwrap();
        let _second = places.take("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(places.take("192.0.2.1".parse().unwrap()).is_err());
    }
}
