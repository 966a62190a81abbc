//! The timeline of a start: each step once, with its milliseconds.
//!
//! Kubernetes keeps times of pods to the second. A step that is seen within the second that the pod names happened just
//! now, as far as anybody can tell; one that is seen later happened in the second that the pod names.
//!
//! Clocks differ. Whether a pod is of this start is asked of one clock alone, that of the API server, which wrote down when
//! the pin and the pod were made. A moment that can't be, since it lies before the start or in the future, is replaced by
//! the moment at which the step is seen.

use jiff::{SignedDuration, Timestamp};
use workstead_link::Report;

use crate::api::workspace::{ActualState, StartStep, TimelineStep, WorkspaceStatus};
use crate::model::evidence::{ContainerState, Evidence, PodFacts};
use crate::model::inside::steps;
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
    let known = if same {
        previous.timeline.clone()
    } else {
        Vec::new()
    };
    // What the workspace itself reports goes on beside the steps of the pod, and says nothing about their order.
    let (inside, mut steps): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|step| is_inside(step.step));
    let wants_pod = evidence
        .facts
        .replicas()
        .is_some_and(|replicas| replicas >= 1);
    if !wants_pod {
        return merged(steps, inside);
    }
    for (step, moment) in seen(evidence, applied, state) {
        let last = steps.last().map(|last| (last.step, last.at_milliseconds));
        // A step that was missed is not put in behind later ones: times would run backwards.
        if last.is_some_and(|(last, _)| last >= step) {
            continue;
        }
        let at = refine(moment, start, now).duration_since(start).as_millis();
        let before = last.map_or(0, |(_, at)| at);
        let at = i64::try_from(at).unwrap_or(i64::MAX).max(before);
        steps.push(TimelineStep {
            step,
            at_milliseconds: at,
            milliseconds: at - before,
        });
    }
    let inside = with_refusal(inside, evidence, start);
    merged(steps, inside)
}

/// Adds that the start went over to copying its tools. It may do so late, when it ran already: so it stands apart from the
/// order of the other steps.
fn with_refusal(
    mut steps: Vec<TimelineStep>,
    evidence: &Evidence,
    start: Timestamp,
) -> Vec<TimelineStep> {
    let known = |step: &TimelineStep| step.step == StartStep::ToolsRefused;
    if let Some(moment) = evidence.tools_refused_at
        && !steps.iter().any(known)
    {
        let at = moment.duration_since(start).as_millis().max(0);
        steps.push(TimelineStep {
            step: StartStep::ToolsRefused,
            at_milliseconds: i64::try_from(at).unwrap_or(i64::MAX),
            milliseconds: 0,
        });
    }
    steps
}

/// Adds what the first process reports as done, each once: what it did again after the container was restarted is no
/// news of the start.
///
/// It counts from its own beginning, which lies so long before the moment at which its report came as it says.
pub fn with_inside(
    timeline: Vec<TimelineStep>,
    report: &Report,
    received: Timestamp,
    start: Timestamp,
) -> Vec<TimelineStep> {
    let since_start = received.duration_since(start).as_millis();
    let began = since_start - i128::from(report.uptime_ms);
    let is_new = |step: StartStep| timeline.iter().all(|known| known.step != step);
    let new: Vec<TimelineStep> = steps::done(report)
        .into_iter()
        .filter(|(step, _)| is_new(*step))
        .map(|(step, at_ms)| {
            // Nothing is done before the start or after its report, whatever the workspace says.
            let at = (began + i128::from(at_ms)).min(since_start).max(0);
            TimelineStep {
                step,
                at_milliseconds: i64::try_from(at).unwrap_or(i64::MAX),
                milliseconds: 0,
            }
        })
        .collect();
    if new.is_empty() {
        return timeline;
    }
    merged(timeline, new)
}

/// Steps that the workspace itself reports, and others that have no place of their own among those of the pod.
fn is_inside(step: StartStep) -> bool {
    matches!(
        step,
        StartStep::ToolsRefused
            | StartStep::NetworkAttached
            | StartStep::FilesPresent
            | StartStep::Cloned
            | StartStep::PostStartDone
            | StartStep::EditorReady
    )
}

/// Puts steps in the order of their times, and counts each from the one before it.
fn merged(mut steps: Vec<TimelineStep>, more: Vec<TimelineStep>) -> Vec<TimelineStep> {
    if more.is_empty() {
        return steps;
    }
    steps.extend(more);
    steps.sort_by_key(|step| step.at_milliseconds);
    let mut before = 0;
    for step in &mut steps {
        step.milliseconds = step.at_milliseconds - before;
        before = step.at_milliseconds;
    }
    steps
}

/// The best guess at a moment of which the pod names the second.
fn refine(named: Option<Timestamp>, start: Timestamp, now: Timestamp) -> Timestamp {
    let begins = Timestamp::from_second(start.as_second()).unwrap_or(start);
    let is_past = |named: Timestamp| now.duration_since(named) >= SignedDuration::from_secs(1);
    named
        .filter(|named| *named >= begins && is_past(*named))
        .unwrap_or(now)
}

/// Steps that are done, in order, with the moment that the pod names.
fn seen(
    evidence: &Evidence,
    applied: bool,
    state: ActualState,
) -> Vec<(StartStep, Option<Timestamp>)> {
    let mut steps = Vec::new();
    if applied {
        steps.push((StartStep::Applied, None));
    }
    // A pod of an earlier start that is still current in a cache says nothing about this one.
    let is_later = |pod: &&PodFacts| match (pod.created, evidence.pinned_at) {
        (Some(created), Some(pinned)) => created >= pinned,
        _ => true,
    };
    let pod = evidence.facts.main_pod().filter(is_later);
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

#[cfg(test)]
mod tests;
