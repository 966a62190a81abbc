//! The moments that the timers run from: persisted, and moved on by each pass.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::api::workspace::{ActualState, EffectiveDesiredState, WorkspaceStatus};
use crate::model::conditions::{ConditionType, is_true};
use crate::model::desired::{Decision, is_stopped};
use crate::model::evidence::{Facts, Timers};
use crate::model::revision::{Pinned, micro};
use crate::model::status::Report;

/// So far clocks of one cluster may differ before a moment that another one wrote is not believed.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(60);

/// Moves the persisted moments on: where the timers begin.
///
/// - A start begins when its pin was made, so that a controller that dies between pin and status loses nothing.
/// - A stop begins when it is first wanted, and its moment goes when nothing is left to stop.
/// - A pod that was ready and is no more begins the startup timer again, from the moment the pod itself names.
/// - A start that goes up again after it was down begins the startup timer again too.
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
    let goes_on = is_recorded(previous, pinned);
    let was_ready = goes_on && is_true(&previous.conditions, ConditionType::PodReady);
    let was_down = goes_on
        && (previous.stop_requested_at.is_some()
            || previous.actual_state == Some(ActualState::Stopped));
    let lost =
        was_ready && decision.replicas >= 1 && !facts.has_ready_pod() && facts.pods.is_some();
    let last_ready_at = if lost {
        let named = facts
            .main_pod()
            .and_then(|pod| pod.condition("Ready"))
            .and_then(|condition| condition.since);
        // The pod names its moment by another clock. Far off, it is that clock, or we looked away for long: then the timer
        // begins when we see it. And it was ready in this start, so it is not before it.
        let believed = named.filter(|since| now.duration_since(*since) < CLOCK_SLACK);
        Some(
            believed
                .unwrap_or(now)
                .min(now)
                .max(start_requested_at.unwrap_or(Timestamp::MIN)),
        )
    } else if was_down && decision.replicas >= 1 {
        Some(now)
    } else {
        previous.last_ready_at.as_ref().map(|time| time.0)
    };
    Timers {
        start_requested_at,
        stop_requested_at,
        last_ready_at,
    }
}

/// Whether the start of this pass is the one that the status speaks of. A new one has its own moments.
fn is_recorded(previous: &WorkspaceStatus, pinned: Option<&Pinned>) -> bool {
    let recorded = previous.revision.as_ref().map(|revision| &revision.name);
    recorded.is_some() && recorded == pinned.map(|pinned| &pinned.name)
}

/// When a state began: kept while it lasts.
pub(super) fn since(
    is: bool,
    was: bool,
    before: Option<&MicroTime>,
    now: Timestamp,
) -> Option<MicroTime> {
    let kept = before.filter(|_| was).cloned();
    is.then(|| kept.unwrap_or_else(|| micro(now)))
}

/// When it stopped. An error in between does not begin the time anew, nor a start that is asked for and refused: it is
/// stopped for as long as it is not started.
pub(super) fn stopped_since(
    report: &Report<'_>,
    previous: &WorkspaceStatus,
    state: ActualState,
    now: Timestamp,
) -> Option<MicroTime> {
    let is_down = |state| state == Some(ActualState::Stopped);
    let stays = is_down(previous.actual_state) && is_down(Some(state))
        || matches!(
            report.decision.effective,
            EffectiveDesiredState::Stopped | EffectiveDesiredState::Terminated
        );
    let before = previous.stopped_since.clone().filter(|_| stays);
    before.or_else(|| (state == ActualState::Stopped).then(|| micro(now)))
}
