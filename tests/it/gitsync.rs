//! The Git door against real Git servers, and the offline verdict against the real API server.

mod fetch;
mod hostile;
mod verdict;

use std::path::Path;

use tempfile::TempDir;
use workstead::api::gitsync::GitReference;
use workstead::gitsync::FetchWorker;
use workstead::gitsync::fetch::{Credentials, FetchError, FetchLimits, FetchRequest, Fetched};
use workstead::gitsync::rules::{TreeLimits, TreeRules};
use zeroize::Zeroizing;

/// A client with a cache of its own.
struct Client {
    // Removed with the client.
    _folder: TempDir,
    worker: FetchWorker,
    request: FetchRequest,
    credentials: Option<Credentials>,
}

impl Client {
    fn of(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            worker: FetchWorker::new(env!("CARGO_BIN_EXE_workstead")),
            request: FetchRequest {
                repository: folder.path().join("cache/repository.git"),
                url: url.to_owned(),
                reference: GitReference::default(),
                authority: None,
                timeout_ms: 20_000,
                limits: FetchLimits::default(),
                applied: None,
                known: None,
                tree: TreeRules::new("", "", TreeLimits::default()).unwrap(),
            },
            _folder: folder,
            credentials: None,
        }
    }

    fn branch(mut self, branch: &str) -> Self {
        self.request.reference.branch = Some(branch.to_owned());
        self
    }

    fn basic(mut self, username: &str, password: &str) -> Self {
        self.credentials = Some(Credentials::Basic {
            username: Zeroizing::new(username.to_owned()),
            password: Zeroizing::new(password.to_owned()),
        });
        self
    }

    fn bearer(mut self, token: &str) -> Self {
        self.credentials = Some(Credentials::Bearer {
            token: Zeroizing::new(token.to_owned()),
        });
        self
    }

    fn timeout(mut self, milliseconds: u64) -> Self {
        self.request.timeout_ms = milliseconds;
        self
    }

    fn cache(&self) -> &Path {
        &self.request.repository
    }

    async fn fetch(&self) -> Result<Fetched, FetchError> {
        self.worker
            .fetch(&self.request, self.credentials.as_ref())
            .await
    }

    /// Fetches, and takes the commit as applied and known.
    async fn follow(&mut self) -> Fetched {
        let fetched = self.fetch().await.unwrap();
        self.request.applied = Some(fetched.commit.clone());
        self.request.known = Some(fetched.commit.clone());
        fetched
    }
}

/// The files of what was fetched, by path.
fn files(fetched: &Fetched) -> Vec<(&str, String)> {
    let tree = fetched.tree.as_ref().expect("a tree");
    tree.files
        .iter()
        .map(|file| {
            (
                file.path.as_str(),
                String::from_utf8_lossy(&file.content).into_owned(),
            )
        })
        .collect()
}

/// What was wrong with entries of the tree, by path.
fn refused(fetched: &Fetched) -> Vec<(&str, &str)> {
    let tree = fetched.tree.as_ref().expect("a tree");
    tree.errors
        .iter()
        .map(|error| {
            (
                error.file.as_deref().unwrap_or_default(),
                error.message.as_str(),
            )
        })
        .collect()
}
