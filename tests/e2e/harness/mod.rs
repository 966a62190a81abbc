//! What the tests of this binary share: the cluster, repositories in it, and waiting.

mod browser;
mod cluster;
mod forward;
mod guarded;
mod node;
mod person;
mod repository;

pub(crate) use browser::Scene;
pub(crate) use cluster::{Cluster, INSTALLATION, Outcome, condition};
pub(crate) use forward::{forward, forward_to};
pub(crate) use guarded::{Guarded, TEXT, USER, Way, stray_key};
pub(crate) use node::{OwnNode, editor_images, may_disrupt, skipped};
pub(crate) use person::{Page, Person};
pub(crate) use repository::Repository;
pub(crate) use workstead::testkit::wait::eventually;

/// For a test that measures how long something took.
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The workspace image with a shell, git and a small HTTP server.
pub(crate) fn debian_image() -> String {
    image(
        "E2E_DEBIAN_IMAGE",
        "localhost/workstead-workspace-debian:dev",
    )
}

/// The workspace image without glibc: musl and busybox, as in Alpine.
pub(crate) fn musl_image() -> String {
    image("E2E_MUSL_IMAGE", "localhost/workstead-workspace-musl:dev")
}

/// The workspace image that is nearly empty: no shell, no C library.
pub(crate) fn tiny_image() -> String {
    image("E2E_TINY_IMAGE", "localhost/workstead-workspace-tiny:dev")
}

fn image(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}
