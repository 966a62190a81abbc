//! The desired state in effect: of the spec, a request to restart, and what timers decided.
//!
//! Rules that are not obvious:
//! - A file that leaves `desiredState` out, with nothing else said, means Running.
//! - Terminated is final, and so is a termination that began: half of a workspace is not revived. Only deleting the
//!   Workspace and creating it again does that (and adopts a retained volume).
//! - A restart holds 0 replicas until no pod is left, records that in `status.restart`, and scales up in a later pass:
//!   a controller that dies in between neither skips the stop nor repeats it.
//! - A restart of a workspace that has no pod is a start. One that a timer stopped is woken by it. One that the spec
//!   wants Stopped stays stopped (a controller does not write the spec): the request is answered and forgotten, so that
//!   it does not fire by surprise at a later start.
//! - While the spec can't be carried out (blocked), a running workspace goes on running: a restart waits, since its
//!   second half could not follow. A stop is always carried out.

use crate::api::workspace::{
    ActualState, DesiredState, EffectiveDesiredState, Restart, StoppedByTimer, Workspace,
    WorkspaceStatus,
};
use crate::model::evidence::{Evidence, Facts, Termination};
use crate::model::names::{RESTART_REQUESTED_ANNOTATION, WAKE_REQUESTED_ANNOTATION};
use crate::model::state;

/// All that [`decide`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The Workspace: its spec, annotations and generation.
    pub workspace: &'a Workspace,
    /// Its status before this pass.
    pub previous: &'a WorkspaceStatus,
    /// What is there, before this pass applies anything.
    pub facts: &'a Facts,
    /// Whether the spec can't be carried out.
    pub blocked: bool,
}

/// What this pass works towards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The desired state in effect, for the status.
    pub effective: EffectiveDesiredState,
    /// Replicas of the Deployment: 0 or 1.
    pub replicas: i32,
    /// The restart in progress.
    pub restart: Option<Restart>,
    /// For `status.lastHandledRestartAt`, once everything was applied.
    pub last_handled_restart_at: Option<String>,
    /// For `status.lastHandledWakeAt`, once everything was applied.
    pub last_handled_wake_at: Option<String>,
    /// The stop by a timer that holds.
    pub stopped_by_timer: Option<StoppedByTimer>,
    /// Whether another pass must follow at once, when the status is written.
    pub again: bool,
}

impl Decision {
    /// Whether a pod should run, now or as soon as a restart has stopped it.
    pub fn wants_running(&self) -> bool {
        matches!(
            self.effective,
            EffectiveDesiredState::Running | EffectiveDesiredState::RestartRequested
        )
    }
}

/// Timers that end a workspace rather than stop it.
const TERMINATING_TIMERS: [&str; 2] = ["maxStopped", "maxLifetime"];

