//! Step 5: what is there now, from the caches and from the answers to our own writes.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;

use crate::controllers::cache::Key;
use crate::controllers::workspace::Context;
use crate::controllers::workspace::dereference::Dereferenced;
use crate::controllers::workspace::hints::About;
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
    /// What guards the pod.
    pub network_policy: Option<Arc<NetworkPolicy>>,
    /// Pins of starts.
    pub revisions: Vec<ControllerRevision>,
    /// What others say about the pods and the claim.
    pub events: Vec<Event>,
}

/// Looks at all objects of a Workspace.
pub fn observe(context: &Context, seen: &Dereferenced) -> Seen {
    let children = &context.children;
    let key = &seen.key;
    let volume = seen.volume.clone();
    // The claim may have been written since it was looked up.
    let volume_key = volume.as_ref().map(|volume| Key::of(&**volume));
    let volume = volume_key
        .and_then(|key| children.volumes.cache().get(&key))
        .or(volume);
    let pods = owned(children.pods.cache().of_workspace(key));
    let of_pods = pods
        .iter()
        .flat_map(|pod| children.hints.of(About::Pod, pod));
    let of_volume = volume
        .iter()
        .flat_map(|claim| children.hints.of(About::Claim, &**claim));
    let events = of_pods.chain(of_volume).collect();
    let deployment = children.deployments.cache().get(key);
    let mut revisions = owned(children.revisions.cache().of_workspace_with_written(key));
    if let Some(pin) = &seen.unlabelled.pin
        && revisions
            .iter()
            .all(|known| known.metadata.name != pin.metadata.name)
    {
        revisions.push((**pin).clone());
    }
    Seen {
        deployment: deployment.or_else(|| seen.unlabelled.deployment.clone()),
        replica_sets: owned(children.replica_sets.of_workspace(key)),
        pods,
        volume,
        network_policy: children.network_policies.cache().get(key),
        revisions,
        events,
    }
}

impl Seen {
    /// When the API server made the pin of a name.
    pub fn created(&self, pin: &str) -> Option<Timestamp> {
        let pin = self
            .revisions
            .iter()
            .find(|revision| revision.metadata.name.as_deref() == Some(pin))?;
        Some(pin.metadata.creation_timestamp.as_ref()?.0)
    }

    /// The facts in them.
    pub fn facts(&self) -> Facts {
        Facts::of(&Observed {
            deployment: self.deployment.as_deref(),
            replica_sets: &self.replica_sets,
            pods: Some(&self.pods),
            volume: self.volume.as_deref(),
            events: &self.events,
        })
    }
}

/// A handful of objects of one Workspace: cheap to copy.
fn owned<K: Clone>(objects: Vec<Arc<K>>) -> Vec<K> {
    objects.into_iter().map(Arc::unwrap_or_clone).collect()
}
