//! The conditions of a Workspace: what holds, for what reason, and in which words.

use crate::api::workspace::{ActualState, Failure, WorkspaceStatus};
use crate::model::conditions::{ConditionType, Reason, Wanted, is_true};
use crate::model::status::{Report, host, is_reached, volume};

/// Ready is always there; Reconciling and Stalled only while True, and never both.
pub(super) fn wanted(
    report: &Report<'_>,
    previous: &WorkspaceStatus,
    state: ActualState,
    failure: Option<&Failure>,
) -> Vec<Wanted> {
    let asked_back = report.decision.is_asked_back(report.workspace);
    let runs = state == ActualState::Running && is_reached(report.decision, state);
    let unfinished = report.evidence.told.pending().filter(|_| runs);
    let (reason, message) = match failure {
        Some(failure) => (Reason::Cause(failure.cause), failure.message.clone()),
        None if asked_back => (
            Reason::State(state),
            format!(
                "{}, and Terminated is final: delete the Workspace and create it again",
                words(state)
            ),
        ),
        None if let Some(part) = &unfinished => {
            (Reason::Progressing, format!("{}; {part}", words(state)))
        }
        None if is_reached(report.decision, state) => {
            (Reason::State(state), words(state).to_owned())
        }
        None if matches!(state, ActualState::Running | ActualState::Stopped) => (
            Reason::Progressing,
            format!("{}, and becomes what is desired", words(state)),
        ),
        None if report.evidence.waits => (
            Reason::State(state),
            "it starts as soon as the pod before it is gone".to_owned(),
        ),
        None => (Reason::State(state), words(state).to_owned()),
    };
    let reached = is_reached(report.decision, state) && unfinished.is_none();
    let ready = failure.is_none() && reached && !asked_back;
    let mut wanted = vec![Wanted {
        type_: ConditionType::Ready,
        status: Some(ready),
        reason,
        message: message.clone(),
    }];
    if !ready {
        let type_ = if needs_a_person(report, state, failure) {
            ConditionType::Stalled
        } else {
            ConditionType::Reconciling
        };
        wanted.push(Wanted {
            type_,
            status: Some(true),
            reason,
            message,
        });
    }
    wanted.extend(volume::condition(report, state));
    wanted.extend(pod_condition(report, previous, state, failure));
    wanted.extend(report.evidence.told.conditions());
    wanted.extend(report.conflict.map(host::condition));
    wanted
}

/// Whether only a person can help. Failed counts also while the kubelet still tries: recovery removes it.
fn needs_a_person(report: &Report<'_>, state: ActualState, failure: Option<&Failure>) -> bool {
    let Some(failure) = failure else {
        return state == ActualState::Terminated;
    };
    let blocked = report
        .blocked
        .is_some_and(|blocked| blocked.cause == failure.cause);
    // A volume that is still being deleted is waited for, unless it waits for a person to save what is on it.
    let waits = blocked
        && failure.cause == crate::api::workspace::Cause::VolumeBind
        && !report.evidence.facts.has_pod_left();
    let refused = report.evidence.apply_error.is_some();
    if blocked {
        !waits
    } else if refused {
        !failure.retryable
    } else {
        // StopStuck while a termination goes on: the state stays Terminating. What failed inside of one that runs is tried
        // again by itself, or waits for a person.
        matches!(state, ActualState::Failed | ActualState::Terminating)
            || (state == ActualState::Running && !failure.retryable)
    }
}

fn words(state: ActualState) -> &'static str {
    match state {
        ActualState::CreationRequested => "it was asked for and is not made yet",
        ActualState::Starting => "it starts",
        ActualState::Running => "it runs",
        ActualState::Stopping => "it stops",
        ActualState::Stopped => "it is stopped",
        ActualState::Failed => "it does not become ready",
        ActualState::Error => "it could not be applied",
        ActualState::Terminating => "it is being terminated",
        ActualState::Terminated => "it is terminated",
        ActualState::Unknown => "what is seen does not add up yet",
    }
}

fn pod_condition(
    report: &Report<'_>,
    previous: &WorkspaceStatus,
    state: ActualState,
    failure: Option<&Failure>,
) -> Option<Wanted> {
    let facts = &report.evidence.facts;
    let mut message;
    let (status, reason) = if facts.has_ready_pod() {
        message = "the pod is ready".to_owned();
        (true, Reason::PodReady)
    } else if let Some(pod) = facts.main_pod() {
        message = format!("the pod {} is not ready", pod.name);
        let cause = failure
            .map(|failure| failure.cause)
            .filter(|_| report.blocked.is_none());
        (false, cause.map_or(Reason::PodNotReady, Reason::Cause))
    } else if state == ActualState::Terminated {
        return None;
    } else if facts.pods.is_none() && is_true(&previous.conditions, ConditionType::PodReady) {
        // Not looked at in this pass: what was seen last still stands.
        message = "the pod is ready".to_owned();
        (true, Reason::PodReady)
    } else {
        message = "there is no pod".to_owned();
        (false, Reason::NoPod)
    };
    if report.decision.replicas >= 1 {
        for notice in report.notices {
            message.push_str("; ");
            message.push_str(notice);
        }
    }
    Some(Wanted {
        type_: ConditionType::PodReady,
        status: Some(status),
        reason,
        message,
    })
}
