//! Sessions as a whole, and what the tests of the login need of them.

mod sessions;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::model::entropy::Entropy;
use crate::model::keyring::KeyRing;
use crate::proxy::door::Fields;
use crate::proxy::session::claims::{Login, SessionClaims};
use crate::proxy::session::keys::Keys;
use crate::proxy::session::sessions::SignedIn;

/// The auth host of the tests.
pub const AUTH_HOST: &str = "login.example.net";
/// A workspace's host.
pub const HOST: &str = "api.ws.example.com";
/// Its UID.
pub const UID: &str = "11111111-1111-4111-8111-111111111111";

/// Different bytes each time, the same in each run.
#[derive(Default)]
pub struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.0.fetch_add(1, Ordering::Relaxed);
            let mixed = (next + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            chunk.copy_from_slice(&mixed[..chunk.len()]);
        }
    }
}

/// Seconds after the beginning of the tests.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub fn mk_keys() -> Arc<Keys> {
    Arc::new(Keys::new(&KeyRing::generate(at(-3600), &Counting::default())).unwrap())
}

pub fn mk_login() -> Login {
    Login {
        sub: "alice@example.com".to_owned(),
        sid: "c2lk".to_owned(),
        op_sid: None,
        op_sub: None,
        auth_time: at(0).as_second(),
        grp_at: at(0).as_second(),
    }
}

pub fn mk_claims() -> SessionClaims {
    SessionClaims {
        iss: AUTH_HOST.to_owned(),
        aud: HOST.to_owned(),
        ws_uid: UID.to_owned(),
        who: mk_login(),
        grp: vec!["team-a".to_owned()],
        iat: at(0).as_second(),
        exp: at(3600).as_second(),
    }
}

pub fn mk_signed_in() -> SignedIn {
    let claims = mk_claims();
    SignedIn {
        login: claims.who,
        host: claims.aud,
        workspace_uid: claims.ws_uid,
        groups: claims.grp,
        issued_at: claims.iat,
        expires_at: claims.exp,
        key: "key".to_owned(),
    }
}

/// Header lines of a test.
#[derive(Clone, Default)]
pub struct Lines(pub Vec<(String, Vec<u8>)>);

impl Lines {
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.0.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }
}

impl Fields for Lines {
    fn each<'a>(&'a self, name: &str, call: &mut dyn FnMut(&'a [u8])) {
        for (field, value) in &self.0 {
            if field.eq_ignore_ascii_case(name) {
                call(value);
            }
        }
    }
}
