//! Starts on the real node: what Workstead adds to a bare pod, and how often it writes.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    Namespace, PersistentVolumeClaim, PersistentVolumeClaimSpec, Pod,
};
use kube::Client;
use kube::api::Api;
use serde_json::{Value, json};
use workstead::api::Workspace;
use workstead::api::workspace::WorkspaceStatus;
use workstead::testkit::kubelet::is_ready;

use crate::audit::{self, Start};
use crate::cluster::{Eye, connect, create, delete, mk_namespace, no_pods, runs, workspace};
use crate::results::{Figure, percentile};

/// Starts that are measured, for the median.
const STARTS: usize = 30;
/// A moment in which nothing is written any more.
const QUIET: Duration = Duration::from_millis(500);

/// start-overhead, writes-per-start and tools-overhead, from the same starts: a Workspace, a bare pod of the same spec and
/// one without anything of ours take turns, and in who goes first.
pub(crate) async fn starts() -> Vec<Figure> {
    let client = connect().await;
    let namespace = mk_namespace(&client).await;
    // The first start of each warms the caches, and shows what a bare pod has to be like.
    workspace_start(&client, &namespace, "first").await;
    let same = Like::of(&client, &namespace, "first").await;
    let plain = same.without_ours();
    bare_start(&client, &namespace, "first", &same).await;
    bare_start(&client, &namespace, "first", &plain).await;
    let (mut ours, mut starts) = (Vec::new(), Vec::new());
    let (mut of_same, mut of_plain) = (Vec::new(), Vec::new());
    for round in 0..STARTS {
        let name = format!("round-{round}");
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => of_same.push(bare_start(&client, &namespace, &name, &same).await),
                1 => of_plain.push(bare_start(&client, &namespace, &name, &plain).await),
                _ => {
                    let (elapsed, start) = workspace_start(&client, &namespace, &name).await;
                    ours.push(elapsed);
                    starts.push(start);
                    end(&client, &namespace, &name).await;
                }
            }
        }
    }
    let mut figures = vec![
        overhead("start-overhead", "of the same spec", &ours, &of_same),
        overhead("tools-overhead", "without Workstead", &ours, &of_plain),
    ];
    figures.extend(audit::writes(&namespace, &starts));
    let namespaces: Api<Namespace> = Api::all(client);
    delete(&namespaces, &namespace).await;
    figures
}

/// Deletes a Workspace and waits until its pods are gone.
pub(crate) async fn end(client: &Client, namespace: &str, name: &str) {
    let workspaces: Api<Workspace> = Api::namespaced(client.clone(), namespace);
    delete(&workspaces, name).await;
    let labels = format!("workstead.dev/workspace={name}");
    no_pods(client, namespace, &labels).await;
}

fn overhead(id: &'static str, like: &str, ours: &[f64], bare: &[f64]) -> Figure {
    let (start, yardstick) = (percentile(ours, 0.5), percentile(bare, 0.5));
    let more = ((start - yardstick) * 10.0).round() / 10.0;
    Figure {
        id,
        value: more,
        unit: "ms, p50",
        yardstick: Some(format!(
            "a bare pod {like} with a new PVC: {yardstick} ms; Workspace created to Running: {start} ms"
        )),
        ratio: Some(start / yardstick),
        bar: "at most +150 ms",
        met: more <= 150.0,
        rounds: ours.len(),
    }
}

/// Created to Running, in milliseconds.
async fn workspace_start(client: &Client, namespace: &str, name: &str) -> (f64, Start) {
    let api: Api<Workspace> = Api::namespaced(client.clone(), namespace);
    let mut eye = Eye::on(&api, name).await;
    let (from, begin) = (Timestamp::now(), Instant::now());
    create(&api, &workspace(name)).await;
    // As it is created: no state, no condition, no step.
    let (mut shown, mut transitions) = (what_may_change(&WorkspaceStatus::default()), 0);
    let mut runs = |workspace: &Workspace| {
        let now = what_may_change(&workspace.status.clone().unwrap_or_default());
        transitions += usize::from(now != shown);
        shown = now;
        runs(workspace)
    };
    eye.until(&mut runs).await;
    let elapsed = begin.elapsed().as_secs_f64() * 1000.0;
    // What is written just then is told a moment later: nothing more comes when both counts end.
    let quiet = eye.until(|workspace| {
        runs(workspace);
        false
    });
    drop(tokio::time::timeout(QUIET, quiet).await);
    let start = Start {
        from,
        to: Timestamp::now(),
        transitions,
    };
    (elapsed, start)
}

