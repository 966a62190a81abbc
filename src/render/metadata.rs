//! Names, labels and owners of children. Nothing is copied from the Workspace's own labels and annotations: whoever
//! writes those must not steer selectors, policies or other controllers.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::API_VERSION;
use crate::model::names::{MANAGED_BY, MANAGED_BY_LABEL, WORKSPACE_LABEL, WORKSPACE_UID_LABEL};
use crate::model::workspace::{Identity, ValidatedWorkspace};

/// Our labels, on every child.
pub fn labels(identity: &Identity) -> BTreeMap<String, String> {
    [
        (MANAGED_BY_LABEL, MANAGED_BY),
        (WORKSPACE_LABEL, identity.name.as_str()),
        (WORKSPACE_UID_LABEL, identity.uid.as_str()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// What selects the pods of this very Workspace. The UID alone: a pod of an earlier Workspace of the same name, perhaps
/// of another owner, must get neither its traffic nor its rules.
pub fn selector(identity: &Identity) -> BTreeMap<String, String> {
    [(WORKSPACE_UID_LABEL.to_owned(), identity.uid.clone())].into()
}

/// The Workspace as controller and owner of a child.
pub fn owner_reference(identity: &Identity) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: "Workspace".to_owned(),
        name: identity.name.to_string(),
        uid: identity.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Metadata of a child.
pub fn owned(identity: &Identity, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(identity.namespace.to_string()),
        labels: Some(labels(identity)),
        owner_references: Some(vec![owner_reference(identity)]),
        ..ObjectMeta::default()
    }
}

/// Adds the labels and annotations that the class gives to pod, volume and Service. Ours win.
pub fn add_of_class(metadata: &mut ObjectMeta, workspace: &ValidatedWorkspace) {
    let labels = metadata.labels.get_or_insert_default();
    for (key, value) in &workspace.child_labels {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if !workspace.child_annotations.is_empty() {
        let annotations = metadata.annotations.get_or_insert_default();
        for (key, value) in &workspace.child_annotations {
            annotations
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
    }
}
