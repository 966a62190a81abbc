//! Controllers, one folder a kind: watch, dereference, validate, apply, observe, report.
//!
//! This module owns how they live together: wait for the CRDs, serve health, lead or stand by, run, and end in order.

pub mod apply;
pub mod backoff;
pub mod cache;
pub mod class;
pub mod clock;
mod cluster;
pub mod context;
mod crds;
pub mod door;
pub mod events;
pub mod gitsync;
pub mod guard;
mod health;
pub mod identities;
pub mod keyring;
pub mod lease;
pub mod links;
pub mod owners;
pub mod passes;
mod run;
pub mod supervisor;
pub mod variables;
pub mod workspace;

pub use context::{ControllerConfig, PeerSelector, Scope, Shared};
pub use run::{Parts, RunError, run, run_with};
