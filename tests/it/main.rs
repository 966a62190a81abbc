//! Integration tests: against a real kube-apiserver, real Git servers, and the house itself.
// A test fails by panicking, and so do its helpers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod chart;
mod chart_role;
mod cli;
mod controllers;
mod crds;
mod docs;
mod examples;
mod faults;
mod faults_proxy;
mod foreign_cluster;
mod fuzz;
mod generated;
mod git_server;
mod gitsync;
mod house;
mod kit;
mod local_provider;
mod processes;
mod proxy;
mod readme;
mod supervisor;
mod supervisor_keys;
mod sync;
mod workspace;

/// An object from its literal form.
fn object<K: serde::de::DeserializeOwned>(value: serde_json::Value) -> K {
    serde_json::from_value(value).unwrap()
}
