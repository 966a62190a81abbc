//! The Workspace controller against a real API server and a real controller-manager: Deployments make pods, owners take
//! their dependants along. What a kubelet does, the test does.

mod blocked;
mod cluster;
mod conflicts;
mod converge;
mod deletion;
mod events;
pub mod faults;
mod hosts;
mod limits;
mod one_pod;
mod references;
mod repair;
mod rollback;
mod scale;
mod start;
mod states;
mod takeover;
mod timers;
mod tools;
mod variables;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use workstead::api::workspace::{ActualState, Cause, Failure, WorkspaceStatus};
use workstead::api::{Workspace, WorkspaceClass};
use workstead::controllers::{ControllerConfig, Parts};
use workstead::testkit::ControlPlane;
use workstead::testkit::faults::{Call, Faults};
use workstead::testkit::kubelet::{Kubelet, PodStep};
use workstead::testkit::wait::eventually;

use crate::controllers::{Process, TEST_LABEL, mk_config};
use crate::object;

/// The control plane of these tests, with a controller-manager.
async fn plane() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE
        .get_or_init(|| async {
            let plane = ControlPlane::start().await.unwrap();
            plane.install_definitions().await.unwrap();
            plane.start_controller_manager().await.unwrap();
            plane
        })
        .await
}

/// A namespace with a class of its own, and a controller that looks at nothing else.
pub struct World {
    pub client: Client,
    pub namespace: String,
    pub class: String,
    pub faults: Faults,
    pub kubelet: Kubelet,
    faulty: Client,
}

impl World {
    /// A fresh one. The class is called like the namespace.
    pub async fn new(prefix: &str) -> Self {
        Self::with_class(prefix, json!({})).await
    }

    pub async fn with_class(prefix: &str, class: Value) -> Self {
        Self::on(plane().await, prefix, class).await
    }

    /// On another control plane.
    pub async fn on(plane: &ControlPlane, prefix: &str, class: Value) -> Self {
        let namespace = plane.namespace(prefix).await.unwrap();
        let faults = Faults::new();
        let world = Self {
            client: plane.client(),
            class: namespace.clone(),
            kubelet: Kubelet::new(plane.client(), &namespace),
            faulty: faults.client(plane.config()),
            faults,
            namespace,
        };
        world.set_class(&world.class, class).await;
        world
    }

    pub async fn set_class(&self, name: &str, spec: Value) -> WorkspaceClass {
        let class: WorkspaceClass = object(json!({
            "apiVersion": "workstead.dev/v1alpha1", "kind": "WorkspaceClass",
            "metadata": {"name": name, "labels": {TEST_LABEL: self.namespace}},
            "spec": spec,
        }));
        Api::all(self.client.clone())
            .patch(
                name,
                &PatchParams::apply("test").force(),
                &Patch::Apply(&class),
            )
            .await
            .unwrap()
    }

    pub fn config(&self, identity: &str) -> ControllerConfig {
        let mut config = mk_config(&self.namespace, identity);
        // Long enough for a machine that runs many of these at once: who takes over here was let go or is the same.
        config.lease.duration = Duration::from_secs(15);
        config
    }

    /// Starts a controller whose calls go through the faults.
    pub fn start(&self) -> Process {
        self.start_with(self.config("one"), Parts::default())
    }

    /// A client whose calls go through the faults.
    pub fn faulty(&self) -> Client {
        self.faulty.clone()
    }

    pub fn start_with(&self, config: ControllerConfig, parts: Parts) -> Process {
        Process::start_with(config, self.faulty.clone(), parts)
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a Workspace of the class; `spec` is put over the least that is needed.
    pub async fn create(&self, name: &str, spec: Value) -> Workspace {
        let mut whole = json!({
            "owner": "alice@example.com", "className": self.class,
            "image": "registry.example.com/dev:1", "storage": {"size": "1Gi"},
            "endpoints": [{"name": "web", "port": 3000}],
        });
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let workspace: Workspace = object(json!({"metadata": {"name": name}, "spec": whole}));
        self.api()
            .create(&PostParams::default(), &workspace)
            .await
            .unwrap()
    }

    /// Sets the desired state of a Workspace.
    pub async fn want(&self, name: &str, desired: &str) -> Workspace {
        self.change(name, json!({"spec": {"desiredState": desired}}))
            .await
    }

    /// Changes fields of a Workspace.
    pub async fn change(&self, name: &str, patch: Value) -> Workspace {
        self.api::<Workspace>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap()
    }

    /// Deletes an object, if it is there.
    pub async fn delete<K>(&self, name: &str)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        self.api::<K>()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    pub async fn status(&self, name: &str) -> WorkspaceStatus {
        let workspace: Workspace = self.api().get(name).await.unwrap();
        workspace.status.unwrap_or_default()
    }

    /// Waits until the status is as wanted, and of the present generation.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&WorkspaceStatus) -> bool,
    ) -> WorkspaceStatus {
        let last = std::sync::Mutex::new(None);
        let asked = eventually(what, || async {
            let workspace: Workspace = self.api().get(name).await.unwrap();
            let status = workspace.status.unwrap_or_default();
            let fits = status.observed_generation == workspace.metadata.generation && is(&status);
            *last.lock().unwrap() = Some(status.clone());
            fits.then_some(status)
        });
        // Twenty seconds, not the sixty of the kit: and a failure that shows what was there instead.
        match tokio::time::timeout(Duration::from_secs(20), asked).await {
            Ok(status) => status,
            Err(_) => panic!(
                "{name}: waited in vain for {what}; last: {:#?}",
                last.lock().unwrap()
            ),
        }
    }

