//! Objects and strategies for the tests of the pure rooms.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::api::{Workspace, WorkspaceClass};
use crate::model::class::{self, ValidatedClass};
use crate::model::evidence::{Evidence, Facts, Observed, Timers};
use crate::model::identity::ImageReference;
use crate::model::installation::{Cluster, Installation};
use crate::model::names::DnsLabel;
use crate::model::workspace::{Inputs, ValidatedWorkspace, validate};

/// More cases than usual where they are cheap, and still as many as `make test-long` asks for.
pub fn at_least(cases: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases.max(cases),
        ..usual
    }
}

/// The moment at which most tests begin.
pub fn start() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// So many seconds after [`start`].
pub fn at(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

/// As Kubernetes writes a moment.
pub fn time(seconds: i64) -> Value {
    json!(at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

pub fn workspace_with(spec: Value) -> Workspace {
    let mut all =
        json!({"owner": "alice@example.com", "image": "registry.example.com/dev/rust:1.95"});
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "api", "namespace": "team-a", "uid": "5f0e1c9a-0000-4000-8000-000000000001", "generation": 1,
                     "creationTimestamp": time(0)},
        "spec": all,
    }))
    .unwrap()
}

pub fn class_with(spec: Value) -> WorkspaceClass {
    serde_json::from_value(json!({
        "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceClass",
        "metadata": {"name": "standard"}, "spec": spec,
    }))
    .unwrap()
}

pub fn valid_class(spec: Value) -> ValidatedClass {
    let verdict = class::validate(&class_with(spec));
    assert_eq!(verdict.invalid, vec![]);
    verdict.class.unwrap()
}

pub fn installation() -> Installation {
    Installation::new(
        DnsLabel::new("workstead-system").unwrap(),
        ImageReference::new("registry.example.com/workstead:0.1.0").unwrap(),
    )
}

pub const CLUSTER: Cluster = Cluster {
    minor: 36,
    user_namespaces: Some(true),
    image_volumes: None,
};

pub fn validated(workspace: &Workspace, class: &ValidatedClass) -> ValidatedWorkspace {
    let installation = installation();
    validate(&Inputs {
        workspace,
        class,
        exceeded: None,
        volume: None,
        credentials: &[],
        cluster: CLUSTER,
        installation: &installation,
    })
    .unwrap()
}

/// A Deployment with the given spec and status.
pub fn deployment(generation: Value, spec: Value, status: Value) -> Deployment {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "api", "uid": "deployment", "annotations": {"deployment.kubernetes.io/revision": "1"}},
    });
    if !generation.is_null() {
        object["metadata"]["generation"] = generation;
    }
    if !spec.is_null() {
        object["spec"] = json!({"selector": {}, "template": {}});
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
    }
    if !status.is_null() {
        object["status"] = status;
    }
    serde_json::from_value(object).unwrap()
}

/// Conditions of a Deployment by their reasons; an empty reason is a condition without one.
pub fn conditions(pairs: &[(&str, &str)]) -> Value {
    let list: Vec<Value> = pairs
        .iter()
        .map(|(type_, reason)| {
            let mut condition = json!({"type": type_, "status": "True"});
            if !reason.is_empty() {
                condition["reason"] = json!(reason);
            }
            condition
        })
        .collect();
    json!(list)
}

/// A Deployment whose rollout is done.
pub fn settled(replicas: i32, available: i32) -> Deployment {
    let availability = if available >= replicas {
        "MinimumReplicasAvailable"
    } else {
        "MinimumReplicasUnavailable"
    };
    deployment(
        json!(1),
        json!({"replicas": replicas}),
        json!({
            "observedGeneration": 1, "availableReplicas": available, "unavailableReplicas": (replicas - available).max(0),
            "conditions": conditions(&[("Progressing", "NewReplicaSetAvailable"), ("Available", availability)]),
        }),
    )
}

/// A Deployment whose rollout goes on.
pub fn rolling(replicas: i32) -> Deployment {
    deployment(
        json!(1),
        json!({"replicas": replicas}),
        json!({
            "observedGeneration": 1, "unavailableReplicas": replicas,
            "conditions": conditions(&[("Progressing", "ReplicaSetUpdated"), ("Available", "MinimumReplicasUnavailable")]),
        }),
    )
}

pub fn replica_set() -> ReplicaSet {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "api-1", "uid": "set", "annotations": {"deployment.kubernetes.io/revision": "1"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "api", "uid": "deployment", "controller": true}]},
    }))
    .unwrap()
}

/// A pod of the current ReplicaSet with this status.
pub fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "api-1-x", "creationTimestamp": time(1),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api-1", "uid": "set", "controller": true}]},
        "spec": {"containers": [], "nodeName": "node-1"},
        "status": status,
    }))
    .unwrap()
}

