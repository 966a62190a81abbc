//! The git2 door: fetches one ref into a bare repository and reads its tree, without ever checking out.
//!
//! libgit2 blocks, can't be cancelled, and keeps its time limits and trusted authorities in process-global places. So a
//! fetch runs in a process of its own ([`crate::gitsync::worker`]): it can be killed, its memory is bounded, and one
//! remote's trouble is not another's. What is here is that process's work.

mod error;
mod history;
#[cfg(any(test, feature = "testkit"))]
pub mod raw;
mod read;
mod remote;
mod repository;
mod settings;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use git2::{Oid, Repository};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::api::gitsync::GitReference;
use crate::gitsync::rules::TreeRules;
use crate::gitsync::tree::Tree;

pub use error::FetchError;
pub use history::History;
pub use settings::apply as apply_process_settings;

/// What a fetch may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchLimits {
    /// Bytes of one transfer.
    pub bytes: u64,
    /// Objects of one transfer.
    pub objects: u64,
    /// Bytes of one object, unpacked.
    pub object_bytes: u64,
    /// Bytes of the repository on disk.
    pub repository_bytes: u64,
    /// Bytes that are left to all repositories together.
    pub room: u64,
    /// Bytes of memory of the process that fetches.
    pub memory: u64,
}

const MIB: u64 = 1024 * 1024;

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            bytes: 128 * MIB,
            objects: 500_000,
            object_bytes: 32 * MIB,
            repository_bytes: 384 * MIB,
            room: u64::MAX,
            memory: 96 * MIB,
        }
    }
}

/// What to fetch, and where to. Credentials travel apart from it: see [`Credentials`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchRequest {
    /// The bare repository; made when it is not there. It is a cache: it may be deleted at any time.
    pub repository: PathBuf,
    /// The remote.
    pub url: String,
    /// What to follow.
    pub reference: GitReference,
    /// Certificates to trust beside the system's, as PEM.
    pub authority: Option<String>,
    /// How long it may take in all, in milliseconds.
    pub timeout_ms: u64,
    /// What it may cost.
    pub limits: FetchLimits,
    /// The commit that is applied: kept, and compared with the new one.
    pub applied: Option<String>,
    /// A commit whose tree the caller holds already, read by these rules: it is not read again.
    pub known: Option<String>,
    /// Which files to read.
    pub tree: TreeRules,
}

/// What proves who we are. Never printed, never in arguments or the environment.
pub enum Credentials {
    /// Name and password, or name and token.
    Basic {
        /// The name.
        username: Zeroizing<String>,
        /// The password or token.
        password: Zeroizing<String>,
    },
    /// A token for the header `Authorization: Bearer`.
    Bearer {
        /// The token.
        token: Zeroizing<String>,
    },
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// The commit, as 40 hexadecimal digits.
    pub commit: String,
    /// `main@sha1:<commit>`, or `sha1:<commit>` where nothing but the commit was asked for.
    pub revision: String,
    /// How it stands to the commit that is applied.
    pub history: History,
    /// Its tree; none when the caller knows it already.
    pub tree: Option<Tree>,
}

/// Where our refs live: apart from those of any remote.
const FETCHED_REF: &str = "refs/workstead/fetched";
const APPLIED_REF: &str = "refs/workstead/applied";

/// Fetches, here and now, in this process and thread. `expired` is set from outside when time is up.
///
/// # Errors
/// When anything fails. The repository is then as it was, or gone.
pub fn fetch_here(
    request: &FetchRequest,
    credentials: Option<&Credentials>,
    expired: &AtomicBool,
) -> Result<Fetched, FetchError> {
    let outcome = fetch_once(request, credentials, expired);
    match outcome {
        Err(error) if expired.load(Ordering::Relaxed) && !error.is_limit() => {
            Err(FetchError::timeout(request.timeout_ms))
        }
        other => other,
    }
}

fn fetch_once(
    request: &FetchRequest,
    credentials: Option<&Credentials>,
    expired: &AtomicBool,
) -> Result<Fetched, FetchError> {
    let _owner = repository::lock(&request.repository)?;
    let repository = repository::open(&request.repository)?;
    match fetch_into(&repository, request, credentials, expired) {
        // What a killed process or a bad disk left behind, or what years of rewritten history heaped up: begin again
        // beside it, and take its place if that works.
        Err(error) if error.is_of_the_cache() => {
            drop(repository);
            let fresh = repository::begin_again(&request.repository)?;
            let fetched = fetch_into(fresh.repository(), request, credentials, expired)?;
            fresh.take_the_place()?;
            Ok(fetched)
        }
        other => other,
    }
}

fn fetch_into(
    repository: &Repository,
    request: &FetchRequest,
    credentials: Option<&Credentials>,
    expired: &AtomicBool,
) -> Result<Fetched, FetchError> {
    let applied = history::keep_applied(repository, request.applied.as_deref())?;
    let target = match pinned_and_here(repository, request) {
        Some(target) => target,
        None => remote::fetch(repository, request, credentials, expired)?,
    };
    let commit = target.commit.to_string();
    let history = history::compare(
        repository,
        target.commit,
        applied,
        request.applied.is_some(),
    )?;
    let tree = if request.known.as_deref() == Some(commit.as_str()) {
        None
    } else {
        Some(read::read_tree(
            repository,
            target.commit,
            &request.tree,
            expired,
        )?)
    };
    Ok(Fetched {
        revision: target.revision(),
        commit,
        history,
        tree,
    })
}

/// A commit and what it was asked for by.
struct Target {
    commit: Oid,
    /// Branch or tag.
    name: Option<String>,
}

impl Target {
    fn revision(&self) -> String {
        match &self.name {
            Some(name) => format!("{name}@sha1:{}", self.commit),
            None => format!("sha1:{}", self.commit),
        }
    }
}

/// A pinned commit that is applied was found to be reachable before: the network has nothing to add.
fn pinned_and_here(repository: &Repository, request: &FetchRequest) -> Option<Target> {
    let pinned = request.reference.commit.as_deref()?;
    if request.applied.as_deref() != Some(pinned) {
        return None;
    }
    let commit = Oid::from_str(pinned).ok()?;
    repository.find_commit(commit).ok()?.tree().ok()?;
    Some(Target {
        commit,
        name: request.reference.branch.clone(),
    })
}
