//! Builders, clocks, a real control plane, a Git server and faults, for tests and benches.
//!
//! Everything that stands in for a cluster here is the real program: the API server is kube-apiserver on etcd, the
//! Git server is `git http-backend`. What tests make up are only times, faults, and the acts of a kubelet.
// A test fails by panicking, and so does its kit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod builders;
pub mod clock;
pub mod control_plane;
pub mod faults;
pub mod fuzz;
pub mod git_server;
pub mod kubelet;
pub mod process;
pub mod renderer;
pub mod wait;

pub use clock::{ShiftedClock, TestClock};
pub use control_plane::{ControlPlane, ControlPlaneError};
pub use faults::{FaultProxy, Faults};
pub use git_server::GitServer;
