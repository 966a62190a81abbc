//! Takes a terminated Workspace's children away: first what runs, then what it needed, last the volume where the class
//! says so.
//!
//! The NetworkPolicy outlives the pod, and the volume everything that might write to it. Nothing is forced: a pod that
//! does not go keeps the rest where it is, and the stopping timer says so.

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use serde::Serialize;

use crate::controllers::apply::{ApplyError, Ownership, Writer, ownership};
use crate::controllers::cache::{Cached, Key};
use crate::controllers::workspace::Context;
use crate::controllers::workspace::dereference::Dereferenced;
use crate::controllers::workspace::observe::Seen;
use crate::controllers::workspace::variables;
use crate::model::desired::Remaining;
use crate::model::names::VOLUME_WORKSPACE_UID_ANNOTATION;

/// Deletes what may go now. Returns what is left that must go.
pub async fn terminate(
    context: &Context,
    seen: &Dereferenced,
    before: &Seen,
    may_delete_volume: bool,
) -> Result<Remaining, ApplyError> {
    let children = &context.children;
    let Ok(identity) = &seen.identity else {
        // No child can have been made under such a name.
        return Ok(Remaining::default());
    };
    let mut remaining = Remaining::default();
    remaining.objects |= delete(seen, &children.deployments, &seen.key).await?;
    remaining.objects |= before.facts().has_pod_left();
    if remaining.objects {
        return Ok(remaining);
    }
    let service = Key::new(&seen.key.namespace, identity.name.service());
    remaining.objects |= delete(seen, &children.services, &service).await?;
    let lease = Key::new(&seen.key.namespace, identity.name.activity());
    remaining.objects |= delete(seen, &children.leases, &lease).await?;
    remaining.objects |= delete(seen, &children.service_accounts, &seen.key).await?;
    remaining.objects |= delete(seen, &children.network_policies, &seen.key).await?;
    let key = Key::new(&seen.key.namespace, identity.name.supervisor());
    if let Some(live) = children.keys.get(&key) {
        remaining.objects |= context.keys.remove(&seen.parent, &live).await?;
    }
    remaining.objects |= variables::remove(context, &seen.parent).await?;
    for revision in &before.revisions {
        if ownership(&seen.parent, revision) == Ownership::Ours {
            children.revisions.delete(revision).await?;
            remaining.objects = true;
        }
    }
    if may_delete_volume && !remaining.objects {
        remaining.volume_to_delete = delete_volume(context, seen, before).await?;
    }
    Ok(remaining)
}

/// Deletes a child of ours, if it is there. Returns whether it was.
async fn delete<K>(seen: &Dereferenced, writer: &Writer<K>, key: &Key) -> Result<bool, ApplyError>
where
    K: Cached + Resource<Scope = NamespaceResourceScope> + Serialize,
{
    // Not of the cache alone: it shows nothing that lost our label.
    let Some(live) = writer.live(key).await? else {
        return Ok(false);
    };
    if ownership(&seen.parent, &*live) != Ownership::Ours {
        return Ok(false);
    }
    writer.delete(&live).await?;
    Ok(true)
}

/// Deletes the home volume, if this Workspace is the one that uses it.
async fn delete_volume(
    context: &Context,
    seen: &Dereferenced,
    before: &Seen,
) -> Result<bool, ApplyError> {
    let Some(volume) = &before.volume else {
        return Ok(false);
    };
    let annotations = volume.metadata.annotations.as_ref();
    let user = annotations.and_then(|a| a.get(VOLUME_WORKSPACE_UID_ANNOTATION));
    if user != Some(&seen.parent.uid) {
        return Ok(false);
    }
    context.children.volumes.delete(volume).await?;
    Ok(true)
}
