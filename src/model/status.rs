//! The whole status of a Workspace, from the status before and from what was applied and observed.
//!
//! A caller advances the timers first ([`timers`]), puts them into the [`Evidence`], and calls [`build`]. The same input
//! gives the same status again: no time ticks in it.

mod timeline;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::class::Retention;
use crate::api::workspace::{
    ActualState, EffectiveDesiredState, Failure, Origin, PendingChange, PodStatus, RevisionStatus,
    VolumeStatus, Workspace, WorkspaceStatus,
};
use crate::model::conditions::{ConditionType, Reason, Wanted, is_true, seconds, upsert};
use crate::model::desired::{Decision, is_stopped};
use crate::model::evidence::{Evidence, Facts, Termination, Timers};
use crate::model::failures::{apply_rejected, same_trouble};
use crate::model::names::{MAIN_CONTAINER, ORIGIN_ANNOTATION};
use crate::model::revision::{Pinned, micro};
use crate::model::state;

/// What a pass did and saw.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The Workspace, with the status before this pass.
    pub workspace: &'a Workspace,
    /// What the pass worked towards.
    pub decision: &'a Decision,
    /// What was seen after applying, with the timers of [`timers`].
    pub evidence: &'a Evidence,
    /// Why the spec can't be carried out.
    pub blocked: Option<&'a Failure>,
    /// The class in effect; none when there is none to be found.
    pub class_name: Option<&'a str>,
    /// What happens to the volume at the end.
    pub retention: Retention,
    /// Where it opens.
    pub url: Option<&'a str>,
    /// The pin of the last start, after this pass.
    pub pinned: Option<&'a Pinned>,
    /// What waits for the next start.
    pub pending: &'a [PendingChange],
    /// What could not be honoured.
    pub notices: &'a [String],
    /// Whether every object was applied. An error that is not shown yet (it may pass) counts as one here: nothing is
    /// echoed as carried out before it was.
    pub all_applied: bool,
    /// How many pods that nodes refused or evicted this pass deleted.
    pub deleted_rejected: u32,
}

/// Whether the status records that objects were applied at some time.
pub fn applied_before(status: &WorkspaceStatus) -> bool {
    status.volume.is_some() || status.revision.is_some() || status.start_requested_at.is_some()
}

/// Pods of the present start that nodes refused and that are deleted: for [`Evidence::rejected`].
pub fn rejected_before(status: &WorkspaceStatus, timers: &Timers) -> u32 {
    if !is_same_start(status, timers) {
        return 0;
    }
    let count = status
        .pod
        .as_ref()
        .and_then(|pod| pod.rejected)
        .unwrap_or(0);
    u32::try_from(count).unwrap_or(0)
}

fn is_same_start(status: &WorkspaceStatus, timers: &Timers) -> bool {
    status.start_requested_at.as_ref().map(|time| time.0) == timers.start_requested_at
}

/// Moves the persisted moments on: where the timers begin.
///
/// - A start begins when its pin was made, so that a controller that dies between pin and status loses nothing.
/// - A stop begins when it is first wanted, and its moment goes when nothing is left to stop.
/// - A pod that was ready and is no more begins the startup timer again, from the moment the pod itself names.
pub fn timers(
    previous: &WorkspaceStatus,
    decision: &Decision,
    facts: &Facts,
    pinned: Option<&Pinned>,
    now: Timestamp,
) -> Timers {
    let now = micro(now).0;
    let start_requested_at = previous
        .start_requested_at
        .as_ref()
        .map(|time| time.0)
        .max(pinned.map(|pinned| pinned.pin.inputs.started_at.0));
    let gone = facts.deployment.is_none() && !facts.has_pod_left();
    let settled = decision.replicas != 0 || gone || is_stopped(facts);
    let stop_requested_at = if settled {
        None
    } else {
        Some(
            previous
                .stop_requested_at
                .as_ref()
                .map_or(now, |time| time.0),
        )
    };
    let was_ready = is_true(&previous.conditions, ConditionType::PodReady);
    let lost =
        was_ready && decision.replicas >= 1 && !facts.has_ready_pod() && facts.pods.is_some();
    let last_ready_at = if lost {
        let named = facts
            .main_pod()
            .and_then(|pod| pod.condition("Ready"))
            .and_then(|condition| condition.since);
        Some(named.map_or(now, |since| since.min(now)))
    } else {
        previous.last_ready_at.as_ref().map(|time| time.0)
    };
    Timers {
        start_requested_at,
        stop_requested_at,
        last_ready_at,
    }
}

