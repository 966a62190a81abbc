//! The plaintext of a set: read strictly, written canonically.
//!
//! ```yaml
//! binding: {namespace: team-a, name: alice-api}   # first
//! scope: Strict                                   # Strict | Namespace | Cluster
//! appliesTo: {owner: alice@example.com}           # or {namespace: true}; left out: Workspaces that list the set
//! serial: 7
//! env: {DATABASE_URL: "postgres://…"}
//! files: {.netrc: {mode: "0440", content: "…"}}   # or b64
//! ```

pub(super) mod read;
mod write;

use std::collections::BTreeMap;

use crate::model::variables::{FilePath, VariableName};
use crate::secrets::binding::{Audience, Binding, Scope};
use crate::secrets::text::{SecretBytes, SecretText};

/// Linux takes no longer `NAME=value` (MAX_ARG_STRLEN, the final NUL counted).
pub const LONGEST_VARIABLE: usize = 128 * 1024 - 1;
/// How many variables and files a set may have together.
pub const MOST_KEYS: usize = 1000;
/// The highest serial: what every reader of JSON keeps whole.
pub const HIGHEST_SERIAL: u64 = (1 << 53) - 1;
/// The mode of a file that names none: the group of the workspace reads it.
pub const DEFAULT_MODE: u16 = 0o440;

/// An opened set.
#[derive(Clone)]
pub struct Document {
    /// To which place it is bound.
    pub binding: Binding,
    /// How much of the binding counts.
    pub scope: Scope,
    /// Who takes it without listing it.
    pub audience: Audience,
    /// Its number, if it has one: that may only rise.
    pub serial: Option<u64>,
    /// Environment variables.
    pub env: BTreeMap<VariableName, SecretText>,
    /// Files.
    pub files: BTreeMap<FilePath, File>,
}

/// What somebody writes to have it sealed: a [`Document`] of which everything may be left out. Nothing that is left out is
/// filled in, so that what is said elsewhere can be told from what differs.
#[derive(Clone, Default)]
pub struct Draft {
    /// To which place it shall be bound.
    pub binding: Option<Binding>,
    /// How much of the binding counts.
    pub scope: Option<Scope>,
    /// Who takes it without listing it.
    pub audience: Option<Audience>,
    /// Its number.
    pub serial: Option<u64>,
    /// Environment variables.
    pub env: BTreeMap<VariableName, SecretText>,
    /// Files.
    pub files: BTreeMap<FilePath, File>,
}

/// A file of a set.
#[derive(Clone)]
pub struct File {
    /// Its permissions.
    pub mode: u16,
    /// What is in it.
    pub content: SecretBytes,
}

/// Why what was put together from several places is no set. It says no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Too many of them.
    #[error("{0} variables and files are too many: at most {MOST_KEYS} may be in a set")]
    Count(usize),
    /// One of them is wrong.
    #[error("{key}: {problem}")]
    Key {
        /// Its name or path.
        key: String,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },
}

#[cfg(test)]
mod tests;
