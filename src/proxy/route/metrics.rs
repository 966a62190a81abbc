//! Counters of discovery. No label names a user, a workspace or an address.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// A closed set of reasons.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReasonLabels {
    /// Which.
    pub reason: &'static str,
}

/// A kind that is watched.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct KindLabels {
    /// Which.
    pub kind: &'static str,
}

/// What discovery counts. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct RouteMetrics {
    /// Workspaces that have a host.
    pub routes: Gauge,
    /// Objects that were refused, by reason.
    pub refusals: Family<ReasonLabels, Counter>,
    /// Watches that broke, by kind.
    pub watch_errors: Family<KindLabels, Counter>,
    /// How old the picture of the cluster is.
    pub age: Gauge,
    /// First processes that a session is held with.
    pub supervisors: Gauge,
    /// Sessions with first processes that could not be opened, by reason.
    pub supervisor_failures: Family<ReasonLabels, Counter>,
    /// Streams whose right may end.
    pub streams: Gauge,
    /// Streams that were cut, by reason.
    pub cuts: Family<ReasonLabels, Counter>,
}

impl RouteMetrics {
    /// Puts all families into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("proxy");
        registry.register("routes", "Workspaces that have a host", self.routes.clone());
        registry.register(
            "discovery_refusals",
            "Objects that asked to be routed and were refused",
            self.refusals.clone(),
        );
        registry.register(
            "watch_errors",
            "Watches that broke",
            self.watch_errors.clone(),
        );
        registry.register_with_unit(
            "snapshot_age",
            "How old the picture of the cluster is",
            Unit::Seconds,
            self.age.clone(),
        );
        registry.register(
            "supervisor_sessions",
            "First processes that a session is held with",
            self.supervisors.clone(),
        );
        registry.register(
            "supervisor_failures",
            "Sessions with first processes that could not be opened",
            self.supervisor_failures.clone(),
        );
        registry.register(
            "long_streams",
            "Requests whose right is looked at while they last",
            self.streams.clone(),
        );
        registry.register(
            "stream_cuts",
            "Requests that were cut since their right ended",
            self.cuts.clone(),
        );
    }
}
