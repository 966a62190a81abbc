//! Objects as a controller and a cluster make them, and routes, for tests of this room and of those that ask it.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod as CorePod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::access::ClassAccess;
use crate::api::{Workspace, WorkspaceClass};
use crate::inside::pin::PublicKeyDigest;
use crate::model::access::AccessRules;
use crate::proxy::authorize::Viewer;
use crate::proxy::route::address::Denied;
use crate::proxy::route::facts::{
    ClassFacts, Key, LinkFacts, PodFacts, ServiceFacts, SliceFacts, WorkspaceFacts,
};
use crate::proxy::route::index::{Fact, Index, Settings};
use crate::proxy::route::table::{Backend, Pod, Route, Routes};
use crate::testkit::builders::{mk_class, mk_workspace, with};

pub(crate) const NAMESPACE: &str = "team-a";
pub(crate) const CLASS: &str = "standard";
pub(crate) const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// All that a running workspace consists of. A test changes a part of it.
#[derive(Clone)]
pub(crate) struct Parts {
    pub workspace: Workspace,
    pub service: Service,
    pub slice: EndpointSlice,
    pub pod: CorePod,
    pub replica_set: ReplicaSet,
    pub deployment: Deployment,
}

impl Parts {
    /// One in [`NAMESPACE`] whose pod has this address.
    pub fn new(name: &str, address: &str) -> Self {
        Self::within(NAMESPACE, name, address)
    }

    pub fn within(namespace: &str, name: &str, address: &str) -> Self {
        let uid = |what: &str| format!("{what}-{namespace}-{name}");
        let meta = |own: &str, what: &str, owner: Value| {
            json!({
                "name": own, "namespace": namespace, "uid": uid(what),
                "labels": {
                    "app.kubernetes.io/managed-by": "workstead",
                    "workstead.dev/workspace": name,
                    "workstead.dev/workspace-uid": uid("workspace"),
                    "kubernetes.io/service-name": format!("ws-{name}"),
                },
                "ownerReferences": [owner],
            })
        };
        let owner = |version: &str, kind: &str, what: &str| json!({"apiVersion": version, "kind": kind, "name": "x", "uid": uid(what), "controller": true});
        let of_workspace = || owner("workstead.dev/v1alpha1", "Workspace", "workspace");
        let workspace = with(
            mk_workspace(name),
            json!({
                "metadata": {
                    "namespace": namespace, "uid": uid("workspace"),
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                },
                "status": {
                    "className": CLASS, "actualState": "Running", "editorPort": 60001,
                    "supervisor": {"publicKeySHA256": KEY},
                },
            }),
        );
        let pod_name = format!("{name}-1-x");
        Self {
            workspace,
            service: object(json!({
                "metadata": meta(&format!("ws-{name}"), "service", of_workspace()),
                "spec": {
                    "type": "ClusterIP", "clusterIPs": ["10.96.1.1"],
                    "selector": {"workstead.dev/workspace-uid": uid("workspace")},
                },
            })),
            slice: object(json!({
                "metadata": meta(&format!("ws-{name}-1"), "slice", owner("v1", "Service", "service")),
                "addressType": "IPv4",
                "endpoints": [{
                    "addresses": [address], "conditions": {"ready": true},
                    "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod_name, "uid": uid("pod")},
                }],
            })),
            pod: object(json!({
                "metadata": meta(&pod_name, "pod", owner("apps/v1", "ReplicaSet", "replica-set")),
                "spec": {"containers": []},
                "status": {
                    "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                    "hostIP": "192.168.7.1", "hostIPs": [{"ip": "192.168.7.1"}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            })),
            replica_set: object(json!({
                "metadata": meta(&format!("{name}-1"), "replica-set", owner("apps/v1", "Deployment", "deployment")),
            })),
            deployment: object(json!({"metadata": meta(name, "deployment", of_workspace())})),
        }
    }

    pub fn facts(&self) -> Vec<Fact> {
        vec![
            Fact::Workspace(Box::new(WorkspaceFacts::of(self.workspace.clone()))),
            Fact::Service(ServiceFacts::of(&self.service)),
            Fact::Slice(SliceFacts::of(&self.slice)),
            Fact::Pod(PodFacts::of(&self.pod)),
            Fact::ReplicaSet(LinkFacts::of(&self.replica_set.metadata)),
            Fact::Deployment(LinkFacts::of(&self.deployment.metadata)),
        ]
    }
}

/// A class that lets workspaces be opened so far.
pub(crate) fn class(access: Value) -> Fact {
    let class: WorkspaceClass = with(mk_class(CLASS), json!({"spec": {"access": access}}));
    Fact::Class(ClassFacts::of(&class))
}

pub(crate) fn settings() -> Settings {
    Settings {
        denied: Denied::new(&[], []),
        reserved: vec!["status".to_owned()],
        denied_ports: Arc::default(),
    }
}

/// An index with a class, and these workspaces.
pub(crate) fn index(parts: &[Parts]) -> Index {
    let mut index = Index::new(settings());
    index.apply(class(json!({})));
    for fact in parts.iter().flat_map(Parts::facts) {
        index.apply(fact);
    }
    index
}

/// What an index published so far.
pub(crate) fn settled(index: &mut Index) -> Routes {
    index.settle(&Routes::default()).unwrap_or_default()
}

/// A running workspace of Alice, with these fields in its spec and caps in its class.
pub(crate) fn route(spec: Value, access: Value) -> Route {
    let parts = Parts::new("api", "10.1.0.5");
    let facts = WorkspaceFacts::of(with(parts.workspace, json!({"spec": spec})));
    let access: ClassAccess = object(access);
    Route {
        key: Key::new(NAMESPACE, "api"),
        uid: facts.uid,
        asked: facts.asked,
        status: facts.status,
        rules: AccessRules::of(Some(&access)),
        denied_ports: [2222].into(),
        supervisor: PublicKeyDigest::parse(KEY),
        backend: Backend::Pod(Pod {
            uid: "pod".into(),
            address: [10, 1, 0, 5].into(),
        }),
    }
}

/// Routes with these alone.
pub(crate) fn routes(all: impl IntoIterator<Item = Route>) -> Routes {
    let all = all.into_iter().map(Arc::new);
    Routes::default().with(all.map(|route| (route.key.name.clone(), Some(route))), None)
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub user: String,
    pub groups: Vec<String>,
    pub login_ends: Timestamp,
    pub session_ends: Timestamp,
}

impl Person {
    pub fn new(user: &str, groups: &[&str]) -> Self {
        Self {
            user: user.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            login_ends: "2026-01-01T12:00:00Z".parse().unwrap(),
            session_ends: "2026-01-01T01:00:00Z".parse().unwrap(),
        }
    }
}

impl Viewer for Person {
    fn user(&self) -> &str {
        &self.user
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|of| of == group)
    }

    fn login_ends(&self) -> Timestamp {
        self.login_ends
    }

    fn session_ends(&self) -> Timestamp {
        self.session_ends
    }
}
