//! The pinned pod template of a start, and what differs from it.
//!
//! Each start pins its whole template in a ControllerRevision, which is written before the Deployment is touched. While
//! the workspace is up, the pinned template is applied again byte for byte: a new release, a changed class or a changed
//! file wait for the next start. [`template_to_apply`] says which template to apply; [`pending_changes`] what waits.
//!
//! A start takes what is new when
//! - the Deployment has no replicas (or was never made) and should have one; or
//! - the start never succeeded and the spec changed: whoever mends a wrong image expects it to be used, and there is
//!   nothing that a new pod would interrupt; or
//! - it is Failed with no pod ready: the same, and then a mended class counts too.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::workspace::{
    ActualState, ChangeEffect, EffectiveDesiredState, PendingChange, StartStep, WorkspaceStatus,
};
use crate::model::class::Deadlines;
use crate::model::evidence::Facts;
use crate::model::names::MAIN_CONTAINER;
use crate::model::workspace::{Identity, ValidatedWorkspace};

/// Version of the renderer, in each pin.
pub const RENDERER: &str = concat!("workstead/", env!("CARGO_PKG_VERSION"));

/// What a ControllerRevision of ours holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// What it was made of.
    pub inputs: PinInputs,
    /// The whole pod template.
    pub template: PodTemplateSpec,
}

/// What a template was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinInputs {
    /// Version of the renderer.
    pub renderer: String,
    /// Generation of the Workspace.
    pub generation: i64,
    /// Name of the class.
    pub class_name: String,
    /// The image as written.
    pub image: String,
    /// The tools image.
    pub tools_image: String,
    /// Time limits, for the time when the spec no longer validates.
    pub deadlines: Deadlines,
    /// When this start was asked for.
    pub started_at: MicroTime,
}

impl PinInputs {
    /// What the template of a Workspace is made of, for a start now.
    pub fn of(workspace: &ValidatedWorkspace, now: Timestamp) -> Self {
        Self {
            renderer: RENDERER.to_owned(),
            generation: workspace.generation,
            class_name: workspace.class_name.to_string(),
            image: workspace.image.to_string(),
            tools_image: workspace.installation.tools_image.to_string(),
            deadlines: workspace.deadlines,
            started_at: micro(now),
        }
    }
}

/// A moment as a status keeps it: to the microsecond.
pub fn micro(moment: Timestamp) -> MicroTime {
    MicroTime(Timestamp::from_microsecond(moment.as_microsecond()).unwrap_or(moment))
}

/// A pin with its name and number.
#[derive(Debug, Clone, PartialEq)]
pub struct Pinned {
    /// Name of the ControllerRevision.
    pub name: String,
    /// Its number; each start has the next.
    pub number: i64,
    /// What it holds.
    pub pin: Pin,
}

impl Pinned {
    /// Reads a ControllerRevision. None when it isn't one of ours.
    pub fn of(revision: &ControllerRevision) -> Option<Self> {
        let data = revision.data.as_ref()?;
        let pin = Pin::deserialize(&data.0).ok()?;
        Some(Self {
            name: revision.metadata.name.clone()?,
            number: revision.revision,
            pin,
        })
    }

    /// The newest pin of a workspace.
    pub fn newest(revisions: &[ControllerRevision], identity: &Identity) -> Option<Self> {
        owned(revisions, identity)
            .filter_map(Self::of)
            .max_by_key(|pinned| pinned.number)
    }
}

/// Revisions that the Workspace controls. Those of an earlier Workspace of the same name are not ours.
fn owned<'a>(
    revisions: &'a [ControllerRevision],
    identity: &'a Identity,
) -> impl Iterator<Item = &'a ControllerRevision> {
    revisions.iter().filter(|revision| {
        let owners = revision
            .metadata
            .owner_references
            .as_deref()
            .unwrap_or_default();
        owners
            .iter()
            .any(|owner| owner.controller == Some(true) && owner.uid == identity.uid)
    })
}

/// Names of revisions that are no longer kept: all but the two newest.
pub fn superseded(revisions: &[ControllerRevision], identity: &Identity) -> Vec<String> {
    let mut ours: Vec<&ControllerRevision> = owned(revisions, identity).collect();
    ours.sort_by_key(|revision| std::cmp::Reverse(revision.revision));
    ours.into_iter()
        .skip(2)
        .filter_map(|revision| revision.metadata.name.clone())
        .collect()
}

