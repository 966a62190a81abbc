//! A Workspace, checked: every failure of a wish lives here, and what is rendered from a [`ValidatedWorkspace`] gives
//! the API server no reason to reject it.
//!
//! A caller gathers [`Inputs`] (the class by [`class::choose`](crate::model::class::choose), the census by
//! [`quota::Census`](crate::model::quota::Census), the volume by [`VolumeFacts::of`]) and calls [`validate`]. On `Err`
//! nothing new is applied; the failure goes to the status as `blocked`.

mod checks;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::api::access::EndpointStatus;
use crate::api::class::Retention;
use crate::api::shared::Blame;
use crate::api::workspace::{Cause, Failure, Workspace};
use crate::model::access;
use crate::model::class::{Deadlines, Egress, PodRules, ValidatedClass};
use crate::model::identity::{
    EndpointName, EndpointPort, ImageReference, Owner, VariableName, WorkspaceName,
};
use crate::model::inside::credentials::CredentialFacts;
use crate::model::inside::{self, Inside};
use crate::model::installation::{Cluster, Installation};
use crate::model::names::{
    DnsLabel, DnsSubdomain, OWNER_ANNOTATION, VOLUME_WORKSPACE_UID_ANNOTATION,
};
use crate::model::quantity::Amount;
use crate::model::quota::Exceeded;
use crate::model::resources::{self, ValidatedResources};
use crate::model::variables::pin::VariablesPin;
pub use checks::{ENVIRONMENT_BYTES, leaving_volume};
use checks::{
    check_volume_owner, image_failure, resource_failure, validated_command, validated_deadlines,
    validated_endpoints, validated_env, validated_pod, validated_storage,
};

/// All that [`validate`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The Workspace as it is in the API.
    pub workspace: &'a Workspace,
    /// Its class.
    pub class: &'a ValidatedClass,
    /// The quota that it waits for.
    pub exceeded: Option<&'a Exceeded>,
    /// The claim `<name>-home`, if there is one.
    pub volume: Option<&'a VolumeFacts>,
    /// Secrets of its namespace with Git credentials.
    pub credentials: &'a [CredentialFacts],
    /// What the cluster can do.
    pub cluster: Cluster,
    /// What the installation is.
    pub installation: &'a Installation,
}

/// What the claim of a home volume says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeFacts {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Option<String>,
    /// The owner in our annotation.
    pub owner: Option<String>,
    /// The UID of the Workspace in our annotation.
    pub workspace_uid: Option<String>,
    /// The size that it asks for.
    pub requested: Option<Amount>,
    /// The size that it has.
    pub capacity: Option<String>,
    /// Its StorageClass.
    pub storage_class: Option<String>,
    /// Bound, Pending or Lost.
    pub phase: Option<String>,
    /// Whether the scheduler chose a node for it already: Pending is normal before.
    pub node_selected: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl VolumeFacts {
    /// Reads a claim.
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let annotation = |key: &str| claim.metadata.annotations.as_ref()?.get(key).cloned();
        let spec = claim.spec.as_ref();
        let status = claim.status.as_ref();
        let requested = spec
            .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"))
            .and_then(|quantity| Amount::parse(&quantity.0).ok());
        Self {
            name: claim.metadata.name.clone().unwrap_or_default(),
            uid: claim.metadata.uid.clone(),
            owner: annotation(OWNER_ANNOTATION),
            workspace_uid: annotation(VOLUME_WORKSPACE_UID_ANNOTATION),
            requested,
            capacity: status
                .and_then(|status| status.capacity.as_ref()?.get("storage"))
                .map(|quantity| quantity.0.clone()),
            storage_class: spec.and_then(|spec| spec.storage_class_name.clone()),
            phase: status.and_then(|status| status.phase.clone()),
            node_selected: annotation("volume.kubernetes.io/selected-node").is_some(),
            deleting: claim.metadata.deletion_timestamp.is_some(),
        }
    }
}

/// Who a workspace is: all that its objects carry of it, and all that a repair needs when its spec no longer validates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: WorkspaceName,
    /// Its namespace.
    pub namespace: DnsLabel,
    /// Its UID.
    pub uid: String,
}

impl Identity {
    /// Reads the identity of a Workspace.
    ///
    /// # Errors
    /// `ConfigInvalid` when a name breaks its rules, which the CRD refuses, or the object is not from the API.
    pub fn of(workspace: &Workspace) -> Result<Self, Failure> {
        let metadata = &workspace.metadata;
        let name = WorkspaceName::new(metadata.name.as_deref().unwrap_or_default())
            .map_err(|error| config("metadata.name", &error.to_string()))?;
        let namespace = DnsLabel::new(metadata.namespace.as_deref().unwrap_or_default())
            .map_err(|error| config("metadata.namespace", &error.to_string()))?;
        let uid = metadata.uid.clone().unwrap_or_default();
        if uid.is_empty() || uid.len() > 63 {
            return Err(config(
                "metadata.uid",
                "the object has no UID: it does not come from the API server",
            ));
        }
        Ok(Self {
            name,
            namespace,
            uid,
        })
    }
}

