//! Who is signed in: cookies, signed tokens, the keys behind them, and what ends a session early. No login: what a session
//! rests on is made in `login`.
//!
//! - `cookies`: our cookies by their exact names.
//! - `keys`: working keys, one for each kind of token, from the ring of `model::keyring`.
//! - `tokens`: signed tokens (JWT); `sealed`: values that only we read; `claims`: what stands in both.
//! - `groups`: two hundred groups in one cookie.
//! - `sessions`: the session of a request, its cache, its renewal.
//! - `revocation`: what ends logins before their time.
//! - `entropy`: the system's randomness.

mod cache;
pub mod claims;
pub mod cookies;
pub mod entropy;
pub mod groups;
pub mod keys;
pub mod revocation;
pub mod sealed;
mod sessions;
#[cfg(test)]
pub(crate) mod tests;
pub mod tokens;

pub use keys::{Keys, KeysError};
pub use revocation::{Epochs, op_subject};
pub use sessions::{Look, MakeError, Refused, Sessions, SignedIn};
