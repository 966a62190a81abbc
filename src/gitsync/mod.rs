//! The Git door: fetch a commit, read its tree into a snapshot, plan what to apply and to delete.

pub mod plan;
pub mod verdict;
