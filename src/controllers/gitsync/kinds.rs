//! The kinds that a GitSync writes, as the client takes them: raw, since what Git wrote is applied as Git wrote it.

use std::collections::BTreeMap;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ObjectMeta};

use crate::api::gitsync::SyncedKind;
use crate::api::{GROUP, VERSION};
use crate::model::sync::{Live, ObjectId};

/// The resource of a kind.
pub fn resource(kind: SyncedKind) -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(GROUP, VERSION, kind.name()),
        kind.plural(),
    )
}

/// The API through which an object is reached.
pub fn api_of(client: &Client, id: &ObjectId) -> Api<DynamicObject> {
    match &id.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource(id.kind)),
        None => Api::all_with(client.clone(), &resource(id.kind)),
    }
}

/// The id of a live object of a kind.
pub fn id_of(kind: SyncedKind, metadata: &ObjectMeta) -> Option<ObjectId> {
    Some(ObjectId {
        kind,
        namespace: if kind.is_namespaced() {
            Some(metadata.namespace.clone()?)
        } else {
            None
        },
        name: metadata.name.clone()?,
    })
}

/// What the plan needs to know of a live object.
pub fn live_of(metadata: &ObjectMeta) -> Live {
    let map = |map: &Option<BTreeMap<String, String>>| map.clone().unwrap_or_default();
    Live {
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        deleting: metadata.deletion_timestamp.is_some(),
        labels: map(&metadata.labels),
        annotations: map(&metadata.annotations),
        finalizers: metadata.finalizers.clone().unwrap_or_default(),
        orphaned: false,
    }
}
