use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::api::workspace::ActualState;
use crate::model::evidence::{Facts, Observed, PreviousFailure, Refusal};
use crate::model::fixtures::*;
use crate::model::state::actual_state;

/// What is said of a workspace whose only pod is this one, so many seconds after the start was asked for.
fn of_pod(pod: Pod, second: i64) -> (ActualState, Option<Failure>) {
    actual_state(&evidence(Some(&rolling(1)), Some(&[pod])), at(second))
}

fn remembered(evidence: &mut Evidence, cause: Cause, since: i64) {
    evidence.previous = Some(PreviousFailure {
        cause,
        since: Some(at(since)),
    });
}

fn event(kind: &str, name: &str, reason: &str, message: &str) -> Event {
    serde_json::from_value(
        json!({"metadata": {}, "involvedObject": {"kind": kind, "name": name}, "reason": reason,
        "message": message, "lastTimestamp": time(5)}),
    )
    .unwrap()
}

fn claim(phase: &str, node_selected: bool) -> PersistentVolumeClaim {
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
fn with(pod: Pod, claim: Option<&PersistentVolumeClaim>, events: &[Event]) -> Evidence {
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

/// Texts as kubelets, runtimes and registries write them.
#[rstest]
#[case(
    "rpc error: code = NotFound desc = failed to pull and unpack image \"registry.example.com/dev/rust:1.95\": failed to resolve reference \"registry.example.com/dev/rust:1.95\": registry.example.com/dev/rust:1.95: not found",
    Cause::ImageNotFound,
    Blame::User
)]
#[case(
    "manifest unknown: manifest unknown",
    Cause::ImageNotFound,
    Blame::User
)]
#[case(
    "no match for platform in manifest: not found",
    Cause::ImageNotFound,
    Blame::User
)]
#[case(
    "failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized",
    Cause::ImageAuth,
    Blame::User
)]
#[case(
    "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
    Cause::ImageAuth,
    Blame::User
)]
#[case(
    "dial tcp: lookup registry.example.com: no such host",
    Cause::ImagePullTransient,
    Blame::Platform
)]
#[case(
    "net/http: TLS handshake timeout",
    Cause::ImagePullTransient,
    Blame::Platform
)]
#[case(
    "unexpected status from HEAD request: 503 Service Unavailable",
    Cause::ImagePullTransient,
    Blame::Platform
)]
#[case(
    "toomanyrequests: You have reached your pull rate limit",
    Cause::ImagePullTransient,
    Blame::Platform
)]
fn what_a_registry_says_is_told_apart(
    #[case] message: &str,
    #[case] cause: Cause,
    #[case] blame: Blame,
) {
    let (state, failure) = of_pod(waiting_pod("ErrImagePull", message), 5);
    let failure = failure.unwrap();
    assert_eq!(
        (state, failure.cause, failure.blame),
        (ActualState::Starting, cause, blame),
        "{failure:?}"
    );
    assert!(failure.evidence.contains("ErrImagePull") && failure.retryable);
}

#[test]
fn the_name_of_an_image_does_not_decide_what_the_registry_meant() {
    let image = "registry.example.com/unauthorized/denied:1";
    assert_eq!(
        images::classify(&format!("{image}: not found"), image),
        Cause::ImageNotFound
    );
}

#[test]
fn an_invalid_image_name_is_an_image_that_does_not_exist() {
    let (_, failure) = of_pod(
        waiting_pod("InvalidImageName", "couldn't parse image name"),
        5,
    );
    assert_eq!(failure.unwrap().cause, Cause::ImageNotFound);
}

#[test]
fn pull_errors_fail_a_start_after_sixty_seconds_counted_from_when_they_were_first_seen() {
    let mut pulling = evidence(
        Some(&rolling(1)),
        Some(&[waiting_pod("ErrImagePull", "not found")]),
    );
    remembered(&mut pulling, Cause::ImageNotFound, 30);
    assert_eq!(actual_state(&pulling, at(89)).0, ActualState::Starting);
    assert_eq!(next_deadline(&pulling, at(89)), Some(at(90)));
    assert_eq!(actual_state(&pulling, at(90)).0, ActualState::Failed);
}