/// Builds the status.
pub fn build(report: &Report<'_>, now: Timestamp) -> WorkspaceStatus {
    let previous = report.workspace.status.clone().unwrap_or_default();
    let Report {
        decision,
        evidence,
        blocked,
        ..
    } = report;
    let generation = report.workspace.metadata.generation;
    let derived = state::derive(evidence, now);
    let state = derived.state;
    let failure =
        failure(report, state, derived.failure).map(|failure| with_since(failure, &previous, now));
    let applied = blocked.is_none() && report.all_applied && evidence.apply_error.is_none();
    let timers = evidence.timers;
    let wanted = conditions(report, &previous, state, failure.as_ref());
    WorkspaceStatus {
        observed_generation: generation,
        actual_state: Some(state),
        desired_state: Some(decision.effective),
        url: report
            .url
            .map(str::to_owned)
            .or_else(|| previous.url.clone()),
        class_name: report
            .class_name
            .map(str::to_owned)
            .or_else(|| previous.class_name.clone()),
        conditions: upsert(&previous.conditions, &wanted, generation, now),
        failure,
        origin: origin(report.workspace),
        timeline: timeline::build(&previous, evidence, applied, state, now),
        start_requested_at: timers.start_requested_at.map(micro),
        stop_requested_at: timers.stop_requested_at.map(micro),
        last_ready_at: timers.last_ready_at.map(micro),
        restart: if applied {
            decision.restart.clone()
        } else {
            decision.restart.clone().or(previous.restart.clone())
        },
        last_handled_restart_at: if applied {
            decision.last_handled_restart_at.clone()
        } else {
            previous.last_handled_restart_at.clone()
        },
        last_handled_wake_at: if applied {
            decision.last_handled_wake_at.clone()
        } else {
            previous.last_handled_wake_at.clone()
        },
        stopped_by_timer: if applied {
            decision.stopped_by_timer.clone()
        } else {
            previous.stopped_by_timer.clone()
        },
        revision: report
            .pinned
            .map(|pinned| RevisionStatus {
                name: pinned.name.clone(),
                pending: report.pending.to_vec(),
            })
            .or_else(|| previous.revision.clone()),
        pod: pod_status(report, &previous),
        volume: volume_status(report),
    }
}

/// The failure to report: what blocks the spec comes before what the API server refused, and that before what was seen.
fn failure(report: &Report<'_>, state: ActualState, seen: Option<Failure>) -> Option<Failure> {
    let blocked = report
        .blocked
        .filter(|_| report.decision.wants_running() || !is_reached(report.decision, state));
    if let Some(blocked) = blocked {
        return Some(blocked.clone());
    }
    match &report.evidence.apply_error {
        Some(error) if state != ActualState::Terminated => Some(apply_rejected(error)),
        _ => seen,
    }
}

/// The same trouble keeps the moment at which it was first seen.
fn with_since(mut failure: Failure, previous: &WorkspaceStatus, now: Timestamp) -> Failure {
    let before = previous
        .failure
        .as_ref()
        .filter(|before| same_trouble(before.cause, failure.cause));
    let since: Option<Time> = before.and_then(|before| before.since.clone());
    failure.since = Some(since.unwrap_or_else(|| seconds(now)));
    failure
}

/// Whether the state is the desired one.
fn is_reached(decision: &Decision, state: ActualState) -> bool {
    matches!(
        (decision.effective, state),
        (EffectiveDesiredState::Running, ActualState::Running)
            | (EffectiveDesiredState::Stopped, ActualState::Stopped)
            | (EffectiveDesiredState::Terminated, ActualState::Terminated)
    )
}

/// Ready is always there; Reconciling and Stalled only while True, and never both.
fn conditions(
    report: &Report<'_>,
    previous: &WorkspaceStatus,
    state: ActualState,
    failure: Option<&Failure>,
) -> Vec<Wanted> {
    let (reason, message) = match failure {
        Some(failure) => (Reason::Cause(failure.cause), failure.message.clone()),
        None if is_reached(report.decision, state) => {
            (Reason::State(state), words(state).to_owned())
        }
        None if matches!(state, ActualState::Running | ActualState::Stopped) => (
            Reason::Progressing,
            format!("{}, and becomes what is desired", words(state)),
        ),
        None => (Reason::State(state), words(state).to_owned()),
    };
    let ready = failure.is_none() && is_reached(report.decision, state);
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
    wanted.extend(storage_condition(report, state));
    wanted.extend(pod_condition(report, previous, state, failure));
    wanted
}

