//! Whose object a live one is.

use kube::Resource;

use crate::controllers::cache::Key;
use crate::model::names::{MANAGED_BY, MANAGED_BY_LABEL, WORKSPACE_LABEL, WORKSPACE_UID_LABEL};

/// The Workspace whose children are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its name.
    pub key: Key,
    /// Its UID.
    pub uid: String,
}

impl Parent {
    /// Our labels, as every child has them.
    pub fn labels(&self) -> [(&'static str, &str); 3] {
        [
            (MANAGED_BY_LABEL, MANAGED_BY),
            (WORKSPACE_LABEL, &self.key.name),
            (WORKSPACE_UID_LABEL, &self.uid),
        ]
    }

    /// Whether an object has our labels.
    pub fn has_labelled<K: Resource>(&self, live: &K) -> bool {
        let labels = live.meta().labels.as_ref();
        self.labels()
            .into_iter()
            .all(|(key, value)| labels.and_then(|l| l.get(key)).is_some_and(|l| l == value))
    }
}

/// Whose object this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This Workspace's.
    Ours,
    /// An earlier Workspace's of the same name: garbage collection takes it.
    Leftover,
    /// Somebody else's; how we know.
    Foreign(String),
}

/// Whether a live object belongs to a Workspace, by its owner references and labels.
///
/// One that this very Workspace controls is its own, whatever somebody did to the labels: they are put right like any
/// other field.
///
/// The home volume is not judged here: it may outlive its Workspace, and its annotations decide.
pub fn ownership<K: Resource>(parent: &Parent, live: &K) -> Ownership {
    let controller = live
        .meta()
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    if controller.is_some_and(|owner| owner.kind == "Workspace" && owner.uid == parent.uid) {
        return Ownership::Ours;
    }
    let label = |key: &str| {
        live.meta()
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
    };
    if label(MANAGED_BY_LABEL).map(String::as_str) != Some(MANAGED_BY) {
        return Ownership::Foreign(format!(
            "it lacks the label {MANAGED_BY_LABEL}: {MANAGED_BY}"
        ));
    }
    if label(WORKSPACE_LABEL) != Some(&parent.key.name) {
        return Ownership::Foreign(format!(
            "its label {WORKSPACE_LABEL} does not name this Workspace"
        ));
    }
    if label(WORKSPACE_UID_LABEL) == Some(&parent.uid) {
        return Ownership::Ours;
    }
    match controller {
        Some(owner) if owner.kind == "Workspace" && owner.name == parent.key.name => {
            Ownership::Leftover
        }
        _ => Ownership::Foreign(format!(
            "its label {WORKSPACE_UID_LABEL} names another Workspace, and no Workspace owns it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use kube::core::ObjectMeta;

    use super::*;

    fn mk_parent() -> Parent {
        Parent {
            key: Key::new("team", "w"),
            uid: "new".to_owned(),
        }
    }

    fn mk_service(labels: &[(&str, &str)], owner: Option<&str>) -> Service {
        Service {
            metadata: ObjectMeta {
                name: Some("ws-w".to_owned()),
                namespace: Some("team".to_owned()),
                labels: Some(
                    labels
                        .iter()
                        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                        .collect::<BTreeMap<_, _>>(),
                ),
                owner_references: owner.map(|uid| {
                    vec![OwnerReference {
                        kind: "Workspace".to_owned(),
                        name: "w".to_owned(),
                        uid: uid.to_owned(),
                        controller: Some(true),
                        ..OwnerReference::default()
                    }]
                }),
                ..ObjectMeta::default()
            },
            ..Service::default()
        }
    }

    #[test]
    fn what_lacks_our_labels_is_foreign() {
        let parent = mk_parent();
        let bare = mk_service(&[], None);
        assert!(matches!(ownership(&parent, &bare), Ownership::Foreign(_)));
        let ours = [
            (MANAGED_BY_LABEL, MANAGED_BY),
            (WORKSPACE_LABEL, "w"),
            (WORKSPACE_UID_LABEL, "new"),
        ];
        assert_eq!(
            ownership(&parent, &mk_service(&ours, Some("new"))),
            Ownership::Ours
        );
    }

    #[test]
    fn what_this_workspace_controls_is_its_own_whatever_the_labels_say() {
        let parent = mk_parent();
        let edits: [&[(&str, &str)]; 3] = [
            &[],
            &[(MANAGED_BY_LABEL, "somebody")],
            &[
                (MANAGED_BY_LABEL, MANAGED_BY),
                (WORKSPACE_LABEL, "other"),
                (WORKSPACE_UID_LABEL, "other"),
            ],
        ];
        for labels in edits {
            let edited = mk_service(labels, Some("new"));
            assert_eq!(ownership(&parent, &edited), Ownership::Ours, "{labels:?}");
            assert!(!parent.has_labelled(&edited));
        }
        let whole = mk_service(&parent.labels(), Some("new"));
        assert!(parent.has_labelled(&whole));
    }

    #[test]
    fn what_an_earlier_workspace_owns_is_waited_for_and_what_it_left_is_foreign() {
        let parent = mk_parent();
        let old = [
            (MANAGED_BY_LABEL, MANAGED_BY),
            (WORKSPACE_LABEL, "w"),
            (WORKSPACE_UID_LABEL, "old"),
        ];
        let owned = mk_service(&old, Some("old"));
        assert_eq!(ownership(&parent, &owned), Ownership::Leftover);
        let orphan = mk_service(&old, None);
        assert!(matches!(ownership(&parent, &orphan), Ownership::Foreign(_)));
    }
}