/// A pod that serves.
pub fn ready_pod() -> Pod {
    pod(json!({
        "phase": "Running",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": time(1)},
            {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": time(2)},
            {"type": "Ready", "status": "True", "lastTransitionTime": time(4)},
        ],
        "containerStatuses": [{"name": "workspace", "image": "registry.example.com/dev/rust:1.95", "ready": true, "restartCount": 0,
            "containerID": "containerd://1", "imageID": "registry.example.com/dev/rust@sha256:abc", "state": {"running": {"startedAt": time(4)}}}],
    }))
}

/// A pod whose main container waits.
pub fn waiting_pod(reason: &str, message: &str) -> Pod {
    pod(json!({
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": time(1)},
            {"type": "Ready", "status": "False", "lastTransitionTime": time(1)},
        ],
        "containerStatuses": [{"name": "workspace", "image": "registry.example.com/dev/rust:1.95", "imageID": "",
            "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}],
    }))
}

/// A pod whose main container ended, and now does what `state` says.
pub fn ended_pod(state: Value, exit: Value, restarts: i32) -> Pod {
    let mut last = json!({"exitCode": 1, "reason": "Error", "finishedAt": time(10)});
    for (key, value) in exit.as_object().unwrap() {
        last[key] = value.clone();
    }
    let (state, last_state) = if state.is_null() {
        (json!({"terminated": last}), Value::Null)
    } else {
        (state, json!({"terminated": last}))
    };
    pod(json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": time(10)}],
        "containerStatuses": [{"name": "workspace", "image": "registry.example.com/dev/rust:1.95", "imageID": "i",
            "ready": false, "restartCount": restarts, "state": state, "lastState": last_state}],
    }))
}

pub fn crash_looping(exit: Value) -> Pod {
    ended_pod(json!({"waiting": {"reason": "CrashLoopBackOff"}}), exit, 2)
}

pub fn facts(deployment: Option<&Deployment>, pods: Option<&[Pod]>) -> Facts {
    let sets = [replica_set()];
    Facts::of(&Observed {
        deployment,
        replica_sets: &sets,
        pods,
        volume: None,
        events: &[],
    })
}

/// Evidence of a workspace whose start was asked for at [`start`].
pub fn evidence(deployment: Option<&Deployment>, pods: Option<&[Pod]>) -> Evidence {
    Evidence {
        applied_before: true,
        facts: facts(deployment, pods),
        timers: Timers {
            start_requested_at: Some(start()),
            ..Timers::default()
        },
        tools_image: "registry.example.com/workstead:0.1.0".to_owned(),
        ..Evidence::default()
    }
}

/// Any Deployment that the API could hold, as far as states look at it, and nonsense too.
pub fn any_deployment() -> impl Strategy<Value = Deployment> {
    let reason = |reasons: &'static [&'static str]| {
        proptest::option::of(prop::sample::select(reasons.to_vec()))
    };
    let progressing = reason(&[
        "",
        "NewReplicaSetCreated",
        "FoundNewReplicaSet",
        "ReplicaSetUpdated",
        "NewReplicaSetAvailable",
        "ProgressDeadlineExceeded",
        "DeploymentPaused",
        "DeploymentResumed",
        "ReplicaSetCreateError",
    ]);
    let available = reason(&[
        "",
        "MinimumReplicasAvailable",
        "MinimumReplicasUnavailable",
        "Other",
    ]);
    let count = || proptest::option::of(0..4_i32);
    (
        proptest::option::weighted(0.9, count()),
        proptest::option::weighted(
            0.9,
            (progressing, available, count(), count(), any::<bool>()),
        ),
        proptest::option::of(0..3_i64),
    )
        .prop_map(|(spec, status, observed)| {
            let spec = spec.map_or(Value::Null, |replicas| match replicas {
                Some(replicas) => json!({"replicas": replicas}),
                None => json!({}),
            });
            let status = status.map_or(
                Value::Null,
                |(progressing, available, up, down, has_conditions)| {
                    let mut pairs = Vec::new();
                    pairs.extend(progressing.map(|reason| ("Progressing", reason)));
                    pairs.extend(available.map(|reason| ("Available", reason)));
                    let mut status = json!({});
                    if has_conditions || !pairs.is_empty() {
                        status["conditions"] = conditions(&pairs);
                    }
                    for (key, value) in [("availableReplicas", up), ("unavailableReplicas", down)] {
                        if let Some(value) = value {
                            status[key] = json!(value);
                        }
                    }
                    if let Some(observed) = observed {
                        status["observedGeneration"] = json!(observed);
                    }
                    status
                },
            );
            deployment(Value::Null, spec, status)
        })
}

