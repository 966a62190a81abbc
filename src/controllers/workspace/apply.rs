//! Step 4: bring the children to what is planned.
//!
//! The order: who the pod is (ServiceAccount), who may talk to it (NetworkPolicy), its volume, its Service, its activity
//! Lease, the Secret with its variables, the pin of the start, and last the Deployment, which makes the pod. What fails before the Deployment keeps a workspace from
//! starting; it keeps none from stopping, and none that runs from being repaired.

use std::cmp::Reverse;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};

use crate::controllers::apply::{ApplyError, Ownership, Parent, ownership};
use crate::controllers::cache::Key;
use crate::controllers::workspace::Context;
use crate::controllers::workspace::observe::Seen;
use crate::controllers::workspace::plan::Plan;
use crate::controllers::workspace::variables;
use crate::inside::pin::PublicKeyDigest;
use crate::model::evidence;
use crate::model::names::OWNER_ANNOTATION;
use crate::model::revision::superseded;
use crate::model::workspace::Identity;
use crate::render::Resources;

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The first object that could not be brought to what is wanted.
    pub error: Option<ApplyError>,
    /// Dead pods that were deleted.
    pub deleted_pods: u32,
    /// The key of the first process, as its Secret names it.
    pub public_key: Option<PublicKeyDigest>,
}

impl Outcome {
    fn keep(&mut self, result: Result<(), ApplyError>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                // The first one is what the others may follow from.
                self.error.get_or_insert(error);
                false
            }
        }
    }
}

/// Carries a plan out.
pub async fn apply(
    context: &Context,
    parent: &Parent,
    identity: &Identity,
    plan: &Plan,
    made: Option<&Secret>,
    before: &Seen,
) -> Outcome {
    let mut outcome = Outcome::default();
    let deployment = match &plan.resources {
        Some(resources) => {
            let prepared = prepare(context, parent, identity, resources).await;
            outcome.public_key = prepared.as_ref().ok().copied();
            let prepared = outcome.keep(prepared.map(drop));
            let stored =
                prepared && outcome.keep(variables::ensure(context, parent, plan, made).await);
            let pinned = stored && outcome.keep(pin(context, parent, plan).await);
            let may_go_on = pinned || !starts(&resources.deployment, before);
            (may_go_on && !plan.leaves_deployment).then_some(&resources.deployment)
        }
        None => {
            let guarded = outcome.keep(guard(context, parent, plan).await);
            let alone = plan.deployment_alone.as_ref();
            alone.filter(|deployment| guarded || !starts(deployment, before))
        }
    };
    if let Some(deployment) = deployment {
        let applied = context.children.deployments.apply(parent, deployment).await;
        outcome.keep(applied.map(drop));
    }
    if outcome.error.is_none() {
        outcome.keep(relabel_pins(context, parent, before).await);
    }
    if outcome.error.is_none() {
        let cleared = clear(context, parent, identity, plan, before).await;
        outcome.deleted_pods = cleared.1;
        outcome.keep(cleared.0);
    }
    outcome
}

/// Everything that the pod needs.
async fn prepare(
    context: &Context,
    parent: &Parent,
    identity: &Identity,
    resources: &Resources,
) -> Result<PublicKeyDigest, ApplyError> {
    let children = &context.children;
    children
        .service_accounts
        .apply(parent, &resources.service_account)
        .await?;
    children
        .network_policies
        .apply(parent, &resources.network_policy)
        .await?;
    let volume = &resources.volume;
    let is_of_owner = |live: &PersistentVolumeClaim| owner_of(live) == owner_of(volume);
    children.volumes.adopt(volume, is_of_owner).await?;
    match &resources.service {
        Some(service) => {
            children.services.apply(parent, service).await?;
        }
        None => {
            let key = Key::new(&parent.key.namespace, identity.name.service());
            if let Some(live) = children.services.cache().get(&key)
                && ownership(parent, &*live) == Ownership::Ours
            {
                children.services.delete(&live).await?;
            }
        }
    }
    children.leases.apply(parent, &resources.activity).await?;
    let name = identity.name.supervisor();
    let seen = children
        .keys
        .get(&Key::new(&parent.key.namespace, name.as_str()));
    let now = context.shared.clock.now();
    context
        .keys
        .of_workspace(parent, identity, &name, seen.as_deref(), now)
        .await
}

