//! What the status says of sealed sets: names, never a value.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::api::environment::{
    OutdatedVariable, PinnedSet, PinnedVariables, VariableChange, VariablesLevel,
};
use crate::api::workspace::{Cause, EffectiveDesiredState, WorkspaceStatus};
use crate::model::conditions::{ConditionType, Reason, Wanted};
use crate::model::names::MAIN_CONTAINER;
use crate::model::status::Report;
use crate::model::variables::pin::VariablesPin;

/// Names of each kind that a status has: several sets of 1000 would be more than an object holds.
const NAMED: usize = 200;
/// Names in the message of a condition.
const MENTIONED: usize = 10;

/// What a pass found of sealed sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VariablesFound {
    /// Why what is newest, or a part of it, can't be had. What the workspace has already stays.
    pub problem: Option<Problem>,
    /// What is newest; none, nobody looked, and what the status says of it stays.
    pub compared: Option<Compared>,
}

/// Why something can't be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A set or Secret can't be used.
    Unavailable(String),
    /// Sets for its owner don't reach it: nobody checked who that is.
    OwnerUnchecked(String),
}

/// What is newest, beside what the workspace has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// The digest over what is newest.
    pub digest: String,
    /// What a start would change that takes it.
    pub outdated: Vec<OutdatedVariable>,
    /// How many more there are.
    pub unnamed: Option<i64>,
}

impl Compared {
    /// Of all that differs; a status names the first of it.
    pub fn new(digest: String, mut outdated: Vec<OutdatedVariable>) -> Self {
        outdated.sort();
        let unnamed = count(outdated.len().saturating_sub(NAMED));
        outdated.truncate(NAMED);
        Self {
            digest,
            outdated,
            unnamed,
        }
    }

    /// What the status says already, if it compared the same: the values need not be read again.
    pub fn known(previous: &WorkspaceStatus, secret: &str, digest: &str) -> Option<Self> {
        let known = previous.variables.as_ref()?;
        let same = known.secret == secret && known.compared.as_deref() == Some(digest);
        same.then(|| Self {
            digest: digest.to_owned(),
            outdated: known.outdated.clone(),
            unnamed: known.outdated_unnamed,
        })
    }
}

fn count(of: usize) -> Option<i64> {
    i64::try_from(of).ok().filter(|count| *count > 0)
}

/// The conditions, where sealed sets concern the workspace at all.
pub(super) fn conditions(report: &Report<'_>, status: Option<&PinnedVariables>) -> Vec<Wanted> {
    let blocked = report
        .blocked
        .filter(|blocked| blocked.cause == Cause::VariablesUnavailable);
    let unavailable = Reason::Cause(Cause::VariablesUnavailable);
    let (is_ready, reason, message) = match (blocked, &report.variables.problem, status) {
        (Some(blocked), ..) => (false, unavailable, blocked.message.clone()),
        (None, Some(Problem::Unavailable(why)), _) => (false, unavailable, why.clone()),
        (None, Some(Problem::OwnerUnchecked(why)), _) => {
            (false, Reason::OwnerUnchecked, why.clone())
        }
        (None, None, Some(pinned)) if !pinned.secret.is_empty() => {
            let message = format!(
                "what it has of {} sets and Secrets is in Secret {}",
                pinned.sets.len(),
                pinned.secret
            );
            (true, Reason::Pinned, message)
        }
        (None, None, _) => return outdated(status).into_iter().collect(),
    };
    let ready = Wanted {
        type_: ConditionType::VariablesReady,
        status: Some(is_ready),
        reason,
        message,
    };
    std::iter::once(ready).chain(outdated(status)).collect()
}

fn outdated(status: Option<&PinnedVariables>) -> Option<Wanted> {
    let pinned = status.filter(|pinned| !pinned.outdated.is_empty())?;
    let unnamed = pinned.outdated_unnamed.unwrap_or(0);
    let mut names: Vec<String> = pinned.outdated.iter().map(words).collect();
    let more = names.len().saturating_sub(MENTIONED);
    names.truncate(MENTIONED);
    let more = count(more).unwrap_or(0).saturating_add(unnamed);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    Some(Wanted {
        type_: ConditionType::VariablesOutdated,
        status: Some(true),
        reason: Reason::NewerSets,
        message: format!(
            "newer variables wait: {}; workstead vars update has the next start take them",
            names.join(", ")
        ),
    })
}

fn words(outdated: &OutdatedVariable) -> String {
    let change = match outdated.change {
        VariableChange::Added => "added",
        VariableChange::Changed => "changed",
        VariableChange::Removed => "removed",
    };
    format!("{} {change}", outdated.name)
}

/// What the workspace has, from the pin of its last start, beside what is newest.
pub(super) fn status(report: &Report<'_>, previous: &WorkspaceStatus) -> Option<PinnedVariables> {
    if report.decision.effective == EffectiveDesiredState::Terminated {
        return None;
    }
    let Some(pinned) = report.pinned else {
        return previous.variables.clone();
    };
    let inputs = &pinned.pin.inputs;
    let pin = inputs.variables.as_ref();
    let mut status = pin
        .map(|pin| of_pin(pin, &literals(&pinned.pin.template)))
        .unwrap_or_default();
    let before = previous.variables.as_ref();
    match (&report.variables.compared, before) {
        (Some(compared), _) => {
            status.compared = Some(compared.digest.clone());
            status.outdated.clone_from(&compared.outdated);
            status.outdated_unnamed = compared.unnamed;
        }
        (None, Some(before)) if before.secret == status.secret => {
            status.compared.clone_from(&before.compared);
            status.outdated.clone_from(&before.outdated);
            status.outdated_unnamed = before.outdated_unnamed;
        }
        (None, _) => {}
    }
    let concerns = !status.secret.is_empty() || !status.outdated.is_empty();
    concerns.then_some(status)
}

/// Names of variables whose values stand in the pod itself: there they hide what a set brings.
fn literals(template: &PodTemplateSpec) -> BTreeSet<&str> {
    let containers = template.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .filter(|container| container.name == MAIN_CONTAINER)
        .flat_map(|container| container.env.iter().flatten())
        .filter(|variable| variable.value_from.is_none())
        .map(|variable| variable.name.as_str())
        .collect()
}

fn of_pin(pin: &VariablesPin, literals: &BTreeSet<&str>) -> PinnedVariables {
    let set = |index: usize| {
        let source = pin.sources.get(index)?;
        let of = |of: usize| of == index;
        let env = pin.env.iter().filter(|(_, source)| of(**source));
        let env = env.map(|(name, _)| name.to_string());
        let env: Vec<String> = env
            .filter(|name| !literals.contains(name.as_str()))
            .collect();
        let files = pin.files.iter().filter(|file| of(file.source));
        let files: Vec<String> = files.map(|file| file.path.to_string()).collect();
        let over = |names: &[String]| names.len().saturating_sub(NAMED);
        Some(PinnedSet {
            level: source.level,
            name: source.name.clone(),
            digest: (source.level != VariablesLevel::Inline).then(|| source.digest.clone()),
            unnamed: count(over(&env).saturating_add(over(&files))),
            env: env.into_iter().take(NAMED).collect(),
            files: files.into_iter().take(NAMED).collect(),
        })
    };
    PinnedVariables {
        secret: pin.secret.clone(),
        sets: (0..pin.sources.len()).filter_map(set).collect(),
        ..PinnedVariables::default()
    }
}
