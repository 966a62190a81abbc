//! A Workspace, checked: every failure of a wish lives here, and what is rendered from a [`ValidatedWorkspace`] gives
//! the API server no reason to reject it.
//!
//! A caller gathers [`Inputs`] (the class by [`class::choose`](crate::model::class::choose), the census by
//! [`quota::Census`](crate::model::quota::Census), the volume by [`VolumeFacts::of`]) and calls [`validate`]. On `Err`
//! nothing new is applied; the failure goes to the status as `blocked`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::api::class::Retention;
use crate::api::shared::{Blame, DurationText};
use crate::api::workspace::{Cause, Failure, Workspace};
use crate::model::class::{
    Deadlines, Egress, LEAST_STARTUP, LEAST_STOPPING, MAX_USER_IN_NAMESPACE, PodRules,
    ValidatedClass,
};
use crate::model::duration::Span;
use crate::model::identity::{
    EndpointName, EndpointPort, ImageReference, Owner, VariableName, WorkspaceName,
};
use crate::model::installation::{Cluster, Installation};
use crate::model::names::{
    DnsLabel, DnsSubdomain, OWNER_ANNOTATION, VOLUME_WORKSPACE_UID_ANNOTATION,
};
use crate::model::quantity::Amount;
use crate::model::quota::Exceeded;
use crate::model::resources::{self, ResourceError, ValidatedResources};

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
    /// Ports that it serves, by name.
    pub endpoints: BTreeMap<EndpointName, EndpointPort>,
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
    /// What could not be honoured, for the status.
    pub notices: Vec<String>,
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

