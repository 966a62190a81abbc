//! What is known of the steps inside of the main container that runs now, and what a status says of it.
//!
//! While there is something to tell, the first process is listened to. What it told last stands in the status from then
//! on, under the name of that life of the container: whoever begins anew need not ask again.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use workstead_link::{Plan, Report};

use crate::api::workspace::{Cause, Failure, Workspace, WorkspaceStatus};
use crate::model::conditions::{ConditionType, Reason, Wanted};
use crate::model::evidence::{ContainerState, Facts, PodFacts};
use crate::model::inside::steps;
use crate::model::names::{INSPECT_REQUESTED_ANNOTATION, MAIN_CONTAINER};
use crate::model::revision;

/// The conditions of the parts.
pub const PARTS: [ConditionType; 3] = [
    ConditionType::ProjectsReady,
    ConditionType::PostStartReady,
    ConditionType::EditorReady,
];

/// What the first process told of the life of the main container that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Told {
    /// No container runs, or there is nothing to do inside.
    #[default]
    Nothing,
    /// It was not heard yet; these parts are to be done.
    Silent(Vec<ConditionType>),
    /// This.
    Heard(Arc<Report>),
    /// All: it stands in the status.
    Settled,
}

/// What became of a request to look inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Answer {
    /// There is none, or nobody to ask.
    #[default]
    Nobody,
    /// It was asked and has not answered yet.
    Awaited,
    /// This was said to it.
    Given(Arc<Report>),
}

/// The plan in a pod template; an empty one where there is none that can be read.
fn plan(template: &PodTemplateSpec) -> Plan {
    // Kubernetes takes `$$` for a `$`.
    let text = revision::plan_of(template).map(|text| text.replace("$$", "$"));
    text.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// The editor that a pod template starts.
pub fn editor(template: &PodTemplateSpec) -> Option<String> {
    plan(template).editor.map(|editor| editor.name)
}

/// The port of the editor of a pod template.
pub fn editor_port(template: &PodTemplateSpec) -> Option<u16> {
    plan(template).editor.map(|editor| editor.port)
}

/// The parts that a pod template has.
pub fn parts(template: &PodTemplateSpec) -> Vec<ConditionType> {
    let plan = plan(template);
    [
        !plan.projects.is_empty(),
        !plan.post_start.is_empty(),
        plan.editor.is_some(),
    ]
    .into_iter()
    .zip(PARTS)
    .filter_map(|(has, part)| has.then_some(part))
    .collect()
}

/// The life of the main container that goes on, with the pod that it is in: what the node calls it.
pub fn life(facts: &Facts) -> Option<(&str, &PodFacts)> {
    let pod = facts.main_pod()?;
    let main = pod.container(MAIN_CONTAINER)?;
    if pod.is_over() || main.id.is_empty() || !matches!(main.state, ContainerState::Running { .. })
    {
        return None;
    }
    Some((&main.id, pod))
}

/// A request to look inside that is not carried out yet.
pub fn asked<'a>(workspace: &'a Workspace, previous: &WorkspaceStatus) -> Option<&'a String> {
    inspect_requested(workspace)
        .filter(|request| previous.last_handled_inspect_at.as_ref() != Some(*request))
}

/// A request to look inside.
pub fn inspect_requested(workspace: &Workspace) -> Option<&String> {
    let annotations = workspace.metadata.annotations.as_ref()?;
    let request = annotations.get(INSPECT_REQUESTED_ANNOTATION)?;
    (!request.is_empty()).then_some(request)
}

/// Whether all that this life has to tell stands in the status.
pub fn is_settled(status: &WorkspaceStatus, life: &str) -> bool {
    let supervisor = status.supervisor.as_ref();
    supervisor.and_then(|supervisor| supervisor.settled.as_deref()) == Some(life)
}

impl Told {
    /// What keeps a workspace that runs from being ready.
    pub fn failure(&self, previous: &WorkspaceStatus) -> Option<Failure> {
        match self {
            Self::Nothing | Self::Silent(_) => None,
            Self::Heard(report) => steps::failure(report),
            Self::Settled => previous.failure.clone().filter(|failure| {
                matches!(
                    failure.cause,
                    Cause::CloneAuth
                        | Cause::CloneRef
                        | Cause::CloneNetwork
                        | Cause::CloneFailed
                        | Cause::PostStartFailed
                        | Cause::EditorNotReady
                        | Cause::EditorIncompatible
                        | Cause::ConfigInvalid
                )
            }),
        }
    }

    /// The conditions of the parts; those of [`Told::Settled`] stay as they are.
    pub fn conditions(&self) -> Vec<Wanted> {
        match self {
            Self::Nothing | Self::Settled => Vec::new(),
            Self::Silent(parts) => parts.iter().map(|part| not_heard(*part)).collect(),
            Self::Heard(report) => steps::conditions(report),
        }
    }

    /// The part that is still to be done, in words.
    pub fn pending(&self) -> Option<String> {
        let unfinished = |wanted: &Wanted| wanted.status != Some(true);
        let first = self.conditions().into_iter().find(unfinished)?;
        Some(first.message)
    }

    /// Whether it told all there is to tell.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Heard(report) => report.settled,
            Self::Settled => true,
            Self::Nothing | Self::Silent(_) => false,
        }
    }
}

fn not_heard(type_: ConditionType) -> Wanted {
    Wanted {
        type_,
        status: Some(false),
        reason: Reason::InProgress,
        message: "the first process of the workspace has not told of it yet".to_owned(),
    }
}
