//! End to end: the real roles on a real node, with a real Git server.
//!
//! Each test is ignored unless asked for, since it needs a cluster with Workstead on it: `make test-e2e` makes one, or
//! `E2E_KUBECONFIG` names one. Every test has a namespace of its own; what is cluster-wide carries the namespace's name.
// Tests are configured by the environment: there is no command line to read. They and their helpers fail by panicking.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod failures;
mod gitops;
mod harness;
mod inside;
mod last;
mod lifecycle;
mod proxy;
mod resilience;
mod rights;
mod takeover;
mod tools;
mod variables;
