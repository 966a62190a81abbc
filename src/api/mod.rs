//! The kinds of `workstead.dev/v1alpha1`: serde and schema only. No client, no clock.
//!
//! Field descriptions below are what `kubectl explain` shows and what docs/ is generated from, so they speak to
//! the person who writes the YAML.

// Each printer column is an attribute of its own with a name, a type and a path: the lint takes them for repetitions.
#![allow(clippy::duplicated_attributes)]

pub mod access;
pub mod activity;
pub mod class;
pub mod crds;
pub mod editors;
pub mod environment;
pub mod gitsync;
pub mod inspection;
mod lenient;
pub mod projects;
pub mod shared;
pub mod steps;
pub mod variables;
pub mod workspace;

pub use class::{WorkspaceClass, WorkspaceClassSpec};
pub use gitsync::{GitSync, GitSyncSpec};
pub use variables::{WorkspaceVariables, WorkspaceVariablesSpec};
pub use workspace::{Workspace, WorkspaceSpec};

/// The API group of every kind.
pub const GROUP: &str = "workstead.dev";

/// The only served version so far.
pub const VERSION: &str = "v1alpha1";

/// `apiVersion` as it is written in files.
pub const API_VERSION: &str = "workstead.dev/v1alpha1";
