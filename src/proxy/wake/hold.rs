//! Requests that wait until a workspace is there: WebSockets, and calls of programs that would make nothing of a page.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::api::workspace::ActualState;
use crate::proxy::observe::metrics::ProxyMetrics;
use crate::proxy::route::{Route, Table};

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Something changed for the better: decide anew.
    Ready,
    /// It took too long, or will not come to be.
    Over,
    /// Too many wait already.
    Full,
}

/// How many may wait, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For one workspace.
    pub per_workspace: u32,
    /// Of one person.
    pub per_user: u32,
    /// How long.
    pub longest: Duration,
}

/// Those who wait.
pub struct Held {
    bounds: Bounds,
    counts: Mutex<HashMap<String, u32>>,
    metrics: Arc<ProxyMetrics>,
}

/// A place among those who wait.
struct Place<'a> {
    held: &'a Held,
    names: Vec<String>,
}

impl Held {
    /// Nobody yet.
    pub fn new(bounds: Bounds, metrics: Arc<ProxyMetrics>) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            counts: Mutex::default(),
            metrics,
        })
    }

    /// Waits until the workspace runs and has a pod, or will not.
    pub async fn wait(&self, table: &Table, route: &Route, who: Option<&str>) -> Waited {
        let Some(place) = self.take(route, who) else {
            return Waited::Full;
        };
        let waited = timeout(self.bounds.longest, until_there(table, route)).await;
        drop(place);
        match waited {
            Ok(true) => Waited::Ready,
            Ok(false) | Err(_) => Waited::Over,
        }
    }

    fn take(&self, route: &Route, who: Option<&str>) -> Option<Place<'_>> {
        let workspace = (
            format!("workspace {}", route.uid),
            self.bounds.per_workspace,
        );
        let person = who.map(|who| (format!("user {who}"), self.bounds.per_user));
        let wanted: Vec<_> = [Some(workspace), person].into_iter().flatten().collect();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full =
            |(name, most): &(String, u32)| counts.get(name).copied().unwrap_or(0) >= *most;
        if wanted.iter().any(is_full) {
            return None;
        }
        let names: Vec<String> = wanted.into_iter().map(|(name, _)| name).collect();
        for name in &names {
            *counts.entry(name.clone()).or_default() += 1;
        }
        self.metrics.held.inc();
        Some(Place { held: self, names })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let counts = &self.held.counts;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &self.names {
            if let Some(count) = counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(name);
                }
            }
        }
        self.held.metrics.held.dec();
    }
}

async fn until_there(table: &Table, route: &Route) -> bool {
    let mut changes = table.subscribe();
    loop {
        changes.mark_unchanged();
        let routes = table.snapshot();
        let current = routes
            .find(route.name())
            .filter(|current| current.uid == route.uid);
        let Some(current) = current else { return false };
        match current.status.actual_state {
            Some(ActualState::Running) if current.pod().is_some() => return true,
            Some(
                ActualState::Failed
                | ActualState::Error
                | ActualState::Terminating
                | ActualState::Terminated,
            ) => return false,
            _ => {}
        }
        drop(routes);
        if changes.changed().await.is_err() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::workspace::WorkspaceStatus;
    use crate::proxy::route::Backend;
    use crate::proxy::route::fixtures::{route, routes};
    use crate::proxy::route::metrics::RouteMetrics;
    use crate::proxy::route::seen::Seen;

    const SHORT: Duration = Duration::from_millis(20);

    fn at(state: ActualState, is_there: bool) -> Route {
        let mut route = route(json!({}), json!({}));
        route.status = Seen::of(WorkspaceStatus {
            actual_state: Some(state),
            ..WorkspaceStatus::default()
        });
        if !is_there {
            route.backend = Backend::None;
        }
        route
    }

    fn held(per_workspace: u32, per_user: u32, longest: Duration) -> Arc<Held> {
        let bounds = Bounds {
            per_workspace,
            per_user,
            longest,
        };
        Held::new(
            bounds,
            Arc::new(ProxyMetrics::new(&RouteMetrics::default())),
        )
    }

    #[tokio::test]
    async fn a_request_goes_on_when_the_workspace_is_there_and_ends_when_it_fails() {
        for (next, expected) in [
            (at(ActualState::Running, true), Waited::Ready),
            (at(ActualState::Failed, false), Waited::Over),
            (at(ActualState::Terminated, false), Waited::Over),
        ] {
            let table = Table::default();
            let starting = at(ActualState::Starting, false);
            table.publish(routes([starting.clone()]));
            let held = held(1, 1, Duration::from_secs(60));
            let (waited, ()) = tokio::join!(held.wait(&table, &starting, Some("alice")), async {
                // Running without a pod is not there yet.
                table.publish(routes([at(ActualState::Running, false)]));
                tokio::time::sleep(Duration::from_millis(20)).await;
                assert_eq!(held.metrics.held.get(), 1);
                table.publish(routes([next]));
            });
            assert_eq!(waited, expected);
            assert_eq!(held.metrics.held.get(), 0);
        }
    }

    #[tokio::test]
    async fn waiting_has_an_end_and_so_has_the_number_of_those_who_wait() {
        let table = Table::default();
        let starting = at(ActualState::Starting, false);
        table.publish(routes([starting.clone()]));
        for (held, second, expected) in [
            (held(1, 9, SHORT), "bob", Waited::Full),
            (held(9, 1, SHORT), "alice", Waited::Full),
            (held(9, 1, SHORT), "bob", Waited::Over),
        ] {
            let (first, other) = tokio::join!(
                held.wait(&table, &starting, Some("alice")),
                held.wait(&table, &starting, Some(second))
            );
            assert_eq!((first, other), (Waited::Over, expected));
        }
    }

    #[tokio::test]
    async fn a_workspace_that_was_made_anew_is_not_the_one_that_was_waited_for() {
        let table = Table::default();
        let starting = at(ActualState::Starting, false);
        let mut other = at(ActualState::Running, true);
        other.uid = "another".into();
        table.publish(routes([other]));
        let waited = held(1, 1, Duration::from_secs(60))
            .wait(&table, &starting, None)
            .await;
        assert_eq!(waited, Waited::Over);
    }
}
