//! What the login asks of workspaces, and what decisions ask of a session.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::proxy::host::RequestHost;
use crate::proxy::login::outside::{Directory, Event, Place, Record};
use crate::proxy::observe::metrics::{LoginLabels, ProxyMetrics};
use crate::proxy::route::{Freshness, Route, Table};
use crate::proxy::session::Epochs;

/// The workspace behind a route, for a login.
pub fn place(route: &Route) -> Place {
    let groups = route.shared().map(|shared| shared.groups.clone());
    Place {
        uid: route.uid.to_string(),
        owner: route.owner().to_owned(),
        groups: groups.unwrap_or_default(),
    }
}

/// Answers from the routes.
pub struct FromRoutes {
    /// Which host leads where.
    pub table: Arc<Table>,
    /// How old that is.
    pub freshness: Arc<Freshness>,
    /// What ended before its time.
    pub epochs: Arc<ArcSwap<Epochs>>,
}

impl Directory for FromRoutes {
    fn workspace(&self, host: &RequestHost) -> Option<Place> {
        self.table.load().of_host(host).map(|route| place(route))
    }

    fn names_group(&self, group: &str) -> bool {
        self.table.load().names_group(group)
    }

    fn is_fresh(&self) -> bool {
        self.table.is_synced() && self.freshness.stage().may_begin()
    }

    fn epochs(&self) -> Arc<Epochs> {
        self.epochs.load_full()
    }
}

/// Counts each step, and writes it down.
pub struct Counted<R> {
    /// Where it is written.
    pub written: R,
    /// The counters.
    pub metrics: Arc<ProxyMetrics>,
}

impl<R: Record> Record for Counted<R> {
    fn record(&self, event: &Event<'_>) {
        let labels = LoginLabels {
            step: event.step.label(),
            outcome: event.outcome,
        };
        self.metrics.logins.get_or_create(&labels).inc();
        self.written.record(event);
    }
}
