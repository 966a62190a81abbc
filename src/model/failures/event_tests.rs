//! What only Events say.

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::tests::{claim, event, of_pod, with};
use super::*;
use crate::api::workspace::ActualState;
use crate::model::fixtures::*;
use crate::model::state::actual_state;

/// A pod whose node has, or has not, made the sandbox.
fn with_sandbox(status: &str) -> Pod {
    let mut pod = waiting_pod("ContainerCreating", "");
    let conditions = pod.status.as_mut().unwrap().conditions.as_mut().unwrap();
    let sandbox = json!({"type": "PodReadyToStartContainers", "status": status, "lastTransitionTime": time(2)});
    conditions.push(serde_json::from_value(sandbox).unwrap());
    pod
}

#[test]
fn a_mount_that_failed_before_the_sandbox_was_made_explains_nothing_any_more() {
    let failed = [event("Pod", "api-1-x", "FailedMount", "timed out")];
    let bound = claim("Bound", true);
    let before = with(with_sandbox("False"), Some(&bound), &failed);
    let cause = actual_state(&before, at(5)).1.map(|failure| failure.cause);
    assert_eq!(cause, Some(Cause::VolumeMount));
    let after = with(with_sandbox("True"), Some(&bound), &failed);
    assert_eq!(actual_state(&after, at(5)), (ActualState::Starting, None));
}

#[test]
fn a_mount_that_failed_before_the_sandbox_did_explains_nothing_any_more() {
    let mut events = [
        event("Pod", "api-1-x", "FailedMount", "claim is forbidden"),
        event("Pod", "api-1-x", "FailedCreatePodSandBox", "no runtime"),
    ];
    events[0].last_timestamp = serde_json::from_value(time(3)).unwrap();
    events[1].last_timestamp = serde_json::from_value(time(4)).unwrap();
    let bound = claim("Bound", true);
    let at_deadline = |events: &[_]| {
        let evidence = with(with_sandbox("False"), Some(&bound), events);
        actual_state(&evidence, at(300)).1.unwrap()
    };
    let failure = at_deadline(&events);
    assert_eq!(failure.cause, Cause::StartupTimeout);
    assert!(failure.evidence.contains("no runtime"));
    // After another try of a node that began anew the mount counts again.
    events[0].last_timestamp = serde_json::from_value(time(5)).unwrap();
    assert_eq!(at_deadline(&events).cause, Cause::VolumeMount);
}

#[test]
fn what_fails_is_said_rather_than_the_summary_of_what_waits() {
    let summary = "Unable to attach or mount volumes: unmounted volumes=[home]: timed out";
    let mut events = [
        event("Pod", "api-1-x", "FailedMount", "mount.nfs: access denied"),
        event("Pod", "api-1-x", "FailedMount", summary),
    ];
    events[0].last_timestamp = serde_json::from_value(time(3)).unwrap();
    events[1].last_timestamp = serde_json::from_value(time(4)).unwrap();
    let bound = claim("Bound", true);
    let said = |events: &[_]| {
        let evidence = with(with_sandbox("False"), Some(&bound), events);
        actual_state(&evidence, at(5)).1.unwrap().message
    };
    assert!(said(&events).ends_with("access denied"));
    assert!(said(&events[1..]).ends_with(summary));
}

#[test]
fn a_sandbox_that_can_not_be_made_is_named_when_the_time_is_over() {
    let text = "no runtime for \"gvisor\" is configured";
    let events = [event("Pod", "api-1-x", "FailedCreatePodSandBox", text)];
    let bound = claim("Bound", true);
    let at_deadline = |pod| {
        let (state, failure) = actual_state(&with(pod, Some(&bound), &events), at(300));
        assert_eq!(state, ActualState::Failed);
        let failure = failure.unwrap();
        assert_eq!(
            (failure.cause, failure.blame),
            (Cause::StartupTimeout, Blame::Platform)
        );
        failure
    };
    let stuck = at_deadline(with_sandbox("False"));
    assert!(stuck.evidence.contains(text), "{}", stuck.evidence);
    assert!(stuck.message.ends_with("can't make the sandbox of the pod"));
    assert!(stuck.next_step.contains("runtime class"));
    let past_it = at_deadline(with_sandbox("True"));
    assert!(!past_it.evidence.contains(text));
}

#[test]
fn out_of_memory_names_the_limit_that_the_pod_had() {
    let mut pod = crash_looping(json!({"exitCode": 137, "reason": "OOMKilled"}));
    let spec = pod.spec.as_mut().unwrap();
    spec.containers = serde_json::from_value(json!([
        {"name": "workspace", "resources": {"limits": {"memory": "512Mi"}}},
    ]))
    .unwrap();
    let failure = of_pod(pod, 11).1.unwrap();
    assert_eq!(failure.cause, Cause::OutOfMemory);
    assert!(failure.message.ends_with("its limit of 512Mi"));
    assert!(failure.next_step.contains("memory above 512Mi"));
}
