//! Steps 2 and 3: judge the spec, decide what to work towards, and make the objects. Pure.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use kube::ResourceExt;

use crate::api::workspace::{
    Cause, ChangeEffect, EffectiveDesiredState, Failure, PendingChange, WorkspaceStatus,
};
use crate::controllers::apply::digest;
use crate::controllers::workspace::dereference::Dereferenced;
use crate::controllers::workspace::observe::Seen;
use crate::controllers::workspace::renderer::Renderer;
use crate::model::class::Deadlines;
use crate::model::desired::Decision;
use crate::model::evidence::Facts;
use crate::model::inside::credentials::CredentialFacts;
use crate::model::installation::{Cluster, Installation};
use crate::model::names::APPLIED_ANNOTATION;
use crate::model::revision::{
    PinInputs, Pinned, TemplateChoice, TemplateQuestion, ToolsRefused, change_effect,
    pending_changes, template_to_apply,
};
use crate::model::workspace::{self, Identity, Inputs, ValidatedWorkspace, VolumeFacts};
use crate::render::{self, Resources};

/// What this pass applies.
pub struct Plan {
    /// All objects, around the template to apply. None while the spec can't be carried out.
    pub resources: Option<Resources>,
    /// Whether the Deployment is missing and stays so until a pod that it left behind is gone. Made with 0 replicas it
    /// would start anew later, with what changed since; this way the start before it goes on.
    pub leaves_deployment: bool,
    /// The Deployment, where only it is stopped or repaired.
    pub deployment_alone: Option<Deployment>,
    /// The NetworkPolicy, where a pod runs without the one that it had.
    pub guard: Option<NetworkPolicy>,
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
    credentials: &[CredentialFacts],
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
        credentials,
        cluster,
        installation,
    })
}

/// What keeps a spec that holds from starting, although all else of it is carried out.
pub fn judge_volume(seen: &Dereferenced, facts: &Facts) -> Option<Failure> {
    let volume = VolumeFacts::of(seen.volume.as_deref()?);
    workspace::leaving_volume(&volume, facts.has_pod_left())
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
    /// Name of the class that the next start is in, if there is one.
    pub class_name: Option<&'a str>,
    /// Why tools are copied that would be mounted.
    pub refused: Option<&'a ToolsRefused>,
    /// The renderer.
    pub renderer: &'a dyn Renderer,
    /// What the installation is.
    pub installation: &'a Installation,
    /// The time.
    pub now: Timestamp,
}

/// Makes what a spec that holds asks for.
pub fn plan(question: &Question<'_>, workspace: &ValidatedWorkspace) -> Plan {
    let replicas = question.decision.replicas;
    let rendered = question.renderer.render(workspace, replicas);
    let inputs = PinInputs {
        tools_refused: question.refused.cloned(),
        ..PinInputs::of(workspace, question.now)
    };
    let choice = template_to_apply(&TemplateQuestion {
        identity: question.identity,
        replicas,
        facts: question.facts,
        previous: question.previous,
        revisions: &question.before.revisions,
        live: live_template(question.before),
        rendered: rendered.template(),
        inputs: &inputs,
        network_policy: rendered.network_policy.spec.as_ref(),
    });
    let restart_asked = question.decision.effective == EffectiveDesiredState::RestartRequested;
    let pending = match &choice {
        TemplateChoice::Keep(pinned) => {
            let mut pending =
                pending_changes(&pinned.pin.template, rendered.template(), restart_asked);
            let effect = change_effect(restart_asked);
            pending.extend(class_change(Some(pinned), question.class_name, effect));
            pending.sort();
            pending
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
        leaves_deployment: question.decision.waits && question.before.deployment.is_none(),
        deployment_alone: None,
        guard: None,
        revision,
        pinned: choice.pinned().cloned(),
        pending,
        deadlines: workspace.deadlines,
    }
}

/// Makes what can still be done while a spec can't be carried out: what runs goes on under its guard, or is stopped.
/// Nothing else is touched, and nothing is made: a Service or a Deployment that somebody deletes meanwhile comes back when
/// the spec holds again.
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
    // One that a restart took down comes back; one that somebody deleted does not.
    let is_wanted = live.is_some() || question.decision.replicas > 0;
    let deployment_alone = match template {
        Some(template) if is_wanted && may_repair => Some(render::deployment(
            question.identity,
            template.clone(),
            question.decision.replicas,
            deadlines.startup,
        )),
        _ => None,
    };
    // A spec that can't be carried out is rendered by nobody, so this is all that is known of what waits.
    let pending = class_change(
        pinned.as_ref(),
        question.class_name,
        ChangeEffect::NextStart,
    );
    Plan {
        resources: None,
        leaves_deployment: false,
        guard: missing_guard(question, pinned.as_ref()),
        deployment_alone,
        revision: None,
        pinned,
        pending: pending.into_iter().collect(),
        deadlines,
    }
}

/// That the last start was in another class: the place there is kept until the next one.
fn class_change(
    pinned: Option<&Pinned>,
    class: Option<&str>,
    effect: ChangeEffect,
) -> Option<PendingChange> {
    let differs = pinned?.pin.inputs.class_name != class?;
    differs.then(|| PendingChange {
        field: "spec.className".to_owned(),
        effect,
    })
}

/// The guard of a pod that is there, unless it is as we last applied it. The class may have changed it since the start,
/// perhaps for good reasons, so the pinned one is taken only when nothing later is left.
fn missing_guard(question: &Question<'_>, pinned: Option<&Pinned>) -> Option<NetworkPolicy> {
    let Question {
        identity,
        before,
        facts,
        decision,
        installation,
        ..
    } = *question;
    let pod = facts.has_pod_left() || facts.replicas().unwrap_or(0) > 0 || decision.replicas > 0;
    let policy = |spec: Option<&NetworkPolicySpec>| render::guard(identity, installation, spec);
    let intact = before.network_policy.as_ref().is_some_and(|live| {
        let applied = live.annotations().get(APPLIED_ANNOTATION);
        live.spec.is_some() && digest_of(&policy(live.spec.as_ref())).as_ref() == applied
    });
    (pod && !intact).then(|| policy(pinned.and_then(|pinned| pinned.pin.network_policy.as_ref())))
}

/// The digest that an object of ours carries when this is what was applied.
fn digest_of(policy: &NetworkPolicy) -> Option<String> {
    Some(digest(&serde_json::to_value(policy).ok()?))
}

fn live_template(before: &Seen) -> Option<&PodTemplateSpec> {
    Some(&before.deployment.as_ref()?.spec.as_ref()?.template)
}
