//! Metric families. Every label has few values that are known beforehand: names of objects, owners and messages never
//! become labels.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Which controller, and how a pass of it ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReconcileLabels {
    /// `workspace`, `workspaceclass`, `workspacevariables` or `gitsync`.
    pub controller: &'static str,
    /// `ok` or `error`.
    pub outcome: &'static str,
}

/// Which controller.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ControllerLabels {
    /// `workspace`, `workspaceclass`, `workspacevariables` or `gitsync`.
    pub controller: &'static str,
}

/// Which controller, and what kind of error: a closed set, the error's `category()`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ErrorLabels {
    /// `workspace`, `workspaceclass`, `workspacevariables` or `gitsync`.
    pub controller: &'static str,
    /// The error's category.
    pub category: &'static str,
}

/// A request to the API server.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestLabels {
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// `ok`, `conflict`, `client_error`, `server_error`, `timeout`, `transport` or `not_leader`.
    pub outcome: &'static str,
}

/// A watch, by the kind that it watches.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct WatchLabels {
    /// The kind.
    pub kind: &'static str,
}

/// A state of a Workspace.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StateLabels {
    /// The state, as status names it.
    pub state: &'static str,
}

/// A failure of a Workspace.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct FailureLabels {
    /// The cause, as status names it.
    pub cause: &'static str,
    /// `user` or `platform`: failures of users page nobody.
    pub blame: &'static str,
}

/// How the opening of a sealed text ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OpenedLabels {
    /// `ok` or `refused`.
    pub outcome: &'static str,
}

/// An identity that opens sealed texts. There are at most eight at a time, and people make them one by one.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct IdentityLabels {
    /// The fingerprint of its recipient, which is public.
    pub identity: String,
}

/// Families that can be written out.
pub trait Families: Send + Sync + 'static {
    /// All of them in the OpenMetrics text format.
    ///
    /// # Errors
    /// When one can't be written, which its types rule out.
    fn encode(&self) -> Result<String, fmt::Error>;
}

/// All families, and the registry that writes them out.
pub struct Metrics {
    registry: Registry,
    /// Passes by controller and outcome.
    pub reconciles: Family<ReconcileLabels, Counter>,
    /// How long passes took.
    pub reconcile_seconds: Family<ControllerLabels, Histogram>,
    /// Errors of passes by category.
    pub errors: Family<ErrorLabels, Counter>,
    /// Objects that wait for their back-off to be over.
    pub backing_off: Family<ControllerLabels, Gauge>,
    /// Requests to the API server by verb and outcome. `patch`, `create`, `update` and `delete` are the writes.
    pub api_requests: Family<RequestLabels, Counter>,
    /// Writes that were not sent because the live object already was as wanted.
    pub writes_skipped: Counter,
    /// Watches that broke, by kind.
    pub watch_errors: Family<WatchLabels, Counter>,
    /// Objects of ours that can't be read and are left alone, by kind.
    pub unreadable_objects: Family<WatchLabels, Gauge>,
    /// 1 while this process holds the lease.
    pub leader: Gauge,
    /// Workspaces by state.
    pub workspaces: Family<StateLabels, Gauge>,
    /// Failures that began, by cause and blame.
    pub failures: Family<FailureLabels, Counter>,
    /// Sealed texts that were opened, by outcome: each once for a process, so that it does not grow when nothing changes.
    pub opened_sets: Family<OpenedLabels, Counter>,
    /// Sets by the identity that opened them: what still depends on an old one.
    pub sets_by_identity: Family<IdentityLabels, Gauge>,
    /// From the request to start to Running.
    pub start_seconds: Histogram,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes and registers every family, under the prefix `workstead_`.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("workstead");
        let reconciles = Family::default();
        registry.register("reconciles", "Passes over an object", reconciles.clone());
        let reconcile_seconds =
            Family::new_with_constructor(duration_histogram as fn() -> Histogram);
        registry.register(
            "reconcile_seconds",
            "How long a pass took",
            reconcile_seconds.clone(),
        );
        let errors = Family::default();
        registry.register("reconcile_errors", "Passes that failed", errors.clone());
        let backing_off = Family::default();
        registry.register(
            "backing_off",
            "Objects that wait for their back-off to be over",
            backing_off.clone(),
        );
        let api_requests = Family::default();
        registry.register(
            "api_requests",
            "Requests to the API server",
            api_requests.clone(),
        );
        let writes_skipped = Counter::default();
        registry.register(
            "writes_skipped",
            "Writes left out since the live object already was as wanted",
            writes_skipped.clone(),
        );
        let watch_errors = Family::default();
        registry.register("watch_errors", "Watches that broke", watch_errors.clone());
        let unreadable_objects = Family::default();
        registry.register(
            "unreadable_objects",
            "Objects that this release can't read and leaves alone",
            unreadable_objects.clone(),
        );
        let leader = Gauge::default();
        registry.register("leader", "1 while this process leads", leader.clone());
        let workspaces = Family::default();
        registry.register("workspaces", "Workspaces by state", workspaces.clone());
        let failures = Family::default();
        registry.register("failures", "Failures that began", failures.clone());
        let opened_sets = Family::default();
        registry.register(
            "variables_opened",
            "Sealed texts that were opened",
            opened_sets.clone(),
        );
        let sets_by_identity = Family::default();
        registry.register(
            "variables_sets",
            "WorkspaceVariables by the identity that opened them",
            sets_by_identity.clone(),
        );
        // 50 ms to about 27 minutes: the longest startup timer that a class allows by default is an hour.
        let start_seconds = Histogram::new(exponential_buckets(0.05, 2.0, 16));
        registry.register(
            "start_seconds",
            "From the request to start to Running",
            start_seconds.clone(),
        );
        Self {
            registry,
            reconciles,
            reconcile_seconds,
            errors,
            backing_off,
            api_requests,
            writes_skipped,
            watch_errors,
            unreadable_objects,
            leader,
            workspaces,
            failures,
            opened_sets,
            sets_by_identity,
            start_seconds,
        }
    }

    /// All families in the OpenMetrics text format.
    ///
    /// # Errors
    /// When a family can't be written, which its types rule out.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Families for Metrics {
    fn encode(&self) -> Result<String, fmt::Error> {
        Self::encode(self)
    }
}

fn duration_histogram() -> Histogram {
    // 1 ms to about 16 s: a pass is a handful of API calls, each with a deadline of 10 s.
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_passes_show_up_in_the_text() {
        let metrics = Metrics::new();
        metrics
            .reconciles
            .get_or_create(&ReconcileLabels {
                controller: "workspace",
                outcome: "ok",
            })
            .inc();
        let text = metrics.encode().unwrap();
        assert!(
            text.contains(r#"workstead_reconciles_total{controller="workspace",outcome="ok"} 1"#),
            "{text}"
        );
    }
}
