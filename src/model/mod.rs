//! Names as types, validated values, the state machine, quotas, diffs and plans. Pure: no client, runtime, clock or environment.

pub mod access;
pub mod activity;
pub mod class;
pub mod clock;
pub mod conditions;
pub mod desired;
pub mod duration;
pub mod entropy;
pub mod evidence;
pub mod failures;
pub mod identity;
pub mod inside;
pub mod installation;
pub mod keyring;
pub mod mounting;
pub mod names;
pub mod net;
pub mod owners;
pub mod plaintext;
pub mod quantity;
pub mod quota;
pub mod resources;
pub mod revision;
pub mod state;
pub mod status;
pub mod sync;
pub mod variables;
pub mod workspace;

#[cfg(test)]
pub(crate) mod fixtures;
