//! What a transition takes among many Workspaces.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use workstead::api::Workspace;
use workstead::api::workspace::ActualState;
use workstead::testkit::kubelet::is_ready;
use workstead::testkit::wait::within;

use crate::cluster::{LIMIT, connect, create, delete, mk_namespace, no_pods, state, workspace};
use crate::results::{Figure, percentile};

/// Starts that are measured: enough for a 95th percentile.
const ROUNDS: usize = 60;
/// How many Workspaces are there beside those that are measured.
const MANY: usize = 1000;

/// From the pod's Ready to the status Running, both as one client sees them, among many Workspaces.
pub(crate) async fn ready_to_running() -> Figure {
    let client = connect().await;
    let namespace = mk_namespace(&client).await;
    let workspaces: Api<Workspace> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    futures::stream::iter(0..MANY)
        .for_each_concurrent(8, async |number| {
            let mut stopped = workspace(&format!("many-{number}"));
            stopped["spec"]["desiredState"] = json!("Stopped");
            create(&workspaces, &stopped).await;
        })
        .await;
    let settled = within(Duration::from_secs(600), || async {
        let list = workspaces.list(&ListParams::default()).await.unwrap();
        list.items
            .iter()
            .all(|w| state(w) == Some(ActualState::Stopped))
            .then_some(())
    })
    .await;
    assert!(settled.is_some(), "{MANY} Workspaces did not settle");
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let name = format!("round-{round}");
        let label = watcher::Config::default().labels(&format!("workstead.dev/workspace={name}"));
        let field = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let ready = first(
            watcher(pods.clone(), label).touched_objects(),
            |pod: &Pod| is_ready(pod),
        );
        let running = first(
            watcher(workspaces.clone(), field).touched_objects(),
            |w: &Workspace| state(w) == Some(ActualState::Running),
        );
        let measured = workspace(&name);
        let started = create(&workspaces, &measured);
        let (ready, running, ()) = tokio::join!(ready, running, started);
        // The two watches are not ordered: the status may be seen first, which counts as it was seen.
        let late = running.saturating_duration_since(ready).as_secs_f64();
        let early = ready.saturating_duration_since(running).as_secs_f64();
        if round > 0 {
            times.push((late - early) * 1000.0);
        }
        delete(&workspaces, &name).await;
        no_pods(
            &client,
            &namespace,
            &format!("workstead.dev/workspace={name}"),
        )
        .await;
    }
    delete(&Api::<Namespace>::all(client), &namespace).await;
    let value = percentile(&times, 0.95);
    Figure {
        id: "ready-to-running",
        value,
        unit: "ms, p95",
        yardstick: None,
        ratio: None,
        bar: "at most 100 ms with 1,000 Workspaces present",
        met: value <= 100.0,
        rounds: times.len(),
    }
}

/// When a watch first shows an object as wanted.
async fn first<K>(
    events: impl futures::Stream<Item = Result<K, watcher::Error>>,
    wanted: impl Fn(&K) -> bool,
) -> Instant {
    let mut events = std::pin::pin!(events);
    let seen = async {
        while let Some(object) = events.try_next().await.unwrap() {
            if wanted(&object) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, seen)
        .await
        .expect("it starts in time");
    Instant::now()
}
