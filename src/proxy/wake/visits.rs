//! Visits that ask for a start: `status.wake` of a Workspace, the one field of a status that the proxy writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::activity::Wake;
use crate::api::workspace::{ActualState, DesiredState};
use crate::api::{API_VERSION, Workspace};
use crate::model::clock::Clock;
use crate::model::names::PROXY_MANAGER;
use crate::proxy::observe::metrics::ProxyMetrics;
use crate::proxy::route::Route;

/// How long one visit stands for all that follow it.
const PAUSE: Duration = Duration::from_secs(10);
/// Visits that wait to be written. Whoever comes when there are more is asked to come again by the page itself.
const QUEUE: usize = 256;
/// How long a write may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Workspaces whose last visit is remembered.
const REMEMBERED: usize = 16 * 1024;

/// A visit to write down.
struct Visit {
    namespace: String,
    name: String,
    uid: String,
    wake: Wake,
}

/// Takes visits.
pub struct Visits {
    queue: Sender<Visit>,
    last: Mutex<HashMap<Arc<str>, Timestamp>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<ProxyMetrics>,
}

/// Writes them.
pub struct Writer {
    client: Client,
    queue: Receiver<Visit>,
}

impl Visits {
    /// Takes visits, and what writes them.
    pub fn new(
        client: Client,
        clock: Arc<dyn Clock>,
        metrics: Arc<ProxyMetrics>,
    ) -> (Arc<Self>, Writer) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let visits = Self {
            queue: sender,
            last: Mutex::default(),
            clock,
            metrics,
        };
        (Arc::new(visits), Writer { client, queue })
    }

    /// Asks for a start, unless nothing would come of it or somebody just asked.
    pub fn ask(&self, route: &Route, by: Option<&str>) {
        let now = self.clock.now();
        if !can_wake(route) || !self.is_next(&route.uid, now) {
            return;
        }
        let visit = Visit {
            namespace: route.key.namespace.to_string(),
            name: route.key.name.to_string(),
            uid: route.uid.to_string(),
            wake: Wake {
                requested_at: MicroTime(now),
                by: by.map(str::to_owned),
            },
        };
        if self.queue.try_send(visit).is_ok() {
            self.metrics.wakes.inc();
        }
    }

    fn is_next(&self, uid: &Arc<str>, now: Timestamp) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Timestamp| now.duration_since(*at).unsigned_abs() < PAUSE;
        if last.get(uid).is_some_and(is_recent) {
            return false;
        }
        if last.len() >= REMEMBERED {
            last.retain(|_, at| is_recent(at));
        }
        last.insert(uid.clone(), now);
        true
    }
}

/// Whether a visit may start a workspace: it is stopped by a timer, or nobody decides its run state. What a person or a file
/// has stopped stays stopped, and what is terminated is never woken.
pub fn can_wake(route: &Route) -> bool {
    let is_stopped = matches!(
        route.status.actual_state,
        Some(ActualState::Stopped | ActualState::Stopping)
    );
    let is_wanted = !matches!(
        route.asked.desired_state,
        Some(DesiredState::Stopped | DesiredState::Terminated)
    );
    is_stopped && is_wanted
}

impl Writer {
    /// Writes visits until it is told to stop. One that fails is told in the log: the page that waits for it asks again.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(visit)) = stop.run_until_cancelled(self.queue.recv()).await {
            match timeout(DEADLINE, self.write(&visit)).await {
                Ok(Ok(())) => tracing::info!(
                    target: "workstead::audit",
                    namespace = visit.namespace,
                    workspace = visit.name,
                    by = visit.wake.by.as_deref(),
                    "woke a workspace"
                ),
                Ok(Err(error)) => tracing::warn!(
                    namespace = visit.namespace, workspace = visit.name, %error,
                    "failed to ask for the start of a workspace"
                ),
                Err(_) => tracing::warn!(
                    namespace = visit.namespace,
                    workspace = visit.name,
                    "the API server did not take the request for a start in time"
                ),
            }
        }
    }

    async fn write(&self, visit: &Visit) -> Result<(), kube::Error> {
        let api: Api<Workspace> = Api::namespaced(self.client.clone(), &visit.namespace);
        // The UID: a Workspace that was made anew under the name is not woken by a visit to the old one.
        let body = json!({
            "apiVersion": API_VERSION,
            "kind": "Workspace",
            "metadata": {"name": visit.name, "uid": visit.uid},
            "status": {"wake": visit.wake},
        });
        let params = PatchParams::apply(PROXY_MANAGER).force();
        api.patch_status(&visit.name, &params, &Patch::Apply(&body))
            .await
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::api::workspace::WorkspaceStatus;
    use crate::proxy::route::fixtures::route;
    use crate::proxy::route::seen::Seen;

    #[rstest]
    #[case(json!({}), ActualState::Stopped, true)]
    #[case(json!({"desiredState": "Running"}), ActualState::Stopped, true)]
    #[case(json!({}), ActualState::Stopping, true)]
    #[case(json!({"desiredState": "Stopped"}), ActualState::Stopped, false)]
    #[case(json!({"desiredState": "Terminated"}), ActualState::Stopped, false)]
    #[case(json!({}), ActualState::Terminated, false)]
    #[case(json!({}), ActualState::Terminating, false)]
    #[case(json!({}), ActualState::Running, false)]
    #[case(json!({}), ActualState::Failed, false)]
    fn a_visit_wakes_what_a_timer_has_stopped_and_nothing_else(
        #[case] spec: serde_json::Value,
        #[case] state: ActualState,
        #[case] wakes: bool,
    ) {
        let mut route = route(spec, json!({}));
        route.status = Seen::of(WorkspaceStatus {
            actual_state: Some(state),
            ..WorkspaceStatus::default()
        });
        assert_eq!(can_wake(&route), wakes);
    }
}
