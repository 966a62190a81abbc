//! The state of a workspace, derived from evidence each time and never from the state before.

use jiff::Timestamp;

use crate::api::workspace::{ActualState, Failure};
use crate::model::evidence::{Evidence, Termination};
use crate::model::failures;

/// What the evidence says, and by which row of the table in [`derive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// The row that matched first.
    pub row: &'static str,
    /// The state.
    pub state: ActualState,
    /// What is wrong, also when it may still mend itself.
    pub failure: Option<Failure>,
}

/// The state and what is wrong. Pure and total.
pub fn actual_state(evidence: &Evidence, now: Timestamp) -> (ActualState, Option<Failure>) {
    let derived = derive(evidence, now);
    (derived.state, derived.failure)
}

/// Reasons of the condition Progressing while a rollout goes on.
const ROLLING: [&str; 3] = [
    "NewReplicaSetCreated",
    "FoundNewReplicaSet",
    "ReplicaSetUpdated",
];

/// The state by the first row that matches.
///
/// | row | when | state |
/// |---|---|---|
/// | 1 | an object could not be applied; not while a ready pod should go on running, nor when all is gone | Error |
/// | 2 | a termination goes on / is done | Terminating / Terminated |
/// | 2a | a start waits for a pod before it to be gone; stopping timer over / not over | Failed / Starting |
/// | 3 | no Deployment, and nothing was ever applied | CreationRequested |
/// | 4 | no Deployment, or one without a spec | Unknown |
/// | 5 | the Deployment's status speaks of an older spec; replicas 1 / 0 | Starting / Stopping |
/// | 6 | no status or no conditions | Unknown |
/// | 7 | no Progressing with a reason, or no replicas | Unknown |
/// | 8 | a pod is wanted, and a suspect is due | Failed |
/// | 9 | a pod is wanted, none is ready, the startup timer is over | Failed |
/// | 10 | no pod is wanted, one is left; stopping timer over / not over | Failed / Stopping |
/// | 11 | ProgressDeadlineExceeded | Failed |
/// | 12 | a rollout goes on; replicas 0 / 1 | Stopping / Starting |
/// | 13 | no Available with a reason | Unknown |
/// | 14 | the rollout is done: by the counts | Stopped, Running, Starting, Stopping |
/// | 15 | anything else | Unknown |
pub fn derive(evidence: &Evidence, now: Timestamp) -> Derived {
    let facts = &evidence.facts;
    let at = |row: &'static str, state: ActualState| Derived {
        row,
        state,
        failure: None,
    };
    if let Some(error) = &evidence.apply_error {
        let goes_on = facts.has_ready_pod()
            && !error.while_stopping
            && evidence.termination == Termination::None;
        if evidence.termination != Termination::Done && !goes_on {
            let failure = Some(failures::apply_rejected(error));
            return Derived {
                row: "1",
                state: ActualState::Error,
                failure,
            };
        }
    }
    match evidence.termination {
        Termination::Done => return at("2", ActualState::Terminated),
        Termination::InProgress => {
            let stuck = facts.has_pod_left() && is_over(failures::stopping_deadline(evidence), now);
            let failure = stuck.then(|| failures::stop_stuck(evidence));
            return Derived {
                row: "2",
                state: ActualState::Terminating,
                failure,
            };
        }
        Termination::None => {}
    }
    if evidence.waits {
        // Starting is what was asked for and what comes; the stop before it is only how.
        let stuck = facts.has_pod_left() && is_over(failures::stopping_deadline(evidence), now);
        let failure = stuck.then(|| failures::stop_stuck(evidence));
        let state = if stuck {
            ActualState::Failed
        } else {
            ActualState::Starting
        };
        return Derived {
            row: "2a",
            state,
            failure,
        };
    }
    let Some(deployment) = &facts.deployment else {
        return if evidence.applied_before {
            at("4", ActualState::Unknown)
        } else {
            at("3", ActualState::CreationRequested)
        };
    };
    if !deployment.has_spec {
        return at("4", ActualState::Unknown);
    }
    let mut derived = from_deployment(evidence, now);
    // What is wrong is shown while it may still mend itself; what goes right shows nothing.
    if derived.failure.is_none()
        && matches!(derived.state, ActualState::Starting | ActualState::Unknown)
    {
        derived.failure = failures::suspects(evidence, now)
            .into_iter()
            .find(|suspect| suspect.shown)
            .map(|suspect| suspect.failure);
    }
    derived
}

