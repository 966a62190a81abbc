//! The Git door: fetch a commit, read its tree into a snapshot, plan what to apply and to delete.

pub mod disk;
pub mod fetch;
pub mod folder;
pub mod plan;
pub mod rules;
pub mod snapshot;
pub mod tree;
pub mod verdict;
pub mod worker;

pub use folder::validate_dir;
pub use worker::FetchWorker;
