//! What was seen: the facts about a workspace, read out of Kubernetes objects, and the evidence that states and failures
//! are derived from. Objects in, values out; nothing here decides anything.
//!
//! A caller makes [`Facts`] from its caches (and from what its own apply calls returned), then [`Evidence`] around them.

mod read;

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};

use crate::api::class::Delivery;
use crate::api::workspace::{Cause, WorkspaceStatus};
use crate::model::class::Deadlines;
use crate::model::inside::told::{Answer, Told};
use crate::model::names::{COPY_EDITOR_CONTAINER, COPY_TOOLS_CONTAINER};
use crate::model::workspace::VolumeFacts;
use read::{current_set, deployment_facts, event_facts, pod_facts, refusal};

/// Objects of one workspace, as they were seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Observed<'a> {
    /// The Deployment.
    pub deployment: Option<&'a Deployment>,
    /// ReplicaSets of the workspace.
    pub replica_sets: &'a [ReplicaSet],
    /// Its pods; none when they were not looked at yet.
    pub pods: Option<&'a [Pod]>,
    /// The claim of the home volume.
    pub volume: Option<&'a PersistentVolumeClaim>,
    /// Events about any of these. Hints only: they expire, merge and get lost.
    pub events: &'a [Event],
}

/// The facts in the objects of one workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The Deployment.
    pub deployment: Option<DeploymentFacts>,
    /// Why the current ReplicaSet could make no pod.
    pub refusal: Option<Refusal>,
    /// Pods, the newest first; none when they were not looked at yet.
    pub pods: Option<Vec<PodFacts>>,
    /// The claim of the home volume.
    pub volume: Option<VolumeFacts>,
    /// Hints, the newest first.
    pub events: Vec<EventFacts>,
}

/// A condition of any Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionFacts {
    /// Its type.
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Its reason.
    pub reason: Option<String>,
    /// Its message.
    pub message: String,
    /// When its status last changed.
    pub since: Option<Timestamp>,
}

/// A Deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeploymentFacts {
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// Whether there is a spec at all.
    pub has_spec: bool,
    /// `spec.replicas`.
    pub replicas: Option<i32>,
    /// Its status.
    pub status: Option<DeploymentStatusFacts>,
}

/// The status of a Deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeploymentStatusFacts {
    /// `status.observedGeneration`; missing is 0.
    pub observed_generation: i64,
    /// `status.conditions`.
    pub conditions: Option<Vec<ConditionFacts>>,
    /// `status.availableReplicas`; missing is 0.
    pub available: i32,
    /// `status.unavailableReplicas`; missing is 0.
    pub unavailable: i32,
}

impl DeploymentStatusFacts {
    /// The condition of a type.
    pub fn condition(&self, type_: &str) -> Option<&ConditionFacts> {
        self.conditions
            .as_ref()?
            .iter()
            .find(|condition| condition.type_ == type_)
    }
}

/// Why no pod could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, such as FailedCreate.
    pub reason: String,
    /// What the API server said.
    pub message: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When its deletion was asked for.
    pub deleting: Option<Timestamp>,
    /// What keeps it from going away.
    pub finalizers: Vec<String>,
    /// Its node.
    pub node: Option<String>,
    /// Its address, the first of them.
    pub address: Option<IpAddr>,
    /// Whether it belongs to the current ReplicaSet.
    pub of_current_set: bool,
    /// Whether its ReplicaSet has lost its Deployment and stays: a Deployment of this name adopts both.
    pub of_orphaned_set: bool,
    /// Pending, Running, Succeeded, Failed or Unknown.
    pub phase: String,
    /// `status.reason`, such as Evicted.
    pub reason: Option<String>,
    /// `status.message`.
    pub message: Option<String>,
    /// Its conditions.
    pub conditions: Vec<ConditionFacts>,
    /// Its containers, init containers first.
    pub containers: Vec<ContainerFacts>,
    /// Whether tools or editor come into it as image volumes.
    pub mounts_images: bool,
}

impl PodFacts {
    /// Reads a pod that belongs to no Workspace.
    pub fn of(pod: &Pod) -> Self {
        pod_facts(pod, None, &[])
    }

    /// Of the current ReplicaSet, and not on its way out.
    pub fn is_current(&self) -> bool {
        self.of_current_set && self.deleting.is_none()
    }