/// All that [`template_to_apply`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct TemplateQuestion<'a> {
    /// Who it is.
    pub identity: &'a Identity,
    /// Replicas that the Deployment should have.
    pub replicas: i32,
    /// What is there, before this pass applies anything.
    pub facts: &'a Facts,
    /// The status before this pass.
    pub previous: &'a WorkspaceStatus,
    /// All ControllerRevisions of the workspace.
    pub revisions: &'a [ControllerRevision],
    /// The template in the live Deployment, for when its pin was deleted.
    pub live: Option<&'a PodTemplateSpec>,
    /// The template as it would be made now.
    pub rendered: &'a PodTemplateSpec,
    /// What that is made of.
    pub inputs: &'a PinInputs,
}

/// Which template to apply.
#[derive(Debug, Clone, PartialEq)]
pub enum TemplateChoice {
    /// The one that was made now; nothing was started, so nothing is pinned.
    Unpinned,
    /// The pinned one, as it is.
    Keep(Pinned),
    /// A new start: write this revision first, then apply its template.
    Start(Pinned),
}

impl TemplateChoice {
    /// The template, given the one that was made now.
    pub fn template<'a>(&'a self, rendered: &'a PodTemplateSpec) -> &'a PodTemplateSpec {
        match self {
            Self::Unpinned => rendered,
            Self::Keep(pinned) | Self::Start(pinned) => &pinned.pin.template,
        }
    }

    /// The pin, for the status.
    pub fn pinned(&self) -> Option<&Pinned> {
        match self {
            Self::Unpinned => None,
            Self::Keep(pinned) | Self::Start(pinned) => Some(pinned),
        }
    }
}

/// Chooses the template to apply; see the head of this file for the rules.
pub fn template_to_apply(question: &TemplateQuestion<'_>) -> TemplateChoice {
    let pinned = Pinned::newest(question.revisions, question.identity);
    if question.replicas == 0 {
        return pinned.map_or(TemplateChoice::Unpinned, TemplateChoice::Keep);
    }
    match pinned {
        Some(pinned) if is_up(question, Some(&pinned)) => {
            if takes_what_is_new(question, &pinned) {
                TemplateChoice::Start(next_pin(question, question.rendered.clone()))
            } else {
                TemplateChoice::Keep(pinned)
            }
        }
        // Written by a pass that died before it touched the Deployment: the same start goes on.
        Some(pinned) if is_unrecorded(question, &pinned) => TemplateChoice::Start(pinned),
        None if is_up(question, None) => {
            // The pin is lost and the workspace runs: what runs becomes the pin, so that nothing restarts.
            let template = question.live.unwrap_or(question.rendered).clone();
            let mut pinned = next_pin(question, template);
            if let Some(started) = &question.previous.start_requested_at {
                pinned.pin.inputs.started_at = started.clone();
            }
            TemplateChoice::Start(pinned)
        }
        _ => TemplateChoice::Start(next_pin(question, question.rendered.clone())),
    }
}

/// Whether the last start goes on: the Deployment has replicas, or it was deleted under a workspace that should run.
fn is_up(question: &TemplateQuestion<'_>, pinned: Option<&Pinned>) -> bool {
    if let Some(replicas) = question.facts.replicas() {
        return replicas >= 1;
    }
    let previous = question.previous;
    let recorded = previous
        .revision
        .as_ref()
        .map(|revision| revision.name.as_str());
    let was_meant_to_run = previous.desired_state == Some(EffectiveDesiredState::Running);
    let was_down = matches!(
        previous.actual_state,
        None | Some(ActualState::Stopped | ActualState::Stopping | ActualState::CreationRequested)
    );
    pinned.is_some_and(|pinned| recorded == Some(pinned.name.as_str()))
        && was_meant_to_run
        && !was_down
}

fn is_unrecorded(question: &TemplateQuestion<'_>, pinned: &Pinned) -> bool {
    let recorded = question
        .previous
        .revision
        .as_ref()
        .map(|revision| revision.name.as_str());
    let same_inputs = PinInputs {
        started_at: question.inputs.started_at.clone(),
        ..pinned.pin.inputs.clone()
    };
    // An old one comes from a restore, or from a controller that was away for long: its startup timer would be over at
    // once.
    let age = question
        .inputs
        .started_at
        .0
        .duration_since(pinned.pin.inputs.started_at.0)
        .as_millis();
    let startup = i128::from(pinned.pin.inputs.deadlines.startup.milliseconds());
    recorded != Some(pinned.name.as_str())
        && age < startup
        && pinned.pin.template == *question.rendered
        && same_inputs == *question.inputs
}

