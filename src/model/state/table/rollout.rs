//! What the conditions of a Deployment mean when nothing else speaks first.

use serde_json::json;

use super::*;

/// Rows 11 to 13.
pub(super) fn rollouts() -> Vec<Row> {
    vec![
        (
            "11",
            "the Deployment's own deadline",
            of(
                &reasons(json!(1), "ProgressDeadlineExceeded", FEW, 0, 1),
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
                &reasons(json!(1), "NewReplicaSetCreated", FEW, 0, 1),
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
                &reasons(json!(0), "ReplicaSetUpdated", ENOUGH, 0, 0),
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
            of(&reasons(json!(1), DONE, "-", 1, 0), none()),
            1,
            Unknown,
            None,
        ),
        (
            "13",
            "Available has no reason",
            of(&reasons(json!(1), DONE, "", 1, 0), none()),
            1,
            Unknown,
            None,
        ),
    ]
}

/// Row 14, by the count of pods.
pub(super) fn settled_counts() -> Vec<Row> {
    vec![
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
            of(&reasons(json!(2), DONE, ENOUGH, 2, 0), ready()),
            1,
            Running,
            None,
        ),
        (
            "14c",
            "scaled down, one still counts",
            of(&reasons(json!(0), DONE, ENOUGH, 1, 0), none()),
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
            of(&reasons(json!(1), DONE, ENOUGH, 0, 1), none()),
            1,
            Starting,
            None,
        ),
    ]
}

/// Row 15.
pub(super) fn no_other_row() -> Vec<Row> {
    vec![
        (
            "15",
            "paused",
            of(
                &reasons(json!(1), "DeploymentPaused", ENOUGH, 1, 0),
                ready(),
            ),
            1,
            Unknown,
            None,
        ),
        (
            "15",
            "one of three",
            of(&reasons(json!(3), DONE, ENOUGH, 1, 2), none()),
            1,
            Unknown,
            None,
        ),
        (
            "15",
            "an unknown reason of Available",
            of(&reasons(json!(1), DONE, "Other", 1, 0), none()),
            1,
            Unknown,
            None,
        ),
        (
            "15",
            "ten minutes after the last exit three restarts are no loop",
            with(
                of(
                    &reasons(json!(1), "Other", FEW, 0, 1),
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
