//! Sealed variables: the one door to age.
//!
//! A set is one armored age file ([`seal`], [`open`]) whose plaintext is a [`document`]: to which place it is bound, whom it
//! is for, environment and files. What is opened lives in [`text`]s that nothing prints.
//!
//! Errors name places and keys, never values: a value would end up in a status.

pub mod binding;
pub mod document;
pub mod dotenv;
pub mod error;
pub mod identity;
pub mod merge;
pub mod open;
pub mod recipients;
pub mod seal;
pub mod serial;
pub mod set;
mod sops;
pub mod text;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod vectors;
