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
//! - it is Failed with no pod ready: the same, and then a mended class counts too; or
//! - a node refused to mount its tools: then the same start goes over to copying them.

mod changes;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::{Deserialize, Serialize};

use crate::api::class::Delivery;
use crate::api::workspace::{ActualState, EffectiveDesiredState, StartStep, WorkspaceStatus};
use crate::model::class::Deadlines;
use crate::model::conditions::{ConditionType, is_true};
use crate::model::evidence::Facts;
use crate::model::variables::pin::{VariablesPin, named_in};
use crate::model::workspace::{Identity, ValidatedWorkspace};

pub(crate) use changes::plan_of;
pub use changes::{change_effect, differing_fields, pending_changes};

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
    /// What guarded the pod when it was started, for the time when the spec no longer validates. Pins of the first
    /// version have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicySpec>,
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
    /// The image of the editor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub editor_image: Option<String>,
    /// How tools and editor get in. Pins of the first version say nothing: there they are mounted.
    #[serde(default)]
    pub tools_delivery: Delivery,
    /// Why they are copied although the class would have them mounted, if a node refused. The starts after it remember,
    /// for as long as images and class stay as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools_refused: Option<ToolsRefused>,
    /// What it has of sealed sets and Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<VariablesPin>,
    /// Whether the pin was lost that said what it has of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub variables_lost: bool,
    /// The last request to take what is newest that a start carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables_request: Option<String>,
    /// Time limits, for the time when the spec no longer validates.
    pub deadlines: Deadlines,
    /// When this start was asked for.
    pub started_at: MicroTime,
}

/// A node refused to mount the tools, or to run them from there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolsRefused {
    /// What it said.
    pub said: String,
    /// When the start went over to copying.
    pub at: MicroTime,
}

impl PinInputs {
    /// Why a start now copies what it would mount: remembered while nothing differs that mounting may hang on.
    pub fn remembered_refusal(&self, workspace: &ValidatedWorkspace) -> Option<&ToolsRefused> {
        let tools = &workspace.inside.tools;
        let same = self.tools_image == tools.image.to_string()
            && self.image == workspace.image.to_string()
            && self.editor_image == editor_image(workspace)
            && self.class_name == workspace.class_name.as_str();
        self.tools_refused.as_ref().filter(|_| same)
    }

    /// When the start of this pin went over from mounting to copying.
    pub fn went_over_at(&self) -> Option<Timestamp> {
        let refused = self.tools_refused.as_ref()?;
        (refused.at.0 > self.started_at.0).then_some(refused.at.0)
    }

    /// What the template of a Workspace is made of, for a start now.
    pub fn of(workspace: &ValidatedWorkspace, now: Timestamp) -> Self {
        Self {
            renderer: RENDERER.to_owned(),
            generation: workspace.generation,
            class_name: workspace.class_name.to_string(),
            image: workspace.image.to_string(),
            tools_image: workspace.inside.tools.image.to_string(),
            editor_image: editor_image(workspace),
            tools_delivery: workspace.inside.tools.delivery,
            tools_refused: None,
            variables: workspace.variables.pin.clone(),
            variables_lost: false,
            variables_request: workspace.variables.request.clone(),
            deadlines: workspace.deadlines,
            started_at: micro(now),
        }
    }
}

fn editor_image(workspace: &ValidatedWorkspace) -> Option<String> {
    let editor = workspace.inside.editor.as_ref()?;
    Some(editor.image.to_string())
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
    /// What guards the pod now.
    pub network_policy: Option<&'a NetworkPolicySpec>,
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
            if goes_over(question, &pinned) {
                // The same start: its timer and its timeline go on.
                let mut next = next_pin(question, question.rendered.clone());
                next.pin.inputs.started_at = pinned.pin.inputs.started_at;
                TemplateChoice::Start(next)
            } else if takes_what_is_new(question, &pinned) {
                TemplateChoice::Start(next_pin(question, question.rendered.clone()))
            } else {
                TemplateChoice::Keep(pinned)
            }
        }
        // Written by a pass that died, or failed, before it touched the Deployment: the same start goes on.
        Some(pinned) if is_unfinished(question, &pinned) => TemplateChoice::Start(pinned),
        None if is_up(question, None) => {
            // The pin is lost and the workspace runs: what runs becomes the pin, so that nothing restarts.
            let template = question.live.unwrap_or(question.rendered).clone();
            let has_variables = !named_in(&template, &question.identity.name).is_empty();
            let mut pinned = next_pin(question, template);
            pinned.pin.inputs.variables = None;
            pinned.pin.inputs.variables_lost = has_variables;
            if let Some(started) = &question.previous.start_requested_at {
                pinned.pin.inputs.started_at = started.clone();
            }
            if let Some(class) = &question.previous.class_name {
                pinned.pin.inputs.class_name.clone_from(class);
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

/// Whether a pin was written and its start did not get as far as the Deployment: a pass that died left no status of it,
/// one that failed says that the workspace should run and is down. A stop in between would say that it should not. Where
/// the status names the pin after this one, that could not be written, and this one is of the start before.
fn is_unfinished(question: &TemplateQuestion<'_>, pinned: &Pinned) -> bool {
    let previous = question.previous;
    let recorded = previous
        .revision
        .as_ref()
        .map(|revision| revision.name.as_str());
    let never_came_up = previous.desired_state == Some(EffectiveDesiredState::Running)
        && matches!(
            previous.actual_state,
            Some(
                ActualState::CreationRequested
                    | ActualState::Stopped
                    | ActualState::Error
                    | ActualState::Unknown
            )
        );
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
    let following = question
        .identity
        .name
        .revision(pinned.number.saturating_add(1));
    (recorded != Some(pinned.name.as_str()) || never_came_up)
        && recorded != Some(following.as_str())
        && age < startup
        && pinned.pin.template == *question.rendered
        && same_inputs == *question.inputs
}

/// Whether the start mounts its tools, a node refused, and what would be made now copies them.
fn goes_over(question: &TemplateQuestion<'_>, pinned: &Pinned) -> bool {
    !question.facts.has_ready_pod()
        && pinned.pin.inputs.tools_delivery == Delivery::ImageVolume
        && question.inputs.tools_delivery == Delivery::Copy
        && question.inputs.tools_refused.is_some()
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
    let recorded = previous.revision.as_ref().map(|revision| &revision.name);
    // Three witnesses: any of them may be missing or, where clocks differ, off.
    let was_ready = (recorded == Some(&pinned.name)
        && is_true(&previous.conditions, ConditionType::PodReady))
        || previous
            .timeline
            .iter()
            .any(|step| matches!(step.step, StartStep::PodReady | StartStep::Running))
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
            network_policy: question.network_policy.cloned(),
        },
    }
}

#[cfg(test)]
mod tests;