/// A Workspace that can be rendered.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedWorkspace {
    /// Who it is.
    pub identity: Identity,
    /// Whose it is.
    pub owner: Owner,
    /// Generation of the spec.
    pub generation: i64,
    /// Name of its class.
    pub class_name: DnsSubdomain,
    /// The image to work in.
    pub image: ImageReference,
    /// The program with all its arguments; empty, it just stays alive.
    pub command: Vec<String>,
    /// The user's environment variables, literal.
    pub env: BTreeMap<VariableName, String>,
    /// What it has of sealed sets and Secrets.
    pub variables: TakenVariables,
    /// Ports that it serves, by name.
    pub endpoints: BTreeMap<EndpointName, EndpointPort>,
    /// What its first process is to do, and what that takes.
    pub inside: Inside,
    /// Requests and limits.
    pub resources: ValidatedResources,
    /// The home volume.
    pub storage: ValidatedStorage,
    /// Time limits in effect.
    pub deadlines: Deadlines,
    /// Settings of the pod, as far as the cluster can honour them.
    pub pod: PodRules,
    /// What it may reach.
    pub egress: Vec<Egress>,
    /// Secrets with registry credentials.
    pub image_pull_secrets: BTreeSet<DnsSubdomain>,
    /// Labels of the class for pod, volume and Service.
    pub child_labels: BTreeMap<String, String>,
    /// Annotations of the class for pod, volume and Service.
    pub child_annotations: BTreeMap<String, String>,
    /// What the installation is.
    pub installation: Installation,
    /// Where it opens in a browser.
    pub url: Option<String>,
    /// Whether its owner may open ports that no endpoint names.
    pub undeclared_ports: bool,
    /// Where its endpoints open, and for whom.
    pub open: Vec<EndpointStatus>,
    /// What could not be honoured, for the status.
    pub notices: Vec<String>,
}

/// What a start now has of sealed sets and Secrets. A validated spec alone has none of it: that is looked up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TakenVariables {
    /// What it is; none, nothing reaches the Workspace.
    pub pin: Option<VariablesPin>,
    /// The request to take what is newest that is carried out by it.
    pub request: Option<String>,
}

/// The home volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedStorage {
    /// Its size; never below what the claim has.
    pub size: Amount,
    /// Name of the StorageClass. An existing claim keeps its own.
    pub class_name: Option<DnsSubdomain>,
    /// What happens to it at the end.
    pub retention: Retention,
}

/// Checks a Workspace against its class, its quota, its volume and the cluster.
///
/// # Errors
/// The earliest step that blocks: quota, then the volume's owner, then the fields of the spec.
pub fn validate(inputs: &Inputs<'_>) -> Result<ValidatedWorkspace, Failure> {
    let Inputs {
        workspace,
        class,
        installation,
        ..
    } = *inputs;
    let spec = &workspace.spec;
    let identity = Identity::of(workspace)?;
    let owner =
        Owner::new(&spec.owner).map_err(|error| config("spec.owner", &error.to_string()))?;
    if let Some(exceeded) = inputs.exceeded {
        return Err(exceeded.failure());
    }
    if let Some(volume) = inputs.volume {
        check_volume_owner(volume, &owner, workspace)?;
    }
    let image = ImageReference::new(&spec.image)
        .map_err(|error| image_failure(&spec.image, &error.to_string()))?;
    let resources = resources::merge(
        spec.resources.as_ref(),
        &class.default_requests,
        &class.default_limits,
        &class.max_resources,
    )
    .map_err(|error| resource_failure(&error, class))?;
    let storage = validated_storage(inputs)?;
    let deadlines = validated_deadlines(workspace, class)?;
    let (pod, notices) = validated_pod(class, inputs.cluster);
    let inside = inside::validate(&inside::Question {
        workspace,
        owner: &owner,
        class,
        credentials: inputs.credentials,
        cluster: inputs.cluster,
        installation,
    })?;
    let url = installation.url(identity.name.as_str());
    Ok(ValidatedWorkspace {
        owner,
        generation: workspace.metadata.generation.unwrap_or(0),
        class_name: class.name.clone(),
        image,
        command: validated_command(workspace)?,
        env: validated_env(workspace)?,
        variables: TakenVariables::default(),
        endpoints: validated_endpoints(workspace)?,
        inside,
        resources,
        storage,
        deadlines,
        pod,
        egress: class.egress.clone(),
        image_pull_secrets: class.image_pull_secrets.clone(),
        child_labels: class.child_labels.clone(),
        child_annotations: class.child_annotations.clone(),
        installation: installation.clone(),
        undeclared_ports: class.access.undeclared_ports,
        open: access::endpoints(identity.name.as_str(), spec, &class.access, installation),
        url,
        notices,
        identity,
    })
}

/// A failure of a field that the author of the Workspace wrote.
pub(crate) fn config(field: &str, message: &str) -> Failure {
    Failure {
        cause: Cause::ConfigInvalid,
        blame: Blame::User,
        message: format!("{field}: {message}"),
        evidence: format!("field {field}"),
        retryable: false,
        next_step: format!("correct {field} in the file of the Workspace"),
        since: None,
    }
}

#[cfg(test)]
mod tests;
