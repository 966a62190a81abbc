//! Who is signed in: cookies, signed tokens, the keys behind them, and what ends a session early.
//!
//! - `cookies`: our cookies by their exact names.

pub mod cookies;
