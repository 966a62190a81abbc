//! Containers that can't be made, and containers that end.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

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
fn a_pod_whose_mounts_were_refused_is_no_failure_of_the_start_that_went_over() {
    let mut pod = waiting_pod("CreateContainerError", "image volume is not supported");
    let volumes = json!([{"name": "tools", "image": {"reference": "x"}}]);
    pod.spec.as_mut().unwrap().volumes = serde_json::from_value(volumes).unwrap();
    let mut seen = evidence(Some(&rolling(1)), Some(&[pod]));
    assert_eq!(actual_state(&seen, at(5)).0, ActualState::Failed);
    seen.tools_delivery = crate::api::class::Delivery::Copy;
    assert_eq!(actual_state(&seen, at(5)), (ActualState::Starting, None));
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

/// What the container that copies the tools does.
fn copying(state: Value, last: Value) -> Pod {
    pod(json!({
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": time(1)}],
        "initContainerStatuses": [{"name": "copy-tools", "image": "registry.example.com/workstead:0.1.0",
            "imageID": "", "ready": false, "restartCount": 4, "state": state, "lastState": last}],
        "containerStatuses": [{"name": "workspace", "image": "registry.example.com/dev/rust:1.95", "imageID": "",
            "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}],
    }))
}

#[rstest]
#[case::no_image(json!({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}), json!({}))]
#[case::no_copier(
    json!({"waiting": {"reason": "RunContainerError", "message": "exec /bin/workstead-supervisor: no such file"}}),
    json!({})
)]
#[case::no_room(
    json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}),
    json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "no space left on device"}})
)]
fn tools_that_can_not_be_copied_are_the_platforms(#[case] state: Value, #[case] last: Value) {
    let (_, failure) = of_pod(copying(state, last), 20);
    let failure = failure.unwrap();
    assert_eq!(
        (failure.cause, failure.blame),
        (Cause::ToolsUnavailable, Blame::Platform),
        "{failure:?}"
    );
}
