//! The children of Workspaces: what is watched, and what is written.

use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::Serialize;

use crate::api::Workspace;
use crate::controllers::Shared;
use crate::controllers::apply::Writer;
use crate::controllers::cache::{Cache, Cached, Key};
use crate::controllers::workspace::activity::{self, Attention};
use crate::controllers::workspace::hints::{About, Hints};
use crate::model::names::{GIT_CREDENTIALS, USE_LABEL, VARIABLES, WORKSPACE_MANAGER};

/// A writer, with its cache, of each kind of child.
pub struct Children {
    /// No token, image pull secrets.
    pub service_accounts: Writer<ServiceAccount>,
    /// Who may talk to whom.
    pub network_policies: Writer<NetworkPolicy>,
    /// Home volumes.
    pub volumes: Writer<PersistentVolumeClaim>,
    /// Ports by name.
    pub services: Writer<Service>,
    /// When workspaces were last used.
    pub leases: Writer<Lease>,
    /// What passes know of that.
    pub attention: Arc<Attention>,
    /// Pod templates as they were started.
    pub revisions: Writer<ControllerRevision>,
    /// What makes the pod.
    pub deployments: Writer<Deployment>,
    /// Pods: looked at, and deleted when dead.
    pub pods: Writer<Pod>,
    /// Secrets with the keys of supervisors: what they say of themselves, nothing of what is in them.
    pub keys: Arc<Cache<PartialObjectMeta<Secret>>>,
    /// Secrets with Git credentials, in the same way. They are other people's.
    pub credentials: Arc<Cache<PartialObjectMeta<Secret>>>,
    /// Secrets whose values Workspaces may take, in the same way.
    pub referable: Arc<Cache<PartialObjectMeta<Secret>>>,
    /// ReplicaSets: looked at only.
    pub replica_sets: Arc<Cache<ReplicaSet>>,
    /// What others say about pods and volumes. Nothing waits for it.
    pub hints: Arc<Hints>,
}

/// Objects of Workspaces to look at again.
pub type Triggers = SelectAll<BoxStream<'static, ObjectRef<Workspace>>>;

impl Children {
    /// Nothing seen yet.
    pub fn new(shared: &Shared) -> Self {
        let volumes: Writer<PersistentVolumeClaim> =
            writer(shared).never_changes(&["spec", "storageClassName"]);
        let pods: Writer<Pod> = writer(shared);
        let hints = Hints::new(pods.cache().clone(), volumes.cache().clone());
        Self {
            service_accounts: writer(shared),
            network_policies: writer(shared).whole(&["spec"]),
            volumes,
            services: writer(shared).whole(&["spec", "selector"]),
            leases: writer(shared),
            attention: Arc::default(),
            revisions: writer(shared),
            deployments: writer(shared),
            pods,
            keys: Arc::default(),
            credentials: Arc::default(),
            referable: Arc::default(),
            replica_sets: Arc::default(),
            hints: Arc::new(hints),
        }
    }

    /// Watches all kinds, as long as the stream is polled.
    pub fn watch(&self, shared: &Shared) -> Triggers {
        let mut all = SelectAll::new();
        all.push(of_writer(shared, &self.service_accounts).boxed());
        all.push(of_writer(shared, &self.network_policies).boxed());
        all.push(of_writer(shared, &self.volumes).boxed());
        all.push(of_writer(shared, &self.services).boxed());
        all.push(activity::watch(shared, &self.leases, &self.attention).boxed());
        all.push(of_writer(shared, &self.revisions).boxed());
        all.push(of_writer(shared, &self.deployments).boxed());
        all.push(of_writer(shared, &self.pods).boxed());
        let sets = self.replica_sets.stream(
            shared.config.scope.api(&shared.client),
            shared.config.scope.children(),
            "ReplicaSet",
            shared.metrics.clone(),
        );
        all.push(triggers(sets).boxed());
        let keys = secrets(shared, &self.keys, shared.config.scope.children());
        all.push(triggers(keys).boxed());
        let labels = format!("{USE_LABEL}={GIT_CREDENTIALS}");
        let config = watcher::Config::default().labels(&labels);
        // They are looked at when a workspace starts: a change of them wakes nobody.
        let credentials = secrets(shared, &self.credentials, config);
        let silent = credentials.filter_map(|_| std::future::ready(None));
        all.push(silent.boxed());
        all.push(self.hints.watch(shared, About::Pod).boxed());
        all.push(self.hints.watch(shared, About::Claim).boxed());
        all
    }