#[test]
fn a_bare_back_off_keeps_what_was_known_and_asks_events_otherwise() {
    let bare = || {
        waiting_pod(
            "ImagePullBackOff",
            "Back-off pulling image \"registry.example.com/dev/rust:1.95\"",
        )
    };
    let mut known = evidence(Some(&rolling(1)), Some(&[bare()]));
    remembered(&mut known, Cause::ImageAuth, 1);
    assert_eq!(
        actual_state(&known, at(5)).1.unwrap().cause,
        Cause::ImageAuth
    );
    let hinted = with(
        bare(),
        None,
        &[event(
            "Pod",
            "api-1-x",
            "Failed",
            "Failed to pull image \"x\": manifest unknown",
        )],
    );
    assert_eq!(
        actual_state(&hinted, at(5)).1.unwrap().cause,
        Cause::ImageNotFound
    );
    let unknown = evidence(Some(&rolling(1)), Some(&[bare()]));
    assert_eq!(
        actual_state(&unknown, at(5)).1.unwrap().cause,
        Cause::ImagePullTransient
    );
}

#[test]
fn transient_pull_errors_wait_for_the_startup_timer() {
    let mut pulling = evidence(
        Some(&rolling(1)),
        Some(&[waiting_pod("ErrImagePull", "dial tcp: i/o timeout")]),
    );
    remembered(&mut pulling, Cause::ImagePullTransient, 1);
    assert_eq!(actual_state(&pulling, at(299)).0, ActualState::Starting);
    let (state, failure) = actual_state(&pulling, at(300));
    assert_eq!(
        (state, failure.unwrap().cause),
        (ActualState::Failed, Cause::ImagePullTransient)
    );
}

#[test]
fn trouble_with_the_tools_image_is_the_platforms() {
    let message = "failed to pull image \"registry.example.com/workstead:0.1.0\": not found";
    let (_, failure) = of_pod(waiting_pod("ErrImagePull", message), 5);
    let failure = failure.unwrap();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::ToolsUnavailable, Blame::Platform)
    );
}

#[rstest]
#[case("CreateContainerError", "image volume is not supported by the runtime")]
#[case(
    "RunContainerError",
    "exec: \"/opt/workstead/bin/workstead-supervisor\": permission denied"
)]
fn tools_that_can_not_be_mounted_or_run_fail_at_once(#[case] reason: &str, #[case] message: &str) {
    let (state, failure) = of_pod(waiting_pod(reason, message), 5);
    assert_eq!(
        (state, failure.unwrap().cause),
        (ActualState::Failed, Cause::ToolsUnavailable)
    );
}

#[test]
fn a_tool_that_never_ran_in_a_crash_loop_is_the_platforms_too() {
    let exit = json!({"reason": "StartError", "exitCode": 128, "message": "exec /opt/workstead/bin/workstead-supervisor: no such file"});
    let (state, failure) = of_pod(crash_looping(exit), 11);
    let failure = failure.unwrap();
    assert_eq!(
        (state, failure.cause, failure.blame),
        (
            ActualState::Failed,
            Cause::ToolsUnavailable,
            Blame::Platform
        )
    );
}

#[test]
fn a_container_that_can_not_be_made_fails_a_start_after_sixty_seconds() {
    let mut making = evidence(
        Some(&rolling(1)),
        Some(&[waiting_pod(
            "CreateContainerConfigError",
            "secret \"x\" not found",
        )]),
    );
    remembered(&mut making, Cause::ConfigInvalid, 5);
    let (state, failure) = actual_state(&making, at(64));
    assert_eq!(
        (state, failure.as_ref().unwrap().cause),
        (ActualState::Starting, Cause::ConfigInvalid)
    );
    assert!(failure.unwrap().message.contains("secret \"x\" not found"));
    assert_eq!(actual_state(&making, at(65)).0, ActualState::Failed);
}

