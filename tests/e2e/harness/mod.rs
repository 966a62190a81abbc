//! What the tests of this binary share: the cluster, repositories in it, and waiting.

mod cluster;
mod registry;
mod repository;

pub(crate) use cluster::{Cluster, INSTALLATION, condition};
pub(crate) use registry::{start_registries, unmountable_image};
pub(crate) use repository::Repository;

/// The workspace image with a shell, git and a small HTTP server.
pub(crate) fn debian_image() -> String {
    image(
        "E2E_DEBIAN_IMAGE",
        "localhost/workstead-workspace-debian:dev",
    )
}

/// The workspace image that is nearly empty: no shell, no C library.
pub(crate) fn tiny_image() -> String {
    image("E2E_TINY_IMAGE", "localhost/workstead-workspace-tiny:dev")
}

fn image(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}
