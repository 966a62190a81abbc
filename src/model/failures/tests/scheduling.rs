//! Pods without a node or a volume, pods that are refused, and pods that are lost.

use k8s_openapi::api::core::v1::Pod;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[test]
fn a_pod_that_no_node_takes_names_the_resource() {
    let message = "0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu. preemption: 0/3 nodes are available.";
    let mut waits = evidence(Some(&rolling(1)), Some(&[unscheduled(message)]));
    let (state, failure) = actual_state(&waits, at(299));
    let failure = failure.unwrap();
    assert_eq!(
        (state, failure.cause, failure.blame),
        (ActualState::Starting, Cause::Unschedulable, Blame::Platform)
    );
    assert!(
        failure.next_step.contains("cpu, memory"),
        "{}",
        failure.next_step
    );
    assert_eq!(actual_state(&waits, at(300)).0, ActualState::Failed);
    waits.fits_some_node = Some(false);
    assert_eq!(actual_state(&waits, at(1)).1.unwrap().blame, Blame::User);
}

#[rstest]
#[case("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.")]
#[case("0/1 nodes are available: 1 node(s) had volume node affinity conflict.")]
#[case("persistentvolumeclaim \"api-home\" not found")]
fn a_pod_that_waits_for_its_volume_is_not_unschedulable(#[case] message: &str) {
    assert_eq!(
        of_pod(unscheduled(message), 5).1.unwrap().cause,
        Cause::VolumeBind
    );
}

#[test]
fn the_provisioner_is_heard_before_the_scheduler_that_waits_for_it() {
    let events = [event(
        "PersistentVolumeClaim",
        "api-home",
        "ProvisioningFailed",
        "storageclass \"fast\" not found",
    )];
    let waits = unscheduled(
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
    );
    let told = |phase: &str| {
        let evidence = with(waits.clone(), Some(&claim(phase, false)), &events);
        actual_state(&evidence, at(5)).1.unwrap().evidence
    };
    assert!(told("Pending").contains("storageclass \"fast\" not found"));
    // An Event outlives what it tells of.
    assert!(told("Bound").contains("unbound immediate"));
}

#[test]
fn a_claim_that_waits_for_a_node_is_normal_and_one_that_can_not_be_provisioned_is_not() {
    let mut pod = unscheduled("");
    pod.status.as_mut().unwrap().conditions = None;
    let normal = with(pod.clone(), Some(&claim("Pending", true)), &[]);
    assert_eq!(actual_state(&normal, at(5)), (ActualState::Starting, None));
    let (state, failure) = actual_state(&normal, at(300));
    assert_eq!(
        (state, failure.unwrap().cause),
        (ActualState::Failed, Cause::VolumeBind)
    );
    let failing = with(
        pod,
        Some(&claim("Pending", false)),
        &[event(
            "PersistentVolumeClaim",
            "api-home",
            "ProvisioningFailed",
            "storageclass \"fast\" not found",
        )],
    );
    let failure = actual_state(&failing, at(5)).1.unwrap();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::VolumeBind, Blame::Platform)
    );
    assert!(
        failure.evidence.contains("storageclass \"fast\" not found")
            && failure.next_step.contains("StorageClass fast")
    );
}

#[test]
fn a_volume_that_can_not_be_mounted_is_shown_and_forgotten_when_the_container_began() {
    let events = [event(
        "Pod",
        "api-1-x",
        "FailedAttachVolume",
        "Multi-Attach error for volume \"pvc-1\": used by pod(s) old",
    )];
    let failure = actual_state(
        &with(
            waiting_pod("ContainerCreating", ""),
            Some(&claim("Bound", true)),
            &events,
        ),
        at(5),
    )
    .1
    .unwrap();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::VolumeMount, Blame::Platform)
    );
    assert!(
        failure.next_step.contains("still holds the volume"),
        "{}",
        failure.next_step
    );
    let began = with(
        waiting_pod("ErrImagePull", "not found"),
        Some(&claim("Bound", true)),
        &events,
    );
    assert_eq!(
        actual_state(&began, at(5)).1.unwrap().cause,
        Cause::ImageNotFound
    );
}

fn refused(message: &str, since: i64, second: i64) -> (ActualState, Option<Failure>) {
    let mut evidence = evidence(Some(&rolling(1)), Some(&[]));
    evidence.facts.refusal = Some(Refusal {
        reason: "FailedCreate".into(),
        message: message.into(),
        since: Some(at(since)),
    });
    actual_state(&evidence, at(second))
}

