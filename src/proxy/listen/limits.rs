//! How many connections there may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    address: Option<IpAddr>,
}

impl Places {
    /// All free.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            taken: Mutex::default(),
        })
    }

    /// Takes one, for whom is not known yet.
    ///
    /// # Errors
    /// With the name of the limit, when there is none.
    pub fn take(self: &Arc<Self>) -> Result<Place, &'static str> {
        let mut taken = self.taken();
        if taken.count >= self.limits.connections {
            return Err("connections");
        }
        taken.count += 1;
        Ok(Place {
            places: self.clone(),
            address: None,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Says whose it is.
    ///
    /// # Errors
    /// With the name of the limit, when that address has as many as it may.
    pub fn is_of(&mut self, address: IpAddr) -> Result<(), &'static str> {
        let address = network_of(address);
        let mut taken = self.places.taken();
        let of_address = taken.by_address.entry(address).or_default();
        if *of_address >= self.places.limits.per_address {
            return Err("connections_per_address");
        }
        *of_address += 1;
        drop(taken);
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.count -= 1;
        let Some(address) = self.address else { return };
        if let Some(of_address) = taken.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&address);
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

    fn take(places: &Arc<Places>, address: &str) -> Result<Place, &'static str> {
        let mut place = places.take()?;
        place.is_of(address.parse().unwrap())?;
        Ok(place)
    }

    #[test]
    fn resource_dos_one_address_does_not_take_the_places_of_all() {
        let places = Places::new(LIMITS);
        let take = |address: &str| take(&places, address);
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
        drop(take(&places, "192.0.2.1").unwrap());
        assert!(places.taken.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn an_address_is_the_same_in_either_family() {
        let places = Places::new(LIMITS);
        let _first = take(&places, "192.0.2.1").unwrap();
        let _second = take(&places, "::ffff:192.0.2.1").unwrap();
        assert!(take(&places, "192.0.2.1").is_err());
        assert_eq!(places.taken().count, 2);
    }
}