/// Whose a claim is, as we wrote it down.
fn owner_of(claim: &PersistentVolumeClaim) -> Option<&String> {
    claim.metadata.annotations.as_ref()?.get(OWNER_ANNOTATION)
}

async fn guard(context: &Context, parent: &Parent, plan: &Plan) -> Result<(), ApplyError> {
    if let Some(policy) = &plan.guard {
        let policies = &context.children.network_policies;
        policies.apply(parent, policy).await?;
    }
    Ok(())
}

async fn pin(context: &Context, parent: &Parent, plan: &Plan) -> Result<(), ApplyError> {
    if let Some(revision) = &plan.revision {
        context.children.revisions.apply(parent, revision).await?;
    }
    Ok(())
}

/// A pin is written once, so a pass does not apply it again; but without its labels no cache shows it.
async fn relabel_pins(context: &Context, parent: &Parent, before: &Seen) -> Result<(), ApplyError> {
    for pin in &before.revisions {
        if ownership(parent, pin) == Ownership::Ours && !parent.has_labelled(pin) {
            context.children.revisions.relabel(parent, pin).await?;
        }
    }
    Ok(())
}

/// Whether the Deployment would make a pod where there is none.
fn starts(deployment: &Deployment, before: &Seen) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|s| s.replicas);
    wanted.unwrap_or(0) > 0 && before.facts().replicas().unwrap_or(0) == 0
}

/// Clears away what is over: variables and pins of old starts, and dead pods but for the newest, which is kept as evidence.
async fn clear(
    context: &Context,
    parent: &Parent,
    identity: &Identity,
    plan: &Plan,
    before: &Seen,
) -> (Result<(), ApplyError>, u32) {
    if let Err(error) = variables::clear(context, parent, identity, plan, before).await {
        return (Err(error), 0);
    }
    for name in superseded(&before.revisions, identity) {
        let old = before
            .revisions
            .iter()
            .find(|revision| revision.metadata.name.as_ref() == Some(&name));
        if let Some(old) = old
            && let Err(error) = context.children.revisions.delete(old).await
        {
            return (Err(error), 0);
        }
    }
    let mut deleted = 0;
    for pod in dead_pods(parent, &before.pods).into_iter().skip(1) {
        if let Err(error) = context.children.pods.delete(pod).await {
            return (Err(error), deleted);
        }
        deleted += 1;
    }
    (Ok(()), deleted)
}

/// Pods of this Workspace that a ReplicaSet has given up, the newest first.
fn dead_pods<'a>(parent: &Parent, pods: &'a [Pod]) -> Vec<&'a Pod> {
    let is_dead = |pod: &&Pod| {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        let of_set = pod
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.controller == Some(true) && owner.kind == "ReplicaSet");
        phase == Some("Failed")
            && of_set
            && pod.metadata.deletion_timestamp.is_none()
            && ownership(parent, *pod) == Ownership::Ours
    };
    let mut dead: Vec<&Pod> = pods.iter().filter(is_dead).collect();
    dead.sort_by_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        Reverse((created, pod.metadata.name.clone()))
    });
    dead
}

/// An error as the model reads it.
pub fn as_evidence(error: &ApplyError, while_stopping: bool) -> evidence::ApplyError {
    let (kind, key) = error.object();
    let status = error.status();
    let field = status
        .and_then(|status| status.details.as_ref())
        .and_then(|details| details.causes.first())
        .map(|cause| cause.field.clone())
        .filter(|field| !field.is_empty());
    let (code, reason, message) = match (error, status) {
        (ApplyError::Foreign { .. }, _) => (
            Some(409),
            evidence::ApplyError::FOREIGN.to_owned(),
            error.to_string(),
        ),
        (ApplyError::Leftover { .. }, _) => (
            None,
            evidence::ApplyError::LEFTOVER.to_owned(),
            error.to_string(),
        ),
        (_, Some(status)) => (
            Some(status.code),
            status.reason.clone(),
            status.message.clone(),
        ),
        _ => (
            None,
            "NoAnswer".to_owned(),
            crate::controllers::passes::chain(error),
        ),
    };
    evidence::ApplyError {
        object: format!("{kind} {}", key.name),
        field,
        code,
        reason,
        message,
        while_stopping,
    }
}
