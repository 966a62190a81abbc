//! How passes of every controller are counted, logged and tried again.

use std::collections::HashMap;
use std::error::Error;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use kube::runtime::watcher;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::controllers::backoff::{Backoff, BackoffSettings};
use crate::controllers::cache::Key;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{ControllerLabels, ErrorLabels, ReconcileLabels};

/// When a failed pass is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Somebody was faster: what they wrote is looked at now. If that happens again and again it is no accident any more,
    /// and waits like all else.
    AtOnce,
    /// Transient: after a wait that grows.
    BackOff,
    /// Only a person can help: when something changes.
    OnChange,
    /// Not at all: the object goes away together with its namespace. This is no trouble that anybody need hear of.
    Never,
}

/// So often in a row an object is tried again at once. A webhook may answer 409 for ever, and a cache whose watch broke is
/// behind for as long as the watch backs off.
const AT_ONCE: u32 = 5;
/// Just not in the same moment.
const SOON: Duration = Duration::from_millis(5);

/// What every error of a pass says about itself.
pub trait PassError: Error + Send + 'static {
    /// A closed set: label of the metric.
    fn category(&self) -> &'static str;
    /// When it is tried again.
    fn retry(&self) -> Retry;
}

/// How a pass ended, as kube's controller tells it.
type Ended<K, E> = Result<(ObjectRef<K>, Action), controller::Error<E, watcher::Error>>;

/// The passes of one controller.
#[derive(Debug)]
pub struct Passes {
    controller: &'static str,
    metrics: Arc<Metrics>,
    backoff: Backoff<Key>,
    /// Conflicts in a row, by object.
    conflicts: Mutex<HashMap<Key, u32>>,
}

impl Passes {
    /// No pass yet.
    pub fn new(controller: &'static str, metrics: Arc<Metrics>, backoff: BackoffSettings) -> Self {
        Self {
            controller,
            metrics,
            backoff: Backoff::new(backoff),
            conflicts: Mutex::default(),
        }
    }

    /// Runs one pass and counts it.
    ///
    /// # Errors
    /// That of the pass.
    pub async fn count<T, E: PassError>(
        &self,
        key: &Key,
        pass: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begin = Instant::now();
        let result = pass.await;
        let controller = self.controller;
        self.metrics
            .reconcile_seconds
            .get_or_create(&ControllerLabels { controller })
            .observe(begin.elapsed().as_secs_f64());
        let outcome = if result.is_ok() { "ok" } else { "error" };
        self.metrics
            .reconciles
            .get_or_create(&ReconcileLabels {
                controller,
                outcome,
            })
            .inc();
        if result.is_ok() {
            self.forget(key);
        }
        result
    }

    /// What to do after a pass that failed.
    pub fn failed<E: PassError>(&self, key: &Key, error: &E) -> Action {
        let category = error.category();
        if error.retry() == Retry::Never {
            tracing::debug!(controller = self.controller, object = %key, error = chain(error), "a pass ended early");
            return Action::await_change();
        }
        self.metrics
            .errors
            .get_or_create(&ErrorLabels {
                controller: self.controller,
                category,
            })
            .inc();
        let action = match error.retry() {
            Retry::AtOnce if self.hurries(key) => Action::requeue(SOON),
            Retry::AtOnce | Retry::BackOff => {
                Action::requeue(self.backoff.failed(key.clone(), rand::random()))
            }
            Retry::OnChange | Retry::Never => Action::await_change(),
        };
        self.show_backing_off();
        tracing::warn!(
            controller = self.controller,
            object = %key,
            category,
            error = chain(error),
            "a pass failed"
        );
        action
    }

    /// Whether the next conflict of an object is tried again at once, and need not be told of.
    pub fn may_hurry(&self, key: &Key) -> bool {
        self.conflicts().get(key).copied().unwrap_or(0) < AT_ONCE
    }

    /// Counts a conflict. Returns whether it is tried again at once.
    fn hurries(&self, key: &Key) -> bool {
        let mut conflicts = self.conflicts();
        let count = conflicts.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count <= AT_ONCE
    }

