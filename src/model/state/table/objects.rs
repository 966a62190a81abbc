//! What could be applied, and a Deployment that is gone or says too little.

use serde_json::{Value, json};

use super::*;

/// Rows 1 and 2, and the change that is refused while a pod is ready.
pub(super) fn refused_or_terminating() -> Vec<Row> {
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
                asked_to_stop(e);
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
    ]
}

/// Rows 3 to 7.
pub(super) fn missing_or_unclear() -> Vec<Row> {
    vec![
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
            of(&reasons(json!(1), "", ENOUGH, 1, 0), none()),
            1,
            Unknown,
            None,
        ),
        (
            "7",
            "no replicas",
            of(&reasons(Value::Null, DONE, ENOUGH, 1, 0), none()),
            1,
            Unknown,
            None,
        ),
    ]
}
