//! Where trees come from: a fetch into a repository of the GitSync's own, kept between passes, and what was read.
//!
//! The repositories are a cache: each may be deleted at any time, and those of GitSyncs that are gone are.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::context::{Context, Tree};
use super::dereference::{Access, Login};
use super::outcome::History;
use crate::api::GitSync;
use crate::controllers::cache::Key;
use crate::gitsync::disk::bytes_of;
use crate::gitsync::fetch::{self, Credentials, FetchError, FetchLimits, FetchRequest};
use crate::gitsync::rules::{ObjectRules, TreeLimits, TreeRules};
use crate::gitsync::snapshot::{self, Readings};
use crate::model::sync::{Code, Snapshot, SourceError};

/// Folder of the repositories, in the state folder of the controller.
const FOLDER: &str = "gitsync";
/// What the name of a repository ends with.
const SUFFIX: &str = ".git";
/// How often folders of GitSyncs that are gone are looked for, beside when one goes.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// What a fetch brought.
pub struct Fetched {
    /// What the commit says.
    pub snapshot: Arc<Snapshot>,
    /// What was made of each file, for the next tree.
    pub readings: Arc<Readings>,
    /// How it stands to the one that is applied.
    pub history: History,
}

/// Fetches and reads one GitSync. `known` is the tree that was read last under the same spec.
///
/// # Errors
/// When the remote, the ref or the rules can't be used; the last good revision stays applied.
pub async fn fetch(
    context: &Context,
    gitsync: &GitSync,
    access: Access,
    timeout: Duration,
    known: Option<&Tree>,
    failed_before: bool,
) -> Result<Fetched, SourceError> {
    let state = &context.shared.config.state_dir;
    let commit = known.map(|tree| tree.read.commit.clone());
    let (mut request, credentials) = request(state, gitsync, access, timeout, commit)?;
    let fetched = {
        // Held while the fetch runs: see the lanes.
        let _slot = context.slots.take(failed_before).await;
        request.limits = context.budget.fetch_limits();
        request.tree.limits.total_bytes = context.budget.tree_bytes();
        let fetched = context.worker.fetch(&request, credentials.as_ref()).await;
        measure(context, gitsync, &request).await;
        fetched.map_err(|error| report(&error))?
    };
    if let Some(tree) = &fetched.tree {
        let bytes = tree.files.iter().map(|file| file.content.len() as u64);
        context.budget.take_tree(&Key::of(gitsync), bytes.sum())?;
    }
    let history = history(&request, &fetched);
    let (snapshot, readings) = match (fetched.tree, known) {
        (Some(tree), known) => {
            let before = known
                .map(|known| Arc::clone(&known.readings))
                .unwrap_or_default();
            let rules = ObjectRules::of(gitsync, &context.shared.config.namespace);
            let source = snapshot::Source {
                commit: fetched.commit,
                revision: fetched.revision,
            };
            parse(move || snapshot::build_after(&before, tree, source, &rules)).await?
        }
        (None, Some(known)) => (known.read.clone(), known.readings.clone()),
        (None, None) => {
            return Err(SourceError::new(
                Code::FetchFailed,
                "the fetch brought no tree although none was known",
            ));
        }
    };
    Ok(Fetched {
        snapshot,
        readings,
        history,
    })
}

/// Notes how large the repository is now, whatever became of the fetch.
async fn measure(context: &Context, gitsync: &GitSync, request: &FetchRequest) {
    let folder = request.repository.clone();
    let bytes = tokio::task::spawn_blocking(move || bytes_of(&folder)).await;
    if let (Ok(bytes), Some(uid)) = (bytes, &gitsync.metadata.uid) {
        context.budget.measured(uid, bytes);
    }
}

/// What to fetch for a GitSync, and where to. `known` is a commit whose tree the caller holds already.
///
/// # Errors
/// When the Secret or the spec can't be used.
pub fn request(
    state: &Path,
    gitsync: &GitSync,
    access: Access,
    timeout: Duration,
    known: Option<String>,
) -> Result<(FetchRequest, Option<Credentials>), SourceError> {
    let spec = &gitsync.spec;
    let authority = access
        .authority
        .map(String::from_utf8)
        .transpose()
        .map_err(|_| {
            SourceError::new(Code::SecretInvalid, "key ca.crt of the Secret is no text")
        })?;
    let credentials = access.login.map(|login| match login {
        Login::Basic { username, password } => Credentials::Basic {
            username: Zeroizing::new(username),
            password: Zeroizing::new(password),
        },
        Login::Bearer(token) => Credentials::Bearer {
            token: Zeroizing::new(token),
        },
    });
    let tree = TreeRules::new(
        spec.path.as_deref().unwrap_or_default(),
        spec.ignore.as_deref().unwrap_or_default(),
        TreeLimits::default(),
    )?;
    let applied = gitsync
        .status
        .as_ref()
        .and_then(|status| status.last_applied_revision.as_deref())
        .and_then(commit_of)
        .map(ToOwned::to_owned);
    let uid = gitsync.metadata.uid.clone().unwrap_or_default();
    let request = FetchRequest {
        repository: folder(state).join(format!("{uid}{SUFFIX}")),
        url: spec.url.clone(),
        reference: spec.reference.clone().unwrap_or_default(),
        authority,
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        limits: FetchLimits::default(),
        applied,
        known,
        tree,
    };
    Ok((request, credentials))
}