    fn conflicts(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.conflicts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How often an object failed in a row.
    pub fn failures_of(&self, key: &Key) -> u32 {
        self.backoff.failures(key)
    }

    /// Forgets the failures of an object that succeeded or went away.
    pub fn forget(&self, key: &Key) {
        self.backoff.reset(key);
        self.conflicts().remove(key);
        self.show_backing_off();
    }

    fn show_backing_off(&self) {
        let count = i64::try_from(self.backoff.len()).unwrap_or(i64::MAX);
        self.metrics
            .backing_off
            .get_or_create(&ControllerLabels {
                controller: self.controller,
            })
            .set(count);
    }

    /// Runs a controller's stream to its end. Passes were logged when they failed; what is left are troubles of the
    /// controller itself.
    ///
    /// A graceful shutdown ends the watches and lets passes end. Before the first list is there the controller waits
    /// for it, and would wait for ever: then it is ended at once.
    pub async fn drain<K, E>(
        &self,
        stream: impl Stream<Item = Ended<K, E>>,
        store: Store<K>,
        shutdown: &CancellationToken,
    ) where
        K: Lookup + Clone + 'static,
        K::DynamicType: Eq + Hash + Clone,
        E: Error + 'static,
    {
        let ended_early = async {
            tokio::select! {
                biased;
                Ok(()) = store.wait_until_ready() => std::future::pending().await,
                () = shutdown.cancelled() => {}
            }
        };
        tokio::select! {
            () = self.log(stream) => {}
            () = ended_early => {}
        }
    }

    async fn log<K, E>(&self, stream: impl Stream<Item = Ended<K, E>>)
    where
        K: Lookup,
        E: Error + 'static,
    {
        let mut stream = std::pin::pin!(stream);
        while let Some(item) = stream.next().await {
            match item {
                // Logged by `failed`. An object that was deleted meanwhile needs no pass.
                Ok(_)
                | Err(controller::Error::ReconcilerFailed(..))
                | Err(controller::Error::ObjectNotFound(_)) => {}
                Err(error) => {
                    tracing::warn!(controller = self.controller, %error, "the controller stumbled");
                }
            }
        }
    }
}

/// An error with what is behind it. kube's errors print their own sources, so it ends there.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut at = error;
    let is_kubes =
        |error: &(dyn Error + 'static)| error.is::<kube::Error>() || error.is::<Box<kube::Error>>();
    while !is_kubes(at) {
        let Some(source) = at.source() else { break };
        text.push_str(": ");
        text.push_str(&source.to_string());
        at = source;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to do it")]
    struct Outer(#[source] Box<kube::Error>);

    #[derive(Debug, thiserror::Error)]
    #[error("somebody was faster")]
    struct Conflict;

    impl PassError for Conflict {
        fn category(&self) -> &'static str {
            "conflict"
        }

        fn retry(&self) -> Retry {
            Retry::AtOnce
        }
    }

    #[test]
    fn conflicts_are_tried_again_at_once_a_few_times_and_then_with_growing_pauses() {
        let settings = BackoffSettings::default();
        let passes = Passes::new("workspace", Arc::new(Metrics::new()), settings);
        let (key, other) = (Key::new("team", "dev"), Key::new("team", "other"));
        for _ in 0..AT_ONCE {
            assert!(passes.may_hurry(&key));
            assert_eq!(passes.failed(&key, &Conflict), Action::requeue(SOON));
        }
        assert!(!passes.may_hurry(&key) && passes.may_hurry(&other));
        for failures in 1..4 {
            assert_ne!(passes.failed(&key, &Conflict), Action::requeue(SOON));
            assert_eq!(passes.failures_of(&key), failures);
        }
        passes.forget(&key);
        assert_eq!(passes.failed(&key, &Conflict), Action::requeue(SOON));
    }

    #[test]
    fn a_chain_says_everything_once() {
        let inner = kube::Error::Service("it broke".into());
        let text = chain(&Outer(Box::new(inner)));
        assert_eq!(text, "failed to do it: ServiceError: it broke");
    }
}
