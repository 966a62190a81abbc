//! Sessions that were verified lately, by the bytes of their cookie.
//!
//! Bounded in bytes, and cheap to bound: two generations, of which the older is dropped when the younger is full. What is
//! still asked for moves to the younger one.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use crate::proxy::session::sessions::SignedIn;

/// Parts, so that threads seldom meet at one lock.
const SHARDS: usize = 16;
/// Bytes of cookies in each generation of a part: with all parts and both generations 16 MiB, some 20,000 sessions.
const SHARD_BYTES: usize = 512 * 1024;

/// What was verified.
#[derive(Clone)]
pub(super) struct Verified {
    /// By which ring: another one verifies anew.
    pub generation: u64,
    /// Who it is.
    pub signed_in: Arc<SignedIn>,
}

/// The cache.
pub(super) struct Cache {
    /// Seeded at random: nobody outside can make two cookies meet.
    hash: RandomState,
    shards: [RwLock<Shard>; SHARDS],
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            hash: RandomState::new(),
            shards: std::array::from_fn(|_| RwLock::default()),
        }
    }
}

#[derive(Default)]
struct Shard {
    young: Generation,
    old: Generation,
}

#[derive(Default)]
struct Generation {
    entries: HashMap<u64, (Box<[u8]>, Verified), BuildHasherDefault<Hashed>>,
    bytes: usize,
}

impl Generation {
    fn get(&self, hash: u64, cookie: &[u8], generation: u64) -> Option<&Verified> {
        let (bytes, verified) = self.entries.get(&hash)?;
        (**bytes == *cookie && verified.generation == generation).then_some(verified)
    }
}

impl Cache {
    /// What is known of a cookie. Hashed once; no allocation.
    pub fn get(&self, cookie: &[u8], generation: u64) -> Option<Arc<SignedIn>> {
        let hash = self.hash.hash_one(cookie);
        let shard = self.shard(hash)?;
        let known = {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(verified) = shard.young.get(hash, cookie, generation) {
                return Some(Arc::clone(&verified.signed_in));
            }
            shard.old.get(hash, cookie, generation).cloned()?
        };
        let signed_in = Arc::clone(&known.signed_in);
        self.put_hashed(hash, cookie, known);
        Some(signed_in)
    }

    /// Remembers a cookie.
    pub fn put(&self, cookie: &[u8], verified: Verified) {
        self.put_hashed(self.hash.hash_one(cookie), cookie, verified);
    }

    fn put_hashed(&self, hash: u64, cookie: &[u8], verified: Verified) {
        let Some(shard) = self.shard(hash) else {
            return;
        };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.young.bytes + cookie.len() > SHARD_BYTES {
            shard.old = std::mem::take(&mut shard.young);
        }
        let replaced = shard.young.entries.insert(hash, (cookie.into(), verified));
        let freed = replaced.map_or(0, |(bytes, _)| bytes.len());
        shard.young.bytes = shard.young.bytes + cookie.len() - freed;
    }

    fn shard(&self, hash: u64) -> Option<&RwLock<Shard>> {
        // The upper bits: the map inside uses the lower ones.
        self.shards.get((hash >> 60) as usize % SHARDS)
    }
}

/// The key is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::session::tests::mk_signed_in;

    fn verified(generation: u64) -> Verified {
        Verified {
            generation,
            signed_in: Arc::new(mk_signed_in()),
        }
    }

    #[test]
    fn a_cookie_is_known_by_all_its_bytes_and_by_the_ring_that_verified_it() {
        let cache = Cache::default();
        cache.put(b"cookie", verified(1));
        assert!(cache.get(b"cookie", 1).is_some());
        assert!(cache.get(b"cookiE", 1).is_none());
        assert!(cache.get(b"cookie", 2).is_none());
    }

    #[test]
    fn the_cache_stays_within_its_bytes_and_keeps_what_is_asked_for() {
        let cache = Cache::default();
        let asked = vec![b'a'; 1000];
        cache.put(&asked, verified(1));
        for number in 0..100_000u32 {
            let mut cookie = number.to_be_bytes().to_vec();
            cookie.resize(1000, 0);
            cache.put(&cookie, verified(1));
            assert!(cache.get(&asked, 1).is_some());
        }
        for shard in &cache.shards {
            let shard = shard.read().unwrap();
            for generation in [&shard.young, &shard.old] {
                let bytes: usize = generation
                    .entries
                    .values()
                    .map(|(cookie, _)| cookie.len())
                    .sum();
                assert_eq!(bytes, generation.bytes);
                assert!(bytes <= SHARD_BYTES);
            }
        }
    }
}