fn takes_what_is_new(question: &TemplateQuestion<'_>, pinned: &Pinned) -> bool {
    let previous = question.previous;
    if question.facts.has_ready_pod() || pinned.pin.template == *question.rendered {
        return false;
    }
    if previous.actual_state == Some(ActualState::Failed) {
        return true;
    }
    let began = pinned.pin.inputs.started_at.0;
    let was_ready = previous
        .timeline
        .iter()
        .any(|step| step.step >= StartStep::PodReady)
        || previous
            .last_ready_at
            .as_ref()
            .is_some_and(|ready| ready.0 >= began);
    // Without a status nobody knows whether it was ready.
    let known = previous.start_requested_at.is_some();
    known && !was_ready && pinned.pin.inputs.generation != question.inputs.generation
}

fn next_pin(question: &TemplateQuestion<'_>, template: PodTemplateSpec) -> Pinned {
    // Numbers of revisions that are not ours are skipped too: the name must be free.
    let number = question
        .revisions
        .iter()
        .map(|revision| revision.revision)
        .max()
        .unwrap_or(0)
        .saturating_add(1);
    Pinned {
        name: question.identity.name.revision(number),
        number,
        pin: Pin {
            inputs: question.inputs.clone(),
            template,
        },
    }
}

/// What differs between the pinned template and the one that would be made now, by field.
pub fn pending_changes(
    pinned: &PodTemplateSpec,
    rendered: &PodTemplateSpec,
    restart_asked: bool,
) -> Vec<PendingChange> {
    if pinned == rendered {
        return Vec::new();
    }
    let effect = if restart_asked {
        ChangeEffect::RestartNow
    } else {
        ChangeEffect::NextStart
    };
    let mut fields = differing_fields(&to_value(pinned), &to_value(rendered));
    for field in &mut fields {
        *field = as_users_call_it(field);
    }
    fields.sort();
    fields.dedup();
    fields
        .into_iter()
        .map(|field| PendingChange { field, effect })
        .collect()
}

/// What differs between two objects, by field. Items of lists that have a name are told apart by it.
pub fn differing_fields(before: &Value, after: &Value) -> Vec<String> {
    let mut fields = Vec::new();
    walk("", before, after, &mut fields);
    fields
}

fn to_value<T: Serialize>(value: &T) -> Value {
    // Kubernetes types always serialize: their maps have text keys.
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn walk(path: &str, before: &Value, after: &Value, fields: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one
                .keys()
                .chain(other.keys().filter(|key| !one.contains_key(*key)));
            for key in keys {
                let inner = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let none = Value::Null;
                walk(
                    &inner,
                    one.get(key).unwrap_or(&none),
                    other.get(key).unwrap_or(&none),
                    fields,
                );
            }
        }
        (Value::Array(one), Value::Array(other)) if by_name(one) && by_name(other) => {
            let name_of =
                |item: &Value| item.get("name").and_then(Value::as_str).map(str::to_owned);
            let find = |list: &[Value], name: &str| {
                list.iter()
                    .find(|item| name_of(item).as_deref() == Some(name))
                    .cloned()
                    .unwrap_or(Value::Null)
            };
            let mut names: Vec<String> = one.iter().chain(other).filter_map(name_of).collect();
            names.sort();
            names.dedup();
            for name in names {
                walk(
                    &format!("{path}[{name}]"),
                    &find(one, &name),
                    &find(other, &name),
                    fields,
                );
            }
        }
        // What appears or goes as a whole is one difference.
        _ => fields.push(path.to_owned()),
    }
}

fn by_name(list: &[Value]) -> bool {
    !list.is_empty()
        && list
            .iter()
            .all(|item| item.get("name").is_some_and(Value::is_string))
}

/// The field of the Workspace that a field of the template comes from; else the field of the pod.
fn as_users_call_it(field: &str) -> String {
    let main = format!("spec.containers[{MAIN_CONTAINER}].");
    let Some(rest) = field.strip_prefix(&main) else {
        return match field.strip_prefix("spec.") {
            Some("terminationGracePeriodSeconds") => "spec.timeouts.stopping".to_owned(),
            Some(rest) => format!("pod.{rest}"),
            None => format!("pod.{field}"),
        };
    };
    let top = rest.split(['.', '[']).next().unwrap_or_default();
    match top {
        "image" => "spec.image".to_owned(),
        "command" | "args" => "spec.command".to_owned(),
        "resources" => format!("spec.{rest}"),
        "env" => format!("spec.{}", rest.strip_suffix(".value").unwrap_or(rest)),
        _ => format!("pod.{rest}"),
    }
}

#[cfg(test)]
mod tests;
