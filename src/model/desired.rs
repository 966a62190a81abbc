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
//! - A stop by a timer is undone by the annotation, by a visit that the proxy records (`status.wake`), by a restart and by
//!   another spec. A visit of a workspace that the spec wants Stopped is forgotten like a restart: whoever wrote Stopped
//!   meant it. One that comes as a timer ends starts the workspace again once it has stopped; nothing undoes a termination.
//! - No pod is made beside another one that may still write to the home volume: a start holds 0 replicas until none is
//!   left ([`Decision::waits`]). A ReplicaSet that is scaled up again, or a Deployment that is made anew, would not wait.
//! - While the spec can't be carried out (blocked), a running workspace goes on running: a restart waits, since its
//!   second half could not follow. One whose first half is done when that happens is finished with the pin of the start
//!   before it: the workspace ran, and a class that breaks is no reason to end it. What a restart would have taken anew
//!   waits for the next start. A stop is always carried out.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::api::class::Retention;
use crate::api::workspace::{
    ActualState, Cause, DesiredState, EffectiveDesiredState, Failure, Restart, StoppedByTimer,
    Workspace, WorkspaceStatus,
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
    pub blocked: Blocked,
    /// What a timer ends now, if one is over.
    pub over: Option<&'a StoppedByTimer>,
}

/// What can still be done of a spec that can't be carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Blocked {
    /// All of it.
    #[default]
    No,
    /// What ran goes on as it was, and nothing new starts.
    Spec,
    /// The home volume is not ours, or goes: nothing at all starts on it.
    Volume,
}

impl Blocked {
    /// By what blocks it.
    pub fn of(failure: Option<&Failure>) -> Self {
        match failure.map(|failure| failure.cause) {
            None => Self::No,
            Some(Cause::VolumeForeign | Cause::VolumeBind) => Self::Volume,
            Some(_) => Self::Spec,
        }
    }
}

/// What this pass works towards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The desired state in effect, for the status.
    pub effective: EffectiveDesiredState,
    /// Replicas of the Deployment: 0 or 1.
    pub replicas: i32,
    /// Whether it should run and waits, without replicas, for a pod before it to be gone.
    pub waits: bool,
    /// The restart in progress.
    pub restart: Option<Restart>,
    /// For `status.lastHandledRestartAt`, once everything was applied.
    pub last_handled_restart_at: Option<String>,
    /// For `status.lastHandledWakeAt`, once everything was applied.
    pub last_handled_wake_at: Option<String>,
    /// For `status.lastHandledVisitAt`, once everything was applied.
    pub last_handled_visit_at: Option<MicroTime>,
    /// The stop by a timer that holds.
    pub stopped_by_timer: Option<StoppedByTimer>,
    /// Whether another pass must follow at once, when the status is written.
    pub again: bool,
}

impl Decision {
    /// Whether it is terminated although the spec asks for something else, which it will not get. One that a timer ended
    /// and whose spec says nothing has what it asked for.
    pub fn is_asked_back(&self, workspace: &Workspace) -> bool {
        let ends = self.effective == EffectiveDesiredState::Terminated
            && workspace.metadata.deletion_timestamp.is_none();
        let asks = match workspace.spec.desired_state {
            Some(desired) => desired != DesiredState::Terminated,
            None => self.stopped_by_timer.is_none(),
        };
        ends && asks
    }

    /// The same, ended by a timer.
    fn ended_by(mut self, stop: StoppedByTimer) -> Self {
        self.effective = if stop.timer.terminates() {
            EffectiveDesiredState::Terminated
        } else {
            EffectiveDesiredState::Stopped
        };
        self.replicas = 0;
        self.stopped_by_timer = Some(stop);
        self
    }

    /// Whether a pod should run, now or as soon as a restart has stopped it.
    pub fn wants_running(&self) -> bool {
        matches!(
            self.effective,
            EffectiveDesiredState::Running | EffectiveDesiredState::RestartRequested
        )
    }
}

/// Decides what this pass works towards.
pub fn decide(question: &Question<'_>) -> Decision {
    let mut decision = wish(question);
    let facts = question.facts;
    let goes_up = decision.replicas > 0 && facts.replicas().unwrap_or(0) == 0;
    if goes_up && may_have_a_pod(facts) {
        decision.replicas = 0;
        decision.waits = true;
    }
    decision
}

