//! The whole status of a Workspace, from the status before and from what was applied and observed.
//!
//! A caller advances the timers first ([`timers`]), puts them into the [`Evidence`], and calls [`build`]. The same input
//! gives the same status again: no time ticks in it.

mod conditions;
mod host;
mod moments;
mod timeline;
mod variables;
mod volume;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::access::EndpointStatus;
use crate::api::activity::Activity;
use crate::api::class::Retention;
use crate::api::workspace::{
    ActualState, EffectiveDesiredState, Failure, Origin, PendingChange, PodStatus, RevisionStatus,
    SupervisorStatus, TimelineStep, ToolsStatus, Workspace, WorkspaceStatus,
};
use crate::model::access::Conflict;
use crate::model::conditions::{ConditionType, seconds, upsert};
use crate::model::desired::Decision;
use crate::model::evidence::{Evidence, Timers};
use crate::model::failures::{apply_rejected, same_trouble};
use crate::model::inside::inspection;
use crate::model::inside::told::{self, Answer, PARTS, Told};
use crate::model::names::{MAIN_CONTAINER, ORIGIN_ANNOTATION};
use crate::model::revision::{Pinned, micro};
use crate::model::state;
pub use moments::timers;
pub use variables::{Compared, Problem, VariablesFound};

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
    /// The class in which the next start may be; none when there is none to be found, or it waits for a quota.
    pub class_name: Option<&'a str>,
    /// What happens to the volume at the end.
    pub retention: Retention,
    /// Where it opens.
    pub url: Option<&'a str>,
    /// Where its endpoints open.
    pub endpoints: &'a [EndpointStatus],
    /// Why it does not hold the host of its name.
    pub conflict: Option<&'a Conflict>,
    /// Why it still runs, and what will end that.
    pub activity: Option<&'a Activity>,
    /// SHA-256 of the public key of the first process, if this pass looked.
    pub public_key: Option<&'a str>,
    /// The pin of the last start, after this pass.
    pub pinned: Option<&'a Pinned>,
    /// What was found of sealed sets.
    pub variables: &'a VariablesFound,
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
    let inside = evidence.told.failure(&previous);
    let seen = derived
        .failure
        .or(inside.filter(|_| state == ActualState::Running));
    let failure = failure(report, state, seen).map(|failure| with_since(failure, &previous, now));
    let applied = blocked.is_none() && report.all_applied && evidence.apply_error.is_none();
    let timers = evidence.timers;
    let variables = variables::status(report, &previous);
    let mut wanted = conditions::wanted(report, &previous, state, failure.as_ref());
    wanted.extend(variables::conditions(report, variables.as_ref()));
    WorkspaceStatus {
        observed_generation: generation,
        actual_state: Some(state),
        desired_state: Some(decision.effective),
        url: report
            .url
            .map(str::to_owned)
            .or_else(|| previous.url.clone())
            .filter(|_| report.conflict.is_none()),
        endpoints: host::endpoints(report),
        class_name: class_in_effect(report, &previous),
        conditions: upsert(
            &previous.conditions,
            &wanted,
            kept(evidence),
            generation,
            now,
        ),
        failure,
        origin: origin(report.workspace),
        timeline: timeline_of(report, &previous, applied, state, now),
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
        last_handled_inspect_at: inspected(report, &previous),
        last_handled_variables_update_at: match report.pinned {
            Some(pinned) => pinned.pin.inputs.variables_request.clone(),
            None => previous.last_handled_variables_update_at.clone(),
        },
        variables,
        // The proxy's: it is not part of what we write.
        wake: previous.wake.clone(),
        last_handled_visit_at: if applied {
            decision.last_handled_visit_at.clone()
        } else {
            previous.last_handled_visit_at.clone()
        },
        running_since: moments::since(
            state == ActualState::Running,
            previous.actual_state == Some(ActualState::Running),
            previous.running_since.as_ref(),
            now,
        ),
        stopped_since: moments::stopped_since(report, &previous, state, now),
        activity: report.activity.cloned(),
        // What a timer ended stays ended, however far that could be carried out.
        stopped_by_timer: if applied || decision.effective == EffectiveDesiredState::Terminated {
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
        volume: volume::status(report, &previous),
        supervisor: supervisor(report, &previous, state, now),
        editor: match report.pinned {
            Some(pinned) => told::editor(&pinned.pin.template),
            None => previous.editor.clone(),
        },
        editor_port: match report.pinned {
            Some(pinned) => told::editor_port(&pinned.pin.template),
            None => previous.editor_port,
        },
        tools: report
            .pinned
            .map(|pinned| ToolsStatus {
                delivery: pinned.pin.inputs.tools_delivery,
                image: pinned.pin.inputs.tools_image.clone(),
                refused: pinned
                    .pin
                    .inputs
                    .tools_refused
                    .as_ref()
                    .map(|refused| refused.said.clone()),
            })
            .or_else(|| previous.tools.clone()),
        unreadable: Vec::new(),
    }
}