/// Any pod, in trouble or not.
pub fn any_pod() -> impl Strategy<Value = Pod> {
    let waiting = prop::sample::select(vec![
        "ContainerCreating",
        "ErrImagePull",
        "ImagePullBackOff",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "RunContainerError",
        "InvalidImageName",
    ]);
    let message = prop::sample::select(vec![
        "",
        "not found",
        "unauthorized",
        "dial tcp: i/o timeout",
        "Back-off pulling image \"x\"",
        "pull registry.example.com/workstead:0.1.0: not found",
        "/opt/workstead/bin/workstead-supervisor: permission denied",
    ]);
    let exit = (
        prop::sample::select(vec![0, 1, 137, 255]),
        prop::sample::select(vec!["Error", "OOMKilled", "Completed"]),
        -700..700_i64,
    );
    (
        (waiting, message, exit, 0..6_i32, 0..4_u8),
        (prop::sample::select(vec!["Pending", "Running", "Failed", "Succeeded"]), any::<bool>(), any::<bool>(), any::<bool>()),
        (prop::sample::select(vec!["", "Evicted", "OutOfcpu", "NodeLost"]), -700..700_i64, "[a-c]"),
    )
        .prop_map(|((waiting, message, exit, restarts, what), (phase, ready, deleting, scheduled), (reason, created, name))| {
            let terminated = json!({"terminated": {"exitCode": exit.0, "reason": exit.1, "finishedAt": time(exit.2)}});
            let (state, last) = match what {
                0 => (json!({"waiting": {"reason": waiting, "message": message}}), json!({})),
                1 => (json!({"waiting": {"reason": waiting, "message": message}}), terminated),
                2 => (terminated, json!({})),
                _ => (json!({"running": {"startedAt": time(2)}}), terminated),
            };
            let mut object = pod(json!({
                "phase": phase, "reason": reason,
                "conditions": [
                    {"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": time(3)},
                    {"type": "PodScheduled", "status": if scheduled { "True" } else { "False" }, "message": "0/1 nodes: 1 Insufficient cpu."},
                ],
                "containerStatuses": [{"name": "workspace", "image": "x", "imageID": "", "ready": ready && what == 3,
                    "restartCount": restarts, "state": state, "lastState": last}],
            }));
            object.metadata.name = Some(name);
            object.metadata.creation_timestamp = serde_json::from_value(time(created)).unwrap();
            if !scheduled && let Some(spec) = &mut object.spec {
                spec.node_name = None;
            }
            if deleting {
                object.metadata.deletion_timestamp = serde_json::from_value(time(5)).unwrap();
            }
            object
        })
}

/// Any evidence.
pub fn any_evidence() -> impl Strategy<Value = Evidence> {
    use crate::api::workspace::Cause;
    use crate::model::evidence::{ApplyError, PreviousFailure, Refusal, Termination};
    let moment = || proptest::option::of((-700..700_i64).prop_map(at));
    let previous = proptest::option::of((
        prop::sample::select(vec![
            Cause::ImageNotFound,
            Cause::ConfigInvalid,
            Cause::CrashLoop,
            Cause::AdmissionDenied,
        ]),
        moment(),
    ));
    (
        (
            proptest::option::weighted(0.95, any_deployment()),
            proptest::option::weighted(0.9, prop::collection::vec(any_pod(), 0..3)),
        ),
        (
            proptest::option::of(1..4_i64),
            any::<bool>(),
            prop::sample::select(vec![0_u8, 0, 0, 0, 1, 2]),
        ),
        (moment(), moment(), moment(), previous, 0..7_u32),
        (
            proptest::option::weighted(0.2, moment()),
            any::<bool>(),
            any::<bool>(),
            proptest::bool::weighted(0.1),
        ),
    )
        .prop_map(
            |(
                (deployment, pods),
                (generation, applied, termination),
                (begun, stopped, ready, previous, rejected),
                (refusal, error, stopping, waits),
            )| {
                let deployment = deployment.map(|mut deployment| {
                    deployment.metadata.generation = generation;
                    deployment
                });
                let mut evidence = evidence(deployment.as_ref(), pods.as_deref());
                evidence.applied_before = applied;
                evidence.waits = waits;
                evidence.termination = match termination {
                    1 => Termination::InProgress,
                    2 => Termination::Done,
                    _ => Termination::None,
                };
                evidence.timers = Timers {
                    start_requested_at: begun,
                    stop_requested_at: stopped,
                    last_ready_at: ready,
                };
                evidence.previous = previous.map(|(cause, since)| PreviousFailure { cause, since });
                evidence.rejected = rejected;
                evidence.facts.refusal = refusal.map(|since| Refusal {
                    reason: "FailedCreate".to_owned(),
                    message: "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1"
                        .to_owned(),
                    since,
                });
                if error && stopping {
                    evidence.apply_error = Some(ApplyError {
                        object: "Service ws-api".to_owned(),
                        field: None,
                        code: Some(422),
                        reason: "Invalid".to_owned(),
                        message: "no".to_owned(),
                        while_stopping: generation.is_some(),
                    });
                }
                evidence
            },
        )
}

/// Names and values for labels.
pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
