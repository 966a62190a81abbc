//! The end of a GitSync. Its objects stay, unless `deletionPolicy: Delete` says otherwise and it is not suspended.
//!
//! Only then there is a finalizer: deleting a GitSync by mistake must not delete anybody's work, and a GitSync without
//! one never hangs in deletion.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::apply;
use super::dereference::{self, DereferenceError};
use super::inventory::{self, Loaded, Order, StoreError};
use super::live::{self, LiveError};
use super::outcome::{self, Deleting};
use super::prune::{self, PruneError, Pruned};
use super::watch::Watched;
use crate::api::GitSync;
use crate::api::gitsync::DeletionPolicy;
use crate::controllers::cache::Key;
use crate::model::names::{GITSYNC_FINALIZER, GITSYNC_MANAGER};
use crate::model::sync::{Code, ObjectId, PlannedDelete, SourceError};

/// Why a GitSync could not be ended, or its finalizer not be kept as it should be.
#[derive(Debug, thiserror::Error)]
pub enum FinalizeError {
    /// The finalizer could not be written.
    #[error("failed to write the finalizer")]
    Write(#[source] kube::Error),
    /// The inventory could not be read.
    #[error(transparent)]
    Inventory(#[from] StoreError),
    /// It is not known what lives.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// It is not known whether a namespace accepts us.
    #[error(transparent)]
    Namespace(#[from] DereferenceError),
    /// The API server did not answer a delete.
    #[error(transparent)]
    Prune(#[from] PruneError),
}

/// What is to be done about the finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Go on with the pass.
    Alive,
    /// Add it, and go on when that is seen.
    Add,
    /// Take it off: it is not wanted any more.
    Remove,
    /// Deleted: delete the objects, then take it off.
    DeleteObjects,
    /// Deleted, and nothing is held up by us.
    Gone,
}

/// What is to be done. Pure.
pub fn stage(gitsync: &GitSync) -> Stage {
    let finalizers = gitsync.metadata.finalizers.as_deref().unwrap_or_default();
    let has = finalizers.iter().any(|name| name == GITSYNC_FINALIZER);
    let wants =
        gitsync.spec.deletion_policy == Some(DeletionPolicy::Delete) && !gitsync.spec.suspend;
    let deleted = gitsync.metadata.deletion_timestamp.is_some();
    match (deleted, has, wants) {
        (true, false, _) => Stage::Gone,
        (true, true, true) => Stage::DeleteObjects,
        (_, true, false) => Stage::Remove,
        (false, false, true) => Stage::Add,
        (false, _, _) => Stage::Alive,
    }
}

/// Adds or removes our finalizer; others stay.
///
/// # Errors
/// When the API server refuses; a conflict means to look again.
pub async fn set_finalizer(
    client: &Client,
    gitsync: &GitSync,
    wanted: bool,
) -> Result<Option<GitSync>, FinalizeError> {
    let key = Key::of(gitsync);
    let mut finalizers = gitsync.metadata.finalizers.clone().unwrap_or_default();
    finalizers.retain(|name| name != GITSYNC_FINALIZER);
    if wanted {
        finalizers.push(GITSYNC_FINALIZER.to_owned());
    }
    // The list is replaced as a whole, so nobody may have changed it meanwhile.
    let patch = Patch::Merge(json!({ "metadata": {
        "resourceVersion": gitsync.metadata.resource_version,
        "finalizers": finalizers,
    } }));
    let parameters = PatchParams {
        field_manager: Some(GITSYNC_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api: Api<GitSync> = Api::namespaced(client.clone(), &key.namespace);
    match api.patch(&key.name, &parameters, &patch).await {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(source) => Err(FinalizeError::Write(source)),
    }
}

/// Deletes what the inventory lists, in the reverse order of applying. The rules of pruning hold here too: nothing is
/// deleted in a pass that had to rebuild the inventory, nor in a namespace that does not accept us any more; what is
/// there is left to whoever administers it. Returns what is left to wait for.
///
/// # Errors
/// When the API server does not answer.
pub async fn delete_objects(
    client: &Client,
    watched: &Watched,
    gitsync: &GitSync,
) -> Result<Deleting, FinalizeError> {
    let key = Key::of(gitsync);
    let mut left = Deleting::default();
    let loaded = inventory::load(client, gitsync).await?;
    if loaded.inventory.is_rebuilt() {
        return store_rebuilt(client, &key, loaded).await;
    }
    let ids: BTreeSet<ObjectId> = loaded.inventory.iter().map(|(id, _)| id.clone()).collect();
    let closed = dereference::closed_namespaces(client, &key, &ids).await?;
    let is_closed = |id: &ObjectId| {
        id.namespace
            .as_ref()
            .is_some_and(|n| closed.contains_key(n))
    };
    left.left = closed.values().cloned().collect();
    let ids = ids.into_iter().filter(|id| !is_closed(id)).collect();
    let alive = live::find_live(client, watched, ids).await?;
    for (id, live) in alive.into_iter().rev() {
        let planned = PlannedDelete {
            id,
            uid: live.uid.clone(),
            takes_along: live.takes_along(),
        };
        match prune::prune_one(client, &key, &planned).await {
            Ok(Pruned::Marked | Pruned::Going) => {
                left.going.push(outcome::going(&planned.id, Some(&live)));
            }
            Ok(Pruned::Deleted | Pruned::NotOurs | Pruned::Kept) => {}
            Err(error) if apply::is_unavailable(error.client_error()) => return Err(error.into()),
            Err(error) => left
                .errors
                .push(SourceError::new(Code::PruneFailed, error.message()).of(&planned.id)),
        }
    }
    Ok(left)
}

/// The next pass deletes by what is stored now. Where it can't be stored because the namespace itself is on its way out,
/// the objects of other namespaces stay: nothing is deleted on the word of labels alone, and nothing hangs for ever.
async fn store_rebuilt(
    client: &Client,
    key: &Key,
    mut loaded: Loaded,
) -> Result<Deleting, FinalizeError> {
    // Narrowed: a shard that can't be read must not make the next pass rebuild it again.
    match loaded.store.save(&loaded.inventory, Order::Narrow).await {
        Ok(_) => {}
        Err(StoreError::Write {
            source: kube::Error::Api(status),
            ..
        }) if status.is_forbidden() && is_terminating(client, &key.namespace).await? => {
            tracing::warn!(gitsync = %key, "the inventory is lost and the namespace goes: what was applied elsewhere stays");
            return Ok(Deleting::default());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Deleting {
        errors: vec![SourceError::new(
            Code::InventoryMissing,
            "the inventory was missing and was rebuilt from the labels of live objects: nothing is deleted in this pass",
        )],
        ..Deleting::default()
    })
}

async fn is_terminating(client: &Client, namespace: &str) -> Result<bool, FinalizeError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let read = api.get_metadata_opt(namespace).await;
    let found = read.map_err(|source| DereferenceError::ReadNamespace {
        name: namespace.to_owned(),
        source,
    })?;
    Ok(found.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gitsync(policy: Option<&str>, suspend: bool, finalizer: bool, deleted: bool) -> GitSync {
        let mut value = json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "GitSync",
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {"url": "https://git/r.git", "suspend": suspend},
        });
        if let Some(policy) = policy {
            value["spec"]["deletionPolicy"] = json!(policy);
        }
        if finalizer {
            value["metadata"]["finalizers"] = json!([GITSYNC_FINALIZER]);
        }
        if deleted {
            value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_deletion_policy_delete_asks_for_a_finalizer_and_suspension_always_orphans() {
        let of = |p, s, f, d| stage(&gitsync(p, s, f, d));
        assert_eq!(of(None, false, false, false), Stage::Alive);
        assert_eq!(of(Some("Orphan"), false, false, false), Stage::Alive);
        assert_eq!(of(Some("Delete"), false, false, false), Stage::Add);
        assert_eq!(of(Some("Delete"), false, true, false), Stage::Alive);
        assert_eq!(of(Some("Delete"), true, true, false), Stage::Remove);
        assert_eq!(of(Some("Orphan"), false, true, false), Stage::Remove);
        assert_eq!(of(Some("Delete"), false, true, true), Stage::DeleteObjects);
        assert_eq!(of(Some("Delete"), true, true, true), Stage::Remove);
        assert_eq!(of(None, false, true, true), Stage::Remove);
        assert_eq!(of(Some("Delete"), false, false, true), Stage::Gone);
    }
}
