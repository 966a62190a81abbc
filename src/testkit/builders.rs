//! Objects of our kinds for tests: the least that is valid, changed where a test means something.

use kube::Resource;
use kube::core::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::control_plane::object;
use crate::api::{GitSync, Workspace, WorkspaceClass};

/// Who owns workspaces of tests.
pub const OWNER: &str = "alice@example.com";

/// An image name that no test pulls.
pub const IMAGE: &str = "registry.example.com/dev:1";

/// A Workspace of [`OWNER`] with [`IMAGE`].
pub fn mk_workspace(name: &str) -> Workspace {
    mk("Workspace", name, json!({"owner": OWNER, "image": IMAGE}))
}

/// A WorkspaceClass that says nothing: every default holds.
pub fn mk_class(name: &str) -> WorkspaceClass {
    mk("WorkspaceClass", name, json!({}))
}

/// A GitSync of a repository.
pub fn mk_gitsync(name: &str, url: &str) -> GitSync {
    mk("GitSync", name, json!({"url": url}))
}

fn mk<K: DeserializeOwned>(kind: &str, name: &str, spec: Value) -> K {
    object(json!({
        "apiVersion": crate::api::API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec,
    }))
}

/// Changes an object as a merge patch does: `with(mk_workspace("a"), json!({"spec": {"className": "small"}}))`.
///
/// # Panics
/// When the outcome is no object of its kind.
pub fn with<K: Serialize + DeserializeOwned>(value: K, changes: Value) -> K {
    let mut value = serde_json::to_value(value).expect("an object that can be written");
    merge(&mut value, changes);
    object(value)
}

/// What the API server adds when it stores an object, for tests without one.
pub fn stored<K: Resource>(mut value: K, namespace: Option<&str>) -> K {
    let name = value.meta().name.clone().unwrap_or_default();
    let meta: &mut ObjectMeta = value.meta_mut();
    meta.namespace = namespace.map(str::to_owned);
    meta.uid = Some(format!("uid-of-{name}"));
    meta.generation = Some(1);
    meta.resource_version = Some("1".to_owned());
    meta.creation_timestamp = Some(object(json!("2026-01-01T00:00:00Z")));
    value
}

fn merge(target: &mut Value, changes: Value) {
    match (target, changes) {
        (Value::Object(target), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    target.remove(&key);
                } else {
                    merge(target.entry(key).or_insert(Value::Null), change);
                }
            }
        }
        (target, changes) => *target = changes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_its_neighbours_and_null_takes_away() {
        let workspace = with(
            mk_workspace("a"),
            json!({"spec": {"className": "small"}, "metadata": {"labels": {"x": "y"}}}),
        );
        assert_eq!(workspace.spec.owner, OWNER);
        assert_eq!(workspace.spec.class_name.as_deref(), Some("small"));
        let workspace = with(workspace, json!({"spec": {"className": null}}));
        assert_eq!(workspace.spec.class_name, None);
    }
}