/// Rows 5 to 15.
fn from_deployment(evidence: &Evidence, now: Timestamp) -> Derived {
    let facts = &evidence.facts;
    let at = |row: &'static str, state: ActualState| Derived {
        row,
        state,
        failure: None,
    };
    let failed = |row: &'static str, failure: Failure| Derived {
        row,
        state: ActualState::Failed,
        failure: Some(failure),
    };
    let Some(deployment) = &facts.deployment else {
        return at("4", ActualState::Unknown);
    };
    let status = deployment.status.as_ref();
    let observed = status.map_or(0, |status| status.observed_generation);
    if deployment
        .generation
        .is_some_and(|generation| generation > observed)
    {
        match deployment.replicas {
            Some(1) => return at("5", ActualState::Starting),
            Some(0) => return at("5", ActualState::Stopping),
            _ => {}
        }
    }
    let Some(status) = status.filter(|status| status.conditions.is_some()) else {
        return at("6", ActualState::Unknown);
    };
    let reason_of = |type_: &str| {
        status
            .condition(type_)
            .and_then(|condition| condition.reason.as_deref())
    };
    let (Some(progressing), Some(replicas)) = (reason_of("Progressing"), deployment.replicas)
    else {
        return at("7", ActualState::Unknown);
    };
    let suspects = failures::suspects(evidence, now);
    if replicas >= 1 {
        if let Some(fatal) = suspects.iter().find(|suspect| suspect.is_fatal(now)) {
            return failed("8", fatal.failure.clone());
        }
        let over = is_over(failures::startup_deadline(evidence), now);
        if facts.pods.is_some() && !facts.has_ready_pod() && over {
            return failed("9", earliest(&suspects, evidence));
        }
    }
    if replicas == 0 && facts.has_pod_left() {
        return if is_over(failures::stopping_deadline(evidence), now) {
            failed("10", failures::stop_stuck(evidence))
        } else {
            at("10", ActualState::Stopping)
        };
    }
    if progressing == "ProgressDeadlineExceeded" {
        return failed("11", earliest(&suspects, evidence));
    }
    if ROLLING.contains(&progressing) {
        match replicas {
            0 => return at("12", ActualState::Stopping),
            1 => return at("12", ActualState::Starting),
            _ => {}
        }
    }
    let Some(availability) = reason_of("Available") else {
        return at("13", ActualState::Unknown);
    };
    if progressing != "NewReplicaSetAvailable" {
        return at("15", ActualState::Unknown);
    }
    let (available, unavailable) = (status.available, status.unavailable);
    let serves = facts.pods.is_none() || facts.has_ready_pod();
    match (availability, replicas) {
        ("MinimumReplicasAvailable", 0) if available == 0 => at("14a", ActualState::Stopped),
        ("MinimumReplicasAvailable", _) if replicas == available && unavailable == 0 => at(
            "14b",
            if serves {
                ActualState::Running
            } else {
                ActualState::Starting
            },
        ),
        ("MinimumReplicasAvailable", 0) if available == 1 => at("14c", ActualState::Stopping),
        ("MinimumReplicasAvailable" | "MinimumReplicasUnavailable", 1) if available == 0 => {
            at("14d", ActualState::Starting)
        }
        _ => at("15", ActualState::Unknown),
    }
}

fn is_over(deadline: Option<Timestamp>, now: Timestamp) -> bool {
    deadline.is_some_and(|deadline| now >= deadline)
}

fn earliest(suspects: &[failures::Suspect], evidence: &Evidence) -> Failure {
    suspects.first().map_or_else(
        || failures::startup_timeout(evidence),
        |suspect| suspect.failure.clone(),
    )
}

#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