/// Decides what this pass works towards.
pub fn decide(question: &Question<'_>) -> Decision {
    let Question {
        workspace,
        previous,
        facts,
        blocked,
    } = *question;
    let annotation = |key: &str| workspace.metadata.annotations.as_ref()?.get(key).cloned();
    let restart_asked = annotation(RESTART_REQUESTED_ANNOTATION).filter(|value| {
        !value.is_empty() && previous.last_handled_restart_at.as_ref() != Some(value)
    });
    let wake_asked = annotation(WAKE_REQUESTED_ANNOTATION)
        .filter(|value| !value.is_empty() && previous.last_handled_wake_at.as_ref() != Some(value));
    let mut decision = Decision {
        effective: EffectiveDesiredState::Running,
        replicas: 1,
        restart: None,
        last_handled_restart_at: previous.last_handled_restart_at.clone(),
        last_handled_wake_at: wake_asked
            .clone()
            .or_else(|| previous.last_handled_wake_at.clone()),
        stopped_by_timer: None,
        again: false,
    };
    let ended = matches!(
        previous.actual_state,
        Some(ActualState::Terminating | ActualState::Terminated)
    );
    let deleted = workspace.metadata.deletion_timestamp.is_some();
    if ended || deleted || workspace.spec.desired_state == Some(DesiredState::Terminated) {
        decision.effective = EffectiveDesiredState::Terminated;
        decision.replicas = 0;
        decision.last_handled_wake_at = previous.last_handled_wake_at.clone();
        return decision;
    }
    let woken = wake_asked.is_some() || restart_asked.is_some();
    let unchanged = |stop: &&StoppedByTimer| Some(stop.generation) == workspace.metadata.generation;
    if let Some(stop) = previous
        .stopped_by_timer
        .as_ref()
        .filter(unchanged)
        .filter(|_| !woken)
    {
        decision.effective = if TERMINATING_TIMERS.contains(&stop.timer.as_str()) {
            EffectiveDesiredState::Terminated
        } else {
            EffectiveDesiredState::Stopped
        };
        decision.replicas = 0;
        decision.stopped_by_timer = Some(stop.clone());
        return decision;
    }
    if workspace.spec.desired_state == Some(DesiredState::Stopped) {
        decision.effective = EffectiveDesiredState::Stopped;
        decision.replicas = 0;
        decision.last_handled_restart_at = restart_asked.or(decision.last_handled_restart_at);
        return decision;
    }
    match restart_asked {
        Some(requested) => restart(decision, requested, question),
        None => {
            if blocked {
                decision.replicas = facts.replicas().unwrap_or(0).clamp(0, 1);
            }
            decision
        }
    }
}

/// The part of a restart that this pass carries out.
fn restart(mut decision: Decision, requested: String, question: &Question<'_>) -> Decision {
    let Question {
        previous,
        facts,
        blocked,
        ..
    } = *question;
    let recorded = previous
        .restart
        .as_ref()
        .is_some_and(|restart| restart.requested == requested && restart.stop_observed);
    if blocked {
        decision.effective = EffectiveDesiredState::RestartRequested;
        decision.replicas = facts.replicas().unwrap_or(0).clamp(0, 1);
        decision.restart = Some(Restart {
            requested,
            stop_observed: recorded,
        });
        return decision;
    }
    let nothing_to_stop = facts.deployment.is_none() && !facts.has_pod_left();
    if recorded || nothing_to_stop {
        decision.last_handled_restart_at = Some(requested);
        return decision;
    }
    let stopped = is_stopped(facts);
    decision.effective = EffectiveDesiredState::RestartRequested;
    decision.replicas = 0;
    decision.again = stopped;
    decision.restart = Some(Restart {
        requested,
        stop_observed: stopped,
    });
    decision
}

/// Whether what is there reads Stopped: scaled down, and pods were looked at and none is left.
pub fn is_stopped(facts: &Facts) -> bool {
    let evidence = Evidence {
        facts: facts.clone(),
        applied_before: true,
        ..Evidence::default()
    };
    // The rows that yield Stopped ask no clock.
    let state = state::derive(&evidence, jiff::Timestamp::UNIX_EPOCH).state;
    facts.pods.is_some() && state == ActualState::Stopped
}

/// What is left of a workspace that should be terminated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remaining {
    /// A pod, or an object that a pod needs other than the volume.
    pub objects: bool,
    /// The claim of the home volume, where the class lets it be deleted.
    pub volume_to_delete: bool,
}

/// How far a termination is.
pub fn termination(
    decision: &Decision,
    previous: &WorkspaceStatus,
    remaining: Remaining,
) -> Termination {
    if previous.actual_state == Some(ActualState::Terminated) {
        return Termination::Done;
    }
    if decision.effective != EffectiveDesiredState::Terminated {
        return Termination::None;
    }
    if remaining.objects || remaining.volume_to_delete {
        Termination::InProgress
    } else {
        Termination::Done
    }
}

#[cfg(test)]
mod tests;
