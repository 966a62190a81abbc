//! The acts of a scheduler, a kubelet and the controllers of Deployments, by hand: tests without a node decide when
//! a pod exists, runs, is ready, or fails, and in which words.
//!
//! The words are those of the real programs, since causes of failures are read from them.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Node, Pod, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::control_plane::object;

/// What may happen to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodStep {
    /// No node takes it, for this reason.
    Unschedulable(String),
    /// Its node knows it; the container waits, for example with `ImagePullBackOff`.
    Waiting {
        /// Why, in one word.
        reason: String,
        /// Why, in words.
        message: String,
    },
    /// The container runs.
    Running,
    /// The container runs and the pod is ready.
    Ready,
    /// The container ended well, and the pod with it.
    Completed,
    /// The container ended and will be started again after a pause.
    CrashLoop {
        /// Its exit code.
        exit_code: i32,
        /// `Error`, `Completed`, `OOMKilled`, …
        reason: String,
        /// The termination message: the last lines of the log.
        message: String,
        /// How often it was started again.
        restarts: i32,
    },
    /// The whole pod failed, for example `Evicted`.
    Failed {
        /// Why, in one word.
        reason: String,
        /// Why, in words.
        message: String,
    },
}

/// Whoever acts on the pods of one namespace.
#[derive(Clone)]
pub struct Kubelet {
    client: Client,
    namespace: String,
}