    pub async fn until_state(&self, name: &str, state: ActualState) -> WorkspaceStatus {
        self.until(name, &format!("{state:?}"), |status| {
            status.actual_state == Some(state)
        })
        .await
    }

    /// Waits until it failed for this reason.
    pub async fn until_failed(&self, name: &str, cause: Cause) -> Failure {
        let status = self.until_state(name, ActualState::Failed).await;
        let failure = status.failure.expect("what failed says why");
        assert_eq!(failure.cause, cause, "{failure:?}");
        failure
    }

    /// The pods of a Workspace that are not on their way out.
    pub async fn pods(&self, name: &str) -> Vec<Pod> {
        let params = ListParams::default().labels(&format!("workstead.dev/workspace={name}"));
        let pods = self.api::<Pod>().list(&params).await.unwrap().items;
        pods.into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect()
    }

    /// Waits for the one pod of a Workspace, other than `not`.
    pub async fn pod(&self, name: &str, not: Option<&str>) -> String {
        eventually("a pod", || async {
            let pods = self.pods(name).await;
            let mut names = pods.iter().map(Pod::name_any);
            names.find(|name| Some(name.as_str()) != not)
        })
        .await
    }

    /// Lets the pod become ready.
    pub async fn make_ready(&self, name: &str) -> String {
        let pod = self.pod(name, None).await;
        self.kubelet.report(&pod, &PodStep::Ready).await.unwrap();
        pod
    }

    /// Creates a Workspace and lets it run.
    pub async fn run(&self, name: &str, spec: Value) -> WorkspaceStatus {
        self.create(name, spec).await;
        self.make_ready(name).await;
        self.until_state(name, ActualState::Running).await
    }

    /// A kubelet that makes every pod ready, until the value is dropped.
    pub fn auto_ready(&self) -> tokio::task::JoinSet<()> {
        let pods: Api<Pod> = self.api();
        let kubelet = self.kubelet.clone();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            loop {
                for pod in pods.list(&ListParams::default()).await.unwrap() {
                    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
                    if phase == Some("Pending") {
                        // It may be gone by now.
                        let _ = kubelet.report(&pod.name_any(), &PodStep::Ready).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        tasks
    }

    /// Starts a controller that makes one pass at a time: the order of its calls is always the same.
    pub fn start_one_at_a_time(&self) -> Process {
        let config = ControllerConfig {
            concurrency: 1,
            ..self.config("one")
        };
        self.start_with(config, Parts::default())
    }

    /// All children, without what differs from run to run.
    pub async fn children(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        collect::<ServiceAccount>(self, &mut all).await;
        collect::<NetworkPolicy>(self, &mut all).await;
        collect::<PersistentVolumeClaim>(self, &mut all).await;
        collect::<Service>(self, &mut all).await;
        collect::<Lease>(self, &mut all).await;
        collect::<ControllerRevision>(self, &mut all).await;
        collect::<Deployment>(self, &mut all).await;
        all
    }

    /// Waits until the controller has nothing more to do: no write for a moment.
    pub async fn settle(&self) {
        let mut mark = self.faults.mark();
        loop {
            tokio::time::sleep(Duration::from_millis(400)).await;
            if writes_since(&self.faults, mark).is_empty() {
                return;
            }
            mark = self.faults.mark();
        }
    }
}

/// Writes to anything but the leader's Lease and Events.
pub fn writes_since(faults: &Faults, mark: usize) -> Vec<Call> {
    faults
        .writes_since(mark)
        .into_iter()
        .filter(|call| !call.is_claim() && call.resource() != "events")
        .collect()
}

async fn collect<K>(world: &World, all: &mut BTreeMap<String, Value>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    let list = world.api::<K>().list(&ListParams::default()).await.unwrap();
    for item in list {
        if item.labels().contains_key("workstead.dev/workspace") {
            let mut value = serde_json::to_value(&item).unwrap();
            strip(&mut value);
            all.insert(format!("{} {}", K::kind(&()), item.name_any()), value);
        }
    }
}

/// Takes away what differs from run to run.
pub fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for key in [
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "managedFields",
                "generation",
                "status",
                "clusterIP",
                "clusterIPs",
                "startedAt",
                "workstead.dev/workspace-uid",
                "workstead.dev/applied",
                "deployment.kubernetes.io/revision",
            ] {
                fields.remove(key);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Waits until a process has made a pass over a Workspace.
pub async fn until_passed(process: &Process) {
    eventually("a pass", || async {
        let text = process.metrics.encode().unwrap();
        text.contains(r#"workstead_reconciles_total{controller="workspace",outcome="ok"}"#)
            .then_some(())
    })
    .await;
}
