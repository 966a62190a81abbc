//! The real binary with a plan: a folder stands for the container, Git's own server for the Git server.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod asked;
mod cloned;
mod commands;
mod editors;
mod git_server;
mod sealed;
mod world;
