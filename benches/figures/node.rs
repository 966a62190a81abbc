//! Starts on the real node: what Workstead adds to a bare pod, and how often it writes.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use workstead::api::Workspace;
use workstead::api::workspace::ActualState;
use workstead::testkit::wait::within;

use crate::results::{Figure, percentile};

const ROUNDS: usize = 12;
/// How many Workspaces are there beside those that are measured.
const MANY: usize = 1000;
const LIMIT: Duration = Duration::from_secs(90);

/// start-overhead and writes-per-start, from the same starts. Workspace and bare pod take turns.
pub(crate) async fn starts() -> Vec<Figure> {
    let client = connect().await;
    let namespace = mk_namespace(&client).await;
    let mut ours = Vec::new();
    let mut bare = Vec::new();
    for round in 0..=ROUNDS {
        let name = format!("round-{round}");
        let (start, pod) = workspace_start(&client, &namespace, &name).await;
        let yardstick = bare_start(&client, &namespace, &name, &pod).await;
        // The first round warms the caches of both.
        if round > 0 {
            ours.push(start);
            bare.push(yardstick);
        }
    }
    let figures = vec![overhead(&ours, &bare), writes(&namespace)];
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces
        .delete(&namespace, &DeleteParams::background())
        .await
        .unwrap();
    figures
}

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
        // The status may be seen before the pod: the two watches are not ordered.
        let elapsed = running.saturating_duration_since(ready).as_secs_f64() * 1000.0;
        if round > 0 {
            times.push(elapsed);
        }
    }
    Api::<Namespace>::all(client)
        .delete(&namespace, &DeleteParams::background())
        .await
        .unwrap();
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

fn state(workspace: &Workspace) -> Option<ActualState> {
    workspace
        .status
        .as_ref()
        .and_then(|status| status.actual_state)
}

fn is_ready(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|s| s.conditions.as_ref())
        .is_some_and(|conditions| {
            conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        })
}

fn workspace(name: &str) -> Value {
    let image = std::env::var("E2E_DEBIAN_IMAGE")
        .unwrap_or_else(|_| "localhost/workstead-workspace-debian:dev".to_owned());
    json!({
        "apiVersion": "workstead.dev/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "spec": {
            "owner": "bench@example.com",
            "className": "standard",
            "image": image,
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            "storage": {"size": "1Gi"},
        },
    })
}

fn overhead(ours: &[f64], bare: &[f64]) -> Figure {
    let (start, yardstick) = (percentile(ours, 0.5), percentile(bare, 0.5));
    let more = ((start - yardstick) * 10.0).round() / 10.0;
    Figure {
        id: "start-overhead",
        value: more,
        unit: "ms, p50",
        yardstick: Some(format!(
            "a bare pod of the same spec with a new PVC: {yardstick} ms; Workspace created to Running: {start} ms"
        )),
        ratio: Some(start / yardstick),
        bar: "at most +150 ms",
        met: more <= 150.0,
        rounds: ours.len(),
    }
}

/// Counted in the API server's audit log: the controller's writes in the namespace, without Events and Leases.
fn writes(namespace: &str) -> Figure {
    let log = std::env::var("E2E_AUDIT_LOG").expect("E2E_AUDIT_LOG names the audit log");
    let text = std::fs::read_to_string(log).unwrap();
    let writes = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| {
            let user = event["user"]["username"].as_str().unwrap_or_default();
            let verb = event["verb"].as_str().unwrap_or_default();
            let resource = event["objectRef"]["resource"].as_str().unwrap_or_default();
            event["objectRef"]["namespace"] == namespace
                && event["stage"] == "ResponseComplete"
                && user.ends_with(":workstead-controller")
                && ["create", "update", "patch", "delete"].contains(&verb)
                && !["events", "leases"].contains(&resource)
        })
        .count();
    let starts = ROUNDS + 1;
    let each = (writes as f64 / starts as f64 * 10.0).round() / 10.0;
    Figure {
        id: "writes-per-start",
        value: each,
        unit: "API writes",
        yardstick: None,
        ratio: None,
        bar: "at most 15",
        met: each <= 15.0,
        rounds: starts,
    }
}