    /// Watches Secrets whose values Workspaces may take, and yields those that changed, came or went.
    pub fn watch_referable(&self, shared: &Shared) -> impl Stream<Item = Key> + Send + 'static {
        let labels = format!("{USE_LABEL}={VARIABLES}");
        let config = watcher::Config::default().labels(&labels);
        secrets(shared, &self.referable, config).map(|secret| Key::of(&*secret))
    }

    /// The kinds of children whose first list is not there yet.
    pub fn unseen_kinds(&self) -> Vec<&'static str> {
        let mut unseen = Vec::new();
        let mut check = |kind, is_ready: bool| {
            if !is_ready {
                unseen.push(kind);
            }
        };
        check("ServiceAccount", self.service_accounts.cache().is_ready());
        check("NetworkPolicy", self.network_policies.cache().is_ready());
        check("PersistentVolumeClaim", self.volumes.cache().is_ready());
        check("Service", self.services.cache().is_ready());
        check("Lease", self.leases.cache().is_ready());
        check("ControllerRevision", self.revisions.cache().is_ready());
        check("Deployment", self.deployments.cache().is_ready());
        check("Pod", self.pods.cache().is_ready());
        check("ReplicaSet", self.replica_sets.is_ready());
        check(
            "Secret",
            self.keys.is_ready() && self.credentials.is_ready() && self.referable.is_ready(),
        );
        unseen
    }

    /// Waits until every kind was listed once: before, what is missing may only not be seen yet.
    pub async fn wait_until_ready(&self) {
        self.service_accounts.cache().wait_until_ready().await;
        self.network_policies.cache().wait_until_ready().await;
        self.volumes.cache().wait_until_ready().await;
        self.services.cache().wait_until_ready().await;
        self.leases.cache().wait_until_ready().await;
        self.revisions.cache().wait_until_ready().await;
        self.deployments.cache().wait_until_ready().await;
        self.pods.cache().wait_until_ready().await;
        self.replica_sets.wait_until_ready().await;
        self.keys.wait_until_ready().await;
        self.credentials.wait_until_ready().await;
        self.referable.wait_until_ready().await;
    }
}

fn writer<K>(shared: &Shared) -> Writer<K>
where
    K: Cached
        + Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Serialize
        + k8s_openapi::Resource,
{
    Writer::new(
        client(shared),
        WORKSPACE_MANAGER,
        <K as k8s_openapi::Resource>::KIND,
        Arc::default(),
        shared.metrics.clone(),
    )
}

fn client(shared: &Shared) -> Client {
    shared.client.clone()
}

fn of_writer<K>(
    shared: &Shared,
    writer: &Writer<K>,
) -> impl Stream<Item = ObjectRef<Workspace>> + Send + 'static
where
    K: Cached + Resource<Scope = k8s_openapi::NamespaceResourceScope> + Serialize,
{
    triggers(writer.watch(
        shared.config.scope.api(&shared.client),
        shared.config.scope.children(),
    ))
}

fn secrets(
    shared: &Shared,
    cache: &Arc<Cache<PartialObjectMeta<Secret>>>,
    config: watcher::Config,
) -> BoxStream<'static, Arc<PartialObjectMeta<Secret>>> {
    let api = shared.config.scope.api(&shared.client);
    let metrics = shared.metrics.clone();
    cache.stream(api, config, "Secret", metrics).boxed()
}

fn triggers<K: Cached>(
    children: impl Stream<Item = Arc<K>> + Send + 'static,
) -> impl Stream<Item = ObjectRef<Workspace>> + Send + 'static {
    children.filter_map(|child| std::future::ready(Key::of_workspace(&*child).map(object_ref)))
}

/// As kube's controller names it.
pub fn object_ref(key: Key) -> ObjectRef<Workspace> {
    ObjectRef::new(&key.name).within(&key.namespace)
}