/// The commit of a revision such as `main@sha1:<commit>`.
fn commit_of(revision: &str) -> Option<&str> {
    revision.rsplit_once("sha1:").map(|(_, commit)| commit)
}

/// Parsing a large tree takes a while: not on the threads that answer everybody.
async fn parse(
    work: impl FnOnce() -> (Snapshot, Readings) + Send + 'static,
) -> Result<(Arc<Snapshot>, Arc<Readings>), SourceError> {
    tokio::task::spawn_blocking(work)
        .await
        .map(|(snapshot, readings)| (Arc::new(snapshot), Arc::new(readings)))
        .map_err(|error| {
            SourceError::new(
                Code::FetchFailed,
                format!("the tree could not be read as objects: {error}"),
            )
        })
}

fn report(error: &FetchError) -> SourceError {
    SourceError::new(error.code(), error.to_string())
}

fn history(request: &FetchRequest, fetched: &fetch::Fetched) -> History {
    let old = request.applied.as_deref().unwrap_or_default();
    let new = &fetched.commit;
    match fetched.history {
        fetch::History::Same | fetch::History::Unknown => History::Same,
        fetch::History::First | fetch::History::Forward => History::Descends,
        fetch::History::Back => History::Rewritten(format!(
            "{new} is an ancestor of {old}, which was applied before: the ref was set back"
        )),
        fetch::History::Rewritten => History::Rewritten(format!(
            "{new} does not descend from {old}, which was applied before: the history was rewritten"
        )),
    }
}

fn folder(state: &Path) -> PathBuf {
    state.join(FOLDER)
}

/// Deletes the repositories of GitSyncs that are gone: at the start, when one goes, and once in a while.
pub async fn sweep_for_ever(context: Arc<Context>) {
    context.gitsyncs.wait_until_ready().await;
    loop {
        let kept: BTreeSet<String> = context
            .gitsyncs
            .all()
            .iter()
            .filter_map(|gitsync| gitsync.metadata.uid.clone())
            .collect();
        let folder = folder(&context.shared.config.state_dir);
        let swept = tokio::task::spawn_blocking(move || {
            sweep(&folder, &kept)?;
            Ok::<_, std::io::Error>(sizes(&folder))
        })
        .await;
        match swept {
            Ok(Ok(sizes)) => context.budget.measured_all(sizes),
            Ok(Err(error)) => {
                tracing::warn!(%error, "failed to delete repositories that nobody uses")
            }
            Err(error) => tracing::warn!(%error, "the sweep of repositories failed"),
        }
        let _ = tokio::time::timeout(SWEEP_EVERY, context.gone.notified()).await;
    }
}

/// The sizes of all repositories, by the UID of their GitSync.
fn sizes(folder: &Path) -> HashMap<String, u64> {
    let mut sizes = HashMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if let Some((uid, _)) = name.to_string_lossy().split_once(SUFFIX) {
            *sizes.entry(uid.to_owned()).or_default() += bytes_of(&entry.path());
        }
    }
    sizes
}

/// A name begins with the UID: `<uid>.git` and what the fetch keeps beside it.
fn sweep(folder: &Path, kept: &BTreeSet<String>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some((uid, _)) = name.split_once(SUFFIX) else {
            continue;
        };
        if kept.contains(uid) {
            continue;
        }
        let removed = if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())
        } else {
            std::fs::remove_file(entry.path())
        };
        match removed {
            Ok(()) => tracing::info!(%name, "deleted the repository of a GitSync that is gone"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_of_a_revision_is_what_follows_sha1() {
        assert_eq!(commit_of("main@sha1:abc"), Some("abc"));
        assert_eq!(commit_of("feature@sha1:x@sha1:abc"), Some("abc"));
        assert_eq!(commit_of("sha1:abc"), Some("abc"));
        assert_eq!(commit_of("abc"), None);
    }

    #[test]
    fn only_repositories_of_gitsyncs_that_are_gone_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["kept.git", "gone.git"] {
            std::fs::create_dir_all(folder.path().join(name).join("objects")).unwrap();
            std::fs::write(folder.path().join(format!("{name}.lock")), "").unwrap();
        }
        std::fs::write(folder.path().join("other"), "").unwrap();
        sweep(folder.path(), &BTreeSet::from(["kept".to_owned()])).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["kept.git", "kept.git.lock", "other"]);
        sweep(&folder.path().join("missing"), &BTreeSet::new()).unwrap();
    }
}