    /// Whether its containers ended for good.
    pub fn is_over(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether it may still hold the volume. A dead pod that nobody deletes holds nothing: the kubelet only
    /// keeps its record, and a ReplicaSet of 0 leaves it there. One that is being deleted may still be unmounting.
    pub fn may_hold_volume(&self) -> bool {
        !self.is_over() || self.deleting.is_some()
    }

    /// The condition of a type.
    pub fn condition(&self, type_: &str) -> Option<&ConditionFacts> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == type_)
    }

    /// Since when a condition is True.
    pub fn true_since(&self, type_: &str) -> Option<Option<Timestamp>> {
        self.condition(type_)
            .filter(|condition| condition.status == "True")
            .map(|condition| condition.since)
    }

    /// Whether its volumes are mounted and its network is made: the node goes on with images and containers only then.
    pub fn has_sandbox(&self) -> bool {
        self.true_since("PodReadyToStartContainers").is_some()
    }

    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        !self.is_over() && self.true_since("Ready").is_some()
    }

    /// The container of a name.
    pub fn container(&self, name: &str) -> Option<&ContainerFacts> {
        self.containers
            .iter()
            .find(|container| container.name == name)
    }
}

/// A container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its name.
    pub name: String,
    /// Whether it is an init container.
    pub is_init: bool,
    /// What the node calls this life of it; another one when it is started again.
    pub id: String,
    /// The image as written.
    pub image: String,
    /// The image as the node resolved it.
    pub image_id: String,
    /// Whether it is ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// What it does now.
    pub state: ContainerState,
    /// How it ended the last time.
    pub last_exit: Option<Exit>,
    /// Its memory limit as the pod has it, such as 512Mi.
    pub memory_limit: Option<String>,
}

impl ContainerFacts {
    /// Whether it copies tools or editor: no code of the user's, and none of their fault.
    pub fn is_copying(&self) -> bool {
        self.is_init && [COPY_TOOLS_CONTAINER, COPY_EDITOR_CONTAINER].contains(&self.name.as_str())
    }

    /// Reason and message, if it waits for one of these reasons.
    pub fn waits_for(&self, reasons: &[&str]) -> Option<(&str, &str)> {
        match &self.state {
            ContainerState::Waiting { reason, message } if reasons.contains(&reason.as_str()) => {
                Some((reason, message))
            }
            _ => None,
        }
    }
}

/// What a container does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ContainerState {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It waits.
    Waiting {
        /// For what, such as ErrImagePull.
        reason: String,
        /// In more words.
        message: String,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Option<Timestamp>,
    },
    /// It ended, and [`ContainerFacts::last_exit`] says how.
    Terminated,
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// Such as Completed, Error or OOMKilled.
    pub reason: String,
    /// The exit code.
    pub code: i32,
    /// The termination message: the end of the log, as we ask for it.
    pub message: String,
    /// When.
    pub at: Option<Timestamp>,
}

/// An Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFacts {
    /// Kind of the object that it speaks of.
    pub kind: String,
    /// Name of that object.
    pub name: String,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
}

impl EventFacts {
    /// Reads an Event.
    pub fn of(event: &Event) -> Self {
        event_facts(event)
    }
}

impl Facts {
    /// Reads the objects of one workspace.
    pub fn of(observed: &Observed<'_>) -> Self {
        let current = observed
            .deployment
            .and_then(|deployment| current_set(deployment, observed.replica_sets));
        let mut pods: Option<Vec<PodFacts>> = observed.pods.map(|pods| {
            pods.iter()
                .map(|pod| pod_facts(pod, current, observed.replica_sets))
                .collect()
        });
        if let Some(pods) = &mut pods {
            pods.sort_by(|a, b| (b.created, &b.name).cmp(&(a.created, &a.name)));
        }
        let mut events: Vec<EventFacts> = observed.events.iter().map(event_facts).collect();
        events.sort_by(|a, b| {
            b.last_seen.cmp(&a.last_seen).then_with(|| {
                (&a.reason, &a.name, &a.message).cmp(&(&b.reason, &b.name, &b.message))
            })
        });
        Self {
            deployment: observed.deployment.map(deployment_facts),
            refusal: refusal(observed.deployment, current),
            pods,
            volume: observed.volume.map(VolumeFacts::of),
            events,
        }
    }

    /// The pods of the current ReplicaSet that are not on their way out, the newest first.
    pub fn current_pods(&self) -> impl Iterator<Item = &PodFacts> {
        self.pods.iter().flatten().filter(|pod| pod.is_current())
    }

    /// The pod that counts: the newest current one that is not over, else the newest current one.
    pub fn main_pod(&self) -> Option<&PodFacts> {
        self.current_pods()
            .find(|pod| !pod.is_over())
            .or_else(|| self.current_pods().next())
    }

    /// Whether a current pod serves.
    pub fn has_ready_pod(&self) -> bool {
        self.current_pods().any(PodFacts::is_ready)
    }