#[rstest]
#[case(
    "pods \"api-1-x\" is forbidden: exceeded quota: team-quota, requested: pods=1, used: pods=4, limited: pods=4",
    Cause::QuotaExceeded,
    Blame::User,
    "team-quota"
)]
#[case(
    "admission webhook \"policy.example.com\" denied the request: no",
    Cause::AdmissionDenied,
    Blame::Platform,
    "policy.example.com"
)]
#[case(
    "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'no-latest' with binding 'b' denied request: no",
    Cause::AdmissionDenied,
    Blame::Platform,
    "no-latest"
)]
#[case(
    "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": x",
    Cause::AdmissionDenied,
    Blame::Platform,
    "Pod Security"
)]
fn a_pod_that_may_not_be_made_names_who_refused_it(
    #[case] message: &str,
    #[case] cause: Cause,
    #[case] blame: Blame,
    #[case] who: &str,
) {
    let (state, failure) = refused(message, 10, 39);
    let failure = failure.unwrap();
    assert_eq!(
        (state, failure.cause, failure.blame),
        (ActualState::Starting, cause, blame)
    );
    assert!(failure.next_step.contains(who), "{}", failure.next_step);
    assert_eq!(refused(message, 10, 40).0, ActualState::Failed);
}

#[test]
fn a_refusal_that_is_older_than_the_start_is_timed_from_the_start() {
    assert_eq!(refused("denied", -1000, 29).0, ActualState::Starting);
    assert_eq!(refused("denied", -1000, 30).0, ActualState::Failed);
}

#[test]
fn nodes_that_refuse_a_pod_five_times_within_ten_minutes_fail_a_start() {
    let pods: Vec<Pod> = (0..4).map(|n| rejected_pod(n, 10 + n)).collect();
    let mut four = evidence(Some(&rolling(1)), Some(&pods));
    four.deadlines.startup = crate::model::duration::Span::from_seconds(3600);
    let (state, failure) = actual_state(&four, at(20));
    assert_eq!(
        (state, failure.unwrap().cause),
        (ActualState::Starting, Cause::NodeRejected)
    );
    // One more was deleted already, and is remembered in the status.
    four.rejected = 1;
    let (state, failure) = actual_state(&four, at(20));
    let failure = failure.unwrap();
    assert_eq!(
        (state, failure.blame),
        (ActualState::Failed, Blame::Platform)
    );
    assert!(failure.evidence.contains("5 times"), "{}", failure.evidence);
    assert_eq!(actual_state(&four, at(613)).0, ActualState::Starting);
}

#[rstest]
#[case(json!({"phase": "Failed", "reason": "Evicted", "message": "low on resource: memory"}), Cause::Evicted)]
#[case(json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]}), Cause::Evicted)]
#[case(json!({"phase": "Running", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]}), Cause::NodeLost)]
#[case(json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}]}), Cause::NodeLost)]
fn a_pod_that_was_taken_away_explains_a_start_that_nothing_else_explains(
    #[case] status: Value,
    #[case] cause: Cause,
) {
    let mut gone = pod(status);
    gone.metadata.name = Some("api-1-gone".to_owned());
    gone.metadata.creation_timestamp = serde_json::from_value(time(0)).unwrap();
    gone.metadata.deletion_timestamp = serde_json::from_value(time(9)).unwrap();
    let creating = evidence(
        Some(&rolling(1)),
        Some(&[gone.clone(), waiting_pod("ContainerCreating", "")]),
    );
    let (state, failure) = actual_state(&creating, at(20));
    let failure = failure.unwrap();
    assert_eq!(
        (state, failure.cause, failure.blame),
        (ActualState::Starting, cause, Blame::Platform)
    );
    assert!(failure.next_step.contains("/projects is kept"));
    let pulling = evidence(
        Some(&rolling(1)),
        Some(&[gone, waiting_pod("ErrImagePull", "not found")]),
    );
    assert_eq!(
        actual_state(&pulling, at(20)).1.unwrap().cause,
        Cause::ImageNotFound
    );
}

#[test]
fn a_node_that_does_not_answer_explains_a_pod_that_is_ready_no_more() {
    let mut silent = ready_pod();
    let of_pod = silent.status.as_mut().unwrap().conditions.as_mut().unwrap();
    of_pod[2].status = "False".to_owned();
    let events = [event("Pod", "api-1-x", "NodeNotReady", "Node is not ready")];
    let failure = actual_state(&with(silent.clone(), None, &events), at(20))
        .1
        .unwrap();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::NodeLost, Blame::Platform)
    );
    assert_eq!(actual_state(&with(silent, None, &[]), at(20)).1, None);
}
