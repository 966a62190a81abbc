//! Fatal evidence, and the timers of a start and a stop.

use serde_json::json;

use super::*;

/// Rows 8 and 9, and starts that their timer still lets be.
pub(super) fn starts_that_fail() -> Vec<Row> {
    vec![
        (
            "8",
            "a crash loop",
            of(&settled(1, 0), Some(vec![crash_looping(json!({}))])),
            11,
            Failed,
            Some(Cause::CrashLoop),
        ),
        (
            "8",
            "a crash loop in an init container",
            of(
                &settled(1, 0),
                Some(vec![{
                    let mut pod = crash_looping(json!({}));
                    let status = pod.status.as_mut().unwrap();
                    status.init_container_statuses = status.container_statuses.take();
                    pod
                }]),
            ),
            11,
            Failed,
            Some(Cause::CrashLoop),
        ),
        (
            "8",
            "three restarts, not ready, ended within ten minutes",
            of(
                &settled(1, 0),
                Some(vec![ended_pod(json!({"running": {}}), json!({}), 3)]),
            ),
            609,
            Failed,
            Some(Cause::CrashLoop),
        ),
        (
            "8",
            "no pod could be made for 30 s",
            with(of(&rolling(1), none()), |e| {
                e.facts.refusal = Some(Refusal {
                    reason: "FailedCreate".into(),
                    message: "denied".into(),
                    since: Some(start()),
                })
            }),
            30,
            Failed,
            Some(Cause::AdmissionDenied),
        ),
        (
            "8",
            "fatal evidence counts whatever the Deployment's reason",
            of(
                &reasons(json!(1), "ProgressDeadlineExceeded", FEW, 0, 1),
                Some(vec![crash_looping(
                    json!({"reason": "OOMKilled", "exitCode": 137}),
                )]),
            ),
            11,
            Failed,
            Some(Cause::OutOfMemory),
        ),
        (
            "9",
            "the startup timer is over",
            of(
                &settled(1, 0),
                Some(vec![waiting_pod("ContainerCreating", "")]),
            ),
            300,
            Failed,
            Some(Cause::StartupTimeout),
        ),
        (
            "9",
            "the startup timer begins again when it stops being ready",
            with(of(&settled(1, 0), none()), |e| {
                e.timers.last_ready_at = Some(at(100))
            }),
            400,
            Failed,
            Some(Cause::StartupTimeout),
        ),
        (
            "14d",
            "the startup timer that began again is not over",
            with(of(&settled(1, 0), none()), |e| {
                e.timers.last_ready_at = Some(at(100))
            }),
            399,
            Starting,
            None,
        ),
        (
            "14d",
            "the startup timer is not over",
            of(
                &settled(1, 0),
                Some(vec![waiting_pod("ContainerCreating", "")]),
            ),
            299,
            Starting,
            None,
        ),
        (
            "14b",
            "pods were not looked at: no timer",
            of(&settled(1, 1), None),
            9999,
            Running,
            None,
        ),
    ]
}

/// Row 10, and the pod that a stop does not wait for.
pub(super) fn stops_that_wait() -> Vec<Row> {
    vec![
        (
            "10",
            "a pod is left, the stopping timer is not over",
            with(
                of(&settled(0, 0), Some(vec![deleting(ready_pod())])),
                asked_to_stop,
            ),
            119,
            Stopping,
            None,
        ),
        (
            "10",
            "a pod is left, the stopping timer is over",
            with(
                of(&settled(0, 0), Some(vec![deleting(ready_pod())])),
                asked_to_stop,
            ),
            120,
            Failed,
            Some(Cause::StopStuck),
        ),
        (
            "10",
            "an over pod that is being deleted may still be unmounting",
            with(
                of(&settled(0, 0), Some(vec![deleting(dead())])),
                asked_to_stop,
            ),
            1,
            Stopping,
            None,
        ),
        (
            "2a",
            "a start waits for the pod before it",
            with(of(&settled(0, 0), Some(vec![deleting(ready_pod())])), |e| {
                asked_to_stop(e);
                e.waits = true;
            }),
            119,
            Starting,
            None,
        ),
        (
            "2a",
            "a start waits for the pod of a Deployment that is gone",
            with(evidence(None, Some(&[deleting(ready_pod())])), |e| {
                asked_to_stop(e);
                e.waits = true;
            }),
            119,
            Starting,
            None,
        ),
        (
            "2a",
            "the pod before a start does not go",
            with(evidence(None, Some(&[deleting(ready_pod())])), |e| {
                asked_to_stop(e);
                e.waits = true;
            }),
            120,
            Failed,
            Some(Cause::StopStuck),
        ),
        (
            "14a",
            "a dead pod that nobody deletes holds nothing",
            with(of(&settled(0, 0), Some(vec![dead()])), asked_to_stop),
            999,
            Stopped,
            None,
        ),
    ]
}
