//! What a GitSync would apply next: its repository, fetched as the controller fetches it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use crate::api::GitSync;
use crate::cli::again::program;
use crate::cli::connect::Connection;
use crate::cli::error::CliError;
use crate::cli::validate;
use crate::controllers::gitsync::{dereference, source};
use crate::gitsync::snapshot::{Source, build};
use crate::gitsync::worker::FetchWorker;
use crate::model::sync::Snapshot;

/// A folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let name = format!("workstead-plan-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Fetches the commit that the GitSync follows. Its Secret must be readable to whoever asks.
///
/// # Errors
/// When it can't be fetched; the error carries the code that the GitSync would show.
pub async fn fetch(connection: &Connection, gitsync: &GitSync) -> Result<Snapshot, CliError> {
    let help = format!(
        "name a checkout of the repository instead: {} plan DIR --gitsync NAME",
        program()
    );
    let help = help.as_str();
    let failed = |error: crate::model::sync::SourceError| {
        CliError::undone("failed to fetch the repository of the GitSync")
            .seen(error)
            .next(help)
    };
    let access = dereference::access(&connection.client, gitsync)
        .await
        .map_err(|error| CliError::from(error).next(help))?;
    let timeout = dereference::times(gitsync)?.timeout;
    let scratch = Scratch::new()?;
    let (request, credentials) =
        source::request(&scratch.0, gitsync, access, timeout, None).map_err(failed)?;
    let worker = FetchWorker::of_this_program()?;
    let fetched = worker
        .fetch(&request, credentials.as_ref())
        .await
        .map_err(|error| {
            CliError::undone("failed to fetch the repository of the GitSync")
                .seen(format!("{} {error}", error.code()))
                .next(help)
        })?;
    let (_, rules) = validate::rules(Some(gitsync), &connection.namespace, &[])?;
    let source = Source {
        commit: fetched.commit,
        revision: fetched.revision,
    };
    Ok(build(fetched.tree.unwrap_or_default(), source, &rules))
}
