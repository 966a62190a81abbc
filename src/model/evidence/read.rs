//! Facts out of Kubernetes objects, one kind at a time.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{
    ContainerState as ApiContainerState, ContainerStateTerminated, ContainerStatus, Event, Pod,
    PodSpec,
};

use crate::model::evidence::{
    ConditionFacts, ContainerFacts, ContainerState, DeploymentFacts, DeploymentStatusFacts,
    EventFacts, Exit, PodFacts, Refusal,
};

pub(super) fn deployment_facts(deployment: &Deployment) -> DeploymentFacts {
    DeploymentFacts {
        generation: deployment.metadata.generation,
        has_spec: deployment.spec.is_some(),
        replicas: deployment.spec.as_ref().and_then(|spec| spec.replicas),
        status: deployment
            .status
            .as_ref()
            .map(|status| DeploymentStatusFacts {
                observed_generation: status.observed_generation.unwrap_or(0),
                conditions: status.conditions.as_ref().map(|conditions| {
                    conditions
                        .iter()
                        .map(|condition| ConditionFacts {
                            type_: condition.type_.clone(),
                            status: condition.status.clone(),
                            reason: condition.reason.clone(),
                            message: condition.message.clone().unwrap_or_default(),
                            since: condition.last_transition_time.as_ref().map(|time| time.0),
                        })
                        .collect()
                }),
                available: status.available_replicas.unwrap_or(0),
                unavailable: status.unavailable_replicas.unwrap_or(0),
            }),
    }
}

/// Annotation in which the Deployment controller numbers its ReplicaSets.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The ReplicaSet of the Deployment with the highest revision.
pub(super) fn current_set<'a>(
    deployment: &Deployment,
    sets: &'a [ReplicaSet],
) -> Option<&'a ReplicaSet> {
    let uid = deployment.metadata.uid.as_deref();
    let number = |set: &ReplicaSet| -> i64 {
        let annotations = set.metadata.annotations.as_ref();
        annotations
            .and_then(|a| a.get(REVISION)?.parse().ok())
            .unwrap_or(0)
    };
    sets.iter()
        .filter(|set| {
            let owners = set.metadata.owner_references.as_deref().unwrap_or_default();
            owners
                .iter()
                .any(|owner| owner.controller == Some(true) && Some(owner.uid.as_str()) == uid)
        })
        .max_by_key(|set| {
            (
                number(set),
                set.metadata.creation_timestamp.as_ref().map(|t| t.0),
            )
        })
}

/// Nobody controls it and nobody deletes it.
fn is_orphan(set: &ReplicaSet) -> bool {
    let owners = set.metadata.owner_references.as_deref().unwrap_or_default();
    set.metadata.deletion_timestamp.is_none()
        && !owners.iter().any(|owner| owner.controller == Some(true))
}

pub(super) fn refusal(
    deployment: Option<&Deployment>,
    current: Option<&ReplicaSet>,
) -> Option<Refusal> {
    let of_set = current.and_then(|set| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        let found = conditions
            .iter()
            .find(|c| c.type_ == "ReplicaFailure" && c.status == "True")?;
        Some(Refusal {
            reason: found.reason.clone().unwrap_or_default(),
            message: found.message.clone().unwrap_or_default(),
            since: found.last_transition_time.as_ref().map(|t| t.0),
        })
    });
    let of_deployment = || {
        let conditions = deployment?.status.as_ref()?.conditions.as_ref()?;
        let found = conditions.iter().find(|c| {
            let refused_set =
                c.type_ == "Progressing" && c.reason.as_deref() == Some("ReplicaSetCreateError");
            (c.type_ == "ReplicaFailure" && c.status == "True") || refused_set
        })?;
        Some(Refusal {
            reason: found.reason.clone().unwrap_or_default(),
            message: found.message.clone().unwrap_or_default(),
            since: found.last_transition_time.as_ref().map(|t| t.0),
        })
    };
    of_set.or_else(of_deployment)
}