/// The steps of the pod, and those that the first process told of.
fn timeline_of(
    report: &Report<'_>,
    previous: &WorkspaceStatus,
    applied: bool,
    state: ActualState,
    now: Timestamp,
) -> Vec<TimelineStep> {
    let evidence = report.evidence;
    let steps = timeline::build(previous, evidence, applied, state, now);
    match (&evidence.told, evidence.timers.start_requested_at) {
        (Told::Heard(told), Some(start)) => timeline::with_inside(steps, told, now, start),
        _ => steps,
    }
}

/// What was told once and for all stays as it stands.
fn kept(evidence: &Evidence) -> &'static [ConditionType] {
    match evidence.told {
        Told::Settled => &PARTS,
        _ => &[],
    }
}

/// The key of the first process, and of which life of the container all was told.
fn supervisor(
    report: &Report<'_>,
    previous: &WorkspaceStatus,
    state: ActualState,
    now: Timestamp,
) -> Option<SupervisorStatus> {
    let before = previous.supervisor.as_ref();
    let public_key_sha256 = report
        .public_key
        .map(str::to_owned)
        .or_else(|| before.map(|before| before.public_key_sha256.clone()))?;
    let told = &report.evidence.told;
    let facts = &report.evidence.facts;
    let life = told::life(facts).map(|(life, _)| life.to_owned());
    // While it does not serve there may be more to hear.
    let settled = (told.is_complete() && state == ActualState::Running)
        .then_some(life)
        .flatten();
    let inspection = match &report.evidence.answer {
        Answer::Given(said) => Some(inspection::of(said, now)),
        Answer::Nobody | Answer::Awaited => before
            .filter(|before| inspection::is_of_this_life(before, facts))
            .and_then(|before| before.inspection.clone()),
    };
    Some(SupervisorStatus {
        public_key_sha256,
        settled,
        inspection,
    })
}

/// A request to look inside is carried out when it was answered, or when there is nobody to answer.
fn inspected(report: &Report<'_>, previous: &WorkspaceStatus) -> Option<String> {
    match report.evidence.answer {
        Answer::Awaited => previous.last_handled_inspect_at.clone(),
        Answer::Nobody | Answer::Given(_) => told::inspect_requested(report.workspace)
            .cloned()
            .or_else(|| previous.last_handled_inspect_at.clone()),
    }
}

/// The class in which it has its place: that of the last start, whatever the spec names since. Quotas count by it.
fn class_in_effect(report: &Report<'_>, previous: &WorkspaceStatus) -> Option<String> {
    let pinned = report.pinned.map(|pinned| &pinned.pin.inputs.class_name);
    let ends = report.decision.effective == EffectiveDesiredState::Terminated;
    let named = report.class_name.map(str::to_owned);
    match pinned {
        Some(pinned) => Some(pinned.clone()),
        // Nothing was looked up: what goes away goes in the class that it was in.
        None if ends => previous.class_name.clone().or(named),
        None => named.or_else(|| previous.class_name.clone()),
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

#[cfg(test)]
mod tests;
