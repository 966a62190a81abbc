//! The working keys: one for each kind of token and each key of the ring, derived once and exchanged while we run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use jiff::Timestamp;
use ring::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::hmac;

use crate::model::keyring::{KeyId, KeyRing, RingKey};

/// Tells these derivations from whatever else may be derived from the same bytes.
const SALT: &[u8] = b"workstead proxy key ring 1";

/// A kind of signed token. Each has a key of its own, so that none passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Who is signed in, on one host of one workspace.
    Session,
    /// From the auth host to a workspace's host: this browser is that user.
    Ticket,
    /// From a workspace's host to the auth host: this browser wants in.
    LoginRequest,
    /// A link that signs in, on one machine.
    Link,
}

impl Signed {
    /// `typ` in the head of the token, and what its key is derived for.
    pub fn typ(self) -> &'static str {
        match self {
            Self::Session => "wsd-session",
            Self::Ticket => "wsd-ticket",
            Self::LoginRequest => "wsd-login",
            Self::Link => "wsd-link",
        }
    }

    /// No token of the kind lives longer, in seconds, whatever it says.
    pub fn longest_life(self) -> i64 {
        match self {
            Self::Session => 3600,
            Self::Ticket => 60,
            Self::LoginRequest => 5 * 60,
            Self::Link => 10 * 60,
        }
    }
}

/// A kind of sealed value: nobody else reads it, or changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// A login on its way over the provider.
    Attempt,
    /// The session of the auth host.
    AuthSession,
}

impl Sealed {
    /// What its key is derived for.
    pub fn typ(self) -> &'static str {
        match self {
            Self::Attempt => "wsd-attempt",
            Self::AuthSession => "wsd-auth",
        }
    }

    /// No value of the kind lives longer, in seconds, whatever it says.
    pub fn longest_life(self) -> i64 {
        match self {
            Self::Attempt => 10 * 60,
            Self::AuthSession => 12 * 3600,
        }
    }
}

/// The working keys of one key of the ring.
pub struct Derived {
    id: KeyId,
    not_before: Timestamp,
    session: hmac::Key,
    ticket: hmac::Key,
    login_request: hmac::Key,
    link: hmac::Key,
    attempt: LessSafeKey,
    auth_session: LessSafeKey,
}

impl Derived {
    fn new(key: &RingKey) -> Result<Self, KeysError> {
        let prk = Salt::new(HKDF_SHA256, SALT).extract(key.secret.as_slice());
        let failed = |_| KeysError::Derive(key.id.clone());
        let signing = |kind: Signed| mac_key(&prk, kind.typ()).map_err(failed);
        let sealing = |kind: Sealed| seal_key(&prk, kind.typ()).map_err(failed);
        Ok(Self {
            id: key.id.clone(),
            not_before: key.not_before,
            session: signing(Signed::Session)?,
            ticket: signing(Signed::Ticket)?,
            login_request: signing(Signed::LoginRequest)?,
            link: signing(Signed::Link)?,
            attempt: sealing(Sealed::Attempt)?,
            auth_session: sealing(Sealed::AuthSession)?,
        })
    }

    /// The name of the key.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The key that signs a kind of token.
    pub fn signing(&self, kind: Signed) -> &hmac::Key {
        match kind {
            Signed::Session => &self.session,
            Signed::Ticket => &self.ticket,
            Signed::LoginRequest => &self.login_request,
            Signed::Link => &self.link,
        }
    }

    /// The key that seals a kind of value.
    pub fn sealing(&self, kind: Sealed) -> &LessSafeKey {
        match kind {
            Sealed::Attempt => &self.attempt,
            Sealed::AuthSession => &self.auth_session,
        }
    }
}

fn mac_key(prk: &Prk, typ: &str) -> Result<hmac::Key, ring::error::Unspecified> {
    Ok(prk.expand(&[typ.as_bytes()], hmac::HMAC_SHA256)?.into())
}

fn seal_key(prk: &Prk, typ: &str) -> Result<LessSafeKey, ring::error::Unspecified> {
    let key: UnboundKey = prk.expand(&[typ.as_bytes()], &CHACHA20_POLY1305)?.into();
    Ok(LessSafeKey::new(key))
}

/// All working keys at one time.
pub struct Ring {
    /// Oldest first.
    keys: Vec<Arc<Derived>>,
    by_id: HashMap<String, Arc<Derived>>,
    generation: u64,
}

impl Ring {
    fn new(ring: &KeyRing, generation: u64) -> Result<Self, KeysError> {
        let keys = ring
            .keys()
            .iter()
            .map(|key| Derived::new(key).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let by_id = keys
            .iter()
            .map(|key| (key.id.as_str().to_owned(), Arc::clone(key)))
            .collect();
        Ok(Self {
            keys,
            by_id,
            generation,
        })
    }

    /// The key that signs now: the newest whose time has come. The oldest where none has: our clock is behind the one of
    /// whoever made the ring.
    ///
    /// # Errors
    /// When the ring is empty, which no [`KeyRing`] is.
    pub fn signing_now(&self, now: Timestamp) -> Result<&Derived, KeysError> {
        let begun = self.keys.iter().rev().find(|key| key.not_before <= now);
        let key = begun.or(self.keys.first()).ok_or(KeysError::Empty)?;
        Ok(key)
    }

    /// The key of this name.
    pub fn key(&self, id: &str) -> Option<&Derived> {
        self.by_id.get(id).map(Arc::as_ref)
    }

    /// Another one whenever the ring was exchanged: what was verified by the old one is looked at again.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// Why there are no working keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The library refused a length that is fixed.
    #[error("failed to derive the keys of '{0}'")]
    Derive(KeyId),
    /// Nothing in it.
    #[error("the key ring is empty")]
    Empty,
}

/// The keys of the process, exchanged as a whole when the Secret changes.
pub struct Keys {
    ring: ArcSwap<Ring>,
    exchanged: AtomicU64,
}

impl Keys {
    /// Derives all keys of a ring.
    ///
    /// # Errors
    /// When one can't be derived.
    pub fn new(ring: &KeyRing) -> Result<Self, KeysError> {
        Ok(Self {
            ring: ArcSwap::from_pointee(Ring::new(ring, 0)?),
            exchanged: AtomicU64::new(0),
        })
    }

    /// Takes another ring from now on. A ring that can't be used leaves the old one in place.
    ///
    /// # Errors
    /// When one can't be derived.
    pub fn exchange(&self, ring: &KeyRing) -> Result<(), KeysError> {
        let generation = self.exchanged.fetch_add(1, Ordering::Relaxed) + 1;
        self.ring.store(Arc::new(Ring::new(ring, generation)?));
        Ok(())
    }

    /// The keys now.
    pub fn load(&self) -> Guard<Arc<Ring>> {
        self.ring.load()
    }

    /// Whether a key is still in the ring: what it signed ends with it.
    pub fn knows(&self, id: &str) -> bool {
        self.ring.load().key(id).is_some()
    }
}
