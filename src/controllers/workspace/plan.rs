//! Steps 2 and 3: judge the spec, decide what to work towards, and make the objects. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::api::workspace::{
    Cause, EffectiveDesiredState, Failure, PendingChange, WorkspaceStatus,
};
use crate::controllers::workspace::dereference::Dereferenced;
use crate::controllers::workspace::observe::Seen;
use crate::controllers::workspace::renderer::Renderer;
use crate::model::class::Deadlines;
use crate::model::desired::Decision;
use crate::model::evidence::Facts;
use crate::model::installation::{Cluster, Installation};
use crate::model::revision::{
    PinInputs, Pinned, TemplateChoice, TemplateQuestion, pending_changes, template_to_apply,
};
use crate::model::workspace::{self, Identity, Inputs, ValidatedWorkspace, VolumeFacts};
use crate::render::{self, Resources};

/// What this pass applies.
pub struct Plan {
    /// All objects, around the template to apply. None while the spec can't be carried out.
    pub resources: Option<Resources>,
    /// The Deployment, where only it is stopped or repaired.
    pub deployment_alone: Option<Deployment>,
    /// The pin of a start, written before the Deployment.
    pub revision: Option<ControllerRevision>,
    /// The pin in effect after this pass.
    pub pinned: Option<Pinned>,
    /// What waits for the next start.
    pub pending: Vec<PendingChange>,
    /// Time limits in effect.
    pub deadlines: Deadlines,
}

/// Checks a Workspace against all that it refers to.
///
/// # Errors
/// What blocks it.
pub fn judge(
    seen: &Dereferenced,
    installation: &Installation,
    cluster: Cluster,
) -> Result<ValidatedWorkspace, Failure> {
    seen.identity.clone()?;
    let class = seen.class.clone()?;
    let volume = seen.volume.as_deref().map(VolumeFacts::of);
    workspace::validate(&Inputs {
        workspace: &seen.workspace,
        class: &class,
        exceeded: seen.exceeded.as_ref(),
        volume: volume.as_ref(),
        cluster,
        installation,
    })
}

/// All that [`plan`] looks at.
pub struct Question<'a> {
    /// Who it is.
    pub identity: &'a Identity,
    /// What is there.
    pub before: &'a Seen,
    /// The facts in it.
    pub facts: &'a Facts,
    /// The status before this pass.
    pub previous: &'a WorkspaceStatus,
    /// What the pass works towards.
    pub decision: &'a Decision,
    /// The renderer.
    pub renderer: &'a dyn Renderer,
    /// The time.
    pub now: Timestamp,
}

/// Makes what a spec that holds asks for.
pub fn plan(question: &Question<'_>, workspace: &ValidatedWorkspace) -> Plan {
    let replicas = question.decision.replicas;
    let rendered = question.renderer.render(workspace, replicas);
    let inputs = PinInputs::of(workspace, question.now);
    let choice = template_to_apply(&TemplateQuestion {
        identity: question.identity,
        replicas,
        facts: question.facts,
        previous: question.previous,
        revisions: &question.before.revisions,
        live: live_template(question.before),
        rendered: rendered.template(),
        inputs: &inputs,
    });
    let restart_asked = question.decision.effective == EffectiveDesiredState::RestartRequested;
    let pending = match &choice {
        TemplateChoice::Keep(pinned) => {
            pending_changes(&pinned.pin.template, rendered.template(), restart_asked)
        }
        TemplateChoice::Start(_) | TemplateChoice::Unpinned => Vec::new(),
    };
    let revision = match &choice {
        TemplateChoice::Start(pinned) => Some(render::revision(question.identity, pinned)),
        TemplateChoice::Keep(_) | TemplateChoice::Unpinned => None,
    };
    let template = choice.template(rendered.template()).clone();
    Plan {
        resources: Some(rendered.with_template(&template)),
        deployment_alone: None,
        revision,
        pinned: choice.pinned().cloned(),
        pending,
        deadlines: workspace.deadlines,
    }
}

/// Makes what can still be done while a spec can't be carried out: what runs goes on, or is stopped. Nothing else is
/// touched, and nothing is made.
pub fn plan_blocked(question: &Question<'_>, blocked: &Failure) -> Plan {
    let pinned = Pinned::newest(&question.before.revisions, question.identity);
    let deadlines = pinned
        .as_ref()
        .map(|pinned| pinned.pin.inputs.deadlines)
        .unwrap_or_default();
    let live = question.before.deployment.as_deref();
    let template = pinned
        .as_ref()
        .map(|pinned| &pinned.pin.template)
        .or_else(|| live_template(question.before));
    // The volume is another owner's: what of ours still uses it must not be made again, but it is stopped if asked.
    let may_repair = blocked.cause != Cause::VolumeForeign || question.decision.replicas == 0;
    let deployment_alone = match (live, template) {
        (Some(_), Some(template)) if may_repair => Some(render::deployment(
            question.identity,
            template.clone(),
            question.decision.replicas,
            deadlines.startup,
        )),
        _ => None,
    };
    Plan {
        resources: None,
        deployment_alone,
        revision: None,
        pinned,
        pending: Vec::new(),
        deadlines,
    }
}

fn live_template(before: &Seen) -> Option<&PodTemplateSpec> {
    Some(&before.deployment.as_ref()?.spec.as_ref()?.template)
}
