//! Validated values become the desired Kubernetes objects. Pure, and cannot fail.
//!
//! The same input gives the same bytes: maps and lists are sorted, and there is no time and no random name. A caller
//! renders with [`render`], chooses the pod template with
//! [`template_to_apply`](crate::model::revision::template_to_apply), and applies in the order of the fields of
//! [`Resources`]: what others need comes first, and the NetworkPolicy before anything that it guards.
//!
//! When the spec no longer validates, [`deployment`] with the pinned template still stops or repairs what runs, and
//! [`guard`] with the pinned policy closes what somebody opened.

mod inside;
mod metadata;
mod network;
mod pod;
pub mod probe;

use k8s_openapi::api::apps::v1::{
    ControllerRevision, Deployment, DeploymentSpec, DeploymentStrategy,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    LocalObjectReference, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec,
    Service, ServiceAccount, ServicePort, ServiceSpec, VolumeResourceRequirements,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use crate::api::class::Retention;
use crate::api::workspace::{ChangeEffect, PendingChange};
use crate::model::duration::Span;
use crate::model::identity::EndpointName;
use crate::model::names::{
    ACTIVITY_LEASE, LEASE_LABEL, OWNER_ANNOTATION, VOLUME_WORKSPACE_UID_ANNOTATION,
};
use crate::model::revision::{Pinned, differing_fields, pending_changes};
use crate::model::workspace::{Identity, ValidatedWorkspace};

pub use metadata::{labels, owned, owner_reference, selector};
pub use network::guard;

/// The objects of a workspace, in the order in which they are applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    /// Who the pod is: nobody, with registry credentials.
    pub service_account: ServiceAccount,
    /// What the pod may reach and who may reach it. If it can't be applied, nothing starts.
    pub network_policy: NetworkPolicy,
    /// The claim of the home volume.
    pub volume: PersistentVolumeClaim,
    /// A named port for the editor and each endpoint. Without any there is none (a Service has at least one port), and one that
    /// is there is deleted.
    pub service: Option<Service>,
    /// When it was last used. The proxy writes that; here it is empty.
    pub activity: Lease,
    /// The pod's template, and whether a pod should be there.
    pub deployment: Deployment,
}

impl Resources {
    /// The pod template.
    pub fn template(&self) -> &PodTemplateSpec {
        // A rendered Deployment always has a spec; an empty template stands in for the impossible.
        static NONE: std::sync::OnceLock<PodTemplateSpec> = std::sync::OnceLock::new();
        match &self.deployment.spec {
            Some(spec) => &spec.template,
            None => NONE.get_or_init(PodTemplateSpec::default),
        }
    }

    /// The same objects around another pod template.
    #[must_use]
    pub fn with_template(mut self, template: &PodTemplateSpec) -> Self {
        if let Some(spec) = &mut self.deployment.spec {
            spec.template = template.clone();
        }
        self
    }

    /// All objects as JSON with `apiVersion` and `kind`, in the order in which they are applied.
    pub fn to_values(&self) -> Vec<Value> {
        let mut values = vec![
            to_value(&self.service_account),
            to_value(&self.network_policy),
            to_value(&self.volume),
        ];
        values.extend(self.service.as_ref().map(to_value));
        values.push(to_value(&self.activity));
        values.push(to_value(&self.deployment));
        values
    }
}

fn to_value<T: serde::Serialize>(object: &T) -> Value {
    // Kubernetes types always serialize: their maps have text keys.
    serde_json::to_value(object).unwrap_or(Value::Null)
}

/// Renders all objects of a workspace.
pub fn render(workspace: &ValidatedWorkspace, replicas: i32) -> Resources {
    let template = pod::template(workspace);
    Resources {
        service_account: service_account(workspace),
        network_policy: network::policy(workspace),
        volume: volume(workspace),
        service: service(workspace),
        activity: activity(&workspace.identity),
        deployment: deployment(
            &workspace.identity,
            template,
            replicas,
            workspace.deadlines.startup,
        ),
    }
}

