mod containers;
mod images;
mod scheduling;

use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::api::workspace::ActualState;
use crate::model::evidence::{Facts, Observed, PreviousFailure, Refusal};
use crate::model::fixtures::*;
use crate::model::state::actual_state;

/// What is said of a workspace whose only pod is this one, so many seconds after the start was asked for.
pub(super) fn of_pod(pod: Pod, second: i64) -> (ActualState, Option<Failure>) {
    actual_state(&evidence(Some(&rolling(1)), Some(&[pod])), at(second))
}

fn remembered(evidence: &mut Evidence, cause: Cause, since: i64) {
    evidence.previous = Some(PreviousFailure {
        cause,
        since: Some(at(since)),
    });
}

pub(super) fn event(kind: &str, name: &str, reason: &str, message: &str) -> Event {
    serde_json::from_value(
        json!({"metadata": {}, "involvedObject": {"kind": kind, "name": name}, "reason": reason,
        "message": message, "lastTimestamp": time(5)}),
    )
    .unwrap()
}

pub(super) fn claim(phase: &str, node_selected: bool) -> PersistentVolumeClaim {
    let annotations = if node_selected {
        json!({"volume.kubernetes.io/selected-node": "node-1"})
    } else {
        json!({})
    };
    serde_json::from_value(
        json!({"metadata": {"name": "api-home", "annotations": annotations},
        "spec": {"storageClassName": "fast"}, "status": {"phase": phase}}),
    )
    .unwrap()
}

/// Evidence with a claim and Events.
pub(super) fn with(pod: Pod, claim: Option<&PersistentVolumeClaim>, events: &[Event]) -> Evidence {
    let pods = [pod];
    let deployment = rolling(1);
    let sets = [replica_set()];
    let mut evidence = evidence(Some(&deployment), Some(&pods));
    evidence.facts = Facts::of(&Observed {
        deployment: Some(&deployment),
        replica_sets: &sets,
        pods: Some(&pods),
        volume: claim,
        events,
    });
    evidence
}

fn unscheduled(message: &str) -> Pod {
    let mut pod = pod(json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message, "lastTransitionTime": time(1)}]}));
    pod.spec.as_mut().unwrap().node_name = None;
    pod
}

fn rejected_pod(number: i64, created: i64) -> Pod {
    let mut pod = pod(
        json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu"}),
    );
    pod.metadata.name = Some(format!("api-1-{number}"));
    pod.metadata.creation_timestamp = serde_json::from_value(time(created)).unwrap();
    pod
}

#[test]
fn a_stuck_stop_names_node_and_finalizers_and_warns_against_force() {
    let mut pod = ready_pod();
    pod.metadata.deletion_timestamp = serde_json::from_value(time(1)).unwrap();
    let mut stuck = evidence(Some(&settled(0, 0)), Some(&[pod.clone()]));
    stuck.timers.stop_requested_at = Some(start());
    let failure = actual_state(&stuck, at(120)).1.unwrap();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::StopStuck, Blame::Platform)
    );
    assert!(
        failure.evidence.contains("node-1") && failure.next_step.contains("never force"),
        "{failure:?}"
    );
    pod.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    let mut held = evidence(Some(&settled(0, 0)), Some(&[pod]));
    held.timers.stop_requested_at = Some(start());
    assert!(
        actual_state(&held, at(120))
            .1
            .unwrap()
            .next_step
            .contains("example.com/hold")
    );
}

#[rstest]
#[case(Some(422), "Invalid", "x", Blame::User, false)]
#[case(Some(400), "BadRequest", "x", Blame::User, false)]
#[case(Some(403), "Forbidden", "exceeded quota: q", Blame::User, false)]
#[case(Some(403), "Forbidden", "denied by policy", Blame::Platform, false)]
#[case(Some(409), "Foreign", "owned by somebody else", Blame::Platform, false)]
#[case(Some(409), "Conflict", "somebody was faster", Blame::Platform, true)]
#[case(Some(429), "TooManyRequests", "x", Blame::Platform, true)]
#[case(Some(500), "InternalError", "x", Blame::Platform, true)]
#[case(None, "", "connection reset", Blame::Platform, true)]
fn what_the_api_server_answers_decides_blame_and_retry(
    #[case] code: Option<u16>,
    #[case] reason: &str,
    #[case] message: &str,
    #[case] blame: Blame,
    #[case] retryable: bool,
) {
    let failure = apply_rejected(&ApplyError {
        object: "Service ws-api".into(),
        field: Some("spec.ports".into()),
        code,
        reason: reason.into(),
        message: message.into(),
        while_stopping: false,
    });
    assert_eq!((failure.blame, failure.retryable), (blame, retryable));
    assert!(
        failure.message.contains("Service ws-api")
            && failure.message.contains("spec.ports")
            && failure.message.contains(message)
    );
}

#[test]
fn what_an_earlier_workspace_left_is_waited_for_in_words_of_its_own() {
    let failure = apply_rejected(&ApplyError {
        object: "Deployment api".into(),
        field: None,
        code: None,
        reason: ApplyError::LEFTOVER.into(),
        message: "Deployment team/api of an earlier Workspace of this name is still there".into(),
        while_stopping: false,
    });
    let told = format!(
        "{} {} {}",
        failure.message, failure.evidence, failure.next_step
    );
    assert!(
        !told.contains("no answer") && !told.contains("409"),
        "{told}"
    );
    assert!(
        failure
            .evidence
            .starts_with("Leftover: Deployment team/api of an earlier")
    );
    assert!(
        failure
            .next_step
            .contains("garbage collection takes Deployment api away")
    );
}

#[test]
fn a_start_that_takes_too_long_says_how_far_it_came() {
    let said = |pod: Option<Pod>| {
        let pods: Vec<Pod> = pod.into_iter().collect();
        startup_timeout(&evidence(Some(&rolling(1)), Some(&pods))).message
    };
    assert!(said(None).ends_with("no pod was made"));
    assert!(said(Some(unscheduled(""))).ends_with("the pod has no node yet"));
    assert!(
        said(Some(waiting_pod("ContainerCreating", "")))
            .ends_with("the image is still being pulled")
    );
}

#[test]
fn the_earliest_step_is_reported_first() {
    let mut evidence = evidence(
        Some(&rolling(1)),
        Some(&[waiting_pod("ErrImagePull", "not found")]),
    );
    let mut gone = evidence.facts.pods.clone().unwrap()[0].clone();
    gone.name = "older".to_owned();
    gone.phase = "Failed".to_owned();
    gone.reason = Some("Evicted".to_owned());
    gone.created = Some(at(-5));
    evidence.facts.pods.as_mut().unwrap().push(gone);
    let steps: Vec<Step> = suspects(&evidence, at(5))
        .iter()
        .map(|suspect| suspect.step)
        .collect();
    assert_eq!(steps, [Step::Image, Step::Disruption]);
}

#[test]
fn nobody_is_suspected_while_a_pod_serves_or_none_is_wanted() {
    let failed = {
        let mut pod = rejected_pod(1, 0);
        pod.status.as_mut().unwrap().reason = Some("Evicted".to_owned());
        pod
    };
    let serves = evidence(Some(&settled(1, 1)), Some(&[failed, ready_pod()]));
    assert_eq!(suspects(&serves, at(5)), vec![]);
    let stopped = evidence(Some(&settled(0, 0)), Some(&[crash_looping(json!({}))]));
    assert_eq!(suspects(&stopped, at(5)), vec![]);
}
