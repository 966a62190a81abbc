//! Waiting for an object to become what was asked for, with progress.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::cli::error::CliError;
use crate::cli::output::Screen;

/// What an object means for the one who waits.
pub enum Verdict<T> {
    /// It is so.
    Done(T),
    /// Not yet; what to tell meanwhile.
    Waiting(String),
    /// It won't become so.
    Failed(CliError),
}

/// Watches an object until `judge` is done with it. Each new text is shown as progress.
///
/// # Errors
/// When it fails, is deleted, or takes too long.
pub async fn wait_for<K, T>(
    api: Api<K>,
    name: &str,
    limit: Duration,
    screen: &mut Screen,
    judge: impl Fn(&K) -> Verdict<T>,
) -> Result<T, CliError>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut told = String::new();
    let watching = async {
        let stream = watcher::watch_object(api, name).default_backoff();
        let mut stream = std::pin::pin!(stream);
        while let Some(seen) = stream.next().await {
            match seen {
                Ok(Some(object)) => match judge(&object) {
                    Verdict::Done(value) => return Ok(value),
                    Verdict::Failed(error) => return Err(error),
                    Verdict::Waiting(text) => tell(screen, &mut told, text),
                },
                Ok(None) => return Err(CliError::no(format!("{name} was deleted meanwhile"))),
                // The stream heals itself; the limit below ends what can't be healed.
                Err(error) => tell(screen, &mut told, format!("lost sight of it: {error}")),
            }
        }
        Err(CliError::undone(format!("the watch on {name} ended")))
    };
    let outcome = timeout(limit, watching).await;
    outcome.unwrap_or_else(|_| {
        Err(CliError::no(format!("{name} is not yet as wanted after {limit:?}")).seen(told))
    })
}

fn tell(screen: &mut Screen, told: &mut String, text: String) {
    if *told != text {
        screen.progress(&text);
        *told = text;
    }
}
