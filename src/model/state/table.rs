//! The table of the lifecycle as data: every row with a case, its borders with several.

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

pub fn table() -> Vec<Row> {
    let ready = || Some(vec![ready_pod()]);
    let none = || Some(Vec::new());
    let of = |deployment: &k8s_openapi::api::apps::v1::Deployment,
              pods: Option<Vec<k8s_openapi::api::core::v1::Pod>>| {
        evidence(Some(deployment), pods.as_deref())
    };
    let reasons = |replicas: Value, progressing: &str, available: &str, up: i32, down: i32| {
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
    };
    let stopping = |e: &mut Evidence| e.timers.stop_requested_at = Some(start());
    let deleting = |mut pod: k8s_openapi::api::core::v1::Pod| {
        pod.metadata.deletion_timestamp = serde_json::from_value(time(1)).unwrap();
        pod
    };
    let dead = pod(json!({"phase": "Failed", "reason": "Evicted"}));
    let done = "NewReplicaSetAvailable";
    let (enough, few) = ("MinimumReplicasAvailable", "MinimumReplicasUnavailable");
    vec![
        (
            "1",
            "an object is refused and nothing runs",
            with(of(&rolling(1), none()), |e| e.apply_error = refused(false)),
            1,
            Error,
            Some(Cause::ApplyRejected),
        ),
        (
            "1",
            "Error beats Terminating",
            with(of(&rolling(1), none()), |e| {
                e.apply_error = refused(false);
                e.termination = Termination::InProgress;
            }),
            1,
            Error,
            Some(Cause::ApplyRejected),
        ),
        (
            "1",
            "a stop is refused although a pod is ready",
            with(of(&settled(1, 1), ready()), |e| {
                e.apply_error = refused(true)
            }),
            1,
            Error,
            Some(Cause::ApplyRejected),
        ),
        (
            "1",
            "the first object is refused",
            with(evidence(None, None), |e| {
                e.apply_error = refused(false);
                e.applied_before = false;
            }),
            1,
            Error,
            Some(Cause::ApplyRejected),
        ),
        (
            "2",
            "a refused object matters no more when all is gone",
            with(evidence(None, None), |e| {
                e.apply_error = refused(false);
                e.termination = Termination::Done;
            }),
            1,
            Terminated,
            None,
        ),
        (
            "14b",
            "a refused change of a live child leaves a ready pod running",
            with(of(&settled(1, 1), ready()), |e| {
                e.apply_error = refused(false)
            }),
            1,
            Running,
            None,
        ),
        (
            "2",
            "a termination goes on",
            with(of(&settled(1, 1), ready()), |e| {
                e.termination = Termination::InProgress
            }),
            1,
            Terminating,
            None,
        ),
        (
            "2",
            "a termination is stuck",
            with(of(&settled(0, 0), ready()), |e| {
                e.termination = Termination::InProgress;
                stopping(e);
            }),
            120,
            Terminating,
            Some(Cause::StopStuck),
        ),
        (
            "2",
            "a termination is done",
            with(evidence(None, None), |e| e.termination = Termination::Done),
            1,
            Terminated,
            None,
        ),
        (
            "3",
            "nothing was ever applied",
            with(evidence(None, None), |e| e.applied_before = false),
            1,
            CreationRequested,
            None,
        ),
        (
            "4",
            "the Deployment is gone",
            evidence(None, None),
            1,
            Unknown,
            None,
        ),
        (
            "4",
            "the Deployment has no spec",
            of(&deployment(json!(1), Value::Null, json!({})), None),
            1,
            Unknown,
            None,
        ),
        (
            "5",
            "a new Deployment was not looked at yet",
            of(
                &deployment(json!(1), json!({"replicas": 1}), Value::Null),
                none(),
            ),
            1,
            Starting,
            None,
        ),
        (
            "5",
            "the status speaks of an older spec, and it should stop",
            of(
                &deployment(
                    json!(2),
                    json!({"replicas": 0}),
                    json!({"observedGeneration": 1}),
                ),
                none(),
            ),
            1,
            Stopping,
            None,
        ),
        (
            "6",
            "other counts fall through while the status lags",
            of(
                &deployment(
                    json!(2),
                    json!({"replicas": 2}),
                    json!({"observedGeneration": 1}),
                ),
                none(),
            ),
            1,
            Unknown,
            None,
        ),
        (
            "6",
            "no status",
            of(
                &deployment(Value::Null, json!({"replicas": 1}), Value::Null),
                none(),
            ),
            1,
            Unknown,
            None,
        ),
        (
            "6",
            "no conditions",
            of(
                &deployment(
                    json!(1),
                    json!({"replicas": 1}),
                    json!({"observedGeneration": 1}),
                ),
                none(),
            ),
            1,
            Unknown,
            None,
        ),
        (
            "7",
            "no condition Progressing",
            of(
                &deployment(
                    json!(1),
                    json!({"replicas": 1}),
                    json!({"observedGeneration": 1, "conditions": []}),
                ),
                none(),
            ),
            1,
            Unknown,
            None,
        ),
        (
            "7",
            "Progressing has no reason",
            of(&reasons(json!(1), "", enough, 1, 0), none()),
            1,
            Unknown,
            None,
        ),
        (
            "7",
            "no replicas",
            of(&reasons(Value::Null, done, enough, 1, 0), none()),
            1,
            Unknown,
            None,
        ),
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
                &reasons(json!(1), "ProgressDeadlineExceeded", few, 0, 1),
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
        (
            "10",
            "a pod is left, the stopping timer is not over",
            with(
                of(&settled(0, 0), Some(vec![deleting(ready_pod())])),
                stopping,
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
                stopping,
            ),
            120,
            Failed,
            Some(Cause::StopStuck),
        ),
        (
            "10",
            "an over pod that is being deleted may still be unmounting",
            with(
                of(&settled(0, 0), Some(vec![deleting(dead.clone())])),
                stopping,
            ),
            1,
            Stopping,
            None,
        ),
        (
            "14a",
            "a dead pod that nobody deletes holds nothing",
            with(of(&settled(0, 0), Some(vec![dead.clone()])), stopping),
            999,
            Stopped,
            None,
        ),
        (
            "11",
            "the Deployment's own deadline",
            of(
                &reasons(json!(1), "ProgressDeadlineExceeded", few, 0, 1),
                None,
            ),
            1,
            Failed,
            Some(Cause::StartupTimeout),
        ),
        (
            "12",
            "a rollout to one",
            of(
                &reasons(json!(1), "NewReplicaSetCreated", few, 0, 1),
                none(),
            ),
            1,
            Starting,
            None,
        ),
        (
            "12",
            "a rollout to none",
            of(
                &reasons(json!(0), "ReplicaSetUpdated", enough, 0, 0),
                none(),
            ),
            1,
            Stopping,
            None,
        ),
        (
            "13",
            "a rollout to two, and no condition Available",
            of(&reasons(json!(2), "FoundNewReplicaSet", "-", 0, 0), none()),
            1,
            Unknown,
            None,
        ),
        (
            "13",
            "no condition Available",
            of(&reasons(json!(1), done, "-", 1, 0), none()),
            1,
            Unknown,
            None,
        ),
        (
            "13",
            "Available has no reason",
            of(&reasons(json!(1), done, "", 1, 0), none()),
            1,
            Unknown,
            None,
        ),
        (
            "14a",
            "scaled down",
            of(&settled(0, 0), none()),
            1,
            Stopped,
            None,
        ),
        (
            "14b",
            "a current pod is ready",
            of(&settled(1, 1), ready()),
            1,
            Running,
            None,
        ),
        (
            "14b",
            "the Deployment counts a pod that is on its way out",
            of(&settled(1, 1), Some(vec![deleting(ready_pod())])),
            1,
            Starting,
            None,
        ),
        (
            "14b",
            "two of two: drift, and it runs",
            of(&reasons(json!(2), done, enough, 2, 0), ready()),
            1,
            Running,
            None,
        ),
        (
            "14c",
            "scaled down, one still counts",
            of(&reasons(json!(0), done, enough, 1, 0), none()),
            1,
            Stopping,
            None,
        ),
        (
            "14d",
            "none available",
            of(&settled(1, 0), none()),
            1,
            Starting,
            None,
        ),
        (
            "14d",
            "none available, yet enough",
            of(&reasons(json!(1), done, enough, 0, 1), none()),
            1,
            Starting,
            None,
        ),
        (
            "15",
            "paused",
            of(
                &reasons(json!(1), "DeploymentPaused", enough, 1, 0),
                ready(),
            ),
            1,
            Unknown,
            None,
        ),
        (
            "15",
            "one of three",
            of(&reasons(json!(3), done, enough, 1, 2), none()),
            1,
            Unknown,
            None,
        ),
        (
            "15",
            "an unknown reason of Available",
            of(&reasons(json!(1), done, "Other", 1, 0), none()),
            1,
            Unknown,
            None,
        ),
        (
            "15",
            "ten minutes after the last exit three restarts are no loop",
            with(
                of(
                    &reasons(json!(1), "Other", few, 0, 1),
                    Some(vec![ended_pod(json!({"running": {}}), json!({}), 3)]),
                ),
                |e| e.timers.start_requested_at = None,
            ),
            610,
            Unknown,
            Some(Cause::CrashLoop),
        ),
    ]
}