    /// Whether a pod of the workspace, of whatever ReplicaSet, may still hold the volume.
    pub fn has_pod_left(&self) -> bool {
        self.pods.iter().flatten().any(PodFacts::may_hold_volume)
    }

    /// `spec.replicas` of the Deployment.
    pub fn replicas(&self) -> Option<i32> {
        self.deployment.as_ref()?.replicas
    }

    /// Events about one object with one of these reasons, the newest first.
    pub fn events_of<'a>(
        &'a self,
        name: &'a str,
        reasons: &'a [&'a str],
    ) -> impl Iterator<Item = &'a EventFacts> {
        self.events
            .iter()
            .filter(move |event| event.name == name && reasons.contains(&event.reason.as_str()))
    }
}

/// An object that could not be applied, for this generation of the spec, and not superseded by a later success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyError {
    /// Kind and name of the object, such as `Service ws-api`.
    pub object: String,
    /// The field that was refused, if the API server named one.
    pub field: Option<String>,
    /// The HTTP status; none when no answer came.
    pub code: Option<u16>,
    /// The reason in the API server's answer, such as Invalid or Forbidden.
    pub reason: String,
    /// What the API server said.
    pub message: String,
    /// Whether the pass was about to stop or terminate the workspace.
    pub while_stopping: bool,
}

impl ApplyError {
    /// Reason when somebody else's object has the name.
    pub const FOREIGN: &'static str = "Foreign";
    /// Reason when an object of an earlier Workspace of the name is still being removed.
    pub const LEFTOVER: &'static str = "Leftover";

    /// Whether somebody else's object has the name.
    pub fn is_foreign(&self) -> bool {
        self.reason == Self::FOREIGN
    }

    /// Whether an object of an earlier Workspace of the name is still being removed.
    pub fn is_leftover(&self) -> bool {
        self.reason == Self::LEFTOVER
    }

    /// Whether the API server, or a webhook before it, says that somebody was faster.
    pub fn is_conflict(&self) -> bool {
        self.code == Some(409) && !self.is_foreign()
    }
}

/// How far a termination is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Termination {
    /// None was asked for.
    #[default]
    None,
    /// Something is left that must go.
    InProgress,
    /// Nothing is left that must go.
    Done,
}

/// The persisted moments that timers run from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timers {
    /// When the last start was asked for.
    pub start_requested_at: Option<Timestamp>,
    /// When the stop in progress was asked for.
    pub stop_requested_at: Option<Timestamp>,
    /// When it stopped being ready.
    pub last_ready_at: Option<Timestamp>,
}

impl Timers {
    /// Where the startup timer begins.
    pub fn startup_begins(&self) -> Option<Timestamp> {
        self.start_requested_at.max(self.last_ready_at)
    }
}

/// The failure that the status had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousFailure {
    /// Its cause.
    pub cause: Cause,
    /// Since when.
    pub since: Option<Timestamp>,
}

impl PreviousFailure {
    /// The failure in a status.
    pub fn of(status: &WorkspaceStatus) -> Option<Self> {
        let failure = status.failure.as_ref()?;
        Some(Self {
            cause: failure.cause,
            since: failure.since.as_ref().map(|time| time.0),
        })
    }
}

/// All that states and failures are derived from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What could not be applied.
    pub apply_error: Option<ApplyError>,
    /// How far a termination is.
    pub termination: Termination,
    /// Whether a start waits for a pod before it to be gone.
    pub waits: bool,
    /// Whether the status records that objects of this workspace were applied at some time.
    pub applied_before: bool,
    /// What was seen.
    pub facts: Facts,
    /// Where the timers begin.
    pub timers: Timers,
    /// When the pin of the present start was made, by the clock of the API server. Only to be compared with what that clock
    /// wrote elsewhere.
    pub pinned_at: Option<Timestamp>,
    /// How long they run.
    pub deadlines: Deadlines,
    /// The tools image, to tell its trouble from that of the workspace's image.
    pub tools_image: String,
    /// The image of the editor, for the same; empty without one.
    pub editor_image: String,
    /// How the present start brings them in.
    pub tools_delivery: Delivery,
    /// When the present start went over to copying, since mounting was refused.
    pub tools_refused_at: Option<Timestamp>,
    /// What the status said before: transient trouble escalates by how long it lasts.
    pub previous: Option<PreviousFailure>,
    /// Pods of this start that nodes refused or evicted and that are deleted already.
    pub rejected: u32,
    /// Whether the pod would fit an empty node; none when nobody knows.
    pub fits_some_node: Option<bool>,
    /// What the first process told.
    pub told: Told,
    /// What became of a request to ask it.
    pub answer: Answer,
}
