//! The timeline of a start: each step once, with its milliseconds.
//!
//! Kubernetes keeps times of pods to the second. A step that is seen within the second that the pod names happened just
//! now, as far as anybody can tell; one that is seen later happened in the second that the pod names.

use jiff::{SignedDuration, Timestamp};

use crate::api::workspace::{ActualState, StartStep, TimelineStep, WorkspaceStatus};
use crate::model::evidence::{ContainerState, Evidence, PodFacts};
use crate::model::names::MAIN_CONTAINER;

/// Adds the steps that are seen for the first time. A new start begins a new timeline.
pub fn build(
    previous: &WorkspaceStatus,
    evidence: &Evidence,
    applied: bool,
    state: ActualState,
    now: Timestamp,
) -> Vec<TimelineStep> {
    let Some(start) = evidence.timers.start_requested_at else {
        return Vec::new();
    };
    let same = previous.start_requested_at.as_ref().map(|time| time.0) == Some(start);
    let mut steps = if same {
        previous.timeline.clone()
    } else {
        Vec::new()
    };
    let wants_pod = evidence
        .facts
        .replicas()
        .is_some_and(|replicas| replicas >= 1);
    if !wants_pod {
        return steps;
    }
    for (step, moment) in seen(evidence, applied, state, start) {
        let last = steps.last().map(|last| (last.step, last.at_milliseconds));
        // A step that was missed is not put in behind later ones: times would run backwards.
        if last.is_some_and(|(last, _)| last >= step) {
            continue;
        }
        let at = refine(moment, now).duration_since(start).as_millis();
        let before = last.map_or(0, |(_, at)| at);
        let at = i64::try_from(at).unwrap_or(i64::MAX).max(before);
        steps.push(TimelineStep {
            step,
            at_milliseconds: at,
            milliseconds: at - before,
        });
    }
    steps
}

/// The best guess at a moment of which the pod names the second.
fn refine(named: Option<Timestamp>, now: Timestamp) -> Timestamp {
    match named {
        Some(named) if now.duration_since(named) >= SignedDuration::from_secs(1) => named,
        _ => now,
    }
}

/// Steps that are done, in order, with the moment that the pod names.
fn seen(
    evidence: &Evidence,
    applied: bool,
    state: ActualState,
    start: Timestamp,
) -> Vec<(StartStep, Option<Timestamp>)> {
    let mut steps = Vec::new();
    if applied {
        steps.push((StartStep::Applied, None));
    }
    // A pod of an earlier start that is still current in a cache says nothing about this one.
    let begins = Timestamp::from_second(start.as_second()).unwrap_or(start);
    let pod = evidence
        .facts
        .main_pod()
        .filter(|pod| pod.created.is_none_or(|created| created >= begins));
    if let Some(pod) = pod {
        steps.push((StartStep::PodCreated, pod.created));
        let conditions = [
            ("PodScheduled", StartStep::Scheduled),
            ("PodReadyToStartContainers", StartStep::SandboxReady),
        ];
        for (type_, step) in conditions {
            if let Some(since) = pod.true_since(type_) {
                steps.push((step, since));
            }
        }
        if let Some(since) = runs_since(pod) {
            steps.push((StartStep::ContainerStarted, since));
        }
        if pod.is_ready() {
            steps.push((StartStep::PodReady, pod.true_since("Ready").flatten()));
        }
        if state == ActualState::Running {
            steps.push((StartStep::Running, None));
        }
    }
    steps
}

fn runs_since(pod: &PodFacts) -> Option<Option<Timestamp>> {
    match &pod.container(MAIN_CONTAINER)?.state {
        ContainerState::Running { since } => Some(*since),
        _ => None,
    }
}
