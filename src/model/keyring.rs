//! The key ring behind sessions and tickets: which keys there are, from when on each signs, and how one follows another.
//!
//! A key is published long before it signs, so that every replica knows it by then, and is kept for as long as something
//! that it signed may live. So a rotation signs nobody out.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::model::entropy::Entropy;

/// The Secret's key that the ring lies under.
pub const RING_ENTRY: &str = "ring.json";
/// How long a key signs.
pub const SIGNS_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long before it signs a key is known to everybody: watches lag, and so do clocks.
pub const PUBLISHED_BEFORE: SignedDuration = SignedDuration::from_hours(1);
/// How long a key that signs no more is kept: the life of what lives longest (12 h), and what clocks differ by.
pub const KEPT_FOR: SignedDuration = SignedDuration::from_mins(12 * 60 + 10);
/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// More keys than rotation ever leaves: a file with more was not written by us.
const MOST_KEYS: usize = 16;

/// Name of a key, in the head of what it signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Takes 1 to 32 letters, digits, `-` and `_`.
    pub fn new(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = (1..=32).contains(&text.len()) && text.bytes().all(plain);
        fits.then(|| Self(text.to_owned()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key. Its bytes show nowhere.
#[derive(Clone)]
pub struct RingKey {
    /// Its name.
    pub id: KeyId,
    /// From when on it signs.
    pub not_before: Timestamp,
    /// The bytes that working keys are derived from.
    pub secret: Zeroizing<[u8; KEY_BYTES]>,
}

/// At least two keys, in the order in which they sign.
#[derive(Clone)]
pub struct KeyRing(Vec<RingKey>);

/// What is wrong with a ring. No error carries a byte of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// It is no JSON of the kind.
    #[error("the key ring is no JSON of the form {{\"keys\": [{{kid, notBefore, secret}}]}}")]
    Form,
    /// A key's name is none.
    #[error("key {0} of the ring has no kid of 1 to 32 letters, digits, '-' and '_'")]
    KeyId(usize),
    /// Two keys of one name.
    #[error("the key ring has two keys '{0}'")]
    Twice(KeyId),
    /// A key is too short to be one.
    #[error("the secret of key '{0}' is not {KEY_BYTES} bytes in base64")]
    Secret(KeyId),
    /// Rotation needs one that signs and one that will.
    #[error("the key ring has {0} keys, and must have 2 to {MOST_KEYS}")]
    Count(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keys: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    kid: String,
    not_before: Timestamp,
    secret: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl KeyRing {
    /// A new ring: a key that signs from now on, and the one that will follow it.
    pub fn generate(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(vec![
            mk_key(now, entropy),
            mk_key(later(now, SIGNS_FOR), entropy),
        ])
    }

    /// Reads what lies under [`RING_ENTRY`].
    ///
    /// # Errors
    /// When it is no ring.
    pub fn parse(text: &[u8]) -> Result<Self, RingError> {
        let file: File = serde_json::from_slice(text).map_err(|_| RingError::Form)?;
        if !(2..=MOST_KEYS).contains(&file.keys.len()) {
            return Err(RingError::Count(file.keys.len()));
        }
        let mut keys: Vec<RingKey> = Vec::with_capacity(file.keys.len());
        for (at, entry) in file.keys.iter().enumerate() {
            let id = KeyId::new(&entry.kid).ok_or(RingError::KeyId(at))?;
            if keys.iter().any(|key| key.id == id) {
                return Err(RingError::Twice(id));
            }
            let bytes = STANDARD.decode(&entry.secret).map(Zeroizing::new);
            let secret = bytes
                .ok()
                .and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).ok())
                .map(Zeroizing::new)
                .ok_or_else(|| RingError::Secret(id.clone()))?;
            keys.push(RingKey {
                id,
                not_before: entry.not_before,
                secret,
            });
        }
        keys.sort_by_key(|key| key.not_before);
        Ok(Self(keys))
    }

    /// What [`KeyRing::parse`] reads.
    pub fn to_json(&self) -> Zeroizing<String> {
        let keys = self.0.iter().map(|key| Entry {
            kid: key.id.to_string(),
            not_before: key.not_before,
            secret: STANDARD.encode(key.secret.as_slice()),
        });
        let file = File {
            keys: keys.collect(),
        };
        // Strings and times: nothing in it can fail.
        Zeroizing::new(serde_json::to_string(&file).unwrap_or_default())
    }

    /// The keys, in the order in which they sign.
    pub fn keys(&self) -> &[RingKey] {
        &self.0
    }

    /// When [`next_ring`] will next have something to do.
    pub fn changes_at(&self, now: Timestamp) -> Timestamp {
        let follows = self.0.iter().map(|key| key.not_before);
        let retires = self
            .0
            .iter()
            .skip(1)
            .map(|key| later(key.not_before, KEPT_FOR));
        let next = follows.chain(retires).filter(|at| *at > now).min();
        next.unwrap_or(now)
    }
}

/// The ring that should follow at this time; none when this one is right.
///
/// A key that was followed is dropped once nothing it signed lives. When no key waits, one is added for when the present
/// one has served its time, but never sooner than everybody can know it.
pub fn next_ring(ring: &KeyRing, now: Timestamp, entropy: &dyn Entropy) -> Option<KeyRing> {
    let mut keys: Vec<RingKey> = ring
        .0
        .iter()
        .enumerate()
        .filter(|(at, _)| {
            let follower = ring.0.get(at + 1);
            follower.is_none_or(|key| later(key.not_before, KEPT_FOR) > now)
        })
        .map(|(_, key)| key.clone())
        .collect();
    let newest = keys.last().map_or(now, |key| key.not_before);
    if newest <= now {
        let due = later(newest, SIGNS_FOR).max(later(now, PUBLISHED_BEFORE));
        keys.push(mk_key(due, entropy));
    }
    let same =
        keys.len() == ring.0.len() && keys.iter().zip(&ring.0).all(|(new, old)| new.id == old.id);
    (!same).then_some(KeyRing(keys))
}

fn mk_key(not_before: Timestamp, entropy: &dyn Entropy) -> RingKey {
    let mut name = [0; 8];
    entropy.fill(&mut name);
    let mut secret = Zeroizing::new([0; KEY_BYTES]);
    entropy.fill(secret.as_mut_slice());
    RingKey {
        id: KeyId(hex::encode(name)),
        not_before,
        secret,
    }
}

/// The end of time stays where it is.
fn later(from: Timestamp, by: SignedDuration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// Counts up: no two fills are the same for a while.
    struct Counting(AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    fn counting() -> Counting {
        Counting(AtomicU8::new(1))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn ids(ring: &KeyRing) -> Vec<String> {
        ring.keys().iter().map(|key| key.id.to_string()).collect()
    }

    /// Names no key in an assertion's output.
    fn error(parsed: Result<KeyRing, RingError>) -> RingError {
        parsed.err().unwrap()
    }

    #[test]
    fn a_new_ring_has_one_key_that_signs_and_one_that_waits() {
        let now = at("2026-11-28T12:00:00Z");
        let ring = KeyRing::generate(now, &counting());
        let starts: Vec<Timestamp> = ring.keys().iter().map(|key| key.not_before).collect();
        assert_eq!(starts, [now, at("2026-12-28T12:00:00Z")]);
        assert!(next_ring(&ring, now, &counting()).is_none());
    }

    #[test]
    fn a_ring_is_read_back_as_it_was_written() {
        let ring = KeyRing::generate(at("2026-11-28T12:00:00Z"), &counting());
        let read = KeyRing::parse(ring.to_json().as_bytes()).ok().unwrap();
        assert_eq!(ids(&read), ids(&ring));
        assert!(read.keys()[1].secret == ring.keys()[1].secret);
    }

    #[test]
    fn a_rotation_publishes_long_before_and_keeps_until_nothing_lives() {
        let entropy = counting();
        let first = KeyRing::generate(at("2026-11-01T00:00:00Z"), &entropy);
        // The second signs: a third is published, the first is kept for what it signed.
        let then = at("2026-12-01T00:00:00Z");
        let second = next_ring(&first, then, &entropy).unwrap();
        assert_eq!(ids(&second)[..2], ids(&first));
        assert_eq!(second.keys()[2].not_before, at("2026-12-31T00:00:00Z"));
        assert!(next_ring(&second, at("2026-12-01T12:09:00Z"), &entropy).is_none());
        let third = next_ring(&second, at("2026-12-01T12:10:00Z"), &entropy).unwrap();
        assert_eq!(ids(&third), ids(&second)[1..]);
    }

    #[test]
    fn a_ring_that_nobody_looked_after_gets_its_next_key_in_an_hour_at_the_soonest() {
        let entropy = counting();
        let ring = KeyRing::generate(at("2025-01-01T00:00:00Z"), &entropy);
        let now = at("2026-11-28T12:00:00Z");
        let next = next_ring(&ring, now, &entropy).unwrap();
        assert_eq!(ids(&next)[0], ids(&ring)[1]);
        assert_eq!(next.keys()[1].not_before, at("2026-11-28T13:00:00Z"));
    }

    #[rstest]
    #[case("", RingError::Form)]
    #[case("{}", RingError::Form)]
    #[case(r#"{"keys": []}"#, RingError::Count(0))]
    #[case(r#"{"keys": [], "keys": []}"#, RingError::Form)]
    #[case(
        r#"{"keys": [{"kid": "../a", "notBefore": "2026-01-01T00:00:00Z", "secret": ""}, {"kid": "b", "notBefore": "2026-01-01T00:00:00Z", "secret": ""}]}"#,
        RingError::KeyId(0)
    )]
    fn what_is_no_ring_is_refused(#[case] text: &str, #[case] expected: RingError) {
        assert_eq!(error(KeyRing::parse(text.as_bytes())), expected);
    }

    #[test]
    fn a_short_secret_and_a_name_that_stands_twice_are_refused() {
        let ring = KeyRing::generate(at("2026-11-28T12:00:00Z"), &counting());
        let text = ring.to_json();
        let [first, second] = [0, 1].map(|at: usize| ids(&ring)[at].clone());
        let twice = text.replace(&second, &first);
        let id = KeyId::new(&first).unwrap();
        assert_eq!(
            error(KeyRing::parse(twice.as_bytes())),
            RingError::Twice(id.clone())
        );
        let secret = STANDARD.encode(ring.keys()[0].secret.as_slice());
        let short = text.replace(&secret, &STANDARD.encode([1; 31]));
        assert_eq!(
            error(KeyRing::parse(short.as_bytes())),
            RingError::Secret(id)
        );
    }

    proptest! {
        /// Looked after at any times, the ring always has a key that signs and one that everybody knew for an hour.
        #[test]
        fn rotation_never_leaves_a_gap(steps in proptest::collection::vec(1i64..80 * 24, 1..40)) {
            let entropy = counting();
            let mut now = at("2026-01-01T00:00:00Z");
            let mut ring = KeyRing::generate(now, &entropy);
            for hours in steps {
                now += SignedDuration::from_hours(hours);
                let known = ids(&ring);
                if let Some(next) = next_ring(&ring, now, &entropy) {
                    for key in next.keys().iter().filter(|key| !known.contains(&key.id.to_string())) {
                        prop_assert!(key.not_before >= now + PUBLISHED_BEFORE);
                    }
                    ring = next;
                }
                prop_assert!((2..=4).contains(&ring.keys().len()));
                prop_assert!(ring.keys()[0].not_before <= now);
                prop_assert!(ring.keys().last().unwrap().not_before > now);
                prop_assert!(next_ring(&ring, now, &entropy).is_none());
                prop_assert!(ring.changes_at(now) > now);
            }
        }
    }
}