/// Created to Running, in milliseconds; gives the pod too. It stays: deleting it would be counted.
async fn workspace_start(client: &Client, namespace: &str, name: &str) -> (f64, Pod) {
    let api: Api<Workspace> = Api::namespaced(client.clone(), namespace);
    let elapsed = timed(&api, name, &workspace(name), |w: &Workspace| {
        state(w) == Some(ActualState::Running)
    })
    .await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = format!("workstead.dev/workspace={name}");
    let list = pods
        .list(&ListParams::default().labels(&selector))
        .await
        .unwrap();
    (elapsed, list.items.into_iter().next().unwrap())
}

/// A pod of the same spec with a new PVC of the same class, created to Ready, in milliseconds.
async fn bare_start(client: &Client, namespace: &str, name: &str, like: &Pod) -> f64 {
    let bare = format!("bare-{name}");
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let claim = claims.get(&format!("{name}-home")).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let template = deployments.get(name).await.unwrap().spec.unwrap().template;
    let mut spec = json!(template.spec);
    for volume in spec["volumes"].as_array_mut().unwrap() {
        if !volume["persistentVolumeClaim"].is_null() {
            volume["persistentVolumeClaim"]["claimName"] = json!(bare);
        }
    }
    assert_eq!(
        json!(like.spec)["containers"][0]["image"],
        spec["containers"][0]["image"]
    );
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": bare},
        "spec": {
            "accessModes": claim.spec.as_ref().unwrap().access_modes,
            "resources": claim.spec.as_ref().unwrap().resources,
            "storageClassName": claim.spec.as_ref().unwrap().storage_class_name,
        },
    });
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": bare}, "spec": spec});
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let begin = Instant::now();
    create(&claims, &claim).await;
    let elapsed = timed(&pods, &bare, &pod, is_ready).await;
    // The claim is part of it, as it is of ours.
    let whole = begin.elapsed().as_secs_f64() * 1000.0;
    pods.delete(&bare, &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    elapsed.max(whole)
}

async fn create<K>(api: &Api<K>, value: &Value)
where
    K: kube::Resource<DynamicType = ()>
        + DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug,
{
    let object: K = serde_json::from_value(value.clone()).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// Creates an object and watches it until it is as wanted; milliseconds from the request on.
async fn timed<K>(api: &Api<K>, name: &str, value: &Value, wanted: impl Fn(&K) -> bool) -> f64
where
    K: kube::Resource<DynamicType = ()>
        + DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug
        + Send
        + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(api.clone(), config).touched_objects());
    // The watch stands before the object is made: until then there is nothing to see.
    let primed = within(Duration::from_millis(300), || async { None::<()> });
    tokio::select! {
        _ = events.next() => panic!("{name} is there already"),
        _ = primed => {}
    }
    let begin = Instant::now();
    create(api, value).await;
    let seen = async {
        while let Some(object) = events.try_next().await.unwrap() {
            if object.name_any() == name && wanted(&object) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, seen)
        .await
        .unwrap_or_else(|_| panic!("{name} did not start"));
    begin.elapsed().as_secs_f64() * 1000.0
}

async fn mk_namespace(client: &Client) -> String {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace =
        serde_json::from_value(json!({"metadata": {"generateName": "bench-"}})).unwrap();
    api.create(&PostParams::default(), &namespace)
        .await
        .unwrap()
        .name_any()
}

async fn connect() -> Client {
    let path = std::env::var("E2E_KUBECONFIG")
        .expect("E2E_KUBECONFIG names the cluster; `make bench` makes one and sets it");
    let read = Kubeconfig::read_from(path).unwrap();
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}