/// Whether a pod may be there that holds the volume, or may still be made by what was scaled down: pods that nobody
/// looked at count, and so does a Deployment whose controller has not caught up with its 0 replicas. A pod that a new
/// Deployment would adopt does not: it is the one that should run.
fn may_have_a_pod(facts: &Facts) -> bool {
    let adopts = facts.deployment.is_none();
    let Some(pods) = &facts.pods else { return true };
    let holds = pods
        .iter()
        .any(|pod| pod.may_hold_volume() && !(adopts && pod.of_orphaned_set));
    let deployment = facts.deployment.as_ref();
    // Without a status its controller has never looked at it, and made nothing.
    let lags = deployment.is_some_and(|deployment| {
        deployment.status.as_ref().is_some_and(|status| {
            deployment.generation.unwrap_or(0) > status.observed_generation
                || status.available > 0
                || status.unavailable > 0
        })
    });
    holds || lags
}

/// What the spec, a restart and the timers wish for, whatever is there.
fn wish(question: &Question<'_>) -> Decision {
    let Question {
        workspace,
        previous,
        facts,
        blocked,
        over,
    } = *question;
    let annotation = |key: &str| workspace.metadata.annotations.as_ref()?.get(key).cloned();
    let restart_asked = annotation(RESTART_REQUESTED_ANNOTATION).filter(|value| {
        !value.is_empty() && previous.last_handled_restart_at.as_ref() != Some(value)
    });
    let wake_asked = annotation(WAKE_REQUESTED_ANNOTATION)
        .filter(|value| !value.is_empty() && previous.last_handled_wake_at.as_ref() != Some(value));
    let visit = previous.wake.as_ref().map(|wake| &wake.requested_at);
    let visited = visit.filter(|visit| previous.last_handled_visit_at.as_ref() != Some(visit));
    let mut decision = Decision {
        effective: EffectiveDesiredState::Running,
        replicas: 1,
        waits: false,
        restart: None,
        last_handled_restart_at: previous.last_handled_restart_at.clone(),
        last_handled_wake_at: wake_asked
            .clone()
            .or_else(|| previous.last_handled_wake_at.clone()),
        last_handled_visit_at: visited.or(previous.last_handled_visit_at.as_ref()).cloned(),
        stopped_by_timer: None,
        again: false,
    };
    // The actual state alone would forget it: an error in between reads Error.
    let began = previous.desired_state == Some(EffectiveDesiredState::Terminated)
        || matches!(
            previous.actual_state,
            Some(ActualState::Terminating | ActualState::Terminated)
        );
    let deleted = workspace.metadata.deletion_timestamp.is_some();
    if began || deleted || workspace.spec.desired_state == Some(DesiredState::Terminated) {
        decision.stopped_by_timer = previous.stopped_by_timer.clone();
        decision.effective = EffectiveDesiredState::Terminated;
        decision.replicas = 0;
        decision.last_handled_wake_at = previous.last_handled_wake_at.clone();
        decision.last_handled_visit_at = previous.last_handled_visit_at.clone();
        return decision;
    }
    let woken = wake_asked.is_some() || visited.is_some() || restart_asked.is_some();
    if let Some(stop) = over.filter(|stop| stop.timer.terminates() || restart_asked.is_none()) {
        // Whoever asks for a start at this moment is heard when it has stopped.
        decision.last_handled_wake_at = previous.last_handled_wake_at.clone();
        decision.last_handled_visit_at = previous.last_handled_visit_at.clone();
        return decision.ended_by(stop.clone());
    }
    let unchanged = |stop: &&StoppedByTimer| Some(stop.generation) == workspace.metadata.generation;
    if let Some(stop) = previous
        .stopped_by_timer
        .as_ref()
        .filter(unchanged)
        .filter(|_| !woken)
    {
        return decision.ended_by(stop.clone());
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
            if blocked != Blocked::No {
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
    let begun = previous
        .restart
        .as_ref()
        .filter(|restart| restart.requested == requested);
    let recorded = begun.is_some_and(|restart| restart.stop_observed);
    if blocked != Blocked::No {
        // Only a restart that began is recorded: one that waits must not read like the second half of one.
        let stopped = recorded || (begun.is_some() && is_stopped(facts));
        let up = facts.replicas().unwrap_or(0) > 0;
        let finishes = recorded && blocked == Blocked::Spec;
        decision.effective = EffectiveDesiredState::RestartRequested;
        decision.replicas = i32::from(up || finishes);
        decision.again = stopped && !recorded;
        decision.restart = begun.map(|_| Restart {
            requested,
            stop_observed: stopped,
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

/// Whether this pass may delete the volume. What was decided when it became Terminated stays: a volume that was kept
/// then, and that people were told is kept, does not go because somebody edits the class.
pub fn may_delete_volume(previous: &WorkspaceStatus, retention: Retention) -> bool {
    retention == Retention::Delete && previous.actual_state != Some(ActualState::Terminated)
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