pub(super) fn pod_facts(pod: &Pod, current: Option<&ReplicaSet>, sets: &[ReplicaSet]) -> PodFacts {
    let metadata = &pod.metadata;
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    // Without a known ReplicaSet (a cache that lags behind) every pod may be the current one.
    let is_of = |set: &ReplicaSet| {
        let uid = set.metadata.uid.as_deref();
        owners
            .iter()
            .any(|owner| Some(owner.uid.as_str()) == uid && owner.controller == Some(true))
    };
    let current_set = current.and_then(|set| set.metadata.uid.as_deref());
    let of_current_set = current_set.is_none_or(|uid| owners.iter().any(|owner| owner.uid == uid));
    let of_orphaned_set = sets.iter().any(|set| is_of(set) && is_orphan(set));
    let status = pod.status.clone().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let list = |statuses: Option<Vec<ContainerStatus>>, is_init: bool| -> Vec<ContainerFacts> {
        statuses
            .unwrap_or_default()
            .iter()
            .map(|one| container_facts(one, is_init, memory_limit(spec, &one.name)))
            .collect()
    };
    let mut containers = list(status.init_container_statuses, true);
    containers.extend(list(status.container_statuses, false));
    PodFacts {
        name: metadata.name.clone().unwrap_or_default(),
        created: metadata.creation_timestamp.as_ref().map(|time| time.0),
        deleting: metadata.deletion_timestamp.as_ref().map(|time| time.0),
        finalizers: metadata.finalizers.clone().unwrap_or_default(),
        node: pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.clone())
            .filter(|node| !node.is_empty()),
        address: status.pod_ip.as_ref().and_then(|ip| ip.parse().ok()),
        of_current_set,
        of_orphaned_set,
        phase: status.phase.unwrap_or_else(|| "Pending".to_owned()),
        reason: status.reason.filter(|reason| !reason.is_empty()),
        message: status.message.filter(|message| !message.is_empty()),
        conditions: status
            .conditions
            .unwrap_or_default()
            .into_iter()
            .map(|condition| ConditionFacts {
                type_: condition.type_,
                status: condition.status,
                reason: condition.reason,
                message: condition.message.unwrap_or_default(),
                since: condition.last_transition_time.map(|time| time.0),
            })
            .collect(),
        containers,
        mounts_images: mounts_images(spec),
    }
}

fn mounts_images(spec: Option<&PodSpec>) -> bool {
    let volumes = spec.and_then(|spec| spec.volumes.as_ref());
    let mut all = volumes.into_iter().flatten();
    all.any(|volume| volume.image.is_some())
}

/// The memory limit of a container. Names are unique over both lists.
fn memory_limit(spec: Option<&PodSpec>, name: &str) -> Option<String> {
    let spec = spec?;
    let mut containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let container = containers.find(|container| container.name == name)?;
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    limits.get("memory").map(|limit| limit.0.clone())
}

fn container_facts(
    status: &ContainerStatus,
    is_init: bool,
    memory_limit: Option<String>,
) -> ContainerFacts {
    let empty = ApiContainerState::default();
    let now = status.state.as_ref().unwrap_or(&empty);
    let before = status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let state = if let Some(waiting) = &now.waiting {
        ContainerState::Waiting {
            reason: waiting.reason.clone().unwrap_or_default(),
            message: waiting.message.clone().unwrap_or_default(),
        }
    } else if let Some(running) = &now.running {
        ContainerState::Running {
            since: running.started_at.as_ref().map(|time| time.0),
        }
    } else if now.terminated.is_some() {
        ContainerState::Terminated
    } else {
        ContainerState::Unknown
    };
    ContainerFacts {
        name: status.name.clone(),
        is_init,
        id: status.container_id.clone().unwrap_or_default(),
        image: status.image.clone(),
        image_id: status.image_id.clone(),
        ready: status.ready,
        restarts: status.restart_count,
        state,
        last_exit: now.terminated.as_ref().or(before).map(exit),
        memory_limit,
    }
}

fn exit(terminated: &ContainerStateTerminated) -> Exit {
    Exit {
        reason: terminated.reason.clone().unwrap_or_default(),
        code: terminated.exit_code,
        message: terminated.message.clone().unwrap_or_default(),
        at: terminated.finished_at.as_ref().map(|time| time.0),
    }
}

pub(super) fn event_facts(event: &Event) -> EventFacts {
    let last_in_series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref())
        .map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    EventFacts {
        kind: event.involved_object.kind.clone().unwrap_or_default(),
        name: event.involved_object.name.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
        last_seen: last_in_series.or(last).or(first),
    }
}