/// The Deployment around a pod template. All else in it follows from who the workspace is.
pub fn deployment(
    identity: &Identity,
    template: PodTemplateSpec,
    replicas: i32,
    startup: Span,
) -> Deployment {
    Deployment {
        metadata: metadata::owned(identity, identity.name.to_string()),
        spec: Some(DeploymentSpec {
            replicas: Some(replicas.clamp(0, 1)),
            // The startup timer and this one end together. Spans are at most ten years: they fit.
            progress_deadline_seconds: Some(
                i32::try_from(startup.seconds_up()).unwrap_or(i32::MAX),
            ),
            revision_history_limit: Some(1),
            selector: LabelSelector {
                match_labels: Some(selector(identity)),
                ..LabelSelector::default()
            },
            // The home volume has one writer: the old pod goes before the new one comes.
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                rolling_update: None,
            }),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// The ControllerRevision of a start. Written before the Deployment is touched; never changed.
pub fn revision(identity: &Identity, pinned: &Pinned) -> ControllerRevision {
    ControllerRevision {
        metadata: metadata::owned(identity, pinned.name.clone()),
        data: Some(RawExtension(to_value(&pinned.pin))),
        revision: pinned.number,
    }
}

/// What a change from one rendering to another does, and when: the pod template at the next start, all else at once.
pub fn changes(before: &Resources, after: &Resources, restart_asked: bool) -> Vec<PendingChange> {
    let mut changes = pending_changes(before.template(), after.template(), restart_asked);
    let without_template = |resources: &Resources| {
        let mut deployment = resources.deployment.clone();
        if let Some(spec) = &mut deployment.spec {
            spec.template = PodTemplateSpec::default();
        }
        to_value(&deployment)
    };
    let pairs = [
        (
            "serviceAccount",
            to_value(&before.service_account),
            to_value(&after.service_account),
        ),
        (
            "networkPolicy",
            to_value(&before.network_policy),
            to_value(&after.network_policy),
        ),
        ("volume", to_value(&before.volume), to_value(&after.volume)),
        (
            "service",
            to_value(&before.service),
            to_value(&after.service),
        ),
        (
            "deployment",
            without_template(before),
            without_template(after),
        ),
    ];
    for (kind, before, after) in &pairs {
        for field in differing_fields(before, after) {
            let field = if field.is_empty() {
                (*kind).to_owned()
            } else {
                format!("{kind}.{field}")
            };
            changes.push(PendingChange {
                field,
                effect: ChangeEffect::Live,
            });
        }
    }
    changes
}

fn service_account(workspace: &ValidatedWorkspace) -> ServiceAccount {
    let identity = &workspace.identity;
    let secrets: Vec<LocalObjectReference> = workspace
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference {
            name: name.to_string(),
        })
        .collect();
    ServiceAccount {
        metadata: metadata::owned(identity, identity.name.to_string()),
        automount_service_account_token: Some(false),
        image_pull_secrets: (!secrets.is_empty()).then_some(secrets),
        secrets: None,
    }
}

/// Without a spec: what stands there is the proxy's, and applying this again takes none of it away.
fn activity(identity: &Identity) -> Lease {
    let mut metadata = metadata::owned(identity, identity.name.activity());
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(LEASE_LABEL.to_owned(), ACTIVITY_LEASE.to_owned());
    Lease {
        metadata,
        spec: None,
    }
}

fn volume(workspace: &ValidatedWorkspace) -> PersistentVolumeClaim {
    let identity = &workspace.identity;
    let storage = &workspace.storage;
    let mut metadata = metadata::owned(identity, identity.name.volume());
    metadata::add_of_class(&mut metadata, workspace);
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(OWNER_ANNOTATION.to_owned(), workspace.owner.to_string());
    annotations.insert(
        VOLUME_WORKSPACE_UID_ANNOTATION.to_owned(),
        identity.uid.clone(),
    );
    // Garbage collection would delete people's work together with the Workspace.
    if storage.retention == Retention::Retain {
        metadata.owner_references = None;
    }
    PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(storage.size.to_string()))].into()),
                limits: None,
            }),
            storage_class_name: storage.class_name.as_ref().map(ToString::to_string),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn service(workspace: &ValidatedWorkspace) -> Option<Service> {
    let editor = workspace.inside.editor.as_ref();
    if workspace.endpoints.is_empty() && editor.is_none() {
        return None;
    }
    let identity = &workspace.identity;
    let mut metadata = metadata::owned(identity, identity.name.service());
    metadata::add_of_class(&mut metadata, workspace);
    let port = |name: &str, number: u16| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(i32::from(number))),
        ..ServicePort::default()
    };
    let editor = editor.map(|editor| port(EndpointName::EDITOR, editor.port));
    let endpoints = workspace.endpoints.iter();
    let ports = editor
        .into_iter()
        .chain(endpoints.map(|(name, number)| port(name.as_str(), number.get())))
        .collect();
    Some(Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector(identity)),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

#[cfg(test)]
mod tests;
