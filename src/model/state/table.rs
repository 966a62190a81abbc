//! The table of the lifecycle as data: every row with a case, its borders with several.

mod objects;
mod rollout;
mod timers;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::api::workspace::Cause;
use crate::model::evidence::{ApplyError, Refusal};
use crate::model::fixtures::*;
use ActualState::*;

/// A row of the table: its name, the evidence, the second at which it is looked at, what it must say.
pub type Row = (
    &'static str,
    &'static str,
    Evidence,
    i64,
    ActualState,
    Option<Cause>,
);

fn refused(while_stopping: bool) -> Option<ApplyError> {
    Some(ApplyError {
        object: "NetworkPolicy api".to_owned(),
        field: Some("spec.egress".to_owned()),
        code: Some(422),
        reason: "Invalid".to_owned(),
        message: "spec.egress: Invalid value".to_owned(),
        while_stopping,
    })
}

fn with(mut evidence: Evidence, change: impl FnOnce(&mut Evidence)) -> Evidence {
    change(&mut evidence);
    evidence
}

/// All cases, in the order of the rows.
pub fn table() -> Vec<Row> {
    [
        objects::refused_or_terminating(),
        objects::missing_or_unclear(),
        timers::starts_that_fail(),
        timers::stops_that_wait(),
        rollout::rollouts(),
        rollout::settled_counts(),
        rollout::no_other_row(),
    ]
    .concat()
}

/// Reasons of `Progressing` and `Available`, as Deployments write them.
const DONE: &str = "NewReplicaSetAvailable";
const ENOUGH: &str = "MinimumReplicasAvailable";
const FEW: &str = "MinimumReplicasUnavailable";

fn ready() -> Option<Vec<Pod>> {
    Some(vec![ready_pod()])
}

fn none() -> Option<Vec<Pod>> {
    Some(Vec::new())
}

fn of(deployment: &Deployment, pods: Option<Vec<Pod>>) -> Evidence {
    evidence(Some(deployment), pods.as_deref())
}

/// A Deployment whose conditions have these reasons; `-` stands for no condition `Available`.
fn reasons(replicas: Value, progressing: &str, available: &str, up: i32, down: i32) -> Deployment {
    let mut pairs = vec![("Progressing", progressing)];
    if available != "-" {
        pairs.push(("Available", available));
    }
    let status = json!({"observedGeneration": 1, "availableReplicas": up, "unavailableReplicas": down, "conditions": conditions(&pairs)});
    let spec = if replicas.is_null() {
        json!({})
    } else {
        json!({"replicas": replicas})
    };
    deployment(json!(1), spec, status)
}

fn asked_to_stop(evidence: &mut Evidence) {
    evidence.timers.stop_requested_at = Some(start());
}

fn deleting(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp = serde_json::from_value(time(1)).unwrap();
    pod
}

fn dead() -> Pod {
    pod(json!({"phase": "Failed", "reason": "Evicted"}))
}
