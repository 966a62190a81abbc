//! Workstead: a Git repository becomes running development workspaces on Kubernetes.
//!
//! The map of the house, a line for each room. Who may know whom is checked by tests/it/house.rs.

pub mod api;
pub mod cli;
pub mod controllers;
pub mod gitsync;
pub mod inside;
pub mod model;
pub mod proxy;
pub mod render;
pub mod secrets;
pub mod telemetry;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod yaml;