#[rstest]
#[case(json!({"exitCode": 1, "reason": "Error"}), Cause::CrashLoop, Blame::User)]
#[case(json!({"exitCode": 127, "reason": "Error"}), Cause::CrashLoop, Blame::User)]
#[case(json!({"exitCode": 137, "reason": "OOMKilled"}), Cause::OutOfMemory, Blame::User)]
#[case(json!({"exitCode": 0, "reason": "Completed"}), Cause::MainExited, Blame::User)]
#[case(json!({"exitCode": 137, "reason": "Error"}), Cause::CrashLoop, Blame::User)]
#[case(json!({"exitCode": 128, "reason": "StartError", "message": "bad cwd"}), Cause::ConfigInvalid, Blame::User)]
fn the_last_exit_names_the_cause_of_a_crash_loop(
    #[case] exit: Value,
    #[case] cause: Cause,
    #[case] blame: Blame,
) {
    let (state, failure) = of_pod(crash_looping(exit), 11);
    let failure = failure.unwrap();
    assert_eq!(
        (state, failure.cause, failure.blame),
        (ActualState::Failed, cause, blame)
    );
}

#[rstest]
#[case(json!({"exitCode": 137, "reason": "Error"}), Cause::KilledExternally)]
#[case(json!({"exitCode": 137, "reason": "ContainerStatusUnknown"}), Cause::KilledExternally)]
#[case(json!({"exitCode": 255, "reason": "Error"}), Cause::KilledExternally)]
#[case(json!({"exitCode": 1, "reason": "Error"}), Cause::CrashLoop)]
#[case(json!({"exitCode": 137, "reason": "OOMKilled"}), Cause::OutOfMemory)]
#[case(json!({"exitCode": 0, "reason": "Completed"}), Cause::MainExited)]
fn one_exit_alone_fails_nothing_and_is_shown(#[case] exit: Value, #[case] cause: Cause) {
    let (state, failure) = of_pod(ended_pod(Value::Null, exit, 0), 11);
    assert_eq!(
        (state, failure.unwrap().cause),
        (ActualState::Starting, cause)
    );
}

#[test]
fn an_init_container_that_ended_well_is_no_failure() {
    let mut pod = waiting_pod("PodInitializing", "");
    pod.status.as_mut().unwrap().init_container_statuses = serde_json::from_value(json!([{"name": "init", "image": "x", "imageID": "",
        "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]))
    .unwrap();
    assert_eq!(of_pod(pod, 11), (ActualState::Starting, None));
}

#[test]
fn the_end_of_the_log_is_evidence_without_its_credentials() {
    let log: String = (0..40).map(|n| format!("line {n}\n")).collect();
    let exit =
        json!({"message": format!("{log}fatal: https://alice:hunter2@git.example.com/x: 403\n")});
    let failure = of_pod(crash_looping(exit), 11).1.unwrap();
    assert!(
        failure.evidence.contains("exit code 1") && failure.evidence.contains("line 39"),
        "{}",
        failure.evidence
    );
    assert!(!failure.evidence.contains("hunter2") && !failure.evidence.contains("line 5\n"));
    assert!(failure.evidence.contains("https://***@git.example.com/x"));
}

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

fn rejected_pod(number: i64, created: i64) -> Pod {
    let mut pod = pod(
        json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu"}),
    );
    pod.metadata.name = Some(format!("api-1-{number}"));
    pod.metadata.creation_timestamp = serde_json::from_value(time(created)).unwrap();
    pod
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
#[case(
    Some(409),
    "Conflict",
    "owned by somebody else",
    Blame::Platform,
    false
)]
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