/// Whether only a person can help. Failed counts also while the kubelet still tries: recovery removes it.
fn needs_a_person(report: &Report<'_>, state: ActualState, failure: Option<&Failure>) -> bool {
    let Some(failure) = failure else { return false };
    let blocked = report
        .blocked
        .is_some_and(|blocked| blocked.cause == failure.cause);
    // A volume that is still being deleted is waited for.
    let waits = blocked && failure.cause == crate::api::workspace::Cause::VolumeBind;
    let refused = report.evidence.apply_error.is_some();
    if blocked {
        !waits
    } else if refused {
        !failure.retryable
    } else {
        // StopStuck while a termination goes on: the state stays Terminating.
        matches!(state, ActualState::Failed | ActualState::Terminating)
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

fn storage_condition(report: &Report<'_>, state: ActualState) -> Option<Wanted> {
    let want = |status: Option<bool>, reason: Reason, message: String| {
        Some(Wanted {
            type_: ConditionType::StorageReady,
            status,
            reason,
            message,
        })
    };
    let foreign = report
        .blocked
        .filter(|blocked| blocked.cause == crate::api::workspace::Cause::VolumeForeign);
    if let Some(blocked) = foreign {
        return want(
            Some(false),
            Reason::Cause(blocked.cause),
            blocked.message.clone(),
        );
    }
    let Some(volume) = &report.evidence.facts.volume else {
        return match state {
            ActualState::Terminated => None,
            _ => want(
                Some(false),
                Reason::NoClaim,
                "there is no volume yet".to_owned(),
            ),
        };
    };
    let name = &volume.name;
    match volume.phase.as_deref() {
        _ if state == ActualState::Terminated => want(
            Some(true),
            Reason::Retained,
            format!("the volume {name} is kept"),
        ),
        Some("Bound") => want(
            Some(true),
            Reason::Bound,
            format!("the volume {name} is bound"),
        ),
        Some("Lost") => want(
            Some(false),
            Reason::Lost,
            format!("what the volume {name} was bound to is gone"),
        ),
        _ if report.evidence.timers.start_requested_at.is_none() => want(
            None,
            Reason::WaitingForFirstStart,
            format!("the volume {name} may be made at the first start"),
        ),
        _ => want(
            Some(false),
            Reason::NotBound,
            format!("the volume {name} is not bound yet"),
        ),
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

/// Where the spec came from, as GitSync wrote it down.
fn origin(workspace: &Workspace) -> Option<Origin> {
    let text = workspace
        .metadata
        .annotations
        .as_ref()?
        .get(ORIGIN_ANNOTATION)?;
    serde_json::from_str(text).ok()
}

fn pod_status(report: &Report<'_>, previous: &WorkspaceStatus) -> Option<PodStatus> {
    let evidence = report.evidence;
    if report.decision.replicas == 0 && !evidence.facts.has_pod_left() {
        return None;
    }
    let before =
        rejected_before(previous, &evidence.timers).saturating_add(report.deleted_rejected);
    let rejected = Some(i32::try_from(before).unwrap_or(i32::MAX)).filter(|count| *count > 0);
    let pod = evidence
        .facts
        .main_pod()
        .or_else(|| evidence.facts.pods.iter().flatten().next());
    match pod {
        Some(pod) => Some(PodStatus {
            name: pod.name.clone(),
            node: pod.node.clone(),
            image_id: pod
                .container(MAIN_CONTAINER)
                .map(|main| main.image_id.clone())
                .filter(|id| !id.is_empty()),
            rejected,
        }),
        None if evidence.facts.pods.is_none() => previous.pod.clone(),
        None => rejected.map(|count| PodStatus {
            rejected: Some(count),
            ..PodStatus::default()
        }),
    }
}

fn volume_status(report: &Report<'_>) -> Option<VolumeStatus> {
    if report
        .blocked
        .is_some_and(|blocked| blocked.cause == crate::api::workspace::Cause::VolumeForeign)
    {
        return None;
    }
    let volume = report.evidence.facts.volume.as_ref()?;
    Some(VolumeStatus {
        name: volume.name.clone(),
        capacity: volume.capacity.clone(),
        retained: report.evidence.termination == Termination::Done
            && report.retention == Retention::Retain,
    })
}

#[cfg(test)]
mod tests;