impl Kubelet {
    /// For a namespace. The client must be allowed to do all of this.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self {
            client,
            namespace: namespace.into(),
        }
    }

    /// Makes the ReplicaSet and the pod that a Deployment asks for, as its controllers do.
    ///
    /// # Errors
    /// When the Deployment is missing or the API server refuses the pod.
    pub async fn mk_pod_of(&self, deployment: &str) -> kube::Result<Pod> {
        let deployment = self.deployments().get(deployment).await?;
        let owner = deployment.controller_owner_ref(&()).unwrap_or_default();
        let mut template = deployment
            .spec
            .as_ref()
            .map(|spec| json!(spec.template))
            .unwrap_or_default();
        let revision = deployment.metadata.generation.unwrap_or_default();
        let hash = format!("g{revision}");
        template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
        let labels = template["metadata"]["labels"].clone();
        let name = format!("{}-{hash}", deployment.name_any());
        let set: ReplicaSet = object(json!({
            "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        }));
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let set = match sets.create(&PostParams::default(), &set).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => sets.get(&name).await?,
            other => other?,
        };
        let owner = set.controller_owner_ref(&()).unwrap_or_default();
        let pod: Pod = object(json!({
            "metadata": {
                "generateName": format!("{name}-"),
                "labels": labels,
                "annotations": template["metadata"]["annotations"],
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
        }));
        self.pods().create(&PostParams::default(), &pod).await
    }

    /// Deletes pods at once, as when a Deployment is scaled down and its containers end quickly.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn remove_pods(&self, labels: &str) -> kube::Result<()> {
        let pods = self
            .pods()
            .list(&ListParams::default().labels(labels))
            .await?;
        for pod in pods {
            self.pods()
                .delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                .await?;
        }
        Ok(())
    }

    /// Gives a pod to a node, as the scheduler does. From then on a deletion waits for the kubelet.
    ///
    /// # Errors
    /// When the pod is missing or has a node.
    pub async fn bind(&self, pod: &str, node: &str) -> kube::Result<()> {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": pod, "namespace": self.namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let _: Value = self
            .pods()
            .create_subresource("binding", pod, &PostParams::default(), &binding)
            .await?;
        Ok(())
    }

    /// Reports what happened to a pod.
    ///
    /// # Errors
    /// When the pod is missing.
    pub async fn report(&self, pod: &str, step: &PodStep) -> kube::Result<Pod> {
        let pods = self.pods();
        let mut current = pods.get(pod).await?;
        let now = Time(Timestamp::now());
        current.status = Some(pod_status(&current, step, &now));
        current.metadata.managed_fields = None;
        pods.replace_status(pod, &PostParams::default(), &current)
            .await
    }

    /// Reports how many pods of a Deployment are there and ready, as its controller does.
    ///
    /// # Errors
    /// When the Deployment is missing.
    pub async fn report_deployment(
        &self,
        name: &str,
        replicas: i32,
        ready: i32,
    ) -> kube::Result<Deployment> {
        let api = self.deployments();
        let current = api.get(name).await?;
        let status = DeploymentStatus {
            observed_generation: current.metadata.generation,
            replicas: Some(replicas),
            updated_replicas: Some(replicas),
            ready_replicas: Some(ready),
            available_replicas: Some(ready),
            unavailable_replicas: Some(replicas - ready),
            ..DeploymentStatus::default()
        };
        let patch = Patch::Merge(json!({ "status": status }));
        api.patch_status(name, &PatchParams::default(), &patch)
            .await
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// Makes a node that only the API server knows, and reports it ready.
///
/// # Errors
/// When the API server refuses.
pub async fn mk_node(client: Client, name: &str) -> kube::Result<Node> {
    let api: Api<Node> = Api::all(client);
    let node: Node = object(json!({"metadata": {"name": name}}));
    match api.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        other => {
            other?;
        }
    }
    let now = Time(Timestamp::now());
    let status = json!({"status": {
        "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
        "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }],
    }});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await
}

/// The same, and it says which container runtime it has. Said again, it is still there.
///
/// # Errors
/// When the API server refuses.
pub async fn mk_node_of(client: Client, name: &str, runtime: &str) -> kube::Result<Node> {
    mk_node(client.clone(), name).await?;
    let info = json!({"status": {"nodeInfo": {
        "kubeletVersion": "v1.36.3", "containerRuntimeVersion": runtime,
        "architecture": "amd64", "bootID": "1", "kernelVersion": "6", "kubeProxyVersion": "",
        "machineID": "1", "operatingSystem": "linux", "osImage": "x", "systemUUID": "1",
    }}});
    let api: Api<Node> = Api::all(client);
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(info))
        .await
}

/// Whether a pod's condition Ready is True.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The status that the real programs would write.
pub fn pod_status(pod: &Pod, step: &PodStep, now: &Time) -> PodStatus {
    let started = pod
        .status
        .as_ref()
        .and_then(|status| status.start_time.clone())
        .unwrap_or_else(|| now.clone());
    let mut status = PodStatus {
        phase: Some("Pending".to_owned()),
        ..PodStatus::default()
    };
    let mut conditions = vec![("PodScheduled", true, None)];
    match step {
        PodStep::Unschedulable(message) => {
            conditions = vec![("PodScheduled", false, Some(("Unschedulable", message)))];
        }
        PodStep::Waiting { reason, message } => {
            conditions.extend([("Initialized", true, None), ("Ready", false, None)]);
            status.container_statuses = Some(vec![container(pod, waiting(reason, message))]);
        }
        PodStep::Running | PodStep::Ready => {
            let ready = *step == PodStep::Ready;
            status.phase = Some("Running".to_owned());
            conditions.extend([
                ("PodReadyToStartContainers", true, None),
                ("Initialized", true, None),
                ("ContainersReady", ready, None),
                ("Ready", ready, None),
            ]);
            status.container_statuses = Some(vec![serving(pod, ready, now)]);
        }
        PodStep::Completed => {
            status.phase = Some("Succeeded".to_owned());
            conditions.extend([("Initialized", true, None), ("Ready", false, None)]);
            let exit = ContainerStateTerminated {
                reason: Some("Completed".to_owned()),
                finished_at: Some(now.clone()),
                started_at: Some(started.clone()),
                ..ContainerStateTerminated::default()
            };
            let state = ContainerState {
                terminated: Some(exit),
                ..ContainerState::default()
            };
            status.container_statuses = Some(vec![container(pod, state)]);
        }
        PodStep::CrashLoop {
            exit_code,
            reason,
            message,
            restarts,
        } => {
            status.phase = Some("Running".to_owned());
            conditions.extend([("Initialized", true, None), ("Ready", false, None)]);
            let exit = ContainerStateTerminated {
                exit_code: *exit_code,
                reason: Some(reason.clone()),
                message: Some(message.clone()),
                finished_at: Some(now.clone()),
                started_at: Some(started.clone()),
                ..ContainerStateTerminated::default()
            };
            status.container_statuses = Some(vec![crash_looping(pod, exit, *restarts)]);
        }
        PodStep::Failed { reason, message } => {
            status.phase = Some("Failed".to_owned());
            status.reason = Some(reason.clone());
            status.message = Some(message.clone());
            conditions.push(("Ready", false, None));
        }
    }
    if !matches!(step, PodStep::Unschedulable(_)) {
        status.start_time = Some(started);
    }
    let before = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    status.conditions = Some(
        conditions
            .into_iter()
            .map(|(kind, is_true, why)| condition(before, kind, is_true, why, now))
            .collect(),
    );
    status
}

/// A main container that runs.
fn serving(pod: &Pod, ready: bool, now: &Time) -> ContainerStatus {
    let running = ContainerState {
        running: Some(ContainerStateRunning {
            started_at: Some(now.clone()),
        }),
        ..ContainerState::default()
    };
    ContainerStatus {
        ready,
        started: Some(true),
        image_id: "registry.example.com/dev@sha256:0123456789abcdef".to_owned(),
        ..container(pod, running)
    }
}

/// A main container that ended this way and waits for its next start.
fn crash_looping(pod: &Pod, exit: ContainerStateTerminated, restarts: i32) -> ContainerStatus {
    let pause = waiting(
        "CrashLoopBackOff",
        "back-off 10s restarting failed container",
    );
    ContainerStatus {
        restart_count: restarts,
        last_state: Some(ContainerState {
            terminated: Some(exit),
            ..ContainerState::default()
        }),
        ..container(pod, pause)
    }
}

fn condition(
    before: Option<&Vec<PodCondition>>,
    kind: &str,
    is_true: bool,
    why: Option<(&str, &String)>,
    now: &Time,
) -> PodCondition {
    let value = if is_true { "True" } else { "False" };
    let unchanged = before
        .into_iter()
        .flatten()
        .find(|old| old.type_ == kind && old.status == value)
        .and_then(|old| old.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: why.map(|(reason, _)| reason.to_owned()),
        message: why.map(|(_, message)| message.clone()),
        last_transition_time: Some(unchanged.unwrap_or_else(|| now.clone())),
        ..PodCondition::default()
    }
}

fn container(pod: &Pod, state: ContainerState) -> ContainerStatus {
    let first = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let before = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|statuses| statuses.first());
    ContainerStatus {
        name: first.map(|c| c.name.clone()).unwrap_or_default(),
        image: first.and_then(|c| c.image.clone()).unwrap_or_default(),
        restart_count: before.map_or(0, |c| c.restart_count),
        state: Some(state),
        ..ContainerStatus::default()
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
        }),
        ..ContainerState::default()
    }
}