/// The environment variables and arguments of a pod must fit into what the kernel takes for a new program.
const ENVIRONMENT_BYTES: usize = 512 * 1024;

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
    let (pod, notices) = validated_pod(class, inputs.cluster)?;
    let url = installation
        .base_domain
        .as_ref()
        .map(|domain| format!("https://{}.{domain}", identity.name));
    Ok(ValidatedWorkspace {
        owner,
        generation: workspace.metadata.generation.unwrap_or(0),
        class_name: class.name.clone(),
        image,
        command: validated_command(workspace)?,
        env: validated_env(workspace)?,
        endpoints: validated_endpoints(workspace)?,
        resources,
        storage,
        deadlines,
        pod,
        egress: class.egress.clone(),
        image_pull_secrets: class.image_pull_secrets.clone(),
        child_labels: class.child_labels.clone(),
        child_annotations: class.child_annotations.clone(),
        installation: installation.clone(),
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

fn image_failure(image: &str, message: &str) -> Failure {
    Failure {
        cause: Cause::ImageNotFound,
        blame: Blame::User,
        message: format!("spec.image: {message}"),
        evidence: format!("spec.image is '{image}'"),
        retryable: false,
        next_step: "correct spec.image in the file of the Workspace".to_owned(),
        since: None,
    }
}

/// Something is over a cap of the class: the author can ask for less, or the administrator allow more.
fn over_cap(field: &str, asked: &str, class: &ValidatedClass, cap: &str, most: &str) -> Failure {
    Failure {
        cause: Cause::ClassInvalid,
        blame: Blame::User,
        message: format!(
            "{field} is {asked}, and class '{}' allows {most}",
            class.name
        ),
        evidence: format!("{cap} of WorkspaceClass '{}' is {most}", class.name),
        retryable: false,
        next_step: format!("write {most} or less in {field}, or choose another class"),
        since: None,
    }
}

fn resource_failure(error: &ResourceError, class: &ValidatedClass) -> Failure {
    match error {
        ResourceError::Field { field, message } => config(field, message),
        ResourceError::OverCap { field, asked, most } => {
            let name = field.rsplit('.').next().unwrap_or_default();
            over_cap(
                field,
                &asked.to_string(),
                class,
                &format!("spec.resources.max.{name}"),
                &most.to_string(),
            )
        }
    }
}

fn check_volume_owner(
    volume: &VolumeFacts,
    owner: &Owner,
    workspace: &Workspace,
) -> Result<(), Failure> {
    let name = &volume.name;
    let foreign = |found: &str| Failure {
        cause: Cause::VolumeForeign,
        blame: Blame::User,
        message: format!("the volume '{name}' belongs to {found}, this Workspace to {owner}"),
        evidence: format!(
            "PersistentVolumeClaim '{name}': annotation {OWNER_ANNOTATION} is {found}"
        ),
        retryable: false,
        next_step: format!(
            "give the Workspace another name, or have the PersistentVolumeClaim '{name}' deleted if nobody needs what is on it"
        ),
        since: None,
    };
    match &volume.owner {
        Some(found) if found == owner.as_str() => {}
        Some(found) => return Err(foreign(found)),
        None => return Err(foreign("nobody that Workstead knows")),
    }
    if volume.deleting && volume.workspace_uid != workspace.metadata.uid {
        return Err(Failure {
            cause: Cause::VolumeBind,
            blame: Blame::Platform,
            message: format!(
                "the volume '{name}' of an earlier Workspace of this name is still being deleted"
            ),
            evidence: format!("PersistentVolumeClaim '{name}' has a deletionTimestamp"),
            retryable: true,
            next_step: "wait until it is gone; if that never happens, see which pod still uses it"
                .to_owned(),
            since: None,
        });
    }
    Ok(())
}

fn validated_storage(inputs: &Inputs<'_>) -> Result<ValidatedStorage, Failure> {
    const FIELD: &str = "spec.storage.size";
    let Inputs {
        workspace,
        class,
        volume,
        ..
    } = *inputs;
    let existing = volume.and_then(|volume| volume.requested);
    let size = match &workspace.spec.storage {
        Some(storage) => {
            let size = Amount::try_from(&storage.size)
                .map_err(|error| config(FIELD, &error.to_string()))?;
            if size.is_zero() {
                return Err(config(
                    FIELD,
                    "a volume has more than 0: write for example 10Gi",
                ));
            }
            if let Some(existing) = existing.filter(|existing| *existing > size) {
                let message = format!(
                    "{size} is less than the volume has, and it can't shrink: write {existing} or more, or leave it out"
                );
                return Err(config(FIELD, &message));
            }
            // A volume that is there already may be larger than a cap that was lowered later; it just can't grow.
            let grows = existing.is_none_or(|existing| existing < size);
            if let Some(max) = class.storage.max.filter(|max| *max < size && grows) {
                return Err(over_cap(
                    FIELD,
                    &size.to_string(),
                    class,
                    "spec.storage.max",
                    &max.to_string(),
                ));
            }
            size
        }
        None => existing.map_or(class.storage.default, |existing| {
            existing.max(class.storage.default)
        }),
    };
    let class_name = match volume {
        // The StorageClass of a claim never changes. One that is not known yet is left to the API server.
        Some(volume) => volume
            .storage_class
            .as_deref()
            .and_then(|name| DnsSubdomain::new(name).ok()),
        None => class.storage.class_name.clone(),
    };
    Ok(ValidatedStorage {
        size,
        class_name,
        retention: class.storage.retention,
    })
}

fn validated_deadlines(
    workspace: &Workspace,
    class: &ValidatedClass,
) -> Result<Deadlines, Failure> {
    let timeouts = workspace.spec.timeouts.clone().unwrap_or_default();
    let mut deadlines = class.deadlines;
    let read = |name: &str, written: &DurationText, least: Span, most: Span, cap: &str| {
        let field = format!("spec.timeouts.{name}");
        let span = Span::try_from(written).map_err(|error| config(&field, &error.to_string()))?;
        if span < least {
            return Err(config(
                &field,
                &format!("{span} is too short: write {least} or more"),
            ));
        }
        if span > most {
            return Err(over_cap(
                &field,
                &span.to_string(),
                class,
                cap,
                &most.to_string(),
            ));
        }
        Ok(span)
    };
    if let Some(written) = &timeouts.startup {
        deadlines.startup = read(
            "startup",
            written,
            LEAST_STARTUP,
            class.max_startup,
            "spec.timeouts.maxStartup",
        )?;
    }
    if let Some(written) = &timeouts.stopping {
        deadlines.stopping = read(
            "stopping",
            written,
            LEAST_STOPPING,
            class.max_stopping,
            "spec.timeouts.maxStopping",
        )?;
    }
    Ok(deadlines)
}

/// Settings of the pod that this cluster can honour. What it can't is left out and said, and nothing that rests on it
/// stays: programs gain rights only where a user namespace or another runtime holds them.
fn validated_pod(
    class: &ValidatedClass,
    cluster: Cluster,
) -> Result<(PodRules, Vec<String>), Failure> {
    let mut pod = class.pod.clone();
    let mut notices = Vec::new();
    if pod.user_namespaces && pod.run_as_user > MAX_USER_IN_NAMESPACE {
        return Err(Failure {
            cause: Cause::ConfigInvalid,
            blame: Blame::Platform,
            message: format!(
                "the user {} does not exist in a user namespace",
                pod.run_as_user
            ),
            evidence: format!("WorkspaceClass '{}': spec.pod.runAsUser", class.name),
            retryable: false,
            next_step: format!("have a user of 1 to {MAX_USER_IN_NAMESPACE} written in the class"),
            since: None,
        });
    }
    if pod.user_namespaces && !cluster.has_user_namespaces() {
        pod.user_namespaces = false;
        notices.push(format!(
            "class '{}' asks for user namespaces, and this cluster has none",
            class.name
        ));
        if pod.allow_privilege_escalation && pod.runtime_class_name.is_none() {
            pod.allow_privilege_escalation = false;
            notices.push("so programs can't gain rights (sudo does not work)".to_owned());
        }
    }
    Ok((pod, notices))
}

fn validated_command(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let spec = &workspace.spec;
    if spec.command.is_empty() && !spec.args.is_empty() {
        return Err(config(
            "spec.args",
            "arguments need a program: write it in spec.command, the image's own is not run",
        ));
    }
    let command: Vec<String> = spec.command.iter().chain(&spec.args).cloned().collect();
    if command.first().is_some_and(String::is_empty) {
        return Err(config(
            "spec.command",
            "the program has no name: write it, or leave spec.command out",
        ));
    }
    if command.iter().any(|word| word.contains('\0')) {
        return Err(config(
            "spec.command",
            "a NUL character can't be passed to a program: remove it",
        ));
    }
    if command.iter().map(|word| word.len() + 1).sum::<usize>() > ENVIRONMENT_BYTES {
        return Err(config(
            "spec.command",
            "the program and its arguments are longer than 512 KiB: shorten them",
        ));
    }
    Ok(command)
}

fn validated_env(workspace: &Workspace) -> Result<BTreeMap<VariableName, String>, Failure> {
    let mut env = BTreeMap::new();
    let mut bytes = 0;
    for variable in &workspace.spec.env {
        let field = format!("spec.env[{}]", variable.name);
        let name = VariableName::new(&variable.name)
            .map_err(|error| config(&field, &error.to_string()))?;
        if variable.value.contains('\0') {
            return Err(config(
                &field,
                "a NUL character can't stand in an environment variable: remove it",
            ));
        }
        bytes += name.as_str().len() + variable.value.len() + 2;
        if bytes > ENVIRONMENT_BYTES {
            return Err(config(
                "spec.env",
                "all variables together are longer than 512 KiB: put large values into files",
            ));
        }
        if env.insert(name, variable.value.clone()).is_some() {
            return Err(config(&field, "the variable is there twice: keep one"));
        }
    }
    Ok(env)
}

fn validated_endpoints(
    workspace: &Workspace,
) -> Result<BTreeMap<EndpointName, EndpointPort>, Failure> {
    let mut endpoints = BTreeMap::new();
    let mut ports = BTreeSet::new();
    for endpoint in &workspace.spec.endpoints {
        let field = format!("spec.endpoints[{}]", endpoint.name);
        let name = EndpointName::new(&endpoint.name)
            .map_err(|error| config(&field, &error.to_string()))?;
        let port =
            EndpointPort::new(endpoint.port).map_err(|error| config(&field, &error.to_string()))?;
        if !ports.insert(port) {
            return Err(config(
                &field,
                "another endpoint has the same port: give each a port of its own",
            ));
        }
        if endpoints.insert(name, port).is_some() {
            return Err(config(
                &field,
                "another endpoint has the same name: give each a name of its own",
            ));
        }
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests;