/// What of a status changes in a transition: state, conditions without their words, and the steps of the timeline.
fn what_may_change(status: &WorkspaceStatus) -> Vec<String> {
    let conditions = status.conditions.iter();
    let steps = status.timeline.iter();
    std::iter::once(format!("{:?}", status.actual_state))
        .chain(conditions.map(|c| format!("{} {} {}", c.type_, c.status, c.reason)))
        .chain(steps.map(|step| format!("{:?}", step.step)))
        .collect()
}

/// What a bare pod is made like.
pub(crate) struct Like {
    /// Its spec, with a volume of the claim.
    pub(crate) spec: Value,
    claim: PersistentVolumeClaimSpec,
}

impl Like {
    /// Like the pod and the claim of a Workspace.
    pub(crate) async fn of(client: &Client, namespace: &str, name: &str) -> Self {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
        let claim = claims.get(&format!("{name}-home")).await.unwrap();
        let deployment = deployments.get(name).await.unwrap();
        Self {
            spec: json!(deployment.spec.unwrap().template.spec),
            claim: claim.spec.unwrap(),
        }
    }

    /// The same image and volume as they would be without Workstead: nothing is mounted, and the image's own program is
    /// the first process.
    pub(crate) fn without_ours(&self) -> Self {
        let mut spec = self.spec.clone();
        let volumes = spec["volumes"].as_array_mut().unwrap();
        volumes.retain(|volume| !volume["persistentVolumeClaim"].is_null());
        let kept: Vec<Value> = volumes.iter().map(|v| v["name"].clone()).collect();
        let container = spec["containers"][0].as_object_mut().unwrap();
        let mounts = container["volumeMounts"].as_array_mut().unwrap();
        mounts.retain(|mount| kept.contains(&mount["name"]));
        for field in ["args", "env", "readinessProbe"] {
            container.remove(field);
        }
        container.insert("command".to_owned(), json!(["sleep", "infinity"]));
        // It does not listen when it is told to end.
        spec["terminationGracePeriodSeconds"] = json!(1);
        Self {
            spec,
            claim: self.claim.clone(),
        }
    }
}

/// A pod with a new PVC of the same class, created to Ready, in milliseconds.
async fn bare_start(client: &Client, namespace: &str, name: &str, like: &Like) -> f64 {
    let bare = format!("bare-{name}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut eye = Eye::on(&pods, &bare).await;
    let begin = Instant::now();
    mk_bare(client, namespace, &bare, like).await;
    eye.until(is_ready).await;
    let elapsed = begin.elapsed().as_secs_f64() * 1000.0;
    end_bare(client, namespace, &bare).await;
    elapsed
}

/// Makes a bare pod and its claim.
pub(crate) async fn mk_bare(client: &Client, namespace: &str, bare: &str, like: &Like) {
    let mut spec = like.spec.clone();
    for volume in spec["volumes"].as_array_mut().unwrap() {
        if !volume["persistentVolumeClaim"].is_null() {
            volume["persistentVolumeClaim"]["claimName"] = json!(bare);
        }
    }
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": bare},
        "spec": {
            "accessModes": like.claim.access_modes,
            "resources": like.claim.resources,
            "storageClassName": like.claim.storage_class_name,
        },
    });
    let metadata = json!({"name": bare, "labels": {"bench": bare}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    create(&claims, &claim).await;
    create(&pods, &pod).await;
}

/// Deletes a bare pod and waits until it is gone; its claim goes too.
pub(crate) async fn end_bare(client: &Client, namespace: &str, bare: &str) {
    delete(&Api::<Pod>::namespaced(client.clone(), namespace), bare).await;
    no_pods(client, namespace, &format!("bench={bare}")).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    delete(&claims, bare).await;
}
