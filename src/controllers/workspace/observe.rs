//! Step 5: what is there now, from the caches and from the answers to our own writes.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use crate::controllers::cache::Key;
use crate::controllers::workspace::Context;
use crate::model::evidence::{Facts, Observed};

/// The objects of one Workspace.
pub struct Seen {
    /// The Deployment.
    pub deployment: Option<Arc<Deployment>>,
    /// ReplicaSets.
    pub replica_sets: Vec<ReplicaSet>,
    /// Pods.
    pub pods: Vec<Pod>,
    /// The claim of the home volume.
    pub volume: Option<Arc<PersistentVolumeClaim>>,
    /// Pins of starts.
    pub revisions: Vec<ControllerRevision>,
}

/// Looks at all objects of a Workspace.
pub fn observe(context: &Context, key: &Key, volume: Option<Arc<PersistentVolumeClaim>>) -> Seen {
    let children = &context.children;
    // The claim may have been written since it was looked up.
    let volume_key = volume.as_ref().map(|volume| Key::of(&**volume));
    let volume = volume_key
        .and_then(|key| children.volumes.cache().get(&key))
        .or(volume);
    Seen {
        deployment: children.deployments.cache().get(key),
        replica_sets: owned(children.replica_sets.of_workspace(key)),
        pods: owned(children.pods.cache().of_workspace(key)),
        volume,
        revisions: owned(children.revisions.cache().of_workspace_with_written(key)),
    }
}

impl Seen {
    /// The facts in them.
    pub fn facts(&self) -> Facts {
        Facts::of(&Observed {
            deployment: self.deployment.as_deref(),
            replica_sets: &self.replica_sets,
            pods: Some(&self.pods),
            volume: self.volume.as_deref(),
            events: &[],
        })
    }
}

/// A handful of objects of one Workspace: cheap to copy.
fn owned<K: Clone>(objects: Vec<Arc<K>>) -> Vec<K> {
    objects.into_iter().map(Arc::unwrap_or_clone).collect()
}
