//! The status of a set, from what came of it. Pure.

use jiff::Timestamp;

use crate::api::WorkspaceVariables;
use crate::api::variables::{AppliesTo, UsedBy, WorkspaceVariablesStatus};
use crate::controllers::variables::judge::{Accepted, Outcome};
use crate::model::conditions::Told;

const READY: &str = "Ready";
const STALLED: &str = "Stalled";
/// The reason of a set that may be used.
const ACCEPTED: &str = "Accepted";

/// What status says. A refusal leaves what was accepted before, which stays in use.
pub fn of(
    set: &WorkspaceVariables,
    outcome: &Outcome,
    used_by: Option<UsedBy>,
    now: Timestamp,
) -> WorkspaceVariablesStatus {
    let old = set.status.clone().unwrap_or_default();
    let generation = set.metadata.generation;
    let condition = |type_: &str, holds: bool, reason: &str, message: &str| {
        let told = Told {
            type_,
            status: Some(holds),
            reason,
            message,
        };
        told.after(&old.conditions, generation, now)
    };
    let (conditions, accepted, serial, opened_by) = match outcome {
        Outcome::Accepted(accepted) => {
            let said = says(accepted);
            (
                vec![condition(READY, true, ACCEPTED, &said)],
                Some(accepted.set.clone()),
                accepted
                    .serial
                    .and_then(|serial| i64::try_from(serial).ok()),
                Some(accepted.by.to_string()),
            )
        }
        refused => {
            let (reason, mut message) = refused.refusal().unwrap_or_default();
            if old.accepted.is_some() {
                message.push_str(". What was accepted before stays in use");
            }
            (
                vec![
                    condition(READY, false, reason, &message),
                    condition(STALLED, true, reason, &message),
                ],
                old.accepted.clone(),
                old.serial,
                old.opened_by.clone(),
            )
        }
    };
    WorkspaceVariablesStatus {
        used_by,
        observed_generation: generation,
        conditions,
        accepted,
        serial,
        opened_by,
        unreadable: Vec::new(),
    }
}

/// The reason of Ready as it was written last.
pub fn ready_reason(status: Option<&WorkspaceVariablesStatus>) -> Option<&str> {
    let conditions = &status?.conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == READY);
    ready.map(|ready| ready.reason.as_str())
}

fn says(accepted: &Accepted) -> String {
    let whom = match &accepted.set.applies_to {
        None => "Workspaces that list it".to_owned(),
        Some(AppliesTo {
            owner: Some(owner), ..
        }) => format!("Workspaces of {owner}"),
        Some(_) => "all Workspaces of the namespace".to_owned(),
    };
    let count = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    };
    format!(
        "{} and {}, for {whom}",
        count(accepted.variables, "variable"),
        count(accepted.files, "file"),
    )
}

#[cfg(test)]
mod tests;
